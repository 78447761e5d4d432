//! A row of the fields that were asked for.

use super::clock::{Clock, epoch};
use super::field::{Field, Part, Source};
use super::record::value;
use super::text::label;
use super::{Buffer, Columns, Shown};
use crate::net::MacAddr;
use crate::wire::{Decoded, Kind, Layer, Names};

/// Of each kind of header, in which places of the list of layers it stands, as bits; for packets of 64 layers at most.
#[derive(Clone, Debug)]
pub(super) struct Places {
    bits: [u64; Kind::COUNT],
    is_deep: bool,
}

impl Default for Places {
    fn default() -> Self {
        Self { bits: [0; Kind::COUNT], is_deep: false }
    }
}

impl Places {
    /// Sorts a packet's layers.
    #[inline]
    fn sort(&mut self, layers: &[Layer]) {
        self.bits = [0; Kind::COUNT];
        self.is_deep = layers.len() > 64;
        for (place, layer) in layers.iter().enumerate().take(64) {
            if let Some(bits) = self.bits.get_mut(layer.kind as usize) {
                *bits |= 1 << place;
            }
        }
    }

    /// Hands every layer of a kind over, outermost first.
    #[inline]
    fn each(&self, kind: Kind, layers: &[Layer], mut with: impl FnMut(Layer)) {
        if self.is_deep {
            return layers.iter().filter(|layer| layer.kind == kind).for_each(|layer| with(*layer));
        }
        let mut bits = self.bits.get(kind as usize).copied().unwrap_or(0);
        while bits != 0 {
            if let Some(layer) = layers.get(bits.trailing_zeros() as usize) {
                with(*layer);
            }
            bits &= bits - 1;
        }
    }
}

/// The row of names.
pub(super) fn head(fields: &[Field], out: &mut Buffer) {
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            out.byte(b',');
        }
        out.str(field.name);
    }
    out.byte(b'\n');
}

/// A packet's row. Several values of a field are joined by commas.
pub(super) fn row(
    fields: &[Field],
    columns: Columns,
    shown: &Shown<'_>,
    places: &mut Places,
    clock: &mut Clock,
    out: &mut Buffer,
) {
    let separator = if columns == Columns::Tabs { b'\t' } else { b',' };
    places.sort(shown.decoded.layers);
    for field in fields {
        match field.source {
            Source::Record(column) => value(column, shown, clock, out),
            Source::Epoch => shown.frame.time.into_iter().for_each(|time| epoch(time, out)),
            Source::Header(kind, part) => headers(kind, part, &shown.decoded, places, columns, out),
        }
        out.byte(separator);
    }
    out.replace_last(b'\n');
}

/// The values of a field of headers.
#[inline]
fn headers(kind: Kind, part: Part, decoded: &Decoded<'_>, places: &Places, columns: Columns, out: &mut Buffer) {
    let start = out.len();
    let mut count = 0;
    places.each(kind, decoded.layers, |layer| {
        let before = out.len();
        if count > 0 {
            out.byte(b',');
        }
        let bytes = decoded.bytes.get(layer.start as usize..).unwrap_or_default();
        match put(part, bytes, layer, out) {
            Some(()) => count += 1,
            None => out.cut(before),
        }
    });
    if count > 1 && columns == Columns::Commas {
        out.quote(start);
    }
}

/// Puts in the value that stands in a header; `None` where the header doesn't have it, or it was not captured.
#[inline]
fn put(part: Part, bytes: &[u8], layer: Layer, out: &mut Buffer) -> Option<()> {
    match part {
        Part::Ipv4(at) => out.ipv4(take(bytes, at)?),
        Part::U8(at) => out.number(take::<1>(bytes, at)?[0].into()),
        Part::U16(at) => out.number(u16::from_be_bytes(take(bytes, at)?).into()),
        Part::U24(at) => {
            let [a, b, c] = take(bytes, at)?;
            out.number(u32::from_be_bytes([0, a, b, c]));
        }
        Part::U32(at) => out.number(u32::from_be_bytes(take(bytes, at)?)),
        Part::Hex12(at) => hex(u16::from_be_bytes(take(bytes, at)?) & 0x0fff, out),
        Part::Hex16(at) => hex(u16::from_be_bytes(take(bytes, at)?), out),
        Part::DnsName => return dns_names(bytes, layer, out),
        other => return put_rare(other, bytes, layer, out),
    }
    Some(())
}

