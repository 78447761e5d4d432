//! The packet that an ICMP error quotes, from its bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ExtHeader, ExtHeaders, Ip, IpOptions, Packet, Protocol, Transport};

impl Packet {
    /// Reads what an ICMP or ICMPv6 error carries behind its header, as far as connection tracking looks at it
    /// (`nf_ct_get_tuplepr` in `net/netfilter/nf_conntrack_core.c`); `None` where it can't be read, which is invalid
    /// there.
    #[must_use]
    pub fn quoted(bytes: &[u8], v6: bool) -> Option<Self> {
        if v6 { ipv6(bytes) } else { ipv4(bytes) }
    }

    /// How many bytes an ICMP error quotes of what stands behind the IP header of the packet that it is about.
    #[must_use]
    pub fn quoted_behind_ip(&self) -> Option<u32> {
        let Transport::Icmp { quoted: Some(quoted), .. } = &self.transport else { return None };
        Some(self.length.saturating_sub(self.header_length() + 8 + quoted.header_length()))
    }
}

fn ipv4(bytes: &[u8]) -> Option<Packet> {
    let [first, tos, _, _, _, _, flags, offset, ttl, protocol, ..] = *bytes.first_chunk::<20>()?;
    let header = usize::from(first & 0x0f) * 4;
    // `ipv4_get_l4proto` takes no later fragment.
    if first >> 4 != 4 || header < 20 || u16::from_be_bytes([flags & 0x1f, offset]) != 0 {
        return None;
    }
    let addr = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?)));
    let ip = Ip { source: addr(12)?, destination: addr(16)?, ttl, tos, df: flags & 0x40 != 0 };
    let transport = transport(Protocol(protocol), bytes.get(header..)?)?;
    let mut packet = Packet::new(ip, transport, u32::from(number(bytes, 2)?));
    packet.options = IpOptions::known(bytes.get(20..header)?);
    Some(packet)
}

fn ipv6(bytes: &[u8]) -> Option<Packet> {
    let [first, second, _, _, _, _, mut next, ttl, ..] = *bytes.first_chunk::<40>()?;
    if first >> 4 != 6 {
        return None;
    }
    let addr = |at: usize| Some(IpAddr::V6(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?)));
    let ip = Ip { source: addr(8)?, destination: addr(24)?, ttl, tos: first << 4 | second >> 4, df: true };
    let (mut rest, mut extensions) = (bytes.get(40..)?, Vec::new());
    // `ipv6_skip_exthdr` in `net/ipv6/exthdrs_core.c`.
    while matches!(next, 0 | 43 | 44 | 51 | 60) {
        let length = usize::from(*rest.get(1)?);
        let length = match next {
            44 if number(rest, 2)? & 0xfff8 != 0 => return None,
            44 => 8,
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        extensions.push(ExtHeader::new(Protocol(next), rest.get(1..length)?)?);
        next = *rest.first()?;
        rest = rest.get(length..)?;
    }
    let mut packet = Packet::new(ip, transport(Protocol(next), rest)?, u32::from(number(bytes, 4)?) + 40);
    packet.extensions = ExtHeaders::new(extensions);
    Some(packet)
}

fn transport(protocol: Protocol, bytes: &[u8]) -> Option<Transport> {
    let ports = || Some((Some(number(bytes, 0)?), Some(number(bytes, 2)?)));
    Some(match protocol {
        Protocol::TCP => {
            let (source, destination) = ports()?;
            Transport::Tcp { source, destination, flags: bytes.get(13).copied().unwrap_or(0) }
        }
        Protocol::UDP => {
            let (source, destination) = ports()?;
            Transport::Udp { source, destination }
        }
        Protocol::SCTP => {
            let (source, destination) = ports()?;
            Transport::Sctp { source, destination }
        }
        Protocol::ICMP | Protocol::ICMPV6 => {
            let [kind, code, ..] = *bytes.first_chunk::<8>()?;
            Transport::Icmp { kind, code, id: number(bytes, 4), quoted: None }
        }
        other => Transport::Other(other),
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|pair| u16::from_be_bytes(*pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: [u8; 28] = [
        0x45, 0, 0, 60, 0x12, 0x34, 0, 0, 60, 17, 0x58, 0x76, 10, 2, 0, 1, 10, 2, 0, 3, 0x9c, 0x40, 0x1f, 0x90, 0, 40,
        0x2f, 0xc6,
    ];

    #[test]
    fn a_quote_gives_addresses_and_ports() {
        let packet = Packet::quoted(&UDP, false).unwrap();
        assert_eq!((packet.ip.source, packet.ip.destination), ([10, 2, 0, 1].into(), [10, 2, 0, 3].into()));
        assert_eq!((packet.source_port(), packet.destination_port()), (Some(40000), Some(8080)));
        assert_eq!((packet.length, packet.ip.ttl, packet.protocol()), (60, 60, Protocol::UDP));
    }

    #[test]
    fn a_quote_that_is_cut_or_of_another_family_gives_nothing() {
        assert_eq!(Packet::quoted(&UDP[..22], false), None);
        assert_eq!(Packet::quoted(&UDP, true), None);
        let mut later = UDP;
        later[7] = 1;
        assert_eq!(Packet::quoted(&later, false), None);
    }

    #[test]
    fn extension_headers_stand_before_the_ports() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 16, 60, 64];
        bytes.extend([0xfd; 16].iter().chain(&[0xfe; 16]));
        bytes.extend([17, 0, 1, 4, 0, 0, 0, 0, 0x9c, 0x40, 0, 53, 0, 8, 0, 0]);
        let packet = Packet::quoted(&bytes, true).unwrap();
        assert_eq!((packet.source_port(), packet.destination_port(), packet.length), (Some(40000), Some(53), 56));
    }
}
