use std::sync::Arc;

use super::*;
use crate::load;

const PODS: &str = r#"{"items": [
  {"metadata": {"name": "web-0", "namespace": "shop"}, "spec": {"nodeName": "n1"},
   "status": {"phase": "Running", "podIP": "10.244.1.5", "podIPs": [{"ip": "10.244.1.5"}, {"ip": "fd00:1::5"}]}},
  {"metadata": {"name": "db", "namespace": "shop"}, "spec": {"nodeName": "n2"},
   "status": {"phase": "Running", "podIPs": [{"ip": "10.244.2.9"}]}},
  {"metadata": {"name": "db", "namespace": "lab"}, "spec": {"nodeName": "n2"},
   "status": {"phase": "Running", "podIPs": [{"ip": "10.244.2.10"}]}},
  {"metadata": {"name": "proxy", "namespace": "kube-system"}, "spec": {"nodeName": "n1", "hostNetwork": true},
   "status": {"phase": "Running", "podIPs": [{"ip": "192.0.2.11"}]}},
  {"metadata": {"name": "pending", "namespace": "shop"}, "spec": {}, "status": {"phase": "Pending"}}
]}"#;

const SERVICES: &str = r#"{"items": [
  {"metadata": {"name": "kube-dns", "namespace": "kube-system"}, "spec": {"type": "ClusterIP",
   "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [
     {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
     {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
     {"name": "metrics", "protocol": "TCP", "port": 9153, "targetPort": "metrics"}]}},
  {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"clusterIPs": ["10.96.0.20", "fd00:96::20"],
   "ports": [{"port": 80, "targetPort": 8080}]}},
  {"metadata": {"name": "db", "namespace": "shop"}, "spec": {"clusterIP": "None", "clusterIPs": ["None"],
   "ports": [{"port": 5432}]}},
  {"metadata": {"name": "out", "namespace": "shop"}, "spec": {"type": "ExternalName", "externalName": "example.org"}}
]}"#;

const SLICES: &str = r#"{"items": [
  {"metadata": {"name": "db-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "db"}},
   "endpoints": [{"addresses": ["10.244.2.9"], "targetRef": {"kind": "Pod", "name": "db", "namespace": "shop"}}],
   "ports": [{"port": 5432}]}
]}"#;

const NODES: &str = r#"{"items": [
  {"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
   "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}, {"type": "Hostname", "address": "n1"}]}}
]}"#;

fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), Arc::from(*text)));
    load::load_files(files).unwrap()
}

fn cluster() -> Snapshot {
    snapshot(&[
        ("cluster/pods.json", PODS),
        ("cluster/services.json", SERVICES),
        ("cluster/endpointslices.json", SLICES),
        ("cluster/nodes.json", NODES),
        ("nodes/n1/host/route.txt", "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.11\n"),
        (
            "nodes/n1/pods/shop_web-0/route.txt",
            "default via 10.244.1.1 dev eth0\n10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.5\n",
        ),
        ("nodes/n2/pods/shop_db/sysctl", ""),
    ])
}

fn names(snapshot: &Snapshot) -> Names<'_> {
    Names { snapshot, namespace: None, protocol: None, port: None }
}

fn to(snapshot: &Snapshot, text: &str) -> End {
    names(snapshot).resolve(text, Role::To).unwrap()
}

fn refusal(names: Names<'_>, text: &str) -> String {
    names.resolve(text, Role::To).unwrap_err().to_string()
}

