//! Devices: `ip -d link show`, also without `-d`, with `-s`, and `ip addr show` (`print_linkinfo()` of iproute2's
//! `ip/ipaddress.c`).

mod kind;
mod objects;
mod port;

use super::json;
use super::lines::{self, Notes, Reading, Words};
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::IfName;
use crate::snapshot::{Link, LinkKind};

pub(super) use objects::header_words;
pub(super) use port::{Draft, port_fields};

const TOOL: &str = "`ip link show`";
const ROW: &str = "a device (`number: name: <FLAGS> mtu …`)";

/// A part of a device's row that iproute2 prints on a line of its own.
pub(super) struct Segment<'a> {
    pub evidence: Evidence,
    pub words: Vec<&'a str>,
}

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<Link> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut rows = Vec::new();
    blocks(text, ROW, &mut notes, |block, notes| rows.extend(link(block, notes)));
    rows
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<Link>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = json::Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    while let Some((evidence, fields)) = objects.next(&mut notes) {
        let segments = objects::segments_of(&fields);
        json::set_text(&mut texts, evidence, &json::OneLine(&segments));
        let block: Vec<_> = segments.iter().map(|row| Segment { evidence, words: row.words() }).collect();
        rows.extend(link(&block, &mut notes));
    }
    (rows, texts)
}

/// Gives the segments of each device, the first of them its header.
pub(super) fn blocks<'a>(
    text: &'a str,
    row: &str,
    notes: &mut Notes<'_>,
    mut device: impl FnMut(&[Segment<'a>], &mut Notes<'_>),
) {
    let mut block: Vec<Segment<'a>> = Vec::new();
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        for (place, piece) in lines::pieces(line).enumerate() {
            let mut words = Vec::new();
            if !lines::split(piece, &mut words) {
                notes.too_long(evidence);
                continue;
            }
            match words.first() {
                None => continue,
                // People's own words, to the end of the line.
                Some(&"alias") if !block.is_empty() => break,
                Some(_) => {}
            }
            let header = place == 0 && is_header(&words);
            let inside = place > 0 || line.starts_with([' ', '\t']);
            // What can't be read at the margin may be another device, whose details aren't those of the one above.
            if (header || !inside) && !block.is_empty() {
                device(&block, notes);
                block.clear();
            }
            if header || (!block.is_empty() && inside) {
                block.push(Segment { evidence, words });
            } else {
                notes.expected(evidence, row, piece);
            }
        }
    }
    if !block.is_empty() {
        device(&block, notes);
    }
}

/// `2: eth0@if3: <…`, also without the number or without flags.
pub(super) fn is_header(words: &[&str]) -> bool {
    let number = |word: &str| word.strip_suffix(':').is_some_and(|number| number.parse::<u32>().is_ok());
    match words {
        [first, name, ..] if number(first) && name.ends_with(':') => true,
        [name, flags, ..] => name.ends_with(':') && flags.starts_with('<'),
        _ => false,
    }
}

