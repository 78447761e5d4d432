//! Which of the tools are there, and which of iptables' two backends each of its programs is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::command::Folders;
use super::kernel::Kernel;
use super::netlink::nft;

/// The tools of the node, and what its kernel has.
#[derive(Debug)]
pub(super) struct Tools {
    pub kernel: Kernel,
    pub inet: Saves,
    pub inet6: Saves,
    pub nft: Option<PathBuf>,
    pub ipset: Option<PathBuf>,
    pub nfacct: Option<PathBuf>,
    pub conntrack: Option<PathBuf>,
}

/// The programs that print a family's rules.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// That of the nft backend.
    pub nft: Option<PathBuf>,
    /// What that one says of itself, where its words are known and need not be asked of it.
    pub known: Option<nft::Tool>,
    /// That of the legacy backend.
    pub legacy: Option<PathBuf>,
}

impl Tools {
    /// Looks for them.
    pub fn look() -> Self {
        let folders = Folders::look();
        Self {
            kernel: Kernel::look(),
            inet: Saves::look("iptables", &folders),
            inet6: Saves::look("ip6tables", &folders),
            nft: folders.find("nft"),
            ipset: folders.find("ipset"),
            nfacct: folders.find("nfacct"),
            conntrack: folders.find("conntrack"),
        }
    }
}

impl Saves {
    fn look(family: &str, folders: &Folders) -> Self {
        let find = |name: String| folders.find(&name);
        let mut saves = Self {
            nft: find(format!("{family}-nft-save")),
            legacy: find(format!("{family}-legacy-save")),
            known: None,
        };
        let mut said = saves.nft.as_deref().map(version);
        let plain = find(format!("{family}-save")).filter(|_| saves.nft.is_none() || saves.legacy.is_none());
        if let Some(plain) = plain {
            let plain_said = version(&plain);
            // Before version 1.8 there was but one backend, and no word for it.
            if plain_said.contains("(nf_tables)") {
                said.get_or_insert(plain_said);
                saves.nft.get_or_insert(plain)
            } else {
                saves.legacy.get_or_insert(plain)
            };
        }
        saves.known = said.and_then(|said| nft::Tool::of(&said));
        saves
    }
}

/// What a program says of its version.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}
