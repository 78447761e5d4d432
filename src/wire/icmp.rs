//! ICMP and ICMPv6, and what their errors quote.

use super::Kind;
use super::dissector::{Next, Walk};

/// ICMPv6's redirect, which quotes in an option (RFC 4861).
const REDIRECT: u8 = 137;
const REDIRECTED_HEADER: u8 = 4;

/// Whether a message of ICMP quotes a packet: destination unreachable, source quench, redirect, time exceeded, parameter
/// problem (RFC 792).
#[inline]
pub(super) fn is_error(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

impl Walk<'_> {
    pub(super) fn icmp(&mut self) -> Next {
        let Some(&[kind, ..]) = self.header::<4>() else { return self.ends(Kind::Icmp, 4) };
        self.message(Kind::Icmp, is_error(kind))
    }

    pub(super) fn icmpv6(&mut self) -> Next {
        let Some(&[kind, ..]) = self.header::<4>() else { return self.ends(Kind::Icmpv6, 4) };
        if kind == REDIRECT {
            return self.redirect();
        }
        // Destination unreachable, packet too big, time exceeded, parameter problem (RFC 4443).
        self.message(Kind::Icmpv6, matches!(kind, 1..=4))
    }

    /// The header of eight bytes, and behind that of an error the packet that it is about.
    fn message(&mut self, kind: Kind, is_error: bool) -> Next {
        if self.rest.len() < 8 && self.left() >= 8 {
            return self.pass_cut(kind, 8);
        }
        // A message that is sent with fewer bytes may be all there.
        self.pass(kind, self.left().min(8));
        if !is_error || self.left() == 0 {
            return Next::Done;
        }
        self.quote(if kind == Kind::Icmp { Kind::Ipv4 } else { Kind::Ipv6 })
    }

    /// Behind the target and the destination stand options, their lengths in eights of octets.
    fn redirect(&mut self) -> Next {
        self.message(Kind::Icmpv6, false);
        let mut at = 32;
        while let Some([kind, eights, ..]) = self.rest.get(at as usize..) {
            match (*kind, u32::from(*eights) * 8) {
                (_, 0) => break,
                (REDIRECTED_HEADER, _) if self.rest.len() < at as usize + 8 => {
                    self.note_end(Kind::Icmpv6, at + 8);
                    return Next::Done;
                }
                (REDIRECTED_HEADER, _) => {
                    self.skip(at + 8);
                    return self.quote(Kind::Ipv6);
                }
                (_, size) => at += size,
            }
        }
        Next::Done
    }

    /// What is quoted begins with a header of this kind.
    fn quote(&mut self, network: Kind) -> Next {
        self.pass(Kind::Quote, 0);
        // What is quoted was cut, and says the length that it had.
        self.is_partial = true;
        if self.rest.is_empty() { self.ends(network, 1) } else { Next::Ip }
    }
}
