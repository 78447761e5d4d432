//! Packets of which a capture kept too few bytes: what is there of a header is told, as tshark tells it.

use serde_json::{Value, json};

use super::built::{A, B, NODE_A, NODE_B, dns, echo, ethernet, file, flannel, ipv4, snapped, tcp, udp};
use super::tshark::{self, is_ready};
use super::{decode, records};

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [l1, l2] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let address = |last: u8| [&[0xfd; 2][..], &[0; 13], &[last]].concat();
    [&[0x60, 0, 0, 0, l1, l2, next, 63][..], &address(1), &address(2), payload].concat()
}

fn framed(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(payload);
    frame[12..14].copy_from_slice(&number.to_be_bytes());
    frame
}

fn tagged(outer: u16, packet: &[u8]) -> Vec<u8> {
    framed(outer, &[&[0, 5, 0x81, 0, 0, 7, 8, 0], packet].concat())
}

fn with_options(payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(&[&[7, 7, 4, 0, 0, 0, 0, 0][..], payload].concat(), 17, A, B);
    packet[0] = 0x47;
    packet
}

fn arp() -> Vec<u8> {
    let ends = [&[2, 0, 0, 0, 0, 1][..], &A, &[2, 0, 0, 0, 0, 2], &B].concat();
    [&[0, 1, 8, 0, 6, 4, 0, 2][..], &ends].concat()
}

/// One of each header that has fields.
fn every() -> Vec<Vec<u8>> {
    let datagram = || udp(b"hello world", 40_000, 9000);
    let over_tcp = [&[0, 26][..], &dns("web.shop")].concat();
    let geneve = [&[0, 0, 0x65, 0x58, 0, 1, 2, 0][..], &ethernet(&ipv4(&echo(b""), 1, A, B))].concat();
    let gre = [&[0x30, 0, 8, 0, 0, 0, 0, 7, 0, 0, 0, 9][..], &ipv4(&datagram(), 17, A, B)].concat();
    let error = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &ipv4(&udp(b"", 1234, 5678), 17, B, A)].concat();
    let error6 = [&[1, 4, 0, 0, 0, 0, 0, 0][..], &ipv6(17, &datagram())].concat();
    let hop = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &datagram()].concat();
    vec![
        ethernet(&ipv4(&tcp(b"GET /", 40_000, 80, 2), 6, A, B)),
        ethernet(&ipv4(&datagram(), 17, A, B)),
        ethernet(&ipv4(&udp(&dns("web.shop"), 40_000, 53), 17, A, B)),
        ethernet(&ipv4(&tcp(&over_tcp, 40_000, 53, 0x18), 6, A, B)),
        ethernet(&ipv4(&[&[0x9c, 0x40, 0, 80, 0, 0, 0, 5, 0, 0, 0, 0][..], &[0, 3, 0, 4]].concat(), 132, A, B)),
        ethernet(&ipv4(&error, 1, A, B)),
        ethernet(&with_options(&datagram())),
        ethernet(&ipv4(&udp(&geneve, 40_000, 6081), 17, NODE_A, NODE_B)),
        ethernet(&ipv4(&gre, 47, NODE_A, NODE_B)),
        ethernet(&ipv4(&ipv4(&datagram(), 17, A, B), 4, NODE_A, NODE_B)),
        flannel(&ipv4(&tcp(b"", 40_000, 80, 2), 6, A, B)),
        flannel(&ipv4(&echo(b"hello"), 1, A, B)),
        framed(0x0806, &arp()),
        framed(0x86dd, &ipv6(6, &tcp(b"", 40_000, 80, 2))),
        framed(0x86dd, &ipv6(58, &error6)),
        framed(0x86dd, &ipv6(0, &hop)),
        framed(0x8847, &[&[0, 6, 0x41, 9][..], &ipv4(&datagram(), 17, A, B)].concat()),
        tagged(0x8100, &ipv4(&datagram(), 17, A, B)),
        tagged(0x88a8, &ipv4(&datagram(), 17, A, B)),
    ]
}

/// What is there of a packet, with its length on the wire.
type Kept = (Vec<u8>, usize);

fn pcap(packets: &[Kept]) -> Vec<u8> {
    let mut file = snapped(&[], 0);
    for (bytes, length) in packets {
        let [there, length] = [bytes.len(), *length].map(|size| u32::try_from(size).unwrap());
        file.extend([1_700_000_000, 0, there, length].map(u32::to_le_bytes).concat());
        file.extend(bytes);
    }
    file
}

