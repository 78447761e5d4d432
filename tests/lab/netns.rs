//! Network namespaces without names: each lives as long as the handle, so that nothing is left behind, whatever
//! becomes of the program that made it.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Output, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace of the lab.
pub struct Netns {
    /// The lab's word for it, for messages.
    pub name: String,
    handle: File,
}

impl Netns {
    /// Makes an empty namespace.
    pub fn new(name: &str) -> Result<Self, String> {
        let handle = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("unshare: {error}"))?;
                File::open("/proc/thread-self/ns/net").map_err(|error| format!("/proc/thread-self/ns/net: {error}"))
            });
            worker.join().map_err(|_| "a thread died".to_owned())?
        })?;
        Ok(Self { name: name.to_owned(), handle })
    }

    /// A path by which other programs (`ip link ... netns PATH`, `nsenter --net=PATH`) find the namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    /// Runs `work` in a thread inside the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("setns into a namespace of the lab");
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// A handle on the same namespace for a thread that outlives the borrow.
impl Clone for Netns {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), handle: self.handle.try_clone().expect("dup of a namespace handle") }
    }
}

/// Runs a program in the calling thread's namespace, `input` on its stdin.
pub fn run(program: &str, args: &[&str], input: &str) -> Result<Output, String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let text = input.to_owned();
    // A thread feeds the input, since a program that prints much before it has read all would block both sides.
    let writer = (!text.is_empty()).then(|| {
        std::thread::spawn(move || {
            let _ = stdin.write_all(text.as_bytes());
        })
    });
    let output = child.wait_with_output().map_err(|error| format!("{program}: {error}"))?;
    if let Some(writer) = writer {
        let _ = writer.join();
    }
    Ok(output)
}

/// Runs a program that must succeed; its stdout.
pub fn must(program: &str, args: &[&str], input: &str) -> Result<String, String> {
    let output = run(program, args, input)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let numbered: String = input.lines().enumerate().fold(String::new(), |mut text, (n, line)| {
        text.push_str(&format!("{:4} {line}\n", n + 1));
        text
    });
    Err(format!("{program} {}: {}\n{errors}\n{numbered}", args.join(" "), output.status))
}
