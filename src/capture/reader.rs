//! Reads a capture, packet after packet, within a window.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batch::{Batch, WINDOW};
use super::{Point, pcap, pcapng};
use crate::error::Error;
use crate::unpack::unpacked;
use crate::wire::LinkType;

/// A packet or block that says it is longer is taken for damaged: no capture has one, and what follows a damaged length
/// can't be found.
pub(super) const LONGEST: usize = 16 << 20;

/// So many bytes are held of captures that are read together, and of each at least so many.
const TOGETHER: usize = 4 << 20;
const LEAST: usize = 8 << 10;
/// So much is read at once of the file itself, to be unpacked.
const PACKED: usize = 16 << 10;

/// How many notes are kept.
const MOST_NOTES: usize = 100;

/// A capture that is read from its beginning to its end: pcap or pcapng, packed or not.
pub struct Reader {
    input: Box<dyn Read + Send>,
    format: Format,
    /// What was read beyond the last whole packet.
    carry: Vec<u8>,
    /// The offset of the next byte that is not looked at yet, as if the file was unpacked.
    offset: u64,
    number: u64,
    /// How many bytes are still to be passed over.
    skip: u64,
    /// How many bytes the next packet needs, where that is known.
    needed: usize,
    /// Whether what is carried may have whole packets, because the last batch had enough of them.
    has_more: bool,
    ended: bool,
    notes: Vec<String>,
    /// How many bytes are read at once.
    window: usize,
    points: Arc<Vec<Point>>,
    consumed: Arc<AtomicU64>,
}

enum Format {
    Pcap(pcap::Format),
    Pcapng(pcapng::read::Sections),
}

/// How far whole packets were found in some bytes, and why no further.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) to: usize,
    pub(super) lost: Lost,
}

/// Why no more packets were found.
#[derive(Debug)]
pub(super) enum Lost {
    /// The next one needs so many bytes.
    More(usize),
    /// Nothing: there are as many as a batch takes.
    Enough,
    /// A block of so many bytes has no packet; it is passed over.
    Pass(u64),
    /// It says that it has so many bytes.
    TooLong(u64),
    /// Something else that makes the rest unreadable.
    Broken(String),
}

