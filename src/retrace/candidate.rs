//! Who may have sent a packet, and to what.

use std::net::{IpAddr, SocketAddr};

use crate::engine::Origin;
use crate::net::{Family, NetnsId, NetnsName, Packet, Protocol, Transport};
use crate::snapshot::{Pod, Snapshot};
use crate::trace::Role;

use super::services::Services;
use super::{Point, entry};

/// How many pods of a node are tried as senders of what the node has translated.
const MOST_PODS: usize = 128;
/// How many other nodes.
const MOST_NODES: usize = 16;
/// How many of a node's own addresses.
const MOST_ADDRESSES: usize = 8;
/// Addresses that documentation may use (RFC 5737, RFC 3849): a client outside whose own address was translated.
const OUTSIDE: [&str; 4] = ["203.0.113.1", "198.51.100.1", "192.0.2.1", "2001:db8:ffff::1"];

/// The addresses and ports of a conversation in its original direction, as one capture point shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// The protocol.
    pub protocol: Protocol,
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The source port, of protocols with ports.
    pub source_port: Option<u16>,
    /// The destination port.
    pub destination_port: Option<u16>,
}

/// Senders that a node's address hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kin {
    /// Pods of the node.
    Pods,
    /// The node's own sockets that are bound to another of its addresses.
    Bound,
    /// Other nodes.
    Nodes,
    /// Other nodes' pods.
    FarPods,
}

/// Who may have sent a packet, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it started.
    pub from: Origin,
    /// Its source address, unspecified where the route chose it.
    pub source: IpAddr,
    /// Its source port.
    pub source_port: Option<u16>,
    /// Its destination address.
    pub destination: IpAddr,
    /// Its destination port.
    pub destination_port: Option<u16>,
    /// Who that is, in words.
    pub from_name: String,
    /// What it was sent to, in words.
    pub to_name: String,
    /// What tells so.
    pub note: Option<String>,
    /// Whether it is sent as it was captured, so that nothing translated it before.
    pub is_plain: bool,
    /// Whether the sender's socket is bound to the address, so that no route chose it.
    pub is_bound: bool,
    /// Which of several that are alike to the point stand for each other: one that fits is enough.
    pub kin: Option<(Kin, IpAddr, Option<u16>)>,
}

/// The original direction of what a packet belongs to; `None` for an error that quotes nothing.
#[must_use]
pub fn original(packet: &Packet, role: Role) -> Option<Tuple> {
    let of = |packet: &Packet| Tuple {
        protocol: packet.protocol(),
        source: packet.ip.source,
        destination: packet.ip.destination,
        source_port: packet.source_port(),
        destination_port: packet.destination_port(),
    };
    match (role, &packet.transport) {
        (Role::Original, _) => Some(of(packet)),
        (Role::Reply, _) => {
            let tuple = of(packet);
            Some(Tuple {
                source: tuple.destination,
                destination: tuple.source,
                source_port: tuple.destination_port,
                destination_port: tuple.source_port,
                ..tuple
            })
        }
        (Role::Error, Transport::Icmp { quoted: Some(quoted), .. }) => Some(of(quoted.innermost())),
        (Role::Error, _) => None,
    }
}

/// Everybody who may have sent it, to everything that it may have been sent to: first as it is, then as address
/// translation may have made it. Those of the second list are worth a look where the first has none that fits.
pub(super) fn candidates(
    snapshot: &Snapshot,
    services: &Services,
    seen: &Tuple,
    point: &Point,
) -> (Vec<Candidate>, Vec<Candidate>) {
    let mut tuples = vec![(*seen, None)];
    if let Some(port) = seen.destination_port {
        let fronts = services.of(seen.destination, port, seen.protocol);
        tuples.extend(fronts.iter().map(|front| {
            let tuple = Tuple { destination: front.address, destination_port: Some(front.port), ..*seen };
            (tuple, Some(front.name.clone()))
        }));
    }
    let mut all = Vec::new();
    for (place, (tuple, name)) in tuples.iter().enumerate() {
        let plain = as_sent(snapshot, tuple).into_iter();
        all.extend(plain.map(|candidate| named(Candidate { is_plain: place == 0, ..candidate }, name.as_ref())));
    }
    let Some(host) = translator(snapshot, seen.source, point) else { return (all, Vec::new()) };
    let mut far = Vec::new();
    // A node translates what was sent to a port of its own, not of another node's.
    let is_elsewhere = |tuple: &Tuple| {
        let mut owners = snapshot.owner_of(tuple.destination).into_iter().peekable();
        *tuple != *seen && owners.peek().is_some() && owners.all(|(netns, _)| netns != host)
    };
    for (tuple, name) in &tuples {
        let is_elsewhere = is_elsewhere(tuple);
        // Its own pods it hides towards another node, too.
        let may_be = |candidate: &Candidate| !is_elsewhere || matches!(candidate.kin, Some((Kin::Pods, ..)));
        let hidden = behind(snapshot, host, tuple).into_iter().filter(may_be);
        all.extend(hidden.map(|candidate| named(candidate, name.as_ref())));
        if is_elsewhere {
            continue;
        }
        far.extend(others(snapshot, host, tuple).into_iter().map(|candidate| named(candidate, name.as_ref())));
    }
    all.sort_by_key(|candidate| !candidate.is_plain && is_unusual(snapshot, candidate));
    (all, far)
}

