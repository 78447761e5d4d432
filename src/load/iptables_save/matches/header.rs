//! Fields of the packet, and what the kernel keeps beside it.

use crate::evidence::Slice;
use crate::net::{Family, Hook};
use crate::snapshot::{EcnMatch, IcmpType, MarkTest, Match, PktType, Test, TosTest, TtlTest};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::value::{range, small};

pub(super) static COMMENT: Extension<Match> =
    Extension::new("comment", &[Opt::value("--comment", "a text of 255 bytes at most").must()], |given| {
        let text = |text: &str| (text.len() < 256).then(|| Slice::of(given.around.text, text));
        Ok(Match::Comment(given.must("--comment", text)?))
    });

pub(super) static ICMP: Extension<Match> = Extension::new(
    "icmp",
    &[Opt::value("--icmp-type", "a type, a type and a code with a slash between them, or a name").not().must()],
    |given| Ok(Match::Icmp(given.must_test("--icmp-type", |text| icmp_type(text, Family::Inet))?)),
)
.protocols(&[1]);

pub(super) static ICMP6: Extension<Match> = Extension::new(
    "icmp6",
    &[Opt::value("--icmpv6-type", "a type, a type and a code with a slash between them, or a name").not().must()],
    |given| Ok(Match::Icmp6(given.must_test("--icmpv6-type", |text| icmp_type(text, Family::Inet6))?)),
)
.protocols(&[58]);

/// The kernel takes the IPv4 type 255 as any (`icmp_type_code_match` in `xt_tcpudp.c`).
fn icmp_type(text: &str, family: Family) -> Option<IcmpType> {
    let any = IcmpType { kind: None, codes: (0, 0xff) };
    match text {
        "any" | "255" | "255/255" if family == Family::Inet => Some(any),
        _ => {
            let (kind, code) = name::icmp(family, text)?;
            Some(IcmpType { kind: Some(kind), codes: code.map_or((0, 0xff), |code| (code, code)) })
        }
    }
}

pub(super) static MARK: Extension<Match> = Extension::new(
    "mark",
    &[Opt::value("--mark", "a number of 32 bits, with or without a mask").not().must()],
    |given| Ok(Match::Mark(given.must_test("--mark", mark_test)?)),
);

pub(super) fn mark_test(text: &str) -> Option<MarkTest> {
    name::masked(text).map(|(value, mask)| MarkTest { value, mask })
}

pub(super) static LENGTH: Extension<Match> = Extension::new(
    "length",
    &[Opt::value("--length", "a number of 16 bits, or two with a colon between them").not().must()],
    |given| {
        let bytes = |text: &str| u16::try_from(name::number(text)?).ok();
        Ok(Match::Length(given.must_test("--length", |text| range(text, b':', bytes, u16::MAX))?))
    },
);

const BYTE: &str = "a number from 0 to 255";

pub(super) static TTL: Extension<Match> = Extension::new(
    "ttl",
    &[
        Opt::value("--ttl-eq", BYTE).or(&["--ttl"]).not().excludes(&["--ttl-lt", "--ttl-gt"]),
        Opt::value("--ttl-lt", BYTE).excludes(&["--ttl-eq", "--ttl-gt"]),
        Opt::value("--ttl-gt", BYTE).excludes(&["--ttl-eq", "--ttl-lt"]),
    ],
    |given| ttl(given, ["--ttl-eq", "--ttl-lt", "--ttl-gt"]).map(|(how, ttl)| Match::Ttl(how, ttl)),
);

pub(super) static HL: Extension<Match> = Extension::new(
    "hl",
    &[
        Opt::value("--hl-eq", BYTE).or(&["--hl"]).not().excludes(&["--hl-lt", "--hl-gt"]),
        Opt::value("--hl-lt", BYTE).excludes(&["--hl-eq", "--hl-gt"]),
        Opt::value("--hl-gt", BYTE).excludes(&["--hl-eq", "--hl-lt"]),
    ],
    |given| ttl(given, ["--hl-eq", "--hl-lt", "--hl-gt"]).map(|(how, limit)| Match::Hl(how, limit)),
);

