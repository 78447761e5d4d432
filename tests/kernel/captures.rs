//! What every device showed of the suite's situations, as captures: `explain --pcap` must give, of each packet at each
//! point, the way that it came and the way that it goes as the kernel showed them.

use crate::lab::captures::must_agree;
use crate::lab::{article, situations, stopped};

/// Of the large situations every so many-th question is asked; `lab captures` asks all of them.
const SOME: usize = 5;

#[test]
fn a_capture_in_a_vxlan_cluster_shows_packets_on_their_paths() {
    must_agree(situations::vxlan(), SOME);
    must_agree(situations::no_masquerade(), 1);
}

#[test]
fn a_capture_shows_packets_of_services_on_their_paths() {
    must_agree(situations::services(), SOME);
    must_agree(situations::bridge_nf_off(), 1);
    must_agree(stopped::hairpin_off(), 1);
}

#[test]
fn a_capture_without_a_tunnel_shows_packets_on_their_paths() {
    must_agree(situations::host_gw(), 1);
    must_agree(situations::direct_routing(), 2);
}

#[test]
fn a_capture_of_flannels_udp_backend_shows_packets_on_their_paths() {
    must_agree(situations::udp_backend(), 2);
}

#[test]
fn a_capture_in_both_families_shows_packets_on_their_paths() {
    must_agree(situations::dual_stack(), SOME);
}

#[test]
fn a_capture_where_routes_are_chosen_by_policy_shows_packets_on_their_paths() {
    must_agree(situations::policy_routing(), SOME);
    must_agree(situations::two_subnets(), SOME);
}

#[test]
fn a_capture_before_a_fault_shows_where_packets_will_end() {
    must_agree(stopped::faults(), SOME);
    must_agree(stopped::faults_v6(), SOME);
}

#[test]
fn a_capture_in_the_cluster_of_the_article_shows_packets_on_their_paths() {
    must_agree(article::article(), SOME);
}
