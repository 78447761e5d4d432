//! How well a rule of nft's own is known before any packet comes.

use crate::snapshot::NftRule;
use crate::snapshot::nft::{CtKey, Expr, Exthdr, HeaderField, MetaKey, NumgenMode, Operand, RtKey, Statement};

use super::super::certainty::Certainty;
use super::field::described;
use super::write::is_written;

/// Whether a rule's answer is always the kernel's, may branch, or has a part that is not modelled.
#[must_use]
pub fn nft_certainty(rule: &NftRule) -> Certainty {
    if rule.statements.iter().any(unmodelled) {
        Certainty::NotModelled
    } else if rule.statements.iter().any(branches) {
        Certainty::Branches
    } else {
        Certainty::Exact
    }
}

/// Why a rule is not modelled, in words.
#[must_use]
pub fn nft_unmodelled(rule: &NftRule) -> Vec<String> {
    let why = |one: &Statement| match one {
        Statement::Unmodelled(text) => Some(format!("what `{text}` does is not modelled")),
        Statement::Refused(refused) => Some(format!("{refused}: {}", refused.explained())),
        Statement::Unread(_) => Some("the rule is not understood".to_owned()),
        Statement::SetPayload(header, field, _) if !is_written(*header, *field) => {
            Some(format!("what this writes is not modelled: {}", described(*header, *field)))
        }
        _ => None,
    };
    rule.statements.iter().filter_map(why).collect()
}

fn unmodelled(statement: &Statement) -> bool {
    match statement {
        Statement::Unmodelled(_) | Statement::Unread(_) | Statement::Refused(_) => true,
        Statement::SetPayload(header, field, _) => !is_written(*header, *field),
        _ => false,
    }
}

fn branches(statement: &Statement) -> bool {
    match statement {
        Statement::Match(relation) => {
            open(&relation.left) || matches!(&relation.right, Operand::Expr(right) if open(right))
        }
        Statement::Vmap(map) => open(&map.0),
        Statement::SetMark(key)
        | Statement::SetCtMark(key)
        | Statement::SetCtZone(_, key)
        | Statement::SetPkttype(key)
        | Statement::SetBroute(key) => open(key),
        Statement::SetPayload(_, _, value) | Statement::SetRaw(_, _, _, value) => open(value),
        Statement::Aside(aside) => aside.values.iter().any(|value| matches!(value, Expr::Map(key, _) if open(key))),
        Statement::Fwd(fwd) => open(&fwd.device) || fwd.neighbor.as_ref().is_some_and(|(_, addr)| open(addr)),
        Statement::Nat(nat) => {
            [&nat.addr, &nat.port].into_iter().flatten().any(|(low, high)| open(low) || high.as_ref().is_some_and(open))
        }
        Statement::Limit(_)
        | Statement::Unknowable(_)
        | Statement::Tproxy { .. }
        | Statement::Synproxy(_)
        | Statement::FlowAdd(_)
        | Statement::RedirectFrame { has_verdict: false } => true,
        Statement::Dynset(dynset) => dynset.limited,
        _ => false,
    }
}

/// Whether an expression may give what no snapshot tells.
fn open(expr: &Expr) -> bool {
    match expr {
        Expr::Payload(_, HeaderField::Other(_))
        | Expr::Meta(MetaKey::Other(_) | MetaKey::Skuid | MetaKey::Skgid | MetaKey::Priority)
        | Expr::Ct(CtKey::Other(_), _)
        | Expr::Numgen { mode: NumgenMode::Inc | NumgenMode::Random, .. }
        | Expr::Jhash { seed: None, .. }
        | Expr::Symhash { .. }
        | Expr::Exthdr(Exthdr::Tcp(_) | Exthdr::Sctp | Exthdr::Dccp, ..)
        | Expr::Rt(RtKey::Ipsec)
        | Expr::Inner(..)
        | Expr::Raw(..)
        | Expr::Opaque(_) => true,
        Expr::Binary(_, left, right) => open(left) || open(right),
        Expr::Concat(fields) => fields.iter().any(open),
        Expr::Map(key, _) | Expr::Jhash { key, .. } => open(key),
        _ => false,
    }
}
