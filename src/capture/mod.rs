//! Layer 2: captures. Packets of live devices come in through libpcap (feature `capture`, on Linux), and go out into
//! pcapng files.
//!
//! | module | does |
//! | --- | --- |
//! | `live` | reads several devices at once |
//! | `run` | a capture from its start to its end |
//! | [`filter`] | which packets are meant, in the language of pcap-filter(7) |
//! | [`merge`] | puts their packets in the order of their times |
//! | [`pcapng`] | writes the blocks of a pcapng file |
//! | [`ring`] | begins a new file where one is full |

pub mod filter;
#[cfg(all(feature = "capture", target_os = "linux"))]
pub mod live;
pub mod merge;
pub mod pcapng;
pub mod ring;
#[cfg(all(feature = "capture", target_os = "linux"))]
pub mod run;

/// A device that packets are captured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its link layer, as a number of the list of LINKTYPE values that capture files have.
    pub link_type: u16,
    /// How many bytes of each packet are kept at most.
    pub snap_length: u32,
    /// How many digits of a second its times have: 9 for nanoseconds.
    pub digits: u8,
    /// The filter that its packets passed, in libpcap's words.
    pub filter: Option<String>,
}

/// A packet as it was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The place of its device among the [`Interface`]s, from 0.
    pub interface: u32,
    /// When it was seen: nanoseconds since 1970.
    pub time: u64,
    /// Its length on the wire, in bytes.
    pub length: u32,
    /// Its bytes from the link layer on, as many as were kept.
    pub bytes: Vec<u8>,
    /// Which way it went, where that is known.
    pub direction: Option<Direction>,
}

/// Which way a packet passed a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    In(Reception),
    /// It went out.
    Out,
}

/// For whom a packet was that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// This host.
    Unicast,
    /// A group.
    Multicast,
    /// Everybody.
    Broadcast,
    /// Another host; the device handed it up because it is in promiscuous mode.
    Promiscuous,
}

/// What a device has counted since its capture began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets that passed the filter, those that were dropped thereafter included.
    pub received: u64,
    /// Packets that the kernel dropped because they were not read in time.
    pub dropped: u64,
    /// Packets that the device or its driver dropped.
    pub dropped_by_interface: u64,
    /// Packets that were handed to the file.
    pub captured: u64,
}
