//! Cluster DNS names, as Kubernetes' DNS specification gives them: services, and pods by address or by host name.

use std::net::IpAddr;

use crate::error::Error;

use crate::trace::Finding;

use super::service::Port;
use super::{End, Names, Role};

/// Says that a snapshot doesn't tell the cluster's domain, where a name ends in another one than clusters have.
fn unchecked(domain: &str) -> Option<Finding> {
    let what = || {
        format!(
            "the domain {domain} was not checked: no snapshot tells the cluster's, which is cluster.local unless its \
             kubelets are set to another one"
        )
    };
    (!domain.is_empty() && domain != "cluster.local").then(|| Finding::new(what(), Vec::new()))
}

impl Names<'_> {
    /// `NAME.NAMESPACE.svc[.DOMAIN]`, `HOST.NAME.NAMESPACE.svc[.DOMAIN]` and `10-244-1-5.NAMESPACE.pod[.DOMAIN]`;
    /// `None` for what isn't such a name.
    pub(super) fn dns(&self, name: &str, port: Option<u16>, role: Role) -> Option<Result<End, Error>> {
        if name.contains('/') {
            return None;
        }
        // DNS takes no notice of case (RFC 4343), and Kubernetes' own names have none.
        let lower = name.to_ascii_lowercase();
        let labels: Vec<&str> = lower.strip_suffix('.').unwrap_or(&lower).split('.').collect();
        let (found, domain) = match *labels.as_slice() {
            [service, namespace, "svc", ref domain @ ..] => {
                (self.service(namespace, service, port.map(Port::Number)), domain)
            }
            [host, service, namespace, "svc", ref domain @ ..] => {
                (self.host_of_service(host, namespace, service, port), domain)
            }
            [address, _, "pod", ref domain @ ..] if !domain.is_empty() => {
                (self.pod_address(address, port, role)?, domain)
            }
            _ => return None,
        };
        Some(found.map(|mut end| {
            end.findings.extend(unchecked(&domain.join(".")));
            end
        }))
    }

    /// A pod of a headless service by its host name, which is its own name unless its spec says otherwise.
    fn host_of_service(&self, host: &str, namespace: &str, service: &str, port: Option<u16>) -> Result<End, Error> {
        self.known_service(namespace, service)?;
        Ok(End { port, ..self.pod_in(namespace, host)? })
    }

    fn pod_address(&self, label: &str, port: Option<u16>, role: Role) -> Option<Result<End, Error>> {
        let address: IpAddr = label.replace('-', ".").parse().or_else(|_| label.replace('-', ":").parse()).ok()?;
        let literal = super::address::Literal::new(address, port);
        Some(self.address_end(literal, role))
    }
}
