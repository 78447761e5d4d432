//! What is to be done, as it was typed.

use crate::capture::filter::Filter;
use crate::capture::several::Several;
use crate::render::decode::View;
use crate::wire::{Decoded, Frame, Kind, LinkType, Ports, Time};

/// What is shown of which packets, and how.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) view: View,
    pub(super) with_bytes: bool,
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

impl Plan {
    /// Whether a packet may be shown, by its time and as it is outside.
    #[inline]
    pub(super) fn wants(&self, frame: &Frame<'_>) -> bool {
        let is_time = self.since.is_none() && self.until.is_none() || self.is_within(frame.time);
        let filter = self.filter.as_ref();
        is_time && filter.is_none_or(|filter| filter.matches(frame.link_type.0, frame.bytes, frame.length))
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
    let Some(layer) = decoded.innermost_frame().filter(|layer| layer.start > 0) else {
        return inner.matches(frame.link_type.0, frame.bytes, frame.length);
    };
    let link_type = match layer.kind {
        Kind::Ethernet => LinkType::ETHERNET,
        Kind::Ipv4 | Kind::Ipv6 => LinkType::RAW,
        Kind::Ppp => LinkType::PPP,
        _ => return false,
    };
    let bytes = frame.bytes.get(layer.start as usize..).unwrap_or_default();
    let length = layer.end - layer.start;
    let bytes = bytes.get(..length as usize).unwrap_or(bytes);
    inner.matches(link_type.0, bytes, length)
}
