//! From what was typed to what is asked: names become a packet and a place.

use std::net::IpAddr;

use crate::engine::{Given, Origin, Question};
use crate::error::Error;
use crate::evidence::Gap;
use crate::net::{Family, NetnsId, Packet, Protocol};
use crate::retrace::{self, Point};
use crate::snapshot::Snapshot;
use crate::trace::Finding;

use super::args::{Explain, PacketOptions, Proto, State};
use super::names::{self, End, Home, Kind, Names, Role};
use super::packet::{self, Ends};
use super::payload;
use super::point;

/// A question that can be asked, or one whose sender the snapshot doesn't hold.
#[derive(Debug)]
pub(super) enum Asked {
    /// Something to walk.
    Walk(Box<Question>),
    /// The sender's namespace is missing: its folder, and the packet that it would send.
    Missing {
        /// The folder, relative to the snapshot.
        folder: String,
        /// The packet.
        packet: Box<Packet>,
    },
}

/// Where the packet starts.
enum Start {
    Known(Origin),
    Missing(String),
}

/// FROM or TO: as typed, and what it stands for.
struct Named<'a> {
    typed: &'a str,
    end: End,
}

/// A question with what resolving its names brought up.
#[derive(Debug)]
pub(super) struct Resolved {
    /// What is asked.
    pub(super) asked: Asked,
    /// The namespace of the pod or node that is asked about.
    pub(super) target: Option<NetnsId>,
    /// What the snapshot contradicts itself about.
    pub(super) gaps: Vec<Gap>,
    /// What was chosen where a name left it open.
    pub(super) findings: Vec<Finding>,
}

/// What is asked beside FROM and TO.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// What the packet looks like.
    pub(super) packet: &'a PacketOptions,
    /// The Kubernetes namespace of names without one.
    pub(super) namespace: Option<&'a str>,
    /// Where the packet comes in.
    pub(super) at: Option<&'a str>,
    /// Whether the connection has seen packets both ways.
    pub(super) state: State,
    /// Whether the reply is left out.
    pub(super) no_reply: bool,
    /// How many ways are walked.
    pub(super) max_paths: u32,
    /// Whether rules that did not match are told.
    pub(super) verbose: bool,
}

impl Explain {
    /// What is asked beside FROM and TO.
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms {
            packet: &self.packet,
            namespace: self.namespace.as_deref(),
            at: self.at.as_deref(),
            state: self.state,
            no_reply: self.no_reply,
            max_paths: self.max_paths,
            verbose: self.verbose,
        }
    }
}

/// Resolves the question.
pub(super) fn question(typed: Terms<'_>, from: &str, to: &str, snapshot: &Snapshot) -> Result<Resolved, Error> {
    let protocol = typed.packet.proto.map(protocol);
    let names = Names { snapshot, namespace: typed.namespace, protocol, port: typed.packet.port };
    let sender = Named { typed: from, end: names.resolve(from, Role::From)? };
    let target = Named { typed: to, end: target(&names, to, &sender.end)? };
    let family = family(typed.packet, &sender, &target)?;
    let start = start(typed, &sender, &target, family, &names)?;
    refuse_mac(typed.packet, &start)?;
    refuse_port_zero(typed.packet, &start)?;
    refuse_vlan(typed.packet, typed.at)?;
    let source = source(typed.packet, &sender.end, family, &start, snapshot)?;
    let Some(destination) = target.end.address(family) else { return Err(no_address(to, family)) };
    let given = given(typed.packet)?;
    let payload = given.payload.as_deref();
    let ends = Ends { source, destination, port: target.end.port, protocol: target.end.protocol, payload };
    let packet = packet::packet(ends, typed.packet, typed.state)?;
    let netns = target.end.own_netns();
    let gaps = sender.end.gaps.into_iter().chain(target.end.gaps).collect();
    // Where the question says where the packet comes in, its sender need not be known.
    let known = typed.at.is_some();
    let strange = sender.end.findings.into_iter().filter(|_| !known);
    let findings = strange.chain(target.end.findings).collect();
    let asked = match start {
        Start::Missing(folder) => Asked::Missing { folder, packet: Box::new(packet) },
        Start::Known(from) => Asked::Walk(Box::new(walk(typed, packet, from, given))),
    };
    Ok(Resolved { asked, target: netns, gaps, findings })
}

/// TO. Two ends that are both called `external` are not the same.
fn target(names: &Names<'_>, to: &str, sender: &End) -> Result<End, Error> {
    let target = names.resolve(to, Role::To)?;
    Ok(match (&sender.kind, &target.kind) {
        (Kind::External, Kind::External) => End { port: target.port, ..names.external_beside(sender) },
        _ => target,
    })
}

/// What settles what rules ask and no snapshot holds.
fn given(options: &PacketOptions) -> Result<Given, Error> {
    let payload = options.payload.as_deref().map(payload::read).transpose()?;
    Ok(Given {
        payload,
        time: options.time,
        uid: options.uid,
        gid: options.gid,
        mac: options.mac,
        answer: None,
        error: None,
    })
}

fn walk(typed: Terms<'_>, packet: Packet, from: Origin, given: Given) -> Question {
    Question {
        packet,
        from,
        reply: !typed.no_reply,
        max_paths: usize::try_from(typed.max_paths).unwrap_or(usize::MAX),
        verbose: typed.verbose,
        established: typed.state == State::Established,
        opened_by: None,
        given,
    }
}

/// The protocol that was typed.
pub(super) fn protocol(proto: Proto) -> Protocol {
    match proto {
        Proto::Icmp => Protocol::ICMP,
        Proto::Tcp => Protocol::TCP,
        Proto::Udp => Protocol::UDP,
        Proto::Sctp => Protocol::SCTP,
    }
}

