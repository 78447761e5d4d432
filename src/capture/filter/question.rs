//! Reads the questions that take no value, or a number of their own.

use super::cursor::Cursor;
use super::name;
use super::refusal::Refusal;
use super::syntax::{Ask, Carrier, Proto, Relation, Size, Sum, Test};
use super::token::Token;

impl Cursor<'_> {
    /// `broadcast` and `multicast`, also behind a protocol, and without one what words of their own ask.
    pub(super) fn kind(&mut self, proto: Option<Proto>) -> Result<Option<Ask>, Refusal> {
        let start = self.place();
        let Some(Token::Word(word)) = self.peek() else { return Ok(None) };
        if matches!(word, "broadcast" | "multicast") {
            self.advance();
            return self.group(proto, word, start).map(Some);
        }
        if proto.is_some() {
            return Ok(None);
        }
        let ask = match word {
            "less" | "greater" | "byte" | "ifindex" => {
                self.advance();
                self.numbered(word)?
            }
            "inbound" | "outbound" => {
                self.advance();
                Ask::Outbound(word == "outbound")
            }
            "pppoed" => {
                self.advance();
                Ask::PppoeDiscovery
            }
            "vlan" => Ask::Vlan(self.tag("a VLAN id", 0xfff)?),
            "mpls" => Ask::Mpls(self.tag("an MPLS label", 0xf_ffff)?),
            "pppoes" => Ask::PppoeSession(self.tag("a PPPoE session", 0xffff)?),
            "geneve" => Ask::Geneve(self.vni()?),
            "vxlan" => Ask::Vxlan(self.vni()?),
            _ => return Ok(None),
        };
        Ok(Some(ask))
    }

    fn group(&self, proto: Option<Proto>, word: &str, start: usize) -> Result<Ask, Refusal> {
        let carrier = match proto {
            None | Some(Proto::Link) => Carrier::Link,
            Some(Proto::Ip) => Carrier::Ip,
            Some(Proto::Ip6) if word == "multicast" => Carrier::Ip6,
            Some(proto) => {
                let of = name::of_protocol(proto);
                let what = format!("`{of}` has no {word}: `ether {word}` or `ip {word}` can be asked");
                return Err(Refusal::new(self.since(start), what));
            }
        };
        Ok(if word == "broadcast" { Ask::Broadcast(carrier) } else { Ask::Multicast(carrier) })
    }

    /// `less`, which means at most, `greater`, which means at least, `byte` and `ifindex`.
    fn numbered(&mut self, word: &str) -> Result<Ask, Refusal> {
        let number = self.number()?;
        let compared = |left, test, is_negated, right| {
            Ask::Relation(Relation { left, test, is_negated, right: Sum::number(right) })
        };
        Ok(match word {
            "less" => compared(Sum::length(), Test::Greater, true, number),
            "greater" => compared(Sum::length(), Test::GreaterOrEqual, false, number),
            "ifindex" => Ask::Device(number),
            _ => {
                let (test, is_negated) = match self.peek() {
                    Some(Token::Sign("=")) => (Test::Equal, false),
                    Some(Token::Sign(">")) => (Test::Greater, false),
                    Some(Token::Sign("<")) => (Test::GreaterOrEqual, true),
                    _ => return Err(self.missing("`=`, `<` or `>`; other operators are for `ether[…]`:")),
                };
                self.advance();
                let byte = Sum::load(Proto::Link, Size::Byte, Sum::number(number));
                let start = self.place();
                let value = self.number()?;
                if value > 0xff {
                    let what = format!("{value} is too large for a byte: 255 is the last");
                    return Err(Refusal::new(self.since(start), what));
                }
                compared(byte, test, is_negated, value)
            }
        })
    }

    /// The number behind a word, if there is one.
    /// A VNI behind the word for a tunnel, or behind `vni`, if there is one.
    fn vni(&mut self) -> Result<Option<u32>, Refusal> {
        let is_named = self.peek_at(1) == Some(Token::Name("vni"));
        if is_named {
            self.advance();
        }
        match self.tag("a VNI", 0xff_ffff)? {
            None if is_named => Err(self.missing("a VNI")),
            vni => Ok(vni),
        }
    }

    fn tag(&mut self, what: &str, last: u32) -> Result<Option<u32>, Refusal> {
        self.advance();
        let start = self.place();
        let number = self.take_number()?;
        match number {
            Some(number) if number > last => {
                Err(Refusal::new(self.since(start), format!("{number} is too large for {what}: {last} is the last")))
            }
            number => Ok(number),
        }
    }
}
