//! What `flowtrace collect` and the script that it prints take of a node, what they leave as it was, and what they say
//! where something can't be taken.

mod lacking;
mod moving;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use flowtrace::load::load;
use serde_json::Value;

use crate::lab::explain::program;
use crate::lab::judge::Folder;
use crate::lab::machine::{Sandbox, Taker, command, on_machine, take};
use crate::lab::netns::{Netns, must};

const TAKERS: [Taker; 3] = [Taker::Netlink, Taker::Script("dash"), Taker::Script("busybox sh")];

/// A node with a bridge and pods on it; the pods' addresses are 10.0.0.2 and so on.
struct Node {
    host: Netns,
    pods: Vec<(String, String, Netns)>,
}

impl Node {
    /// Pods by their Kubernetes namespaces and names; `None` where there is no kernel to ask.
    fn new(pods: &[(&str, &str)]) -> Option<Self> {
        if !crate::lab::ready::ready() {
            return None;
        }
        let host = Netns::new("host").unwrap();
        host.enter(|| {
            ip("link set lo up");
            ip("link add cni0 type bridge");
            ip("addr add 10.0.0.1/24 dev cni0");
            ip("link set cni0 up");
        });
        let pods = (2..).zip(pods).map(|(number, (namespace, name))| {
            let netns = Netns::new(name).unwrap();
            host.enter(|| ip(&format!("link add veth{number} type veth peer name eth0 netns {}", netns.path())));
            host.enter(|| ip(&format!("link set veth{number} master cni0 up")));
            netns.enter(|| ip(&format!("addr add 10.0.0.{number}/24 dev eth0")));
            netns.enter(|| ip("link set eth0 up"));
            ((*namespace).to_owned(), (*name).to_owned(), netns)
        });
        Some(Self { pods: pods.collect(), host })
    }

    fn sandboxes(&self) -> Vec<Sandbox<'_>> {
        self.pods.iter().map(|(namespace, name, netns)| (namespace.as_str(), name.as_str(), netns)).collect()
    }

    fn take(&self, target: &Path, taker: Taker) -> Output {
        take(&self.host, &self.sandboxes(), "n1", target, taker).unwrap()
    }
}

fn ip(line: &str) {
    must("ip", &line.split(' ').collect::<Vec<_>>(), "").unwrap();
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn dirs(snapshot: &Path) -> Vec<String> {
    load(snapshot).unwrap().namespaces.iter().map(|netns| netns.dir.clone()).collect()
}

fn meta(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("snapshot.json")).unwrap()).unwrap()
}

#[test]
fn every_namespace_of_the_node_is_taken_and_named() {
    let Some(node) = Node::new(&[("shop", "web-0"), ("", ""), ("default", "pod1"), ("shop", "web-0")]) else { return };
    let idle = Netns::new("idle").unwrap();
    let mut pods = node.sandboxes();
    pods.push(("", "", &idle));
    let folder = Folder::new("named");
    fs::create_dir_all(&folder.path).unwrap();
    for taker in TAKERS {
        let target = folder.path.join(format!("{taker:?}"));
        let output = take(&node.host, &pods, "n1", &target, taker).unwrap();
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("two namespaces of shop_web-0") && said.contains("delete the one that is old"), "{said}");
        assert!(said.contains("1 namespaces with no device but lo"), "{said}");
        let wanted = ["host", "pods/default_pod1", "pods/shop_web-0", "pods/shop_web-0.2", "pods/unnamed_10.0.0.3"];
        assert_eq!(dirs(&target), wanted.map(|dir| format!("nodes/n1/{dir}")), "{taker:?}");
        let meta = meta(&target);
        assert_eq!(meta["schema"], "flowtrace/snapshot/1");
        assert_eq!(meta["failed"], Value::Array(Vec::new()));
        assert_eq!(meta["timezone"], "UTC", "in which nft prints times");
        let read = meta["namespaces"].as_array().unwrap();
        assert_eq!(read.len(), 5);
        for netns in read {
            let moment = |key: &str| flowtrace::net::calendar::moment(netns[key].as_str().unwrap()).unwrap();
            assert!(moment("started") <= moment("ended"), "{netns}");
        }
    }
}

