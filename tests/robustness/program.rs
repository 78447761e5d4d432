//! The program's exit codes and messages when the snapshot or the question is wrong.

use std::fs;
use std::process::Command;

use super::bundled::{Files, Form, Temporary, gzip};

/// How a run of the program went.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs the program.
pub fn flowtrace(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_flowtrace")).args(args).output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Exit 2, nothing on stdout, and one message on stderr that names what is wrong.
fn refused(path: &str, names: &[&str]) {
    let ran = flowtrace(&["explain", "--snapshot", path, names[0], "10.244.2.2"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.err.starts_with("error: ") && ran.err.trim_end().lines().count() <= 3, "{ran:?}");
    assert!(names[1..].iter().all(|name| ran.err.contains(name)), "{names:?}: {ran:?}");
}

#[test]
fn what_is_no_snapshot_is_refused_with_one_message() {
    let there = Temporary::new();
    fs::create_dir(&there.path).unwrap();
    let path = |name: &str| there.path.join(name).to_str().unwrap().to_owned();
    let pod = "default/pod1";
    refused(&path("missing"), &[pod, "missing"]);
    refused(there.as_str(), &[pod, there.as_str()]);
    fs::create_dir_all(there.path.join("hollow/nodes/n1")).unwrap();
    refused(&path("hollow"), &[pod, "hollow"]);
    let tar = Files::bundled("vxlan").tar();
    let contents: &[(&str, &[u8])] = &[
        ("empty-file", b""),
        ("text", b"default via 192.0.2.1 dev eth0\n"),
        ("zeros.tar", &[0; 10240]),
        ("cut.tar", &tar[..tar.len() / 2]),
        ("cut.tar.gz", &gzip(&tar)[..1000]),
        ("magic.tar.zst", b"\x28\xb5\x2f\xfd"),
        ("json", b"{\"apiVersion\": \"v1\"}"),
    ];
    for (name, content) in contents {
        fs::write(there.path.join(name), content).unwrap();
        refused(&path(name), &[pod, name]);
    }
}

#[test]
fn what_is_no_end_of_a_path_is_refused_with_one_message() {
    let snapshot = Files::bundled("vxlan").write(Form::Gzip);
    for name in ["default/nobody", "nobody", "svc/shop/nothing", "node/n9", "", "/", "a/b/c/d", "10.244.1", ":80", "-"]
    {
        refused(snapshot.as_str(), &[name]);
    }
    refused(snapshot.as_str(), &[&"x".repeat(100_000)]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let program = env!("CARGO_BIN_EXE_flowtrace");
    let line = format!("{program} explain --demo default/pod1 default/pod2 -o json | head -c 10");
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.len(), 10);
}

#[test]
fn every_form_gives_the_same_answer() {
    let ask = |form: Form| {
        let there = Files::bundled("vxlan").write(form);
        flowtrace(&["explain", "--snapshot", there.as_str(), "default/pod1", "default/pod2", "-o", "json"])
    };
    let folder = ask(Form::Folder);
    assert_eq!(folder.code, Some(0), "{folder:?}");
    for form in Form::ALL {
        assert_eq!(ask(form).out, folder.out, "{form:?}");
    }
}
