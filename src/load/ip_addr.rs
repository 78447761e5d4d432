//! Addresses: `ip addr show`, also with `-d`, `-s` and `-o` (`print_addrinfo()` of iproute2's `ip/ipaddress.c`).

use std::net::IpAddr;

use super::ip_link::{is_about_others, is_header};
use super::json::{self, Fields, Objects, Row};
use super::lines::{self, Notes, Reading, Words};
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::{Family, IfName};
use crate::snapshot::Addr;

const TOOL: &str = "`ip addr show`";
const ROW: &str = "a device or an address (`inet address/length … scope …`)";

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<Addr> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut rows: Vec<Addr> = Vec::new();
    let mut words = Vec::new();
    let mut place = Place::default();
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        for piece in lines::pieces(line) {
            if lines::split(piece, &mut words) {
                place.margin = !piece.starts_with([' ', '\t']);
                place.read(&words, &mut rows, (&mut notes, evidence));
            } else {
                notes.too_long(evidence);
            }
        }
    }
    rows
}

/// Reads the JSON form; also gives each address's row in the text form's syntax. A row's place counts the addresses of
/// all devices.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<Addr>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    let mut index = 0;
    while let Some((evidence, device)) = objects.next(&mut notes) {
        let Some(name) = device.scalar("ifname") else {
            notes.expected(evidence, "a device (`ifname`)", "an object without it");
            continue;
        };
        for raw in device.list("addr_info") {
            // Empty objects stand for the addresses that `ip -4` or `ip -6` left out.
            let Some(fields) = json::object(raw).filter(|fields| !fields.0.is_empty()) else { continue };
            let evidence = Evidence::object(file, objects.line_of(raw), index);
            index += 1;
            let row = words_of(&name, &fields);
            texts.push(row.to_string());
            let words = row.words();
            let mut place = Place { dev: Some(IfName::new(&name)), ..Place::default() };
            place.read(words.get(1..).unwrap_or_default(), &mut rows, (&mut notes, evidence));
        }
    }
    (rows, texts)
}

/// Where in a file a row stands.
#[derive(Default)]
struct Place {
    /// The device above.
    dev: Option<IfName>,
    /// Whether the device's own details come, which are another reader's.
    details: bool,
    /// Whether the line starts at the margin, as those of devices do.
    margin: bool,
}

impl Place {
    fn read(&mut self, words: &[&str], rows: &mut Vec<Addr>, (notes, evidence): (&mut Notes<'_>, Evidence)) {
        if is_header(words) {
            let mut names = words.iter().map(|word| word.trim_end_matches(':'));
            let name = names.find(|word| word.parse::<u32>().is_err()).unwrap_or_default();
            self.dev = Some(IfName::new(name.rsplit_once('@').map_or(name, |(name, _)| name)));
            self.details = true;
        } else if let Some(inet) = self.inet(words) {
            self.details = false;
            match self.dev.clone().or_else(|| label(inet)) {
                Some(dev) => rows.extend(addr(&dev, inet, notes, evidence)),
                None => notes.expected(evidence, "a device above its address", &words.join(" ")),
            }
        } else if let ["valid_lft", _, "preferred_lft", "0sec", ..] = words {
            rows.last_mut().into_iter().for_each(|addr| addr.deprecated = true);
        } else if self.margin || looks_like_one(words) || !self.is_detail(words) {
            notes.expected(evidence, ROW, &words.join(" "));
            if self.margin {
                // It may be another device, whose addresses come now.
                (self.dev, self.details) = (None, true);
            }
        }
    }

    /// Whether a line is about the device and none of its addresses.
    fn is_detail(&self, words: &[&str]) -> bool {
        self.details || is_about_others(words.first().copied().unwrap_or_default())
    }

    /// The words of an address from `inet` on. `-o` writes the device before each.
    fn inet<'w, 'a>(&mut self, words: &'w [&'a str]) -> Option<&'w [&'a str]> {
        let (dev, inet) = match words {
            ["inet" | "inet6", ..] => return Some(words),
            [dev, inet @ ..] if matches!(inet, ["inet" | "inet6", ..]) => (dev, inet),
            [number, dev, inet @ ..] if number.ends_with(':') && matches!(inet, ["inet" | "inet6", ..]) => (dev, inet),
            _ => return None,
        };
        self.dev = Some(IfName::new(dev));
        Some(inet)
    }
}

/// Whether a line has what only addresses have, though it doesn't start as one.
fn looks_like_one(words: &[&str]) -> bool {
    let network = |word: &&str| word.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    words.contains(&"scope") || words.get(1).is_some_and(network)
}

