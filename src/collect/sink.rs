//! Where the snapshot goes: a folder, or a `.tar.gz` of it. Files of an archive are spooled, one at a time for each
//! worker, so that memory stays small however long a table is.
//!
//! Until all of it is there it has another name, so that nobody takes a part for the whole, whatever ends the program.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::Error;

use super::stop::Stop;

/// When, by what, and what failed.
const META: &str = "snapshot.json";
/// What `nodes` is called until the end.
const NODES: &str = "of-nodes";

/// Where a snapshot goes.
pub enum Target<'a> {
    /// A folder, which must be new or empty.
    Folder(&'a Path),
    /// A `.tar.gz`, which must be new.
    File(&'a Path),
    /// A `.tar.gz` on a stream.
    Stream(Box<dyn Write + Send>),
}

/// A snapshot in the making.
pub(super) enum Sink {
    Folder(Folder),
    Archive(Box<Archive>),
}

/// A folder in the making.
pub(super) struct Folder {
    path: PathBuf,
    /// What becomes `nodes` in it in the end, and `snapshot.json` until then.
    unfinished: Unfinished,
}

/// What is removed unless the snapshot is finished.
pub(super) struct Unfinished {
    path: PathBuf,
    stop: Stop,
}

impl Unfinished {
    /// Notes what is to be removed, from the last to the first.
    fn new(path: PathBuf, remove: Vec<PathBuf>, stop: &Stop) -> Self {
        stop.note(remove);
        Self { path, stop: stop.clone() }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.stop.remove_unfinished();
    }
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
    /// The file until it is whole, unless it is a stream.
    unfinished: Option<Unfinished>,
}

/// A file of the snapshot that is being written.
pub(super) struct Spool {
    /// What is written to.
    pub file: File,
    /// Its path in the snapshot.
    path: String,
}

impl Sink {
    /// Begins a snapshot; an archive's files are said to be of a moment, in seconds since 1970. Unless it is finished,
    /// nothing is left of it, at the latest where `stop` has it removed.
    pub fn new(target: Target<'_>, mtime: u64, stop: &Stop) -> Result<Self, Error> {
        match target {
            Target::Folder(path) => Self::folder(path, stop),
            Target::File(path) => Self::file(path, mtime, stop),
            Target::Stream(stream) => Ok(Self::stream(stream, mtime)),
        }
    }

    /// Begins a folder, which must not be there or be empty.
    fn folder(path: &Path, stop: &Stop) -> Result<Self, Error> {
        let is_new = !path.exists();
        fs::create_dir_all(path).map_err(|source| failed(path, source))?;
        let is_empty = fs::read_dir(path).map_err(|source| failed(path, source))?.next().is_none();
        if !is_empty {
            return Err(Error::Usage(format!("-w {}: the folder is not empty; name another one", path.display())));
        }
        let unfinished = path.join(format!(".unfinished-{}", std::process::id()));
        let mut remove = vec![unfinished.clone()];
        remove.extend(is_new.then(|| path.to_owned()));
        let unfinished = Unfinished::new(unfinished, remove, stop);
        fs::create_dir(&unfinished.path).map_err(|source| failed(path, source))?;
        Ok(Self::Folder(Folder { path: path.to_owned(), unfinished }))
    }

    /// Begins an archive in a new file.
    fn file(path: &Path, mtime: u64, stop: &Stop) -> Result<Self, Error> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(exists(path));
        }
        let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".unfinished-{}", std::process::id()));
        let unfinished = beside.join(name);
        let file = File::create_new(&unfinished).map_err(|source| failed(path, source))?;
        let unfinished = Unfinished::new(unfinished.clone(), vec![unfinished], stop);
        Ok(Self::archive(Box::new(file), (path, beside), mtime, Some(unfinished)))
    }

    /// Begins an archive that is written to a stream.
    fn stream(stream: Box<dyn Write + Send>, mtime: u64) -> Self {
        Self::archive(stream, (Path::new("-"), &std::env::temp_dir()), mtime, None)
    }

    fn archive(
        output: Box<dyn Write + Send>,
        (path, spools): (&Path, &Path),
        mtime: u64,
        unfinished: Option<Unfinished>,
    ) -> Self {
        // The fastest compression is half the work and a few percent more bytes: nodes have better to do.
        let encoder = GzEncoder::new(BufWriter::with_capacity(1 << 16, output), Compression::fast());
        let tar = Mutex::new(tar::Builder::new(encoder));
        let (path, spools) = (path.to_owned(), spools.to_owned());
        Self::Archive(Box::new(Archive { tar, path, spools, mtime, unfinished }))
    }

    /// Adds a folder, which counts even if it is empty.
    pub fn make(&self, path: &str) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => {
                let path = folder.place(path);
                fs::create_dir_all(&path).map_err(|source| failed(&path, source))
            }
            Self::Archive(archive) => archive.make(path).map_err(|source| self.unwritten(source)),
        }
    }

    /// Begins a file.
    pub fn spool(&self, path: &str) -> Result<Spool, Error> {
        let file = match self {
            Self::Folder(folder) => {
                let path = folder.place(path);
                File::create_new(&path).map_err(|source| failed(&path, source))?
            }
            Self::Archive(archive) => {
                tempfile::tempfile_in(&archive.spools).map_err(|source| failed(&archive.spools, source))?
            }
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
    #[cfg(target_os = "linux")]
    pub fn forget(&self, spool: &Spool) {
        if let Self::Folder(folder) = self {
            let _ = fs::remove_file(folder.place(&spool.path));
        }
    }

    /// Writes a whole file.
    pub fn put(&self, path: &str, text: &str) -> Result<(), Error> {
        let mut spool = self.spool(path)?;
        spool.file.write_all(text.as_bytes()).map_err(|source| self.unwritten(source))?;
        self.keep(spool)
    }

    /// Ends the snapshot, which gets its name.
    pub fn finish(self) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.finish(),
            Self::Archive(archive) => archive.finish(),
        }
    }

    /// The error of what can't be written.
    pub fn unwritten(&self, source: io::Error) -> Error {
        match self {
            Self::Folder(folder) => failed(&folder.path, source),
            Self::Archive(archive) => failed(&archive.path, source),
        }
    }
}

