//! Addresses and devices.

use std::net::IpAddr;

use crate::net::{Family, Hook};
use crate::snapshot::{
    AddrRange, AddrtypeMatch, IfPattern, IprangeMatch, Match, PhysdevMatch, RecentAction, RecentMatch, RecentSide,
    RpfilterMatch, SetMatch, Test,
};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::value_mask;
use super::super::value::{addr_type, if_pattern, set_sides};

const TYPES: &str = "a list of address types such as LOCAL or BROADCAST";

pub(super) static ADDRTYPE: Extension<Match> = Extension::new(
    "addrtype",
    &[
        Opt::value("--src-type", TYPES).not(),
        Opt::value("--dst-type", TYPES).not(),
        Opt::flag("--limit-iface-in").excludes(&["--limit-iface-out"]),
        Opt::flag("--limit-iface-out").excludes(&["--limit-iface-in"]),
    ],
    addrtype,
);

fn addrtype(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--src-type", "--dst-type"])?;
    let wrong = |name: &str| Err(given.refuse(name, format!("the packets of this chain have no device for {name}")));
    match given.around.hook {
        Some(Hook::Output | Hook::Postrouting) if given.has("--limit-iface-in") => return wrong("--limit-iface-in"),
        Some(Hook::Input | Hook::Prerouting) if given.has("--limit-iface-out") => return wrong("--limit-iface-out"),
        _ => {}
    }
    Ok(Match::Addrtype(AddrtypeMatch {
        source: given.test("--src-type", addr_type)?,
        destination: given.test("--dst-type", addr_type)?,
        limit_in: given.has("--limit-iface-in"),
        limit_out: given.has("--limit-iface-out"),
    }))
}

const RANGE: &str = "two addresses with a dash between them";

pub(super) static IPRANGE: Extension<Match> = Extension::new(
    "iprange",
    &[Opt::value("--src-range", RANGE).not(), Opt::value("--dst-range", RANGE).not()],
    |given| {
        given.some_of(&["--src-range", "--dst-range"])?;
        let family = given.around.family;
        let source = given.test("--src-range", |text| addr_range(text, family))?;
        let destination = given.test("--dst-range", |text| addr_range(text, family))?;
        Ok(Match::Iprange(Box::new(IprangeMatch { source, destination })))
    },
);

fn addr_range(text: &str, family: Family) -> Option<AddrRange> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high): (IpAddr, IpAddr) = (low.parse().ok()?, high.parse().ok()?);
    // A range whose ends are the wrong way round is taken, and holds no address.
    let fits = Family::of(low) == family && Family::of(high) == family;
    fits.then_some(AddrRange(low, high))
}

const COUNT: &str = "a number of 64 bits";

pub(super) static SET: Extension<Match> = Extension::new(
    "set",
    &[
        Opt::pair("--match-set", "a set's name and a list of `src` and `dst`").or(&["--set"]).not().must(),
        Opt::flag("--return-nomatch"),
        Opt::flag("--update-counters").not(),
        Opt::flag("--update-subcounters").not(),
        Opt::value("--packets-eq", COUNT).not().excludes(&["--packets-lt", "--packets-gt"]),
        Opt::value("--packets-lt", COUNT).excludes(&["--packets-eq", "--packets-gt"]),
        Opt::value("--packets-gt", COUNT).excludes(&["--packets-eq", "--packets-lt"]),
        Opt::value("--bytes-eq", COUNT).not().excludes(&["--bytes-lt", "--bytes-gt"]),
        Opt::value("--bytes-lt", COUNT).excludes(&["--bytes-eq", "--bytes-gt"]),
        Opt::value("--bytes-gt", COUNT).excludes(&["--bytes-eq", "--bytes-lt"]),
    ],
    set,
);

