//! A capture's packets, each with its point and what it is in its conversation.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::capture;
use crate::capture::batch::Batch;
use crate::capture::reader::Reader;
use crate::error::Error;
use crate::net::{Packet, Transport};
use crate::retrace::{Atlas, Captured, Flows, Gathered, Pieces, Point, Standing};
use crate::snapshot::Snapshot;
use crate::trace::Way;
use crate::wire::{Dissector, Frame, Held, Unheld};

use super::super::decode::run::Progress;
use super::super::{output, point, ports};

/// A packet that can be walked.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// Its place in the file, from 1.
    pub number: u64,
    pub point: Point,
    pub captured: Captured,
    pub standing: Standing,
    pub notes: Vec<String>,
    /// Whether, of a packet in a tunnel, the inner one came in parts.
    is_inner_piece: bool,
}

/// A capture that is read from its beginning to its end.
pub(super) struct Reading<'s> {
    snapshot: &'s Snapshot,
    atlas: &'s Atlas<'s>,
    file: PathBuf,
    at: Option<String>,
    reader: Reader,
    dissector: Dissector,
    /// The points of interfaces, and of their devices where they stand for all, as far as packets have named them.
    points: HashMap<(u32, Option<u32>), Result<Point, String>>,
    flows: HashMap<Point, Flows>,
    pieces: Pieces<Subject>,
    /// How many packets were not walked, by what they are.
    pub left_out: BTreeMap<String, u64>,
    /// How many packets there are.
    pub packets: u64,
    /// How many of them can be walked.
    pub walked: u64,
}

/// What came of a packet.
enum Read {
    Subject(Box<Subject>),
    /// It waits for its last part.
    Waits,
    /// It is none that can be walked: what it is.
    LeftOut(String),
}

impl<'s> Reading<'s> {
    /// Opens a capture of a point of the snapshot. Fails where it is none, or where `--at` names no device.
    pub(super) fn open(
        file: &Path,
        at: Option<&str>,
        snapshot: &'s Snapshot,
        atlas: &'s Atlas<'s>,
    ) -> Result<Self, Error> {
        if let Some(at) = at.filter(|at| at.contains('/')) {
            point::at(at, snapshot)?;
        }
        Ok(Self {
            snapshot,
            atlas,
            file: file.to_owned(),
            at: at.map(str::to_owned),
            reader: Reader::open(file, 0)?,
            dissector: Dissector::new(ports::of_snapshot(snapshot)),
            points: HashMap::new(),
            flows: HashMap::new(),
            pieces: Pieces::default(),
            left_out: BTreeMap::new(),
            packets: 0,
            walked: 0,
        })
    }

    /// How far the reading is.
    pub(super) fn progress(&self) -> Progress {
        Progress::new(std::slice::from_ref(&self.file), vec![self.reader.consumed()])
    }

    /// Hands every packet that can be walked to somebody. `progress` tells how far it is.
    pub(super) fn each(
        &mut self,
        mut progress: Progress,
        mut hear: impl FnMut(Subject) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut batch = Batch::default();
        while self.reader.fill(&mut batch) {
            progress.tell();
            for place in 0..batch.len() {
                let Some(frame) = batch.frame(place) else { continue };
                self.packets += 1;
                match self.read(&frame, &batch, place) {
                    Read::Subject(subject) => {
                        self.walked += 1;
                        hear(*subject)?;
                    }
                    Read::Waits => {}
                    Read::LeftOut(what) => *self.left_out.entry(what).or_default() += 1,
                }
            }
        }
        while let Some(gathered) = self.pieces.take_next() {
            self.walked += 1;
            hear(whole(gathered))?;
        }
        output::progress("");
        Ok(())
    }

    /// Reads up to a packet, which is the one that is asked about.
    pub(super) fn find(&mut self, number: u64) -> Result<Subject, Error> {
        let wrong = |file: &Path, what: &str| Error::Usage(format!("{}#{number}: {what}", file.display()));
        let mut batch = Batch::default();
        while self.reader.fill(&mut batch) {
            for place in 0..batch.len() {
                let Some(frame) = batch.frame(place) else { continue };
                self.packets += 1;
                match self.read(&frame, &batch, place) {
                    Read::Subject(subject) if subject.number == number => {
                        self.walked += 1;
                        return Ok(*subject);
                    }
                    Read::LeftOut(what) if frame.number == number => {
                        return Err(wrong(&self.file, &format!("it is not walked: {what}")));
                    }
                    _ => {}
                }
            }
        }
        while let Some(gathered) = self.pieces.take_next() {
            if gathered.first.number == number {
                self.walked += 1;
                return Ok(whole(gathered));
            }
        }
        let count = self.packets;
        Err(wrong(&self.file, &format!("the capture has {}", counted(count, "packet"))))
    }

