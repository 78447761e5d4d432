//! What is to be done, as it was typed.

use crate::capture::filter::Filter;
use crate::capture::several::Several;
use crate::render::decode::{Extra, View};
use crate::snapshot::Snapshot;
use crate::wire::{Decoded, Frame, Kind, Layer, LinkType, Ports, Time};

use super::legs::Points;

/// What is shown of which packets, and how.
pub(super) struct Plan<'s> {
    pub(super) form: Form,
    pub(super) extra: Extra,
    /// What tells of addresses and paths, and where the captures were taken.
    pub(super) snapshot: Option<(&'s Snapshot, Points)>,
    pub(super) ports: Ports,
    pub(super) since: Option<Time>,
    pub(super) until: Option<Time>,
    pub(super) filter: Option<Filter>,
    /// Asked of the innermost packet.
    pub(super) inner: Option<Filter>,
    pub(super) count: Option<u64>,
    pub(super) threads: usize,
    /// The files as they were typed.
    pub(super) files: Vec<String>,
    /// What stands in the place of an interface that has no name; nothing where there is one file only.
    pub(super) names: Vec<String>,
}

/// What is written.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// What is to be read, by people or programs.
    Text(View),
    /// The packets.
    Packets {
        /// The innermost frames instead of the whole ones.
        decapsulate: bool,
        /// Comments on each.
        annotate: bool,
    },
}

impl Plan<'_> {
    /// Whether a packet may be shown, by its time and as it is outside. Of a fragment that is put together with others
    /// only these tell.
    #[inline]
    pub(super) fn wants(&self, frame: &Frame<'_>) -> bool {
        let is_time = self.since.is_none() && self.until.is_none() || self.is_within(frame.time);
        is_time && (self.extra.fragments || self.passes(frame))
    }

    /// Whether every packet is wanted, as it is outside.
    pub(super) fn wants_all(&self) -> bool {
        self.since.is_none() && self.until.is_none() && self.filter.is_none()
    }

    /// Whether a packet passes the filter, as it is outside.
    #[inline]
    pub(super) fn passes(&self, frame: &Frame<'_>) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|filter| filter.matches(frame.link_type.0, frame.bytes, frame.length))
    }

    fn is_within(&self, time: Option<Time>) -> bool {
        let Some(time) = time else { return false };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether it is shown, by its innermost packet.
    #[inline]
    pub(super) fn wants_inner(&self, frame: &Frame<'_>, decoded: &Decoded<'_>) -> bool {
        self.inner.as_ref().is_none_or(|inner| matches_inner(inner, frame, decoded))
    }

    /// What filters can't be asked, of the packets that there were.
    pub(super) fn unasked(&self, several: &Several) -> Vec<String> {
        let Some(filter) = &self.filter else { return Vec::new() };
        let told = several.link_types().into_iter().filter_map(|link_type| {
            let refusal = filter.refusal(link_type.0)?;
            Some(format!("--filter: no packet of link type {link_type} passes: {refusal}"))
        });
        told.collect()
    }
}

/// A packet without a tunnel is its own innermost one.
fn matches_inner(inner: &Filter, frame: &Frame<'_>, decoded: &Decoded<'_>) -> bool {
    match innermost(decoded) {
        Some(inside) => inner.matches(inside.link_type.0, inside.bytes, inside.length),
        None => inner.matches(frame.link_type.0, frame.bytes, frame.length),
    }
}

/// A frame, or a packet without one, inside a tunnel.
pub(super) struct Inside<'a> {
    pub(super) link_type: LinkType,
    pub(super) bytes: &'a [u8],
    /// Its length on the wire.
    pub(super) length: u32,
}

/// The innermost frame; `None` where there is no tunnel.
pub(super) fn innermost<'a>(decoded: &Decoded<'a>) -> Option<Inside<'a>> {
    let first = decoded.innermost_frame().filter(|layer| layer.start > 0)?;
    let (layer, link_type) = match first.kind {
        Kind::Ethernet => (first, LinkType::ETHERNET),
        Kind::Ppp => (first, LinkType::PPP),
        Kind::Ipv4 | Kind::Ipv6 => (first, LinkType::RAW),
        // Behind a link header that no capture can begin with stands the packet itself.
        _ => {
            let packet = decoded.cut_packet().or_else(|| decoded.innermost()).and_then(|packet| packet.network());
            let is_it = |layer: &Layer| matches!(layer.kind, Kind::Ipv4 | Kind::Ipv6) && layer.start > first.start;
            (packet.filter(is_it)?, LinkType::RAW)
        }
    };
    let bytes = decoded.bytes.get(layer.start as usize..).unwrap_or_default();
    let length = layer.end.saturating_sub(layer.start);
    Some(Inside { link_type, bytes: bytes.get(..length as usize).unwrap_or(bytes), length })
}
