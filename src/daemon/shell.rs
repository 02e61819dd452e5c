//! Between sockets and gateway: each task here turns what came into an input, [`Shell::handle`]
//! carries out what follows. Nothing is decided.
//!
//! Cells are borrowed between two awaits only; everything runs on one thread.

use super::audit::AuditTask;
use super::calls::Caller;
use super::configuration::Configuration;
use super::facts::Watched;
use super::hooks::Hooks;
use super::journal;
use super::operators::Monitor;
use super::progress::{Beats, Part};
use super::pushes::{Lan, WanPort};
use super::traces::Traces;
use super::{Listener, Signal, bind_listener, is_absent, pause};
use crate::codes;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::gateway::health::SocketKind;
use crate::gateway::seam::{ConnectionId, Input, LanId, NeighbourEvent, Output, Response};
use crate::gateway::view::Health;
use crate::io::clock::Clock;
use crate::io::committer::Committer;
use crate::io::http_server::{Handler, LanListener, LanRequest, Stopper};
use crate::io::leases::LeaseWatch;
use crate::io::netlink::{Event as KernelEvent, Netlink};
use crate::io::sled_store::SledStore;
use crate::limits;
use log::Level;
use smol::channel::{self, Receiver, Sender};
use smol::{LocalExecutor, future};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Everything that the tasks share.
pub(super) struct Shell {
    pub(super) gateway: RefCell<Gateway>,
    pub(super) clock: Clock,
    pub(super) committer: Committer<SledStore>,
    pub(super) netlink: RefCell<Option<Netlink>>,
    pub(super) lans: Vec<Lan>,
    pub(super) wan_interface: Option<String>,
    /// Pushes that found no room in a send queue.
    pub(super) backlog: RefCell<VecDeque<(LanId, SocketAddr, Vec<u8>)>>,
    pub(super) backlog_dropped: Cell<u64>,
    pub(super) flush: Signal,
    pub(super) replies: RefCell<HashMap<ConnectionId, Sender<Response>>>,
    pub(super) next_connection: Cell<u64>,
    /// The timeout that the timer task waits for.
    pub(super) due: Cell<Option<Duration>>,
    pub(super) rescheduled: Signal,
    /// When pushes were taken last.
    pub(super) pushes_taken: Cell<Duration>,
    pub(super) wan_ports: Vec<WanPort>,
    /// Index of the WAN interface, where one is configured and there.
    pub(super) wan_index: Cell<u32>,
    /// For each HTTP listener that is tied to the WAN interface: it is another one now.
    pub(super) wan_renewed: RefCell<Vec<Rc<Signal>>>,
    pub(super) monitors: RefCell<Vec<Monitor>>,
    pub(super) caller: Caller,
    pub(super) audit: AuditTask,
    pub(super) watched: Watched,
    pub(super) configuration: Configuration,
    pub(super) beats: Beats,
    pub(super) octets: Octets,
    pub(super) hooks: Option<Hooks>,
    pub(super) traces: Traces,
    /// The newest events that were lines of the log, as they are told.
    pub(super) recent: RefCell<VecDeque<String>>,
}

/// Octets of what is said, without what carries it.
#[derive(Default)]
pub(super) struct Octets {
    pub(super) pushes_received: Cell<u64>,
    pub(super) pushes_sent: Cell<u64>,
    pub(super) servers_received: Cell<u64>,
    pub(super) servers_sent: Cell<u64>,
}

/// Adds a length to a counter.
pub(super) fn count(counter: &Cell<u64>, octets: usize) {
    counter.set(counter.get() + octets as u64);
}

