//! Sockets, processors and what other parts of the kernel keep.

use crate::net::Hook;
use crate::snapshot::{Match, Options, OwnerMatch, Test};

use super::super::grammar::{Extension, Given, Opt, Refusal};
use super::super::name;
use super::super::print::{U32, addresses, one_of, port, protocol, quoted, saved, word};
use super::super::value::ranged;

pub(super) static OWNER: Extension<Match> = Extension::new(
    "owner",
    &[
        Opt::flag("--socket-exists").not(),
        Opt::value("--uid-owner", "a user's number, or two with a dash between them").not(),
        Opt::value("--gid-owner", "a group's number, or two with a dash between them").not(),
        Opt::flag("--suppl-groups"),
    ],
    owner,
)
.hooks(&[Hook::Output, Hook::Postrouting]);

fn owner(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--uid-owner", "--gid-owner", "--socket-exists"])?;
    let place = |name: &str| given.all().iter().position(|taken| taken.name() == name);
    if let Some(suppl) = place("--suppl-groups")
        && place("--gid-owner").is_none_or(|gid| gid > suppl)
    {
        return Err(given.refuse("--suppl-groups", "--suppl-groups needs --gid-owner before it"));
    }
    Ok(Match::Owner(Box::new(OwnerMatch {
        uid: given.test("--uid-owner", ids)?,
        gid: given.test("--gid-owner", ids)?,
        socket: given.flag("--socket-exists"),
        suppl_groups: given.has("--suppl-groups"),
    })))
}

/// A user's or group's number; of the names only that of the one that every system has.
fn ids(text: &str) -> Option<(u32, u32)> {
    let id = |text: &str| if text == "root" { Some(0) } else { name::number(text).filter(|id| *id < u32::MAX) };
    ranged(text, b'-', id).filter(|(low, high)| low <= high)
}

pub(super) static SOCKET: Extension<Match> =
    Extension::kept("socket", &[Opt::flag("--transparent"), Opt::flag("--nowildcard"), Opt::flag("--restore-skmark")])
        .hooks(&[Hook::Prerouting, Hook::Input]);

pub(super) static CGROUP: Extension<Match> = Extension::new(
    "cgroup",
    &[
        Opt::value("--path", "a control group's path").not().excludes(&["--cgroup"]).prints(quoted),
        Opt::value("--cgroup", "a class's number").not().excludes(&["--path"]).prints(U32),
    ],
    |given| {
        given.some_of(&["--path", "--cgroup"])?;
        given.options().map(Match::from)
    },
)
.hooks(&[Hook::Input, Hook::Output, Hook::Postrouting]);

pub(super) static CPU: Extension<Match> =
    Extension::kept("cpu", &[Opt::value("--cpu", "a processor's number").not().must().prints(U32)]);

pub(super) static OSF: Extension<Match> = Extension::kept(
    "osf",
    &[
        Opt::value("--genre", "a system's name").not().must().prints(word),
        Opt::value("--ttl", "0, 1 or 2").prints(super::super::print::number::<2>),
        Opt::value("--log", "0, 1 or 2").prints(super::super::print::number::<2>),
    ],
)
.protocols(&[6])
.hooks(&[Hook::Prerouting, Hook::Input, Hook::Forward]);

pub(super) static IPVS: Extension<Match> = Extension::new(
    "ipvs",
    &[
        Opt::flag("--ipvs").not(),
        Opt::value("--vproto", "a protocol").not().prints(protocol),
        Opt::value("--vaddr", "an address, with or without a mask").not().prints(addresses),
        Opt::value("--vport", "a port").not().prints(port),
        Opt::value("--vdir", "ORIGINAL or REPLY").prints(|text, _| upper(text, &["ORIGINAL", "REPLY"])),
        Opt::value("--vmethod", "GATE, IPIP or MASQ").not().prints(|text, _| upper(text, &["GATE", "IPIP", "MASQ"])),
        Opt::value("--vportctl", "a port").not().prints(port),
    ],
    |given| {
        if given.is_empty() {
            return Err(given.refuse_all("ipvs needs an option"));
        }
        let alone = given.all().len() == 1;
        if !alone && given.flag("--ipvs").is_some_and(|test| test.invert) {
            return Err(given.refuse("--ipvs", "! --ipvs can't stand beside other options"));
        }
        // With another option it says nothing more, and isn't printed.
        let mut options = given.options()?;
        if !alone {
            options.list = options.list.into_iter().filter(|option| option.name != "--ipvs").collect();
        }
        Ok(Match::from(options))
    },
);

fn upper(text: &str, words: &[&'static str]) -> Option<String> {
    one_of(text, words).map(str::to_owned)
}

const NODE: &str = "a number from 1 to 32";

pub(super) static CLUSTER: Extension<Match> = Extension::new(
    "cluster",
    &[
        Opt::value("--cluster-total-nodes", NODE).must(),
        Opt::value("--cluster-local-node", NODE).not().excludes(&["--cluster-local-nodemask"]),
        Opt::value("--cluster-local-nodemask", "a mask of nodes").not().excludes(&["--cluster-local-node"]),
        Opt::value("--cluster-hash-seed", "a number of 32 bits").must(),
    ],
    cluster,
);

fn cluster(given: &Given<'_, '_>) -> Result<Match, Refusal> {
    given.some_of(&["--cluster-local-node", "--cluster-local-nodemask"])?;
    let node = |text: &str| name::number(text).filter(|node| (1..=32).contains(node));
    let total = given.must("--cluster-total-nodes", node)?;
    let one = given.test("--cluster-local-node", node)?;
    let one = one.map(|test| Test { value: 1u32 << (test.value - 1), invert: test.invert });
    // iptables takes masks up to 32 only, as if they were numbers of nodes.
    let mask = given.test("--cluster-local-nodemask", |text| name::number(text).filter(|mask| *mask > 0))?;
    let Some(Test { value: mask, invert }) = one.or(mask) else { return Err(given.refuse_all("cluster needs a node")) };
    if u64::from(mask) >= 1u64 << total {
        return Err(given.refuse_all("a node of cluster is above --cluster-total-nodes"));
    }
    let seed = given.must("--cluster-hash-seed", name::number)?;
    let list = [
        saved("--cluster-local-nodemask", invert, format!("{mask:#010x}")),
        saved("--cluster-total-nodes", false, total),
        saved("--cluster-hash-seed", false, format!("{seed:#010x}")),
    ];
    Ok(Match::from(Options { name: "cluster", list: list.into() }))
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn owners_are_numbers_ranges_or_root() {
        assert_eq!(ids("root"), Some((0, 0)));
        assert_eq!(ids("0-10"), Some((0, 10)));
        assert_eq!(ids("10-0"), None);
        assert_eq!(ids("nobody knows"), None);
    }
}
