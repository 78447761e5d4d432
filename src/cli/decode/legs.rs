//! What the snapshot tells of each packet: who has its addresses, and which part of its path was captured.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;

use crate::capture;
use crate::cli::args::Decode;
use crate::cli::pcap::{Shape, shape};
use crate::cli::point;
use crate::engine::shown_by_bridge;
use crate::error::Error;
use crate::evidence::Evidence;
use crate::net::{Fragments, NetnsId, NetnsName, Packet};
use crate::render::decode::{AddressNames, PathLeg, Told};
use crate::retrace::{Atlas, Captured, Flows, Options, Point, Retraced, Standing, name};
use crate::snapshot::Snapshot;
use crate::trace::{Decision, Leg, Trace, Way};
use crate::wire::{Decoded, Frame, Held, Piece, Unheld};

/// So many ways are walked for a packet that may take several.
const MOST_PATHS: usize = 64;
/// So many answers are kept; packets that are alike have the same.
const MOST_KNOWN: usize = 4096;
/// So many conversations of a point are followed.
const MOST_FLOWS: usize = 65_536;

/// Where captures were taken, as it was typed.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    files: Vec<PathBuf>,
    /// For each file, what `--at` says.
    at: Vec<Option<String>>,
}

impl Points {
    /// What `--at` says, of each file. Fails where that is about no file, or names no device of the snapshot.
    pub(super) fn of(typed: &Decode, snapshot: &Snapshot) -> Result<Self, Error> {
        let mut at = vec![None; typed.files.len()];
        for given in &typed.at {
            let (file, point) = match given.rsplit_once('=') {
                Some((file, point)) => (Some(file), point),
                None => (None, given.as_str()),
            };
            if point.contains('/') {
                point::at(point, snapshot)?;
            }
            let mut is_met = false;
            for (path, at) in typed.files.iter().zip(&mut at) {
                let name = path.file_name().and_then(|name| name.to_str());
                if file.is_none_or(|file| path.to_str() == Some(file) || name == Some(file)) {
                    *at = Some(point.to_owned());
                    is_met = true;
                }
            }
            if !is_met {
                return Err(Error::Usage(format!("--at {given}: no such file is read")));
            }
        }
        Ok(Self { files: typed.files.clone(), at })
    }

    /// The point of an interface.
    fn point(&self, described: &capture::Point, all: &[capture::Point], snapshot: &Snapshot) -> Result<Point, Error> {
        let file = self.files.get(described.file).cloned().unwrap_or_default();
        let at = self.at.get(described.file).and_then(Option::as_deref);
        let of_file = all.iter().filter(|point| point.file == described.file && point.name.is_some());
        // Of a file with several devices, what was typed says on which node they are.
        let at = match at {
            Some(at) if of_file.count() > 1 => at.split('/').next(),
            at => at,
        };
        point::of_interface(at, &file, described, snapshot)
    }
}

/// A point, and what it is called.
type Known = Option<(Point, Rc<str>)>;

/// The later fragments of a packet are where its first one is.
type FragmentKey = (u32, IpAddr, IpAddr, u32, bool);

/// Tells of packets, one after the other.
pub(super) struct Legs<'s> {
    snapshot: &'s Snapshot,
    points: &'s Points,
    atlas: Atlas<'s>,
    names: AddressNames,
    met: HashMap<u32, Known>,
    flows: HashMap<Point, Flows>,
    known: HashMap<Shape, Rc<PathLeg>>,
    fragments: HashMap<FragmentKey, Rc<PathLeg>>,
    /// Why points are not known.
    notes: Vec<String>,
    point: Option<Rc<str>>,
    leg: Option<Rc<PathLeg>>,
}

