//! The lists of the `recent` match: `/proc/net/xt_recent/<list>`, as `recent_seq_show` of
//! `net/netfilter/xt_recent.c` prints them.

use std::net::IpAddr;

use super::lines::{Notes, lines};
use crate::evidence::{Evidence, FileId, Gap};
use crate::snapshot::RecentEntry;

/// Reads the lines: `src=10.0.0.1 ttl: 64 last_seen: 4296 oldest_pkt: 2 4295, 4296`.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<RecentEntry> {
    let mut notes = Notes::new(file, "`/proc/net/xt_recent`", gaps);
    let mut entries = Vec::new();
    for (number, line) in lines(text) {
        let evidence = notes.line(number);
        match entry(line, evidence) {
            Some(entry) => entries.push(entry),
            None => notes.expected(evidence, "`src=ADDRESS ttl: N last_seen: N oldest_pkt: N …`", line),
        }
    }
    entries
}

fn entry(line: &str, evidence: Evidence) -> Option<RecentEntry> {
    let mut words = line.split_whitespace();
    let address = words.next()?.strip_prefix("src=")?.parse::<IpAddr>().ok()?;
    let ttl = labelled(&mut words, "ttl:")?;
    let last_seen = labelled(&mut words, "last_seen:")?;
    // The place of the oldest stamp in the ring.
    let _oldest: u64 = labelled(&mut words, "oldest_pkt:")?;
    let stamps = words.map(|word| word.trim_end_matches(',').parse().ok()).collect::<Option<Vec<u64>>>()?;
    Some(RecentEntry { address, ttl: u8::try_from(ttl).ok()?, last_seen, stamps, evidence })
}

fn labelled<'a>(words: &mut impl Iterator<Item = &'a str>, label: &str) -> Option<u64> {
    if words.next()? != label {
        return None;
    }
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_families_are_read() {
        let text = "src=10.0.0.1 ttl: 64 last_seen: 4296 oldest_pkt: 2 4295, 4296\n\
                    src=fd00:0000:0000:0000:0000:0000:0000:0001 ttl: 0 last_seen: 7 oldest_pkt: 1 7\n";
        let mut gaps = Vec::new();
        let entries = parse(FileId(3), text, &mut gaps);
        assert_eq!(gaps, vec![]);
        assert_eq!(entries[0].address, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!((entries[0].ttl, entries[0].last_seen, &entries[0].stamps), (64, 4296, &vec![4295, 4296]));
        assert_eq!(entries[1].address, "fd00::1".parse::<IpAddr>().unwrap());
        assert_eq!(entries[1].evidence, Evidence::line(FileId(3), 2));
    }

    #[test]
    fn every_cut_of_a_line_is_read_or_a_gap() {
        let line = "src=10.0.0.1 ttl: 64 last_seen: 4296 oldest_pkt: 2 4295, 4296";
        for end in 1..line.len() {
            let mut gaps = Vec::new();
            let entries = parse(FileId(0), &line[..end], &mut gaps);
            assert_eq!(entries.len() + gaps.len(), 1, "{}", &line[..end]);
        }
    }
}
