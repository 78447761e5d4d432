//! The objects of `kubectl get … -o json`: a `List`, or one bare object.
//!
//! The text is read once, object by object, so that one that doesn't fit costs only itself, and a file that is cut
//! off keeps what stands before the cut.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::lines::{Notes, quote};
use crate::evidence::{Evidence, FileId};

/// After so many objects that don't fit, the rest of a file isn't looked at: it is something else.
const MOST_BAD: u32 = 1000;

/// Hands on every object of a file with its place.
pub(super) fn objects<T: DeserializeOwned>(
    file: FileId,
    text: &str,
    notes: &mut Notes<'_>,
    mut each: impl FnMut(T, Evidence, &mut Notes<'_>),
) {
    let mut scan = Scan { text, at: 0, file, line: 1, counted: 0, bad: 0 };
    scan.space();
    if scan.rest().is_empty() {
        return;
    }
    if let Err(what) = scan.list(&mut each, notes) {
        let line = scan.line();
        notes.add(Evidence::line(file, line), what);
    }
}

/// A place in the text.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    file: FileId,
    /// The line of `counted`, the place up to which lines are counted.
    line: u32,
    counted: usize,
    /// How many objects were not understood.
    bad: u32,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Steps over a character, and over the space around it.
    fn take(&mut self, c: char) -> bool {
        self.space();
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
            self.space();
        }
        found
    }

    fn line(&mut self) -> u32 {
        let passed = self.text.get(self.counted..self.at).unwrap_or("");
        let lines = memchr::memchr_iter(b'\n', passed.as_bytes()).count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.counted = self.at;
        self.line
    }

    /// Reads the value that starts here and steps over it.
    fn value<V: Deserialize<'a>>(&mut self) -> Result<V, String> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(err)) => Err(without_place(&err)),
            None => Err("the file ends too early".to_owned()),
        }
    }

    /// Walks the outermost object. Its `items` are the objects; without any it is one itself.
    fn list<T: DeserializeOwned>(
        &mut self,
        each: &mut impl FnMut(T, Evidence, &mut Notes<'_>),
        notes: &mut Notes<'_>,
    ) -> Result<(), String> {
        let start = self.at;
        if !self.take('{') {
            return Err("not a JSON object".to_owned());
        }
        let mut is_list = false;
        while !self.take('}') {
            let key: String = self.value()?;
            if !self.take(':') {
                return Err(format!("no value after {}", quote(&key)));
            }
            if key == "items" && self.take('[') {
                is_list = true;
                self.items(each, notes)?;
            } else {
                self.value::<IgnoredAny>()?;
            }
            self.take(',');
        }
        if !is_list {
            self.at = start;
            self.object(0, each, notes)?;
        }
        Ok(())
    }

    fn items<T: DeserializeOwned>(
        &mut self,
        each: &mut impl FnMut(T, Evidence, &mut Notes<'_>),
        notes: &mut Notes<'_>,
    ) -> Result<(), String> {
        let mut index = 0;
        while !self.take(']') {
            self.object(index, each, notes)?;
            self.take(',');
            index += 1;
        }
        Ok(())
    }

    /// Reads one object, or steps over it with a gap.
    fn object<T: DeserializeOwned>(
        &mut self,
        index: u32,
        each: &mut impl FnMut(T, Evidence, &mut Notes<'_>),
        notes: &mut Notes<'_>,
    ) -> Result<(), String> {
        let evidence = Evidence::object(self.file, self.line(), index);
        match self.value() {
            Ok(object) => each(object, evidence, notes),
            Err(_) if self.bad >= MOST_BAD => {
                return Err("too many objects are not understood: what follows was not read".to_owned());
            }
            Err(what) => {
                self.bad += 1;
                self.value::<IgnoredAny>()?;
                notes.add(evidence, format_args!("object {index} is not understood: {what}"));
            }
        }
        Ok(())
    }
}

/// serde_json counts lines from where the value starts, which would mislead.
fn without_place(err: &serde_json::Error) -> String {
    let text = err.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    text.chars().flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Named {
        name: String,
    }

    fn read(text: &str) -> (Vec<(String, u32, Option<u32>)>, usize) {
        let mut gaps = Vec::new();
        let mut notes = Notes::new(FileId(0), "`kubectl get`", &mut gaps);
        let mut found = Vec::new();
        objects(FileId(0), text, &mut notes, |named: Named, at, _| found.push((named.name, at.line, at.index)));
        drop(notes);
        (found, gaps.len())
    }

    #[test]
    fn a_list_gives_each_object_with_its_line() {
        let text = "{\n  \"apiVersion\": \"v1\",\n  \"items\": [\n    {\"name\": \"a\"},\n    {\n \"name\": \"b\", \"x\": [1, {}]}\n  ],\n  \"kind\": \"List\"\n}\n";
        assert_eq!(read(text), (vec![("a".into(), 4, Some(0)), ("b".into(), 5, Some(1))], 0));
    }

    #[test]
    fn a_bare_object_is_a_list_of_one() {
        assert_eq!(read("\n{\"kind\": \"Pod\", \"name\": \"a\"}"), (vec![("a".into(), 2, Some(0))], 0));
    }

    #[test]
    fn an_object_that_does_not_fit_costs_only_itself() {
        let text = r#"{"items": [{"name": 7}, {"name": "b"}]}"#;
        assert_eq!(read(text), (vec![("b".into(), 1, Some(1))], 1));
    }

    #[test]
    fn an_empty_list_and_an_empty_file_hold_nothing() {
        assert_eq!(read(r#"{"items": [], "kind": "List"}"#), (vec![], 0));
        assert_eq!(read(" \n"), (vec![], 0));
    }

    #[test]
    fn a_cut_file_keeps_what_stands_before_the_cut_and_says_so() {
        let text = r#"{"items": [{"name": "a"}, {"name": "b"}], "kind": "List"}"#;
        for end in 1..text.len() {
            let (found, gaps) = read(&text[..end]);
            assert_eq!(gaps, 1, "{}", &text[..end]);
            assert_eq!(found.len(), usize::from(end > 23) + usize::from(end > 38), "{}", &text[..end]);
        }
    }

    #[test]
    fn what_is_no_object_is_a_gap() {
        assert_eq!(read("[1, 2]").1, 1);
        assert_eq!(read("No resources found").1, 1);
        assert_eq!(read(&"[".repeat(100_000)).1, 1);
        assert_eq!(read(&format!("{{\"items\": {}", "[".repeat(100_000))).1, 1);
    }
}
