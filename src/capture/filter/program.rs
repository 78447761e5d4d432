//! A filter for one link layer, as a list of tests with jumps, and running it: no recursion, nothing allocated.
//!
//! As in BPF, a test that reads beyond the captured bytes ends the program: the packet does not pass, even under `not`.

use super::syntax::{Operator, Size, Test};

/// Where the program goes on after a test. A place in the program, or one of its ends.
pub(super) type Target = u32;

/// The packet passes.
pub(super) const PASS: Target = u32::MAX;

/// The packet does not pass.
pub(super) const DROP: Target = u32::MAX - 1;

/// The register that is always 0: what begins at it begins at a fixed place.
pub(super) const ZERO: u8 = 0;

/// How many tunnels a filter looks into at most.
pub(super) const TUNNELS: u8 = 5;

/// The registers of a tunnel, which are counted from 0: where its packet's link layer begins, where the
/// type of what that carries stands, and where that begins.
pub(super) const fn registers(tunnel: u8) -> [u8; 3] {
    let first = 1 + 3 * tunnel;
    [first, first + 1, first + 2]
}

/// How many registers there are, [`ZERO`] included: a power of two, so that a mask keeps a number among them.
const REGISTERS: usize = 1 + 3 * TUNNELS as usize;

/// A place in the packet that may depend on the tunnels before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The register that is added.
    pub(super) base: u8,
    pub(super) at: u32,
}

/// What is read of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Its length on the wire.
    Length,
    /// Bytes.
    Bytes(Place, Size),
    /// Bytes behind the IPv4 header that begins at a place. `at` counts from the header's beginning, without its length.
    BehindIp { header: Place, at: u32, size: Size },
}

/// One step of a sum on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Number(u32),
    Field(Field),
    /// Bytes of a header at a place that the stack's number is added to.
    Load(Place, Size),
    /// Bytes behind an IPv4 header, at a place that the stack's number is added to.
    LoadBehindIp(Place, Size),
    Do(Operator),
    Negate,
}

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Whether bits of a field are a number: what most filters ask, over and over.
    Equal { field: Field, mask: u32, number: u32 },
    /// Bits of a field against a number.
    Compare { field: Field, mask: u32, test: Test, number: u32 },
    /// Two sums, which are steps of the program's.
    Sums { first: u32, end: u32, test: Test },
    /// What is the same for every packet.
    Always(bool),
    /// Whether a tunnel's packet begins with a link layer: its header and what it carries begin at different places.
    HasLink(u8),
    /// Goes into a tunnel, which is always true.
    Enter(Tunnel),
}

/// A tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tunnel {
    pub(super) kind: TunnelKind,
    /// Where the IP header before it begins.
    pub(super) ip: Place,
    /// Whether that is one of IPv6, whose extension headers are not passed.
    pub(super) is_v6: bool,
    /// Its place among the tunnels.
    pub(super) number: u8,
}

/// How a tunnel's header is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelKind {
    Geneve,
    Vxlan,
}

/// A test and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) act: Act,
    pub(super) yes: Target,
    pub(super) no: Target,
}

/// A filter for one link layer.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The first test.
    pub(super) start: Target,
    pub(super) instructions: Vec<Instruction>,
    /// The sums of all tests.
    pub(super) steps: Vec<Step>,
    /// What the registers of each tunnel hold for packets that are not in it: the places before the tunnel, so that the
    /// rest of the filter is asked there. libpcap reads what happens to be in its memory then.
    pub(super) outside: Vec<[Place; 3]>,
}

impl Program {
    /// The program that every packet passes.
    pub(super) fn everything() -> Self {
        Self { start: PASS, instructions: Vec::new(), steps: Vec::new(), outside: Vec::new() }
    }

    /// Whether a packet passes.
    #[inline]
    pub(super) fn passes(&self, frame: &[u8], wire_length: u32) -> bool {
        let mut packet = Packet { frame, wire_length, registers: [0; REGISTERS] };
        packet.stay_outside(&self.outside, 0);
        let mut next = self.start;
        while let Some(instruction) = self.instructions.get(next as usize) {
            let Some(holds) = self.holds(&instruction.act, &mut packet) else { return false };
            next = if holds { instruction.yes } else { instruction.no };
        }
        next == PASS
    }

    /// Whether a test holds; nothing where it reads too far.
    #[inline]
    fn holds(&self, act: &Act, packet: &mut Packet<'_>) -> Option<bool> {
        match *act {
            Act::Equal { field, mask, number } => Some(packet.field(field)? & mask == number),
            Act::Compare { field, mask, test, number } => Some(test.holds(packet.field(field)? & mask, number)),
            Act::Sums { first, end, test } => {
                let steps = self.steps.get(first as usize..end as usize)?;
                let [left, right] = packet.sums(steps)?;
                Some(test.holds(left, right))
            }
            Act::Always(holds) => Some(holds),
            Act::HasLink(tunnel) => {
                let [header, _, payload] = registers(tunnel);
                Some(packet.register(header) != packet.register(payload))
            }
            Act::Enter(tunnel) => {
                packet.enter(tunnel)?;
                packet.stay_outside(&self.outside, tunnel.number + 1);
                Some(true)
            }
        }
    }
}

