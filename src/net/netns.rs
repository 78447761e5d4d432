//! Network namespaces by number and by name.

use std::fmt;

use super::PodName;

/// A network namespace of the snapshot, as an index into `Snapshot::namespaces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId(pub u32);

/// Which namespace of a node: the host's own, or a pod's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetnsName {
    /// The node's own network namespace.
    Host,
    /// A pod's.
    Pod(PodName),
}

impl fmt::Display for NetnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Pod(pod) => write!(f, "pod:{pod}"),
        }
    }
}
