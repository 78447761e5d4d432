//! TUN and TAP devices and the programs behind them, as `ip -d tuntap show` prints them (iproute2's `ip/iptuntap.c`).

use std::fs;
use std::io;
use std::path::Path;

use super::kind;
use super::line::Lines;
use super::link::Devices;

const DEVICE: &str = "/dev/net/tun";

/// The table `tuntap.txt`. `programs` tells who has opened a device.
pub(super) fn text(devices: &Devices<'_>, programs: impl Fn(&str) -> Vec<String>) -> io::Result<String> {
    let mut lines = Lines::default();
    for device in &devices.all {
        let info = device.info()?;
        if kind::name(&info).as_deref() != Some("tun") {
            continue;
        }
        let data = kind::data(&info)?;
        let is = |kind: u16| data.u8(kind).is_some_and(|on| on != 0);
        // Kernels before 4.17 don't tell; a TAP device has an Ethernet address.
        let is_tap = data.u8(3).map_or(device.link_type == 1, |kind| kind == 2);
        lines.word(format_args!("{}:", device.name));
        lines.word(if is_tap { "tap" } else { "tun" });
        lines.flag("pi", is(4));
        lines.flag("multi_queue", is(7));
        lines.flag("vnet_hdr", is(5));
        lines.flag("persist", is(6));
        lines.pair("user", data.u32(1));
        lines.pair("group", data.u32(2));
        lines.indent("\t");
        lines.word(format_args!("Attached to processes:{}", programs(device.name.as_str()).concat()));
        lines.end();
    }
    Ok(lines.into_text())
}

/// The programs of this machine that have a TUN device of a name open: `flanneld(1234)`. The kernel tells no more than
/// the name, which may stand for another device in each namespace: only programs of the namespace with this number
/// count.
pub(super) fn programs(device: &str, netns: u64) -> Vec<String> {
    let mut found = Vec::new();
    for process in super::super::process::all() {
        if process.netns() != Some(netns) {
            continue;
        }
        let files = fs::read_dir(process.path.join("fd")).into_iter().flatten().filter_map(Result::ok);
        let opened = files.filter(|file| fs::read_link(file.path()).is_ok_and(|path| path == Path::new(DEVICE)));
        for file in opened {
            let info = fs::read_to_string(process.path.join("fdinfo").join(file.file_name())).unwrap_or_default();
            let is_device = |line: &str| line.strip_prefix("iff:").is_some_and(|name| name.trim() == device);
            if info.lines().any(is_device) {
                found.push(format!("{}({})", process.name(), process.id));
            }
        }
    }
    found
}
