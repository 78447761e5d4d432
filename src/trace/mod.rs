//! Layer 1: what a walk did. Data only; views render it, judgement reads it.

mod cause;
mod decision;
mod sighting;

use std::net::IpAddr;

use crate::evidence::{Evidence, Gap};
use crate::net::{IfName, NetnsId, NetnsName, NodeName, Packet};

pub use crate::net::Hook;
pub use cause::EndCause;
pub use decision::{CtState, Decision, Forwarded, NatChange, Reason, ReverseMode, RuleVerdict, Verdict};
pub use sighting::{Leg, Role, Sighting, Spot, Way};

/// Where a packet is: a namespace and, inside it, a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace.
    pub netns: NetnsId,
    /// The node that it is on.
    pub node: NodeName,
    /// The namespace's name on that node.
    pub name: NetnsName,
    /// The device that the packet is at; `None` inside the stack before one is chosen.
    pub device: Option<IfName>,
}

/// One thing that happened to the packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where.
    pub place: Place,
    /// What.
    pub decision: Decision,
    /// The lines that decided.
    pub because: Vec<Evidence>,
    /// The packet afterwards, tunnels included.
    pub packet: Packet,
    /// Whether it surely happened: nobody can tell whether some rules without effect match.
    pub certain: bool,
    /// In a verbose walk: the rules of the chain that were tried before this one and did not match.
    pub tried: Vec<Evidence>,
}

/// A packet's way in one direction. The last step is the end, and nothing follows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The steps, in the order in which they happened.
    pub steps: Vec<Step>,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it ended so; `None` for `delivered` and `left`.
    pub reason: Option<Reason>,
    /// What the kernel sent beside the packet, on its account.
    pub beside: Vec<Beside>,
}

/// A packet that the kernel sends beside the one that is walked.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// What it is.
    pub kind: BesideKind,
    /// How many steps the walked packet had when it was sent.
    pub after: usize,
    /// Whether it surely was sent: nobody can tell whether some rules match.
    pub certain: bool,
    /// The ways that it can take, of the way that the walked packet took.
    pub ways: Vec<BesideWay>,
    /// Whether there are more ways.
    pub truncated: bool,
}

/// What the kernel sends beside a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BesideKind {
    /// A copy of it.
    Copy,
    /// `SYNPROXY`'s acknowledgement of the server's answer.
    Ack,
}

impl BesideKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Ack => "ack",
        }
    }
}

/// One way of what is sent beside a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct BesideWay {
    /// The exact probability, `None` where nobody can weigh a choice on the way.
    pub probability: Option<f64>,
    /// The choices on the way, in words.
    pub why: Vec<String>,
    /// The way.
    pub trace: Trace,
}

/// One of the ways that a packet can take, and its answer's.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The exact probability, `None` where nobody can weigh a choice on the way.
    pub probability: Option<f64>,
    /// The choices on the way, in words.
    pub why: Vec<String>,
    /// The way there.
    pub forward: Trace,
    /// The way of the answer, or of the ICMP error or TCP reset where the packet was rejected.
    pub reply: Option<Trace>,
    /// For a rejected packet: whether the sender hears of it; `None` where the error's way back is not known.
    pub error_delivered: Option<bool>,
}

/// All ways of one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The packet as it was first sent, its source filled in.
    pub request: Packet,
    /// The ways, most probable decided by the order of the choices.
    pub paths: Vec<Path>,
    /// The probability of the ways that `--max-paths` cut off; `None` where none was.
    pub unexplored: Option<f64>,
    /// What was missing on any of the ways.
    pub gaps: Vec<Gap>,
}

/// Something worth knowing about an answer, beyond what the walk itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, in one sentence.
    pub what: String,
    /// The lines that show it.
    pub evidence: Vec<Evidence>,
    /// Set where it is that a packet to a service's address was not rewritten: the address, and why.
    pub not_rewritten: Option<(IpAddr, NotRewritten)>,
}

/// Why no rule rewrote a packet to a service's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRewritten {
    /// Services answer to ports, and the protocol has none.
    NoPorts,
    /// The service has another port.
    OtherPort,
    /// The service has the port, and no rule is there for it.
    NoRule,
}

impl Finding {
    /// A finding about nothing but what it says.
    #[must_use]
    pub fn new(what: String, evidence: Vec<Evidence>) -> Self {
        Self { what, evidence, not_rewritten: None }
    }
}

impl Trace {
    /// Whether the packet got where it was meant to go.
    #[must_use]
    pub fn arrived(&self) -> bool {
        matches!(self.verdict, Verdict::Delivered | Verdict::Left)
    }
}

impl Answer {
    /// The verdict over all ways: the one that they share, or `Mixed`.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut verdicts = self.paths.iter().map(|path| path.forward.verdict);
        let Some(first) = verdicts.next() else { return Verdict::Undetermined };
        if verdicts.all(|verdict| verdict == first) { first } else { Verdict::Mixed }
    }
}
