//! Packets built header by header.

use std::net::IpAddr;

use super::*;

/// A packet that grows from the inside out.
#[derive(Clone, Default)]
struct Built(Vec<u8>);

impl Built {
    fn new(payload: &[u8]) -> Self {
        Self(payload.to_vec())
    }

    fn before(mut self, header: &[u8]) -> Self {
        self.0.splice(0..0, header.iter().copied());
        self
    }

    fn len(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap()
    }

    fn udp(self, source: u16, destination: u16) -> Self {
        let length = self.len() + 8;
        let words = [source, destination, length, 0];
        self.before(&words.map(u16::to_be_bytes).concat())
    }

    fn tcp(self, source: u16, destination: u16) -> Self {
        let mut header = [0; 20];
        header[..2].copy_from_slice(&source.to_be_bytes());
        header[2..4].copy_from_slice(&destination.to_be_bytes());
        header[4..14].copy_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x12]);
        self.before(&header)
    }

    fn ipv4(self, protocol: u8, source: [u8; 4], destination: [u8; 4]) -> Self {
        self.ipv4_fragment(protocol, source, destination, 0)
    }

    fn ipv4_fragment(self, protocol: u8, source: [u8; 4], destination: [u8; 4], fragment: u16) -> Self {
        let [l1, l2] = (self.len() + 20).to_be_bytes();
        let [f1, f2] = fragment.to_be_bytes();
        let first = [0x45, 0x10, l1, l2, 0x12, 0x34, f1, f2, 64, protocol, 0, 0];
        self.before(&[&first[..], &source, &destination].concat())
    }

    fn ipv6(self, next: u8) -> Self {
        let [l1, l2] = self.len().to_be_bytes();
        let mut header = [0; 40];
        header[..8].copy_from_slice(&[0x60, 0, 0, 0, l1, l2, next, 63]);
        header[8..24].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        header[24..].copy_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        self.before(&header)
    }

    fn ethernet(self, number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        self.before(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, high, low])
    }

    fn vxlan(self, vni: u8) -> Self {
        self.before(&[8, 0, 0, 0, 0, 0, vni, 0]).udp(50_000, 8472)
    }

    fn names(&self, link_type: LinkType) -> (String, Option<Flaw>) {
        let mut dissector = Dissector::new(Ports::default());
        let decoded = dissector.decode(link_type, &self.0, self.len().into());
        let names: Vec<&str> = decoded.layers.iter().map(|layer| layer.kind.name()).collect();
        (names.join(" "), decoded.flaw)
    }
}

const A: [u8; 4] = [10, 244, 1, 2];
const B: [u8; 4] = [10, 244, 2, 3];
const NODE_A: [u8; 4] = [192, 0, 2, 11];
const NODE_B: [u8; 4] = [192, 0, 2, 12];

fn flannel() -> Built {
    let inner = Built::new(b"hello").tcp(40_000, 80).ipv4(6, A, B).ethernet(0x800);
    inner.vxlan(1).ipv4(17, NODE_A, NODE_B).ethernet(0x800)
}

fn flaw(offset: u32, reason: Reason) -> Flaw {
    Flaw { offset, reason }
}

#[test]
fn both_packets_of_a_vxlan_frame_are_known() {
    let built = flannel();
    assert_eq!(built.names(LinkType::ETHERNET), ("ethernet ipv4 udp vxlan ethernet ipv4 tcp".to_owned(), None));
    let mut dissector = Dissector::new(Ports::default());
    let decoded = dissector.decode(LinkType::ETHERNET, &built.0, 0);
    let (outer, inner) = (decoded.outermost().unwrap(), decoded.innermost().unwrap());
    assert_eq!((outer.source(), outer.destination()), (Some(NODE_A.into()), Some(NODE_B.into())));
    assert_eq!(outer.ports(), Some((50_000, 8472)));
    assert_eq!(
        (inner.source(), inner.destination(), inner.ports()),
        (Some(A.into()), Some(B.into()), Some((40_000, 80)))
    );
    assert_eq!((inner.ttl(), inner.tos(), inner.identification()), (Some(64), Some(0x10), Some(0x1234)));
    assert_eq!((inner.length(), inner.payload()), (45, &b"hello"[..]));
    let tcp = inner.tcp().unwrap();
    assert_eq!((tcp.sequence, tcp.acknowledgement, tcp.flags, tcp.payload), (7, 9, 0x12, 5));
    assert_eq!(decoded.tunnel(), Some(Tunnel { name: "vxlan", vni: Some(1) }));
    assert_eq!(decoded.innermost_frame().map(|layer| (layer.kind, layer.start)), Some((Kind::Ethernet, 50)));
}

