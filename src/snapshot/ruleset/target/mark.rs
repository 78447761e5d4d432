//! `MARK` and `CONNMARK`.

use std::fmt::{self, Display, Formatter};

/// A mark's change: it becomes `(mark & !mask) ^ value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkChange {
    /// The bits that are cleared.
    pub mask: u32,
    /// The bits that are flipped then.
    pub value: u32,
}

impl MarkChange {
    /// The mark afterwards.
    #[must_use]
    pub fn apply(self, mark: u32) -> u32 {
        (mark & !self.mask) ^ self.value
    }
}

impl Display for MarkChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

/// What `CONNMARK` does (`net/netfilter/xt_connmark.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnmarkTarget {
    /// Which way the mark goes.
    pub action: ConnmarkAction,
    /// The bits by which the mark is shifted then, to the left where positive.
    pub shift: Option<MarkShift>,
}

/// Which way `CONNMARK` moves the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnmarkAction {
    /// Changes the connection's mark.
    Set(MarkChange),
    /// Copies the packet's mark to the connection.
    Save {
        /// The packet's bits that are copied.
        nfmask: u32,
        /// The connection's bits that are cleared.
        ctmask: u32,
    },
    /// Copies the connection's mark to the packet.
    Restore {
        /// The packet's bits that are cleared.
        nfmask: u32,
        /// The connection's bits that are copied.
        ctmask: u32,
    },
}

/// `--left-shift-mark` and `--right-shift-mark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkShift {
    /// Towards the higher bits.
    Left(u8),
    /// Towards the lower bits.
    Right(u8),
}

impl MarkShift {
    /// The mark afterwards. The kernel's shift by 32 is the processor's; it is taken as leaving nothing.
    #[must_use]
    pub fn apply(self, mark: u32) -> u32 {
        match self {
            Self::Left(by) => mark.checked_shl(u32::from(by)).unwrap_or(0),
            Self::Right(by) => mark.checked_shr(u32::from(by)).unwrap_or(0),
        }
    }
}

impl Display for ConnmarkTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.action {
            ConnmarkAction::Set(change) => write!(f, " --set-xmark {change}"),
            ConnmarkAction::Save { nfmask, ctmask } => {
                write!(f, " --save-mark --nfmask {nfmask:#x} --ctmask {ctmask:#x}")
            }
            ConnmarkAction::Restore { nfmask, ctmask } => {
                write!(f, " --restore-mark --nfmask {nfmask:#x} --ctmask {ctmask:#x}")
            }
        }?;
        match self.shift {
            Some(MarkShift::Left(by)) if by != 0 => write!(f, " --left-shift-mark {by}"),
            Some(MarkShift::Right(by)) if by != 0 => write!(f, " --right-shift-mark {by}"),
            _ => Ok(()),
        }
    }
}
