//! What is told where it is asked for: names and legs by a snapshot, checksums, and fragments put together.

use serde_json::{Value, json};

use super::built::{A, B, NODE_A, NODE_B, ethernet, file, flannel, ipv4, packets, pcap, tcp, udp};
use super::tshark::{self, is_ready};
use super::{decode, lines, records};

/// The sum of 16-bit words in ones' complement.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// The pseudo-header of a segment or datagram.
fn pseudo(payload: &[u8], protocol: u8) -> Vec<u8> {
    let [l1, l2] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&A[..], &B, &[0, protocol, l1, l2]].concat()
}

/// The payload with a checksum at a place.
fn with(mut payload: Vec<u8>, place: usize, checksum: u16) -> Vec<u8> {
    payload[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
    payload
}

fn checked(payload: Vec<u8>, protocol: u8, place: usize) -> Vec<u8> {
    let right = !sum(&[pseudo(&payload, protocol), payload.clone()].concat());
    with(payload, place, right)
}

#[test]
fn a_checksum_of_sctp_has_eight_digits() {
    let packet = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 9, 11, 0, 0, 4];
    let capture = file("checksums", "sctp.pcap", &pcap(&[ethernet(&ipv4(&packet, 132, A, B))]));
    for view in [&["--checksums"][..], &["--checksums", "-v"]] {
        let out = decode(&[view, &[&capture]].concat()).out;
        let (_, told) = out.split_once("checksum 0x00000009 is wrong, 0x").expect(&out);
        assert_eq!(told.find(" is right"), Some(8), "{out}");
    }
}

#[test]
fn checksums_left_to_the_device_are_told_from_wrong_ones() {
    let segment = || tcp(b"odd", 40_000, 80, 0x18);
    let left = sum(&pseudo(&segment(), 6));
    let all = [
        ipv4(&checked(segment(), 6, 16), 6, A, B),
        ipv4(&with(segment(), 16, left), 6, A, B),
        ipv4(&with(segment(), 16, 0x1234), 6, A, B),
        ipv4(&udp(b"x", 7, 9), 17, A, B),
        with(ipv4(&checked(segment(), 6, 16), 6, A, B), 10, 0x4321),
    ];
    let inside: Vec<Vec<u8>> = all.iter().map(|packet| flannel(packet)).collect();
    let capture = file("checksums", "a.pcap", &pcap(&inside));
    let states = |record: &Value| -> Vec<String> {
        let list = record["checksums"].as_array().unwrap().iter();
        list.map(|one| format!("{} {}", one["layer"].as_str().unwrap(), one["checksum"].as_str().unwrap())).collect()
    };
    let records = records(&["--checksums", "-o", "jsonl", &capture]);
    let last: Vec<Vec<String>> = records.iter().map(|record| states(record)[2..].to_vec()).collect();
    assert_eq!(states(&records[0])[..2], ["ipv4 good", "udp absent"]);
    assert_eq!(
        last,
        [
            ["ipv4 good", "tcp good"],
            ["ipv4 good", "tcp offloaded"],
            ["ipv4 good", "tcp bad"],
            ["ipv4 good", "udp absent"],
            ["ipv4 bad", "tcp good"]
        ]
    );
    let bad = &records[2]["checksums"][3];
    assert_eq!((&bad["found"], &bad["offset"]), (&json!(0x1234), &json!(84)));
    let run = decode(&["--checksums", &capture]);
    let rows = lines(&run.out);
    assert!(!rows[0].contains("checksum"), "{}", rows[0]);
    assert!(rows[1].ends_with("  # tcp checksum left to the device"), "{}", rows[1]);
    assert!(rows[2].contains("  ! byte 84: tcp checksum 0x1234 is wrong, 0x"), "{}", rows[2]);
    if !is_ready("tshark", "checksums_left_to_the_device_are_told_from_wrong_ones") {
        return;
    }
    // tshark: 0 is bad, 1 is good, 2 is not checked, 3 is none. It takes a field with the pseudo-header's sum for bad.
    let check = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-d", "udp.port==8472,vxlan"];
    let fields = ["-T", "fields", "-e", "ip.checksum.status", "-e", "tcp.checksum.status"];
    let theirs = tshark::tshark(capture.as_ref(), &[&check[..], &fields].concat()).unwrap();
    let words: Vec<String> = records
        .iter()
        .map(|record| {
            let number = |state: &String| if state.ends_with("good") { "1" } else { "0" };
            let of = |kind: &str| -> Vec<&str> {
                states(record).iter().filter(|state| state.starts_with(kind)).map(number).collect()
            };
            format!("{}\t{}", of("ipv4").join(","), of("tcp").join(","))
        })
        .collect();
    let theirs: Vec<&str> = theirs.lines().collect();
    for place in [0, 2, 3, 4] {
        assert_eq!(theirs[place], words[place], "{place}");
    }
}

