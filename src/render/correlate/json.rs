//! One JSON object: points, clocks, and flows with their hops. `flowtrace schema` describes it.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;

use crate::correlate::{Delays, Doubt, Flow, Hop, Lane, LaneId, NodeId, changes, counted};

use super::super::escape::clean_json;
use super::super::lines::Lines;
use super::{Correlation, Forecast, flow_name, moment, places};

/// The name and version of the format.
pub(in crate::render) const SCHEMA: &str = "flowtrace/correlate/1";

/// Writes what the captures have in common as JSON.
pub fn correlation_json(view: &Correlation<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    CorrelationJson::new(view).serialize(&mut Serializer::with_formatter(&mut bytes, Lines::default()))?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    writeln!(out, "{}", clean_json(&text))
}

#[derive(Serialize)]
struct CorrelationJson<'a> {
    schema: &'static str,
    files: &'a [String],
    points: &'a [String],
    packets: u64,
    lost: u64,
    skipped: SkippedJson,
    clocks: Vec<ClockJson<'a>>,
    flows: Vec<FlowJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causes: Option<Vec<CauseJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unexplained: Option<u64>,
}

/// Lines of a snapshot that end packets where some were lost.
#[derive(Serialize)]
struct CauseJson {
    evidence: Vec<String>,
    packets: u64,
    /// What the rule has counted between the snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<u64>,
}

#[derive(Serialize)]
struct SkippedJson {
    not_ip: u64,
    group: u64,
    timeless: u64,
}

#[derive(Serialize)]
struct ClockJson<'a> {
    node: &'a str,
    /// By how much it is ahead of the reference's when the first packet is seen.
    ahead_ns: Option<i64>,
    drift_ppm: Option<f64>,
    uncertainty_ns: Option<f64>,
    certainty: &'static str,
    packets: usize,
}

#[derive(Serialize)]
struct FlowJson<'a> {
    flow: String,
    first: String,
    last: String,
    packets: u64,
    bytes: u64,
    retransmissions: u64,
    lost: u64,
    lost_after: Vec<CountJson<'a>>,
    early: Vec<CountJson<'a>>,
    missed: Vec<CountJson<'a>>,
    first_point: &'a str,
    hops: Vec<HopJson<'a>>,
}

#[derive(Serialize)]
struct CountJson<'a> {
    point: &'a str,
    packets: u64,
}

#[derive(Serialize)]
struct HopJson<'a> {
    from: &'a str,
    to: &'a str,
    packets: u64,
    reordered: u64,
    delay_ns: DelayJson,
    rewritten: Vec<String>,
}

#[derive(Serialize)]
struct DelayJson {
    least: i64,
    p50: i64,
    p90: i64,
    p99: i64,
    most: i64,
}

impl<'a> CorrelationJson<'a> {
    fn new(view: &'a Correlation<'a>) -> Self {
        let [not_ip, group, timeless] = view.skipped;
        let flows = || view.summary.flows.iter().filter(|flow| flow.packets > 0);
        let start = flows().map(|flow| flow.first).min().unwrap_or(0);
        Self {
            schema: SCHEMA,
            files: view.files,
            points: view.points,
            packets: view.summary.packets,
            lost: view.lost(),
            skipped: SkippedJson { not_ip, group, timeless },
            clocks: (0..)
                .zip(view.nodes)
                .map(|(place, node)| clock(view, NodeId(place), node.as_str(), start))
                .collect(),
            flows: flows().filter_map(|flow| FlowJson::new(view, flow)).collect(),
            causes: view.forecast.map(causes),
            unexplained: view.forecast.map(|forecast| forecast.outlook.unexplained),
        }
    }
}

