//! `explain --pcap` on captures that are built in code, held against the bundled snapshot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod file;
mod listed;
mod odd;
mod refusals;
#[path = "../sample/schema.rs"]
mod schema;
mod vlan;

use std::path::Path;
use std::process::Command;

use file::{Frame, PcapFile, folder};
use serde_json::Value;

/// What the program did.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    /// The answers, one a line.
    fn answers(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Asks about a capture of the bundled snapshot.
fn explain(capture: &Path, more: &[&str]) -> Run {
    explain_named(&capture.display().to_string(), more)
}

fn explain_named(capture: &str, more: &[&str]) -> Run {
    run(&[&["--demo", "--pcap", capture], more].concat())
}

/// `flowtrace explain` with these arguments.
fn run(args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace"))
        .arg("explain")
        .args(args)
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    Run {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn devices(trace: &Value) -> Vec<String> {
    let steps = trace["steps"].as_array().unwrap().iter();
    let devices = steps.filter(|step| step["kind"] == "receive" || step["kind"] == "transmit");
    devices.map(|step| format!("{}/{}", step["node"].as_str().unwrap(), step["device"].as_str().unwrap())).collect()
}

/// The first packet of a connection to svc/shop/web, as its sender's port of the bridge sees it come in.
fn syn() -> Frame {
    Frame::new("0a:58:0a:f4:01:02", "ce:00:00:00:00:01").ip("10.244.1.2", "10.96.0.20", 64).tcp(40000, 80, 0x02)
}

/// The same as the tunnel of that node sees it go out, to web-1.
fn syn_at_tunnel() -> Frame {
    Frame::new("5a:00:00:00:04:01", "5a:00:00:00:04:02").ip("10.244.1.2", "10.244.2.4", 63).tcp(40000, 8080, 0x02)
}

/// The answer of web-1, as the tunnel sees it come in.
fn syn_ack_at_tunnel() -> Frame {
    Frame::new("5a:00:00:00:04:02", "5a:00:00:00:04:01").ip("10.244.2.4", "10.244.1.2", 63).tcp(8080, 40000, 0x12)
}

#[test]
fn a_packet_goes_on_from_where_it_was_seen_and_came_from_its_sender() {
    let folder = folder("onward");
    let capture = PcapFile::new().add(&syn()).write(&folder.join("n1.vethfcf4e592.pcap"));
    let run = explain(&capture, &["-o", "jsonl"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let answer = &run.answers()[0];
    assert_eq!(answer["capture"]["way"], "in");
    assert_eq!(
        (answer["request"]["from"].as_str(), answer["request"]["to"].as_str()),
        (Some("default/pod1"), Some("10.96.0.20:80"))
    );
    // Before its destination is rewritten it may still go to either endpoint.
    let paths = answer["paths"].as_array().unwrap();
    assert_eq!(paths.iter().map(|path| path["probability"].as_f64().unwrap()).collect::<Vec<_>>(), [0.5, 0.5]);
    for path in paths {
        let seen = usize::try_from(path["seen"]["step"].as_u64().unwrap()).unwrap();
        let step = &path["forward"]["steps"][seen - 1];
        assert_eq!((&step["kind"], &step["device"]), (&"receive".into(), &"vethfcf4e592".into()));
        assert_eq!(
            (path["seen"]["leg"].as_str(), path["reply"]["verdict"].as_str()),
            (Some("forward"), Some("delivered"))
        );
    }
}

#[test]
fn behind_address_translation_both_ways_that_it_may_have_come_are_told() {
    let folder = folder("behind");
    let capture = PcapFile::new().add(&syn_at_tunnel()).write(&folder.join("n1.flannel.1.pcap"));
    let run = explain(&capture, &["-o", "jsonl"]);
    let answer = &run.answers()[0];
    let paths = answer["paths"].as_array().unwrap();
    let whys: Vec<&str> = paths.iter().map(|path| path["why"].as_str().unwrap()).collect();
    assert!(whys.iter().any(|why| why.starts_with("default/pod1 sent it to shop/web-1")), "{whys:?}");
    assert!(whys.iter().any(|why| why.starts_with("default/pod1 sent it to svc/shop/web:80")), "{whys:?}");
    assert!(paths.iter().all(|path| path["probability"].is_null()));
    let gap = answer["gaps"][0]["what"].as_str().unwrap();
    assert!(gap.contains("nodes/n1/host/conntrack"), "{gap}");
    for path in paths {
        let devices = devices(&path["forward"]);
        let here = devices.iter().position(|device| device == "n1/flannel.1").unwrap();
        assert_eq!(
            devices[here..],
            ["n1/flannel.1", "n1/eth0", "n2/eth0", "n2/flannel.1", "n2/cni0", "n2/veth094d2acf", "n2/eth0"]
        );
    }
}

#[test]
fn a_reply_is_walked_with_the_connection_that_it_belongs_to() {
    let folder = folder("reply");
    let capture = PcapFile::new().add(&syn_at_tunnel()).add(&syn_ack_at_tunnel()).write(&folder.join("tunnel.pcap"));
    let run = explain(&capture, &["-o", "jsonl", "--at", "n1/flannel.1"]);
    let answers = run.answers();
    let reply = &answers[1];
    assert_eq!((reply["capture"]["role"].as_str(), reply["capture"]["way"].as_str()), (Some("reply"), Some("in")));
    let service = reply["paths"]
        .as_array()
        .unwrap()
        .iter()
        .find(|path| path["why"].as_str().unwrap().contains("svc/shop/web:80"));
    let last = service.unwrap()["reply"]["steps"].as_array().unwrap().last().unwrap().clone();
    // The client's own node gives the service's address back.
    assert_eq!((&last["kind"], &last["packet"]["source"]), (&"deliver".into(), &"10.96.0.20".into()));
    assert_eq!(last["netns"], "pod:default/pod1");
}

#[test]
fn a_tunnel_packet_on_the_wire_is_the_inner_ones_path() {
    let folder = folder("wire");
    let outer = syn_at_tunnel().vxlan(1, "192.0.2.11", "192.0.2.12", ("52:54:00:00:00:11", "52:54:00:00:00:12"));
    let capture = PcapFile::new().add(&outer).write(&folder.join("n2.eth0.pcap"));
    let run = explain(&capture, &["-o", "jsonl"]);
    let answer = &run.answers()[0];
    assert_eq!(answer["capture"]["odd"], Value::Array(Vec::new()), "{}", run.out);
    let path = &answer["paths"][0];
    let seen = usize::try_from(path["seen"]["step"].as_u64().unwrap()).unwrap();
    let step = &path["forward"]["steps"][seen - 1];
    assert_eq!((&step["node"], &step["device"], &step["kind"]), (&"n2".into(), &"eth0".into(), &"receive".into()));
    assert_eq!((&step["packet"]["outer"]["vni"], &step["packet"]["ttl"]), (&1.into(), &63.into()));
    assert_eq!(path["verdict"], "delivered");
}

#[test]
fn packets_that_go_the_same_way_are_counted() {
    let folder = folder("counted");
    let later = || Frame::new("0a:58:0a:f4:01:02", "ce:00:00:00:00:01").ip("10.244.1.2", "10.244.2.2", 64);
    let mut file = PcapFile::new();
    for flags in [0x02, 0x10, 0x18, 0x10, 0x11] {
        file = file.add(&later().tcp(40001, 80, flags));
    }
    let capture = file.add(&later().udp(5000, 53)).write(&folder.join("n1.cni0.pcap"));
    let counts = |more: &[&str]| -> Vec<(u64, u64)> {
        let run = explain(&capture, &[&["-o", "jsonl"], more].concat());
        let number = |answer: &Value, name: &str| answer["capture"][name].as_u64().unwrap();
        run.answers().iter().map(|answer| (number(answer, "n"), number(answer, "count"))).collect()
    };
    assert_eq!(counts(&[]), [(1, 5), (6, 1)]);
    assert_eq!(counts(&["--per", "packet"]), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)]);
    let text = explain(&capture, &["--ascii"]);
    assert!(
        text.out.contains("    #1     x5 in  tcp 10.244.1.2:40001 > 10.244.2.2:80 [S]: default/pod1 -> default/pod2"),
        "{}",
        text.out
    );
    assert!(text.out.ends_with("6 packets; 2 flows shown, none odd\n"), "{}", text.out);
}

#[test]
fn every_answer_is_as_the_schema_says() {
    let folder = folder("schema");
    let strange = Frame::new("0a:58:0a:f4:01:02", "ce:00:00:00:00:01").ip("10.9.9.9", "10.244.2.2", 64).udp(1, 2);
    let capture = PcapFile::new().add(&syn()).add(&strange).write(&folder.join("n1.cni0.pcap"));
    let run = explain(&capture, &["-o", "jsonl"]);
    let root = flowtrace::render::outputs_schema();
    for answer in run.answers() {
        let problems = schema::problems(&root, &answer);
        assert!(problems.is_empty(), "{problems:#?}");
    }
    let whole = explain_named(&format!("{}#1", capture.display()), &["-o", "json"]);
    let answer: Value = serde_json::from_str(&whole.out).unwrap();
    assert_eq!(schema::problems(&root, &answer), Vec::<String>::new());
}

#[test]
fn one_packet_is_shown_with_its_path() {
    let folder = folder("one");
    let capture = PcapFile::new().add(&syn()).add(&syn_at_tunnel()).write(&folder.join("n1.flannel.1.pcap"));
    let run = explain_named(&format!("{}#2", capture.display()), &["--ascii"]);
    assert!(run.out.contains("capture: ") && run.out.contains("#2: out flannel.1 of node n1"), "{}", run.out);
    let row = run.out.lines().find(|line| line.contains("captured here")).unwrap();
    assert!(row.contains("flannel.1") && row.contains('@'), "{row}");
    for line in run.out.lines() {
        assert!(line.is_ascii() && line.len() <= 100, "{line}");
    }
}

#[test]
fn the_parts_of_a_fragmented_packet_are_one() {
    let folder = folder("parts");
    let frame = || Frame::new("0a:58:0a:f4:01:02", "ce:00:00:00:00:01").ip("10.244.1.2", "10.244.2.2", 64);
    let capture = PcapFile::new()
        .add(&frame().payload(1416).udp(40000, 7000).fragment(0, true))
        .add(&frame().payload(92).udp(40000, 7000).fragment(1424, false))
        .write(&folder.join("n1.cni0.pcap"));
    let run = explain(&capture, &["-o", "jsonl", "--per", "packet"]);
    let answers = run.answers();
    assert_eq!(answers.len(), 1, "{}", run.out);
    let packet = &answers[0]["capture"]["packet"];
    assert_eq!((&packet["length"], &packet["fragments"]["count"]), (&(20 + 1424 + 100).into(), &2.into()));
}

#[test]
fn segments_that_were_put_together_are_as_large_as_the_path_takes() {
    // The wire takes 1500 bytes, the pods' network 1450.
    let (n1, gateway) = ("52:54:00:00:00:11", "52:54:00:00:00:01");
    let inward = Frame::new(gateway, n1).ip("203.0.113.9", "10.244.1.2", 60).payload(7000).tcp(40000, 8080, 0x18);
    let outward = Frame::new(n1, gateway).ip("192.0.2.11", "203.0.113.9", 63).payload(7000).tcp(40000, 443, 0x18);
    for (name, frame, verdict) in [("inward", inward, "delivered"), ("outward", outward, "left")] {
        let capture = PcapFile::new().add(&frame).write(&folder(name).join("n1.eth0.pcap"));
        let run = explain(&capture, &["-o", "jsonl", "--no-reply"]);
        let answer = &run.answers()[0];
        assert_eq!(
            (run.code, &answer["verdict"], &answer["capture"]["odd"]),
            (0, &verdict.into(), &Value::Array(vec![]))
        );
        let note = answer["capture"]["notes"][0].as_str().unwrap();
        let wanted = "7040 bytes are more than eth0 takes: they are segments that were put together (TSO, GRO), of which one of \
                      1450 bytes is walked";
        assert!(note.starts_with(wanted), "{note}");
    }
}

#[test]
fn a_bridge_that_is_captured_shows_what_goes_from_port_to_port() {
    let (pod, other, web) = ("0a:58:0a:f4:01:02", "0a:58:0a:f4:01:03", "0a:58:0a:f4:01:04");
    let local = Frame::new(pod, other).ip("10.244.1.2", "10.244.1.3", 64).echo(8, 7);
    // What was sent to a service of the same bridge goes out by it first, where the neighbour has to be asked for.
    let asked = Frame::new("ce:00:00:00:00:01", web).ip("10.244.1.2", "10.244.1.4", 64).tcp(40000, 8080, 0x02);
    let service = Frame::new(pod, web).ip("10.244.1.2", "10.244.1.4", 64).tcp(40000, 8080, 0x02);
    for (name, frame, way, kind) in
        [("local", &local, "in", "fdb"), ("asked", &asked, "out", "transmit"), ("service", &service, "in", "fdb")]
    {
        let capture = PcapFile::new().add(frame).write(&folder(&format!("bridge-{name}")).join("n1.cni0.pcap"));
        let answer = explain(&capture, &["-o", "jsonl"]).answers()[0].clone();
        assert_eq!(
            (&answer["capture"]["odd"], &answer["capture"]["way"]),
            (&Value::Array(vec![]), &way.into()),
            "{name}"
        );
        let paths = answer["paths"].as_array().unwrap();
        assert!(!paths.is_empty() && paths.iter().all(|path| path["verdict"] == "delivered"), "{name}");
        let seen = usize::try_from(paths[0]["seen"]["step"].as_u64().unwrap()).unwrap();
        assert_eq!(paths[0]["forward"]["steps"][seen - 1]["kind"], kind, "{name}");
    }
    // Of what contradicts the snapshot the rest of the way is that through the bridge, too.
    let strange = Frame::new(pod, other).ip("10.244.1.77", "10.244.1.3", 64).echo(8, 7);
    let capture = PcapFile::new().add(&strange).write(&folder("bridge-odd").join("n1.cni0.pcap"));
    let answer = explain(&capture, &["-o", "jsonl"]).answers()[0].clone();
    assert_eq!((&answer["verdict"], &answer["capture"]["way"]), (&"delivered".into(), &"in".into()));
    let last = devices(&answer["paths"][0]["forward"]);
    assert_eq!(last, ["n1/vethfcf4e592", "n1/vethfcf416f8", "n1/eth0"]);
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// What kube-proxy writes in its nftables mode for two services.
const KUBE_PROXY: &str = "
table ip kube-proxy {
	set nodeport-ips {
		type ipv4_addr
		elements = { 192.0.2.11, 192.0.2.12 }
	}

	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.96.0.20 . tcp . 80 : goto service-ABC-shop/web/tcp/http }
	}

	map service-nodeports {
		type inet_proto . inet_service : verdict
		elements = { tcp . 30080 : goto external-DEF-shop/front/tcp/http }
	}

	chain nat-prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		jump services
	}

	chain nat-output {
		type nat hook output priority -100; policy accept;
		jump services
	}

	chain nat-postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		jump masquerading
	}

	chain services {
		ip daddr . meta l4proto . th dport vmap @service-ips
		ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
	}

	chain masquerading {
		meta mark & 0x00004000 == 0x00000000 return
		meta mark set meta mark ^ 0x00004000
		masquerade fully-random
	}

	chain mark-for-masquerade {
		meta mark set meta mark | 0x00004000
	}

	chain service-ABC-shop/web/tcp/http {
		numgen random mod 2 vmap { 0 : goto endpoint-1, 1 : goto endpoint-2 }
	}

	chain external-DEF-shop/front/tcp/http {
		jump mark-for-masquerade
		meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.1.4 . 8080, 1 : 10.244.2.4 . 8080 }
	}

	chain endpoint-1 {
		ip saddr 10.244.1.4 jump mark-for-masquerade
		meta l4proto tcp dnat to 10.244.1.4:8080
	}

	chain endpoint-2 {
		ip saddr 10.244.2.4 jump mark-for-masquerade
		meta l4proto tcp dnat to 10.244.2.4:8080
	}
}
";

