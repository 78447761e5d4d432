//! Ranges of TCP sequence numbers, and whether two frames with parts of the same data are the same transmission.

use super::journey::Seen;

/// The longest IP packet of which is sure that no device put it together: more than an Ethernet frame carries comes from
/// a device that splits or joins segments, or from one with larger frames.
const SINGLE: u32 = 1500;

/// How far a sequence number is behind another one, which lies less than 2^31 before or behind it (RFC 9293, 3.4).
pub(super) fn behind(number: u32, base: u32) -> i32 {
    number.wrapping_sub(base).cast_signed()
}

/// What two ranges have in common.
pub(super) fn overlap(one: (u32, u32), other: (u32, u32)) -> Option<(u32, u32)> {
    let from = if behind(other.0, one.0) > 0 { other.0 } else { one.0 };
    let to = if behind(other.1, one.1) < 0 { other.1 } else { one.1 };
    (behind(to, from) > 0).then_some((from, to))
}

/// Whether two frames can be, or be parts of, one transmission, by their IPv4 identifications.
///
/// What segmentation makes of a frame is numbered on from the frame's own number, a segment at a time (`inet_gso_segment`
/// in `net/ipv4/af_inet.c`), or all get the same one; what sends the data again takes the next number that its socket
/// has (`ip_select_ident_segs` in `include/net/ip.h`). Frames without a number (IPv6) can be.
pub(super) fn is_one_burst(one: &Seen, other: &Seen) -> bool {
    if one.id == 0 || other.id == 0 {
        return true;
    }
    let (low, high) = if behind(other.range.0, one.range.0) >= 0 { (one, other) } else { (other, one) };
    let steps = u32::from(u16::try_from(high.id.wrapping_sub(low.id) & 0xffff).unwrap_or(0));
    let offset = high.range.0.wrapping_sub(low.range.0);
    if offset == 0 || steps == 0 {
        return steps == 0;
    }
    if !offset.is_multiple_of(steps) {
        return false;
    }
    let size = offset / steps;
    let carries = high.range.1.wrapping_sub(high.range.0);
    let is_last = high.range.1 == low.range.1;
    match (high.length <= SINGLE, is_last) {
        // The last segment may be smaller than the others, and FIN takes a number more.
        (true, true) => size.saturating_add(1) >= carries,
        (true, false) => size == carries,
        (false, _) => size >= 64 && (is_last || carries >= size),
    }
}
