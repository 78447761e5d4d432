//! `--ip-options` and `--ext-headers`: what stands between the IP header and the transport header.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::Error;
use crate::net::{ExtHeader, ExtHeaders, IpOptions};

use super::payload::hex;

/// Hop-by-hop options that say how long the packet is.
const JUMBO: u8 = 194;

/// Reads `WORD[,WORD...]` or bytes in hexadecimal.
pub(super) fn ip_options(typed: &str) -> Result<IpOptions, Error> {
    let wrong = |what: String| Error::Usage(format!("--ip-options: {what}"));
    let bytes = match hex(typed).filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => bytes,
        None => typed.split(',').map(ip_option).collect::<Result<Vec<_>, _>>().map_err(wrong)?.concat(),
    };
    if bytes.len() > IpOptions::MOST {
        let most = IpOptions::MOST;
        return Err(wrong(format!("an IP header has room for {most} bytes of options, and these are {}", bytes.len())));
    }
    Ok(IpOptions::known(&bytes))
}

fn ip_option(word: &str) -> Result<Vec<u8>, String> {
    let (name, value) = word.split_once(':').map_or((word, None), |(name, value)| (name, Some(value)));
    let places = |usual: u8, most: u8| match value {
        None => Ok(usual),
        Some(text) => match text.parse() {
            Ok(places) if (1..=most).contains(&places) => Ok(places),
            _ => Err(format!("{word}: a number of places from 1 to {most} is wanted")),
        },
    };
    let list = |kind: u8, pointer: u8, rest: Vec<u8>| {
        let length = u8::try_from(rest.len() + 3).unwrap_or(u8::MAX);
        [vec![kind, length, pointer], rest].concat()
    };
    let empty = |places: u8, size: u8| vec![0; usize::from(places) * usize::from(size)];
    Ok(match (name, value) {
        ("nop", None) => vec![IpOptions::NOP],
        ("end", None) => vec![IpOptions::END],
        ("ra", None) => vec![IpOptions::RA, 4, 0, 0],
        ("rr", _) => list(IpOptions::RR, 4, empty(places(9, 9)?, 4)),
        ("ts", _) => list(IpOptions::TS, 5, [vec![0], empty(places(9, 9)?, 4)].concat()),
        ("tsaddr", _) => list(IpOptions::TS, 5, [vec![1], empty(places(4, 4)?, 8)].concat()),
        ("lsrr", Some(value)) => list(IpOptions::LSRR, 4, addresses(word, value)?),
        ("ssrr", Some(value)) => list(IpOptions::SSRR, 4, addresses(word, value)?),
        _ => {
            return Err(format!(
                "{word}: one of nop, end, ra, rr[:PLACES], ts[:PLACES], tsaddr[:PLACES], lsrr:IP/IP, ssrr:IP/IP is \
                 wanted, or bytes in hexadecimal"
            ));
        }
    })
}

fn addresses(word: &str, value: &str) -> Result<Vec<u8>, String> {
    let octets = |addr: &str| addr.parse().map(|addr: Ipv4Addr| addr.octets());
    let list: Result<Vec<[u8; 4]>, _> = value.split('/').map(octets).collect();
    list.map(|list| list.concat()).map_err(|_| format!("{word}: IPv4 addresses with slashes between them are wanted"))
}

/// Reads `WORD[,WORD...]`.
pub(super) fn ext_headers(typed: &str) -> Result<ExtHeaders, Error> {
    let headers: Result<Vec<ExtHeader>, String> = typed.split(',').map(ext_header).collect();
    headers.map(ExtHeaders::new).map_err(|what| Error::Usage(format!("--ext-headers: {what}")))
}

fn ext_header(word: &str) -> Result<ExtHeader, String> {
    let (name, value) = word.split_once(':').map_or((word, None), |(name, value)| (name, Some(value)));
    let number = |what: &str| match value.map(str::parse::<u32>) {
        None => Ok([0; 4]),
        Some(Ok(number)) => Ok(number.to_be_bytes()),
        Some(Err(_)) => Err(format!("{word}: {what}, a number, is wanted")),
    };
    let (kind, behind) = match name {
        "hop" => (ExtHeader::HOP, options(word, value)?),
        "dst" => (ExtHeader::DEST, options(word, value)?),
        "route" => (ExtHeader::ROUTING, routing(word, value.unwrap_or("0/0"))?),
        "frag" => (ExtHeader::FRAGMENT, [&[0; 3][..], &number("an identification")?].concat()),
        // With an empty value of 12 bytes behind its sequence number, as the usual algorithms have.
        "ah" => (ExtHeader::AUTH, [&[4, 0, 0][..], &number("an index (SPI)")?, &[0, 0, 0, 1], &[0; 12]].concat()),
        "esp" => {
            return Err("esp: what stands behind an ESP header is encrypted, and no rule can ask for it".to_owned());
        }
        _ => {
            return Err(format!(
                "{word}: one of hop[:OPTIONS], dst[:OPTIONS], route[:TYPE/LEFT[/IP...]], frag[:ID], ah[:SPI] is wanted"
            ));
        }
    };
    ExtHeader::new(kind, &behind).ok_or_else(|| format!("{word}: the header is too long"))
}

