//! Kernel settings: the `net.*` lines of `sysctl -a`.
//!
//! Device names may hold dots, which separate the words of a key. procps turns them into slashes
//! (`net.ipv4.conf.flannel/1.forwarding`), other programs leave them (`net.ipv4.conf.flannel.1.forwarding`), and
//! both also take paths (`net/ipv4/conf/flannel.1/forwarding`). All three become the first form.

use super::lines::{Notes, lines, quote};
use crate::evidence::{Evidence, FileId, Gap};
use crate::snapshot::{Sysctl, Sysctls};

/// Reads the lines. Settings outside `net` are no part of a snapshot and left out; so is what `sysctl` complains
/// about keys that it may not read.
#[must_use]
pub fn parse(file: FileId, text: &str, gaps: &mut Vec<Gap>) -> Sysctls {
    let mut notes = Notes::new(file, "`sysctl -a`", gaps);
    let mut sysctls = Sysctls::default();
    for (number, line) in lines(text) {
        let line = line.trim();
        if line.starts_with("sysctl:") {
            continue;
        }
        let evidence = Evidence::line(file, number);
        match line.split_once('=') {
            Some((key, value)) => insert(&mut sysctls, key.trim(), value.trim(), evidence, &mut notes),
            None => notes.expected(evidence, "`key = value`", line),
        }
    }
    sysctls
}

fn insert(sysctls: &mut Sysctls, key: &str, value: &str, evidence: Evidence, notes: &mut Notes<'_>) {
    let key = normal(key);
    if !key.starts_with("net.") {
        return;
    }
    if sysctls.get(&key).is_some_and(|before| before.value != value) {
        notes.add(evidence, format_args!("{} stood before with another value; the last one counts", quote(&key)));
    }
    sysctls.insert(key, Sysctl { value: value.to_owned(), evidence });
}

/// The key with dots between its words and slashes for the dots of a device's name.
fn normal(key: &str) -> String {
    let key = if is_path(key) { swap(key) } else { key.to_owned() };
    let Some(at) = device_start(&key) else { return key };
    let (Some(front), Some(rest)) = (key.get(..at), key.get(at..)) else { return key };
    match rest.rsplit_once('.') {
        Some((dev, setting)) => format!("{front}{}.{setting}", dev.replace('.', "/")),
        None => key,
    }
}

/// A path has a slash before any dot.
fn is_path(key: &str) -> bool {
    key.find(['.', '/']).is_some_and(|at| key.get(at..).is_some_and(|rest| rest.starts_with('/')))
}

fn swap(key: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        c => c,
    };
    key.chars().map(swap).collect()
}

/// Where the device's name starts in a key that has one.
fn device_start(key: &str) -> Option<usize> {
    let fronts = ["net.ipv4.conf.", "net.ipv6.conf.", "net.ipv4.neigh.", "net.ipv6.neigh.", "net.mpls.conf."];
    fronts.iter().find(|front| key.starts_with(**front)).map(|front| front.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Family, IfName};

    fn read(text: &str) -> (Sysctls, Vec<Gap>) {
        let mut gaps = Vec::new();
        (parse(FileId(0), text, &mut gaps), gaps)
    }

    #[test]
    fn every_spelling_of_a_dotted_device_is_one_key() {
        for line in [
            "net.ipv4.conf.flannel/1.forwarding = 1",
            "net.ipv4.conf.flannel.1.forwarding = 1",
            "net/ipv4/conf/flannel.1/forwarding=1",
        ] {
            let (sysctls, gaps) = read(line);
            let found = sysctls.number("net.ipv4.conf.flannel/1.forwarding");
            assert_eq!(found, Some((1, Evidence::line(FileId(0), 1))), "{line}");
            let found = sysctls.conf(Family::Inet, &IfName::new("flannel.1"), "forwarding");
            assert_eq!(found, Some((1, Evidence::line(FileId(0), 1))), "{line}");
            assert_eq!(gaps, vec![]);
        }
    }

    #[test]
    fn settings_outside_net_and_complaints_are_left_out() {
        let text = "kernel.osrelease = 6.1\nsysctl: permission denied on key 'net.core.bpf_jit_harden'\n\
                    net.ipv4.ip_local_port_range = 32768\t60999\n";
        let (sysctls, gaps) = read(text);
        assert_eq!(gaps, vec![]);
        assert_eq!(sysctls.len(), 1);
        assert_eq!(sysctls.get("net.ipv4.ip_local_port_range").map(|s| s.value.as_str()), Some("32768\t60999"));
    }

    #[test]
    fn a_key_without_value_and_a_contradiction_are_gaps() {
        let (sysctls, gaps) = read("net.ipv4.ip_forward\nnet.ipv4.ip_forward = 1\nnet.ipv4.ip_forward = 0\n");
        assert_eq!(gaps.len(), 2);
        assert_eq!(sysctls.number("net.ipv4.ip_forward"), Some((0, Evidence::line(FileId(0), 3))));
    }

    #[test]
    fn all_and_default_are_no_devices_with_dots() {
        let (sysctls, _) = read("net.ipv4.conf.all.rp_filter = 2\nnet.ipv6.conf.default.forwarding = 0\n");
        assert!(sysctls.number("net.ipv4.conf.all.rp_filter").is_some());
        assert!(sysctls.number("net.ipv6.conf.default.forwarding").is_some());
    }
}
