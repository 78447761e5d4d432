//! What a rule's reader knows of the table around it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::snapshot::nft::{ChainRef, Names};
use crate::snapshot::{NftChain, NftFamily};

use super::calls::Unknown;
use super::constant::Datatype;
use super::token::{Cursor, LineOf, Token};

/// The types of a set's key and of what a map has for it.
pub(super) type SetTypes = (Vec<Datatype>, Vec<Datatype>);

/// A table as far as it has been read.
pub(super) struct Scope<'a> {
    pub family: NftFamily,
    /// The types of its named sets.
    pub sets: HashMap<String, SetTypes, foldhash::quality::RandomState>,
    /// The chains that have been declared.
    pub chains: HashSet<&'a str, foldhash::quality::RandomState>,
    /// The sets that have been declared twice.
    pub twice: HashSet<&'a str, foldhash::quality::RandomState>,
    /// The names of chains that were mentioned, and each one's place.
    pub mentioned: Vec<Arc<str>>,
    places: Names,
    /// Sets that rules named before they were read.
    pub unknown: Vec<Unknown<'a>>,
}

impl Scope<'_> {
    pub fn new(family: NftFamily) -> Self {
        Self {
            family,
            sets: HashMap::default(),
            chains: HashSet::default(),
            twice: HashSet::default(),
            mentioned: Vec::new(),
            places: Names::default(),
            unknown: Vec::new(),
        }
    }

    /// Whether addresses without a family are IPv6.
    pub fn is_six(&self) -> bool {
        self.family == NftFamily::Ip6
    }

    /// The reference by which rules call a chain, if any does.
    pub fn mentioned(&self, name: &str) -> Option<ChainRef> {
        self.places.get(name).copied().map(ChainRef)
    }

    /// A chain's name, which is kept once where rules call it.
    pub fn name(&self, name: &str) -> Arc<str> {
        self.places.get_key_value(name).map_or_else(|| Arc::from(name), |(known, _)| Arc::clone(known))
    }

    /// The reference by which rules call a chain.
    pub fn mention(&mut self, name: &str) -> ChainRef {
        if let Some(place) = self.places.get(name) {
            return ChainRef(*place);
        }
        let place = u32::try_from(self.mentioned.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = name.into();
        self.mentioned.push(Arc::clone(&name));
        self.places.insert(name, place);
        ChainRef(place)
    }
}

/// Reads rules and sets of one table.
pub(super) struct Reader<'a, 'l> {
    pub cursor: Cursor<'a>,
    pub line_of: LineOf<'l>,
    pub scope: Scope<'a>,
    /// The types of what a map that stands in a rule has for its keys.
    pub expected_data: Vec<Datatype>,
    /// Of which family the rule that is being read makes the namespace track connections.
    pub tracks: Option<NftFamily>,
    /// Chains that stand in rules (`jump { … }`).
    pub bound: Vec<NftChain>,
    pub depth: u32,
}

impl<'a> Reader<'a, '_> {
    /// The rule makes the namespace track the connections of the table's family.
    pub fn track(&mut self) {
        self.tracks = Some(self.scope.family);
    }

    /// Notes where a set is named that is not known yet, which comes next.
    pub(super) fn note_set(&mut self, name: &'a str) {
        if !self.scope.sets.contains_key(name) {
            self.scope.unknown.push((name, self.cursor.start()));
        }
    }

    /// Past a block in braces.
    pub fn skip_braces(&mut self) {
        self.skip_braces_and_find("");
    }

    /// Past a block in braces. Whether a word stands in it.
    pub fn skip_braces_and_find(&mut self, word: &str) -> bool {
        let (mut depth, mut found) = (0u32, false);
        loop {
            match self.cursor.next() {
                Token::Word(other) => found |= other == word,
                Token::Sign("{") => depth += 1,
                Token::Sign("}") => depth = depth.saturating_sub(1),
                Token::End => return found,
                _ => {}
            }
            if depth == 0 {
                return found;
            }
        }
    }

    /// Past the rest of a statement: to the line's end, but not out of the block.
    pub fn skip_line(&mut self) {
        while !self.at_end() {
            if self.cursor.peek() == Token::Sign("{") {
                self.skip_braces();
            } else {
                self.cursor.next();
            }
        }
    }

    /// Past the rest of a rule that is not understood. Where a block lacks its brace, the rule ends with its line.
    pub fn skip_rule(&mut self) {
        while !self.at_end() {
            if self.cursor.peek() != Token::Sign("{") {
                self.cursor.next();
                continue;
            }
            if self.block_ends() {
                self.skip_braces();
            } else {
                // Every other brace on the line would be looked for as far.
                self.cursor.next();
                while !self.cursor.breaks() && self.cursor.peek() != Token::End {
                    self.cursor.next();
                }
                return;
            }
        }
    }

    /// Whether a block in braces ends before the chain that it stands in: nft prints a chain's end behind one tab, and
    /// what is in a rule behind more. What follows a lost brace would be read again for each block around it, and looked
    /// through for each brace that is lost.
    pub fn block_ends(&mut self) -> bool {
        /// No rule has more blocks within each other.
        const DEEPEST: u32 = 32;
        let before = self.cursor;
        self.cursor.line_bound = false;
        let mut depth = 0u32;
        let ends = loop {
            match self.cursor.next() {
                Token::Sign("{") => depth += 1,
                Token::Sign("}") => depth = depth.saturating_sub(1),
                Token::End => break false,
                _ => {}
            }
            if depth == 0 || depth > DEEPEST || self.ends_chain() {
                break depth == 0;
            }
        };
        self.cursor = before;
        ends
    }

    /// Whether the coming token stands where a chain's last one does, or the first one of the next chain.
    fn ends_chain(&self) -> bool {
        let between = self.cursor.text(self.cursor.last_end(), self.cursor.start());
        let indent = between.rsplit_once('\n').map(|(_, indent)| indent);
        matches!((indent, self.cursor.peek()), (Some("" | "\t"), Token::Sign("}")) | (Some("\t"), Token::Word("chain")))
    }

    /// Whether the statement has ended.
    pub fn at_end(&self) -> bool {
        self.cursor.breaks() || matches!(self.cursor.peek(), Token::End | Token::Sign("}" | ";"))
    }

    /// The next token and the rest of its line, as written.
    pub fn rest_of_line(&mut self, start: usize) -> &'a str {
        self.cursor.next();
        self.skip_line();
        self.cursor.text(start, self.cursor.last_end())
    }
}
