//! What a child prints and what it complains, read as it comes.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Which of two pipes has something to read, or has ended; none, where nothing comes for so long.
pub(super) fn ready(pipes: [Option<BorrowedFd<'_>>; 2], patience: Duration) -> io::Result<[bool; 2]> {
    let mut fds: Vec<PollFd> = pipes.iter().flatten().map(|pipe| PollFd::new(*pipe, PollFlags::POLLIN)).collect();
    match poll(&mut fds, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut fds = fds.iter();
    Ok(pipes.map(|pipe| pipe.is_some() && fds.next().is_some_and(|fd| fd.any().unwrap_or_default())))
}
