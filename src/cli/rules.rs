//! `flowtrace rules`.

use std::collections::HashMap;
use std::path::Path;

use crate::engine::{Certainty, certainty, nft_certainty, nft_unmodelled};
use crate::error::Error;
use crate::evidence::{Evidence, Gap};
use crate::net::{Family, NetnsId, Protocol};
use crate::render::{self, ChainListing, Listing, RuleListing, RulesetListing, TableListing, Told};
use crate::snapshot::{Chain, ChainPolicy, Netns, Nft, Refused, Rule, Ruleset, Snapshot, Table};

use super::args::{ListFormat, Rules};
use super::names::{Home, Names, Role, near};
use super::{Outcome, exit, explain, open};

/// Loads the snapshot and shows the rule sets of one namespace.
pub(super) fn rules(typed: &Rules) -> Result<Outcome, Error> {
    let snapshot = explain::patiently(|| open::open(typed.snapshot.as_deref(), typed.demo))?;
    let netns = find(typed, &snapshot)?;
    let listing = listing(&snapshot, snapshot.netns(netns), typed)?;
    let mut output = Vec::new();
    let written = match typed.output {
        ListFormat::Text => {
            let style = explain::style(typed.color, typed.ascii, &typed.written);
            render::listing_text(&listing, style, &mut output)
        }
        ListFormat::Json => render::listing_json(&listing, &mut output),
    };
    written.map_err(|err| Error::Usage(format!("the rules can't be written: {err}")))?;
    Ok(Outcome { output, file: typed.written.file().map(Path::to_owned), code: exit::ARRIVES })
}

/// The namespace that a name stands for: a node's own, or a pod's.
fn find(typed: &Rules, snapshot: &Snapshot) -> Result<NetnsId, Error> {
    let name = typed.node.trim();
    if let Some(host) = snapshot.nodes.get(name).and_then(|node| node.host) {
        return Ok(host);
    }
    let names = Names { snapshot, namespace: typed.namespace.as_deref(), protocol: None::<Protocol>, port: None };
    let end = names.resolve(name, Role::To).map_err(|err| near_node(name, snapshot).unwrap_or(err))?;
    match end.home {
        Home::Netns(netns) => Ok(netns),
        Home::Missing(folder) => Err(Error::Usage(format!("{name}: the snapshot has no folder {folder}"))),
        Home::Nowhere => Err(Error::Usage(format!("{name}: a node or a pod is wanted, which have rules of their own"))),
    }
}

/// Whoever names nothing that is there, and no pod's namespace, has rather mistyped a node.
fn near_node(name: &str, snapshot: &Snapshot) -> Option<Error> {
    let nodes: Vec<String> = snapshot.nodes.keys().map(ToString::to_string).collect();
    let hint = near::hint(name, nodes, |near| near);
    let plain = !name.contains(['/', '.', ':']) && !hint.is_empty();
    plain.then(|| Error::Usage(format!("no node or pod {name:?} in the snapshot{hint}")))
}

fn listing(snapshot: &Snapshot, netns: &Netns, typed: &Rules) -> Result<Listing, Error> {
    let families = [Family::Inet, Family::Inet6].into_iter();
    let iptables = families.flat_map(|family| netns.netfilter.rulesets(family));
    let mut rulesets: Vec<_> = iptables.map(|ruleset| of_iptables(snapshot, netns, ruleset)).collect();
    rulesets.extend(netns.netfilter.nft.iter().flat_map(|nft| of_nft(snapshot, nft)));
    narrow(&mut rulesets, netns, typed)?;
    let concerns = |gap: &&Gap| gap.evidence.iter().any(|line| files(&rulesets).contains(&snapshot.files.path(*line)));
    let gaps = snapshot.gaps.iter().filter(concerns).map(|gap| told(snapshot, gap)).collect();
    Ok(Listing { node: netns.node.to_string(), netns: netns.name.to_string(), rulesets, gaps })
}

/// Keeps the table and the chain that were asked for. One that isn't there is an error: an empty list would say that
/// it has no rules.
fn narrow(rulesets: &mut Vec<RulesetListing>, netns: &Netns, typed: &Rules) -> Result<(), Error> {
    if let Some(wanted) = &typed.table {
        let known: Vec<String> = tables(rulesets).map(|table| table.name.clone()).collect();
        must_be_known("table", wanted, known, netns)?;
        for ruleset in rulesets.iter_mut() {
            ruleset.tables.retain(|table| table.name == *wanted);
        }
    }
    if let Some(wanted) = &typed.chain {
        let known: Vec<String> = tables(rulesets).flat_map(|table| &table.chains).map(|one| one.name.clone()).collect();
        must_be_known("chain", wanted, known, netns)?;
        for table in rulesets.iter_mut().flat_map(|ruleset| &mut ruleset.tables) {
            table.chains.retain(|chain| chain.name == *wanted);
        }
    }
    if typed.table.is_some() || typed.chain.is_some() {
        rulesets.retain(|ruleset| ruleset.tables.iter().any(|table| !table.chains.is_empty()));
    }
    Ok(())
}

fn tables(rulesets: &[RulesetListing]) -> impl Iterator<Item = &TableListing> {
    rulesets.iter().flat_map(|ruleset| &ruleset.tables)
}

