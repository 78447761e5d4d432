//! What SYNPROXY does: it answers a SYN in the server's place, and opens the connection once the client has answered.

use std::collections::BTreeMap;

use flowtrace::net::Transport;
use flowtrace::trace::{Decision, Path, Verdict};

use crate::lab::rules::craft::{Crafted, Payload};
use crate::lab::rules::judge::through;
use crate::lab::rules::router::{Router, Rules};

/// A segment of the connection past the router.
fn segment(flags: u8, sequence: u32, acknowledged: u32) -> Crafted {
    let payload = Payload::Segment { ports: (20_000, 80), flags, sequence, acknowledged };
    Crafted { payload, data: 0, ttl: 33, tos: 0x20, ..Crafted::datagram() }
}

/// A SYN past the router, with a maximum segment size of 1460 or without any option.
fn syn(flags: u8, mss: bool) -> Crafted {
    Crafted { payload: Payload::Tcp { source: 20_000, destination: 80, flags }, mss, ..segment(0, 0, 0) }
}

fn in_ipv6(packet: Crafted) -> Crafted {
    let address = |text: &str| text.parse().expect("an address");
    Crafted { source: address("2001:db8:1::99"), destination: address("2001:db8:2::7"), ..packet }
}

/// For the router itself.
fn to_router(packet: Crafted) -> Crafted {
    let own = if packet.source.is_ipv4() { "192.0.2.10" } else { "2001:db8:1::10" };
    Crafted { destination: own.parse().expect("an address"), ..packet }
}

/// Rules of iptables that take what is not tracked, of both families, and those that see what is made of it.
fn untracked(legacy: bool) -> Rules {
    let lines = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>();
    let proxy =
        "-p tcp -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460";
    let seen = ["NEW", "ESTABLISHED", "INVALID", "UNTRACKED"];
    let seen = |chain: &str| seen.map(|state| format!("-A {chain} -p tcp -m conntrack --ctstate {state}"));
    let filter = [format!("-A FORWARD {proxy}"), format!("-A INPUT {proxy}")];
    let tables = BTreeMap::from([
        ("raw", lines(&["-A PREROUTING -p tcp --syn -j CT --notrack", "-A OUTPUT -p tcp -m tcp --dport 80"])),
        ("mangle", seen("POSTROUTING").to_vec()),
        ("filter", filter.into_iter().chain(seen("OUTPUT")).collect()),
    ]);
    Rules { v4: tables.clone(), v6: tables, legacy, ..Rules::default() }
}

/// A statement of nft, for connections that are tracked.
fn native(statement: &str) -> Rules {
    let table = format!(
        "table inet t {{
 chain i {{ type filter hook input priority 0; policy accept; tcp dport 80 {statement}; }}
 chain f {{ type filter hook forward priority 0; policy accept; tcp dport 80 {statement}; }}
 chain o {{ type filter hook output priority 0; policy accept; ct state vmap {{ new : accept, established : accept }}; }}
 chain p {{ type nat hook postrouting priority 100; policy accept; oifname \"eth1\" masquerade; }}
}}
"
    );
    Rules { nft: table, ..Rules::default() }
}

/// The one way of a packet, which is the kernel's.
fn way(router: &mut Router, packet: &Crafted) -> Path {
    let (answer, difference) = through(router, packet).expect("an answer");
    assert_eq!(difference, None);
    let [path] = answer.paths.as_slice() else { panic!("{} ways of {packet:?}", answer.paths.len()) };
    path.clone()
}

#[test]
fn a_syn_is_answered_in_the_servers_place() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    for rules in [untracked(false), untracked(true), native("synproxy mss 1460 wscale 7 timestamp sack-perm")] {
        router.load(&rules).expect("rules that are taken");
        for (packet, options) in [(syn(0x02, true), 4), (syn(0x02, false), 0), (syn(0xc2, true), 4)] {
            for packet in [packet, to_router(packet)] {
                let path = way(&mut router, &packet);
                assert_eq!(path.forward.verdict, Verdict::Delivered, "{packet:?}");
                let reply = path.reply.expect("an answer");
                assert_eq!((reply.verdict, reply.steps[0].packet.length), (Verdict::Left, 40 + options), "{packet:?}");
                assert_eq!(reply.steps[0].packet.ip.source, packet.destination);
                if rules.nft.is_empty() {
                    let path = way(&mut router, &in_ipv6(packet));
                    assert_eq!(path.forward.verdict, Verdict::Delivered, "{packet:?}");
                }
            }
        }
        // What neither opens nor answers goes on.
        assert_eq!(way(&mut router, &syn(0x04, false)).forward.verdict, Verdict::Left);
    }
    // What the rule doesn't offer, the answer hasn't.
    router.load(&native("synproxy wscale 7 sack-perm")).expect("rules that are taken");
    let path = way(&mut router, &syn(0x02, true));
    assert_eq!(path.reply.expect("an answer").steps[0].packet.length, 40);
}

