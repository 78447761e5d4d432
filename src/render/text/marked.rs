//! A trace with what captures have shown of it: seen, predicted only, or other than predicted.

use std::io::{self, Write};

use crate::correlate::{Difference, Predicted, PredictedHop, State};
use crate::evidence::Files;

use super::Style;
use super::pen::{Margin, Pen, Row};
use super::reference::references;
use super::rows::{Line, Rows};

/// Writes the way that a packet is predicted to take, as `explain` shows it, each device with what was seen there.
pub(in crate::render) fn marked(
    predicted: &Predicted,
    style: Style,
    files: &Files,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut pen = Pen::new(style, out);
    let (shown, devices): (Vec<&PredictedHop>, Vec<&PredictedHop>) =
        predicted.hops.iter().partition(|hop| hop.is_bridged(&predicted.trace));
    let seen = shown.first().map(|hop| hop.step);
    let mut hops = devices.into_iter();
    for line in Rows::of(&predicted.trace, 0, seen, Style { verbose: false, ..style }, files) {
        match line {
            Line::Place(place) => pen.heading(&place)?,
            Line::Underlay(text) => pen.separator(&text)?,
            Line::Row(row) if matches!(row.margin, Margin::Device(_)) => {
                device(&mut pen, row, hops.next(), style, files)?;
            }
            Line::Row(row) => pen.row(&row)?,
        }
    }
    for hop in shown {
        differs(&mut pen, hop, &format!("at {}: ", style.clean(&hop.point)), style, files)?;
    }
    Ok(())
}

fn device(pen: &mut Pen<'_>, row: Row, hop: Option<&PredictedHop>, style: Style, files: &Files) -> io::Result<()> {
    let Some(hop) = hop else { return pen.row(&row) };
    let margin = match &hop.state {
        State::Seen => Margin::Seen,
        State::Unseen => Margin::Unseen,
        State::Differs(_) => Margin::Differs,
    };
    let body = match (&hop.state, hop.is_captured) {
        (State::Unseen, true) => format!("{}, captured here and not seen", row.body),
        _ => row.body,
    };
    pen.row(&Row { margin, body, ..row })?;
    differs(pen, hop, "", style, files)
}

/// In what the packet differs from the predicted one at a hop.
fn differs(pen: &mut Pen<'_>, hop: &PredictedHop, at: &str, style: Style, files: &Files) -> io::Result<()> {
    let State::Differs(differences) = &hop.state else { return Ok(()) };
    for difference in differences {
        let evidence = difference.meaning.as_ref().map(|meaning| references(&meaning.because, style, files));
        let body = format!("{at}{}", style.clean(difference));
        let label = difference.field.to_owned();
        pen.row(&Row { margin: Margin::Differs, label, body, evidence: evidence.unwrap_or_default(), short: None })?;
    }
    Ok(())
}

/// What a difference means, in words; where the model says so stands beside it.
impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, predicted, seen, meaning } = self;
        match meaning {
            Some(meaning) if meaning.is_unchanged => {
                write!(f, "the model says {}, the capture shows the {field} unchanged: {seen}", meaning.word)
            }
            Some(meaning) => {
                write!(f, "the model says {} and {predicted}, the capture shows {seen}", meaning.word)
            }
            None => write!(f, "the model says {predicted}, the capture shows {seen}"),
        }
    }
}
