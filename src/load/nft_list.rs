//! `nft list ruleset` and `nft -j list ruleset`: which tables, base chains and rules there are. The rules are not
//! evaluated; their words tell whether they could end or change a packet.

use super::lines::Notes;
use crate::evidence::{Evidence, FileId, Gap};
use crate::snapshot::{ChainPolicy, Nft, NftChain, NftFamily, NftHook, NftRule, NftTable};
use crate::trace::Hook;

/// The words of statements that end a packet's way or change the packet (`src/parser_bison.y` of nftables).
/// `accept`, `return`, `continue`, `counter`, `limit`, `log` and `quota` do neither in a chain that accepts, and a jump
/// does what its chain does. The JSON form calls a change `mangle`.
const EFFECTS: &[&str] = &[
    "drop",
    "reject",
    "queue",
    "dnat",
    "snat",
    "masquerade",
    "redirect",
    "tproxy",
    "synproxy",
    "notrack",
    "set",
    "reset",
    "flow",
    "fwd",
    "dup",
    "vmap",
    "xt",
    "mangle",
];

/// The words of expressions that make a namespace track connections.
const TRACKERS: &[&str] = &["ct", "dnat", "snat", "masquerade", "redirect", "flow", "synproxy"];

/// Reads the text form.
pub(super) fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Nft {
    let mut reader = Reader { nft: Nft::default(), at: Place::Top, warned: false, depth: 0 };
    let mut notes = Notes::new(file, "`nft list ruleset`", gaps);
    let mut last = 1;
    for (line, number) in text.lines().zip(1u32..) {
        let here = Evidence::line(file, number);
        if !reader.line(line.trim(), here) {
            notes.add(here, "this line is not understood");
        }
        last = number;
    }
    if !matches!(reader.at, Place::Top) || reader.depth > 0 {
        let here = Evidence::line(file, last);
        notes.add(here, "it ends within a table, so rules may be missing");
        reader.doubt_last(here);
    }
    reader.nft
}

/// Where the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Table,
    Chain,
}

struct Reader {
    nft: Nft,
    at: Place,
    /// The last comment said that iptables-nft keeps the table that follows.
    warned: bool,
    /// Open braces of what is neither a table nor a chain: a set's elements, a map.
    depth: usize,
}

impl Reader {
    fn line(&mut self, line: &str, here: Evidence) -> bool {
        if self.depth > 0 {
            self.skip(line);
            return true;
        }
        if line.starts_with('#') {
            self.warned |= line.contains("is managed by iptables-nft");
            return true;
        }
        match (self.at, line) {
            (_, "") => true,
            (Place::Top, _) => self.top(line, here),
            (Place::Table, "}") => {
                self.at = Place::Top;
                true
            }
            (Place::Table, _) => self.table(line, here),
            (Place::Chain, "}") => {
                self.at = Place::Table;
                true
            }
            (Place::Chain, _) => self.chain(line, here),
        }
    }

