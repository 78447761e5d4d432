//! Connections that are there before the packet: what the kernel makes of a packet that fits one must be what
//! `explain` says of the snapshot that holds it.

use flowtrace::trace::Verdict;

use crate::lab::flannel::{FlannelBackend, INTERNET4};
use crate::lab::judge::{must_agree, must_agree_but_for};
use crate::lab::netns::must;
use crate::lab::probe::{Probe, Proto, Want};
use crate::lab::rules::craft::{Crafted, Datagram, Payload};
use crate::lab::rules::judge::through;
use crate::lab::rules::router::Router;
use crate::lab::scenario::Scenario;
use crate::lab::situations::two_nodes;

const POD1: &str = "default/pod1";

/// The cluster, with connections in the table of node n1. A connection has both its NAT options, also where one changes
/// nothing: real ones have been through the nat tables, while one made by hand without them is asked about there again.
fn with_connections(connections: &[&str]) -> Scenario {
    let mut scenario = two_nodes("conntrack", FlannelBackend::Vxlan).scenario();
    let node = scenario.space("n1");
    node.conntrack.extend(connections.iter().map(|line| format!("-I -t 600 {line}")));
    scenario
}

fn tcp(to: &str, port: u16, sport: u16) -> Probe {
    Probe::ask(POD1, to, Proto::Tcp, to, port).sport(sport)
}

fn udp(to: &str, port: u16, sport: u16) -> Probe {
    Probe::ask(POD1, to, Proto::Udp, to, port).sport(sport)
}

/// A TCP connection from pod1 to the web service that was sent to pod2, which is no endpoint any more.
fn stale(sport: u16, state: &str, more: &str) -> String {
    format!(
        "-p tcp -s 10.244.1.2 -d 10.96.0.20 --sport {sport} --dport 80 --src-nat 10.244.1.2:{sport} \
         --dst-nat 10.244.2.2:8080 --state {state} {more}"
    )
}

fn agree(connections: &[&str], probe: Probe) {
    let mut scenario = with_connections(connections);
    scenario.probe(probe);
    must_agree(scenario, "");
}

#[test]
fn a_stale_udp_connection_leads_to_the_old_endpoint() {
    let line = "-p udp -s 10.244.1.2 -d 10.96.0.10 --sport 41000 --dport 53 --src-nat 10.244.1.2:41000 \
                --dst-nat 10.244.2.2:53";
    agree(&[line], udp("10.96.0.10", 53, 41000).want(Want::Answered("default/pod2".to_owned())));
}

#[test]
fn a_syn_sent_again_follows_the_connection_that_it_started() {
    agree(&[&stale(41001, "SYN_SENT", "")], tcp("10.96.0.20", 80, 41001).listening(8080));
}

#[test]
fn a_syn_on_an_established_connection_keeps_its_translation() {
    let line = stale(41002, "ESTABLISHED", "-u SEEN_REPLY,ASSURED");
    agree(&[&line], tcp("10.96.0.20", 80, 41002).listening(8080));
}

#[test]
fn a_syn_after_time_wait_starts_a_new_connection() {
    let line = stale(41003, "TIME_WAIT", "-u SEEN_REPLY,ASSURED");
    agree(&[&line], tcp("10.96.0.20", 80, 41003).listening(8080));
}

#[test]
fn a_syn_after_a_reset_may_start_a_new_connection() {
    let line = stale(41004, "CLOSE", "-u SEEN_REPLY,ASSURED");
    let mut scenario = with_connections(&[&line]);
    scenario.probe(tcp("10.96.0.20", 80, 41004).listening(8080));
    // The table doesn't say who sent the reset.
    must_agree_but_for(scenario, "the reset that closed this connection came from the same side");
}

