//! What connection tracking knows of a packet (`nft_ct.c`).

use std::net::IpAddr;

use crate::snapshot::nft::CtKey;
use crate::snapshot::{ConntrackTuple, Direction};
use crate::trace::CtState;

use super::super::conntrack::{self, CtEntry, Dir, Nfct};
use super::super::conntrack_kept::Counters;
use super::super::walk::Walk;
use super::doubt::{Doubt, Field, May};
use super::field::bits;
use super::load::{Break, flow};

/// A key's value (`nft_ct_get_eval`).
pub(super) fn nft_ct_get(walk: &Walk, key: CtKey, direction: Option<Direction>) -> Result<Field, Break> {
    if key == CtKey::State {
        return Ok(Ok(state(walk)));
    }
    let entry = match walk.skb.nfct {
        // A template is no connection (`nf_ct_is_template`).
        Nfct::Template(_) | Nfct::Proxy => return Err(Break),
        _ => conntrack::entry(walk).ok_or(Break)?,
    };
    let reply = direction.map_or_else(|| conntrack::is_reply(walk), |direction| direction == Direction::Reply);
    let dir = if reply { Dir::Reply } else { Dir::Original };
    let tuple = entry.tuple(dir);
    let address = |addr: IpAddr, four: Option<bool>| match four {
        Some(four) if addr.is_ipv4() != four => Err(Break),
        _ => Ok(Ok(bits(addr))),
    };
    match key {
        CtKey::Direction => Ok(Ok(u128::from(conntrack::is_reply(walk)))),
        CtKey::Status => Ok(status(entry)),
        CtKey::Mark => Ok(Ok(u128::from(entry.mark.0))),
        CtKey::Zone => Ok(Ok(u128::from(direction.map_or(entry.zone.id, |_| entry.zone.of(dir))))),
        CtKey::L3proto => Ok(Ok(if tuple.source.is_ipv4() { 2 } else { 10 })),
        CtKey::Protocol => Ok(Ok(u128::from(entry.protocol.0))),
        CtKey::Saddr => address(tuple.source, None),
        CtKey::Daddr => address(tuple.destination, None),
        CtKey::IpSaddr => address(tuple.source, Some(true)),
        CtKey::IpDaddr => address(tuple.destination, Some(true)),
        CtKey::Ip6Saddr => address(tuple.source, Some(false)),
        CtKey::Ip6Daddr => address(tuple.destination, Some(false)),
        CtKey::ProtoSrc => Ok(port(walk, entry, tuple, tuple.source_port, key)),
        CtKey::ProtoDst => Ok(port(walk, entry, tuple, tuple.destination_port, key)),
        CtKey::Label => Ok(entry.kept.labels.ok_or_else(|| doubt(walk, key))),
        CtKey::Packets | CtKey::Bytes | CtKey::Avgpkt => {
            Ok(counted(entry, key, direction).ok_or_else(|| doubt(walk, key)))
        }
        // Only a connection that another one's helper expected has one to tell of.
        CtKey::Other("helper") if !entry.expected => Err(Break),
        CtKey::State | CtKey::Other(_) => Ok(Err(doubt(walk, key))),
    }
}

/// What a connection has carried, one way or both; 0 where nothing counts (`nft_ct_get_eval_counter`).
fn counted(entry: &CtEntry, key: CtKey, direction: Option<Direction>) -> Option<u128> {
    let [original, reply] = match entry.kept.counters {
        Counters::Counted(counters) => counters,
        Counters::Off => [(0, 0); 2],
        Counters::Unknown => return None,
    };
    let (packets, bytes) = match direction {
        Some(Direction::Original) => original,
        Some(Direction::Reply) => reply,
        None => (original.0.saturating_add(reply.0), original.1.saturating_add(reply.1)),
    };
    Some(u128::from(match key {
        CtKey::Packets => packets,
        CtKey::Bytes => bytes,
        _ => bytes.checked_div(packets).unwrap_or(0),
    }))
}

/// `NF_CT_STATE_BIT` of the packet's state; a template looks like a new connection.
fn state(walk: &Walk) -> u128 {
    if matches!(walk.skb.nfct, Nfct::Template(_) | Nfct::Proxy) {
        return 8;
    }
    match conntrack::state(walk) {
        CtState::New => 8,
        CtState::Established => 2,
        CtState::Related => 4,
        CtState::Untracked => 64,
        CtState::Invalid => 1,
    }
}

/// `enum ip_conntrack_status`. Whether a connection is assured may depend on its age.
fn status(entry: &CtEntry) -> Field {
    const ASSURED: u128 = 4;
    let bit = |set: bool, bit: u128| if set { bit } else { 0 };
    let bits = bit(entry.expected, 1)
        | bit(entry.seen_reply, 2)
        | bit(entry.assured, ASSURED)
        | bit(entry.confirmed, 8)
        | bit(entry.snat, 16)
        | bit(entry.dnat, 32)
        | bit(entry.snat_done, 128)
        | bit(entry.dnat_done, 256);
    if entry.maybe_assured && !entry.assured {
        return Err(Doubt::fact(conntrack::assured_by_age(entry)).that_may(May::Either(bits | ASSURED, bits)));
    }
    Ok(bits)
}

/// A tuple's port; 0 in protocols without ports.
fn port(walk: &Walk, entry: &CtEntry, tuple: &ConntrackTuple, port: Option<u16>, key: CtKey) -> Field {
    let has_ports = entry.protocol.has_ports() || matches!(entry.protocol.0, 1 | 58);
    match port {
        Some(port) => Ok(u128::from(port)),
        None if has_ports => {
            let (from, to) = (tuple.source, tuple.destination);
            let side = if key == CtKey::ProtoSrc { "source" } else { "destination" };
            Err(Doubt::fact(format!("the {side} port of the connection {from} > {to} on {}", walk.place().node)))
        }
        None => Ok(0),
    }
}

fn doubt(walk: &Walk, key: CtKey) -> Doubt {
    if key == CtKey::Other("expiration") {
        // The packet itself has just set it anew (`nf_ct_refresh_acct`), and a connection that begins has none that means
        // anything: `nf_ct_expires` takes the clock from what is no time yet.
        let flow = flow(walk.packet());
        return Doubt::fact(format!(
            "for how long the connection of {flow} stays without another packet (ct expiration)"
        ));
    }
    let word = match key {
        CtKey::Other(word) => word.to_owned(),
        key => format!("{key:?}").to_lowercase(),
    };
    Doubt::fact(format!("ct {word} of {}", flow(walk.packet())))
}
