//! A row of the fields that were asked for.

use super::clock::{Clock, epoch};
use super::cursor::Cursor;
use super::field::{Field, Part, Source};
use super::rare::{is_told, rare};
use super::record::value;
use super::shape::{Form, Shape, Value};
use super::text::{csv_value, is_plain};
use super::{Buffer, Columns, Shown};
use crate::render::{Charset, clean};
use crate::wire::{Frame, Glance, Kind, Layer, Usual};

/// So many shapes of packets are kept beside the usual ones, each at the place that its headers lead to.
const SHAPES: usize = 64;
/// Seconds of so many digits have a fast way.
const MOST_SECONDS: i64 = 1_000_000_000_000_000;
/// Packets with more headers are put together without a shape.
const MOST: usize = 32;

/// Rows of fields.
#[derive(Clone, Debug)]
pub(super) struct Row {
    fields: Vec<Field>,
    columns: Columns,
    shapes: Vec<Shape>,
    /// For what is too rare to have a fast way.
    scratch: Buffer,
}

impl Row {
    pub(super) fn new(fields: &[Field], columns: Columns) -> Self {
        let shapes = if fields.is_empty() { Vec::new() } else { vec![Shape::new(fields, &[]); Usual::COUNT + SHAPES] };
        Self { fields: fields.to_vec(), columns, shapes, scratch: Buffer::default() }
    }

    /// The row of names.
    pub(super) fn head(&self, out: &mut Buffer) {
        if self.columns == Columns::Tabs {
            return;
        }
        for (place, field) in self.fields.iter().enumerate() {
            if place > 0 {
                out.byte(b',');
            }
            out.str(field.name);
        }
        out.byte(b'\n');
    }

    /// A packet's row. Several values of a field are joined by commas.
    #[inline]
    pub(super) fn put(&mut self, shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
        let layers = shown.decoded.layers;
        let Self { fields, columns, shapes, scratch } = self;
        let usual = shown.decoded.usual.map(Usual::number);
        let Some(shape) = shapes.get_mut(usual.unwrap_or_else(|| place(layers))) else { return };
        let mut is_usual = *columns == Columns::Tabs && layers.len() <= MOST;
        if is_usual && !(if usual.is_some() { shape.is_known() } else { shape.is_of(layers) }) {
            *shape = Shape::new(fields, layers);
        }
        // A header that is not all there is read up to where it ends.
        is_usual &= shape.fits(shown.decoded.bytes) && shown.decoded.flaw.is_none();
        is_usual &= usual.is_some() || layers.iter().all(|layer| has_length(shown.decoded.bytes, *layer));
        let packet = Packet { frame: shown.frame, bytes: shown.decoded.bytes, message: &[], shown: Some(shown) };
        if !is_usual || !fast_row(shape, fields, &packet, clock, scratch, out) {
            slow_row(fields, *columns, shown, clock, out);
        }
    }

    /// The row of a packet of usual headers; false, and nothing is put in, where it takes more than a look at these, or no
    /// packet like it was put in before.
    #[inline]
    pub(super) fn put_usual(
        &mut self,
        frame: &Frame<'_>,
        glance: &Glance<'_>,
        clock: &mut Clock,
        out: &mut Buffer,
    ) -> bool {
        let Self { fields, shapes, scratch, .. } = self;
        let Some(shape) = glance.usual().and_then(|usual| shapes.get(usual.number())) else { return false };
        let packet = Packet { frame, bytes: glance.bytes, message: glance.payload(), shown: None };
        shape.is_quick() && shape.fits(glance.bytes) && fast_row(shape, fields, &packet, clock, scratch, out)
    }
}

/// Whether a header says how long its packet is, where it should: IPv4's may leave that to the device.
fn has_length(bytes: &[u8], layer: Layer) -> bool {
    layer.kind != Kind::Ipv4 || take::<2>(within(bytes, layer), 2) != Some([0, 0])
}

/// What a row is put together of.
struct Packet<'a> {
    frame: &'a Frame<'a>,
    bytes: &'a [u8],
    /// The DNS message of a packet of usual headers that has one.
    message: &'a [u8],
    /// All that is known of a packet of any headers.
    shown: Option<&'a Shown<'a>>,
}

/// The place of packets with these headers.
#[inline]
fn place(layers: &[Layer]) -> usize {
    let mixed = |sum: u32, layer: &Layer| (sum ^ layer.start ^ (layer.kind as u32) << 16).wrapping_mul(0x9e37_79b1);
    Usual::COUNT + (layers.iter().fold(0, mixed) >> 26) as usize
}

