//! DNS messages: the header, the names that are asked for, and the records that answer.

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
    pub fn question(&mut self, each: impl FnMut(&'a [u8])) -> Option<u16> {
        self.left = self.left.checked_sub(1)?;
        let end = name(self.message, self.at, each)?;
        self.at = end + 4;
        u16_at(self.message, end)
    }

    /// Whether all that was read so far is there: of a question that was cut the class may not be.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.at <= self.message.len()
    }
}

/// Hands the labels of the name at a place of a message to `each`, through its pointers, and gives where it ends. `None`
/// where the message ends or can't be read within it.
#[inline]
fn name<'a>(message: &'a [u8], mut at: usize, mut each: impl FnMut(&'a [u8])) -> Option<usize> {
    // Where the name goes on behind a pointer, what follows it stands behind the pointer.
    let mut resume = None;
    for _ in 0..MOST_LABELS {
        let size = *message.get(at)?;
        match size {
            0 => return Some(resume.unwrap_or(at + 1)),
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

/// A record of a message.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its type: 1 for A, 28 for AAAA, and so on.
    pub kind: u16,
    /// What it says, in the form of its type.
    pub data: &'a [u8],
    message: &'a [u8],
    /// Where `data` begins in the message.
    at: usize,
}

impl<'a> Record<'a> {
    /// Hands the labels of the name that begins so many bytes behind the beginning of [`data`](Self::data) to `each`;
    /// `None` where there is none, or the message ends within it, or the name leaves the record.
    pub fn name(&self, behind: usize, each: impl FnMut(&'a [u8])) -> Option<()> {
        let end = name(self.message, self.at + behind, each)?;
        (end <= self.at + self.data.len()).then_some(())
    }
}

/// The records of a message, of its three sections one after the other: those that answer stand first.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: u32,
}

impl<'a> Records<'a> {
    /// The records behind the questions; none where these can't be read.
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        let [questions, counts @ ..] = DnsHeader::read(message).map_or([0; 4], |header| header.counts);
        let mut names = Names::new(message);
        let is_read = (0..questions).all(|_| names.question(|_| ()).is_some());
        let left = if is_read { counts.map(u32::from).iter().sum() } else { 0 };
        Self { message, at: names.at, left }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        self.left = self.left.checked_sub(1)?;
        // Behind the name stand the type, the class, four bytes of time to live, and how much data follows.
        let end = name(self.message, self.at, |_| ())?;
        let (kind, size, at) = (u16_at(self.message, end)?, u16_at(self.message, end + 8)?, end + 10);
        let data = self.message.get(at..at + usize::from(size))?;
        self.at = at + usize::from(size);
        Some(Record { kind, data, message: self.message, at })
    }
}
