//! Header extensions of IPv6.

use std::net::Ipv6Addr;

use crate::net::Hook;
use crate::snapshot::{Match, Options, SavedOption};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{U8, U16, U32, saved, span};
use super::super::value::addr_mask;

/// The extension with this name.
pub(super) fn find(name: &str) -> Option<&'static Extension<Match>> {
    Some(match name {
        "frag" => &FRAG,
        "rt" => &RT,
        "hbh" => &HBH,
        "dst" => &DST,
        "mh" => &MH,
        "srh" => &SRH,
        "ipv6header" => &IPV6HEADER,
        "eui64" => &EUI64,
        _ => return None,
    })
}

const SPAN: &str = "a number of 32 bits, or two with a colon between them";
const NUMBER: &str = "a number of 32 bits";

/// Every number is no condition, and iptables prints none.
fn without_any(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let mut options = given.options()?;
    options.list = options.list.into_iter().filter(|option| &*option.value != "0:4294967295").collect();
    Ok(Match::from(options))
}

pub(super) static AH: Extension<Match> = Extension::new(
    "ah",
    &[
        Opt::value("--ahspi", SPAN).not().prints(span),
        Opt::value("--ahlen", NUMBER).not().prints(U32),
        Opt::flag("--ahres"),
    ],
    |given| {
        let mut options = given.options()?;
        let any = |option: &SavedOption| {
            &*option.value == "0:4294967295" || (option.name == "--ahlen" && &*option.value == "0" && !option.invert)
        };
        options.list = options.list.into_iter().filter(|option| !any(option)).collect();
        Ok(Match::from(options))
    },
);

static FRAG: Extension<Match> = Extension::new(
    "frag",
    &[
        Opt::value("--fragid", SPAN).not().prints(span),
        Opt::value("--fraglen", NUMBER).not().prints(U32),
        Opt::flag("--fragres"),
        Opt::flag("--fragfirst"),
        Opt::flag("--fragmore").excludes(&["--fraglast"]),
        Opt::flag("--fraglast").excludes(&["--fragmore"]),
    ],
    without_any,
);

static RT: Extension<Match> = Extension::new(
    "rt",
    &[
        Opt::value("--rt-type", NUMBER).not().prints(U32),
        Opt::value("--rt-segsleft", SPAN).not().prints(span),
        Opt::value("--rt-len", NUMBER).not().prints(U32),
        Opt::flag("--rt-0-res").needs(&["--rt-type"]),
        Opt::value("--rt-0-addrs", "up to 16 addresses").needs(&["--rt-type"]).prints(|text, _| hops(text)),
        Opt::flag("--rt-0-not-strict").needs(&["--rt-0-addrs"]),
    ],
    |given| {
        let zero = given.test("--rt-type", name::number)?.is_some_and(|test| test.value == 0 && !test.invert);
        let of_zero = ["--rt-0-res", "--rt-0-addrs"].into_iter().find(|name| given.has(name));
        match of_zero {
            Some(name) if !zero => Err(given.refuse(name, format!("{name} needs --rt-type 0"))),
            _ => without_any(given),
        }
    },
);

fn hops(text: &str) -> Option<String> {
    let addrs: Vec<Ipv6Addr> = text.split(',').map(|addr| addr.parse().ok()).collect::<Option<_>>()?;
    let texts: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    (texts.len() <= 16).then(|| texts.join(","))
}

const OPTIONS: &str = "up to 16 of TYPE or TYPE:LENGTH";

static HBH: Extension<Match> = Extension::kept(
    "hbh",
    &[
        Opt::value("--hbh-len", NUMBER).not().prints(U32),
        Opt::value("--hbh-opts", OPTIONS).prints(|text, _| options(text)),
    ],
);

static DST: Extension<Match> = Extension::kept(
    "dst",
    &[
        Opt::value("--dst-len", NUMBER).not().prints(U32),
        Opt::value("--dst-opts", OPTIONS).prints(|text, _| options(text)),
    ],
);

/// `TYPE[:LENGTH],…`. A length of 255 asks nothing; only the padding of one byte has none.
fn options(text: &str) -> Option<String> {
    let option = |part: &str| {
        let (kind, length) = part.split_once(':').map_or((part, None), |(kind, length)| (kind, Some(length)));
        let kind = name::number(kind)? & 0xff;
        let Some(length) = length else { return Some(kind.to_string()) };
        let length = name::number(length)? & 0xff;
        (kind != 0).then(|| if length == 0xff { kind.to_string() } else { format!("{kind}:{length}") })
    };
    let list: Vec<String> = text.split(',').map(option).collect::<Option<_>>()?;
    (list.len() <= 16).then(|| list.join(","))
}

