//! What is known of a packet beside its own bytes: names of its addresses, and where on its path it was captured.

use std::collections::HashMap;
use std::net::IpAddr;

use super::text::{json_string, text_value};
use super::{Buffer, Columns, Shown};
use crate::render::{Charset, clean};
use crate::trace::{Role, Way};
use crate::wire::{Checked, Checksum, Kind};

/// So many addresses are remembered.
const MOST: usize = 65_536;

/// Names of addresses, as far as they were asked for.
#[derive(Clone, Debug, Default)]
pub struct AddressNames {
    /// `None` for addresses that nobody has.
    known: HashMap<IpAddr, Option<Box<str>>>,
}

impl AddressNames {
    /// Learns an address, where it is not known yet.
    pub fn learn(&mut self, address: IpAddr, find: impl FnOnce(IpAddr) -> Option<String>) {
        if self.known.contains_key(&address) {
            return;
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let name = find(address).map(|name| clean(&name, Charset::Unicode).into());
        self.known.insert(address, name);
    }

    /// Who has an address, of those that were learnt.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<&str> {
        self.known.get(&address)?.as_deref()
    }
}

/// What a snapshot tells of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Who has its addresses.
    pub names: &'a AddressNames,
    /// Where it was captured: `n1/eth0`, or `n1/default_pod1/eth0`; `None` where nothing says it.
    pub point: Option<&'a str>,
    /// Which part of its path that is; `None` where it has none that is walked.
    pub leg: Option<&'a PathLeg>,
}

/// The part of a packet's path at which it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathLeg {
    /// Which way it passed the device, where that is known.
    pub way: Option<Way>,
    /// What it is in its conversation.
    pub role: Role,
    /// Who sent what it belongs to, as `explain` calls it.
    pub from: String,
    /// What that was sent to.
    pub to: String,
    /// The devices that it passes, in their order: of the way on which it was seen. Empty where no path of the snapshot
    /// leads it past the point.
    pub hops: Vec<String>,
    /// The place of the point among them, from 1.
    pub hop: usize,
    /// How many ways fit. The others are not told.
    pub ways: usize,
    /// How that way ends.
    pub verdict: &'static str,
    /// In what it contradicts the snapshot.
    pub odd: Vec<String>,
}

impl PathLeg {
    /// The leg in words: `out, hop 5 of 10 of default/pod1 > shop/web-0, delivered`.
    #[must_use]
    pub fn words(&self) -> String {
        let way = self.way.map_or(String::new(), |way| format!("{}, ", way.as_str()));
        if self.hops.is_empty() {
            return format!("{way}on no way that is predicted; from here on {}", self.verdict);
        }
        let of = match self.role {
            Role::Original => "",
            Role::Reply => "the reply to ",
            Role::Error => "the error about ",
        };
        let others = match self.ways {
            0 | 1 => String::new(),
            ways => format!(" (the first of {ways} ways that fit)"),
        };
        let (from, to, verdict) = (&self.from, &self.to, self.verdict);
        format!("{way}hop {} of {} of {of}{from} > {to}, {verdict}{others}", self.hop, self.hops.len())
    }

    /// Every device of the way, the one where it was captured in brackets.
    fn path(&self) -> Option<String> {
        let hops = self.hops.iter().zip(1..);
        let hops: Vec<String> =
            hops.map(|(hop, place)| if place == self.hop { format!("[{hop}]") } else { hop.clone() }).collect();
        (!hops.is_empty()).then(|| hops.join(" > "))
    }
}

/// The name of an address, with a blank behind it, where it has one.
pub(super) fn name(shown: &Shown<'_>, address: Option<IpAddr>, out: &mut Buffer) {
    let name = shown.told.zip(address).and_then(|(told, address)| told.names.get(address));
    if let Some(name) = name {
        out.str(name);
        out.byte(b' ');
    }
}

/// What stands behind a packet's line.
pub(super) fn behind(shown: &Shown<'_>, out: &mut Buffer) {
    for problem in problems(shown) {
        out.words(b"  ! ");
        out.str(&problem);
    }
    if let Some(point) = shown.told.and_then(|told| told.point) {
        out.words(b"  @ ");
        out.str(&clean(point, Charset::Unicode));
    }
    if let Some(leg) = shown.told.and_then(|told| told.leg) {
        out.byte(b' ');
        out.str(&clean(&leg.words(), Charset::Unicode));
        for odd in &leg.odd {
            out.words(b"  ! odd: ");
            out.str(&clean(odd, Charset::Unicode));
        }
    }
    for remark in remarks(shown) {
        out.words(b"  # ");
        out.str(&remark);
    }
}

