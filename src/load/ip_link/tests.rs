use proptest::prelude::*;

use super::super::check::{FILE, anywhere, clean, gappy, survives};
use super::*;
use crate::net::{MacAddr, VlanProtocol, Vni};
use crate::snapshot::{Bridge, BridgePort, PortState, Vlan, Vxlan, VxlanTtl};

/// `ip -d link show` of one device of each kind.
const TEXT: &str = "\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0 addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
2: eth0@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether 1a:6c:59:b0:4a:df brd ff:ff:ff:ff:ff:ff link-netnsid 0 promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    veth addrgenmode eui64 numtxqueues 2 numrxqueues 2 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
4: dum0@dumx: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether aa:ab:01:34:3d:bf brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    veth addrgenmode eui64 numtxqueues 2 numrxqueues 2 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
    alias my alias with \\    words
    altname dumdum
5: cni0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether 3e:b8:e6:9c:89:72 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    bridge forward_delay 1500 hello_time 200 max_age 2000 ageing_time 30000 stp_state 0 priority 32768 vlan_filtering 0 bridge_id 8000.3e:b8:e6:9c:89:72 designated_root 8000.3e:b8:e6:9c:89:72 root_port 0 root_path_cost 0 topology_change 0 topology_change_detected 0 hello_timer    0.00 tcn_timer    0.00 topology_change_timer    0.00 gc_timer  273.50 group_fwd_mask 0 group_address 01:80:c2:00:00:00 mcast_snooping 1 no_linklocal_learn 0 mcast_vlan_snooping 0 mcast_router 1 mcast_query_use_ifaddr 0 mcast_querier 0 mcast_hash_elasticity 16 mcast_hash_max 4096 mcast_last_member_count 2 mcast_startup_query_count 2 mcast_last_member_interval 100 mcast_membership_interval 26000 mcast_querier_interval 25500 mcast_query_interval 12500 mcast_query_response_interval 1000 mcast_startup_query_interval 3124 mcast_stats_enabled 0 mcast_igmp_version 2 mcast_mld_version 1 nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0 addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
6: vethc4d6@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master cni0 state UP mode DEFAULT group default qlen 1000
    link/ether 3e:b8:e6:9c:89:72 brd ff:ff:ff:ff:ff:ff link-netnsid 1 promiscuity 1  allmulti 1 minmtu 68 maxmtu 65535 
    veth 
    bridge_slave state forwarding priority 32 cost 2 hairpin on guard off root_block off fastleave off learning on flood on port_id 0x8001 port_no 0x1 designated_port 32769 designated_cost 0 designated_bridge 8000.3e:b8:e6:9c:89:72 designated_root 8000.3e:b8:e6:9c:89:72 hold_timer    0.00 message_age_timer    0.00 forward_delay_timer    0.00 topology_change_ack 0 config_pending 0 proxy_arp off proxy_arp_wifi off mcast_router 1 mcast_fast_leave off mcast_flood on bcast_flood on mcast_to_unicast off neigh_suppress off group_fwd_mask 0 group_fwd_mask_str 0x0 vlan_tunnel off isolated on locked off addrgenmode eui64 numtxqueues 2 numrxqueues 2 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
10: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/ether 22:7f:c4:c9:fb:4f brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    vxlan id 1 local 192.0.2.11 dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
11: vx2: <BROADCAST,MULTICAST> mtu 1450 qdisc noop state DOWN mode DEFAULT group default qlen 1000
    link/ether a6:3e:b1:a1:c2:8c brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    vxlan id 2 group 239.1.1.1 dev eth0 srcport 1000 2000 dstport 4789 tos inherit ttl 5 df set ageing 100 udpcsum noudp6zerocsumtx noudp6zerocsumrx addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 tso_max_size 524280 tso_max_segs 65535 gro_max_size 65536 
13: vx4: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN mode DEFAULT group default qlen 1000
    link/ether 7a:cb:99:dc:d6:07 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    vxlan id 4 remote 2001:db8:1::99 local 2001:db8:1::11 srcport 0 0 dstport 4791 proxy rsc l2miss l3miss tos 0x10 ttl inherit df inherit ageing 300 noudpcsum noudp6zerocsumtx noudp6zerocsumrx gbp addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 tso_max_size 65536 tso_max_segs 65535 gro_max_size 65536 
