//! What stands between the IP header and what it carries: options of IPv4, extension headers of IPv6.

use flowtrace::net::{ExtHeader, ExtHeaders, IpOptions, Protocol};

use super::statements::chain;
use super::*;

/// The host's SYN with these options.
fn with_options(host: Host, bytes: &[u8]) -> Host {
    let mut packet = host.packet.clone();
    packet.options = IpOptions::known(bytes);
    packet.length += packet.options.length();
    host.with(packet)
}

/// A SYN of IPv6 with these headers: each a kind, and what stands behind its first byte.
fn with_headers(files: &[(&str, &str)], list: &[(u8, &[u8])]) -> Host {
    let mut syn = packet("2001:db8:1::99", "2001:db8:1::10", tcp(80));
    let header = |(kind, behind): &(u8, &[u8])| ExtHeader::new(Protocol(*kind), behind).unwrap();
    syn.extensions = ExtHeaders::new(list.iter().map(header).collect());
    syn.length = 60 + syn.extensions.length();
    host(files).with(syn)
}

const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
const AUTHENTICATED: &[u8] = &[4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn nft_drops(hook: &str, condition: &str, bytes: &[u8]) -> bool {
    with_options(host(&[("nft.txt", &chain("ip", hook, &format!("{condition} drop")))]), bytes).is_dropped()
}

#[test]
fn rules_see_an_option_as_the_stack_has_left_it() {
    let record = &[7, 7, 4, 0, 0, 0, 0];
    assert!(nft_drops("prerouting", "ip option rr ptr 4", record));
    assert!(nft_drops("input", "ip option rr ptr 8", record));
    assert!(!nft_drops("input", "ip option rr ptr 4", record));
    assert!(nft_drops("prerouting", "ip option rr addr 0.0.0.0", record));
    assert!(nft_drops("input", "ip option rr length 7", record));
    let written = chain("ip", "input", "ip option rr addr 192.0.2.10 drop");
    assert!(with_options(host(&[("nft.txt", &written)]), record).branches(), "the stack writes what no snapshot tells");
}

#[test]
fn options_are_found_as_a_socket_may_set_them() {
    for (condition, bytes, drops) in [
        ("ip option ra exists", &[148, 4, 0, 0][..], true),
        ("ip option ra exists", &[148, 4, 0, 1], false),
        ("ip option ra value 0", &[1, 1, 1, 1, 148, 4, 0, 0], true),
        ("ip option ra missing", &[1, 1, 1, 1], true),
        ("ip hdrlength 6", &[1, 1, 1, 1], true),
        ("@nh,160,8 148", &[148, 4, 0, 0], true),
        ("tcp dport 80", &[148, 4, 0, 0], true),
        ("meta length 64", &[148, 4, 0, 0], true),
    ] {
        assert_eq!(nft_drops("prerouting", condition, bytes), drops, "{condition} {bytes:?}");
    }
    // Whether an option that needs a privilege is taken depends on the process that runs.
    let unknown = chain("ip", "prerouting", "ip option ra exists drop");
    assert!(with_options(host(&[("nft.txt", &unknown)]), &[148, 4, 0, 0, 130, 4, 0, 0]).branches());
}

#[test]
fn a_transport_header_stands_behind_the_options() {
    let options: &[u8] = &[148, 4, 0, 0];
    assert!(with_options(drop_if("-m u32 --u32 \"0>>22&0x3c@0&0xffff=80\""), options).is_dropped());
    assert!(with_options(drop_if("-m u32 --u32 \"20=0x94040000\""), options).is_dropped());
    assert!(with_options(drop_if("-m length --length 64"), options).is_dropped());
}

#[test]
fn what_alerts_routers_may_be_for_a_program() {
    let answer = with_options(host(&[]), &[148, 4, 0, 0]).forwarded().answer();
    assert_eq!(answer.paths.len(), 1);
    assert!(answer.gaps.iter().any(|gap| gap.what.contains("alerts routers")), "{:?}", answer.gaps);
}

#[test]
fn a_source_route_is_followed_by_a_setting_that_must_be_known() {
    let route: &[u8] = &[131, 7, 4, 198, 51, 100, 7];
    let with = |more: &str| with_options(host(&[("sysctl", &format!("{SYSCTL}{more}"))]), route).answer();
    let answer = with("");
    assert_eq!(answer.paths[0].forward.verdict, Verdict::Undetermined);
    assert!(answer.gaps.iter().any(|gap| gap.what.contains("accept_source_route")), "{:?}", answer.gaps);
    let off = with("net.ipv4.conf.all.accept_source_route = 0\n");
    assert_eq!(off.paths[0].forward.reason, Some(Reason::SourceRoute));
    assert!(!off.paths[0].forward.steps.last().unwrap().because.is_empty());
    let on = with("net.ipv4.conf.all.accept_source_route = 1\nnet.ipv4.conf.eth0.accept_source_route = 1\n");
    let path = &on.paths[0].forward;
    assert_eq!(path.verdict, Verdict::Left, "{:?}", path.steps.last());
    assert!(path.steps.iter().any(|step| matches!(step.decision, Decision::SourceRoute { .. })));
    assert_eq!(path.steps.last().unwrap().packet.ip.destination, IpAddr::from([198, 51, 100, 7]));
}

#[test]
fn a_rule_that_answers_sums_up_options_that_the_stack_has_written() {
    let reject = "-A INPUT -p tcp -j REJECT --reject-with tcp-reset";
    assert_eq!(with_options(filter(reject), &[148, 4, 0, 0]).path().forward.verdict, Verdict::Rejected);
    let answer = with_options(filter(reject), &[7, 7, 4, 0, 0, 0, 0]).answer();
    let verdicts: Vec<Verdict> = answer.paths.iter().map(|path| path.forward.verdict).collect();
    assert_eq!(verdicts, [Verdict::Rejected, Verdict::Dropped]);
}

fn drops6(options: &str, list: &[(u8, &[u8])]) -> bool {
    let saved =
        table("filter", ":INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT", &format!("-A INPUT {options} -j DROP"));
    with_headers(&[("ip6tables-save", &saved)], list).is_dropped()
}

#[test]
fn extension_headers_are_matched_by_what_they_hold() {
    let used_up: (u8, &[u8]) = (43, &[0, 0, 0, 0, 0, 0, 0]);
    let fragment: (u8, &[u8]) = (44, &[0, 0, 0, 0, 0, 0, 9]);
    let alert: (u8, &[u8]) = (0, &[0, 5, 2, 0, 0, 1, 0]);
    for (options, list, drops) in [
        ("-m hbh", &[alert][..], true),
        ("-m hbh --hbh-len 8 --hbh-opts 5:2,1:0", &[alert], true),
        ("-m hbh --hbh-opts 1", &[alert], false),
        ("-m hbh ! --hbh-len 8", &[alert], false),
        ("-m dst", &[alert], false),
        ("-m dst --dst-opts 1:4", &[(60, PADDING)], true),
        ("-m rt --rt-type 0 --rt-segsleft 0", &[used_up], true),
        ("-m rt ! --rt-segsleft 0", &[used_up], false),
        ("-m frag --fragid 9 --fragfirst --fraglast", &[fragment], true),
        ("-m frag --fragid 1:8", &[fragment], false),
        ("-m frag --fragmore", &[fragment], false),
        ("-m ipv6header --header hop-by-hop,protocol", &[alert], true),
        ("-m ipv6header --header hop-by-hop", &[alert], false),
        ("-m ipv6header --header hop-by-hop --soft", &[alert, (60, PADDING)], true),
        ("-m ipv6header ! --header hop-by-hop,ipv6-opts --soft", &[alert], false),
        ("-p tcp -m tcp --dport 80", &[alert, (60, PADDING)], true),
        ("-m u32 --u32 \"40>>24=6&&4&0xff00=0\"", &[alert], true),
        ("-m length --length 68", &[alert], true),
    ] {
        assert_eq!(drops6(options, list), drops, "{options} {list:?}");
    }
}

#[test]
fn nf_tables_takes_an_authentication_header_for_the_transport() {
    let saved = table("filter", ":INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT", "-A INPUT -p tcp -j DROP");
    let legacy = saved.replace(" (nf_tables)", "");
    let list: &[(u8, &[u8])] = &[(51, AUTHENTICATED)];
    let verdict = |files: &[(&str, &str)]| with_headers(files, list).path().forward.verdict;
    assert_eq!(verdict(&[("ip6tables-legacy-save", &legacy)]), Verdict::Dropped);
    // What the receiver makes of it is not known; no rule has dropped it.
    assert_eq!(verdict(&[("ip6tables-save", &saved)]), Verdict::Undetermined);
    for (condition, drops) in [("meta l4proto ah", true), ("tcp dport 80", false), ("th dport 0", true)] {
        let rules = chain("ip6", "input", &format!("{condition} drop"));
        let dropped = verdict(&[("nft.txt", &rules)]) == Verdict::Dropped;
        assert_eq!(dropped, drops, "{condition}");
    }
    assert_eq!(verdict(&[("ip6tables-legacy-save", &legacy.replace("-p tcp", "-m ah --ahspi 7"))]), Verdict::Dropped);
}

#[test]
fn extension_headers_are_fields_of_nft() {
    let alert: (u8, &[u8]) = (0, &[0, 5, 2, 0, 0, 1, 0]);
    for (condition, drops) in [
        ("exthdr hbh exists", true),
        ("exthdr rt missing", true),
        ("exthdr dst exists", false),
        ("hbh nexthdr tcp", true),
        ("hbh hdrlength 0", true),
        ("dst nexthdr tcp", false),
        ("ip6 nexthdr 0", true),
        ("meta l4proto tcp", true),
        ("@nh,336,8 5", true),
        ("@th,16,16 80", true),
        ("ip6 length 28", true),
    ] {
        let rules = chain("ip6", "input", &format!("{condition} drop"));
        assert_eq!(with_headers(&[("nft.txt", &rules)], &[alert]).is_dropped(), drops, "{condition}");
    }
}

#[test]
fn connection_tracking_takes_a_fragment_header_off_that_splits_nothing() {
    let fragment: &[(u8, &[u8])] = &[(44, &[0, 0, 0, 0, 0, 0, 9])];
    let rule = |more: &str| format!("{more}exthdr frag exists drop");
    let plain = chain("ip6", "input", &rule(""));
    assert!(with_headers(&[("nft.txt", &plain)], fragment).is_dropped());
    let tracked = chain("ip6", "input", &rule("ct state new counter packets 0 bytes 0\n"));
    assert!(!with_headers(&[("nft.txt", &tracked)], fragment).is_dropped());
}
