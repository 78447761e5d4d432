//! Reads sums, with the strengths of the operators in libpcap's grammar.y. There, `%` and `^` have none, so that yacc
//! goes on reading behind them: `ip[0] % 3 + 1` is `ip[0] % (3 + 1)`, and `2 * ip[0] ^ 1` is `2 * (ip[0] ^ 1)`.

use super::cursor::Cursor;
use super::name;
use super::refusal::Refusal;
use super::sum::{DEEPEST, is_readable};
use super::syntax::{Operator, Proto, Size, Sum};
use super::token::Token;

/// A part of a sum. A number alone may turn out to be a value.
pub(super) enum Operand {
    Number(u32),
    Sum(Sum),
}

impl Operand {
    pub(super) fn into_sum(self) -> Sum {
        match self {
            Self::Number(number) => Sum::number(number),
            Self::Sum(sum) => sum,
        }
    }
}

/// An operator, how strong it binds to what stands before it, and how strong one behind it has to be to take over its
/// right side.
struct Binding {
    operator: Operator,
    left: u8,
    right: u8,
}

/// How strong a sign before an operand binds.
const SIGN: u8 = 6;

fn binding(sign: &str) -> Option<Binding> {
    let binding = |operator, left, right| Some(Binding { operator, left, right });
    match sign {
        "|" => binding(Operator::Or, 1, 1),
        "&" => binding(Operator::And, 2, 2),
        "<<" => binding(Operator::Left, 3, 3),
        ">>" => binding(Operator::Right, 3, 3),
        "+" => binding(Operator::Add, 4, 4),
        "-" => binding(Operator::Subtract, 4, 4),
        "*" => binding(Operator::Multiply, 5, 5),
        "/" => binding(Operator::Divide, 5, 5),
        "%" => binding(Operator::Remainder, 7, 0),
        "^" => binding(Operator::Xor, 7, 0),
        _ => None,
    }
}

impl Cursor<'_> {
    /// Whether a part of a sum begins here; a bracket may begin something else too.
    pub(super) fn is_operand(&self) -> bool {
        match self.peek() {
            Some(Token::Number(_) | Token::Sign("-") | Token::Word("len" | "length")) => true,
            Some(Token::Word(word)) => self.peek_at(1) == Some(Token::Sign("[")) && name::protocol(word).is_some(),
            _ => false,
        }
    }

    /// A sum to its end.
    pub(super) fn sum(&mut self) -> Result<Sum, Refusal> {
        self.beyond(0).map(Operand::into_sum)
    }

    /// A sum whose operators bind stronger than some strength.
    fn beyond(&mut self, strength: u8) -> Result<Operand, Refusal> {
        let first = self.operand()?;
        self.operations(first, strength)
    }

    /// What follows the first operand of a sum.
    pub(super) fn operations(&mut self, first: Operand, strength: u8) -> Result<Operand, Refusal> {
        let mut operand = first;
        while let Some(Token::Sign(sign)) = self.peek() {
            let Some(binding) = binding(sign).filter(|binding| binding.left > strength) else { break };
            self.advance();
            let start = self.place();
            self.descend()?;
            let right = self.beyond(binding.right)?.into_sum();
            self.ascend();
            self.check(binding.operator, &right, start)?;
            let sum = operand.into_sum().joined(binding.operator, right);
            if sum.depth > DEEPEST {
                let what = format!("more than {DEEPEST} numbers have to be kept here: begin with what is in brackets");
                return Err(Refusal::new(self.since(start), what));
            }
            operand = Operand::Sum(sum);
        }
        Ok(operand)
    }

    /// Refuses what has no result whatever the packet is.
    fn check(&self, operator: Operator, right: &Sum, start: usize) -> Result<(), Refusal> {
        let what = match (operator, right.constant()) {
            (Operator::Divide | Operator::Remainder, Some(0)) => "nothing can be divided by 0",
            (Operator::Left | Operator::Right, Some(32..)) => "a number has 32 bits: it can be shifted by 31 at most",
            _ => return Ok(()),
        };
        Err(Refusal::new(self.since(start), what))
    }

    /// A single number, load or bracket of a sum.
    pub(super) fn operand(&mut self) -> Result<Operand, Refusal> {
        match self.peek() {
            Some(Token::Number(number)) => {
                self.advance();
                Ok(Operand::Number(number))
            }
            Some(Token::Word("len" | "length")) => {
                self.advance();
                Ok(Operand::Sum(Sum::length()))
            }
            Some(Token::Sign("-")) => {
                self.descend()?;
                self.advance();
                let sum = self.beyond(SIGN)?.into_sum();
                self.ascend();
                Ok(Operand::Sum(sum.negated()))
            }
            Some(Token::Sign("(")) => {
                self.descend()?;
                self.advance();
                let operand = self.beyond(0)?;
                self.close()?;
                Ok(operand)
            }
            Some(Token::Word(word)) if self.is_operand() => match name::protocol(word) {
                Some(proto) => self.load(proto).map(Operand::Sum),
                None => Err(self.missing(OPERAND)),
            },
            _ => Err(self.missing(OPERAND)),
        }
    }

    /// Bytes of a header: `tcp[13]`, `ip[2:2]`.
    fn load(&mut self, proto: Proto) -> Result<Sum, Refusal> {
        if !is_readable(proto) {
            let word = name::of_protocol(proto);
            let what = format!("where the header of `{word}` begins is not known: read it from `ip[…]` or `ip6[…]`");
            return Err(Refusal::new(self.here(), what));
        }
        self.descend()?;
        self.advance();
        self.advance();
        let place = self.sum()?;
        let size = if self.take_sign(":") { self.size()? } else { Size::Byte };
        if !self.take_sign("]") {
            return Err(self.missing("`]` or `:` with the number of bytes"));
        }
        self.ascend();
        Ok(Sum::load(proto, size, place))
    }

    fn size(&mut self) -> Result<Size, Refusal> {
        let start = self.place();
        match self.number()? {
            1 => Ok(Size::Byte),
            2 => Ok(Size::Half),
            4 => Ok(Size::Word),
            _ => Err(Refusal::new(self.since(start), "1, 2 or 4 bytes can be read at once")),
        }
    }
}

const OPERAND: &str = "a number, a protocol with a place (`tcp[13]`) or `len`";
