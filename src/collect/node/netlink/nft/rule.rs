//! One rule: the kernel's expressions as iptables' options, as `nft_rule_to_iptables_command_state` of iptables'
//! `nft-shared.c` (since version 1.8.10 `nft-ruleparse.c`) reads them. `None` for whatever is not known, or is written
//! otherwise by some version.

use crate::collect::node::netlink::attrs::Attrs;
use crate::net::Family;

use super::ports::{Op, Ports, Transport};
use super::text::{Line, address, prefix, up_to_nul};
use super::{matches, targets};

/// Attributes of a rule (`enum nft_rule_attributes`).
const EXPRESSIONS: u16 = 4;
const USERDATA: u16 = 7;
/// The last one that a rule of iptables has: its table, chain, handle, place and padding are the others.
const LAST: u16 = 8;

/// The register in which iptables keeps what it compares (`NFT_REG_1`), and that of the verdict.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What a register holds.
#[derive(Debug, Clone, Copy)]
enum Loaded {
    /// A key of `meta`.
    Meta(u32),
    /// Bytes of the packet: of which header, where, and how many.
    Payload(u32, u32, u32),
}

/// A register, and the mask that was laid on it.
struct Register<'a> {
    loaded: Loaded,
    mask: Option<&'a [u8]>,
}

/// An address, its mask, and whether it is inverted.
struct Address {
    bytes: Vec<u8>,
    mask: Vec<u8>,
    inverted: bool,
}

/// What a rule asks in its place among the others.
enum Asked {
    Words(Line),
    /// `tcp` or `udp`, to which further comparisons belong.
    Transport(Transport),
}

/// A rule in the making.
struct Rule<'a> {
    family: Family,
    register: Option<Register<'a>>,
    source: Option<Address>,
    destination: Option<Address>,
    /// The devices by which it comes and goes, as words.
    input: Option<Line>,
    output: Option<Line>,
    protocol: Option<(u8, bool)>,
    /// Whether it is about further fragments, or about all others.
    fragment: Option<bool>,
    asked: Vec<Asked>,
    /// Whether a match `tcp` or `udp` stands there as the kernel's extension.
    has_extension: bool,
    counter: Option<(u64, u64)>,
    verdict: Option<Line>,
}

/// Adds the line of a rule by its attributes.
pub(super) fn write(out: &mut Line, chain: &[u8], attrs: &Attrs<'_>, family: Family) -> Option<()> {
    attrs.iter().all(|(kind, _)| kind <= LAST).then_some(())?;
    let mut rule = Rule::new(family);
    for (_, element) in attrs.nested(EXPRESSIONS).ok()?.iter() {
        let expression = Attrs::parse(element).ok()?;
        let data = expression.nested(2).ok()?;
        rule.add(up_to_nul(expression.bytes(1)?)?, &data)?;
    }
    if let Some(data) = attrs.bytes(USERDATA) {
        rule.comment(data)?;
    }
    rule.write(out, chain)
}

impl<'a> Rule<'a> {
    fn new(family: Family) -> Self {
        Self {
            family,
            register: None,
            source: None,
            destination: None,
            input: None,
            output: None,
            protocol: None,
            fragment: None,
            asked: Vec::new(),
            has_extension: false,
            counter: None,
            verdict: None,
        }
    }

    /// Takes an expression. Nothing may follow the verdict.
    fn add(&mut self, name: &[u8], data: &Attrs<'a>) -> Option<()> {
        if self.verdict.is_some() {
            return None;
        }
        match name {
            b"meta" => self.load(data, 2, || Some(Loaded::Meta(data.be32(2)?))),
            b"payload" => self.load(data, 4, || Some(Loaded::Payload(data.be32(2)?, data.be32(3)?, data.be32(4)?))),
            b"bitwise" => self.bitwise(data),
            b"cmp" => self.cmp(data),
            b"range" => self.range(data),
            b"counter" => {
                only(data, 3)?;
                set(&mut self.counter, (data.be64(2)?, data.be64(1)?))
            }
            b"limit" => self.limit(data),
            b"match" => self.extension(data),
            b"target" => {
                only(data, 3)?;
                let mut line = Line::default();
                let name = up_to_nul(data.bytes(1)?)?;
                targets::write(&mut line, name, data.be32(2)?, data.bytes(3)?, self.family)?;
                set(&mut self.verdict, line)
            }
            b"immediate" => self.immediate(data),
            _ => None,
        }
    }

