//! Chances, rates and counts.

use crate::snapshot::{Match, Nth, Options, SavedOption, Test};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{number, one_of, saved, word};
use super::super::value::probability;

pub(super) static STATISTIC: Extension<Match> = Extension::new(
    "statistic",
    &[
        Opt::value("--mode", "random or nth").must(),
        Opt::value("--probability", "a number from 0 to 1").not().excludes(&["--every", "--packet"]),
        Opt::value("--every", "a number from 1 on").not().excludes(&["--probability"]).needs(&["--packet"]),
        Opt::value("--packet", "a number below that of --every").excludes(&["--probability"]).needs(&["--every"]),
    ],
    |given| {
        if given.must("--mode", |mode| one_of(mode, &["random", "nth"]))? == "random" {
            return Ok(Match::Random(given.must_test("--probability", probability)?));
        }
        let every = given.must_test("--every", |text| name::number(text).filter(|every| *every > 0))?;
        let packet = given.must("--packet", |text| name::number(text).filter(|packet| *packet < every.value))?;
        Ok(Match::Nth(Test { value: Nth { every: every.value, packet }, invert: every.invert }))
    },
);

/// Units of time, with their names as printed: the longest first.
const UNITS: [(&str, u64); 4] = [("day", 24 * 60 * 60), ("hour", 60 * 60), ("min", 60), ("sec", 1)];

/// `N/UNIT` as the kernel's period, and the unit in seconds (`parse_rate` in `libxt_limit.c`). A unit may be cut short.
fn rate(text: &str, scale: u64) -> Option<(u64, u64)> {
    let (count, unit) = text.split_once('/').unwrap_or((text, "second"));
    let unit = unit.to_ascii_lowercase();
    let whole = [("second", 1), ("minute", 60), ("hour", 60 * 60), ("day", 24 * 60 * 60)];
    let (_, seconds) = whole.into_iter().find(|(name, _)| !unit.is_empty() && name.starts_with(&unit))?;
    let count: u64 = count.parse().ok().filter(|count| *count > 0)?;
    let period = scale.checked_mul(seconds)? / count;
    (period > 0).then_some((period, seconds))
}

/// A period as `N/UNIT`, and the unit in seconds (`print_rate`): the shortest unit that loses least.
fn rate_text(period: u64, scale: u64) -> (String, u64) {
    let mut best = UNITS.first().copied().unwrap_or(("sec", 1));
    for unit in UNITS.into_iter().skip(1) {
        let whole = unit.1 * scale;
        if period > whole || whole / period < whole % period {
            break;
        }
        best = unit;
    }
    (format!("{}/{}", best.1 * scale / period, best.0), best.1)
}

pub(super) static LIMIT: Extension<Match> = Extension::new(
    "limit",
    &[
        Opt::value("--limit", "a number of packets, and a unit of time after a slash"),
        Opt::value("--limit-burst", "a number up to 10000"),
    ],
    |given| {
        const SCALE: u64 = 10_000;
        let period =
            given.value("--limit", |text| rate(text, SCALE).filter(|(period, _)| u32::try_from(*period).is_ok()))?;
        let period = period.map_or(SCALE * 60 * 60 / 3, |(period, _)| period);
        let burst = given.value("--limit-burst", |text| name::number(text).filter(|burst| *burst <= 10_000))?;
        let mut list = vec![saved("--limit", false, rate_text(period, SCALE).0)];
        list.extend(burst.filter(|burst| *burst != 5).map(|burst| saved("--limit-burst", false, burst)));
        Ok(Match::from(Options { name: "limit", list: list.into() }))
    },
);

const RATE: &str = "packets per unit of time, or bytes as in `10kb/s`";
const NUMBER: &str = "a number of 32 bits";

pub(super) static HASHLIMIT: Extension<Match> = Extension::new(
    "hashlimit",
    &[
        Opt::value("--hashlimit-upto", RATE).or(&["--hashlimit"]).not().excludes(&["--hashlimit-above"]),
        Opt::value("--hashlimit-above", RATE).not().excludes(&["--hashlimit-upto"]),
        Opt::value("--hashlimit-burst", "a number of packets, or of bytes as in `1mb`"),
        Opt::value("--hashlimit-mode", "a list of srcip, srcport, dstip and dstport"),
        Opt::value("--hashlimit-name", "a table's name").must(),
        Opt::value("--hashlimit-htable-size", NUMBER),
        Opt::value("--hashlimit-htable-max", NUMBER),
        Opt::value("--hashlimit-htable-gcinterval", NUMBER),
        Opt::value("--hashlimit-htable-expire", NUMBER),
        Opt::value("--hashlimit-srcmask", "a prefix length"),
        Opt::value("--hashlimit-dstmask", "a prefix length"),
        Opt::flag("--hashlimit-rate-match"),
        Opt::value("--hashlimit-rate-interval", "a number from 1 on"),
    ],
    hashlimit,
);

