//! `flowtrace decode`: the packets of captures.

mod flows;
mod legs;
mod packets;
mod plan;
pub(super) mod run;
mod sink;
mod work;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::capture::filter::Filter;
use crate::capture::reader::Reader;
use crate::capture::several::Several;
use crate::error::Error;
use crate::render::decode::{Columns, Extra, FlowView, RecordStyle, View};
use crate::snapshot::Snapshot;

use super::args::{Decode, DecodeFormat};
use super::{Outcome, exit, filter, open, output, ports};
use legs::Points;
use plan::{Form, Plan};
use sink::Target;

/// So large are files whose work is worth sharing.
const LARGE: u64 = 4 << 20;

/// Shows the packets, and tells what is wrong with the files.
pub(super) fn decode(typed: &Decode) -> Result<Outcome, Error> {
    let target = Target::of(typed)?;
    let asked = typed.snapshot.is_some() || typed.demo;
    let snapshot = asked.then(|| open::open(typed.snapshot.as_deref(), typed.demo)).transpose()?;
    let plan = plan(typed, target.format, snapshot.as_ref())?;
    target.refuse_input(&typed.files)?;
    let (readers, mut unread) = open_all(&typed.files)?;
    let sizes = readers.iter().map(Reader::consumed).collect();
    let mut several = Several::new(readers);
    if several.is_empty() {
        let notes = several.notes();
        refuse_damaged(&typed.files, unread.len(), &notes)?;
        unread.extend(notes.iter().map(|(file, note)| {
            let path = typed.files.get(*file).map_or(Path::new(""), PathBuf::as_path);
            format!("{}: {note}", path.display())
        }));
    }
    let out = target.open()?;
    let progress = run::Progress::new(&typed.files, sizes);
    // What goes into a file shows nobody how far it is.
    let progress = if typed.written.file().is_some() { progress.unseen() } else { progress };
    let ended = if typed.flows {
        flows::run(several, &plan, flow_view(target.format), out, progress, unread)
    } else {
        run::run(several, &plan, out, progress, unread)
    };
    output::progress("");
    match ended {
        Ok(notes) => notes.iter().for_each(|note| output::complain(&format!("note: {note}"))),
        // Whoever closes the pipe early has seen enough.
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => {}
        Err(err) => return Err(target.failed(&err)),
    }
    Ok(Outcome { output: Vec::new(), file: None, code: exit::ARRIVES })
}

/// Fails where every one of the files, which have no packets, is damaged or one of so many that are no captures: what is wrong
/// with them is the error then.
pub(super) fn refuse_damaged(files: &[PathBuf], unread: usize, notes: &[(usize, String)]) -> Result<(), Error> {
    let damaged: BTreeSet<usize> = notes.iter().map(|(file, _)| *file).collect();
    match notes.first() {
        Some((file, what)) if damaged.len() + unread == files.len() => {
            let path = files.get(*file).cloned().unwrap_or_default();
            Err(Error::Capture { path, what: format!("it has no packet that can be read: {what}") })
        }
        _ => Ok(()),
    }
}

/// Whether an error is about what a file holds, and not about its name.
pub(super) fn is_there(err: &Error, file: &Path) -> bool {
    matches!(err, Error::Capture { .. })
        || file == Path::new("-")
        || File::open(file).is_ok_and(|file| file.metadata().is_ok_and(|data| !data.is_dir()))
}

/// Opens the files. One that is no capture is noted where another one is; where none is, it is the error.
fn open_all(files: &[PathBuf]) -> Result<(Vec<Reader>, Vec<String>), Error> {
    let mut readers = Vec::new();
    let mut unread = Vec::new();
    for (place, file) in files.iter().enumerate() {
        match Reader::open(file, place) {
            Ok(reader) => readers.push(reader),
            Err(err) if is_there(&err, file) => unread.push(err),
            Err(err) => return Err(err),
        }
    }
    if readers.is_empty()
        && let Some(first) = unread.pop()
    {
        return Err(first);
    }
    Ok((readers, unread.iter().map(ToString::to_string).collect()))
}

