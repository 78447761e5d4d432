//! What is shown of captured packets: a line, a tree, bytes, JSON, CSV, or the fields that were asked for.
//!
//! Every view writes into a [`Buffer`], so that several threads can each show a part of a capture.

mod buffer;
mod clock;
mod cursor;
mod dns;
mod field;
mod flows;
mod hex;
mod icmp;
mod line;
mod name;
mod rare;
mod record;
mod row;
mod shape;
mod text;
mod told;
mod tree;

pub use buffer::Buffer;
pub use field::{Field, FieldFault, field_list};
pub use flows::{FlowPainter, FlowView};
pub use record::Style as RecordStyle;
pub use told::{AddressNames, PathLeg, Told, comments};

use crate::wire::{Checked, Decoded, Frame, Glance};
use clock::Clock;

/// A packet that is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The packet as captured.
    pub frame: &'a Frame<'a>,
    /// Its headers.
    pub decoded: &'a Decoded<'a>,
    /// The name of the capture point, where it has one.
    pub interface: Option<&'a str>,
    /// What tshark calls the capture point.
    pub label: Option<&'a str>,
    /// What is said of it beside: comments of a pcapng file, and the direction in which it passed.
    pub remarks: &'a [String],
    /// What a snapshot tells of it, where there is one.
    pub told: Option<Told<'a>>,
    /// What its checksums are worth, where that was asked for.
    pub checksums: Option<&'a [Checked]>,
    /// The numbers of the frames that its fragments came in, where fragments are put together; none for a packet that came
    /// whole. The bytes are those of the whole packet then.
    pub fragments: Option<&'a [u64]>,
}

/// What is shown beside what every packet has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// The packet's bytes, where the view is for people.
    pub bytes: bool,
    /// What a snapshot tells.
    pub told: bool,
    /// What checksums are worth.
    pub checksums: bool,
    /// Of which fragments a packet was put together.
    pub fragments: bool,
}

/// Which view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// A line a packet.
    Line,
    /// A line for each header.
    Tree,
    /// A JSON object a packet: on a line each, or joined into one object.
    Json(RecordStyle),
    /// A row of comma-separated values a packet, below a row of names.
    Csv,
    /// The fields that were asked for.
    Fields(Vec<Field>, Columns),
}

/// How fields stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Tabs between them, as tshark prints them.
    Tabs,
    /// Commas between them, and names above.
    Commas,
}

/// Shows packets, one after the other.
#[derive(Clone, Debug)]
pub struct Painter {
    view: View,
    extra: Extra,
    clock: Clock,
    row: row::Row,
}

impl Painter {
    /// Shows packets so.
    #[must_use]
    pub fn new(view: View, extra: Extra) -> Self {
        let row = match &view {
            View::Fields(fields, columns) => row::Row::new(fields, *columns),
            _ => row::Row::new(&[], Columns::Tabs),
        };
        Self { view, extra, clock: Clock::default(), row }
    }

    /// What stands before the first packet.
    pub fn head(&self, out: &mut Buffer) {
        match &self.view {
            View::Json(RecordStyle::Object) => out.words(b"{\n  \"schema\": \"flowtrace/decode/1\",\n  \"packets\": ["),
            View::Csv => record::csv_head(self.extra, out),
            View::Fields(..) => self.row.head(out),
            _ => {}
        }
    }

    /// A packet.
    #[inline]
    pub fn packet(&mut self, shown: &Shown<'_>, out: &mut Buffer) {
        match &self.view {
            View::Fields(..) => self.row.put(shown, &mut self.clock, out),
            View::Json(style) => record::json(shown, *style, &mut self.clock, out),
            View::Csv => record::csv(shown, self.extra, &mut self.clock, out),
            View::Line => line::line(shown, out),
            View::Tree => tree::tree(shown, &mut self.clock, out),
        }
        if self.extra.bytes {
            hex::dump(shown.decoded.bytes, out);
        }
    }

    /// Whether packets of usual headers have a faster way.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        matches!(self.view, View::Fields(_, Columns::Tabs)) && !self.extra.bytes
    }

    /// A packet of usual headers, where [`Self::is_quick`]; false, and nothing is shown, where it takes more than a look at
    /// these.
    #[inline]
    pub(crate) fn usual(&mut self, frame: &Frame<'_>, glance: &Glance<'_>, out: &mut Buffer) -> bool {
        self.row.put_usual(frame, glance, &mut self.clock, out)
    }

    /// How many bytes of the first packet's text separate it from one before it, and are left off.
    #[must_use]
    pub fn separator(&self) -> usize {
        usize::from(self.view == View::Json(RecordStyle::Object))
    }

    /// What stands behind the last packet: what was wrong with the files.
    pub fn tail(&self, notes: &[String], out: &mut Buffer) {
        if self.view == View::Json(RecordStyle::Object) {
            closing(notes, out);
        }
    }
}

/// Ends the list of an object, and the object with what was wrong with the files.
fn closing(notes: &[String], out: &mut Buffer) {
    out.words(b"\n  ],\n  \"notes\": [");
    for (place, note) in notes.iter().enumerate() {
        if place > 0 {
            out.words(b", ");
        }
        text::json_string(note, out);
    }
    out.words(b"]\n}\n");
}
