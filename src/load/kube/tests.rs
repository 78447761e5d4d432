use std::sync::Arc;

use super::*;
use crate::load::load_files;
use crate::net::PodName;

const SERVICE: &str = r#"{"apiVersion": "v1", "items": [
  {"kind": "Service", "metadata": {"name": "web", "namespace": "shop", "annotations": {"a": "b"}},
   "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20", "fd00::20"],
        "externalIPs": ["198.51.100.7"], "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "ClientIP",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080, "targetPort": "web"},
                  {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353}]},
   "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}, {"hostname": "lb.example.org"}]}}},
  {"kind": "Service", "metadata": {"name": "db"}, "spec": {"clusterIP": "None", "ports": null}, "status": null}
], "kind": "List"}"#;

const SLICE: &str = r#"{"items": [{"metadata": {"name": "web-x", "namespace": "shop",
"labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
  "endpoints": [{"addresses": ["10.244.1.5"], "conditions": {"ready": true}, "nodeName": "n1",
             "targetRef": {"kind": "Pod", "name": "web-0"}},
            {"addresses": ["10.244.2.6"], "conditions": {"ready": false}}],
  "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}]}"#;

fn loaded(name: &str, text: &str) -> Snapshot {
    let files = [(format!("cluster/{name}"), text), ("nodes/n1/host/sysctl".to_owned(), "")];
    load_files(files.map(|(path, text)| (path, Arc::from(text)))).unwrap()
}

#[test]
fn a_service_keeps_what_is_used() {
    let snapshot = loaded("services.json", SERVICE);
    let services = snapshot.kube.services.as_ref().unwrap();
    let web = &services[0];
    assert_eq!((web.namespace.as_str(), web.name.as_str(), web.kind.as_str()), ("shop", "web", "LoadBalancer"));
    assert_eq!(web.cluster_ips.len() + web.external_ips.len() + web.load_balancer_ips.len(), 4);
    assert_eq!(web.external_traffic_policy.as_deref(), Some("Local"));
    assert_eq!(web.session_affinity.as_deref(), Some("ClientIP"));
    assert_eq!((web.ports[0].node_port, web.ports[0].target_port.as_deref()), (Some(30080), Some("web")));
    assert_eq!((web.ports[1].protocol, web.ports[1].target_port.as_deref()), (Protocol::UDP, Some("5353")));
    assert_eq!(web.evidence.line, 2);
    assert_eq!(snapshot.files.text(web.evidence), "service/web -n shop");
    let db = &services[1];
    assert!(db.headless && db.namespace == "default" && db.ports.is_empty() && db.kind == "ClusterIP");
    assert_eq!(snapshot.gaps, []);
}

#[test]
fn endpoint_slices_are_read_when_they_are_asked_for() {
    let snapshot = loaded("endpointslices.json", SLICE);
    let (slices, gaps) = endpoint_slices(&snapshot).unwrap();
    assert_eq!((slices.len(), gaps.len()), (1, 0));
    let [one, other] = slices[0].endpoints.as_slice() else { panic!() };
    assert_eq!(one.pod, Some(PodName::new("shop", "web-0")));
    assert!(one.ready && !other.ready);
    assert!(endpoint_slices(&loaded("pods.json", "")).is_none());
}

#[test]
fn a_bare_object_and_an_empty_file_are_lists_too() {
    let pod = r#"{"kind": "Pod", "metadata": {"name": "a", "namespace": "b"}, "spec": {"hostNetwork": true}}"#;
    let snapshot = loaded("pods.json", pod);
    let pods = snapshot.kube.pods.as_ref().unwrap();
    assert!(pods.len() == 1 && pods[0].host_network && pods[0].ips.is_empty());
    assert_eq!(loaded("pods.json", "").kube.pods, Some(vec![]));
    assert_eq!(loaded("pods.json", r#"{"items": []}"#).kube.pods, Some(vec![]));
    assert_eq!(loaded("services.json", "").kube.pods, None);
}

#[test]
fn what_can_not_be_read_is_a_gap_and_the_rest_stays() {
    let text = r#"{"items": [{"metadata": {"name": "a"}, "status": {"podIPs": [{"ip": "10.0.0.300"}, {"ip": "10.0.0.3"}]}},
                             {"metadata": {"name": 3}}, {"metadata": {"name": "c"}}]}"#;
    let snapshot = loaded("pods.json", text);
    let pods = snapshot.kube.pods.as_ref().unwrap();
    assert_eq!(pods.iter().map(|pod| &*pod.name.name).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(pods[0].ips.len(), 1);
    assert_eq!(snapshot.gaps.len(), 2, "{:?}", snapshot.gaps);
    assert_eq!(snapshot.files.text(pods[1].evidence), "pod/c -n default".trim_end_matches(" -n default"));
}

#[test]
fn a_cut_file_keeps_the_objects_before_the_cut() {
    for end in 1..SERVICE.len() {
        let snapshot = loaded("services.json", &SERVICE[..end]);
        let count = snapshot.kube.services.as_ref().unwrap().len();
        assert_eq!(snapshot.gaps.len(), 1, "{end}: {:?}", snapshot.gaps);
        assert!(count <= 2);
    }
    for end in 1..SLICE.len() {
        let (_, gaps) = endpoint_slices(&loaded("endpointslices.json", &SLICE[..end])).unwrap();
        assert_eq!(gaps.len(), 1, "{end}");
    }
}

#[test]
fn changed_bytes_never_panic() {
    for (name, text) in [("services.json", SERVICE), ("endpointslices.json", SLICE)] {
        for at in 0..text.len() {
            for byte in [b'{', b'"', b'0', b',', 0x1b] {
                let mut changed = text.as_bytes().to_vec();
                changed[at] = byte;
                let snapshot = loaded(name, &String::from_utf8_lossy(&changed));
                let _ = endpoint_slices(&snapshot);
            }
        }
    }
}
