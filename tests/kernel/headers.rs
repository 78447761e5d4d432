//! What stands between the IP header and what it carries: what the kernel's own stack makes of it, and what its answers
//! have of it. What rules and routers make of it is in the random cases of [`crate::rules`].

use std::collections::BTreeMap;

use flowtrace::trace::{Path, Reason, Verdict};

use crate::lab::rules::between::Extension;
use crate::lab::rules::craft::{Crafted, Payload};
use crate::lab::rules::judge::{answered, answered_with, through};
use crate::lab::rules::router::{Router, Rules};

/// An echo request to the router's own address.
fn echo(options: &'static [u8]) -> Crafted {
    let payload = Payload::Icmp { kind: 8, code: 0, id: 7 };
    Crafted { destination: [192, 0, 2, 10].into(), payload, data: 56, options, ..Crafted::datagram() }
}

/// The same in IPv6.
fn echo6(extensions: &'static [Extension]) -> Crafted {
    let address = |text: &str| text.parse().expect("an address");
    Crafted {
        source: address("2001:db8:1::99"),
        destination: address("2001:db8:1::10"),
        payload: Payload::Icmp { kind: 128, code: 0, id: 7 },
        extensions,
        ..echo(&[])
    }
}

/// A router, where there is a kernel to ask.
fn router() -> Option<Router> {
    crate::lab::ready::ready().then(|| Router::new(0).expect("the stage"))
}

