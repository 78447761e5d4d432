//! Statements that set something, or send the packet or a copy of it elsewhere.

use crate::net::Family;
use crate::snapshot::NftFamily;
use crate::snapshot::nft::{
    Asks, Beside, CopyTo, CtKey, Expr, Exthdr, Header, HeaderField, MetaKey, NftAside, NftFwd, NftOffer, NftSynproxy,
    Statement,
};

use super::constant::Datatype;
use super::expression::Typed;
use super::exthdr;
use super::field;
use super::scope::Reader;
use super::token::{Parsed, Token, Wrong};

impl Reader<'_, '_> {
    /// `meta mark set …`, `ip dscp set …`, from `set` on.
    pub(super) fn assignment(&mut self, left: Typed, start: usize) -> Parsed<Statement> {
        self.cursor.next();
        let datatype = left.datatype();
        let beside = beside(&left.expr);
        let of_frames = matches!(self.scope.family, NftFamily::Bridge | NftFamily::Netdev);
        Ok(match left.expr {
            Expr::Meta(MetaKey::Mark) => Statement::SetMark(self.typed_value(datatype)?),
            Expr::Meta(MetaKey::Pkttype) if of_frames => Statement::SetPkttype(self.typed_value(datatype)?),
            Expr::Meta(MetaKey::Other("broute")) if self.scope.family == NftFamily::Bridge => {
                Statement::SetBroute(self.typed_value(Datatype::Integer)?)
            }
            // What the stack does with them later is not modelled.
            Expr::Payload(Header::Ether, _) if !of_frames => self.other_assignment(&left.expr, start)?,
            Expr::Ct(CtKey::Mark, _) => Statement::SetCtMark(self.typed_value(datatype)?),
            Expr::Ct(CtKey::Label, _) => Statement::SetCtLabel(self.label_value()?),
            Expr::Ct(CtKey::Zone, side) => Statement::SetCtZone(side, self.typed_value(datatype)?),
            Expr::Payload(header, field) if !matches!(field, HeaderField::Other(_)) => {
                Statement::SetPayload(header, field, Box::new(self.typed_value(datatype)?))
            }
            Expr::Raw(base, offset, length) => {
                Statement::SetRaw(base, offset, length, Box::new(self.typed_value(Datatype::Integer)?))
            }
            Expr::Meta(MetaKey::Priority) | Expr::Exthdr(Exthdr::Tcp(_), Asks::Bits { .. }, _) => {
                let header = matches!(left.expr, Expr::Exthdr(..)).then_some(Header::Tcp);
                let value = self.typed_value(datatype)?;
                self.writing(start, header, (vec![value], beside))
            }
            other => self.other_assignment(&other, start)?,
        })
    }

    /// What else can be set. The trace flag, a priority, a label, an option's size decide nothing on a packet's way.
    fn other_assignment(&mut self, left: &Expr, start: usize) -> Parsed<Statement> {
        let value = match left {
            // Its words are among those that start expressions.
            Expr::Ct(CtKey::Other("event"), _) => self.words()?,
            _ => self.opaque_value()?,
        };
        let header = match left {
            Expr::Meta(MetaKey::Pkttype | MetaKey::Other("broute")) => None,
            Expr::Meta(_) | Expr::Ct(..) => return Ok(self.aside(start, None, vec![value])),
            Expr::Exthdr(Exthdr::Tcp(_), ..) => {
                return Ok(self.writing(start, Some(Header::Tcp), (vec![value], beside(left))));
            }
            // Another option or field may be looked at again, which is not modelled.
            Expr::Payload(header, HeaderField::Other(field)) => Some(*header).filter(|header| {
                matches!(
                    (header, *field),
                    (Header::Ip, "id")
                        | (Header::Ip6, "flowlabel")
                        | (Header::Tcp, "window" | "urgptr")
                        | (Header::Udp, "checksum")
                )
            }),
            _ => None,
        };
        let text = self.cursor.text(start, self.cursor.last_end());
        Ok(match header {
            Some(header) => self.aside(start, Some(header), vec![value]),
            None => Statement::Unmodelled(text.into()),
        })
    }

    fn typed_value(&mut self, datatype: Datatype) -> Parsed<Expr> {
        self.expected_data = vec![datatype];
        self.assigned(datatype)
    }

    /// A label by its number, or by a name that no snapshot holds.
    fn label_value(&mut self) -> Parsed<Expr> {
        if self.peek_constant(Datatype::CtLabel).is_some() || self.starts_expression() {
            return self.typed_value(Datatype::CtLabel);
        }
        self.words()
    }

