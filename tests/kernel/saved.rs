//! What `flowtrace collect` writes of iptables-nft's rules by its own asking is what iptables-nft-save prints, and what it
//! doesn't know that well it leaves to the tools.

use std::fmt::Write as _;
use std::fs;

use crate::lab::netns::{Netns, must, run};
use crate::lab::saved::{INET, INET6, Saved, Tools, compare, is_known, of};

/// Rules of a chain of a table, all of them known.
const KNOWN: [(&str, &str, &[&str]); 8] = [
    ("filter", "INPUT", HEADERS),
    ("filter", "INPUT", PORTS),
    ("filter", "INPUT", MATCHES),
    ("filter", "FORWARD", VERDICTS),
    ("nat", "PREROUTING", &DESTINATIONS),
    ("nat", "POSTROUTING", &SOURCES),
    ("mangle", "PREROUTING", &["-j MARK --set-xmark 0x4000/0x4000", "-j MARK --set-mark 0", "-j MARK --set-xmark 0x1"]),
    ("raw", "PREROUTING", &["-j CT --notrack", "-j NOTRACK", "-j CT --zone 7", "-j CT"]),
];

/// Those of IPv4's addresses stand in [`FOUR`], those of IPv6's in [`SIX`].
const HEADERS: &[&str] = &[
    "",
    "-i eth0",
    "-i eth+ -p udp",
    "! -i lo",
    "! -i veth+",
    "-i +",
    "! -i +",
    "-i a",
    "-i exactly15chars_",
    "-i exactly14char+",
    "-p tcp",
    "! -p udp",
    "-p esp",
    "! -p ah",
    "-p sctp",
    "-p udplite",
    "-m comment --comment plain-word_1",
    "-m comment --comment \"two words, \\\"quoted\\\", \\\\ and 'more'\"",
    "-m comment --comment x -m comment --comment y",
];
const PORTS: &[&str] = &[
    "-p tcp -m tcp",
    "-p udp -m udp",
    "-p tcp -m tcp --dport 80",
    "-p tcp -m tcp --sport 80",
    "-p tcp -m tcp ! --dport 80",
    "-p tcp -m tcp --sport 1 --dport 2",
    "-p tcp -m tcp ! --sport 1 ! --dport 2",
    "-p tcp -m tcp ! --sport 1 --dport 2",
    "-p tcp -m tcp --sport 0",
    "-p tcp -m tcp --dport 65535",
    "-p tcp -m tcp --dport 0:1023",
    "-p tcp -m tcp ! --dport 0:1023",
    "-p tcp -m tcp --dport 1024:65535",
    "-p tcp -m tcp ! --dport 1024:65535",
    "-p udp -m udp --dport 30000:32767",
    "-p udp -m udp ! --sport 30000:32767 --dport 53",
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
    "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE --dport 9",
    "-p tcp -m tcp --tcp-option 7",
    "-p tcp -m tcp ! --tcp-option 7 --dport 9",
    "-p tcp -m comment --comment \"behind it\" -m tcp --dport 80",
    "-p tcp -m multiport --dports 80,443,8000:8080",
    "-p udp -m multiport ! --sports 1:2,3",
    "-p tcp -m multiport --ports 65535",
];
const MATCHES: &[&str] = &[
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate INVALID,NEW,RELATED,ESTABLISHED,UNTRACKED,SNAT,DNAT",
    "-m conntrack --ctproto 6",
    "-m conntrack ! --ctstatus SEEN_REPLY,ASSURED",
    "-m conntrack --ctstatus NONE",
    "-m conntrack --ctexpire 1",
    "-m conntrack ! --ctexpire 1:99999",
    "-m conntrack --ctdir REPLY",
    "-m conntrack --ctstate DNAT --ctdir ORIGINAL",
    "-p tcp -m conntrack --ctproto 6 --ctorigsrcport 1:2 ! --ctorigdstport 3 --ctreplsrcport 4 --ctrepldstport 0:65535",
    "-m state --state NEW",
    "-m state ! --state RELATED,ESTABLISHED",
    "-m mark --mark 0x4000/0x4000",
    "-m mark ! --mark 0x1",
    "-m mark --mark 0x0/0xff",
    "-m connmark --mark 0x1/0xf",
    "-m connmark ! --mark 0xffffffff",
    "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --src-type UNICAST,LOCAL --dst-type MULTICAST --limit-iface-in",
    "-m statistic --mode random --probability 0.33333333349",
    "-m statistic --mode random ! --probability 0.5",
    "-m statistic --mode random --probability 0.000244140625",
    "-m statistic --mode random --probability 0",
    "-m statistic --mode random --probability 1",
    "-m statistic --mode nth --every 3 --packet 1",
    "-m statistic --mode nth ! --every 2 --packet 0",
    "-m limit --limit 5/min",
    "-m limit --limit 1/day --limit-burst 1",
    "-m limit --limit 10000/sec --limit-burst 100",
    "-m limit --limit 7/sec",
    "-m limit",
    "-m recent --set --name a --rsource",
    "-m recent ! --update --seconds 60 --reap --hitcount 3 --rttl --name a --rdest",
    "-m recent --rcheck --seconds 10800 --name KUBE-SEP-0123456789ABCDEF --rsource",
    "-m recent --remove",
    "-m physdev --physdev-in veth+",
    "-m physdev ! --physdev-in eth0 --physdev-is-bridged",
    "-m physdev --physdev-is-in",
];
const VERDICTS: &[&str] = &[
    "-j ACCEPT",
    "-j DROP",
    "-j RETURN",
    "-j USER",
    "-g USER",
    "-j LOG",
    "-j LOG --log-prefix \"a 'prefix': \" --log-level 7 --log-tcp-sequence --log-tcp-options --log-ip-options --log-uid",
    "-j LOG --log-level 0 --log-macdecode",
    "-j REJECT",
    "-p tcp -j REJECT --reject-with tcp-reset",
];
const DESTINATIONS: [&str; 3] =
    ["-p tcp -j REDIRECT --to-ports 8080", "-p udp -j REDIRECT --to-ports 1-9 --random", "-j REDIRECT"];
