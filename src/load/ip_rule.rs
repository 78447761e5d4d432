//! Policy rules: `ip rule show` and `ip -6 rule show` (`print_rule()` of iproute2's `ip/iprule.c`).

use std::borrow::Cow;

use ipnet::IpNet;

use super::ip_route::destination;
use super::json::{self, Fields, Objects, Row};
use super::lines::{self, Notes, Reading, Words};
use super::rt_names;
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::{Family, IfName, TableId};
use crate::snapshot::{IdRange, PolicyRule, RuleAction};

const TOOL: &str = "`ip rule show`";
const ROW: &str = "a rule (`priority: [not] from prefix … lookup table`)";

/// Reads the text form. The rows don't say which family they are for: the file does.
#[must_use]
pub fn parse(file: FileId, text: &str, family: Family, gaps: &mut Vec<Gap>) -> Vec<PolicyRule> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut words = Vec::new();
    let mut rows = Vec::new();
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        if lines::split(line, &mut words) {
            rows.extend(rule(&words, family, &mut notes, evidence));
        } else {
            notes.too_long(evidence);
        }
    }
    rows
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, family: Family, gaps: &mut Vec<Gap>) -> (Vec<PolicyRule>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    while let Some((evidence, fields)) = objects.next(&mut notes) {
        let row = words_of(&fields);
        json::set_text(&mut texts, evidence, &row);
        rows.extend(rule(&row.words(), family, &mut notes, evidence));
    }
    (rows, texts)
}

/// Reads one row. A rule whose priority can be read keeps its place, whatever else can't.
fn rule(all: &[&str], family: Family, notes: &mut Notes<'_>, evidence: Evidence) -> Option<PolicyRule> {
    let mut words = Words::new(all);
    let priority = words.next().and_then(|word| word.strip_suffix(':')).and_then(|word| word.parse().ok());
    let Some(priority) = priority else {
        notes.expected(evidence, ROW, &all.join(" "));
        return None;
    };
    let mut rule = PolicyRule::new(family, priority, evidence);
    let mut action = None;
    let unmodelled = lines::options(&mut words, (&mut *notes, evidence), |word, words| {
        selector(&mut rule, word, words).or_else(|| act(&mut action, word, words))
    });
    rule.unmodelled.extend(unmodelled);
    match action {
        Some(action) => rule.action = action,
        None if rule.unmodelled.is_empty() => {
            notes.add(evidence, "a rule without an action");
            rule.unmodelled.push("(no action)".to_owned());
            rule.action = RuleAction::Unread;
        }
        None if notes.complained_of(evidence) => rule.action = RuleAction::Unread,
        None => {}
    }
    Some(rule)
}

/// What a rule asks of a packet.
fn selector<'a>(rule: &mut PolicyRule, word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    match word {
        "not" => rule.not = true,
        "from" => prefix(&mut rule.from, words, rule.family)?,
        "to" => prefix(&mut rule.to, words, rule.family)?,
        "iif" | "dev" => rule.iif = Some(device(words)?),
        "oif" => rule.oif = Some(device(words)?),
        "fwmark" => rule.fwmark = Some(mark(words.next()?)?),
        "tos" | "dsfield" => rule.tos = rt_names::dsfield(words.next()?)?,
        "ipproto" => rule.ipproto = Some(rt_names::protocol(words.next()?)?),
        // With a mask (`sport 0x50/0xff`) it is no range.
        "sport" if words.peek().is_some_and(|range| !range.contains('/')) => rule.sport = Some(range(words.next()?)?),
        "dport" if words.peek().is_some_and(|range| !range.contains('/')) => rule.dport = Some(range(words.next()?)?),
        "uidrange" => rule.uidrange = Some(range(words.next()?)?),
        "suppress_prefixlength" => rule.suppress_prefixlength = Some(words.value()?),
        "sport" | "dport" | "tun_id" | "suppress_ifgroup" | "dscp" | "flowlabel" | "map-to" => {
            return words.pass(1).map(|()| Reading::Unmodelled);
        }
        "masquerade" => return Some(Reading::Unmodelled),
        "realm" | "realms" => rule.realms = Some(words.next()?.into()),
        // Who made the rule.
        "proto" | "protocol" => words.pass(1)?,
        _ => return None,
    }
    Some(Reading::Understood)
}

