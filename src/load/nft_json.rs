//! `nft -j list ruleset`: each object is written in the text form's syntax, and that text is read. So a rule means the
//! same in both forms.

mod value;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::evidence::{Evidence, FileId, Gap, Text};
use crate::snapshot::{Nft, WhyUnread};

use super::lines::Notes;
use super::nft_list;
use value::Written;

#[derive(Deserialize)]
struct Whole<'j> {
    #[serde(borrow)]
    nftables: Vec<&'j RawValue>,
}

/// A table's lines, each with the object that says it.
#[derive(Default)]
struct Block {
    family: String,
    name: String,
    opening: (String, usize),
    /// Sets and other objects.
    objects: Vec<(String, usize)>,
    chains: Vec<Chain>,
    /// Each chain's place by its name.
    places: std::collections::HashMap<String, usize, foldhash::quality::RandomState>,
}

struct Chain {
    opening: (String, usize),
    rules: Vec<(String, usize)>,
}

/// Reads the JSON form, and gives the objects' rows in the text form's syntax.
pub(super) fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Nft, Vec<String>) {
    let mut notes = Notes::new(file, "`nft -j list ruleset`", gaps);
    let Ok(whole) = serde_json::from_str::<Whole<'_>>(text) else {
        let here = Evidence::line(file, 1);
        // Even of an empty rule set nft says its own version: an empty file is what a failed run leaves.
        let empty = text.trim_ascii().is_empty();
        let what = if empty { "it is empty, which nft never leaves it" } else { "this is not the JSON that it prints" };
        notes.add(here, what);
        return (Nft { unread: Some(WhyUnread::NotUnderstood.at(here)), ..Nft::default() }, Vec::new());
    };
    let lines = object_lines(file, text, &whole.nftables);
    let mut rows = vec![String::new(); whole.nftables.len()];
    let mut blocks: Vec<Block> = Vec::new();
    let mut unread = None;
    for (place, raw) in whole.nftables.iter().enumerate() {
        let here = lines.get(place).copied().unwrap_or(Evidence::line(file, 1));
        let added = serde_json::from_str::<Value>(raw.get()).ok().and_then(|object| add(&mut blocks, &object, place));
        match added {
            Some(Added::Row(row)) => {
                if let Some(slot) = rows.get_mut(place) {
                    *slot = row;
                }
            }
            added => {
                if added.is_none() {
                    unread.get_or_insert(WhyUnread::NotUnderstood.at(here));
                }
                notes.add(here, "this object is not understood");
            }
        }
    }
    drop(notes);
    let (joined, says) = join(&blocks);
    let line_of = |line: u32| {
        let place = says.get(line.saturating_sub(1) as usize).copied().unwrap_or(0);
        lines.get(place).copied().unwrap_or(Evidence::line(file, 1))
    };
    let mut nft = nft_list::parse_lines(file, "`nft -j list ruleset`", &Text::from(joined), &line_of, gaps);
    nft.unread = unread.or(nft.unread);
    (nft, rows)
}

/// On which line each object starts.
fn object_lines(file: FileId, text: &str, objects: &[&RawValue]) -> Vec<Evidence> {
    let (mut line, mut from) = (1u32, 0);
    let mut lines = Vec::with_capacity(objects.len());
    for (raw, index) in objects.iter().zip(0u32..) {
        let start = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let passed = text.as_bytes().get(from..start).unwrap_or(&[]);
        line = line.saturating_add(u32::try_from(memchr::memchr_iter(b'\n', passed).count()).unwrap_or(0));
        from = start;
        lines.push(Evidence::object(file, line, index));
    }
    lines
}

/// The whole text, and which object each line of it is said by.
fn join(blocks: &[Block]) -> (String, Vec<usize>) {
    let (mut text, mut says) = (String::new(), Vec::new());
    let mut put = |line: &str, place: usize| {
        text.push_str(line);
        text.push('\n');
        says.push(place);
    };
    for block in blocks {
        let (opening, place) = &block.opening;
        put(opening, *place);
        for (row, place) in &block.objects {
            put(row, *place);
        }
        for chain in &block.chains {
            put(&chain.opening.0, chain.opening.1);
            for (row, place) in &chain.rules {
                put(row, *place);
            }
            put("}", chain.opening.1);
        }
        put("}", *place);
    }
    (text, says)
}

