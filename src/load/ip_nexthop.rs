//! Nexthop objects: `ip nexthop show` (`__print_nexthop_entry()` of iproute2's `ip/ipnexthop.c`).

use super::ip_route::{skip_encap, via};
use super::json::{self, Fields, Objects, Row};
use super::lines::{self, Notes, Reading, Words};
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::IfName;
use crate::snapshot::{NextHop, NextHopObject};

const TOOL: &str = "`ip nexthop show`";
const ROW: &str = "a nexthop object (`id number …`)";

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<NextHopObject> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut words = Vec::new();
    let mut rows = Vec::new();
    // Whether the counters of `-s` are being passed over, whose rows start with `id` as well.
    let mut stats = false;
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        for (place, piece) in lines::pieces(line).enumerate() {
            if !lines::split(piece, &mut words) {
                notes.too_long(evidence);
                continue;
            }
            let indented = place > 0 || line.starts_with([' ', '\t']);
            stats = indented && (stats || words.first() == Some(&"stats:"));
            if !stats && !words.is_empty() {
                rows.extend(object(&words, &mut notes, evidence));
            }
        }
    }
    rows
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<NextHopObject>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    while let Some((evidence, fields)) = objects.next(&mut notes) {
        let row = words_of(&fields);
        json::set_text(&mut texts, evidence, &row);
        rows.extend(object(&row.words(), &mut notes, evidence));
    }
    (rows, texts)
}

fn object(all: &[&str], notes: &mut Notes<'_>, evidence: Evidence) -> Option<NextHopObject> {
    let mut words = Words::new(all);
    let id = words.take("id").then(|| words.value()).flatten();
    let Some(id) = id else {
        notes.expected(evidence, ROW, &all.join(" "));
        return None;
    };
    let mut way = NextHop::new(evidence);
    let mut group = Vec::new();
    let mut blackhole = false;
    let unmodelled = lines::options(&mut words, (notes, evidence), |word, words| {
        match word {
            "via" => way.via = Some(via(words)?).filter(|via| !via.is_unspecified()),
            "dev" => way.dev = Some(IfName::new(words.next()?)),
            "onlink" => way.onlink = true,
            "dead" => way.dead = true,
            "linkdown" => way.linkdown = true,
            "encap" => {
                let start = words.at() - 1;
                skip_encap(words);
                way.encap = Some(words.between(start, words.at()).into());
            }
            "group" => group = members(words.next()?)?,
            "blackhole" => blackhole = true,
            // The multipath group that every group without a word is.
            "type" if words.take("mpath") => {}
            "type" => return words.pass(1).map(|()| Reading::Unmodelled),
            "fdb" => return Some(Reading::Unmodelled),
            // How long a resilient group's buckets live; counters; who made it; what hardware does.
            "buckets" | "idle_timer" | "unbalanced_timer" | "unbalanced_time" | "hw_stats" | "used" | "proto"
            | "scope" => words.pass(1)?,
            "offload" | "trap" | "pervasive" | "unresolved" | "notify" | "rt_offload" | "rt_trap" => {}
            _ => return None,
        }
        Some(Reading::Understood)
    });
    let way = (way != NextHop::new(evidence)).then_some(way);
    Some(NextHopObject { id, way, group, blackhole, unmodelled, evidence })
}

