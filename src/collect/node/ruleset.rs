//! Rule sets, sets and connections: what the netfilter tools print of a namespace.
//!
//! A tool is run only where the kernel has what it would ask for: to ask loads modules and, in iptables-legacy, makes
//! tables. What the kernel doesn't have is empty.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::Error;

use super::netlink;
use super::space::{Program, Writer};
use super::tool::{Saves, Tools};

/// How often the rules are read where they change meanwhile; it may take long.
const ATTEMPTS: usize = 2;

/// Where the kernel lists the tables of iptables-legacy that a namespace has.
const LEGACY: [&str; 2] = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

/// Takes all of it of the calling thread's namespace.
pub(super) fn take(tools: &Tools, writer: &Writer<'_>) -> Result<(), Error> {
    rules(tools, writer)?;
    let at = (tools.kernel.has_nft(), writer);
    legacy(&tools.inet, LEGACY[0], ["iptables-save", "iptables-legacy-save"], at)?;
    legacy(&tools.inet6, LEGACY[1], ["ip6tables-save", "ip6tables-legacy-save"], at)?;
    if tools.kernel.has_ipset() {
        writer.run("ipset", program(tools.ipset.as_ref(), "ipset"), &[&["save"]])?;
    } else {
        writer.put("ipset", "")?;
    }
    conntrack(tools, writer)?;
    recent(writer)
}

/// nft's rules, in nft's words and in those of iptables, again where they changed between the two.
fn rules(tools: &Tools, writer: &Writer<'_>) -> Result<(), Error> {
    let saves = [("iptables-save", &tools.inet), ("ip6tables-save", &tools.inet6)];
    if !tools.kernel.has_nft() {
        for (file, _) in saves.iter().filter(|(_, saves)| saves.nft.is_some()) {
            writer.put(file, "")?;
        }
        return writer.put("nft.txt", "");
    }
    let generation = || netlink::nft_generation().ok().flatten();
    for attempt in 1..=ATTEMPTS {
        let before = generation();
        let mut taken = Vec::new();
        for (file, saves) in saves {
            if let Some(program) = &saves.nft {
                taken.push((file, writer.output(file, Ok(program), &[&["-c"]])?));
            }
        }
        taken.push(("nft.txt", writer.output("nft.txt", program(tools.nft.as_ref(), "nft"), &[&["list", "ruleset"]])?));
        let is_same = before == generation();
        if !is_same && attempt < ATTEMPTS {
            taken.into_iter().filter_map(|(_, output)| output.ok()).for_each(|spool| writer.forget(spool));
            continue;
        }
        for (file, output) in taken {
            writer.settle(file, output)?;
        }
        if !is_same {
            writer.changed("nft.txt");
        }
        break;
    }
    Ok(())
}

fn program<'p>(path: Option<&'p PathBuf>, name: &'p str) -> Program<'p> {
    path.ok_or(name)
}

/// The rules of iptables-legacy: in a file of their own beside nft's, and in the usual one where the node has no other.
fn legacy(
    saves: &Saves,
    names: &str,
    [plain, own]: [&str; 2],
    (has_nft, writer): (bool, &Writer<'_>),
) -> Result<(), Error> {
    let file = if saves.nft.is_some() { own } else { plain };
    let tables = match fs::read_to_string(names) {
        Ok(tables) => tables,
        Err(err) if err.kind() == io::ErrorKind::NotFound => String::new(),
        Err(err) => {
            writer.fail(file, format!("{names}: {err}"));
            return Ok(());
        }
    };
    match (&saves.legacy, tables.trim().is_empty()) {
        (Some(program), false) => writer.run(file, Ok(program), &[&["-c"]]),
        (_, true) if saves.nft.is_some() => Ok(()),
        // Rules that the nft backend's program would show.
        (None, true) if has_nft => {
            writer.fail(plain, format!("{plain} is not installed"));
            Ok(())
        }
        (_, true) => writer.put(plain, ""),
        (None, false) => {
            let tables = tables.split_whitespace().collect::<Vec<_>>().join(", ");
            writer
                .fail(file, format!("the kernel has tables of iptables-legacy ({tables}), and {own} is not installed"));
            Ok(())
        }
    }
}

/// The tracked connections. The tool's default is one family alone in some versions.
fn conntrack(tools: &Tools, writer: &Writer<'_>) -> Result<(), Error> {
    const LIST: [&[&str]; 2] = [&["-L", "-f", "ipv4", "-o", "extended"], &["-L", "-f", "ipv6", "-o", "extended"]];
    if let Some(program) = tools.conntrack.as_ref().filter(|_| tools.kernel.has_conntrack_netlink()) {
        return writer.run("conntrack", Ok(program), &LIST);
    }
    match fs::File::open("/proc/thread-self/net/nf_conntrack") {
        Ok(mut file) => writer.fill("conntrack", |spool| io::copy(&mut file, spool).map(drop)),
        // Without connection tracking there are no connections.
        Err(_) if fs::metadata("/proc/sys/net/netfilter/nf_conntrack_count").is_err() => writer.put("conntrack", ""),
        Err(_) => writer.run("conntrack", Err("conntrack"), &LIST),
    }
}

/// The lists of the `recent` match.
fn recent(writer: &Writer<'_>) -> Result<(), Error> {
    let Ok(lists) = fs::read_dir("/proc/thread-self/net/xt_recent") else { return Ok(()) };
    let mut is_made = false;
    for list in lists.filter_map(Result::ok) {
        let Ok(name) = list.file_name().into_string() else { continue };
        if !std::mem::replace(&mut is_made, true) {
            writer.make("recent")?;
        }
        let path = list.path();
        writer.fill(&format!("recent/{name}"), |spool| io::copy(&mut fs::File::open(&path)?, spool).map(drop))?;
    }
    Ok(())
}
