//! Every situation that flowtrace must get right, in the kernel: packets are sent for real, and what becomes of them must
//! be what `explain` says of the snapshot taken just before.

use nix::errno::Errno;

use crate::lab::faults::{BETWEEN_NODES, fault};
use crate::lab::flannel::FlannelBackend;
use crate::lab::judge::{must_agree, must_agree_but_for};
use crate::lab::probe::{Probe, Proto};
use crate::lab::{article, settings, situations, stopped};

#[test]
fn pods_on_two_nodes_reach_each_other_over_vxlan() {
    must_agree(situations::vxlan(), "pods on two nodes");
}

#[test]
fn pods_on_one_node_reach_each_other_over_the_bridge_and_netfilter() {
    must_agree(situations::vxlan(), "pods on one node");
}

#[test]
fn kube_dns_is_reached_by_name_and_by_service_over_udp_and_tcp() {
    must_agree(situations::vxlan(), "kube-dns");
}

#[test]
fn a_service_leads_to_each_of_its_endpoints_and_to_the_client_itself() {
    must_agree(situations::vxlan(), "services");
}

#[test]
fn a_service_without_endpoints_refuses() {
    must_agree(situations::vxlan(), "services without endpoints");
}

#[test]
fn a_ping_of_a_cluster_ip_leaves_by_the_default_route() {
    must_agree(situations::vxlan(), "ping of a cluster IP");
}

#[test]
fn a_pod_reaches_the_world_outside_behind_its_node_address() {
    must_agree(situations::vxlan(), "the world outside");
}

#[test]
fn hosts_and_pods_reach_each_other() {
    must_agree(situations::vxlan(), "hosts");
}

#[test]
fn a_node_port_is_reached_from_everywhere() {
    must_agree(situations::vxlan(), "NodePorts");
}

#[test]
fn ttl_mtu_and_absent_neighbours_stop_or_split_packets() {
    must_agree(situations::vxlan(), "limits");
}

#[test]
fn without_bridge_netfilter_a_service_on_the_own_node_answers_past_the_client() {
    must_agree(situations::bridge_nf_off(), "");
}

#[test]
fn without_the_masquerade_rule_the_world_cannot_answer() {
    must_agree(situations::no_masquerade(), "");
}

#[test]
fn host_gw_routes_by_way_of_the_peer() {
    must_agree(situations::host_gw(), "");
}

#[test]
fn direct_routing_spares_the_tunnel_within_a_subnet() {
    must_agree(situations::direct_routing(), "");
}

#[test]
fn the_udp_backend_carries_packets_through_flanneld() {
    must_agree(situations::udp_backend(), "");
}

#[test]
fn a_node_port_of_policy_cluster_leads_anywhere() {
    must_agree(situations::services(), "NodePorts of policy Cluster");
}

#[test]
fn a_node_port_of_policy_local_leads_to_local_endpoints_only() {
    must_agree(situations::services(), "NodePorts of policy Local");
}

#[test]
fn external_and_load_balancer_addresses_lead_to_their_service() {
    must_agree(situations::services(), "external and load balancer addresses");
}

#[test]
fn session_affinity_may_pick_any_endpoint_at_first() {
    must_agree(situations::services(), "session affinity");
}

#[test]
fn a_router_outside_the_snapshot_joins_two_subnets() {
    must_agree(situations::two_subnets(), "");
}

#[test]
fn policy_rules_and_route_types_decide_in_their_order() {
    must_agree(situations::policy_routing(), "rules and routes");
}

#[test]
fn multipath_routes_and_nexthop_groups_pick_one_way() {
    must_agree(situations::policy_routing(), "multipath");
}

/// A node with two uplinks sends from the address of one of them, and answers to it: newer kernels go that way, older
/// ones hash, and the answer says that both may be.
#[test]
fn a_multipath_route_may_know_its_ways_by_the_source() {
    let mut cluster = situations::two_nodes("source-way", FlannelBackend::HostGw);
    cluster.nodes[0].second_uplink = true;
    let mut scenario = cluster.scenario();
    let ways = "nexthop via 192.0.2.1 weight 1 nexthop via 198.51.100.1 weight 3";
    scenario.space("n1").ip(format!("route add 203.0.113.128/25 {ways}"));
    for source in ["192.0.2.11", "198.51.100.11"] {
        scenario.probe(Probe::ask("node/n1", "203.0.113.130", Proto::Udp, "203.0.113.130", 7000).source(source));
    }
    must_agree_but_for(scenario, "the snapshot doesn't tell the kernel's version");
}

