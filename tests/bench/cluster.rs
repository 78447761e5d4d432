//! A snapshot on disk around a large dump: the bundled two-node snapshot, with the dump in place of a node's.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::dump::{self, Size};
use super::{nft_dump, objects};

/// A snapshot in a folder that goes away with this.
#[derive(Debug)]
pub struct Cluster {
    /// What it is called in the table of goals.
    pub name: &'static str,
    /// Its folder.
    pub dir: PathBuf,
    /// What its first node's dump was made for.
    pub size: Size,
}

/// Writes a large file from the small one.
pub type Enlarge = fn(base: &str, size: Size, to: &mut dyn Write) -> io::Result<()>;

/// What is left of a node's rules of iptables where kube-proxy writes none.
fn without_services(base: &str, _: Size, to: &mut dyn Write) -> io::Result<()> {
    base.lines().filter(|line| !line.contains("KUBE-")).try_for_each(|line| writeln!(to, "{line}"))
}

impl Cluster {
    /// Writes one whose first node has the large dump.
    pub fn one_node(name: &'static str, size: Size) -> io::Result<Self> {
        Self::write(name, size, &[("nodes/n1/host/iptables-save", dump::write)])
    }

    /// Writes one whose first node's kube-proxy writes nftables.
    pub fn nftables(name: &'static str, size: Size) -> io::Result<Self> {
        let files: [(_, Enlarge); 2] =
            [("nodes/n1/host/nft.txt", nft_dump::write), ("nodes/n1/host/iptables-save", without_services)];
        Self::write(name, size, &files)
    }

    /// Writes one that holds a large dump and nothing else, with the dump's place in it.
    pub fn alone(
        name: &'static str,
        size: Size,
        (path, enlarge): (&'static str, Enlarge),
    ) -> io::Result<(Self, PathBuf)> {
        let cluster = Self { name, dir: folder(size, path), size };
        let file = cluster.dir.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&cluster.dir))?;
        let mut to = BufWriter::new(File::create(&file)?);
        enlarge(&fs::read_to_string(base().join(path))?, size, &mut to)?;
        to.flush()?;
        Ok((cluster, file))
    }

    /// Writes one whose two nodes have it, with the Kubernetes objects that they have it from.
    pub fn whole(name: &'static str, size: Size) -> io::Result<Self> {
        let files: [(_, Enlarge); 4] = [
            ("nodes/n1/host/iptables-save", dump::write),
            ("nodes/n2/host/iptables-save", dump::write),
            ("cluster/services.json", objects::write_services),
            ("cluster/endpointslices.json", objects::write_slices),
        ];
        Self::write(name, size, &files)
    }

    fn write(name: &'static str, size: Size, files: &[(&str, Enlarge)]) -> io::Result<Self> {
        let base = base();
        let first = files.first().map_or("", |(path, _)| path);
        let cluster = Self { name, dir: folder(size, &format!("{}-{first}", files.len())), size };
        copy(&base, &cluster.dir)?;
        for (path, enlarge) in files {
            let mut file = BufWriter::new(File::create(cluster.dir.join(path))?);
            enlarge(&fs::read_to_string(base.join(path))?, size, &mut file)?;
            file.flush()?;
        }
        Ok(cluster)
    }

    /// The first node's dump.
    pub fn dump(&self) -> PathBuf {
        self.dir.join("nodes/n1/host/iptables-save")
    }
}

/// The bundled snapshot that all of them start from.
fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan")
}

fn folder(size: Size, what: &str) -> PathBuf {
    let what = what.replace('/', "-");
    std::env::temp_dir().join(format!("flowtrace-bench-{}-{}-{what}", std::process::id(), size.services))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
