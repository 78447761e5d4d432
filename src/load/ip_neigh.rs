//! Neighbours: `ip neigh show`, also with `-s` (`print_neigh()` of iproute2's `ip/ipneigh.c`).

use std::net::{AddrParseError, IpAddr};

use super::json::{self, Fields, Objects, Row};
use super::lines::{self, Notes, Reading, Shared, Words};
use crate::evidence::{Evidence, FileId, Gap};
use crate::net::MacAddr;
use crate::snapshot::{Neigh, NeighState};

const TOOL: &str = "`ip neigh show`";
const ROW: &str = "a neighbour (`address dev device [lladdr address] state`)";

/// Reads the text form.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Vec<Neigh> {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut words = Vec::new();
    let mut rows = Vec::new();
    let mut shared = Shared::default();
    for (number, line) in lines::lines(text) {
        let evidence = notes.line(number);
        if lines::split(line, &mut words) {
            rows.extend(neigh(&words, &mut shared, &mut notes, evidence));
        } else {
            notes.too_long(evidence);
        }
    }
    rows
}

/// Reads the JSON form; also gives each object's row in the text form's syntax.
#[must_use]
pub fn parse_json(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> (Vec<Neigh>, Vec<String>) {
    let mut notes = Notes::new(file, TOOL, gaps);
    let mut objects = Objects::new(file, text);
    let mut rows = Vec::new();
    let mut texts = Vec::new();
    let mut shared = Shared::default();
    while let Some((evidence, fields)) = objects.next(&mut notes) {
        let row = words_of(&fields);
        json::set_text(&mut texts, evidence, &row);
        rows.extend(neigh(&row.words(), &mut shared, &mut notes, evidence));
    }
    (rows, texts)
}

fn neigh(all: &[&str], shared: &mut Shared, notes: &mut Notes<'_>, evidence: Evidence) -> Option<Neigh> {
    let mut words = Words::new(all);
    let address: Option<IpAddr> = words.value();
    let mut dev = None;
    let mut lladdr = None;
    let mut state = NeighState::None;
    let mut proxy = false;
    // Half an address or state is not to be taken for none.
    let mut garbled = false;
    let unknown = lines::options(&mut words, (&mut *notes, evidence), |word, words| {
        match word {
            "dev" => dev = Some(shared.device(words.next()?)),
            "lladdr" => {
                let address = link_address(words.next().unwrap_or_default());
                garbled |= address.is_err();
                lladdr = address.ok()?;
            }
            "proxy" => proxy = true,
            // What the neighbour is or who told about it; when it was used.
            "router" | "managed" | "extern_learn" | "extern_valid" | "offload" => {}
            "ref" | "probes" | "proto" => words.pass(1)?,
            "used" => {
                // Some versions print no space before `probes`.
                let glued = words.next()?.ends_with("probes");
                words.pass(usize::from(glued))?;
            }
            word => state = neigh_state(word)?,
        }
        Some(Reading::Understood)
    });
    garbled |= state == NeighState::None && !unknown.is_empty();
    let (Some(address), Some(dev)) = (address, dev) else {
        notes.expected(evidence, ROW, &all.join(" "));
        return None;
    };
    if garbled {
        notes.lose(evidence);
        return None;
    }
    Some(Neigh { address, dev, lladdr, state, proxy, evidence })
}

/// An Ethernet address. Tunnels print their remote end in its place, which is none.
fn link_address(word: &str) -> Result<Option<MacAddr>, AddrParseError> {
    match word.parse() {
        Ok(address) => Ok(Some(address)),
        Err(()) => word.parse::<IpAddr>().map(|_| None),
    }
}

fn neigh_state(word: &str) -> Option<NeighState> {
    use NeighState::{Delay, Failed, Incomplete, Noarp, None, Permanent, Probe, Reachable, Stale};
    let states = [Permanent, Noarp, Reachable, Stale, Delay, Probe, Incomplete, Failed, None];
    states.into_iter().find(|state| state.as_str() == word)
}

/// An object's words, in the order of the text form.
fn words_of(fields: &Fields<'_>) -> Row {
    let mut row = Row::default();
    row.0.extend(fields.scalar("dst").map(String::from));
    for (key, raw) in &fields.0 {
        match &**key {
            "dst" | "confirmed" | "updated" => {}
            "refcnt" => row.field("ref", raw),
            "protocol" => row.field("proto", raw),
            "used" => {
                let times: Vec<_> =
                    ["used", "confirmed", "updated"].iter().filter_map(|key| fields.scalar(key)).collect();
                row.word("used");
                row.word(times.join("/"));
            }
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
    use crate::net::IfName;

    /// `ip neigh show`, then a row of `ip neigh show proxy`.
    const TEXT: &str = "\
192.0.2.14 dev eth0 lladdr 5a:00:00:00:00:04 STALE 
192.0.2.17 dev eth0 lladdr 5a:00:00:00:00:07 STALE proto zebra 
192.0.2.99 dev eth0 FAILED 
10.244.1.5 dev cni0 lladdr 4e:7d:c9:8a:63:f7 REACHABLE 
192.0.2.15 dev eth0 lladdr 5a:00:00:00:00:05 router extern_learn STALE 
10.244.2.0 dev flannel.1 lladdr 5a:00:00:00:00:12 PERMANENT 
2001:db8:1::15 dev eth0 lladdr 5a:00:00:00:00:05 router REACHABLE 
192.0.2.77 dev eth0 proxy 
";
    const JSON: &str = r#"[{"dst":"192.0.2.14","dev":"eth0","lladdr":"5a:00:00:00:00:04","state":["STALE"]},{"dst":"192.0.2.17","dev":"eth0","lladdr":"5a:00:00:00:00:07","state":["STALE"],"protocol":"zebra"},{"dst":"192.0.2.99","dev":"eth0","state":["FAILED"]},{"dst":"10.244.1.5","dev":"cni0","lladdr":"4e:7d:c9:8a:63:f7","state":["REACHABLE"]},{"dst":"192.0.2.15","dev":"eth0","lladdr":"5a:00:00:00:00:05","router":null,"extern_learn":null,"state":["STALE"]},{"dst":"10.244.2.0","dev":"flannel.1","lladdr":"5a:00:00:00:00:12","state":["PERMANENT"]},{"dst":"2001:db8:1::15","dev":"eth0","lladdr":"5a:00:00:00:00:05","router":null,"state":["REACHABLE"]}]
[{"dst":"192.0.2.77","dev":"eth0","proxy":null}]
"#;

    #[test]
    fn text_and_json_of_the_same_namespace_are_the_same_rows() {
        let text = clean(|gaps| parse(FILE, TEXT, gaps));
        let (json, rows) = clean(|gaps| parse_json(FILE, JSON, gaps));
        assert_eq!(rows, TEXT.lines().map(str::trim_end).collect::<Vec<_>>());
        assert_eq!(json[7].evidence, Evidence::object(FILE, 2, 7));
        assert_eq!(anywhere(text), anywhere(json));
    }

    #[test]
    fn statistics_change_nothing() {
        let text = "\
10.244.1.5 dev cni0 lladdr 4e:7d:c9:8a:63:f7  ref 1 used 1/61/1probes 0 DELAY 
172.16.1.20 dev eth0 lladdr 00:15:5d:b7:25:11 used 48/43/2 probes 1 STALE
192.0.2.99 dev eth0  used 25/85/21 probes 6 FAILED";
        let json = r#"[{"dst":"10.244.1.5","dev":"cni0","lladdr":"4e:7d:c9:8a:63:f7","refcnt":1,"used":19,"confirmed":19,"updated":19,"probes":1,"state":["REACHABLE"]}]"#;
        let states: Vec<_> = clean(|gaps| parse(FILE, text, gaps)).iter().map(|neigh| neigh.state).collect();
        assert_eq!(states, [NeighState::Delay, NeighState::Stale, NeighState::Failed]);
        let (json, rows) = clean(|gaps| parse_json(FILE, json, gaps));
        assert_eq!(json[0].state, NeighState::Reachable);
        assert_eq!(rows, ["10.244.1.5 dev cni0 lladdr 4e:7d:c9:8a:63:f7 ref 1 used 19/19/19 probes 1 REACHABLE"]);
    }

    #[test]
    fn states_and_proxies_are_told_apart() {
        let neighs = clean(|gaps| parse(FILE, TEXT, gaps));
        assert_eq!((neighs[2].state, neighs[2].lladdr), (NeighState::Failed, None));
        assert_eq!((neighs[7].state, neighs[7].proxy), (NeighState::None, true));
        assert!(neighs[5].state.is_valid());
    }

    #[test]
    fn a_tunnel_s_neighbour_has_no_ethernet_address() {
        assert_eq!(clean(|gaps| parse(FILE, "192.0.2.1 dev gre1 lladdr 198.51.100.1 NOARP", gaps))[0].lladdr, None);
    }

    #[test]
    fn half_a_row_is_a_gap_and_no_neighbour() {
        let text = "192.0.2.14 dev eth0 lladdr 5a:00:00:00:00 STALE\n192.0.2.14 dev eth0 REACH\n192.0.2 dev eth0\n192.0.2.1 STALE";
        let (neighs, gaps) = gappy(|gaps| parse(FILE, text, gaps));
        assert!(neighs.is_empty());
        assert_eq!(gaps.iter().map(|gap| gap.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_new_flag_is_a_gap_and_the_neighbour_stays() {
        let (neighs, gaps) = gappy(|gaps| parse(FILE, "192.0.2.14 dev eth0 lladdr 5a:00:00:00:00:01 frob STALE", gaps));
        assert_eq!((neighs.len(), gaps), (1, vec![(1, "`frob` is not understood".into())]));
    }

    #[test]
    fn truncated_and_changed_files_never_panic() {
        survives(TEXT, |text| drop(parse(FILE, text, &mut Vec::new())));
        survives(JSON, |text| drop(parse_json(FILE, text, &mut Vec::new())));
    }

    prop_compose! {
        fn any_neigh()(
            address in any::<IpAddr>(), dev in "[a-z][a-z0-9._@-]{0,14}", lladdr in proptest::option::of(any::<[u8; 6]>()),
            state in 0usize..9, proxy in any::<bool>(),
        ) -> Neigh {
            let states = ["PERMANENT", "NOARP", "REACHABLE", "STALE", "DELAY", "PROBE", "INCOMPLETE", "FAILED", "NONE"];
            let state = neigh_state(states[state]).unwrap();
            let evidence = Evidence::line(FILE, 1);
            Neigh { address, dev: IfName::new(&dev), lladdr: lladdr.map(MacAddr), state, proxy, evidence }
        }
    }

    proptest! {
        #[test]
        fn a_printed_neighbour_reads_back(neigh in any_neigh()) {
            let printed = neigh.to_string();
            prop_assert_eq!(clean(|gaps| parse(FILE, &printed, gaps)), vec![neigh], "{}", printed);
        }
    }
}
