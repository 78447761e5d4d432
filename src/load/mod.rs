//! Readers: text to [`crate::snapshot::Snapshot`]. Only this file opens files.

mod assemble;
mod bundle;
mod bytes;
mod derive;
mod foreign;
mod forms;
pub(crate) mod layout;
mod objects;
mod relay;

pub mod bridge_fdb;
pub mod bridge_link;
pub mod bridge_vlan;
#[cfg(test)]
mod check;
mod comment;
pub mod conntrack_list;
pub mod ip_addr;
pub mod ip_link;
pub mod ip_neigh;
pub mod ip_nexthop;
pub mod ip_route;
pub mod ip_rule;
mod ipset_save;
mod iptables_save;
mod json;
mod kube;
mod lines;
pub(crate) mod meta;
mod netfilter;
mod nfacct_list;
mod nft_json;
mod nft_list;
pub mod recent;
mod rt_names;
pub mod sysctl;
pub mod tuntap;
mod unread;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::evidence::{Gap, SourceFile, Text};
use crate::snapshot::Snapshot;

use bundle::{Content, LIMITS};
use bytes::Bytes;
use layout::Slot;

pub use comment::{service_at_in_rules, service_in_rules};
pub use kube::{broken_endpoint_slices, endpoint_slices};
#[cfg(target_os = "linux")]
pub(crate) use nft_list::ELSEWHERE;

/// How many folders down a snapshot may stand in a support bundle's folder.
const DEPTH_LIMIT: u32 = 6;
/// How many folders are searched for it.
const FOLDER_LIMIT: usize = 20_000;
/// What is said of a file that is text but for some bytes.
const NOT_UTF8: &str = "is not UTF-8: the bytes that aren't were replaced";
/// How many refused entries are named before they are only counted.
const REFUSED_LIMIT: usize = 50;

/// Loads a snapshot: a folder, or a tar, tar.gz or tar.zst archive of it, or one of these in which it stands some
/// folders down. A line that can't be read is a gap of the snapshot; only what makes it no snapshot at all is an
/// error.
pub fn load(path: &Path) -> Result<Snapshot, Error> {
    Tree::find(path)?.load(path)
}

/// Loads a snapshot from a tar, tar.gz or tar.zst archive, which errors call by a name.
pub fn load_archive(archive: impl BufRead, name: &Path) -> Result<Snapshot, Error> {
    let bundle = bundle::read(archive, LIMITS).map_err(|what| not_one(name, what))?;
    Tree::from_bundle(bundle, name)?.load(name)
}

/// The files of a snapshot, not yet understood.
#[derive(Debug, Default)]
pub struct Raw {
    /// Paths relative to the snapshot, and what stands there.
    pub files: Vec<(String, Text)>,
    /// The folders of namespaces, relative to the snapshot, sorted.
    pub folders: BTreeSet<String>,
    /// What could not be read.
    pub told: Vec<String>,
}

/// Reads the files of nodes' snapshots, in the forms that [`load`] takes, without what they have of Kubernetes' objects.
pub fn raw(path: &Path) -> Result<Raw, Error> {
    Ok(Tree::find(path)?.into_raw())
}

/// The same from an archive, which errors call by a name.
pub fn raw_archive(archive: impl BufRead, name: &Path) -> Result<Raw, Error> {
    let bundle = bundle::read(archive, LIMITS).map_err(|what| not_one(name, what))?;
    Ok(Tree::from_bundle(bundle, name)?.into_raw())
}

/// Loads Kubernetes objects alone, as [`load_files`] does: a snapshot without any node's tables.
#[must_use]
pub fn load_objects(files: impl IntoIterator<Item = (String, Arc<str>)>) -> Snapshot {
    let files = files.into_iter().filter(|(path, _)| matches!(Slot::of(path), Some(Slot::Cluster)));
    let mut files: Vec<_> = files.map(|(path, text)| (path.clone(), path, Source::Text(Text::from(text)))).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    assemble::assemble(files, &BTreeSet::new(), &BTreeMap::new(), Vec::new())
}

