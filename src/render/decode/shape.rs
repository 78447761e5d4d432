//! What is put in for packets of one shape: the same headers at the same offsets. Most packets of a capture have one of
//! a few shapes, so that for each of them only the values are left to look up.

use super::Buffer;
use super::cursor::{LONGEST, LONGEST_TEXT};
use super::field::{Field, Part, Source};
use super::rare::rare;
use super::record::Column;
use crate::wire::{Decoded, Kind, Layer};

/// The values of a row, in their order.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// The headers, and where they stand.
    headers: Vec<(Kind, u32)>,
    pub(super) values: Vec<Value>,
    /// How many bytes of a packet must be there.
    needed: usize,
    /// The same, where all values have a fast way; more than any packet has where one has none.
    quickly: usize,
}

/// A value that is put in, and what stands behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) form: Form,
    /// What stands behind it, whatever packet of this shape it is: a comma before another value of the same field, or tabs,
    /// and values that are the same in all of these packets.
    pub(super) behind: [u8; BEHIND],
    /// How many characters that are.
    pub(super) size: u8,
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
    /// None: there is only what stands behind it.
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

    /// How long it is at most.
    fn longest(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Octet => 3,
            Self::Small | Self::Hex => 6,
            Self::Number | Self::FrameNumber | Self::FrameLength => 10,
            Self::Ipv4 => 15,
            Self::Epoch => 25,
            Self::DnsName | Self::Frame | Self::Rare => LONGEST_TEXT,
        }
    }
}

/// So many characters stand behind a value at most.
const BEHIND: usize = 16;

impl Shape {
    /// What is put in for packets with this one's headers.
    pub(super) fn new(fields: &[Field], decoded: &Decoded<'_>) -> Self {
        let layers = decoded.layers;
        let mut making = Making { decoded, values: Vec::new(), needed: 0 };
        for (place, field) in (0..).zip(fields) {
            making.field(place, *field);
        }
        making.text(b"\n");
        let Making { values, mut needed, .. } = making;
        let longest: usize = values.iter().map(|value| value.form.longest() + usize::from(value.size)).sum();
        // What an error quotes may end in the middle of a header.
        if longest > LONGEST || layers.iter().any(|layer| layer.kind == Kind::Quote) {
            needed = usize::MAX;
        }
        let is_slow = values.iter().any(|value| matches!(value.form, Form::Frame | Form::Rare));
        let quickly = if is_slow { usize::MAX } else { needed };
        Self { headers: layers.iter().map(|layer| (layer.kind, layer.start)).collect(), values, needed, quickly }
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

    /// The same, and all of these have a fast way.
    #[inline]
    pub(super) fn fits_quickly(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.quickly
    }
}

/// The values of a row that is made.
struct Making<'a> {
    /// A packet that has the row's headers.
    decoded: &'a Decoded<'a>,
    values: Vec<Value>,
    /// How many bytes of a packet must be there.
    needed: usize,
}

impl Making<'_> {
    /// Puts in the values of a field.
    fn field(&mut self, place: u32, field: Field) {
        if place > 0 {
            self.text(b"\t");
        }
        let Source::Header(kind, part) = field.source else {
            return self.values.push(Value { form: frame(field.source), ..nothing(place) });
        };
        let layers = self.decoded.layers;
        for (count, (at, layer)) in (0..).zip(layers).filter(|(_, layer)| layer.kind == kind).enumerate() {
            if count > 0 {
                self.text(b",");
            }
            let value = header(part, at, *layer, place);
            if value.form.is_read() {
                self.needed = self.needed.max(value.at as usize + 4);
            }
            match self.same(part, *layer, layers.get(at as usize + 1)) {
                Some(text) => self.text(&text),
                None => self.values.push(value),
            }
        }
    }

    /// The value of a header that is the same in all packets with these headers.
    fn same(&self, part: Part, layer: Layer, next: Option<&Layer>) -> Option<Vec<u8>> {
        self.decoded.usual?;
        let is_same = match (layer.kind, part) {
            (Kind::Ethernet, Part::EtherType(_)) | (Kind::Ipv4, Part::U8(9)) => true,
            // The destination of a tunnel is the one by which it is known.
            (Kind::Udp, Part::U16(2)) => next.is_some_and(|next| next.kind == Kind::Vxlan),
            _ => false,
        };
        let mut out = Buffer::default();
        (is_same && rare(part, self.decoded, layer, &mut out).is_some()).then(|| out.text().to_vec())
    }

    /// Puts in what is the same in all packets.
    fn text(&mut self, text: &[u8]) {
        for character in text {
            if self.values.last().is_none_or(|last| usize::from(last.size) == BEHIND) {
                self.values.push(nothing(0));
            }
            let Some(last) = self.values.last_mut() else { return };
            if let Some(place) = last.behind.get_mut(usize::from(last.size)) {
                *place = *character;
                last.size += 1;
            }
        }
    }
}

fn nothing(field: u32) -> Value {
    Value { form: Form::Nothing, behind: [0; BEHIND], size: 0, shift: 0, at: 0, mask: 0, field }
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