    /// Loads something into the register; iptables takes no notice of what is loaded and not compared.
    fn load(&mut self, data: &Attrs<'a>, last: u16, loaded: impl FnOnce() -> Option<Loaded>) -> Option<()> {
        only(data, last)?;
        (data.be32(1)? == REGISTER).then_some(())?;
        self.register = Some(Register { loaded: loaded()?, mask: None });
        Some(())
    }

    /// Lays a mask on the register (`NFT_BITWISE_BOOL`); iptables changes no bits.
    fn bitwise(&mut self, data: &Attrs<'a>) -> Option<()> {
        only(data, 6)?;
        let is_own = [1, 2].iter().all(|attr| data.be32(*attr) == Some(REGISTER));
        let is_mask = data.be32(6).unwrap_or(0) == 0 && value(data, 5)?.iter().all(|byte| *byte == 0);
        (is_own && is_mask).then_some(())?;
        let mask = value(data, 4)?;
        (u32::try_from(mask.len()).ok() == data.be32(3)).then_some(())?;
        set(&mut self.register.as_mut()?.mask, mask)
    }

    /// Compares the register.
    fn cmp(&mut self, data: &Attrs<'a>) -> Option<()> {
        only(data, 3)?;
        (data.be32(1)? == REGISTER).then_some(())?;
        let (op, value) = (Op::of(data.be32(2)?)?, value(data, 3)?);
        let Register { loaded, mask } = self.register.take()?;
        match loaded {
            Loaded::Meta(key) => self.meta(key, mask, op, value),
            Loaded::Payload(base, at, length) => {
                (u32::try_from(value.len()).ok()? == length).then_some(())?;
                match base {
                    1 => self.network(at, mask, op, value),
                    2 => self.transport(at, mask, op, value),
                    _ => None,
                }
            }
        }
    }

