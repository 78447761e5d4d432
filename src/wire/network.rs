//! IP, and the headers between it and the transport.

use super::dissector::{Next, Walk};
use super::{Kind, Reason};

const HOP_BY_HOP: u8 = 0;
const ICMP: u8 = 1;
const IGMP: u8 = 2;
const IPV4: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const NOTHING: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;
const SCTP: u8 = 132;
const MOBILITY: u8 = 135;
const UDP_LITE: u8 = 136;
const MPLS: u8 = 137;

impl Walk<'_> {
    /// IP of the version that its first octet says.
    pub(super) fn ip(&mut self) -> Next {
        let Some(&[first]) = self.header::<1>() else { return self.ends(Kind::Ipv4, 1) };
        match first >> 4 {
            4 => self.ipv4(),
            6 => self.ipv6(),
            version => self.stop(0, Reason::Version(Kind::Ipv4, version)),
        }
    }

    #[inline]
    pub(super) fn ipv4(&mut self) -> Next {
        let Some(header) = self.header::<20>() else { return self.cut_ipv4() };
        let [first, _, l1, l2, _, _, f1, f2, _, protocol, ..] = *header;
        if first >> 4 != 4 {
            return self.stop(0, Reason::Version(Kind::Ipv4, first >> 4));
        }
        let size = u32::from(first & 15) * 4;
        if size < 20 {
            return self.stop(0, Reason::TooSmall(Kind::Ipv4, size));
        }
        if !self.total(2, u16::from_be_bytes([l1, l2]).into(), Kind::Ipv4, size) {
            return Next::Done;
        }
        if !self.pass_all(Kind::Ipv4, size) {
            return Next::Done;
        }
        let fragment = u16::from_be_bytes([f1, f2]);
        // Neither an offset nor more to come; the two upper bits say other things.
        if fragment.trailing_zeros() >= 14 {
            return self.protocol(protocol);
        }
        self.fragment(fragment & 0x1fff, protocol)
    }

    /// What is there of a header says where its packet ends, if its length is there.
    #[cold]
    fn cut_ipv4(&mut self) -> Next {
        let Some(first) = self.rest.first() else { return self.ends(Kind::Ipv4, 20) };
        if first >> 4 != 4 {
            return self.stop(0, Reason::Version(Kind::Ipv4, first >> 4));
        }
        let size = u32::from(first & 15) * 4;
        if size < 20 {
            return self.stop(0, Reason::TooSmall(Kind::Ipv4, size));
        }
        self.narrow_cut(2, 0, size);
        self.ends(Kind::Ipv4, size)
    }

    #[cold]
    fn cut_ipv6(&mut self) -> Next {
        match self.rest.first().map(|first| first >> 4) {
            None | Some(6) => {
                self.narrow_cut(4, 40, 40);
                self.ends(Kind::Ipv6, 40)
            }
            Some(version) => self.stop(0, Reason::Version(Kind::Ipv6, version)),
        }
    }

    /// As [`Self::total`], for a header of `size` bytes that was cut, whose length field stands `behind` its first byte and
    /// counts `besides` fewer: what can't be is not believed.
    fn narrow_cut(&mut self, behind: usize, besides: u32, size: u32) {
        let says = super::u16_at(self.rest, behind).map_or(0, |says| u32::from(says) + besides);
        if says > size && says <= self.left() {
            self.narrow(says);
        }
    }

    /// The packet's length as its header says it; the header has `size` bytes, and the field stands `behind` its first.
    /// False where it can't be, and the walk ends.
    #[inline]
    fn total(&mut self, behind: u32, total: u32, kind: Kind, size: u32) -> bool {
        // A device that splits packets, or a packet beyond 64 KiB, has no length yet (`iph_set_totlen` of the kernel).
        if total == 0 {
            return true;
        }
        if total < size {
            self.stop(behind, Reason::TooSmall(kind, total));
            return false;
        }
        let left = self.left();
        if total > left {
            if !self.is_partial {
                self.note(behind, Reason::TooLarge(kind, total, left));
            }
            return true;
        }
        self.narrow(total);
        true
    }

    /// A part of a packet: the first one still has the transport's header.
    fn fragment(&mut self, offset: u16, protocol: u8) -> Next {
        if offset == 0 {
            self.is_partial = true;
            return self.protocol_next(protocol);
        }
        self.pass(Kind::Fragment, 0);
        Next::Done
    }

    #[inline]
    pub(super) fn ipv6(&mut self) -> Next {
        let Some(header) = self.header::<40>() else { return self.cut_ipv6() };
        let [first, _, _, _, l1, l2, protocol, ..] = *header;
        if first >> 4 != 6 {
            return self.stop(0, Reason::Version(Kind::Ipv6, first >> 4));
        }
        let payload = u16::from_be_bytes([l1, l2]);
        // Zero: a jumbogram, or nothing behind the header. Which one, the next header tells.
        let says = payload != 0 || protocol == NOTHING;
        if says && !self.total(4, u32::from(payload) + 40, Kind::Ipv6, 40) {
            return Next::Done;
        }
        self.pass(Kind::Ipv6, 40);
        self.protocol_next(protocol)
    }

    #[inline]
    pub(super) fn protocol(&mut self, number: u8) -> Next {
        match number {
            TCP => self.tcp(),
            UDP | UDP_LITE => self.udp(number == UDP_LITE),
            ICMP => self.icmp(),
            ICMPV6 => self.icmpv6(),
            SCTP => self.sctp(),
            IPV4 => Next::Ipv4,
            IPV6 => Next::Ipv6,
            GRE => self.gre(),
            MPLS => Next::Mpls,
            IGMP => self.eight_bytes(Kind::Igmp),
            ESP => self.eight_bytes(Kind::Esp),
            NOTHING => Next::Done,
            _ => self.extension(number),
        }
    }

    /// A header behind which nothing is decoded.
    fn eight_bytes(&mut self, kind: Kind) -> Next {
        if self.header::<8>().is_none() {
            return self.ends(kind, 8);
        }
        self.pass(kind, 8);
        Next::Done
    }

    /// Headers of IPv6 (RFC 8200, 4302, 6275) that name the next one.
    fn extension(&mut self, number: u8) -> Next {
        let (kind, unit, least) = match number {
            HOP_BY_HOP => (Kind::HopByHop, 8, 8),
            ROUTING => (Kind::Routing, 8, 8),
            DESTINATION_OPTIONS => (Kind::DestinationOptions, 8, 8),
            MOBILITY => (Kind::Mobility, 8, 8),
            AUTHENTICATION => (Kind::Authentication, 4, 8),
            FRAGMENT => return self.fragment_header(),
            // The field that announces it stands in the header before; this is what can't be decoded.
            _ => return self.stop(0, Reason::Protocol(number)),
        };
        let Some(&[next, length]) = self.header::<2>() else { return self.ends(kind, 2) };
        if !self.pass_all(kind, u32::from(length) * unit + least) {
            return Next::Done;
        }
        match kind {
            Kind::Mobility => Next::Done,
            _ => self.protocol_next(next),
        }
    }

    fn fragment_header(&mut self) -> Next {
        let Some(&[next, _, high, low, ..]) = self.header::<8>() else { return self.ends(Kind::FragmentHeader, 8) };
        self.pass(Kind::FragmentHeader, 8);
        let field = u16::from_be_bytes([high, low]);
        // Neither an offset nor more to come: an atomic fragment (RFC 6946).
        if field & 0xfff9 == 0 {
            return self.protocol_next(next);
        }
        self.fragment(field >> 3, next)
    }
}