/// What became of an object that is in its place.
enum Added {
    /// Its row in the text form's syntax.
    Row(String),
    /// A rule that can't be written, which stands there as one that nobody understands.
    Unwritten,
}

/// Puts an object in its table. Nothing where nobody knows which table or chain it belongs to, or what it is.
fn add(blocks: &mut Vec<Block>, object: &Value, place: usize) -> Option<Added> {
    let (kind, fields) = object.as_object()?.iter().next()?;
    if kind == "metainfo" {
        return Some(Added::Row(String::new()));
    }
    let family = value::word(fields.get("family")?)?;
    let name = value::word(fields.get(if kind == "table" { "name" } else { "table" })?)?;
    if kind == "table" {
        let flags = fields.get("flags").map(table_flags).filter(|flags| !flags.is_empty());
        let flags = flags.map_or_else(String::new, |flags| format!(" flags {flags};"));
        let row = format!("table {family} {name} {{{flags}");
        blocks.push(Block { family, name, opening: (row.clone(), place), ..Block::default() });
        return Some(Added::Row(row));
    }
    let block = blocks.iter_mut().rev().find(|block| block.family == family && block.name == name)?;
    match kind.as_str() {
        "chain" => {
            let row = chain_row(fields)?;
            block.places.insert(value::word(fields.get("name")?)?, block.chains.len());
            block.chains.push(Chain { opening: (row.clone(), place), rules: Vec::new() });
            Some(Added::Row(row))
        }
        "rule" => {
            let chain = *block.places.get(&value::word(fields.get("chain")?)?)?;
            let row = rule_row(fields);
            // A rule that can't be written must not be left out.
            let text = row.clone().unwrap_or_else(|| "unwritten".to_owned());
            block.chains.get_mut(chain)?.rules.push((text, place));
            Some(row.map_or(Added::Unwritten, Added::Row))
        }
        _ => {
            let row = value::object_row(kind, fields)?;
            block.objects.push((row.clone(), place));
            Some(Added::Row(row))
        }
    }
}

/// A table's flags in the text form's syntax: one name or number, or a list of them (`table_flags_json` in nftables'
/// `src/json.c`). A single name is what nft 1.0.6 prints out of memory that it has given back: most often another name
/// of the rule set. What is no flag stands there as it is, so that the text's reader refuses it.
fn table_flags(flags: &Value) -> String {
    // `NFT_TABLE_F_DORMANT` and its kin in `include/uapi/linux/netfilter/nf_tables.h`.
    const NAMES: [&str; 3] = ["dormant", "owner", "persist"];
    let flag = |flag: &Value| match flag {
        Value::Number(bits) => match bits.as_u64() {
            Some(bits) if bits >> NAMES.len() == 0 => {
                let set = NAMES.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
                set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
            }
            _ => bits.to_string(),
        },
        Value::String(name) if NAMES.contains(&name.as_str()) => name.clone(),
        other => value::quoted(other).unwrap_or_else(|| "unwritten".to_owned()),
    };
    match flags {
        Value::Array(flags) => flags.iter().map(flag).collect::<Vec<_>>().join(","),
        one => flag(one),
    }
}

/// `chain in { type filter hook input priority 10; policy accept;`
fn chain_row(chain: &Value) -> Option<String> {
    let name = value::word(chain.get("name")?)?;
    let Some(hook) = chain.get("hook") else { return Some(format!("chain {name} {{")) };
    let hook = value::word(hook)?;
    let kind = value::word(chain.get("type")?)?;
    let priority = chain.get("prio")?.as_i64()?;
    let devices = match chain.get("dev") {
        Some(Value::String(_)) => format!(" device {}", value::quoted(chain.get("dev")?)?),
        Some(Value::Array(names)) => {
            let names: Option<Vec<String>> = names.iter().map(value::quoted).collect();
            format!(" devices = {{ {} }}", names?.join(", "))
        }
        _ => String::new(),
    };
    let policy = match chain.get("policy") {
        Some(policy) => format!(" policy {};", value::word(policy)?),
        None => String::new(),
    };
    Some(format!("chain {name} {{ type {kind} hook {hook}{devices} priority {priority};{policy}"))
}

