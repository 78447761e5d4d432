//! Files and packets that nobody should have written.

use serde_json::json;

use super::built::{A, B, NODE_A, NODE_B, block, enhanced, file, ipv4, option, packets, pcap, section, udp};
use super::{decode, decode_input, records};

#[test]
fn a_file_that_was_cut_is_read_up_to_its_last_whole_packet() {
    let bytes = pcap(&packets());
    let capture = file("cut", "a.pcap", &bytes[..bytes.len() - 3]);
    let run = decode(&["-o", "jsonl", &capture]);
    assert_eq!((run.code, run.out.lines().count()), (0, 5));
    assert!(run.err.contains("a.pcap: the file ends within a packet"), "{}", run.err);
    let json: serde_json::Value = serde_json::from_str(&decode(&["-o", "json", &capture]).out).unwrap();
    assert_eq!((json["packets"].as_array().unwrap().len(), json["notes"].as_array().unwrap().len()), (5, 1));
}

#[test]
fn what_is_no_capture_is_an_error() {
    let text = file("none", "a.txt", b"hello, world; this is a text that is long enough");
    let empty = file("none", "empty", b"");
    for (args, words) in [
        (&[text.as_str()][..], "neither a pcap nor a pcapng file: it begins with 68 65 6c 6c"),
        (&[empty.as_str()], "the file is empty"),
        (&["/nowhere/at/all.pcap"], "/nowhere/at/all.pcap"),
        (&["/"], "directory"),
    ] {
        let run = decode(args);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}");
        assert!(run.err.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{args:?}: {}", run.err);
    }
    let good = file("none", "good.pcap", &pcap(&packets()));
    let run = decode(&[&text, &good]);
    assert_eq!((run.code, run.out.lines().count()), (0, 6));
    assert!(run.err.contains("note: ") && run.err.contains("a.txt"), "{}", run.err);
}

#[test]
fn a_header_without_packets_is_a_capture() {
    let run = decode_input(&["-"], &pcap(&[]));
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
}

#[test]
fn a_damaged_capture_of_which_no_packet_can_be_read_is_an_error() {
    let whole = pcap(&packets());
    // Cut within the first record's header, and within its packet.
    let [header, packet] = [31, 50].map(|size| file("unread", &format!("{size}.pcap"), &whole[..size]));
    let mut announced = whole.clone();
    announced[32..36].copy_from_slice(&[0xff; 4]);
    let announced = file("unread", "announced.pcap", &announced);
    let text = file("unread", "a.txt", b"hello, world; this is a text that is long enough");
    let [empty, good] =
        [("empty.pcap", pcap(&[])), ("good.pcap", whole)].map(|(name, bytes)| file("unread", name, &bytes));
    for files in [&[header.as_str()][..], &[&packet], &[&announced], &[&header, &announced], &[&text, &packet]] {
        for form in [&["-o", "json"][..], &["--flows"], &["--fields", "ip.src", "-o", "csv"]] {
            let run = decode(&[form, files].concat());
            assert_eq!((run.code, run.out.as_str()), (2, ""), "{files:?} {form:?}");
            assert!(run.told().contains("it has no packet that can be read"), "{}", run.err);
        }
    }
    for (files, count) in [([&packet, &empty], 0), ([&announced, &good], 6)] {
        let run = decode(&files.map(String::as_str));
        assert_eq!(
            (run.code, run.out.lines().count(), run.err.matches("note: ").count()),
            (0, count, 1),
            "{}",
            run.err
        );
    }
}

