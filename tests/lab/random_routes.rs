//! Random routes, policy rules and nexthop objects.

use super::flannel::{Cluster, INTERNET4, INTERNET6};
use super::node::Node;
use super::rng::Rng;
use super::scenario::Scenario;

/// Adds some to some nodes.
pub fn add_routes(scenario: &mut Scenario, cluster: &Cluster, rng: &mut Rng, words: &mut Vec<String>) {
    for node in &cluster.nodes {
        if !rng.percent(40) {
            continue;
        }
        let family = *rng.pick(cluster.families());
        let mut lines = Vec::new();
        for _ in 0..rng.between(1, 3) {
            lines.extend(route(cluster, node, family, rng, "main"));
        }
        if rng.percent(60) {
            for n in 0..rng.between(1, 3) {
                lines.push(rule(cluster, family, rng, 100 + n));
                lines.extend(route(cluster, node, family, rng, "100"));
            }
        }
        let space = scenario.space(&node.name());
        for line in lines {
            words.push(format!("{} ip {line}", node.name()));
            space.attempts.push((family, line));
        }
    }
}

fn prefix(cluster: &Cluster, family: u8, rng: &mut Rng) -> String {
    let node = rng.pick(&cluster.nodes).number;
    let pod = rng.pick(&cluster.pods);
    match (rng.below(6), family) {
        (0, 4) => format!("10.244.{node}.0/25"),
        (0, _) => format!("fd00:10:244:{node}::/72"),
        (1, 4) => format!("{}/32", pod.address4()),
        (1, _) => format!("{}/128", pod.address6()),
        (2, 4) => "203.0.113.0/24".to_owned(),
        (2, _) => "2001:db8:113::/48".to_owned(),
        (3, 4) => format!("{INTERNET4}/32"),
        (3, _) => format!("{INTERNET6}/128"),
        (4, 4) => "10.96.0.0/16".to_owned(),
        (4, _) => "fd00:10:96::/64".to_owned(),
        (_, 4) => "0.0.0.0/1".to_owned(),
        _ => "::/1".to_owned(),
    }
}

/// A gateway that is on the link, or a device.
fn hop(cluster: &Cluster, node: &Node, family: u8, rng: &mut Rng) -> String {
    let peers: Vec<&Node> =
        cluster.nodes.iter().filter(|peer| peer.number != node.number && peer.subnet == node.subnet).collect();
    match (rng.below(4), family) {
        (0 | 1, _) if !peers.is_empty() => {
            let peer = rng.pick(&peers);
            if family == 4 { format!("via {}", peer.address4()) } else { format!("via {}", peer.address6()) }
        }
        // Without the device, a route of the same table could put the gateway on another link.
        (2, 4) if node.second_uplink => "via 198.51.100.1 dev eth1".to_owned(),
        (_, 4) => format!("via {}", node.gateway4()),
        _ => format!("via {}", node.gateway6()),
    }
}

fn route(cluster: &Cluster, node: &Node, family: u8, rng: &mut Rng, table: &str) -> Vec<String> {
    // Below the metrics of flannel's own routes, so that no line is a duplicate.
    let metric = rng.between(50, 250);
    let prefix = if table != "main" && rng.percent(50) { "default".to_owned() } else { prefix(cluster, family, rng) };
    let prefix = match (prefix.as_str(), family) {
        ("default", 6) => "::/0".to_owned(),
        ("default", _) => "0.0.0.0/0".to_owned(),
        _ => prefix,
    };
    let tail = format!("table {table} metric {metric}");
    match rng.below(10) {
        0 => {
            vec![format!("route add {} {prefix} {tail}", rng.word(&["blackhole", "unreachable", "prohibit", "throw"]))]
        }
        1 => vec![format!("route add {prefix} dev eth0 {tail}")],
        2 if family == 4 => {
            let (a, b) = (hop(cluster, node, 4, rng), format!("via {}", node.gateway4()));
            vec![format!(
                "route add {prefix} {tail} nexthop {a} weight {} nexthop {b} weight {}",
                rng.between(1, 3),
                rng.between(1, 3)
            )]
        }
        3 => {
            let id = rng.between(1000, 999_999);
            let hop = hop(cluster, node, family, rng);
            let dev = if hop.contains(" dev ") { "" } else { " dev eth0" };
            vec![format!("nexthop add id {id} {hop}{dev}"), format!("route add {prefix} nhid {id} {tail}")]
        }
        4 => {
            let hop = hop(cluster, node, family, rng);
            vec![format!("route add {prefix} {hop} {tail} mtu {}", rng.between(1280, 1500))]
        }
        _ => {
            let hop = hop(cluster, node, family, rng);
            vec![format!("route add {prefix} {hop} {tail}")]
        }
    }
}

fn rule(cluster: &Cluster, family: u8, rng: &mut Rng, pref: usize) -> String {
    let pod = rng.pick(&cluster.pods).address(family);
    let not = if rng.percent(15) { "not " } else { "" };
    let select = match rng.below(9) {
        0 => format!("from {pod}"),
        1 => format!("to {pod}"),
        2 => "iif cni0".to_owned(),
        3 => "fwmark 0x10/0x30".to_owned(),
        4 => "tos 0x10".to_owned(),
        5 => format!("ipproto {}", rng.word(&["udp", "tcp"])),
        6 => format!("ipproto {} dport {}", rng.word(&["udp", "tcp"]), rng.word(&["7000", "8080", "7000-9000"])),
        7 => "oif eth0".to_owned(),
        _ => format!("to {}", if family == 4 { INTERNET4 } else { INTERNET6 }),
    };
    let action = match rng.below(8) {
        0 => "unreachable".to_owned(),
        1 => "prohibit".to_owned(),
        2 => "blackhole".to_owned(),
        3 => "lookup main suppress_prefixlength 0".to_owned(),
        4 => "goto 32766".to_owned(),
        _ => "lookup 100".to_owned(),
    };
    format!("rule add pref {pref} {not}{select} {action}")
}
