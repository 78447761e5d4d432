//! How a captured packet differs from the one that is predicted at the same place.

use std::fmt::Display;
use std::net::IpAddr;

use crate::net::{Encapsulation, MacAddr, Packet, Transport, VlanTag};
use crate::snapshot::Snapshot;

use super::Point;

/// A field in which two packets differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Whether it is in a tunnel.
    Tunnel,
    Vni,
    OuterSource,
    OuterDestination,
    OuterPort,
    Protocol,
    Source,
    SourcePort,
    Destination,
    DestinationPort,
    Message,
    Ttl,
    OuterTtl,
    Tos,
    Length,
    Flags,
    FrameSource,
    FrameDestination,
    /// The VLANs of the frame's tags.
    Tags,
}

impl Field {
    /// Whether packets that differ in it are other packets, not the same one in another state.
    pub(super) fn is_identity(self) -> bool {
        !matches!(
            self,
            Self::Ttl
                | Self::OuterTtl
                | Self::Tos
                | Self::Length
                | Self::Flags
                | Self::FrameSource
                | Self::FrameDestination
        )
    }

    /// The words for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Vni => "VNI",
            Self::OuterSource => "outer source",
            Self::OuterDestination => "outer destination",
            Self::OuterPort => "outer destination port",
            Self::Protocol => "protocol",
            Self::Source => "source",
            Self::SourcePort => "source port",
            Self::Destination => "destination",
            Self::DestinationPort => "destination port",
            Self::Message => "ICMP type and code",
            Self::Ttl => "ttl",
            Self::OuterTtl => "outer ttl",
            Self::Tos => "tos",
            Self::Length => "length",
            Self::Flags => "TCP flags",
            Self::FrameSource => "frame's source",
            Self::FrameDestination => "frame's destination",
            Self::Tags => "VLAN",
        }
    }
}

/// A field with what is predicted and what was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub field: Field,
    pub predicted: String,
    pub seen: String,
}

/// Collects differences.
#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn compare<T: PartialEq + Display>(&mut self, field: Field, predicted: &T, seen: &T) {
        if predicted != seen {
            self.0.push(Difference { field, predicted: predicted.to_string(), seen: seen.to_string() });
        }
    }

    /// A value that nobody can know differs from none.
    fn compare_known<T: PartialEq + Display>(&mut self, field: Field, predicted: Option<T>, seen: Option<T>) {
        if let (Some(predicted), Some(seen)) = (predicted, seen) {
            self.compare(field, &predicted, &seen);
        }
    }
}

/// Every field in which a captured packet differs from the predicted one.
pub(super) fn differences(predicted: &Packet, seen: &Packet) -> Vec<Difference> {
    let mut all = Differences::default();
    outer(&mut all, predicted, seen);
    let (predicted, seen) = (predicted.innermost(), seen.innermost());
    all.compare(Field::Protocol, &predicted.protocol(), &seen.protocol());
    address(&mut all, Field::Source, predicted.ip.source, seen.ip.source);
    address(&mut all, Field::Destination, predicted.ip.destination, seen.ip.destination);
    all.compare_known(Field::SourcePort, predicted.source_port(), seen.source_port());
    all.compare_known(Field::DestinationPort, predicted.destination_port(), seen.destination_port());
    message(&mut all, predicted, seen);
    all.compare(Field::Ttl, &predicted.ip.ttl, &seen.ip.ttl);
    all.compare(Field::Tos, &predicted.ip.tos, &seen.ip.tos);
    length(&mut all, predicted, seen);
    frame(&mut all, predicted, seen);
    all.0
}

/// The tunnels around the innermost packet.
fn outer(all: &mut Differences, predicted: &Packet, seen: &Packet) {
    match (&predicted.inner, &seen.inner) {
        (None, None) => {}
        (Some(_), None) => all.compare(Field::Tunnel, &tunnel(predicted), &"none".to_owned()),
        (None, Some(_)) => all.compare(Field::Tunnel, &"none".to_owned(), &tunnel(seen)),
        (Some(inner), Some(seen_inner)) => {
            address(all, Field::OuterSource, predicted.ip.source, seen.ip.source);
            address(all, Field::OuterDestination, predicted.ip.destination, seen.ip.destination);
            all.compare_known(Field::OuterPort, predicted.destination_port(), seen.destination_port());
            all.compare(Field::OuterTtl, &predicted.ip.ttl, &seen.ip.ttl);
            frame(all, predicted, seen);
            match (predicted.encapsulation, seen.encapsulation) {
                (Some(Encapsulation::Vxlan(predicted)), Some(Encapsulation::Vxlan(seen))) => {
                    all.compare(Field::Vni, &predicted.0, &seen.0);
                }
                _ => all.compare(Field::Tunnel, &tunnel(predicted), &tunnel(seen)),
            }
            outer(all, inner, seen_inner);
        }
    }
}

