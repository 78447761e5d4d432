//! Where the snapshot goes: a folder, or a `.tar.gz` of it. Files of an archive are spooled, one at a time for each
//! worker, so that memory stays small however long a table is.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::Error;

/// A snapshot in the making.
pub(super) enum Sink {
    Folder(PathBuf),
    Archive(Box<Archive>),
}

/// Where an archive's bytes go.
type Output = BufWriter<Box<dyn Write + Send>>;

/// An archive in the making.
pub(super) struct Archive {
    tar: Mutex<tar::Builder<GzEncoder<Output>>>,
    path: PathBuf,
    /// Where its files are until they are packed.
    spools: PathBuf,
    /// When it was begun, which every file in it is said to be of.
    mtime: u64,
}

/// A file of the snapshot that is being written.
pub(super) struct Spool {
    /// What is written to.
    pub file: File,
    /// Its path in the snapshot.
    path: String,
}

impl Sink {
    /// Begins a folder, which must not be there or be empty.
    pub fn folder(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|source| failed(path, source))?;
        let is_empty = fs::read_dir(path).map_err(|source| failed(path, source))?.next().is_none();
        if !is_empty {
            return Err(Error::Usage(format!("-w {}: the folder is not empty; name another one", path.display())));
        }
        Ok(Self::Folder(path.to_owned()))
    }

    /// Begins an archive in a new file.
    pub fn file(path: &Path, mtime: u64) -> Result<Self, Error> {
        let file = File::create_new(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::Usage(format!("-w {}: the file exists; name another one, or remove it", path.display()))
            }
            _ => failed(path, source),
        })?;
        let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self::archive(Box::new(file), path, beside, mtime))
    }

    /// Begins an archive that is written to a stream.
    pub fn stream(stream: Box<dyn Write + Send>, mtime: u64) -> Self {
        Self::archive(stream, Path::new("-"), &std::env::temp_dir(), mtime)
    }

    fn archive(output: Box<dyn Write + Send>, path: &Path, spools: &Path, mtime: u64) -> Self {
        // The fastest compression is half the work and a few percent more bytes: nodes have better to do.
        let encoder = GzEncoder::new(BufWriter::with_capacity(1 << 16, output), Compression::fast());
        let tar = Mutex::new(tar::Builder::new(encoder));
        Self::Archive(Box::new(Archive { tar, path: path.to_owned(), spools: spools.to_owned(), mtime }))
    }

    /// Adds a folder, which counts even if it is empty.
    pub fn make(&self, path: &str) -> Result<(), Error> {
        match self {
            Self::Folder(root) => {
                fs::create_dir_all(root.join(path)).map_err(|source| failed(&root.join(path), source))
            }
            Self::Archive(archive) => archive.make(path).map_err(|source| self.unwritten(source)),
        }
    }

    /// Begins a file.
    pub fn spool(&self, path: &str) -> Result<Spool, Error> {
        let file = match self {
            Self::Folder(root) => {
                let path = root.join(path);
                File::create_new(&path).map_err(|source| failed(&path, source))?
            }
            Self::Archive(archive) => nameless(&archive.spools).map_err(|source| failed(&archive.spools, source))?,
        };
        Ok(Spool { file, path: path.to_owned() })
    }

    /// Keeps a file as it was written.
    pub fn keep(&self, spool: Spool) -> Result<(), Error> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Archive(archive) => archive.add(spool).map_err(|source| self.unwritten(source)),
        }
    }

    /// Forgets a file that could not be written to its end.
    pub fn forget(&self, spool: Spool) {
        if let Self::Folder(root) = self {
            let _ = fs::remove_file(root.join(spool.path));
        }
    }

    /// Writes a whole file.
    pub fn put(&self, path: &str, text: &str) -> Result<(), Error> {
        let mut spool = self.spool(path)?;
        spool.file.write_all(text.as_bytes()).map_err(|source| self.unwritten(source))?;
        self.keep(spool)
    }

    /// Ends the snapshot.
    pub fn finish(self) -> Result<(), Error> {
        let Self::Archive(archive) = self else { return Ok(()) };
        let tar = archive.tar.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ended = tar.into_inner().and_then(GzEncoder::finish).and_then(|mut output| output.flush());
        ended.map_err(|source| failed(&archive.path, source))
    }

    fn unwritten(&self, source: io::Error) -> Error {
        match self {
            Self::Folder(path) => failed(path, source),
            Self::Archive(archive) => failed(&archive.path, source),
        }
    }
}

impl Archive {
    fn make(&self, path: &str) -> io::Result<()> {
        let mut header = self.header(0, 0o755);
        header.set_entry_type(tar::EntryType::Directory);
        let mut tar = self.tar.lock().unwrap_or_else(PoisonError::into_inner);
        tar.append_data(&mut header, format!("{path}/"), io::empty())
    }

    fn add(&self, mut spool: Spool) -> io::Result<()> {
        let length = spool.file.seek(SeekFrom::End(0))?;
        spool.file.rewind()?;
        let mut header = self.header(length, 0o644);
        let mut tar = self.tar.lock().unwrap_or_else(PoisonError::into_inner);
        tar.append_data(&mut header, &spool.path, (&spool.file).take(length))
    }

    fn header(&self, size: u64, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(mode);
        header.set_mtime(self.mtime);
        header
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

/// A file without a name, which is gone whatever becomes of the program.
fn nameless(folder: &Path) -> io::Result<File> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".flowtrace-{}-{number}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