    /// `NFT_META_MARK`, `NFT_META_IIFNAME`, `NFT_META_OIFNAME`, `NFT_META_L4PROTO`.
    fn meta(&mut self, key: u32, mask: Option<&[u8]>, op: Op, value: &[u8]) -> Option<()> {
        let inverted = op.inverted()?;
        if key == 3 {
            let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.try_into().ok()?));
            let mut line = Line::default();
            line.push(b" -m mark");
            matches::write_mark(&mut line, number(value)?, mask.map_or(Some(u32::MAX), number)?, inverted);
            self.asked.push(Asked::Words(line));
            return Some(());
        }
        mask.is_none().then_some(())?;
        match (key, value) {
            (6, _) => set(&mut self.input, device(" -i ", value, inverted)?),
            (7, _) => set(&mut self.output, device(" -o ", value, inverted)?),
            (16, [protocol]) => set(&mut self.protocol, (*protocol, inverted)),
            _ => None,
        }
    }

    /// A field of the IP header. The protocol's is that of older versions.
    fn network(&mut self, at: u32, mask: Option<&[u8]>, op: Op, value: &[u8]) -> Option<()> {
        let inverted = op.inverted()?;
        let address = || address_of(self.family, mask, value, inverted);
        match (self.family, at) {
            (Family::Inet, 12) | (Family::Inet6, 8) => set(&mut self.source, address()?),
            (Family::Inet, 16) | (Family::Inet6, 24) => set(&mut self.destination, address()?),
            (Family::Inet, 9) if mask.is_none() => {
                let [protocol] = value else { return None };
                set(&mut self.protocol, (*protocol, inverted))
            }
            (Family::Inet, 6) if mask == Some(&[0x1f, 0xff]) && value == [0, 0] => set(&mut self.fragment, inverted),
            _ => None,
        }
    }

    /// Ports and flags behind the IP header, of the protocol that the rule is about.
    fn transport(&mut self, at: u32, mask: Option<&[u8]>, op: Op, value: &[u8]) -> Option<()> {
        let (protocol, false) = self.protocol? else { return None };
        let port = |at: usize| Some(u16::from_be_bytes(*value.get(at..)?.first_chunk()?));
        let found = self.of_transport(protocol)?;
        match (at, value.len(), mask) {
            (0, 2, None) => set(&mut found.source, Ports::compared(op, port(0)?)),
            (2, 2, None) => set(&mut found.destination, Ports::compared(op, port(0)?)),
            (0, 4, None) => {
                op.inverted()?;
                set(&mut found.source, Ports::compared(op, port(0)?))?;
                set(&mut found.destination, Ports::compared(op, port(2)?))
            }
            (13, 1, Some([mask])) if protocol == TCP => set(&mut found.flags, (*mask, *value.first()?, op.inverted()?)),
            _ => None,
        }
    }

    /// The match of the rule's own protocol, which stands where the first comparison does.
    fn of_transport(&mut self, protocol: u8) -> Option<&mut Transport> {
        if self.has_extension || !matches!(protocol, TCP | UDP) {
            return None;
        }
        let is_transport = |asked: &Asked| matches!(asked, Asked::Transport(_));
        if !self.asked.iter().any(is_transport) {
            self.asked.push(Asked::Transport(Transport::default()));
        }
        self.asked.iter_mut().find_map(|asked| match asked {
            Asked::Transport(transport) => Some(transport),
            Asked::Words(_) => None,
        })
    }

    /// A range of ports.
    fn range(&mut self, data: &Attrs<'a>) -> Option<()> {
        only(data, 4)?;
        (data.be32(1)? == REGISTER).then_some(())?;
        let port = |attr: u16| Some(u16::from_be_bytes(value(data, attr)?.try_into().ok()?));
        let ports = Ports { first: port(3)?, last: port(4)?, inverted: Op::of(data.be32(2)?)?.inverted()? };
        let Register { loaded, mask: None } = self.register.take()? else { return None };
        let (protocol, false) = self.protocol? else { return None };
        let found = self.of_transport(protocol)?;
        match loaded {
            Loaded::Payload(2, 0, 2) => set(&mut found.source, ports),
            Loaded::Payload(2, 2, 2) => set(&mut found.destination, ports),
            _ => None,
        }
    }

    /// A limit of packets (`nft_parse_limit`).
    fn limit(&mut self, data: &Attrs<'a>) -> Option<()> {
        const SCALE: u64 = 10_000;
        only(data, 6)?;
        let is_plain = [4, 5].iter().all(|attr| data.be32(*attr).unwrap_or(0) == 0);
        let period = SCALE.checked_mul(data.be64(2)?)?.checked_div(data.be64(1)?)?;
        let mut line = Line::default();
        line.push(b" -m limit");
        matches::rate(&mut line, u32::try_from(period).ok().filter(|period| *period > 0)?, data.be32(3)?)?;
        self.asked.push(Asked::Words(line));
        is_plain.then_some(())
    }

    fn extension(&mut self, data: &Attrs<'a>) -> Option<()> {
        only(data, 3)?;
        let name = up_to_nul(data.bytes(1)?)?;
        if matches!(name, b"tcp" | b"udp") {
            let has_own = self.asked.iter().any(|asked| matches!(asked, Asked::Transport(_)));
            // Versions differ in whether the two are one.
            (!has_own).then_some(())?;
            self.has_extension = true;
        }
        let mut line = Line::default();
        matches::write(&mut line, name, data.be32(2)?, data.bytes(3)?, self.family)?;
        self.asked.push(Asked::Words(line));
        Some(())
    }

    /// A verdict (`enum nft_verdicts`).
    fn immediate(&mut self, data: &Attrs<'a>) -> Option<()> {
        only(data, 2)?;
        (data.be32(1)? == VERDICT).then_some(())?;
        let verdict = data.nested(2).ok()?.nested(2).ok()?;
        let chain = verdict.bytes(2).map_or(Some(&[][..]), up_to_nul)?;
        let mut line = Line::default();
        match (verdict.be32(1)?.cast_signed(), chain.is_empty()) {
            (0, true) => line.push(b" -j DROP"),
            (1, true) => line.push(b" -j ACCEPT"),
            (-5, true) => line.push(b" -j RETURN"),
            (jump @ (-3 | -4), false) => {
                line.push(if jump == -3 { b" -j " } else { b" -g " });
                line.push(chain);
            }
            _ => return None,
        }
        set(&mut self.verdict, line)
    }

    /// A comment beside the expressions, of which iptables makes the last match (`get_comment`).
    fn comment(&mut self, data: &[u8]) -> Option<()> {
        let [0, length, text @ ..] = data else { return None };
        (usize::from(*length) == text.len()).then_some(())?;
        let text = text.strip_suffix(&[0])?;
        (!text.contains(&0)).then_some(())?;
        let mut line = Line::default();
        line.push(b" -m comment");
        matches::comment(&mut line, text)?;
        self.asked.push(Asked::Words(line));
        Some(())
    }

    /// Adds the line, in the order of `nft_ipv4_save_rule` and `nft_ipv6_save_rule`.
    fn write(&self, out: &mut Line, chain: &[u8]) -> Option<()> {
        let (packets, bytes) = self.counter.unwrap_or_default();
        out.put(format_args!("[{packets}:{bytes}] -A "));
        out.push(chain);
        for (option, address) in [("-s ", &self.source), ("-d ", &self.destination)] {
            if let Some(address) = address {
                address.write(out, option)?;
            }
        }
        for device in [&self.input, &self.output].into_iter().flatten() {
            out.push(&device.0);
        }
        if let Some((protocol, inverted)) = self.protocol {
            out.option(inverted, "-p ");
            out.push(protocol_name(protocol)?.as_bytes());
        }
        if let Some(is_further) = self.fragment {
            out.option(!is_further, "-f");
        }
        for asked in &self.asked {
            match asked {
                Asked::Words(line) => out.push(&line.0),
                Asked::Transport(transport) => {
                    out.push(if self.protocol?.0 == TCP { b" -m tcp" } else { b" -m udp" });
                    transport.write(out)?;
                }
            }
        }
        if let Some(verdict) = &self.verdict {
            out.push(&verdict.0);
        }
        out.push(b"\n");
        Some(())
    }
}