/// Loads a snapshot whose files are at hand: each a path relative to the snapshot, and its text.
pub fn load_files(files: impl IntoIterator<Item = (String, Arc<str>)>) -> Result<Snapshot, Error> {
    let mut tree = Tree::default();
    for (path, text) in files {
        if Slot::of(&path).is_some_and(|slot| !slot.is_folder()) {
            tree.files.push((path, Source::Text(Text::from(text))));
        }
    }
    tree.load(Path::new("snapshot"))
}

fn not_one(path: &Path, what: impl Into<String>) -> Error {
    Error::Snapshot { path: path.to_owned(), what: what.into() }
}

/// The files of a snapshot, found and read, not yet understood.
#[derive(Debug, Default)]
struct Tree {
    /// Paths relative to the snapshot, and what stands there.
    files: Vec<(String, Source)>,
    /// The places in a snapshot of files that are called something else, and their texts.
    foreign: Vec<foreign::Table>,
    /// The folders of namespaces, which count even if they are empty.
    folders: BTreeSet<String>,
    gaps: Vec<Gap>,
    /// Files that are there and were not read: why, by their paths.
    unread: BTreeMap<String, String>,
    read: u64,
}

/// A file's text, or where it is.
#[derive(Debug)]
enum Source {
    Text(Text),
    /// Read once it is needed.
    OnDisk(PathBuf),
}

impl Tree {
    /// Reads the files of a folder or of an archive.
    fn find(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(io)?;
        if metadata.is_dir() {
            return Self::read(path);
        }
        if !metadata.is_file() {
            return Err(not_one(path, "neither a folder nor a file"));
        }
        let file = File::open(path).map_err(io)?;
        let bundle =
            bundle::read(BufReader::with_capacity(1 << 16, file), LIMITS).map_err(|what| not_one(path, what))?;
        Self::from_bundle(bundle, path)
    }

    /// What nodes have, as texts.
    fn into_raw(self) -> Raw {
        let files = self.files.into_iter().filter_map(|(path, source)| match source {
            Source::Text(text) if !path.starts_with("cluster/") => Some((path, text)),
            _ => None,
        });
        let foreign = self.foreign.into_iter().map(|table| (table.slot, Text::from(table.text)));
        let files: Vec<(String, Text)> = files.chain(foreign).collect();
        // An archive need not have entries for its folders.
        let of_files = files.iter().filter_map(|(path, _)| Some(path.rsplit_once('/')?.0.to_owned()));
        let folders = of_files.chain(self.folders).collect();
        Raw { files, folders, told: self.gaps.into_iter().map(|gap| gap.what).collect() }
    }

    fn load(mut self, path: &Path) -> Result<Snapshot, Error> {
        self.files.sort_by(|one, other| one.0.cmp(&other.0));
        self.folders.extend(foreign::folders(&self.foreign));
        let own = self.files.into_iter().map(|(path, source)| (path.clone(), path, source));
        let foreign = self.foreign.into_iter().map(|table| (table.slot, table.path, Source::Text(table.text.into())));
        let files = own.chain(foreign).collect();
        let snapshot = assemble::assemble(files, &self.folders, &self.unread, self.gaps);
        if snapshot.namespaces.is_empty() {
            return Err(not_one(path, "holds no `nodes/<node>/host` and no `nodes/<node>/pods/<namespace>_<name>`"));
        }
        Ok(snapshot)
    }

