//! What the kernel has loaded. Asking for rules of a kind that it hasn't would load the module, and nothing on the node
//! is to change.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// A module, and a function that is in it: the kernel's list of modules doesn't tell what is built in.
const MODULES: [(&str, &str); 3] = [
    ("nf_tables", "nf_tables_newtable"),
    ("ip_set", "ip_set_type_register"),
    ("nf_conntrack_netlink", "ctnetlink_dump_table"),
];

/// Which modules of netfilter are there.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    there: HashSet<&'static str>,
}

impl Kernel {
    /// Looks.
    pub fn look() -> Self {
        // A kernel that loads no modules can't be made to.
        let Ok(loaded) = fs::read_to_string("/proc/modules") else {
            return Self { there: MODULES.iter().map(|(name, _)| *name).collect() };
        };
        let loaded: HashSet<&str> = loaded.lines().filter_map(|line| line.split(' ').next()).collect();
        let is_there = |name: &str| loaded.contains(name) || Path::new("/sys/module").join(name).exists();
        let mut there: HashSet<&str> = MODULES.iter().map(|(name, _)| *name).filter(|name| is_there(name)).collect();
        if there.len() < MODULES.len() {
            there.extend(built_in());
        }
        Self { there }
    }

    pub fn has_nft(&self) -> bool {
        self.there.contains("nf_tables")
    }

    pub fn has_ipset(&self) -> bool {
        self.there.contains("ip_set")
    }

    pub fn has_conntrack_netlink(&self) -> bool {
        self.there.contains("nf_conntrack_netlink")
    }
}

/// The modules of which the kernel's list of functions knows one.
fn built_in() -> Vec<&'static str> {
    let Ok(file) = File::open("/proc/kallsyms") else { return Vec::new() };
    let mut found = Vec::new();
    for line in BufReader::with_capacity(1 << 16, file).lines().map_while(Result::ok) {
        let function = line.split_ascii_whitespace().nth(2).unwrap_or_default();
        found.extend(MODULES.iter().filter(|(_, known)| *known == function).map(|(name, _)| *name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_finds_known_modules_only() {
        let kernel = Kernel::look();
        assert!(kernel.there.iter().all(|name| MODULES.iter().any(|(known, _)| known == name)));
    }
}
