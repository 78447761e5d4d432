//! The question to walk for a candidate.

use crate::engine::{AnswerGiven, ErrorGiven, Given, Question};
use crate::net::{Ip, Packet, Protocol, Transport};
use crate::trace::Role;

use super::candidate::Candidate;
use super::{Captured, Options, Standing};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// What a sender sets where nobody knows.
pub(super) const USUAL_TTL: u8 = 64;

/// What is known of a packet beside its headers.
pub(super) fn given(captured: &Captured) -> Given {
    Given { payload: captured.payload.clone(), time: captured.time, ..Given::default() }
}

/// The question about what a candidate has sent, if it is to lead to the captured packet.
pub(super) fn question(options: Options, candidate: &Candidate, captured: &Captured, standing: Standing) -> Question {
    let packet = captured.packet.innermost();
    let (sent, given) = match standing.role {
        Role::Original => (original(candidate, packet), given(captured)),
        Role::Reply => (asked(candidate, packet, standing), answer(captured)),
        Role::Error => {
            let given = Given { time: captured.time, error: error(candidate, packet), ..Given::default() };
            (quoted(candidate, packet), given)
        }
    };
    Question {
        packet: sent,
        from: candidate.from.clone(),
        reply: options.reply || standing.role != Role::Original,
        max_paths: options.max_paths,
        verbose: options.verbose,
        established: standing.is_established && standing.role != Role::Error,
        opened_by: None,
        given,
    }
}

/// The error that was captured, as it may have been sent.
fn error(candidate: &Candidate, packet: &Packet) -> Option<ErrorGiven> {
    let Transport::Icmp { kind, code, .. } = packet.transport else { return None };
    // What was asked for has its address put in the place of whoever answered in its name.
    let source = Some(packet.ip.source).filter(|source| *source != candidate.destination);
    let Ip { ttl, tos, df, .. } = packet.ip;
    Some(ErrorGiven { message: (kind, code), source, ttl, tos, df, length: packet.length })
}

/// The packet itself, as it may have been before it was translated.
fn original(candidate: &Candidate, packet: &Packet) -> Packet {
    let ip = Ip { source: candidate.source, destination: candidate.destination, ttl: USUAL_TTL, ..packet.ip };
    let mut sent = Packet::new(ip, packet.transport.clone(), packet.length);
    (sent.options, sent.extensions) = (packet.options.clone(), packet.extensions.clone());
    set_ports(&mut sent.transport, candidate);
    sent
}

/// The packet that the captured one answers.
fn asked(candidate: &Candidate, packet: &Packet, standing: Standing) -> Packet {
    let v6 = candidate.destination.is_ipv6();
    let tos = standing.asked_tos.unwrap_or(0);
    let ip = Ip { source: candidate.source, destination: candidate.destination, ttl: USUAL_TTL, tos, df: v6 };
    let mut sent = Packet::new(ip, packet.transport.clone(), if v6 { 80 } else { 60 });
    match &mut sent.transport {
        Transport::Tcp { flags, .. } => {
            *flags = if standing.is_established { ACK } else { SYN };
            // TCP always looks for the path's MTU.
            sent.ip.df = true;
        }
        Transport::Icmp { kind, .. } => {
            *kind = query(*kind, packet.protocol());
            // An echo goes back as it came.
            (sent.length, sent.ip.tos) = (packet.length, packet.ip.tos);
        }
        _ => {}
    }
    set_ports(&mut sent.transport, candidate);
    sent
}

/// The message that an ICMP answer is to.
fn query(answer: u8, protocol: Protocol) -> u8 {
    match (protocol, answer) {
        (Protocol::ICMP, 0) => 8,
        (Protocol::ICMP, 14) => 13,
        (Protocol::ICMP, 16) => 15,
        (Protocol::ICMP, 18) => 17,
        (Protocol::ICMPV6, 129) => 128,
        (_, other) => other,
    }
}

/// The packet that an error is about.
fn quoted(candidate: &Candidate, error: &Packet) -> Packet {
    match &error.transport {
        Transport::Icmp { quoted: Some(quoted), .. } => {
            // What was sent is inside the tunnel packet that the error is about.
            let mut sent = original(candidate, quoted.innermost());
            // What a quotation cuts off is no header without flags.
            if let Transport::Tcp { flags, .. } = &mut sent.transport
                && *flags == 0
            {
                *flags = SYN;
            }
            sent
        }
        _ => original(candidate, error),
    }
}

fn set_ports(transport: &mut Transport, candidate: &Candidate) {
    match transport {
        Transport::Tcp { source, destination, .. }
        | Transport::Udp { source, destination }
        | Transport::Sctp { source, destination } => {
            (*source, *destination) = (candidate.source_port, candidate.destination_port);
        }
        // A connection that is known tells the identifier as it was before it was translated.
        Transport::Icmp { id, .. } => *id = candidate.source_port.or(*id),
        Transport::Other(_) => {}
    }
}

/// What the receiver is known to have answered.
fn answer(captured: &Captured) -> Given {
    let packet = captured.packet.innermost();
    let flags = match packet.transport {
        Transport::Tcp { flags, .. } => Some(flags),
        _ => None,
    };
    let answer = AnswerGiven {
        ttl: None,
        tos: packet.ip.tos,
        df: packet.ip.df,
        length: packet.length,
        flags,
        payload: captured.payload.clone(),
    };
    Given { time: captured.time, answer: Some(answer), ..Given::default() }
}
