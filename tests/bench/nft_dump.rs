//! What `nft list ruleset` prints on a node of a large cluster whose kube-proxy writes nftables.

use std::io::{self, Write};

use super::dump::{Endpoint, Service, Size, chain_hash};

/// What stands before the elements of the cluster IPs.
const HEAD: &str = r#"table ip kube-proxy {
	comment "rules for kube-proxy"

	set cluster-ips {
		type ipv4_addr
		comment "Active ClusterIPs"
		elements = { "#;

/// What stands between these and the elements of the services.
const MAPS: &str = r#" }
	}

	set nodeport-ips {
		type ipv4_addr
		comment "IPs that accept NodePort traffic"
		elements = { 192.0.2.11 }
	}

	map no-endpoint-services {
		type ipv4_addr . inet_proto . inet_service : verdict
		comment "vmap to drop or reject packets to services with no endpoints"
	}

	map no-endpoint-nodeports {
		type inet_proto . inet_service : verdict
		comment "vmap to drop or reject packets to service nodeports with no endpoints"
	}

	map firewall-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		comment "destinations that are subject to LoadBalancerSourceRanges"
	}

	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"
		elements = { "#;

/// What stands between these and the chains of the services.
const CHAINS: &str = r#" }
	}

	map service-nodeports {
		type inet_proto . inet_service : verdict
		comment "NodePort traffic"
	}

	chain filter-prerouting {
		type filter hook prerouting priority dstnat - 10; policy accept;
		ct state new jump firewall-check
	}

	chain filter-input {
		type filter hook input priority -110; policy accept;
		ct state new jump nodeport-endpoints-check
		ct state new jump service-endpoints-check
	}

	chain filter-forward {
		type filter hook forward priority -110; policy accept;
		ct state new jump service-endpoints-check
		ct state new jump cluster-ips-check
	}

	chain filter-output {
		type filter hook output priority -110; policy accept;
		ct state new jump service-endpoints-check
		ct state new jump firewall-check
	}

	chain filter-output-post-dnat {
		type filter hook output priority -90; policy accept;
		ct state new jump cluster-ips-check
	}

	chain nat-prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		jump services
	}

	chain nat-output {
		type nat hook output priority -100; policy accept;
		jump services
	}

	chain nat-postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		jump masquerading
	}

	chain nodeport-endpoints-check {
		ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
	}

	chain service-endpoints-check {
		ip daddr . meta l4proto . th dport vmap @no-endpoint-services
	}

	chain firewall-check {
		ip daddr . meta l4proto . th dport vmap @firewall-ips
	}

	chain services {
		ip daddr . meta l4proto . th dport vmap @service-ips
		ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
	}

	chain masquerading {
		meta mark & 0x00004000 == 0x00000000 return
		meta mark set meta mark ^ 0x00004000
		masquerade fully-random
	}

	chain cluster-ips-check {
		ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
	}

	chain mark-for-masquerade {
		meta mark set meta mark | 0x00004000
	}

	chain reject-chain {
		reject
	}
"#;

/// Writes the small cluster's own listing with kube-proxy's table behind it.
pub fn write(base: &str, size: Size, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(base.as_bytes())?;
    write_table(base, size, to)
}

/// Writes kube-proxy's table alone, which `nft` reads again: what a listing says of iptables' tables it does not.
pub fn write_table(_: &str, size: Size, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(HEAD.as_bytes())?;
    let addresses = size.each().map(|service| service.cluster_ip().to_string());
    let rows = addresses.collect::<Vec<_>>();
    let rows: Vec<String> = rows.chunks(2).map(|two| two.join(", ")).collect();
    to.write_all(elements(&rows).as_bytes())?;
    to.write_all(MAPS.as_bytes())?;
    let row = |service: Service| format!("{} . tcp . 80 : goto {}", service.cluster_ip(), chain(service));
    to.write_all(elements(&size.each().map(row).collect::<Vec<_>>()).as_bytes())?;
    to.write_all(CHAINS.as_bytes())?;
    size.each().try_for_each(|service| to.write_all(chains(service).as_bytes()))?;
    to.write_all(b"}\n")
}

/// The rows of a set's elements, each below the first one.
fn elements(rows: &[String]) -> String {
    rows.join(",\n\t\t\t     ")
}

/// The name of a service's chain.
fn chain(service: Service) -> String {
    named("service", &port(service))
}

fn port(service: Service) -> String {
    format!("{}/{}/tcp/http", service.namespace(), service.name())
}

fn named(kind: &str, what: &str) -> String {
    let hash: String = chain_hash(what).chars().take(8).collect();
    format!("{kind}-{hash}-{what}")
}

fn endpoint_chain(service: Service, endpoint: &Endpoint) -> String {
    named("endpoint", &format!("{}__{}", port(service), endpoint.to.replace(':', "/")))
}

/// A service's chain and those of its endpoints.
fn chains(service: Service) -> String {
    let endpoints: Vec<Endpoint> = service.endpoints().collect();
    let names: Vec<String> = endpoints.iter().map(|endpoint| endpoint_chain(service, endpoint)).collect();
    let ways: Vec<String> = names.iter().zip(0..).map(|(name, number)| format!("{number} : goto {name}")).collect();
    let (ip, count, ways) = (service.cluster_ip(), names.len(), ways.join(", "));
    let masquerade = format!("ip daddr {ip} tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade");
    let spread = format!("numgen random mod {count} vmap {{ {ways} }}");
    let of_endpoints = names.iter().zip(&endpoints).map(|(name, Endpoint { pod, to, .. })| {
        let hairpin = format!("ip saddr {pod} jump mark-for-masquerade");
        format!("\n\tchain {name} {{\n\t\t{hairpin}\n\t\tmeta l4proto tcp dnat to {to}\n\t}}\n")
    });
    let of_service = format!("\n\tchain {} {{\n\t\t{masquerade}\n\t\t{spread}\n\t}}\n", chain(service));
    of_service + &of_endpoints.collect::<String>()
}