fn must_agree(router: &mut Router, packet: &Crafted) -> Path {
    answered(router, packet).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn reply(path: &Path) -> Option<Verdict> {
    path.reply.as_ref().map(|reply| reply.verdict)
}

const RECORD: &[u8] = &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn an_answer_copies_the_record_and_the_timestamps() {
    let Some(mut router) = router() else { return };
    let full: &[u8] = &[7, 7, 8, 192, 0, 2, 99, 0];
    let times: &[u8] = &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let addresses: &[u8] = &[68, 20, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let preset: &[u8] = &[68, 20, 5, 3, 192, 0, 2, 10, 0, 0, 0, 0, 192, 0, 2, 77, 0, 0, 0, 0];
    let both: &[u8] = &[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for options in [RECORD, full, times, addresses, preset, both] {
        let path = must_agree(&mut router, &echo(options));
        assert_eq!(reply(&path), Some(Verdict::Left), "{options:?}");
        let answer = path.reply.as_ref().and_then(|reply| reply.steps.last()).expect("an answer");
        assert!(!answer.packet.options.is_empty(), "{options:?}");
    }
}

#[test]
fn an_answer_leaves_out_what_was_for_routers() {
    let Some(mut router) = router() else { return };
    let path = must_agree(&mut router, &echo(&[148, 4, 0, 0, 130, 4, 0, 0]));
    let answer = path.reply.as_ref().and_then(|reply| reply.steps.last()).expect("an answer");
    assert!(answer.packet.options.is_empty() && answer.packet.length == 84, "{answer:?}");
}

#[test]
fn no_answer_is_made_where_the_record_has_half_a_place() {
    let Some(mut router) = router() else { return };
    let path = must_agree(&mut router, &echo(&[7, 8, 4, 0, 0, 0, 0, 0]));
    assert_eq!(reply(&path), Some(Verdict::Dropped));
}

#[test]
fn a_listener_answers_a_syn_with_its_options() {
    let Some(mut router) = router() else { return };
    let _listener = router.enter(|| std::net::TcpListener::bind("192.0.2.10:80").expect("a listener"));
    for (source, options, length) in
        [(20_000, RECORD, 56), (20_001, &[148, 4, 0, 0][..], 44), (20_002, &[7, 8, 4, 0, 0, 0, 0, 0], 44)]
    {
        let syn = Payload::Tcp { source, destination: 80, flags: 2 };
        let path = must_agree(&mut router, &Crafted { payload: syn, data: 0, ..echo(options) });
        let answer = path.reply.as_ref().and_then(|reply| reply.steps.last()).expect("an answer");
        assert_eq!(answer.packet.length, length, "{options:?}");
    }
}

#[test]
fn what_is_wrong_in_options_is_answered_with_what_was_right_before() {
    let Some(mut router) = router() else { return };
    for options in [&[7, 7, 3, 0, 0, 0, 0, 0][..], &[7, 7, 4, 0, 0, 0, 0, 148, 1, 0, 0, 0], &[1, 1, 1, 7]] {
        let path = must_agree(&mut router, &echo(options));
        assert_eq!((path.forward.verdict, path.forward.reason), (Verdict::Rejected, Some(Reason::BadHeader)));
    }
}

#[test]
fn a_source_route_is_followed_where_a_setting_allows_it() {
    let Some(mut router) = router() else { return };
    let by_router: &[u8] = &[131, 7, 4, 198, 51, 100, 7, 0];
    let strict: &[u8] = &[137, 7, 4, 198, 51, 100, 7, 0];
    let over_gateway: &[u8] = &[137, 7, 4, 10, 9, 8, 7, 0];
    for (options, verdict) in [(by_router, Verdict::Left), (strict, Verdict::Left), (over_gateway, Verdict::Rejected)] {
        let path = must_agree(&mut router, &echo(options));
        assert_eq!(path.forward.verdict, verdict, "{options:?}");
    }
    // Past the router, a strict one is wrong.
    let past = |options| Crafted { destination: [198, 51, 100, 7].into(), ..echo(options) };
    assert_eq!(must_agree(&mut router, &past(by_router)).forward.verdict, Verdict::Left);
    assert_eq!(must_agree(&mut router, &past(strict)).forward.reason, Some(Reason::BadHeader));
    // An answer would go back by the route.
    let used_up = must_agree(&mut router, &echo(&[131, 7, 8, 192, 0, 2, 98, 0]));
    assert_eq!(reply(&used_up), Some(Verdict::Undetermined));
    for dev in ["eth0", "all"] {
        router.set(&format!("ipv4/conf/{dev}/accept_source_route"), "0").expect("a setting");
        for packet in [echo(by_router), past(by_router)] {
            let path = must_agree(&mut router, &packet);
            assert_eq!((path.forward.verdict, path.forward.reason), (Verdict::Dropped, Some(Reason::SourceRoute)));
        }
        router.set(&format!("ipv4/conf/{dev}/accept_source_route"), "1").expect("a setting");
    }
}

const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];

#[test]
fn a_receiver_takes_extension_headers_off() {
    let Some(mut router) = router() else { return };
    let lists: [&'static [Extension]; 5] = [
        &[(0, PADDING), (60, PADDING)],
        &[(43, &[0, 0, 0, 0, 0, 0, 0])],
        &[(44, &[0, 0, 0, 0, 0, 0, 7])],
        &[(0, &[0, 5, 2, 0, 0, 1, 0]), (44, &[0, 0, 0, 0, 0, 0, 7]), (60, PADDING)],
        &[(60, &[0, 0x1e, 4, 0, 0, 0, 0])],
    ];
    for list in lists {
        let path = must_agree(&mut router, &echo6(list));
        assert_eq!((path.forward.verdict, reply(&path)), (Verdict::Delivered, Some(Verdict::Left)), "{list:?}");
        let answer = path.reply.as_ref().and_then(|reply| reply.steps.last()).expect("an answer");
        assert!(answer.packet.extensions.is_empty() && answer.packet.length == 104, "{answer:?}");
    }
}

#[test]
fn a_receiver_refuses_extension_headers_that_it_does_not_take() {
    let Some(mut router) = router() else { return };
    let lists: [(&'static [Extension], Verdict, Reason); 9] = [
        // Options that nobody knows: dropped, answered, answered unless for a group.
        (&[(60, &[0, 0x5e, 4, 0, 0, 0, 0])], Verdict::Dropped, Reason::BadHeader),
        (&[(60, &[0, 0x9e, 4, 0, 0, 0, 0])], Verdict::Rejected, Reason::BadHeader),
        (&[(60, &[0, 0xde, 4, 0, 0, 0, 0])], Verdict::Rejected, Reason::BadHeader),
        (&[(0, &[0, 0xde, 4, 0, 0, 0, 0])], Verdict::Rejected, Reason::BadHeader),
        // Padding that holds something.
        (&[(60, &[0, 1, 4, 0, 1, 0, 0])], Verdict::Dropped, Reason::BadHeader),
        (&[(60, PADDING), (0, PADDING)], Verdict::Rejected, Reason::ProtocolUnreachable),
        (&[(44, &[0, 0, 0, 0, 0, 0, 7]), (0, PADDING)], Verdict::Rejected, Reason::ProtocolUnreachable),
        (&[(43, &[0, 0, 1, 0, 0, 0, 0])], Verdict::Rejected, Reason::SourceRoute),
        (&[(43, &[0, 9, 1, 0, 0, 0, 0])], Verdict::Rejected, Reason::SourceRoute),
    ];
    for (list, verdict, reason) in lists {
        let path = must_agree(&mut router, &echo6(list));
        assert_eq!((path.forward.verdict, path.forward.reason), (verdict, Some(reason)), "{list:?}");
    }
}

#[test]
fn no_more_options_are_read_than_a_setting_allows() {
    let Some(mut router) = router() else { return };
    let two: &'static [Extension] = &[(60, &[0, 0x1e, 1, 0, 0x1e, 1, 0])];
    assert_eq!(must_agree(&mut router, &echo6(two)).forward.verdict, Verdict::Delivered);
    for (most, packet) in [("1", two), ("-1", &[(60, &[0, 0x1e, 4, 0, 0, 0, 0])])] {
        router.set("ipv6/max_dst_opts_number", most).expect("a setting");
        let path = must_agree(&mut router, &echo6(packet));
        assert_eq!((path.forward.verdict, path.forward.reason), (Verdict::Dropped, Some(Reason::BadHeader)), "{most}");
    }
}

#[test]
fn no_header_is_longer_than_a_setting_allows() {
    const LONG: &[u8] = &[1, 0x1e, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let Some(mut router) = router() else { return };
    let lists: [(&str, &'static [Extension], &'static [Extension]); 2] =
        [("max_dst_opts_length", &[(60, LONG)], &[(60, PADDING)]), ("max_hbh_length", &[(0, LONG)], &[(0, PADDING)])];
    for (key, long, short) in lists {
        assert_eq!(must_agree(&mut router, &echo6(long)).forward.verdict, Verdict::Delivered);
        router.set(&format!("ipv6/{key}"), "8").expect("a setting");
        let path = must_agree(&mut router, &echo6(long));
        assert_eq!((path.forward.verdict, path.forward.reason), (Verdict::Dropped, Some(Reason::BadHeader)), "{key}");
        assert_eq!(must_agree(&mut router, &echo6(short)).forward.verdict, Verdict::Delivered);
    }
}

#[test]
fn options_behind_a_fragment_header_that_is_taken_off_are_not_read() {
    let Some(mut router) = router() else { return };
    let list: &'static [Extension] = &[(44, &[0, 0, 0, 0, 0, 0, 7]), (0, &[0, 5, 2, 0, 0, 1, 0])];
    let tracking = "table ip6 t {\n chain c {\n  type filter hook input priority 0; ct state new counter\n }\n}\n";
    let rules = Rules { nft: tracking.to_owned(), ..Rules::default() };
    let path = answered_with(&mut router, &rules, &echo6(list)).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!((path.forward.verdict, path.forward.reason), (Verdict::Rejected, Some(Reason::ProtocolUnreachable)));
    // Past the router the fragment header is put back nowhere, and the next one reads them.
    let past = Crafted { destination: "2001:db8:2::7".parse().expect("an address"), ..echo6(list) };
    let path = answered_with(&mut router, &rules, &past).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(path.forward.verdict, Verdict::Left);
}

/// Port 0 is a port to rules, to masquerading and to connections.
#[test]
fn packets_pass_from_and_to_port_0() {
    let Some(mut router) = router() else { return };
    let rules = |rule: &str| Rules { v4: BTreeMap::from([("filter", vec![rule.to_owned()])]), ..Rules::default() };
    let masquerade = Rules {
        v4: BTreeMap::from([("nat", vec!["-A POSTROUTING -o eth1 -j MASQUERADE".to_owned()])]),
        ..Rules::default()
    };
    for (payload, word) in [
        (Payload::Udp { source: 0, destination: 80 }, "udp --sport 0"),
        (Payload::Udp { source: 20_000, destination: 0 }, "udp --dport 0"),
        (Payload::Tcp { source: 0, destination: 80, flags: 2 }, "tcp --sport 0"),
        (Payload::Tcp { source: 20_000, destination: 0, flags: 2 }, "tcp --dport 0"),
    ] {
        let packet = Crafted { payload, ..Crafted::datagram() };
        for (rules, is_dropped) in [
            (rules(&format!("-A FORWARD -p {word} -j DROP")), true),
            (rules(&format!("-A FORWARD -p {} ! {} -j DROP", &word[..3], &word[4..])), false),
            (masquerade.clone(), false),
        ] {
            router.load(&rules).expect("rules that are taken");
            let (answer, difference) = through(&mut router, &packet).expect("an answer");
            assert_eq!(difference, None, "{rules:?}");
            let dropped = answer.paths.iter().map(|path| path.forward.verdict == Verdict::Dropped);
            assert!(dropped.clone().count() > 0 && dropped.clone().all(|it| it == is_dropped), "{word}: {rules:?}");
        }
    }
}
