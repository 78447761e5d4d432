//! The rule sets of netfilter: what `iptables-save` prints, and nft's own tables.

mod absent;
mod address;
mod calls;
mod chain;
mod hooks;
mod matching;
pub mod nft;
mod rule;
mod saved;
mod target;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::evidence::{Evidence, FileId, Text};
use crate::net::Family;
use crate::net::Hook;

pub use address::AddrMask;
pub(crate) use calls::{Caller, Calls, WrongCall};
pub(crate) use chain::ChainNames;
pub use chain::{Chain, ChainId, ChainPolicy, PacketKey, RuleLine, Rules, Table};
use hooks::HookEntries;
pub use hooks::{HookEntry, HookFn};
pub(crate) use matching::{ADDR_TYPES, DCCP_TYPES, TCP_FLAGS};
pub use matching::{
    AddrRange, AddrType, AddrtypeMatch, ConntrackMatch, ConntrackStatus, CtStates, DccpMatch, DccpTypes, Direction,
    EcnMatch, IcmpType, IprangeMatch, MarkTest, Match, Multiport, MultiportSide, Nth, OwnerMatch, PhysdevMatch,
    PktType, PortRange, Ports, RecentAction, RecentMatch, RecentSide, RpfilterMatch, SctpMatch, SetMatch, SetSide,
    TcpFlags, TcpMatch, TosTest, TtlTest,
};
use nft::ChainPlace;
pub use nft::{Nft, NftChain, NftFamily, NftHook, NftRule, NftTable};
pub use rule::{Devices, IfPattern, ReadRule, Rule, RulePlace, Selector, Test};
pub use saved::{Options, Quoted, Refused, SavedOption, Span, prefix_length};
pub(crate) use target::REJECT_TYPES;
pub use target::{
    ConnmarkAction, ConnmarkTarget, CtTarget, CtZone, CtZoneSide, MarkChange, MarkShift, NatRange, QueueTarget,
    RejectWith, SetPlace, SetTarget, Target, TtlChange,
};

/// The two kernel interfaces under iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backend {
    /// iptables-nft: the tables are nftables tables.
    Nft,
    /// iptables-legacy: `ip_tables`.
    Legacy,
}

impl Backend {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }
}

/// Everything that netfilter holds in one namespace.
#[derive(Debug, Default)]
pub struct Netfilter {
    rulesets: Vec<Ruleset>,
    /// What `nft list ruleset` says; `None` where it was not collected.
    pub nft: Option<Nft>,
    /// Where a rule, a chain or a whole table may be missing, with the families whose packets may come to it.
    pub unread: Vec<(Family, UnreadRules)>,
    hooks: OnceLock<HookEntries>,
}

/// A line of netfilter's files at which a rule, a chain or a whole table may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadRules {
    /// The line.
    pub line: Evidence,
    /// What is wrong with it.
    pub why: WhyUnread,
}

/// What is wrong with a line of netfilter's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyUnread {
    /// Nobody understands it: it may be anything.
    NotUnderstood,
    /// The file ends in it, and should go on.
    Cut,
    /// It says of a table that iptables could not print it.
    Unprinted,
}

impl WhyUnread {
    /// The record of a line.
    #[must_use]
    pub fn at(self, line: Evidence) -> UnreadRules {
        UnreadRules { line, why: self }
    }
}

impl Netfilter {
    /// Adds what one file holds; it takes the place of an earlier one of the same family and backend.
    pub fn insert(&mut self, ruleset: Ruleset) {
        self.rulesets.retain(|old| (old.family, old.backend) != (ruleset.family, ruleset.backend));
        self.rulesets.push(ruleset);
    }

    /// The rules that iptables printed for a family and backend; `None` where they were not collected.
    #[must_use]
    pub fn ruleset(&self, family: Family, backend: Backend) -> Option<&Ruleset> {
        self.rulesets.iter().find(|ruleset| ruleset.family == family && ruleset.backend == backend)
    }

    /// The rule sets of a family, of every backend that was collected.
    pub fn rulesets(&self, family: Family) -> impl Iterator<Item = &Ruleset> {
        self.rulesets.iter().filter(move |ruleset| ruleset.family == family)
    }

