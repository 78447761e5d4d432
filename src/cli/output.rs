//! Where the program writes: the standard output, a file, and the standard error.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::Error;
use crate::render::{self, Charset};

/// Writes to the standard output. Whoever closes the pipe early has seen enough.
pub(super) fn print(output: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output).and_then(|()| stdout.flush()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Usage(format!("the output can't be written: {err}")))
        }
        _ => Ok(()),
    }
}

/// Writes to the file of `-w`, in place of what it held.
pub(super) fn write(file: &Path, output: &[u8]) -> Result<(), Error> {
    fs::write(file, output)
        .map_err(|err| Error::Usage(format!("-w {}: the output can't be written: {err}", file.display())))
}

/// Writes a message to stderr, line by line, with nothing in it that a terminal would obey.
pub(super) fn complain(message: &str) {
    let mut stderr = io::stderr().lock();
    for line in message.lines() {
        let _ = writeln!(stderr, "{}", render::clean(line, Charset::Unicode));
    }
}
