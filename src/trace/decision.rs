//! The vocabulary of steps. The words that users see are kebab-case and for ever.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::net::{Hook, IfName, MacAddr, Mark, Packet, RouteType, TableId, Vni};

use super::EndCause;

/// One decision of the kernel. Whatever changes the packet or its place is a field here, so that a change can't
/// happen without a step (`Walk::take` applies it).
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A socket sends the packet.
    Send,
    /// The kernel sends this packet by itself: instead of one that it has taken, or beside it.
    SendOwn {
        /// The packet.
        packet: Box<Packet>,
    },
    /// A device hands the packet up.
    Receive {
        /// The device.
        device: IfName,
        /// At a bridge's port: whether bridge netfilter is on there, so that the IP hooks run before the bridge.
        bridge_netfilter: Option<bool>,
    },
    /// The packet leaves by a device.
    Transmit {
        /// The device.
        device: IfName,
    },
    /// A routing decision.
    Route {
        /// The table that held the route; `None` where a policy rule or no rule at all answered.
        table: Option<TableId>,
        /// The priority of the policy rule that led to it.
        rule_priority: Option<u32>,
        /// The route's prefix.
        prefix: Option<IpNet>,
        /// The route's type; `None` where there is no route.
        kind: Option<RouteType>,
        /// The gateway.
        via: Option<IpAddr>,
        /// The outgoing device.
        device: Option<IfName>,
        /// The source address that the route offers to local senders.
        source_hint: Option<IpAddr>,
        /// Other prefixes that also matched, shorter ones, for the curious.
        source: Option<IpAddr>,
    },
    /// The source address was checked.
    ReversePath {
        /// The device that the packet came in by.
        device: IfName,
        /// How strictly.
        mode: ReverseMode,
        /// Whether the packet may go on.
        passed: bool,
    },
    /// The packet is forwarded: TTL goes down.
    Forward(Forwarded),
    /// A netfilter rule matched.
    Rule {
        /// The hook that called the base chain.
        hook: Hook,
        /// `ip`, `ip6`, `inet`, `bridge`, `arp` or `netdev`.
        family: &'static str,
        /// `nft` or `legacy`.
        backend: &'static str,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
        /// The rule's place in the chain, from 1.
        index: u32,
        /// The rule as written.
        text: String,
        /// What it decided.
        verdict: RuleVerdict,
        /// The packet's new mark, where the rule sets it.
        mark: Option<Mark>,
        /// The packet's new TOS, where the rule sets it.
        tos: Option<u8>,
        /// The packet's new TTL, where the rule sets it.
        ttl: Option<u8>,
        /// The segment's new TCP flags, where the rule sets them.
        flags: Option<u8>,
        /// The packet's new length, where the rule changes it.
        length: Option<u32>,
    },
    /// A base chain's policy decided.
    Policy {
        /// The hook.
        hook: Hook,
        /// The family, as in [`Decision::Rule`].
        family: &'static str,
        /// `nft` or `legacy`.
        backend: &'static str,
        /// The table.
        table: String,
        /// The chain.
        chain: String,
        /// Accept or drop.
        verdict: RuleVerdict,
    },
    /// A source route gives the packet its next destination.
    SourceRoute {
        /// The destination.
        destination: IpAddr,
    },
    /// Connection tracking looked.
    Conntrack {
        /// What it found.
        state: CtState,
    },
    /// Addresses or ports were rewritten.
    Nat {
        /// In which way.
        change: NatChange,
        /// The packet with the new addresses and ports.
        to: Box<Packet>,
        /// The address and port that were replaced.
        from_endpoint: (IpAddr, Option<u16>),
        /// The address and port that stand now.
        to_endpoint: (IpAddr, Option<u16>),
    },
    /// The next hop's link-layer address.
    Neighbor {
        /// The next hop.
        address: IpAddr,
        /// The device it is reached by.
        device: IfName,
        /// Its address, `None` where it doesn't resolve.
        lladdr: Option<MacAddr>,
        /// The entry's state; `None` where the snapshot has none and it is resolved anew.
        state: Option<&'static str>,
        /// Whether it is taken to be there without the snapshot's showing it.
        assumed: bool,
        /// The sending device's address, which becomes the frame's source.
        source: Option<MacAddr>,
    },
    /// A forwarding entry decided.
    Fdb {
        /// The bridge or VXLAN device.
        device: IfName,
        /// The address looked up.
        lladdr: MacAddr,
        /// The bridge port that it leads to (the bridge itself for local delivery).
        port: Option<IfName>,
        /// The remote VTEP that it leads to.
        vtep: Option<IpAddr>,
        /// The other ports that get a copy, where the frame is flooded.
        flooded: Vec<IfName>,
    },
    /// A tunnel was put on.
    Encapsulate {
        /// The tunnel device.
        device: IfName,
        /// `vxlan` or `relay`.
        tunnel: &'static str,
        /// The network identifier.
        vni: Option<Vni>,
        /// The outer packet, with the inner one inside.
        packet: Box<Packet>,
    },
    /// A tunnel was taken off.
    Decapsulate {
        /// The tunnel device that gets the inner packet.
        device: IfName,
        /// `vxlan` or `relay`.
        tunnel: &'static str,
        /// The network identifier.
        vni: Option<Vni>,
    },
    /// A program behind a TUN device carries the packet on.
    Userspace {
        /// The TUN device.
        device: IfName,
        /// The program.
        program: String,
        /// How much TTL it takes.
        ttl_cost: u8,
    },
    /// The network between nodes carries the packet on.
    Underlay {
        /// Whether the snapshot doesn't hold the network that does it.
        assumed: bool,
        /// What was assumed, in words.
        note: Option<String>,
        /// How many routers were assumed on the way, each of which takes one off TTL.
        routers: u8,
    },
    /// The packet was split to fit the device's MTU.
    Fragment {
        /// The MTU in bytes.
        mtu: u32,
        /// How many pieces there are.
        count: u32,
        /// Total length in bytes of the largest piece.
        largest: u32,
    },
    /// The end.
    End {
        /// How it ended.
        verdict: Verdict,
        /// Why.
        reason: Option<Reason>,
        /// More about it, in words.
        detail: Option<String>,
        /// Which of several things it was that end packets so.
        cause: Option<EndCause>,
        /// The ICMP error's type and code.
        icmp: Option<(u8, u8)>,
        /// The address that the ICMP error is sent from.
        icmp_source: Option<IpAddr>,
        /// Whether a TCP reset was sent.
        tcp_reset: bool,
        /// The error that the sender's own stack gives.
        errno: Option<&'static str>,
    },
}