/// A row of a packet whose shape is known; false, and nothing is put in, where a value is missing.
#[inline]
fn fast_row(
    shape: &Shape,
    fields: &[Field],
    packet: &Packet<'_>,
    clock: &mut Clock,
    scratch: &mut Buffer,
    out: &mut Buffer,
) -> bool {
    let frame = packet.frame;
    out.line(|line| {
        let mut is_whole = true;
        for (form, values) in &shape.runs {
            match form {
                Form::Ipv4 => each(values, packet, line, |line, word, value| line.ipv4(word, value.behind)),
                Form::Octet => {
                    each(values, packet, line, |line, word, value| line.octet(word.to_be_bytes()[0], value.behind));
                }
                Form::Small => each(values, packet, line, |line, word, value| line.small(word >> 16, value.behind)),
                Form::Number => {
                    each(values, packet, line, |line, word, value| line.number(part(word, value), value.behind));
                }
                Form::Hex => {
                    each(values, packet, line, |line, word, value| line.hex16(part(word, value), value.behind));
                }
                Form::FrameLength => {
                    each(values, packet, line, |line, _, value| line.number(frame.length, value.behind));
                }
                _ => {
                    for value in values {
                        is_whole &= other(value, fields, packet, clock, scratch, line);
                        line.tabs(value.tabs.into());
                    }
                }
            }
        }
        // In the place of the tab behind the last field.
        line.back();
        line.put([b'\n'], 1);
        is_whole
    })
}

/// Puts in values that are met in nearly every packet, and what stands behind each: of four bytes of the packet.
#[inline]
fn each(values: &[Value], packet: &Packet<'_>, line: &mut Cursor<'_>, put: impl Fn(&mut Cursor<'_>, u32, &Value)) {
    for value in values {
        let at = value.at as usize;
        let bytes = packet.bytes.get(at..at + 4).and_then(<[u8]>::first_chunk);
        put(line, bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes)), value);
        line.tabs(value.tabs.into());
    }
}

/// The bits of a word that are a value.
#[inline]
fn part(word: u32, value: &Value) -> u32 {
    word >> value.shift & value.mask
}

/// Puts in any other value, and what stands behind it; false where the packet doesn't have it.
#[inline]
fn other(
    value: &Value,
    fields: &[Field],
    packet: &Packet<'_>,
    clock: &mut Clock,
    scratch: &mut Buffer,
    line: &mut Cursor<'_>,
) -> bool {
    match (value.form, packet.frame.time, u32::try_from(packet.frame.number)) {
        (Form::FrameNumber, _, Ok(number)) => line.number(number, value.behind),
        (Form::Epoch, Some(time), _) if (0..MOST_SECONDS).contains(&time.seconds) => {
            line.words(clock.epoch(time.seconds));
            line.nanoseconds(time.nanoseconds, value.behind);
        }
        (Form::DnsName, ..) => match name(message(value, packet), line.room()) {
            Some(size) => {
                line.forth(size);
                line.put([value.behind], 1);
            }
            None => return rarer(value, fields, packet, clock, scratch, line),
        },
        _ => return rarer(value, fields, packet, clock, scratch, line),
    }
    true
}

/// The bytes of a DNS message.
#[inline]
fn message<'a>(value: &Value, packet: &Packet<'a>) -> &'a [u8] {
    let Packet { bytes, shown: Some(shown), .. } = packet else { return packet.message };
    let layer = shown.decoded.layers.get(value.at as usize);
    layer.and_then(|layer| bytes.get(layer.start as usize..(layer.end as usize).min(bytes.len()))).unwrap_or_default()
}

/// Puts in a value that has no fast way.
#[inline]
fn rarer(
    value: &Value,
    fields: &[Field],
    packet: &Packet<'_>,
    clock: &mut Clock,
    scratch: &mut Buffer,
    line: &mut Cursor<'_>,
) -> bool {
    if value.form == Form::Nothing {
        line.put([value.behind], 1);
        return true;
    }
    let Some(shown) = packet.shown else { return false };
    scratch.clear();
    let is_there = slow_value(value, fields, shown, clock, scratch);
    let fits = line.bytes(scratch.text());
    line.put([value.behind], 1);
    is_there && fits
}

fn slow_value(value: &Value, fields: &[Field], shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) -> bool {
    let Some(field) = fields.get(value.field as usize) else { return true };
    let Source::Header(_, part) = field.source else {
        said(field.source, Columns::Tabs, shown, clock, out);
        return true;
    };
    let Some(layer) = shown.decoded.layers.get(value.at as usize) else { return false };
    rare(part, shown.decoded, *layer, out).is_some()
}

