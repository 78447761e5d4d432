//! Runs the tools that print what rtnetlink doesn't tell.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::collect::pipes::ready;
use crate::collect::stop::Stop;

use super::process::{self, Mounts};

/// Where tools are beside `PATH`, which a shell of a pod or of cron may have cut down.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Where k3s and RKE2 bring tools along, in the folder of their data, where that is the usual one.
const BROUGHT: [&str; 2] = ["/var/lib/rancher/k3s/data/current/bin", "/var/lib/rancher/rke2/bin"];
/// RKE2's data, of each version.
const RKE2: &str = "/var/lib/rancher/rke2/data";

/// No tool takes longer. One whole dump of 160,000 rules of nft's took 48 seconds of a processor.
const PATIENCE: Duration = Duration::from_secs(300);

/// The time zone in which tools run.
pub(super) const TIMEZONE: &str = "UTC";

/// How long it may take until it is noticed that somebody asks to end.
const NOTICE: Duration = Duration::from_millis(100);

/// So much of what a tool complains is kept.
const MOST_WORDS: usize = 4096;

/// The folders in which tools are looked for.
pub(super) struct Folders(Vec<PathBuf>);

impl Folders {
    /// Looks which there are. Wherever the data of k3s and RKE2 are, root's programs run from there; what a container
    /// sees under such a path is its own, and nothing that root should run.
    pub fn look() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = std::env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
        let mounts = Mounts::look();
        let of_node = process::all().into_iter().filter(|process| process.is_of_node(&mounts));
        let run = of_node.filter_map(|process| process.program()?.parent().map(Path::to_owned));
        let run = run.filter(|folder| is_brought(folder)).collect::<BTreeSet<_>>();
        let versions = fs::read_dir(RKE2).into_iter().flatten().filter_map(Result::ok);
        let versions = versions.map(|version| version.path().join("bin"));
        let brought = BROUGHT.iter().map(PathBuf::from).chain(versions).chain(run);
        Self(own.chain(brought.flat_map(|folder| [folder.join("aux"), folder])).collect())
    }

    /// Finds a program.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        self.0.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }
}

/// Whether a folder is `data/<version>/bin` of something.
fn is_brought(folder: &Path) -> bool {
    let data = folder.ancestors().nth(2);
    folder.ends_with("bin") && data.is_some_and(|data| data.ends_with("data"))
}

/// Runs a program in the calling thread's namespace, and writes its output into a file: the netfilter tools don't say
/// where a disk was full. The inner error says why there is no output, the outer one why it can't be written.
pub(super) fn run(program: &Path, args: &[&str], output: &File, stop: &Stop) -> io::Result<Result<(), String>> {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let failed = |err: io::Error| format!("{name}: {err}");
    let spawned = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .env("TZ", TIMEZONE)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(err) => return Ok(Err(failed(err))),
    };
    let complaint = match listen(&mut child, output, stop) {
        Ok(complaint) => complaint,
        Err(err) => {
            let _ = child.kill().and_then(|()| child.wait());
            return Err(err);
        }
    };
    Ok(match (complaint, end(&mut child)) {
        (_, Err(err)) => Err(failed(err)),
        (Some(complaint), Ok(status)) if !status.success() => Err(told(&name, &complaint, status)),
        (Some(_), Ok(_)) => Ok(()),
        (None, _) if stop.is_asked() => Err(format!("{name} was ended")),
        (None, _) => Err(format!("{name} did not end within {} seconds", PATIENCE.as_secs())),
    })
}

/// Writes what a program prints, until it ends: what it complains meanwhile; `None` where it takes too long, or is to
/// end. Fails where the output can't be written.
fn listen(child: &mut Child, mut output: &File, stop: &Stop) -> io::Result<Option<String>> {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while stdout.is_some() || stderr.is_some() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.is_asked() {
            return Ok(None);
        }
        let pipes = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        let [printed, complained] = ready(pipes, left.min(NOTICE))?;
        if printed {
            match stdout.as_mut().map_or(Ok(0), |stdout| stdout.read(&mut buffer))? {
                0 => stdout = None,
                length => output.write_all(buffer.get(..length).unwrap_or_default())?,
            }
        }
        if complained {
            match stderr.as_mut().map_or(Ok(0), |stderr| stderr.read(&mut buffer))? {
                0 => stderr = None,
                length => {
                    let room = MOST_WORDS.saturating_sub(said.len()).min(length);
                    said.extend_from_slice(buffer.get(..room).unwrap_or_default());
                }
            }
        }
    }
    Ok(Some(String::from_utf8_lossy(&said).into_owned()))
}

/// Waits for a program that has closed its output, and ends one that has not.
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
    fn a_full_disk_is_seen_whatever_the_program_says() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let run = |words| run(&Folders::look().find("sh").unwrap(), &["-c", words], &full, &Stop::default());
        assert_eq!(run("echo text; exit 0").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(run("exit 0").unwrap(), Ok(()));
    }

    #[test]
    fn a_failing_program_is_told_in_its_own_words() {
        let sh = Folders::look().find("sh").unwrap();
        assert_eq!(run(&sh, &["-c", "exit 0"], &output(), &Stop::default()).unwrap(), Ok(()));
        let told = run(&sh, &["-c", "echo one >&2; echo 'two' >&2; exit 3"], &output(), &Stop::default())
            .unwrap()
            .unwrap_err();
        assert_eq!(told, "sh: two (exit 3)");
        assert!(
            run(Path::new("/nonexistent/tool"), &[], &output(), &Stop::default())
                .unwrap()
                .unwrap_err()
                .starts_with("tool: ")
        );
    }

    #[test]
    fn an_endless_complaint_fills_no_memory_and_blocks_nobody() {
        let sh = Folders::look().find("sh").unwrap();
        let told = run(
            &sh,
            &["-c", "i=0; while [ $i -lt 20000 ]; do echo 'xxxxxxxxxxxxxxx' >&2; i=$((i+1)); done; exit 1"],
            &output(),
            &Stop::default(),
        );
        assert!(told.unwrap().unwrap_err().len() < 100);
    }

    #[test]
    fn programs_are_found_without_a_path() {
        assert!(Folders::look().find("sh").is_some());
        assert_eq!(Folders::look().find("no-such-program-anywhere"), None);
    }

    #[test]
    fn tools_are_brought_along_in_folders_of_data() {
        for (folder, is) in [
            ("/mine/data/0f6e/bin", true),
            ("/var/lib/rancher/rke2/data/v1.35.0-rke2r1/bin", true),
            ("/mine/data/bin", false),
            ("/usr/bin", false),
            ("/", false),
        ] {
            assert_eq!(is_brought(Path::new(folder)), is, "{folder}");
        }
    }
}
