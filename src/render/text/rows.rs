//! A trace as rows: a number for each device, and under it what was decided there.

use crate::evidence::{Evidence, Files};
use crate::net::{NetnsName, Packet};
use crate::trace::{CtState, Decision, NatChange, Reason, Step, Trace, Verdict};

use super::super::cycle::{self, Cycle};
use super::Style;
use super::packet::{self, Version};
use super::pen::{Margin, Row};
use super::reference::references;
use super::rules::{self, Heads, Stack};

/// A piece of the printed trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The packet is in another namespace now.
    Place(String),
    /// The network between nodes.
    Underlay(String),
    /// A device or a decision.
    Row(Row),
}

/// Turns steps into lines.
pub(super) struct Rows<'a> {
    style: Style,
    files: &'a Files,
    lines: Vec<Line>,
    place: Option<String>,
    shown: Option<&'a Packet>,
    devices: usize,
    /// The step at which a capture saw the packet.
    seen: Option<&'a Step>,
    stack: Stack,
    heads: Heads,
}

impl<'a> Rows<'a> {
    /// The lines of a trace, those of its first `skip` steps left out (they still count and are remembered).
    /// `seen` is the step at which a capture saw the packet.
    pub(super) fn of(trace: &'a Trace, skip: usize, seen: Option<usize>, style: Style, files: &'a Files) -> Vec<Line> {
        let (stack, heads) = (Stack::default(), Heads::default());
        let seen = seen.and_then(|seen| trace.steps.get(seen));
        let mut rows =
            Self { style, files, lines: Vec::new(), place: None, shown: None, devices: 0, seen, stack, heads };
        let cycle = if style.verbose { None } else { cycle::cycle(trace) };
        let repeats = cycle.as_ref().and_then(Cycle::repeats);
        let mut kept = 0;
        for (n, step) in trace.steps.iter().enumerate() {
            rows.step(step, trace.steps.get(n + 1));
            if n < skip {
                rows.lines.clear();
                rows.place = None;
            }
            match &repeats {
                Some((range, _)) if n + 1 == range.start => kept = rows.lines.len(),
                Some((range, rounds)) if n + 1 == range.end && n >= skip => rows.fold(kept, *rounds, step),
                _ => {}
            }
        }
        rows.lines
    }

    /// Puts one line in the place of those after the first `kept`, which say the same again and again.
    fn fold(&mut self, kept: usize, rounds: usize, last: &Step) {
        self.lines.truncate(kept);
        self.place = None;
        let ttl = last.packet.innermost().ip.ttl;
        self.lines.push(Line::Place(format!("  ... {rounds} more rounds of the same, until ttl {ttl}; -v shows them")));
    }

    fn step(&mut self, step: &'a Step, next: Option<&Step>) {
        if let Decision::Underlay { .. } = step.decision {
            self.lines.push(Line::Underlay(self.underlay(step)));
            return;
        }
        self.enter(step);
        if self.style.verbose {
            self.tried(step);
        }
        let mut row = match &step.decision {
            Decision::Receive { device, .. } => Some(self.device(step, &self.style.clean(device), "in")),
            Decision::Transmit { device } => Some(self.device(step, &self.style.clean(device), "out")),
            Decision::Rule { .. } | Decision::Policy { .. } if self.style.verbose => {
                rules::verbose_row(step, self.style, self.files)
            }
            Decision::Rule { .. } | Decision::Policy { .. } => {
                rules::row(step, next, &mut self.stack, self.style, self.files)
            }
            _ => self.decision(step),
        };
        if let Some(row) = row.as_mut().filter(|_| self.seen.is_some_and(|seen| std::ptr::eq(seen, step))) {
            row.body = format!("{}  {} captured here", row.body, self.style.symbols().seen);
        }
        self.lines.extend(row.map(Line::Row));
        self.lines.extend(self.bridge_netfilter(step).map(Line::Row));
    }

    /// At a bridge's port: whether the IP hooks run there.
    fn bridge_netfilter(&self, step: &Step) -> Option<Row> {
        let Decision::Receive { bridge_netfilter: Some(on), .. } = step.decision else { return None };
        if !on && step.because.is_empty() {
            return None;
        }
        let body = if on {
            "bridge netfilter is on: the IP hooks run here"
        } else {
            "bridge netfilter is off: what is only bridged passes no IP hook"
        };
        let evidence = references(&step.because, self.style, self.files);
        Some(Row { label: "bridge".to_owned(), body: body.to_owned(), evidence, ..Row::default() })
    }

