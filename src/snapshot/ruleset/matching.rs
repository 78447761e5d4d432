//! What a rule's extensions ask (`-m …`), one variant for each condition of an `xt_match`.

use std::net::IpAddr;

use crate::net::{Family, MacAddr, Protocol};

use super::{AddrMask, IfPattern, Test};

/// One condition of a rule. The conditions of a rule must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// `--sport` of `tcp`, `udp`, `udplite`, `sctp` and `dccp`.
    SourcePort(Test<PortRange>),
    /// `--dport` of the same.
    DestinationPort(Test<PortRange>),
    /// `--sports`, `--dports` and `--ports` of `multiport`.
    Multiport(Test<Multiport>),
    /// `--tcp-flags` and `--syn`.
    TcpFlags(Test<TcpFlags>),
    /// `--icmp-type` and `--icmpv6-type`.
    Icmp(Test<IcmpType>),
    /// `conntrack`, and `state`.
    Conntrack(Box<ConntrackMatch>),
    /// `addrtype`.
    Addrtype(AddrtypeMatch),
    /// `mark`.
    Mark(Test<MarkTest>),
    /// `connmark`.
    Connmark(Test<MarkTest>),
    /// `statistic --mode random`: the chance in units of 2⁻³¹, as the kernel keeps it.
    Random(Test<u32>),
    /// `statistic --mode nth --every N`.
    Nth(Test<u32>),
    /// `set`.
    Set(Box<SetMatch>),
    /// `physdev`.
    Physdev(Box<PhysdevMatch>),
    /// `recent`.
    Recent(Box<RecentMatch>),
    /// `length`: the IP packet's, in bytes.
    Length(Test<(u16, u16)>),
    /// `ttl` and `hl`.
    Ttl(TtlTest, u8),
    /// `tos` and `dscp`: value and mask.
    Tos(Test<(u8, u8)>),
    /// `ecn --ecn-ip-ect`: the two lowest bits of TOS.
    Ecn(Test<u8>),
    /// `pkttype`.
    PktType(Test<PktType>),
    /// `iprange --src-range`.
    SourceRange(Test<(IpAddr, IpAddr)>),
    /// `iprange --dst-range`.
    DestinationRange(Test<(IpAddr, IpAddr)>),
    /// `mac --mac-source`.
    MacSource(Test<MacAddr>),
    /// `owner`.
    Owner(OwnerMatch),
    /// `rpfilter`.
    Rpfilter(RpfilterMatch),
    /// A header extension of IPv6 that no packet of a walk has (`frag`, `rt`, `hbh`, …).
    Absent,
    /// Asks for something that no snapshot holds: a rate's bucket, a payload, the time. The options as written.
    Unknowable(Box<str>),
    /// Not modelled, or not understood. The options as written.
    Unsupported(Box<str>),
}

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub low: u16,
    /// The highest.
    pub high: u16,
}

impl PortRange {
    /// Whether a port is in the range.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }
}

/// Several ports and ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiport {
    /// Which port is compared.
    pub side: MultiportSide,
    /// Any of these may match.
    pub ranges: Box<[PortRange]>,
}

/// Which port `multiport` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiportSide {
    /// `--sports`.
    Source,
    /// `--dports`.
    Destination,
    /// `--ports`: one of the two.
    Either,
}

/// TCP flags that must be set among those looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags {
    /// The flags that count.
    pub mask: u8,
    /// Those of them that must be set; the others must not.
    pub set: u8,
}

/// An ICMP type and a range of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// The type; `None` for `any`.
    pub kind: Option<u8>,
    /// The lowest and the highest code.
    pub codes: (u8, u8),
}

/// `--mark value/mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkTest {
    /// What the masked mark must be.
    pub value: u32,
    /// The bits that count.
    pub mask: u32,
}

/// Connection states, as bits of `XT_CONNTRACK_STATE_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtStates(pub u8);

impl CtStates {
    /// `INVALID`.
    pub const INVALID: Self = Self(1);
    /// `ESTABLISHED`.
    pub const ESTABLISHED: Self = Self(1 << 1);
    /// `RELATED`.
    pub const RELATED: Self = Self(1 << 2);
    /// `NEW`.
    pub const NEW: Self = Self(1 << 3);
    /// `SNAT`: the source is rewritten.
    pub const SNAT: Self = Self(1 << 4);
    /// `DNAT`: the destination is rewritten.
    pub const DNAT: Self = Self(1 << 5);
    /// `UNTRACKED`.
    pub const UNTRACKED: Self = Self(1 << 6);
}

/// Connection status bits that `--ctstatus` can name; none of them for `NONE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackStatus(pub u8);

impl ConntrackStatus {
    /// `EXPECTED`.
    pub const EXPECTED: Self = Self(1);
    /// `SEEN_REPLY`.
    pub const SEEN_REPLY: Self = Self(1 << 1);
    /// `ASSURED`.
    pub const ASSURED: Self = Self(1 << 2);
    /// `CONFIRMED`.
    pub const CONFIRMED: Self = Self(1 << 3);
}

/// A packet's direction in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// That of the first packet.
    Original,
    /// That of the answers.
    Reply,
}

