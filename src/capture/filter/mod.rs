//! Layer 2: filters, in the language of pcap-filter(7). Pure: no files are read, no names are looked up.
//!
//! A filter means what it means to libpcap 1.10, packet for packet, packets that are cut off included: the tests that
//! are made are those of its gencode.c. That holds for its oddities too, of which these may surprise:
//!
//! - `and` and `or` bind equally strong, and are read from left to right; `%` and `^` take over all that follows them.
//! - A value takes over the words before the last one: `tcp port 80 or 443`.
//! - `vlan`, `mpls`, `pppoes`, `geneve` and `vxlan` change what all the rest of the filter is asked of, also behind `or`:
//!   what follows `vlan` is asked 4 bytes further on, even of packets without a tag.
//! - A test that reads beyond the captured bytes ends the filter: the packet does not pass, whatever else is asked. Tests are
//!   made in the order in which they are written, as by `tcpdump -O`. Without that, libpcap's optimizer moves tests about in
//!   filters with `or`, and more packets that were cut within their headers may pass: `tcp or ip` asks first whether it is IP.
//! - `port` and `tcp[…]` know the first fragment only; of IPv6, `port` knows packets without extension headers, and
//!   `tcp[…]` none. Of a sum, only what stands leftmost says which protocol the packet has to be of.
//!
//! What differs: `vxlan [VNI]` is libpcap's only from its next version on; what follows `geneve` or `vxlan` is asked outside
//! of packets that are in no such tunnel (`not vxlan and tcp`), where libpcap reads memory that nobody has set; names are
//! not looked up in the system, but there are tables of services and protocols; a loopback capture (`Null`) is read in
//! either order of its bytes; numbers that no packet can have (`proto 300`) are refused, as by libpcap's next version.
//! Not supported is what asks about 802.11, ATM, SS7, OSI routing and BSD's packet filter, and `llc`, `protochain` and
//! `gateway`: a [`Refusal`] says so, and where.
//!
//! | module | does |
//! | --- | --- |
//! | `token`, `name` | cuts the text into words |
//! | `parse`, `question`, `value`, `arithmetic`, `sum`, `cursor` | read the words into the tree of `syntax` |
//! | `assemble`, `link_type`, `address`, `tunnel`, `relation`, `layout` | make a program of the tree, for a link layer |
//! | `shorten` | leads it past what is known |
//! | `program` | runs it |
//! | `refusal` | says why a filter is not taken |

mod address;
mod arithmetic;
mod assemble;
mod cursor;
mod layout;
mod link_type;
mod name;
mod parse;
mod program;
mod question;
mod refusal;
mod relation;
mod shorten;
mod sum;
mod syntax;
#[cfg(test)]
mod tests;
mod token;
mod tunnel;
mod value;

use std::net::IpAddr;
use std::sync::OnceLock;

use layout::Link;
use program::Program;
use syntax::Node;

pub use refusal::Refusal;

/// Every word of the language that is understood.
pub fn words() -> impl Iterator<Item = &'static str> {
    name::words()
}

/// What a filter's words stand for beside libpcap's meaning.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// The UDP ports that `vxlan` takes for VXLAN.
    pub vxlan_ports: &'a [u16],
    /// The addresses of a host's name, none where it is not known.
    pub addresses: &'a dyn Fn(&str) -> Vec<IpAddr>,
}

impl Default for Settings<'_> {
    /// VXLAN on the port of its RFC (4789) and on that of Linux and flannel (8472), and no names.
    fn default() -> Self {
        Self { vxlan_ports: &[4789, 8472], addresses: &|_| Vec::new() }
    }
}

/// A filter: a question about packets that each of them answers with yes or no.
///
/// ```
/// use flowtrace::capture::filter::Filter;
///
/// let filter = Filter::parse("arp or udp port 53").unwrap();
/// let mut frame = [0; 42];
/// frame[12..14].copy_from_slice(&[0x08, 0x06]);
/// assert!(filter.matches(1, &frame, 42));
///
/// let text = "tcp port 80x";
/// let refusal = Filter::parse(text).unwrap_err();
/// assert_eq!(refusal.to_string(), "flowtrace knows no service `80x`: write its port");
/// assert_eq!(refusal.marked(text), "tcp port 80x\n         ^^^");
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    /// Nothing lets every packet pass.
    node: Option<Node>,
    vxlan_ports: Vec<u16>,
    /// The program for each link layer, once it has been asked for.
    programs: [OnceLock<Result<Program, Refusal>>; Link::ALL.len()],
}

impl Filter {
    /// Reads a filter. An empty one lets every packet pass.
    ///
    /// # Errors
    /// Where the text is no filter, or asks what is not supported or can't be asked of any link layer.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        Self::parse_with(text, &Settings::default())
    }

    /// The same with ports of VXLAN and names of hosts.
    pub fn parse_with(text: &str, settings: &Settings<'_>) -> Result<Self, Refusal> {
        let node = parse::parse(text, settings)?;
        let filter = Self { node, vxlan_ports: settings.vxlan_ports.to_vec(), programs: Default::default() };
        // Most filters can be asked of Ethernet, so that one program shows that this one can be asked at all.
        let mut refusals = Link::ALL.into_iter().map_while(|link| filter.program(link).err());
        if let Some(first) = refusals.next()
            && refusals.count() + 1 == Link::ALL.len()
        {
            return Err(first.clone());
        }
        Ok(filter)
    }

    /// Why the filter can't be asked of packets of a link layer, which is a number of the list of LINKTYPE values that
    /// capture files have: raw IP packets have no Ethernet addresses. No such packet passes.
    #[must_use]
    pub fn refusal(&self, link_type: u16) -> Option<&Refusal> {
        self.program(Link::of(link_type)).err()
    }

    /// Whether a packet passes: its captured bytes from the link layer on, and its length on the wire, in bytes.
    #[inline]
    #[must_use]
    pub fn matches(&self, link_type: u16, frame: &[u8], wire_length: u32) -> bool {
        self.program(Link::of(link_type)).is_ok_and(|program| program.passes(frame, wire_length))
    }

    #[inline]
    fn program(&self, link: Link) -> Result<&Program, &Refusal> {
        let [ethernet, cooked, cooked2, raw, raw_ip, raw_ip6, null, loopback, ppp, ppp_serial, ppp_ether, other] =
            &self.programs;
        let program = match link {
            Link::Ethernet => ethernet,
            Link::Cooked => cooked,
            Link::Cooked2 => cooked2,
            Link::Raw => raw,
            Link::RawIp => raw_ip,
            Link::RawIp6 => raw_ip6,
            Link::Null => null,
            Link::Loop => loopback,
            Link::Ppp => ppp,
            Link::PppSerial => ppp_serial,
            Link::PppEther => ppp_ether,
            Link::Other => other,
        };
        let assemble = || match &self.node {
            Some(node) => assemble::assemble(node, link, &self.vxlan_ports).map(shorten::shorten),
            None => Ok(Program::everything()),
        };
        program.get_or_init(assemble).as_ref()
    }
}
