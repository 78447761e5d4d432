//! A row that could not be read is like a missing one: it may be anything that what is left of it allows. Where it may
//! have decided, the answer is undetermined and names it; where it can't have, the answer stands.

use flowtrace::engine::explain;
use flowtrace::load::load;
use flowtrace::net::Transport;
use flowtrace::trace::{Decision, Reason, Trace, Verdict};

use super::ask;
use super::bundled::{Files, Form};

const N1: &str = "nodes/n1/host/";
const N2: &str = "nodes/n2/host/";
const POD1: &str = "nodes/n1/pods/default_pod1/";

fn vxlan() -> Files {
    Files::bundled("vxlan")
}

/// The packet's way from `default/pod1` to an address, and the words of its end.
fn walk(files: &Files, destination: &str) -> (Trace, String) {
    let snapshot = load(&files.write(Form::Tar).path).unwrap();
    let place = snapshot.namespaces.iter().position(|netns| netns.dir == "nodes/n1/pods/default_pod1").unwrap();
    let netns = flowtrace::net::NetnsId(u32::try_from(place).unwrap());
    let mut question = ask::question(netns, destination.parse().unwrap());
    question.packet.transport = Transport::Tcp { source: Some(40000), destination: Some(8080), flags: 2 };
    let forward = explain(&snapshot, &question).paths.remove(0).forward;
    let Some(Decision::End { detail, .. }) = forward.steps.last().map(|step| &step.decision) else { panic!("no end") };
    let words = detail.clone().unwrap_or_default();
    (forward, words)
}

/// A file whose lines with some words in them read otherwise.
fn garbled(files: Files, path: &str, from: &str, to: &str) -> Files {
    files.edit(path, |text| {
        assert!(text.contains(from), "{path} holds no {from:?}");
        text.replace(from, to)
    })
}

fn line_of(files: &Files, path: &str, words: &str) -> String {
    let line = files.text(path).lines().position(|line| line.contains(words)).unwrap() + 1;
    format!("{path}:{line}")
}

/// Checks that the way to an address is undetermined, says so of a line, and what it would have been.
fn check_undetermined(files: &Files, destination: &str, line: &str, otherwise: &str) {
    let (trace, words) = walk(files, destination);
    assert_eq!((trace.verdict, trace.reason), (Verdict::Undetermined, Some(Reason::MissingTable)), "{words}");
    assert!(words.contains(&format!("{line} could not be read")), "{words} does not name {line}");
    assert!(words.starts_with(&format!("it would have been {otherwise}")), "{words}");
    assert!(trace.steps.len() > 2, "the path so far is there");
}

fn check_certain(files: &Files, destination: &str, verdict: Verdict) {
    let (trace, words) = walk(files, destination);
    assert_eq!(trace.verdict, verdict, "{words}");
}

#[test]
fn a_default_route_may_not_stand_in_for_a_row_that_could_not_be_read() {
    let path = format!("{N1}route.txt");
    let files = garbled(vxlan(), &path, "10.244.2.0/24 via", "10.244.2.0/2X4 via");
    let line = line_of(&files, &path, "10.244.2.0/2X4");
    check_undetermined(&files, "10.244.2.2", &line, "lost");
    check_undetermined(&files, "203.0.113.9", &line, "left");
}

#[test]
fn no_route_is_not_certain_beside_a_row_that_could_not_be_read() {
    let path = format!("{POD1}route.txt");
    let files = garbled(vxlan(), &path, "default via", "dXfault via");
    let line = line_of(&files, &path, "dXfault");
    check_undetermined(&files, "203.0.113.9", &line, "rejected (no-route)");
}

#[test]
fn a_row_whose_prefix_can_be_read_is_only_about_that_prefix() {
    let path = format!("{N1}route.txt");
    let files = garbled(vxlan(), &path, "unicast 10.244.2.0/24 via", "unicXst 10.244.2.0/24 via");
    check_certain(&files, "203.0.113.9", Verdict::Left);
    check_undetermined(&files, "10.244.2.2", &line_of(&files, &path, "unicXst"), "lost");
}

