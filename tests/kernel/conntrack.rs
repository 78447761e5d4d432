//! Connections that are there before the packet: what the kernel makes of a packet that fits one must be what
//! `explain` says of the snapshot that holds it.

use crate::lab::flannel::{FlannelBackend, INTERNET4};
use crate::lab::judge::{must_agree, must_agree_but_for};
use crate::lab::probe::{Probe, Proto, Want};
use crate::lab::scenario::Scenario;
use crate::lab::situations::two_nodes;

const POD1: &str = "default/pod1";

/// The cluster, with connections in the table of node n1. A connection has both its NAT options, also where one changes
/// nothing: real ones have been through the nat tables, while one made by hand without them is asked about there again.
fn with_connections(connections: &[&str]) -> Scenario {
    let mut scenario = two_nodes("conntrack", FlannelBackend::Vxlan).scenario();
    let node = scenario.space("n1");
    node.conntrack.extend(connections.iter().map(|line| format!("-I -t 600 {line}")));
    scenario
}

fn tcp(to: &str, port: u16, sport: u16) -> Probe {
    Probe::ask(POD1, to, Proto::Tcp, to, port).sport(sport)
}

fn udp(to: &str, port: u16, sport: u16) -> Probe {
    Probe::ask(POD1, to, Proto::Udp, to, port).sport(sport)
}

/// A TCP connection from pod1 to the web service that was sent to pod2, which is no endpoint any more.
fn stale(sport: u16, state: &str, more: &str) -> String {
    format!(
        "-p tcp -s 10.244.1.2 -d 10.96.0.20 --sport {sport} --dport 80 --src-nat 10.244.1.2:{sport} \
         --dst-nat 10.244.2.2:8080 --state {state} {more}"
    )
}

fn agree(connections: &[&str], probe: Probe) {
    let mut scenario = with_connections(connections);
    scenario.probe(probe);
    must_agree(scenario, "");
}

#[test]
fn a_stale_udp_connection_leads_to_the_old_endpoint() {
    let line = "-p udp -s 10.244.1.2 -d 10.96.0.10 --sport 41000 --dport 53 --src-nat 10.244.1.2:41000 \
                --dst-nat 10.244.2.2:53";
    agree(&[line], udp("10.96.0.10", 53, 41000).want(Want::Answered("default/pod2".to_owned())));
}

#[test]
fn a_syn_sent_again_follows_the_connection_that_it_started() {
    agree(&[&stale(41001, "SYN_SENT", "")], tcp("10.96.0.20", 80, 41001).listening(8080));
}

#[test]
fn a_syn_on_an_established_connection_keeps_its_translation() {
    let line = stale(41002, "ESTABLISHED", "-u SEEN_REPLY,ASSURED");
    agree(&[&line], tcp("10.96.0.20", 80, 41002).listening(8080));
}

#[test]
fn a_syn_after_time_wait_starts_a_new_connection() {
    let line = stale(41003, "TIME_WAIT", "-u SEEN_REPLY,ASSURED");
    agree(&[&line], tcp("10.96.0.20", 80, 41003).listening(8080));
}

#[test]
fn a_syn_after_a_reset_may_start_a_new_connection() {
    let line = stale(41004, "CLOSE", "-u SEEN_REPLY,ASSURED");
    let mut scenario = with_connections(&[&line]);
    scenario.probe(tcp("10.96.0.20", 80, 41004).listening(8080));
    // The table doesn't say who sent the reset.
    must_agree_but_for(scenario, "the reset that closed this connection came from the same side");
}

#[test]
fn a_syn_from_the_server_of_a_connection_is_invalid() {
    let line = "-p tcp -s 10.244.2.2 -d 10.244.1.2 --sport 7000 --dport 41005 --src-nat 10.244.2.2:7000 \
                --dst-nat 10.244.1.2:41005 --state ESTABLISHED -u SEEN_REPLY,ASSURED";
    agree(&[line], tcp("10.244.2.2", 7000, 41005).silent());
}

#[test]
fn a_packet_that_answers_a_connection_is_translated_back() {
    let line = "-p udp -s 10.244.2.2 -d 192.0.2.11 --sport 7000 --dport 30053 --src-nat 10.244.2.2:7000 \
                --dst-nat 10.244.1.2:41006";
    agree(&[line], udp("10.244.2.2", 7000, 41006));
}

#[test]
fn a_connection_in_another_zone_is_another_one() {
    let line = "-p udp -s 10.244.1.2 -d 10.96.0.10 --sport 41007 --dport 53 --src-nat 10.244.1.2:41007 \
                --dst-nat 10.244.2.2:53 --zone 7";
    agree(&[line], udp("10.96.0.10", 53, 41007).want(Want::Answered("kube-system/coredns".to_owned())));
}

