//! The rule lab: one router between two hosts, random rule sets on it, and packets of every kind. What the kernel does
//! with a packet, rule by rule, must be one of the ways that flowtrace's engine finds in the rules as the tools print
//! them.
//!
//! A case takes milliseconds, since nothing waits: packets are handed to one processor's queue in order, and a marker
//! that comes after a packet tells that the kernel is done with it.

pub mod between;
pub mod case;
pub mod craft;
pub mod extensions;
pub mod iptables;
pub mod judge;
pub mod nft;
pub mod router;
