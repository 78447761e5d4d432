//! Hears of changes while tables are read.

use std::io;

use rtnetlink::packet_core::NetlinkBuffer;
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

/// `RTNLGRP_…`: devices, addresses, routes, rules and nexthop objects. Neighbours and learned forwarding entries come and
/// go all the time.
const GROUPS: [u32; 8] = [1, 5, 7, 8, 9, 11, 19, 32];

/// Which files a message of a type is about.
const FILES: [(u16, &[&str]); 5] = [
    (16, &["link.txt", "bridge-link.txt"]),
    (20, &["addr.txt"]),
    (24, &["route.txt", "route6.txt"]),
    (32, &["rule.txt", "rule6.txt"]),
    (104, &["nexthop.txt"]),
];

/// A socket to which the kernel tells changes of the namespace in which it was opened.
pub(super) struct Watch(Socket);

impl Watch {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        for group in GROUPS {
            // What an old kernel doesn't have doesn't change either.
            let _ = socket.add_membership(group);
        }
        Ok(Self(socket))
    }

    /// The files that what was told since the last call is about.
    pub fn changes(&self) -> Vec<&'static str> {
        let mut changed = Vec::new();
        let mut buffer = vec![0; 32 << 10];
        loop {
            let mut room: &mut [u8] = &mut buffer;
            match self.0.recv(&mut room, 0) {
                Ok(length) => changed.extend(about(buffer.get(..length).unwrap_or_default())),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                // There was more than the socket could hold: anything may have changed.
                Err(_) => {
                    changed.extend(FILES.iter().flat_map(|(_, files)| *files));
                    break;
                }
            }
        }
        changed
    }
}

/// The files that a datagram is about; a type's next number is that of a removal.
fn about(datagram: &[u8]) -> impl Iterator<Item = &'static str> {
    let kind = NetlinkBuffer::new_checked(datagram).map_or(0, |message| message.message_type());
    FILES
        .iter()
        .filter(move |(known, _)| kind == *known || kind == known + 1)
        .flat_map(|(_, files)| files.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_and_removals_are_about_the_same_files() {
        let message = |kind: u16| [&16u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
        let files = |kind: u16| about(&message(kind)).collect::<Vec<_>>();
        assert_eq!(files(24), ["route.txt", "route6.txt"]);
        assert_eq!((files(25), files(33)), (files(24), files(32)));
        assert_eq!((files(16).len(), files(105), files(28)), (2, vec!["nexthop.txt"], vec![]));
        assert_eq!(about(b"cut").count(), 0);
    }
}
