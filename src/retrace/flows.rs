//! What a packet is in its conversation, from what the capture has shown of it so far.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::net::{Packet, Protocol, Transport};
use crate::trace::Role;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;

/// One end of a conversation. An echo has its identifier at both ends.
type End = (IpAddr, u16);

/// The conversations of one capture point.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    known: HashMap<(Protocol, End, End), Flow>,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    opener: End,
    /// The TOS of what the opener sent last.
    tos: Option<u8>,
    /// Whether the opener is known, and not only the first that was seen.
    is_certain: bool,
    /// Whether an answer was seen.
    is_answered: bool,
    /// Whether a segment was seen that opens no connection.
    is_late: bool,
}

/// What a packet is in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Which part it has.
    pub role: Role,
    /// Whether the conversation has seen packets both ways before.
    pub is_established: bool,
    /// Whether the capture shows none of those packets: it is supposed of a segment that opens no connection.
    pub is_supposed: bool,
    /// Whether the capture shows the role; otherwise the first one that was seen is taken to have opened it.
    pub is_certain: bool,
    /// Of an answer, the TOS of what it answers, where the capture has shown that.
    pub asked_tos: Option<u8>,
}

impl Flows {
    /// Takes note of a packet without tunnels, and says what it is.
    pub fn note(&mut self, packet: &Packet) -> Standing {
        if packet.is_icmp_error() {
            return Standing {
                role: Role::Error,
                is_established: false,
                is_supposed: false,
                is_certain: true,
                asked_tos: None,
            };
        }
        let (from, to) = ends(packet);
        let key = (packet.protocol(), from.min(to), from.max(to));
        let says = told(packet);
        // A SYN begins anew whatever was before.
        if says == Some(Role::Original) && packet.protocol() == Protocol::TCP {
            self.known.remove(&key);
        }
        let is_certain = says.is_some();
        let opener = if says == Some(Role::Reply) { to } else { from };
        let flow =
            self.known.entry(key).or_insert(Flow { opener, tos: None, is_certain, is_answered: false, is_late: false });
        if is_certain && !flow.is_certain {
            (flow.opener, flow.tos, flow.is_certain) = (opener, None, true);
        }
        let role = says.unwrap_or(if flow.opener == from { Role::Original } else { Role::Reply });
        // What opens a connection, and the answer to that, are of none that is established, however often they are seen.
        flow.is_late |= is_late(packet);
        let is_established = (flow.is_answered || flow.is_late) && !has_syn(packet);
        let is_supposed = is_established && !flow.is_answered;
        let asked_tos = flow.tos.filter(|_| role == Role::Reply);
        if role == Role::Original {
            flow.tos = Some(packet.ip.tos);
        }
        let standing = Standing { role, is_established, is_supposed, is_certain: flow.is_certain, asked_tos };
        flow.is_answered |= role == Role::Reply;
        standing
    }

