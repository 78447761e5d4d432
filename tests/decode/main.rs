//! `flowtrace decode` on captures that are built here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod asked;
mod built;
mod cut;
mod damaged;
#[path = "../bench/traffic.rs"]
#[expect(
    clippy::cast_possible_truncation,
    clippy::many_single_char_names,
    reason = "it makes packets, whose fields are as wide as they are"
)]
mod traffic;
mod tshark;
mod written;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use built::{A, B, ethernet, file, ipv4, packets, pcap, snapped, tcp};

struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    /// What was said on stderr, however its lines were broken.
    fn told(&self) -> String {
        self.err.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn decode(args: &[&str]) -> Run {
    decode_input(args, b"")
}

fn decode_input(args: &[&str], input: &[u8]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowtrace"));
    let command = command.arg("decode").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // Who reads no input closes it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn records(args: &[&str]) -> Vec<Value> {
    let run = decode(args);
    assert_eq!(run.code, 0, "{}", run.err);
    run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lines without the blanks at their ends.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}

#[test]
fn a_packet_is_a_line_outermost_first() {
    let capture = file("line", "a.pcap", &pcap(&packets()));
    let run = decode(&[&capture]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let tunnel = "192.0.2.11:50000 > 192.0.2.12:8472 vxlan 1 | ";
    let wanted = [
        format!("     1  22:13:20.123456000  {tunnel}10.244.1.2:40000 > 10.244.2.3:80 tcp SYN seq 1000 win 64000 length 0"),
        format!("     2  22:13:21.123456000  {tunnel}10.244.1.2:40000 > 10.244.2.3:53 udp dns 0x1234 A? web.shop.svc.cluster.local length 44"),
        format!("     3  22:13:22.123456000  {tunnel}10.244.1.2 > 10.244.2.3 icmp echo request id 1 seq 2 length 5"),
        "     4  22:13:23.123456000  10.244.1.2:40000 > 10.244.2.3:8080 tcp ACK,PSH seq 1000 ack 2000 win 64000 length 5".to_owned(),
        "     5  22:13:24.123456000  10.244.1.2 > 10.244.2.3 icmp port unreachable length 28 about {10.244.2.3:1234 > 10.244.1.2:5678 udp}".to_owned(),
        "     6  22:13:25.123456000  02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff ethernet length 16  ! byte 14: ethernet type 0x88cc is not decoded".to_owned(),
    ];
    assert_eq!(lines(&run.out), wanted);
}

#[test]
fn a_tree_has_a_line_for_each_header() {
    let capture = file("tree", "a.pcap", &pcap(&packets()[..1]));
    let run = decode(&["-v", &capture]);
    let wanted = [
        "1  2023-11-14T22:13:20.123456000Z  116 bytes",
        "    ethernet             02:00:00:00:00:01 > 02:00:00:00:00:02, type 0x0800",
        "    ipv4                 192.0.2.11 > 192.0.2.12, udp, ttl 64, 102 bytes, id 0x0001, DF",
        "    udp                  50000 > 8472, length 74",
        "    vxlan                vni 1",
        "    ethernet             02:00:00:00:00:01 > 02:00:00:00:00:02, type 0x0800",
        "    ipv4                 10.244.1.2 > 10.244.2.3, tcp, ttl 64, 52 bytes, id 0x0001, DF",
        "    tcp                  40000 > 80 SYN, seq 1000, ack 2000, win 64000, length 0, mss 1460, wscale 7, sackOK",
    ];
    assert_eq!(lines(&run.out), wanted);
    let run = decode(&["-x", &capture]);
    assert_eq!(run.out.lines().count(), 1 + 116_usize.div_ceil(16));
    let last = "        000070  04 02 01 01                                       ....";
    assert_eq!(run.out.lines().last(), Some(last));
}

#[test]
fn a_tree_says_of_what_an_error_quotes_what_its_headers_say() {
    let quoted = |packet: &[u8], most: usize| {
        let error = [&[3, 4, 0, 0, 0, 0, 5, 0], &packet[..most]].concat();
        let error = [ethernet(&ipv4(&error, 1, A, B)), vec![0xaa; 20]].concat();
        let capture = file("tree-quoted", "a.pcap", &pcap(&[error]));
        let tree = decode(&["-v", &capture]).out;
        let (_, behind) = tree.split_once("what the error is about:\n").unwrap();
        behind.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let ends = "ipv4 10.244.2.3 > 10.244.1.2";
    let datagram = ipv4(&built::udp(&[7; 32], 1234, 5678), 17, B, A);
    let wanted = [format!("{ends}, udp, ttl 64, 60 bytes, id 0x0001, DF"), "udp 1234 > 5678, length 32".to_owned()];
    assert_eq!(quoted(&datagram, 28), wanted);
    // The length is not quoted, but IP's.
    assert_eq!(quoted(&datagram, 24)[1], "udp 1234 > 5678, length 32");
    // The first part of a datagram, which says how long the whole one is.
    let mut first = datagram.clone();
    first[24..26].copy_from_slice(&3008_u16.to_be_bytes());
    first[6..8].copy_from_slice(&0x2000_u16.to_be_bytes());
    assert!(quoted(&first, 28)[1].ends_with("length 3000"), "{:?}", quoted(&first, 28));
    // UDP-Lite says what its checksum covers.
    let mut lite = datagram.clone();
    lite[9] = 136;
    lite[24..26].copy_from_slice(&8_u16.to_be_bytes());
    assert!(quoted(&lite, 28)[1].ends_with("length 32"), "{:?}", quoted(&lite, 28));
    let segment = ipv4(&tcp(&[7; 88], 40_000, 80, 0x18), 6, B, A);
    let told = quoted(&segment, 60);
    assert!(told[0].contains("140 bytes") && told[1].contains("win 64000, length 88, mss"), "{told:?}");
    // Not all options are quoted.
    assert!(quoted(&segment, 44)[1].contains("length 88, mss"), "{:?}", quoted(&segment, 44));
    assert_eq!(told[2], "payload 8 bytes at 94");
    // What a packet outside an error has is what is there of it.
    let capture = file("tree-quoted", "b.pcap", &pcap(&[[ethernet(&datagram), vec![0; 9]].concat()]));
    let tree = decode(&["-v", &capture]).out;
    assert!(tree.contains("60 bytes") && tree.contains("length 32\n"), "{tree}");
}

#[test]
fn a_line_says_how_much_there_is_of_a_protocol_that_is_not_decoded() {
    let v4 = ipv4(&[9; 20], 112, A, B);
    let v6 = |next: u8, payload: &[u8]| {
        let addresses = [&[0xfd; 15][..], &[1], &[0xfd; 15], &[2]].concat();
        let length = u8::try_from(payload.len()).unwrap();
        [&[0x60, 0, 0, 0, 0, length, next, 64][..], &addresses, payload].concat()
    };
    let over = |packet: &[u8]| [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd][..], packet].concat();
    // Bytes behind the packet are none of its.
    let padded = [ethernet(&v4), vec![0; 26]].concat();
    let optional = v6(60, &[&[112, 0, 1, 4, 0, 0, 0, 0][..], &[9; 20]].concat());
    let nothing = ipv4(&[9; 20], 59, A, B);
    let other = ipv4(&[0; 20], 4, A, B);
    let list =
        [padded, over(&v6(112, &[9; 20])), over(&optional), built::flannel(&v4), ethernet(&nothing), ethernet(&other)];
    let capture = file("undecoded", "a.pcap", &pcap(&list));
    let run = decode(&[&capture]);
    let told: Vec<&str> = run.out.lines().map(|line| line.split("  ! ").next().unwrap()).collect();
    assert_eq!(told.len(), 6);
    for (line, protocol) in told.iter().zip(["112", "112", "112", "112", "59", "4"]) {
        assert!(line.ends_with(&format!(" {protocol} length 20")), "{}", run.out);
    }
    // What is cut has a length that nobody knows.
    let capture = file("undecoded", "b.pcap", &snapped(&[over(&optional)], 55));
    assert!(!decode(&[&capture]).out.contains("length"), "{}", decode(&[&capture]).out);
}

#[test]
fn a_protocol_has_one_name_in_every_view() {
    for (number, name) in [(2, "igmp"), (135, "mobility"), (136, "udplite"), (33, "dccp"), (112, "112"), (17, "udp")] {
        let packet = ethernet(&ipv4(&[&[0, 9, 0, 9, 0, 8, 0, 0][..], &[0; 64]].concat(), number, A, B));
        // A later fragment has no header but IP's.
        let mut later = packet.clone();
        later[21] = 5;
        for (place, packet) in [packet, later].into_iter().enumerate() {
            let capture = file("one-name", &format!("{number}.{place}.pcap"), &pcap(&[packet]));
            assert_eq!(records(&["-o", "jsonl", &capture])[0]["protocol"], name);
            assert_eq!(decode(&["--fields", "protocol", &capture]).out, format!("{name}\n"));
            let line = decode(&[&capture]).out;
            assert!(line.contains(&format!("10.244.2.3 {name} ")) || line.contains(&format!(":9 {name} ")), "{line}");
            let tree = decode(&["-v", &capture]).out;
            assert!(tree.contains(&format!("10.244.2.3, {name}, ttl")), "{tree}");
            assert_eq!(records(&["--flows", "-o", "jsonl", &capture])[0]["protocol"], name);
            let table = decode(&["--flows", &capture]).out;
            assert!(table.contains(&format!("\n{name} ")), "{table}");
            let csv = decode(&["--flows", "-o", "csv", &capture]).out;
            assert!(csv.contains(&format!("\n{name},")), "{csv}");
        }
    }
}

#[test]
fn a_tcp_header_that_was_cut_says_what_was_captured_of_it() {
    let packets = [ethernet(&ipv4(&tcp(b"GET /", 40_000, 80, 2), 6, A, B))];
    let of = |most: usize, options: &[&str]| {
        let capture = file("snapped", "a.pcap", &snapped(&packets, most));
        decode(&[options, &[&capture]].concat()).out
    };
    // Of 66 bytes of headers: the options, what stands behind the flags, and what stands before them are cut.
    for (most, told) in [
        (66, "SYN, seq 1000, ack 2000, win 64000, length 5, mss 1460, wscale 7, sackOK"),
        (61, "SYN, seq 1000, ack 2000, win 64000, length 5, mss 1460, option 3 of 3 bytes (2 there)"),
        (55, "SYN, seq 1000, ack 2000, win 64000, length 5, option 2 without its length"),
        (48, "SYN, seq 1000, ack 2000, length 5"),
        (46, ", seq 1000, ack 2000"),
    ] {
        let tree = of(most, &["-v"]);
        let line = tree.lines().find(|line| line.trim_start().starts_with("tcp ")).unwrap();
        let wanted = format!("40000 > 80 {told}").replace(" ,", ",");
        assert_eq!(line.split_once("tcp ").unwrap().1.trim_start(), wanted, "{most}");
        assert_eq!(tree.contains("payload              5 bytes at 66"), most > 46, "{tree}");
    }
    let fields = &["--fields", "tcp.flags,tcp.len"];
    let wanted = ["0x0002\t5\n", "0x0002\t5\n", "\t\n"];
    assert_eq!([66, 50, 48].map(|most| of(most, fields)), wanted);
    assert!(of(54, &[]).contains("SYN seq 1000 win 64000 length 5"), "{}", of(54, &[]));
    for (most, told) in [
        (49, "tcp SYN seq 1000 length 5  ! byte 34"),
        (48, "tcp SYN seq 1000 length 5  ! byte 34"),
        (47, "tcp seq 1000 length 5  ! byte 34"),
        (46, "tcp seq 1000  ! byte 34"),
        (41, "tcp  ! byte 34"),
    ] {
        let line = of(most, &[]);
        assert!(line.contains(&format!("10.244.1.2:40000 > 10.244.2.3:80 {told}")), "{most}: {line}");
    }
    // How long a segment is of which nothing is there, nobody knows.
    for most in [36, 34] {
        assert!(of(most, &[]).contains("10.244.1.2 > 10.244.2.3 tcp  ! byte 34"), "{}", of(most, &[]));
    }
    let answer = [ethernet(&ipv4(&tcp(b"", 80, 40_000, 0x12), 6, B, A))];
    let capture = file("snapped", "b.pcap", &snapped(&answer, 48));
    let line = decode(&[&capture]).out;
    assert!(line.contains(" tcp SYN,ACK seq 1000 ack 2000 length 0  ! byte 34"), "{line}");
}

#[test]
fn segments_of_which_not_all_options_were_captured_are_not_sent_twice() {
    let segment = |number: u8| {
        let mut segment = tcp(&[0; 40], 40_000, 80, 0x10);
        segment[7] = number * 40;
        ethernet(&ipv4(&segment, 6, A, B))
    };
    let capture = file("snapped", "flows.pcap", &snapped(&[segment(0), segment(1), segment(2)], 60));
    let run = decode(&["--flows", "-o", "jsonl", &capture]);
    let flow: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&flow["packets"], &flow["retransmissions"]), (&json!(3), &json!(0)));
}

