//! The Kubernetes objects: `kubectl get X -A -o json` as printed. Of each object the few fields that are used are
//! read, the others may hold anything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::evidence::{Evidence, FileId, Files, Gap};
use crate::net::{NodeName, PodName, Protocol};
use crate::snapshot::{
    Endpoint, EndpointPort, EndpointSlice, FlannelNode, Kube, KubeNode, NetworkPolicy, Pod, Service, ServicePort,
    Snapshot,
};

use super::lines::{Notes, quote};
use super::objects::objects;

const TOOL: &str = "`kubectl get -o json`";

/// Reads the lists that were collected, by the names of their files.
pub(super) fn read(files: &mut Files, cluster: &BTreeMap<String, FileId>, gaps: &mut Vec<Gap>) -> Kube {
    let mut reading = Reading { files, cluster, gaps };
    Kube {
        nodes: reading.list("nodes.json", "node", node),
        pods: reading.list("pods.json", "pod", pod),
        services: reading.list("services.json", "service", service),
        endpoint_slices: cluster.get("endpointslices.json").copied(),
        network_policies: reading.list("networkpolicies.json", "networkpolicy", network_policy),
    }
}

/// Reads the endpoint slices, with what could not be read in them. None where they were not collected.
#[must_use]
pub fn endpoint_slices(snapshot: &Snapshot) -> Option<(Vec<EndpointSlice>, Vec<Gap>)> {
    let id = snapshot.kube.endpoint_slices?;
    let text = &snapshot.files.get(id)?.text;
    let mut gaps = Vec::new();
    let mut notes = Notes::new(id, TOOL, &mut gaps);
    let mut slices = Vec::new();
    for (object, at) in objects(id, text, &mut notes) {
        // No row was written for the slices, so that the line itself is shown.
        let evidence = Evidence::line(id, at.line);
        slices.push(endpoint_slice(object, &mut Place { evidence, notes: &mut notes }));
    }
    drop(notes);
    Some((slices, gaps))
}

/// Makes a row of an object.
type Make<O, T> = fn(O, &mut Place<'_, '_>) -> T;

struct Reading<'a> {
    files: &'a mut Files,
    cluster: &'a BTreeMap<String, FileId>,
    gaps: &'a mut Vec<Gap>,
}

impl Reading<'_> {
    /// Reads a list. Its objects' rows are written as kubectl names them: `pod/web-0 -n shop`.
    fn list<O: Object, T>(&mut self, name: &str, word: &str, make: Make<O, T>) -> Option<Vec<T>> {
        let id = *self.cluster.get(name)?;
        let text = self.files.get(id)?.text.clone();
        let mut notes = Notes::new(id, TOOL, self.gaps);
        let found: Vec<(O, Evidence)> = objects(id, &text, &mut notes);
        let mut list = Vec::with_capacity(found.len());
        let mut rows = Vec::new();
        for (object, evidence) in found {
            let index = evidence.index.map_or(0, |index| index as usize);
            if rows.len() <= index {
                rows.resize(index + 1, String::new());
            }
            if let Some(row) = rows.get_mut(index) {
                *row = object.row(word);
            }
            list.push(make(object, &mut Place { evidence, notes: &mut notes }));
        }
        self.files.set_rows(id, rows);
        Some(list)
    }
}

/// Where an object stands, for what can't be read in it.
struct Place<'a, 'g> {
    evidence: Evidence,
    notes: &'a mut Notes<'g>,
}

impl Place<'_, '_> {
    /// Reads values that are written as strings; one that can't be read is a gap. Empty ones say nothing.
    fn parse<T: FromStr>(&mut self, what: &str, texts: impl IntoIterator<Item = String>) -> Vec<T> {
        let mut found = Vec::new();
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            match text.parse() {
                Ok(value) => found.push(value),
                Err(_) => self.notes.add(self.evidence, format_args!("{} is no {what}", quote(&text))),
            }
        }
        found
    }

    fn protocol(&mut self, name: Option<&str>) -> Protocol {
        match name {
            None | Some("TCP") => Protocol::TCP,
            Some("UDP") => Protocol::UDP,
            Some("SCTP") => Protocol::SCTP,
            Some(other) => {
                self.notes.add(self.evidence, format_args!("{} is no protocol; taken for TCP", quote(other)));
                Protocol::TCP
            }
        }
    }
}

/// An object with a name.
trait Object: DeserializeOwned {
    /// As kubectl names it.
    fn row(&self, word: &str) -> String;
}

