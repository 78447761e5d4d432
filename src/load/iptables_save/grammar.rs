//! The grammar of extensions: which options each has, what they take, and which need or exclude which others.
//!
//! Follows iptables' own option tables (`struct xt_option_entry` and `xtables_option_parse` in
//! `libxtables/xtoptions.c`), and for tables and hooks the kernel's registrations (`struct xt_match`, `xt_target`).

use crate::evidence::Text;
use crate::net::{Family, Hook, Protocol};
use crate::snapshot::{Match, Options, SavedOption, Target, Test};

use super::words::Words;

/// How many values an option takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arity {
    None,
    One,
    Two,
    /// One, or none where another option follows.
    Maybe,
}

/// How an option's value is printed; `None` where it can't be read.
pub(super) type Print = fn(&str, Family) -> Option<String>;

/// One option of an extension.
pub(super) struct Opt {
    pub(super) name: &'static str,
    also_named: &'static [&'static str],
    arity: Arity,
    /// What its value must be, in words.
    expects: &'static str,
    invertible: bool,
    mandatory: bool,
    repeats: bool,
    excludes: &'static [&'static str],
    needs: &'static [&'static str],
    print: Option<Print>,
}

impl Opt {
    /// An option without a value.
    pub(super) const fn flag(name: &'static str) -> Self {
        Self {
            name,
            also_named: &[],
            arity: Arity::None,
            expects: "",
            invertible: false,
            mandatory: false,
            repeats: false,
            excludes: &[],
            needs: &[],
            print: None,
        }
    }

    /// An option with a value, and what that must be.
    pub(super) const fn value(name: &'static str, expects: &'static str) -> Self {
        Self { arity: Arity::One, expects, ..Self::flag(name) }
    }

    /// An option with two values.
    pub(super) const fn pair(name: &'static str, expects: &'static str) -> Self {
        Self { arity: Arity::Two, expects, ..Self::flag(name) }
    }

    /// An option whose value may be left out.
    pub(super) const fn maybe(name: &'static str, expects: &'static str) -> Self {
        Self { arity: Arity::Maybe, expects, ..Self::flag(name) }
    }

    pub(super) const fn or(self, also_named: &'static [&'static str]) -> Self {
        Self { also_named, ..self }
    }

    pub(super) const fn not(self) -> Self {
        Self { invertible: true, ..self }
    }

    pub(super) const fn must(self) -> Self {
        Self { mandatory: true, ..self }
    }

    pub(super) const fn repeats(self) -> Self {
        Self { repeats: true, ..self }
    }

    pub(super) const fn excludes(self, excludes: &'static [&'static str]) -> Self {
        Self { excludes, ..self }
    }

    pub(super) const fn needs(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    /// How its value is printed, for extensions that are kept as options.
    pub(super) const fn prints(self, print: Print) -> Self {
        Self { print: Some(print), ..self }
    }

    fn is(&self, name: &str) -> bool {
        self.name == name || self.also_named.contains(&name)
    }
}

/// An extension: a match or a target.
pub(super) struct Extension<T: 'static> {
    pub(super) name: &'static str,
    pub(super) options: &'static [Opt],
    /// The protocols of which the rule's must be one; any where there is none.
    pub(super) protocols: &'static [u8],
    /// The tables that it may stand in; any where there is none.
    pub(super) tables: &'static [&'static str],
    /// The hooks that it may be asked at; any where there is none.
    pub(super) hooks: &'static [Hook],
    pub(super) read: fn(&Given<'_, '_>) -> Result<T, Refusal>,
}

impl<T: From<Options>> Extension<T> {
    /// An extension that is read by a function.
    pub(super) const fn new(
        name: &'static str,
        options: &'static [Opt],
        read: fn(&Given<'_, '_>) -> Result<T, Refusal>,
    ) -> Self {
        Self { name, options, protocols: &[], tables: &[], hooks: &[], read }
    }

    /// An extension of which the options are kept as they are printed.
    pub(super) const fn kept(name: &'static str, options: &'static [Opt]) -> Self {
        Self::new(name, options, |given| given.options().map(T::from))
    }
}

impl<T> Extension<T> {
    pub(super) const fn protocols(self, protocols: &'static [u8]) -> Self {
        Self { protocols, ..self }
    }

    pub(super) const fn tables(self, tables: &'static [&'static str]) -> Self {
        Self { tables, ..self }
    }

    pub(super) const fn hooks(self, hooks: &'static [Hook]) -> Self {
        Self { hooks, ..self }
    }
}

impl From<Options> for Match {
    fn from(options: Options) -> Self {
        Self::Other(Box::new(options))
    }
}

