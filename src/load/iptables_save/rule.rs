//! One rule's line.

use smallvec::SmallVec;

use crate::evidence::Text;
use crate::net::{Family, Hook, Protocol};
use crate::snapshot::{ChainId, ChainPolicy, Match, Refused, Rule, RulePlace, Ruleset, Selector, Table, Target};

use super::grammar::{self, Extension, Refusal, Surroundings, Taken};
use super::words::{self, Words};
use super::{matches, plain, selector, targets};

/// The longest rule that is read. `iptables-restore` takes lines of 10 KiB.
pub(super) const LONGEST: usize = 1 << 14;

/// Why a rule can't lead into a built-in chain.
const BASE: &str = "no rule may lead into a built-in chain";

/// Reads one rule's line. What can't be read is kept in the rule as text, so that a walk that comes to it branches.
pub(crate) fn read_rule(rule: &mut Rule, line: &str, place: RulePlace<'_>) {
    if plain::read_rule(rule, line, place).is_none() {
        let Rule { selector, matches, target, .. } = by_grammar(line, place.ruleset, place.table);
        (rule.selector, rule.matches, rule.target) = (selector, matches, target);
    }
}

/// The same by the grammar alone.
pub(super) fn by_grammar(line: &str, ruleset: &Ruleset, table: &Table) -> Rule {
    let words = Words::new(if line.len() > LONGEST { "" } else { line });
    let too_long = line.len() > LONGEST || words.len() > words::MOST;
    let end = (0..=line.len().min(LONGEST)).rev().find(|end| line.is_char_boundary(*end));
    let line = end.and_then(|end| line.get(..end)).unwrap_or("");
    let mut reader = Reader {
        words: if too_long { Words::new("") } else { words },
        text: &ruleset.text,
        family: ruleset.family,
        table,
        hook: None,
        selector: Selector::default(),
        loaded: Vec::new(),
        target: None,
        before_target: 0,
        refused: Vec::new(),
    };
    if reader.skip_start() {
        while reader.word() {}
        return reader.finish();
    }
    let why = if too_long { "no rule is so long" } else { "this is no rule" };
    let refused = Refused { text: line.trim().into(), column: 1, why: why.into() };
    let target = Target::Unsupported(Box::new(refused));
    Rule { matches: SmallVec::new(), target, ..reader.finish() }
}

/// Something that a rule has loaded (`-m`, `-j`, `-g`), and what it was given so far.
struct Loaded<T: 'static> {
    what: What<T>,
    /// The word that loads it, and the one after its last option.
    from: usize,
    until: usize,
    taken: Vec<Taken>,
    /// The first thing that is wrong with it.
    refusal: Option<Refusal>,
}

enum What<T: 'static> {
    Extension(&'static Extension<T>),
    /// What has no options: a verdict, a chain.
    Plain(T),
    Unknown,
}

impl<T> Loaded<T> {
    fn new(what: What<T>, from: usize, until: usize) -> Self {
        Self { what, from, until, taken: Vec::new(), refusal: None }
    }

    /// Takes an option, if the extension has it.
    fn option(&mut self, words: &mut Words<'_>, (place, start): (usize, usize)) -> bool {
        let What::Extension(extension) = self.what else { return false };
        match grammar::take(extension.options, words, place, start < place) {
            Ok(None) => return false,
            Ok(Some(taken)) => self.taken.push(taken),
            Err(refusal) => self.refuse(refusal),
        }
        self.until = words.place();
        true
    }

