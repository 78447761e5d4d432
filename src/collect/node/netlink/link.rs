//! Devices, as `ip -d link show` prints them (`print_linkinfo()` of iproute2's `ip/ipaddress.c`); the numbers are those of
//! `include/uapi/linux/if_link.h`.

use std::collections::HashMap;
use std::io;

use crate::net::IfName;

use super::attrs::{Attrs, Header as _, text};
use super::kind;
use super::line::{Field, Form, Lines, lladdr};
use super::socket::Dump;

const ADDRESS: u16 = 1;
const BROADCAST: u16 = 2;
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const LINK: u16 = 5;
const QDISC: u16 = 6;
const MASTER: u16 = 10;
const TXQLEN: u16 = 13;
const OPERSTATE: u16 = 16;
const LINKMODE: u16 = 17;
const LINKINFO: u16 = 18;
const IFALIAS: u16 = 20;
const AF_SPEC: u16 = 26;
const GROUP: u16 = 27;
const LINK_NETNSID: u16 = 37;
const PROTO_DOWN: u16 = 39;
const XDP: u16 = 43;
const PROP_LIST: u16 = 52;
const ALT_IFNAME: u16 = 53;
const PERM_ADDRESS: u16 = 54;
const NETNS_IMMUTABLE: u16 = 67;

/// What stands behind the link-layer address.
const LIMITS: &[Field] = &[
    (30, "promiscuity", Form::U32),
    (61, "allmulti", Form::U32),
    (50, "minmtu", Form::U32),
    (51, "maxmtu", Form::U32),
];

/// What stands behind the kind.
const QUEUES: &[Field] = &[
    (31, "numtxqueues", Form::U32),
    (32, "numrxqueues", Form::U32),
    (41, "gso_max_size", Form::U32),
    (40, "gso_max_segs", Form::U32),
    (59, "tso_max_size", Form::U32),
    (60, "tso_max_segs", Form::U32),
    (58, "gro_max_size", Form::U32),
    (63, "gso_ipv4_max_size", Form::U32),
    (64, "gro_ipv4_max_size", Form::U32),
    (38, "portname", Form::Text),
    (34, "portid", Form::Bytes),
    (36, "switchid", Form::Bytes),
    (57, "parentbus", Form::Text),
    (56, "parentdev", Form::Text),
];

/// The flags of a device (`include/uapi/linux/if.h`), in the order in which `ip` prints them.
const FLAGS: [(u32, &str); 18] = [
    (1 << 3, "LOOPBACK"),
    (1 << 1, "BROADCAST"),
    (1 << 4, "POINTOPOINT"),
    (1 << 12, "MULTICAST"),
    (1 << 7, "NOARP"),
    (1 << 9, "ALLMULTI"),
    (1 << 8, "PROMISC"),
    (1 << 10, "MASTER"),
    (1 << 11, "SLAVE"),
    (1 << 2, "DEBUG"),
    (1 << 15, "DYNAMIC"),
    (1 << 14, "AUTOMEDIA"),
    (1 << 13, "PORTSEL"),
    (1 << 5, "NOTRAILERS"),
    (UP, "UP"),
    (1 << 16, "LOWER_UP"),
    (1 << 17, "DORMANT"),
    (1 << 18, "ECHO"),
];
const UP: u32 = 1;
const POINT_TO_POINT: u32 = 1 << 4;
const RUNNING: u32 = 1 << 6;

/// A device as the kernel told it.
pub(super) struct Device<'a> {
    pub index: u32,
    pub name: IfName,
    pub flags: u32,
    /// `ARPHRD_…`.
    pub link_type: u16,
    pub attrs: Attrs<'a>,
}

impl<'a> Device<'a> {
    pub fn new(body: &'a [u8]) -> io::Result<Self> {
        let attrs = Attrs::behind(body, 16)?;
        Ok(Self {
            index: body.long(4),
            name: IfName::new(&attrs.text(IFNAME).unwrap_or_default()),
            flags: body.long(8),
            link_type: body.word(2),
            attrs,
        })
    }

    /// What it is (`IFLA_LINKINFO`).
    pub fn info(&self) -> io::Result<Attrs<'a>> {
        self.attrs.nested(LINKINFO)
    }
}

/// Every device of a namespace, in the kernel's order.
pub(super) struct Devices<'a> {
    pub all: Vec<Device<'a>>,
    by_index: HashMap<u32, usize>,
    /// The names of other namespaces, by this one's numbers for them.
    pub namespaces: HashMap<u32, String>,
}