/// What `--hashlimit-upto` or `--hashlimit-above` says.
enum Hashrate {
    /// A period in packets, and the unit's seconds.
    Packets(u64, u64),
    /// A cost in bytes.
    Bytes(u64),
}

const HASH_SCALE: u64 = 1_000_000;

fn hashrate(text: &str) -> Option<Hashrate> {
    match text.find("b/s").filter(|at| *at > 0) {
        Some(at) => {
            let count = text.get(..at)?;
            let bytes = with_factor(count)?.0;
            (bytes > 0).then(|| Hashrate::Bytes(bytes_to_cost(bytes))).filter(|_| bytes <= u64::from(u32::MAX) << 4)
        }
        None => rate(text, HASH_SCALE).map(|(period, unit)| Hashrate::Packets(period, unit)),
    }
}

/// A number with `k` or `m` after it, and whether there was one.
fn with_factor(text: &str) -> Option<(u64, bool)> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' => (text.get(..text.len() - 1)?, 1024),
        b'm' => (text.get(..text.len() - 1)?, 1024 * 1024),
        _ => (text, 1),
    };
    Some((name::number64(digits)?.checked_mul(factor)?, factor > 1))
}

/// Sixteen bytes are one (`XT_HASHLIMIT_BYTE_SHIFT`).
fn bytes_to_cost(bytes: u64) -> u64 {
    u64::from(u32::MAX) / ((bytes >> 4) + 1)
}

fn cost_to_bytes(cost: u64) -> u64 {
    let per = u64::from(u32::MAX).checked_div(cost).unwrap_or(u64::from(u32::MAX));
    per.saturating_sub(1) << 4
}

/// Bytes in the largest unit for which this holds.
fn in_units(bytes: u64, fits: impl Fn(u64) -> bool) -> String {
    let units = [("m", 1024 * 1024), ("k", 1024), ("", 1)];
    let (name, size) = units.into_iter().find(|(_, size)| *size == 1 || fits(*size)).unwrap_or(("", 1));
    format!("{}{name}b", bytes / size)
}

fn hashlimit(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--hashlimit-upto", "--hashlimit-above"])?;
    let upto = given.test("--hashlimit-upto", hashrate)?;
    let above = given.test("--hashlimit-above", hashrate)?.map(|test| Test { invert: !test.invert, ..test });
    let Some(Test { value: rate, invert }) = upto.or(above) else {
        return Err(given.refuse_all("hashlimit needs a rate"));
    };
    let name = if invert { "--hashlimit-above" } else { "--hashlimit-upto" };
    let mut list = Vec::new();
    let quantum = match rate {
        Hashrate::Packets(period, unit) => packets(given, name, (period, unit), &mut list)?,
        Hashrate::Bytes(cost) => bytes(given, name, cost, &mut list)?,
    };
    if let Some(mode) = given.value("--hashlimit-mode", hash_mode)?.filter(|mode| !mode.is_empty()) {
        list.push(saved("--hashlimit-mode", false, mode));
    }
    let table =
        given.must("--hashlimit-name", |text| (!text.is_empty() && text.len() < 256).then(|| text.to_owned()))?;
    list.push(saved("--hashlimit-name", false, table));
    hashtable(given, quantum, &mut list)?;
    if given.has("--hashlimit-rate-match") {
        list.push(saved("--hashlimit-rate-match", false, ""));
        let interval =
            given.value("--hashlimit-rate-interval", |text| name::number(text).filter(|number| *number > 0))?;
        let unit = if let Hashrate::Packets(_, unit) = rate { unit } else { 1 };
        let interval = interval.map_or(unit, u64::from);
        list.extend((interval != 1).then(|| saved("--hashlimit-rate-interval", false, interval)));
    }
    Ok(Match::from(Options { name: "hashlimit", list: list.into() }))
}

