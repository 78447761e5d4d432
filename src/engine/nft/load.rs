//! Loads the values of expressions (`nft_bitwise.c` and the `*_get_eval` of the others).

use crate::net::{Packet, Transport};
use crate::snapshot::nft::{BitOp, Data, Expr, Exthdr, MetaKey, NumgenMode, Operand, RelOp, Relation};

use super::super::skb::Asked;
use super::super::walk::{Walk, Why};
use super::clock::{self, Clock};
use super::doubt::{Doubt, Field, Holds, May, combine, compare};
use super::statement::{Run, answered};
use super::{ct, exthdr, fib, hash, meta, rt};

/// The packet lacks what an expression asks for (`NFT_BREAK`): the rule doesn't match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Break;

/// The fields that an expression gives.
pub(super) type Loaded = Result<Vec<Field>, Break>;

/// The most ways that a number drawn by itself may open.
const MAX_DRAWN: u32 = 64;

impl<'a> Run<'a> {
    /// The fields of an expression.
    pub(super) fn load(&mut self, walk: &mut Walk, expr: &'a Expr) -> Loaded {
        let one = |field: Field| Ok(vec![field]);
        if matches!(expr, Expr::Numgen { .. } | Expr::Symhash { .. } | Expr::Opaque(_) | Expr::Inner(..)) {
            walk.ask_piece(Asked::Each);
        }
        match expr {
            Expr::Value(value) => one(Ok(value.get())),
            Expr::Payload(header, field) => {
                super::field::nft_payload(walk, self, *header, *field).map(|field| vec![field])
            }
            Expr::Raw(base, offset, length) => {
                super::raw::raw(walk, self, *base, *offset, *length).map(|field| vec![field])
            }
            Expr::Meta(key) => meta::nft_meta_get(walk, self, *key).map(|field| vec![field]),
            Expr::Ct(key, direction) => ct::nft_ct_get(walk, *key, *direction).map(|field| vec![field]),
            Expr::Fib(asked) => one(fib::nft_fib(walk, self, *asked)),
            Expr::Numgen { mode, modulus, offset } => one(self.numgen(walk, *mode, *modulus, *offset)),
            Expr::Jhash { key, modulus, seed, offset } => {
                let fields = self.load(walk, key)?;
                let hash = hash::jhash(key, &fields, *modulus, *seed, *offset);
                one(self.drawn_hash(walk, hash, *modulus, *offset))
            }
            Expr::Symhash { modulus, offset } => {
                let doubt = Doubt::fact(format!("the hash of {} modulo {modulus}", flow(self.packet(walk))));
                one(self.drawn_hash(walk, Err(doubt), *modulus, *offset))
            }
            Expr::Binary(op, left, right) => {
                let (left, right) = (self.single(walk, left)?, self.single(walk, right)?);
                one(combine(*op, left, right))
            }
            Expr::Concat(fields) => {
                let mut all = Vec::with_capacity(fields.len());
                for field in fields {
                    all.append(&mut self.load(walk, field)?);
                }
                Ok(all)
            }
            Expr::Map(key, set) => {
                let data = self.lookup(walk, key, set)?;
                Ok(match data {
                    Ok(Data::Value(ends)) => ends.iter().map(|(low, _)| Ok(*low)).collect(),
                    Ok(_) => vec![Err(Doubt::fresh("what a map holds"))],
                    Err(doubt) => vec![Err(doubt)],
                })
            }
            Expr::Exthdr(Exthdr::Tcp(kind), asks, text) => {
                self.tcp_option(walk, *kind, *asks, text).map(|field| vec![field])
            }
            Expr::Exthdr(of, asks, text) => {
                exthdr::nft_exthdr(walk, self.packet(walk), *of, *asks, text).map(|field| vec![field])
            }
            Expr::Inner(outer, text) => super::field::nft_inner(walk, self, *outer, text).map(|field| vec![field]),
            Expr::Rt(key) => rt::nft_rt_get(walk, self, *key).map(|field| vec![field]),
            Expr::Opaque(text) if text.starts_with("osf ") && !is_syn(self.packet(walk)) => Err(Break),
            Expr::Opaque(text) => one(Err(Doubt::fact(format!("`{text}` of {}", flow(self.packet(walk)))))),
        }
    }

    fn single(&mut self, walk: &mut Walk, expr: &'a Expr) -> Result<Field, Break> {
        let fields = self.load(walk, expr)?;
        Ok(fields.into_iter().next().unwrap_or(Ok(0)))
    }

    /// A hash whose secret nobody knows: each number is one way, and the same on the whole walk.
    fn drawn_hash(&self, walk: &mut Walk, hash: Field, modulus: u32, offset: u32) -> Field {
        let doubt = match hash {
            Err(doubt) if doubt.what.starts_with("the hash of") && modulus <= MAX_DRAWN => doubt,
            hash => return hash,
        };
        let way = answered(walk, &doubt.what).unwrap_or_else(|| {
            let ways = (0..modulus.max(1)).map(|number| (None, number.saturating_add(offset).to_string())).collect();
            walk.choose(Why { what: doubt.what, evidence: Some(self.rule.evidence), gap: true, column: None }, ways)
        });
        Ok(u128::try_from(way).unwrap_or(0) + u128::from(offset))
    }

