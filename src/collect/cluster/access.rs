//! Ways onto a node: through a privileged pod that is there already, or through a short-lived one of our own.

use std::fs::File;
use std::io::{BufRead, BufWriter, Seek as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::frame::{self, Arrived, Torn};
use super::kubectl::{Kubectl, Until};
use super::own;
use super::pods::{Door, Stage, stage};
use super::refusal::{Kind, Refusal};
use super::{Access, Settings};

/// So many pods that are there already are tried on a node.
const MOST_DOORS: usize = 3;
/// How long it is waited before something is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an exec or a log may go on behind what was sent.
const LINGER: Duration = Duration::from_secs(2);
/// So many times a log is read from its beginning.
const MOST_READINGS: u32 = 3;
/// How long it may take to delete a pod once its node is done. What is left then is deleted at the end.
const DELETION: Duration = Duration::from_secs(15);

/// One run's ways.
pub(super) struct Ways<'a> {
    pub kubectl: &'a Kubectl<'a>,
    pub settings: &'a Settings,
    /// The run's own name, which is in its pods' names and labels.
    pub run: &'a str,
    /// The pods that were asked for, whether or not they came to be.
    pub made: &'a Mutex<Vec<String>>,
}

/// A node that is asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub node: &'a str,
    /// The script's arguments: the node's name, and the pods that are wanted.
    pub words: &'a [String],
    /// The ways that are there already.
    pub doors: &'a [Door],
    /// Where the archive goes.
    pub file: &'a File,
    pub deadline: Instant,
}

impl Asked<'_> {
    /// The same with a share of the time that is left, so that one way which hangs leaves some to those behind it.
    fn with_share(self, ways: usize) -> Self {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        Self { deadline: now + left / u32::try_from(ways.max(1)).unwrap_or(u32::MAX), ..self }
    }

    fn has_time(&self) -> bool {
        Instant::now() < self.deadline
    }
}

/// Why a way led nowhere.
#[derive(Debug, thiserror::Error)]
pub(super) enum Blocked {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Torn(#[from] Torn),
    #[error("{0}")]
    Other(String),
}

impl Blocked {
    /// Whether any other way would be blocked too.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_of_all() || refusal.kind == Kind::Late)
    }

    fn is_late(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.kind == Kind::Late)
    }

    /// Whether a connection broke.
    fn is_cut(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.kind == Kind::Cut,
            Self::Torn(torn) => matches!(torn, Torn::End),
            Self::Other(_) => false,
        }
    }
}