impl Address {
    /// Adds it (`save_ipv4_addr` and `save_ipv6_addr` of iptables' `xshared.c`).
    fn write(&self, out: &mut Line, option: &str) -> Option<()> {
        let length = prefix(&self.mask);
        let is_any = length == Some(0) && self.bytes.iter().all(|byte| *byte == 0);
        if is_any && !self.inverted {
            return Some(());
        }
        // An address that its mask leaves nothing of is written by one family alone.
        (is_any || length != Some(0)).then_some(())?;
        out.option(self.inverted, option);
        out.push(address(&self.bytes)?.as_bytes());
        match length {
            Some(length) => out.put(format_args!("/{length}")),
            None => out.put(format_args!("/{}", address(&self.mask)?)),
        }
        Some(())
    }
}

/// An address of a family: whole, its first bytes, or all of it under a mask.
fn address_of(family: Family, mask: Option<&[u8]>, value: &[u8], inverted: bool) -> Option<Address> {
    let length = if family == Family::Inet { 4 } else { 16 };
    let mut bytes = value.to_vec();
    let mask = if let Some(mask) = mask {
        (mask.len() == length && value.len() == length).then_some(())?;
        mask.to_vec()
    } else {
        (value.len() <= length).then_some(())?;
        let mut mask = vec![0xff; value.len()];
        mask.resize(length, 0);
        mask
    };
    bytes.resize(length, 0);
    Some(Address { bytes, mask, inverted })
}

/// The name of a device (`parse_ifname`, `parse_invalid_iface` and `save_iface`): whole where it ends in a NUL, and
/// otherwise the beginning of one.
fn device(option: &str, value: &[u8], inverted: bool) -> Option<Line> {
    let mut line = Line::default();
    let (name, end, inverted) = match value {
        // What iptables-nft makes of `! -i +`, which no packet fits.
        b"INVAL/D\0" if !inverted => (&b""[..], "+", true),
        [name @ .., 0] if name.len() < 16 => (name, "", inverted),
        name if name.len() < 15 => (name, "+", inverted),
        _ => return None,
    };
    // Versions differ in whether a device may be called `+`.
    if name.contains(&0) || name == b"+" || name.is_empty() && end.is_empty() {
        return None;
    }
    line.push(if inverted { b" !" } else { b"" });
    line.push(option.as_bytes());
    line.push(name);
    line.push(end.as_bytes());
    Some(line)
}

/// The protocols whose names are in iptables itself and are the same in all versions; others' are those of the node's
/// `/etc/protocols` (`proto_to_name`).
fn protocol_name(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        1 => "icmp",
        TCP => "tcp",
        UDP => "udp",
        50 => "esp",
        51 => "ah",
        58 => "ipv6-icmp",
        132 => "sctp",
        136 => "udplite",
        _ => return None,
    })
}

/// Whether no attribute has a higher number than this, each of them once.
fn only(attrs: &Attrs<'_>, last: u16) -> Option<()> {
    let kinds = || attrs.iter().map(|(kind, _)| kind);
    let is_known = kinds().all(|kind| kind <= last && kinds().filter(|other| *other == kind).count() == 1);
    is_known.then_some(())
}

/// The bytes of a value (`NFTA_DATA_VALUE`).
fn value<'a>(data: &Attrs<'a>, attr: u16) -> Option<&'a [u8]> {
    data.nested(attr).ok()?.bytes(1)
}

/// Sets what was not set before: where a rule says something twice, versions may differ in what they make of it.
fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.is_none().then(|| *place = Some(value))
}
