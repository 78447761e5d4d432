//! `SYNPROXY`: the kernel opens a connection with the client first, and with the server once the client has shown that it
//! is there.
//!
//! Follows `net/netfilter/nf_synproxy_core.c`, with `net/ipv4/netfilter/ipt_SYNPROXY.c`, its IPv6 twin and
//! `net/netfilter/nft_synproxy.c`, which call it.

use crate::evidence::Evidence;
use crate::net::{Family, Ip, Packet, Transport};
use crate::snapshot::nft::{NftSynproxy, Statement};
use crate::snapshot::{Netns, Options, Target};
use crate::trace::{Decision, Reason, Verdict};

use super::beside;
use super::conntrack::{self, CtRef, Dir, Nfct};
use super::conntrack_tcp::TcpState;
use super::conntrack_tuple::tuple_of;
use super::end::{End, ErrorReply, Next, Stage};
use super::output::ip_route_me_harder;
use super::skb::{Priority, Skb};
use super::sysctl;
use super::tcp_options::{self, HasOption};
use super::walk::Walk;
use crate::trace::CtState;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

const MSS: u8 = tcp_options::MSS;
const WSCALE: u8 = 3;
const SACK_PERM: u8 = 4;
const TIMESTAMP: u8 = 8;

/// What a rule offers to a client that has it too; `None` where nobody knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offers {
    mss: Option<bool>,
    wscale: Option<bool>,
    sack_perm: Option<bool>,
    timestamp: Option<bool>,
    ecn: bool,
}

impl Offers {
    /// What `-j SYNPROXY` offers.
    pub(super) fn of_target(options: &Options) -> Self {
        let has = |name: &str| options.find(name).is_some();
        let [mss, wscale] = ["--mss", "--wscale"].map(|name| Some(has(name)));
        let [sack_perm, timestamp] = ["--sack-perm", "--timestamp"].map(|name| Some(has(name)));
        Self { mss, wscale, sack_perm, timestamp, ecn: has("--ecn") }
    }

    /// What `synproxy` offers. That of a named object is in no rule.
    pub(super) fn of_statement(offered: Option<NftSynproxy>) -> Self {
        Self {
            mss: offered.map(|offered| offered.mss),
            wscale: offered.and_then(|offered| offered.wscale),
            sack_perm: offered.map(|offered| offered.sack_perm),
            timestamp: offered.map(|offered| offered.timestamp),
            ecn: false,
        }
    }
}

/// The segment that answers a SYN: its flags, and whether it has each option. `None` where nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SynAck {
    flags: u8,
    mss: Option<bool>,
    wscale: Option<bool>,
    sack_perm: Option<bool>,
    timestamp: Option<bool>,
}

impl SynAck {
    /// How long the options are, at least and at most (`synproxy_options_size`): the permission to acknowledge
    /// selectively stands in the gaps of the timestamps.
    fn options_length(self) -> (u32, u32) {
        let options = [(self.mss, 4), (self.timestamp, 12), (self.wscale, 4)];
        let sum = |unknown: bool| {
            options.iter().filter(|(there, _)| there.unwrap_or(unknown)).map(|(_, length)| length).sum()
        };
        (sum(false), sum(true))
    }

    /// The segment in answer to a SYN, and how short it may be (`synproxy_build_ip`, `synproxy_send_client_synack`).
    pub(super) fn segment(self, syn: &Packet, ttl: u8) -> (Packet, u32) {
        let (least, most) = self.options_length();
        let ends = (syn.destination_port(), syn.source_port());
        let ip = Ip { source: syn.ip.destination, destination: syn.ip.source, ttl, tos: 0, df: true };
        let packet = segment(ip, ends, self.flags, most);
        let shorter = packet.length - (most - least);
        (packet, shorter)
    }

    /// Tells the walk of the segment which options it has.
    pub(super) fn note_options(self, walk: &mut Walk) {
        let there = [(MSS, self.mss), (WSCALE, self.wscale), (SACK_PERM, self.sack_perm), (TIMESTAMP, self.timestamp)];
        for (kind, is_there) in there {
            let has = is_there.map_or(HasOption::Open, |there| if there { HasOption::Yes } else { HasOption::No });
            tcp_options::note(walk, kind, has);
        }
    }
}

fn segment(ip: Ip, (source, destination): (Option<u16>, Option<u16>), flags: u8, options: u32) -> Packet {
    let header = if ip.source.is_ipv4() { 20 } else { 40 };
    Packet::new(ip, Transport::Tcp { source, destination, flags }, header + 20 + options)
}

/// The end of a SYN: the kernel answers it in the server's place.
pub(super) fn answer(walk: &mut Walk, offers: Offers, line: Evidence) -> Box<End> {
    let answer = syn_ack(walk, offers, line);
    let packet = walk.packet();
    let ip = packet.ip;
    let port = packet.destination_port().map_or(String::new(), |port| format!(" port {port}"));
    let (server, tuple) = (format!("{}{port}", ip.destination), tuple_of(packet));
    let netns = walk.netns_id();
    walk.tracker.syn_cookies.push((netns, tuple));
    let mut end = End::arrived(Verdict::Delivered);
    end.error = Some(ErrorReply::SynAck(answer));
    let detail =
        format!("SYNPROXY answers in place of {server}, which hears of the connection once the client has answered");
    end.detail(detail).because([line])
}

