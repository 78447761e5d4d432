//! The network namespaces of this node, for whoever wants to look into one.

use std::fs::File;
use std::net::IpAddr;

use nix::sched::{CloneFlags, setns};

use super::{netlink, spaces};
use crate::error::Error;
use crate::net::{NetnsName, NodeName, PodName};

/// The namespaces of this node that packets pass.
#[derive(Debug)]
pub struct Namespaces {
    /// The node's name.
    pub node: NodeName,
    /// The host's own, then the pods'. What is no pod is called after its address or by `ip netns`' name.
    pub list: Vec<Netns>,
    /// What a person should know of them.
    pub notes: Vec<String>,
}

/// A network namespace, which stays as long as this is held.
#[derive(Debug)]
pub struct Netns {
    /// Whose it is.
    pub name: NetnsName,
    /// A handle on it, as `setns(2)` takes it.
    pub file: File,
}

impl Namespaces {
    /// Finds them as `collect` does. `node` is the node's name where the kubelet doesn't tell it. Only root finds those of
    /// pods; without, there is a note.
    ///
    /// Fails with [`Error::Usage`] where the name is none, and with [`Error::Io`] where `/proc` shows no namespace.
    pub fn find(node: Option<&str>) -> Result<Self, Error> {
        let node = super::node_name(node)?;
        let mut notes = Vec::new();
        let spaces = spaces(&node, &mut notes)?;
        let name = |dir: &str| match dir.rsplit_once("/pods/").and_then(|(_, folder)| folder.split_once('_')) {
            Some((namespace, pod)) => NetnsName::Pod(PodName::new(namespace, pod)),
            None => NetnsName::Host,
        };
        let netns = |space: super::Space| Netns { name: name(&space.dir), file: space.found.file };
        let list = spaces.into_iter().map(netns).collect();
        Ok(Self { node: NodeName::new(&node), list, notes })
    }
}

impl Netns {
    /// Runs something in it, in a thread of its own. The error is the system's, of entering.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, String> {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| errno.desc().to_owned()).map(|()| work())
            });
            worker.join().unwrap_or_else(|_| Err("a thread died".to_owned()))
        })
    }

    /// The addresses in it, those of `lo` left out; none where they can't be asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.enter(|| netlink::addresses().unwrap_or_default().0).unwrap_or_default()
    }
}