impl Shell {
    pub(super) fn new(
        gateway: Gateway,
        clock: Clock,
        committer: Committer<SledStore>,
        config: &Config,
    ) -> Self {
        let now = clock.now();
        let interfaces = config.options.lans.iter().map(|lan| lan.interface.as_str());
        let shell = Self {
            gateway: RefCell::new(gateway),
            clock,
            committer,
            netlink: RefCell::new(None),
            lans: interfaces.map(Lan::new).collect(),
            wan_interface: config.wan_interface.clone(),
            backlog: RefCell::default(),
            backlog_dropped: Cell::new(0),
            flush: Signal::new(),
            replies: RefCell::default(),
            next_connection: Cell::new(0),
            due: Cell::new(None),
            rescheduled: Signal::new(),
            pushes_taken: Cell::default(),
            wan_ports: config.push_listen.iter().map(|_| WanPort::new()).collect(),
            wan_index: Cell::new(0),
            wan_renewed: RefCell::default(),
            monitors: RefCell::default(),
            octets: Octets::default(),
            hooks: None,
            traces: Traces::default(),
            recent: RefCell::default(),
            caller: Caller::new(config.client.clone()),
            configuration: Configuration::new(config, now.unix, now.uptime),
            beats: Beats::default(),
            audit: AuditTask::new(&config.state_dir),
            watched: Watched::new(config.state_dir.clone()),
        };
        for lan in &shell.lans {
            lan.open_sender();
        }
        match Netlink::open() {
            Ok(netlink) => *shell.netlink.borrow_mut() = Some(netlink),
            Err(error) => {
                let why = format!("the kernel's neighbour table cannot be read: {error}");
                journal::write_coded(Level::Error, codes::NEIGHBOURS, &why);
                shell.handle(Input::Neighbour(NeighbourEvent::Unavailable));
            }
        }
        shell
    }

    /// What is running, in one line.
    pub(super) fn summary(&self) -> String {
        let status = self.gateway.borrow().status(self.clock.now());
        let problems = match status.health {
            Health::Healthy => String::new(),
            Health::Degraded | Health::Down => format!("; {}", status.problems.join("; ")),
        };
        let state = self.configuration_state();
        let problems = match state.error {
            Some(_) => format!("{problems}; the new configuration is not used: dm-gateway reload"),
            None => problems,
        };
        let (lans, devices) = (status.lans.len(), status.devices.known);
        format!("LANs {lans}, end devices {devices}, mappings {}{problems}", status.mappings)
    }

    pub(super) fn lan_name(&self, lan: LanId) -> String {
        self.gateway.borrow().lan_name(lan).to_owned()
    }

    pub(super) fn health(&self) -> Health {
        self.gateway.borrow().status(self.clock.now()).health
    }

    /// Gives the gateway one input and carries out what follows.
    pub(super) fn handle(&self, input: Input<'_>) {
        self.pushes_first();
        self.feed(input);
    }

    /// The same, with no pushes before it.
    fn feed(&self, input: Input<'_>) {
        self.traces.refresh(&self.gateway);
        self.traces.input(&input, self.clock.now());
        let mut gateway = self.gateway.borrow_mut();
        gateway.handle(input, self.clock.now());
        self.carry_out(&mut gateway);
        drop(gateway);
        self.send();
    }

    pub(super) fn carry_out(&self, gateway: &mut Gateway) {
        while let Some(output) = gateway.poll_output() {
            match output {
                Output::Push { lan, to, datagram } => {
                    self.traces.pushed(to, datagram, self.clock.now());
                    self.queue(lan, to, datagram);
                }
                Output::Response { connection, response } => {
                    self.traces.responded(connection, &response, self.clock.now());
                    // Nobody is there any more if the peer gave up.
                    if let Some(reply) = self.replies.borrow_mut().remove(&connection) {
                        let _ = reply.try_send(response);
                    }
                }
                Output::Commit { commit, changes } => {
                    self.beats.submitted();
                    self.committer.submit(commit, changes);
                }
                Output::Probe { lan, interface, address } => {
                    if let Some(netlink) = &mut *self.netlink.borrow_mut() {
                        netlink.probe(interface, address);
                    }
                    if let Some(sender) = self.lans[lan.0].sender() {
                        if let Err(error) = sender.borrow().discard(address, interface) {
                            log::debug!("cannot probe {address}: {error}");
                        }
                    }
                }
                Output::Call { call, request } => {
                    self.traces.called(call, &request, self.clock.now());
                    self.caller.call(call, request);
                }
                Output::Operated { operation, result } => self.caller.operated(operation, result),
                Output::Audit(audit) => self.write_down(audit),
                Output::Event(event) => self.publish(&event),
                Output::Log { event, held_back } => self.log(&event, held_back),
            }
        }
        if let Some(due) = gateway.poll_timeout() {
            if self.due.get().is_none_or(|before| due < before) {
                self.due.set(Some(due));
                self.rescheduled.set();
            }
        }
    }

