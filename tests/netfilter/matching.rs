//! Selectors and match extensions.

use super::*;

/// Options that match the client's SYN to port 80 at INPUT.
const MATCHING: &[&str] = &[
    "",
    "-s 192.0.2.99/32",
    "-s 192.0.0.99/255.255.0.255",
    "! -s 10.0.0.0/8",
    "-d 192.0.2.0/24",
    "-i eth0",
    "-i eth+",
    "-i +",
    "! -i eth1",
    "-p tcp",
    "-p 6",
    "-p all",
    "! -p udp",
    "! -f",
    "-p tcp -m tcp --dport 80",
    "-p tcp --dport http",
    "-p tcp -m tcp --dport 1:100",
    "-p tcp -m tcp ! --dport 81",
    "-p tcp -m tcp --sport 1024:",
    "-p tcp -m tcp --syn",
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
    "-p tcp -m tcp ! --tcp-flags ALL NONE",
    "-p tcp -m multiport --dports 22,80,443",
    "-p tcp -m multiport --ports 1:100",
    "-p tcp -m multiport ! --sports 1:1023",
    "-m conntrack --ctstate NEW",
    "-m conntrack ! --ctstate RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate INVALID,DNAT",
    "-m state --state NEW",
    "-m conntrack --ctproto 6 --ctdir ORIGINAL --ctorigsrc 192.0.2.0/24 --ctorigdstport 80",
    "-m conntrack --ctrepldst 192.0.2.99 --ctreplsrcport 80",
    "-m conntrack ! --ctstatus CONFIRMED,ASSURED",
    "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --src-type LOCAL --dst-type LOCAL",
    "-m addrtype --src-type UNICAST",
    "-m addrtype --dst-type LOCAL --limit-iface-in",
    "-m mark --mark 0x0",
    "-m mark ! --mark 0x4000/0x4000",
    "-m connmark --mark 0x0/0xff",
    "-m statistic --mode random --probability 1.00000000000",
    "-m statistic --mode nth --every 1 --packet 0",
    "-m length --length 60",
    "-m length ! --length 0:59",
    "-m ttl --ttl-eq 64",
    "-m ttl --ttl-gt 63",
    "-m ttl --ttl-lt 65",
    "-m tos ! --tos 0x10/0x3f",
    "-m dscp --dscp 0x00",
    "-m ecn --ecn-ip-ect 0",
    "-m pkttype --pkt-type unicast",
    "-m iprange --src-range 192.0.2.90-192.0.2.99",
    "-m iprange ! --dst-range 10.0.0.0-10.0.0.9",
    "-m mac --mac-source 52:54:00:00:00:99",
    "-m mac ! --mac-source 52:54:00:00:00:98",
    "-m physdev ! --physdev-is-bridged",
    "-m physdev ! --physdev-in veth+",
    "-m recent --set --name x --mask 255.255.255.255 --rsource",
    "-m comment --comment \"-j ACCEPT\"",
    "-m recent --set --name x --mask 255.255.255.255 --rsource -m recent --rcheck --seconds 60 --name x --rsource",
    "-m recent --set --name x --mask 255.255.255.255 --rsource -m recent --rcheck --hitcount 1 --name x --rsource",
];

/// Options that don't match it.
const OTHERS: &[&str] = &[
    "-s 192.0.2.98/32",
    "! -s 192.0.2.0/24",
    "-d 198.51.100.1",
    "-i eth1",
    "-i lo",
    "! -i eth+",
    "-p udp",
    "! -p tcp",
    "-f",
    "-p tcp -m tcp --dport 81",
    "-p tcp -m tcp ! --dport 80",
    "-p tcp -m tcp --sport :1023",
    "-p tcp -m tcp ! --syn",
    "-p tcp -m multiport --dports 22,443",
    "-p tcp -m multiport ! --ports 80",
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack --ctstate SNAT,DNAT",
    "-m conntrack --ctstate INVALID",
    "-m conntrack --ctstate UNTRACKED",
    "-m conntrack --ctdir REPLY",
    "-m conntrack --ctorigdst 192.0.2.99",
    "-m conntrack --ctstatus NONE",
    "-m conntrack --ctorigdstport 81:90",
    "-m addrtype --dst-type BROADCAST,MULTICAST",
    "-m addrtype --src-type LOCAL",
    "-m addrtype --dst-type LOCAL --src-type LOCAL",
    "-m mark --mark 0x4000/0x4000",
    "-m mark ! --mark 0x0",
    "-m connmark ! --mark 0x0",
    "-m statistic --mode random --probability 0.00000000000",
    "-m length --length 61:",
    "-m ttl ! --ttl-eq 64",
    "-m ttl --ttl-lt 64",
    "-m tos --tos 0x10",
    "-m dscp --dscp-class EF",
    "-m pkttype --pkt-type multicast",
    "-m iprange --src-range 192.0.2.1-192.0.2.9",
    "-m mac --mac-source 52:54:00:00:00:98",
    "-m physdev --physdev-is-bridged",
    "-m physdev --physdev-in eth0",
    "-m recent --set --name x --mask 255.255.255.255 --rsource -m recent --rcheck --hitcount 2 --name x --rsource",
    "-m recent --set --name x --mask 255.255.255.255 --rsource -m recent ! --rcheck --name x --rsource",
    "-m recent --set --name x --rsource -m recent --remove --name x --rsource -m recent --rcheck --name x --rsource",
];

