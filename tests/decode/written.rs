//! What `-w` writes: packets, and packed text. tshark and DuckDB read it.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::built::{
    self, A, B, block, enhanced, file, flannel, folder, ipv4, option, packets, pcap, section, tcp, udp,
};
use super::tshark::{self, is_ready, skipped};
use super::{decode, lines, records};

fn target(test: &str, name: &str) -> String {
    folder(test).join(name).to_str().unwrap().to_owned()
}

fn written(test: &str, name: &str, args: &[&str]) -> String {
    let out = target(test, name);
    let run = decode(&[args, &["-w", &out]].concat());
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    out
}

#[test]
fn the_packets_that_were_asked_for_are_written_as_they_were() {
    let capture = file("some-written", "a.pcap", &pcap(&packets()));
    let out = written("some-written", "out.pcapng", &["--inner", "udp port 53 or icmp", &capture]);
    let (asked, again) = (records(&["-o", "jsonl", &capture]), records(&["-o", "jsonl", &out]));
    assert_eq!(again.len(), 3);
    for (again, number) in again.iter().zip([2, 3, 5]) {
        let mut wanted = asked[number - 1].clone();
        wanted["n"] = again["n"].clone();
        assert_eq!(again, &wanted);
    }
    let text = decode(&["-x", &capture, "-c", "1"]).out;
    let first = written("some-written", "first.pcapng", &["-c", "1", &capture]);
    assert_eq!(decode(&["-x", &first]).out, text);
}

#[test]
fn tunnels_can_be_taken_off() {
    let capture = file("taken-off", "a.pcap", &pcap(&packets()));
    let out = written("taken-off", "out.pcapng", &["--decapsulate", &capture]);
    let records = records(&["-o", "jsonl", &out]);
    let inner = ipv4(&tcp(b"", 40_000, 80, 2), 6, A, B);
    assert_eq!(
        (&records[0]["layers"], &records[0]["length"]),
        (&json!(["ethernet", "ipv4", "tcp"]), &json!(14 + inner.len()))
    );
    assert!(records.iter().all(|record| record["outer"] == Value::Null));
    assert_eq!(records.len(), 6);
    // A packet right inside another one has no link layer.
    let nested = built::ethernet(&ipv4(&inner, 4, built::NODE_A, built::NODE_B));
    let capture = file("taken-off", "b.pcap", &pcap(&[nested, packets()[3].clone()]));
    let out = written("taken-off", "b.pcapng", &["--decapsulate", &capture]);
    let two = super::records(&["-o", "jsonl", &out]);
    assert_eq!((&two[0]["layers"], &two[1]["layers"]), (&json!(["ipv4", "tcp"]), &json!(["ethernet", "ipv4", "tcp"])));
    if is_ready("tshark", "tunnels_can_be_taken_off") {
        let fields = ["-T", "fields", "-e", "frame.protocols", "-e", "ip.src", "-e", "frame.interface_id"];
        let text = tshark::tshark(out.as_ref(), &fields).unwrap();
        assert_eq!(lines(&text), ["raw:ip:tcp\t10.244.1.2\t0", "eth:ethertype:ip:tcp\t10.244.1.2\t1"]);
    }
}

#[test]
fn interfaces_comments_and_directions_are_kept() {
    // Of a section in big-endian order, too.
    let options = [option(1, b"seen before"), option(2, &[2, 0, 0, 0]), vec![0; 4]].concat();
    let bytes = [section("cni0"), enhanced(1_700_000_000_000_000_001, &packets()[0], &options)].concat();
    let little = file("kept", "a.pcapng", &bytes);
    let big = file("kept", "b.pcapng", &big_endian(&packets()[0]));
    let out = written("kept", "out.pcapng", &[&little, &big]);
    let text = decode(&[&out]).out;
    let rows = lines(&text);
    assert!(rows[0].contains("  22:13:20.000000001  cni0  ") && rows[0].ends_with("  # out  # seen before"), "{text}");
    assert!(rows[1].contains("  veth1  ") && rows[1].ends_with("  # out"), "{text}");
}

#[test]
fn what_the_file_calls_addresses_is_told() {
    let named = block(4, &[&[1, 0, 8, 0, 10, 244, 1, 2][..], b"web\0", &[0; 4]].concat());
    let bytes = [section("cni0"), named, enhanced(1_700_000_000_000_000_001, &packets()[0], &[])].concat();
    let capture = file("called", "a.pcapng", &bytes);
    for view in [&[][..], &["-v"]] {
        let text = decode(&[view, &[&capture]].concat()).out;
        assert!(text.contains("the file calls 10.244.1.2 web"), "{text}");
    }
}

