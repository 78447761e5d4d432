//! Reads values and the words before them: what they are looked for in, and where.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use super::cursor::Cursor;
use super::name::{self, Over};
use super::refusal::{Quoted, Refusal};
use super::syntax::{Ask, Carrier, Join, Node, Proto, Side};
use super::token::Token;

/// The words before a value, which the next values may take over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Qualifier {
    proto: Option<Proto>,
    side: Option<Side>,
    kind: Kind,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It was not said: `src 10.0.0.1`.
    Unsaid,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

/// Protocol numbers of the transports that have ports, as IP counts them.
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

impl Qualifier {
    fn side(self) -> Side {
        self.side.unwrap_or(Side::Either)
    }

    /// What the numbers behind `proto` are looked for in.
    fn carrier(self) -> Option<Carrier> {
        match self.proto {
            None => Some(Carrier::AnyIp),
            Some(Proto::Link) => Some(Carrier::Link),
            Some(Proto::Ip) => Some(Carrier::Ip),
            Some(Proto::Ip6) => Some(Carrier::Ip6),
            Some(_) => None,
        }
    }
}

impl Cursor<'_> {
    /// The words before a value, if there are any.
    pub(super) fn qualifier(&mut self, proto: Option<Proto>) -> Result<Option<Qualifier>, Refusal> {
        let side = self.side()?;
        let kind = match self.peek() {
            Some(Token::Word("host")) => Kind::Host,
            Some(Token::Word("net")) => Kind::Net,
            Some(Token::Word("port")) => Kind::Port,
            Some(Token::Word("portrange")) => Kind::PortRange,
            Some(Token::Word("proto")) if side.is_none() => Kind::Proto,
            _ if side.is_some() => return Ok(Some(Qualifier { proto, side, kind: Kind::Unsaid })),
            Some(Token::Word(word)) => match name::unsupported(word) {
                Some(why) if proto.is_some() => return Err(Refusal::new(self.here(), format!("`{word}` {why}"))),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some(Qualifier { proto, side, kind }))
    }

    /// `src`, `dst`, `src or dst`, `src and dst`.
    fn side(&mut self) -> Result<Option<Side>, Refusal> {
        let (side, other) = match self.peek() {
            Some(Token::Word("src")) => (Side::Source, "dst"),
            Some(Token::Word("dst")) => (Side::Destination, "src"),
            _ => return Ok(None),
        };
        self.advance();
        let side = match self.peek() {
            Some(Token::Word("or")) => Side::Either,
            Some(Token::Word("and")) => Side::Both,
            _ => return Ok(Some(side)),
        };
        self.advance();
        if self.take_word(other) { Ok(Some(side)) } else { Err(self.missing(&format!("`{other}`"))) }
    }

    /// One value.
    pub(super) fn value(&mut self, qualifier: Option<Qualifier>) -> Result<Node, Refusal> {
        let start = self.place();
        let Some(token) = self.peek() else { return Err(self.missing("a value")) };
        self.advance();
        match token {
            Token::Number(number) => number_value(qualifier, number, self.since(start)),
            Token::Name(name) => self.name(self.known(qualifier, start)?, name, start),
            Token::Dotted(text) => self.dotted(qualifier, text, start),
            Token::V6(address) => self.v6(qualifier, address, start),
            Token::Mac(address) => self.mac(self.known(qualifier, start)?, address, start),
            Token::Word(word) => Err(Refusal::new(
                self.since(start),
                format!(
                    "a value has to stand here, and `{word}` is a word of the language: as a name it is `\\{word}`"
                ),
            )),
            Token::Sign(sign) => {
                Err(Refusal::new(self.since(start), format!("a value has to stand here, not `{sign}`")))
            }
        }
    }

    /// The words that a value takes over.
    fn known(&self, qualifier: Option<Qualifier>, start: usize) -> Result<Qualifier, Refusal> {
        unless_missing(qualifier, self.since(start))
    }

    /// An IPv4 address, perhaps a short one, or a network.
    fn dotted(&mut self, qualifier: Option<Qualifier>, text: &str, start: usize) -> Result<Node, Refusal> {
        let (address, length) = self.address(text, start)?;
        let mask = if self.take_sign("/") {
            let length = self.mask_length(32)?;
            Some(u32::MAX.checked_shl(32 - length).unwrap_or(0))
        } else if self.take_word("mask") {
            let start = self.place();
            let Some(Token::Dotted(text)) = self.peek() else { return Err(self.missing("a mask with dots")) };
            self.advance();
            Some(self.address(text, start)?.0)
        } else {
            None
        };
        let at = self.since(start);
        let qualifier = unless_missing(qualifier, at.clone())?;
        if !matches!(qualifier.kind, Kind::Unsaid | Kind::Host | Kind::Net) {
            return Err(Refusal::new(at, "an address is asked for by `host`, `net`, `src` or `dst`"));
        }
        if mask.is_some() && qualifier.kind != Kind::Net {
            return Err(Refusal::new(at, "a network with a mask is asked for by `net`"));
        }
        let mask = mask.unwrap_or(u32::MAX << (32 - length));
        if address & !mask != 0 {
            let network = std::net::Ipv4Addr::from(address & mask);
            let what = format!("the address has bits beyond the mask: the network begins at {network}");
            return Err(Refusal::new(at, what));
        }
        Ok(Node::Ask(host(qualifier, address, mask, &at)?, at))
    }

    /// The number of an address with dots, and how many of its bits are written; the others are 0.
    fn address(&self, text: &str, start: usize) -> Result<(u32, u32), Refusal> {
        let (mut address, mut length) = (0, 0);
        for octet in text.split('.') {
            let number: u8 = octet.parse().map_err(|_| {
                Refusal::new(self.since(start), format!("{} is no address: its parts are 0 to 255", Quoted(text)))
            })?;
            address = address << 8 | u32::from(number);
            length += 8;
        }
        Ok((address << (32_u32.saturating_sub(length) % 32), length))
    }

    fn mask_length(&mut self, most: u32) -> Result<u32, Refusal> {
        let start = self.place();
        let length = self.number()?;
        if length > most {
            return Err(Refusal::new(self.since(start), format!("the mask has at most {most} bits")));
        }
        Ok(length)
    }

    fn v6(&mut self, qualifier: Option<Qualifier>, address: Ipv6Addr, start: usize) -> Result<Node, Refusal> {
        let length = if self.take_sign("/") { self.mask_length(128)? } else { 128 };
        let at = self.since(start);
        let qualifier = unless_missing(qualifier, at.clone())?;
        match qualifier.kind {
            Kind::Unsaid | Kind::Host if length != 128 => {
                return Err(Refusal::new(at, "a network with a mask is asked for by `net`"));
            }
            Kind::Unsaid | Kind::Host | Kind::Net => {}
            Kind::Port | Kind::PortRange | Kind::Proto => {
                return Err(Refusal::new(at, "an address is asked for by `host`, `net`, `src` or `dst`"));
            }
        }
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        if address.to_bits() & !mask != 0 {
            let network = Ipv6Addr::from(address.to_bits() & mask);
            let what = format!("the address has bits beyond the mask: the network is {network}/{length}");
            return Err(Refusal::new(at, what));
        }
        Ok(Node::Ask(host6(qualifier, address, mask, &at)?, at))
    }

    fn mac(&self, qualifier: Qualifier, address: [u8; 6], start: usize) -> Result<Node, Refusal> {
        let at = self.since(start);
        if qualifier.proto != Some(Proto::Link) || !matches!(qualifier.kind, Kind::Unsaid | Kind::Host) {
            let what = "an Ethernet address is asked for by `ether host`, `ether src` or `ether dst`";
            return Err(Refusal::new(at, what));
        }
        Ok(Node::Ask(Ask::Mac { side: qualifier.side(), address }, at))
    }

    fn name(&self, qualifier: Qualifier, name: &str, start: usize) -> Result<Node, Refusal> {
        let at = self.since(start);
        let ask = match qualifier.kind {
            Kind::Unsaid | Kind::Host => return self.hosts(qualifier, name, at),
            Kind::Net => {
                let what = "names of networks are not looked up: write the network, as in `net 10.0.0.0/8`";
                return Err(Refusal::new(at, what));
            }
            Kind::Port => {
                let (port, over) = service(name, &at)?;
                ports(qualifier, over, (port, port), &at)?
            }
            Kind::PortRange => {
                let Some((first, last)) = name.split_once('-') else {
                    return Err(Refusal::new(at, "a range is written with its first and last port, as in `80-90`"));
                };
                let ((first, over), (last, over_last)) = (service(first, &at)?, service(last, &at)?);
                ports(qualifier, over.filter(|_| over == over_last), (first, last), &at)?
            }
            Kind::Proto => {
                let carrier = qualifier.carrier();
                let number =
                    if carrier == Some(Carrier::Link) { name::ether_protocol(name) } else { name::ip_protocol(name) };
                let Some(number) = number.or(carrier.is_none().then_some(0)) else {
                    let what = format!("flowtrace knows no protocol {}: write its number", Quoted(name));
                    return Err(Refusal::new(at, what));
                };
                protocol(qualifier, number, &at)?
            }
        };
        Ok(Node::Ask(ask, at))
    }

    /// The addresses of a name, which whoever asks may know.
    fn hosts(&self, qualifier: Qualifier, name: &str, at: Range<usize>) -> Result<Node, Refusal> {
        if qualifier.proto == Some(Proto::Link) {
            let what = "names of Ethernet addresses are not looked up: write the address, as in 02:00:00:00:00:01";
            return Err(Refusal::new(at, what));
        }
        let known = |address: &IpAddr| match qualifier.proto {
            None => true,
            Some(Proto::Ip6) => address.is_ipv6(),
            Some(_) => address.is_ipv4(),
        };
        let mut asked = Vec::new();
        for address in (self.settings.addresses)(name).into_iter().filter(known) {
            let ask = match address {
                IpAddr::V4(address) => host(qualifier, address.to_bits(), u32::MAX, &at)?,
                IpAddr::V6(address) => host6(qualifier, address, u128::MAX, &at)?,
            };
            asked.push((Join::Or, Node::Ask(ask, at.clone())));
        }
        if asked.is_empty() {
            let what = format!("no address is known of {}: names of hosts are not looked up; write one", Quoted(name));
            return Err(Refusal::new(at, what));
        }
        let (_, first) = asked.remove(0);
        Ok(if asked.is_empty() { first } else { Node::Chain(Box::new(first), asked) })
    }
}

