//! The sender: a socket that sends one packet, and knows whether the answer is its own.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, getsockopt, recvfrom,
    send, setsockopt, socket, sockopt,
};

use super::answer::socket_without_df;
use super::build::write_sysctls;
use super::netns::Netns;
use super::probe::{Probe, Proto};

/// How it ended for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer came, and the socket took it.
    Answered,
    /// The sender's own stack refused to send.
    Refused(Errno),
    /// An error came back.
    Error(Errno),
    /// Nothing came.
    Silence,
}

/// A sender that has sent its packet.
pub enum Client {
    /// With a socket of this program.
    Socket(Socket),
    /// With a script, since the packet must not be fragmented.
    Script(Script),
}

/// A socket that has sent its packet.
pub struct Socket {
    fd: OwnedFd,
    proto: Proto,
    destination: IpAddr,
    id: u16,
}

/// A script that sends a packet and tells what came back.
pub struct Script {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

/// A probe's length where it says none: what the kernel's SYN has, and `explain`'s defaults for the others.
pub fn length_of(probe: &Probe) -> u32 {
    probe.size.unwrap_or(match (probe.proto, probe.destination.is_ipv6()) {
        (Proto::Icmp, _) => 84,
        (Proto::Tcp, true) => 80,
        _ => 60,
    })
}

impl Client {
    /// Sends the probe from its namespace.
    pub fn send(netns: &Netns, probe: &Probe) -> Result<Self, Outcome> {
        if probe.df && probe.destination.is_ipv4() && probe.proto != Proto::Tcp {
            return netns.enter(|| Script::send_here(probe)).map(Self::Script);
        }
        netns.enter(|| Socket::send_here(probe)).map(Self::Socket).map_err(Outcome::Refused)
    }

    /// For `poll`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.fd.as_fd(),
            Self::Script(script) => script.stdout.as_fd(),
        }
    }

    /// Whether poll should wait until the socket can be written to.
    pub fn waits_to_write(&self) -> bool {
        matches!(self, Self::Socket(Socket { proto: Proto::Tcp, .. }))
    }

    /// Looks what has happened after `poll` said that something has.
    pub fn look(&mut self) -> Option<Outcome> {
        match self {
            Self::Socket(socket) => socket.look(),
            Self::Script(script) => Some(script.hear()),
        }
    }
}