/// Every beginning of every packet: cut by the capture, or before it was sent.
fn beginnings(is_short: bool) -> Vec<Kept> {
    let of = |packet: &Vec<u8>| -> Vec<Kept> {
        let length = |most: usize| if is_short { most } else { packet.len() };
        (1..=packet.len()).map(|most| (packet[..most].to_vec(), length(most))).collect()
    };
    every().iter().flat_map(of).collect()
}

#[test]
fn fields_of_packets_that_end_anywhere_are_what_tshark_prints() {
    if !is_ready("tshark", "fields_of_packets_that_end_anywhere_are_what_tshark_prints") {
        return;
    }
    for (name, is_short) in [("cut.pcap", false), ("short.pcap", true)] {
        // A datagram at a name server's port that is too short for a message is none here.
        let is_asked = |field: &&str| field.contains('.') && !(is_short && field.starts_with("dns."));
        let fields: Vec<&str> = flowtrace::render::decode::field_list().filter(is_asked).collect();
        let kept = beginnings(is_short);
        let capture = file("ends-anywhere", name, &pcap(&kept));
        let alone = ["-o", "tcp.analyze_sequence_numbers:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE"];
        let alone = alone.into_iter().chain(["-d", "udp.port==8472,vxlan", "-T", "fields"]);
        let args: Vec<&str> = alone.chain(fields.iter().flat_map(|field| ["-e", *field])).collect();
        let theirs = tshark::tshark(capture.as_ref(), &args).unwrap();
        let ours = decode(&["--fields", &fields.join(","), &capture]).out;
        assert_eq!((ours.lines().count(), theirs.lines().count()), (kept.len(), kept.len()));
        for ((ours, theirs), (bytes, length)) in ours.lines().zip(theirs.lines()).zip(&kept) {
            let pairs = fields.iter().zip(ours.split('\t').zip(theirs.split('\t')));
            let differ: Vec<_> = pairs.filter(|(_, (ours, theirs))| ours != theirs).collect();
            assert!(differ.is_empty(), "{} of {length} bytes, ours first: {differ:?} {bytes:02x?}", bytes.len());
        }
    }
}

#[test]
fn fields_of_an_ip_header_that_was_cut_are_told_as_far_as_they_are_there() {
    let row = |packet: Vec<u8>, most: usize| {
        let fields = "ip.dsfield,ip.len,ip.id,ip.flags.df,ip.ttl,ip.proto,ip.checksum,ip.src,ip.dst,\
                      ipv6.plen,ipv6.nxt,ipv6.hlim,ipv6.src,vxlan.vni,tcp.flags,icmpv6.type,arp.opcode,vlan.id";
        let capture = file("fields-there", "a.pcap", &snapped(&[packet], most));
        let out = decode(&["--fields", fields, &capture]).out;
        let values: Vec<&str> = out.trim_end_matches('\n').split('\t').filter(|value| !value.is_empty()).collect();
        values.join(" ")
    };
    let segment = || ethernet(&ipv4(&tcp(b"", 40_000, 80, 2), 6, A, B));
    let segment6 = || framed(0x86dd, &ipv6(6, &tcp(b"", 40_000, 80, 2)));
    // As tshark 4.0.17 prints it.
    for (packet, most, wanted) in [
        (segment(), 15, ""),
        (segment(), 18, "0x00 52"),
        (segment(), 21, "0x00 52 0x0001"),
        (segment(), 24, "0x00 52 0x0001 1 64 6"),
        (segment(), 33, "0x00 52 0x0001 1 64 6 0x21d7 10.244.1.2"),
        (segment(), 34, "0x00 52 0x0001 1 64 6 0x21d7 10.244.1.2 10.244.2.3"),
        // The flags are read together with all up to the window.
        (segment(), 49, "0x00 52 0x0001 1 64 6 0x21d7 10.244.1.2 10.244.2.3"),
        (segment(), 50, "0x00 52 0x0001 1 64 6 0x21d7 10.244.1.2 10.244.2.3 0x0002"),
        (segment6(), 20, ""),
        (segment6(), 21, "32 6"),
        (segment6(), 53, "32 6 63 fdfd::1"),
        (framed(0x86dd, &ipv6(58, &[128, 0, 0, 0])), 55, "4 58 63 fdfd::1 128"),
        (framed(0x0806, &arp()), 41, "2"),
        (tagged(0x8100, &[]), 16, "5"),
    ] {
        assert_eq!(row(packet, most), wanted, "{most}");
    }
    // It is no other row where only what stands before is asked for.
    let capture = file("fields-there", "b.pcap", &snapped(&[ethernet(&ipv4(&echo(b"hello"), 1, A, B))], 39));
    assert_eq!(decode(&["--fields", "ip.ttl,icmp.type", &capture]).out, "64\t\n");
    let inner = row(flannel(&ipv4(&tcp(b"", 40_000, 80, 2), 6, A, B)), 80);
    assert_eq!(inner, "0x00,0x00 102,52 0x0001,0x0001 1,1 64,64 17,6 0xb66e,0x21d7 192.0.2.11,10.244.1.2 192.0.2.12 1");
    assert!(row(flannel(&[]), 49).ends_with("192.0.2.12 1"));
}

