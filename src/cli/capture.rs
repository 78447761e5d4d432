//! `flowtrace capture`: live packets of several devices into one file.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use crate::capture::live::{self, Live, Refusal, Want};
use crate::capture::ring::{Ring, Rotation, Section, Sink};
use crate::capture::run::{self, Ended, Event, Limits};
use crate::capture::{Interface, Statistics};
use crate::error::Error;

use super::args::Capture;
use super::names::near;
use super::{Outcome, exit, output};

/// Captures until a signal comes or a limit is reached.
pub(super) fn capture(typed: &Capture) -> Result<Outcome, Error> {
    let want = wanted(typed)?;
    let sink = sink(typed)?;
    let live = Live::open(&want).map_err(|refusal| refused(refusal, typed))?;
    let interfaces = live.interfaces();
    let section = Section { interfaces: interfaces.clone(), start: run::now() };
    let ring = Ring::open(sink, section).map_err(unwritten)?;
    output::complain(&format!("capturing on {}", want.devices.join(", ")));
    let limits = Limits { count: typed.count, duration: typed.duration };
    let ended = run::run(live, ring, limits, &mut |event| tell(&interfaces, &event));
    output::progress("");
    match ended {
        Ok(ended) => finished(&interfaces, &ended)?,
        // Whoever closes the pipe early has seen enough.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {}
        Err(err) => return Err(unwritten(err)),
    }
    Ok(Outcome { output: Vec::new(), file: None, code: exit::ARRIVES })
}

fn wanted(typed: &Capture) -> Result<Want, Error> {
    if !typed.along.is_empty() {
        return Err(super::later("capture --along: capturing at every hop of a path"));
    }
    if typed.pod.is_some() {
        return Err(super::later("capture --pod: capturing in a pod"));
    }
    let mut seen = BTreeSet::new();
    for device in &typed.interface {
        if device.is_empty() {
            return Err(Error::Usage(format!("-i {:?}: a device has no name", typed.interface.join(","))));
        }
        if !seen.insert(device) {
            return Err(Error::Usage(format!("-i {}: {device} is named twice", typed.interface.join(","))));
        }
    }
    let (devices, filter) = (typed.interface.clone(), typed.filter.clone());
    Ok(Want { devices, filter, snap_length: typed.snapshot_length })
}

fn sink(typed: &Capture) -> Result<Sink, Error> {
    let bytes = typed.file_size.map(|megabytes| megabytes.saturating_mul(1_000_000));
    let rotation = bytes.map(|bytes| Rotation { bytes, files: typed.files });
    let path = typed.write.clone().unwrap_or_default();
    if path != Path::new("-") {
        return Ok(Sink::Files { path, rotation });
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
fn refused(refusal: Refusal, typed: &Capture) -> Error {
    let known = live::devices();
    let is_known = |device: &String| known.is_empty() || known.contains(device);
    Error::Usage(match refusal {
        Refusal::Filter { device, words } => {
            let filter = typed.filter.as_deref().unwrap_or_default();
            format!("-f {filter:?}: {words} (libpcap, for {device})")
        }
        Refusal::Permission { device, .. } | Refusal::Device { device, .. } if !is_known(&device) => {
            let devices = captured_on(known);
            // Nobody mistypes a device as `any`, which is near to every short name.
            let near = near::hint(&device, devices.iter().filter(|name| *name != live::ANY).cloned(), |name| name);
            let hint = near::or_list(near, devices);
            format!("-i {device}: this network namespace has no such device{hint}")
        }
        Refusal::Permission { device, words } => {
            format!("-i {device}: capturing needs root or the capability CAP_NET_RAW (libpcap: {words})")
        }
        Refusal::Device { device, words } => format!("-i {device}: {words} (libpcap)"),
    })
}

/// The devices that people capture on: without what libpcap has beside devices of the network.
fn captured_on(mut known: Vec<String>) -> Vec<String> {
    let others = ["bluetooth", "dbus-", "nflog", "nfqueue", "usbmon"];
    known.retain(|name| !others.iter().any(|other| name.starts_with(other)));
    known
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

fn finished(interfaces: &[Interface], ended: &Ended) -> Result<(), Error> {
    for (interface, counted) in interfaces.iter().zip(&ended.statistics) {
        output::complain(&format!("{}: {}", interface.name, summary(counted)));
    }
    if ended.is_deserted {
        return Err(Error::Usage("no device is left to capture on; the file has what came until then".to_owned()));
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