/// The options of a rate in packets; how long an entry lives if no option says so, in milliseconds, as set and as
/// taken for granted in print.
fn packets(
    given: &Given<'_, '_>,
    name: &'static str,
    (period, unit): (u64, u64),
    list: &mut Vec<SavedOption>,
) -> Result<(u64, u64), Refusal> {
    let burst =
        given.value("--hashlimit-burst", |text| name::number64(text).filter(|n| (1..=1_000_000).contains(n)))?;
    // With --hashlimit-rate-match the kernel keeps the period of one second.
    let kept = if given.has("--hashlimit-rate-match") { period / unit } else { period };
    let (text, printed_unit) = rate_text(kept.max(1), HASH_SCALE);
    list.push(saved(name, false, text));
    list.push(saved("--hashlimit-burst", false, burst.unwrap_or(5)));
    Ok((unit * 1000, printed_unit * 1000))
}

fn bytes(
    given: &Given<'_, '_>,
    name: &'static str,
    cost: u64,
    list: &mut Vec<SavedOption>,
) -> Result<(u64, u64), Refusal> {
    let rate = cost_to_bytes(cost);
    let fits = |size: u64| rate >= size && bytes_to_cost(rate & !(size - 1)) == cost;
    list.push(saved(name, false, format!("{}/s", in_units(rate, fits))));
    let Some(burst) = given.value("--hashlimit-burst", |text| with_factor(text.trim_end_matches('b')))? else {
        return Ok((15_000, 15_000));
    };
    if burst.0 < rate || rate == 0 {
        return Err(given.refuse("--hashlimit-burst", format!("the burst can't be smaller than {rate}b")));
    }
    let burst = burst.0.div_ceil(rate).saturating_mul(rate);
    list.push(saved("--hashlimit-burst", false, in_units(burst, |size| burst >= size)));
    Ok((60_000, 60_000))
}

fn hash_mode(text: &str) -> Option<String> {
    const MODES: [&str; 4] = ["srcip", "srcport", "dstip", "dstport"];
    let given: Vec<&str> = text.split([',', '|']).filter(|mode| !mode.is_empty()).collect();
    if !given.iter().all(|mode| MODES.contains(mode)) {
        return None;
    }
    let found: Vec<&str> = MODES.into_iter().filter(|mode| given.contains(mode)).collect();
    Some(found.join(","))
}

fn hashtable(given: &Given<'_, '_>, (expire, assumed): (u64, u64), list: &mut Vec<SavedOption>) -> Result<(), Refusal> {
    let numbers =
        [("--hashlimit-htable-size", 0), ("--hashlimit-htable-max", 0), ("--hashlimit-htable-gcinterval", 1000)];
    for (name, default) in numbers {
        let value = given.value(name, name::number)?.filter(|value| *value != default);
        list.extend(value.map(|value| saved(name, false, value)));
    }
    let expire = given.value("--hashlimit-htable-expire", name::number)?.map_or(expire, u64::from);
    list.extend((expire != assumed).then(|| saved("--hashlimit-htable-expire", false, expire)));
    let bits = u32::from(given.around.family.bits());
    for name in ["--hashlimit-srcmask", "--hashlimit-dstmask"] {
        let length = given.value(name, |text| name::number(text).filter(|length| *length <= bits))?;
        list.extend(length.filter(|length| *length != bits).map(|length| saved(name, false, length)));
    }
    Ok(())
}

pub(super) static QUOTA: Extension<Match> = Extension::kept(
    "quota",
    &[Opt::value("--quota", "a number of 64 bits").not().must().prints(number::<{ u64::MAX }>)],
);

/// An object of nfacct. Any name is taken: whether there is one, the file `nfacct` tells.
pub(super) static NFACCT: Extension<Match> =
    Extension::kept("nfacct", &[Opt::value("--nfacct-name", "an accounting object's name").must().prints(word)]);

const BITS: &str = "a rate such as 10kbit";

