//! What changes, or goes away, while it is read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Node, TAKERS, errors, meta, with_other_tools};
use crate::lab::judge::Folder;
use crate::lab::machine::{Taker, command};
use crate::lab::netns::must;

/// A program that is a shell script.
fn tool(folder: &Path, name: &str, script: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    fs::create_dir_all(&folder.path).unwrap();
    folder
}

/// Takes a snapshot where a tool is another file: what `snapshot.json` says of changes.
fn changes(node: &Node, (name, other): (&str, &Path), target: &Path, taker: Taker) -> serde_json::Value {
    let command = command("n1", target, taker).unwrap();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let output = with_other_tools(node, &[name], other.to_str().unwrap(), &command);
    assert_eq!(output.status.code(), Some(0), "{taker:?}: {}", errors(&output));
    let changed = meta(target)["changed"].clone();
    for file in changed.as_array().unwrap() {
        let told = format!("{} changed whenever it was read", file.as_str().unwrap());
        assert!(errors(&output).contains(&told), "{taker:?}: {}", errors(&output));
    }
    changed
}

#[test]
fn rules_that_change_whenever_they_are_read_are_of_no_one_moment_in_any_file() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = folder("changing");
    let restless = tool(&folder.path, "nft", "iptables-nft -A FORWARD -j ACCEPT\niptables-nft-save\n");
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        let files = ["ip6tables-save", "iptables-save", "nft.txt"].map(|file| format!("nodes/n1/host/{file}"));
        assert_eq!(changes(&node, ("nft", &restless), &target, taker), json!(files), "{taker:?}");
    }
}

#[test]
fn rules_that_change_once_are_read_again() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = folder("changed");
    let once = "iptables-nft-save\n[ -e \"${0%/*}/done\" ] || iptables-nft -A FORWARD -s 10.9.9.9 -j ACCEPT\n: >\"${0%/*}/done\"\n";
    let once = once.replace("${0%/*}", folder.path.to_str().unwrap());
    let once = tool(&folder.path, "nft", &once);
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        assert_eq!(changes(&node, ("nft", &once), &target, taker), json!([]), "{taker:?}");
        for file in ["iptables-save", "nft.txt"] {
            let text = fs::read_to_string(target.join("nodes/n1/host").join(file)).unwrap();
            assert!(text.contains("-s 10.9.9.9/32"), "{taker:?} {file}: {text}");
        }
        node.host.enter(|| must("iptables-nft", &["-F"], "").unwrap());
        fs::remove_file(folder.path.join("done")).unwrap();
    }
}

/// An `ip` that says of the routes, so many times, that they changed while it read them, and prints one too many.
fn torn(folder: &Path, times: u32) -> PathBuf {
    let real = folder.join("real-ip");
    fs::copy(must("sh", &["-c", "readlink -f \"$(command -v ip)\""], "").unwrap().trim(), &real).unwrap();
    fs::write(folder.join("left"), times.to_string()).unwrap();
    let script = r#"left=$(cat FOLDER/left)
        if [ "$*" = "-4 -d route show table all" ] && [ "$left" -gt 0 ]; then
            echo $((left - 1)) >FOLDER/left
            echo "unicast 10.77.0.0/16 dev cni0 proto static scope link"
            echo "Dump was interrupted and may be inconsistent." >&2
        fi
        exec FOLDER/real-ip "$@"
        "#;
    tool(folder, "ip", &script.replace("FOLDER", folder.to_str().unwrap()))
}

#[test]
fn a_table_that_iproute2_saw_change_is_read_again_by_the_script() {
    let Some(node) = Node::new(&[]) else { return };
    for shell in ["dash", "busybox sh"] {
        for (times, wanted) in [(3, json!([])), (100, json!(["nodes/n1/host/route.txt"]))] {
            let folder = folder("torn");
            let ip = torn(&folder.path, times);
            let target = folder.path.join("case");
            assert_eq!(changes(&node, ("ip", &ip), &target, Taker::Script(shell)), wanted, "{shell} {times}");
            let text = fs::read_to_string(target.join("nodes/n1/host/route.txt")).unwrap();
            assert_eq!(text.contains("10.77.0.0/16"), times == 100, "{shell} {times}: {text}");
            assert_eq!(text.matches("10.0.0.0/24").count(), 1, "{shell} {times}: {text}");
        }
    }
}

/// A namespace of a program that a tool ends once it is called in there.
const LEAVING: &str = r#"unshare --net sh -c '
            ip link add one type veth peer name two
            ip addr add 10.8.0.1/24 dev one
            ip link set one up
            echo $$ >"$0"
            exec sleep 60' "$1" &
        while [ ! -s "$1" ]; do sleep 0.05; done
        shift
        exec "$@""#;

#[test]
fn a_namespace_that_goes_away_while_it_is_read_is_whole() {
    let Some(node) = Node::new(&[]) else { return };
    for taker in TAKERS {
        let folder = folder("leaving");
        let process = folder.path.join("process");
        let end = r#"process=$(cat PROCESS)
            [ "$(readlink /proc/self/ns/net)" = "$(readlink "/proc/$process/ns/net")" ] || exit 0
            kill -9 "$process"
            while readlink "/proc/$process/ns/net" >/dev/null; do sleep 0.05; done
            : >PROCESS.ended
            "#;
        let end = tool(&folder.path, "nft", &end.replace("PROCESS", process.to_str().unwrap()));
        let target = folder.path.join("case");
        let command = command("n1", &target, taker).unwrap();
        let words: Vec<&str> = ["sh", "-c", LEAVING, "sh", process.to_str().unwrap()]
            .into_iter()
            .chain(command.iter().map(String::as_str))
            .collect();
        let output = with_other_tools(&node, &["nft"], end.to_str().unwrap(), &words);
        assert_eq!(output.status.code(), Some(0), "{taker:?}: {}", errors(&output));
        assert!(folder.path.join("process.ended").exists(), "{taker:?}: {}", errors(&output));
        let dir = target.join("nodes/n1/pods/unnamed_10.8.0.1");
        for file in ["route.txt", "iptables-save", "ipset", "sysctl"] {
            assert!(dir.join(file).exists(), "{taker:?} {file}: {}", errors(&output));
        }
        // The script has the settings' paths for names.
        let settings = fs::read_to_string(dir.join("sysctl")).unwrap().replace('/', ".");
        assert!(settings.contains("net.ipv4.conf.one."), "{taker:?}");
    }
}
