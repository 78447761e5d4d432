//! One thing to try, for each reason that a packet can end with.

use super::cycle;
use super::fault::{Device, State};
use super::missing;
use crate::net::{Encapsulation, NetnsName, Packet};
use crate::trace::{Decision, Place, Reason, Step, Trace};

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
    /// What was found out about the service whose address the packet still has.
    pub(super) service: Option<&'a str>,
}

/// What to try next, in one sentence. The text may hold names of the snapshot as they are.
pub(super) fn advice(case: &Case<'_>) -> String {
    let (at, reason) = (At::new(case), case.reason);
    case_advice(case, &at)
        .or_else(|| device_advice(case, &at))
        .or_else(|| detail_advice(&at, reason))
        .or_else(|| link_advice(&at, reason))
        .or_else(|| route_advice(&at, reason))
        .or_else(|| tunnel_advice(&at, reason))
        .unwrap_or_else(|| rest_advice(&at, reason))
}

/// What the whole way, the rule or the missing files ask for, whatever the reason's usual advice is.
fn case_advice(case: &Case<'_>, at: &At<'_>) -> Option<String> {
    let decided = case.decided.first().copied().unwrap_or("");
    match case.reason {
        Reason::Rule => Some(rule_advice(at, decided)),
        Reason::NobodyOwns if case.trace.steps.len() == 1 => Some(no_way_back(at)),
        Reason::NobodyOwns | Reason::NoRoute | Reason::NeighborFailed | Reason::NoReceiver => {
            case.service.map(|service| service_advice(at, service)).or_else(|| stopped_message(case, at))
        }
        Reason::MissingTable if at.detail.contains("could not be read") || at.detail.contains("was not read") => {
            Some("take the file that could not be read again, or mend the line, and ask again".to_owned())
        }
        Reason::MissingTable if at.detail.contains("the file was cut off") => {
            Some("take the file that was cut off again, and ask again".to_owned())
        }
        Reason::MissingTable => missing::unprinted(at.detail).or_else(|| missing::advice(case.missing.iter().copied())),
        Reason::TtlExceeded | Reason::Loop | Reason::TooLong => cycle_advice(case.trace),
        _ => None,
    }
}

/// The routes that keep a packet going round.
fn cycle_advice(trace: &Trace) -> Option<String> {
    let cycle = cycle::cycle(trace)?;
    let routes: Vec<String> = cycle.routes(trace).into_iter().filter_map(deletion).collect();
    match routes.as_slice() {
        [] => None,
        [one] => Some(format!("change the route that sends the packet round, or take it away: {one}")),
        [one, other] => Some(format!("change one of the two routes, or take it away: {one}, or {other}")),
        several => Some(format!("change one of the routes, or take it away: {}", several.join(", or "))),
    }
}

/// The command that takes a route away, and where.
fn deletion(step: &Step) -> Option<String> {
    let Decision::Route { table, prefix: Some(prefix), via, device, .. } = &step.decision else { return None };
    let prefix = if prefix.prefix_len() == 0 { "default".to_owned() } else { prefix.to_string() };
    let via = via.map(|via| format!(" via {via}")).unwrap_or_default();
    let device = device.as_ref().map(|device| format!(" dev {device}")).unwrap_or_default();
    let table = table.map(|table| table.to_string()).filter(|table| table != "main");
    let table = table.map(|table| format!(" table {table}")).unwrap_or_default();
    let ip = ip_word(&step.packet);
    Some(format!("`{ip} route del {prefix}{via}{device}{table}` {}", whereabouts(&step.place)))
}

/// A packet to a service's address that no rule rewrote: no route to that address is missing, none is meant to be.
fn service_advice(at: &At<'_>, service: &str) -> String {
    let At { destination, save, .. } = at;
    if service.contains("answers only to its ports") {
        format!("ask for one of the service's ports, named above: {destination} is the address of no machine")
    } else if service.contains(" has no port ") {
        "ask for one of the service's ports, named above, or add this one to the service".to_owned()
    } else {
        format!(
            "`{save} -t nat` on the nodes: no rule for {destination}; see that kube-proxy runs there, and that the \
             service has endpoints"
        )
    }
}

