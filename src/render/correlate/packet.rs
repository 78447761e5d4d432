//! One packet for people: each sight with its delay and what changed.

use std::fmt::Write as _;

use crate::correlate::{End, Journey, Lanes, PointId, changes};

use super::super::Style;
use super::super::escape::clean;
use super::super::wrapped;
use super::text::{duration, symbol};
use super::{flow_name, moment};

/// Writes packets, and keeps its memory.
pub struct JourneyText {
    points: Vec<String>,
    style: Style,
    text: String,
}

impl JourneyText {
    /// Packets at these points.
    #[must_use]
    pub fn new(points: &[String], style: Style) -> Self {
        Self { points: points.to_vec(), style, text: String::new() }
    }

    /// The lines of a packet.
    pub fn of(&mut self, journey: &Journey<'_>, lanes: &Lanes) -> &str {
        self.text.clear();
        let lane = journey.sights.first().and_then(|seen| lanes.get(seen.lane));
        let flow = lane.map(flow_name).unwrap_or_default();
        let again = journey.retransmission_of.map(|id| format!(", carries what #{id} carried")).unwrap_or_default();
        self.line(&format!("#{} {flow}{again}", journey.id));
        let mut before = None;
        for seen in journey.sights {
            let (time, changes) =
                match before.and_then(|before: &crate::correlate::Seen| Some((before, lanes.get(before.lane)?))) {
                    None => {
                        let mut time = String::new();
                        moment(seen.stamp, &mut time);
                        (time, Vec::new())
                    }
                    Some((before, from)) => {
                        let changes = lanes.get(seen.lane).map(|to| changes((from, before.ttl), (to, seen.ttl)));
                        (format!("+{}", duration(seen.time.saturating_sub(before.time))), changes.unwrap_or_default())
                    }
                };
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            let point = self.point(lanes.point(seen.lane));
            let way = lanes.get(seen.lane).and_then(|lane| lane.way);
            let way = way.map(|way| format!(" {}", way.as_str())).unwrap_or_default();
            self.line(&format!("    {time:<12} {point}{way} frame {}", seen.number));
            let rewritten = symbol(self.style, "✎", "*");
            if !changes.is_empty() {
                self.line(&format!("      {rewritten} {}", changes.join(", ")));
            }
            before = Some(seen);
        }
        let missed: Vec<String> = journey.missed.iter().map(|point| self.point(*point)).collect();
        if !missed.is_empty() {
            self.line(&format!("    missed by the capture at {}", missed.join(", ")));
        }
        let lost = symbol(self.style, "✗", "x");
        match journey.end {
            End::Lost(point) => {
                self.line(&format!("  {lost} lost after {}", self.point(point)));
                if let Some(point) = journey.unreached {
                    self.line(&format!(
                        "    it went to the link address of {}, which has not seen it",
                        self.point(point)
                    ));
                }
            }
            End::Outside(_, next) => self.line(&format!("    the capture at {} has no packets then", self.point(next))),
            End::LastSeen(_) => {}
        }
        &self.text
    }

    fn point(&self, point: PointId) -> String {
        self.points.get(point.index()).cloned().unwrap_or_default()
    }

    fn line(&mut self, line: &str) {
        for line in wrapped(clean(line, self.style.charset).trim_end()) {
            let _ = writeln!(self.text, "{line}");
        }
    }
}
