//! `policy`: what IPsec did or will do with the packet.

use crate::net::Hook;
use crate::snapshot::{Match, Options, SavedOption};

use super::super::grammar::{Extension, Given, Opt, Refusal, Taken};
use super::super::print::{U32, addresses, hex, one_of, saved};

pub(super) static POLICY: Extension<Match> = Extension::new(
    "policy",
    &[
        Opt::value("--dir", "in or out").must(),
        Opt::value("--pol", "none or ipsec"),
        Opt::flag("--strict"),
        Opt::value("--reqid", "a number of 32 bits").not().repeats().prints(U32),
        Opt::value("--spi", "a number of 32 bits").not().repeats().prints(hex::<1>),
        Opt::value("--proto", "ah, esp or ipcomp").not().repeats().prints(|text, _| proto(text)),
        Opt::value("--mode", "transport or tunnel").not().repeats().prints(|text, _| mode(text)),
        Opt::value("--tunnel-dst", "an address, with or without a mask").not().repeats().prints(addresses),
        Opt::value("--tunnel-src", "an address, with or without a mask").not().repeats().prints(addresses),
        Opt::flag("--next").repeats().needs(&["--strict"]),
    ],
    policy,
);

fn proto(text: &str) -> Option<String> {
    let name = match super::super::name::protocol(text)?.0 {
        50 => "esp",
        51 => "ah",
        108 => "ipcomp",
        _ => return None,
    };
    Some(name.to_owned())
}

fn mode(text: &str) -> Option<String> {
    one_of(text, &["transport", "tunnel"]).map(str::to_owned)
}

/// How many elements a rule can ask for (`XT_POLICY_MAX_ELEM`).
const MOST: usize = 4;

fn policy(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let dir = given.must("--dir", |text| one_of(text, &["in", "out"]))?;
    let pol = given.value("--pol", |text| one_of(text, &["none", "ipsec"]))?.unwrap_or("ipsec");
    let wrong = match given.around.hook {
        Some(Hook::Prerouting | Hook::Input) => dir == "out",
        Some(Hook::Output | Hook::Postrouting) => dir == "in",
        _ => false,
    };
    if wrong {
        return Err(given.refuse("--dir", format!("--dir {dir} can't be asked in this chain")));
    }
    let strict = given.has("--strict");
    if strict && pol == "none" {
        return Err(given.refuse("--pol", "--pol none can't stand beside --strict"));
    }
    let elements: Vec<&[Taken]> = given.all().split(|taken| taken.name() == "--next").collect();
    if elements.len() > MOST {
        return Err(given.refuse("--next", format!("there are {MOST} elements at most")));
    }
    let mut list = vec![saved("--dir", false, dir), saved("--pol", false, pol)];
    list.extend(strict.then(|| saved("--strict", false, "")));
    for (at, taken) in elements.iter().enumerate() {
        if at > 0 {
            list.push(saved("--next", false, ""));
        }
        let element = element(given, taken)?;
        if strict && element.is_empty() {
            return Err(given.refuse("--strict", "--strict needs an option in each element"));
        }
        // Without a policy an element is taken, but neither kept nor asked for.
        if pol != "none" {
            list.extend(element);
        }
    }
    Ok(Match::from(Options { name: "policy", list: list.into() }))
}

/// The options of one element, in the order in which they are printed.
fn element(given: &Given<'_, '_>, taken: &[Taken]) -> Result<Vec<SavedOption>, Refusal> {
    let mut list: Vec<SavedOption> = Vec::new();
    for name in ["--reqid", "--spi", "--proto", "--mode", "--tunnel-dst", "--tunnel-src"] {
        let mut of_name = taken.iter().filter(|taken| taken.name() == name);
        if let Some(first) = of_name.next() {
            list.push(given.printed(first)?);
        }
        if let Some(again) = of_name.next() {
            let why = format!("{name} can stand only once in an element");
            return Err(Refusal { place: again.place, why });
        }
    }
    let tunnel = list.iter().any(|option| option.name.starts_with("--tunnel"));
    let mode = list.iter().find(|option| option.name == "--mode");
    let in_tunnel = mode.is_none_or(|mode| (&*mode.value == "tunnel") != mode.invert);
    // Without a mode iptables takes transport for granted, which is no tunnel.
    if tunnel && (mode.is_none() || !in_tunnel) {
        return Err(given.refuse_all("--tunnel-src and --tunnel-dst need --mode tunnel"));
    }
    Ok(list)
}