const SOURCES: [&str; 4] = [
    "-j MASQUERADE",
    "-j MASQUERADE --random-fully",
    "-p tcp -j MASQUERADE --to-ports 1024-65535 --random",
    "-p udp -j MASQUERADE --to-ports 9",
];

const FOUR: [(&str, &str, &[&str]); 6] = [
    (
        "filter",
        "INPUT",
        &[
            "-s 10.0.0.0/8 -d 192.0.2.7",
            "! -s 10.1.0.0/16 ! -d 10.1.2.0/24",
            "-s 10.1.2.3/255.0.255.0",
            "! -d 10.1.2.128/25",
            "-s 0.0.0.0/1",
            "-d 255.255.255.255",
            "-s 10.96.0.1/30 -p tcp -m tcp --dport 443",
            "-f",
            "! -f -s 10.0.0.0/12",
            "-p icmp",
            "-p icmp -m icmp --icmp-type 8",
            "-p icmp -m icmp ! --icmp-type 3/4",
            "-p icmp -m icmp --icmp-type any",
            "-m conntrack --ctorigsrc 10.0.0.1 ! --ctorigdst 10.0.0.0/8 --ctreplsrc 10.0.0.0/255.0.255.0 --ctrepldst 0.0.0.0",
            "-m recent --set --name b --mask 255.255.0.0 --rsource",
        ],
    ),
    (
        "filter",
        "FORWARD",
        &[
            "-o eth0 -j REJECT --reject-with icmp-host-prohibited",
            "! -o eth+ -j REJECT --reject-with icmp-admin-prohibited",
            "-o + -j REJECT --reject-with icmp-proto-unreachable",
            "! -o + -j ACCEPT",
        ],
    ),
    (
        "nat",
        "PREROUTING",
        &[
            "-p tcp -j DNAT --to-destination 10.244.2.3:8080",
            "-j DNAT --to-destination 10.0.0.1",
            "-p udp -j DNAT --to-destination 10.0.0.1-10.0.0.9:1-9 --random --persistent",
            "-p tcp -j DNAT --to-destination :80",
            "-p tcp -j DNAT --to-destination 10.0.0.1:1000-2000/500",
        ],
    ),
    (
        "nat",
        "POSTROUTING",
        &[
            "-j SNAT --to-source 192.0.2.1",
            "-p tcp -j SNAT --to-source 192.0.2.1-192.0.2.9:1024-65535 --random-fully --persistent",
            "-p udp -j SNAT --to-source 192.0.2.1:7",
        ],
    ),
    ("raw", "OUTPUT", &["-d 169.254.20.10/32 -p udp -m udp --dport 53 -j NOTRACK"]),
    ("security", "FORWARD", &["-j ACCEPT"]),
];
const SIX: [(&str, &str, &[&str]); 4] = [
    (
        "filter",
        "INPUT",
        &[
            "-s 2001:db8::/32 -d ::1",
            "! -s fd00::/61",
            "-d ::ffff:192.0.2.1",
            "-d ::192.0.2.1",
            "-d ::1:0",
            "-s 2001:db8:0:1:0:0:0:1",
            "-s 2001:db8::1/ffff:ffff::ffff",
            "! -d ff02::/16",
            "-p ipv6-icmp",
            "-p ipv6-icmp -m icmp6 --icmpv6-type 135",
            "-p ipv6-icmp -m icmp6 ! --icmpv6-type 1/4",
            "-m conntrack --ctorigsrc 2001:db8::1 ! --ctrepldst 2001:db8::/32",
            "-m recent --rcheck --name c --rsource",
        ],
    ),
    (
        "filter",
        "FORWARD",
        &["-j REJECT --reject-with icmp6-adm-prohibited", "-j REJECT --reject-with icmp6-policy-fail"],
    ),
    (
        "nat",
        "PREROUTING",
        &[
            "-p tcp -j DNAT --to-destination [fd00::2]:8080",
            "-j DNAT --to-destination fd00::2",
            "-p udp -j DNAT --to-destination [fd00::2-fd00::9]:1-9",
        ],
    ),
    ("nat", "POSTROUTING", &["-j SNAT --to-source fd00::1", "-p tcp -j SNAT --to-source [fd00::1]:1-2 --random"]),
];

