//! A row of the fields that were asked for.

use super::clock::{Clock, epoch};
use super::cursor::Cursor;
use super::field::{Field, Part, Source};
use super::rare::rare;
use super::record::{Column, value};
use super::text::is_plain;
use super::{Buffer, Columns, Shown};
use crate::wire::{Kind, Layer};

/// A row of fields as they are put in fast: of packets with few layers, between tabs.
#[derive(Clone, Debug)]
pub(super) struct Row {
    fields: Vec<Field>,
    columns: Columns,
    cells: Vec<Cell>,
    /// Of each kind of header, in which places of the list of layers it stands, as bits.
    bits: [u32; Kind::COUNT],
    /// For what is too rare to have a fast way.
    scratch: Buffer,
}

/// So many layers have a bit.
const MOST: usize = 32;

/// A field as it is put in.
#[derive(Clone, Copy, Debug)]
struct Cell {
    form: Form,
    /// Whose header has it.
    kind: Kind,
    /// Where it stands there.
    at: u8,
    /// Which bits of the four bytes there are the value.
    shift: u8,
    mask: u32,
    field: Field,
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// An address.
    Ipv4,
    /// An octet in decimal digits.
    Octet,
    /// A number in decimal digits.
    Number,
    /// Four hexadecimal digits.
    Hex,
    /// The name that a DNS message asks for.
    DnsName,
    /// Anything else of a header.
    Rare,
    /// What the capture says of the packet.
    Frame,
}

impl Cell {
    fn new(field: Field) -> Self {
        let Source::Header(kind, part) = field.source else {
            return Self { form: Form::Frame, kind: Kind::Quote, at: 0, shift: 0, mask: 0, field };
        };
        let (form, at, shift, mask) = match part {
            Part::Ipv4(at) => (Form::Ipv4, at, 0, u32::MAX),
            Part::U8(at) => (Form::Octet, at, 24, 0xff),
            Part::U16(at) => (Form::Number, at, 16, 0xffff),
            Part::U24(at) => (Form::Number, at, 8, 0x00ff_ffff),
            Part::U32(at) => (Form::Number, at, 0, u32::MAX),
            Part::Hex12(at) => (Form::Hex, at, 16, 0x0fff),
            Part::Hex16(at) => (Form::Hex, at, 16, 0xffff),
            Part::DnsName => (Form::DnsName, 0, 0, 0),
            _ => (Form::Rare, 0, 0, 0),
        };
        Self { form, kind, at, shift, mask, field }
    }
}

impl Row {
    pub(super) fn new(fields: &[Field], columns: Columns) -> Self {
        Self {
            fields: fields.to_vec(),
            columns,
            cells: fields.iter().map(|field| Cell::new(*field)).collect(),
            bits: [0; Kind::COUNT],
            scratch: Buffer::default(),
        }
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
        if self.columns == Columns::Commas || shown.decoded.layers.len() > MOST {
            return slow_row(&self.fields, self.columns, shown, clock, out);
        }
        let Self { cells, bits, scratch, .. } = self;
        sort(bits, shown.decoded.layers);
        out.line(|line| {
            for cell in &*cells {
                cell.put(bits, shown, clock, scratch, line);
            }
            // In the place of the tab behind the last field.
            line.back_to(line.at().saturating_sub(1));
            line.put([b'\n'], 1);
        });
    }
}

/// Sorts a packet's layers.
#[inline]
fn sort(bits: &mut [u32; Kind::COUNT], layers: &[Layer]) {
    *bits = [0; Kind::COUNT];
    let mut bit = 1;
    for layer in layers {
        if let Some(bits) = bits.get_mut(layer.kind as usize) {
            *bits |= bit;
        }
        bit <<= 1;
    }
}

