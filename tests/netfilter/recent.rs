//! The `recent` match.

use super::*;

const LIST: &str = "src=192.0.2.99 ttl: 63 last_seen: 4295000000 oldest_pkt: 2 4294990000, 4295000000\n";

fn host_with(options: &str) -> Host {
    let rules = table("filter", ":INPUT ACCEPT", &format!("-A INPUT {options} -j DROP"));
    host(&[("iptables-save", &rules), ("recent/x", LIST), ("recent/y", "")])
}

#[test]
fn lists_tell_who_was_seen_and_how_often() {
    assert!(host_with("-m recent --rcheck --name x --rsource").is_dropped());
    assert!(host_with("-m recent --rcheck --hitcount 2 --name x --rsource").is_dropped());
    assert!(!host_with("-m recent --rcheck --hitcount 3 --name x --rsource").is_dropped());
    // Linux 6.11 and later take more than 255.
    assert!(host_with("-m recent ! --rcheck --hitcount 65535 --name x --rsource").is_dropped());
    assert!(!host_with("-m recent --rcheck --name x --rdest").is_dropped());
    assert!(!host_with("-m recent --rcheck --name y --rsource").is_dropped());
    assert!(!host_with("-m recent --rcheck --seconds 10 --name y --rsource").is_dropped());
    assert!(!host_with("-m recent --rcheck --rttl --name x --rsource").is_dropped());
}

#[test]
fn when_it_was_nobody_knows() {
    assert!(host_with("-m recent --rcheck --seconds 10800 --reap --name x --rsource").branches());
    assert!(host_with("-m recent --rcheck --name z --rsource").branches());
}
