//! `bpf`: a program over the packet's bytes (`net/netfilter/xt_bpf.c`, `kernel/bpf/core.c`), in the classic form that
//! `--bytecode` has.

use super::bytes::{Bytes, Word};

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// How many numbers a program can keep (`BPF_MEMWORDS`).
const MEMORY: usize = 16;

/// The registers.
struct Machine {
    a: Word,
    x: Word,
    memory: [Word; MEMORY],
}

/// How a program ends early: whether it takes the packet, or `None` where nobody knows.
type Ends = Option<bool>;

/// Whether a program takes the packet; `None` where a byte decides that nobody knows, or the program can't be read.
pub(super) fn run(program: &str, bytes: &Bytes) -> Option<bool> {
    let program = read(program)?;
    let mut machine = Machine { a: Word::of(0), x: Word::of(0), memory: [Word::of(0); MEMORY] };
    let mut at: usize = 0;
    loop {
        // A program jumps forward only, so that it ends.
        match machine.step(*program.get(at)?, bytes) {
            Ok(by) => at = at.checked_add(1)?.checked_add(usize::try_from(by).ok()?)?,
            Err(answer) => return answer,
        }
    }
}

/// `"COUNT,CODE JT JF K,…"`.
fn read(program: &str) -> Option<Vec<Instruction>> {
    let (_, list) = program.trim_matches('"').split_once(',')?;
    list.split(',')
        .map(|text| {
            let mut words = text.split_ascii_whitespace();
            Some(Instruction {
                code: words.next()?.parse().ok()?,
                jt: words.next()?.parse().ok()?,
                jf: words.next()?.parse().ok()?,
                k: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

impl Machine {
    /// One instruction, by its class (`BPF_CLASS`), and how many are left out behind it.
    fn step(&mut self, instruction: Instruction, bytes: &Bytes) -> Result<u32, Ends> {
        let Instruction { code, k, .. } = instruction;
        match code & 0x07 {
            0x00 => self.a = self.load(instruction, bytes)?,
            0x01 => self.x = self.load_index(instruction, bytes)?,
            0x02 => self.store(k, self.a)?,
            0x03 => self.store(k, self.x)?,
            0x04 => self.a = self.compute(instruction)?,
            0x05 => return self.jump(instruction),
            0x06 => {
                let value = if code & 0x18 == 0x10 { self.a } else { Word::of(k) };
                return Err(if value.bits != 0 { Some(true) } else { value.whole().map(|value| value != 0) });
            }
            _ if code & 0xf8 == 0 => self.x = self.a,
            _ => self.a = self.x,
        }
        Ok(0)
    }

    fn store(&mut self, k: u32, value: Word) -> Result<(), Ends> {
        let place = usize::try_from(k).ok().and_then(|place| self.memory.get_mut(place));
        *place.ok_or(None)? = value;
        Ok(())
    }

    fn kept(&self, k: u32) -> Result<Word, Ends> {
        usize::try_from(k).ok().and_then(|place| self.memory.get(place)).copied().ok_or(None)
    }

    /// `BPF_LD`. What is read behind the packet's end ends the program with 0.
    fn load(&self, Instruction { code, k, .. }: Instruction, bytes: &Bytes) -> Result<Word, Ends> {
        let count = match code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            _ => 1,
        };
        let place = match code & 0xe0 {
            0x00 => return Ok(Word::of(k)),
            0x60 => return self.kept(k),
            0x80 => return Ok(Word::of(bytes.len())),
            0x40 => self.x.whole().ok_or(None)?.wrapping_add(k),
            _ => k,
        };
        // Negative places are what the kernel knows beside the packet, or in front of its IP header.
        if place > i32::MAX.unsigned_abs() {
            return Err(None);
        }
        bytes.read(place, count).ok_or(Some(false))
    }

    /// `BPF_LDX`.
    fn load_index(&self, Instruction { code, k, .. }: Instruction, bytes: &Bytes) -> Result<Word, Ends> {
        match code & 0xe0 {
            0x00 => Ok(Word::of(k)),
            0x60 => self.kept(k),
            0x80 => Ok(Word::of(bytes.len())),
            // `BPF_MSH`: four times the low half of a byte, an IP header's length.
            _ => bytes.read(k, 1).map(|byte| byte.and(Word::of(0x0f)).left(2)).ok_or(Some(false)),
        }
    }

    /// `BPF_ALU`. A division by 0 ends the program with 0.
    fn compute(&self, Instruction { code, k, .. }: Instruction) -> Result<Word, Ends> {
        let (a, other) = (self.a, if code & 0x08 == 0 { Word::of(k) } else { self.x });
        let both = a.whole().zip(other.whole());
        let known = |compute: fn(u32, u32) -> u32| both.map_or_else(Word::default, |(a, k)| Word::of(compute(a, k)));
        if matches!(code & 0xf0, 0x30 | 0x90) && other.bits == 0 {
            return Err(other.whole().map(|_| false));
        }
        Ok(match code & 0xf0 {
            0x00 => known(u32::wrapping_add),
            0x10 => known(u32::wrapping_sub),
            0x20 => known(u32::wrapping_mul),
            0x30 => known(|a, k| a.checked_div(k).unwrap_or(0)),
            0x40 => a.or(other),
            0x50 => a.and(other),
            0x60 => a.left(other.whole().ok_or(None)?),
            0x70 => a.right(other.whole().ok_or(None)?),
            0x80 => a.whole().map_or_else(Word::default, |a| Word::of(a.wrapping_neg())),
            0x90 => known(|a, k| a.checked_rem(k).unwrap_or(0)),
            0xa0 => a.xor(other),
            _ => return Err(None),
        })
    }

    /// `BPF_JMP`.
    fn jump(&self, Instruction { code, jt, jf, k }: Instruction) -> Result<u32, Ends> {
        let (a, other) = (self.a, if code & 0x08 == 0 { Word::of(k) } else { self.x });
        let holds = match code & 0xf0 {
            0x00 => return Ok(k),
            0x10 => is_equal(a, other),
            0x20 => other.whole().and_then(|k| is_above(a, k)),
            0x30 => other.whole().and_then(|k| a.within(k, u32::MAX)),
            _ => shares_bits(a, other),
        };
        Ok(u32::from(if holds.ok_or(None)? { jt } else { jf }))
    }
}

fn is_equal(a: Word, b: Word) -> Option<bool> {
    if (a.bits ^ b.bits) & a.known & b.known != 0 {
        return Some(false);
    }
    a.whole().zip(b.whole()).map(|_| true)
}

fn is_above(a: Word, k: u32) -> Option<bool> {
    k.checked_add(1).map_or(Some(false), |above| a.within(above, u32::MAX))
}

fn shares_bits(a: Word, b: Word) -> Option<bool> {
    let common = a.and(b);
    if common.bits != 0 { Some(true) } else { common.whole().map(|_| false) }
}
