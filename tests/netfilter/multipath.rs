//! Which packets take the same way of a multipath route.

use super::*;

const WAYS: &str = "\
unicast default table main proto static scope global
\tnexthop via 192.0.2.99 dev eth0 weight 1
\tnexthop via 198.51.100.7 dev eth1 weight 1
";
const WAYS6: &str = "\
unicast default table main proto static metric 1024 pref medium
\tnexthop via 2001:db8:1::99 dev eth0 weight 1
\tnexthop via 2001:db8:2::7 dev eth1 weight 1
";

/// How many ways there are for a packet whose TTL ends here and for the error about it, both by the default route.
fn ways(source: &str, destination: &str, policy: u8) -> usize {
    let sysctl = format!(
        "{SYSCTL}net.ipv4.fib_multipath_hash_policy = {policy}\nnet.ipv6.fib_multipath_hash_policy = {policy}\n"
    );
    let (routes, routes6) = (format!("{WAYS}{ROUTE}"), format!("{WAYS6}{ROUTE6}"));
    let files = [("route.txt", &*routes), ("route6.txt", &*routes6), ("sysctl", &*sysctl)];
    let mut packet = packet(source, destination, udp(53));
    packet.ip.ttl = 1;
    let answer = host(&files).with(packet).answer();
    assert!(answer.paths.iter().all(|path| path.forward.reason == Some(Reason::TtlExceeded)));
    answer.paths.len()
}

#[test]
fn an_error_takes_the_way_of_the_packet_that_it_is_about() {
    for policy in 0..=3 {
        assert_eq!(ways("203.0.113.5", "203.0.113.9", policy), 2, "{policy}");
        assert_eq!(ways("2001:db8:9::5", "2001:db8:9::9", policy), 2, "{policy}");
    }
}

#[test]
fn an_answer_takes_a_way_of_its_own() {
    let routes = format!("{WAYS}{ROUTE}");
    let host = host(&[("route.txt", &*routes)]).with(packet("203.0.113.5", US, ping()));
    assert_eq!(host.answer().paths.len(), 2);
}