    fn enter(&mut self, step: &Step) {
        let place = place(step, self.style);
        if self.place.as_ref() != Some(&place) {
            self.lines.push(Line::Place(place.clone()));
            self.place = Some(place);
        }
    }

    fn tried(&mut self, step: &Step) {
        for &line in &step.tried {
            let chain = rules::chain_of(line, step, &mut self.heads, self.files);
            let chain = if chain.is_empty() { chain } else { format!("{chain}: ") };
            let body = self.style.clean(format!("{chain}{}", rules::bare(self.files.text(line))));
            let evidence = references(&[line], self.style, self.files);
            self.lines.push(Line::Row(Row {
                margin: Margin::Tried,
                label: "no match".to_owned(),
                body,
                evidence,
                ..Row::default()
            }));
        }
    }

    /// A device, with what has changed on the packet since the last one.
    fn device(&mut self, step: &'a Step, device: &str, way: &str) -> Row {
        self.devices += 1;
        let before = self.shown.replace(&step.packet);
        let changes = before.map(|before| packet::changes(before, &step.packet)).unwrap_or_default();
        let mut body = match (before, step.packet.inner.is_some()) {
            (None, _) => packet::headers(&step.packet) + &pieces(&step.packet) + &tagged(&step.packet),
            (Some(_), true) if changes.is_empty() => "same outer packet".to_owned(),
            (Some(_), false) if changes.is_empty() => "same packet".to_owned(),
            _ => changes.join(", "),
        };
        if self.style.verbose
            && let Some(link) = step.packet.link
        {
            body = format!("{body}, mac {} > {}", link.source, link.destination);
        }
        Row {
            margin: Margin::Device(self.devices),
            label: device.to_owned(),
            body: format!("{way:<4}{body}"),
            ..Row::default()
        }
    }

    fn decision(&mut self, step: &'a Step) -> Option<Row> {
        let (margin, label, body) = match &step.decision {
            Decision::SendOwn { packet } => {
                self.shown = Some(&step.packet);
                let flags = packet::tcp_flags(packet).map(|flags| format!(", {flags}")).unwrap_or_default();
                (Margin::Blank, "send".to_owned(), sent(&step.packet) + &flags)
            }
            Decision::Send => {
                self.shown = Some(&step.packet);
                (Margin::Blank, "send".to_owned(), sent(&step.packet))
            }
            Decision::Nat { .. } => self.nat(step)?,
            Decision::Encapsulate { .. } => {
                self.shown = Some(&step.packet);
                let (label, body) = self.lookup(step)?;
                (Margin::Blank, label.to_owned(), body)
            }
            Decision::End { .. } => self.end(step)?,
            _ => {
                let (label, body) = self.lookup(step)?;
                (Margin::Blank, label.to_owned(), body)
            }
        };
        let evidence = references(&self.decisive(step), self.style, self.files);
        Some(Row { margin, label, body, short: None, evidence })
    }

    /// The lines worth naming. That the main table was asked, by the rule that every namespace has, decides nothing.
    fn decisive(&self, step: &Step) -> Vec<Evidence> {
        let usual = matches!(step.decision, Decision::Route { rule_priority: Some(0 | 32766 | 32767), .. });
        let is_rule = |line: &Evidence| {
            let path = self.files.path(*line);
            path.rsplit('/').next().is_some_and(|name| name.starts_with("rule"))
        };
        let keep = |line: &Evidence| self.style.verbose || !usual || step.because.len() < 2 || !is_rule(line);
        step.because.iter().copied().filter(keep).collect()
    }

