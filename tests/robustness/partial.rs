//! A file that is missing, or cut off in the middle of a line, is not an empty one: whatever it leaves of an answer is
//! what the whole snapshot says, or undetermined.

use std::fmt::Write as _;
use std::net::IpAddr;

use flowtrace::engine::{Origin, explain};
use flowtrace::load::load;
use flowtrace::net::{NetnsId, Transport};
use flowtrace::snapshot::Snapshot;
use flowtrace::trace::{Answer, Path, Trace, Verdict};

use super::ask;
use super::bundled::{Files, Form};

/// Who asks, by the folder of its namespace, and for what.
type Question = (&'static str, &'static str);

const POD1: &str = "nodes/n1/pods/default_pod1";
const NODE1: &str = "nodes/n1/host";

fn answer(snapshot: &Snapshot, (from, to): Question) -> Option<Answer> {
    let place = snapshot.namespaces.iter().position(|netns| netns.dir == from)?;
    let netns = NetnsId(u32::try_from(place).unwrap());
    let destination: IpAddr = to.parse().unwrap();
    let mut question = ask::question(netns, destination);
    let port = if to.ends_with(".10") || to.ends_with("::a") { 53 } else { 80 };
    question.packet.transport = Transport::Udp { source: Some(40000), destination: Some(port) };
    question.from = Origin::Socket { netns };
    question.max_paths = 32;
    Some(explain(snapshot, &question))
}

/// How a way ends: the verdict and reason, where, and the packet as it is there.
fn end(trace: &Trace) -> String {
    let last = trace.steps.last().unwrap();
    let ip = &last.packet.ip;
    format!("{:?} {:?} {} {} > {}", trace.verdict, trace.reason, last.place.name, ip.source, ip.destination)
}

fn is_open(trace: &Trace) -> bool {
    trace.verdict == Verdict::Undetermined
}

/// Whether a way of a part's answer is one of the whole's, as far as it is told.
fn agrees(part: &Path, whole: &Path) -> bool {
    let same = |part: &Trace, whole: &Trace| is_open(part) || end(part) == end(whole);
    let replies = match (&part.reply, &whole.reply) {
        (Some(part), Some(whole)) => same(part, whole),
        (None, _) => true,
        (Some(part), None) => is_open(part),
    };
    let heard = part.error_delivered.is_none() || part.error_delivered == whole.error_delivered;
    same(&part.forward, &whole.forward) && replies && heard
}

/// Asks every question of a snapshot with one file changed.
fn check(whole: &[(Question, Answer)], files: &Files, how: &str, wrong: &mut String) {
    let Ok(snapshot) = load(&files.write(Form::Tar).path) else { return };
    for (question, whole) in whole {
        let Some(part) = answer(&snapshot, *question) else { continue };
        let stray = part.paths.iter().find(|path| !whole.paths.iter().any(|other| agrees(path, other)));
        let Some(path) = stray else { continue };
        let reply = path.reply.as_ref().map(end);
        let _ = writeln!(wrong, "{how}: {question:?}: {} / {reply:?}", end(&path.forward));
    }
}

fn cut(content: &[u8], percent: usize) -> Option<Vec<u8>> {
    let at = content.len() * percent / 100;
    // At a line's end nobody can see that the file was cut.
    (at > 0 && content[at - 1] != b'\n').then(|| content[..at].to_vec())
}

fn check_parts(name: &str, questions: &[Question]) {
    let files = Files::bundled(name);
    let snapshot = load(&files.write(Form::Tar).path).unwrap();
    let whole: Vec<_> = questions.iter().map(|asked| (*asked, answer(&snapshot, *asked).unwrap())).collect();
    assert!(whole.iter().any(|(_, answer)| answer.paths.iter().any(|path| path.forward.verdict == Verdict::Delivered)));
    let mut wrong = String::new();
    // Pods that nobody asks from or for tell nothing new.
    let concerned = |path: &str| path.contains("/host/") || path.contains("pod1/") || path.contains("pod2/");
    for (path, content) in files.0.iter().filter(|(path, _)| path.starts_with("nodes/") && concerned(path)) {
        check(&whole, &files.clone().without(path), &format!("without {path}"), &mut wrong);
        for percent in [25, 40, 60, 80, 97] {
            let Some(content) = cut(content, percent) else { continue };
            check(&whole, &files.clone().with(path, content), &format!("{path} cut at {percent} %"), &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{name}: {} answers changed\n{wrong}", wrong.lines().count());
}

#[test]
fn a_part_of_the_vxlan_snapshot_says_nothing_that_the_whole_does_not() {
    let pod = ["10.244.2.2", "10.244.1.3", "10.96.0.10", "203.0.113.9", "10.244.2.99"].map(|to| (POD1, to));
    let node = ["10.244.2.2", "10.244.1.2", "192.0.2.12"].map(|to| (NODE1, to));
    check_parts("vxlan", &[&pod[..], &node[..]].concat());
}

#[test]
fn a_part_of_the_dual_stack_snapshot_says_nothing_that_the_whole_does_not() {
    let pod = ["fd00:10:244:2::2", "10.244.2.2", "fd00:10:96::a"].map(|to| (POD1, to));
    check_parts("dual-stack", &[&pod[..], &[(NODE1, "fd00:10:244:2::2")]].concat());
}

#[test]
fn a_part_of_the_host_gw_snapshot_says_nothing_that_the_whole_does_not() {
    check_parts("host-gw", &[(POD1, "10.244.2.2"), (NODE1, "10.244.2.2")]);
}
