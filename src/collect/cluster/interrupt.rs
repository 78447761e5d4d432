//! Ctrl-C, and the other signals that ask a program to end: the first one ends the work and lets own pods be deleted, the
//! second one ends the program.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::{flag, low_level};

use crate::signals;

/// Whether somebody asked for the end. While it is there, signals do no more than say so.
#[derive(Debug)]
pub(super) struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Once it is set, a signal ends the program, as if nobody had looked for it.
    through: Arc<AtomicBool>,
    ids: Vec<signal_hook::SigId>,
}

impl Interrupt {
    /// Looks for signals from now on.
    pub fn watch() -> io::Result<Self> {
        let mut interrupt = Self { asked: Arc::default(), through: Arc::default(), ids: Vec::new() };
        for signal in signals::heeded().into_iter().map(|signal| signal as i32) {
            // What is registered first is asked first, so that a second signal finds what the first one set.
            flag::register_conditional_default(signal, Arc::clone(&interrupt.through))?;
            interrupt.ids.push(flag::register_conditional_default(signal, Arc::clone(&interrupt.asked))?);
            interrupt.ids.push(flag::register(signal, Arc::clone(&interrupt.asked))?);
        }
        Ok(interrupt)
    }

    /// Whether the end was asked for.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.through.store(true, Ordering::Relaxed);
        self.ids.drain(..).for_each(|id| _ = low_level::unregister(id));
    }
}
