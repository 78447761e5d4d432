//! Statements of a rule (`src/statement.c` of nftables).

use crate::snapshot::nft::{
    DynOp, Expr, NftDynset, NftLimit, NftQuota, NftQuotaOf, NftReject, NftVerdict as Verdict, Statement,
};
use crate::snapshot::{NftChain, NftFamily, NftRule};

use super::constant::{self, Datatype};
use super::expression::Typed;
use super::scope::Reader;
use super::token::{Fault, Parsed, Token};

/// No rule has more expressions (`NFT_RULE_MAXEXPRS` in `net/netfilter/nf_tables_api.c`), and each statement is one at
/// least.
const MOST: usize = 128;

/// Chains that stand in rules inside each other beyond this are no listing.
const MAX_BOUND: u32 = 8;

impl Reader<'_, '_> {
    /// A rule to its end. One that isn't understood is kept as written, and told.
    pub(super) fn rule(&mut self, fault: &mut dyn FnMut(Fault)) -> NftRule {
        let (start, line) = (self.cursor.start(), self.cursor.line());
        let bound = self.cursor.start_rule();
        let mut place = self.cursor;
        self.tracks = None;
        let mut statements = Vec::new();
        let read = self.statements(&mut statements);
        let stuck = self.cursor.start() == start;
        if let Err(wrong) = read.and_then(|()| if stuck { Err(self.cursor.expected("a statement")) } else { Ok(()) }) {
            fault(wrong);
            std::mem::swap(&mut self.cursor, &mut place);
            // The rule's first token stands on a line of its own.
            self.cursor.next();
            self.skip_rule();
            let text = self.cursor.text(start, self.cursor.last_end());
            statements.clear();
            statements.push(Statement::Unread(text.into()));
            if text.split_ascii_whitespace().any(|word| word == "ct") {
                self.track();
            }
        }
        let end = self.cursor.last_end();
        self.cursor.line_bound = bound;
        NftRule {
            statements: statements.into_boxed_slice(),
            tracks: self.tracks,
            evidence: (self.line_of)(line),
            index: 0,
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(end).unwrap_or(u32::MAX),
        }
    }

    fn statements(&mut self, statements: &mut Vec<Statement>) -> Parsed<()> {
        loop {
            if self.cursor.word("comment") {
                self.cursor.name("a comment")?;
            } else {
                if statements.len() == MOST {
                    return Err(self.cursor.expected("the rule's end (no rule has more than 128 expressions)"));
                }
                if !self.ebt_redirect(statements) {
                    let statement = self.statement()?;
                    statements.push(statement);
                }
            }
            if self.at_end() {
                return Ok(());
            }
        }
    }

