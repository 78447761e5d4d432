//! What a rule does (`-j …`).

mod ct;
mod mark;
mod nat;

use std::fmt::{self, Display, Formatter};

pub use ct::{CtTarget, CtZone, CtZoneSide, QueueTarget, SetPlace, SetTarget};
pub use mark::{ConnmarkAction, ConnmarkTarget, MarkChange, MarkShift};
pub use nat::NatRange;

use super::{AddrMask, ChainId, Options, Refused, Table};

/// A rule's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// No `-j`.
    Continue,
    /// `ACCEPT`.
    Accept,
    /// `DROP`.
    Drop,
    /// `RETURN`.
    Return,
    /// `-j CHAIN`.
    Jump(ChainId),
    /// `-g CHAIN`.
    Goto(ChainId),
    /// `REJECT`.
    Reject(RejectWith),
    /// `DNAT`.
    Dnat(Box<NatRange>),
    /// `SNAT`.
    Snat(Box<NatRange>),
    /// `MASQUERADE`.
    Masquerade(Box<NatRange>),
    /// `REDIRECT`.
    Redirect(Box<NatRange>),
    /// `NETMAP`: the masked bits of the address become those of this one.
    Netmap(Box<AddrMask>),
    /// `MARK`.
    Mark(MarkChange),
    /// `CONNMARK`.
    Connmark(ConnmarkTarget),
    /// `CT`, and `NOTRACK`.
    Ct(Box<CtTarget>),
    /// `TOS`: TOS becomes `(tos & !mask) ^ value`.
    Tos {
        /// The bits that are cleared.
        mask: u8,
        /// The bits that are flipped then.
        value: u8,
    },
    /// `DSCP`: the upper six bits of TOS become this.
    Dscp(u8),
    /// `TTL`.
    Ttl(TtlChange),
    /// `HL`.
    Hl(TtlChange),
    /// `SET`: changes an ipset.
    Set(Box<SetTarget>),
    /// `NFQUEUE`: a program decides.
    Queue(QueueTarget),
    /// `QUEUE`, which is `NFQUEUE` in its oldest form.
    OldQueue,
    /// One of the others. Most do nothing to the packet's own way (`LOG`, `NFLOG`, `TRACE`, `CHECKSUM`, …).
    Other(Box<Options>),
    /// Not understood, or refused by iptables or the kernel.
    Unsupported(Box<Refused>),
}

impl Target {
    /// The target as `iptables-save` prints it, with `-j` or `-g`; nothing where there is none.
    #[must_use]
    pub fn saved<'t>(&'t self, table: &'t Table) -> impl Display + 't {
        Saved { target: self, table }
    }
}

struct Saved<'t> {
    target: &'t Target,
    table: &'t Table,
}

impl Display for Saved<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let chain = |id: ChainId| self.table.chain(id).map_or("", |chain| &chain.name);
        match self.target {
            Target::Continue => Ok(()),
            Target::Accept => f.write_str("-j ACCEPT"),
            Target::Drop => f.write_str("-j DROP"),
            Target::Return => f.write_str("-j RETURN"),
            Target::OldQueue => f.write_str("-j QUEUE"),
            Target::Jump(id) => write!(f, "-j {}", chain(*id)),
            Target::Goto(id) => write!(f, "-g {}", chain(*id)),
            Target::Unsupported(refused) => refused.fmt(f),
            target => {
                f.write_str("-j ")?;
                extension(f, target)
            }
        }
    }
}

