//! One JSON record a packet, flat enough for a database: `flowtrace schema` describes it.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::correlate::{
    Difference, End, FlowId, Journey, Lane, LaneId, Lanes, PointId, Predicted, PredictedHop, Seen, State, changes,
};
use crate::evidence::Files;
use crate::trace::Way;

use super::super::escape::clean_json;
use super::{cause, flow_name, moment, places};

/// Writes records. It keeps what does not change from packet to packet, and its memory.
pub struct JourneyLine {
    files: Vec<String>,
    points: Vec<String>,
    flows: HashMap<FlowId, String, foldhash::quality::RandomState>,
    /// What changes from lane to lane, with these TTLs.
    rewrites: HashMap<(LaneId, LaneId, u8, u8), String, foldhash::quality::RandomState>,
    tunnels: HashMap<LaneId, String, foldhash::quality::RandomState>,
    text: String,
}

/// How many texts of each kind are kept.
const MOST: usize = 1 << 16;

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    clean_json(&serde_json::Value::from(text).to_string())
}

impl JourneyLine {
    /// Records that name these files and points.
    #[must_use]
    pub fn new(files: &[String], points: &[String]) -> Self {
        let quoted = |names: &[String]| names.iter().map(|name| quoted(name)).collect();
        Self {
            files: quoted(files),
            points: quoted(points),
            flows: HashMap::default(),
            rewrites: HashMap::default(),
            tunnels: HashMap::default(),
            text: String::new(),
        }
    }

    /// The record of a packet, and the end of its line.
    pub fn of(&mut self, journey: &Journey<'_>, lanes: &Lanes, forecast: Option<Foreseen<'_>>) -> &str {
        self.text.clear();
        let _ = write!(self.text, "{{\"id\":{},\"flow\":", journey.id);
        self.flow(journey, lanes);
        self.text.push_str(",\"sightings\":[");
        let mut before: Option<&Seen> = None;
        for seen in journey.sights {
            if before.is_some() {
                self.text.push(',');
            }
            self.sighting(seen, before, lanes);
            before = Some(seen);
        }
        self.text.push_str("],\"fragments\":[");
        for (place, part) in journey.parts.iter().enumerate() {
            self.text.push_str(if place > 0 { "," } else { "" });
            self.at(part, lanes);
            self.text.push('}');
        }
        self.text.push_str("],\"lost_after\":");
        self.end(journey.end, forecast.and_then(|forecast| forecast.lost_after));
        let _ = match journey.retransmission_of {
            Some(earlier) => write!(self.text, ",\"retransmission_of\":{earlier}"),
            None => write!(self.text, ",\"retransmission_of\":null"),
        };
        self.text.push_str(",\"missed\":[");
        for (place, point) in journey.missed.iter().enumerate() {
            self.text.push_str(if place > 0 { "," } else { "" });
            self.point(*point);
        }
        self.text.push(']');
        if let Some(Foreseen { predicted, files, .. }) = forecast {
            self.predicted(predicted, files);
        }
        self.text.push_str("}\n");
        &self.text
    }

    /// What a snapshot says of the packet, null where it says nothing.
    fn predicted(&mut self, predicted: Option<&Predicted>, files: &Files) {
        let Some(predicted) = predicted else {
            self.text.push_str(",\"predicted\":null,\"cause\":null");
            return;
        };
        let hops = predicted.hops.iter().map(|hop| hop_json(hop, files));
        let elsewhere = predicted.elsewhere.iter().map(|point| {
            let point = self.points.get(point.index()).map_or("null", String::as_str);
            let differs =
                "[{\"field\":\"point\",\"predicted\":null,\"seen\":null,\"means\":\"not on the predicted way\"}]";
            format!("{{\"point\":{point},\"captured\":true,\"state\":\"differs\",\"differs\":{differs}}}")
        });
        let all: Vec<String> = hops.chain(elsewhere).collect();
        let cause = cause(predicted)
            .map(|(word, because)| json!({"verdict": word, "evidence": places(&because, files)}).to_string());
        let cause = cause.map_or_else(|| "null".to_owned(), |cause| clean_json(&cause));
        let _ = write!(self.text, ",\"predicted\":[{}],\"cause\":{cause}", all.join(","));
    }

    fn flow(&mut self, journey: &Journey<'_>, lanes: &Lanes) {
        let name = || {
            let lane = journey.sights.first().and_then(|seen| lanes.get(seen.lane));
            lane.map_or_else(|| "null".to_owned(), |lane| quoted(&flow_name(lane)))
        };
        match journey.flow {
            Some(flow) if self.flows.len() < MOST || self.flows.contains_key(&flow) => {
                self.text.push_str(self.flows.entry(flow).or_insert_with(name));
            }
            _ => self.text.push_str(&name()),
        }
    }

    fn point(&mut self, point: PointId) {
        self.text.push_str(self.points.get(point.index()).map_or("null", String::as_str));
    }

