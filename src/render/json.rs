//! The JSON of `explain`, which other programs build on: `flowtrace schema` describes it, and its words are for ever.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Serializer;

use super::escape::clean_json;
use super::lines::Lines;
use super::{View, endpoint};
use crate::evidence::{Evidence, Files, Gap};
use crate::net::{Encapsulation, IfName, Packet, RouteType, Transport, VlanTag};
use crate::trace::{
    Beside, BesideWay, Decision, Finding, Leg, Path, Reason, Role, Sighting, Spot, Step, Trace, Verdict, Way,
};

/// The name and version of the format.
pub(super) const SCHEMA: &str = "flowtrace/explain/1";

/// Writes the answer as JSON.
pub fn json(view: &View<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    ExplanationJson::new(view).serialize(&mut Serializer::with_formatter(&mut bytes, Lines::default()))?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    writeln!(out, "{}", clean_json(&text))
}

/// Writes the answer as JSON in one line.
pub fn json_line(view: &View<'_>, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string(&ExplanationJson::new(view)).map_err(io::Error::other)?;
    writeln!(out, "{}", clean_json(&text))
}

#[derive(Serialize)]
struct ExplanationJson<'a> {
    schema: &'static str,
    request: RequestJson<'a>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unexplored: Option<f64>,
    paths: Vec<PathJson<'a>>,
    gaps: Vec<GapJson<'a>>,
    findings: Vec<GapJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<CaptureJson<'a>>,
}

/// The captured packet that an answer is about.
#[derive(Serialize)]
struct CaptureJson<'a> {
    file: &'a str,
    n: u64,
    count: u64,
    node: &'a str,
    netns: String,
    device: Option<&'a str>,
    way: Option<&'static str>,
    role: &'static str,
    established: bool,
    whole: bool,
    packet: PacketJson,
    odd: Vec<GapJson<'a>>,
    notes: &'a [String],
}

/// Where a captured packet was seen on a path.
#[derive(Serialize)]
struct SpotJson {
    leg: &'static str,
    step: usize,
}

#[derive(Serialize)]
struct RequestJson<'a> {
    from: &'a str,
    to: &'a str,
    packet: PacketJson,
}

#[derive(Serialize)]
struct PathJson<'a> {
    probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    verdict: &'static str,
    forward: TraceJson<'a>,
    reply: Option<TraceJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_delivered: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<SpotJson>,
}

#[derive(Serialize)]
struct TraceJson<'a> {
    verdict: &'static str,
    reason: Option<&'static str>,
    steps: Vec<StepJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<BesideJson<'a>>,
}

/// What the kernel sent beside the packet.
#[derive(Serialize)]
struct BesideJson<'a> {
    kind: &'static str,
    after: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    certain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    paths: Vec<BesideWayJson<'a>>,
}

#[derive(Serialize)]
struct BesideWayJson<'a> {
    probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    trace: TraceJson<'a>,
}

/// A gap or a finding: what, and the lines that show it.
#[derive(Serialize)]
struct GapJson<'a> {
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    evidence: Vec<EvidenceJson<'a>>,
}

#[derive(Serialize)]
struct EvidenceJson<'a> {
    file: &'a str,
    line: u32,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
}

#[derive(Serialize)]
struct StepJson<'a> {
    n: usize,
    node: &'a str,
    netns: String,
    #[serde(flatten)]
    decision: DecisionJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certain: Option<bool>,
    packet: PacketJson,
    evidence: Vec<EvidenceJson<'a>>,
}

