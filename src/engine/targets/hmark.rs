//! `HMARK`: a mark that is a hash of the packet's flow (`net/netfilter/xt_HMARK.c`).

use std::net::IpAddr;

use crate::net::{Mark, Packet, Transport};
use crate::snapshot::{ConntrackTuple, Options, Rule};
use crate::trace::{Reason, RuleVerdict};

use super::super::conntrack;
use super::super::end::{End, Stage};
use super::super::iptables::{Change, Record};
use super::super::jhash::{jhash, reciprocal_scale};
use super::super::matches::{number, value};
use super::super::walk::Walk;
use super::Action;

/// What is hashed (`struct hmark_tuple`), before the masks.
struct Flow {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: Ports,
}

/// The first four bytes of what the packet carries.
enum Ports {
    Known(u16, u16),
    /// Its protocol has none.
    Absent,
    Unknown,
}

/// `hmark_tg_v4` and `hmark_tg_v6`.
pub(super) fn hmark(walk: &mut Walk, options: &Options, rule: &Rule, record: &Record<'_, '_>) -> Stage<Action> {
    let by_connection = value(options, "--hmark-tuple") == "ct";
    let flow =
        if by_connection { of_connection(walk) } else { Some(of_packet(subject(walk.packet()), walk.skb.in_pieces)) };
    let Some(flow) = flow else {
        // A packet without a connection keeps its mark.
        record.take(walk, RuleVerdict::Continue, Change::default());
        return Ok(Action::Continue);
    };
    let Some(mark) = hash(&flow, options) else {
        record.take(walk, RuleVerdict::Continue, Change::default());
        let what = format!("the mark that HMARK gives is a hash of a port that nobody knows: {}", record.text());
        return Err(End::undetermined(Reason::Userspace, what).because([rule.evidence]));
    };
    record.take(walk, RuleVerdict::Continue, Change { mark: Some(Mark(mark)), ..Change::default() });
    Ok(Action::Continue)
}

/// The packet that an error is about, or the packet itself (`get_inner_hdr`).
fn subject(packet: &Packet) -> &Packet {
    match &packet.transport {
        Transport::Icmp { quoted: Some(quoted), .. } => quoted,
        _ => packet,
    }
}

/// `hmark_pkt_set_htuple_ipv4`, `hmark_pkt_set_htuple_ipv6`.
fn of_packet(packet: &Packet, in_pieces: bool) -> Flow {
    let protocol = packet.protocol();
    let ports = match packet.transport {
        // DCCP and UDP-Lite, whose ports the walk doesn't keep; ESP and AH, of which the kernel takes the index.
        Transport::Other(_) if matches!(protocol.0, 33 | 50 | 51 | 136) => Ports::Unknown,
        Transport::Icmp { .. } | Transport::Other(_) => Ports::Absent,
        _ if in_pieces => Ports::Unknown,
        _ => match packet.source_port().zip(packet.destination_port()) {
            Some((source, destination)) => Ports::Known(source, destination),
            None => Ports::Unknown,
        },
    };
    Flow { source: packet.ip.source, destination: packet.ip.destination, protocol: protocol.0, ports }
}

/// `hmark_ct_set_htuple`: who opened the connection, and who answers it.
fn of_connection(walk: &Walk) -> Option<Flow> {
    let entry = conntrack::entry(walk)?;
    let (original, reply) = (entry.original, entry.reply);
    let known = |tuple: &ConntrackTuple| match (tuple.source_port, entry.protocol.0) {
        (Some(port), _) => Some(port),
        (None, 6 | 17 | 33 | 132 | 136) => None,
        (None, _) => Some(0),
    };
    let ports = match (entry.protocol.0, known(&original).zip(known(&reply))) {
        (1, _) => Ports::Absent,
        (_, Some((source, destination))) => Ports::Known(source, destination),
        _ => Ports::Unknown,
    };
    Some(Flow { source: original.source, destination: reply.source, protocol: entry.protocol.0, ports })
}

/// `hmark_hash`; `None` where a port counts that nobody knows.
fn hash(flow: &Flow, options: &Options) -> Option<u32> {
    let asked = |name: &str| options.find(name).and_then(|option| number(&option.value)).unwrap_or(0);
    let ends = [(flow.source, "--hmark-src-prefix"), (flow.destination, "--hmark-dst-prefix")];
    let [source, destination] = ends.map(|(addr, name)| word(addr, asked(name)));
    let masks = [
        asked("--hmark-sport-mask") | asked("--hmark-spi-mask") >> 16,
        asked("--hmark-dport-mask") | asked("--hmark-spi-mask") & 0xffff,
    ];
    let set =
        [asked("--hmark-sport") | asked("--hmark-spi") >> 16, asked("--hmark-dport") | asked("--hmark-spi") & 0xffff];
    let ports = match flow.ports {
        Ports::Absent => 0,
        Ports::Unknown if masks == [0, 0] => both([0, 0], masks, set),
        Ports::Unknown => return None,
        Ports::Known(source, destination) => both([source, destination].map(u32::from), masks, set),
    };
    let (low, high) = if destination < source { (destination, source) } else { (source, destination) };
    let key: Vec<u8> = [low, high, ports].into_iter().flat_map(u32::to_le_bytes).collect();
    let hash = jhash(&key, asked("--hmark-rnd")) ^ (u32::from(flow.protocol) & asked("--hmark-proto-mask"));
    Some(reciprocal_scale(hash, asked("--hmark-mod")).wrapping_add(asked("--hmark-offset")))
}

/// An address under a mask; the four words of IPv6 together (`hmark_addr6_mask`).
fn word(addr: IpAddr, length: u32) -> u32 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits() & u32::MAX.checked_shl(32 - length.min(32)).unwrap_or(0),
        IpAddr::V6(addr) => {
            let bits = addr.to_bits() & u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
            bits.to_be_bytes()
                .chunks_exact(4)
                .fold(0, |word, part| word ^ part.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)))
        }
    }
}

/// `hmark_swap_ports`: the larger one first.
fn both(ports: [u32; 2], masks: [u32; 2], set: [u32; 2]) -> u32 {
    let [a, b] = [0, 1].map(|place: usize| {
        let part = |list: [u32; 2]| list.get(place).copied().unwrap_or(0);
        (part(ports) & part(masks)) | part(set)
    });
    a.max(b) << 16 | a.min(b)
}