#[test]
fn options_of_tcp_that_have_no_name_here_have_their_number() {
    // MPTCP, a user's timeout, and one that says a length that none has.
    let mut segment = tcp(b"", 40_000, 80, 2);
    segment.truncate(20);
    segment.extend([2, 4, 5, 180, 30, 12, 0, 1, 7, 7, 7, 7, 7, 7, 7, 7, 4, 2, 1, 3, 3, 7, 28, 4, 0, 9, 3, 1]);
    segment[12] = 0xc0;
    let capture = file("options", "a.pcap", &pcap(&[ethernet(&ipv4(&segment, 6, A, B))]));
    let run = decode(&["-v", &capture]);
    let wanted =
        "length 0, mss 1460, option 30 of 12 bytes, sackOK, wscale 7, option 28 of 4 bytes, option 3 of 1 bytes\n";
    assert!(run.out.contains(wanted), "{}", run.out);
}

#[test]
fn a_record_has_what_the_contract_says() {
    let capture = file("record", "a.pcap", &pcap(&packets()));
    let records = records(&["-o", "jsonl", &capture]);
    assert_eq!(
        records[1],
        json!({
            "n": 2, "time": "2023-11-14T22:13:21.123456000Z", "interface": null, "length": 136, "captured": 136,
            "layers": ["ethernet", "ipv4", "udp", "vxlan", "ethernet", "ipv4", "udp", "dns"],
            "protocol": "udp", "source": "10.244.1.2", "source_port": 40000,
            "destination": "10.244.2.3", "destination_port": 53,
            "outer": {
                "protocol": "udp", "source": "192.0.2.11", "source_port": 50000,
                "destination": "192.0.2.12", "destination_port": 8472, "tunnel": "vxlan", "vni": 1
            },
            "error": null
        })
    );
    assert_eq!(
        records[5],
        json!({
            "n": 6, "time": "2023-11-14T22:13:25.123456000Z", "interface": null, "length": 16, "captured": 16,
            "layers": ["ethernet"], "protocol": null, "source": null, "source_port": null,
            "destination": null, "destination_port": null, "outer": null,
            "error": {"offset": 14, "reason": "ethernet type 0x88cc is not decoded"}
        })
    );
    let whole: Value = serde_json::from_str(&decode(&["-o", "json", &capture]).out).unwrap();
    assert_eq!((&whole["schema"], &whole["notes"]), (&json!("flowtrace/decode/1"), &json!([])));
    assert_eq!(whole["packets"], json!(records));
    let whole: Value = serde_json::from_str(&decode(&["-o", "json", &capture, "--since", "1700000099"]).out).unwrap();
    assert_eq!(whole["packets"], json!([]));
}

