//! What the kernel has loaded. Asking for rules of a kind that it hasn't would load the module, and nothing on the node
//! is to change.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

/// A module, and a function that is in it: the kernel's list of modules doesn't tell what is built in.
const MODULES: [(&str, &str); 4] = [
    ("nf_tables", "nf_tables_newtable"),
    ("ip_set", "ip_set_type_register"),
    ("nfnetlink_acct", "nfnl_acct_find_get"),
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
        Self::of(
            fs::read_to_string("/proc/modules").ok().as_deref(),
            |name| Path::new("/sys/module").join(name).exists(),
            || File::open("/proc/kallsyms").map(built_in).unwrap_or_default(),
        )
    }

    /// What a kernel has by its list of modules, its folders of them, and, where these lack one, its list of functions.
    fn of(
        loaded: Option<&str>,
        has_folder: impl Fn(&str) -> bool,
        built_in: impl FnOnce() -> Vec<&'static str>,
    ) -> Self {
        // A kernel that loads no modules can't be made to.
        let Some(loaded) = loaded else { return Self { there: MODULES.iter().map(|(name, _)| *name).collect() } };
        let loaded: HashSet<&str> = loaded.lines().filter_map(|line| line.split(' ').next()).collect();
        let is_there = |name: &str| loaded.contains(name) || has_folder(name);
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

    pub fn has_acct(&self) -> bool {
        self.there.contains("nfnetlink_acct")
    }

    pub fn has_conntrack_netlink(&self) -> bool {
        self.there.contains("nf_conntrack_netlink")
    }
}

/// The modules of which the kernel's list of functions knows one.
fn built_in(functions: impl Read) -> Vec<&'static str> {
    let mut found = Vec::new();
    for line in BufReader::with_capacity(1 << 16, functions).lines().map_while(Result::ok) {
        let function = line.split_ascii_whitespace().nth(2).unwrap_or_default();
        found.extend(MODULES.iter().filter(|(_, known)| *known == function).map(|(name, _)| *name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_has_what_is_loaded_or_built_in_and_nothing_else() {
        let has = |kernel: &Kernel| [kernel.has_nft(), kernel.has_ipset(), kernel.has_conntrack_netlink()];
        let none = || Vec::new();
        let bare = Kernel::of(Some("vxlan 1 0 - Live 0x0\n"), |_| false, none);
        assert_eq!(has(&bare), [false; 3]);
        let loaded = Kernel::of(Some("nf_tables 3 0 - Live 0x0\nip_set_hash_ip 1 0 - Live 0x0\n"), |_| false, none);
        assert_eq!(has(&loaded), [true, false, false]);
        let functions = "0000000000000000 T ip_set_type_register\n0000000000000000 t nf_tables_newtable_not\n";
        let built = Kernel::of(Some(""), |name| name == "nf_tables", || built_in(functions.as_bytes()));
        assert_eq!(has(&built), [true, true, false]);
        assert_eq!(has(&Kernel::of(None, |_| false, none)), [true; 3]);
    }

    #[test]
    fn looking_finds_known_modules_only() {
        let kernel = Kernel::look();
        assert!(kernel.there.iter().all(|name| MODULES.iter().any(|(known, _)| known == name)));
    }
}
