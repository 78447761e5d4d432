//! What a capture has beside addresses and ports, on a router whose connections are listed, and which is all that the
//! snapshot has. What becomes of each packet is what a kernel did with the same one and the same rules.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::file::{Frame, PcapFile, folder};

const LINK: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0
2: a0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP mode DEFAULT group default qlen 1000
    link/ether 02:00:00:00:0a:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
3: b0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP mode DEFAULT group default qlen 1000
    link/ether 02:00:00:00:0b:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
4: d0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP mode DEFAULT group default qlen 1000
    link/ether 02:00:00:00:0d:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
";
const ADDR: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
2: a0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP group default qlen 1000
    inet 10.1.0.1/24 brd 10.1.0.255 scope global a0
3: b0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP group default qlen 1000
    inet 10.2.0.1/24 brd 10.2.0.255 scope global b0
    inet 10.2.0.77/32 scope global b0
4: d0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP group default qlen 1000
    inet 10.3.0.1/24 brd 10.3.0.255 scope global d0
";
const ROUTE: &str = "\
unicast default via 10.2.0.2 dev b0 table main proto boot scope global
unicast 10.1.0.0/24 dev a0 table main proto kernel scope link src 10.1.0.1
unicast 10.2.0.0/24 dev b0 table main proto kernel scope link src 10.2.0.1
unicast 10.3.0.0/24 dev d0 table main proto kernel scope link src 10.3.0.1
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local 10.1.0.1 dev a0 table local proto kernel scope host src 10.1.0.1
local 10.2.0.1 dev b0 table local proto kernel scope host src 10.2.0.1
local 10.2.0.77 dev b0 table local proto kernel scope host src 10.2.0.77
local 10.3.0.1 dev d0 table local proto kernel scope host src 10.3.0.1
";
const RULE: &str = "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n";
const NEIGH: &str = "\
10.1.0.2 dev a0 lladdr 02:00:00:00:1a:02 PERMANENT
10.2.0.2 dev b0 lladdr 02:00:00:00:1b:02 PERMANENT
10.3.0.2 dev d0 lladdr 02:00:00:00:1d:02 PERMANENT
";
const SYSCTL: &str = "\
net.ipv4.ip_forward = 1
net.ipv4.conf.all.forwarding = 1
net.ipv4.conf.all.rp_filter = 0
net.ipv4.conf.a0.forwarding = 1
net.ipv4.conf.a0.rp_filter = 0
net.ipv4.conf.b0.forwarding = 1
net.ipv4.conf.b0.rp_filter = 0
net.ipv4.conf.d0.forwarding = 1
net.ipv4.conf.d0.rp_filter = 0
net.ipv4.ip_default_ttl = 64
net.netfilter.nf_conntrack_tcp_loose = 1
";
/// What is new for the address of a service goes to 10.3.0.2.
const DNAT: &str = "\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -d 10.96.0.10/32 -j DNAT --to-destination 10.3.0.2
COMMIT
";

/// The lines of the filter table with one rule.
fn filter(rule: &str) -> String {
    format!("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A {rule}\nCOMMIT\n")
}

/// A router with these rules and connections.
struct Router {
    folder: PathBuf,
}

impl Router {
    fn new(name: &str, rules: &str, connections: &str) -> Self {
        let folder = folder(&format!("listed-{name}"));
        let host = folder.join("nodes/r/host");
        fs::create_dir_all(&host).unwrap();
        let files = [
            ("link.txt", LINK),
            ("addr.txt", ADDR),
            ("route.txt", ROUTE),
            ("route6.txt", ""),
            ("rule.txt", RULE),
            ("rule6.txt", "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n"),
            ("neigh.txt", NEIGH),
            ("sysctl", SYSCTL),
            ("iptables-save", rules),
            ("ip6tables-save", ""),
            ("nft.txt", ""),
            ("conntrack", connections),
        ];
        for (name, content) in files {
            fs::write(host.join(name), content).unwrap();
        }
        Self { folder }
    }