    /// A value whose type is not modelled: an expression, or the words that stand there.
    fn opaque_value(&mut self) -> Parsed<Expr> {
        if self.starts_expression() {
            self.expected_data = vec![Datatype::Opaque];
            return Ok(self.expression()?.expr);
        }
        self.words()
    }

    /// A word, or several behind commas.
    fn words(&mut self) -> Parsed<Expr> {
        let start = self.cursor.start();
        self.cursor.name("a value")?;
        while self.cursor.sign(",") {
            self.cursor.name("a value")?;
        }
        Ok(Expr::Opaque(self.cursor.text(start, self.cursor.last_end()).into()))
    }

    /// Whether an expression starts here, and no constant.
    pub(super) fn starts_expression(&self) -> bool {
        const WORDS: &[&str] =
            &["meta", "ct", "fib", "numgen", "jhash", "symhash", "rt", "socket", "osf", "ipsec", "exthdr"];
        match self.cursor.peek() {
            Token::Sign("(") => true,
            Token::Word(word) => {
                WORDS.contains(&word)
                    || word.starts_with('@')
                    || field::is_bare_meta(word)
                    || field::header(word).is_some()
            }
            _ => false,
        }
    }

    /// A statement that changes nothing on the packet's way, read to its end.
    pub(super) fn aside(&self, start: usize, header: Option<Header>, values: Vec<Expr>) -> Statement {
        self.writing(start, header, (values, None))
    }

    /// The same of one that writes what later rules may ask for.
    fn writing(
        &self,
        start: usize,
        header: Option<Header>,
        (values, writes): (Vec<Expr>, Option<Beside>),
    ) -> Statement {
        let text = self.cursor.text(start, self.cursor.last_end()).into();
        Statement::Aside(Box::new(NftAside { header, values: values.into(), writes, copy_to: None, text }))
    }

    /// `dup to 192.0.2.9 device "eth0"`, and in chains of devices `dup to "eth1"`.
    pub(super) fn dup(&mut self) -> Parsed<Statement> {
        let start = self.cursor.start();
        self.cursor.next();
        if !self.cursor.word("to") {
            return Err(self.cursor.expected("`to`"));
        }
        let address = match self.scope.family {
            NftFamily::Ip => Some(Datatype::Ipv4),
            NftFamily::Ip6 => Some(Datatype::Ipv6),
            NftFamily::Netdev => None,
            // The kernel has it for no other (`nft_dup_ipv4.c`, `nft_dup_ipv6.c`, `nft_dup_netdev.c`).
            _ => return Err(self.cursor.expected("a table of another family")),
        };
        let copy_to = match address {
            Some(address) => {
                let gateway = self.value_of(address)?;
                let device = if self.cursor.word("device") { Some(self.device_value()?) } else { None };
                CopyTo::Gateway(gateway, device)
            }
            None => CopyTo::Device(self.device_value()?),
        };
        let values = match &copy_to {
            CopyTo::Gateway(gateway, device) => [gateway].into_iter().chain(device).cloned().collect(),
            CopyTo::Device(device) => [device.clone()].into(),
        };
        let text = self.cursor.text(start, self.cursor.last_end()).into();
        let copy_to = Some(copy_to);
        Ok(Statement::Aside(Box::new(NftAside { header: None, values, writes: None, copy_to, text })))
    }

    /// `fwd to "eth1"`, `fwd ip to 192.0.2.9 device "eth0"`.
    pub(super) fn fwd(&mut self) -> Parsed<Statement> {
        self.cursor.next();
        let family = match self.cursor.peek_word() {
            Some("ip") => Some((Family::Inet, Datatype::Ipv4)),
            Some("ip6") => Some((Family::Inet6, Datatype::Ipv6)),
            _ => None,
        };
        if family.is_some() {
            self.cursor.next();
        }
        if !self.cursor.word("to") {
            return Err(self.cursor.expected("`to`"));
        }
        let Some((family, datatype)) = family else {
            return Ok(Statement::Fwd(Box::new(NftFwd { neighbor: None, device: self.device_value()? })));
        };
        let address = self.typed_value(datatype)?;
        if !self.cursor.word("device") {
            return Err(self.cursor.expected("`device`"));
        }
        let device = self.device_value()?;
        Ok(Statement::Fwd(Box::new(NftFwd { neighbor: Some((family, address)), device })))
    }

    /// A device's name stands in quotes; a word without them is the start of an expression, or a number.
    fn device_value(&mut self) -> Parsed<Expr> {
        self.value_of(Datatype::Ifindex)
    }

