//! Connection tracking: which connection a packet belongs to, and which way.
//!
//! Follows `net/netfilter/nf_conntrack_core.c` and the `nf_conntrack_proto_*.c` beside it. The connections are those
//! of the snapshot's `conntrack` files and those that this walk has made.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::{IfName, MacAddr, Mark, Packet, Protocol, Transport};
use crate::snapshot::{ConntrackEntry, ConntrackTuple, HookFn, NetnsId};
use crate::trace::{CtState, Decision, Hook, Reason};

use super::conntrack_kept::Kept;
use super::conntrack_sctp;
use super::conntrack_tcp::{self, Seen, Sequence, TcpState};
use super::conntrack_tuple::{invert, tuple_of};
use super::conntrack_zone::Zone;
use super::end::{End, Stage};
use super::ipset::ChangedSets;
use super::matches::recent::Written;
use super::multipath::MultipathFlow;
use super::sysctl;
use super::unread;
use super::walk::Walk;

/// A connection that the walk knows, as an index into [`Tracker::entries`].
pub(super) type CtId = usize;

/// A packet's direction in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dir {
    Original,
    Reply,
}

impl Dir {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// Which port it is that nobody knows: two ports drawn at random are not the same one. 0 where every port is known.
pub(super) type UnknownPort = u32;

/// A packet's connection (`skb->_nfct`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CtRef {
    pub id: CtId,
    pub dir: Dir,
    pub state: CtState,
}

/// What connection tracking attached to a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Nfct {
    /// Nothing: not seen yet, or seen and invalid.
    #[default]
    None,
    /// An error about a packet that isn't tracked: it belongs to no connection, and no rule can say more about that
    /// (`nf_conntrack_attach` leaves `IP_CT_RELATED` without a connection).
    Attached,
    /// A rule said not to track it.
    Untracked,
    /// A rule chose the zone that it will be tracked in.
    Template(Zone),
    /// `SYNPROXY` opens its connection for the client.
    Proxy,
    /// Its connection.
    Entry(CtRef),
}

/// A tracked connection (`struct nf_conn`).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CtEntry {
    pub netns: NetnsId,
    pub protocol: Protocol,
    pub original: ConntrackTuple,
    pub reply: ConntrackTuple,
    pub zone: Zone,
    pub mark: Mark,
    /// `IPS_SRC_NAT`, `IPS_DST_NAT`: this connection's addresses are rewritten.
    pub snat: bool,
    pub dnat: bool,
    /// `IPS_SRC_NAT_DONE`, `IPS_DST_NAT_DONE`: the nat rules have been asked.
    pub snat_done: bool,
    pub dnat_done: bool,
    pub seen_reply: bool,
    pub assured: bool,
    /// A packet makes it assured if it is older than two seconds, which no snapshot tells (`nf_conntrack_udp_packet` in
    /// `nf_conntrack_proto_udp.c`).
    pub maybe_assured: bool,
    pub confirmed: bool,
    /// Its ports are another connection's too, since none was left.
    pub clashes: bool,
    pub expected: bool,
    /// `IPS_OFFLOAD`: a flowtable forwards its packets, past the hooks.
    pub offloaded: bool,
    /// TCP's state; `None` for other protocols, and where the snapshot doesn't say it.
    pub tcp_state: Option<TcpState>,
    /// Whether it is over, and found by nobody any more.
    pub dead: bool,
    /// Which unknown port stands in the tuple of each direction.
    pub original_unknown: UnknownPort,
    pub reply_unknown: UnknownPort,
    /// The row of the snapshot.
    pub evidence: Option<Evidence>,
    /// The rules that rewrote the source and the destination.
    pub snat_because: Option<Evidence>,
    pub dnat_because: Option<Evidence>,
    /// What it keeps beside all that.
    pub kept: Kept,
}

