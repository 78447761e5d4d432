//! What netfilter's files say together: which tables are the same under two names.

mod compare;

use crate::evidence::{Evidence, FileId, Files, Gap, Text};
use crate::net::Family;
use crate::snapshot::{Backend, Chain, Netfilter, Nft, NftFamily, NftTable, Ruleset, Table, UnreadRules, WhyUnread};

use super::{iptables_save, lines, nft_json, nft_list};

/// The files of one namespace that netfilter's rules are in, those that are there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sources {
    /// `iptables-save`.
    pub iptables: Option<FileId>,
    /// `ip6tables-save`.
    pub ip6tables: Option<FileId>,
    /// `iptables-legacy-save`.
    pub iptables_legacy: Option<FileId>,
    /// `ip6tables-legacy-save`.
    pub ip6tables_legacy: Option<FileId>,
    /// `nft.txt`.
    pub nft: Option<FileId>,
    /// `nft.json`.
    pub nft_json: Option<FileId>,
}

/// Whether a file of rules ends where its tool ends it, but for the last line's end.
pub(super) fn is_closed(path: &str, text: &str) -> bool {
    match path.rsplit('/').next() {
        Some("iptables-save" | "ip6tables-save" | "iptables-legacy-save" | "ip6tables-legacy-save") => {
            iptables_save::is_closed(text)
        }
        Some("nft.txt") => nft_list::is_closed(text),
        _ => false,
    }
}

/// Reads a namespace's rules.
pub(super) fn parse(files: &mut Files, sources: &Sources, dir: &str, gaps: &mut Vec<Gap>) -> Netfilter {
    let mut netfilter = Netfilter::default();
    let first = gaps.len();
    netfilter.nft = nft(files, sources, gaps);
    let after = gaps.len();
    let saved = [
        (Family::Inet, sources.iptables, sources.iptables_legacy),
        (Family::Inet6, sources.ip6tables, sources.ip6tables_legacy),
    ];
    for (family, plain, legacy) in saved {
        if let Some(file) = legacy {
            let ruleset = iptables_save::parse(file, &text(files, file), family, gaps);
            netfilter.unread.extend(ruleset.unread.map(|line| (family, line)));
            insert(&mut netfilter, ruleset);
        }
        // An empty file beside the other one says nothing.
        let Some(file) = plain.filter(|file| legacy.is_none() || !text(files, *file).trim().is_empty()) else {
            continue;
        };
        let mut ruleset = iptables_save::parse(file, &text(files, file), family, gaps);
        let other = legacy.filter(|_| netfilter.ruleset(family, Backend::Legacy).is_some());
        if let Some(other) = other.filter(|other| is_of_nft(&text(files, file), &text(files, *other))) {
            ruleset.backend = Backend::Nft;
            let beside = files.get(other).map_or("", |file| file.path.as_str());
            let what = format!("its header is missing: beside {beside}, which says otherwise, it is taken for nft's");
            gaps.push(Gap::new(what, vec![Evidence::line(file, 1)]));
        }
        let unread = unread(&ruleset, netfilter.nft.as_ref()).map(|line| (family, line));
        if let Some(nft) = &mut netfilter.nft {
            join(&mut ruleset, nft, files, gaps);
        }
        warn_of_other_backend(&ruleset, legacy, gaps);
        warn_of_own_chains(&ruleset, netfilter.nft.is_some(), dir, gaps);
        if ruleset.backend == Backend::Legacy && netfilter.ruleset(family, Backend::Legacy).is_some() {
            let what = "both files hold the rules of iptables-legacy, and iptables-legacy-save counts";
            gaps.push(Gap::new(what, vec![Evidence::line(file, 1)]));
            // A file without a table may as well be the other backend's.
            netfilter.unread.extend(unread.filter(|_| ruleset.tables.is_empty()));
        } else {
            netfilter.unread.extend(unread);
            insert(&mut netfilter, ruleset);
        }
    }
    if let Some(nft) = &mut netfilter.nft {
        // Whose rules stand elsewhere may have any where that is not there.
        for table in nft.tables.iter_mut().filter(|table| table.bases_alone.is_some() && !table.printed_by_iptables) {
            table.unread.get_or_insert(table.evidence);
        }
        forget_printed(nft, gaps, first..after);
        netfilter.unread.extend(unread_by_nft(nft));
    }
    netfilter
}

