//! The options of targets (`-j …`; `extensions/libxt_*.c`, `libipt_*.c` and `libip6t_*.c` of iptables).

use std::borrow::Cow;
use std::net::IpAddr;

use crate::net::Family;
use crate::snapshot::{AddrMask, ConnmarkTarget, CtTarget, MarkChange, NatRange, RejectWith, Table, Target, TtlChange};

use super::matching::Taken;
use super::name;
use super::value::{addr_mask, nat_ports, ranged, small};
use super::words::{Args, Malformed};

/// Targets without an effect on a packet's own way, and how their options start.
const HARMLESS: &[(&str, &[&str])] = &[
    ("LOG", &["--log-"]),
    ("NFLOG", &["--nflog-"]),
    ("ULOG", &["--ulog-"]),
    ("TRACE", &[]),
    ("AUDIT", &["--type"]),
    ("CHECKSUM", &["--checksum-fill"]),
    ("TCPMSS", &["--set-mss", "--clamp-mss-to-pmtu"]),
    ("TCPOPTSTRIP", &["--strip-options"]),
    ("CLASSIFY", &["--set-class"]),
    ("SECMARK", &["--selctx"]),
    ("CONNSECMARK", &["--save", "--restore"]),
    ("LED", &["--led-"]),
    ("RATEEST", &["--rateest-"]),
    ("IDLETIMER", &["--timeout", "--label", "--alarm", "--send"]),
    ("TEE", &["--gateway", "--oif"]),
    ("ECN", &["--ecn-tcp-remove"]),
];

/// A target that a rule has loaded, and what its options said so far.
pub(super) struct LoadedTarget<'l> {
    name: Cow<'l, str>,
    pub(super) target: Target,
}

impl<'l> LoadedTarget<'l> {
    /// `-j NAME`. A chain of that name goes before an extension (`command_jump` in `iptables/xshared.c`).
    pub(super) fn jump(name: Cow<'l, str>, table: &Table, family: Family) -> Self {
        let target = match &*name {
            "ACCEPT" => Target::Accept,
            "DROP" => Target::Drop,
            "RETURN" => Target::Return,
            "QUEUE" => Target::Queue { bypass: false },
            _ => table.find(&name).map_or_else(|| extension(&name, family), Target::Jump),
        };
        Self { name, target }
    }

    /// `-g NAME`.
    pub(super) fn goto(name: Cow<'l, str>, table: &Table) -> Self {
        let target = table.find(&name).map_or_else(|| unsupported("-g", &name), Target::Goto);
        Self { name, target }
    }

    /// Takes an option if the target has it.
    pub(super) fn option(&mut self, option: &str, args: &mut Args<'_, '_>, family: Family) -> Taken {
        match &mut self.target {
            Target::Reject(with) if option == "--reject-with" => {
                *with = args.parse(|text| reject_with(family, text))?;
                Ok(true)
            }
            Target::Dnat(range) | Target::Snat(range) | Target::Masquerade(range) | Target::Redirect(range) => {
                nat_option(range, option, args)
            }
            Target::Netmap(to) if option == "--to" => {
                *to = args.parse(|text| addr_mask(family, text, false))?;
                Ok(true)
            }
            Target::Mark(change) => mark_option(change, option, args),
            Target::Connmark(connmark) => connmark_option(connmark, option, args),
            Target::Ct(ct) => ct_option(ct, option, args),
            Target::Tos { mask, value } => tos_option((mask, value), option, args),
            Target::Ttl(change) => ttl_option(change, option, args),
            Target::Queue { bypass } => queue_option(bypass, option, args),
            Target::Set(set) => set_option(set, option, args),
            Target::Continue => Ok(self.harmless(option, args)),
            _ => Ok(false),
        }
    }

    /// What can't be read at all.
    pub(super) fn unsupported(text: String) -> Self {
        Self { name: Cow::Borrowed(""), target: Target::Unsupported(text.into()) }
    }

    /// Takes an option that nothing knows, which makes an unknown target of a known one. False where the target has
    /// no options, so that it can't be one of its own.
    pub(super) fn add_unknown(&mut self, text: &str) -> bool {
        match &mut self.target {
            Target::Unsupported(whole) => *whole = format!("{whole} {text}").into(),
            Target::Continue => {}
            Target::Accept | Target::Drop | Target::Return | Target::Jump(_) | Target::Goto(_) => return false,
            _ => self.target = Target::Unsupported(format!("-j {} {text}", self.name).into()),
        }
        true
    }

    fn harmless(&self, option: &str, args: &mut Args<'_, '_>) -> bool {
        let options = HARMLESS.iter().find(|(name, _)| *name == self.name).map_or(&[][..], |(_, options)| options);
        let known = options.iter().any(|start| option.starts_with(start));
        if known {
            args.skip_values();
        }
        known
    }
}

