//! Layer 5: takes snapshots.

mod clock;
#[cfg(unix)]
pub mod cluster;
#[cfg(target_os = "linux")]
pub mod node;
#[cfg(unix)]
mod pipes;
mod script;
#[cfg(unix)]
mod sink;
#[cfg(unix)]
mod stop;

pub use script::SCRIPT;
#[cfg(unix)]
pub use sink::Target;
#[cfg(unix)]
pub use stop::{INTERRUPTED, Stop};
