//! A namespace's rule sets for people.

use std::io::{self, Write};

use super::super::escape::clean;
use super::super::listing::{Listing, RuleListing, RulesetListing, Told};
use super::Style;
use super::end::point;
use super::pen::{Pen, Tone};

/// Writes a listing as text: each rule with its line in the file and its number in the chain.
pub fn listing_text(listing: &Listing, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut pen = Pen::new(style, out);
    let clean = |text: &str| clean(text, style.charset);
    if listing.rulesets.is_empty() {
        pen.heading(&clean(&format!("{} {}: no rule set was collected", listing.node, listing.netns)))?;
    }
    for ruleset in &listing.rulesets {
        pen.heading(&clean(&title(listing, ruleset)))?;
        for table in &ruleset.tables {
            for chain in &table.chains {
                pen.gap()?;
                let policy = if chain.policy == "-" { String::new() } else { format!("  policy {}", chain.policy) };
                let name = clean(&format!("{} {}{policy}", table.name, chain.name));
                pen.paragraph(&format!("{:>7}  ", chain.line), &name, Tone::Plain)?;
                chain.rules.iter().try_for_each(|rule| write_rule(&mut pen, rule, style))?;
            }
        }
        pen.gap()?;
    }
    listing.gaps.iter().try_for_each(|gap| tell(&mut pen, "missing: ", gap, style))
}

/// Something that is missing or not understood, with a caret under its place.
fn tell(pen: &mut Pen<'_>, label: &str, told: &Told, style: Style) -> io::Result<()> {
    pen.paragraph(label, &clean(&told.what, style.charset), Tone::Unsure)?;
    match &told.at {
        Some((line, column)) => point(pen, line, *column, style),
        None => Ok(()),
    }
}

fn title(listing: &Listing, ruleset: &RulesetListing) -> String {
    let rules = || ruleset.tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    let count = |word: &str| rules().filter(|rule| rule.certainty == word).count();
    format!(
        "{} {}, {} {}: {}: {} rules, {} exact, {} that may branch, {} not modelled",
        listing.node,
        listing.netns,
        ruleset.family,
        ruleset.backend,
        ruleset.file,
        rules().count(),
        count("exact"),
        count("branches"),
        count("not-modelled"),
    )
}

fn write_rule(pen: &mut Pen<'_>, rule: &RuleListing, style: Style) -> io::Result<()> {
    let (mark, tone) = match rule.certainty {
        "exact" => (' ', Tone::Plain),
        "branches" => ('~', Tone::Plain),
        _ => ('?', Tone::Unsure),
    };
    pen.paragraph(&format!("{:>7} {:>5} {mark} ", rule.line, rule.index), &clean(&rule.text, style.charset), tone)?;
    rule.unmodelled.iter().try_for_each(|told| tell(pen, "                not modelled: ", told, style))
}
