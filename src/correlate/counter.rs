//! How far a rule's counter has gone between two snapshots.

use crate::evidence::{Evidence, Files};

/// A rule of two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Where it stands in the later one.
    pub rule: Evidence,
    /// How many packets it has met since the earlier one; `None` where the earlier one lacks it, or it was set back.
    pub packets: Option<u64>,
}

/// What the rule of a line has counted since an earlier snapshot; `None` where it has no counter. The rule is the same
/// where the same text, counters apart, stands in the same file as often before it.
#[must_use]
pub fn counted(rule: Evidence, after: &Files, before: &Files) -> Option<Counted> {
    let text = after.text(rule);
    let now = counter(text)?;
    let (bare, file) = (without_counter(text), after.get(rule.file)?);
    let occurrence = (1..rule.line).filter(|line| without_counter(file.line(*line)) == bare).count();
    let earlier = before.find(&file.path).and_then(|id| before.get(id))?;
    let lines = (1..).map(|line| earlier.line(line)).take(earlier.text.lines().count());
    let same = lines.filter(|line| without_counter(line) == bare).nth(occurrence);
    let packets = same.and_then(counter).and_then(|before| now.checked_sub(before));
    Some(Counted { rule, packets })
}

/// The packets that a line of `iptables-save -c` or of nft has counted.
fn counter(text: &str) -> Option<u64> {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(':')?.0.parse().ok();
    }
    let mut words = text.split_whitespace().skip_while(|word| *word != "counter").skip(1);
    if words.next()? != "packets" {
        return None;
    }
    words.next()?.parse().ok()
}

/// The rule as it would read without counters.
fn without_counter(text: &str) -> String {
    let text = text.trim();
    if text.starts_with('[') {
        return text.split_once("] ").map_or(text, |(_, rest)| rest).to_owned();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let counts = |place: usize| {
        let word = |back: usize| place.checked_sub(back).and_then(|at| words.get(at)).copied();
        // The number behind `packets` and that behind `bytes`.
        word(1) == Some("packets") && word(2) == Some("counter")
            || word(1) == Some("bytes") && word(3) == Some("packets")
    };
    let kept = words.iter().enumerate().filter(|(place, _)| !counts(*place)).map(|(_, word)| *word);
    kept.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Files {
        let mut files = Files::default();
        files.add("nodes/n1/host/rules", text);
        files
    }

    fn at(files: &Files, line: u32) -> Evidence {
        Evidence::line(files.find("nodes/n1/host/rules").unwrap(), line)
    }

    #[test]
    fn a_rules_counter_is_compared_with_that_of_the_same_rule() {
        let before = files("[5:300] -A FORWARD -j DROP\n[7:1] -A FORWARD -p udp -j DROP\n[9:1] -A FORWARD -j DROP\n");
        let after = files("[0:0] -A FORWARD -i x -j DROP\n[6:360] -A FORWARD -j DROP\n[30:1] -A FORWARD -j DROP\n");
        let of = |line| counted(at(&after, line), &after, &before).unwrap().packets;
        assert_eq!((of(1), of(2), of(3)), (None, Some(1), Some(21)));
    }

    #[test]
    fn nft_counts_within_the_rule() {
        let before = files("\t\tudp dport 53 counter packets 10 bytes 900 drop\n");
        let after = files("\n\t\tudp dport 53 counter packets 25 bytes 2000 drop\n\t\tudp dport 54 drop\n");
        assert_eq!(counted(at(&after, 2), &after, &before).unwrap().packets, Some(15));
        assert_eq!(counted(at(&after, 3), &after, &before), None);
    }
}
