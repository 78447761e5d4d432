//! Where a statement comes from: a file of the snapshot and a line of it.

mod text;

use std::path::PathBuf;
use std::sync::OnceLock;

pub use text::{Slice, Text};

/// A file of the snapshot, as an index into [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// One line of one file of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evidence {
    /// The file.
    pub file: FileId,
    /// The line, from 1. In a JSON file the line on which the object starts.
    pub line: u32,
    /// In a JSON file the object's place in its list, from 0.
    pub index: Option<u32>,
}

impl Evidence {
    /// The evidence of what no line says: a policy rule that is assumed because its file is missing. A gap tells so.
    pub const NONE: Self = Self { file: FileId(u32::MAX), line: 0, index: None };

    /// Whether a line says it at all.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// A line of a text file.
    #[must_use]
    pub fn line(file: FileId, line: u32) -> Self {
        Self { file, line, index: None }
    }

    /// An object of a JSON file's list.
    #[must_use]
    pub fn object(file: FileId, line: u32, index: u32) -> Self {
        Self { file, line, index: Some(index) }
    }
}

/// Something that the snapshot does not hold, or that flowtrace could not read or does not model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// What is missing, in one sentence.
    pub what: String,
    /// The lines that show it, none where a whole file is absent.
    pub evidence: Vec<Evidence>,
    /// The lines are rows of a table that could not be read, so that each may say anything.
    pub unread: bool,
    /// Where in its line the trouble is, in characters from 1, where one character is to blame.
    pub column: Option<u32>,
}

impl Gap {
    /// A gap with the lines that show it. What no line says shows nothing.
    #[must_use]
    pub fn new(what: impl Into<String>, mut evidence: Vec<Evidence>) -> Self {
        evidence.retain(|evidence| evidence.line > 0);
        Self { what: what.into(), evidence, unread: false, column: None }
    }

    /// The same gap, with the place in its line.
    #[must_use]
    pub fn at(self, column: Option<u32>) -> Self {
        Self { column, ..self }
    }

    /// A row of a table that could not be read.
    #[must_use]
    pub fn unread(what: impl Into<String>, row: Evidence) -> Self {
        Self { unread: true, ..Self::new(what, vec![row]) }
    }
}

/// A file of the snapshot with its text.
#[derive(Debug)]
pub struct SourceFile {
    /// The path relative to the snapshot, with `/` between folders.
    pub path: String,
    /// The whole text; empty for a file that was left on disk.
    pub text: Text,
    /// A file that was left on disk, because it is large and few questions need it.
    pub on_disk: Option<OnDisk>,
    /// For JSON files: each listed object's row in the text form's syntax, by its place in the list.
    pub rows: Vec<String>,
    starts: OnceLock<Vec<u32>>,
}

/// A file that is read once somebody asks for it.
#[derive(Debug)]
pub struct OnDisk {
    /// Where it is.
    pub path: PathBuf,
    /// Its text, from then on.
    pub text: OnceLock<Text>,
}

/// Every file that was read, by [`FileId`]. The one place that turns [`Evidence`] into words.
#[derive(Debug, Default)]
pub struct Files {
    files: Vec<SourceFile>,
}

impl Files {
    /// Adds a file and gives its id.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<Text>) -> FileId {
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        let file = SourceFile {
            path: path.into(),
            text: text.into(),
            on_disk: None,
            rows: Vec::new(),
            starts: OnceLock::new(),
        };
        self.files.push(file);
        id
    }

    /// Adds a file that is left on disk, and gives its id.
    pub fn add_on_disk(&mut self, path: impl Into<String>, on_disk: PathBuf) -> FileId {
        let id = self.add(path, "");
        if let Some(file) = self.files.last_mut() {
            file.on_disk = Some(OnDisk { path: on_disk, text: OnceLock::new() });
        }
        id
    }

    /// Says how a JSON file's objects read in the text form.
    pub fn set_rows(&mut self, file: FileId, rows: Vec<String>) {
        if let Some(file) = self.files.get_mut(file.0 as usize) {
            file.rows = rows;
        }
    }

    /// The file behind an id.
    #[must_use]
    pub fn get(&self, file: FileId) -> Option<&SourceFile> {
        self.files.get(file.0 as usize)
    }

    /// The id of the file with this path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<FileId> {
        let place = self.files.iter().position(|file| file.path == path)?;
        u32::try_from(place).ok().map(FileId)
    }

    /// The path of a line's file, relative to the snapshot.
    #[must_use]
    pub fn path(&self, evidence: Evidence) -> &str {
        self.get(evidence.file).map_or("", |file| &file.path)
    }

    /// The text of a line, without its line end; for an object of a JSON file its row in the text form's syntax.
    #[must_use]
    pub fn text(&self, evidence: Evidence) -> &str {
        let Some(file) = self.get(evidence.file) else { return "" };
        match evidence.index {
            Some(index) => file.rows.get(index as usize).map_or("", String::as_str),
            None => file.line(evidence.line),
        }
    }
}

impl SourceFile {
    /// The text as far as it has been read.
    fn read(&self) -> &str {
        self.on_disk.as_ref().map_or(&self.text, |file| file.text.get().map_or("", |text| text))
    }

    /// The text of a line, from 1, without its line end.
    #[must_use]
    pub fn line(&self, line: u32) -> &str {
        let text = self.read();
        let starts = self.starts.get_or_init(|| line_starts(text));
        let place = (line as usize).saturating_sub(1);
        let Some(&start) = starts.get(place) else { return "" };
        let rest = text.get(start as usize..).unwrap_or("");
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        rest.get(..end).map_or("", |line| line.strip_suffix('\r').unwrap_or(line))
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    let ends = memchr::memchr_iter(b'\n', text.as_bytes());
    std::iter::once(0).chain(ends.map(|end| u32::try_from(end + 1).unwrap_or(u32::MAX))).collect()
}
