//! The options that say what the packet looks like.

use std::net::IpAddr;

use clap::{Args, ValueEnum};

use crate::net::{MacAddr, VlanTag, calendar};

const IP_OPTIONS: &str = "\
Options in the IPv4 header: nop, end, ra (router alert), rr[:PLACES] (record route), ts[:PLACES] and tsaddr[:PLACES] \
(timestamps), lsrr:IP/IP and ssrr:IP/IP (source routes), joined by commas, or bytes in hexadecimal; as on the wire, \
where TO is the present destination";
const EXT_HEADERS: &str = "\
Extension headers of IPv6, in their order: hop[:ra|:HEX], dst[:HEX] (options in hexadecimal), \
route[:TYPE/LEFT[/IP...]], frag[:ID] (a fragment header that splits nothing), ah[:SPI]";

/// What the packet looks like.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Packet")]
#[group(skip)]
pub(in crate::cli) struct PacketOptions {
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    pub(in crate::cli) ipv4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    pub(in crate::cli) ipv6: bool,
    /// The protocol [default: the service's; tcp where TO has a port; else an ICMP echo]
    #[arg(long, value_enum, ignore_case = true)]
    pub(in crate::cli) proto: Option<Proto>,
    /// The destination port, as in TO:PORT
    #[arg(long, value_name = "N")]
    pub(in crate::cli) port: Option<u16>,
    /// The source port [default: 40000]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) sport: Option<u16>,
    /// The address that the sender's socket is bound to
    #[arg(long, value_name = "IP")]
    pub(in crate::cli) source: Option<IpAddr>,
    /// The IP packet's total length [default: 84 for ICMP, 60 for the others, and the headers of --ip-options or
    /// --ext-headers]
    #[arg(long, value_name = "BYTES")]
    pub(in crate::cli) size: Option<u32>,
    /// Set "don't fragment" (always so in IPv6)
    #[arg(long)]
    pub(in crate::cli) df: bool,
    /// Time to live, or hop limit [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(in crate::cli) ttl: Option<u8>,
    /// The TOS octet, or the traffic class
    #[arg(long, value_name = "N", value_parser = number::<u8>)]
    pub(in crate::cli) tos: Option<u8>,
    /// The ICMP type [default: an echo request]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) icmp_type: Option<u8>,
    /// The ICMP code [default: 0]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) icmp_code: Option<u8>,
    /// The TCP flags, joined by commas [default: SYN]
    #[arg(long, value_name = "FLAGS", value_parser = tcp_flags)]
    pub(in crate::cli) tcp_flags: Option<u8>,
    /// The firewall mark that the sender's socket sets
    #[arg(long, value_name = "N", value_parser = number::<u32>)]
    pub(in crate::cli) mark: Option<u32>,
    /// What the packet carries behind its transport header, for rules that look into it
    #[arg(long, value_name = "HEX|@FILE")]
    pub(in crate::cli) payload: Option<String>,
    #[arg(long, value_name = "OPTION[,...]|HEX", help = IP_OPTIONS)]
    pub(in crate::cli) ip_options: Option<String>,
    #[arg(long, value_name = "HEADER[,...]", help = EXT_HEADERS)]
    pub(in crate::cli) ext_headers: Option<String>,
    /// When the packet is sent, for rules that ask for the time: 2026-11-23T07:15:59Z
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    pub(in crate::cli) time: Option<i64>,
    /// The user that the sender runs as, for rules that ask for the owner
    #[arg(long, value_name = "N", value_parser = number::<u32>)]
    pub(in crate::cli) uid: Option<u32>,
    /// The sender's group
    #[arg(long, value_name = "N", value_parser = number::<u32>)]
    pub(in crate::cli) gid: Option<u32>,
    /// The source address of the frame that comes in from outside or by --at, for rules that ask for it [default: that of
    /// the neighbour entry for FROM on the device]
    #[arg(long, value_name = "ADDR", value_parser = link_address)]
    pub(in crate::cli) mac: Option<MacAddr>,
    /// The VLAN tags of the frame that comes in by --at, the outermost first, each with its priority unless that is 0
    #[arg(long, value_name = "ID[/PRIORITY][,...]", value_parser = vlan_tag, value_delimiter = ',')]
    pub(in crate::cli) vlan: Vec<VlanTag>,
}

/// `--proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Proto {
    Icmp,
    Tcp,
    Udp,
    Sctp,
}

/// A number, decimal or with `0x`.
fn number<T: TryFrom<u32>>(text: &str) -> Result<T, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    let number = number.map_err(|_| "a number is wanted, such as 16384 or 0x4000".to_owned())?;
    T::try_from(number).map_err(|_| "the number is too large".to_owned())
}

/// `10`, or `10/3`.
fn vlan_tag(text: &str) -> Result<VlanTag, String> {
    let (id, priority) = text.split_once('/').unwrap_or((text, "0"));
    match (number::<u16>(id), number::<u8>(priority)) {
        (Ok(id @ 0..=4094), Ok(priority @ 0..=7)) => Ok(VlanTag { priority: Some(priority), ..VlanTag::new(id) }),
        _ => Err("a VLAN is wanted, such as 10, or 10/3 with a priority".to_owned()),
    }
}

/// A moment as RFC 3339 writes it.
fn time(text: &str) -> Result<i64, String> {
    calendar::moment(text).ok_or_else(|| "a date and a time are wanted, such as 2026-11-23T07:15:59Z".to_owned())
}

/// Six octets, as iproute2 prints them. No frame comes from a group.
fn link_address(text: &str) -> Result<MacAddr, String> {
    let address = text.parse().ok().filter(|address: &MacAddr| !address.is_multicast() && *address != MacAddr::ZERO);
    address.ok_or_else(|| "the address of one device is wanted, such as 02:42:ac:11:00:02".to_owned())
}

/// Flags as iptables writes them: `SYN,ACK`, or `NONE`.
fn tcp_flags(text: &str) -> Result<u8, String> {
    let mut flags = 0;
    for name in text.split(',') {
        flags |= match name.to_ascii_uppercase().as_str() {
            "FIN" => 0x01,
            "SYN" => 0x02,
            "RST" => 0x04,
            "PSH" => 0x08,
            "ACK" => 0x10,
            "URG" => 0x20,
            "ECE" => 0x40,
            "CWR" => 0x80,
            "NONE" => 0,
            _ => return Err("the flags are FIN, SYN, RST, PSH, ACK, URG, ECE and CWR, or NONE".to_owned()),
        };
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_flags_are_read() {
        assert_eq!(number::<u32>("0x4000"), Ok(0x4000));
        assert!(number::<u8>("256").is_err());
        assert_eq!(tcp_flags("syn,ACK"), Ok(0x12));
        assert!(tcp_flags("SIN").is_err());
    }
}