/// Rules each of which is left to the tools.
const LEFT: [(Tools, &str); 10] = [
    (INET, "-m ttl --ttl-eq 64"),
    (INET, "-m u32 --u32 0x0=0x0"),
    (INET, "-m time --timestart 01:00:00 --timestop 02:00:00"),
    (INET, "-p dccp -j ACCEPT"),
    (INET, "-p 253 -j ACCEPT"),
    (INET, "-m iprange --src-range 10.0.0.1-10.0.0.9"),
    (INET, "-j NFLOG --nflog-group 1"),
    (INET, "-j AUDIT --type accept"),
    (INET6, "-m hl --hl-eq 64"),
    (INET6, "-m rt --rt-type 0"),
];

fn is_ready() -> bool {
    if !crate::lab::ready::ready() {
        return false;
    }
    if !is_known() {
        crate::lab::ready::skip("iptables-nft 1.8.9 to 1.8.11 is needed");
    }
    is_known()
}

/// A rule set of these rules, with counters that differ from rule to rule.
fn rule_set(parts: &[(&str, &str, &[&str])]) -> (String, usize) {
    let mut tables: Vec<&str> = parts.iter().map(|(table, ..)| *table).collect();
    tables.sort_unstable();
    tables.dedup();
    let (mut text, mut count) = (String::new(), 0);
    for table in tables {
        writeln!(text, "*{table}\n:USER - [0:0]\n:A-chain - [0:0]\n:zz - [0:0]").unwrap();
        for (_, chain, rules) in parts.iter().filter(|(of, ..)| *of == table) {
            writeln!(text, ":{chain} {} [7:77]", if table == "filter" { "DROP" } else { "ACCEPT" }).unwrap();
            for rule in *rules {
                count += 1;
                writeln!(text, "[{count}:{}] -A {chain} {rule}", count * 99).unwrap();
            }
        }
        text.push_str("-A A-chain -j zz\n-A zz -j RETURN\nCOMMIT\n");
        count += 2;
    }
    (text, count)
}

