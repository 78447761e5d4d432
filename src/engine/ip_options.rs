//! The options of an IPv4 header, as the kernel reads them, writes into them, and copies them into answers.
//!
//! Follows `net/ipv4/ip_options.c`.

use std::net::Ipv4Addr;

use crate::net::IpOptions;

/// Bytes of a header without options.
const FIXED: usize = 20;

/// What the options of a packet are (`struct ip_options`): where in the list each of them starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compiled {
    pub rr: Option<usize>,
    /// The stack has taken a place of the record, to write the address that the packet leaves by.
    rr_needaddr: bool,
    ts: Option<usize>,
    ts_needaddr: bool,
    ts_needtime: bool,
    pub srr: Option<usize>,
    pub is_strictroute: bool,
    pub router_alert: Option<usize>,
}

/// Why options can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The byte at this place of the header is wrong.
    At(usize),
    /// Only a process with `CAP_NET_RAW` may set such an option.
    Privileged,
    /// The security option CIPSO, of which no snapshot tells what the kernel takes.
    Cipso,
}

/// Whether an address is the namespace's own.
pub(super) type IsOwn<'s> = &'s dyn Fn(Ipv4Addr) -> bool;

/// Who reads options.
#[derive(Clone, Copy)]
pub(super) enum Reader<'s> {
    /// The stack of a namespace, of a packet that came in: it records its address and the time.
    Stack(IsOwn<'s>),
    /// nf_tables, which reads them as if a socket were to send them (`ipv4_find_option` in
    /// `net/netfilter/nft_exthdr.c`).
    Socket,
}

/// A byte of a list. Those that say what an option is and how far it is used are never the kernel's secret.
fn octet(list: &[Option<u8>], at: usize) -> usize {
    usize::from(list.get(at).copied().flatten().unwrap_or(0))
}

fn put(list: &mut [Option<u8>], at: usize, value: usize) {
    if let Some(byte) = list.get_mut(at) {
        *byte = u8::try_from(value).ok();
    }
}

/// Makes bytes unknown: the kernel writes there.
fn written(list: &mut [Option<u8>], at: usize, count: usize) {
    list.iter_mut().skip(at).take(count).for_each(|byte| *byte = None);
}

/// The address at a place, where all of it is known.
pub(super) fn address(list: &[Option<u8>], at: usize) -> Option<Ipv4Addr> {
    let bytes: Option<Vec<u8>> = list.get(at..at.checked_add(4)?)?.iter().copied().collect();
    <[u8; 4]>::try_from(bytes?).ok().map(Ipv4Addr::from)
}