impl CtEntry {
    /// Both directions have been seen, though only one was walked.
    pub(super) fn assume_answered(&mut self) {
        (self.seen_reply, self.assured) = (true, true);
        self.tcp_state = self.tcp_state.map(|_| TcpState::Established);
    }

    pub(super) fn tuple(&self, dir: Dir) -> &ConntrackTuple {
        match dir {
            Dir::Original => &self.original,
            Dir::Reply => &self.reply,
        }
    }
}

/// What the kernel hashes of a flow: two addresses, and the port that nobody knows.
pub(super) type HashedFlow = (IpAddr, IpAddr, UnknownPort);

/// What one walk leaves for the next: connections, and what bridges learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tracker {
    pub entries: Vec<CtEntry>,
    /// Ports that bridges learned from what went through: namespace, bridge, address with its VLAN, port.
    pub learned: Vec<(NetnsId, IfName, (MacAddr, u16), IfName)>,
    /// What `recent` rules wrote into their lists.
    pub recent: Vec<Written>,
    /// The elements of nft's sets that rules wrote.
    pub nft_elements: Vec<super::nft::WrittenElement>,
    /// What has been counted by quotas of nft since the snapshot: the line of one, and how many bytes at least and at most.
    pub quotas: Vec<(Evidence, (u32, u32))>,
    /// In which orders chains of one priority may have been called, where others would have made a difference: at which
    /// hook, and what in turn.
    pub orders: Vec<(NetnsId, Hook, Vec<Vec<HookFn>>)>,
    /// The ways of multipath routes that flows have taken: namespace, route, flow; which way.
    pub selected: Vec<((NetnsId, Evidence, MultipathFlow), usize)>,
    /// What rules changed in ipsets.
    pub sets: ChangedSets,
    /// The unknown source ports of tunnel packets, by the flow that they are a hash of.
    pub tunnel_ports: Vec<(HashedFlow, UnknownPort)>,
    /// How many unknown ports there are.
    pub unknown_ports: UnknownPort,
    /// SYNs that `SYNPROXY` has answered with a cookie.
    pub syn_cookies: Vec<(NetnsId, ConntrackTuple)>,
    /// Link addresses that answered when they were asked for: every bridge on the way has learned them.
    pub resolved: Vec<MacAddr>,
    /// Neighbours that were asked and have answered, so that they are `REACHABLE`.
    pub reached: Vec<(NetnsId, IfName, IpAddr)>,
    /// Who asked for a neighbour, so that the one asked knows it: the asked namespace and device, the asker's address.
    pub heard: Vec<(NetnsId, IfName, IpAddr)>,
}

impl Tracker {
    /// Whether an address has asked for one of this device.
    pub(super) fn has_heard(&self, netns: NetnsId, dev: &IfName, address: IpAddr) -> bool {
        self.heard.iter().any(|(asked, at, asker)| (*asked, at, *asker) == (netns, dev, address))
    }

    /// Whether a neighbour has answered this namespace before.
    pub(super) fn has_reached(&self, netns: NetnsId, dev: &IfName, address: IpAddr) -> bool {
        self.reached.iter().any(|(asked, at, reached)| (*asked, at, *reached) == (netns, dev, address))
    }

    /// A port that nobody knows, and that is none of those before.
    pub(super) fn draw_port(&mut self) -> UnknownPort {
        self.unknown_ports += 1;
        self.unknown_ports
    }

    /// The source port of the tunnel packets that a flow's hash leads to.
    pub(super) fn tunnel_port(&mut self, flow: HashedFlow) -> UnknownPort {
        let known = self.tunnel_ports.iter().find(|(known, _)| *known == flow);
        if let Some((_, port)) = known {
            return *port;
        }
        let port = self.draw_port();
        self.tunnel_ports.push((flow, port));
        port
    }
}