#[test]
fn a_syn_from_the_server_of_a_connection_is_invalid() {
    let line = "-p tcp -s 10.244.2.2 -d 10.244.1.2 --sport 7000 --dport 41005 --src-nat 10.244.2.2:7000 \
                --dst-nat 10.244.1.2:41005 --state ESTABLISHED -u SEEN_REPLY,ASSURED";
    agree(&[line], tcp("10.244.2.2", 7000, 41005).silent());
}

#[test]
fn a_packet_that_answers_a_connection_is_translated_back() {
    let line = "-p udp -s 10.244.2.2 -d 192.0.2.11 --sport 7000 --dport 30053 --src-nat 10.244.2.2:7000 \
                --dst-nat 10.244.1.2:41006";
    agree(&[line], udp("10.244.2.2", 7000, 41006));
}

#[test]
fn a_connection_in_another_zone_is_another_one() {
    let line = "-p udp -s 10.244.1.2 -d 10.96.0.10 --sport 41007 --dport 53 --src-nat 10.244.1.2:41007 \
                --dst-nat 10.244.2.2:53 --zone 7";
    agree(&[line], udp("10.96.0.10", 53, 41007).want(Want::Answered("kube-system/coredns".to_owned())));
}

#[test]
fn a_connection_gives_its_mark_back() {
    let line = "-p udp -s 10.244.1.2 -d 10.244.2.2 --sport 41008 --dport 7000 --src-nat 10.244.1.2:41008 \
                --dst-nat 10.244.2.2:7000 -m 5";
    let mut scenario = with_connections(&[line]);
    let rules = scenario.space("n1").rules4();
    rules.insert("mangle", "PREROUTING -j CONNMARK --restore-mark");
    rules.insert("filter", "FORWARD -m mark --mark 0x5 -j DROP");
    scenario.probe(udp("10.244.2.2", 7000, 41008).silent());
    must_agree(scenario, "");
}

#[test]
fn a_source_port_that_another_connection_has_is_not_taken_again() {
    // pod3 already talks to the outside from the port that pod1's packet has, behind the node's address.
    let line = "-p udp -s 10.244.1.3 -d 203.0.113.9 --sport 41009 --dport 7000 --dst-nat 203.0.113.9:7000 \
                --src-nat 192.0.2.11:41009";
    agree(&[line], udp(INTERNET4, 7000, 41009));
}

