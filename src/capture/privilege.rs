//! What a capture may once it has begun: read its sockets, and write its files.

use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The user and group that own nothing.
const NOBODY: u32 = 65534;

/// Who a program becomes that gives up its capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// Who owns nothing.
    pub const NOBODY: Self = Self { uid: NOBODY, gid: NOBODY };
    /// Who owns almost all.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Gives up every capability of the calling thread, for good; root becomes somebody else first, where that is another
/// one and the user namespace knows him. To be called while there is one thread.
///
/// Fails where the kernel refuses, and then nothing is to be done with what it left.
pub fn give_up(owner: Owner) -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // What the sets below can't be made to hold again; a process without CAP_SETPCAP can't take it out either.
    for capability in CapabilitySet::all().iter() {
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    if Uid::effective().is_root() && owner.uid != 0 {
        become_owner(owner)?;
    }
    let _ = rustix::thread::clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

fn become_owner(owner: Owner) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    // A user namespace may not let its root change groups, or not know the user at all; what it does let is done.
    for changed in [setgroups(&[]), setresgid(gid, gid, gid), setresuid(uid, uid, uid)] {
        match changed {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::EPERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
