//! Takes the snapshot of a scenario that stands in the kernel: the tools' own output, a folder a namespace.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::build::Lab;
use super::netns::{must, run};
use super::objects::list;
use super::scenario::{Backend, Place, Space};

/// The sysctls that decide a packet's way, without those of single devices.
const KEYS: &[&str] = &[
    "bridge/bridge-nf-call-arptables",
    "bridge/bridge-nf-call-ip6tables",
    "bridge/bridge-nf-call-iptables",
    "bridge/bridge-nf-filter-pppoe-tagged",
    "bridge/bridge-nf-filter-vlan-tagged",
    "bridge/bridge-nf-pass-vlan-input-dev",
    "ipv4/fib_multipath_hash_policy",
    "ipv4/fib_multipath_use_neigh",
    "ipv4/fwmark_reflect",
    "ipv4/icmp_echo_ignore_all",
    "ipv4/icmp_errors_use_inbound_ifaddr",
    "ipv4/icmp_ratelimit",
    "ipv4/icmp_ratemask",
    "ipv4/ip_default_ttl",
    "ipv4/ip_forward",
    "ipv4/ip_forward_update_priority",
    "ipv4/ip_forward_use_pmtu",
    "ipv4/ip_local_port_range",
    "ipv4/ip_no_pmtu_disc",
    "ipv4/tcp_fwmark_accept",
    "ipv4/tcp_sack",
    "ipv4/tcp_timestamps",
    "ipv4/tcp_window_scaling",
    "ipv6/fib_multipath_hash_policy",
    "ipv6/fwmark_reflect",
    "ipv6/icmp/echo_ignore_all",
    "ipv6/icmp/ratelimit",
    "netfilter/nf_conntrack_tcp_be_liberal",
    "netfilter/nf_conntrack_tcp_ignore_invalid_rst",
    "netfilter/nf_conntrack_tcp_loose",
];

/// Those of single devices, in IPv4.
const DEVICE4: &[&str] = &[
    "accept_local",
    "accept_redirects",
    "arp_ignore",
    "forwarding",
    "ignore_routes_with_linkdown",
    "log_martians",
    "proxy_arp",
    "route_localnet",
    "rp_filter",
    "send_redirects",
    "shared_media",
    "src_valid_mark",
];

/// Those of single devices, in IPv6.
const DEVICE6: &[&str] =
    &["accept_ra", "disable_ipv6", "force_forwarding", "forwarding", "hop_limit", "mtu", "proxy_ndp"];

/// Which tools' output goes into which file, for every namespace.
const TABLES: &[(&str, &str)] = &[
    ("link.txt", "ip -d link show"),
    ("addr.txt", "ip addr show"),
    ("route.txt", "ip -d route show table all"),
    ("route6.txt", "ip -6 -d route show table all"),
    ("rule.txt", "ip rule show"),
    ("rule6.txt", "ip -6 rule show"),
    ("nexthop.txt", "ip nexthop show"),
    ("neigh.txt", "ip neigh show"),
];

/// The same as JSON.
const TABLES_JSON: &[(&str, &str)] = &[
    ("link.json", "ip -j -p -d link show"),
    ("addr.json", "ip -j -p addr show"),
    ("route.json", "ip -j -p -d route show table all"),
    ("route6.json", "ip -6 -j -p -d route show table all"),
    ("rule.json", "ip -j -p rule show"),
    ("rule6.json", "ip -6 -j -p rule show"),
    ("nexthop.json", "ip -j -p nexthop show"),
    ("neigh.json", "ip -j -p neigh show"),
];

/// Those that only a node's own namespace needs.
const HOST_TABLES: &[(&str, &str)] = &[
    ("bridge-link.txt", "bridge -d link show"),
    ("bridge-vlan.txt", "bridge vlan show"),
    ("fdb.txt", "bridge fdb show"),
    ("tuntap.txt", "ip -d tuntap show"),
    ("conntrack", "conntrack -L -o extended"),
    ("ipset", "ipset save"),
];

/// The same as JSON, where there is such a form.
const HOST_TABLES_JSON: &[(&str, &str)] = &[
    ("bridge-link.json", "bridge -j -p -d link show"),
    ("bridge-vlan.json", "bridge -j -p vlan show"),
    ("fdb.json", "bridge -j -p fdb show"),
    ("tuntap.json", "ip -j -p -d tuntap show"),
    ("conntrack", "conntrack -L -o extended"),
    ("ipset", "ipset save"),
];