fn must_be_known(what: &str, wanted: &str, known: Vec<String>, netns: &Netns) -> Result<(), Error> {
    if known.iter().any(|name| name == wanted) {
        return Ok(());
    }
    let hint = near::or_list(near::hint(wanted, known.clone(), |near| near), known);
    Err(Error::Usage(format!("--{what} {wanted}: {} has no such {what}{hint}", netns.dir)))
}

fn files(rulesets: &[RulesetListing]) -> Vec<&str> {
    rulesets.iter().map(|ruleset| ruleset.file.as_str()).collect()
}

fn told(snapshot: &Snapshot, gap: &Gap) -> Told {
    let at: Vec<String> =
        gap.evidence.iter().map(|line| format!("{}:{}", snapshot.files.path(*line), line.line)).collect();
    let place = gap.column.zip(gap.evidence.first());
    let place = place.map(|(column, line)| (snapshot.files.text(*line).to_owned(), column));
    Told { what: format!("{} ({})", gap.what, at.join(" ")), at: place }
}

fn of_iptables(snapshot: &Snapshot, netns: &Netns, ruleset: &Ruleset) -> RulesetListing {
    let family = if ruleset.family == Family::Inet { "ip" } else { "ip6" };
    let file = snapshot.files.get(ruleset.file).map_or_else(String::new, |file| file.path.clone());
    let table = |table: &Table| {
        let calls = ruleset.refused_calls(table);
        let around = Around { snapshot, netns, ruleset, calls: &calls };
        let chains = table.chains.iter().map(|chain| of_chain(&around, table, chain));
        TableListing { name: table.name.to_string(), chains: chains.collect() }
    };
    RulesetListing {
        family,
        backend: ruleset.backend.as_str(),
        file,
        tables: ruleset.tables.iter().map(table).collect(),
    }
}

/// What stands around the rules of a table.
struct Around<'s> {
    snapshot: &'s Snapshot,
    netns: &'s Netns,
    ruleset: &'s Ruleset,
    /// The rules that call chains as the kernel lets no rule do, by their lines.
    calls: &'s HashMap<u32, Refused>,
}

fn of_chain(around: &Around<'_>, table: &Table, chain: &Chain) -> ChainListing {
    let policy = match chain.policy {
        ChainPolicy::Return => "-",
        ChainPolicy::Accept => "ACCEPT",
        ChainPolicy::Drop => "DROP",
        ChainPolicy::Unknown => "?",
    };
    let rules = around.ruleset.rules(table, chain).all().iter().map(|rule| of_rule(around, rule));
    ChainListing { name: chain.name.to_string(), policy, line: chain.evidence.line, rules: rules.collect() }
}

fn of_rule(Around { snapshot, netns, ruleset, calls }: &Around<'_>, rule: &Rule) -> RuleListing {
    let text = ruleset.rule_text(rule);
    // `-A CHAIN` is the heading's.
    let text = text.splitn(3, ' ').nth(2).unwrap_or("");
    let call = calls.get(&rule.evidence.line);
    let absent = netns.absent(ruleset, rule);
    let refused = call.is_some() || !absent.is_empty();
    let unmodelled = rule.refused().chain(call).chain(&absent).map(|refused| Told {
        what: format!("{refused}: {} (column {})", refused.why, refused.column),
        at: Some((snapshot.files.text(rule.evidence).to_owned(), refused.column)),
    });
    RuleListing {
        index: rule.index,
        line: rule.evidence.line,
        text: text.to_owned(),
        certainty: if refused { Certainty::NotModelled } else { certainty(rule) }.as_str(),
        unmodelled: unmodelled.collect(),
    }
}

/// nft's own tables, one set for each family, without those that iptables printed.
fn of_nft<'n>(snapshot: &'n Snapshot, nft: &'n Nft) -> impl Iterator<Item = RulesetListing> + 'n {
    let own = nft.tables.iter().filter(|table| !table.printed_by_iptables);
    own.map(|table| RulesetListing {
        family: table.family.as_str(),
        backend: "native",
        file: snapshot.files.path(table.evidence).to_owned(),
        tables: vec![TableListing {
            name: String::from(&*table.name),
            chains: table.chains.iter().map(|chain| of_nft_chain(nft, chain)).collect(),
        }],
    })
}

fn of_nft_chain(nft: &Nft, chain: &crate::snapshot::NftChain) -> ChainListing {
    let policy = match chain.hook.as_ref().map(|hook| hook.policy) {
        None | Some(ChainPolicy::Return) => "-",
        Some(ChainPolicy::Drop) => "DROP",
        Some(ChainPolicy::Unknown) => "?",
        Some(ChainPolicy::Accept) => "ACCEPT",
    };
    let rule = |rule: &crate::snapshot::NftRule| {
        let certainty = nft_certainty(rule);
        let Evidence { line, .. } = rule.evidence;
        let text = nft.rule_text(rule);
        let unmodelled = nft_unmodelled(rule).into_iter().map(|what| Told { what, at: None }).collect();
        RuleListing { index: rule.index, line, text, certainty: certainty.as_str(), unmodelled }
    };
    ChainListing {
        name: String::from(&*chain.name),
        policy,
        line: chain.evidence.line,
        rules: chain.rules.iter().map(rule).collect(),
    }
}
