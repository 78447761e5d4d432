//! The options of match extensions (`-m …`; `extensions/libxt_*.c`, `libipt_*.c` and `libip6t_*.c` of iptables).

use std::net::IpAddr;

use crate::net::Family;
use crate::snapshot::{
    AddrtypeMatch, ConntrackMatch, IcmpType, MarkTest, Match, Multiport, MultiportSide, OwnerMatch, PhysdevMatch,
    RecentAction, RecentMatch, RecentSide, RpfilterMatch, SetMatch, TcpFlags, Test, TtlTest,
};

use super::name;
use super::value::{
    addr_type, if_pattern, pkt_type, port_range, probability, range, ranged, set_sides, small, tcp_flags,
};
use super::words::{Args, Malformed};

/// An extension that a rule has loaded, and what its options said so far.
pub(super) struct Loaded<'l> {
    pub(super) name: std::borrow::Cow<'l, str>,
    pub(super) found: Vec<Match>,
    pub(super) known: bool,
}

/// Whether an extension has an option.
pub(super) type Taken = Result<bool, Malformed>;

impl<'l> Loaded<'l> {
    pub(super) fn new(name: std::borrow::Cow<'l, str>) -> Self {
        let mut loaded = Self { name, found: Vec::new(), known: true };
        match &*loaded.name {
            "limit" | "hashlimit" | "connlimit" | "connbytes" | "quota" | "time" | "string" | "cpu" | "rateest"
            | "connlabel" | "helper" | "tcpmss" | "policy" | "socket" | "cgroup" | "devgroup" | "realm" | "ah"
            | "esp" | "ipcomp" => {
                let text = format!("-m {}", loaded.name);
                loaded.found.push(Match::Unknowable(text.into()));
            }
            "frag" | "rt" | "hbh" | "dst" | "mh" | "srh" => loaded.found.push(Match::Absent),
            "rpfilter" => loaded.found.push(Match::Rpfilter(RpfilterMatch::default())),
            name if KNOWN.contains(&name) => {}
            name => {
                loaded.found.push(Match::Unsupported(format!("-m {name}").into()));
                loaded.known = false;
            }
        }
        loaded
    }

    /// Takes an option if the extension has it.
    pub(super) fn option(&mut self, option: &str, args: &mut Args<'_, '_>, family: Family) -> Taken {
        match &*self.name {
            "tcp" | "udp" | "udplite" | "sctp" | "dccp" => self.port_option(option, args),
            "multiport" => self.multiport(option, args),
            "icmp" | "icmp6" | "icmpv6" => self.icmp(option, args, family),
            "comment" => match option {
                "--comment" => args.value().map(|_| true),
                _ => Ok(false),
            },
            "conntrack" | "state" => super::conntrack::option(compound(&mut self.found)?, option, args, family),
            "addrtype" => self.addrtype(option, args),
            "mark" | "connmark" => self.mark(option, args),
            "statistic" => self.statistic(option, args),
            "set" => self.set(option, args),
            "physdev" => self.physdev(option, args),
            "recent" => self.recent(option, args, family),
            "iprange" => self.iprange(option, args),
            "owner" => self.owner(option, args),
            "rpfilter" => self.rpfilter(option),
            "nfacct" => match option {
                "--nfacct-name" => args.value().map(|_| true),
                _ => Ok(false),
            },
            _ => self.simple(option, args),
        }
    }

    fn push(&mut self, one: Match) -> bool {
        self.found.push(one);
        true
    }

