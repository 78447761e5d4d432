//! Bundles that other tools make: sosreport, log collectors, Retina, KubeSkoop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use flowtrace::load::load_archive;
use flowtrace::net::{Family, IfName, NetnsName, NodeName};
use flowtrace::snapshot::{LinkKind, Snapshot};

/// A tar archive of text files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn load(files: &[(&str, &str)]) -> Snapshot {
    load_archive(archive(files).as_slice(), std::path::Path::new("bundle.tar")).unwrap()
}

fn host<'s>(snapshot: &'s Snapshot, node: &str) -> &'s flowtrace::snapshot::Netns {
    let id = snapshot.find_netns(&NodeName::new(node), &NetnsName::Host).unwrap();
    snapshot.netns(id)
}

fn says(snapshot: &Snapshot, words: &str) -> bool {
    snapshot.gaps.iter().any(|gap| gap.what.contains(words))
}

const LINKS: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0 addrgenmode eui64
    RX: bytes  packets  errors  dropped overrun mcast   
    2640       24       0       0       0       0       
    TX: bytes  packets  errors  dropped carrier collsns 
    2640       24       0       0       0       0       
4: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default
    link/ether 5a:00:00:00:04:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
    vxlan id 1 local 192.0.2.11 dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 addrgenmode eui64
    RX: bytes  packets  errors  dropped overrun mcast   
    0          0        0       0       0       0       
    TX: bytes  packets  errors  dropped carrier collsns 
    0          0        0       0       0       0       
";
const ROUTES: &str = "\
default via 192.0.2.1 dev eth0 
10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink 
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 
";

#[test]
fn what_is_no_text_or_was_cut_off_is_unknown_and_told() {
    let net = "sosreport-web1-2026/sos_commands/networking";
    let routes = format!("{net}/ip_route_show_table_all");
    let whole = archive(&[
        (routes.as_str(), ROUTES),
        ("sosreport-web1-2026/sos_commands/kernel/sysctl_-a", "net.ipv4.ip_forward = 1\nnet.\0\n"),
    ]);
    let end = whole.len() - 1024;
    let snapshot = load_archive(&whole[..end], std::path::Path::new("bundle.tar")).unwrap();
    assert!(snapshot.namespaces[0].sysctls.is_none(), "no settings are not an empty list of them");
    assert!(says(&snapshot, "sysctl_-a is not text (line 2 holds NUL bytes)"), "{:?}", snapshot.gaps);
    assert!(says(&snapshot, "the archive has no end mark"), "{:?}", snapshot.gaps);
}

#[test]
fn a_sosreport_without_the_hosts_name_has_it_from_uname() {
    let snapshot = load(&[
        ("case/sos_commands/networking/ip_route_show_table_all", ROUTES),
        ("case/sos_commands/kernel/uname_-a", "Linux web7 6.1.0-28-amd64 #1 SMP Debian x86_64 GNU/Linux\n"),
    ]);
    assert!(host(&snapshot, "web7").routes.is_some());
}

#[test]
fn a_sosreport_is_a_node_and_its_namespaces() {
    let net = "sosreport-web1-2026/sos_commands/networking";
    let inside = format!("{net}/namespaces/cni-1/ip_netns_exec_cni-1_ip_route_show_table_all");
    let snapshot = load(&[
        (&format!("{net}/ip_-s_-d_link"), LINKS),
        (&format!("{net}/ip_route_show_table_all"), ROUTES),
        (&format!("{net}/ip_-4_rule"), "0:\tfrom all lookup local \n32766:\tfrom all lookup main \n"),
        (
            &format!("{net}/ip_-s_-s_neigh_show"),
            "10.244.2.0 dev flannel.1 lladdr 5a:00:00:00:04:02 used 48/43/2 probes 1 PERMANENT\n",
        ),
        (
            &format!("{net}/bridge_-s_-s_-d_-t_fdb_show"),
            "5a:00:00:00:04:02 dev flannel.1 dst 192.0.2.12 used 0/0 self permanent\n",
        ),
        (&inside, "default via 10.244.1.1 dev eth0 \n"),
        ("sosreport-web1-2026/sos_commands/kernel/sysctl_-a", "kernel.x = 1\nnet.ipv4.ip_forward = 1\n"),
        ("sosreport-web1-2026/hostname", "web1.example\n"),
    ]);
    let host = host(&snapshot, "web1.example");
    let links = host.links.as_ref().unwrap();
    assert!(matches!(&links[1].kind, LinkKind::Vxlan(vxlan) if vxlan.port == 8472));
    assert_eq!(host.routes.as_ref().unwrap().rows().len(), 3);
    assert_eq!((host.neighs.as_ref().unwrap().len(), host.fdb.as_ref().unwrap().len()), (1, 1));
    assert_eq!(host.sysctls.as_ref().unwrap().len(), 1);
    // Evidence names the file that the person has.
    let route = host.routes.as_ref().unwrap().rows()[1].evidence;
    assert_eq!(snapshot.files.path(route), format!("{net}/ip_route_show_table_all"));
    assert_eq!(snapshot.namespaces.len(), 2);
    assert_eq!(snapshot.namespaces[1].dir, "nodes/web1.example/pods/netns_cni-1");
    assert!(says(
        &snapshot,
        "is a sosreport, taken for node web1.example: of what decides it lacks ip addr show, iptables-save"
    ));
    // What it lacks is unknown, not empty.
    assert!(host.netfilter.nft.is_none() && host.netfilter.rulesets(Family::Inet).count() == 0);
}