#[test]
fn interfaces_cost_no_more_than_a_file_has() {
    let interface =
        |name: &str| block(1, &[&[1, 0, 0, 0, 0, 0, 4, 0][..], &option(2, name.as_bytes()), &[0; 4]].concat());
    let packet = enhanced(0, &packets()[3], &[]);
    // Sections that repeat themselves have the same interfaces, however many there are.
    let part = [section("eth0"), packet.clone()].concat();
    let sections = file("interfaces", "sections.pcapng", &part.repeat(20_000));
    let run = decode(&["--fields", "interface", &sections]);
    assert_eq!((run.code, run.err.as_str(), run.out), (0, "", "eth0\n".repeat(20_000)));
    // Names that are longer than all names are together.
    let long: Vec<Vec<u8>> = (0..100).map(|number| interface(&format!("{number}-{}", "x".repeat(60_000)))).collect();
    let long = file("interfaces", "long.pcapng", &[section("eth0"), packet.clone(), long.concat()].concat());
    let run = decode(&["--fields", "interface", &long]);
    assert_eq!((run.code, run.out.as_str()), (0, "eth0\n"));
    assert!(run.told().contains("the names of the interfaces are longer"), "{}", run.err);
    // One packet of an interface that is one too many.
    let mut other = packet.clone();
    other[8..12].copy_from_slice(&20_000_u32.to_le_bytes());
    let many = [section("eth0"), interface("eth1").repeat(20_000), packet, other].concat();
    let records = records(&["-o", "jsonl", &file("interfaces", "many.pcapng", &many)]);
    assert_eq!((&records[0]["interface"], &records[1]["interface"]), (&json!("eth0"), &json!(null)));
    let run = decode(&["-o", "csv", &file("interfaces", "many.pcapng", &many)]);
    assert!(run.told().contains("more than 16384 interfaces"), "{}", run.err);
}

#[test]
fn packets_of_no_length_and_of_unknown_links_are_told() {
    let capture = file("odd", "a.pcap", &pcap(&[Vec::new(), vec![1, 2, 3]]));
    let records = records(&["-o", "jsonl", &capture]);
    let reason = json!("the packet ends within the ethernet header");
    assert_eq!(records[0]["error"], json!({"offset": 0, "reason": reason}));
    assert_eq!(records[1]["captured"], 3);
    let mut bytes = pcap(&packets());
    bytes[20] = 105;
    let run = decode_input(&["-"], &bytes);
    assert_eq!(run.out.lines().count(), 6);
    assert!(run.out.lines().all(|line| line.ends_with("! byte 0: 802.11 frames are not supported")), "{}", run.out);
}

#[test]
fn a_thousand_tunnels_within_each_other_are_opened() {
    let mut packet = ipv4(&udp(b"x", 7, 9), 17, A, B);
    for _ in 0..1000 {
        packet = ipv4(&packet, 4, NODE_A, NODE_B);
    }
    let mut bytes = pcap(&[packet]);
    bytes[20] = 101;
    let capture = file("deep", "a.pcap", &bytes);
    let record = &records(&["-o", "jsonl", &capture])[0];
    assert_eq!(record["layers"].as_array().unwrap().len(), 1002);
    assert_eq!((&record["destination_port"], &record["error"]), (&json!(9), &json!(null)));
    let run = decode(&[&capture]);
    assert!(run.out.contains("192.0.2.11 > 192.0.2.12 ipip | (999 more tunnels) | 10.244.1.2:7"), "{}", run.out);
    let run = decode(&["--fields", "ip.src", &capture]);
    assert_eq!(run.out.trim().split(',').count(), 1001);
}

#[test]
fn announced_gigabytes_cost_nothing() {
    let mut bytes = section("eth0");
    bytes.extend(enhanced(1, &packets()[0], &[]));
    bytes.extend([6, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let run = decode_input(&["-o", "jsonl", "-"], &bytes);
    assert_eq!((run.code, run.out.lines().count()), (0, 1));
    assert!(run.err.contains("4294967292 bytes"), "{}", run.err);
}

#[test]
fn an_interface_that_nobody_described_is_told() {
    let head = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
    let bytes = [block(0x0a0d_0d0a, &head), enhanced(1, &packets()[0], &[])].concat();
    let run = decode_input(&["-"], &bytes);
    assert!(run.out.ends_with("! byte 0: the link type is not known\n"), "{}", run.out);
    assert!(run.err.contains("interface 0, which is not described"), "{}", run.err);
}

#[test]
fn a_simple_packet_has_no_time() {
    let packet = &packets()[3];
    let simple = [&u32::try_from(packet.len()).unwrap().to_le_bytes()[..], packet].concat();
    let bytes = [section("eth0"), block(3, &simple)].concat();
    let run = decode_input(&["-o", "jsonl", "-"], &bytes);
    let record: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&record["time"], &record["source_port"]), (&json!(null), &json!(40_000)));
}