/// What a rule does.
fn act<'a>(action: &mut Option<RuleAction>, word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    *action = Some(match word {
        // The table of the VRF that the packet's device belongs to (`l3mdev_fib_rule_match()`).
        "lookup" if words.take("[l3mdev-table]") => return Some(Reading::Unmodelled),
        "lookup" | "table" => RuleAction::Lookup(TableId::named(words.next()?)?),
        "goto" => {
            let target = words.value()?;
            // The kernel passes over a rule whose target doesn't exist, which the list of rules shows as well.
            words.take("[unresolved]");
            RuleAction::Goto(target)
        }
        "nop" => RuleAction::Nop,
        "blackhole" => RuleAction::Blackhole,
        "unreachable" => RuleAction::Unreachable,
        "prohibit" => RuleAction::Prohibit,
        _ => return None,
    });
    Some(Reading::Understood)
}

/// `all`, an address or a prefix.
fn prefix(prefix: &mut Option<IpNet>, words: &mut Words<'_, '_>, family: Family) -> Option<()> {
    *prefix = match words.next()? {
        "all" => None,
        word => Some(destination(word, family)?.trunc()),
    };
    Some(())
}

/// A device's name. The rule matches by it, also while no such device exists.
fn device(words: &mut Words<'_, '_>) -> Option<IfName> {
    let name = words.next()?;
    words.take("[detached]");
    Some(IfName::new(name))
}

/// `0x1/0xff`, or a mark that is compared whole.
fn mark(word: &str) -> Option<(u32, u32)> {
    match word.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(word)?, u32::MAX)),
    }
}

fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

/// `80`, `1-2`.
fn range(word: &str) -> Option<IdRange> {
    let (start, end) = word.split_once('-').unwrap_or((word, word));
    Some(IdRange { start: start.parse().ok()?, end: end.parse().ok()? })
}

/// An object's words, in the order of the text form.
fn words_of(fields: &Fields<'_>) -> Row {
    let mut row = Row::default();
    let text = |key: &str| fields.scalar(key).unwrap_or_default();
    row.word(format!("{}:", text("priority")));
    if fields.has("not") {
        row.word("not");
    }
    for (key, raw) in &fields.0 {
        match &**key {
            // What belongs to another field's words.
            "priority" | "not" | "srclen" | "dstlen" | "fwmask" | "iif_detached" | "oif_detached" | "uid_end"
            | "sport_end" | "dport_end" | "sport_mask" | "dport_mask" | "flow_from" | "unresolved" | "dscp_mask"
            | "flowlabel_mask" => {}
            "src" => joined(&mut row, "from", &[text(key), text("srclen")], "/"),
            "dst" => joined(&mut row, "to", &[text(key), text("dstlen")], "/"),
            "fwmark" | "dscp" | "flowlabel" | "sport" | "dport" => {
                let mask = if key == "fwmark" { "fwmask".to_owned() } else { format!("{key}_mask") };
                joined(&mut row, key, &[text(key), text(&mask)], "/");
            }
            "uid_start" => joined(&mut row, "uidrange", &[text(key), text("uid_end")], "-"),
            "sport_start" => joined(&mut row, "sport", &[text(key), text("sport_end")], "-"),
            "dport_start" => joined(&mut row, "dport", &[text(key), text("dport_end")], "-"),
            "flow_to" => joined(&mut row, "realms", &[text("flow_from"), text(key)], "/"),
            "iif" | "oif" => {
                row.field(key, raw);
                if fields.has(&format!("{key}_detached")) {
                    row.word("[detached]");
                }
            }
            "goto" => {
                row.field(key, raw);
                if fields.has("unresolved") {
                    row.word("[unresolved]");
                }
            }
            "l3mdev" => row.all(&["lookup", "[l3mdev-table]"]),
            "action" => row.word(text(key)),
            key => row.field(renamed(key), raw),
        }
    }
    row
}

fn renamed(key: &str) -> &str {
    match key {
        "table" => "lookup",
        "suppress_prefixlen" => "suppress_prefixlength",
        "protocol" => "proto",
        "nat_gateway" => "map-to",
        key => key,
    }
}

/// Adds a word and a value of one or two parts.
fn joined(row: &mut Row, word: &str, parts: &[Cow<'_, str>; 2], joint: &str) {
    let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).map(|part| &**part).collect();
    row.word(word);
    row.word(parts.join(joint));
}

#[cfg(test)]
mod tests;