impl Cell {
    /// Puts in the values of the field, and a tab behind them.
    #[inline]
    fn put(
        &self,
        bits: &[u32; Kind::COUNT],
        shown: &Shown<'_>,
        clock: &mut Clock,
        scratch: &mut Buffer,
        line: &mut Cursor<'_>,
    ) {
        let places = Places { bits: bits.get(self.kind as usize).copied().unwrap_or(0), layers: shown.decoded.layers };
        let (start, bytes) = (line.at(), shown.decoded.bytes);
        match self.form {
            Form::Ipv4 => places.each(|layer| {
                if let Some(word) = self.word(bytes, layer) {
                    line.ipv4(word, b',');
                }
            }),
            Form::Octet => places.each(|layer| {
                let at = layer.start as usize + usize::from(self.at);
                bytes.get(at).into_iter().for_each(|octet| line.octet(*octet, b','));
            }),
            Form::Number => places.each(|layer| match self.word(bytes, layer) {
                Some(word) => line.number(word >> self.shift & self.mask, b','),
                None => self.rare(bytes, layer, scratch, line),
            }),
            Form::Hex => places.each(|layer| match self.word(bytes, layer) {
                Some(word) => line.hex16(word >> self.shift & self.mask, b','),
                None => self.rare(bytes, layer, scratch, line),
            }),
            Form::DnsName => places.each(|layer| {
                let message = bytes.get(layer.start as usize..(layer.end as usize).min(bytes.len()));
                match name(message.unwrap_or_default(), line.room()) {
                    Some(size) => line.forth(size),
                    None => self.rare(bytes, layer, scratch, line),
                }
            }),
            Form::Rare => places.each(|layer| self.rare(bytes, layer, scratch, line)),
            Form::Frame => return frame(self.field.source, shown, clock, scratch, line),
        }
        // In the place of the comma behind the last value.
        line.back_to(line.at() - usize::from(line.at() > start));
        line.put([b'\t'], 1);
    }

    /// The four bytes from where the value stands.
    #[inline]
    fn word(&self, bytes: &[u8], layer: Layer) -> Option<u32> {
        let at = layer.start as usize + usize::from(self.at);
        bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
    }

    /// Puts in a value that has no fast way, or stands where the packet ends.
    fn rare(&self, bytes: &[u8], layer: Layer, scratch: &mut Buffer, line: &mut Cursor<'_>) {
        let Source::Header(_, part) = self.field.source else { return };
        let bytes = bytes.get(layer.start as usize..).unwrap_or_default();
        scratch.clear();
        if rare(part, bytes, layer, scratch).is_some() {
            scratch.byte(b',');
            line.bytes(scratch.text());
        }
    }
}

/// Puts in the name of a DNS message's only question, and a comma behind it, and gives how many characters these are.
/// `None` where the name is not as plain as nearly all are: printable, and without pointers.
fn name(message: &[u8], room: &mut [u8]) -> Option<usize> {
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
    // In the place of the dot behind the last label.
    *room.get_mut(at.checked_sub(1)?)? = b',';
    Some(at)
}

/// The layers of a kind.
struct Places<'a> {
    bits: u32,
    layers: &'a [Layer],
}

impl Places<'_> {
    /// Hands them over, outermost first.
    #[inline]
    fn each(mut self, mut with: impl FnMut(Layer)) {
        while self.bits != 0 {
            if let Some(layer) = self.layers.get(self.bits.trailing_zeros() as usize) {
                with(*layer);
            }
            self.bits &= self.bits - 1;
        }
    }
}

/// Puts in what the capture says of a packet, and a tab behind it.
#[inline]
fn frame(source: Source, shown: &Shown<'_>, clock: &mut Clock, scratch: &mut Buffer, line: &mut Cursor<'_>) {
    match (source, shown.frame.time) {
        (Source::Record(Column::Length), _) => line.number(shown.frame.length, b'\t'),
        (Source::Record(Column::Number), _) if shown.frame.number <= u32::MAX.into() => {
            line.number(u32::try_from(shown.frame.number).unwrap_or(0), b'\t');
        }
        (Source::Epoch, Some(time)) if (0..=u32::MAX.into()).contains(&time.seconds) => {
            line.words(clock.epoch(time.seconds));
            line.nanoseconds(time.nanoseconds, b'\t');
        }
        _ => {
            scratch.clear();
            said(source, shown, clock, scratch);
            scratch.byte(b'\t');
            line.bytes(scratch.text());
        }
    }
}

fn said(source: Source, shown: &Shown<'_>, clock: &mut Clock, out: &mut Buffer) {
    match source {
        Source::Record(column) => value(column, shown, clock, out),
        Source::Epoch => shown.frame.time.into_iter().for_each(|time| epoch(time, out)),
        Source::Header(..) => {}
    }
}

/// A row that has quotes, or is of a packet with more layers than there are bits.
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
