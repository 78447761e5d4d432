//! The routes of one table and one family, laid out along the addresses.

/// Routes in the order of their prefixes' first addresses, the outer before the inner. Two prefixes are apart or one
/// is within the other, so whatever covers an address is the last route that begins at or before it, or is around
/// that one.
#[derive(Debug)]
pub(super) struct Prefixes<A> {
    /// Each prefix's first address: what is searched, and so kept tight.
    firsts: Vec<A>,
    /// The first of each block of them, which stay in the processor's cache however many routes there are.
    blocks: Vec<A>,
    spans: Vec<Span<A>>,
}

/// The rest of a route's prefix.
#[derive(Clone, Copy, Debug)]
struct Span<A> {
    last: A,
    /// What comes after it for an address in it: a route with the same prefix, or the one around it. [`NONE`] where
    /// there is neither.
    around: u32,
    /// The route's place among the rows.
    place: u32,
}

/// A way through the routes that cover an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor(u32);

const NONE: u32 = u32::MAX;

/// How many addresses are in a block.
const BLOCK: usize = 64;

impl<A: Copy + Ord> Prefixes<A> {
    /// Lays routes out. Each is its prefix's first and last address and its place; of those with the same prefix, the
    /// first one given is found first.
    pub(super) fn new(mut routes: Vec<(A, A, u32)>) -> Self {
        routes.reverse();
        routes.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
        let firsts: Vec<A> = routes.iter().map(|route| route.0).collect();
        let blocks = firsts.iter().step_by(BLOCK).copied().collect();
        let mut spans: Vec<Span<A>> = Vec::with_capacity(routes.len());
        let mut around = NONE;
        for (first, last, place) in routes {
            while let Some(span) = spans.get(around as usize).filter(|span| span.last < first) {
                around = span.around;
            }
            spans.push(Span { last, around, place });
            around = index(spans.len() - 1);
        }
        Self { firsts, blocks, spans }
    }

    /// The places of two routes with the same prefix, the one that is found first before the other. Of a prefix with
    /// very many routes each is paired with a few.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        const NEAR: usize = 8;
        let prefix = |at: usize| self.firsts.get(at).zip(self.spans.get(at).map(|span| span.last));
        let place = |at: usize| self.spans.get(at).map(|span| span.place);
        (1..self.spans.len()).flat_map(move |at| {
            let before = (at.saturating_sub(NEAR)..at).rev();
            before
                .take_while(move |other| prefix(*other) == prefix(at))
                .filter_map(move |other| place(at).zip(place(other)))
        })
    }

    /// Before the first route that covers an address.
    pub(super) fn find(&self, address: A) -> Cursor {
        let before = |firsts: &[A]| firsts.partition_point(|first| *first <= address);
        let Some(block) = before(&self.blocks).checked_sub(1) else { return Cursor(NONE) };
        let start = block * BLOCK;
        let firsts = self.firsts.get(start..).unwrap_or(&[]);
        Cursor(index(start + before(firsts.get(..BLOCK).unwrap_or(firsts)) - 1))
    }

    /// The place of the next route that covers an address, the longest prefix first.
    pub(super) fn next(&self, cursor: &mut Cursor, address: A) -> Option<u32> {
        loop {
            let span = self.spans.get(cursor.0 as usize)?;
            cursor.0 = span.around;
            if span.last >= address {
                return Some(span.place);
            }
        }
    }
}

fn index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}