/// Finds the options in a list (`__ip_options_compile`), and writes what their reader writes.
pub(super) fn compile(list: &mut [Option<u8>], reader: Reader<'_>) -> (Compiled, Option<Wrong>) {
    let mut found = Compiled::default();
    let mut at = 0;
    while at < list.len() {
        match list.get(at).copied().flatten() {
            Some(IpOptions::END) => {
                list.iter_mut().skip(at).for_each(|byte| *byte = Some(IpOptions::END));
                break;
            }
            Some(IpOptions::NOP) => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let length = octet(list, at + 1);
        let Some(option) = list.get_mut(at..at.saturating_add(length)).filter(|_| length >= 2) else {
            return (found, Some(Wrong::At(FIXED + at)));
        };
        if let Err(wrong) = compile_one(option, at, reader, &mut found) {
            return (found, Some(wrong));
        }
        at += length;
    }
    (found, None)
}

fn compile_one(option: &mut [Option<u8>], at: usize, reader: Reader<'_>, found: &mut Compiled) -> Result<(), Wrong> {
    let from_socket = matches!(reader, Reader::Socket);
    match option.first().copied().flatten() {
        Some(kind @ (IpOptions::LSRR | IpOptions::SSRR)) => {
            source_route(option, at, reader, found)?;
            found.is_strictroute = kind == IpOptions::SSRR;
            found.srr = Some(at);
        }
        Some(IpOptions::RR) => {
            record_route(option, at, found)?;
            found.rr = Some(at);
        }
        Some(IpOptions::TS) => {
            timestamp(option, at, reader, found)?;
            found.ts = Some(at);
        }
        Some(IpOptions::RA) => {
            if option.len() < 4 {
                return Err(Wrong::At(FIXED + at + 1));
            }
            if octet(option, 2) == 0 && octet(option, 3) == 0 {
                found.router_alert = Some(at);
            }
        }
        _ if from_socket => return Err(Wrong::Privileged),
        Some(IpOptions::CIPSO) => return Err(Wrong::Cipso),
        _ => {}
    }
    Ok(())
}

/// What every list of addresses must have: a header of three bytes, and a pointer behind it.
fn pointed(option: &[Option<u8>], at: usize, least: usize, is_known: bool) -> Result<usize, Wrong> {
    let pointer = octet(option, 2);
    match option.len() {
        _ if is_known => Err(Wrong::At(FIXED + at)),
        length if length < least => Err(Wrong::At(FIXED + at + 1)),
        _ if pointer <= least => Err(Wrong::At(FIXED + at + 2)),
        _ => Ok(pointer),
    }
}

fn source_route(option: &[Option<u8>], at: usize, reader: Reader<'_>, found: &Compiled) -> Result<(), Wrong> {
    let pointer = pointed(option, at, 3, false)?;
    if found.srr.is_some() {
        return Err(Wrong::At(FIXED + at));
    }
    let whole = pointer == 4 && option.len() >= 7 && (option.len() - 3).is_multiple_of(4);
    if matches!(reader, Reader::Socket) && !whole { Err(Wrong::At(FIXED + at + 1)) } else { Ok(()) }
}

/// A place of the record is taken, and written when the packet leaves.
fn record_route(option: &mut [Option<u8>], at: usize, found: &mut Compiled) -> Result<(), Wrong> {
    let pointer = pointed(option, at, 3, found.rr.is_some())?;
    if pointer <= option.len() {
        if pointer + 3 > option.len() {
            return Err(Wrong::At(FIXED + at + 2));
        }
        written(option, pointer - 1, 4);
        put(option, 2, pointer + 4);
        found.rr_needaddr = true;
    }
    Ok(())
}

/// How a timestamp option is filled, the low half of its fourth byte: with times alone, with addresses before them, or
/// with times behind the addresses that stand there.
const TIMES: usize = 0;
const ADDRESSES: usize = 1;
const PRESET: usize = 3;

fn timestamp(option: &mut [Option<u8>], at: usize, reader: Reader<'_>, found: &mut Compiled) -> Result<(), Wrong> {
    let pointer = pointed(option, at, 4, found.ts.is_some())?;
    let (kind, length) = (octet(option, 3) & 0x0f, option.len());
    if pointer > length {
        let overflow = octet(option, 3) >> 4;
        return match reader {
            _ if kind == PRESET => Ok(()),
            _ if overflow == 15 => Err(Wrong::At(FIXED + at + 3)),
            Reader::Socket => Ok(()),
            Reader::Stack(_) => {
                put(option, 3, kind | (overflow + 1) << 4);
                Ok(())
            }
        };
    }
    let room = if matches!(kind, ADDRESSES | PRESET) { 7 } else { 3 };
    if pointer + room > length {
        return Err(Wrong::At(FIXED + at + 2));
    }
    match kind {
        TIMES => {
            written(option, pointer - 1, 4);
            put(option, 2, pointer + 4);
            found.ts_needtime = true;
        }
        ADDRESSES => {
            written(option, pointer - 1, 8);
            put(option, 2, pointer + 8);
            (found.ts_needaddr, found.ts_needtime) = (true, true);
        }
        PRESET if is_own(reader, address(option, pointer - 1)) => {
            written(option, pointer + 3, 4);
            put(option, 2, pointer + 8);
            found.ts_needtime = true;
        }
        PRESET => {}
        _ if matches!(reader, Reader::Socket) => return Err(Wrong::Privileged),
        _ => {}
    }
    Ok(())
}

fn is_own(reader: Reader<'_>, address: Option<Ipv4Addr>) -> bool {
    matches!((reader, address), (Reader::Stack(is_own), Some(address)) if is_own(address))
}

/// What becomes of a packet's options in an answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// The answer has these.
    Options(IpOptions),
    /// They don't fit, and no answer is made.
    Refused,
    /// The answer goes back by the source route that the packet came by.
    SourceRoute,
}

