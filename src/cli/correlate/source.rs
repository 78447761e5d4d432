//! Captures that are read twice, also where they can be read only once.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _};
use std::path::{Path, PathBuf};

use crate::capture::reader::Reader;
use crate::cli::decode::is_there;
use crate::error::Error;

/// A capture.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    /// What came from the standard input or a pipe, kept as it is.
    kept: Option<File>,
}

impl Source {
    /// A capture by its name, `-` being the standard input. What can be read only once is kept in a file that has no
    /// name. Fails where that can't be done.
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        let is_input = path == Path::new("-");
        let path = if is_input { Path::new("standard input") } else { path };
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let kept = if is_input {
            Some(keep(&mut io::stdin().lock()).map_err(failed)?)
        } else {
            let is_once = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
            is_once.then(|| keep(&mut File::open(path)?)).transpose().map_err(failed)?
        };
        Ok(Self { path: path.to_owned(), kept })
    }

    /// Whether an error is about what it holds, and not about its name.
    pub(super) fn is_there(&self, err: &Error) -> bool {
        self.kept.is_some() || is_there(err, &self.path)
    }

    /// A reader of it from its beginning. One that was opened before is of no more use then. `place` is its place among
    /// those that are read together.
    pub(super) fn open(&self, place: usize) -> Result<Reader, Error> {
        let Some(kept) = &self.kept else { return Reader::open(&self.path, place) };
        let failed = |source| Error::Io { path: self.path.clone(), source };
        let mut file = kept.try_clone().map_err(failed)?;
        file.rewind().map_err(failed)?;
        Reader::new(file, place).map_err(|fault| fault.at(&self.path))
    }
}

/// Copies all there is to a file that has no name, which nobody else can open and which is gone with the program.
fn keep(input: &mut impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(input, &mut file)?;
    Ok(file)
}
