//! Where distributions keep a node's tools.

use std::fs;
use std::process::Output;

use crate::lab::machine::{Taker, command, on_machine};
use crate::lab::netns::{Netns, must};
use crate::small::{errors, folder};

/// Moves ipset into a distribution's folder, runs its agent from there, and then a command.
const MOVED: &str = r#"
bin=$1
mkdir -p "$bin/aux"
cp "$(command -v ipset)" "$2/ipset"
cp "$(command -v sleep)" "$bin/$3"
mount --bind /dev/null "$(readlink -f "$(command -v ipset)")"
[ "$4" != runs ] || "$bin/$3" 60 &
agent=$!
shift 4
"$@"
code=$?
kill $agent 2>/dev/null
exit $code
"#;

fn taken(host: &Netns, words: &[&str], target: &std::path::Path, taker: Taker) -> Output {
    let script = command("n1", target, taker).unwrap();
    let script = script.iter().map(String::as_str);
    let words: Vec<&str> = ["sh", "-c", MOVED, "sh"].into_iter().chain(words.iter().copied()).chain(script).collect();
    on_machine(host, &[], &words).unwrap()
}

#[test]
fn tools_are_found_in_the_data_folders_of_k3s_and_rke2() {
    if !crate::lab::ready::ready() {
        return;
    }
    let host = Netns::new("host").unwrap();
    host.enter(|| must("ipset", &["create", "mine", "hash:ip"], "").unwrap());
    for (bin, tools, agent, runs, is_found) in [
        ("/var/lib/rancher/k3s/data/current/bin", "/var/lib/rancher/k3s/data/current/bin/aux", "k3s", "", true),
        ("/run/mine/data/0f6e7bd2/bin", "/run/mine/data/0f6e7bd2/bin/aux", "k3s", "runs", true),
        ("/run/mine/data/0f6e7bd2/bin", "/run/mine/data/0f6e7bd2/bin/aux", "k3s", "", false),
        (
            "/var/lib/rancher/rke2/data/v1.35.0-rke2r1/bin",
            "/var/lib/rancher/rke2/data/v1.35.0-rke2r1/bin",
            "kubelet",
            "",
            true,
        ),
    ] {
        for taker in [Taker::Script("dash"), Taker::Netlink] {
            let folder = folder("layout");
            let target = folder.path.join("case");
            let output = taken(&host, &[bin, tools, agent, runs], &target, taker);
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(if is_found { 0 } else { 3 }), "{bin} {taker:?}: {said}");
            let sets = fs::read_to_string(target.join("nodes/n1/host/ipset")).unwrap_or_default();
            assert_eq!(sets.contains("create mine"), is_found, "{bin} {taker:?}: {said}");
            let is_missing = said.contains("ipset") && (said.contains("not taken") || said.contains("not installed"));
            assert_eq!(is_missing, !is_found, "{bin} {taker:?}: {said}");
        }
    }
}

/// Runs an agent, and then a command. k3s has a certificate, and nothing in its command line.
const AGENT: &str = r#"
agent=/run/agent
mkdir -p $agent/data/0f6e/bin $agent/agent /var/lib/kubelet/pki
printf '#!/bin/sh\nsleep 60\n' >$agent/kubelet
chmod 755 $agent/kubelet
case $1 in
options) $agent/kubelet --hostname-override=edge-7 & ;;
container) unshare --mount $agent/kubelet --hostname-override=evil & ;;
user) setpriv --reuid 65534 --regid 65534 --clear-groups $agent/kubelet --hostname-override=evil & ;;
certificate)
    cp "$2" /var/lib/kubelet/pki/kubelet-client-current.pem
    $agent/kubelet --config=x &
    ;;
k3s)
    cp "$2" $agent/agent/client-kubelet.crt
    cp "$(command -v sleep)" $agent/data/0f6e/bin/k3s
    ln -s k3s $agent/data/0f6e/bin/k3s-server
    $agent/data/0f6e/bin/k3s-server 60 &
    ;;
esac
sleep 0.5
shift 2
exec "$@"
"#;

#[test]
fn the_node_has_the_name_that_its_own_kubelet_has_for_it() {
    if !crate::lab::ready::ready() {
        return;
    }
    let host = Netns::new("host").unwrap();
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/kubelet-client.crt");
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_ascii_lowercase();
    for (agent, name) in [
        ("options", "edge-7"),
        ("certificate", "edge-7"),
        ("k3s", "edge-7"),
        ("container", machine.as_str()),
        ("user", machine.as_str()),
    ] {
        for taker in [Taker::Netlink, Taker::Script("dash"), Taker::Script("busybox sh")] {
            let folder = folder("agent");
            let target = folder.path.join("case");
            let command = command("n1", &target, taker).unwrap();
            let words = command.iter().map(String::as_str).filter(|word| !["--node", "n1"].contains(word));
            let words: Vec<&str> = ["sh", "-c", AGENT, "sh", agent, certificate].into_iter().chain(words).collect();
            let output = on_machine(&host, &[], &words).unwrap();
            let said = errors(&output);
            assert!(target.join("nodes").join(name).exists(), "{agent} {taker:?}: {said}");
        }
    }
}