/// A number as a value: it is an address only with `host`, `net`, `src` or `dst`.
pub(super) fn number_value(qualifier: Option<Qualifier>, number: u32, at: Range<usize>) -> Result<Node, Refusal> {
    let qualifier = unless_missing(qualifier, at.clone())?;
    let ask = match qualifier.kind {
        Kind::Unsaid | Kind::Host => host(qualifier, number, u32::MAX, &at)?,
        Kind::Net => {
            // `net 10` is 10.0.0.0/8.
            let zeros = if number == 0 { 0 } else { number.leading_zeros() / 8 * 8 };
            host(qualifier, number << zeros, u32::MAX << zeros, &at)?
        }
        Kind::Port | Kind::PortRange => {
            let port = u16::try_from(number)
                .map_err(|_| Refusal::new(at.clone(), format!("{number} is no port: 65535 is the last")))?;
            ports(qualifier, None, (port, port), &at)?
        }
        Kind::Proto => protocol(qualifier, number, &at)?,
    };
    Ok(Node::Ask(ask, at))
}

/// The words that a value takes over, or a refusal where there are none.
fn unless_missing(qualifier: Option<Qualifier>, at: Range<usize>) -> Result<Qualifier, Refusal> {
    qualifier.ok_or_else(|| {
        let what = "a value without words before it takes over those of the value before it, and there is none: \
                    `host`, `net`, `port`, `src`, `dst` or `proto` has to stand before it";
        Refusal::new(at, what)
    })
}

