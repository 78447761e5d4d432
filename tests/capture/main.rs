//! `flowtrace capture` against the kernel: real packets on real devices, and the files that they end up in. Needs root
//! and the feature `capture`, and says loudly where it is skipped.
#![cfg(all(feature = "capture", target_os = "linux"))]
#![allow(dead_code, reason = "the lab's namespaces can more than is asked of them here")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]
#![allow(clippy::format_push_string, missing_docs, reason = "these are tests")]

#[path = "../lab/netns.rs"]
mod netns;
#[path = "../lab/ready.rs"]
mod ready;

mod ends;
mod file;
mod pair;
mod privilege;
mod program;
mod refusals;
mod several;
