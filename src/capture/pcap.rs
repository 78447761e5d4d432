//! pcap files (draft-ietf-opsawg-pcap): a header, and records of packets.

use super::Point;
use super::batch::{MOST, Record};
use super::reader::{Found, LONGEST, Lost};
use crate::wire::{LinkType, Time};

/// The length of the file's header.
pub(super) const FILE_HEADER: usize = 24;

/// What a file's header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    is_big_endian: bool,
    /// How many nanoseconds the unit of its times is.
    unit: u32,
    /// How long a record's header is.
    record_header: usize,
    link_type: LinkType,
    pub(super) snap_length: u32,
}

impl Format {
    /// Reads the header; `None` where it is none.
    pub(super) fn read(header: &[u8]) -> Option<Self> {
        let magic = *header.first_chunk::<4>()?;
        let is_big_endian = matches!(magic, [0xa1, ..]);
        let (unit, record_header) =
            match if is_big_endian { u32::from_be_bytes(magic) } else { u32::from_le_bytes(magic) } {
                0xa1b2_c3d4 => (1000, 16),
                0xa1b2_3c4d => (1, 16),
                // Alexey Kuznetzov's patched libpcap: eight bytes more before each packet.
                0xa1b2_cd34 => (1000, 24),
                _ => return None,
            };
        let number = |bytes| if is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        let snap_length = number(*header.get(16..)?.first_chunk()?);
        // The upper bits say how long a check sequence behind each frame is.
        let kind = number(*header.get(20..)?.first_chunk()?) & 0x03ff_ffff;
        let link_type = LinkType(u16::try_from(kind).unwrap_or(u16::MAX));
        Some(Self { is_big_endian, unit, record_header, link_type, snap_length })
    }

    /// The one capture point of the file.
    pub(super) fn point(self, file: usize) -> Point {
        Point { link_type: self.link_type, snap_length: self.snap_length, ..Point::new(file) }
    }

    /// Finds the packets that are whole.
    pub(super) fn find(self, data: &[u8], records: &mut Vec<Record>) -> Found {
        if self.is_big_endian {
            self.find_in(data, records, u32::from_be_bytes)
        } else {
            self.find_in(data, records, u32::from_le_bytes)
        }
    }

    /// The same, with what reads a number.
    fn find_in(self, data: &[u8], records: &mut Vec<Record>, number: impl Fn([u8; 4]) -> u32) -> Found {
        let mut at = 0;
        let lost = loop {
            if records.len() >= MOST {
                break Lost::Enough;
            }
            let Some(header) = data.get(at..).and_then(<[u8]>::first_chunk::<16>) else {
                break Lost::More(self.record_header);
            };
            let [s1, s2, s3, s4, p1, p2, p3, p4, c1, c2, c3, c4, l1, l2, l3, l4] = *header;
            let captured = number([c1, c2, c3, c4]);
            let start = at + self.record_header;
            let captured_bytes = captured as usize;
            if captured_bytes > LONGEST {
                break Lost::TooLong(captured.into());
            }
            let end = start + captured_bytes;
            if end > data.len() {
                break Lost::More(end - at);
            }
            records.push(Record {
                time: Some(self.time(number([s1, s2, s3, s4]), number([p1, p2, p3, p4]))),
                start: u32::try_from(start).unwrap_or(u32::MAX),
                captured,
                length: number([l1, l2, l3, l4]),
                point: 0,
                link_type: self.link_type,
                options: 0,
                is_big_endian: false,
            });
            at = end;
        };
        Found { to: at, lost }
    }

    #[inline]
    fn time(self, seconds: u32, parts: u32) -> Time {
        let nanoseconds = u64::from(parts) * u64::from(self.unit);
        if nanoseconds < 1_000_000_000 {
            // It is below what fits.
            return Time { seconds: seconds.into(), nanoseconds: u32::try_from(nanoseconds).unwrap_or(0) };
        }
        // A part of a second that is more than one.
        let more = i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(0);
        let nanoseconds = u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0);
        Time { seconds: i64::from(seconds) + more, nanoseconds }
    }
}
