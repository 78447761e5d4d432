//! What the snapshot leaves open.

use std::io;

use crate::evidence::Gap;
use crate::net::{IfName, NetnsName};
use crate::trace::{Decision, Path, Place, Trace, Verdict};

use super::super::View;
use super::pen::{Pen, Tone};
use super::{Style, end, reference};

/// How many gaps are listed without `-v`.
const GAPS: usize = 8;

/// Lists the gaps: first what an end names, then what else is missing about the device that the packet was to go on by,
/// then the rest.
pub(super) fn gaps(pen: &mut Pen<'_>, view: &View<'_>, style: Style) -> io::Result<()> {
    let gaps = &view.answer.gaps;
    if gaps.is_empty() {
        return Ok(());
    }
    pen.gap()?;
    pen.heading("What the snapshot leaves open")?;
    let shown = if style.verbose { gaps.len() } else { GAPS };
    for gap in ranked(view).into_iter().take(shown) {
        let places = reference::references(&gap.evidence, style, view.files);
        let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(" ")) };
        pen.paragraph("  - ", &format!("{}{places}", style.clean(&gap.what)), Tone::Plain)?;
        if let (Some(column), Some(line)) = (gap.column, gap.evidence.first()) {
            end::point(pen, view.files.text(*line), column, style)?;
        }
    }
    match gaps.len().saturating_sub(shown) {
        0 => Ok(()),
        more => pen.paragraph("  - ", &format!("and {more} more; -v lists them"), Tone::Plain),
    }
}

fn ranked<'a>(view: &View<'a>) -> Vec<&'a Gap> {
    let traces = || view.answer.paths.iter().flat_map(traces);
    let mut gaps: Vec<&Gap> = view.answer.gaps.iter().collect();
    gaps.sort_by_key(|gap| {
        let named = traces().any(|trace| names(trace, gap));
        // What rewrites the packet comes before what merely may stop it.
        let rewrites = gap.what.contains(" masqueraded ");
        (!named, !traces().any(|trace| concerns(trace, gap)), !rewrites)
    });
    gaps
}

fn traces(path: &Path) -> impl Iterator<Item = &Trace> {
    [Some(&path.forward), path.reply.as_ref()].into_iter().flatten()
}

/// What keeps a trace from going on: the gaps that its end names, then those about the device that it was to go on by.
pub(super) fn in_the_way<'a>(trace: &Trace, gaps: &'a [Gap]) -> impl Iterator<Item = &'a str> {
    let named = gaps.iter().filter(|gap| names(trace, gap));
    named.chain(gaps.iter().filter(|gap| concerns(trace, gap))).map(|gap| gap.what.as_str())
}

/// Whether a trace's end says what the gap says.
pub(super) fn names(trace: &Trace, gap: &Gap) -> bool {
    let Some(Decision::End { detail: Some(detail), .. }) = trace.steps.last().map(|step| &step.decision) else {
        return false;
    };
    detail.contains(&gap.what)
}

/// Whether a gap is about the device that an undetermined trace was to go on by.
fn concerns(trace: &Trace, gap: &Gap) -> bool {
    let Some(last) = trace.steps.last().filter(|_| trace.verdict == Verdict::Undetermined) else { return false };
    let here = trace.steps.iter().rev().take_while(|step| step.place.netns == last.place.netns);
    let device = here.filter_map(|step| match &step.decision {
        Decision::Route { device, .. } => device.as_ref(),
        _ => None,
    });
    let says = |device: &IfName| gap.what.split([' ', ',', ':']).any(|word| word == device.as_str());
    gap.what.contains(&folder(&last.place)) && device.take(1).any(says)
}

/// The folder of a namespace's files, as gaps name it.
fn folder(place: &Place) -> String {
    match &place.name {
        NetnsName::Host => format!("nodes/{}/host/", place.node),
        NetnsName::Pod(pod) => pod.folder(place.node.as_str()) + "/",
    }
}