fn unsupported(option: &str, name: &str) -> Target {
    Target::Unsupported(format!("{option} {name}").into())
}

fn extension(name: &str, family: Family) -> Target {
    match name {
        "REJECT" if family == Family::Inet => Target::Reject(RejectWith::Icmp { kind: 3, code: 3 }),
        "REJECT" => Target::Reject(RejectWith::Icmp { kind: 1, code: 4 }),
        "DNAT" => Target::Dnat(NatRange::default()),
        "SNAT" => Target::Snat(NatRange::default()),
        "MASQUERADE" => Target::Masquerade(NatRange::default()),
        "REDIRECT" => Target::Redirect(NatRange::default()),
        "NETMAP" => {
            let any = family.unspecified();
            Target::Netmap(AddrMask { addr: any, mask: any, invert: false })
        }
        "MARK" => Target::Mark(MarkChange { mask: 0, value: 0 }),
        "CONNMARK" => Target::Connmark(ConnmarkTarget::Set(MarkChange { mask: 0, value: 0 })),
        "CT" => Target::Ct(CtTarget::Template { zone: 0 }),
        "NOTRACK" => Target::Ct(CtTarget::Notrack),
        "TOS" | "DSCP" => Target::Tos { mask: 0, value: 0 },
        "TTL" | "HL" => Target::Ttl(TtlChange::Inc(0)),
        "SET" => Target::Set("".into()),
        "NFQUEUE" => Target::Queue { bypass: false },
        _ if HARMLESS.iter().any(|(harmless, _)| *harmless == name) => Target::Continue,
        _ => unsupported("-j", name),
    }
}

/// The types of `--reject-with` (`extensions/libipt_REJECT.c`, `libip6t_REJECT.c`), and their short names.
fn reject_with(family: Family, text: &str) -> Option<RejectWith> {
    let icmp = |kind, code| Some(RejectWith::Icmp { kind, code });
    match (family, text) {
        (_, "tcp-reset" | "tcp-rst") => Some(RejectWith::TcpReset),
        (Family::Inet, "icmp-net-unreachable" | "net-unreach") => icmp(3, 0),
        (Family::Inet, "icmp-host-unreachable" | "host-unreach") => icmp(3, 1),
        (Family::Inet, "icmp-proto-unreachable" | "proto-unreach") => icmp(3, 2),
        (Family::Inet, "icmp-port-unreachable" | "port-unreach") => icmp(3, 3),
        (Family::Inet, "icmp-net-prohibited" | "net-prohib") => icmp(3, 9),
        (Family::Inet, "icmp-host-prohibited" | "host-prohib") => icmp(3, 10),
        (Family::Inet, "icmp-admin-prohibited" | "admin-prohib") => icmp(3, 13),
        (Family::Inet6, "icmp6-no-route" | "no-route") => icmp(1, 0),
        (Family::Inet6, "icmp6-adm-prohibited" | "adm-prohibited") => icmp(1, 1),
        (Family::Inet6, "icmp6-addr-unreachable" | "addr-unreach") => icmp(1, 3),
        (Family::Inet6, "icmp6-port-unreachable" | "port-unreach") => icmp(1, 4),
        (Family::Inet6, "icmp6-policy-fail" | "policy-fail") => icmp(1, 5),
        (Family::Inet6, "icmp6-reject-route" | "reject-route") => icmp(1, 6),
        _ => None,
    }
}

fn nat_option(range: &mut NatRange, option: &str, args: &mut Args<'_, '_>) -> Taken {
    match option {
        "--to-destination" | "--to-source" | "--to" => {
            let (addrs, ports, base_port) = args.parse(nat_to)?;
            (range.addrs, range.ports, range.base_port) = (addrs, ports, base_port);
        }
        "--to-ports" => range.ports = Some(args.parse(nat_ports)?),
        "--random" => range.random = true,
        "--random-fully" => range.random_fully = true,
        "--persistent" => range.persistent = true,
        _ => return Ok(false),
    }
    Ok(true)
}

type NatTo = (Option<(IpAddr, IpAddr)>, Option<(u16, u16)>, Option<u16>);

/// `[ADDR[-ADDR]][:PORT[-PORT[/BASE]]]`, an IPv6 address in brackets where ports follow.
fn nat_to(text: &str) -> Option<NatTo> {
    let (addrs, ports) = if let Some(rest) = text.strip_prefix('[') {
        let (addrs, after) = rest.split_once(']')?;
        match after.strip_prefix('-').and_then(|rest| rest.strip_prefix('[')) {
            // `[a]-[b]:port`, which nobody prints but the parser takes.
            Some(_) => return None,
            None => (addrs, after.strip_prefix(':')),
        }
    } else if text.matches(':').count() > 1 {
        (text, None)
    } else {
        text.split_once(':').map_or((text, None), |(addrs, ports)| (addrs, Some(ports)))
    };
    let addrs = if addrs.is_empty() { None } else { Some(ranged(addrs, '-', |addr| addr.parse().ok())?) };
    let Some(ports) = ports else { return Some((addrs, None, None)) };
    let (ports, base) = ports.split_once('/').map_or((ports, None), |(ports, base)| (ports, Some(base)));
    let base = match base {
        Some(base) => Some(name::port(base)?),
        None => None,
    };
    Some((addrs, Some(nat_ports(ports)?), base))
}