#[test]
fn times_may_go_back() {
    let all = packets();
    let mut bytes = pcap(&all[..3]);
    // The second packet's second is an earlier one than the first's.
    let second = 24 + 16 + all[0].len();
    bytes[second..second + 4].copy_from_slice(&1_600_000_000_u32.to_le_bytes());
    let capture = file("back", "a.pcap", &bytes);
    let times = |args: &[&str]| -> Vec<String> {
        records(args).iter().map(|record| record["time"].as_str().unwrap()[..4].to_owned()).collect()
    };
    assert_eq!(times(&["-o", "jsonl", &capture]), ["2023", "2020", "2023"]);
    // A file keeps its own order, also where others are merged with it.
    let other = file("back", "b.pcap", &pcap(&all[3..4]));
    assert_eq!(times(&["-o", "jsonl", &capture, &other]), ["2023", "2020", "2023", "2023"]);
    assert_eq!(times(&["-o", "jsonl", "--until", "1650000000", &capture]), ["2020"]);
    let flows = records(&["--flows", "-o", "jsonl", &capture]);
    assert_eq!((&flows[1]["first"], &flows[1]["last"]), (&flows[1]["last"], &flows[1]["first"]));
}

#[test]
fn announced_gigabytes_in_other_places_cost_nothing_either() {
    // A record of pcap.
    let mut bytes = pcap(&packets()[..1]);
    bytes.extend([1, 0xffff, 0xffff_fff0, 0xffff_fff0].map(u32::to_le_bytes).concat());
    let run = decode_input(&["-o", "jsonl", "-"], &bytes);
    assert_eq!((run.code, run.out.lines().count()), (0, 1));
    assert!(run.err.contains("4294967280 bytes is announced"), "{}", run.err);
    // A block without packets is passed over, as far as the file goes.
    let mut bytes = section("eth0");
    bytes.extend(enhanced(1, &packets()[0], &[]));
    bytes.extend([0x0b_ad, 0xffff_fffc].map(u32::to_le_bytes).concat());
    bytes.extend([0; 40]);
    let run = decode_input(&["-o", "jsonl", "-"], &bytes);
    assert_eq!((run.code, run.out.lines().count()), (0, 1));
    assert!(run.err.contains("ends within a block"), "{}", run.err);
}

#[test]
fn lengths_that_lie_are_told_and_the_next_packet_goes_on() {
    let mut lying = packets()[3].clone();
    // IP announces more than the frame has.
    lying[16..18].copy_from_slice(&[0xff, 0xff]);
    let mut small = packets()[3].clone();
    small[16..18].copy_from_slice(&[0, 10]);
    let capture = file("lying", "a.pcap", &pcap(&[lying, small, packets()[3].clone()]));
    let reasons: Vec<serde_json::Value> =
        records(&["-o", "jsonl", &capture]).iter().map(|record| record["error"]["reason"].clone()).collect();
    assert_eq!(
        reasons,
        [
            json!("ipv4 says a length of 65535, but 57 bytes are there"),
            json!("ipv4 says a length of 10, less than its header"),
            json!(null)
        ]
    );
}

#[test]
fn a_note_is_one_line_whatever_a_file_is_called() {
    let whole = pcap(&packets());
    let capture = file("named", "a\nerror: \x1b[31mb.pcap", &whole[..whole.len() - 1]);
    let run = decode(&[&capture]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("a\\x0aerror: \\x1b[31mb.pcap: the file ends"), "{}", run.err);
    let run = decode(&[&file("named", "c\nd.pcap", b"no capture")]);
    assert!(run.code == 2 && run.err.contains("c\\x0ad.pcap: "), "{}", run.err);
}
