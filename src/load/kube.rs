//! The Kubernetes objects: `kubectl get X -A -o json` as printed. Of each object the few fields that are used are
//! read, the others may hold anything.

mod node;
mod pod;
mod service;
mod slice;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::evidence::{Evidence, FileId, Files, Gap};
use crate::net::Protocol;
use crate::snapshot::{EndpointSlice, Kube, NetworkPolicy, Snapshot};

use super::lines::{Notes, quote};
use super::objects::objects;

const TOOL: &str = "`kubectl get -o json`";

/// Reads the lists that were collected, by the names of their files.
pub(super) fn read(files: &mut Files, cluster: &BTreeMap<String, FileId>, gaps: &mut Vec<Gap>) -> Kube {
    let mut reading = Reading { files, cluster, gaps };
    Kube {
        nodes: reading.list("nodes.json", "node", node::node),
        pods: reading.list("pods.json", "pod", pod::pod),
        services: reading.list("services.json", "service", service::service),
        endpoint_slices: cluster.get("endpointslices.json").copied(),
        network_policies: reading.list("networkpolicies.json", "networkpolicy", network_policy),
    }
}

/// Reads the endpoint slices, with what could not be read in them. None where they were not collected.
#[must_use]
pub fn endpoint_slices(snapshot: &Snapshot) -> Option<(Vec<EndpointSlice>, Vec<Gap>)> {
    let id = snapshot.kube.endpoint_slices?;
    let file = snapshot.files.get(id)?;
    let (text, odd) = match super::text(file) {
        Ok(read) => read,
        Err(what) => return Some((Vec::new(), vec![Gap::new(what, vec![])])),
    };
    let mut gaps: Vec<Gap> = odd.into_iter().map(|what| Gap::new(what, vec![])).collect();
    let mut notes = Notes::new(id, TOOL, &mut gaps);
    let mut slices = Vec::new();
    objects(id, &text, &mut notes, |object, at, notes| {
        // No row was written for the slices, so that the line itself is shown.
        let evidence = Evidence::line(id, at.line);
        slices.push(slice::endpoint_slice(object, &mut Place { evidence, notes }));
    });
    drop(notes);
    Some((slices, gaps))
}

/// Says where the file of the endpoint slices is no JSON object from its first character to its last, or no text. A
/// question about a service is answered by the rules alone, so that its objects are not looked at.
#[must_use]
pub fn broken_endpoint_slices(snapshot: &Snapshot) -> Option<Gap> {
    let id = snapshot.kube.endpoint_slices?;
    let file = snapshot.files.get(id)?;
    let (text, odd) = match super::text(file) {
        Ok(read) => read,
        Err(what) => return Some(Gap::new(what, vec![])),
    };
    if let Some(what) = odd {
        return Some(Gap::new(what, vec![]));
    }
    let (first, end) = (text.len() - text.trim_start().len(), text.trim_end().len());
    let wrong = match text.get(first..end)? {
        "" => return None,
        object if !object.starts_with('{') => first,
        object if !object.ends_with('}') => end,
        _ => return None,
    };
    let above = memchr::memchr_iter(b'\n', text.as_bytes().get(..wrong)?).count();
    let evidence = Evidence::line(id, u32::try_from(above + 1).unwrap_or(u32::MAX));
    Some(Gap::new(
        "the endpoint slices are no whole JSON object (`kubectl get endpointslices -A -o json`)",
        vec![evidence],
    ))
}

/// Makes a row of an object.
type Make<O, T> = fn(O, &mut Place<'_, '_>) -> T;

struct Reading<'a> {
    files: &'a mut Files,
    cluster: &'a BTreeMap<String, FileId>,
    gaps: &'a mut Vec<Gap>,
}

impl Reading<'_> {
    /// Reads a list. Its objects' rows are written as kubectl names them: `pod/web-0 -n shop`.
    fn list<O: Object, T>(&mut self, name: &str, word: &str, make: Make<O, T>) -> Option<Vec<T>> {
        let id = *self.cluster.get(name)?;
        let text = self.files.get(id)?.text.clone();
        let mut notes = Notes::new(id, TOOL, self.gaps);
        let mut list = Vec::new();
        let mut rows = Vec::new();
        objects(id, &text, &mut notes, |object: O, evidence, notes| {
            let index = evidence.index.map_or(0, |index| index as usize);
            if rows.len() <= index {
                rows.resize(index + 1, String::new());
            }
            if let Some(row) = rows.get_mut(index) {
                *row = object.row(word);
            }
            list.push(make(object, &mut Place { evidence, notes }));
        });
        drop(notes);
        self.files.set_rows(id, rows);
        Some(list)
    }
}

/// Where an object stands, for what can't be read in it.
struct Place<'a, 'g> {
    evidence: Evidence,
    notes: &'a mut Notes<'g>,
}

impl Place<'_, '_> {
    /// Reads values that are written as strings; one that can't be read is a gap. Empty ones say nothing.
    fn parse<T: FromStr>(&mut self, what: &str, texts: impl IntoIterator<Item = String>) -> Vec<T> {
        let mut found = Vec::new();
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            match text.parse() {
                Ok(value) => found.push(value),
                Err(_) => self.notes.add(self.evidence, format_args!("{} is no {what}", quote(&text))),
            }
        }
        found
    }

    fn protocol(&mut self, name: Option<&str>) -> Protocol {
        match name {
            None | Some("TCP") => Protocol::TCP,
            Some("UDP") => Protocol::UDP,
            Some("SCTP") => Protocol::SCTP,
            Some(other) => {
                self.notes.add(self.evidence, format_args!("{} is no protocol; taken for TCP", quote(other)));
                Protocol::TCP
            }
        }
    }
}

/// An object with a name.
trait Object: DeserializeOwned {
    /// As kubectl names it.
    fn row(&self, word: &str) -> String;
}

macro_rules! object {
    ($($name:ty),*) => {
        $(impl Object for $name {
            fn row(&self, word: &str) -> String {
                let Metadata { name, namespace, .. } = &self.metadata;
                match namespace {
                    Some(namespace) => format!("{word}/{name} -n {namespace}"),
                    None => format!("{word}/{name}"),
                }
            }
        })*
    };
}
object!(node::NodeObject, pod::PodObject, service::ServiceObject, PolicyObject);

/// Of the annotations and labels, which can be long, only those objects keep any that have some of use.
#[derive(Deserialize)]
struct Metadata<A = IgnoredAny, L = IgnoredAny> {
    name: String,
    namespace: Option<String>,
    annotations: Option<A>,
    labels: Option<L>,
}

/// Annotations or labels.
type Words = BTreeMap<String, String>;

impl<A, L> Metadata<A, L> {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

#[derive(Deserialize)]
struct PolicyObject {
    metadata: Metadata,
}

fn network_policy(object: PolicyObject, place: &mut Place<'_, '_>) -> NetworkPolicy {
    NetworkPolicy {
        namespace: object.metadata.namespace().to_owned(),
        name: object.metadata.name,
        evidence: place.evidence,
    }
}

#[cfg(test)]
mod tests;
