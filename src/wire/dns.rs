//! DNS messages: the header, and the names that are asked for. Answers are read elsewhere.

use super::u16_at;

/// A message has at most so many questions that are read: nobody sends more than one.
const MOST_QUESTIONS: usize = 64;
/// A name has at most so many labels (RFC 1035: 255 octets), compressed or not.
const MOST_LABELS: usize = 128;

/// Whether the bytes begin with a header that a DNS message can have.
#[inline]
pub(super) fn is_message(bytes: &[u8]) -> bool {
    bytes.len() >= 12
}

/// The header of a DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsHeader {
    /// The number that an answer has from its question.
    pub id: u16,
    /// The flags, as they stand: 0x8000 for an answer; the last four bits are the response code.
    pub flags: u16,
    /// How many questions, answers, authorities and additional records follow.
    pub counts: [u16; 4],
}

impl DnsHeader {
    /// Reads the header of a message.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let at = |place: usize| u16_at(message, place * 2);
        Some(Self { id: at(0)?, flags: at(1)?, counts: [at(2)?, at(3)?, at(4)?, at(5)?] })
    }

    /// Whether it answers.
    #[must_use]
    pub fn is_answer(self) -> bool {
        self.flags & 0x8000 != 0
    }
}

/// The questions of a message: each one's name, as labels, and its type.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    message: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Names<'a> {
    /// The questions of a message.
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        let count = u16_at(message, 4).map_or(0, usize::from);
        Self { message, at: 12, left: count.min(MOST_QUESTIONS) }
    }

    /// Hands the labels of the next question to `each`, and gives its type. `None` where there is no question more, or
    /// where the message ends or can't be read within it; then labels may have been handed over.
    #[inline]
    pub fn question(&mut self, mut each: impl FnMut(&'a [u8])) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        let (message, mut at) = (self.message, self.at);
        // Where the name goes on behind a pointer, the question goes on behind the pointer.
        let mut resume = None;
        for _ in 0..MOST_LABELS {
            let size = *message.get(at)?;
            match size {
                0 => {
                    let end = resume.unwrap_or(at + 1);
                    self.at = end + 4;
                    return u16_at(message, end);
                }
                1..=63 => {
                    each(message.get(at + 1..at + 1 + usize::from(size))?);
                    at += 1 + usize::from(size);
                }
                0xc0.. => {
                    resume = resume.or(Some(at + 2));
                    at = usize::from(u16_at(message, at)? & 0x3fff);
                }
                _ => return None,
            }
        }
        None
    }
}
