//! `flowtrace correlate`: one packet at several capture points.

mod points;
mod source;
pub(super) mod stream;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::capture::filter::Filter;
use crate::correlate::{Depth, Journey, Lanes, Learned, Outlook, Predictor, Survey, Window};
use crate::error::Error;
use crate::render::{self, Correlation, Forecast, Foreseen, Style};
use crate::snapshot::Snapshot;
use crate::wire::Ports;

use super::args::{Correlate, CorrelateFormat};
use super::decode::refuse_damaged;
use super::decode::run::Progress;
use super::packed::Packed;
use super::{Outcome, exit, explain, open, output, point, ports};
use points::Points;
use source::Source;
use stream::{Eyes, Merge, Skipped, Stream};

/// Reads the captures twice, and shows what they have in common.
pub(super) fn correlate(typed: &Correlate) -> Result<Outcome, Error> {
    if typed.files.iter().filter(|path| path.as_path() == Path::new("-")).count() > 1 {
        return Err(Error::Usage("the standard input, `-`, is named twice".to_owned()));
    }
    refuse_twice(&typed.files)?;
    filter(typed, &Ports::default())?;
    let model = Model::load(typed)?;
    let mut points = Points::new(&typed.files, &typed.at, model.snapshot.as_ref())?;
    let sources = typed.files.iter().map(|path| Source::new(path)).collect::<Result<Vec<_>, _>>()?;
    let work = Work { typed, ports: ports(typed, &model), sources };
    let (learned, depth) = work.survey(&mut points)?;
    let outcome = work.follow(&points, &learned, depth, &model);
    // The program is about to end, which frees the tables of a large cluster at once.
    std::mem::forget(model);
    outcome
}

/// What is read, and how.
struct Work<'a> {
    typed: &'a Correlate,
    /// The ports by which tunnels are known.
    ports: Ports,
    sources: Vec<Source>,
}

/// The snapshots that packets are held against.
struct Model {
    snapshot: Option<Snapshot>,
    /// One from before the captures.
    before: Option<Snapshot>,
}

impl Model {
    fn load(typed: &Correlate) -> Result<Self, Error> {
        let path = typed.snapshot.as_deref().or(typed.after.as_deref());
        let load = |path: Option<&Path>| path.map(|path| open::open(Some(path), false)).transpose();
        Ok(Self { snapshot: load(path)?, before: load(typed.before.as_deref())? })
    }
}

/// Every packet of a file that is given twice would seem to pass its point twice.
fn refuse_twice(files: &[PathBuf]) -> Result<(), Error> {
    let mut known = BTreeSet::new();
    for file in files {
        if std::fs::canonicalize(file).is_ok_and(|whole| whole.is_file() && !known.insert(whole)) {
            return Err(Error::Usage(format!("{} is given twice", file.display())));
        }
    }
    Ok(())
}

/// Which packets are asked for.
fn filter(typed: &Correlate, ports: &Ports) -> Result<Option<Filter>, Error> {
    typed.flow.as_ref().map(|text| super::filter::parse("--flow", text, &ports.vxlan)).transpose()
}

/// The ports by which tunnels are known: the usual ones, those of the snapshot's devices, and those that were typed.
fn ports(typed: &Correlate, model: &Model) -> Ports {
    let mut ports = model.snapshot.as_ref().map_or_else(Ports::default, ports::of_snapshot);
    ports.vxlan.extend(&typed.vxlan_port);
    ports
}

