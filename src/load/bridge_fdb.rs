//! Forwarding entries: `bridge fdb show`, also with `-d` and `-s` (`print_fdb()` of iproute2's `bridge/fdb.c`).

use super::json::{self, Fields, Objects, Row};
use super::lines::{self, Notes, Reading, Words};
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::{IfName, MacAddr, Vni};
use crate::snapshot::FdbEntry;

const TOOL: &str = "`bridge fdb show`";
const ROW: &str = "an entry (`address dev device [dst address] [self] [master bridge] [permanent]`)";

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<FdbEntry> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut words = Vec::new();
    let mut rows = Vec::new();
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        if lines::split(line, &mut words) {
            rows.extend(entry(&words, &mut notes, evidence));
        } else {
            notes.too_long(evidence);
        }
    }
    rows
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<FdbEntry>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    while let Some((evidence, fields)) = objects.next(&mut notes) {
        let row = words_of(&fields);
        json::set_text(&mut texts, evidence, &row);
        rows.extend(entry(&row.words(), &mut notes, evidence));
    }
    (rows, texts)
}

fn entry(all: &[&str], notes: &mut Notes<'_>, evidence: Evidence) -> Option<FdbEntry> {
    let mut words = Words::new(all);
    let lladdr: Option<MacAddr> = words.value();
    let dev = words.take("dev").then(|| device(&mut words)).flatten();
    let (Some(lladdr), Some(dev)) = (lladdr, dev) else {
        notes.expected(evidence, ROW, &all.join(" "));
        return None;
    };
    let mut entry = FdbEntry::new(lladdr, dev, evidence);
    entry.unmodelled = lines::options(&mut words, (notes, evidence), |word, words| attribute(&mut entry, word, words));
    Some(entry)
}

/// The device. Some versions print `dev dev eth0`.
fn device(words: &mut Words<'_, '_>) -> Option<IfName> {
    if let [_, "dst" | "self" | "master" | "vlan" | "permanent" | "extern_learn" | "used", ..] | [_] = words.rest() {
        return words.next().map(IfName::new);
    }
    words.take("dev");
    words.next().map(IfName::new)
}

fn attribute<'a>(entry: &mut FdbEntry, word: &'a str, words: &mut Words<'_, 'a>) -> Option<Reading> {
    match word {
        "dst" => entry.dst = Some(words.value()?),
        "vlan" => entry.vlan = Some(words.value()?),
        "port" => entry.port = Some(words.value()?),
        "vni" => entry.vni = Some(Vni(words.value()?)),
        // A device of another namespace.
        "via" if words.take("ifindex") => return words.pass(1).map(|()| Reading::Unmodelled),
        "via" => entry.via = Some(IfName::new(words.next()?)),
        "self" => entry.own = true,
        // With a bridge's name it says who keeps the entry, alone it is a flag.
        "master" => match words.peek() {
            None | Some("permanent" | "static" | "stale" | "master" | "sticky" | "locked") => {}
            Some(master) => {
                words.pass(1)?;
                entry.master = Some(IfName::new(master));
            }
        },
        "permanent" => entry.permanent = true,
        // Frames from an address of a locked port are dropped; groups of VTEPs; several networks on one device.
        "locked" => return Some(Reading::Unmodelled),
        "src_vni" | "nhid" | "link-netnsid" => return words.pass(1).map(|()| Reading::Unmodelled),
        // Who made the entry, whether it moves or ages, counters: a lookup that finds it doesn't ask.
        "static" | "stale" | "router" | "extern_learn" | "offload" | "sticky" | "activity_notify" | "inactive" => {}
        "used" => words.pass(1)?,
        _ if word.starts_with("state=") || word.starts_with("0x") => {}
        _ => return None,
    }
    Some(Reading::Understood)
}

