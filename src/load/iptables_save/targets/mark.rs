//! Marks on the packet and on its connection.

use crate::net::Hook;
use crate::snapshot::{ConnmarkAction, ConnmarkTarget, MarkChange, MarkShift, Target, prefix_length};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{U32, hex, saved, word};
use super::super::value::addr_mask;

const MASKED: &str = "a number of 32 bits, with or without a mask";
const NUMBER: &str = "a number of 32 bits";
const CHANGES: &[&str] =
    &["--set-xmark", "--set-mark", "--and-mark", "--or-mark", "--xor-mark", "--save-mark", "--restore-mark"];

pub(super) static MARK: Extension<Target> = Extension::new(
    "MARK",
    &[
        Opt::value("--set-xmark", MASKED).excludes(CHANGES),
        Opt::value("--set-mark", MASKED).excludes(CHANGES),
        Opt::value("--and-mark", NUMBER).excludes(CHANGES),
        Opt::value("--or-mark", NUMBER).excludes(CHANGES),
        Opt::value("--xor-mark", NUMBER).excludes(CHANGES),
    ],
    |given| {
        change(given)?.map(Target::Mark).ok_or_else(|| given.refuse_all("MARK needs --set-xmark or another change"))
    },
);

/// The change that an option asks for.
fn change(given: &Given<'_, '_>) -> Result<Option<MarkChange>, Refusal> {
    for taken in given.all() {
        let change = match taken.name() {
            "--set-xmark" => {
                let (value, mask) = given.value_of(taken, name::masked)?;
                MarkChange { mask, value }
            }
            "--set-mark" => {
                let (value, mask) = given.value_of(taken, name::masked)?;
                MarkChange { mask: mask | value, value }
            }
            "--and-mark" => MarkChange { mask: !given.value_of(taken, name::number)?, value: 0 },
            "--or-mark" => {
                let value = given.value_of(taken, name::number)?;
                MarkChange { mask: value, value }
            }
            "--xor-mark" => MarkChange { mask: 0, value: given.value_of(taken, name::number)? },
            _ => continue,
        };
        return Ok(Some(change));
    }
    Ok(None)
}

pub(super) static CONNMARK: Extension<Target> = Extension::new(
    "CONNMARK",
    &[
        Opt::value("--set-xmark", MASKED).excludes(CHANGES),
        Opt::value("--set-mark", MASKED).excludes(CHANGES),
        Opt::value("--and-mark", NUMBER).excludes(CHANGES),
        Opt::value("--or-mark", NUMBER).excludes(CHANGES),
        Opt::value("--xor-mark", NUMBER).excludes(CHANGES),
        Opt::flag("--save-mark").excludes(CHANGES),
        Opt::flag("--restore-mark").excludes(CHANGES),
        Opt::value("--left-shift-mark", "a number up to 32").excludes(&["--right-shift-mark"]),
        Opt::value("--right-shift-mark", "a number up to 32").excludes(&["--left-shift-mark"]),
        Opt::value("--nfmask", NUMBER).excludes(&["--mask"]),
        Opt::value("--ctmask", NUMBER).excludes(&["--mask"]),
        Opt::value("--mask", NUMBER).excludes(&["--nfmask", "--ctmask"]),
    ],
    connmark,
);

fn connmark(given: &Given<'_, '_>) -> Result<Target, Refusal> {
    let mask = given.value("--mask", name::number)?.unwrap_or(u32::MAX);
    let nfmask = given.value("--nfmask", name::number)?.unwrap_or(mask);
    let ctmask = given.value("--ctmask", name::number)?.unwrap_or(mask);
    let action = match change(given)? {
        Some(change) => ConnmarkAction::Set(change),
        None if given.has("--save-mark") => ConnmarkAction::Save { nfmask, ctmask },
        None if given.has("--restore-mark") => ConnmarkAction::Restore { nfmask, ctmask },
        None => return Err(given.refuse_all("CONNMARK needs --restore-mark, --save-mark or a change")),
    };
    let bits = |text: &str| name::number(text).filter(|bits| *bits <= 32).and_then(|bits| u8::try_from(bits).ok());
    let left = given.value("--left-shift-mark", bits)?.map(MarkShift::Left);
    let right = given.value("--right-shift-mark", bits)?.map(MarkShift::Right);
    Ok(Target::Connmark(ConnmarkTarget { action, shift: left.or(right) }))
}

pub(super) static CONNSECMARK: Extension<Target> = Extension::new(
    "CONNSECMARK",
    &[Opt::flag("--save").excludes(&["--restore"]), Opt::flag("--restore").excludes(&["--save"])],
    |given| {
        given.some_of(&["--save", "--restore"])?;
        given.options().map(Target::from)
    },
)
.tables(&["mangle", "security"]);

