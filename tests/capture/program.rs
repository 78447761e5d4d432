//! The program while it captures.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::Netns;

/// How long anything may take before it counts as a hang.
const HANG: Duration = Duration::from_secs(60);

/// A capture that runs.
pub struct Running {
    child: Child,
    errors: JoinHandle<String>,
}

/// How a capture ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub errors: String,
}

/// A folder of its own for what a test writes.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program, asked to capture.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtrace"));
    command.arg("capture").args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Running {
    /// Starts a capture in a namespace, and waits until it has begun.
    pub fn start(netns: &Netns, args: &[&str]) -> Self {
        Self::spawn(netns, &mut command(args))
    }

    pub fn spawn(netns: &Netns, command: &mut Command) -> Self {
        let mut child = netns.enter(|| command.spawn().unwrap());
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        errors.read_line(&mut first).unwrap();
        assert!(first.starts_with("capturing on "), "{first}");
        // Read to the end at once: a full pipe would hold the program up.
        let errors = std::thread::spawn(move || {
            let mut rest = String::new();
            errors.read_to_string(&mut rest).unwrap();
            rest
        });
        Self { child, errors }
    }

    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(self) -> Done {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Done {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > HANG {
                let _ = self.child.kill();
                panic!("the capture does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Done { code: status.code(), errors: self.errors.join().unwrap() }
    }
}

impl Done {
    /// Ended well, and told this of a device.
    pub fn told(&self, words: &str) {
        assert_eq!(self.code, Some(0), "{}", self.errors);
        assert!(self.errors.contains(words), "{words:?} is missing in {}", self.errors);
    }
}