#[test]
fn every_tunnel_leads_to_its_inner_packet() {
    let inner = Built::new(b"x").udp(1, 2).ipv4(17, A, B);
    let outer = |built: Built, protocol| built.ipv4(protocol, NODE_A, NODE_B);
    let cases = [
        (outer(inner.clone(), 4), "ipv4 ipv4 udp", "ipip"),
        (outer(Built::new(b"x").udp(1, 2).ipv6(17), 41), "ipv4 ipv6 udp", "sit"),
        (inner.clone().ipv6(4), "ipv6 ipv4 udp", "ip4ip6"),
        (outer(inner.clone().before(&[0, 0, 8, 0]), 47), "ipv4 gre ipv4 udp", "gre"),
        (
            outer(inner.clone().before(&[0xb0, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9]), 47),
            "ipv4 gre ipv4 udp",
            "gre",
        ),
        (
            outer(inner.clone().ethernet(0x800).before(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), 47),
            "ipv4 gre erspan ethernet ipv4 udp",
            "erspan",
        ),
        (
            outer(inner.clone().before(&[0, 0, 0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64]), 47),
            "ipv4 gre mpls mpls ipv4 udp",
            "gre",
        ),
        (
            outer(
                inner
                    .clone()
                    .ethernet(0x800)
                    .before(&[2, 0, 0x65, 0x58, 0, 0, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8])
                    .udp(9, 6081),
                17,
            ),
            "ipv4 udp geneve ethernet ipv4 udp",
            "geneve",
        ),
        (outer(inner.clone().udp(8285, 8285), 17), "ipv4 udp flannel-udp ipv4 udp", "flannel-udp"),
        (
            outer(Built::new(b"x").udp(1, 2).ipv6(17).before(&[0, 0, 9, 9, 1, 2, 3, 4]).udp(3544, 9), 17),
            "ipv4 udp teredo ipv6 udp",
            "teredo",
        ),
        (outer(inner.clone().before(&[0, 1, 1, 64]).udp(9, 6635), 17), "ipv4 udp mpls ipv4 udp", "mpls"),
        (
            outer(inner.clone().ethernet(0x800).before(&[0, 0, 0, 0]).before(&[0, 1, 1, 64]), 137),
            "ipv4 mpls control-word ethernet ipv4 udp",
            "mpls",
        ),
    ];
    for (built, names, tunnel) in cases {
        assert_eq!(built.names(LinkType::RAW), (names.to_owned(), None));
        let mut dissector = Dissector::new(Ports::default());
        let decoded = dissector.decode(LinkType::RAW, &built.0, 0);
        assert_eq!(decoded.tunnel().map(|tunnel| tunnel.name), Some(tunnel), "{names}");
        assert_eq!(decoded.innermost().unwrap().ports(), Some((1, 2)), "{names}");
        assert_eq!(decoded.packets().count(), 2, "{names}");
    }
}

