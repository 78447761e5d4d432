//! What `kubectl get services,endpointslices -A -o json` prints for the services of a dump.

use std::io::{self, Write};
use std::net::Ipv4Addr;

use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Value, json};

use super::dump::{Service, Size};

const UID: &str = "2f9d1c1e-0000-4000-8000-0123456789ab";

/// Writes the list of services, those of the base first.
pub fn write_services(base: &str, size: Size, to: &mut dyn Write) -> io::Result<()> {
    write_list(base, size.each().map(service), to)
}

/// Writes the list of endpoint slices, those of the base first.
pub fn write_slices(base: &str, size: Size, to: &mut dyn Write) -> io::Result<()> {
    write_list(base, size.each().map(slice), to)
}

/// Objects as kubectl prints them: indented by four.
fn write_list(base: &str, objects: impl Iterator<Item = Value>, to: &mut dyn Write) -> io::Result<()> {
    let mut list: Value = serde_json::from_str(base)?;
    let items = list.get_mut("items").and_then(Value::as_array_mut);
    items.ok_or_else(|| io::Error::other("the small cluster has no list of objects"))?.extend(objects);
    list.serialize(&mut Serializer::with_formatter(to, PrettyFormatter::with_indent(b"    ")))?;
    Ok(())
}

fn service(service: Service) -> Value {
    let ip = service.cluster_ip();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "creationTimestamp": "2024-05-01T10:00:00Z",
            "name": service.name(),
            "namespace": service.namespace(),
            "resourceVersion": "100000",
            "uid": UID,
        },
        "spec": {
            "clusterIP": ip,
            "clusterIPs": [ip],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }],
            "selector": { "app": service.name() },
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": { "loadBalancer": {} },
    })
}

fn slice(service: Service) -> Value {
    json!({
        "addressType": "IPv4",
        "apiVersion": "discovery.k8s.io/v1",
        "endpoints": service.endpoints().map(|endpoint| pod(endpoint.pod)).collect::<Vec<_>>(),
        "kind": "EndpointSlice",
        "metadata": {
            "creationTimestamp": "2024-05-01T10:00:00Z",
            "generateName": format!("{}-", service.name()),
            "generation": 3,
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": service.name(),
            },
            "name": format!("{}-x7k2p", service.name()),
            "namespace": service.namespace(),
            "ownerReferences": [{
                "apiVersion": "v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "Service",
                "name": service.name(),
                "uid": UID,
            }],
            "resourceVersion": "100000",
            "uid": UID,
        },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

fn pod(address: Ipv4Addr) -> Value {
    json!({
        "addresses": [address],
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "nodeName": "n2",
        "targetRef": { "kind": "Pod", "name": "web-1", "namespace": "shop", "uid": UID },
    })
}
