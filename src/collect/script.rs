//! The same snapshot without this program.

/// A POSIX shell script that takes a snapshot with iproute2 and iptables alone.
pub const SCRIPT: &str = include_str!("script.sh");
