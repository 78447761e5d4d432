//! Asks the kernel for whole tables (`NLM_F_DUMP`), through the socket of the crate `rtnetlink`.
//!
//! Messages are kept as the kernel sent them. The typed messages of `rtnetlink`'s `Handle` know no nexthop objects, hide
//! the flag that tells of a torn dump, and a message that can't be decoded is logged there and left out, which would be
//! a row that nobody misses.

use std::io;

use rtnetlink::packet_core::NetlinkBuffer;
use rtnetlink::sys::Socket;

/// `NLM_F_REQUEST | NLM_F_DUMP` (`include/uapi/linux/netlink.h`).
const DUMP: u16 = 0x301;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_DUMP_INTR`: the table changed between two parts of the dump.
const TORN: u16 = 0x10;
const NOOP: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const OVERRUN: u16 = 4;

/// The kernel fills datagrams of a dump up to 32 KiB (`netlink_dump()` of `net/netlink/af_netlink.c`); a single device
/// with many virtual functions may need more.
const BUFFER: usize = 64 << 10;
const MOST_BUFFER: usize = 16 << 20;

/// How often a table that changes while it is read is read.
const ATTEMPTS: usize = 8;

/// A netlink socket of the network namespace in which it was opened.
pub(in super::super) struct Netlink {
    socket: Socket,
    protocol: isize,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A table as the kernel told it.
#[derive(Debug, Default)]
pub(in super::super) struct Dump {
    /// The messages, one behind the other, each with its header and padded to four bytes.
    bytes: Vec<u8>,
    /// Whether the table changed while it was read, however often it was read.
    pub torn: bool,
}

impl Netlink {
    /// Opens a socket of a protocol (`NETLINK_ROUTE`, …) in the calling thread's namespace.
    pub fn open(protocol: isize) -> io::Result<Self> {
        Ok(Self { socket: bound(protocol)?, protocol, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Reads a table, and again where it changed meanwhile.
    pub fn dump(&mut self, kind: u16, body: &[u8]) -> io::Result<Dump> {
        let mut dump = Dump::default();
        for _ in 0..ATTEMPTS {
            dump = self.ask(kind, DUMP, body)?;
            if !dump.torn {
                break;
            }
        }
        Ok(dump)
    }

    /// Asks for one thing.
    pub fn get(&mut self, kind: u16, body: &[u8]) -> io::Result<Dump> {
        self.ask(kind, REQUEST, body)
    }

    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Dump> {
        loop {
            self.sequence = self.sequence.wrapping_add(1);
            self.socket.send(&request(kind, flags, self.sequence, body), 0)?;
            if let Some(dump) = self.answer(flags == DUMP)? {
                return Ok(dump);
            }
            // A datagram was longer than the buffer. What is left of the answer goes with its socket.
            let longer = self.buffer.len() * 4;
            if longer > MOST_BUFFER {
                return Err(io::Error::other("the kernel's answer is too long"));
            }
            self.buffer = vec![0; longer];
            self.socket = bound(self.protocol)?;
        }
    }

    /// Reads up to the end of an answer; `None` where a datagram was too long.
    fn answer(&mut self, many: bool) -> io::Result<Option<Dump>> {
        let mut dump = Dump::default();
        loop {
            let mut room: &mut [u8] = &mut self.buffer;
            // `MSG_TRUNC`: the length is told even where the buffer is shorter.
            let length = match self.socket.recv(&mut room, 0x20) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            let Some(datagram) = self.buffer.get(..length) else { return Ok(None) };
            if dump.add(datagram, self.sequence)? || !many {
                return Ok(Some(dump));
            }
        }
    }
}

fn bound(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    Ok(socket)
}

impl Dump {
    /// Adds the messages of a datagram; true where the answer ends with it.
    fn add(&mut self, mut datagram: &[u8], sequence: u32) -> io::Result<bool> {
        while !datagram.is_empty() {
            let message = NetlinkBuffer::new_checked(datagram).map_err(malformed)?;
            let (whole, rest) = split(datagram, message.length());
            datagram = rest;
            if message.sequence_number() != sequence {
                continue;
            }
            self.torn |= message.flags() & TORN != 0;
            match message.message_type() {
                NOOP => {}
                OVERRUN => return Err(io::Error::other("the kernel lost a part of the table")),
                kind @ (ERROR | DONE) => {
                    let code = message.payload().first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return match code {
                        // An answer of one message ends with it, and is no error.
                        0 => Ok(kind == DONE || kind == ERROR),
                        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                    };
                }
                _ => {
                    self.bytes.extend_from_slice(whole);
                    self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
                }
            }
        }
        Ok(false)
    }

    /// A dump of messages, each without its netlink header.
    #[cfg(test)]
    pub fn of(bodies: &[Vec<u8>]) -> Self {
        let mut dump = Self::default();
        for body in bodies {
            dump.bytes.extend(request(16, 0, 1, body));
            dump.bytes.resize(dump.bytes.len().next_multiple_of(4), 0);
        }
        dump
    }

    /// The messages without their netlink headers, in the kernel's order: each the family's own header, and attributes.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let message = NetlinkBuffer::new_checked(rest).ok()?;
            rest = split(rest, message.length()).1;
            Some(message.payload())
        })
    }
}

/// A message, and what follows it. The next one begins at a multiple of four bytes.
fn split(bytes: &[u8], length: u32) -> (&[u8], &[u8]) {
    let length = usize::try_from(length).unwrap_or(usize::MAX).clamp(16, bytes.len().max(16));
    let whole = bytes.get(..length).unwrap_or(bytes);
    (whole, bytes.get(length.next_multiple_of(4)..).unwrap_or_default())
}

fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(body);
    bytes
}

/// What is said of a message that isn't one.
pub(super) fn malformed(err: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the kernel's answer can't be read: {err}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = request(kind, flags, sequence, body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn messages_come_back_as_they_were_sent() {
        let mut dump = Dump::default();
        let datagram = [message(16, 2, 7, b"abc"), message(16, 2, 6, b"old"), message(24, 2, 7, b"defg")].concat();
        assert!(!dump.add(&datagram, 7).unwrap());
        assert!(dump.add(&message(DONE, 2, 7, &[0; 4]), 7).unwrap());
        let found: Vec<_> = dump.messages().collect();
        assert_eq!(found, [&b"abc"[..], b"defg"]);
        assert!(!dump.torn);
    }

    #[test]
    fn a_torn_dump_and_an_error_are_told() {
        let mut dump = Dump::default();
        dump.add(&message(16, TORN, 1, b""), 1).unwrap();
        assert!(dump.torn);
        let refused = dump.add(&message(ERROR, 0, 1, &(-1i32).to_ne_bytes()), 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_cut_datagram_is_an_error_and_never_a_panic() {
        let whole = message(16, 0, 1, b"abcdefgh");
        for end in 1..whole.len() {
            assert!(Dump::default().add(&whole[..end], 1).is_err(), "{end}");
        }
    }
}