#[test]
fn a_pod_that_no_runtime_names_has_its_name_from_the_cni_plugins_answer() {
    const RESULT: &str = r#"mkdir -p /var/lib/cni/results
        echo '{"kind":"cniCacheV1","containerId":"1","ifName":"eth0","networkName":"cbr0","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","web-0"]],"result":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1"}]}}' \
            >/var/lib/cni/results/cbr0-1-eth0
        exec "$@""#;
    let Some(node) = Node::new(&[("", "")]) else { return };
    let folder = Folder::new("cni");
    fs::create_dir_all(&folder.path).unwrap();
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        let command = command("n1", &target, taker).unwrap();
        let words: Vec<&str> =
            ["sh", "-c", RESULT, "sh"].into_iter().chain(command.iter().map(String::as_str)).collect();
        let output = on_machine(&node.host, &node.sandboxes(), &words).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(dirs(&target), ["nodes/n1/host", "nodes/n1/pods/shop_web-0"], "{taker:?}");
    }
}

/// Adds and removes something of `ip` until it is told to stop.
fn flap(stop: &AtomicBool, there: &str, back: &str) {
    while !stop.load(Ordering::Relaxed) {
        let batch = format!("{there}\n{back}\n").repeat(2000);
        must("ip", &["-batch", "-"], &batch).unwrap();
    }
}

#[test]
fn a_table_that_never_rests_is_told_and_is_whole_all_the_same() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = Folder::new("flap");
    fs::create_dir_all(&folder.path).unwrap();
    let stop = AtomicBool::new(false);
    // So many that reading them takes a while.
    let line = |n: u32| format!("route add 10.{}.{}.0/24 via 10.0.0.9\n", 100 + n / 250, n % 250);
    let routes = (0..20_000).map(line).collect::<Vec<_>>().concat();
    node.host.enter(|| must("ip", &["-batch", "-"], &routes).unwrap());
    std::thread::scope(|scope| {
        let (add, remove) = ("route add 10.9.0.0/16 via 10.0.0.9", "route del 10.9.0.0/16");
        scope.spawn(|| node.host.enter(|| flap(&stop, add, remove)));
        // On a busy machine the other one may pause.
        let told = (0..50).any(|number| {
            let target = folder.path.join(number.to_string());
            assert_eq!(node.take(&target, Taker::Netlink).status.code(), Some(0));
            let snapshot = load(&target).unwrap();
            let count = snapshot.namespaces[0].routes.as_ref().unwrap().rows().len();
            assert!((20_006..=20_007).contains(&count), "{count} routes");
            let changed = meta(&target)["changed"].as_array().unwrap().clone();
            let is_told = changed.iter().any(|file| file == "nodes/n1/host/route.txt");
            assert_eq!(is_told, snapshot.gaps.iter().any(|gap| gap.what.contains("changed while it was read")));
            is_told
        });
        stop.store(true, Ordering::Relaxed);
        assert!(told, "the routes never changed while they were read");
    });
}

#[test]
fn an_archive_is_the_same_snapshot_as_a_folder() {
    let Some(node) = Node::new(&[("shop", "web-0")]) else { return };
    let folder = Folder::new("archive");
    fs::create_dir_all(&folder.path).unwrap();
    let mut all: Vec<(PathBuf, Vec<String>)> = Vec::new();
    for (number, taker) in TAKERS.into_iter().enumerate() {
        for name in ["plain", "packed.tar.gz"] {
            let target = folder.path.join(format!("{number}-{name}"));
            let output = node.take(&target, taker);
            assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
            let snapshot = load(&target).unwrap();
            let shown = snapshot.namespaces.iter().map(|netns| {
                let links = netns.links.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
                let routes = netns.routes.as_ref().map(|routes| routes.rows().len());
                format!(
                    "{} {links:?} {routes:?} {:?}",
                    netns.dir,
                    netns.sysctls.as_ref().map(|sysctls| sysctls.len() > 100)
                )
            });
            all.push((target, shown.collect()));
        }
    }
    let (_, first) = &all[0];
    for (target, shown) in &all {
        assert_eq!(shown, first, "{}", target.display());
    }
    let left: Vec<_> = fs::read_dir(&folder.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), all.len(), "{left:?}");
}

