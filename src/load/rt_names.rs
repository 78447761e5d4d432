//! The names that iproute2 and libc print in place of numbers (`etc/iproute2/rt_dsfield`, `/etc/protocols`).

use crate::net::Protocol;

/// A TOS octet: `0x10`, or a name of `rt_dsfield`.
pub(super) fn dsfield(text: &str) -> Option<u8> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u8::from_str_radix(hex, 16).ok();
    }
    match text.as_bytes() {
        b"default" => Some(0),
        b"EF" => Some(0xb8),
        [b'C', b'S', class @ b'0'..=b'7'] => Some((class - b'0') << 5),
        [b'A', b'F', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => Some((class - b'0') << 5 | (drop - b'0') << 3),
        _ => text.parse().ok(),
    }
}

/// An IP protocol: a number, `ipproto-N` (iproute2's word for one without a name), or a name of `/etc/protocols`.
pub(super) fn protocol(text: &str) -> Option<Protocol> {
    let number = text.strip_prefix("ipproto-").unwrap_or(text);
    if let Ok(number) = number.parse() {
        return Some(Protocol(number));
    }
    let number = match text {
        "ip" | "hopopt" => 0,
        "icmp" => 1,
        "igmp" => 2,
        "ipencap" => 4,
        "st" => 5,
        "tcp" => 6,
        "egp" => 8,
        "igp" => 9,
        "udp" => 17,
        "dccp" => 33,
        "ipv6" => 41,
        "ipv6-route" => 43,
        "ipv6-frag" => 44,
        "rsvp" => 46,
        "gre" => 47,
        "esp" | "ipsec-esp" => 50,
        "ah" | "ipsec-ah" => 51,
        "ipv6-icmp" | "icmpv6" => 58,
        "ipv6-nonxt" => 59,
        "ipv6-opts" => 60,
        "eigrp" => 88,
        "ospf" => 89,
        "ipip" => 94,
        "etherip" => 97,
        "encap" => 98,
        "pim" => 103,
        "ipcomp" => 108,
        "vrrp" => 112,
        "l2tp" => 115,
        "isis" => 124,
        "sctp" => 132,
        "mobility-header" => 135,
        "udplite" => 136,
        "mpls-in-ip" => 137,
        "hip" => 139,
        _ => return None,
    };
    Some(Protocol(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tos_names_have_the_values_of_rt_dsfield() {
        let values = ["0x10", "CS1", "AF11", "AF43", "EF", "16", "default"].map(dsfield);
        assert_eq!(values, [0x10, 0x20, 0x28, 0x98, 0xb8, 16, 0].map(Some));
        assert_eq!(["CS8", "AF", "AF1", "AF19", "x", "0x100", "256"].map(dsfield), [None; 7]);
    }

    #[test]
    fn protocols_come_as_names_and_numbers() {
        let found = ["tcp", "ipv6-icmp", "ipproto-222", "132"].map(|text| protocol(text).map(|protocol| protocol.0));
        assert_eq!(found, [Some(6), Some(58), Some(222), Some(132)]);
        assert_eq!(protocol("ipproto-tcp"), None);
    }
}