fn ttl(given: &Given<'_, '_>, [eq, lt, gt]: [&str; 3]) -> Result<(TtlTest, u8), Refusal> {
    if let Some(test) = given.test(eq, small)? {
        return Ok((if test.invert { TtlTest::Ne } else { TtlTest::Eq }, test.value));
    }
    if let Some(value) = given.value(lt, small)? {
        return Ok((TtlTest::Lt, value));
    }
    given.some_of(&[eq, lt, gt])?;
    Ok((TtlTest::Gt, given.must(gt, small)?))
}

pub(super) static TOS: Extension<Match> = Extension::new(
    "tos",
    &[Opt::value("--tos", "a number of 8 bits, with or without a mask, or a name").not().must()],
    |given| {
        let tos = |text: &str| name::tos(text).map(|(value, mask)| TosTest { value, mask });
        Ok(Match::Tos(given.must_test("--tos", tos)?))
    },
);

pub(super) static DSCP: Extension<Match> = Extension::new(
    "dscp",
    &[
        Opt::value("--dscp", "a number from 0 to 63").not().excludes(&["--dscp-class"]),
        Opt::value("--dscp-class", "BE, EF, AFxx or CSx").not(),
    ],
    |given| {
        let class = given.test("--dscp-class", name::dscp_class)?;
        let dscp = given.test("--dscp", |text| small(text).filter(|dscp| *dscp < 64))?;
        given.some_of(&["--dscp", "--dscp-class"])?;
        dscp.or(class).map(Match::Dscp).ok_or_else(|| given.refuse_all("dscp needs --dscp"))
    },
);

pub(super) static ECN: Extension<Match> = Extension::new(
    "ecn",
    &[
        Opt::flag("--ecn-tcp-ece").not(),
        Opt::flag("--ecn-tcp-cwr").not(),
        Opt::value("--ecn-ip-ect", "a number from 0 to 3").not(),
    ],
    |given| {
        given.some_of(&["--ecn-tcp-ece", "--ecn-tcp-cwr", "--ecn-ip-ect"])?;
        let tcp = ["--ecn-tcp-ece", "--ecn-tcp-cwr"].into_iter().find(|name| given.has(name));
        if let Some(name) = tcp.filter(|_| !given.around.is_protocol(&[6])) {
            return Err(given.refuse(name, format!("{name} needs -p tcp")));
        }
        let (ece, cwr) = (given.flag("--ecn-tcp-ece"), given.flag("--ecn-tcp-cwr"));
        let ect = given.test("--ecn-ip-ect", |text| small(text).filter(|ect| *ect < 4))?;
        Ok(Match::Ecn(EcnMatch { ece, cwr, ect }))
    },
);

pub(super) static PKTTYPE: Extension<Match> =
    Extension::new("pkttype", &[Opt::value("--pkt-type", "unicast, broadcast or multicast").not().must()], |given| {
        let kind = |text: &str| match text.to_ascii_lowercase().as_str() {
            "unicast" | "host" => Some(PktType::Unicast),
            "broadcast" | "bcast" => Some(PktType::Broadcast),
            "multicast" | "mcast" => Some(PktType::Multicast),
            _ => None,
        };
        Ok(Match::PktType(given.must_test("--pkt-type", kind)?))
    });

pub(super) static MAC: Extension<Match> =
    Extension::new("mac", &[Opt::value("--mac-source", "a link address of six octets").not().must()], |given| {
        let Test { value, invert } = given.must_test("--mac-source", |text| text.parse().ok())?;
        Ok(Match::MacSource(Test { value, invert }))
    })
    .hooks(&[Hook::Prerouting, Hook::Input, Hook::Forward]);
