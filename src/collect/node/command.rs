//! Runs the tools that print what rtnetlink doesn't tell.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Where tools are beside `PATH`, which a shell of a pod or of cron may have cut down; the last are those that k3s and
/// RKE2 bring along.
const FOLDERS: [&str; 8] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/var/lib/rancher/k3s/data/current/bin/aux",
    "/var/lib/rancher/k3s/data/current/bin",
];

/// No tool takes longer. One whole dump of 160,000 rules of nft's took 48 seconds of a processor.
const PATIENCE: Duration = Duration::from_secs(300);

/// So much of what a tool complains is kept.
const MOST_WORDS: usize = 4096;

/// Finds a program.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Runs a program in the calling thread's namespace, its output into a file. An error says why there is none.
pub(super) fn run(program: &Path, args: &[&str], output: &File) -> Result<(), String> {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let failed = |err: io::Error| format!("{name}: {err}");
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let complaint = child.stderr.take().map(complaint).transpose();
    match complaint.and_then(|complaint| Ok((complaint.flatten(), end(&mut child)?))) {
        Ok((Some(complaint), status)) if !status.success() => Err(told(&name, &complaint, status)),
        Ok((Some(_), _)) => Ok(()),
        Ok((None, _)) => Err(format!("{name} did not end within {} seconds", PATIENCE.as_secs())),
        Err(err) => Err(failed(err)),
    }
}

/// What a program complains until it ends; `None` where it takes too long.
fn complaint(mut stderr: ChildStderr) -> io::Result<Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))? == 0 {
            continue;
        }
        match stderr.read(&mut buffer)? {
            0 => return Ok(Some(String::from_utf8_lossy(&said).into_owned())),
            length => {
                let room = MOST_WORDS.saturating_sub(said.len()).min(length);
                said.extend_from_slice(buffer.get(..room).unwrap_or_default());
            }
        }
    }
}

/// Waits for a program that has closed its standard error, and ends one that has not.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    for _ in 0..100 {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()
}

/// The last line of a complaint, which says most.
fn told(name: &str, complaint: &str, status: ExitStatus) -> String {
    let last = complaint.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let code = status.code().map_or_else(|| "a signal ended it".to_owned(), |code| format!("exit {code}"));
    last.map_or_else(|| format!("{name}: {code}"), |line| format!("{name}: {line} ({code})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> File {
        File::options().write(true).open("/dev/null").unwrap()
    }

    #[test]
    fn a_failing_program_is_told_in_its_own_words() {
        let sh = find("sh").unwrap();
        assert_eq!(run(&sh, &["-c", "exit 0"], &output()), Ok(()));
        let told = run(&sh, &["-c", "echo one >&2; echo 'two' >&2; exit 3"], &output()).unwrap_err();
        assert_eq!(told, "sh: two (exit 3)");
        assert!(run(Path::new("/nonexistent/tool"), &[], &output()).unwrap_err().starts_with("tool: "));
    }

    #[test]
    fn an_endless_complaint_fills_no_memory_and_blocks_nobody() {
        let sh = find("sh").unwrap();
        let told = run(
            &sh,
            &["-c", "i=0; while [ $i -lt 20000 ]; do echo 'xxxxxxxxxxxxxxx' >&2; i=$((i+1)); done; exit 1"],
            &output(),
        );
        assert!(told.unwrap_err().len() < 100);
    }

    #[test]
    fn programs_are_found_without_a_path() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-anywhere"), None);
    }
}
