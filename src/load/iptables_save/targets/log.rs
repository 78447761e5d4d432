//! What only tells of a packet.

use crate::snapshot::{Options, Quoted, Target};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{U16, U32, number, one_of, saved};

pub(super) static LOG: Extension<Target> = Extension::new(
    "LOG",
    &[
        Opt::value("--log-prefix", "a text").prints(|text, _| prefix(text, 29)),
        Opt::value("--log-level", "a number from 0 to 7, or a level's name").prints(|text, _| level(text)),
        Opt::flag("--log-tcp-sequence"),
        Opt::flag("--log-tcp-options"),
        Opt::flag("--log-ip-options"),
        Opt::flag("--log-uid"),
        Opt::flag("--log-macdecode"),
    ],
    |given| without(given, "--log-level", "4"),
);

/// A text, cut where the kernel's field ends.
fn prefix(text: &str, longest: usize) -> Option<String> {
    let end = (0..=longest.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (!text.is_empty()).then(|| Quoted(text.get(..end).unwrap_or("")).to_string())
}

fn level(text: &str) -> Option<String> {
    const NAMES: [(&str, u32); 10] = [
        ("emerg", 0),
        ("panic", 0),
        ("alert", 1),
        ("crit", 2),
        ("error", 3),
        ("err", 3),
        ("warning", 4),
        ("notice", 5),
        ("info", 6),
        ("debug", 7),
    ];
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, level)| *level);
    named.or_else(|| name::number(text).filter(|level| *level < 8)).map(|level| level.to_string())
}

/// The options without one that has its default.
fn without(given: &Given<'_, '_>, name: &str, default: &str) -> Result<Target, Refusal> {
    let mut options = given.options()?;
    options.list = options.list.into_iter().filter(|option| option.name != name || &*option.value != default).collect();
    Ok(Target::from(options))
}

pub(super) static NFLOG: Extension<Target> = Extension::new(
    "NFLOG",
    &[
        Opt::value("--nflog-prefix", "a text").prints(|text, _| prefix(text, 63)),
        Opt::value("--nflog-group", "a number of 16 bits").prints(U16),
        Opt::value("--nflog-size", "a number of 32 bits").excludes(&["--nflog-range"]).prints(U32),
        Opt::value("--nflog-range", "a number of 32 bits").excludes(&["--nflog-size"]).prints(U32),
        Opt::value("--nflog-threshold", "a number of 16 bits").prints(U16),
    ],
    |given| {
        let Target::Other(mut options) = without(given, "--nflog-group", "0")? else {
            return Err(given.refuse_all("NFLOG has no other form"));
        };
        let default = |name: &str, value: &str| matches!(name, "--nflog-range" | "--nflog-threshold") && value == "0";
        options.list = options.list.into_iter().filter(|option| !default(option.name, &option.value)).collect();
        Ok(Target::Other(options))
    },
);

pub(super) static ULOG: Extension<Target> = Extension::kept(
    "ULOG",
    &[
        Opt::value("--ulog-prefix", "a text").prints(|text, _| prefix(text, 31)),
        Opt::value("--ulog-nlgroup", "a number from 1 to 32").prints(number::<32>),
        Opt::value("--ulog-cprange", "a number").prints(U32),
        Opt::value("--ulog-qthreshold", "a number from 1 to 50").prints(number::<50>),
    ],
);

/// iptables-nft takes it in every table, iptables-legacy in raw alone.
pub(super) static TRACE: Extension<Target> = Extension::kept("TRACE", &[]);

pub(super) static AUDIT: Extension<Target> = Extension::kept(
    "AUDIT",
    &[Opt::value("--type", "accept, drop or reject")
        .must()
        .prints(|text, _| one_of(text, &["accept", "drop", "reject"]).map(str::to_owned))],
);

pub(super) static LED: Extension<Target> = Extension::new(
    "LED",
    &[
        Opt::value("--led-trigger-id", "a name of 16 characters at most").must(),
        Opt::value("--led-delay", "a number of milliseconds, or `inf`"),
        Opt::flag("--led-always-blink"),
    ],
    |given| {
        let id = given.must("--led-trigger-id", |text| (text.len() <= 16).then(|| text.to_owned()))?;
        let mut list = vec![saved("--led-trigger-id", false, in_quotes(&id))];
        let delay = |text: &str| {
            if text.to_ascii_lowercase().starts_with("inf") {
                Some("inf".to_owned())
            } else {
                name::number(text).map(|n| n.to_string())
            }
        };
        let delay = given.value("--led-delay", delay)?.filter(|delay| delay != "0");
        list.extend(delay.map(|delay| saved("--led-delay", false, delay)));
        list.extend(given.has("--led-always-blink").then(|| saved("--led-always-blink", false, "")));
        Ok(Target::from(Options { name: "LED", list: list.into() }))
    },
);

/// Text in quotes in any case.
fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

pub(super) static IDLETIMER: Extension<Target> = Extension::kept(
    "IDLETIMER",
    &[
        Opt::value("--timeout", "a number of seconds").must().prints(U32),
        Opt::value("--label", "a name").must().prints(super::super::print::word),
        Opt::flag("--alarm"),
    ],
);

pub(super) static RATEEST: Extension<Target> = Extension::new(
    "RATEEST",
    &[
        Opt::value("--rateest-name", "an estimator's name").must(),
        Opt::value("--rateest-interval", "a time such as 250ms").must(),
        Opt::value("--rateest-ewmalog", "a time such as 500ms").must(),
    ],
    |given| {
        let name =
            given.must("--rateest-name", |text| (!text.is_empty() && text.len() < 16).then(|| text.to_owned()))?;
        let asked = given.must("--rateest-interval", microseconds)?;
        let average = given.must("--rateest-ewmalog", microseconds)?;
        // The kernel has intervals of a quarter of a second and its doubles, and averages over powers of two of them.
        let interval = (0..=5u32).map(|power| 250_000f64 * f64::from(1u32 << power)).find(|step| asked <= *step);
        let interval =
            interval.ok_or_else(|| given.refuse("--rateest-interval", "an interval is 8 seconds long at most"))?;
        let reaches = |log: &u32| asked / -(1.0 - 1.0 / f64::from(1u32 << log)).ln() > average;
        let log = (1..31u32).find(reaches).map(|log| log - 1).filter(|log| *log > 0);
        let log = log.ok_or_else(|| given.refuse("--rateest-ewmalog", "the average's time is out of range"))?;
        let list = [
            saved("--rateest-name", false, name),
            saved("--rateest-interval", false, time_text(interval)),
            saved("--rateest-ewmalog", false, time_text(interval * f64::from(1u32 << log))),
        ];
        Ok(Target::from(Options { name: "RATEEST", list: list.into() }))
    },
);

/// A time with its unit; seconds without one are microseconds.
fn microseconds(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" => 1e6,
        "ms" | "msec" | "msecs" => 1e3,
        "" | "us" | "usec" | "usecs" => 1.0,
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|time| time * scale)
}

fn time_text(microseconds: f64) -> String {
    if microseconds >= 1e6 { format!("{:.1}s", microseconds / 1e6) } else { format!("{:.1}ms", microseconds / 1e3) }
}
