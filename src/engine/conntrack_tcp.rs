//! TCP's states as connection tracking sees them.
//!
//! Follows `net/netfilter/nf_conntrack_proto_tcp.c`. Sequence numbers are no part of a question or a snapshot: a
//! segment of a tracked connection is taken to be within its window, and where that is asked of one of the snapshot's
//! connections, a gap says so.

use super::conntrack::Dir;

/// `enum tcp_conntrack`, by the names that `conntrack -L` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TcpState {
    SynSent,
    SynRecv,
    Established,
    FinWait,
    CloseWait,
    LastAck,
    TimeWait,
    Close,
    /// Both sides have sent a SYN.
    SynSent2,
}

impl TcpState {
    /// The state of a name (`tcp_conntrack_names`).
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "SYN_SENT" => Self::SynSent,
            "SYN_RECV" => Self::SynRecv,
            "ESTABLISHED" => Self::Established,
            "FIN_WAIT" => Self::FinWait,
            "CLOSE_WAIT" => Self::CloseWait,
            "LAST_ACK" => Self::LastAck,
            "TIME_WAIT" => Self::TimeWait,
            "CLOSE" => Self::Close,
            "SYN_SENT2" => Self::SynSent2,
            _ => return None,
        })
    }
}

/// What the flags make of a segment (`enum tcp_bit_set`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    None,
}

/// `get_conntrack_index`.
fn kind(flags: u8) -> Kind {
    let (fin, syn, rst, ack) = (flags & 0x01 != 0, flags & 0x02 != 0, flags & 0x04 != 0, flags & 0x10 != 0);
    match (rst, syn, fin, ack) {
        (true, ..) => Kind::Rst,
        (_, true, _, true) => Kind::SynAck,
        (_, true, _, false) => Kind::Syn,
        (_, _, true, _) => Kind::Fin,
        (.., true) => Kind::Ack,
        _ => Kind::None,
    }
}

/// What a segment does to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It belongs to it, which is then in this state.
    Goes(TcpState),
    /// It passes and leaves the connection as it is.
    Ignored,
    /// It doesn't belong to it: the packet is `INVALID`.
    Invalid,
    /// The connection is over, and the segment starts a new one.
    Reopens,
    /// It does so if the reset that closed the connection came from the same side, and is ignored if not.
    ReopensOwnReset,
}

/// What the sequence numbers of a segment that belongs to its connection must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    /// Inside the window.
    InWindow,
    /// Besides, a reset's not before what its receiver has acknowledged.
    OfReset,
}

/// Which sequence numbers the kernel takes: any in a SYN, which starts them, and in the reset of a connection that is
/// ending (`tcp_can_early_drop`).
pub(super) fn asks_sequence(state: TcpState, flags: u8) -> Option<Sequence> {
    use TcpState as S;
    match (kind(flags), state) {
        (Kind::Rst, S::FinWait | S::CloseWait | S::LastAck | S::TimeWait | S::Close)
        | (Kind::Syn | Kind::SynAck | Kind::None, _) => None,
        (Kind::Rst, _) => Some(Sequence::OfReset),
        (Kind::Fin | Kind::Ack, _) => Some(Sequence::InWindow),
    }
}

/// Flags that no TCP sends together (`tcp_valid_flags`); PSH, ECE and CWR don't count.
pub(super) fn are_flags_valid(flags: u8) -> bool {
    matches!(flags & 0x37, 0x02 | 0x22 | 0x12 | 0x04 | 0x14 | 0x11 | 0x31 | 0x10 | 0x30)
}

/// The state of a connection after its first segment, which may be one from its middle where `loose` says so
/// (`tcp_new`).
pub(super) fn tcp_new(flags: u8, loose: bool) -> Option<TcpState> {
    match kind(flags) {
        Kind::Syn => Some(TcpState::SynSent),
        Kind::Ack if loose => Some(TcpState::Established),
        _ => None,
    }
}

