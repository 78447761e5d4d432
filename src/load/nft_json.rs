//! `nft -j list ruleset`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::evidence::{Evidence, FileId, Gap};
use crate::snapshot::{ChainPolicy, Nft, NftChain, NftHook, NftRule, NftTable};

use super::lines::Notes;
use super::nft_list::{acts, new_table, nft_family, nft_hook, policy, tracks};

#[derive(Deserialize)]
struct Whole<'j> {
    #[serde(borrow)]
    nftables: Vec<&'j RawValue>,
}

#[derive(Deserialize)]
struct Object<'j> {
    table: Option<TableObject>,
    chain: Option<ChainObject>,
    #[serde(borrow)]
    rule: Option<RuleObject<'j>>,
}

#[derive(Deserialize)]
struct TableObject {
    family: String,
    name: String,
    flags: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ChainObject {
    family: String,
    table: String,
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    hook: Option<String>,
    prio: Option<i32>,
    policy: Option<String>,
    dev: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RuleObject<'j> {
    family: String,
    table: String,
    chain: String,
    #[serde(borrow)]
    expr: Option<&'j RawValue>,
}

/// Reads the JSON form, and gives the objects' rows in the text form's syntax as far as they have one.
pub(super) fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Nft, Vec<String>) {
    let mut nft = Nft::default();
    let mut rows = Vec::new();
    let mut notes = Notes::new(file, "`nft -j list ruleset`", gaps);
    let Ok(whole) = serde_json::from_str::<Whole<'_>>(text) else {
        notes.add(Evidence::line(file, 1), "this is not the JSON that it prints");
        return (unknown(Evidence::line(file, 1)), rows);
    };
    let (mut line, mut from) = (1u32, 0);
    for (raw, index) in whole.nftables.iter().zip(0u32..) {
        let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
        let passed = text.as_bytes().get(from..start).unwrap_or(&[]);
        line += u32::try_from(memchr::memchr_iter(b'\n', passed).count()).unwrap_or(0);
        from = start;
        let here = Evidence::object(file, line, index);
        let row = serde_json::from_str::<Object<'_>>(raw.get()).ok().and_then(|object| add(&mut nft, &object, here));
        if row.is_none() {
            notes.add(here, "this object is not understood");
        }
        rows.push(row.unwrap_or_default());
    }
    (nft, rows)
}

/// A rule set that could hold anything.
fn unknown(evidence: Evidence) -> Nft {
    let hook = NftHook {
        kind: String::new(),
        hook: None,
        priority: None,
        devices: Vec::new(),
        policy: ChainPolicy::Unknown,
        evidence,
    };
    let mut table = new_table(crate::snapshot::NftFamily::Inet, "", false, evidence);
    table.chains.push(NftChain { name: String::new(), hook: Some(hook), rules: Vec::new(), evidence });
    Nft { tables: vec![table] }
}

fn add(nft: &mut Nft, object: &Object<'_>, here: Evidence) -> Option<String> {
    if let Some(table) = &object.table {
        let mut new = new_table(nft_family(&table.family)?, &table.name, false, here);
        new.dormant = table.flags.as_ref().is_some_and(|flags| flags.to_string().contains("dormant"));
        nft.tables.push(new);
        return Some(format!("table {} {} {{", table.family, table.name));
    }
    if let Some(chain) = &object.chain {
        let hook = base(chain, here);
        let row = format!("chain {} {{", chain.name);
        let table = table_mut(nft, &chain.family, &chain.table)?;
        table.chains.push(NftChain { name: chain.name.clone(), hook, rules: Vec::new(), evidence: here });
        return Some(row);
    }
    if let Some(rule) = &object.rule {
        let table = table_mut(nft, &rule.family, &rule.table)?;
        let chain = table.chains.iter_mut().rev().find(|chain| chain.name == rule.chain)?;
        let text = rule.expr.map_or("", |expr| expr.get());
        chain.rules.push(read_rule(text, here));
        return Some(text.to_owned());
    }
    // Sets, maps, counters and the like have no effect of their own.
    Some(String::new())
}

fn table_mut<'n>(nft: &'n mut Nft, family: &str, name: &str) -> Option<&'n mut NftTable> {
    let family = nft_family(family)?;
    nft.tables.iter_mut().rev().find(|table| table.family == family && table.name == name)
}

fn base(chain: &ChainObject, evidence: Evidence) -> Option<NftHook> {
    let hook = chain.hook.as_ref()?;
    let devices = match &chain.dev {
        Some(serde_json::Value::String(dev)) => vec![dev.clone()],
        Some(serde_json::Value::Array(devs)) => devs.iter().filter_map(|dev| dev.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    };
    Some(NftHook {
        kind: chain.kind.clone().unwrap_or_default(),
        hook: nft_hook(hook),
        priority: chain.prio,
        devices,
        policy: chain.policy.as_deref().map_or(ChainPolicy::Accept, policy),
        evidence,
    })
}

fn read_rule(text: &str, evidence: Evidence) -> NftRule {
    let mut rule = NftRule { text: text.to_owned(), acts: false, tracks: false, jumps: Vec::new(), evidence };
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => look(&value, &mut rule),
        Err(_) => rule.acts = true,
    }
    rule
}

/// Notes what the keys of an expression say. The depth is bounded by the JSON reader's.
fn look(value: &serde_json::Value, rule: &mut NftRule) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                rule.acts |= acts(key);
                rule.tracks |= tracks(key);
                if matches!(key.as_str(), "jump" | "goto")
                    && let Some(chain) = value.get("target").and_then(serde_json::Value::as_str)
                {
                    rule.jumps.push(chain.to_owned());
                }
                look(value, rule);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| look(value, rule)),
        _ => {}
    }
}
