//! What a person reads: the verdict first, then the way hop by hop, and at the end what is missing or to be tried.

mod end;
mod gaps;
mod listing;
mod marked;
mod packet;
mod pen;
mod reference;
mod rows;
mod rules;
mod sighting;
mod summary;

use std::io::{self, Write};

use super::View;
use super::escape::Charset;
use crate::trace::{BesideKind, Decision, Leg, Path, Step, Trace, Verdict};
use pen::{Margin, Pen, Row, Tone};
use rows::{Line, Rows};

pub use listing::listing_text;
pub(super) use marked::marked;
pub(super) use packet::headers;
pub use pen::Width;
pub(super) use reference::references;
pub use sighting::sighting_line;

/// How many ends are explained; further ones are in the list of paths.
const ENDS: usize = 3;

/// So many paths are all shown, each where it differs from the first; of more, one for each way to end.
const FEW: usize = 4;

/// How the text is to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Every step, and every rule that was tried.
    pub verbose: bool,
    /// Whether to colour what is worth it.
    pub color: bool,
    /// Which characters may be printed.
    pub charset: Charset,
    /// How wide a line may be.
    pub width: Width,
}

/// Writes the answer for people.
pub fn text(view: &View<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut pen = Pen::new(style, out);
    header(&mut pen, view, style)?;
    sighting::sighting(&mut pen, view, style)?;
    notes(&mut pen, view, style)?;
    let mut left_out = 0;
    for (place, path) in view.answer.paths.iter().enumerate() {
        if !style.verbose && is_told(view, place) {
            left_out += 1;
            continue;
        }
        let common = if place == 0 || style.verbose { 0 } else { common(view.answer.paths.first(), path) };
        section(&mut pen, view, place, style)?;
        way(&mut pen, &path.forward, common, seen(view, place, Leg::Forward), style, view)?;
        let first = view.answer.paths.first().filter(|_| place > 0);
        if first.is_none_or(|first| first.forward.beside != path.forward.beside) {
            beside(&mut pen, &path.forward, style, view)?;
        }
        answer(&mut pen, path, place, style, view)?;
    }
    if left_out > 0 {
        pen.gap()?;
        pen.heading(&format!("{left_out} more paths end like one of these; -v shows them"))?;
    }
    gaps::gaps(&mut pen, view, style)?;
    ends(&mut pen, view, style)
}

/// The answer's way; of a further path whose answer arrives, one line that says so.
fn answer(pen: &mut Pen<'_>, path: &Path, place: usize, style: Style, view: &View<'_>) -> io::Result<()> {
    let Some(reply) = &path.reply else { return Ok(()) };
    let seen = seen(view, place, Leg::Reply);
    if place == 0 || seen.is_some() || style.verbose || !reply.arrived() {
        pen.gap()?;
        pen.heading(answer_title(path))?;
        way(pen, reply, 0, seen, style, view)?;
        return beside(pen, reply, style, view);
    }
    let Some(body) = summary::outcome(path, style, view.files) else { return Ok(()) };
    let is_error = path.forward.verdict == Verdict::Rejected;
    let (margin, label) = if is_error { (Margin::Blank, "error") } else { (Margin::Arrived, "reply") };
    let evidence = reference::references(&summary::reversals(reply), style, view.files);
    pen.row(&Row { margin, label: label.to_owned(), body, evidence, ..Row::default() })
}

/// What was sent beside a packet, and what was sent beside that.
fn beside(pen: &mut Pen<'_>, trace: &Trace, style: Style, view: &View<'_>) -> io::Result<()> {
    for one in &trace.beside {
        let what = match one.kind {
            BesideKind::Copy => "A copy of the packet",
            BesideKind::Ack => "The acknowledgement for the server",
        };
        let doubt = if one.certain { "" } else { ", if its rule matches" };
        for (number, path) in (1..).zip(&one.ways) {
            let of = match (one.ways.len(), one.truncated) {
                (1, false) => String::new(),
                (ways, cut) => {
                    let more = if cut { " and more" } else { "" };
                    format!(", way {number} of {ways}{more} ({})", summary::share(path.probability))
                }
            };
            pen.gap()?;
            pen.heading(&format!("{what}{of}{doubt}"))?;
            path.why.iter().try_for_each(|why| pen.paragraph("  because ", &style.clean(why), Tone::Plain))?;
            way(pen, &path.trace, 0, None, style, view)?;
            beside(pen, &path.trace, style, view)?;
        }
    }
    Ok(())
}

/// Whether a path of many has nothing to tell that an earlier one hasn't told: it ends in the same way, and so does its
/// answer.
fn is_told(view: &View<'_>, place: usize) -> bool {
    let paths = &view.answer.paths;
    let fate = |trace: &Trace| (trace.verdict, trace.reason);
    let same = |one: &Path, other: &Path| {
        fate(&one.forward) == fate(&other.forward) && one.reply.as_ref().map(fate) == other.reply.as_ref().map(fate)
    };
    let told = |path: &Path| paths.iter().take(place).any(|earlier| same(earlier, path));
    paths.len() > FEW && paths.get(place).is_some_and(told)
}

