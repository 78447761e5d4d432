//! The packets themselves, as a pcapng file.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::plan::{Inside, innermost};
use crate::capture::Point;
use crate::capture::pcapng::{Copied, Options, Writer};
use crate::render::decode::{Shown, comments};
use crate::wire::LinkType;

/// So many addresses are remembered that have their names in the file.
const MOST_NAMED: usize = 65_536;

/// Writes packets of captures into another one, a piece at a time.
pub(super) struct Packets {
    writer: Writer<Vec<u8>>,
    decapsulate: bool,
    annotate: bool,
    /// The interfaces described so far, by the point and what its packets begin with.
    interfaces: HashMap<(u32, LinkType), u32>,
    /// Addresses whose names the file holds.
    named: HashSet<IpAddr>,
    /// Packets of which the file can't hold when they were seen.
    timeless: u64,
    /// Packets of interfaces that are not described.
    left_out: u64,
    /// Fragments that still wait for others.
    waiting: u64,
}

impl Packets {
    pub(super) fn new(decapsulate: bool, annotate: bool) -> Self {
        Self {
            writer: Writer::in_memory(),
            decapsulate,
            annotate,
            interfaces: HashMap::new(),
            named: HashSet::new(),
            timeless: 0,
            left_out: 0,
            waiting: 0,
        }
    }

    /// Whether the innermost frames are written.
    pub(super) fn decapsulates(&self) -> bool {
        self.decapsulate
    }

    /// A fragment waits for others, and is left out: the whole packet will be written.
    pub(super) fn waits(&mut self) {
        self.waiting += 1;
    }

    /// So many fragments are a whole packet.
    pub(super) fn is_whole(&mut self, fragments: usize) {
        self.waiting = self.waiting.saturating_sub(fragments as u64 - 1);
    }

    /// Says what an address is called, once.
    pub(super) fn name(&mut self, address: IpAddr, name: &str) {
        if self.named.len() < MOST_NAMED && self.named.insert(address) {
            // Memory takes whatever is written.
            let _ = self.writer.name(address, name);
        }
    }

    /// Writes a packet, with what its capture says of it.
    pub(super) fn packet(&mut self, shown: &Shown<'_>, options: Options<'_>, points: &[Point]) {
        let frame = shown.frame;
        let Some(point) = points.get(frame.interface as usize) else {
            self.left_out += 1;
            return;
        };
        let inside = innermost(shown.decoded).filter(|_| self.decapsulate);
        let is_whole = shown.fragments.is_some_and(|numbers| !numbers.is_empty());
        let is_same = inside.is_none() && !is_whole;
        let bytes = shown.decoded.bytes;
        let length = if is_whole { u32::try_from(bytes.len()).unwrap_or(u32::MAX) } else { frame.length };
        let whole = Inside { link_type: frame.link_type, bytes, length };
        let Inside { link_type, bytes, length } = inside.unwrap_or(whole);
        // What was before 1970 has a time, though none that can be written.
        let held = frame.time.map(|time| u64::try_from(time.since_epoch()).ok());
        let time = held.map(|held| held.unwrap_or(0));
        let comments = if self.annotate { comments(shown) } else { Vec::new() };
        let interface = self.interface(frame.interface, link_type, point, shown);
        let copied = Copied { interface, time, length, bytes, options, is_same, comments: &comments };
        // Memory takes whatever is written.
        let has_its_time = self.writer.copy(&copied).unwrap_or(true);
        self.timeless += u64::from(!has_its_time || held == Some(None));
    }

    /// The place of an interface in the file, described where it is not yet.
    fn interface(&mut self, place: u32, link_type: LinkType, point: &Point, shown: &Shown<'_>) -> u32 {
        if let Some(known) = self.interfaces.get(&(place, link_type)) {
            return *known;
        }
        // One without a name is called as what is known of it.
        let told = shown.told.and_then(|told| told.point).or(shown.interface);
        let name = point.name.clone().or_else(|| told.map(str::to_owned));
        let filter = point.filter.clone().filter(|_| link_type == point.link_type);
        let described = Point { name, filter, link_type, ..point.clone() };
        let known = self.writer.interface(&described).unwrap_or(0);
        self.interfaces.insert((place, link_type), known);
        known
    }

    /// Ends the file: one without packets has the interfaces that there are, too, since some programs take none without any.
    pub(super) fn finish(&mut self, points: &[Point], out: &mut Vec<u8>) {
        if self.interfaces.is_empty() {
            for point in points {
                // Memory takes whatever is written.
                let _ = self.writer.interface(point);
            }
        }
        self.take(out);
    }

    /// What was written since this was asked last.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) {
        out.clear();
        std::mem::swap(self.writer.get_mut(), out);
    }

    /// What the file does not hold.
    pub(super) fn notes(&self) -> Vec<String> {
        let counted = |count: u64, what: &str| match count {
            0 => None,
            1 => Some(format!("1 packet {what}")),
            count => Some(format!("{count} packets {what}")),
        };
        let timeless = counted(self.timeless, "without a time that pcapng can hold: the file says 1970");
        let left_out = counted(self.left_out, "of an interface that is not described, and not written");
        let waiting = counted(self.waiting, "with a fragment of what never came whole, and not written");
        timeless.into_iter().chain(left_out).chain(waiting).collect()
    }
}
