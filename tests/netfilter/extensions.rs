//! The rarer extensions of iptables: what the packet, its connection or the snapshot decides, and what is said where
//! none of them does.

use super::*;

/// Options that match the client's SYN to port 80 at INPUT, and others that don't.
const DECIDED: &[(&str, bool)] = &[
    // The packet has been counted before the first rule asks.
    ("-m connbytes --connbytes 1:1 --connbytes-mode packets --connbytes-dir original", true),
    ("-m connbytes --connbytes 60:60 --connbytes-mode bytes --connbytes-dir both", true),
    ("-m connbytes --connbytes 60 --connbytes-mode avgpkt --connbytes-dir original", true),
    ("-m connbytes ! --connbytes 61 --connbytes-mode bytes --connbytes-dir original", true),
    ("-m connbytes --connbytes 1 --connbytes-mode packets --connbytes-dir reply", false),
    // One number has no order that could tell the kernel of the negation.
    ("-m connbytes ! --connbytes 60:60 --connbytes-mode bytes --connbytes-dir original", true),
    ("-m connlabel --label 3", false),
    ("-m connlabel ! --label 3", true),
    ("-m connlabel --label 3 --set", true),
    ("-m connlabel --label 3 --set -m connlabel --label \"3\"", true),
    ("-m connlabel --label 3 --set -m connlabel --label \"4\"", false),
    ("-s 192.0.2.98 -m connlabel --label 3 --set", false),
    ("-m helper --helper ftp", false),
    ("-m helper ! --helper ftp", true),
    // The hash of 192.0.2.99 with this seed.
    ("-m cluster --cluster-total-nodes 1 --cluster-local-node 1 --cluster-hash-seed 7", true),
    ("-m devgroup --src-group 0", true),
    ("-m devgroup --src-group default", true),
    ("-m devgroup ! --src-group 0x7", true),
    ("-m devgroup --src-group 7", false),
    ("-m realm --realm cosmos", true),
    ("-m realm ! --realm 5", true),
    ("-m realm --realm 5", false),
    ("-m quota --quota 59", false),
    ("-m quota ! --quota 59", true),
    ("-m connlimit --connlimit-above 0", true),
    ("-m connlimit --connlimit-upto 0", false),
    ("-p udp -m policy --dir in --pol none", false),
];

#[test]
fn what_is_known_decides() {
    for (options, matches) in DECIDED {
        assert_eq!(drop_if(options).is_dropped(), *matches, "{options}");
    }
}

/// Options that nobody can answer of the client's SYN, and the words that say what would.
const OPEN: &[(&str, &str)] = &[
    ("-m limit --limit 5/min", "the bucket of `limit --limit 5/min` has a packet left"),
    (
        "-m hashlimit --hashlimit-above 1/sec --hashlimit-mode srcip,dstport --hashlimit-name x",
        "hashlimit table x has seen at most 1/sec for srcip 192.0.2.99, dstport 80",
    ),
    ("-m quota --quota 1000", "60 bytes of the rule's quota of 1000 are left"),
    (
        "-m connlimit --connlimit-above 10 --connlimit-mask 24",
        "more than 10 connections from 192.0.2.99/24 have passed this rule and are still open",
    ),
    ("-m nfacct --nfacct-name x", "the accounting object x has no quota, or has used it up"),
    ("-m time --weekdays Mon", "it is `time --weekdays Mon --datestop 2038-01-19T03:14:07` (--time says when)"),
    ("-m cpu --cpu 1", "processor 1 handles the packet"),
    (
        "-m policy --dir in --pol none",
        "IPsec has unpacked 192.0.2.99 > 192.0.2.10 at n1 host (no snapshot holds `ip xfrm`)",
    ),
    (
        "-m ipvs --vaddr 10.0.0.1 --vport 80",
        "IPVS has handled 192.0.2.99 > 192.0.2.10 at n1 host as `ipvs --vaddr 10.0.0.1 --vport 80` asks (no snapshot \
         holds its tables)",
    ),
    (
        "-m socket --transparent",
        "a socket of nodes/n1/host takes 192.0.2.99:40000 > 192.0.2.10:80 (`socket --transparent`; no snapshot holds \
         sockets)",
    ),
    ("-m cgroup --cgroup 7", "the receiver on n1 host is in the control group 7"),
    ("-p tcp -m osf --genre Linux", "the segment's fingerprint is what `osf --genre Linux` asks for"),
    (
        "-m connbytes --connbytes 0 --connbytes-mode bytes --connbytes-dir original",
        "`connbytes --connbytes 0 --connbytes-mode bytes --connbytes-dir original` has no upper bound",
    ),
];