    /// ebtables' `redirect`, if it stands here, as nft prints it in the words of iptables' extension. Up to iptables
    /// 1.8.9 these are no syntax of nft's, and leave `accept` out; later they are `meta pkttype set host`, which no other
    /// target of ebtables has, and the verdict (`brredir_xlate` in iptables' `extensions/libebt_redirect.c`).
    fn ebt_redirect(&mut self, statements: &mut Vec<Statement>) -> bool {
        let place = self.cursor;
        if self.scope.family != NftFamily::Bridge {
            return false;
        }
        if ["meta", "set", "pkttype", "host"].iter().all(|word| self.cursor.word(word)) {
            statements.push(Statement::RedirectFrame { has_verdict: true });
            if self.at_end() || self.cursor.is_word("comment") {
                statements.push(Statement::Verdict(Verdict::Accept));
            }
            return true;
        }
        self.cursor = place;
        let is_target = self.cursor.word("xt") && self.cursor.word("target");
        if is_target && self.cursor.name("a target").is_ok_and(|name| name == "redirect") {
            let has_verdict = matches!(statements.last(), Some(Statement::SetPkttype(_)));
            statements.push(Statement::RedirectFrame { has_verdict });
            return true;
        }
        self.cursor = place;
        false
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let start = self.cursor.start();
        let Some(word) = self.cursor.peek_word() else { return self.condition() };
        match word {
            "accept" | "drop" | "continue" | "return" | "jump" | "goto" => Ok(Statement::Verdict(self.verdict()?)),
            "queue" => Ok(self.queue()),
            "reject" => self.reject(),
            "dnat" | "snat" | "masquerade" | "redirect" => self.nat(word),
            "counter" => self.counter(start),
            "limit" => self.limit(start),
            "quota" => self.quota(),
            "log" => self.log(start),
            "last" => {
                self.cursor.next();
                if self.cursor.word("used") {
                    self.cursor.name("a time")?;
                }
                Ok(Statement::Harmless("last".into()))
            }
            "notrack" => {
                self.cursor.next();
                Ok(Statement::Notrack)
            }
            "add" | "update" | "delete" => self.dynset(word),
            "meter" => self.meter(start),
            "dup" => self.dup(),
            "fwd" => self.fwd(),
            "flow" => self.flow_add(start),
            "tproxy" => self.tproxy(start),
            "synproxy" => self.synproxy(),
            "reset" => self.reset_option(start),
            // `set add ip saddr @set`, as old versions write it, and what iptables' extensions say to nft.
            "set" | "xt" => Ok(Statement::Unmodelled(self.rest_of_line(start).into())),
            "ct" => self.ct_statement(start),
            _ => self.condition(),
        }
    }

    /// A condition, an assignment or a verdict map: what starts with an expression.
    fn condition(&mut self) -> Parsed<Statement> {
        let start = self.cursor.start();
        let left = self.expression()?;
        if self.cursor.is_word("set") {
            return self.assignment(left, start);
        }
        if self.cursor.word("vmap") {
            self.expected_data = vec![Datatype::Verdict];
            let (set, _) = self.set_operand(&left.types, true)?;
            return Ok(Statement::Vmap(Box::new((left.expr, set))));
        }
        self.relation(left, start)
    }

    /// What a mark or a field becomes.
    pub(super) fn assigned(&mut self, datatype: Datatype) -> Parsed<Expr> {
        if let Some((low, high)) = self.peek_constant(datatype)
            && low == high
        {
            self.cursor.next();
            return Ok(Expr::Value(low.into()));
        }
        Ok(self.expression()?.expr)
    }

    /// `accept`, `jump CHAIN`, in a rule or in a map.
    pub(super) fn verdict(&mut self) -> Parsed<Verdict> {
        let fault = self.cursor.expected("a verdict");
        let Some(word) = self.cursor.peek_word() else { return Err(fault) };
        let plain = match word {
            "accept" => Verdict::Accept,
            "drop" => Verdict::Drop,
            "continue" => Verdict::Continue,
            "return" => Verdict::Return,
            "queue" => Verdict::Queue(false),
            "jump" | "goto" => {
                self.cursor.next();
                let chain = if self.cursor.peek() == Token::Sign("{") {
                    let bound = self.bound_chain()?;
                    self.scope.mention(&bound)
                } else {
                    let name = self.cursor.name("a chain")?;
                    self.scope.mention(name)
                };
                return Ok(if word == "jump" { Verdict::Jump(chain) } else { Verdict::Goto(chain) });
            }
            _ => return Err(fault),
        };
        self.cursor.next();
        Ok(plain)
    }

