//! The files that a capture goes into: one, or one after the other, as `tcpdump -C` and `-W` name them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::pcapng::{Span, Writer};
use super::privilege::Owner;
use super::{Captured, Interface, Statistics};
use crate::error::Error;

/// Where a capture goes.
pub enum Sink {
    /// Into a file, or several.
    Files {
        /// The file, or the beginning of the names of several.
        path: PathBuf,
        /// When a new file begins, if ever.
        rotation: Option<Rotation>,
    },
    /// Into a stream.
    Stream(Box<dyn Write>),
}

/// When a new file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How many bytes a file has at most, unless its only packet is larger.
    pub bytes: u64,
    /// How many files there are at most: thereafter the first one is written anew.
    pub files: Option<u32>,
}

/// The interfaces that every file begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Each device.
    pub interfaces: Vec<Interface>,
    /// When the capture began, in nanoseconds since 1970.
    pub start: u64,
}

type Output = Writer<BufWriter<Box<dyn Write>>>;

/// How much is written at once: a packet of 60 bytes is no reason to ask the kernel.
const BUFFER: usize = 1 << 20;

/// The file that is being written.
pub struct Ring {
    section: Section,
    path: PathBuf,
    rotation: Option<Rotation>,
    /// Where further files are made, if there may be any.
    folder: Option<Folder>,
    number: u64,
    writer: Output,
    is_empty: bool,
}

impl Ring {
    /// Begins the first file, in place of what it held.
    ///
    /// Fails with [`Error::Io`] where it can't be written.
    pub fn open(sink: Sink, section: Section) -> Result<Self, Error> {
        let (path, rotation, folder, out) = match sink {
            Sink::Files { path, rotation } => {
                let folder = rotation.map(|_| Folder::of(&path)).transpose();
                let folder = folder.map_err(|source| failed(&path, source))?;
                let out = create(&name(&path, rotation, 0), folder.as_ref())?;
                (path, rotation, folder, out)
            }
            Sink::Stream(out) => (PathBuf::from("-"), None, None, out),
        };
        let mut writer = begin(out, &section).map_err(|source| failed(&path, source))?;
        writer.flush().map_err(|source| failed(&path, source))?;
        Ok(Self { section, path, rotation, folder, number: 0, writer, is_empty: true })
    }

    /// Who can still make the files that may follow: the owner of their folder, or anybody where none follows.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.folder.as_ref().map_or(Owner::NOBODY, |folder| folder.owner)
    }

    /// Whether a packet belongs into the next file.
    #[must_use]
    pub fn is_full_for(&self, packet: &Captured<'_>) -> bool {
        self.rotation.is_some_and(|rotation| !self.is_empty && self.writer.length_with(packet) > rotation.bytes)
    }

    /// Writes a packet. Fails with [`Error::Io`].
    pub fn packet(&mut self, packet: &Captured<'_>) -> Result<(), Error> {
        self.is_empty = false;
        self.writer.packet(packet).map_err(|source| failed(&self.path, source))
    }

    /// Ends the file and begins the next one. `now` is in nanoseconds since 1970. Fails with [`Error::Io`].
    pub fn next(self, statistics: &[Statistics], now: u64) -> Result<Self, Error> {
        let Self { section, path, rotation, folder, number, writer, .. } = self;
        end(writer, &section, statistics, now).map_err(|source| failed(&path, source))?;
        let number = match rotation.and_then(|rotation| rotation.files) {
            Some(files) => (number + 1) % u64::from(files.max(1)),
            None => number + 1,
        };
        let file = name(&path, rotation, number);
        let writer = begin(create(&file, folder.as_ref())?, &section).map_err(|source| failed(&file, source))?;
        Ok(Self { section, path, rotation, folder, number, writer, is_empty: true })
    }

    /// Hands on what is buffered. Fails with [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().map_err(|source| failed(&self.path, source))
    }

    /// Ends the last file. `now` is in nanoseconds since 1970. Fails with [`Error::Io`].
    pub fn finish(self, statistics: &[Statistics], now: u64) -> Result<(), Error> {
        end(self.writer, &self.section, statistics, now).map_err(|source| failed(&self.path, source))
    }
}

fn begin(out: Box<dyn Write>, section: &Section) -> io::Result<Output> {
    Writer::new(BufWriter::with_capacity(BUFFER, out), &section.interfaces)
}

fn end(writer: Output, section: &Section, statistics: &[Statistics], now: u64) -> io::Result<()> {
    let filtered = section.interfaces.iter().any(|interface| interface.filter.is_some());
    writer.finish(statistics, filtered, Span { start: section.start, end: now }).map(drop)
}

/// One of several files is made in their folder; the only one may be a pipe or a device just as well.
fn create(path: &Path, folder: Option<&Folder>) -> Result<Box<dyn Write>, Error> {
    let file = match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.replace(name),
        _ => File::create(path),
    };
    match file {
        Ok(file) => Ok(Box::new(file)),
        Err(source) => Err(failed(path, source)),
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

/// The name of a file: with a bound on their number all of them have one, with as many digits as the last one needs;
/// without, all but the first.
fn name(path: &Path, rotation: Option<Rotation>, number: u64) -> PathBuf {
    let suffix = match rotation.and_then(|rotation| rotation.files) {
        Some(files) => {
            let width = files.saturating_sub(1).to_string().len();
            format!("{number:0width$}")
        }
        None if number > 0 => number.to_string(),
        None => String::new(),
    };
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_tcpdump_names_them() {
        let named = |files, number| {
            let rotation = Some(Rotation { bytes: 1, files });
            name(Path::new("a.pcapng"), rotation, number).to_str().unwrap().to_owned()
        };
        assert_eq!(name(Path::new("a"), None, 0), Path::new("a"));
        assert_eq!([named(None, 0), named(None, 1), named(None, 12)], ["a.pcapng", "a.pcapng1", "a.pcapng12"]);
        assert_eq!([named(Some(3), 0), named(Some(3), 2)], ["a.pcapng0", "a.pcapng2"]);
        assert_eq!(
            [named(Some(10), 9), named(Some(11), 9), named(Some(11), 10)],
            ["a.pcapng9", "a.pcapng09", "a.pcapng10"]
        );
    }
}