impl Folder {
    /// Where a file of the snapshot is until the end. None of it has the layout by which a snapshot is known.
    fn place(&self, path: &str) -> PathBuf {
        match path.strip_prefix("nodes/") {
            Some(inside) => self.unfinished.path.join(NODES).join(inside),
            None => self.unfinished.path.join(path),
        }
    }

    fn finish(self) -> Result<(), Error> {
        let Self { path, unfinished } = self;
        let part = |from: &str, to: &str| match fs::rename(unfinished.path.join(from), path.join(to)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved,
        };
        // What makes it a snapshot comes last.
        let moved = part(META, META)
            .and_then(|()| part("cluster", "cluster"))
            .and_then(|()| part(NODES, "nodes"))
            .and_then(|()| fs::remove_dir(&unfinished.path));
        if moved.is_ok() {
            unfinished.stop.note(Vec::new());
        }
        moved.map_err(|source| failed(&path, source))
    }
}

impl Archive {
    fn finish(self) -> Result<(), Error> {
        let Self { tar, path, unfinished, .. } = self;
        let tar = tar.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ended = tar.into_inner().and_then(GzEncoder::finish).and_then(|mut output| output.flush());
        ended.map_err(|source| failed(&path, source))?;
        let Some(unfinished) = unfinished else { return Ok(()) };
        // A link is made only where nothing is; file systems without links have renaming.
        match fs::hard_link(&unfinished.path, &path) {
            Ok(()) => drop(fs::remove_file(&unfinished.path)),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => return Err(exists(&path)),
            Err(_) => fs::rename(&unfinished.path, &path).map_err(|source| failed(&path, source))?,
        }
        unfinished.stop.note(Vec::new());
        Ok(())
    }

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

fn exists(path: &Path) -> Error {
    Error::Usage(format!("-w {}: the file exists; name another one, or remove it", path.display()))
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}
