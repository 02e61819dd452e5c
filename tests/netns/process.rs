//! The processes of a test: the gateway, simulated peers, and what they say.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::{Host, Lab, PUBLIC, SERVER, Transcript};

/// Longest wait for anything. What takes longer failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const BINARY: &str = env!("CARGO_BIN_EXE_dm-gateway");

/// A process in a namespace that prints JSON lines. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    /// Lines that [`next`](Self::next) has passed.
    taken: usize,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<Value>>,
    arrived: Condvar,
}

impl Process {
    /// Starts `program` in the namespace `place`.
    pub(crate) fn start(
        lab: &Lab,
        place: &str,
        name: &str,
        program: &str,
        arguments: &[&str],
    ) -> Self {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &lab.namespace(place), program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        listen(stdout, name.to_owned(), lab.transcript.clone(), Some(output.clone()));
        listen(stderr, name.to_owned(), lab.transcript.clone(), None);
        Self { name: name.to_owned(), child, output, taken: 0 }
    }

    /// The next line whose `event` has that name.
    pub(crate) fn next(&mut self, event: &str) -> Value {
        self.next_where(event, |line| line["event"] == event)
    }

    /// The next line that is as wanted.
    pub(crate) fn next_where(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        let mut lines = self.output.lines.lock().unwrap();
        loop {
            while self.taken < lines.len() {
                let line = &lines[self.taken];
                self.taken += 1;
                if wanted(line) {
                    return line.clone();
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} says nothing of {what}", self.name);
            lines = self.output.arrived.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// How many lines so far are as wanted.
    pub(crate) fn count(&self, wanted: impl Fn(&Value) -> bool) -> usize {
        self.output.lines.lock().unwrap().iter().filter(|line| wanted(line)).count()
    }

    /// How many lines so far have that `event`.
    pub(crate) fn count_of(&self, event: &str) -> usize {
        self.count(|line| line["event"] == event)
    }

    /// Sends a signal, and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        self.child.wait().unwrap()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway under test: the real daemon with its configuration.
pub(crate) struct Gateway<'l> {
    lab: &'l Lab,
    config: PathBuf,
    process: Process,
    /// Tells of everything, for the transcript.
    _monitor: Process,
}

impl<'l> Gateway<'l> {
    /// Starts `dm-gateway run` with `sections` in its configuration, behind `[gateway]`'s own
    /// keys, and waits until it answers.
    pub(crate) fn start(lab: &'l Lab, sections: &str) -> Self {
        let config = lab.path("dm-gateway.toml");
        let state = lab.path("state");
        let text = format!(
            "[gateway]\nid = \"gateway.example\"\nstate-dir = \"{}\"\n{sections}",
            state.display()
        );
        std::fs::write(&config, text).unwrap();
        let (process, monitor) = run(lab, &config);
        Self { lab, config, process, _monitor: monitor }
    }

    /// Ends the daemon by `signal` and starts it again.
    pub(crate) fn restart(&mut self, signal: Signal) {
        let began = Instant::now();
        let status = self.process.end(signal);
        if signal == Signal::SIGTERM {
            assert!(status.success(), "{signal}: {status}");
            assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
        }
        (self.process, self._monitor) = run(self.lab, &self.config);
    }

    /// What a client command answers with `--json`.
    pub(crate) fn ask(&self, command: &[&str]) -> Value {
        ask(command, &self.config).unwrap_or_else(|said| panic!("{command:?}: {said}"))
    }

    /// Asks until the answer is as wanted; gives that answer.
    pub(crate) fn until(
        &self,
        command: &[&str],
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(command);
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{what}: not so in {answer:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until exactly these (server, device) pairs are mapped.
    pub(crate) fn until_mapped(&self, pairs: &[(&str, &str)]) {
        let mut wanted: Vec<_> = pairs.to_vec();
        wanted.sort_unstable();
        self.until(&["map", "list"], "the mappings", |answer| {
            let mappings = answer["mappings"].as_array().unwrap();
            let word = |value: &Value| value.as_str().unwrap().to_owned();
            let mut found: Vec<_> =
                mappings.iter().map(|m| (word(&m["server"]), word(&m["device"]))).collect();
            found.sort_unstable();
            found.iter().map(|(a, b)| (a.as_str(), b.as_str())).eq(wanted.iter().copied())
        });
    }

    /// What `devices` says of one, by its id.
    pub(crate) fn device(&self, id: &str) -> Value {
        find_device(&self.ask(&["devices"]), id).unwrap_or_else(|| panic!("no device {id}"))
    }

    /// Waits until `devices` says something of a device.
    pub(crate) fn until_device(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let answer = self.until(&["devices"], &format!("{id} {what}"), |answer| {
            find_device(answer, id).is_some_and(|device| wanted(&device))
        });
        find_device(&answer, id).unwrap()
    }

    /// How many pushes and claims were refused for that reason.
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.ask(&["status"])["refused"][reason]["count"].as_u64().unwrap_or_default()
    }
}

fn find_device(answer: &Value, id: &str) -> Option<Value> {
    answer["devices"].as_array()?.iter().find(|device| device["id"] == id).cloned()
}

/// Starts the daemon and a monitor of it.
fn run(lab: &Lab, config: &PathBuf) -> (Process, Process) {
    let file = config.to_str().unwrap();
    let mut daemon = Process::start(lab, "gateway", "gateway", BINARY, &["run", "--config", file]);
    let end = Instant::now() + PATIENCE;
    while let Err(said) = ask(&["status"], config) {
        assert!(daemon.runs(), "the gateway does not start");
        assert!(Instant::now() < end, "the gateway does not answer: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let arguments = ["monitor", "--json", "--config", file];
    let monitor = Process::start(lab, "gateway", "monitor", BINARY, &arguments);
    (daemon, monitor)
}

fn ask(command: &[&str], config: &PathBuf) -> Result<Value, String> {
    let output = Command::new(BINARY)
        .args(command)
        .arg("--json")
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        // Healthy, degraded or down: an answer.
        Some(0..=2) => {
            let answer: Value = serde_json::from_str(&said).map_err(|e| format!("{e}: {said}"))?;
            assert_eq!(answer["schema"], 1, "{said}");
            Ok(answer)
        }
        _ => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// A simulated end device on a host, `listening`; `more` are further arguments.
pub(crate) fn device(lab: &Lab, host: &Host<'_>, id: &str, listen: &str, more: &[&str]) -> Process {
    let mut arguments = vec!["simulate", "device", "--id", id, "--listen", listen, "--gateway-id"];
    arguments.push("gateway.example");
    arguments.extend(more);
    let mut device = Process::start(lab, host.name(), id, BINARY, &arguments);
    device.next("listening");
    device
}

/// A simulated DM server in the WAN.
pub(crate) fn server(lab: &Lab, id: &str, listen: &str, more: &[&str]) -> Process {
    let mut arguments = vec!["simulate", "server", "--id", id, "--listen", listen];
    arguments.extend(more);
    let mut server = Process::start(lab, "wan", id, BINARY, &arguments);
    server.next("listening");
    server
}

/// Has the DM server `server` push to the gateway, X-Oma-GwMO naming `device`. Returns Package
/// #0 in hex.
pub(crate) fn push(lab: &Lab, server: &str, device: &str, session: u16) -> String {
    let to = SocketAddr::new(PUBLIC.parse().unwrap(), 2948);
    push_to(lab, &to.to_string(), &format!("{SERVER}:0"), server, device, session)
}

/// The same to any address `to`, from the address `from`.
pub(crate) fn push_to(
    lab: &Lab,
    to: &str,
    from: &str,
    server: &str,
    device: &str,
    session: u16,
) -> String {
    let session = session.to_string();
    let mut pusher = self::server(
        lab,
        server,
        from,
        &["--push-to", to, "--device", device, "--session", &session],
    );
    let sent = pusher.next("push-sent");
    sent["package0"].as_str().unwrap().to_owned()
}

/// Waits until a simulated device got this Package #0, octet by octet.
pub(crate) fn receive(device: &mut Process, server: &str, package0: &str) {
    let what = format!("{package0} of {server}");
    device.next_where(&what, |line| {
        line["event"] == "push-received" && line["server"] == server && line["package0"] == package0
    });
}

/// Waits until a DM server has completed the session that it asked a device for. (The device
/// counts the sessions that it opens by itself from 1, too.)
pub(crate) fn completed(server: &mut Process, device: &str, session: u16) {
    let session = format!("{session:X}");
    let ended = server.next_where(&format!("the end of session {session}"), |line| {
        line["event"] == "session-ended"
            && line["session"] == session
            && line["with"] == device
            && line["why"].as_str().is_some_and(|why| why.contains("woken by a push"))
    });
    assert_eq!(ended["ok"], true, "{ended}");
}

/// Takes a process' lines in, on a thread of its own.
fn listen(
    from: impl Read + Send + 'static,
    name: String,
    transcript: Transcript,
    output: Option<Arc<Output>>,
) {
    let began = Instant::now();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let at = began.elapsed().as_secs_f32();
            transcript.lock().unwrap().push_str(&format!("{at:7.3} {name}: {line}\n"));
            let Some(output) = &output else { continue };
            if let Ok(value) = serde_json::from_str(&line) {
                output.lines.lock().unwrap().push(value);
                output.arrived.notify_all();
            }
        }
    });
}
