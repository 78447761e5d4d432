//! `nfacct list`, as `nfacct_snprintf` of libnetfilter_acct prints it.

use std::collections::BTreeMap;

use super::lines::{Notes, lines};
use crate::evidence::{Evidence, FileId, Gap};
use crate::snapshot::{AcctObject, AcctQuota};

/// Reads the lines: `{ pkts = 00000000000000000001, bytes = 00000000000000000060 } = name;`.
pub(super) fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> BTreeMap<String, AcctObject> {
    let mut notes = Notes::new(file, "`nfacct list`", gaps);
    let mut objects = BTreeMap::new();
    for (number, line) in lines(text) {
        let evidence = notes.line(number);
        match object(line.trim(), evidence) {
            Some((name, object)) => drop(objects.insert(name.to_owned(), object)),
            None => notes.expected(evidence, "`{ pkts = N, bytes = N } = NAME;`", line),
        }
    }
    objects
}

fn object(line: &str, evidence: Evidence) -> Option<(&str, AcctObject)> {
    let (fields, name) = line.strip_prefix("{ ")?.split_once(" } = ")?;
    let name = name.strip_suffix(';').filter(|name| !name.is_empty())?;
    let mut fields = fields.split(", ").map(|field| field.split_once(" = "));
    let mut next = |wanted: &str| fields.next().flatten().filter(|(key, _)| *key == wanted).map(|(_, value)| value);
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (packets, bytes) = (number(next("pkts")?)?, number(next("bytes")?)?);
    let quota = match next("quota") {
        None => None,
        Some(quota) => match next("mode")? {
            "byte" => Some(AcctQuota::Bytes(number(quota)?)),
            "packet" => Some(AcctQuota::Packets(number(quota)?)),
            _ => return None,
        },
    };
    Some((name, AcctObject { packets, bytes, quota, evidence }))
}

#[cfg(test)]
mod tests {
    use super::super::check::{FILE, clean, gappy, survives};
    use super::*;

    /// What nfacct 1.0.2 printed.
    const LIST: &str = "{ pkts = 00000000000000000000, bytes = 00000000000000000000 } = test;\n\
        { pkts = 00000000000000000002, bytes = 00000000000000000940, quota = 00000000000000001000, mode = byte, overquota = no } = q;\n\
        { pkts = 00000000000000000003, bytes = 00000000000000000168, quota = 00000000000000000003, mode = packet, overquota = yes } = p;\n";

    #[test]
    fn objects_are_read_with_their_quotas() {
        let objects = clean(|gaps| parse(FILE, LIST, gaps));
        let quota = |name: &str| objects[name].quota;
        assert_eq!(
            [quota("test"), quota("q"), quota("p")],
            [None, Some(AcctQuota::Bytes(1000)), Some(AcctQuota::Packets(3))]
        );
        assert_eq!((objects["q"].packets, objects["q"].bytes, objects["q"].evidence.line), (2, 940, 2));
        // The packet that just uses a quota up doesn't exceed it.
        assert!(objects["test"].matches(1, 60) && objects["p"].matches(1, 1));
        assert!(objects["q"].matches(1, 61) && !objects["q"].matches(1, 60));
        assert!(objects["q"].matches(2, 60));
    }

    #[test]
    fn what_is_no_object_is_a_gap() {
        let (objects, said) =
            gappy(|gaps| parse(FILE, "{ pkts = 1, bytes = x } = a;\n{ pkts = 1, bytes = 2 } = b;\n", gaps));
        assert_eq!(objects.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(said.len(), 1);
        survives(LIST, |text| drop(parse(FILE, text, &mut Vec::new())));
    }
}
