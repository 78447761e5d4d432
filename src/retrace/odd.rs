//! In what a packet contradicts the snapshot, in words.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Encapsulation, IfName, NetnsName, Packet};
use crate::snapshot::{LinkKind, Netns, Snapshot};
use crate::trace::{Decision, Finding, Reason, Role, Step, Trace, Verdict, Way};

use super::candidate::{self, is_absent, original};
use super::compare::{Difference, Field};
use super::search::{Fate, Found, Tried};
use super::{Captured, Point, Standing};

/// What systems send with where nobody has set anything else.
const USUAL_TTLS: [u8; 3] = [64, 128, 255];
/// Up to here a TTL may be that of a program that looks for the path.
const SMALL: u8 = 32;
/// A packet that differs in more is another one.
const MOST_DIFFERENCES: usize = 3;

/// A TTL that no sender begins with.
pub(super) fn ttl(snapshot: &Snapshot, found: &Found) -> Option<Finding> {
    let sent = found.sent_ttl.filter(|ttl| *ttl > SMALL && !USUAL_TTLS.contains(ttl))?;
    let spot = found.passing.first()?;
    let trace = if found.passing.first()?.1.leg == crate::trace::Leg::Forward {
        &spot.0.forward
    } else {
        spot.0.reply.as_ref()?
    };
    let sender = snapshot.netns(trace.steps.first()?.place.netns);
    let key = "net.ipv4.ip_default_ttl";
    let default =
        sender.sysctls.as_ref().and_then(|sysctls| sysctls.get(key)).and_then(|row| row.value.parse::<u8>().ok());
    if default == Some(sent) {
        return None;
    }
    let usual = default.unwrap_or(64);
    let more = match usual.checked_sub(sent) {
        Some(1) => ": it may have passed one router more than the snapshot shows".to_owned(),
        Some(more @ 2..=5) => format!(": it may have passed {more} routers more than the snapshot shows"),
        _ => String::new(),
    };
    let what =
        format!("by the snapshot's path it was sent with ttl {sent}, and {} sends with {usual}{more}", sender.dir);
    Some(Finding::new(what, Vec::new()))
}

/// What contradicts the snapshot, and what can't be told, where no path passes the point with the packet.
pub(super) fn contradictions(
    snapshot: &Snapshot,
    point: &Point,
    captured: &Captured,
    standing: Standing,
    tried: &[Tried],
) -> (Vec<Finding>, Vec<String>) {
    let mut odd = tunnel(snapshot, point, captured);
    let Some(tuple) = original(captured.packet.innermost(), standing.role) else {
        return (odd, vec!["the way that it came is not known: the error quotes no packet".to_owned()]);
    };
    odd.extend(nobody(snapshot, tuple.source));
    let mut notes = Vec::new();
    if is_absent(snapshot, tuple.source) {
        notes.push(format!(
            "the way that it came is not known: the snapshot doesn't hold the tables of {} ({})",
            candidate::name(snapshot, tuple.source),
            tuple.source
        ));
        return (odd, notes);
    }
    if let Some((tried, differences, steps)) = nearest(tried) {
        odd.extend(differences.iter().map(|difference| differs(tried, difference, steps)));
        return (odd, notes);
    }
    let unknown = tried.iter().filter(|tried| tried.candidate.is_plain).find_map(|tried| match &tried.fate {
        Fate::Unknown(what) => Some(what),
        _ => None,
    });
    if let Some(what) = unknown {
        notes.push(format!("the way that it came is not known: {what}"));
        return (odd, notes);
    }
    let nobody =
        || Finding::new(format!("nobody is known who may have sent it: {} has no owner", tuple.source), Vec::new());
    odd.push(elsewhere(snapshot, point, captured.way, standing.role, tried).unwrap_or_else(nobody));
    (odd, notes)
}

/// The candidate whose packet at the point is the likest.
fn nearest(tried: &[Tried]) -> Option<(&Tried, &[Difference], &[Step])> {
    let near = tried.iter().filter_map(|tried| match &tried.fate {
        Fate::Differs { differences, steps } => Some((tried, differences.as_slice(), steps.as_slice())),
        _ => None,
    });
    let others = |differences: &[Difference]| differences.iter().filter(|one| one.field.is_identity()).count();
    let near = near.filter(|(_, differences, _)| others(differences) <= MOST_DIFFERENCES);
    near.min_by_key(|(tried, differences, _)| (others(differences), !tried.candidate.is_plain, differences.len()))
}

/// A field that is not as predicted, with the lines that predict it.
fn differs(tried: &Tried, difference: &Difference, steps: &[Step]) -> Finding {
    let Difference { field, predicted, seen } = difference;
    let (from, to) = (&tried.candidate.from_name, &tried.candidate.to_name);
    let name = field.as_str();
    let what = format!("its {name} is {seen}; what {from} sends to {to} has {predicted} here");
    Finding::new(what, because(*field, steps))
}

/// The lines that made a field what it is.
fn because(field: Field, steps: &[Step]) -> Vec<Evidence> {
    let makes = |decision: &Decision| match field {
        Field::Source | Field::SourcePort | Field::Destination | Field::DestinationPort => {
            matches!(decision, Decision::Nat { .. })
        }
        Field::Tunnel | Field::OuterSource | Field::Vni | Field::OuterPort => {
            matches!(decision, Decision::Encapsulate { .. })
        }
        Field::OuterDestination => matches!(decision, Decision::Fdb { vtep: Some(_), .. }),
        Field::FrameDestination => matches!(decision, Decision::Neighbor { .. }),
        _ => false,
    };
    let step = steps.iter().rev().find(|step| makes(&step.decision));
    step.map(|step| step.because.clone()).unwrap_or_default()
}

