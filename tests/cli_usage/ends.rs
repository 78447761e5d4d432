//! FROM and TO, and what is told about them.

use std::fs;

use crate::{answered, broken, flowtrace, refused};

#[test]
fn an_unknown_name_is_told_what_there_is() {
    refused(&["explain", "--demo", "nobody-at-all", "default/pod2"], &["there are", "default/pod1", "more"]);
    refused(&["explain", "--demo", "default/pod1", "svc/nowhere/at-all"], &["there are", "svc/"]);
    refused(&["explain", "--demo", "default/pod1", "node/machine-seven"], &["there are", "node/n1", "node/n2"]);
    refused(&["explain", "--demo", "default/pod1", "google.com"], &["google.com", "not resolved", "give the address"]);
    refused(&["explain", "--demo", "default/pod1", "google.com:443"], &["not resolved", "give the address"]);
    refused(&["explain", "--demo", "default/pod1", "kube-dns.kube-systen"], &["did you mean kube-dns.kube-system?"]);
}

#[test]
fn unknown_names_are_refused_with_the_nearest_ones() {
    refused(&["explain", "--demo", "default/pod11", "default/pod2"], &["default/pod1"]);
    refused(&["explain", "--demo", "default/pod1", "svc/kube-system/kube-dsn"], &["kube-dns"]);
    refused(&["explain", "--demo", "node/n9", "default/pod1"], &["n1"]);
}

#[test]
fn a_name_in_another_programs_words_is_answered_with_ours() {
    let to = |to: &str, hint: &str| refused(&["explain", "--demo", "default/pod1", to], &[to, hint]);
    to("pod/pod2", "did you mean pod2?");
    to("pods/default/pod2", "did you mean default/pod2?");
    to("service/shop/web", "did you mean svc/shop/web?");
    to("shop/web", "did you mean svc/shop/web");
    to("front", "did you mean svc/shop/front?");
    to("http://web.shop:80/index.html", "did you mean web.shop:80?");
    to("10.244.2.0/24", "give one address, such as 10.244.2.0");
    to("web.shop.svc:http", "a number");
    refused(&["rules", "--demo", "n3"], &["no node or pod \"n3\"", "did you mean n1 or n2?"]);
    let run =
        flowtrace(&["explain", "--demo", " default/pod1", "svc/shop/none ", "--proto", "TCP", "--color", "Never"]);
    assert!(run.code == 1 && run.out.starts_with("REJECTED   tcp"), "{}{}", run.out, run.err);
}

/// Nobody answers from port 0, or to it with UDP.
#[test]
fn packets_come_in_from_and_to_port_0() {
    for (protocol, options, is_answered) in [
        ("udp", ["--port", "0", "--sport", "7"], false),
        ("tcp", ["--port", "0", "--sport", "7"], false),
        ("udp", ["--port", "7", "--sport", "0"], false),
        ("tcp", ["--port", "7", "--sport", "0"], true),
    ] {
        let asked = ["explain", "--demo", "external", "node/n1", "--proto", protocol];
        let run = flowtrace(&[asked.as_slice(), &options].concat());
        assert!(run.code == 0 && run.out.starts_with("DELIVERED"), "{}{}", run.out, run.err);
        assert_eq!(run.out.contains("the reply"), is_answered, "{}", run.out);
    }
}

#[test]
fn ends_that_do_not_fit_together_are_refused() {
    refused(&["explain", "--demo", "default/pod1", "default/pod2", "-6"], &["IPv6"]);
    refused(&["explain", "--demo", "default/pod1", "[fd00::1]:80"], &["same family"]);
    refused(&["explain", "--demo", "svc/shop/web", "default/pod1"], &["a service sends nothing"]);
    refused(
        &["explain", "--demo", "default/pod1", "default/pod2", "--source", "10.9.9.9"],
        &["no such address; it has", "10.244.1.2"],
    );
    refused(&["explain", "--demo", "external", "node/n1", "--source", "10.9.9.9"], &["FROM is the source"]);
    refused(
        &["explain", "--demo", "default/pod1", "default/pod2", "--mac", "02:00:00:00:00:01"],
        &["--mac is for packets that come in"],
    );
    for (protocol, port) in [("udp", "--port"), ("tcp", "--sport"), ("udp", "--sport")] {
        let other = if port == "--port" { "--sport" } else { "--port" };
        refused(
            &["explain", "--demo", "default/pod1", "default/pod2", "--proto", protocol, port, "0", other, "7"],
            &[port, "port 0; such packets come in from outside"],
        );
    }
    refused(
        &["explain", "--demo", "external", "node/n1", "--vlan", "10"],
        &["--vlan is for packets that come in by --at"],
    );
    refused(
        &["explain", "--demo", "external", "node/n1", "--at", "n1/eth0", "--vlan", "10/8"],
        &["10/3 with a priority"],
    );
    refused(
        &["explain", "--demo", "external", "node/n1", "--mac", "ff:ff:ff:ff:ff:ff"],
        &["the address of one device"],
    );
}