/// In which form the snapshot is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `collect` writes it.
    Text,
    /// With `-j` where the tool has it.
    Json,
}

/// Forgets every connection of the namespace that the caller is in, and every client of a `recent` list, but those that
/// the scenario puts there.
pub fn track_afresh(space: &Space) -> Result<(), String> {
    for list in fs::read_dir("/proc/thread-self/net/xt_recent").into_iter().flatten().flatten() {
        let _ = fs::write(list.path(), "/");
    }
    for (list, client) in &space.recent {
        fs::write(format!("/proc/thread-self/net/xt_recent/{list}"), format!("+{client}"))
            .map_err(|error| format!("recent list {list}: {error}"))?;
    }
    let _ = run("conntrack", &["-F"], "");
    for line in &space.conntrack {
        let words: Vec<&str> = line.split_whitespace().collect();
        must("conntrack", &words, "").map_err(|error| format!("conntrack {line}: {error}"))?;
    }
    Ok(())
}

impl Lab {
    /// Lets what the kernel says by itself die away, and takes it out of counters and tables, so that the snapshot is the
    /// same on every run.
    pub fn settle(&self) {
        // Multicast listeners report within a second.
        std::thread::sleep(Duration::from_millis(1500));
        for space in self.scenario.spaces.iter().filter(|space| space.folder().is_some()) {
            self.netns(&space.name).enter(|| {
                let _ = run("ip", &["neigh", "flush", "all"], "");
                // A failed neighbour is collected as garbage within a second or two.
                for line in space.late.iter().filter(|line| line.starts_with("neigh ")) {
                    let _ = run("ip", &["-batch", "-"], &format!("{line}\n"));
                }
                for backend in space.rules.keys() {
                    for table in ["raw", "mangle", "nat", "filter"] {
                        let _ = run(program(*backend), &["-t", table, "-Z"], "");
                    }
                }
                let _ = track_afresh(space);
            });
        }
    }

    /// Writes the snapshot into an empty or missing folder.
    pub fn snapshot(&self, folder: &Path, form: Form) -> Result<(), String> {
        self.write_objects(&folder.join("cluster"))?;
        for space in &self.scenario.spaces {
            let Some(part) = space.folder() else { continue };
            let target = folder.join(part);
            make(&target)?;
            self.netns(&space.name).enter(|| write_space(space, &target, form))?;
        }
        Ok(())
    }

    /// Writes the Kubernetes objects, where there are any.
    pub fn write_objects(&self, folder: &Path) -> Result<(), String> {
        let objects = &self.scenario.objects;
        if objects.nodes.is_empty() {
            return Ok(());
        }
        make(folder)?;
        for (name, items) in [
            ("nodes.json", &objects.nodes),
            ("pods.json", &objects.pods),
            ("services.json", &objects.services),
            ("endpointslices.json", &objects.slices),
        ] {
            let mut text = serde_json::to_string_pretty(&list(items)).map_err(|error| error.to_string())?;
            text.push('\n');
            write(&folder.join(name), &text)?;
        }
        Ok(())
    }
}

/// The program that lists and changes a backend's rules.
fn program(backend: Backend) -> &'static str {
    match backend {
        Backend::Nft4 => "iptables-nft",
        Backend::Nft6 => "ip6tables-nft",
        Backend::Legacy4 => "iptables-legacy",
        Backend::Legacy6 => "ip6tables-legacy",
    }
}

/// Writes the tables of the namespace that the caller is in.
pub fn write_space(space: &Space, folder: &Path, form: Form) -> Result<(), String> {
    let host = matches!(space.place, Place::Host { .. });
    let (tables, host_tables) = match form {
        Form::Text => (TABLES, HOST_TABLES),
        Form::Json => (TABLES_JSON, HOST_TABLES_JSON),
    };
    // How a program is called is a fact, the number that it has today is not.
    let settled = |file: &str, text: String| match file {
        "tuntap.txt" => one_process(&text),
        "link.txt" => without_timers(&text),
        // The kernel lists them in the order of a hash that is another one each time.
        "neigh.txt" => sorted(&text),
        _ => text,
    };
    let is_wanted = |(file, _): &&(&str, &str)| host || *file == "conntrack" && !space.conntrack.is_empty();
    for (file, command) in tables.iter().chain(host_tables.iter().filter(is_wanted)) {
        write(&folder.join(file), &settled(file, stdout_of(command)?))?;
    }
    write_rules(space, folder)?;
    write(&folder.join("sysctl"), &sysctls())
}

