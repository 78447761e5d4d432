//! Random ipsets of every type that the kernel at hand has: what `ipset test` says of an element must be what flowtrace
//! finds in what `ipset save` prints.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::lab::netns::{Netns, run};
use crate::lab::ready::ready;
use crate::lab::rng::Rng;
use flowtrace::snapshot::{IpSet, SetProbe, Snapshot};

/// Type, options of its creation, and whether it has a family.
const TYPES: &[(&str, &[&str], bool)] = &[
    ("bitmap:ip", &["range 10.0.0.0/22"], false),
    ("bitmap:ip", &["range 10.0.0.0/16 netmask 24"], false),
    ("bitmap:ip,mac", &["range 10.0.0.0/22"], false),
    ("bitmap:port", &["range 0-1000"], false),
    ("hash:ip", &["", "netmask 28", "bitmask 255.255.0.255"], true),
    ("hash:mac", &[""], false),
    ("hash:ip,mac", &[""], true),
    ("hash:net", &[""], true),
    ("hash:net,net", &[""], true),
    ("hash:ip,port", &[""], true),
    ("hash:net,port", &[""], true),
    ("hash:ip,port,ip", &[""], true),
    ("hash:ip,port,net", &[""], true),
    ("hash:net,port,net", &[""], true),
    ("hash:ip,mark", &["", "markmask 0x0000000f"], true),
    ("hash:net,iface", &[""], true),
];

/// What an element is made of, or a packet shows: each part as text and as flowtrace takes it.
#[derive(Default)]
struct Shown {
    text: Vec<String>,
    first: Option<IpAddr>,
    second: Option<IpAddr>,
    port: Option<(u8, u16)>,
    iface: Option<&'static str>,
    mac: Option<String>,
    mark: u32,
}

fn address(v6: bool, rng: &mut Rng) -> IpAddr {
    let low = u8::try_from(rng.pick(&[0, 1, 2, 3, 127, 128, 254, 255]).to_owned()).unwrap_or(0);
    let middle = u8::try_from(rng.below(4)).unwrap_or(0);
    if v6 {
        let last = u16::from(low) | u16::from(middle) << 8;
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, u16::from(middle), last))
    } else {
        IpAddr::V4(Ipv4Addr::new(10, 0, middle, low))
    }
}

fn prefix(v6: bool, rng: &mut Rng) -> String {
    let length = if v6 { *rng.pick(&[64, 96, 112, 120, 128]) } else { *rng.pick(&[8, 16, 22, 24, 25, 31, 32]) };
    format!("{}/{length}", address(v6, rng))
}

/// A part: a host where `exact`, else what an element may hold.
fn part(kind: &str, bitmap: bool, exact: bool, v6: bool, shown: &mut Shown, rng: &mut Rng) {
    match kind {
        "ip" | "net" => {
            let addr = address(v6, rng);
            let slot = if shown.first.is_none() { &mut shown.first } else { &mut shown.second };
            *slot = Some(addr);
            shown.text.push(if kind == "net" && !exact { prefix(v6, rng) } else { addr.to_string() });
        }
        "port" if bitmap => {
            let port = *rng.pick(&[0, 1, 22, 53, 80, 999, 1000]);
            shown.port = Some((0, port));
            shown.text.push(port.to_string());
        }
        "port" => {
            let (name, number) = *rng.pick(&[("tcp", 6), ("udp", 17), ("sctp", 132)]);
            let port = *rng.pick(&[0, 53, 80, 81, 65535]);
            shown.port = Some((number, port));
            let end = port.saturating_add(2);
            let range = rng.percent(20) && !exact;
            shown.text.push(if range { format!("{name}:{port}-{end}") } else { format!("{name}:{port}") });
        }
        "mac" => {
            let mac = format!("02:00:00:00:00:0{}", rng.below(4));
            shown.text.push(mac.clone());
            shown.mac = Some(mac);
        }
        "mark" => {
            shown.mark = *rng.pick(&[0, 1, 5, 0x15, 0x4000]);
            shown.text.push(format!("{:#x}", shown.mark));
        }
        "iface" => {
            let name = *rng.pick(&["eth0", "eth1", "cali1", "cali22"]);
            shown.iface = Some(name);
            shown.text.push(name.to_owned());
        }
        other => panic!("no such part: {other}"),
    }
}

