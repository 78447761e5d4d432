//! `snapshot.json`: when the snapshot was taken, by what, and what could not be.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::net::calendar;

/// A file or a folder that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its path in the snapshot.
    pub file: String,
    /// The tool's or the kernel's words.
    pub why: String,
}

/// A namespace, and when it was read.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Read {
    /// Its folder.
    pub dir: String,
    /// The number of its inode.
    pub netns: u64,
    /// How it got its name.
    pub named_by: &'static str,
    /// When its first table was read.
    pub started: String,
    /// When its last table had been read.
    pub ended: String,
}

/// The whole file.
#[derive(Debug, Serialize)]
pub(super) struct Meta<'a> {
    pub schema: &'static str,
    pub taken: &'a str,
    pub by: String,
    pub node: &'a str,
    /// The kernel's version.
    pub kernel: &'a str,
    pub namespaces: &'a [Read],
    /// Files that changed whenever they were read.
    pub changed: &'a [String],
    pub failed: &'a [Failed],
    /// What a person should know.
    pub notes: &'a [String],
}

impl Meta<'_> {
    /// The layout that this program writes.
    pub const SCHEMA: &'static str = "flowtrace/snapshot/1";

    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The kernel's version, where it tells.
pub(super) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// This moment, as RFC 3339 writes it, to the millisecond.
pub(super) fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    moment(time.as_secs(), time.subsec_millis())
}

fn moment(seconds: u64, milliseconds: u32) -> String {
    let seconds = i64::try_from(seconds).unwrap_or_default();
    let (year, month, day) = calendar::civil(seconds.div_euclid(calendar::DAY));
    let of_day = seconds.rem_euclid(calendar::DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        let text = moment(1_795_916_104, 42);
        assert_eq!(text, "2026-11-29T01:35:04.042Z");
        assert_eq!(calendar::moment(&text), Some(1_795_916_104));
    }
}
