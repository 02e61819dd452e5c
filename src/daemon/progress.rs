//! Whether the daemon makes progress: what the watchdog of the service manager is fed by.
//!
//! A beat asks every part; the next beat is passed on only if each has answered since. A part that
//! is stuck, or a task that never gets its turn, ends the feeding, and the service manager ends the
//! daemon.
//!
//! ```text
//!   beat ──► timers? kernel? gateway? store? ──► each answers ──► next beat: WATCHDOG=1
//! ```

use super::Signal;
use std::cell::Cell;

/// A part that must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The task that waits for the gateway's timeouts.
    Timers,
    /// The task that reads what the kernel tells.
    Kernel,
    /// The gateway: it takes an input.
    Gateway,
    /// The thread that writes to the store: whatever it began before the last beat is done.
    Store,
}

impl Part {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Timers, Self::Kernel, Self::Gateway, Self::Store];

    /// What it is called in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Timers => "the timers",
            Self::Kernel => "what the kernel tells",
            Self::Gateway => "the gateway",
            Self::Store => "the store",
        }
    }
}

/// Which parts have answered.
#[derive(Debug)]
pub(super) struct Progress {
    answered: [bool; Part::ALL.len()],
}

impl Progress {
    /// Nobody is asked yet: the first beat is passed on.
    pub(super) fn new() -> Self {
        Self { answered: [true; Part::ALL.len()] }
    }

    /// A part answers.
    pub(super) fn answer(&mut self, part: Part) {
        self.answered[part as usize] = true;
    }

    /// The parts that have not answered since the last beat: with none the beat is passed on. Those
    /// that have are asked anew; the others are still to answer what they were asked before.
    pub(super) fn beat(&mut self) -> Vec<Part> {
        let is_late = |part: &Part| !self.answered[*part as usize];
        let late: Vec<_> = Part::ALL.into_iter().filter(is_late).collect();
        if late.is_empty() {
            self.answered = [false; Part::ALL.len()];
        }
        late
    }
}

/// Whether the store is stuck: commits that began long ago and did not end.
#[derive(Debug, Default)]
pub(super) struct StoreBeat {
    /// Commits handed over, and commits reported back, at the last beat.
    before: (u64, u64),
}

impl StoreBeat {
    /// Whether everything that was handed over before the last beat has been reported back by now.
    pub(super) fn is_well(&mut self, submitted: u64, done: u64) -> bool {
        let well = done >= self.before.0;
        if well {
            self.before = (submitted, done);
        }
        well
    }
}

/// What the tasks share with the watchdog.
pub(super) struct Beats {
    progress: std::cell::RefCell<Progress>,
    timers: Signal,
    kernel: Signal,
    submitted: Cell<u64>,
    done: Cell<u64>,
}

impl Default for Beats {
    fn default() -> Self {
        Self {
            progress: Progress::new().into(),
            timers: Signal::new(),
            kernel: Signal::new(),
            submitted: Cell::default(),
            done: Cell::default(),
        }
    }
}

impl Beats {
    /// Ready when the watchdog asks a part that waits for something else meanwhile.
    pub(super) async fn asked(&self, part: Part) {
        match part {
            Part::Kernel => self.kernel.wait().await,
            _ => self.timers.wait().await,
        }
    }

    pub(super) fn answer(&self, part: Part) {
        self.progress.borrow_mut().answer(part);
    }

    /// A commit was handed to the store.
    pub(super) fn submitted(&self) {
        self.submitted.set(self.submitted.get() + 1);
    }

    /// A commit was reported back.
    pub(super) fn committed(&self) {
        self.done.set(self.done.get() + 1);
    }

    /// One beat: the parts that are late. Asks all of them.
    pub(super) fn beat(&self, store: &mut StoreBeat) -> Vec<Part> {
        if store.is_well(self.submitted.get(), self.done.get()) {
            self.answer(Part::Store);
        }
        let late = self.progress.borrow_mut().beat();
        self.timers.set();
        self.kernel.set();
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_passed_on_only_when_every_part_has_answered_the_last() {
        let mut progress = Progress::new();
        assert_eq!(progress.beat(), []);
        assert_eq!(progress.beat(), Part::ALL);
        for part in Part::ALL {
            assert!(progress.beat().contains(&part));
            progress.answer(part);
        }
        assert_eq!(progress.beat(), []);
        for part in [Part::Timers, Part::Kernel, Part::Gateway] {
            progress.answer(part);
        }
        assert_eq!(progress.beat(), [Part::Store]);
        assert_eq!(progress.beat(), [Part::Store], "it stays late until it answers");
        progress.answer(Part::Store);
        assert_eq!(progress.beat(), []);
    }

    #[test]
    fn a_store_without_work_is_well_and_one_that_never_ends_is_not() {
        let mut store = StoreBeat::default();
        assert!(store.is_well(0, 0) && store.is_well(0, 0));
        assert!(store.is_well(3, 1), "they came since the last beat");
        assert!(!store.is_well(9, 2), "one of the three is still under way");
        assert!(!store.is_well(9, 2));
        assert!(store.is_well(9, 3), "those three are done");
        assert!(store.is_well(9, 9));
    }
}
