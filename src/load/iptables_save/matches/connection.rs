//! The packet's connection.

use crate::net::Family;
use crate::snapshot::{AddrMask, ConntrackMatch, CtStates, Direction, Match, Options, SavedOption, Test};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{U32, exactly, number, quoted, saved};
use super::super::value::{addr_mask, ct_states, ct_status, port_range, range};

const ADDR: &str = "an address, with or without a mask";
const PORT: &str = "a port, or two with a colon between them";

pub(super) static CONNTRACK: Extension<Match> = Extension::new(
    "conntrack",
    &[
        Opt::value("--ctstate", "a list of INVALID, NEW, ESTABLISHED, RELATED, UNTRACKED, SNAT and DNAT")
            .or(&["--state"])
            .not(),
        Opt::value("--ctproto", "a protocol").not(),
        Opt::value("--ctorigsrc", ADDR).not(),
        Opt::value("--ctorigdst", ADDR).not(),
        Opt::value("--ctreplsrc", ADDR).not(),
        Opt::value("--ctrepldst", ADDR).not(),
        Opt::value("--ctorigsrcport", PORT).not(),
        Opt::value("--ctorigdstport", PORT).not(),
        Opt::value("--ctreplsrcport", PORT).not(),
        Opt::value("--ctrepldstport", PORT).not(),
        Opt::value("--ctstatus", "NONE, or a list of EXPECTED, SEEN_REPLY, ASSURED and CONFIRMED").not(),
        Opt::value("--ctexpire", "a number of seconds, or two with a colon between them").not(),
        Opt::value("--ctdir", "ORIGINAL or REPLY"),
    ],
    conntrack,
);

fn conntrack(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    if given.is_empty() {
        return Err(given.refuse_all("conntrack needs an option"));
    }
    let found = ConntrackMatch {
        alias: false,
        states: given.test("--ctstate", ct_states)?,
        status: given.test("--ctstatus", ct_status)?,
        protocol: given.test("--ctproto", name::protocol)?,
        orig_src: addr(given, "--ctorigsrc")?,
        orig_dst: addr(given, "--ctorigdst")?,
        repl_src: addr(given, "--ctreplsrc")?,
        repl_dst: addr(given, "--ctrepldst")?,
        orig_src_port: given.test("--ctorigsrcport", port_range)?,
        orig_dst_port: given.test("--ctorigdstport", port_range)?,
        repl_src_port: given.test("--ctreplsrcport", port_range)?,
        repl_dst_port: given.test("--ctrepldstport", port_range)?,
        direction: given.test("--ctdir", direction)?,
        expires: given.test("--ctexpire", |text| range(text, b':', name::number, u32::MAX))?,
    };
    let no_protocol = |test: &Test<crate::net::Protocol>| test.value.0 == 0 && test.invert;
    if found.protocol.as_ref().is_some_and(no_protocol) {
        return Err(given.refuse("--ctproto", "no connection is of no protocol at all"));
    }
    Ok(Match::Conntrack(Box::new(found)))
}

fn addr(given: &Given<'_, '_>, name: &str) -> Result<Option<AddrMask>, Refusal> {
    let family = given.around.family;
    let found = given.test(name, |text| addr_mask(family, text, false))?;
    Ok(found.map(|test| test.value.inverted(test.invert)))
}

fn direction(text: &str) -> Option<Direction> {
    match text.to_ascii_uppercase().as_str() {
        "ORIGINAL" => Some(Direction::Original),
        "REPLY" => Some(Direction::Reply),
        _ => None,
    }
}

pub(super) static STATE: Extension<Match> = Extension::new(
    "state",
    &[Opt::value("--state", "a list of INVALID, NEW, ESTABLISHED, RELATED and UNTRACKED").not().must()],
    |given| {
        let plain = |text: &str| ct_states(text).filter(|states| states.0 & (CtStates::SNAT.0 | CtStates::DNAT.0) == 0);
        let states = Some(given.must_test("--state", plain)?);
        Ok(Match::Conntrack(Box::new(ConntrackMatch { alias: true, states, ..ConntrackMatch::default() })))
    },
);