#[test]
fn what_nobody_knows_branches_and_says_what_would_decide() {
    for (options, words) in OPEN {
        let host = drop_if(options);
        assert!(host.branches(), "{options}");
        let gaps: Vec<String> = host.answer().gaps.iter().map(|gap| gap.what.clone()).collect();
        assert!(gaps.iter().any(|gap| gap.contains(words)), "{options}: {gaps:?}");
    }
}

#[test]
fn the_same_fact_is_asked_once_on_a_way() {
    let host =
        filter("-A INPUT -m policy --dir in --pol ipsec -j DROP\n-A INPUT -m policy --dir in --pol none -j DROP");
    let paths = host.answer().paths;
    assert_eq!(paths.len(), 2);
    assert!(paths.iter().all(|path| path.forward.verdict == Verdict::Dropped));
}

#[test]
fn a_time_that_is_given_settles_time() {
    let at = |options: &str, time: i64| {
        let mut host = drop_if(options);
        host.given.time = Some(time);
        host.is_dropped()
    };
    // Monday, 2026-11-23 07:15:59 UTC.
    let monday = 1_795_418_159;
    for options in [
        "-m time --weekdays Mon,Tue",
        "-m time --timestart 07:00 --timestop 08:00",
        "-m time --timestart 22:00 --timestop 08:00 --weekdays Sun --contiguous",
        "-m time --monthdays 23",
        "-m time --datestart 2026-11-23 --datestop 2026-11-24",
    ] {
        assert!(at(options, monday), "{options}");
    }
    for options in [
        "-m time --weekdays Sun",
        "-m time --timestart 08:00 --timestop 07:00",
        "-m time --timestart 22:00 --timestop 08:00 --weekdays Sun",
        "-m time --monthdays 24",
        "-m time --datestart 2026-11-24",
        "-m time --datestop 2026-11-23",
    ] {
        assert!(!at(options, monday), "{options}");
    }
}

#[test]
fn a_time_in_the_kernels_zone_stays_open() {
    let mut host = drop_if("-m time --weekdays Mon --kerneltz");
    host.given.time = Some(0);
    assert!(host.branches());
}

#[test]
fn a_realm_anywhere_leaves_realms_open() {
    let routes = ROUTE.replace("src 192.0.2.10\nunicast", "src 192.0.2.10 realm 5\nunicast");
    let rules = table("filter", ":INPUT ACCEPT", "-A INPUT -m realm --realm 5 -j DROP");
    assert!(host(&[("iptables-save", &rules), ("route.txt", &routes)]).branches());
}

#[test]
fn device_groups_are_those_of_the_links() {
    let links = LINK.replacen("group default", "group 7", 2);
    let rules = table("filter", ":INPUT ACCEPT", "-A INPUT -m devgroup --src-group 0x5/0xfd -j DROP");
    assert!(host(&[("iptables-save", &rules), ("link.txt", &links)]).is_dropped());
}