/// The device of an IPv4 address that stands alone, as `grep inet` leaves it: its label, which starts with the name.
fn label(inet: &[&str]) -> Option<IfName> {
    let ["inet", _, .., before, label] = inet else { return None };
    let is_value = matches!(*before, "scope" | "brd" | "peer" | "any" | "mcast" | "metric" | "proto" | "flags");
    let is_word = is_flag(label)
        || matches!(*label, "secondary" | "deprecated" | "tentative" | "dadfailed" | "optimistic" | "noprefixroute");
    (!is_value && !is_word).then(|| IfName::new(label.split(':').next().unwrap_or(label)))
}

/// Flags that an address may have and that don't matter to where packets go.
fn is_flag(word: &str) -> bool {
    matches!(
        word,
        "dynamic" | "temporary" | "nodad" | "home" | "mngtmpaddr" | "autojoin" | "stable-privacy" | "permanent"
    )
}

fn addr(dev: &IfName, all: &[&str], notes: &mut Notes<'_>, evidence: Evidence) -> Option<Addr> {
    let mut words = Words::new(all);
    words.pass(1)?;
    let Some((address, peer, prefix_len)) = network(&mut words) else {
        notes.expected(evidence, ROW, &all.join(" "));
        return None;
    };
    let mut addr = Addr::new(dev.clone(), address, prefix_len, evidence);
    addr.peer = peer;
    let mut optimistic = false;
    lines::options(&mut words, (notes, evidence), |word, words| {
        match word {
            "brd" => addr.broadcast = Some(words.value()?),
            "scope" => addr.scope = words.value()?,
            // IPv6 has `temporary`, which old versions print as `secondary` too.
            "secondary" => addr.secondary = address.is_ipv4(),
            "deprecated" => addr.deprecated = true,
            "tentative" | "dadfailed" => addr.tentative = true,
            "optimistic" => optimistic = true,
            "noprefixroute" => addr.noprefixroute = true,
            _ if is_flag(word) => {}
            "any" | "mcast" | "metric" | "proto" | "flags" => words.pass(1)?,
            // The label, which IPv4 addresses have at the end: the device's name, perhaps an older one.
            _ if address.is_ipv4() && words.peek().is_none() => {}
            _ => return None,
        }
        Some(Reading::Understood)
    });
    // It is used before duplicates have been looked for (RFC 4429).
    addr.tentative &= !optimistic;
    Some(addr)
}

/// `10.0.0.1/24`, `10.0.0.1 peer 10.0.0.2/32`.
fn network(words: &mut Words<'_, '_>) -> Option<(IpAddr, Option<IpAddr>, u8)> {
    let word = words.next()?;
    if words.take("peer") {
        let (peer, length) = words.next()?.split_once('/')?;
        return Some((word.parse().ok()?, Some(peer.parse().ok()?), length.parse().ok()?));
    }
    let (address, length) = word.split_once('/')?;
    let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
    (length <= Family::of(address).bits()).then_some((address, None, length))
}