#[test]
fn a_packet_that_was_cut_within_its_ip_header_is_the_innermost_one() {
    let packet = flannel(&ipv4(&tcp(b"", 40_000, 80, 2), 6, A, B));
    let record = |most: usize| {
        let capture = file("innermost", "a.pcap", &snapped(std::slice::from_ref(&packet), most));
        records(&["-o", "jsonl", &capture]).remove(0)
    };
    let told = record(81);
    let layers = json!(["ethernet", "ipv4", "udp", "vxlan", "ethernet", "ipv4"]);
    assert_eq!(told["layers"], layers);
    assert_eq!(
        [&told["protocol"], &told["source"], &told["destination"], &told["source_port"]],
        [&json!("tcp"), &json!("10.244.1.2"), &Value::Null, &Value::Null]
    );
    assert_eq!((&told["outer"]["source"], &told["outer"]["vni"]), (&json!("192.0.2.11"), &json!(1)));
    assert_eq!(told["error"]["reason"], "the capture ends within the ipv4 header");
    let told = record(70);
    assert_eq!((&told["protocol"], &told["source"]), (&Value::Null, &Value::Null));
    assert_eq!(told["outer"]["tunnel"], "vxlan");
    // Of the header inside nothing is there.
    let told = record(64);
    assert_eq!((&told["outer"], &told["source"]), (&Value::Null, &json!("192.0.2.11")));
    let view = |most: usize, option: &[&str]| {
        let capture = file("innermost", "a.pcap", &snapped(std::slice::from_ref(&packet), most));
        decode(&[option, &[&capture]].concat()).out
    };
    let wanted = "192.0.2.12:8472 vxlan 1 | 10.244.1.2 > ? tcp  ! byte 64: the capture ends within the ipv4 header\n";
    assert!(view(81, &[]).ends_with(wanted), "{}", view(81, &[]));
    assert!(view(66, &[]).contains(" vxlan 1 | ? > ? ipv4  ! byte 64"), "{}", view(66, &[]));
    assert!(view(20, &[]).contains("02:00:00:00:00:02 ethernet length 116  ! byte 14"), "{}", view(20, &[]));
    assert!(view(32, &[]).contains("  192.0.2.11 > ? udp  ! byte 14"), "{}", view(32, &[]));
    let tree = view(72, &["-v"]);
    assert!(tree.contains("\n    ipv4                 ? > ?, 52 bytes, id 0x0001, DF\n    ! "), "{tree}");
    let row = view(81, &["-o", "csv"]);
    assert!(row.contains(",tcp,10.244.1.2,,,,udp,192.0.2.11,50000,192.0.2.12,8472,vxlan,1,64,"), "{row}");
}

#[test]
fn what_an_error_quotes_may_be_cut_within_its_ip_header() {
    let error = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &ipv4(&udp(b"", 1234, 5678), 17, B, A)].concat();
    let capture = file("quoted", "a.pcap", &snapped(&[ethernet(&ipv4(&error, 1, A, B))], 59));
    let run = decode(&[&capture]);
    assert!(run.out.contains("10.244.1.2 > 10.244.2.3 icmp port unreachable"), "{}", run.out);
    assert!(run.out.contains(" about {10.244.2.3 > ? udp}  ! byte 42"), "{}", run.out);
    // It travels not.
    let record = &records(&["-o", "jsonl", &capture])[0];
    assert_eq!((&record["protocol"], &record["outer"]), (&json!("icmp"), &Value::Null));
}

