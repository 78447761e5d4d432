//! What is missing is unknown on every way: on one that ends badly, on the way back of a packet that may never have
//! come, and for an error that the sender may hear of.

use serde_json::Value;

use super::bundled::{Files, Form};
use super::program::flowtrace;

const N1: &str = "nodes/n1/host/";
const POD1_LINK: &str = "nodes/n1/pods/default_pod1/link.txt";

/// The exit code of a question of `default/pod1`, and the answer.
fn ask(files: &Files, to: &str, more: &[&str]) -> (Option<i32>, Value) {
    ask_from(files, "default/pod1", to, more)
}

fn ask_from(files: &Files, from: &str, to: &str, more: &[&str]) -> (Option<i32>, Value) {
    let there = files.write(Form::Tar);
    let ran = flowtrace(&[&["explain", "--snapshot", there.as_str(), from, to, "-o", "json"], more].concat());
    (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|err| panic!("{err}: {ran:?}")))
}

/// What the text form says.
fn text(files: &Files, to: &str, more: &[&str]) -> String {
    let there = files.write(Form::Tar);
    flowtrace(&[&["explain", "--snapshot", there.as_str(), "default/pod1", to], more].concat()).out
}

/// The words of a trace's end.
fn detail(trace: &Value) -> &str {
    let last = trace["steps"].as_array().and_then(|steps| steps.last());
    last.and_then(|step| step["detail"].as_str()).unwrap_or_else(|| panic!("no end: {trace}"))
}

fn without(files: Files, names: &[&str]) -> Files {
    names.iter().fold(files, |files, name| files.without(&format!("{N1}{name}")))
}

#[test]
fn a_pods_device_without_its_link_file_may_hang_on_a_port_whose_rules_count() {
    let files = without(Files::bundled("vxlan"), &["nft.txt"]).edit(&format!("{N1}iptables-save"), |rules| {
        rules.replacen("-A FORWARD", "-A FORWARD -m physdev --physdev-in vethfcf4e592 -j DROP\n-A FORWARD", 1)
    });
    let (code, whole) = ask(&files, "default/pod2", &["--no-reply"]);
    assert_eq!((code, &whole["verdict"]), (Some(1), &Value::from("dropped")));
    let (code, part) = ask(&files.without(POD1_LINK), "default/pod2", &["--no-reply"]);
    assert_eq!((code, &part["verdict"]), (Some(3), &Value::from("undetermined")));
    let words = detail(&part["paths"][0]["forward"]);
    assert!(words.contains(&format!("{POD1_LINK} is missing: eth0 is taken to be joined to cni0")), "{words}");
}

#[test]
fn the_link_file_that_is_named_is_the_one_that_is_missing() {
    let host = without(Files::bundled("vxlan"), &["link.txt"]);
    let (code, answer) = ask(&host, "external", &[]);
    let words = detail(&answer["paths"][0]["forward"]);
    assert!(code == Some(3) && words.contains("nodes/n1/host/link.txt is missing"), "{code:?} {words}");
    assert!(!answer.to_string().contains(&format!("{POD1_LINK} is missing")));
    let pod = Files::bundled("vxlan").without(POD1_LINK);
    for (from, files) in [("node/n1", pod.clone()), ("node/n1", pod.without(&format!("{N1}neigh.txt")))] {
        let (code, answer) = ask_from(&files, from, "default/pod1", &[]);
        let words = detail(&answer["paths"][0]["forward"]);
        let told = words.contains(&format!("{POD1_LINK} is missing")) && words.contains("other end of vethfcf4e592");
        assert!(code == Some(3) && told, "{code:?} {words}");
    }
}

#[test]
fn the_reply_of_a_packet_that_may_not_have_come_is_not_certain() {
    for lacking in [&["iptables-save", "nft.txt"][..], &["rule.txt"], &["sysctl"]] {
        let files = without(Files::bundled("vxlan"), lacking);
        let (code, answer) = ask(&files, "external", &[]);
        let path = &answer["paths"][0];
        assert_eq!((code, &path["forward"]["verdict"]), (Some(3), &Value::from("undetermined")), "{lacking:?}");
        assert_eq!(path["reply"]["verdict"], "undetermined", "{lacking:?}");
        assert!(detail(&path["reply"]).contains(&format!("{N1}{} is missing", lacking[0])), "{lacking:?}");
    }
    // Without the rules nobody knows whether the packet is masqueraded, so that none of it is advised.
    let files = without(Files::bundled("vxlan"), &["iptables-save", "nft.txt"]);
    assert!(!text(&files, "external", &[]).contains("masquerade the packet"));
}

#[test]
fn a_bad_end_is_no_more_certain_than_a_good_one() {
    assert_eq!(ask(&Files::bundled("vxlan"), "10.244.2.99", &[]).0, Some(1));
    for lacking in ["sysctl", "rule.txt"] {
        let (code, answer) = ask(&without(Files::bundled("vxlan"), &[lacking]), "10.244.2.99", &[]);
        assert_eq!((code, &answer["verdict"]), (Some(3), &Value::from("undetermined")), "{lacking}");
        let words = detail(&answer["paths"][0]["forward"]);
        let said = words.starts_with("it would have been rejected (") && words.contains(&format!("{N1}{lacking}"));
        assert!(said, "{lacking}: {words}");
    }
}

#[test]
fn an_error_whose_way_back_is_not_known_is_not_said_to_be_lost() {
    let whole = Files::bundled("vxlan");
    assert_eq!(ask(&whole, "10.244.2.99", &[]).1["paths"][0]["error_delivered"], true);
    assert!(text(&whole, "10.244.2.99", &[]).contains("the sender hears of it"));
    // What n2 forwards is decided without these, what it sends to the pod of n1 not.
    let files = whole.without("nodes/n1/pods/default_pod1/sysctl");
    let (code, answer) = ask(&files, "10.244.2.99", &[]);
    let path = &answer["paths"][0];
    assert_eq!((code, &path["verdict"]), (Some(1), &Value::from("rejected")));
    assert_eq!((&path["reply"]["verdict"], &path["error_delivered"]), (&Value::from("undetermined"), &Value::Null));
    let words = text(&files, "10.244.2.99", &[]);
    assert!(words.contains("whether the sender hears of it is not known") && !words.contains("never hears"), "{words}");
}