/// The first of a connected socket's two lookups gives the source, the second one the way, which is hashed anew
/// (`ip_route_connect` in `include/net/route.h`).
#[test]
fn a_socket_of_no_address_may_leave_by_the_one_way_with_the_source_of_the_other() {
    let uplinks = |name: &str, route: &[&str], proto: Proto| {
        let mut cluster = situations::two_nodes(name, FlannelBackend::HostGw);
        cluster.nodes[0].second_uplink = true;
        let mut scenario = cluster.scenario();
        for line in route {
            scenario.space("n1").ip(*line);
        }
        for last in 130..140 {
            let address = format!("203.0.113.{last}");
            scenario.probe(Probe::ask("node/n1", &address, proto, &address, 7000));
        }
        scenario
    };
    let group = [
        "nexthop add id 10 via 192.0.2.1 dev eth0",
        "nexthop add id 11 via 198.51.100.1 dev eth1",
        "nexthop add id 20 group 10/11",
        "route add 203.0.113.128/25 nhid 20",
    ];
    let ways = ["route add 203.0.113.128/25 nexthop via 192.0.2.1 weight 1 nexthop via 198.51.100.1 weight 1"];
    must_agree(uplinks("source-group", &group, Proto::Tcp), "");
    for proto in [Proto::Udp, Proto::Icmp] {
        must_agree_but_for(uplinks("source-group", &group, proto), "(a connected socket's packet is hashed with ");
    }
    let version = "the snapshot doesn't tell the kernel's version";
    must_agree_but_for(uplinks("source-ways", &ways, Proto::Tcp), version);
    must_agree_but_for(uplinks("source-ways", &ways, Proto::Udp), version);
}

/// A rule that asks for a source matches what a connected socket sends, which was bound to none.
#[test]
fn a_rule_for_a_source_matches_the_one_that_the_first_lookup_gave() {
    let from = |name: &str, proto: Proto| {
        let mut cluster = situations::two_nodes(name, FlannelBackend::HostGw);
        cluster.nodes[0].second_uplink = true;
        let mut scenario = cluster.scenario();
        let n1 = scenario.space("n1");
        n1.ip("route add default via 198.51.100.1 dev eth1 table 100");
        n1.ip("rule add pref 100 from 192.0.2.11 to 203.0.113.25 lookup 100");
        n1.ip("rule add pref 101 from 192.0.2.11 to 203.0.113.26 prohibit");
        for address in ["203.0.113.25", "203.0.113.26", "203.0.113.27"] {
            scenario.probe(Probe::ask("node/n1", address, proto, address, 7000));
            scenario.probe(Probe::ask("node/n1", address, proto, address, 7000).source("192.0.2.11"));
        }
        scenario
    };
    must_agree(from("source-rule", Proto::Tcp), "");
    for proto in [Proto::Udp, Proto::Icmp] {
        let (mut bound, mut unbound) = (from("source-rule", proto), from("source-rule", proto));
        bound.probes.retain(|probe| probe.source.is_some() || probe.to == "203.0.113.27");
        unbound.probes.retain(|probe| probe.source.is_none() && probe.to != "203.0.113.27");
        must_agree(bound, "");
        must_agree_but_for(unbound, "whether the socket is connected");
    }
}