    /// What the kernel calls for a family's packets at a hook, in that order. The nat tables are not among them.
    pub fn hook_entries(&self, family: Family, hook: Hook) -> &[HookEntry] {
        self.hooks.get_or_init(|| HookEntries::new(self)).get(family, hook, false)
    }

    /// nft's chains of devices or bridges at a hook, in the order in which the kernel calls them.
    #[must_use]
    pub fn frame_entries(&self, families: &[NftFamily], hook: Hook) -> Vec<HookEntry> {
        hooks::frame_entries(self, families, hook)
    }

    /// The nat tables and nft's nat chains of a family at a hook, in the order in which they are asked.
    pub fn nat_entries(&self, family: Family, hook: Hook) -> &[HookEntry] {
        self.hooks.get_or_init(|| HookEntries::new(self)).get(family, hook, true)
    }

    /// A table that iptables printed, by the place of its rule set and its own.
    #[must_use]
    pub fn table(&self, ruleset: usize, table: usize) -> Option<(&Ruleset, &Table)> {
        let ruleset = self.rulesets.get(ruleset)?;
        Some((ruleset, ruleset.tables.get(table)?))
    }

    /// A base chain of nft's own, and its table.
    #[must_use]
    pub fn native_chain(&self, place: ChainPlace) -> Option<(&Nft, &NftTable, &NftChain)> {
        let nft = self.nft.as_ref()?;
        let (table, chain) = nft.chain(place)?;
        Some((nft, table, chain))
    }

    /// Whether it may do anything to a packet, by a rule or by its policy.
    fn has_rules(&self, call: HookFn) -> bool {
        match call {
            HookFn::Table(ruleset, table, base) => self.table(ruleset, table).is_some_and(|(_, table)| {
                table.chain(base).map_or(!table.is_empty(), |chain| {
                    !chain.is_empty() || chain.open.is_some() || chain.policy != ChainPolicy::Accept
                })
            }),
            HookFn::Chain(place) => self.native_chain(place).is_some_and(|(_, _, chain)| {
                let policy = chain.hook.as_ref().map(|hook| hook.policy);
                !chain.rules.is_empty() || policy.is_some_and(|policy| policy != ChainPolicy::Accept)
            }),
            HookFn::Conntrack | HookFn::Nat | HookFn::Confirm => true,
        }
    }

    /// Whether anything in the namespace makes it track a family's connections: a nat table, or a rule that asks
    /// about connections (`nf_ct_netns_get` in the checkentry functions of `net/netfilter/xt_*.c`).
    #[must_use]
    pub fn needs_conntrack(&self, family: Family) -> bool {
        self.rulesets(family).any(Ruleset::needs_conntrack)
            || self.nft.as_ref().is_some_and(|nft| nft.needs_conntrack(family))
    }

    /// Whether anything in the namespace makes it put together a family's pieces before any rule sees them: connection
    /// tracking, or `TPROXY` and `socket` (`nf_defrag_ipv4_enable` in the checkentry functions of
    /// `net/netfilter/xt_TPROXY.c` and `net/netfilter/xt_socket.c`).
    #[must_use]
    pub fn needs_defrag(&self, family: Family) -> bool {
        self.needs_conntrack(family)
            || self.rulesets(family).any(Ruleset::has_proxy)
            || self.nft.as_ref().is_some_and(|nft| nft.has_proxy(family))
    }

    /// Whether any rule asks what elements of sets have counted, so that it matters which packets they count.
    #[must_use]
    pub fn asks_set_counters(&self) -> bool {
        self.rulesets.iter().any(Ruleset::asks_set_counters)
    }

    /// Whether every table of a family is known: nft's own as well as those of iptables.
    #[must_use]
    pub fn is_whole(&self, family: Family) -> bool {
        let all_read = self.rulesets(family).all(|ruleset| ruleset.partial.is_none() && ruleset.unread.is_none());
        self.nft.as_ref().is_some_and(|nft| nft.unread.is_none()) && all_read
    }

