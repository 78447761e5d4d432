//! Conversations, one after the other: a table, records of JSON, or rows of CSV.

use std::net::{IpAddr, Ipv4Addr};

use super::Buffer;
use super::clock::Clock;
use super::cursor::Cursor;
use super::name::put_number;
use super::record::Style;
use super::text::{csv_value, json_string};
use super::told::AddressNames;
use crate::net::Protocol;
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
                     last,tunnels,resets,retransmissions";

/// Shows conversations.
#[derive(Clone, Debug)]
pub struct FlowPainter {
    view: FlowView,
    clock: Clock,
    /// The number of the last conversation's tunnels, and the text for them.
    tunnels: (Option<u16>, Buffer),
}

impl FlowPainter {
    /// Shows them so.
    #[must_use]
    pub fn new(view: FlowView) -> Self {
        Self { view, clock: Clock::default(), tunnels: (None, Buffer::default()) }
    }

    /// What stands before the first.
    pub fn head(&self, with_names: bool, out: &mut Buffer) {
        match self.view {
            FlowView::Table => out.format(format_args!(
                "{:<57} {:<19} {:<17}  {:<30}  seconds\n",
                "protocol  from > to", "packets", "bytes", "first"
            )),
            FlowView::Json(Style::Object) => out.str("{\n  \"schema\": \"flowtrace/decode-flows/1\",\n  \"flows\": ["),
            FlowView::Json(Style::Lines) => {}
            FlowView::Csv => {
                out.str(NAMES);
                out.str(if with_names { ",source_name,destination_name\n" } else { "\n" });
            }
        }
    }

    /// How many bytes of the first one's text separate it from one before it, and are left off.
    #[must_use]
    pub fn separator(&self) -> usize {
        usize::from(self.view == FlowView::Json(Style::Object))
    }

    /// A conversation; with the names of its ends, where a snapshot tells them.
    pub fn flow(&mut self, flow: &Flow<'_>, names: Option<&AddressNames>, out: &mut Buffer) {
        match self.view {
            FlowView::Table => self.line(flow, names, out),
            FlowView::Json(style) => self.json(flow, names, style, out),
            FlowView::Csv => self.csv(flow, names, out),
        }
    }

    /// What stands behind the last: what was wrong with the files.
    pub fn tail(&self, notes: &[String], out: &mut Buffer) {
        if self.view == FlowView::Json(Style::Object) {
            super::closing(notes, out);
        }
    }

    fn line(&mut self, flow: &Flow<'_>, names: Option<&AddressNames>, out: &mut Buffer) {
        if names.is_none() && self.usual_line(flow, out) {
            return;
        }
        self.rare_line(flow, names, out);
    }

    fn rare_line(&mut self, flow: &Flow<'_>, names: Option<&AddressNames>, out: &mut Buffer) {
        let start = out.len();
        put_number(flow.protocol, out);
        out.pad_right(start, 10);
        end(flow.source, flow.source_port, names, out);
        out.words(b" > ");
        end(flow.destination, flow.destination_port, names, out);
        out.pad_right(start, 57);
        for (numbers, width) in [(flow.packets, 20), (flow.bytes, 18)] {
            let [there, back] = numbers;
            let start = out.len();
            out.byte(b' ');
            out.large(there);
            out.words(b" + ");
            out.large(back);
            out.pad_right(start, width);
        }
        out.words(b"  ");
        if let Some((first, last)) = flow.times {
            self.clock.date(moment(first), out);
            let took = moment(last.saturating_sub(first));
            out.words(b"  ");
            out.large(took.seconds.unsigned_abs());
            out.byte(b'.');
            let at = out.len();
            out.nanoseconds(took.nanoseconds);
            out.cut(at + 6);
        }
        through(flow.tunnels, out);
        count(flow.resets, "reset", out);
        count(flow.retransmissions, "retransmission", out);
        out.byte(b'\n');
    }