#[test]
fn csv_has_the_values_of_records_below_their_names() {
    let capture = file("csv", "a.pcap", &pcap(&packets()));
    let run = decode(&["-o", "csv", &capture]);
    let rows = lines(&run.out);
    assert_eq!(rows.len(), 7);
    let columns = rows[0].split(',').count();
    assert!(rows.iter().all(|row| row.split(',').count() == columns), "{}", run.out);
    assert!(rows[1].ends_with("udp,192.0.2.11,50000,192.0.2.12,8472,vxlan,1,,"), "{}", rows[1]);
    let run = decode(&["-o", "csv", "--fields", "n,ip.src", &capture]);
    assert_eq!(lines(&run.out)[..3], ["n,ip.src", "1,\"192.0.2.11,10.244.1.2\"", "2,\"192.0.2.11,10.244.1.2\""]);
}

/// The fields for which tshark's output is known to be the same.
const FIELDS: &str = "frame.number,frame.time_epoch,frame.len,ip.src,ip.dst,ip.proto,ip.ttl,udp.srcport,udp.dstport,\
                      tcp.srcport,tcp.dstport,vxlan.vni,tcp.flags,icmp.type,dns.qry.name";

#[test]
fn fields_are_what_tshark_prints() {
    let capture = file("fields", "a.pcap", &pcap(&packets()));
    let run = decode(&["--fields", FIELDS, &capture]);
    // As tshark 4.0.17 prints it: `tshark -n -d udp.port==8472,vxlan -T fields`, with the same fields.
    let wanted = "\
1\t1700000000.123456000\t116\t192.0.2.11,10.244.1.2\t192.0.2.12,10.244.2.3\t17,6\t64,64\t50000\t8472\t40000\t80\t1\t0x0002\t\t
2\t1700000001.123456000\t136\t192.0.2.11,10.244.1.2\t192.0.2.12,10.244.2.3\t17,17\t64,64\t50000,40000\t8472,53\t\t\t1\t\t\tweb.shop.svc.cluster.local
3\t1700000002.123456000\t97\t192.0.2.11,10.244.1.2\t192.0.2.12,10.244.2.3\t17,1\t64,64\t50000\t8472\t\t\t1\t\t8\t
4\t1700000003.123456000\t71\t10.244.1.2\t10.244.2.3\t6\t64\t\t\t40000\t8080\t\t0x0018\t\t
5\t1700000004.123456000\t70\t10.244.1.2,10.244.2.3\t10.244.2.3,10.244.1.2\t1,17\t64,64\t1234\t5678\t\t\t\t\t3\t
6\t1700000005.123456000\t16\t\t\t\t\t\t\t\t\t\t\t\t
";
    assert_eq!(run.out, wanted);
    let run = decode(&["--fields", "ip.sorce", &capture]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("ip.src"), "{}", run.err);
}

