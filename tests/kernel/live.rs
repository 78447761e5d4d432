//! `flowtrace capture --along` and `--pod` on a node of the lab, while packets go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::build::Lab;
use crate::lab::explain::program;
use crate::lab::flannel::FlannelBackend;
use crate::lab::judge::Folder;
use crate::lab::machine::{Taker, on_machine};
use crate::lab::ready;
use crate::lab::situations::{POD1, two_nodes};
use crate::lab::traffic::{Datagrams, Stream};

/// How long a capture may take to begin.
const PATIENCE: Duration = Duration::from_secs(60);

fn lab(name: &str) -> Option<Lab> {
    if !ready::ready() {
        return None;
    }
    let lab = Lab::build(&two_nodes(name, FlannelBackend::Vxlan).scenario());
    let lab = lab.unwrap_or_else(|error| panic!("{name}: {error}"));
    // The first packet of a kind would be held until its neighbour is known.
    for to in [("10.244.2.2:7999", "default/pod2", 7999), ("10.96.0.10:53", "kube-system/coredns", 53)] {
        send(&lab, to, 0x7fff_0000, 3);
    }
    Some(lab)
}

fn send(lab: &Lab, (to, server, port): (&str, &str, u16), tag: u32, count: u32) {
    let to = to.parse().unwrap();
    let pace = Duration::from_millis(2);
    let received = Datagrams { from: POD1, to, server, port, tag, count, size: 64, pace }.send(lab).unwrap();
    assert_eq!((received.there.len(), received.back.len()), (count as usize, count as usize));
}

/// Captures on the first node while something goes on, until so many seconds are over.
fn capture(lab: &Lab, folder: &Path, words: &str, work: impl FnOnce()) -> Output {
    let said = folder.join("told");
    let program = program();
    let _ = fs::remove_file(&said);
    // What is told goes into a file, which shows when the capture has begun.
    let line = format!("exec {} capture {words} --duration 4 2>{}", program.display(), said.display());
    let (done, output) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| done.send(on_machine(lab.netns("n1"), &lab.sandboxes("n1"), &["sh", "-c", &line])));
        let began = Instant::now();
        let told = || fs::read_to_string(&said).unwrap_or_default();
        while !told().contains("capturing on ") {
            assert!(began.elapsed() < PATIENCE, "{words}: {}", told());
            if let Ok(output) = output.try_recv() {
                panic!("{words}: {:?} {}", output.unwrap().status, told());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        work();
        let mut output = output.recv_timeout(PATIENCE).unwrap().unwrap();
        output.stderr = told().into_bytes();
        output
    })
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// How many packets of each flow were seen at exactly these points.
fn seen(lines: &str) -> BTreeMap<(String, Vec<String>), usize> {
    let mut seen = BTreeMap::new();
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let flow = record["flow"].as_str().unwrap();
        // The client's port is any.
        let flow = flow.split(' ').map(|end| end.strip_suffix(&port(end)).unwrap_or(end)).collect::<Vec<_>>().join(" ");
        let points = record["sightings"].as_array().unwrap().iter();
        let points = points.map(|sight| sight["point"].as_str().unwrap().to_owned()).collect();
        assert_eq!(record["lost_after"], Value::Null, "{line}");
        let differs = |hop: &Value| hop["captured"] == true && hop["state"] != "seen";
        let predicted = record["predicted"].as_array().unwrap_or_else(|| panic!("nothing is predicted: {line}"));
        assert!(!predicted.iter().any(differs), "{line}");
        *seen.entry((flow, points)).or_default() += 1;
    }
    seen
}

/// A port of those that sockets get by themselves.
fn port(end: &str) -> String {
    let port = end.rsplit(':').next().filter(|port| port.parse().is_ok_and(|port: u32| port >= 32768));
    port.map(|port| format!(":{port}")).unwrap_or_default()
}

const N1: [&str; 3] = ["n1/cni0", "n1/flannel.1", "n1/eth0"];

/// The points between a pod of the node and its uplink, by the pod's veth.
fn way(veth: &str, back: bool) -> Vec<String> {
    let pod = ["n1/default_pod1/eth0", veth];
    let mut way: Vec<String> = pod.into_iter().chain(N1).map(str::to_owned).collect();
    if back {
        way.reverse();
    }
    way
}

