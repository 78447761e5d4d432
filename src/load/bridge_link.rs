//! Bridge ports: `bridge -d link show` (`print_linkinfo()` of iproute2's `bridge/link.c`).

use super::ip_link::{self, Draft, Segment};
use super::json::{self, Fields, Objects, Row};
use super::lines::{self, Notes, Reading, Words};
use crate::evidence::{FileId, Gap};
use crate::net::IfName;
use crate::snapshot::Link;

const TOOL: &str = "`bridge link show`";
const ROW: &str = "a port (`number: name: <FLAGS> mtu … master bridge state …`)";

/// Reads the text form. Each row is a device of kind [`Plain`](crate::snapshot::LinkKind::Plain) with its `port`. What
/// stands behind `@` is left out: it is the name of another device where the peer is in another namespace.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<Link> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut rows = Vec::new();
    ip_link::blocks(text, ROW, &mut notes, |block, notes| rows.extend(port(block, notes)));
    rows
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<Link>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    while let Some((evidence, fields)) = objects.next(&mut notes) {
        let segments = segments_of(&fields);
        json::set_text(&mut texts, evidence, &json::OneLine(&segments));
        let block: Vec<_> = segments.iter().map(|row| Segment { evidence, words: row.words() }).collect();
        rows.extend(port(&block, &mut notes));
    }
    (rows, texts)
}

fn port(block: &[Segment<'_>], notes: &mut Notes<'_>) -> Option<Link> {
    let (first, rest) = block.split_first()?;
    let mut words = Words::new(&first.words);
    let Some(mut link) = ip_link::header(&mut words, first.evidence) else {
        notes.expected(first.evidence, ROW, &first.words.join(" "));
        return None;
    };
    (link.peer_name, link.peer_index) = (None, None);
    // The settings stand on the second line.
    let mut draft = Draft::new(rest.first().map_or(first.evidence, |segment| segment.evidence));
    let unmodelled = lines::options(&mut words, (&mut *notes, first.evidence), |word, words| {
        match word {
            "mtu" => link.mtu = Some(words.value()?),
            "master" => link.master = Some(IfName::new(words.next()?)),
            _ => return draft.option(word, words),
        }
        Some(Reading::Understood)
    });
    draft.port.unmodelled.extend(unmodelled);
    for segment in rest {
        let mut words = Words::new(&segment.words);
        let unmodelled =
            lines::options(&mut words, (&mut *notes, segment.evidence), |word, words| draft.option(word, words));
        draft.port.unmodelled.extend(unmodelled);
    }
    if !draft.detailed {
        notes.add(first.evidence, "taken without `-d`: whether the port is isolated, a hairpin, … is not known");
    }
    link.port = draft.finish();
    if link.port.is_none() {
        notes.add(first.evidence, "a bridge port without a state");
    }
    Some(link)
}

fn segments_of(fields: &Fields<'_>) -> Vec<Row> {
    let mut header = ip_link::header_words(fields);
    let mut settings = Row::default();
    for (key, raw) in &fields.0 {
        match &**key {
            "ifindex" | "ifname" | "link" | "link_index" | "flags" => {}
            "mtu" | "master" | "state" | "priority" | "cost" => header.field(key, raw),
            key => ip_link::port_fields(&mut settings, key, raw),
        }
    }
    [header, settings].into_iter().filter(|row| !row.0.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::check::{FILE, anywhere, clean, gappy, survives};
    use super::*;
    use crate::evidence::Evidence;
    use crate::snapshot::{LinkKind, PortState};

    const TEXT: &str = "\
6: vethc4d6@eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 master cni0 state forwarding priority 32 cost 2 
    hairpin on guard off root_block off fastleave off learning on flood on mcast_flood on bcast_flood on mcast_router 1 mcast_to_unicast off neigh_suppress off vlan_tunnel off isolated on locked off 
7: vb@va: <NO-CARRIER,BROADCAST,MULTICAST,UP,M-DOWN> mtu 1500 master br-vlan state disabled priority 32 cost 2 
    hairpin off guard off root_block off fastleave off learning off flood off mcast_flood on bcast_flood on mcast_router 1 mcast_to_unicast off neigh_suppress off vlan_tunnel off isolated off locked on 
";
    const JSON: &str = r#"[{"ifindex":6,"link":"eth0","ifname":"vethc4d6","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"master":"cni0","state":"forwarding","priority":32,"cost":2,"hairpin":true,"guard":false,"root_block":false,"fastleave":false,"learning":true,"flood":true,"mcast_flood":true,"bcast_flood":true,"mcast_router":1,"mcast_to_unicast":false,"neigh_suppress":false,"vlan_tunnel":false,"isolated":true,"locked":false},{"ifindex":7,"link":"va","ifname":"vb","flags":["NO-CARRIER","BROADCAST","MULTICAST","UP","M-DOWN"],"mtu":1500,"master":"br-vlan","state":"disabled","priority":32,"cost":2,"hairpin":false,"guard":false,"root_block":false,"fastleave":false,"learning":false,"flood":false,"mcast_flood":true,"bcast_flood":true,"mcast_router":1,"mcast_to_unicast":false,"neigh_suppress":false,"vlan_tunnel":false,"isolated":false,"locked":true}]
"#;

    #[test]
    fn text_and_json_of_the_same_namespace_are_the_same_rows() {
        let text = clean(|gaps| parse(FILE, TEXT, gaps));
        let (json, rows) = clean(|gaps| parse_json(FILE, JSON, gaps));
        assert_eq!(
            rows,
            TEXT.trim_end()
                .split(" \n7")
                .collect::<Vec<_>>()
                .iter()
                .enumerate()
                .map(|(place, block)| {
                    format!("{}{}", if place == 1 { "7" } else { "" }, block.trim().replace(" \n    ", "\\    "))
                })
                .collect::<Vec<_>>()
        );
        assert_eq!(anywhere(text), anywhere(json));
    }

    #[test]
    fn settings_have_the_line_on_which_they_stand() {
        let links = clean(|gaps| parse(FILE, TEXT, gaps));
        let port = links[0].port.as_ref().unwrap();
        assert_eq!((links[0].evidence, port.evidence), (Evidence::line(FILE, 1), Evidence::line(FILE, 2)));
        assert!(port.hairpin && port.isolated && port.state == PortState::Forwarding && port.unmodelled.is_empty());
        let port = links[1].port.as_ref().unwrap();
        assert!(!port.learning && !port.flood && port.state == PortState::Disabled && !links[1].carrier);
        assert_eq!(port.unmodelled, ["locked on"]);
        assert_eq!((&links[1].kind, &links[1].peer_name), (&LinkKind::Plain, &None));
    }

    #[test]
    fn without_details_the_settings_are_a_gap() {
        let text =
            "6: vethc4d6@eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 master cni0 state forwarding priority 32 cost 2 ";
        let (links, gaps) = gappy(|gaps| parse(FILE, text, gaps));
        assert_eq!(links[0].port.as_ref().unwrap().state, PortState::Forwarding);
        assert_eq!(gaps.len(), 1);
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        survives(TEXT, |text| drop(parse(FILE, text, &mut Vec::new())));
        survives(JSON, |text| drop(parse_json(FILE, text, &mut Vec::new())));
    }
}
