//! What stands between the IP header and the transport header of random packets.

use flowtrace::net::{ExtHeader, ExtHeaders, Protocol};

use super::super::rng::Rng;

/// An extension header: its kind, and what stands behind its first byte.
pub type Extension = (u8, &'static [u8]);

const NOTHING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
const ALERT: &[u8] = &[0, 5, 2, 0, 0, 1, 0];

/// Options of IPv4, right ones and wrong ones.
const OPTIONS: &[&[u8]] = &[
    // Router alert, with another value, and with what comes before and behind it.
    &[148, 4, 0, 0],
    &[148, 4, 0, 1],
    &[1, 148, 4, 0, 0, 1, 0, 0],
    // Record route: nothing recorded, one place left, full, as long as can be.
    &[7, 7, 4, 0, 0, 0, 0, 0],
    &[7, 11, 8, 198, 51, 100, 9, 0, 0, 0, 0, 1],
    &[7, 7, 8, 192, 0, 2, 99, 0],
    &[
        7, 39, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0,
    ],
    // Timestamps: times, addresses before them, for the router itself and for another, full ones.
    &[68, 8, 5, 0, 0, 0, 0, 0],
    &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    &[68, 12, 5, 3, 192, 0, 2, 10, 0, 0, 0, 0],
    &[68, 12, 5, 3, 192, 0, 2, 77, 0, 0, 0, 0],
    &[68, 8, 9, 0x20, 0, 0, 0, 1],
    &[68, 4, 5, 0xf0],
    // Both, and an answer that has no place for its own.
    &[7, 7, 4, 0, 0, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0, 1],
    &[7, 8, 4, 0, 0, 0, 0, 0],
    // Source routes, loose and strict, by the router and past it.
    &[131, 7, 4, 198, 51, 100, 7, 0],
    &[131, 11, 4, 198, 51, 100, 1, 198, 51, 100, 7, 0],
    &[137, 7, 4, 198, 51, 100, 7, 0],
    &[137, 7, 4, 10, 9, 8, 7, 0],
    &[131, 7, 4, 192, 0, 2, 10, 148, 4, 0, 0, 1],
    // What nobody knows.
    &[130, 4, 0, 0],
    &[25, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0],
    &[1, 1, 1, 1],
    &[0, 0, 0, 0],
    // Wrong ones: pointers, lengths, two of a kind.
    &[7, 7, 3, 0, 0, 0, 0, 0],
    &[7, 12, 4, 0],
    &[148, 3, 0, 0],
    &[1, 1, 1, 7],
    &[7, 3, 4, 7, 3, 4, 0, 0],
    &[7, 7, 4, 0, 0, 0, 0, 148, 1, 0, 0, 0],
];

/// Extension headers of IPv6.
const EXTENSIONS: &[&[Extension]] = &[
    &[(0, NOTHING)],
    &[(0, ALERT)],
    &[(60, NOTHING)],
    &[(0, NOTHING), (60, NOTHING)],
    &[(0, ALERT), (43, &[0, 0, 0, 0, 0, 0, 0]), (60, NOTHING)],
    &[(43, &[0, 0, 0, 0, 0, 0, 0])],
    &[(43, &[2, 0, 1, 0, 0, 0, 0, 0x20, 1, 0x0d, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7])],
    &[(44, &[0, 0, 0, 0, 0, 0, 7])],
    &[(0, NOTHING), (44, &[0, 0, 0, 0, 0, 0, 9]), (60, NOTHING)],
    &[(51, &[4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    &[(60, NOTHING), (51, &[4, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    // Options that nobody knows: passed by, dropped, answered.
    &[(0, &[0, 0x1e, 4, 0, 0, 0, 0])],
    &[(0, &[0, 0x5e, 4, 0, 0, 0, 0])],
    &[(0, &[0, 0x9e, 4, 0, 0, 0, 0])],
    &[(0, &[0, 0xde, 4, 0, 0, 0, 0])],
    &[(60, &[0, 0xde, 4, 0, 0, 0, 0])],
    // Padding that holds something, and too much of it.
    &[(0, &[0, 1, 4, 0, 1, 0, 0])],
    &[(0, &[1, 1, 4, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0])],
    &[(0, &[0, 5, 3, 0, 0, 0, 0])],
    // Options for each hop where no hop looks for them.
    &[(60, NOTHING), (0, NOTHING)],
];

/// Options for a packet, mostly none.
pub fn options(rng: &mut Rng) -> &'static [u8] {
    if rng.percent(18) { rng.pick::<&[u8]>(OPTIONS) } else { &[] }
}

/// Extension headers for a packet, mostly none. One that comes in pieces has no other fragment header.
pub fn extensions(pieces: bool, rng: &mut Rng) -> &'static [Extension] {
    let list = if rng.percent(30) { *rng.pick::<&[Extension]>(EXTENSIONS) } else { &[] };
    if pieces && list.iter().any(|(kind, _)| *kind == 44) { &[] } else { list }
}

/// The same as the engine has them.
pub fn headers(list: &[Extension]) -> ExtHeaders {
    let header = |(kind, behind): &Extension| ExtHeader::new(Protocol(*kind), behind).expect("a header of its length");
    ExtHeaders::new(list.iter().map(header).collect())
}
