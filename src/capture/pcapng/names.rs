//! What a pcapng file calls addresses: its blocks of name resolution.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// So many addresses are remembered, and of each a name that can be one of DNS.
const MOST: usize = 65_536;
const LONGEST: usize = 255;

/// Kinds of records; what has another kind is passed over.
pub(super) const END: u16 = 0;
pub(super) const IPV4: u16 = 1;
pub(super) const IPV6: u16 = 2;

/// Names of addresses.
pub(in crate::capture) type Names = HashMap<IpAddr, Box<str>>;

/// Takes the first name of each record. What can't be a record ends them.
pub(super) fn take(mut records: &[u8], u16: impl Fn([u8; 2]) -> u16, names: &mut Arc<Names>) {
    while let Some((&[k1, k2, s1, s2], rest)) = records.split_first_chunk() {
        let (kind, size) = (u16([k1, k2]), usize::from(u16([s1, s2])));
        let Some(value) = rest.get(..size).filter(|_| kind != END) else { return };
        let found = match kind {
            IPV4 => value.split_first_chunk::<4>().map(|(octets, name)| (IpAddr::from(*octets), name)),
            IPV6 => value.split_first_chunk::<16>().map(|(octets, name)| (IpAddr::from(*octets), name)),
            _ => None,
        };
        if let Some((address, name)) = found
            && let Some(name) = name.split(|byte| *byte == 0).next().filter(|name| (1..=LONGEST).contains(&name.len()))
            && (names.len() < MOST || names.contains_key(&address))
        {
            Arc::make_mut(names).insert(address, String::from_utf8_lossy(name).into());
        }
        records = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
}