/// The fragments of a packet's payload, each of so many bytes.
fn fragments(payload: &[u8], size: usize, id: u8) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let parts = payload.chunks(size).enumerate();
    parts
        .map(|(place, part)| {
            let mut packet = ipv4(part, 17, A, B);
            let more = if place + 1 < count { 0x2000 } else { 0 };
            let field = u16::try_from(place * size / 8).unwrap() | more;
            packet[5] = id;
            packet[6..8].copy_from_slice(&field.to_be_bytes());
            packet[10..12].fill(0);
            let right = !sum(&packet[..20]);
            with(packet, 10, right)
        })
        .collect()
}

#[test]
fn fragments_are_put_together_where_that_is_asked_for() {
    let datagram = checked(udp(&[7; 3000], 40_000, 9000), 17, 6);
    let mut pieces: Vec<Vec<u8>> = fragments(&datagram, 1400, 9).iter().map(|piece| flannel(piece)).collect();
    pieces.swap(0, 1);
    pieces.insert(1, packets()[3].clone());
    let capture = file("fragments", "a.pcap", &pcap(&pieces));
    let alone = records(&["-o", "jsonl", &capture]);
    assert_eq!((&alone[3]["source_port"], &alone[3]["fragments"]), (&json!(null), &Value::Null));
    let whole = records(&["--reassemble", "--checksums", "-o", "jsonl", &capture]);
    assert_eq!(
        whole.iter().map(|record| record["fragments"].clone()).collect::<Vec<_>>(),
        [json!([]), json!([]), json!([]), json!([1, 3, 4])]
    );
    let last = &whole[3];
    assert_eq!((&last["source_port"], &last["destination_port"]), (&json!(40_000), &json!(9000)));
    assert_eq!((&last["length"], &last["error"]), (&json!(pieces[3].len()), &Value::Null));
    assert_eq!(last["checksums"][3]["checksum"], "good");
    let run = decode(&["--reassemble", "--inner", "udp port 9000 and greater 3000", &capture]);
    let rows = lines(&run.out);
    assert_eq!(rows.len(), 1, "{}", run.out);
    assert!(rows[0].ends_with("udp length 3000  # put together from packets 1, 3, 4"), "{}", rows[0]);
    // Taken out of its tunnel, it is written whole, and its fragments are not.
    let out = super::built::folder("fragments").join("out.pcapng");
    let out = out.to_str().unwrap();
    let run = decode(&["--reassemble", "--decapsulate", "-w", out, &capture]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let written = records(&["-o", "jsonl", "--checksums", out]);
    assert_eq!(
        written.iter().map(|record| record["length"].clone()).collect::<Vec<_>>(),
        [json!(packets()[3].len()), json!(14 + 20 + 3008)]
    );
    assert_eq!((&written[1]["checksums"][0]["checksum"], &written[1]["error"]), (&json!("good"), &Value::Null));
    let run = decode(&["--reassemble", "--decapsulate", "-w", out, "--until", "1700000002", &capture]);
    assert!(run.err.contains("1 packet with a fragment of what never came whole"), "{}", run.err);
}

#[test]
fn fragments_of_a_tunnels_packet_are_put_together_and_filters_ask_the_whole() {
    let inner = ethernet(&ipv4(&udp(&[7; 2000], 40_000, 9000), 17, A, B));
    let frame = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &inner].concat();
    let pieces = fragments(&udp(&frame, 50_000, 8472), 1480, 9);
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| ethernet(piece)).collect();
    let capture = file("outer-fragments", "a.pcap", &pcap(&pieces));
    let run = decode(&["--reassemble", &capture]);
    let rows = lines(&run.out);
    assert!(rows[0].contains("vxlan 1 fragment at 0, more follow | 10.244.1.2:40000"), "{}", run.out);
    assert!(rows[1].contains("10.244.1.2:40000 > 10.244.2.3:9000 udp length 2000"), "{}", run.out);
    assert!(rows[1].ends_with("# put together from packets 1, 2"), "{}", run.out);
    let out = super::built::folder("outer-fragments").join("out.pcapng");
    let run = decode(&["--reassemble", "--decapsulate", "-w", out.to_str().unwrap(), &capture]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(records(&["-o", "jsonl", out.to_str().unwrap()])[0]["length"], json!(inner.len()));
    // No fragment but the first has a port, and only the whole is so long.
    let run = decode(&["--reassemble", "--filter", "udp port 8472 and greater 2000", &capture]);
    assert_eq!(lines(&run.out).len(), 1, "{}", run.out);
}