#[test]
fn fields_of_a_nodes_traffic_are_what_tshark_prints_to_the_byte() {
    if !tshark::is_ready("tshark", "fields_of_a_nodes_traffic_are_what_tshark_prints_to_the_byte") {
        return;
    }
    let traffic = traffic::Traffic::write(10_000).unwrap();
    let capture = traffic.path.to_str().unwrap();
    let fields = FIELDS.replace(|c: char| c.is_whitespace(), "");
    let args = fields.split(',').flat_map(|field| ["-e", field]);
    let args: Vec<&str> = ["-d", "udp.port==8472,vxlan", "-T", "fields"].into_iter().chain(args).collect();
    let theirs = tshark::tshark(&traffic.path, &args).unwrap();
    assert_eq!(theirs.lines().count(), traffic.packets as usize);
    for threads in ["1", "2"] {
        let ours = decode(&["--threads", threads, "--fields", &fields, capture]).out;
        let differing = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
        assert_eq!(differing, None);
        assert_eq!(ours.len(), theirs.len());
    }
}

#[test]
fn only_what_is_asked_for_is_shown() {
    let capture = file("some", "a.pcap", &pcap(&packets()));
    let numbers = |more: &[&str]| -> Vec<u64> {
        let args = [&["-o", "jsonl", &capture][..], more].concat();
        records(&args).iter().map(|record| record["n"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&["-c", "2"]), [1, 2]);
    assert_eq!(numbers(&["--since", "1700000003.123456"]), [4, 5, 6]);
    assert_eq!(numbers(&["--until", "2023-11-14T22:13:21.2Z"]), [1, 2]);
    assert_eq!(numbers(&["--since", "1700000001", "--until", "1700000004", "-c", "2"]), [2, 3]);
}

#[test]
fn several_threads_keep_the_order() {
    let packets: Vec<Vec<u8>> = packets().into_iter().cycle().take(20_000).collect();
    let capture = file("threads", "a.pcap", &pcap(&packets));
    let alone = decode(&["--threads", "1", "-o", "jsonl", &capture]);
    assert_eq!(alone.out.lines().count(), 20_000);
    for threads in ["2", "3", "8"] {
        assert!(decode(&["--threads", threads, "-o", "jsonl", &capture]).out == alone.out, "{threads}");
    }
}

#[test]
fn the_standard_input_is_a_file_too() {
    let bytes = pcap(&packets());
    let capture = file("input", "a.pcap", &bytes);
    assert_eq!(decode_input(&["-"], &bytes).out, decode(&[&capture]).out);
}

#[test]
fn packed_files_are_unpacked() {
    let bytes = pcap(&packets());
    let capture = file("packed", "a.pcap", &bytes);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(bytes.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    let plain = decode(&[&capture]).out;
    for (name, packed) in [("a.gz", gzip.finish().unwrap()), ("b.zst", zstd)] {
        let capture = file("packed", name, &packed);
        assert_eq!(decode(&[&capture]).out, plain, "{name}");
    }
}

#[test]
fn a_port_can_be_vxlans() {
    let inner = built::ethernet(&built::ipv4(&built::echo(b""), 1, built::A, built::B));
    let frame = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &inner].concat();
    let packet = built::ethernet(&built::ipv4(&built::udp(&frame, 9, 9999), 17, built::NODE_A, built::NODE_B));
    let capture = file("port", "a.pcap", &pcap(&[packet]));
    assert_eq!(records(&["-o", "jsonl", &capture])[0]["protocol"], "udp");
    let record = &records(&["-o", "jsonl", "--vxlan-port", "9999", &capture])[0];
    assert_eq!((&record["protocol"], &record["outer"]["vni"]), (&json!("icmp"), &json!(7)));
}

#[test]
fn several_files_are_one_capture() {
    let all = packets();
    let first = file("several", "n1.pcap", &pcap(&all));
    let options = [built::option(1, b"the \x1b[31mfirst"), built::option(2, &[2, 0, 0, 0]), vec![0; 4]].concat();
    let second = [built::section("cni0"), built::enhanced(1_700_000_001_000_000_000, &all[3], &options)].concat();
    let second = file("several", "n2.pcapng", &second);
    let run = decode(&[&first, &second]);
    let rows = lines(&run.out);
    assert_eq!(rows.len(), 7);
    assert!(rows[0].contains("  n1.pcap  192.0.2.11"), "{}", rows[0]);
    assert!(rows[1].starts_with("     2  22:13:21.000000000  cni0  10.244.1.2:40000"), "{}", rows[1]);
    assert!(rows[1].ends_with("  # out  # the \\x1b[31mfirst"), "{}", rows[1]);
    let records = records(&["-o", "jsonl", &first, &second]);
    assert_eq!((&records[0]["interface"], &records[1]["interface"]), (&json!("n1.pcap"), &json!("cni0")));
}

#[test]
fn fields_end_where_their_header_does() {
    // UDP's header has four bytes, as IP says, and the frame goes on behind.
    let short = [built::ethernet(&built::ipv4(&[0, 1, 0, 2], 17, built::A, built::B)), vec![0xde, 0xad, 0xbe, 0xef]];
    // An error quotes eight bytes of TCP.
    let quoted = built::ipv4(&built::tcp(b"", 40_000, 80, 2)[..8], 6, built::A, built::B);
    let error = [&[3, 3, 0, 0, 0, 0, 0, 0], &quoted[..]].concat();
    let error = [built::ethernet(&built::ipv4(&error, 1, built::B, built::A)), vec![0xaa; 30]];
    let capture = file("ends", "a.pcap", &pcap(&[short.concat(), error.concat()]));
    let fields = "udp.srcport,udp.length,udp.checksum,tcp.srcport,tcp.flags";
    let run = decode(&["--fields", fields, &capture]);
    assert_eq!(run.out, "1\t\t\t\t\n\t\t\t40000\t\n");
    // So it may.
    let records = records(&["-o", "jsonl", &capture]);
    assert_eq!((records[0]["error"].is_null(), records[1]["error"].is_null()), (false, true));
    if tshark::is_ready("tshark", "fields_end_where_their_header_does") {
        let words: Vec<&str> =
            ["-T", "fields"].into_iter().chain(fields.split(',').flat_map(|field| ["-e", field])).collect();
        assert_eq!(tshark::tshark(std::path::Path::new(&capture), &words).unwrap(), run.out);
    }
}

#[test]
fn seconds_have_as_many_digits_as_they_have() {
    let interface = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &built::option(9, &[0])].concat();
    let head = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    let late = built::enhanced(i64::MAX as u64, &packets()[3], &[]);
    let bytes = [built::block(0x0a0d_0d0a, &head), built::block(1, &interface), late].concat();
    let capture = file("seconds", "a.pcapng", &bytes);
    let run = decode(&["--fields", "frame.time_epoch", &capture]);
    assert_eq!(run.out, "9223372036854775807.000000000\n");
}