/// How many numbers two sums have on the stack at most: the left result, and the right sum.
const STACK: usize = super::sum::DEEPEST + 1;

/// A packet under test.
struct Packet<'a> {
    frame: &'a [u8],
    wire_length: u32,
    registers: [u32; REGISTERS],
}

impl Packet<'_> {
    #[inline]
    fn register(&self, register: u8) -> u32 {
        self.registers.get(usize::from(register) % REGISTERS).copied().unwrap_or(0)
    }

    /// Sets the registers of a tunnel.
    fn set(&mut self, tunnel: u8, places: [u32; 3]) {
        for (register, place) in registers(tunnel).into_iter().zip(places) {
            if let Some(slot) = self.registers.get_mut(usize::from(register)) {
                *slot = place;
            }
        }
    }

    #[inline]
    fn field(&self, field: Field) -> Option<u32> {
        match field {
            Field::Bytes(place, size) => self.load(self.register(place.base), place.at, size),
            Field::BehindIp { header, at, size } => {
                let end = self.behind_ip(header)?;
                self.load(end, header.at.wrapping_add(at), size)
            }
            Field::Length => Some(self.wire_length),
        }
    }

    /// The variable part of where the header behind an IPv4 header begins: the register, and the IPv4 header's length.
    #[inline]
    fn behind_ip(&self, header: Place) -> Option<u32> {
        let base = self.register(header.base);
        let first = self.load(base, header.at, Size::Byte)?;
        Some(base.wrapping_add((first & 0xf) * 4))
    }

    /// Bytes at the sum of two places, which does not wrap.
    #[inline]
    fn load(&self, base: u32, at: u32, size: Size) -> Option<u32> {
        let at = usize::try_from(u64::from(base) + u64::from(at)).ok()?;
        let rest = self.frame.get(at..)?;
        Some(match size {
            Size::Byte => u32::from(*rest.first()?),
            Size::Half => u32::from(u16::from_be_bytes(*rest.first_chunk()?)),
            Size::Word => u32::from_be_bytes(*rest.first_chunk()?),
        })
    }

    /// The results of the sums that some steps make, of which there are two.
    fn sums(&self, steps: &[Step]) -> Option<[u32; 2]> {
        let mut stack = Stack { numbers: [0; STACK], height: 0 };
        for step in steps {
            let number = match *step {
                Step::Number(number) => number,
                Step::Field(field) => self.field(field)?,
                Step::Load(place, size) => {
                    let index = self.register(place.base).wrapping_add(stack.pop()?);
                    self.load(index, place.at, size)?
                }
                Step::LoadBehindIp(header, size) => {
                    let index = self.behind_ip(header)?.wrapping_add(stack.pop()?);
                    self.load(index, header.at, size)?
                }
                Step::Do(operator) => {
                    let right = stack.pop()?;
                    operator.apply(stack.pop()?, right)?
                }
                Step::Negate => stack.pop()?.wrapping_neg(),
            };
            stack.push(number)?;
        }
        let right = stack.pop()?;
        Some([stack.pop()?, right])
    }

    /// Notes where the parts of a tunnel's packet begin; nothing where its header is cut off.
    fn enter(&mut self, tunnel: Tunnel) -> Option<()> {
        let ip = if tunnel.is_v6 {
            self.register(tunnel.ip.base).wrapping_add(IP6_HEADER)
        } else {
            self.behind_ip(tunnel.ip)?
        };
        let outer = ip.wrapping_add(tunnel.ip.at).wrapping_add(UDP_HEADER);
        let (header, has_link) = match tunnel.kind {
            TunnelKind::Vxlan => (outer.wrapping_add(VXLAN_HEADER), true),
            TunnelKind::Geneve => {
                let options = self.load(outer, 0, Size::Byte)? & 0x3f;
                let carried = self.load(outer, 2, Size::Half)?;
                (outer.wrapping_add(GENEVE_HEADER + options * 4), carried == BRIDGED_ETHERNET)
            }
        };
        // What Geneve carries without Ethernet has its type in Geneve's own header.
        let (link_type, payload) = if has_link { (header.wrapping_add(12), 14) } else { (outer.wrapping_add(2), 0) };
        self.set(tunnel.number, [header, link_type, header.wrapping_add(payload)]);
        Some(())
    }

    /// Notes for all tunnels from one on that the packet is not in them.
    #[inline]
    fn stay_outside(&mut self, outside: &[[Place; 3]], from: u8) {
        for (number, places) in (0..).zip(outside).skip(usize::from(from)) {
            self.set(number, places.map(|place| self.register(place.base).saturating_add(place.at)));
        }
    }
}

const IP6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;
const VXLAN_HEADER: u32 = 8;
const GENEVE_HEADER: u32 = 8;

/// The type by which Geneve says that it carries Ethernet (RFC 8926, section 3.4).
const BRIDGED_ETHERNET: u32 = 0x6558;

/// The numbers that a sum has not used yet.
struct Stack {
    numbers: [u32; STACK],
    height: usize,
}

impl Stack {
    fn push(&mut self, number: u32) -> Option<()> {
        *self.numbers.get_mut(self.height)? = number;
        self.height += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<u32> {
        self.height = self.height.checked_sub(1)?;
        self.numbers.get(self.height).copied()
    }
}
