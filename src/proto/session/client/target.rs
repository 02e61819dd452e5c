//! What the commands of a DM server are carried out on.

use crate::proto::syncml::{Data, Item, Meta, StatusCode, Verb};

/// A management tree, as a session sees it.
pub trait Target {
    /// Carries out one item of a command.
    fn execute(&mut self, request: &Request<'_>) -> Outcome;
    /// An Atomic begins: what follows may have to be undone. Atomics do not nest.
    fn begin(&mut self);
    /// The Atomic is done.
    fn commit(&mut self);
    /// The Atomic failed: undoes everything since [`begin`](Self::begin). False if something
    /// could not be undone.
    fn rollback(&mut self) -> bool;
}

/// One item of a command: what to do, for whom.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The DM server that commands, by its id.
    pub server: &'a str,
    /// What to do.
    pub verb: Verb,
    /// The Target's LocURI, its query (`?prop=`, `?list=`) included.
    pub uri: &'a str,
    /// The Source's LocURI: where a Copy comes from.
    pub source: Option<&'a str>,
    /// Type and Format, the item's own before those of its command.
    pub meta: &'a Meta<'a>,
    /// The item's data; of a large object all of it.
    pub data: Option<&'a Data<'a>>,
    /// The Correlator of an Exec.
    pub correlator: Option<&'a str>,
}

/// What came of a [`Request`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The Status.
    pub code: StatusCode,
    /// What a Get found: each goes out in Results of its own, after the Status. An item without
    /// Source gets the URI of the request.
    pub items: Vec<Item<'static>>,
}

impl From<StatusCode> for Outcome {
    fn from(code: StatusCode) -> Self {
        Self { code, items: Vec::new() }
    }
}
