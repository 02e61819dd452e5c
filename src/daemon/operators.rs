//! The control socket's side of the daemon: operators ask, and watch.

use super::audit::audited;
use super::configuration::is_of_configuration;
use super::journal;
use super::pause;
use super::shell::Shell;
use crate::control::{self, IoCounters, Request};
use crate::gateway::event::Event;
use crate::io::control_socket::{ControlConnection, ControlSocket};
use crate::io::push::{Received, Sent};
use crate::limits;
use smol::channel::{self, Receiver, Sender};
use smol::{LocalExecutor, future};
use std::cell::Cell;
use std::rc::Rc;

/// Somebody who watches.
pub(super) struct Monitor {
    lines: Sender<Rc<str>>,
    lost: Rc<Cell<u64>>,
}

impl Shell {
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
            Ok(Request::Test { server }) => {
                return self.test_server(&server, &mut connection).await;
            }
            Ok(Request::Trace { peer, seconds, messages }) => {
                match connection.send(&self.trace_begins(&peer)).await {
                    Ok(()) => return self.trace(connection, peer, seconds, messages).await,
                    Err(error) => Err(error),
                }
            }
            Ok(request) if is_of_configuration(&request) => {
                let what = audited(&request);
                let (answer, restarts) = self.configuration_request(request).await;
                if let Some((what, subject)) = what {
                    let by = format!("uid:{}", connection.peer_uid());
                    self.audit_configuration(by, what, subject, &answer);
                }
                let sent = connection.send(&answer).await;
                if restarts {
                    self.configuration.restart_wanted.set();
                }
                sent
            }
            Ok(request) => {
                let watches =
                    matches!(request, Request::Monitor | Request::Session { wait: true, .. });
                let monitor = watches.then(|| self.subscribe());
                match request {
                    Request::Audit => return self.tell_audit(connection).await,
                    Request::Events => return self.tell_recent(connection).await,
                    Request::Backup { secrets } => {
                        return self.tell_backup(connection, secrets).await;
                    }
                    _ => {}
                }
                let uid = connection.peer_uid();
                let answer = match control::operation(&request) {
                    Ok(Some(operation)) => {
                        control::operated(&request, self.operate(operation, uid).await)
                    }
                    Ok(None) => self.answer(&request),
                    Err(refusal) => refusal,
                };
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
        if *request == Request::Status {
            self.sample();
        }
        control::answer(
            &mut self.gateway.borrow_mut(),
            request,
            &self.io_counters(),
            &self.configuration_state(),
            self.clock.now(),
        )
    }

    pub(super) fn io_counters(&self) -> IoCounters {
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
            push_octets_received: self.octets.pushes_received.get(),
            push_octets_sent: self.octets.pushes_sent.get(),
            server_octets_received: self.octets.servers_received.get(),
            server_octets_sent: self.octets.servers_sent.get(),
            hooks_run: self.hooks.as_ref().map_or(0, |hooks| hooks.run.get()),
            hooks_failed: self.hooks.as_ref().map_or(0, |hooks| hooks.failed.get()),
            hooks_dropped: self.hooks.as_ref().map_or(0, |hooks| hooks.dropped.get()),
        }
    }

    pub(super) fn subscribe(&self) -> (Receiver<Rc<str>>, Rc<Cell<u64>>) {
        let (send, lines) = channel::bounded(limits::MONITOR_LINES);
        let lost = Rc::new(Cell::new(0));
        self.monitors.borrow_mut().push(Monitor { lines: send, lost: Rc::clone(&lost) });
        self.gateway.borrow_mut().observe(true);
        (lines, lost)
    }

    pub(super) fn forget_monitors(&self) {
        let mut monitors = self.monitors.borrow_mut();
        monitors.retain(|monitor| !monitor.lines.is_closed());
        self.gateway.borrow_mut().observe(!monitors.is_empty() || self.hooks.is_some());
    }

    /// Tells of something that the gateway does not know of.
    pub(super) fn tell(&self, event: &Event) {
        self.log(event, 0);
        self.publish(event);
    }

    /// Has an event be a line of the log, and remembers it for a while.
    pub(super) fn log(&self, event: &Event, held_back: u64) {
        journal::write(event, held_back);
        let mut recent = self.recent.borrow_mut();
        if recent.len() >= limits::RECENT_EVENTS {
            recent.pop_front();
        }
        recent.push_back(control::event_line(event, self.clock.now()));
    }

    async fn tell_recent(&self, mut connection: ControlConnection) {
        let lines: Vec<_> = self.recent.borrow().iter().cloned().collect();
        for line in lines {
            if connection.send(&line).await.is_err() {
                return;
            }
        }
    }

    pub(super) fn publish(&self, event: &Event) {
        self.tell_hooks(event);
        if self.monitors.borrow().is_empty() {
            return;
        }
        let line: Rc<str> = control::event_line(event, self.clock.now()).into();
        for monitor in self.monitors.borrow().iter() {
            if monitor.lines.try_send(Rc::clone(&line)).is_err() {
                monitor.lost.set(monitor.lost.get() + 1);
            }
        }
    }

    /// Those who watch are told no more.
    pub(super) fn stopping(&self) {
        self.monitors.borrow_mut().clear();
        self.traces.end();
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
