//! What is written, packed or not as its file's name says: `.gz`, `.zst`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::error::Error;
use crate::unpack::Packing;

/// So much makes a frame of zstd, each of which can be unpacked alone.
const FRAME: usize = 1 << 20;

/// The ending of a file's name, before that of its packing.
pub(super) fn ending(file: &Path) -> Option<String> {
    endings(file).1
}

/// Fails where the name is one of a packing that is not written.
pub(super) fn refuse(file: &Path) -> Result<(), Error> {
    let name = file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if !["xz", "lzma", "bz2", "lz4", "br", "z", "zip", "7z", "rar", "zstd", "gzip", "tgz"].contains(&name.as_str()) {
        return Ok(());
    }
    let words = format!("-w {}: what is written can be packed as .gz or .zst, and not as .{name}", file.display());
    Err(Error::Usage(words))
}

/// How a file is packed by its name, and the ending before that.
fn endings(file: &Path) -> (Option<Packing>, Option<String>) {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let (packing, name) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
        (Some(name), _) => (Some(Packing::Gzip), name),
        (_, Some(name)) => (Some(Packing::Zstd), name),
        _ => (None, name.as_str()),
    };
    (packing, name.rsplit_once('.').map(|(_, ending)| ending.to_owned()))
}

/// What is written into.
pub(super) enum Packed {
    Plain(Box<dyn Write + Send>),
    Gzip(Box<GzEncoder<File>>),
    Zstd(Frames),
}

impl Packed {
    /// Opens a file in place of what it held, or the standard output.
    pub(super) fn open(file: Option<&Path>) -> io::Result<Self> {
        let Some(file) = file else { return Ok(Self::Plain(Box::new(io::stdout()))) };
        let out = File::create(file)?;
        Ok(match endings(file).0 {
            None => Self::Plain(Box::new(out)),
            Some(Packing::Gzip) => Self::Gzip(Box::new(GzEncoder::new(out, Compression::fast()))),
            Some(Packing::Zstd) => Self::Zstd(Frames { out, frame: Vec::new() }),
        })
    }

    /// Writes all of some bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            _ if bytes.is_empty() => Ok(()),
            Self::Plain(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
            Self::Zstd(out) => out.put(bytes),
        }
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Gzip(out) => out.finish()?.flush(),
            Self::Zstd(out) => out.finish(),
        }
    }
}

/// Frames of zstd, one after the other.
pub(super) struct Frames {
    out: File,
    frame: Vec<u8>,
}

impl Frames {
    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((head, rest)) = bytes.split_at_checked(FRAME - self.frame.len()) {
            self.frame.extend_from_slice(head);
            bytes = rest;
            self.pack()?;
        }
        self.frame.extend_from_slice(bytes);
        Ok(())
    }

    fn pack(&mut self) -> io::Result<()> {
        let packed = compress_to_vec(self.frame.as_slice(), CompressionLevel::Fastest);
        self.frame.clear();
        self.out.write_all(&packed)
    }

    fn finish(mut self) -> io::Result<()> {
        // An empty file is no frame.
        self.pack()?;
        self.out.flush()
    }
}