#[test]
fn a_connection_of_the_snapshot_has_its_counters() {
    let row = "ipv4     2 tcp      6 431999 ESTABLISHED src=192.0.2.99 dst=192.0.2.10 sport=40000 dport=80 packets=5 \
               bytes=900 src=192.0.2.10 dst=192.0.2.99 sport=80 dport=40000 packets=4 bytes=800 [ASSURED] mark=0 use=1\n";
    let test = |row: &str, range: &str| {
        let options = format!("-m connbytes --connbytes {range} --connbytes-mode bytes --connbytes-dir both");
        let rules = table("filter", ":INPUT ACCEPT", &format!("-A INPUT {options} -j DROP"));
        let mut host = host(&[("iptables-save", &rules), ("conntrack", row)]);
        host.packet.transport = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 0x10 };
        host.is_dropped()
    };
    assert!(test(row, "1760:1760"));
    // One that was made before anybody counted has none.
    let uncounted = row.replace("packets=5 bytes=900 ", "").replace("packets=4 bytes=800 ", "");
    assert!(!test(&uncounted, "1:5000"));
}

#[test]
fn header_extensions_of_ipv6_are_not_there() {
    let test = |options: &str| {
        let rules = table("filter", ":INPUT ACCEPT", &format!("-A INPUT {options} -j DROP"));
        host(&[("ip6tables-save", &rules)]).with(packet("2001:db8:1::99", "2001:db8:1::10", tcp(80))).is_dropped()
    };
    for options in [
        "-m ipv6header --header prot",
        "-m ipv6header ! --header frag",
        "-m ipv6header --header prot --soft",
        "-m ipv6header ! --header frag,esp --soft",
    ] {
        assert!(test(options), "{options}");
    }
    for options in [
        "-m ipv6header --header hop,prot",
        "-m ipv6header ! --header prot,frag --soft",
        "-m frag ! --fragid 1",
        "-m eui64",
    ] {
        assert!(!test(options), "{options}");
    }
}

#[test]
fn a_segment_of_nothing_but_a_header_has_no_options() {
    let bare = |options: &str| {
        let mut host = drop_if(options);
        host.packet.length = 40;
        host.is_dropped()
    };
    assert!(!bare("-p tcp -m tcp --tcp-option 2"));
    assert!(bare("-p tcp -m tcp ! --tcp-option 2"));
    assert!(bare("-p tcp -m tcpmss ! --mss 1460"));
    assert!(drop_if("-p tcp -m tcpmss --mss 1460").branches());
}

/// What a packet of 43 bytes that carries `GET` is asked, and the answer.
const READ: &[(&str, Option<bool>)] = &[
    ("-m string --string GET --algo bm", Some(true)),
    ("-m string --hex-string \"|474554|\" --algo kmp --from 40", Some(true)),
    ("-m string --string GET --algo bm --to 43", Some(true)),
    ("-m string --string GET --algo bm --from 40 --to 42", Some(false)),
    ("-m string --string GET --algo bm --from 41", Some(false)),
    ("-m string --string get --algo bm --from 40", Some(false)),
    ("-m string --string get --algo bm --icase", Some(true)),
    ("-m string ! --string POST --algo bm --from 40", Some(true)),
    // The bytes before hold a checksum and a sequence number.
    ("-m string --string POST --algo bm", None),
    ("-m u32 --u32 \"6&0xff=6\"", Some(true)),
    ("-m u32 --u32 \"0&0xffff=43\"", Some(true)),
    // From the IP header's length to the TCP header's, and on to what it carries.
    ("-m u32 --u32 \"0>>22&0x3c@0>>16=40000 && 0>>22&0x3c@0&0xffff=80,443\"", Some(true)),
    ("-m u32 --u32 \"0>>22&0x3c@12>>26&0x3c@0=0\"", Some(false)),
    ("-m u32 ! --u32 \"39&0xffffff=0x474554\"", Some(false)),
    ("-m u32 --u32 \"40=0\"", Some(false)),
    ("-m u32 --u32 \"4>>16=7\"", None),
    ("-m u32 --u32 \"4>>16=0:0xffff\"", Some(true)),
    // `tcp`, `tcp dst port 80`, and `tcp[((tcp[12:1] & 0xf0) >> 2):2] = 0x4745` as tcpdump -ddd prints them.
    ("-m bpf --bytecode \"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0\"", Some(true)),
    ("-m bpf --bytecode \"4,48 0 0 9,21 0 1 17,6 0 0 1,6 0 0 0\"", Some(false)),
    ("-m bpf --bytecode \"5,177 0 0 0,72 0 0 2,21 0 1 80,6 0 0 1,6 0 0 0\"", Some(true)),
    (
        "-m bpf --bytecode \"9,177 0 0 0,80 0 0 12,84 0 0 240,116 0 0 2,12 0 0 0,7 0 0 0,72 0 0 0,21 0 1 18245,6 0 0 1\"",
        Some(true),
    ),
    ("-m bpf --bytecode \"4,40 0 0 4,21 0 1 7,6 0 0 1,6 0 0 0\"", None),
    ("-m bpf --bytecode \"2,32 0 0 100,6 0 0 1\"", Some(false)),
    ("-p tcp -m tcp ! --tcp-option 2", Some(true)),
];