    /// Names a request, and gives what its answer comes through.
    pub(super) fn connection(&self) -> (ConnectionId, Receiver<Response>) {
        let number = self.next_connection.get();
        self.next_connection.set(number + 1);
        let (reply, answer) = channel::bounded(1);
        self.replies.borrow_mut().insert(ConnectionId(number), reply);
        (ConnectionId(number), answer)
    }

    // --- LANs -----------------------------------------------------------------------------

    /// Serves one `listen` address of a LAN, until stopped.
    pub(super) async fn lan(self: Rc<Self>, listener: Listener, stoppers: Stoppers) {
        let Listener { lan, address, listener } = listener;
        let bind = || bind_listener(address, &self.lans[lan.0].interface);
        let renewed = Rc::new(Signal::new());
        if address.ip().is_unspecified() {
            // Tied to the interface, as `bind_listener` has it.
            self.lans[lan.0].renewed.borrow_mut().push(Rc::clone(&renewed));
        }
        let handler = Rc::new(LanHandler { shell: Rc::clone(&self), lan });
        let open = self.watched.socket(SocketKind::Lan, Some(self.lan_name(lan)), address);
        serve((Some(lan), address), listener, bind, &renewed, handler, (&stoppers, &open)).await;
    }

    /// Hands every state of a LAN's lease file to the gateway, for ever.
    pub(super) async fn leases(self: Rc<Self>, lan: LanId, mut watch: LeaseWatch) {
        let mut readable = true;
        loop {
            match watch.read() {
                Ok(leases) => {
                    readable = true;
                    self.handle(Input::Leases { lan, leases: &leases });
                }
                Err(error) if std::mem::replace(&mut readable, false) => {
                    let why = format!("cannot read the lease file: {error}");
                    journal::write_coded(Level::Error, codes::LEASES, &why);
                }
                Err(_) => {}
            }
            if let Err(error) = watch.changed().await {
                log::error!("cannot watch the lease file: {error}");
                pause(limits::SOCKET_RETRY).await;
            }
        }
    }

    // --- The kernel, time, the store ------------------------------------------------------

    /// Hands what the kernel tells of neighbours and interfaces to the gateway, for ever.
    pub(super) async fn kernel_events(self: Rc<Self>) {
        loop {
            let readable = poll_fn(|context| match &*self.netlink.borrow() {
                Some(netlink) => netlink.poll_readable(context),
                None => Poll::Pending,
            });
            let asked = async {
                self.beats.asked(Part::Kernel).await;
                Ok(())
            };
            let result = future::or(readable, asked).await;
            self.beats.answer(Part::Kernel);
            if let Err(error) = result {
                self.lose_kernel(&error);
            }
            self.read_kernel();
            future::yield_now().await;
        }
    }

    /// Takes what the kernel has told by now. No pushes come between: each would read the kernel
    /// first, and newer events would count before older ones.
    pub(super) fn read_kernel(&self) {
        let mut events = Vec::new();
        let result = match &mut *self.netlink.borrow_mut() {
            Some(netlink) => netlink.drain(limits::NETLINK_BATCH, &mut |event| events.push(event)),
            None => return,
        };
        for event in events {
            match event {
                KernelEvent::Neighbour(event) => self.feed(Input::Neighbour(event)),
                KernelEvent::Link(event) => {
                    let index = if event.removed { 0 } else { event.index };
                    for lan in self.lans.iter().filter(|lan| lan.interface == event.name) {
                        lan.interface_changed(index);
                    }
                    if self.wan_interface.as_ref() == Some(&event.name) {
                        self.watched.wan_running.set(index != 0 && event.running);
                        self.wan_changed(index);
                        self.feed(Input::Facts(self.facts()));
                    }
                    self.feed(Input::Link(event));
                }
            }
        }
        if let Err(error) = result {
            self.lose_kernel(&error);
        }
    }

