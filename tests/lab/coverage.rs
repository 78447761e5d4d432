//! What a run of scenarios covered: situations, protocols and verdicts, matches and targets that hit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::observe::Observation;
use super::probe::{Probe, Proto};
use super::scenario::Scenario;

/// Counts.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// How many scenarios.
    pub scenarios: usize,
    /// How many packets.
    pub packets: usize,
    /// How many packets had more ways than `explain` tells, the kernel's not among those told.
    pub untold: usize,
    /// By situation, protocol and the verdict of the way that the kernel took. A packet can be in several situations.
    pub verdicts: BTreeMap<(&'static str, &'static str, String), usize>,
    /// How often a rule with this match was hit.
    pub matches: BTreeMap<String, usize>,
    /// How often a rule with this target was hit.
    pub targets: BTreeMap<String, usize>,
    /// How often a packet ended for this reason.
    pub reasons: BTreeMap<String, usize>,
}

/// So many seeds must cover everything,
pub const ENOUGH: u64 = 2000;
/// so often.
pub const LEAST: usize = 20;

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

/// The situations that random scenarios are made of.
pub const SITUATIONS: &[&str] =
    &["vxlan", "direct routing", "host-gw", "udp backend", "two subnets", "services", "policy routing", "a fault"];
/// The protocols that are asked about.
pub const PROTOCOLS: &[&str] = &["ipv4 icmp", "ipv4 tcp", "ipv4 udp", "ipv6 icmp", "ipv6 tcp", "ipv6 udp"];
/// The ends that a packet can come to in any of the situations.
pub const VERDICTS: &[&str] = &["delivered", "left", "dropped", "rejected", "lost"];

/// The protocol as the table says it.
fn protocol(probe: &Probe) -> &'static str {
    match (probe.destination.is_ipv4(), probe.proto) {
        (true, Proto::Icmp) => "ipv4 icmp",
        (true, Proto::Tcp) => "ipv4 tcp",
        (true, Proto::Udp) => "ipv4 udp",
        (false, Proto::Icmp) => "ipv6 icmp",
        (false, Proto::Tcp) => "ipv6 tcp",
        (false, Proto::Udp) => "ipv6 udp",
    }
}

/// flannel's udp backend carries IPv4 only, and the faults are made in IPv4's tables.
fn can_be(situation: &str, protocol: &str) -> bool {
    !matches!(situation, "udp backend" | "a fault") || protocol.starts_with("ipv4")
}

/// Every situation with every protocol that it can have.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = SITUATIONS.iter().flat_map(|situation| PROTOCOLS.iter().map(|protocol| (*situation, *protocol)));
    all.filter(|(situation, protocol)| can_be(situation, protocol))
}

impl Coverage {
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.scenarios += other.scenarios;
        self.packets += other.packets;
        self.untold += other.untold;
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

    /// Counts one packet, and the predicted path that the kernel's was.
    pub fn count(&mut self, scenario: &Scenario, probe: &Probe, path: &Value, seen: &Observation, snapshot: &Path) {
        self.packets += 1;
        let verdict = path["forward"]["verdict"].as_str().unwrap_or("?");
        for situation in scenario.kinds.iter().filter(|situation| can_be(situation, protocol(probe))) {
            *self.verdicts.entry((situation, protocol(probe), verdict.to_owned())).or_default() += 1;
        }
        let reasons = [&path["forward"]["reason"], &path["reply"]["reason"]];
        for reason in reasons.into_iter().filter_map(Value::as_str).collect::<BTreeSet<_>>() {
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

    /// The rows of the table, and the words of the vocabulary, that were met less often than this.
    pub fn rare(&self, least: usize) -> Vec<String> {
        let mut rare: Vec<String> = rows()
            .flat_map(|(situation, protocol)| VERDICTS.iter().map(move |verdict| (situation, protocol, *verdict)))
            .map(|(situation, protocol, verdict)| {
                (self.met(situation, protocol, verdict), situation, protocol, verdict)
            })
            .filter(|(count, ..)| *count < least)
            .map(|(count, situation, protocol, verdict)| format!("{situation}, {protocol}, {verdict}: {count}"))
            .collect();
        for (counts, words) in [(&self.matches, MATCHES), (&self.targets, TARGETS)] {
            let counted = words.iter().map(|word| (word, counts.get(*word).copied().unwrap_or(0)));
            rare.extend(counted.filter(|(_, count)| *count < least).map(|(word, count)| format!("{word}: {count}")));
        }
        rare
    }

    fn met(&self, situation: &'static str, protocol: &'static str, verdict: &str) -> usize {
        self.verdicts.get(&(situation, protocol, verdict.to_owned())).copied().unwrap_or(0)
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = format!("{} scenarios, {} packets agree\n", self.scenarios, self.packets);
        let _ = writeln!(text, "{} packets had more ways than were told, and are not counted\n", self.untold);
        let _ = write!(text, "{:<16} {:<10}", "situation", "protocol");
        let others = self.verdicts.keys().map(|(.., verdict)| verdict.as_str());
        let others: BTreeSet<&str> = others.filter(|verdict| !VERDICTS.contains(verdict)).collect();
        let verdicts: Vec<&str> = VERDICTS.iter().copied().chain(others).collect();
        for verdict in &verdicts {
            let _ = write!(text, " {verdict:>10}");
        }
        text.push('\n');
        for (situation, protocol) in rows() {
            let _ = write!(text, "{situation:<16} {protocol:<10}");
            for verdict in &verdicts {
                let _ = write!(text, " {:>10}", self.met(situation, protocol, verdict));
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
