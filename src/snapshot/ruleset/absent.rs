//! Rules that name what the rest of the snapshot says isn't there: iptables and the kernel load no such rule.

use super::{Match, Options, Refused, Rule, Ruleset, Target};
use crate::snapshot::{Netns, TableFile};

impl Netns {
    /// The sets and accounting objects that a rule names and that the namespace's files, where they are there and whole,
    /// don't hold. iptables refuses a rule for a set that it can't find (`get_set_byname` in its
    /// `extensions/libxt_set.h`), and the kernel one for such an object (`nfacct_mt_checkentry` in
    /// `net/netfilter/xt_nfacct.c`); and neither can be destroyed while a rule names it.
    #[must_use]
    pub fn absent(&self, ruleset: &Ruleset, rule: &Rule) -> Vec<Refused> {
        let named = rule.matches.iter().filter_map(named).chain(named_by_target(&rule.target));
        let lacks = |(option, name, table): &(&str, &str, TableFile)| {
            let (file, is_there) = match table {
                TableFile::Ipset => ("ipset", self.ipsets.as_ref()?.contains_key(*name)),
                _ => ("nfacct", self.nfacct.as_ref()?.contains_key(*name)),
            };
            if is_there || self.unread_rows(*table).next().is_some() {
                return None;
            }
            let what = if *table == TableFile::Ipset { "set" } else { "accounting object" };
            let why = format!("{}/{file} holds no {what} of this name", self.dir).into();
            let column = ruleset.name_column(rule, option, name).unwrap_or(1);
            Some(Refused { text: format!("{option} {name}").into(), column, why })
        };
        named.filter_map(|name| lacks(&name)).collect()
    }
}

/// What a match names: by which option, the name, and in which file it stands.
fn named(one: &Match) -> Option<(&str, &str, TableFile)> {
    match one {
        Match::Set(set) => Some(("--match-set", &set.name, TableFile::Ipset)),
        Match::Other(options) => acct(options).map(|name| ("--nfacct-name", name, TableFile::Nfacct)),
        _ => None,
    }
}

/// The object of an `nfacct` match.
fn acct(options: &Options) -> Option<&str> {
    let name = options.find("--nfacct-name").filter(|_| options.name == "nfacct")?;
    Some(name.value.trim_matches('"'))
}

fn named_by_target(target: &Target) -> impl Iterator<Item = (&str, &str, TableFile)> {
    let set = match target {
        Target::Set(set) => Some(set),
        _ => None,
    };
    let places =
        set.into_iter().flat_map(|set| [("--add-set", &set.add), ("--del-set", &set.del), ("--map-set", &set.map)]);
    places.filter_map(|(option, place)| Some((option, &*place.as_ref()?.name, TableFile::Ipset)))
}
