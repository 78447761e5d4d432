//! Link layers, and what stands between them and IP.

use super::dissector::{Next, Walk};
use super::{Kind, LinkType, Reason};

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const TRANSPARENT_ETHERNET: u16 = 0x6558;
const RARP: u16 = 0x8035;
const VLAN: u16 = 0x8100;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;
const QINQ: u16 = 0x88a8;
/// Tags of before IEEE 802.1ad.
const QINQ_OLD: [u16; 3] = [0x9100, 0x9200, 0x9300];
const ERSPAN_II: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;

/// Below this an Ethernet type is a length (IEEE 802.3).
const FIRST_TYPE: u16 = 0x0600;

/// Device types of Linux (`if_arp.h`) whose packets have no Ethernet type in a cooked header.
const ARPHRD_NETLINK: u16 = 824;
const ARPHRD_IPGRE: u16 = 778;
const ARPHRD_IEEE80211: [u16; 3] = [801, 802, 803];

impl Walk<'_> {
    /// The first header.
    #[inline]
    pub(super) fn link(&mut self, link_type: LinkType) -> Next {
        match link_type {
            LinkType::ETHERNET => Next::Ethernet,
            LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => Next::Ip,
            LinkType::IPV4 => Next::Ipv4,
            LinkType::IPV6 => Next::Ipv6,
            LinkType::LINUX_SLL => self.linux_sll(),
            LinkType::LINUX_SLL2 => self.linux_sll2(),
            LinkType::NULL | LinkType::LOOP => self.loopback(link_type),
            LinkType::PPP | LinkType::PPP_HDLC => Next::Ppp,
            LinkType::PPP_ETHER => self.pppoe(),
            _ => self.stop(0, Reason::Link(link_type)),
        }
    }

    #[inline]
    pub(super) fn ethernet(&mut self) -> Next {
        if self.may_hurry
            && let Some(next) = self.usual()
        {
            return next;
        }
        let Some(header) = self.header::<14>() else { return self.ends(Kind::Ethernet, 14) };
        let [.., high, low] = *header;
        let number = u16::from_be_bytes([high, low]);
        self.pass(Kind::Ethernet, 14);
        if number < FIRST_TYPE {
            return self.length_and_llc(number);
        }
        self.ether_type_next(number)
    }

    #[inline]
    pub(super) fn ether_type(&mut self, number: u16) -> Next {
        match number {
            IPV4 => Next::Ipv4,
            IPV6 => Next::Ipv6,
            ARP | RARP => self.arp(),
            VLAN | QINQ => self.vlan(),
            MPLS | MPLS_MULTICAST => Next::Mpls,
            TRANSPARENT_ETHERNET => Next::Ethernet,
            PPPOE_SESSION => self.pppoe(),
            number if QINQ_OLD.contains(&number) => self.vlan(),
            number if number < FIRST_TYPE => self.length_and_llc(number),
            // The field stands right before what it announces.
            number => self.stop(0, Reason::EtherType(number)),
        }
    }

    /// What GRE carries is told by the same numbers, and by some of its own.
    pub(super) fn gre_type(&mut self, number: u16, has_sequence: bool) -> Next {
        match number {
            // Without a sequence number there is no ERSPAN header (type I).
            ERSPAN_II if !has_sequence => Next::Ethernet,
            ERSPAN_II => self.erspan(8),
            ERSPAN_III => self.erspan_iii(),
            0x880b => Next::Ppp,
            number => self.ether_type_next(number),
        }
    }

    fn erspan(&mut self, size: u32) -> Next {
        if !self.pass_all(Kind::Erspan, size) {
            return Next::Done;
        }
        Next::Ethernet
    }

    fn erspan_iii(&mut self) -> Next {
        let Some(&[.., flags]) = self.header::<12>() else { return self.ends(Kind::Erspan, 12) };
        // The last bit says that eight bytes of the platform follow.
        self.erspan(if flags & 1 == 1 { 20 } else { 12 })
    }

    fn vlan(&mut self) -> Next {
        let Some(&[_, _, high, low]) = self.header::<4>() else { return self.ends(Kind::Vlan, 4) };
        self.pass(Kind::Vlan, 4);
        self.ether_type_next(u16::from_be_bytes([high, low]))
    }

    /// IEEE 802.3: the length, then an 802.2 header.
    fn length_and_llc(&mut self, length: u16) -> Next {
        let length = u32::from(length);
        if length <= self.left() {
            self.narrow(length);
        }
        let Some(&[dsap, ssap, control]) = self.header::<3>() else { return self.ends(Kind::Llc, 3) };
        if (dsap, ssap, control) != (0xaa, 0xaa, 3) {
            // Numbered information and supervision have two octets of control.
            let size = if control & 3 == 3 { 3 } else { 4 };
            if !self.pass_all(Kind::Llc, size) {
                return Next::Done;
            }
            return self.stop(0, Reason::Unknown(Kind::Llc));
        }
        let Some(&[.., o1, o2, o3, high, low]) = self.header::<8>() else { return self.ends(Kind::Llc, 8) };
        self.pass(Kind::Llc, 8);
        match [o1, o2, o3] {
            [0, 0, 0] => self.ether_type_next(u16::from_be_bytes([high, low])),
            _ => self.stop(0, Reason::Unknown(Kind::Llc)),
        }
    }

    fn linux_sll(&mut self) -> Next {
        let Some(header) = self.header::<16>() else { return self.ends(Kind::LinuxSll, 16) };
        let [_, _, d1, d2, .., p1, p2] = *header;
        self.pass(Kind::LinuxSll, 16);
        self.cooked(u16::from_be_bytes([d1, d2]), u16::from_be_bytes([p1, p2]))
    }

    fn linux_sll2(&mut self) -> Next {
        let Some(header) = self.header::<20>() else { return self.ends(Kind::LinuxSll2, 20) };
        let [p1, p2, _, _, _, _, _, _, d1, d2, ..] = *header;
        self.pass(Kind::LinuxSll2, 20);
        self.cooked(u16::from_be_bytes([d1, d2]), u16::from_be_bytes([p1, p2]))
    }

    /// What a cooked header's device type and protocol announce
    /// (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html>).
    fn cooked(&mut self, device: u16, protocol: u16) -> Next {
        match device {
            ARPHRD_NETLINK => self.stop(0, Reason::Device(device)),
            ARPHRD_IPGRE => self.gre_type(protocol, false),
            device if ARPHRD_IEEE80211.contains(&device) => self.stop(0, Reason::Link(LinkType::IEEE802_11)),
            _ => match protocol {
                // A frame of IEEE 802.3 without a length before its 802.2 header.
                4 => self.length_and_llc(u16::try_from(self.left()).unwrap_or(u16::MAX)),
                // Frames of 802.3 that NetWare sends, and of CAN.
                1 | 0x0c | 0x0d => self.stop(0, Reason::EtherType(protocol)),
                protocol => self.ether_type_next(protocol),
            },
        }
    }

    /// The address family, in the order of the machine that captured or of the network.
    fn loopback(&mut self, link_type: LinkType) -> Next {
        let Some(&header) = self.header::<4>() else { return self.ends(Kind::Loopback, 4) };
        let big = u32::from_be_bytes(header);
        // A family is a small number, so its bytes tell their order.
        let family = if link_type == LinkType::NULL && big > 0xffff { big.swap_bytes() } else { big };
        let next = match family {
            2 => Next::Ipv4,
            // AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, and Darwin.
            10 | 24 | 28 | 30 => Next::Ipv6,
            _ => self.stop(0, Reason::AddressFamily(family)),
        };
        self.pass(Kind::Loopback, 4);
        next
    }

    fn pppoe(&mut self) -> Next {
        let Some(&[version, _, _, _, high, low]) = self.header::<6>() else { return self.ends(Kind::Pppoe, 6) };
        if version != 0x11 {
            return self.stop(0, Reason::Version(Kind::Pppoe, version >> 4));
        }
        let length = u32::from(u16::from_be_bytes([high, low]));
        self.pass(Kind::Pppoe, 6);
        if length <= self.left() {
            self.narrow(length);
        }
        Next::Ppp
    }

    /// PPP's protocol number, of one octet or two (RFC 1661), behind HDLC's address and control where they are there.
    pub(super) fn ppp(&mut self) -> Next {
        let Some(&first) = self.header::<2>() else { return self.ends(Kind::Ppp, 2) };
        let hdlc = if matches!(first, [0xff | 0x0f, 0 | 3]) { 2 } else { 0 };
        let rest = self.rest.get(hdlc as usize..).unwrap_or_default();
        let (number, size) = match *rest {
            [odd, ..] if odd & 1 == 1 => (u16::from(odd), 1),
            [high, low, ..] => (u16::from_be_bytes([high, low]), 2),
            _ => return self.ends(Kind::Ppp, 4),
        };
        let next = match number {
            0x21 => Next::Ipv4,
            0x57 => Next::Ipv6,
            0x281 | 0x283 => Next::Mpls,
            // Cisco HDLC has Ethernet types.
            0x0800 | 0x86dd if hdlc == 2 => self.ether_type_next(number),
            _ => self.stop(hdlc, Reason::PppProtocol(number)),
        };
        self.pass(Kind::Ppp, hdlc + size);
        next
    }

    /// The stack of labels, one entry a step.
    pub(super) fn mpls(&mut self) -> Next {
        let Some(&[_, _, bottom, _]) = self.header::<4>() else { return self.ends(Kind::Mpls, 4) };
        self.pass(Kind::Mpls, 4);
        if bottom & 1 == 0 {
            return Next::Mpls;
        }
        // Nothing says what follows the last label; its first half octet tells (RFC 4928).
        match self.rest.first().map(|octet| octet >> 4) {
            Some(4) => Next::Ipv4,
            Some(6) => Next::Ipv6,
            Some(0) => {
                if !self.pass_all(Kind::ControlWord, 4) {
                    return Next::Done;
                }
                Next::Ethernet
            }
            Some(_) => Next::Ethernet,
            None => self.ends(Kind::Mpls, 1),
        }
    }

    fn arp(&mut self) -> Next {
        let Some(&[_, _, _, _, hardware, protocol, _, _]) = self.header::<8>() else { return self.ends(Kind::Arp, 8) };
        let addresses = 2 * (u32::from(hardware) + u32::from(protocol));
        if !self.pass_all(Kind::Arp, 8 + addresses) {
            return Next::Done;
        }
        Next::Done
    }
}