#[test]
fn every_known_form_is_written_as_the_tool_prints_it() {
    if !is_ready() {
        return;
    }
    for (tools, own) in [(INET, &FOUR[..]), (INET6, &SIX[..])] {
        let parts = [&KNOWN, own].concat();
        let (text, count) = rule_set(&parts);
        let became = compare(tools, &text).unwrap();
        if became == Saved::Exact(count) {
            continue;
        }
        // Rule by rule, to name the wrong ones.
        for (table, chain, rules) in parts {
            for rule in rules {
                let text = format!("*{table}\n:USER - [0:0]\n-A {chain} {rule}\nCOMMIT\n");
                let became = compare(tools, &text).unwrap();
                if became != Saved::Exact(1) {
                    eprintln!("{}: {rule}: {became:?}", tools[1]);
                }
            }
        }
        panic!("{}: {became:?}, wanted {count} rules", tools[1]);
    }
}

#[test]
fn the_bundled_nodes_rules_are_written_as_the_tool_prints_them() {
    if !is_ready() {
        return;
    }
    let mut rules = 0;
    for folder in fs::read_dir("testdata").unwrap().map(|entry| entry.unwrap().path().join("nodes/n1/host")) {
        for (tools, file) in [(INET, "iptables-save"), (INET6, "ip6tables-save")] {
            let Ok(text) = fs::read_to_string(folder.join(file)) else { continue };
            if !text.starts_with("# Generated by ip") {
                continue;
            }
            match compare(tools, &text).unwrap() {
                Saved::Exact(count) => rules += count,
                other => panic!("{}: {other:?}", folder.display()),
            }
        }
    }
    assert!(rules > 500, "{rules}");
}

#[test]
fn what_is_not_known_exactly_is_left_to_the_tools() {
    if !is_ready() {
        return;
    }
    for (tools, rule) in LEFT {
        let text = format!("*filter\n-A INPUT -j ACCEPT\n-A INPUT {rule}\nCOMMIT\n");
        match compare(tools, &text).unwrap() {
            Saved::Fallback => {}
            // A kernel without the extension.
            Saved::Refused(why) => eprintln!("{rule}: {why}"),
            other => panic!("{rule}: {other:?}"),
        }
    }
}

/// A namespace with a rule, and what nft is then told to do; `None` where it refuses that.
fn after(command: &str) -> Option<Saved> {
    let netns = Netns::new("saved").unwrap();
    let is_done = netns.enter(|| {
        must(INET[0], &[], "*filter\n-A INPUT -s 10.0.0.1 -j DROP\nCOMMIT\n").unwrap();
        run("nft", &[command], "").unwrap().status.success()
    });
    is_done.then(|| of(INET, &netns).unwrap())
}

#[test]
fn a_table_that_has_more_than_iptables_gives_it_is_left_to_the_tools() {
    if !is_ready() {
        return;
    }
    let native = "add table inet fw; add chain inet fw x { type filter hook input priority 0; }";
    assert_eq!(after(native), Some(Saved::Exact(1)));
    for command in [
        "add set ip filter s { type ipv4_addr; }",
        "add counter ip filter c",
        "add rule ip filter INPUT ip saddr { 10.0.0.1, 10.0.0.2 } drop",
        "add rule ip filter INPUT ct state new drop",
        "add rule ip filter INPUT counter counter",
        "add rule ip filter INPUT tcp dport 80 tcp dport 81",
        "add rule ip filter INPUT ip ttl 5",
        "add rule ip filter INPUT meta mark set 1",
        "add rule ip filter INPUT ip saddr 10.0.0.1 log prefix x",
        "add chain ip filter x { type filter hook input priority 7; }",
        "add chain ip filter FORWARD",
        "add table ip filter { flags dormant; }",
        "add table ip mangle; add chain ip mangle INPUT { type filter hook input priority 0; }",
    ] {
        let became = after(command).unwrap_or_else(|| panic!("nft refuses {command}"));
        assert!(matches!(became, Saved::Fallback | Saved::Refused(_)), "{command}: {became:?}");
    }
}