static MH: Extension<Match> = Extension::new(
    "mh",
    &[Opt::value("--mh-type", "a message's type or name, or two with a colon between them").not().prints(|text, _| {
        let (low, high) = match text.split_once(':') {
            Some((low, high)) => {
                (if low.is_empty() { 0 } else { mh_type(low)? }, if high.is_empty() { 0xff } else { mh_type(high)? })
            }
            None => (mh_type(text)?, mh_type(text)?),
        };
        (low <= high).then(|| crate::snapshot::Span(low, high).to_string())
    })],
    |given| {
        let mut options = given.options()?;
        options.list = options.list.into_iter().filter(|option| &*option.value != "0:255").collect();
        Ok(Match::from(options))
    },
)
.protocols(&[135]);

/// A mobility message's type, by number or by the start of its name.
fn mh_type(text: &str) -> Option<u8> {
    const NAMES: [(&str, u8); 16] = [
        ("binding-refresh-request", 0),
        ("brr", 0),
        ("home-test-init", 1),
        ("hoti", 1),
        ("careof-test-init", 2),
        ("coti", 2),
        ("home-test", 3),
        ("hot", 3),
        ("careof-test", 4),
        ("cot", 4),
        ("binding-update", 5),
        ("bu", 5),
        ("binding-acknowledgement", 6),
        ("ba", 6),
        ("binding-error", 7),
        ("be", 7),
    ];
    if let Some(number) = name::number(text) {
        return u8::try_from(number).ok();
    }
    let text = text.to_ascii_lowercase();
    let whole = NAMES.iter().find(|(name, _)| *name == text);
    whole.or_else(|| NAMES.iter().find(|(name, _)| !text.is_empty() && name.starts_with(&text))).map(|(_, kind)| *kind)
}

const BYTE: &str = "a number of 8 bits";
const PREFIX: &str = "an address, with or without a mask";

static SRH: Extension<Match> = Extension::kept(
    "srh",
    &[
        Opt::value("--srh-next-hdr", BYTE).not().prints(U8),
        Opt::value("--srh-hdr-len-eq", BYTE).not().prints(U8),
        Opt::value("--srh-hdr-len-gt", BYTE).not().prints(U8),
        Opt::value("--srh-hdr-len-lt", BYTE).not().prints(U8),
        Opt::value("--srh-segs-left-eq", BYTE).not().prints(U8),
        Opt::value("--srh-segs-left-gt", BYTE).not().prints(U8),
        Opt::value("--srh-segs-left-lt", BYTE).not().prints(U8),
        Opt::value("--srh-last-entry-eq", BYTE).not().prints(U8),
        Opt::value("--srh-last-entry-gt", BYTE).not().prints(U8),
        Opt::value("--srh-last-entry-lt", BYTE).not().prints(U8),
        Opt::value("--srh-tag", "a number of 16 bits").not().prints(U16),
        Opt::value("--srh-psid", PREFIX).not().prints(prefix),
        Opt::value("--srh-nsid", PREFIX).not().prints(prefix),
        Opt::value("--srh-lsid", PREFIX).not().prints(prefix),
    ],
);

/// An address with its prefix length in any case.
fn prefix(text: &str, family: crate::net::Family) -> Option<String> {
    let found = addr_mask(family, text, false)?;
    Some(format!("{}/{}", found.addr(), crate::snapshot::prefix_length(found.mask())?))
}

static IPV6HEADER: Extension<Match> = Extension::new(
    "ipv6header",
    &[Opt::value("--header", "a list of header names").not().must(), Opt::flag("--soft")],
    |given| {
        let headers = given.must_test("--header", headers)?;
        let mut list = vec![saved("--header", headers.invert, headers.value)];
        list.extend(given.has("--soft").then(|| saved("--soft", false, "")));
        Ok(Match::from(Options { name: "ipv6header", list: list.into() }))
    },
);

/// Headers in the order in which they are printed, by their printed names.
fn headers(text: &str) -> Option<String> {
    const NAMES: [(&str, &[&str]); 8] = [
        ("hop-by-hop", &["hop-by-hop", "hop", "0"]),
        ("ipv6-opts", &["ipv6-opts", "dst", "60"]),
        ("ipv6-route", &["ipv6-route", "route", "43"]),
        ("ipv6-frag", &["ipv6-frag", "frag", "44"]),
        ("ah", &["ah", "auth", "51"]),
        ("esp", &["esp", "50"]),
        ("ipv6-nonxt", &["ipv6-nonxt", "none", "59"]),
        ("protocol", &["protocol", "prot", "255"]),
    ];
    let given: Vec<&str> = text.split(',').collect();
    let known = |word: &&str| NAMES.iter().any(|(_, names)| names.contains(word));
    let asked = |names: &[&str]| given.iter().any(|word| names.contains(word));
    let found: Vec<&str> = NAMES.iter().filter(|(_, names)| asked(names)).map(|(name, _)| *name).collect();
    given.iter().all(known).then(|| found.join(","))
}

static EUI64: Extension<Match> = Extension::kept("eui64", &[]).hooks(&[Hook::Prerouting, Hook::Input, Hook::Forward]);
