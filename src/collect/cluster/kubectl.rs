//! The user's own kubectl, as a child: contexts, logins and proxies are its business.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::collect::pipes::ready;

use super::interrupt::Interrupt;
use super::refusal::{Kind, Refusal, is_log};

/// How often a child is looked after.
const BEAT: Duration = Duration::from_millis(10);
/// How long a child may take to end once it is asked to, and what it has started, to close its output behind it.
const GRACE: Duration = Duration::from_secs(1);
/// So long a child may say nothing until what it complains is shown.
const SILENCE: Duration = Duration::from_secs(2);
/// So much of what kubectl complains is kept: the last of it says most.
const MOST_WORDS: usize = 8 << 10;

/// How kubectl is called.
#[derive(Debug)]
pub(super) struct Kubectl<'a> {
    pub program: PathBuf,
    /// The flags that say what to ask and as whom, which every call gets.
    pub flags: Vec<OsString>,
    pub interrupt: &'a Interrupt,
    /// Hears what a call says that keeps everybody waiting.
    pub say: fn(&str),
}

/// When a call is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    pub deadline: Instant,
    /// Whether it goes on when the end is asked for, as deleting pods does.
    pub heeds_interrupt: bool,
    /// Whether it may ask somebody for a login.
    pub may_prompt: bool,
}

impl Until {
    /// A call that heeds who asks for the end, until a moment.
    pub fn at(deadline: Instant) -> Self {
        Self { deadline, heeds_interrupt: true, may_prompt: false }
    }

    /// A call that may take so long.
    pub fn within(time: Duration) -> Self {
        Self::at(Instant::now() + time)
    }

    /// The first call of the server, which may have to log in.
    pub fn login(time: Duration) -> Self {
        Self { may_prompt: true, ..Self::within(time) }
    }

    /// A call that goes on whoever asks for the end.
    pub fn even_so(time: Duration) -> Self {
        Self { heeds_interrupt: false, ..Self::within(time) }
    }
}

/// Why a child was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Late,
    Interrupted,
    /// Its reader has all that it wants.
    Dismissed,
}

impl Kubectl<'_> {
    /// What a call prints.
    pub fn text(&self, args: &[&str], input: &str, until: Until) -> Result<String, Refusal> {
        let read = |output: &mut dyn BufRead| {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        };
        self.call(args, input, until, read)
    }

    /// Makes a call and reads what it prints. Where it fails, what was read is dropped: it may be half of it.
    pub fn call<T>(
        &self,
        args: &[&str],
        input: &str,
        until: Until,
        read: impl FnOnce(&mut dyn BufRead) -> io::Result<T>,
    ) -> Result<T, Refusal> {
        let (read, status, words) = self.converse(args, input, until, None, read)?;
        if !status.success() {
            return Err(Refusal::of(&words));
        }
        read.map_err(|err| Refusal { kind: Kind::Other, said: format!("what kubectl prints can't be read: {err}") })
    }

    /// Makes a call whose reader knows by itself whether it has read all of it: how it ended does not matter then, and
    /// it is ended where it goes on for longer than it may linger.
    pub fn follow<T, E: From<Refusal>>(
        &self,
        args: &[&str],
        input: &str,
        until: Until,
        linger: Duration,
        read: impl FnOnce(&mut dyn BufRead) -> Result<T, E>,
    ) -> Result<T, E> {
        let (read, status, words) = self.converse(args, input, until, Some(linger), |output| Ok(read(output)))?;
        match read {
            Ok(Err(err)) if status.success() || words.trim().is_empty() => Err(err),
            Ok(Ok(value)) => Ok(value),
            _ => Err(Refusal::of(&words).into()),
        }
    }

    fn converse<T>(
        &self,
        args: &[&str],
        input: &str,
        until: Until,
        linger: Option<Duration>,
        read: impl FnOnce(&mut dyn BufRead) -> io::Result<T>,
    ) -> Result<(io::Result<T>, ExitStatus, String), Refusal> {
        let mut call = Call::begin(self, args, input, until)?;
        let read = read(&mut BufReader::with_capacity(1 << 16, &mut call));
        let status = call.end(linger);
        let words = String::from_utf8_lossy(&call.words).into_owned();
        // A terminal's Ctrl-C may have ended the child before anybody here looked.
        let interrupted = until.heeds_interrupt && self.interrupt.is_asked();
        match call.ended {
            Some((_, Reason::Interrupted)) => Err(Refusal { kind: Kind::Interrupted, said: String::new() }),
            Some((_, Reason::Late)) => Err(Refusal { kind: Kind::Late, said: words.trim().to_owned() }),
            _ if interrupted => Err(Refusal { kind: Kind::Interrupted, said: String::new() }),
            _ => {
                let lost = |err: io::Error| Refusal { kind: Kind::Other, said: format!("kubectl: {err}") };
                Ok((read, status.map_err(lost)?, words))
            }
        }
    }

    fn spawn(&self, args: &[&str], until: Until) -> Result<Child, Refusal> {
        // Behind `--` stand the words of a program in a pod.
        let split = args.iter().position(|arg| *arg == "--").unwrap_or(args.len());
        let (own, inner) = args.split_at_checked(split).unwrap_or((args, &[]));
        let words = own.iter().map(OsStr::new).chain(self.flags.iter().map(OsString::as_os_str));
        let mut command = Command::new(&self.program);
        // In a group of its own, so that a terminal's Ctrl-C does not end it while it deletes a pod, and that what it
        // starts can be ended with it. But whoever prompts for a login reads from the terminal, which only those of the
        // group in the foreground may.
        if !until.may_prompt {
            command.process_group(0);
        }
        let spawned = command
            .args(words.chain(inner.iter().map(OsStr::new)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        spawned.map_err(|err| {
            let program = self.program.display();
            let said = match err.kind() {
                io::ErrorKind::NotFound => format!("{program} is not installed; --kubectl PATH says where it is"),
                _ => format!("{program} can't be started: {err}"),
            };
            Refusal { kind: Kind::NoKubectl, said }
        })
    }
}

/// A call that goes on. Whoever reads what it prints looks after it meanwhile: it is ended at its deadline, and however
/// long something that it has started keeps its output open, reading has an end.
struct Call<'a> {
    kubectl: &'a Kubectl<'a>,
    until: Until,
    child: Child,
    status: Option<ExitStatus>,
    /// When it has been seen to have ended.
    gone: Option<Instant>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// The last of what it complained.
    words: Vec<u8>,
    /// How many bytes of these have been shown.
    shown: usize,
    /// When it was told to end, and why.
    ended: Option<(Instant, Reason)>,
    begun: Instant,
    has_printed: bool,
}

