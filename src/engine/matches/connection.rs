//! Extensions that ask about the packet's connection.

use crate::net::Protocol;
use crate::snapshot::{
    ConntrackMatch, ConntrackStatus, ConntrackTuple, CtStates, Direction, MarkTest, PortRange, Test,
};
use crate::trace::CtState;

use super::super::conntrack::{self, CtEntry, Nfct};
use super::super::walk::Walk;
use super::Answer;

/// `conntrack_mt` in `net/netfilter/xt_conntrack.c`.
pub(super) fn conntrack_mt(walk: &Walk, asked: &ConntrackMatch) -> Answer {
    let entry = conntrack::entry(walk);
    if matches!(walk.skb.nfct, Nfct::Template(_) | Nfct::Proxy) && *asked != only_states(asked) {
        return Answer::unknowable("what a connection's template holds is what the rule asks for");
    }
    if asked.states.is_some_and(|test| !test.of(state_bits(walk, entry) & test.value.0 != 0)) {
        return Answer::No;
    }
    let Some(entry) = entry else { return Answer::from(asked.states.is_some()) };
    let direction = if conntrack::is_reply(walk) { Direction::Reply } else { Direction::Original };
    let addresses = [
        (&asked.orig_src, entry.original.source),
        (&asked.orig_dst, entry.original.destination),
        (&asked.repl_src, entry.reply.source),
        (&asked.repl_dst, entry.reply.destination),
    ];
    let known = asked.direction.is_none_or(|test| test.of(test.value == direction))
        && addresses.into_iter().all(|(test, addr)| test.as_ref().is_none_or(|test| test.matches(addr)))
        && asked.protocol.is_none_or(|test| test.of(test.value == entry.protocol))
        && asked.status.is_none_or(|test| maybe_assured(test, entry) || test.of(has_status(test, entry)));
    if !known {
        return Answer::No;
    }
    let assured = asked
        .status
        .filter(|test| maybe_assured(*test, entry))
        .map_or(Answer::from(true), |test| Answer::unknown(conntrack::assured_by_age(entry)).inverted(test.invert));
    match assured.and(|| ports(asked, entry)) {
        Answer::Yes(_) if asked.expires.is_some() => {
            Answer::unknowable("the time that the connection has left is what the rule asks for")
        }
        answer => answer,
    }
}

/// The condition without anything but the states.
fn only_states(asked: &ConntrackMatch) -> ConntrackMatch {
    ConntrackMatch { states: asked.states, ..ConntrackMatch::default() }
}

/// `XT_CONNTRACK_STATE_BIT`, and the bits for NAT.
fn state_bits(walk: &Walk, entry: Option<&CtEntry>) -> u8 {
    let state = match conntrack::state(walk) {
        // `CT` attaches a template, which looks like a new connection until it is tracked.
        _ if matches!(walk.skb.nfct, Nfct::Template(_) | Nfct::Proxy) => CtStates::NEW,
        CtState::New => CtStates::NEW,
        CtState::Established => CtStates::ESTABLISHED,
        CtState::Related => CtStates::RELATED,
        CtState::Invalid => CtStates::INVALID,
        CtState::Untracked => CtStates::UNTRACKED,
    };
    let bit = |set: bool, bit: CtStates| if set { bit.0 } else { 0 };
    state.0
        | bit(entry.is_some_and(|entry| entry.snat), CtStates::SNAT)
        | bit(entry.is_some_and(|entry| entry.dnat), CtStates::DNAT)
}

fn has_status(test: Test<ConntrackStatus>, entry: &CtEntry) -> bool {
    status_bits(entry) & test.value.0 != 0
}

/// Whether it depends on the connection's age.
fn maybe_assured(test: Test<ConntrackStatus>, entry: &CtEntry) -> bool {
    entry.maybe_assured && !entry.assured && test.value.0 & ConntrackStatus::ASSURED.0 != 0 && !has_status(test, entry)
}

fn status_bits(entry: &CtEntry) -> u8 {
    let bit = |set: bool, bit: ConntrackStatus| if set { bit.0 } else { 0 };
    bit(entry.expected, ConntrackStatus::EXPECTED)
        | bit(entry.seen_reply, ConntrackStatus::SEEN_REPLY)
        | bit(entry.assured, ConntrackStatus::ASSURED)
        | bit(entry.confirmed, ConntrackStatus::CONFIRMED)
}

/// `ct_proto_port_check_v3`.
fn ports(asked: &ConntrackMatch, entry: &CtEntry) -> Answer {
    let tests = [
        (asked.orig_src_port, source(entry, &entry.original), "source port"),
        (asked.orig_dst_port, destination(entry, &entry.original), "destination port"),
        (asked.repl_src_port, source(entry, &entry.reply), "answer's source port"),
        (asked.repl_dst_port, destination(entry, &entry.reply), "answer's destination port"),
    ];
    let mut unknown = None;
    for (test, port, name) in tests {
        let Some(Test { value, invert }) = test else { continue };
        match port {
            Some(port) if value.contains(port) == invert => return Answer::No,
            Some(_) => {}
            None => unknown = Some(doubt(name, value, entry)),
        }
    }
    unknown.unwrap_or(Answer::from(true))
}

fn doubt(name: &str, range: PortRange, entry: &CtEntry) -> Answer {
    let tuple = entry.original;
    let (from, to) = (tuple.source, tuple.destination);
    Answer::unknown(format!("the {name} of the connection {from} > {to} is what {}:{} asks for", range.low, range.high))
}

/// A tuple's source port; 0 in protocols without ports.
fn source(entry: &CtEntry, tuple: &ConntrackTuple) -> Option<u16> {
    tuple.source_port.or_else(|| (!has_ports(entry.protocol)).then_some(0))
}

/// A tuple's destination port, an ICMP message's type and code.
fn destination(entry: &CtEntry, tuple: &ConntrackTuple) -> Option<u16> {
    tuple.destination_port.or_else(|| (!has_ports(entry.protocol)).then_some(0))
}

fn has_ports(protocol: Protocol) -> bool {
    protocol.has_ports() || matches!(protocol, Protocol::ICMP | Protocol::ICMPV6)
}

/// `connmark_mt` in `net/netfilter/xt_connmark.c`: a packet without a connection doesn't match, negated or not.
pub(super) fn connmark_mt(walk: &Walk, test: Test<MarkTest>) -> Answer {
    let mark = match walk.skb.nfct {
        // `CT` attaches a template, which has no mark.
        Nfct::Template(_) | Nfct::Proxy => Some(0),
        _ => conntrack::entry(walk).map(|entry| entry.mark.0),
    };
    Answer::from(mark.is_some_and(|mark| test.of(mark & test.value.mask == test.value.value)))
}
