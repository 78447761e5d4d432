//! `flowtrace decode`: the packets of captures.

mod flows;
mod plan;
pub(super) mod run;
mod work;

use std::io;
use std::path::{Path, PathBuf};

use crate::capture::filter::{Filter, Settings};
use crate::capture::reader::Reader;
use crate::capture::several::Several;
use crate::error::Error;
use crate::render::decode::{Columns, FlowView, RecordStyle, View};
use crate::wire::Ports;

use super::args::{Decode, DecodeFormat};
use super::{Outcome, exit, output};
use plan::Plan;

/// So large are files whose work is worth sharing.
const LARGE: u64 = 4 << 20;

/// Shows the packets, and tells what is wrong with the files.
pub(super) fn decode(typed: &Decode) -> Result<Outcome, Error> {
    let plan = plan(typed)?;
    let (readers, unread) = open(&typed.files)?;
    let sizes = readers.iter().map(Reader::consumed).collect();
    let several = Several::new(readers);
    let progress = run::Progress::new(&typed.files, sizes);
    let ended = if typed.flows {
        flows::run(several, &plan, flow_view(typed.output), progress, unread)
    } else {
        run::run(several, &plan, progress, unread)
    };
    output::progress("");
    match ended {
        Ok(notes) => notes.iter().for_each(|note| output::complain(&format!("note: {note}"))),
        // Whoever closes the pipe early has seen enough.
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => {}
        Err(err) => return Err(Error::Usage(format!("the output can't be written: {err}"))),
    }
    Ok(Outcome { output: Vec::new(), file: None, code: exit::ARRIVES })
}

/// Opens the files. One that is no capture is noted where another one is; where none is, it is the error.
fn open(files: &[PathBuf]) -> Result<(Vec<Reader>, Vec<String>), Error> {
    let mut readers = Vec::new();
    let mut unread = Vec::new();
    for (place, file) in files.iter().enumerate() {
        match Reader::open(file, place) {
            Ok(reader) => readers.push(reader),
            Err(err @ Error::Capture { .. }) => unread.push(err),
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

fn plan(typed: &Decode) -> Result<Plan, Error> {
    if typed.files.iter().filter(|file| *file == Path::new("-")).count() > 1 {
        return Err(Error::Usage("the standard input, `-`, is named twice".to_owned()));
    }
    let mut ports = Ports::default();
    ports.vxlan.extend(&typed.vxlan_port);
    let names = match typed.files.as_slice() {
        [_] => Vec::new(),
        files => files
            .iter()
            .map(|file| file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned())
            .collect(),
    };
    let filter = |option: &str, text: &Option<String>| -> Result<Option<Filter>, Error> {
        let Some(text) = text else { return Ok(None) };
        let settings = Settings { vxlan_ports: &ports.vxlan, ..Settings::default() };
        let filter = Filter::parse_with(text, &settings);
        filter.map(Some).map_err(|refusal| Error::Usage(format!("{option}: {refusal}\n{}", refusal.marked(text))))
    };
    Ok(Plan {
        filter: filter("--filter", &typed.filter)?,
        inner: filter("--inner", &typed.inner)?,
        view: view(typed)?,
        with_bytes: typed.bytes,
        ports,
        since: typed.since,
        until: typed.until,
        count: typed.count,
        threads: threads(typed),
        files: typed.files.iter().map(|file| file.display().to_string()).collect(),
        names,
    })
}

fn view(typed: &Decode) -> Result<View, Error> {
    let is_text = typed.output == DecodeFormat::Text;
    if !is_text && (typed.verbose || typed.bytes) {
        return Err(Error::Usage("-v and -x are for text; -o json, jsonl and csv have one form each".to_owned()));
    }
    Ok(match typed.output {
        DecodeFormat::Text if !typed.fields.is_empty() => View::Fields(typed.fields.clone(), Columns::Tabs),
        DecodeFormat::Csv if !typed.fields.is_empty() => View::Fields(typed.fields.clone(), Columns::Commas),
        _ if !typed.fields.is_empty() => {
            let words = "--fields: the records of -o json and -o jsonl have all they have; fields are columns of text or -o csv";
            return Err(Error::Usage(words.to_owned()));
        }
        DecodeFormat::Text if typed.verbose => View::Tree,
        DecodeFormat::Text => View::Line,
        DecodeFormat::Json => View::Json(RecordStyle::Object),
        DecodeFormat::Jsonl => View::Json(RecordStyle::Lines),
        DecodeFormat::Csv => View::Csv,
    })
}

fn flow_view(format: DecodeFormat) -> FlowView {
    match format {
        DecodeFormat::Text => FlowView::Table,
        DecodeFormat::Json => FlowView::Json(RecordStyle::Object),
        DecodeFormat::Jsonl => FlowView::Json(RecordStyle::Lines),
        DecodeFormat::Csv => FlowView::Csv,
    }
}

/// How many threads share the work.
fn threads(typed: &Decode) -> usize {
    // Who counts packets does so one after the other.
    if typed.count.is_some() {
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
