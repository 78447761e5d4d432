//! Where a packet died: the line that decided, with a caret under what did it, and one thing to try.

use std::io;

use unicode_width::UnicodeWidthStr as _;

use crate::evidence::{Evidence, Files};
use crate::trace::{Decision, Finding, NotRewritten, Reason, Step, Trace, Verdict};

use super::super::View;
use super::super::advice::{Case, advice};
use super::super::{cycle, fault};
use super::Style;
use super::gaps::{in_the_way, names};
use super::pen::{Pen, Tone};
use super::reference::references;
use super::rows::{answer, place, route};
use super::rules;

/// How many characters of a line are looked at: no row of a table is longer.
const LONGEST: usize = 1 << 16;
/// How many columns beside a quoted line stay empty.
const BESIDE: usize = 6;
/// How many columns stay for what follows the word that is pointed at.
const AFTER: usize = 12;
/// How many lines are quoted; the rest stands in the trace.
const QUOTES: usize = 3;

/// The last step of a trace that did not arrive.
pub(super) fn end(trace: &Trace) -> Option<&Step> {
    trace.steps.last().filter(|_| !trace.arrived())
}

/// Why a trace ended, from the word to the details: `rule: filter KUBE-SERVICES: "shop/none has no endpoints"`.
pub(super) fn causes(trace: &Trace, style: Style, files: &Files) -> Vec<String> {
    let Some(step) = end(trace) else { return Vec::new() };
    let Decision::End { reason, detail, .. } = &step.decision else { return Vec::new() };
    let mut causes: Vec<String> = reason.iter().map(|reason| reason.as_str().to_owned()).collect();
    causes.extend(detail.as_ref().map(|detail| style.clean(detail)));
    causes.extend(circle(trace, style));
    if matches!(reason, Some(Reason::Rule | Reason::Policy)) {
        causes.extend(step.because.first().map(|&line| style.clean(rules::title(files.text(line)))));
    }
    causes
}