impl Work<'_> {
    /// The first pass: which points there are, what their clocks differ by, and how much of a payload all of them have kept.
    fn survey(&self, points: &mut Points<'_>) -> Result<(Learned, Depth), Error> {
        let typed = self.typed;
        let (mut streams, unread) = Stream::open(&self.sources)?;
        for err in &unread {
            output::complain(&format!("note: {err}"));
        }
        let mut progress = progress(typed, &streams);
        // The first packets tell as a rule how much is kept of each.
        let mut eyes = Eyes::new(self.ports.clone(), Depth::MOST);
        for stream in &mut streams {
            stream.fill();
            stream.batch.frames().for_each(|frame| eyes.measure(&frame));
        }
        eyes.depth = eyes.cut;
        let mut survey = Survey::default();
        let (mut is_empty, mut notes) = (true, Vec::new());
        for stream in &mut streams {
            let file = stream.file();
            // A capture without packets is a point, too.
            let mut has_more = true;
            while has_more {
                has_more = stream.fill();
                progress.tell();
                is_empty &= stream.batch.is_empty();
                let described = stream.batch.points().to_vec();
                points.describe(file, &described, &mut survey)?;
                while let Some((frame, way)) = stream.next() {
                    let named = (frame.interface, point::device_index(&frame));
                    let Some(point) = points.of_packet(file, named, &described, &mut survey)? else { continue };
                    if let Some(mut sight) = eyes.see((&frame, way), file, point) {
                        sight.time = stream.likely(sight.time, typed.window);
                        survey.add(&sight);
                    }
                }
            }
            notes.extend(stream.reader.notes().into_iter().map(|note| (file, note)));
        }
        if is_empty {
            refuse_damaged(&typed.files, unread.len(), &notes)?;
        }
        for (file, note) in notes {
            let path = typed.files.get(file).map_or(Path::new(""), PathBuf::as_path);
            output::complain(&format!("note: {}: {note}", path.display()));
        }
        let Depth { payload, .. } = eyes.cut;
        if payload < TELLING {
            output::complain(&format!(
                "note: packets were cut when they were captured: but for TCP, only {payload} bytes behind their headers tell \
                 them from others, and some may be taken for each other; capture with a larger snapshot length (-s 256)"
            ));
        }
        Ok((survey.learn(), eyes.cut))
    }

    /// The second pass.
    fn follow(&self, points: &Points<'_>, learned: &Learned, depth: Depth, model: &Model) -> Result<Outcome, Error> {
        let typed = self.typed;
        let clocks = learned.clocks().clone();
        let mut window = Window::new(learned.clone(), typed.window);
        let eyes = Eyes::new(self.ports.clone(), depth).asked(filter(typed, &self.ports)?);
        let (streams, _) = Stream::open(&self.sources)?;
        let mut progress = progress(typed, &streams);
        let mut merge = Merge::new(streams, points, eyes, |point, time| learned.correct(point, time), typed.window);
        let files: Vec<String> = typed.files.iter().map(|path| path.display().to_string()).collect();
        let names: Vec<String> = points.list.iter().map(ToString::to_string).collect();
        let style = explain::style(typed.color, typed.ascii, &typed.written);
        let mut lines = Lines::new(typed, &files, &names, style)?;
        let mut predictor = model.snapshot.as_ref().map(|snapshot| Predictor::new(snapshot, &points.list));
        let mut outlook = Outlook::default();
        let mut each = |journey: &Journey<'_>, lanes: &Lanes| {
            let Some((predictor, snapshot)) = predictor.as_mut().zip(model.snapshot.as_ref()) else {
                return lines.write(journey, lanes, None);
            };
            let predicted = predictor.of(journey, lanes);
            let lost_after = predictor.lost_after(journey, predicted.as_deref(), learned);
            outlook.add(journey, predicted.as_ref(), lost_after);
            let foreseen = Foreseen { predicted: predicted.as_deref(), files: &snapshot.files, lost_after };
            lines.write(journey, lanes, Some(foreseen));
        };
        let mut count = 0_u32;
        while let Some(sight) = merge.next() {
            window.push(&sight, &mut each);
            count = count.wrapping_add(1);
            if count.is_multiple_of(TOLD_EVERY) {
                progress.tell();
            }
        }
        output::progress("");
        if merge.mended > 0 {
            let count = match merge.mended {
                1 => "the time of 1 packet".to_owned(),
                count => format!("the times of {count} packets"),
            };
            output::complain(&format!("note: {count} can't be right: what stands beside tells when it was"));
        }
        let summary = window.finish(&mut each);
        let Skipped { not_ip, groups, timeless } = merge.eyes.skipped;
        let correlation = Correlation {
            files: &files,
            points: &names,
            nodes: &points.nodes,
            clocks: &clocks,
            summary: &summary,
            skipped: [not_ip, groups, timeless],
            forecast: model.snapshot.as_ref().map(|snapshot| Forecast {
                outlook: &outlook,
                files: &snapshot.files,
                before: model.before.as_ref().map(|before| &before.files),
            }),
        };
        let code = if correlation.lost() > 0 { exit::FAILS } else { exit::ARRIVES };
        let mut rest = Vec::new();
        let written = match typed.output {
            CorrelateFormat::Text => render::correlation_text(&correlation, style, &mut rest),
            CorrelateFormat::Json => render::correlation_json(&correlation, &mut rest),
            CorrelateFormat::Jsonl => Ok(()),
        };
        written.map_err(|err| Error::Usage(format!("the answer can't be written: {err}")))?;
        let is_streamed = lines.out.is_some();
        let output = lines.finish(rest)?;
        let file = typed.written.file().filter(|_| !is_streamed).map(Path::to_owned);
        Ok(Outcome { output, file, code })
    }
}

