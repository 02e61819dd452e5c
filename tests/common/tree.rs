//! The smallest tree that a session can command: leaves in a map.

#![allow(unreachable_pub, dead_code)]

use dm_gateway::proto::session::client::{Outcome, Request, Target};
use dm_gateway::proto::syncml::{Data, Item, Location, Meta, StatusCode, Verb};
use std::collections::BTreeMap;

type Leaves = BTreeMap<String, Data<'static>>;

/// Leaves by URI, and what was done to them.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub leaves: Leaves,
    /// What was carried out, in order: `Replace ./a`.
    pub done: Vec<String>,
    /// The leaves when an Atomic began.
    pub before: Option<Leaves>,
    /// Whether undoing fails.
    pub cannot_undo: bool,
}

impl Tree {
    pub fn of(leaves: &[(&str, &str)]) -> Self {
        let leaf =
            |(uri, text): &(&str, &str)| ((*uri).to_owned(), Data::Text((*text).to_owned().into()));
        Self { leaves: leaves.iter().map(leaf).collect(), ..Self::default() }
    }

    pub fn text(&self, uri: &str) -> Option<&str> {
        self.leaves.get(uri)?.text()
    }

    fn set(&mut self, uri: &str, request: &Request<'_>) {
        let data = match request.data {
            Some(Data::Binary(octets)) => Data::Binary(octets.to_vec().into()),
            Some(data) => Data::Text(data.text().unwrap_or_default().to_owned().into()),
            None => Data::Text("".into()),
        };
        self.leaves.insert(uri.to_owned(), data);
    }
}

impl Target for Tree {
    fn execute(&mut self, request: &Request<'_>) -> Outcome {
        let (verb, uri) = (request.verb, request.uri);
        let there = self.leaves.contains_key(uri);
        self.done.push(format!("{} {uri}", verb.name()));
        let code = match verb {
            _ if uri.starts_with("./Secret") => StatusCode(425),
            Verb::Get if there => {
                let source = Some(Location { uri: uri.to_owned().into(), name: None });
                let meta = Meta { format: Some("chr".into()), ..Meta::default() };
                let data = self.leaves.get(uri).cloned();
                let items = vec![Item { source, meta, data, ..Item::default() }];
                return Outcome { code: StatusCode::OK, items };
            }
            Verb::Add if there => StatusCode(418),
            Verb::Add => {
                self.set(uri, request);
                StatusCode::OK
            }
            Verb::Exec => StatusCode::ACCEPTED,
            Verb::Copy => match request.source.and_then(|source| self.leaves.get(source)) {
                Some(data) => {
                    let data = data.clone();
                    self.leaves.insert(uri.to_owned(), data);
                    StatusCode::OK
                }
                None => StatusCode::NOT_FOUND,
            },
            _ if !there => StatusCode::NOT_FOUND,
            Verb::Replace => {
                self.set(uri, request);
                StatusCode::OK
            }
            _ => {
                self.leaves.remove(uri);
                StatusCode::OK
            }
        };
        code.into()
    }

    fn begin(&mut self) {
        assert!(self.before.is_none(), "Atomics do not nest");
        self.before = Some(self.leaves.clone());
    }

    fn commit(&mut self) {
        assert!(self.before.take().is_some(), "an Atomic began");
    }

    fn rollback(&mut self) -> bool {
        let before = self.before.take().expect("an Atomic began");
        if !self.cannot_undo {
            self.leaves = before;
        }
        !self.cannot_undo
    }
}