/// Looks at a packet (`nf_conntrack_in`). The kernel refuses nothing here: a packet without a connection is `INVALID`.
pub(super) fn nf_conntrack_in(walk: &mut Walk, hook: Hook) -> Stage<()> {
    let zone = match walk.skb.nfct {
        Nfct::Entry(_) | Nfct::Untracked => return Ok(()),
        Nfct::Template(zone) => zone.at(walk.packet().mark),
        Nfct::None | Nfct::Attached | Nfct::Proxy => Zone::default(),
    };
    let before = std::mem::take(&mut walk.skb.nfct);
    let evidence = resolve(walk, zone);
    if (before, walk.skb.nfct) == (Nfct::Attached, Nfct::None) {
        walk.skb.nfct = before;
    }
    if let (Nfct::Proxy, Nfct::Entry(ct)) = (before, walk.skb.nfct)
        && let Some(entry) = walk.tracker.entries.get_mut(ct.id)
    {
        // What is there already was not made from the template (`init_conntrack`).
        entry.kept.proxied |= !entry.confirmed;
    }
    let state = state(walk);
    walk.take(Decision::Conntrack { state }, evidence);
    if hook == Hook::Prerouting { not_offloaded(walk) } else { Ok(()) }
}

/// A packet of a connection that is in a flowtable doesn't come here if it came in by one of the flowtable's devices,
/// unless it ends the connection (`nf_flow_offload_ip_hook` in `net/netfilter/nf_flow_table_ip.c`).
fn not_offloaded(walk: &Walk) -> Stage<()> {
    let Some(entry) = entry(walk).filter(|entry| entry.offloaded) else { return Ok(()) };
    if tcp_flags(walk).is_some_and(|flags| flags & 0x05 != 0) {
        return Ok(());
    }
    let (from, to) = (entry.original.source, entry.original.destination);
    let what = format!("the connection {from} > {to} is in a flowtable, whose way past the rules is not modelled");
    Err(End::undetermined(Reason::NotModelled, what).because(entry.evidence))
}

/// A helper (`helper=ftp`) may expect a connection between the hosts of one that it looks into: that one is RELATED and
/// translated as the first one was (`init_conntrack` in `net/netfilter/nf_conntrack_core.c`). No snapshot holds what is
/// expected.
fn note_expectations(walk: &mut Walk, tuple: &ConntrackTuple) {
    let Some(entry) = walk.netns().conntrack.as_ref().and_then(|table| table.helped_between(tuple)) else { return };
    let (from, to, line) = (entry.original.source, entry.original.destination, entry.evidence);
    let what = format!(
        "the helper of the connection {from} > {to} may expect the one {} > {}, which is RELATED then: the walk takes it \
         to be new",
        tuple.source, tuple.destination
    );
    walk.doubt(what, Some(line));
}

fn resolve(walk: &mut Walk, zone: Zone) -> Option<Evidence> {
    if is_neighbor_discovery(walk.packet()) {
        walk.skb.nfct = Nfct::Untracked;
        return None;
    }
    if let Transport::Icmp { quoted: Some(quoted), .. } = &walk.packet().transport {
        let quoted = quoted.clone();
        return inet_error(walk, &quoted, zone);
    }
    note_no_quote(walk);
    let protocol = walk.packet().protocol();
    let tuple = tuple_of(walk.packet());
    if tcp_flags(walk).is_some_and(|flags| !conntrack_tcp::are_flags_valid(flags)) {
        return None;
    }
    let (id, dir) = if let Some(found) = find(walk, protocol, &tuple, zone) {
        found
    } else {
        note_expectations(walk, &tuple);
        (init_conntrack(walk, protocol, &tuple, zone)?, Dir::Original)
    };
    match tcp_packet(walk, id, dir) {
        Seen::Invalid => return walk.tracker.entries.get(id)?.evidence,
        Seen::Reopens => {
            walk.tracker.entries.get_mut(id)?.dead = true;
            return resolve(walk, zone);
        }
        _ => {}
    }
    let length = walk.packet().length;
    let entry = walk.tracker.entries.get_mut(id)?;
    entry.kept.count(dir, length);
    let state = match dir {
        Dir::Reply => CtState::Established,
        Dir::Original if entry.seen_reply => CtState::Established,
        Dir::Original if entry.expected => CtState::Related,
        Dir::Original => CtState::New,
    };
    entry.maybe_assured |= protocol == Protocol::UDP && entry.seen_reply && entry.evidence.is_some();
    if dir == Dir::Reply {
        entry.seen_reply = true;
    }
    let evidence = entry.evidence;
    walk.skb.nfct = Nfct::Entry(CtRef { id, dir, state });
    evidence
}

