//! Packets that contradict the snapshot.

use crate::file::{Frame, PcapFile, folder};
use crate::{explain, syn, syn_at_tunnel};

/// What is said of a single packet at a point, by `--only-odd`.
fn odd(name: &str, frame: &Frame, at: &str) -> String {
    let folder = folder(&format!("odd-{name}"));
    let capture = PcapFile::new().add(&syn()).add(frame).write(&folder.join("a.pcap"));
    let run = explain(&capture, &["-o", "jsonl", "--at", at, "--only-odd", "--per", "packet"]);
    let answers = run.answers();
    let answer = answers.iter().find(|answer| answer["capture"]["n"] == 2);
    let Some(answer) = answer else { return "nothing".to_owned() };
    let all = answer["capture"]["odd"].as_array().unwrap().iter();
    all.map(|odd| odd["what"].as_str().unwrap()).collect::<Vec<_>>().join("; ")
}

fn says(name: &str, frame: &Frame, at: &str, words: &str) {
    let said = odd(name, frame, at);
    assert!(said.contains(words), "{name}: {said}");
}

const WIRE: (&str, &str) = ("52:54:00:00:00:11", "52:54:00:00:00:12");

#[test]
fn a_source_that_no_rule_makes_is_named_with_the_one_that_a_rule_makes() {
    let bare =
        Frame::new("52:54:00:00:00:11", "52:54:00:00:00:01").ip("10.244.1.2", "203.0.113.9", 63).tcp(40000, 443, 2);
    says(
        "source",
        &bare,
        "n1/eth0",
        "its source is 10.244.1.2; what default/pod1 sends to 203.0.113.9:443 has 192.0.2.11 here",
    );
}

#[test]
fn a_tunnel_peer_that_no_forwarding_entry_names_is_named() {
    let stranger = syn_at_tunnel().vxlan(1, "192.0.2.99", "192.0.2.12", WIRE);
    says(
        "peer",
        &stranger,
        "n2/eth0",
        "no forwarding entry of flannel.1 on n2 names the tunnel's other end 192.0.2.99",
    );
}

#[test]
fn another_vni_is_named() {
    let other = syn_at_tunnel().vxlan(9, "192.0.2.11", "192.0.2.12", WIRE);
    says("vni", &other, "n2/eth0", "its VNI is 9, and flannel.1 has 1");
}

#[test]
fn a_source_that_nobody_has_is_named() {
    let nobody = Frame::new("0a:58:0a:f4:01:02", "ce:00:00:00:00:01").ip("10.244.1.77", "10.244.2.2", 64).udp(1, 2);
    says("nobody", &nobody, "n1/cni0", "nobody in the snapshot has its source 10.244.1.77");
}

#[test]
fn a_source_of_another_point_is_told_its_own_way() {
    let strange = Frame::new("0a:58:0a:f4:01:03", "ce:00:00:00:00:01").ip("10.244.1.3", "10.244.2.2", 64).udp(1, 2);
    says("elsewhere", &strange, "n1/vethfcf4e592", "never passes vethfcf4e592 of node n1");
}

#[test]
fn a_ttl_that_doesnt_fit_is_named() {
    let late = Frame::new("5a:00:00:00:04:01", "5a:00:00:00:04:02").ip("10.244.1.2", "10.244.2.2", 62).udp(1, 2);
    says(
        "ttl",
        &late,
        "n1/flannel.1",
        "it was sent with ttl 63, and nodes/n1/pods/default_pod1 sends with 64: it may have passed one router more",
    );
}

#[test]
fn a_frame_to_another_link_address_is_named() {
    let frame = Frame::new("5a:00:00:00:04:01", "5a:00:00:00:09:09").ip("10.244.1.2", "10.244.2.2", 63).udp(1, 2);
    says(
        "frame",
        &frame,
        "n1/flannel.1",
        "its frame's destination is 5a:00:00:00:09:09; what default/pod1 sends to default/pod2 has 5a:00:00:00:04:02 here",
    );
}

#[test]
fn what_the_snapshot_drops_before_is_odd_where_it_is_seen_behind() {
    // A service without endpoints refuses on the client's node.
    let refused =
        Frame::new("52:54:00:00:00:11", "52:54:00:00:00:01").ip("10.244.1.2", "10.96.0.40", 63).tcp(40000, 80, 2);
    says(
        "dropped",
        &refused,
        "n1/eth0",
        "what default/pod1 sends to 10.96.0.40:80 never leaves by eth0 of node n1: it is rejected at node n1 (rule)",
    );
}

#[test]
fn packets_that_fit_are_not_odd() {
    assert_eq!(odd("fits", &syn(), "n1/vethfcf4e592"), "nothing");
    let capture = PcapFile::new().add(&syn()).write(&folder("odd-none").join("n1.vethfcf4e592.pcap"));
    let run = explain(&capture, &["--only-odd"]);
    assert_eq!((run.code, run.out.as_str()), (0, "1 packet; 0 flows shown, none odd\n"));
}
