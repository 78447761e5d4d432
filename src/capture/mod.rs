//! Layer 2: captures. Packets of live devices come in through libpcap (feature `capture`, on Linux), and go out into
//! pcapng files; packets of files, pcap or pcapng, packed or not, are lent a window at a time.
//!
//! | module | does |
//! | --- | --- |
//! | [`reader`] | reads a file, a [`batch`] of packets at a time |
//! | [`several`] | reads several files, in the order of their packets' times |
//! | `pcap` | finds the packets of pcap files |
//! | [`pcapng`] | finds those of pcapng files, and writes such files |
//! | `live` | reads several devices at once |
//! | `run` | a capture from its start to its end |
//! | `privilege` | gives up what the program may once its sockets are open |
//! | [`filter`] | which packets are meant, in the language of pcap-filter(7) |
//! | [`merge`] | puts live packets in the order of their times |
//! | `ring`, `folder` | begins a new file where one is full |
//!
//! ```no_run
//! use flowtrace::capture::{batch::Batch, reader::Reader};
//!
//! let mut reader = Reader::open("case.pcapng".as_ref(), 0)?;
//! let mut batch = Batch::default();
//! while reader.fill(&mut batch) {
//!     for frame in batch.frames() {
//!         println!("{} {}", frame.number, frame.bytes.len());
//!     }
//! }
//! # Ok::<(), flowtrace::error::Error>(())
//! ```

pub mod batch;
pub mod filter;
#[cfg(target_os = "linux")]
pub mod folder;
#[cfg(all(feature = "capture", target_os = "linux"))]
pub mod live;
pub mod merge;
mod pcap;
pub mod pcapng;
#[cfg(target_os = "linux")]
pub mod privilege;
pub mod reader;
#[cfg(target_os = "linux")]
pub mod ring;
#[cfg(all(feature = "capture", target_os = "linux"))]
pub mod run;
pub mod several;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::wire::LinkType;

/// A capture point that a file describes: an interface of a pcapng file, or all of a pcap file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// The file's place among those that are read together, from 0.
    pub file: usize,
    /// The device's name.
    pub name: Option<String>,
    /// What the capturing program calls it.
    pub description: Option<String>,
    /// What tshark calls it, `frame.interface_name`: the first of its name, its description and its hardware that the file
    /// has, or `unknown`. `None` where the file has no descriptions of interfaces.
    pub label: Option<String>,
    /// The filter that its packets passed, in libpcap's words.
    pub filter: Option<String>,
    /// What its packets begin with.
    pub link_type: LinkType,
    /// How many bytes of each packet are kept at most; 0 for all.
    pub snap_length: u32,
}

impl Point {
    fn new(file: usize) -> Self {
        Self {
            file,
            name: None,
            description: None,
            label: None,
            filter: None,
            link_type: LinkType::NULL,
            snap_length: 0,
        }
    }
}

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
pub struct Captured<'a> {
    /// The place of its device among the [`Interface`]s, from 0.
    pub interface: u32,
    /// When it was seen: nanoseconds since 1970.
    pub time: u64,
    /// Its length on the wire, in bytes.
    pub length: u32,
    /// Its bytes from the link layer on, as many as were kept.
    pub bytes: Cow<'a, [u8]>,
    /// Which way it went, where that is known.
    pub direction: Option<Direction>,
}

impl Captured<'_> {
    /// The same with bytes of its own.
    #[must_use]
    pub fn into_owned(self) -> Captured<'static> {
        Captured { bytes: Cow::Owned(self.bytes.into_owned()), ..self }
    }
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