#[test]
fn a_message_that_asks_for_several_names_is_one_column() {
    let mut message = built::dns("a.b");
    message[5] = 2;
    message.extend([1, b'c', 0, 0, 28, 0, 1]);
    let capture = file(
        "names",
        "a.pcap",
        &pcap(&[built::ethernet(&built::ipv4(&built::udp(&message, 9, 53), 17, built::A, built::B))]),
    );
    let run = decode(&["--fields", "dns.qry.name,udp.dstport", "-o", "csv", &capture]);
    assert_eq!(run.out, "dns.qry.name,udp.dstport\n\"a.b,c\",53\n");
    // A quote in a name is doubled (RFC 4180).
    let quoted = built::ethernet(&built::ipv4(&built::udp(&built::dns("\"a.b"), 9, 53), 17, built::A, built::B));
    let capture = file("names", "b.pcap", &pcap(&[quoted]));
    let run = decode(&["--fields", "dns.qry.name,udp.dstport", "-o", "csv", &capture]);
    assert_eq!(run.out, "dns.qry.name,udp.dstport\n\"\"\"a.b\",53\n");
}

/// A name server's answer: six records that answer and one beside them.
fn answer() -> Vec<u8> {
    let mut message = built::dns("web.shop");
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    message[7] = 6;
    message[11] = 1;
    for (owner, kind, data) in [
        (&b"\xc0\x0c"[..], 5_u16, &b"\x05front\xc0\x10"[..]),
        (b"\x05front\xc0\x10", 1, &[10, 96, 3, 4]),
        (b"\x05front\xc0\x10", 28, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        (b"\xc0\x0c", 33, b"\x00\x01\x00\x02\x1f\x90\x03api\xc0\x10"),
        (b"\xc0\x0c", 16, b"\x02hi"),
        (b"\xc0\x0c", 1, &[10, 96, 3, 5]),
        (b"\xc0\x0c", 1, &[10, 96, 3, 6]),
    ] {
        message.extend(owner);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 30]);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(data);
    }
    message
}

