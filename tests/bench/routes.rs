//! Longest-prefix lookups among many routes, beside those of the `prefix-trie` crate.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use flowtrace::evidence::{Evidence, FileId};
use flowtrace::net::{RouteType, TableId};
use flowtrace::snapshot::{Route, Routes};
use ipnet::{IpNet, Ipv4Net};
use prefix_trie::PrefixMap;

use super::goal::Goal;
use super::process::{Rounds, within};

const ROUTES: usize = 100_000;
const LOOKUPS: u32 = 200_000;
const ROUNDS: usize = 9;

const RATIO: (f64, &str) = (1.6, "");

/// Compares the two.
pub fn goal() -> Goal {
    const WHAT: &str = "100,000 routes: a lookup, against the crate prefix-trie's";
    match lookups() {
        Err(why) => Goal::untried(WHAT, RATIO, why),
        Ok((ours, theirs)) => {
            let each = |rounds: &Rounds| rounds.min() * 1e9 / f64::from(LOOKUPS);
            let medians = ours.median() / theirs.median();
            let numbers = format!("{:.0} ns against {:.0} ns; by medians {medians:.3}", each(&ours), each(&theirs));
            Goal::at_most(WHAT, RATIO, ours.min() / theirs.min(), numbers)
        }
    }
}

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// A prefix with a length as they are in a router's table: most are /24, few are short.
    fn prefix(&mut self) -> Ipv4Net {
        let length = match self.next() % 100 {
            0..2 => 16,
            2..6 => 18,
            6..12 => 20,
            12..28 => 22,
            28..36 => 23,
            36..92 => 24,
            92..96 => 28,
            _ => 32,
        };
        Ipv4Net::new_assert(Ipv4Addr::from_bits(self.next()), length).trunc()
    }
}

/// Looks the same addresses up in both, and checks that both find the same route.
fn lookups() -> Result<(Rounds, Rounds), String> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut trie = PrefixMap::new();
    let mut rows = vec![route(Ipv4Net::default())];
    trie.insert(Ipv4Net::default(), 0);
    while rows.len() < ROUTES {
        let prefix = random.prefix();
        if !trie.contains_key(&prefix) {
            trie.insert(prefix, rows.len());
            rows.push(route(prefix));
        }
    }
    let addresses: Vec<Ipv4Addr> = (0..LOOKUPS).map(|_| address(&mut random, &rows)).collect();
    let routes = Routes::new(rows, true);
    let ours = |address: &Ipv4Addr| routes.covering(TableId::MAIN, IpAddr::V4(*address)).next();
    let theirs = |address: &Ipv4Addr| {
        let (_, place) = trie.get_lpm(&Ipv4Net::from(*address))?;
        routes.rows().get(*place)
    };
    if let Some(address) = addresses.iter().find(|address| !same(ours(address), theirs(address))) {
        return Err(format!("the route of {address} differs from the crate's"));
    }
    let (mut flowtrace, mut crates) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        flowtrace.push(within(|| addresses.iter().for_each(|address| _ = black_box(ours(address)))).0);
        crates.push(within(|| addresses.iter().for_each(|address| _ = black_box(theirs(address)))).0);
    }
    Ok((flowtrace, crates))
}

fn same(one: Option<&Route>, other: Option<&Route>) -> bool {
    one.zip(other).is_some_and(|(one, other)| std::ptr::eq(one, other))
}

fn route(prefix: Ipv4Net) -> Route {
    Route::new(IpNet::V4(prefix), RouteType::Unicast, Evidence::line(FileId(0), 1))
}

/// Half of the addresses are any, half of them in a prefix.
fn address(random: &mut Random, rows: &[Route]) -> Ipv4Addr {
    let any = random.next();
    let row = rows.get(random.next() as usize % rows.len().max(1));
    match row.map(|row| row.dst) {
        Some(IpNet::V4(prefix)) if any.is_multiple_of(2) => {
            Ipv4Addr::from_bits(prefix.network().to_bits() | (any & prefix.hostmask().to_bits()))
        }
        _ => Ipv4Addr::from_bits(any),
    }
}
