//! The Kubernetes objects: each list as kubectl prints it.

use std::thread;
use std::time::Duration;

use crate::error::Error;

use super::kubectl::{Kubectl, Until};
use super::refusal::{Kind, Refusal};

/// The lists, by what kubectl calls them, which their files are named for.
const FIRST: &str = "nodes";
const OTHERS: [&str; 4] = ["pods", "services", "endpointslices", "networkpolicies"];

/// The lists that were taken.
#[derive(Debug, Default)]
pub struct Objects {
    /// Paths in the snapshot, and the JSON.
    pub files: Vec<(String, String)>,
    /// Paths of those that were not, and why.
    pub failed: Vec<(String, String)>,
}

impl Objects {
    /// A list's JSON.
    pub(super) fn list(&self, name: &str) -> &str {
        let path = path(name);
        self.files.iter().find(|(file, _)| *file == path).map_or("", |(_, text)| text)
    }
}

fn path(name: &str) -> String {
    format!("cluster/{name}.json")
}

/// Takes every list: the first one alone, so that there is one login where the others find it done, and then the others
/// at once. Fails where there is none of nodes and pods, without which nothing has a name.
pub(super) fn take(kubectl: &Kubectl<'_>, patience: Duration) -> Result<Objects, Error> {
    let ask = |name: &str, until| kubectl.text(&["get", name, "-A", "-o", "json"], "", until);
    let first = ask(FIRST, Until::login(patience));
    if let Err(refusal) = &first
        && (refusal.is_of_all() || refusal.kind == Kind::Late)
    {
        return Err(Error::Usage(refusal.to_string()));
    }
    let until = Until::within(patience);
    let answers: Vec<Result<String, Refusal>> = thread::scope(|scope| {
        let threads: Vec<_> = OTHERS.into_iter().map(|name| scope.spawn(move || ask(name, until))).collect();
        let died = |_| Refusal { kind: Kind::Other, said: "the thread that asked for it died".to_owned() };
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| Err(died(panic)))).collect()
    });
    let mut objects = Objects::default();
    let mut worst = None;
    let lists = std::iter::once(FIRST).chain(OTHERS);
    for (name, answer) in lists.zip(std::iter::once(first).chain(answers)) {
        match answer {
            Ok(text) => objects.files.push((path(name), text)),
            Err(refusal) if refusal.is_of_all() => return Err(Error::Usage(refusal.to_string())),
            Err(refusal) => {
                objects.failed.push((path(name), refusal.to_string()));
                worst.get_or_insert(refusal);
            }
        }
    }
    match worst {
        Some(refusal) if objects.list("nodes").is_empty() && objects.list("pods").is_empty() => {
            Err(Error::Usage(refusal.to_string()))
        }
        _ => Ok(objects),
    }
}
