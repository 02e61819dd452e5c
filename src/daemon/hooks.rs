//! Programs of the administrator's that are told of events: `[events] directory`.
//!
//! Each executable file there is run once for each event, by name in order, one at a time: the
//! line that `monitor --json` prints on its standard input, `GW_EVENT` in its environment. A file
//! whose name ends in a dot and the name of an event (`50-notify.conflict`) is told of that event
//! only. Each run ends within [`HOOK_TIME`](limits::HOOK_TIME); at most
//! [`HOOK_EVENTS`](limits::HOOK_EVENTS) events wait, further ones are counted and left out.
//!
//! Files that others than their owner can write to, in the group or at all, are not run, nor those
//! of anybody but root and the daemon's own user; hidden ones and those that editors and packages
//! leave behind are passed over. A program runs as the service's user and in its sandbox, without its
//! capabilities: [`program::keep_privileges`]. Without the key nothing of this is there, and no
//! event is made for it.

use super::shell::Shell;
use crate::control;
use crate::gateway::event::{Event, EventKind};
use crate::gateway::journal::ENTRIES;
use crate::gateway::seam::Now;
use crate::io::program;
use crate::limits;
use smol::channel::{self, Receiver, Sender};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// What the programs are told, and how they do.
pub(super) struct Hooks {
    directory: PathBuf,
    send: Sender<(EventKind, String)>,
    receive: Receiver<(EventKind, String)>,
    programs: RefCell<Programs>,
    /// What is wrong with each file.
    failing: RefCell<HashMap<PathBuf, Failing>>,
    /// Complaints that nobody was told of yet.
    complaints: RefCell<Vec<Event>>,
    pub(super) run: Cell<u64>,
    pub(super) failed: Cell<u64>,
    pub(super) dropped: Cell<u64>,
}

/// Something wrong with a file.
struct Failing {
    why: String,
    /// Whether one sees it in the directory, so that it is gone when one sees it no more.
    is_seen: bool,
    /// When it was so last.
    at: Duration,
    /// When it was complained of last.
    told: Duration,
}

/// The directory as it was.
#[derive(Default)]
struct Programs {
    /// When it was looked at; never, if nothing.
    looked: Option<Duration>,
    files: Vec<(PathBuf, Option<EventKind>)>,
}

impl Hooks {
    pub(super) fn new(directory: &Path) -> Self {
        let (send, receive) = channel::bounded(limits::HOOK_EVENTS);
        Self {
            directory: directory.to_owned(),
            send,
            receive,
            programs: RefCell::default(),
            failing: RefCell::default(),
            complaints: RefCell::default(),
            run: Cell::default(),
            failed: Cell::default(),
            dropped: Cell::default(),
        }
    }

    /// What is wrong with programs of late, the latest first.
    pub(super) fn failing(&self, now: Now) -> Vec<String> {
        let failing = self.failing.borrow();
        let recent = |it: &&Failing| now.uptime < it.at + limits::HOOK_MEMORY;
        let mut failing: Vec<_> = failing.values().filter(recent).collect();
        failing.sort_by_key(|it| std::cmp::Reverse(it.at));
        failing.into_iter().map(|it| it.why.clone()).collect()
    }

    /// Those that want to be told of an event, by the directory as it was a moment ago.
    fn wanting(&self, kind: EventKind, now: Duration) -> Vec<PathBuf> {
        let mut programs = self.programs.borrow_mut();
        if programs.looked.is_none_or(|looked| now >= looked + limits::HOOK_LOOK) {
            programs.looked = Some(now);
            programs.files = self.look(now);
        }
        let wanting = programs.files.iter().filter(|(_, only)| only.is_none_or(|it| it == kind));
        wanting.map(|(path, _)| path.clone()).collect()
    }

    fn look(&self, now: Duration) -> Vec<(PathBuf, Option<EventKind>)> {
        let files = self.files(now);
        // What was seen there and is not now, and what went.
        self.failing.borrow_mut().retain(|path, it| match it.is_seen {
            true => it.at == now,
            false => *path == self.directory || files.iter().any(|(file, _)| file == path),
        });
        files
    }

