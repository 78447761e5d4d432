//! Cluster DNS names, as Kubernetes' DNS specification gives them: services, and pods by address or by host name.

use std::net::IpAddr;

use crate::error::Error;

use super::service::Port;
use super::{End, Names, Role};

impl Names<'_> {
    /// `NAME.NAMESPACE.svc[.DOMAIN]`, `HOST.NAME.NAMESPACE.svc[.DOMAIN]` and `10-244-1-5.NAMESPACE.pod[.DOMAIN]`;
    /// `None` for what isn't such a name.
    pub(super) fn dns(&self, name: &str, port: Option<u16>, role: Role) -> Option<Result<End, Error>> {
        let labels: Vec<&str> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
        if name.contains('/') {
            return None;
        }
        match *labels.as_slice() {
            [service, namespace, "svc", ..] => Some(self.service(namespace, service, port.map(Port::Number))),
            [host, service, namespace, "svc", ..] => Some(self.host_of_service(host, namespace, service, port)),
            [address, _, "pod", _, ..] => self.pod_address(address, port, role),
            _ => None,
        }
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