fn plan<'s>(typed: &Decode, format: DecodeFormat, snapshot: Option<&'s Snapshot>) -> Result<Plan<'s>, Error> {
    if typed.files.iter().filter(|file| *file == Path::new("-")).count() > 1 {
        return Err(Error::Usage("the standard input, `-`, is named twice".to_owned()));
    }
    refuse(typed, format, snapshot.is_some())?;
    let mut tunnels = snapshot.map(ports::of_snapshot).unwrap_or_default();
    tunnels.vxlan.extend(&typed.vxlan_port);
    let names = match typed.files.as_slice() {
        [_] => Vec::new(),
        files => files
            .iter()
            .map(|file| file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned())
            .collect(),
    };
    let filter = |option: &str, text: &Option<String>| -> Result<Option<Filter>, Error> {
        text.as_ref().map(|text| filter::parse(option, text, &tunnels.vxlan)).transpose()
    };
    let extra =
        Extra { bytes: typed.bytes, told: snapshot.is_some(), checksums: typed.checksums, fragments: typed.reassemble };
    Ok(Plan {
        filter: filter("--filter", &typed.filter)?,
        inner: filter("--inner", &typed.inner)?,
        form: form(typed, format),
        extra,
        snapshot: snapshot.map(|snapshot| Ok((snapshot, Points::of(typed, snapshot)?))).transpose()?,
        ports: tunnels,
        since: typed.since,
        until: typed.until,
        count: typed.count,
        threads: threads(typed, format, extra),
        files: typed.files.iter().map(|file| file.display().to_string()).collect(),
        names,
    })
}

/// Options that say nothing beside others.
fn refuse(typed: &Decode, format: DecodeFormat, is_told: bool) -> Result<(), Error> {
    let wrong = |words: &str| Err(Error::Usage(words.to_owned()));
    let is_packets = format == DecodeFormat::Pcapng;
    if is_packets && (typed.flows || typed.verbose || typed.bytes || !typed.fields.is_empty()) {
        return wrong("--flows, --fields, -v and -x are for what is read; -o pcapng has the packets themselves");
    }
    if !is_packets && (typed.decapsulate || typed.annotate) {
        return wrong("--decapsulate and --annotate are for -o pcapng, and -w FILE.pcapng");
    }
    if format != DecodeFormat::Text && (typed.verbose || typed.bytes) {
        return wrong("-v and -x are for text; -o json, jsonl and csv have one form each");
    }
    if !typed.fields.is_empty() && !matches!(format, DecodeFormat::Text | DecodeFormat::Csv) {
        return wrong(
            "--fields: the records of -o json and -o jsonl have all they have; fields are columns of text or -o csv",
        );
    }
    if !is_told && !typed.at.is_empty() {
        return wrong("--at says where on the paths of a snapshot: it needs --snapshot PATH");
    }
    let asked = |option: &str| match option {
        "--snapshot" => is_told,
        "--checksums" => typed.checksums,
        _ => typed.reassemble,
    };
    let lacking =
        typed.fields.iter().find_map(|field| Some((field.name(), field.needs().filter(|need| !asked(need))?)));
    match lacking {
        Some((name, need)) => wrong(&format!("--fields: {name} needs {need}")),
        None => Ok(()),
    }
}

fn form(typed: &Decode, format: DecodeFormat) -> Form {
    Form::Text(match format {
        DecodeFormat::Pcapng => {
            return Form::Packets { decapsulate: typed.decapsulate, annotate: typed.annotate };
        }
        DecodeFormat::Text if !typed.fields.is_empty() => View::Fields(typed.fields.clone(), Columns::Tabs),
        DecodeFormat::Csv if !typed.fields.is_empty() => View::Fields(typed.fields.clone(), Columns::Commas),
        DecodeFormat::Text if typed.verbose => View::Tree,
        DecodeFormat::Text => View::Line,
        DecodeFormat::Json => View::Json(RecordStyle::Object),
        DecodeFormat::Jsonl => View::Json(RecordStyle::Lines),
        DecodeFormat::Csv => View::Csv,
    })
}

fn flow_view(format: DecodeFormat) -> FlowView {
    match format {
        DecodeFormat::Text | DecodeFormat::Pcapng => FlowView::Table,
        DecodeFormat::Json => FlowView::Json(RecordStyle::Object),
        DecodeFormat::Jsonl => FlowView::Json(RecordStyle::Lines),
        DecodeFormat::Csv => FlowView::Csv,
    }
}

/// How many threads share the work.
fn threads(typed: &Decode, format: DecodeFormat, extra: Extra) -> usize {
    // Who counts packets, follows conversations, gathers fragments or describes interfaces does so one after the other.
    if typed.count.is_some() || extra.told || extra.fragments || format == DecodeFormat::Pcapng {
        return 1;
    }
    if let Some(threads) = typed.threads {
        return threads.into();
    }
    let size = |file: &PathBuf| match file.metadata() {
        Ok(data) if data.is_file() => data.len(),
        // Nobody knows how much a pipe will hold.
        _ => LARGE,
    };
    if typed.files.iter().map(size).sum::<u64>() < LARGE {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}
