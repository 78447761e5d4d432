//! Encapsulations of routes, as iproute2's `ip/iproute_lwtunnel.c` prints them; the numbers are those of
//! `include/uapi/linux/lwtunnel.h` and of the headers that it names.

use std::io;

use crate::net::TableId;

use super::attrs::{Attrs, Header as _, address};
use super::line::{Field, Form, Lines};
use super::link::Devices;

/// What a route wraps packets into, from `encap` on; `None` where it doesn't.
pub(super) fn text(devices: &Devices<'_>, kind: Option<u16>, attrs: &Attrs<'_>) -> io::Result<Option<String>> {
    let Some(kind) = kind else { return Ok(None) };
    let mut lines = Lines::default();
    lines.pair("encap", Some(name(kind)));
    match kind {
        1 => mpls(attrs, &mut lines),
        2 | 4 => ip(attrs, kind == 4, &mut lines),
        3 => ila(attrs, &mut lines),
        5 => seg6(attrs, &mut lines),
        6 => bpf(attrs, &mut lines)?,
        7 => seg6local(devices, attrs, &mut lines)?,
        8 => rpl(attrs, &mut lines),
        9 => ioam6(attrs, &mut lines),
        10 => {
            lines.fields(attrs, &[(1, "if_id", Form::U32)]);
            lines.pair("link_dev", attrs.u32(2).map(|index| devices.name(index)));
        }
        _ => {}
    }
    Ok(Some(lines.into_text().trim_end().to_owned()))
}

fn name(kind: u16) -> String {
    let names = ["mpls", "ip", "ila", "ip6", "seg6", "bpf", "seg6local", "rpl", "ioam6", "xfrm"];
    let name = kind.checked_sub(1).and_then(|place| names.get(usize::from(place)));
    name.map_or_else(|| kind.to_string(), |name| (*name).to_owned())
}

/// A stack of labels, the bottom one marked by a bit.
fn mpls(attrs: &Attrs<'_>, lines: &mut Lines) {
    let labels = attrs.bytes(1).unwrap_or_default().chunks_exact(4);
    let labels = labels.filter_map(|label| Some(u32::from_be_bytes(*label.first_chunk()?) >> 12));
    lines.word(labels.map(|label| label.to_string()).collect::<Vec<_>>().join("/"));
    lines.fields(attrs, &[(2, "ttl", Form::U8)]);
}

fn ip(attrs: &Attrs<'_>, is_inet6: bool, lines: &mut Lines) {
    lines.pair("id", attrs.be64(1));
    lines.pair("src", attrs.address(3));
    lines.pair("dst", attrs.address(2));
    lines.pair(if is_inet6 { "hoplimit" } else { "ttl" }, attrs.u8(4));
    lines.pair(if is_inet6 { "tc" } else { "tos" }, attrs.u8(5));
    let flags = attrs.be16(6).unwrap_or_default();
    lines.flag("key", flags & 4 != 0);
    lines.flag("csum", flags & 1 != 0);
    lines.flag("seq", flags & 8 != 0);
}

