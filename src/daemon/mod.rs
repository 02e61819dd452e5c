//! The daemon: one thread that binds the sockets, turns what they bring into
//! [`Input`]s and carries out the gateway's outputs.
//!
//! ```text
//!   start: control socket ─ push ports ─ metrics ─ HTTP listeners ─ lease files ─ store ─ gateway
//!   run:   one task for each of them, for timers, commits, calls, hooks, the watchdog ─ until told
//!   stop:  no new work ─ requests in progress end (1 s) ─ commits end                 ─ within 2 s
//! ```
//!
//! The commands `run` and `demo` both come here; what others ask it is in
//! [`COMMANDS`](crate::cli::COMMANDS).

mod audit;
mod bootstraps;
mod calls;
mod configuration;
mod facts;
mod hooks;
mod http_pushes;
mod journal;
mod observation;
mod operators;
mod probes;
mod progress;
mod pushes;
mod rehearsal;
mod shell;
mod traces;

use crate::codes::{self, Code};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::gateway::seam::{Input, LanId};
use crate::gateway::store::Store;
use crate::gateway::view::Health;
use crate::io::clock::Clock;
use crate::io::committer::Committer;
use crate::io::control_socket::ControlSocket;
use crate::io::http_server::LanListener;
use crate::io::inherited;
use crate::io::leases::LeaseWatch;
use crate::io::logger;
use crate::io::page_server::PageListener;
use crate::io::push::PushReceiver;
use crate::io::sled_store::{self, SledStore};
use crate::io::systemd;
use crate::limits;
use bootstraps::BootstrapPort;
pub(crate) use calls::is_left_over;
use hooks::Hooks;
use http_pushes::HttpPort;
use log::Level;
use progress::{Part, StoreBeat};
use shell::{Shell, Stoppers};
use smol::channel::{self, Receiver, Sender};
use smol::stream::{self, Stream, StreamExt as _};
use smol::{LocalExecutor, Timer, future};
use std::fmt;
use std::fs::DirBuilder;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// A daemon that holds its sockets and its store, ready to run.
pub struct Daemon {
    shell: Rc<Shell>,
    control: ControlSocket,
    push_ports: Vec<PushPort>,
    http_ports: Vec<HttpPort>,
    bootstrap_ports: Vec<BootstrapPort>,
    listeners: Vec<Listener>,
    leases: Vec<(LanId, LeaseWatch)>,
    metrics: Option<PageListener>,
}

/// What the process is told while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To read the configuration anew.
    Reload,
    /// To stop.
    Stop,
}

/// Why a daemon has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It is to be started anew with the configuration as it is then.
    Restart,
}

/// One `push-listen` address. Its interface may come later.
struct PushPort {
    address: SocketAddr,
    receiver: Option<PushReceiver>,
}

/// One `listen` address of a LAN. Its interface may come later.
struct Listener {
    lan: LanId,
    address: SocketAddr,
    listener: Option<LanListener>,
}

/// Why a daemon does not start.
#[derive(Clone, Debug)]
pub struct Unstarted {
    /// The code of the reason.
    pub code: Code,
    /// A sentence that says what failed and what to try.
    pub why: String,
}

impl From<String> for Unstarted {
    fn from(why: String) -> Self {
        Self { code: codes::START, why }
    }
}

