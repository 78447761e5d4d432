//! What can't be captured.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::netns::Netns;
use crate::pair::Pair;
use crate::program::{command, folder};

/// Exit 2, nothing on stdout, and one message on stderr that holds the words, wrapped where it is long.
fn refused_in(netns: &Netns, command: &mut Command, words: &[&str]) {
    let output = netns.enter(|| command.stdout(Stdio::piped()).output().unwrap());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{errors}");
    let said = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in {errors:?}");
    }
    assert_eq!(errors.lines().filter(|line| !line.starts_with(' ')).count(), 1, "{errors}");
}

#[test]
fn what_can_not_be_captured_is_refused_and_no_file_is_touched() {
    let Some(pair) = Pair::new() else { return };
    let kept = folder("capture-refused").join("kept");
    fs::write(&kept, "mine").unwrap();
    let file = kept.to_str().unwrap();
    let refused = |args: &[&str], words: &[&str]| {
        refused_in(&pair.left, &mut command(&[args, &["-w", file]].concat()), words);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "mine", "{args:?}");
    };
    refused(&["-i", "onr"], &["-i onr: this network namespace has no such device", "did you mean one?"]);
    refused(&["-i", "one,twoo"], &["-i twoo", "did you mean two?"]);
    refused(&["-i", "wireless"], &["-i wireless", "there are any, lo, one, two"]);
    refused(&["-i", "one,two,one"], &["one is named twice"]);
    refused(&["-i", "one,"], &["a device has no name"]);
    refused(&["-i", "one", "-f", "udp prot 53"], &["-f \"udp prot 53\"", "syntax error", "libpcap"]);
    refused(&["-i", "one", "-f", "port nonsense"], &["-f \"port nonsense\"", "unknown port 'nonsense'"]);
}

#[test]
fn whoever_may_not_capture_is_told_what_it_takes() {
    let Some(pair) = Pair::new() else { return };
    // A folder that any user may enter, as the build's need not be.
    let folder = std::env::temp_dir().join(format!("flowtrace-capture-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.join("flowtrace");
    fs::copy(env!("CARGO_BIN_EXE_flowtrace"), &program).unwrap();
    let unprivileged = |args: &[&str], words: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("capture").args(args).args(["-w", "/dev/null"]).stderr(Stdio::piped()).uid(65534).gid(65534);
        refused_in(&pair.left, &mut command, words);
    };
    unprivileged(&["-i", "one"], &["-i one: capturing needs root or the capability CAP_NET_RAW", "libpcap"]);
    unprivileged(&["-i", "onr"], &["no such device", "did you mean one?"]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_can_not_be_written_is_named() {
    let Some(pair) = Pair::new() else { return };
    let refused = |file: &str| {
        refused_in(&pair.left, &mut command(&["-i", "one", "-w", file]), &[&format!("-w {file}: the output can't be")]);
    };
    refused("/dev/full");
    refused("/no/such/folder/a.pcapng");
    refused("/");
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let Some(pair) = Pair::new() else { return };
    let refused = |args: &[&str], words: &[&str]| {
        let output = pair.left.enter(|| command(args).stdout(Stdio::piped()).output().unwrap());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{args:?}: {errors}");
        assert!(words.iter().all(|word| errors.contains(word)), "{args:?}: {errors}");
    };
    refused(&["-w", "x"], &["--interface <DEVICE>"]);
    refused(&["-i", "one"], &["--write <FILE>"]);
    refused(&["-i", "one", "-w", "x", "-W", "3"], &["--file-size <MEGABYTES>"]);
    refused(&["-i", "one", "-w", "-", "-C", "1"], &["-w -", "-C"]);
    refused(&["-i", "one", "-w", "x", "-c", "0"], &["--count"]);
    refused(&["-i", "one", "-w", "x", "-s", "300000"], &["--snapshot-length"]);
    for time in ["0", "-1", "soon", "inf", "NaN"] {
        refused(&["-i", "one", "-w", "x", &format!("--duration={time}")], &["seconds are wanted"]);
    }
    refused(&["--along", "default/pod1"], &["--along <FROM> <TO>"]);
    refused(&["--along", "a", "b", "-i", "one"], &["--along", "--interface"]);
    refused(&["--along", "a", "b", "-w", "-"], &["-w -", "--along"]);
    refused(&["--pod", "default/pod1"], &["--write <FILE>"]);
    refused(&["-i", "one", "-w", "x", "-n", "shop"], &["--namespace", "--pod", "--along"]);
    refused(&["-i", "one", "-w", "x", "--node", "a/b"], &["--node", "letters"]);
    refused(&["-i", "one", "--sport", "9", "-w", "x"], &["--sport", "--interface"]);
    for pod in ["", "/", "a/", "/b", "a/b/", "a/b/c/d"] {
        refused(&["--pod", pod, "-w", "x"], &["--pod", "NAMESPACE/POD"]);
    }
}
