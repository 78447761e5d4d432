//! Everything that is held against the Linux kernel, which is the judge. Needs root, and says loudly where it is
//! skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

#[path = "../lab/mod.rs"]
mod lab;

mod addresses;
mod bytes;
mod captures;
mod collected;
mod conntrack;
mod copies;
mod correlate;
mod correlate_icmp;
mod frames;
mod headers;
mod ipset;
#[cfg(all(feature = "capture", target_os = "linux"))]
mod live;
mod mutations;
mod order;
mod proxied;
mod random;
mod rows;
mod rules;
mod saved;
mod sender;
mod situations;
mod vlan;
mod written;