    fn has(&self, option: &str) -> bool {
        matches!(self.what, What::Extension(extension) if extension.options.iter().any(|opt| opt.name == option))
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    /// What the rule asks or does, or why nobody can tell.
    fn read(self, words: &Words<'_>, around: Surroundings<'_>) -> Result<T, Refused> {
        let refusal = match (self.refusal, self.what) {
            (Some(refusal), _) => refusal,
            (None, What::Plain(plain)) => return Ok(plain),
            (None, What::Unknown) => Refusal { place: self.from, why: "nothing of this name is known".to_owned() },
            (None, What::Extension(extension)) => {
                match grammar::read(extension, &self.taken, words, (self.from, around)) {
                    Ok(read) => return Ok(read),
                    Err(refusal) => refusal,
                }
            }
        };
        Err(refused(words, (self.from, self.until), refusal))
    }
}

/// Whether this is what follows the `[` of `[packets:bytes]`.
pub(super) fn is_counters(rest: &str) -> bool {
    let counts = rest.strip_suffix(']').and_then(|counts| counts.split_once(':'));
    counts.is_some_and(|(packets, bytes)| packets.parse::<u64>().is_ok() && bytes.parse::<u64>().is_ok())
}

/// Whether a chain is a built-in one of the table, into which no rule leads (`mark_source_chains`).
fn is_base(table: &Table, id: ChainId) -> bool {
    table.chain(id).is_some_and(|chain| chain.policy != ChainPolicy::Return)
}

fn refused(words: &Words<'_>, (from, until): (usize, usize), refusal: Refusal) -> Refused {
    let text = words.between(from, until).into();
    Refused { text, column: words.column(refusal.place), why: refusal.why.into() }
}

struct Reader<'l, 't> {
    words: Words<'l>,
    text: &'t Text,
    family: Family,
    table: &'t Table,
    /// The hook, in a rule of a built-in chain.
    hook: Option<Hook>,
    selector: Selector,
    loaded: Vec<Loaded<Match>>,
    target: Option<Loaded<Target>>,
    /// How many extensions were loaded before the target.
    before_target: usize,
    refused: Vec<Refused>,
}

impl Reader<'_, '_> {
    /// Skips counters, takes `-A CHAIN`.
    fn skip_start(&mut self) -> bool {
        let counters = self.words.peek().and_then(|word| word.strip_prefix('[')).map(is_counters);
        if let Some(known) = counters {
            self.words.pass();
            if !known {
                self.keep(0, Refusal { place: 0, why: "these are no counters of packets and bytes".to_owned() });
            }
        }
        let append = matches!(self.words.next(), Some("-A" | "--append"));
        let Some(chain) = self.words.next() else { return false };
        self.hook = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]
            .into_iter()
            .find(|hook| hook.chain() == chain);
        append
    }

    /// Takes the next option with its values; false at the end.
    fn word(&mut self) -> bool {
        let start = self.words.place();
        if self.words.peek() == Some("!") {
            self.words.pass();
        }
        let place = self.words.place();
        if self.words.peek().is_none() {
            if start < place {
                self.keep(start, Refusal { place: start, why: "nothing follows to be negated".to_owned() });
            }
            return false;
        }
        self.words.pass();
        match self.base_option(start, place) {
            Ok(true) => {}
            Ok(false) => self.extension_option(start, place),
            Err(refusal) => {
                self.words.skip_values();
                self.keep(start, refusal);
            }
        }
        true
    }

    /// Keeps what nothing understood. One part is enough for the rule to be refused, and of a line that is no rule at all
    /// the first ones stand for the others.
    fn keep(&mut self, start: usize, refusal: Refusal) {
        const MOST: usize = 16;
        if self.refused.len() < MOST {
            let range = (start, self.words.place());
            self.refused.push(refused(&self.words, range, refusal));
        }
    }

    fn base_option(&mut self, start: usize, place: usize) -> Result<bool, Refusal> {
        let invert = start < place;
        match self.words.get(place).unwrap_or("") {
            "-i" | "--in-interface" if matches!(self.hook, Some(Hook::Output | Hook::Postrouting)) => {
                return Err(Refusal { place, why: "no packet has come in by a device here".to_owned() });
            }
            "-o" | "--out-interface" if matches!(self.hook, Some(Hook::Prerouting | Hook::Input)) => {
                return Err(Refusal { place, why: "no packet leaves by a device here".to_owned() });
            }
            "-m" | "--match" => self.load(place),
            "-j" | "--jump" => self.jump(place)?,
            "-g" | "--goto" => self.goto(place)?,
            // Short for --protocol, unless an extension has an option of this name (`policy`).
            "--proto" if self.loaded.iter().any(|loaded| loaded.has("--proto")) => return Ok(false),
            _ => return selector::option(&mut self.selector, &mut self.words, place, (invert, self.family)),
        }
        if invert {
            return Err(Refusal { place: start, why: "this can't be negated".to_owned() });
        }
        Ok(true)
    }

    fn load(&mut self, place: usize) {
        let what = match self.words.next().and_then(|name| matches::find(name, self.family)) {
            Some(extension) => What::Extension(extension),
            None => What::Unknown,
        };
        self.loaded.push(Loaded::new(what, place, self.words.place()));
    }

    /// `-j NAME`. A chain of that name goes before an extension (`command_jump` in `iptables/xshared.c`).
    fn jump(&mut self, place: usize) -> Result<(), Refusal> {
        let name = self.words.next().unwrap_or("");
        let what = match name {
            "ACCEPT" => What::Plain(Target::Accept),
            "DROP" => What::Plain(Target::Drop),
            "RETURN" => What::Plain(Target::Return),
            "QUEUE" => What::Plain(Target::OldQueue),
            name => match self.table.find(name) {
                Some(id) if is_base(self.table, id) => What::Unknown,
                Some(id) => What::Plain(Target::Jump(id)),
                None => targets::find(name, self.family).map_or(What::Unknown, What::Extension),
            },
        };
        self.aim(what, place)
    }