    /// What a table said: the label and the text, or nothing where it is only for the verbose form.
    fn lookup(&self, step: &Step) -> Option<(&'static str, String)> {
        let arrow = self.style.symbols().arrow;
        Some(match &step.decision {
            Decision::Route { .. } => ("route", route(step, self.style)),
            Decision::ReversePath { mode, passed, .. } => {
                let word = if *passed { "passed" } else { "failed" };
                let shown = !passed || self.style.verbose;
                ("rp_filter", shown.then(|| format!("{} check of {} {word}", mode.as_str(), step.packet.ip.source))?)
            }
            Decision::Forward(forwarded) => ("forward", self.style.verbose.then(|| format!("ttl {}", forwarded.ttl))?),
            Decision::SourceRoute { destination } => ("srr", format!("the source route leads to {destination} next")),
            Decision::Conntrack { state } => {
                let plain = matches!(state, CtState::New | CtState::Established);
                ("conntrack", (!plain || self.style.verbose).then(|| state.as_str().to_owned())?)
            }
            Decision::Neighbor { .. } => ("neigh", neighbor(&step.decision, self.style)?),
            Decision::Fdb { .. } => ("fdb", fdb(&step.decision, self.style)?),
            Decision::Encapsulate { tunnel, packet, .. } => {
                ("encap", format!("{tunnel} {}, {} bytes", packet::tunnel(packet), packet.length))
            }
            Decision::Decapsulate { device, tunnel, vni } => {
                let vni = vni.map(|vni| format!(" vni {vni}")).unwrap_or_default();
                ("decap", format!("{tunnel}{vni} {arrow} {}", self.style.clean(device)))
            }
            Decision::Userspace { device, program, ttl_cost } => {
                let (program, device) = (self.style.clean(program), self.style.clean(device));
                ("program", format!("{program} carries it on from {device}, ttl -{ttl_cost}"))
            }
            Decision::Fragment { mtu, count, largest } => {
                ("fragment", format!("{count} pieces of at most {largest} bytes, for MTU {mtu}"))
            }
            _ => return None,
        })
    }

    fn nat(&self, step: &Step) -> Option<(Margin, String, String)> {
        let Decision::Nat { change, from_endpoint, to_endpoint, .. } = &step.decision else { return None };
        let label = match change {
            NatChange::Snat => "SNAT",
            NatChange::Dnat => "DNAT",
            NatChange::SnatReply => "un-SNAT",
            NatChange::DnatReply => "un-DNAT",
        };
        let becomes = self.style.symbols().becomes;
        let protocol = step.packet.protocol();
        let from = packet::endpoint_of(protocol, from_endpoint.0, from_endpoint.1);
        let to = packet::endpoint_of(protocol, to_endpoint.0, to_endpoint.1);
        let comment = step.because.iter().find_map(|&line| rules::comment(self.files.text(line)));
        let comment = comment.map(|comment| format!("  \"{}\"", self.style.clean(comment))).unwrap_or_default();
        Some((Margin::Rewritten, label.to_owned(), format!("{from} {becomes} {to}{comment}")))
    }

    fn end(&self, step: &Step) -> Option<(Margin, String, String)> {
        let Decision::End { verdict, reason, detail, .. } = &step.decision else { return None };
        let margin = match verdict {
            Verdict::Delivered | Verdict::Left => Margin::Arrived,
            Verdict::Undetermined | Verdict::Mixed => Margin::Unknown,
            _ => Margin::Ended,
        };
        let detail = detail.as_ref().map(|detail| self.style.clean(detail));
        let answer = answer(step);
        let reason = reason.map(Reason::as_str).map(str::to_owned);
        let mut parts: Vec<String> = [reason, detail, answer].into_iter().flatten().collect();
        match verdict {
            Verdict::Delivered if parts.is_empty() => parts.push(format!("to {}", place(step, self.style))),
            Verdict::Left if parts.is_empty() => {
                parts.push(format!("for {}", packet::destination(step.packet.innermost())));
            }
            _ => {}
        }
        Some((margin, verdict.as_str().to_owned(), parts.join(": ")))
    }

    fn underlay(&self, step: &Step) -> String {
        let Decision::Underlay { assumed, note, .. } = &step.decision else { return String::new() };
        match (assumed, note) {
            (_, Some(note)) => format!("underlay: {}", self.style.clean(note)),
            (true, None) => "underlay (assumed: not in the snapshot)".to_owned(),
            (false, None) => "underlay".to_owned(),
        }
    }
}