    /// Keeps of an archive what belongs to its one snapshot.
    fn from_bundle(bundle: bundle::Bundle, path: &Path) -> Result<Self, Error> {
        let places = bundle.files.keys().chain(&bundle.folders).flat_map(|path| {
            let inside = |slot: &Slot| !matches!(slot, Slot::Meta | Slot::Cluster);
            layout::slots(path).filter(move |(_, slot)| inside(slot)).map(|(start, _)| path.get(..start).unwrap_or(""))
        });
        let places: BTreeSet<&str> = places.collect();
        if places.is_empty()
            && let Some(mut tree) = Self::from_foreign(bundle.foreign)
        {
            tree.refuse(bundle.refused, "");
            tree.note_unfinished(bundle.unfinished);
            return Ok(tree);
        }
        let root = only_root(&places, path)?.to_owned();
        let mut tree = Self::default();
        tree.refuse(bundle.refused, &root);
        tree.note_unfinished(bundle.unfinished);
        for folder in &bundle.folders {
            let inside = folder.strip_prefix(&root).filter(|path| Slot::of(path).is_some());
            tree.folders.extend(inside.map(str::to_owned));
        }
        for (path, content) in bundle.files {
            if let Some(inside) = path.strip_prefix(&root).filter(|path| Slot::of(path).is_some()) {
                tree.add(inside.to_owned(), content);
            }
        }
        Ok(tree)
    }

    fn note_unfinished(&mut self, is_unfinished: bool) {
        if is_unfinished {
            self.gaps.push(Gap::new("the archive has no end mark: it may have been cut off between two files", vec![]));
        }
    }

    /// Takes the bundles of other collectors for nodes; nothing where there is none. What is no text stays unknown.
    fn from_foreign(files: BTreeMap<String, Content>) -> Option<Self> {
        let mut tree = Self::default();
        let mut texts = BTreeMap::new();
        for (path, content) in files {
            if let Some(text) = tree.text(&path, content) {
                texts.insert(path, text.to_string());
            }
        }
        let foreign::Found { tables, notes } = foreign::find(&texts);
        tree.gaps.extend(notes.into_iter().map(|note| Gap::new(note, vec![])));
        tree.foreign = tables;
        (!tree.foreign.is_empty()).then_some(tree)
    }

    fn refuse(&mut self, refused: Vec<bundle::Refused>, root: &str) {
        let matters = |entry: &bundle::Refused| {
            entry.everywhere || entry.path.strip_prefix(root).is_some_and(|path| Slot::of(path).is_some())
        };
        let mut refused = refused.into_iter().filter(matters);
        for entry in refused.by_ref().take(REFUSED_LIMIT) {
            self.gap(&entry.path, entry.why);
            let inside = entry.path.strip_prefix(root).unwrap_or(&entry.path).to_owned();
            self.unread.insert(inside, format!("{} {}", entry.path.escape_debug(), entry.why));
        }
        let more = refused.count();
        if more > 0 {
            self.gaps.push(Gap::new(format!("{more} more entries of the archive were refused"), vec![]));
        }
    }

    /// Says of a file that is there why it was not read.
    fn unread(&mut self, path: &str, what: impl std::fmt::Display) {
        self.unread.insert(path.to_owned(), format!("{} {what}", path.escape_debug()));
        self.gap(path, what);
    }

    fn gap(&mut self, path: &str, what: impl std::fmt::Display) {
        self.gaps.push(Gap::new(format!("{} {what}", path.escape_debug()), vec![]));
    }

    /// A file's text, with a gap where some of it is none; nothing where it is no text.
    fn text(&mut self, path: &str, content: Content) -> Option<Text> {
        match content {
            Content::Text(text) => Some(text),
            Content::Lossy(text) => {
                self.gap(path, NOT_UTF8);
                Some(text)
            }
            Content::Binary(line) => {
                self.unread(path, format_args!("is not text (line {line} holds NUL bytes), and was not read"));
                None
            }
        }
    }

    /// Keeps a file's text. What is no text stays unknown.
    fn add(&mut self, path: String, content: Content) {
        let Some(text) = self.text(&path, content) else { return };
        // No tool leaves its last line open. JSON says by itself where it ends.
        let open = !text.is_empty() && !text.ends_with('\n');
        if open
            && path.starts_with("nodes/")
            && Path::new(&path).extension().is_none_or(|extension| extension != "json")
            && !netfilter::is_closed(&path, &text)
        {
            self.gap(&path, "ends in the middle of a line: what followed is not known");
        }
        self.files.push((path, Source::Text(text)));
    }