    fn port_option(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        match option {
            "--sport" | "--source-port" => {
                let value = args.parse(port_range)?;
                Ok(self.push(Match::SourcePort(Test { value, invert: args.invert })))
            }
            "--dport" | "--destination-port" => {
                let value = args.parse(port_range)?;
                Ok(self.push(Match::DestinationPort(Test { value, invert: args.invert })))
            }
            "--syn" if self.name == "tcp" => {
                let value = TcpFlags { mask: 0x17, set: 0x02 };
                Ok(self.push(Match::TcpFlags(Test { value, invert: args.invert })))
            }
            "--tcp-flags" if self.name == "tcp" => {
                let mask = args.parse(tcp_flags)?;
                let set = args.parse(tcp_flags)?;
                Ok(self.push(Match::TcpFlags(Test { value: TcpFlags { mask, set }, invert: args.invert })))
            }
            _ => Ok(false),
        }
    }

    fn multiport(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        let side = match option {
            "--sports" | "--source-ports" => MultiportSide::Source,
            "--dports" | "--destination-ports" => MultiportSide::Destination,
            "--ports" => MultiportSide::Either,
            _ => return Ok(false),
        };
        let ranges = args.parse(|text| text.split(',').map(port_range).collect())?;
        Ok(self.push(Match::Multiport(Test { value: Multiport { side, ranges }, invert: args.invert })))
    }

    fn icmp(&mut self, option: &str, args: &mut Args<'_, '_>, family: Family) -> Taken {
        if !matches!(option, "--icmp-type" | "--icmpv6-type") {
            return Ok(false);
        }
        let read = |text: &str| match text {
            "any" => Some(IcmpType { kind: None, codes: (0, 0xff) }),
            // What iptables prints for a type of 255, which the kernel reads as any.
            "255" | "255/255" if family == Family::Inet => Some(IcmpType { kind: None, codes: (0, 0xff) }),
            _ => {
                let (kind, code) = name::icmp(family, text)?;
                Some(IcmpType { kind: Some(kind), codes: code.map_or((0, 0xff), |code| (code, code)) })
            }
        };
        let value = args.parse(read)?;
        Ok(self.push(Match::Icmp(Test { value, invert: args.invert })))
    }