#[test]
fn every_link_type_leads_to_ip() {
    let ip = Built::new(b"x").udp(1, 2).ipv4(17, A, B);
    let sll = [0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0];
    let sll2 = [8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    let cases = [
        (LinkType::RAW, &[][..], "ipv4 udp"),
        (LinkType::IPV4, &[], "ipv4 udp"),
        (LinkType::LINUX_SLL, &sll, "linux-sll ipv4 udp"),
        (LinkType::LINUX_SLL2, &sll2, "linux-sll2 ipv4 udp"),
        (LinkType::NULL, &[2, 0, 0, 0], "loopback ipv4 udp"),
        (LinkType::NULL, &[0, 0, 0, 2], "loopback ipv4 udp"),
        (LinkType::LOOP, &[0, 0, 0, 2], "loopback ipv4 udp"),
        (LinkType::PPP, &[0xff, 3, 0, 0x21], "ppp ipv4 udp"),
        (LinkType::PPP, &[0x21], "ppp ipv4 udp"),
        (LinkType::PPP_HDLC, &[0xff, 3, 0, 0x21], "ppp ipv4 udp"),
        (LinkType::PPP_ETHER, &[0x11, 0, 0, 1, 0, 31, 0, 0x21], "pppoe ppp ipv4 udp"),
        (
            LinkType::ETHERNET,
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0],
            "ethernet vlan vlan ipv4 udp",
        ),
        (
            LinkType::ETHERNET,
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 37, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
            "ethernet llc ipv4 udp",
        ),
    ];
    for (link_type, header, names) in cases {
        assert_eq!(ip.clone().before(header).names(link_type), (names.to_owned(), None), "{link_type}");
    }
    let wireless = flaw(0, Reason::Link(LinkType::RADIOTAP));
    assert_eq!(ip.names(LinkType::RADIOTAP), (String::new(), Some(wireless)));
    assert_eq!(wireless.reason.to_string(), "802.11 frames are not supported");
}

#[test]
fn headers_of_ipv6_are_passed() {
    let options = [43, 0, 1, 4, 0, 0, 0, 0];
    let routing = [60, 0, 0, 0, 0, 0, 0, 0];
    let more = [51, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let authentication = [17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let built =
        Built::new(b"x").udp(1, 2).before(&authentication).before(&more).before(&routing).before(&options).ipv6(0);
    let names = "ipv6 hop-by-hop routing destination-options ah udp";
    assert_eq!(built.names(LinkType::IPV6), (names.to_owned(), None));
    let mut dissector = Dissector::new(Ports::default());
    let decoded = dissector.decode(LinkType::IPV6, &built.0, 0);
    let packet = decoded.innermost().unwrap();
    assert_eq!(
        (packet.ports(), packet.protocol(), packet.ttl()),
        (Some((1, 2)), Some(crate::net::Protocol::UDP), Some(63))
    );
}

#[test]
fn parts_of_a_packet_are_told_from_whole_ones() {
    let first = Built::new(&[0; 16]).before(&[0, 1, 0, 2, 0x10, 0, 0, 0]).ipv4_fragment(17, A, B, 0x2000);
    assert_eq!(first.names(LinkType::RAW), ("ipv4 udp".to_owned(), None));
    let later = Built::new(&[0; 16]).ipv4_fragment(17, A, B, 3);
    assert_eq!(later.names(LinkType::RAW), ("ipv4 fragment".to_owned(), None));
    let mut dissector = Dissector::new(Ports::default());
    let decoded = dissector.decode(LinkType::RAW, &later.0, 0);
    let packet = decoded.innermost().unwrap();
    assert_eq!((packet.ports(), packet.fragment(), packet.payload().len()), (None, Some((24, false)), 16));
    let later = Built::new(&[0; 16]).before(&[17, 0, 0, 25, 0, 0, 0, 7]).ipv6(44);
    let decoded = dissector.decode(LinkType::RAW, &later.0, 0);
    let packet = decoded.innermost().unwrap();
    assert_eq!((packet.fragment(), packet.identification()), (Some((24, true)), Some(7)));
}

#[test]
fn what_an_error_quotes_is_no_packet_that_travels() {
    let quoted = Built::new(&[]).udp(40_000, 53).ipv4(17, A, B);
    let built = quoted.clone().before(&[3, 3, 0, 0, 0, 0, 0, 0]).ipv4(1, B, A);
    assert_eq!(built.names(LinkType::RAW), ("ipv4 icmp quote ipv4 udp".to_owned(), None));
    let mut dissector = Dissector::new(Ports::default());
    let decoded = dissector.decode(LinkType::RAW, &built.0, 0);
    let packet = decoded.innermost().unwrap();
    assert_eq!((packet.source(), packet.icmp(), packet.ports()), (Some(B.into()), Some((3, 3)), None));
    assert_eq!(decoded.quoted().unwrap().ports(), Some((40_000, 53)));
    assert_eq!(decoded.tunnel(), None);
}

#[test]
fn an_error_may_end_eight_bytes_behind_the_first_of_a_transport_header() {
    let segment = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0];
    let reason = |quoted: usize, kept: usize| {
        let quoted = Built::new(&segment).ipv4(6, A, B).0[..20 + quoted].to_vec();
        let error = Built::new(&quoted).before(&[3, 3, 0, 0, 0, 0, 0, 0]).ipv4(1, B, A);
        let mut dissector = Dissector::new(Ports::default());
        let decoded = dissector.decode(LinkType::RAW, &error.0[..48 + kept], error.len().into());
        assert_eq!(decoded.quoted().unwrap().ports(), Some((40_000, 80)));
        decoded.flaw.map(|flaw| flaw.reason)
    };
    for there in 8..=20 {
        assert_eq!(reason(there, there), None, "{there}");
    }
    assert_eq!(reason(7, 7), Some(Reason::Short(Kind::Tcp)));
    // The error quotes as much, but the capture has less of it.
    assert_eq!(reason(12, 10), Some(Reason::Short(Kind::Tcp)));
    assert_eq!(reason(20, 10), Some(Reason::Cut(Kind::Tcp)));
    // What no error quotes has to have a whole header.
    let mut dissector = Dissector::new(Ports::default());
    let bare = Built::new(&segment[..8]).ipv4(6, A, B);
    let flaw = dissector.decode(LinkType::RAW, &bare.0, bare.len().into()).flaw;
    assert_eq!(flaw.map(|flaw| flaw.reason), Some(Reason::Short(Kind::Tcp)));
}

#[test]
fn a_redirect_quotes_in_an_option() {
    let quoted = Built::new(b"x").udp(1, 2).ipv6(17);
    let option = [4, u8::try_from((quoted.0.len() + 8).div_ceil(8)).unwrap(), 0, 0, 0, 0, 0, 0];
    let link = [2, 1, 0, 0, 0, 0, 0, 0];
    let header = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &[0; 32], &link, &option].concat();
    let built = quoted.before(&header).ipv6(58);
    assert_eq!(built.names(LinkType::RAW), ("ipv6 icmpv6 quote ipv6 udp".to_owned(), None));
}

