//! How to take what a snapshot lacks.

use std::collections::BTreeSet;

/// What makes each file of a namespace's folder.
const MADE_BY: &[(&str, &str)] = &[
    ("link.txt", "ip -d link show"),
    ("addr.txt", "ip addr show"),
    ("route.txt", "ip -d route show table all"),
    ("route6.txt", "ip -6 -d route show table all"),
    ("rule.txt", "ip rule show"),
    ("rule6.txt", "ip -6 rule show"),
    ("nexthop.txt", "ip nexthop show"),
    ("neigh.txt", "ip neigh show"),
    ("fdb.txt", "bridge fdb show"),
    ("bridge-link.txt", "bridge -d link show"),
    ("bridge-vlan.txt", "bridge vlan show"),
    ("tuntap.txt", "ip -d tuntap show"),
    ("iptables-save", "iptables-save -c"),
    ("ip6tables-save", "ip6tables-save -c"),
    ("nft.txt", "nft list ruleset"),
    ("ipset", "ipset save"),
    ("nfacct", "nfacct list"),
    ("conntrack", "conntrack -L -o extended"),
    ("sysctl", "sysctl -a"),
];

/// Which commands print the files that some texts say are missing, and where they belong. Empty texts, or ones that name
/// no file, say nothing.
pub(super) fn advice<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let missing = texts.into_iter().filter(|text| text.contains(" is missing"));
    let paths = missing.filter_map(|text| text.split_whitespace().find_map(|word| word.strip_prefix("nodes/")));
    let mut files = paths.filter_map(|path| {
        let (folder, file) = path.rsplit_once('/')?;
        MADE_BY.iter().find(|(name, _)| *name == file).map(|made| (folder, *made))
    });
    let (folder, first) = files.next()?;
    let mut wanted = vec![first];
    wanted.extend(files.filter(|(other, _)| *other == folder).map(|(_, made)| made));
    let mut known = BTreeSet::new();
    wanted.retain(|(name, _)| known.insert(*name));
    let commands: Vec<String> = wanted.iter().map(|(_, command)| format!("`{command}`")).collect();
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let them = if wanted.len() == 1 { "it prints" } else { "they print" };
    Some(format!(
        "{} {}: put what {them} into nodes/{folder}/ as {}, and ask again",
        listed(&commands),
        place(folder),
        listed(&names)
    ))
}

/// How to take the rules of which a text says that iptables could not print them.
pub(super) fn unprinted(text: &str) -> Option<String> {
    let (before, _) = text.split_once(" says that iptables could not print a table")?;
    let (folder, _) = before.rsplit(' ').next()?.strip_prefix("nodes/")?.rsplit_once('/')?;
    let place = place(folder);
    Some(format!("`nft list ruleset` {place}: put what it prints into nodes/{folder}/ as nft.txt, and ask again"))
}

/// Where a folder's commands are to be run.
pub(super) fn place(folder: &str) -> String {
    match folder.split_once("/pods/") {
        Some((node, pod)) => format!("in the network namespace of pod {} on {node}", pod.replacen('_', "/", 1)),
        None => format!("on {}", folder.strip_suffix("/host").unwrap_or(folder)),
    }
}

fn listed<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [some @ .., last] => {
            let some: Vec<&str> = some.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", some.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_have_commands() {
        let told = |texts: &[&str]| advice(texts.iter().copied());
        assert_eq!(
            told(&["nodes/n1/host/link.txt is missing: what flannel.1 is, is not known"]).unwrap(),
            "`ip -d link show` on n1: put what it prints into nodes/n1/host/ as link.txt, and ask again"
        );
        let pod = "nodes/n1/pods/shop_web-0";
        let texts = [format!("{pod}/neigh.txt is missing"), format!("{pod}/fdb.txt is missing: where eth0 sends")];
        assert_eq!(
            told(&[&texts[0], &texts[1], &texts[0], "nodes/n2/host/sysctl is missing"]).unwrap(),
            "`ip neigh show` and `bridge fdb show` in the network namespace of pod shop/web-0 on n1: put what they \
             print into nodes/n1/pods/shop_web-0/ as neigh.txt and fdb.txt, and ask again"
        );
        for none in ["", "nodes/n2/host is missing", "nodes/n1/host/link.txt:7 could not be read", "x is missing"] {
            assert_eq!(told(&[none]), None, "{none}");
        }
    }
}
