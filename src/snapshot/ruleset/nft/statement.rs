//! Statements: what a rule does.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Expr, Header, HeaderField, PayloadBase, Relation, SetRef};
use crate::net::Family;
use crate::snapshot::{Direction, Refused};

/// A chain that a rule calls, by [`super::NftTable::chain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainRef(pub u32);

/// One part of a rule: a condition or an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// A condition.
    Match(Box<Relation>),
    /// Where the packet goes.
    Verdict(Verdict),
    /// Where the packet goes, by a map.
    Vmap(Box<(Expr, SetRef)>),
    /// `reject`.
    Reject(NftReject),
    /// `dnat`, `snat`, `masquerade`, `redirect`.
    Nat(Box<NftNat>),
    /// `meta mark set`.
    SetMark(Expr),
    /// `ct mark set`.
    SetCtMark(Expr),
    /// `ct zone set`, `ct original zone set`: of the one direction, where it is said.
    SetCtZone(Option<Direction>, Expr),
    /// `ct label set`: labels to add, a bit each.
    SetCtLabel(Expr),
    /// `ip dscp set`, `ip daddr set`.
    SetPayload(Header, HeaderField, Box<Expr>),
    /// `@nh,64,8 set`: where the bits are counted from, the first one, and how many.
    SetRaw(PayloadBase, u32, u32, Box<Expr>),
    /// `meta pkttype set`, where a chain of bridges or devices may set any.
    SetPkttype(Expr),
    /// `meta broute set`: a bridge leaves the frame to the stack of its port.
    SetBroute(Expr),
    /// ebtables' `redirect`: the frame is for the bridge itself.
    RedirectFrame {
        /// Whether the rule's verdict stands behind it. nft lists none where it has no words for the target.
        has_verdict: bool,
    },
    /// `notrack`.
    Notrack,
    /// `counter`, `log` and others that change nothing on a packet's way. As written.
    Harmless(Box<str>),
    /// `limit`: matches as long as there are no more. As written.
    Limit(NftLimit),
    /// `quota`.
    Quota(NftQuotaOf),
    /// `ct count`, or a named object that can stop the rule. As written.
    Unknowable(Box<str>),
    /// `add @set { key : value }` and its kin.
    Dynset(Box<NftDynset>),
    /// What changes nothing on a packet's way, but may end the rule: `meta priority set`, `tcp option … set`, `dup`.
    Aside(Box<NftAside>),
    /// `tproxy`: for one family or for both.
    Tproxy {
        /// The family, where it is for one.
        family: Option<Family>,
        /// As written.
        text: Box<str>,
    },
    /// `synproxy`: where it stands what it offers.
    Synproxy(NftOffer),
    /// `fwd`.
    Fwd(Box<NftFwd>),
    /// `flow add`. As written.
    FlowAdd(Box<str>),
    /// nft knows it, and it isn't modelled: an iptables extension. As written.
    Unmodelled(Box<str>),
    /// Not understood. As written.
    Unread(Box<str>),
    /// The rule names a chain or a set that is not there, or calls chains in a way that the kernel refuses. It stands
    /// behind the others, and does nothing itself.
    Refused(Box<Refused>),
}

impl Statement {
    /// Whether nothing of the packet, its connection or its way depends on it.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Harmless(_) | Self::Aside(_) | Self::Verdict(Verdict::Continue))
    }
}

/// What a rule does to a set.
#[derive(Clone, Debug, PartialEq)]
pub struct NftDynset {
    /// What is done.
    pub op: DynOp,
    /// To which set.
    pub set: Box<str>,
    /// The element.
    pub key: Expr,
    /// What a map gets for it.
    pub value: Option<Expr>,
    /// Whether a limit, quota or count stands in the element, which can stop the rule.
    pub limited: bool,
}

/// A statement without effect on the packet's way, and what it needs: without that the rule doesn't match.
#[derive(Clone, Debug, PartialEq)]
pub struct NftAside {
    /// The header that the packet must have.
    pub header: Option<Header>,
    /// What it uses: a map may lack the packet's key.
    pub values: Box<[Expr]>,
    /// What it writes for later rules to see.
    pub writes: Option<Beside>,
    /// Where it sends a copy.
    pub copy_to: Option<CopyTo>,
    /// As written.
    pub text: Box<str>,
}

/// Where `dup` sends a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum CopyTo {
    /// To a gateway, by the device where one is said (`nft_dup_ipv4.c`, `nft_dup_ipv6.c`).
    Gateway(Expr, Option<Expr>),
    /// By a device, as the frame is (`nft_dup_netdev.c`).
    Device(Expr),
}