fn set(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let Some(taken) = given.all().iter().find(|taken| taken.name() == "--match-set") else {
        return Err(given.refuse_all("set needs --match-set"));
    };
    let name = given.value_of(taken, set_name)?;
    let sides = set_sides(given.second_of(taken)).ok_or_else(|| given.unreadable(taken))?;
    let negated = |name: &str| given.flag(name).is_some_and(|test| test.invert);
    let mut counters = String::new();
    for taken in given.all() {
        let option = taken.name();
        if option.starts_with("--packets") || option.starts_with("--bytes") {
            let value = given.value_of(taken, name::number64)?;
            let not = if taken.invert { "! " } else { "" };
            counters = format!("{counters} {not}{option} {value}");
        }
    }
    let counters = (!counters.is_empty()).then(|| counters.trim_start().into());
    Ok(Match::Set(Box::new(SetMatch {
        name,
        sides,
        invert: taken.invert,
        return_nomatch: given.has("--return-nomatch"),
        keep_counters: negated("--update-counters"),
        keep_subcounters: negated("--update-subcounters"),
        counters,
    })))
}

/// A set's name (`IPSET_MAXNAMELEN`).
pub(in super::super) fn set_name(text: &str) -> Option<Box<str>> {
    (!text.is_empty() && text.len() < 32).then(|| text.into())
}

const DEVICE: &str = "a device's name of 15 characters at most";

pub(super) static PHYSDEV: Extension<Match> = Extension::new(
    "physdev",
    &[
        Opt::flag("--physdev-is-in").not(),
        Opt::value("--physdev-in", DEVICE).not(),
        Opt::flag("--physdev-is-out").not(),
        Opt::value("--physdev-out", DEVICE).not(),
        Opt::flag("--physdev-is-bridged").not(),
    ],
    physdev,
);

fn physdev(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    if given.is_empty() {
        return Err(given.refuse_all("physdev needs an option"));
    }
    let is_bridged = given.flag("--physdev-is-bridged");
    let out = ["--physdev-out", "--physdev-is-out"].into_iter().find(|name| given.has(name));
    if let Some(name) = out.filter(|_| given.around.hook == Some(Hook::Output))
        && is_bridged.is_none_or(|test| test.invert)
    {
        return Err(given.refuse(name, format!("{name} needs --physdev-is-bridged in OUTPUT")));
    }
    Ok(Match::Physdev(Box::new(PhysdevMatch {
        input: device(given, "--physdev-in")?,
        output: device(given, "--physdev-out")?,
        is_in: given.flag("--physdev-is-in"),
        is_out: given.flag("--physdev-is-out"),
        is_bridged,
    })))
}

fn device(given: &Given<'_, '_>, name: &str) -> Result<Option<IfPattern>, Refusal> {
    let pattern = |text: &str| (text.len() < 16).then(|| if_pattern(text, false));
    let found = given.test(name, pattern)?;
    Ok(found.map(|test| IfPattern { invert: test.invert, ..test.value }))
}

const ACTIONS: [(&str, RecentAction); 4] = [
    ("--set", RecentAction::Set),
    ("--rcheck", RecentAction::Rcheck),
    ("--update", RecentAction::Update),
    ("--remove", RecentAction::Remove),
];

pub(super) static RECENT: Extension<Match> = Extension::new(
    "recent",
    &[
        Opt::flag("--set").not().excludes(&["--rcheck", "--update", "--remove"]),
        Opt::flag("--rcheck").not().excludes(&["--set", "--update", "--remove"]),
        Opt::flag("--update").not().excludes(&["--set", "--rcheck", "--remove"]),
        Opt::flag("--remove").not().excludes(&["--set", "--rcheck", "--update"]),
        Opt::value("--seconds", "a number from 1 on"),
        Opt::flag("--reap").needs(&["--seconds"]),
        Opt::value("--hitcount", "a number below 65536"),
        Opt::flag("--rttl").excludes(&["--set", "--remove"]),
        Opt::value("--name", "a list's name"),
        Opt::value("--mask", "a mask"),
        Opt::flag("--rsource").excludes(&["--rdest"]),
        Opt::flag("--rdest").excludes(&["--rsource"]),
    ],
    recent,
);

