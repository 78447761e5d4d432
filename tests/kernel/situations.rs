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