#[test]
fn nothing_is_more_specific_than_a_whole_address() {
    let path = format!("{N1}route.txt");
    let files = vxlan().edit(&path, |text| {
        format!("{text}203.0.113.9 via 192.0.2.1 dev eth0 table main proto static scope global\ngarbage of some kind\n")
    });
    check_certain(&files, "203.0.113.9", Verdict::Left);
    check_undetermined(&files, "203.0.113.10", &line_of(&files, &path, "garbage"), "left");
    check_certain(&files, "192.0.2.11", Verdict::Delivered);
}

#[test]
fn no_route_is_not_certain_without_the_policy_rules() {
    let route = format!("{N1}route.txt");
    let files = garbled(vxlan(), &route, "unicast default via", "#");
    check_certain(&files, "203.0.113.9", Verdict::Rejected);
    let (trace, words) = walk(&files.without(&format!("{N1}rule.txt")), "203.0.113.9");
    assert_eq!(trace.verdict, Verdict::Undetermined, "{words}");
    assert!(words.contains("rule.txt is missing"), "{words}");
}

#[test]
fn a_policy_rule_that_could_not_be_read_may_come_before_those_below_it() {
    let path = format!("{N1}rule.txt");
    let files = vxlan().edit(&path, |text| text.replacen('\n', "\nsome rXle of somebody\n", 1));
    check_undetermined(&files, "10.244.2.2", &line_of(&files, &path, "rXle"), "delivered");
    // The table `local` was asked before.
    check_certain(&files, "192.0.2.11", Verdict::Delivered);
    let half = vxlan().edit(&path, |text| text.replacen('\n', "\n100:\tfrom all lXokup 100\n", 1));
    check_undetermined(&half, "10.244.2.2", &line_of(&half, &path, "lXokup"), "delivered");
    let last = vxlan().edit(&path, |text| format!("{text}some rXle of somebody\n"));
    check_certain(&last, "10.244.2.2", Verdict::Delivered);
}

#[test]
fn an_fdb_miss_is_not_certain_beside_a_row_that_could_not_be_read() {
    let path = format!("{N1}fdb.txt");
    let row = vxlan().text(&path).lines().find(|line| line.contains("dst 192.0.2.12")).unwrap().to_owned();
    let files = garbled(vxlan(), &path, &row, &row.replace("5a:", "5aX:"));
    let line = line_of(&files, &path, "5aX:");
    check_undetermined(&files, "10.244.2.2", &line, "dropped (fdb-miss)");
    // A row about another address is none about this one.
    let other = vxlan().edit(&path, |text| format!("{text}5a:00:00:00:99:99 dXv flannel.1 dst 192.0.2.13\n"));
    check_certain(&other, "10.244.2.2", Verdict::Delivered);
}

#[test]
fn a_neighbour_that_could_not_be_read_may_say_something_else() {
    let path = format!("{N1}neigh.txt");
    let row = vxlan().text(&path).lines().find(|line| line.contains("10.244.2.0")).unwrap().to_owned();
    let files = garbled(vxlan(), &path, &row, &row.replace("lladdr 5a:", "lladdr 5aX:"));
    let line = line_of(&files, &path, "5aX:");
    let (trace, words) = walk(&files, "10.244.2.2");
    assert_eq!(trace.verdict, Verdict::Undetermined, "{words}");
    assert!(words.contains(&line), "{words}");
}

#[test]
fn nobody_owns_an_address_is_not_certain_beside_a_row_that_could_not_be_read() {
    let path = "nodes/n2/pods/default_pod2/addr.txt".to_owned();
    // A local route would say it too.
    let routes = "nodes/n2/pods/default_pod2/route.txt";
    let without_route = || garbled(vxlan(), routes, "local 10.244.2.2 ", "local 10.244.2.250 ");
    let files = garbled(without_route(), &path, "inet 10.244.2.2/24", "inXt 10.244.2.2/24");
    let line = line_of(&files, &path, "inXt");
    let (trace, words) = walk(&files, "10.244.2.2");
    assert_eq!(trace.verdict, Verdict::Undetermined, "{words}");
    assert!(words.contains(&format!("{line} could not be read")), "{words}");
    check_certain(&files, "10.244.2.99", Verdict::Undetermined);
    // What is left of the row says that it is about another address.
    let other = garbled(without_route(), &path, "inet 10.244.2.2/24", "inet 10.244.2.2/2X4");
    check_certain(&other, "10.244.2.99", Verdict::Rejected);
    let (trace, _) = walk(&other, "10.244.2.2");
    assert_eq!(trace.verdict, Verdict::Undetermined);
}

