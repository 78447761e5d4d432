use super::*;

/// `1:2:3:4:5:6 > a:b:c:d:e:f`, 10.0.0.1:40000 > 10.0.0.2:80, a SYN.
fn syn() -> Vec<u8> {
    let header = [0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 1, 2, 3, 4, 5, 6, 8, 0];
    let ip = [0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let tcp = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0];
    [&header[..], &ip, &tcp].concat()
}

/// [`syn`] in VXLAN with VNI 1, from 192.0.2.11 to 192.0.2.12, to a port.
fn in_vxlan(port: u16) -> Vec<u8> {
    let header = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let ip = [0x45, 0, 0, 90, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 11, 192, 0, 2, 12];
    let [high, low] = port.to_be_bytes();
    let udp = [0x9c, 0x40, high, low, 0, 70, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0];
    [&header[..], &ip, &udp, &syn()].concat()
}

fn passes(filter: &str, frame: &[u8]) -> bool {
    let length = u32::try_from(frame.len()).unwrap();
    Filter::parse(filter).unwrap_or_else(|refusal| panic!("{filter:?}: {refusal}")).matches(1, frame, length)
}

#[track_caller]
fn refused(filter: &str, words: &str, what: &str) {
    let refusal = Filter::parse(filter).unwrap_err();
    assert_eq!(&filter[refusal.at.clone()], words, "{filter:?}: {refusal}");
    assert!(refusal.what.contains(what), "{filter:?}: {refusal}");
}

#[test]
fn an_empty_filter_lets_everything_pass() {
    assert!(passes("", &[]));
    assert!(passes(" \n", &syn()));
}

#[test]
fn values_take_over_the_words_before_the_last_one() {
    for filter in
        ["tcp dst port 22 or 80", "host 10.9.9.9 or 10.0.0.2", "port (22 or (443 or 80))", "host not 10.0.0.9"]
    {
        assert!(passes(filter, &syn()), "{filter}");
    }
    assert!(!passes("tcp src port 22 or 80", &syn()));
    assert!(!passes("port 22 or 443 and 80", &syn()));
    assert!(!passes("tcp port 80 and not 80", &syn()));
}

#[test]
fn and_binds_no_stronger_than_or() {
    assert!(!passes("tcp or arp and udp", &syn()));
    assert!(passes("tcp or (arp and udp)", &syn()));
}

#[test]
fn a_read_beyond_the_captured_bytes_ends_the_filter() {
    let frame = syn();
    assert!(passes("ether[54] = 0 or tcp", &[&frame[..], &[0]].concat()));
    assert!(!passes("ether[54] = 0 or tcp", &frame));
    assert!(!passes("not ether[54] = 0", &frame));
    assert!(passes("tcp or ether[54] = 0", &frame));
    assert!(!passes("not port 80", &frame[..36]));
    assert!(!passes("ip", &frame[..13]));
}

#[test]
fn the_length_is_that_on_the_wire() {
    let filter = Filter::parse("greater 1000").unwrap();
    assert!(filter.matches(1, &syn(), 1000));
    assert!(!filter.matches(1, &syn(), 999));
}

#[test]
fn behind_a_vlan_tag_everything_is_asked_four_bytes_further_on() {
    let mut frame = syn();
    frame.splice(12..12, [0x81, 0, 0x20, 100]);
    for filter in ["vlan", "vlan 100 and tcp port 80", "vlan and host 10.0.0.1", "vlan or ip", "ether src 1:2:3:4:5:6"]
    {
        assert!(passes(filter, &frame), "{filter}");
    }
    for filter in ["ip", "vlan 101", "vlan and vlan", "(vlan 7 and ip) or arp"] {
        assert!(!passes(filter, &frame), "{filter}");
    }
    // libpcap looks behind a tag that is not there.
    assert!(!passes("vlan or ip", &syn()));
    assert!(passes("ip or vlan", &syn()));
}

#[test]
fn behind_vxlan_the_inner_packet_is_asked() {
    let frame = in_vxlan(8472);
    for filter in [
        "vxlan",
        "vxlan 1",
        "vxlan vni 1",
        "vxlan (1)",
        "vxlan and host 10.0.0.1",
        "vxlan 1 and tcp[tcpflags] = tcp-syn",
    ] {
        assert!(passes(filter, &frame), "{filter}");
    }
    for filter in
        ["vxlan 2", "vxlan and host 192.0.2.11", "vxlan and udp", "host 10.0.0.1", "not vxlan", "vxlan and vxlan"]
    {
        assert!(!passes(filter, &frame), "{filter}");
    }
    assert!(passes("host 192.0.2.11 and vxlan and host 10.0.0.2 and ether src 1:2:3:4:5:6", &frame));
    assert!(!passes("vxlan", &in_vxlan(4790)));
    let mut without_vni = frame;
    without_vni[42] = 0;
    assert!(!passes("vxlan", &without_vni));
}

