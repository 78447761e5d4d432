//! `snapshot.json`: when the snapshot was taken, by what, and what failed.
//!
//! `{"schema": "flowtrace/snapshot/1", "taken": "2026-01-31T12:00:00Z", "by": "flowtrace 0.1.0",
//! "timezone": "UTC", "failed": [{"file": "nodes/n1/host/fdb.txt", "why": "bridge: not found"}], "changed": ["nodes/n1/host/nft.txt"],
//! "gaps": ["n1.tar.gz: the archive ends in the middle"]}`, of which every field may be missing. Where several nodes'
//! were put together, each one's time zone stands with it: `"nodes": [{"node": "n1", "timezone": "UTC"}]`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::evidence::{Evidence, FileId, Gap};
use crate::net::NodeName;

use super::lines::{Notes, quote};

/// The one layout that is known.
pub const SCHEMA: &str = "flowtrace/snapshot/1";

#[derive(Deserialize)]
struct Meta {
    schema: Option<String>,
    failed: Option<Vec<Failed>>,
    /// Files that changed whenever they were read.
    changed: Option<Vec<String>>,
    /// What of nodes' snapshots could not be read when they were put together.
    gaps: Option<Vec<String>>,
    /// The time zone in which the tools ran.
    timezone: Option<Value>,
    nodes: Option<Value>,
}

/// In which time zone each node's tools ran, where that is known.
#[derive(Debug, Default)]
pub(super) struct Zones {
    all: bool,
    nodes: BTreeSet<String>,
}

impl Zones {
    fn of(meta: &mut Meta) -> Self {
        let is_utc = |zone: Option<&Value>| zone.and_then(Value::as_str) == Some("UTC");
        let nodes = meta.nodes.take();
        let nodes = nodes.iter().filter_map(Value::as_array).flatten().filter(|node| is_utc(node.get("timezone")));
        let names = nodes.filter_map(|node| Some(node.get("node")?.as_str()?.to_owned()));
        Self { all: is_utc(meta.timezone.as_ref()), nodes: names.collect() }
    }

    /// Whether it was UTC on a node.
    pub fn is_utc(&self, node: &NodeName) -> bool {
        self.all || self.nodes.contains(node.as_str())
    }
}

/// A file that could not be taken.
#[derive(Deserialize)]
struct Failed {
    file: String,
    why: Option<String>,
}

/// Says what the snapshot says of itself.
pub(super) fn read(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Zones {
    let mut notes = Notes::new(file, "`snapshot.json`", gaps);
    let at = Evidence::line(file, 1);
    let mut meta: Meta = match serde_json::from_str(text) {
        Ok(meta) => meta,
        Err(err) => {
            notes.add(Evidence::line(file, line(&err)), "this is not the JSON that a snapshot is told by");
            return Zones::default();
        }
    };
    let zones = Zones::of(&mut meta);
    if let Some(schema) = meta.schema.filter(|schema| schema != SCHEMA) {
        let what = format_args!(
            "the layout is {}, not {SCHEMA}: it may hold what is not read here; ask a flowtrace of the version that wrote \
             it, or take it again",
            quote(&schema)
        );
        notes.add(at, what);
    }
    for Failed { file, why } in meta.failed.into_iter().flatten() {
        let why = why.map(|why| format!(": {}", quote(&why))).unwrap_or_default();
        notes.add(at, format_args!("{} could not be taken{why}", quote(&file)));
    }
    for file in meta.changed.into_iter().flatten() {
        notes.add(at, format_args!("{} changed while it was read: it may be of no one moment", quote(&file)));
    }
    for gap in meta.gaps.into_iter().flatten() {
        // A gap's own words are whole sentences, and longer than what is quoted.
        let shown: String =
            gap.chars().take(300).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
        notes.add(at, format_args!("what was put together had a gap: {shown}"));
    }
    zones
}

fn line(err: &serde_json::Error) -> u32 {
    u32::try_from(err.line()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(text: &str) -> Vec<String> {
        let mut gaps = Vec::new();
        drop(read(FileId(0), text, &mut gaps));
        gaps.into_iter().map(|gap| gap.what).collect()
    }

    #[test]
    fn what_failed_and_an_unknown_layout_are_gaps() {
        assert_eq!(gaps(r#"{"schema": "flowtrace/snapshot/1", "taken": "now"}"#), [""; 0]);
        assert_eq!(gaps("{}"), [""; 0]);
        let other = &gaps(r#"{"schema": "flowtrace/snapshot/2"}"#)[0];
        assert!(other.contains("snapshot/2") && other.contains("take it again"), "{other}");
        let failed =
            gaps(r#"{"failed": [{"file": "nodes/n1/host/fdb.txt", "why": "bridge: not found"}, {"file": "x"}]}"#);
        assert_eq!(failed[0], "`snapshot.json`: `nodes/n1/host/fdb.txt` could not be taken: `bridge: not found`");
        assert_eq!(failed.len(), 2);
        assert!(gaps(r#"{"gaps": ["n1.tar: it is cut"]}"#)[0].contains("had a gap: n1.tar: it is cut"));
        assert!(gaps(r#"{"changed": ["nodes/n1/host/nft.txt"]}"#)[0].contains("nft.txt` changed while it was read"));
    }

    #[test]
    fn a_time_zone_is_that_of_all_nodes_or_of_those_that_say_so() {
        let utc = |text: &str| {
            let zones = read(FileId(0), text, &mut Vec::new());
            ["n1", "n2"].map(|node| zones.is_utc(&NodeName::new(node)))
        };
        assert_eq!(utc(r#"{"timezone": "UTC"}"#), [true, true]);
        assert_eq!(utc(r#"{"timezone": "Europe/Berlin"}"#), [false, false]);
        assert_eq!(utc(r#"{"taken": "2026-01-31T12:00:00Z", "nodes": ["n1"]}"#), [false, false]);
        assert_eq!(
            utc(r#"{"nodes": [{"node": "n1", "timezone": "UTC"}, {"node": "n2", "timezone": null}]}"#),
            [true, false]
        );
    }

    #[test]
    fn a_cut_file_is_one_gap() {
        let text = r#"{"schema": "flowtrace/snapshot/1"}"#;
        for end in 0..text.len() {
            assert_eq!(gaps(&text[..end]).len(), 1);
        }
    }
}
