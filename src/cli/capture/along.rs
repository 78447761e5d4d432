//! `--along FROM TO`: where the flow's packets pass on this node, and what they look like there.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::capture::live::Spot;
use crate::cli::args::{Capture, PacketOptions, State};
use crate::cli::question::{self, Asked, Resolved, Terms};
use crate::cli::{explain, open, output};
use crate::collect::node::{Namespaces, Netns, collect};
use crate::collect::{Stop, Target};
use crate::correlate::{Point, PointId};
use crate::engine;
use crate::error::Error;
use crate::load;
use crate::net::{IfName, NetnsName, NodeName, Packet};
use crate::snapshot::Snapshot;
use crate::trace::{Answer, Decision, Step, Trace};

use super::filter::{self, Ports};

/// How many ways of the flow are walked.
const MOST_PATHS: u32 = 64;

/// What to capture, and what is said of it beforehand.
pub(super) struct Along {
    /// The snapshot that predicts the path.
    pub(super) snapshot: Snapshot,
    /// The node.
    pub(super) node: NodeName,
    /// The devices on the path, in its order.
    pub(super) points: Vec<Point>,
    /// The devices with their filters.
    pub(super) spots: Vec<Spot>,
    /// Points that hand a packet up one to the other, in the order in which they do.
    pub(super) orders: Vec<Vec<PointId>>,
}

/// A device on the path.
struct Hop {
    point: Point,
    /// What the flow's packets look like there.
    filters: BTreeSet<String>,
}

impl Along {
    /// Predicts the path, and finds its devices on this node.
    pub(super) fn new(typed: &Capture) -> Result<Self, Error> {
        let [from, to] = typed.flow.along.as_slice() else {
            return Err(Error::Usage("--along: FROM and TO are wanted".to_owned()));
        };
        let namespaces = Namespaces::find(typed.node.as_deref())?;
        let snapshot = snapshot(typed, &namespaces.node)?;
        let answer = explain::patiently(|| answer(typed, from, to, &snapshot))?;
        if typed.flow.snapshot.is_some() {
            // Without, they are among what the snapshot's taking has told.
            namespaces.notes.iter().for_each(|note| output::complain(&format!("note: {note}")));
        }
        if answer.unexplored.is_some() {
            output::complain(
                "note: there are more ways than are followed: packets on the others are not captured behind what sends \
                 them there, and are counted as lost",
            );
        }
        let mut hops =
            Hops { node: &namespaces.node, sport: typed.flow.sport, request: &answer.request, list: Vec::new() };
        let mut orders: Vec<Vec<Point>> = Vec::new();
        for path in &answer.paths {
            orders.extend(hops.walk(&path.forward, Direction::There));
            match &path.reply {
                Some(reply) => orders.extend(hops.walk(reply, Direction::Back)),
                None => hops.mirror(&path.forward),
            }
        }
        let (points, spots) = open_where(hops.list, &snapshot, &namespaces, &answer)?;
        let place = |point: &Point| points.iter().position(|known| known == point);
        let id = |point: &Point| place(point).and_then(|place| u16::try_from(place).ok()).map(PointId);
        let orders = orders.iter().map(|order| order.iter().filter_map(id).collect()).collect();
        Ok(Self { snapshot, node: namespaces.node, points, spots, orders })
    }
}

/// The snapshot that was named, or one that is taken now.
fn snapshot(typed: &Capture, node: &NodeName) -> Result<Snapshot, Error> {
    if let Some(path) = &typed.flow.snapshot {
        return open::open(Some(path), false);
    }
    let archive = Shared::default();
    let tell = |done: usize, all: usize| output::progress(&format!("reading {done} of {all} namespaces"));
    let taken = collect(Target::Stream(Box::new(archive.clone())), Some(node.as_str()), &Stop::default(), &tell);
    output::progress("");
    let taken = taken?;
    taken.notes.iter().for_each(|note| output::complain(&format!("note: {note}")));
    for failed in &taken.failed {
        output::complain(&format!("not taken: {}: {}", failed.file, failed.why));
    }
    let bytes = std::mem::take(&mut *archive.0.lock().unwrap_or_else(PoisonError::into_inner));
    load::load_archive(bytes.as_slice(), Path::new("this node"))
}