/// Makes another text of a file.
fn rewrite(path: &Path, with: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, with(text)).unwrap();
}

#[test]
fn without_objects_the_rules_tell_what_was_rewritten() {
    let folder = folder("rules");
    // The bundled snapshot's tables alone.
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/vxlan/nodes")), &folder.join("nodes"));
    assert_rewritten(&folder);
}

#[test]
fn without_objects_nfts_rules_tell_what_was_rewritten() {
    let folder = folder("nft-rules");
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/vxlan/nodes")), &folder.join("nodes"));
    for node in ["n1", "n2"] {
        let host = folder.join("nodes").join(node).join("host");
        let of_services = |line: &&str| !line.contains("-A KUBE-S") && !line.contains("-A KUBE-NODEPORTS");
        rewrite(&host.join("iptables-save"), |text| {
            text.lines().filter(of_services).fold(String::new(), |all, line| all + line + "\n")
        });
        rewrite(&host.join("nft.txt"), |text| text + KUBE_PROXY);
    }
    assert_rewritten(&folder);
}

/// What is told of a packet that was captured on the second node's bridge.
fn run_at_cni0(snapshot: &Path, capture: &Path) -> Value {
    let [snapshot, capture] = [snapshot, capture].map(|path| path.to_str().unwrap());
    run(&["--snapshot", snapshot, "--pcap", capture, "--at", "n2/cni0", "-o", "jsonl"]).answers()[0].clone()
}