/// Rule sets: nft's for every namespace, and the legacy ones where there are any.
fn write_rules(space: &Space, folder: &Path) -> Result<(), String> {
    write(&folder.join("iptables-save"), &undated(&stdout_of("iptables-nft-save -c")?))?;
    write(&folder.join("ip6tables-save"), &undated(&stdout_of("ip6tables-nft-save -c")?))?;
    for (backend, family) in [(Backend::Legacy4, "iptables"), (Backend::Legacy6, "ip6tables")] {
        if space.rules.contains_key(&backend) {
            let text = stdout_of(&format!("{family}-legacy-save -c"))?;
            write(&folder.join(format!("{family}-legacy-save")), &undated(&text))?;
        }
    }
    // A node's shows that no chains of nft's own stand beside those of iptables.
    if !space.nft.is_empty() || matches!(space.place, Place::Host { .. }) {
        write(&folder.join("nft.txt"), &stdout_of("nft -a list ruleset")?)?;
    }
    let lists = Path::new("/proc/thread-self/net/xt_recent");
    for entry in fs::read_dir(lists).into_iter().flatten().flatten() {
        let folder = folder.join("recent");
        make(&folder)?;
        let text = fs::read_to_string(entry.path()).map_err(|error| format!("{}: {error}", entry.path().display()))?;
        write(&folder.join(entry.file_name()), &text)?;
    }
    Ok(())
}

/// `iptables-save` writes the date into two comments, which would make every run's files differ.
fn undated(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        let line = match (line.strip_prefix("# Generated by "), line.strip_prefix("# Completed on ")) {
            (Some(rest), _) => format!("# Generated by {}", rest.split(" on ").next().unwrap_or(rest)),
            (_, Some(_)) => "# Completed".to_owned(),
            _ => line.to_owned(),
        };
        kept.push_str(&line);
        kept.push('\n');
    }
    kept
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

/// Stops a bridge's timers, which are never the same twice.
fn without_timers(text: &str) -> String {
    let mut kept = String::new();
    let mut timer = false;
    for word in text.split_inclusive(' ') {
        let name = word.trim_end();
        if timer && name.contains('.') {
            kept.push_str("0.00");
            kept.push_str(&word[name.len()..]);
        } else {
            kept.push_str(word);
        }
        timer = name.ends_with("_timer") || timer && name.is_empty();
    }
    kept
}

/// Leaves one process in each list of `ip -d tuntap show`, always with the same number: the lab's nodes share a process
/// table, so each shows the programs of all.
fn one_process(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        let line = match line.split_once('(') {
            Some((name, _)) if line.contains("Attached to processes:") => format!("{name}(4321)"),
            _ => line.to_owned(),
        };
        kept.push_str(&line);
        kept.push('\n');
    }
    kept
}

fn stdout_of(command: &str) -> Result<String, String> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let args: Vec<&str> = words.collect();
    if program == "ipset" || program == "conntrack" {
        // Both fail where the kernel has nothing of theirs yet.
        return run(program, &args, "").map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    }
    if args.contains(&"tuntap") {
        // It reads /sys, which shows the devices of the namespace in which it was mounted.
        let script = format!("mount -t sysfs sysfs /sys && exec {command}");
        return must("unshare", &["--mount", "sh", "-c", &script], "");
    }
    must(program, &args, "")
}

/// The lines of `sysctl -a` that decide something, of the calling thread's namespace.
fn sysctls() -> String {
    let mut names: Vec<String> = KEYS.iter().map(|key| (*key).to_owned()).collect();
    for (family, keys) in [("ipv4", DEVICE4), ("ipv6", DEVICE6)] {
        for entry in fs::read_dir(format!("/proc/sys/net/{family}/conf")).into_iter().flatten().flatten() {
            let device = entry.file_name().to_string_lossy().into_owned();
            names.extend(keys.iter().map(|key| format!("{family}/conf/{device}/{key}")));
        }
    }
    names.sort();
    let mut text = String::new();
    for name in names {
        let Ok(value) = fs::read_to_string(format!("/proc/sys/net/{name}")) else { continue };
        // `sysctl -a` swaps `.` and `/` in names, so that `flannel.1` is one word.
        let shown: String = name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect();
        text.push_str(&format!("net.{shown} = {}\n", value.trim_end()));
    }
    text
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
