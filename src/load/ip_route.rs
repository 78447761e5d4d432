//! Routes: `ip -d route show table all` and its shorter forms (`print_route()` of iproute2's `ip/iproute.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use serde_json::value::RawValue;

use super::json::{self, Fields, Objects, Row, Value};
use super::lines::{self, Notes, Reading, Shared, Words};
use super::rt_names;
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::{Family, RouteType, TableId};
use crate::snapshot::{NextHop, Route};

const TOOL: &str = "`ip route show`";
const ROW: &str = "a route (`[type] prefix [via address] [dev device] …`)";

/// What a file of routes holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFile {
    /// Every row, of both families: `ip route show table all` prints IPv6 routes too.
    pub rows: Vec<Route>,
    /// Whether a table other than `main` is named, so that the file is that of `table all`.
    pub all_tables: bool,
}

/// Reads the text form. `family` is what a `default` is of that nothing else on its row tells.
#[must_use]
pub fn parse(file: FileId, text: &str, family: Family, gaps: &mut Vec<Gap>) -> RouteFile {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut rows: Vec<Route> = Vec::new();
    // Whether the row that `nexthop` lines would belong to is in `rows`.
    let mut open = false;
    let mut words = Vec::new();
    let mut shared = Shared::default();
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        for piece in lines::pieces(line) {
            if !lines::split(piece, &mut words) {
                notes.too_long(evidence);
                continue;
            }
            match words.first() {
                Some(&"nexthop") => match rows.last_mut().filter(|_| open) {
                    Some(route) => ways(route, &mut Words::new(&words), &mut shared, (&mut notes, evidence)),
                    None => notes.expected(evidence, "the route above a `nexthop`", piece),
                },
                Some(&("nh_info" | "cache")) | None => {}
                Some(_) => {
                    let route = route(&words, family, &mut shared, (&mut notes, evidence));
                    let below = open && route.is_none() && piece.starts_with([' ', '\t']);
                    if let Some(above) = rows.last_mut().filter(|_| below) {
                        // It may be one of the ways of the route above.
                        above.unmodelled.push(piece.trim().to_owned());
                    }
                    open = below || route.is_some();
                    rows.extend(route);
                }
            }
        }
    }
    finish(rows, &mut notes)
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, family: Family, gaps: &mut Vec<Gap>) -> (RouteFile, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    let mut shared = Shared::default();
    while let Some((evidence, fields)) = objects.next(&mut notes) {
        let row = words_of(&fields);
        json::set_text(&mut texts, evidence, &row);
        rows.extend(route(&row.words(), family, &mut shared, (&mut notes, evidence)));
    }
    (finish(rows, &mut notes), texts)
}

fn finish(mut rows: Vec<Route>, notes: &mut Notes<'_>) -> RouteFile {
    for route in rows.iter_mut().filter(|route| !ends_packets(route.kind)) {
        if route.nexthops.is_empty() && route.nhid.is_none() {
            notes.add(route.evidence, "a route without a next hop");
            route.unmodelled.push("(no next hop)".to_owned());
        }
    }
    let all_tables = rows.iter().any(|route| route.table != TableId::MAIN);
    RouteFile { rows, all_tables }
}

