//! The Kubernetes objects of a snapshot.

/// What `cluster/` holds.
#[derive(Debug, Default)]
pub struct Kube {}
