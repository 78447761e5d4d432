//! What a run of scenarios covered: situations, protocols and verdicts, matches and targets that hit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::observe::Observation;
use super::scenario::{Probe, Scenario};

/// Counts.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// How many scenarios.
    pub scenarios: usize,
    /// How many packets.
    pub packets: usize,
    /// By situation, protocol and verdict.
    pub verdicts: BTreeMap<(String, String, String), usize>,
    /// How often a rule with this match was hit.
    pub matches: BTreeMap<String, usize>,
    /// How often a rule with this target was hit.
    pub targets: BTreeMap<String, usize>,
    /// How often a packet ended for this reason.
    pub reasons: BTreeMap<String, usize>,
}

/// The vocabulary, of which no word may be left out.
pub const MATCHES: &[&str] = &[
    "comment",
    "tcp",
    "udp",
    "icmp",
    "conntrack",
    "state",
    "addrtype",
    "mark",
    "statistic",
    "set",
    "physdev",
    "multiport",
    "recent",
    "limit",
    "!",
];
/// The same of targets.
pub const TARGETS: &[&str] = &[
    "ACCEPT",
    "DROP",
    "RETURN",
    "REJECT",
    "DNAT",
    "SNAT",
    "MASQUERADE",
    "REDIRECT",
    "MARK",
    "CONNMARK",
    "LOG",
    "NFLOG",
    "NOTRACK",
    "CT",
    "CHECKSUM",
    "TCPMSS",
    "jump",
    "goto",
];

impl Coverage {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.scenarios += other.scenarios;
        self.packets += other.packets;
        for (mine, theirs) in [
            (&mut self.matches, &other.matches),
            (&mut self.targets, &other.targets),
            (&mut self.reasons, &other.reasons),
        ] {
            for (word, count) in theirs {
                *mine.entry(word.clone()).or_default() += count;
            }
        }
        for (key, count) in &other.verdicts {
            *self.verdicts.entry(key.clone()).or_default() += count;
        }
    }

    /// Counts one packet.
    pub fn count(&mut self, scenario: &Scenario, probe: &Probe, answer: &Value, seen: &Observation, snapshot: &Path) {
        self.packets += 1;
        let family = if probe.destination.is_ipv4() { "ipv4" } else { "ipv6" };
        let proto = format!("{family} {}", probe.proto.as_str());
        let verdict = answer["verdict"].as_str().unwrap_or("?").to_owned();
        *self.verdicts.entry((scenario.kind.clone(), proto, verdict)).or_default() += 1;
        let none = Vec::new();
        let reasons: BTreeSet<&str> = answer["paths"]
            .as_array()
            .unwrap_or(&none)
            .iter()
            .flat_map(|path| [&path["forward"]["reason"], &path["reply"]["reason"]])
            .filter_map(Value::as_str)
            .collect();
        for reason in reasons {
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        }
        self.count_rules(scenario, seen, snapshot);
    }

    /// The kernel says which rules were hit, the snapshot what they say.
    fn count_rules(&mut self, scenario: &Scenario, seen: &Observation, snapshot: &Path) {
        let mut texts: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for hit in &seen.hits {
            let (Some(index), file) = (hit.index, if hit.family == "ip6" { "ip6tables-save" } else { "iptables-save" })
            else {
                continue;
            };
            let lines = texts.entry((&hit.space, file)).or_insert_with(|| {
                let folder = scenario
                    .spaces
                    .iter()
                    .find(|space| space.name == hit.space)
                    .and_then(super::scenario::Space::folder);
                let text = folder.and_then(|folder| fs::read_to_string(snapshot.join(folder).join(file)).ok());
                text.unwrap_or_default().lines().map(str::to_owned).collect()
            });
            if let Some(rule) = rule(lines, &hit.table, &hit.chain, index) {
                self.count_words(&rule);
            }
        }
    }

    fn count_words(&mut self, rule: &str) {
        let words: Vec<&str> = rule.split_whitespace().collect();
        let mut matches = BTreeSet::new();
        for pair in words.windows(2) {
            match pair {
                ["-m", "icmp6"] | ["-p", "icmp" | "ipv6-icmp"] => drop(matches.insert("icmp")),
                ["-m", name] | ["-p", name @ ("tcp" | "udp")] => drop(matches.insert(*name)),
                ["!", _] => drop(matches.insert("!")),
                ["-g", _] => *self.targets.entry("goto".to_owned()).or_default() += 1,
                ["-j", target] => {
                    let known = TARGETS.contains(target) && *target != "jump";
                    *self.targets.entry(if known { (*target).to_owned() } else { "jump".to_owned() }).or_default() += 1;
                    // nft's backend prints NOTRACK as what it is.
                    if rule.ends_with("CT --notrack") {
                        *self.targets.entry("NOTRACK".to_owned()).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        for name in matches {
            *self.matches.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Words of the vocabulary that were hit less often than this.
    pub fn rare(&self, least: usize) -> Vec<String> {
        let rare = |counts: &BTreeMap<String, usize>, words: &[&str]| {
            let mut rare = Vec::new();
            for word in words {
                let count = counts.get(*word).copied().unwrap_or(0);
                if count < least {
                    rare.push(format!("{word} {count}"));
                }
            }
            rare
        };
        let mut words = rare(&self.matches, MATCHES);
        words.extend(rare(&self.targets, TARGETS));
        words
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = format!("{} scenarios, {} packets\n\n", self.scenarios, self.packets);
        let verdicts: BTreeSet<&str> = self.verdicts.keys().map(|(_, _, verdict)| verdict.as_str()).collect();
        let _ = write!(text, "{:<28} {:<10}", "situation", "protocol");
        for verdict in &verdicts {
            let _ = write!(text, " {verdict:>12}");
        }
        text.push('\n');
        let rows: BTreeSet<(&str, &str)> =
            self.verdicts.keys().map(|(kind, proto, _)| (kind.as_str(), proto.as_str())).collect();
        for (kind, proto) in rows {
            let _ = write!(text, "{kind:<28} {proto:<10}");
            for verdict in &verdicts {
                let key = (kind.to_owned(), proto.to_owned(), (*verdict).to_owned());
                let _ = write!(text, " {:>12}", self.verdicts.get(&key).copied().unwrap_or(0));
            }
            text.push('\n');
        }
        for (name, counts) in [("matches", &self.matches), ("targets", &self.targets), ("reasons", &self.reasons)] {
            let words: Vec<String> = counts.iter().map(|(word, count)| format!("{word} {count}")).collect();
            let _ = write!(text, "\n{name} hit: {}\n", words.join(", "));
        }
        text
    }
}

/// A chain's rule by its place, from the lines of `iptables-save -c`.
fn rule(lines: &[String], table: &str, chain: &str, index: usize) -> Option<String> {
    let start = lines.iter().position(|line| line.strip_prefix('*') == Some(table))?;
    let rules = lines[start..].iter().take_while(|line| *line != "COMMIT").filter_map(|line| line.split_once("-A "));
    let mut of_chain = rules.filter(|(_, rule)| rule.split(' ').next() == Some(chain)).map(|(_, rule)| rule.to_owned());
    of_chain.nth(index - 1)
}
