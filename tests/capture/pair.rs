//! Two namespaces with two links between them.

use std::net::{SocketAddr, UdpSocket};

use crate::netns::{Netns, must};
use crate::ready::ready;

/// Where the tests send to.
pub const PORT: u16 = 7000;

/// Two namespaces: `left` has the devices `one` and `two`, `right` has their peers.
pub struct Pair {
    pub left: Netns,
    pub right: Netns,
}

impl Pair {
    /// Builds them, or nothing where that can't be.
    pub fn new() -> Option<Self> {
        if !ready() {
            return None;
        }
        let pair = Self { left: Netns::new("left").unwrap(), right: Netns::new("right").unwrap() };
        let right = pair.right.path();
        pair.left.enter(|| {
            ip("link set lo up");
            for (net, device) in ["one", "two"].iter().enumerate() {
                // Link addresses that the rules can be told, so that no ARP is in the way.
                ip(&format!(
                    "link add {device} address 02:00:00:00:0{net}:01 type veth peer name {device} address \
                     02:00:00:00:0{net}:02 netns {right}"
                ));
                end(net, device, 1, 2);
            }
        });
        pair.right.enter(|| {
            for (net, device) in ["one", "two"].iter().enumerate() {
                end(net, device, 2, 1);
            }
        });
        Some(pair)
    }

    /// Sends numbered datagrams from `left`.
    pub fn send(&self, datagrams: &[Datagram]) {
        self.left.enter(|| send(datagrams));
    }
}

/// One end of a link.
fn end(net: usize, device: &str, own: u8, other: u8) {
    ip(&format!("link set {device} addrgenmode none up"));
    ip(&format!("addr add 10.9.{net}.{own}/24 dev {device}"));
    ip(&format!("neigh add 10.9.{net}.{other} lladdr 02:00:00:00:0{net}:0{other} dev {device}"));
}

/// Runs `ip` in the calling thread's namespace.
pub fn ip(words: &str) {
    must("ip", &words.split_whitespace().collect::<Vec<_>>(), "").unwrap();
}

/// What is sent: its number, the link (0 for `one`, 1 for `two`), its port, and its size.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    pub number: u64,
    pub link: u8,
    pub port: u16,
    pub size: usize,
}

impl Datagram {
    /// One that the tests look for.
    pub fn new(number: u64, link: u8) -> Self {
        Self { number, link, port: PORT, size: 8 }
    }
}

/// Sends from the calling thread's namespace.
pub fn send(datagrams: &[Datagram]) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    for datagram in datagrams {
        let mut payload = vec![0; datagram.size];
        payload[..8].copy_from_slice(&datagram.number.to_be_bytes());
        let to: SocketAddr = format!("10.9.{}.2:{}", datagram.link, datagram.port).parse().unwrap();
        // The port unreachable of an earlier one is told here.
        let _ = socket.send_to(&payload, to);
    }
}