/// An ICMP error is of no connection unless it quotes a packet of one.
fn note_no_quote(walk: &mut Walk) {
    if walk.packet().is_icmp_error() && walk.given.payload.is_none() {
        let what = "which packet the ICMP error is about is not known (--payload gives it): it is taken to be of no \
                    connection";
        walk.gap(what, None);
    }
}

fn tcp_flags(walk: &Walk) -> Option<u8> {
    match walk.packet().transport {
        Transport::Tcp { flags, .. } => Some(flags),
        _ => None,
    }
}

/// What a segment does to its connection, whose state it changes (`nf_conntrack_tcp_packet`). What closed a connection
/// with a reset is not in a snapshot.
fn tcp_packet(walk: &mut Walk, id: CtId, dir: Dir) -> Seen {
    let found = walk.tracker.entries.get(id).filter(|entry| entry.confirmed);
    let Some((entry, flags)) = found.zip(tcp_flags(walk)) else { return Seen::Ignored };
    let (Some(old), evidence) = (entry.tcp_state, entry.evidence) else { return Seen::Ignored };
    let mut seen = conntrack_tcp::tcp_packet(old, dir, flags);
    if seen == Seen::ReopensOwnReset {
        let what = "the reset that closed this connection came from the same side, so that a SYN starts it anew";
        seen = if walk.choose_unknown(what, evidence) { Seen::Reopens } else { Seen::Ignored };
    }
    if matches!(seen, Seen::Goes(_)) {
        note_window(walk, old, flags, evidence);
    }
    if let Seen::Goes(state) = seen
        && let Some(entry) = walk.tracker.entries.get_mut(id)
    {
        entry.tcp_state = Some(state);
        let opened = matches!(old, TcpState::SynRecv | TcpState::Established) && state == TcpState::Established;
        entry.assured |= opened && entry.seen_reply;
    }
    seen
}

/// Which sequence numbers a connection of the snapshot is at is not in its row, and a segment is taken to be where it
/// belongs (`tcp_in_window`, and what `nf_conntrack_tcp_packet` asks of a reset).
fn note_window(walk: &mut Walk, state: TcpState, flags: u8, row: Option<Evidence>) {
    const LIBERAL: &str = "net.netfilter.nf_conntrack_tcp_be_liberal";
    const ANY_RESET: &str = "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst";
    let Some(row) = row else { return };
    let netns = walk.netns();
    let asked = conntrack_tcp::asks_sequence(state, flags);
    let strict = [(asked.is_some(), LIBERAL), (asked == Some(Sequence::OfReset), ANY_RESET)];
    let strict = strict.into_iter().find(|(asks, key)| *asks && !sysctl::is_set(netns, key));
    let Some((_, key)) = strict else { return };
    let what = format!(
        "the table of connections doesn't hold TCP's sequence numbers, and the segment is taken to be inside its window: \
         unless {key} is set, one outside is INVALID and not translated"
    );
    let line = sysctl::number(netns, key).map(|(_, line)| line);
    walk.gap(what, [row].into_iter().chain(line));
}

/// `icmpv6_error` leaves neighbour and multicast listener messages untracked.
fn is_neighbor_discovery(packet: &Packet) -> bool {
    packet.protocol() == Protocol::ICMPV6 && matches!(packet.transport, Transport::Icmp { kind: 130..=136 | 143, .. })
}

