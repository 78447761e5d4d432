//! Statements of nft's own rules: how far each one reads, what ends a rule, and what is then done.

use super::*;

/// A host whose nft has these rules in a chain at forward.
fn forward(rules: &str) -> Host {
    at("forward", rules)
}

fn at(hook: &str, rules: &str) -> Host {
    host(&[("nft.txt", &chain("inet", hook, rules))]).forwarded()
}

pub(super) fn chain(family: &str, hook: &str, rules: &str) -> String {
    format!(
        "table {family} t {{\n\tchain c {{\n\t\ttype filter hook {hook} priority filter; policy accept;\n{rules}\n\t}}\n}}\n"
    )
}

fn udp_forward(rules: &str) -> Host {
    forward(rules).with(packet(CLIENT, THEM, udp(53)))
}

/// The same rules as nft's JSON has them.
pub(super) fn json(chain: &str, rules: &[&str]) -> String {
    let rule =
        |expr: &&str| format!(r#", {{"rule": {{"family": "inet", "table": "t", "chain": "c", "expr": [{expr}]}}}}"#);
    let rules = rules.iter().map(rule).collect::<Vec<_>>().concat();
    format!(
        r#"{{"nftables": [{{"table": {{"family": "inet", "name": "t", "handle": 1}}}}, {{"chain": {{"family": "inet", "table": "t", "name": "c", "handle": 1, {chain}, "prio": 0, "policy": "accept"}}}}{rules}]}}"#
    )
}

pub(super) const FORWARD: &str = r#""type": "filter", "hook": "forward""#;

#[test]
fn what_stands_behind_an_assignment_is_read() {
    for set in [
        "meta nftrace set 1",
        "meta priority set 1:2",
        "meta priority set none",
        "ct label set 1",
        "ct event set new,related,mark",
        "ct mark set meta mark",
        "meta mark set 0x1",
    ] {
        assert!(!udp_forward(&format!("{set} tcp dport 80 drop")).is_dropped(), "{set}");
        assert!(udp_forward(&format!("{set} udp dport {{ 53, 54 }} drop")).is_dropped(), "{set}");
        assert!(udp_forward(&format!("{set} counter packets 0 bytes 0 drop")).is_dropped(), "{set}");
    }
    // The block's end stays what it is.
    let rest = "meta priority set 1:2 meta mark set tcp dport map { 80 : 0x1 }\ndrop";
    assert!(udp_forward(rest).is_dropped());
    assert!(udp_forward("meta priority set 1:2 meta mark set 0x5\nmeta mark 0x5 drop").is_dropped());
}

/// A branch names what is asked and for what, and a condition and its opposite are one fact.
#[test]
fn a_condition_that_no_snapshot_tells_is_named_whole() {
    for (asked, named) in [
        (r#"meta hour "10:00"-"12:00""#, r#"`meta hour "10:00"-"12:00"` holds of "#),
        (r#"meta hour != "10:00"-"12:00""#, r#"`meta hour "10:00"-"12:00"` holds of "#),
        (r#"meta time < "2026-11-30 10:00:00""#, r#"`meta time < "2026-11-30 10:00:00"` holds of "#),
        (r#"meta day { "Monday", "Friday" }"#, r#"`meta day { "Monday", "Friday" }` holds of "#),
    ] {
        let answer = udp_forward(&format!("{asked} drop")).answer();
        assert_eq!(answer.paths.len(), 2, "{asked}");
        assert!(answer.paths.iter().all(|path| path.why[0].contains(named)), "{:?}", answer.paths[0].why);
    }
    let both = udp_forward("meta hour \"10:00\" drop\nmeta hour != \"10:00\" drop").answer();
    assert!(both.paths.iter().all(|path| path.forward.verdict == Verdict::Dropped), "{}", both.paths.len());
}

#[test]
fn an_assignment_without_what_it_needs_ends_the_rule() {
    // A map without the packet's key, a header that the packet lacks.
    assert!(!udp_forward("meta priority set udp dport map { 80 : 1:2 } drop").is_dropped());
    assert!(udp_forward("meta priority set udp dport map { 53 : 1:2 } drop").is_dropped());
    for option in ["tcp option maxseg size set 1200", "tcp option maxseg size set rt mtu", "reset tcp option timestamp"]
    {
        assert!(!udp_forward(&format!("{option} drop")).is_dropped(), "{option}");
        assert!(forward(&format!("{option} drop")).is_dropped(), "{option}");
        assert!(!forward(&format!("{option} tcp dport 81 drop")).is_dropped(), "{option}");
    }
    assert!(udp_forward("ip id set 7 drop").is_dropped());
    assert!(!udp_forward("ip6 flowlabel set 7 drop").is_dropped());
}

#[test]
fn copies_do_not_hide_what_comes_behind_them() {
    let of = |family: &str, rules: &str| {
        let text = chain(family, "forward", &format!("{rules} drop"));
        host(&[("nft.txt", &text)]).forwarded().with(packet(CLIENT, THEM, udp(53)))
    };
    let copy_of = |rules: &str| {
        let path = of("ip", rules).path();
        let [copy] = path.forward.beside.as_slice() else { panic!("{rules}: {} copies", path.forward.beside.len()) };
        assert_eq!(path.forward.verdict, Verdict::Dropped, "{rules}");
        copy.clone()
    };
    for dup in [
        "dup to 198.51.100.9",
        "dup to 198.51.100.9 device \"eth1\"",
        "dup to ip saddr map { 192.0.2.99 : 198.51.100.9 }",
    ] {
        let copy = copy_of(dup);
        assert!(copy.certain && copy.ways.len() == 1, "{dup}");
        let sent = |step: &Step| matches!(&step.decision, Decision::Transmit { device } if device.as_str() == "eth1");
        assert!(copy.ways[0].trace.steps.iter().any(sent), "{dup}");
    }
    assert!(!of("ip", "dup to ip saddr map { 192.0.2.98 : 198.51.100.9 }").is_dropped());
    // No kernel has it in a table of both families.
    let inet = of("inet", "dup to 198.51.100.9").answer();
    assert_eq!(inet.paths.len(), 2, "{:?}", inet.gaps);
    let dup = r#"{"dup": {"addr": "198.51.100.9", "dev": "eth1"}}, {"drop": null}"#;
    let listed = json(FORWARD, &[dup]).replace("inet", "ip");
    let path = host(&[("nft.json", &listed)]).forwarded().path();
    assert_eq!((path.forward.verdict, path.forward.beside.len()), (Verdict::Dropped, 1));
    // A copy that is copied by those who get it comes to an end.
    let both = "-A PREROUTING -j TEE --gateway 127.0.0.1";
    let loops = host(&[("iptables-save", &table("mangle", ":PREROUTING ACCEPT", both))]).forwarded().answer();
    assert!(loops.gaps.iter().any(|gap| gap.what.contains("is walked only so far")), "{:?}", loops.gaps);
    let reset = r#"{"reset": {"tcp option": {"name": "timestamp"}}}, {"drop": null}"#;
    assert_eq!(host(&[("nft.json", &json(FORWARD, &[reset]))]).forwarded().path().forward.verdict, Verdict::Dropped);
}

#[test]
fn a_rule_that_ends_early_is_no_step_and_has_done_what_it_did() {
    let path = udp_forward("meta mark set 0x1 tcp dport 80 accept\nmeta mark 0x1 drop").path();
    assert_eq!(matched(&path.forward), ["c 2"]);
    assert_eq!(path.forward.steps.last().unwrap().packet.mark, Mark(1));
    let marked = path.forward.steps.iter().find(|step| step.packet.mark == Mark(1)).unwrap();
    assert_eq!(marked.because.len(), 2, "the line that set the mark stands with the next step");
}

#[test]
fn logs_end_where_their_flags_do() {
    assert!(!udp_forward("log level debug flags all ip dscp cs1 drop").is_dropped());
    assert!(udp_forward("log flags tcp sequence,options flags ip options ip dscp cs0 drop").is_dropped());
    assert!(udp_forward("log prefix \"x\" flags skuid flags ether udp dport 53 drop").is_dropped());
}

#[test]
fn numbers_of_an_invalid_type_are_numbers() {
    let rule = "meta l4proto udp ct original proto-dst { 0x35 [invalid type], 0x50 [invalid type] } drop";
    assert!(udp_forward(rule).is_dropped());
    let set = r#"{"match": {"op": "==", "left": {"ct": {"key": "proto-dst", "dir": "original"}}, "right": {"set": ["0x35 [invalid type]", "0x50 [invalid type]"]}}}, {"drop": null}"#;
    let host = host(&[("nft.json", &json(FORWARD, &[set]))]).with(packet(CLIENT, THEM, udp(53)));
    assert!(host.is_dropped());
}

#[test]
fn ranges_of_names_are_read_from_json() {
    let range = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "icmp", "field": "type"}}, "right": {"range": ["echo-reply", "echo-request"]}}}, {"drop": null}"#;
    let host = host(&[("nft.json", &json(FORWARD, &[range]))]).with(packet(CLIENT, THEM, ping()));
    assert!(host.is_dropped());
}

#[test]
fn a_prefix_is_netmap_in_json() {
    let chain = r#""type": "nat", "hook": "prerouting""#;
    let rule =
        r#"{"dnat": {"family": "ip", "addr": {"prefix": {"addr": "198.51.100.0", "len": 24}}, "flags": "netmap"}}"#;
    let path = host(&[("nft.json", &json(chain, &[rule]))]).path();
    assert_eq!(path.forward.steps.last().unwrap().packet.ip.destination.to_string(), "198.51.100.10");
}

#[test]
fn a_quota_of_which_nothing_is_used_is_decided() {
    assert!(!udp_forward("quota over 60 bytes drop").is_dropped());
    assert!(udp_forward("quota over 59 bytes drop").is_dropped());
    assert!(udp_forward("quota over 1 mbytes used 1 mbytes drop").is_dropped());
    assert!(!udp_forward("quota 59 bytes drop").is_dropped());
    assert!(udp_forward("quota 60 bytes drop").is_dropped());
}

#[test]
fn raw_bits_are_read_and_written() {
    let raw = |rule: &str| udp_forward(&format!("{rule} drop")).is_dropped();
    assert!(raw("@th,0,32 0x9c400035"));
    assert!(raw("@th,0,32 & 0xffff0000 == 0x9c400000"));
    assert!(raw("@th,8,16 0x4000"));
    assert!(raw("@th,32,16 40"));
    assert!(raw("@nh,0,8 0x45 @nh,16,16 60"));
    assert!(raw("@nh,96,64 0xc0000263c6336407"));
    assert!(!raw("@th,0,32 0x9c400050"));
    // Behind the packet's end is nothing.
    assert!(!raw("@nh,480,8 != 1"));
    let mut host = udp_forward("@th,64,32 0x41424344 drop");
    assert!(host.branches());
    host.given.payload = Some(Arc::from(b"ABCDABCDABCDABCDABCDABCDABCDABCD".as_slice()));
    assert!(host.is_dropped());
    let path = at("prerouting", "@nh,64,8 set 9").path();
    assert_eq!(path.forward.steps.last().unwrap().packet.ip.ttl, 8);
}

#[test]
fn a_zone_of_one_direction_has_the_answer_in_the_other() {
    let zone = |hook: &str| {
        chain("inet", hook, "ct original zone set 3").replace(" t {", &format!(" {hook} {{")).replace("filter;", "raw;")
    };
    let states = "ct state established accept\nct state new counter packets 0 bytes 0";
    let nft = zone("prerouting") + &zone("output") + &chain("ip", "output", states);
    let reply = matched(&host(&[("nft.txt", &nft)]).path().reply.unwrap());
    assert_eq!(reply, ["c 1", "c policy", "c 1"]);
}

#[test]
fn of_one_priority_the_chain_that_was_made_last_is_first_in_the_first_way() {
    let saved =
        table("filter", ":INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT", "-A FORWARD -m mark --mark 0x1 -j DROP");
    let listed = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tmeta mark 0x1 counter packets 0 bytes 0 drop\n\t}\n}\n";
    let own = chain("ip", "forward", "meta mark set 0x1");
    let drops_first = |nft: &str| {
        let answer = host(&[("iptables-save", &saved), ("nft.txt", nft)]).forwarded().answer();
        assert!(answer.gaps.iter().any(|gap| gap.what.contains("same priority")), "{:?}", answer.gaps);
        // The other order is the other way.
        let [first, second] = [0, 1].map(|way| answer.paths[way].forward.verdict == Verdict::Dropped);
        assert_eq!((answer.paths.len(), second), (2, !first));
        first
    };
    assert!(drops_first(&format!("{listed}{own}")));
    assert!(!drops_first(&format!("{own}{listed}")));
}

