//! `dnat`, `snat`, `masquerade` and `redirect`.

use crate::snapshot::NftFamily;
use crate::snapshot::nft::{Expr, NatKind, NftNat, Statement};

use super::constant::Datatype;
use super::scope::Reader;
use super::token::{Parsed, Token};

/// Both ends of a range.
type Range = (Expr, Option<Expr>);

impl<'a> Reader<'a, '_> {
    /// From the statement's word on.
    pub(super) fn nat(&mut self, word: &str) -> Parsed<Statement> {
        self.cursor.next();
        let kind = match word {
            "dnat" => NatKind::Dnat,
            "snat" => NatKind::Snat,
            "masquerade" => NatKind::Masquerade,
            _ => NatKind::Redirect,
        };
        let mut nat = NftNat {
            kind,
            six: None,
            addr: None,
            port: None,
            prefix: false,
            random: false,
            fully_random: false,
            persistent: false,
        };
        if self.cursor.is_word("ip") || self.cursor.is_word("ip6") {
            nat.six = Some(self.cursor.is_word("ip6"));
            self.cursor.next();
        }
        match nat.six.filter(|_| self.scope.family == NftFamily::Inet && self.tracks.is_none()) {
            Some(true) => self.tracks = Some(NftFamily::Ip6),
            Some(false) => self.tracks = Some(NftFamily::Ip),
            None => self.track(),
        }
        nat.prefix = self.cursor.word("prefix");
        // `ip addr . port to`, `interval to`: what the map has, which its type says too.
        while matches!(self.cursor.peek_word(), Some("addr" | "port" | "." | "interval")) {
            self.cursor.next();
        }
        if self.cursor.word("to") {
            self.nat_target(&mut nat)?;
        }
        self.nat_flags(&mut nat);
        Ok(Statement::Nat(Box::new(nat)))
    }

    fn nat_target(&mut self, nat: &mut NftNat) -> Parsed<()> {
        let datatype = if nat.six.unwrap_or(self.scope.is_six()) { Datatype::Ipv6 } else { Datatype::Ipv4 };
        let Some(word) = self.cursor.peek_word() else { return Err(self.cursor.expected("an address or a port")) };
        if let Some(port) = word.strip_prefix(':') {
            return self.nat_port(nat, word, port);
        }
        if let Some((addr, port)) = split(word)
            && let Some((low, high)) = range(datatype, addr)
        {
            let ports = port.map(|port| Datatype::Service.constant(port, false));
            if ports == Some(None) {
                return Err(self.cursor.expected("an address and a port"));
            }
            self.cursor.next();
            nat.addr = Some(ends(low, high));
            nat.port = ports.flatten().map(|(low, high)| ends(low, high));
            return Ok(());
        }
        self.expected_data = vec![datatype, Datatype::Service];
        let typed = self.expression()?;
        nat.addr = Some((typed.expr, None));
        // `dnat to ip saddr map { … }:80`.
        if let Some(word) = self.cursor.peek_word()
            && let Some(port) = word.strip_prefix(':')
        {
            return self.nat_port(nat, word, port);
        }
        Ok(())
    }

    /// `:80`, `:1024-2048`, `:tcp dport map { … }`.
    fn nat_port(&mut self, nat: &mut NftNat, word: &'a str, port: &str) -> Parsed<()> {
        if let Some((low, high)) = Datatype::Service.constant(port, false) {
            self.cursor.next();
            nat.port = Some(ends(low, high));
            return Ok(());
        }
        // The colon stands at an expression's first word: the reader goes on behind it.
        self.cursor.shorten(word.len() - port.len());
        self.expected_data = vec![Datatype::Service];
        nat.port = Some((self.expression()?.expr, None));
        Ok(())
    }

    fn nat_flags(&mut self, nat: &mut NftNat) {
        loop {
            match self.cursor.peek() {
                Token::Word("random") => nat.random = true,
                Token::Word("fully-random") => nat.fully_random = true,
                Token::Word("persistent") => nat.persistent = true,
                Token::Word("prefix") => nat.prefix = true,
                _ => return,
            }
            self.cursor.next();
            self.cursor.sign(",");
        }
    }
}

/// An address and the port behind it: `10.0.0.1:80`, `[2001:db8::1]:80`, `[2001:db8::1]-[2001:db8::9]:80`.
fn split(word: &str) -> Option<(&str, Option<&str>)> {
    if !word.contains('[') {
        // More than one colon is an IPv6 address.
        return Some(match word.split_once(':') {
            Some((addr, port)) if !port.contains(':') => (addr, Some(port)),
            _ => (word, None),
        });
    }
    let close = word.rfind(']')?;
    let (addr, rest) = word.split_at_checked(close + 1)?;
    Some((addr, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) }))
}

fn range(datatype: Datatype, addr: &str) -> Option<(u128, u128)> {
    datatype.constant(addr, false)
}

fn ends(low: u128, high: u128) -> Range {
    (Expr::Value(low.into()), (low != high).then(|| Expr::Value(high.into())))
}
