//! How devices hang together.

/// The graph of namespaces and devices.
#[derive(Debug, Default)]
pub struct Topology {}