#[test]
fn lengths_that_lie_are_told_where_they_stand() {
    let mut longer = Built::new(b"abc").udp(1, 2).ipv4(17, A, B);
    longer.0[3] = 200;
    assert_eq!(
        longer.names(LinkType::RAW),
        ("ipv4 udp".to_owned(), Some(flaw(2, Reason::TooLarge(Kind::Ipv4, 200, 31))))
    );
    let mut shorter = Built::new(b"abc").udp(1, 2).ipv4(17, A, B);
    shorter.0[3] = 19;
    assert_eq!(shorter.names(LinkType::RAW), (String::new(), Some(flaw(2, Reason::TooSmall(Kind::Ipv4, 19)))));
    let mut header = Built::new(b"abc").udp(1, 2).ipv4(17, A, B);
    header.0[0] = 0x44;
    assert_eq!(header.names(LinkType::RAW).1, Some(flaw(0, Reason::TooSmall(Kind::Ipv4, 16))));
    header.0[0] = 0x4f;
    assert_eq!(header.names(LinkType::RAW).1, Some(flaw(2, Reason::TooSmall(Kind::Ipv4, 31))));
    let mut datagram = Built::new(b"abc").udp(1, 2);
    datagram.0[5] = 99;
    let datagram = datagram.ipv4(17, A, B);
    assert_eq!(
        datagram.names(LinkType::RAW),
        ("ipv4 udp".to_owned(), Some(flaw(24, Reason::TooLarge(Kind::Udp, 99, 11))))
    );
    let mut segment = Built::new(b"abc").tcp(1, 2);
    segment.0[12] = 0x40;
    let segment = segment.ipv4(6, A, B);
    assert_eq!(segment.names(LinkType::RAW), ("ipv4 tcp".to_owned(), Some(flaw(32, Reason::TooSmall(Kind::Tcp, 16)))));
    let without = Built::new(b"abc").before(&[0; 8]).udp(1, 4789).ipv4(17, A, B);
    assert_eq!(without.names(LinkType::RAW), ("ipv4 udp".to_owned(), Some(flaw(28, Reason::NoVni))));
}

