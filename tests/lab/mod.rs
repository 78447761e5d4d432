//! The kernel lab: builds clusters from network namespaces, takes their snapshot, sends real packets, sees where they
//! go and by which rules, and holds `flowtrace explain` against it. The Linux kernel is the judge.
//!
//! A [`scenario::Scenario`] is data, with questions ([`probe`]). [`flannel`] makes one for a cluster on an [`underlay`],
//! [`kube_proxy`] its rules, [`objects`] its Kubernetes objects; [`build`] makes it real, [`snapshot`] writes it down.
#![allow(dead_code, reason = "every test program uses its own part of the lab")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
#![allow(clippy::format_push_string, clippy::unreadable_literal, missing_docs, reason = "these are tests")]

pub mod answer;
pub mod apiserver;
pub mod article;
pub mod build;
pub mod captures;
pub mod client;
pub mod compare;
pub mod coverage;
pub mod dump;
pub mod explain;
pub mod faults;
pub mod flannel;
pub mod judge;
pub mod kube_proxy;
pub mod machine;
pub mod mutation;
pub mod mutations;
pub mod netns;
pub mod node;
pub mod objects;
pub mod observe;
#[path = "../sample/open.rs"]
pub mod open;
pub mod probe;
pub mod random;
pub mod random_routes;
pub mod random_rules;
pub mod ready;
pub mod recording;
pub mod relay;
pub mod rng;
pub mod rules;
pub mod ruletrace;
pub mod saved;
pub mod scenario;
pub mod settings;
pub mod situations;
pub mod snapshot;
pub mod stopped;
pub mod tap;
pub mod traffic;
pub mod underlay;
pub mod wire;