fn causes(forecast: Forecast<'_>) -> Vec<CauseJson> {
    let causes = forecast.outlook.causes.iter().map(|(because, packets)| {
        let rule = because.first().zip(forecast.before);
        let counted = rule.and_then(|(rule, before)| counted(*rule, forecast.files, before));
        let counted = counted.and_then(|counted| counted.packets);
        CauseJson { evidence: places(because, forecast.files), packets: *packets, counted }
    });
    causes.collect()
}

fn clock<'a>(view: &Correlation<'_>, node: NodeId, name: &'a str, start: i64) -> ClockJson<'a> {
    let clock = view.clocks.clocks.get(node.index()).copied().flatten();
    let doubt = clock.map(|clock| clock.line.doubt);
    let certainty = match doubt {
        _ if node == view.clocks.reference => "reference",
        None => "unknown",
        Some(Doubt::Within(_)) => "both-ways",
        Some(Doubt::Behind | Doubt::Ahead) => "one-way",
        Some(Doubt::Uneven(_)) => "uneven",
        Some(Doubt::Unordered) => "unordered",
    };
    let uncertainty = match doubt {
        Some(Doubt::Within(by)) => Some(by.round()),
        _ => None,
    };
    ClockJson {
        node: name,
        ahead_ns: clock.map(|_| view.clocks.ahead(node, start)),
        drift_ppm: clock.map(|clock| clock.line.drift * 1e6),
        uncertainty_ns: uncertainty,
        certainty,
        packets: clock.map_or(0, |clock| clock.packets),
    }
}

impl<'a> FlowJson<'a> {
    fn new(view: &'a Correlation<'a>, flow: &'a Flow) -> Option<Self> {
        let lanes = &view.summary.lanes;
        let lane: &Lane = lanes.get(flow.lane)?;
        let point = |lane: LaneId| view.point(lanes.point(lane).index());
        let losses: Vec<(LaneId, u64)> = flow.losses().iter().map(|ended| (ended.lane, ended.lost)).collect();
        let count = |(at, packets): &(LaneId, u64)| CountJson { point: point(*at), packets: *packets };
        let silent = view.silent(flow);
        let by_model =
            silent.iter().map(|(at, packets)| CountJson { point: view.point(at.index()), packets: *packets });
        let when = |time| {
            let mut text = String::new();
            moment(time, &mut text);
            text
        };
        Some(Self {
            flow: flow_name(lane),
            first: when(flow.first),
            last: when(flow.last),
            packets: flow.packets,
            bytes: flow.bytes,
            retransmissions: flow.retransmissions,
            lost: losses.iter().map(|(_, packets)| packets).chain(silent.iter().map(|(_, packets)| packets)).sum(),
            lost_after: losses.iter().map(count).chain(by_model).collect(),
            early: view.early(flow).iter().map(count).collect(),
            missed: flow
                .missed
                .iter()
                .map(|(at, packets)| CountJson { point: view.point(at.index()), packets: *packets })
                .collect(),
            first_point: point(flow.lane),
            hops: flow.hops.iter().map(|hop| HopJson::new(view, hop)).collect(),
        })
    }
}

impl<'a> HopJson<'a> {
    fn new(view: &'a Correlation<'a>, hop: &Hop) -> Self {
        let lanes = &view.summary.lanes;
        let point = |lane: LaneId| view.point(lanes.point(lane).index());
        let changes = match (lanes.get(hop.from), lanes.get(hop.to)) {
            (Some(from), Some(to)) => changes((from, hop.ttl.0), (to, hop.ttl.1)),
            _ => Vec::new(),
        };
        Self {
            from: point(hop.from),
            to: point(hop.to),
            packets: hop.delays.count(),
            reordered: hop.reordered,
            delay_ns: DelayJson::new(&hop.delays),
            rewritten: changes.iter().map(ToString::to_string).collect(),
        }
    }
}

impl DelayJson {
    fn new(delays: &Delays) -> Self {
        let at = |percent| delays.percentile(percent);
        Self { least: delays.least(), p50: at(50), p90: at(90), p99: at(99), most: delays.most() }
    }
}