/// Whether it is sent as few do: clients outside ask a node's port, pods and nodes a service's own address.
fn is_unusual(snapshot: &Snapshot, candidate: &Candidate) -> bool {
    let is_outside = matches!(candidate.from, Origin::Outside { .. });
    is_outside == snapshot.owner_of(candidate.destination).is_empty()
}

fn named(candidate: Candidate, name: Option<&String>) -> Candidate {
    let to_name = name.cloned().unwrap_or(candidate.to_name);
    Candidate { to_name, ..candidate }
}

/// Whoever has the source address.
pub(super) fn as_sent(snapshot: &Snapshot, tuple: &Tuple) -> Vec<Candidate> {
    let mut owners: Vec<NetnsId> = snapshot.owner_of(tuple.source).into_iter().map(|(netns, _)| netns).collect();
    owners.dedup();
    if tuple.source.is_loopback() {
        owners.clear();
    }
    let mut all: Vec<Candidate> = owners.iter().map(|netns| socket(snapshot, *netns, tuple.source, tuple)).collect();
    // An address of the cluster that nobody has sends nothing.
    if owners.is_empty() && !snapshot.is_cluster_address(tuple.source) && !is_absent(snapshot, tuple.source) {
        all.push(outside(snapshot, tuple.source, tuple));
    }
    all
}

/// Whether the address is of a pod or node whose tables are not in the snapshot.
pub(super) fn is_absent(snapshot: &Snapshot, address: IpAddr) -> bool {
    let pod = || snapshot.kube.pod_with(address).is_some_and(Pod::is_live);
    snapshot.owner_of(address).is_empty() && (snapshot.absent_node(address).is_some() || pod())
}

/// The node that may have put its own address in the place of another.
fn translator(snapshot: &Snapshot, source: IpAddr, point: &Point) -> Option<NetnsId> {
    let hosts = snapshot.owner_of(source).into_iter().map(|(netns, _)| netns);
    let mut hosts = hosts.filter(|netns| snapshot.netns(*netns).name == NetnsName::Host).peekable();
    let first = hosts.peek().copied();
    // Of an address that several nodes have, the one at hand.
    hosts.find(|host| *host == point.netns).or(first)
}

/// Whose packets a node may have given its own address: its pods', and those of clients outside.
fn behind(snapshot: &Snapshot, host: NetnsId, tuple: &Tuple) -> Vec<Candidate> {
    let node = &snapshot.netns(host).node;
    let any = Family::of(tuple.source).unspecified();
    let is_pod = |id: NetnsId| snapshot.netns(id).name != NetnsName::Host;
    let own = snapshot.netns_ids().filter(|(id, netns)| is_pod(*id) && netns.node == *node);
    let pods = own.take(MOST_PODS).map(|(id, _)| socket(snapshot, id, any, tuple));
    let pods = pods.map(|candidate| kindred(candidate, Kin::Pods));
    let family = Family::of(tuple.source);
    let client = OUTSIDE
        .iter()
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .find(|address| Family::of(*address) == family && !snapshot.is_cluster_address(*address));
    let client = client.into_iter().map(|client| outside(snapshot, client, tuple));
    let client = client.map(|candidate| Candidate { from_name: "a client outside".to_owned(), ..candidate });
    let own = bound(snapshot, host, tuple).into_iter();
    let peers = other_nodes(snapshot, host, tuple).into_iter();
    pods.chain(client).chain(own).chain(peers).map(|candidate| Candidate { is_plain: false, ..candidate }).collect()
}

