//! Pushes through the daemon: in from the WAN ports, out to the LANs, and the sockets of both as
//! their interfaces come and go.

use super::shell::{Shell, count, until_bound};
use super::{PushPort, Signal, pause};
use crate::gateway::health::SocketKind;
use crate::gateway::seam::{Input, LanId};
use crate::io::push::{PushReceiver, PushSender, Received, Sent};
use crate::limits;
use smol::future;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

/// What the others need to know of a task that takes pushes.
pub(super) struct WanPort {
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
    pub(super) fn new() -> Self {
        Self {
            open: RefCell::default(),
            received: Cell::default(),
            bound: Cell::new(true),
            renewed: Signal::new(),
        }
    }

    pub(super) fn counters(&self) -> Received {
        let now = self.open.borrow().as_ref().map(PushReceiver::counters);
        self.received.get() + now.unwrap_or_default()
    }
}

/// How one LAN is reached.
pub(super) struct Lan {
    pub(super) interface: String,
    /// Nothing while the interface is missing.
    sender: RefCell<Option<Rc<RefCell<PushSender>>>>,
    /// What earlier senders of this LAN counted.
    sent: Cell<Sent>,
    index: Cell<u32>,
    /// For each listener that is tied to the interface: it is another one now.
    pub(super) renewed: RefCell<Vec<Rc<Signal>>>,
}

impl Shell {
    /// Takes pushes from one WAN port, for ever.
    pub(super) async fn pushes(self: Rc<Self>, index: usize, mut port: PushPort) {
        let interface = self.wan_interface.as_deref();
        let WanPort { bound, renewed, open, received } = &self.wan_ports[index];
        let told = self.watched.socket(SocketKind::Push, None, port.address);
        loop {
            let receiver = match port.receiver.take() {
                Some(receiver) => receiver,
                None => {
                    bound.set(false);
                    told.set(false);
                    until_bound(|| PushReceiver::bind(port.address, interface), renewed).await
                }
            };
            bound.set(true);
            told.set(true);
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
        self.traces.refresh(&self.gateway);
        let mut gateway = self.gateway.borrow_mut();
        for (from, datagram) in batch.iter() {
            count(&self.octets.pushes_received, datagram.len());
            let push = Input::Push { from, datagram };
            self.traces.input(&push, now);
            gateway.handle(push, now);
            self.carry_out(&mut gateway);
        }
        Ok(true)
    }

    /// Lets pushes overtake: what waits for a trigger is a person, what waits in a storm of
    /// sessions is a device.
    pub(super) fn pushes_first(&self) {
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

    pub(super) fn queue(&self, lan: LanId, to: SocketAddr, datagram: &[u8]) {
        count(&self.octets.pushes_sent, datagram.len());
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
    pub(super) fn send(&self) {
        for lan in &self.lans {
            if let Some(sender) = lan.sender() {
                if !sender.borrow_mut().send() {
                    self.flush.set();
                }
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
                if let Some(sender) = self.lans[lan.0].sender() {
                    if !sender.borrow_mut().queue(to, &datagram) {
                        backlog.push_front((lan, to, datagram));
                    }
                }
            }
        }
    }

    pub(super) fn wan_changed(&self, index: u32) {
        let before = self.wan_index.replace(index);
        if before == index {
            return;
        }
        // At the start a port has its socket before the interface's index is known.
        for port in self.wan_ports.iter().filter(|port| before != 0 || !port.bound.get()) {
            port.renewed.set();
        }
        self.wan_renewed.borrow().iter().for_each(|renewed| renewed.set());
    }
}

impl Lan {
    pub(super) fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            sender: RefCell::default(),
            sent: Cell::default(),
            index: Cell::new(0),
            renewed: RefCell::default(),
        }
    }

    pub(super) fn sender(&self) -> Option<Rc<RefCell<PushSender>>> {
        self.sender.borrow().clone()
    }

    pub(super) fn counters(&self) -> Sent {
        let now = self.sender().map(|sender| sender.borrow().counters());
        self.sent.get() + now.unwrap_or_default()
    }

    pub(super) fn open_sender(&self) {
        match PushSender::open(Some(&self.interface)) {
            Ok(sender) => *self.sender.borrow_mut() = Some(Rc::new(RefCell::new(sender))),
            Err(error) => log::warn!("{error}; waiting for the interface"),
        }
    }

    /// The interface of this LAN is another one now, or gone (0): sockets follow.
    pub(super) fn interface_changed(&self, index: u32) {
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