    /// `-g NAME`.
    fn goto(&mut self, place: usize) -> Result<(), Refusal> {
        let id = self.words.next().and_then(|name| self.table.find(name)).filter(|id| !is_base(self.table, *id));
        self.aim(id.map_or(What::Unknown, |id| What::Plain(Target::Goto(id))), place)
    }

    fn aim(&mut self, what: What<Target>, place: usize) -> Result<(), Refusal> {
        if self.target.is_some() {
            return Err(Refusal { place, why: "a rule has one target".to_owned() });
        }
        let unknown = matches!(what, What::Unknown);
        let mut target = Loaded::new(what, place, self.words.place());
        if unknown {
            let named = self.words.get(place + 1).and_then(|name| self.table.find(name));
            let why = if named.is_some() { BASE } else { "there is neither a chain nor a target of this name" };
            target.refuse(Refusal { place: place + 1, why: why.to_owned() });
        }
        self.target = Some(target);
        self.before_target = self.loaded.len();
        Ok(())
    }

    /// An option of an extension: the one that was loaded last goes first, and `-p` loads its own if it must
    /// (`command_default` in `iptables/xshared.c`).
    fn extension_option(&mut self, start: usize, place: usize) {
        let (before, after) = self.loaded.split_at_mut(self.before_target);
        let words = &mut self.words;
        let taken = after.iter_mut().rev().any(|loaded| loaded.option(words, (place, start)))
            || self.target.as_mut().is_some_and(|target| target.option(words, (place, start)))
            || before.iter_mut().rev().any(|loaded| loaded.option(words, (place, start)));
        if taken {
            return;
        }
        if let Some(extension) = self.implied().and_then(|name| matches::find(name, self.family)) {
            let mut loaded = Loaded::new(What::Extension(extension), start, place);
            if loaded.option(&mut self.words, (place, start)) {
                self.loaded.push(loaded);
                return;
            }
        }
        self.unknown_option(start, place);
    }

    /// An option that nothing knows is of what was loaded last, where that can have options.
    fn unknown_option(&mut self, start: usize, place: usize) {
        self.words.skip_values();
        let until = self.words.place();
        let refusal = Refusal { place, why: "nothing that the rule loads has this option".to_owned() };
        let target = self
            .target
            .as_mut()
            .filter(|target| self.loaded.len() == self.before_target && !matches!(target.what, What::Plain(_)));
        let last = self.loaded.last_mut().filter(|last| matches!(last.what, What::Unknown));
        match (target, last) {
            (Some(target), _) => {
                target.refuse(refusal);
                target.until = until;
            }
            (None, Some(last)) => last.until = until,
            _ => self.keep(start, refusal),
        }
    }

    /// The extension that belongs to the rule's protocol.
    fn implied(&self) -> Option<&'static str> {
        let protocol = self.selector.protocol.filter(|test| !test.invert)?.value;
        match (protocol, self.family) {
            (Protocol::TCP, _) => Some("tcp"),
            (Protocol::UDP, _) => Some("udp"),
            (Protocol::SCTP, _) => Some("sctp"),
            (Protocol(33), _) => Some("dccp"),
            (Protocol(50), _) => Some("esp"),
            (Protocol(51), _) => Some("ah"),
            (Protocol(108), _) => Some("ipcomp"),
            (Protocol::ICMP, Family::Inet) => Some("icmp"),
            (Protocol::ICMPV6, Family::Inet6) => Some("icmp6"),
            (Protocol(135), Family::Inet6) => Some("mh"),
            _ => None,
        }
    }

    /// A line that ends within quotes is the first part of a rule: what it does stood further on.
    fn refuse_unclosed(&mut self) {
        let Some(place) = self.words.unclosed() else { return };
        let why = "the quote that opens here is not closed".to_owned();
        let until = self.words.len();
        let target = self.target.get_or_insert_with(|| Loaded::new(What::Unknown, place, until));
        target.refuse(Refusal { place, why });
    }

    fn finish(mut self) -> Rule {
        self.refuse_unclosed();
        let Self { words, text, family, table, hook, selector, loaded, target, refused, .. } = self;
        let around = Surroundings { family, text, table: &table.name, protocol: selector.protocol, hook };
        let unsupported = |refused| Match::Unsupported(Box::new(refused));
        let loaded = loaded.into_iter().map(|loaded| loaded.read(&words, around).unwrap_or_else(unsupported));
        let mut matches: SmallVec<_> = loaded.chain(refused.into_iter().map(unsupported)).collect();
        matches.shrink_to_fit();
        let target = target.map_or(Target::Continue, |target| {
            target.read(&words, around).unwrap_or_else(|refused| Target::Unsupported(Box::new(refused)))
        });
        Rule { selector, matches, target, ..Rule::default() }
    }
}
