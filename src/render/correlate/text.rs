//! Flows for people: each hop with its delays and what it rewrites, and where packets were lost.

use std::fmt::Write as _;
use std::io::{self, Write};

use owo_colors::OwoColorize as _;

use crate::correlate::{self, Change, Doubt, Ended, Flow, Hop, LaneId, NodeId, PointId, Told, changes};
use crate::evidence::Evidence;

use super::super::escape::{Charset, clean};
use super::super::text::marked;
use super::super::{Style, wrapped};
use super::{Correlation, Forecast, cause, flow_name, places};

/// Writes what the captures have in common.
pub fn correlation_text(view: &Correlation<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { view, style, out };
    page.head()?;
    page.clocks()?;
    page.notes()?;
    let mut flows: Vec<&Flow> = view.summary.flows.iter().filter(|flow| flow.packets > 0).collect();
    flows.sort_by_key(|flow| flow.first);
    flows.iter().try_for_each(|flow| page.flow(flow))
}

struct Page<'a, 'out> {
    view: &'a Correlation<'a>,
    style: Style,
    out: &'out mut dyn Write,
}

impl Page<'_, '_> {
    fn line(&mut self, text: &str) -> io::Result<()> {
        wrapped(&clean(text, self.style.charset)).iter().try_for_each(|line| writeln!(self.out, "{line}"))
    }

    fn symbol(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        symbol(self.style, unicode, ascii)
    }

    fn head(&mut self) -> io::Result<()> {
        let summary = self.view.summary;
        let flows = summary.flows.iter().filter(|flow| flow.packets > 0).count();
        let again: u64 = summary.flows.iter().map(|flow| flow.retransmissions).sum();
        let lost = self.view.lost();
        let text = format!(
            "{} of {}, {}, {}: {lost} lost, {}",
            counted(summary.packets, "packet"),
            counted(flows as u64, "flow"),
            counted(self.view.points.len() as u64, "point"),
            counted(self.view.nodes.len() as u64, "node"),
            counted(again, "retransmission"),
        );
        let text = clean(&text, self.style.charset);
        match (self.style.color, lost) {
            (false, _) => writeln!(self.out, "{text}"),
            (true, 0) => writeln!(self.out, "{}", text.green()),
            (true, _) => writeln!(self.out, "{}", text.red()),
        }
    }

