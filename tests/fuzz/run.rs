//! A run: input after input, each within its bounds of time and memory.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, io, process, thread};

use peak_alloc::PeakAlloc;

use crate::input::Source;
use crate::random::Random;
use crate::target::Target;

/// Counts what is allocated.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The input that is being read, counted from 1, so that whoever sees a panic or a hang can name it.
static NOW: AtomicU64 = AtomicU64::new(0);

/// The reader that it is read by, as its place among all of them.
static READER: AtomicUsize = AtomicUsize::new(0);

/// How long one input may be read before it counts as a hang.
const HANG: Duration = Duration::from_secs(20);

/// What one input may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time for any input.
    pub start: Duration,
    /// Time for each of its bytes.
    pub byte: Duration,
}

/// An input that broke a bound.
#[derive(Debug)]
pub struct Failure {
    target: Target,
    seed: u64,
    number: u64,
    what: String,
    input: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, seed, number, what, input } = self;
        let target = target.as_str();
        writeln!(f, "{target}: {what}: again with `-- {target} --seed {seed} --from {number} --inputs 1`")?;
        write!(f, "{input}")
    }
}

/// A run of one reader.
pub struct Run {
    /// The reader.
    pub target: Target,
    /// Which inputs are made.
    pub seed: u64,
    /// The first input's number.
    pub from: u64,
    /// How many there are.
    pub inputs: u64,
    /// What each may take.
    pub bounds: Bounds,
}

impl Run {
    /// Reads every input, until one breaks a bound. `until` ends the run early; gives how many were read.
    pub fn all(&self, seeds: &[String], until: Option<Instant>) -> Result<u64, Failure> {
        let source = Source::new(self.target, seeds);
        let reader = Target::ALL.iter().position(|target| *target == self.target);
        READER.store(reader.unwrap_or_default(), Ordering::Relaxed);
        for number in self.from..self.from + self.inputs {
            if until.is_some_and(|until| Instant::now() > until) {
                return Ok(number - self.from);
            }
            NOW.store(number + 1, Ordering::Relaxed);
            let input = source.input(&mut Random::new(self.seed, number));
            if let Some(what) = self.broken(&input) {
                return Err(Failure { target: self.target, seed: self.seed, number, what, input });
            }
        }
        NOW.store(0, Ordering::Relaxed);
        Ok(self.inputs)
    }

    /// Which bound an input breaks.
    fn broken(&self, input: &str) -> Option<String> {
        let bytes = u32::try_from(input.len()).unwrap_or(u32::MAX);
        let longest = (self.bounds.start + self.bounds.byte * bytes) * self.target.patience();
        // Another program may have had the processor: an input is slow that is slow again and again.
        let took = (0..5).map(|_| self.time(input)).find(|took| *took <= longest);
        if took.is_none() {
            return Some(format!("{} bytes take more than {longest:?} to read", input.len()));
        }
        let most = self.target.growth() * input.len() + self.target.beside(input);
        let grown = self.growth(input);
        (grown > most).then(|| format!("{} bytes take {grown} bytes of memory, more than {most}", input.len()))
    }

    fn time(&self, input: &str) -> Duration {
        let start = Instant::now();
        self.target.read(input);
        start.elapsed()
    }

    /// The most memory that is taken at any time while an input is read.
    fn growth(&self, input: &str) -> usize {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        self.target.read(input);
        MEMORY.peak_usage().saturating_sub(before)
    }
}

/// Names the input that is being read where a panic or a hang ends the program.
pub fn name_ends(seed: u64) -> io::Result<()> {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("a panic: again with {}", again(seed));
        before(panic);
    }));
    thread::Builder::new().spawn(move || watch(seed)).map(drop)
}

/// Ends the program where an input is read for too long, which nothing else could.
fn watch(seed: u64) {
    let mut last = 0;
    loop {
        thread::sleep(HANG);
        let now = NOW.load(Ordering::Relaxed);
        if now != 0 && now == last {
            eprintln!("a hang: again with {}", again(seed));
            process::exit(1);
        }
        last = now;
    }
}

fn again(seed: u64) -> String {
    let reader = Target::ALL.get(READER.load(Ordering::Relaxed)).map_or("", |target| target.as_str());
    let number = NOW.load(Ordering::Relaxed).saturating_sub(1);
    format!("`-- {reader} --seed {seed} --from {number} --inputs 1`")
}