impl Ways<'_> {
    /// Takes the first way that works: what arrived, and through what. The error names each way that was tried.
    pub fn take(&self, asked: Asked<'_>) -> Result<(Arrived, String), Blocked> {
        let mut tried = Vec::new();
        if self.settings.access != Access::Pod {
            let doors = asked.doors.len().min(MOST_DOORS);
            for (place, door) in asked.doors.iter().take(MOST_DOORS).enumerate() {
                let left = doors - place + usize::from(self.settings.access != Access::Exec);
                match self.through(door, asked.with_share(left)) {
                    Ok(arrived) => return Ok((arrived, format!("pod {door}"))),
                    Err(blocked) if blocked.is_final() && !(blocked.is_late() && asked.has_time()) => {
                        return Err(blocked);
                    }
                    Err(blocked) => tried.push(format!("through pod {door}: {blocked}")),
                }
            }
        }
        if self.settings.access == Access::Exec {
            if tried.is_empty() {
                tried.push(format!(
                    "no privileged pod that sees the node's files runs on {}; --node-access pod makes one",
                    asked.node
                ));
            }
        } else {
            match self.by_own_pod(asked) {
                Ok((arrived, name)) => return Ok((arrived, format!("own pod {name}"))),
                Err(blocked) if tried.is_empty() || blocked.is_final() => return Err(blocked),
                Err(blocked) => tried.push(format!("through a pod of its own: {blocked}")),
            }
        }
        Err(Blocked::Other(tried.join("; ")))
    }

    fn through(&self, door: &Door, asked: Asked<'_>) -> Result<Arrived, Blocked> {
        let Door { namespace, pod, container, root } = door;
        let words = ["exec", "-i", "-n", namespace, pod, "-c", container, "--", "chroot", root, "sh", "-s", "--"];
        let words: Vec<&str> = words.into_iter().chain(asked.words.iter().map(String::as_str)).collect();
        let until = Until::at(asked.deadline);
        checked(self.kubectl.follow(&words, &frame::sender(), until, LINGER, |output| receive(output, asked.file)))
    }

    fn by_own_pod(&self, asked: Asked<'_>) -> Result<(Arrived, String), Blocked> {
        let namespace = self.settings.namespace.as_str();
        let name = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            let name = format!("flowtrace-{}-{}", self.run, made.len() + 1);
            made.push(name.clone());
            name
        };
        let arrived = self.create(&name, asked).and_then(|()| self.read(&name, asked));
        // What it said so far is no reason to leave it there.
        let words = ["delete", "pod", &name, "-n", namespace, "--ignore-not-found", "--wait=false"];
        let _ = self.kubectl.text(&words, "", Until::even_so(DELETION));
        arrived.map(|arrived| (arrived, format!("{namespace}/{name}")))
    }

    fn create(&self, name: &str, asked: Asked<'_>) -> Result<(), Blocked> {
        let Settings { image, namespace, patience, .. } = self.settings;
        let pod = own::manifest(name, self.run, asked.node, image, *patience, asked.words);
        let until = Until::at(asked.deadline);
        let words = ["create", "-f", "-", "-n", namespace, "-o", "name", "--validate=false"];
        self.kubectl.text(&words, &pod, until)?;
        Ok(())
    }

    fn read(&self, name: &str, asked: Asked<'_>) -> Result<Arrived, Blocked> {
        self.wait(name, asked)?;
        let until = Until::at(asked.deadline);
        let words = ["logs", "-f", name, "-n", &self.settings.namespace];
        let mut readings = 1;
        loop {
            let arrived = self.kubectl.follow(&words, "", until, LINGER, |output| receive(output, asked.file));
            match arrived {
                // A log is still there when the connection breaks.
                Err(blocked) if blocked.is_cut() && readings < MOST_READINGS => readings += 1,
                arrived => return checked(arrived),
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until the pod has begun. A server that ends the watch is asked again. The pod is selected and not named:
    /// of a list kubectl watches everything since, but of one object it withholds the watch's first event, and with it
    /// whatever changed between the look at it and the watch (`kubectl/pkg/cmd/get/get.go`, `watch`).
    fn wait(&self, name: &str, asked: Asked<'_>) -> Result<(), Blocked> {
        let selector = format!("--field-selector=metadata.name={name}");
        let words = ["get", "pods", &selector, "-n", &self.settings.namespace, "--watch", "-o", "json"];
        let until = Until::at(asked.deadline);
        let seen = Mutex::new(None);
        loop {
            let watched = self.kubectl.follow(&words, "", until, Duration::ZERO, |output| watch(output, &seen));
            let stage = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (watched, stage) {
                (_, Some(Stage::Begun)) => return Ok(()),
                (_, Some(Stage::Fails(why))) => return Err(Blocked::Other(self.unfit(name, &why))),
                (Err(Refusal { kind: Kind::Late, .. }), Some(Stage::Waits(why))) => {
                    let way = format!("`kubectl get node {}` tells whether it is ready", asked.node);
                    let said = format!("its pod {name} has not begun: {why}; {way}");
                    return Err(Refusal { kind: Kind::Late, said }.into());
                }
                (Err(refusal), None) => return Err(refusal.into()),
                (Err(refusal), _) if refusal.kind != Kind::Cut => return Err(refusal.into()),
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    /// What is said of a pod that will not begin.
    fn unfit(&self, name: &str, why: &str) -> String {
        let image = &self.settings.image;
        if why.contains("Image") {
            return format!(
                "pod {name}: {why}; --image names another one than {image}: any that the node has or can \
                            pull, with a shell and chroot in it"
            );
        }
        format!("pod {name}: {why}")
    }
}

/// Puts what comes into a file, as far as it is a frame.
fn receive(output: &mut dyn BufRead, mut file: &File) -> Result<Arrived, Blocked> {
    // What an earlier try left goes.
    file.rewind().and_then(|()| file.set_len(0)).map_err(Torn::Io)?;
    let mut writer = BufWriter::new(file);
    let arrived = frame::read(output, &mut writer)?;
    writer.into_inner().map_err(|err| Torn::Io(err.into_error()))?;
    file.rewind().map_err(Torn::Io)?;
    Ok(arrived)
}

/// A script that made no snapshot said why.
fn checked(arrived: Result<Arrived, Blocked>) -> Result<Arrived, Blocked> {
    let arrived = arrived?;
    if arrived.length == 0 || !matches!(arrived.code, 0 | 3) {
        let said = arrived.said.last().map_or_else(|| format!("exit {}", arrived.code), Clone::clone);
        return Err(Blocked::Other(format!("the script on the node failed: {said}")));
    }
    Ok(arrived)
}

/// Looks at a pod, as often as it changes, until it is known what becomes of it.
fn watch(output: &mut dyn BufRead, seen: &Mutex<Option<Stage>>) -> Result<(), Refusal> {
    for pod in serde_json::Deserializer::from_reader(output).into_iter::<Value>().map_while(Result::ok) {
        let stage = stage(&pod);
        let is_done = !matches!(stage, Stage::Waits(_));
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
        if is_done {
            return Ok(());
        }
    }
    // Servers end a watch after a while.
    Err(Refusal { kind: Kind::Cut, said: String::new() })
}