#[test]
fn a_pipe_gets_an_archive() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = Folder::new("pipe");
    fs::create_dir_all(&folder.path).unwrap();
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let output = node.take(Path::new("-"), taker);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let file = folder.path.join(format!("{number}.tar.gz"));
        fs::write(&file, &output.stdout).unwrap();
        assert_eq!(dirs(&file), ["nodes/n1/host"]);
    }
}

#[test]
fn nothing_is_written_over() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = Folder::new("over");
    fs::create_dir_all(folder.path.join("full")).unwrap();
    fs::write(folder.path.join("full/mine"), "mine").unwrap();
    fs::write(folder.path.join("mine.tar.gz"), "mine").unwrap();
    for taker in TAKERS {
        for name in ["full", "mine.tar.gz"] {
            let output = node.take(&folder.path.join(name), taker);
            assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
            assert!(errors(&output).contains("name another one"), "{}", errors(&output));
        }
    }
    assert_eq!(fs::read(folder.path.join("mine.tar.gz")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(folder.path.join("full")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 2);
}

#[test]
fn the_kernel_is_left_as_it_was() {
    let Some(node) = Node::new(&[("shop", "web-0")]) else { return };
    let folder = Folder::new("left");
    fs::create_dir_all(&folder.path).unwrap();
    let names = || {
        let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
        [read("ip_tables_names"), read("ip6_tables_names"), must("nft", &["list", "ruleset"], "").unwrap()]
    };
    // IPv6 tries its new addresses meanwhile, by itself.
    let rest = || {
        let ip = ["-4 -o addr", "-4 route show table all", "rule", "-4 neigh", "netns list-id"];
        let ip = ip.map(|line| must("ip", &line.split(' ').collect::<Vec<_>>(), "").unwrap());
        let settings = must("grep", &["-r", "", "/proc/sys/net/ipv4/conf", "/proc/sys/net/netfilter"], "").unwrap();
        let mut settings: Vec<String> = settings.lines().map(str::to_owned).collect();
        settings.sort();
        (ip, settings)
    };
    let pod = &node.pods[0].2;
    pod.enter(|| must("iptables-legacy", &["-A", "INPUT", "-j", "ACCEPT"], "").unwrap());
    pod.enter(|| must("nft", &["add", "table", "ip", "mine"], "").unwrap());
    let before = [node.host.enter(names), pod.enter(names)];
    assert!(before[0].iter().all(String::is_empty) && before[1][0] == "filter\n", "{before:?}");
    pod.enter(|| must("iptables-nft", &["-A", "INPUT", "-m", "recent", "--name", "KNOCK", "--set"], "").unwrap());
    let before = [node.host.enter(names), pod.enter(names)];
    let others = [node.host.enter(rest), pod.enter(rest)];
    // Whoever takes it, there are the same files.
    let mut all = None;
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        assert_eq!(node.take(&target, taker).status.code(), Some(0));
        assert_eq!([node.host.enter(names), pod.enter(names)], before, "{taker:?}");
        assert_eq!([node.host.enter(rest), pod.enter(rest)], others, "{taker:?}");
        let dir = target.join("nodes/n1/pods/shop_web-0");
        assert!(fs::read_to_string(dir.join("iptables-legacy-save")).unwrap().contains("-A INPUT -j ACCEPT"));
        assert!(fs::read_to_string(dir.join("nft.txt")).unwrap().contains("table ip mine"));
        assert!(fs::read_to_string(dir.join("iptables-save")).unwrap().contains("--name KNOCK"));
        assert!(dir.join("recent/KNOCK").exists());
        assert!(!target.join("nodes/n1/host/iptables-legacy-save").exists());
        let files = files(&target);
        assert!(files.len() > 35, "{files:?}");
        assert_eq!(*all.get_or_insert_with(|| files.clone()), files, "{taker:?}");
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn connections_of_both_families_are_taken() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = Folder::new("connections");
    fs::create_dir_all(&folder.path).unwrap();
    let connections = [
        "-I -s 10.0.0.2 -d 10.0.0.3 -p udp --sport 1000 --dport 53 --timeout 600",
        "-I -s fd00::2 -d fd00::3 -p udp --sport 1001 --dport 53 --timeout 600",
    ];
    node.host.enter(|| {
        for line in connections {
            must("conntrack", &line.split(' ').collect::<Vec<_>>(), "").unwrap();
        }
    });
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        assert_eq!(node.take(&target, taker).status.code(), Some(0));
        let snapshot = load(&target).unwrap();
        let found = snapshot.namespaces[0].conntrack.as_ref().unwrap();
        assert_eq!(found.len(), connections.len(), "{taker:?}: {found:?}");
    }
}