#[test]
fn a_packet_that_was_cut_is_decoded_as_far_as_it_was_kept() {
    let built = flannel();
    let length = built.len().into();
    let mut dissector = Dissector::new(Ports::default());
    for kept in 0..built.0.len() {
        let decoded = dissector.decode(LinkType::ETHERNET, &built.0[..kept], length);
        let is_whole = kept >= 104;
        assert_eq!(decoded.flaw.is_none(), is_whole, "{kept}: {:?}", decoded.flaw);
        if let Some(flaw) = decoded.flaw {
            assert!(matches!(flaw.reason, Reason::Cut(_)), "{kept}: {flaw:?}");
            assert!(flaw.offset as usize <= kept);
        }
    }
    let decoded = dissector.decode(LinkType::ETHERNET, &built.0[..90], length);
    assert_eq!(
        (decoded.innermost().unwrap().ports(), decoded.flaw),
        (Some((40_000, 80)), Some(flaw(84, Reason::Cut(Kind::Tcp))))
    );
}

#[test]
fn a_thousand_tunnels_are_one_packet() {
    let mut built = Built::new(b"x").udp(1, 2).ipv4(17, A, B);
    for _ in 0..1000 {
        built = built.ipv4(4, NODE_A, NODE_B);
    }
    let mut dissector = Dissector::new(Ports::default());
    let decoded = dissector.decode(LinkType::RAW, &built.0, 0);
    assert_eq!((decoded.layers.len(), decoded.flaw), (1002, None));
    assert_eq!(decoded.tunnels().count(), 1000);
    assert_eq!(decoded.innermost().unwrap().ports(), Some((1, 2)));
}

#[test]
fn a_name_is_read_through_its_pointers() {
    let mut message = vec![0, 1, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0];
    message.extend(b"\x03web\x04shop\x00\x00\x01\x00\x01\x03api\xc0\x10\x00\x1c\x00\x01");
    let mut names = Names::new(&message);
    let mut labels = Vec::new();
    assert_eq!(names.question(|label| labels.push(label)), Some(1));
    assert_eq!(labels, [b"web".as_slice(), b"shop"]);
    labels.clear();
    assert_eq!(names.question(|label| labels.push(label)), Some(28));
    assert_eq!(labels, [b"api".as_slice(), b"shop"]);
    assert_eq!(names.question(|_| panic!()), None);
    // A pointer to itself ends.
    let looping = [&message[..12], b"\xc0\x0c"].concat();
    assert_eq!(Names::new(&looping).question(|_| ()), None);
}

#[test]
fn arp_says_who_asks_whom() {
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 244, 1, 2, 0, 0, 0, 0, 0, 0, 10, 244, 2, 3];
    let built = Built::new(&arp).ethernet(0x806);
    let mut dissector = Dissector::new(Ports::default());
    let decoded = dissector.decode(LinkType::ETHERNET, &built.0, 0);
    let packet = decoded.innermost().unwrap();
    assert_eq!((packet.source(), packet.destination()), (Some(A.into()), Some(B.into())));
    assert_eq!((packet.protocol(), packet.ttl(), packet.ports()), (None, None, None));
}

#[test]
fn timestamps_are_found_among_the_options() {
    let mut built = Built::new(&[]).tcp(1, 2);
    built.0[12] = 0x80;
    built.0.extend([1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6]);
    let built = built.ipv4(6, A, B);
    let mut dissector = Dissector::new(Ports::default());
    let packet = dissector.decode(LinkType::RAW, &built.0, 0).innermost().unwrap();
    assert_eq!(packet.tcp_timestamps(), Some((5, 6)));
}

