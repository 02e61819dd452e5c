//! What only the system knows, sampled for whoever asks how the gateway is.

use super::shell::Shell;
use crate::gateway::health::{Facts, Socket, SocketKind};
use crate::gateway::seam::Input;
use crate::io::facts;
use crate::io::state::Reset;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

/// What is looked at.
pub(super) struct Watched {
    state_dir: PathBuf,
    sockets: RefCell<Vec<Watch>>,
    /// Whether `[wan] interface` is there with a carrier.
    pub(super) wan_running: Cell<bool>,
}

/// One thing that the daemon listens on.
struct Watch {
    kind: SocketKind,
    lan: Option<String>,
    address: SocketAddr,
    open: Rc<Cell<bool>>,
}

impl Watched {
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, sockets: RefCell::default(), wan_running: Cell::new(false) }
    }

    /// Something that is to be listened on; the cell says whether it is open.
    pub(super) fn socket(
        &self,
        kind: SocketKind,
        lan: Option<String>,
        address: SocketAddr,
    ) -> Rc<Cell<bool>> {
        let open = Rc::new(Cell::new(false));
        self.sockets.borrow_mut().push(Watch { kind, lan, address, open: Rc::clone(&open) });
        open
    }
}

impl Shell {
    /// Tells the gateway what the system knows.
    pub(super) fn sample(&self) {
        self.handle(Input::Facts(self.facts()));
    }

    /// What the system knows.
    pub(super) fn facts(&self) -> Facts {
        let Watched { state_dir, sockets, wan_running } = &self.watched;
        let socket = |watch: &Watch| Socket {
            kind: watch.kind,
            lan: watch.lan.clone(),
            address: watch.address,
            open: watch.open.get(),
        };
        let io = self.io_counters();
        Facts {
            synchronised: facts::synchronised(),
            disk: facts::disk(state_dir).ok(),
            sockets: sockets.borrow().iter().map(socket).collect(),
            wan: self.wan_interface.clone().map(|name| (name, wan_running.get())),
            lost: io.pushes_dropped_by_kernel + io.pushes_unsent,
            reset_ordered: Reset::is_ordered(state_dir),
            hooks: self.hooks.as_ref().map_or_else(Vec::new, |it| it.failing(self.clock.now())),
        }
    }
}
