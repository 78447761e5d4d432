//! The correlated view of packets while they come.

use std::io::{self, Write};

use crate::capture::run::Watch;
use crate::capture::{Captured, Interface};
use crate::cli::args::{AlongFormat, Capture, Written};
use crate::cli::correlate::stream::{Eyes, Skipped};
use crate::cli::{exit, explain, ports};
use crate::correlate::{Clocks, Depth, Journey, Lanes, Learned, Outlook, PointId, Predictor, Window};
use crate::error::Error;
use crate::net::NodeName;
use crate::render::{self, Correlation, Forecast, Foreseen, JourneyLine, JourneyText, Style};
use crate::snapshot::Snapshot;
use crate::wire::{Frame, LinkType, Time};

use super::along::Along;

/// How long a packet is waited for at further points, in nanoseconds: they are all of this machine.
const WIDTH: i64 = 500_000_000;

/// Follows packets from point to point and shows each once it is waited for no longer.
pub(super) struct Viewer<'a> {
    eyes: Eyes,
    window: Window,
    clocks: Clocks,
    show: Show<'a>,
    link_types: Vec<LinkType>,
    nodes: [NodeName; 1],
    points: Vec<String>,
    files: [String; 1],
    snapshot: &'a Snapshot,
    style: Style,
    format: AlongFormat,
    number: u64,
}

/// Shows packets.
struct Show<'a> {
    learned: Learned,
    predictor: Predictor<'a>,
    outlook: Outlook,
    snapshot: &'a Snapshot,
    form: Form,
    out: io::Stdout,
    failed: Option<io::Error>,
}

enum Form {
    Text(JourneyText),
    Line(JourneyLine),
}

impl<'a> Viewer<'a> {
    /// Nothing has come yet.
    pub(super) fn new(along: &'a Along, interfaces: &[Interface], typed: &Capture) -> Self {
        let learned = Learned::live(along.points.len(), &along.orders);
        let style = explain::style(typed.flow.color, typed.flow.ascii, &Written { write: None });
        let points: Vec<String> = along.points.iter().map(ToString::to_string).collect();
        let files = [typed.write.as_ref().map_or_else(|| "live".to_owned(), |path| path.display().to_string())];
        let form = match typed.flow.output {
            AlongFormat::Text => Form::Text(JourneyText::new(&points, style)),
            AlongFormat::Jsonl => Form::Line(JourneyLine::new(&files, &points)),
        };
        let predictor = Predictor::new(&along.snapshot, &along.points);
        let show = Show {
            learned: learned.clone(),
            predictor,
            outlook: Outlook::default(),
            snapshot: &along.snapshot,
            form,
            out: io::stdout(),
            failed: None,
        };
        Self {
            eyes: Eyes::new(ports::of_snapshot(&along.snapshot), depth(typed.snapshot_length as usize)),
            clocks: learned.clocks().clone(),
            window: Window::new(learned, WIDTH),
            show,
            link_types: interfaces.iter().map(|interface| LinkType(interface.link_type)).collect(),
            nodes: [along.node.clone()],
            points,
            files,
            snapshot: &along.snapshot,
            style,
            format: typed.flow.output,
            number: 0,
        }
    }

    /// What all packets have shown, and the exit code.
    pub(super) fn finish(self) -> Result<(Vec<u8>, u8), Error> {
        let Self { window, mut show, clocks, .. } = self;
        let summary = window.finish(&mut |journey, lanes| show.journey(journey, lanes));
        let Skipped { not_ip, groups, timeless } = self.eyes.skipped;
        show.result()?;
        let correlation = Correlation {
            files: &self.files,
            points: &self.points,
            nodes: &self.nodes,
            clocks: &clocks,
            summary: &summary,
            skipped: [not_ip, groups, timeless],
            forecast: Some(Forecast { outlook: &show.outlook, files: &self.snapshot.files, before: None }),
        };
        let code = if correlation.lost() > 0 { exit::FAILS } else { exit::ARRIVES };
        let mut rest = Vec::new();
        if self.format == AlongFormat::Text {
            render::correlation_text(&correlation, self.style, &mut rest)
                .map_err(|err| Error::Usage(format!("the answer can't be written: {err}")))?;
        }
        Ok((rest, code))
    }
}

impl Watch for Viewer<'_> {
    fn packet(&mut self, packet: &Captured<'_>) -> Result<(), Error> {
        self.number += 1;
        let place = usize::try_from(packet.interface).unwrap_or(usize::MAX);
        let Some(link_type) = self.link_types.get(place).copied() else { return Ok(()) };
        let frame = Frame {
            number: self.number,
            time: Some(moment(packet.time)),
            interface: packet.interface,
            link_type,
            length: packet.length,
            bytes: &packet.bytes,
        };
        let point = PointId(u16::try_from(packet.interface).unwrap_or(u16::MAX));
        let Some(sight) = self.eyes.see((&frame, None), 0, (point, true)) else { return Ok(()) };
        let show = &mut self.show;
        self.window.push(&sight, &mut |journey, lanes| show.journey(journey, lanes));
        show.result()
    }

    fn pass(&mut self, time: u64) -> Result<(), Error> {
        let (show, time) = (&mut self.show, i64::try_from(time).unwrap_or(i64::MAX));
        self.window.pass(time, &mut |journey, lanes| show.journey(journey, lanes));
        show.result()
    }
}

impl Show<'_> {
    fn journey(&mut self, journey: &Journey<'_>, lanes: &Lanes) {
        let predicted = self.predictor.of(journey, lanes);
        let lost_after = self.predictor.lost_after(journey, predicted.as_deref(), &self.learned);
        self.outlook.add(journey, predicted.as_ref(), lost_after);
        if self.failed.is_some() {
            return;
        }
        let foreseen = Foreseen { predicted: predicted.as_deref(), files: &self.snapshot.files, lost_after };
        let text = match &mut self.form {
            Form::Text(text) => text.of(journey, lanes),
            Form::Line(line) => line.of(journey, lanes, Some(foreseen)),
        };
        self.failed = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).err();
    }

    fn result(&mut self) -> Result<(), Error> {
        match self.failed.take() {
            None => Ok(()),
            Some(source) => Err(Error::Io { path: "-".into(), source }),
        }
    }
}

/// How much of packets is looked at where so many bytes of each packet are kept, whatever tunnels it is in.
fn depth(snap_length: usize) -> Depth {
    const HEADERS: usize = 160;
    let kept = Depth { payload: snap_length.saturating_sub(HEADERS), options: snap_length >= HEADERS };
    Depth::MOST.min(kept)
}

/// A moment in nanoseconds since 1970.
fn moment(nanoseconds: u64) -> Time {
    const SECOND: u64 = 1_000_000_000;
    let seconds = i64::try_from(nanoseconds / SECOND).unwrap_or(i64::MAX);
    Time { seconds, nanoseconds: u32::try_from(nanoseconds % SECOND).unwrap_or(0) }
}