/// An address's words, in the order of the text form of `-o`.
fn words_of(dev: &str, fields: &Fields<'_>) -> Row {
    let part = |key| fields.scalar(key).unwrap_or_default();
    let mut row = Row::default();
    row.word(dev);
    row.word(part("family"));
    match fields.scalar("address") {
        Some(peer) => {
            row.word(part("local"));
            row.word("peer");
            row.word(format!("{peer}/{}", part("prefixlen")));
        }
        None => row.word(format!("{}/{}", part("local"), part("prefixlen"))),
    }
    for (key, raw) in &fields.0 {
        match &**key {
            "family" | "local" | "address" | "prefixlen" | "label" | "valid_life_time" | "preferred_life_time" => {}
            "broadcast" => row.field("brd", raw),
            "anycast" => row.field("any", raw),
            "multicast" => row.field("mcast", raw),
            "protocol" => row.field("proto", raw),
            "ifa_flags" => row.field("flags", raw),
            key => row.field(key, raw),
        }
    }
    if part("preferred_life_time") == "0" && !fields.has("deprecated") {
        row.word("deprecated");
    }
    row.0.extend(fields.scalar("label").map(String::from));
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::{FILE, anywhere, clean, gappy, survives};
    use super::*;
    use crate::snapshot::AddrScope;

    const TEXT: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
    inet6 ::1/128 scope host 
       valid_lft forever preferred_lft forever
2: eth0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 1a:6c:59:b0:4a:df brd ff:ff:ff:ff:ff:ff link-netns b
    inet 198.51.100.1/24 scope link noprefixroute eth0
       valid_lft forever preferred_lft forever
    inet 192.0.2.111/24 brd 192.0.2.255 scope global secondary eth0:1
       valid_lft forever preferred_lft forever
    inet6 2001:db8:1::12/64 scope global nodad deprecated 
       valid_lft forever preferred_lft 0sec
    inet6 fe80::186c:59ff:feb0:4adf/64 scope link tentative 
       valid_lft forever preferred_lft forever
4: dum0@dumx: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether aa:ab:01:34:3d:bf brd ff:ff:ff:ff:ff:ff
    altname dumdum
    inet 10.9.9.1 peer 10.9.9.2/32 scope global dum0
       valid_lft forever preferred_lft forever
    inet 10.9.8.1/24 scope global dynamic dum0
       valid_lft 975sec preferred_lft 475sec
14: flannel0: <NO-CARRIER,POINTOPOINT,MULTICAST,NOARP,UP> mtu 1500 qdisc pfifo_fast state DOWN group default qlen 500
    link/none 
";
    const JSON: &str = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"qdisc":"noqueue","operstate":"UNKNOWN","group":"default","txqlen":1000,"link_type":"loopback","address":"00:00:00:00:00:00","broadcast":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host","label":"lo","valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet6","local":"::1","prefixlen":128,"scope":"host","valid_life_time":4294967295,"preferred_life_time":4294967295}]},
{"ifindex":2,"link_index":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue","operstate":"UP","group":"default","txqlen":1000,"link_type":"ether","address":"1a:6c:59:b0:4a:df","broadcast":"ff:ff:ff:ff:ff:ff","link_netnsid":0,"addr_info":[{"family":"inet","local":"198.51.100.1","prefixlen":24,"scope":"link","noprefixroute":true,"label":"eth0","valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet","local":"192.0.2.111","prefixlen":24,"broadcast":"192.0.2.255","scope":"global","secondary":true,"label":"eth0:1","valid_life_time":4294967295,"preferred_life_time":4294967295},
{"family":"inet6","local":"2001:db8:1::12","prefixlen":64,"scope":"global","nodad":true,"deprecated":true,"valid_life_time":4294967295,"preferred_life_time":0},{"family":"inet6","local":"fe80::186c:59ff:feb0:4adf","prefixlen":64,"scope":"link","tentative":true,"valid_life_time":4294967295,"preferred_life_time":4294967295}]},{"ifindex":4,"link":"dumx","ifname":"dum0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue","operstate":"UP","group":"default","txqlen":1000,"link_type":"ether","address":"aa:ab:01:34:3d:bf","broadcast":"ff:ff:ff:ff:ff:ff","altnames":["dumdum"],"addr_info":[{"family":"inet","local":"10.9.9.1","address":"10.9.9.2","prefixlen":32,"scope":"global","label":"dum0","valid_life_time":4294967295,"preferred_life_time":4294967295},{"family":"inet","local":"10.9.8.1","prefixlen":24,"scope":"global","dynamic":true,"label":"dum0","valid_life_time":975,"preferred_life_time":475}]},{"ifindex":14,"ifname":"flannel0","flags":["NO-CARRIER","POINTOPOINT","MULTICAST","NOARP","UP"],"mtu":1500,"qdisc":"pfifo_fast","operstate":"DOWN","group":"default","txqlen":500,"link_type":"none","addr_info":[]}]
"#;

    #[test]
    fn text_and_json_of_the_same_namespace_are_the_same_rows() {
        let text = clean(|gaps| parse(FILE, TEXT, gaps));
        let (json, rows) = clean(|gaps| parse_json(FILE, JSON, gaps));
        assert_eq!(rows[3], "eth0 inet 192.0.2.111/24 brd 192.0.2.255 scope global secondary eth0:1");
        assert_eq!(json[4].evidence, Evidence::object(FILE, 3, 4));
        assert_eq!(anywhere(text), anywhere(json.clone()));
        assert_eq!(anywhere(clean(|gaps| parse(FILE, &rows.join("\n"), gaps))), anywhere(json));
    }

    #[test]
    fn flags_peers_and_lifetimes_are_read() {
        let addrs = clean(|gaps| parse(FILE, TEXT, gaps));
        let find = |text: &str| addrs.iter().find(|addr| addr.address == text.parse::<IpAddr>().unwrap()).unwrap();
        assert!(find("198.51.100.1").noprefixroute && find("198.51.100.1").scope == AddrScope::LINK);
        assert!(find("192.0.2.111").secondary && !find("198.51.100.1").secondary);
        assert!(find("2001:db8:1::12").deprecated && find("fe80::186c:59ff:feb0:4adf").tentative);
        assert_eq!((find("10.9.9.1").peer, find("10.9.9.1").prefix_len), (Some([10, 9, 9, 2].into()), 32));
        assert_eq!((find("127.0.0.1").dev.as_str(), find("127.0.0.1").evidence.line), ("lo", 3));
    }

    #[test]
    fn the_one_line_form_is_the_same() {
        let text = "\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: eth0    inet6 2001:db8:1::12/64 scope global nodad \\       valid_lft forever preferred_lft 0sec";
        let addrs = clean(|gaps| parse(FILE, text, gaps));
        assert_eq!((addrs[0].dev.as_str(), addrs[1].dev.as_str(), addrs[1].deprecated), ("lo", "eth0", true));
    }

    #[test]
    fn an_ipv4_address_without_its_device_s_line_is_its_label_s() {
        let text =
            "    inet 10.0.5.1/24 scope global cni0\n inet 10.0.6.1/24 brd 10.0.6.255 scope global secondary eth0:1";
        let addrs = clean(|gaps| parse(FILE, text, gaps));
        assert_eq!(addrs.iter().map(|addr| addr.dev.as_str()).collect::<Vec<_>>(), ["cni0", "eth0"]);
        let text = "inet6 fe80::1/64 scope link\ninet 10.0.5.1/24 scope global\ninet 10.0.5.1/24 brd 10.0.5.255\ninet 10.0.5.1/24 scope global secondary";
        assert_eq!(gappy(|gaps| parse(FILE, text, gaps)).1.len(), 4);
    }

    #[test]
    fn details_and_counters_of_the_device_change_nothing() {
        let text = "\
2: eth0: <UP,LOWER_UP> mtu 1500 qdisc noqueue state UP
    link/ether 1a:6c:59:b0:4a:df brd ff:ff:ff:ff:ff:ff promiscuity 0
    veth addrgenmode eui64 numtxqueues 2
    inet 192.0.2.11/24 metric 100 brd 192.0.2.255 scope global dynamic old0
       valid_lft 10sec preferred_lft 10sec
    inet6 fe80::1/64 scope link tentative optimistic proto kernel_ll 
       valid_lft forever preferred_lft forever
    RX:  bytes packets errors dropped  missed   mcast           
         9000      10      0       0       0       0 ";
        let addrs = clean(|gaps| parse(FILE, text, gaps));
        assert_eq!((addrs.len(), addrs[1].tentative), (2, false));
    }

    #[test]
    fn what_is_no_address_is_a_gap() {
        let text = "    inet6 fe80::1/64 scope link\n2: eth0: <UP>\n    inet 10.0.0.1/33 scope global eth0\n    inet6 fe80::/64 scope li\nwhat";
        let (addrs, gaps) = gappy(|gaps| parse(FILE, text, gaps));
        assert_eq!((addrs.len(), gaps.iter().map(|gap| gap.0).collect::<Vec<_>>()), (1, vec![1, 3, 4, 5]));
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        survives(TEXT, |text| drop(parse(FILE, text, &mut Vec::new())));
        survives(JSON, |text| drop(parse_json(FILE, text, &mut Vec::new())));
    }

    prop_compose! {
        fn any_addr()(
            dev in "[a-z][a-z0-9._-]{0,14}", address in any::<IpAddr>(), length in 0u8..=128, peer in proptest::option::of(any::<u32>()),
            broadcast in proptest::option::of(any::<u32>()), scope in any::<u8>(), flags in any::<[bool; 4]>(),
        ) -> Addr {
            let v4 = address.is_ipv4();
            Addr {
                peer: peer.filter(|_| v4).map(|bits| IpAddr::V4(bits.into())),
                broadcast: broadcast.filter(|_| v4).map(|bits| IpAddr::V4(bits.into())), scope: AddrScope(scope),
                secondary: v4 && flags[0], deprecated: flags[1], tentative: flags[2], noprefixroute: flags[3],
                ..Addr::new(IfName::new(&dev), address, length.min(Family::of(address).bits()), Evidence::line(FILE, 1))
            }
        }
    }

    proptest! {
        #[test]
        fn a_printed_address_reads_back(addr in any_addr()) {
            let printed = addr.to_string();
            prop_assert_eq!(clean(|gaps| parse(FILE, &printed, gaps)), vec![addr], "{}", printed);
        }
    }
}
