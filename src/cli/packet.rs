//! The packet that a question is about.

use std::net::IpAddr;

use crate::error::Error;
use crate::net::{ExtHeaders, Ip, IpOptions, Mark, Packet, Protocol, Transport};

use super::args::{PacketOptions, Proto, State};
use super::headers;

/// What names give to the packet: its addresses, and what a service or a port in TO says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends<'p> {
    /// The source address, unspecified where the route chooses it.
    pub(super) source: IpAddr,
    /// The destination address.
    pub(super) destination: IpAddr,
    /// The destination port that TO names.
    pub(super) port: Option<u16>,
    /// The protocol of the service that TO names.
    pub(super) protocol: Option<Protocol>,
    /// What the packet carries, where the question says so.
    pub(super) payload: Option<&'p [u8]>,
}

/// The source port where none is given.
const SOURCE_PORT: u16 = 40000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Builds the packet as it is first sent.
pub(super) fn packet(ends: Ends<'_>, options: &PacketOptions, state: State) -> Result<Packet, Error> {
    let default_flags = match state {
        State::New => SYN,
        State::Established => ACK,
    };
    let flags = options.tcp_flags.unwrap_or(default_flags);
    let protocol = protocol(ends, options);
    let port = port(ends, options, protocol)?;
    refuse_foreign(protocol, options)?;
    let transport = transport(protocol, port, flags, options, ends.destination.is_ipv6());
    let (ip_options, extensions) = headers(options, ends.destination.is_ipv6())?;
    let length = length(protocol, options, ends, ip_options.length() + extensions.length())?;
    let ip = Ip {
        source: ends.source,
        destination: ends.destination,
        ttl: options.ttl.unwrap_or(64),
        tos: options.tos.unwrap_or(0),
        df: options.df || ends.destination.is_ipv6(),
    };
    let mut packet = Packet::new(ip, transport, length);
    (packet.options, packet.extensions) = (ip_options, extensions);
    packet.mark = Mark(options.mark.unwrap_or(0));
    packet.tags.clone_from(&options.vlan);
    quote(&mut packet, ends.payload);
    Ok(packet)
}

/// What stands between the IP header and the transport's, of the packet's family.
fn headers(options: &PacketOptions, v6: bool) -> Result<(IpOptions, ExtHeaders), Error> {
    let ip_options = options.ip_options.as_deref().map(headers::ip_options).transpose()?;
    let extensions = options.ext_headers.as_deref().map(headers::ext_headers).transpose()?;
    match (&ip_options, &extensions) {
        (Some(_), _) if v6 => Err(usage("--ip-options is for IPv4, and this packet is of IPv6 (see --ext-headers)")),
        (_, Some(_)) if !v6 => Err(usage("--ext-headers is for IPv6, and this packet is of IPv4 (see --ip-options)")),
        _ => Ok((ip_options.unwrap_or_default(), extensions.unwrap_or_default())),
    }
}

/// An ICMP error quotes the packet that its payload begins with.
fn quote(packet: &mut Packet, payload: Option<&[u8]>) {
    let v6 = packet.ip.destination.is_ipv6();
    let about = payload.filter(|_| packet.is_icmp_error()).and_then(|payload| Packet::quoted(payload, v6));
    if let Transport::Icmp { quoted, .. } = &mut packet.transport {
        *quoted = about.map(Box::new);
    }
}

fn protocol(ends: Ends<'_>, options: &PacketOptions) -> Proto {
    let of_service = match ends.protocol {
        Some(Protocol::UDP) => Some(Proto::Udp),
        Some(Protocol::SCTP) => Some(Proto::Sctp),
        Some(Protocol::TCP) => Some(Proto::Tcp),
        _ => None,
    };
    let of_port = ends.port.or(options.port).map(|_| Proto::Tcp);
    options.proto.or(of_service).or(of_port).unwrap_or(Proto::Icmp)
}

