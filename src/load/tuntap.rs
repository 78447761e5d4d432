//! TUN and TAP devices: `ip -d tuntap show` (`print_tuntap()` of iproute2's `ip/iptuntap.c`).

use super::json::{self, Fields, Objects};
use super::lines::{self, Notes, Reading, Words};
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::IfName;
use crate::snapshot::Tun;

const TOOL: &str = "`ip tuntap show`";
const ROW: &str = "a device (`name: tun …` or `name: tap …`)";
/// What stands before the programs, on a line of its own.
const ATTACHED: &str = "Attached to processes:";

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<Tun> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut rows: Vec<Tun> = Vec::new();
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        for piece in lines::pieces(line) {
            match (piece.trim().strip_prefix(ATTACHED), rows.last_mut()) {
                (Some(programs), Some(tun)) => {
                    let programs = programs.trim();
                    tun.attached = (!programs.is_empty()).then(|| programs.to_owned());
                }
                (Some(_), None) => notes.expected(evidence, ROW, piece),
                (None, _) => rows.extend(tun(piece, &mut notes, evidence)),
            }
        }
    }
    rows
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<Tun>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    while let Some((evidence, fields)) = objects.next(&mut notes) {
        let (device, programs) = words_of(&fields);
        let row = tun(&device, &mut notes, evidence).map(|tun| Tun { attached: programs, ..tun });
        json::set_text(&mut texts, evidence, &row.as_ref().map_or(device, Tun::to_string));
        rows.extend(row);
    }
    (rows, texts)
}

fn tun(line: &str, notes: &mut Notes<'_>, evidence: Evidence) -> Option<Tun> {
    let mut all = Vec::new();
    if !lines::split(line, &mut all) {
        notes.too_long(evidence);
        return None;
    }
    let mut words = Words::new(&all);
    let dev = words.next().and_then(|word| word.strip_suffix(':'));
    let mut tap = None;
    lines::options(&mut words, (&mut *notes, evidence), |word, words| {
        match word {
            "tun" => tap = Some(false),
            "tap" => tap = Some(true),
            // How programs read and write the device.
            "pi" | "one_queue" | "multi_queue" | "vnet_hdr" | "persist" | "filter" => {}
            "user" | "group" => words.pass(1)?,
            _ if word.starts_with("0x") => {}
            _ => return None,
        }
        Some(Reading::Understood)
    });
    let (Some(dev), Some(tap)) = (dev, tap) else {
        notes.expected(evidence, ROW, line);
        return None;
    };
    Some(Tun { dev: IfName::new(dev), tap, attached: None, evidence })
}

/// An object's row, and the programs behind the device.
fn words_of(fields: &Fields<'_>) -> (String, Option<String>) {
    let mut row = json::Row::default();
    row.word(format!("{}:", fields.scalar("ifname").unwrap_or_default()));
    for (key, raw) in fields.0.iter().filter(|(key, _)| !matches!(&**key, "ifname" | "processes")) {
        row.field(key, raw);
    }
    let programs = fields.list("processes").into_iter().filter_map(json::object).map(|program| {
        let part = |key| program.scalar(key).unwrap_or_default();
        format!("{}({})", part("name"), part("pid"))
    });
    let programs: String = programs.collect();
    (row.to_string(), (!programs.is_empty()).then_some(programs))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::{FILE, anywhere, clean, gappy, survives};
    use super::*;

    const TEXT: &str = "\
flannel0: tun
\tAttached to processes:flanneld(4711)flanneld(4712)
tap0: tap multi_queue persist user 1000 group 5
\tAttached to processes:
tun7: tun pi filter
\tAttached to processes: openvpn(88)
";
    const JSON: &str = r#"[{"ifname":"flannel0","flags":["tun"],"processes":[{"name":"flanneld","pid":4711},{"name":"flanneld","pid":4712}]},{"ifname":"tap0","flags":["tap","multi_queue","persist"],"user":1000,"group":5,"processes":[]},{"ifname":"tun7","flags":["tun","pi","filter"],"processes":[{"name":"openvpn","pid":88}]}]
"#;

    #[test]
    fn text_and_json_of_the_same_namespace_are_the_same_rows() {
        let text = clean(|gaps| parse(FILE, TEXT, gaps));
        let (json, rows) = clean(|gaps| parse_json(FILE, JSON, gaps));
        assert_eq!(rows[0], "flannel0: tun\\\tAttached to processes:flanneld(4711)flanneld(4712)");
        assert_eq!(anywhere(text), anywhere(json));
    }

    #[test]
    fn programs_behind_a_device_are_kept_as_printed() {
        let tuns = clean(|gaps| parse(FILE, TEXT, gaps));
        assert_eq!(tuns.iter().map(|tun| tun.tap).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(tuns[0].attached.as_deref(), Some("flanneld(4711)flanneld(4712)"));
        assert_eq!((tuns[1].attached.as_deref(), tuns[2].attached.as_deref()), (None, Some("openvpn(88)")));
        assert_eq!(tuns[1].evidence, Evidence::line(FILE, 3));
    }

    #[test]
    fn what_is_no_device_is_a_gap() {
        let (tuns, gaps) =
            gappy(|gaps| parse(FILE, "\tAttached to processes:x(1)\ntun0\ntun1: frob\ntun2: tun frob", gaps));
        assert_eq!(tuns.len(), 1);
        assert_eq!(gaps.len(), 5);
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        survives(TEXT, |text| drop(parse(FILE, text, &mut Vec::new())));
        survives(JSON, |text| drop(parse_json(FILE, text, &mut Vec::new())));
    }

    proptest! {
        #[test]
        fn a_printed_device_reads_back(
            dev in "[a-z][a-z0-9._@-]{0,14}", tap: bool, attached in proptest::option::of("([a-z]{1,15}\\([0-9]{1,6}\\)){1,3}"),
        ) {
            let tun = Tun { dev: IfName::new(&dev), tap, attached, evidence: Evidence::line(FILE, 1) };
            let printed = tun.to_string();
            prop_assert_eq!(clean(|gaps| parse(FILE, &printed, gaps)), vec![tun], "{}", printed);
        }
    }
}