#[test]
fn tags_and_vnis_are_told_as_tshark_tells_them() {
    let inner = built::ipv4(&built::udp(b"x", 1, 2), 17, built::A, built::B);
    let ethernet = built::ethernet(&inner);
    let tagged = [&ethernet[..12], &[0x88, 0xa8, 0, 100, 0x81, 0, 0x60, 5], &ethernet[12..]].concat();
    let geneve = built::udp(&[&[0, 0, 0x65, 0x58, 0, 1, 2, 0][..], &ethernet].concat(), 9, 6081);
    let outer = built::ethernet(&built::ipv4(&geneve, 17, built::NODE_A, built::NODE_B));
    let capture = file("tags", "a.pcap", &pcap(&[tagged, outer]));
    // A cooked header of the second version has its type in front.
    let cooked = |kind: [u8; 2], next: &[u8]| {
        let head = [0, 0, 0, 0, 0, 2, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        [&kind[..], &head, next, &inner].concat()
    };
    let inward = cooked([0x81, 0], &[0, 7, 8, 0]);
    let mut cooked = pcap(&[inward, cooked([0x88, 0xa8], &[0, 100, 0x81, 0, 0, 5, 8, 0])]);
    cooked[20..24].copy_from_slice(&276_u32.to_le_bytes());
    let cooked = file("tags", "cooked.pcap", &cooked);
    let fields = "vlan.id,ieee8021ad.id,geneve.vni";
    let run = decode(&["--fields", fields, &capture]);
    assert_eq!(run.out, "5\t100\t\n\t\t0x000102\n");
    let wanted = "7\t\t\n5\t100\t\n";
    assert_eq!(decode(&["--fields", fields, &cooked]).out, wanted);
    if tshark::is_ready("tshark", "tags_and_vnis_are_told_as_tshark_tells_them") {
        let words: Vec<&str> =
            ["-T", "fields"].into_iter().chain(fields.split(',').flat_map(|field| ["-e", field])).collect();
        assert_eq!(tshark::tshark(std::path::Path::new(&capture), &words).unwrap(), run.out);
        assert_eq!(tshark::tshark(std::path::Path::new(&cooked), &words).unwrap(), wanted);
    }
}

#[test]
fn queries_and_lengths_that_a_device_fills_in_are_told_as_tshark_tells_them() {
    let query = |kind: u8| built::ethernet(&ipv4(&[&[kind, 0, 0, 0, 0, 9, 4, 1][..], &[0; 12]].concat(), 1, A, B));
    let mut split = ethernet(&ipv4(&tcp(&[0; 3000], 40_000, 80, 0x10), 6, A, B));
    split[16..18].fill(0);
    let all: Vec<Vec<u8>> =
        [0, 3, 8, 9, 13, 14, 15, 16, 17, 18, 42, 43].map(query).into_iter().chain([split]).collect();
    let capture = file("queries", "a.pcap", &pcap(&all));
    let fields = "icmp.type,icmp.ident,ip.len,tcp.len";
    let run = decode(&["--fields", fields, &capture]);
    let told = lines(&run.out);
    let wanted = ["0\t9\t40", "9\t\t40", "13\t9\t40", "18\t9\t40", "42\t9\t40", "\t\t3052\t3000"];
    assert_eq!([0, 3, 4, 9, 10, 12].map(|at| told[at]), wanted);
    if tshark::is_ready("tshark", "queries_and_lengths_that_a_device_fills_in_are_told_as_tshark_tells_them") {
        let fields = format!("{fields},icmp.seq");
        let words: Vec<&str> =
            ["-T", "fields"].into_iter().chain(fields.split(',').flat_map(|field| ["-e", field])).collect();
        let ours = decode(&["--fields", &fields, &capture]).out;
        assert_eq!(tshark::tshark(std::path::Path::new(&capture), &words).unwrap(), ours);
    }
}

#[test]
fn an_interface_without_a_name_is_called_as_tshark_calls_it() {
    let head = built::block(0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[255; 8]].concat());
    let (name, description, hardware) =
        (built::option(2, b"eth0"), built::option(3, b"my card"), built::option(15, b"nic"));
    let empty = built::option(2, b"");
    let described: [(&[&[u8]], &str); 9] = [
        (&[], "unknown"),
        (&[&description], "my card"),
        (&[&hardware], "nic"),
        (&[&hardware, &description], "my card"),
        (&[&hardware, &description, &name], "eth0"),
        (&[&empty, &description], ""),
        (&[&name, &built::option(2, b"eth1")], "eth0"),
        (&[&built::option(3, b"a, \"b\"")], "a, \"b\""),
        (&[&built::option(11, b"\0tcp")], "unknown"),
    ];
    for (options, wanted) in described {
        let interface = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &options.concat(), &[0; 4]].concat();
        let bytes = [head.clone(), built::block(1, &interface), built::enhanced(1, &packets()[3], &[])].concat();
        let capture = file("labels", "a.pcapng", &bytes);
        let run = decode(&["--fields", "frame.interface_name,ip.ttl", &capture]);
        assert_eq!(run.out, format!("{wanted}\t64\n"));
        if tshark::is_ready("tshark", "an_interface_without_a_name_is_called_as_tshark_calls_it") {
            let words = ["-T", "fields", "-e", "frame.interface_name", "-e", "ip.ttl"];
            assert_eq!(tshark::tshark(std::path::Path::new(&capture), &words).unwrap(), run.out);
        }
        // It has no name all the same.
        let has_name = options.iter().any(|option| option.starts_with(&[2, 0]));
        assert_eq!(records(&["-o", "jsonl", &capture])[0]["interface"].is_null(), !has_name);
    }
    // A pcap file describes no interface.
    let capture = file("labels", "a.pcap", &pcap(&packets()[3..4]));
    assert_eq!(decode(&["--fields", "frame.interface_name,ip.ttl", &capture]).out, "\t64\n");
    let quoted = decode(&[
        "-o",
        "csv",
        "--fields",
        "frame.interface_name",
        &file("labels", "b.pcapng", &{
            let interface = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &built::option(3, b"a, b"), &[0; 4]].concat();
            [head, built::block(1, &interface), built::enhanced(1, &packets()[3], &[])].concat()
        }),
    ]);
    assert_eq!(quoted.out, "frame.interface_name\n\"a, b\"\n");
}

#[test]
fn columns_with_tabs_between_them_have_no_quotes() {
    let head = built::block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    let interface = [&[1, 0, 0, 0, 0, 0, 0, 0][..], &built::option(2, b"a, \"b\""), &[0; 4]].concat();
    let mut large = ethernet(&ipv4(&built::udp(b"", 7, 9), 17, A, B));
    large[16..18].copy_from_slice(&1000_u16.to_be_bytes());
    let bytes = [head, built::block(1, &interface), built::enhanced(1, &large, &[])].concat();
    let capture = file("tabs", "a.pcapng", &bytes);
    let fields = "interface,error_reason,ip.ttl";
    let reason = "ipv4 says a length of 1000, but 28 bytes are there";
    assert_eq!(decode(&["--fields", fields, &capture]).out, format!("a, \"b\"\t{reason}\t64\n"));
    let csv = decode(&["--fields", fields, "-o", "csv", &capture]).out;
    assert_eq!(csv, format!("{fields}\n\"a, \"\"b\"\"\",\"{reason}\",64\n"));
}

