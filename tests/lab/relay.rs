//! Starts the programs behind TUN devices. Attaching to one takes an ioctl that has no safe call, so the program is a
//! script.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::netns::Netns;
use super::scenario::RelayProgram;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/relay.py");

/// A relay that runs; it ends with the lab, since its standard input is closed then.
pub struct Relay {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Relay {
    /// Starts it; its device is there afterwards, without addresses.
    pub fn start(netns: &Netns, program: &RelayProgram) -> Result<Self, String> {
        let routes = program.routes.iter().map(|(prefix, peer)| format!("{prefix}={peer}"));
        let mut command = Command::new("python3");
        command.arg(SCRIPT).arg(&program.dev).arg(program.local.0.to_string()).arg(program.local.1.to_string());
        command.args(routes).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = netns.enter(|| command.spawn()).map_err(|error| format!("python3 {SCRIPT}: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("the relay has no output")?);
        let mut relay = Self { child, stdin, stdout };
        relay.hear("attached")?;
        Ok(relay)
    }

    /// Tells it that its addresses are there, so that it may bind its socket.
    pub fn bind(&mut self) -> Result<(), String> {
        let stdin = self.stdin.as_mut().ok_or("the relay has no input")?;
        stdin.write_all(b"\n").and_then(|()| stdin.flush()).map_err(|error| format!("relay: {error}"))?;
        self.hear("bound")
    }

    /// Whether it does something, or is about to once it gets its turn.
    pub fn is_busy(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('S'))
    }

    fn hear(&mut self, word: &str) -> Result<(), String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).map_err(|error| format!("relay: {error}"))?;
        if line.trim() == word { Ok(()) } else { Err(format!("the relay said {line:?}, not {word:?}")) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}
