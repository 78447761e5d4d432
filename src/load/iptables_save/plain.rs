//! A short way to read the rules of which a large cluster has hundreds of thousands: those of kube-proxy's services and
//! endpoints, as `iptables-save` prints them.
//!
//! It goes over the line once, and leaves everything that it doesn't wholly know to the grammar. A test holds what it
//! reads against what the grammar reads of the same line.

use crate::evidence::Slice;
use crate::net::Protocol;
use crate::snapshot::{ChainId, ChainPolicy, Match, NatRange, Ports, Rule, RulePlace, Target, TcpMatch, Test};

use super::rule::LONGEST;
use super::section::BUILT_IN;
use super::targets::nat;
use super::{name, value};

/// Reads a rule's line. `None` where there is anything in it that this file doesn't know: then what was read is nothing.
pub(super) fn read_rule(rule: &mut Rule, line: &str, place: RulePlace<'_>) -> Option<()> {
    let line = (line.len() <= LONGEST).then_some(line)?;
    let mut reader = Reader { rest: after_chain(line, &place.chain.name)?, place, rule };
    while !reader.rest.is_empty() {
        reader.option()?;
    }
    Some(())
}

/// What follows `-A CHAIN `.
fn after_chain<'l>(line: &'l str, chain: &str) -> Option<&'l str> {
    let rest = match line.strip_prefix('[') {
        Some(rest) => counts(counts(rest)?.strip_prefix(':')?)?.strip_prefix("] -A ")?,
        None => line.strip_prefix("-A ")?,
    };
    let rest = rest.strip_prefix(chain)?.strip_prefix(' ')?;
    is_plain(chain).then_some(rest)
}

/// What follows a number that surely fits in a counter.
fn counts(text: &str) -> Option<&str> {
    const DIGITS: usize = 19;
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (1..=DIGITS).contains(&(text.len() - rest.len())).then_some(rest)
}

/// Whether a chain's name stands for itself: what is between quotes may be a part of another word.
fn is_plain(chain: &str) -> bool {
    memchr::memchr(b'"', chain.as_bytes()).is_none()
}

struct Reader<'l> {
    rest: &'l str,
    place: RulePlace<'l>,
    rule: &'l mut Rule,
}

impl<'l> Reader<'l> {
    /// Takes this, if it is next.
    fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The next word.
    fn word(&mut self) -> &'l str {
        let end = memchr::memchr(b' ', self.rest.as_bytes());
        let (word, rest) = end.and_then(|end| self.rest.split_at_checked(end)).unwrap_or((self.rest, ""));
        self.rest = rest.get(1..).unwrap_or("");
        word
    }

    /// An option with its values.
    fn option(&mut self) -> Option<()> {
        if self.takes("-m ") {
            let one = self.extension()?;
            self.rule.matches.push(one);
            return Some(());
        }
        if self.takes("-j ") {
            self.rule.target = self.target()?;
            return Some(());
        }
        let invert = self.takes("! ");
        if self.takes("-p ") { self.protocol(invert) } else { self.address(invert) }
    }

    /// `-s` and `-d`.
    fn address(&mut self, invert: bool) -> Option<()> {
        let source = self.takes("-s ");
        if !source && !self.takes("-d ") {
            return None;
        }
        let addr = value::masked_addr(self.place.ruleset.family, self.word(), invert)?;
        let place = if source { &mut self.rule.selector.source } else { &mut self.rule.selector.destination };
        place.replace(addr).is_none().then_some(())
    }

    fn protocol(&mut self, invert: bool) -> Option<()> {
        let value = name::protocol(self.word()).filter(|value| value.0 != 0)?;
        self.rule.selector.protocol.replace(Test { value, invert }).is_none().then_some(())
    }

    fn is_protocol(&self, wanted: Protocol) -> bool {
        self.rule.selector.protocol == Some(Test { value: wanted, invert: false })
    }

    fn extension(&mut self) -> Option<Match> {
        if self.takes("comment --comment \"") {
            return self.comment().map(Match::Comment);
        }
        if self.takes("statistic --mode random --probability ") {
            let value = value::probability(self.word())?;
            return Some(Match::Random(Test { value, invert: false }));
        }
        match self.word() {
            "tcp" if self.is_protocol(Protocol::TCP) => {
                Some(Match::Tcp(TcpMatch { ports: self.ports()?, ..TcpMatch::default() }))
            }
            "udp" if self.is_protocol(Protocol::UDP) => Some(Match::Udp(self.ports()?)),
            _ => None,
        }
    }

    /// The rest of a text in quotes, in which nothing is escaped.
    fn comment(&mut self) -> Option<Slice> {
        const LONGEST: usize = 255;
        let end = memchr::memchr2(b'"', b'\\', self.rest.as_bytes()).filter(|end| *end <= LONGEST)?;
        let (comment, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.strip_prefix('"')?;
        let ends = self.rest.is_empty() || self.takes(" ");
        // To the grammar a `!` in quotes negates as well.
        (ends && comment != "!").then(|| Slice::of(&self.place.ruleset.text, comment))
    }

    /// `--dport`, if it follows.
    fn ports(&mut self) -> Option<Ports> {
        if !self.takes("--dport ") {
            return Some(Ports::default());
        }
        let value = value::port_range(self.word()).filter(|ports| ports.low <= ports.high && !ports.is_any())?;
        Some(Ports { source: None, destination: Some(Test { value, invert: false }) })
    }

    /// `-j` with a verdict, a chain or `DNAT`, and nothing after it.
    fn target(&mut self) -> Option<Target> {
        let name = self.word();
        let target = match (name, self.place.table.find(name)) {
            ("ACCEPT", _) => Target::Accept,
            ("DROP", _) => Target::Drop,
            ("RETURN", _) => Target::Return,
            // The grammar takes it for a target also where a chain has the name.
            ("QUEUE", _) => return None,
            ("DNAT", None) => self.dnat()?,
            (name, Some(id)) if is_plain(name) && self.is_users(id) => Target::Jump(id),
            _ => return None,
        };
        self.rest.is_empty().then_some(target)
    }

    fn is_users(&self, id: ChainId) -> bool {
        self.place.table.chain(id).is_some_and(|chain| chain.policy == ChainPolicy::Return)
    }

    fn dnat(&mut self) -> Option<Target> {
        let built_in = BUILT_IN.contains(&&*self.place.chain.name);
        if built_in || *self.place.table.name != *"nat" || !self.takes("--to-destination ") {
            return None;
        }
        let (addrs, ports, base_port) = nat::nat_to(self.word(), self.place.ruleset.family)?;
        let may_have_ports = self.is_protocol(Protocol::TCP) || self.is_protocol(Protocol::UDP);
        let range = NatRange { addrs, ports, base_port, ..NatRange::default() };
        (ports.is_none() || may_have_ports).then(|| Target::Dnat(Box::new(range)))
    }
}

#[cfg(test)]
mod tests;
