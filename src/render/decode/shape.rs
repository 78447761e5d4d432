//! What is put in for packets of one shape: the same headers at the same offsets. Most packets of a capture have one of
//! a few shapes, so that for each of them only the values are left to look up.

use super::cursor::{LONGEST, LONGEST_TEXT};
use super::field::{Field, Part, Source};
use super::record::Column;
use crate::wire::{Kind, Layer};

/// The values of a row, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// The headers, and where they stand.
    headers: Vec<(Kind, u32)>,
    /// The values, those together that stand side by side and are written the same way.
    pub(super) runs: Vec<(Form, Vec<Value>)>,
    /// How many bytes of a packet must be there.
    needed: usize,
    /// Whether all values have a fast way.
    is_quick: bool,
}

/// A value that is put in, and what stands behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) form: Form,
    /// A comma before another value of the same field, or a tab.
    pub(super) behind: u8,
    /// How many tabs stand behind that: of fields without a value.
    pub(super) tabs: u8,
    /// Which bits of the four bytes are the value.
    pub(super) shift: u8,
    /// Where the value stands in the packet; for what is rare, the header's place in the list.
    pub(super) at: u32,
    pub(super) mask: u32,
    /// The field's place.
    pub(super) field: u32,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// None: the tabs of fields without a value, before the first one that has one.
    Nothing,
    /// An address.
    Ipv4,
    /// An octet in decimal digits.
    Octet,
    /// A number below 1,000,000 in decimal digits.
    Small,
    /// A number in decimal digits.
    Number,
    /// Four hexadecimal digits.
    Hex,
    /// The name that a DNS message asks for.
    DnsName,
    /// The packet's number.
    FrameNumber,
    /// Its length.
    FrameLength,
    /// Its time in seconds since 1970.
    Epoch,
    /// Anything else that the capture says of the packet.
    Frame,
    /// Anything else that a header has.
    Rare,
}

impl Form {
    /// Whether four bytes of the packet hold it.
    fn is_read(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Octet | Self::Small | Self::Number | Self::Hex)
    }

    /// How long it is at most, with the character behind it.
    fn longest(self) -> usize {
        match self {
            Self::Nothing => 1,
            Self::Octet => 4,
            Self::Small | Self::Hex => 7,
            Self::Number | Self::FrameNumber | Self::FrameLength => 11,
            Self::Ipv4 => 16,
            Self::Epoch => 26,
            Self::DnsName | Self::Frame | Self::Rare => LONGEST_TEXT + 1,
        }
    }
}

/// So many tabs are counted.
const MOST_TABS: u8 = u8::MAX;

impl Shape {
    /// What is put in for packets with these headers.
    pub(super) fn new(fields: &[Field], layers: &[Layer]) -> Self {
        let mut values = Vec::new();
        for (place, field) in (0..).zip(fields) {
            put_field(place, *field, layers, &mut values);
        }
        let longest: usize = values.iter().map(|value| value.form.longest() + usize::from(value.tabs)).sum();
        let read = values.iter().filter(|value| value.form.is_read());
        let mut needed = read.map(|value| value.at as usize + 4).max().unwrap_or(0);
        // What an error quotes may end in the middle of a header.
        if longest > LONGEST || layers.iter().any(|layer| layer.kind == Kind::Quote) {
            needed = usize::MAX;
        }
        let is_quick = !layers.is_empty() && !values.iter().any(|value| matches!(value.form, Form::Frame | Form::Rare));
        let runs = values.chunk_by(|one, other| one.form == other.form);
        let runs = runs.filter_map(|run| Some((run.first()?.form, run.to_vec()))).collect();
        Self { headers: layers.iter().map(|layer| (layer.kind, layer.start)).collect(), runs, needed, is_quick }
    }

    /// Whether what was captured of a packet of this shape holds all values.
    #[inline]
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.needed
    }

    /// Whether a packet has this shape.
    #[inline]
    pub(super) fn is_of(&self, layers: &[Layer]) -> bool {
        self.headers.len() == layers.len()
            && self.headers.iter().zip(layers).all(|(header, layer)| *header == (layer.kind, layer.start))
    }

    /// Whether it is of any packets, and all values have a fast way.
    #[inline]
    pub(super) fn is_quick(&self) -> bool {
        self.is_quick
    }

    /// Whether it is of any packets.
    #[inline]
    pub(super) fn is_known(&self) -> bool {
        !self.headers.is_empty()
    }
}

/// The values of a field.
fn put_field(place: u32, field: Field, layers: &[Layer], values: &mut Vec<Value>) {
    let before = values.len();
    match field.source {
        Source::Header(kind, part) => {
            for (at, layer) in (0..).zip(layers).filter(|(_, layer)| layer.kind == kind) {
                values.push(header(part, at, *layer, place));
            }
        }
        source => values.push(Value { form: frame(source), ..nothing(place) }),
    }
    if values.len() > before {
        // The last value of a field has a tab behind it.
        values.last_mut().into_iter().for_each(|last| last.behind = b'\t');
        return;
    }
    match values.last_mut() {
        Some(last) if last.tabs < MOST_TABS => last.tabs += 1,
        _ => values.push(Value { behind: b'\t', ..nothing(place) }),
    }
}

fn nothing(field: u32) -> Value {
    Value { form: Form::Nothing, behind: b',', tabs: 0, shift: 0, at: 0, mask: 0, field }
}

fn frame(source: Source) -> Form {
    match source {
        Source::Record(Column::Number) => Form::FrameNumber,
        Source::Record(Column::Length) => Form::FrameLength,
        Source::Epoch => Form::Epoch,
        _ => Form::Frame,
    }
}

fn header(part: Part, place: u32, layer: Layer, field: u32) -> Value {
    let (form, at, shift, mask) = match part {
        Part::Ipv4(at) => (Form::Ipv4, at, 0, u32::MAX),
        Part::U8(at) => (Form::Octet, at, 24, 0xff),
        Part::U16(at) | Part::Ipv4Length(at) => (Form::Small, at, 16, 0xffff),
        Part::U24(at) => (Form::Number, at, 8, 0x00ff_ffff),
        Part::U32(at) => (Form::Number, at, 0, u32::MAX),
        Part::Hex12(at) => (Form::Hex, at, 16, 0x0fff),
        Part::Hex16(at) => (Form::Hex, at, 16, 0xffff),
        Part::DnsName => return Value { form: Form::DnsName, at: place, ..nothing(field) },
        _ => return Value { form: Form::Rare, at: place, ..nothing(field) },
    };
    Value { form, shift, mask, at: layer.start + u32::from(at), ..nothing(field) }
}
