//! Which of the tools are there, and which of iptables' two backends each of its programs is.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::command::find;
use super::kernel::Kernel;

/// The tools of the node, and what its kernel has.
#[derive(Debug)]
pub(super) struct Tools {
    pub kernel: Kernel,
    pub inet: Saves,
    pub inet6: Saves,
    pub nft: Option<PathBuf>,
    pub ipset: Option<PathBuf>,
    pub conntrack: Option<PathBuf>,
}

/// The programs that print a family's rules.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// That of the nft backend.
    pub nft: Option<PathBuf>,
    /// That of the legacy backend.
    pub legacy: Option<PathBuf>,
}

impl Tools {
    /// Looks for them.
    pub fn look() -> Self {
        Self {
            kernel: Kernel::look(),
            inet: Saves::look("iptables"),
            inet6: Saves::look("ip6tables"),
            nft: find("nft"),
            ipset: find("ipset"),
            conntrack: find("conntrack"),
        }
    }
}

impl Saves {
    fn look(family: &str) -> Self {
        let mut saves =
            Self { nft: find(&format!("{family}-nft-save")), legacy: find(&format!("{family}-legacy-save")) };
        let plain = find(&format!("{family}-save")).filter(|_| saves.nft.is_none() || saves.legacy.is_none());
        if let Some(plain) = plain {
            // Before version 1.8 there was but one backend, and no word for it.
            let version = Command::new(&plain).arg("--version").stdin(Stdio::null()).output();
            let is_nft = version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("(nf_tables)"));
            if is_nft {
                saves.nft.get_or_insert(plain)
            } else {
                saves.legacy.get_or_insert(plain)
            };
        }
        saves
    }
}
