//! The bytes of a file, in memory that suits its size.

use std::io::{self, Read};
use std::ops::Deref;

use memmap2::{Mmap, MmapMut};

use crate::pages::large_pages;

/// What was read of a file.
pub(super) enum Bytes {
    Heap(Vec<u8>),
    /// So many bytes at the start of pages of their own.
    Pages(Mmap, usize),
}

impl Bytes {
    /// From this size on a file has pages of its own.
    const LARGE: u64 = 4 << 20;

    /// Reads a file that should have so many bytes; `None` if it has more than a limit.
    pub(super) fn read(mut file: impl Read, len: u64, limit: u64) -> io::Result<Option<Self>> {
        let room = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = match room.checked_add(1).filter(|_| (Self::LARGE..=limit).contains(&len)).map(large_pages) {
            Some(Ok(pages)) => Self::fill(pages, &mut file, limit)?,
            _ if len > limit => return Ok(None),
            _ => Self::rest(Vec::with_capacity(room), &mut file, limit)?,
        };
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// Reads a file to its end. It may have grown.
    fn fill(mut pages: MmapMut, file: &mut impl Read, limit: u64) -> io::Result<Self> {
        let mut filled = 0;
        while let Some(free) = pages.get_mut(filled..).filter(|free| !free.is_empty()) {
            match file.read(free) {
                Ok(0) => return Ok(Self::Pages(pages.make_read_only()?, filled)),
                Ok(count) => filled += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Self::rest(pages.to_vec(), file, limit)
    }

    /// Adds the rest of a file to its start.
    fn rest(mut bytes: Vec<u8>, file: &mut impl Read, limit: u64) -> io::Result<Self> {
        let most = (limit + 1).saturating_sub(bytes.len() as u64);
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Self::Heap(bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(pages, len) => pages.get(..*len).unwrap_or(&[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bundle::Content;
    use super::Bytes;

    const LIMIT: u64 = 16 << 20;

    /// So many bytes of text, which starts so, from a file that should have a number of them.
    fn read(start: &[u8], count: usize, len: u64) -> Option<Bytes> {
        let mut file = start.to_vec();
        file.resize(count, b'x');
        Bytes::read(&file[..], len, LIMIT).unwrap()
    }

    #[test]
    fn a_large_file_has_pages_of_its_own_and_a_small_one_has_not() {
        let count = 5 << 20;
        let large = read(b"-A X\n", count, count as u64).unwrap();
        assert!(matches!(large, Bytes::Pages(..)) && large.len() == count && large.starts_with(b"-A X\nxx"));
        assert!(matches!(read(b"", 100, 100), Some(Bytes::Heap(bytes)) if bytes.len() == 100));
    }

    #[test]
    fn a_file_that_has_grown_or_shrunk_is_read_to_its_end() {
        for (count, len) in [(9 << 20, 4 << 20), (5 << 20, 9 << 20), (5 << 20, 0)] {
            assert_eq!(read(b"", count, len).map(|bytes| bytes.len()), Some(count));
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        assert!(read(b"", 10, LIMIT + 1).is_none());
        for len in [0, 5 << 20, LIMIT] {
            assert!(read(b"", (17 << 20) + 1, len).is_none());
        }
    }

    #[test]
    fn the_text_of_pages_is_that_of_a_small_file() {
        let text = |start: &[u8]| {
            let large = Content::of(read(start, 5 << 20, 5 << 20).unwrap());
            let small = Content::of(Bytes::Heap([start, &vec![b'x'; (5 << 20) - start.len()]].concat()));
            assert_eq!(large, small);
            large
        };
        assert!(matches!(text(b"\xef\xbb\xbf*nat"), Content::Text(text) if text.starts_with("*nat")));
        assert!(matches!(text(b"\xff*nat"), Content::Lossy(text) if text.starts_with("\u{fffd}*nat")));
        assert!(matches!(text(b"\n\0*nat"), Content::Binary(2)));
    }
}
