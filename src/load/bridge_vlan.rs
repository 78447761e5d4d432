//! VLANs of bridge ports: `bridge vlan show`, also with `-c` and `-d` (iproute2's `bridge/vlan.c`).

use super::json::{self, Fields, Objects, Row};
use super::lines::{self, Notes, Reading, Words};
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::IfName;
use crate::snapshot::BridgeVlan;

const TOOL: &str = "`bridge vlan show`";
const ROW: &str = "a port's VLAN (`device number [PVID] [Egress Untagged]`)";

/// Reads the text form. A range of VLANs (`2-5`) makes a row for each, with the same evidence.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<BridgeVlan> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut words = Vec::new();
    let mut rows = Vec::new();
    let mut dev: Option<IfName> = None;
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        if !lines::split(line, &mut words) {
            notes.too_long(evidence);
            continue;
        }
        let vlans = match words.as_slice() {
            ["port", "vlan-id" | "vlan", ..] => continue,
            // The details of the VLAN above.
            ["state", ..] => &words,
            [name, vlans @ ..] if !line.starts_with([' ', '\t']) => {
                dev = Some(IfName::new(name));
                vlans
            }
            vlans => vlans,
        };
        match &dev {
            Some(dev) => port_vlan(dev, vlans, &mut rows, (&mut notes, evidence)),
            None => notes.expected(evidence, ROW, line),
        }
    }
    rows
}

/// Reads the JSON form; also gives each row in the text form's syntax. A row's place counts the VLANs of all ports.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<BridgeVlan>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    let mut index = 0;
    while let Some((evidence, port)) = objects.next(&mut notes) {
        let Some(dev) = port.scalar("ifname").map(|name| IfName::new(&name)) else {
            notes.expected(evidence, "a port (`ifname`)", "an object without it");
            continue;
        };
        for raw in port.list("vlans") {
            let Some(vlan) = json::object(raw) else { continue };
            let evidence = Evidence::object(file, objects.line_of(raw), index);
            index += 1;
            let row = words_of(&vlan);
            texts.push(format!("{:<16}  {row}", dev.as_str().escape_debug().to_string()));
            port_vlan(&dev, &row.words(), &mut rows, (&mut notes, evidence));
        }
    }
    (rows, texts)
}

/// Reads what stands behind a port's name.
fn port_vlan(dev: &IfName, all: &[&str], rows: &mut Vec<BridgeVlan>, (notes, evidence): (&mut Notes<'_>, Evidence)) {
    let mut words = Words::new(all);
    let range = match words.peek() {
        // Nothing behind a name alone, or the word for it; or the details of the VLAN above.
        None | Some("None" | "state") => None,
        Some(word) => match range(word) {
            Some(range) => {
                words.next();
                Some(range)
            }
            None => return notes.expected(evidence, ROW, &all.join(" ")),
        },
    };
    let mut pvid = false;
    let mut untagged = false;
    lines::options(&mut words, (notes, evidence), |word, words| {
        match word {
            "None" => {}
            "PVID" => pvid = true,
            "Egress" => untagged |= words.take("Untagged").then_some(true)?,
            "state" => words.take("forwarding").then_some(())?,
            "mcast_router" | "mcast_n_groups" | "mcast_max_groups" => words.pass(1)?,
            "neigh_suppress" | "neigh_forward_grat" => words.take("off").then_some(())?,
            _ => return None,
        }
        Some(Reading::Understood)
    });
    for vid in range.into_iter().flatten() {
        rows.push(BridgeVlan { dev: dev.clone(), vid, pvid, untagged, evidence });
    }
}

/// `2-5`, or a VLAN alone.
fn range(word: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (start, end) = word.split_once('-').unwrap_or((word, word));
    let (start, end): (u16, u16) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end && end < 4096).then_some(start..=end)
}