    /// Finds the snapshot in a folder, and reads its files.
    fn read(path: &Path) -> Result<Self, Error> {
        let root = match find_root(path) {
            Ok(root) => root,
            Err(err) => return Self::read_foreign(path).ok_or(err),
        };
        let canonical = fs::canonicalize(&root).map_err(|source| Error::Io { path: root.clone(), source })?;
        let mut tree = Self::default();
        let mut reader = Reader { root: canonical, tree: &mut tree };
        reader.read_file(layout::META, &root.join(layout::META))?;
        let cluster = root.join("cluster");
        if reader.is_folder(&cluster, "cluster") {
            for name in layout::CLUSTER {
                reader.read_file(&format!("cluster/{name}"), &cluster.join(name))?;
            }
        }
        for node in reader.folders(&root.join("nodes"), "nodes") {
            let dir = root.join(&node);
            reader.read_folder(&format!("{node}/host"), &dir.join("host"))?;
            for pod in reader.folders(&dir.join("pods"), &format!("{node}/pods")) {
                reader.read_folder(&pod, &root.join(&pod))?;
            }
        }
        Ok(tree)
    }
}

impl Tree {
    /// Reads the bundles of other collectors in a folder.
    fn read_foreign(path: &Path) -> Option<Self> {
        let (mut files, mut total, mut left_out) = (BTreeMap::new(), 0, Vec::new());
        let mut level = vec![(String::new(), path.to_owned())];
        let mut searched = 0;
        // A setting of Retina's stands further down than the layout itself.
        for _ in 0..=DEPTH_LIMIT + 6 {
            let below: Vec<(String, PathBuf)> = level.iter().flat_map(|(inside, dir)| below(inside, dir)).collect();
            let below: Vec<_> = below.into_iter().take(FOLDER_LIMIT.saturating_sub(searched)).collect();
            searched += below.len();
            let (folders, plain): (Vec<_>, Vec<_>) = below.into_iter().partition(|(_, path)| path.is_dir());
            for (inside, file) in plain.into_iter().filter(|(inside, _)| foreign::wants(inside)) {
                match read_bounded(&file) {
                    Ok(Some(bytes)) if total + bytes.len() as u64 <= LIMITS.total => {
                        total += bytes.len() as u64;
                        files.insert(inside, Content::of(bytes));
                    }
                    Ok(_) => left_out.push((inside, bundle::TOO_LARGE.to_owned())),
                    Err(err) => left_out.push((inside, format!("can't be read: {err}"))),
                }
            }
            level = folders;
        }
        let mut tree = Self::from_foreign(files)?;
        left_out.into_iter().take(REFUSED_LIMIT).for_each(|(path, why)| tree.unread(&path, why));
        Some(tree)
    }
}

/// What is in a folder, without links, each with its path inside the whole.
fn below(inside: &str, dir: &Path) -> Vec<(String, PathBuf)> {
    let found = entries(dir).unwrap_or_default().into_iter();
    let plain = found
        .filter(|(_, path)| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir() || metadata.is_file()));
    plain.map(|(name, path)| (if inside.is_empty() { name } else { format!("{inside}/{name}") }, path)).collect()
}

/// The one place of a snapshot's layout, the highest where there are several: its path with a `/` at the end.
fn only_root<'a>(places: &BTreeSet<&'a str>, path: &Path) -> Result<&'a str, Error> {
    let depth = |place: &str| place.matches('/').count();
    let highest = places.iter().map(|place| depth(place)).min();
    let roots: Vec<&str> = places.iter().copied().filter(|place| Some(depth(place)) == highest).collect();
    match roots.as_slice() {
        [root] => Ok(root),
        [] => Err(not_one(path, "holds no snapshot: no folder `nodes/<node>/host` or `nodes/<node>/pods/<pod>` in it")),
        several => Err(not_one(path, format!("holds several snapshots: {}; name one of them", several.join(", ")))),
    }
}