fn link(block: &[Segment<'_>], notes: &mut Notes<'_>) -> Option<Link> {
    let (first, rest) = block.split_first()?;
    let mut words = Words::new(&first.words);
    let Some(mut link) = header(&mut words, first.evidence) else {
        notes.expected(first.evidence, ROW, &first.words.join(" "));
        return None;
    };
    let unmodelled = lines::options(&mut words, (notes, first.evidence), |word, words| match word {
        "mtu" => words.value().map(|mtu| link.mtu = Some(mtu)).map(|()| Reading::Understood),
        "master" => words.next().map(|name| link.master = Some(IfName::new(name))).map(|()| Reading::Understood),
        "group" => words.next().map(|name| link.group = group(name)).map(|()| Reading::Understood),
        "state" | "mode" | "qdisc" | "qlen" | "event" => words.pass(1).map(|()| Reading::Understood),
        _ => switched(word, words),
    });
    link.unmodelled.extend(unmodelled);
    let mut kind = None;
    for segment in rest {
        let mut words = Words::new(&segment.words);
        match segment.words.first().copied().unwrap_or_default() {
            word if word.starts_with("link/") => address(&mut link, word, &mut words, (notes, segment.evidence)),
            word if word.starts_with("prog/xdp") => {}
            "ingress-qos-map" | "egress-qos-map" => kind.iter_mut().for_each(maps_priority),
            word if is_about_others(word) => {}
            word if word.ends_with("_slave") => port::slave(&mut link, &mut words, (notes, segment.evidence)),
            _ if kind.is_none() => {
                kind = kind::kind(&mut link, &mut words, (notes, segment.evidence));
                link.kind_evidence = segment.evidence;
            }
            // Kinds that aren't modelled may have more lines of their own.
            _ if matches!(kind, Some(LinkKind::Other(_))) => {}
            word => notes.add(segment.evidence, format_args!("{} is not understood", lines::quote(word))),
        }
    }
    if let Some(kind) = kind {
        link.kind = kind;
    }
    Some(link)
}

/// A VLAN device has priorities of its own.
fn maps_priority(kind: &mut LinkKind) {
    if let LinkKind::Vlan(vlan) = kind {
        vlan.maps_priority = true;
    }
}

/// A device group's number. The names are in the node's `/etc/iproute2/group`, of which every system has the first.
fn group(name: &str) -> Option<u32> {
    if name == "default" { Some(0) } else { name.parse().ok() }
}

/// The number, the name and the flags.
pub(super) fn header(words: &mut Words<'_, '_>, evidence: Evidence) -> Option<Link> {
    let mut name = words.next()?.strip_suffix(':')?;
    let index = match name.parse() {
        Ok(index) => {
            name = words.next()?.strip_suffix(':')?;
            Some(index)
        }
        Err(_) => None,
    };
    let (name, peer) = name.rsplit_once('@').map_or((name, None), |(name, peer)| (name, Some(peer)));
    let mut link = Link::new(IfName::new(name), evidence);
    link.index = index;
    match peer.map(|peer| (peer, peer.strip_prefix("if").and_then(|index| index.parse().ok()))) {
        Some((_, Some(index))) => link.peer_index = Some(index),
        Some((name, None)) if name != "NONE" => link.peer_name = Some(IfName::new(name)),
        _ => {}
    }
    let flags = words.next()?.strip_prefix('<')?.strip_suffix('>')?;
    let has = |flag: &str| flags.split(',').any(|other| other == flag);
    link.up = has("UP");
    link.noarp = has("NOARP");
    link.carrier = !has("M-DOWN") && if link.up { has("LOWER_UP") } else { !has("NO-CARRIER") };
    Some(link)
}

/// `link/ether 1a:… brd ff:… link-netnsid 0 …`. A device without a kind has its details here.
fn address(link: &mut Link, word: &str, words: &mut Words<'_, '_>, (notes, evidence): (&mut Notes<'_>, Evidence)) {
    if word == "link/loopback" {
        link.kind = LinkKind::Loopback;
    }
    words.next();
    // Tunnels print an IP address in its place, InfiniBand one of 20 octets; `link/none` has none.
    let is_address = |word: &&str| word.contains([':', '.']);
    if let Some(text) = words.peek().filter(is_address) {
        words.next();
        link.lladdr = text.parse().ok();
        link.lladdr_evidence = evidence;
    }
    let unmodelled = lines::options(words, (notes, evidence), |word, words| {
        match word {
            "brd" | "peer" | "permaddr" | "new-netns" | "new-netnsid" | "new-ifindex" => words.pass(1)?,
            "link-netns" => link.link_netns = Some(words.next()?.to_owned()),
            "link-netnsid" if words.take("unknown") => link.link_netnsid = Some(-1),
            "link-netnsid" => link.link_netnsid = Some(words.value()?),
            _ => return switched(word, words).or_else(|| detail(word, words)),
        }
        Some(Reading::Understood)
    });
    link.unmodelled.extend(unmodelled);
}

/// Words of any segment that change what happens to packets: an XDP program decides about each, a device that a
/// protocol holds down carries none; and what flowtrace doesn't model of a bridge or VLAN device.
fn switched<'a>(word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    match word {
        "protodown" | "protocol" | "vlan_protocol" | "mst_enabled" | "fdb_local_vlan_0" => words.pass(1)?,
        _ if word.starts_with("xdp") => {}
        _ => return None,
    }
    Some(Reading::Unmodelled)
}

/// What `-d` says of every device and what changes nothing, at the end of its last segment.
fn detail<'a>(word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    match word {
        "netns-immutable" => {}
        "protodown_reason" | "promiscuity" | "allmulti" | "minmtu" | "maxmtu" | "addrgenmode" | "numtxqueues"
        | "numrxqueues" | "gso_max_size" | "gso_max_segs" | "tso_max_size" | "tso_max_segs" | "gro_max_size"
        | "gso_ipv4_max_size" | "gro_ipv4_max_size" | "portname" | "portid" | "switchid" | "parentbus"
        | "parentdev" => words.pass(1)?,
        _ => return None,
    }
    Some(Reading::Understood)
}

/// Whether a segment is about something else than the device's way with packets: other names, virtual functions,
/// counters (also their numbers), a VLAN device's priorities, and the addresses of `ip addr show`.
pub(super) fn is_about_others(word: &str) -> bool {
    let words = ["altname", "vf", "RX", "TX", "RX:", "TX:", "ingress-qos-map", "egress-qos-map", "inet", "inet6"];
    words.contains(&word) || ["alias", "valid_lft"].contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
