//! Which events are lines in the log: at which level, under which id, and how many of a kind.
//!
//! A fact is one line. Of facts of one kind and one source in a minute the first
//! [`LOG_BURST`](limits::LOG_BURST) are lines, of refusals for one reason the first one; the
//! others are counted, and a line at the end of that minute tells how many they were. A source is
//! a LAN, or all that is not one.

use crate::codes::{self, Code};
use crate::gateway::event::{Event, EventKind, Reason};
use crate::limits;
use log::{Level, LevelFilter};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is fixed for all events of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The kind.
    pub kind: EventKind,
    /// The level of its lines.
    pub level: Level,
    /// The `MESSAGE_ID` in the journal: 128 bits in hexadecimal, never to be changed.
    pub message_id: &'static str,
    /// What happened, as a sentence without its end.
    pub what: &'static str,
    /// What is wrong then, where something is and the event does not say more exactly what.
    pub code: Option<Code>,
}

macro_rules! entries {
    ($($kind:ident $level:ident $id:literal $what:literal $(: $code:expr)?;)*) => {
        /// Every kind, in the order of [`EventKind`].
        pub const ENTRIES: &[Entry] = &[$(Entry {
            kind: EventKind::$kind,
            level: Level::$level,
            message_id: $id,
            what: $what,
            code: code!($($code)?),
        }),*];
    };
}
macro_rules! code {
    () => {
        None
    };
    ($code:expr) => {
        Some($code)
    };
}

entries! {
    Detected Info "b2ed274a296eb71ce4fcb57861fd5b37" "an end device came to a LAN";
    Asked Debug "c5bfdb460f75ae328e4ee7528bb99607" "a device was asked for a session, by Package #0";
    Session Debug "f21911a9b9df796edc01856da0a51e47" "a device opened a session";
    Alerted Debug "518de55010433c541dd6e190d0478c6a" "the Device Detection Alert 1230 went to a device";
    Answered Debug "24839d5455b3ebc66722948e60d921fe" "a device answered the Device Detection Alert";
    Named Info "3fb812689ef018c336be372b3c732cc7" "a device said who it is";
    List Info "c478a85b75cc7f9633c86fba9c5f6d8d" "a device's list of DM servers was taken";
    Mapped Info "405320079fe08b2686c24d2652a37e52" "a DM server may wake a device from now on";
    Unmapped Info "1bce62a18c9cb6963757c6867daa60eb" "a DM server may no longer wake a device";
    Wanted Info "2c49dd4e336474d5727ce673df361735" "a device wants a DM server that the gateway has no account with";
    Forwarded Debug "fe9f1c5081135de6a31cd35a4af2277a" "a push went on to its device";
    Held Debug "3e0d5849adb33382a6f5d41a56e2250e" "a push waits for its device";
    Released Debug "8f73aecc1d8435d7450a4910539833ce" "a push that waited went on to its device";
    Expired Info "0abc6ce68cacbb2e336780cae9df0279" "a push waited too long for its device and was dropped";
    Refused Info "4f382d58c6ff7624f693f11c3d21b9e2" "a push, or what a device claims, was refused";
    Conflict Warn "13ec586172099d64ed1c9ca3c7238643" "two devices claim the same identity": codes::CONFLICT;
    Detached Info "252968f6793fff3b84a584f6404470a7" "an end device went";
    Store Error "96b94dabea542c327adb34c6545de94f" "the store fails, or works again": codes::STORE;
    Notified Info "77f52d4e04b64d9a2bcfe6cf6c5b0481" "a DM server asked the gateway itself for a session";
    SessionStarted Info "96536fa65fcea8bc09a94ea602d047aa" "a session with a DM server began";
    Command Info "f4c15a332722fbc6c54415cb72af4716" "a command of a DM server was answered";
    SessionEnded Info "456ee319bf27d45a09728dd656e9ae87" "a session with a DM server ended as it should";
    SessionFailed Warn "ff9ec9968c07f5ea111476728b69a437" "a session with a DM server failed": codes::SESSION;
    Bootstrapping Info "e44c7020c3aee0e350136b3bd7ab6fed" "an account with a DM server is looked for";
    Bootstrapped Info "e3c01dab38bde767b0550b4436378e18" "the gateway has an account with a DM server, new or changed";
    BootstrapFailed Warn "79730a1d10cbe1f13adc21b4f9218ca7" "no account with a DM server came about";
    AccountGone Info "dd0e3ef6037516a305569a72ef5e4bf3" "an account with a DM server is gone";
    Kept Info "6aece842e92b511d2da8d6ca336163ae" "what a DM server changed stays";
    RolledBack Warn "f0e3612140a9ab6dfab07546698483b2" "what a DM server changed was taken back";
    Policy Info "58604996d2a562bf248bf96d1595ea92" "a LAN has another policy";
    Provisioned Info "cf4fa59049475d7fa5725af620a8bb89" "a device was sent an account for the gateway";
    LanDown Warn "302632225f4e927dbe7ecc6e73488262" "the interface of a LAN is missing or down": codes::LAN_DOWN;
    LanUp Info "91b1e2fb265cf2b258e8eec3adf2d260" "the interface of a LAN is there again";
    WanDown Warn "e9925236f2eece907cff039cc1897f01" "the WAN interface is missing or down": codes::WAN_DOWN;
    WanUp Info "6fd38f70bc4c5172ef68bef8cd3cefac" "the WAN interface is there again";
    Configured Info "a060cb926392ccd53db29c42ee9a6dd7" "the configuration was read anew";
    ConfigRefused Error "b51192fbb6af32c3aa42ca90871b4fd5" "a new configuration is wrong, and the old one stays": codes::RELOAD;
    HookFailed Warn "fb8bd9e876c021742764b596baa0e63f" "a program in events.d failed or may not be run": codes::HOOK;
}

