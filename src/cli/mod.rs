//! Layer 6: the command line. Reads arguments, picks what to do, and is the only place that picks an exit code.

mod args;
mod demo;
mod entry;
mod exit;
mod explain;
mod missing;
mod names;
mod packet;
mod question;
mod rules;
mod unread;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::error::Error;
use crate::render::{self, Charset};
use args::{Command, Typed};

/// What a command leaves behind: its output, and how it went.
struct Outcome {
    output: Vec<u8>,
    code: u8,
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let typed = match Typed::try_parse() {
        Ok(typed) => typed,
        Err(err) => return usage(&err),
    };
    match command(&typed.command) {
        Ok(outcome) => print(&outcome.output, outcome.code),
        Err(err) => {
            complain(&format!("error: {err}"));
            ExitCode::from(exit::WRONG)
        }
    }
}

fn command(command: &Command) -> Result<Outcome, Error> {
    match command {
        Command::Explain(typed) => explain::explain(typed),
        Command::Schema => {
            let mut output = Vec::new();
            render::schema(&mut output).map_err(|err| Error::Usage(err.to_string()))?;
            Ok(Outcome { output, code: exit::ARRIVES })
        }
        Command::Decode(_) => Err(later("decode")),
        Command::Correlate(_) => Err(later("correlate")),
        Command::Collect(_) => Err(later("collect")),
        Command::Capture(_) => Err(later("capture")),
        Command::Rules(typed) => rules::rules(typed),
        Command::Check(_) => Err(later("check")),
        Command::Completions(_) => Err(later("completions")),
        Command::Man(_) => Err(later("man")),
    }
}

fn later(what: &str) -> Error {
    Error::Usage(format!("flowtrace {what} is not built yet"))
}

/// clap's own answers: help and version on stdout, everything else is a usage error.
fn usage(err: &clap::Error) -> ExitCode {
    match err.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(err.render().to_string().as_bytes(), exit::ARRIVES),
        _ => {
            complain(err.render().to_string().trim_end());
            ExitCode::from(exit::WRONG)
        }
    }
}

/// Writes the output and gives the exit code. Whoever closes the pipe early has seen enough.
fn print(output: &[u8], code: u8) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output).and_then(|()| stdout.flush()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("error: the output can't be written: {err}"));
            ExitCode::from(exit::WRONG)
        }
        _ => ExitCode::from(code),
    }
}

/// Writes a message to stderr, line by line, with nothing in it that a terminal would obey.
fn complain(message: &str) {
    let mut stderr = io::stderr().lock();
    for line in message.lines() {
        let _ = writeln!(stderr, "{}", render::clean(line, Charset::Unicode));
    }
}