#[test]
fn packets_in_no_tunnel_are_asked_themselves() {
    let frame = syn();
    for filter in ["not vxlan and tcp", "vxlan or port 80", "vxlan or ether src 1:2:3:4:5:6 and not geneve and ip"] {
        assert!(passes(filter, &frame), "{filter}");
    }
    assert!(!passes("vxlan or udp", &frame));
    // Of two tunnels, that within the other is asked where there is only one.
    assert!(passes("vxlan and (geneve or host 10.0.0.1)", &in_vxlan(4789)));
    assert!(!passes("(geneve or vxlan) and host 192.0.2.11", &in_vxlan(4789)));
    // Linux' cooked header has the same types as Ethernet; raw packets have none that could be looked at.
    let cooked = [&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0], &frame[14..]].concat();
    let filter = Filter::parse("not vxlan and tcp port 80").unwrap();
    assert!(filter.matches(113, &cooked, 60));
    assert!(!filter.matches(101, &frame[14..], 60));
}

#[test]
fn the_ports_of_vxlan_and_the_names_of_hosts_can_be_given() {
    let addresses = |name: &str| match name {
        "web" => vec!["fd00::1".parse().unwrap(), "10.0.0.2".parse().unwrap()],
        _ => Vec::new(),
    };
    let settings = Settings { vxlan_ports: &[4790], addresses: &addresses };
    let parse = |text| Filter::parse_with(text, &settings);
    assert!(parse("vxlan").unwrap().matches(1, &in_vxlan(4790), 104));
    assert!(!parse("vxlan").unwrap().matches(1, &in_vxlan(8472), 104));
    assert!(parse("dst host web").unwrap().matches(1, &syn(), 54));
    assert!(!parse("src web").unwrap().matches(1, &syn(), 54));
    assert!(!parse("ip6 host web").unwrap().matches(1, &syn(), 54));
    assert!(parse("host wep").unwrap_err().what.starts_with("no address is known of `wep`"));
    let settings = Settings { vxlan_ports: &[], ..settings };
    assert!(!Filter::parse_with("vxlan", &settings).unwrap().matches(1, &in_vxlan(8472), 104));
}

#[test]
fn services_and_protocols_have_names() {
    let frame = syn();
    for filter in
        ["port http", "dst port www", "portrange ssh-http", "portrange 22-http", "ip proto \\tcp", "ether proto \\ip"]
    {
        assert!(passes(filter, &frame), "{filter}");
    }
    refused("port htpp", "htpp", "flowtrace knows no service `htpp`: write its port");
    refused("udp port http", "http", "offered over TCP only");
    refused("portrange http", "http", "as in `80-90`");
    refused("portrange 80 - 90", "-", "");
}

#[test]
fn what_a_link_layer_has_not_is_refused_for_it_alone() {
    let filter = Filter::parse("ether host 1:2:3:4:5:6").unwrap();
    assert_eq!(filter.refusal(1), None);
    let refusal = filter.refusal(101).unwrap();
    assert_eq!((refusal.at.clone(), &*refusal.what), (0..22, "raw IP packets have no Ethernet addresses"));
    assert!(!filter.matches(101, &syn()[14..], 40));
    let filter = Filter::parse("tcp or inbound").unwrap();
    assert_eq!(filter.refusal(113), None);
    assert!(filter.refusal(1).unwrap().what.contains("only a capture on `any` tells it"));
    // Of a link layer that is not known, what is no matter of its headers can be asked.
    assert!(Filter::parse("greater 10 and ether[0] = 10").unwrap().matches(127, &syn(), 54));
    assert!(Filter::parse("ip").unwrap().refusal(127).is_some());
}

#[test]
fn a_filter_that_no_link_layer_can_be_asked_is_none() {
    refused("mpls and arp", "arp", "behind an MPLS label only IPv4 and IPv6 can be told");
    refused("ifindex 1 and vlan", "ifindex 1", "only the second cooked header has it");
    let nested = ["vxlan"; 6].join(" and ");
    refused(&nested, "vxlan", "5 tunnels at most");
}