/// Bytes that one writes and another one reads.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Walks the flow's first packet.
fn answer(typed: &Capture, from: &str, to: &str, snapshot: &Snapshot) -> Result<Answer, Error> {
    let packet = PacketOptions {
        ipv4: typed.flow.ipv4,
        ipv6: typed.flow.ipv6,
        proto: typed.flow.proto,
        port: typed.flow.port,
        sport: typed.flow.sport,
        ..PacketOptions::default()
    };
    let terms = Terms {
        packet: &packet,
        namespace: typed.namespace.as_deref(),
        at: None,
        state: State::New,
        no_reply: false,
        max_paths: MOST_PATHS,
        verbose: false,
    };
    let Resolved { asked, .. } = question::question(terms, from, to, snapshot)?;
    match asked {
        Asked::Walk(question) => Ok(engine::explain(snapshot, &question)),
        Asked::Missing { folder, .. } => {
            let what = "the snapshot does not hold the sender's namespace";
            Err(Error::Usage(format!("--along {from} {to}: {what} ({folder}); run it on the sender's node")))
        }
    }
}

/// Which way a trace goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    There,
    Back,
}

/// The hops of all ways.
struct Hops<'a> {
    node: &'a NodeName,
    /// The source port that was asked for; of another one nothing is known.
    sport: Option<u16>,
    request: &'a Packet,
    list: Vec<Hop>,
}

impl Hops<'_> {
    /// Takes the hops of a trace; the points that hand the packet up one to the other, between those that send it on.
    fn walk(&mut self, trace: &Trace, direction: Direction) -> Vec<Vec<Point>> {
        let mut orders: Vec<Vec<Point>> = vec![Vec::new()];
        for (step, point) in self.on_node(trace) {
            self.add(&point, filter::of(&step.packet, self.ports(&step.packet, direction)));
            match (&step.decision, orders.last_mut()) {
                (Decision::Receive { .. }, Some(order)) => order.push(point),
                _ => orders.push(Vec::new()),
            }
        }
        orders
    }

    /// Where nothing is known of the answer, it is taken to pass the same devices with its ends swapped.
    fn mirror(&mut self, trace: &Trace) {
        for (step, point) in self.on_node(trace) {
            let back = swapped(&step.packet);
            self.add(&point, filter::of(&back, self.ports(&back, Direction::Back)));
        }
    }

    fn on_node<'t>(&self, trace: &'t Trace) -> Vec<(&'t Step, Point)> {
        let here = trace.steps.iter().filter(|step| step.place.node == *self.node);
        let device = |step: &'t Step| match &step.decision {
            Decision::Receive { device, .. } | Decision::Transmit { device } => Some((step, point(step, device))),
            _ => None,
        };
        here.filter_map(device).collect()
    }

    fn add(&mut self, point: &Point, filter: String) {
        match self.list.iter_mut().find(|hop| hop.point == *point) {
            Some(hop) => drop(hop.filters.insert(filter)),
            None => self.list.push(Hop { point: point.clone(), filters: BTreeSet::from([filter]) }),
        }
    }

    /// The ports that are sure here: the server's, and the client's where it was asked for and no NAT may have changed it.
    fn ports(&self, packet: &Packet, direction: Direction) -> Ports {
        let packet = packet.innermost();
        let (client, [clients, servers]) = match direction {
            Direction::There => (packet.ip.source, [packet.source_port(), packet.destination_port()]),
            Direction::Back => (packet.ip.destination, [packet.destination_port(), packet.source_port()]),
        };
        let is_asked = self.sport.is_some() && client == self.request.ip.source;
        let clients = clients.filter(|_| is_asked);
        match direction {
            Direction::There => Ports { source: clients, destination: servers },
            Direction::Back => Ports { source: servers, destination: clients },
        }
    }
}

fn point(step: &Step, device: &IfName) -> Point {
    Point { node: step.place.node.clone(), netns: step.place.name.clone(), device: device.clone() }
}

