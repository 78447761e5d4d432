//! Ports of bridges: the line of `-d` that starts with `bridge_slave` (iproute2's `ip/iplink_bridge_slave.c`), and the
//! words of `bridge -d link show` (`bridge/link.c`).

use serde_json::value::RawValue;

use super::super::json::{Row, Value, value};
use super::super::lines::{self, Notes, Reading, Words};
use super::{detail, switched};
use crate::evidence::Evidence;
use crate::snapshot::{BridgePort, Link, PortState};

/// A port of which the state may still be unknown.
pub(in super::super) struct Draft {
    pub state: Option<PortState>,
    pub port: BridgePort,
    /// Whether more than the state has been read.
    pub detailed: bool,
}

impl Draft {
    /// A port as the kernel makes it (`new_nbp()` of `net/bridge/br_if.c`).
    pub fn new(evidence: Evidence) -> Self {
        let port = BridgePort {
            state: PortState::Disabled,
            hairpin: false,
            isolated: false,
            learning: true,
            flood: true,
            bcast_flood: true,
            neigh_suppress: false,
            unmodelled: Vec::new(),
            evidence,
        };
        Self { state: None, port, detailed: false }
    }

    /// The port, where its state is known.
    pub fn finish(self) -> Option<BridgePort> {
        Some(BridgePort { state: self.state?, ..self.port })
    }

    /// Reads one word and its value.
    pub fn option<'a>(&mut self, word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
        let port = &mut self.port;
        let switch = match word {
            "state" => {
                self.state = Some(port_state(words.next()?)?);
                return Some(Reading::Understood);
            }
            "hairpin" => &mut port.hairpin,
            "isolated" => &mut port.isolated,
            "learning" => &mut port.learning,
            "flood" => &mut port.flood,
            "bcast_flood" => &mut port.bcast_flood,
            "neigh_suppress" => &mut port.neigh_suppress,
            _ => return other(word, words),
        };
        *switch = on_off(words)?;
        self.detailed = true;
        Some(Reading::Understood)
    }
}

/// Reads a `…_slave` segment. Of bonds and VRFs the `master` in the header is enough.
pub(super) fn slave(link: &mut Link, words: &mut Words<'_, '_>, (notes, evidence): (&mut Notes<'_>, Evidence)) {
    if words.next() != Some("bridge_slave") {
        return;
    }
    let mut draft = Draft::new(evidence);
    let unmodelled = lines::options(words, (&mut *notes, evidence), |word, words| {
        draft.option(word, words).or_else(|| switched(word, words)).or_else(|| detail(word, words))
    });
    draft.port.unmodelled = unmodelled;
    link.port = draft.finish();
    if link.port.is_none() {
        notes.add(evidence, "a bridge port without a state");
    }
}

/// Settings that aren't modelled matter where they aren't what the kernel starts with; the others are the spanning
/// tree's numbers and how groups are learned.
fn other<'a>(word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    let usual = match word {
        "locked"
        | "mab"
        | "vlan_tunnel"
        | "proxy_arp"
        | "proxy_arp_wifi"
        | "mcast_to_unicast"
        | "neigh_vlan_suppress" => !on_off(words)?,
        "mcast_flood" => on_off(words)?,
        "backup_port" | "backup_nhid" => words.pass(1).map(|()| false)?,
        "guard" | "root_block" | "fastleave" | "mcast_fast_leave" | "learning_sync" | "neigh_forward_grat" => {
            on_off(words).map(|_| true)?
        }
        "priority"
        | "cost"
        | "port_id"
        | "id"
        | "port_no"
        | "no"
        | "designated_port"
        | "designated_cost"
        | "designated_bridge"
        | "bridge_id"
        | "designated_root"
        | "root_id"
        | "hold_timer"
        | "message_age_timer"
        | "forward_delay_timer"
        | "topology_change_ack"
        | "config_pending"
        | "mcast_router"
        | "multicast_router"
        | "group_fwd_mask"
        | "group_fwd_mask_str"
        | "mcast_n_groups"
        | "mcast_max_groups"
        | "hwmode" => words.pass(1).map(|()| true)?,
        _ => return None,
    };
    Some(if usual { Reading::Understood } else { Reading::Unmodelled })
}

fn on_off(words: &mut Words<'_, '_>) -> Option<bool> {
    match words.next()? {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

fn port_state(word: &str) -> Option<PortState> {
    Some(match word {
        "disabled" => PortState::Disabled,
        "listening" => PortState::Listening,
        "learning" => PortState::Learning,
        "forwarding" => PortState::Forwarding,
        "blocking" => PortState::Blocking,
        _ => return None,
    })
}

/// Adds a port's field: a switch is `on` or `off`, not there or missing.
pub(in super::super) fn port_fields(row: &mut Row, key: &str, raw: &RawValue) {
    match value(raw) {
        Some(Value::Bool(on)) => {
            row.word(key);
            row.word(if on { "on" } else { "off" });
        }
        _ => row.field(key, raw),
    }
}
