//! `flowtrace explain --pcap`: the packets of a capture on the paths that the snapshot predicts.

mod group;
mod read;
mod show;

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::retrace::{Atlas, Options};

use super::args::{Explain, Format, Per};
use super::explain::patiently;
use super::{Outcome, exit, open, output};
use group::Groups;
pub(super) use group::{Shape, shape};
pub(super) use read::not_walked;
use read::{Reading, Subject};
use show::Show;

/// Reads the capture, and shows what becomes of its packets.
pub(super) fn explain(typed: &Explain, named: &Path) -> Result<Outcome, Error> {
    refuse_beside(typed)?;
    let (file, wanted) = split(named);
    if wanted.is_none() && matches!(typed.output, Format::Dot | Format::Mermaid) {
        return Err(Error::Usage("-o dot and -o mermaid draw one packet of a capture: --pcap FILE#N".to_owned()));
    }
    let snapshot = patiently(|| open::open(typed.snapshot.as_deref(), typed.demo))?;
    let max_paths = usize::try_from(typed.max_paths).unwrap_or(usize::MAX);
    let options = Options { reply: !typed.no_reply, max_paths, verbose: typed.verbose };
    let atlas = Atlas::new(&snapshot, options);
    let mut reading = Reading::open(&file, typed.at.as_deref(), &snapshot, &atlas)?;
    let mut show = Show::new(typed, &snapshot, &file);
    match (wanted, typed.per) {
        (Some(number), _) => one(&mut reading, number, &atlas, &mut show)?,
        (None, Per::Packet) => reading.each(reading.progress(), |subject| {
            let retraced = atlas.retrace(&subject.point, &subject.captured, subject.standing);
            show.packet(&subject, 1, &retraced)
        })?,
        (None, Per::Flow) => {
            let mut groups = Groups::new(&atlas);
            reading.each(reading.progress().unseen(), |subject| {
                groups.add(subject);
                Ok(())
            })?;
            groups.each(|subject, count, retraced| show.packet(subject, count, retraced))?;
        }
    }
    for note in reading.notes() {
        output::complain(&format!("note: {}: {note}", file.display()));
    }
    reading.refuse_empty(&file)?;
    let code = show.finish(&reading)?;
    // The program is about to end, which frees the tables of a large cluster at once.
    drop(reading);
    drop(atlas);
    std::mem::forget(snapshot);
    Ok(Outcome { output: Vec::new(), file: None, code })
}

/// One packet, whole.
fn one(reading: &mut Reading<'_>, number: u64, atlas: &Atlas<'_>, show: &mut Show<'_>) -> Result<(), Error> {
    let subject: Subject = reading.find(number)?;
    let retraced = atlas.retrace(&subject.point, &subject.captured, subject.standing);
    show.whole();
    show.packet(&subject, 1, &retraced)
}

/// `FILE#N`, unless a file is called so.
fn split(named: &Path) -> (PathBuf, Option<u64>) {
    let parts = || {
        let (file, number) = named.to_str()?.rsplit_once('#')?;
        Some((PathBuf::from(file), number.parse().ok().filter(|number| *number > 0)?))
    };
    match parts().filter(|_| !fs::exists(named).unwrap_or(false)) {
        Some((file, number)) => (file, Some(number)),
        None => (named.to_owned(), None),
    }
}

/// What a capture's packets have themselves.
fn refuse_beside(typed: &Explain) -> Result<(), Error> {
    if let Some(end) = typed.from.as_deref().or(typed.to.as_deref()) {
        return Err(Error::Usage(format!(
            "{end}: the packets of --pcap have ends of their own; leave FROM and TO out"
        )));
    }
    let packet = &typed.packet;
    let beside = [
        ("-4", packet.ipv4),
        ("-6", packet.ipv6),
        ("--proto", packet.proto.is_some()),
        ("--port", packet.port.is_some()),
        ("--sport", packet.sport.is_some()),
        ("--source", packet.source.is_some()),
        ("--size", packet.size.is_some()),
        ("--df", packet.df),
        ("--ttl", packet.ttl.is_some()),
        ("--tos", packet.tos.is_some()),
        ("--icmp-type", packet.icmp_type.is_some()),
        ("--icmp-code", packet.icmp_code.is_some()),
        ("--tcp-flags", packet.tcp_flags.is_some()),
        ("--mark", packet.mark.is_some()),
        ("--payload", packet.payload.is_some()),
        ("--time", packet.time.is_some()),
        ("--uid", packet.uid.is_some()),
        ("--gid", packet.gid.is_some()),
        ("--mac", packet.mac.is_some()),
        ("--vlan", !packet.vlan.is_empty()),
        ("--state established", typed.state == super::args::State::Established),
    ];
    match beside.iter().find(|(_, typed)| *typed) {
        Some((option, _)) => Err(Error::Usage(format!("{option}: the packets of --pcap say this themselves"))),
        None => Ok(()),
    }
}

/// The code for everything that was shown: as for one answer.
fn worse(code: u8, other: u8) -> u8 {
    let rank = |code: u8| match code {
        exit::FAILS => 2,
        exit::UNDETERMINED => 1,
        _ => 0,
    };
    if rank(other) > rank(code) { other } else { code }
}
