//! Which chains call which, and the calls that the kernel refuses (`nft_chain_validate` in
//! `net/netfilter/nf_tables_api.c`, `mark_source_chains` in `net/ipv4/netfilter/ip_tables.c`).

/// What is wrong with a call of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrongCall {
    /// It leads back to where it stands.
    Circle,
    /// It goes deeper than the kernel lets chains call each other.
    TooDeep,
    /// It is of a chain at a hook.
    Base,
}

impl WrongCall {
    /// The same in words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Circle => "the chains call each other in a circle, which the kernel refuses",
            Self::TooDeep => "chains call each other deeper here than the kernel allows",
            Self::Base => "the kernel lets no rule call a chain that is at a hook",
        }
    }
}

/// What calls or is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A chain at a hook.
    Base,
    /// Another chain.
    Chain,
    /// A map whose elements lead to chains. It is no chain between them.
    Map,
}

/// The chains of a table, and their calls.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub callers: Vec<Caller>,
    /// From where to where, as places among the callers.
    pub calls: Vec<(u32, u32)>,
}

impl Calls {
    fn caller(&self, place: u32) -> Caller {
        self.callers.get(place as usize).copied().unwrap_or(Caller::Chain)
    }

    /// What is wrong with each call. `deepest` is how many chains may be between a base chain and the end.
    pub(crate) fn wrong(&self, deepest: Option<u32>) -> Vec<Option<WrongCall>> {
        let is_base = |call: &(u32, u32)| (self.caller(call.1) == Caller::Base).then_some(WrongCall::Base);
        let mut wrong: Vec<_> = self.calls.iter().map(is_base).collect();
        let left = self.without_ends(&mut wrong, deepest);
        let circle = Self { callers: Vec::new(), calls: left.iter().map(|place| self.turned(*place)).collect() };
        let mut none = vec![None; circle.calls.len()];
        for at in circle.without_ends(&mut none, None) {
            if let Some(slot) = left.get(at).and_then(|place| wrong.get_mut(*place)) {
                *slot = Some(WrongCall::Circle);
            }
        }
        wrong
    }

    fn turned(&self, place: usize) -> (u32, u32) {
        self.calls.get(place).map_or((0, 0), |(from, to)| (*to, *from))
    }

    /// Goes from what nothing calls on, and notes what lies too deep. The calls that are left come after a circle.
    fn without_ends(&self, wrong: &mut [Option<WrongCall>], deepest: Option<u32>) -> Vec<usize> {
        let count = self.calls.iter().map(|(from, to)| *from.max(to) as usize + 1).max().unwrap_or(0);
        let mut order: Vec<usize> = (0..self.calls.len()).filter(|place| wrong.get(*place) == Some(&None)).collect();
        let from = |place: &usize| self.calls.get(*place).map_or(0, |(from, _)| *from);
        let to = |place: &usize| self.calls.get(*place).map_or(0, |(_, to)| *to);
        order.sort_by_key(from);
        let (mut callers, mut depths) = (vec![0u32; count], vec![None; count]);
        for place in &order {
            callers.get_mut(to(place) as usize).into_iter().for_each(|count| *count += 1);
        }
        for (place, depth) in (0u32..).zip(&mut depths) {
            *depth = (self.caller(place) == Caller::Base).then_some(0u32);
        }
        let mut ready: Vec<u32> =
            (0u32..).zip(&callers).filter(|(_, count)| **count == 0).map(|(place, _)| place).collect();
        let mut passed = vec![false; self.calls.len()];
        while let Some(caller) = ready.pop() {
            let depth = depths.get(caller as usize).copied().flatten();
            let own = order.partition_point(|place| from(place) < caller)
                ..order.partition_point(|place| from(place) <= caller);
            for place in order.get(own).unwrap_or_default() {
                passed.get_mut(*place).into_iter().for_each(|passed| *passed = true);
                let called = to(place) as usize;
                let deeper = depth.map(|depth| depth + u32::from(self.caller(caller) != Caller::Map));
                if deepest.is_some() && depth.is_some() && depth >= deepest && self.caller(caller) != Caller::Map {
                    wrong.get_mut(*place).into_iter().for_each(|slot| *slot = Some(WrongCall::TooDeep));
                } else if let Some(slot) = depths.get_mut(called) {
                    // A chain that a map leads to lies one deeper than the rule that asks the map.
                    *slot = (*slot).max(deeper);
                }
                if let Some(count) = callers.get_mut(called) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(to(place));
                    }
                }
            }
        }
        order.retain(|place| passed.get(*place) == Some(&false));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Caller::{Base, Chain, Map};
    use WrongCall::{Circle, TooDeep};

    fn wrong(callers: &[Caller], calls: &[(u32, u32)], deepest: Option<u32>) -> Vec<Option<WrongCall>> {
        Calls { callers: callers.to_vec(), calls: calls.to_vec() }.wrong(deepest)
    }

    #[test]
    fn of_a_circle_its_own_calls_are_wrong_and_not_those_before_and_behind_it() {
        let calls = [(0, 1), (1, 2), (2, 1), (2, 3), (3, 4), (0, 4)];
        let circle = Some(Circle);
        assert_eq!(wrong(&[Base, Chain, Chain, Chain, Chain], &calls, None), [None, circle, circle, None, None, None]);
        assert_eq!(wrong(&[Chain], &[(0, 0)], None), [circle]);
        assert_eq!(wrong(&[Base, Chain], &[(0, 1), (1, 0), (0, 0)], None)[1..], [Some(WrongCall::Base); 2]);
        assert_eq!(wrong(&[Base, Chain, Map], &[(0, 1), (1, 2), (2, 1)], None), [None, circle, circle]);
    }

    #[test]
    fn depth_counts_from_a_base_chain_by_the_longest_way() {
        let callers = [Base, Chain, Chain, Chain];
        assert_eq!(wrong(&callers, &[(0, 1), (1, 2), (2, 3), (0, 3)], Some(2)), [None, None, Some(TooDeep), None]);
        assert_eq!(wrong(&callers, &[(0, 1), (1, 2), (2, 3), (0, 3)], Some(3)), [None; 4]);
        // What no base chain leads to has no depth.
        assert_eq!(wrong(&[Chain, Chain, Chain, Chain], &[(0, 1), (1, 2), (2, 3)], Some(1)), [None; 3]);
        // A map between two chains is none.
        let calls = [(0, 1), (1, 2), (2, 3)];
        assert_eq!(wrong(&[Base, Chain, Map, Chain], &calls, Some(2)), [None; 3]);
        assert_eq!(wrong(&[Base, Chain, Map, Chain], &calls, Some(1)), [None, Some(TooDeep), None]);
    }
}
