//! flowtrace: what happened to this packet, and why.
//!
//! A snapshot of a cluster's nodes goes in, a packet is walked through it as Linux would, and every decision comes
//! out with the file and line that made it.
//!
//! | layer | modules |
//! | --- | --- |
//! | 0 words | [`net`], [`evidence`] |
//! | 1 data | [`snapshot`], [`trace`], [`wire`], [`unpack`] |
//! | 2 readers, walker | [`load`], [`capture`], [`engine`] |
//! | 3 judgement | [`diagnose`], [`retrace`], [`correlate`] |
//! | 4 views | [`render`] |
//! | 5 outside | [`collect`] |
//! | 6 shell | [`cli`] |
//!
//! A module uses only what stands above it, with [`error`], `pages` and `signals` beside them all. `engine` knows no
//! Kubernetes and no flannel; `snapshot` has no parser; `render` decides nothing and never sees a snapshot.

pub mod capture;
pub mod cli;
pub mod collect;
pub mod correlate;
pub mod diagnose;
pub mod engine;
pub mod error;
pub mod evidence;
pub mod load;
pub mod net;
pub(crate) mod pages;
pub mod render;
pub mod retrace;
#[cfg(unix)]
pub(crate) mod signals;
pub mod snapshot;
pub mod trace;
pub mod unpack;
pub mod wire;
