//! Layer 4: what a person or a program sees of an [`Answer`]. One file a format; none of them decides anything, and
//! none of them sees the snapshot.

mod advice;
mod correlate;
mod cycle;
pub mod decode;
mod dot;
mod escape;
mod fault;
mod graph;
mod json;
mod lines;
mod listing;
mod mermaid;
mod missing;
mod schema;
mod text;
mod wrapped;

use std::net::{IpAddr, SocketAddr};

use crate::evidence::Files;
use crate::net::NetnsId;
use crate::trace::{Answer, Finding, Sighting, Spot};

pub use correlate::{Correlation, Forecast, Foreseen, JourneyLine, JourneyText, correlation_json, correlation_text};
pub use dot::dot;
pub use escape::{Charset, clean};
pub use json::{json, json_line};
pub use listing::{ChainListing, Listing, RuleListing, RulesetListing, TableListing, Told, listing_json};
pub use mermaid::mermaid;
pub use schema::{outputs_schema, schema};
pub use text::{Style, Width, listing_text, sighting_line, text};
pub use wrapped::wrapped;

/// What is to be shown: the answer, the question as it was typed, and the files that the answer points into.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// FROM as typed.
    pub from: &'a str,
    /// TO as typed.
    pub to: &'a str,
    /// The namespace of the pod or node that TO names; `None` where it names an address or a service.
    pub target: Option<NetnsId>,
    /// What the walk found.
    pub answer: &'a Answer,
    /// What is worth knowing beyond it.
    pub findings: &'a [Finding],
    /// The snapshot's files.
    pub files: &'a Files,
    /// The captured packet that it is about, where it is about one.
    pub sighting: Option<&'a Sighting>,
}

impl View<'_> {
    /// Where the captured packet was seen on a path.
    fn spot(&self, place: usize) -> Option<Spot> {
        self.sighting.and_then(|sighting| sighting.spots.get(place)).copied()
    }
}

/// An address with a port, the way `iptables` and URLs write it; the address alone where there is no port.
fn endpoint(address: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}
