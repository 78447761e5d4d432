//! Values that nobody can know, or not quite, and what they leave of a condition (`nft_cmp.c`, `nft_range.c`,
//! `nft_bitwise.c`).

use crate::snapshot::nft::{BitOp, RelOp};

/// A value that nobody can know, or a condition on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// What it is, in words.
    pub what: String,
    /// Whether the same words ask for the same fact, so that one answer serves a whole walk.
    pub fact: bool,
    /// What is known of it all the same.
    pub may: May,
}

/// What a value that nobody knows may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// Anything.
    Anything,
    /// A number from one to another.
    Within(u128, u128),
    /// One of two numbers: the first where what the words say is so, the second where it isn't.
    Either(u128, u128),
    /// The doubt is about a condition, which holds where what the words say is so, or isn't so if it is turned around.
    Holds { invert: bool },
}

/// One field of a register.
pub(super) type Field = Result<u128, Doubt>;

impl Doubt {
    /// A value that stays the same on the whole walk.
    pub(super) fn fact(what: impl Into<String>) -> Self {
        Self { what: what.into(), fact: true, may: May::Anything }
    }

    /// A value that is another one each time.
    pub(super) fn fresh(what: impl Into<String>) -> Self {
        Self { fact: false, ..Self::fact(what) }
    }

    /// The value is one of these.
    pub(super) fn that_may(self, may: May) -> Self {
        Self { may, ..self }
    }

    /// Whether the value may be one from `low` to `high`.
    pub(super) fn may_be(&self, low: u128, high: u128) -> bool {
        match self.may {
            May::Within(least, most) => least <= high && low <= most,
            May::Either(yes, no) => (low..=high).contains(&yes) || (low..=high).contains(&no),
            May::Anything | May::Holds { .. } => true,
        }
    }

    /// The condition on a value, where the value's bounds leave it open.
    fn condition(&self, op: RelOp, ends: (u128, u128)) -> Holds {
        match self.may {
            May::Within(least, most) => match op.holds_within((least, most), ends) {
                Some(holds) => holds.into(),
                None => Holds::Unknown(self.clone()),
            },
            May::Either(yes, no) => match (op.holds_of(yes, ends), op.holds_of(no, ends)) {
                (a, b) if a == b => a.into(),
                (a, _) => Holds::Unknown(self.clone().that_may(May::Holds { invert: !a })),
            },
            May::Anything | May::Holds { .. } => Holds::Unknown(self.clone()),
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Debug)]
pub(super) enum Holds {
    Yes,
    No,
    Unknown(Doubt),
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Holds {
    /// The condition's opposite.
    pub(super) fn inverted(self, turned: bool) -> Self {
        match self {
            Self::Yes if turned => Self::No,
            Self::No if turned => Self::Yes,
            Self::Unknown(Doubt { what, fact, may: May::Holds { invert } }) => {
                Self::Unknown(Doubt { what, fact, may: May::Holds { invert: invert != turned } })
            }
            same => same,
        }
    }
}

/// Two fields made one.
pub(super) fn combine(op: BitOp, left: Field, right: Field) -> Field {
    match (left, right) {
        (Ok(left), Ok(right)) => Ok(op.apply(left, right)),
        (Err(doubt), Ok(right)) => match doubt.may {
            May::Either(yes, no) => match (op.apply(yes, right), op.apply(no, right)) {
                (yes, no) if yes == no => Ok(yes),
                (yes, no) => Err(doubt.that_may(May::Either(yes, no))),
            },
            _ => Err(doubt.that_may(May::Anything)),
        },
        (_, Err(doubt)) => Err(doubt.that_may(May::Anything)),
    }
}

/// A comparison of one field with what a rule gives for it. `!=` asks as `==` does, and the whole is turned around.
trait Compares {
    /// Whether it holds of a value.
    fn holds_of(self, value: u128, ends: (u128, u128)) -> bool;
    /// Whether it holds of all values of a range, or of none.
    fn holds_within(self, range: (u128, u128), ends: (u128, u128)) -> Option<bool>;
}

impl Compares for RelOp {
    fn holds_of(self, value: u128, (low, high): (u128, u128)) -> bool {
        match self {
            Self::Eq | Self::Ne => (low..=high).contains(&value),
            Self::Lt => value < low,
            Self::Gt => value > high,
            Self::Le => value <= high,
            Self::Ge => value >= low,
            Self::Any => value & low != 0,
            Self::None => value & low == 0,
        }
    }

    fn holds_within(self, (least, most): (u128, u128), (low, high): (u128, u128)) -> Option<bool> {
        match self {
            Self::Eq | Self::Ne if most < low || high < least => Some(false),
            Self::Any | Self::None if least != most => None,
            _ => {
                let ends = (self.holds_of(least, (low, high)), self.holds_of(most, (low, high)));
                // Between two values that a comparison holds of there is none that it doesn't hold of; between two that
                // equality doesn't hold of there may be one that it does.
                match ends {
                    (true, true) => Some(true),
                    (false, false) if !matches!(self, Self::Eq | Self::Ne) => Some(false),
                    _ => None,
                }
            }
        }
    }
}

/// Compares fields with what a rule gives for them, each from one value to another.
pub(super) fn compare(left: &[Field], op: RelOp, right: &[Result<(u128, u128), Doubt>]) -> Holds {
    let mut within = Holds::Yes;
    for (field, ends) in left.iter().zip(right) {
        let holds = match (field, ends) {
            (Ok(value), Ok(ends)) => op.holds_of(*value, *ends).into(),
            (Err(doubt), Ok(ends)) => doubt.condition(op, *ends),
            (_, Err(doubt)) => Holds::Unknown(doubt.clone().that_may(May::Anything)),
        };
        match holds {
            Holds::Yes => {}
            Holds::No => {
                within = Holds::No;
                break;
            }
            open @ Holds::Unknown(_) => within = open,
        }
    }
    within.inverted(op == RelOp::Ne)
}
