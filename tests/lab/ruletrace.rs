//! Which rules matched: nf_tables' trace events, straight from netlink (net/netfilter/nf_tables_trace.c).
//!
//! A table of the lab's own, loaded after the snapshot was taken, sets `nftrace` on every packet; iptables' chains
//! stay as they are.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};

use super::netns::{Netns, must};
use super::wire::Header;

/// The lab's table: after defragmentation (-400), before every other hook.
///
/// A connection's packets after the first two don't leave: the acknowledgement of a SYN-ACK, the reset with which a
/// stack answers a SYN-ACK that it never asked for, and a SYN that is sent again.
pub const TRACE_TABLE: &str = "table inet lab_trace {
  set sent { type inet_service; flags dynamic; size 65535; }
  chain pre { type filter hook prerouting priority -399; meta nftrace set 1; }
  chain out {
    type filter hook output priority -399;
    tcp flags & (fin | syn | rst | ack) == ack drop
    tcp flags & (fin | syn | rst | ack) == rst drop
    tcp flags & fin == fin drop
    tcp flags & (fin | syn | rst | ack) == syn tcp sport @sent drop
    tcp flags & (fin | syn | rst | ack) == syn add @sent { tcp sport }
    meta nftrace set 1
  }
}
";

/// A rule that matched, or a policy that decided.
#[derive(Clone, Debug)]
pub struct RuleHit {
    /// The namespace.
    pub space: String,
    /// `ip`, `ip6`, `inet`, `bridge`, `netdev` or `arp`.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule's place in its chain, from 1; `None` for a policy.
    pub index: Option<usize>,
    /// What it decided.
    pub verdict: String,
    /// The packet as the hook first saw it.
    pub header: Option<Header>,
}

/// Listens to the trace events of one namespace.
pub struct RuleTrace {
    space: String,
    socket: OwnedFd,
    places: BTreeMap<(&'static str, String, u64), usize>,
    headers: BTreeMap<u64, Header>,
    hits: Vec<(u64, Option<RuleHit>)>,
    events: usize,
}

impl RuleTrace {
    /// Loads the lab's table into a namespace and starts to listen.
    pub fn open(netns: &Netns) -> Result<Self, String> {
        Self::with_table(netns, TRACE_TABLE)
    }

    /// The same with another table `inet lab_trace`. Of that one only the chain `end` is told of.
    pub fn with_table(netns: &Netns, table: &str) -> Result<Self, String> {
        netns.enter(|| {
            let places = places(&must("nft", &["-a", "list", "ruleset"], "")?);
            must("nft", &["-f", "-"], table)?;
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)
                .map_err(|error| format!("netlink socket: {error}"))?;
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20));
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1 << (NFNLGRP_NFTRACE - 1)))
                .map_err(|error| format!("netlink bind: {error}"))?;
            Ok(Self {
                space: netns.name.clone(),
                socket,
                places,
                headers: BTreeMap::new(),
                hits: Vec::new(),
                events: 0,
            })
        })
    }

    /// For `poll`.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The namespace.
    pub fn space(&self) -> &str {
        &self.space
    }

    /// How many events the last `read` found.
    pub fn events(&self) -> usize {
        self.events
    }

    /// What has been read since the last call, in order.
    pub fn take(&mut self) -> Vec<RuleHit> {
        std::mem::take(&mut self.hits).into_iter().filter_map(|(_, hit)| hit).collect()
    }

    /// Reads all that waits.
    pub fn read(&mut self) {
        self.events = 0;
        let mut buffer = vec![0_u8; 65_536];
        while let Ok(length) = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            let mut rest = &buffer[..length];
            while rest.len() >= 20 {
                let size = (u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize).min(rest.len());
                if size < 20 {
                    break;
                }
                if u16::from_ne_bytes([rest[4], rest[5]]) == NFT_MSG_TRACE {
                    self.events += 1;
                    let (id, hit) = self.read_event(rest[16], &rest[20..size]);
                    self.keep(id, hit);
                }
                rest = &rest[size.next_multiple_of(4).min(rest.len())..];
            }
        }
    }

    /// A rule that rejects is told of after the error that it has sent has gone its way (net/netfilter/nf_tables_core.c
    /// traces a rule when its target has run), but it came first: right after the packet's own last event. So it is
    /// with SYNPROXY, which keeps the packet and answers it.
    fn keep(&mut self, id: u64, hit: Option<RuleHit>) {
        let dropped = hit.as_ref().filter(|hit| matches!(&*hit.verdict, "drop" | "stolen") && hit.index.is_some());
        let at = dropped.and_then(|dropped| {
            let own = self.hits.iter().rposition(|(known, _)| *known == id).map(|at| at + 1);
            own.or_else(|| self.hits.iter().position(|(_, known)| is_answer_of_reject(known.as_ref(), dropped)))
        });
        self.hits.insert(at.unwrap_or(self.hits.len()), (id, hit));
    }

    fn read_event(&mut self, family: u8, attributes: &[u8]) -> (u64, Option<RuleHit>) {
        let event = attributes_of(attributes);
        let id = event.get(&NFTA_TRACE_ID).map_or(0, |bytes| number(bytes));
        (id, self.read_hit(id, family, &event))
    }

    fn read_hit(&mut self, id: u64, family: u8, event: &BTreeMap<u16, &[u8]>) -> Option<RuleHit> {
        let text = |kind: u16| {
            let bytes = event.get(&kind)?;
            Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
        };
        // Only the first event of a base chain's run carries the packet.
        if let Some(network) = event.get(&NFTA_TRACE_NETWORK_HEADER) {
            let mut bytes = network.to_vec();
            let behind = event.get(&NFTA_TRACE_TRANSPORT_HEADER).copied().unwrap_or_default();
            match bytes.first() {
                // Of long options the event has only the start.
                Some(first) if first >> 4 == 4 => bytes.resize(usize::from(first & 0x0f) * 4, 0),
                _ => {}
            }
            // Nor has it the extension headers, by which the transport's would be known.
            if bytes.first().is_none_or(|first| first >> 4 != 6) || !matches!(bytes.get(6), Some(0 | 43 | 44 | 51 | 60))
            {
                bytes.extend_from_slice(behind);
            }
            match Header::from_ip(&bytes) {
                Some(header) => self.headers.insert(id, header),
                None => self.headers.remove(&id),
            };
        }
        let (table, chain) = (text(NFTA_TRACE_TABLE)?, text(NFTA_TRACE_CHAIN)?);
        let family = family_name(family);
        if table == "lab_trace" && chain != "end" {
            return None;
        }
        let (index, verdict) = match number(event.get(&NFTA_TRACE_TYPE)?) {
            NFT_TRACETYPE_RULE => {
                let handle = number(event.get(&NFTA_TRACE_RULE_HANDLE)?);
                let index = self.places.get(&(family, table.clone(), handle)).copied();
                (Some(index.unwrap_or(usize::MAX)), verdict_name(event.get(&NFTA_TRACE_VERDICT)?))
            }
            NFT_TRACETYPE_POLICY => (None, if number(event.get(&NFTA_TRACE_POLICY)?) == 0 { "drop" } else { "accept" }),
            _ => return None,
        };
        Some(RuleHit {
            space: self.space.clone(),
            family,
            table,
            chain,
            index,
            verdict: verdict.to_owned(),
            header: self.headers.get(&id).cloned(),
        })
    }
}

