//! Filters out of random words, about values that packets have.

use crate::capture::Capture;
use crate::frames::{ADDRESSES, ADDRESSES6};
use crate::random::Random;

/// Values that packets have.
#[derive(Debug)]
pub struct Values {
    v4: Vec<String>,
    v6: Vec<String>,
    macs: Vec<String>,
    ports: Vec<u16>,
}

impl Values {
    /// Those of some frames of Ethernet, and a few others.
    pub fn of(capture: &Capture) -> Self {
        let (mut v4, mut v6) = (ADDRESSES.map(str::to_owned).to_vec(), ADDRESSES6.map(str::to_owned).to_vec());
        let mut macs = vec!["02:00:00:00:00:01".to_owned(), "ff:ff:ff:ff:ff:ff".to_owned()];
        let mut ports = vec![0, 22, 53, 80, 443, 8080, 40_000];
        for packet in capture.packets.iter().filter(|packet| capture.link_type == 1 && packet.bytes.len() > 60) {
            let bytes = &packet.bytes;
            macs.push(bytes[6..12].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"));
            let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            match bytes[12..14] {
                [0x08, 0] => {
                    v4.push(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[26..30]).unwrap()).to_string());
                    ports.extend([port(34), port(36)]);
                }
                [0x86, 0xdd] => {
                    v6.push(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[22..38]).unwrap()).to_string());
                    ports.extend([port(54), port(56)]);
                }
                _ => {}
            }
        }
        for list in [&mut v4, &mut v6, &mut macs] {
            list.sort();
            list.dedup();
        }
        ports.sort_unstable();
        ports.dedup();
        Self { v4, v6, macs, ports }
    }

    /// A filter.
    pub fn filter(&self, random: &mut Random) -> String {
        let mut filter = self.part(random, 3);
        while random.below(5) < 2 {
            filter = format!("{filter} {} {}", random.pick(&["and", "or", "&&", "||"]), self.next(random, 3));
        }
        // libpcap does not define what is asked of packets that are in no tunnel.
        match random.below(15) {
            0 => format!("geneve{} and ({filter})", random.pick(&["", " 7", " (9)"])),
            _ => filter,
        }
    }

    /// A part that follows `and` or `or`: mostly a whole one, or a value alone.
    fn next(&self, random: &mut Random, depth: usize) -> String {
        if random.below(12) == 0 { self.value(random) } else { self.part(random, depth) }
    }

    fn part(&self, random: &mut Random, depth: usize) -> String {
        match random.below(if depth == 0 { 10 } else { 13 }) {
            0 | 1 => self.host(random),
            2 | 3 => self.port(random),
            4 => random
                .pick(&[
                    "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "esp", "ah", "pim",
                    "vrrp", "stp", "ipx", "iso", "netbeui", "atalk", "aarp", "decnet",
                ])
                .to_owned(),
            5 => number(random),
            6 => self.ether(random),
            7 => inside(random),
            8 | 9 => self.relation(random),
            10 => format!("{}{}", random.pick(&["not ", "! ", "not not "]), self.part(random, depth - 1)),
            _ => {
                let mut inner = self.part(random, depth - 1);
                for _ in 0..random.below(3) {
                    let next = self.next(random, depth - 1);
                    inner = format!("{inner} {} {next}", random.pick(&["and", "or"]));
                }
                format!("({inner})")
            }
        }
    }

    fn value(&self, random: &mut Random) -> String {
        match random.below(4) {
            0 => any(&self.v4, random),
            1 => format!("({} or {})", any(&self.v4, random), any(&self.v4, random)),
            2 => format!("not {}", self.a_port(random)),
            _ => self.a_port(random).to_string(),
        }
    }

    fn a_port(&self, random: &mut Random) -> u16 {
        random.pick(&self.ports)
    }

    fn host(&self, random: &mut Random) -> String {
        let side = side(random);
        let proto = random.pick(&["", "", "", "ip ", "arp ", "rarp "]);
        match random.below(9) {
            0 => format!("{side}host {}", any(&self.v6, random)),
            1 => format!(
                "ip6 {side}net {}/{}",
                random.pick(&["fd00::", "2001:db8::", "ff00::"]),
                random.pick(&[8, 16, 32])
            ),
            2 => format!(
                "{proto}{side}net {}",
                random.pick(&["10", "10.0", "10.244.1", "192.168.7.0/24", "10.0.0.0/30"])
            ),
            3 => format!(
                "{side}net {}",
                random.pick(&["10.0.0.0 mask 255.255.0.0", "0.0.0.0/0", "172.16.0.0/12", "224"])
            ),
            4 if !side.is_empty() => format!("{proto}{side}{}", any(&self.v4, random)),
            5 => format!("host ({} or {})", any(&self.v4, random), any(&self.v6, random)),
            6 => format!("{side}host {} or {}", any(&self.v4, random), any(&self.v4, random)),
            _ => format!("{proto}{side}host {}", any(&self.v4, random)),
        }
    }

    fn port(&self, random: &mut Random) -> String {
        let side = side(random);
        let proto = random.pick(&["", "", "tcp ", "udp ", "sctp "]);
        let (first, last) = (self.a_port(random), self.a_port(random));
        match random.below(4) {
            0 => format!("{proto}{side}portrange {first}-{last}"),
            1 => format!("{proto}{side}port {first} or {last}"),
            _ => format!("{proto}{side}port {first}"),
        }
    }

    fn ether(&self, random: &mut Random) -> String {
        match random.below(8) {
            0 => random.pick(&["broadcast", "ether broadcast", "ip broadcast"]).to_owned(),
            1 => random.pick(&["multicast", "ether multicast", "ip multicast", "ip6 multicast"]).to_owned(),
            2 => format!("{} {}", random.pick(&["less", "greater"]), 40 + random.below(120)),
            3 => format!("byte {} {} {}", random.below(40), random.pick(&["=", "<", ">"]), random.below(256)),
            4 => random.pick(&["inbound", "outbound", "ifindex 1", "ifindex 2"]).to_owned(),
            5 => format!("ether src or dst {}", any(&self.macs, random)),
            _ => format!("ether {} {}", random.pick(&["host", "src", "dst", "dst host"]), any(&self.macs, random)),
        }
    }

    fn relation(&self, random: &mut Random) -> String {
        match random.below(8) {
            0 => format!(
                "tcp[tcpflags] & ({}|tcp-ack) {} 0",
                random.pick(&["tcp-syn", "tcp-fin", "tcp-rst"]),
                random.pick(&["=", "!="])
            ),
            1 => format!("tcp[13] {} {}", random.pick(&["=", "&"]), random.pick(&["2", "2 != 0", "18"])),
            2 => format!("icmp[icmptype] {} icmp-echo", random.pick(&["=", "!=", "=="])),
            3 => format!("icmp6[icmp6type] = {}", random.pick(&["icmp6-echo", "136", "128"])),
            4 => format!("udp[2:2] {} {}", random.pick(&["=", ">", "<="]), self.a_port(random)),
            5 => format!("len {} {}", random.pick(&[">", "<", "=", ">=", "!="]), sum(random, 2)),
            _ => format!(
                "{} {} {}",
                sum(random, 3),
                random.pick(&["=", "!=", ">", "<", ">=", "<=", "=="]),
                sum(random, 2)
            ),
        }
    }
}

