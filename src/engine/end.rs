//! How a stage ends: with what the kernel does next, or with the packet's end.

use std::net::IpAddr;

use crate::evidence::Evidence;
use crate::net::IfName;
use crate::snapshot::NetnsId;
use crate::trace::{EndCause, Reason, Verdict};

use super::synproxy::SynAck;

/// A stage's answer: what comes next, or the end.
pub(super) type Stage<T = Next> = Result<T, Box<End>>;

/// Where the kernel hands the packet on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// `netif_receive_skb`: a device of a namespace hands the packet up.
    Receive(NetnsId, IfName),
    /// `dev_queue_xmit`: the packet is given to a device of the namespace that it is in.
    Xmit(IfName),
    /// `ip_local_out`: the packet leaves the stack of the namespace that it is in, by the route in `skb.dst`.
    LocalOut,
}

/// The end of a packet's way, before it is recorded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    pub verdict: Verdict,
    pub reason: Option<Reason>,
    pub detail: Option<String>,
    pub cause: Option<EndCause>,
    pub because: Vec<Evidence>,
    /// An ICMP error or TCP reset that the kernel makes of it.
    pub error: Option<ErrorReply>,
    /// How an error that is made of the frame goes back; `None` for those that are routed.
    pub straight: Option<Straight>,
    /// The error that the sending socket gets at once.
    pub errno: Option<&'static str>,
    /// The walk isn't over: a rule has taken the packet, and what the kernel sends in its place goes on like this.
    pub next: Option<Next>,
}

/// Where an error goes out that is made of the received frame: back to where that came from, past every route.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Straight {
    /// By the device that handed the frame up.
    Device(IfName),
    /// By the port of a bridge that it came in by, through the bridge's own chains.
    Port(IfName),
}

/// An error that the kernel sends about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorReply {
    /// An ICMP or ICMPv6 error. `mtu` is the next hop's, in "too big" messages.
    Icmp { kind: u8, code: u8, mtu: Option<u32> },
    /// A TCP reset.
    TcpReset,
    /// No error: what `SYNPROXY` answers a SYN with.
    SynAck(SynAck),
    /// "Network unreachable" from the program behind a TUN device, written into the device as from this address.
    Relay { source: IpAddr },
}

impl End {
    pub(super) fn new(verdict: Verdict, reason: Reason) -> Box<Self> {
        Box::new(Self { reason: Some(reason), ..*Self::arrived(verdict) })
    }

    /// It got there.
    pub(super) fn arrived(verdict: Verdict) -> Box<Self> {
        Box::new(Self {
            verdict,
            reason: None,
            detail: None,
            cause: None,
            because: Vec::new(),
            error: None,
            straight: None,
            errno: None,
            next: None,
        })
    }

    /// It ended silently.
    pub(super) fn dropped(reason: Reason) -> Box<Self> {
        Self::new(Verdict::Dropped, reason)
    }

    /// What decides is not in the snapshot, or not modelled.
    pub(super) fn undetermined(reason: Reason, detail: impl Into<String>) -> Box<Self> {
        Self::new(Verdict::Undetermined, reason).detail(detail)
    }

    /// An ICMP error is made of it.
    pub(super) fn icmp(reason: Reason, kind: u8, code: u8) -> Box<Self> {
        let mut end = Self::new(Verdict::Rejected, reason);
        end.error = Some(ErrorReply::Icmp { kind, code, mtu: None });
        end
    }

    /// The sending socket's call fails with this error.
    pub(super) fn errno(reason: Reason, errno: &'static str) -> Box<Self> {
        let mut end = Self::new(Verdict::Rejected, reason);
        end.errno = Some(errno);
        end
    }

    pub(super) fn detail(mut self: Box<Self>, detail: impl Into<String>) -> Box<Self> {
        self.detail = Some(detail.into());
        self
    }

    /// What ended it, and the same in words.
    pub(super) fn cause(mut self: Box<Self>, cause: EndCause) -> Box<Self> {
        self.detail = Some(cause.to_string());
        self.cause = Some(cause);
        self
    }

    pub(super) fn because(mut self: Box<Self>, because: impl IntoIterator<Item = Evidence>) -> Box<Self> {
        self.because.extend(because);
        self
    }
}
