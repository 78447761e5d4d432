//! Expressions of `nft list ruleset` (`src/parser_bison.y` of nftables, as `src/expression.c` prints them).

use crate::net::ExtHeader;
use crate::snapshot::Direction;
use crate::snapshot::nft::{
    Asks, BitOp, CtKey, Expr, Exthdr, Fib, FibResult, Header, HeaderField, NumgenMode, PayloadBase, RtKey, SetRef,
};

use super::constant::{Datatype, integer};
use super::scope::Reader;
use super::token::{Parsed, Token};
use super::{exthdr, field};

/// Expressions inside each other beyond this are no listing.
const MAX_DEPTH: u32 = 32;

/// An expression with the types of its fields.
pub(super) struct Typed {
    pub expr: Expr,
    pub types: Vec<Datatype>,
}

impl Typed {
    fn new(expr: Expr, datatype: Datatype) -> Self {
        Self { expr, types: vec![datatype] }
    }

    /// The type of an expression of one field.
    pub fn datatype(&self) -> Datatype {
        self.types.first().copied().unwrap_or(Datatype::Opaque)
    }

    pub(super) fn is_opaque(&self) -> bool {
        matches!(self.expr, Expr::Opaque(_)) || self.types.contains(&Datatype::Opaque)
    }
}

impl Reader<'_, '_> {
    /// One or more fields side by side, perhaps looked up in a map.
    pub(super) fn expression(&mut self) -> Parsed<Typed> {
        self.deeper(|reader| {
            let first = reader.arithmetic()?;
            let mut fields = vec![first];
            while reader.cursor.is_word(".") {
                reader.cursor.next();
                fields.push(reader.arithmetic()?);
            }
            let key = join(fields);
            if reader.cursor.is_word("map") { reader.map(key) } else { Ok(key) }
        })
    }