#[test]
fn what_came_in_fragments_without_a_tunnel_is_written_whole() {
    let datagram = checked(udp(&[7; 3000], 40_000, 9000), 17, 6);
    let mut pieces: Vec<Vec<u8>> = fragments(&datagram, 1400, 9).iter().map(|piece| ethernet(piece)).collect();
    let out = super::built::folder("bare-fragments").join("out.pcapng");
    let out = out.to_str().unwrap();
    for turn in 0..pieces.len() {
        pieces.rotate_left(1);
        let capture = file("bare-fragments", "a.pcap", &pcap(&pieces));
        for more in [&[][..], &["--decapsulate"], &["--filter", "port 9000"], &["--filter", "greater 3000"]] {
            let run = decode(&[&["--reassemble", "-w", out, &capture], more].concat());
            assert_eq!((run.code, run.err.as_str()), (0, ""), "{more:?}");
            let written = records(&["-o", "jsonl", "--checksums", out]);
            assert_eq!(written.len(), 1, "{turn} {more:?}");
            assert_eq!(written[0]["length"], json!(14 + 20 + 3008), "{turn} {more:?}");
            let good = ["ipv4", "udp"].map(|layer| json!({"layer": layer, "checksum": "good"}));
            let told = written[0]["checksums"].as_array().unwrap();
            let told = told.iter().map(|one| json!({"layer": one["layer"], "checksum": one["checksum"]}));
            assert!(told.eq(good), "{turn} {more:?}: {}", written[0]["checksums"]);
        }
    }
    // In a tunnel that stays they are written as they are.
    let pieces: Vec<Vec<u8>> = fragments(&datagram, 1400, 9).iter().map(|piece| flannel(piece)).collect();
    let capture = file("bare-fragments", "b.pcap", &pcap(&pieces));
    let run = decode(&["--reassemble", "--filter", "udp port 8472", "-w", out, &capture]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let lengths: Vec<Value> = records(&["-o", "jsonl", out]).iter().map(|record| record["length"].clone()).collect();
    assert_eq!(lengths, pieces.iter().map(|piece| json!(piece.len())).collect::<Vec<_>>());
}

#[test]
fn the_checksum_of_a_tunnel_around_a_fragment_is_not_that_of_the_whole() {
    let datagram = checked(udp(&[7; 3000], 40_000, 9000), 17, 6);
    // The tunnel's own datagrams have checksums, too.
    let around = |piece: &Vec<u8>| {
        let frame = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &ethernet(piece)].concat();
        let mut packet = ipv4(&udp(&frame, 50_000, 8472), 17, A, B);
        let outer = checked(packet[20..].to_vec(), 17, 6);
        packet.splice(20.., outer);
        ethernet(&packet)
    };
    let pieces: Vec<Vec<u8>> = fragments(&datagram, 1400, 9).iter().map(around).collect();
    let capture = file("around", "a.pcap", &pcap(&pieces));
    let worth = |args: &[&str]| {
        let records = records(&[&["--checksums", "-o", "jsonl", &capture], args].concat());
        let last = records.last().unwrap()["checksums"].as_array().unwrap().clone();
        last.iter().map(|one| one["checksum"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(worth(&[])[..2], ["good", "good"]);
    assert_eq!(worth(&["--reassemble"]), ["good", "unknown", "good", "good"]);
}

#[test]
fn a_snapshot_names_addresses_and_says_which_hop_this_is() {
    let inner = ipv4(&tcp(b"", 40_000, 8080, 2), 6, A, [10, 244, 2, 4]);
    // As the snapshot's devices send it: link addresses and TTL.
    let mut inside = ethernet(&with_ttl(inner, 63));
    inside[..12].copy_from_slice(&[0x5a, 0, 0, 0, 4, 2, 0x5a, 0, 0, 0, 4, 1]);
    let frame = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &inside].concat();
    let mut outer = ethernet(&ipv4(&udp(&frame, 50_000, 8472), 17, NODE_A, NODE_B));
    outer[..12].copy_from_slice(&[0x52, 0x54, 0, 0, 0, 0x12, 0x52, 0x54, 0, 0, 0, 0x11]);
    let capture = file("snapshot", "n1.eth0.pcap", &pcap(&[outer.clone(), packets()[5].clone()]));
    let records = records(&["--demo", "-o", "jsonl", &capture]);
    let told = |name: &str| records[0][name].clone();
    assert_eq!(
        ["point", "way", "role", "path_from", "path_to", "verdict"].map(told),
        ["n1/eth0", "out", "original", "default/pod1", "shop/web-1", "delivered"].map(Value::from)
    );
    assert_eq!((told("hop"), told("hops"), told("odd")), (json!(5), json!(10), json!([])));
    assert_eq!((told("source_name"), told("destination_name")), (json!("default/pod1"), json!("shop/web-1")));
    assert_eq!(records[0]["outer"]["destination_name"], "node/n2");
    assert_eq!((&records[1]["point"], &records[1]["hop"]), (&json!("n1/eth0"), &Value::Null));
    let run = decode(&["--demo", "-v", &capture]);
    assert!(run.out.contains("\n    path                 n1/default_pod1/eth0 > "), "{}", run.out);
    assert!(run.out.contains(" > n1/flannel.1 > [n1/eth0] > n2/eth0 > "), "{}", run.out);
    let run = decode(&["--demo", "--fields", "hop,source_name,outer_destination_name", &capture]);
    assert_eq!(run.out.lines().next(), Some("5\tdefault/pod1\tnode/n2"));
    let run = decode(&["--demo", "-o", "csv", &capture]);
    let columns: Vec<usize> = run.out.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns[0], columns[2], "{}", run.out);
    let flows = super::records(&["--demo", "--flows", "-o", "jsonl", &capture]);
    assert_eq!(
        (&flows[0]["source_name"], &flows[0]["destination_name"]),
        (&json!("default/pod1"), &json!("shop/web-1"))
    );

    // At the other node it is the next hop, and the other way; a name that says nothing needs --at.
    let other = file("snapshot", "x.pcap", &pcap(&[outer]));
    let at = super::records(&["--demo", "--at", "n2/eth0", "-o", "jsonl", &other]);
    assert_eq!((&at[0]["hop"], &at[0]["way"]), (&json!(6), &json!("in")));
    let both = super::records(&["--demo", "--at", "x.pcap=n2/eth0", "-o", "jsonl", &other, &capture]);
    assert_eq!([&both[0]["hop"], &both[1]["hop"]], [&json!(6), &json!(5)]);
    let run = decode(&["--demo", "-o", "jsonl", &other]);
    let told = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("where it was captured is not known: --at NODE/DEVICE says it"), "{}", run.err);
    assert!(run.out.contains("\"source_name\":\"default/pod1\"") && run.out.contains("\"point\":null"), "{}", run.out);
}

