//! The questions about a scenario: packets to send, and what is known to come of them.

use std::net::IpAddr;

use nix::errno::Errno;

use super::flannel::{CLIENT4, CLIENT6};

/// A protocol that a probe speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proto {
    /// An echo request.
    Icmp,
    /// A datagram to a program that sends it back.
    Udp,
    /// A SYN to a listener.
    Tcp,
}

impl Proto {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A packet to send, and how `explain` is asked about it.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The namespace that sends.
    pub space: String,
    /// `explain`'s FROM.
    pub from: String,
    /// `explain`'s TO.
    pub to: String,
    /// The protocol.
    pub proto: Proto,
    /// Where the packet goes.
    pub destination: IpAddr,
    /// The destination port (ignored for icmp).
    pub port: u16,
    /// The source port, or an echo's identifier: the lab counts them up.
    pub sport: u16,
    /// The source port, where the question is about it.
    pub fixed_sport: Option<u16>,
    /// The address that the socket is bound to.
    pub source: Option<IpAddr>,
    /// The IP packet's total length.
    pub size: Option<u32>,
    /// Don't fragment.
    pub df: bool,
    /// Time to live.
    pub ttl: Option<u8>,
    /// The TOS octet.
    pub tos: Option<u8>,
    /// The socket's mark.
    pub mark: Option<u32>,
    /// Ports that programs listen on besides `port`, since a rule may send the packet there.
    pub listen: Vec<u16>,
    /// Further arguments for `explain`.
    pub extra: Vec<String>,
    /// How often the probe is sent in the hope of seeing every path.
    pub times: u16,
    /// Which part of the scenario the question belongs to.
    pub about: &'static str,
    /// What the scenario's author knows of the kernel, so that a scenario that shows something else is noticed.
    pub want: Option<Want>,
}

/// What must come of a probe for the scenario to make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The named namespace answers, and the sender hears it.
    Answered(String),
    /// One of several namespaces answers.
    AnsweredBySome,
    /// The named namespace answers, and nobody hears it.
    Unheard(String),
    /// Nothing comes back, and nobody got it.
    Silence,
    /// An error comes back.
    Error(Errno),
    /// The sender's own stack refuses.
    Refused(Errno),
}

impl Probe {
    /// A probe with `explain`'s defaults.
    pub fn new(space: &str, from: &str, to: &str, proto: Proto, destination: &str, port: u16) -> Self {
        Self {
            space: space.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            proto,
            destination: destination.parse().unwrap_or_else(|_| panic!("{destination:?} is no address")),
            port,
            sport: 40000,
            fixed_sport: None,
            source: None,
            size: None,
            df: false,
            ttl: None,
            tos: None,
            mark: None,
            listen: Vec::new(),
            extra: Vec::new(),
            times: 1,
            about: "",
            want: None,
        }
    }

    /// A probe whose sender is named as `explain` names it: `NAMESPACE/POD`, `node/NAME`, or an address of the
    /// client or of the world outside.
    pub fn ask(from: &str, to: &str, proto: Proto, destination: &str, port: u16) -> Self {
        let space = match from.strip_prefix("node/") {
            Some(node) => node,
            None if from.parse::<IpAddr>().is_err() => from,
            None if [CLIENT4, CLIENT6].contains(&from) => "client",
            None => "world",
        };
        Self::new(space, from, to, proto, destination, port)
    }

    /// The named namespace answers.
    pub fn answered_by(mut self, space: &str) -> Self {
        self.want = Some(Want::Answered(space.to_owned()));
        self
    }

    /// What must come of it.
    pub fn want(mut self, want: Want) -> Self {
        self.want = Some(want);
        self
    }

    /// Nothing comes back.
    pub fn silent(self) -> Self {
        self.want(Want::Silence)
    }

    /// An error comes back.
    pub fn error(self, errno: Errno) -> Self {
        self.want(Want::Error(errno))
    }

    /// The sender's own stack refuses.
    pub fn refused(self, errno: Errno) -> Self {
        self.want(Want::Refused(errno))
    }

    /// Sent so often, since several ways are open to it.
    pub fn times(mut self, times: u16) -> Self {
        self.times = times;
        self
    }

    /// With this TTL.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// With this length.
    pub fn size(mut self, size: u32) -> Self {
        self.size = Some(size);
        self
    }

    /// With this TOS.
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = Some(tos);
        self
    }

    /// With this mark.
    pub fn mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Don't fragment.
    pub fn df(mut self) -> Self {
        self.df = true;
        self
    }

    /// From this source port.
    pub fn sport(mut self, sport: u16) -> Self {
        self.fixed_sport = Some(sport);
        self
    }

    /// From a socket bound to this address.
    pub fn source(mut self, source: &str) -> Self {
        self.source = Some(source.parse().unwrap_or_else(|_| panic!("{source:?} is no address")));
        self
    }

    /// A program listens on this port too.
    pub fn listening(mut self, port: u16) -> Self {
        self.listen.push(port);
        self
    }
}
