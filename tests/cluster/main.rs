//! `flowtrace collect` of a cluster, and `explain` of one that is asked first: through real kubectls, from an API server of
//! the tests' own whose pods run on the lab's machines. Whatever fails, no pod is left behind. Needs root, and says loudly
//! where it is skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

#[path = "../lab/mod.rs"]
mod lab;

mod faults;
mod interrupt;
mod layout;
mod login;
mod plugin;
mod question;
mod small;
mod ways;
