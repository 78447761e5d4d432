//! Transport headers.

use super::dissector::{Next, Walk};
use super::{Kind, Reason};

impl Walk<'_> {
    #[inline]
    pub(super) fn tcp(&mut self) -> Next {
        let Some(header) = self.rest.first_chunk::<20>() else { return self.cut_tcp() };
        let [s1, s2, d1, d2, _, _, _, _, _, _, _, _, offset, ..] = *header;
        let size = u32::from(offset >> 4) * 4;
        if size < 20 {
            self.note(12, Reason::TooSmall(Kind::Tcp, size));
            self.pass(Kind::Tcp, 20);
            return Next::Done;
        }
        if !self.pass_all(Kind::Tcp, size) {
            return Next::Done;
        }
        self.tcp_payload(u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]))
    }

    #[inline]
    pub(super) fn udp(&mut self, is_lite: bool) -> Next {
        let Some(header) = self.rest.first_chunk::<8>() else { return self.cut_transport(Kind::Udp, 8) };
        let [s1, s2, d1, d2, l1, l2, ..] = *header;
        let length = u32::from(u16::from_be_bytes([l1, l2]));
        // UDP-Lite has its checksum's coverage in this place (RFC 3828), and a jumbogram's length is 0 (RFC 2675).
        if !is_lite && length != 0 {
            let left = self.left();
            if length < 8 {
                self.note(4, Reason::TooSmall(Kind::Udp, length));
                self.pass(Kind::Udp, 8);
                return Next::Done;
            }
            if length <= left {
                self.narrow(length);
            } else if !self.is_partial {
                self.note(4, Reason::TooLarge(Kind::Udp, length, left));
            }
        }
        self.pass(Kind::Udp, 8);
        self.udp_payload(u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]))
    }

    pub(super) fn sctp(&mut self) -> Next {
        if self.rest.len() < 12 {
            return self.cut_transport(Kind::Sctp, 12);
        }
        self.pass(Kind::Sctp, 12);
        Next::Done
    }

    /// A transport header that is not all there still has its ports, where these are: an ICMP error quotes no more.
    #[cold]
    fn cut_transport(&mut self, kind: Kind, size: u32) -> Next {
        if self.rest.len() < 4 {
            return self.ends(kind, size);
        }
        self.pass_cut(kind, size)
    }

    /// The offset of the data says where TCP's header ends, where that was captured.
    #[cold]
    fn cut_tcp(&mut self) -> Next {
        let says = self.rest.get(12).map(|offset| u32::from(offset >> 4) * 4);
        self.cut_transport(Kind::Tcp, says.unwrap_or(20).max(20))
    }

    /// TCP carries nothing that tunnels; of what it carries DNS is decoded, where a message begins with a segment.
    #[inline]
    pub(super) fn tcp_payload(&mut self, source: u16, destination: u16) -> Next {
        if (source == 53 || destination == 53) && !self.is_partial {
            let rest = self.rest;
            // Each message has its length before it (RFC 1035, 4.2.2).
            if let [high, low, ..] = rest
                && u32::from(u16::from_be_bytes([*high, *low])) + 2 == self.left()
            {
                self.skip(2);
                return self.dns();
            }
        }
        Next::Done
    }
}
