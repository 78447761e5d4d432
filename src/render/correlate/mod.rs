//! What a person or a program sees of packets at several points.

mod json;
mod line;
mod packet;
mod text;

use std::fmt::Write as _;

use super::Style;
use super::text::references;
use crate::correlate::{Clocks, Flow, Lane, LaneId, Outlook, PointId, Predicted, Summary};
use crate::evidence::{Evidence, Files};
use crate::net::{NodeName, Protocol, calendar};
use crate::trace::Decision;

pub(super) use json::SCHEMA;
pub use json::correlation_json;
pub use line::{Foreseen, JourneyLine};
pub use packet::JourneyText;
pub use text::correlation_text;

/// What is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Correlation<'a> {
    /// The files, as they were named.
    pub files: &'a [String],
    /// The capture points' names.
    pub points: &'a [String],
    /// The nodes' names.
    pub nodes: &'a [NodeName],
    /// What their clocks differ by.
    pub clocks: &'a Clocks,
    /// What the packets have shown.
    pub summary: &'a Summary,
    /// How many packets were not looked for: not IP, to groups, without a time.
    pub skipped: [u64; 3],
    /// What a snapshot says of them.
    pub forecast: Option<Forecast<'a>>,
}

/// What a snapshot says of packets.
#[derive(Clone, Copy, Debug)]
pub struct Forecast<'a> {
    /// By flow, and by cause of losses.
    pub outlook: &'a Outlook,
    /// The snapshot's files.
    pub files: &'a Files,
    /// Those of a snapshot that was taken before the captures.
    pub before: Option<&'a Files>,
}

impl Correlation<'_> {
    /// How many packets were lost, of all flows, those included of which only the model says so.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let silent = self.forecast.map_or(0, |forecast| forecast.outlook.silent);
        self.summary.lost + silent
    }

    /// How many packets of a flow others like them have gone on from, since.
    fn early(&self, flow: &Flow) -> Vec<(LaneId, u64)> {
        flow.early(&self.summary.lanes, &self.summary.onward)
    }

    /// Behind which points packets of a flow were lost by the model alone, and how many.
    fn silent(&self, flow: &Flow) -> Vec<(PointId, u64)> {
        let told = self.forecast.zip(self.summary.lanes.flow(flow.lane));
        told.map(|(forecast, id)| forecast.outlook.silent_of(id)).unwrap_or_default()
    }

    fn point(&self, place: usize) -> &str {
        self.points.get(place).map_or("?", String::as_str)
    }
}

/// What ends packets of a flow in the model, in words: the verdict and its reason; and the lines that decide.
fn cause(predicted: &Predicted) -> Option<(String, Vec<Evidence>)> {
    let step = predicted.trace.steps.get(predicted.cause?)?;
    let Decision::End { verdict, reason, .. } = &step.decision else { return None };
    let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    Some((format!("{}{reason}", verdict.as_str()), predicted.because()))
}

/// The places of lines, without a terminal in mind.
fn places(lines: &[Evidence], files: &Files) -> Vec<String> {
    references(lines, Style::default(), files)
}

/// What a flow is called: its protocol, and its ends as they were first seen.
fn flow_name(lane: &Lane) -> String {
    let Protocol(protocol) = lane.protocol;
    // An echo's identifier is one, and no port.
    match (protocol, lane.ports) {
        (1 | 58, Some((id, _))) => {
            format!("{} {} > {} id {id}", lane.protocol, lane.source, lane.destination)
        }
        _ => format!("{} {} > {}", lane.protocol, lane.source_end(), lane.destination_end()),
    }
}

/// A moment as RFC 3339 writes it, in UTC, to the nanosecond.
fn moment(time: i64, out: &mut String) {
    let (seconds, nanoseconds) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
    let (day, second) = (seconds.div_euclid(calendar::DAY), seconds.rem_euclid(calendar::DAY));
    let (year, month, date) = calendar::civil(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(out, "{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z");
}
