//! Between sockets and gateway: each task here turns what came into an input, [`Shell::handle`]
//! carries out what follows. Nothing is decided.
//!
//! Cells are borrowed between two awaits only; everything runs on one thread.

use super::{Listener, PushPort, bind_listener, is_absent, pause};
use crate::control::{self, IoCounters, Request};
use crate::gateway::Gateway;
use crate::gateway::event::Event;
use crate::gateway::seam::{ConnectionId, Input, LanId, NeighbourEvent, Output, Response};
use crate::gateway::view::Health;
use crate::io::clock::Clock;
use crate::io::control_socket::{ControlConnection, ControlSocket};
use crate::io::http_server::{Handler, LanListener, LanRequest, Stopper};
use crate::io::leases::LeaseWatch;
use crate::io::netlink::{Event as KernelEvent, Netlink};
use crate::io::push::{PushReceiver, PushSender, Received, Sent};
use crate::io::sled_store::{Committer, SledStore};
use crate::limits;
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
    gateway: RefCell<Gateway>,
    clock: Clock,
    committer: Committer<SledStore>,
    netlink: RefCell<Option<Netlink>>,
    lans: Vec<Lan>,
    wan_interface: Option<String>,
    /// Pushes that found no room in a send queue.
    backlog: RefCell<VecDeque<(LanId, SocketAddr, Vec<u8>)>>,
    backlog_dropped: Cell<u64>,
    flush: Signal,
    replies: RefCell<HashMap<ConnectionId, Sender<Response>>>,
    next_connection: Cell<u64>,
    /// The timeout that the timer task waits for.
    due: Cell<Option<Duration>>,
    rescheduled: Signal,
    /// When pushes were taken last.
    pushes_taken: Cell<Duration>,
    wan_ports: Vec<WanPort>,
    /// Index of the WAN interface, where one is configured and there.
    wan_index: Cell<u32>,
    monitors: RefCell<Vec<Monitor>>,
}

/// What the others need to know of a task that takes pushes.
struct WanPort {
    /// Nothing while the interface is missing.
    open: RefCell<Option<PushReceiver>>,
    /// What earlier sockets of this port counted.
    received: Cell<Received>,
    /// Whether the port has its socket.
    bound: Cell<bool>,
    /// The WAN interface is another one now.
    renewed: Signal,
}

impl WanPort {
    fn counters(&self) -> Received {
        let now = self.open.borrow().as_ref().map(PushReceiver::counters);
        self.received.get() + now.unwrap_or_default()
    }
}

/// How one LAN is reached.
struct Lan {
    interface: String,
    /// Nothing while the interface is missing.
    sender: RefCell<Option<Rc<RefCell<PushSender>>>>,
    /// What earlier senders of this LAN counted.
    sent: Cell<Sent>,
    index: Cell<u32>,
    /// For each listener that is tied to the interface: it is another one now.
    renewed: RefCell<Vec<Rc<Signal>>>,
}