#[test]
fn a_connection_gives_its_mark_back() {
    let line = "-p udp -s 10.244.1.2 -d 10.244.2.2 --sport 41008 --dport 7000 --src-nat 10.244.1.2:41008 \
                --dst-nat 10.244.2.2:7000 -m 5";
    let mut scenario = with_connections(&[line]);
    let rules = scenario.space("n1").rules4();
    rules.insert("mangle", "PREROUTING -j CONNMARK --restore-mark");
    rules.insert("filter", "FORWARD -m mark --mark 0x5 -j DROP");
    scenario.probe(udp("10.244.2.2", 7000, 41008).silent());
    must_agree(scenario, "");
}

#[test]
fn a_source_port_that_another_connection_has_is_not_taken_again() {
    // pod3 already talks to the outside from the port that pod1's packet has, behind the node's address.
    let line = "-p udp -s 10.244.1.3 -d 203.0.113.9 --sport 41009 --dport 7000 --dst-nat 203.0.113.9:7000 \
                --src-nat 192.0.2.11:41009";
    agree(&[line], udp(INTERNET4, 7000, 41009));
}

/// A node that masquerades from two ports alone, and connections that have some of them.
fn masqueraded_from_two_ports(taken: &[u16]) -> Scenario {
    let lines: Vec<String> = taken
        .iter()
        .map(|port| {
            format!(
                "-p udp -s 10.244.1.3 -d 203.0.113.9 --sport {} --dport 7000 --dst-nat 203.0.113.9:7000 \
                 --src-nat 192.0.2.11:{port}",
                port + 1000
            )
        })
        .collect();
    let mut scenario = with_connections(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let rules = scenario.space("n1").rules4();
    rules.insert("nat", "POSTROUTING -o eth0 -p udp -m udp --dport 7000 -j MASQUERADE --to-ports 20000-20001");
    scenario
}

#[test]
fn a_port_that_is_left_of_a_range_is_taken() {
    let mut scenario = masqueraded_from_two_ports(&[20001]);
    scenario.probe(udp(INTERNET4, 7000, 41020).answered_by("world"));
    must_agree(scenario, "");
}

#[test]
fn a_packet_is_dropped_where_no_port_of_the_range_is_left() {
    let mut scenario = masqueraded_from_two_ports(&[20000, 20001]);
    scenario.probe(udp(INTERNET4, 7000, 41021).silent());
    scenario.probe(Probe::ask("node/n1", INTERNET4, Proto::Udp, INTERNET4, 7000).sport(41022));
    must_agree(scenario, "");
}

/// A pod that tracks connections and has no nat table, with a connection whose zone is another one in the direction of
/// the question alone.
fn zones_of_one_direction(protocol: &str, more: &str) -> Scenario {
    let mut scenario = two_nodes("conntrack", FlannelBackend::Vxlan).scenario();
    let pod = scenario.space("default/pod2");
    pod.conntrack.push(format!(
        "-I -t 600 -p {protocol} -s 10.244.1.2 -d 10.244.2.2 --sport 41030 --dport 7000 -r 10.244.2.2 -q 10.244.1.2 \
         --reply-port-src 7000 --reply-port-dst 41030 --orig-zone 5 {more}"
    ));
    let rules = pod.rules4();
    rules.insert("raw", "PREROUTING -j CT --zone-orig 6");
    rules.insert("filter", "INPUT -m conntrack --ctstate INVALID -j DROP");
    scenario
}

#[test]
fn a_packet_whose_answers_would_be_those_of_another_connection_is_dropped() {
    let mut scenario = zones_of_one_direction("tcp", "--state ESTABLISHED -u SEEN_REPLY,ASSURED");
    scenario.probe(tcp("10.244.2.2", 7000, 41030).silent());
    must_agree(scenario, "");
    let mut scenario = zones_of_one_direction("udp", "");
    scenario.probe(udp("10.244.2.2", 7000, 41030).silent());
    must_agree(scenario, "");
}

#[test]
fn a_label_joins_those_that_the_connection_has() {
    let mut scenario = with_connections(&[]);
    let chain = "type filter hook forward priority 10; policy accept;";
    let rules = "ct label set 1\n  ct label set 2\n  ct label 3 drop\n  ct label 1 drop";
    scenario.space("n1").nft = format!("table ip t {{\n chain c {{\n  {chain}\n  {rules}\n }}\n}}\n");
    scenario.probe(udp("10.244.2.2", 7000, 41020).silent());
    must_agree(scenario, "");
}
