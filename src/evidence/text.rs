//! The text of a file.

use std::fmt::{self, Debug, Formatter};
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
