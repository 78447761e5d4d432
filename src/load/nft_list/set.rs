//! Sets and maps: `set NAME { … }`, `map NAME { … }`, and those that stand in a rule.

use crate::snapshot::nft::{Data, Element, NftSet};

use super::constant::Datatype;
use super::scope::Reader;
use super::token::{Fault, Parsed, Token, Wrong};

/// Why a set is not known of which there are two.
pub(super) const TWICE: &str = "a set of this name stands twice";

/// A key or a value: from where to where each field goes.
type Ends = Vec<(u128, u128)>;

/// What stands after an element's key.
#[derive(Default)]
struct Extras {
    limited: bool,
}

impl Reader<'_, '_> {
    /// A named set or map, from its name on. What is not understood in it goes to `fault`.
    pub(super) fn named_set(&mut self, map: bool, fault: &mut dyn FnMut(Fault)) -> Parsed<NftSet> {
        let evidence = (self.line_of)(self.cursor.line());
        let again = self.cursor.wrong(Wrong::Is(TWICE));
        let name = self.cursor.name("a set's name")?;
        let twice = self.scope.sets.contains_key(name);
        self.cursor.need("{")?;
        let mut types: (Vec<Datatype>, Vec<Datatype>) = (vec![Datatype::Opaque], Vec::new());
        let mut set = NftSet::new(name.into(), 1, Some(evidence));
        loop {
            match self.cursor.peek() {
                Token::Sign("}") => break,
                Token::Sign(";") => {
                    self.cursor.next();
                }
                Token::End => return Err(self.cursor.expected("`}`")),
                Token::Word("type" | "typeof") => {
                    match self.set_types(map) {
                        Ok(read) => types = read,
                        Err(wrong) => {
                            set.unread = Some("its type is not understood".into());
                            fault(wrong);
                            self.skip_line();
                        }
                    }
                    set.fields = types.0.len().max(1);
                    self.scope.sets.insert(name.to_owned(), types.clone());
                }
                Token::Word("elements") => {
                    self.cursor.next();
                    self.cursor.need("=")?;
                    if types.0.contains(&Datatype::Opaque) && self.cursor.peek() == Token::Sign("{") {
                        self.skip_braces();
                        continue;
                    }
                    set.reserve(self.elements_ahead());
                    self.elements(&mut set, &types.0, map.then_some(&types.1), Some(fault))?;
                    set.shrink();
                }
                _ => self.skip_set_option(),
            }
        }
        self.cursor.need("}")?;
        if types.0.contains(&Datatype::Opaque) {
            set.unread.get_or_insert_with(|| "its type is not modelled".into());
        }
        if twice {
            fault(again);
            self.scope.twice.insert(name);
        }
        Ok(set)
    }

    /// `flags interval`, `timeout 3h`, `comment "…"`, `counter`: they change nothing about what it holds.
    fn skip_set_option(&mut self) {
        self.cursor.next();
        self.skip_line();
    }

    /// `type a . b : c`, `typeof ip daddr . tcp dport : meta mark`.
    fn set_types(&mut self, map: bool) -> Parsed<(Vec<Datatype>, Vec<Datatype>)> {
        let of = self.cursor.next() == Token::Word("typeof");
        let key = self.type_list(of)?;
        let mut data = Vec::new();
        if map {
            if !self.cursor.word(":") {
                return Err(self.cursor.expected("`:`"));
            }
            while self.cursor.word("interval") {}
            let object = ["counter", "quota", "limit", "synproxy", "secmark"];
            if self.cursor.peek_word().is_some_and(|word| object.contains(&word)) {
                self.cursor.next();
                return Ok((key, vec![Datatype::Opaque]));
            }
            let verdict = self.cursor.is_word("verdict");
            data = self.type_list(of && !verdict)?;
        }
        Ok((key, data))
    }

    fn type_list(&mut self, of: bool) -> Parsed<Vec<Datatype>> {
        if of {
            let tracks = self.tracks;
            let types = self.expression()?.types;
            self.tracks = tracks;
            return Ok(types);
        }
        let mut types = Vec::new();
        loop {
            types.push(Datatype::of_word(self.cursor.name("a type")?));
            if !self.cursor.word(".") {
                return Ok(types);
            }
        }
    }

    /// `{ a, b }` in a rule, which is not understood where an element is not: it may be behind a lost brace.
    pub(super) fn anonymous_set(&mut self, key: &[Datatype], data: &[Datatype]) -> Parsed<NftSet> {
        let mut set = NftSet::new("".into(), key.len(), None);
        let data = (!data.is_empty()).then_some(data);
        self.elements(&mut set, key, data, None)?;
        Ok(set)
    }

    /// `{ … }`: an element that is not understood makes the set uncertain, and the rest stands, where there is a `fault`
    /// to tell it.
    fn elements(
        &mut self,
        set: &mut NftSet,
        key: &[Datatype],
        data: Option<&(impl AsRef<[Datatype]> + ?Sized)>,
        fault: Option<&mut dyn FnMut(Fault)>,
    ) -> Parsed<()> {
        let bound = std::mem::replace(&mut self.cursor.line_bound, false);
        let read = self.all_elements(set, key, data.map(AsRef::as_ref), fault);
        self.cursor.line_bound = bound;
        read
    }