impl<'a> Call<'a> {
    fn begin(kubectl: &'a Kubectl<'a>, args: &[&str], input: &str, until: Until) -> Result<Self, Refusal> {
        let mut child = kubectl.spawn(args, until)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_owned();
            // Nobody waits for it: whoever has read enough, or is gone, closes its input.
            thread::spawn(move || stdin.write_all(input.as_bytes()));
        }
        Ok(Self {
            kubectl,
            until,
            child,
            status: None,
            gone: None,
            stdout,
            stderr,
            words: Vec::new(),
            shown: 0,
            ended: None,
            begun: Instant::now(),
            has_printed: false,
        })
    }

    /// Ends a child that takes too long, or that nobody waits for any more. Whether it goes on.
    fn look_after(&mut self) -> bool {
        if self.gone.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            (self.status, self.gone) = (Some(status), Some(Instant::now()));
        }
        let reason = if self.until.heeds_interrupt && self.kubectl.interrupt.is_asked() {
            Some(Reason::Interrupted)
        } else {
            (Instant::now() > self.until.deadline).then_some(Reason::Late)
        };
        match (self.ended, reason) {
            // What it has started may go on without it.
            (Some((moment, _)), _) if moment.elapsed() > GRACE => {
                self.signal(Signal::SIGKILL);
                return moment.elapsed() < 2 * GRACE && self.gone.is_none();
            }
            (None, Some(reason)) => self.tell_to_end(reason),
            _ => {}
        }
        self.gone.is_none_or(|gone| gone.elapsed() < GRACE)
    }

    fn tell_to_end(&mut self, reason: Reason) {
        self.ended = Some((Instant::now(), reason));
        self.signal(Signal::SIGTERM);
    }

    /// Sends a signal to the child and to what it has started, whether or not the child itself is still there.
    fn signal(&mut self, signal: Signal) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        if !self.until.may_prompt {
            let _ = killpg(Pid::from_raw(pid), signal);
        } else if self.gone.is_none() {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits a moment for output, and takes what is complained meanwhile. Whether there is output, or its end.
    fn wait(&mut self) -> io::Result<bool> {
        let [printed, complained] =
            ready([self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)], BEAT)?;
        if complained && let Some(stderr) = &mut self.stderr {
            let mut buffer = [0; 1024];
            match stderr.read(&mut buffer) {
                Ok(length @ 1..) => self.keep(buffer.get(..length).unwrap_or_default()),
                _ => self.stderr = None,
            }
        }
        self.show();
        Ok(printed)
    }

    fn keep(&mut self, words: &[u8]) {
        self.words.extend_from_slice(words);
        if self.words.len() > 2 * MOST_WORDS {
            let old = self.words.len() - MOST_WORDS;
            self.words.drain(..old);
            self.shown = self.shown.saturating_sub(old);
        }
    }

    /// Shows what a child says that keeps everybody waiting: it may want somebody to log in.
    fn show(&mut self) {
        if self.has_printed || self.begun.elapsed() < SILENCE {
            return;
        }
        let new = self.words.get(self.shown..).unwrap_or_default();
        // A question has no end of a line; it stands where nothing has followed for a moment.
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let length = if whole == 0 && self.begun.elapsed() > 2 * SILENCE { new.len() } else { whole };
        let text = String::from_utf8_lossy(new.get(..length).unwrap_or_default()).into_owned();
        self.shown += length;
        text.lines().filter(|line| !line.trim().is_empty() && !is_log(line)).for_each(|line| (self.kubectl.say)(line));
    }

    /// Waits for the child whose output nobody reads any more, and ends it where it may only linger.
    fn end(&mut self, linger: Option<Duration>) -> io::Result<ExitStatus> {
        self.stdout = None;
        let last = linger.map(|linger| Instant::now() + linger);
        while self.look_after() && !(self.gone.is_some() && self.stderr.is_none()) {
            if self.ended.is_none() && self.gone.is_none() && last.is_some_and(|last| Instant::now() > last) {
                self.tell_to_end(Reason::Dismissed);
            }
            self.wait()?;
        }
        self.status.ok_or_else(|| io::Error::other("it can't be ended"))
    }
}

impl Read for Call<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.stdout.is_some() {
            let goes_on = self.look_after();
            let printed = self.wait()?;
            if !goes_on && (self.ended.is_some() || !printed) {
                break;
            }
            if let Some(stdout) = self.stdout.as_mut().filter(|_| printed) {
                let length = stdout.read(buffer)?;
                self.has_printed |= length > 0;
                return Ok(length);
            }
        }
        Ok(0)
    }
}