/// Only a route makes the destination the node's own, which is no source then (`ip6_dst_lookup_tail` in
/// `net/ipv6/ip6_output.c`, `icmp6_send` in `net/ipv6/icmp.c`); in IPv4 it is.
#[test]
fn a_local_route_for_a_network_gives_no_ipv6_source() {
    let mut cluster = situations::two_nodes("any-ip", FlannelBackend::HostGw);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let node = scenario.space("n1");
    node.late("route add local 2001:db8:5::/64 dev lo");
    node.late("route add local 203.0.113.160/28 dev lo");
    node.rules4().insert("filter", "INPUT -p udp --dport 7009 -j REJECT");
    node.rules6().insert("filter", "INPUT -p udp --dport 7009 -j REJECT");
    for address in ["2001:db8:5::9", "203.0.113.161"] {
        for from in ["node/n1", situations::POD1] {
            let ask = |proto: Proto, port: u16| Probe::ask(from, address, proto, address, port);
            scenario.probe(ask(Proto::Icmp, 0).answered_by("n1"));
            scenario.probe(ask(Proto::Tcp, 7000).answered_by("n1"));
            scenario.probe(ask(Proto::Udp, 7009).error(Errno::ECONNREFUSED));
        }
    }
    must_agree(scenario, "");
}

/// The type and the code of an ICMP message are where a port would be (`union flowi_uli` in `include/net/flow.h`), for who
/// looks its route up before the message is there; who has the message finds no port in it.
#[test]
fn policy_rules_read_the_type_and_code_of_icmp_as_a_port() {
    let mut cluster = situations::two_nodes("icmp-port", FlannelBackend::HostGw);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let node = scenario.space("n1");
    for (family, rule) in [
        (4, "pref 101 dport 771 blackhole"),
        (4, "pref 102 to 10.244.2.3 dport 2000-2048 prohibit"),
        (4, "pref 103 fwmark 5 dport 2048 blackhole"),
        (6, "pref 101 dport 260 blackhole"),
        (6, "pref 102 to fd00:10:244:2::3 dport 32768 prohibit"),
        (6, "pref 103 fwmark 5 dport 32768 blackhole"),
        (6, "pref 104 dport 33024 blackhole"),
    ] {
        node.attempts.push((family, format!("rule add {rule}")));
    }
    let refuse = |port: u16, with: &str| format!("FORWARD -p udp --dport {port} -j REJECT --reject-with {with}");
    node.rules4().insert("filter", refuse(7001, "icmp-port-unreachable"));
    node.rules4().insert("filter", refuse(7002, "icmp-admin-prohibited"));
    node.rules4().insert("mangle", "OUTPUT -p icmp -d 10.244.2.4 -j MARK --set-mark 5");
    node.rules6().insert("filter", refuse(7001, "icmp6-port-unreachable"));
    node.rules6().insert("filter", refuse(7002, "icmp6-adm-prohibited"));
    node.rules6().insert("mangle", "OUTPUT -p icmpv6 -d fd00:10:244:2::4 -j MARK --set-mark 5");
    let pod1 = situations::POD1;
    for (network, own, prohibited) in
        [("10.244.2.", "10.244.1.1", Errno::EHOSTUNREACH), ("fd00:10:244:2::", "fd00:10:244:1::1", Errno::EACCES)]
    {
        let ask = |from: &str, last: u8, proto: Proto, port: u16| {
            let address = format!("{network}{last}");
            Probe::ask(from, &address, proto, &address, port)
        };
        scenario.probe(ask(pod1, 2, Proto::Udp, 7001).silent());
        scenario.probe(ask(pod1, 2, Proto::Udp, 7002).error(prohibited));
        scenario.probe(ask("node/n1", 3, Proto::Icmp, 0).refused(Errno::EACCES));
        scenario.probe(ask("node/n1", 4, Proto::Icmp, 0));
        scenario.probe(ask(pod1, 3, Proto::Icmp, 0));
        scenario.probe(Probe::ask(pod1, own, Proto::Icmp, own, 0));
    }
    must_agree(scenario, "");
}

#[test]
fn docker0_stands_beside_cni0() {
    must_agree(situations::policy_routing(), "docker0 and pods");
}

#[test]
fn the_cluster_of_the_article_works_as_it_tells() {
    must_agree(article::article(), "");
}

#[test]
fn dual_stack_works_in_both_families() {
    must_agree(situations::dual_stack(), "");
}