fn draw(kind: &str, exact: bool, v6: bool, rng: &mut Rng) -> Shown {
    let mut shown = Shown::default();
    let (method, parts) = kind.split_once(':').unwrap_or((kind, ""));
    for one in parts.split(',') {
        part(one, method == "bitmap", exact, v6, &mut shown, rng);
    }
    shown
}

/// Whether flowtrace finds in a set what a packet shows.
fn finds(set: &IpSet, shown: &Shown) -> bool {
    let probe = SetProbe {
        first: shown.first,
        second: shown.second,
        port: shown.port,
        iface: shown.iface,
        physdev: None,
        mac: shown.mac.as_ref().and_then(|mac| mac.parse().ok()),
        mark: shown.mark,
    };
    set.lookup(&probe).is_some_and(|entry| !entry.nomatch)
}

fn load(saved: &str) -> Snapshot {
    let files = [
        (
            "nodes/n1/host/link.txt".to_owned(),
            Arc::from(
                "1: lo: <LOOPBACK> mtu 65536 qdisc noop state DOWN mode DEFAULT group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n",
            ),
        ),
        ("nodes/n1/host/ipset".to_owned(), Arc::from(saved)),
    ];
    flowtrace::load::load_files(files).expect("a snapshot")
}

/// Fills one set and compares; `None` where the kernel has no such type.
fn judge(kind: &str, options: &str, v6: bool, seed: u64) -> Option<usize> {
    let mut rng = Rng::new(seed);
    let netns = Netns::new("ipset").expect("a namespace");
    netns.enter(|| {
        let family = if v6 { "family inet6" } else { "" };
        let create = format!("create s {kind} {options} {family} comment timeout 1000\n");
        if !run("ipset", &["restore"], &create).expect("ipset").status.success() {
            return None;
        }
        for _ in 0..rng.between(1, 24) {
            let mut line = format!("add s {}", draw(kind, false, v6, &mut rng).text.join(","));
            let exceptional = kind.contains("net") && rng.percent(25);
            let wild = kind == "hash:net,iface" && rng.percent(25);
            line.push_str(if exceptional { " nomatch" } else { "" });
            line.push_str(if wild { " wildcard" } else { "" });
            line.push_str(if rng.percent(20) { " comment \"nomatch of wildcard\"" } else { "" });
            // Some lines say what another has said already, or what the type refuses.
            let _ = run("ipset", &["restore", "-exist"], &format!("{line}\n"));
        }
        let output = run("ipset", &["save"], "").expect("ipset save");
        let saved = String::from_utf8_lossy(&output.stdout).into_owned();
        let snapshot = load(&saved);
        let set = snapshot.namespaces[0].ipsets.as_ref().and_then(|sets| sets.get("s")).expect("the set");
        assert_eq!(set.unmodelled, Vec::<String>::new(), "{saved}");
        let mut differ = String::new();
        let mut inside = 0;
        for _ in 0..25 {
            let shown = draw(kind, true, v6, &mut rng);
            let element = shown.text.join(",");
            let kernel = run("ipset", &["test", "s", &element], "").expect("ipset test").status.success();
            inside += usize::from(kernel);
            if kernel != finds(set, &shown) {
                let _ = writeln!(differ, "{element}: the kernel says {kernel}");
            }
        }
        assert!(differ.is_empty(), "seed {seed}: {kind} {options}\n{saved}\n{differ}");
        Some(inside)
    })
}

#[test]
fn an_element_is_in_a_set_where_the_kernel_says_so() {
    if !ready() {
        return;
    }
    let mut absent = Vec::new();
    let mut inside = 0;
    for (kind, options, has_family) in TYPES {
        for option in *options {
            for v6 in [false, true] {
                // Masks of IPv4 are meant for IPv4.
                if v6 && (!has_family || option.contains("mask") && !option.contains("markmask")) {
                    continue;
                }
                for seed in 0..4 {
                    match judge(kind, option, v6, seed) {
                        Some(found) => inside += found,
                        None => absent.push(*kind),
                    }
                }
            }
        }
    }
    absent.dedup();
    assert!(inside > 300, "only {inside} elements were in their sets");
    eprintln!("{inside} elements were in their sets; this kernel has no {}", absent.join(", "));
}