    /// A constant of a type, or an expression that gives one.
    fn value_of(&mut self, datatype: Datatype) -> Parsed<Expr> {
        if self.starts_expression() {
            self.expected_data = vec![datatype];
            return Ok(self.expression()?.expr);
        }
        self.typed_value(datatype)
    }

    /// `flow add @ft`.
    pub(super) fn flow_add(&mut self, start: usize) -> Parsed<Statement> {
        self.track();
        self.cursor.next();
        for word in ["add", "offload"] {
            self.cursor.word(word);
        }
        self.cursor.name("a flowtable's name")?;
        let text = self.cursor.text(start, self.cursor.last_end()).into();
        Ok(Statement::FlowAdd(text))
    }

    /// `tproxy ip to 127.0.0.1:50080`, `tproxy to :tcp dport map { … }`.
    pub(super) fn tproxy(&mut self, start: usize) -> Parsed<Statement> {
        self.cursor.next();
        let family = match self.cursor.peek_word() {
            Some("ip") => Some(Family::Inet),
            Some("ip6") => Some(Family::Inet6),
            _ => None,
        };
        if family.is_some() {
            self.cursor.next();
        }
        if !self.cursor.word("to") {
            return Err(self.cursor.expected("`to`"));
        }
        if self.cursor.peek_word().is_none_or(|word| !word.starts_with(':')) {
            self.opaque_value()?;
        }
        if let Some(word) = self.cursor.peek_word().filter(|word| word.starts_with(':')) {
            if word == ":" {
                self.cursor.next();
            } else {
                self.cursor.shorten(1);
            }
            self.opaque_value()?;
        }
        Ok(Statement::Tproxy { family, text: self.cursor.text(start, self.cursor.last_end()).into() })
    }

    /// `synproxy mss 1460 wscale 7 timestamp sack-perm`, `synproxy name "x"`, `synproxy name ip saddr map @m`.
    pub(super) fn synproxy(&mut self) -> Parsed<Statement> {
        self.track();
        self.cursor.next();
        if !self.cursor.word("name") {
            return Ok(Statement::Synproxy(NftOffer::Rule(self.offered(false)?)));
        }
        let start = self.cursor.start();
        Ok(Statement::Synproxy(match self.object()? {
            Some(map) => NftOffer::Map(map),
            None => NftOffer::Object(self.cursor.text(start, self.cursor.last_end()).trim_matches('"').into()),
        }))
    }

    /// What `synproxy` offers, in a rule or in an object, where each may have its line and 0 is what it has.
    pub(super) fn offered(&mut self, in_object: bool) -> Parsed<NftSynproxy> {
        let mut offered = NftSynproxy { wscale: Some(false), ..NftSynproxy::default() };
        while let Some(word @ ("mss" | "wscale" | "timestamp" | "sack-perm")) = self.cursor.peek_word() {
            self.cursor.next();
            match word {
                "mss" => offered.mss = self.cursor.number::<u32>("a number")? > 0 || in_object,
                "wscale" => {
                    offered.wscale = (self.cursor.number::<u32>("a number")? > 0 || in_object).then_some(true);
                }
                "timestamp" => offered.timestamp = true,
                _ => offered.sack_perm = true,
            }
        }
        Ok(offered)
    }

    /// `reset tcp option timestamp`: the option is taken out of the header (`nft_exthdr_tcp_strip_eval`).
    pub(super) fn reset_option(&mut self, start: usize) -> Parsed<Statement> {
        self.cursor.next();
        for word in ["tcp", "option"] {
            if !self.cursor.word(word) {
                return Err(self.cursor.wrong(Wrong::Needed(word)));
            }
        }
        let writes = match exthdr::tcp_option(self.cursor.name("an option")?) {
            Some(Exthdr::Tcp(kind)) => Some(Beside::NoOption(kind)),
            _ => None,
        };
        Ok(self.writing(start, Some(Header::Tcp), (Vec::new(), writes)))
    }
}

/// What setting an expression writes that decides nothing on a packet's way, and that rules may ask for.
fn beside(left: &Expr) -> Option<Beside> {
    match left {
        Expr::Meta(MetaKey::Priority) => Some(Beside::Priority),
        Expr::Exthdr(Exthdr::Tcp(2), Asks::Bits { offset: 16, length: 16 }, _) => Some(Beside::SegmentSize),
        Expr::Exthdr(Exthdr::Tcp(kind), ..) => Some(Beside::OptionBits(*kind)),
        _ => None,
    }
}
