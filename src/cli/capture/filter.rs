//! A filter in libpcap's words for exactly the packets of a flow, as they are at one place.

use std::net::IpAddr;

use crate::net::{Encapsulation, Packet, Protocol, Transport};

/// What the bits of an IPv4 header's sixth and seventh octet say of a later fragment.
const LATER: &str = "& 0x1fff != 0";
/// UDP's header, and VXLAN's with the frame's, stand in front of what a tunnel carries, in bytes.
const UDP: u32 = 8;
const VXLAN: u32 = 8;
const ETHERNET: u32 = 14;

/// The ports of the innermost packet that are sure to be the flow's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    /// The source port.
    pub(super) source: Option<u16>,
    /// The destination port.
    pub(super) destination: Option<u16>,
}

/// A filter for a packet and those of its flow that look like it here, later fragments among them.
pub(super) fn of(packet: &Packet, ports: Ports) -> String {
    match (&packet.inner, packet.encapsulation) {
        (Some(inner), Some(encapsulation)) => tunnelled(packet, inner, encapsulation, ports),
        _ => plain(packet, ports),
    }
}

/// A packet that stands right behind the frame's header.
fn plain(packet: &Packet, ports: Ports) -> String {
    let Protocol(number) = packet.protocol();
    let ip = if packet.ip.destination.is_ipv4() { "ip" } else { "ip6" };
    let ends = format!(
        "{ip} proto {number} and {ip} src host {} and {ip} dst host {}",
        packet.ip.source, packet.ip.destination
    );
    let mut own = Vec::new();
    if packet.protocol().has_ports() {
        own.extend(ports.source.map(|port| format!("src port {port}")));
        own.extend(ports.destination.map(|port| format!("dst port {port}")));
    }
    if let Transport::Icmp { kind, .. } = packet.transport {
        own.push(if ip == "ip" { format!("icmp[0] = {kind}") } else { format!("ip6[40] = {kind}") });
    }
    match (own.join(" and "), ip) {
        (own, _) if own.is_empty() => ends,
        // libpcap asks later fragments for no port: they have none.
        (own, "ip") => format!("{ends} and (({own}) or ip[6:2] {LATER})"),
        (own, _) => format!("{ends} and {own}"),
    }
}

/// A packet inside a UDP datagram, at whose bytes the filter looks.
fn tunnelled(outer: &Packet, inner: &Packet, encapsulation: Encapsulation, ports: Ports) -> String {
    // libpcap counts from UDP's header in IPv4 only; in IPv6 from the fixed header, which is as long as it is.
    let (ip, from) = if outer.ip.destination.is_ipv4() { ("udp", 0) } else { ("ip6", 40) };
    let at = |offset: u32, size: u32| format!("{ip}[{}:{size}]", from + offset);
    let mut tests = vec![plain(outer, Ports { source: None, destination: outer.destination_port() })];
    let is_v4 = inner.ip.destination.is_ipv4();
    let start = match encapsulation {
        Encapsulation::Vxlan(vni) => {
            let kind = if is_v4 { "0x0800" } else { "0x86dd" };
            tests.push(format!("{} >> 8 = {}", at(UDP + 4, 4), vni.0));
            tests.push(format!("{} = {kind}", at(UDP + VXLAN + ETHERNET - 2, 2)));
            UDP + VXLAN + ETHERNET
        }
        Encapsulation::Relay => {
            tests.push(format!("{} >> 4 = {}", at(UDP, 1), if is_v4 { 4 } else { 6 }));
            UDP
        }
    };
    let Protocol(number) = inner.protocol();
    let (protocol, addresses) = if is_v4 { (9, [12, 16]) } else { (6, [8, 24]) };
    tests.push(format!("{} = {number}", at(start + protocol, 1)));
    for (address, offset) in [inner.ip.source, inner.ip.destination].into_iter().zip(addresses) {
        let words = (0..).zip(words(address)).map(|(place, word)| (start + offset + 4 * place, word));
        tests.extend(words.map(|(offset, word)| format!("{} = {word:#x}", at(offset, 4))));
    }
    // Behind the header, and in IPv4 its options.
    let own = transport(inner, ports, |offset, size| {
        if is_v4 {
            format!("{ip}[{} + (({} & 0xf) << 2):{size}]", from + start + offset, at(start, 1))
        } else {
            at(start + 40 + offset, size)
        }
    });
    match (own.join(" and "), is_v4) {
        (own, _) if own.is_empty() => {}
        (own, true) => tests.push(format!("(({own}) or {} {LATER})", at(start + 6, 2))),
        (own, false) => tests.push(own),
    }
    tests.join(" and ")
}

