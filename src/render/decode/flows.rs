//! Conversations, one after the other: a table, records of JSON, or rows of CSV.

use super::Buffer;
use super::clock::Clock;
use super::record::Style;
use super::text::csv_value;
use crate::wire::{Flow, Time, Tunnel};

/// How conversations are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowView {
    /// For people.
    Table,
    /// JSON.
    Json(Style),
    /// CSV.
    Csv,
}

/// The columns of CSV.
const NAMES: &str = "protocol,source,source_port,destination,destination_port,packets,bytes,packets_back,bytes_back,first,\
                     last,tunnels,resets,retransmissions\n";

/// Shows conversations.
#[derive(Clone, Debug)]
pub struct FlowPainter {
    view: FlowView,
    clock: Clock,
}

impl FlowPainter {
    /// Shows them so.
    #[must_use]
    pub fn new(view: FlowView) -> Self {
        Self { view, clock: Clock::default() }
    }

    /// What stands before the first.
    pub fn head(&self, out: &mut Buffer) {
        match self.view {
            FlowView::Table => out.format(format_args!(
                "{:<57} {:<19} {:<17}  {:<30}  seconds\n",
                "protocol  from > to", "packets", "bytes", "first"
            )),
            FlowView::Json(Style::Object) => out.str("{\n  \"schema\": \"flowtrace/decode-flows/1\",\n  \"flows\": ["),
            FlowView::Json(Style::Lines) => {}
            FlowView::Csv => out.str(NAMES),
        }
    }

    /// How many bytes of the first one's text separate it from one before it, and are left off.
    #[must_use]
    pub fn separator(&self) -> usize {
        usize::from(self.view == FlowView::Json(Style::Object))
    }

    /// A conversation.
    pub fn flow(&mut self, flow: &Flow, out: &mut Buffer) {
        match self.view {
            FlowView::Table => self.line(flow, out),
            FlowView::Json(style) => self.json(flow, style, out),
            FlowView::Csv => self.csv(flow, out),
        }
    }

    /// What stands behind the last: what was wrong with the files.
    pub fn tail(&self, notes: &[String], out: &mut Buffer) {
        if self.view == FlowView::Json(Style::Object) {
            super::closing(notes, out);
        }
    }

    fn line(&mut self, flow: &Flow, out: &mut Buffer) {
        let start = out.len();
        out.format(format_args!("{:<9} ", flow.protocol.to_string()));
        out.str(&crate::render::endpoint(flow.source, flow.source_port));
        out.words(b" > ");
        out.str(&crate::render::endpoint(flow.destination, flow.destination_port));
        out.pad_right(start, 57);
        let ([packets, packets_back], [bytes, bytes_back]) = (flow.packets, flow.bytes);
        out.format(format_args!(" {:<19}", format!("{packets} + {packets_back}")));
        out.format(format_args!(" {:<17}  ", format!("{bytes} + {bytes_back}")));
        if let Some((first, last)) = flow.times {
            self.clock.date(moment(first), out);
            let took = moment(last.saturating_sub(first));
            out.format(format_args!("  {}.{:06}", took.seconds, took.nanoseconds / 1000));
        }
        for nest in flow.tunnels.iter().filter(|nest| !nest.is_empty()) {
            out.words(b"  ");
            words(nest, out);
        }
        count(flow.resets, "reset", out);
        count(flow.retransmissions, "retransmission", out);
        out.byte(b'\n');
    }

    fn json(&mut self, flow: &Flow, style: Style, out: &mut Buffer) {
        if style == Style::Object {
            out.words(b",\n    ");
        }
        out.format(format_args!("{{\"protocol\":\"{}\",\"source\":\"{}\"", flow.protocol, flow.source));
        out.words(b",\"source_port\":");
        port(flow.source_port, out);
        out.format(format_args!(",\"destination\":\"{}\",\"destination_port\":", flow.destination));
        port(flow.destination_port, out);
        let ([packets, packets_back], [bytes, bytes_back]) = (flow.packets, flow.bytes);
        out.format(format_args!(",\"packets\":{packets},\"bytes\":{bytes}"));
        out.format(format_args!(",\"packets_back\":{packets_back},\"bytes_back\":{bytes_back}"));
        let (first, last) = flow.times.unzip();
        out.words(b",\"first\":");
        self.time(first, out);
        out.words(b",\"last\":");
        self.time(last, out);
        out.words(b",\"tunnels\":[");
        for (place, nest) in flow.tunnels.iter().enumerate() {
            out.str(if place > 0 { ",\"" } else { "\"" });
            words(nest, out);
            out.byte(b'"');
        }
        out.format(format_args!("],\"resets\":{},\"retransmissions\":{}}}", flow.resets, flow.retransmissions));
        if style == Style::Lines {
            out.byte(b'\n');
        }
    }

    fn time(&mut self, time: Option<i64>, out: &mut Buffer) {
        let Some(time) = time else { return out.words(b"null") };
        out.byte(b'"');
        self.clock.date(moment(time), out);
        out.byte(b'"');
    }

    fn csv(&mut self, flow: &Flow, out: &mut Buffer) {
        let number = |port: Option<u16>| port.map_or(String::new(), |port| port.to_string());
        out.format(format_args!("{},{},{},", flow.protocol, flow.source, number(flow.source_port)));
        out.format(format_args!("{},{},", flow.destination, number(flow.destination_port)));
        let ([packets, packets_back], [bytes, bytes_back]) = (flow.packets, flow.bytes);
        out.format(format_args!("{packets},{bytes},{packets_back},{bytes_back},"));
        let (first, last) = flow.times.unzip();
        for time in [first, last] {
            if let Some(time) = time {
                self.clock.date(moment(time), out);
            }
            out.byte(b',');
        }
        let mut tunnels = Buffer::default();
        for (place, nest) in flow.tunnels.iter().enumerate() {
            tunnels.str(if place > 0 { ";" } else { "" });
            words(nest, &mut tunnels);
        }
        csv_value(&String::from_utf8_lossy(tunnels.text()), out);
        out.format(format_args!(",{},{}\n", flow.resets, flow.retransmissions));
    }
}

/// How often something was met, where it was.
fn count(number: u32, word: &str, out: &mut Buffer) {
    if number > 0 {
        out.format(format_args!("  {number} {word}{}", if number == 1 { "" } else { "s" }));
    }
}

fn moment(since_epoch: i64) -> Time {
    let nanoseconds = u32::try_from(since_epoch.rem_euclid(1_000_000_000)).unwrap_or(0);
    Time { seconds: since_epoch.div_euclid(1_000_000_000), nanoseconds }
}

fn port(port: Option<u16>, out: &mut Buffer) {
    match port {
        Some(port) => out.number(port.into()),
        None => out.words(b"null"),
    }
}

/// A nest of tunnels, outermost first; `none` where it has none.
fn words(nest: &[Tunnel], out: &mut Buffer) {
    if nest.is_empty() {
        out.words(b"none");
    }
    for (place, tunnel) in nest.iter().enumerate() {
        out.str(if place > 0 { "/" } else { "" });
        out.str(tunnel.name);
        if let Some(vni) = tunnel.vni {
            out.byte(b' ');
            out.number(vni);
        }
    }
}