/// What `conntrack` asks (`net/netfilter/xt_conntrack.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConntrackMatch {
    /// `--ctstate`, and `--state`.
    pub states: Option<Test<CtStates>>,
    /// `--ctstatus`.
    pub status: Option<Test<ConntrackStatus>>,
    /// `--ctproto`.
    pub protocol: Option<Test<Protocol>>,
    /// `--ctorigsrc`.
    pub orig_src: Option<AddrMask>,
    /// `--ctorigdst`.
    pub orig_dst: Option<AddrMask>,
    /// `--ctreplsrc`.
    pub repl_src: Option<AddrMask>,
    /// `--ctrepldst`.
    pub repl_dst: Option<AddrMask>,
    /// `--ctorigsrcport`.
    pub orig_src_port: Option<Test<PortRange>>,
    /// `--ctorigdstport`.
    pub orig_dst_port: Option<Test<PortRange>>,
    /// `--ctreplsrcport`.
    pub repl_src_port: Option<Test<PortRange>>,
    /// `--ctrepldstport`.
    pub repl_dst_port: Option<Test<PortRange>>,
    /// `--ctdir`.
    pub direction: Option<Test<Direction>>,
    /// `--ctexpire`, in seconds.
    pub expires: Option<Test<(u32, u32)>>,
}

/// Address types, as bits `1 << RTN_*` (`XT_ADDRTYPE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddrType(pub u16);

impl AddrType {
    /// `UNSPEC`.
    pub const UNSPEC: Self = Self(1);
    /// `UNICAST`.
    pub const UNICAST: Self = Self(1 << 1);
    /// `LOCAL`.
    pub const LOCAL: Self = Self(1 << 2);
    /// `BROADCAST`.
    pub const BROADCAST: Self = Self(1 << 3);
    /// `ANYCAST`.
    pub const ANYCAST: Self = Self(1 << 4);
    /// `MULTICAST`.
    pub const MULTICAST: Self = Self(1 << 5);
    /// `BLACKHOLE`.
    pub const BLACKHOLE: Self = Self(1 << 6);
    /// `UNREACHABLE`.
    pub const UNREACHABLE: Self = Self(1 << 7);
    /// `PROHIBIT`.
    pub const PROHIBIT: Self = Self(1 << 8);
    /// `THROW`.
    pub const THROW: Self = Self(1 << 9);
    /// `NAT`.
    pub const NAT: Self = Self(1 << 10);
    /// `XRESOLVE`.
    pub const XRESOLVE: Self = Self(1 << 11);

    /// Whether any of the other's types is among these.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What `addrtype` asks (`net/netfilter/xt_addrtype.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddrtypeMatch {
    /// `--src-type`.
    pub source: Option<Test<AddrType>>,
    /// `--dst-type`.
    pub destination: Option<Test<AddrType>>,
    /// `--limit-iface-in`.
    pub limit_in: bool,
    /// `--limit-iface-out`.
    pub limit_out: bool,
}

/// Which of the packet's fields is compared with one part of a set's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetSide {
    /// `src`.
    Source,
    /// `dst`.
    Destination,
}

/// What `set` asks (`net/netfilter/xt_set.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMatch {
    /// The set's name.
    pub name: Box<str>,
    /// `src,dst,…`, one for each part of an element.
    pub sides: Box<[SetSide]>,
    /// Whether it must not match.
    pub invert: bool,
    /// `--return-nomatch`: elements marked `nomatch` are what matches.
    pub return_nomatch: bool,
    /// Options about counters, which no snapshot holds, as written.
    pub counters: Option<Box<str>>,
}

/// What `physdev` asks (`net/netfilter/xt_physdev.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhysdevMatch {
    /// `--physdev-in`.
    pub input: Option<IfPattern>,
    /// `--physdev-out`.
    pub output: Option<IfPattern>,
    /// `--physdev-is-in`.
    pub is_in: Option<Test<()>>,
    /// `--physdev-is-out`.
    pub is_out: Option<Test<()>>,
    /// `--physdev-is-bridged`.
    pub is_bridged: Option<Test<()>>,
}

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

/// How `ttl` and `hl` compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlTest {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Greater.
    Gt,
}

/// To whom a frame was addressed (`skb->pkt_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PktType {
    /// To this host.
    Unicast,
    /// To everybody.
    Broadcast,
    /// To a group.
    Multicast,
}

/// What `owner` asks (`net/netfilter/xt_owner.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerMatch {
    /// `--uid-owner`, as a range, and whether it is negated.
    pub uid: Option<Test<(u32, u32)>>,
    /// `--gid-owner`.
    pub gid: Option<Test<(u32, u32)>>,
    /// `--socket-exists`.
    pub socket: Option<Test<()>>,
}

/// What `rpfilter` asks (`net/ipv4/netfilter/ipt_rpfilter.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RpfilterMatch {
    /// `--loose`.
    pub loose: bool,
    /// `--validmark`.
    pub validmark: bool,
    /// `--accept-local`.
    pub accept_local: bool,
    /// `--invert`.
    pub invert: bool,
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
            hitcount: None,
            rttl: false,
            invert: false,
        }
    }
}
