use std::path::Path;

use super::*;

/// The objects of a bundled snapshot.
fn objects(name: &str) -> Snapshot {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name).join("cluster");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    load::load_objects(files.map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (format!("cluster/{name}"), std::fs::read_to_string(&path).unwrap().into())
    }))
}

/// Who is concerned, in one line: `n1: default_pod1; n2: *`.
fn concerned(objects: &Snapshot, from: &str, to: &str, at: Option<&str>) -> String {
    let question = Question { from, to, namespace: None, proto: None, port: None, at };
    let Concern(nodes) = question.concern(objects).unwrap();
    let line = |(node, pods): (&String, &Option<BTreeSet<String>>)| match pods {
        None => format!("{node}: *"),
        Some(pods) => format!("{node}: {}", pods.iter().cloned().collect::<Vec<_>>().join(" ")).trim().to_owned(),
    };
    nodes.iter().map(line).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_question_concerns_its_ends_and_a_services_endpoints() {
    let objects = objects("services");
    for (from, to, wanted) in [
        ("default/pod1", "shop/web-1", "n1: default_pod1; n2: shop_web-1"),
        ("default/pod1", "shop/web-0", "n1: default_pod1 shop_web-0"),
        ("default/pod1", "svc/shop/cluster", "n1: default_pod1 shop_web-0; n2: shop_web-1"),
        ("default/pod1", "192.0.2.150:80", "n1: default_pod1 shop_web-0; n2: shop_web-1"),
        ("default/pod1", "192.0.2.13:30081", "n1: default_pod1; n2: shop_web-1; n3:"),
        ("node/n3", "node/n1:30081", "n1:; n2: shop_web-1; n3:"),
        ("default/pod1", "external", "n1: default_pod1"),
        ("default/pod1", "10.244.3.99", "n1: default_pod1; n3:"),
        ("10.244.1.2", "10.244.2.4:80", "n1: default_pod1; n2: shop_web-1"),
        ("external", "192.0.2.13:30081", "n2: shop_web-1; n3:"),
        ("external", "192.0.2.151:80", "n1: *; n2: *; n3: *"),
        ("203.0.113.9", "10.244.1.2", "n1: *; n2: *; n3: *"),
    ] {
        assert_eq!(concerned(&objects, from, to, None), wanted, "{from} {to}");
    }
    assert_eq!(concerned(&objects, "203.0.113.9", "10.244.1.2", Some("n1/eth0")), "n1: *");
}

#[test]
fn rules_concern_a_node_or_a_pod() {
    let objects = objects("services");
    let Concern(nodes) = of_rules("n2", None, &objects).unwrap();
    assert_eq!(nodes, BTreeMap::from([("n2".to_owned(), Some(BTreeSet::new()))]));
    let Concern(nodes) = of_rules("shop/web-1", None, &objects).unwrap();
    assert_eq!(nodes, BTreeMap::from([("n2".to_owned(), Some(BTreeSet::from(["shop_web-1".to_owned()])))]));
    assert!(of_rules("nobody", None, &objects).is_err());
    assert!(Concern::only(&objects, &["n9".to_owned()]).unwrap_err().to_string().contains("n1, n2, n3"));
}
