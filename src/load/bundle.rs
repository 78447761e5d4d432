//! Archives: tar, tar.gz and tar.zst, recognised by their content.
//!
//! An archive comes from anybody. Every entry that could name something outside itself is refused and named, and
//! what it may unpack to is bounded, however well it is packed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::evidence::Text;

use super::bytes::Bytes;
use super::{foreign, layout};
use crate::unpack::{Packing, Zstd};

/// What is read at most, however well it is packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many bytes an archive or a folder may hold, unpacked.
    pub(super) total: u64,
    /// How many bytes one file may have; a larger one is refused, and the others are read.
    pub(super) file: u64,
    /// How many entries an archive may have.
    pub(super) entries: u32,
}

/// No snapshot comes near these.
pub(super) const LIMITS: Limits = Limits { total: 2 << 30, file: 512 << 20, entries: 1_000_000 };

/// Why a file is refused that is over the limit.
pub(super) const TOO_LARGE: &str = "is larger than 512 MiB, and was not read";

/// What a tar archive is made of.
const BLOCK: usize = 512;

/// How long a name or an extended header may be.
const NAME_LIMIT: u64 = 64 << 10;

/// The files of an archive that can belong to a snapshot, by their whole path.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// The files' contents.
    pub(super) files: BTreeMap<String, Content>,
    /// The files that other collectors write, by their whole path.
    pub(super) foreign: BTreeMap<String, Content>,
    /// The namespaces' folders that have entries of their own.
    pub(super) folders: Vec<String>,
    /// The entries that were refused, and why.
    pub(super) refused: Vec<Refused>,
    /// The archive lacks the empty blocks at its end, so that entries may be missing.
    pub(super) unfinished: bool,
}

/// An entry that was not read.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its path as written.
    pub(super) path: String,
    /// What is wrong with it.
    pub(super) why: &'static str,
    /// Whether it is refused wherever it stands; otherwise only where the snapshot would have read it.
    pub(super) everywhere: bool,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// UTF-8.
    Text(Text),
    /// Text but for some bytes, which were replaced.
    Lossy(Text),
    /// NUL bytes, which no tool prints: the first line that has one.
    Binary(u32),
}

impl Content {
    /// The text in what was read. A byte order mark at its start is none of it.
    pub(super) fn of(bytes: Bytes) -> Self {
        if let Some(nul) = memchr::memchr(0, &bytes) {
            let before = memchr::memchr_iter(b'\n', bytes.get(..nul).unwrap_or_default()).count();
            return Self::Binary(u32::try_from(before + 1).unwrap_or(u32::MAX));
        }
        let start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let text = match bytes {
            Bytes::Heap(mut bytes) => {
                bytes.drain(..start);
                let lossy = |bytes: &[u8]| Text::from(String::from_utf8_lossy(bytes).into_owned());
                String::from_utf8(bytes).map(Text::from).map_err(|err| lossy(err.as_bytes()))
            }
            Bytes::Pages(pages, len) => Text::from_pages(pages, start..len),
        };
        text.map_or_else(Self::Lossy, Self::Text)
    }
}

/// Unpacks an archive. The error says what is wrong with it.
pub(super) fn read(mut input: impl BufRead, limits: Limits) -> Result<Bundle, String> {
    let head = peek(&mut input, BLOCK as u64).map_err(|err| err.to_string())?;
    let input = io::Cursor::new(head.clone()).chain(input);
    match Packing::of(&head) {
        Some(Packing::Gzip) => unpack(MultiGzDecoder::new(input), limits),
        Some(Packing::Zstd) => unpack(Zstd::new(input), limits),
        None if is_tar(&head) => unpack(input, limits),
        None => Err("neither a folder nor a tar, tar.gz or tar.zst archive".to_owned()),
    }
}

fn peek(input: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(len).read_to_end(&mut head)?;
    Ok(head)
}

/// The header's checksum is the one mark that every tar format has.
fn is_tar(head: &[u8]) -> bool {
    let (Some(block), Some(stored)) = (head.get(..512), head.get(148..156)) else { return false };
    if block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let digits: String = stored.iter().map(|byte| char::from(*byte)).filter(|c| c.is_digit(8)).collect();
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = stored.iter().map(|byte| u32::from(*byte)).sum();
    u32::from_str_radix(&digits, 8) == Ok(sum - own + 8 * u32::from(b' '))
}

fn unpack(reader: impl Read, limits: Limits) -> Result<Bundle, String> {
    let mut archive = Archive::new(Bounded { inner: reader, left: limits.total, limit: limits.total, zeros: 0 });
    let mut bundle = Bundle::default();
    let mut last = String::new();
    read_entries(&mut archive, limits, &mut bundle, &mut last).map_err(|err| damaged(&err, &last))?;
    // What is left is padding; reading it checks the compressed stream to its end.
    let mut reader = archive.into_inner();
    io::copy(&mut reader, &mut io::sink()).map_err(|err| damaged(&err, &last))?;
    bundle.unfinished = reader.zeros < BLOCK;
    Ok(bundle)
}

fn damaged(err: &io::Error, last: &str) -> String {
    let at = if last.is_empty() { "at its start".to_owned() } else { format!("after {last:?}") };
    match err.get_ref().and_then(|err| err.downcast_ref::<Oversize>()) {
        Some(oversize) => oversize.to_string(),
        None => format!("the archive is damaged or cut off {at}: {err}"),
    }
}