fn put_rare(part: Part, bytes: &[u8], layer: Layer, out: &mut Buffer) -> Option<()> {
    match part {
        Part::Bit(at, place) => out.number((take::<1>(bytes, at)?[0] >> place & 1).into()),
        Part::Hex8(at) => {
            let [octet] = take(bytes, at)?;
            out.words(b"0x");
            out.hex(octet);
        }
        Part::U12(at) => out.number((u16::from_be_bytes(take(bytes, at)?) & 0x0fff).into()),
        Part::U20(at) => {
            let [a, b, c] = take(bytes, at)?;
            out.number(u32::from_be_bytes([0, a, b, c]) >> 4);
        }
        Part::Ipv6(at) => out.ipv6(take(bytes, at)?),
        Part::Mac(at) => out.mac(MacAddr(take(bytes, at)?)),
        Part::EtherType(at) => {
            let number = u16::from_be_bytes(take(bytes, at)?);
            (number >= 0x600).then_some(())?;
            hex(number, out);
        }
        Part::Echo(at) => {
            matches!(bytes.first(), Some(0 | 8)).then_some(())?;
            out.number(u16::from_be_bytes(take(bytes, at)?).into());
        }
        Part::Payload => {
            // The header says where it ends.
            (layer.body - layer.start >= 20).then_some(())?;
            out.number(layer.carries());
        }
        Part::ArpIpv4(which) => out.ipv4(take(bytes, arp(bytes, which)? + arp_link(bytes)?)?),
        Part::ArpMac(which) => out.mac(MacAddr(take(bytes, arp(bytes, which)?)?)),
        Part::DnsType => return dns_types(bytes, layer, out),
        _ => return None,
    }
    Some(())
}

/// Where the addresses of ARP's sender or target begin, where they are of Ethernet and IPv4.
fn arp(bytes: &[u8], which: u8) -> Option<u8> {
    Some(8 + which * (arp_link(bytes)? + 4))
}

/// How long the link-layer addresses of an ARP packet are: six bytes, or it is not decoded.
fn arp_link(bytes: &[u8]) -> Option<u8> {
    matches!(bytes, [_, _, 0x08, 0x00, 6, 4, ..]).then_some(6)
}

#[inline]
fn take<const N: usize>(bytes: &[u8], at: u8) -> Option<[u8; N]> {
    bytes.get(usize::from(at)..)?.first_chunk().copied()
}

#[inline]
fn hex(number: u16, out: &mut Buffer) {
    out.words(b"0x");
    out.hex16(number);
}

/// How many of the bytes from a layer on are of its message.
fn message(layer: Layer, bytes: &[u8]) -> usize {
    (layer.end.saturating_sub(layer.start) as usize).min(bytes.len())
}

/// The names that a DNS message asks for.
fn dns_names(bytes: &[u8], layer: Layer, out: &mut Buffer) -> Option<()> {
    let mut names = Names::new(bytes.get(..message(layer, bytes)).unwrap_or(bytes));
    let mut count = 0;
    loop {
        let before = out.len();
        if count > 0 {
            out.byte(b',');
        }
        let start = out.len();
        let question = names.question(|part| {
            if out.len() > start {
                out.byte(b'.');
            }
            label(part, out);
        });
        if question.is_none() {
            out.cut(before);
            return (count > 0).then_some(());
        }
        if out.len() == start {
            out.words(b"<Root>");
        }
        count += 1;
    }
}

/// The types of record that a DNS message asks for.
fn dns_types(bytes: &[u8], layer: Layer, out: &mut Buffer) -> Option<()> {
    let mut names = Names::new(bytes.get(..message(layer, bytes)).unwrap_or(bytes));
    let mut count = 0;
    while let Some(kind) = names.question(|_| ()) {
        if count > 0 {
            out.byte(b',');
        }
        out.number(kind.into());
        count += 1;
    }
    (count > 0).then_some(())
}