impl<'s> Legs<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, points: &'s Points) -> Self {
        let options = Options { reply: true, max_paths: MOST_PATHS, verbose: false };
        Self {
            snapshot,
            points,
            atlas: Atlas::new(snapshot, options),
            names: AddressNames::default(),
            met: HashMap::new(),
            flows: HashMap::new(),
            known: HashMap::new(),
            fragments: HashMap::new(),
            notes: Vec::new(),
            point: None,
            leg: None,
        }
    }

    /// Looks at a packet, of which [`Self::told`] then tells. `whole` is where a packet begins that was put together of so
    /// many fragments.
    pub(super) fn look(
        &mut self,
        frame: &Frame<'_>,
        decoded: &Decoded<'_>,
        way: Option<Way>,
        points: &[capture::Point],
        whole: Option<(u32, Fragments)>,
    ) {
        learn(&mut self.names, self.snapshot, decoded);
        (self.point, self.leg) = (None, None);
        let Some((point, name)) = self.meet(frame.interface, points) else { return };
        self.point = Some(name);
        let told = way.or_else(|| decoded.is_outgoing().map(|out| if out { Way::Out } else { Way::In }));
        self.leg = match decoded.packet() {
            Ok(mut held) => {
                if let Some((start, fragments)) = whole {
                    set_fragments(&mut held, decoded, start, fragments);
                }
                self.leg(frame, &point, held, told)
            }
            Err(Unheld::LaterPiece(source, destination, piece)) => {
                self.fragments.get(&key(frame.interface, source, destination, piece)).cloned()
            }
            Err(_) => None,
        };
    }

    /// What there is to tell of the packet that was looked at last.
    pub(super) fn told(&self) -> Told<'_> {
        Told { names: &self.names, point: self.point.as_deref(), leg: self.leg.as_deref() }
    }

    /// Why points are not known.
    pub(super) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn meet(&mut self, interface: u32, points: &[capture::Point]) -> Known {
        if let Some(known) = self.met.get(&interface) {
            return known.clone();
        }
        let described = points.get(interface as usize)?;
        let known = match self.points.point(described, points, self.snapshot) {
            Ok(point) => {
                let name = point_name(self.snapshot, &point);
                Some((point, name.into()))
            }
            Err(err) => {
                self.notes.push(err.to_string());
                None
            }
        };
        self.met.insert(interface, known.clone());
        known
    }

    fn leg(&mut self, frame: &Frame<'_>, point: &Point, held: Held, told: Option<Way>) -> Option<Rc<PathLeg>> {
        if !is_walked(held.packet.innermost()) {
            return None;
        }
        let piece = held.piece;
        let (captured, _) = self.atlas.captured(point, held, told, frame.time.map(|time| time.seconds));
        let flows = self.flows.entry(point.clone()).or_default();
        if flows.len() > MOST_FLOWS {
            *flows = Flows::default();
        }
        let standing = flows.note(captured.packet.innermost());
        let leg = self.known(point, &captured, standing);
        if let Some(piece) = piece {
            let packet = if piece.is_inner { captured.packet.innermost() } else { &captured.packet };
            let key = key(frame.interface, packet.ip.source, packet.ip.destination, piece);
            if self.fragments.len() >= MOST_KNOWN {
                self.fragments.clear();
            }
            self.fragments.insert(key, Rc::clone(&leg));
        }
        Some(leg)
    }

    fn known(&mut self, point: &Point, captured: &Captured, standing: Standing) -> Rc<PathLeg> {
        let shape = shape(&self.atlas, point, captured, standing);
        if let Some(leg) = self.known.get(&shape) {
            return Rc::clone(leg);
        }
        let retraced = self.atlas.retrace(point, captured, standing);
        let leg = Rc::new(path_leg(self.snapshot, retraced));
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(shape, Rc::clone(&leg));
        leg
    }
}

/// Learns the addresses of every packet of a nest, and of what an error quotes.
fn learn(names: &mut AddressNames, snapshot: &Snapshot, decoded: &Decoded<'_>) {
    for packet in decoded.packets().chain(decoded.quoted()).chain(decoded.cut_header()) {
        for address in [packet.source(), packet.destination()].into_iter().flatten() {
            names.learn(address, |address| name_of(snapshot, address));
        }
    }
}