/// What `ip_forward` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// TTL afterwards.
    pub ttl: u8,
    /// The MTU that the packet had to fit, in bytes.
    pub mtu: Option<u32>,
}

/// What a rule or a policy decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "netfilter's own words")]
pub enum RuleVerdict {
    Accept,
    Drop,
    Reject,
    Continue,
    Return,
    Jump,
    Goto,
    Queue,
    Stolen,
}

impl RuleVerdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Continue => "continue",
            Self::Return => "return",
            Self::Jump => "jump",
            Self::Goto => "goto",
            Self::Queue => "queue",
            Self::Stolen => "stolen",
        }
    }
}

/// What connection tracking knows about the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "netfilter's own words")]
pub enum CtState {
    New,
    Established,
    Related,
    Invalid,
    Untracked,
}

impl CtState {
    /// The word for it, as `--ctstate` takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Established => "ESTABLISHED",
            Self::Related => "RELATED",
            Self::Invalid => "INVALID",
            Self::Untracked => "UNTRACKED",
        }
    }
}

/// Which addresses were rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatChange {
    /// The source, by a rule.
    Snat,
    /// The destination, by a rule.
    Dnat,
    /// The destination of an answer goes back to what it was before `Snat`.
    SnatReply,
    /// The source of an answer goes back to what it was before `Dnat`.
    DnatReply,
}

impl NatChange {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snat => "snat",
            Self::Dnat => "dnat",
            Self::SnatReply => "snat-reply",
            Self::DnatReply => "dnat-reply",
        }
    }
}

/// How the source address is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReverseMode {
    /// Not at all beyond martian addresses.
    Off,
    /// The best way back must leave by the device (1).
    Strict,
    /// Some way back must exist (2).
    Loose,
}

impl ReverseMode {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::Loose => "loose",
        }
    }
}