#[test]
fn two_ends_outside_are_refused_unless_a_place_to_enter_is_given() {
    for (from, to) in [
        ("external", "external"),
        ("203.0.113.9", "198.51.100.7"),
        ("external", "198.51.100.7:80"),
        ("8.8.8.8", "external:53"),
    ] {
        refused(&["explain", "--demo", from, to], &[from, to, "both outside", "--at NODE/DEVICE"]);
        let run = flowtrace(&["explain", "--demo", from, to, "--at", "n1/eth0", "--no-reply"]);
        assert_eq!((run.code, &run.out[..5]), (0, "LEFT "), "{from} {to}: {}", run.out);
    }
    // A rule or a route makes an address the nodes' business, though nobody has it.
    for to in ["10.96.0.10:53", "10.244.9.9"] {
        assert_ne!(flowtrace(&["explain", "--demo", "external", to]).code, 2, "{to}");
    }
    let root = broken("outside-by-rule", |root| {
        let file = root.join("nodes/n1/host/iptables-save");
        let text = fs::read_to_string(&file).unwrap();
        let rule = "-A PREROUTING -d 198.51.100.7/32 -p tcp -j DNAT --to-destination 10.244.1.4:8080\n";
        fs::write(file, text.replace("-A PREROUTING -m comment", &format!("{rule}-A PREROUTING -m comment"))).unwrap();
        fs::remove_dir_all(root.join("cluster")).unwrap();
    });
    let run = flowtrace(&["explain", "--snapshot", root.to_str().unwrap(), "8.8.8.8", "198.51.100.7:80"]);
    assert!(run.out.contains("198.51.100.7:80 ⇒ 10.244.1.4:8080"), "{}{}", run.out, run.err);
}