/// A message that asks for the neighbour, and that a rule stopped.
fn stopped_message(case: &Case<'_>, at: &At<'_>) -> Option<String> {
    let is_rule = |line: &&str| line.starts_with("-A ") || line.starts_with('[');
    let stopped = case.reason == Reason::NeighborFailed && at.is_v6 && at.detail.contains(" ends at ");
    let ends = stopped && case.decided.iter().any(is_rule);
    ends.then(|| {
        "put a rule before this one that accepts the messages which ask for neighbours: `-p ipv6-icmp --icmpv6-type \
         135 -j ACCEPT`, and the same with 136"
            .to_owned()
    })
}

/// What the devices named by the evidence are to be changed to.
fn device_advice(case: &Case<'_>, at: &At<'_>) -> Option<String> {
    let device = match case.reason {
        Reason::NeighborFailed | Reason::NoRoute => {
            if let Some(isolated) = isolated(case) {
                return Some(isolated);
            }
            case.devices.iter().find(|device| device.state != State::Up)?
        }
        _ => case.devices.first()?,
    };
    let Device { name, place, state } = device;
    let reason = case.reason;
    Some(match (reason, state) {
        (Reason::PortNotForwarding | Reason::NeighborFailed, State::Port(_)) => {
            format!("`bridge link set dev {name} state 3` {place}: that is \"forwarding\"")
        }
        (Reason::DeviceDown | Reason::NeighborFailed, State::NoCarrier) => format!(
            "`ip link show {name}` {place} says NO-CARRIER: bring up what it is joined to, the other end of a veth pair, \
             a bridge's port, or the switch"
        ),
        (Reason::DeviceDown | Reason::NeighborFailed | Reason::NoRoute, _) => {
            format!("`ip link set {name} up` {place}, and see that its other side is up too")
        }
        (Reason::TooBig, _) => {
            format!("set the same MTU on both sides of {name} {place}, or `--size` below {}", at.length)
        }
        (Reason::HairpinOff, _) => {
            format!("`bridge link set dev {name} hairpin on` {place}; CNI plugins do it with \"hairpinMode\": true")
        }
        (Reason::IsolatedPort, _) => {
            format!("`bridge link set dev {name} isolated off` {place}, for one of the two ports")
        }
        (Reason::NoReceiver, _) if at.detail.ends_with(" is a dummy device") => format!(
            "`{} route get {}` {place}: it leads to {name}, a dummy device, behind which is nobody",
            at.ip, at.destination
        ),
        (Reason::NoSource, _) => format!(
            "`ip -d link show {name}` {place}: its local address is none of the namespace's; give it back (`ip addr \
             add`), or make the tunnel anew (restart flanneld)"
        ),
        _ => return None,
    })
}

/// Two isolated ports between which nobody is heard.
fn isolated(case: &Case<'_>) -> Option<String> {
    case.decided.iter().any(|line| line.contains(" isolated on")).then_some(())?;
    let port = case.devices.first()?;
    Some(format!("`bridge link set dev {} isolated off` {}, for one of the two ports", port.name, port.place))
}

/// Advice for the causes that only the words of an end tell apart.
fn detail_advice(at: &At<'_>, reason: Reason) -> Option<String> {
    let At { place, device, detail, source, destination, .. } = at;
    match reason {
        Reason::PortNotForwarding => vlan_advice(at),
        Reason::NotForwarding => {
            let off = detail.strip_prefix("IPv6 is disabled on ")?;
            let key = sysctl_word(off);
            Some(format!("`sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.{key}.disable_ipv6=0` {place}"))
        }
        Reason::NeighborFailed if detail.ends_with("takes no request from this sender") => Some(format!(
            "see that whoever has the next hop's address has a route back to {source} by the device that is asked \
             (`rp_filter` and `arp_ignore` there)"
        )),
        Reason::FragmentationNeeded => {
            let most: u32 = detail.rsplit_once(' ')?.1.parse().ok()?;
            Some(format!(
                "`--size` with at most {most} bytes; then give the senders the smaller MTU, and let ICMP errors through"
            ))
        }
        Reason::TooLong if detail.starts_with("the chains ") => {
            Some(format!("look for the chain of that table which leads back into itself {place}"))
        }
        Reason::FdbMiss => {
            let (_, port) = detail.split_once(" doesn't flood to ")?;
            Some(format!("`bridge link set dev {port} flood on` {place}, or give {device} an entry for the address"))
        }
        Reason::TunnelLoop if detail.contains("this node's own address") => Some(format!(
            "`bridge fdb show` {place}: the entry of the tunnel names {destination}, which is this node itself; a \
             restart of flanneld writes it anew"
        )),
        Reason::TtlExceeded if detail.contains("points to this node itself") => Some(format!(
            "`bridge fdb show` {place}: the entry of the tunnel names an address of this node itself; a restart of \
             flanneld writes it anew"
        )),
        Reason::NatFailed => {
            let named = detail.split_once(" has no address to masquerade with").map(|(device, _)| device);
            let device = named.unwrap_or(device);
            Some(format!("give {device} an address {place}: `{} addr show dev {device}`", at.ip))
        }
        Reason::EchoIgnored => {
            let (key, _) = detail.split_once(" is set")?;
            Some(format!("`sysctl -w {key}=0` {place}, or ask with tcp or udp"))
        }
        _ => None,
    }
}