fn host(qualifier: Qualifier, address: u32, mask: u32, at: &Range<usize>) -> Result<Ask, Refusal> {
    match qualifier.proto {
        proto @ (None | Some(Proto::Ip | Proto::Arp | Proto::Rarp)) => {
            Ok(Ask::Host { proto, side: qualifier.side(), address, mask })
        }
        Some(Proto::Ip6) => Err(Refusal::new(at.clone(), "this is an IPv4 address, which no `ip6` packet has")),
        Some(Proto::Link) => {
            Err(Refusal::new(at.clone(), "this is no Ethernet address, as 02:00:00:00:00:01 would be"))
        }
        Some(proto) => Err(no_addresses(proto, at)),
    }
}

fn host6(qualifier: Qualifier, address: Ipv6Addr, mask: u128, at: &Range<usize>) -> Result<Ask, Refusal> {
    match qualifier.proto {
        None | Some(Proto::Ip6) => Ok(Ask::Host6 { side: qualifier.side(), address, mask }),
        Some(proto @ (Proto::Ip | Proto::Arp | Proto::Rarp)) => {
            let word = name::of_protocol(proto);
            Err(Refusal::new(at.clone(), format!("this is an IPv6 address, which no `{word}` packet has")))
        }
        Some(Proto::Link) => {
            Err(Refusal::new(at.clone(), "this is no Ethernet address, as 02:00:00:00:00:01 would be"))
        }
        Some(proto) => Err(no_addresses(proto, at)),
    }
}