#[test]
fn a_service_address_is_known_by_the_rules_where_the_objects_are_missing() {
    let root = broken("no-objects", |root| fs::remove_dir_all(root.join("cluster")).unwrap());
    let note = |to: &str| {
        let run = flowtrace(&["explain", "--snapshot", root.to_str().unwrap(), "pod1", to, "-o", "json", "--no-reply"]);
        let answer: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        let findings = answer["findings"].as_array().unwrap().clone();
        findings.first().map(|finding| finding["what"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert!(
        note("10.96.0.20").starts_with("svc/shop/web (10.96.0.20, as the comment of a rule tells) answers only to")
    );
    assert!(note("10.96.0.10:54").contains("has no port 54/tcp; its ports are 53/udp (dns), 53/tcp (dns-tcp)"));
    assert!(note("10.96.0.40").starts_with("svc/shop/none (10.96.0.40, as the comment of a rule tells)"));
    assert!(note("svc/shop/none").contains("the comment of a rule tells what svc/shop/none is"));
    assert_eq!((note("10.96.0.20:80"), note("10.96.0.99:80")), (String::new(), String::new()));
}

#[test]
fn a_place_to_enter_has_to_be_there() {
    let at = |at: &str, word: &str| refused(&["explain", "--demo", "external", "default/pod1", "--at", at], &[word]);
    at("n1/eth9", "flannel.1");
    at("n9/eth0", "n1, n2");
    at("n1", "NODE/DEVICE");
    let run = flowtrace(&["explain", "--demo", "external", "default/pod1", "--at", "n2/eth0", "--no-reply"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("\nn2 host\n  1 eth0"), "{}", run.out);
}

#[test]
fn a_client_from_outside_may_enter_at_any_node() {
    let run = flowtrace(&["explain", "--demo", "external", "svc/shop/web", "--no-reply"]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.contains("enters at n1/eth0") && run.out.contains("enters at n2/eth0"), "{}", run.out);
    assert_eq!(run.out.matches("  1/4  ").count(), 4, "{}", run.out);
}

#[test]
fn a_service_that_rewrites_nothing_says_why() {
    let note = |to: &str| flowtrace(&["explain", "--demo", "default/pod1", to, "-o", "json", "--no-reply"]).out;
    let ping = note("10.96.0.10");
    assert!(ping.contains("answers only to its ports (53/udp (dns), 53/tcp (dns-tcp))"), "{ping}");
    assert!(ping.contains("out by eth0 of n1"), "{ping}");
    assert!(note("10.96.0.20:81").contains("has no port 81/tcp; its ports are 80/tcp (http)"));
    assert!(note("svc/shop/none").contains("no rule sends this packet for svc/shop/none (10.96.0.40) to an endpoint"));
    assert!(note("svc/shop/web").contains("\"findings\": []"));
    let first = note("svc/kube-system/kube-dns");
    assert!(first.contains("is asked at 53/udp (dns), the first port that fits"), "{first}");
}

#[test]
fn a_client_of_a_pod_enters_at_the_pods_node() {
    for to in ["default/pod1", "10.244.1.2", "10.244.1.99"] {
        let (_, answer) = answered("external", to, &[]);
        let paths = answer["paths"].as_array().unwrap();
        assert_eq!((paths.len(), paths[0]["probability"].as_f64()), (1, Some(1.0)), "{to}");
        assert_eq!(paths[0]["forward"]["steps"][0]["node"], "n1", "{to}");
        assert!(paths[0]["why"].is_null(), "{to}");
    }
}

#[test]
fn a_sender_in_the_pods_network_that_nobody_is_is_told() {
    let found = |answer: &serde_json::Value| {
        let findings = answer["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["what"].as_str().unwrap().contains("10.244.1.99 is in the pods' network"))
            .count()
    };
    assert_eq!(found(&answered("10.244.1.99", "default/pod2", &[]).1), 1);
    assert_eq!(found(&answered("10.244.1.99", "default/pod2", &["--at", "n1/cni0"]).1), 0, "the question says where");
    assert_eq!(found(&answered("203.0.113.9", "default/pod2", &[]).1), 0);
    let run = flowtrace(&["explain", "--demo", "10.244.1.99", "default/pod2"]);
    assert!(run.out.contains("note: 10.244.1.99 is in the pods' network"), "{}", run.out);
}

#[test]
fn the_unspecified_address_is_the_sender_itself() {
    let delivered = |to: &str, more: &[&str], loopback: &str| {
        let (code, answer) = answered("default/pod1", to, more);
        assert_eq!((code, &answer["verdict"]), (0, &"delivered".into()), "{to}");
        assert_eq!(answer["request"]["packet"]["destination"], loopback);
        assert_eq!(answer["paths"][0]["forward"]["steps"][0]["packet"]["source"], loopback);
    };
    delivered("0.0.0.0", &[], "127.0.0.1");
    delivered("0.0.0.0:80", &[], "127.0.0.1");
    delivered("0.0.0.0", &["--source", "10.244.1.2"], "10.244.1.2");
    let (code, answer) = answered("external", "0.0.0.0", &[]);
    assert_eq!((code, &answer["paths"][0]["forward"]["reason"]), (1, &"martian-destination".into()));
    let dual = ["explain", "--snapshot", "testdata/dual-stack", "default/pod1", "::", "-o", "json"];
    let answer: serde_json::Value = serde_json::from_str(&flowtrace(&dual).out).unwrap();
    assert_eq!((&answer["verdict"], &answer["request"]["packet"]["destination"]), (&"delivered".into(), &"::1".into()));
}

#[test]
fn a_service_without_objects_has_the_name_in_its_rules() {
    for to in ["svc/kube-system/kube-dns", "svc/kube-system/kube-dns:dns", "kube-dns.kube-system.svc.cluster.local:53"]
    {
        let run = flowtrace(&["explain", "--snapshot", "testdata/article", "default/pod1", to]);
        assert_eq!(run.code, 3, "{}", run.err);
        assert!(run.out.contains("10.16.0.10:53 ⇒ 10.0.0.46:53"), "{}", run.out);
        assert!(run.out.contains("note: the snapshot has no cluster/services.json"), "{}", run.out);
    }
    refused(&["explain", "--snapshot", "testdata/article", "default/pod1", "svc/kube-system/kube"], &["services.json"]);
}

#[test]
fn a_name_that_a_broken_file_may_hold_says_so() {
    let root = broken("unread-names", |root| fs::write(root.join("cluster/services.json"), "{\"items\": [").unwrap());
    let path = root.to_str().unwrap();
    refused(
        &["explain", "--snapshot", path, "pod1", "svc/shop/web"],
        &["no service shop/web", "cluster/services.json:1 could not be read"],
    );
}

#[test]
fn a_frame_with_a_tag_that_no_device_has_is_nobodys() {
    let ask = |vlan: &str| {
        let at = ["--at", "n1/eth0", "--vlan", vlan, "--no-reply", "-o", "json"];
        flowtrace(&[&["explain", "--demo", "192.0.2.77", "192.0.2.11:6443"][..], &at].concat())
    };
    for (vlan, code, reason) in [("10", 1, "\"other-host\""), ("0/3", 0, "\"delivered\"")] {
        let run = ask(vlan);
        assert_eq!(run.code, code, "{vlan}: {}", run.err);
        assert!(run.out.contains(reason) && run.out.contains("\"vlans\""), "{vlan}: {}", run.out);
    }
}