/// Adds the rules of a file, unless there is nothing in it that could be read.
fn insert(netfilter: &mut Netfilter, ruleset: Ruleset) {
    if !ruleset.tables.is_empty() || ruleset.unread.is_none() {
        netfilter.insert(ruleset);
    }
}

/// Whether what was saved without a header, which alone names the backend, is of the other backend than what stands beside
/// it and is known to be legacy's: it is not the same.
fn is_of_nft(saved: &str, legacy: &str) -> bool {
    /// What doesn't change from one moment to the next.
    fn rules(saved: &str) -> impl Iterator<Item = &str> {
        let lines = saved.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| match line.split_once(" [") {
            Some((chain, _)) if chain.starts_with(':') => chain,
            _ if line.starts_with('[') => line.split_once("] ").map_or(line, |(_, rule)| rule),
            _ => line,
        })
    }
    !saved.lines().any(|line| line.starts_with("# Generated by")) && !rules(saved).eq(rules(legacy))
}

/// The line of a file that may be any rule: one that could not be read, or the one that says of a table that only nft
/// can print it where nft did not.
fn unread(ruleset: &Ruleset, nft: Option<&Nft>) -> Option<UnreadRules> {
    let family = NftFamily::of(ruleset.family);
    let printed =
        |name: &str| nft.is_some_and(|nft| nft.tables.iter().any(|table| table.family == family && table.name == name));
    let unprinted =
        ruleset.unprinted.iter().find(|(name, _)| !printed(name)).map(|(_, line)| WhyUnread::Unprinted.at(*line));
    ruleset.unread.or(unprinted)
}

/// What could not be read of nft's own tables, by the families whose packets may come to it. What is not understood of
/// a table that `iptables-save` printed too is read there.
fn unread_by_nft(nft: &Nft) -> Vec<(Family, UnreadRules)> {
    let sees = |table: &NftTable, family: Family| {
        let of_link = matches!(table.family, NftFamily::Arp | NftFamily::Bridge | NftFamily::Netdev);
        of_link || table.family.sees(family)
    };
    let of_family = |family: Family| {
        let tables = nft.tables.iter().filter(move |table| table.is_seen() && sees(table, family));
        let lines = tables.filter_map(|table| table.unread).map(|line| WhyUnread::NotUnderstood.at(line));
        let lines = nft.unread.into_iter().chain(lines);
        lines.map(move |line| (family, line)).next()
    };
    [Family::Inet, Family::Inet6].into_iter().filter_map(of_family).collect()
}

/// What is not understood of a table that `iptables-save` printed too leaves nothing open: it is read there.
fn forget_printed(nft: &Nft, gaps: &mut Vec<Gap>, ours: std::ops::Range<usize>) {
    let printed = nft.tables.iter().filter(|table| table.printed_by_iptables);
    let rules: std::collections::HashSet<Evidence> =
        printed.flat_map(|table| &table.chains).flat_map(|chain| &chain.rules).map(|rule| rule.evidence).collect();
    let mut place = 0;
    gaps.retain(|gap| {
        let told = ours.contains(&place) && gap.evidence.iter().any(|line| rules.contains(line));
        place += 1;
        !told
    });
}

fn text(files: &Files, file: FileId) -> Text {
    files.get(file).map_or_else(|| Text::from(""), |file| file.text.clone())
}

/// Reads nft's rules, from the text form where both are there.
fn nft(files: &mut Files, sources: &Sources, gaps: &mut Vec<Gap>) -> Option<Nft> {
    let by_text = sources.nft.map(|file| {
        let text = text(files, file);
        let mut nft = nft_list::parse(file, &text, gaps);
        let cut = lines::open_end(file, &text).filter(|_| !nft_list::is_closed(&text));
        nft.unread = nft.unread.or(cut.map(|line| WhyUnread::Cut.at(line)));
        (file, nft)
    });
    let by_json = sources.nft_json.map(|file| {
        let (nft, rows) = nft_json::parse(file, &text(files, file), gaps);
        files.set_rows(file, rows);
        (file, nft)
    });
    if let (Some((text_file, by_text)), Some((json_file, by_json))) = (&by_text, &by_json)
        && shape(by_text) != shape(by_json)
    {
        let lines = vec![Evidence::line(*text_file, 1), Evidence::line(*json_file, 1)];
        gaps.push(Gap::new("the two forms of nft's rule set differ, and the text counts", lines));
    }
    by_text.or(by_json).map(|(_, nft)| nft)
}