fn no_addresses(proto: Proto, at: &Range<usize>) -> Refusal {
    let word = name::of_protocol(proto);
    Refusal::new(at.clone(), format!("`{word}` has no addresses of its own: write `{word} and host …`"))
}

/// Ports of a range, whichever end is named first.
fn ports(qualifier: Qualifier, over: Option<u8>, range: (u16, u16), at: &Range<usize>) -> Result<Ask, Refusal> {
    let said = match qualifier.proto {
        None => None,
        Some(Proto::Tcp) => Some(TCP),
        Some(Proto::Udp) => Some(UDP),
        Some(Proto::Sctp) => Some(SCTP),
        Some(proto) => {
            let word = name::of_protocol(proto);
            let what = format!("`{word}` has no ports: write `{word} and port …`, or `tcp`, `udp` or `sctp` before it");
            return Err(Refusal::new(at.clone(), what));
        }
    };
    if said.is_some() && over.is_some() && said != over {
        let over = if over == Some(TCP) { "TCP" } else { "UDP" };
        return Err(Refusal::new(at.clone(), format!("this service is offered over {over} only: write its number")));
    }
    let (first, last) = (range.0.min(range.1), range.0.max(range.1));
    Ok(Ask::Port { transport: said.or(over), side: qualifier.side(), first, last })
}

/// The port of a service, and the transport if it is offered over one only.
fn service(name: &str, at: &Range<usize>) -> Result<(u16, Option<u8>), Refusal> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = name
            .parse()
            .map_err(|_| Refusal::new(at.clone(), format!("{} is no port: 65535 is the last", Quoted(name))))?;
        return Ok((port, None));
    }
    let Some((port, over)) = name::service(name) else {
        let what = format!("flowtrace knows no service {}: write its port", Quoted(name));
        return Err(Refusal::new(at.clone(), what));
    };
    let over = match over {
        Over::Tcp => Some(TCP),
        Over::Udp => Some(UDP),
        Over::Both => None,
    };
    Ok((port, over))
}

fn protocol(qualifier: Qualifier, number: u32, at: &Range<usize>) -> Result<Ask, Refusal> {
    let Some(carrier) = qualifier.carrier() else {
        let what = "a protocol is looked for by `proto`, `ip proto`, `ip6 proto` or `ether proto`";
        return Err(Refusal::new(at.clone(), what));
    };
    let last = if carrier == Carrier::Link { 0xffff } else { 0xff };
    if carrier == Carrier::Link && (0x100..=1500).contains(&number) {
        let what =
            format!("{number} is neither a type, which is above 1500, nor a DSAP of LLC, of which 255 is the last");
        return Err(Refusal::new(at.clone(), what));
    }
    if number > last {
        return Err(Refusal::new(at.clone(), format!("{number} is no protocol here: {last} is the last")));
    }
    Ok(Ask::Number(carrier, number))
}
