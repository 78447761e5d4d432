//! The network between nodes: a switch for each subnet, the gateway with the world behind it, a client.

use super::flannel::{CLIENT4, CLIENT6, Cluster, INTERNET4, INTERNET6};
use super::kube_proxy::Service;
use super::node::Node;
use super::scenario::{Place, Plug, Scenario, Space, Wire};

/// A router outside the snapshot says nothing when TTL ends at it: nobody can know whether it would.
const SILENT_ROUTER: &str = "table inet silent {
  chain out {
    type filter hook output priority 0;
    icmp type time-exceeded drop
    icmpv6 type time-exceeded drop
  }
}
";

impl Cluster {
    fn hidden(&self, name: &str) -> Space {
        let mut space = Space::new(name, Place::Hidden);
        self.add_defaults(&mut space, 0);
        space
    }

    /// The switch of each subnet, the gateway with the world behind it, and a client in the first subnet.
    pub fn add_underlay(&self, scenario: &mut Scenario) {
        let mut world = self.hidden("world");
        world.sysctl("ipv4/ip_forward", 1);
        world.nft.push_str(SILENT_ROUTER);
        // What lies behind the gateway is not on the link.
        world.sysctl("ipv4/conf/all/arp_ignore", 1);
        world.ip(format!("addr add {INTERNET4}/32 dev lo")).ip("route add blackhole default");
        world.ip("route add local 203.0.113.0/24 dev lo");
        if self.dual_stack {
            world.sysctl("ipv6/conf/all/forwarding", 1);
            world.ip(format!("addr add {INTERNET6}/128 dev lo nodad")).ip("route add blackhole ::/0");
            world.ip("route add local 2001:db8:113::/48 dev lo");
        }
        for subnet in 0..=u8::from(self.nodes.iter().any(|node| node.subnet == 1 || node.second_uplink)) {
            let mut switch = self.hidden(&format!("switch{subnet}"));
            switch.ip("link add br0 type bridge mcast_snooping 0").ip("link set br0 up");
            scenario.spaces.push(switch);
            let gateway = Node { subnet, ..Node::new(1) };
            let dev = format!("eth{subnet}");
            world.ip(format!("addr add {}/24 brd + dev {dev}", gateway.gateway4())).ip(format!("link set {dev} up"));
            if self.dual_stack {
                world.ip(format!("addr add {}/64 dev {dev} nodad", gateway.gateway6()));
            }
            let plug = Plug {
                space: "world".to_owned(),
                dev,
                index: 2 + u32::from(subnet),
                mac: format!("52:54:00:00:0{subnet}:01"),
            };
            self.add_neighbours(&mut world, &plug.dev, subnet);
            self.plug_into_switch(scenario, subnet, plug);
        }
        scenario.spaces.push(world);
        let mut client = self.hidden("client");
        client.ip(format!("addr add {CLIENT4}/24 brd + dev eth0")).ip("link set eth0 up");
        client.ip("route add default via 192.0.2.1");
        if self.dual_stack {
            client.ip(format!("addr add {CLIENT6}/64 dev eth0 nodad")).ip("route add default via 2001:db8:2::1");
        }
        self.add_neighbours(&mut client, "eth0", 0);
        self.add_client_routes(&mut client);
        scenario.spaces.push(client);
        let mac = "52:54:00:00:00:c8".to_owned();
        self.plug_into_switch(scenario, 0, Plug { space: "client".to_owned(), dev: "eth0".to_owned(), index: 2, mac });
    }

    /// Machines outside the snapshot are taken to know the nodes' link addresses.
    fn add_neighbours(&self, space: &mut Space, dev: &str, subnet: u8) {
        for node in &self.nodes {
            let mac = if node.subnet == subnet { node.uplink_mac() } else { node.second_uplink_mac() };
            if node.subnet == subnet {
                for &family in self.families() {
                    space.ip(format!("neigh add {} lladdr {mac} dev {dev} nud permanent", node.address_of(family)));
                }
            } else if node.second_uplink {
                space.ip(format!("neigh add {} lladdr {mac} dev {dev} nud permanent", node.second_address4()));
            }
        }
    }

    /// The client sends to pods by way of their node, and to service addresses by way of any.
    fn add_client_routes(&self, client: &mut Space) {
        let here = || self.nodes.iter().filter(|node| node.subnet == 0);
        for &family in self.families() {
            for node in here() {
                let cidr = if family == 4 { node.pod_cidr4() } else { node.pod_cidr6() };
                client.ip(format!("route add {cidr} via {}", node.address_of(family)));
            }
            let hops: Vec<String> = here().map(|node| format!("nexthop via {}", node.address_of(family))).collect();
            let hops = hops.join(" ");
            let mut prefixes = vec![if family == 4 { "10.96.0.0/16".to_owned() } else { "fd00:10:96::/64".to_owned() }];
            let lent = |service: &Service| [service.external_ips.clone(), service.load_balancer_ips.clone()].concat();
            let lent = self.services.iter().flat_map(lent).filter(|ip| ip.is_ipv4() == (family == 4));
            prefixes.extend(lent.map(|ip| ip.to_string()));
            prefixes.sort();
            prefixes.dedup();
            for prefix in prefixes {
                client.ip(format!("route add {prefix} {hops}"));
            }
        }
    }

    /// Joins a device to a subnet's switch.
    pub fn plug_into_switch(&self, scenario: &mut Scenario, subnet: u8, plug: Plug) {
        let name = format!("switch{subnet}");
        let number = 100 + scenario.wires.len();
        let port = Plug {
            space: name.clone(),
            dev: format!("p{number}"),
            index: u32::try_from(number).unwrap_or(u32::MAX),
            mac: format!("02:00:00:00:00:{number:02x}"),
        };
        let switch = scenario.spaces.iter_mut().find(|space| space.name == name).expect("the subnet has a switch");
        switch.ip(format!("link set {} master br0", port.dev)).ip(format!("link set {} up", port.dev));
        // A switch that knows its machines floods to nobody else.
        switch.bridge.push(format!("fdb add {} dev {} master static", plug.mac, port.dev));
        scenario.wires.push(Wire { a: plug, b: port, mtu: self.mtu });
    }

    /// A node's uplinks.
    pub fn add_uplink(&self, node: &Node, host: &mut Space, scenario: &mut Scenario) {
        host.ip(format!("addr add {}/24 brd + dev eth0", node.address4())).ip("link set eth0 up");
        host.ip(format!("route add default via {} dev eth0 proto static", node.gateway4()));
        if self.dual_stack {
            host.ip(format!("addr add {}/64 dev eth0 nodad", node.address6()));
            host.ip(format!("route add default via {} dev eth0 proto static", node.gateway6()));
        }
        let plug = Plug { space: node.name(), dev: "eth0".to_owned(), index: 2, mac: node.uplink_mac() };
        self.plug_into_switch(scenario, node.subnet, plug);
        if node.second_uplink {
            host.ip(format!("addr add {}/24 brd + dev eth1", node.second_address4())).ip("link set eth1 up");
            let mac = node.second_uplink_mac();
            self.plug_into_switch(scenario, 1, Plug { space: node.name(), dev: "eth1".to_owned(), index: 3, mac });
        }
    }
}