pub(super) static CONNMARK: Extension<Match> = Extension::new(
    "connmark",
    &[Opt::value("--mark", "a number of 32 bits, with or without a mask").not().must()],
    |given| Ok(Match::Connmark(given.must_test("--mark", super::header::mark_test)?)),
);

pub(super) static HELPER: Extension<Match> =
    Extension::kept("helper", &[Opt::value("--helper", "a helper's name").not().must().prints(quoted)]);

pub(super) static CONNBYTES: Extension<Match> = Extension::new(
    "connbytes",
    &[
        Opt::value("--connbytes", "a number, or two with a colon between them, the lower one first").not().must(),
        Opt::value("--connbytes-mode", "packets, bytes or avgpkt").must(),
        Opt::value("--connbytes-dir", "original, reply or both").must(),
    ],
    connbytes,
);

fn connbytes(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    let Test { value: (low, high), invert } = given.must_test("--connbytes", |text| {
        let (low, high) = match text.split_once(':') {
            Some(_) => range(text, b':', name::number64, u64::MAX)?,
            None => (name::number64(text)?, u64::MAX),
        };
        (low <= high).then_some((low, high))
    })?;
    let count = if high == u64::MAX { low.to_string() } else { format!("{low}:{high}") };
    let mode = given.must("--connbytes-mode", |text| exactly(text, &["packets", "bytes", "avgpkt"]))?;
    let dir = given.must("--connbytes-dir", |text| exactly(text, &["original", "reply", "both"]))?;
    let list = [
        saved("--connbytes", invert, count),
        saved("--connbytes-mode", false, mode),
        saved("--connbytes-dir", false, dir),
    ];
    Ok(Match::from(Options { name: "connbytes", list: list.into() }))
}

pub(super) static CONNLABEL: Extension<Match> = Extension::kept(
    "connlabel",
    &[
        Opt::value("--label", "a label's number from 0 to 127").not().must().prints(|text, family| {
            let label = number::<127>(text, family)?;
            Some(format!("\"{label}\""))
        }),
        Opt::flag("--set"),
    ],
);

pub(super) static CONNLIMIT: Extension<Match> = Extension::new(
    "connlimit",
    &[
        Opt::value("--connlimit-upto", "a number of 32 bits").not().excludes(&["--connlimit-above"]).prints(U32),
        Opt::value("--connlimit-above", "a number of 32 bits").not().excludes(&["--connlimit-upto"]).prints(U32),
        Opt::value("--connlimit-mask", "a prefix length or a mask"),
        Opt::flag("--connlimit-saddr").excludes(&["--connlimit-daddr"]),
        Opt::flag("--connlimit-daddr").excludes(&["--connlimit-saddr"]),
    ],
    connlimit,
);

fn connlimit(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--connlimit-upto", "--connlimit-above"])?;
    let family = given.around.family;
    let upto = given.test("--connlimit-upto", name::number)?;
    let above = given.test("--connlimit-above", name::number)?.map(|test| Test { invert: !test.invert, ..test });
    let Some(Test { value, invert }) = upto.or(above) else { return Err(given.refuse_all("connlimit needs a limit")) };
    let mask = given.value("--connlimit-mask", |text| mask_bits(text, family))?;
    let side = if given.has("--connlimit-daddr") { "--connlimit-daddr" } else { "--connlimit-saddr" };
    let list: [SavedOption; 3] = [
        saved(if invert { "--connlimit-above" } else { "--connlimit-upto" }, false, value),
        saved("--connlimit-mask", false, mask.unwrap_or(u32::from(family.bits()))),
        saved(side, false, ""),
    ];
    Ok(Match::from(Options { name: "connlimit", list: list.into() }))
}

/// A mask, as the number of bits that it leaves.
fn mask_bits(text: &str, family: Family) -> Option<u32> {
    let unspecified = family.unspecified();
    let mask = addr_mask(family, &format!("{unspecified}/{text}"), false)?.mask();
    crate::snapshot::prefix_length(mask)
}