/// The folder itself, or the one below it that has the snapshot's layout.
fn find_root(path: &Path) -> Result<PathBuf, Error> {
    let mut level = vec![path.to_owned()];
    let mut searched = 0;
    for _ in 0..=DEPTH_LIMIT {
        let roots: Vec<&PathBuf> = level.iter().filter(|dir| is_root(dir)).collect();
        match roots.as_slice() {
            [root] => return Ok((*root).clone()),
            [] => {}
            several => {
                let names: Vec<String> = several.iter().map(|root| root.display().to_string()).collect();
                let what = format!("holds several snapshots: {}; name one of them", names.join(", "));
                return Err(not_one(path, what));
            }
        }
        let below = level.iter().flat_map(|dir| subfolders(dir));
        level = below.take(FOLDER_LIMIT.saturating_sub(searched)).collect();
        searched += level.len();
    }
    Err(not_one(path, "holds no snapshot: no folder `nodes/<node>/host` or `nodes/<node>/pods/<pod>` in it"))
}

fn is_root(dir: &Path) -> bool {
    let nodes = entries(&dir.join("nodes")).into_iter().flatten();
    nodes.map(|(_, node)| node).any(|node| node.join("host").is_dir() || node.join("pods").is_dir())
}

/// The folders in a folder, sorted; symbolic links are not followed on the search.
fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let found = entries(dir).into_iter().flatten().map(|(_, path)| path);
    found.filter(|path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())).collect()
}

/// What is in a folder, sorted by name; names that are not UTF-8 are none of a snapshot's.
fn entries(dir: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(dir)?.filter_map(Result::ok);
    let mut found: Vec<(String, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect();
    found.sort();
    Ok(found)
}

/// Reads the files of a folder that have a snapshot's names.
struct Reader<'a> {
    /// The snapshot's folder, without symbolic links.
    root: PathBuf,
    tree: &'a mut Tree,
}