/// `1,3/2`: members with their weights, 1 where none is written.
fn members(word: &str) -> Option<Vec<(u32, u32)>> {
    let member = |text: &str| match text.split_once(',') {
        Some((id, weight)) => Some((id.parse().ok()?, weight.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    };
    word.split('/').map(member).collect()
}

/// An object's words, in the order of the text form.
fn words_of(fields: &Fields<'_>) -> Row {
    let mut row = Row::default();
    row.pair("id", fields, "id");
    for (key, raw) in &fields.0 {
        match &**key {
            "id" | "group_stats" | "hw_stats" => {}
            "group" => {
                let members = fields.list(key).into_iter().filter_map(json::object);
                row.word("group");
                row.word(members.map(|member| member_word(&member)).collect::<Vec<_>>().join("/"));
            }
            "gateway" => row.field("via", raw),
            "protocol" => row.field("proto", raw),
            key => row.field(key, raw),
        }
    }
    row
}

fn member_word(member: &Fields<'_>) -> String {
    let id = member.scalar("id").unwrap_or_default();
    match member.scalar("weight") {
        Some(weight) => format!("{id},{weight}"),
        None => id.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::{FILE, anywhere, clean, gappy, survives};
    use super::*;

    /// `ip nexthop show` with one object of each kind.
    const TEXT: &str = "\
id 1 via 192.0.2.2 dev eth0 scope link 
id 2 via 192.0.2.3 dev eth0 scope link proto bgp onlink 
id 3 group 1,3/2 
id 4 blackhole 
id 5 via 2001:db8:1::2 dev eth0 scope link 
id 6 dev dum0 scope host 
id 7 group 1/2 type resilient buckets 32 idle_timer 60 unbalanced_timer 0 unbalanced_time 0 
id 8 via 2001:db8:1::5 scope link fdb
id 9 group 8 fdb
";
    /// `ip -j nexthop show` of the same.
    const JSON: &str = r#"[{"id":1,"gateway":"192.0.2.2","dev":"eth0","scope":"link","flags":[]},{"id":2,"gateway":"192.0.2.3","dev":"eth0","scope":"link","protocol":"bgp","flags":["onlink"]},{"id":3,"group":[{"id":1,"weight":3},{"id":2}],"flags":[]},{"id":4,"blackhole":null,"flags":[]},{"id":5,"gateway":"2001:db8:1::2","dev":"eth0","scope":"link","flags":[]},{"id":6,"dev":"dum0","scope":"host","flags":[]},{"id":7,"group":[{"id":1},{"id":2}],"type":"resilient","resilient_args":{"buckets":32,"idle_timer":60,"unbalanced_timer":0,"unbalanced_time":0},"flags":[]},{"id":8,"gateway":"2001:db8:1::5","scope":"link","flags":[],"fdb":null},{"id":9,"group":[{"id":8}],"flags":[],"fdb":null}]
"#;

    #[test]
    fn text_and_json_of_the_same_namespace_are_the_same_rows() {
        let text = clean(|gaps| parse(FILE, TEXT, gaps));
        let (json, rows) = clean(|gaps| parse_json(FILE, JSON, gaps));
        assert_eq!(rows, TEXT.lines().map(str::trim_end).collect::<Vec<_>>());
        assert_eq!(anywhere(text), anywhere(json));
    }

    #[test]
    fn ways_groups_and_blackholes_are_told_apart() {
        let objects = clean(|gaps| parse(FILE, TEXT, gaps));
        assert_eq!(objects[2].group, [(1, 3), (2, 1)]);
        assert_eq!((objects[2].way.as_ref(), objects[3].blackhole), (None, true));
        assert!(objects[1].way.as_ref().unwrap().onlink);
        assert_eq!(objects[6].unmodelled, ["type resilient"]);
        assert_eq!(objects[7].unmodelled, ["fdb"]);
        assert_eq!(objects[8].evidence, Evidence::line(FILE, 9));
    }

    #[test]
    fn details_and_counters_change_nothing() {
        let text = "id 3 group 1,3/2 scope global proto unspec hw_stats on used off \n  stats:\n    id 1 packets 5\n    id 2 packets 6\nid 4 blackhole proto unspec ";
        let objects = clean(|gaps| parse(FILE, text, gaps));
        assert_eq!(objects.iter().map(|object| object.id).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn an_encapsulation_is_kept() {
        let objects = clean(|gaps| parse(FILE, "id 11  encap mpls  200 via 192.0.2.9 dev eth0", gaps));
        assert_eq!(objects[0].way.as_ref().unwrap().encap.as_deref(), Some("encap mpls 200"));
    }

    #[test]
    fn what_is_no_object_is_a_gap() {
        let (objects, gaps) = gappy(|gaps| parse(FILE, "id x\nid 1 group 1,/2 frob\n<nexthop id 3 invalid", gaps));
        assert_eq!(objects[0].unmodelled, ["group 1,/2 frob"]);
        assert_eq!(gaps.len(), 3);
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        survives(TEXT, |text| drop(parse(FILE, text, &mut Vec::new())));
        survives(JSON, |text| drop(parse_json(FILE, text, &mut Vec::new())));
    }

    prop_compose! {
        fn any_object()(
            id in any::<u32>(), via in proptest::option::of(1u32..), dev in "[a-z][a-z0-9._-]{0,14}", flags in any::<[bool; 3]>(),
            group in proptest::collection::vec((any::<u32>(), 1u32..=65536), 1..4), encap in proptest::option::of("encap mpls [1-9]"),
            kind in 0..3, odd in any::<bool>(),
        ) -> NextHopObject {
            let evidence = Evidence::line(FILE, 1);
            let way = NextHop {
                via: via.map(|bits| std::net::IpAddr::V4(bits.into())), dev: Some(IfName::new(&dev)), onlink: flags[0],
                dead: flags[1], linkdown: flags[2], encap: encap.map(Into::into), ..NextHop::new(evidence)
            };
            NextHopObject {
                id, way: (kind == 0).then_some(way), group: if kind == 1 { group } else { vec![] }, blackhole: kind == 2,
                unmodelled: if odd { vec!["fdb".into()] } else { vec![] }, evidence,
            }
        }
    }

    proptest! {
        #[test]
        fn a_printed_object_reads_back(object in any_object()) {
            let printed = object.to_string();
            prop_assert_eq!(clean(|gaps| parse(FILE, &printed, gaps)), vec![object], "{}", printed);
        }
    }
}
