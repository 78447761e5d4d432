//! What is asked behind a tag, a label or in a tunnel. From such a word on, everything is asked there, to the end of
//! the filter: also behind an `or`, and also of packets that have no such tag. That is libpcap's rule. Only of packets
//! that are in no tunnel, what follows the word for one is asked outside; in libpcap, that is undefined.

use super::assemble::{Assembly, Block, Why, plus};
use super::layout::{Layout, Link};
use super::program::{Act, Field, Place, TUNNELS, Tunnel, TunnelKind, registers};
use super::syntax::{Side, Size};

/// Types of VLAN tags: 802.1Q, 802.1ad and the older one for the outer of two tags.
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];

/// MPLS with a unicast label, as Ethernet and as PPP know it.
const MPLS: u32 = 0x8847;
const MPLS_OF_PPP: u32 = 0x0281;

const PPPOE_SESSION: u32 = 0x8864;

const UDP: u8 = 17;

/// The port of Geneve (RFC 8926).
const GENEVE: u16 = 6081;

impl Assembly<'_> {
    /// `gen_vlan`, for packets whose tags are in their bytes.
    pub(super) fn vlan(&mut self, id: Option<u32>) -> Result<Block, Why> {
        if self.layout.is_labelled {
            return Err("behind an MPLS label no VLAN tag can be told".to_owned());
        }
        if self.layout.link != Link::Ethernet {
            return Err(format!("{} have no VLAN tags", self.layout.link.packets()));
        }
        let [first, second, third] = TAGS.map(|tag| self.type_is(tag));
        let either = self.or(second, third);
        let mut block = self.or(first, either);
        if let Some(id) = id {
            let field = Field::Bytes(self.layout.network(0), Size::Half);
            let is_id = self.masked(field, id, 0xfff);
            block = self.and(block, is_id);
        }
        self.layout.link_type = plus(self.layout.link_type, 4);
        self.layout.payload = plus(self.layout.payload, 4);
        Ok(block)
    }

    /// `gen_mpls`. A second label is there where the first is not the last.
    pub(super) fn mpls(&mut self, label: Option<u32>) -> Result<Block, Why> {
        let mut block = if self.layout.is_labelled {
            self.masked(self.network(2_u32.wrapping_neg(), Size::Byte), 0, 1)
        } else {
            match self.layout.link {
                Link::Ethernet => self.type_is(MPLS),
                Link::Ppp => self.type_is(MPLS_OF_PPP),
                link => return Err(format!("in {} no MPLS label can be told", link.packets())),
            }
        };
        if let Some(label) = label {
            let is_label = self.masked(self.network(0, Size::Word), label << 12, 0xffff_f000);
            block = self.and(block, is_label);
        }
        self.layout.network = self.layout.network.wrapping_add(4);
        self.layout.is_labelled = true;
        Ok(block)
    }

    /// `gen_pppoes`.
    pub(super) fn pppoe(&mut self, id: Option<u32>) -> Result<Block, Why> {
        let mut block = self.link_type(PPPOE_SESSION)?;
        if let Some(id) = id {
            let is_id = self.masked(self.network(0, Size::Word), id, 0xffff);
            block = self.and(block, is_id);
        }
        let header = self.layout.network(6);
        self.layout =
            Layout { link: Link::Ppp, header, link_type: header, payload: plus(header, 2), network: 0, ..self.layout };
        Ok(block)
    }

    /// `gen_geneve`: to UDP port 6081, of version 0.
    pub(super) fn geneve(&mut self, vni: Option<u32>) -> Result<Block, Why> {
        self.tunnel(TunnelKind::Geneve, &[GENEVE], (0xc0, 0), vni)
    }

    /// Like [`Self::geneve`]: to one of the UDP ports of VXLAN, with the flag that there is a VNI (RFC 7348).
    pub(super) fn vxlan(&mut self, vni: Option<u32>) -> Result<Block, Why> {
        self.tunnel(TunnelKind::Vxlan, self.vxlan_ports, (0x08, 0x08), vni)
    }

    /// Whether a packet is in a tunnel with some bits of its first byte and a VNI, and what is asked from here on.
    fn tunnel(&mut self, kind: TunnelKind, ports: &[u16], flags: (u32, u32), vni: Option<u32>) -> Result<Block, Why> {
        let number = self.enclose()?;
        let mut found = None;
        for is_v6 in [false, true] {
            let tunnel = Tunnel { kind, ip: self.layout.network(0), is_v6, number };
            let mut block = self.destination_port(ports, is_v6)?;
            let first = self.masked(self.behind(is_v6, 8, Size::Byte), flags.1, flags.0);
            block = self.and(block, first);
            if let Some(vni) = vni {
                let is_vni = self.masked(self.behind(is_v6, 12, Size::Word), vni << 8, 0xffff_ff00);
                block = self.and(block, is_vni);
            }
            let enter = self.test(Act::Enter(tunnel));
            block = self.and(block, enter);
            found = Some(match found {
                Some(found) => self.or(found, block),
                None => block,
            });
        }
        let [header, link_type, payload] = registers(number).map(|base| Place { base, at: 0 });
        let tunnel = Some(number);
        self.layout = Layout { link: Link::Ethernet, header, link_type, payload, network: 0, tunnel, ..self.layout };
        Ok(found.unwrap_or_else(|| self.always(false)))
    }

    fn destination_port(&mut self, ports: &[u16], is_v6: bool) -> Result<Block, Why> {
        let mut found = None;
        for port in ports {
            let range = (*port, *port);
            let block = if is_v6 {
                self.port6(Some(UDP), Side::Destination, range)?
            } else {
                self.port4(Some(UDP), Side::Destination, range)?
            };
            found = Some(match found {
                Some(found) => self.or(found, block),
                None => block,
            });
        }
        match found {
            Some(found) => Ok(found),
            None => Ok(self.always(false)),
        }
    }

    fn behind(&self, is_v6: bool, at: u32, size: Size) -> Field {
        if is_v6 { self.behind_ip6(at, size) } else { self.behind_ip(at, size) }
    }

    /// The number of a new tunnel, and where packets are looked at that are not in it.
    fn enclose(&mut self) -> Result<u8, Why> {
        let number = u8::try_from(self.program.outside.len()).unwrap_or(u8::MAX);
        if number >= TUNNELS {
            return Err(format!("a filter looks into {TUNNELS} tunnels at most"));
        }
        self.program.outside.push(self.layout.places());
        Ok(number)
    }
}