macro_rules! object {
    ($($name:ident),*) => {
        $(impl Object for $name {
            fn row(&self, word: &str) -> String {
                let Metadata { name, namespace, .. } = &self.metadata;
                match namespace {
                    Some(namespace) => format!("{word}/{name} -n {namespace}"),
                    None => format!("{word}/{name}"),
                }
            }
        })*
    };
}
object!(NodeObject, PodObject, ServiceObject, PolicyObject);

/// Of the annotations and labels, which can be long, only those objects keep any that have some of use.
#[derive(Deserialize)]
struct Metadata<A = IgnoredAny, L = IgnoredAny> {
    name: String,
    namespace: Option<String>,
    annotations: Option<A>,
    labels: Option<L>,
}

/// Annotations or labels.
type Words = BTreeMap<String, String>;

impl<A, L> Metadata<A, L> {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

#[derive(Deserialize)]
struct NodeObject {
    metadata: Metadata<Words>,
    spec: Option<NodeSpec>,
    status: Option<NodeStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct NodeStatus {
    addresses: Option<Vec<NodeAddress>>,
}

#[derive(Deserialize)]
struct NodeAddress {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

fn node(object: NodeObject, place: &mut Place<'_, '_>) -> KubeNode {
    let spec = object.spec.unwrap_or_default();
    let cidrs = spec.pod_cidrs.filter(|cidrs| !cidrs.is_empty()).unwrap_or_else(|| Vec::from_iter(spec.pod_cidr));
    let addresses = object.status.and_then(|status| status.addresses).unwrap_or_default();
    let of = |kind: &str| {
        let addresses: Vec<String> =
            addresses.iter().filter(|address| address.kind == kind).map(|address| address.address.clone()).collect();
        addresses
    };
    KubeNode {
        name: NodeName::new(&object.metadata.name),
        internal_ips: place.parse("address", of("InternalIP")),
        external_ips: place.parse("address", of("ExternalIP")),
        pod_cidrs: place.parse::<IpNet>("prefix", cidrs),
        flannel: flannel(object.metadata.annotations.unwrap_or_default(), place),
        evidence: place.evidence,
    }
}

/// flannel's annotations, whose prefix can be configured: `flannel.alpha.coreos.com/` unless it was.
fn flannel(annotations: BTreeMap<String, String>, place: &mut Place<'_, '_>) -> FlannelNode {
    let mut flannel = FlannelNode::default();
    for (key, value) in annotations {
        let Some((domain, name)) = key.rsplit_once('/') else { continue };
        if !domain.contains("flannel") {
            continue;
        }
        match name {
            "backend-type" => flannel.backend_type = Some(value),
            "backend-data" => flannel.backend_data = Some(value),
            "backend-v6-data" => flannel.backend_v6_data = Some(value),
            "public-ip" => flannel.public_ip = place.parse("address", [value]).pop(),
            "public-ipv6" => flannel.public_ipv6 = place.parse("address", [value]).pop(),
            "kube-subnet-manager" => flannel.managed = value == "true",
            _ => {}
        }
    }
    flannel
}

#[derive(Deserialize)]
struct PodObject {
    metadata: Metadata,
    spec: Option<PodSpec>,
    status: Option<PodStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    host_network: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: Option<String>,
}

fn pod(object: PodObject, place: &mut Place<'_, '_>) -> Pod {
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let several = status.pod_ips.filter(|ips| !ips.is_empty());
    let ips = several.map(|ips| ips.into_iter().filter_map(|ip| ip.ip).collect());
    Pod {
        name: PodName::new(object.metadata.namespace(), &object.metadata.name),
        node: spec.node_name.filter(|node| !node.is_empty()).map(|node| NodeName::new(&node)),
        ips: place.parse("address", ips.unwrap_or_else(|| Vec::from_iter(status.pod_ip))),
        phase: status.phase.unwrap_or_default(),
        host_network: spec.host_network == Some(true),
        evidence: place.evidence,
    }
}

#[derive(Deserialize)]
struct ServiceObject {
    metadata: Metadata,
    spec: Option<ServiceSpec>,
    status: Option<ServiceStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    external_name: Option<String>,
    external_traffic_policy: Option<String>,
    internal_traffic_policy: Option<String>,
    session_affinity: Option<String>,
    ports: Option<Vec<ServicePortSpec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServicePortSpec {
    name: Option<String>,
    protocol: Option<String>,
    port: u16,
    node_port: Option<u16>,
    target_port: Option<NumberOrName>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrName {
    Number(u16),
    Name(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceStatus {
    load_balancer: Option<LoadBalancer>,
}

#[derive(Default, Deserialize)]
struct LoadBalancer {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Deserialize)]
struct Ingress {
    ip: Option<String>,
}

fn service(object: ServiceObject, place: &mut Place<'_, '_>) -> Service {
    let spec = object.spec.unwrap_or_default();
    let several = spec.cluster_ips.filter(|ips| !ips.is_empty());
    let cluster_ips = several.unwrap_or_else(|| Vec::from_iter(spec.cluster_ip));
    let ingress = object.status.and_then(|status| status.load_balancer?.ingress).unwrap_or_default();
    Service {
        namespace: object.metadata.namespace().to_owned(),
        headless: cluster_ips.iter().any(|ip| ip == "None"),
        name: object.metadata.name,
        kind: spec.kind.unwrap_or_else(|| "ClusterIP".to_owned()),
        cluster_ips: place.parse("address", cluster_ips.into_iter().filter(|ip| ip != "None")),
        external_name: spec.external_name.filter(|name| !name.is_empty()),
        external_ips: place.parse("address", spec.external_ips.unwrap_or_default()),
        load_balancer_ips: place.parse("address", ingress.into_iter().filter_map(|ingress| ingress.ip)),
        ports: spec.ports.into_iter().flatten().map(|port| service_port(port, place)).collect(),
        external_traffic_policy: spec.external_traffic_policy,
        internal_traffic_policy: spec.internal_traffic_policy,
        session_affinity: spec.session_affinity,
        evidence: place.evidence,
    }
}

fn service_port(port: ServicePortSpec, place: &mut Place<'_, '_>) -> ServicePort {
    ServicePort {
        name: port.name.filter(|name| !name.is_empty()),
        protocol: place.protocol(port.protocol.as_deref()),
        port: port.port,
        node_port: port.node_port.filter(|port| *port != 0),
        target_port: port.target_port.map(|target| match target {
            NumberOrName::Number(number) => number.to_string(),
            NumberOrName::Name(name) => name,
        }),
    }
}

#[derive(Deserialize)]
struct SliceObject {
    metadata: Metadata<IgnoredAny, Words>,
    endpoints: Option<Vec<EndpointObject>>,
    ports: Option<Vec<EndpointPortObject>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointObject {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
    node_name: Option<String>,
    target_ref: Option<TargetRef>,
}

#[derive(Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct TargetRef {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct EndpointPortObject {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<u16>,
}

fn endpoint_slice(object: SliceObject, place: &mut Place<'_, '_>) -> EndpointSlice {
    let namespace = object.metadata.namespace().to_owned();
    let labels = object.metadata.labels.unwrap_or_default();
    let endpoints = object.endpoints.into_iter().flatten().map(|object| endpoint(object, &namespace, place)).collect();
    EndpointSlice {
        name: object.metadata.name,
        service: labels.get("kubernetes.io/service-name").cloned(),
        endpoints,
        ports: object.ports.into_iter().flatten().map(|port| endpoint_port(port, place)).collect(),
        namespace,
        evidence: place.evidence,
    }
}

fn endpoint(object: EndpointObject, namespace: &str, place: &mut Place<'_, '_>) -> Endpoint {
    let pod = object.target_ref.filter(|target| target.kind.as_deref() == Some("Pod")).and_then(|target| {
        let namespace = target.namespace.as_deref().unwrap_or(namespace);
        Some(PodName::new(namespace, &target.name?))
    });
    Endpoint {
        // Slices of type FQDN hold names, which nothing here follows.
        addresses: object.addresses.into_iter().flatten().filter_map(|ip| ip.parse::<IpAddr>().ok()).collect(),
        ready: object.conditions.and_then(|conditions| conditions.ready) != Some(false),
        node: object.node_name.map(|node| NodeName::new(&node)),
        pod,
    }
    .checked(place)
}

impl Endpoint {
    /// An endpoint that no address leads to is worth a word.
    fn checked(self, place: &mut Place<'_, '_>) -> Self {
        if self.addresses.is_empty() {
            place.notes.add(place.evidence, "an endpoint has no IP address");
        }
        self
    }
}

fn endpoint_port(port: EndpointPortObject, place: &mut Place<'_, '_>) -> EndpointPort {
    EndpointPort {
        name: port.name.filter(|name| !name.is_empty()),
        protocol: place.protocol(port.protocol.as_deref()),
        port: port.port,
    }
}

#[derive(Deserialize)]
struct PolicyObject {
    metadata: Metadata,
}

fn network_policy(object: PolicyObject, place: &mut Place<'_, '_>) -> NetworkPolicy {
    NetworkPolicy {
        namespace: object.metadata.namespace().to_owned(),
        name: object.metadata.name,
        evidence: place.evidence,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::load::load_files;

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
}
