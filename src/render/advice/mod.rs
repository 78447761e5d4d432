//! One thing to try, for each reason that a packet can end with.

mod cause;
mod device;
mod route;
mod rule;
mod tunnel;

use super::fault::Device;
use super::missing;
use crate::net::{Encapsulation, NetnsName, Packet};
use crate::trace::{Decision, EndCause, NotRewritten, Place, Reason, Step, Trace};

/// An end that advice is wanted for.
#[derive(Clone, Debug)]
pub(super) struct Case<'a> {
    /// The whole way.
    pub(super) trace: &'a Trace,
    /// The last step.
    pub(super) step: &'a Step,
    /// Why it was the last.
    pub(super) reason: Reason,
    /// The lines that decided, the first one first.
    pub(super) decided: Vec<&'a str>,
    /// The devices that those lines are about.
    pub(super) devices: Vec<Device<'a>>,
    /// What is missing to go on.
    pub(super) missing: Vec<&'a str>,
    /// Why no rule rewrote the service's address that the packet still has.
    pub(super) service: Option<NotRewritten>,
}

/// What to try next, in one sentence. The text may hold names of the snapshot as they are.
pub(super) fn advice(case: &Case<'_>) -> String {
    let (at, reason) = (At::new(case), case.reason);
    case_advice(case, &at)
        .or_else(|| device::device_advice(case, &at))
        .or_else(|| cause::cause_advice(&at, reason))
        .or_else(|| device::link_advice(&at, reason))
        .or_else(|| route::route_advice(&at, reason))
        .or_else(|| tunnel::tunnel_advice(&at, reason))
        .unwrap_or_else(|| rest_advice(&at, reason))
}

/// What the whole way, the rule or the missing files ask for, whatever the reason's usual advice is.
fn case_advice(case: &Case<'_>, at: &At<'_>) -> Option<String> {
    let decided = case.decided.first().copied().unwrap_or("");
    match case.reason {
        Reason::Rule => Some(rule::rule_advice(at, decided)),
        Reason::NobodyOwns if case.trace.steps.len() == 1 => Some(rule::no_way_back(at)),
        Reason::NobodyOwns | Reason::NoRoute | Reason::NeighborFailed | Reason::NoReceiver => {
            case.service.map(|service| rule::service_advice(at, service)).or_else(|| rule::stopped_message(case, at))
        }
        Reason::MissingTable if at.detail.contains("could not be read") || at.detail.contains("was not read") => {
            Some("take the file that could not be read again, or mend the line, and ask again".to_owned())
        }
        Reason::MissingTable if at.detail.contains("the file was cut off") => {
            Some("take the file that was cut off again, and ask again".to_owned())
        }
        Reason::MissingTable => missing::unprinted(at.detail).or_else(|| missing::advice(case.missing.iter().copied())),
        Reason::TtlExceeded | Reason::Loop | Reason::TooLong => route::cycle_advice(case.trace),
        _ => None,
    }
}

fn rest_advice(at: &At<'_>, reason: Reason) -> String {
    let At { place, node, device, source, destination, ip, is_v6, .. } = at;
    let (call, family) = if at.is_v6 { ("ip6tables", " -f ipv6") } else { ("iptables", "") };
    match reason {
        Reason::Policy => {
            format!("add a rule {place} that accepts {source} to {destination}: the policy drops the rest")
        }
        Reason::ReplyNotMatched => format!(
            "let the answer pass the node that rewrote the packet: masquerade the request, or set \
             net.bridge.bridge-nf-call-{call}=1 on {node} where client and server share a bridge"
        ),
        Reason::EchoIgnored => "ask with tcp or udp: echoes are not answered there".to_owned(),
        Reason::BadChecksum => tunnel::checksum_advice(at),
        Reason::NobodyOwns => format!(
            "`{ip} route get {destination}` {place}: this way leads to where nobody has the address; look for the route \
             that is missing"
        ),
        Reason::UnknownEntry => "`--at NODE/DEVICE` says where the packet comes in".to_owned(),
        Reason::MissingTable => "take what is missing into the snapshot, and ask again".to_owned(),
        Reason::NotModelled => "look at the line above: flowtrace does not know what it does".to_owned(),
        Reason::Userspace => "the line above names who decides: ask there".to_owned(),
        Reason::TooLong => "fewer ways (`--max-paths 1`), or a packet whose choices are given".to_owned(),
        Reason::Conntrack => {
            format!("`conntrack -L{family}` and `sysctl net.netfilter` {place}: tracking refused the packet")
        }
        Reason::NatFailed => format!("give {device} an address {place}: `{ip} addr show dev {device}`"),
        Reason::ProtocolUnreachable => "ask for the protocol that the receiver takes (`--proto`)".to_owned(),
        Reason::BadHeader => {
            "ask without that option or header, or with one that the kernel takes (`--ip-options`, `--ext-headers`)"
                .to_owned()
        }
        Reason::SourceRoute if *is_v6 => "no kernel follows such a header any more: ask without it".to_owned(),
        Reason::SourceRoute => {
            let key = sysctl_word(device);
            format!(
                "`sysctl -w net.ipv4.conf.all.accept_source_route=1 net.ipv4.conf.{key}.accept_source_route=1` {place}, \
                 or let the packet find its way without a source route"
            )
        }
        Reason::NoListener => format!("`ss -lntu` {place}: see who should listen there, and does not"),
        Reason::NotUnicast => "ask for a unicast address: flowtrace does not walk broadcasts and multicasts".to_owned(),
        Reason::GroupFrame => {
            format!("`nft list ruleset` {place}: see which rule gives the frame that address or type")
        }
        _ => format!("`-v` shows every step up to here {place}"),
    }
}