fn side(random: &mut Random) -> &'static str {
    random.pick(&["", "", "src ", "dst ", "src or dst ", "dst or src ", "src and dst "])
}

fn any(from: &[String], random: &mut Random) -> String {
    from[random.below(from.len())].clone()
}

fn number(random: &mut Random) -> String {
    let carrier = random.pick(&["", "ip ", "ip6 ", "ether "]);
    if carrier == "ether " {
        let types = [
            "0x800", "0x86dd", "0x806", "0x8100", "0x8847", "0x42", "0xfe", "0xe0", "0xf0", "6", "0xaa", "0x809b",
            "0x80f3", "\\ip", "\\stp", "\\arp", "1501", "1500", "0x88cc",
        ];
        return format!("ether proto {}", random.pick(&types));
    }
    let numbers = ["6", "17", "1", "58", "44", "0", "47", "50", "(17 or 6)", "\\tcp", "\\udp", "4"];
    format!("{carrier}proto {}", random.pick(&numbers))
}

/// What changes where the rest is asked.
fn inside(random: &mut Random) -> String {
    if random.below(6) == 0 {
        return "pppoed".to_owned();
    }
    let number = random.pick(&["", "", " 7", " 100", " 200", " (9)"]);
    format!("{}{number}", random.pick(&["vlan", "vlan", "mpls", "pppoes"]))
}

fn sum(random: &mut Random, depth: usize) -> String {
    let leaf = depth == 0 || random.below(3) == 0;
    if leaf {
        return match random.below(7) {
            0 => "len".to_owned(),
            1 | 2 => random.pick(&["0", "1", "2", "0x0f", "4", "255", "64", "6", "017"]).to_owned(),
            3 => format!("ether[{}:{}]", random.below(24), random.pick(&[1, 2, 4])),
            4 => format!("ip[{}:{}]", random.below(40), random.pick(&[1, 2, 4])),
            5 => format!("ip6[{}]", random.below(60)),
            _ => format!(
                "{}[{}]",
                random.pick(&["tcp", "udp", "icmp", "sctp", "igmp", "arp", "icmp6"]),
                random.below(30)
            ),
        };
    }
    match random.below(9) {
        0 => format!("({})", sum(random, depth - 1)),
        1 => format!("- {}", sum(random, depth - 1)),
        2 => format!("{}[{}]", random.pick(&["ip", "tcp", "ether", "udp"]), sum(random, depth - 1)),
        3 => format!("{} << {}", sum(random, depth - 1), random.below(9)),
        4 => format!("{} / {}", sum(random, depth - 1), 1 + random.below(9)),
        _ => {
            let operator = random.pick(&["+", "-", "*", "&", "|", "^", "%", ">>"]);
            format!("{} {operator} {}", sum(random, depth - 1), sum(random, depth - 1))
        }
    }
}
