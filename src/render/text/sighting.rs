//! A captured packet: one line about it, or what stands above its path.

use std::io::{self, Write};

use super::super::View;
use super::packet;
use super::pen::{Pen, Tone};
use super::{Style, reference, summary};
use crate::net::{NetnsName, Packet, Transport};
use crate::trace::{Finding, Leg, Path, Role, Sighting, Trace, Verdict, Way};

/// Writes what a captured packet is and what becomes of it, in one line, and in further ones what is odd about it.
pub fn sighting_line(view: &View<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(sighting) = view.sighting else { return Ok(()) };
    let mut pen = Pen::new(style, out);
    let count = if sighting.count > 1 { format!("x{}", sighting.count) } else { String::new() };
    let label = format!("{:>6} {count:>6} ", format!("#{}", sighting.number));
    let fate = fate(view, sighting, style);
    let text = format!("{} {}: {fate}", way(sighting), headers(&sighting.packet));
    pen.paragraph(&label, &text, tone(view, sighting))?;
    remarks(&mut pen, &" ".repeat(label.len()), sighting, view, style)
}

/// Writes where the packet of the view was captured.
pub(super) fn sighting(pen: &mut Pen<'_>, view: &View<'_>, style: Style) -> io::Result<()> {
    let Some(sighting) = view.sighting else { return Ok(()) };
    let place = &sighting.place;
    let netns = match &place.name {
        NetnsName::Host => format!("node {}", place.node),
        NetnsName::Pod(pod) => format!("pod {pod} on {}", place.node),
    };
    let device = place.device.as_ref().map(ToString::to_string).unwrap_or_default();
    let more = if sighting.count > 1 { format!(", and {} more like it", sighting.count - 1) } else { String::new() };
    let role = match sighting.role {
        Role::Original => "",
        Role::Reply => " (a reply)",
        Role::Error => " (an ICMP error)",
    };
    let text = style.clean(format!(
        "{}#{}{more}: {} {device} of {netns}, {}{role}",
        sighting.file,
        sighting.number,
        way(sighting).trim(),
        headers(&sighting.packet),
    ));
    pen.paragraph(" capture: ", &text, Tone::Plain)?;
    remarks(pen, "     ", sighting, view, style)
}

fn remarks(pen: &mut Pen<'_>, indent: &str, sighting: &Sighting, view: &View<'_>, style: Style) -> io::Result<()> {
    for odd in &sighting.odd {
        pen.paragraph(&format!("{indent}odd: "), &found(odd, view, style), Tone::Bad)?;
    }
    for note in &sighting.notes {
        pen.paragraph(&format!("{indent}note: "), &style.clean(note), Tone::Unsure)?;
    }
    Ok(())
}

fn found(finding: &Finding, view: &View<'_>, style: Style) -> String {
    let places = reference::references(&finding.evidence, style, view.files);
    let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(" ")) };
    format!("{}{places}", style.clean(&finding.what))
}

fn way(sighting: &Sighting) -> &'static str {
    match sighting.way {
        Some(Way::In) => "in ",
        Some(Way::Out) => "out",
        None => "?  ",
    }
}

fn headers(packet: &Packet) -> String {
    let inner = packet.innermost();
    let flags = match inner.transport {
        Transport::Tcp { flags, .. } => format!(" {}", flag_names(flags)),
        _ => String::new(),
    };
    format!("{} {}{flags}", packet::protocol(inner), packet::headers(packet))
}

/// TCP's flags, as tcpdump has them.
fn flag_names(flags: u8) -> String {
    let names =
        [(0x02, 'S'), (0x01, 'F'), (0x04, 'R'), (0x08, 'P'), (0x10, '.'), (0x20, 'U'), (0x40, 'E'), (0x80, 'W')];
    let set: String = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    format!("[{}]", if set.is_empty() { "none" } else { &set })
}

/// What becomes of the packet, on each of its paths.
fn fate(view: &View<'_>, sighting: &Sighting, style: Style) -> String {
    let mut ways = view.answer.paths.iter().zip(&sighting.spots);
    let first = ways.find_map(|(path, spot)| one_fate(path, spot.leg, style, view));
    let subject = match (sighting.is_whole, sighting.role) {
        (false, _) => "from here on ".to_owned(),
        (true, Role::Original) => {
            format!("{} {} {} ", style.clean(view.from), style.symbols().arrow, style.clean(view.to))
        }
        (true, Role::Reply) => {
            format!("reply to {} {} {} ", style.clean(view.from), style.symbols().arrow, style.clean(view.to))
        }
        (true, Role::Error) => {
            format!("error about {} {} {} ", style.clean(view.from), style.symbols().arrow, style.clean(view.to))
        }
    };
    let more = match view.answer.paths.len() {
        0 | 1 => String::new(),
        several => format!(" (the first of {several} ways that fit)"),
    };
    format!("{subject}{}{more}", first.as_deref().unwrap_or("no way was walked"))
}

fn one_fate(path: &Path, leg: Leg, style: Style, view: &View<'_>) -> Option<String> {
    let trace = match leg {
        Leg::Forward => &path.forward,
        Leg::Reply => path.reply.as_ref()?,
    };
    let own = ended(trace, style, view)?;
    let outcome = (leg == Leg::Forward).then(|| summary::outcome(path, style, view.files)).flatten();
    Some(own + &outcome.map_or(String::new(), |outcome| format!("; {outcome}")))
}

fn ended(trace: &Trace, style: Style, view: &View<'_>) -> Option<String> {
    let last = trace.steps.last()?;
    Some(match (summary::fate(trace, style, view.files), trace.verdict) {
        (Some(fate), _) => fate,
        (None, Verdict::Left) => format!("leaves for {}", summary::receiver(last, style)),
        (None, verdict) => format!("is {} to {}", verdict.as_str(), summary::receiver(last, style)),
    })
}

fn tone(view: &View<'_>, sighting: &Sighting) -> Tone {
    let traces = view.answer.paths.iter().zip(&sighting.spots).filter_map(|(path, spot)| match spot.leg {
        Leg::Forward => Some(&path.forward),
        Leg::Reply => path.reply.as_ref(),
    });
    let verdicts: Vec<Verdict> = traces.map(|trace| trace.verdict).collect();
    if !sighting.odd.is_empty() {
        Tone::Bad
    } else if verdicts.iter().all(|verdict| matches!(verdict, Verdict::Delivered | Verdict::Left)) {
        Tone::Good
    } else if verdicts.contains(&Verdict::Undetermined) {
        Tone::Unsure
    } else {
        Tone::Bad
    }
}