#[test]
fn what_no_service_explains_the_rules_do() {
    let folder = folder("host-port");
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/vxlan")), &folder);
    // What the portmap plugin writes for a hostPort.
    rewrite(&folder.join("nodes/n2/host/iptables-save"), |text| {
        let (before, nat) = text.split_once("*nat\n").unwrap();
        let (chains, rules) = nat.split_at(nat.find("[0:0] -A ").unwrap());
        let own = ":CNI-HOSTPORT-DNAT - [0:0]\n:CNI-DN-abc - [0:0]\n\
                   [0:0] -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n\
                   [0:0] -A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 8088 -j CNI-DN-abc\n\
                   [0:0] -A CNI-DN-abc -p tcp -m tcp --dport 8088 -j DNAT --to-destination 10.244.2.4:8080\n";
        format!("{before}*nat\n{chains}{own}{rules}")
    });
    rewrite(&folder.join("nodes/n2/host/nft.txt"), |text| {
        let base = "\t\ttype nat hook prerouting priority dstnat; policy accept;\n";
        text.replace(
            base,
            &format!("{base}\t\tfib daddr type local counter packets 0 bytes 0 jump CNI-HOSTPORT-DNAT\n"),
        )
    });
    let frame = Frame::new("ce:00:00:00:00:02", "0a:58:0a:f4:02:04").ip("203.0.113.9", "10.244.2.4", 63);
    let capture = PcapFile::new().add(&frame.tcp(40000, 8080, 0x02)).write(&folder.join("asked.pcap"));
    let paths = run_at_cni0(&folder, &capture)["paths"].clone();
    let is_told = |path: &Value| path["why"].as_str().is_some_and(|why| why.contains("sent it to 192.0.2.12:8088"));
    assert!(paths.as_array().unwrap().iter().any(is_told), "{paths}");
    // A pod of another node, which puts its own address in the place of the pod's.
    let frame = Frame::new("ce:00:00:00:00:02", "0a:58:0a:f4:02:04").ip("192.0.2.11", "10.244.2.4", 62);
    let capture = PcapFile::new().add(&frame.tcp(61_000, 8080, 0x02)).write(&folder.join("hidden.pcap"));
    let hidden = run_at_cni0(&folder, &capture);
    assert_eq!(hidden["capture"]["odd"], Value::Array(vec![]), "{hidden}");
    assert!(hidden.to_string().contains("pod1 sent it to 192.0.2.12:8088"), "{hidden}");
    // A service's port at the node is told as the service's, once.
    let whys = paths.to_string();
    assert!(!whys.contains("sent it to 10.244.2.1:30080") && whys.matches("at 192.0.2.12:30080").count() < 2, "{whys}");
}

