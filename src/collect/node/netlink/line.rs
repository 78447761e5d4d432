//! Rows in the making: words as iproute2 puts them, one blank behind each.

use std::fmt::{Display, Write as _};
use std::net::Ipv4Addr;

use super::attrs::Attrs;

/// The text of a table.
#[derive(Debug, Default)]
pub(super) struct Lines(String);

impl Lines {
    /// Adds a word.
    pub fn word(&mut self, word: impl Display) {
        // Writing to a string can't fail.
        let _ = write!(self.0, "{word} ");
    }

    /// Adds a name and its value, where there is one.
    pub fn pair(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            let _ = write!(self.0, "{name} {value} ");
        }
    }

    /// Adds a whole line.
    pub fn row(&mut self, row: impl Display) {
        let _ = writeln!(self.0, "{row}");
    }

    /// Adds a word where it applies.
    pub fn flag(&mut self, word: &str, set: bool) {
        if set {
            self.word(word);
        }
    }

    /// Ends the line, and begins another one of the same row.
    pub fn indent(&mut self, indent: &str) {
        self.end();
        self.0.push_str(indent);
    }

    /// Ends the line.
    pub fn end(&mut self) {
        self.0.truncate(self.0.trim_end_matches(' ').len());
        self.0.push('\n');
    }

    /// Adds every field of a list that is among the attributes.
    pub fn fields(&mut self, attrs: &Attrs<'_>, fields: &[Field]) {
        for (kind, name, form) in fields {
            self.pair(name, form.show(attrs, *kind));
        }
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// An attribute's number, iproute2's word for it, and how it is written.
pub(super) type Field = (u16, &'static str, Form);

/// How iproute2 writes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    U8,
    U16,
    U32,
    U64,
    /// `0x…`, without leading zeros.
    Hex16,
    /// `on` or `off`.
    Switch,
    /// Hundredths of a second as seconds.
    Timer,
    /// Two bytes of priority, and an Ethernet address without leading zeros.
    BridgeId,
    /// An Ethernet type in network byte order, those of VLANs by name.
    EtherType,
    Text,
    /// Bytes in hexadecimal, without anything between them.
    Bytes,
    /// Bytes in hexadecimal, a colon between two.
    Lladdr,
}

impl Form {
    fn show(self, attrs: &Attrs<'_>, kind: u16) -> Option<String> {
        Some(match self {
            Self::U8 => attrs.u8(kind)?.to_string(),
            Self::U16 => attrs.u16(kind)?.to_string(),
            Self::U32 => attrs.u32(kind)?.to_string(),
            Self::U64 => attrs.u64(kind)?.to_string(),
            Self::Hex16 => hex(attrs.u16(kind)?.into()),
            Self::Switch => on_off(attrs.u8(kind)? != 0).to_owned(),
            Self::Timer => {
                let ticks = attrs.u64(kind)?;
                format!("{:>4}.{:02}", ticks / 100, ticks % 100)
            }
            Self::BridgeId => bridge_id(attrs.bytes(kind)?),
            Self::EtherType => ether_type(attrs.be16(kind)?),
            Self::Text => attrs.text(kind)?,
            Self::Bytes => attrs.bytes(kind)?.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat(),
            Self::Lladdr => lladdr(attrs.bytes(kind)?, 1),
        })
    }
}

/// As C's `%#llx`: 0 has no `0x`.
pub(super) fn hex(number: u64) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:#x}") }
}

pub(super) fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn bridge_id(bytes: &[u8]) -> String {
    let [high, low, address @ ..] = bytes else { return String::new() };
    let address: Vec<String> = address.iter().map(|byte| format!("{byte:x}")).collect();
    format!("{high:02x}{low:02x}.{}", address.join(":"))
}

/// The names are those of iproute2's `lib/ll_proto.c`.
fn ether_type(number: u16) -> String {
    match number {
        0x8100 => "802.1Q".to_owned(),
        0x88a8 => "802.1ad".to_owned(),
        number => format!("[{number}]"),
    }
}

/// A link-layer address, as `ll_addr_n2a()` of iproute2's `lib/ll_addr.c` writes it: that of a tunnel is an IP address.
pub(super) fn lladdr(bytes: &[u8], link_type: u16) -> String {
    const TUNNEL4: [u16; 3] = [768, 776, 778];
    const TUNNEL6: [u16; 2] = [769, 823];
    match (super::attrs::address(bytes), bytes.len()) {
        (Some(address), 4) if TUNNEL4.contains(&link_type) => address.to_string(),
        (Some(address), 16) if TUNNEL6.contains(&link_type) => address.to_string(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
    }
}

/// Whether an address is one: the kernel sends the unspecified one for none.
pub(super) fn is_some(address: std::net::IpAddr) -> bool {
    address != Ipv4Addr::UNSPECIFIED && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_iproute2_does() {
        assert_eq!(bridge_id(&[0x80, 0, 0xce, 0, 0, 0, 0, 1]), "8000.ce:0:0:0:0:1");
        assert_eq!(lladdr(&[10, 0, 0, 1], 768), "10.0.0.1");
        assert_eq!(lladdr(&[10, 0, 0, 1], 1), "0a:00:00:01");
        assert_eq!((hex(0), hex(255)), ("0".to_owned(), "0xff".to_owned()));
        let timer = [12u8, 0, 16, 0, 0x39, 5, 0, 0, 0, 0, 0, 0];
        assert_eq!(Form::Timer.show(&Attrs::parse(&timer).unwrap(), 16).unwrap(), "  13.37");
    }

    #[test]
    fn a_row_has_no_blank_at_its_ends() {
        let mut lines = Lines::default();
        lines.word("a");
        lines.indent("    ");
        lines.pair("b", Some(1));
        lines.pair("c", None::<u8>);
        lines.end();
        assert_eq!(lines.into_text(), "a\n    b 1\n");
    }
}