impl From<Options> for Target {
    fn from(options: Options) -> Self {
        Self::Other(Box::new(options))
    }
}

/// Why a part of a rule is refused, and the word at which it is.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) place: usize,
    pub(super) why: String,
}

/// What of the rest of a rule decides whether an extension is taken.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'r> {
    pub(super) family: Family,
    /// The file's text.
    pub(super) text: &'r Text,
    pub(super) table: &'r str,
    pub(super) protocol: Option<Test<Protocol>>,
    /// The hook, in a rule of a built-in chain.
    pub(super) hook: Option<Hook>,
}

impl Surroundings<'_> {
    /// The one protocol that the rule is for.
    pub(super) fn is_protocol(&self, numbers: &[u8]) -> bool {
        self.protocol.is_some_and(|test| !test.invert && numbers.contains(&test.value.0))
    }
}

/// An option that a rule gives to an extension.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    opt: &'static Opt,
    pub(super) invert: bool,
    /// The option's own word.
    pub(super) place: usize,
    /// The first of its values.
    first: usize,
    count: usize,
}

impl Taken {
    /// The option's name.
    pub(super) fn name(&self) -> &'static str {
        self.opt.name
    }
}

/// Takes an option's values, if one of these has that name. The option's own word has been taken.
pub(super) fn take(
    options: &'static [Opt],
    words: &mut Words<'_>,
    place: usize,
    mut invert: bool,
) -> Result<Option<Taken>, Refusal> {
    let name = words.get(place).unwrap_or("");
    let Some(opt) = options.iter().find(|opt| opt.is(name)) else { return Ok(None) };
    // Old iptables wrote the `!` after the option.
    if opt.arity != Arity::None && words.peek() == Some("!") {
        words.pass();
        invert = !invert;
    }
    let first = words.place();
    let count = match opt.arity {
        Arity::None => 0,
        Arity::One => 1,
        Arity::Two => 2,
        Arity::Maybe => usize::from(words.peek().is_some_and(|word| !word.starts_with('-') && word != "!")),
    };
    if first + count > words.len() {
        words.skip_values();
        return Err(Refusal { place: words.len(), why: format!("{} expects {}", opt.name, opt.expects) });
    }
    (0..count).for_each(|_| words.pass());
    Ok(Some(Taken { opt, invert, place, first, count }))
}

/// The options that a rule gives to one extension.
pub(super) struct Given<'g, 'l> {
    pub(super) name: &'static str,
    pub(super) around: Surroundings<'g>,
    /// The extension's own word.
    pub(super) place: usize,
    words: &'g Words<'l>,
    declared: &'static [Opt],
    taken: &'g [Taken],
}

