//! A row of the fields that were asked for.

use super::clock::{Clock, epoch};
use super::cursor::Cursor;
use super::field::{Field, Part, Source};
use super::rare::{is_told, rare};
use super::record::value;
use super::shape::{Form, Shape, Value};
use super::text::{specials, text_value};
use super::{Buffer, Columns, Shown};
use crate::wire::{Frame, Glance, Kind, Layer, Usual};

/// So many shapes of packets are kept beside the usual ones, each at the place that its headers lead to.
const SHAPES: usize = 64;
/// Seconds of so many digits have a fast way.
const MOST_SECONDS: i64 = 1_000_000_000_000_000;
/// Packets with more headers are put together without a shape.
const MOST: usize = 32;
/// Names of more characters have no fast way: each has a bit of a word, and no label is longer.
const MOST_CHARACTERS: usize = 63;

/// Rows of fields.
#[derive(Clone, Debug)]
pub(super) struct Row {
    fields: Vec<Field>,
    columns: Columns,
    shapes: Vec<Option<Shape>>,
    /// For what is too rare to have a fast way.
    scratch: Buffer,
}

impl Row {
    pub(super) fn new(fields: &[Field], columns: Columns) -> Self {
        let shapes = if fields.is_empty() { Vec::new() } else { vec![None; Usual::COUNT + SHAPES] };
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
        let Some(place) = shapes.get_mut(usual.unwrap_or_else(|| place(layers))) else { return };
        // A header that is not all there is read up to where it ends.
        let is_whole = shown.decoded.flaw.is_none() && shown.decoded.ends_in.is_none();
        let is_well = is_whole && layers.len() <= MOST && *columns == Columns::Tabs;
        if is_well && (usual.is_some() || layers.iter().all(|layer| has_length(shown.decoded.bytes, *layer))) {
            let is_it = |shape: &Shape| usual.is_some() || shape.is_of(layers);
            let known = place.take().filter(is_it);
            let shape = place.insert(known.unwrap_or_else(|| Shape::new(fields, shown.decoded)));
            let packet = Packet { frame: shown.frame, bytes: shown.decoded.bytes, message: &[], shown: Some(shown) };
            if shape.fits(packet.bytes) && fast_row(shape, fields, &packet, clock, scratch, out) {
                return;
            }
        }
        slow_row(fields, *columns, shown, clock, out);
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
        let Some((usual, message)) = glance.usual() else { return false };
        let Some(Some(shape)) = shapes.get(usual.number()) else { return false };
        let packet = Packet { frame, bytes: glance.bytes, message, shown: None };
        shape.fits_quickly(glance.bytes) && fast_row(shape, fields, &packet, clock, scratch, out)
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
        let mut values = shape.values.iter();
        let mut next = values.next();
        while let Some(value) = next {
            let all = Alike { first: value, rest: &mut values };
            next = match value.form {
                Form::Ipv4 => all.put(packet, line, |line, word, _| line.ipv4(word)),
                Form::Octet => all.put(packet, line, |line, word, _| line.octet(word.to_be_bytes()[0])),
                Form::Small => all.put(packet, line, |line, word, _| line.small(word >> 16)),
                Form::Number => all.put(packet, line, |line, word, value| line.number(part(word, value))),
                Form::Hex => all.put(packet, line, |line, word, value| line.hex16(part(word, value))),
                Form::Nothing => all.one(line, |_| {}),
                Form::FrameLength => all.one(line, |line| line.number(frame.length)),
                Form::FrameNumber => all.one(line, |line| match u32::try_from(frame.number) {
                    Ok(number) => line.number(number),
                    Err(_) => is_whole &= rarer(value, fields, packet, clock, scratch, line),
                }),
                Form::Epoch => all.one(line, |line| match frame.time {
                    Some(time) if (0..MOST_SECONDS).contains(&time.seconds) => {
                        line.words(clock.epoch(time.seconds));
                        line.nanoseconds(time.nanoseconds);
                    }
                    _ => is_whole &= rarer(value, fields, packet, clock, scratch, line),
                }),
                Form::DnsName => all.one(line, |line| match name(message(value, packet), line.room()) {
                    Some(size) => line.forth(size),
                    None => is_whole &= rarer(value, fields, packet, clock, scratch, line),
                }),
                Form::Frame | Form::Rare => {
                    all.one(line, |line| is_whole &= rarer(value, fields, packet, clock, scratch, line))
                }
            };
        }
        is_whole
    })
}

/// Values that stand side by side and are written the same way.
struct Alike<'a, 's> {
    first: &'s Value,
    /// What stands behind it, others included.
    rest: &'a mut std::slice::Iter<'s, Value>,
}