    /// `jump { … }`: a chain of the rule's own. Its name.
    fn bound_chain(&mut self) -> Parsed<String> {
        if self.depth >= MAX_BOUND {
            return Err(self.cursor.expected("fewer chains inside each other"));
        }
        if !self.block_ends() {
            return Err(self.cursor.expected("a chain whose brace is closed"));
        }
        let evidence = (self.line_of)(self.cursor.line());
        let tracks = self.tracks;
        self.cursor.next();
        let bound = std::mem::replace(&mut self.cursor.line_bound, false);
        self.depth += 1;
        let mut rules = Vec::new();
        let mut first = None;
        loop {
            if self.cursor.sign(";") {
                continue;
            }
            if matches!(self.cursor.peek(), Token::Sign("}") | Token::End) {
                break;
            }
            rules.push(self.rule(&mut |fault| {
                first.get_or_insert(fault);
            }));
        }
        self.depth -= 1;
        let closed = self.cursor.need("}");
        self.cursor.line_bound = bound;
        closed?;
        self.tracks = self.tracks.or(tracks);
        let name = format!("__chain{}", self.bound.len());
        self.bound.push(NftChain { name: name.as_str().into(), hook: None, rules, open: None, evidence });
        first.map_or(Ok(name), Err)
    }

    /// `queue flags bypass to 1-3`, `queue num 1 bypass`.
    fn queue(&mut self) -> Statement {
        let start = self.cursor.start();
        self.cursor.next();
        while !self.at_end() && !self.cursor.is_word("comment") {
            self.cursor.next();
        }
        let text = self.cursor.text(start, self.cursor.last_end());
        let bypass = text.split([' ', ',']).any(|word| word == "bypass");
        Statement::Verdict(Verdict::Queue(bypass))
    }

    /// `reject with icmp port-unreachable`, `reject with tcp reset`.
    fn reject(&mut self) -> Parsed<Statement> {
        self.cursor.next();
        let mut with = match self.scope.family {
            NftFamily::Ip => NftReject::Icmp(3, 3),
            NftFamily::Ip6 => NftReject::Icmpv6(1, 4),
            _ => NftReject::Icmpx(1),
        };
        if self.cursor.word("with") {
            let fault = self.cursor.expected("what it is rejected with");
            let kind = self.cursor.name("what it is rejected with")?;
            if kind == "tcp" {
                self.cursor.name("`reset`")?;
                return Ok(Statement::Reject(NftReject::TcpReset));
            }
            self.cursor.word("type");
            let word = self.cursor.name("a code")?;
            let code = |names: &[(&str, u128)]| constant::code(names, word).ok_or(fault);
            with = match kind {
                "icmp" => NftReject::Icmp(3, code(constant::ICMP_CODES)?),
                "icmpv6" => NftReject::Icmpv6(1, code(constant::ICMPV6_CODES)?),
                "icmpx" => NftReject::Icmpx(code(constant::ICMPX_CODES)?),
                _ => return Err(fault),
            };
        }
        Ok(Statement::Reject(with))
    }

    /// `counter packets 0 bytes 0`, `counter name "x"`.
    fn counter(&mut self, start: usize) -> Parsed<Statement> {
        self.cursor.next();
        if self.cursor.word("name") {
            return self.object_use(start);
        }
        if self.cursor.word("packets") {
            self.cursor.number::<u64>("a number")?;
            if !self.cursor.word("bytes") {
                return Err(self.cursor.expected("`bytes`"));
            }
            self.cursor.number::<u64>("a number")?;
        }
        let text = self.cursor.text(start, self.cursor.last_end());
        Ok(Statement::Harmless(text.into()))
    }

    /// What an object that decides nothing is used for. A map of objects that has none for the packet ends the rule
    /// (`nft_objref_map_eval` in `net/netfilter/nft_objref.c`).
    fn object_use(&mut self, start: usize) -> Parsed<Statement> {
        let map = self.object()?;
        let text = self.cursor.text(start, self.cursor.last_end());
        Ok(match map {
            Some(map) => self.aside(start, None, vec![map]),
            None => Statement::Harmless(text.into()),
        })
    }

    /// The name of an object, or a map that has names.
    pub(super) fn object(&mut self) -> Parsed<Option<Expr>> {
        if matches!(self.cursor.peek(), Token::Quoted(_)) {
            self.cursor.next();
            return Ok(None);
        }
        let place = self.cursor;
        self.expected_data = vec![Datatype::Opaque];
        if let Ok(Typed { expr: map @ Expr::Map(..), .. }) = self.expression() {
            return Ok(Some(map));
        }
        self.cursor = place;
        self.cursor.name("an object's name")?;
        Ok(None)
    }