/// What stands in the packet's tree, line by line: a word, and what there is to say.
pub(super) fn lines(shown: &Shown<'_>) -> Vec<(&'static str, String)> {
    let mut lines: Vec<(&'static str, String)> = remarks(shown).map(|remark| ("remark", remark)).collect();
    let Some(told) = shown.told else { return lines };
    let point = told.point.unwrap_or("captured at a point that is not known");
    match told.leg {
        Some(leg) => {
            lines.push(("at", format!("{point}, {}", leg.words())));
            lines.extend(leg.path().map(|path| ("path", path)));
            lines.extend(leg.odd.iter().map(|odd| ("odd", odd.clone())));
        }
        None => lines.push(("at", point.to_owned())),
    }
    lines.into_iter().map(|(word, text)| (word, clean(&text, Charset::Unicode))).collect()
}

/// What is said of the packet beside, and of what it was put together.
fn remarks<'a>(shown: &'a Shown<'_>) -> impl Iterator<Item = String> + 'a {
    let whole = shown.fragments.filter(|fragments| !fragments.is_empty()).map(|fragments| {
        let numbers: Vec<String> = fragments.iter().map(ToString::to_string).collect();
        format!("put together from packets {}", numbers.join(", "))
    });
    let given = shown.remarks.iter().map(|remark| clean(remark, Charset::Unicode));
    let left = left_to_the_device(shown.checksums.unwrap_or_default());
    given.chain(whole).chain(left)
}

/// Checksums that are wrong.
pub(super) fn problems<'a>(shown: &'a Shown<'_>) -> impl Iterator<Item = String> + 'a {
    shown.checksums.unwrap_or_default().iter().filter_map(|checked| match checked.checksum {
        Checksum::Bad { found, wanted } => {
            let (start, name, digits) = (checked.layer.start, checked.layer.kind.name(), digits(checked));
            Some(format!("byte {start}: {name} checksum {found:#0digits$x} is wrong, {wanted:#0digits$x} is right"))
        }
        _ => None,
    })
}

/// How many characters a checksum has with `0x` before it: SCTP's has four bytes, the others two.
pub(super) fn digits(checked: &Checked) -> usize {
    if checked.layer.kind == Kind::Sctp { 10 } else { 6 }
}

fn left_to_the_device(checksums: &[Checked]) -> Option<String> {
    let left = checksums.iter().filter(|checked| checked.checksum == Checksum::Offloaded);
    let names: Vec<&str> = left.map(|checked| checked.layer.kind.name()).collect();
    (!names.is_empty()).then(|| format!("{} checksum left to the device", names.join(" and ")))
}

/// What a packet is, and what is known of it, as comments on it.
#[must_use]
pub fn comments(shown: &Shown<'_>) -> Vec<String> {
    let mut packet = Buffer::default();
    super::line::packets(shown, &mut packet);
    let mut comments = vec![String::from_utf8_lossy(packet.text()).into_owned()];
    let own = Shown { remarks: &[], ..*shown };
    comments.extend(lines(&own).into_iter().map(|(word, text)| match word {
        "remark" => text,
        word => format!("{word}: {text}"),
    }));
    comments.extend(problems(shown));
    comments.extend(shown.decoded.flaw.map(|flaw| format!("byte {}: {}", flaw.offset, flaw.reason)));
    comments
}

/// The part of a record that only a snapshot can tell.
pub(super) fn json(told: &Told<'_>, out: &mut Buffer) {
    let text = |key: &str, value: Option<&str>, out: &mut Buffer| {
        out.format(format_args!(",\"{key}\":"));
        match value {
            Some(value) => json_string(value, out),
            None => out.words(b"null"),
        }
    };
    let leg = told.leg;
    let placed = leg.filter(|leg| !leg.hops.is_empty());
    text("point", told.point, out);
    text("way", leg.and_then(|leg| leg.way).map(Way::as_str), out);
    text("role", leg.map(|leg| leg.role.as_str()), out);
    text("path_from", placed.map(|leg| leg.from.as_str()), out);
    text("path_to", placed.map(|leg| leg.to.as_str()), out);
    let number = |key: &str, value: Option<usize>, out: &mut Buffer| match value {
        Some(value) => out.format(format_args!(",\"{key}\":{value}")),
        None => out.format(format_args!(",\"{key}\":null")),
    };
    number("hop", placed.map(|leg| leg.hop), out);
    number("hops", placed.map(|leg| leg.hops.len()), out);
    number("ways", placed.map(|leg| leg.ways), out);
    text("verdict", leg.map(|leg| leg.verdict), out);
    out.words(b",\"odd\":[");
    for (place, odd) in leg.iter().flat_map(|leg| &leg.odd).enumerate() {
        out.str(if place > 0 { "," } else { "" });
        json_string(odd, out);
    }
    out.byte(b']');
}

/// What a snapshot tells, as columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tale {
    Point,
    Way,
    Role,
    From,
    To,
    Hop,
    Hops,
    Ways,
    Verdict,
    Odd,
}

/// What stands in a column; nothing where it is not known.
pub(super) fn value(tale: Tale, told: &Told<'_>, columns: Columns, out: &mut Buffer) {
    if tale == Tale::Point {
        return text_value(told.point.unwrap_or_default(), columns, out);
    }
    let Some(leg) = told.leg else { return };
    let is_placed = !leg.hops.is_empty();
    match tale {
        Tale::Way => out.str(leg.way.map_or("", Way::as_str)),
        Tale::Role => out.str(leg.role.as_str()),
        Tale::Verdict => out.str(leg.verdict),
        Tale::Odd => text_value(&leg.odd.join("; "), columns, out),
        Tale::From if is_placed => text_value(&leg.from, columns, out),
        Tale::To if is_placed => text_value(&leg.to, columns, out),
        Tale::Hop if is_placed => out.large(leg.hop as u64),
        Tale::Hops if is_placed => out.large(leg.hops.len() as u64),
        Tale::Ways if is_placed => out.large(leg.ways as u64),
        _ => {}
    }
}
