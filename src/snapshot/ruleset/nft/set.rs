//! Sets and maps, and the index that finds a key in them.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use crate::evidence::Evidence;

use super::NftVerdict as Verdict;

/// A set that a rule looks into.
#[derive(Clone, Debug, PartialEq)]
pub enum SetRef {
    /// A set of the table, by its name.
    Named(Arc<str>),
    /// One of the rule's own.
    Anonymous(Box<NftSet>),
}

/// What a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Keys alone.
    Set,
    /// Keys with values.
    Map,
    /// Keys with verdicts.
    Vmap,
}

/// A set, a map or a verdict map.
#[derive(Clone, Debug, Default)]
pub struct NftSet {
    /// Its name; empty for a rule's own.
    pub name: Arc<str>,
    /// How many fields a key has.
    pub fields: usize,
    /// Why its elements are not all known.
    pub unread: Option<Box<str>>,
    /// The line that names it.
    pub evidence: Option<Evidence>,
    /// The ends of each element's fields, one element after the other.
    ends: Vec<(u128, u128)>,
    elements: Vec<Element>,
    catchall: Option<Element>,
    index: OnceLock<Index>,
}

/// What an element carries beside its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// What a map has for it.
    pub data: Data,
    /// The line that it stands on.
    pub evidence: Evidence,
    /// Whether a limit or quota of its own decides whether it matches.
    pub limited: bool,
}

/// What a map has for a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Nothing: it is a set.
    None,
    /// A verdict.
    Verdict(Verdict),
    /// A value of one or more fields, each from one number to another.
    Value(Box<[(u128, u128)]>),
    /// The name of an object, or what isn't modelled.
    Opaque(Box<str>),
}

impl PartialEq for NftSet {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.fields == other.fields
            && self.unread == other.unread
            && self.ends == other.ends
            && self.elements.iter().map(|one| &one.data).eq(other.elements.iter().map(|one| &one.data))
            && self.catchall.as_ref().map(|one| &one.data) == other.catchall.as_ref().map(|one| &one.data)
    }
}

/// The elements in the order of their lower ends, as far as one can be found by them.
#[derive(Clone, Debug)]
struct Index {
    order: Vec<u32>,
    /// So many of the first fields are the same at both ends in every element. One more may be a range if the ranges
    /// don't overlap.
    exact: usize,
}

impl NftSet {
    /// A set without elements.
    #[must_use]
    pub fn new(name: Arc<str>, fields: usize, evidence: Option<Evidence>) -> Self {
        Self { name, fields: fields.max(1), evidence, ..Self::default() }
    }

    /// Makes room for so many elements and no more.
    pub fn reserve(&mut self, elements: usize) {
        self.ends.reserve_exact(elements.saturating_mul(self.fields));
        self.elements.reserve_exact(elements);
    }

    /// Gives back the room that no element took.
    pub fn shrink(&mut self) {
        self.ends.shrink_to_fit();
        self.elements.shrink_to_fit();
    }

    /// Adds an element. False where its key has another number of fields than the set.
    pub fn add(&mut self, key: &[(u128, u128)], element: Element) -> bool {
        if key.len() != self.fields {
            return false;
        }
        self.ends.extend_from_slice(key);
        self.elements.push(element);
        self.index = OnceLock::new();
        true
    }

    /// The element for every key that no other element is for (`*`).
    pub fn set_catchall(&mut self, element: Element) {
        self.catchall = Some(element);
    }

    /// The element for every key that no other element is for.
    #[must_use]
    pub fn catchall(&self) -> Option<&Element> {
        self.catchall.as_ref()
    }

    /// Every element with its key, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&[(u128, u128)], &Element)> {
        self.ends.chunks_exact(self.fields.max(1)).zip(&self.elements)
    }

    /// What every element carries, that for every other key too.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.elements.iter().chain(&self.catchall)
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len() + usize::from(self.catchall.is_some())
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn key(&self, place: u32) -> &[(u128, u128)] {
        let start = place as usize * self.fields;
        self.ends.get(start..start + self.fields).unwrap_or(&[])
    }

    /// The element that a key is in, without the one for all others.
    #[must_use]
    pub fn lookup(&self, key: &[u128]) -> Option<&Element> {
        if key.len() != self.fields {
            return None;
        }
        let index = self.index.get_or_init(|| self.build());
        let exact = key.get(..index.exact).unwrap_or(key);
        let order = |place: &u32| compare(self.key(*place), exact);
        let from = index.order.partition_point(|place| order(place) == Ordering::Less);
        let rest = index.order.get(from..).unwrap_or(&[]);
        let to = rest.partition_point(|place| order(place) == Ordering::Equal);
        let same = rest.get(..to).unwrap_or(&[]);
        let place = self.among(same, index.exact, key)?;
        self.elements.get(place as usize)
    }

    /// The element among those that agree in the exact fields: by its lower end where only one field is left, since
    /// the ranges of one set don't overlap; else each is looked at.
    fn among(&self, same: &[u32], exact: usize, key: &[u128]) -> Option<u32> {
        let holds =
            |place: &u32| self.key(*place).iter().zip(key).all(|((low, high), field)| low <= field && field <= high);
        if exact + 1 == self.fields && exact == 0 {
            let field = *key.first()?;
            let after = same.partition_point(|place| self.key(*place).first().is_some_and(|(low, _)| *low <= field));
            return same.get(after.checked_sub(1)?).copied().filter(holds);
        }
        same.iter().copied().find(|place| holds(place))
    }

    fn build(&self) -> Index {
        let places = 0..u32::try_from(self.elements.len()).unwrap_or(u32::MAX);
        let exact_field = |field: usize| {
            let column = self.ends.get(field..).unwrap_or(&[]).iter().step_by(self.fields);
            column.into_iter().all(|(low, high)| low == high)
        };
        let exact = (0..self.fields).take_while(|field| exact_field(*field)).count();
        let mut order: Vec<u32> = places.collect();
        order.sort_by(|a, b| self.key(*a).cmp(self.key(*b)));
        Index { order, exact }
    }
}

/// The first fields of an element against those of a key.
fn compare(element: &[(u128, u128)], key: &[u128]) -> Ordering {
    element
        .iter()
        .zip(key)
        .map(|((low, _), field)| low.cmp(field))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}