/// A machine on which tools are another file; `command` runs there.
fn with_other_tools(node: &Node, tools: &[&str], other: &str, command: &[&str]) -> Output {
    let hide = |tool: &&str| format!("mount --bind {other} \"$(readlink -f \"$(command -v {tool})\")\" && ");
    let script = tools.iter().map(hide).collect::<String>() + "exec \"$@\"";
    let words = [&["sh", "-c", &script, "sh"], command].concat();
    on_machine(&node.host, &node.sandboxes(), &words).unwrap()
}

/// Runs what follows the folder with a small disk there, and tells what is on it in the end.
const SMALL_DISK: &str = r#"folder=$1
        mount -t tmpfs -o size=128k tmpfs "$folder" && mkdir "$folder/there"
        shift
        "$@"
        code=$?
        find "$folder" -mindepth 1 -printf 'left: %P\n' >&2
        exit $code"#;

#[test]
fn a_full_disk_is_no_empty_table() {
    let Some(node) = Node::new(&[]) else { return };
    let rule = |n: u32| format!("-A FORWARD -s 10.{}.{}.0/24 -j ACCEPT\n", n / 250, n % 250);
    let rules = format!("*filter\n{}COMMIT\n", (0..4000).map(rule).collect::<String>());
    node.host.enter(|| must("iptables-nft-restore", &[], &rules).unwrap());
    let folder = Folder::new("full-disk");
    fs::create_dir_all(&folder.path).unwrap();
    for taker in TAKERS {
        for name in ["a.tar.gz", "new", "there"] {
            let target = folder.path.join(name);
            let command = command("n1", &target, taker).unwrap();
            let disk = folder.path.to_string_lossy();
            let words: Vec<&str> =
                ["sh", "-c", SMALL_DISK, "sh", &disk].into_iter().chain(command.iter().map(String::as_str)).collect();
            let output = on_machine(&node.host, &[], &words).unwrap();
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(2), "{taker:?} {name}: {said}");
            assert!(said.contains("can't be written") || said.contains("No space left on device"), "{said}");
            let left: Vec<&str> = said.split("left: ").skip(1).map(str::trim).collect();
            assert_eq!(left, ["there"], "{taker:?} {name}: {said}");
        }
    }
}

