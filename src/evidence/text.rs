//! The text of a file.

use std::fmt::{self, Debug, Display, Formatter};
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;
use yoke::Yoke;

/// A file's text, shared by everything that points into it. It stays in the memory that it was read into: a large
/// file's pages cost more than its parsing.
#[derive(Clone)]
pub struct Text(Arc<Held>);

enum Held {
    Heap(String),
    Pages(Yoke<&'static str, Mmap>),
}

impl Text {
    /// What stands in a range of pages of their own. The error is the same with the bytes replaced that are no UTF-8.
    pub fn from_pages(pages: Mmap, range: Range<usize>) -> Result<Self, Self> {
        let text = Yoke::try_attach_to_cart(pages, |pages| {
            let bytes = pages.get(range).unwrap_or(&[]);
            str::from_utf8(bytes).map_err(|_| String::from_utf8_lossy(bytes).into_owned())
        });
        text.map(|text| Self(Arc::new(Held::Pages(text)))).map_err(Self::from)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Arc::new(Held::Heap(text)))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self::from(&*text)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match &*self.0 {
            Held::Heap(text) => text,
            Held::Pages(text) => text.get(),
        }
    }
}

impl Debug for Text {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self, f)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

/// A slice of a text, which it shares: a name or a comment of which a large file has very many.
#[derive(Clone)]
pub struct Slice {
    text: Text,
    start: u32,
    len: u32,
}

impl Slice {
    /// A part of a text. What is none of it is copied.
    #[must_use]
    pub fn of(text: &Text, part: &str) -> Self {
        let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr());
        let start = start.filter(|start| text.len().checked_sub(*start).is_some_and(|rest| part.len() <= rest));
        match (start.map(u32::try_from), u32::try_from(part.len())) {
            (Some(Ok(start)), Ok(len)) => Self { text: text.clone(), start, len },
            _ => Self::from(part),
        }
    }
}

impl From<&str> for Slice {
    fn from(text: &str) -> Self {
        Self { len: u32::try_from(text.len()).unwrap_or(u32::MAX), text: Text::from(text), start: 0 }
    }
}

impl Deref for Slice {
    type Target = str;

    fn deref(&self) -> &str {
        let start = self.start as usize;
        self.text.get(start..start + self.len as usize).unwrap_or("")
    }
}

impl Debug for Slice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self, f)
    }
}

impl Display for Slice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Slice {}

#[cfg(test)]
mod tests {
    use super::{Slice, Text};

    #[test]
    fn a_part_of_a_text_is_shared_and_another_text_is_copied() {
        let text = Text::from("one two three");
        let two = Slice::of(&text, &text[4..7]);
        assert_eq!((&*two, two.start), ("two", 4));
        assert_eq!(&*Slice::of(&text, &text[13..]), "");
        let own = String::from("two");
        assert_eq!(Slice::of(&text, &own), two);
    }
}