#[test]
fn a_header_that_was_cut_ends_where_it_says() {
    let mut built = Built::new(b"hello").before(&[1; 12]).tcp(1, 2);
    built.0[12] = 0x80;
    let built = built.ipv4(6, A, B);
    let length = u32::from(built.len());
    let mut dissector = Dissector::new(Ports::default());
    // All of it, not all options, and not even the window.
    for (captured, carries) in [(52, Some(5)), (45, Some(5)), (34, Some(5)), (32, None)] {
        let bytes = &built.0[..captured];
        let decoded = dissector.decode(LinkType::RAW, bytes, length);
        let wanted = (captured < 52).then(|| flaw(20, Reason::Cut(Kind::Tcp)));
        let layer = decoded.innermost().unwrap().transport().unwrap();
        assert_eq!((decoded.flaw, layer.told_to_carry(bytes)), (wanted, carries), "{captured}");
        assert_eq!(layer.header(bytes), &bytes[20..], "{captured}");
        assert_eq!(decoded.innermost().unwrap().tcp().is_some(), captured >= 36, "{captured}");
    }
}

/// splitmix64.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// A packet of any kind, with some bytes changed, and cut somewhere.
fn garbled(number: u64) -> (Vec<u8>, u32) {
    let quoted = Built::new(&[]).udp(40_000, 53).ipv4(17, A, B);
    let vlan = Built::new(b"x").udp(1, 2).ipv6(17).before(&[0, 1, 0x86, 0xdd]).ethernet(0x8100);
    let echo = Built::new(b"ping").before(&[8, 0, 0, 0, 0, 7, 0, 1]).ipv4(1, A, B).ethernet(0x800);
    let kinds = [
        flannel(),
        Built::new(b"x").udp(1, 53).ipv4(17, A, B).ethernet(0x800),
        quoted.clone().before(&[3, 3, 0, 0, 0, 0, 0, 0]).ipv4(1, B, A).ethernet(0x800),
        vlan.vxlan(3).ipv4(17, NODE_A, NODE_B).ethernet(0x800),
        Built::new(b"abc").ipv4(4, A, B).before(&[0, 0, 8, 0]).ipv4(47, A, B).ethernet(0x800),
        flannel().vxlan(2).ipv4(17, A, B).ethernet(0x800),
        Built::new(b"tcp").tcp(1, 443).ipv4(6, A, B).ethernet(0x800),
        Built::new(&[0; 12]).udp(1, 53).ipv4(17, A, B).ethernet(0x800),
        Built::new(&[0; 12]).udp(53, 1).ipv4(17, A, B).ethernet(0x800).vxlan(2).ipv4(17, A, B).ethernet(0x800),
        echo.clone(),
        echo.vxlan(1).ipv4(17, NODE_A, NODE_B).ethernet(0x800),
        quoted
            .before(&[11, 0, 0, 0, 0, 0, 0, 0])
            .ipv4(1, B, A)
            .ethernet(0x800)
            .vxlan(1)
            .ipv4(17, NODE_A, NODE_B)
            .ethernet(0x800),
    ];
    let mut bytes = kinds[usize::try_from(number % 12).unwrap()].0.clone();
    for round in 0..mixed(number) % 4 {
        let random = mixed(number * 4 + round);
        let at = usize::try_from(random >> 8).unwrap() % bytes.len();
        bytes[at] = match random & 3 {
            0 => 0,
            1 => 0xff,
            2 => bytes[at] ^ 1 << (random >> 2 & 7),
            _ => (random >> 3 & 0xff) as u8,
        };
    }
    let length = u32::try_from(bytes.len()).unwrap();
    if mixed(!number).is_multiple_of(3) {
        bytes.truncate(usize::try_from(mixed(number << 1)).unwrap() % (bytes.len() + 1));
    }
    (bytes, length)
}