fn mark_option(change: &mut MarkChange, option: &str, args: &mut Args<'_, '_>) -> Taken {
    *change = match option {
        "--set-xmark" => {
            let (value, mask) = args.parse(name::masked)?;
            MarkChange { mask, value }
        }
        "--set-mark" => {
            let (value, mask) = args.parse(name::masked)?;
            MarkChange { mask: mask | value, value }
        }
        "--and-mark" => MarkChange { mask: !args.parse(name::number)?, value: 0 },
        "--or-mark" => {
            let value = args.parse(name::number)?;
            MarkChange { mask: value, value }
        }
        "--xor-mark" => MarkChange { mask: 0, value: args.parse(name::number)? },
        _ => return Ok(false),
    };
    Ok(true)
}

fn connmark_option(connmark: &mut ConnmarkTarget, option: &str, args: &mut Args<'_, '_>) -> Taken {
    match option {
        "--save-mark" => *connmark = ConnmarkTarget::Save { nfmask: u32::MAX, ctmask: u32::MAX },
        "--restore-mark" => *connmark = ConnmarkTarget::Restore { nfmask: u32::MAX, ctmask: u32::MAX },
        "--nfmask" | "--ctmask" | "--mask" => {
            let mask = args.parse(name::number)?;
            let (ConnmarkTarget::Save { nfmask, ctmask } | ConnmarkTarget::Restore { nfmask, ctmask }) = connmark
            else {
                return Err(Malformed);
            };
            if option != "--ctmask" {
                *nfmask = mask;
            }
            if option != "--nfmask" {
                *ctmask = mask;
            }
        }
        _ => {
            let mut change = MarkChange { mask: 0, value: 0 };
            if !mark_option(&mut change, option, args)? {
                return Ok(false);
            }
            *connmark = ConnmarkTarget::Set(change);
        }
    }
    Ok(true)
}

fn ct_option(ct: &mut CtTarget, option: &str, args: &mut Args<'_, '_>) -> Taken {
    match option {
        "--notrack" => *ct = CtTarget::Notrack,
        "--zone" | "--zone-orig" | "--zone-reply" => {
            let zone = args.parse(|zone| u16::try_from(name::number(zone)?).ok())?;
            if option != "--zone" {
                return Err(Malformed);
            }
            *ct = CtTarget::Template { zone };
        }
        "--ctevents" | "--expevents" | "--helper" | "--timeout" => drop(args.value()?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// `TOS` and `DSCP` (`net/netfilter/xt_DSCP.c`).
fn tos_option((mask, value): (&mut u8, &mut u8), option: &str, args: &mut Args<'_, '_>) -> Taken {
    (*value, *mask) = match option {
        "--set-tos" => args.parse(name::tos)?,
        "--and-tos" => (0, !args.parse(small)?),
        "--or-tos" => {
            let bits = args.parse(small)?;
            (bits, bits)
        }
        "--xor-tos" => (args.parse(small)?, 0),
        "--set-dscp" => (args.parse(|text| small(text).filter(|dscp| *dscp < 64))? << 2, 0xfc),
        "--set-dscp-class" => (args.parse(name::dscp_class)? << 2, 0xfc),
        _ => return Ok(false),
    };
    Ok(true)
}

fn ttl_option(change: &mut TtlChange, option: &str, args: &mut Args<'_, '_>) -> Taken {
    let make = match option {
        "--ttl-set" | "--hl-set" => TtlChange::Set,
        "--ttl-inc" | "--hl-inc" => TtlChange::Inc,
        "--ttl-dec" | "--hl-dec" => TtlChange::Dec,
        _ => return Ok(false),
    };
    *change = make(args.parse(small)?);
    Ok(true)
}

fn queue_option(bypass: &mut bool, option: &str, args: &mut Args<'_, '_>) -> Taken {
    match option {
        "--queue-num" | "--queue-balance" => drop(args.value()?),
        "--queue-bypass" => *bypass = true,
        "--queue-cpu-fanout" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_option(set: &mut Box<str>, option: &str, args: &mut Args<'_, '_>) -> Taken {
    match option {
        "--add-set" | "--del-set" => {
            *set = (*args.value()?).into();
            args.value()?;
        }
        "--exist" => {}
        "--timeout" => drop(args.value()?),
        _ => return Ok(false),
    }
    Ok(true)
}
