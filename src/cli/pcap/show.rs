//! Shows packets of a capture as they come.

use std::io::{self, Write};
use std::path::Path;

use crate::diagnose;
use crate::error::Error;
use crate::render::{self, Style, View};
use crate::retrace::Retraced;
use crate::snapshot::Snapshot;
use crate::trace::{Answer, Place, Sighting};

use super::super::args::{Explain, Format};
use super::super::packed::Packed;
use super::super::{exit, explain, output, unread};
use super::read::{Reading, Subject, counted, listed};
use super::worse;

/// Whether all paths are of one packet that was sent: what one point can't tell apart was sent to several addresses.
fn is_one_question(answer: &Answer) -> bool {
    let sent =
        |path: &crate::trace::Path| path.forward.steps.first().map(|step| step.packet.innermost().ip.destination);
    answer.paths.iter().all(|path| sent(path) == Some(answer.request.innermost().ip.destination))
}

/// Where packets are shown, and how.
pub(super) struct Show<'a> {
    typed: &'a Explain,
    snapshot: &'a Snapshot,
    file: String,
    style: Style,
    out: Option<Packed>,
    is_whole: bool,
    code: u8,
    shown: u64,
    odd: u64,
    /// Whoever read along has seen enough.
    is_closed: bool,
}

impl<'a> Show<'a> {
    pub(super) fn new(typed: &'a Explain, snapshot: &'a Snapshot, file: &Path) -> Self {
        let style = Style { verbose: typed.verbose, ..explain::style(typed.color, typed.ascii, &typed.written) };
        Self {
            typed,
            snapshot,
            file: file.display().to_string(),
            style,
            out: None,
            is_whole: typed.verbose,
            code: exit::ARRIVES,
            shown: 0,
            odd: 0,
            is_closed: false,
        }
    }

    /// Packets are shown with their paths.
    pub(super) fn whole(&mut self) {
        self.is_whole = true;
    }

    /// Shows a packet, and how many are like it.
    pub(super) fn packet(&mut self, subject: &Subject, count: u64, retraced: &Retraced) -> Result<(), Error> {
        self.odd += u64::from(!retraced.odd.is_empty()) * count;
        if self.typed.only_odd && retraced.odd.is_empty() {
            return Ok(());
        }
        let sighting = self.sighting(subject, count, retraced);
        let mut answer = retraced.answer.clone();
        answer.gaps.extend(unread::on_the_way(self.snapshot, &answer));
        let findings = if is_one_question(&answer) { diagnose::findings(self.snapshot, &answer) } else { Vec::new() };
        self.code = worse(self.code, exit::code(&answer));
        let view = View {
            from: &retraced.from,
            to: &retraced.to,
            target: None,
            answer: &answer,
            findings: &findings,
            files: &self.snapshot.files,
            sighting: Some(&sighting),
        };
        let mut bytes = Vec::new();
        self.write(&view, &mut bytes).map_err(|err| Error::Usage(format!("the answer can't be written: {err}")))?;
        self.shown += 1;
        self.put(&bytes)
    }

    fn write(&self, view: &View<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        match self.typed.output {
            Format::Json => render::json(view, out),
            Format::Jsonl => render::json_line(view, out),
            Format::Dot => render::dot(view, out),
            Format::Mermaid => render::mermaid(view, out),
            Format::Text | Format::Html if self.is_whole => {
                if self.shown > 0 {
                    writeln!(out)?;
                }
                render::text(view, self.style, out)
            }
            Format::Text | Format::Html => render::sighting_line(view, self.style, out),
        }
    }

    fn sighting(&self, subject: &Subject, count: u64, retraced: &Retraced) -> Sighting {
        let netns = self.snapshot.netns(subject.point.netns);
        Sighting {
            file: self.file.clone(),
            number: subject.number,
            count,
            place: Place {
                netns: subject.point.netns,
                node: netns.node.clone(),
                name: netns.name.clone(),
                device: Some(subject.point.device.clone()),
            },
            way: retraced.way,
            role: retraced.role,
            established: subject.standing.is_established,
            packet: subject.captured.packet.clone(),
            spots: retraced.spots.clone(),
            is_whole: retraced.is_whole,
            odd: retraced.odd.clone(),
            notes: subject.notes.iter().chain(&retraced.notes).cloned().collect(),
        }
    }

    /// Ends the output; the exit code.
    pub(super) fn finish(&mut self, reading: &Reading<'_>) -> Result<u8, Error> {
        if self.typed.output == Format::Text && !self.is_whole {
            let what = if self.typed.per == super::Per::Flow { "flow" } else { "packet" };
            let odd =
                if self.odd == 0 { "none odd".to_owned() } else { format!("{} odd", counted(self.odd, "packet")) };
            let mut line =
                format!("{}; {} shown, {odd}", counted(reading.packets, "packet"), counted(self.shown, what));
            if !reading.left_out.is_empty() {
                line.push_str("; left out: ");
                line.push_str(&listed(&reading.left_out));
            }
            self.put(format!("{}\n", render::clean(&line, self.style.charset)).as_bytes())?;
        } else {
            self.put(b"")?;
        }
        let ended = self.out.take().map_or(Ok(()), Packed::finish);
        if !self.is_closed {
            self.written(ended)?;
        }
        Ok(self.code)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        let file = self.typed.written.file();
        let out = match &mut self.out {
            Some(out) => out,
            None => self.out.insert(output::open(file)?),
        };
        let put = out.put(bytes);
        self.written(put)
    }

    /// What becomes of what was written.
    fn written(&mut self, result: io::Result<()>) -> Result<(), Error> {
        let file = self.typed.written.file();
        match result {
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(err) => Err(match file {
                Some(file) => output::unwritten(file, &err),
                None => Error::Usage(format!("the output can't be written: {err}")),
            }),
            Ok(()) => Ok(()),
        }
    }
}