    /// The same, much faster, of conversations as nearly all are; false, and nothing is put in, of others.
    #[inline]
    fn usual_line(&mut self, flow: &Flow<'_>, out: &mut Buffer) -> bool {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (flow.source, flow.destination) else { return false };
        let Some((first, last)) = flow.times else { return false };
        let (first, took) = (moment(first), moment(last.saturating_sub(first)));
        let protocol = match flow.protocol {
            Protocol::TCP => *b"tcp       ",
            Protocol::UDP => *b"udp       ",
            Protocol::ICMP => *b"icmp      ",
            _ => return false,
        };
        let (Some(date), Ok(seconds)) = (self.clock.before_fraction(first.seconds), u32::try_from(took.seconds)) else {
            return false;
        };
        let (known, tunnels) = &mut self.tunnels;
        if *known != Some(flow.set) {
            tunnels.clear();
            *known = Some(flow.set);
            through(flow.tunnels, tunnels);
        }
        let counted = [flow.packets, flow.bytes]
            .map(|[there, back]| Some((u32::try_from(there).ok()?, u32::try_from(back).ok()?)));
        let [Some(packets), Some(bytes)] = counted else { return false };
        let fits = out.line(|line| {
            line.put(protocol, 10);
            usual_end(source, flow.source_port, line);
            line.put(*b" > ", 3);
            usual_end(destination, flow.destination_port, line);
            line.pad(57);
            for ((there, back), width) in [(packets, 20), (bytes, 18)] {
                let end = line.at() + width;
                line.put([b' '], 1);
                line.number(there);
                line.put(*b" + ", 3);
                line.number(back);
                line.pad(end);
            }
            line.put(*b"  ", 2);
            line.put(date, 20);
            line.nanoseconds(first.nanoseconds);
            line.put(*b"Z  ", 3);
            line.number(seconds);
            line.put(*b".", 1);
            line.microseconds(took.nanoseconds / 1000);
            line.bytes(tunnels.text())
        });
        if fits {
            count(flow.resets, "reset", out);
            count(flow.retransmissions, "retransmission", out);
            out.byte(b'\n');
        }
        fits
    }