/// The address of flannel's device is the first of its network, and so a router's anycast one on the bridge beside it.
#[test]
fn no_icmpv6_error_is_sent_to_an_anycast_address() {
    let mut cluster = situations::two_nodes("anycast", FlannelBackend::Vxlan);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    scenario.space("n2").rules6().insert("filter", "OUTPUT -p udp --dport 7001 -j REJECT");
    scenario.space("default/pod2").rules6().insert("filter", "INPUT -p udp --dport 7002 -j REJECT");
    let flannel = "fd00:10:244:2::";
    let ask = |from: &str, to: &str, port: u16| Probe::ask(from, to, Proto::Udp, to, port);
    scenario.probe(ask("node/n2", "fd00:10:244:1::2", 7001).source(flannel).refused(Errno::EPERM));
    scenario.probe(ask("node/n2", "fd00:10:244:1::2", 7001).source("fd00:10:244:2::1").refused(Errno::EPERM));
    scenario.probe(ask("node/n2", "fd00:10:244:2::2", 7002).source(flannel).silent());
    scenario.probe(ask("node/n2", "fd00:10:244:2::2", 7002).source("fd00:10:244:2::1").error(Errno::ECONNREFUSED));
    must_agree(scenario, "");
}

#[test]
fn a_packet_stops_where_the_other_node_has_a_fault() {
    must_agree(stopped::faults(), "between nodes");
}

/// UDP has taken the packet from its connection by then, so that rules before connection tracking find none.
#[test]
fn an_error_about_a_missing_socket_belongs_to_no_connection_yet() {
    let mut scenario = situations::two_nodes("no-socket", FlannelBackend::Vxlan).scenario();
    let node = scenario.space("n2");
    node.late("link set flannel.1 down".to_owned());
    node.rules4().insert("raw", "OUTPUT -m conntrack --ctstate RELATED -j DROP");
    node.rules4().insert("mangle", "OUTPUT -m conntrack --ctstate RELATED -j MARK --set-mark 7");
    scenario.probe(Probe::ask("default/pod1", "10.244.2.2", Proto::Udp, "10.244.2.2", 7000));
    must_agree(scenario, "");
}

#[test]
fn a_reset_for_a_bridged_packet_needs_a_route() {
    let mut scenario = situations::two_nodes("no-reset", FlannelBackend::HostGw).scenario();
    let node = scenario.space("n1");
    node.late("rule add pref 101 to 10.244.1.2 blackhole");
    node.rules4().insert("filter", "FORWARD -p tcp -j REJECT --reject-with tcp-reset");
    let ask = |from: &str| Probe::ask(from, "10.244.2.2", Proto::Tcp, "10.244.2.2", 7000);
    scenario.probe(ask("default/pod1").silent());
    scenario.probe(ask("default/pod3").error(Errno::ECONNREFUSED));
    must_agree(scenario, "");
}

/// The bridge has given the frame its type back by then, which is for another host unless it is the bridge's own.
#[test]
fn no_icmp_error_is_made_where_another_hosts_frame_was_sent_to_nobody() {
    let mut cluster = situations::two_nodes("bridged-nobody", FlannelBackend::HostGw);
    cluster.dual_stack = true;
    let mut scenario = cluster.scenario();
    let dnat = |to: &str| format!("PREROUTING -p udp --dport 7009 -j DNAT --to-destination {to}");
    scenario.space("n1").rules4().insert("nat", dnat("10.244.1.99"));
    scenario.space("n1").rules6().insert("nat", dnat("fd00:10:244:1::99"));
    let ask = |to: &str| Probe::ask("default/pod1", to, Proto::Udp, to, 7009);
    for (bridged, routed) in [("10.244.1.3", "10.244.2.2"), ("fd00:10:244:1::3", "fd00:10:244:2::2")] {
        scenario.probe(ask(bridged).silent());
        scenario.probe(ask(routed).error(Errno::EHOSTUNREACH));
    }
    must_agree(scenario, "");
}

#[test]
fn a_packet_stops_where_its_own_node_has_a_fault() {
    must_agree(stopped::faults(), "on one node");
}

#[test]
fn a_bridge_port_without_hairpin_mode_keeps_a_pod_from_itself() {
    must_agree(stopped::hairpin_off(), "");
}