#[test]
fn blanks_around_the_names_of_fields_are_none_of_the_names() {
    let capture = file("blanks", "a.pcap", &pcap(&packets()[3..4]));
    let wanted = decode(&["--fields", "ip.src,ip.dst", &capture]).out;
    let run = decode(&["--fields", " ip.src, ip.dst ", &capture]);
    assert_eq!((run.code, run.out.as_str(), wanted.is_empty()), (0, wanted.as_str(), false), "{}", run.err);
    for missing in ["", " ", "ip.src,", "ip.src,,ip.dst"] {
        let run = decode(&["--fields", missing, &capture]);
        assert!(run.code == 2 && run.err.contains("a field's name is missing"), "{}", run.err);
    }
}

#[test]
fn a_mistyped_word_of_a_filter_has_its_like_named() {
    let capture = file("mistyped", "a.pcap", &pcap(&packets()));
    for (filter, meant) in [("hosst 10.244.1.2", "did you mean host?"), ("tcp prot 80", "or port?")] {
        let run = decode(&["--filter", filter, &capture]);
        let words = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(run.code == 2 && words.contains(meant) && words.contains("^^^^"), "{}", run.err);
    }
    let run = decode(&["--filter", "vxlan 1 and foo", &capture]);
    let words = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = words.split_once("did you mean ").map_or("", |(_, hint)| hint);
    assert!(run.code == 2 && !hint.contains("or ") && !hint.contains("not "), "{}", run.err);
    assert_eq!(
        lines(&decode(&["-f", "-ip[8] + 64 = 0", &capture]).out).len(),
        lines(&decode(&["-f", "ip[8] = 64", &capture]).out).len()
    );
}

#[test]
fn what_a_name_server_answers_is_told() {
    let packet = |message: &[u8]| built::ethernet(&built::ipv4(&built::udp(message, 53, 9), 17, built::A, built::B));
    let message = answer();
    // One that ends within its third record tells the two before.
    let mut cut = message[..built::dns("web.shop").len() + 60].to_vec();
    cut[11] = 0;
    let capture = file("answer", "a.pcap", &pcap(&[packet(&message), packet(&cut)]));
    let lines = decode(&[&capture]).out;
    let wanted = " NOERROR 6 answers A? web.shop: CNAME front.shop, A 10.96.3.4, AAAA fd00::9, \
                  SRV 1 2 8080 api.shop and 2 more length 173\n";
    assert!(lines.lines().next().unwrap().ends_with(wanted.trim_end()), "{lines}");
    let wanted = " NOERROR 6 answers A? web.shop: CNAME front.shop, A 10.96.3.4 and 4 that can't be read length 86";
    assert!(lines.lines().last().unwrap().ends_with(wanted), "{lines}");
    let fields = "dns.a,dns.aaaa,dns.cname";
    let run = decode(&["--fields", fields, "-c", "1", &capture]);
    assert_eq!(run.out, "10.96.3.4,10.96.3.5,10.96.3.6\tfd00::9\tfront.shop\n");
    if tshark::is_ready("tshark", "what_a_name_server_answers_is_told") {
        let words: Vec<&str> =
            ["-c", "1", "-T", "fields"].into_iter().chain(fields.split(',').flat_map(|field| ["-e", field])).collect();
        assert_eq!(tshark::tshark(std::path::Path::new(&capture), &words).unwrap(), run.out);
    }
}

#[test]
fn who_waits_at_a_terminal_is_told_how_far_it_is() {
    if !tshark::is_ready("script", "who_waits_at_a_terminal_is_told_how_far_it_is") {
        return;
    }
    let pipe = built::folder("terminal").join("slow.pcap");
    let _ = std::fs::remove_file(&pipe);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (program, out) = (env!("CARGO_BIN_EXE_flowtrace"), pipe.with_file_name("out.jsonl"));
    let line = format!("{program} decode -o jsonl -w {} {}", out.display(), pipe.display());
    let slow = {
        let pipe = pipe.clone();
        std::thread::spawn(move || {
            let bytes = pcap(&packets());
            let mut file = std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
            for part in bytes.chunks(bytes.len() / 4) {
                file.write_all(part).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(700));
            }
        })
    };
    // `script` makes a terminal of its own for what it runs.
    let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    slow.join().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && shown.contains("0 MB"), "{shown:?}");
    // It is gone in the end.
    assert!(shown.trim_end().ends_with("\r\u{1b}[K"), "{shown:?}");
    assert_eq!(std::fs::read_to_string(out).unwrap().lines().count(), 6);
}

