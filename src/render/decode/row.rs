//! A row of the fields that were asked for.

use super::clock::{Clock, epoch};
use super::cursor::Cursor;
use super::field::{Field, Part, Source};
use super::rare::rare;
use super::record::value;
use super::shape::{Form, Shape, Value};
use super::text::is_plain;
use super::{Buffer, Columns, Shown};
use crate::wire::{Kind, Layer};

/// So many shapes of packets are kept, each at the place that its headers lead to.
const SHAPES: usize = 64;
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
        let shapes = if fields.is_empty() { Vec::new() } else { vec![Shape::new(fields, &[]); SHAPES] };
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
        let Some(shape) = shapes.get_mut(place(layers)) else { return };
        let mut is_usual = *columns == Columns::Tabs && layers.len() <= MOST;
        if is_usual && !shape.is_of(layers) {
            *shape = Shape::new(fields, layers);
        }
        is_usual &= shape.fits(shown.decoded.bytes);
        if !is_usual || !fast_row(shape, fields, shown, clock, scratch, out) {
            slow_row(fields, *columns, shown, clock, out);
        }
    }
}

/// The place of packets with these headers.
#[inline]
fn place(layers: &[Layer]) -> usize {
    let mixed = |sum: u32, layer: &Layer| (sum ^ layer.start ^ (layer.kind as u32) << 16).wrapping_mul(0x9e37_79b1);
    (layers.iter().fold(0, mixed) >> 26) as usize
}

/// A row of a packet whose shape is known; false, and nothing is put in, where a value is missing.
#[inline]
fn fast_row(
    shape: &Shape,
    fields: &[Field],
    shown: &Shown<'_>,
    clock: &mut Clock,
    scratch: &mut Buffer,
    out: &mut Buffer,
) -> bool {
    let (start, mut is_whole) = (out.len(), true);
    out.line(|line| {
        is_whole = true;
        for value in &shape.values {
            if !put(value, shown, line) {
                is_whole &= other(value, fields, shown, clock, scratch, line);
            }
            line.tabs(value.tabs.into());
        }
        // In the place of the tab behind the last field.
        line.back_to(line.at().saturating_sub(1));
        line.put([b'\n'], 1);
    });
    if !is_whole {
        out.cut(start);
    }
    is_whole
}

/// Puts in a value that is met in nearly every packet, and what stands behind it; false where it is another one.
#[inline]
fn put(value: &Value, shown: &Shown<'_>, line: &mut Cursor<'_>) -> bool {
    let word = || {
        let at = value.at as usize;
        let bytes = shown.decoded.bytes.get(at..at + 4).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    match value.form {
        Form::Ipv4 => line.ipv4(word(), value.behind),
        Form::Octet => line.octet(word().to_be_bytes()[0], value.behind),
        Form::Number => line.number(word() >> value.shift & value.mask, value.behind),
        Form::Hex => line.hex16(word() >> value.shift & value.mask, value.behind),
        Form::FrameLength => line.number(shown.frame.length, value.behind),
        _ => return false,
    }
    true
}

/// Puts in any other value, and what stands behind it; false where the packet doesn't have it.
#[inline]
fn other(
    value: &Value,
    fields: &[Field],
    shown: &Shown<'_>,
    clock: &mut Clock,
    scratch: &mut Buffer,
    line: &mut Cursor<'_>,
) -> bool {
    match (value.form, shown.frame.time, u32::try_from(shown.frame.number)) {
        (Form::FrameNumber, _, Ok(number)) => line.number(number, value.behind),
        (Form::Epoch, Some(time), _) if time.seconds >= 0 => {
            line.words(clock.epoch(time.seconds));
            line.nanoseconds(time.nanoseconds, value.behind);
        }
        (Form::DnsName, ..) => match name(message(value, shown), line.room()) {
            Some(size) => {
                line.forth(size);
                line.put([value.behind], 1);
            }
            None => return rarer(value, fields, shown, clock, scratch, line),
        },
        _ => return rarer(value, fields, shown, clock, scratch, line),
    }
    true
}

/// The bytes of a DNS message.
#[inline]
fn message<'a>(value: &Value, shown: &Shown<'a>) -> &'a [u8] {
    let bytes = shown.decoded.bytes;
    let layer = shown.decoded.layers.get(value.at as usize);
    layer.and_then(|layer| bytes.get(layer.start as usize..(layer.end as usize).min(bytes.len()))).unwrap_or_default()
}

/// Puts in a value that has no fast way.
#[inline]
fn rarer(
    value: &Value,
    fields: &[Field],
    shown: &Shown<'_>,
    clock: &mut Clock,
    scratch: &mut Buffer,
    line: &mut Cursor<'_>,
) -> bool {
    scratch.clear();
    let is_there = slow_value(value, fields, shown, clock, scratch);
    line.bytes(scratch.text());
    line.put([value.behind], 1);
    is_there
}

fn slow_value(value: &Value, fields: &[Field], shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) -> bool {
    let Some(field) = fields.get(value.field as usize).filter(|_| value.form != Form::Nothing) else { return true };
    let Source::Header(_, part) = field.source else {
        said(field.source, shown, clock, out);
        return true;
    };
    let Some(layer) = shown.decoded.layers.get(value.at as usize) else { return false };
    let bytes = shown.decoded.bytes.get(layer.start as usize..).unwrap_or_default();
    rare(part, bytes, *layer, out).is_some()
}

/// Puts in the name of a DNS message's only question, and gives how many characters it has. `None` where the name is not
/// as plain as nearly all are: printable, and without pointers.
fn name(message: &[u8], room: &mut [u8]) -> Option<u32> {
    let [_, _, _, _, 0, 1, _, _, _, _, _, _, rest @ ..] = message else { return None };
    let (mut rest, mut at) = (rest, 0);
    loop {
        let size = match rest {
            // Behind the last label stand the type and the class.
            [0, _, _, ..] => break,
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
    u32::try_from(at).ok()?.checked_sub(1)
}

fn said(source: Source, shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    match source {
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
            source => said(source, shown, clock, out),
        }
    }
    out.byte(b'\n');
}

fn slow_headers(kind: Kind, part: Part, columns: Columns, shown: &Shown<'_>, out: &mut Buffer) {
    let start = out.len();
    let mut count = 0;
    for layer in shown.decoded.layers.iter().filter(|layer| layer.kind == kind) {
        let before = out.len();
        if count > 0 {
            out.byte(b',');
        }
        let bytes = shown.decoded.bytes.get(layer.start as usize..).unwrap_or_default();
        match rare(part, bytes, *layer, out) {
            Some(()) => count += 1,
            None => out.cut(before),
        }
    }
    if count > 1 && columns == Columns::Commas {
        out.quote(start);
    }
}

/// Some bytes of a header.
#[inline]
pub(super) fn take<const N: usize>(bytes: &[u8], at: u8) -> Option<[u8; N]> {
    bytes.get(usize::from(at)..)?.first_chunk().copied()
}