/// An object's words, in the order of the text form.
fn words_of(fields: &Fields<'_>) -> Row {
    let mut row = Row::default();
    row.0.extend(fields.scalar("mac").map(String::from));
    row.pair("dev", fields, "ifname");
    for (key, raw) in &fields.0 {
        match &**key {
            "mac" | "ifname" | "updated" => {}
            "viaIf" => row.field("via", raw),
            "viaIfIndex" => {
                row.word("via");
                row.field("ifindex", raw);
            }
            "linkNetNsId" => row.field("link-netnsid", raw),
            "used" => {
                let times: Vec<_> = ["used", "updated"].iter().filter_map(|key| fields.scalar(key)).collect();
                row.word("used");
                row.word(times.join("/"));
            }
            "state" => row.0.extend(fields.scalar(key).filter(|state| !state.is_empty()).map(String::from)),
            key => row.field(key, raw),
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::{FILE, anywhere, clean, gappy, survives};
    use super::*;

    /// `bridge fdb show`.
    const TEXT: &str = "\
33:33:00:00:00:01 dev eth0 self permanent
5a:00:00:00:00:16 dev vethc4d6 master cni0 
3e:b8:e6:9c:89:72 dev vethc4d6 master cni0 permanent
02:42:72:d1:75:d4 dev docker0 vlan 1 master docker0 permanent
5a:00:00:00:00:12 dev flannel.1 dst 192.0.2.12 self permanent
00:00:00:00:00:00 dev vx2 dst 192.0.2.13 port 4000 vni 99 via eth0 self permanent
5a:00:00:00:00:14 dev vx3 dst 192.0.2.13 vni 1001 src_vni 1000 self permanent
00:00:00:00:00:00 dev vx4 dst 2001:db8:1::99 self permanent
";
    const JSON: &str = r#"[{"mac":"33:33:00:00:00:01","ifname":"eth0","flags":["self"],"state":"permanent"},{"mac":"5a:00:00:00:00:16","ifname":"vethc4d6","flags":[],"master":"cni0","state":""},{"mac":"3e:b8:e6:9c:89:72","ifname":"vethc4d6","flags":[],"master":"cni0","state":"permanent"},{"mac":"02:42:72:d1:75:d4","ifname":"docker0","vlan":1,"flags":[],"master":"docker0","state":"permanent"},{"mac":"5a:00:00:00:00:12","ifname":"flannel.1","dst":"192.0.2.12","flags":["self"],"state":"permanent"},{"mac":"00:00:00:00:00:00","ifname":"vx2","dst":"192.0.2.13","port":4000,"vni":99,"viaIf":"eth0","flags":["self"],"state":"permanent"},{"mac":"5a:00:00:00:00:14","ifname":"vx3","dst":"192.0.2.13","vni":1001,"src_vni":1000,"flags":["self"],"state":"permanent"},{"mac":"00:00:00:00:00:00","ifname":"vx4","dst":"2001:db8:1::99","flags":["self"],"state":"permanent"}]
"#;

    #[test]
    fn text_and_json_of_the_same_namespace_are_the_same_rows() {
        let text = clean(|gaps| parse(FILE, TEXT, gaps));
        let (json, rows) = clean(|gaps| parse_json(FILE, JSON, gaps));
        assert_eq!(rows, TEXT.lines().map(str::trim_end).collect::<Vec<_>>());
        assert_eq!(anywhere(text), anywhere(json));
    }

    #[test]
    fn entries_of_bridges_and_vxlan_devices_are_read() {
        let entries = clean(|gaps| parse(FILE, TEXT, gaps));
        assert!(entries[0].own && entries[0].permanent && entries[0].master.is_none());
        assert!(!entries[1].own && !entries[1].permanent && entries[1].master == Some("cni0".into()));
        assert_eq!(entries[3].vlan, Some(1));
        assert_eq!(entries[4].dst, Some([192, 0, 2, 12].into()));
        assert_eq!(
            (entries[5].port, entries[5].vni, entries[5].via.clone()),
            (Some(4000), Some(Vni(99)), Some("eth0".into()))
        );
        assert_eq!(entries[6].unmodelled, ["src_vni 1000"]);
        assert_eq!(entries[7].evidence, Evidence::line(FILE, 8));
    }

    #[test]
    fn details_statistics_and_old_forms_change_nothing() {
        let text = "\
5a:00:00:00:00:16 dev vethc4d6 used 1/1 master cni0 
5a:00:00:00:00:17 dev vethc4d6 vlan 10 used 5/5 extern_learn offload sticky master cni0 static
01:00:5e:00:00:01 dev dev eth0 self permanent
5a:00:00:00:00:18 dev dev self permanent
5a:00:00:00:00:19 dev eth1 master master br0 state=0x40";
        let entries = clean(|gaps| parse(FILE, text, gaps));
        let devices: Vec<_> = entries.iter().map(|entry| entry.dev.as_str()).collect();
        assert_eq!(devices, ["vethc4d6", "vethc4d6", "eth0", "dev", "eth1"]);
        assert_eq!(entries[4].master, Some("br0".into()));
        let json = r#"[{"mac":"5a:00:00:00:00:16","ifname":"vethc4d6","used":25,"updated":25,"flags":[],"master":"cni0","state":""}]"#;
        assert_eq!(
            clean(|gaps| parse_json(FILE, json, gaps)).1,
            ["5a:00:00:00:00:16 dev vethc4d6 used 25/25 master cni0"]
        );
    }

    #[test]
    fn what_is_not_modelled_stays_with_the_entry() {
        let text = "5a:00:00:00:00:19 dev vx3 src_vni 7 nhid 9 self permanent\n5a:00:00:00:00:19 dev vx3 via ifindex 5 link-netnsid 1 self";
        let entries = clean(|gaps| parse(FILE, text, gaps));
        assert_eq!(entries[0].unmodelled, ["src_vni 7", "nhid 9"]);
        assert_eq!(entries[1].unmodelled, ["via ifindex 5", "link-netnsid 1"]);
        let json =
            r#"{"mac":"5a:00:00:00:00:19","ifname":"vx3","viaIfIndex":5,"linkNetNsId":1,"flags":["self"],"state":""}"#;
        assert_eq!(clean(|gaps| parse_json(FILE, json, gaps)).0[0].unmodelled, entries[1].unmodelled);
    }

    #[test]
    fn what_is_no_entry_is_a_gap() {
        let text = "5a:11:99:ab:8c:22 dst 172.18.0.3 self permanent\n5a:11:99:ab:8c dev x\n5a:11:99:ab:8c:22 dev x dst 1.2 self";
        let (entries, gaps) = gappy(|gaps| parse(FILE, text, gaps));
        assert_eq!(entries[0].unmodelled, ["dst 1.2"]);
        assert_eq!(gaps.iter().map(|gap| gap.0).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        survives(TEXT, |text| drop(parse(FILE, text, &mut Vec::new())));
        survives(JSON, |text| drop(parse_json(FILE, text, &mut Vec::new())));
    }

    prop_compose! {
        fn any_entry()(
            lladdr in any::<[u8; 6]>(), dev in "[a-z][a-z0-9._@-]{0,14}", dst in proptest::option::of(any::<std::net::IpAddr>()),
            port in proptest::option::of(any::<u16>()), vni in proptest::option::of(0u32..1 << 24), vlan in proptest::option::of(1u16..4095),
            via in proptest::option::of("eth[0-9]"), master in proptest::option::of("br[0-9]"), flags in any::<[bool; 3]>(),
        ) -> FdbEntry {
            FdbEntry {
                dst, port, vni: vni.map(Vni), vlan, via: via.map(|via| IfName::new(&via)),
                master: master.map(|master| IfName::new(&master)), own: flags[0], permanent: flags[1],
                unmodelled: if flags[2] { vec!["src_vni 5".into(), "nhid 3".into()] } else { vec![] },
                ..FdbEntry::new(MacAddr(lladdr), IfName::new(&dev), Evidence::line(FILE, 1))
            }
        }
    }

    proptest! {
        #[test]
        fn a_printed_entry_reads_back(entry in any_entry()) {
            let printed = entry.to_string();
            prop_assert_eq!(clean(|gaps| parse(FILE, &printed, gaps)), vec![entry], "{}", printed);
        }
    }
}