#[test]
fn one_file_that_can_not_be_read_costs_no_other() {
    let good = file("unread", "a.pcap", &pcap(&packets()));
    let bad = file("unread", "b.pcap.gz", &[0x1f, 0x8b]);
    let run = decode(&[&good, &bad]);
    assert_eq!((run.code, run.out.lines().count()), (0, 6));
    assert!(run.err.contains("b.pcap.gz"), "{}", run.err);
    assert_eq!(decode(&[&bad]).code, 2);
    // A name that is none is a mistake.
    assert_eq!(decode(&[&good, "/nonexistent/c.pcap"]).code, 2);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let capture = file("refused", "a.pcap", &pcap(&packets()));
    for (args, words) in [
        (&["-v", "-o", "jsonl"][..], "-v and -x are for text"),
        (&["--fields", "n", "-o", "jsonl"], "--fields"),
        (&["--since", "yesterday"], "seconds since 1970"),
        (&["-c", "0"], "0 is not in 1.."),
    ] {
        let run = decode(&[args, &[capture.as_str()]].concat());
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}");
        assert!(run.err.contains(words), "{args:?}: {}", run.err);
    }
    let run = decode(&["-", "-"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
}

#[test]
fn flows_are_of_the_innermost_packets_both_ways() {
    let mut all = packets();
    all.push(built::flannel(&built::ipv4(&built::tcp(b"", 80, 40_000, 0x14), 6, built::B, built::A)));
    let capture = file("flows", "a.pcap", &pcap(&all));
    let flows = records(&["--flows", "-o", "jsonl", &capture]);
    assert_eq!(flows.len(), 4);
    assert_eq!(
        flows[0],
        json!({
            "protocol": "tcp", "source": "10.244.1.2", "source_port": 40000, "destination": "10.244.2.3",
            "destination_port": 80, "packets": 1, "bytes": 116, "packets_back": 1, "bytes_back": 116,
            "first": "2023-11-14T22:13:20.123456000Z", "last": "2023-11-14T22:13:26.123456000Z",
            "tunnels": ["vxlan 1"], "resets": 1, "retransmissions": 0
        })
    );
    // The echo and the error are between the same ends, and only one of them is in a tunnel.
    assert_eq!((&flows[2]["protocol"], &flows[2]["tunnels"]), (&json!("icmp"), &json!(["vxlan 1", "none"])));
    let whole: Value = serde_json::from_str(&decode(&["--flows", "-o", "json", &capture]).out).unwrap();
    assert_eq!((&whole["flows"], &whole["schema"]), (&json!(flows), &json!("flowtrace/decode-flows/1")));
    let run = decode(&["--flows", "-o", "csv", &capture]);
    assert!(run.out.lines().nth(1).unwrap().ends_with(",vxlan 1,1,0"), "{}", run.out);
    assert!(run.err.contains("1 packet has no IP header"), "{}", run.err);
    let twice = decode(&["--flows", "-o", "jsonl", &capture, &capture]);
    assert!(twice.err.contains("packets of several capture points"), "{}", twice.err);
    let run = decode(&["--flows", &capture]);
    assert!(!run.err.contains("several capture points"), "{}", run.err);
    assert!(run.out.lines().nth(1).unwrap().starts_with("tcp       10.244.1.2:40000 > 10.244.2.3:80"), "{}", run.out);
}

#[test]
fn connections_that_have_the_same_ports_are_one_conversation_that_sends_nothing_twice() {
    let segment = |flags: u8, sequence: u8, payload: &[u8]| {
        let mut segment = tcp(payload, 40_000, 80, flags);
        segment[4..8].copy_from_slice(&[0, 0, 0, sequence]);
        ethernet(&ipv4(&segment, 6, A, B))
    };
    // The second one begins with smaller numbers than the first one had.
    let all = [
        segment(2, 99, b""),
        segment(0x18, 100, b"hello"),
        segment(0x11, 105, b""),
        segment(2, 9, b""),
        segment(0x18, 10, b"hello"),
        segment(0x14, 15, b""),
    ];
    let capture = file("flows", "again.pcap", &pcap(&all));
    let flows = records(&["--flows", "-o", "jsonl", &capture]);
    assert_eq!(flows.len(), 1);
    let told = ["packets", "resets", "retransmissions"].map(|name| flows[0][name].as_u64().unwrap());
    assert_eq!(told, [6, 1, 0]);
}

#[test]
fn a_conversation_says_that_a_part_of_it_was_in_no_tunnel() {
    let inner = ipv4(&tcp(b"", 40_000, 80, 2), 6, A, B);
    let ends = |packets: &[Vec<u8>]| {
        let capture = file("no-tunnel", "a.pcap", &pcap(packets));
        let table = decode(&["--flows", &capture]).out;
        assert_eq!(table.lines().count(), 2, "{table}");
        let line = table.lines().last().unwrap();
        line[line.find("Z  ").unwrap()..].split("  ").skip(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ends(&[ethernet(&inner)]), [""; 0]);
    assert_eq!(ends(&[built::flannel(&inner)]), ["vxlan 1"]);
    let mut both = ends(&[ethernet(&inner), built::flannel(&inner)]);
    both.retain(|word| !word.contains("retransmission"));
    assert_eq!(both, ["no tunnel", "vxlan 1"]);
}

#[test]
fn filters_are_asked_outside_and_inside() {
    let capture = file("filter", "a.pcap", &pcap(&packets()));
    let numbers = |more: &[&str]| -> Vec<u64> {
        let args = [&["-o", "jsonl", &capture][..], more].concat();
        records(&args).iter().map(|record| record["n"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&["--filter", "host 192.0.2.11"]), [1, 2, 3]);
    assert_eq!(numbers(&["--filter", "host 10.244.1.2"]), [4, 5]);
    assert_eq!(numbers(&["--inner", "host 10.244.1.2"]), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&["--inner", "udp port 53 or icmp"]), [2, 3, 5]);
    assert_eq!(numbers(&["--filter", "udp", "--inner", "tcp"]), [1]);
    assert_eq!(numbers(&["--inner", "tcp", "-c", "1"]), [1]);
    let flows = records(&["--flows", "-o", "jsonl", "--inner", "tcp port 80", &capture]);
    assert_eq!(flows.len(), 1);
    let run = decode(&["--filter", "tcp prot 80", &capture]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("^^^^"), "{}", run.err);
    let mut raw = pcap(&packets());
    raw[20] = 101;
    let run = decode_input(&["--filter", "ether host 02:00:00:00:00:01", "-"], &raw);
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    assert!(run.err.contains("no packet of link type raw passes"), "{}", run.err);
}
