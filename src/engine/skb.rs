//! What the kernel keeps beside a packet's headers (`struct sk_buff`).

use std::cell::Cell;
use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr};
use crate::snapshot::NetnsId;

use super::checksum::Checksum;
use super::conntrack::{Nfct, UnknownPort};
use super::end::End;
use super::options::Kept;
use super::pkt_type::PktType;
use super::route::Dst;
use super::tcp_options::TcpOptions;

/// What the kernel keeps beside the packet (`struct sk_buff`) and that is no part of its headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Skb {
    /// The connection, and the packet's direction in it.
    pub nfct: Nfct,
    /// The routing decision.
    pub dst: Option<Dst>,
    /// The device that the packet came in by (`skb_iif`); `None` for what the namespace itself sent.
    pub iif: Option<IfName>,
    /// What bridge netfilter keeps: set while a bridged packet is in the IP hooks.
    pub nf_bridge: Option<NfBridge>,
    /// A packet of this namespace's own that has not reached a device: its sender hears of drops at once.
    pub own: bool,
    /// The frame is for this host whatever its destination address says (`PACKET_HOST`).
    pub to_host: bool,
    /// What rules have made of the frame's type; `None` where its address says it.
    pub pkt_type: Option<PktType>,
    /// A rule has given the frame its source.
    pub new_source: bool,
    /// Which port of the packet nobody knows, and those of the packets inside.
    pub unknown_port: UnknownPort,
    pub inner_unknown_ports: Vec<UnknownPort>,
    /// The hash of the packet's ports, once a tunnel has asked for it (`skb->hash`).
    pub flow_hash: Option<UnknownPort>,
    /// Between which ports an unknown source port is.
    pub sport_bounds: Option<(u16, u16)>,
    /// The next hop on the link, and who answers for it where the neighbour table doesn't say.
    pub next_hop: Option<NextHopOnLink>,
    /// How far a tunnel packet's checksums are.
    pub checksum: Checksum,
    /// A rule has put an address in place of another one that sums up to something else (`NPT`), so that the checksum of what
    /// the packet carries fits no longer.
    pub unfit_sum: bool,
    /// The packet may be split although nobody allowed it: IPv6's pieces, put together by connection tracking, of which
    /// nothing tells any more how large they were (`skb->ignore_df`).
    pub ignore_df: bool,
    /// The rules that are asked see each piece of the packet for itself.
    pub in_pieces: bool,
    /// Who sent the frame that the question is about, until another one is sent, and whether a rule has asked for that.
    pub sender: Sender,
    pub asked_sender: Cell<bool>,
    /// Whom that frame is for, where a rule has asked for it and the question doesn't say, and the line of who that is.
    pub asked_destination: Cell<Option<(MacAddr, Evidence)>>,
    /// What the rule that runs has asked of a piece.
    pub asked: Cell<Asked>,
    /// A VXLAN device has put the frame back into the stack.
    pub came_back: Option<CameBack>,
    /// The device that an ICMPv6 echo came in by, which the lookup for the answer to it names.
    pub echo_dev: Option<IfName>,
    /// The packet came in with IPv6's options for each hop as its first header (`IP6SKB_HOPBYHOP`).
    pub has_hop_options: bool,
    /// What the stack keeps of the packet's IPv4 options, once it has read them.
    pub options: Option<Kept>,
    /// What rules have made of a segment's options.
    pub tcp_options: TcpOptions,
    /// What queues sort the packet by.
    pub priority: Priority,
    /// A rule has taken the packet and sends it by this device (`NF_STOLEN`).
    pub send_by: Option<IfName>,
    /// A rule has the bridge leave the frame to the stack of its port (`br_netfilter_broute`).
    pub broute: bool,
    /// How often rules have done so while the packet is being sent.
    pub sent_on: u8,
    /// A copy that a rule sends to a gateway, until a device has it: the device, which hooks take for the one that it came in
    /// by. Rules make no copy of it meanwhile (`in_nf_duplicate`).
    pub copied_to: Option<IfName>,
    /// Bridge netfilter routed the packet and the route was an error, which the IP layer will act on.
    pub dst_error: Option<Box<End>>,
}

/// `skb->priority`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Priority {
    /// What the sender's socket has (`SO_PRIORITY`), or a tag of the frame says: no snapshot tells.
    #[default]
    Senders,
    /// This one.
    Known(u32),
    /// It depends on a rule of which nobody knows what it did.
    Open,
}

/// The link address that a frame comes from whose link header the question doesn't give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sender {
    /// The frame is not the question's.
    #[default]
    NotAsked,
    /// Nobody knows; `--mac` would say.
    Unknown,
    /// This one, as the question says.
    Given(MacAddr),
    /// This one, if it comes from the host that the neighbour table has for the packet's source, by this row.
    Neighbour(MacAddr, IpAddr, Evidence),
}

/// What a rule asks of a piece of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    /// Nothing but what all pieces have in common.
    #[default]
    Common,
    /// What only the first piece has: on the others the rule doesn't match.
    First,
    /// What is another one's each time.
    Each,
}

/// A frame that a VXLAN device put back into the stack, as one for this host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CameBack {
    /// The tunnel's entry that did so.
    pub entry: Evidence,
    /// Whether the stack has it.
    pub is_received: bool,
}

/// Who a frame is for, as far as the sender knows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NextHopOnLink {
    pub address: IpAddr,
    /// The device in the snapshot that answered.
    pub owner: Option<DevRef>,
}

/// A device of a namespace.
pub(super) type DevRef = (NetnsId, IfName);

/// `struct nf_bridge_info`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NfBridge {
    /// The bridge port that the packet came in by.
    pub physin: Option<IfName>,
    /// The bridge port that it leaves by.
    pub physout: Option<IfName>,
    /// The IP prerouting hooks have run and must not run again.
    pub sabotage: bool,
    /// The frame has the bridge's own route, which leads nowhere (`br_netfilter_rtable_init` in
    /// `net/bridge/br_nf_core.c`), where it has no other.
    pub fake_route: bool,
}
