//! What the node is called, in Kubernetes' words.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::load::layout::is_node_name;

use super::process::{self, Mounts, Process};

/// The option by which a kubelet is told another name than the machine's.
const OPTION: &str = "--hostname-override";
/// The program that has it: of itself, and in RKE2.
const KUBELET: &str = "kubelet";
/// Those of k3s, which have the kubelet in them and wipe what they were told from their command line.
const K3S: [&str; 3] = ["k3s", "k3s-server", "k3s-agent"];
/// Where a kubelet keeps the certificate that it logs in with, and where k3s does, in the folder of its data. It is
/// the node's, however the node got its name.
const OF_KUBELET: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
const OF_K3S: &str = "agent/client-kubelet.crt";
/// What stands before the node's name in such a certificate.
const SUBJECT: &[u8] = b"system:node:";

/// The name that the kubelet is told, or that of its certificate, or else the machine's in lower case, as the kubelet
/// takes it. Only root's programs that see the node's own files are heeded: anybody may call a program so.
pub(super) fn name() -> String {
    let mounts = Mounts::look();
    let is_agent = |process: &Process| {
        let name = process.name();
        (name == KUBELET || K3S.contains(&name.as_str())) && process.is_of_node(&mounts)
    };
    process::all().iter().filter(|process| is_agent(process)).find_map(of_agent).unwrap_or_else(machine)
}

fn of_agent(agent: &Process) -> Option<String> {
    told(&agent.words()).or_else(|| {
        let certificate =
            if agent.name() == KUBELET { PathBuf::from(OF_KUBELET) } else { data(&agent.program()?)?.join(OF_K3S) };
        certified(&fs::read_to_string(certificate).ok()?)
    })
}

fn told(words: &[String]) -> Option<String> {
    let mut words = words.iter().map(String::as_str);
    let told = loop {
        let word = words.next()?;
        match word.split_once('=') {
            Some((OPTION, value)) => break value,
            None if word == OPTION => break words.next()?,
            _ => {}
        }
    };
    is_node_name(told).then(|| told.to_owned())
}

/// The folder of the data of k3s: its program is in `data/<hash>/bin` of it.
fn data(program: &Path) -> Option<&Path> {
    let data = program.ancestors().nth(3)?;
    data.ends_with("data").then(|| data.parent()).flatten()
}

/// The node in a certificate's subject. The name is a string of ASN.1, whose length stands before it.
fn certified(pem: &str) -> Option<String> {
    let body = pem.split_once("-----BEGIN CERTIFICATE-----")?.1.split_once("-----END")?.0;
    let letters: String = body.split_whitespace().collect();
    let bytes = STANDARD.decode(letters).ok()?;
    let at = bytes.windows(SUBJECT.len()).position(|window| window == SUBJECT)?;
    let length = usize::from(*bytes.get(at.checked_sub(1)?)?);
    let name = str::from_utf8(bytes.get(at + SUBJECT.len()..at + length)?).ok()?;
    is_node_name(name).then(|| name.to_owned())
}

fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_ascii_lowercase();
    if is_node_name(&name) { name } else { "node".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelets_own_name_for_the_node_counts() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(told(&words("kubelet --hostname-override=n1 --v 2")).as_deref(), Some("n1"));
        assert_eq!(told(&words("kubelet --hostname-override n1")).as_deref(), Some("n1"));
        assert_eq!(told(&words("kubelet --v 2")), None);
        assert_eq!(told(&words("kubelet --hostname-override=../x")), None);
        assert_eq!(told(&words("kubelet --hostname-override")), None);
        // All that k3s leaves of its command line.
        assert_eq!(told(&words("/usr/local/bin/k3s server")), None);
    }

    #[test]
    fn a_certificate_names_the_node_and_no_more() {
        assert_eq!(certified(CERTIFICATE).as_deref(), Some("edge-7"));
        assert_eq!(certified(&CERTIFICATE.replace("BEGIN", "NO")), None);
    }

    #[test]
    fn the_data_of_k3s_are_where_its_program_is() {
        let data = |path: &'static str| data(Path::new(path)).and_then(Path::to_str);
        assert_eq!(data("/var/lib/rancher/k3s/data/0f6e/bin/k3s"), Some("/var/lib/rancher/k3s"));
        assert_eq!(data("/usr/local/bin/k3s"), None);
        assert_eq!(data("/k3s"), None);
    }

    const CERTIFICATE: &str = include_str!("../../../tests/cluster/kubelet-client.crt");
}
