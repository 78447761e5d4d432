//! Names and texts that would steer a terminal, everywhere where a snapshot has names and texts.

use super::ask;
use super::bundled::{Files, Form, Temporary};
use super::program::flowtrace;
use super::random::Random;
use super::watch::{Case, run};

/// Colours, moves the cursor, sets the title, rings, turns the reading direction, hides.
const EVIL: &str = "\u{1b}[31m\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}5n\u{202e}\u{200b}\u{7f}";

/// The words of the bundled snapshot that are put in danger.
const NAMES: &[&str] = &[
    "eth0",
    "cni0",
    "flannel.1",
    "vethfcf4e592",
    "KUBE-SERVICES",
    "KUBE-FORWARD",
    "default",
    "pod1",
    "n1",
    "shop",
    "web",
    "proto",
    "kernel",
    "nat",
    "ACCEPT",
    "MASQUERADE",
];

/// Every file, and every file's path, with a name made hostile.
fn renamed(name: &str, evil: &str) -> Files {
    let swap = |text: &str| text.replace(name, evil);
    let files = Files::bundled("vxlan").0.into_iter();
    Files(files.map(|(path, text)| (path, swap(&String::from_utf8(text).unwrap()).into_bytes())).collect())
}

#[test]
fn no_name_of_a_snapshot_reaches_the_terminal_as_it_is() {
    let mut cases = Vec::new();
    for (seed, name) in (0u64..).zip(NAMES) {
        let evil = format!("{}{EVIL}", &name[..1]);
        cases.push(Case::new(format!("{name:?} made hostile"), move || {
            ask::files(&renamed(name, &evil), Form::Tar, 6, &mut Random::new(seed))
        }));
    }
    for (seed, folder) in (100u64..).zip(["nodes/n1/", "pods/default_pod1/"]) {
        let evil = folder.replace('1', &format!("1{}", EVIL.replace('/', "")));
        cases.push(Case::new(format!("the folder {folder:?} made hostile"), move || {
            let files = Files::bundled("vxlan").0.into_iter();
            let files = Files(files.map(|(path, text)| (path.replace(folder, &evil), text)).collect());
            ask::files(&files, Form::Folder, 6, &mut Random::new(seed))
        }));
    }
    run(&cases);
}

#[test]
fn no_name_reaches_the_terminal_through_the_program() {
    let files = Files::bundled("vxlan").0.into_iter();
    let evil = format!("nodes/n1/pods/default_pod1{EVIL}/");
    let mut files =
        Files(files.map(|(path, text)| (path.replace("nodes/n1/pods/default_pod1/", &evil), text)).collect());
    files = files.edit("cluster/pods.json", |text| text.replace("\"pod1\"", "\"pod1\\u001b[31m\\u202e\\u0007\""));
    let there = files.write(Form::Folder);
    for to in [
        "default/pod2",
        "default/pod9",
        "svc/shop/web",
        "svc/shop/wep",
        "node/n9",
        "\u{1b}[31mred",
        "kube-dns.kube-system.svc.cluster.local",
    ] {
        for from in ["default/pod1", "node/n1", &format!("default/pod1{EVIL}")] {
            for output in ["text", "json", "dot", "mermaid"] {
                let ran = flowtrace(&["explain", "--snapshot", there.as_str(), from, to, "-o", output, "-v"]);
                let hostile = |c: char| (c.is_control() && c != '\n') || ('\u{200b}'..='\u{202e}').contains(&c);
                assert!(!ran.out.contains(hostile) && !ran.err.contains(hostile), "{from:?} {to:?} {output}: {ran:?}");
            }
        }
    }
}

#[test]
fn a_message_about_a_hostile_path_is_clean() {
    let there = Temporary::new();
    let path = format!("{}{EVIL}", there.as_str());
    let ran = flowtrace(&["explain", "--snapshot", &path, "a/b", "c/d"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
    assert!(!ran.err.contains(|c: char| c.is_control() && c != '\n'), "{ran:?}");
}