/// How a packet's way ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It reached a namespace's own stack.
    Delivered,
    /// It left the snapshot's network, rightly.
    Left,
    /// It ended silently.
    Dropped,
    /// An ICMP error or a TCP reset was made, or the sender's own stack refused.
    Rejected,
    /// It left by a way on which nobody receives it.
    Lost,
    /// It came back to the same state, with nothing that ends it.
    Looped,
    /// What decides is not in the snapshot, or not modelled.
    Undetermined,
    /// At the top only: the ways differ.
    Mixed,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Left => "left",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::Lost => "lost",
            Self::Looped => "looped",
            Self::Undetermined => "undetermined",
            Self::Mixed => "mixed",
        }
    }

    /// The kind of the step that says so.
    #[must_use]
    pub fn step_kind(self) -> &'static str {
        match self {
            Self::Delivered => "deliver",
            Self::Left => "left",
            Self::Dropped => "drop",
            Self::Rejected => "reject",
            Self::Lost => "lost",
            Self::Looped => "looped",
            Self::Undetermined | Self::Mixed => "undetermined",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// Why a packet ended where it did. The words are part of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $word] #[$doc])* $name,)+
        }

        impl Reason {
            /// Every reason, for the schema.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The kebab-case word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

reasons! {
    /// : no route matched.
    NoRoute = "no-route",
    /// : a blackhole route or policy rule.
    Blackhole = "blackhole",
    /// : an unreachable route or policy rule.
    Unreachable = "unreachable",
    /// : a prohibit route or policy rule.
    Prohibit = "prohibit",
    /// : the source address failed the reverse path check.
    RpFilter = "rp-filter",
    /// : a source address that can't be.
    MartianSource = "martian-source",
    /// : a destination address that can't be.
    MartianDestination = "martian-destination",
    /// : forwarding is off for the device that the packet came in by.
    NotForwarding = "not-forwarding",
    /// : a netfilter rule ended it.
    Rule = "rule",
    /// : a base chain's policy ended it.
    Policy = "policy",
    /// : TTL or hop limit ran out.
    TtlExceeded = "ttl-exceeded",
    /// : larger than the MTU, and not to be fragmented.
    FragmentationNeeded = "fragmentation-needed",
    /// : a bridge port or veth takes no frame of this size.
    TooBig = "too-big",
    /// : the next hop's link address can't be found.
    NeighborFailed = "neighbor-failed",
    /// : the tunnel or bridge has no entry for the link address.
    FdbMiss = "fdb-miss",
    /// : the frame is addressed to another host's link address.
    OtherHost = "other-host",
    /// : nobody in the snapshot takes this frame.
    NoReceiver = "no-receiver",
    /// : nobody listens for this packet where it was delivered.
    NoListener = "no-listener",
    /// : the device is down or has no carrier.
    DeviceDown = "device-down",
    /// : the device is not in the namespace.
    NoDevice = "no-device",
    /// : the peer has no tunnel with this network identifier.
    VniMismatch = "vni-mismatch",
    /// : nobody listens for the tunnel at the other end.
    NoVtep = "no-vtep",
    /// : the relay has no entry for the destination.
    NoRelay = "no-relay",
    /// : the packet would leave by the bridge port it came in by.
    HairpinOff = "hairpin-off",
    /// : both bridge ports are isolated.
    IsolatedPort = "isolated-port",
    /// : the bridge port is not in the forwarding state.
    PortNotForwarding = "port-not-forwarding",
    /// : the tunnel's route leads into the tunnel.
    TunnelLoop = "tunnel-loop",
    /// : the tunnel has no source address to send from.
    NoSource = "no-source",
    /// : an answer reached its receiver from an address or port that its socket doesn't talk to.
    ReplyNotMatched = "reply-not-matched",
    /// : the receiver is set to answer no echoes.
    EchoIgnored = "echo-ignored",
    /// : a checksum is wrong where it is checked.
    BadChecksum = "bad-checksum",
    /// : the address belongs to the cluster, and nobody on this way has it.
    NobodyOwns = "nobody-owns",
    /// : where a packet from outside enters is not known.
    UnknownEntry = "unknown-entry",
    /// : the same state came back.
    Loop = "loop",
    /// : a table that decides is not in the snapshot.
    MissingTable = "missing-table",
    /// : something that decides is not modelled.
    NotModelled = "not-modelled",
    /// : what decides is in no table: a program, or a connection that the kernel itself opens.
    Userspace = "userspace",
    /// : the walk grew beyond its bounds.
    TooLong = "too-long",
    /// : connection tracking refused the packet.
    Conntrack = "conntrack",
    /// : NAT found no address or port to give.
    NatFailed = "nat-failed",
    /// : the protocol is not what the receiver takes.
    ProtocolUnreachable = "protocol-unreachable",
    /// : the sender has no address to send from.
    NoAddress = "no-address",
    /// : an IP option or an extension header that the kernel doesn't take.
    BadHeader = "bad-header",
    /// : the packet would choose its own way, which is not followed.
    SourceRoute = "source-route",
    /// : a broadcast or multicast, which flowtrace doesn't walk.
    NotUnicast = "not-unicast",
    /// : the frame is for many, in which the receiver takes no such packet, or comes from a group.
    GroupFrame = "group-frame",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
