//! Targets of the nat table.

use super::*;

const CHAINS: &str = ":PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT";

fn nat(rules: &str) -> Host {
    host(&[("iptables-save", &table("nat", CHAINS, rules))])
}

fn destination(host: &Host) -> (String, Option<u16>) {
    let path = host.path();
    let packet = &path.forward.steps.last().unwrap().packet;
    (packet.ip.destination.to_string(), packet.destination_port())
}

#[test]
fn dnat_changes_the_destination_and_the_answer_changes_it_back() {
    let host =
        nat("-A PREROUTING -d 192.0.2.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 198.51.100.1:8080");
    assert_eq!(destination(&host), ("198.51.100.1".to_owned(), Some(8080)));
    let path = host.path();
    let reply = path.reply.unwrap();
    let packet = &reply.steps.last().unwrap().packet;
    assert_eq!((packet.ip.source.to_string(), packet.source_port()), (US.to_owned(), Some(80)));
}

#[test]
fn redirect_and_netmap_choose_the_address_themselves() {
    let host = nat("-A PREROUTING -p tcp -j REDIRECT --to-ports 8080").forwarded();
    assert_eq!(destination(&host), (US.to_owned(), Some(8080)));
    let host = nat("-A PREROUTING -d 203.0.113.0/24 -j NETMAP --to 198.51.100.0/24").with(packet(
        CLIENT,
        "203.0.113.7",
        tcp(80),
    ));
    assert_eq!(destination(&host), (THEM.to_owned(), Some(80)));
}

#[test]
fn masquerade_takes_the_address_of_the_device() {
    let path = nat("-A POSTROUTING -o eth1 -j MASQUERADE").forwarded().path();
    assert_eq!(path.forward.steps.last().unwrap().packet.ip.source.to_string(), "198.51.100.1");
    let path = nat("-A POSTROUTING -p tcp -j SNAT --to-source 198.51.100.1:1024-2047").forwarded().path();
    let packet = &path.forward.steps.last().unwrap().packet;
    assert_eq!((packet.ip.source.to_string().as_str(), packet.source_port()), ("198.51.100.1", None));
}

#[test]
fn a_rule_that_tests_an_unknown_port_branches() {
    let rules = format!(
        "{}*mangle\n:POSTROUTING ACCEPT\nCOMMIT\n",
        table("nat", CHAINS, "-A POSTROUTING -o eth1 -j MASQUERADE --random-fully")
    );
    let plain = host(&[("iptables-save", &rules)]).forwarded();
    assert_eq!(plain.answer().paths.len(), 1);
}

#[test]
fn the_nat_table_sees_the_first_packet_only() {
    let host = nat("-A PREROUTING -d 192.0.2.10/32 -j DNAT --to-destination 198.51.100.1");
    let path = host.path();
    let in_reply = matched(path.reply.as_ref().unwrap());
    assert!(in_reply.iter().all(|rule| !rule.starts_with("PREROUTING")), "{in_reply:?}");
}
