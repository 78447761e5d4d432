//! Looks keys up in sets and maps (`nft_lookup.c`, `nft_set_hash.c`, `nft_set_rbtree.c`, `nft_set_pipapo.c`).

use crate::snapshot::nft::{Data, Element, Expr, NftSet, NumgenMode, SetRef};

use super::super::skb::Asked;
use super::super::walk::{Walk, Why};
use super::doubt::{Doubt, Field, Holds};
use super::load::Break;
use super::statement::Run;
use super::write::{State, written_element};

/// The most elements among which a key that nobody knows can be one.
const MAX_CANDIDATES: usize = 64;

/// What a key is found to be.
enum Found<'e> {
    Element(&'e Element),
    /// An element that a rule made on the way, with what a map got for it.
    Written(Option<Vec<(u128, u128)>>),
    Nothing,
    Unknown(Doubt),
}

impl<'a> Run<'a> {
    /// A set by its name, or the rule's own.
    fn set<'r>(&self, set: &'r SetRef) -> Option<&'r NftSet>
    where
        'a: 'r,
    {
        match set {
            SetRef::Named(name) => self.info.table.set(name),
            SetRef::Anonymous(set) => Some(set),
        }
    }

    /// Whether a set holds a key.
    pub(super) fn is_in_set(&mut self, walk: &mut Walk, key: &'a Expr, set: &'a SetRef) -> Result<Holds, Break> {
        let fields = self.load(walk, key)?;
        Ok(match self.find(walk, &fields, set) {
            Found::Element(element) => {
                self.because.push(element.evidence);
                if element.limited { Holds::Unknown(Doubt::fresh("the limit of the element")) } else { Holds::Yes }
            }
            Found::Written(_) => Holds::Yes,
            Found::Nothing => Holds::No,
            Found::Unknown(doubt) => Holds::Unknown(doubt),
        })
    }

    /// What a map holds for a key; a key that it doesn't hold ends the rule.
    pub(super) fn lookup(
        &mut self,
        walk: &mut Walk,
        key: &'a Expr,
        set: &'a SetRef,
    ) -> Result<Result<Data, Doubt>, Break> {
        if matches!(key, Expr::Numgen { .. }) {
            walk.ask_piece(Asked::Each);
        }
        if let Expr::Numgen { mode: NumgenMode::Random, modulus, offset } = key
            && let Some(map) = self.set(set)
            && map.unread.is_none()
        {
            return self.drawn(walk, map, *modulus, *offset).map(Ok).ok_or(Break);
        }
        let fields = self.load(walk, key)?;
        match self.find(walk, &fields, set) {
            Found::Element(element) => {
                self.because.push(element.evidence);
                Ok(Ok(element.data.clone()))
            }
            Found::Written(Some(ends)) => Ok(Ok(Data::Value(ends.into_boxed_slice()))),
            Found::Written(None) | Found::Nothing => Err(Break),
            Found::Unknown(doubt) => self.among(walk, &fields, set, doubt),
        }
    }

    fn find(&self, walk: &Walk, fields: &[Field], set: &'a SetRef) -> Found<'a> {
        let Some(elements) = self.set(set) else {
            let name = if let SetRef::Named(name) = set { name } else { "" };
            return Found::Unknown(Doubt::fact(format!("set {name}, which is not in the file,")));
        };
        let known: Result<Vec<u128>, Doubt> = fields.iter().cloned().collect();
        let key = match known {
            Ok(key) => key,
            Err(doubt) if candidates(elements, fields).next().is_some() => return Found::Unknown(doubt),
            // Whatever the unknown field is, no element fits.
            Err(_) => return elements.catchall().map_or(Found::Nothing, Found::Element),
        };
        if let SetRef::Named(name) = set
            && let Some(written) = written_element(walk, self.info.table, name, &key)
        {
            return match written {
                State::There(data) => Found::Written(data.clone()),
                State::Gone => Found::Nothing,
            };
        }
        match elements.lookup(&key) {
            Some(element) => Found::Element(element),
            None if elements.unread.is_some() => {
                let why = elements.unread.as_deref().unwrap_or("");
                Found::Unknown(Doubt::fact(format!("what is in set {} ({why})", elements.name)))
            }
            None => elements.catchall().map_or(Found::Nothing, Found::Element),
        }
    }

    /// One of the elements that a key may be that is not known, or none.
    fn among(
        &mut self,
        walk: &mut Walk,
        fields: &[Field],
        set: &'a SetRef,
        doubt: Doubt,
    ) -> Result<Result<Data, Doubt>, Break> {
        let Some(map) = self.set(set).filter(|map| map.unread.is_none()) else { return Ok(Err(doubt)) };
        let fitting: Vec<(String, &Element)> = candidates(map, fields).take(MAX_CANDIDATES + 1).collect();
        if fitting.len() > MAX_CANDIDATES {
            return Ok(Err(doubt));
        }
        let mut ways: Vec<(Option<f64>, String)> = fitting.iter().map(|(key, _)| (None, key.clone())).collect();
        ways.push((None, "none of them".to_owned()));
        let what = format!("{} is which element of `{}`", doubt.what, self.text());
        let why = Why { what, evidence: Some(self.rule.evidence), gap: true, column: None };
        let way = walk.choose(why, ways);
        let element = fitting.get(way).map(|(_, element)| *element).or(map.catchall()).ok_or(Break)?;
        self.because.push(element.evidence);
        Ok(Ok(element.data.clone()))
    }

    /// The element for a number drawn by chance: each one's probability is the share of its numbers.
    fn drawn(&mut self, walk: &mut Walk, map: &'a NftSet, modulus: u32, offset: u32) -> Option<Data> {
        let (first, end) = (u128::from(offset), u128::from(offset) + u128::from(modulus.max(1)));
        let mut ways: Vec<(u128, &Element)> = Vec::new();
        let mut rest = end - first;
        for (key, element) in map.iter() {
            let Some((low, high)) = key.first().copied() else { continue };
            let (low, past) = (low.max(first), high.saturating_add(1).min(end));
            let count = past.saturating_sub(low).min(rest);
            if count > 0 {
                rest -= count;
                ways.push((count, element));
            }
        }
        if rest > 0
            && let Some(element) = map.catchall()
        {
            ways.push((rest, element));
            rest = 0;
        }
        let element = self.choose_drawn(walk, &ways, rest, end - first)?;
        self.because.push(element.evidence);
        Some(element.data.clone())
    }

    fn choose_drawn<'e>(
        &self,
        walk: &mut Walk,
        ways: &[(u128, &'e Element)],
        rest: u128,
        all: u128,
    ) -> Option<&'e Element> {
        if let [(_, only)] = ways
            && rest == 0
        {
            return Some(only);
        }
        if ways.is_empty() {
            return None;
        }
        let mut labels: Vec<(Option<f64>, String)> =
            ways.iter().map(|(count, element)| (Some(share(*count, all)), self.label(&element.data))).collect();
        if rest > 0 {
            labels.push((Some(share(rest, all)), "no element".to_owned()));
        }
        let what = format!("the number that `{}` draws", self.text());
        let why = Why { what, evidence: Some(self.rule.evidence), gap: false, column: None };
        let way = walk.choose(why, labels);
        ways.get(way).map(|(_, element)| *element)
    }

    /// What a map holds, in words.
    fn label(&self, data: &Data) -> String {
        use crate::snapshot::nft::NftVerdict as Verdict;
        match data {
            Data::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain)) => self.info.table.chain_name(*chain).to_owned(),
            Data::Verdict(verdict) => format!("{verdict:?}").to_lowercase(),
            Data::Value(ends) => ends.iter().map(|(low, _)| shown(*low)).collect::<Vec<_>>().join(" . "),
            Data::Opaque(text) => text.to_string(),
            Data::None => String::new(),
        }
    }
}

fn share(count: u128, all: u128) -> f64 {
    let number = |count: u128| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    number(count) / number(all.max(1))
}

/// A number as a person would know it.
fn shown(value: u128) -> String {
    match u32::try_from(value) {
        Ok(value) if value > 0xffff => std::net::Ipv4Addr::from_bits(value).to_string(),
        Ok(value) => value.to_string(),
        Err(_) => format!("{value:#x}"),
    }
}

/// The elements that fit the fields that are known, each with its key in words.
fn candidates<'e>(set: &'e NftSet, fields: &'e [Field]) -> impl Iterator<Item = (String, &'e Element)> {
    set.iter().filter_map(move |(key, element)| {
        let fits = key.len() == fields.len()
            && key.iter().zip(fields).all(|((low, high), field)| match field {
                Ok(value) => (low..=high).contains(&value),
                Err(doubt) => doubt.may_be(*low, *high),
            });
        fits.then(|| (key.iter().map(|(low, _)| shown(*low)).collect::<Vec<_>>().join(" . "), element))
    })
}
