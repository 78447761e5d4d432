//! What is not there, or may not be seen: tools, the kernel's modules, root.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use flowtrace::load::load;

use super::{Node, TAKERS, errors, meta, with_other_tools};
use crate::lab::explain::program;
use crate::lab::judge::Folder;
use crate::lab::machine::{Taker, command, on_machine};
use crate::lab::netns::must;

#[test]
fn a_tool_that_is_missing_is_said_to_be() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = Folder::new("missing");
    fs::create_dir_all(&folder.path).unwrap();
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        let command = command("n1", &target, taker).unwrap();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let tools = ["iptables-nft-save", "iptables-legacy-save", "nft", "ipset"];
        let output = with_other_tools(&node, &tools, "/dev/null", &command);
        assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
        for file in ["iptables-save", "ip6tables-save", "nft.txt", "ipset"] {
            assert!(errors(&output).contains(&format!("not taken: nodes/n1/host/{file}: ")), "{}", errors(&output));
            assert!(!target.join("nodes/n1/host").join(file).exists(), "{taker:?}: {file}");
        }
        assert!(errors(&output).contains("nft is not installed"), "{}", errors(&output));
        let lacks = "note: this node lacks ip6tables-save ipset iptables-save nft: install";
        assert!(errors(&output).contains(lacks), "{}", errors(&output));
        assert!(target.join("nodes/n1/host/sysctl").exists() && target.join("nodes/n1/host/link.txt").exists());
    }
}

#[test]
fn a_tool_that_fails_costs_its_own_file() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = Folder::new("fails");
    fs::create_dir_all(&folder.path).unwrap();
    for (number, taker) in TAKERS.into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        let command = command("n1", &target, taker).unwrap();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let output = with_other_tools(&node, &["nft"], "/bin/false", &command);
        assert_eq!(output.status.code(), Some(3), "{}", errors(&output));
        assert!(errors(&output).contains("not taken: nodes/n1/host/nft.txt: nft"), "{}", errors(&output));
        let folder = target;
        assert!(!folder.join("nodes/n1/host/nft.txt").exists() && folder.join("nodes/n1/host/iptables-save").exists());
        let failed = &meta(&folder)["failed"];
        assert_eq!(failed.as_array().map(Vec::len), Some(1), "{failed}");
        assert!(failed[0]["why"].as_str().unwrap().contains("exit 1"), "{failed}");
        let gaps: Vec<String> = load(&folder).unwrap().gaps.iter().map(|gap| gap.what.clone()).collect();
        assert!(gaps.iter().any(|gap| gap.contains("nft.txt") && gap.contains("could not be taken")), "{gaps:?}");
    }
}

#[test]
fn without_root_it_says_so_and_keeps_what_it_could_read() {
    let Some(node) = Node::new(&[("shop", "web-0")]) else { return };
    let folder = Folder::new("no-root");
    fs::create_dir_all(folder.path.join("into")).unwrap();
    std::os::unix::fs::chown(folder.path.join("into"), Some(65534), Some(65534)).unwrap();
    let (own, script) = (folder.path.join("flowtrace"), folder.path.join("script.sh"));
    fs::copy(program(), &own).unwrap();
    fs::write(&script, must(&program().to_string_lossy(), &["collect", "--print-script"], "").unwrap()).unwrap();
    let (own, script) = (own.to_string_lossy(), script.to_string_lossy());
    let mut all = None;
    for name in ["program", "script"] {
        let target = folder.path.join("into").join(name).to_string_lossy().into_owned();
        let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let words: &[&str] = match name {
            "program" => &[&own, "collect", "--node", "n1", "-w", &target],
            _ => &["dash", &script, &target, "n1"],
        };
        let output = on_machine(&node.host, &node.sandboxes(), &[&nobody[..], words].concat()).unwrap();
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("this is not root") && said.contains("sudo"), "{said}");
        let snapshot = load(Path::new(&target)).unwrap();
        assert_eq!(snapshot.namespaces.len(), 1);
        assert!(snapshot.namespaces[0].links.as_ref().unwrap().iter().any(|link| link.name == "cni0"));
        // What nobody may look at is not empty.
        let meta = meta(Path::new(&target));
        let failed = meta["failed"].as_array().unwrap().iter().map(|failed| failed["file"].to_string());
        let failed: BTreeSet<String> = failed.collect();
        assert!(failed.contains("\"nodes/n1/host/iptables-legacy-save\""), "{failed:?}");
        assert_eq!(*all.get_or_insert_with(|| failed.clone()), failed, "{name}");
    }
}

/// What the kernel has not loaded is empty, and nobody asks it: a tool that did would load it. Here everything is built
/// in, so that the script is told of another list of modules.
#[test]
fn a_kernel_without_the_modules_is_not_asked_by_the_script() {
    let Some(node) = Node::new(&[]) else { return };
    let folder = Folder::new("modules");
    fs::create_dir_all(&folder.path).unwrap();
    let modules = folder.path.join("modules");
    fs::write(&modules, "vxlan 90112 0 - Live 0x0000000000000000\n").unwrap();
    for (number, shell) in ["dash", "busybox sh"].into_iter().enumerate() {
        let target = folder.path.join(number.to_string());
        let mut command = command("n1", &target, Taker::Script(shell)).unwrap();
        let place = command.len() - 3;
        let script = fs::read_to_string(&command[place]).unwrap();
        let (path, changed) = (modules.to_string_lossy(), folder.path.join("changed.sh"));
        let script = script.replace("/proc/modules", &path).replace("/sys/module/", "/nowhere/");
        fs::write(&changed, script.replace("/proc/kallsyms", &path)).unwrap();
        command[place] = changed.to_string_lossy().into_owned();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let tools = ["iptables-nft-save", "nft", "ipset", "conntrack"];
        let output = with_other_tools(&node, &tools, "/bin/false", &command);
        assert_eq!(output.status.code(), Some(0), "{shell}: {}", errors(&output));
        for file in ["iptables-save", "ip6tables-save", "nft.txt", "ipset"] {
            assert_eq!(fs::read_to_string(target.join("nodes/n1/host").join(file)).unwrap(), "", "{shell}: {file}");
        }
    }
}
