//! Several threads take batches in turns: one reads while others decode, and what they show is written in order.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::plan::{Form, Plan};
use super::work::Worker;
use crate::capture::batch::Batch;
use crate::capture::several::Several;
use crate::cli::output;
use crate::cli::packed::Packed as Output;
use crate::render::decode::{Buffer, Painter};

/// Where batches come from.
struct Source {
    several: Several,
    /// The number of the next batch.
    next: u64,
    is_done: bool,
}

/// Where what is shown goes.
struct Sink {
    /// The batch whose turn it is.
    turn: u64,
    /// How many bytes of the first packet's text are left off.
    separator: usize,
    failed: Option<io::Error>,
    out: Output,
    progress: Progress,
    /// What the threads could not show.
    notes: Vec<String>,
}

/// What the threads share.
struct Shared {
    source: Mutex<Source>,
    sink: Mutex<Sink>,
    turned: Condvar,
}

/// Shows all packets, and gives what was wrong with the files. Fails where writing does.
pub(super) fn run(
    several: Several,
    plan: &Plan<'_>,
    mut out: Output,
    progress: Progress,
    unread: Vec<String>,
) -> io::Result<Vec<String>> {
    let painter = match &plan.form {
        Form::Text(view) => Some(Painter::new(view.clone(), plan.extra)),
        Form::Packets { .. } => None,
    };
    let mut frame = Buffer::default();
    if let Some(painter) = &painter {
        painter.head(&mut frame);
    }
    out.put(frame.text())?;
    let separator = painter.as_ref().map_or(0, Painter::separator);
    let shared = Shared {
        source: Mutex::new(Source { several, next: 0, is_done: false }),
        sink: Mutex::new(Sink { turn: 0, separator, failed: None, out, progress, notes: Vec::new() }),
        turned: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 1..plan.threads {
            scope.spawn(|| shared.work(plan));
        }
        shared.work(plan);
    });
    let mut sink = shared.sink.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(err) = sink.failed {
        return Err(err);
    }
    let mut source = shared.source.into_inner().unwrap_or_else(PoisonError::into_inner);
    let notes = [notes(&mut source.several, plan, unread), sink.notes].concat();
    frame.clear();
    if let Some(painter) = &painter {
        painter.tail(&notes, &mut frame);
    }
    sink.out.put(frame.text())?;
    sink.out.finish()?;
    Ok(notes)
}

/// What was wrong with the files.
pub(super) fn notes(several: &mut Several, plan: &Plan<'_>, unread: Vec<String>) -> Vec<String> {
    let told = several.notes().into_iter();
    let told = told.map(|(file, note)| format!("{}: {note}", plan.files.get(file).map_or("", String::as_str)));
    let told: Vec<String> = unread.into_iter().chain(told).collect();
    [told, plan.unasked(several)].concat()
}

/// A thread that panicked has broken nothing that another one needs.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch is read in some 20 µs, in which a thread would hardly have gone to sleep and be awake again: it asks so often
/// before it does.
const TRIES: u32 = 1000;

/// The same, of what is free again soon.
fn lock_soon<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..TRIES {
        if let Ok(guard) = mutex.try_lock() {
            return guard;
        }
        std::hint::spin_loop();
    }
    lock(mutex)
}

impl Shared {
    /// Takes batches until there is none.
    fn work(&self, plan: &Plan<'_>) {
        let mut worker = Worker::new(plan);
        let mut batch = Batch::default();
        while let Some(number) = self.take(&mut batch) {
            if !worker.show(&batch) {
                lock(&self.source).is_done = true;
            }
            if !self.put(number, worker.out()) {
                lock(&self.source).is_done = true;
            }
        }
        let points = lock(&self.source).several.points();
        let rest = worker.finish(&points);
        let mut sink = lock(&self.sink);
        if sink.failed.is_none() {
            sink.failed = sink.out.put(rest).err();
        }
        sink.notes.extend(worker.notes());
    }

    /// The next batch's number.
    fn take(&self, batch: &mut Batch) -> Option<u64> {
        let mut source = lock_soon(&self.source);
        if source.is_done || !source.several.fill(batch) {
            source.is_done = true;
            return None;
        }
        source.next += 1;
        Some(source.next - 1)
    }

    /// Writes what was shown of a batch when its turn comes; false where that fails.
    fn put(&self, number: u64, text: &[u8]) -> bool {
        let sink = lock(&self.sink);
        let mut sink = self.turned.wait_while(sink, |sink| sink.turn != number).unwrap_or_else(PoisonError::into_inner);
        sink.turn += 1;
        if sink.failed.is_none() && !text.is_empty() {
            let text = text.get(sink.separator..).unwrap_or_default();
            sink.separator = 0;
            sink.failed = sink.out.put(text).err();
        }
        sink.progress.tell();
        let is_well = sink.failed.is_none();
        drop(sink);
        self.turned.notify_all();
        is_well
    }
}

/// How long nothing is told of how far the work is.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far the work is.
pub(in crate::cli) struct Progress {
    start: Instant,
    told: Instant,
    /// Whether the packets themselves show on the terminal how far it is.
    is_seen: bool,
    /// The size of all files, where it is known.
    total: Option<u64>,
    read: Vec<Arc<AtomicU64>>,
}

impl Progress {
    pub(in crate::cli) fn new(files: &[PathBuf], read: Vec<Arc<AtomicU64>>) -> Self {
        let size = |file: &PathBuf| file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
        let (start, total) = (Instant::now(), files.iter().map(size).sum());
        Self { start, told: start, is_seen: io::stdout().is_terminal(), total, read }
    }

    /// The same, where nothing is printed before the end.
    pub(in crate::cli) fn unseen(self) -> Self {
        Self { is_seen: false, ..self }
    }

    /// Tells it on a terminal, where the work takes long.
    pub(in crate::cli) fn tell(&mut self) {
        let now = Instant::now();
        if self.is_seen || now - self.start < PATIENCE || now - self.told < PATIENCE / 5 {
            return;
        }
        self.told = now;
        let read: u64 = self.read.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let megabytes = read / 1_000_000;
        match self.total {
            Some(total) if total > 0 => {
                let percent = read.saturating_mul(100) / total;
                let filled = usize::try_from(percent / 5).unwrap_or(0).min(20);
                let bar = "#".repeat(filled) + &"-".repeat(20 - filled);
                output::progress(&format!("[{bar}] {percent:>3} %  {megabytes} MB"));
            }
            _ => output::progress(&format!("{megabytes} MB")),
        }
    }
}