fn ila(attrs: &Attrs<'_>, lines: &mut Lines) {
    let locator = attrs.bytes(1).unwrap_or_default().chunks_exact(2);
    let locator: Vec<String> =
        locator.filter_map(|part| Some(format!("{:x}", u16::from_be_bytes(*part.first_chunk()?)))).collect();
    lines.word(locator.join(":"));
    let named = |kind: u16, names: &[&'static str]| names.get(usize::from(attrs.u8(kind)?)).copied();
    lines.pair("csum-mode", named(7, &["adj-transport", "neutral-map", "no-action", "neutral-map-auto"]));
    let kind = if attrs.u8(8) == Some(32) { Some("use-format") } else { named(8, &["iid", "luid"]) };
    lines.pair("ident-type", kind);
    lines.pair("hook-type", named(9, &["output", "input"]));
}

fn bpf(attrs: &Attrs<'_>, lines: &mut Lines) -> io::Result<()> {
    for (kind, word) in [(1, "in"), (2, "out"), (3, "xmit")] {
        if attrs.bytes(kind).is_some() {
            lines.word(word);
            lines.word(attrs.nested(kind)?.text(2).unwrap_or_default());
        }
    }
    // Its size stands there without a word.
    attrs.u32(4).into_iter().for_each(|headroom| lines.word(headroom));
    Ok(())
}

/// `struct ipv6_sr_hdr`: the segments, the last one first.
fn segments(header: &[u8], lines: &mut Lines) {
    let count = usize::from(header.byte(4)) + 1;
    lines.word(format_args!("segs {count} ["));
    let segments = header.get(8..).unwrap_or_default().chunks_exact(16).take(count).filter_map(address);
    segments.collect::<Vec<_>>().iter().rev().for_each(|segment| lines.word(segment));
    lines.word("]");
    // `SR6_FLAG1_HMAC`: a signature behind them.
    let key = header.get(8 + 16 * count + 4..).and_then(|bytes| bytes.first_chunk()).copied().map(u32::from_be_bytes);
    lines.pair("hmac", key.filter(|_| header.byte(5) & 8 != 0).map(|key| format!("{key:X}")));
}

fn seg6(attrs: &Attrs<'_>, lines: &mut Lines) {
    const MODES: [&str; 5] = ["inline", "encap", "l2encap", "encap.red", "l2encap.red"];
    let Some(info) = attrs.bytes(1) else { return };
    let mode = usize::try_from(info.long(0)).ok().and_then(|mode| MODES.get(mode)).copied();
    lines.pair("mode", Some(mode.unwrap_or("<unknown>")));
    lines.pair("tunsrc", attrs.address(2));
    segments(info.get(4..).unwrap_or_default(), lines);
}

fn seg6local(devices: &Devices<'_>, attrs: &Attrs<'_>, lines: &mut Lines) -> io::Result<()> {
    const ACTIONS: [&str; 17] = [
        "<unknown>",
        "End",
        "End.X",
        "End.T",
        "End.DX2",
        "End.DX6",
        "End.DX4",
        "End.DT6",
        "End.DT4",
        "End.B6",
        "End.B6.Encaps",
        "End.BM",
        "End.S",
        "End.AS",
        "End.AM",
        "End.BPF",
        "End.DT46",
    ];
    let action = attrs.u32(1).and_then(|action| ACTIONS.get(usize::try_from(action).ok()?)).copied();
    lines.pair("action", Some(action.unwrap_or("<invalid>")));
    if let Some(header) = attrs.bytes(2) {
        segments(header, lines);
    }
    lines.pair("table", attrs.u32(3).map(TableId));
    lines.pair("vrftable", attrs.u32(9).map(TableId));
    lines.pair("nh4", attrs.address(4));
    lines.pair("nh6", attrs.address(5));
    lines.pair("iif", attrs.u32(6).map(|index| devices.name(index)));
    lines.pair("oif", attrs.u32(7).map(|index| devices.name(index)));
    if attrs.bytes(8).is_some() {
        lines.pair("endpoint", attrs.nested(8)?.text(2));
    }
    flavors(&attrs.nested(11)?, lines);
    Ok(())
}

fn flavors(attrs: &Attrs<'_>, lines: &mut Lines) {
    const FLAVORS: [&str; 5] = ["", "psp", "usp", "usd", "next-csid"];
    const LENGTHS: &[Field] = &[(2, "lblen", Form::U8), (3, "nflen", Form::U8)];
    if let Some(set) = attrs.u32(1) {
        let names = (0..).zip(FLAVORS).filter(|(bit, name)| set & 1u32 << bit != 0 && !name.is_empty());
        lines.pair("flavors", Some(names.map(|(_, name)| name).collect::<Vec<_>>().join(",")));
    }
    lines.fields(attrs, LENGTHS);
}

/// `struct ipv6_rpl_sr_hdr`.
fn rpl(attrs: &Attrs<'_>, lines: &mut Lines) {
    let Some(header) = attrs.bytes(1) else { return };
    let count = usize::from(header.byte(3));
    lines.word(format_args!("segs {count} ["));
    let segments = header.get(8..).unwrap_or_default().chunks_exact(16).take(count).filter_map(address);
    segments.collect::<Vec<_>>().iter().rev().for_each(|segment| lines.word(segment));
    lines.word("]");
}

fn ioam6(attrs: &Attrs<'_>, lines: &mut Lines) {
    const MODES: [&str; 4] = ["", "inline", "encap", "auto"];
    let (Some(often), Some(of)) = (attrs.u32(4), attrs.u32(5)) else { return };
    lines.word(format_args!("freq {often}/{of}"));
    lines.pair("mode", attrs.u8(1).and_then(|mode| MODES.get(usize::from(mode)).copied()));
    lines.pair("tunsrc", attrs.address(6));
    lines.pair("tundst", attrs.address(2));
    // `struct ioam6_trace_hdr`: a namespace, lengths, the type in the upper 24 bits of a word.
    let Some(trace) = attrs.bytes(3) else { return };
    let big = |at: usize| trace.get(at..).and_then(|bytes| bytes.first_chunk()).copied().map_or(0, u32::from_be_bytes);
    lines.word(format_args!("trace prealloc type {:#08x}", big(4) >> 8));
    lines.word(format_args!("ns {} size {}", big(0) >> 16, (big(0) & 0x7f) * 4));
}
