//! One namespace's folder: what goes into it, and what could not be taken.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::collect::sink::{Sink, Spool};
use crate::collect::stop::Stop;
use crate::error::Error;

use super::command;
use super::meta::Failed;

/// What is known of the files that are not as they should be.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    failed: Mutex<Vec<Failed>>,
    changed: Mutex<BTreeSet<String>>,
}

/// A program that may not be there, by its path or its name.
pub(super) type Program<'p> = Result<&'p PathBuf, &'p str>;

/// Writes the files of one namespace.
pub(super) struct Writer<'a> {
    pub sink: &'a Sink,
    /// The namespace's folder in the snapshot.
    pub dir: &'a str,
    pub ledger: &'a Ledger,
    pub stop: &'a Stop,
}

impl Ledger {
    /// Keeps that a file or a folder could not be taken.
    pub fn fail(&self, file: String, why: String) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(Failed { file, why });
    }

    /// What could not be taken, and what changed while it was read, each in its order.
    pub fn told(self) -> (Vec<Failed>, Vec<String>) {
        let mut failed = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.sort_by(|one, other| one.file.cmp(&other.file));
        (failed, self.changed.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect())
    }
}

impl Writer<'_> {
    fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.dir)
    }

    /// Adds a folder.
    pub fn make(&self, folder: &str) -> Result<(), Error> {
        self.sink.make(&self.path(folder))
    }

    /// Writes a whole file.
    pub fn put(&self, file: &str, text: &str) -> Result<(), Error> {
        self.stop.check()?;
        self.sink.put(&self.path(file), text)
    }

    /// Keeps that a file could not be taken.
    pub fn fail(&self, file: &str, why: String) {
        self.ledger.fail(self.path(file), why);
    }

    /// Keeps that a file changed whenever it was read.
    pub fn changed(&self, file: &str) {
        self.ledger.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(self.path(file));
    }

    /// Writes a file by reading another one.
    pub fn fill(&self, file: &str, read: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Error> {
        self.stop.check()?;
        let mut spool = self.sink.spool(&self.path(file))?;
        if let Err(err) = read(&mut spool.file) {
            self.sink.forget(&spool);
            self.fail(file, err.to_string());
            return Ok(());
        }
        self.sink.keep(spool)
    }

    /// Writes a program's output, or that of several calls of it.
    pub fn run(&self, file: &str, program: Program<'_>, calls: &[&[&str]]) -> Result<(), Error> {
        let output = self.output(file, program, calls)?;
        self.settle(file, output)
    }

    /// A program's output, or why there is none.
    pub fn output(&self, file: &str, program: Program<'_>, calls: &[&[&str]]) -> Result<Result<Spool, String>, Error> {
        if let Err(name) = program {
            return Ok(Err(format!("{name} is not installed")));
        }
        let spool = self.spool(file)?;
        for args in calls {
            if let Err(why) = self.add(&spool, program, args)? {
                self.sink.forget(&spool);
                return Ok(Err(why));
            }
        }
        Ok(Ok(spool))
    }

    /// A file to be written to.
    pub fn spool(&self, file: &str) -> Result<Spool, Error> {
        self.sink.spool(&self.path(file))
    }

    /// Adds a program's output to a file, or says why there is none.
    pub fn add(&self, spool: &Spool, program: Program<'_>, args: &[&str]) -> Result<Result<(), String>, Error> {
        let program = match program {
            Ok(program) => program,
            Err(name) => return Ok(Err(format!("{name} is not installed"))),
        };
        let run = command::run(program, args, &spool.file, self.stop);
        // What failed may have failed because it was ended.
        self.stop.check()?;
        run.map_err(|source| self.sink.unwritten(source))
    }

    /// Forgets what was written.
    pub fn forget(&self, spool: &Spool) {
        self.sink.forget(spool);
    }

    /// Keeps what was written, or why nothing was.
    pub fn settle(&self, file: &str, output: Result<Spool, String>) -> Result<(), Error> {
        match output {
            Ok(spool) => self.sink.keep(spool),
            Err(why) => {
                self.fail(file, why);
                Ok(())
            }
        }
    }
}