/// The path of the likeliest sender, which doesn't lead by the point.
fn elsewhere(snapshot: &Snapshot, point: &Point, way: Option<Way>, role: Role, tried: &[Tried]) -> Option<Finding> {
    let mut all = tried.iter().filter_map(|tried| match &tried.fate {
        Fate::Elsewhere(trace) => Some((tried, trace)),
        _ => None,
    });
    let first = all.next()?;
    let (tried, trace) = if first.0.candidate.is_plain {
        first
    } else {
        all.find(|(tried, _)| tried.candidate.is_plain).unwrap_or(first)
    };
    let subject = match role {
        Role::Original => format!("what {} sends to {}", tried.candidate.from_name, tried.candidate.to_name),
        Role::Reply => format!("the answer to what {} sends to {}", tried.candidate.from_name, tried.candidate.to_name),
        Role::Error => {
            format!("an error about what {} sends to {}", tried.candidate.from_name, tried.candidate.to_name)
        }
    };
    let netns = snapshot.netns(point.netns);
    let place = format!("{} of {}", point.device, place_of(netns));
    let direction = way.map_or("passes", |way| match way {
        Way::In => "comes in by",
        Way::Out => "leaves by",
    });
    let last = trace.steps.last()?;
    let what = format!("{subject} never {direction} {place}: {}", fate(trace, last));
    Some(Finding::new(what, last.because.clone()))
}

fn place_of(netns: &Netns) -> String {
    match &netns.name {
        NetnsName::Host => format!("node {}", netns.node),
        NetnsName::Pod(pod) => format!("pod {pod}"),
    }
}

/// Where a path ends, and by which devices it leads there.
fn fate(trace: &Trace, last: &Step) -> String {
    let mut devices: Vec<String> = Vec::new();
    for step in &trace.steps {
        if let Decision::Receive { device, .. } | Decision::Transmit { device } = &step.decision {
            let name = format!("{}/{device}", step.place.node);
            if devices.last() != Some(&name) {
                devices.push(name);
            }
        }
    }
    let by = if devices.is_empty() { String::new() } else { format!(" by way of {}", devices.join(", ")) };
    let reason = trace.reason.map(Reason::as_str).map_or(String::new(), |reason| format!(" ({reason})"));
    let place = match &last.place.name {
        NetnsName::Host => format!("node {}", last.place.node),
        NetnsName::Pod(pod) => format!("pod {pod}"),
    };
    match trace.verdict {
        Verdict::Left => format!("it leaves from {place}{by}"),
        verdict => format!("it is {} at {place}{reason}{by}", verdict.as_str()),
    }
}

/// A source in the pods' network that nobody has.
fn nobody(snapshot: &Snapshot, source: IpAddr) -> Option<Finding> {
    let is_strange = snapshot.owner_of(source).is_empty() && !is_absent(snapshot, source);
    let prefix = snapshot.known_prefixes().iter().find(|prefix| prefix.contains(&source)).filter(|_| is_strange)?;
    Some(Finding::new(
        format!("nobody in the snapshot has its source {source}, which is in the pods' network {prefix}"),
        Vec::new(),
    ))
}

/// What a tunnel packet has that the node's own tunnel devices know nothing of.
fn tunnel(snapshot: &Snapshot, point: &Point, captured: &Captured) -> Vec<Finding> {
    let packet = &captured.packet;
    let Some(Encapsulation::Vxlan(vni)) = packet.encapsulation else { return Vec::new() };
    let netns = snapshot.netns(point.netns);
    let mut odd = Vec::new();
    let Some(links) = netns.links.as_ref().filter(|_| netns.name == NetnsName::Host) else { return odd };
    let port = packet.destination_port();
    let of_port = links.iter().filter_map(|link| match &link.kind {
        LinkKind::Vxlan(settings) if Some(settings.port) == port => Some((link, settings)),
        _ => None,
    });
    let devices: Vec<_> = of_port.collect();
    if devices.is_empty() {
        let what = format!("no VXLAN device of {} has the UDP port {}", netns.node, port.unwrap_or(0));
        odd.push(Finding::new(what, Vec::new()));
        return odd;
    }
    if !devices.iter().any(|(_, settings)| settings.vni == vni) {
        let own: Vec<String> =
            devices.iter().map(|(link, settings)| format!("{} has {}", link.name, settings.vni)).collect();
        let evidence = devices.iter().map(|(link, _)| link.kind_evidence).collect();
        odd.push(Finding::new(format!("its VNI is {vni}, and {}", own.join(", ")), evidence));
    }
    odd.extend(peer(netns, packet, &devices.iter().map(|(link, _)| link.name.clone()).collect::<Vec<_>>()));
    odd
}

/// A tunnel's other end that no forwarding entry names.
fn peer(netns: &Netns, packet: &Packet, devices: &[IfName]) -> Option<Finding> {
    let own = |address: IpAddr| netns.addr(address).is_some();
    let peer = if own(packet.ip.source) { packet.ip.destination } else { packet.ip.source };
    let rows = netns.fdb.as_ref()?.iter().filter(|row| devices.contains(&row.dev));
    let known = rows.clone().any(|row| row.dst == Some(peer));
    let lines: Vec<Evidence> = rows.map(|row| row.evidence).take(3).collect();
    (!known).then(|| {
        let names: Vec<&str> = devices.iter().map(IfName::as_str).collect();
        let what = format!(
            "no forwarding entry of {} on {} names the tunnel's other end {peer}",
            names.join(", "),
            netns.node
        );
        Finding::new(what, lines)
    })
}
