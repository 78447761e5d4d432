//! What of a packet differs from what a snapshot predicts, and what that means.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{Encapsulation, Packet, Transport};
use crate::trace::{Decision, NatChange, RuleVerdict, Step, Trace};

use super::rewrite::End;
use super::sight::{Lane, Outer};

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What: `source`, `destination`, `ttl` or `tunnel`.
    pub field: &'static str,
    /// As predicted.
    pub predicted: String,
    /// As seen.
    pub seen: String,
    /// What of the prediction did not happen, where something did that to this field.
    pub meaning: Option<Meaning>,
}

/// A decision of the model that the capture contradicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The word for it: the rule's target, or what was put on or off.
    pub word: String,
    /// The lines that decided.
    pub because: Vec<Evidence>,
    /// Whether what was seen is what stood there before.
    pub is_unchanged: bool,
}

/// What of a sight (its lane and TTL) differs from the packet at a step. TTLs are predicted but for a number that all of
/// them have more.
pub(super) fn differences(trace: &Trace, step: usize, seen: (&Lane, u8), shift: i16) -> Vec<Difference> {
    let Some(packet) = trace.steps.get(step).map(|step| &step.packet) else { return Vec::new() };
    let (lane, ttl) = seen;
    let inner = packet.innermost();
    let ends = [
        ("source", source(inner), lane.source_end(), [NatChange::Snat, NatChange::DnatReply]),
        ("destination", destination(inner), lane.destination_end(), [NatChange::Dnat, NatChange::SnatReply]),
    ];
    let mut found = Vec::new();
    for (field, predicted, seen, changes) in ends {
        if !is_same(predicted, seen) {
            let meaning = rewritten(trace, step, changes, seen);
            found.push(Difference { field, predicted: told(predicted), seen: seen.to_string(), meaning });
        }
    }
    let predicted = i16::from(inner.ip.ttl) + shift;
    if predicted != i16::from(ttl) {
        let (predicted, seen) = (predicted.to_string(), ttl.to_string());
        found.push(Difference { field: "ttl", predicted, seen, meaning: None });
    }
    let predicted = outer(packet);
    if predicted != lane.tunnel.map(Wrapping::of) {
        let word = |wrapping: Option<Wrapping>| wrapping.map_or_else(|| "none".to_owned(), Wrapping::told);
        let (predicted, seen) = (word(predicted), word(lane.tunnel.map(Wrapping::of)));
        found.push(Difference {
            field: "tunnel",
            predicted,
            seen,
            meaning: wrapped(trace, step, lane.tunnel.is_none()),
        });
    }
    found
}

/// An address, and a port where the model knows it.
type Known = (IpAddr, Option<u16>);

fn source(packet: &Packet) -> Known {
    let id = echo(packet);
    (packet.ip.source, packet.source_port().or(id))
}

fn destination(packet: &Packet) -> Known {
    let id = echo(packet);
    (packet.ip.destination, packet.destination_port().or(id))
}

fn echo(packet: &Packet) -> Option<u16> {
    match packet.transport {
        Transport::Icmp { id, .. } => id,
        _ => None,
    }
}

/// A port that the model doesn't know may be any.
fn is_same(predicted: Known, seen: End) -> bool {
    let (address, port) = predicted;
    address == seen.address && (port.is_none() || seen.port.is_none() || port == seen.port)
}

fn told((address, port): Known) -> String {
    End { address, port }.to_string()
}

/// The last NAT before a step that gave a field its predicted value.
fn rewritten(trace: &Trace, step: usize, changes: [NatChange; 2], seen: End) -> Option<Meaning> {
    let before = trace.steps.get(..step)?;
    let (place, nat) = before.iter().enumerate().rev().find(|(_, step)| match step.decision {
        Decision::Nat { change, .. } => changes.contains(&change),
        _ => false,
    })?;
    let Decision::Nat { change, from_endpoint, .. } = &nat.decision else { return None };
    let word = match change {
        NatChange::Snat | NatChange::Dnat => target(before.get(..place)?).unwrap_or(change.as_str().to_uppercase()),
        NatChange::SnatReply => "the reverse of SNAT".to_owned(),
        NatChange::DnatReply => "the reverse of DNAT".to_owned(),
    };
    Some(Meaning { word, because: nat.because.clone(), is_unchanged: is_same(*from_endpoint, seen) })
}

/// The target of the rule that ended a nat table: `MASQUERADE`, `DNAT`, or nft's statement.
fn target(before: &[Step]) -> Option<String> {
    let text = before.iter().rev().find_map(|step| match &step.decision {
        Decision::Rule { text, verdict: RuleVerdict::Accept | RuleVerdict::Continue, .. } => Some(text),
        _ => None,
    })?;
    let of_iptables = text.split(" -j ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let of_nft = ["masquerade", "snat", "dnat", "redirect"].into_iter().find(|word| text.contains(word));
    of_iptables.or(of_nft).map(str::to_owned)
}

/// A tunnel as far as the model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wrapping {
    vni: Option<u32>,
    source: IpAddr,
    destination: IpAddr,
}

impl Wrapping {
    fn of(outer: Outer) -> Self {
        Self { vni: outer.vni, source: outer.source, destination: outer.destination }
    }

    fn told(self) -> String {
        let vni = self.vni.map(|vni| format!("vni {vni} ")).unwrap_or_default();
        format!("{vni}{} > {}", self.source, self.destination)
    }
}

fn outer(packet: &Packet) -> Option<Wrapping> {
    packet.inner.as_ref()?;
    let vni = match packet.encapsulation {
        Some(Encapsulation::Vxlan(vni)) => Some(vni.0),
        _ => None,
    };
    Some(Wrapping { vni, source: packet.ip.source, destination: packet.ip.destination })
}

/// The step that put the tunnel on, or off, before another one.
fn wrapped(trace: &Trace, step: usize, is_bare: bool) -> Option<Meaning> {
    let before = trace.steps.get(..step)?;
    let found = before.iter().rev().find_map(|step| match &step.decision {
        Decision::Encapsulate { tunnel, .. } => Some((format!("{tunnel} is put on"), step, is_bare)),
        Decision::Decapsulate { tunnel, .. } => Some((format!("{tunnel} is taken off"), step, !is_bare)),
        _ => None,
    });
    let (word, step, is_unchanged) = found?;
    // What forwards to the tunnel decides where it leads to.
    let entry = before.iter().rev().find(|step| matches!(step.decision, Decision::Fdb { vtep: Some(_), .. }));
    let because = entry.map_or_else(|| step.because.clone(), |entry| entry.because.clone());
    Some(Meaning { word, because, is_unchanged })
}