    /// `limit rate over 10/second burst 5 packets`, `limit name "x"`.
    fn limit(&mut self, start: usize) -> Parsed<Statement> {
        self.cursor.next();
        let mut map = None;
        if self.cursor.word("name") {
            map = self.object()?.map(Box::new);
        } else {
            if !self.cursor.word("rate") {
                return Err(self.cursor.expected("`rate`"));
            }
            self.cursor.word("over");
            let fault = self.cursor.expected("a rate for each second, minute, hour, day or week");
            let rate = self.cursor.name("a rate")?;
            let (count, per) = match rate.split_once('/') {
                Some(rate) => rate,
                None => (rate, self.cursor.name("a unit")?.split_once('/').map_or("", |(_, per)| per)),
            };
            let known = matches!(per, "second" | "minute" | "hour" | "day" | "week");
            if !known || count.parse::<u64>().is_err() {
                return Err(fault);
            }
            if self.cursor.word("burst") {
                self.cursor.name("a burst")?;
                self.cursor.name("a unit")?;
            }
        }
        let text = self.cursor.text(start, self.cursor.last_end());
        Ok(Statement::Limit(NftLimit { text: text.into(), map }))
    }

    /// `quota over 25 mbytes used 3 bytes`, `quota name "x"`.
    fn quota(&mut self) -> Parsed<Statement> {
        self.cursor.next();
        if self.cursor.word("name") {
            let named = self.cursor.start();
            return Ok(Statement::Quota(match self.object()? {
                Some(map) => NftQuotaOf::Map(Box::new(map)),
                None => NftQuotaOf::Object(self.cursor.text(named, self.cursor.last_end()).trim_matches('"').into()),
            }));
        }
        self.allowed().map(NftQuotaOf::Rule).map(Statement::Quota)
    }

    /// What a quota allows, in a rule or in an object.
    pub(super) fn allowed(&mut self) -> Parsed<NftQuota> {
        let over = self.cursor.word("over");
        self.cursor.word("until");
        let bytes = self.bytes()?;
        // Where nothing was used, nft leaves it out (`quota_stmt_print` in nftables' `src/statement.c`).
        let used = if self.cursor.word("used") { self.bytes()? } else { 0 };
        Ok(NftQuota { over, bytes, used })
    }

    fn bytes(&mut self) -> Parsed<u64> {
        let number: u64 = self.cursor.number("a number")?;
        let fault = self.cursor.expected("bytes, kbytes or mbytes");
        let unit = match self.cursor.name("a unit")? {
            "bytes" => 1,
            "kbytes" => 1 << 10,
            "mbytes" => 1 << 20,
            "gbytes" => 1 << 30,
            _ => return Err(fault),
        };
        Ok(number.saturating_mul(unit))
    }

    /// `log prefix "x" level debug flags all`.
    fn log(&mut self, start: usize) -> Parsed<Statement> {
        self.cursor.next();
        loop {
            match self.cursor.peek_word() {
                Some("prefix" | "level" | "group" | "snaplen" | "queue-threshold") => {
                    self.cursor.next();
                    self.cursor.name("a value")?;
                }
                Some("flags") => self.log_flags()?,
                _ => break,
            }
            if self.at_end() {
                break;
            }
        }
        let text = self.cursor.text(start, self.cursor.last_end());
        Ok(Statement::Harmless(text.into()))
    }

    /// `flags all`, `flags tcp sequence,options`, `flags ip options` (`log_stmt_print` in nftables' `src/statement.c`).
    fn log_flags(&mut self) -> Parsed<()> {
        self.cursor.next();
        if matches!(self.cursor.name("a flag")?, "tcp" | "ip") {
            self.cursor.name("an option")?;
            while self.cursor.sign(",") {
                self.cursor.name("an option")?;
            }
        }
        Ok(())
    }

