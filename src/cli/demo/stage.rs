//! What the demo plays on: the daemon in its thread, a directory that goes away, a narrator, and
//! a memory of what happened that the story waits on.

use super::configuration::{PUSH_PORT, TRUST, configuration};
use super::tellings::{Tellings, Told};
use crate::cli::narrate::{self, EventLine};
use crate::cli::table::count;
use crate::config::Config;
use crate::control::{self, Request};
use crate::daemon::Daemon;
use crate::gateway::view::{Health, Status};
use crate::io::control_socket;
use crate::simulate::{Gate, Report, SimEvent, Sink, gate};
use smol::channel::{self, Sender};
use smol::{Timer, future};
use std::cell::{Cell, RefCell};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest that a step of the story takes.
const PATIENCE: Duration = Duration::from_secs(6);

/// The stage.
pub(super) struct Stage {
    json: bool,
    start: Instant,
    directory: PathBuf,
    gate: Gate,
    daemon: RefCell<Option<Running>>,
    tellings: Tellings,
    /// What was told and no step has waited for yet.
    memory: RefCell<Vec<EventLine>>,
    /// Sessions that a push opened: device, server, session id, whether it ended well.
    sessions: RefCell<Vec<(String, String, String, bool)>>,
    /// What the gateway told its servers: URI, value.
    results: RefCell<Vec<(String, String)>>,
    totals: Cell<Totals>,
    /// Why the first line that could not be written was not.
    unwritten: RefCell<Option<io::Error>>,
}

/// The daemon's thread.
struct Running {
    stop: Sender<()>,
    thread: JoinHandle<()>,
    monitor: JoinHandle<()>,
}

/// Counters over the daemon's restarts.
#[derive(Clone, Copy, Default)]
struct Totals {
    forwarded: u64,
    held: u64,
    refused: u64,
    lists: u64,
    sessions: u64,
    failed: u64,
}

impl Stage {
    pub(super) fn new(json: bool) -> Result<Self, String> {
        let name = format!("dm-gateway-demo-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let made = std::fs::create_dir(&directory);
        made.map_err(|error| {
            format!("cannot make {}: {error}; try: another TMPDIR", directory.display())
        })?;
        let stage = Self {
            json,
            start: Instant::now(),
            directory,
            gate: gate(64),
            daemon: RefCell::default(),
            tellings: Tellings::new(),
            memory: RefCell::default(),
            sessions: RefCell::default(),
            results: RefCell::default(),
            totals: Cell::default(),
            unwritten: RefCell::default(),
        };
        for lan in ["radios", "sensors", "guests"] {
            stage.leases(lan, &[])?;
        }
        let certificate = stage.directory.join(TRUST);
        let written = std::fs::write(&certificate, super::management::CERTIFICATE);
        written.map_err(|error| format!("cannot write {}: {error}", certificate.display()))?;
        Ok(stage)
    }

    fn control_socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Takes the simulators' reports.
    pub(super) fn sink(&self) -> Sink {
        let told = self.tellings.sender();
        Rc::new(move |report| drop(told.try_send(Told::Peer(Instant::now(), report))))
    }

    /// Takes the end of a simulator that should have run for ever.
    pub(super) fn failure(&self, who: &str) -> impl FnOnce(io::Result<()>) + 'static {
        let (told, who) = (self.tellings.sender(), who.to_owned());
        move |result| {
            if let Err(error) = result {
                let text = format!("{who}: {error}; try: end what uses 127.0.x.x:{PUSH_PORT}");
                let _ = told.try_send(Told::Failed(text));
            }
        }
    }

    // --- The daemon -----------------------------------------------------------------------