    /// Counts braces of a block that doesn't matter here.
    fn skip(&mut self, line: &str) {
        for c in unquoted(line).chars() {
            match c {
                '{' => self.depth += 1,
                '}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn top(&mut self, line: &str, here: Evidence) -> bool {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let ["table", rest @ ..] = words.as_slice() else { return false };
        let (family, name) = match rest {
            [family, name, "{", ..] => (nft_family(family), *name),
            [name, "{", ..] => (Some(NftFamily::Ip), *name),
            _ => (None, ""),
        };
        let Some(family) = family else { return false };
        self.nft.tables.push(new_table(family, name, std::mem::take(&mut self.warned), here));
        self.at = if words.last() == Some(&"}") { Place::Top } else { Place::Table };
        true
    }

    fn table(&mut self, line: &str, here: Evidence) -> bool {
        let Some(table) = self.nft.tables.last_mut() else { return false };
        if let Some(rest) = line.strip_prefix("chain ") {
            let name = rest.split(['{', ' ']).next().unwrap_or("");
            table.chains.push(NftChain { name: name.to_owned(), hook: None, rules: Vec::new(), evidence: here });
            self.at = if line.ends_with('}') { Place::Table } else { Place::Chain };
        } else if line.starts_with("flags ") {
            table.dormant |= line.contains("dormant");
        } else {
            // Sets, maps, counters, flow tables and the like have no effect of their own.
            self.skip(line);
        }
        true
    }

    fn chain(&mut self, line: &str, here: Evidence) -> bool {
        let chain = self.nft.tables.last_mut().and_then(|table| table.chains.last_mut());
        let Some(chain) = chain else { return false };
        if line.starts_with("type ") && line.contains(" hook ") {
            chain.hook = Some(hook(line, here));
        } else if line.starts_with("comment ") {
        } else if let Some(policy) = line.strip_prefix("policy ") {
            if let Some(hook) = &mut chain.hook {
                hook.policy = self::policy(policy.trim_end_matches(';'));
            }
        } else {
            let text = line.rsplit_once(" # handle ").map_or(line, |(text, _)| text);
            chain.rules.push(rule(text, here));
            // A rule with an anonymous set may stand on several lines.
            let open = unquoted(line);
            self.depth = open.matches('{').count().saturating_sub(open.matches('}').count());
        }
        true
    }

    /// The chain at which the file was cut off may have rules that aren't there.
    fn doubt_last(&mut self, here: Evidence) {
        if let Some(chain) = self.nft.tables.last_mut().and_then(|table| table.chains.last_mut()) {
            let unknown = NftRule { text: String::new(), acts: true, tracks: false, jumps: Vec::new(), evidence: here };
            chain.rules.push(unknown);
        }
    }
}

/// A table without chains.
pub(super) fn new_table(family: NftFamily, name: &str, iptables: bool, evidence: Evidence) -> NftTable {
    NftTable {
        family,
        name: name.to_owned(),
        iptables,
        printed_by_iptables: false,
        dormant: false,
        chains: Vec::new(),
        evidence,
    }
}

fn rule(text: &str, evidence: Evidence) -> NftRule {
    let plain = unquoted(text);
    let words =
        || plain.split(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c))).filter(|word| !word.is_empty());
    let jumps = words().zip(words().skip(1)).filter(|(word, _)| matches!(*word, "jump" | "goto"));
    NftRule {
        text: text.to_owned(),
        acts: words().any(|word| EFFECTS.contains(&word)) && !plain.trim_end().ends_with("meta nftrace set 1"),
        tracks: words().any(|word| TRACKERS.contains(&word)),
        jumps: jumps.map(|(_, chain)| chain.to_owned()).collect(),
        evidence,
    }
}

/// Whether a JSON expression's key is one that ends or changes a packet.
pub(super) fn acts(key: &str) -> bool {
    EFFECTS.contains(&key) && key != "set"
}

/// Whether a JSON expression's key is one that tracks connections.
pub(super) fn tracks(key: &str) -> bool {
    TRACKERS.contains(&key)
}

/// The text without what stands in quotes.
fn unquoted(text: &str) -> String {
    text.split('"').step_by(2).collect::<Vec<_>>().join(" ")
}

/// A family by nft's word.
pub(super) fn nft_family(word: &str) -> Option<NftFamily> {
    match word {
        "ip" => Some(NftFamily::Ip),
        "ip6" => Some(NftFamily::Ip6),
        "inet" => Some(NftFamily::Inet),
        "arp" => Some(NftFamily::Arp),
        "bridge" => Some(NftFamily::Bridge),
        "netdev" => Some(NftFamily::Netdev),
        _ => None,
    }
}

/// `type filter hook input priority filter + 10; policy accept;`
fn hook(line: &str, evidence: Evidence) -> NftHook {
    let words: Vec<&str> =
        line.split([' ', ';', '\t', '{', '}', ',', '"', '=']).filter(|word| !word.is_empty()).collect();
    let after = |word: &str| words.iter().position(|other| *other == word).and_then(|at| words.get(at + 1)).copied();
    let priority = words.iter().position(|word| *word == "priority").and_then(|at| words.get(at + 1..)).unwrap_or(&[]);
    let devices =
        words.iter().position(|word| matches!(*word, "device" | "devices")).and_then(|at| words.get(at + 1..));
    let devices = devices.unwrap_or(&[]).iter().take_while(|word| **word != "priority");
    NftHook {
        kind: after("type").unwrap_or("").to_owned(),
        hook: after("hook").and_then(nft_hook),
        priority: self::priority(priority, line.contains("table bridge")),
        devices: devices.map(|device| (*device).to_owned()).collect(),
        policy: after("policy").map_or(ChainPolicy::Accept, policy),
        evidence,
    }
}

