//! What kubectl says when it fails, and what to do about it.

use std::fmt;

/// Why a call of kubectl failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) struct Refusal {
    pub kind: Kind,
    /// kubectl's own words.
    pub said: String,
}

/// What is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no kubectl, or it can't be started.
    NoKubectl,
    /// There is no such context, or no kubeconfig.
    NoContext,
    /// The server can't be reached.
    Unreachable,
    /// The login has expired, or is none.
    Login,
    /// Pod security admission, or another check of pods, refuses it.
    PodSecurity,
    /// The Kubernetes namespace takes no such pod: its quota, its limits, its service account.
    Namespace,
    /// The user may not do it.
    Forbidden,
    /// It isn't there.
    NotFound,
    /// It took too long.
    Late,
    /// The connection broke.
    Cut,
    /// The end was asked for.
    Interrupted,
    /// Something else.
    Other,
}

/// Words of kubectl, of the server and of Go's network code, in small letters, the more telling ones first.
const WORDS: [(&str, Kind); 48] = [
    ("violates podsecurity", Kind::PodSecurity),
    ("admission webhook", Kind::PodSecurity),
    ("unable to validate against any pod security policy", Kind::PodSecurity),
    ("unable to validate against any security context constraint", Kind::PodSecurity),
    ("exceeded quota", Kind::Namespace),
    ("failed quota", Kind::Namespace),
    ("status unknown for quota", Kind::Namespace),
    // LimitRanger's.
    (" usage per container is", Kind::Namespace),
    (" usage per pod is", Kind::Namespace),
    ("limit to request ratio per", Kind::Namespace),
    ("error looking up service account", Kind::Namespace),
    ("no api token found for service account", Kind::Namespace),
    ("because it is being terminated", Kind::Namespace),
    ("you must be logged in", Kind::Login),
    ("(unauthorized)", Kind::Login),
    ("provide credentials", Kind::Login),
    ("getting credentials", Kind::Login),
    ("token has expired", Kind::Login),
    ("expired or is not yet valid", Kind::Login),
    ("please enter username", Kind::Login),
    ("invalid_grant", Kind::Login),
    ("(forbidden)", Kind::Forbidden),
    ("is forbidden", Kind::Forbidden),
    ("context was not found", Kind::NoContext),
    ("error: context ", Kind::NoContext),
    ("error: cluster ", Kind::NoContext),
    ("auth info ", Kind::NoContext),
    ("no context exists", Kind::NoContext),
    ("invalid configuration", Kind::NoContext),
    ("error loading config file", Kind::NoContext),
    ("error: stat /", Kind::NoContext),
    ("missing or incomplete configuration", Kind::NoContext),
    ("connection refused", Kind::Unreachable),
    ("was refused - did you specify", Kind::Unreachable),
    ("no such host", Kind::Unreachable),
    ("no route to host", Kind::Unreachable),
    ("network is unreachable", Kind::Unreachable),
    ("i/o timeout", Kind::Unreachable),
    ("handshake timeout", Kind::Unreachable),
    ("deadline exceeded", Kind::Unreachable),
    ("client.timeout exceeded", Kind::Unreachable),
    ("x509:", Kind::Unreachable),
    ("(notfound)", Kind::NotFound),
    ("doesn't have a resource type", Kind::NotFound),
    (": eof", Kind::Cut),
    ("unexpected eof", Kind::Cut),
    ("connection reset", Kind::Cut),
    ("connection lost", Kind::Cut),
];

impl Refusal {
    /// What kubectl's words mean.
    pub fn of(words: &str) -> Self {
        let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty() && !is_log(line)).collect();
        let small = lines.join("\n").to_ascii_lowercase();
        // Of a program in a pod, kubectl tells no more than how it ended; its own words stand before.
        let telling = lines.iter().rev().find(|line| !line.starts_with("command terminated with exit code"));
        let last = telling.or(lines.last()).copied().unwrap_or_default();
        let said = last.strip_prefix("error: ").or_else(|| last.strip_prefix("Error: ")).unwrap_or(last).to_owned();
        // The server itself answers here, and tells of a node or of another server that it asked.
        let of_server = small.contains("error from server") || small.contains("error dialing backend");
        let fits = |(word, kind): &&(&str, Kind)| small.contains(word) && !(of_server && *kind == Kind::Unreachable);
        let kind = WORDS.iter().find(fits).map_or(Kind::Other, |(_, kind)| *kind);
        Self { kind, said }
    }

    /// Whether any other call would fail in the same way.
    pub fn is_of_all(&self) -> bool {
        matches!(self.kind, Kind::NoKubectl | Kind::NoContext | Kind::Unreachable | Kind::Login | Kind::Interrupted)
    }

    /// What it is in words of ours, where there are any.
    fn what(&self) -> Option<&'static str> {
        Some(match self.kind {
            Kind::NoContext => "kubectl has no such cluster",
            Kind::Unreachable => "the cluster can't be reached",
            Kind::Login => "the login to the cluster is not accepted, or has expired",
            Kind::PodSecurity => "the cluster allows no such pod",
            Kind::Namespace => "the Kubernetes namespace takes no such pod now",
            Kind::Forbidden => "this user may not do that",
            Kind::NotFound => "it is not there",
            Kind::Late => "no answer came in time",
            Kind::Cut => "the connection was cut",
            Kind::Interrupted => "interrupted",
            Kind::NoKubectl | Kind::Other => return None,
        })
    }

    /// What to do next.
    fn way_out(&self) -> Option<&'static str> {
        Some(match self.kind {
            Kind::NoContext => "`kubectl config get-contexts` lists what there is, for --context and --kubeconfig",
            Kind::Unreachable => "`kubectl get nodes` must work first: is it the right --context, is the VPN up?",
            Kind::Login => "log in again as you do for kubectl, until `kubectl get nodes` works",
            Kind::PodSecurity => {
                "name a namespace that allows privileged pods with --node-namespace (label \
                 pod-security.kubernetes.io/enforce=privileged), an existing privileged pod with --node-access exec, \
                 or run `flowtrace collect` on the node and give its file with --node-bundle"
            }
            Kind::Namespace => {
                "name another one with --node-namespace (`kubectl describe namespace` shows quotas and limits), an \
                 existing privileged pod with --node-access exec, or run `flowtrace collect` on the node and give its \
                 file with --node-bundle"
            }
            Kind::Forbidden => {
                "somebody with more rights can take it (`kubectl auth can-i --list` shows yours), or `flowtrace \
                 collect` on the node, whose file --node-bundle takes"
            }
            Kind::Late => "a longer --timeout may help, where the node is alive (`kubectl get nodes`)",
            Kind::Cut => "try again",
            _ => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = Some(self.said.as_str()).filter(|said| !said.is_empty());
        match (self.what(), said) {
            (Some(what), Some(said)) => write!(f, "{what}: {said}")?,
            (Some(words), None) | (None, Some(words)) => f.write_str(words)?,
            (None, None) => f.write_str("kubectl failed without a word")?,
        }
        match self.way_out() {
            Some(way) => write!(f, "; {way}"),
            None => Ok(()),
        }
    }
}