/// An ICMP message about the packet that a frame has, in another one.
fn error_about(about: &Frame, link: (&str, &str), ip: (&str, &str, u8), message: [u8; 2]) -> Frame {
    let quoted = about.bytes()[14..].to_vec();
    let header = [&message[..], &[0; 6]].concat();
    Frame::new(link.0, link.1).ip(ip.0, ip.1, ip.2).tos(0xc0).other(1, &[header, quoted].concat())
}

#[test]
fn errors_of_receivers_and_of_hosts_outside_go_back_to_whom_they_are_about() {
    let folder = folder("errors");
    let from_pod =
        |to: &str| Frame::new("0a:58:0a:f4:01:02", "ce:00:00:00:00:01").ip("10.244.1.2", to, 64).udp(40000, 9999);
    let inside =
        Frame::new("ce:00:00:00:00:02", "0a:58:0a:f4:02:04").ip("10.244.1.2", "10.244.2.4", 62).udp(40000, 9999);
    // Nobody listens at the pod's port; the pod says so, and so does a server outside.
    let refused = |link, ttl| error_about(&inside, link, ("10.244.2.4", "10.244.1.2", ttl), [3, 3]);
    let at_sender = ("ce:00:00:00:00:01", "0a:58:0a:f4:01:02");
    let beyond = error_about(&from_pod("203.0.113.9"), at_sender, ("203.0.113.9", "10.244.1.2", 61), [3, 3]);
    let expired = error_about(&from_pod("203.0.113.9"), at_sender, ("198.51.100.7", "10.244.1.2", 250), [11, 0]);
    for (name, frame, at, forward, ends) in [
        ("refused", refused(("0a:58:0a:f4:02:04", "ce:00:00:00:00:02"), 64), "n2/cni0", "rejected", "no-listener"),
        ("received", refused(at_sender, 62), "n1/default_pod1/eth0", "rejected", "no-listener"),
        ("beyond", beyond, "n1/default_pod1/eth0", "left", ""),
        ("expired", expired, "n1/default_pod1/eth0", "left", ""),
    ] {
        let capture = PcapFile::new().add(&frame).write(&folder.join(format!("{name}.pcap")));
        let run = explain(&capture, &["--at", at, "-o", "jsonl"]);
        let answers = run.answers();
        let answer = &answers[0];
        assert_eq!(answer["capture"]["odd"], Value::Array(vec![]), "{name}: {} {}", run.err, run.out);
        let path = &answer["paths"][0];
        assert_eq!((&path["forward"]["verdict"], &path["seen"]["leg"]), (&forward.into(), &"reply".into()), "{name}");
        assert_eq!(path["forward"]["reason"].as_str().unwrap_or(""), ends, "{name}");
        let steps = path["reply"]["steps"].as_array().unwrap();
        let last = steps.last().unwrap();
        assert_eq!(
            (&path["reply"]["verdict"], &last["netns"]),
            (&"delivered".into(), &"pod:default/pod1".into()),
            "{name}"
        );
    }
    // Of no sender that there is.
    let nobody = error_about(&from_pod("203.0.113.9"), at_sender, ("203.0.113.9", "10.244.1.77", 61), [3, 3]);
    let capture = PcapFile::new().add(&nobody).write(&folder.join("nobody.pcap"));
    let answers = explain(&capture, &["--at", "n1/default_pod1/eth0", "-o", "jsonl"]).answers();
    assert_ne!(answers[0]["capture"]["odd"], Value::Array(vec![]));
}