    /// `numgen`: each number is as likely as the other, or comes in its turn.
    fn numgen(&self, walk: &mut Walk, mode: NumgenMode, modulus: u32, offset: u32) -> Field {
        match modulus {
            0 | 1 => return Ok(u128::from(offset)),
            2..=MAX_DRAWN => {}
            _ => return Err(Doubt::fresh(format!("the number out of {modulus} that is drawn"))),
        }
        let weight = (mode == NumgenMode::Random).then(|| 1.0 / f64::from(modulus));
        let ways = (0..modulus).map(|number| (weight, number.saturating_add(offset).to_string())).collect();
        let why = Why {
            what: format!("the number out of {modulus} that `{}` draws", self.text()),
            evidence: Some(self.rule.evidence),
            gap: mode == NumgenMode::Inc,
            column: None,
        };
        let way = walk.choose(why, ways);
        Ok(u128::try_from(way).unwrap_or(0) + u128::from(offset))
    }

    /// Whether a condition holds.
    pub(super) fn relation(&mut self, walk: &mut Walk, asked: &'a Relation) -> Result<Holds, Break> {
        if let Operand::Set(set) = &asked.right {
            let holds = self.is_in_set(walk, &asked.left, set)?;
            return Ok(holds.inverted(asked.op == RelOp::Ne));
        }
        if let Some(holds) = self.drawn_relation(walk, asked) {
            return Ok(holds.into());
        }
        let left = self.load(walk, &asked.left)?;
        if let Operand::Expr(Expr::Opaque(text)) = &asked.right {
            let needs = match clock::asked(walk, text) {
                Clock::Known(holds) => return Ok(Holds::from(holds).inverted(asked.op == RelOp::Ne)),
                Clock::Open(needs) => format!(" ({needs})"),
                Clock::Other => String::new(),
            };
            walk.ask_piece(Asked::Each);
            let what = format!("`{text}` holds of {}{needs}", flow(self.packet(walk)));
            let open = Holds::Unknown(Doubt::fact(what).that_may(May::Holds { invert: false }));
            return Ok(open.inverted(asked.op == RelOp::Ne));
        }
        let right = match &asked.right {
            Operand::Expr(expr) => {
                let fields = self.load(walk, expr)?;
                fields.into_iter().map(|field| field.map(|value| (value, value))).collect()
            }
            Operand::Range(low, high) => vec![Ok((low.get(), high.get()))],
            Operand::Set(_) => Vec::new(),
        };
        Ok(compare(&left, asked.op, &right))
    }

    /// A condition on a number drawn by chance, whose probability is the share of numbers that it holds for.
    fn drawn_relation(&self, walk: &mut Walk, asked: &Relation) -> Option<bool> {
        let (first, count) = drawn_from(&asked.left)?;
        let (low, high) = match &asked.right {
            Operand::Expr(Expr::Value(value)) => (value.get(), value.get()),
            Operand::Range(low, high) => (low.get(), high.get()),
            _ => return None,
        };
        let below = |end: u128| end.clamp(first, first + count) - first;
        let within = below(high.saturating_add(1)) - below(low).min(below(high.saturating_add(1)));
        let holding = match asked.op {
            RelOp::Eq => within,
            RelOp::Ne => count - within,
            RelOp::Lt => below(low),
            RelOp::Le => below(high.saturating_add(1)),
            RelOp::Gt => count - below(high.saturating_add(1)),
            RelOp::Ge => count - below(low),
            RelOp::Any | RelOp::None => return None,
        };
        let number = |count: u128| {
            u32::try_from(count >> 1).map_or(f64::from(u32::MAX), f64::from) * 2.0 + f64::from(u8::from(count & 1 == 1))
        };
        Some(self.by_chance(walk, number(holding) / number(count)))
    }

    /// Whether something of a probability happens.
    fn by_chance(&self, walk: &mut Walk, share: f64) -> bool {
        walk.ask_piece(Asked::Each);
        if share <= 0.0 || share >= 1.0 {
            return share >= 1.0;
        }
        let why = Why {
            what: format!("`{}` by chance", self.text()),
            evidence: Some(self.rule.evidence),
            gap: false,
            column: None,
        };
        let ways = vec![(Some(share), "yes".to_owned()), (Some(1.0 - share), "no".to_owned())];
        walk.choose(why, ways) == 0
    }
}

/// The one kind of packet that tells of its sender's system (`nft_osf_eval` in `nft_osf.c`).
fn is_syn(packet: &Packet) -> bool {
    const SYN: u8 = 2;
    matches!(packet.transport, Transport::Tcp { flags, .. } if flags & SYN != 0)
}

/// The lowest number that an expression draws by chance, and how many there are.
fn drawn_from(expr: &Expr) -> Option<(u128, u128)> {
    match expr {
        Expr::Numgen { mode: NumgenMode::Random, modulus, offset } => {
            Some((u128::from(*offset), u128::from((*modulus).max(1))))
        }
        Expr::Meta(MetaKey::Other("random")) => Some((0, 1 << 32)),
        Expr::Binary(BitOp::And, left, right) => match (&**left, &**right) {
            (Expr::Meta(MetaKey::Other("random")), Expr::Value(mask))
                if mask.get() < 1 << 32 && (mask.get() + 1).is_power_of_two() =>
            {
                Some((0, (mask.get() + 1).min(1 << 32)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// A packet in words, for what depends on its flow.
pub(super) fn flow(packet: &Packet) -> String {
    let port = |port: Option<u16>| port.map_or(String::new(), |port| format!(":{port}"));
    let ip = packet.ip;
    format!("{}{} > {}{}", ip.source, port(packet.source_port()), ip.destination, port(packet.destination_port()))
}
