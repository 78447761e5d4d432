//! Captures of every device of a cluster, taken by tcpdump while packets go, and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::build::Lab;
use super::scenario::{Place, Space};

/// Captures that are being taken.
pub struct Dump {
    folder: PathBuf,
    children: Vec<Child>,
}

/// How long packets may wait between the kernel and the file: tcpdump takes them from a ring a block at a time, and a block
/// that is not full after a second.
const SETTLE: Duration = Duration::from_millis(1500);

impl Dump {
    /// Starts a tcpdump at every device of every node and pod, and waits until all of them are at work.
    pub fn start(lab: &Lab, folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut dump = Self { folder: folder.to_owned(), children: Vec::new() };
        for space in &lab.scenario.spaces {
            let Some(stem) = stem(space) else { continue };
            for device in lab.netns(&space.name).enter(devices)? {
                let file = folder.join(format!("{stem}.{device}.pcap"));
                let child = lab.netns(&space.name).enter(|| start(&device, &file))?;
                dump.children.push(child);
            }
        }
        for child in &mut dump.children {
            wait_until_ready(child)?;
        }
        Ok(dump)
    }

    /// Ends them all. Fails where the kernel had to drop a packet.
    pub fn stop(mut self) -> Result<Vec<PathBuf>, String> {
        std::thread::sleep(SETTLE);
        for child in &mut self.children {
            let pid = Pid::from_raw(child.id().cast_signed());
            kill(pid, Signal::SIGINT).map_err(|error| format!("kill {pid}: {error}"))?;
        }
        let mut words = String::new();
        for mut child in self.children.drain(..) {
            if let Some(stderr) = child.stderr.take() {
                words.extend(BufReader::new(stderr).lines().map_while(Result::ok).map(|line| line + "\n"));
            }
            child.wait().map_err(|error| format!("tcpdump: {error}"))?;
        }
        if let Some(line) = words.lines().find(|line| line.contains("dropped") && !line.starts_with("0 ")) {
            return Err(format!("tcpdump: {line}"));
        }
        let mut files: Vec<PathBuf> = fs::read_dir(&self.folder)
            .map_err(|error| format!("{}: {error}", self.folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
            .collect();
        files.sort();
        Ok(files)
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the files of a namespace are called, in the order of their parts.
fn stem(space: &Space) -> Option<String> {
    match &space.place {
        Place::Host { node } => Some(node.clone()),
        Place::Pod { node, namespace, pod } => Some(format!("{node}.{namespace}_{pod}")),
        Place::Hidden => None,
    }
}

fn devices() -> Result<Vec<String>, String> {
    let names = nix::net::if_::if_nameindex().map_err(|error| format!("devices: {error}"))?;
    let names = names.iter().map(|device| device.name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name != "lo").collect())
}

fn start(device: &str, file: &Path) -> Result<Child, String> {
    Command::new("tcpdump")
        .args(["-n", "-Z", "root", "-U", "--time-stamp-precision=nano", "-B", "16384"])
        .args(["-i", device, "-w"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("tcpdump: {error}"))
}

fn wait_until_ready(child: &mut Child) -> Result<(), String> {
    let stderr = child.stderr.take().ok_or("tcpdump has no stderr")?;
    let mut lines = BufReader::with_capacity(1, stderr);
    let mut line = String::new();
    loop {
        line.clear();
        let read = lines.read_line(&mut line).map_err(|error| format!("tcpdump: {error}"))?;
        if read == 0 {
            return Err("tcpdump ended before it was at work".to_owned());
        }
        if line.contains("listening on") {
            child.stderr = Some(lines.into_inner());
            return Ok(());
        }
    }
}

/// The mark of a cell: what a test sends is made of cells, so that every part of it tells what it is.
pub const MARK: [u8; 8] = *b"fltrace!";
/// Mark, tag and number.
pub const CELL: usize = 16;

/// A cell: which stream it is of, and its number.
pub fn cell(tag: u32, number: u32) -> [u8; CELL] {
    let mut cell = [0; CELL];
    cell[..8].copy_from_slice(&MARK);
    cell[8..12].copy_from_slice(&tag.to_be_bytes());
    cell[12..].copy_from_slice(&number.to_be_bytes());
    cell
}

/// What of what a test sent is in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Carries {
    /// Which stream.
    pub tag: u32,
    /// The number of the first cell that is all there.
    pub first: u32,
    /// That of the last one.
    pub last: u32,
}

/// What a frame carries, found by the marks in its bytes: nothing of any header is looked at.
pub fn carried(frame: &[u8]) -> Option<Carries> {
    let start = frame.windows(8).position(|window| window == MARK)?;
    let cells: Vec<(u32, u32)> = frame[start..]
        .chunks_exact(CELL)
        .take_while(|chunk| chunk.starts_with(&MARK))
        .map(|chunk| {
            let word = |at: usize| u32::from_be_bytes(chunk[at..at + 4].try_into().expect("four bytes"));
            (word(8), word(12))
        })
        .collect();
    let (tag, first) = *cells.first()?;
    Some(Carries { tag, first, last: cells.last()?.1 })
}

/// A packet of a pcap file with nanoseconds, as tcpdump writes it here: its time, its bytes.
pub fn packets(file: &Path) -> Result<Vec<(i64, Vec<u8>)>, String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let word = |at: usize| bytes.get(at..at + 4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
    if word(0) != Some(0xa1b2_3c4d) {
        return Err(format!("{}: no pcap file with nanoseconds", file.display()));
    }
    let mut packets = Vec::new();
    let mut at = 24;
    while let (Some(seconds), Some(nanoseconds), Some(captured)) = (word(at), word(at + 4), word(at + 8)) {
        let from = at + 16;
        at = from + captured as usize;
        let Some(packet) = bytes.get(from..at) else { break };
        packets.push((i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds), packet.to_vec()));
    }
    Ok(packets)
}

/// Writes a file anew with a clock that is ahead by so many nanoseconds.
pub fn shift(file: &Path, by: i64) -> Result<(), String> {
    retime(file, |time| time + by)
}

/// Writes a file anew as if it had been captured with stamps of microseconds.
pub fn coarsen(file: &Path) -> Result<(), String> {
    retime(file, |time| time - time.rem_euclid(1000))
}

fn retime(file: &Path, new: impl Fn(i64) -> i64) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut bytes = fs::read(file).map_err(failed)?;
    let mut at = 24;
    while at + 16 <= bytes.len() {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let time = new(i64::from(word(at)) * 1_000_000_000 + i64::from(word(at + 4)));
        let captured = word(at + 8) as usize;
        let (seconds, nanoseconds) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
        bytes[at..at + 4].copy_from_slice(&word_of(seconds));
        bytes[at + 4..at + 8].copy_from_slice(&word_of(nanoseconds));
        at += 16 + captured;
    }
    fs::write(file, bytes).map_err(failed)
}

fn word_of(number: i64) -> [u8; 4] {
    u32::try_from(number).expect("a time of this century").to_le_bytes()
}

/// What every frame of some captures carries, by file and by number from 1.
pub fn truth(files: &[PathBuf]) -> Result<BTreeMap<(String, u64), Carries>, String> {
    let mut truth = BTreeMap::new();
    for file in files {
        for (number, (_, frame)) in (1..).zip(packets(file)?) {
            if let Some(carries) = carried(&frame) {
                truth.insert((file.display().to_string(), number), carries);
            }
        }
    }
    Ok(truth)
}