/// The connection of an ICMP error: that of the packet it quotes (`nf_conntrack_inet_error`).
fn inet_error(walk: &mut Walk, quoted: &Packet, zone: Zone) -> Option<Evidence> {
    let protocol = quoted.protocol();
    let tuple = invert(protocol, &tuple_of(quoted))?;
    let (id, dir) = find(walk, protocol, &tuple, zone)?;
    let entry = walk.tracker.entries.get(id)?;
    // An error whose outer destination is not the one that the connection knows is invalid.
    if walk.packet().ip.destination != entry.tuple(dir).destination {
        return None;
    }
    walk.skb.nfct = Nfct::Entry(CtRef { id, dir, state: CtState::Related });
    entry.evidence
}

/// The connection that a tuple belongs to, and which way (`nf_conntrack_find_get`). A port that nobody knows is the
/// same as itself only: the two directions of a tunnel have source ports of their own.
fn find(walk: &mut Walk, protocol: Protocol, tuple: &ConntrackTuple, zone: Zone) -> Option<(CtId, Dir)> {
    let netns = walk.netns_id();
    let unknown = walk.skb.unknown_port;
    let direction = |entry: &CtEntry| {
        let ours = entry.netns == netns && entry.protocol == protocol;
        if !ours || !entry.confirmed || entry.dead {
            None
        } else if zone.holds(entry, Dir::Original, tuple) && entry.original_unknown == unknown {
            Some(Dir::Original)
        } else if zone.holds(entry, Dir::Reply, tuple) && entry.reply_unknown == unknown {
            Some(Dir::Reply)
        } else {
            None
        }
    };
    let known = walk.tracker.entries.iter().enumerate().find_map(|(id, entry)| direction(entry).map(|dir| (id, dir)));
    if known.is_some() {
        return known;
    }
    let row = walk
        .netns()
        .conntrack
        .as_ref()?
        .with_tuple(tuple)
        .find(|row| zone.holds_row(row, tuple) && row.protocol == protocol && !is_over(walk, row));
    let Some(row) = row else {
        unread::doubt_conntrack(walk, tuple);
        return None;
    };
    let entry = from_row(netns, row);
    let dir = direction(&entry)?;
    walk.tracker.entries.push(entry);
    Some((walk.tracker.entries.len() - 1, dir))
}

/// Whether the walk has ended a connection of the snapshot.
fn is_over(walk: &Walk, row: &ConntrackEntry) -> bool {
    let netns = walk.netns_id();
    walk.tracker.entries.iter().any(|entry| entry.dead && entry.netns == netns && entry.evidence == Some(row.evidence))
}

/// Whether some confirmed connection of the namespace and zone already has this tuple (`nf_nat_used_tuple`).
pub(super) fn is_used(walk: &Walk, protocol: Protocol, tuple: &ConntrackTuple, except: CtId) -> bool {
    let netns = walk.netns_id();
    let zone = walk.tracker.entries.get(except).map_or(Zone::default(), |entry| entry.zone);
    // Ports drawn at random are taken to differ, and one that nobody knows is the same only as itself.
    let unknown = walk.tracker.entries.get(except).map_or(0, |entry| entry.reply_unknown);
    let in_walk = walk.tracker.entries.iter().enumerate().any(|(id, entry)| {
        id != except
            && entry.netns == netns
            && entry.protocol == protocol
            && entry.confirmed
            && !entry.dead
            && (zone.holds(entry, Dir::Original, tuple) && entry.original_unknown == unknown
                || zone.holds(entry, Dir::Reply, tuple) && entry.reply_unknown == unknown)
    });
    let mut rows = walk.netns().conntrack.iter().flat_map(|table| table.with_tuple(tuple));
    in_walk || rows.any(|row| zone.holds_row(row, tuple) && row.protocol == protocol && !is_over(walk, row))
}

