//! One thing to try, for each reason that a packet can end with.

use super::missing;
use crate::net::{IfName, NetnsName, Packet};
use crate::trace::{Decision, Reason, Step};

/// An end that advice is wanted for.
#[derive(Clone, Debug)]
pub(super) struct Case<'a> {
    /// The last step.
    pub(super) step: &'a Step,
    /// Why it was the last.
    pub(super) reason: Reason,
    /// The line that decided, empty where none did.
    pub(super) decided: &'a str,
    /// The bridge port that the frame was to leave by, where it had come so far.
    pub(super) port: Option<&'a IfName>,
    /// What is missing to go on.
    pub(super) missing: Vec<&'a str>,
    /// Whether the packet didn't get anywhere at all.
    pub(super) at_start: bool,
}

/// What to try next, in one sentence. The text may hold names of the snapshot as they are.
pub(super) fn advice(case: &Case<'_>) -> String {
    let (at, reason) = (At::new(case.step, case.port), case.reason);
    match reason {
        Reason::Rule => return rule_advice(&at, case.decided),
        Reason::NeighborFailed | Reason::NoRoute if is_isolated(case.decided) => {
            return "`bridge link set dev PORT isolated off` for one of the two ports named above".to_owned();
        }
        Reason::NeighborFailed if case.decided.contains("NO-CARRIER") => {
            return "see that the other side of the device named above is up; a bridge needs a port that is".to_owned();
        }
        Reason::NeighborFailed | Reason::NoRoute if is_device(case.decided) => {
            return "`ip link set DEVICE up` for the device named above, and see that its other side is up too"
                .to_owned();
        }
        Reason::NobodyOwns if case.at_start => return no_way_back(&at),
        Reason::MissingTable if is_unread(case.step) => {
            return "take the file that could not be read again, or mend the line, and ask again".to_owned();
        }
        Reason::MissingTable => {
            return missing::advice(case.missing.iter().copied()).unwrap_or_else(|| rest_advice(&at, reason));
        }
        _ => {}
    }
    link_advice(&at, reason)
        .or_else(|| route_advice(&at, reason))
        .or_else(|| tunnel_advice(&at, reason))
        .unwrap_or_else(|| rest_advice(&at, reason))
}

/// Whether something is there and could not be read.
fn is_unread(step: &Step) -> bool {
    let Decision::End { detail: Some(detail), .. } = &step.decision else { return false };
    detail.contains("could not be read") || detail.contains("was not read")
}

/// Whether a line is a bridge port's that is isolated.
fn is_isolated(line: &str) -> bool {
    line.contains(" isolated on")
}

/// Whether a line is a device's: `2: eth0@if12: <BROADCAST> …`.
fn is_device(line: &str) -> bool {
    line.contains(": <")
}

/// The names that advice is about.
struct At {
    place: String,
    node: String,
    device: String,
    port: String,
    source: String,
    destination: String,
    ip: &'static str,
    length: u32,
}

impl At {
    fn new(step: &Step, port: Option<&IfName>) -> Self {
        let packet: &Packet = &step.packet;
        let place = match &step.place.name {
            NetnsName::Host => format!("on {}", step.place.node),
            NetnsName::Pod(pod) => format!("in the network namespace of pod {pod} on {}", step.place.node),
        };
        let device = step.place.device.as_ref().map_or_else(|| "DEVICE".to_owned(), ToString::to_string);
        Self {
            place,
            node: step.place.node.to_string(),
            port: port.map_or_else(|| device.clone(), ToString::to_string),
            device,
            source: packet.ip.source.to_string(),
            destination: packet.ip.destination.to_string(),
            ip: if packet.ip.destination.is_ipv6() { "ip -6" } else { "ip" },
            length: packet.length,
        }
    }
}

/// A device's name as a part of a setting's name, where a dot is written as a slash (`sysctl.conf(5)`).
fn sysctl_word(device: &str) -> String {
    device.replace('.', "/")
}

fn route_advice(at: &At, reason: Reason) -> Option<String> {
    let At { place, device, source, destination, ip, length, .. } = at;
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
            let family = if *ip == "ip" { "ipv4" } else { "ipv6" };
            format!("`sysctl -w net.{family}.conf.all.forwarding=1 net.{family}.conf.{key}.forwarding=1` {place}")
        }
        Reason::TtlExceeded => format!("`--ttl 64`, and if it still ends here, look for the routes that loop {place}"),
        Reason::FragmentationNeeded => format!(
            "`--size` with less than {length} bytes; then give the senders the smaller MTU, and let ICMP errors through"
        ),
        Reason::TooBig => format!("set the same MTU on both sides of {device} {place}, or `--size` below {length}"),
        Reason::Loop => format!("`{ip} route get {destination}` on each node of the loop; one of them points back"),
        Reason::NoAddress | Reason::NoSource => {
            format!("`{ip} addr show` {place}: the sending device has no usable address; add one, or `--source`")
        }
        _ => return None,
    })
}

