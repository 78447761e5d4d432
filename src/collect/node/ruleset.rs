//! Rule sets, sets and connections: what the netfilter tools print of a namespace.
//!
//! A tool is run only where the kernel has what it would ask for: to ask loads modules and, in iptables-legacy, makes
//! tables. What the kernel doesn't have is empty.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::collect::clock;
use crate::collect::sink::Spool;
use crate::error::Error;
use crate::load::ELSEWHERE;
use crate::net::Family;

use super::netlink;
use super::netlink::nft::{self, Fault, Tool, Written};
use super::space::{Program, Writer};
use super::tool::{Saves, Tools};

/// How often the rules are read where they change meanwhile; it may take long.
const ATTEMPTS: usize = 2;

/// How often our own reading begins where rules change meanwhile.
const OWN_ATTEMPTS: usize = 5;

/// With so many rules of iptables-nft's, the time that `nft list ruleset` takes begins to grow with their square.
const MANY_RULES: usize = 4096;

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
    // Hardly any node has the tool, or rules that ask about what it shows.
    if let Some(program) = tools.nfacct.as_ref().filter(|_| tools.kernel.has_acct()) {
        writer.run("nfacct", Ok(program), &[&["list"]])?;
    }
    conntrack(tools, writer)?;
    recent(writer)
}

/// nft's rules, in nft's words and in those of iptables, again where they changed between the two.
fn rules(tools: &Tools, writer: &Writer<'_>) -> Result<(), Error> {
    let saves = [(Family::Inet, "iptables-save", &tools.inet), (Family::Inet6, "ip6tables-save", &tools.inet6)];
    if !tools.kernel.has_nft() {
        for (_, file, _) in saves.iter().filter(|(.., saves)| saves.nft.is_some()) {
            writer.put(file, "")?;
        }
        return writer.put("nft.txt", "");
    }
    let generation = || netlink::nft_generation().ok().flatten();
    for attempt in 1..=ATTEMPTS {
        let before = generation();
        let mut taken = Vec::new();
        let mut written = Vec::new();
        for (family, file, saves) in saves {
            if let Some(program) = &saves.nft {
                let output = match own(family, file, saves, writer)? {
                    Some((spool, tables)) => {
                        written.extend(tables);
                        Ok(spool)
                    }
                    None => writer.output(file, Ok(program), &[&["-c"]])?,
                };
                taken.push((file, output));
            }
        }
        taken.push(("nft.txt", listing(program(tools.nft.as_ref(), "nft"), &written, writer)?));
        let is_same = before.is_some() && before == generation();
        if !is_same && attempt < ATTEMPTS {
            taken.into_iter().filter_map(|(_, output)| output.ok()).for_each(|spool| writer.forget(&spool));
            continue;
        }
        for (file, output) in taken {
            // Each of them may be of a moment between two changes, and all of them of different ones.
            if !is_same && output.is_ok() {
                writer.changed(file);
            }
            writer.settle(file, output)?;
        }
        break;
    }
    Ok(())
}

/// A family's rules by our own asking, in the tool's words; `None` where the tool is to be asked. As the tool does, it
/// begins anew where something has changed meanwhile, but not for ever.
fn own(family: Family, file: &str, saves: &Saves, writer: &Writer<'_>) -> Result<Option<(Spool, Vec<Written>)>, Error> {
    let Some(tool) = &saves.known else { return Ok(None) };
    for _ in 1..OWN_ATTEMPTS {
        let before = netlink::nft_generation().ok().flatten();
        let Some((spool, tables)) = once(family, file, tool, writer)? else { return Ok(None) };
        if before.is_some() && before == netlink::nft_generation().ok().flatten() {
            return Ok(Some((spool, tables)));
        }
        writer.forget(&spool);
    }
    once(family, file, tool, writer)
}

/// The same, of whatever moments.
fn once(family: Family, file: &str, tool: &Tool, writer: &Writer<'_>) -> Result<Option<(Spool, Vec<Written>)>, Error> {
    writer.stop.check()?;
    let mut spool = writer.spool(file)?;
    let result = nft::save(family, tool, clock::seconds(), &mut |text| {
        // The caller sees that somebody asks to end.
        if writer.stop.is_asked() { Err(io::ErrorKind::Interrupted.into()) } else { spool.file.write_all(text) }
    });
    writer.stop.check()?;
    match result {
        Ok(tables) => Ok(Some((spool, tables))),
        Err(Fault::Unknown) => {
            writer.forget(&spool);
            Ok(None)
        }
        Err(Fault::Unwritten(source)) => Err(writer.sink.unwritten(source)),
    }
}

/// `nft list ruleset`. Where that would take long, the base chains alone are listed of a table whose rules are all in
/// `iptables-save`: they tell in what order the kernel calls them among the others.
fn listing(program: Program<'_>, written: &[Written], writer: &Writer<'_>) -> Result<Result<Spool, String>, Error> {
    const FILE: &str = "nft.txt";
    let whole = || writer.output(FILE, program, &[&["list", "ruleset"]]);
    let listed = |table: &Written| Some(format!("{ELSEWHERE} ({} rules)\n{}", table.rules, table.listing.as_ref()?));
    let listings: HashMap<_, _> = written.iter().filter_map(|table| Some((&table.name, listed(table)?))).collect();
    let Ok(tables) = nft::tables() else { return whole() };
    let rules: usize = written.iter().map(|table| table.rules).sum();
    let is_safe = tables.iter().all(|table| listings.contains_key(table) || table.words().is_some());
    if program.is_err() || listings.is_empty() || rules < MANY_RULES || !is_safe {
        return whole();
    }
    let mut spool = writer.spool(FILE)?;
    for table in &tables {
        let Some(listing) = listings.get(table) else {
            let Some(words) = table.words() else { continue };
            let [family, name] = words;
            // It may have gone since.
            if writer.add(&spool, program, &["list", "table", family, name])?.is_err() {
                writer.forget(&spool);
                return whole();
            }
            continue;
        };
        let listed = spool.file.write_all(listing.as_bytes());
        listed.map_err(|source| writer.sink.unwritten(source))?;
    }
    Ok(Ok(spool))
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
    let has_module = tools.kernel.has_conntrack_netlink();
    if let Some(program) = tools.conntrack.as_ref().filter(|_| has_module) {
        return writer.run("conntrack", Ok(program), &LIST);
    }
    match fs::File::open("/proc/thread-self/net/nf_conntrack") {
        Ok(mut file) => writer.fill("conntrack", |spool| io::copy(&mut file, spool).map(drop)),
        // Without connection tracking there are no connections.
        Err(_) if fs::metadata("/proc/sys/net/netfilter/nf_conntrack_count").is_err() => writer.put("conntrack", ""),
        Err(_) => {
            writer.fail("conntrack", untold(tools.conntrack.is_some()));
            Ok(())
        }
    }
}

/// Why the connections can't be listed, where the kernel tracks some.
fn untold(is_installed: bool) -> String {
    if !is_installed {
        return "conntrack is not installed".to_owned();
    }
    "the kernel lists its connections by the module nf_conntrack_netlink, which is not loaded, and nothing is loaded here \
     (`modprobe nf_conntrack_netlink` does it)"
        .to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_there_is_not_said_to_be_missing() {
        assert_eq!(untold(false), "conntrack is not installed");
        assert!(untold(true).contains("nf_conntrack_netlink") && !untold(true).contains("not installed"));
    }
}