/// A table's chains, and how many rules each has.
type Chains<'n> = Vec<(&'n str, usize)>;

/// A rule set's tables and chains, and how many rules each has.
fn shape(nft: &Nft) -> Vec<(NftFamily, &str, Chains<'_>)> {
    nft.tables
        .iter()
        .map(|table| {
            let chains = table.chains.iter().map(|chain| (&*chain.name, chain.rules.len())).collect();
            (table.family, table.name.as_str(), chains)
        })
        .collect()
}

/// Marks nft's tables that `iptables-save` printed: those of a file whose header says `(nf_tables)`, and those with
/// the same chains, which makes a file without a header nft's.
fn join(ruleset: &mut Ruleset, nft: &mut Nft, files: &Files, gaps: &mut Vec<Gap>) {
    let family = NftFamily::of(ruleset.family);
    for table in nft.tables.iter_mut().filter(|table| table.family == family) {
        let Some(printed) = ruleset.table(&table.name) else { continue };
        table.printed_by_iptables = match table.bases_alone {
            Some(rules) => ruleset.backend == Backend::Nft && has_all(printed, rules, table, gaps),
            None => ruleset.backend == Backend::Nft || has_same_chains(printed, table),
        };
    }
    let whole = ruleset.partial.is_none() && ruleset.unread.is_none() && nft.unread.is_none();
    for table in nft.tables.iter().filter(|table| whole && table.family == family && table.printed_by_iptables) {
        if let Some(printed) = ruleset.table(&table.name).filter(|_| table.unread.is_none()) {
            compare::compare(printed, table, files, gaps);
        }
    }
    let printed = nft.tables.iter().any(|table| table.family == family && table.printed_by_iptables);
    if printed {
        ruleset.backend = Backend::Nft;
    }
}

/// Whether `iptables-save` has as many rules of a table as stood there when its base chains were listed.
fn has_all(printed: &Table, rules: usize, table: &NftTable, gaps: &mut Vec<Gap>) -> bool {
    let count: usize = printed.chains.iter().map(Chain::len).sum();
    if count != rules {
        let what = format!(
            "the table {} has {count} rules here, and {rules} by what stands before its base chains in nft's listing",
            printed.name.escape_debug()
        );
        gaps.push(Gap::new(what, vec![printed.evidence, table.evidence]));
    }
    count == rules
}

/// nft has no base chain that iptables-nft never had to make, so its chains are some of those printed.
fn has_same_chains(printed: &Table, table: &NftTable) -> bool {
    !table.chains.is_empty() && table.chains.iter().all(|chain| printed.find(&chain.name).is_some())
}

/// Beside the tables of iptables-nft there may be chains of nft's own, which only nft prints. A pod's namespace seldom
/// has any, and its rules are seldom collected with nft.
fn warn_of_own_chains(ruleset: &Ruleset, has_nft: bool, dir: &str, gaps: &mut Vec<Gap>) {
    let host = dir.ends_with("/host");
    if host && !has_nft && ruleset.backend == Backend::Nft && ruleset.family == Family::Inet {
        let what = format!("{dir}/nft.txt is missing: chains of nft's own, beside those of iptables, are not known");
        gaps.push(Gap::new(what, vec![]));
    }
}

fn warn_of_other_backend(ruleset: &Ruleset, legacy: Option<FileId>, gaps: &mut Vec<Gap>) {
    if let (Some(line), None) = (ruleset.other_backend, legacy) {
        gaps.push(Gap::new(
            "iptables says that the other backend has rules too, which are not in the snapshot",
            vec![line],
        ));
    }
}
