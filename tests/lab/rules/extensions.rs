//! What random rules ask by the rarer extensions of iptables.
#![allow(clippy::unnecessary_wraps, reason = "every condition is asked the same way")]

use super::super::rng::Rng;
use super::iptables::{At, Condition, inward, outward};

/// Those whose answer the packet, its connection or the snapshot gives.
pub const KNOWN: &[Condition] =
    &[connbytes, connlabel, helper, cluster, devgroup, realm, headers, tcp_option, eui64, string, u32, bpf];

/// Those whose answer is in what no snapshot holds.
pub const OPEN: &[Condition] = &[limit, hashlimit, quota, connlimit, time, policy, socket, cgroup, cpu, mss, chunks];

fn connbytes(_: At, rng: &mut Rng) -> Option<String> {
    let range = rng.word(&["1", "2", "0:0", "1:1", "28:60", "1:100", "1000:2000", "0:1000"]);
    let mode = rng.word(&["packets", "bytes", "avgpkt"]);
    let dir = rng.word(&["original", "reply", "both"]);
    // One number can't be negated: the kernel is told of a negation by the order of the bounds.
    let not = if matches!(range, "0:0" | "1:1") { "" } else { rng.negation(25) };
    Some(format!("-m connbytes {not}--connbytes {range} --connbytes-mode {mode} --connbytes-dir {dir}"))
}

fn connlabel(_: At, rng: &mut Rng) -> Option<String> {
    let (not, label) = (rng.negation(25), rng.word(&["1", "2", "127"]));
    Some(format!("-m connlabel {not}--label {label}{}", if rng.percent(50) { " --set" } else { "" }))
}

fn helper(_: At, rng: &mut Rng) -> Option<String> {
    Some(format!("-m helper {}--helper {}", rng.negation(50), rng.word(&["ftp", "sip"])))
}

fn cluster(_: At, rng: &mut Rng) -> Option<String> {
    let nodes = rng.word(&["2", "3", "32"]);
    let node = rng.word(&["1", "2"]);
    let seed = rng.word(&["0", "0xdeadbeef", "7"]);
    Some(format!(
        "-m cluster --cluster-total-nodes {nodes} {}--cluster-local-node {node} --cluster-hash-seed {seed}",
        rng.negation(25)
    ))
}

fn devgroup(at: At, rng: &mut Rng) -> Option<String> {
    let side = match (inward(at), outward(at)) {
        (true, true) => rng.word(&["--src-group", "--dst-group"]),
        (true, false) => "--src-group",
        _ => "--dst-group",
    };
    let group = rng.word(&["0", "7", "5/0x5", "0x6/0xfe"]);
    // A chain that others call may be asked where the packet has no such device.
    (!at.user).then(|| format!("-m devgroup {}{side} {group}", rng.negation(25)))
}

fn realm(at: At, rng: &mut Rng) -> Option<String> {
    let routed = !at.v6 && at.hook != "PREROUTING" && !at.user;
    routed.then(|| format!("-m realm {}--realm {}", rng.negation(25), rng.word(&["0", "5", "0/0xff"])))
}