/// The options of a header, `ra` or bytes in hexadecimal, filled up with padding.
fn options(word: &str, value: Option<&str>) -> Result<Vec<u8>, String> {
    let list = match value {
        None => Vec::new(),
        // For MLD, the first of its kinds (RFC 2711).
        Some("ra") if word.starts_with("hop") => vec![5, 2, 0, 0],
        Some(text) => hex(text).ok_or_else(|| format!("{word}: bytes in hexadecimal are wanted, such as 05020000"))?,
    };
    check_options(word, &list)?;
    let (missing, mut bytes) = ((list.len() + 2).next_multiple_of(8) - list.len() - 2, list);
    match missing {
        0 => {}
        1 => bytes.push(0),
        // Padding of several bytes, of which two say so.
        more => {
            bytes.extend([1, u8::try_from(more - 2).unwrap_or(0)]);
            bytes.resize(bytes.len() + more - 2, 0);
        }
    }
    let units = u8::try_from((bytes.len() + 2) / 8 - 1).map_err(|_| format!("{word}: the options are too long"))?;
    Ok([vec![units], bytes].concat())
}

/// Each option says how long it is, and none may reach behind the end.
fn check_options(word: &str, list: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while let Some(kind) = list.get(at) {
        if *kind == JUMBO {
            return Err(format!("{word}: packets of more than 65535 bytes are not modelled"));
        }
        at += match (kind, list.get(at + 1)) {
            (0, _) => 1,
            (_, Some(length)) => usize::from(*length) + 2,
            (_, None) => return Err(format!("{word}: the last option has no length")),
        };
    }
    if at == list.len() { Ok(()) } else { Err(format!("{word}: the last option ends behind the others")) }
}

/// `TYPE/LEFT[/IP...]`.
fn routing(word: &str, value: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{word}: a type, how many segments are left, and IPv6 addresses are wanted, such as 0/0");
    let mut parts = value.split('/');
    let mut byte = || parts.next().and_then(|part| part.parse::<u8>().ok()).ok_or_else(wrong);
    let (kind, left) = (byte()?, byte()?);
    let octets = |addr: &str| addr.parse().map(|addr: Ipv6Addr| addr.octets());
    let addresses: Vec<[u8; 16]> = parts.map(octets).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let units = u8::try_from(addresses.len() * 2).map_err(|_| wrong())?;
    Ok([vec![units, kind, left, 0, 0, 0, 0], addresses.concat()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Protocol;

    #[test]
    fn options_are_words_or_bytes() {
        let read = |typed: &str| ip_options(typed).map(|options| options.hex());
        assert_eq!(read("ra").unwrap(), "94040000");
        assert_eq!(read("rr:1,nop").unwrap(), "0707040000000001");
        assert_eq!(read("94:04:00:00").unwrap(), "94040000");
        assert_eq!(read("lsrr:192.0.2.1/198.51.100.7,end").unwrap(), "830b04c0000201c633640700");
        assert_eq!(ip_options("rr").unwrap().length(), 40);
        assert_eq!(ip_options("tsaddr").unwrap().length(), 36);
        for wrong in ["", "rr:0", "rr:10", "rr,ra", "lsrr", "lsrr:x", "lsrr:::1", "what", "ra:1"] {
            assert!(ip_options(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_words_with_what_they_hold() {
        let bytes = |typed: &str| ext_headers(typed).map(|headers| headers.bytes(Protocol::UDP));
        assert_eq!(bytes("hop").unwrap(), [17, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(bytes("hop:ra,dst").unwrap(), [60, 0, 5, 2, 0, 0, 1, 0, 17, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(bytes("dst:c600000000").unwrap(), [17, 0, 198, 0, 0, 0, 0, 0]);
        assert_eq!(bytes("route").unwrap(), [17, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes("route:0/1/2001:db8::1").unwrap().len(), 24);
        assert_eq!(bytes("frag:258").unwrap(), [17, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(bytes("ah:7").unwrap().get(..12).unwrap(), [17, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1]);
        for wrong in ["", "hop:c2040001", "hop:05", "hop:0509", "esp", "route:0", "route:0/0/x", "frag:x", "dst:ra"] {
            assert!(ext_headers(wrong).is_err(), "{wrong}");
        }
    }
}