fn rule_row(rule: &Value) -> Option<String> {
    let mut written = Written::default();
    for statement in rule.get("expr").and_then(Value::as_array).unwrap_or(&Vec::new()) {
        written.statement(statement)?;
    }
    if let Some(comment) = rule.get("comment") {
        written.push(&format!("comment {}", value::quoted(comment)?));
    }
    Some(written.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::nft_list;

    /// The rules of a chain, each as nft writes it in one form and the other.
    const BOTH: &[(&str, &str)] = &[
        (
            "fib saddr . iif oif missing drop",
            r#"[{"match": {"op": "==", "left": {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, "right": false}}, {"drop": null}]"#,
        ),
        (
            "fib saddr . iif oif exists accept",
            r#"[{"match": {"op": "==", "left": {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, "right": true}}, {"accept": null}]"#,
        ),
        (
            "ip daddr 10.96.0.10 udp dport 53 accept",
            r#"[{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.96.0.10"}}, {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 53}}, {"accept": null}]"#,
        ),
        (
            "meta mark & 0x00004000 == 0x00004000 return",
            r#"[{"match": {"op": "==", "left": {"&": [{"meta": {"key": "mark"}}, 16384]}, "right": 16384}}, {"return": null}]"#,
        ),
        (
            "tcp dport 80 meter f size 1024 { ip saddr limit rate 10/second }",
            r#"[{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 80}}, {"meter": {"key": {"payload": {"protocol": "ip", "field": "saddr"}}, "stmt": {"limit": {"rate": 10, "burst": 5, "per": "second"}}, "size": 1024, "name": "f"}}]"#,
        ),
    ];

    #[test]
    fn a_tables_flag_that_is_none_leaves_it_open_whether_the_table_sees_packets() {
        let table = |flags: &str| {
            let text = format!(
                r#"{{"nftables": [{{"table": {{"family": "ip", "name": "t", "handle": 1, "flags": {flags}}}}}]}}"#
            );
            let mut gaps = Vec::new();
            let (nft, _) = parse(FileId(1), &text, &mut gaps);
            (nft.tables[0].dormant, nft.tables[0].unread.is_some(), gaps.len())
        };
        for dormant in ["\"dormant\"", "[\"dormant\"]", "1", "[1]", "[\"dormant\", \"owner\"]", "3"] {
            assert_eq!(table(dormant), (true, false, 0), "{dormant}");
        }
        for active in ["\"owner\"", "[]", "0", "2", "[\"owner\", \"persist\"]"] {
            assert_eq!(table(active), (false, false, 0), "{active}");
        }
        // What nft 1.0.6 prints of a dormant table.
        for unknown in ["\"t\"", "\"\"", "[\"frob\"]", "8", "-1", "null", "{}", "\"a\\nb; chain\""] {
            let (dormant, unread, gaps) = table(unknown);
            assert!(!dormant && unread && gaps > 0, "{unknown}");
        }
    }

    #[test]
    fn a_rule_is_the_same_in_both_forms() {
        for (text, expr) in BOTH {
            let listed = format!("table ip t {{\n\tchain c {{\n\t\t{text}\n\t}}\n}}\n");
            let json = format!(
                r#"{{"nftables": [{{"metainfo": {{"version": "1.0.6", "json_schema_version": 1}}}}, {{"table": {{"family": "ip", "name": "t", "handle": 1}}}}, {{"chain": {{"family": "ip", "table": "t", "name": "c", "handle": 1}}}}, {{"rule": {{"family": "ip", "table": "t", "chain": "c", "handle": 2, "expr": {expr}}}}}]}}"#
            );
            let mut gaps = Vec::new();
            let from_text = nft_list::parse(FileId(0), &listed.as_str().into(), &mut gaps);
            let (from_json, _) = parse(FileId(1), &json, &mut gaps);
            assert_eq!(gaps, [], "{text}");
            let rule = |nft: &Nft| nft.tables[0].chains[0].rules[0].statements.clone();
            assert_eq!(rule(&from_text), rule(&from_json), "{text}");
        }
    }
}