#[test]
fn chains_that_the_kernel_never_had_are_no_step() {
    let saved = table("filter", ":INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT", "-A FORWARD -p tcp -j ACCEPT");
    let listed = |chain: &str| {
        format!(
            "table ip filter {{\n\tchain {chain} {{\n\t\ttype filter hook forward priority filter; policy accept;\n\t}}\n}}\n"
        )
    };
    let host = |nft: &str| host(&[("iptables-save", &saved), ("nft.txt", nft)]);
    let nft = listed("FORWARD");
    assert_eq!(matched(&host(&nft).path().forward), [] as [&str; 0]);
    assert_eq!(matched(&host(&nft).forwarded().path().forward), ["FORWARD 1"]);
}

#[test]
fn chains_of_devices_are_steps_though_they_do_nothing() {
    let chain = "table netdev nd {\n\tchain e {\n\t\ttype filter hook ingress device \"eth0\" priority filter; policy accept;\n\t\tcounter packets 0 bytes 0\n\t}\n}\n";
    assert_eq!(matched(&host(&[("nft.txt", chain)]).path().forward), ["e 1", "e policy"]);
}

#[test]
fn a_chain_of_devices_that_are_not_listed_branches() {
    let chain = r#""type": "filter", "hook": "ingress""#;
    let nft = json(chain, &[r#"{"drop": null}"#]).replace("\"inet\"", "\"netdev\"");
    assert!(host(&[("nft.json", &nft)]).branches());
    let named = nft.replace("\"prio\"", "\"dev\": \"eth1\", \"prio\"");
    assert!(!host(&[("nft.json", &named)]).is_dropped());
    // One that does nothing is told, and not walked.
    let counts = nft.replace(r#"{"drop": null}"#, r#"{"counter": {"packets": 0, "bytes": 0}}"#);
    let answer = host(&[("nft.json", &counts)]).answer();
    assert_eq!(answer.paths.len(), 1);
    assert!(answer.gaps.iter().any(|gap| gap.what.contains("is not listed")));
}

#[test]
fn options_that_a_packet_cannot_have_are_missing() {
    let drops = |rule: &str| udp_forward(&format!("{rule} drop")).is_dropped();
    assert!(!drops("tcp option maxseg size 1460"));
    assert!(!drops("tcp option maxseg size != 1460"));
    assert!(!drops("tcp option maxseg exists"));
    // nft lists no `meta l4proto tcp` before it, whether there is one or not.
    assert!(udp_forward("tcp option sack-perm missing drop").branches());
    assert!(drops("sctp chunk init missing"));
    assert!(drops("ip option lsrr missing"));
    assert!(!drops("ip option lsrr addr 192.0.2.1"));
    // IPv4 has no extension headers to ask for.
    assert!(!drops("exthdr frag missing"));
    assert!(!drops("exthdr frag exists"));
    let six = |rule: &str| {
        forward(&format!("{rule} drop")).with(packet("2001:db8:1::99", "2001:db8:2::7", udp(53))).is_dropped()
    };
    assert!(six("exthdr frag missing"));
    assert!(!six("exthdr hbh exists"));
    assert!(!six("frag more-fragments 1"));
    assert!(!six("ip option lsrr missing"));
    assert!(forward("tcp option maxseg exists drop").branches());
    let json = |value: &str| {
        let rule = format!(
            r#"{{"match": {{"op": "==", "left": {{"tcp option": {{"name": "maxseg"}}}}, "right": {value}}}}}, {{"drop": null}}"#
        );
        host(&[("nft.json", &json(FORWARD, &[&rule]))]).with(packet(CLIENT, THEM, udp(53)))
    };
    assert!(json("false").branches() && !json("true").is_dropped());
}

#[test]
fn a_range_that_ends_before_it_starts_is_not_what_the_kernel_has() {
    for rule in ["udp dport 20001-1000", "udp dport != 20001-1000"] {
        let answer = udp_forward(&format!("{rule} drop")).answer();
        assert!(answer.paths.len() > 1 && !answer.gaps.is_empty(), "{rule}");
    }
}

#[test]
fn a_proxy_of_nft_takes_the_packet_or_its_rule_does_not_match() {
    let ends = |host: &Host| host.answer().paths.iter().map(|path| path.forward.verdict).collect::<Vec<_>>();
    let proxied = |rule: &str| ends(&at("prerouting", &format!("meta l4proto {{ tcp, udp }} {rule} drop")));
    assert_eq!(proxied("tproxy ip to :81"), [Verdict::Dropped, Verdict::Left]);
    assert_eq!(proxied("tproxy ip6 to :81"), [Verdict::Left]);
    let syn = forward("synproxy mss 1460 wscale 7").with(packet(CLIENT, THEM, tcp(80))).path().forward;
    assert_eq!((syn.verdict, syn.reason), (Verdict::Delivered, None));
    assert_eq!(ends(&udp_forward("synproxy mss 1460 wscale 7")), [Verdict::Left]);
}

#[test]
fn what_a_device_is_stands_in_the_link_file() {
    let drops = |rule: &str| udp_forward(&format!("{rule} drop")).is_dropped();
    assert!(drops("iiftype ether"));
    assert!(drops("meta oiftype != loopback"));
    assert!(!drops("iiftype { loopback, ppp }"));
    assert!(drops("iifgroup \"default\""));
    assert!(!drops("meta oifgroup != default"));
    assert!(!drops("iifgroup 7"));
    assert!(udp_forward("iifgroup \"mine\" drop").branches());
    assert!(udp_forward("meta iifkind \"veth\" drop").branches(), "what is no veth may be a file without -d");
    assert!(
        at("postrouting", "iiftype ether drop").is_dropped(),
        "a packet that leaves is with the device that it leaves by"
    );
    assert!(!at("prerouting", "oiftype != loopback drop").is_dropped(), "no device, no type");
    let veth = LINK.replace(
        "52:54:00:00:00:10 brd ff:ff:ff:ff:ff:ff promiscuity 0",
        "52:54:00:00:00:10 brd ff:ff:ff:ff:ff:ff promiscuity 0 \n    veth addrgenmode none",
    );
    let nft = chain("inet", "forward", "meta iifkind \"veth\" drop");
    assert!(host(&[("link.txt", &veth), ("nft.txt", &nft)]).forwarded().is_dropped());
}

#[test]
fn the_route_is_asked_for() {
    let drops = |rule: &str| udp_forward(&format!("{rule} drop")).is_dropped();
    assert!(drops("rt ip nexthop 198.51.100.7"));
    assert!(!drops("rt ip nexthop != 198.51.100.7"));
    assert!(drops("rt ip nexthop { 198.51.100.0/24 }"));
    assert!(!drops("rt ip6 nexthop != 2001:db8::1"));
    assert!(drops("rt classid \"cosmos\""));
    assert!(!drops("rt classid 5"));
    assert!(drops("meta rtclassid 0"));
    assert!(drops("rt mtu 1460"));
    assert!(!at("prerouting", "rt classid 0 drop").with(packet(CLIENT, THEM, udp(53))).is_dropped(), "no route yet");
}

#[test]
fn what_a_connection_keeps_is_asked_for() {
    let drops = |rule: &str| udp_forward(&format!("{rule} drop")).is_dropped();
    assert!(!drops("ct packets 0"));
    assert!(drops("ct original packets 1"));
    assert!(drops("ct bytes < 1000"));
    assert!(drops("ct avgpkt 60"));
    assert!(drops("ct reply bytes 0"));
    assert!(!drops("ct label 1"));
    assert!(drops("ct label set 1 ct label 1"));
    assert!(!drops("ct label set 1 ct label 2"));
    assert!(drops("ct label set 1 ct label set 2 ct label 1"));
    assert!(!drops("meta cgroup 0"), "a packet that is passed on is no socket's");
    assert!(drops("jhash ip ttl . th dport mod 1 seed 0x3 == 0"));
}

#[test]
fn who_sends_is_what_the_question_says() {
    let nft = chain("inet", "output", "meta skuid 1000 meta skgid != 0 drop");
    let snapshot = |uid: Option<u32>| {
        let mut host = host(&[("nft.txt", &nft)]).with(packet(US, THEM, udp(53)));
        host.given = Given { uid, gid: Some(100), ..Given::default() };
        let snapshot = load_files(host.files.clone()).unwrap();
        let from = Origin::Socket { netns: NetnsId(0) };
        let question = Question {
            packet: host.packet.clone(),
            from,
            reply: false,
            max_paths: 64,
            verbose: false,
            established: false,
            opened_by: None,
            given: host.given.clone(),
        };
        explain(&snapshot, &question).paths.iter().map(|path| path.forward.arrived()).collect::<Vec<_>>()
    };
    assert_eq!(snapshot(Some(1000)), [false]);
    assert_eq!(snapshot(Some(0)), [true]);
    assert_eq!(snapshot(None).len(), 2);
}

#[test]
fn how_long_the_answer_to_a_syn_is_depends_on_options_that_nobody_has_seen() {
    let sysctl = format!("{SYSCTL}net.ipv4.tcp_timestamps = 0\n");
    // Window scaling is certain, selective acknowledgement isn't: 48 or 52 bytes.
    let replies = |files: &[(&str, &str)]| {
        let files: Vec<(&str, &str)> = files.iter().copied().chain([("sysctl", &*sysctl)]).collect();
        let mut verdicts: Vec<Verdict> =
            host(&files).answer().paths.iter().map(|path| path.reply.as_ref().unwrap().verdict).collect();
        verdicts.sort_by_key(|verdict| verdict.as_str());
        verdicts
    };
    let nft = |rule: &str| replies(&[("nft.txt", &chain("inet", "output", &format!("{rule} drop")))]);
    let iptables = |length: &str| {
        let rule = format!("-A OUTPUT -m length --length {length} -j DROP");
        replies(&[("iptables-save", &table("filter", ":OUTPUT ACCEPT", &rule))])
    };
    let (open, passes, drops) = (vec![Verdict::Dropped, Verdict::Left], vec![Verdict::Left], vec![Verdict::Dropped]);
    assert_eq!(iptables("50:60"), open);
    assert_eq!(iptables("44:47"), passes);
    assert_eq!(iptables("48:52"), drops);
    assert_eq!(nft("meta length 50-60"), open);
    assert_eq!(nft("meta length != 50-60"), open);
    assert_eq!(nft("meta length 44-47"), passes);
    assert_eq!(nft("meta length < 53"), drops);
    assert_eq!(nft("meta length > 47"), drops);
    assert_eq!(nft("meta length > 52"), passes);
    assert_eq!(nft("meta length != 47"), drops);
    assert_eq!(nft("meta length { 48, 50 }"), open);
    assert_eq!(nft("meta length { 47, 53 }"), passes);
    assert_eq!(nft("ip length 52"), open);
    assert_eq!(nft("ip length 60"), passes);
    assert_eq!(nft("@nh,16,16 60"), open);
    assert_eq!(nft("quota over 47 bytes"), drops);
    assert_eq!(nft("quota over 50 bytes"), open);
    assert_eq!(nft("quota over 52 bytes"), passes);
}

#[test]
fn whether_a_connection_is_assured_may_depend_on_its_age() {
    let row = "ipv4     2 udp      17 20 src=192.0.2.99 dst=198.51.100.7 sport=40000 dport=53 src=198.51.100.7 \
               dst=192.0.2.99 sport=53 dport=40000 mark=0 use=1\n";
    let ask = |rules: &str| {
        let host = host(&[("nft.txt", &chain("inet", "forward", rules)), ("conntrack", row)]).forwarded();
        let mut packet = packet(CLIENT, THEM, udp(53));
        packet.length = 60;
        let answer = host.with(packet).answer();
        answer.paths.iter().map(|path| matched(&path.forward)).collect::<Vec<_>>()
    };
    let both = [vec!["c 1"], vec!["c policy"]];
    assert_eq!(ask("ct status assured drop"), both);
    assert_eq!(ask("ct status & assured == assured drop"), both);
    assert_eq!(ask("ct status dnat drop"), [["c policy"]]);
    assert_eq!(ask("ct status seen-reply drop"), [["c 1"]]);
    assert_eq!(ask("ct status & (seen-reply|confirmed) == (seen-reply|confirmed) drop"), [["c 1"]]);
    // One answer serves both rules, and iptables' too.
    assert_eq!(ask("ct status ! assured accept\nct status assured drop"), [vec!["c 2"], vec!["c 1"]]);
}

#[test]
fn a_rule_of_nft_without_effect_that_may_match_is_marked() {
    let rules = "meta cpu 98 counter\nlimit rate 1/second log\nct status ! assured counter\ncounter\ntcp dport 80 drop";
    let path = at("forward", rules).with(packet(CLIENT, THEM, tcp(80))).path();
    let rules = path.forward.steps.iter().filter(|step| matches!(step.decision, Decision::Rule { .. }));
    assert_eq!(rules.map(|step| step.certain).collect::<Vec<_>>(), [false, false, true, true, true]);
    assert_eq!(path.forward.steps.iter().filter(|step| !step.certain).count(), 2);
}

#[test]
fn a_flowtable_takes_connections_that_are_confirmed_and_no_others() {
    let rules = "flow add @ft drop\ncounter";
    let ask = |transport: Transport| {
        let path = at("forward", rules).with(packet(CLIENT, THEM, transport)).path();
        (matched(&path.forward), path.forward.verdict)
    };
    // The first packet of a connection ends the rule.
    for transport in [tcp(80), udp(53), ping()] {
        assert_eq!(ask(transport), (vec!["c 2".to_owned(), "c policy".to_owned()], Verdict::Left));
    }
    // One that is known may get in, if the kernel finds a way for it; of TCP only once it is established.
    let known = |protocol: &str, transport: Transport| {
        let row = format!(
            "ipv4     2 {protocol} 20 src=192.0.2.99 dst=198.51.100.7 sport=40000 dport=80 src=198.51.100.7 \
             dst=192.0.2.99 sport=80 dport=40000 mark=0 use=1\n"
        );
        let row = row.replace("tcp 6 20", "tcp      6 20 SYN_RECV").replace("tcp 7 20", "tcp      6 20 ESTABLISHED");
        let host = host(&[("nft.txt", &chain("inet", "forward", rules)), ("conntrack", &row)]).forwarded();
        let answer = host.with(packet(CLIENT, THEM, transport)).answer();
        answer.paths.iter().map(|path| path.forward.verdict).collect::<Vec<_>>()
    };
    let ack = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 0x10 };
    let fin = Transport::Tcp { source: Some(40000), destination: Some(80), flags: 0x11 };
    assert_eq!(known("udp      17", udp(80)), [Verdict::Dropped, Verdict::Left]);
    assert_eq!(known("tcp 7", ack.clone()), [Verdict::Dropped, Verdict::Left]);
    assert_eq!(known("tcp 7", fin), [Verdict::Left]);
    assert_eq!(
        known("tcp 6", Transport::Tcp { source: Some(40000), destination: Some(80), flags: 0x02 }),
        [Verdict::Left]
    );
}

#[test]
fn the_way_of_a_connection_in_a_flowtable_is_not_known() {
    let row = "ipv4     2 udp      17 src=192.0.2.99 dst=198.51.100.7 sport=40000 dport=53 src=198.51.100.7 \
               dst=192.0.2.99 sport=53 dport=40000 [OFFLOAD] mark=0 use=1\n";
    let ask = |port: u16| {
        let host = host(&[("nft.txt", &chain("inet", "forward", "ct mark 0 drop")), ("conntrack", row)]).forwarded();
        host.with(packet(CLIENT, THEM, udp(port))).path().forward
    };
    let path = ask(53);
    assert_eq!(path.verdict, Verdict::Undetermined);
    let last = path.steps.last().unwrap();
    assert_eq!(last.because.first().unwrap().line, 1);
    assert_eq!(ask(54).verdict, Verdict::Dropped);
}

/// The gateway tracks the copy, which nobody knows to be sent.
#[test]
fn what_a_copy_leaves_in_connection_tracking_is_told_where_it_is_not_used() {
    let opens = |rule: &str| {
        let mangle = table("mangle", ":PREROUTING ACCEPT", &format!("-A PREROUTING {rule} -j TEE --gateway {THEM}"));
        let mut node = host(&[("iptables-save", &mangle)]);
        let link = LINK.replace("52:54:00:00:00:10", "52:54:00:00:00:77").replace("eth1", "eth9");
        let addr = "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP group default qlen 1000\n    \
                    inet 198.51.100.7/24 brd 198.51.100.255 scope global eth0\n";
        let route = "unicast 198.51.100.0/24 dev eth0 table main proto kernel scope link src 198.51.100.7\n\
                     local 198.51.100.7 dev eth0 table local proto kernel scope host src 198.51.100.7\n\
                     unicast default via 198.51.100.1 dev eth0\n";
        let filter = table("filter", ":FORWARD ACCEPT", "-A FORWARD -m conntrack --ctstate NEW -j DROP");
        let files = [
            ("link.txt", link.as_str()),
            ("addr.txt", addr),
            ("route.txt", route),
            ("iptables-save", filter.as_str()),
            ("fdb.txt", ""),
        ];
        for (name, text) in files.into_iter().chain([("rule.txt", RULE), ("sysctl", SYSCTL), ("conntrack", "")]) {
            node.files.push((format!("nodes/n2/host/{name}"), Arc::from(text)));
        }
        let answer = node.with(packet(CLIENT, US, udp(53))).answer();
        let copy = &answer.paths[0].forward.beside[0];
        let at_gateway = |step: &Step| step.place.node.as_str() == "n2";
        assert!(copy.ways.iter().all(|way| way.trace.steps.iter().any(at_gateway)), "{rule} {:#?}", copy.ways);
        answer.gaps.iter().any(|gap| gap.what.starts_with("which connections the copy opens"))
    };
    assert!(!opens("-p udp"));
    assert!(opens("-p udp -m limit --limit 5/sec"));
}

#[test]
fn a_quota_of_a_table_is_read_in_both_forms() {
    let object = |bytes: u32, used: u32, inv: bool| {
        format!(
            r#"{{"quota": {{"family": "inet", "name": "q", "table": "t", "handle": 2, "bytes": {bytes}, "used": {used}, "inv": {inv}}}}}, "#
        )
    };
    let dropped = |object: &str| {
        let listed = json(FORWARD, &[r#"{"quota": "q"}, {"drop": null}"#]);
        let (tables, rules) = listed.split_once(r#"{"chain""#).unwrap();
        let listed = format!("{tables}{object}{{\"chain\"{rules}");
        host(&[("nft.json", &listed)]).forwarded().is_dropped()
    };
    // The packet has 60 bytes.
    assert!(dropped(&object(100, 41, true)));
    assert!(!dropped(&object(100, 40, true)));
    assert!(dropped(&object(100, 40, false)));
    assert!(!dropped(&object(100, 41, false)));
    let text = |quota: &str| {
        let table = "table ip t {\n quota q {\n  comment \"no more\"\n  QUOTA\n }\n chain c {\n  type filter hook forward priority 0; \
                     policy accept;\n  quota name \"q\" drop\n }\n}\n";
        host(&[("nft.txt", &table.replace("QUOTA", quota))]).forwarded()
    };
    assert!(text("over 100 bytes used 41 bytes").is_dropped());
    assert!(!text("over 1 kbytes").is_dropped());
    assert!(text("over some bytes").branches());
}
