//! A snapshot on disk around a large dump: the bundled two-node snapshot, with the dump in place of its first node's.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::dump::{self, Size};

/// A snapshot in a folder that goes away with this.
#[derive(Debug)]
pub struct Cluster {
    /// Its folder.
    pub dir: PathBuf,
    /// What its first node's dump was made for.
    pub size: Size,
}

/// The node that has the dump.
const DUMP: &str = "nodes/n1/host/iptables-save";

impl Cluster {
    /// Writes it.
    pub fn write(size: Size) -> io::Result<Self> {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vxlan");
        let name = format!("flowtrace-bench-{}-{}", std::process::id(), size.services);
        let cluster = Self { dir: std::env::temp_dir().join(name), size };
        copy(&base, &cluster.dir)?;
        let mut file = BufWriter::new(File::create(cluster.dump())?);
        dump::write(&fs::read_to_string(base.join(DUMP))?, size, &mut file)?;
        file.flush()?;
        Ok(cluster)
    }

    /// The dump.
    pub fn dump(&self) -> PathBuf {
        self.dir.join(DUMP)
    }
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
