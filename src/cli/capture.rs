//! `flowtrace capture`: live packets of several devices into one file, or a flow's packets at every hop of its path.

mod along;
mod filter;
mod spots;
mod watch;

use std::io::{self, IsTerminal as _};
use std::path::Path;

use crate::capture::live::{self, Live, Refusal, Spot, Want};
use crate::capture::ring::{Ring, Rotation, Section, Sink};
use crate::capture::run::{self, Ended, Event, Goal, Limits, Watch};
use crate::capture::{Interface, Statistics, privilege};
use crate::error::Error;

use super::args::Capture;
use super::names::near;
use super::{Outcome, exit, output};
use along::Along;
use watch::Viewer;

/// Captures until a signal comes or a limit is reached.
pub(super) fn capture(typed: &Capture) -> Result<Outcome, Error> {
    if !typed.flow.along.is_empty() {
        return along(typed);
    }
    let spots = spots::spots(typed)?;
    let opened = Opened::new(typed, spots)?;
    opened.run(typed, None)?;
    Ok(Outcome { output: Vec::new(), file: None, code: exit::ARRIVES })
}

/// Captures a flow at every hop, and shows its packets as they come.
fn along(typed: &Capture) -> Result<Outcome, Error> {
    if typed.write.as_deref() == Some(Path::new("-")) {
        let why = "the standard output is for what --along shows; give a file";
        return Err(Error::Usage(format!("-w -: {why}")));
    }
    let along = Along::new(typed)?;
    let opened = Opened::new(typed, along.spots.clone())?;
    let mut viewer = Viewer::new(&along, &opened.live.interfaces(), typed);
    let is_whole = opened.run(typed, Some(&mut viewer))?;
    let (output, code) = if is_whole { viewer.finish()? } else { (Vec::new(), exit::ARRIVES) };
    Ok(Outcome { output, file: None, code })
}

/// Devices and files that are open, and nothing else may be opened any more.
struct Opened {
    live: Live,
    ring: Option<Ring>,
}

impl Opened {
    fn new(typed: &Capture, spots: Vec<Spot>) -> Result<Self, Error> {
        let want = Want { spots, snap_length: typed.snapshot_length };
        let sink = typed.write.as_deref().map(|path| sink(path, typed)).transpose()?;
        let live = Live::open(&want).map_err(|refusal| refused(&refusal, &want.spots))?;
        let section = Section { interfaces: live.interfaces(), start: run::now() };
        let ring = sink.map(|sink| Ring::open(sink, section)).transpose().map_err(unwritten)?;
        let owner = ring.as_ref().map_or(privilege::Owner::NOBODY, Ring::owner);
        privilege::give_up(owner)
            .map_err(|err| Error::Usage(format!("the program's capabilities can't be given up: {err}")))?;
        Ok(Self { live, ring })
    }

    /// Captures; false where whoever reads the output has left before the end.
    fn run(self, typed: &Capture, watch: Option<&mut dyn Watch>) -> Result<bool, Error> {
        let interfaces = self.live.interfaces();
        let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        output::complain(&format!("capturing on {}", names.join(", ")));
        let limits = Limits { count: typed.count, duration: typed.duration };
        let goal = Goal { ring: self.ring, watch };
        let ended = run::run(self.live, goal, limits, &mut |event| tell(&interfaces, &event));
        output::progress("");
        match ended {
            Ok(ended) => finished(&interfaces, &ended, typed).map(|()| true),
            // Whoever closes the pipe early has seen enough.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(err) => Err(unwritten(err)),
        }
    }
}

fn sink(path: &Path, typed: &Capture) -> Result<Sink, Error> {
    let bytes = typed.file_size.map(|megabytes| megabytes.saturating_mul(1_000_000));
    let rotation = bytes.map(|bytes| Rotation { bytes, files: typed.files });
    if path != Path::new("-") {
        return Ok(Sink::Files { path: path.to_owned(), rotation });
    }
    if rotation.is_some() {
        return Err(Error::Usage("-w -: the standard output is one stream; -C needs the name of a file".to_owned()));
    }
    if io::stdout().is_terminal() {
        return Err(Error::Usage("-w -: a terminal can't show a pcapng file; give a file or a pipe".to_owned()));
    }
    Ok(Sink::Stream(Box::new(io::stdout())))
}

/// What is told where a device can't be captured on.
fn refused(refusal: &Refusal, spots: &[Spot]) -> Error {
    let (Refusal::Permission { place, words } | Refusal::Device { place, words } | Refusal::Filter { place, words }) =
        &refusal;
    let Some(spot) = spots.get(*place) else { return Error::Usage(words.clone()) };
    // One of a pod is called by its whole name, one of this namespace as it was typed.
    let typed = if spot.netns.is_some() { &spot.name } else { &spot.device };
    let known = known(spot);
    let is_known = known.is_empty() || known.contains(&spot.device);
    Error::Usage(match refusal {
        Refusal::Filter { .. } => {
            format!("-f {:?}: {words} (libpcap, for {typed})", spot.filter.as_deref().unwrap_or_default())
        }
        Refusal::Permission { .. } | Refusal::Device { .. } if !is_known => {
            let devices: Vec<String> = known.into_iter().filter(|name| live::is_of_network(name)).collect();
            // Nobody mistypes a device as `any`, which is near to every short name.
            let near = devices.iter().filter(|name| *name != live::ANY).cloned();
            let hint = near::or_list(near::hint(&spot.device, near, |name| name), devices);
            let place = if spot.netns.is_some() { "the pod's" } else { "this" };
            format!("-i {typed}: {place} network namespace has no such device{hint}")
        }
        Refusal::Permission { .. } => {
            format!("-i {typed}: capturing needs root or the capability CAP_NET_RAW (libpcap: {words})")
        }
        Refusal::Device { .. } => format!("-i {typed}: {words} (libpcap)"),
    })
}

/// The devices of a spot's namespace; none where that can't be told.
fn known(spot: &Spot) -> Vec<String> {
    match &spot.netns {
        None => live::devices(),
        Some(netns) => live::devices_of(netns),
    }
}

fn unwritten(err: Error) -> Error {
    match err {
        Error::Io { path, source } => output::unwritten(&path, &source),
        err => err,
    }
}

fn tell(interfaces: &[Interface], event: &Event<'_>) {
    match event {
        Event::Gone(gone) => {
            output::progress("");
            output::complain(&format!("{}: nothing is captured here any more: {}", gone.device, gone.words));
        }
        Event::Progress(statistics) => {
            let counts = interfaces.iter().zip(*statistics);
            let counts: Vec<String> =
                counts.map(|(interface, counted)| format!("{} {}", interface.name, counted.captured)).collect();
            output::progress(&counts.join("  "));
        }
    }
}

fn finished(interfaces: &[Interface], ended: &Ended, typed: &Capture) -> Result<(), Error> {
    for (interface, counted) in interfaces.iter().zip(&ended.statistics) {
        output::complain(&format!("{}: {}", interface.name, summary(counted)));
    }
    if ended.is_deserted {
        let file = if typed.write.is_some() { "; the file has what came until then" } else { "" };
        return Err(Error::Usage(format!("no device is left to capture on{file}")));
    }
    Ok(())
}

/// What a device counted, in tcpdump's words.
fn summary(counted: &Statistics) -> String {
    let Statistics { captured, received, dropped, dropped_by_interface } = counted;
    let by_interface = match dropped_by_interface {
        0 => String::new(),
        count => format!(", {count} dropped by interface"),
    };
    format!("{captured} packets captured, {received} received by filter, {dropped} dropped by kernel{by_interface}")
}
