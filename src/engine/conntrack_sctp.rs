//! With which packets of SCTP connection tracking begins a connection.
//!
//! Follows `net/netfilter/nf_conntrack_proto_sctp.c`. Verification tags stand in the common header, of which a question
//! has the ports alone: they are taken to be as a sender sets them, which is zero beside INIT only.

const INIT: u8 = 1;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;

/// The types of the chunks behind the common header, and whether each has a length (`for_each_sctp_chunk`,
/// `do_basic_checks`).
pub(crate) fn chunks(payload: &[u8]) -> (Vec<u8>, bool) {
    let (mut types, mut rest) = (Vec::new(), payload);
    while let [kind, _, high, low, ..] = *rest {
        types.push(kind);
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 {
            return (types, false);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (types, true)
}

/// Whether a packet with this behind its common header begins a connection; otherwise it is `INVALID`
/// (`nf_conntrack_sctp_packet` and `sctp_new` of what has no connection yet).
///
/// INIT stands alone and has a header of its own. What else is sent within an association begins none: data has no state
/// to stay in, and the tag of an INIT ACK, a cookie or an error is none that is known. Only where a heartbeat, its answer
/// or a SHUTDOWN ACK is beside it, no tag is asked for.
pub(super) fn begins(payload: &[u8]) -> bool {
    const INIT_HEADER: usize = 4 + 16;
    let (types, are_measured) = chunks(payload);
    if types.contains(&INIT) {
        return are_measured && types.len() == 1 && payload.len() >= INIT_HEADER;
    }
    let may_begin = |kind: &u8| matches!(*kind, HEARTBEAT | HEARTBEAT_ACK | SHUTDOWN | SHUTDOWN_ACK | ERROR);
    let is_untagged = |kind: &u8| matches!(*kind, HEARTBEAT | HEARTBEAT_ACK | SHUTDOWN_ACK);
    are_measured && types.iter().all(may_begin) && types.iter().any(is_untagged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: u8, length: u8) -> Vec<u8> {
        let mut chunk = vec![kind, 0, 0, length];
        chunk.resize(usize::from(length.max(4)).next_multiple_of(4), 0);
        chunk
    }

    #[test]
    fn an_association_begins_with_init_or_a_heartbeat() {
        assert!(begins(&chunk(INIT, 20)));
        assert!(!begins(&chunk(INIT, 8)));
        assert!(!begins(&[chunk(INIT, 20), chunk(0, 16)].concat()));
        assert!(begins(&chunk(HEARTBEAT, 7)));
        assert!(begins(&[chunk(ERROR, 5), chunk(SHUTDOWN_ACK, 4)].concat()));
    }

    #[test]
    fn what_is_within_one_begins_none() {
        for kind in [0, 2, 3, 6, SHUTDOWN, ERROR, 10, 11, 14, 192] {
            assert!(!begins(&chunk(kind, 16)), "{kind}");
        }
        assert!(!begins(&[]));
        assert!(!begins(&chunk(HEARTBEAT, 0)));
        assert!(!begins(&[chunk(HEARTBEAT, 8), chunk(0, 16)].concat()));
    }
}