impl fmt::Display for Unstarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Daemon {
    /// Binds and opens what the configuration names.
    ///
    /// # Errors
    /// A sentence that says what failed and what to try: an address in use, a directory or
    /// socket that cannot be made, a store that cannot be opened, another daemon at work.
    pub fn start(config: &Config) -> Result<Self, Unstarted> {
        for warning in &config.warnings {
            journal::write_coded(Level::Warn, codes::CONFIG_ODD, warning);
        }
        let clock = Clock::start().map_err(|error| error.to_string())?;
        make_state_directory(&config.state_dir)?;
        let control = ControlSocket::bind(&config.control_socket).map_err(advise_control)?;
        let mut push_ports = Vec::new();
        for &address in &config.push_listen {
            let receiver = PushReceiver::bind(address, config.wan_interface.as_deref());
            let receiver = bound(receiver, codes::PUSH_PORT)
                .map_err(|error| advise_address(&error, address, "[wan] push-listen"))?;
            push_ports.push(PushPort { address, receiver });
        }
        for address in inherited::unused() {
            log::warn!(
                "the service manager holds a socket at {address}, which no push-listen names"
            );
        }
        let metrics = config.observe.metrics.as_ref();
        let metrics = metrics.map(PageListener::bind).transpose();
        let metrics =
            metrics.map_err(|error| format!("{error}; try: another `[metrics] listen`"))?;
        let http_ports = http_pushes::bind(config)?;
        let bootstrap_ports = bootstraps::bind(config)?;
        let (mut listeners, mut leases) = (Vec::new(), Vec::new());
        for (index, lan) in config.lans.iter().enumerate() {
            let options = &config.options.lans[index];
            for &address in &lan.listen {
                let listener = bind_listener(address, &options.interface);
                let listener = bound(listener, codes::LAN_ADDRESS)
                    .map_err(|error| advise_address(&error, address, "[[lan]] listen"))?;
                listeners.push(Listener { lan: LanId(index), address, listener });
            }
            if let Some(path) = lan.lease_file.as_deref().filter(|_| options.detect.leases) {
                let watch = LeaseWatch::open(path)
                    .map_err(|error| format!("{error}; try: make it, or another `lease-file`"))?;
                leases.push((LanId(index), watch));
            }
        }
        let mut store = SledStore::open(&config.state_dir.join("store")).map_err(|error| {
            let code = sled_store::code(&error).unwrap_or(codes::START);
            if error.0.contains("; try: ") {
                return Unstarted { code, why: error.0 };
            }
            let hint = "`dm-gateway status`, `df`, and `ls -l` on the `state-dir`";
            Unstarted { code, why: format!("{error}; try: {hint}") }
        })?;
        let records = store.load().map_err(|error| error.to_string())?;
        let now = clock.now();
        let mut gateway = Gateway::new(config.options.clone(), &records, clock.entropy(), now);
        drop(records);
        gateway.log(logger::levels().all);
        let mut shell = Shell::new(gateway, clock, Committer::new(store), config);
        shell.hooks = config.observe.events.as_deref().map(Hooks::new);
        shell.gateway.borrow_mut().observe(shell.hooks.is_some());
        shell.audit_started();
        shell.bootstrap_files();
        let shell = Rc::new(shell);
        Ok(Self {
            shell,
            control,
            push_ports,
            http_ports,
            bootstrap_ports,
            listeners,
            leases,
            metrics,
        })
    }

    /// How long ago the clock began by which the daemon's events tell their uptime.
    pub fn uptime(&self) -> Duration {
        self.shell.clock.now().uptime
    }

    /// Runs until `stop` is ready, then ends what is in progress, within 2 s.
    pub fn run(self, stop: impl Future<Output = ()>) {
        let stop = stream::once_future(stop).map(|()| Order::Stop);
        self.run_with(&mut pin!(stop));
    }

    /// The same, with whatever else it is told meanwhile. The end of `orders` is a
    /// [`Order::Stop`].
    pub fn run_with(self, orders: &mut (impl Stream<Item = Order> + Unpin)) -> Ended {
        let executor = LocalExecutor::new();
        smol::block_on(executor.run(self.run_on(&executor, orders)))
    }

    async fn run_on(
        self,
        executor: &LocalExecutor<'_>,
        orders: &mut (impl Stream<Item = Order> + Unpin),
    ) -> Ended {
        let Self {
            shell,
            control,
            push_ports,
            http_ports,
            bootstrap_ports,
            listeners,
            leases,
            metrics,
        } = self;
        let mut tasks = Vec::new();
        let mut serving = Vec::new();
        let commits = executor.spawn(Rc::clone(&shell).commits());
        tasks.push(executor.spawn(Rc::clone(&shell).timers()));
        tasks.push(executor.spawn(Rc::clone(&shell).flushes()));
        tasks.push(executor.spawn(Rc::clone(&shell).calls()));
        tasks.push(executor.spawn(Rc::clone(&shell).card()));
        tasks.push(executor.spawn(Rc::clone(&shell).audits()));
        tasks.push(executor.spawn(Rc::clone(&shell).kernel_events()));
        for (lan, watch) in leases {
            tasks.push(executor.spawn(Rc::clone(&shell).leases(lan, watch)));
        }
        for (index, port) in push_ports.into_iter().enumerate() {
            tasks.push(executor.spawn(Rc::clone(&shell).pushes(index, port)));
        }
        let stoppers = Stoppers::default();
        for port in http_ports {
            let task = Rc::clone(&shell).http_pushes(port, Rc::clone(&stoppers));
            serving.push(executor.spawn(task));
        }
        for port in bootstrap_ports {
            let task = Rc::clone(&shell).bootstraps(port, Rc::clone(&stoppers));
            serving.push(executor.spawn(task));
        }
        for listener in listeners {
            let task = Rc::clone(&shell).lan(listener, Rc::clone(&stoppers));
            serving.push(executor.spawn(task));
        }
        tasks.push(executor.spawn(Rc::clone(&shell).operators(control)));
        tasks.extend(metrics.map(|it| executor.spawn(Rc::clone(&shell).observers(it))));
        tasks.push(executor.spawn(Rc::clone(&shell).hooks()));
        tasks.push(executor.spawn(watchdog(Rc::clone(&shell))));
        tasks.push(executor.spawn(Rc::clone(&shell).configuration_timers()));
        // The first answers of `status` are to know the interfaces.
        shell.read_kernel();
        shell.sample();
        let summary = shell.summary();
        log::info!("ready: {summary}");
        systemd::ready(&summary);

        let ended = until_told(&shell, orders).await;
        match ended {
            Ended::Stopped => {
                log::info!("stopping");
                systemd::stopping();
            }
            Ended::Restart => {
                log::info!("starting anew, for the configuration");
                systemd::reloading();
            }
        }
        // Dropped tasks close their sockets: nothing new comes in.
        for task in tasks {
            task.cancel().await;
        }
        shell.stopping();
        for stopper in stoppers.borrow().values() {
            stopper.stop();
        }
        let served = async {
            for task in serving {
                task.await;
            }
        };
        future::or(served, pause(limits::LAN_DRAIN_TIME)).await;
        shell.close_store();
        future::or(commits, pause(limits::STOP_STORE_TIME)).await;
        shell.audit_stopped();
        ended
    }
}

