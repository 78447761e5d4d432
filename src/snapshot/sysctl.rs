//! Kernel settings.

use std::collections::HashMap;

use crate::evidence::Evidence;
use crate::net::{Family, IfName};

/// One `net.*` line of `sysctl -a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The value as printed.
    pub value: String,
    /// The line that says so.
    pub evidence: Evidence,
}

/// The settings of a namespace, by key. Keys are in the dotted form, in which a dot inside a device's name is a
/// slash (`net.ipv4.conf.flannel/1.forwarding`).
#[derive(Clone, Debug, Default)]
pub struct Sysctls {
    settings: HashMap<String, Sysctl, foldhash::quality::RandomState>,
}

impl Sysctls {
    /// Keeps a setting; the last line for a key stays.
    pub fn insert(&mut self, key: impl Into<String>, sysctl: Sysctl) {
        self.settings.insert(key.into(), sysctl);
    }

    /// The setting with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Sysctl> {
        self.settings.get(key)
    }

    /// The setting's value as a number, with its line.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<(i64, Evidence)> {
        let sysctl = self.get(key)?;
        sysctl.value.trim().parse().ok().map(|value| (value, sysctl.evidence))
    }

    /// A device's setting under `net.ipv4.conf` or `net.ipv6.conf`, as a number, with its line. The device may be
    /// `all` or `default`.
    #[must_use]
    pub fn conf(&self, family: Family, dev: &IfName, setting: &str) -> Option<(i64, Evidence)> {
        self.number(&conf_key(family, dev.as_str(), setting))
    }

    /// How many settings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.settings.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }
}

/// The key of a device's setting. A walk asks for dozens, so this is put together without the formatting machinery.
#[must_use]
pub fn conf_key(family: Family, dev: &str, setting: &str) -> String {
    let front = if family == Family::Inet { "net.ipv4.conf." } else { "net.ipv6.conf." };
    let mut key = String::with_capacity(front.len() + dev.len() + 1 + setting.len());
    key.push_str(front);
    key.extend(dev.chars().map(|letter| if letter == '.' { '/' } else { letter }));
    key.push('.');
    key.push_str(setting);
    key
}