/// The options of an answer (`__ip_options_echo`): the record and the timestamps so far, with the answer's own place
/// in each.
pub(super) fn ip_options_echo(options: &IpOptions, found: &Compiled, is_own: IsOwn<'_>) -> Echo {
    let list = options.bytes();
    let copy = |at: Option<usize>| {
        let Some(at) = at else { return Vec::new() };
        list.get(at..at.saturating_add(octet(list, at + 1))).map_or_else(Vec::new, <[_]>::to_vec)
    };
    let (mut record, mut stamps) = (copy(found.rr), copy(found.ts));
    if !(echo_record(&mut record, found) && echo_stamps(&mut stamps, found, is_own)) {
        return Echo::Refused;
    }
    // A route of which nothing is used yet has nothing to go back by.
    match found.srr {
        Some(at) if octet(list, at + 2) > 4 => Echo::SourceRoute,
        _ => Echo::Options(IpOptions::new(record.into_iter().chain(stamps))),
    }
}

fn echo_record(record: &mut [Option<u8>], found: &Compiled) -> bool {
    let pointer = octet(record, 2);
    if !found.rr_needaddr || pointer > record.len() {
        return true;
    }
    written(record, pointer - 1, 4);
    put(record, 2, pointer + 4);
    pointer + 3 <= record.len()
}

fn echo_stamps(stamps: &mut [Option<u8>], found: &Compiled, is_own: IsOwn<'_>) -> bool {
    let mut pointer = octet(stamps, 2);
    if pointer > stamps.len() || stamps.is_empty() {
        return true;
    }
    for _ in [found.ts_needaddr, found.ts_needtime].into_iter().filter(|needs| *needs) {
        if pointer + 3 > stamps.len() {
            return false;
        }
        if octet(stamps, 3) & 0x0f != PRESET {
            written(stamps, pointer - 1, 4);
            pointer += 4;
        } else if address(stamps, pointer - 1).is_some_and(is_own) {
            written(stamps, pointer + 3, 4);
            pointer += 8;
        }
    }
    put(stamps, 2, pointer);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Compiled, Option<Wrong>, String) {
        let mut list = IpOptions::known(bytes).bytes().to_vec();
        let (found, wrong) = compile(&mut list, Reader::Stack(&|_| false));
        (found, wrong, IpOptions::new(list).hex())
    }

    #[test]
    fn the_stack_takes_a_place_of_a_record() {
        let (found, wrong, bytes) = read(&[7, 7, 4, 0, 0, 0, 0]);
        assert_eq!((found.rr, wrong, bytes.as_str()), (Some(0), None, "070708????????00"));
        let (_, wrong, bytes) = read(&[7, 7, 8, 1, 2, 3, 4]);
        assert_eq!((wrong, bytes.as_str()), (None, "0707080102030400"));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        for (bytes, place) in [
            (&[7, 7, 3, 0, 0, 0, 0][..], 22),
            (&[1, 7, 2, 4], 22),
            (&[7, 12, 4, 0], 20),
            (&[68, 4, 5, 0xf0], 23),
            (&[148, 3, 0, 0], 21),
            (&[7, 3, 4, 7, 3, 4], 23),
            (&[131, 3, 4, 137, 3, 4], 23),
        ] {
            assert_eq!(read(bytes).1, Some(Wrong::At(place)), "{bytes:?}");
        }
    }

    #[test]
    fn an_option_that_nobody_knows_is_let_through_by_the_stack_alone() {
        let mut list = IpOptions::known(&[130, 4, 0, 0]).bytes().to_vec();
        assert_eq!(compile(&mut list, Reader::Socket).1, Some(Wrong::Privileged));
        assert_eq!(read(&[130, 4, 0, 0]).1, None);
    }

    #[test]
    fn an_answer_has_the_record_and_no_router_alert() {
        let mut list = IpOptions::known(&[148, 4, 0, 0, 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]).bytes().to_vec();
        let (found, _) = compile(&mut list, Reader::Stack(&|_| false));
        let Echo::Options(echo) = ip_options_echo(&IpOptions::new(list), &found, &|_| false) else { panic!() };
        assert_eq!(echo.hex(), "070b0c????????????????00");
    }
}
