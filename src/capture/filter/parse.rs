//! Reads the text of a filter, by libpcap's grammar.y.
//!
//! A value without words before it takes over those of the value before (`tcp port 80 or 443`), if it follows `and` or
//! `or`. What stands in brackets may so be a part of the filter, a list of values, or a part of a sum, and that is known
//! only behind its first word or later: what has been read is an [`Item`] until then.

use super::Settings;
use super::arithmetic::Operand;
use super::cursor::Cursor;
use super::name;
use super::refusal::Refusal;
use super::syntax::{Ask, Join, Node, Proto, Relation, Test};
use super::token::Token;
use super::value::{Qualifier, number_value};

/// How long a filter may be, in bytes.
const LONGEST: usize = 1 << 16;

/// What is read before it is known what it is a part of.
enum Item {
    /// A part of a filter, and the words that the next value takes over.
    Node(Node, Option<Qualifier>),
    /// A value, which takes over the words before it.
    Value(Node),
    /// A part of a sum; a number alone may be a value too.
    Operand(Operand),
}

/// Reads a filter. Without words there is none: every packet passes.
pub(super) fn parse(text: &str, settings: &Settings<'_>) -> Result<Option<Node>, Refusal> {
    if text.len() > LONGEST {
        let what = format!("the filter is longer than {LONGEST} bytes");
        return Err(Refusal::new(text.len()..text.len(), what));
    }
    let mut cursor = Cursor::new(text, settings)?;
    if cursor.peek().is_none() {
        return Ok(None);
    }
    let (first, after) = cursor.part(None, false)?;
    let node = cursor.rest(first, after)?;
    if cursor.peek().is_none() { Ok(Some(node)) } else { Err(cursor.stray()) }
}

