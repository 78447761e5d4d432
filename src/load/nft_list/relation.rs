//! Relations of `nft list ruleset`: what a value is compared with.

use crate::snapshot::nft::{BitOp, CtKey, Expr, Operand, RelOp, Relation, Statement};

use super::constant::Datatype;
use super::expression::Typed;
use super::scope::Reader;
use super::token::{Parsed, Token};

impl Reader<'_, '_> {
    /// The condition that an expression starts, which stands from `start` on.
    pub(super) fn relation(&mut self, left: Typed, start: usize) -> Parsed<Statement> {
        let asked = self.cursor.text(start, self.cursor.last_end());
        let op = match self.cursor.peek() {
            Token::Sign("==") | Token::Word("eq") => Some(RelOp::Eq),
            Token::Sign("!=") | Token::Word("ne") => Some(RelOp::Ne),
            Token::Sign("<") | Token::Word("lt") => Some(RelOp::Lt),
            Token::Sign(">") | Token::Word("gt") => Some(RelOp::Gt),
            Token::Sign("<=") | Token::Word("le") => Some(RelOp::Le),
            Token::Sign(">=") | Token::Word("ge") => Some(RelOp::Ge),
            Token::Sign("!") => Some(RelOp::None),
            _ => None,
        };
        if op.is_some() {
            self.cursor.next();
        }
        let is_name = self.cursor.peek_word().is_some_and(|word| word.starts_with('@'));
        let is_set = self.cursor.peek() == Token::Sign("{") || is_name;
        if left.is_opaque() && !is_name {
            return self.opaque_operand(left, asked, op);
        }
        let plain = op.unwrap_or(RelOp::Eq);
        // nft 1.0.6 prints nothing for no time at all.
        if matches!(left.expr, Expr::Ct(CtKey::Other("expiration"), _)) && self.at_end() {
            let right = Operand::Expr(Expr::Value(0u128.into()));
            return Ok(Statement::Match(Box::new(Relation { left: left.expr, op: plain, right })));
        }
        if left.datatype().has_own_names() && !is_name {
            return self.named_operand(left, asked, op);
        }
        if is_set {
            let (set, _) = self.set_operand(&left.types, false)?;
            return Ok(Statement::Match(Box::new(Relation { left: left.expr, op: plain, right: Operand::Set(set) })));
        }
        if left.types.len() > 1 {
            return self.concat_relation(left, op);
        }
        self.value_relation(left, op)
    }

    /// What is compared with values that a file of the node may have names for. A name that nobody knows is kept.
    fn named_operand(&mut self, left: Typed, asked: &str, op: Option<RelOp>) -> Parsed<Statement> {
        let place = self.cursor;
        if self.cursor.peek() == Token::Sign("{") {
            if let Ok((set, _)) = self.set_operand(&left.types, false) {
                let op = op.unwrap_or(RelOp::Eq);
                return Ok(Statement::Match(Box::new(Relation { left: left.expr, op, right: Operand::Set(set) })));
            }
            self.cursor = place;
            return self.opaque_operand(left, asked, op);
        }
        if self.peek_constant(left.datatype()).is_some() || self.starts_expression() || left.types.len() > 1 {
            return if left.types.len() > 1 { self.concat_relation(left, op) } else { self.value_relation(left, op) };
        }
        self.opaque_operand(left, asked, op)
    }

    fn concat_relation(&mut self, left: Typed, op: Option<RelOp>) -> Parsed<Statement> {
        let fields = self.concat_constants(&left.types)?;
        let right = Operand::Expr(Expr::Concat(fields.into_boxed_slice()));
        Ok(Statement::Match(Box::new(Relation { left: left.expr, op: op.unwrap_or(RelOp::Eq), right })))
    }

    fn concat_constants(&mut self, types: &[Datatype]) -> Parsed<Vec<Expr>> {
        let mut fields = Vec::with_capacity(types.len());
        for (place, datatype) in types.iter().enumerate() {
            if place > 0 && !self.cursor.word(".") {
                return Err(self.cursor.expected("`.`"));
            }
            fields.push(self.operand(*datatype)?.expr);
        }
        Ok(fields)
    }

    /// A condition on one field against a constant, flags or another field.
    fn value_relation(&mut self, left: Typed, op: Option<RelOp>) -> Parsed<Statement> {
        let datatype = left.datatype();
        let implicit = if datatype.is_bitmask() { RelOp::Any } else { RelOp::Eq };
        let done = |left: Expr, op: RelOp, right: Operand| Ok(Statement::Match(Box::new(Relation { left, op, right })));
        if let Some((low, high)) = self.peek_constant(datatype)
            && low != high
        {
            if low > high {
                // nft takes no such range, but prints one of two bounds on different fields (`expr_may_merge_range` in
                // `src/netlink_delinearize.c` of nftables).
                return Err(self.cursor.expected("a range that doesn't end before it starts"));
            }
            self.cursor.next();
            return done(left.expr, op.unwrap_or(RelOp::Eq), Operand::Range(low.into(), high.into()));
        }
        let first = self.operand(datatype)?;
        let mut value = self.operators(first, 0)?.expr;
        value = self.more_flags(value, datatype)?;
        if self.cursor.is_word("/") {
            // `tcp flags syn / fin,syn,rst,ack`: these flags among those.
            self.cursor.next();
            let first = self.operand(datatype)?.expr;
            let mask = self.more_flags(first, datatype)?;
            let masked = Expr::Binary(BitOp::And, Box::new(left.expr), Box::new(mask));
            return done(masked, op.unwrap_or(RelOp::Eq), Operand::Expr(value));
        }
        // A mask makes the comparison one of values.
        let implicit = if matches!(left.expr, Expr::Binary(..)) { RelOp::Eq } else { implicit };
        done(left.expr, op.unwrap_or(implicit), Operand::Expr(value))
    }

    /// The flags after a comma.
    fn more_flags(&mut self, mut value: Expr, datatype: Datatype) -> Parsed<Expr> {
        while datatype.is_bitmask() && self.cursor.sign(",") {
            let next = self.operand(datatype)?.expr;
            value = Expr::Binary(BitOp::Or, Box::new(value), Box::new(next));
        }
        Ok(value)
    }

    /// What an unmodelled expression is compared with: whatever stands there. The words are those of the whole condition,
    /// and those of its opposite are the same.
    fn opaque_operand(&mut self, left: Typed, asked: &str, op: Option<RelOp>) -> Parsed<Statement> {
        let start = self.cursor.start();
        if self.cursor.peek() == Token::Sign("{") {
            if !self.block_ends() {
                return Err(self.cursor.expected("a set whose brace is closed"));
            }
            self.skip_braces();
        } else {
            self.cursor.name("a value")?;
            while self.cursor.sign(",") || self.cursor.word("-") || self.cursor.word(".") {
                self.cursor.name("a value")?;
            }
        }
        let value = self.cursor.text(start, self.cursor.last_end());
        let sign = match op {
            Some(RelOp::Lt) => "< ",
            Some(RelOp::Gt) => "> ",
            Some(RelOp::Le) => "<= ",
            Some(RelOp::Ge) => ">= ",
            Some(RelOp::None) => "! ",
            _ => "",
        };
        let right = Operand::Expr(Expr::Opaque(format!("{asked} {sign}{value}").into()));
        let op = if op == Some(RelOp::Ne) { RelOp::Ne } else { RelOp::Eq };
        Ok(Statement::Match(Box::new(Relation { left: left.expr, op, right })))
    }
}
