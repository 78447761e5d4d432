//! Changes of the packet's headers.

use crate::net::{Family, Hook};
use crate::snapshot::{Target, TtlChange};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{number, saved};
use super::super::value::small;

const CHANGES: &[&str] = &["--set-tos", "--and-tos", "--or-tos", "--xor-tos"];
const BYTE: &str = "a number of 8 bits";

pub(super) static TOS: Extension<Target> = Extension::new(
    "TOS",
    &[
        Opt::value("--set-tos", "a number of 8 bits, with or without a mask, or a name").excludes(CHANGES),
        Opt::value("--and-tos", BYTE).excludes(CHANGES),
        Opt::value("--or-tos", BYTE).excludes(CHANGES),
        Opt::value("--xor-tos", BYTE).excludes(CHANGES),
    ],
    |given| {
        given.some_of(CHANGES)?;
        if let Some((value, mask)) = given.value("--set-tos", name::tos)? {
            return Ok(Target::Tos { mask, value });
        }
        if let Some(bits) = given.value("--and-tos", small)? {
            return Ok(Target::Tos { mask: !bits, value: 0 });
        }
        if let Some(bits) = given.value("--or-tos", small)? {
            return Ok(Target::Tos { mask: bits, value: bits });
        }
        Ok(Target::Tos { mask: 0, value: given.must("--xor-tos", small)? })
    },
)
.tables(&["mangle"]);

pub(super) static DSCP: Extension<Target> = Extension::new(
    "DSCP",
    &[
        Opt::value("--set-dscp", "a number from 0 to 63").excludes(&["--set-dscp-class"]),
        Opt::value("--set-dscp-class", "BE, EF, AFxx or CSx"),
    ],
    |given| {
        given.some_of(&["--set-dscp", "--set-dscp-class"])?;
        let class = given.value("--set-dscp-class", name::dscp_class)?;
        let dscp = given.value("--set-dscp", |text| small(text).filter(|dscp| *dscp < 64))?;
        dscp.or(class).map(Target::Dscp).ok_or_else(|| given.refuse_all("DSCP needs --set-dscp"))
    },
)
.tables(&["mangle"]);

const FROM_ONE: &str = "a number from 1 to 255";

pub(super) static TTL: Extension<Target> = Extension::new(
    "TTL",
    &[
        Opt::value("--ttl-set", BYTE).excludes(&["--ttl-inc", "--ttl-dec"]),
        Opt::value("--ttl-inc", FROM_ONE).excludes(&["--ttl-set", "--ttl-dec"]),
        Opt::value("--ttl-dec", FROM_ONE).excludes(&["--ttl-set", "--ttl-inc"]),
    ],
    |given| ttl(given, ["--ttl-set", "--ttl-inc", "--ttl-dec"]).map(Target::Ttl),
)
.tables(&["mangle"]);

pub(super) static HL: Extension<Target> = Extension::new(
    "HL",
    &[
        Opt::value("--hl-set", BYTE).excludes(&["--hl-inc", "--hl-dec"]),
        Opt::value("--hl-inc", FROM_ONE).excludes(&["--hl-set", "--hl-dec"]),
        Opt::value("--hl-dec", FROM_ONE).excludes(&["--hl-set", "--hl-inc"]),
    ],
    |given| ttl(given, ["--hl-set", "--hl-inc", "--hl-dec"]).map(Target::Hl),
)
.tables(&["mangle"]);

fn ttl(given: &Given<'_, '_>, names: [&str; 3]) -> Result<TtlChange, Refusal> {
    given.some_of(&names)?;
    let [set, inc, dec] = names;
    let some = |text: &str| small(text).filter(|by| *by > 0);
    if let Some(value) = given.value(set, small)? {
        return Ok(TtlChange::Set(value));
    }
    match given.value(inc, some)? {
        Some(by) => Ok(TtlChange::Inc(by)),
        None => Ok(TtlChange::Dec(given.must(dec, some)?)),
    }
}

pub(super) static ECN: Extension<Target> = Extension::new(
    "ECN",
    &[
        Opt::flag("--ecn-tcp-remove").excludes(&["--ecn-tcp-cwr", "--ecn-tcp-ece"]),
        Opt::value("--ecn-tcp-ece", "0 or 1").excludes(&["--ecn-tcp-remove"]).prints(number::<1>),
        Opt::value("--ecn-tcp-cwr", "0 or 1").excludes(&["--ecn-tcp-remove"]).prints(number::<1>),
        Opt::value("--ecn-ip-ect", "a number from 0 to 3").prints(number::<3>),
    ],
    |given| {
        given.some_of(&["--ecn-tcp-remove", "--ecn-tcp-ece", "--ecn-tcp-cwr", "--ecn-ip-ect"])?;
        let tcp = given.has("--ecn-tcp-remove") || given.has("--ecn-tcp-ece") || given.has("--ecn-tcp-cwr");
        if tcp && !given.around.is_protocol(&[6]) {
            return Err(given.refuse_all("changes of TCP need -p tcp"));
        }
        given.options().map(Target::from)
    },
)
.tables(&["mangle"]);

pub(super) static TCPMSS: Extension<Target> = Extension::new(
    "TCPMSS",
    &[
        Opt::value("--set-mss", "a number of bytes that fits into a packet").excludes(&["--clamp-mss-to-pmtu"]),
        Opt::flag("--clamp-mss-to-pmtu").excludes(&["--set-mss"]),
    ],
    |given| {
        given.some_of(&["--set-mss", "--clamp-mss-to-pmtu"])?;
        let header = if given.around.family == Family::Inet { 20 } else { 40 };
        let most = u32::from(u16::MAX) - header;
        let mss = given.value("--set-mss", |text| name::number(text).filter(|mss| *mss <= most))?;
        let clamp = given.has("--clamp-mss-to-pmtu");
        if clamp && matches!(given.around.hook, Some(Hook::Prerouting | Hook::Input)) {
            let why = "--clamp-mss-to-pmtu works only in FORWARD, OUTPUT and POSTROUTING";
            return Err(given.refuse("--clamp-mss-to-pmtu", why));
        }
        let option = mss.map_or_else(|| saved("--clamp-mss-to-pmtu", false, ""), |mss| saved("--set-mss", false, mss));
        let list = [option];
        Ok(Target::from(crate::snapshot::Options { name: "TCPMSS", list: list.into() }))
    },
)
.protocols(&[6]);

pub(super) static TCPOPTSTRIP: Extension<Target> = Extension::new(
    "TCPOPTSTRIP",
    &[Opt::value("--strip-options", "a list of TCP options from 2 on, by number or name, each once")
        .prints(|text, _| tcp_options(text))],
    |given| given.options().map(Target::from),
)
.protocols(&[6])
.tables(&["mangle"]);

fn tcp_options(text: &str) -> Option<String> {
    const NAMES: [(&str, u8); 6] =
        [("mss", 2), ("wscale", 3), ("sack-permitted", 4), ("sack", 5), ("timestamp", 8), ("md5", 19)];
    let option = |text: &str| match NAMES.iter().find(|(name, _)| *name == text) {
        Some((_, number)) => Some(*number),
        None => small(text).filter(|number| *number >= 2),
    };
    let mut numbers: Vec<u8> = text.split(',').map(option).collect::<Option<_>>()?;
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    let texts: Vec<String> = numbers.iter().map(u8::to_string).collect();
    (numbers.len() == count).then(|| texts.join(","))
}

pub(super) static CHECKSUM: Extension<Target> =
    Extension::kept("CHECKSUM", &[Opt::flag("--checksum-fill").must()]).tables(&["mangle"]);