/// Checks what an extension was given, and reads it.
pub(super) fn read<T>(
    extension: &Extension<T>,
    taken: &[Taken],
    words: &Words<'_>,
    (place, around): (usize, Surroundings<'_>),
) -> Result<T, Refusal> {
    let given = Given { name: extension.name, around, place, words, declared: extension.options, taken };
    given.check()?;
    let one_of = |words: &[&str]| words.join(" or ");
    if !extension.protocols.is_empty() && !around.is_protocol(extension.protocols) {
        let names = extension.protocols.iter().map(|number| format!("-p {}", Protocol(*number)));
        let names: Vec<String> = names.collect();
        return Err(given.refuse_all(format!("{} needs {}", extension.name, names.join(" or "))));
    }
    if !extension.tables.is_empty() && !extension.tables.contains(&around.table) {
        let what = format!("{} works only in the table {}", extension.name, one_of(extension.tables));
        return Err(given.refuse_all(what));
    }
    if let Some(hook) = around.hook.filter(|hook| !extension.hooks.is_empty() && !extension.hooks.contains(hook)) {
        let chains: Vec<&str> = extension.hooks.iter().map(|hook| hook.chain()).collect();
        let what = format!("{} works only in {}, and not in {}", extension.name, one_of(&chains), hook.chain());
        return Err(given.refuse_all(what));
    }
    (extension.read)(&given)
}

impl<'g> Given<'g, '_> {
    fn check(&self) -> Result<(), Refusal> {
        for (at, taken) in self.taken.iter().enumerate() {
            let opt = taken.opt;
            let refuse = |why: String| Err(Refusal { place: taken.place, why });
            if taken.invert && !opt.invertible {
                return refuse(format!("{} can't be negated", opt.name));
            }
            let before = self.taken.get(..at).unwrap_or(&[]);
            if !opt.repeats && before.iter().any(|other| std::ptr::eq(other.opt, opt)) {
                return refuse(format!("{} can stand only once", opt.name));
            }
            if let Some(other) = opt.excludes.iter().find(|name| **name != opt.name && self.has(name)) {
                return refuse(format!("{} can't stand beside {other}", opt.name));
            }
            if !opt.needs.is_empty() && !opt.needs.iter().any(|name| self.has(name)) {
                return refuse(format!("{} needs {}", opt.name, opt.needs.join(" or ")));
            }
        }
        let missing = self.declared.iter().find(|opt| opt.mandatory && !self.has(opt.name));
        missing.map_or(Ok(()), |opt| Err(self.refuse_all(format!("{} needs {}", self.name, opt.name))))
    }

    /// Whether any option was given.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&'g Taken> {
        self.taken.iter().find(|taken| taken.opt.name == name)
    }

    /// Every option that was given, in the order of the rule.
    pub(super) fn all(&self) -> &'g [Taken] {
        self.taken
    }

    /// An option's first value, as written.
    pub(super) fn text_of(&self, taken: &Taken) -> &'g str {
        if taken.count == 0 { "" } else { self.words.get(taken.first).unwrap_or("") }
    }

    /// An option's second value, as written.
    pub(super) fn second_of(&self, taken: &Taken) -> &'g str {
        if taken.count < 2 { "" } else { self.words.get(taken.first + 1).unwrap_or("") }
    }

    /// An option's value, as written.
    pub(super) fn text(&self, name: &str) -> Option<&'g str> {
        self.find(name).map(|taken| self.text_of(taken))
    }

    /// Whether an option without a value was given, and whether it is negated.
    pub(super) fn flag(&self, name: &str) -> Option<Test<()>> {
        self.find(name).map(|taken| Test { value: (), invert: taken.invert })
    }

    /// An option's value.
    pub(super) fn value<T>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        self.find(name).map(|taken| self.value_of(taken, read)).transpose()
    }

    /// The value of an option that must be there.
    pub(super) fn must<T>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Refusal> {
        self.value(name, read)?.ok_or_else(|| self.refuse_all(format!("{} needs {name}", self.name)))
    }

    pub(super) fn value_of<T>(&self, taken: &Taken, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Refusal> {
        read(self.text_of(taken)).ok_or_else(|| self.unreadable(taken))
    }

    /// That an option's value is not what it must be.
    pub(super) fn unreadable(&self, taken: &Taken) -> Refusal {
        let text: String = self.text_of(taken).chars().take(60).collect();
        let why = format!("{} expects {}, not `{}`", taken.opt.name, taken.opt.expects, text.escape_debug());
        Refusal { place: taken.first, why }
    }

    /// An option's value with its negation.
    pub(super) fn test<T>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<Test<T>>, Refusal> {
        let Some(taken) = self.find(name) else { return Ok(None) };
        let value = self.value_of(taken, read)?;
        Ok(Some(Test { value, invert: taken.invert }))
    }

    /// The same of an option that must be there.
    pub(super) fn must_test<T>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Test<T>, Refusal> {
        self.test(name, read)?.ok_or_else(|| self.refuse_all(format!("{} needs {name}", self.name)))
    }

    /// Refuses an option.
    pub(super) fn refuse(&self, name: &str, why: impl Into<String>) -> Refusal {
        Refusal { place: self.find(name).map_or(self.place, |taken| taken.place), why: why.into() }
    }

    /// Refuses the extension.
    pub(super) fn refuse_all(&self, why: impl Into<String>) -> Refusal {
        Refusal { place: self.place, why: why.into() }
    }

    /// Refuses the extension where it was given none of these.
    pub(super) fn some_of(&self, names: &[&str]) -> Result<(), Refusal> {
        if names.iter().any(|name| self.has(name)) {
            return Ok(());
        }
        Err(self.refuse_all(format!("{} needs {}", self.name, names.join(" or "))))
    }

    /// The options as they are printed, in the order of the extension's own table.
    pub(super) fn options(&self) -> Result<Options, Refusal> {
        let mut list = Vec::with_capacity(self.taken.len());
        for opt in self.declared {
            for taken in self.taken.iter().filter(|taken| std::ptr::eq(taken.opt, opt)) {
                list.push(self.printed(taken)?);
            }
        }
        Ok(Options { name: self.name, list: list.into() })
    }

    /// One option as it is printed.
    pub(super) fn printed(&self, taken: &Taken) -> Result<SavedOption, Refusal> {
        let value = match taken.opt.print {
            Some(print) if taken.count > 0 => self.value_of(taken, |text| print(text, self.around.family))?,
            _ => self.text_of(taken).to_owned(),
        };
        Ok(SavedOption { name: taken.opt.name, invert: taken.invert, value: value.into() })
    }
}