fn extension(f: &mut Formatter<'_>, target: &Target) -> fmt::Result {
    match target {
        Target::Reject(with) => write!(f, "REJECT --reject-with {}", with.name()),
        Target::Dnat(range) => {
            f.write_str("DNAT")?;
            range.write(f, "--to-destination")
        }
        Target::Snat(range) => {
            f.write_str("SNAT")?;
            range.write(f, "--to-source")
        }
        Target::Masquerade(range) => write!(f, "MASQUERADE{range}"),
        Target::Redirect(range) => write!(f, "REDIRECT{range}"),
        Target::Netmap(to) => write!(f, "NETMAP --to {}", to.full()),
        Target::Mark(change) => write!(f, "MARK --set-xmark {change}"),
        Target::Connmark(connmark) => write!(f, "CONNMARK{connmark}"),
        Target::Ct(ct) => ct.fmt(f),
        Target::Tos { mask, value } => write!(f, "TOS --set-tos {value:#04x}/{mask:#04x}"),
        Target::Dscp(dscp) => write!(f, "DSCP --set-dscp {dscp:#04x}"),
        Target::Ttl(change) => change.write(f, "TTL", "ttl"),
        Target::Hl(change) => change.write(f, "HL", "hl"),
        Target::Set(set) => write!(f, "SET{set}"),
        Target::Queue(queue) => write!(f, "NFQUEUE{queue}"),
        Target::Other(options) => options.fmt(f),
        _ => Ok(()),
    }
}

/// Which error `REJECT` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectWith {
    /// An ICMP error.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// An ICMPv6 error.
    Icmp6 {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// A TCP reset.
    TcpReset,
}

/// The types of `--reject-with` (`extensions/libipt_REJECT.c`, `libip6t_REJECT.c`) with their short names.
pub(crate) const REJECT_TYPES: &[(&str, &str, RejectWith)] = &[
    ("icmp-net-unreachable", "net-unreach", RejectWith::Icmp { kind: 3, code: 0 }),
    ("icmp-host-unreachable", "host-unreach", RejectWith::Icmp { kind: 3, code: 1 }),
    ("icmp-proto-unreachable", "proto-unreach", RejectWith::Icmp { kind: 3, code: 2 }),
    ("icmp-port-unreachable", "port-unreach", RejectWith::Icmp { kind: 3, code: 3 }),
    ("icmp-net-prohibited", "net-prohib", RejectWith::Icmp { kind: 3, code: 9 }),
    ("icmp-host-prohibited", "host-prohib", RejectWith::Icmp { kind: 3, code: 10 }),
    ("icmp-admin-prohibited", "admin-prohib", RejectWith::Icmp { kind: 3, code: 13 }),
    ("icmp6-no-route", "no-route", RejectWith::Icmp6 { kind: 1, code: 0 }),
    ("icmp6-adm-prohibited", "adm-prohibited", RejectWith::Icmp6 { kind: 1, code: 1 }),
    ("icmp6-addr-unreachable", "addr-unreach", RejectWith::Icmp6 { kind: 1, code: 3 }),
    ("icmp6-port-unreachable", "port-unreach", RejectWith::Icmp6 { kind: 1, code: 4 }),
    ("icmp6-policy-fail", "policy-fail", RejectWith::Icmp6 { kind: 1, code: 5 }),
    ("icmp6-reject-route", "reject-route", RejectWith::Icmp6 { kind: 1, code: 6 }),
    ("tcp-reset", "tcp-rst", RejectWith::TcpReset),
];

impl RejectWith {
    fn name(self) -> &'static str {
        REJECT_TYPES.iter().find(|(_, _, with)| *with == self).map_or("", |(name, _, _)| name)
    }
}

/// What `TTL` and `HL` do (`net/netfilter/xt_HL.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlChange {
    /// Sets it.
    Set(u8),
    /// Raises it, to 255 at most.
    Inc(u8),
    /// Lowers it, to 0 at least.
    Dec(u8),
}

impl TtlChange {
    /// TTL afterwards.
    #[must_use]
    pub fn apply(self, ttl: u8) -> u8 {
        match self {
            Self::Set(ttl) => ttl,
            Self::Inc(by) => ttl.saturating_add(by),
            Self::Dec(by) => ttl.saturating_sub(by),
        }
    }

    fn write(self, f: &mut Formatter<'_>, name: &str, start: &str) -> fmt::Result {
        let (how, value) = match self {
            Self::Set(value) => ("set", value),
            Self::Inc(value) => ("inc", value),
            Self::Dec(value) => ("dec", value),
        };
        write!(f, "{name} --{start}-{how} {value}")
    }
}