/// Who has an address: a pod, a node, or a service.
pub(super) fn name_of(snapshot: &Snapshot, address: IpAddr) -> Option<String> {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return None;
    }
    let owner = name(snapshot, address);
    if owner != address.to_string() {
        return Some(owner);
    }
    if let Some(node) = snapshot.absent_node(address) {
        return Some(format!("node/{}", node.name));
    }
    let mut services = snapshot.kube.services.iter().flatten();
    let service = services.find(|service| {
        let own = [&service.cluster_ips, &service.external_ips, &service.load_balancer_ips];
        own.into_iter().flatten().any(|own| *own == address)
    });
    service.map(|service| format!("svc/{}/{}", service.namespace, service.name))
}

fn key(interface: u32, source: IpAddr, destination: IpAddr, piece: Piece) -> FragmentKey {
    (interface, source, destination, piece.identification, piece.is_inner)
}

/// Notes of how many parts a packet came that was put together.
fn set_fragments(held: &mut Held, decoded: &Decoded<'_>, start: u32, fragments: Fragments) {
    let starts = decoded.packets().filter_map(|packet| packet.network()).map(|network| network.start);
    let depth = starts.take_while(|at| *at < start).count();
    let mut packet = Some(&mut held.packet);
    for _ in 0..depth {
        packet = packet.and_then(|packet| packet.inner.as_deref_mut());
    }
    if let Some(packet) = packet {
        packet.fragments = Some(fragments);
    }
}

/// Whether a walk follows such packets.
fn is_walked(packet: &Packet) -> bool {
    crate::cli::pcap::not_walked(packet).is_none()
}

/// `n1/eth0`, or `n1/default_pod1/eth0`.
fn point_name(snapshot: &Snapshot, point: &Point) -> String {
    place_name(snapshot, point.netns, point.device.as_str())
}

fn place_name(snapshot: &Snapshot, netns: NetnsId, device: &str) -> String {
    let netns = snapshot.netns(netns);
    match &netns.name {
        NetnsName::Host => format!("{}/{device}", netns.node),
        NetnsName::Pod(pod) => format!("{}/{}_{}/{device}", netns.node, pod.namespace, pod.name),
    }
}

fn path_leg(snapshot: &Snapshot, retraced: Retraced) -> PathLeg {
    let odd = retraced.odd.iter().map(|odd| {
        let places: Vec<String> = odd.evidence.iter().map(|row| reference(snapshot, *row)).collect();
        if places.is_empty() { odd.what.clone() } else { format!("{} ({})", odd.what, places.join(" ")) }
    });
    let odd = odd.collect();
    let first = retraced.answer.paths.first().zip(retraced.spots.first());
    let trace = first.and_then(|(path, spot)| match spot.leg {
        Leg::Forward => Some((&path.forward, spot.step)),
        Leg::Reply => path.reply.as_ref().map(|reply| (reply, spot.step)),
    });
    let (hops, hop) = trace.filter(|_| retraced.is_whole).map_or((Vec::new(), 0), |(trace, step)| {
        let all = || passed(snapshot, trace, step);
        let before = all().filter(|(at, ..)| *at <= step).count();
        (all().map(|(_, netns, device)| place_name(snapshot, netns, device)).collect(), before)
    });
    PathLeg {
        way: retraced.way,
        role: retraced.role,
        hops,
        hop,
        ways: retraced.answer.paths.len(),
        verdict: trace.map_or("undetermined", |(trace, _)| trace.verdict.as_str()),
        odd,
        from: retraced.from,
        to: retraced.to,
    }
}

/// The devices that a trace passes: each one's step, namespace and name. A bridge that only shows the packet is one where
/// that was seen.
fn passed<'t>(
    snapshot: &'t Snapshot,
    trace: &'t Trace,
    seen: usize,
) -> impl Iterator<Item = (usize, NetnsId, &'t str)> {
    trace.steps.iter().enumerate().filter_map(move |(at, step)| {
        let device = match &step.decision {
            Decision::Receive { device, .. } | Decision::Transmit { device } => device,
            _ if at == seen => shown_by_bridge(snapshot, &trace.steps, at)?,
            _ => return None,
        };
        Some((at, step.place.netns, device.as_str()))
    })
}

/// A line as `explain` names it.
fn reference(snapshot: &Snapshot, row: Evidence) -> String {
    let path = snapshot.files.path(row);
    format!("{}:{}", path.strip_prefix("nodes/").unwrap_or(path), row.line)
}
