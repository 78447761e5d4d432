//! Where the program writes: the standard output, a file, and the standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use crate::error::Error;
use crate::render::{self, Charset};

use super::packed::{self, Packed};

/// Writes to the standard output. Whoever closes the pipe early has seen enough.
pub(super) fn print(output: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output).and_then(|()| stdout.flush()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(unprinted(&err)),
        _ => Ok(()),
    }
}

/// The standard output, or the file of `-w`, for what is written little by little.
pub(super) fn open(file: Option<&Path>) -> Result<Packed, Error> {
    file.map_or(Ok(()), packed::refuse)?;
    Packed::open(file).map_err(|err| file.map_or_else(|| unprinted(&err), |file| unwritten(file, &err)))
}

/// Writes to the file of `-w`, in place of what it held.
pub(super) fn write(file: &Path, output: &[u8]) -> Result<(), Error> {
    packed::refuse(file)?;
    let written = Packed::open(Some(file)).and_then(|mut out| out.put(output).and_then(|()| out.finish()));
    written.map_err(|err| unwritten(file, &err))
}

/// What is told where the standard output can't be written.
fn unprinted(err: &io::Error) -> Error {
    Error::Usage(format!("the output can't be written: {err}"))
}

/// What is told where a file of `-w` can't be written.
pub(super) fn unwritten(file: &Path, err: &io::Error) -> Error {
    Error::Usage(format!("-w {}: the output can't be written: {err}", shown(file)))
}

/// What a file is called, on one line.
fn shown(file: &Path) -> String {
    render::clean(&file.display().to_string(), Charset::Unicode)
}

/// Tells an error.
pub(super) fn refuse(err: &Error) {
    match err {
        Error::Io { path, source } => complain(&format!("error: {}: {source}", shown(path))),
        Error::Snapshot { path, what } | Error::Capture { path, what } => {
            complain(&format!("error: {}: {what}", shown(path)));
        }
        Error::Usage(what) => complain(&format!("error: {what}")),
    }
}

/// Writes a message to stderr, in lines of at most 100 columns, with nothing in it that a terminal would obey.
pub(super) fn complain(message: &str) {
    let mut stderr = io::stderr().lock();
    // A note is one line, and a break in it is one of a file's name.
    let lines = if message.starts_with("note: ") { vec![message] } else { message.lines().collect() };
    let cleaned = lines.into_iter().map(|line| render::clean(line, Charset::Unicode));
    for line in cleaned.flat_map(|line| render::wrapped(&line)) {
        let _ = writeln!(stderr, "{line}");
    }
}

/// Writes a line that stands until the next one, where stderr is a terminal.
pub(super) fn progress(line: &str) {
    let mut stderr = io::stderr().lock();
    if stderr.is_terminal() {
        let width = terminal_size::terminal_size_of(&stderr).map_or(80, |(width, _)| usize::from(width.0));
        let line: String = render::clean(line, Charset::Unicode).chars().take(width.saturating_sub(1)).collect();
        // Back to the beginning, and what stood there is erased.
        let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
    }
}