#[test]
fn a_payload_that_is_given_settles_what_looks_into_it() {
    for (options, answer) in READ {
        let mut host = drop_if(options);
        (host.packet.length, host.given.payload) = (43, Some(Arc::from(*b"GET")));
        let found = (!host.branches()).then(|| host.is_dropped());
        assert_eq!(found, *answer, "{options}");
    }
}

#[test]
fn without_a_payload_headers_are_read_all_the_same() {
    assert!(drop_if("-m u32 --u32 \"6&0xff=6\"").is_dropped());
    let answer = drop_if("-m string --string GET --algo bm").answer();
    assert_eq!(answer.paths.len(), 2);
    let what = "the packet has \"GET\" in it between 0 and 65535 (--payload gives what it carries)";
    assert!(answer.gaps.iter().any(|gap| gap.what == what), "{:?}", answer.gaps);
}

#[test]
fn an_owner_that_is_given_settles_owner() {
    let test = |options: &str, given: Given| {
        let host = filter(&format!("-A OUTPUT -m owner {options} -j DROP"));
        let snapshot = load_files(host.files.clone()).unwrap();
        let question = Question {
            packet: packet(US, CLIENT, tcp(80)),
            from: Origin::Socket { netns: NetnsId(0) },
            reply: false,
            max_paths: 64,
            verbose: false,
            established: false,
            opened_by: None,
            given,
        };
        let paths = explain(&snapshot, &question).paths;
        (paths.len() == 1).then(|| paths[0].forward.reason == Some(Reason::Rule))
    };
    let who = |uid, gid| Given { uid, gid, ..Given::default() };
    assert_eq!(test("--uid-owner 1000", who(Some(1000), None)), Some(true));
    assert_eq!(test("! --uid-owner 1000-2000", who(Some(1500), None)), Some(false));
    assert_eq!(test("--uid-owner 1000 --gid-owner 5", who(Some(1000), Some(6))), Some(false));
    assert_eq!(test("--uid-owner 1000 --gid-owner 5", who(Some(1000), None)), None);
    // Nobody says of which other groups it is.
    assert_eq!(test("--gid-owner 5 --suppl-groups", who(None, Some(6))), None);
    assert_eq!(test("--socket-exists", who(None, None)), Some(true));
}

/// What comes out of a tunnel that carries packets, not frames, has no link address.
#[test]
fn a_device_without_link_addresses_shows_none_to_a_rule() {
    let bare = "\
2: eth0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/none  promiscuity 0
    wireguard
";
    let (head, tail) = (LINK.split("2: eth0").next().unwrap(), LINK.split_once("3: eth1").unwrap().1);
    let link = format!("{head}{bare}3: eth1{tail}");
    let mac = "52:54:00:00:00:99";
    for rule in [format!("-m mac --mac-source {mac}"), format!("-m mac ! --mac-source {mac}")] {
        let rules =
            table("filter", ":INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT", &format!("-A INPUT {rule} -j DROP"));
        let mut host = host(&[("link.txt", &link), ("iptables-save", &rules)]);
        for given in [None, Some(mac.parse().unwrap())] {
            host.given.mac = given;
            assert_eq!(host.path().forward.verdict, Verdict::Delivered, "{rule}");
        }
    }
}
