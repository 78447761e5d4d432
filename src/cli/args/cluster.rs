//! Which cluster is asked, as whom, and how its nodes are reached.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// kubectl's own flags, which every call of it gets.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Cluster (kubectl's own flags)")]
#[group(skip)]
pub(in super::super) struct Cluster {
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(in super::super) context: Option<OsString>,
    /// The kubeconfig
    #[arg(long, value_name = "FILE")]
    pub(in super::super) kubeconfig: Option<OsString>,
    /// The cluster of the kubeconfig
    #[arg(long = "cluster", value_name = "NAME")]
    pub(in super::super) of: Option<OsString>,
    /// The user of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(in super::super) user: Option<OsString>,
    /// The API server's address
    #[arg(short, long, value_name = "URL")]
    pub(in super::super) server: Option<OsString>,
    /// The bearer token
    #[arg(long, value_name = "TOKEN")]
    pub(in super::super) token: Option<OsString>,
    /// The user to act as
    #[arg(long = "as", value_name = "NAME")]
    pub(in super::super) act_as: Option<OsString>,
    /// The group to act as, as often as there are groups
    #[arg(long, value_name = "GROUP")]
    pub(in super::super) as_group: Vec<OsString>,
    /// The UID to act as
    #[arg(long, value_name = "UID")]
    pub(in super::super) as_uid: Option<OsString>,
    /// What else is said of the user to act as: KEY=VALUE, as often as there is more
    #[arg(long, value_name = "PAIR")]
    pub(in super::super) as_user_extra: Vec<OsString>,
    /// The name to log in with
    #[arg(long, value_name = "NAME")]
    pub(in super::super) username: Option<OsString>,
    /// The password to log in with
    #[arg(long, value_name = "PASSWORD")]
    pub(in super::super) password: Option<OsString>,
    /// How long one request may take, as kubectl writes it: 30s
    #[arg(long, value_name = "TIME")]
    pub(in super::super) request_timeout: Option<OsString>,
    /// The certificates that the server's is checked with
    #[arg(long, value_name = "FILE")]
    pub(in super::super) certificate_authority: Option<OsString>,
    /// The certificate to log in with
    #[arg(long, value_name = "FILE")]
    pub(in super::super) client_certificate: Option<OsString>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub(in super::super) client_key: Option<OsString>,
    /// The name that the server's certificate is checked for
    #[arg(long, value_name = "NAME")]
    pub(in super::super) tls_server_name: Option<OsString>,
    /// Don't check the server's certificate
    #[arg(long)]
    pub(in super::super) insecure_skip_tls_verify: bool,
    /// Have the server's answers sent as they are
    #[arg(long)]
    pub(in super::super) disable_compression: bool,
    /// Fail where the server is of another version than kubectl
    #[arg(long)]
    pub(in super::super) match_server_version: bool,
    /// kubectl's own preferences
    #[arg(long, value_name = "FILE")]
    pub(in super::super) kuberc: Option<OsString>,
    /// Where kubectl keeps what it asked before
    #[arg(long, value_name = "FOLDER")]
    pub(in super::super) cache_dir: Option<OsString>,
    /// The kubectl to call [default: the first one in PATH]
    #[arg(long, value_name = "PATH")]
    pub(in super::super) kubectl: Option<PathBuf>,
}

impl Cluster {
    /// The flags that were typed, as kubectl takes them.
    pub(in super::super) fn flags(&self) -> Vec<OsString> {
        let single = [
            ("--context", &self.context),
            ("--kubeconfig", &self.kubeconfig),
            ("--cluster", &self.of),
            ("--user", &self.user),
            ("--server", &self.server),
            ("--token", &self.token),
            ("--as", &self.act_as),
            ("--as-uid", &self.as_uid),
            ("--username", &self.username),
            ("--password", &self.password),
            ("--request-timeout", &self.request_timeout),
            ("--certificate-authority", &self.certificate_authority),
            ("--client-certificate", &self.client_certificate),
            ("--client-key", &self.client_key),
            ("--tls-server-name", &self.tls_server_name),
            ("--kuberc", &self.kuberc),
            ("--cache-dir", &self.cache_dir),
        ];
        let single = single.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
        let groups = self.as_group.iter().map(|group| ("--as-group", group));
        let extra = self.as_user_extra.iter().map(|pair| ("--as-user-extra", pair));
        let joined = |(flag, value): (&str, &OsString)| {
            let mut word = OsString::from(flag);
            word.push("=");
            word.push(value);
            word
        };
        let switches = [
            ("--insecure-skip-tls-verify", self.insecure_skip_tls_verify),
            ("--disable-compression", self.disable_compression),
            ("--match-server-version", self.match_server_version),
        ];
        let switches = switches.into_iter().filter(|(_, typed)| *typed).map(|(flag, _)| OsString::from(flag));
        single.chain(groups).chain(extra).map(joined).chain(switches).collect()
    }