    /// Starts the daemon, and watches it.
    pub(super) async fn start_gateway(&self) -> Result<(), String> {
        let text = configuration();
        let config = Config::parse(&text, &self.directory.join("demo.toml"));
        let config = config.map_err(|error| error.to_string())?;
        let (stop, stopped) = channel::bounded::<()>(1);
        let (report, started) = channel::bounded(1);
        let thread = std::thread::spawn(move || match Daemon::start(&config) {
            Ok(daemon) => {
                let now = Instant::now();
                let _ = report.try_send(Ok(now.checked_sub(daemon.uptime()).unwrap_or(now)));
                daemon.run(async move {
                    let _ = stopped.recv().await;
                });
            }
            Err(error) => drop(report.try_send(Err(error.why))),
        });
        let begin = started.recv().await.map_err(|_| "the daemon's thread is gone".to_owned())?;
        // Its advice concerns a configuration that nobody can edit.
        let begin = begin.map_err(|error| {
            let what = error.split("; try:").next().unwrap_or_default();
            format!("{what}; try: end what uses 127.0.x.x, another demo perhaps")
        })?;
        self.tellings.gateway_began(begin);
        let told = self.tellings.sender();
        let client = control_socket::connect(&self.control_socket());
        let client = client.map_err(|error| error.to_string())?;
        let request = ask_line(&Request::Monitor);
        let mut lines = client.ask(&request).map_err(|error| error.to_string())?;
        let (watching, watched) = channel::bounded(1);
        let monitor = std::thread::spawn(move || {
            // The answer: from here on every event comes.
            let _ = watching.try_send(lines.next().is_some());
            for line in lines.map_while(Result::ok) {
                let Ok(event) = serde_json::from_str(&line) else { continue };
                if told.try_send(Told::Gateway(line, event)).is_err() {
                    return;
                }
            }
        });
        *self.daemon.borrow_mut() = Some(Running { stop, thread, monitor });
        match watched.recv().await {
            Ok(true) => Ok(()),
            _ => Err("the daemon cannot be watched; try: again".to_owned()),
        }
    }

    /// Stops the daemon as SIGTERM does, and adds up its counters.
    pub(super) async fn stop_gateway(&self) -> Result<(), String> {
        let status = self.status().await?;
        let totals = self.totals.get();
        self.totals.set(totals.plus(&status));
        let running = self.daemon.borrow_mut().take();
        if let Some(running) = running {
            let _ = running.stop.try_send(());
            smol::unblock(move || {
                let _ = running.thread.join();
                let _ = running.monitor.join();
            })
            .await;
        }
        Ok(())
    }

    async fn status(&self) -> Result<Status, String> {
        let path = self.control_socket();
        let line = smol::unblock(move || -> io::Result<String> {
            let mut lines = control_socket::connect(&path)?.ask(&ask_line(&Request::Status))?;
            lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
        });
        let line = line.await.map_err(|error| format!("the daemon does not answer: {error}"))?;
        serde_json::from_str(&line).map_err(|error| format!("the daemon's status: {error}"))
    }

    /// Removes what the demo made.
    pub(super) fn close(&self) {
        if let Some(running) = self.daemon.borrow_mut().take() {
            let _ = running.stop.try_send(());
            let _ = running.thread.join();
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            log::warn!("cannot remove {}: {error}", self.directory.display());
        }
    }