    fn lose_kernel(&self, error: &io::Error) {
        let why = format!("the kernel's neighbour table cannot be read any more: {error}");
        journal::write_coded(Level::Error, codes::NEIGHBOURS, &why);
        *self.netlink.borrow_mut() = None;
        self.feed(Input::Neighbour(NeighbourEvent::Unavailable));
    }

    /// Tells the gateway when its next timeout is due, for ever.
    pub(super) async fn timers(self: Rc<Self>) {
        loop {
            let due = self.gateway.borrow().poll_timeout();
            self.due.set(due);
            self.beats.answer(Part::Timers);
            let Some(due) = due else {
                future::or(self.rescheduled.wait(), self.beats.asked(Part::Timers)).await;
                continue;
            };
            let now = self.clock.now().uptime;
            if due <= now {
                self.handle(Input::Timeout);
                future::yield_now().await;
            } else {
                let asked = self.beats.asked(Part::Timers);
                future::or(future::or(pause(due - now), self.rescheduled.wait()), asked).await;
            }
        }
    }

    /// Has commits made, until the store is closed.
    pub(super) async fn commits(self: Rc<Self>) {
        let done = |commit, result| {
            self.beats.committed();
            self.handle(Input::Committed { commit, result });
        };
        self.committer.run(done).await;
    }

    pub(super) fn close_store(&self) {
        self.committer.close();
    }
}

/// What stops the HTTP listeners, each by its LAN (or the WAN) and its address.
pub(super) type Stoppers = Rc<RefCell<HashMap<(Option<LanId>, SocketAddr), Stopper>>>;

/// Serves HTTP at one place until stopped, with another socket whenever `renewed` tells of
/// another interface. `open` says whether there is one.
pub(super) async fn serve<H: Handler>(
    place: (Option<LanId>, SocketAddr),
    mut listener: Option<LanListener>,
    bind: impl Fn() -> io::Result<LanListener>,
    renewed: &Signal,
    handler: Rc<H>,
    (stoppers, open): (&Stoppers, &Cell<bool>),
) {
    loop {
        open.set(listener.is_some());
        let listener = match listener.take() {
            Some(listener) => listener,
            None => until_bound(&bind, renewed).await,
        };
        open.set(true);
        stoppers.borrow_mut().insert(place, listener.stopper());
        let connections = LocalExecutor::new();
        let stopped = async {
            connections.run(listener.serve(&connections, Rc::clone(&handler))).await;
            true
        };
        let gone = async {
            renewed.wait().await;
            false
        };
        if future::or(stopped, gone).await {
            return;
        }
    }
}

/// Binds when the interface and its address are there. `renewed` tells of an interface.
pub(super) async fn until_bound<T>(bind: impl Fn() -> io::Result<T>, renewed: &Signal) -> T {
    let mut told = false;
    loop {
        match bind() {
            Ok(bound) => return bound,
            Err(error) if !is_absent(&error) && !std::mem::replace(&mut told, true) => {
                log::error!("{error}");
            }
            Err(_) => {}
        }
        future::or(pause(limits::INTERFACE_RETRY), renewed.wait()).await;
    }
}

/// Answers the requests of one LAN.
struct LanHandler {
    shell: Rc<Shell>,
    lan: LanId,
}

impl Handler for LanHandler {
    fn refused(&self, from: SocketAddr) {
        self.shell.handle(Input::BadRequest { lan: self.lan, from });
    }

    fn request(&self, request: LanRequest) -> impl Future<Output = Response> {
        let shell = Rc::clone(&self.shell);
        let lan = self.lan;
        async move {
            let (connection, answer) = shell.connection();
            // Who is at the peer's address counts before what the peer says.
            shell.read_kernel();
            shell.handle(Input::Request {
                connection,
                lan,
                from: request.from,
                local: request.local,
                request: request.as_request(),
            });
            answered(answer).await
        }
    }
}

/// The answer to a request.
pub(super) async fn answered(answer: Receiver<Response>) -> Response {
    answer.recv().await.unwrap_or(Response {
        status: 500,
        content_type: None,
        retry_after: None,
        body: Vec::new(),
    })
}
