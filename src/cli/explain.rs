//! `flowtrace explain`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::diagnose;
use crate::engine;
use crate::error::Error;
use crate::render::{self, Charset, Style, View, Width};

use super::args::{Color, Explain, Format, Written};
use super::question::{self, Asked, Resolved};
use super::{Outcome, exit, missing, open, pcap, unread};

/// How long the terminal may stay silent.
const PATIENCE: Duration = Duration::from_secs(1);

/// Loads the snapshot, asks, and shows the answer.
pub(super) fn explain(typed: &Explain) -> Result<Outcome, Error> {
    refuse_later(typed)?;
    if let Some(file) = &typed.pcap {
        return pcap::explain(typed, file);
    }
    refuse_without_pcap(typed)?;
    let (from, to) = ends(typed)?;
    let (snapshot, target, answer, findings) = patiently(|| {
        let snapshot = open::open(typed.snapshot.as_deref(), typed.demo)?;
        let Resolved { asked, target, gaps, mut findings } = question::question(typed.terms(), from, to, &snapshot)?;
        let mut answer = match &asked {
            Asked::Walk(question) => engine::explain(&snapshot, question),
            Asked::Missing { folder, packet } => missing::answer(folder, packet),
        };
        answer.gaps.splice(0..0, gaps);
        answer.gaps.extend(unread::on_the_way(&snapshot, &answer));
        findings.extend(diagnose::findings(&snapshot, &answer));
        Ok::<_, Error>((snapshot, target, answer, findings))
    })?;
    let view = View { from, to, target, answer: &answer, findings: &findings, files: &snapshot.files, sighting: None };
    let file = typed.written.file().map(Path::to_owned);
    let outcome = Outcome { output: show(&view, typed)?, file, code: exit::code(&answer) };
    // The program is about to end, which frees the tables of a large cluster at once.
    std::mem::forget(snapshot);
    Ok(outcome)
}

/// What the contract promises and is not there yet.
fn refuse_later(typed: &Explain) -> Result<(), Error> {
    if typed.output == Format::Html {
        return Err(super::later("explain -o html"));
    }
    Ok(())
}

/// What only captures have.
fn refuse_without_pcap(typed: &Explain) -> Result<(), Error> {
    match typed.output {
        Format::Jsonl => Err(Error::Usage("-o jsonl is for the packets of --pcap; one answer is -o json".to_owned())),
        _ => Ok(()),
    }
}

fn ends(typed: &Explain) -> Result<(&str, &str), Error> {
    let ends = typed.from.as_deref().zip(typed.to.as_deref());
    ends.ok_or_else(|| Error::Usage("FROM and TO are wanted".to_owned()))
}

/// Does the work, and says so on the terminal if it takes long.
pub(super) fn patiently<T>(work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = writeln!(io::stderr(), "reading the snapshot ...");
            }
        });
        let result = work();
        drop(done);
        result
    })
}

fn show(view: &View<'_>, typed: &Explain) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let style = Style { verbose: typed.verbose, ..style(typed.color, typed.ascii, &typed.written) };
    let written = match typed.output {
        Format::Text => render::text(view, style, &mut out),
        Format::Json | Format::Jsonl => render::json(view, &mut out),
        Format::Dot => render::dot(view, &mut out),
        Format::Mermaid => render::mermaid(view, &mut out),
        Format::Html => return Err(super::later("explain -o html")),
    };
    written.map_err(|err| Error::Usage(format!("the answer can't be written: {err}")))?;
    Ok(out)
}

/// How text is to look where it goes: in a file or a pipe, in 100 columns and without colours unless somebody insists.
pub(super) fn style(color: Color, ascii: bool, written: &Written) -> Style {
    let to_file = written.file().is_some();
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !to_file && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
    };
    let terminal = if to_file { None } else { terminal_size::terminal_size_of(io::stdout()) };
    let width = terminal.map(|(width, _)| Width::of_terminal(usize::from(width.0))).unwrap_or_default();
    let charset = if ascii { Charset::Ascii } else { Charset::Unicode };
    Style { verbose: false, color, charset, width }
}