    /// Guards against expressions that are nested without end.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.cursor.expected("an expression that is less deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn map(&mut self, key: Typed) -> Parsed<Typed> {
        self.cursor.next();
        let (set, types) = self.set_operand(&key.types, true)?;
        let expr = Expr::Map(Box::new(key.expr), set);
        Ok(Typed { expr, types })
    }

    /// A set that is named or stands here, and the types of what a map has in it.
    pub(super) fn set_operand(&mut self, key: &[Datatype], map: bool) -> Parsed<(SetRef, Vec<Datatype>)> {
        if let Some(name) = self.cursor.peek_word().and_then(|word| word.strip_prefix('@')) {
            self.note_set(name);
            self.cursor.next();
            let data = self.scope.sets.get(name).map_or_else(|| vec![Datatype::Opaque], |(_, data)| data.clone());
            return Ok((SetRef::Named(name.into()), data));
        }
        let data = if map { self.expected_data.clone() } else { Vec::new() };
        let set = self.anonymous_set(key, &data)?;
        Ok((SetRef::Anonymous(Box::new(set)), data))
    }

    /// Fields joined by bit operators, of C's precedence.
    fn arithmetic(&mut self) -> Parsed<Typed> {
        let left = self.primary()?;
        self.operators(left, 0)
    }

    pub(super) fn operators(&mut self, mut left: Typed, least: u8) -> Parsed<Typed> {
        while let Some((op, strength)) = self.operator()
            && strength >= least
        {
            self.cursor.next();
            let datatype = match op {
                BitOp::Lshift | BitOp::Rshift => Datatype::Integer,
                _ => left.datatype(),
            };
            let mut right = self.deeper(|reader| reader.operand(datatype))?;
            while let Some((_, stronger)) = self.operator()
                && stronger > strength
            {
                right = self.operators(right, stronger)?;
            }
            let types = std::mem::take(&mut left.types);
            left = Typed { expr: Expr::Binary(op, Box::new(left.expr), Box::new(right.expr)), types };
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(BitOp, u8)> {
        Some(match self.cursor.peek() {
            Token::Sign("<<") | Token::Word("lshift") => (BitOp::Lshift, 4),
            Token::Sign(">>") | Token::Word("rshift") => (BitOp::Rshift, 4),
            Token::Sign("&") | Token::Word("and") => (BitOp::And, 3),
            Token::Sign("^") | Token::Word("xor") => (BitOp::Xor, 2),
            Token::Sign("|") | Token::Word("or") => (BitOp::Or, 1),
            _ => return None,
        })
    }

    /// A constant of a type, or another expression.
    pub(super) fn operand(&mut self, datatype: Datatype) -> Parsed<Typed> {
        if self.cursor.sign("(") {
            let inner = self.operand(datatype)?;
            let mut inner = self.operators(inner, 0)?;
            // `(fin,syn)`: JSON's list of flags.
            while self.cursor.sign(",") {
                let next = self.operand(datatype)?;
                inner.expr = Expr::Binary(BitOp::Or, Box::new(inner.expr), Box::new(next.expr));
            }
            self.cursor.need(")")?;
            return Ok(inner);
        }
        if let Some((low, high)) = self.peek_constant(datatype)
            && low == high
        {
            self.cursor.next();
            return Ok(Typed::new(Expr::Value(low.into()), datatype));
        }
        self.primary()
    }

    /// The next token, if it is a constant of a type.
    pub(super) fn peek_constant(&self, datatype: Datatype) -> Option<(u128, u128)> {
        match self.cursor.peek() {
            Token::Word(word) => datatype.constant(word, false),
            Token::Quoted(word) => datatype.constant(word, true),
            _ => None,
        }
    }

    /// What loads a value.
    fn primary(&mut self) -> Parsed<Typed> {
        if self.cursor.sign("(") {
            let inner = self.expression()?;
            self.cursor.need(")")?;
            return Ok(inner);
        }
        let start = self.cursor.start();
        let fault = self.cursor.expected("an expression");
        let Some(word) = self.cursor.peek_word() else { return Err(fault) };
        self.cursor.next();
        match word {
            "meta" => self.meta_key(),
            _ if field::is_bare_meta(word) => {
                field::meta(word).map(|(key, datatype)| Typed::new(Expr::Meta(key), datatype)).ok_or(fault)
            }
            "ct" => self.ct_key(),
            "fib" => self.fib(),
            "numgen" => self.numgen(),
            "jhash" => self.jhash(),
            "symhash" => {
                let (modulus, offset) = self.modulus()?;
                Ok(Typed::new(Expr::Symhash { modulus, offset }, Datatype::Integer))
            }
            "rt" => self.rt(start),
            "socket" | "osf" | "ipsec" | "tunnel" => self.opaque(word, start),
            _ if field::tunnel(word).is_some() => self.inner(word, start),
            "exthdr" => {
                let fault = self.cursor.expected("an extension header");
                let name = self.cursor.name("an extension header")?;
                let of = exthdr::extension(name).ok_or(fault)?;
                Ok(self.exthdr(of, name, start))
            }
            "frag" | "hbh" | "dst" | "mh" | "srh" => {
                let field = self.cursor.name("a field")?;
                let of = exthdr::extension(word).ok_or(fault)?;
                Ok(self.header_field(of, (word, field), start))
            }
            _ if word.starts_with('@') => raw(word).map(|expr| Typed::new(expr, Datatype::Integer)).ok_or(fault),
            _ => match field::header(word) {
                Some(header) => self.payload(header, start),
                None => Err(fault),
            },
        }
    }

    fn meta_key(&mut self) -> Parsed<Typed> {
        let fault = self.cursor.expected("a key of meta");
        let (key, datatype) = self.cursor.peek_word().and_then(field::meta).ok_or(fault)?;
        self.cursor.next();
        Ok(Typed::new(Expr::Meta(key), datatype))
    }

    fn ct_key(&mut self) -> Parsed<Typed> {
        self.track();
        let direction = match self.cursor.peek_word() {
            Some("original") => Some(Direction::Original),
            Some("reply") => Some(Direction::Reply),
            _ => None,
        };
        if direction.is_some() {
            self.cursor.next();
        }
        let family = self.cursor.peek_word().filter(|word| direction.is_some() && matches!(*word, "ip" | "ip6"));
        if family.is_some() {
            self.cursor.next();
        }
        let six = family.map_or(self.scope.is_six(), |family| family == "ip6");
        let fault = self.cursor.expected("a key of ct");
        let (key, datatype) = self.cursor.peek_word().and_then(|word| field::ct(word, six)).ok_or(fault)?;
        self.cursor.next();
        let key = match (key, family) {
            (CtKey::Saddr, Some("ip")) => CtKey::IpSaddr,
            (CtKey::Saddr, Some("ip6")) => CtKey::Ip6Saddr,
            (CtKey::Daddr, Some("ip")) => CtKey::IpDaddr,
            (CtKey::Daddr, Some("ip6")) => CtKey::Ip6Daddr,
            (key, _) => key,
        };
        Ok(Typed::new(Expr::Ct(key, direction), datatype))
    }

    fn fib(&mut self) -> Parsed<Typed> {
        let mut fib = Fib { saddr: false, mark: false, iif: false, oif: false, result: FibResult::Oif };
        loop {
            match self.cursor.peek_word() {
                Some("saddr") => fib.saddr = true,
                Some("daddr") => {}
                Some("mark") => fib.mark = true,
                Some("iif") => fib.iif = true,
                Some("oif") => fib.oif = true,
                _ => return Err(self.cursor.expected("saddr, daddr, mark, iif or oif")),
            }
            self.cursor.next();
            if !self.cursor.word(".") {
                break;
            }
        }
        let fault = self.cursor.expected("oif, oifname or type");
        let (result, datatype) = match self.cursor.peek_word() {
            Some("oif") => (FibResult::Oif, Datatype::Ifindex),
            Some("oifname") => (FibResult::Oif, Datatype::Ifname),
            Some("type") => (FibResult::Type, Datatype::FibType),
            // `check` is what newer versions call the question whether there is one.
            Some("check") => (FibResult::Exists, Datatype::Boolean),
            _ => return Err(fault),
        };
        self.cursor.next();
        if result == FibResult::Oif && matches!(self.cursor.peek_word(), Some("exists" | "missing")) {
            return Ok(Typed::new(Expr::Fib(Fib { result: FibResult::Exists, ..fib }), Datatype::Boolean));
        }
        Ok(Typed::new(Expr::Fib(Fib { result, ..fib }), datatype))
    }

    fn numgen(&mut self) -> Parsed<Typed> {
        let fault = self.cursor.expected("inc or random");
        let mode = match self.cursor.peek_word() {
            Some("inc") => NumgenMode::Inc,
            Some("random") => NumgenMode::Random,
            _ => return Err(fault),
        };
        self.cursor.next();
        let (modulus, offset) = self.modulus()?;
        Ok(Typed::new(Expr::Numgen { mode, modulus, offset }, Datatype::Integer))
    }

    fn jhash(&mut self) -> Parsed<Typed> {
        let key = self.expression()?;
        if !self.cursor.word("mod") {
            return Err(self.cursor.expected("`mod`"));
        }
        let modulus = self.integer()?;
        let seed = if self.cursor.word("seed") { Some(self.integer()?) } else { None };
        let offset = if self.cursor.word("offset") { self.integer()? } else { 0 };
        let expr = Expr::Jhash { key: Box::new(key.expr), modulus, seed, offset };
        Ok(Typed::new(expr, Datatype::Integer))
    }

    /// `mod 4 offset 2`.
    fn modulus(&mut self) -> Parsed<(u32, u32)> {
        if !self.cursor.word("mod") {
            return Err(self.cursor.expected("`mod`"));
        }
        let modulus = self.integer()?;
        let offset = if self.cursor.word("offset") { self.integer()? } else { 0 };
        Ok((modulus, offset))
    }

    pub(super) fn integer(&mut self) -> Parsed<u32> {
        let number = self.cursor.peek_word().and_then(integer).and_then(|number| u32::try_from(number).ok());
        let number = number.ok_or_else(|| self.cursor.expected("a number"))?;
        self.cursor.next();
        Ok(number)
    }

    fn payload(&mut self, header: Header, start: usize) -> Parsed<Typed> {
        if matches!(self.cursor.peek_word(), Some("option" | "chunk")) {
            self.cursor.next();
            let fault = self.cursor.expected("an option of the header");
            let name = self.cursor.name("an option")?;
            let of = match header {
                Header::Tcp => exthdr::tcp_option(name),
                Header::Ip => exthdr::ip_option(name),
                Header::Sctp => Some(Exthdr::Sctp),
                Header::Dccp => Some(Exthdr::Dccp),
                _ => None,
            };
            return Ok(self.exthdr(of.ok_or(fault)?, name, start));
        }
        let (name, datatype) = self.header_word(header)?;
        Ok(Typed::new(Expr::Payload(header, name), datatype))
    }

    /// The name of a header's field.
    fn header_word(&mut self, header: Header) -> Parsed<(HeaderField, Datatype)> {
        let fault = self.cursor.expected("a field of the header");
        let found = self.cursor.peek_word().and_then(|word| field::field(header, word)).ok_or(fault)?;
        self.cursor.next();
        if header == Header::Arp && matches!(found.0, HeaderField::Other("saddr" | "daddr")) {
            let fault = self.cursor.expected("`ip` or `ether`");
            let datatype = self.cursor.peek_word().and_then(field::arp_address).ok_or(fault)?;
            self.cursor.next();
            return Ok((found.0, datatype));
        }
        Ok(found)
    }

    /// `vxlan ip saddr`, `geneve vni`: a field of a tunnel's header, or of what the tunnel carries.
    fn inner(&mut self, tunnel: &str, start: usize) -> Parsed<Typed> {
        let fault = self.cursor.expected("a tunnel");
        let outer = field::tunnel(tunnel).ok_or(fault)?;
        let field = self.cursor.name("a header, or a field of the tunnel's")?;
        let datatype = match field::header(field) {
            Some(header) => self.header_word(header)?.1,
            None => Datatype::Opaque,
        };
        let text = self.cursor.text(start, self.cursor.last_end());
        Ok(Typed::new(Expr::Inner(outer, text.into()), datatype))
    }

    /// An option, a chunk or an extension header, and a field of it where one stands there.
    fn exthdr(&mut self, of: Exthdr, name: &str, start: usize) -> Typed {
        if let Some(word) = self.cursor.peek_word().filter(|word| exthdr::is_field(word)) {
            self.cursor.next();
            return self.header_field(of, (name, word), start);
        }
        let text = self.cursor.text(start, self.cursor.last_end());
        if name.starts_with('@') {
            // Bits of an option by their place.
            return Typed::new(Expr::Exthdr(of, Asks::Field, text.into()), Datatype::Opaque);
        }
        Typed::new(Expr::Exthdr(of, Asks::Presence, text.into()), Datatype::Boolean)
    }

    /// A field of an option or header of a name.
    fn header_field(&self, of: Exthdr, (name, word): (&str, &str), start: usize) -> Typed {
        let text = self.cursor.text(start, self.cursor.last_end());
        let (asks, datatype) = exthdr::field(of, name, word);
        Typed::new(Expr::Exthdr(of, asks, text.into()), datatype)
    }

    /// `rt classid`, `rt ip nexthop`; `rt type` and others are fields of IPv6's routing header.
    fn rt(&mut self, start: usize) -> Parsed<Typed> {
        let six = match self.cursor.peek_word() {
            Some(word @ ("ip" | "ip6")) => {
                self.cursor.next();
                word == "ip6"
            }
            _ => self.scope.is_six(),
        };
        let (key, datatype) = match self.cursor.name("a key of rt")? {
            "classid" => (RtKey::Classid, Datatype::Realm),
            "nexthop" if six => (RtKey::Nexthop6, Datatype::Ipv6),
            "nexthop" => (RtKey::Nexthop4, Datatype::Ipv4),
            "mtu" => (RtKey::Mtu, Datatype::Integer),
            "ipsec" => (RtKey::Ipsec, Datatype::Boolean),
            word => return Ok(self.header_field(Exthdr::Ip6(ExtHeader::ROUTING.0), ("rt", word), start)),
        };
        Ok(Typed::new(Expr::Rt(key), datatype))
    }

    /// What nft knows and flowtrace doesn't model: as many words as it has.
    fn opaque(&mut self, word: &str, start: usize) -> Parsed<Typed> {
        match (word, self.cursor.peek_word()) {
            ("osf", Some("ttl")) => {
                for what in ["a word", "loose or skip", "name or version"] {
                    self.cursor.name(what)?;
                }
            }
            ("socket", Some("cgroupv2")) => {
                for what in ["a word", "a word", "a level"] {
                    self.cursor.name(what)?;
                }
            }
            ("ipsec", _) => {
                while self.cursor.peek_word().is_some_and(|word| {
                    ["in", "out", "spnum", "ip", "ip6", "saddr", "daddr", "reqid", "spi"].contains(&word)
                        || word.bytes().all(|byte| byte.is_ascii_digit())
                }) {
                    let last = self.cursor.next();
                    if matches!(last, Token::Word("saddr" | "daddr" | "reqid" | "spi")) {
                        break;
                    }
                }
            }
            _ => {
                self.cursor.name("a word")?;
            }
        }
        let text = self.cursor.text(start, self.cursor.last_end());
        Ok(Typed::new(Expr::Opaque(text.into()), Datatype::Opaque))
    }
}

/// Fields side by side.
fn join(mut fields: Vec<Typed>) -> Typed {
    if fields.len() == 1
        && let Some(only) = fields.pop()
    {
        return only;
    }
    let types = fields.iter().flat_map(|field| field.types.clone()).collect();
    Typed { expr: Expr::Concat(fields.into_iter().map(|field| field.expr).collect()), types }
}

/// `@th,16,16`.
fn raw(word: &str) -> Option<Expr> {
    let mut parts = word.split(',');
    let base = match parts.next()? {
        "@ll" => PayloadBase::Link,
        "@nh" => PayloadBase::Network,
        "@th" => PayloadBase::Transport,
        "@ih" => PayloadBase::Inner,
        _ => return None,
    };
    let offset = parts.next()?.parse().ok()?;
    let length = parts.next()?.parse().ok().filter(|length| *length <= 128)?;
    parts.next().is_none().then_some(Expr::Raw(base, offset, length))
}