impl Reader<'_> {
    /// The folders in a folder of the snapshot, by their paths relative to it.
    fn folders(&mut self, dir: &Path, path: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (name, entry) in self.entries(dir, path) {
            let path = format!("{path}/{name}");
            if self.is_folder(&entry, &path) {
                found.push(path);
            }
        }
        found
    }

    /// Whether a path is a folder inside the snapshot. Anything else that stands there is a gap.
    fn is_folder(&mut self, dir: &Path, path: &str) -> bool {
        let Ok(metadata) = fs::symlink_metadata(dir) else { return false };
        if metadata.is_symlink() && !self.inside(dir, path) {
            return false;
        }
        let Ok(metadata) = fs::metadata(dir) else { return false };
        if !metadata.is_dir() {
            self.tree.gap(path, format_args!("is not a folder but {}, and was not read", kind(&metadata)));
        }
        metadata.is_dir() && self.inside(dir, path)
    }

    fn entries(&mut self, dir: &Path, path: &str) -> Vec<(String, PathBuf)> {
        match entries(dir) {
            Ok(found) => found,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(err) => {
                self.tree.gap(path, format_args!("can't be read: {err}"));
                Vec::new()
            }
        }
    }

    fn read_folder(&mut self, path: &str, dir: &Path) -> Result<(), Error> {
        if !self.is_folder(dir, path) {
            return Ok(());
        }
        self.tree.folders.insert(path.to_owned());
        let entries = self.entries(dir, path);
        self.misnamed(path, &entries);
        for (name, file) in entries {
            // What is neither a file nor a folder is told whatever its name is: somebody put it there.
            if layout::is_table(&name) || is_odd(&file) {
                self.read_file(&format!("{path}/{name}"), &file)?;
            }
        }
        let recent = format!("{path}/{}", layout::RECENT);
        let lists = dir.join(layout::RECENT);
        if !self.is_folder(&lists, &recent) {
            return Ok(());
        }
        self.tree.folders.insert(recent.clone());
        for (name, file) in self.entries(&lists, &recent) {
            self.read_file(&format!("{recent}/{name}"), &file)?;
        }
        Ok(())
    }

    /// Tells of files that were probably meant for a table that isn't there.
    fn misnamed(&mut self, path: &str, entries: &[(String, PathBuf)]) {
        let stem = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let tables: BTreeSet<String> =
            entries.iter().filter(|(name, _)| layout::is_table(name)).map(|(name, _)| stem(name)).collect();
        for (name, file) in entries.iter().filter(|(name, _)| !layout::is_table(name)) {
            let meant = layout::meant(name).filter(|meant| !tables.contains(&stem(meant)) && file.is_file());
            if let Some(meant) = meant {
                self.tree
                    .gap(&format!("{path}/{name}"), format_args!("was not read: a snapshot has the table as {meant}"));
            }
        }
    }

    /// Reads one file. A file that can't be read is a gap; one that is not there is nothing.
    fn read_file(&mut self, path: &str, file: &Path) -> Result<(), Error> {
        let Ok(metadata) = fs::symlink_metadata(file) else { return Ok(()) };
        if metadata.is_symlink() && !self.inside(file, path) {
            return Ok(());
        }
        // A named pipe would be waited for and a device never ends, so they are not even opened.
        let Ok(metadata) = fs::metadata(file) else { return Ok(()) };
        if !metadata.is_file() {
            self.tree.unread(path, format_args!("is not a file but {}, and was not read", kind(&metadata)));
            return Ok(());
        }
        if path == layout::LARGEST {
            self.tree.files.push((path.to_owned(), Source::OnDisk(self.root.join(path))));
            return Ok(());
        }
        match read_bounded(file) {
            Ok(Some(bytes)) => {
                self.tree.read += bytes.len() as u64;
                if self.tree.read > LIMITS.total {
                    return Err(not_one(&self.root, "holds more than 2 GiB, which no snapshot does"));
                }
                self.tree.add(path.to_owned(), Content::of(bytes));
            }
            Ok(None) => self.tree.unread(path, bundle::TOO_LARGE),
            Err(err) => self.tree.unread(path, format_args!("can't be read: {err}")),
        }
        Ok(())
    }

    /// Whether a path stays in the snapshot once its symbolic links are followed.
    fn inside(&mut self, file: &Path, path: &str) -> bool {
        match fs::canonicalize(file) {
            Ok(target) if target.starts_with(&self.root) => true,
            Ok(_) => {
                self.tree.unread(path, "is a symbolic link that leaves the snapshot, and was not read");
                false
            }
            Err(err) => {
                self.tree.unread(path, format_args!("can't be read: {err}"));
                false
            }
        }
    }
}

/// Whether a path is a named pipe, a socket or a device.
fn is_odd(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// What stands in the place of a file or folder.
fn kind(metadata: &fs::Metadata) -> &'static str {
    match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => "a file",
        (_, true) => "a folder",
        _ => "a named pipe, a socket or a device",
    }
}

/// The text of a file, which is read now if it was left on disk, and what is wrong with it all the same. The error says
/// why it can't be read.
fn text(file: &SourceFile) -> Result<(Text, Option<String>), String> {
    let Some(on_disk) = &file.on_disk else { return Ok((file.text.clone(), None)) };
    let keep = |text: Text| on_disk.text.get_or_init(|| text).clone();
    match read_bounded(&on_disk.path).map(|bytes| bytes.map(Content::of)) {
        Ok(Some(Content::Text(text))) => Ok((keep(text), None)),
        Ok(Some(Content::Lossy(text))) => Ok((keep(text), Some(format!("{} {NOT_UTF8}", file.path)))),
        Ok(Some(Content::Binary(line))) => Err(format!("{} is not text (line {line} holds NUL bytes)", file.path)),
        Ok(None) => Err(format!("{} {}", file.path, bundle::TOO_LARGE)),
        Err(err) => Err(format!("{} can't be read: {err}", file.path)),
    }
}

/// A file's content; `None` if it is too large.
fn read_bounded(file: &Path) -> std::io::Result<Option<Bytes>> {
    let file = File::open(file)?;
    let len = file.metadata()?.len();
    Bytes::read(file, len, LIMITS.file)
}
