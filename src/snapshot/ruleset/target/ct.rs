//! `CT`, `SET` and `NFQUEUE`.

use std::fmt::{self, Display, Formatter};

use super::super::SetSide;
use super::super::saved::{list, some, when};

/// What `CT` does (`net/netfilter/xt_CT.c`), and `NOTRACK`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CtTarget {
    /// `-j NOTRACK`, which is `CT --notrack` under its old name.
    pub alias: bool,
    /// `--notrack`: the packet has no connection.
    pub notrack: bool,
    /// `--zone`, `--zone-orig`, `--zone-reply`.
    pub zone: Option<CtZone>,
    /// `--helper`.
    pub helper: Option<Box<str>>,
    /// `--timeout`: a timeout policy's name.
    pub timeout: Option<Box<str>>,
    /// `--ctevents`, as printed.
    pub ctevents: Option<Box<str>>,
    /// `--expevents`, as printed.
    pub expevents: Option<Box<str>>,
}

/// A connection tracking zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtZone {
    /// The directions that it is for: `--zone` is for both.
    pub side: CtZoneSide,
    /// Its number; `None` for `mark`, the packet's.
    pub id: Option<u16>,
}

/// The directions that a zone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtZoneSide {
    /// Both.
    Both,
    /// The connection's first packets.
    Original,
    /// Its answers.
    Reply,
}

impl Display for CtTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.alias {
            return f.write_str("NOTRACK");
        }
        f.write_str("CT")?;
        when(f, self.notrack, "--notrack")?;
        some(f, "--helper", self.helper.as_ref())?;
        some(f, "--timeout", self.timeout.as_ref())?;
        some(f, "--ctevents", self.ctevents.as_ref())?;
        some(f, "--expevents", self.expevents.as_ref())?;
        let Some(zone) = self.zone.filter(|zone| zone.id != Some(0)) else { return Ok(()) };
        f.write_str(match zone.side {
            CtZoneSide::Both => " --zone",
            CtZoneSide::Original => " --zone-orig",
            CtZoneSide::Reply => " --zone-reply",
        })?;
        match zone.id {
            Some(id) => write!(f, " {id}"),
            None => f.write_str(" mark"),
        }
    }
}

/// What `SET` does (`net/netfilter/xt_set.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetTarget {
    /// `--add-set`.
    pub add: Option<SetPlace>,
    /// `--exist`: an element that is there gets a new timeout.
    pub exist: bool,
    /// `--timeout`.
    pub timeout: Option<u32>,
    /// `--del-set`.
    pub del: Option<SetPlace>,
    /// `--map-set`.
    pub map: Option<SetPlace>,
    /// `--map-mark`: the element's mark becomes the packet's.
    pub map_mark: bool,
    /// `--map-prio`.
    pub map_prio: bool,
    /// `--map-queue`.
    pub map_queue: bool,
}

/// A set, and which of the packet's fields are the parts of its element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPlace {
    /// The set's name.
    pub name: Box<str>,
    /// The fields.
    pub sides: Box<[SetSide]>,
}

impl Display for SetPlace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name)?;
        list(f, &self.sides)
    }
}

impl Display for SetTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        some(f, "--add-set", self.add.as_ref())?;
        when(f, self.exist, "--exist")?;
        some(f, "--timeout", self.timeout)?;
        some(f, "--del-set", self.del.as_ref())?;
        some(f, "--map-set", self.map.as_ref())?;
        when(f, self.map_mark, "--map-mark")?;
        when(f, self.map_prio, "--map-prio")?;
        when(f, self.map_queue, "--map-queue")
    }
}

/// What `NFQUEUE` does (`net/netfilter/xt_NFQUEUE.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueTarget {
    /// The first queue.
    pub first: u16,
    /// The last one, which differs with `--queue-balance`.
    pub last: u16,
    /// `--queue-bypass`: the packet goes on where no program listens.
    pub bypass: bool,
    /// `--queue-cpu-fanout`.
    pub cpu_fanout: bool,
}

impl Display for QueueTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, " --queue-num {}", self.first)?;
        } else {
            write!(f, " --queue-balance {}:{}", self.first, self.last)?;
        }
        when(f, self.bypass, "--queue-bypass")?;
        when(f, self.cpu_fanout, "--queue-cpu-fanout")
    }
}
