//! The folder that files are made in once the program may no longer walk there.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::privilege::Owner;

/// An open folder: the same one whatever becomes of its name.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    /// Whose it is.
    pub owner: Owner,
}

impl Folder {
    /// Opens the folder that a file is in. Fails where there is none.
    pub fn of(file: &Path) -> io::Result<Self> {
        let path = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(rustix::fs::CWD, path, flags, Mode::empty())?;
        let metadata = File::from(handle.try_clone()?).metadata()?;
        Ok(Self { handle, owner: Owner { uid: metadata.uid(), gid: metadata.gid() } })
    }

    /// Makes a file in it, in place of one of that name. A link of that name is replaced and not followed.
    pub fn replace(&self, name: &OsStr) -> io::Result<File> {
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.handle, name, flags, Mode::from_raw_mode(0o666))?.into())
    }
}