/// The event [`EventKind::Store`] for better says this.
pub(super) const STORE_WORKS: &str = "the store works again";

impl EventKind {
    /// What is fixed for all events of this kind.
    pub fn entry(self) -> &'static Entry {
        ENTRIES.get(self as usize).expect("there is an entry for each kind")
    }
}

impl Event {
    /// The level of its line.
    pub fn level(&self) -> Level {
        match self.kind {
            EventKind::Store if self.why == STORE_WORKS => Level::Info,
            kind => kind.entry().level,
        }
    }

    /// What is wrong, where something is.
    pub fn code(&self) -> Option<Code> {
        self.code.or_else(|| self.kind.entry().code).filter(|_| self.level() <= Level::Warn)
    }
}

/// A minute of equal facts.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    end: Duration,
    passed: u32,
    held_back: u64,
}

impl Window {
    /// One that begins at the uptime `now`.
    pub fn new(now: Duration) -> Self {
        Self { end: now + limits::LOG_WINDOW, passed: 0, held_back: 0 }
    }

    /// Counts a fact: true if it is one of the first `most`. What was held back in a minute that
    /// is over is forgotten.
    pub fn admits(&mut self, most: u32, now: Duration) -> bool {
        if now >= self.end {
            *self = Self::new(now);
        }
        let admitted = self.passed < most;
        self.passed += u32::from(admitted);
        self.held_back += u64::from(!admitted);
        admitted
    }

    /// How many were held back in this minute.
    pub fn held_back(&self) -> u64 {
        self.held_back
    }
}

/// Whom an event is worth being made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heed {
    pub(super) watchers: bool,
    pub(super) log: bool,
}

impl Heed {
    pub(super) fn nobody(self) -> bool {
        !self.watchers && !self.log
    }
}

/// What is logged, and what was held back.
#[derive(Debug)]
pub(super) struct Journal {
    level: LevelFilter,
    windows: HashMap<Source, Window>,
}

/// Facts that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source {
    pub(super) kind: EventKind,
    pub(super) reason: Option<Reason>,
    pub(super) lan: Option<Arc<str>>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { level: LevelFilter::Off, windows: HashMap::new() }
    }
}

impl Journal {
    pub(super) fn set_level(&mut self, level: LevelFilter) {
        self.level = level;
    }

    pub(super) fn is_on(&self) -> bool {
        self.level > LevelFilter::Off
    }

    /// Whether a fact is to be a line; and where this is the first one held back, when the minute
    /// is over.
    pub(super) fn admits(&mut self, source: Source, now: Duration) -> (bool, Option<Duration>) {
        if source.kind.entry().level > self.level {
            return (false, None);
        }
        // Whoever wants to see everything does.
        if self.level >= LevelFilter::Debug {
            return (true, None);
        }
        let most = match source.kind {
            EventKind::Refused => 1,
            _ => limits::LOG_BURST,
        };
        let window = self.windows.entry(source).or_insert_with(|| Window::new(now));
        let admitted = window.admits(most, now);
        (admitted, (window.held_back == 1).then_some(window.end))
    }

    /// What was held back in the minutes that are over, and when the next one is.
    pub(super) fn due(&mut self, now: Duration) -> (Vec<(Source, u64)>, Option<Duration>) {
        let mut over = Vec::new();
        self.windows.retain(|source, window| {
            let is_over = now >= window.end;
            if is_over && window.held_back > 0 {
                over.push((source.clone(), window.held_back));
            }
            !is_over
        });
        let rest = self.windows.values().filter(|window| window.held_back > 0);
        (over, rest.map(|window| window.end).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_kind_has_an_entry_and_an_id_of_its_own() {
        let mut ids = HashSet::new();
        for (index, entry) in ENTRIES.iter().enumerate() {
            assert_eq!(entry.kind as usize, index, "{:?}", entry.kind);
            assert!(entry.message_id.len() == 32 && ids.insert(entry.message_id));
            assert!(entry.message_id.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')));
            assert!(!entry.what.ends_with('.'));
        }
        assert_eq!(ENTRIES.len(), EventKind::HookFailed as usize + 1);
    }

    #[test]
    fn a_flood_is_a_line_and_a_count() {
        let mut journal = Journal::default();
        journal.set_level(LevelFilter::Info);
        let source = |reason| Source { kind: EventKind::Refused, reason: Some(reason), lan: None };
        let second = Duration::from_secs(1);
        assert_eq!(journal.admits(source(Reason::Unmapped), second), (true, None));
        let end = second + limits::LOG_WINDOW;
        assert_eq!(journal.admits(source(Reason::Unmapped), second), (false, Some(end)));
        assert_eq!(journal.admits(source(Reason::Unmapped), second), (false, None));
        assert_eq!(journal.admits(source(Reason::Repeat), second), (true, None));
        assert_eq!(journal.due(second), (vec![], Some(end)));
        assert_eq!(journal.due(end), (vec![(source(Reason::Unmapped), 2)], None));
        assert!(journal.windows.is_empty());
        assert_eq!(journal.admits(source(Reason::Unmapped), end), (true, None));
        let forwarded = Source { kind: EventKind::Forwarded, reason: None, lan: None };
        assert_eq!(journal.admits(forwarded, end), (false, None));
    }
}