/// Asks for two packets whose destinations were rewritten.
fn assert_rewritten(folder: &Path) {
    let at_tunnel = |ip: &str| Frame::new("5a:00:00:00:04:01", "5a:00:00:00:04:02").ip(ip, "10.244.2.4", 63);
    let asked = at_tunnel("10.244.1.2").tcp(40000, 8080, 0x02);
    // From a client outside, by a port of the node, and masqueraded there.
    let outside = at_tunnel("10.244.1.0").tcp(40001, 8080, 0x02);
    for (name, frame, whys) in [
        ("asked", asked, &["default/pod1 sent it to 10.96.0.20:80", "default/pod1 sent it to shop/web-1"][..]),
        ("outside", outside, &["a client outside sent it to 192.0.2.11:30080"]),
    ] {
        let capture = PcapFile::new().add(&frame).write(&folder.join(format!("{name}.pcap")));
        let [snapshot, capture] = [folder, &capture].map(|path| path.to_str().unwrap());
        let run = run(&["--snapshot", snapshot, "--pcap", capture, "--at", "n1/flannel.1", "-o", "jsonl"]);
        let answer = &run.answers()[0];
        assert_eq!(answer["capture"]["odd"], Value::Array(vec![]), "{name} {}", run.err);
        let paths = answer["paths"].as_array().unwrap();
        for wanted in whys {
            let is_told = |path: &Value| path["why"].as_str().is_some_and(|why| why.starts_with(wanted));
            assert!(paths.iter().any(is_told), "{name}: {wanted} {}", run.out);
        }
    }
}