/// A bridge that filters VLANs has its own table.
fn vlan_advice(at: &At<'_>) -> Option<String> {
    let At { place, detail, .. } = at;
    if let Some((port, bridge)) = detail.split_once(" has no VLAN for untagged frames, and ") {
        let itself = if bridge.strip_prefix(port) == Some(" filters VLANs") { " self" } else { "" };
        return Some(format!(
            "`bridge vlan show dev {port}` {place}, then `bridge vlan add dev {port} vid 1 pvid untagged{itself}` with \
             the other ports' VLAN"
        ));
    }
    let (port, vid) = detail.split_once(" doesn't carry VLAN ")?;
    Some(format!("`bridge vlan show dev {port}` {place}, then `bridge vlan add dev {port} vid {vid} untagged`"))
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
        let detail = match &step.decision {
            Decision::End { detail: Some(detail), .. } => detail.as_str(),
            _ => "",
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
            detail,
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
    let Decision::End { detail, .. } = &case.step.decision else { return None };
    match case.reason {
        Reason::RpFilter => case.trace.steps.iter().rev().find_map(|step| match &step.decision {
            Decision::ReversePath { device, .. } => Some(device.to_string()),
            _ => None,
        }),
        Reason::NotForwarding => {
            let told = detail.as_ref().and_then(|detail| detail.split_once("forwarding is off for "));
            let row = || case.decided.first()?.split_once(".conf.")?.1.split_once(".forwarding");
            // The setting's name has the device's with its dots as slashes.
            told.map(|(_, device)| device.to_owned()).or_else(|| Some(row()?.0.replace('/', ".")))
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

fn route_advice(at: &At<'_>, reason: Reason) -> Option<String> {
    let At { place, device, source, destination, ip, length, detail, .. } = at;
    let key = sysctl_word(device);
    Some(match reason {
        Reason::NoRoute => format!("`{ip} route get {destination}` {place}; add the route that should answer"),
        Reason::Blackhole | Reason::Unreachable | Reason::Prohibit => {
            format!("find out who made this {reason} entry, and delete it {place} if {destination} is to be reached")
        }
        Reason::RpFilter => format!(
            "`sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{key}.rp_filter=2` {place}, or give {source} a \
             route back by {device}"
        ),
        Reason::MartianSource => format!("find out who sends from {source}: {place} no packet may come in with it"),
        Reason::MartianDestination => {
            format!("find out who sends to {destination}: {place} no packet may come in for it")
        }
        Reason::NotForwarding => {
            let family = if at.is_v6 { "ipv6" } else { "ipv4" };
            let own = if key == "all" { String::new() } else { format!(" net.{family}.conf.{key}.forwarding=1") };
            format!("`sysctl -w net.{family}.conf.all.forwarding=1{own}` {place}")
        }
        Reason::TtlExceeded => "ask with a larger `--ttl`: the way is longer than this one".to_owned(),
        Reason::FragmentationNeeded => format!(
            "`--size` with less than {length} bytes; then give the senders the smaller MTU, and let ICMP errors through"
        ),
        Reason::TooBig => format!("set the same MTU everywhere {place}, or `--size` below {length}"),
        Reason::Loop if detail.contains(" comes back to it ") => {
            format!("give {destination} a route {place} that doesn't lead into the tunnel itself")
        }
        Reason::Loop => format!("`{ip} route get {destination}` on each node of the loop; one of them points back"),
        Reason::NoAddress | Reason::NoSource => {
            format!("`{ip} addr show` {place}: the sending device has no usable address; add one, or `--source`")
        }
        _ => return None,
    })
}

fn link_advice(at: &At<'_>, reason: Reason) -> Option<String> {
    let At { place, device, destination, ip, neighbor, .. } = at;
    Some(match reason {
        Reason::DeviceDown => format!("`ip link set {device} up` {place}, and see that its other side is up too"),
        Reason::NoDevice => format!("`ip link show` {place}: a table names a device that isn't there"),
        Reason::NeighborFailed => {
            format!("`{ip} neigh show` {place}, and see that the next hop towards {destination} is up on that link")
        }
        Reason::OtherHost => format!(
            "`{ip} neigh show` and `bridge fdb show` where the frame was sent: one of them does not lead to this \
             device ({device})"
        ),
        Reason::NoReceiver => match neighbor {
            Some(forget) => {
                format!("{forget}, so that it is asked for anew: nobody on this link has that link address")
            }
            None => format!("compare the next hop's address with the nodes' own: nobody {place} takes it"),
        },
        Reason::HairpinOff => format!("`bridge link` {place}: set `hairpin on` for the port that the pod is behind"),
        Reason::IsolatedPort => format!("`bridge link` {place}: set `isolated off` for one of the two ports"),
        Reason::PortNotForwarding => {
            format!("`bridge -d link show` {place}: see which port is not forwarding, and why")
        }
        _ => return None,
    })
}

fn tunnel_advice(at: &At<'_>, reason: Reason) -> Option<String> {
    let At { place, device, destination, .. } = at;
    let data = if at.is_v6 { "backend-v6-data" } else { "backend-data" };
    Some(match reason {
        Reason::FdbMiss => format!(
            "compare `bridge fdb show dev {device}` {place} with the peer's Node annotation flannel.alpha.coreos.com/\
             {data}; a restart of flanneld {place} writes both anew"
        ),
        Reason::VniMismatch => "give both nodes' tunnel devices the same VNI (`ip -d link show type vxlan`)".to_owned(),
        Reason::NoVtep if at.is_relayed => format!("see that flanneld runs {place}: nobody there takes its packets"),
        Reason::NoVtep => format!(
            "`ip -d link show type vxlan` on the node that owns {destination}: see that the tunnel is up, and that its \
             port is the sender's"
        ),
        Reason::NoRelay => format!("see that flanneld runs {place} and knows the peer's subnet"),
        Reason::TunnelLoop => {
            format!("give {destination} a route {place} that doesn't lead into the tunnel itself")
        }
        _ => return None,
    })
}

/// An answer to an address that whoever was asked can't reach.
fn no_way_back(at: &At<'_>) -> String {
    let At { destination, save, .. } = at;
    format!(
        "masquerade the packet where it leaves the cluster, or give the network there a route back to {destination}: \
         `{save} -t nat` shows whether a MASQUERADE rule is missing"
    )
}

/// Rules that Kubernetes writes are changed by changing what they were made of.
fn rule_advice(at: &At<'_>, rule: &str) -> String {
    let At { place, source, destination, .. } = at;
    if rule.contains("has no endpoints") || rule.contains("has no local endpoints") {
        "`kubectl get endpointslices,pods -A -o wide`: the service has no ready pod (on this node) behind it".to_owned()
    } else if ["KUBE-NWPLCY", "KUBE-POD-FW", "-A cali-"].iter().any(|chain| rule.contains(chain)) {
        format!("`kubectl get networkpolicies -A`: one that selects {source} or {destination} doesn't allow this")
    } else {
        format!("put a rule that accepts {source} to {destination} before this one {place}")
    }
}

fn rest_advice(at: &At<'_>, reason: Reason) -> String {
    let At { place, node, source, destination, ip, .. } = at;
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
        Reason::BadChecksum => checksum_advice(at),
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
        Reason::NatFailed => format!("`{ip} addr show` {place}: NAT found no address to give"),
        Reason::ProtocolUnreachable => "ask for the protocol that the receiver takes (`--proto`)".to_owned(),
        Reason::NotUnicast => "ask for a unicast address: flowtrace does not walk broadcasts and multicasts".to_owned(),
        _ => format!("`-v` shows every step up to here {place}"),
    }
}

/// The tunnel that put the wrong checksum on, and where.
fn checksum_advice(at: &At<'_>) -> String {
    let (device, place) = at.tunnel.as_ref().map_or(("DEVICE", &at.place), |(device, place)| (device.as_str(), place));
    format!(
        "leave the tunnel's own packets out of the address translation {place}, or switch the tunnel device's checksum \
         offload off there: `ethtool -K {device} tx-checksum-ip-generic off`"
    )
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
        let trace = Trace { steps, verdict: Verdict::Dropped, reason: Some(reason) };
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