fn from_row(netns: NetnsId, row: &ConntrackEntry) -> CtEntry {
    let inverted = invert(row.protocol, &row.original);
    let snat = inverted.is_some_and(|answer| {
        answer.destination != row.reply.destination || answer.destination_port != row.reply.destination_port
    });
    let dnat =
        inverted.is_some_and(|answer| answer.source != row.reply.source || answer.source_port != row.reply.source_port);
    CtEntry {
        netns,
        protocol: row.protocol,
        original: row.original,
        reply: row.reply,
        zone: Zone::of_row(row),
        mark: row.mark,
        snat,
        dnat,
        snat_done: true,
        dnat_done: true,
        seen_reply: !row.unreplied,
        assured: row.assured,
        maybe_assured: false,
        confirmed: true,
        clashes: false,
        expected: false,
        offloaded: row.offloaded,
        tcp_state: row.state.as_deref().and_then(TcpState::named),
        dead: false,
        original_unknown: 0,
        reply_unknown: 0,
        evidence: Some(row.evidence),
        snat_because: Some(row.evidence),
        dnat_because: Some(row.evidence),
        kept: Kept::of_row(row),
    }
}

/// A new connection (`init_conntrack` and the protocols' `*_new`); `None` where the first packet can't start one.
fn init_conntrack(walk: &mut Walk, protocol: Protocol, tuple: &ConntrackTuple, zone: Zone) -> Option<CtId> {
    let mut tcp_state = None;
    match walk.packet().transport {
        Transport::Tcp { flags, .. } => tcp_state = Some(tcp_new(walk, flags)?),
        Transport::Sctp { .. }
            if walk.given.payload.as_ref().is_some_and(|payload| !conntrack_sctp::begins(payload)) =>
        {
            return None;
        }
        Transport::Icmp { kind, .. } if protocol == Protocol::ICMP && !matches!(kind, 8 | 13 | 15 | 17) => return None,
        Transport::Icmp { kind, .. } if protocol == Protocol::ICMPV6 && !matches!(kind, 128 | 139) => return None,
        _ => {}
    }
    let reply = invert(protocol, tuple)?;
    let entry = CtEntry {
        netns: walk.netns_id(),
        protocol,
        original: *tuple,
        reply,
        zone,
        mark: Mark(0),
        snat: false,
        dnat: false,
        snat_done: false,
        dnat_done: false,
        seen_reply: false,
        assured: false,
        maybe_assured: false,
        confirmed: false,
        clashes: false,
        expected: false,
        offloaded: false,
        tcp_state,
        dead: false,
        original_unknown: walk.skb.unknown_port,
        reply_unknown: walk.skb.unknown_port,
        evidence: None,
        snat_because: None,
        dnat_because: None,
        kept: Kept::of_new(),
    };
    walk.tracker.entries.push(entry);
    Some(walk.tracker.entries.len() - 1)
}

/// The state of a connection that starts with this segment; one from its middle is picked up where the setting says so.
fn tcp_new(walk: &mut Walk, flags: u8) -> Option<TcpState> {
    conntrack_tcp::tcp_new(flags, false).or_else(|| {
        let picked_up = conntrack_tcp::tcp_new(flags, true)?;
        let (loose, _) = sysctl::decisive(walk, "net.netfilter.nf_conntrack_tcp_loose", 1);
        (loose != 0).then_some(picked_up)
    })
}

/// What the rules see as the packet's state (`nf_ct_get` and its callers).
pub(super) fn state(walk: &Walk) -> CtState {
    match walk.skb.nfct {
        Nfct::Entry(ct) => ct.state,
        Nfct::Untracked => CtState::Untracked,
        Nfct::None | Nfct::Attached | Nfct::Template(_) | Nfct::Proxy => CtState::Invalid,
    }
}

