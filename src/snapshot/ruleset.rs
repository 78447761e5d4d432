//! The rule sets of netfilter.

/// Everything that netfilter holds in one namespace.
#[derive(Debug, Default)]
pub struct Netfilter {}
