//! Archives: tar, tar.gz and tar.zst, recognised by their content.
//!
//! An archive comes from anybody. Every entry that could name something outside itself is refused and named, and
//! what it may unpack to is bounded, however well it is packed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use tar::{Archive, Entry, EntryType};

use super::layout;

/// How much an archive or a folder may hold, unpacked.
pub(super) const TOTAL_LIMIT: u64 = 2 << 30;
/// How large one file may be.
pub(super) const FILE_LIMIT: u64 = 512 << 20;
/// How many entries an archive may have.
const ENTRY_LIMIT: u32 = 1_000_000;
/// How long a name or an extended header may be.
const NAME_LIMIT: u64 = 64 << 10;

/// The files of an archive that can belong to a snapshot, by their whole path.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// The files' bytes.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// The namespaces' folders that have entries of their own.
    pub(super) folders: Vec<String>,
    /// The entries that were refused, and why.
    pub(super) refused: Vec<Refused>,
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

/// The first bytes tell what a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Tar,
    Gzip,
    Zstd,
}

/// Unpacks an archive. The error says what is wrong with it.
pub(super) fn read(mut input: impl BufRead) -> Result<Bundle, String> {
    let head = peek(&mut input, 512).map_err(|err| err.to_string())?;
    let input = io::Cursor::new(head.clone()).chain(input);
    match format(&head) {
        Some(Format::Tar) => unpack(Bounded::new(input)),
        Some(Format::Gzip) => unpack(Bounded::new(MultiGzDecoder::new(input))),
        Some(Format::Zstd) => unpack(Bounded::new(Zstd::new(input))),
        None => Err("neither a folder nor a tar, tar.gz or tar.zst archive".to_owned()),
    }
}

fn peek(input: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(len).read_to_end(&mut head)?;
    Ok(head)
}

fn format(head: &[u8]) -> Option<Format> {
    match head {
        [0x1f, 0x8b, ..] => Some(Format::Gzip),
        // A frame, or a skippable frame before one (RFC 8878).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Format::Zstd),
        _ => is_tar(head).then_some(Format::Tar),
    }
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

fn unpack(reader: impl Read) -> Result<Bundle, String> {
    let mut archive = Archive::new(reader);
    let mut bundle = Bundle::default();
    let mut last = String::new();
    read_entries(&mut archive, &mut bundle, &mut last).map_err(|err| damaged(&err, &last))?;
    // What is left is padding; reading it checks the compressed stream to its end.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|err| damaged(&err, &last))?;
    Ok(bundle)
}

fn damaged(err: &io::Error, last: &str) -> String {
    let at = if last.is_empty() { "at its start".to_owned() } else { format!("after {last:?}") };
    match err.get_ref().and_then(|err| err.downcast_ref::<Oversize>()) {
        Some(oversize) => oversize.to_string(),
        None => format!("the archive is damaged or cut off {at}: {err}"),
    }
}

fn read_entries<R: Read>(archive: &mut Archive<R>, bundle: &mut Bundle, last: &mut String) -> io::Result<()> {
    let mut long_name = None;
    // Raw entries, because the others read names of any length into memory.
    for (count, entry) in (0u32..).zip(archive.entries()?.raw(true)) {
        let mut entry = entry?;
        if count >= ENTRY_LIMIT {
            return Err(io::Error::other(Oversize("has more than 1,000,000 entries")));
        }
        match entry.header().entry_type() {
            EntryType::GNULongName => long_name = Some(read_name(&mut entry)?),
            EntryType::XHeader => long_name = pax_path(&read_bounded(&mut entry, NAME_LIMIT)?).or(long_name),
            EntryType::GNULongLink | EntryType::XGlobalHeader => {}
            kind => {
                let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                *last = String::from_utf8_lossy(&name).into_owned();
                bundle.add(kind, &name, &mut entry)?;
            }
        }
    }
    Ok(())
}

fn read_name(entry: &mut Entry<impl Read>) -> io::Result<Vec<u8>> {
    let mut name = read_bounded(entry, NAME_LIMIT)?;
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

/// An entry's whole content. A short read means that the archive ends in it, which `tar` doesn't mind.
fn read_bounded(entry: &mut Entry<impl Read>, limit: u64) -> io::Result<Vec<u8>> {
    let size = entry.size();
    if size > limit {
        return Err(io::Error::other(Oversize("has a name or an extended header of more than 64 KiB")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(1 << 20)).unwrap_or(0));
    entry.read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The `path` record of a pax extended header (`17 path=some/name\n`).
fn pax_path(records: &[u8]) -> Option<Vec<u8>> {
    let mut records = tar::PaxExtensions::new(records).flatten();
    records.find(|record| record.key_bytes() == b"path").map(|record| record.value_bytes().to_vec())
}

impl Bundle {
    fn add(&mut self, kind: EntryType, name: &[u8], entry: &mut Entry<impl Read>) -> io::Result<()> {
        let path = match clean(name) {
            Ok(path) => path,
            Err(why) => {
                self.refuse(&String::from_utf8_lossy(name), why, true);
                return Ok(());
            }
        };
        let Some((_, slot)) = layout::slots(&path).next() else { return Ok(()) };
        let folder = slot.is_folder();
        match kind {
            EntryType::Directory if folder => self.folders.push(path),
            EntryType::Directory => {}
            EntryType::Regular | EntryType::Continuous if !folder => self.add_file(&path, entry)?,
            EntryType::Symlink => self.refuse(&path, "is a symbolic link", false),
            EntryType::Link => self.refuse(&path, "is a hard link", false),
            EntryType::Char | EntryType::Block => self.refuse(&path, "is a device", false),
            EntryType::Fifo => self.refuse(&path, "is a named pipe", false),
            _ => self.refuse(&path, "is not a plain file", false),
        }
        Ok(())
    }

    /// As when unpacking, the last entry of a name stays.
    fn add_file(&mut self, path: &str, entry: &mut Entry<impl Read>) -> io::Result<()> {
        if entry.size() > FILE_LIMIT {
            self.refuse(path, "is larger than 512 MiB", false);
            return Ok(());
        }
        let bytes = read_bounded(entry, FILE_LIMIT)?;
        if self.files.insert(path.to_owned(), bytes).is_some() {
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

/// Fails when more than [`TOTAL_LIMIT`] bytes have come out.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: TOTAL_LIMIT }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(Oversize("unpacks to more than 2 GiB"))),
        }
        Ok(count)
    }
}

/// A limit that an archive exceeds.
#[derive(Debug, thiserror::Error)]
#[error("the archive {0}, which no snapshot does")]
struct Oversize(&'static str);

/// Every frame of a zstd stream, one after the other.
struct Zstd<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        Self { input, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Starts the next frame that holds data; false at the end of the input.
    fn start_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.input).take(length), &mut io::sink())? != length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(err) => return Err(io::Error::other(err)),
            }
        }
        Ok(false)
    }

    fn check_frame(&self) -> io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(stored), Some(sum)) if stored != sum => Err(io::Error::other("a zstd frame's checksum is wrong")),
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                self.in_frame = self.start_frame()?;
                if !self.in_frame {
                    return Ok(0);
                }
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            if self.decoder.is_finished() {
                self.check_frame()?;
                self.in_frame = false;
            } else {
                let strategy = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.input, strategy).map_err(io::Error::other)?;
            }
        }
    }
}