pub(super) static SECMARK: Extension<Target> =
    Extension::kept("SECMARK", &[Opt::value("--selctx", "a security context").must().prints(word)])
        .tables(&["mangle", "security"]);

pub(super) static CLASSIFY: Extension<Target> = Extension::kept(
    "CLASSIFY",
    &[Opt::value("--set-class", "MAJOR:MINOR in hexadecimal").must().prints(|text, _| class(text))],
)
.hooks(&[Hook::Forward, Hook::Output, Hook::Postrouting]);

fn class(text: &str) -> Option<String> {
    let (major, minor) = text.split_once(':')?;
    let part = |text: &str| u16::from_str_radix(text, 16).ok();
    Some(format!("{:04x}:{:04x}", part(major)?, part(minor)?))
}

const PORT_MASK: &str = "a number of 16 bits";

pub(super) static HMARK: Extension<Target> = Extension::new(
    "HMARK",
    &[
        Opt::value("--hmark-src-prefix", "a prefix length or a mask").prints(mask_bits),
        Opt::value("--hmark-dst-prefix", "a prefix length or a mask").prints(mask_bits),
        Opt::value("--hmark-sport-mask", PORT_MASK).prints(hex::<4>),
        Opt::value("--hmark-dport-mask", PORT_MASK).prints(hex::<4>),
        Opt::value("--hmark-spi-mask", NUMBER).prints(hex::<8>),
        Opt::value("--hmark-sport", PORT_MASK).prints(hex::<4>),
        Opt::value("--hmark-dport", PORT_MASK).prints(hex::<4>),
        Opt::value("--hmark-spi", NUMBER).prints(hex::<8>),
        Opt::value("--hmark-proto-mask", PORT_MASK).prints(hex::<2>),
        Opt::value("--hmark-rnd", NUMBER).must().prints(hex::<8>),
        Opt::value("--hmark-mod", "a number from 1 on").must().prints(U32),
        Opt::value("--hmark-offset", NUMBER).prints(U32),
        Opt::value("--hmark-tuple", "a list of ct, src, dst, sport, dport, proto and spi"),
    ],
    hmark,
);

/// What `--hmark-tuple` names stands for a mask of every bit, except `ct`.
const TUPLE: [(&str, &str, &str); 6] = [
    ("src", "--hmark-src-prefix", ""),
    ("dst", "--hmark-dst-prefix", ""),
    ("sport", "--hmark-sport-mask", "0xffff"),
    ("dport", "--hmark-dport-mask", "0xffff"),
    ("spi", "--hmark-spi-mask", "0xffffffff"),
    ("proto", "--hmark-proto-mask", "0xffff"),
];

fn hmark(given: &Given<'_, '_>) -> Result<Target, Refusal> {
    given.must("--hmark-mod", |text| name::number(text).filter(|modulus| *modulus > 0))?;
    let known = |word: &str| word == "ct" || TUPLE.iter().any(|(name, _, _)| *name == word);
    let tuple = given.value("--hmark-tuple", |text| {
        let words: Vec<String> = text.split(',').map(str::to_owned).collect();
        words.iter().all(|word| known(word)).then_some(words)
    })?;
    let tuple = tuple.unwrap_or_default();
    let bits = given.around.family.bits().to_string();
    let mut options = given.options()?;
    let mut list: Vec<_> = options.list.into_iter().filter(|option| option.name != "--hmark-tuple").collect();
    for (_, option, value) in TUPLE.iter().filter(|(name, _, _)| tuple.iter().any(|word| word == name)) {
        if !list.iter().any(|known| known.name == *option) {
            list.push(saved(option, false, if value.is_empty() { &bits } else { *value }));
        }
    }
    let has = |name: &str| list.iter().any(|option| option.name == name);
    if has("--hmark-spi-mask") && (has("--hmark-sport-mask") || has("--hmark-dport-mask")) {
        return Err(given.refuse_all("--hmark-spi-mask can't stand beside masks of ports"));
    }
    list.sort_by_key(|option| hmark_place(option.name));
    if tuple.iter().any(|word| word == "ct") {
        list.push(saved("--hmark-tuple", false, "ct"));
    }
    if !list.iter().any(|option| {
        option.name.ends_with("-mask") || option.name.ends_with("-prefix") || option.name.ends_with("tuple")
    }) {
        return Err(given.refuse_all("HMARK needs --hmark-tuple or a mask"));
    }
    options.list = list.into();
    Ok(Target::from(options))
}

/// An option's place in the order of printing.
fn hmark_place(name: &str) -> usize {
    HMARK.options.iter().position(|opt| opt.name == name).unwrap_or(usize::MAX)
}

/// A mask, as the number of bits that it leaves.
fn mask_bits(text: &str, family: crate::net::Family) -> Option<String> {
    let unspecified = family.unspecified();
    prefix_length(addr_mask(family, &format!("{unspecified}/{text}"), false)?.mask()).map(|bits| bits.to_string())
}