fn headers(at: At, rng: &mut Rng) -> Option<String> {
    if !at.v6 {
        return None;
    }
    let not = rng.negation(25);
    Some(match rng.below(14) {
        7 => format!(
            "-m hbh {}",
            rng.word(&["--hbh-len 8", "--hbh-opts 5:2", "--hbh-opts 1:4", "--hbh-opts 5,1", "! --hbh-len 8"])
        ),
        8 => format!("-m dst {}", rng.word(&["--dst-len 8", "--dst-opts 1", "! --dst-len 8", "--dst-opts 222:4"])),
        9 => format!(
            "-m rt {}",
            rng.word(&[
                "--rt-segsleft 1",
                "! --rt-segsleft 1",
                "--rt-len 24",
                "--rt-type 0 --rt-0-res",
                "--rt-type 0 --rt-0-addrs 2001:db8:2::7"
            ])
        ),
        10 => format!("-m ah {}", rng.word(&["", "--ahspi 7", "! --ahspi 7", "--ahspi 0:8"])).trim_end().to_owned(),
        11 => format!("-m frag {}", rng.word(&["--fragid 7", "--fragfirst", "--fraglast", "! --fragid 7 --fragres"])),
        12 => format!(
            "-m ipv6header {not}--header {}",
            rng.word(&["hop,prot", "hop,dst,prot", "dst", "auth,prot", "route"])
        ),
        13 => format!("-m ipv6header {not}--header {} --soft", rng.word(&["hop", "hop,dst", "auth", "route", "prot"])),
        5 => format!("-m frag --fragid 1:9 {}", rng.word(&["--fragfirst", "--fraglast", "--fragmore --fragres"])),
        6 => format!("-m dst {not}--dst-len 8"),
        0 => format!("-m ipv6header {not}--header {}", rng.word(&["prot", "frag", "hop,prot", "esp"])),
        1 => format!("-m ipv6header {not}--header {} --soft", rng.word(&["prot", "frag", "hop,prot", "dst"])),
        2 => format!("-m frag {not}--fragid 1:9"),
        3 => format!("-m rt {not}--rt-type 0"),
        _ => "-m hbh".to_owned(),
    })
}

fn tcp_option(_: At, rng: &mut Rng) -> Option<String> {
    Some(format!("-p tcp -m tcp {}--tcp-option {}", rng.negation(25), rng.word(&["2", "3"])))
}

fn eui64(at: At, _: &mut Rng) -> Option<String> {
    (at.v6 && matches!(at.hook, "PREROUTING" | "INPUT" | "FORWARD")).then(|| "-m eui64".to_owned())
}

fn limit(_: At, rng: &mut Rng) -> Option<String> {
    Some(format!("-m limit --limit {} --limit-burst 1", rng.word(&["1/hour", "1000/sec"])))
}

fn hashlimit(_: At, rng: &mut Rng) -> Option<String> {
    let how = rng.word(&["--hashlimit-upto 1/hour", "--hashlimit-above 1/hour", "--hashlimit-upto 1000/sec"]);
    let mode =
        rng.word(&["", " --hashlimit-mode srcip", " --hashlimit-mode dstip,dstport", " --hashlimit-mode srcport"]);
    Some(format!("-m hashlimit {how} --hashlimit-burst 1{mode} --hashlimit-name lab{}", rng.below(1000)))
}

fn quota(_: At, rng: &mut Rng) -> Option<String> {
    Some(format!("-m quota {}--quota {}", rng.negation(25), rng.word(&["20", "50", "100", "100000"])))
}

fn connlimit(_: At, rng: &mut Rng) -> Option<String> {
    let how = rng.word(&["--connlimit-above", "--connlimit-upto"]);
    let side = rng.word(&["", " --connlimit-daddr", " --connlimit-mask 16"]);
    Some(format!("-m connlimit {how} {}{side}", rng.word(&["0", "1", "100"])))
}

fn time(_: At, rng: &mut Rng) -> Option<String> {
    let when = rng.word(&[
        "--weekdays Mon,Tue,Wed",
        "--timestart 22:00 --timestop 06:00 --contiguous",
        "--timestart 06:00 --timestop 22:00",
        "--monthdays 1,2,3,28",
        "--datestart 2020-01-01 --datestop 2021-01-01",
    ]);
    Some(format!("-m time {when}"))
}

fn policy(at: At, rng: &mut Rng) -> Option<String> {
    let dir = if inward(at) { "in" } else { "out" };
    (!at.user).then(|| format!("-m policy --dir {dir} --pol {}", rng.word(&["none", "ipsec"])))
}

fn socket(at: At, rng: &mut Rng) -> Option<String> {
    let early = matches!(at.hook, "PREROUTING" | "INPUT");
    early.then(|| format!("-m socket {}", rng.word(&["", "--transparent", "--nowildcard"])).trim_end().to_owned())
}