    /// The first flag that says that a cluster is meant.
    pub(in super::super) fn asked(&self) -> Option<String> {
        let first = self.flags().into_iter().next();
        let first = first.or_else(|| self.kubectl.is_some().then(|| OsString::from("--kubectl")));
        first.map(|flag| flag.to_string_lossy().split('=').next().unwrap_or_default().to_owned())
    }
}

/// How the cluster's nodes are reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
#[group(skip)]
pub(in super::super) struct Nodes {
    /// Take every node and pod, not only those that the question concerns
    #[arg(long = "all-nodes")]
    pub(in super::super) all: bool,
    /// How a node is reached [default: auto]
    #[arg(long, value_enum, ignore_case = true, value_name = "WAY")]
    pub(in super::super) node_access: Option<NodeAccess>,
    #[command(flatten)]
    pub(in super::super) place: Place,
    /// The image of own pods, any with a shell and chroot [default: busybox]
    #[arg(long, value_name = "IMAGE")]
    pub(in super::super) image: Option<String>,
    /// How long a node may take [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = super::time_limit)]
    pub(in super::super) timeout: Option<Duration>,
    /// A node's snapshot that is there already, instead of asking that node; as often as there are some
    #[arg(long, value_name = "PATH")]
    pub(in super::super) node_bundle: Vec<PathBuf>,
}

impl Nodes {
    /// The first option that says that a cluster is meant.
    pub(in super::super) fn asked(&self) -> Option<&'static str> {
        let options = [
            ("--all-nodes", self.all),
            ("--node-access", self.node_access.is_some()),
            ("--node-namespace", self.place.node_namespace.is_some()),
            ("--image", self.image.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--node-bundle", !self.node_bundle.is_empty()),
        ];
        options.into_iter().find(|(_, typed)| *typed).map(|(option, _)| option)
    }
}

/// Where own pods are.
#[derive(Debug, Args)]
#[group(skip)]
pub(in super::super) struct Place {
    /// The Kubernetes namespace of own pods, which must allow privileged ones [default: kube-system]
    #[arg(long, value_name = "NAMESPACE")]
    pub(in super::super) node_namespace: Option<String>,
}

/// `--node-access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum NodeAccess {
    /// The first that works of the two below
    Auto,
    /// Through a privileged pod that runs there already and sees the node's files or processes (kubectl exec)
    Exec,
    /// Through a privileged pod that is made, runs a script with the node's own tools, and is deleted
    Pod,
}

/// `flowtrace cleanup`.
#[derive(Debug, Args)]
#[command(after_help = super::super::kubectl::spoken(CLEANUP_HELP))]
pub(in super::super) struct Cleanup {
    #[command(flatten)]
    pub(in super::super) place: Place,
    #[command(flatten)]
    pub(in super::super) cluster: Cluster,
}

const CLEANUP_HELP: &str = "\
Pods that read nodes (label app.kubernetes.io/managed-by=flowtrace) are deleted by the command that makes them, and end \
by themselves. Where that one was killed, or its connection broke, this deletes what is left: in all Kubernetes \
namespaces, or where you may not look into all of them, in that of --node-namespace. It also ends a collection that \
runs now.

Examples:
  flowtrace cleanup
  flowtrace cleanup --context prod --node-namespace ops";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_handed_on_as_kubectl_takes_them() {
        let cluster = Cluster {
            context: Some("a b".into()),
            as_group: vec!["x".into(), "y".into()],
            as_user_extra: vec!["scopes=a".into()],
            insecure_skip_tls_verify: true,
            disable_compression: true,
            ..Cluster::default()
        };
        let flags = [
            "--context=a b",
            "--as-group=x",
            "--as-group=y",
            "--as-user-extra=scopes=a",
            "--insecure-skip-tls-verify",
            "--disable-compression",
        ];
        assert_eq!(cluster.flags(), flags.map(OsString::from));
        assert_eq!(cluster.asked().as_deref(), Some("--context"));
        assert_eq!(Cluster::default().asked(), None);
    }
}