/// A routing decision in `ip route`'s syntax.
pub(super) fn route(step: &Step, style: Style) -> String {
    let Decision::Route { table, rule_priority, prefix, kind, via, device, .. } = &step.decision else {
        return String::new();
    };
    let mut words: Vec<String> = Vec::new();
    match kind {
        None => words.push(format!("no route to {}", step.packet.ip.destination)),
        Some(kind) if kind.as_str() == "unicast" => {}
        Some(kind) => words.push(kind.as_str().to_owned()),
    }
    words.extend(prefix.map(|prefix| match prefix.prefix_len() {
        0 => "default".to_owned(),
        _ if prefix.prefix_len() == prefix.max_prefix_len() => prefix.addr().to_string(),
        _ => prefix.to_string(),
    }));
    words.extend(via.map(|via| format!("via {via}")));
    words.extend(device.as_ref().map(|device| format!("dev {}", style.clean(device))));
    let named = table.map(|table| table.to_string());
    words.extend(named.filter(|name| name != "main" && name != "local").map(|name| format!("table {name}")));
    let priority = rule_priority.filter(|priority| !matches!(priority, 0 | 32766 | 32767));
    words.extend(priority.map(|priority| format!("(rule {priority})")));
    words.join(" ")
}

/// Node and namespace.
pub(super) fn place(step: &Step, style: Style) -> String {
    let node = style.clean(&step.place.node);
    match &step.place.name {
        NetnsName::Host => format!("{node} host"),
        NetnsName::Pod(pod) => format!("{node} pod {}", style.clean(pod)),
    }
}

/// What the kernel tells the sender, where it tells anything.
pub(super) fn answer(step: &Step) -> Option<String> {
    let Decision::End { icmp, icmp_source, tcp_reset, errno, .. } = &step.decision else { return None };
    let source = icmp_source.map(|source| format!(" from {source}")).unwrap_or_default();
    match (icmp, tcp_reset, errno) {
        (Some((kind, code)), _, _) => {
            Some(format!("{}{source}", packet::icmp_error(Version::of(&step.packet), *kind, *code)))
        }
        (None, true, _) => Some("TCP reset".to_owned()),
        (None, false, Some(errno)) => Some(format!("the sender's call fails with {errno}")),
        (None, false, None) => None,
    }
}

fn sent(packet: &Packet) -> String {
    let (protocol, inner) = (packet::protocol(packet), packet.innermost());
    let between = packet::between(inner).map(|words| format!(", {words}")).unwrap_or_default();
    format!("{protocol} {}, ttl {}, {} bytes{between}", packet::headers(packet), inner.ip.ttl, inner.length)
}

/// With which VLAN tags a frame comes.
fn tagged(packet: &Packet) -> String {
    if packet.tags.is_empty() { String::new() } else { format!(", {}", packet::tags(packet)) }
}

/// How a packet comes that its first device can't take whole.
fn pieces(packet: &Packet) -> String {
    let pieces = packet.innermost().fragments;
    pieces.map(|pieces| format!(", {} fragments of at most {} bytes", pieces.count, pieces.largest)).unwrap_or_default()
}

fn neighbor(decision: &Decision, style: Style) -> Option<String> {
    let Decision::Neighbor { address, device, lladdr, state, assumed, .. } = decision else { return None };
    let device = style.clean(device);
    if *assumed {
        return Some(format!("{address} dev {device} is assumed to answer: not in the snapshot"));
    }
    let Some(lladdr) = lladdr else {
        return Some(match state {
            Some(state) => format!("{address} dev {device} has no link address: {state}"),
            None => format!("{address} dev {device}: its link address is not known"),
        });
    };
    let known = state.unwrap_or("answered by its owner");
    Some(format!("{address} lladdr {lladdr} {known}"))
}

fn fdb(decision: &Decision, style: Style) -> Option<String> {
    let Decision::Fdb { device, lladdr, port, vtep, flooded } = decision else { return None };
    let way = match (vtep, port) {
        (Some(vtep), _) => format!("dst {vtep}"),
        (None, Some(port)) if port == device => format!("is {}'s own", style.clean(port)),
        (None, Some(port)) => format!("port {}", style.clean(port)),
        (None, None) => "no entry".to_owned(),
    };
    let names: Vec<String> = flooded.iter().map(|port| style.clean(port)).collect();
    let copies = if names.is_empty() { String::new() } else { format!(", flooded to {} too", names.join(" ")) };
    Some(format!("{lladdr} {way}{copies}"))
}