fn cgroup(at: At, rng: &mut Rng) -> Option<String> {
    let there = matches!(at.hook, "INPUT" | "OUTPUT" | "POSTROUTING");
    there.then(|| format!("-m cgroup {}--cgroup {}", rng.negation(25), rng.word(&["0", "7"])))
}

fn cpu(_: At, rng: &mut Rng) -> Option<String> {
    Some(format!("-m cpu {}--cpu {}", rng.negation(25), rng.word(&["0", "1"])))
}

fn mss(_: At, rng: &mut Rng) -> Option<String> {
    Some(format!("-p tcp -m tcpmss {}--mss {}", rng.negation(25), rng.word(&["1460", "1:1459", "1000:2000"])))
}

fn string(_: At, rng: &mut Rng) -> Option<String> {
    let pattern = rng.word(&[
        "--string GET",
        "--string \"T /GET\"",
        "--string POST",
        "--string get --icase",
        "--hex-string \"|474554|\"",
        "--hex-string \"|0000|\"",
    ]);
    let place = rng.word(&["", " --from 40", " --from 60 --to 64", " --to 32", " --from 28 --to 31", " --from 41"]);
    Some(format!("-m string {}{pattern} --algo {}{place}", rng.negation(25), rng.word(&["bm", "kmp"])))
}

fn u32(_: At, rng: &mut Rng) -> Option<String> {
    let tests = rng.word(&[
        "0&0xffff=28:60",
        "6&0xff=6,17",
        "0>>28=4&&0>>22&0x3c@0>>16=20000:20003",
        "0>>22&0x3c@0&0xffff=80,443",
        "0>>22&0x3c@12>>26&0x3c@0=0x47455420",
        "12=0xc0000263:0xcb007105",
        "4>>16=0x1234",
        "8>>24=63,64",
        "1000=0",
        "0>>24=0x46:0x4f",
        "20>>24=7,68,131,148",
        "20&0x0000ff00=0x0400,0x0800",
        "4&0xff00=0,60,43",
        "40>>24=17&&4&0xffff=8:255",
        "40=0x47455420&&6&0xff=0:255",
    ]);
    Some(format!("-m u32 {}--u32 \"{tests}\"", rng.negation(25)))
}

fn bpf(_: At, rng: &mut Rng) -> Option<String> {
    // The protocol; the length; the destination port behind the IP header; what stands at the end; a reading behind it.
    let program = rng.word(&[
        "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0",
        "4,128 0 0 0,37 0 1 60,6 0 0 1,6 0 0 0",
        "5,177 0 0 0,72 0 0 2,53 0 1 1000,6 0 0 1,6 0 0 0",
        "7,128 0 0 0,20 0 0 4,7 0 0 0,64 0 0 0,69 0 1 255,6 0 0 1,6 0 0 0",
        "2,32 0 0 1000,6 0 0 1",
        "4,48 0 0 20,21 0 1 148,6 0 0 1,6 0 0 0",
        "6,40 0 0 4,2 0 0 3,97 0 0 3,172 0 0 0,21 0 0 0,22 0 0 0",
    ]);
    Some(format!("-m bpf --bytecode \"{program}\""))
}

fn chunks(_: At, rng: &mut Rng) -> Option<String> {
    let asked = rng.word(&["any INIT", "all INIT", "only DATA", "any DATA,SACK"]);
    Some(format!("-p sctp -m sctp {}--chunk-types {asked}", rng.negation(25)))
}