/// Puts in the name of a DNS message's only question, and gives how many characters it has. `None` where the name is not
/// as plain as nearly all are: printable, and without pointers.
fn name(message: &[u8], room: &mut [u8]) -> Option<usize> {
    let [_, _, _, _, 0, 1, _, _, _, _, _, _, rest @ ..] = message else { return None };
    let (mut rest, mut at) = (rest, 0);
    loop {
        let size = match rest {
            // Behind the last label stand the type and the class.
            [0, _, _, _, _, ..] => break,
            [size @ 1..=63, ..] => *size,
            _ => return None,
        };
        // What stands behind a label is read with it, and stored over.
        let (mut left, mut from) = (u32::from(size), rest.get(1..)?);
        let mut to = room.get_mut(at..)?;
        while left > 0 {
            let chunk = *from.first_chunk::<8>()?;
            is_plain(u64::from_le_bytes(chunk), left.min(8)).then_some(())?;
            *to.first_chunk_mut()? = chunk;
            left = left.saturating_sub(8);
            from = from.get(8..)?;
            to = to.get_mut(8..)?;
        }
        at += usize::from(size) + 1;
        *room.get_mut(at - 1)? = b'.';
        rest = rest.get(usize::from(size) + 1..)?;
    }
    // The last label has no dot behind it, and the root has no label.
    at.checked_sub(1)
}

fn said(source: Source, columns: Columns, shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    match source {
        Source::InterfaceName if columns == Columns::Tabs => {
            out.str(&clean(shown.label.unwrap_or_default(), Charset::Unicode));
        }
        Source::InterfaceName => csv_value(shown.label.unwrap_or_default(), out),
        Source::Record(column) => value(column, shown, clock, out),
        Source::Epoch => shown.frame.time.into_iter().for_each(|time| epoch(time, out)),
        Source::Header(..) => {}
    }
}

/// A row that has quotes, or is of a packet with many headers, or lacks a value.
#[cold]
fn slow_row(fields: &[Field], columns: Columns, shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    let separator = if columns == Columns::Tabs { b'\t' } else { b',' };
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            out.byte(separator);
        }
        match field.source {
            Source::Header(kind, part) => slow_headers(kind, part, columns, shown, out),
            source => said(source, columns, shown, clock, out),
        }
    }
    out.byte(b'\n');
}

fn slow_headers(kind: Kind, part: Part, columns: Columns, shown: &Shown<'_>, out: &mut Buffer) {
    let start = out.len();
    let mut count = 0;
    for layer in shown.decoded.all_layers().filter(|layer| layer.kind == kind) {
        let before = out.len();
        if count > 0 {
            out.byte(b',');
        }
        match is_told(part, layer, shown.decoded).then(|| rare(part, shown.decoded, layer, out)).flatten() {
            Some(()) => count += 1,
            None => out.cut(before),
        }
    }
    // A message that asks for several names has commas in its one value.
    let has = |byte: u8| out.text().get(start..).unwrap_or_default().contains(&byte);
    if columns == Columns::Commas && (has(b',') || has(b'"')) {
        out.quote(start);
    }
}

/// The bytes from a header's first one to where those end that it may have, by the headers around it.
pub(super) fn within(bytes: &[u8], layer: Layer) -> &[u8] {
    let end = (layer.end as usize).min(bytes.len());
    bytes.get(layer.start as usize..end).unwrap_or_default()
}

/// Some bytes of a header.
#[inline]
pub(super) fn take<const N: usize>(bytes: &[u8], at: u8) -> Option<[u8; N]> {
    bytes.get(usize::from(at)..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Dissector, LinkType, Ports};

    /// The row of an address that was asked for so often.
    fn row(count: usize) -> String {
        let ip = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 244, 111, 222, 10, 0, 0, 2];
        let packet = [&ip[..], &[0x9c, 0x40, 0, 9, 0, 8, 0, 0]].concat();
        let mut dissector = Dissector::new(Ports::default());
        let frame = Frame { number: 1, time: None, interface: 0, link_type: LinkType::RAW, length: 28, bytes: &packet };
        let decoded = dissector.decode(LinkType::RAW, &packet, 28);
        let (interface, label, remarks, told, checksums, fragments) = (None, None, &[][..], None, None, None);
        let shown = Shown { frame: &frame, decoded: &decoded, interface, label, remarks, told, checksums, fragments };
        let fields = vec![Field::of("ip.src").unwrap(); count];
        let mut out = Buffer::default();
        Row::new(&fields, Columns::Tabs).put(&shown, &mut Clock::default(), &mut out);
        String::from_utf8(out.text().to_vec()).unwrap()
    }

    #[test]
    fn rows_of_any_length_are_whole() {
        for count in [1, 255, 256, 257, 300, 1000] {
            assert_eq!(row(count), vec!["10.244.111.222"; count].join("\t") + "\n", "{count}");
        }
    }
}