#[test]
fn an_archive_that_can_not_be_packed_has_no_name() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = Folder::new("unpacked");
    fs::create_dir_all(&folder.path).unwrap();
    for tool in ["tar", "gzip"] {
        for shell in ["dash", "busybox sh"] {
            let target = folder.path.join("a.tar.gz");
            let command = command("n1", &target, Taker::Script(shell)).unwrap();
            // Busybox's shell has tools of its own, which stand behind those of PATH only where it is built so.
            let own = format!("{tool}() {{ return 1; }}");
            let script = fs::read_to_string(&command[command.len() - 3]).unwrap();
            let changed = folder.path.join("changed.sh");
            fs::write(&changed, script.replacen("set -u", &format!("set -u\n{own}"), 1)).unwrap();
            let changed = changed.to_string_lossy().into_owned();
            let words: Vec<&str> =
                shell.split(' ').chain([changed.as_str(), &command[command.len() - 2], "n1"]).collect();
            let output = on_machine(&node.host, &[], &words).unwrap();
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(2), "{tool} {shell}: {said}");
            assert!(said.contains("can't be written"), "{tool} {shell}: {said}");
            assert_eq!(names(&folder.path), ["changed.sh"], "{tool} {shell}: {said}");
        }
    }
}

#[test]
fn of_two_sandboxes_the_one_in_which_something_runs_has_the_pods_name() {
    // What runs there is there before anybody looks, and gone before the next one begins.
    const RUN: &str = r#"nsenter --net="$1" sleep 60 &
        runs=$!
        [ -e "$1" ] || exit 9
        while [ "$(readlink /proc/$runs/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
        shift
        "$@"
        code=$?
        kill $runs
        exit $code"#;
    let Some(node) = Node::new(&[("shop", "web-0"), ("shop", "web-0")]) else { return };
    let folder = Folder::new("sandboxes");
    fs::create_dir_all(&folder.path).unwrap();
    for taker in TAKERS {
        for live in 0..2 {
            let target = folder.path.join(format!("{taker:?}-{live}"));
            let command = command("n1", &target, taker).unwrap();
            // As the machine has them, the last one first.
            let path = format!("/run/netns/cni-0f6e7bd2-1c4e-4c2c-9a56-6b0a5f3c1a{}", 2 - live);
            let words: Vec<&str> =
                ["sh", "-c", RUN, "sh", &path].into_iter().chain(command.iter().map(String::as_str)).collect();
            let output = on_machine(&node.host, &node.sandboxes(), &words).unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
            let text = fs::read_to_string(target.join("nodes/n1/pods/shop_web-0/addr.txt")).unwrap();
            assert!(text.contains(&format!("10.0.0.{}/24", live + 2)), "{taker:?} {live}: {text}");
        }
    }
}

#[test]
fn docker_names_pods_too() {
    const CONTAINER: &str = r#"folder=/var/lib/docker/containers/0f6e
        mkdir -p $folder
        for file in /run/netns/cni-*; do
            printf '{"State":{"Running":true,"Pid":0},"Config":{"Hostname":"web-0","Labels":{"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"0f6e"}},"NetworkSettings":{"SandboxID":"1","SandboxKey":"%s"}}' "$file" \
                >$folder/config.v2.json
        done
        exec "$@""#;
    let Some(node) = Node::new(&[("", "")]) else { return };
    let folder = Folder::new("docker");
    fs::create_dir_all(&folder.path).unwrap();
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        let command = command("n1", &target, taker).unwrap();
        let words: Vec<&str> =
            ["sh", "-c", CONTAINER, "sh"].into_iter().chain(command.iter().map(String::as_str)).collect();
        let output = on_machine(&node.host, &node.sandboxes(), &words).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        assert_eq!(dirs(&target), ["nodes/n1/host", "nodes/n1/pods/shop_web-0"], "{taker:?}");
    }
}

