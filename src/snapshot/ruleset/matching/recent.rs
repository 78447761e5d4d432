//! What `recent` asks and does.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

use crate::net::Family;

use super::super::saved::{negation, some, when};

/// What `recent` asks and does (`net/netfilter/xt_recent.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentMatch {
    /// What it does.
    pub action: RecentAction,
    /// The list.
    pub name: Box<str>,
    /// Which address is looked up.
    pub side: RecentSide,
    /// The bits of the address that count.
    pub mask: IpAddr,
    /// `--seconds`.
    pub seconds: Option<u32>,
    /// `--reap`: throws stale entries away.
    pub reap: bool,
    /// `--hitcount`.
    pub hitcount: Option<u32>,
    /// `--rttl`: TTL must be the same too.
    pub rttl: bool,
    /// Whether it must not match.
    pub invert: bool,
}

/// What `recent` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecentAction {
    /// `--set`: adds the address, and matches.
    Set,
    /// `--rcheck`: looks the address up.
    Rcheck,
    /// `--update`: looks the address up, and notes that it was seen.
    Update,
    /// `--remove`: looks the address up, and removes it.
    Remove,
}

/// Which address `recent` looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecentSide {
    /// `--rsource`.
    Source,
    /// `--rdest`.
    Destination,
}

impl RecentMatch {
    /// A lookup in the list `DEFAULT` by the whole source address, which is what iptables fills in.
    #[must_use]
    pub fn new(action: RecentAction, family: Family) -> Self {
        let mask = match family {
            Family::Inet => IpAddr::from([0xff; 4]),
            Family::Inet6 => IpAddr::from([0xff; 16]),
        };
        Self {
            action,
            name: "DEFAULT".into(),
            side: RecentSide::Source,
            mask,
            seconds: None,
            reap: false,
            hitcount: None,
            rttl: false,
            invert: false,
        }
    }
}

impl Display for RecentMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        negation(f, self.invert)?;
        f.write_str(match self.action {
            RecentAction::Set => " --set",
            RecentAction::Rcheck => " --rcheck",
            RecentAction::Update => " --update",
            RecentAction::Remove => " --remove",
        })?;
        some(f, "--seconds", self.seconds)?;
        when(f, self.reap, "--reap")?;
        some(f, "--hitcount", self.hitcount)?;
        when(f, self.rttl, "--rttl")?;
        write!(f, " --name {} --mask {}", self.name, self.mask)?;
        f.write_str(if self.side == RecentSide::Source { " --rsource" } else { " --rdest" })
    }
}