#[test]
fn hurrying_changes_nothing() {
    let mut usual = std::collections::BTreeMap::new();
    let (mut fast, mut slow) = (Dissector::new(Ports::default()), Dissector::new(Ports::default()));
    for number in 0..80_000 {
        let (bytes, length) = garbled(number);
        let hurried = fast.decode(LinkType::ETHERNET, &bytes, length);
        let walked = slow.decode_slowly(LinkType::ETHERNET, &bytes, length);
        assert_eq!((hurried.layers, hurried.flaw), (walked.layers, walked.flaw), "{number}: {bytes:02x?}");
        assert_eq!((hurried.cut, hurried.ends_in), (walked.cut, walked.ends_in), "{number}: {bytes:02x?}");
        let innermost = |decoded: &Decoded<'_>| decoded.innermost().map(|packet| packet.layers().to_vec());
        assert_eq!(innermost(&hurried), innermost(&walked), "{number}: {bytes:02x?}");
        // What is usual has the same headers at the same places.
        if let Some(kind) = hurried.usual.map(Usual::number) {
            let headers: Vec<(Kind, u32)> = hurried.layers.iter().map(|layer| (layer.kind, layer.start)).collect();
            assert_eq!(usual.entry(kind).or_insert(headers.clone()), &headers);
        }
    }
    assert!(usual.len() >= 8, "{usual:?}");
}

#[test]
fn one_look_tells_the_same() {
    let (mut looked, dissector) = (std::collections::BTreeSet::new(), Dissector::new(Ports::default()));
    let mut slow = Dissector::new(Ports::default());
    for number in 0..80_000 {
        let (bytes, length) = garbled(number);
        let frame = Frame { number, time: None, interface: 0, link_type: LinkType::ETHERNET, length, bytes: &bytes };
        let decoded = slow.decode(LinkType::ETHERNET, &bytes, length);
        let Some(glance) = dissector.glance(&frame) else { continue };
        let packet = decoded.innermost().unwrap();
        if let Some((usual, _)) = glance.usual() {
            looked.insert(usual.number());
            assert_eq!((Some(usual), decoded.flaw), (decoded.usual, None), "{number}: {bytes:02x?}");
        }
        let addresses = glance.addresses().map(IpAddr::from);
        let tunnels: Vec<Option<u32>> = decoded.tunnels().map(|tunnel| tunnel.vni).collect();
        assert_eq!(addresses.map(Some), [packet.source(), packet.destination()], "{number}: {bytes:02x?}");
        let ports = glance.has_ports().then_some(glance.ports().map(u16::from_be_bytes).into());
        assert_eq!(ports, packet.ports(), "{number}: {bytes:02x?}");
        assert_eq!(Some(glance.protocol()), packet.protocol().map(|it| it.0), "{number}: {bytes:02x?}");
        let segment = packet.tcp().map(|tcp| (tcp.sequence, tcp.payload, tcp.flags.to_be_bytes()[1]));
        assert_eq!(glance.segment(), segment.unwrap_or_default(), "{number}: {bytes:02x?}");
        assert_eq!(glance.payload(), packet.payload(), "{number}: {bytes:02x?}");
        assert_eq!(
            glance.tunnel.checked_sub(1).map(Some).into_iter().collect::<Vec<_>>(),
            tunnels,
            "{number}: {bytes:02x?}"
        );
    }
    assert!(looked.len() >= 8, "{looked:?}");
}

#[test]
fn one_look_knows_every_port() {
    let dissector = Dissector::new(Ports::default());
    let mut slow = Dissector::new(Ports::default());
    for port in 0..=u16::MAX {
        for (source, destination) in [(port, 9000), (40_000, port)] {
            let built = Built::new(&[0x45; 40]).udp(source, destination).ipv4(17, A, B).ethernet(0x800);
            let length = u32::try_from(built.0.len()).unwrap();
            let frame =
                Frame { number: 1, time: None, interface: 0, link_type: LinkType::ETHERNET, length, bytes: &built.0 };
            let decoded = slow.decode(LinkType::ETHERNET, &built.0, length);
            match dissector.glance(&frame) {
                Some(glance) => {
                    let usual = glance.usual().map(|(usual, _)| usual);
                    assert_eq!((usual, None), (decoded.usual, decoded.flaw), "{port}");
                }
                None => assert!([4789, 8472, 6081, 51_820, 51_821, 8285, 6635, 3544].contains(&port), "{port}"),
            }
        }
    }
}