/// The headers of one packet, with those around it.
#[derive(Serialize)]
struct PacketJson {
    protocol: String,
    source: IpAddr,
    source_port: Option<u16>,
    destination: IpAddr,
    destination_port: Option<u16>,
    ttl: u8,
    length: u32,
    mark: u32,
    tos: u8,
    df: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_flags: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<[u8; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_options: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ext_headers: Vec<ExtHeaderJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragments: Option<FragmentsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlans: Vec<VlanJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vni: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outer: Option<Box<PacketJson>>,
}

/// An extension header of IPv6, its bytes in hexadecimal.
#[derive(Serialize)]
struct ExtHeaderJson {
    header: &'static str,
    bytes: String,
}

#[derive(Serialize)]
struct FragmentsJson {
    count: u32,
    largest: u32,
}

#[derive(Serialize)]
struct LinkJson {
    source: String,
    destination: String,
}

/// A VLAN tag of the frame.
#[derive(Serialize)]
struct VlanJson {
    id: u16,
    protocol: &'static str,
    priority: Option<u8>,
    drop_eligible: bool,
}

/// A step's kind with its own fields.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum DecisionJson<'a> {
    Send,
    Receive {
        device: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        bridge_netfilter: Option<bool>,
    },
    Transmit {
        device: &'a str,
    },
    Route {
        table: Option<String>,
        rule_priority: Option<u32>,
        prefix: Option<String>,
        r#type: Option<&'static str>,
        via: Option<IpAddr>,
        device: Option<&'a str>,
        source_hint: Option<IpAddr>,
    },
    ReversePath {
        device: &'a str,
        mode: &'static str,
        passed: bool,
    },
    Forward {
        mtu: Option<u32>,
    },
    SourceRoute {
        destination: IpAddr,
    },
    Rule {
        hook: &'static str,
        family: &'static str,
        backend: &'static str,
        table: &'a str,
        chain: &'a str,
        index: u32,
        text: &'a str,
        verdict: &'static str,
    },
    Policy {
        hook: &'static str,
        family: &'static str,
        backend: &'static str,
        table: &'a str,
        chain: &'a str,
        verdict: &'static str,
    },
    Conntrack {
        state: &'static str,
    },
    Nat {
        change: &'static str,
        from: String,
        to: String,
    },
    Neighbor {
        address: IpAddr,
        device: &'a str,
        lladdr: Option<String>,
        state: Option<&'static str>,
        assumed: bool,
    },
    Fdb {
        device: &'a str,
        lladdr: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        vtep: Option<IpAddr>,
        flooded: Vec<&'a str>,
    },
    Encapsulate {
        device: &'a str,
        tunnel: &'static str,
        vni: Option<u32>,
    },
    Decapsulate {
        device: &'a str,
        tunnel: &'static str,
        vni: Option<u32>,
    },
    Userspace {
        device: &'a str,
        program: &'a str,
        ttl_cost: u8,
    },
    Underlay {
        assumed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'a str>,
        routers: u8,
    },
    Fragment {
        mtu: u32,
        count: u32,
        largest: u32,
    },
    Deliver(EndJson<'a>),
    Left(EndJson<'a>),
    Drop(EndJson<'a>),
    Reject(RejectJson<'a>),
    Lost(EndJson<'a>),
    Looped(EndJson<'a>),
    Undetermined(EndJson<'a>),
}

#[derive(Serialize)]
struct EndJson<'a> {
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct RejectJson<'a> {
    #[serde(flatten)]
    end: EndJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<[u8; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_source: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_reset: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<&'static str>,
}

impl<'a> ExplanationJson<'a> {
    fn new(view: &View<'a>) -> Self {
        let (answer, files) = (view.answer, view.files);
        Self {
            schema: SCHEMA,
            request: RequestJson { from: view.from, to: view.to, packet: PacketJson::new(&answer.request) },
            verdict: answer.verdict().as_str(),
            truncated: answer.unexplored.map(|_| true),
            unexplored: answer.unexplored,
            paths: answer
                .paths
                .iter()
                .enumerate()
                .map(|(place, path)| PathJson::new(path, view.spot(place), files))
                .collect(),
            gaps: answer.gaps.iter().map(|gap| GapJson::new(gap, files)).collect(),
            findings: view.findings.iter().map(|finding| GapJson::of_finding(finding, files)).collect(),
            capture: view.sighting.map(|sighting| CaptureJson::new(sighting, files)),
        }
    }
}

impl<'a> CaptureJson<'a> {
    fn new(sighting: &'a Sighting, files: &'a Files) -> Self {
        Self {
            file: &sighting.file,
            n: sighting.number,
            count: sighting.count,
            node: sighting.place.node.as_str(),
            netns: sighting.place.name.to_string(),
            device: sighting.place.device.as_ref().map(IfName::as_str),
            way: sighting.way.map(Way::as_str),
            role: Role::as_str(sighting.role),
            established: sighting.established,
            whole: sighting.is_whole,
            packet: PacketJson::new(&sighting.packet),
            odd: sighting.odd.iter().map(|odd| GapJson::of_finding(odd, files)).collect(),
            notes: &sighting.notes,
        }
    }
}

impl<'a> PathJson<'a> {
    fn new(path: &'a Path, spot: Option<Spot>, files: &'a Files) -> Self {
        let rejected = path.forward.verdict == Verdict::Rejected;
        Self {
            probability: path.probability,
            why: (!path.why.is_empty()).then(|| path.why.join("; ")),
            verdict: path.forward.verdict.as_str(),
            forward: TraceJson::new(&path.forward, files),
            reply: path.reply.as_ref().map(|reply| TraceJson::new(reply, files)),
            // Present on every rejected path, null where nobody knows.
            error_delivered: rejected.then(|| path.error_delivered.into()),
            seen: spot.map(|spot| SpotJson { leg: Leg::as_str(spot.leg), step: spot.step + 1 }),
        }
    }
}

impl<'a> TraceJson<'a> {
    fn new(trace: &'a Trace, files: &'a Files) -> Self {
        Self {
            verdict: trace.verdict.as_str(),
            reason: trace.reason.map(Reason::as_str),
            steps: (1..).zip(&trace.steps).map(|(n, step)| StepJson::new(n, step, files)).collect(),
            beside: trace.beside.iter().map(|beside| BesideJson::new(beside, files)).collect(),
        }
    }
}

impl<'a> BesideJson<'a> {
    fn new(beside: &'a Beside, files: &'a Files) -> Self {
        let way = |way: &'a BesideWay| BesideWayJson {
            probability: way.probability,
            why: (!way.why.is_empty()).then(|| way.why.join("; ")),
            trace: TraceJson::new(&way.trace, files),
        };
        Self {
            kind: beside.kind.as_str(),
            after: beside.after,
            certain: (!beside.certain).then_some(false),
            truncated: beside.truncated.then_some(true),
            paths: beside.ways.iter().map(way).collect(),
        }
    }
}

impl<'a> StepJson<'a> {
    fn new(n: usize, step: &'a Step, files: &'a Files) -> Self {
        Self {
            n,
            node: step.place.node.as_str(),
            netns: step.place.name.to_string(),
            decision: DecisionJson::new(&step.decision),
            certain: (!step.certain).then_some(false),
            packet: PacketJson::new(&step.packet),
            evidence: evidence(&step.because, files),
        }
    }
}

impl<'a> GapJson<'a> {
    fn of_finding(finding: &'a Finding, files: &'a Files) -> Self {
        Self { what: &finding.what, column: None, evidence: evidence(&finding.evidence, files) }
    }

    fn new(gap: &'a Gap, files: &'a Files) -> Self {
        Self { what: &gap.what, column: gap.column, evidence: evidence(&gap.evidence, files) }
    }
}

fn evidence<'a>(lines: &[Evidence], files: &'a Files) -> Vec<EvidenceJson<'a>> {
    let line = |&line: &Evidence| EvidenceJson {
        file: files.path(line),
        line: line.line,
        text: start_of(files.text(line)),
        index: line.index,
    };
    lines.iter().map(line).collect()
}

/// The extension headers, each with the number of what comes next in its first byte.
fn ext_headers(packet: &Packet) -> Vec<ExtHeaderJson> {
    let headers = packet.extensions.hex(packet.protocol()).into_iter();
    headers.map(|(header, bytes)| ExtHeaderJson { header, bytes }).collect()
}

impl PacketJson {
    /// The innermost packet, with the outer ones as its `outer`.
    fn new(packet: &Packet) -> Self {
        let mut headers = Self::headers(packet);
        let mut around = packet;
        while let Some(inner) = &around.inner {
            headers = Self { outer: Some(Box::new(headers)), ..Self::headers(inner) };
            around = inner;
        }
        headers
    }

    /// One packet's own headers.
    fn headers(packet: &Packet) -> Self {
        let (tunnel, vni) = match packet.encapsulation {
            Some(Encapsulation::Vxlan(vni)) => (Some("vxlan"), Some(vni.0)),
            Some(Encapsulation::Relay) => (Some("relay"), None),
            None => (None, None),
        };
        let (tcp_flags, icmp) = match packet.transport {
            Transport::Tcp { flags, .. } => (Some(flags), None),
            Transport::Icmp { kind, code, .. } => (None, Some([kind, code])),
            _ => (None, None),
        };
        Self {
            protocol: packet.protocol().to_string(),
            source: packet.ip.source,
            source_port: packet.source_port(),
            destination: packet.ip.destination,
            destination_port: packet.destination_port(),
            ttl: packet.ip.ttl,
            length: packet.length,
            mark: packet.mark.0,
            tos: packet.ip.tos,
            df: packet.ip.df,
            tcp_flags,
            icmp,
            ip_options: Some(packet.options.hex()).filter(|hex| !hex.is_empty()),
            ext_headers: ext_headers(packet),
            fragments: packet.fragments.map(|pieces| FragmentsJson { count: pieces.count, largest: pieces.largest }),
            link: packet
                .link
                .map(|link| LinkJson { source: link.source.to_string(), destination: link.destination.to_string() }),
            vlans: packet.tags.iter().copied().map(VlanJson::new).collect(),
            tunnel,
            vni,
            outer: None,
        }
    }
}

impl VlanJson {
    fn new(tag: VlanTag) -> Self {
        let VlanTag { protocol, id, priority, drop_eligible } = tag;
        Self { id, protocol: protocol.as_str(), priority, drop_eligible }
    }
}

impl<'a> DecisionJson<'a> {
    fn new(decision: &'a Decision) -> Self {
        match decision {
            Decision::Send | Decision::SendOwn { .. } => Self::Send,
            Decision::Receive { device, bridge_netfilter } => {
                Self::Receive { device: device.as_str(), bridge_netfilter: *bridge_netfilter }
            }
            Decision::Transmit { device } => Self::Transmit { device: device.as_str() },
            Decision::Route { table, rule_priority, prefix, kind, via, device, source_hint, .. } => Self::Route {
                table: table.map(|table| table.to_string()),
                rule_priority: *rule_priority,
                prefix: prefix.map(|prefix| prefix.to_string()),
                r#type: kind.map(RouteType::as_str),
                via: *via,
                device: device.as_ref().map(IfName::as_str),
                source_hint: *source_hint,
            },
            Decision::ReversePath { device, mode, passed } => {
                Self::ReversePath { device: device.as_str(), mode: mode.as_str(), passed: *passed }
            }
            Decision::Forward(forwarded) => Self::Forward { mtu: forwarded.mtu },
            Decision::Rule { hook, family, backend, table, chain, index, text, verdict, .. } => Self::Rule {
                hook: hook.as_str(),
                family,
                backend,
                table,
                chain,
                index: *index,
                text,
                verdict: verdict.as_str(),
            },
            Decision::Policy { hook, family, backend, table, chain, verdict } => {
                Self::Policy { hook: hook.as_str(), family, backend, table, chain, verdict: verdict.as_str() }
            }
            Decision::Conntrack { state } => Self::Conntrack { state: state.as_str() },
            Decision::Nat { change, from_endpoint: from, to_endpoint: to, .. } => {
                Self::Nat { change: change.as_str(), from: endpoint(from.0, from.1), to: endpoint(to.0, to.1) }
            }
            Decision::Neighbor { address, device, lladdr, state, assumed, .. } => Self::Neighbor {
                address: *address,
                device: device.as_str(),
                lladdr: lladdr.map(|lladdr| lladdr.to_string()),
                state: *state,
                assumed: *assumed,
            },
            Decision::Fdb { device, lladdr, port, vtep, flooded } => Self::Fdb {
                device: device.as_str(),
                lladdr: lladdr.to_string(),
                port: port.as_ref().map(IfName::as_str),
                vtep: *vtep,
                flooded: flooded.iter().map(IfName::as_str).collect(),
            },
            Decision::Encapsulate { device, tunnel, vni, .. } => {
                Self::Encapsulate { device: device.as_str(), tunnel, vni: vni.map(|vni| vni.0) }
            }
            Decision::Decapsulate { device, tunnel, vni } => {
                Self::Decapsulate { device: device.as_str(), tunnel, vni: vni.map(|vni| vni.0) }
            }
            Decision::Userspace { device, program, ttl_cost } => {
                Self::Userspace { device: device.as_str(), program, ttl_cost: *ttl_cost }
            }
            Decision::SourceRoute { destination } => Self::SourceRoute { destination: *destination },
            Decision::Underlay { assumed, note, routers } => {
                Self::Underlay { assumed: *assumed, note: note.as_deref(), routers: *routers }
            }
            Decision::Fragment { mtu, count, largest } => {
                Self::Fragment { mtu: *mtu, count: *count, largest: *largest }
            }
            Decision::End { verdict, reason, detail, icmp, icmp_source, tcp_reset, errno, cause: _ } => {
                let end = EndJson { reason: reason.map(Reason::as_str), detail: detail.as_deref() };
                let icmp = icmp.map(|(kind, code)| [kind, code]);
                let tcp_reset = tcp_reset.then_some(true);
                Self::end(*verdict, RejectJson { end, icmp, icmp_source: *icmp_source, tcp_reset, errno: *errno })
            }
        }
    }

    fn end(verdict: Verdict, reject: RejectJson<'a>) -> Self {
        match verdict {
            Verdict::Delivered => Self::Deliver(reject.end),
            Verdict::Left => Self::Left(reject.end),
            Verdict::Dropped => Self::Drop(reject.end),
            Verdict::Rejected => Self::Reject(reject),
            Verdict::Lost => Self::Lost(reject.end),
            Verdict::Looped => Self::Looped(reject.end),
            Verdict::Undetermined | Verdict::Mixed => Self::Undetermined(reject.end),
        }
    }
}

/// The longest line that is quoted whole, in bytes: no tool prints a row that long.
const LONGEST_QUOTE: usize = 1 << 20;

/// A line, or the start of one that is longer than any tool's.
fn start_of(text: &str) -> &str {
    if text.len() <= LONGEST_QUOTE {
        return text;
    }
    let end = (0..=LONGEST_QUOTE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}
