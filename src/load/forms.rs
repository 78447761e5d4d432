//! The text form and the JSON form of one table, where both stand.

use std::collections::HashMap;
use std::fmt;

use crate::evidence::{Evidence, Gap};
use crate::snapshot::{Addr, BridgeVlan, FdbEntry, Link, Neigh, NextHopObject, PolicyRule, Route, Tun};

/// A row of a table that has both forms. Printing it leaves out where it stands, and nothing else.
pub(super) trait Row: fmt::Display {
    /// Whether no namespace is without such a row (`lo` is a device of each), so that a form without any says nothing.
    const ALWAYS: bool = false;

    /// Where the row stands.
    fn evidence(&self) -> Evidence;

    /// The row as both forms would have it.
    fn common(&self) -> String {
        self.to_string()
    }
}

macro_rules! row {
    ($($name:ident),*) => {
        $(impl Row for $name {
            fn evidence(&self) -> Evidence {
                self.evidence
            }
        })*
    };
}
row!(Addr, BridgeVlan, FdbEntry, Neigh, NextHopObject, PolicyRule, Route, Tun);

impl Row for Link {
    const ALWAYS: bool = true;

    fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// The text calls the peer's namespace by its name where it knows one, the JSON always by number.
    fn common(&self) -> String {
        let elsewhere = self.link_netns.is_some() || self.link_netnsid.is_some();
        Link { link_netns: None, link_netnsid: elsewhere.then_some(0), ..self.clone() }.to_string()
    }
}

/// How many differing rows are shown of each form.
const SHOWN: usize = 3;

/// Says which rows only one of the forms has. `table` is the path of both without its ending.
pub(super) fn compare<T: Row>(table: &str, text: &[&T], json: &[&T], gaps: &mut Vec<Gap>) {
    let (only_text, only_json) = (missing(text, json), missing(json, text));
    if only_text.is_empty() && only_json.is_empty() {
        return;
    }
    let what = format!(
        "{table}.txt and {table}.json differ, and the text counts: {} of its rows are not in the JSON, {} of the JSON's \
         not in the text",
        only_text.len(),
        only_json.len()
    );
    let shown = only_text.iter().take(SHOWN).chain(only_json.iter().take(SHOWN));
    gaps.push(Gap::new(what, shown.copied().collect()));
}

/// Where the rows stand that the other form lacks.
fn missing<T: Row>(rows: &[&T], others: &[&T]) -> Vec<Evidence> {
    let mut there: HashMap<String, u32> = HashMap::new();
    for other in others {
        *there.entry(other.common()).or_default() += 1;
    }
    let mut lacking = Vec::new();
    for row in rows {
        match there.get_mut(&row.common()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => lacking.push(row.evidence()),
        }
    }
    lacking
}
