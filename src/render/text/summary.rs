//! The first lines: the verdict, the question, and what happened on the way in a few numbers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::evidence::{Evidence, Files};
use crate::net::{NetnsId, NetnsName, NodeName};
use crate::trace::{BesideKind, Decision, NatChange, Path, Step, Trace, Verdict};

use super::super::View;
use super::packet::{destination, protocol, source};
use super::rows::place;
use super::{Style, end};

/// Protocol, and both ends as they were typed and as they are.
pub(super) fn question(view: &View<'_>, style: Style) -> String {
    let packet = &view.answer.request;
    let arrow = style.symbols().arrow;
    let source = if packet.ip.source.is_unspecified() { String::new() } else { source(packet) };
    let from = named(&style.clean(view.from), &source);
    let to = named(&style.clean(view.to), &destination(packet));
    let mut text = format!("{} {from} {arrow} {to}", protocol(packet));
    if let [path] = view.answer.paths.as_slice()
        && let Some(last) = path.forward.steps.last().filter(|_| path.forward.arrived())
        && (destination(last.packet.innermost()) != destination(packet) || is_other(last, view.target))
    {
        text = format!("{text} {arrow} {}", receiver(last, style));
    }
    text
}

/// Whether somebody else got the packet than the pod or node whose name was typed.
fn is_other(last: &Step, target: Option<NetnsId>) -> bool {
    let left = matches!(last.decision, Decision::End { verdict: Verdict::Left, .. });
    !left && target.is_some_and(|target| target != last.place.netns)
}

/// What was typed and what it means, once where that is the same.
fn named(typed: &str, meant: &str) -> String {
    if meant.is_empty() {
        typed.to_owned()
    } else if typed == meant || meant.starts_with(&format!("{typed}:")) {
        meant.to_owned()
    } else {
        format!("{typed} {meant}")
    }
}

/// Who got the packet.
pub(super) fn receiver(step: &Step, style: Style) -> String {
    let address = destination(step.packet.innermost());
    match (&step.decision, &step.place.name) {
        (Decision::End { verdict: Verdict::Left, .. }, _) => address,
        (_, NetnsName::Pod(pod)) => format!("{} {address}", style.clean(pod)),
        (_, NetnsName::Host) => format!("node/{} {address}", style.clean(&step.place.node)),
    }
}

/// How many of what: `2 nodes, DNAT 1, VXLAN 1`. What didn't happen is left out.
pub(super) fn counts(trace: &Trace) -> String {
    let nodes: BTreeSet<&NodeName> = trace.steps.iter().map(|step| &step.place.node).collect();
    let count = |test: fn(&Decision) -> bool| trace.steps.iter().filter(|step| test(&step.decision)).count();
    let dnat = count(|decision| matches!(decision, Decision::Nat { change: NatChange::Dnat, .. }));
    let snat = count(|decision| matches!(decision, Decision::Nat { change: NatChange::Snat, .. }));
    let vxlan = count(|decision| matches!(decision, Decision::Encapsulate { tunnel: "vxlan", .. }));
    let relay = count(|decision| matches!(decision, Decision::Userspace { .. })).div_ceil(2);
    let plural = if nodes.len() == 1 { "" } else { "s" };
    let copies = trace.beside.iter().filter(|beside| beside.kind == BesideKind::Copy).count();
    let counted = [("DNAT", dnat), ("SNAT", snat), ("VXLAN", vxlan), ("relay", relay), ("copies", copies)];
    let happened = counted.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!(", {name} {count}"));
    format!("{} node{plural}{}", nodes.len(), happened.collect::<String>())
}

/// How a path's packet and its answer fared: the last words of the summary.
pub(super) fn outcome(path: &Path, style: Style, files: &Files) -> Option<String> {
    let reply = path.reply.as_ref()?;
    if path.forward.verdict == Verdict::Rejected {
        return Some(match path.error_delivered {
            Some(true) => "the sender hears of it".to_owned(),
            Some(false) => "the sender never hears of it".to_owned(),
            None => "whether the sender hears of it is not known".to_owned(),
        });
    }
    let rewriters: BTreeSet<String> = reply
        .steps
        .iter()
        .filter(|step| is_reversal(&step.decision))
        .map(|step| style.clean(&step.place.node))
        .collect();
    let rewriters: Vec<String> = rewriters.into_iter().collect();
    let rewritten =
        if rewriters.is_empty() { String::new() } else { format!(", un-NATed on {}", rewriters.join(" and ")) };
    Some(match (reply.verdict, fate(reply, style, files)) {
        (Verdict::Delivered, _) => format!("the reply is delivered too{rewritten}"),
        (Verdict::Left, _) => format!("the reply leaves for the client too{rewritten}"),
        (_, Some(fate)) => format!("but the reply {fate}"),
        (verdict, None) => format!("but the reply is {}", verdict.as_str()),
    })
}