impl<'a> Devices<'a> {
    pub fn new(links: &'a Dump) -> io::Result<Self> {
        let all = links.messages().map(Device::new).collect::<io::Result<Vec<_>>>()?;
        let by_index = all.iter().enumerate().map(|(place, device)| (device.index, place)).collect();
        Ok(Self { all, by_index, namespaces: HashMap::new() })
    }

    /// Whether a device's peer is in another namespace.
    pub fn has_peers_elsewhere(&self) -> bool {
        self.all.iter().any(|device| device.attrs.bytes(LINK_NETNSID).is_some())
    }

    pub fn find(&self, index: u32) -> Option<&Device<'a>> {
        self.all.get(*self.by_index.get(&index)?)
    }

    /// A device's name; `if` and its number where there is no such device, as `ip` has it.
    pub fn name(&self, index: u32) -> IfName {
        self.find(index).map_or_else(|| IfName::new(&format!("if{index}")), |device| device.name.clone())
    }

    /// The table `link.txt`.
    pub fn text(&self) -> io::Result<String> {
        let mut lines = Lines::default();
        for device in &self.all {
            self.head(device, &mut lines);
            lines
                .pair("mode", device.attrs.u8(LINKMODE).map(|mode| numbered(&["DEFAULT", "DORMANT", "TESTING"], mode)));
            self.group_and_address(device, &mut lines);
            self.details(device, &mut lines)?;
            lines.end();
        }
        Ok(lines.into_text())
    }

    /// The lines about a device that `ip addr show` prints above its addresses.
    pub fn heading(&self, device: &Device<'_>, lines: &mut Lines) {
        self.head(device, lines);
        self.group_and_address(device, lines);
        lines.end();
    }

    /// The number, the name and the flags.
    pub fn name_and_flags(&self, device: &Device<'_>, lines: &mut Lines) {
        let other = device.attrs.u32(LINK);
        // An index of another namespace says nothing about the devices of this one.
        let elsewhere = device.attrs.bytes(LINK_NETNSID).is_some();
        let below = other.filter(|index| *index != 0 && !elsewhere).and_then(|index| self.find(index));
        let peer = match (other, below) {
            (None, _) => String::new(),
            (Some(0), _) => "@NONE".to_owned(),
            (Some(_), Some(below)) => format!("@{}", below.name),
            (Some(index), None) => format!("@if{index}"),
        };
        lines.word(format_args!("{}: {}{peer}:", device.index, device.name));
        let is_lower_down = below.is_some_and(|below| below.flags & UP == 0);
        lines.word(flags(device.flags, is_lower_down));
        lines.pair("mtu", device.attrs.u32(MTU));
    }

    fn head(&self, device: &Device<'_>, lines: &mut Lines) {
        const STATES: &[&str] = &["UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"];
        self.name_and_flags(device, lines);
        if let Some(xdp) = xdp(&device.attrs) {
            lines.word(xdp);
        }
        lines.pair("qdisc", device.attrs.text(QDISC));
        lines.pair("master", device.attrs.u32(MASTER).map(|index| self.name(index)));
        lines.pair("state", device.attrs.u8(OPERSTATE).map(|state| numbered(STATES, state)));
    }

    fn group_and_address(&self, device: &Device<'_>, lines: &mut Lines) {
        let attrs = &device.attrs;
        lines.pair("group", attrs.u32(GROUP).map(group));
        lines.pair("qlen", attrs.u32(TXQLEN).filter(|length| *length != 0));
        lines.indent("    ");
        lines.word(format_args!("link/{}", link_type(device.link_type)));
        let shown = |kind| Some(lladdr(attrs.bytes(kind)?, device.link_type));
        lines.word(shown(ADDRESS).unwrap_or_default());
        lines.pair(if device.flags & POINT_TO_POINT == 0 { "brd" } else { "peer" }, shown(BROADCAST));
        let is_changed = attrs.bytes(ADDRESS) != attrs.bytes(PERM_ADDRESS);
        lines.pair("permaddr", shown(PERM_ADDRESS).filter(|_| is_changed));
        let elsewhere = attrs.u32(LINK_NETNSID);
        match elsewhere.and_then(|number| self.namespaces.get(&number)) {
            Some(name) => lines.pair("link-netns", Some(name)),
            None => lines.pair("link-netnsid", elsewhere.map(netnsid)),
        }
        lines.flag("protodown on", attrs.u8(PROTO_DOWN).is_some_and(|down| down != 0));
    }

    fn details(&self, device: &Device<'_>, lines: &mut Lines) -> io::Result<()> {
        let attrs = &device.attrs;
        lines.fields(attrs, LIMITS);
        lines.flag("netns-immutable", attrs.u8(NETNS_IMMUTABLE).is_some_and(|fixed| fixed != 0));
        kind::write(self, &device.info()?, lines)?;
        lines.pair("addrgenmode", addrgenmode(attrs)?);
        lines.fields(attrs, QUEUES);
        if let Some(alias) = attrs.text(IFALIAS) {
            lines.indent("    ");
            lines.pair("alias", Some(alias));
        }
        for (_, name) in attrs.nested(PROP_LIST)?.iter().filter(|(kind, _)| *kind == ALT_IFNAME) {
            lines.indent("    ");
            lines.pair("altname", text(name));
        }
        Ok(())
    }
}