fn with_ttl(packet: Vec<u8>, ttl: u8) -> Vec<u8> {
    let mut packet = with(packet, 10, 0);
    packet[8] = ttl;
    let right = !sum(&packet[..20]);
    with(packet, 10, right)
}

#[test]
fn a_snapshots_tunnel_ports_are_known() {
    let devices = "7: v0: <UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default\n    \
                   link/ether 5a:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0\n    \
                   vxlan id 7 local 192.0.2.11 dev eth0 srcport 0 0 dstport 9999 nolearning ttl auto ageing 300\n";
    let folder = super::built::folder("ports").join("case/nodes/n1/host");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("link.txt"), devices).unwrap();
    let frame = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &ethernet(&ipv4(&udp(b"x", 7, 9), 17, A, B))].concat();
    let packet = ethernet(&ipv4(&udp(&frame, 9, 9999), 17, NODE_A, NODE_B));
    let capture = file("ports", "a.pcap", &pcap(&[packet]));
    assert_eq!(records(&["-o", "jsonl", &capture])[0]["outer"], Value::Null);
    let snapshot = super::built::folder("ports").join("case");
    let told = records(&["-o", "jsonl", "--snapshot", snapshot.to_str().unwrap(), &capture]);
    assert_eq!(told[0]["outer"]["vni"], 7);
}

