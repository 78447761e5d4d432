//! The bundled snapshots, as files in memory, and the forms in which they can come.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// The files of a snapshot: paths relative to it, and what they hold.
#[derive(Clone, Debug)]
pub struct Files(pub Vec<(String, Vec<u8>)>);

impl Files {
    /// The bundled snapshot of this name.
    pub fn bundled(name: &str) -> Self {
        let mut files = Self(Vec::new());
        files.collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name), "");
        files.0.sort();
        assert!(files.0.len() > 3, "{name} is no bundled snapshot");
        files
    }

    fn collect(&mut self, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = format!("{prefix}{}", entry.file_name().into_string().unwrap());
            if entry.path().is_dir() {
                self.collect(&entry.path(), &format!("{path}/"));
            } else {
                self.0.push((path, fs::read(entry.path()).unwrap()));
            }
        }
    }

    /// Puts a file in place of one, or adds it.
    pub fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.0.retain(|(other, _)| other != path);
        self.0.push((path.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// Changes the text of a file.
    pub fn edit(self, path: &str, change: impl FnOnce(&str) -> String) -> Self {
        let text = change(self.text(path));
        self.with(path, text)
    }

    /// Takes a file away.
    pub fn without(mut self, path: &str) -> Self {
        self.0.retain(|(other, _)| other != path);
        self
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> &str {
        let found = self.0.iter().find(|(other, _)| other == path);
        std::str::from_utf8(&found.unwrap_or_else(|| panic!("no file {path}")).1).unwrap()
    }

    /// Writes the snapshot in a form.
    pub fn write(&self, form: Form) -> Temporary {
        let there = Temporary::new();
        match form {
            Form::Folder => self.write_folder(&there.path),
            Form::Tar => fs::write(&there.path, self.tar()).unwrap(),
            Form::Gzip => fs::write(&there.path, gzip(&self.tar())).unwrap(),
            Form::Zstd => {
                fs::write(&there.path, compress_to_vec(self.tar().as_slice(), CompressionLevel::Fastest)).unwrap();
            }
        }
        there
    }

    fn write_folder(&self, folder: &Path) {
        for (path, content) in &self.0 {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// The snapshot as a tar archive, a folder down.
    pub fn tar(&self) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("case/{path}"), content.as_slice()).unwrap();
        }
        archive.into_inner().unwrap()
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// How a snapshot comes.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    Folder,
    Tar,
    Gzip,
    Zstd,
}

impl Form {
    pub const ALL: [Self; 4] = [Self::Folder, Self::Tar, Self::Gzip, Self::Zstd];
}

/// A file or folder that goes away with this.
#[derive(Debug)]
pub struct Temporary {
    pub path: PathBuf,
}

impl Temporary {
    /// A path at which nothing is yet.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { path: std::env::temp_dir().join(format!("flowtrace-robustness-{}-{number}", std::process::id())) }
    }

    pub fn as_str(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path).or_else(|_| fs::remove_dir_all(&self.path));
    }
}

/// Every bundled snapshot's name.
pub fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = folders
        .filter(|folder| folder.path().join("nodes").is_dir())
        .map(|folder| folder.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    names
}
