//! Programs that kubectl starts, such as those that log in: what they say is shown while everybody waits for them, they may
//! ask at the terminal, and what they leave behind them holds nobody up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::explain::program;
use crate::lab::judge::Folder;
use crate::small::{errors, folder};

/// A kubectl that keeps a list of its calls, and does something where it is asked for the nodes.
fn kubectl(folder: &Folder, on_nodes: &str) -> PathBuf {
    let path = folder.path.join("kubectl");
    let at = folder.path.display();
    let empty = r#"{"apiVersion":"v1","kind":"List","items":[]}"#;
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>{at}/calls\ncase $* in\n'config '*) exit 0 ;;\n'get nodes '*)\n{on_nodes}\n;;\nesac\n\
         echo '{empty}'\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn command(folder: &Folder, kubectl: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(["collect", "-w"]).arg(folder.path.join("case")).arg("--kubectl").arg(kubectl).args(options);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends what the kubectl has left behind, by the numbers that it has written down.
fn end_left(folder: &Folder) {
    for line in fs::read_to_string(folder.path.join("left")).unwrap_or_default().lines() {
        let _ = kill(Pid::from_raw(line.parse().unwrap()), Signal::SIGKILL);
    }
}

/// Runs a command, and sends it Ctrl-C once a file is there; how long it took from then on.
fn timed(mut command: Command, interrupt_at: Option<PathBuf>) -> (Output, Duration) {
    let child = command.spawn().unwrap();
    let mut begun = Instant::now();
    if let Some(file) = interrupt_at {
        while !file.exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} never came", file.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        begun = Instant::now();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    (output, begun.elapsed())
}

#[test]
fn what_kubectl_leaves_behind_holds_nobody_up() {
    for holds in ["", ">/dev/null", "2>/dev/null"] {
        let folder = folder("left-behind");
        let kubectl = kubectl(&folder, &format!("sleep 100 {holds} & echo $! >>{}/left", folder.path.display()));
        let (output, took) = timed(command(&folder, &kubectl, &[]), None);
        end_left(&folder);
        // There is no node in it.
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(errors(&output).contains("no node could be read"), "{}", errors(&output));
        assert!(took < Duration::from_secs(60), "{holds}: {took:?}");
    }
}

#[test]
fn neither_the_time_limit_nor_ctrl_c_waits_for_what_kubectl_has_started() {
    for (start, wait, late) in [
        ("", "exit 0", "no node could be read"),
        ("setsid", "exit 0", "no node could be read"),
        ("setsid", "trap '' TERM; sleep 100 & echo $! >>$left; wait; wait", "no answer came in time"),
    ] {
        for is_interrupted in [false, true] {
            let folder = folder("held");
            let left = folder.path.join("left");
            // What goes on talks on.
            let talk = format!(
                "left={}; {start} sh -c 'echo $$ >>\"$0\"; while sleep 0.1; do echo; done' $left & {wait}",
                left.display()
            );
            let kubectl = kubectl(&folder, &talk);
            let command = command(&folder, &kubectl, &["--timeout", "5"]);
            let (output, took) = timed(command, is_interrupted.then_some(left));
            end_left(&folder);
            let why = if is_interrupted { "interrupted" } else { late };
            assert_eq!(output.status.code(), Some(2), "{start} {wait}: {}", errors(&output));
            assert!(errors(&output).contains(why), "{start} {wait}: {}", errors(&output));
            assert!(took < Duration::from_secs(60), "{start} {wait}: {took:?}");
        }
    }
}

#[test]
fn there_is_one_login_whose_prompt_is_shown_while_it_is_waited_for() {
    let folder = folder("prompt");
    // It goes on once the prompt has been seen.
    let wait = format!(
        "echo 'open https://login.example/device and enter ABCD' >&2\n\
         for i in $(seq 600); do [ ! -e {0}/seen ] || break; sleep 0.1; done; cp {0}/calls {0}/before",
        folder.path.display()
    );
    let kubectl = kubectl(&folder, &wait);
    let mut child = command(&folder, &kubectl, &[]).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let shown = lines.find_map(|line| line.ok().filter(|line| line.contains("enter ABCD"))).unwrap();
    let has_ended = folder.path.join("before").exists();
    fs::write(folder.path.join("seen"), "").unwrap();
    lines.map_while(Result::ok).for_each(drop);
    child.wait().unwrap();
    assert!(!has_ended && shown.starts_with("kubectl: open https://login.example/device"), "{shown}");
    let before = fs::read_to_string(folder.path.join("before")).unwrap();
    let calls: Vec<&str> = before.lines().filter(|call| !call.starts_with("config ")).collect();
    assert!(calls.len() == 1 && calls[0].starts_with("get nodes"), "{before}");
    assert!(fs::read_to_string(folder.path.join("calls")).unwrap().contains("get pods"));
}

#[test]
fn a_login_may_ask_at_the_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        return crate::lab::ready::skip("script (util-linux, bsdutils) is not installed");
    }
    let folder = folder("terminal");
    let ask = format!("read -r answer </dev/tty && echo \"$answer\" >{}/answer", folder.path.display());
    let kubectl = kubectl(&folder, &ask);
    let words = format!(
        "{} collect -w {}/case --kubectl {} --timeout 20",
        program().display(),
        folder.path.display(),
        kubectl.display()
    );
    let mut command = Command::new("script");
    command.args(["-qec", &words, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"123456\n").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(fs::read_to_string(folder.path.join("answer")).unwrap_or_default(), "123456\n", "{told}");
}