impl<'s> Alike<'_, 's> {
    /// Puts in the first one, and gives the next.
    #[inline]
    fn one(self, line: &mut Cursor<'_>, put: impl FnOnce(&mut Cursor<'_>)) -> Option<&'s Value> {
        put(line);
        line.words((self.first.behind, self.first.size.into()));
        self.rest.next()
    }

    /// Puts in values that are met in nearly every packet, of four of its bytes each, and gives the first one that is written
    /// in another way.
    #[inline]
    fn put(
        self,
        packet: &Packet<'_>,
        line: &mut Cursor<'_>,
        put: impl Fn(&mut Cursor<'_>, u32, &Value),
    ) -> Option<&'s Value> {
        let mut value = self.first;
        loop {
            let at = value.at as usize;
            let bytes = packet.bytes.get(at..at + 4).and_then(<[u8]>::first_chunk);
            put(line, bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes)), value);
            line.words((value.behind, value.size.into()));
            value = self.rest.next()?;
            if value.form != self.first.form {
                return Some(value);
            }
        }
    }
}

/// The bits of a word that are a value.
#[inline]
fn part(word: u32, value: &Value) -> u32 {
    word >> value.shift & value.mask
}

/// The bytes of a DNS message.
#[inline]
fn message<'a>(value: &Value, packet: &Packet<'a>) -> &'a [u8] {
    let Packet { bytes, shown: Some(shown), .. } = packet else { return packet.message };
    let layer = shown.decoded.layers.get(value.at as usize);
    layer.and_then(|layer| bytes.get(layer.start as usize..(layer.end as usize).min(bytes.len()))).unwrap_or_default()
}

/// Puts in a value that has no fast way; false where the packet doesn't have it.
fn rarer(
    value: &Value,
    fields: &[Field],
    packet: &Packet<'_>,
    clock: &mut Clock,
    scratch: &mut Buffer,
    line: &mut Cursor<'_>,
) -> bool {
    let Some(shown) = packet.shown else { return false };
    scratch.clear();
    slow_value(value, fields, shown, clock, scratch) && line.bytes(scratch.text())
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
/// as nearly all are: printable, without pointers, and neither very short nor very long.
fn name(message: &[u8], room: &mut [u8]) -> Option<usize> {
    let [_, _, _, _, 0, 1, _, _, _, _, _, _, first @ 1..=255, labels @ ..] = message else { return None };
    // Where the other labels' lengths stand, each as a bit.
    let (mut size, mut lengths) = (usize::from(*first), 0_u64);
    while let Some(length) = labels.get(size).copied().filter(|length| *length > 0) {
        // What is no length leads further than that, too.
        if size >= MOST_CHARACTERS {
            return None;
        }
        lengths |= 1 << size;
        size += usize::from(length) + 1;
    }
    // Behind the name stand an empty label, the type and the class.
    if !(8..=MOST_CHARACTERS).contains(&size) || labels.len() < size + 5 {
        return None;
    }
    // The last eight characters are looked at together, some of them twice.
    let (last, mut at, mut others) = (size - 8, 0, 0);
    loop {
        let chunk = *labels.get(at..)?.first_chunk()?;
        others |= specials(u64::from_le_bytes(chunk)) << at;
        *room.get_mut(at..)?.first_chunk_mut()? = chunk;
        if at == last {
            break;
        }
        at = last.min(at + 8);
    }
    if others & !lengths != 0 {
        return None;
    }
    while lengths > 0 {
        *room.get_mut(lengths.trailing_zeros() as usize)? = b'.';
        lengths &= lengths - 1;
    }
    Some(size)
}

fn said(source: Source, columns: Columns, shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    match source {
        Source::InterfaceName => text_value(shown.label.unwrap_or_default(), columns, out),
        Source::Record(column) => value(column, columns, shown, clock, out),
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
    use crate::render::decode::cursor::LONGEST_TEXT;
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

    /// A message that asks for a name of labels that are mostly plain, with a few bytes more behind it, or less.
    fn question(random: &mut impl FnMut(u8) -> u8) -> Vec<u8> {
        let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for _ in 0..=random(5) {
            let size = match random(5) {
                0 => random(4),
                1 => random(70),
                _ => 1 + random(12),
            };
            message.push(if random(40) == 0 { random(255) } else { size });
            let is_odd = random(4) == 0;
            for _ in 0..size {
                let odd = is_odd && random(8) == 0;
                message.push(if odd { b"\\!~\x7f \0\xff\xc0"[usize::from(random(8))] } else { b'!' + random(94) });
            }
        }
        message.extend([0, 0, 1, 0, 1].into_iter().chain([9; 12]).take(random(18).into()));
        message
    }

    #[test]
    fn names_that_are_put_in_fast_are_the_same() {
        let mut state = 1_u64;
        let mut random = |below: u8| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33).to_le_bytes()[0] % below
        };
        let (mut fast, mut room) = (0, [0; LONGEST_TEXT]);
        for number in 0..50_000 {
            let message = question(&mut random);
            let Some(size) = name(&message, &mut room) else { continue };
            let mut wanted = Buffer::default();
            super::super::dns::names(&message, &mut wanted).unwrap();
            assert_eq!(room[..size].escape_ascii().to_string(), wanted.text().escape_ascii().to_string(), "{number}");
            fast += 1;
        }
        assert!(fast > 5000, "{fast}");
    }
}