#[test]
fn a_device_that_could_not_be_read_may_be_the_one_that_is_wanted() {
    let path = format!("{N2}link.txt");
    for (from, to) in [(" flannel.1: <", " flannel.1X <"), (" vxlan id 1 ", " vxlXn id 1 "), (" eth0@", " eth0X ")] {
        let files = garbled(vxlan(), &path, from, to);
        let (trace, words) = walk(&files, "10.244.2.2");
        assert_eq!(trace.verdict, Verdict::Undetermined, "{from:?} to {to:?}: {words}");
    }
    let mtu = garbled(vxlan(), &path, "mtu 1450", "mtu 14X50");
    assert_eq!(walk(&mtu, "10.244.2.2").0.verdict, Verdict::Undetermined);
}

#[test]
fn details_below_a_device_that_could_not_be_read_are_not_those_of_the_one_above() {
    let path = format!("{N1}link.txt");
    let files = vxlan().edit(&path, |text| {
        let at = text.find(": cni0: <").unwrap();
        format!("{}X cni0 {}", &text[..at - 1], &text[at + 9..])
    });
    let snapshot = load(&files.write(Form::Tar).path).unwrap();
    let host = snapshot.namespaces.iter().find(|netns| netns.dir == "nodes/n1/host").unwrap();
    let bridges = host.links.iter().flatten().filter(|link| format!("{:?}", link.kind).starts_with("Bridge"));
    assert_eq!(bridges.count(), 0, "no other device has become the bridge");
    assert!(host.links.iter().flatten().any(|link| link.name == "eth0"));
}

#[test]
fn a_setting_that_could_not_be_read_is_not_taken_for_its_default() {
    let path = format!("{N1}sysctl");
    let row = vxlan().text(&path).lines().find(|line| line.contains("conf.all.rp_filter")).map(str::to_owned);
    let row = row.expect("the bundled snapshot has the setting");
    let all = vxlan().edit(&path, |text| {
        text.lines().filter(|line| !line.contains("rp_filter")).fold(String::new(), |all, line| all + line + "\n")
    });
    assert_eq!(walk(&all, "10.244.2.2").0.verdict, Verdict::Undetermined, "no tool leaves the setting out");
    let files = all.edit(&path, |text| format!("{text}{}\n", row.replace('=', "")));
    let (trace, words) = walk(&files, "10.244.2.2");
    assert_eq!(trace.verdict, Verdict::Undetermined, "{words}");
}

#[test]
fn a_file_of_nul_bytes_is_told_as_such_and_not_called_missing() {
    let path = format!("{N1}route.txt");
    let files = vxlan().edit(&path, |text| text.replacen("10.244.2.0/24 via", "10.244.2.0/24 \0\0", 1));
    let line = files.text(&path).lines().position(|line| line.contains('\0')).unwrap() + 1;
    for form in [Form::Tar, Form::Folder] {
        let snapshot = load(&files.write(form).path).unwrap();
        let words = format!("{path} is not text (line {line} holds NUL bytes), and was not read");
        assert!(snapshot.gaps.iter().any(|gap| gap.what == words), "{:?}", snapshot.gaps);
    }
    let (trace, words) = walk(&files, "10.244.2.2");
    assert_eq!((trace.verdict, trace.reason), (Verdict::Undetermined, Some(Reason::MissingTable)));
    assert!(words.contains(&format!("line {line} holds NUL bytes")) && !words.contains("missing"), "{words}");
}

#[test]
fn an_encapsulation_that_is_not_modelled_is_told_as_such() {
    let path = format!("{N1}route.txt");
    let files = garbled(vxlan(), &path, "10.244.2.0/24 via", "10.244.2.0/24 encap mpls 100 via");
    let (trace, words) = walk(&files, "10.244.2.2");
    assert_eq!((trace.verdict, trace.reason), (Verdict::Undetermined, Some(Reason::NotModelled)), "{words}");
    assert!(words.contains("encap mpls 100") || words.contains("mpls 100"), "{words}");
    let odd = garbled(vxlan(), &path, "10.244.2.0/24 via", "10.244.2.0/24 uid 7 via");
    let (trace, words) = walk(&odd, "10.244.2.2");
    assert_eq!((trace.verdict, trace.reason), (Verdict::Undetermined, Some(Reason::NotModelled)), "{words}");
}