/// What a statement without effect on the packet's way writes, and rules may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// `meta priority set`.
    Priority,
    /// `tcp option maxseg size set`.
    SegmentSize,
    /// Bits of a TCP option of this kind by their place.
    OptionBits(u8),
    /// `reset tcp option`: the option of this kind is gone.
    NoOption(u8),
}

/// Where it stands what `synproxy` offers.
#[derive(Clone, Debug, PartialEq)]
pub enum NftOffer {
    /// In the rule.
    Rule(NftSynproxy),
    /// In the object of the table that has this name.
    Object(Arc<str>),
    /// In the object whose name a map has for the packet.
    Map(Expr),
}

/// Which options of TCP `synproxy` offers to a client that has them too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NftSynproxy {
    /// `mss`. Where only the other is set, nft lists 0.
    pub mss: bool,
    /// `wscale`; `None` where nft lists 0, which is a scale too.
    pub wscale: Option<bool>,
    /// `timestamp`.
    pub timestamp: bool,
    /// `sack-perm`.
    pub sack_perm: bool,
}

/// By which device a packet is sent on (`nft_fwd_netdev.c`).
#[derive(Clone, Debug, PartialEq)]
pub struct NftFwd {
    /// The neighbour on it that gets the packet, and the family that the packet must be of; without one the frame goes
    /// out as it is.
    pub neighbor: Option<(Family, Expr)>,
    /// The device.
    pub device: Expr,
}

/// Where a packet goes on (`enum nft_verdicts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The base chain is done with it.
    Accept,
    /// It ends.
    Drop,
    /// The next rule.
    Continue,
    /// Back to the calling chain.
    Return,
    /// A program decides. True where it goes on without one.
    Queue(bool),
    /// Into a chain, to come back.
    Jump(ChainRef),
    /// Into a chain, not to come back here.
    Goto(ChainRef),
}

/// Which error `reject` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NftReject {
    /// An ICMP error of this type and code, about IPv4 packets.
    Icmp(u8, u8),
    /// An ICMPv6 error of this type and code.
    Icmpv6(u8, u8),
    /// `icmpx`: either, by the packet's family (`enum nft_reject_inet_code`).
    Icmpx(u8),
    /// A TCP reset.
    TcpReset,
}

/// Which addresses and ports a nat statement gives.
#[derive(Clone, Debug, PartialEq)]
pub struct NftNat {
    /// Which.
    pub kind: NatKind,
    /// The family of the address, where it is said; else that of the table.
    pub six: Option<bool>,
    /// The address, or both ends of a range.
    pub addr: Option<(Expr, Option<Expr>)>,
    /// The port, or both ends of a range.
    pub port: Option<(Expr, Option<Expr>)>,
    /// `prefix`: the packet keeps its own bits behind the prefix.
    pub prefix: bool,
    /// `random`.
    pub random: bool,
    /// `fully-random`.
    pub fully_random: bool,
    /// `persistent`.
    pub persistent: bool,
}

/// The nat statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum NatKind {
    Dnat,
    Snat,
    Masquerade,
    Redirect,
}

/// A limit as it is written; of a map of limits also that.
#[derive(Clone, Debug, PartialEq)]
pub struct NftLimit {
    /// The statement.
    pub text: Box<str>,
    /// The map that names a limit of the table for the packet.
    pub map: Option<Box<Expr>>,
}

/// Where it stands what a quota allows.
#[derive(Clone, Debug, PartialEq)]
pub enum NftQuotaOf {
    /// In the rule.
    Rule(NftQuota),
    /// In the object of the table that has this name.
    Object(Arc<str>),
    /// In the object whose name a map has for the packet.
    Map(Box<Expr>),
}

/// `quota over 25 mbytes used 3 bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NftQuota {
    /// `over`: it matches once the quota is used up.
    pub over: bool,
    /// In bytes.
    pub bytes: u64,
    /// How many were used.
    pub used: u64,
}

/// The three things that a rule can do to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum DynOp {
    Add,
    Update,
    Delete,
}

/// A named object other than sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "nft's own names")]
pub enum ObjectKind {
    Counter,
    Quota,
    Limit,
    CtHelper,
    CtTimeout,
    CtExpectation,
    Flowtable,
    Secmark,
    Synproxy,
}

/// What a rule makes of a packet's addresses.
pub type Rewritten = (IpAddr, IpAddr);
