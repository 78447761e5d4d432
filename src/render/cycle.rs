//! Where a trace goes round: the same places by the same lines, again and again, until something ends it.

use std::mem::{self, Discriminant};

use crate::evidence::Evidence;
use crate::net::{IfName, NetnsId};
use crate::trace::{Decision, Reason, Step, Trace};

/// The round that a trace repeats up to its end. All numbers count steps of the trace, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    /// The step after each whole round, the one before the first of them included.
    marks: Vec<usize>,
}

/// What makes two steps the same but for what every round changes: TTL, and what is counted.
#[derive(Clone, Copy, PartialEq)]
struct Mark<'a> {
    at: (NetnsId, Option<&'a IfName>),
    kind: Discriminant<Decision>,
    because: &'a [Evidence],
    destination: std::net::IpAddr,
}

/// The round at the end of a trace that ended because it went round. A round is known by its second passing of a
/// routing decision or of a tunnel's entry, or of whatever the walk itself calls a loop.
pub(super) fn cycle(trace: &Trace) -> Option<Cycle> {
    let reason = trace.reason.filter(|reason| matches!(reason, Reason::TtlExceeded | Reason::Loop | Reason::TooLong));
    let is_loop = reason? != Reason::TtlExceeded;
    // Rules are left out: the first packet of a connection meets more of them than those after it.
    let hops: Vec<(usize, &Step)> = trace.steps.iter().enumerate().filter(|(_, step)| is_hop(&step.decision)).collect();
    let marks: Vec<Mark<'_>> = hops.iter().map(|(_, step)| mark(step)).collect();
    let (period, run) = (1..marks.len()).find_map(|period| {
        let run = repeated(&marks, period);
        let again = hops.iter().rev().take(run);
        let leads = |step: &Step| matches!(step.decision, Decision::Route { .. } | Decision::Fdb { vtep: Some(_), .. });
        let routed = again.clone().any(|(_, step)| leads(step));
        (routed || (is_loop && run > 0)).then_some((period, run))
    })?;
    let first = marks.len().saturating_sub(run + period);
    let places = (first..=marks.len()).step_by(period);
    let end = trace.steps.len().saturating_sub(1);
    let marks = places.map(|place| hops.get(place).map_or(end, |(step, _)| *step));
    Some(Cycle { marks: marks.collect() })
}

fn is_hop(decision: &Decision) -> bool {
    !matches!(
        decision,
        Decision::Rule { .. }
            | Decision::Policy { .. }
            | Decision::Conntrack { .. }
            | Decision::ReversePath { .. }
            | Decision::Forward(_)
            | Decision::End { .. }
    )
}

fn mark(step: &Step) -> Mark<'_> {
    // A packet goes round where it is routed by the same line again, whatever device it came in by.
    let is_route = matches!(step.decision, Decision::Route { .. });
    Mark {
        at: (step.place.netns, step.place.device.as_ref().filter(|_| !is_route)),
        kind: mem::discriminant(&step.decision),
        because: &step.because,
        destination: step.packet.innermost().ip.destination,
    }
}

/// How many of the last steps are the same as those so many steps earlier.
fn repeated(marks: &[Mark<'_>], period: usize) -> usize {
    let earlier = marks.get(..marks.len().saturating_sub(period)).unwrap_or_default();
    marks.iter().rev().zip(earlier.iter().rev()).take_while(|(one, other)| one == other).count()
}

impl Cycle {
    /// The steps of the whole rounds after the first, and how many rounds that are; nothing where one line in their
    /// place would save nothing.
    pub(super) fn repeats(&self) -> Option<(std::ops::Range<usize>, usize)> {
        let rounds = self.marks.len().saturating_sub(2);
        let (&from, &to) = (self.marks.get(1)?, self.marks.last()?);
        (rounds > 1).then_some((from..to, rounds))
    }

    /// The steps of one round.
    pub(super) fn round<'a>(&self, trace: &'a Trace) -> &'a [Step] {
        let (Some(&from), to) = (self.marks.first(), self.marks.get(1)) else { return &[] };
        let to = to.copied().unwrap_or(trace.steps.len());
        trace.steps.get(from..to).unwrap_or_default()
    }

    /// The routing decisions that keep the packet going round, each once; those about a tunnel around it only where
    /// there are no others.
    pub(super) fn routes<'a>(&self, trace: &'a Trace) -> Vec<&'a Step> {
        let is_route = |step: &&Step| matches!(step.decision, Decision::Route { .. });
        let all: Vec<&Step> = self.round(trace).iter().filter(is_route).collect();
        let own: Vec<&Step> = all.iter().copied().filter(|step| step.packet.inner.is_none()).collect();
        let mut kept: Vec<&Step> = Vec::new();
        for step in if own.is_empty() { all } else { own } {
            if !kept.iter().any(|known| known.place.netns == step.place.netns && known.because == step.because) {
                kept.push(step);
            }
        }
        // In the order in which the packet met them first, which may have been before the first whole round.
        let first = |step: &&Step| trace.steps.iter().position(|known| mark(known) == mark(step));
        kept.sort_by_key(first);
        kept
    }
}
