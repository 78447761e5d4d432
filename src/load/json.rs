//! What every JSON form has in common.
//!
//! An object is turned into the words that the text form prints for it, and these are read by the text form's reader:
//! there is one place that understands a row, and the two forms can't disagree.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::lines::{Notes, write_shown};
use crate::evidence::{Evidence, FileId};

/// An object's fields in their order. A key may come twice: `ip -j route` prints a route's `dst` and its `encap`'s.
pub(super) struct Fields<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// A value, one level deep.
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// A number as written, or a string.
    Scalar(Cow<'a, str>),
    List(Vec<&'a RawValue>),
    Object(Fields<'a>),
}

/// The objects of a file: of one list, of several after each other, or without a list.
pub(super) struct Objects<'a> {
    text: &'a str,
    file: FileId,
    at: usize,
    index: u32,
    place: Place<'a>,
}

/// Finds the lines of a text's parts, from the first to the last.
struct Place<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl Place<'_> {
    /// The line on which a part of the text starts; parts are asked for in their order.
    fn line_of(&mut self, part: &str) -> u32 {
        let start = part.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        if let Some(passed) = self.text.as_bytes().get(self.at..start) {
            let ends = memchr::memchr_iter(b'\n', passed).count();
            self.line = self.line.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
            self.at = start;
        }
        self.line
    }
}

impl<'a> Objects<'a> {
    pub fn new(file: FileId, text: &'a str) -> Self {
        Self { text, file, at: 0, index: 0, place: Place { text, at: 0, line: 1 } }
    }

    /// The next object with its line and its place among all of the file's. An empty one (iproute2 prints `{}` for a
    /// row that its filter left out) is passed over, and counts.
    pub fn next(&mut self, notes: &mut Notes<'_>) -> Option<(Evidence, Fields<'a>)> {
        loop {
            let raw = self.element(notes)?;
            let evidence = Evidence::object(self.file, self.place.line_of(raw.get()), self.index);
            self.index += 1;
            match value(raw) {
                Some(Value::Object(fields)) if fields.0.is_empty() => {}
                Some(Value::Object(fields)) => return Some((evidence, fields)),
                _ => notes.expected(evidence, "an object", raw.get()),
            }
        }
    }

    /// The line of a part of the object that came last.
    pub fn line_of(&mut self, part: &'a RawValue) -> u32 {
        self.place.line_of(part.get())
    }

    /// The next element of the list, read one by one so that a truncated file keeps what stands before its end.
    fn element(&mut self, notes: &mut Notes<'_>) -> Option<&'a RawValue> {
        let rest = self.text.get(self.at..)?;
        let skipped = rest.bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']'));
        self.at += skipped.count();
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<&'a RawValue>();
        match stream.next()? {
            Ok(raw) => {
                self.at += stream.byte_offset();
                Some(raw)
            }
            Err(error) => {
                let evidence = Evidence::line(self.file, self.place.line_of(rest));
                notes.unread(evidence, format_args!("the JSON breaks off: {error} (counted from here)"));
                self.at = self.text.len();
                None
            }
        }
    }
}

impl<'a> Fields<'a> {
    /// The first field of this name.
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, raw)| *raw)
    }

    /// Whether there is a field of this name that isn't `false`.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|raw| raw.get() != "false")
    }

    /// The number or string of this name.
    pub fn scalar(&self, key: &str) -> Option<Cow<'a, str>> {
        match value(self.get(key)?)? {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The list of this name; an empty one where there is none.
    pub fn list(&self, key: &str) -> Vec<&'a RawValue> {
        match self.get(key).and_then(value) {
            Some(Value::List(list)) => list,
            _ => Vec::new(),
        }
    }

    /// The object of this name.
    pub fn object(&self, key: &str) -> Option<Fields<'a>> {
        object(self.get(key)?)
    }
}

/// Reads a value one level deep.
pub(super) fn value(raw: &RawValue) -> Option<Value<'_>> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'n' => Some(Value::Null),
        b't' => Some(Value::Bool(true)),
        b'f' => Some(Value::Bool(false)),
        b'"' => serde_json::from_str::<Text<'_>>(text).ok().map(|text| Value::Scalar(text.0)),
        b'[' => serde_json::from_str(text).ok().map(Value::List),
        b'{' => serde_json::from_str(text).ok().map(Value::Object),
        _ => Some(Value::Scalar(Cow::Borrowed(text))),
    }
}

