//! What the snapshot leaves open.

use std::io;

use crate::evidence::Gap;
use crate::trace::{Decision, Path, Trace, Verdict};

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
        (!named, !traces().any(|trace| concerns(trace, gap)))
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
fn names(trace: &Trace, gap: &Gap) -> bool {
    let Some(Decision::End { detail: Some(detail), .. }) = trace.steps.last().map(|step| &step.decision) else {
        return false;
    };
    detail.contains(&gap.what)
}

/// Whether a gap is about the device that an undetermined trace was to go on by.
fn concerns(trace: &Trace, gap: &Gap) -> bool {
    if trace.verdict != Verdict::Undetermined {
        return false;
    }
    let Some(place) = trace.steps.last().map(|step| &step.place) else { return false };
    let device = trace.steps.iter().rev().find_map(|step| match &step.decision {
        Decision::Route { device, .. } => Some(device.as_ref()?.as_str()),
        _ => None,
    });
    let words = |word: &str| gap.what.split([' ', ',', ':', '/']).any(|part| part == word);
    device.is_some_and(words) && words(place.node.as_str())
}