    fn all_elements(
        &mut self,
        set: &mut NftSet,
        key: &[Datatype],
        data: Option<&[Datatype]>,
        mut fault: Option<&mut dyn FnMut(Fault)>,
    ) -> Parsed<()> {
        let mut tell = |set: &mut NftSet, wrong: Fault| {
            let Some(fault) = &mut fault else { return Err(wrong) };
            set.unread = Some("an element is not understood".into());
            fault(wrong);
            Ok(())
        };
        self.cursor.need("{")?;
        while !self.cursor.sign("}") {
            if self.cursor.peek() == Token::End {
                return Err(self.cursor.expected("`}`"));
            }
            if let Err(wrong) = self.element(set, key, data) {
                tell(set, wrong)?;
                self.skip_element();
            }
            if !self.cursor.sign(",") && self.cursor.peek() != Token::Sign("}") {
                let wrong = self.cursor.expected("`,`");
                tell(set, wrong)?;
                self.skip_element();
                self.cursor.sign(",");
            }
        }
        Ok(())
    }

    /// How many elements there are at most between the braces that open here.
    fn elements_ahead(&self) -> usize {
        // Usual elements are no shorter; what is only commas gets no room.
        const SHORT: usize = 8;
        let (commas, bytes) = self.cursor.listed();
        (commas + 1).min(bytes / SHORT)
    }

    fn skip_element(&mut self) {
        while !matches!(self.cursor.peek(), Token::End | Token::Sign("," | "}")) {
            if self.cursor.peek() == Token::Sign("{") {
                self.skip_braces();
            } else {
                self.cursor.next();
            }
        }
    }

    fn element(&mut self, set: &mut NftSet, types: &[Datatype], data: Option<&[Datatype]>) -> Parsed<()> {
        let evidence = (self.line_of)(self.cursor.line());
        let catchall = self.cursor.word("*");
        let key = if catchall { Vec::new() } else { self.key(types)? };
        let mut extras = self.extras()?;
        let data = match data {
            Some(types) => {
                if !self.cursor.word(":") {
                    return Err(self.cursor.expected("`:`"));
                }
                let data = self.data(types)?;
                let more = self.extras()?;
                extras.limited |= more.limited;
                data
            }
            None => Data::None,
        };
        let element = Element { data, evidence, limited: extras.limited };
        if catchall {
            set.set_catchall(element);
        } else if !set.add(&key, element) {
            return Err(self.cursor.expected("a key of as many fields as the set's"));
        }
        Ok(())
    }

    /// One field after the other, each a value, a prefix or a range; flags may be joined by commas only in newer
    /// versions' parentheses.
    fn key(&mut self, types: &[Datatype]) -> Parsed<Ends> {
        let mut ends = Vec::with_capacity(types.len());
        for (place, datatype) in types.iter().enumerate() {
            if place > 0 && !self.cursor.word(".") {
                return Err(self.cursor.expected("`.`"));
            }
            ends.push(self.ends(*datatype)?);
        }
        Ok(ends)
    }

    fn ends(&mut self, datatype: Datatype) -> Parsed<(u128, u128)> {
        let Some(ends) = self.peek_constant(datatype) else {
            return Err(self.cursor.expected("an element"));
        };
        self.cursor.next();
        if !datatype.is_bitmask() {
            return Ok(ends);
        }
        let mut value = ends.0;
        while self.cursor.sign("|") {
            let Some((more, _)) = self.peek_constant(datatype) else { return Err(self.cursor.expected("a flag")) };
            self.cursor.next();
            value |= more;
        }
        Ok((value, value))
    }

    /// What a map has for a key. A nat map may leave the port out.
    fn data(&mut self, types: &[Datatype]) -> Parsed<Data> {
        if types == [Datatype::Verdict] {
            return Ok(Data::Verdict(self.verdict()?));
        }
        if types.contains(&Datatype::Opaque) {
            let name = self.cursor.name("a value")?;
            return Ok(Data::Opaque(name.into()));
        }
        let mut ends = Vec::with_capacity(types.len());
        for datatype in types {
            if !ends.is_empty() && !self.cursor.word(".") {
                break;
            }
            ends.push(self.ends(*datatype)?);
        }
        Ok(Data::Value(ends.into_boxed_slice()))
    }

    /// `timeout 3h expires 2h59m`, `counter packets 0 bytes 0`, `comment "…"`, and statements of its own.
    fn extras(&mut self) -> Parsed<Extras> {
        let mut extras = Extras::default();
        loop {
            match self.cursor.peek_word() {
                Some("timeout" | "expires" | "comment" | "flags") => {
                    self.cursor.next();
                    self.cursor.name("a value")?;
                }
                Some("counter") => {
                    self.cursor.next();
                    if self.cursor.word("packets") {
                        self.cursor.number::<u64>("a number")?;
                        if !self.cursor.word("bytes") {
                            return Err(self.cursor.expected("`bytes`"));
                        }
                        self.cursor.number::<u64>("a number")?;
                    }
                }
                Some("last") => {
                    self.cursor.next();
                    if self.cursor.word("used") {
                        self.cursor.name("a time")?;
                    }
                }
                Some("limit" | "quota" | "ct") => {
                    extras.limited = true;
                    while !matches!(self.cursor.peek(), Token::End | Token::Sign("," | "}") | Token::Word(":")) {
                        self.cursor.next();
                    }
                }
                _ => return Ok(extras),
            }
        }
    }
}