#[test]
fn several_bundles_of_rancher_are_several_nodes() {
    let files = |root: &str, name: &str| {
        [
            (format!("{root}/networking/iptablessave"), "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n".to_owned()),
            (format!("{root}/networking/iproute"), ROUTES.to_owned()),
            (format!("{root}/networking/ipv4_ip_forward"), "1\n".to_owned()),
            (format!("{root}/networking/bridge-nf-call-iptables"), "0\n".to_owned()),
            (format!("{root}/systeminfo/hostname"), format!("{name}\n")),
        ]
    };
    let all = [files("n1-2026", "n1"), files("n2-2026", "n2")].concat();
    let all: Vec<(&str, &str)> = all.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let snapshot = load(&all);
    assert_eq!(snapshot.nodes.len(), 2);
    let host = host(&snapshot, "n2");
    let value = |key: &str| host.sysctls.as_ref().unwrap().get(key).map(|sysctl| sysctl.value.clone());
    assert_eq!(value("net.ipv4.ip_forward").as_deref(), Some("1"));
    assert_eq!(value("net.bridge.bridge-nf-call-iptables").as_deref(), Some("0"));
    assert!(host.netfilter.rulesets(Family::Inet).count() == 1 && host.links.is_none());
    assert!(says(&snapshot, "n1-2026 is a Rancher log collector's bundle"));
}

