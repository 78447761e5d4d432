//! DNS messages: what is asked, and what is answered.

use super::Buffer;
use super::name::{dns_response, dns_type};
use super::text::label;
use crate::wire::{DnsHeader, Layer, Names, Record, Records};

/// So many records of an answer are shown in a line.
const MOST_SHOWN: usize = 4;

/// Types of records.
const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const MX: u16 = 15;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// The bytes from a layer on that are of its message.
pub(super) fn message(layer: Layer, bytes: &[u8]) -> &[u8] {
    bytes.get(..layer.end.saturating_sub(layer.start) as usize).unwrap_or(bytes)
}

/// What a message asks, how its answer went, and what it says.
pub(super) fn dns(bytes: &[u8], layer: Layer, out: &mut Buffer) {
    let message = message(layer, bytes.get(layer.start as usize..).unwrap_or_default());
    let Some(header) = DnsHeader::read(message) else { return };
    let [_, answers, ..] = header.counts;
    out.words(b"0x");
    out.hex16(header.id);
    if header.is_answer() {
        out.byte(b' ');
        match dns_response(header.flags & 15) {
            Some(word) => out.str(word),
            None => out.format(format_args!("response {}", header.flags & 15)),
        }
        out.format(format_args!(" {answers} answer{}", if answers == 1 { "" } else { "s" }));
    }
    question(message, out);
    answered(message, usize::from(answers), out);
}

/// The first question.
fn question(message: &[u8], out: &mut Buffer) {
    let mut name = Buffer::default();
    let asked = Names::new(message).question(|part| next_label(part, 0, &mut name));
    let Some(asked) = asked else { return };
    out.byte(b' ');
    kind(asked, out);
    out.words(b"? ");
    out.bytes(if name.is_empty() { b"." } else { name.text() });
}

/// The first records of so many that answer.
fn answered(message: &[u8], count: usize, out: &mut Buffer) {
    let mut shown = 0;
    for record in Records::new(message).take(count.min(MOST_SHOWN)) {
        out.words(if shown == 0 { b": " } else { b", " });
        kind(record.kind, out);
        let before = out.len();
        out.byte(b' ');
        if value(&record, out).is_none() {
            out.cut(before);
        }
        shown += 1;
    }
    match count - shown {
        0 => {}
        left if shown == MOST_SHOWN => out.format(format_args!(" and {left} more")),
        left => out.format(format_args!("{} {left} that can't be read", if shown == 0 { ":" } else { " and" })),
    }
}

/// A type of records.
fn kind(number: u16, out: &mut Buffer) {
    match dns_type(number) {
        Some(word) => out.str(word),
        None => out.format(format_args!("type {number}")),
    }
}

/// What a record says, of the types that people look for; `None` for others, and where it can't be read.
fn value(record: &Record<'_>, out: &mut Buffer) -> Option<()> {
    match (record.kind, record.data) {
        (A, data) => out.ipv4(data.try_into().ok()?),
        (AAAA, data) => out.ipv6(data.try_into().ok()?),
        (NS | CNAME | PTR, _) => return name(record, 0, out),
        (MX, [p1, p2, ..]) => {
            out.number(u16::from_be_bytes([*p1, *p2]).into());
            out.byte(b' ');
            return name(record, 2, out);
        }
        (SRV, [p1, p2, w1, w2, t1, t2, ..]) => {
            for number in [[*p1, *p2], [*w1, *w2], [*t1, *t2]] {
                out.number(u16::from_be_bytes(number).into());
                out.byte(b' ');
            }
            return name(record, 6, out);
        }
        _ => return None,
    }
    Some(())
}

/// The name that stands so far behind the beginning of a record's data.
fn name(record: &Record<'_>, behind: usize, out: &mut Buffer) -> Option<()> {
    let start = out.len();
    record.name(behind, |part| next_label(part, start, out))?;
    if out.len() == start {
        out.byte(b'.');
    }
    Some(())
}

/// The next label of a name that begins at a place of the text.
fn next_label(part: &[u8], start: usize, out: &mut Buffer) {
    if out.len() > start {
        out.byte(b'.');
    }
    label(part, out);
}

/// The field of the names that a message asks for.
pub(super) fn names(message: &[u8], out: &mut Buffer) -> Option<()> {
    let mut names = Names::new(message);
    let mut count = 0;
    loop {
        let before = out.len();
        if count > 0 {
            out.byte(b',');
        }
        let start = out.len();
        // As tshark, which wants the class, too.
        if names.question(|part| next_label(part, start, out)).is_none() || !names.is_there() {
            out.cut(before);
            return (count > 0).then_some(());
        }
        if out.len() == start {
            out.words(b"<Root>");
        }
        count += 1;
    }
}

/// The field of the types of record that a message asks for.
pub(super) fn types(message: &[u8], out: &mut Buffer) -> Option<()> {
    let mut names = Names::new(message);
    let mut count = 0;
    while let Some(kind) = names.question(|_| ()).filter(|_| names.is_there()) {
        if count > 0 {
            out.byte(b',');
        }
        out.number(kind.into());
        count += 1;
    }
    (count > 0).then_some(())
}

/// The field of what all records of a type say.
pub(super) fn data(message: &[u8], kind: u16, out: &mut Buffer) -> Option<()> {
    let mut count = 0;
    for record in Records::new(message).filter(|record| record.kind == kind) {
        let before = out.len();
        if count > 0 {
            out.byte(b',');
        }
        match value(&record, out) {
            Some(()) => count += 1,
            None => out.cut(before),
        }
    }
    (count > 0).then_some(())
}