#[test]
fn what_a_file_and_a_snapshot_call_addresses_is_written_for_wireshark() {
    let named = block(4, &[&[1, 0, 8, 0, 203, 0, 113, 7][..], b"web\0", &[0; 4]].concat());
    let inner = ipv4(&tcp(b"", 40_000, 8080, 2), 6, A, [203, 0, 113, 7]);
    let frame = enhanced(1_700_000_000_000_000_001, &flannel(&inner), &[]);
    let bytes = [section("eth0"), named, frame.clone(), frame].concat();
    let capture = file("names-written", "n1.pcapng", &bytes);
    let called = |args: &[&str]| {
        let out = written("names-written", "out.pcapng", &[args, &[&capture]].concat());
        let records = super::records(&["-o", "jsonl", &out]).len();
        let text = decode(&["-v", "-c", "1", &out]).out;
        let told: Vec<String> =
            text.lines().filter_map(|line| line.split("the file calls ").nth(1)).map(str::to_owned).collect();
        (out, records, told)
    };
    let (_, records, told) = called(&[]);
    assert_eq!((records, told), (2, vec!["203.0.113.7 web".to_owned()]));
    let (out, records, told) = called(&["--demo"]);
    let wanted =
        ["192.0.2.11 node/n1", "192.0.2.12 node/n2", "10.244.1.2 default/pod1", "203.0.113.7 web"].map(str::to_owned);
    assert_eq!((records, told), (2, wanted.to_vec()));
    if is_ready("tshark", "what_a_file_and_a_snapshot_call_addresses_is_written_for_wireshark") {
        let vxlan = ["-d", "udp.port==8472,vxlan", "-N", "n"];
        let fields = [&vxlan[..], &["-T", "fields", "-e", "ip.src_host", "-e", "ip.dst_host"]].concat();
        let text = tshark::tshark(out.as_ref(), &fields).unwrap();
        assert_eq!(lines(&text), ["node/n1,default/pod1\tnode/n2,web"; 2]);
    }
}

/// A section in which all numbers have their upper octet first, with one packet that went out.
fn big_endian(packet: &[u8]) -> Vec<u8> {
    let turned = |mut block: Vec<u8>, words: &[usize]| {
        let size = block.len();
        for at in words.iter().copied().chain([0, 4, size - 4]) {
            block[at..at + 4].reverse();
        }
        block
    };
    let head = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    let mut section = turned(block(0x0a0d_0d0a, &head), &[8]);
    section[12..16].copy_from_slice(&[0, 1, 0, 0]);
    let mut name = option(2, b"veth1");
    name[..4].copy_from_slice(&[0, 2, 0, 5]);
    let interface = turned(block(1, &[&[0, 1, 0, 0, 0, 0, 0, 0][..], &name].concat()), &[]);
    let flags = [0, 2, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0];
    let packet = turned(enhanced(0x0006_0a25_0000_0000, packet, &flags), &[8, 12, 16, 20, 24]);
    [section, interface, packet].concat()
}

#[test]
fn comments_stand_on_the_packets_that_they_are_about() {
    if !is_ready("tshark", "comments_stand_on_the_packets_that_they_are_about") {
        return;
    }
    let inner = |source, flags| ipv4(&tcp(b"", source, 8080, flags), 6, A, [10, 244, 2, 4]);
    let all = vec![flannel(&inner(40_000, 2)), packets()[5].clone(), flannel(&inner(40_001, 2))];
    let capture = file("comments", "n1.eth0.pcap", &pcap(&all));
    let out = written("comments", "out.pcapng", &["--demo", "--annotate", "--checksums", &capture]);
    let fields = ["-T", "fields", "-E", "aggregator=|", "-e", "frame.number", "-e", "frame.len", "-e", "frame.comment"];
    let text = tshark::tshark(out.as_ref(), &fields).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 3, "{text}");
    for (place, port) in [(0, 40_000), (2, 40_001)] {
        let wanted = format!(
            "{}\t{}\tnode/n1 192.0.2.11:50000 > node/n2 192.0.2.12:8472 vxlan 1 | default/pod1 10.244.1.2:{port} > shop/web-1 10.244.2.4:8080 tcp SYN",
            place + 1,
            all[place].len()
        );
        assert!(rows[place].starts_with(&wanted), "{}", rows[place]);
        // The lab's link addresses are others than those of this frame.
        assert!(rows[place].contains("|at: n1/eth0"), "{}", rows[place]);
        assert!(rows[place].contains("tcp checksum left to the device"), "{}", rows[place]);
    }
    assert!(
        rows[1].contains("ethernet length 16|at: n1/eth0|byte 14: ethernet type 0x88cc is not decoded"),
        "{}",
        rows[1]
    );
    // Everything else is as it was.
    let plain = ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.protocols", "-x"];
    let (one, other) = (tshark::tshark(capture.as_ref(), &plain), tshark::tshark(out.as_ref(), &plain));
    assert_eq!(one, other);
}