/// Reads one row, with the `nexthop`s that stand on the same line.
fn route(
    all: &[&str],
    family: Family,
    shared: &mut Shared,
    (notes, evidence): (&mut Notes<'_>, Evidence),
) -> Option<Route> {
    let mut words = Words::new(all);
    let named = words.peek().and_then(route_type);
    words.pass(usize::from(named.is_some()));
    let kind = named.unwrap_or(RouteType::Unicast);
    let dst = words.peek().map(|word| (word, destination(word, family_of(words.rest(), family))));
    let Some((word, Some(dst))) = dst else {
        notes.expected(evidence, ROW, &all.join(" "));
        return None;
    };
    words.pass(1);
    if dst.trunc() != dst {
        notes.add(
            evidence,
            format_args!("{} has bits set behind its prefix length, which are ignored", lines::quote(word)),
        );
    }
    let mut route = Route::new(dst.trunc(), kind, evidence);
    let mut way = NextHop::new(evidence);
    route.unmodelled = lines::options(&mut words, (&mut *notes, evidence), |word, words| {
        attribute(&mut route, word, words, shared).or_else(|| way_attribute(&mut way, word, words, shared))
    });
    if !ends_packets(kind) && (way.via.is_some() || way.dev.is_some() || way.encap.is_some()) {
        route.nexthops.push(way);
    }
    ways(&mut route, &mut words, shared, (notes, evidence));
    Some(route)
}

/// Reads `nexthop …` as often as it stands there.
fn ways(
    route: &mut Route,
    words: &mut Words<'_, '_>,
    shared: &mut Shared,
    (notes, evidence): (&mut Notes<'_>, Evidence),
) {
    while words.take("nexthop") {
        let mut way = NextHop::new(evidence);
        let unmodelled =
            lines::options(words, (&mut *notes, evidence), |word, words| way_attribute(&mut way, word, words, shared));
        route.unmodelled.extend(unmodelled);
        route.nexthops.push(way);
    }
}

fn route_type(word: &str) -> Option<RouteType> {
    use RouteType::{Anycast, Blackhole, Broadcast, Local, Multicast, Nat, Prohibit, Throw, Unicast, Unreachable};
    let types = [Unicast, Local, Broadcast, Anycast, Multicast, Blackhole, Unreachable, Prohibit, Throw, Nat];
    types.into_iter().find(|kind| kind.as_str() == word)
}

/// Whether the kernel looks at no next hop of such a route, though it prints `dev lo` for those of IPv6.
fn ends_packets(kind: RouteType) -> bool {
    matches!(kind, RouteType::Blackhole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw)
}

/// The family of a row: of its destination, else of the addresses that follow, else of the words that only IPv6 rows
/// have, else of the file.
fn family_of(row: &[&str], file: Family) -> Family {
    let mut words = Words::new(row);
    while let Some(word) = words.next() {
        let address = match word {
            _ if words.at() == 1 => word,
            "via" | "src" | "from" => words.next().unwrap_or_default(),
            "pref" | "error" => return Family::Inet6,
            "encap" => {
                skip_encap(&mut words);
                continue;
            }
            _ => continue,
        };
        match address {
            "inet6" => return Family::Inet,
            "inet" => return Family::Inet6,
            _ if address.contains(':') => return Family::Inet6,
            _ if address.contains('.') => return Family::Inet,
            _ => {}
        }
    }
    file
}

/// A destination or source prefix: `default`, an address, a prefix; IPv4 octets of zero may be left out behind
/// (`10/8`).
pub(super) fn destination(word: &str, family: Family) -> Option<IpNet> {
    if word == "default" {
        return IpNet::new(family.unspecified(), 0).ok();
    }
    let (address, length) = match word.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (word, None),
    };
    let address = match address.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) if family == Family::Inet => IpAddr::V4(short_v4(address, length?)?),
        Err(_) if address == "0" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => return None,
    };
    IpNet::new(address, length.unwrap_or(Family::of(address).bits())).ok()
}

/// An IPv4 prefix's address with fewer than four octets, as many as its length needs.
fn short_v4(text: &str, length: u8) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut given = 0;
    for part in text.split('.') {
        *octets.get_mut(given)? = part.parse().ok()?;
        given += 1;
    }
    (usize::from(length) <= given * 8).then(|| octets.into())
}

/// What a route has once.
fn attribute<'a>(route: &mut Route, word: &'a str, words: &mut Words<'_, 'a>, shared: &mut Shared) -> Option<Reading> {
    match word {
        "table" => route.table = TableId::named(words.next()?)?,
        "proto" => route.protocol = Some(shared.word(words.next()?)),
        "scope" => route.scope = words.value()?,
        "src" => route.prefsrc = Some(words.value()?),
        "metric" => route.metric = words.value()?,
        "tos" => route.tos = rt_names::dsfield(words.next()?)?,
        "nhid" => route.nhid = Some(words.value()?),
        "from" => route.from = Some(destination(words.next()?, route.family())?),
        "realm" | "realms" => route.realms = Some(words.next()?.into()),
        "mtu" => {
            route.mtu_locked = words.take("lock");
            route.mtu = Some(words.value()?);
        }
        "hoplimit" => return hoplimit(words),
        // A packet of this user, with this mark (only in cached routes); MPLS labels in place of the destination.
        "mark" | "uid" => return words.pass(1).map(|()| Reading::Unmodelled),
        "as" => return words.pass(2).map(|()| Reading::Unmodelled),
        "nexthop" => return Some(Reading::End),
        _ => return harmless(word, words),
    }
    Some(Reading::Understood)
}

/// The hop limit that the route gives to what the host itself sends. 64 is what it has anyway, the others are what
/// kernels print where none is set.
fn hoplimit(words: &mut Words<'_, '_>) -> Option<Reading> {
    words.take("lock");
    let usual = matches!(words.next()?, "0" | "64" | "255" | "4294967295");
    Some(if usual { Reading::Understood } else { Reading::Unmodelled })
}