const NFNLGRP_NFTRACE: u32 = 9;
const NFT_MSG_TRACE: u16 = 0x0a11;
const NFTA_TRACE_TABLE: u16 = 1;
const NFTA_TRACE_CHAIN: u16 = 2;
const NFTA_TRACE_RULE_HANDLE: u16 = 3;
const NFTA_TRACE_TYPE: u16 = 4;
const NFTA_TRACE_VERDICT: u16 = 5;
const NFTA_TRACE_ID: u16 = 6;
const NFTA_TRACE_NETWORK_HEADER: u16 = 8;
const NFTA_TRACE_TRANSPORT_HEADER: u16 = 9;
const NFTA_TRACE_POLICY: u16 = 16;
const NFT_TRACETYPE_POLICY: u64 = 1;
const NFT_TRACETYPE_RULE: u64 = 3;

/// Whether one hit is of the error, the reset or the SYN-ACK with which the other's rule answered its packet.
fn is_answer_of_reject(answer: Option<&RuleHit>, rejecting: &RuleHit) -> bool {
    let (Some(answer), Some(packet)) = (answer.and_then(|hit| hit.header.as_ref()), &rejecting.header) else {
        return false;
    };
    let wanted = if rejecting.verdict == "stolen" { 0x12 } else { 0x14 };
    let segment = answer.tcp_flags.is_some_and(|flags| flags & wanted == wanted) && answer.source == packet.destination;
    answer.destination == packet.source && (answer.is_icmp_error() || segment)
}

fn family_name(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "?",
    }
}

/// The verdict in `NFTA_VERDICT_CODE` (`enum nft_verdicts`).
fn verdict_name(nested: &[u8]) -> &'static str {
    let attributes = attributes_of(nested);
    let code = attributes.get(&1).map_or(u64::MAX, |bytes| number(bytes));
    match i32::from_be_bytes(u32::try_from(code).unwrap_or(0).to_be_bytes()) {
        0 => "drop",
        1 => "accept",
        2 => "stolen",
        // The queue's number and flags stand in the upper bits (`NF_QUEUE_NR`).
        code if code > 0 && code & 0xff == 3 => "queue",
        -1 => "continue",
        -3 => "jump",
        -4 => "goto",
        -5 => "return",
        _ => "?",
    }
}

fn attributes_of(mut bytes: &[u8]) -> BTreeMap<u16, &[u8]> {
    let mut attributes = BTreeMap::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        if length < 4 || length > bytes.len() {
            break;
        }
        attributes.insert(kind, &bytes[4..length]);
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    attributes
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Where each rule of `nft -a list ruleset` stands in its chain, by family, table and handle.
fn places(ruleset: &str) -> BTreeMap<(&'static str, String, u64), usize> {
    let mut places = BTreeMap::new();
    let (mut family, mut table, mut count) = ("?", String::new(), 0);
    for line in ruleset.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let handle = line.rsplit_once("# handle ").and_then(|(_, number)| number.trim().parse().ok());
        match words.as_slice() {
            ["table", of, name, ..] if !line.starts_with(char::is_whitespace) => {
                family = ["inet", "ip", "arp", "netdev", "bridge", "ip6"]
                    .into_iter()
                    .find(|known| known == of)
                    .unwrap_or("?");
                (*name).clone_into(&mut table);
            }
            ["chain", _, "{", ..] => count = 0,
            ["set" | "map" | "flowtable", _, "{", ..] => {}
            _ => {
                if let Some(handle) = handle {
                    count += 1;
                    places.insert((family, table.clone(), handle), count);
                }
            }
        }
    }
    places
}
