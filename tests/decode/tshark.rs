//! The real tshark: how many packets of which lengths a capture has, and between whom the innermost ones are.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use flowtrace::capture::batch::Batch;
use flowtrace::capture::reader::Reader;
use flowtrace::wire::{Dissector, Ports};

/// Whether a program can run here; says loudly where it can't.
pub fn is_ready(program: &str, test: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return true;
    }
    skipped(test, &format!("{program} is needed"));
    false
}

/// Says that a test could not run.
pub fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {why}");
    if let Some(path) = std::env::var_os("FLOWTRACE_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("FLOWTRACE_SKIPS opens");
        writeln!(file, "{test}: {why}").expect("FLOWTRACE_SKIPS can be written");
    }
}

/// What is compared of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its length on the wire.
    pub length: u32,
    /// How many bytes were captured.
    pub captured: u32,
    /// The innermost packet's addresses.
    pub ends: Option<(IpAddr, IpAddr)>,
}

/// What tshark prints of a capture; `None` where it can't read it.
pub fn tshark(file: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("tshark").arg("-n").arg("-r").arg(file).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A file that breaks off has packets before that, and the exit code says that it does.
    (output.status.success() || !text.is_empty()).then_some(text)
}

/// The packets as tshark has them.
pub fn theirs(file: &Path) -> Option<Vec<Row>> {
    const FIELDS: [&str; 10] = [
        "frame.len",
        "frame.cap_len",
        "frame.protocols",
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
        "arp.src.proto_ipv4",
        "arp.dst.proto_ipv4",
        "frame.number",
    ];
    // Each frame by itself.
    const ALONE: [&str; 6] =
        ["-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE"];
    let mut args = vec!["-d", "udp.port==8472,vxlan", "-T", "fields"];
    args.extend(ALONE);
    args.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
    Some(tshark(file, &args)?.lines().map(row).collect())
}

fn row(line: &str) -> Row {
    let fields: Vec<&str> = line.split('\t').collect();
    let values = |place: usize| -> VecDeque<IpAddr> {
        let text = fields.get(place).copied().unwrap_or_default();
        text.split(',').filter_map(|value| value.parse().ok()).collect()
    };
    let (mut sources, mut destinations) = ([values(3), values(5), values(7)], [values(4), values(6), values(8)]);
    let mut ends = None;
    for protocol in fields.get(2).copied().unwrap_or_default().split(':') {
        let place = match protocol {
            // What an error quotes travels not.
            "icmp" | "icmpv6" => break,
            "ip" => 0,
            "ipv6" => 1,
            "arp" => 2,
            _ => continue,
        };
        ends = sources[place].pop_front().zip(destinations[place].pop_front());
    }
    Row { length: fields[0].parse().unwrap_or(0), captured: fields[1].parse().unwrap_or(0), ends }
}

/// The packets as they are here.
pub fn ours(file: &Path) -> Result<Vec<Row>, String> {
    let mut reader = Reader::open(file, 0).map_err(|err| err.to_string())?;
    let mut dissector = Dissector::new(Ports::default());
    let (mut rows, mut batch) = (Vec::new(), Batch::default());
    while reader.fill(&mut batch) {
        for frame in batch.frames() {
            let decoded = dissector.decode(frame.link_type, frame.bytes, frame.length);
            let innermost = decoded.innermost();
            let ends = innermost.and_then(|packet| packet.source().zip(packet.destination()));
            rows.push(Row { length: frame.length, captured: u32::try_from(frame.bytes.len()).unwrap(), ends });
        }
    }
    Ok(rows)
}

/// In what the packets differ: where, and what each one says.
pub fn differences(ours: &[Row], theirs: &[Row]) -> Vec<String> {
    let mut differences = Vec::new();
    if ours.len() != theirs.len() {
        differences.push(format!("{} packets, and tshark has {}", ours.len(), theirs.len()));
    }
    let pairs = (1..).zip(ours.iter().zip(theirs));
    let differing = pairs.filter(|(_, (one, other))| one != other);
    differences.extend(differing.map(|(number, (one, other))| format!("packet {number}: {one:?}, tshark {other:?}")));
    differences
}