    fn addrtype(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        let found: &mut AddrtypeMatch = compound(&mut self.found)?;
        match option {
            "--src-type" => found.source = Some(Test { value: args.parse(addr_type)?, invert: args.invert }),
            "--dst-type" => found.destination = Some(Test { value: args.parse(addr_type)?, invert: args.invert }),
            "--limit-iface-in" => found.limit_in = true,
            "--limit-iface-out" => found.limit_out = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn mark(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        if option != "--mark" {
            return Ok(false);
        }
        let (value, mask) = args.parse(name::masked)?;
        let test = Test { value: MarkTest { value, mask }, invert: args.invert };
        Ok(self.push(if self.name == "mark" { Match::Mark(test) } else { Match::Connmark(test) }))
    }

    fn statistic(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        match option {
            "--mode" => args.parse(|mode| matches!(mode, "random" | "nth").then_some(true)),
            "--packet" => args.parse(name::number).map(|_| true),
            "--probability" => {
                let value = args.parse(probability)?;
                Ok(self.push(Match::Random(Test { value, invert: args.invert })))
            }
            "--every" => {
                let value = args.parse(name::number)?;
                Ok(self.push(Match::Nth(Test { value, invert: args.invert })))
            }
            _ => Ok(false),
        }
    }

    fn set(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        match option {
            "--match-set" | "--set" => {
                let name = args.value()?;
                let sides = args.parse(set_sides)?;
                let found = SetMatch {
                    name: (*name).into(),
                    sides,
                    invert: args.invert,
                    return_nomatch: false,
                    counters: None,
                };
                Ok(self.push(Match::Set(Box::new(found))))
            }
            "--return-nomatch" => self.last_set(|found| found.return_nomatch = true),
            "--update-counters" | "--update-subcounters" => Ok(true),
            "--packets-eq" | "--packets-lt" | "--packets-gt" | "--bytes-eq" | "--bytes-lt" | "--bytes-gt" => {
                let text = format!("{option} {}", args.value()?);
                self.last_set(|found| found.counters = Some(text.into()))
            }
            _ => Ok(false),
        }
    }

    fn last_set(&mut self, change: impl FnOnce(&mut SetMatch)) -> Taken {
        match self.found.last_mut() {
            Some(Match::Set(found)) => change(found),
            _ => return Err(Malformed),
        }
        Ok(true)
    }

    fn physdev(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        let found: &mut PhysdevMatch = compound(&mut self.found)?;
        match option {
            "--physdev-in" => found.input = Some(if_pattern(&args.value()?, args.invert)),
            "--physdev-out" => found.output = Some(if_pattern(&args.value()?, args.invert)),
            "--physdev-is-in" => found.is_in = Some(Test { value: (), invert: args.invert }),
            "--physdev-is-out" => found.is_out = Some(Test { value: (), invert: args.invert }),
            "--physdev-is-bridged" => found.is_bridged = Some(Test { value: (), invert: args.invert }),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn recent(&mut self, option: &str, args: &mut Args<'_, '_>, family: Family) -> Taken {
        if self.found.is_empty() {
            self.found.push(Match::Recent(Box::new(RecentMatch::new(RecentAction::Rcheck, family))));
        }
        let Some(Match::Recent(found)) = self.found.last_mut() else { return Err(Malformed) };
        let action = match option {
            "--set" => Some(RecentAction::Set),
            "--rcheck" => Some(RecentAction::Rcheck),
            "--update" => Some(RecentAction::Update),
            "--remove" => Some(RecentAction::Remove),
            _ => None,
        };
        if let Some(action) = action {
            (found.action, found.invert) = (action, args.invert);
            return Ok(true);
        }
        match option {
            "--name" => found.name = (*args.value()?).into(),
            "--mask" => found.mask = args.parse(|mask| mask.parse::<IpAddr>().ok())?,
            "--seconds" => found.seconds = Some(args.parse(name::number)?),
            "--hitcount" => found.hitcount = Some(args.parse(name::number)?),
            "--rttl" => found.rttl = true,
            // Only throws stale entries away.
            "--reap" => {}
            "--rsource" => found.side = RecentSide::Source,
            "--rdest" => found.side = RecentSide::Destination,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn iprange(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        let range = |text: &str| {
            let (low, high) = text.split_once('-').unwrap_or((text, text));
            Some((low.parse::<IpAddr>().ok()?, high.parse::<IpAddr>().ok()?))
        };
        match option {
            "--src-range" => {
                let value = args.parse(range)?;
                Ok(self.push(Match::SourceRange(Test { value, invert: args.invert })))
            }
            "--dst-range" => {
                let value = args.parse(range)?;
                Ok(self.push(Match::DestinationRange(Test { value, invert: args.invert })))
            }
            _ => Ok(false),
        }
    }

    fn owner(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        let found: &mut OwnerMatch = compound(&mut self.found)?;
        let ids = |text: &str| ranged(text, '-', |id| if id == "root" { Some(0) } else { name::number(id) });
        match option {
            "--uid-owner" => found.uid = Some(Test { value: args.parse(ids)?, invert: args.invert }),
            "--gid-owner" => found.gid = Some(Test { value: args.parse(ids)?, invert: args.invert }),
            "--socket-exists" => found.socket = Some(Test { value: (), invert: args.invert }),
            "--suppl-groups" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn rpfilter(&mut self, option: &str) -> Taken {
        let Some(Match::Rpfilter(found)) = self.found.last_mut() else { return Err(Malformed) };
        match option {
            "--loose" => found.loose = true,
            "--validmark" => found.validmark = true,
            "--accept-local" => found.accept_local = true,
            "--invert" => found.invert = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Extensions with one condition an option.
    fn simple(&mut self, option: &str, args: &mut Args<'_, '_>) -> Taken {
        let one = match (&*self.name, option) {
            ("length", "--length") => {
                let value = args.parse(|text| range(text, ':', |n| u16::try_from(name::number(n)?).ok(), u16::MAX))?;
                Match::Length(Test { value, invert: args.invert })
            }
            ("ttl", "--ttl-eq" | "--ttl") | ("hl", "--hl-eq" | "--hl") => {
                let value = args.parse(small)?;
                Match::Ttl(if args.invert { TtlTest::Ne } else { TtlTest::Eq }, value)
            }
            ("ttl", "--ttl-lt") | ("hl", "--hl-lt") => Match::Ttl(TtlTest::Lt, args.parse(small)?),
            ("ttl", "--ttl-gt") | ("hl", "--hl-gt") => Match::Ttl(TtlTest::Gt, args.parse(small)?),
            ("tos", "--tos") => Match::Tos(Test { value: args.parse(name::tos)?, invert: args.invert }),
            ("dscp", "--dscp") => {
                let value = args.parse(small)?;
                Match::Tos(Test { value: (value << 2, 0xfc), invert: args.invert })
            }
            ("dscp", "--dscp-class") => {
                let value = args.parse(name::dscp_class)?;
                Match::Tos(Test { value: (value << 2, 0xfc), invert: args.invert })
            }
            ("ecn", "--ecn-tcp-cwr") => {
                Match::TcpFlags(Test { value: TcpFlags { mask: 0x80, set: 0x80 }, invert: args.invert })
            }
            ("ecn", "--ecn-tcp-ece") => {
                Match::TcpFlags(Test { value: TcpFlags { mask: 0x40, set: 0x40 }, invert: args.invert })
            }
            ("ecn", "--ecn-ip-ect") => Match::Ecn(Test { value: args.parse(small)?, invert: args.invert }),
            ("pkttype", "--pkt-type") => Match::PktType(Test { value: args.parse(pkt_type)?, invert: args.invert }),
            ("mac", "--mac-source") => {
                let value = args.parse(|mac| mac.parse().ok())?;
                Match::MacSource(Test { value, invert: args.invert })
            }
            _ => return Ok(false),
        };
        Ok(self.push(one))
    }
}

/// Extensions that are modelled, beside those named in [`Loaded::new`].
const KNOWN: &[&str] = &[
    "tcp",
    "udp",
    "udplite",
    "sctp",
    "dccp",
    "multiport",
    "icmp",
    "icmp6",
    "icmpv6",
    "comment",
    "conntrack",
    "state",
    "addrtype",
    "mark",
    "connmark",
    "statistic",
    "set",
    "physdev",
    "recent",
    "iprange",
    "owner",
    "nfacct",
    "length",
    "ttl",
    "hl",
    "tos",
    "dscp",
    "ecn",
    "pkttype",
    "mac",
];

/// A condition that several options build up.
pub(super) trait Compound: Default {
    fn wrap(self) -> Match;
    fn of(one: &mut Match) -> Option<&mut Self>;
}

/// The condition so far, made on the first option.
fn compound<T: Compound>(found: &mut Vec<Match>) -> Result<&mut T, Malformed> {
    if found.is_empty() {
        found.push(T::default().wrap());
    }
    found.last_mut().and_then(T::of).ok_or(Malformed)
}

macro_rules! compound {
    ($type:ty, $found:ident, $wrap:expr, $of:pat => $inner:expr) => {
        impl Compound for $type {
            fn wrap(self) -> Match {
                let $found = self;
                $wrap
            }

            fn of(one: &mut Match) -> Option<&mut Self> {
                match one {
                    $of => Some($inner),
                    _ => None,
                }
            }
        }
    };
}

compound!(ConntrackMatch, found, Match::Conntrack(Box::new(found)), Match::Conntrack(found) => &mut **found);
compound!(AddrtypeMatch, found, Match::Addrtype(found), Match::Addrtype(found) => found);
compound!(PhysdevMatch, found, Match::Physdev(Box::new(found)), Match::Physdev(found) => &mut **found);
compound!(OwnerMatch, found, Match::Owner(found), Match::Owner(found) => found);