pub(super) static RATEEST: Extension<Match> = Extension::new(
    "rateest",
    &[
        Opt::flag("--rateest-delta"),
        Opt::value("--rateest1", "an estimator's name").or(&["--rateest"]),
        Opt::maybe("--rateest-bps1", BITS),
        Opt::maybe("--rateest-pps1", NUMBER),
        Opt::flag("--rateest-lt").not().excludes(&["--rateest-gt", "--rateest-eq"]),
        Opt::flag("--rateest-gt").not().excludes(&["--rateest-lt", "--rateest-eq"]),
        Opt::flag("--rateest-eq").not().excludes(&["--rateest-lt", "--rateest-gt"]),
        Opt::value("--rateest2", "an estimator's name"),
        Opt::maybe("--rateest-bps2", BITS).or(&["--rateest-bps"]),
        Opt::maybe("--rateest-pps2", NUMBER).or(&["--rateest-pps"]),
    ],
    rateest,
);

/// One rate is compared with a number, or with another; by its change with `--rateest-delta`
/// (`rateest_save` in `libxt_rateest.c`).
fn rateest(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--rateest-lt", "--rateest-gt", "--rateest-eq"])?;
    let (delta, relative) = (given.has("--rateest-delta"), given.has("--rateest2"));
    let name = |text: &str| (!text.is_empty() && text.len() < 16).then(|| text.to_owned());
    let mut list = Vec::new();
    list.extend(delta.then(|| saved("--rateest-delta", false, "")));
    let first = given.must("--rateest1", name)?;
    list.push(saved(if relative { "--rateest1" } else { "--rateest" }, false, first));
    let units: [(Read, &str, &str, &str, &str); 2] = [
        (bit_rate, "--rateest-bps", "--rateest-bps1", "--rateest-bps2", "0bit"),
        (packet_rate, "--rateest-pps", "--rateest-pps1", "--rateest-pps2", "0"),
    ];
    for (read, plain, one, two, none) in units {
        if !given.has(one) && !given.has(two) {
            continue;
        }
        let rate = |option: &str| {
            let text = given.text(option).filter(|text| !text.is_empty());
            text.map_or(Ok(none.to_owned()), |_| given.must(option, read))
        };
        if delta {
            list.push(saved(one, false, rate(one)?));
        }
        list.extend(
            ["--rateest-lt", "--rateest-gt", "--rateest-eq"]
                .into_iter()
                .filter_map(|how| given.flag(how).map(|test| saved(how, test.invert, ""))),
        );
        let value = if delta || !relative { rate(two)? } else { String::new() };
        list.push(saved(if delta { two } else { plain }, false, value));
    }
    if let Some(second) = given.value("--rateest2", name)? {
        list.push(saved("--rateest2", false, second));
    }
    Ok(Match::from(Options { name: "rateest", list: list.into() }))
}

type Read = fn(&str) -> Option<String>;

fn packet_rate(text: &str) -> Option<String> {
    name::number(text).map(|rate| rate.to_string())
}

/// A rate in bits, of which the kernel keeps whole bytes.
fn bit_rate(text: &str) -> Option<String> {
    const SCALES: &[(&str, f64)] = &[
        ("", 1.0),
        ("bit", 1.0),
        ("Kibit", 1024.0),
        ("kbit", 1e3),
        ("Mibit", 1_048_576.0),
        ("mbit", 1e6),
        ("Gibit", 1_073_741_824.0),
        ("gbit", 1e9),
        ("Bps", 8.0),
        ("KiBps", 8192.0),
        ("KBps", 8e3),
        ("MiBps", 8_388_608.0),
        ("MBps", 8e6),
        ("GiBps", 8_589_934_592.0),
        ("GBps", 8e9),
    ];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let (_, scale) = SCALES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let bytes = digits.parse::<f64>().ok()? * scale / 8.0;
    if bytes > f64::from(u32::MAX) {
        return None;
    }
    let bits = bytes.floor() * 8.0;
    Some(match bits {
        _ if bits >= 1e9 => format!("{:.0}Mbit", bits / 1e6),
        _ if bits >= 1e6 => format!("{:.0}Kbit", bits / 1e3),
        _ => format!("{bits:.0}bit"),
    })
}

#[cfg(test)]
mod tests {
    use super::{rate, rate_text};

    #[test]
    fn a_rate_is_printed_in_the_shortest_unit_that_loses_least() {
        for (given, printed) in [
            ("1/sec", "1/sec"),
            ("3/hour", "3/hour"),
            ("1000/day", "1000/day"),
            ("60/min", "1/sec"),
            ("10/m", "10/min"),
        ] {
            let (period, _) = rate(given, 10_000).unwrap();
            assert_eq!(rate_text(period, 10_000).0, printed, "{given}");
        }
    }
}