/// The fields, where a value is an object.
pub(super) fn object(raw: &RawValue) -> Option<Fields<'_>> {
    match value(raw)? {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// Keeps an object's row at its place in the list.
pub(super) fn set_text(texts: &mut Vec<String>, evidence: Evidence, row: &impl fmt::Display) {
    let place = evidence.index.map_or(0, |index| index as usize);
    texts.resize_with(texts.len().max(place), String::new);
    texts.push(row.to_string());
}

/// A row's words in the making.
#[derive(Default)]
pub(super) struct Row(pub Vec<String>);

impl Row {
    /// Adds a word.
    pub fn word(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    /// Adds words.
    pub fn all(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// Adds a word and the value of a field, where the object has it.
    pub fn pair(&mut self, word: &str, fields: &Fields<'_>, key: &str) {
        if let Some(text) = fields.scalar(key) {
            self.word(word);
            self.word(text);
        }
    }

    /// Adds a field as most are printed: the name and the value; the name alone for `null` and `true`, nothing for
    /// `false`; a list's values without the name.
    pub fn field(&mut self, name: &str, raw: &RawValue) {
        match value(raw) {
            Some(Value::Null | Value::Bool(true)) => self.word(name),
            Some(Value::Scalar(text)) => {
                self.word(name);
                self.word(text);
            }
            Some(Value::List(list)) => self.values(&list),
            Some(Value::Object(fields)) => fields.0.iter().for_each(|(key, raw)| self.scalar_field(key, raw)),
            Some(Value::Bool(false)) | None => {}
        }
    }

    /// Adds the values of a list, words that are flags.
    pub fn values(&mut self, list: &[&RawValue]) {
        for raw in list {
            match value(raw) {
                Some(Value::Scalar(text)) => self.0.extend(text.split_ascii_whitespace().map(str::to_owned)),
                _ => self.word(raw.get()),
            }
        }
    }

    /// A field of an object in an object, where no tool nests deeper.
    fn scalar_field(&mut self, name: &str, raw: &RawValue) {
        match raw.get().as_bytes().first() {
            Some(b'[' | b'{') => self.word(name),
            _ => self.field(name, raw),
        }
    }

    /// The words, as the reader of the text form takes them.
    pub fn words(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Row {
    /// The row on one line, with nothing in it that could steer a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, word) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { " " })?;
            word.chars().try_for_each(|char| write_shown(f, char))?;
        }
        Ok(())
    }
}

/// The segments of a row on one line, as `-o` joins them.
pub(super) struct OneLine<'r>(pub &'r [Row]);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, row) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "\\    " })?;
            row.fmt(f)?;
        }
        Ok(())
    }
}

/// A string that is copied only where it holds an escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some((Text(key), raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            fields.push((key, raw));
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Gap;

    /// The line, index and first key of each object.
    type Found = Vec<(u32, Option<u32>, String)>;

    fn names(text: &str) -> (Found, Vec<Gap>) {
        let mut gaps = Vec::new();
        let mut notes = Notes::new(FileId(0), "`ip x`", &mut gaps);
        let mut objects = Objects::new(FileId(0), text);
        let mut found = Vec::new();
        while let Some((evidence, fields)) = objects.next(&mut notes) {
            found.push((evidence.line, evidence.index, fields.0[0].0.to_string()));
        }
        drop(notes);
        (found, gaps)
    }

    #[test]
    fn objects_know_their_line_and_index() {
        let (found, gaps) = names("[ {\n  \"a\": 1\n },{\n \"b\": [ { } ] } ]\n");
        assert_eq!(found, [(1, Some(0), "a".into()), (3, Some(1), "b".into())]);
        assert!(gaps.is_empty());
    }

    #[test]
    fn lists_after_each_other_and_empty_objects_are_counted_through() {
        let (found, gaps) = names("[{},{},{\"a\":1}]\n[{\"b\":2}]\n{\"c\":3}");
        assert_eq!(found, [(1, Some(2), "a".into()), (2, Some(3), "b".into()), (3, Some(4), "c".into())]);
        assert!(gaps.is_empty());
    }

    #[test]
    fn a_truncated_list_keeps_what_was_whole() {
        let (found, gaps) = names("[{\"a\":1},\n{\"b\":2},\n{\"c\":");
        assert_eq!(found.len(), 2);
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].evidence, [Evidence::line(FileId(0), 3)]);
    }

    #[test]
    fn what_is_no_object_is_a_gap_and_the_next_goes_on() {
        let (found, gaps) = names("[1,\"x\",{\"a\":1}]");
        assert_eq!(found, [(1, Some(2), "a".into())]);
        assert_eq!(gaps.len(), 2);
    }

    #[test]
    fn deep_nesting_does_not_use_up_the_stack() {
        let (found, gaps) = names(&format!("[{{\"a\":{}{}}}]", "[".repeat(200_000), "]".repeat(200_000)));
        assert_eq!((found.len(), gaps.len()), (1, 0));
    }

    #[test]
    fn a_key_may_come_twice() {
        let mut gaps = Vec::new();
        let mut notes = Notes::new(FileId(0), "`ip x`", &mut gaps);
        let text = r#"[{"dst":"10.0.0.0/8","encap":"ip","dst":"192.0.2.1"}]"#;
        let (_, fields) = Objects::new(FileId(0), text).next(&mut notes).unwrap();
        assert_eq!(fields.0.len(), 3);
        assert_eq!(fields.scalar("dst").unwrap(), "10.0.0.0/8");
    }
}