fn addresses(end: &End) -> Vec<String> {
    end.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn a_pod_is_found_with_and_without_its_namespace() {
    let cluster = cluster();
    let full = to(&cluster, "shop/web-0");
    assert_eq!(full.kind, Kind::Pod(PodName::new("shop", "web-0")));
    assert!(matches!(full.home, Home::Netns(id) if cluster.netns(id).dir == "nodes/n1/pods/shop_web-0"));
    assert_eq!(addresses(&full), ["10.244.1.5", "fd00:1::5"]);
    assert_eq!(to(&cluster, "web-0"), full);
    let shop = Names { namespace: Some("shop"), ..names(&cluster) };
    assert_eq!(shop.resolve("web-0", Role::From).unwrap(), full);
}

#[test]
fn a_name_of_several_namespaces_wants_one_of_them() {
    let cluster = cluster();
    let text = refusal(names(&cluster), "db");
    assert!(text.contains("lab/db, shop/db; say which, or -n NAMESPACE"), "{text}");
    let lab = Names { namespace: Some("lab"), ..names(&cluster) };
    assert_eq!(addresses(&lab.resolve("db", Role::To).unwrap()), ["10.244.2.10"]);
}

#[test]
fn a_pod_with_a_folder_on_several_nodes_is_on_the_one_that_its_object_names() {
    let folders = [("nodes/n1/pods/shop_web-0/sysctl", ""), ("nodes/n2/pods/shop_web-0/sysctl", "")];
    let text = refusal(names(&snapshot(&folders)), "shop/web-0");
    assert!(text.contains("n1, n2; remove it where the pod is not"), "{text}");
    let told = snapshot(&[&[("cluster/pods.json", PODS)], &folders[..]].concat());
    assert!(matches!(to(&told, "web-0").home, Home::Netns(id) if told.netns(id).dir == "nodes/n1/pods/shop_web-0"));
}

#[test]
fn the_namespace_option_is_not_left() {
    let cluster = cluster();
    let lab = Names { namespace: Some("lab"), ..names(&cluster) };
    let text = refusal(lab, "web-0");
    assert!(text.contains("in namespace \"lab\"") && text.contains("did you mean shop/web-0"), "{text}");
}

#[test]
fn default_goes_before_the_only_one() {
    let two = snapshot(&[
        ("nodes/n1/pods/default_a/route.txt", "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.1\n"),
        ("nodes/n1/pods/lab_a/route.txt", "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.2\n"),
    ]);
    assert_eq!(to(&two, "a").kind, Kind::Pod(PodName::new("default", "a")));
}

#[test]
fn a_pod_without_objects_is_its_folder_and_its_routes_tell_its_address() {
    let bare = snapshot(&[(
        "nodes/n1/pods/default_pod1/route.txt",
        "10.0.14.0/24 dev eth0  proto kernel  scope link  src 10.0.14.15\n",
    )]);
    assert_eq!(addresses(&to(&bare, "pod1")), ["10.0.14.15"]);
    let text = refusal(names(&bare), "pod2");
    assert!(text.contains("the snapshot has no cluster/pods.json") && text.contains("default/pod1"), "{text}");
}

#[test]
fn a_pod_of_the_host_network_lives_in_its_node() {
    let cluster = cluster();
    let proxy = to(&cluster, "kube-system/proxy");
    assert!(matches!(proxy.home, Home::Netns(id) if cluster.netns(id).dir == "nodes/n1/host"));
    assert_eq!(addresses(&proxy), ["192.0.2.11"]);
}

#[test]
fn a_pod_whose_folder_is_missing_says_which() {
    let cluster = cluster();
    let lab = to(&cluster, "lab/db");
    assert_eq!(lab.home, Home::Missing("nodes/n2/pods/lab_db".to_owned()));
    let text = refusal(names(&cluster), "shop/pending");
    assert!(text.contains("holds no address"), "{text}");
}

#[test]
fn an_object_that_contradicts_the_namespace_is_a_gap() {
    let strange = snapshot(&[
        ("cluster/pods.json", PODS),
        ("nodes/n1/pods/shop_web-0/route.txt", "10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.6\n"),
    ]);
    let gaps = to(&strange, "shop/web-0").gaps;
    assert!(gaps[0].what.contains("10.244.1.5"), "{gaps:?}");
    assert_eq!(strange.files.text(gaps[0].evidence[0]), "pod/web-0 -n shop");
}

#[test]
fn a_node_is_its_host_namespace() {
    let cluster = cluster();
    let node = to(&cluster, "node/n1");
    assert!(matches!(node.home, Home::Netns(id) if cluster.netns(id).dir == "nodes/n1/host"));
    assert_eq!(addresses(&node), ["192.0.2.11"]);
    assert_eq!(to(&cluster, "node/n1:30080").port, Some(30080));
    let text = refusal(names(&cluster), "node/n3");
    assert!(text.contains("node/n1"), "{text}");
    assert!(refusal(names(&cluster), "n1").contains("did you mean node/n1?"));
}

#[test]
fn a_service_has_the_port_that_fits() {
    let cluster = cluster();
    let dns = |text| {
        let end = to(&cluster, text);
        (addresses(&end).remove(0), end.port, end.protocol)
    };
    let udp = ("10.96.0.10".to_owned(), Some(53), Some(Protocol::UDP));
    assert_eq!(dns("svc/kube-system/kube-dns:53"), udp);
    assert_eq!(dns("svc/kube-system/kube-dns:dns"), udp);
    assert_eq!(dns("kube-dns.kube-system.svc.cluster.local:53"), udp);
    assert_eq!(dns("kube-dns.kube-system.svc:53"), udp);
    assert_eq!(dns("kube-dns.kube-system:53"), udp);
    assert_eq!(dns("svc/kube-system/kube-dns:metrics"), ("10.96.0.10".to_owned(), Some(9153), Some(Protocol::TCP)));
    assert_eq!(dns("svc/kube-system/kube-dns:54"), ("10.96.0.10".to_owned(), Some(54), None));
    assert_eq!(dns("svc/shop/web"), ("10.96.0.20".to_owned(), Some(80), Some(Protocol::TCP)));
    let tcp = Names { protocol: Some(Protocol::TCP), ..names(&cluster) };
    let end = tcp.resolve("svc/kube-system/kube-dns:53", Role::To).unwrap();
    assert_eq!((end.port, end.protocol), (Some(53), Some(Protocol::TCP)));
}

#[test]
fn of_several_ports_the_first_that_fits_is_taken_and_named() {
    let cluster = cluster();
    let ask = |names: Names, text: &str| {
        let end = names.resolve(text, Role::To).unwrap();
        (end.port, end.protocol, end.findings.first().map(|finding| finding.what.clone()))
    };
    let dns = "svc/kube-system/kube-dns";
    let listed = "it has 53/udp (dns), 53/tcp (dns-tcp), 9153/tcp (metrics)";
    let first = |taken: &str| Some(format!("{dns} is asked at {taken}, the first port that fits: {listed}"));
    let any = names(&cluster);
    assert_eq!(ask(any, dns), (Some(53), Some(Protocol::UDP), first("53/udp (dns)")));
    assert_eq!(ask(any, "kube-dns.kube-system.svc.cluster.local").2, first("53/udp (dns)"));
    assert_eq!(ask(any, "svc/kube-system/kube-dns:53").2, first("53/udp (dns)"));
    assert_eq!(ask(any, "svc/kube-system/kube-dns:metrics").2, None);
    let udp = Names { protocol: Some(Protocol::UDP), ..any };
    assert_eq!(ask(udp, dns), (Some(53), Some(Protocol::UDP), None));
    let tcp = Names { protocol: Some(Protocol::TCP), ..any };
    assert_eq!(ask(tcp, dns), (Some(53), Some(Protocol::TCP), first("53/tcp (dns-tcp)")));
    let metrics = Names { port: Some(9153), ..any };
    assert_eq!(ask(metrics, dns), (Some(9153), Some(Protocol::TCP), None));
    let sctp = Names { protocol: Some(Protocol::SCTP), ..any };
    assert!(refusal(sctp, dns).contains("no port for sctp"));
    let ping = Names { protocol: Some(Protocol::ICMP), ..any };
    assert_eq!(ask(ping, dns), (None, None, None));
}

#[test]
fn names_that_stand_for_something_else_are_explained() {
    let cluster = cluster();
    let headless = refusal(names(&cluster), "svc/shop/db");
    assert!(headless.contains("headless") && headless.contains("shop/db (10.244.2.9)"), "{headless}");
    assert!(refusal(names(&cluster), "out.shop.svc.cluster.local").contains("example.org"));
    assert_eq!(to(&cluster, "db.db.shop.svc.cluster.local").kind, Kind::Pod(PodName::new("shop", "db")));
    assert!(refusal(names(&cluster), "svc/shop/wep").contains("svc/shop/web"));
    assert!(refusal(names(&cluster), "svc/shop/web:http").contains("80/tcp"));
    let bare = snapshot(&[("nodes/n1/host/route.txt", "")]);
    assert!(refusal(names(&bare), "svc/shop/web").contains("cluster/services.json"));
}

#[test]
fn addresses_have_ports_and_owners() {
    let cluster = cluster();
    let end = to(&cluster, "10.244.1.5:8080");
    assert_eq!((end.port, addresses(&end)), (Some(8080), vec!["10.244.1.5".to_owned()]));
    assert!(matches!(end.home, Home::Netns(_)));
    assert_eq!(to(&cluster, "[fd00:1::9]:53").port, Some(53));
    assert_eq!(to(&cluster, "fd00:1::9").home, Home::Nowhere);
    assert_eq!(to(&cluster, "10-244-1-5.default.pod.cluster.local").addresses, end.addresses);
    for wrong in ["10.0.0.256", "10.0.0.1:0", "10.0.0.1:99999", "[fd00::1", "[10.0.0.1]", "fd00::1::2"] {
        assert!(refusal(names(&cluster), wrong).contains("no "), "{wrong}");
    }
}

#[test]
fn external_is_outside_every_prefix() {
    let cluster = cluster();
    let end = to(&cluster, "external:443");
    assert_eq!((&end.kind, end.port), (&Kind::External, Some(443)));
    assert_eq!(addresses(&end), ["203.0.113.1", "2001:db8:ffff::1"]);
    let taken =
        snapshot(&[("nodes/n1/host/route.txt", "203.0.113.0/24 dev eth0 proto kernel scope link src 203.0.113.7\n")]);
    assert_eq!(addresses(&to(&taken, "external"))[0], "198.51.100.1");
}

#[test]
fn from_is_no_service_and_has_no_port() {
    let cluster = cluster();
    let from = |text| names(&cluster).resolve(text, Role::From).unwrap_err().to_string();
    assert!(from("svc/shop/web").contains("sends nothing"));
    assert!(from("10.244.1.5:80").contains("--sport"));
}

#[test]
fn the_families_that_both_ends_have_are_shared() {
    let cluster = cluster();
    let (web, db, service) = (to(&cluster, "shop/web-0"), to(&cluster, "shop/db"), to(&cluster, "svc/shop/web"));
    assert_eq!(shared_families(&web, &db), [Family::Inet]);
    assert_eq!(shared_families(&web, &service), [Family::Inet, Family::Inet6]);
}

#[test]
fn junk_is_refused_and_never_panics() {
    let cluster = cluster();
    let junk = [
        "",
        ":",
        "/",
        "svc/",
        "svc//",
        "svc/a/b/c",
        "node/",
        "a/b/c",
        "\u{1b}[31m",
        "-",
        "a:b:c",
        "svc/a/b:",
        "ü",
        "[",
        "]:1",
    ];
    for text in junk {
        refusal(names(&cluster), text);
    }
}

#[test]
fn a_dns_name_is_the_same_in_capitals() {
    let cluster = cluster();
    let end = to(&cluster, "KUBE-DNS.Kube-System.SVC.cluster.LOCAL:53");
    assert_eq!(end, to(&cluster, "kube-dns.kube-system.svc.cluster.local:53"));
    assert_eq!(addresses(&end), ["10.96.0.10"]);
}

#[test]
fn a_domain_that_is_not_the_usual_one_is_told() {
    let cluster = cluster();
    let told = |name: &str| to(&cluster, name).findings.iter().any(|finding| finding.what.contains("not checked"));
    assert!(told("web.shop.svc.cluster.locl") && told("web.shop.svc.example.org"));
    assert!(!told("web.shop.svc.cluster.local") && !told("web.shop.svc.cluster.local.") && !told("web.shop.svc"));
}
