//! Building sums: constants are worked out at once, as libpcap's optimizer does, which drops what a result does not
//! depend on (`tcp[13] & 0` reads nothing, so that it can't read too far).

use super::syntax::{Need, Operator, Proto, Size, Step, Sum};

/// How many numbers a sum may hold at once: BPF has so many registers (`BPF_MEMWORDS`).
pub(super) const DEEPEST: usize = 16;

impl Sum {
    /// A number.
    pub(super) fn number(number: u32) -> Self {
        Self { steps: vec![Step::Number(number)], needs: Vec::new(), depth: 1 }
    }

    /// The packet's length on the wire.
    pub(super) fn length() -> Self {
        Self { steps: vec![Step::Length], needs: Vec::new(), depth: 1 }
    }

    /// The number that it is of whatever packet.
    pub(super) fn constant(&self) -> Option<u32> {
        match *self.steps {
            [Step::Number(number)] => Some(number),
            _ => None,
        }
    }

    /// The bytes at a place of a header: of those that begin on top of IP only IPv4 packets have one that is found.
    pub(super) fn load(proto: Proto, size: Size, place: Self) -> Self {
        let mut needs = Vec::new();
        if is_transport(proto) {
            needs.push(Need::Proto(Proto::Ip));
        }
        needs.extend(&place.needs);
        match proto {
            Proto::Link => {}
            Proto::Icmp6 => needs.extend([Need::Proto(Proto::Ip6), Need::Icmp6Next]),
            _ if is_transport(proto) => needs.extend([Need::Proto(proto), Need::FirstFragment]),
            _ => needs.push(Need::Proto(proto)),
        }
        let mut steps = place.steps;
        match *steps {
            [Step::Number(at)] => steps = vec![Step::At(proto, size, at)],
            _ => steps.push(Step::Load(proto, size)),
        }
        Self { steps, needs, depth: place.depth }
    }

    /// The same with the other sign.
    pub(super) fn negated(mut self) -> Self {
        match self.constant() {
            Some(number) => self.steps = vec![Step::Number(number.wrapping_neg())],
            None => self.steps.push(Step::Negate),
        }
        self
    }

    /// An operation on two sums. What the packet has to be is asked for the left one only: libpcap forgets the right
    /// one's (`gen_arth` in gencode.c), and filters are to mean here what they mean there.
    pub(super) fn joined(mut self, operator: Operator, right: Self) -> Self {
        match (self.constant(), right.constant()) {
            (Some(left), Some(number)) if operator.apply(left, number).is_some() => {
                self.steps = operator.apply(left, number).map(Step::Number).into_iter().collect();
            }
            (None, Some(0)) if matches!(operator, Operator::Multiply | Operator::And) => {
                self.steps = vec![Step::Number(0)];
            }
            (Some(0), None) if matches!(operator, Operator::Add | Operator::Or | Operator::Xor) => {
                self.steps = right.steps;
                self.depth = self.depth.max(right.depth);
            }
            (Some(0), None) if operator != Operator::Subtract => {}
            _ => {
                self.depth = self.depth.max(right.depth.saturating_add(1));
                self.steps.extend(right.steps);
                self.steps.push(Step::Do(operator));
            }
        }
        self
    }
}

/// Whether a protocol's header is found behind that of IPv4.
fn is_transport(proto: Proto) -> bool {
    use Proto::{Carp, Icmp, Igmp, Igrp, Pim, Sctp, Tcp, Udp, Vrrp};
    matches!(proto, Tcp | Udp | Sctp | Icmp | Igmp | Igrp | Pim | Vrrp | Carp)
}

/// Whether the header of a protocol can be read by `proto[place]`.
pub(super) fn is_readable(proto: Proto) -> bool {
    use Proto::{Arp, Atalk, Decnet, Icmp6, Ip, Ip6, Lat, Link, Mopdl, Moprc, Rarp, Sca};
    let network = matches!(proto, Ip | Ip6 | Arp | Rarp | Atalk | Decnet | Lat | Sca | Mopdl | Moprc);
    network || is_transport(proto) || matches!(proto, Link | Icmp6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_depend_on_the_packet_is_a_number() {
        let byte = || Sum::load(Proto::Tcp, Size::Byte, Sum::number(13));
        let sum = Sum::number(2).joined(Operator::Multiply, Sum::number(3)).joined(Operator::Subtract, Sum::number(7));
        assert_eq!(sum.constant(), Some(u32::MAX));
        assert_eq!(sum.negated().constant(), Some(1));
        assert_eq!(byte().joined(Operator::And, Sum::number(0)).constant(), Some(0));
        assert_eq!(Sum::number(0).joined(Operator::Or, byte()).steps, byte().steps);
        let dividing = Sum::number(1).joined(Operator::Divide, Sum::number(0));
        assert_eq!(dividing.constant(), None);
    }

    #[test]
    fn the_left_part_says_what_the_packet_has_to_be() {
        let load = |proto| Sum::load(proto, Size::Byte, Sum::number(0));
        let needs = load(Proto::Ip).joined(Operator::Add, load(Proto::Udp)).needs;
        assert_eq!(needs, [Need::Proto(Proto::Ip)]);
        let needs = Sum::load(Proto::Tcp, Size::Half, load(Proto::Ip)).needs;
        let (ip, tcp) = (Need::Proto(Proto::Ip), Need::Proto(Proto::Tcp));
        assert_eq!(needs, [ip, ip, tcp, Need::FirstFragment]);
    }
}
