//! Connection tracking, sets, and what takes a packet or a copy of it elsewhere.

use crate::net::Hook;
use crate::snapshot::{CtTarget, CtZone, CtZoneSide, SetPlace, SetTarget, Target};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{U32, address, mark_mask, port, saved, word};
use super::super::value::set_sides;

const ZONE: &str = "a zone from 0 to 65535, or `mark`";

pub(super) static CT: Extension<Target> = Extension::new(
    "CT",
    &[
        Opt::flag("--notrack"),
        Opt::value("--helper", "a helper's name"),
        Opt::value("--timeout", "a timeout policy's name"),
        Opt::value("--ctevents", "a list of new, related, destroy, reply, assured, protoinfo, helper, mark, …"),
        Opt::value("--expevents", "new"),
        Opt::value("--zone", ZONE).excludes(&["--zone-orig", "--zone-reply"]),
        Opt::value("--zone-orig", ZONE).excludes(&["--zone", "--zone-reply"]),
        Opt::value("--zone-reply", ZONE).excludes(&["--zone", "--zone-orig"]),
    ],
    ct,
)
.tables(&["raw"]);

fn ct(given: &Given<'_, '_>) -> Result<Target, Refusal> {
    let helper = given.value("--helper", |text| (!text.is_empty() && text.len() < 16).then(|| text.into()))?;
    if helper.is_some() && given.around.protocol.is_none() {
        return Err(given.refuse("--helper", "--helper needs a protocol (-p)"));
    }
    let sides =
        [("--zone", CtZoneSide::Both), ("--zone-orig", CtZoneSide::Original), ("--zone-reply", CtZoneSide::Reply)];
    let mut zone = None;
    for (name, side) in sides {
        zone = given.value(name, |text| zone_of(text, side))?.or(zone);
    }
    Ok(Target::Ct(Box::new(CtTarget {
        alias: false,
        notrack: given.has("--notrack"),
        zone,
        helper,
        timeout: given.value("--timeout", |text| (!text.is_empty() && text.len() < 32).then(|| text.into()))?,
        ctevents: given.value("--ctevents", events)?,
        expevents: given.value("--expevents", |text| (text == "new").then(|| text.into()))?,
    })))
}

fn zone_of(text: &str, side: CtZoneSide) -> Option<CtZone> {
    if text.eq_ignore_ascii_case("mark") {
        return Some(CtZone { side, id: None });
    }
    Some(CtZone { side, id: Some(u16::try_from(name::number(text)?).ok()?) })
}

/// Events in the order in which they are printed.
fn events(text: &str) -> Option<Box<str>> {
    const EVENTS: [&str; 10] =
        ["new", "related", "destroy", "reply", "assured", "protoinfo", "helper", "mark", "natseqinfo", "secmark"];
    let given: Vec<&str> = text.split(',').collect();
    let found: Vec<&str> = EVENTS.into_iter().filter(|event| given.contains(event)).collect();
    given.iter().all(|event| EVENTS.contains(event)).then(|| found.join(",").into())
}

pub(super) static NOTRACK: Extension<Target> = Extension::new("NOTRACK", &[], |_| {
    Ok(Target::Ct(Box::new(CtTarget { alias: true, notrack: true, ..CtTarget::default() })))
})
.tables(&["raw"]);

const SET_PLACE: &str = "a set's name and a list of `src` and `dst`";

pub(super) static SET: Extension<Target> = Extension::new(
    "SET",
    &[
        Opt::pair("--add-set", SET_PLACE).excludes(&["--map-set"]),
        Opt::flag("--exist").needs(&["--add-set"]),
        Opt::value("--timeout", "a number of seconds").needs(&["--add-set"]),
        Opt::pair("--del-set", SET_PLACE).excludes(&["--map-set"]),
        Opt::pair("--map-set", SET_PLACE),
        Opt::flag("--map-mark").needs(&["--map-set"]),
        Opt::flag("--map-prio").needs(&["--map-set"]),
        Opt::flag("--map-queue").needs(&["--map-set"]),
    ],
    |given| {
        given.some_of(&["--add-set", "--del-set", "--map-set"])?;
        let (map_mark, map_prio, map_queue) =
            (given.has("--map-mark"), given.has("--map-prio"), given.has("--map-queue"));
        if given.has("--map-set") && !(map_mark || map_prio || map_queue) {
            return Err(given.refuse("--map-set", "--map-set needs --map-mark, --map-prio or --map-queue"));
        }
        Ok(Target::Set(Box::new(SetTarget {
            add: place(given, "--add-set")?,
            exist: given.has("--exist"),
            timeout: given.value("--timeout", |text| name::number(text).filter(|timeout| *timeout < u32::MAX))?,
            del: place(given, "--del-set")?,
            map: place(given, "--map-set")?,
            map_mark,
            map_prio,
            map_queue,
        })))
    },
);

fn place(given: &Given<'_, '_>, option: &str) -> Result<Option<SetPlace>, Refusal> {
    let Some(taken) = given.all().iter().find(|taken| taken.name() == option) else { return Ok(None) };
    let name = given.value_of(taken, |text| (!text.is_empty() && text.len() < 32).then(|| text.into()))?;
    let sides = set_sides(given.second_of(taken)).ok_or_else(|| given.unreadable(taken))?;
    Ok(Some(SetPlace { name, sides }))
}

pub(super) static SYNPROXY: Extension<Target> = Extension::kept(
    "SYNPROXY",
    &[
        Opt::flag("--sack-perm"),
        Opt::flag("--timestamp"),
        Opt::value("--wscale", "a number of 32 bits").prints(U32),
        Opt::value("--mss", "a number of 32 bits").prints(U32),
        Opt::flag("--ecn"),
    ],
)
.protocols(&[6])
.hooks(&[Hook::Input, Hook::Forward]);

pub(super) static TPROXY: Extension<Target> = Extension::new(
    "TPROXY",
    &[
        Opt::value("--on-port", "a port").must().prints(port),
        Opt::value("--on-ip", "an address").prints(address),
        Opt::value("--tproxy-mark", "a number of 32 bits, with or without a mask").prints(mark_mask),
    ],
    |given| {
        // Both are printed in any case.
        let any = given.around.family.unspecified().to_string();
        let mut options = given.options()?;
        let found = |name: &str| options.find(name).map(|option| option.value.to_string());
        let list = [
            saved("--on-port", false, found("--on-port").unwrap_or_default()),
            saved("--on-ip", false, found("--on-ip").unwrap_or(any)),
            saved("--tproxy-mark", false, found("--tproxy-mark").unwrap_or_else(|| "0x0/0x0".to_owned())),
        ];
        options.list = list.into();
        Ok(Target::from(options))
    },
)
.protocols(&[6, 17])
.tables(&["mangle"])
.hooks(&[Hook::Prerouting]);

pub(super) static TEE: Extension<Target> = Extension::kept(
    "TEE",
    &[Opt::value("--gateway", "an address").must().prints(address), Opt::value("--oif", "a device").prints(word)],
);