    fn read(&mut self, frame: &Frame<'_>, batch: &Batch, place: usize) -> Read {
        let point = match self.point(frame, batch) {
            Ok(point) => point,
            Err(what) => return Read::LeftOut(what),
        };
        let decoded = self.dissector.decode(frame.link_type, frame.bytes, frame.length);
        let told = point::way(batch, place)
            .or_else(|| decoded.is_outgoing().map(|is_outgoing| if is_outgoing { Way::Out } else { Way::In }));
        let held = match decoded.packet() {
            Ok(held) => held,
            Err(Unheld::LaterPiece(source, destination, piece)) => {
                let gathered = self.pieces.add(frame.interface, (source, destination), piece, None);
                return gathered.map_or(Read::Waits, |gathered| Read::Subject(Box::new(whole(gathered))));
            }
            Err(unheld) => return Read::LeftOut(unheld.to_string()),
        };
        if let Some(what) = not_walked(held.packet.innermost()) {
            return Read::LeftOut(what.to_owned());
        }
        self.subject(frame, point, held, told)
    }

    fn subject(&mut self, frame: &Frame<'_>, point: Point, held: Held, told: Option<Way>) -> Read {
        let piece = held.piece;
        let (captured, notes) = self.atlas.captured(&point, held, told, frame.time.map(|time| time.seconds));
        let standing = self.flows.entry(point.clone()).or_default().note(captured.packet.innermost());
        let is_inner_piece = piece.is_some_and(|piece| piece.is_inner);
        let subject = Subject { number: frame.number, point, captured, standing, notes, is_inner_piece };
        let Some(piece) = piece else { return Read::Subject(Box::new(subject)) };
        let packet = if piece.is_inner { subject.captured.packet.innermost() } else { &subject.captured.packet };
        let ends = (packet.ip.source, packet.ip.destination);
        match self.pieces.add(frame.interface, ends, piece, Some(subject)) {
            Some(gathered) => Read::Subject(Box::new(whole(gathered))),
            None => Read::Waits,
        }
    }

    /// Where a packet was captured.
    fn point(&mut self, frame: &Frame<'_>, batch: &Batch) -> Result<Point, String> {
        let interface = frame.interface;
        let key = (interface, point::device_index(frame));
        if let Some(known) = self.points.get(&key) {
            return known.clone();
        }
        let described = usize::try_from(interface).ok().and_then(|place| batch.points().get(place)).cloned();
        let described = described.unwrap_or(capture::Point {
            file: 0,
            name: None,
            description: None,
            label: None,
            filter: None,
            link_type: crate::wire::LinkType::NULL,
            snap_length: 0,
        });
        let several = batch.points().iter().filter(|point| point.name.is_some()).count() > 1;
        let is_named =
            |at: &str, name: &str| if name.contains('/') { name == at } else { at.rsplit('/').next() == Some(name) };
        let found = match (self.at.as_deref(), described.name.as_deref()) {
            // Of several devices in one file the one that was named.
            (Some(at), Some(name)) if several && at.contains('/') && !is_named(at, name) => {
                Err(format!("captured on {name}"))
            }
            _ => point::of_interface(self.at.as_deref(), &self.file, &described, self.snapshot)
                .map_err(|err| err.to_string())
                .and_then(|found| point::one_of_all(found, key.1, self.snapshot)),
        };
        self.points.insert(key, found.clone());
        found
    }

    /// What was wrong with the file.
    pub(super) fn notes(&mut self) -> Vec<String> {
        self.reader.notes()
    }

    /// A capture of which nothing can be walked is none to ask about.
    pub(super) fn refuse_empty(&self, file: &Path) -> Result<(), Error> {
        if self.walked > 0 {
            return Ok(());
        }
        let faults: BTreeSet<&String> = self.points.values().filter_map(|point| point.as_ref().err()).collect();
        if let (1, Some(what)) = (faults.len(), faults.first()) {
            return Err(Error::Usage((*what).clone()));
        }
        let hint = match &self.at {
            Some(at) if faults.len() > 1 && at.contains('/') => {
                "; of its devices --at names the one, and --at NODE takes each by its own name"
            }
            _ => "",
        };
        let what = match self.packets {
            0 => "it has no packets".to_owned(),
            _ => format!("none of its packets can be walked: {}{hint}", listed(&self.left_out)),
        };
        Err(Error::Capture { path: file.to_owned(), what })
    }
}

/// `1 packet`, `2 packets`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What was left out, and how much of it.
pub(super) fn listed(left_out: &BTreeMap<String, u64>) -> String {
    let each = left_out.iter().map(|(what, count)| format!("{count} {what}"));
    each.collect::<Vec<_>>().join(", ")
}

/// A packet whose parts have all been seen that will be.
fn whole(gathered: Gathered<Subject>) -> Subject {
    let mut packet = gathered.first.captured.packet.clone();
    gathered.apply(&mut packet, gathered.first.is_inner_piece);
    let total = gathered.total;
    let mut subject = gathered.first;
    subject.captured.packet = packet;
    if total.is_none() {
        subject.notes.push("its last fragment was not captured: how long the whole is, is not known".to_owned());
    }
    subject
}

/// What the walk doesn't follow.
pub(in crate::cli) fn not_walked(packet: &Packet) -> Option<&'static str> {
    let v6 = packet.ip.destination.is_ipv6();
    match packet.transport {
        _ if packet.ip.destination.is_multicast() => Some("multicast"),
        _ if packet.ip.destination == std::net::IpAddr::from([255; 4]) => Some("broadcast"),
        _ if packet.ip.source.is_unspecified() => Some("without a source address"),
        Transport::Icmp { kind: 133..=137, .. } if v6 => Some("neighbour discovery"),
        _ => None,
    }
}
