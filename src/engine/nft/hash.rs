//! `jhash` (`nft_hash.c`, `include/linux/jhash.h`).

use crate::snapshot::nft::{CtKey, Expr, Header, HeaderField, MetaKey};

use super::load::{Doubt, Field};

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
    let hash = jhash_bytes(&bytes, seed);
    Ok(u128::from((u64::from(hash) * u64::from(modulus)) >> 32) + u128::from(offset))
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
        Expr::Payload(_, HeaderField::Protocol) | Expr::Meta(MetaKey::L4proto) => (1, false),
        Expr::Meta(MetaKey::Mark) | Expr::Ct(CtKey::Mark, _) => (4, true),
        Expr::Payload(Header::Ip6, HeaderField::Saddr | HeaderField::Daddr)
        | Expr::Meta(MetaKey::Iifname | MetaKey::Oifname) => (16, false),
        _ => return None,
    })
}

/// `jhash` of any key.
fn jhash_bytes(key: &[u8], seed: u32) -> u32 {
    let length = u32::try_from(key.len()).unwrap_or(0);
    let start = 0xdead_beef_u32.wrapping_add(length).wrapping_add(seed);
    let mut state = [start; 3];
    let mut rest = key;
    while rest.len() > 12 {
        let (block, after) = rest.split_at(12);
        add(&mut state, block);
        mix(&mut state);
        rest = after;
    }
    if !rest.is_empty() {
        add(&mut state, rest);
        last_mix(&mut state);
    }
    state[2]
}

/// Adds up to twelve bytes, four to each word.
fn add(state: &mut [u32; 3], block: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(block.chunks(4)) {
        let number = bytes.iter().rev().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        *word = word.wrapping_add(number);
    }
}

/// `__jhash_mix`.
fn mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    *state = [a, b, c];
}

/// `__jhash_final`.
fn last_mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    *state = [a, b, c];
}
