//! `snapshot.json`: when the snapshot was taken, by what, and what failed.
//!
//! `{"schema": "flowtrace/snapshot/1", "taken": "2026-01-31T12:00:00Z", "by": "flowtrace 0.1.0",
//! "failed": [{"file": "nodes/n1/host/fdb.txt", "why": "bridge: not found"}], "changed": ["nodes/n1/host/nft.txt"]}`, of
//! which every field may be missing.

use serde::Deserialize;

use crate::evidence::{Evidence, FileId, Gap};

use super::lines::{Notes, quote};

/// The one layout that is known.
const SCHEMA: &str = "flowtrace/snapshot/1";

#[derive(Deserialize)]
struct Meta {
    schema: Option<String>,
    failed: Option<Vec<Failed>>,
    /// Files that changed whenever they were read.
    changed: Option<Vec<String>>,
}

/// A file that could not be taken.
#[derive(Deserialize)]
struct Failed {
    file: String,
    why: Option<String>,
}

/// Says what the snapshot says of itself.
pub(super) fn read(file: FileId, text: &str, gaps: &mut Vec<Gap>) {
    let mut notes = Notes::new(file, "`snapshot.json`", gaps);
    let at = Evidence::line(file, 1);
    let meta: Meta = match serde_json::from_str(text) {
        Ok(meta) => meta,
        Err(err) => {
            return notes.add(Evidence::line(file, line(&err)), "this is not the JSON that a snapshot is told by");
        }
    };
    if let Some(schema) = meta.schema.filter(|schema| schema != SCHEMA) {
        notes
            .add(at, format_args!("the layout is {}, not {SCHEMA}: it may hold what is not read here", quote(&schema)));
    }
    for Failed { file, why } in meta.failed.into_iter().flatten() {
        let why = why.map(|why| format!(": {}", quote(&why))).unwrap_or_default();
        notes.add(at, format_args!("{} could not be taken{why}", quote(&file)));
    }
    for file in meta.changed.into_iter().flatten() {
        notes.add(at, format_args!("{} changed while it was read: it may be of no one moment", quote(&file)));
    }
}

fn line(err: &serde_json::Error) -> u32 {
    u32::try_from(err.line()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(text: &str) -> Vec<String> {
        let mut gaps = Vec::new();
        read(FileId(0), text, &mut gaps);
        gaps.into_iter().map(|gap| gap.what).collect()
    }

    #[test]
    fn what_failed_and_an_unknown_layout_are_gaps() {
        assert_eq!(gaps(r#"{"schema": "flowtrace/snapshot/1", "taken": "now"}"#), [""; 0]);
        assert_eq!(gaps("{}"), [""; 0]);
        assert!(gaps(r#"{"schema": "flowtrace/snapshot/2"}"#)[0].contains("snapshot/2"));
        let failed =
            gaps(r#"{"failed": [{"file": "nodes/n1/host/fdb.txt", "why": "bridge: not found"}, {"file": "x"}]}"#);
        assert_eq!(failed[0], "`snapshot.json`: `nodes/n1/host/fdb.txt` could not be taken: `bridge: not found`");
        assert_eq!(failed.len(), 2);
        assert!(gaps(r#"{"changed": ["nodes/n1/host/nft.txt"]}"#)[0].contains("nft.txt` changed while it was read"));
    }

    #[test]
    fn a_cut_file_is_one_gap() {
        let text = r#"{"schema": "flowtrace/snapshot/1"}"#;
        for end in 0..text.len() {
            assert_eq!(gaps(&text[..end]).len(), 1);
        }
    }
}