/// A packet's answer: its ends swapped, those of the tunnel around it too.
fn swapped(packet: &Packet) -> Packet {
    use crate::net::Transport::{Icmp, Other, Sctp, Tcp, Udp};
    let mut back = packet.clone();
    std::mem::swap(&mut back.ip.source, &mut back.ip.destination);
    let is_tunnel = packet.inner.is_some();
    back.transport = match &packet.transport {
        // Both ends of a tunnel listen on its port.
        Udp { .. } if is_tunnel => packet.transport.clone(),
        Tcp { source, destination, flags } => Tcp { source: *destination, destination: *source, flags: *flags },
        Udp { source, destination } => Udp { source: *destination, destination: *source },
        Sctp { source, destination } => Sctp { source: *destination, destination: *source },
        Icmp { kind, code, id, quoted } => {
            let answer = match kind {
                8 => 0,
                128 => 129,
                kind => *kind,
            };
            Icmp { kind: answer, code: *code, id: *id, quoted: quoted.clone() }
        }
        Other(protocol) => Other(*protocol),
    };
    back.inner = packet.inner.as_ref().map(|inner| Box::new(swapped(inner)));
    back
}

/// Finds the namespaces of hops. One that is not there any more is told, and costs its hops only.
fn open_where(
    hops: Vec<Hop>,
    snapshot: &Snapshot,
    namespaces: &Namespaces,
    answer: &Answer,
) -> Result<(Vec<Point>, Vec<Spot>), Error> {
    if hops.is_empty() {
        return Err(nowhere(snapshot, namespaces, answer));
    }
    let (mut points, mut spots) = (Vec::new(), Vec::new());
    let mut missing: BTreeSet<NetnsName> = BTreeSet::new();
    for hop in hops {
        let Some(netns) = find(&hop.point.netns, snapshot, namespaces) else {
            if missing.insert(hop.point.netns.clone()) {
                let what = "no namespace of this node has its name or an address of it: not captured there";
                output::complain(&format!("{}: {what}", hop.point.netns));
            }
            continue;
        };
        let file = netns.file.try_clone().map_err(|source| Error::Io { path: "/proc/self/fd".into(), source })?;
        let filters: Vec<String> = hop.filters.iter().map(|filter| format!("({filter})")).collect();
        spots.push(Spot {
            name: hop.point.to_string(),
            device: hop.point.device.to_string(),
            filter: Some(filters.join(" or ")),
            netns: Some(Arc::new(file)),
        });
        points.push(hop.point);
    }
    if points.is_empty() {
        return Err(Error::Usage("--along: no namespace of the path is on this node".to_owned()));
    }
    Ok((points, spots))
}

/// The namespace of that name, or the one that has one of its addresses: the runtime may call it something else.
fn find<'n>(name: &NetnsName, snapshot: &Snapshot, namespaces: &'n Namespaces) -> Option<&'n Netns> {
    let by_name = namespaces.list.iter().find(|netns| netns.name == *name);
    if by_name.is_some() || *name == NetnsName::Host {
        return by_name;
    }
    let known = snapshot.netns(snapshot.find_netns(&namespaces.node, name)?);
    let is_of = |netns: &&Netns| netns.addresses().iter().any(|address| known.addr(*address).is_some_and(is_global));
    namespaces.list.iter().filter(|netns| netns.name != NetnsName::Host).find(is_of)
}

/// Whether nobody else on the node has such an address.
fn is_global(addr: &crate::snapshot::Addr) -> bool {
    match addr.address {
        std::net::IpAddr::V4(_) => true,
        std::net::IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

/// What is told where the path has no device of this node.
fn nowhere(snapshot: &Snapshot, namespaces: &Namespaces, answer: &Answer) -> Error {
    let node = &namespaces.node;
    if !snapshot.nodes.contains_key(node) {
        let nodes: Vec<&str> = snapshot.nodes.keys().map(NodeName::as_str).collect();
        let nodes = nodes.join(", ");
        return Error::Usage(format!("--along: this is node {node}, and the snapshot has {nodes}; --node says which"));
    }
    let traces = answer.paths.iter().flat_map(|path| std::iter::once(&path.forward).chain(&path.reply));
    let passed: BTreeSet<&str> = traces.flat_map(|trace| &trace.steps).map(|step| step.place.node.as_str()).collect();
    let passed = passed.into_iter().collect::<Vec<_>>().join(", ");
    Error::Usage(format!("--along: the path passes no device of {node}; it passes {passed}: run it there"))
}