14: flannel0: <NO-CARRIER,POINTOPOINT,MULTICAST,NOARP,UP> mtu 1500 qdisc pfifo_fast state DOWN mode DEFAULT group default qlen 500
    link/none  promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 
    tun type tun pi off vnet_hdr off persist on addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535 tso_max_size 65536 tso_max_segs 65535 gro_max_size 65536 
15: tap0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN mode DEFAULT group default qlen 1000
    link/ether 32:85:ad:69:5b:e6 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65521 
    tun type tap pi off vnet_hdr off multi_queue numqueues 0 numdisabled 0 persist on user openvpn addrgenmode eui64 numtxqueues 256 numrxqueues 256 gso_max_size 65536 gso_max_segs 65535 tso_max_size 65536 tso_max_segs 65535 gro_max_size 65536 
";

/// `ip -j -d link show` of the same devices, each asked for by its name.
const JSON: &str = r#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"qdisc":"noqueue","operstate":"UNKNOWN","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"loopback","address":"00:00:00:00:00:00","broadcast":"00:00:00:00:00:00","promiscuity":0,"allmulti":0,"min_mtu":0,"max_mtu":0,"inet6_addr_gen_mode":"eui64","num_tx_queues":1,"num_rx_queues":1,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536}]
[{"ifindex":2,"link_index":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue","operstate":"UP","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"1a:6c:59:b0:4a:df","broadcast":"ff:ff:ff:ff:ff:ff","link_netnsid":0,"promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"veth"},"inet6_addr_gen_mode":"eui64","num_tx_queues":2,"num_rx_queues":2,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536}]
[{"ifindex":4,"link":"dumx","ifname":"dum0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue","operstate":"UP","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"aa:ab:01:34:3d:bf","broadcast":"ff:ff:ff:ff:ff:ff","promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"veth"},"inet6_addr_gen_mode":"eui64","num_tx_queues":2,"num_rx_queues":2,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536,"ifalias":"my alias with \\    words","altnames":["dumdum"]}]
[{"ifindex":5,"ifname":"cni0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue","operstate":"UP","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"3e:b8:e6:9c:89:72","broadcast":"ff:ff:ff:ff:ff:ff","promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"bridge","info_data":{"forward_delay":1500,"hello_time":200,"max_age":2000,"ageing_time":30000,"stp_state":0,"priority":32768,"vlan_filtering":0,"bridge_id":"8000.3e:b8:e6:9c:89:72","root_id":"8000.3e:b8:e6:9c:89:72","root_port":0,"root_path_cost":0,"topology_change":0,"topology_change_detected":0,"hello_timer":0.00,"tcn_timer":0.00,"topology_change_timer":0.00,"gc_timer":273.43,"group_fwd_mask":"0","group_addr":"01:80:c2:00:00:00","mcast_snooping":1,"no_linklocal_learn":0,"mcast_vlan_snooping":0,"mcast_router":1,"mcast_query_use_ifaddr":0,"mcast_querier":0,"mcast_hash_elasticity":16,"mcast_hash_max":4096,"mcast_last_member_cnt":2,"mcast_startup_query_cnt":2,"mcast_last_member_intvl":100,"mcast_membership_intvl":26000,"mcast_querier_intvl":25500,"mcast_query_intvl":12500,"mcast_query_response_intvl":1000,"mcast_startup_query_intvl":3124,"mcast_stats_enabled":0,"mcast_igmp_version":2,"mcast_mld_version":1,"nf_call_iptables":0,"nf_call_ip6tables":0,"nf_call_arptables":0}},"inet6_addr_gen_mode":"eui64","num_tx_queues":1,"num_rx_queues":1,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536}]
[{"ifindex":6,"link_index":2,"ifname":"vethc4d6","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"qdisc":"noqueue","master":"cni0","operstate":"UP","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"3e:b8:e6:9c:89:72","broadcast":"ff:ff:ff:ff:ff:ff","link_netnsid":1,"promiscuity":1,"allmulti":1,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"veth","info_slave_kind":"bridge","info_slave_data":{"state":"forwarding","priority":32,"cost":2,"hairpin":true,"guard":false,"root_block":false,"fastleave":false,"learning":true,"flood":true,"id":"0x8001","no":"0x1","designated_port":32769,"designated_cost":0,"bridge_id":"8000.3e:b8:e6:9c:89:72","root_id":"8000.3e:b8:e6:9c:89:72","hold_timer":0.00,"message_age_timer":0.00,"forward_delay_timer":0.00,"topology_change_ack":0,"config_pending":0,"proxy_arp":false,"proxy_arp_wifi":false,"multicast_router":1,"mcast_flood":true,"bcast_flood":true,"mcast_to_unicast":false,"neigh_suppress":false,"group_fwd_mask":"0","group_fwd_mask_str":"0x0","vlan_tunnel":false,"isolated":true,"locked":false}},"inet6_addr_gen_mode":"eui64","num_tx_queues":2,"num_rx_queues":2,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536}]
[{"ifindex":10,"ifname":"flannel.1","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1450,"qdisc":"noqueue","operstate":"UNKNOWN","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"22:7f:c4:c9:fb:4f","broadcast":"ff:ff:ff:ff:ff:ff","promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"vxlan","info_data":{"id":1,"local":"192.0.2.11","link":"eth0","port_range":{"low":0,"high":0},"port":8472,"learning":false,"ttl":0,"df":"unset","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}},"inet6_addr_gen_mode":"eui64","num_tx_queues":1,"num_rx_queues":1,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536}]
[{"ifindex":11,"ifname":"vx2","flags":["BROADCAST","MULTICAST"],"mtu":1450,"qdisc":"noop","operstate":"DOWN","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"a6:3e:b1:a1:c2:8c","broadcast":"ff:ff:ff:ff:ff:ff","promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"vxlan","info_data":{"id":2,"group":"239.1.1.1","link":"eth0","port_range":{"low":1000,"high":2000},"port":4789,"learning":true,"tos":"0x1","ttl":5,"df":"set","ageing":100,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}},"inet6_addr_gen_mode":"eui64","num_tx_queues":1,"num_rx_queues":1,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":524280,"tso_max_segs":65535,"gro_max_size":65536}]
[{"ifindex":13,"ifname":"vx4","flags":["BROADCAST","MULTICAST"],"mtu":1500,"qdisc":"noop","operstate":"DOWN","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"7a:cb:99:dc:d6:07","broadcast":"ff:ff:ff:ff:ff:ff","promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"vxlan","info_data":{"id":4,"remote6":"2001:db8:1::99","local6":"2001:db8:1::11","port_range":{"low":0,"high":0},"port":4791,"learning":true,"proxy":true,"rsc":true,"l2miss":true,"l3miss":true,"tos":"0x10","df":"inherit","ageing":300,"udp_csum":false,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false,"gbp":true}},"inet6_addr_gen_mode":"eui64","num_tx_queues":1,"num_rx_queues":1,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":65536,"tso_max_segs":65535,"gro_max_size":65536}]
[{"ifindex":14,"ifname":"flannel0","flags":["NO-CARRIER","POINTOPOINT","MULTICAST","NOARP","UP"],"mtu":1500,"qdisc":"pfifo_fast","operstate":"DOWN","linkmode":"DEFAULT","group":"default","txqlen":500,"link_type":"none","promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65535,"linkinfo":{"info_kind":"tun","info_data":{"type":"tun","pi":false,"vnet_hdr":false,"multi_queue":false,"persist":true}},"inet6_addr_gen_mode":"eui64","num_tx_queues":1,"num_rx_queues":1,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":65536,"tso_max_segs":65535,"gro_max_size":65536}]
[{"ifindex":15,"ifname":"tap0","flags":["BROADCAST","MULTICAST"],"mtu":1500,"qdisc":"noop","operstate":"DOWN","linkmode":"DEFAULT","group":"default","txqlen":1000,"link_type":"ether","address":"32:85:ad:69:5b:e6","broadcast":"ff:ff:ff:ff:ff:ff","promiscuity":0,"allmulti":0,"min_mtu":68,"max_mtu":65521,"linkinfo":{"info_kind":"tun","info_data":{"type":"tap","pi":false,"vnet_hdr":false,"multi_queue":true,"numqueues":0,"numdisabled":0,"persist":true,"user":"openvpn"}},"inet6_addr_gen_mode":"eui64","num_tx_queues":256,"num_rx_queues":256,"gso_max_size":65536,"gso_max_segs":65535,"tso_max_size":65536,"tso_max_segs":65535,"gro_max_size":65536}]
"#;

fn read(text: &str) -> Vec<Link> {
    clean(|gaps| parse(FILE, text, gaps))
}

fn find<'a>(links: &'a [Link], name: &str) -> &'a Link {
    links.iter().find(|link| link.name == *name).unwrap()
}

