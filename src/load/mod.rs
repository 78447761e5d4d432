//! Readers: text to [`crate::snapshot::Snapshot`]. Only this file opens files.

pub mod bridge_fdb;
pub mod bridge_link;
pub mod bridge_vlan;
#[cfg(test)]
mod check;
pub mod ip_addr;
pub mod ip_link;
pub mod ip_neigh;
pub mod ip_nexthop;
pub mod ip_route;
pub mod ip_rule;
mod json;
mod lines;
mod rt_names;
pub mod tuntap;