/// `<UP,LOWER_UP>`.
fn flags(flags: u32, is_lower_down: bool) -> String {
    let mut words = Vec::new();
    if flags & UP != 0 && flags & RUNNING == 0 {
        words.push("NO-CARRIER".to_owned());
    }
    words.extend(FLAGS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, word)| (*word).to_owned()));
    let known = FLAGS.iter().fold(RUNNING, |known, (flag, _)| known | flag);
    if flags & !known != 0 {
        words.push(format!("{:x}", flags & !known));
    }
    if is_lower_down {
        words.push("M-DOWN".to_owned());
    }
    format!("<{}>", words.join(","))
}

/// A word by its number, or the number.
fn numbered(words: &[&str], number: u8) -> String {
    words.get(usize::from(number)).map_or_else(|| format!("{number:#x}"), |word| (*word).to_owned())
}

/// `default` is what every system calls the first group.
pub(super) fn group(group: u32) -> String {
    if group == 0 { "default".to_owned() } else { group.to_string() }
}

fn netnsid(id: u32) -> String {
    if id.cast_signed() < 0 { "unknown".to_owned() } else { id.to_string() }
}

/// How a program decides about each packet that comes in: `xdp_dump()` of iproute2's `ip/iplink_xdp.c`.
fn xdp(attrs: &Attrs<'_>) -> Option<String> {
    let xdp = attrs.nested(XDP).ok()?;
    let mode = match xdp.u8(2)? {
        0 => return None,
        1 => "xdp".to_owned(),
        2 => "xdpgeneric".to_owned(),
        3 => "xdpoffload".to_owned(),
        4 => "xdpmulti".to_owned(),
        mode => format!("xdp[{mode}]"),
    };
    let program = xdp.u32(4).filter(|id| *id != 0).map(|id| format!("/id:{id}")).unwrap_or_default();
    Some(mode + &program)
}

/// How the device gets its link-local address (`IFLA_INET6_ADDR_GEN_MODE` of family 10).
fn addrgenmode(attrs: &Attrs<'_>) -> io::Result<Option<String>> {
    let mode = attrs.nested(AF_SPEC)?.nested(10)?.u8(8);
    Ok(mode.map(|mode| numbered(&["eui64", "none", "stable_secret", "random"], mode)))
}

/// `ARPHRD_…` by the names of iproute2's `lib/ll_types.c`.
fn link_type(link_type: u16) -> String {
    let name = match link_type {
        1 => "ether",
        32 => "infiniband",
        280 => "can",
        512 => "ppp",
        519 => "rawip",
        768 => "ipip",
        769 => "tunnel6",
        772 => "loopback",
        776 => "sit",
        778 => "gre",
        801 => "ieee802.11",
        803 => "ieee802.11/radiotap",
        804 => "ieee802.15.4",
        820 => "phonet",
        823 => "gre6",
        824 => "netlink",
        825 => "6lowpan",
        826 => "vsockmon",
        0xffff => "void",
        0xfffe => "none",
        number => return format!("[{number}]"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_the_order_of_ip() {
        assert_eq!(flags(0x0001_1043, false), "<BROADCAST,MULTICAST,UP,LOWER_UP>");
        assert_eq!(flags(0x1003, true), "<NO-CARRIER,BROADCAST,MULTICAST,UP,M-DOWN>");
        assert_eq!(flags(1 << 20, false), "<100000>");
        assert_eq!(flags(0, false), "<>");
    }
}