/// What an object offers stands in the table; a map of objects that has none for a packet ends the rule.
#[test]
fn an_object_says_what_is_offered() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let from = |host: u8| Crafted { source: [192, 0, 2, host].into(), ..syn(0x02, true) };
    let forwarded = |router: &mut Router, packet: &Crafted| way(router, packet).forward.verdict == Verdict::Left;
    for name in ["\"a\"", "ip saddr map @m"] {
        let table = format!(
            "table inet t {{
 synproxy a {{
  mss 1460
  wscale 7
  timestamp sack-perm
 }}
 map m {{
  type ipv4_addr : synproxy
  elements = {{ 192.0.2.99 : \"a\" }}
 }}
 chain f {{ type filter hook forward priority 0; policy accept; tcp dport 80 synproxy name {name}; }}
}}
"
        );
        router.load(&Rules { nft: table, ..Rules::default() }).expect("rules that are taken");
        let path = way(&mut router, &from(99));
        assert_eq!(path.reply.expect("an answer").steps[0].packet.length, 44, "{name}");
        let has_all = name == "\"a\"";
        assert_eq!(forwarded(&mut router, &from(98)), !has_all, "{name}");
        if !has_all {
            assert!(forwarded(&mut router, &in_ipv6(syn(0x02, true))));
        }
    }
}

/// Who answers with the cookie is known to be there, and the server hears of it; others don't get past.
#[test]
fn a_client_that_answers_is_passed_on_to_the_server() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let mut strict = untracked(false);
    for tables in [&mut strict.v4, &mut strict.v6] {
        let raw = tables.entry("raw").or_default();
        raw.push("-A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack".to_owned());
    }
    for rules in [strict, native("synproxy mss 1460 wscale 7 timestamp sack-perm")] {
        router.load(&rules).expect("rules that are taken");
        let opening = segment(0x02, 1, 0);
        let seen = router.send(&opening).expect("an answer");
        let cookie = seen.sightings.iter().find(|seen| seen.header.tcp_flags == Some(0x12)).expect("a SYN,ACK");
        let cookie = cookie.header.sequence.expect("a number");
        for (acknowledged, valid) in [(cookie.wrapping_add(1), true), (7, false)] {
            let packet = segment(0x10, 2, acknowledged);
            let (answer, difference) = through(&mut router, &packet).expect("an answer");
            assert_eq!(difference, None);
            let verdicts: Vec<Verdict> = answer.paths.iter().map(|path| path.forward.verdict).collect();
            assert_eq!(verdicts, [Verdict::Left, Verdict::Dropped], "{valid}");
            let sent =
                |path: &Path| path.forward.steps.iter().any(|step| matches!(step.decision, Decision::SendOwn { .. }));
            assert!(sent(&answer.paths[0]) && !sent(&answer.paths[1]));
        }
    }
}

/// What the server answers is taken: it hears an ACK, and so does the client. That the connection was opened so, its row
/// doesn't tell.
#[test]
fn the_servers_answer_becomes_one_for_the_client() {
    if !crate::lab::ready::ready() {
        return;
    }
    let mut router = Router::new(0).expect("the stage");
    let mut rules = untracked(false);
    rules.v4.entry("raw").or_default().push("-A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack".to_owned());
    router.load(&rules).expect("rules that are taken");
    let seen = router.send(&segment(0x02, 1, 0)).expect("an answer");
    let cookie = seen.sightings.iter().find_map(|seen| seen.header.sequence.filter(|number| *number != 1));
    let acknowledged = cookie.expect("a SYN,ACK").wrapping_add(1);
    router.connect(&segment(0x10, 2, acknowledged)).expect("a connection");
    let payload = Payload::Segment { ports: (80, 20_000), flags: 0x12, sequence: 7, acknowledged: 2 };
    let near = segment(0x12, 7, 2);
    let answer = Crafted { source: near.destination, destination: near.source, payload, ..near };
    let (found, difference) = through(&mut router, &answer).expect("an answer");
    assert_eq!(difference, None);
    let [proxied, plain] = found.paths.as_slice() else { panic!("{} ways", found.paths.len()) };
    assert_eq!((proxied.forward.beside.len(), plain.forward.beside.len()), (1, 0));
    let last = proxied.forward.steps.last().expect("an end");
    assert!(matches!(last.packet.transport, Transport::Tcp { flags: 0x10, .. }), "{:?}", last.packet);
}
