//! The answer where the sender's own namespace is not in the snapshot: nothing can be walked, and it says what is
//! missing.

use crate::net::{NetnsId, NetnsName, NodeName, Packet, PodName};
use crate::trace::{Answer, Decision, Path, Place, Reason, Step, Trace, Verdict};

/// An answer of one step.
pub(super) fn answer(folder: &str, packet: &Packet) -> Answer {
    let (verdict, reason) = (Verdict::Undetermined, Some(Reason::MissingTable));
    let decision = Decision::End {
        verdict,
        reason,
        detail: Some(format!("the snapshot has no {folder}, where the sender's tables would be")),
        cause: None,
        icmp: None,
        icmp_source: None,
        tcp_reset: false,
        errno: None,
    };
    let step = Step {
        place: place(folder),
        decision,
        because: Vec::new(),
        packet: packet.clone(),
        certain: true,
        tried: Vec::new(),
    };
    let forward = Trace { steps: vec![step], verdict, reason, beside: Vec::new() };
    let path = Path { probability: Some(1.0), why: Vec::new(), forward, reply: None, error_delivered: None };
    Answer { request: packet.clone(), paths: vec![path], unexplored: None, gaps: Vec::new() }
}

/// The namespace that a folder would hold. No namespace of the snapshot has its number.
fn place(folder: &str) -> Place {
    let mut parts = folder.split('/').skip(1);
    let node = NodeName::new(parts.next().unwrap_or("?"));
    let name = match (parts.next(), parts.next().and_then(|pod| pod.split_once('_'))) {
        (Some("pods"), Some((namespace, name))) => {
            NetnsName::Pod(PodName { namespace: namespace.into(), name: name.into() })
        }
        _ => NetnsName::Host,
    };
    Place { netns: NetnsId(u32::MAX), node, name, device: None }
}