/// The names that advice is about.
struct At<'a> {
    /// `on n1`.
    place: String,
    node: String,
    device: String,
    source: String,
    destination: String,
    is_v6: bool,
    ip: &'static str,
    /// The command that prints the packet's rules.
    save: &'static str,
    length: u32,
    detail: &'a str,
    cause: Option<&'a EndCause>,
    /// Who was asked last for a link address: its address, the device, and where.
    neighbor: Option<String>,
    /// The tunnel that was put on last, and where.
    tunnel: Option<(String, String)>,
    is_relayed: bool,
}

impl<'a> At<'a> {
    fn new(case: &Case<'a>) -> Self {
        let step = case.step;
        let packet: &Packet = &step.packet;
        let place = whereabouts(&step.place);
        let device = deciding_device(case).or_else(|| step.place.device.as_ref().map(ToString::to_string));
        let (words, ended_by) = match &step.decision {
            Decision::End { detail, cause, .. } => (detail.as_deref().unwrap_or(""), cause.as_ref()),
            _ => ("", None),
        };
        let is_v6 = packet.ip.destination.is_ipv6();
        Self {
            place,
            node: step.place.node.to_string(),
            device: device.unwrap_or_else(|| "DEVICE".to_owned()),
            source: packet.ip.source.to_string(),
            destination: packet.ip.destination.to_string(),
            is_v6,
            ip: ip_word(packet),
            save: if is_v6 { "ip6tables-save" } else { "iptables-save" },
            length: packet.length,
            detail: words,
            cause: ended_by,
            neighbor: case.trace.steps.iter().rev().find_map(neighbor),
            tunnel: case.trace.steps.iter().rev().find_map(tunnel),
            is_relayed: packet.encapsulation == Some(Encapsulation::Relay),
        }
    }
}

fn ip_word(packet: &Packet) -> &'static str {
    if packet.ip.destination.is_ipv6() { "ip -6" } else { "ip" }
}

fn whereabouts(place: &Place) -> String {
    match &place.name {
        NetnsName::Host => format!("on {}", place.node),
        NetnsName::Pod(pod) => format!("in the network namespace of pod {pod} on {}", place.node),
    }
}

/// The device whose setting decided, which need not be the one that the packet came to last: frames that are being
/// bridged are routed for the bridge while they are at its port.
fn deciding_device(case: &Case<'_>) -> Option<String> {
    let Decision::End { cause, .. } = &case.step.decision else { return None };
    match case.reason {
        Reason::RpFilter => case.trace.steps.iter().rev().find_map(|step| match &step.decision {
            Decision::ReversePath { device, .. } => Some(device.to_string()),
            _ => None,
        }),
        Reason::NotForwarding => {
            let told = match cause {
                Some(EndCause::ForwardingOff(device)) => Some(device.to_string()),
                _ => None,
            };
            let row = || case.decided.first()?.split_once(".conf.")?.1.split_once(".forwarding");
            // The setting's name has the device's with its dots as slashes.
            told.or_else(|| Some(row()?.0.replace('/', ".")))
        }
        _ => None,
    }
}

/// The command that forgets a neighbour, where a step is about one.
fn neighbor(step: &Step) -> Option<String> {
    let Decision::Neighbor { address, device, .. } = &step.decision else { return None };
    let ip = if address.is_ipv6() { "ip -6" } else { "ip" };
    Some(format!("`{ip} neigh del {address} dev {device}` {}", whereabouts(&step.place)))
}

fn tunnel(step: &Step) -> Option<(String, String)> {
    let Decision::Encapsulate { device, .. } = &step.decision else { return None };
    Some((device.to_string(), whereabouts(&step.place)))
}

/// A device's name as a part of a setting's name, where a dot is written as a slash (`sysctl.conf(5)`).
fn sysctl_word(device: &str) -> String {
    device.replace('.', "/")
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::net::{Ip, NetnsId, NodeName, Transport};
    use crate::trace::Verdict;

    fn advised(reason: Reason, device: &str) -> String {
        let place =
            Place { netns: NetnsId(0), node: NodeName::new("n1"), name: NetnsName::Host, device: Some(device.into()) };
        let ip = Ip { source: [10, 0, 0, 1].into(), destination: [10, 0, 0, 2].into(), ttl: 64, tos: 0, df: false };
        let packet = Packet::new(ip, Transport::Udp { source: Some(1), destination: Some(2) }, 60);
        let step =
            Step { place, decision: Decision::Send, because: Vec::new(), packet, certain: true, tried: Vec::new() };
        let steps = vec![step.clone(), step];
        let trace = Trace { steps, verdict: Verdict::Dropped, reason: Some(reason), beside: Vec::new() };
        let (decided, devices, missing) = (Vec::new(), Vec::new(), Vec::new());
        advice(&Case { trace: &trace, step: &trace.steps[1], reason, decided, devices, missing, service: None })
    }

    #[test]
    fn every_reason_has_its_own_advice() {
        for &reason in Reason::ALL {
            assert!(!advised(reason, "eth0").starts_with("`-v` shows"), "{reason} has no advice");
        }
    }

    #[test]
    fn a_dot_in_a_devices_name_is_a_slash_in_its_settings() {
        for (reason, word) in [(Reason::RpFilter, "rp_filter=2"), (Reason::NotForwarding, "forwarding=1")] {
            let text = advised(reason, "flannel.1");
            assert!(text.contains(&format!("net.ipv4.conf.flannel/1.{word}`")), "{text}");
        }
        assert!(advised(Reason::RpFilter, "flannel.1").ends_with("route back by flannel.1"));
    }
}