/// A VLAN's words, in the order of the text form.
fn words_of(vlan: &Fields<'_>) -> Row {
    let mut row = Row::default();
    let part = |key| vlan.scalar(key).map(String::from);
    row.0.extend(part("vlan").map(|start| match part("vlanEnd") {
        Some(end) => format!("{start}-{end}"),
        None => start,
    }));
    for (key, raw) in &vlan.0 {
        match &**key {
            "vlan" | "vlanEnd" => {}
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

    const TEXT: &str = "\
port              vlan-id  
vethc4d6          1 PVID Egress Untagged
                  10-12
eth1              20 PVID
br0               1 PVID Egress Untagged
                  5 Egress Untagged
";
    const JSON: &str = r#"[{"ifname":"vethc4d6","vlans":[{"vlan":1,"flags":["PVID","Egress Untagged"]},{"vlan":10,"vlanEnd":12}]},
{"ifname":"eth1","vlans":[{"vlan":20,"flags":["PVID"]}]},{"ifname":"br0","vlans":[{"vlan":1,"flags":["PVID","Egress Untagged"]},{"vlan":5,"flags":["Egress Untagged"]}]}]
"#;

    fn printed(rows: &[BridgeVlan]) -> Vec<String> {
        rows.iter().map(|row| row.to_string().split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn text_and_json_of_the_same_namespace_are_the_same_rows() {
        let text = clean(|gaps| parse(FILE, TEXT, gaps));
        let (json, rows) = clean(|gaps| parse_json(FILE, JSON, gaps));
        assert_eq!(
            printed(&text),
            [
                "vethc4d6 1 PVID Egress Untagged",
                "vethc4d6 10",
                "vethc4d6 11",
                "vethc4d6 12",
                "eth1 20 PVID",
                "br0 1 PVID Egress Untagged",
                "br0 5 Egress Untagged",
            ]
        );
        assert_eq!(rows[1], "vethc4d6          10-12");
        assert_eq!(json[4].evidence, Evidence::object(FILE, 2, 2));
        assert_eq!(anywhere(text), anywhere(json));
    }

    #[test]
    fn the_old_form_with_a_line_for_each_vlan_is_read() {
        let text =
            "port\tvlan ids\neth0\t 1 PVID Egress Untagged\n\t 2\n\ndocker0\tNone\nbr0\t 1 PVID Egress Untagged\n\n";
        assert_eq!(
            printed(&clean(|gaps| parse(FILE, text, gaps))),
            ["eth0 1 PVID Egress Untagged", "eth0 2", "br0 1 PVID Egress Untagged"]
        );
    }

    #[test]
    fn details_are_passed_over_unless_they_stop_packets() {
        let text = "port              vlan-id\neth0              1 PVID\n                    state forwarding mcast_router 1 neigh_suppress off\n";
        assert_eq!(clean(|gaps| parse(FILE, text, gaps)).len(), 1);
        let (_, gaps) = gappy(|gaps| parse(FILE, &text.replace("forwarding", "blocking"), gaps));
        assert_eq!(gaps, [(3, "`state blocking` is not understood".into())]);
    }

    #[test]
    fn what_is_no_vlan_is_a_gap() {
        let (rows, gaps) = gappy(|gaps| parse(FILE, "   5\neth0  4096\neth0 5-1\neth0  7 frob", gaps));
        assert_eq!((rows.len(), gaps.len()), (1, 4));
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        survives(TEXT, |text| drop(parse(FILE, text, &mut Vec::new())));
        survives(JSON, |text| drop(parse_json(FILE, text, &mut Vec::new())));
    }

    proptest! {
        #[test]
        fn a_printed_vlan_reads_back(dev in "[a-z][a-z0-9._@-]{0,14}", vid in 1u16..4095, pvid: bool, untagged: bool) {
            let vlan = BridgeVlan { dev: IfName::new(&dev), vid, pvid, untagged, evidence: Evidence::line(FILE, 1) };
            let printed = vlan.to_string();
            prop_assert_eq!(clean(|gaps| parse(FILE, &printed, gaps)), vec![vlan], "{}", printed);
        }
    }
}