/// What the client offers and the rule does too. Without timestamps there is nowhere to keep what else the client has
/// (`synproxy_tg4`, `nft_synproxy_tcp_options`).
fn syn_ack(walk: &mut Walk, offers: Offers, line: Evidence) -> SynAck {
    let both = |offer: Option<bool>, has: Option<bool>| match (offer, has) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), has) => has,
        (None, _) => None,
    };
    let has = |walk: &Walk, kind| has_option(walk, kind);
    let timestamp = both(offers.timestamp, has(walk, TIMESTAMP));
    let kept = |offer, has| both(timestamp, both(offer, has));
    let wants_ecn = matches!(walk.packet().transport, Transport::Tcp { flags, .. } if flags & (ECE | CWR) == ECE | CWR);
    let may_ecn = wants_ecn && offers.ecn;
    let ecn = may_ecn
        && timestamp.unwrap_or_else(|| walk.choose_unknown("the SYN has the option for timestamps", Some(line)));
    SynAck {
        flags: SYN | ACK | if ecn { ECE } else { 0 },
        mss: both(offers.mss, has(walk, MSS)),
        wscale: kept(offers.wscale, has(walk, WSCALE)),
        sack_perm: kept(offers.sack_perm, has(walk, SACK_PERM)),
        timestamp: if ecn {
            Some(true)
        } else if may_ecn {
            Some(false)
        } else {
            timestamp
        },
    }
}

/// Whether a SYN has an option, by what rules wrote and by how long the options are that it was sent with: Linux sends
/// the segment size, 4 bytes, timestamps with or without selective acknowledgement, 12, or that alone, 4, and window
/// scaling, 4 (`tcp_syn_options` in `net/ipv4/tcp_output.c`).
fn has_option(walk: &Walk, kind: u8) -> Option<bool> {
    match tcp_options::there(walk, walk.packet(), kind) {
        HasOption::Yes => return Some(true),
        HasOption::No => return Some(false),
        HasOption::Open => return None,
        HasOption::AsSent => {}
    }
    let (header, _) = tcp_options::measured(walk)?;
    match (kind, header.saturating_sub(20)) {
        (_, 0) | (WSCALE | SACK_PERM | TIMESTAMP, 4) | (TIMESTAMP, 8 | 12) | (WSCALE, 16) => Some(false),
        (MSS, _) | (TIMESTAMP, 16 | 20) | (WSCALE, 12 | 20) | (SACK_PERM, 12) => Some(true),
        _ => None,
    }
}

/// The SYN,ACK belongs to the packet's connection, in the other direction (`synproxy_send_client_synack`): a packet that
/// isn't tracked has none.
pub(super) fn connection_of_answer(nfct: Nfct) -> Nfct {
    match nfct {
        Nfct::Entry(ct) => Nfct::Entry(CtRef { dir: Dir::Reply, state: CtState::Established, ..ct }),
        _ => Nfct::None,
    }
}

/// Whether a segment acknowledges the cookie that a SYN was answered with (`__cookie_v4_check`): one that belongs to a SYN
/// of this question does, and of others nobody knows.
pub(super) fn has_cookie(walk: &mut Walk, line: Evidence) -> bool {
    let sent = (walk.netns_id(), tuple_of(walk.packet()));
    walk.tracker.syn_cookies.contains(&sent)
        || walk.choose_unknown("the segment acknowledges SYNPROXY's cookie, which no snapshot holds", Some(line))
}

/// The client has answered: its segment is taken, and a SYN for the server is sent as from the client
/// (`synproxy_recv_client_ack`, `synproxy_send_server_syn`). What the cookie says of the client's options is not known.
pub(super) fn open_to_server(walk: &mut Walk, line: Evidence) -> Box<End> {
    let ack = walk.packet();
    let bare = tcp_options::there(walk, ack, TIMESTAMP) == HasOption::No;
    let options = if bare { (4, 4) } else { (4, 20) };
    let ends = (ack.source_port(), ack.destination_port());
    let ip = Ip { ttl: default_ttl(walk), tos: 0, df: true, ..ack.ip };
    let syn = segment(ip, ends, SYN, options.1);
    let lengths = (options.0 < options.1).then(|| (syn.length - (options.1 - options.0), syn.length));
    send_own(walk, syn, Nfct::Proxy, Some(line));
    walk.lengths = lengths;
    go_on(walk)
}

/// A segment that the kernel makes takes the walk over.
fn send_own(walk: &mut Walk, packet: Packet, nfct: Nfct, line: impl IntoIterator<Item = Evidence>) {
    walk.tell_sender();
    let (unknown_port, sport_bounds) = (walk.skb.unknown_port, walk.skb.sport_bounds);
    walk.given.payload = None;
    walk.skb = Skb { nfct, unknown_port, sport_bounds, priority: Priority::Known(0), ..Skb::default() };
    walk.take(Decision::SendOwn { packet: Box::new(packet) }, line);
}

