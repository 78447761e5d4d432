//! Whether a packet carries a protocol on top of its link layer (`gen_linktype` of libpcap's gencode.c). A number above
//! 1500 is an Ethernet type, and one up to it a service access point of LLC.

use super::assemble::{Assembly, Block, Why, ether, not, plus, sap};
use super::layout::Link;
use super::program::{Act, Field};
use super::syntax::{Size, Test};

/// The largest length that Ethernet's type field can be.
const LONGEST: u32 = 1500;

/// Types by which Linux' cooked header tells frames of 802.3 and 802.2 (`linux/if_ether.h`, `ETH_P_802_3`,
/// `ETH_P_802_2`).
const COOKED_802_3: u32 = 1;
const COOKED_802_2: u32 = 4;

/// Address families for IPv6 in loopback captures: NetBSD and OpenBSD, FreeBSD, macOS. That of IPv4 is the same
/// everywhere.
const FAMILIES_OF_IP6: [u32; 3] = [24, 28, 30];
const FAMILY_OF_IP: u32 = 2;

impl Assembly<'_> {
    /// Whether the link layer carries a protocol.
    pub(super) fn link_type(&mut self, number: u32) -> Result<Block, Why> {
        if self.layout.is_labelled {
            return self.behind_labels(number);
        }
        match self.layout.link {
            Link::Ethernet => Ok(self.ethernet(number)),
            Link::Cooked => Ok(self.cooked(number)),
            Link::Cooked2 => Ok(self.type_is(number)),
            Link::Raw => Ok(match number {
                ether::IP => self.version(4),
                ether::IP6 => self.version(6),
                _ => self.always(false),
            }),
            Link::RawIp => Ok(self.always(number == ether::IP)),
            Link::RawIp6 => Ok(self.always(number == ether::IP6)),
            Link::Ppp | Link::PppSerial | Link::PppEther => Ok(self.type_is(ppp(number))),
            Link::Null | Link::Loop => Ok(match number {
                ether::IP => self.family(FAMILY_OF_IP),
                ether::IP6 => {
                    let [bsd, freebsd, darwin] = FAMILIES_OF_IP6.map(|family| self.family(family));
                    let either = self.or(freebsd, darwin);
                    self.or(bsd, either)
                }
                _ => self.always(false),
            }),
            Link::Other => Err(format!("this can't be asked of {}", Link::Other.packets())),
        }
    }

    /// Whether a packet of Ethernet carries a protocol (`gen_ether_linktype`).
    fn ethernet(&mut self, number: u32) -> Block {
        match number {
            sap::ISO | sap::IP | sap::NETBEUI => {
                let length = self.is_length();
                let saps = self.equal(self.payload(0, Size::Half), number << 8 | number);
                self.and(length, saps)
            }
            sap::IPX => {
                let by_type = self.type_is(ether::IPX);
                let length = self.is_length();
                let snap = self.snap(0, ether::IPX);
                let by_sap = self.equal(self.payload(0, Size::Byte), sap::IPX);
                let raw = self.equal(self.payload(0, Size::Half), 0xffff);
                let by_sap = self.or(by_sap, raw);
                let framed = self.or(snap, by_sap);
                let framed = self.and(length, framed);
                self.or(by_type, framed)
            }
            ether::ATALK | ether::AARP => {
                let by_type = self.type_is(number);
                let length = self.is_length();
                let snap = self.snap(organization(number), number);
                let framed = self.and(length, snap);
                self.or(by_type, framed)
            }
            0..=LONGEST => {
                let length = self.is_length();
                let field = Field::Bytes(plus(self.layout.link_type, 2), Size::Byte);
                let dsap = self.equal(field, number);
                self.and(length, dsap)
            }
            _ => self.type_is(number),
        }
    }

    /// Whether a packet of Linux' cooked header carries a protocol (`gen_linux_sll_linktype`).
    fn cooked(&mut self, number: u32) -> Block {
        match number {
            sap::ISO | sap::IP | sap::NETBEUI => {
                let llc = self.type_is(COOKED_802_2);
                let saps = self.equal(self.payload(0, Size::Half), number << 8 | number);
                self.and(llc, saps)
            }
            sap::IPX => {
                let by_type = self.type_is(ether::IPX);
                let raw = self.type_is(COOKED_802_3);
                let llc = self.type_is(COOKED_802_2);
                let by_sap = self.equal(self.payload(0, Size::Byte), sap::IPX);
                let snap = self.snap(0, ether::IPX);
                let by_sap = self.or(by_sap, snap);
                let framed = self.and(llc, by_sap);
                let framed = self.or(raw, framed);
                self.or(by_type, framed)
            }
            ether::ATALK | ether::AARP => {
                let by_type = self.type_is(number);
                let llc = self.type_is(COOKED_802_2);
                let snap = self.snap(organization(number), number);
                let framed = self.and(llc, snap);
                self.or(by_type, framed)
            }
            0..=LONGEST => {
                let llc = self.type_is(COOKED_802_2);
                let dsap = self.equal(self.payload(0, Size::Byte), number);
                self.and(llc, dsap)
            }
            _ => self.type_is(number),
        }
    }

    /// Whether there is an IP packet behind the last MPLS label (`gen_mpls_linktype`).
    fn behind_labels(&mut self, number: u32) -> Result<Block, Why> {
        let version = match number {
            ether::IP => 0x40,
            ether::IP6 => 0x60,
            _ => return Err("behind an MPLS label only IPv4 and IPv6 can be told".to_owned()),
        };
        let bottom = self.masked(self.network(2_u32.wrapping_neg(), Size::Byte), 1, 1);
        let version = self.masked(self.network(0, Size::Byte), version, 0xf0);
        Ok(self.and(bottom, version))
    }

    /// Whether the type field is a number.
    pub(super) fn type_is(&mut self, number: u32) -> Block {
        self.equal(Field::Bytes(self.layout.link_type, Size::Half), number)
    }

    /// Whether Ethernet's type field is a length, so that LLC follows.
    fn is_length(&mut self) -> Block {
        let field = Field::Bytes(self.layout.link_type, Size::Half);
        not(self.compared(field, Test::Greater, LONGEST))
    }

    /// Whether LLC and SNAP headers tell a protocol; the last four bytes are looked at first.
    fn snap(&mut self, organization: u32, number: u32) -> Block {
        let last = self.equal(self.payload(4, Size::Word), (organization & 0xffff) << 16 | number);
        let first = self.equal(self.payload(0, Size::Word), 0xaaaa_0300 | organization >> 16);
        self.and(last, first)
    }

    /// Bytes of what the link layer carries, LLC included.
    fn payload(&self, at: u32, size: Size) -> Field {
        Field::Bytes(plus(self.layout.payload, at), size)
    }

    fn version(&mut self, version: u32) -> Block {
        self.masked(self.header(0, Size::Byte), version << 4, 0xf0)
    }

    /// Whether a loopback header holds an address family. In which order `Null` has its bytes depends on the machine
    /// that captured: none of the families means anything in the other one, so both are taken.
    fn family(&mut self, family: u32) -> Block {
        let field = self.header(0, Size::Word);
        let big = self.equal(field, family);
        if self.layout.link == Link::Loop {
            return big;
        }
        let little = self.equal(field, family.swap_bytes());
        self.or(big, little)
    }

    /// In a tunnel: whether its packet begins with a link layer (`gen_geneve_ll_check`).
    pub(super) fn has_link(&mut self) -> Option<Block> {
        let tunnel = self.layout.tunnel?;
        Some(self.test(Act::HasLink(tunnel)))
    }
}

fn organization(number: u32) -> u32 {
    if number == ether::ATALK { 0x08_0007 } else { 0 }
}

/// The number by which PPP knows what Ethernet knows by a type (`ethertype_to_ppptype`).
fn ppp(number: u32) -> u32 {
    match number {
        ether::IP => 0x21,
        ether::IP6 => 0x57,
        ether::DECNET => 0x27,
        ether::ATALK => 0x29,
        ether::NS => 0x25,
        sap::ISO => 0x23,
        sap::STP => 0x31,
        sap::IPX => 0x2b,
        _ => number,
    }
}