/// Does what it is told until that ends it.
async fn until_told(shell: &Shell, orders: &mut (impl Stream<Item = Order> + Unpin)) -> Ended {
    loop {
        let told = async { Some(orders.next().await) };
        let restart = async {
            shell.restart_wanted().await;
            None
        };
        match future::or(restart, told).await {
            None => return Ended::Restart,
            Some(None | Some(Order::Stop)) => return Ended::Stopped,
            Some(Some(Order::Reload)) => {
                systemd::reloading();
                shell.reload_by_signal().await;
                systemd::ready(&shell.summary());
            }
        }
    }
}

/// Tells systemd that the daemon makes progress, where it asks, and how it does.
async fn watchdog(shell: Rc<Shell>) {
    let Some(interval) = systemd::watchdog_interval() else { return };
    let (mut health, mut store) = (Health::Healthy, StoreBeat::default());
    loop {
        pause(interval).await;
        shell.handle(Input::Timeout);
        shell.beats.answer(Part::Gateway);
        let late = shell.beats.beat(&mut store);
        if late.is_empty() {
            systemd::watchdog();
        } else {
            let names: Vec<_> = late.into_iter().map(Part::name).collect();
            log::error!("no answer of {}: the watchdog is not fed", names.join(", "));
        }
        shell.sample();
        let now = shell.health();
        if std::mem::replace(&mut health, now) != now {
            systemd::status(&shell.summary());
        }
    }
}

async fn pause(time: Duration) {
    Timer::after(time).await;
}

fn make_state_directory(path: &Path) -> Result<(), String> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        format!(
            "cannot make the state directory {}: {}; try: another `[gateway] state-dir`, or run as \
             a user who may write there",
            path.display(),
            crate::io::plain(&error)
        )
    })
}

fn bind_listener(address: SocketAddr, interface: &str) -> io::Result<LanListener> {
    // A wildcard address alone would not say which LAN a connection came from.
    LanListener::bind(address, address.ip().is_unspecified().then_some(interface))
}

/// An interface or address that is not there yet is waited for; every other error counts.
fn bound<T>(result: io::Result<T>, code: Code) -> io::Result<Option<T>> {
    match result {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if is_absent(&error) => {
            journal::write_coded(Level::Warn, code, &format!("{error}; waiting for it"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::NotFound
        || error.to_string().contains("No such device")
}

fn advise_address(error: &io::Error, address: SocketAddr, key: &str) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{error}; try: `ss -lnptu 'sport = :{port}'` shows who has it, or change `{key}`"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "{error}; try: run as root, or with the capabilities of the unit file, or change `{key}`"
        ),
        _ => format!("{error}; try: another `{key}`"),
    }
}

fn advise_control(error: io::Error) -> String {
    match error.kind() {
        // Brings its own hint.
        io::ErrorKind::InvalidInput => error.to_string(),
        io::ErrorKind::AddrInUse => {
            format!("{error}; try: `dm-gateway status`, or another `[control] socket`")
        }
        _ => format!("{error}; try: `ls -ld` on its directory, or another `[control] socket`"),
    }
}

/// Wakes one task.
struct Signal {
    send: Sender<()>,
    receive: Receiver<()>,
}

impl Signal {
    fn new() -> Self {
        let (send, receive) = channel::bounded(1);
        Self { send, receive }
    }

    fn set(&self) {
        // Full means that it is set already.
        let _ = self.send.try_send(());
    }

    async fn wait(&self) {
        let _ = self.receive.recv().await;
    }
}
