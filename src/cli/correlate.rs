//! `flowtrace correlate`: one packet at several capture points.

mod points;
mod stream;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::capture::filter::{Filter, Settings};
use crate::correlate::{Journey, Lanes, Learned, Outlook, Predictor, Survey, Window, depth};
use crate::error::Error;
use crate::net::NodeName;
use crate::render::{self, Correlation, Forecast, Foreseen, Style};
use crate::snapshot::Snapshot;
use crate::wire::Ports;

use super::args::{Correlate, CorrelateFormat};
use super::decode::run::Progress;
use super::{Outcome, exit, explain, open, output};
use points::Points;
use stream::{Eyes, Merge, Skipped, Stream};

/// Reads the captures twice, and shows what they have in common.
pub(super) fn correlate(typed: &Correlate) -> Result<Outcome, Error> {
    if let Some(path) = typed.files.iter().find(|path| path.as_path() == Path::new("-")) {
        let why = "captures are read twice, and the standard input can be read once";
        return Err(Error::Usage(format!("{}: {why}; write it to a file first", path.display())));
    }
    filter(typed)?;
    let model = Model::load(typed)?;
    let nodes: Vec<NodeName> = model.snapshot.iter().flat_map(|snapshot| snapshot.nodes.keys().cloned()).collect();
    let mut points = Points::new(&typed.files, &typed.at, &nodes)?;
    let (learned, depth) = survey(typed, &mut points)?;
    let outcome = follow(typed, &points, &learned, depth, &model);
    // The program is about to end, which frees the tables of a large cluster at once.
    std::mem::forget(model);
    outcome
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

/// Which packets are asked for.
fn filter(typed: &Correlate) -> Result<Option<Filter>, Error> {
    let Some(text) = &typed.flow else { return Ok(None) };
    let ports = ports(typed).vxlan;
    let settings = Settings { vxlan_ports: &ports, ..Settings::default() };
    let filter = Filter::parse_with(text, &settings);
    filter.map(Some).map_err(|refusal| Error::Usage(format!("--flow: {refusal}\n{}", refusal.marked(text))))
}

/// The ports by which tunnels are known.
fn ports(typed: &Correlate) -> Ports {
    let mut ports = Ports::default();
    ports.vxlan.extend(&typed.vxlan_port);
    ports
}

/// The first pass: which points there are, what their clocks differ by, and how much of a payload all of them have kept.
fn survey(typed: &Correlate, points: &mut Points) -> Result<(Learned, usize), Error> {
    let mut streams = Stream::open(&typed.files)?;
    let mut progress = progress(typed, &streams);
    let mut kept = u32::MAX;
    for stream in &mut streams {
        stream.fill();
        let lengths = stream.batch.points().iter().map(|point| point.snap_length).filter(|length| *length > 0);
        kept = kept.min(lengths.min().unwrap_or(u32::MAX));
    }
    let mut eyes = Eyes::new(ports(typed), depth(kept));
    let mut survey = Survey::default();
    for (file, stream) in streams.iter_mut().enumerate() {
        // A capture without packets is a point, too.
        let mut has_more = true;
        while has_more {
            has_more = stream.fill();
            progress.tell();
            let described = stream.batch.points().to_vec();
            let places = (0..).zip(&described).map(|(place, point)| points.meet(file, place, point, &mut survey));
            let places = places.collect::<Result<Vec<_>, _>>()?;
            while let Some(frame) = stream.next() {
                let Some(point) = places.get(frame.interface as usize) else { continue };
                if let Some(sight) = eyes.see(&frame, file, *point) {
                    survey.add(&sight);
                }
            }
        }
        complain(typed, file, stream);
    }
    let depth = depth(eyes.cut.unwrap_or(u32::MAX).min(kept));
    Ok((survey.learn(), depth))
}

/// How many packets are read before it is told how far the work is.
const TOLD_EVERY: u32 = 1 << 14;

/// How far one pass is.
fn progress(typed: &Correlate, streams: &[Stream]) -> Progress {
    let read = streams.iter().map(|stream| stream.reader.consumed()).collect();
    let progress = Progress::new(&typed.files, read);
    let is_streamed = typed.verbose || typed.output == CorrelateFormat::Jsonl;
    if is_streamed { progress } else { progress.unseen() }
}

/// What was wrong with a file.
fn complain(typed: &Correlate, file: usize, stream: &mut Stream) {
    let Some(path) = typed.files.get(file) else { return };
    for note in stream.reader.notes() {
        output::complain(&format!("{}: {note}", path.display()));
    }
}

/// The second pass.
fn follow(
    typed: &Correlate,
    points: &Points,
    learned: &Learned,
    depth: usize,
    model: &Model,
) -> Result<Outcome, Error> {
    let clocks = learned.clocks().clone();
    let mut window = Window::new(learned.clone(), typed.window);
    let eyes = Eyes::new(ports(typed), depth).asked(filter(typed)?);
    let streams = Stream::open(&typed.files)?;
    let mut progress = progress(typed, &streams);
    let mut merge = Merge::new(streams, points, eyes, |point, time| learned.correct(point, time));
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

/// Where packets are written as they come, if they are. The first error ends it.
struct Lines<'a> {
    out: Option<Box<dyn Write>>,
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
        let open = || -> Result<Box<dyn Write>, Error> {
            Ok(match file {
                Some(path) => {
                    let created = std::fs::File::create(path).map_err(|err| output::unwritten(path, &err))?;
                    Box::new(BufWriter::with_capacity(1 << 16, created))
                }
                None => Box::new(BufWriter::with_capacity(1 << 16, io::stdout())),
            })
        };
        let (form, is_wanted) = match typed.output {
            CorrelateFormat::Jsonl => (Form::Line(render::JourneyLine::new(files, points)), true),
            CorrelateFormat::Text => (Form::Text(render::JourneyText::new(points, style)), typed.verbose),
            CorrelateFormat::Json => (Form::Text(render::JourneyText::new(points, style)), false),
        };
        Ok(Self { out: is_wanted.then(open).transpose()?, file, form, failed: None })
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
        self.failed = out.write_all(text.as_bytes()).err();
    }

    /// Writes what comes behind the packets. Gives it back where no packets were written.
    fn finish(self, rest: Vec<u8>) -> Result<Vec<u8>, Error> {
        let Some(mut out) = self.out else { return Ok(rest) };
        let written = match self.failed {
            Some(err) => Err(err),
            None => out.write_all(&rest).and_then(|()| out.flush()),
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
