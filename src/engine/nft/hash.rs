//! nft's `jhash` expression (`nft_hash.c`).

use crate::snapshot::nft::{CtKey, Expr, Header, HeaderField, MetaKey};

use super::super::jhash::{self, reciprocal_scale};
use super::doubt::{Doubt, Field};

/// The hash of a key's bytes, where the seed is known.
pub(super) fn jhash(key: &Expr, fields: &[Field], modulus: u32, seed: Option<u32>, offset: u32) -> Field {
    if modulus <= 1 {
        return Ok(u128::from(offset));
    }
    let values: Vec<u128> = fields.iter().cloned().collect::<Result<_, _>>()?;
    let shown: Vec<String> = values.iter().map(|value| format!("{value:x}")).collect();
    let doubt = || Doubt::fact(format!("the hash of {} modulo {modulus}", shown.join(".")));
    let seed = seed.ok_or_else(doubt)?;
    let bytes = bytes(key, &values).ok_or_else(doubt)?;
    let hash = jhash::jhash(&bytes, seed);
    Ok(u128::from(reciprocal_scale(hash, modulus)) + u128::from(offset))
}

/// A key as it lies in the registers: fields of a concatenation are padded to four bytes.
fn bytes(key: &Expr, values: &[u128]) -> Option<Vec<u8>> {
    let fields = match key {
        Expr::Concat(fields) => &fields[..],
        one => std::slice::from_ref(one),
    };
    let mut bytes = Vec::new();
    for (field, value) in fields.iter().zip(values) {
        let (width, little) = width(field)?;
        let all = value.to_be_bytes();
        let mut own = all.get(all.len().checked_sub(width)?..)?.to_vec();
        if little {
            own.reverse();
        }
        if fields.len() > 1 {
            own.resize(width.next_multiple_of(4), 0);
        }
        bytes.append(&mut own);
    }
    Some(bytes)
}

/// How many bytes a field has, and whether they lie in the machine's order.
fn width(field: &Expr) -> Option<(usize, bool)> {
    Some(match field {
        Expr::Payload(Header::Ip, HeaderField::Saddr | HeaderField::Daddr) => (4, false),
        Expr::Payload(Header::Ether, HeaderField::Saddr | HeaderField::Daddr) => (6, false),
        Expr::Payload(_, HeaderField::Sport | HeaderField::Dport) => (2, false),
        Expr::Payload(_, HeaderField::Protocol | HeaderField::Ttl) | Expr::Meta(MetaKey::L4proto) => (1, false),
        Expr::Meta(MetaKey::Mark) | Expr::Ct(CtKey::Mark, _) => (4, true),
        Expr::Payload(Header::Ip6, HeaderField::Saddr | HeaderField::Daddr)
        | Expr::Meta(MetaKey::Iifname | MetaKey::Oifname) => (16, false),
        _ => return None,
    })
}
