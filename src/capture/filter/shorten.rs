//! Leads jumps past tests whose outcome is known on the way there: a filter for several hosts asks of each packet once
//! whether it is IPv4. What is known has been read on that way, so that nothing else is read, or less, and where a packet is
//! cut off nothing changes.

use super::program::{Act, DROP, Field, Instruction, PASS, Program, Target, ZERO};

/// Longer programs stay as they are: what is known costs memory, and nobody writes such a filter by hand.
const LONGEST: usize = 4096;

/// Shortens the ways through a program.
pub(super) fn shorten(mut program: Program) -> Program {
    let leads_on = |(at, instruction): (u32, &Instruction)| instruction.yes > at && instruction.no > at;
    // What is known at a test comes from all ways that lead there, so all of them have to come from before.
    if program.instructions.len() > LONGEST || !(0..).zip(&program.instructions).all(leads_on) {
        return program;
    }
    let mut known: Vec<Option<Known>> = vec![None; program.instructions.len()];
    program.start = lead(&program, &mut known, program.start, Known::default());
    for at in 0..program.instructions.len() {
        let Some(here) = known.get_mut(at).and_then(Option::take) else { continue };
        let Some(Instruction { act, yes, no }) = program.instructions.get(at).copied() else { continue };
        let yes = lead(&program, &mut known, yes, here.with(act, true));
        let no = lead(&program, &mut known, no, here.with(act, false));
        if let Some(instruction) = program.instructions.get_mut(at) {
            *instruction = Instruction { act, yes, no };
        }
    }
    program
}

/// Where a way really leads, and notes what is known there.
fn lead(program: &Program, known: &mut [Option<Known>], mut target: Target, way: Known) -> Target {
    while let Some(instruction) = program.instructions.get(target as usize) {
        target = match way.outcome(instruction.act) {
            Some(true) => instruction.yes,
            Some(false) => instruction.no,
            None => break,
        };
    }
    debug_assert!(target == PASS || target == DROP || (target as usize) < known.len());
    if let Some(there) = known.get_mut(target as usize) {
        *there = Some(there.map_or(way, |other| way.both(&other)));
    }
    target
}

/// How many fields are kept in mind, and how many numbers that each of them is not.
const FIELDS: usize = 4;
const NUMBERS: usize = 4;

/// What is known of a packet.
#[derive(Clone, Copy, Default)]
struct Known {
    facts: [Option<Fact>; FIELDS],
}

/// What is known of bits of a field.
#[derive(Clone, Copy)]
struct Fact {
    field: Field,
    mask: u32,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    Is(u32),
    IsNot([Option<u32>; NUMBERS]),
}

impl Known {
    fn fact(&self, field: Field, mask: u32) -> Option<&Fact> {
        self.facts.iter().flatten().find(|fact| fact.field == field && fact.mask == mask)
    }

    /// How a test ends, if that is known.
    fn outcome(&self, act: Act) -> Option<bool> {
        match act {
            Act::Always(holds) => Some(holds),
            Act::Equal { field, mask, number } => match self.fact(field, mask)?.value {
                Value::Is(known) => Some(known == number),
                Value::IsNot(numbers) => numbers.contains(&Some(number)).then_some(false),
            },
            _ => None,
        }
    }

    /// What is known after a test.
    fn with(mut self, act: Act, holds: bool) -> Self {
        let Act::Equal { field, mask, number } = act else { return self };
        // In tunnels, the same words may mean another place once another tunnel has been entered.
        if !matches!(field, Field::Bytes(place, _) if place.base == ZERO) {
            return self;
        }
        let before = self.fact(field, mask).map(|fact| fact.value);
        let value = match (holds, before) {
            (true, _) => Value::Is(number),
            (false, Some(Value::IsNot(numbers))) => Value::IsNot(with(numbers, number)),
            (false, _) => Value::IsNot(with([None; NUMBERS], number)),
        };
        let same = |slot: &&mut Option<Fact>| slot.is_none_or(|fact| fact.field == field && fact.mask == mask);
        if let Some(slot) = self.facts.iter_mut().find(same) {
            *slot = Some(Fact { field, mask, value });
        }
        self
    }

    /// What is known on both of two ways.
    fn both(&self, other: &Self) -> Self {
        let mut facts = [None; FIELDS];
        let common = self.facts.iter().flatten().filter_map(|fact| {
            let value = fact.value.or(other.fact(fact.field, fact.mask)?.value)?;
            Some(Fact { value, ..*fact })
        });
        for (slot, fact) in facts.iter_mut().zip(common) {
            *slot = Some(fact);
        }
        Self { facts }
    }
}

fn with(mut numbers: [Option<u32>; NUMBERS], number: u32) -> [Option<u32>; NUMBERS] {
    if let Some(slot) = numbers.iter_mut().find(|slot| slot.is_none()) {
        *slot = Some(number);
    }
    numbers
}

impl Value {
    /// What is left if it is one or the other.
    fn or(self, other: Self) -> Option<Self> {
        let left = match (self, other) {
            (Self::Is(one), Self::Is(other)) => return (one == other).then_some(self),
            (Self::Is(one), Self::IsNot(numbers)) | (Self::IsNot(numbers), Self::Is(one)) => {
                numbers.map(|number| number.filter(|number| *number != one))
            }
            (Self::IsNot(one), Self::IsNot(other)) => one.map(|number| number.filter(|_| other.contains(&number))),
        };
        left.iter().any(Option::is_some).then_some(Self::IsNot(left))
    }
}