fn tunnel(packet: &Packet) -> String {
    match packet.encapsulation {
        Some(Encapsulation::Vxlan(_)) => "vxlan".to_owned(),
        Some(Encapsulation::Relay) => "a relay's".to_owned(),
        None => "none".to_owned(),
    }
}

/// An unspecified address is one that nobody knows yet.
fn address(all: &mut Differences, field: Field, predicted: IpAddr, seen: IpAddr) {
    all.compare_known(field, Some(predicted).filter(|address| !address.is_unspecified()), Some(seen));
}

fn message(all: &mut Differences, predicted: &Packet, seen: &Packet) {
    match (&predicted.transport, &seen.transport) {
        (
            Transport::Icmp { kind, code, id, .. },
            Transport::Icmp { kind: seen_kind, code: seen_code, id: seen_id, .. },
        ) => {
            all.compare(Field::Message, &format!("{kind}/{code}"), &format!("{seen_kind}/{seen_code}"));
            all.compare_known(Field::SourcePort, *id, *seen_id);
        }
        (Transport::Tcp { flags, .. }, Transport::Tcp { flags: seen, .. }) => {
            all.compare(Field::Flags, &format!("{flags:#04x}"), &format!("{seen:#04x}"));
        }
        _ => {}
    }
}

/// Of a packet in pieces each has a length of its own.
fn length(all: &mut Differences, predicted: &Packet, seen: &Packet) {
    if predicted.fragments.is_none() && seen.fragments.is_none() {
        all.compare(Field::Length, &predicted.length, &seen.length);
    }
}

/// The frame's tags, where one was captured, and link addresses that the snapshot tells, zero standing for one that it
/// doesn't.
fn frame(all: &mut Differences, predicted: &Packet, seen: &Packet) {
    if seen.link.is_some() {
        all.compare(Field::Tags, &vlans(predicted), &vlans(seen));
    }
    let (Some(predicted), Some(seen)) = (predicted.link, seen.link) else { return };
    let known = |lladdr: MacAddr| Some(lladdr).filter(|lladdr| *lladdr != MacAddr::ZERO);
    all.compare_known(Field::FrameSource, known(predicted.source), known(seen.source));
    all.compare_known(Field::FrameDestination, known(predicted.destination), known(seen.destination));
}

/// Of a frame whose sender nobody knows, whether it is for somebody else than the device that it came in by, which no
/// sender means to whom the device is the next one. A port has the frames of all that is behind it.
pub(super) fn stray(snapshot: &Snapshot, point: &Point, predicted: &Packet, seen: &Packet) -> Option<Difference> {
    let netns = snapshot.netns(point.netns);
    let link = netns.link(&point.device).filter(|link| link.master.is_none())?;
    let (own, for_whom) = (link.lladdr?, seen.link?.destination);
    let is_predicted = predicted.link.is_some_and(|link| link.destination != MacAddr::ZERO);
    // What stands on the device may have an address of its own.
    let is_known = netns.links.iter().flatten().any(|link| link.lladdr == Some(for_whom));
    (!is_predicted && !is_known).then(|| Difference {
        field: Field::FrameDestination,
        predicted: own.to_string(),
        seen: for_whom.to_string(),
    })
}

/// The VLANs that a frame's tags name, whatever its priority is.
fn vlans(packet: &Packet) -> String {
    let plain = |tag: &VlanTag| VlanTag { priority: None, drop_eligible: false, ..*tag }.to_string();
    let vlans: Vec<String> = packet.tags.iter().map(plain).collect();
    if vlans.is_empty() { "none".to_owned() } else { vlans.join(", ") }
}