/// A node that masquerades from two ports alone, and connections that have some of them.
fn masqueraded_from_two_ports(taken: &[u16]) -> Scenario {
    let lines: Vec<String> = taken
        .iter()
        .map(|port| {
            format!(
                "-p udp -s 10.244.1.3 -d 203.0.113.9 --sport {} --dport 7000 --dst-nat 203.0.113.9:7000 \
                 --src-nat 192.0.2.11:{port}",
                port + 1000
            )
        })
        .collect();
    let mut scenario = with_connections(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let rules = scenario.space("n1").rules4();
    rules.insert("nat", "POSTROUTING -o eth0 -p udp -m udp --dport 7000 -j MASQUERADE --to-ports 20000-20001");
    scenario
}

#[test]
fn a_port_that_is_left_of_a_range_is_taken() {
    let mut scenario = masqueraded_from_two_ports(&[20001]);
    scenario.probe(udp(INTERNET4, 7000, 41020).answered_by("world"));
    must_agree(scenario, "");
}

#[test]
fn a_packet_is_dropped_where_no_port_of_the_range_is_left() {
    let mut scenario = masqueraded_from_two_ports(&[20000, 20001]);
    scenario.probe(udp(INTERNET4, 7000, 41021).silent());
    scenario.probe(Probe::ask("node/n1", INTERNET4, Proto::Udp, INTERNET4, 7000).sport(41022));
    must_agree(scenario, "");
}

/// A pod that tracks connections and has no nat table, with a connection whose zone is another one in the direction of
/// the question alone.
fn zones_of_one_direction(protocol: &str, more: &str) -> Scenario {
    let mut scenario = two_nodes("conntrack", FlannelBackend::Vxlan).scenario();
    let pod = scenario.space("default/pod2");
    pod.conntrack.push(format!(
        "-I -t 600 -p {protocol} -s 10.244.1.2 -d 10.244.2.2 --sport 41030 --dport 7000 -r 10.244.2.2 -q 10.244.1.2 \
         --reply-port-src 7000 --reply-port-dst 41030 --orig-zone 5 {more}"
    ));
    let rules = pod.rules4();
    rules.insert("raw", "PREROUTING -j CT --zone-orig 6");
    rules.insert("filter", "INPUT -m conntrack --ctstate INVALID -j DROP");
    scenario
}

#[test]
fn a_packet_whose_answers_would_be_those_of_another_connection_is_dropped() {
    let mut scenario = zones_of_one_direction("tcp", "--state ESTABLISHED -u SEEN_REPLY,ASSURED");
    scenario.probe(tcp("10.244.2.2", 7000, 41030).silent());
    must_agree(scenario, "");
    let mut scenario = zones_of_one_direction("udp", "");
    scenario.probe(udp("10.244.2.2", 7000, 41030).silent());
    must_agree(scenario, "");
}

#[test]
fn a_label_joins_those_that_the_connection_has() {
    let mut scenario = with_connections(&[]);
    let chain = "type filter hook forward priority 10; policy accept;";
    let rules = "ct label set 1\n  ct label set 2\n  ct label 3 drop\n  ct label 1 drop";
    scenario.space("n1").nft = format!("table ip t {{\n chain c {{\n  {chain}\n  {rules}\n }}\n}}\n");
    scenario.probe(udp("10.244.2.2", 7000, 41020).silent());
    must_agree(scenario, "");
}

/// A connection that is translated in the table of a node where no nat chain is left: nothing translates its packets.
fn without_nat(connection: &str) -> Scenario {
    let mut scenario = with_connections(&[connection]);
    let node = scenario.space("n1");
    node.rules.clear();
    let chain = "type filter hook forward priority 0; policy accept;\n  ct state new counter";
    node.nft = format!("table ip t {{\n chain c {{\n  {chain}\n }}\n}}\n");
    scenario
}

#[test]
fn a_connection_is_not_translated_where_no_nat_chain_stands() {
    let line = "-p udp -s 10.244.1.2 -d 10.244.2.2 --sport 41040 --dport 7000 --src-nat 10.244.1.2:41040 \
                --dst-nat 10.244.2.3:7001";
    let mut scenario = without_nat(line);
    scenario.probe(udp("10.244.2.2", 7000, 41040).want(Want::Unheard("default/pod2".to_owned())));
    must_agree(scenario, "");
    // A nat chain without rules is enough.
    let mut scenario = without_nat(line);
    scenario.space("n1").nft.push_str("table ip n {\n chain c {\n  type nat hook postrouting priority 100;\n }\n}\n");
    scenario.probe(udp("10.244.2.2", 7000, 41040).listening(7001).answered_by("kube-system/coredns"));
    must_agree(scenario, "");
}

#[test]
fn what_a_template_lacks_ends_a_rule_and_a_helper_object_tracks() {
    let mut scenario = with_connections(&[]);
    let raw = "type filter hook prerouting priority -250; policy accept;\n  ct mark 0 drop\n  ct zone set 5";
    let more = "type filter hook prerouting priority -240; policy accept;\n  ct mark 0 drop\n  ct helper \"ftp\" drop";
    let after = "type filter hook forward priority 10; policy accept;\n  ct helper \"ftp\" drop\n  ct zone 5 drop";
    scenario.space("n1").nft = format!(
        "table ip t {{\n ct helper h {{\n  type \"ftp\" protocol tcp\n }}\n chain a {{\n  {raw}\n }}\n chain b {{\n  {more}\n }}\n \
         chain c {{\n  {after}\n }}\n}}\n"
    );
    scenario.probe(udp("10.244.2.2", 7000, 41021).silent());
    must_agree(scenario, "");
}

/// A datagram by the router.
fn datagram(destination: [u8; 4], ports: (u16, u16), data: u16) -> Crafted {
    Crafted {
        local: false,
        source: [192, 0, 2, 99].into(),
        destination: destination.into(),
        payload: Payload::Udp { source: ports.0, destination: ports.1 },
        ttl: 64,
        tos: 0,
        df: false,
        data,
        mss: true,
        mark: 0,
        options: &[],
        ..Crafted::datagram()
    }
}

fn filtering(objects: &str, rules: &str) -> String {
    let hook = "type filter hook forward priority 0; policy accept;";
    format!("table ip t {{\n{objects}\n chain c {{\n  {hook}\n  {rules}\n }}\n}}\n")
}

/// What becomes of a packet at a router with these rules, which must be the kernel's way.
fn verdict(router: &mut Router, packet: &Crafted) -> Verdict {
    let (answer, difference) = through(router, packet).expect("an answer");
    assert_eq!(difference, None);
    let [path] = answer.paths.as_slice() else { panic!("{} ways", answer.paths.len()) };
    path.forward.verdict
}

#[test]
fn errors_about_a_translated_connection_follow_it_and_redirects_are_dropped() {
    if !crate::lab::ready::ready() {
        return;
    }
    let nat = "table ip n {\n chain c {\n  type nat hook prerouting priority -100;\n  \
               ip daddr 10.9.9.9 udp dport 80 dnat to 198.51.100.7:8080\n }\n}\n";
    for (rules, redirected) in
        [(nat.to_owned(), Verdict::Dropped), (filtering("", "ct state new counter"), Verdict::Left)]
    {
        let mut router = Router::new(0).expect("the stage");
        router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
        router.connect(&datagram([10, 9, 9, 9], (40_000, 80), 20)).expect("a connection");
        let answer = Datagram { source: ([10, 9, 9, 9].into(), 80), destination: ([192, 0, 2, 99].into(), 40_000) };
        let about = |kind, code| Crafted {
            payload: Payload::About { kind, code, datagram: answer, quoted: 8 },
            ..datagram([10, 9, 9, 9], (0, 0), 0)
        };
        // What can't be reached, what lives too long, what has a wrong header.
        for (kind, code) in [(3, 3), (3, 4), (11, 0), (12, 0)] {
            assert_eq!(verdict(&mut router, &about(kind, code)), Verdict::Left, "{kind} {code}");
        }
        assert_eq!(verdict(&mut router, &about(5, 1)), redirected, "{rules}");
    }
}

/// Which of the two it was no snapshot tells: masquerading notes its device, and a route that leads elsewhere ends the connection.
#[test]
fn a_masqueraded_connection_ends_where_it_leaves_by_another_device() {
    if !crate::lab::ready::ready() {
        return;
    }
    for (target, wanted) in [("masquerade", Verdict::Dropped), ("snat to 198.51.100.1", Verdict::Left)] {
        let mut router = Router::new(0).expect("the stage");
        let chain = "type nat hook postrouting priority 100;";
        let nat = format!("table ip n {{\n chain c {{\n  {chain}\n  udp dport 80 {target}\n }}\n}}\n");
        router.load_steps(&[("nft", &nat)]).expect("rules that are taken");
        let packet = datagram([10, 9, 9, 9], (40_000, 80), 20);
        router.connect(&packet).expect("a connection");
        let route = ["route", "add", "10.9.9.9", "via", "192.0.2.98", "dev", "eth0"];
        router.enter(|| must("ip", &route, "")).expect("a route");
        router.set("ipv4/conf/all/send_redirects", "0").expect("the snapshot anew");
        router.set("ipv4/conf/eth0/send_redirects", "0").expect("the snapshot anew");
        let (answer, difference) = through(&mut router, &packet).expect("an answer");
        assert_eq!(difference, None, "{target}");
        assert_eq!(answer.paths.len(), 2, "{target}");
        assert!(answer.paths.iter().any(|path| path.forward.verdict == wanted), "{target}");
    }
}

/// The ports are enough to find the connection, but translation rewrites no less than 8 bytes.
#[test]
fn an_error_that_quotes_too_little_of_a_translated_packet_is_dropped() {
    if !crate::lab::ready::ready() {
        return;
    }
    let nat = "table ip n {\n chain c {\n  type nat hook prerouting priority -100;\n  \
               ip daddr 10.9.9.9 udp dport 80 dnat to 198.51.100.7:8080\n }\n}\n";
    let plain = filtering("", "ct state invalid drop");
    let (dropped, left) = (Verdict::Dropped, Verdict::Left);
    let wanted = [(8, left, left), (7, dropped, left), (4, dropped, left), (3, left, dropped), (0, left, dropped)];
    for (rules, is_translated) in [(nat, true), (&plain, false)] {
        let mut router = Router::new(0).expect("the stage");
        router.load_steps(&[("nft", rules)]).expect("rules that are taken");
        router.connect(&datagram([10, 9, 9, 9], (40_000, 80), 20)).expect("a connection");
        let answer = Datagram { source: ([10, 9, 9, 9].into(), 80), destination: ([192, 0, 2, 99].into(), 40_000) };
        for (quoted, translated, tracked) in wanted {
            let payload = Payload::About { kind: 3, code: 3, datagram: answer, quoted };
            let error = Crafted { payload, ..datagram([10, 9, 9, 9], (0, 0), 0) };
            let wanted = if is_translated { translated } else { tracked };
            assert_eq!(verdict(&mut router, &error), wanted, "{quoted} bytes, {rules}");
        }
    }
}

/// Where connections are tracked, the pieces of a packet are put together before any rule sees them.
#[test]
fn objects_and_counts_of_connections_track_them_without_a_rule_that_asks() {
    if !crate::lab::ready::ready() {
        return;
    }
    let helper = " ct helper h {\n  type \"ftp\" protocol tcp\n }";
    let timeout = " ct timeout o {\n  protocol udp\n  policy = { unreplied : 10 }\n }";
    let expectation = " ct expectation e {\n  protocol tcp\n  dport 99\n  timeout 1m\n  size 1\n }";
    let set = " set s {\n  type ipv4_addr\n  flags dynamic\n }";
    let long = "meta length 1501-2000 drop";
    let counting = format!("udp dport 9 add @s {{ ip saddr ct count over 50 }} drop\n  {long}");
    for (objects, rules, tracked) in [
        ("", long, Verdict::Undetermined),
        (helper, long, Verdict::Dropped),
        (timeout, long, Verdict::Dropped),
        (expectation, long, Verdict::Dropped),
        (set, counting.as_str(), Verdict::Dropped),
    ] {
        let mut router = Router::new(0).expect("the stage");
        router.load_steps(&[("nft", &filtering(objects, rules))]).expect("rules that are taken");
        let packet = datagram([198, 51, 100, 7], (4000, 53), 1516);
        let (answer, difference) = through(&mut router, &packet).expect("an answer");
        assert_eq!(difference, None, "{objects}");
        assert_eq!(answer.paths[0].forward.verdict, tracked, "{objects}");
    }
}

/// Sequence numbers are not in the table of connections: what is outside the window is another packet for the kernel,
/// unless it is liberal, and the answer says so.
#[test]
fn a_segment_outside_its_window_is_invalid_unless_the_kernel_is_liberal() {
    const TOLD: &str = "doesn't hold TCP's sequence numbers";
    if !crate::lab::ready::ready() {
        return;
    }
    let rules = filtering("", "ct state invalid drop");
    let mut router = Router::new(0).expect("the stage");
    router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
    let near = datagram([198, 51, 100, 7], (0, 0), 0);
    let segment = |flags, sequence| Crafted {
        payload: Payload::Segment { ports: (40_000, 80), flags, sequence, acknowledged: 0 },
        ..near
    };
    let answer = Crafted {
        source: near.destination,
        destination: near.source,
        payload: Payload::Segment { ports: (80, 40_000), flags: 0x12, sequence: 1, acknowledged: 0 },
        ..near
    };
    for opening in [segment(0x02, 1), answer, segment(0x10, 2)] {
        router.connect(&opening).expect("a connection");
    }
    let ask = |router: &mut Router, flags, sequence| {
        let (found, difference) = through(router, &segment(flags, sequence)).expect("an answer");
        let [path] = found.paths.as_slice() else { panic!("{} ways", found.paths.len()) };
        assert_eq!(path.forward.verdict, Verdict::Left);
        (difference.is_none(), found.gaps.iter().any(|gap| gap.what.contains(TOLD)))
    };
    let (ack, reset) = (0x10, 0x04);
    // Inside the window, outside it, and a reset that is too late.
    assert_eq!(ask(&mut router, ack, 2), (true, true));
    assert_eq!(ask(&mut router, ack, 900_000_000), (false, true));
    router.set("netfilter/nf_conntrack_tcp_be_liberal", "1").expect("the setting");
    assert_eq!(ask(&mut router, ack, 900_000_000), (true, false));
    assert_eq!(ask(&mut router, reset, 0x9000_0000), (false, true));
    router.set("netfilter/nf_conntrack_tcp_ignore_invalid_rst", "1").expect("the setting");
    assert_eq!(ask(&mut router, reset, 0x9000_0000), (true, false));
}

/// A connection is picked up in its middle where the kernel is loose, and where the snapshot lacks the setting nobody
/// knows.
#[test]
fn a_segment_from_the_middle_starts_a_connection_only_where_the_kernel_is_loose() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let rules = filtering("", "ct state invalid drop\n  ct state new counter");
    router.load_steps(&[("nft", &rules)]).expect("rules that are taken");
    let payload = Payload::Segment { ports: (40_000, 80), flags: 0x10, sequence: 7, acknowledged: 0 };
    let middle = Crafted { payload, ..datagram([198, 51, 100, 7], (0, 0), 0) };
    for (loose, wanted) in [("1", Verdict::Left), ("0", Verdict::Dropped)] {
        router.set("netfilter/nf_conntrack_tcp_loose", loose).expect("the setting");
        assert_eq!(verdict(&mut router, &middle), wanted, "{loose}");
    }
}

/// Every type of chunk that the kernel knows, one that it doesn't, and chunks together: which of them begin a connection.
#[test]
fn some_chunks_of_sctp_begin_a_connection() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    router.load_steps(&[("nft", &filtering("", "ct state invalid drop"))]).expect("rules that are taken");
    let all: [&'static [u8]; 21] = [
        &[0],
        &[1],
        &[2],
        &[3],
        &[4],
        &[5],
        &[6],
        &[7],
        &[8],
        &[9],
        &[10],
        &[11],
        &[12],
        &[13],
        &[14],
        &[192],
        &[1, 0],
        &[4, 0],
        &[8, 9],
        &[4, 6],
        &[9, 5],
    ];
    let mut begin = Vec::new();
    for (port, kinds) in (40_100..).zip(all) {
        let payload = Payload::Chunks { ports: (port, 7000), kinds };
        let packet = Crafted { payload, ..datagram([198, 51, 100, 7], (0, 0), 0) };
        if verdict(&mut router, &packet) == Verdict::Left {
            begin.push(kinds);
        }
    }
    let expected: [&[u8]; 6] = [&[1], &[4], &[5], &[8], &[8, 9], &[9, 5]];
    assert_eq!(begin, expected);
}