fn vxlan_of<'a>(links: &'a [Link], name: &str) -> &'a Vxlan {
    match &find(links, name).kind {
        LinkKind::Vxlan(vxlan) => vxlan,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn text_and_json_of_the_same_namespace_are_the_same_rows() {
    let text = read(TEXT);
    let (json, rows) = clean(|gaps| parse_json(FILE, JSON, gaps));
    assert_eq!(text.len(), 10);
    assert_eq!(anywhere(text), anywhere(json.clone()));
    assert_eq!(anywhere(read(&rows.join("\n"))), anywhere(json));
}

#[test]
fn the_one_line_form_is_the_same() {
    assert_eq!(anywhere(read(&TEXT.replace("\n    ", "\\    "))), anywhere(read(TEXT)));
}

#[test]
fn names_flags_and_peers_are_read() {
    let links = read(TEXT);
    let eth0 = find(&links, "eth0");
    assert_eq!((eth0.index, eth0.peer_index, eth0.link_netnsid, eth0.mtu), (Some(2), Some(2), Some(0), Some(1500)));
    assert!(eth0.up && eth0.carrier && !eth0.noarp && eth0.kind == LinkKind::Veth);
    assert_eq!(eth0.evidence, Evidence::line(FILE, 3));
    assert_eq!(find(&links, "dum0").peer_name, Some("dumx".into()));
    assert_eq!(find(&links, "lo").kind, LinkKind::Loopback);
    assert_eq!(find(&links, "vethc4d6").master, Some("cni0".into()));
    let tun = find(&links, "flannel0");
    assert!(tun.up && !tun.carrier && tun.noarp && tun.lladdr.is_none() && tun.kind == LinkKind::Tun { tap: false });
    assert_eq!(find(&links, "tap0").kind, LinkKind::Tun { tap: true });
}

#[test]
fn a_bridge_port_has_the_line_of_its_settings() {
    let links = read(TEXT);
    let link = find(&links, "vethc4d6");
    let port = link.port.as_ref().unwrap();
    assert_eq!(port.evidence.line, link.evidence.line + 3);
    assert!(port.hairpin && port.isolated && port.learning && port.flood && port.state == PortState::Forwarding);
    assert_eq!(port.unmodelled, [""; 0]);
    assert_eq!(find(&links, "cni0").kind, LinkKind::Bridge(Bridge::default()));
}

#[test]
fn vxlan_devices_are_read() {
    let links = read(TEXT);
    let flannel = vxlan_of(&links, "flannel.1");
    assert_eq!((flannel.vni, flannel.port, flannel.learning), (Vni(1), 8472, false));
    assert_eq!((flannel.local, flannel.dev.clone()), (Some([192, 0, 2, 11].into()), Some("eth0".into())));
    assert_eq!((flannel.ttl, flannel.remote), (VxlanTtl::Auto, None));
    let group = vxlan_of(&links, "vx2");
    assert!(group.remote.unwrap().is_multicast() && group.tos_inherit && group.df_set && group.learning);
    assert_eq!(group.ttl, VxlanTtl::Fixed(5));
    let odd = vxlan_of(&links, "vx4");
    assert_eq!((odd.ttl, odd.tos, odd.df_inherit), (VxlanTtl::Inherit, Some(0x10), true));
    assert_eq!(odd.unmodelled, ["proxy", "rsc", "gbp"]);
}

#[test]
fn a_carrier_is_lower_up_where_the_device_is_up() {
    let carrier = |flags: &str| read(&format!("2: eth0: <{flags}> mtu 1500")).remove(0).carrier;
    assert!(carrier("BROADCAST,UP,LOWER_UP"));
    // A dormant device transmits.
    assert!(carrier("NO-CARRIER,BROADCAST,UP,LOWER_UP"));
    assert!(!carrier("NO-CARRIER,BROADCAST,UP"));
    assert!(!carrier("NO-CARRIER,BROADCAST,UP,M-DOWN"));
    assert!(carrier("BROADCAST,MULTICAST"));
    assert!(!carrier("BROADCAST,MULTICAST,M-DOWN"));
}

#[test]
fn without_details_a_device_is_plain() {
    let text = "\
3: eno16777984: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP mode DEFAULT qlen 1000
    link/ether 00:0c:29:56:07:1b brd ff:ff:ff:ff:ff:ff
5: sit0@NONE: <NOARP> mtu 1480 qdisc noop state DOWN
    link/sit 0.0.0.0 brd 0.0.0.0
6: ib0: <BROADCAST,UP,LOWER_UP> mtu 2044 qdisc mq
    link/infiniband 80:00:02:08:fe:80:00:00:00:00:00:00:7c:fe:90:03:00:29:24:aa brd 00:ff:ff:ff:ff:12:40:1b:ff:ff:00:00:00:00:00:00:ff:ff:ff:ff";
    let links = read(text);
    assert!(links.iter().all(|link| link.kind == LinkKind::Plain && link.peer_name.is_none()));
    assert_eq!(links.iter().map(|link| link.lladdr.is_some()).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn vlan_vrf_and_unknown_kinds_are_read() {
    let text = "\
4: eth0.10@eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master vrf1 state UP group default
    link/ether 1a:6c:59:b0:4a:df brd ff:ff:ff:ff:ff:ff promiscuity 0
    vlan protocol 802.1Q id 10 <REORDER_HDR>
      ingress-qos-map { 1:2 }
    vrf_slave table 10 addrgenmode eui64 numtxqueues 1
5: eth0.20@eth0: <BROADCAST> mtu 1500
    link/ether 1a:6c:59:b0:4a:df brd ff:ff:ff:ff:ff:ff
    vlan protocol 802.1ad id 20 <REORDER_HDR> addrgenmode eui64
6: vrf1: <NOARP,MASTER,UP,LOWER_UP> mtu 65575
    link/ether ee:be:e9:28:70:69 brd ff:ff:ff:ff:ff:ff
    vrf table 10 addrgenmode eui64
7: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420
    link/none
    wireguard addrgenmode none
      with a line of its own
8: d0: <BROADCAST,NOARP,UP,LOWER_UP> mtu 1500
    link/ether ee:be:e9:28:70:70 brd ff:ff:ff:ff:ff:ff
    dummy addrgenmode eui64";
    let links = read(text);
    assert_eq!(
        links[0].kind,
        LinkKind::Vlan(Vlan {
            protocol: VlanProtocol::Customer,
            id: 10,
            lower: Some("eth0".into()),
            maps_priority: true
        })
    );
    assert!(matches!(links[1].kind, LinkKind::Vlan(Vlan { protocol: VlanProtocol::Service, id: 20, .. })));
    assert_eq!(links[2].kind, LinkKind::Other("vrf".into()));
    assert_eq!(links[3].kind, LinkKind::Other("wireguard".into()));
    assert_eq!((&links[4].kind, links[0].port.as_ref()), (&LinkKind::Dummy, None));
}

#[test]
fn what_decides_about_packets_is_kept_as_unmodelled() {
    let text = "\
2: eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 xdpgeneric/id:5 qdisc mq state UP
    link/ether 00:0c:29:56:07:1b brd ff:ff:ff:ff:ff:ff protodown on protodown_reason <foo>
    prog/xdp id 5 tag 3b185187f1855c4c jited
3: veth1@eth0: <UP,LOWER_UP> mtu 1500 master br0
    link/ether 00:0c:29:56:07:1c brd ff:ff:ff:ff:ff:ff
    veth
    bridge_slave state forwarding priority 32 hairpin off mcast_flood off locked on vlan_tunnel on isolated off";
    let links = read(text);
    assert_eq!(links[0].unmodelled, ["xdpgeneric/id:5", "protodown on"]);
    assert_eq!(links[1].port.as_ref().unwrap().unmodelled, ["mcast_flood off", "locked on", "vlan_tunnel on"]);
    let json = r#"{"ifname":"eth0","flags":["UP","LOWER_UP"],"xdp":{"mode":2,"prog":{"id":5}},"link_netnsid":-1,"link_type":"ether"}"#;
    let (json, _) = clean(|gaps| parse_json(FILE, json, gaps));
    assert_eq!((&json[0].unmodelled[..], json[0].link_netnsid), (&["xdp".to_owned()][..], Some(-1)));
}

#[test]
fn counters_and_virtual_functions_change_nothing() {
    let text = "\
2: eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP mode DEFAULT group default qlen 1000
    link/ether 00:0c:29:56:07:1b brd ff:ff:ff:ff:ff:ff promiscuity 0 allmulti 0 minmtu 68 maxmtu 9000 addrgenmode none numtxqueues 64 portid 0c2956071b parentbus pci parentdev 0000:02:00.0
    RX: bytes  packets  errors  dropped overrun mcast   
    15202900   162442   0       0       0       0       
    TX: bytes  packets  errors  dropped carrier collsns 
    15202900   162442   0       0       0       0       
    vf 0     link/ether 00:00:00:00:00:00 brd ff:ff:ff:ff:ff:ff, spoof checking on, link-state auto
    alias uplink \\    3: fake: <UP> mtu 1
    altname enp2s0";
    assert_eq!(read(text).len(), 1);
}

#[test]
fn what_is_no_device_is_a_gap_and_the_next_goes_on() {
    let text = "\
    link/ether 00:0c:29:56:07:1b
2: eth0: BROADCAST
3: eth1: <UP,LOWER_UP> mtu 1500 frob 5
    link/ether 00:0c:29:56:07:1b frob
    vxlan id 7 frob
4: eth2: <UP,LOWER_UP> mtu 15
    link/ether 00:0c:29:56:07:1b
    veth
    veth
5: eth3: <UP,LOW";
    let (links, gaps) = gappy(|gaps| parse(FILE, text, gaps));
    assert_eq!(links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["eth1", "eth2"]);
    assert_eq!(links[0].unmodelled, ["frob 5", "frob"]);
    assert_eq!(links[0].kind, LinkKind::Other("vxlan".into()));
    assert_eq!(gaps.iter().map(|gap| gap.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 5, 9, 10]);
}

#[test]
fn truncated_and_changed_files_never_panic() {
    for start in (0..TEXT.len()).step_by(1400).filter(|start| TEXT.is_char_boundary(*start)) {
        survives(&TEXT[start..], |text| drop(parse(FILE, text, &mut Vec::new())));
    }
    for line in JSON.lines() {
        survives(line, |text| drop(parse_json(FILE, text, &mut Vec::new())));
    }
}

fn any_name() -> impl Strategy<Value = IfName> {
    "[a-z][a-z0-9._-]{0,14}".prop_map(|name| IfName::new(&name))
}

prop_compose! {
    fn any_vxlan()(
        vni in 0u32..1 << 24, local in proptest::option::of(any::<std::net::IpAddr>()),
        remote in proptest::option::of(any::<std::net::IpAddr>()), dev in proptest::option::of(any_name()), port: u16,
        learning: bool, ttl in 0u8..=255, tos in proptest::option::of(2u8..), how in 0..3, df in 0..3, odd: bool,
    ) -> Vxlan {
        Vxlan {
            local, remote, dev, learning, tos: tos.filter(|_| how == 0), tos_inherit: how == 1,
            ttl: match ttl {
                0 => VxlanTtl::Auto,
                255 => VxlanTtl::Inherit,
                ttl => VxlanTtl::Fixed(ttl),
            },
            df_set: df == 1, df_inherit: df == 2,
            unmodelled: if odd { vec!["proxy".into(), "gbp".into()] } else { vec![] },
            ..Vxlan::new(Vni(vni), port)
        }
    }
}

fn any_kind(lower: Option<IfName>) -> impl Strategy<Value = LinkKind> {
    prop_oneof![
        Just(LinkKind::Loopback),
        Just(LinkKind::Plain),
        Just(LinkKind::Veth),
        Just(LinkKind::Dummy),
        any::<[bool; 3]>().prop_map(|[vlan_filtering, nf_call_iptables, nf_call_ip6tables]| LinkKind::Bridge(Bridge {
            vlan_filtering,
            nf_call_iptables,
            nf_call_ip6tables
        })),
        any_vxlan().prop_map(LinkKind::Vxlan),
        any::<bool>().prop_map(|tap| LinkKind::Tun { tap }),
        (1u16..4095).prop_map(move |id| LinkKind::Vlan(Vlan {
            protocol: VlanProtocol::Service,
            id,
            lower: lower.clone(),
            maps_priority: id % 2 == 0
        })),
        "(vrf|macvlan|wireguard|bond|ipip)".prop_map(LinkKind::Other),
    ]
}

prop_compose! {
    fn any_port()(switches in any::<[bool; 6]>(), state in 0..5, odd: bool) -> BridgePort {
        let [hairpin, isolated, learning, flood, bcast_flood, neigh_suppress] = switches;
        let state = match state {
            0 => PortState::Disabled,
            1 => PortState::Listening,
            2 => PortState::Learning,
            3 => PortState::Forwarding,
            _ => PortState::Blocking,
        };
        let unmodelled = if odd { vec!["locked on".to_owned()] } else { vec![] };
        let evidence = Evidence::line(FILE, 1);
        BridgePort { state, hairpin, isolated, learning, flood, bcast_flood, neigh_suppress, unmodelled, evidence }
    }
}

fn any_link() -> impl Strategy<Value = Link> {
    let peers = (proptest::option::of(any_name()), proptest::option::of(any::<u32>()));
    let names = (any_name(), proptest::option::of(any_name()), proptest::option::of("[a-z]{1,9}"));
    let numbers =
        (proptest::option::of(any::<u32>()), proptest::option::of(any::<u32>()), proptest::option::of(-1i32..999));
    (
        peers,
        names,
        numbers,
        any::<[bool; 4]>(),
        proptest::option::of(any::<[u8; 6]>()),
        proptest::option::of(any_port()),
    )
        .prop_flat_map(|((peer_name, peer_index), names, numbers, flags, lladdr, port)| {
            // iproute2 prints an index as `if7`, which a name of that form can't be told from.
            let is_index =
                |name: &IfName| name.as_str().strip_prefix("if").is_some_and(|rest| rest.parse::<u32>().is_ok());
            let peer_name = peer_name.filter(|name| peer_index.is_none() && !is_index(name));
            let (name, master, link_netns) = names;
            let (index, mtu, link_netnsid) = numbers;
            any_kind(peer_name.clone()).prop_map(move |kind| Link {
                index,
                mtu,
                link_netnsid,
                master: master.clone(),
                link_netns: link_netns.clone(),
                peer_index,
                peer_name: peer_name.clone(),
                up: flags[0],
                carrier: flags[1],
                noarp: flags[2],
                lladdr: lladdr.map(MacAddr),
                kind,
                port: port.clone(),
                unmodelled: if flags[3] { vec!["xdp".into(), "protodown on".into()] } else { vec![] },
                ..Link::new(name.clone(), Evidence::line(FILE, 1))
            })
        })
}

proptest! {
    #[test]
    fn a_printed_device_reads_back(link in any_link()) {
        let printed = link.to_string();
        prop_assert_eq!(read(&printed), vec![link], "{}", printed);
    }
}
