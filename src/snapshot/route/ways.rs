//! The ways of one route.

use std::ops::{Deref, DerefMut};
use std::slice;

use super::NextHop;

/// The ways of a route: nearly always one, which stands in the route itself, because a table can have millions.
#[derive(Clone, Debug, Default)]
pub struct Ways(Kept);

#[derive(Clone, Debug, Default)]
enum Kept {
    #[default]
    None,
    One(NextHop),
    Several(Vec<NextHop>),
}

impl Ways {
    /// Adds a way.
    pub fn push(&mut self, way: NextHop) {
        self.0 = match std::mem::take(&mut self.0) {
            Kept::None => Kept::One(way),
            Kept::One(first) => Kept::Several(vec![first, way]),
            Kept::Several(mut ways) => {
                ways.push(way);
                Kept::Several(ways)
            }
        };
    }
}

impl Deref for Ways {
    type Target = [NextHop];

    fn deref(&self) -> &[NextHop] {
        match &self.0 {
            Kept::None => &[],
            Kept::One(way) => slice::from_ref(way),
            Kept::Several(ways) => ways,
        }
    }
}

impl DerefMut for Ways {
    fn deref_mut(&mut self) -> &mut [NextHop] {
        match &mut self.0 {
            Kept::None => &mut [],
            Kept::One(way) => slice::from_mut(way),
            Kept::Several(ways) => ways,
        }
    }
}

impl PartialEq for Ways {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Ways {}

impl<'a> IntoIterator for &'a Ways {
    type Item = &'a NextHop;
    type IntoIter = slice::Iter<'a, NextHop>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<NextHop> for Ways {
    fn from_iter<I: IntoIterator<Item = NextHop>>(all: I) -> Self {
        let mut ways = Self::default();
        all.into_iter().for_each(|way| ways.push(way));
        ways
    }
}

impl From<Vec<NextHop>> for Ways {
    fn from(ways: Vec<NextHop>) -> Self {
        ways.into_iter().collect()
    }
}
