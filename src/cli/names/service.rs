//! Services and their ports.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::error::Error;
use crate::evidence::Gap;
use crate::load;
use crate::net::Protocol;
use crate::snapshot::{Service, ServicePort};
use crate::trace::Finding;

use super::super::unread;
use super::{End, Home, Kind, Names, address, near, usage};

/// A service's port as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port<'a> {
    Number(u16),
    Name(&'a str),
}

impl Names<'_> {
    /// `svc/NAMESPACE/NAME[:PORT]`, or `svc/NAME[:PORT]` in the namespace of `-n` (else `default`).
    pub(super) fn service_path(&self, text: &str, rest: &str) -> Result<End, Error> {
        let (path, port) = match rest.split_once(':') {
            Some((path, port)) => (path, Some(parse_port(text, port)?)),
            None => (rest, None),
        };
        match path.split_once('/') {
            Some((namespace, name)) if !name.contains('/') => self.service(namespace, name, port),
            None => self.service(self.namespace.unwrap_or("default"), path, port),
            Some(_) => Err(usage(format!("{text}: a service is svc/NAMESPACE/NAME[:PORT]"))),
        }
    }

    pub(super) fn has_service(&self, namespace: &str, name: &str) -> bool {
        self.snapshot.kube.service(namespace, name).is_some()
    }

    /// The service's cluster address and port.
    pub(super) fn service(&self, namespace: &str, name: &str, port: Option<Port<'_>>) -> Result<End, Error> {
        let service = &*self.known_service(namespace, name)?;
        self.refuse_without_address(service)?;
        let port = port.or(self.port.map(Port::Number));
        let chosen = self.choose(service, port)?;
        let kind = Kind::Service(namespace.to_owned(), name.to_owned());
        let mut end = End::new(kind, Home::Nowhere, address::one_each(service.cluster_ips.iter().copied()));
        end.gaps.extend(load::broken_endpoint_slices(self.snapshot));
        Ok(match (chosen, port) {
            (Some(found), _) => End {
                port: Some(found.port),
                protocol: Some(found.protocol),
                findings: self.by_comment(service).into_iter().chain(self.choice(service, found, port)).collect(),
                ..end
            },
            (None, Some(Port::Number(number))) => End { port: Some(number), ..end },
            (None, _) => end,
        })
    }

    pub(super) fn known_service(&self, namespace: &str, name: &str) -> Result<Cow<'_, Service>, Error> {
        let Some(services) = &self.snapshot.kube.services else {
            if let Some(told) = load::service_in_rules(self.snapshot, namespace, name) {
                return Ok(Cow::Owned(told));
            }
            let what = "the snapshot has no cluster/services.json, so that no service has a name; give its address";
            return Err(usage(format!("svc/{namespace}/{name}: {what}")));
        };
        self.snapshot.kube.service(namespace, name).map(Cow::Borrowed).ok_or_else(|| {
            let known = services.iter().map(|service| format!("svc/{}/{}", service.namespace, service.name));
            let known: Vec<String> = known.collect();
            let hint = match near::hint(&format!("svc/{namespace}/{name}"), known.clone(), |near| near) {
                none if none.is_empty() => {
                    let near = near::hint(name, known.clone(), |near| near.rsplit('/').next().unwrap_or(near));
                    near::or_list(near, known)
                }
                hint => hint,
            };
            let unread = unread::of_file(self.snapshot, "cluster/services.json");
            usage(format!("no service {namespace}/{name} in cluster/services.json{hint}{unread}"))
        })
    }

    /// Says that a service's address stands in no object.
    fn by_comment(&self, service: &Service) -> Option<Finding> {
        let what = || {
            let name = full_name(service);
            format!("the snapshot has no cluster/services.json: the comment of a rule tells what {name} is")
        };
        self.snapshot.kube.services.is_none().then(|| Finding::new(what(), vec![service.evidence]))
    }

    /// A service without a cluster address is no destination: its name stands for something else.
    fn refuse_without_address(&self, service: &Service) -> Result<(), Error> {
        let name = format!("svc/{}/{}", service.namespace, service.name);
        if let Some(external) = &service.external_name {
            return Err(usage(format!(
                "{name} is an ExternalName: DNS answers with {external}; give that name's address"
            )));
        }
        if service.headless {
            let (endpoints, gaps) = self.endpoints(service);
            let list = if endpoints.is_empty() { "it has none".to_owned() } else { endpoints.join(", ") };
            let unread = unread::first_of(self.snapshot, &gaps, "cluster/endpointslices.json");
            return Err(usage(format!(
                "{name} is headless: its name stands for its endpoints; name one of them: {list}{unread}"
            )));
        }
        if service.cluster_ips.is_empty() {
            return Err(usage(format!("{name} has no cluster address in cluster/services.json")));
        }
        Ok(())
    }

    /// The endpoints, and what could not be read of them.
    fn endpoints(&self, service: &Service) -> (Vec<String>, Vec<Gap>) {
        let (slices, gaps) = load::endpoint_slices(self.snapshot).unwrap_or_default();
        let endpoints = slices.iter().filter(|slice| slice.is_of(service)).flat_map(|slice| &slice.endpoints);
        let name = |address: &IpAddr, pod: Option<String>| match pod {
            Some(pod) => format!("{pod} ({address})"),
            None => address.to_string(),
        };
        let named = endpoints.flat_map(|endpoint| {
            let pod = endpoint.pod.as_ref().map(ToString::to_string);
            endpoint.addresses.iter().map(move |address| name(address, pod.clone()))
        });
        (named.collect(), gaps)
    }

    /// Says which port is taken where the name fits several: the first.
    fn choice(&self, service: &Service, taken: &ServicePort, asked: Option<Port<'_>>) -> Option<Finding> {
        let protocol = |found: &&ServicePort| self.protocol.is_none_or(|protocol| protocol == found.protocol);
        let fits = |found: &&ServicePort| match asked {
            Some(Port::Number(number)) => found.port == number,
            Some(Port::Name(_)) => false,
            None => true,
        };
        let several = service.ports.iter().filter(protocol).filter(fits).count() > 1;
        let what =
            || format!("{} is asked at {taken}, the first port that fits: {}", full_name(service), listed(service));
        several.then(|| Finding::new(what(), vec![service.evidence]))
    }

    /// The port that is meant. `None` where the question needs none (a ping), or names a number that the service
    /// doesn't have, which is as good a question.
    fn choose<'s>(&self, service: &'s Service, port: Option<Port<'_>>) -> Result<Option<&'s ServicePort>, Error> {
        let fits = |found: &&ServicePort| self.protocol.is_none_or(|protocol| protocol == found.protocol);
        let mut ports = service.ports.iter();
        match port {
            Some(Port::Number(number)) => Ok(ports.filter(|found| found.port == number).find(fits)),
            Some(Port::Name(name)) => match ports.find(|found| found.name.as_deref() == Some(name)) {
                Some(found) => Ok(Some(found)),
                None => Err(usage(format!("{} has no port {name:?}; {}", full_name(service), listed(service)))),
            },
            None if matches!(self.protocol, Some(Protocol::ICMP | Protocol::ICMPV6)) => Ok(None),
            None => ports.find(fits).map(Some).ok_or_else(|| {
                let protocol = self.protocol.map(|protocol| format!(" for {protocol}")).unwrap_or_default();
                usage(format!("{} has no port{protocol}: {}", full_name(service), listed(service)))
            }),
        }
    }
}

fn parse_port<'a>(text: &str, port: &'a str) -> Result<Port<'a>, Error> {
    match port.parse() {
        Ok(0) => Err(usage(format!("{text}: 0 is no port"))),
        Ok(number) => Ok(Port::Number(number)),
        Err(_) if port.is_empty() || port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(usage(format!("{text}: {port:?} is no port")))
        }
        Err(_) => Ok(Port::Name(port)),
    }
}

fn full_name(service: &Service) -> String {
    format!("svc/{}/{}", service.namespace, service.name)
}

fn listed(service: &Service) -> String {
    match service.ports.as_slice() {
        [] => "it has none".to_owned(),
        ports => format!("it has {}", ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}
