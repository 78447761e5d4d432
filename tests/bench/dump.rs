//! What `iptables-save -c` prints on a node of a large cluster: kube-proxy's rules for many services, put among the
//! lines of a small one's.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::Ipv4Addr;

/// The services and endpoints that a dump is made for.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many services, each with one port.
    pub services: u32,
    /// How many endpoints each of them has.
    pub endpoints: u32,
}

/// The pods that are behind every service, each of them with many ports.
const PODS: [Ipv4Addr; 3] = [Ipv4Addr::new(10, 244, 2, 2), Ipv4Addr::new(10, 244, 2, 3), Ipv4Addr::new(10, 244, 2, 4)];

impl Size {
    /// How many rules [`write`] adds.
    pub fn rules(self) -> u32 {
        self.services * (2 + 3 * self.endpoints)
    }

    /// Each of the services.
    pub fn each(self) -> impl Iterator<Item = Service> {
        (0..self.services).map(move |number| Service { number, endpoints: self.endpoints })
    }
}

/// One of the services.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    number: u32,
    endpoints: u32,
}

impl Service {
    /// The service with this number, from 0.
    pub fn of(size: Size, number: u32) -> Self {
        Self { number, endpoints: size.endpoints }
    }

    /// Its cluster IP. Its port is 80.
    pub fn cluster_ip(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 100, 0, 1).to_bits() + self.number)
    }

    /// The namespace of the Kubernetes object.
    pub fn namespace(self) -> String {
        format!("team-{}", self.number % 40)
    }

    /// The name of the Kubernetes object.
    pub fn name(self) -> String {
        format!("service-{}", self.number)
    }

    /// The name of its port, as kube-proxy writes it.
    fn port_name(self) -> String {
        format!("{}/{}:http", self.namespace(), self.name())
    }

    fn svc(self) -> String {
        format!("KUBE-SVC-{}", chain_hash(&self.port_name()))
    }

    /// Its endpoints.
    pub fn endpoints(self) -> impl Iterator<Item = Endpoint> {
        (0..self.endpoints).map(move |number| {
            let all = self.number * self.endpoints + number;
            let pod = PODS.get(number as usize % PODS.len()).copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
            let to = format!("{pod}:{}", 8080 + all);
            let sep = format!("KUBE-SEP-{}", chain_hash(&format!("{}{to}", self.port_name())));
            Endpoint { pod, to, sep }
        })
    }

    fn portal(self) -> String {
        let (ip, name) = (self.cluster_ip(), self.port_name());
        format!("-d {ip}/32 -p tcp -m comment --comment \"{name} cluster IP\" -m tcp --dport 80")
    }

    fn svc_rules(self) -> String {
        let (svc, name, portal) = (self.svc(), self.port_name(), self.portal());
        let mut text = format!("[0:0] -A {svc} ! -s 10.244.0.0/16 {portal} -j KUBE-MARK-MASQ\n");
        for (left, Endpoint { to, sep, .. }) in (1..=self.endpoints).rev().zip(self.endpoints()) {
            let _ = write!(text, "[0:0] -A {svc} -m comment --comment \"{name} -> {to}\" ");
            if left > 1 {
                let _ = write!(text, "-m statistic --mode random --probability {:.11} ", 1.0 / f64::from(left));
            }
            let _ = writeln!(text, "-j {sep}");
        }
        text
    }

    fn sep_rules(self) -> String {
        let name = self.port_name();
        self.endpoints().fold(String::new(), |mut text, Endpoint { pod, to, sep }| {
            let _ = writeln!(text, "[0:0] -A {sep} -s {pod}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ");
            let dnat = format!("-m tcp -j DNAT --to-destination {to}");
            let _ = writeln!(text, "[0:0] -A {sep} -p tcp -m comment --comment \"{name}\" {dnat}");
            text
        })
    }
}

/// A pod behind a service.
pub struct Endpoint {
    /// The pod's address.
    pub pod: Ipv4Addr,
    /// Its address and port.
    pub to: String,
    sep: String,
}

/// The 16 letters of a kube-proxy chain name.
pub fn chain_hash(text: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    // FNV-1a, 128 bits wide.
    let hash = text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    let letter = |n: u32| char::from(ALPHABET.get((hash >> (n * 5)) as usize & 31).copied().unwrap_or(b'A'));
    (0..16).map(letter).collect()
}

/// Lines of one service that go before the small cluster's first line of a kind.
struct Lines {
    before: &'static str,
    of: fn(Service) -> String,
}

const LINES: [Lines; 5] = [
    Lines {
        before: ":KUBE-SEP-",
        of: |service| {
            service.endpoints().fold(String::new(), |text, Endpoint { sep, .. }| text + ":" + &sep + " - [0:0]\n")
        },
    },
    Lines { before: ":KUBE-SVC-", of: |service| format!(":{} - [0:0]\n", service.svc()) },
    Lines { before: "[0:0] -A KUBE-SEP-", of: Service::sep_rules },
    Lines {
        before: "[0:0] -A KUBE-SERVICES ",
        of: |service| format!("[0:0] -A KUBE-SERVICES {} -j {}\n", service.portal(), service.svc()),
    },
    Lines { before: "[0:0] -A KUBE-SVC-", of: Service::svc_rules },
];

/// Writes a small cluster's dump with the services added, each chain's rules together and in kube-proxy's order.
pub fn write(base: &str, size: Size, to: &mut dyn Write) -> io::Result<()> {
    let (before, nat) = base.split_at(base.find("*nat\n").unwrap_or(base.len()));
    to.write_all(before.as_bytes())?;
    let mut missing = Vec::from(LINES);
    for line in nat.lines() {
        if let Some(place) = missing.iter().position(|lines| line.starts_with(lines.before)) {
            let lines = missing.remove(place);
            size.each().try_for_each(|service| to.write_all((lines.of)(service).as_bytes()))?;
        }
        writeln!(to, "{line}")?;
    }
    match missing.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(io::Error::other(format!("the small dump has no line that starts with {:?}", first.before))),
    }
}