#[test]
fn whatever_the_bytes_are_every_layer_lies_within_the_packet() {
    let mut dissector = Dissector::new(Ports::default());
    let links =
        [LinkType::ETHERNET, LinkType::RAW, LinkType::LINUX_SLL, LinkType::LINUX_SLL2, LinkType::NULL, LinkType::PPP];
    for number in 0..60_000 {
        let (bytes, length) = garbled(number);
        let link_type = links[usize::try_from(mixed(number) >> 40).unwrap() % links.len()];
        let decoded = dissector.decode(link_type, &bytes, length);
        for layer in decoded.layers {
            assert!(layer.start as usize <= bytes.len() && layer.start <= layer.body && layer.body <= layer.end);
            // One that was cut is the last.
            assert!(layer.body as usize <= bytes.len() || Some(layer) == decoded.layers.last());
        }
        assert!(decoded.flaw.is_none_or(|flaw| flaw.offset <= length + 64));
        for packet in decoded.packets() {
            let _ = (packet.source(), packet.destination(), packet.tcp(), packet.tcp_timestamps(), packet.payload());
            let _ = (packet.fragment(), packet.identification(), packet.protocol(), packet.tunnel(), packet.echo());
        }
        let _ = (decoded.innermost_frame(), decoded.quoted());
        // One of which only the first bytes are there has some, and ends the packet.
        let is_last = |cut: &Layer| decoded.layers.iter().all(|layer| layer.start <= cut.start);
        assert!(decoded.cut.is_none_or(|cut| !cut.header(&bytes).is_empty() && cut.body <= cut.end && is_last(&cut)));
        assert!(decoded.cut.is_none() || decoded.flaw.is_some());
    }
}

#[test]
fn a_header_that_was_cut_says_what_is_there_of_it() {
    let inner = Built::new(b"hello").udp(7, 9).ipv4(17, A, B).ethernet(0x800);
    let outer = inner.before(&[8, 0, 0, 0, 0, 0, 1, 0]).udp(50_000, 8472).ipv4(17, B, A).ethernet(0x800);
    let length = u32::try_from(outer.0.len()).unwrap();
    let mut dissector = Dissector::new(Ports::default());
    let decoded = dissector.decode(LinkType::ETHERNET, &outer.0[..80], length);
    let cut = decoded.cut.unwrap();
    assert_eq!((cut.kind, cut.start, cut.body, cut.end), (Kind::Ipv4, 64, 84, length));
    let packet = decoded.cut_packet().unwrap();
    assert_eq!((packet.source(), packet.destination(), packet.ttl()), (Some(A.into()), None, Some(64)));
    // Who wants a packet with its addresses has the one around it, and its frame is the one inside.
    assert_eq!((decoded.innermost().unwrap().source(), decoded.tunnel()), (Some(B.into()), None));
    assert_eq!(decoded.innermost_frame().map(|layer| (layer.kind, layer.start)), Some((Kind::Ethernet, 50)));
    let decoded = dissector.decode(LinkType::ETHERNET, &outer.0[..64], length);
    assert_eq!((decoded.cut, decoded.flaw.unwrap().reason), (None, Reason::Cut(Kind::Ipv4)));
    // A frame inside of which little or nothing is there is the innermost one all the same.
    for most in [63, 51, 50] {
        let decoded = dissector.decode(LinkType::ETHERNET, &outer.0[..most], length);
        let frame = decoded.innermost_frame().unwrap();
        assert_eq!((frame.kind, frame.start, frame.end), (Kind::Ethernet, 50, length), "{most}");
    }
    let decoded = dissector.decode(LinkType::ETHERNET, &outer.0[..49], length);
    assert_eq!(decoded.innermost_frame().map(|layer| layer.start), Some(0));
    // Where the header says how long its packet is, a frame's padding is none of it.
    let padded = [&outer.0[64..80], &[0; 4]].concat();
    let decoded = dissector.decode(LinkType::RAW, &padded[..16], 60);
    assert_eq!(decoded.cut_packet().unwrap().length(), 33);
}