#[test]
fn a_retina_capture_has_its_commands_in_two_files_and_its_settings_in_many() {
    let resources = r#"Summary:

/sbin/ip -d -j addr show(IP address configuration)
/sbin/ip rule list(Policy routing list)

Execute:

/sbin/ip -d -j addr show

[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host","label":"lo"}]}]
/sbin/ip -d -j neighbor show

[]
/sbin/ip rule list

0:	from all lookup local
/sbin/ip route show table all

default via 192.0.2.1 dev eth0
"#;
    let rules = "Summary:\n\n/usr/sbin/iptables-nft-save(IPtables rules)\n\nExecute:\n\n/usr/sbin/iptables-nft-save\n\n\
        # Generated by iptables-save v1.8.7 (nf_tables)\n*filter\n:INPUT DROP [0:0]\nCOMMIT\n\
        /usr/sbin/iptables-nft -vnx -L\n\nChain INPUT (policy DROP)\n";
    let snapshot = load(&[
        ("ip-resources.txt", resources),
        ("iptables-rules.txt", rules),
        ("proc-sys-net/ipv4/ip_forward", "1\n"),
        ("proc-sys-net/ipv4/conf/flannel.1/rp_filter", "2\n"),
        ("proc-sys-net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ]);
    let host = host(&snapshot, "node");
    assert_eq!(host.links.as_ref().unwrap()[0].name, IfName::new("lo"));
    assert_eq!(host.addrs.as_ref().unwrap().len(), 1);
    assert_eq!(host.neighs.as_deref(), Some(&[][..]));
    let rule = host.rules.as_ref().unwrap()[0].evidence;
    assert_eq!((snapshot.files.path(rule), rule.line), ("ip-resources.txt", 16));
    let sysctls = host.sysctls.as_ref().unwrap();
    assert_eq!(sysctls.get("net.ipv4.conf.flannel/1.rp_filter").map(|sysctl| sysctl.value.as_str()), Some("2"));
    assert!(host.netfilter.rulesets(Family::Inet).count() == 1);
}

#[test]
fn kubeskoops_dump_is_read_as_far_as_it_goes() {
    let rules = r#"<iptables-rules version=\"1.0\"><table name=\"filter\" ><chain name=\"INPUT\" policy=\"DROP\" ></chain></table></iptables-rules>"#;
    let dump = format!(
        r#"{{"pods":[],"netns":[
        {{"n":"/proc/1/ns/net","i":"1","p":1,"k":"","if":[
          {{"n":"lo","i":1,"m":65536,"d":"device","a":[{{"IP":"127.0.0.1","Mask":"/wAAAA=="}}],"st":1,"s":{{}},"ne":[],"f":[],"p":0,"mi":0}},
          {{"n":"flannel.1","i":4,"m":1450,"d":"vxlan","a":[],"st":1,"s":{{}},
            "ne":[{{"Family":2,"LinkIndex":4,"State":128,"Type":1,"Flags":0,"IP":"10.244.2.0","HardwareAddr":"WgAAAAQC"}}],
            "f":[{{"Family":7,"LinkIndex":4,"State":128,"Type":0,"Flags":2,"IP":"192.0.2.12","HardwareAddr":"WgAAAAQC"}}],"p":0,"mi":0}}],
        "s":{{"net.ipv4.ip_forward":"1"}},
        "r":[{{"f":2,"o":"flannel.1","i":"","sc":0,"d":{{"IP":"10.244.2.0","Mask":"////AA=="}},"s":"","g":"10.244.2.0","p":3,"pr":0,"tb":254,"t":1,"tos":0,"fl":4}},
             {{"f":2,"o":"","i":"","sc":0,"d":{{"IP":"10.9.0.0","Mask":"//8AAA=="}},"s":"","g":"","p":3,"pr":0,"tb":254,"t":1,"tos":0,"fl":0}}],
        "ru":[{{"p":0,"f":2,"tb":255,"m":-1,"ma":-1,"tos":0,"ti":0,"gt":-1,"s":null,"d":null,"fl":-1,"i":"","o":""}}],
        "it":"{rules}","is":"","vs":[],"c":null}},
        {{"n":"/proc/9/ns/net","i":"2","p":9,"k":"shop/web-0","if":null,"s":null,"r":null,"ru":null,"it":"oops","c":null}},
        {{"n":"/proc/8/ns/net","i":"3","p":8,"k":"../../etc/x","it":""}}]}}"#
    );
    let snapshot = load(&[("n7/collector.json", &dump)]);
    let host = host(&snapshot, "n7");
    let text = |row: flowtrace::evidence::Evidence| snapshot.files.text(row).to_owned();
    let fdb = &host.fdb.as_ref().unwrap()[0];
    assert_eq!(text(fdb.evidence), "5a:00:00:00:04:02 dev flannel.1 dst 192.0.2.12 self permanent");
    assert_eq!(
        text(host.neighs.as_ref().unwrap()[0].evidence),
        "10.244.2.0 dev flannel.1 lladdr 5a:00:00:00:04:02 PERMANENT"
    );
    let routes = host.routes.as_ref().unwrap();
    assert_eq!(text(routes.rows()[0].evidence), "10.244.2.0/24 via 10.244.2.0 dev flannel.1 proto boot onlink");
    // The route of several ways leaves open what it decides.
    let several = text(routes.rows()[1].evidence);
    assert_eq!(several, "10.9.0.0/16 of several ways, which KubeSkoop leaves out");
    assert!(!routes.rows()[1].unmodelled.is_empty());
    assert!(host.links.is_none() && host.netfilter.rulesets(Family::Inet).count() == 1);
    assert_eq!(snapshot.namespaces.len(), 1);
    assert!(says(&snapshot, "the rules of pods/shop_web-0 are no XML") && says(&snapshot, "is no pod's name"));
}

#[test]
fn a_folder_is_read_as_an_archive_is() {
    let root = std::env::temp_dir().join(format!("flowtrace-foreign-{}", std::process::id()));
    let networking = root.join("sosreport-a/sos_commands/networking");
    std::fs::create_dir_all(&networking).unwrap();
    std::fs::write(networking.join("ip_route_show_table_all"), ROUTES).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", root.join("sosreport-a/hostname")).unwrap();
    let snapshot = flowtrace::load::load(&root).unwrap();
    // A link may lead anywhere, and is not followed.
    assert_eq!(host(&snapshot, "a").routes.as_ref().unwrap().rows().len(), 3);
    std::fs::remove_dir_all(root).unwrap();
}

#[test]
fn what_is_none_of_these_is_refused_as_ever() {
    let refused = load_archive(archive(&[("a/b", "c")]).as_slice(), std::path::Path::new("x.tar")).unwrap_err();
    assert!(refused.to_string().contains("holds no snapshot"), "{refused}");
    let empty = archive(&[("collector.json", "{")]);
    assert!(load_archive(empty.as_slice(), std::path::Path::new("x.tar")).is_err());
}