#[test]
fn a_refusal_points_at_the_words_and_says_what_would_do() {
    refused("10.0.0.1", "10.0.0.1", "a value needs a word before it");
    refused("tcp or 80", "80", "takes over those of the value before it, and there is none");
    refused("80", "80", "a number alone asks nothing");
    refused("tcp and", "", "has to stand here, the filter ends");
    refused("tcp prot 80", "prot", "joined by `and` or `or`");
    refused("port 80 or or 443", "or", "not `or`");
    refused("(tcp", "", "`)` has to stand here");
    refused("tcp)", ")", "no bracket is open");
    refused("net 10/8", "/", "net 10.0.0.0/8");
    refused("net 10.0.0.1/8", "10.0.0.1/8", "the network begins at 10.0.0.0");
    refused("net fd00::1/16", "fd00::1/16", "the network is fd00::/16");
    refused("net 10.0.0.0/33", "33", "at most 32 bits");
    refused("host 10.0.0.0/8", "10.0.0.0/8", "asked for by `net`");
    refused("host 10.0.0.256", "10.0.0.256", "0 to 255");
    refused("host web", "web", "names of hosts are not looked up");
    refused("net loopback", "loopback", "names of networks are not looked up");
    refused("port 65536", "65536", "65535 is the last");
    refused("port 10.0.0.1", "10.0.0.1", "`host`, `net`, `src` or `dst`");
    refused("icmp port 80", "80", "`icmp` has no ports");
    refused("tcp host 10.0.0.1", "10.0.0.1", "write `tcp and host …`");
    refused("host 1:2:3:4:5:6", "1:2:3:4:5:6", "`ether host`");
    refused("ether host 10.0.0.1", "10.0.0.1", "no Ethernet address");
    refused("ip host fd00::1", "fd00::1", "no `ip` packet has");
    refused("ip proto tcp", "tcp", "as a name it is `\\tcp`");
    refused("proto ipip", "ipip", "write its number");
    refused("proto 256", "256", "255 is the last");
    refused("ether", "ether", "the link layer alone asks nothing");
    refused("tcp[13] & 2", "", "a comparison");
    refused("tcp[13:3] = 0", "3", "1, 2 or 4 bytes");
    refused("tcp[2-1] = 0", "2-1", "");
    refused("esp[0] = 1", "esp", "read it from `ip[…]`");
    refused("ip[0] / (2 - 2) = 1", "(2 - 2)", "divided by 0");
    refused("vlan 4096", "4096", "4095 is the last");
    refused("ip6 protochain 6", "protochain", "`ip6 proto`");
    refused("gateway 10.0.0.1", "gateway", "`ether host MAC and not host ADDRESS`");
    refused("wlan type mgt", "type", "802.11");
    refused("host a_b_", "_", "is no part of the filter language");
}

#[test]
fn nothing_nests_deeper_than_the_reader_can_go() {
    for (open, inner, close) in [
        ("(", "tcp", ")"),
        ("ip[", "0", "]"),
        ("-", "1", ""),
        ("1 % ", "1", ""),
        ("(", "1", ")"),
        ("port 80 or (", "22", ")"),
    ] {
        let nested = |depth| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
        let _ = Filter::parse(&nested(90));
        let refusal = Filter::parse(&nested(20_000 / open.len())).unwrap_err();
        assert!(refusal.what.contains("deep"), "{open}: {refusal}");
    }
    assert!(passes(&format!("{}tcp", "not ".repeat(10_000)), &syn()));
    assert!(passes(&format!("arp{}", " or tcp".repeat(8_000)), &syn()));
    assert!(passes(&format!("0{} = 4000", " + 1".repeat(4_000)), &syn()));
    assert!(passes(&format!("ip[0]{} = 4069", " + 1".repeat(4_000)), &syn()));
    assert!(Filter::parse(&"tcp or ".repeat(20_000)).unwrap_err().what.contains("longer than"));
    let deep = format!("{}ip[1]{} > 0", "ip[0] - (".repeat(20), ")".repeat(20));
    assert!(Filter::parse(&deep).unwrap_err().what.contains("16 numbers"));
}

#[test]
fn a_shortened_program_gives_the_same_answers() {
    let mut frames = vec![syn(), in_vxlan(8472), in_vxlan(53)];
    for (at, bytes) in [(12, vec![0x86, 0xdd]), (12, vec![8, 6]), (23, vec![17]), (20, vec![0x20, 7]), (14, vec![0x4f])]
    {
        let mut frame = syn();
        frame.splice(at..at + bytes.len(), bytes);
        frames.push(frame);
    }
    let listed = include_str!("../../../tests/filter/filters.txt").lines();
    let (mut shorter, mut asked) = (0, 0);
    for text in listed.chain(["host 10.0.0.1 or 10.0.0.2 or port 80 or 53", "vxlan and (port 80 or not host 10.0.0.1)"])
    {
        let Ok(Some(node)) = parse::parse(text, &Settings::default()) else { continue };
        for link in Link::ALL {
            let Ok(program) = assemble::assemble(&node, link, &[8472]) else { continue };
            let short = shorten::shorten(program.clone());
            shorter += usize::from(short.instructions != program.instructions);
            for frame in &frames {
                for length in 0..=frame.len() {
                    let cut = &frame[..length];
                    assert_eq!(short.passes(cut, 90), program.passes(cut, 90), "{text:?}, {link:?}: {cut:02x?}");
                    asked += 1;
                }
            }
        }
    }
    assert!(shorter > 1_000 && asked > 1_000_000, "{shorter} are shorter, {asked} times asked");
}
