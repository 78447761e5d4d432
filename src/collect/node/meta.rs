//! `snapshot.json`: when the snapshot was taken, by what, and what could not be.

use std::collections::BTreeSet;
use std::fs;

use serde::Serialize;

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
    /// The time zone in which the tools ran, by which nft prints times.
    pub timezone: &'static str,
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
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// What to do where tools are missing, once for all the files that they would have filled.
pub(super) fn lacking(failed: &[Failed]) -> Option<String> {
    let tool = |failed: &'_ Failed| failed.why.strip_suffix(" is not installed")?.rsplit(' ').next().map(str::to_owned);
    let tools: BTreeSet<String> = failed.iter().filter_map(tool).collect();
    let tools = tools.into_iter().collect::<Vec<_>>().join(" ");
    (!tools.is_empty()).then(|| {
        format!(
            "this node lacks {tools}: install what has them (Debian's packages are iptables, nftables, ipset and \
             conntrack) and take it again"
        )
    })
}

/// The kernel's version, where it tells.
pub(super) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tools_are_named_once() {
        let failed = |why: &str| Failed { file: "nodes/n1/host/x".to_owned(), why: why.to_owned() };
        let legacy = "the kernel has tables of iptables-legacy (nat), and iptables-legacy-save is not installed";
        let all = ["nft is not installed", "nft: no (exit 1)", legacy, "nft is not installed"].map(failed);
        assert!(lacking(&all).unwrap().starts_with("this node lacks iptables-legacy-save nft: install"));
        assert_eq!(lacking(&[failed("nft: no (exit 1)")]), None);
    }
}