/// The family that was asked for, or the first that both ends have.
fn family(options: &PacketOptions, from: &Named<'_>, to: &Named<'_>) -> Result<Family, Error> {
    let wanted = match (options.ipv4, options.ipv6, options.source) {
        (true, _, _) => Some(Family::Inet),
        (_, true, _) => Some(Family::Inet6),
        (_, _, source) => source.map(Family::of),
    };
    let shared = names::shared_families(&from.end, &to.end);
    match wanted {
        None => shared.first().copied().ok_or_else(|| {
            Error::Usage(format!("{} and {} have no address of the same family (IPv4, IPv6)", from.typed, to.typed))
        }),
        Some(family) if shared.contains(&family) => Ok(family),
        Some(family) if from.end.address(family).is_none() => Err(no_address(from.typed, family)),
        Some(family) => Err(no_address(to.typed, family)),
    }
}

fn no_address(name: &str, family: Family) -> Error {
    let family = match family {
        Family::Inet => "IPv4",
        Family::Inet6 => "IPv6",
    };
    Error::Usage(format!("{name} has no {family} address in the snapshot"))
}

fn start(
    typed: Terms<'_>,
    from: &Named<'_>,
    to: &Named<'_>,
    family: Family,
    names: &Names<'_>,
) -> Result<Start, Error> {
    if let Some(at) = typed.at {
        let Point { netns, device } = point::at(at, names.snapshot)?;
        return Ok(Start::Known(Origin::Device { netns, device }));
    }
    let nowhere = |why: &str| {
        let way = "--at NODE/DEVICE says where the packet comes in";
        Err(Error::Usage(format!("{} {why}; {way}", from.typed)))
    };
    match &from.end.home {
        Home::Netns(netns) => Ok(Start::Known(Origin::Socket { netns: *netns })),
        Home::Missing(folder) => Ok(Start::Missing(folder.clone())),
        Home::Nowhere if names.is_outside(&to.end) => nowhere(&format!(
            "and {} are both outside: no address, route, service or rule of the snapshot has to do with them, and \
                 packets between them need not pass any node",
            to.typed
        )),
        Home::Nowhere => match retrace::entries(to.end.address(family), family, names.snapshot) {
            entries if entries.is_empty() => nowhere("is outside, and no device of a node is known to face there"),
            entries => Ok(Start::Known(Origin::Outside { entries })),
        },
    }
}

/// Where a socket of the snapshot sends, its frame's address is that of a device there.
fn refuse_mac(options: &PacketOptions, start: &Start) -> Result<(), Error> {
    match (options.mac, start) {
        (Some(_), Start::Known(Origin::Socket { .. })) => Err(Error::Usage(
            "--mac is for packets that come in from outside, or by --at; here the sender's device has its own address"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// A socket that is bound to port 0 gets another one (`inet_csk_get_port`, `udp_lib_get_port`), and one of UDP sends
/// nothing to it (`udp_sendmsg`: EINVAL). Others may: packets come in from and to port 0.
fn refuse_port_zero(options: &PacketOptions, start: &Start) -> Result<(), Error> {
    let refused = match (options.proto, options.sport, options.port) {
        _ if !matches!(start, Start::Known(Origin::Socket { .. })) => return Ok(()),
        (_, Some(0), _) => "--sport 0: no socket sends from port 0",
        (Some(Proto::Udp), _, Some(0)) => "--port 0: no socket of UDP sends to port 0",
        _ => return Ok(()),
    };
    Err(Error::Usage(format!("{refused}; such packets come in from outside, or by --at")))
}

/// Which tags the network between nodes puts on a frame is told by the device that it is for.
fn refuse_vlan(options: &PacketOptions, at: Option<&str>) -> Result<(), Error> {
    if options.vlan.is_empty() || at.is_some() {
        return Ok(());
    }
    Err(Error::Usage("--vlan is for packets that come in by --at".to_owned()))
}

/// The source address: the one that the socket is bound to, or unspecified where the route chooses it. Who sends from
/// outside, or is only named by an address, has that one.
fn source(
    options: &PacketOptions,
    sender: &End,
    family: Family,
    start: &Start,
    snapshot: &Snapshot,
) -> Result<IpAddr, Error> {
    let own = sender.address(family).unwrap_or(family.unspecified());
    match (start, options.source) {
        (Start::Known(Origin::Socket { netns }), Some(bound)) => bindable(bound, *netns, snapshot),
        (Start::Known(Origin::Socket { .. }), None) if sender.kind == Kind::Address => Ok(own),
        (Start::Known(Origin::Socket { .. }), None) => Ok(family.unspecified()),
        (Start::Known(Origin::Outside { .. }), Some(_)) => {
            Err(Error::Usage("--source is for sockets of the snapshot; here FROM is the source".to_owned()))
        }
        (_, bound) => Ok(bound.unwrap_or(own)),
    }
}

/// A socket binds only to addresses of its own namespace (`inet_bind`, EADDRNOTAVAIL).
fn bindable(address: IpAddr, netns: NetnsId, snapshot: &Snapshot) -> Result<IpAddr, Error> {
    let netns = snapshot.netns(netns);
    let loopback = matches!(address, IpAddr::V4(v4) if v4.is_loopback());
    match &netns.addrs {
        Some(_) if netns.addr(address).is_none() && !loopback => {
            let own: Vec<String> = netns.addrs.iter().flatten().map(|addr| addr.address.to_string()).collect();
            Err(Error::Usage(format!(
                "--source {address}: {} has no such address; it has {}",
                netns.dir,
                own.join(", ")
            )))
        }
        _ => Ok(address),
    }
}