/// Somebody who watches.
struct Monitor {
    lines: Sender<Rc<str>>,
    lost: Rc<Cell<u64>>,
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

impl Shell {
    pub(super) fn new<'a>(
        gateway: Gateway,
        clock: Clock,
        committer: Committer<SledStore>,
        interfaces: impl Iterator<Item = &'a str>,
        wan_interface: Option<&str>,
        push_ports: usize,
    ) -> Self {
        let lans = interfaces.map(|interface| Lan {
            interface: interface.to_owned(),
            sender: RefCell::default(),
            sent: Cell::default(),
            index: Cell::new(0),
            renewed: RefCell::default(),
        });
        let shell = Self {
            gateway: RefCell::new(gateway),
            clock,
            committer,
            netlink: RefCell::new(None),
            lans: lans.collect(),
            wan_interface: wan_interface.map(ToOwned::to_owned),
            backlog: RefCell::default(),
            backlog_dropped: Cell::new(0),
            flush: Signal::new(),
            replies: RefCell::default(),
            next_connection: Cell::new(0),
            due: Cell::new(None),
            rescheduled: Signal::new(),
            pushes_taken: Cell::default(),
            wan_ports: (0..push_ports)
                .map(|_| WanPort {
                    open: RefCell::default(),
                    received: Cell::default(),
                    bound: Cell::new(true),
                    renewed: Signal::new(),
                })
                .collect(),
            wan_index: Cell::new(0),
            monitors: RefCell::default(),
        };
        for lan in &shell.lans {
            lan.open_sender();
        }
        match Netlink::open() {
            Ok(netlink) => *shell.netlink.borrow_mut() = Some(netlink),
            Err(error) => {
                log::error!("the kernel's neighbour table cannot be read: {error}");
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
        let (lans, devices) = (status.lans.len(), status.devices.known);
        format!("{lans} LANs, {devices} end devices known, {} mappings{problems}", status.mappings)
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
        let mut gateway = self.gateway.borrow_mut();
        gateway.handle(input, self.clock.now());
        self.carry_out(&mut gateway);
        drop(gateway);
        self.send();
    }

    fn carry_out(&self, gateway: &mut Gateway) {
        while let Some(output) = gateway.poll_output() {
            match output {
                Output::Push { lan, to, datagram } => self.queue(lan, to, datagram),
                Output::Response { connection, response } => {
                    // Nobody is there any more if the peer gave up.
                    if let Some(reply) = self.replies.borrow_mut().remove(&connection) {
                        let _ = reply.try_send(response);
                    }
                }
                Output::Commit { commit, changes } => self.committer.submit(commit, changes),
                Output::Probe { lan, interface, address } => {
                    if let Some(netlink) = &mut *self.netlink.borrow_mut() {
                        netlink.probe(interface, address);
                    }
                    if let Some(sender) = self.lans[lan.0].sender()
                        && let Err(error) = sender.borrow().discard(address, interface)
                    {
                        log::debug!("cannot probe {address}: {error}");
                    }
                }
                Output::Event(event) => self.publish(&event),
            }
        }
        if let Some(due) = gateway.poll_timeout()
            && self.due.get().is_none_or(|before| due < before)
        {
            self.due.set(Some(due));
            self.rescheduled.set();
        }
    }

    // --- Pushes ---------------------------------------------------------------------------

    /// Takes pushes from one WAN port, for ever.
    pub(super) async fn pushes(self: Rc<Self>, index: usize, mut port: PushPort) {
        let interface = self.wan_interface.as_deref();
        let WanPort { bound, renewed, open, received } = &self.wan_ports[index];
        loop {
            let receiver = match port.receiver.take() {
                Some(receiver) => receiver,
                None => {
                    bound.set(false);
                    until_bound(|| PushReceiver::bind(port.address, interface), renewed).await
                }
            };
            bound.set(true);
            *open.borrow_mut() = Some(receiver);
            // A socket stays tied to an interface that is gone: another of that name needs
            // another socket.
            future::or(self.receive(index), renewed.wait()).await;
            let counted = open.borrow_mut().take().map(|receiver| receiver.counters());
            received.set(received.get() + counted.unwrap_or_default());
        }
    }

    async fn receive(&self, index: usize) {
        let open = &self.wan_ports[index].open;
        loop {
            match self.take_pushes(index) {
                Ok(true) => {
                    self.flush_all().await;
                    future::yield_now().await;
                }
                Ok(false) => {
                    let readable = poll_fn(|context| match &*open.borrow() {
                        Some(receiver) => receiver.poll_readable(context),
                        None => Poll::Pending,
                    });
                    let _ = readable.await;
                }
                Err(error) => {
                    log::warn!("cannot receive pushes: {error}");
                    pause(limits::SOCKET_RETRY).await;
                }
            }
        }
    }

    /// Hands one batch of pushes to the gateway. False if there is none.
    fn take_pushes(&self, index: usize) -> io::Result<bool> {
        let port = &self.wan_ports[index];
        self.pushes_taken.set(self.clock.now().uptime);
        // What the kernel knows of neighbours counts before what a server wants.
        self.read_kernel();
        let mut open = port.open.borrow_mut();
        let Some(receiver) = &mut *open else { return Ok(false) };
        let Some(batch) = receiver.receive()? else { return Ok(false) };
        let now = self.clock.now();
        let mut gateway = self.gateway.borrow_mut();
        for (from, datagram) in batch.iter() {
            gateway.handle(Input::Push { from, datagram }, now);
            self.carry_out(&mut gateway);
        }
        Ok(true)
    }

    /// Lets pushes overtake: what waits for a trigger is a person, what waits in a storm of
    /// sessions is a device.
    fn pushes_first(&self) {
        if self.clock.now().uptime < self.pushes_taken.get() + limits::PUSH_WAIT {
            return;
        }
        for index in 0..self.wan_ports.len() {
            // An error shows again in the port's own task.
            if matches!(self.take_pushes(index), Ok(true)) {
                self.send();
            }
        }
    }

    fn queue(&self, lan: LanId, to: SocketAddr, datagram: &[u8]) {
        let Some(sender) = self.lans[lan.0].sender() else {
            return self.backlog_dropped.set(self.backlog_dropped.get() + 1);
        };
        let mut backlog = self.backlog.borrow_mut();
        if backlog.is_empty() && sender.borrow_mut().queue(to, datagram) {
            return;
        }
        if backlog.len() < limits::PUSH_BACKLOG {
            backlog.push_back((lan, to, datagram.to_vec()));
            self.flush.set();
        } else {
            self.backlog_dropped.set(self.backlog_dropped.get() + 1);
        }
    }

    /// Sends what is queued, without waiting.
    fn send(&self) {
        for lan in &self.lans {
            if let Some(sender) = lan.sender()
                && !sender.borrow_mut().send()
            {
                self.flush.set();
            }
        }
    }

    async fn flush_all(&self) {
        for lan in &self.lans {
            if let Some(sender) = lan.sender() {
                PushSender::flush(&sender).await;
            }
        }
    }

    /// Sends what found no room, when there is some again.
    pub(super) async fn flushes(self: Rc<Self>) {
        loop {
            self.flush.wait().await;
            loop {
                self.flush_all().await;
                let mut backlog = self.backlog.borrow_mut();
                let Some((lan, to, datagram)) = backlog.pop_front() else { break };
                if let Some(sender) = self.lans[lan.0].sender()
                    && !sender.borrow_mut().queue(to, &datagram)
                {
                    backlog.push_front((lan, to, datagram));
                }
            }
        }
    }

    // --- LANs -----------------------------------------------------------------------------

    /// Serves one `listen` address of a LAN, until stopped.
    pub(super) async fn lan(
        self: Rc<Self>,
        listener: Listener,
        stoppers: Rc<RefCell<HashMap<(LanId, SocketAddr), Stopper>>>,
    ) {
        let Listener { lan, address, mut listener } = listener;
        let bind = || bind_listener(address, &self.lans[lan.0].interface);
        let renewed = Rc::new(Signal::new());
        if address.ip().is_unspecified() {
            // Tied to the interface, as `bind_listener` has it.
            self.lans[lan.0].renewed.borrow_mut().push(Rc::clone(&renewed));
        }
        loop {
            let listener: LanListener = match listener.take() {
                Some(listener) => listener,
                None => until_bound(bind, &renewed).await,
            };
            stoppers.borrow_mut().insert((lan, address), listener.stopper());
            let connections = LocalExecutor::new();
            let handler = Rc::new(LanHandler { shell: Rc::clone(&self), lan });
            let stopped = async {
                connections.run(listener.serve(&connections, handler)).await;
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
                    log::error!("cannot read the lease file: {error}");
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
            let result = readable.await;
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
                        self.wan_changed(index);
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
        log::error!("the kernel's neighbour table cannot be read any more: {error}");
        *self.netlink.borrow_mut() = None;
        self.feed(Input::Neighbour(NeighbourEvent::Unavailable));
    }

    /// Tells the gateway when its next timeout is due, for ever.
    pub(super) async fn timers(self: Rc<Self>) {
        loop {
            let due = self.gateway.borrow().poll_timeout();
            self.due.set(due);
            let Some(due) = due else {
                self.rescheduled.wait().await;
                continue;
            };
            let now = self.clock.now().uptime;
            if due <= now {
                self.handle(Input::Timeout);
                future::yield_now().await;
            } else {
                future::or(pause(due - now), self.rescheduled.wait()).await;
            }
        }
    }

    /// Has commits made, until the store is closed.
    pub(super) async fn commits(self: Rc<Self>) {
        let done = |commit, result| self.handle(Input::Committed { commit, result });
        self.committer.run(done).await;
    }

    pub(super) fn close_store(&self) {
        self.committer.close();
    }

    /// Those who watch are told no more.
    pub(super) fn stopping(&self) {
        self.monitors.borrow_mut().clear();
    }

    // --- Operators ------------------------------------------------------------------------

    /// Answers operators, for ever.
    pub(super) async fn operators(self: Rc<Self>, control: ControlSocket) {
        let connections = LocalExecutor::new();
        let accept = async {
            loop {
                match control.accept().await {
                    Ok(connection) => {
                        let task = Rc::clone(&self).operator(connection);
                        connections.spawn(task).detach();
                    }
                    Err(error) => {
                        log::warn!("the control socket fails: {error}");
                        pause(limits::SOCKET_RETRY).await;
                    }
                }
            }
        };
        connections.run(accept).await
    }

    async fn operator(self: Rc<Self>, mut connection: ControlConnection) {
        let Ok(line) = connection.request().await else { return };
        let answered = match control::parse(&line) {
            Ok(request) => {
                let monitor = matches!(request, Request::Monitor).then(|| self.subscribe());
                let answer = self.answer(&request);
                let sent = connection.send(&answer).await;
                match monitor {
                    Some((lines, lost)) if sent.is_ok() => {
                        watch(connection, lines, lost).await;
                        return self.forget_monitors();
                    }
                    _ => sent,
                }
            }
            Err(refusal) => connection.send(&refusal).await,
        };
        if let Err(error) = answered {
            log::debug!("an operator went before the answer: {error}");
        }
    }

    fn answer(&self, request: &Request) -> String {
        control::answer(&self.gateway.borrow(), request, &self.io_counters(), self.clock.now())
    }

    fn io_counters(&self) -> IoCounters {
        let received =
            self.wan_ports.iter().fold(Received::default(), |sum, port| sum + port.counters());
        let sent = self.lans.iter().fold(Sent::default(), |sum, lan| sum + lan.counters());
        let store = self.committer.stats();
        IoCounters {
            pushes_oversize: received.oversize,
            pushes_dropped_by_kernel: received.dropped,
            pushes_sent: sent.datagrams,
            pushes_refused_by_kernel: sent.refused,
            pushes_unsent: sent.dropped + self.backlog_dropped.get(),
            store_flushes: store.flushes,
        }
    }

    fn subscribe(&self) -> (Receiver<Rc<str>>, Rc<Cell<u64>>) {
        let (send, lines) = channel::bounded(limits::MONITOR_LINES);
        let lost = Rc::new(Cell::new(0));
        self.monitors.borrow_mut().push(Monitor { lines: send, lost: Rc::clone(&lost) });
        self.gateway.borrow_mut().observe(true);
        (lines, lost)
    }

    fn forget_monitors(&self) {
        let mut monitors = self.monitors.borrow_mut();
        monitors.retain(|monitor| !monitor.lines.is_closed());
        self.gateway.borrow_mut().observe(!monitors.is_empty());
    }

    fn publish(&self, event: &Event) {
        let line: Rc<str> = control::event_line(event, self.clock.now()).into();
        for monitor in self.monitors.borrow().iter() {
            if monitor.lines.try_send(Rc::clone(&line)).is_err() {
                monitor.lost.set(monitor.lost.get() + 1);
            }
        }
    }

    fn wan_changed(&self, index: u32) {
        let before = self.wan_index.replace(index);
        if before == index {
            return;
        }
        // At the start a port has its socket before the interface's index is known.
        for port in self.wan_ports.iter().filter(|port| before != 0 || !port.bound.get()) {
            port.renewed.set();
        }
    }
}

/// Binds when the interface and its address are there. `renewed` tells of an interface.
async fn until_bound<T>(bind: impl Fn() -> io::Result<T>, renewed: &Signal) -> T {
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

impl Lan {
    fn sender(&self) -> Option<Rc<RefCell<PushSender>>> {
        self.sender.borrow().clone()
    }

    fn counters(&self) -> Sent {
        let now = self.sender().map(|sender| sender.borrow().counters());
        self.sent.get() + now.unwrap_or_default()
    }

    fn open_sender(&self) {
        match PushSender::open(Some(&self.interface)) {
            Ok(sender) => *self.sender.borrow_mut() = Some(Rc::new(RefCell::new(sender))),
            Err(error) => log::warn!("{error}; waiting for the interface"),
        }
    }

    /// The interface of this LAN is another one now, or gone (0): sockets follow.
    fn interface_changed(&self, index: u32) {
        let before = self.index.replace(index);
        if before != index {
            self.renewed.borrow().iter().for_each(|renewed| renewed.set());
        }
        if before == index || before == 0 && self.sender.borrow().is_some() {
            return;
        }
        self.sent.set(self.counters());
        *self.sender.borrow_mut() = None;
        if index != 0 {
            self.open_sender();
        }
    }
}

/// Writes what happens to an operator, until it goes.
async fn watch(mut connection: ControlConnection, lines: Receiver<Rc<str>>, lost: Rc<Cell<u64>>) {
    loop {
        let gone = async {
            connection.closed().await;
            None
        };
        let next = async { lines.recv().await.ok() };
        let Some(line) = future::or(next, gone).await else { return };
        let mut sent = connection.send(&line).await;
        let lost = lost.replace(0);
        if lost > 0 && sent.is_ok() {
            sent = connection.send(&control::lost_line(lost)).await;
        }
        if sent.is_err() {
            return;
        }
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
            let number = shell.next_connection.get();
            shell.next_connection.set(number + 1);
            let connection = ConnectionId(number);
            let (reply, answer) = channel::bounded(1);
            shell.replies.borrow_mut().insert(connection, reply);
            // Who is at the peer's address counts before what the peer says.
            shell.read_kernel();
            shell.handle(Input::Request {
                connection,
                lan,
                from: request.from,
                local: request.local,
                request: request.as_request(),
            });
            answer.recv().await.unwrap_or(Response {
                status: 500,
                content_type: None,
                retry_after: None,
                body: Vec::new(),
            })
        }
    }
}
