//! What is written, and where: the standard output or a file.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::cli::args::{Decode, DecodeFormat};
use crate::cli::output::unwritten;
use crate::cli::packed::{self, Packed};
use crate::error::Error;

/// What was typed of the output, resolved.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) format: DecodeFormat,
    /// The file, where it is not the standard output.
    file: Option<PathBuf>,
}

impl Target {
    /// The format of `-o`, or that of the file's name. Fails where the two contradict each other.
    pub(super) fn of(typed: &Decode) -> Result<Self, Error> {
        let Some(file) = typed.written.file() else {
            return Ok(Self { format: typed.output.unwrap_or_default(), file: None });
        };
        packed::refuse(file)?;
        let named = match packed::ending(file).as_deref() {
            Some("pcapng") => Some(DecodeFormat::Pcapng),
            Some("jsonl" | "ndjson") => Some(DecodeFormat::Jsonl),
            Some("json") => Some(DecodeFormat::Json),
            Some("csv") => Some(DecodeFormat::Csv),
            Some("pcap" | "cap") if typed.output.is_none() => {
                let words = "packets are written as pcapng, which holds their interfaces and comments: FILE.pcapng";
                return Err(Error::Usage(format!("-w {}: {words}", file.display())));
            }
            _ => None,
        };
        let format = typed.output.or(named).unwrap_or_default();
        let is_json = |format| matches!(format, DecodeFormat::Json | DecodeFormat::Jsonl);
        if named.is_some_and(|named| named != format && !(is_json(named) && is_json(format))) {
            let words = "its name and -o say two different things";
            return Err(Error::Usage(format!("-w {}: {words}", file.display())));
        }
        Ok(Self { format, file: Some(file.to_owned()) })
    }

    /// Opens it, in place of what it held.
    pub(super) fn open(&self) -> Result<Packed, Error> {
        if self.file.is_none() && self.format == DecodeFormat::Pcapng && io::stdout().is_terminal() {
            let words = "-o pcapng: packets are no text for a terminal; -w FILE.pcapng writes them into a file";
            return Err(Error::Usage(words.to_owned()));
        }
        Packed::open(self.file.as_deref()).map_err(|err| self.failed(&err))
    }

    /// Whether the file is one of those that are read, which would be lost.
    pub(super) fn refuse_input(&self, files: &[PathBuf]) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        // It may have several names.
        let place = |data: Metadata| data.is_file().then(|| (data.dev(), data.ino()));
        let own = std::fs::metadata(file).ok().and_then(place);
        let read = |other: &Path| {
            let data = if other == Path::new("-") { of_input() } else { std::fs::metadata(other) };
            data.ok().and_then(place)
        };
        match files.iter().find(|other| own.is_some() && read(other) == own) {
            Some(_) => Err(Error::Usage(format!("-w {}: it is one of the captures that are read", file.display()))),
            None => Ok(()),
        }
    }

    /// What is told where writing fails.
    pub(super) fn failed(&self, err: &io::Error) -> Error {
        match &self.file {
            Some(file) => unwritten(file, err),
            None => Error::Usage(format!("the output can't be written: {err}")),
        }
    }
}

/// Which file the standard input is.
fn of_input() -> io::Result<Metadata> {
    File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()
}