#[test]
fn a_flow_is_captured_at_every_hop_and_nothing_else_is() {
    let Some(lab) = lab("along") else { return };
    let folder = Folder::new("along");
    fs::create_dir_all(&folder.path).unwrap();
    let words = "--node n1 --along default/pod1 10.244.2.2:7000 --proto udp -o jsonl";
    let file = folder.path.join("flow.pcapng");
    let output = capture(&lab, &folder.path, &format!("{words} -w {}", file.display()), || {
        send(&lab, ("10.244.2.2:7000", "default/pod2", 7000), 1, 50);
        // Another port, and another pod: the same devices, and none of the flow's.
        send(&lab, ("10.244.2.2:7001", "default/pod2", 7001), 2, 50);
        send(&lab, ("10.96.0.10:53", "kube-system/coredns", 53), 3, 50);
    });
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let seen = seen(text(&output.stdout));
    let veth = told.split([' ', ',', '\n']).find(|word| word.starts_with("n1/veth")).unwrap();
    let flow = |flow: &str, back| ((flow.to_owned(), way(veth, back)), 50);
    let wanted = [flow("udp 10.244.1.2 > 10.244.2.2:7000", false), flow("udp 10.244.2.2:7000 > 10.244.1.2", true)];
    assert_eq!(seen, BTreeMap::from(wanted), "{told}");
    // Every packet of the file is the flow's, and says where it was seen.
    let again = Command::new(program()).arg("correlate").arg(&file).args(["-o", "json"]).output().unwrap();
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((again["packets"].as_u64(), again["lost"].as_u64()), (Some(100), Some(0)));
    let points: BTreeSet<&str> = again["points"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    assert_eq!(points, way(veth, false).iter().map(String::as_str).collect());
}

/// A snapshot of the first node alone.
fn alone(lab: &Lab, folder: &Path) -> PathBuf {
    let case = folder.join("alone");
    lab.collect(&case, Taker::Netlink).unwrap();
    for node in fs::read_dir(case.join("nodes")).unwrap().map(|node| node.unwrap().path()) {
        if !node.ends_with("n1") {
            fs::remove_dir_all(node).unwrap();
        }
    }
    case
}

/// Points that lie on one way through a node, there or back.
fn is_on(way: &[&str], points: &[String]) -> bool {
    points.iter().eq(way.iter()) || points.iter().eq(way.iter().rev())
}

#[test]
fn flows_of_both_families_are_captured_with_every_backend() {
    if !ready::ready() {
        return;
    }
    for (name, backend, family, devices) in [
        ("along-host-gw", FlannelBackend::HostGw, 4, &["n1/cni0", "n1/eth0"][..]),
        ("along-host-gw", FlannelBackend::HostGw, 6, &["n1/cni0", "n1/eth0"]),
        ("along-vxlan", FlannelBackend::Vxlan, 6, &["n1/cni0", "n1/flannel-v6.1", "n1/eth0"]),
        // Where flanneld sends what it reads there, only the cluster's objects tell, which a node has not.
        ("along-udp", FlannelBackend::Udp, 4, &["n1/cni0", "n1/flannel0"]),
    ] {
        let mut cluster = two_nodes(name, backend);
        cluster.dual_stack = family == 6;
        let lab = Lab::build(&cluster.scenario()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let folder = Folder::new(name);
        fs::create_dir_all(&folder.path).unwrap();
        let pod2 = if family == 4 { "10.244.2.2:7000" } else { "[fd00:10:244:2::2]:7000" };
        let (to, server, port) = (pod2.parse().unwrap(), "default/pod2", 7000);
        let stream = |tag| Stream { from: POD1, to, server, port, tag, cells: (2000, 2000) };
        // The first packets wait for their neighbours.
        stream(1).send(&lab).unwrap();
        send(&lab, (pod2, server, port), 2, 3);
        let case = alone(&lab, &folder.path);
        for proto in ["tcp", "udp"] {
            let file = folder.path.join(format!("{proto}.pcapng"));
            let words = format!("--node n1 --along default/pod1 {pod2} --proto {proto} -o jsonl -w {}", file.display());
            let output = capture(&lab, &folder.path, &words, || match proto {
                "tcp" => stream(3).send(&lab).unwrap(),
                _ => send(&lab, (pod2, server, port), 4, 20),
            });
            let told = text(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{name} {family} {proto}: {told}");
            let veth = told.split([' ', ',', '\n']).find(|word| word.starts_with("n1/veth")).unwrap();
            let way: Vec<&str> = ["n1/default_pod1/eth0", veth].iter().chain(devices).copied().collect();
            let seen = seen(text(&output.stdout));
            let ways: Vec<&Vec<String>> = seen.keys().map(|(_, points)| points).collect();
            assert!(ways.iter().all(|points| is_on(&way, points)), "{name} {family} {proto}: {seen:?} {told}");
            assert_eq!(seen.len(), 2, "there and back: {name} {family} {proto}: {seen:?}");
            assert!(proto == "tcp" || seen.values().all(|count| *count == 20), "{name} {family}: {seen:?}");
            // What this node's tables alone say of the packets contradicts none of them.
            let mut explain = Command::new(program());
            explain.arg("explain").arg("--pcap").arg(&file).arg("--snapshot").arg(&case);
            let explained = explain.output().unwrap();
            let shown = text(&explained.stdout);
            assert!(shown.ends_with("none odd\n") && !shown.contains("dropped"), "{name} {family} {proto}: {shown}");
        }
    }
}

#[test]
fn a_service_is_captured_before_and_after_its_rewrites() {
    let Some(lab) = lab("along-service") else { return };
    let folder = Folder::new("along-service");
    fs::create_dir_all(&folder.path).unwrap();
    let snapshot = folder.path.join("case");
    lab.collect(&snapshot, Taker::Netlink).unwrap();
    let words = format!("--node n1 --snapshot {} --along pod1 svc/kube-system/kube-dns:53", snapshot.display());
    let dns = ("10.96.0.10:53", "kube-system/coredns", 53);
    for format in ["jsonl", "text"] {
        let output = capture(&lab, &folder.path, &format!("{words} -o {format}"), || {
            send(&lab, dns, 1, 50);
            send(&lab, ("10.244.2.2:7001", "default/pod2", 7001), 2, 50);
        });
        let (told, shown) = (text(&output.stderr), text(&output.stdout));
        assert_eq!(output.status.code(), Some(0), "{told}");
        if format == "text" {
            assert!(shown.contains("destination 10.96.0.10:53 > 10.244.2.3:53"), "{shown}");
            assert!(shown.contains("source 10.244.2.3:53 > 10.96.0.10:53"), "{shown}");
            assert!(shown.contains("100 packets of 2 flows, 5 points, 1 node: 0 lost, 0 retransmissions"), "{shown}");
            assert!(shown.contains("predicted for 50 packets"), "{shown}");
            continue;
        }
        let veth = told.split([' ', ',', '\n']).find(|word| word.starts_with("n1/veth")).unwrap();
        let flow = |flow: &str, back| ((flow.to_owned(), way(veth, back)), 50);
        let wanted = [flow("udp 10.244.1.2 > 10.96.0.10:53", false), flow("udp 10.244.2.3:53 > 10.244.1.2", true)];
        assert_eq!(seen(shown), BTreeMap::from(wanted), "{told}");
    }
}

#[test]
fn a_packet_that_the_node_drops_is_said_to_be_lost_and_by_which_line() {
    let Some(lab) = lab("along-lost") else { return };
    let folder = Folder::new("along-lost");
    fs::create_dir_all(&folder.path).unwrap();
    let drop = ["-I", "FORWARD", "-p", "udp", "--dport", "7000", "-j", "DROP"];
    lab.netns("n1").enter(|| crate::lab::netns::must("iptables-nft", &drop, "")).unwrap();
    let words = "--node n1 --along default/pod1 10.244.2.2:7000 --proto udp";
    let output = capture(&lab, &folder.path, words, || {
        let to = "10.244.2.2:7000".parse().unwrap();
        let pace = Duration::from_millis(2);
        let (server, port, tag, count) = ("default/pod2", 7000, 1, 20);
        let received = Datagrams { from: POD1, to, server, port, tag, count, size: 64, pace }.send(&lab).unwrap();
        assert_eq!(received.there.len(), 0);
    });
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}\n{}", text(&output.stderr));
    assert!(shown.contains("20 lost after n1/cni0: dropped, rule by n1/host/iptables-save:"), "{shown}");
}

#[test]
fn pods_and_the_host_are_captured_together() {
    let Some(lab) = lab("pod") else { return };
    let folder = Folder::new("pod");
    fs::create_dir_all(&folder.path).unwrap();
    let file = folder.path.join("mixed.pcapng");
    let words = format!("--node n1 -i cni0,eth0 --pod pod1 -f udp -w {}", file.display());
    let output = capture(&lab, &folder.path, &words, || {
        send(&lab, ("10.244.2.2:7000", "default/pod2", 7000), 1, 50);
    });
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for point in ["n1/cni0", "n1/eth0", "n1/default_pod1/eth0"] {
        let counted = format!("{point}: 100 packets captured, 100 received by filter, 0 dropped by kernel");
        assert!(text(&output.stderr).contains(&counted), "{}", text(&output.stderr));
    }
    let again = Command::new(program()).arg("correlate").arg(&file).args(["-o", "jsonl"]).output().unwrap();
    let points = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let sights = record["sightings"].as_array().unwrap().clone();
        sights.iter().map(|sight| sight["point"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let ways: BTreeSet<String> = text(&again.stdout).lines().map(points).collect();
    let wanted = ["n1/default_pod1/eth0 n1/cni0 n1/eth0", "n1/eth0 n1/cni0 n1/default_pod1/eth0"];
    assert_eq!(ways, wanted.map(str::to_owned).into());
}

#[test]
fn what_is_not_on_the_node_is_said_to_be_missing() {
    let Some(lab) = lab("live-refused") else { return };
    let program = program();
    let refused = |words: &str, wanted: &[&str]| {
        let line = format!("exec {} capture --node n1 {words}", program.display());
        let output = on_machine(lab.netns("n1"), &lab.sandboxes("n1"), &["sh", "-c", &line]).unwrap();
        let told = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{told}");
        assert!(wanted.iter().all(|word| told.contains(word)), "{told}");
    };
    refused("--pod default/pod9 -w x", &["--pod default/pod9: no namespace of this node is default/pod9's", "pod1"]);
    refused("--pod pod9 -w x", &["--pod pod9", "did you mean default/pod1"]);
    refused("--pod default/pod1/eth9 -w x", &["n1/default_pod1/eth9", "no such device", "did you mean eth0?"]);
    refused("--pod default/pod1,pod1 -w x", &["n1/default_pod1/eth0 is named twice"]);
    refused("--along default/pod1 svc/shop/nothing", &["svc/shop/nothing"]);
    refused("--along default/nobody 10.244.2.2:80", &["default/nobody"]);
}