impl Reader {
    /// Opens a file; `-` is the standard input. `file` is its place among the files that are read together. Fails where
    /// the file can't be read or is no capture.
    pub fn open(path: &Path, file: usize) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        if path == Path::new("-") {
            return Self::new(io::stdin(), file).map_err(|fault| fault.at(Path::new("standard input")));
        }
        let input = File::open(path).map_err(failed)?;
        if input.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        Self::new(input, file).map_err(|fault| fault.at(path))
    }

    /// Reads from anything. Fails where that can't be read or is no capture.
    pub fn new(input: impl Read + Send + 'static, file: usize) -> Result<Self, Fault> {
        let consumed = Arc::new(AtomicU64::new(0));
        let counted = Counted { input, count: Arc::clone(&consumed) };
        let mut input = unpacked(BufReader::with_capacity(PACKED, counted))?;
        let mut head = Vec::with_capacity(pcap::FILE_HEADER);
        let mut limited = (&mut input).take(pcap::FILE_HEADER as u64);
        // A packed stream that breaks off early still has its beginning.
        let broken = limited.read_to_end(&mut head).err();
        let (format, points) = match (pcap::Format::read(&head), head.first_chunk()) {
            (Some(format), _) if head.len() == pcap::FILE_HEADER => (Format::Pcap(format), vec![format.point(file)]),
            (_, Some(magic)) if pcapng::read::is_section(*magic) => {
                (Format::Pcapng(pcapng::read::Sections::new(file)), Vec::new())
            }
            _ => return Err(broken.map_or_else(|| Fault::not_one(&head), Fault::Io)),
        };
        let is_pcap = matches!(format, Format::Pcap(_));
        let (carry, offset) = if is_pcap { (Vec::new(), pcap::FILE_HEADER as u64) } else { (head, 0) };
        let points = Arc::new(points);
        Ok(Self {
            input,
            format,
            carry,
            offset,
            number: 0,
            skip: 0,
            needed: 0,
            has_more: false,
            ended: false,
            notes: Vec::new(),
            window: WINDOW,
            points,
            consumed,
        })
    }

    /// Reads less at once where so many captures are read together: each holds what it has read until its turn comes.
    pub(super) fn share(&mut self, captures: usize) {
        self.window = (TOGETHER / captures.max(1)).clamp(LEAST, WINDOW);
    }

    /// Fills a batch with the next packets; false at the end. What is wrong with the file ends it, and is noted.
    pub fn fill(&mut self, batch: &mut Batch) -> bool {
        batch.clear(self.number + 1);
        batch.begin(&self.carry, self.window);
        self.carry.clear();
        while batch.records.is_empty() && (!self.ended || self.skip > 0 || self.has_more) {
            self.pass_over(batch);
            let found = self.find(batch);
            self.settle(batch, found);
        }
        self.number += batch.records.len() as u64;
        if let Format::Pcapng(sections) = &mut self.format {
            sections.publish(&mut self.points);
            if !Arc::ptr_eq(&batch.names, &sections.names) {
                batch.names = Arc::clone(&sections.names);
            }
        }
        batch.points = Arc::clone(&self.points);
        !batch.records.is_empty()
    }

    /// Looks for packets in what is there, and reads once before where there may be none.
    fn find(&mut self, batch: &mut Batch) -> Found {
        if !self.has_more {
            self.read(batch);
        }
        let mut records = std::mem::take(&mut batch.records);
        let found = match &mut self.format {
            Format::Pcap(format) => format.find(batch.data(), &mut records),
            Format::Pcapng(sections) => sections.find(batch.data(), self.offset, &mut records),
        };
        batch.records = records;
        found
    }

    fn read(&mut self, batch: &mut Batch) {
        match read(&mut self.input, batch.room(self.window, self.needed)) {
            Ok(0) => self.ended = true,
            Ok(count) => batch.filled += count,
            Err(err) => {
                self.ended = true;
                self.note(format!("reading ends at byte {}: {err}", self.offset + batch.filled as u64));
            }
        }
    }

    /// Keeps what is left for the next batch, or for the next reading of this one.
    fn settle(&mut self, batch: &mut Batch, found: Found) {
        let left = batch.filled - found.to;
        self.has_more = matches!(found.lost, Lost::Enough);
        self.needed = if let Lost::More(needed) = found.lost { needed } else { 0 };
        match found.lost {
            Lost::More(_) if left == 0 => {}
            Lost::More(needed) if self.ended => self.note(format!(
                "the file ends within a packet or block: at byte {}, {left} of {needed} bytes are there",
                self.offset + found.to as u64
            )),
            Lost::More(_) | Lost::Enough => {}
            Lost::Pass(size) => self.skip = size,
            Lost::TooLong(size) => {
                let why = format!("a packet of {size} bytes is announced, more than any capture has");
                self.give_up(found.to, &why);
            }
            Lost::Broken(why) => self.give_up(found.to, &why),
        }
        if !batch.records.is_empty() {
            self.carry.extend_from_slice(batch.data().get(found.to..).unwrap_or_default());
        } else if found.to > 0 {
            batch.bytes.copy_within(found.to..batch.filled, 0);
            batch.filled = left;
        }
        self.offset += found.to as u64;
    }

    fn give_up(&mut self, at: usize, why: &str) {
        self.ended = true;
        self.note(format!("the rest can't be read, from byte {} on: {why}", self.offset + at as u64));
    }

    /// Passes over what has no packets.
    fn pass_over(&mut self, batch: &mut Batch) {
        if self.skip == 0 {
            return;
        }
        let here = usize::try_from(self.skip).unwrap_or(usize::MAX).min(batch.filled);
        batch.bytes.copy_within(here..batch.filled, 0);
        batch.filled -= here;
        let rest = self.skip - here as u64;
        let passed = io::copy(&mut (&mut self.input).take(rest), &mut io::sink()).unwrap_or(0);
        self.offset += here as u64 + passed;
        self.skip = 0;
        if passed < rest {
            self.ended = true;
            self.note(format!(
                "the file ends within a block: at byte {}, {} more are announced",
                self.offset,
                rest - passed
            ));
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(note);
        }
    }

    /// What was wrong with the file, since this was asked last.
    pub fn notes(&mut self) -> Vec<String> {
        if let Format::Pcapng(sections) = &mut self.format {
            let told = sections.notes();
            for note in told {
                self.note(note);
            }
        }
        std::mem::take(&mut self.notes)
    }

    /// The points described so far.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The link types of the points described so far.
    pub(super) fn link_types(&self) -> impl Iterator<Item = LinkType> {
        self.points.iter().map(|point| point.link_type)
    }

    /// How many bytes of the file have been read, packed as they are; it goes on counting while the reader is used.
    #[must_use]
    pub fn consumed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.consumed)
    }
}

/// Reads once, and again where a signal came in between.
fn read(input: &mut dyn Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(room) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Why something is no capture.
#[derive(Debug)]
pub enum Fault {
    /// It can't be read.
    Io(io::Error),
    /// It begins with something else.
    Other(String),
}

impl From<io::Error> for Fault {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

impl Fault {
    fn not_one(head: &[u8]) -> Self {
        Self::Other(match head {
            [] => "the file is empty".to_owned(),
            _ if head.len() < pcap::FILE_HEADER => {
                format!("the file has only {} bytes, less than a header", head.len())
            }
            _ => {
                let magic: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                format!("neither a pcap nor a pcapng file: it begins with {}", magic.join(" "))
            }
        })
    }

    /// The error that names the file.
    #[must_use]
    pub fn at(self, path: &Path) -> Error {
        match self {
            Self::Io(source) => Error::Io { path: path.to_owned(), source },
            Self::Other(what) => Error::Capture { path: path.to_owned(), what },
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