#[test]
fn the_captures_built_here_are_what_tshark_says() {
    if !is_ready("tshark", "the_captures_built_here_are_what_tshark_says") {
        return;
    }
    let datagram = udp(&[7; 3000], 40_000, 9000);
    let pieces = fragments(&datagram, 1400, 9).into_iter().map(|piece| flannel(&piece));
    let all: Vec<Vec<u8>> = packets().into_iter().chain(pieces).collect();
    let mut files = vec![file("same", "a.pcap", &pcap(&all))];
    let whole = [super::built::section("eth0"), super::built::enhanced(1, &all[0], &[])].concat();
    files.push(file("same", "b.pcapng", &[whole.clone(), whole].concat()));
    for file in files {
        let (ours, theirs) = (tshark::ours(file.as_ref()).unwrap(), tshark::theirs(file.as_ref()).unwrap());
        assert!(!ours.is_empty());
        assert_eq!(tshark::differences(&ours, &theirs), Vec::<String>::new(), "{file}");
    }
}

#[path = "../sample/schema.rs"]
mod schema;

#[test]
fn every_json_is_as_the_schema_says() {
    let root = flowtrace::render::outputs_schema();
    let piece = flannel(&fragments(&udp(&[7; 3000], 7, 9), 1400, 9)[0]);
    let all: Vec<Vec<u8>> = packets().into_iter().chain([piece, vec![1]]).collect();
    let capture = file("schema", "n1.eth0.pcap", &pcap(&all));
    for more in [&[][..], &["--demo", "--checksums", "--reassemble"], &["--flows"], &["--flows", "--demo"]] {
        let lines = records(&[&["-o", "jsonl", &capture][..], more].concat());
        let whole = decode(&[&["-o", "json", &capture][..], more].concat()).out;
        for value in lines.iter().chain([&serde_json::from_str(&whole).unwrap()]) {
            assert_eq!(schema::problems(&root, value), Vec::<String>::new(), "{more:?} {value}");
        }
    }
    let mut wrong = records(&["-o", "jsonl", &capture])[0].clone();
    wrong["unheard_of"] = json!(1);
    assert!(!schema::problems(&root, &wrong).is_empty());
}
