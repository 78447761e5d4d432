//! The signals that ask a program to end.

#[cfg(target_os = "linux")]
use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
#[cfg(target_os = "linux")]
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Those that ask to end. A terminal that goes away asks for nothing where the program was started to ignore that
/// (`nohup`). SIGINT counts always: shells start what is in the background so that it ignores it, and scripts end a
/// capture by it all the same.
pub(crate) fn heeded() -> Vec<Signal> {
    // Where there is no such file, nothing is known to be ignored.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let hangup = (!is_ignored(&status, Signal::SIGHUP)).then_some(Signal::SIGHUP);
    [Signal::SIGINT, Signal::SIGTERM].into_iter().chain(hangup).collect()
}

/// Blocks the signals that ask to end, for this thread and those that it starts, and reads them from a descriptor.
#[cfg(target_os = "linux")]
pub(crate) fn descriptor() -> Result<SignalFd, Errno> {
    let set: SigSet = heeded().into_iter().collect();
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Whether a process ignores a signal, by its `status` under `/proc` (proc_pid_status(5)).
fn is_ignored(status: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal as u32 - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_has_ignored_stays_so() {
        let status =
            "Name:\tflowtrace\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000000440\n";
        assert!(is_ignored(status, Signal::SIGHUP));
        assert!(!is_ignored(status, Signal::SIGINT) && !is_ignored("", Signal::SIGHUP));
    }
}