#[test]
fn names_and_options_that_contradict_each_other_are_refused() {
    let capture = file("refused-written", "a.pcap", &pcap(&packets()));
    let out = |name: &str| target("refused-written", name);
    for (args, words) in [
        (vec!["-w", &*out("x.pcap")], "packets are written as pcapng"),
        (vec!["-w", &*out("x.jsonl"), "-o", "pcapng"], "two different things"),
        (vec!["-w", &*out("x.pcapng"), "-o", "text"], "two different things"),
        (vec!["-w", &*out("x.pcapng"), "--flows"], "-o pcapng has the packets themselves"),
        (vec!["--decapsulate"], "--decapsulate and --annotate are for -o pcapng"),
        (vec!["-o", "jsonl", "-w", &*capture], "one of the captures that are read"),
        (vec!["-w", "/nowhere/at/all.pcapng"], "the output can't be written"),
        (vec!["--at", "n1/eth0"], "needs --snapshot"),
        (vec!["--demo", "--at", "n1/eth9"], "no such device"),
        (vec!["--demo", "--at", "b.pcap=n1/eth0"], "no such file is read"),
        (vec!["--fields", "hop"], "hop needs --snapshot"),
        (vec!["--fields", "fragments"], "fragments needs --reassemble"),
        (vec!["--flows", "--checksums"], "cannot be used with"),
        (vec!["-w", "x.csv", "-o", "json"], "its name and -o say two different things"),
        (vec!["-w", &*out("x.jsonl.xz")], "can be packed as .gz or .zst, and not as .xz"),
        (vec!["-w", &*out("x.pcapng.BZ2")], "can be packed as .gz or .zst, and not as .bz2"),
    ] {
        let run = decode(&[&args[..], &[capture.as_str()]].concat());
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}");
        let told = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(words), "{args:?}: {}", run.err);
    }
    assert_eq!(fs::read(&capture).unwrap(), pcap(&packets()));
}

#[test]
fn a_capture_by_another_name_is_not_written_over() {
    let bytes = pcap(&packets());
    let capture = file("linked", "a.pcap", &bytes);
    let linked = target("linked", "b.pcapng");
    let _ = fs::remove_file(&linked);
    fs::hard_link(&capture, &linked).unwrap();
    let run = decode(&["-w", &linked, &capture]);
    assert_eq!(run.code, 2);
    assert!(run.told().contains("it is one of the captures that are read"), "{}", run.err);
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtrace"));
    let from = fs::File::open(&capture).unwrap();
    let run = command.args(["decode", "-w", &linked, "-"]).stdin(from).output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert_eq!(fs::read(&capture).unwrap(), bytes);
}

#[test]
fn a_file_without_packets_is_a_capture_too() {
    let [empty, full] = [Vec::new(), packets()].map(|packets| pcap(&packets));
    let [empty, full] = [("empty.pcap", empty), ("full.pcap", full)].map(|(name, bytes)| file("without", name, &bytes));
    for (test, args) in [("empty", vec![empty.as_str()]), ("full", vec![&full, "--filter", "host 198.51.100.77"])] {
        let out = written("without", &format!("{test}.pcapng"), &args);
        let run = decode(&[&out]);
        assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""), "{test}");
        if is_ready("tcpdump", "a_file_without_packets_is_a_capture_too") {
            let run = Command::new("tcpdump").args(["-r", &out]).output().unwrap();
            assert!(run.status.success(), "{test}: {}", String::from_utf8_lossy(&run.stderr));
        }
    }
}

