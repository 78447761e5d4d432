//! Some seconds of what the example `fuzz` does for hours.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

mod capture;
mod input;
mod random;
mod run;
mod sights;
mod target;

use std::time::{Duration, Instant};

use run::{Bounds, Run, name_ends};
use target::Target;

/// A build for tests is slow, and shares the machine with other tests.
const BOUNDS: Bounds = Bounds { start: Duration::from_millis(200), byte: Duration::from_micros(40) };

/// One test, because memory is counted for the whole program.
#[test]
fn no_input_makes_a_reader_panic_hang_or_grow() {
    name_ends(1).unwrap();
    for target in Target::ALL {
        let seeds = target.seeds().unwrap();
        assert!(!seeds.is_empty(), "{target:?}");
        let until = Instant::now() + Duration::from_secs(2);
        let run = Run { target, seed: 1, from: 0, inputs: 100_000, bounds: BOUNDS };
        let read = run.all(&seeds, Some(until)).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(read > 50, "{target:?}: only {read} inputs");
    }
}