    fn clocks(&mut self) -> io::Result<()> {
        let view = self.view;
        if view.nodes.len() < 2 {
            return Ok(());
        }
        let reference = view.clocks.reference;
        let name = view.nodes.get(reference.index()).map_or("?", |node| node.as_str());
        let first = view.summary.flows.iter().map(|flow| flow.first).filter(|time| *time != i64::MAX).min();
        for (place, node) in (0..).zip(view.nodes).filter(|(place, _)| *place != reference.0) {
            let place = crate::correlate::NodeId(place);
            let ahead = view.clocks.ahead(place, first.unwrap_or(0));
            let text = match view.clocks.clocks.get(place.index()).copied().flatten() {
                None => format!("clock of {node}: not known, no packet is surely one that others have seen, too"),
                Some(clock) => {
                    let way = if ahead < 0 { "behind" } else { "ahead of" };
                    let by = duration(ahead.saturating_abs());
                    let drift = clock.line.drift * 1e6;
                    let drift = if drift.abs() < 0.005 { String::new() } else { format!(", drifting {drift:+.2} ppm") };
                    let doubt = self.doubt(clock.line.doubt);
                    format!(
                        "clock of {node}: {by} {way} {name}'s{drift}, {doubt} ({})",
                        counted(clock.packets as u64, "packet")
                    )
                }
            };
            self.line(&text)?;
        }
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "a doubt is far below 2^63 nanoseconds")]
    fn doubt(&self, doubt: Doubt) -> String {
        match doubt {
            Doubt::Within(by) => {
                let sign = self.symbol("±", "+-");
                format!("{sign} {}, half of the shortest round trip", duration(by.round() as i64))
            }
            Doubt::Behind | Doubt::Ahead => {
                "at most: packets went one way only, and how long they were under way is told above the least (+)"
                    .to_owned()
            }
            Doubt::Uneven(by) => {
                format!(
                    "not to be relied on: both ways contradict each other by {}",
                    duration((2.0 * by).round() as i64)
                )
            }
            Doubt::Unordered => {
                "not to be relied on: nothing says which node packets came to first, and how long they were \
                                 under way is told above the least (+)"
                    .to_owned()
            }
        }
    }

    fn notes(&mut self) -> io::Result<()> {
        let [not_ip, groups, timeless] = self.view.skipped;
        let what = [(not_ip, "not IP"), (groups, "to groups"), (timeless, "without a time")];
        let what: Vec<String> =
            what.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if !what.is_empty() {
            self.line(&format!("not looked for: {}", what.join(", ")))?;
        }
        let (hurried, untold) = (self.view.summary.hurried, self.view.summary.flows.untold);
        if hurried > 0 {
            self.line(&format!(
                "{} waited for shorter than usual: too many were under way",
                counted(hurried, "packet")
            ))?;
        }
        if untold > 0 {
            self.line(&format!("{} of further flows", counted(untold, "packet")))?;
        }
        Ok(())
    }

    fn flow(&mut self, flow: &Flow) -> io::Result<()> {
        let view = self.view;
        let Some(lane) = view.summary.lanes.get(flow.lane) else { return Ok(()) };
        let mut text = format!("{}: {}, {} bytes", flow_name(lane), counted(flow.packets, "packet"), flow.bytes);
        let losses = flow.losses();
        let silent: u64 = view.silent(flow).iter().map(|(_, packets)| packets).sum();
        let lost: u64 = losses.iter().map(|ended| ended.lost).sum::<u64>() + silent;
        if lost > 0 {
            let _ = write!(text, ", {lost} lost");
        }
        if flow.retransmissions > 0 {
            let _ = write!(text, ", {}", counted(flow.retransmissions, "retransmission"));
        }
        writeln!(self.out)?;
        for line in wrapped(&clean(&text, self.style.charset)) {
            if self.style.color {
                writeln!(self.out, "{}", line.bold())?;
            } else {
                writeln!(self.out, "{line}")?;
            }
        }
        self.line(&format!("    {}", view.point(lane.point.index())))?;
        let mut told = Vec::new();
        self.losses(&losses, flow.lane, &mut told)?;
        for hop in path(flow) {
            self.hop(hop)?;
            self.losses(&losses, hop.to, &mut told)?;
        }
        for ended in &losses {
            self.losses(&losses, ended.lane, &mut told)?;
        }
        self.ends(flow)?;
        self.predicted(flow)
    }

    /// The way that the model predicts for most of the flow's packets, and why it lost others.
    fn predicted(&mut self, flow: &Flow) -> io::Result<()> {
        let Some(forecast) = self.view.forecast else { return Ok(()) };
        let Some(id) = self.view.summary.lanes.flow(flow.lane) else { return Ok(()) };
        let told = forecast.outlook.of(id);
        let Some(most) = told.iter().find(|told| told.lost_after.is_none()).or(told.first()) else {
            return self.line("    the snapshot does not say where it comes from");
        };
        let [seen, unseen, differs] = [self.symbol("●", "@"), self.symbol("○", "o"), self.symbol("✖", "X")];
        let what = format!(
            "    predicted for {}: {seen} seen, {unseen} predicted only, {differs} differs",
            counted(most.packets, "packet")
        );
        self.line(&what)?;
        marked(&most.predicted, self.style, forecast.files, self.out)?;
        for point in &most.predicted.elsewhere {
            let point = self.view.point(point.index());
            self.line(&format!("  {differs} seen at {point}, which is not on the predicted way"))?;
        }
        told.iter().filter(|told| told.lost_after.is_some()).try_for_each(|told| self.why(told, forecast))
    }

    /// Why packets were lost.
    fn why(&mut self, told: &Told, forecast: Forecast<'_>) -> io::Result<()> {
        let Some(point) = told.lost_after else { return Ok(()) };
        let point = self.view.point(point.index());
        let symbol = self.symbol("✗", "x");
        let Some((word, because)) = cause(&told.predicted) else {
            return self.line(&format!(
                "  {symbol} {} lost after {point}: nothing in the snapshot ends packets there",
                told.packets
            ));
        };
        let places = places(&because, forecast.files).join(" ");
        self.line(&format!("  {symbol} {} lost after {point}: {word} by {places}", told.packets))?;
        let rules = because.iter().filter(|line| line.is_some());
        for line in rules {
            self.line(&format!("      {}", forecast.files.text(*line).trim()))?;
            let counted = forecast.before.and_then(|before| correlate::counted(*line, forecast.files, before));
            if let Some(counted) = counted {
                self.count(counted.packets, &because, forecast)?;
            }
        }
        Ok(())
    }

    /// A rule's counter beside the packets of all flows that it explains.
    fn count(&mut self, packets: Option<u64>, because: &[Evidence], forecast: Forecast<'_>) -> io::Result<()> {
        let lost = forecast.outlook.causes.get(because).copied().unwrap_or(0);
        let text = match packets {
            Some(packets) if packets == lost => {
                format!(
                    "the rule has counted {} between the snapshots, as many as were lost there",
                    counted(packets, "packet")
                )
            }
            Some(packets) => {
                format!(
                    "the rule has counted {} between the snapshots, and {lost} were lost there",
                    counted(packets, "packet")
                )
            }
            None => "the snapshot before has no such rule, or its counter was set back".to_owned(),
        };
        self.line(&format!("      {text}"))
    }

    /// What was lost behind a lane, once.
    fn losses(&mut self, losses: &[Ended], lane: LaneId, told: &mut Vec<LaneId>) -> io::Result<()> {
        let ended = losses.iter().find(|ended| ended.lane == lane && !told.contains(&lane));
        let Some(Ended { lost: packets, unreached, .. }) = ended else { return Ok(()) };
        told.push(lane);
        let point = self.view.point(self.view.summary.lanes.point(lane).index());
        let symbol = self.symbol("✗", "x");
        let text = clean(&format!("  {symbol} {packets} lost after {point}"), self.style.charset);
        if self.style.color { writeln!(self.out, "{}", text.red()) } else { writeln!(self.out, "{text}") }?;
        match unreached {
            Some(point) => {
                let point = self.view.point(point.index());
                self.line(&format!("      they went to the link address of {point}, which has not seen them"))
            }
            None => Ok(()),
        }
    }

    fn hop(&mut self, hop: &Hop) -> io::Result<()> {
        let lanes = &self.view.summary.lanes;
        let point = self.view.point(lanes.point(hop.to).index());
        let delays = &hop.delays;
        let is_timed = self.is_timed(lanes.point(hop.from), lanes.point(hop.to));
        let percentiles = match (delays.count(), is_timed) {
            (1, true) => duration(delays.least()),
            (1, false) => "how long is not known".to_owned(),
            _ => {
                let sign = if is_timed { "" } else { "+" };
                let at = |percent| format!("{sign}{}", duration(delays.percentile(percent)));
                format!("p50 {}, p90 {}, p99 {}, most {sign}{}", at(50), at(90), at(99), duration(delays.most()))
            }
        };
        let reordered = if hop.reordered > 0 { format!(", {} reordered", hop.reordered) } else { String::new() };
        let arrow = self.symbol("→", ">");
        self.line(&format!("  {arrow} {point:<28} {:>7}  {percentiles}{reordered}", delays.count()))?;
        let (Some(from), Some(to)) = (lanes.get(hop.from), lanes.get(hop.to)) else { return Ok(()) };
        for change in changes((from, hop.ttl.0), (to, hop.ttl.1)) {
            self.change(&change)?;
        }
        Ok(())
    }

    /// Whether how long packets are under way between two points is known: by one clock, or by two of which both ways tell.
    fn is_timed(&self, from: PointId, to: PointId) -> bool {
        let node = |point: PointId| self.view.summary.nodes.get(point.index());
        let is_known = |node: &NodeId| {
            let clock = self.view.clocks.clocks.get(node.index()).copied().flatten();
            clock.is_some_and(|clock| matches!(clock.line.doubt, Doubt::Within(_) | Doubt::Uneven(_)))
        };
        node(from) == node(to) || [node(from), node(to)].into_iter().flatten().all(is_known)
    }

    fn change(&mut self, change: &Change) -> io::Result<()> {
        let symbol = self.symbol("✎", "*");
        self.line(&format!("      {symbol} {change}"))
    }

    /// What is known of packets that were not lost and did not go the whole way.
    fn ends(&mut self, flow: &Flow) -> io::Result<()> {
        let view = self.view;
        for ended in flow.ends.iter().filter(|ended| ended.outside > 0) {
            let point = view.point(view.summary.lanes.point(ended.lane).index());
            let packets = counted(ended.outside, "packet");
            self.line(&format!("    {packets} last seen at {point}, while the next point's capture has no packets"))?;
        }
        for (lane, packets) in view.early(flow) {
            let point = view.point(view.summary.lanes.point(lane).index());
            let packets = counted(packets, "packet");
            self.line(&format!("    {packets} last seen at {point}, before any like them had gone on from there"))?;
        }
        for (point, packets) in &flow.missed {
            let packets = counted(*packets, "packet");
            self.line(&format!(
                "    {packets} missed by the capture at {}, and seen behind it",
                view.point(point.index())
            ))?;
        }
        Ok(())
    }
}

/// A flow's hops in the order of the path that most packets take, and further ones where they begin.
fn path(flow: &Flow) -> Vec<&Hop> {
    let mut left: Vec<&Hop> = flow.hops.iter().collect();
    left.sort_by_key(|hop| std::cmp::Reverse(hop.delays.count()));
    let mut path: Vec<&Hop> = Vec::new();
    let mut at = flow.lane;
    while !left.is_empty() {
        let place = left.iter().position(|hop| hop.from == at).unwrap_or(0);
        let hop = left.remove(place);
        at = hop.to;
        path.push(hop);
    }
    path
}

/// The one of two symbols that the style may print.
pub(super) fn symbol(style: Style, unicode: &'static str, ascii: &'static str) -> &'static str {
    if style.charset == Charset::Ascii { ascii } else { unicode }
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Nanoseconds in the unit that leaves few digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn duration(nanoseconds: i64) -> String {
    let amount = nanoseconds as f64;
    match nanoseconds.unsigned_abs() {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} µs", amount / 1e3),
        1_000_000..1_000_000_000 => format!("{:.3} ms", amount / 1e6),
        _ => format!("{:.3} s", amount / 1e9),
    }
}