#[test]
fn an_echo_is_answered_by_its_device_and_a_device_answers_for_its_own_addresses() {
    must_agree(stopped::only_ipv6(), "");
}

#[test]
fn a_node_that_lost_its_uplink_is_no_gateway() {
    must_agree(stopped::gone_gateway(), "");
}

#[test]
fn a_port_that_owns_the_pods_address_still_carries_what_the_stack_sends() {
    must_agree(stopped::owned_by_port(), "");
}

#[test]
fn a_node_answers_arp_for_what_it_would_forward_elsewhere() {
    must_agree(settings::proxy_arp(), "");
}

#[test]
fn a_loopback_source_does_not_leave_the_node() {
    must_agree(settings::local_node_port(false), "");
}

#[test]
fn route_localnet_lets_a_loopback_source_leave() {
    must_agree(settings::local_node_port(true), "");
}

#[test]
fn an_answer_may_carry_the_mark_of_its_request() {
    must_agree(settings::reflected_mark(), "");
}

#[test]
fn an_egress_hook_drops_before_a_capture() {
    must_agree(settings::egress_hook(), "");
}

#[test]
fn some_owners_of_an_address_answer_no_arp() {
    must_agree(settings::silent_owners(), "");
}

#[test]
fn a_question_repairs_what_its_target_knows_of_who_asks() {
    must_agree(settings::repaired_neighbour(), "");
}

#[test]
fn a_tunnel_into_itself_ends_silently() {
    must_agree(stopped::tunnel_into_itself(), "");
}

#[test]
fn a_tunnels_entry_for_the_node_itself_leads_to_the_device_that_listens_for_it() {
    must_agree(stopped::own_vteps(), "");
}

#[test]
fn an_element_that_takes_a_link_address_loses_its_mark() {
    must_agree(settings::completed_elements(), "");
}

#[test]
fn how_long_the_answer_of_a_listener_without_timestamps_is_depends_on_the_syn() {
    must_agree_but_for(settings::short_answers(), "the answer to the SYN, of ");
}

#[test]
fn a_frame_that_comes_in_by_a_port_goes_to_whom_its_sender_would_address() {
    must_agree_but_for(settings::at_a_port_of_the_bridge(), "the link address of 10.244.1.2 is not known");
}

#[test]
fn a_bridged_frame_has_the_route_of_its_bridge() {
    must_agree(settings::bridged_routes(), "");
}

#[test]
fn a_device_may_forward_ipv6_where_the_node_does_not() {
    // Since Linux 6.17.
    if !std::path::Path::new("/proc/sys/net/ipv6/conf/all/force_forwarding").exists() {
        return crate::lab::ready::skip("this kernel has no force_forwarding");
    }
    must_agree(settings::forced_forwarding(), "");
}

#[test]
fn a_service_remembers_its_client() {
    must_agree_but_for(situations::affinity(), "has seen 10.244.1.3 within the last 10800 seconds");
}

#[test]
fn ipv6_pieces_that_the_bridge_put_together_are_split_anew() {
    must_agree(settings::reassembled_on_bridge(), "");
}

#[test]
fn an_uplink_without_carrier_resolves_nobody() {
    must_agree(settings::without_carrier(FlannelBackend::Vxlan), "");
    must_agree(settings::without_carrier(FlannelBackend::HostGw), "");
}

#[test]
fn a_static_entry_takes_the_bridges_own_address_away() {
    must_agree(settings::bridge_address_on_a_port(), "");
}

#[test]
fn a_local_route_answers_for_its_address_and_a_device_without_arp_for_none() {
    must_agree(settings::unusual_owners(), "");
}

#[test]
fn nft_sends_a_packet_on_by_another_device() {
    must_agree(settings::sent_on(), "");
    must_agree_but_for(settings::sent_on_without_ttl(), "whose TTL is used up");
}

#[test]
fn of_two_that_have_an_address_either_may_answer() {
    must_agree_but_for(settings::duplicate_address(), "have 10.244.1.2");
}

#[test]
fn a_packet_stops_where_the_other_node_has_a_fault_in_ipv6() {
    must_agree(stopped::faults_v6(), "");
}

