//! What ends a packet's way, or gives it to a program.

use crate::net::{Family, Hook};
use crate::snapshot::{QueueTarget, REJECT_TYPES, RejectWith, Target};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::value::range;

pub(super) static REJECT: Extension<Target> = Extension::new(
    "REJECT",
    &[Opt::value("--reject-with", "icmp-port-unreachable, tcp-reset or another type")],
    |given| reject(given, RejectWith::Icmp { kind: 3, code: 3 }),
)
.tables(&["filter"])
.hooks(&[Hook::Input, Hook::Forward, Hook::Output]);

pub(super) static REJECT6: Extension<Target> = Extension::new(
    "REJECT",
    &[Opt::value("--reject-with", "icmp6-port-unreachable, tcp-reset or another type")],
    |given| reject(given, RejectWith::Icmp6 { kind: 1, code: 4 }),
)
.tables(&["filter"])
.hooks(&[Hook::Input, Hook::Forward, Hook::Output]);

fn reject(given: &Given<'_, '_>, default: RejectWith) -> Result<Target, Refusal> {
    let v4 = given.around.family == Family::Inet;
    let with = |text: &str| {
        let of_family = |with: &RejectWith| match with {
            RejectWith::Icmp { .. } => v4,
            RejectWith::Icmp6 { .. } => !v4,
            RejectWith::TcpReset => true,
        };
        let mut known = REJECT_TYPES.iter().filter(|(_, _, with)| of_family(with));
        known.find(|(name, short, _)| [*name, *short].contains(&text)).map(|(_, _, with)| *with)
    };
    let with = given.value("--reject-with", with)?.unwrap_or(default);
    if with == RejectWith::TcpReset && !given.around.is_protocol(&[6]) {
        return Err(given.refuse("--reject-with", "--reject-with tcp-reset needs -p tcp"));
    }
    Ok(Target::Reject(with))
}

pub(super) static NFQUEUE: Extension<Target> = Extension::new(
    "NFQUEUE",
    &[
        Opt::value("--queue-num", "a number of 16 bits").excludes(&["--queue-balance"]),
        Opt::value("--queue-balance", "two numbers below 65535 with a colon between them, the lower one first"),
        Opt::flag("--queue-bypass"),
        Opt::flag("--queue-cpu-fanout").needs(&["--queue-balance"]),
    ],
    |given| {
        let number = |text: &str| u16::try_from(name::number(text)?).ok();
        let one = given.value("--queue-num", number)?.unwrap_or(0);
        let balance = |text: &str| {
            let (first, last) = range(text, b':', number, u16::MAX)?;
            (first < last && last < u16::MAX).then_some((first, last))
        };
        let (first, last) = given.value("--queue-balance", balance)?.unwrap_or((one, one));
        let (bypass, cpu_fanout) = (given.has("--queue-bypass"), given.has("--queue-cpu-fanout"));
        Ok(Target::Queue(QueueTarget { first, last, bypass, cpu_fanout }))
    },
);