/// The node's own sockets that are bound to another of its addresses.
fn bound(snapshot: &Snapshot, host: NetnsId, tuple: &Tuple) -> Vec<Candidate> {
    let addrs = snapshot.netns(host).addrs.iter().flatten().map(|addr| addr.address);
    let others = addrs.filter(|address| {
        let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        Family::of(*address) == Family::of(tuple.source) && *address != tuple.source && !is_link_local
    });
    let others = others.take(MOST_ADDRESSES).map(|address| socket(snapshot, host, address, tuple));
    others.map(|candidate| Candidate { is_bound: true, ..kindred(candidate, Kin::Bound) }).collect()
}

/// Other nodes that may have sent it to this one's address.
fn other_nodes(snapshot: &Snapshot, host: NetnsId, tuple: &Tuple) -> Vec<Candidate> {
    if !snapshot.owner_of(tuple.destination).iter().any(|(netns, _)| *netns == host) {
        return Vec::new();
    }
    let is_host = |id: NetnsId| snapshot.netns(id).name == NetnsName::Host;
    let others = snapshot.netns_ids().filter(|(id, _)| *id != host && is_host(*id)).take(MOST_NODES);
    let others = others.map(|(id, _)| socket(snapshot, id, Family::of(tuple.source).unspecified(), tuple));
    others.map(|candidate| kindred(candidate, Kin::Nodes)).collect()
}

fn kindred(candidate: Candidate, kin: Kin) -> Candidate {
    Candidate { kin: Some((kin, candidate.destination, candidate.destination_port)), ..candidate }
}

/// The same of what pods of other nodes send to the node itself.
fn others(snapshot: &Snapshot, host: NetnsId, tuple: &Tuple) -> Vec<Candidate> {
    let node = &snapshot.netns(host).node;
    let any = Family::of(tuple.source).unspecified();
    if !snapshot.owner_of(tuple.destination).iter().any(|(netns, _)| *netns == host) {
        return Vec::new();
    }
    let pods = snapshot.netns_ids().filter(|(_, netns)| netns.node != *node && netns.name != NetnsName::Host);
    let elsewhere = pods.take(MOST_PODS);
    let all = elsewhere.map(|(id, _)| kindred(socket(snapshot, id, any, tuple), Kin::FarPods));
    all.map(|candidate| Candidate { is_plain: false, ..candidate }).collect()
}

fn socket(snapshot: &Snapshot, netns: NetnsId, source: IpAddr, tuple: &Tuple) -> Candidate {
    candidate(snapshot, Origin::Socket { netns }, source, netns_name(snapshot, netns), tuple)
}

fn outside(snapshot: &Snapshot, source: IpAddr, tuple: &Tuple) -> Candidate {
    let entries = entry::entries(Some(tuple.destination), Family::of(tuple.destination), snapshot);
    let from = Origin::Outside { entries };
    candidate(snapshot, from, source, source.to_string(), tuple)
}

fn candidate(snapshot: &Snapshot, from: Origin, source: IpAddr, from_name: String, tuple: &Tuple) -> Candidate {
    let to_name = match netns_of(snapshot, tuple.destination) {
        Some(_) => name(snapshot, tuple.destination),
        None => endpoint(tuple.destination, tuple.destination_port),
    };
    Candidate {
        from,
        source,
        source_port: tuple.source_port,
        destination: tuple.destination,
        destination_port: tuple.destination_port,
        from_name,
        to_name,
        note: None,
        is_plain: true,
        is_bound: false,
        kin: None,
    }
}

fn netns_of(snapshot: &Snapshot, address: IpAddr) -> Option<NetnsId> {
    let mut owners = snapshot.owner_of(address).into_iter().map(|(netns, _)| netns);
    let first = owners.next()?;
    owners.all(|other| other == first).then_some(first)
}

/// A namespace as `explain` calls it.
fn netns_name(snapshot: &Snapshot, netns: NetnsId) -> String {
    let netns = snapshot.netns(netns);
    match &netns.name {
        NetnsName::Host => format!("node/{}", netns.node),
        NetnsName::Pod(pod) => pod.to_string(),
    }
}

/// Who has an address, as `explain` calls it, or the address.
#[must_use]
pub fn name(snapshot: &Snapshot, address: IpAddr) -> String {
    match netns_of(snapshot, address) {
        Some(netns) => netns_name(snapshot, netns),
        None => snapshot.kube.pod_with(address).map_or_else(|| address.to_string(), |pod| pod.name.to_string()),
    }
}

/// An address with its port.
pub(super) fn endpoint(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}