#[test]
fn a_tree_says_nothing_that_was_not_captured() {
    let tree = |packet: Vec<u8>, most: usize| {
        let capture = file("said", "a.pcap", &snapped(&[packet], most));
        decode(&["-v", &capture]).out
    };
    let echo = tree(ethernet(&ipv4(&echo(b"hello"), 1, A, B)), 38);
    assert!(echo.contains("type 8 code 0, echo request\n"), "{echo}");
    assert!(echo.contains(" byte 34: the capture ends within the icmp header\n"), "{echo}");
    let sctp = [0x9c, 0x40, 0, 80, 0, 0, 0, 5, 0, 0, 0, 0];
    let sctp = tree(ethernet(&ipv4(&sctp, 132, A, B)), 40);
    assert!(sctp.contains("40000 > 80\n"), "{sctp}");
    let gre = [&[0x30, 0, 8, 0, 0, 0, 0, 7, 0, 0, 0, 9][..], &ipv4(&udp(b"", 1, 2), 17, A, B)].concat();
    let gre = tree(ethernet(&ipv4(&gre, 47, NODE_A, NODE_B)), 44);
    assert!(gre.contains("type 0x0800, key 0x00000007\n"), "{gre}");
    let tag = tree(tagged(0x8100, &[]), 17);
    assert!(tag.contains("vlan                 000581\n"), "{tag}");
}

/// A frame in flannel's tunnel.
fn tunnelled(frame: &[u8]) -> Vec<u8> {
    let tunnel = [&[8, 0, 0, 0, 0, 0, 1, 0][..], frame].concat();
    ethernet(&ipv4(&udp(&tunnel, 50_000, 8472), 17, NODE_A, NODE_B))
}

#[test]
fn a_line_says_nothing_that_was_not_captured() {
    let line = |packet: &[u8], most: usize| {
        let capture = file("line", "a.pcap", &snapped(&[packet.to_vec()], most));
        decode(&[&capture]).out
    };
    let asked = tunnelled(&framed(0x0806, &arp()));
    for most in [65, 71] {
        assert!(line(&asked, most).contains("| arp  ! byte 64"), "{}", line(&asked, most));
    }
    assert!(line(&asked, 72).contains("| arp operation 2  !"), "{}", line(&asked, 72));
    // An echo carries five bytes, wherever it was cut.
    let echo = ethernet(&ipv4(&echo(b"hello"), 1, A, B));
    for most in 38..=echo.len() {
        assert!(line(&echo, most).contains(" length 5"), "{most}: {}", line(&echo, most));
    }
    // Something else may be wrong with it, too.
    let mut lies = tunnelled(&ethernet(&ipv4(&tcp(b"GET /", 40_000, 80, 2), 6, A, B)));
    lies[38..40].copy_from_slice(&9999_u16.to_be_bytes());
    for most in 84..88 {
        let told = line(&lies, most);
        assert!(told.contains(" tcp") && told.contains("udp says a length of 9999"), "{most}: {told}");
        assert!(!told.contains(" length 0"), "{most}: {told}");
    }
}

/// How many packets of a capture pass.
fn passed(args: &[&str]) -> Vec<u64> {
    records(&[&["-o", "jsonl"], args].concat()).iter().map(|record| record["n"].as_u64().unwrap()).collect()
}

#[test]
fn what_was_cut_inside_a_tunnel_passes_as_if_it_had_been_captured_inside() {
    let inside = [
        ethernet(&ipv4(&tcp(b"GET /", 40_000, 80, 2), 6, A, B)),
        ethernet(&ipv4(&echo(b"hello"), 1, A, B)),
        framed(0x86dd, &ipv6(17, &udp(b"hello", 40_000, 53))),
        framed(0x0806, &arp()),
    ];
    let headers = flannel(&[]).len() - ethernet(&[]).len();
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    for frame in &inside {
        let packet = tunnelled(frame);
        // Of the second one the length of the datagram lies.
        let mut lies = packet.clone();
        lies[38..40].copy_from_slice(&9999_u16.to_be_bytes());
        for packet in [packet, lies] {
            for most in 0..=frame.len() {
                outer.push((packet[..headers + most].to_vec(), packet.len()));
                inner.push((frame[..most].to_vec(), frame.len()));
            }
        }
    }
    let (outer, inner) = (pcap(&outer), pcap(&inner));
    let (outer, inner) = (file("inside", "outer.pcap", &outer), file("inside", "inner.pcap", &inner));
    for filter in [
        "udp",
        "not udp",
        "ip",
        "not ip6",
        "host 10.244.1.2",
        "not host 192.0.2.11",
        "src net 10.244.1.0/24 or arp",
        "ip[8] = 64",
        "port 80",
        "icmp or not tcp",
        "greater 60",
        "len < 60 and arp",
    ] {
        let told = passed(&["--inner", filter, &outer]);
        assert_eq!(told, passed(&["--filter", filter, &inner]), "{filter}");
        assert!(!told.is_empty(), "{filter}");
    }
}