/// The rarer targets of mangle, with the protocol that they must have been asked for.
pub fn mangles(at: At, rng: &mut Rng) -> Option<(String, Option<&'static str>)> {
    let syn = Some("-p tcp -m tcp --tcp-flags SYN,RST SYN");
    Some(match rng.below(11) {
        // Elsewhere the kernel changes a packet that taps still show as it was received.
        0 if at.v6 && at.hook == "OUTPUT" && !at.user => (format!("DNPT {}", prefixes(rng)), None),
        0 if at.v6 && at.hook == "POSTROUTING" && !at.user => (format!("SNPT {}", prefixes(rng)), None),
        0..=2 => (hmark(rng), None),
        3 if !at.v6 => (rng.word(&["ECN --ecn-tcp-remove", "ECN --ecn-tcp-ece 1"]).to_owned(), Some("-p tcp")),
        4 if at.hook == "PREROUTING" && !at.user => {
            let mark = rng.word(&["", " --tproxy-mark 0x1/0x1", " --on-ip ::1"]);
            let mark = if at.v6 { mark } else { mark.trim_end_matches(" --on-ip ::1") };
            (format!("TPROXY --on-port {}{mark}", rng.word(&["0", "81"])), Some(rng.word(&["-p tcp", "-p udp"])))
        }
        5 if !outward(at) => ("TCPMSS --set-mss 1300".to_owned(), syn),
        5 => (rng.word(&["TCPMSS --set-mss 1300", "TCPMSS --clamp-mss-to-pmtu"]).to_owned(), syn),
        6 => ("TCPOPTSTRIP --strip-options 2,3".to_owned(), Some("-p tcp")),
        7 => (rng.word(&["NFQUEUE --queue-num 7", "NFQUEUE --queue-num 7 --queue-bypass"]).to_owned(), None),
        8 if outward(at) && !at.user => ("CLASSIFY --set-class 0001:0002".to_owned(), None),
        8 => ("AUDIT --type accept".to_owned(), None),
        9 => (format!("IDLETIMER --timeout 600 --label lab{}", rng.below(9)), None),
        10 => (tee(at, rng), None),
        _ => return None,
    })
}

/// The new prefix is one whose neighbours the router knows.
fn prefixes(rng: &mut Rng) -> String {
    let from = rng.word(&["2001:db8:1::/64", "2001:db8:1::/48", "2001:db8:2::/64", "2001:db8::/32"]);
    let to = rng.word(&["2001:db8:9::/48", "2001:db8:113:7::/64", "2001:db8:abcd:ef00::/56", "2001:db8:113::/48"]);
    format!("--src-pfx {from} --dst-pfx {to}")
}

/// Marks that other rules test: below 32.
fn hmark(rng: &mut Rng) -> String {
    let tuple = rng.word(&[
        "--hmark-tuple src,dst",
        "--hmark-tuple src,dst,sport,dport,proto",
        "--hmark-tuple ct,src,dst,sport,dport,proto",
        "--hmark-tuple ct,src",
        "--hmark-tuple proto --hmark-dport-mask 0xff00",
        "--hmark-tuple sport,dport --hmark-sport 0x1",
        "--hmark-dst-prefix 24",
    ]);
    let seed = rng.word(&["1", "0xfeedcafe"]);
    format!("HMARK {tuple} --hmark-rnd {seed} --hmark-mod {} --hmark-offset {}", rng.word(&["2", "16"]), rng.below(3))
}

/// Copies for either side of the router, by a route to the gateway, and by a device that is named or isn't there.
fn tee(at: At, rng: &mut Rng) -> String {
    let gateways: &[&str] = if at.v6 {
        &["2001:db8:1::98", "2001:db8:2::20", "2001:db8:113::9", "2001:db8:9::9"]
    } else {
        &["192.0.2.98", "198.51.100.20", "203.0.113.9", "10.9.9.9"]
    };
    format!("TEE --gateway {}{}", rng.pick(gateways), rng.word(&["", "", " --oif eth1", " --oif eth9"]))
}

/// The rarer targets of filter.
pub fn filters(at: At, rng: &mut Rng) -> Option<(String, Option<&'static str>)> {
    let proxied = matches!(at.hook, "INPUT" | "FORWARD") && !at.user;
    match rng.below(4) {
        0 if proxied => Some(("SYNPROXY --sack-perm --mss 1460".to_owned(), Some("-p tcp"))),
        1 => {
            Some((rng.word(&["NFQUEUE --queue-num 7", "NFQUEUE --queue-balance 1:4 --queue-bypass"]).to_owned(), None))
        }
        _ => None,
    }
}
