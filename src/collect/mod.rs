//! Layer 5: takes snapshots.

#[cfg(target_os = "linux")]
pub mod node;
mod script;

pub use script::SCRIPT;
