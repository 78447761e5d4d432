//! The ports and flags of TCP and UDP, which iptables-nft writes as comparisons of its own since version 1.8.8.

use super::text::Line;

/// What a comparison asks (`enum nft_cmp_ops`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Op {
    pub fn of(number: u32) -> Option<Self> {
        let all = [Self::Equal, Self::Unequal, Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual];
        all.get(usize::try_from(number).ok()?).copied()
    }

    /// Whether it is inverted, where it is one of the two that most fields know.
    pub fn inverted(self) -> Option<bool> {
        match self {
            Self::Equal => Some(false),
            Self::Unequal => Some(true),
            _ => None,
        }
    }
}

/// A range of ports, and whether it is inverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub first: u16,
    pub last: u16,
    pub inverted: bool,
}

impl Ports {
    /// All of them.
    pub const ALL: Self = Self { first: 0, last: u16::MAX, inverted: false };

    /// Those that a comparison with one port leaves (`port_match_single_to_range` of iptables' `nft-shared.c`).
    pub fn compared(op: Op, port: u16) -> Self {
        let mut ports = Self::ALL;
        match op {
            Op::Equal | Op::Unequal => ports = Self { first: port, last: port, inverted: op == Op::Unequal },
            Op::Less => ports.last = port.saturating_sub(1).max(1),
            Op::LessOrEqual => ports.last = port,
            Op::Greater => ports.first = port.saturating_add(1),
            Op::GreaterOrEqual => ports.first = port,
        }
        ports
    }

    /// Adds them, unless they are all. Versions differ in what they write where none is left.
    fn write(self, line: &mut Line, option: &str) -> Option<()> {
        let Self { first, last, inverted } = self;
        if (first, last) == (0, u16::MAX) {
            return (!inverted).then_some(());
        }
        line.option(inverted, option);
        line.put(format_args!(" {first}"));
        if first != last {
            line.put(format_args!(":{last}"));
        }
        Some(())
    }
}

/// The match `tcp` or `udp`.
#[derive(Debug, Clone, Default)]
pub(super) struct Transport {
    pub source: Option<Ports>,
    pub destination: Option<Ports>,
    /// The TCP option that is asked for, and whether that is inverted.
    pub option: Option<(u8, bool)>,
    /// The mask of TCP's flags, those that are set, and whether that is inverted.
    pub flags: Option<(u8, u8, bool)>,
}

impl Transport {
    /// Adds what is asked (`tcp_save`, `udp_save`).
    pub fn write(&self, line: &mut Line) -> Option<()> {
        self.source.unwrap_or(Ports::ALL).write(line, "--sport")?;
        self.destination.unwrap_or(Ports::ALL).write(line, "--dport")?;
        if let Some((option, inverted)) = self.option.filter(|(option, inverted)| *option != 0 || *inverted) {
            line.option(inverted, "--tcp-option");
            line.put(format_args!(" {option}"));
        }
        if let Some((mask, set, inverted)) = self.flags.filter(|(mask, _, inverted)| *mask != 0 || *inverted) {
            line.option(inverted, "--tcp-flags ");
            tcp_flags(line, mask)?;
            line.push(b" ");
            tcp_flags(line, set)?;
        }
        Some(())
    }
}

fn tcp_flags(line: &mut Line, flags: u8) -> Option<()> {
    const FLAGS: [(u32, &str); 6] = [(1, "FIN"), (2, "SYN"), (4, "RST"), (8, "PSH"), (16, "ACK"), (32, "URG")];
    if flags == 0 {
        line.push(b"NONE");
    }
    line.flags(u32::from(flags), &FLAGS)
}
