//! One rule, read as if it stood in an `iptables-save`.

use std::sync::Arc;

use flowtrace::load::load_files;
use flowtrace::net::Family;
use flowtrace::snapshot::Backend;

/// What became of a rule's text.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was understood. The rule as `iptables-save` prints it.
    Printed(String),
    /// It was refused: the column and why.
    Refused(u32, String),
}

/// Where a rule stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: &'a str,
    /// Its chain.
    pub chain: &'a str,
}

/// Reads rules of one chain, all of one table that also has a chain `USER`, on a node without sets.
pub fn read(place: Place<'_>, rules: &[&str]) -> Vec<Outcome> {
    let Place { family, table, chain } = place;
    let rules: Vec<String> = rules.iter().map(|rule| format!("-A {chain} {rule}\n")).collect();
    let text = format!("*{table}\n:{chain} ACCEPT [0:0]\n:USER - [0:0]\n{}COMMIT\n", rules.concat());
    let file = if family == Family::Inet { "iptables-save" } else { "ip6tables-save" };
    // There are no sets and no accounting objects.
    let files = [(file, text.as_str()), ("ipset", ""), ("nfacct", "")];
    let files = files.map(|(file, text)| (format!("nodes/n1/host/{file}"), Arc::from(text)));
    let snapshot = load_files(files).expect("the snapshot loads");
    let netns = snapshot.netns_ids().next().expect("there is a namespace").1;
    let ruleset = netns.netfilter.ruleset(family, Backend::Legacy).expect("there is a rule set");
    let table = ruleset.table(table).expect("there is a table");
    let chain = table.chain(table.find(chain).expect("there is a chain")).expect("there is a chain");
    let rules = ruleset.rules(table, chain).all();
    rules
        .iter()
        .map(|rule| match rule.refused().chain(&netns.absent(ruleset, rule)).next() {
            Some(refused) => Outcome::Refused(refused.column, refused.why.to_string()),
            None => Outcome::Printed(rule.saved(table).to_string()),
        })
        .collect()
}