fn link_advice(at: &At, reason: Reason) -> Option<String> {
    let At { place, device, port, destination, ip, .. } = at;
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
        Reason::NoReceiver => format!("compare the next hop's address with the nodes' own: nobody {place} takes it"),
        Reason::HairpinOff => {
            format!("`bridge link set dev {port} hairpin on` {place}; CNI plugins do it with \"hairpinMode\": true")
        }
        Reason::IsolatedPort => format!("`bridge link set dev {port} isolated off` {place}, on one of the two ports"),
        Reason::PortNotForwarding => format!("`bridge link show dev {port}` {place}: see why the port is blocked"),
        _ => return None,
    })
}

fn tunnel_advice(at: &At, reason: Reason) -> Option<String> {
    let At { place, device, destination, .. } = at;
    Some(match reason {
        Reason::FdbMiss => format!(
            "compare `bridge fdb show dev {device}` {place} with the peer's Node annotation flannel.alpha.coreos.com/\
             backend-data; a restart of flanneld {place} writes both anew"
        ),
        Reason::VniMismatch => "give both nodes' tunnel devices the same VNI (`ip -d link show type vxlan`)".to_owned(),
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
fn no_way_back(at: &At) -> String {
    let At { destination, .. } = at;
    format!(
        "masquerade the packet where it leaves the cluster, or give the network there a route back to {destination}: \
         `iptables-save -t nat` shows whether a MASQUERADE rule is missing"
    )
}

/// Rules that Kubernetes writes are changed by changing what they were made of.
fn rule_advice(at: &At, rule: &str) -> String {
    let At { place, source, destination, .. } = at;
    if rule.contains("has no endpoints") || rule.contains("has no local endpoints") {
        "`kubectl get endpointslices,pods -A -o wide`: the service has no ready pod (on this node) behind it".to_owned()
    } else if ["KUBE-NWPLCY", "KUBE-POD-FW", "-A cali-"].iter().any(|chain| rule.contains(chain)) {
        format!("`kubectl get networkpolicies -A`: one that selects {source} or {destination} doesn't allow this")
    } else {
        format!("put a rule that accepts {source} to {destination} before this one {place}")
    }
}

fn rest_advice(at: &At, reason: Reason) -> String {
    let At { place, node, source, destination, ip, .. } = at;
    match reason {
        Reason::Policy => {
            format!("add a rule {place} that accepts {source} to {destination}: the policy drops the rest")
        }
        Reason::ReplyNotMatched => format!(
            "let the answer pass the node that rewrote the packet: masquerade the request, or set \
             net.bridge.bridge-nf-call-iptables=1 on {node} where client and server share a bridge"
        ),
        Reason::EchoIgnored => format!("`sysctl -w net.ipv4.icmp_echo_ignore_all=0` {place}, or ask with tcp or udp"),
        Reason::BadChecksum => format!(
            "leave the tunnel's own packets out of the address translation {place}, or switch the tunnel device's \
             checksum offload off: `ethtool -K flannel.1 tx-checksum-ip-generic off`"
        ),
        Reason::NobodyOwns => format!(
            "`{ip} route get {destination}` {place}: this way leads to where nobody has the address; look for the route \
             that is missing"
        ),
        Reason::UnknownEntry => "`--at NODE/DEVICE` says where the packet comes in".to_owned(),
        Reason::MissingTable => "take what is missing into the snapshot, and ask again".to_owned(),
        Reason::NotModelled => "look at the line above: flowtrace does not know what it does".to_owned(),
        Reason::Userspace => "the line above names who decides: ask there".to_owned(),
        Reason::TooLong => "fewer ways (`--max-paths 1`), or a packet whose choices are given".to_owned(),
        Reason::Conntrack => format!("`conntrack -L` and `sysctl net.netfilter` {place}: tracking refused the packet"),
        Reason::NatFailed => format!("`conntrack -L -d {destination}` {place}: NAT found no free address or port"),
        Reason::ProtocolUnreachable => "ask for the protocol that the receiver takes (`--proto`)".to_owned(),
        Reason::NotUnicast => "ask for a unicast address: flowtrace does not walk broadcasts and multicasts".to_owned(),
        _ => format!("`-v` shows every step up to here {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Ip, NetnsId, NodeName, Transport};
    use crate::trace::{Decision, Place};

    fn advised(reason: Reason, device: &str) -> String {
        let place =
            Place { netns: NetnsId(0), node: NodeName::new("n1"), name: NetnsName::Host, device: Some(device.into()) };
        let ip = Ip { source: [10, 0, 0, 1].into(), destination: [10, 0, 0, 2].into(), ttl: 64, tos: 0, df: false };
        let packet = Packet::new(ip, Transport::Udp { source: Some(1), destination: Some(2) }, 60);
        let step =
            Step { place, decision: Decision::Send, because: Vec::new(), packet, certain: true, tried: Vec::new() };
        advice(&Case { step: &step, reason, decided: "", port: None, missing: Vec::new(), at_start: false })
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
