//! One rule's line.

use std::borrow::Cow;

use crate::evidence::{Evidence, FileId};
use crate::net::{Family, Protocol};
use crate::snapshot::{Match, Rule, Selector, Table, Target, Test};

use super::matching::{Loaded, Taken};
use super::name;
use super::target::LoadedTarget;
use super::value::{addr_mask, if_pattern};
use super::words::{Args, Malformed, Words};

/// Reads one rule's line. What can't be read is kept in the rule as text, so that a walk that comes to it branches.
pub(crate) fn read_rule(line: &str, family: Family, table: &Table) -> Rule {
    let mut reader = Reader {
        words: Words::new(line),
        family,
        table,
        selector: Selector::default(),
        loaded: Vec::new(),
        target: None,
        target_is_last: false,
        unsupported: Vec::new(),
    };
    if reader.skip_start() {
        while reader.word() {}
    } else {
        let text = reader.words.rest();
        reader.target = Some(LoadedTarget::unsupported(text));
    }
    reader.finish()
}

struct Reader<'l, 't> {
    words: Words<'l>,
    family: Family,
    table: &'t Table,
    selector: Selector,
    loaded: Vec<Loaded<'l>>,
    target: Option<LoadedTarget<'l>>,
    /// Whether the target is what was loaded last, so that options that nobody knows are taken for its own.
    target_is_last: bool,
    unsupported: Vec<Match>,
}

impl Reader<'_, '_> {
    /// Skips counters and `-A CHAIN`.
    fn skip_start(&mut self) -> bool {
        if self.words.peek().is_some_and(|word| word.starts_with('[')) {
            self.words.next();
        }
        let place = self.words.place();
        let append = self.words.next().is_some_and(|word| word == "-A" || word == "--append");
        if !append || self.words.next().is_none() {
            self.words.back(place);
            return false;
        }
        true
    }

    /// Takes the next option with its values; false at the end.
    fn word(&mut self) -> bool {
        let place = self.words.place();
        let Some(mut option) = self.words.next() else { return false };
        let invert = option == "!";
        if invert {
            let Some(next) = self.words.next() else {
                self.keep("!".to_owned());
                return false;
            };
            option = next;
        }
        let taken = match self.base_option(&option, invert) {
            Ok(false) => self.extension_option(&option, invert),
            taken => taken,
        };
        if !matches!(taken, Ok(true)) {
            self.words.skip_values();
            let text = self.words.since(place);
            self.keep(text);
        }
        true
    }

    /// Keeps what nothing understood, with the extension that it most likely belongs to.
    fn keep(&mut self, text: String) {
        if self.target_is_last && self.target.as_mut().is_some_and(|target| target.add_unknown(&text)) {
            return;
        }
        let last = self.loaded.last_mut().and_then(|loaded| loaded.found.first_mut());
        if let Some(Match::Unknowable(whole) | Match::Unsupported(whole)) = last {
            *whole = format!("{whole} {text}").into();
        } else if !matches!(last, Some(Match::Absent)) {
            self.unsupported.push(Match::Unsupported(text.into()));
        }
    }

    fn base_option(&mut self, option: &str, invert: bool) -> Taken {
        let family = self.family;
        let mut args = Args::new(&mut self.words, invert);
        match option {
            "-s" | "--source" | "--src" => {
                let text = args.value()?;
                self.selector.source = Some(addr_mask(family, &text, args.invert).ok_or(Malformed)?);
            }
            "-d" | "--destination" | "--dst" => {
                let text = args.value()?;
                self.selector.destination = Some(addr_mask(family, &text, args.invert).ok_or(Malformed)?);
            }
            "-i" | "--in-interface" => {
                let name = args.value()?;
                self.selector.in_iface = Some(if_pattern(&name, args.invert));
            }
            "-o" | "--out-interface" => {
                let name = args.value()?;
                self.selector.out_iface = Some(if_pattern(&name, args.invert));
            }
            "-p" | "--protocol" | "--proto" => {
                let value = args.parse(name::protocol)?;
                let invert = args.invert;
                // `-p all` asks nothing.
                self.selector.protocol = (value.0 != 0).then_some(Test { value, invert });
            }
            "-f" | "--fragment" => self.selector.fragment = Some(Test { value: (), invert }),
            "-4" | "--ipv4" => self.selector.other_family |= family != Family::Inet,
            "-6" | "--ipv6" => self.selector.other_family |= family != Family::Inet6,
            "-c" | "--set-counters" => {
                args.value()?;
                args.value()?;
            }
            "-m" | "--match" => {
                let name = args.value()?;
                self.loaded.push(Loaded::new(name));
                self.target_is_last = false;
            }
            "-j" | "--jump" => {
                let name = args.value()?;
                self.target = Some(LoadedTarget::jump(name, self.table, family));
                self.target_is_last = true;
            }
            "-g" | "--goto" => {
                let name = args.value()?;
                self.target = Some(LoadedTarget::goto(name, self.table));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// An option of an extension: the one that was loaded last goes first, and `-p` loads its own if it must
    /// (`command_default` in `iptables/xshared.c`).
    fn extension_option(&mut self, option: &str, invert: bool) -> Taken {
        let place = self.words.place();
        if let Some(target) = &mut self.target {
            if target.option(option, &mut Args::new(&mut self.words, invert), self.family)? {
                return Ok(true);
            }
            self.words.back(place);
        }
        for loaded in self.loaded.iter_mut().rev() {
            if loaded.option(option, &mut Args::new(&mut self.words, invert), self.family)? {
                return Ok(true);
            }
            self.words.back(place);
        }
        let Some(name) = self.implied() else { return Ok(false) };
        let mut loaded = Loaded::new(Cow::Borrowed(name));
        let taken = loaded.option(option, &mut Args::new(&mut self.words, invert), self.family)?;
        if taken {
            self.loaded.push(loaded);
        }
        Ok(taken)
    }

    /// The extension that belongs to the rule's protocol.
    fn implied(&self) -> Option<&'static str> {
        let protocol = self.selector.protocol.filter(|test| !test.invert)?.value;
        match (protocol, self.family) {
            (Protocol::TCP, _) => Some("tcp"),
            (Protocol::UDP, _) => Some("udp"),
            (Protocol::SCTP, _) => Some("sctp"),
            (Protocol(136), _) => Some("udplite"),
            (Protocol(33), _) => Some("dccp"),
            (Protocol::ICMP, Family::Inet) => Some("icmp"),
            (Protocol::ICMPV6, Family::Inet6) => Some("icmp6"),
            _ => None,
        }
    }

    fn finish(self) -> Rule {
        let target = self.target.map_or(Target::Continue, |target| target.target);
        let mut matches: Vec<Match> = self.loaded.into_iter().flat_map(|loaded| loaded.found).collect();
        matches.extend(self.unsupported);
        Rule { index: 0, selector: self.selector, matches, target, evidence: Evidence::line(FileId(0), 0), start: 0 }
    }
}