/// With fewer bytes of a payload than these, many packets look alike.
const TELLING: usize = 32;

/// How many packets are read before it is told how far the work is.
const TOLD_EVERY: u32 = 1 << 14;

/// How far one pass is.
fn progress(typed: &Correlate, streams: &[Stream]) -> Progress {
    let read = streams.iter().map(|stream| stream.reader.consumed()).collect();
    let progress = Progress::new(&typed.files, read);
    let is_streamed = typed.verbose || typed.output == CorrelateFormat::Jsonl;
    if is_streamed { progress } else { progress.unseen() }
}

/// So much is written at once, in bytes.
const KEPT: usize = 1 << 16;

/// Where packets are written as they come, if they are. The first error ends it.
struct Lines<'a> {
    out: Option<Packed>,
    /// What is not written yet.
    kept: String,
    file: Option<&'a Path>,
    form: Form,
    failed: Option<io::Error>,
}

/// How packets are written.
enum Form {
    Line(render::JourneyLine),
    Text(render::JourneyText),
}

impl<'a> Lines<'a> {
    fn new(typed: &'a Correlate, files: &[String], points: &[String], style: Style) -> Result<Self, Error> {
        let file = typed.written.file();
        let (form, is_wanted) = match typed.output {
            CorrelateFormat::Jsonl => (Form::Line(render::JourneyLine::new(files, points)), true),
            CorrelateFormat::Text => (Form::Text(render::JourneyText::new(points, style)), typed.verbose),
            CorrelateFormat::Json => (Form::Text(render::JourneyText::new(points, style)), false),
        };
        Ok(Self {
            out: is_wanted.then(|| output::open(file)).transpose()?,
            kept: String::new(),
            file,
            form,
            failed: None,
        })
    }

    fn write(&mut self, journey: &Journey<'_>, lanes: &Lanes, foreseen: Option<Foreseen<'_>>) {
        let Some(out) = &mut self.out else { return };
        if self.failed.is_some() {
            return;
        }
        let text = match &mut self.form {
            Form::Line(line) => line.of(journey, lanes, foreseen),
            Form::Text(text) => text.of(journey, lanes),
        };
        self.kept.push_str(text);
        if self.kept.len() >= KEPT {
            self.failed = out.put(self.kept.as_bytes()).err();
            self.kept.clear();
        }
    }

    /// Writes what comes behind the packets. Gives it back where no packets were written.
    fn finish(self, rest: Vec<u8>) -> Result<Vec<u8>, Error> {
        let Some(mut out) = self.out else { return Ok(rest) };
        let written = match self.failed {
            Some(err) => Err(err),
            None => out.put(self.kept.as_bytes()).and_then(|()| out.put(&rest)).and_then(|()| out.finish()),
        };
        match (written, self.file) {
            // Whoever closes the pipe early has seen enough.
            (Err(err), _) if err.kind() == io::ErrorKind::BrokenPipe => Ok(Vec::new()),
            (Err(err), Some(path)) => Err(output::unwritten(path, &err)),
            (Err(err), None) => Err(Error::Usage(format!("the output can't be written: {err}"))),
            (Ok(()), _) => Ok(Vec::new()),
        }
    }
}