/// Words that don't change where a packet goes: TCP's business, counters, offload.
fn harmless<'a>(word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    match word {
        "pervasive" | "offload" | "trap" | "notify" | "unresolved" | "rt_offload" | "rt_trap" | "rt_offload_failed"
        | "equalize" | "features" | "ecn" | "tcp_usec_ts" => {}
        "pref" | "expires" | "error" | "users" | "used" | "age" | "ipid" | "ts" | "tsage" | "ttl-propogate"
        | "ttl-propagate" => words.pass(1)?,
        "window" | "rtt" | "rttvar" | "ssthresh" | "cwnd" | "initcwnd" | "initrwnd" | "advmss" | "reordering"
        | "rto_min" | "quickack" | "congctl" | "fastopen_no_cookie" => {
            words.take("lock");
            words.pass(1)?;
        }
        _ => return None,
    }
    Some(Reading::Understood)
}

/// What each way of a route has.
fn way_attribute<'a>(
    way: &mut NextHop,
    word: &'a str,
    words: &mut Words<'_, 'a>,
    shared: &mut Shared,
) -> Option<Reading> {
    match word {
        "via" => way.via = Some(via(words)?).filter(|via| !via.is_unspecified()),
        "dev" => way.dev = Some(shared.device(words.next()?)),
        "weight" => way.weight = words.value()?,
        "onlink" => way.onlink = true,
        "dead" => way.dead = true,
        "linkdown" => way.linkdown = true,
        "encap" => {
            let start = words.at() - 1;
            skip_encap(words);
            way.encap = Some(words.between(start, words.at()).into());
        }
        "as" => return words.pass(2).map(|()| Reading::Unmodelled),
        "nexthop" => return Some(Reading::End),
        _ => return harmless(word, words),
    }
    Some(Reading::Understood)
}

/// A gateway, with its family before it where it isn't the route's. Old kernels print `via ::` for none.
pub(super) fn via(words: &mut Words<'_, '_>) -> Option<IpAddr> {
    let _ = words.take("inet6") || words.take("inet");
    words.value()
}

/// Passes over an encapsulation, whose words may be those of a route too. `via` or `dev` ends it: one of them follows.
pub(super) fn skip_encap(words: &mut Words<'_, '_>) {
    while words.peek().is_some_and(|word| !matches!(word, "via" | "dev" | "nexthop")) {
        words.next();
    }
}

/// An object's words, in the order of the text form.
fn words_of(fields: &Fields<'_>) -> Row {
    let mut row = Row::default();
    for key in ["type", "dst"] {
        row.0.extend(fields.scalar(key).map(String::from));
    }
    // Flat encapsulations have a `dst` and a `src` of their own behind their name.
    let mut seen_dst = false;
    let mut seen_encap = false;
    for (key, raw) in &fields.0 {
        match &**key {
            "type" | "nexthops" | "nh_info" | "cache" => {}
            "dst" if !std::mem::replace(&mut seen_dst, true) => {}
            "src" if !seen_encap => row.field("from", raw),
            "metrics" => metrics(&mut row, raw),
            key => {
                seen_encap |= key == "encap";
                push_field(&mut row, key, raw);
            }
        }
    }
    for way in fields.list("nexthops").into_iter().filter_map(json::object) {
        row.word("nexthop");
        way.0.iter().for_each(|(key, raw)| push_field(&mut row, key, raw));
    }
    row
}

/// Adds a field that a route and each of its ways may have.
fn push_field(row: &mut Row, key: &str, raw: &RawValue) {
    match (key, json::value(raw)) {
        ("gateway", _) => row.field("via", raw),
        ("protocol", _) => row.field("proto", raw),
        ("prefsrc", _) => row.field("src", raw),
        ("to", _) => {
            row.word("as");
            row.field("to", raw);
        }
        ("via", Some(Value::Object(via))) => {
            row.word("via");
            row.0.extend(["family", "host"].iter().filter_map(|part| via.scalar(part)).map(String::from));
        }
        ("flow", Some(Value::Object(flow))) => {
            let realms: Vec<_> = ["from", "to"].iter().filter_map(|part| flow.scalar(part)).collect();
            row.word(if realms.len() > 1 { "realms" } else { "realm" });
            row.word(realms.join("/"));
        }
        ("encap", Some(Value::Object(encap))) => {
            row.pair("encap", &encap, "encap_type");
            for (key, raw) in encap.0.iter().filter(|(key, _)| key != "encap_type") {
                row.field(key, raw);
            }
        }
        _ => row.field(key, raw),
    }
}

fn metrics(row: &mut Row, raw: &RawValue) {
    let Some(Value::List(list)) = json::value(raw) else { return };
    for (key, raw) in list.into_iter().filter_map(json::object).flat_map(|metrics| metrics.0) {
        row.field(if key == "congestion" { "congctl" } else { &key }, raw);
    }
}

#[cfg(test)]
mod tests;
