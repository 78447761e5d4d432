//! What stands between a device and who would have answered it: a device that is down or without a carrier, a bridge
//! port that isn't in the forwarding state, two isolated ports.

use crate::evidence::Evidence;
use crate::net::{IfName, NetnsName};
use crate::snapshot::{Link, Netns, PortState, Snapshot};

use super::skb::DevRef;

/// What is in the way, in words, and the lines that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub what: String,
    pub lines: Vec<Evidence>,
}

/// What keeps a device from being heard by any of the owners of an address on its link. Owners that are not on its link
/// don't count.
pub(super) fn between(snapshot: &Snapshot, from: &DevRef, owners: &[DevRef]) -> Option<Obstacle> {
    let mut found = beside(snapshot, from, from);
    for owner in owners.iter().filter(|owner| *owner != from && is_joined(snapshot, from, owner)) {
        found.extend(isolation(snapshot, from, owner));
        let theirs = beside(snapshot, owner, from);
        found.extend(theirs.into_iter().filter(|theirs| !found.contains(theirs)).collect::<Vec<_>>());
    }
    let lines = found.iter().flat_map(|(_, lines)| lines.iter().copied()).collect();
    let what: Vec<String> = found.into_iter().map(|(what, _)| what).collect();
    (!what.is_empty()).then(|| Obstacle { what: what.join(", "), lines })
}

type Told = (String, Vec<Evidence>);

/// What is wrong with a device and with the end of its veth pair.
fn beside(snapshot: &Snapshot, at: &DevRef, seen_from: &DevRef) -> Vec<Told> {
    let devices = [Some(at.clone()), peer(snapshot, at), bridge(snapshot, at)];
    let tell = |at: DevRef| {
        let link = snapshot.netns(at.0).link(&at.1)?;
        let (what, because) = closed(link)?;
        Some((format!("{} {what}", name(snapshot, &at, seen_from)), vec![because]))
    };
    devices.into_iter().flatten().filter_map(tell).collect()
}

/// Why a device carries nothing, if it doesn't.
fn closed(link: &Link) -> Option<(String, Evidence)> {
    if !link.up {
        return Some(("is down".to_owned(), link.evidence));
    }
    if !link.carrier {
        return Some(("has no carrier".to_owned(), link.evidence));
    }
    let port = link.port.as_ref().filter(|port| port.state != PortState::Forwarding)?;
    Some((format!("is a bridge port in the state {}", port.state.as_str()), port.evidence))
}

/// Isolated ports of one bridge don't hear each other.
fn isolation(snapshot: &Snapshot, from: &DevRef, owner: &DevRef) -> Option<Told> {
    let isolated = |at: &DevRef| {
        let port = peer(snapshot, at)?;
        let settings = snapshot.netns(port.0).link(&port.1)?.port.as_ref()?;
        settings.isolated.then(|| (name(snapshot, &port, from), settings.evidence))
    };
    let ((one, first), (other, second)) = (isolated(from)?, isolated(owner)?);
    Some((format!("the bridge ports {one} and {other} are isolated"), vec![first, second]))
}

/// Whether two devices hang on one bridge, or one of them is the bridge, or both are on one segment of the underlay.
fn is_joined(snapshot: &Snapshot, from: &DevRef, owner: &DevRef) -> bool {
    let ours = bridge(snapshot, from).unwrap_or_else(|| from.clone());
    let theirs = bridge(snapshot, owner).unwrap_or_else(|| owner.clone());
    let segment = |at: &DevRef| snapshot.topology.segment(at.0, &at.1);
    ours == theirs || (segment(from).is_some() && segment(from) == segment(owner))
}

fn peer(snapshot: &Snapshot, at: &DevRef) -> Option<DevRef> {
    snapshot.topology.veth_peer(at.0, &at.1).map(|peer| (peer.netns, peer.link))
}

/// The bridge that the other end of a veth pair is a port of.
fn bridge(snapshot: &Snapshot, at: &DevRef) -> Option<DevRef> {
    let (netns, port) = peer(snapshot, at)?;
    let master = snapshot.netns(netns).link(&port)?.master.clone()?;
    Some((netns, master))
}

/// A device's name, with its place where that is another one than the asker's.
fn name(snapshot: &Snapshot, (at, dev): &DevRef, seen_from: &DevRef) -> String {
    let netns = snapshot.netns(*at);
    match &netns.name {
        _ if *at == seen_from.0 => dev.to_string(),
        NetnsName::Host => format!("{dev} on {}", netns.node),
        NetnsName::Pod(pod) => format!("{dev} of pod {pod}"),
    }
}

/// Devices of a namespace that have addresses and are down, whose routes the kernel has taken away (`fib_disable_ip` in
/// `net/ipv4/fib_frontend.c`).
pub(super) fn down(tables: &Netns) -> Option<Obstacle> {
    let has_address = |dev: &IfName| tables.addrs_of(dev).next().is_some();
    let down: Vec<&Link> = tables.links.iter().flatten().filter(|link| !link.up && has_address(&link.name)).collect();
    let names: Vec<&str> = down.iter().map(|link| link.name.as_str()).collect();
    let what = format!("{} {} down", names.join(" and "), if down.len() > 1 { "are" } else { "is" });
    (!down.is_empty()).then(|| Obstacle { what, lines: down.iter().map(|link| link.evidence).collect() })
}