/// The bundled snapshot with the node n1 alone.
fn one_node() -> Files {
    Files(vxlan().0.into_iter().filter(|(path, _)| path.starts_with("nodes/n1/")).collect())
}

#[test]
fn a_peer_that_one_node_alone_names_may_be_missing() {
    let (trace, words) = walk(&one_node(), "10.244.2.2");
    assert_eq!((trace.verdict, trace.reason), (Verdict::Undetermined, Some(Reason::MissingTable)), "{words}");
    assert!(words.starts_with("192.0.2.12, where the tunnel leads, is no node of the snapshot"), "{words}");
    let known = one_node().edit(&format!("{N1}neigh.txt"), |text| {
        format!("{text}192.0.2.12 dev eth0 lladdr 52:54:00:00:00:12 REACHABLE\n")
    });
    assert_eq!(walk(&known, "10.244.2.2").0.verdict, Verdict::Undetermined);
    let failed = one_node().edit(&format!("{N1}neigh.txt"), |text| format!("{text}192.0.2.12 dev eth0 FAILED\n"));
    check_certain(&failed, "10.244.2.2", Verdict::Rejected);
}

#[test]
fn a_snapshot_that_names_its_nodes_proves_that_nobody_is_the_peer() {
    let astray = |files: Files| garbled(files, &format!("{N1}fdb.txt"), "dst 192.0.2.12", "dst 192.0.2.99");
    check_certain(&astray(vxlan()), "10.244.2.2", Verdict::Rejected);
    let nodes = vxlan().text("cluster/nodes.json").to_owned();
    let listed = astray(one_node()).with("cluster/nodes.json", nodes);
    check_certain(&listed, "10.244.2.2", Verdict::Rejected);
    // Another address of the link fails as in the kernel, whoever else is missing.
    check_certain(&one_node(), "192.0.2.99", Verdict::Rejected);
}

#[test]
fn a_gateway_that_one_node_alone_names_may_be_a_missing_node() {
    let host_gw = |files: Files| {
        let ours = |path: &String| path.starts_with("nodes/n1/");
        Files(files.0.into_iter().filter(|(path, _)| ours(path)).collect())
    };
    let (trace, words) = walk(&host_gw(Files::bundled("host-gw")), "10.244.2.2");
    assert_eq!(trace.verdict, Verdict::Undetermined, "{words}");
    assert!(words.starts_with("192.0.2.12, the gateway, is no node of the snapshot"), "{words}");
    // By the default route nobody would bring it anywhere.
    let lost = garbled(host_gw(Files::bundled("host-gw")), &format!("{N1}route.txt"), "unicast 10.244.2.0/24", "# ");
    check_certain(&lost, "10.244.2.2", Verdict::Lost);
}

#[test]
fn nft_rules_that_nobody_collected_are_told_and_decide_nothing() {
    let told = |files: &Files| {
        let gaps = load(&files.write(Form::Tar).path).unwrap().gaps;
        gaps.iter().filter(|gap| gap.what.contains("nodes/n1/host/nft.txt is missing")).count()
    };
    let files = vxlan().without(&format!("{N1}nft.txt"));
    assert_eq!((told(&vxlan()), told(&files)), (0, 1));
    check_certain(&files, "10.244.2.2", Verdict::Delivered);
    let legacy = files.edit(&format!("{N1}iptables-save"), |text| text.replace(" (nf_tables)", ""));
    assert_eq!(told(&legacy), 0, "iptables-legacy has no part in nft");
}

