//! Traffic whose every byte tells which packet it is of: datagrams that are echoed, and streams in both directions.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::build::Lab;
use super::dump::{CELL, MARK, cell};

/// Set in the tag of what goes back.
pub const BACK: u32 = 0x8000_0000;

/// Datagrams from one namespace to another one.
pub struct Datagrams<'a> {
    /// Who sends.
    pub from: &'a str,
    /// Whom to: an address and a port, maybe of a service.
    pub to: SocketAddr,
    /// Who answers.
    pub server: &'a str,
    /// On which port.
    pub port: u16,
    /// What marks them.
    pub tag: u32,
    /// How many.
    pub count: u32,
    /// How many bytes each carries, a multiple of a cell's.
    pub size: usize,
    /// How long from one to the next.
    pub pace: Duration,
}

/// How long nothing must come.
const QUIET: Duration = Duration::from_millis(400);

/// Which datagrams came.
#[derive(Debug, Default)]
pub struct Received {
    /// To the server.
    pub there: BTreeSet<u32>,
    /// Their echoes, to the client.
    pub back: BTreeSet<u32>,
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{what}: {error}")
}

/// A datagram.
fn datagram(tag: u32, number: u32, size: usize) -> Vec<u8> {
    cell(tag, number).repeat(size / CELL)
}

/// The tag and number of a datagram.
fn read(datagram: &[u8]) -> Option<(u32, u32)> {
    let rest = datagram.strip_prefix(MARK.as_slice())?;
    let word = |at: usize| Some(u32::from_be_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    Some((word(0)?, word(4)?))
}

/// A socket with a port that another one, now closed, may have had: a child that another test starts holds its copy of that one
/// until it is another program.
fn once_free<T>(open: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    for _ in 0..100 {
        let opened = open();
        if !opened.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse) {
            return opened;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    open()
}

impl Datagrams<'_> {
    /// Sends them all, and has them echoed.
    pub fn send(&self, lab: &Lab) -> Result<Received, String> {
        let any = if self.to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        let open = |address: IpAddr, port: u16| {
            let socket = once_free(|| UdpSocket::bind((address, port))).map_err(failed("bind"))?;
            socket.set_read_timeout(Some(Duration::from_millis(20))).map_err(failed("timeout"))?;
            Ok::<_, String>(socket)
        };
        // Who has several addresses answers from the one that was asked.
        let address = if self.server == "world" { self.to.ip() } else { any };
        let server = lab.netns(self.server).enter(|| open(address, self.port))?;
        let client = lab.netns(self.from).enter(|| open(any, 0))?;
        client.connect(self.to).map_err(failed("connect"))?;
        let (done, came) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            let there = scope.spawn(|| self.echo(&server, &done, &came));
            let back = scope.spawn(|| collect(&client, &done, &came));
            for number in 0..self.count {
                // What a rule drops is no error, and what an ICMP error says is told at the next call.
                let _ = client.send(&datagram(self.tag, number, self.size));
                std::thread::sleep(self.pace);
            }
            // A busy machine takes its time: nothing comes any more once nothing has come for a while.
            let mut before = u32::MAX;
            while before != came.load(Ordering::Relaxed) {
                before = came.load(Ordering::Relaxed);
                std::thread::sleep(QUIET);
            }
            done.store(true, Ordering::Relaxed);
            let died = |_| "a thread died".to_owned();
            Ok(Received { there: there.join().map_err(died)?, back: back.join().map_err(died)? })
        })
    }

    fn echo(&self, server: &UdpSocket, done: &AtomicBool, came: &AtomicU32) -> BTreeSet<u32> {
        let mut received = BTreeSet::new();
        let mut buffer = vec![0; 65536];
        while !done.load(Ordering::Relaxed) {
            let Ok((size, from)) = server.recv_from(&mut buffer) else { continue };
            let Some((tag, number)) = read(&buffer[..size]) else { continue };
            received.insert(number);
            came.fetch_add(1, Ordering::Relaxed);
            let _ = server.send_to(&datagram(tag | BACK, number, self.size), from);
        }
        received
    }
}

fn collect(client: &UdpSocket, done: &AtomicBool, came: &AtomicU32) -> BTreeSet<u32> {
    let mut received = BTreeSet::new();
    let mut buffer = vec![0; 65536];
    while !done.load(Ordering::Relaxed) {
        let Ok(size) = client.recv(&mut buffer) else { continue };
        came.fetch_add(1, Ordering::Relaxed);
        received.extend(read(&buffer[..size]).map(|(_, number)| number));
    }
    received
}

/// A TCP connection with data in both directions.
pub struct Stream<'a> {
    /// Who connects.
    pub from: &'a str,
    /// Whom to.
    pub to: SocketAddr,
    /// Who listens.
    pub server: &'a str,
    /// On which port.
    pub port: u16,
    /// What marks the data.
    pub tag: u32,
    /// How many cells go there, and how many come back.
    pub cells: (u32, u32),
}

impl Stream<'_> {
    /// Sends all of it.
    pub fn send(&self, lab: &Lab) -> Result<(), String> {
        let local = if self.to.is_ipv4() { "0.0.0.0" } else { "::" };
        let listen = || once_free(|| TcpListener::bind((local, self.port))).map_err(failed("listen"));
        let listener = lab.netns(self.server).enter(listen)?;
        std::thread::scope(|scope| {
            let server = scope.spawn(|| self.serve(&listener));
            let client = lab.netns(self.from).enter(|| self.ask());
            let answered = server.join().map_err(|_| "a thread died".to_owned())?;
            client.and(answered)
        })
    }

    fn ask(&self) -> Result<(), String> {
        let mut stream = TcpStream::connect_timeout(&self.to, Duration::from_secs(5)).map_err(failed("connect"))?;
        give(&mut stream, self.tag, self.cells.0)?;
        take(&mut stream, self.cells.1)
    }

    fn serve(&self, listener: &TcpListener) -> Result<(), String> {
        let (mut stream, _) = listener.accept().map_err(failed("accept"))?;
        take(&mut stream, self.cells.0)?;
        give(&mut stream, self.tag | BACK, self.cells.1)
    }
}

fn give(stream: &mut TcpStream, tag: u32, cells: u32) -> Result<(), String> {
    let bytes: Vec<u8> = (0..cells).flat_map(|number| cell(tag, number)).collect();
    stream.write_all(&bytes).map_err(failed("write"))?;
    stream.shutdown(Shutdown::Write).map_err(failed("shutdown"))
}

fn take(stream: &mut TcpStream, cells: u32) -> Result<(), String> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(failed("timeout"))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(failed("read"))?;
    let wanted = cells as usize * CELL;
    if bytes.len() == wanted { Ok(()) } else { Err(format!("{} bytes came, and not {wanted}", bytes.len())) }
}
