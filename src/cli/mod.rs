//! Layer 6: the command line. Reads arguments, picks what to do, and is the only place that picks an exit code.

mod args;
#[cfg(all(feature = "capture", target_os = "linux"))]
mod capture;
#[cfg(unix)]
mod cluster;
mod collect;
mod correlate;
mod decode;
mod demo;
mod exit;
mod explain;
mod filter;
mod headers;
mod kubectl;
mod manual;
mod missing;
mod names;
mod open;
mod output;
mod packed;
mod packet;
mod payload;
mod pcap;
mod point;
mod ports;
mod question;
mod rules;
#[cfg(unix)]
mod target;
mod unread;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::error::Error;
use crate::render;
use args::{Command, Schema, Typed};
use kubectl::Called;

/// What to do for live captures where they are left out.
#[cfg(all(not(feature = "capture"), target_os = "linux"))]
const WITHOUT_LIBPCAP: &str = "\
flowtrace capture: this build has no libpcap. One that has: the Debian package of a release; or install libpcap's headers \
(the package libpcap-dev on Debian and Ubuntu, libpcap-devel on Fedora), then \
`cargo install --path . --features capture`";
#[cfg(not(target_os = "linux"))]
const WITHOUT_LIBPCAP: &str = "flowtrace capture: live captures are of Linux devices; this build has no libpcap";

/// What a command leaves behind: its output, where it goes, and how it went.
struct Outcome {
    output: Vec<u8>,
    file: Option<PathBuf>,
    code: u8,
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let program = Typed::command().bin_name(kubectl::name());
    let args = match kubectl::called() {
        Called::Flowtrace => args,
        Called::Plugin => kubectl::in_order(args, &program),
        Called::Completion => {
            let words: Vec<String> = args.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            return exit(output::print(kubectl::complete(&program, &words).as_bytes()).map(|()| exit::ARRIVES));
        }
    };
    let typed = program.try_get_matches_from(args).and_then(|found| Typed::from_arg_matches(&found));
    let mut typed = match typed {
        Ok(typed) => typed,
        Err(err) => return usage(&err),
    };
    let written = command(&mut typed.command).and_then(|Outcome { output, file, code }| match file {
        Some(file) => output::write(&file, &output).map(|()| code),
        None => output::print(&output).map(|()| code),
    });
    exit(written)
}

/// The exit code; an error is told.
fn exit(result: Result<u8, Error>) -> ExitCode {
    ExitCode::from(result.unwrap_or_else(|err| {
        output::refuse(&err);
        exit::WRONG
    }))
}

fn command(command: &mut Command) -> Result<Outcome, Error> {
    match command {
        Command::Explain(typed) => {
            #[cfg(unix)]
            let _kept = cluster::for_explain(typed)?;
            explain::explain(typed)
        }
        Command::Schema(typed) => schema(typed),
        Command::Decode(typed) => decode::decode(typed),
        Command::Correlate(typed) => correlate::correlate(typed),
        Command::Collect(typed) => collect::collect(typed),
        #[cfg(unix)]
        Command::Cleanup(typed) => cluster::cleanup(typed),
        #[cfg(all(feature = "capture", target_os = "linux"))]
        Command::Capture(typed) => capture::capture(typed),
        #[cfg(not(all(feature = "capture", target_os = "linux")))]
        Command::Capture(_) => Err(Error::Usage(WITHOUT_LIBPCAP.to_owned())),
        Command::Rules(typed) => {
            #[cfg(unix)]
            let _kept = cluster::for_rules(typed)?;
            rules::rules(typed)
        }
        Command::Check(_) => Err(later("check")),
        Command::Completions(typed) => Ok(manual::completions(typed)),
        Command::Man(typed) => manual::man(typed),
    }
}

fn schema(typed: &Schema) -> Result<Outcome, Error> {
    let mut output = Vec::new();
    render::schema(&mut output).map_err(|err| Error::Usage(err.to_string()))?;
    Ok(Outcome { output, file: typed.written.file().map(Path::to_owned), code: exit::ARRIVES })
}

fn later(what: &str) -> Error {
    Error::Usage(format!("flowtrace {what} is not built yet"))
}

/// clap's own answers: help and version on stdout, everything else is a usage error.
fn usage(err: &clap::Error) -> ExitCode {
    match err.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            exit(output::print(err.render().to_string().as_bytes()).map(|()| exit::ARRIVES))
        }
        _ => {
            output::complain(err.render().to_string().trim_end());
            ExitCode::from(exit::WRONG)
        }
    }
}