/// The packet's connection.
pub(super) fn entry<'w>(walk: &'w Walk) -> Option<&'w CtEntry> {
    match walk.skb.nfct {
        Nfct::Entry(ct) => walk.tracker.entries.get(ct.id),
        _ => None,
    }
}

/// What makes a connection assured that may be.
pub(super) fn assured_by_age(entry: &CtEntry) -> String {
    let (from, to) = (entry.original.source, entry.original.destination);
    format!("the connection {from} > {to} is older than two seconds, and so assured")
}

/// Whether the packet goes in the direction of the answer.
pub(super) fn is_reply(walk: &Walk) -> bool {
    matches!(walk.skb.nfct, Nfct::Entry(CtRef { dir: Dir::Reply, .. }))
}

/// `CONNMARK`: gives the packet's connection a mark.
pub(super) fn set_mark(walk: &mut Walk, mark: Mark) {
    if let Nfct::Entry(ct) = walk.skb.nfct
        && let Some(entry) = walk.tracker.entries.get_mut(ct.id)
    {
        entry.mark = mark;
    }
}

/// `ct label set`: adds labels to those that are there (`nft_ct_set_eval` in `nft_ct.c` gives `nf_connlabels_replace`
/// the new ones as the mask too). `None` where nobody knows what the labels' names stand for.
pub(super) fn set_labels(walk: &mut Walk, labels: Option<u128>) {
    if let Nfct::Entry(ct) = walk.skb.nfct
        && let Some(entry) = walk.tracker.entries.get_mut(ct.id)
    {
        entry.kept.labels = entry.kept.labels.zip(labels).map(|(old, new)| old | new);
    }
}

/// `NOTRACK`: unless the packet has a connection already.
pub(super) fn set_untracked(walk: &mut Walk) {
    if walk.skb.nfct == Nfct::None {
        walk.skb.nfct = Nfct::Untracked;
    }
}

/// UDP takes a packet from its connection before it looks for the socket, so that an error about one that is missing
/// belongs to none either (`nf_reset_ct` in `__udp4_lib_rcv`, `net/ipv4/udp.c`, and in `ip6_protocol_deliver_rcu`,
/// `net/ipv6/ip6_input.c`).
pub(super) fn nf_reset_ct(walk: &mut Walk) {
    walk.skb.nfct = Nfct::None;
}

/// `CT --zone`: unless the packet has a connection already.
pub(super) fn set_template(walk: &mut Walk, zone: Zone) {
    if walk.skb.nfct == Nfct::None {
        walk.skb.nfct = Nfct::Template(zone);
    }
}

/// Whether the packet's connection is one that it opens itself, and that others don't find yet.
pub(super) fn is_unconfirmed(walk: &Walk) -> bool {
    matches!(walk.skb.nfct, Nfct::Entry(_)) && entry(walk).is_some_and(|entry| !entry.confirmed)
}

/// The packet leaves the hooks: its connection is now one that others are found by (`__nf_conntrack_confirm`). An error
/// with which a rule answered the first packet doesn't make it one. Where another connection's answers would look the
/// same, the packet is dropped (`nf_ct_resolve_clash`).
pub(super) fn nf_conntrack_confirm(walk: &mut Walk) -> Stage<()> {
    let Nfct::Entry(ct) = walk.skb.nfct else { return Ok(()) };
    let Some(entry) = walk.tracker.entries.get(ct.id).filter(|entry| ct.dir == Dir::Original && !entry.confirmed)
    else {
        return Ok(());
    };
    if entry.clashes || is_used(walk, entry.protocol, &entry.reply, ct.id) {
        let because = entry.snat_because.or(entry.dnat_because);
        let detail = "the answers would look like those of another connection, and no port is left that it hasn't";
        return Err(End::dropped(Reason::Conntrack).detail(detail).because(because));
    }
    if let Some(entry) = walk.tracker.entries.get_mut(ct.id) {
        entry.confirmed = true;
    }
    Ok(())
}
