//! Tests of sums (`gen_relation` and `gen_load` of libpcap's gencode.c).

use super::assemble::{Assembly, Block, Why, not, plus};
use super::program::{Act, Field, Place, Step};
use super::syntax::{self, Need, Operator, Proto, Relation, Size, Sum, Test};

impl Assembly<'_> {
    /// Whether two sums compare, if the packet is what they are made of.
    pub(super) fn relation(&mut self, relation: &Relation) -> Result<Block, Why> {
        let Relation { left, test, is_negated, right } = relation;
        let mut needed = None;
        for need in left.needs.iter().chain(&right.needs) {
            let block = self.need(*need)?;
            needed = Some(self.and_after(needed, block));
        }
        let compared = self.sums(left, *test, right);
        let compared = if *is_negated { not(compared) } else { compared };
        Ok(self.and_after(needed, compared))
    }

    fn need(&mut self, need: Need) -> Result<Block, Why> {
        match need {
            Need::Proto(proto) => self.proto(proto),
            Need::FirstFragment => Ok(self.first_fragment()),
            Need::Icmp6Next => Ok(self.equal(self.network(6, Size::Byte), 58)),
        }
    }

    /// The comparison. That of one field, perhaps with a mask, with a number is one test.
    fn sums(&mut self, left: &Sum, test: Test, right: &Sum) -> Block {
        if let Some(number) = right.constant() {
            match *left.steps {
                [syntax::Step::Number(left)] => return self.always(test.holds(left, number)),
                [step] => {
                    if let Some(field) = self.field(step) {
                        return self.compared(field, test, number);
                    }
                }
                [step, syntax::Step::Number(mask), syntax::Step::Do(Operator::And)] => {
                    if let Some(field) = self.field(step) {
                        return self.test(Act::Compare { field, mask, test, number });
                    }
                }
                _ => {}
            }
        }
        let steps: Vec<Step> = left.steps.iter().chain(&right.steps).map(|step| self.step(*step)).collect();
        self.test_sums(test, steps)
    }

    /// What a step reads at a fixed place.
    fn field(&self, step: syntax::Step) -> Option<Field> {
        match step {
            syntax::Step::Length => Some(Field::Length),
            syntax::Step::At(proto, size, at) => Some(match self.place(proto) {
                // A place that is known is added to that of the header before anything is read, and may wrap:
                // `ip[-1]` is the byte before the header.
                Header::At(place) => Field::Bytes(plus(place, at), size),
                Header::BehindIp(header) => Field::BehindIp { header, at, size },
            }),
            _ => None,
        }
    }

    fn step(&self, step: syntax::Step) -> Step {
        match step {
            syntax::Step::Number(number) => Step::Number(number),
            syntax::Step::Do(operator) => Step::Do(operator),
            syntax::Step::Negate => Step::Negate,
            syntax::Step::Load(proto, size) => match self.place(proto) {
                Header::At(place) => Step::Load(place, size),
                Header::BehindIp(header) => Step::LoadBehindIp(header, size),
            },
            syntax::Step::Length | syntax::Step::At(..) => self.field(step).map_or(Step::Number(0), Step::Field),
        }
    }

    /// Where the header of a protocol begins.
    fn place(&self, proto: Proto) -> Header {
        use Proto::{Carp, Icmp, Icmp6, Igmp, Igrp, Link, Pim, Sctp, Tcp, Udp, Vrrp};
        match proto {
            Link => Header::At(self.layout.header),
            Icmp6 => Header::At(self.layout.network(40)),
            Tcp | Udp | Sctp | Icmp | Igmp | Igrp | Pim | Vrrp | Carp => Header::BehindIp(self.layout.network(0)),
            _ => Header::At(self.layout.network(0)),
        }
    }
}

/// Where a header begins.
enum Header {
    At(Place),
    /// Behind the IPv4 header at a place.
    BehindIp(Place),
}
