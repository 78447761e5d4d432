//! Bad input is normal: broken, contradictory, hostile and huge snapshots, from their files to what a terminal gets.
//!
//! Whatever a snapshot holds, loading, walking and printing it ends, in bounded time and memory, without a panic, and
//! nothing that a terminal would obey comes out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

mod ask;
mod bundled;
mod contradiction;
mod extra;
mod hostile;
mod huge;
mod missing;
mod mutation;
mod partial;
mod program;
mod random;
mod rules;
mod told;
mod unread;
mod watch;