#[test]
fn what_is_no_file_is_a_gap_wherever_it_stands() {
    let there = vxlan().write(Form::Folder);
    let pipe = |path: &str| {
        let path = there.path.join(path);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    };
    std::fs::remove_file(there.path.join("nodes/n1/host/ipset")).unwrap();
    std::fs::create_dir_all(there.path.join("nodes/n9")).unwrap();
    for path in ["nodes/n1/host/ipset", "nodes/n1/host/odd", "nodes/n8", "nodes/n9/host", "nodes/n1/pods/default_pipe"]
    {
        pipe(path);
    }
    let _socket = std::os::unix::net::UnixListener::bind(there.path.join("nodes/n1/host/socket")).unwrap();
    std::os::unix::fs::symlink("/etc/hosts", there.path.join("nodes/n1/host/tuntap.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", there.path.join("nodes/n1/host/route.json")).unwrap();
    let gaps: Vec<String> = load(&there.path).unwrap().gaps.into_iter().map(|gap| gap.what).collect();
    for path in [
        "nodes/n1/host/ipset",
        "nodes/n1/host/odd",
        "nodes/n1/host/socket",
        "nodes/n1/host/tuntap.json",
        "nodes/n1/host/route.json",
        "nodes/n8",
        "nodes/n9/host",
        "nodes/n1/pods/default_pipe",
    ] {
        let about = gaps.iter().filter(|what| what.starts_with(&format!("{path} "))).count();
        assert_eq!(about, 1, "{path}: {gaps:?}");
    }
}

#[test]
fn a_connection_that_cannot_be_read_may_be_the_packets() {
    let path = format!("{N1}conntrack");
    let row = |reply: &str| {
        format!("tcp 6 86400 ESTABLISHED src=10.244.1.2 dst=10.244.2.2 sport=4o000 dport=8080 {reply} mark=0 use=1\n")
    };
    let readable = "src=10.244.2.2 dst=10.244.1.2 sport=8080 dport=40000";
    let files = vxlan().with(&path, row(readable));
    check_undetermined(&files, "10.244.2.2", &format!("{path}:1"), "delivered");
    check_certain(&files, "10.244.2.4", Verdict::Delivered);
    let cut = vxlan().with(&path, row(readable).split(" src=10.244.2.2").next().unwrap());
    check_undetermined(&cut, "10.244.2.4", &format!("{path}:1"), "delivered");
}

#[test]
fn a_set_of_which_a_row_cannot_be_read_may_hold_anything() {
    let rule = "-A FORWARD -m set --match-set blocked dst -j DROP\n-A FORWARD -m comment";
    let files = garbled(vxlan(), &format!("{N1}iptables-save"), "-A FORWARD -m comment", rule);
    let with = |text: &str| files.clone().with(&format!("{N1}ipset"), text);
    let ways = |files: &Files| {
        let snapshot = load(&files.write(Form::Tar).path).unwrap();
        let place = snapshot.namespaces.iter().position(|netns| netns.dir == "nodes/n1/pods/default_pod1").unwrap();
        let netns = flowtrace::net::NetnsId(u32::try_from(place).unwrap());
        explain(&snapshot, &ask::question(netns, "10.244.2.2".parse().unwrap())).paths.len()
    };
    assert_eq!(ways(&with("create blocked hash:ip family inet\nadd blocked 10.9.9.9\n")), 1);
    assert!(ways(&with("create blocked hash:ip family inet\nadd blocked 10.9.9.x\n")) > 1);
    assert_eq!(ways(&with("create blocked hash:ip family inet\ncreate o hash:ip family inet\nadd o 10.9.x\n")), 1);
    assert!(ways(&with("create blocked hash:ip family inet\nadd blocked 10.24")) > 1, "cut off");
}

#[test]
fn rules_that_may_stop_arp_leave_the_answer_open() {
    let with = |family: &str, hook: &str, rule: &str| {
        let chain = format!("chain c {{\n\t\ttype filter hook {hook} priority 0; policy accept;\n\t\t{rule}\n\t}}");
        vxlan().edit(&format!("{N1}nft.txt"), |text| format!("{text}table {family} t {{\n\t{chain}\n}}\n"))
    };
    for (family, hook, rule) in
        [("arp", "input", "arp operation request drop"), ("bridge", "output", "ether type arp drop")]
    {
        let (trace, words) = walk(&with(family, hook, rule), "10.244.2.2");
        assert_eq!(trace.verdict, Verdict::Undetermined, "{family}: {words}");
        assert!(words.contains("let ARP pass is not modelled"), "{family}: {words}");
    }
    check_certain(&with("bridge", "output", "ip saddr 203.0.113.9 drop"), "10.244.2.2", Verdict::Delivered);
    check_certain(&with("bridge", "output", "ether type arp counter accept"), "10.244.2.2", Verdict::Delivered);
}