#[test]
fn the_script_is_clean() {
    if Command::new("shellcheck").arg("--version").output().is_err() {
        return crate::lab::ready::skip("shellcheck is not installed");
    }
    let folder = Folder::new("clean");
    fs::create_dir_all(&folder.path).unwrap();
    let script = folder.path.join("script.sh");
    fs::write(&script, must(&program().to_string_lossy(), &["collect", "--print-script"], "").unwrap()).unwrap();
    let output = Command::new("shellcheck").arg("--shell=sh").arg(&script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_signal_leaves_nothing_behind_and_says_so() {
    let Some(node) = Node::new(&[("shop", "web-0")]) else { return };
    let folder = Folder::new("signal");
    fs::create_dir_all(folder.path.join("there")).unwrap();
    let slow = folder.path.join("slow");
    // It takes no notice itself, as a tool that waits for the kernel.
    fs::write(&slow, "#!/bin/sh\ntrap '' INT TERM HUP\nsleep 30\n").unwrap();
    fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = names(&folder.path);
    for signal in ["INT", "TERM", "HUP"] {
        for name in ["a.tar.gz", "new", "there"] {
            let target = folder.path.join(name);
            let command = command("n1", &target, Taker::Netlink).unwrap();
            let timed = ["timeout", "--preserve-status", "-s", signal, "1"];
            let words: Vec<&str> = timed.into_iter().chain(command.iter().map(String::as_str)).collect();
            let began = std::time::Instant::now();
            let output = with_other_tools(&node, &["nft"], slow.to_str().unwrap(), &words);
            assert!(began.elapsed() < std::time::Duration::from_secs(15), "{name}: {:?}", began.elapsed());
            assert_eq!(output.status.code(), Some(2), "{signal} {name}: {}", errors(&output));
            assert!(errors(&output).contains("interrupted: nothing is kept of the snapshot"), "{}", errors(&output));
            assert_eq!(names(&folder.path), before, "{signal} {name}");
            assert_eq!(fs::read_dir(folder.path.join("there")).unwrap().count(), 0);
        }
    }
    // The script waits for the tool that runs.
    fs::write(&slow, "#!/bin/sh\nsleep 3\n").unwrap();
    for name in ["a.tar.gz", "new", "there"] {
        let command = command("n1", &folder.path.join(name), Taker::Script("dash")).unwrap();
        let timed = ["timeout", "--preserve-status", "-s", "TERM", "1"];
        let words: Vec<&str> = timed.into_iter().chain(command.iter().map(String::as_str)).collect();
        let output = with_other_tools(&node, &["nft"], slow.to_str().unwrap(), &words);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", errors(&output));
        assert!(errors(&output).contains("interrupted: nothing is kept of the snapshot"), "{}", errors(&output));
        assert_eq!(names(&folder.path), before, "{name}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Namespaces with devices that are there for a moment.
const RESTLESS: &str = r#"while :; do unshare --net sh -c 'ip link add one type veth peer name two; ip addr add 10.8.0.1/24 dev one; ip link set one up'; done 2>/dev/null &
        sleep 0.3
        exec "$@""#;

#[test]
fn namespaces_that_come_and_go_meanwhile_cost_nothing() {
    let Some(node) = Node::new(&[("shop", "web-0")]) else { return };
    let folder = Folder::new("come-and-go");
    fs::create_dir_all(&folder.path).unwrap();
    for (number, taker) in TAKERS.into_iter().enumerate() {
        for round in 0..5 {
            let target = folder.path.join(format!("{number}-{round}"));
            let command = command("n1", &target, taker).unwrap();
            let words: Vec<&str> =
                ["sh", "-c", RESTLESS, "sh"].into_iter().chain(command.iter().map(String::as_str)).collect();
            let output = on_machine(&node.host, &node.sandboxes(), &words).unwrap();
            // What went away may be told; what stayed is whole.
            assert!(matches!(output.status.code(), Some(0 | 3)), "{taker:?}: {}", errors(&output));
            let told = errors(&output);
            assert!(!told.contains("nodes/n1/host/") && !told.contains("shop_web-0/"), "{told}");
            for dir in ["host", "pods/shop_web-0"] {
                let dir = target.join("nodes/n1").join(dir);
                assert!(fs::read_to_string(dir.join("link.txt")).unwrap().contains("eth0") || dir.ends_with("host"));
                assert!(dir.join("nft.txt").exists() && dir.join("route.txt").exists());
            }
            load(&target).unwrap();
        }
    }
}