impl Cursor<'_> {
    /// What follows the first part of a filter.
    fn rest(&mut self, first: Node, after: Option<Qualifier>) -> Result<Node, Refusal> {
        let (mut parts, mut before) = (Vec::new(), after);
        while let Some(join) = self.join() {
            let (part, after) = self.part(before, true)?;
            parts.push((join, part));
            before = after;
        }
        Ok(chain(first, parts))
    }

    fn join(&mut self) -> Option<Join> {
        if self.take_word("and") {
            return Some(Join::And);
        }
        self.take_word("or").then_some(Join::Or)
    }

    /// A part of a filter; after `and` and `or` it may be a value alone.
    fn part(&mut self, before: Option<Qualifier>, may_be_value: bool) -> Result<(Node, Option<Qualifier>), Refusal> {
        let (_, is_negated) = self.take_nots();
        let start = self.place();
        let (node, after) = match self.item(before, may_be_value)? {
            Item::Value(node) => (node, before),
            Item::Operand(Operand::Number(number)) if may_be_value => {
                (number_value(before, number, self.since(start))?, before)
            }
            item => self.settled(item, start)?,
        };
        Ok((negate(node, is_negated), after))
    }

    /// A part of a filter, where no value and no part of a sum can stand alone.
    fn settled(&self, item: Item, start: usize) -> Result<(Node, Option<Qualifier>), Refusal> {
        match item {
            Item::Node(node, after) => Ok((node, after)),
            Item::Value(_) | Item::Operand(Operand::Number(_)) => Err(Refusal::new(
                self.since(start),
                "a number alone asks nothing: `port`, `host`, `net` or `proto` stands before it, or a comparison \
                 (`=`, `>`, …) behind it",
            )),
            Item::Operand(Operand::Sum(_)) => Err(self.missing("a comparison (`=`, `!=`, `>`, `>=`, `<` or `<=`)")),
        }
    }

    /// What begins here; a sum to its end, and with its comparison.
    fn item(&mut self, before: Option<Qualifier>, may_be_value: bool) -> Result<Item, Refusal> {
        let start = self.place();
        let operand = match self.peek() {
            Some(Token::Sign("(")) => match self.brackets(before, may_be_value)? {
                Item::Operand(operand) => operand,
                item => return Ok(item),
            },
            _ if self.is_operand() => self.operand()?,
            Some(token) if may_be_value && is_value(token) => return Ok(Item::Value(self.value(before)?)),
            _ => {
                let (node, after) = self.question()?;
                return Ok(Item::Node(node, after));
            }
        };
        let left = self.operations(operand, 0)?;
        let Some((test, is_negated)) = self.comparison() else { return Ok(Item::Operand(left)) };
        let (left, right) = (left.into_sum(), self.sum()?);
        let relation = Relation { left, test, is_negated, right };
        Ok(Item::Node(Node::Ask(Ask::Relation(relation), self.since(start)), None))
    }

    fn comparison(&mut self) -> Option<(Test, bool)> {
        let Some(Token::Sign(sign)) = self.peek() else { return None };
        let found = match sign {
            "=" => (Test::Equal, false),
            "!=" => (Test::Equal, true),
            ">" => (Test::Greater, false),
            "<=" => (Test::Greater, true),
            ">=" => (Test::GreaterOrEqual, false),
            "<" => (Test::GreaterOrEqual, true),
            _ => return None,
        };
        self.advance();
        Some(found)
    }

    /// Brackets around a part of a filter, a list of values, or a part of a sum.
    fn brackets(&mut self, before: Option<Qualifier>, may_be_value: bool) -> Result<Item, Refusal> {
        self.descend()?;
        self.advance();
        let (has_not, is_negated) = self.take_nots();
        let start = self.place();
        // A list does not begin with a list.
        let may_be_list = may_be_value && (has_not || self.peek() != Some(Token::Sign("(")));
        let item = match self.item(before, may_be_list)? {
            Item::Value(first) => return self.list(negate(first, is_negated), before),
            Item::Operand(Operand::Number(number)) if may_be_value && (has_not || self.is_join()) => {
                let first = number_value(before, number, self.since(start))?;
                return self.list(negate(first, is_negated), before);
            }
            item @ Item::Operand(_) if !has_not && self.peek() == Some(Token::Sign(")")) => item,
            item => {
                let (first, after) = self.settled(item, start)?;
                Item::Node(self.rest(negate(first, is_negated), after)?, before)
            }
        };
        self.close()?;
        Ok(item)
    }

    fn is_join(&self) -> bool {
        matches!(self.peek(), Some(Token::Word("and" | "or")))
    }

    /// The rest of a list of values in brackets, and the bracket behind it.
    fn list(&mut self, first: Node, qualifier: Option<Qualifier>) -> Result<Item, Refusal> {
        let mut parts = Vec::new();
        while let Some(join) = self.join() {
            parts.push((join, self.values(qualifier)?));
        }
        self.close()?;
        Ok(Item::Value(chain(first, parts)))
    }

    /// A value, `not` a value, or a list of values in brackets.
    fn values(&mut self, qualifier: Option<Qualifier>) -> Result<Node, Refusal> {
        let (_, is_negated) = self.take_nots();
        let start = self.place();
        let node = if self.peek() != Some(Token::Sign("(")) {
            self.value(qualifier)?
        } else if let Some(number) = self.take_bracketed_number()? {
            number_value(qualifier, number, self.since(start))?
        } else {
            self.bracketed_values(qualifier)?
        };
        Ok(negate(node, is_negated))
    }

    fn bracketed_values(&mut self, qualifier: Option<Qualifier>) -> Result<Node, Refusal> {
        self.descend()?;
        self.advance();
        let start = self.place();
        let first = match self.take_bracketed_number()? {
            Some(number) => number_value(qualifier, number, self.since(start))?,
            // A list does not begin with a list.
            None if self.peek() != Some(Token::Sign("(")) => self.values(qualifier)?,
            None => return Err(self.missing("a value")),
        };
        match self.list(first, qualifier)? {
            Item::Value(node) | Item::Node(node, _) => Ok(node),
            Item::Operand(_) => Err(self.stray()),
        }
    }

    /// What a word of the language begins that is no value and no sum.
    fn question(&mut self) -> Result<(Node, Option<Qualifier>), Refusal> {
        let start = self.place();
        let Some(token) = self.peek() else { return Err(self.missing("a question, such as `host`, `port` or `tcp`,")) };
        if is_value(token) {
            return Err(Refusal::new(
                self.here(),
                "a value needs a word before it that says what it is: `host`, `net`, `port`, `src`, `dst` or `proto`",
            ));
        }
        let Token::Word(word) = token else { return Err(self.missing("a question, such as `host`, `port` or `tcp`,")) };
        if let Some(why) = name::unsupported(word) {
            return Err(Refusal::new(self.here(), format!("`{word}` {why}")));
        }
        let proto = name::protocol(word);
        if proto.is_some() {
            self.advance();
        }
        if let Some(qualifier) = self.qualifier(proto)? {
            let node = match self.values(Some(qualifier))? {
                // The words before a single value belong to its question.
                Node::Ask(ask, _) => Node::Ask(ask, self.since(start)),
                node => node,
            };
            return Ok((node, Some(qualifier)));
        }
        let ask = match self.kind(proto)? {
            Some(ask) => ask,
            None => self.alone(proto, start)?,
        };
        Ok((Node::Ask(ask, self.since(start)), None))
    }

    /// A protocol without anything behind it.
    fn alone(&self, proto: Option<Proto>, start: usize) -> Result<Ask, Refusal> {
        match proto {
            Some(Proto::Link) => Err(Refusal::new(
                self.since(start),
                "the link layer alone asks nothing: `host`, `src`, `dst`, `proto`, `broadcast`, `multicast` or a \
                 comparison of `[place]` stands behind it",
            )),
            Some(proto) => Ok(Ask::Proto(proto)),
            None => Err(self.missing("a question, such as `host`, `port` or `tcp`,")),
        }
    }
}

/// Whether a token is a value that is no number.
fn is_value(token: Token<'_>) -> bool {
    matches!(token, Token::Name(_) | Token::Dotted(_) | Token::V6(_) | Token::Mac(_))
}

fn negate(node: Node, is_negated: bool) -> Node {
    if is_negated { Node::Not(Box::new(node)) } else { node }
}

fn chain(first: Node, parts: Vec<(Join, Node)>) -> Node {
    if parts.is_empty() { first } else { Node::Chain(Box::new(first), parts) }
}