    /// Replaces the lease file of a LAN, as a DHCP server does.
    pub(super) fn leases(&self, lan: &str, leases: &[(&str, &str)]) -> Result<(), String> {
        let mut text = String::new();
        for (mac, ip) in leases {
            text += &format!("0 {mac} {ip} * *\n");
        }
        let path = self.directory.join(format!("{lan}.leases"));
        let fresh = path.with_extension("new");
        let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// Leaves the daemon to be looked at, until interrupted.
    pub(super) async fn keep_running(&self) -> Result<bool, String> {
        let socket = self.control_socket();
        self.say("");
        self.say("The gateway stays up; Ctrl-C ends it. In another terminal, for instance:");
        let session = format!("session {} --wait", super::FIRE);
        let of_management = ["tree ./GwConfig", &session];
        for command in
            ["status", "devices", "servers", "map list", "monitor"].into_iter().chain(of_management)
        {
            self.say(&format!("  dm-gateway {command} --socket {}", socket.display()));
        }
        let interrupted = crate::cli::run::told_to_stop()?;
        let telling = async {
            while let Some(told) = self.tellings.next().await {
                self.take(told)?;
            }
            Ok(true)
        };
        let end = async {
            interrupted.await;
            Ok(true)
        };
        future::or(telling, end).await
    }

    // --- Waiting --------------------------------------------------------------------------

    /// Waits until the gateway tells `event` of a device, or of the server or the LAN if that
    /// concerns no device, with `words` in its reason if given.
    pub(super) async fn expect(
        &self,
        who: &str,
        event: &str,
        words: Option<&str>,
    ) -> Result<(), String> {
        let what = format!("`{event}` of {who}");
        self.wait(&what, || {
            let mut memory = self.memory.borrow_mut();
            let found = memory.iter().position(|line| {
                let concerned = [&line.device, &line.server, &line.lan];
                let mut concerned = concerned.into_iter().flatten();
                line.event == event
                    && concerned.next().is_some_and(|first| first == who)
                    && words.is_none_or(|words| line.why.contains(words))
            });
            found.map(|index| memory.remove(index)).is_some()
        })
        .await
    }

    /// The last of the records that a server was told of.
    pub(super) fn newest_record(&self, records: &str) -> Option<String> {
        let results = self.results.borrow();
        let (_, list) = results.iter().rev().find(|(uri, _)| uri == records)?;
        list.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// Waits until a session that the server asked for has come to its proper end: the one of
    /// that id, or any.
    pub(super) async fn session(
        &self,
        device: &str,
        server: &str,
        session: Option<u16>,
    ) -> Result<(), String> {
        let what = format!("a session of {device} with {server}");
        let session = session.map(|session| format!("{session:X}"));
        self.wait(&what, || {
            let mut sessions = self.sessions.borrow_mut();
            let found = sessions.iter().position(|(who, with, id, done)| {
                *done
                    && who == device
                    && with == server
                    && session.as_ref().is_none_or(|session| session == id)
            });
            found.map(|index| sessions.remove(index)).is_some()
        })
        .await
    }

    async fn wait(&self, what: &str, mut happened: impl FnMut() -> bool) -> Result<(), String> {
        let late = Instant::now() + PATIENCE;
        while !happened() {
            let end = async {
                Timer::at(late).await;
                None
            };
            match future::or(self.tellings.next(), end).await {
                Some(told) => self.take(told)?,
                None => {
                    let seconds = PATIENCE.as_secs();
                    return Err(format!(
                        "the demo waited {seconds} s for {what} in vain; try: `--json`, and \
                         DM_GATEWAY_LOG=debug"
                    ));
                }
            }
        }
        Ok(())
    }

    fn take(&self, told: Told) -> Result<(), String> {
        match told {
            Told::Gateway(line, event) => {
                self.tell(&line, || narrate::told(&event));
                self.memory.borrow_mut().push(event);
            }
            Told::Peer(_, report) => {
                self.tell_report(&report);
                self.note_session(report);
            }
            Told::Failed(text) => return Err(text),
        }
        Ok(())
    }

    fn note_session(&self, report: Report) {
        let mut sessions = self.sessions.borrow_mut();
        match report.event {
            SimEvent::SessionOpened { with, session, woken: true } => {
                sessions.push((report.who, with, session, false));
            }
            SimEvent::ResultReceived { uri, value, .. } => {
                self.results.borrow_mut().push((uri, value));
            }
            SimEvent::SessionEnded { with, session, ok: true, .. } => {
                let open = sessions.iter_mut().find(|(who, peer, id, done)| {
                    !*done && *who == report.who && *peer == with && *id == session
                });
                if let Some((.., done)) = open {
                    *done = true;
                }
            }
            _ => {}
        }
    }

    // --- Telling --------------------------------------------------------------------------

    /// Opens a part of the story; each later `expect` is about what happens from here on.
    pub(super) fn chapter(&self, title: &str) {
        self.memory.borrow_mut().clear();
        self.heading(title);
    }

    /// The same for a part that may have begun already.
    pub(super) fn heading(&self, title: &str) {
        self.say("");
        self.say(&format!("── {title}"));
    }

    /// Prints a line for people.
    pub(super) fn say(&self, line: &str) {
        if !self.json {
            self.print(line);
        }
    }

    /// Why the first line that could not be written was not.
    pub(super) fn unwritten(&self) -> Option<io::Error> {
        self.unwritten.take()
    }

    /// A reader that has gone away does not stop the demo.
    fn print(&self, line: &str) {
        let result = writeln!(io::stdout(), "{line}");
        if let Err(error) = result.and_then(|()| io::stdout().flush()) {
            let is_gone = error.kind() == io::ErrorKind::BrokenPipe;
            if !is_gone {
                self.unwritten.borrow_mut().get_or_insert(error);
            }
        }
    }

    fn tell(&self, json: &str, line: impl FnOnce() -> String) {
        self.print(&if self.json { json.to_owned() } else { line() });
    }

    fn tell_report(&self, report: &Report) {
        if self.json {
            return self.print(&control::document(report));
        }
        // Each thing once: what the gateway tells itself, and the servers' side of a session, are
        // left out.
        let (from, to, name, why) = match &report.event {
            SimEvent::PushSent { device, to, session, .. } if device.is_empty() => {
                let why =
                    format!("Package #0 for the gateway itself, session {session:X} (to {to})");
                ("server", "gateway", "push", why)
            }
            SimEvent::BootstrapAsked { device, server, status } => {
                let why = format!(
                    "GET over HTTPS: {device} asks for an account with {server}: HTTP {status}"
                );
                ("gateway", "source", "fetch", why)
            }
            SimEvent::ResultReceived { uri, value, .. } => {
                ("gateway", "server", "result", format!("{uri} is {value}"))
            }
            SimEvent::PushSent { device, to, session, .. } => {
                let why = format!("Package #0 for {device}, session {session:X} (to {to})");
                ("server", "gateway", "push", why)
            }
            SimEvent::SessionOpened { with, session, woken: true } if is_server(with) => {
                let why = format!("woken, it opens DM session {session} by itself (server {with})");
                ("device", "server", "session", why)
            }
            SimEvent::AssociatedGatewaySent { server, address } => {
                let why = format!("AssociatedGateway: I am behind {address} (server {server})");
                ("device", "server", "alerted", why)
            }
            SimEvent::SessionEnded { with, ok: false, .. } if is_server(with) => {
                ("device", "server", "session", report.event.to_string())
            }
            _ => return,
        };
        self.say(&narrate::between(from, to, &report.who, name, &why));
    }

    /// Tells what the whole came to.
    pub(super) async fn summary(&self) -> Result<(), String> {
        let status = self.status().await?;
        let totals = self.totals.get().plus(&status);
        let seconds = self.start.elapsed().as_secs_f64();
        let (devices, mappings, wanted) = (status.devices.known, status.mappings, status.wanted);
        let accounts = status.accounts;
        if totals.failed > 0 || status.health != Health::Healthy {
            let failed = count(totals.failed, "session");
            let problems = status.problems.join("; ");
            return Err(format!("{failed} failed; {problems}; try: DM_GATEWAY_LOG=debug"));
        }
        let Totals { forwarded, held, refused, lists, sessions, failed } = totals;
        if self.json {
            let summary = serde_json::json!({
                "event": "summary", "devices": devices, "lists": lists, "mappings": mappings,
                "wanted": wanted, "forwarded": forwarded, "held": held, "refused": refused,
                "accounts": accounts, "sessions": sessions, "sessions-failed": failed,
                "seconds": seconds,
            });
            self.print(&control::document(summary));
        }
        self.say("");
        self.say("All went right.");
        for (what, number) in [
            ("devices", format!("{devices} known")),
            ("lists", format!("{lists} taken")),
            ("mappings", format!("{mappings} in force, {} wanted", count(wanted as u64, "server"))),
            ("pushes", format!("{forwarded} forwarded, {held} held, {refused} refused")),
            ("accounts", format!("{accounts} with a DM server")),
            ("sessions", format!("{sessions} with DM servers that manage it, {failed} failed")),
            ("time", format!("{seconds:.1} s")),
        ] {
            self.say(&format!("  {what:8}  {number}"));
        }
        Ok(())
    }
}

impl Totals {
    fn plus(self, status: &Status) -> Self {
        let counters = &status.counters;
        Self {
            forwarded: self.forwarded + counters.forwarded + counters.released,
            held: self.held + counters.held,
            refused: self.refused + counters.pushes_refused,
            lists: self.lists + counters.lists,
            sessions: self.sessions + counters.managed_sessions,
            failed: self.failed + counters.managed_sessions_failed,
        }
    }
}

fn is_server(id: &str) -> bool {
    [super::AMBULANCE, super::FIRE].contains(&id)
}

fn ask_line(request: &Request) -> String {
    serde_json::to_string(request).expect("a request is plain data")
}
