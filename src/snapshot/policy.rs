//! Policy rules: which table a lookup asks.

use ipnet::IpNet;

use crate::evidence::Evidence;
use crate::net::{Family, IfName, Protocol, TableId};

/// A row of `ip rule show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// The family that it is for.
    pub family: Family,
    /// Its place in the order, lowest first.
    pub priority: u32,
    /// `not`: the rule holds where its selectors don't.
    pub not: bool,
    /// Source prefix.
    pub from: Option<IpNet>,
    /// Destination prefix.
    pub to: Option<IpNet>,
    /// Input device; `lo` for what the host itself sends.
    pub iif: Option<IfName>,
    /// Output device that a socket is bound to.
    pub oif: Option<IfName>,
    /// Mark and mask.
    pub fwmark: Option<(u32, u32)>,
    /// TOS (IPv4) or traffic class; 0 means any.
    pub tos: u8,
    /// IP protocol.
    pub ipproto: Option<Protocol>,
    /// Source ports.
    pub sport: Option<IdRange>,
    /// Destination ports.
    pub dport: Option<IdRange>,
    /// User ids of the sending socket.
    pub uidrange: Option<IdRange>,
    /// What the rule does.
    pub action: RuleAction,
    /// `suppress_prefixlength`: routes with at most this prefix length are no answer.
    pub suppress_prefixlength: Option<u32>,
    /// The realms that it gives to packets, as written.
    pub realms: Option<Box<str>>,
    /// Words that flowtrace doesn't model, as written; a lookup that reaches the rule branches.
    pub unmodelled: Vec<String>,
    /// The line that says so.
    pub evidence: Evidence,
}

impl PolicyRule {
    /// A rule at a place in the order that every packet matches and that does nothing.
    #[must_use]
    pub fn new(family: Family, priority: u32, evidence: Evidence) -> Self {
        Self {
            family,
            priority,
            not: false,
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            tos: 0,
            ipproto: None,
            sport: None,
            dport: None,
            uidrange: None,
            action: RuleAction::Nop,
            suppress_prefixlength: None,
            realms: None,
            unmodelled: Vec::new(),
            evidence,
        }
    }
}

/// What a policy rule does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// Looks into a table.
    Lookup(TableId),
    /// Goes on at the rule with this priority.
    Goto(u32),
    /// Nobody could read what it does.
    Unread,
    /// Does nothing.
    Nop,
    /// Silent drop (`EINVAL` for local senders).
    Blackhole,
    /// Host unreachable.
    Unreachable,
    /// Administratively prohibited.
    Prohibit,
}

/// An inclusive range of ports or user ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The lowest.
    pub start: u32,
    /// The highest.
    pub end: u32,
}

impl IdRange {
    /// Whether a number is in the range.
    #[must_use]
    pub fn contains(self, id: u32) -> bool {
        (self.start..=self.end).contains(&id)
    }
}