/// What the transport's header of a packet in a tunnel has to have. `at` gives some of its bytes.
fn transport(packet: &Packet, ports: Ports, at: impl Fn(u32, u32) -> String) -> Vec<String> {
    let mut tests = Vec::new();
    if packet.protocol().has_ports() {
        tests.extend(ports.source.map(|port| format!("{} = {port}", at(0, 2))));
        tests.extend(ports.destination.map(|port| format!("{} = {port}", at(2, 2))));
    }
    if let Transport::Icmp { kind, .. } = packet.transport {
        tests.push(format!("{} = {kind}", at(0, 1)));
    }
    tests
}

/// An address in words of four bytes.
fn words(address: IpAddr) -> Vec<u32> {
    match address {
        IpAddr::V4(address) => vec![address.to_bits()],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0].into_iter().map(|by| u32::try_from(bits >> by & 0xffff_ffff).unwrap_or(0)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Ip, Vni};

    fn packet(source: &str, destination: &str, transport: Transport) -> Packet {
        let [source, destination] = [source, destination].map(|address| address.parse().unwrap());
        Packet::new(Ip { source, destination, ttl: 64, tos: 0, df: false }, transport, 60)
    }

    const UDP53: Transport = Transport::Udp { source: Some(40000), destination: Some(53) };
    const PORTS: Ports = Ports { source: None, destination: Some(53) };

    #[test]
    fn a_plain_packet_is_known_by_addresses_protocol_and_ports() {
        let one = of(&packet("10.1.0.2", "10.96.0.10", UDP53), PORTS);
        let ends = "ip proto 17 and ip src host 10.1.0.2 and ip dst host 10.96.0.10";
        assert_eq!(one, format!("{ends} and ((dst port 53) or ip[6:2] & 0x1fff != 0)"));
        let echo = Transport::Icmp { kind: 128, code: 0, id: None, quoted: None };
        let six = of(&packet("fd00::2", "fd00::3", echo), Ports::default());
        assert_eq!(six, "ip6 proto 58 and ip6 src host fd00::2 and ip6 dst host fd00::3 and ip6[40] = 128");
    }

    /// Every filter is one that libpcap takes, and lets through what it is for and nothing else.
    #[test]
    fn libpcap_takes_the_filters() {
        let dead = pcap::Capture::dead(pcap::Linktype::ETHERNET).unwrap();
        let inner = [packet("10.1.0.2", "10.2.0.3", UDP53), packet("fd00::2", "fd00::3", UDP53)];
        let outer = [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")];
        for (source, destination) in outer {
            for inner in &inner {
                for encapsulation in [Encapsulation::Vxlan(Vni(1)), Encapsulation::Relay] {
                    let transport = Transport::Udp { source: None, destination: Some(8472) };
                    let mut outer = packet(source, destination, transport);
                    outer.inner = Some(Box::new(inner.clone()));
                    outer.encapsulation = Some(encapsulation);
                    let text = of(&outer, PORTS);
                    let program = dead.compile(&text, true).unwrap_or_else(|err| panic!("{text}: {err}"));
                    let frame = frame(&outer, 53);
                    assert!(program.filter(&frame), "{text}");
                    assert!(!program.filter(&self::frame(&outer, 54)), "{text}");
                    // The ends of both addresses, and the protocol.
                    let places = if inner.ip.destination.is_ipv4() { [9, 13, 19] } else { [9, 25, 42] };
                    for place in places {
                        let mut other = frame.clone();
                        other[frame.len() - place] ^= 1;
                        assert!(!program.filter(&other), "{text}: byte {place} from the end is not looked at");
                    }
                }
            }
        }
    }

    /// An Ethernet frame that carries a packet; the innermost datagram goes to a port, and is empty.
    fn frame(packet: &Packet, port: u16) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        bytes.extend(if packet.ip.destination.is_ipv4() { [8, 0] } else { [0x86, 0xdd] });
        bytes.extend(datagram(packet, port));
        bytes
    }

    fn datagram(packet: &Packet, port: u16) -> Vec<u8> {
        let mut payload = match (&packet.inner, packet.encapsulation) {
            (Some(inner), Some(Encapsulation::Vxlan(vni))) => {
                let mut bytes = vec![8, 0, 0, 0];
                bytes.extend((vni.0 << 8).to_be_bytes());
                bytes.extend(frame(inner, port));
                bytes
            }
            (Some(inner), _) => datagram(inner, port),
            _ => Vec::new(),
        };
        let to = if packet.inner.is_some() { 8472 } else { port };
        let length = u16::try_from(payload.len() + 8).unwrap();
        let mut bytes = Vec::new();
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        if packet.ip.destination.is_ipv4() {
            bytes.extend([0x45, 0]);
            bytes.extend((length + 20).to_be_bytes());
            bytes.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        } else {
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([17, 64]);
        }
        bytes.extend(octets(packet.ip.source));
        bytes.extend(octets(packet.ip.destination));
        bytes.extend(40000_u16.to_be_bytes());
        bytes.extend(to.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.append(&mut payload);
        bytes
    }
}