    /// `meter f size 1024 { ip saddr limit rate 10/second }`: what each key has used up, nft doesn't list.
    fn meter(&mut self, start: usize) -> Parsed<Statement> {
        self.cursor.next();
        self.cursor.name("a meter's name")?;
        if self.cursor.word("size") {
            self.cursor.number::<u32>("a number")?;
        }
        self.cursor.need("{")?;
        self.expression()?;
        self.dynset_extras()?;
        self.cursor.need("}")?;
        let text = self.cursor.text(start, self.cursor.last_end());
        Ok(Statement::Unknowable(text.into()))
    }

    /// `update @set { ip saddr timeout 1h : value }`.
    fn dynset(&mut self, word: &str) -> Parsed<Statement> {
        let op = match word {
            "add" => DynOp::Add,
            "update" => DynOp::Update,
            _ => DynOp::Delete,
        };
        self.cursor.next();
        let fault = self.cursor.expected("a set's name");
        let set = self.cursor.peek_word().and_then(|word| word.strip_prefix('@')).ok_or(fault)?;
        self.note_set(set);
        self.cursor.next();
        self.cursor.need("{")?;
        let key = self.expression()?;
        let mut limited = self.dynset_extras()?;
        let value = if self.cursor.word(":") {
            let types = self.scope.sets.get(set).map_or_else(Vec::new, |(_, data)| data.clone());
            let fields = self.dynset_value(&types)?;
            limited |= self.dynset_extras()?;
            Some(fields)
        } else {
            None
        };
        self.cursor.need("}")?;
        Ok(Statement::Dynset(Box::new(NftDynset { op, set: set.into(), key: key.expr, value, limited })))
    }

    fn dynset_value(&mut self, types: &[Datatype]) -> Parsed<Expr> {
        if types == [Datatype::Verdict] {
            return Err(self.cursor.expected("a value that isn't a verdict"));
        }
        let first = types.first().copied().unwrap_or(Datatype::Opaque);
        if self.peek_constant(first).is_some() {
            let mut fields = Vec::new();
            for (place, datatype) in types.iter().enumerate() {
                if place > 0 && !self.cursor.word(".") {
                    return Err(self.cursor.expected("`.`"));
                }
                fields.push(self.assigned(*datatype)?);
            }
            return Ok(Expr::Concat(fields.into_boxed_slice()));
        }
        Ok(self.expression()?.expr)
    }

    /// What stands after a key. Whether it can stop the rule.
    fn dynset_extras(&mut self) -> Parsed<bool> {
        let mut limited = false;
        loop {
            match self.cursor.peek() {
                Token::Sign("}") | Token::Word(":") | Token::End => return Ok(limited),
                Token::Word(word @ ("limit" | "quota" | "ct")) => {
                    limited = true;
                    if word == "ct" {
                        // `ct count` (`nft_connlimit_init`).
                        self.track();
                    }
                    self.cursor.next();
                }
                Token::Word(_) | Token::Quoted(_) => {
                    self.cursor.next();
                }
                Token::Sign(_) => return Err(self.cursor.expected("`}`")),
            }
        }
    }

    /// `ct helper set "ftp"`, `ct count over 10`, or a condition.
    fn ct_statement(&mut self, start: usize) -> Parsed<Statement> {
        let place = self.cursor;
        self.cursor.next();
        match self.cursor.peek_word() {
            Some("count") => {
                self.cursor.next();
                self.cursor.word("over");
                self.cursor.number::<u64>("a number")?;
                self.track();
                let text = self.cursor.text(start, self.cursor.last_end());
                Ok(Statement::Unknowable(text.into()))
            }
            Some("helper" | "timeout" | "expectation") => {
                self.cursor.next();
                if self.cursor.word("set") {
                    self.track();
                    return self.object_use(start);
                }
                self.cursor = place;
                self.condition()
            }
            _ => {
                self.cursor = place;
                self.condition()
            }
        }
    }
}