/// Lines of klog (`E1129 11:30:18.123456   1234 memcache.go:265] ...`), of which there is one for each try.
pub(super) fn is_log(line: &str) -> bool {
    let mut bytes = line.bytes();
    matches!(bytes.next(), Some(b'E' | b'W' | b'I' | b'F')) && bytes.take(4).filter(u8::is_ascii_digit).count() == 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectls_words_are_understood() {
        for (words, kind) in [
            (
                "Error from server (Forbidden): pods is forbidden: User \"x\" cannot list resource \"pods\"",
                Kind::Forbidden,
            ),
            (
                "Error from server (Forbidden): error when creating \"STDIN\": pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
                Kind::PodSecurity,
            ),
            (
                "Error from server (Forbidden): error when creating \"STDIN\": pods \"a\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2",
                Kind::Namespace,
            ),
            (
                "Error from server (Forbidden): pods \"a\" is forbidden: failed quota: q: must specify limits.cpu for: flowtrace",
                Kind::Namespace,
            ),
            (
                "Error from server (Forbidden): pods \"a\" is forbidden: [minimum cpu usage per Container is 100m, but no request is specified, maximum memory usage per Pod is 1Gi, but limit is 2Gi]",
                Kind::Namespace,
            ),
            (
                "Error from server (Forbidden): pods \"a\" is forbidden: error looking up service account ops/default: serviceaccount \"default\" not found",
                Kind::Namespace,
            ),
            (
                "Error from server (Forbidden): pods \"a\" is forbidden: unable to create new content in namespace ops because it is being terminated",
                Kind::Namespace,
            ),
            // Who may not make tokens of service accounts is another matter.
            (
                "Error from server (Forbidden): serviceaccounts \"a\" is forbidden: User \"x\" cannot create resource \"serviceaccounts/token\"",
                Kind::Forbidden,
            ),
            ("error: You must be logged in to the server (Unauthorized)", Kind::Login),
            (
                "Unable to connect to the server: getting credentials: exec: executable aws failed with exit code 255",
                Kind::Login,
            ),
            (
                "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?",
                Kind::Unreachable,
            ),
            (
                "Unable to connect to the server: dial tcp: lookup api.example on 1.1.1.1:53: no such host",
                Kind::Unreachable,
            ),
            ("Unable to connect to the server: x509: certificate signed by unknown authority", Kind::Unreachable),
            ("error: context \"nope\" does not exist", Kind::NoContext),
            ("Error in configuration: context was not found for specified context: nope", Kind::NoContext),
            ("error: stat /nope: no such file or directory", Kind::NoContext),
            ("Error from server (NotFound): namespaces \"x\" not found", Kind::NotFound),
            ("error: the server doesn't have a resource type \"endpointslices\"", Kind::NotFound),
            ("error: unexpected EOF", Kind::Cut),
            ("Error from server (NotFound): pods \"geoff\" not found", Kind::NotFound),
            // A node's kubelet, a webhook: other nodes may be well.
            (
                "Error from server: Get \"https://10.0.0.2:10250/containerLogs\": dial tcp 10.0.0.2:10250: connect: connection refused",
                Kind::Other,
            ),
            ("error: error dialing backend: dial tcp 10.0.0.2:10250: i/o timeout", Kind::Other),
            ("Error from server (InternalError): boom", Kind::Other),
        ] {
            assert_eq!(Refusal::of(words).kind, kind, "{words}");
        }
    }

    #[test]
    fn it_says_what_was_said_and_what_to_do() {
        let words = "E1129 11:30:18.123456   1234 memcache.go:265] couldn't get current server API group list: x\n\
                     error: You must be logged in to the server (Unauthorized)\n";
        let told = Refusal::of(words).to_string();
        assert!(
            told.starts_with("the login to the cluster is not accepted, or has expired: You must be logged in"),
            "{told}"
        );
        assert!(told.contains("log in again"), "{told}");
        assert_eq!(Refusal::of("").to_string(), "kubectl failed without a word");
    }
}