#[test]
fn options_that_match_drop_the_packet() {
    for options in MATCHING {
        assert!(drop_if(options).is_dropped(), "{options}");
    }
}

#[test]
fn options_that_do_not_match_let_it_pass() {
    for options in OTHERS {
        assert!(!drop_if(options).is_dropped(), "{options}");
    }
}

#[test]
fn icmp_types_and_codes_are_compared() {
    let test = |options: &str| drop_if(options).with(packet(CLIENT, US, ping())).is_dropped();
    assert!(test("-p icmp"));
    assert!(test("-p icmp -m icmp --icmp-type 8"));
    assert!(test("-p icmp -m icmp --icmp-type echo-request"));
    assert!(test("-p icmp -m icmp --icmp-type 8/0"));
    assert!(test("-p icmp -m icmp --icmp-type any"));
    assert!(test("-p icmp -m icmp ! --icmp-type 0"));
    assert!(!test("-p icmp -m icmp --icmp-type 8/1"));
    assert!(!test("-p icmp -m icmp --icmp-type 3"));
    assert!(!test("-p tcp"));
}

#[test]
fn what_no_snapshot_tells_branches() {
    for options in [
        "-m limit --limit 5/min",
        "-m hashlimit --hashlimit-upto 1/sec --hashlimit-name x",
        "-m connlimit --connlimit-above 10",
        // An accounting object may have a quota.
        "-m nfacct --nfacct-name x",
        "-m time --timestart 01:02:03 --timestop 04:05:06",
        "-m statistic --mode nth --every 2 --packet 0",
        "-m string --string x --algo bm",
        "-m bpf --object-pinned /sys/fs/bpf/x",
        "-m newer --than this",
        "-m recent --rcheck --name nowhere --rsource",
        "-m set --match-set nowhere src",
        "-m conntrack --ctexpire 1:10",
        "--dports 80",
    ] {
        assert!(drop_if(options).branches(), "{options}");
    }
}

#[test]
fn what_is_unknown_does_not_branch_where_the_rest_decides() {
    for options in ["-m limit --limit 5/min -p udp", "-m newer --than this -s 10.0.0.0/8"] {
        assert!(!drop_if(options).branches(), "{options}");
        assert!(!drop_if(options).is_dropped(), "{options}");
    }
    // Nor where the rule does nothing.
    assert!(!filter("-A INPUT -m limit --limit 5/min -j LOG").branches());
}

#[test]
fn chances_are_exact_and_add_up() {
    let rules = "-A INPUT -m statistic --mode random --probability 0.33333333349 -j DROP\n\
                 -A INPUT -m statistic --mode random --probability 0.50000000000 -j DROP";
    let mut chances: Vec<f64> = filter(rules).answer().paths.iter().map(|path| path.probability.unwrap()).collect();
    chances.sort_by(f64::total_cmp);
    let third = 715_827_883.0 / f64::from(1u32 << 31);
    let same = |a: f64, b: f64| (a - b).abs() < 1e-15;
    assert!(same(chances[2], third));
    assert!(same(chances[0], (1.0 - third) * 0.5));
    assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn a_packet_of_our_own_has_an_owner_that_nobody_knows() {
    let rules = "-A OUTPUT -m owner --uid-owner 1000 -j DROP\n-A OUTPUT -m owner ! --uid-owner 1000 -j DROP";
    let host = filter(rules);
    let snapshot = load_files(host.files.clone()).unwrap();
    let question = Question {
        packet: packet(US, CLIENT, udp(53)),
        from: Origin::Socket { netns: NetnsId(0) },
        reply: false,
        max_paths: 64,
        verbose: false,
        established: false,
        opened_by: None,
        given: Given::default(),
    };
    let answer = explain(&snapshot, &question);
    // The same question is not asked twice, so it is dropped either way.
    assert_eq!(answer.paths.len(), 2);
    assert!(answer.paths.iter().all(|path| path.forward.reason == Some(Reason::Rule)));
}

#[test]
fn ipv6_rules_see_ipv6_packets() {
    let chains = ":INPUT ACCEPT\n:FORWARD ACCEPT";
    let test = |options: &str| {
        let rules = table("filter", chains, &format!("-A INPUT {options} -j DROP"));
        host(&[("ip6tables-save", &rules)]).with(packet("2001:db8:1::99", "2001:db8:1::10", tcp(80))).is_dropped()
    };
    assert!(test("-s 2001:db8:1::/64"));
    assert!(test("-m addrtype --dst-type LOCAL"));
    assert!(test("-m addrtype --src-type UNICAST"));
    assert!(test("-m hl --hl-eq 64"));
    assert!(test("-m iprange --src-range 2001:db8:1::90-2001:db8:1::99"));
    assert!(!test("-m addrtype --dst-type MULTICAST"));
    assert!(!test("-m frag"));
    assert!(!test("-4"));
}

#[test]
fn icmpv6_types_are_compared() {
    let rules = table("filter", ":INPUT ACCEPT", "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j DROP");
    let ping = Transport::Icmp { kind: 128, code: 0, id: Some(7), quoted: None };
    let host = host(&[("ip6tables-save", &rules)]);
    assert!(host.with(packet("2001:db8:1::99", "2001:db8:1::10", ping)).is_dropped());
}