    fn json(&mut self, flow: &Flow<'_>, names: Option<&AddressNames>, style: Style, out: &mut Buffer) {
        if style == Style::Object {
            out.words(b",\n    ");
        }
        out.words(b"{\"protocol\":\"");
        put_number(flow.protocol, out);
        out.words(b"\",\"source\":\"");
        out.address(flow.source);
        out.words(b"\",\"source_port\":");
        port(flow.source_port, out);
        out.words(b",\"destination\":\"");
        out.address(flow.destination);
        out.words(b"\",\"destination_port\":");
        port(flow.destination_port, out);
        let ([packets, packets_back], [bytes, bytes_back]) = (flow.packets, flow.bytes);
        out.words(b",\"packets\":");
        out.large(packets);
        out.words(b",\"bytes\":");
        out.large(bytes);
        out.words(b",\"packets_back\":");
        out.large(packets_back);
        out.words(b",\"bytes_back\":");
        out.large(bytes_back);
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
        out.words(b"],\"resets\":");
        out.number(flow.resets);
        out.words(b",\"retransmissions\":");
        out.number(flow.retransmissions);
        if let Some(names) = names {
            for (key, address) in [("source_name", flow.source), ("destination_name", flow.destination)] {
                out.format(format_args!(",\"{key}\":"));
                match names.get(address) {
                    Some(name) => json_string(name, out),
                    None => out.words(b"null"),
                }
            }
        }
        out.byte(b'}');
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

    fn csv(&mut self, flow: &Flow<'_>, names: Option<&AddressNames>, out: &mut Buffer) {
        let number = |port: Option<u16>| port.map_or(String::new(), |port| port.to_string());
        put_number(flow.protocol, out);
        out.format(format_args!(",{},{},", flow.source, number(flow.source_port)));
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
        out.format(format_args!(",{},{}", flow.resets, flow.retransmissions));
        for address in names.map(|_| [flow.source, flow.destination]).into_iter().flatten() {
            out.byte(b',');
            csv_value(names.and_then(|names| names.get(address)).unwrap_or_default(), out);
        }
        out.byte(b'\n');
    }
}

/// An end.
#[inline]
fn usual_end(address: Ipv4Addr, port: Option<u16>, line: &mut Cursor<'_>) {
    line.ipv4(address.to_bits());
    if let Some(port) = port {
        line.put(*b":", 1);
        line.small(port.into());
    }
}

/// The tunnels that a conversation was carried by, each behind two blanks; that some of it had none is told where other
/// parts had one.
fn through(nests: &[Vec<Tunnel>], out: &mut Buffer) {
    for nest in nests.iter().filter(|nest| !nest.is_empty() || nests.len() > 1) {
        out.words(b"  ");
        match nest.as_slice() {
            [] => out.words(b"no tunnel"),
            nest => words(nest, out),
        }
    }
}

/// An end with its name, where it has one.
fn end(address: IpAddr, port: Option<u16>, names: Option<&AddressNames>, out: &mut Buffer) {
    if let Some(name) = names.and_then(|names| names.get(address)) {
        out.str(name);
        out.byte(b' ');
    }
    match (address, port) {
        (_, None) => out.address(address),
        (IpAddr::V4(address), Some(port)) => {
            out.ipv4(address.octets());
            out.byte(b':');
            out.number(port.into());
        }
        (IpAddr::V6(address), Some(port)) => {
            out.byte(b'[');
            out.ipv6(address.octets());
            out.words(b"]:");
            out.number(port.into());
        }
    }
}

/// How often something was met, where it was.
fn count(number: u32, word: &str, out: &mut Buffer) {
    if number > 0 {
        out.words(b"  ");
        out.number(number);
        out.byte(b' ');
        out.str(word);
        out.str(if number == 1 { "" } else { "s" });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_lines_are_what_any_line_is() {
        let tunnel = |vni| vec![Tunnel { name: "vxlan", vni: Some(vni) }];
        let nests = [vec![], vec![Vec::new()], vec![tunnel(1)], vec![Vec::new(), tunnel(1), tunnel(0x00ff_ffff)]];
        let mut painter = FlowPainter::new(FlowView::Table);
        let numbers = [0_u64, 7, 12_345, 999_999, 1_000_000, u64::from(u32::MAX)];
        for (round, number) in (0..).zip(numbers.iter().cycle().take(600)) {
            let octet = |shift: u32| u8::try_from((round * 37) >> shift & 0xff).unwrap();
            let flow = Flow {
                protocol: [Protocol::TCP, Protocol::UDP, Protocol::ICMP][round % 3],
                source: [10, octet(0), octet(3), 255].into(),
                source_port: (round % 4 > 0).then_some(u16::try_from(round * 109).unwrap_or(9)),
                destination: [octet(1), 0, octet(2), 1].into(),
                destination_port: (round % 4 > 0).then_some(53),
                packets: [*number, numbers[round % 5]],
                bytes: [numbers[round % 4], *number],
                times: Some((
                    1_700_000_000_123_456_789 + i64::try_from(round).unwrap() * 77_777_777,
                    4_000_000_000_987_654_321,
                )),
                resets: u32::try_from(round % 3).unwrap(),
                retransmissions: u32::try_from(round % 7).unwrap(),
                set: u16::try_from(round % nests.len()).unwrap(),
                tunnels: &nests[round % nests.len()],
            };
            let (mut fast, mut slow) = (Buffer::default(), Buffer::default());
            assert!(painter.usual_line(&flow, &mut fast), "{flow:?}");
            painter.rare_line(&flow, None, &mut slow);
            assert_eq!(String::from_utf8_lossy(fast.text()), String::from_utf8_lossy(slow.text()));
        }
    }
}
