//! VLAN tags of frames (IEEE 802.1Q).

use std::fmt;

/// A frame's VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// What announces it.
    pub protocol: VlanProtocol,
    /// The VLAN, 1 to 4094; 0 where the tag says the priority alone.
    pub id: u16,
    /// The priority (PCP), 0 to 7; `None` where nobody knows it.
    pub priority: Option<u8>,
    /// Whether it may be dropped before others (DEI).
    pub drop_eligible: bool,
}

impl VlanTag {
    /// A tag of 802.1Q without a priority.
    #[must_use]
    pub fn new(id: u16) -> Self {
        Self { protocol: VlanProtocol::Customer, id, priority: Some(0), drop_eligible: false }
    }
}

/// The protocol number that announces a tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VlanProtocol {
    /// 802.1Q (0x8100).
    #[default]
    Customer,
    /// 802.1ad (0x88a8).
    Service,
}

impl VlanProtocol {
    /// By iproute2's word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "802.1Q" | "802.1q" => Some(Self::Customer),
            "802.1ad" | "802.1AD" => Some(Self::Service),
            _ => None,
        }
    }

    /// iproute2's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "802.1Q",
            Self::Service => "802.1ad",
        }
    }

    /// The number in the frame.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Customer => 0x8100,
            Self::Service => 0x88a8,
        }
    }
}

impl fmt::Display for VlanTag {
    /// `10`, with what is unusual about it behind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if self.protocol == VlanProtocol::Service {
            f.write_str(" (802.1ad)")?;
        }
        if let Some(priority @ 1..) = self.priority {
            write!(f, " priority {priority}")?;
        }
        if self.drop_eligible { f.write_str(" drop eligible") } else { Ok(()) }
    }
}