    /// Where a sight is, without the record's end.
    fn at(&mut self, seen: &Seen, lanes: &Lanes) {
        self.text.push_str("{\"point\":");
        self.point(lanes.point(seen.lane));
        self.text.push_str(",\"file\":");
        self.text.push_str(self.files.get(usize::from(seen.file.0)).map_or("null", String::as_str));
        let _ = write!(self.text, ",\"n\":{},\"time\":\"", seen.number);
        moment(seen.stamp, &mut self.text);
        self.text.push('"');
    }

    fn sighting(&mut self, seen: &Seen, before: Option<&Seen>, lanes: &Lanes) {
        self.at(seen, lanes);
        self.text.push_str(way(lanes.get(seen.lane).and_then(|lane| lane.way)));
        match before {
            None => self.text.push_str(",\"delay_ns\":null,\"rewritten\":[]"),
            Some(before) => {
                let _ = write!(self.text, ",\"delay_ns\":{}", seen.time.saturating_sub(before.time));
                self.text.push_str(",\"rewritten\":");
                self.rewritten(before, seen, lanes);
            }
        }
        self.text.push_str(",\"tunnel\":");
        self.tunnel(seen.lane, lanes);
        self.text.push('}');
    }

    fn rewritten(&mut self, before: &Seen, seen: &Seen, lanes: &Lanes) {
        let key = (before.lane, seen.lane, before.ttl, seen.ttl);
        if self.rewrites.len() >= MOST {
            self.rewrites.clear();
        }
        let text = self.rewrites.entry(key).or_insert_with(|| {
            let (Some(from), Some(to)) = (lanes.get(before.lane), lanes.get(seen.lane)) else { return "[]".to_owned() };
            let changes = changes((from, before.ttl), (to, seen.ttl));
            let changes: Vec<String> = changes.iter().map(|change| quoted(&change.to_string())).collect();
            format!("[{}]", changes.join(","))
        });
        self.text.push_str(text);
    }

    fn tunnel(&mut self, lane: LaneId, lanes: &Lanes) {
        if self.tunnels.len() >= MOST {
            self.tunnels.clear();
        }
        let text =
            self.tunnels.entry(lane).or_insert_with(|| lanes.get(lane).map_or_else(|| "null".to_owned(), tunnel));
        self.text.push_str(text);
    }

    fn end(&mut self, end: End, by_model: Option<PointId>) {
        let lost_after = if let End::Lost(point) = end { Some(point) } else { by_model };
        match lost_after {
            None => self.text.push_str("null"),
            Some(point) => self.point(point),
        }
        self.text.push_str(",\"last_seen\":");
        let (End::LastSeen(point) | End::Outside(point, _) | End::Lost(point)) = end;
        self.point(point);
        self.text.push_str(",\"not_captured_at\":");
        match end {
            End::Outside(_, next) => self.point(next),
            _ => self.text.push_str("null"),
        }
    }
}

/// Which way a packet passed the device.
fn way(way: Option<Way>) -> &'static str {
    match way {
        None => ",\"way\":null",
        Some(Way::In) => ",\"way\":\"in\"",
        Some(Way::Out) => ",\"way\":\"out\"",
    }
}

/// What a snapshot says of a packet, if it says anything.
#[derive(Clone, Copy, Debug)]
pub struct Foreseen<'a> {
    /// The way.
    pub predicted: Option<&'a Predicted>,
    /// The snapshot's files.
    pub files: &'a Files,
    /// Behind which point it was lost, by the captures or by the model.
    pub lost_after: Option<PointId>,
}

fn hop_json(hop: &PredictedHop, files: &Files) -> String {
    let (state, differences) = match &hop.state {
        State::Seen => ("seen", [].as_slice()),
        State::Unseen => ("unseen", [].as_slice()),
        State::Differs(differences) => ("differs", differences.as_slice()),
    };
    let differs: Vec<Value> = differences.iter().map(|difference| difference_json(difference, files)).collect();
    let (point, captured) = (hop.point.to_string(), hop.is_captured);
    clean_json(&json!({"point": point, "captured": captured, "state": state, "differs": differs}).to_string())
}

fn difference_json(difference: &Difference, files: &Files) -> Value {
    let because = difference.meaning.as_ref().map(|meaning| places(&meaning.because, files)).unwrap_or_default();
    json!({
        "field": difference.field,
        "predicted": difference.predicted,
        "seen": difference.seen,
        "means": difference.to_string(),
        "evidence": because,
    })
}

fn tunnel(lane: &Lane) -> String {
    let Some(outer) = lane.tunnel else { return "null".to_owned() };
    let vni = outer.vni.map_or_else(|| "null".to_owned(), |vni| vni.to_string());
    format!(
        "{{\"tunnel\":\"{}\",\"vni\":{vni},\"source\":\"{}\",\"destination\":\"{}\"}}",
        outer.name, outer.source, outer.destination
    )
}
