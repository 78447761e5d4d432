//! ICMP and ICMPv6, and what their errors quote.

use super::Kind;
use super::dissector::{Next, Step, Walk};

impl Walk<'_> {
    pub(super) fn icmp(&mut self) -> Step {
        let [kind, ..] = *self.header::<4>(Kind::Icmp)?;
        // Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
        self.message(Kind::Icmp, matches!(kind, 3 | 4 | 5 | 11 | 12))
    }

    pub(super) fn icmpv6(&mut self) -> Step {
        let [kind, ..] = *self.header::<4>(Kind::Icmpv6)?;
        // Destination unreachable, packet too big, time exceeded, parameter problem (RFC 4443).
        self.message(Kind::Icmpv6, matches!(kind, 1..=4))
    }

    /// The header of eight bytes, and behind that of an error the packet that it is about.
    fn message(&mut self, kind: Kind, is_error: bool) -> Step {
        let size = self.rest().len().min(8);
        self.pass(kind, u32::try_from(size).unwrap_or(8));
        if !is_error || self.left() == 0 {
            return Ok(Next::Done);
        }
        self.pass(Kind::Quote, 0);
        // What is quoted was cut, and says the length that it had.
        self.is_partial = true;
        if self.rest().is_empty() { Err(self.ends(Kind::Ipv4, 1)) } else { Ok(Next::Ip) }
    }
}