    /// Whether anything in the namespace may translate a family's addresses: a nat table, or a nat chain of nft's own.
    #[must_use]
    pub fn has_nat(&self, family: Family) -> bool {
        self.rulesets(family).any(|ruleset| ruleset.table("nat").is_some())
            || self.nft.as_ref().is_some_and(|nft| nft.has_nat(family))
    }
}

/// What one `iptables-save` printed.
#[derive(Debug)]
pub struct Ruleset {
    /// The family that it is for.
    pub family: Family,
    /// The kernel interface that it is in.
    pub backend: Backend,
    /// The file.
    pub file: FileId,
    /// The tables, in the order of the file.
    pub tables: Vec<Table>,
    /// Set where the file shows only some of the tables (an excerpt, or cut short): the line that tells. A table that
    /// is not in [`Self::tables`] is then unknown, and not absent.
    pub partial: Option<Evidence>,
    /// Set where a line could not be read of which not even the chain is known: it may be any rule, chain or table.
    pub unread: Option<UnreadRules>,
    /// The tables that iptables says it can't print, and the lines that say so.
    pub unprinted: Vec<(String, Evidence)>,
    /// Set where iptables warned that the other backend holds tables too, which it did not print.
    pub other_backend: Option<Evidence>,
    pub(crate) text: Text,
    pub(crate) tracks: OnceLock<bool>,
    proxies: OnceLock<bool>,
    counters: OnceLock<bool>,
}

impl Ruleset {
    /// A rule set without tables, over the text that its tables will point into.
    #[must_use]
    pub fn new(family: Family, backend: Backend, file: FileId, text: Text) -> Self {
        Self {
            family,
            backend,
            file,
            tables: Vec::new(),
            partial: None,
            unread: None,
            unprinted: Vec::new(),
            other_backend: None,
            text,
            tracks: OnceLock::new(),
            proxies: OnceLock::new(),
            counters: OnceLock::new(),
        }
    }

    /// The table with this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| *table.name == *name)
    }

    /// The rules of a chain, read on first use.
    #[must_use]
    pub fn rules<'r>(&self, table: &'r Table, chain: &'r Chain) -> &'r Rules {
        chain.rules(self, table)
    }

    /// A rule as written, from `-A` on, without counters.
    #[must_use]
    pub fn rule_text(&self, rule: &Rule) -> &str {
        let rest = self.text.get(rule.start as usize..).unwrap_or("");
        let end = memchr::memchr2(b'\n', b'\r', rest.as_bytes()).unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or("").trim();
        match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((_, rest)) => rest.trim_start(),
            None => line,
        }
    }

    /// In which column of its line the chain stands that a rule calls.
    #[must_use]
    pub fn jump_column(&self, rule: &Rule) -> Option<u32> {
        let start = rule.start as usize;
        let rest = self.text.get(start..).unwrap_or("");
        let line = rest.get(..memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len()))?;
        let options = [" -j ", " -g ", " --jump ", " --goto "];
        let at = options.iter().filter_map(|option| Some(line.rfind(option)? + option.len())).max()?;
        let before = self.text.get(..start).map_or(0, |text| text.len() - text.rfind('\n').map_or(0, |end| end + 1));
        u32::try_from(before + line.get(..at)?.chars().count() + 1).ok()
    }

    /// In which column of its line a name stands behind an option.
    pub(crate) fn name_column(&self, rule: &Rule, option: &str, name: &str) -> Option<u32> {
        let start = rule.start as usize;
        let rest = self.text.get(start..)?;
        let line = rest.get(..memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len()))?;
        let behind = line.match_indices(option).map(|(at, _)| at + option.len());
        let mut names = behind.filter_map(|at| {
            let blanks = line.get(at..)?.find(|letter| letter != ' ' && letter != '"')?;
            let found = line.get(at + blanks..)?;
            let end = found.strip_prefix(name)?.chars().next().is_none_or(|next| next == ' ' || next == '"');
            end.then_some(at + blanks)
        });
        let at = names.next()?;
        let before = self.text.get(..start).map_or(0, |text| text.len() - text.rfind('\n').map_or(0, |end| end + 1));
        u32::try_from(before + line.get(..at)?.chars().count() + 1).ok()
    }

    /// The rules of a table by which chains call each other in a way that the kernel refuses, as the line's number, with
    /// what is wrong. Reads the whole table.
    #[must_use]
    pub fn refused_calls(&self, table: &Table) -> HashMap<u32, Refused> {
        let mut rules = Vec::new();
        let caller = |chain: &Chain| if chain.policy == ChainPolicy::Return { Caller::Chain } else { Caller::Base };
        let mut calls = Calls { callers: table.chains.iter().map(caller).collect(), calls: Vec::new() };
        for (from, chain) in (0u32..).zip(&table.chains) {
            for rule in self.rules(table, chain).all() {
                if let Target::Jump(to) | Target::Goto(to) = rule.target {
                    calls.calls.push((from, to.0));
                    rules.push(rule);
                }
            }
        }
        let deepest = (self.backend == Backend::Nft).then_some(nft::DEEPEST);
        let wrong = rules.into_iter().zip(calls.wrong(deepest)).filter_map(|(rule, wrong)| Some((rule, wrong?)));
        let refused = |(rule, wrong): (&Rule, WrongCall)| {
            let column = self.jump_column(rule).unwrap_or(1);
            let line = self.rule_text(rule);
            let at = [" -j ", " -g "].iter().filter_map(|option| line.rfind(option)).max().unwrap_or(0);
            let text = line.get(at..).unwrap_or("").trim().into();
            (rule.evidence.line, Refused { text, column, why: wrong.as_str().into() })
        };
        wrong.map(refused).collect()
    }

    fn needs_conntrack(&self) -> bool {
        *self.tracks.get_or_init(|| asks_for_conntrack(&self.text))
    }

    fn asks_set_counters(&self) -> bool {
        let asks = |option: &&str| memchr::memmem::find(self.text.as_bytes(), option.as_bytes()).is_some();
        *self.counters.get_or_init(|| [" --packets-", " --bytes-"].iter().any(asks))
    }

    fn has_proxy(&self) -> bool {
        *self.proxies.get_or_init(|| PROXIES.iter().any(|word| has_words(&self.text, word)))
    }
}