fn read_entries<R: Read>(
    archive: &mut Archive<R>,
    limits: Limits,
    bundle: &mut Bundle,
    last: &mut String,
) -> io::Result<()> {
    let mut long_name = None;
    // Raw entries, because the others read names of any length into memory.
    for (count, entry) in (0u32..).zip(archive.entries()?.raw(true)) {
        let mut entry = entry?;
        if count >= limits.entries {
            return Err(oversize(format!("has more than {} entries", limits.entries)));
        }
        match entry.header().entry_type() {
            EntryType::GNULongName => long_name = Some(read_name(&mut entry)?),
            EntryType::XHeader => {
                long_name = pax_path(&read_bounded(&mut entry, NAME_LIMIT)?).or(long_name);
            }
            EntryType::GNULongLink | EntryType::XGlobalHeader => {}
            kind => {
                let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                *last = String::from_utf8_lossy(&name).into_owned();
                bundle.add(kind, &name, &mut entry, limits.file)?;
            }
        }
    }
    Ok(())
}

fn read_name(entry: &mut Entry<impl Read>) -> io::Result<Vec<u8>> {
    let mut name = read_bounded(entry, NAME_LIMIT)?;
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    Ok(name)
}

/// Reads an entry's whole content. A short read means that the archive ends in it, which `tar` doesn't mind.
fn read_bounded(entry: &mut Entry<impl Read>, limit: u64) -> io::Result<Vec<u8>> {
    let size = entry.size();
    if size > limit {
        return Err(oversize("has a name or an extended header of more than 64 KiB".to_owned()));
    }
    // Not with the size at once, which an archive can claim as it likes.
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    bytes.shrink_to_fit();
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The `path` record of a pax extended header (`17 path=some/name\n`).
fn pax_path(records: &[u8]) -> Option<Vec<u8>> {
    let mut records = tar::PaxExtensions::new(records).flatten();
    records.find(|record| record.key_bytes() == b"path").map(|record| record.value_bytes().to_vec())
}

impl Bundle {
    fn add(&mut self, kind: EntryType, name: &[u8], entry: &mut Entry<impl Read>, limit: u64) -> io::Result<()> {
        let path = match clean(name) {
            Ok(path) => path,
            Err(why) => {
                self.refuse(&String::from_utf8_lossy(name), why, true);
                return Ok(());
            }
        };
        let Some((_, slot)) = layout::slots(&path).next() else {
            let is_plain = matches!(kind, EntryType::Regular | EntryType::Continuous);
            if is_plain && foreign::wants(&path) {
                if entry.size() <= limit {
                    self.foreign.insert(path, Content::of(Bytes::Heap(read_bounded(entry, limit)?)));
                } else {
                    self.refuse(&path, TOO_LARGE, true);
                }
            }
            return Ok(());
        };
        let folder = slot.is_folder();
        match kind {
            EntryType::Directory if folder => self.folders.push(path),
            EntryType::Directory => {}
            EntryType::Regular | EntryType::Continuous if !folder => self.add_file(&path, entry, limit)?,
            EntryType::Symlink => self.refuse(&path, "is a symbolic link", false),
            EntryType::Link => self.refuse(&path, "is a hard link", false),
            EntryType::Char | EntryType::Block => self.refuse(&path, "is a device", false),
            EntryType::Fifo => self.refuse(&path, "is a named pipe", false),
            _ => self.refuse(&path, "is not a plain file", false),
        }
        Ok(())
    }

    /// As when unpacking, the last entry of a name stays.
    fn add_file(&mut self, path: &str, entry: &mut Entry<impl Read>, limit: u64) -> io::Result<()> {
        if entry.size() > limit {
            self.refuse(path, TOO_LARGE, false);
            return Ok(());
        }
        let content = Content::of(Bytes::Heap(read_bounded(entry, limit)?));
        if self.files.insert(path.to_owned(), content).is_some() {
            self.refuse(path, "stands in the archive twice; the last one counts", false);
        }
        Ok(())
    }

    fn refuse(&mut self, path: &str, why: &'static str, everywhere: bool) {
        self.refused.push(Refused { path: path.to_owned(), why, everywhere });
    }
}

/// A path without `./` and doubled slashes; an error for one that leads out of the archive.
fn clean(name: &[u8]) -> Result<String, &'static str> {
    let name = str::from_utf8(name).map_err(|_| "has a name that is not UTF-8")?;
    if name.starts_with('/') {
        return Err("has an absolute name");
    }
    if name.contains('\0') {
        return Err("has a NUL in its name");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("has `..` in its name");
    }
    Ok(parts.join("/"))
}

/// Fails when more bytes than the limit have come out.
struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
    /// How many of the last bytes were zero.
    zeros: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(oversize(format!("unpacks to more than {} MiB", self.limit >> 20))),
        }
        let read = buffer.get(..count).unwrap_or_default();
        let zeros = read.iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == count { self.zeros.saturating_add(zeros) } else { zeros };
        Ok(count)
    }
}

/// A limit that an archive exceeds.
#[derive(Debug, thiserror::Error)]
#[error("the archive {0}, which no snapshot does")]
struct Oversize(String);

fn oversize(what: String) -> io::Error {
    io::Error::other(Oversize(what))
}

#[cfg(test)]
mod tests;
