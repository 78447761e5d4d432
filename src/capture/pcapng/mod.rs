//! pcapng files (draft-ietf-opsawg-pcapng).

pub(super) mod names;
pub(super) mod options;
pub(super) mod read;
mod resolution;
mod write;

pub use options::{CapturedOption, Options};
pub use write::{Copied, Span, Writer};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
/// The first form of a packet's block, obsolete since 2004 and still met.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// What tells a reader the order of the bytes.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

const OPT_ENDOFOPT: u16 = 0;
const OPT_COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const IF_FILTER: u16 = 11;
const IF_TSOFFSET: u16 = 14;
const IF_HARDWARE: u16 = 15;
const EPB_FLAGS: u16 = 2;