    fn files(&self, now: Duration) -> Vec<(PathBuf, Option<EventKind>)> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) => {
                let why = format!("cannot be read: {}", crate::io::plain(&error));
                self.complain(&self.directory, &why, true, now);
                return Vec::new();
            }
        };
        let mut files = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
            let Ok(file) = fs::metadata(&path) else { continue };
            if super::calls::is_left_over(&path) || !file.is_file() || file.mode() & 0o111 == 0 {
                continue;
            }
            if file.mode() & 0o022 != 0 {
                self.complain(
                    &path,
                    "is not run: others than its owner can write to it",
                    true,
                    now,
                );
                continue;
            }
            if file.uid() != 0 && file.uid() != nix::unistd::geteuid().as_raw() {
                let why = "is not run: it belongs neither to root nor to us";
                self.complain(&path, why, true, now);
                continue;
            }
            let kind = name.rsplit_once('.').and_then(|(_, end)| {
                ENTRIES.iter().map(|entry| entry.kind).find(|kind| kind.name() == end)
            });
            files.push((path, kind));
        }
        files.sort();
        files
    }

    /// Notes what is wrong with a file. It is told of once a minute at most.
    fn complain(&self, path: &Path, why: &str, is_seen: bool, now: Duration) {
        let why = format!("{} {why}", path.display());
        let mut failing = self.failing.borrow_mut();
        failing.retain(|_, it| now < it.at + limits::HOOK_MEMORY);
        let before = failing.get(path).map(|it| it.told);
        let told = before.filter(|told| now < *told + limits::LOG_WINDOW);
        if told.is_none() {
            self.complaints.borrow_mut().push(Event::new(EventKind::HookFailed, &*why));
        }
        let told = told.unwrap_or(now);
        failing.insert(path.to_owned(), Failing { why, is_seen, at: now, told });
    }
}

impl Shell {
    /// Has the programs told of an event, if there are any. Of their own failures they are not.
    pub(super) fn tell_hooks(&self, event: &Event) {
        let Some(hooks) = self.hooks.as_ref().filter(|_| event.kind != EventKind::HookFailed)
        else {
            return;
        };
        let now = self.clock.now();
        let wanting = hooks.wanting(event.kind, now.uptime);
        if !wanting.is_empty() {
            self.queue_for_hooks(hooks, event, now);
        }
        self.tell_complaints(hooks);
    }

    fn queue_for_hooks(&self, hooks: &Hooks, event: &Event, now: Now) {
        let line = format!("{}\n", control::event_line(event, now));
        if hooks.send.try_send((event.kind, line)).is_err() {
            hooks.dropped.set(hooks.dropped.get() + 1);
            let why = match hooks.dropped.get() {
                1 => "works too slowly: 1 event was left out".to_owned(),
                number => format!("works too slowly: {number} events were left out"),
            };
            hooks.complain(&hooks.directory, &why, false, now.uptime);
        }
    }

    fn tell_complaints(&self, hooks: &Hooks) {
        for event in hooks.complaints.take() {
            self.tell(&event);
        }
    }

    /// Runs the programs, for ever.
    pub(super) async fn hooks(self: Rc<Self>) {
        let Some(hooks) = &self.hooks else { return };
        while let Ok((kind, line)) = hooks.receive.recv().await {
            for path in hooks.wanting(kind, self.clock.now().uptime) {
                let variable = ("GW_EVENT", kind.name());
                let result = program::run(&path, variable, &line, limits::HOOK_TIME).await;
                hooks.run.set(hooks.run.get() + 1);
                match result {
                    Ok(()) => drop(hooks.failing.borrow_mut().remove(&path)),
                    Err(why) => {
                        hooks.failed.set(hooks.failed.get() + 1);
                        hooks.complain(&path, &why, false, self.clock.now().uptime);
                    }
                }
            }
            self.tell_complaints(hooks);
        }
    }
}