fn port(ends: Ends<'_>, options: &PacketOptions, protocol: Proto) -> Result<Option<u16>, Error> {
    match (protocol, options.port, ends.port) {
        (Proto::Icmp, Some(_), _) => Err(usage("--port has no meaning for icmp")),
        (_, Some(port), Some(other)) if port != other => {
            Err(usage(format!("TO names port {other} and --port says {port}")))
        }
        (_, port, other) => match port.or(other) {
            None if protocol != Proto::Icmp => Err(usage("give the destination port: TO:PORT or --port N")),
            port => Ok(port),
        },
    }
}

/// Options of one protocol have no meaning in another.
fn refuse_foreign(protocol: Proto, options: &PacketOptions) -> Result<(), Error> {
    let icmp = protocol == Proto::Icmp;
    if !icmp && (options.icmp_type.is_some() || options.icmp_code.is_some()) {
        return Err(usage("--icmp-type and --icmp-code want --proto icmp"));
    }
    if protocol != Proto::Tcp && options.tcp_flags.is_some() {
        return Err(usage("--tcp-flags wants --proto tcp"));
    }
    if icmp && options.sport.is_some() {
        return Err(usage("--sport has no meaning for icmp"));
    }
    Ok(())
}

fn transport(protocol: Proto, destination: Option<u16>, flags: u8, options: &PacketOptions, v6: bool) -> Transport {
    let source = Some(options.sport.unwrap_or(SOURCE_PORT));
    match protocol {
        Proto::Tcp => Transport::Tcp { source, destination, flags },
        Proto::Udp => Transport::Udp { source, destination },
        Proto::Sctp => Transport::Sctp { source, destination },
        Proto::Icmp => {
            let echo = if v6 { 128 } else { 8 };
            let kind = options.icmp_type.unwrap_or(echo);
            // An echo's identifier is its sender's to choose.
            Transport::Icmp { kind, code: options.icmp_code.unwrap_or(0), id: None, quoted: None }
        }
    }
}

/// The whole packet's length, with so many bytes of options or extension headers.
fn length(protocol: Proto, options: &PacketOptions, ends: Ends, between: u32) -> Result<u32, Error> {
    let v6 = ends.destination.is_ipv6();
    let (default, header) = match protocol {
        Proto::Icmp => (84, 8),
        Proto::Tcp => (60, 20),
        Proto::Udp => (60, 8),
        Proto::Sctp => (60, 12),
    };
    let carried = ends.payload.map(|payload| u32::try_from(payload.len()).unwrap_or(u32::MAX));
    let least = header + between + if v6 { 40 } else { 20 } + carried.unwrap_or(0);
    // What fits into the header's 16-bit length.
    let most = 65535 + if v6 { 40 } else { 0 };
    // A TCP header may have options.
    let options_end = if protocol == Proto::Tcp { least + 40 } else { least };
    match (options.size, carried) {
        (None, Some(_)) if least > most => Err(usage("--payload: it doesn't fit into a packet")),
        (None, None) => Ok(default + between),
        (None, Some(_)) => Ok(least),
        (Some(size), Some(_)) if !(least..=options_end).contains(&size) || !(size - least).is_multiple_of(4) => {
            Err(usage(format!("--size {size}: with this payload the packet has {least} bytes")))
        }
        (Some(size), _) if (least..=most).contains(&size) => Ok(size),
        (Some(size), _) => Err(usage(format!("--size {size}: such a packet has {least} to {most} bytes"))),
    }
}