fn header(pen: &mut Pen<'_>, view: &View<'_>, style: Style) -> io::Result<()> {
    let verdict = view.answer.verdict();
    let label = format!("{:<10} ", verdict.as_str().to_uppercase());
    let tone = match verdict {
        Verdict::Delivered | Verdict::Left => Tone::Good,
        Verdict::Undetermined | Verdict::Mixed => Tone::Unsure,
        _ => Tone::Bad,
    };
    pen.paragraph(&label, &summary::question(view, style), tone)?;
    let indent = " ".repeat(label.len());
    if let [path] = view.answer.paths.as_slice() {
        let mut line = summary::counts(&path.forward);
        line.extend(summary::outcome(path, style, view.files).map(|outcome| format!("; {outcome}")));
        if let Some(fate) = summary::fate(&path.forward, style, view.files) {
            pen.paragraph(&indent, &fate, Tone::Plain)?;
        }
        if let Some(routes) = end::circle_routes(&path.forward, style, view.files) {
            pen.paragraph(&indent, &routes, Tone::Plain)?;
        }
        pen.paragraph(&indent, &line, Tone::Plain)?;
        return unexplored(pen, view, &indent);
    }
    for (number, path) in (1..).zip(&view.answer.paths) {
        let label = format!("{indent}{number:>2}  {:<9} ", summary::share(path.probability));
        pen.paragraph(&label, &listed(path, style, view), Tone::Plain)?;
    }
    unexplored(pen, view, &indent)
}

/// How much of the probability was not walked, where the list of ways was cut.
fn unexplored(pen: &mut Pen<'_>, view: &View<'_>, indent: &str) -> io::Result<()> {
    let Some(rest) = view.answer.unexplored else { return Ok(()) };
    // Where the ways that were walked can't be weighed, the rest can't be either.
    let weighed = view.answer.paths.iter().all(|path| path.probability.is_some());
    let rest = if weighed { summary::share(Some(rest)) } else { "what else there is".to_owned() };
    let more = view.answer.paths.len() + 1;
    let what = format!("... {rest} was not walked, which leaves the answer open: ask for --max-paths {more} or more");
    pen.paragraph(indent, &what, Tone::Unsure)
}

/// What is worth knowing, under the header.
fn notes(pen: &mut Pen<'_>, view: &View<'_>, style: Style) -> io::Result<()> {
    for finding in view.findings {
        let places = reference::references(&finding.evidence, style, view.files);
        let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(" ")) };
        pen.paragraph("     note: ", &format!("{}{places}", style.clean(&finding.what)), Tone::Unsure)?;
    }
    Ok(())
}

/// A path in one line, for the list of all.
fn listed(path: &Path, style: Style, view: &View<'_>) -> String {
    let mut text = match (path.forward.steps.last(), summary::fate(&path.forward, style, view.files)) {
        (_, Some(fate)) => fate,
        (Some(step), None) => format!("{} to {}", path.forward.verdict.as_str(), summary::receiver(step, style)),
        (None, None) => path.forward.verdict.as_str().to_owned(),
    };
    text.push_str(&summary::distinction(path, &view.answer.paths, style));
    text.extend(summary::outcome(path, style, view.files).map(|outcome| format!("; {outcome}")));
    text
}

/// The heading of one path among several.
fn section(pen: &mut Pen<'_>, view: &View<'_>, place: usize, style: Style) -> io::Result<()> {
    pen.gap()?;
    let paths = view.answer.paths.len();
    let Some(path) = view.answer.paths.get(place).filter(|_| paths > 1) else { return Ok(()) };
    let share = match summary::share(path.probability).as_str() {
        "?" => "nobody can say how likely".to_owned(),
        share => share.to_owned(),
    };
    pen.heading(&format!("Path {} of {paths} ({share})", place + 1))?;
    path.why.iter().try_for_each(|why| pen.paragraph("  because ", &style.clean(why), Tone::Plain))
}

fn answer_title(path: &Path) -> &'static str {
    let reset =
        matches!(path.forward.steps.last().map(|step| &step.decision), Some(Decision::End { tcp_reset: true, .. }));
    match (path.forward.verdict, reset) {
        (Verdict::Rejected, true) => "The TCP reset's way back",
        (Verdict::Rejected, false) => "The ICMP error's way back",
        _ => "The reply's way back",
    }
}

/// How many steps two paths share from the start.
fn common(first: Option<&Path>, path: &Path) -> usize {
    let first = first.map(|first| first.forward.steps.as_slice()).unwrap_or_default();
    first.iter().zip(&path.forward.steps).take_while(|(a, b)| a == b).count()
}

/// The step of one part of a path at which a capture saw the packet.
fn seen(view: &View<'_>, place: usize, leg: Leg) -> Option<usize> {
    view.spot(place).filter(|spot| spot.leg == leg).map(|spot| spot.step)
}

fn way(
    pen: &mut Pen<'_>,
    trace: &Trace,
    skip: usize,
    seen: Option<usize>,
    style: Style,
    view: &View<'_>,
) -> io::Result<()> {
    if skip > 0 {
        pen.heading("  ... as path 1 up to here")?;
    }
    for line in Rows::of(trace, skip, seen, style, view.files) {
        match line {
            Line::Place(place) => pen.heading(&place)?,
            Line::Underlay(text) => pen.separator(&text)?,
            Line::Row(row) => pen.row(&row)?,
        }
    }
    Ok(())
}

/// Explains the ends of the traces that did not arrive, each kind of end once.
fn ends(pen: &mut Pen<'_>, view: &View<'_>, style: Style) -> io::Result<()> {
    let mut told: Vec<&Step> = Vec::new();
    for path in &view.answer.paths {
        let reply = match path.forward.verdict {
            Verdict::Rejected => "The error",
            _ => "The reply",
        };
        let traces = [("The packet", Some(&path.forward)), (reply, path.reply.as_ref())];
        for (subject, trace) in traces {
            let Some((trace, step)) = trace.and_then(|trace| Some((trace, end::end(trace)?))) else { continue };
            let known = told.iter().any(|known| known.decision == step.decision && known.because == step.because);
            if known || told.len() == ENDS {
                continue;
            }
            told.push(step);
            pen.gap()?;
            end::diagnosis(pen, subject, trace, style, view)?;
        }
    }
    Ok(())
}