/// The extensions that make a namespace track connections (`nf_ct_netns_get` in the checkentry functions of
/// `net/netfilter/xt_*.c`). A nat table without any of them does not.
const TRACKERS: &[&str] = &[
    "-m conntrack",
    "-m state",
    "-m connmark",
    "-m connbytes",
    "-m connlabel",
    "-m connlimit",
    "-m helper",
    "-m cluster",
    "-j CONNMARK",
    "-j CONNSECMARK",
    "-j SYNPROXY",
    "-j DNAT",
    "-j SNAT",
    "-j MASQUERADE",
    "-j REDIRECT",
    "-j NETMAP",
];

/// The extensions for which pieces are put together before any rule sees them, beside those.
const PROXIES: &[&str] = &["-m socket", "-j TPROXY"];

/// Whether some rule of a file has such an extension.
fn asks_for_conntrack(text: &str) -> bool {
    TRACKERS.iter().any(|word| has_words(text, word)) || tracks_by_ct_target(text)
}

/// Whether some rule of a file has these words: as whole words, outside a comment's quotes.
fn has_words(text: &str, words: &str) -> bool {
    let stands = |at: usize, word: &str| {
        let line = text.get(..at).and_then(|before| before.rsplit('\n').next()).unwrap_or("");
        let ends = text.as_bytes().get(at + word.len()).is_none_or(u8::is_ascii_whitespace);
        ends && line.replace("\\\"", "").matches('"').count() % 2 == 0
    };
    memchr::memmem::find_iter(text.as_bytes(), words.as_bytes()).any(|at| stands(at, words))
}

/// `-j CT` makes the namespace track connections unless it says `--notrack` (`xt_ct_tg_check` in `xt_CT.c`).
fn tracks_by_ct_target(text: &str) -> bool {
    memchr::memmem::find_iter(text.as_bytes(), b"-j CT ")
        .any(|at| text.get(at..).and_then(|rest| rest.lines().next()).is_some_and(|rule| !rule.contains("--notrack")))
}