/// A hook by nft's word.
pub(super) fn nft_hook(word: &str) -> Option<Hook> {
    match word {
        "prerouting" => Some(Hook::Prerouting),
        "input" => Some(Hook::Input),
        "forward" => Some(Hook::Forward),
        "output" => Some(Hook::Output),
        "postrouting" => Some(Hook::Postrouting),
        "ingress" => Some(Hook::Ingress),
        "egress" => Some(Hook::Egress),
        _ => None,
    }
}

/// A policy by its word.
pub(super) fn policy(word: &str) -> ChainPolicy {
    match word.trim() {
        "accept" => ChainPolicy::Accept,
        "drop" => ChainPolicy::Drop,
        _ => ChainPolicy::Unknown,
    }
}

/// `0`, `-150`, `filter`, `dstnat + 5` (`std_prios` in nftables' `src/rule.c`).
fn priority(words: &[&str], bridge: bool) -> Option<i32> {
    let (first, rest) = words.split_first()?;
    let (base, known) = match *first {
        "raw" => (-300, true),
        "mangle" => (-150, true),
        "dstnat" => (if bridge { -300 } else { -100 }, true),
        "filter" => (if bridge { -200 } else { 0 }, true),
        "security" => (50, true),
        "srcnat" => (if bridge { 300 } else { 100 }, true),
        "out" => (100, true),
        number => (number.parse().ok()?, false),
    };
    match (known, rest) {
        (true, ["+", by, ..]) => Some(base + by.parse::<i32>().ok()?),
        (true, ["-", by, ..]) => Some(base - by.parse::<i32>().ok()?),
        _ => Some(base),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Family;

    fn nft(text: &str) -> Nft {
        let mut gaps = Vec::new();
        let nft = parse(FileId(0), text, &mut gaps);
        assert_eq!(gaps, []);
        nft
    }

    const TABLES: &str = "\
# Warning: table ip nat is managed by iptables-nft, do not touch!
table ip nat {
\tchain POSTROUTING {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tcounter packets 0 bytes 0 jump KUBE-POSTROUTING
\t}
\tchain KUBE-POSTROUTING {
\t\tmark and 0x4000 != 0x4000 counter packets 0 bytes 0 return
\t\tcounter packets 0 bytes 0 masquerade fully-random
\t}
}
table inet quiet {
\tset blocked {
\t\ttype ipv4_addr
\t\telements = { 192.0.2.1,
\t\t\t     192.0.2.2 }
\t}
\tchain in {
\t\ttype filter hook input priority filter + 10; policy accept;
\t\tip saddr @blocked counter log prefix \"drop \" accept # handle 4
\t\tjump harmless
\t}
\tchain harmless {
\t\tcounter
\t}
\tchain out {
\t\ttype filter hook output priority -5; policy drop;
\t}
}
";

    #[test]
    fn a_base_chain_matters_where_a_rule_it_reaches_acts_or_its_policy_drops() {
        let nft = nft(TABLES);
        assert_eq!(nft.base_chains(Family::Inet, Hook::Postrouting).len(), 1);
        assert_eq!(nft.base_chains(Family::Inet, Hook::Input), []);
        let out = nft.base_chains(Family::Inet6, Hook::Output);
        assert_eq!(out[0].1.hook.as_ref().unwrap().priority, Some(-5));
    }

    #[test]
    fn the_tables_of_iptables_are_recognised() {
        let nft = nft(TABLES);
        assert!(nft.tables[0].iptables);
        assert!(!nft.tables[1].iptables);
        assert_eq!(nft.tables[1].chains[0].hook.as_ref().unwrap().priority, Some(10));
        assert_eq!(nft.tables[1].chains[0].rules[0].text, "ip saddr @blocked counter log prefix \"drop \" accept");
    }

    #[test]
    fn a_file_that_is_cut_off_may_lack_rules() {
        let mut gaps = Vec::new();
        let cut = TABLES.split("jump KUBE").next().unwrap();
        let nft = parse(FileId(0), cut, &mut gaps);
        assert_eq!(gaps.len(), 1);
        assert_eq!(nft.base_chains(Family::Inet, Hook::Postrouting).len(), 1);
    }
}