#[test]
fn a_translated_tunnel_packet_may_fail_its_checksum() {
    must_agree_but_for(stopped::translated_tunnel(), "address translation broke the tunnel packet's checksum");
}

/// What no snapshot tells of a fault: of two backends at one hook, which was there first.
fn unlisted(fault: &str) -> Option<&'static str> {
    (fault == "legacy-policy-drop").then_some("are called at forward with the same priority")
}

macro_rules! faults {
    ($($test:ident: $fault:literal,)+) => {
        $(
            #[test]
            fn $test() {
                for &family in fault($fault).families() {
                    let scenario = stopped::one_fault($fault, family);
                    match unlisted($fault) {
                        Some(what) => must_agree_but_for(scenario, what),
                        None => must_agree(scenario, ""),
                    }
                }
            }
        )+

        #[test]
        fn every_fault_has_its_test() {
            let tested = [$($fault),+];
            for fault in BETWEEN_NODES {
                assert!(tested.contains(&fault.name), "{}", fault.name);
            }
        }
    };
}

faults! {
    a_node_that_does_not_forward_drops: "forward-off",
    a_device_that_does_not_forward_drops: "device-forward-off",
    a_bridge_that_does_not_forward_keeps_pods_in: "bridge-forward-off",
    a_strict_device_drops_what_it_would_answer_elsewhere: "rp-strict",
    the_stricter_of_all_and_device_counts: "rp-strict-all",
    a_loose_check_passes_what_has_any_way_back: "rp-loose",
    a_smaller_bridge_answers_with_fragmentation_needed: "small-bridge-mtu",
    a_route_with_an_mtu_limits_the_packet: "small-route-mtu",
    a_vtep_without_neighbour_entry_is_asked_for_in_vain: "neigh-missing",
    a_failed_neighbour_fails_again: "neigh-failed",
    a_tunnel_without_forwarding_entry_swallows: "fdb-missing",
    a_forwarding_entry_to_a_third_node_ends_there: "fdb-wrong-host",
    a_forwarding_entry_to_nobody_ends_at_the_neighbour: "fdb-unused",
    an_inner_address_of_another_device_is_another_hosts: "mac-rewritten",
    another_network_identifier_is_nobodys: "vni-mismatch",
    another_tunnel_port_is_closed: "port-mismatch",
    a_tunnel_device_that_is_down_receives_nothing: "vtep-down",
    a_tunnel_device_that_was_down_has_lost_its_routes: "vtep-bounced",
    a_tunnel_from_an_address_that_is_gone_sends_nothing: "vtep-source-gone",
    an_uplink_that_is_down_cuts_the_node_off: "uplink-down",
    a_bridge_that_is_down_takes_its_route_along: "bridge-down",
    a_bridge_without_address_takes_its_route_along: "bridge-no-address",
    an_answer_without_route_leaves_bare: "no-route-back",
    a_peer_without_route_is_looked_for_outside: "no-route",
    a_more_specific_stale_route_wins: "stale-route",
    a_blackhole_swallows: "blackhole-route",
    a_local_route_of_ones_own_makes_its_senders_martians: "custom-local-route",
    a_rule_for_the_tunnels_own_ports_holds_the_tunnel_packet: "tunnel-port-rule",
    a_rule_for_the_tunnels_destination_port_leads_the_tunnel_packet: "tunnel-destination-rule",
    a_node_may_be_set_to_answer_no_echo: "echo-ignored",
    a_forward_policy_drops_what_nobody_accepts: "forward-policy-drop",
    a_reject_before_flannels_accept_wins: "reject-before-flannel",
    an_input_drop_hits_the_outer_packet: "input-drops-tunnel",
    an_input_reject_of_the_outer_packet_is_not_for_the_pod: "input-rejects-tunnel",
    an_output_drop_hits_the_outer_packet: "output-drops-tunnel",
    an_unconditional_input_drop_cuts_the_node_off: "invalid-firewall",
    the_legacy_backend_has_its_say_too: "legacy-policy-drop",
    a_forwarding_entry_to_the_node_itself_comes_back: "fdb-own-vtep",
}