/// `synproxy_send_tcp`: what finds no route is never sent, and nobody hears of it.
fn go_on(walk: &mut Walk) -> Box<End> {
    match ip_route_me_harder(walk) {
        Ok(()) => {
            let mut end = End::arrived(Verdict::Undetermined);
            end.next = Some(Next::LocalOut);
            end
        }
        Err(end) => end,
    }
}

fn default_ttl(walk: &Walk) -> u8 {
    let key = match walk.packet().family() {
        Family::Inet => "net.ipv4.ip_default_ttl",
        Family::Inet6 => "net.ipv6.conf.all.hop_limit",
    };
    sysctl::number(walk.netns(), key).and_then(|(value, _)| u8::try_from(value).ok()).unwrap_or(64)
}

/// The hook that stands before connection tracking's last one: the server has answered, and its SYN,ACK becomes an ACK for
/// the client, which has had one (`ipv4_synproxy_hook`).
pub(super) fn ipv4_synproxy_hook(walk: &mut Walk) -> Stage<()> {
    let Transport::Tcp { flags, .. } = walk.packet().transport else { return Ok(()) };
    let (Some(entry), Nfct::Entry(ct)) = (conntrack::entry(walk), walk.skb.nfct) else { return Ok(()) };
    if walk.skb.iif.as_ref().is_some_and(|iif| iif.as_str() == "lo") {
        return Ok(());
    }
    let (flags, row, state) = (flags & (SYN | ACK), entry.evidence, entry.tcp_state);
    match state {
        Some(TcpState::SynSent) if flags == ACK && ct.dir == Dir::Original && is_proxied(walk) => {
            let detail = "SYNPROXY has yet to hear from the server";
            Err(End::dropped(Reason::Conntrack).detail(detail).because(row))
        }
        Some(TcpState::SynRecv) if flags == SYN | ACK && is_proxied(walk) => Err(answer_both(walk, ct)),
        _ => Ok(()),
    }
}

/// Whether `SYNPROXY` has opened the packet's connection. Of one of the snapshot nobody knows, where a rule could have.
fn is_proxied(walk: &mut Walk) -> bool {
    let Some(entry) = conntrack::entry(walk) else { return false };
    let (row, from, to) = (entry.evidence, entry.original.source, entry.original.destination);
    if entry.kept.proxied || row.is_none() || !has_rule(walk.netns(), walk.packet().family()) {
        return entry.kept.proxied;
    }
    let what = format!("SYNPROXY has opened the connection {from} > {to}, which the table of connections doesn't tell");
    walk.choose_unknown(what, row)
}

fn has_rule(netns: &Netns, family: Family) -> bool {
    let is_it = |target: &Target| matches!(target, Target::Other(options) if options.name == "SYNPROXY");
    let of_iptables = netns.netfilter.rulesets(family).any(|ruleset| {
        let pairs = ruleset.tables.iter().flat_map(|table| table.chains.iter().map(move |chain| (table, chain)));
        let mut rules = pairs.flat_map(|(table, chain)| ruleset.rules(table, chain).all());
        rules.any(|rule| is_it(&rule.target))
    });
    let mut tables = netns.netfilter.nft.iter().flat_map(|nft| &nft.tables);
    of_iptables
        || tables.any(|table| {
            let mut rules = table.chains.iter().flat_map(|chain| &chain.rules);
            rules.any(|rule| rule.statements.iter().any(|one| matches!(one, Statement::Synproxy(_))))
        })
}

/// An ACK for the server, which belongs to no connection before it is looked at, and one for the client
/// (`synproxy_send_server_ack`, `synproxy_send_client_ack`). Timestamps are all that is left of the options.
fn answer_both(walk: &mut Walk, ct: CtRef) -> Box<End> {
    let answer = walk.packet();
    let stamps = match tcp_options::there(walk, answer, TIMESTAMP) {
        HasOption::Yes => (12, 12),
        HasOption::No => (0, 0),
        HasOption::AsSent | HasOption::Open => (0, 12),
    };
    let (server, client) = (answer.source_port(), answer.destination_port());
    let ip = Ip { ttl: default_ttl(walk), tos: 0, df: true, ..answer.ip };
    let back = Ip { source: ip.destination, destination: ip.source, ..ip };
    let for_server = segment(back, (client, server), ACK, stamps.1);
    let for_client = segment(ip, (server, client), ACK, stamps.1);
    let lengths = (stamps.0 < stamps.1).then(|| (for_client.length - stamps.1, for_client.length));
    let mut start = walk.branch_off();
    send_own(&mut start, for_server, Nfct::None, None);
    (start.lengths, walk.lengths) = (lengths, lengths);
    tcp_options::note(&mut start, MSS, HasOption::No);
    beside::acknowledge(walk, &start);
    send_own(walk, for_client, connection_of_answer(Nfct::Entry(ct)), None);
    tcp_options::note(walk, MSS, HasOption::No);
    go_on(walk)
}