#[test]
fn an_interface_names_its_point_and_its_packets_their_way() {
    let folder = folder("interfaces");
    let capture =
        file::pcapng(&folder.join("n1.pcapng"), &["cni0", "flannel.1"], &[(0, &syn()), (1, &syn_at_tunnel())]);
    let run = explain(&capture, &["-o", "jsonl"]);
    let points: Vec<Value> = run.answers().iter().map(|answer| answer["capture"]["device"].clone()).collect();
    assert_eq!(points, ["cni0", "flannel.1"]);
    let named = file::pcapng(&folder.join("all.pcapng"), &["n1/cni0", "n2/flannel.1"], &[(0, &syn())]);
    assert_eq!(explain(&named, &["-o", "jsonl"]).answers()[0]["capture"]["node"], "n1");
    // --at chooses one of them.
    let one = explain(&capture, &["-o", "jsonl", "--at", "n1/flannel.1"]);
    assert_eq!(one.answers().len(), 1);
}

#[test]
fn a_pod_is_a_point_too() {
    let folder = folder("pod");
    let capture = PcapFile::new().add(&syn()).write(&folder.join("n1.default_pod1.eth0.pcap"));
    let answer = &explain(&capture, &["-o", "jsonl"]).answers()[0];
    assert_eq!(
        (answer["capture"]["netns"].as_str(), answer["capture"]["way"].as_str()),
        (Some("pod:default/pod1"), Some("out"))
    );
}