    /// The answers about frames at a device.
    fn answers(&self, device: &str, frames: &[&Frame]) -> Vec<Value> {
        let capture = frames.iter().fold(PcapFile::new(), |file, frame| file.add(frame));
        let capture = capture.write(&self.folder.join(format!("r.{device}.pcap")));
        let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
            .args(["explain", "-o", "jsonl", "--per", "packet", "--pcap"])
            .arg(&capture)
            .arg("--snapshot")
            .arg(&self.folder)
            .args(["--at", &format!("r/{device}")])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn ends(&self, device: &str, frame: &Frame) -> Vec<String> {
        ends(&self.answers(device, &[frame])[0], "forward")
    }
}

/// How the legs of an answer end on which the packet was seen.
fn seen_ends(answer: &Value) -> Vec<String> {
    let paths = answer["paths"].as_array().unwrap().iter();
    paths.map(|path| end(&path[path["seen"]["leg"].as_str().unwrap()])).collect()
}

/// How the paths of an answer end.
fn ends(answer: &Value, leg: &str) -> Vec<String> {
    answer["paths"].as_array().unwrap().iter().map(|path| end(&path[leg])).collect()
}

/// How a leg ends: the verdict, the device that it leaves by last, and its destination then.
fn end(leg: &Value) -> String {
    let steps = leg["steps"].as_array().unwrap();
    let by = steps.iter().rev().find(|step| step["kind"] == "transmit");
    let by = by.map_or("none", |step| step["device"].as_str().unwrap());
    let to = steps.last().unwrap()["packet"]["destination"].as_str().unwrap();
    format!("{} {by} {to}", leg["verdict"].as_str().unwrap())
}

fn from_a(destination: &str) -> Frame {
    Frame::new("02:00:00:00:1a:02", "02:00:00:00:0a:01").ip("10.1.0.2", destination, 64)
}

/// A segment from a client that the snapshot doesn't have.
fn segment(flags: u8) -> Frame {
    from_a("10.96.0.10").tcp(40000, 80, flags)
}

#[test]
fn a_segment_of_no_listed_connection_may_begin_one() {
    let router = Router::new("loose", DNAT, "");
    assert_eq!(router.ends("a0", &segment(0x10)), ["left d0 10.3.0.2"]);
    // FIN, PSH, FIN with PSH and URG, and nothing begin none: INVALID is not translated.
    for flags in [0x01, 0x08, 0x29, 0x00] {
        assert_eq!(router.ends("a0", &segment(flags)), ["left b0 10.96.0.10"], "{flags:#04x}");
    }
}

#[test]
fn what_the_capture_has_shown_of_a_connection_counts() {
    let router = Router::new("shown", &filter("FORWARD -m conntrack --ctstate NEW -s 10.3.0.2/32 -j DROP"), "");
    let asked = Frame::new("02:00:00:00:0d:01", "02:00:00:00:1d:02").ip("10.1.0.2", "10.3.0.2", 63).tcp(40000, 80, 2);
    let late = Frame::new("02:00:00:00:1d:02", "02:00:00:00:0d:01").ip("10.3.0.2", "10.1.0.2", 64).tcp(80, 40000, 0x10);
    // Alone it is new, and dropped; it is not where what it answers was seen.
    assert_eq!(router.ends("d0", &late), ["dropped none 10.1.0.2"]);
    let answers = router.answers("d0", &[&asked, &late]);
    assert_eq!(answers[1]["capture"]["role"], "reply");
    assert_eq!(seen_ends(&answers[1]), ["left a0 10.1.0.2"]);
}

#[test]
fn a_connection_that_was_seen_both_ways_is_established() {
    let router = Router::new("both", DNAT, "");
    let answered = Frame::new("02:00:00:00:0a:01", "02:00:00:00:1a:02").ip("10.96.0.10", "10.1.0.2", 63);
    let answered = answered.tcp(80, 40000, 0x12);
    let answers = router.answers("a0", &[&segment(0x02), &answered, &segment(0x10)]);
    assert_eq!(ends(&answers[2], "forward"), ["left d0 10.3.0.2"]);
    let steps = answers[2]["paths"][0]["forward"]["steps"].as_array().unwrap();
    let state = steps.iter().find(|step| step["kind"] == "conntrack").unwrap();
    assert_eq!(state["state"], "ESTABLISHED");
}

#[test]
fn an_echo_goes_back_by_the_listed_connection() {
    let row = "ipv4     2 icmp     1 29 src=10.1.0.2 dst=8.8.8.8 type=8 code=0 id=77 src=8.8.8.8 dst=10.2.0.1 type=0 \
               code=0 id=79 mark=0 use=1\n";
    let router = Router::new("echo", DNAT, row);
    let frame = |id| Frame::new("02:00:00:00:1b:02", "02:00:00:00:0b:01").ip("8.8.8.8", "10.2.0.1", 64).echo(0, id);
    let answer = &router.answers("b0", &[&frame(79)])[0];
    assert_eq!(answer["capture"]["role"], "reply");
    assert_eq!(ends(answer, "reply"), ["left a0 10.1.0.2"]);
    // Another identifier is of another connection.
    let other = router.answers("b0", &[&frame(80)]).remove(0);
    assert!(!seen_ends(&other).contains(&"left a0 10.1.0.2".to_owned()), "{other}");
}

#[test]
fn a_listed_connection_tells_which_address_the_node_has_sent_from() {
    let row = "ipv4     2 udp      17 29 src=10.2.0.77 dst=172.16.3.4 sport=40000 dport=53 [UNREPLIED] src=172.16.3.4 \
               dst=10.3.0.1 sport=53 dport=40000 mark=0 use=1\n";
    let router = Router::new("bound", DNAT, row);
    let frame = Frame::new("02:00:00:00:1d:02", "02:00:00:00:0d:01").ip("172.16.3.4", "10.3.0.1", 64).udp(53, 40000);
    assert_eq!(seen_ends(&router.answers("d0", &[&frame])[0]), ["delivered none 10.2.0.77"]);
}

#[test]
fn an_answer_to_nothing_that_is_listed_may_be_the_nodes_own() {
    let masquerade = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o b0 -j MASQUERADE\nCOMMIT\n";
    let router = Router::new("plain", masquerade, "");
    let frame = Frame::new("02:00:00:00:1b:02", "02:00:00:00:0b:01").ip("10.2.0.2", "10.2.0.1", 64);
    let ends = seen_ends(&router.answers("b0", &[&frame.tcp(80, 40000, 0x12)])[0]);
    assert!(ends.contains(&"delivered none 10.2.0.1".to_owned()), "{ends:?}");
}

#[test]
fn chunks_of_sctp_decide_whether_it_is_translated() {
    let router = Router::new("sctp", DNAT, "");
    let sctp = |kind: u8, length: u8| {
        let mut bytes = [&40000_u16.to_be_bytes()[..], &80_u16.to_be_bytes(), &[0; 8], &[kind, 0, 0, length]].concat();
        bytes.resize(12 + usize::from(length), 0);
        from_a("10.96.0.10").other(132, &bytes)
    };
    assert_eq!(router.ends("a0", &sctp(1, 20)), ["left d0 10.3.0.2"]);
    for kind in [0, 2, 6] {
        assert_eq!(router.ends("a0", &sctp(kind, 20)), ["left b0 10.96.0.10"], "{kind}");
    }
}

#[test]
fn options_of_ipv4_reach_the_rules() {
    // The header's length and the first option: a router alert.
    let router = Router::new("options", &filter("FORWARD -m u32 --u32 \"0>>24=0x46&&20=0x94040000\" -j DROP"), "");
    let plain = from_a("10.2.0.2");
    assert_eq!(router.ends("a0", &plain.clone().udp(40000, 53)), ["left b0 10.2.0.2"]);
    let alert = plain.options(&[0x94, 4, 0, 0]).udp(40000, 53);
    assert_eq!(router.ends("a0", &alert), ["dropped none 10.2.0.2"]);
}

#[test]
fn what_an_authentication_header_is_around_is_ah() {
    let bytes = [&[17, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1][..], &[0, 1, 0, 2, 0, 8, 0, 0]].concat();
    let frame = from_a("10.2.0.2").other(51, &bytes);
    let of = |name, protocol| Router::new(name, &filter(&format!("FORWARD -p {protocol} -j DROP")), "");
    assert_eq!(of("ah", "ah").ends("a0", &frame), ["dropped none 10.2.0.2"]);
    assert_eq!(of("udp", "udp").ends("a0", &frame), ["left b0 10.2.0.2"]);
}

#[test]
fn a_frame_for_somebody_else_is_not_forwarded() {
    let router = Router::new("stray", "", "");
    let to = |lladdr| Frame::new("02:00:00:00:1b:02", lladdr).ip("8.8.8.8", "10.1.0.2", 64).udp(53, 40000);
    let answer = |lladdr| router.answers("b0", &[&to(lladdr)]).remove(0);
    let fate = |answer: &Value| {
        let forward = &answer["paths"][0]["forward"];
        (forward["verdict"].as_str().unwrap().to_owned(), forward["reason"].as_str().map(str::to_owned))
    };
    assert_eq!(fate(&answer("02:00:00:00:0b:01")).0, "left");
    for (lladdr, reason) in [("02:00:00:00:99:99", "other-host"), ("01:00:5e:00:00:01", "group-frame")] {
        let stray = answer(lladdr);
        assert_eq!(fate(&stray), ("dropped".to_owned(), Some(reason.to_owned())), "{lladdr}");
        assert_eq!(stray["capture"]["way"], "in");
        assert!(stray["capture"]["odd"].to_string().contains(lladdr), "{stray}");
    }
}

#[test]
fn a_rule_sees_that_a_frame_is_for_all() {
    let router = Router::new("broadcast", &filter("INPUT -m pkttype --pkt-type broadcast -j DROP"), "");
    let to = |lladdr| Frame::new("02:00:00:00:1a:02", lladdr).ip("10.1.0.2", "10.1.0.1", 64).udp(40000, 53);
    assert_eq!(router.ends("a0", &to("02:00:00:00:0a:01")), ["delivered none 10.1.0.1"]);
    assert_eq!(router.ends("a0", &to("ff:ff:ff:ff:ff:ff")), ["dropped none 10.1.0.1"]);
}