/// The lines that rewrote the answer on its way back.
pub(super) fn reversals(reply: &Trace) -> Vec<Evidence> {
    let steps = reply.steps.iter().filter(|step| is_reversal(&step.decision));
    steps.flat_map(|step| step.because.iter().copied()).collect()
}

/// What tells a path from others that end like it: by which way of a multipath route it went, and, where it did not
/// arrive, which endpoint it was for.
pub(super) fn distinction(path: &Path, paths: &[Path], style: Style) -> String {
    let by_chance = |why: &&String| paths.iter().any(|other| !other.why.contains(why));
    let ways = path.why.iter().filter(by_chance).filter_map(|why| why.strip_prefix("multipath route "));
    let mut told: Vec<String> = ways.filter_map(|way| way.split_once(": ")).map(|(_, way)| style.clean(way)).collect();
    let endpoint = endpoint(path).filter(|_| !path.forward.arrived());
    let differs = paths.iter().any(|other| self::endpoint(other).is_some_and(|other| Some(other) != endpoint));
    if let Some((address, port)) = endpoint.filter(|_| differs) {
        told.push(format!("for {}", super::super::endpoint(address, port)));
    }
    if told.is_empty() { String::new() } else { format!(" {}", told.join(" ")) }
}

/// The address and port that the packet was last sent on to.
fn endpoint(path: &Path) -> Option<(IpAddr, Option<u16>)> {
    path.forward.steps.iter().rev().find_map(|step| match &step.decision {
        Decision::Nat { change: NatChange::Dnat, to_endpoint, .. } => Some(*to_endpoint),
        _ => None,
    })
}

fn is_reversal(decision: &Decision) -> bool {
    matches!(decision, Decision::Nat { change: NatChange::SnatReply | NatChange::DnatReply, .. })
}

/// How it ended and where: `is dropped at n1 host: rp-filter`.
pub(super) fn fate(trace: &Trace, style: Style, files: &Files) -> Option<String> {
    let step = end::end(trace)?;
    let Decision::End { verdict, .. } = &step.decision else { return None };
    let word = match verdict {
        Verdict::Undetermined => "is undetermined".to_owned(),
        verdict => format!("is {}", verdict.as_str()),
    };
    let mut parts = vec![format!("{word} at {}", place(step, style))];
    parts.extend(end::causes(trace, style, files));
    Some(parts.join(": "))
}

/// A probability as people say it: a fraction with a small denominator, or else percent.
pub(super) fn share(probability: Option<f64>) -> String {
    let Some(share) = probability else { return "?".to_owned() };
    if (share - 1.0).abs() < TOLERANCE {
        return "always".to_owned();
    }
    let fraction = (2..=64_u32).find_map(|denominator| {
        let numerator = (share * f64::from(denominator)).round();
        let exact = (share - numerator / f64::from(denominator)).abs() < TOLERANCE;
        (exact && numerator >= 1.0).then(|| format!("{numerator}/{denominator}"))
    });
    fraction.unwrap_or_else(|| format!("{:.3} %", share * 100.0))
}

/// kube-proxy writes probabilities with eleven digits, and the kernel keeps them with 31 bits.
const TOLERANCE: f64 = 1e-8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_fractions_are_written_as_such() {
        assert_eq!(share(Some(1.0 / 3.0)), "1/3");
        assert_eq!(share(Some(0.333_333_333_49)), "1/3");
        assert_eq!(share(Some(0.75)), "3/4");
        assert_eq!(share(Some(0.012_345)), "1.234 %");
        assert_eq!(share(None), "?");
        assert_eq!(share(Some(1.0)), "always");
    }
}
