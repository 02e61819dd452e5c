//! What the daemon and the simulated peers have to tell, in the order in which it happened.
//!
//! The daemon's words come through its control socket, those of the peers at once. Both know when
//! it happened; everything is told a moment later, so that each stands in its place.

use crate::cli::narrate::EventLine;
use crate::simulate::Report;
use smol::channel::{self, Receiver, Sender};
use smol::{Timer, future};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much later than it happened something is told.
const LATER: Duration = Duration::from_millis(40);

/// Something to be told.
pub(super) enum Told {
    /// A line of the daemon, and what it says.
    Gateway(String, EventLine),
    /// What a peer did, and when.
    Peer(Instant, Report),
    /// A peer that should have run for ever, and why it does not.
    Failed(String),
}

/// All that is to be told.
pub(super) struct Tellings {
    sender: Sender<Told>,
    receiver: Receiver<Told>,
    /// What happened, and when, in that order.
    waiting: RefCell<VecDeque<(Instant, Told)>>,
    /// When the daemon's uptime began.
    begin: Cell<Instant>,
}

impl Tellings {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel::unbounded();
        let begin = Cell::new(Instant::now());
        Self { sender, receiver, waiting: RefCell::default(), begin }
    }

    /// Where to put what is to be told.
    pub(super) fn sender(&self) -> Sender<Told> {
        self.sender.clone()
    }

    /// The daemon, from now on another one, counts its uptime from `begin`.
    pub(super) fn gateway_began(&self, begin: Instant) {
        self.begin.set(begin);
    }

    /// What is to be told next. Nothing is lost if the future is dropped.
    pub(super) async fn next(&self) -> Option<Told> {
        loop {
            let oldest = self.waiting.borrow().front().map(|(at, _)| *at);
            let told = match oldest {
                None => self.receiver.recv().await.ok()?,
                Some(at) => {
                    let next = async { self.receiver.recv().await.ok() };
                    let end = async {
                        Timer::at(at + LATER).await;
                        None
                    };
                    match future::or(next, end).await {
                        Some(told) => told,
                        None => return self.waiting.borrow_mut().pop_front().map(|(_, told)| told),
                    }
                }
            };
            let at = match &told {
                Told::Failed(_) => return Some(told),
                Told::Gateway(_, event) => self.begin.get() + uptime(event),
                Told::Peer(at, _) => *at,
            };
            let mut waiting = self.waiting.borrow_mut();
            let place = waiting.partition_point(|(other, _)| *other <= at);
            waiting.insert(place, (at, told));
        }
    }
}

/// How long after the daemon's start an event happened.
fn uptime(event: &EventLine) -> Duration {
    Duration::try_from_secs_f64(event.uptime).unwrap_or_default()
}
