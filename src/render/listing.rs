//! A namespace's rule sets as they were loaded, for people and for programs.

use std::io::{self, Write};

use serde::Serialize;

use super::escape::clean_json;

/// The name and version of the JSON form.
pub(super) const SCHEMA: &str = "flowtrace/rules/1";

/// What `flowtrace rules` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// The node.
    pub node: String,
    /// `host`, or `pod:NAMESPACE/NAME`.
    pub netns: String,
    /// Its rule sets.
    pub rulesets: Vec<RulesetListing>,
    /// What is missing or could not be read.
    pub gaps: Vec<Told>,
}

/// One rule set.
#[derive(Clone, Debug, Serialize)]
pub struct RulesetListing {
    /// `ip`, `ip6`, `inet`, …
    pub family: &'static str,
    /// `nft` or `legacy` under iptables, `native` for nft's own tables.
    pub backend: &'static str,
    /// The file that holds it.
    pub file: String,
    /// Its tables.
    pub tables: Vec<TableListing>,
}

/// A table.
#[derive(Clone, Debug, Serialize)]
pub struct TableListing {
    /// Its name.
    pub name: String,
    /// Its chains.
    pub chains: Vec<ChainListing>,
}

/// A chain.
#[derive(Clone, Debug, Serialize)]
pub struct ChainListing {
    /// Its name.
    pub name: String,
    /// `ACCEPT`, `DROP`, `-` for a chain that packets come to by a jump, `?` where the file doesn't say.
    pub policy: &'static str,
    /// The line that declares it.
    pub line: u32,
    /// Its rules.
    pub rules: Vec<RuleListing>,
}

/// A rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleListing {
    /// Its place in the chain, from 1.
    pub index: u32,
    /// Its line in the file.
    pub line: u32,
    /// The rule, without the chain's name.
    pub text: String,
    /// `exact`, `branches` or `not-modelled`.
    pub certainty: &'static str,
    /// What is not understood, and why.
    pub unmodelled: Vec<Told>,
}

/// Something that is missing or not understood. In JSON only its words.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Told {
    /// What, in words.
    pub what: String,
    /// The line that holds it, and where in it, in characters from 1.
    #[serde(skip)]
    pub at: Option<(String, u32)>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    listing: &'a Listing,
}

/// Writes a listing as JSON.
pub fn listing_json(listing: &Listing, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(&Document { schema: SCHEMA, listing }).map_err(io::Error::other)?;
    writeln!(out, "{}", clean_json(&text))
}