/// Between which places a trace went round.
fn circle(trace: &Trace, style: Style) -> Option<String> {
    let mut places: Vec<String> = Vec::new();
    for step in cycle::cycle(trace)?.routes(trace) {
        let place = place(step, style);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    match places.as_slice() {
        [] => None,
        [one] => Some(format!("a routing loop at {one}")),
        [some @ .., last] => Some(format!("a routing loop between {} and {last}", some.join(", "))),
    }
}

/// The routes by which a trace went round, each with its place and its line.
pub(super) fn circle_routes(trace: &Trace, style: Style, files: &Files) -> Option<String> {
    let routes = cycle::cycle(trace)?.routes(trace);
    let told = routes.iter().map(|step| {
        let lines = references(step.because.get(..1).unwrap_or_default(), style, files);
        format!("{} by {} ({})", place(step, style), route(step, style), lines.join(" "))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("the loop: {}", told.join(", ")))
}

/// The lines that show an end: those that decided, or else the routes that led the packet round.
fn lines(trace: &Trace, step: &Step) -> Vec<Evidence> {
    let routes = || cycle::cycle(trace).map(|cycle| cycle.routes(trace)).unwrap_or_default();
    match step.because.as_slice() {
        [] => routes().iter().filter_map(|step| step.because.first().copied()).collect(),
        lines => lines.to_vec(),
    }
}

/// What was found out about the service whose address a packet still had at its end.
fn service(step: &Step, findings: &[Finding]) -> Option<NotRewritten> {
    let mut told = findings.iter().filter_map(|finding| finding.not_rewritten);
    told.find(|(address, _)| *address == step.packet.ip.destination).map(|(_, why)| why)
}

/// Prints where and why a trace ended, and what to try.
pub(super) fn diagnosis(
    pen: &mut Pen<'_>,
    subject: &str,
    trace: &Trace,
    style: Style,
    view: &View<'_>,
) -> io::Result<()> {
    let files = view.files;
    let Some(step) = end(trace) else { return Ok(()) };
    let Decision::End { verdict, reason, .. } = &step.decision else { return Ok(()) };
    let tone = if *verdict == Verdict::Undetermined { Tone::Unsure } else { Tone::Bad };
    let mut title = vec![format!("{} at {}", phrase(*verdict), place(step, style))];
    title.extend(causes(trace, style, files));
    title.extend(answer(step));
    pen.paragraph(&format!("{subject} "), &title.join(": "), tone)?;
    for line in lines(trace, step).into_iter().take(QUOTES) {
        match column(trace, line, view) {
            Some(column) => {
                heading(pen, line, style, files)?;
                point(pen, files.text(line), column, style)?;
            }
            None => quote(pen, line, *reason, step, style, files)?,
        }
    }
    if let Some(reason) = reason {
        let decided = step.because.iter().map(|&line| files.text(line)).collect();
        let devices = step.because.iter().filter_map(|&line| fault::device(line, files)).collect();
        let missing = in_the_way(trace, &view.answer.gaps).collect();
        let service = service(step, view.findings);
        let case = Case { trace, step, reason: *reason, decided, devices, missing, service };
        pen.paragraph("Try: ", &style.clean(advice(&case)), Tone::Strong)?;
    }
    Ok(())
}

fn phrase(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Delivered => "arrives",
        Verdict::Left => "leaves",
        Verdict::Dropped => "is dropped",
        Verdict::Rejected => "is rejected",
        Verdict::Lost => "is lost",
        Verdict::Looped => "goes round in circles",
        Verdict::Undetermined | Verdict::Mixed => "can't be followed further",
    }
}

fn quote(
    pen: &mut Pen<'_>,
    line: Evidence,
    reason: Option<Reason>,
    step: &Step,
    style: Style,
    files: &Files,
) -> io::Result<()> {
    let line = telling(line, reason, files);
    let text = files.text(line).trim();
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
    let text = style.clean(text.get(..end).unwrap_or_default());
    if text.is_empty() {
        return Ok(());
    }
    let (start, len) = pointed(&text, reason, step);
    let (shown, start, len) = window(&text, start, len, style);
    heading(pen, line, style, files)?;
    pen.verbatim(&format!("    {shown}"))?;
    pen.verbatim(&format!("    {:start$}{}", "", "^".repeat(len.max(1))))
}

/// Where a line that is quoted stands.
fn heading(pen: &mut Pen<'_>, line: Evidence, style: Style, files: &Files) -> io::Result<()> {
    let places = references(&[line], style, files);
    places.iter().try_for_each(|place| pen.paragraph("  ", place, Tone::Faint))
}

/// The place in a line that the gap points at which ended a trace; none where it is the line's first, which stands for
/// all of it.
fn column(trace: &Trace, line: Evidence, view: &View<'_>) -> Option<u32> {
    let mut gaps = view.answer.gaps.iter().filter(|gap| gap.evidence.first() == Some(&line) && names(trace, gap));
    gaps.find_map(|gap| gap.column).filter(|column| *column > 1)
}

/// Quotes a line with a caret under one of its columns.
pub(super) fn point(pen: &mut Pen<'_>, line: &str, column: u32, style: Style) -> io::Result<()> {
    let byte = |text: &str, chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    let line = line.get(..byte(line, LONGEST)).unwrap_or("");
    let (before, after) = line.split_at_checked(byte(line, column.saturating_sub(1) as usize)).unwrap_or((line, ""));
    let (before, after) = (style.clean(before.trim_start()), style.clean(after.trim_end()));
    let word = after.find(' ').unwrap_or(after.len());
    let text = format!("{before}{after}");
    let (shown, start, len) = window(&text, before.len(), word, style);
    pen.verbatim(&format!("    {shown}"))?;
    pen.verbatim(&format!("    {:start$}{}", "", "^".repeat(len.max(1))))
}

/// The line of a row that shows what decided: a port's state stands at the start of its row, and its other settings on
/// the line below.
fn telling(line: Evidence, reason: Option<Reason>, files: &Files) -> Evidence {
    let head = fault::head(line, files);
    let says = |line| words(reason).iter().any(|word| files.text(line).contains(word));
    if !says(line) && says(head) { head } else { line }
}

/// The words for what a reason is about, as the tools print it.
fn words(reason: Option<Reason>) -> &'static [&'static str] {
    match reason {
        Some(Reason::Rule) => &["-j ", "-g ", " drop", " reject"],
        Some(Reason::Policy) => &["DROP", "policy drop"],
        Some(Reason::Blackhole) => &["blackhole"],
        Some(Reason::Unreachable) => &["unreachable"],
        Some(Reason::Prohibit) => &["prohibit"],
        Some(Reason::Userspace) => &["-j ", " queue", " synproxy"],
        Some(Reason::NatFailed | Reason::Conntrack) => &["-j ", " masquerade", " redirect", " snat", " dnat"],
        Some(
            Reason::RpFilter
            | Reason::NotForwarding
            | Reason::EchoIgnored
            | Reason::ReplyNotMatched
            | Reason::SourceRoute,
        ) => &["= "],
        Some(Reason::FragmentationNeeded | Reason::TooBig) => &["mtu "],
        Some(Reason::NeighborFailed) => &[
            "FAILED",
            "INCOMPLETE",
            "isolated on",
            "NO-CARRIER",
            "state DOWN",
            "state LOWERLAYERDOWN",
            "state blocking",
            "state disabled",
            "state listening",
            "state learning",
            "-j ",
            " drop",
            " reject",
        ],
        Some(Reason::DeviceDown | Reason::NoRoute) => &["NO-CARRIER", "state DOWN", "state LOWERLAYERDOWN"],
        Some(Reason::TtlExceeded | Reason::Loop | Reason::NobodyOwns) => &["dst ", "via "],
        Some(Reason::NoAddress) => &["dev "],
        Some(Reason::HairpinOff) => &["hairpin off"],
        Some(Reason::IsolatedPort) => &["isolated on"],
        Some(Reason::PortNotForwarding) => &["vlan_filtering 1", "state "],
        Some(Reason::VniMismatch) => &["vxlan id "],
        Some(Reason::NoVtep) => &["dstport "],
        Some(Reason::OtherHost) => &["lladdr ", "link/ether ", "dst "],
        _ => &[],
    }
}