    /// How many conversations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

fn ends(packet: &Packet) -> (End, End) {
    let (source, destination) = match packet.transport {
        Transport::Icmp { id, .. } => (id.unwrap_or(0), id.unwrap_or(0)),
        _ => (packet.source_port().unwrap_or(0), packet.destination_port().unwrap_or(0)),
    };
    ((packet.ip.source, source), (packet.ip.destination, destination))
}

/// The role that a packet has by itself.
fn told(packet: &Packet) -> Option<Role> {
    match packet.transport {
        Transport::Tcp { flags, .. } if flags & (SYN | ACK) == SYN => Some(Role::Original),
        Transport::Tcp { flags, .. } if flags & (SYN | ACK) == SYN | ACK => Some(Role::Reply),
        Transport::Icmp { kind, .. } if packet.ip.destination.is_ipv4() => match kind {
            8 | 13 | 15 | 17 => Some(Role::Original),
            0 | 14 | 16 | 18 => Some(Role::Reply),
            _ => None,
        },
        Transport::Icmp { kind: 128 | 139, .. } => Some(Role::Original),
        Transport::Icmp { kind: 129 | 140, .. } => Some(Role::Reply),
        _ => None,
    }
}

fn has_syn(packet: &Packet) -> bool {
    matches!(packet.transport, Transport::Tcp { flags, .. } if flags & SYN != 0)
}

/// Whether a segment is from the middle of a connection, which has then seen packets both ways. A reset may as well
/// answer the first one.
fn is_late(packet: &Packet) -> bool {
    matches!(packet.transport, Transport::Tcp { flags, .. } if flags & (SYN | RST) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Ip;

    const CLIENT: u8 = 1;
    const SERVER: u8 = 2;

    fn packet(from: u8, transport: Transport) -> Packet {
        let to = if from == CLIENT { SERVER } else { CLIENT };
        let ip = Ip { source: [10, 0, 0, from].into(), destination: [10, 0, 0, to].into(), ttl: 64, tos: 0, df: false };
        Packet::new(ip, transport, 60)
    }

    fn ports(from: u8) -> (Option<u16>, Option<u16>) {
        if from == CLIENT { (Some(40000), Some(80)) } else { (Some(80), Some(40000)) }
    }

    fn tcp(from: u8, flags: u8) -> Packet {
        let (source, destination) = ports(from);
        packet(from, Transport::Tcp { source, destination, flags })
    }

    fn udp(from: u8) -> Packet {
        let (source, destination) = ports(from);
        packet(from, Transport::Udp { source, destination })
    }

    fn standing(role: Role, is_established: bool, is_certain: bool) -> Standing {
        Standing { role, is_established, is_supposed: false, is_certain, asked_tos: None }
    }

    fn supposed(role: Role, is_certain: bool) -> Standing {
        Standing { is_supposed: true, ..standing(role, true, is_certain) }
    }

    /// What a packet is, without what its question was sent with.
    fn noted(flows: &mut Flows, packet: &Packet) -> Standing {
        Standing { asked_tos: None, ..flows.note(packet) }
    }

    #[test]
    fn a_handshake_tells_who_opened_the_connection() {
        let mut flows = Flows::default();
        assert_eq!(noted(&mut flows, &tcp(CLIENT, SYN)), standing(Role::Original, false, true));
        assert_eq!(noted(&mut flows, &tcp(SERVER, SYN | ACK)), standing(Role::Reply, false, true));
        assert_eq!(noted(&mut flows, &tcp(CLIENT, ACK)), standing(Role::Original, true, true));
        assert_eq!(noted(&mut flows, &tcp(SERVER, ACK)), standing(Role::Reply, true, true));
        assert_eq!(noted(&mut flows, &tcp(CLIENT, SYN)), standing(Role::Original, false, true));
        assert_eq!(noted(&mut flows, &tcp(SERVER, RST | ACK)), standing(Role::Reply, false, true));
        assert_eq!(flows.len(), 1);
    }

    #[test]
    fn a_capture_that_begins_in_the_middle_can_only_suppose_it() {
        let mut flows = Flows::default();
        assert_eq!(noted(&mut flows, &tcp(SERVER, ACK)), supposed(Role::Original, false));
        assert_eq!(noted(&mut flows, &tcp(SERVER, ACK)), supposed(Role::Original, false));
        assert_eq!(noted(&mut flows, &tcp(CLIENT, ACK)), supposed(Role::Reply, false));
        assert_eq!(noted(&mut flows, &tcp(SERVER, ACK)), standing(Role::Original, true, false));
        assert_eq!(noted(&mut flows, &tcp(SERVER, SYN | ACK)), standing(Role::Reply, false, true));
        assert_eq!(noted(&mut flows, &tcp(CLIENT, ACK)), standing(Role::Original, true, true));
    }

    #[test]
    fn datagrams_are_answered_by_what_comes_back() {
        let mut flows = Flows::default();
        assert_eq!(noted(&mut flows, &udp(CLIENT)), standing(Role::Original, false, false));
        assert_eq!(noted(&mut flows, &udp(CLIENT)), standing(Role::Original, false, false));
        assert_eq!(noted(&mut flows, &udp(SERVER)), standing(Role::Reply, false, false));
        assert_eq!(noted(&mut flows, &udp(CLIENT)), standing(Role::Original, true, false));
    }

    #[test]
    fn an_answer_knows_what_its_question_was_sent_with() {
        let mut flows = Flows::default();
        let mut asked = udp(CLIENT);
        asked.ip.tos = 0x10;
        assert_eq!(flows.note(&asked).asked_tos, None);
        assert_eq!(flows.note(&udp(SERVER)).asked_tos, Some(0x10));
    }

    #[test]
    fn echoes_and_errors_say_what_they_are() {
        let mut flows = Flows::default();
        let icmp = |kind, id| Transport::Icmp { kind, code: 0, id, quoted: None };
        assert_eq!(noted(&mut flows, &packet(SERVER, icmp(0, Some(7)))), standing(Role::Reply, false, true));
        assert_eq!(noted(&mut flows, &packet(CLIENT, icmp(8, Some(7)))), standing(Role::Original, true, true));
        assert_eq!(noted(&mut flows, &packet(CLIENT, icmp(8, Some(8)))), standing(Role::Original, false, true));
        assert_eq!(flows.note(&packet(SERVER, icmp(3, None))).role, Role::Error);
    }
}