#[test]
fn a_packet_without_a_time_has_none_in_the_file_where_that_can_hold_it() {
    let packet = &packets()[3];
    let simple = block(3, &[&u32::try_from(packet.len()).unwrap().to_le_bytes()[..], packet].concat());
    let first = file("simple", "a.pcapng", &[section("eth0"), simple.clone()].concat());
    let second = file("simple", "b.pcapng", &[section("eth1"), simple].concat());
    let target = folder("simple").join("out.pcapng");
    let written = |files: &[&str]| {
        let run = decode(&[files, &["-w", target.to_str().unwrap()]].concat());
        let times = records(&["-o", "jsonl", target.to_str().unwrap()]);
        (times.iter().map(|record| record["time"].clone()).collect::<Vec<Value>>(), run.err)
    };
    assert_eq!(written(&[&first]), (vec![Value::Null], String::new()));
    // Such a block is of the first interface.
    let (times, notes) = written(&[&first, &second]);
    assert_eq!(times, [Value::Null, "1970-01-01T00:00:00.000000000Z".into()]);
    assert!(notes.contains("1 packet without a time that pcapng can hold: the file says 1970"), "{notes}");
}

#[test]
fn packed_output_holds_the_same() {
    let all: Vec<Vec<u8>> = packets().into_iter().cycle().take(20_000).collect();
    let capture = file("packed-out", "a.pcap", &pcap(&all));
    let wanted = decode(&["-o", "jsonl", &capture]).out;
    for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
        let bytes = fs::read(written("packed-out", name, &[&capture])).unwrap();
        assert!(name == "a.jsonl" || bytes.len() < wanted.len() / 5, "{name}: {}", bytes.len());
        let mut text = String::new();
        flowtrace::unpack::unpacked(std::io::Cursor::new(bytes)).unwrap().read_to_string(&mut text).unwrap();
        assert!(text == wanted, "{name}");
    }
    let whole: Value =
        serde_json::from_slice(&fs::read(written("packed-out", "a.json", &[&capture])).unwrap()).unwrap();
    assert_eq!(whole["packets"].as_array().unwrap().len(), 20_000);
    let csv = fs::read_to_string(written("packed-out", "a.csv", &["--fields", "n", &capture])).unwrap();
    assert_eq!(csv.lines().count(), 20_001);
    let flows = fs::read_to_string(written("packed-out", "flows.jsonl", &["--flows", &capture])).unwrap();
    assert_eq!(flows, decode(&["--flows", "-o", "jsonl", &capture]).out);
}

/// The Python in which DuckDB is, as `tests/run` installs it.
fn python() -> PathBuf {
    let own = std::env::var_os("FLOWTRACE_PYTHON").map(PathBuf::from);
    own.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python"))
}

/// The queries of the README.
fn queries() -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks = readme.split("```sql\n").skip(1).filter_map(|block| block.split("```").next());
    blocks
        .flat_map(|block| block.split(';').map(|query| query.trim().to_owned()))
        .filter(|query| !query.is_empty())
        .collect()
}

#[test]
fn duckdb_answers_the_queries_of_the_readme() {
    const TEST: &str = "duckdb_answers_the_queries_of_the_readme";
    let python = python();
    let has_it = Command::new(&python).args(["-c", "import duckdb"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        return skipped(TEST, "DuckDB is needed: tests/run installs it (pip install duckdb)");
    }
    let mut all = packets();
    all.push(flannel(&ipv4(&udp(b"x", 40_000, 53), 17, A, B)));
    all.push(flannel(&ipv4(&tcp(b"", 80, 40_000, 0x14), 6, B, A)));
    let first = file("duckdb", "n1.eth0.pcap", &pcap(&all));
    let second = file("duckdb", "n2.eth0.pcap", &pcap(&packets()));
    written("duckdb", "n1.jsonl.zst", &["--demo", &first]);
    written("duckdb", "n2.jsonl.gz", &["--demo", &second]);
    written("duckdb", "n1.flows.jsonl.gz", &["--flows", &first]);
    let queries = queries();
    assert_eq!(queries.len(), 4, "{queries:?}");
    let script = "import duckdb, json, sys\n\
                  for query in json.load(sys.stdin):\n    print(json.dumps(duckdb.sql(query).fetchall(), default=str))";
    let mut child = Command::new(&python)
        .args(["-c", script])
        .current_dir(folder("duckdb"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &queries).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Packets and bytes by tunnel: what both files hold inside VXLAN 1, and outside.
    let inside: usize = (0..3).map(|place| packets()[place].len() * 2).sum::<usize>() + all[6].len() + all[7].len();
    assert_eq!(answers[0][0], json!(["vxlan", 1, 8, inside]));
    assert_eq!(answers[1], json!([["default/pod1", "kube-system/coredns", 3]]), "{text}");
    assert_eq!(answers[2], json!([["ethernet type 0x88cc is not decoded", 2]]));
    assert_eq!(answers[3][0], json!(["10.244.1.2", "10.244.2.3", 80, 1, 0]));
}