/// A cooked packet of version 2 (LINUX_SLL2): the index of its device, and whether it was sent.
fn cooked(frame: &Frame, index: u32, is_out: bool) -> Vec<u8> {
    let ethernet = frame.bytes();
    let kind = if is_out { 4 } else { 0 };
    let header = [&[8, 0, 0, 0][..], &index.to_be_bytes(), &[0, 1, kind, 6], &ethernet[6..12], &[0, 0]].concat();
    [header, ethernet[14..].to_vec()].concat()
}

#[test]
fn a_capture_of_all_devices_has_packets_of_each() {
    let folder = folder("any");
    // Netfilter of bridges has translated it when it comes in by the bridge.
    let bridged = Frame::new("0a:58:0a:f4:01:02", "ce:00:00:00:00:01").ip("10.244.1.2", "10.244.2.4", 64);
    let bridged = bridged.tcp(40000, 8080, 0x02);
    // As the bundled snapshot numbers n1's devices: its port, its bridge and its tunnel, and one that came later.
    let file = PcapFile::of(276)
        .add_bytes(&cooked(&syn(), 10, false))
        .add_bytes(&cooked(&bridged, 6, false))
        .add_bytes(&cooked(&syn_at_tunnel(), 4, true))
        .add_bytes(&cooked(&syn(), 99, true));
    let capture = file.write(&folder.join("n1.any.pcap"));
    let run = explain(&capture, &["-o", "jsonl", "--per", "packet"]);
    let told: Vec<(String, String)> = run
        .answers()
        .iter()
        .map(|answer| {
            let word = |name: &str| answer["capture"][name].as_str().unwrap().to_owned();
            assert!(answer["capture"]["odd"].as_array().unwrap().is_empty(), "{answer}");
            (word("device"), word("way"))
        })
        .collect();
    let wanted = [("vethfcf4e592", "in"), ("cni0", "in"), ("flannel.1", "out")];
    assert_eq!(told, wanted.map(|(device, way)| (device.to_owned(), way.to_owned())));
    let text = explain(&capture, &[]);
    let said = text.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("left out: 1 captured on a device of index 99, which the snapshot doesn't have"), "{said}");
    // --at chooses one of them, by itself or with the node that the file's name doesn't say.
    let renamed = file.write(&folder.join("all.pcap"));
    assert_eq!(explain(&renamed, &["-o", "jsonl", "--at", "n1/any"]).answers().len(), 3);
    let one = explain(&capture, &["-o", "jsonl", "--at", "n1/cni0"]);
    assert_eq!(one.answers()[0]["capture"]["device"], "cni0");
    assert_eq!(one.answers().len(), 1, "{}", one.out);
}

#[test]
fn a_cooked_capture_that_names_no_devices_is_refused_with_what_does() {
    let folder = folder("cooked");
    let ethernet = syn().bytes();
    let bytes = [&[0, 0, 0, 1, 0, 6][..], &ethernet[6..12], &[0, 0], &ethernet[12..]].concat();
    let capture = PcapFile::of(113).add_bytes(&bytes).write(&folder.join("n1.any.pcap"));
    let run = explain(&capture, &[]);
    assert!(run.code == 2 && run.err.contains("LINUX_SLL2"), "{}{}", run.out, run.err);
    // Of a single device it has all that is needed.
    let capture = PcapFile::of(113).add_bytes(&bytes).write(&folder.join("n1.vethfcf4e592.pcap"));
    assert_eq!(explain(&capture, &["-o", "jsonl"]).answers()[0]["capture"]["way"], "in");
}