/// Which part of a line decided, as byte offset and length.
fn pointed(text: &str, reason: Option<Reason>, step: &Step) -> (usize, usize) {
    let destination = step.packet.ip.destination.to_string();
    let found = words(reason).iter().find_map(|word| text.find(word).map(|start| span(text, start, word)));
    let source = step.packet.ip.source.to_string();
    let wanted = if reason == Some(Reason::MartianSource) { source } else { destination };
    let address = || text.find(&wanted).map(|start| (start, wanted.len()));
    let device = || fault::name(text).and_then(|name| text.find(name).map(|start| (start, name.len())));
    found.or_else(address).or_else(device).unwrap_or((0, text.len()))
}

/// A word that ends in a space takes the next one along; one that starts with a space doesn't count it.
fn span(text: &str, start: usize, word: &str) -> (usize, usize) {
    let skip = word.len() - word.trim_start().len();
    let rest = text.get(start + word.len()..).unwrap_or("");
    let more = if word.ends_with(' ') { rest.find(' ').unwrap_or(rest.len()) } else { 0 };
    (start + skip, word.len() - skip + more)
}

/// The part of a long line around what is pointed at, in columns.
fn window(text: &str, start: usize, len: usize, style: Style) -> (String, usize, usize) {
    let quote = style.width.columns().saturating_sub(BESIDE);
    let before = text.get(..start).unwrap_or("");
    let word = text.get(start..start + len).unwrap_or("");
    if text.width() <= quote {
        return (text.to_owned(), before.width(), word.width());
    }
    let dots = style.symbols().ellipsis;
    if word == text {
        let shown = cut(text, quote, dots);
        return (shown.clone(), 0, shown.width());
    }
    let word = cut(word, quote / 2, dots);
    let lead = before_window(before, quote.saturating_sub(word.width() + AFTER), dots);
    let used = lead.width() + word.width();
    let after = text.get(start + len..).unwrap_or("");
    let tail: String = fit(after.chars(), quote.saturating_sub(used + dots.width())).collect();
    let end = if tail.len() < after.len() { dots } else { "" };
    (format!("{lead}{word}{tail}{end}"), lead.width(), word.width())
}

/// The start of a text, with dots where that isn't the whole.
fn cut(text: &str, room: usize, dots: &str) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let start: String = fit(text.chars(), room.saturating_sub(dots.width())).collect();
    format!("{start}{dots}")
}

/// What stands before the word, its middle left out where it is too long.
fn before_window(before: &str, room: usize, dots: &str) -> String {
    if before.width() <= room {
        return before.to_owned();
    }
    let head: String = fit(before.chars(), room / 2).collect();
    let rest = room.saturating_sub(head.width() + dots.width());
    let tail: Vec<char> = fit(before.chars().rev(), rest).collect();
    format!("{head}{dots}{}", tail.into_iter().rev().collect::<String>())
}

/// The characters that fit into so many columns.
fn fit(chars: impl Iterator<Item = char>, columns: usize) -> impl Iterator<Item = char> {
    let mut used = 0;
    chars.take_while(move |c| {
        used += unicode_width::UnicodeWidthChar::width(*c).unwrap_or(0);
        used <= columns
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_what_decided() {
        let style = Style::default();
        let text = format!("-A FORWARD {} -j DROP {}", "-m x".repeat(30), "--z".repeat(30));
        let start = text.find("-j DROP").unwrap();
        let (shown, column, len) = window(&text, start, 7, style);
        assert!(shown.width() <= 94, "{shown}");
        let under: String = shown.chars().skip(column).take(len).collect();
        assert_eq!(under, "-j DROP");
        assert!(shown.starts_with("-A FORWARD") && shown.ends_with('…'));
        assert_eq!(span("a = 1 b", 2, "= "), (2, 3));
    }

    #[test]
    fn a_line_without_a_word_to_point_at_takes_the_whole_width() {
        let text = format!("10: vethfcf430ab@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> {}", "mtu 1450 ".repeat(20));
        let (shown, column, len) = window(&text, 0, text.len(), Style::default());
        assert_eq!((shown.width(), column, len), (94, 0, 94));
        assert!(text.starts_with(shown.strip_suffix('…').unwrap()), "{shown}");
        let (shown, _, len) = window(&text, 4, text.len() - 10, Style::default());
        assert!(shown.width() <= 94 && len == 47 && shown.contains('…'), "{shown}");
    }
}
