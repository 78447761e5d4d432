//! What the node is called, in Kubernetes' words.

use std::fs;

use super::process;

/// Options by which a node's agent is told another name than the machine's.
const OPTIONS: [&str; 2] = ["--hostname-override", "--node-name"];
/// The programs that have them.
const AGENTS: [&str; 4] = ["kubelet", "k3s", "k3s-agent", "rke2"];

/// The name that the kubelet is told, or else the machine's in lower case, as the kubelet takes it.
pub(super) fn name() -> String {
    let agents = process::all().into_iter().filter(|process| AGENTS.contains(&process.name().as_str()));
    let told = agents.map(|agent| agent.words()).find_map(|words| told(&words));
    told.unwrap_or_else(machine)
}

fn told(words: &[String]) -> Option<String> {
    let mut words = words.iter().map(String::as_str);
    let told = loop {
        let word = words.next()?;
        match word.split_once('=') {
            Some((option, value)) if OPTIONS.contains(&option) => break value,
            None if OPTIONS.contains(&word) => break words.next()?,
            _ => {}
        }
    };
    is_name(told).then(|| told.to_owned())
}

fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_ascii_lowercase();
    if is_name(&name) { name } else { "node".to_owned() }
}

/// Whether a name can be that of a folder: what Kubernetes allows, and a little more.
pub(super) fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=253).contains(&name.len()) && name.bytes().all(is_letter) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_own_name_for_the_node_counts() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(told(&words("kubelet --hostname-override=n1 --v 2")).as_deref(), Some("n1"));
        assert_eq!(told(&words("k3s agent --node-name edge-7")).as_deref(), Some("edge-7"));
        assert_eq!(told(&words("kubelet --v 2")), None);
        assert_eq!(told(&words("kubelet --hostname-override=../x")), None);
        assert_eq!(told(&words("k3s agent --node-name")), None);
    }

    #[test]
    fn a_name_is_one_folder() {
        assert!(is_name("n1") && is_name("ip-10-0-0-1.ec2.internal"));
        assert!(["", ".", "..", "a/b", "-w", "a b"].iter().all(|name| !is_name(name)));
        assert!(is_name(&machine()));
    }
}