impl Script {
    fn send_here(probe: &Probe) -> Result<Self, Outcome> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/send_df.py");
        let payload = length_of(probe).saturating_sub(28).to_string();
        let mut command = Command::new("python3");
        command.args([path, probe.proto.as_str(), &probe.destination.to_string(), &probe.port.to_string()]);
        let number = |value: Option<u32>| value.unwrap_or(0).to_string();
        let source = probe.source.map_or_else(|| "0.0.0.0".to_owned(), |source| source.to_string());
        let (ttl, tos) = (number(probe.ttl.map(u32::from)), number(probe.tos.map(u32::from)));
        command
            .args([&probe.sport.to_string(), &payload, &source, &ttl, &tos, &number(probe.mark)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 starts");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("stdout is piped"));
        let mut script = Self { child, stdin, stdout };
        match script.hear() {
            // The first word is that the packet is on its way.
            Outcome::Silence => Ok(script),
            refused => Err(refused),
        }
    }

    fn hear(&mut self) -> Outcome {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.stdout.read(&mut byte).is_ok_and(|length| length == 1) && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let errno = Errno::from_raw(number.parse().unwrap_or(0));
        match word {
            "answered" => Outcome::Answered,
            "refused" => Outcome::Refused(errno),
            "error" => Outcome::Error(errno),
            "sent" => Outcome::Silence,
            _ => panic!("the sender's script said {line:?}"),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

impl Socket {
    fn send_here(probe: &Probe) -> Result<Self, Errno> {
        let socket = made(probe)?;
        set_options(&socket, probe)?;
        let fd = socket.as_raw_fd();
        let any = if probe.destination.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        let sport = if probe.proto == Proto::Icmp { 0 } else { probe.sport };
        bind(fd, &SockaddrStorage::from(SocketAddr::new(probe.source.unwrap_or(any), sport)))?;
        let port = if probe.proto == Proto::Icmp { 0 } else { probe.port };
        match connect(fd, &SockaddrStorage::from(SocketAddr::new(probe.destination, port))) {
            Err(Errno::EINPROGRESS) if probe.proto == Proto::Tcp => {}
            other => other?,
        }
        let client = Self { fd: socket, proto: probe.proto, destination: probe.destination, id: probe.sport };
        let header = if probe.destination.is_ipv4() { 20 } else { 40 };
        let payload = usize::try_from(length_of(probe)).unwrap_or(0).saturating_sub(header + 8);
        match probe.proto {
            Proto::Tcp => {}
            Proto::Udp => drop(send(fd, &vec![0x66; payload], MsgFlags::empty())?),
            Proto::Icmp => drop(send(fd, &client.echo(payload), MsgFlags::empty())?),
        }
        Ok(client)
    }

    /// An echo request; the kernel fills in ICMPv6's checksum.
    fn echo(&self, payload: usize) -> Vec<u8> {
        let mut bytes = vec![if self.destination.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        bytes.resize(8 + payload, 0x66);
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        bytes[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        bytes
    }

    fn look(&self) -> Option<Outcome> {
        if self.proto == Proto::Tcp {
            let error = getsockopt(&self.fd, sockopt::SocketError).unwrap_or(0);
            return Some(if error == 0 { Outcome::Answered } else { Outcome::Error(Errno::from_raw(error)) });
        }
        let mut buffer = vec![0_u8; 70_000];
        loop {
            match recvfrom::<SockaddrStorage>(self.fd.as_raw_fd(), &mut buffer) {
                Ok((length, _)) if self.is_answer(&buffer[..length]) => return Some(Outcome::Answered),
                Ok(_) => {}
                Err(Errno::EAGAIN) => return None,
                Err(error) => return Some(Outcome::Error(error)),
            }
        }
    }

    /// The socket is connected, so the kernel has looked at the addresses already.
    fn is_answer(&self, bytes: &[u8]) -> bool {
        if self.proto == Proto::Udp {
            return true;
        }
        let (message, reply) = match self.destination {
            IpAddr::V4(_) => (bytes.get(usize::from(bytes.first().map_or(0, |byte| byte & 15)) * 4..), 0),
            IpAddr::V6(_) => (Some(bytes), 129),
        };
        message.is_some_and(|message| {
            message.first() == Some(&reply) && message.get(4..6) == Some(self.id.to_be_bytes().as_slice())
        })
    }
}

fn made(probe: &Probe) -> Result<OwnedFd, Errno> {
    let family = if probe.destination.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = if probe.proto == Proto::Tcp { SockType::Stream } else { SockType::Datagram };
    if probe.proto != Proto::Icmp {
        return socket_without_df(family, kind).map_err(|_| Errno::ENOSYS);
    }
    let set = |value: &str| write_sysctls(&[("ipv4/ip_no_pmtu_disc".to_owned(), value.to_owned())]);
    let protocol = if probe.destination.is_ipv4() { SockProtocol::Icmp } else { SockProtocol::IcmpV6 };
    set("1").map_err(|_| Errno::ENOSYS)?;
    let made = socket(family, SockType::Raw, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, protocol);
    set("0").map_err(|_| Errno::ENOSYS)?;
    made
}

fn set_options(socket: &OwnedFd, probe: &Probe) -> Result<(), Errno> {
    if probe.destination.is_ipv4() {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    } else {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    }
    if probe.proto != Proto::Icmp {
        setsockopt(socket, sockopt::ReuseAddr, &true)?;
    }
    match (probe.ttl, probe.destination.is_ipv4()) {
        (Some(ttl), true) => setsockopt(socket, sockopt::Ipv4Ttl, &ttl.into())?,
        (Some(ttl), false) => setsockopt(socket, sockopt::Ipv6Ttl, &ttl.into())?,
        (None, _) => {}
    }
    match (probe.tos, probe.destination.is_ipv4()) {
        (Some(tos), true) => setsockopt(socket, sockopt::Ipv4Tos, &tos.into())?,
        (Some(tos), false) => setsockopt(socket, sockopt::Ipv6TClass, &tos.into())?,
        (None, _) => {}
    }
    if let Some(mark) = probe.mark {
        setsockopt(socket, sockopt::Mark, &mark)?;
    }
    Ok(())
}
