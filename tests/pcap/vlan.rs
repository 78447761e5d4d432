//! Captured frames with VLAN tags: each is walked with those that it has.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::file::{Frame, PcapFile, folder};

const FILES: [(&str, &str); 11] = [
    (
        "link.txt",
        "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 state UNKNOWN\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n\
         2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP\n    link/ether 02:00:00:00:00:10 brd ff:ff:ff:ff:ff:ff\n\
         3: eth0.10@eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP\n    link/ether 02:00:00:00:00:10 brd \
         ff:ff:ff:ff:ff:ff\n    vlan protocol 802.1Q id 10 <REORDER_HDR>\n",
    ),
    ("addr.txt", "3: eth0.10: <UP> mtu 1500\n    inet 192.0.2.10/24 scope global eth0.10\n"),
    (
        "route.txt",
        "unicast 192.0.2.0/24 dev eth0.10 table main scope link src 192.0.2.10\n\
         local 192.0.2.10 dev eth0.10 table local scope host src 192.0.2.10\n",
    ),
    ("rule.txt", "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"),
    (
        "sysctl",
        "net.ipv4.conf.all.rp_filter = 0\nnet.ipv4.conf.eth0.rp_filter = 0\nnet.ipv4.conf.eth0/10.rp_filter = 0\n",
    ),
    ("iptables-save", ""),
    ("nft.txt", ""),
    ("neigh.txt", ""),
    ("conntrack", ""),
    ("fdb.txt", ""),
    ("nexthop.txt", ""),
];

/// What is said of a frame with these tags that was captured at the device below.
fn said(folder: &Path, tags: &[u16]) -> String {
    let plain = Frame::new("02:00:00:00:00:99", "02:00:00:00:00:10").ip("192.0.2.99", "192.0.2.10", 64);
    let frame = tags.iter().rev().fold(plain.tcp(4000, 80, 0x02), |frame, vid| frame.tag(*vid));
    let capture = PcapFile::new().add(&frame).write(&folder.join("tagged.pcap"));
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
        .args(["explain", "--pcap", &format!("{}#1", capture.display()), "--at", "n1/eth0", "--snapshot"])
        .arg(folder)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_frame_is_walked_with_the_tags_that_it_was_captured_with() {
    let folder = folder("vlan");
    let host = folder.join("nodes/n1/host");
    fs::create_dir_all(&host).unwrap();
    for (name, text) in FILES {
        fs::write(host.join(name), text).unwrap();
    }
    let own = said(&folder, &[10]);
    assert!(
        own.starts_with("DELIVERED") && own.contains("eth0.10      in  no vlan tag") && !own.contains("odd:"),
        "{own}"
    );
    let other = said(&folder, &[20]);
    assert!(other.starts_with("DROPPED") && other.contains("the tag of VLAN 20"), "{other}");
    assert!(other.contains("odd: its VLAN is 20; what 192.0.2.99 sends to node/n1 has 10 here"), "{other}");
    let bare = said(&folder, &[]);
    assert!(!bare.contains("eth0.10      in") && bare.contains("odd: its VLAN is none;"), "{bare}");
    let twice = said(&folder, &[10, 20]);
    assert!(twice.starts_with("DROPPED") && twice.contains("odd: its VLAN is 10, 20;"), "{twice}");
}