fn recent(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--set", "--rcheck", "--update", "--remove"])?;
    let (action, test) = ACTIONS
        .iter()
        .find_map(|(name, action)| Some((*action, given.flag(name)?)))
        .unwrap_or((RecentAction::Rcheck, Test { value: (), invert: false }));
    let mut found = RecentMatch::new(action, given.around.family);
    found.invert = test.invert;
    found.seconds = given.value("--seconds", |text| name::number(text).filter(|seconds| *seconds > 0))?;
    // It is the kernel that refuses more (`recent_mt_check`), and before Linux 6.11 more than 255, of which no saved rule
    // can be.
    found.hitcount = given.value("--hitcount", |text| name::number(text).filter(|hits| *hits < 65536))?;
    found.hitcount = found.hitcount.filter(|hits| *hits > 0);
    if found.hitcount.is_some() && matches!(action, RecentAction::Set | RecentAction::Remove) {
        return Err(given.refuse("--hitcount", "--hitcount can't stand beside --set or --remove"));
    }
    found.reap = given.has("--reap");
    found.rttl = given.has("--rttl");
    if let Some(name) = given.value("--name", |text| (!text.is_empty() && text.len() < 200).then(|| text.into()))? {
        found.name = name;
    }
    let family = given.around.family;
    let mask = |text: &str| text.parse().ok().filter(|mask| Family::of(*mask) == family);
    found.mask = given.value("--mask", mask)?.unwrap_or(found.mask);
    if given.has("--rdest") {
        found.side = RecentSide::Destination;
    }
    Ok(Match::Recent(Box::new(found)))
}

pub(super) static RPFILTER: Extension<Match> = Extension::new(
    "rpfilter",
    &[Opt::flag("--loose"), Opt::flag("--validmark"), Opt::flag("--accept-local"), Opt::flag("--invert")],
    |given| {
        Ok(Match::Rpfilter(RpfilterMatch {
            loose: given.has("--loose"),
            validmark: given.has("--validmark"),
            accept_local: given.has("--accept-local"),
            invert: given.has("--invert"),
        }))
    },
)
.tables(&["raw", "mangle"])
.hooks(&[Hook::Prerouting]);

/// A value by its number or by the one name that every system has for 0, which is also printed.
fn named(zero: &str, text: &str, family: Family) -> Option<String> {
    let printed = value_mask(if text == zero { "0" } else { text }, family)?;
    Some(if printed == "0x0" { zero.to_owned() } else { printed })
}

/// A device group (`/etc/iproute2/group`).
fn group(text: &str, family: Family) -> Option<String> {
    named("default", text, family)
}

/// A realm (`/etc/iproute2/rt_realms`).
fn realm(text: &str, family: Family) -> Option<String> {
    named("cosmos", text, family)
}

pub(super) static DEVGROUP: Extension<Match> = Extension::new(
    "devgroup",
    &[
        Opt::value("--src-group", "a device group's number, with or without a mask").not().prints(group),
        Opt::value("--dst-group", "a device group's number, with or without a mask").not().prints(group),
    ],
    |given| {
        given.some_of(&["--src-group", "--dst-group"])?;
        let wrong =
            |name: &str| Err(given.refuse(name, format!("the packets of this chain have no device for {name}")));
        match given.around.hook {
            Some(Hook::Output | Hook::Postrouting) if given.has("--src-group") => wrong("--src-group"),
            Some(Hook::Input | Hook::Prerouting) if given.has("--dst-group") => wrong("--dst-group"),
            _ => given.options().map(Match::from),
        }
    },
);

pub(super) static REALM: Extension<Match> = Extension::kept(
    "realm",
    &[Opt::value("--realm", "a realm's number, with or without a mask").not().must().prints(realm)],
)
.hooks(&[Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]);