/// A further segment (`tcp_conntracks` and the first half of `nf_conntrack_tcp_packet`).
pub(super) fn tcp_packet(state: TcpState, dir: Dir, flags: u8) -> Seen {
    match kind(flags) {
        Kind::None => Seen::Invalid,
        Kind::Rst => Seen::Goes(TcpState::Close),
        Kind::Syn => syn(state, dir),
        Kind::SynAck => syn_ack(state, dir),
        Kind::Fin => fin(state),
        Kind::Ack => ack(state, dir),
    }
}

fn syn(state: TcpState, dir: Dir) -> Seen {
    use TcpState as S;
    match (state, dir) {
        (S::TimeWait, _) => Seen::Reopens,
        (S::SynSent, Dir::Original) => Seen::Goes(S::SynSent),
        (S::SynSent, Dir::Reply) | (S::SynSent2, _) => Seen::Goes(S::SynSent2),
        (S::Close, Dir::Original) => Seen::ReopensOwnReset,
        (_, Dir::Original) => Seen::Ignored,
        (_, Dir::Reply) => Seen::Invalid,
    }
}

fn syn_ack(state: TcpState, dir: Dir) -> Seen {
    use TcpState as S;
    match (state, dir) {
        (S::SynSent2, _) | (S::SynRecv, Dir::Original) | (S::SynSent, Dir::Reply) => Seen::Goes(S::SynRecv),
        (_, Dir::Original) => Seen::Invalid,
        (_, Dir::Reply) => Seen::Ignored,
    }
}

fn fin(state: TcpState) -> Seen {
    use TcpState as S;
    match state {
        S::SynSent | S::SynSent2 => Seen::Invalid,
        S::SynRecv | S::Established => Seen::Goes(S::FinWait),
        S::FinWait | S::CloseWait | S::LastAck => Seen::Goes(S::LastAck),
        S::TimeWait | S::Close => Seen::Goes(state),
    }
}

fn ack(state: TcpState, dir: Dir) -> Seen {
    use TcpState as S;
    match (state, dir) {
        (S::SynSent | S::SynSent2, Dir::Original) => Seen::Invalid,
        (S::SynSent | S::SynSent2, Dir::Reply) => Seen::Ignored,
        (S::SynRecv, Dir::Reply) => Seen::Goes(S::SynRecv),
        (S::SynRecv | S::Established, _) => Seen::Goes(S::Established),
        (S::FinWait | S::CloseWait, _) => Seen::Goes(S::CloseWait),
        (S::LastAck | S::TimeWait, _) => Seen::Goes(S::TimeWait),
        (S::Close, _) => Seen::Goes(S::Close),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_establishes() {
        let state = tcp_new(0x02, false);
        assert_eq!(state, Some(TcpState::SynSent));
        assert_eq!(tcp_packet(TcpState::SynSent, Dir::Reply, 0x12), Seen::Goes(TcpState::SynRecv));
        assert_eq!(tcp_packet(TcpState::SynRecv, Dir::Original, 0x10), Seen::Goes(TcpState::Established));
    }

    #[test]
    fn a_connection_is_picked_up_in_its_middle_only_where_loose() {
        assert_eq!(tcp_new(0x10, true), Some(TcpState::Established));
        assert_eq!(tcp_new(0x10, false), None);
        assert_eq!(tcp_new(0x12, true), None);
    }

    #[test]
    fn a_syn_reopens_what_is_over_and_disturbs_nothing_else() {
        assert_eq!(tcp_packet(TcpState::TimeWait, Dir::Original, 0x02), Seen::Reopens);
        assert_eq!(tcp_packet(TcpState::Established, Dir::Original, 0x02), Seen::Ignored);
        assert_eq!(tcp_packet(TcpState::Established, Dir::Reply, 0x02), Seen::Invalid);
    }

    #[test]
    fn an_ack_before_the_answer_is_invalid() {
        assert_eq!(tcp_packet(TcpState::SynSent, Dir::Original, 0x10), Seen::Invalid);
    }
}
