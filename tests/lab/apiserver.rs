//! A Kubernetes API server of the tests' own (`tests/cluster/apiserver.py`), whose pods run on the lab's machines, and the
//! real kubectl to ask it with.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use serde_json::{Map, Value, json};

use super::build::Lab;
use super::explain::program;
use super::judge::Folder;
use super::machine::words;
use super::scenario::Place;

/// The kubectls that the plugin is tried with, which `tests/cluster/fetch-kubectl` fetches: a current one, and that of
/// Debian (1.20 in version 12).
pub const KUBECTLS: [&str; 2] = ["current", "debian"];

/// Where a kubectl is, where it has been fetched.
pub fn kubectl(which: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/kubectl/{which}/kubectl"));
    path.is_file().then_some(path)
}

/// The same; loudly skipped where it has not.
pub fn kubectl_or_skip(which: &str) -> Option<PathBuf> {
    let found = kubectl(which);
    if found.is_none() {
        super::ready::skip(&format!("kubectl {which} is not in target/kubectl (tests/run fetches it)"));
    }
    found
}

/// A server; dropped, it is gone, with all that its pods started.
pub struct ApiServer {
    child: Child,
    /// Its end ends the server.
    input: Option<ChildStdin>,
    port: u16,
    _folder: Folder,
}

impl ApiServer {
    /// Starts one with a state (objects, machines, faults).
    pub fn start(state: &Value) -> Result<Self, String> {
        let folder = Folder::new("apiserver");
        let text = |error: std::io::Error| error.to_string();
        fs::create_dir_all(&folder.path).map_err(text)?;
        let file = folder.path.join("state.json");
        fs::write(&file, state.to_string()).map_err(text)?;
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/apiserver.py");
        let mut child = Command::new("python3")
            .arg("-B")
            .args([&server, &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(text)?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line).map_err(text)?;
        let port = line.trim().parse().map_err(|_| format!("the API server gives no port: {line:?}"))?;
        Ok(Self { input: child.stdin.take(), child, port, _folder: folder })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it knows: `pods` that are there, `made` ones, and the `calls` that came.
    pub fn state(&self) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the API server answers");
        let request = "GET /test/state HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str(body).expect("JSON")
    }

    /// Names under a key of the state.
    pub fn names(&self, key: &str) -> Vec<String> {
        let state = self.state();
        let names = state[key].as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// The program's own pods that are there.
    pub fn own_pods(&self) -> Vec<String> {
        self.names("pods").into_iter().filter(|pod| pod.contains("/flowtrace-")).collect()
    }

    /// Runs the program against it, through a kubectl.
    pub fn run(&self, kubectl: &Path, words: &[&str]) -> Output {
        self.command(kubectl, words).output().expect("the program starts")
    }

    /// The program that asks it, through a kubectl, with nothing around it that would name another cluster.
    pub fn command(&self, kubectl: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        let cache = kubectl.with_file_name("cache");
        command.args(words).arg("--kubectl").arg(kubectl).args(["--server", &self.url()]).arg("--cache-dir").arg(cache);
        command.env_remove("KUBECONFIG").env("HOME", "/nonexistent");
        command
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

impl Lab {
    /// The lab's cluster as a server's state.
    pub fn api_state(&self, faults: &Value) -> Value {
        let objects = &self.scenario.objects;
        let mut machines = Map::new();
        for space in &self.scenario.spaces {
            if let Place::Host { node } = &space.place {
                machines.insert(node.clone(), json!(words(self.netns(&space.name), &self.sandboxes(node))));
            }
        }
        json!({
            "objects": {"nodes": objects.nodes, "pods": objects.pods, "services": objects.services,
                        "endpointslices": objects.slices, "networkpolicies": []},
            "machines": machines,
            "faults": faults,
        })
    }

    /// Takes a snapshot of all nodes through a kubectl.
    pub fn collect_through(&self, which: &str, folder: &Path) -> Result<(), String> {
        let kubectl = kubectl(which).ok_or("there is no such kubectl")?;
        let server = ApiServer::start(&self.api_state(&json!([])))?;
        let output = server.run(&kubectl, &["collect", "--all-nodes", "-w", &folder.to_string_lossy()]);
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(0) {
            return Err(format!("collect through kubectl {which}: {}\n{told}", output.status));
        }
        let left = server.own_pods();
        if left.is_empty() { Ok(()) } else { Err(format!("collect through kubectl {which} leaves {left:?}")) }
    }
}