fn usage(text: impl Into<String>) -> Error {
    Error::Usage(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: Option<u16>, protocol: Option<Protocol>) -> Ends<'static> {
        Ends { source: [10, 0, 0, 1].into(), destination: [10, 0, 0, 2].into(), port, protocol, payload: None }
    }

    #[test]
    fn the_protocol_comes_from_the_option_then_the_service_then_the_port() {
        let proto = |ends, proto| {
            packet(ends, &PacketOptions { proto, ..PacketOptions::default() }, State::New)
                .map(|packet| packet.protocol())
        };
        assert_eq!(proto(ends(None, None), None).unwrap(), Protocol::ICMP);
        assert_eq!(proto(ends(Some(80), None), None).unwrap(), Protocol::TCP);
        assert_eq!(proto(ends(Some(53), Some(Protocol::UDP)), None).unwrap(), Protocol::UDP);
        assert_eq!(proto(ends(Some(53), Some(Protocol::UDP)), Some(Proto::Tcp)).unwrap(), Protocol::TCP);
        assert!(proto(ends(None, None), Some(Proto::Udp)).is_err());
    }

    #[test]
    fn an_echo_has_84_bytes_and_the_rest_60() {
        let icmp = packet(ends(None, None), &PacketOptions::default(), State::New).unwrap();
        assert_eq!((icmp.length, icmp.ip.ttl, icmp.ip.df), (84, 64, false));
        assert_eq!(icmp.transport, Transport::Icmp { kind: 8, code: 0, id: None, quoted: None });
        let tcp = packet(ends(Some(80), None), &PacketOptions::default(), State::New).unwrap();
        assert_eq!((tcp.length, tcp.source_port()), (60, Some(40000)));
        assert_eq!(tcp.transport, Transport::Tcp { source: Some(40000), destination: Some(80), flags: SYN });
        let later = packet(ends(Some(80), None), &PacketOptions::default(), State::Established).unwrap();
        assert!(matches!(later.transport, Transport::Tcp { flags: ACK, .. }));
    }

    #[test]
    fn an_ipv6_echo_is_type_128_and_never_fragmented() {
        let v6 =
            Ends { source: "fd00::1".parse().unwrap(), destination: "fd00::2".parse().unwrap(), ..ends(None, None) };
        let echo = packet(v6, &PacketOptions::default(), State::New).unwrap();
        assert!(echo.ip.df && echo.protocol() == Protocol::ICMPV6);
        assert!(matches!(echo.transport, Transport::Icmp { kind: 128, .. }));
    }

    #[test]
    fn a_payload_makes_the_length() {
        let length = |size, carried| {
            let options = PacketOptions { size, ..PacketOptions::default() };
            packet(Ends { payload: Some(&vec![0; carried]), ..ends(Some(80), None) }, &options, State::New)
                .map(|packet| packet.length)
        };
        assert_eq!(length(None, 3).unwrap(), 43);
        // Options of TCP stand between the header and what it carries.
        assert_eq!(length(Some(55), 3).unwrap(), 55);
        assert!(length(Some(54), 3).is_err() && length(Some(42), 3).is_err() && length(Some(87), 3).is_err());
        assert!(length(None, 65_535).is_err());
    }

    #[test]
    fn the_payload_of_an_icmp_error_is_what_it_quotes() {
        let quote =
            [0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 3, 0x9c, 0x40, 0, 53, 0, 40, 0, 0];
        let quoted = |kind| {
            let options = PacketOptions { icmp_type: Some(kind), ..PacketOptions::default() };
            let packet = packet(Ends { payload: Some(&quote), ..ends(None, None) }, &options, State::New).unwrap();
            match packet.transport {
                Transport::Icmp { quoted, .. } => quoted.and_then(|quoted| quoted.destination_port()),
                _ => None,
            }
        };
        assert_eq!(quoted(3), Some(53));
        assert_eq!(quoted(8), None);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let refused = |options: PacketOptions, port| packet(ends(port, None), &options, State::New).is_err();
        let none = PacketOptions::default;
        assert!(refused(PacketOptions { tcp_flags: Some(2), ..none() }, None));
        assert!(refused(PacketOptions { icmp_type: Some(3), ..none() }, Some(80)));
        assert!(refused(PacketOptions { size: Some(27), ..none() }, None));
        assert!(refused(PacketOptions { size: Some(70000), ..none() }, None));
        assert!(refused(PacketOptions { port: Some(80), ..none() }, Some(81)));
        assert!(refused(PacketOptions { proto: Some(Proto::Icmp), port: Some(80), ..none() }, None));
    }
}
