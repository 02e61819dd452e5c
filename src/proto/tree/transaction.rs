//! What was done to a tree, and how it is undone.

use super::acl::Acl;
use super::description::RuleId;
use super::node::{Facts, Mount, NodeId};
use super::property::Format;
use super::provider::{Provider, Value};
use super::uri::{Uri, join, split};
use super::{NoProvider, Place, Tree};
use crate::limits;
use crate::proto::syncml::StatusCode;
use std::collections::BTreeMap;

/// The steps done since [`Tree::begin`], in order.
///
/// It ends in [`Tree::keep`] or [`Tree::undo`]. One at a time may be open: the steps of two
/// cannot be undone out of their order.
#[derive(Default)]
#[must_use = "a transaction is kept or undone"]
pub struct Transaction {
    steps: Vec<Step>,
}

/// A place in a transaction to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// A node that the store has to write or to delete.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// Its URI, beginning with `./`, or `.` for the root: the key.
    pub uri: String,
    /// Its record before the transaction, `None` if it was not there.
    pub before: Option<Vec<u8>>,
    /// Its record now, `None` if it is not there any more.
    pub after: Option<Vec<u8>>,
}

enum Step {
    /// A node was added.
    Added(NodeId),
    /// A node was taken off with all below it, which stays as it was.
    Removed(NodeId),
    /// What is known of a node changed.
    Changed(NodeId, Box<Facts>),
    /// A node has another name; the records of all paths from there down, old and new, as before.
    Renamed(NodeId, Box<str>, Vec<(String, Option<Vec<u8>>)>),
    /// A provider did something.
    Served(Mount, Box<str>, Option<Value<'static>>),
}

impl Transaction {
    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Where the transaction stands.
    pub fn mark(&self) -> Mark {
        Mark(self.steps.len())
    }

    /// Whether something was done to a path (without `./`) of the tree, or at or below it.
    pub fn touches(&self, tree: &Tree, path: &str) -> bool {
        let below = |it: &str| {
            path.is_empty()
                || it.strip_prefix(path).is_some_and(|it| it.is_empty() || it.starts_with('/'))
        };
        self.before(tree).keys().any(|it| below(it))
    }

    /// What the store has to do, in the order of the keys, before the transaction is kept. Nodes
    /// of providers are not among it.
    pub fn changes(&self, tree: &Tree) -> Vec<Change> {
        let before = self.before(tree).into_iter().map(|(path, before)| {
            let after = tree.find(&path).map(|id| tree.node(id).facts.encode());
            let uri = if path.is_empty() { ".".to_owned() } else { ["./", &path].concat() };
            Change { uri, before, after }
        });
        before.filter(|change| change.before != change.after).collect()
    }

    /// The records from before the transaction, by path.
    fn before(&self, tree: &Tree) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut before = BTreeMap::new();
        // Walked back, so that the oldest record of a path is inserted last; on the way nodes
        // take the names that they had.
        let mut names = BTreeMap::new();
        for step in self.steps.iter().rev() {
            match step {
                Step::Added(id) => {
                    before.insert(tree.path_by(*id, &names), None);
                }
                Step::Changed(id, facts) => {
                    before.insert(tree.path_by(*id, &names), Some(facts.encode()));
                }
                Step::Removed(id) => {
                    let path = tree.path_by(*id, &names);
                    tree.records(*id, &path, &names, &mut |path, record| {
                        before.insert(path, Some(record));
                    });
                }
                Step::Renamed(id, name, records) => {
                    before.extend(records.iter().cloned());
                    names.insert(*id, &**name);
                }
                Step::Served(..) => {}
            }
        }
        before
    }
}

impl Tree {
    /// Starts a transaction.
    pub fn begin(&self) -> Transaction {
        Transaction::default()
    }

    /// Ends a transaction: what was done stays.
    pub fn keep(&mut self, transaction: Transaction) {
        for step in transaction.steps {
            if let Step::Removed(id) = step {
                self.release(id);
            }
        }
    }

    /// Ends a transaction: what was done is undone, the last first.
    pub fn undo(&mut self, mut transaction: Transaction, provider: &mut dyn Provider) {
        self.undo_to(&mut transaction, Mark(0), provider);
    }

    /// Undoes what was done since a mark.
    pub fn undo_to(
        &mut self,
        transaction: &mut Transaction,
        mark: Mark,
        provider: &mut dyn Provider,
    ) {
        while transaction.steps.len() > mark.0 {
            let Some(step) = transaction.steps.pop() else { break };
            match step {
                Step::Added(id) => {
                    self.detach(id);
                    self.release(id);
                }
                Step::Removed(id) => self.attach(id),
                Step::Changed(id, facts) => {
                    self.octets -= self.node(id).facts.octets();
                    self.octets += facts.octets();
                    self.node_mut(id).facts = *facts;
                }
                Step::Renamed(id, name, _) => {
                    self.detach(id);
                    self.node_mut(id).name = name;
                    self.attach(id);
                }
                Step::Served(mount, path, before) => provider.undo(mount, &path, before.as_ref()),
            }
        }
    }

    /// Takes a server that is gone out of every ACL. A command is not left without servers: a list
    /// that would be empty is removed, and the node inherits; at the root a command falls back to
    /// the factory's.
    pub fn forget_server(&mut self, server: &str, now: u64, transaction: &mut Transaction) {
        let mut open = vec![NodeId::ROOT];
        while let Some(id) = open.pop() {
            open.extend(&self.node(id).children);
            let Some(acl) = self.node(id).facts.acl.as_ref().filter(|acl| acl.names(server)) else {
                continue;
            };
            let mut facts = self.node(id).facts.clone();
            facts.acl = match id {
                NodeId::ROOT => Some(acl.root_without(server)),
                _ => acl.without(server),
            }
            .map(Box::new);
            facts.touch(now);
            // An ACL that lost something needs no room.
            let _ = self.change(id, facts, transaction);
        }
    }

    /// Writes a leaf for the gateway itself, with interior nodes above it where they are missing:
    /// no right is asked for, and permanent nodes may be written.
    ///
    /// # Errors
    /// The URI is not canonical, is a provider's, or leads to an interior node; the value is not
    /// of the format, or there is no room. Nothing has changed then.
    pub fn write(
        &mut self,
        uri: &str,
        format: Format,
        value: &[u8],
        now: u64,
        transaction: &mut Transaction,
    ) -> Result<(), StatusCode> {
        let path = Uri::parse(uri)?.path;
        format.check(value)?;
        if value.len() > limits::TREE_VALUE {
            return Err(StatusCode::TOO_LARGE);
        }
        match self.place(path) {
            Place::Node(id) => {
                let mut facts = self.node(id).facts.clone();
                if facts.is_interior() != (format == Format::Node) {
                    return Err(StatusCode::NOT_ALLOWED);
                }
                (facts.format, facts.value) = (format, value.into());
                facts.touch(now);
                self.change(id, facts, transaction)
            }
            Place::Served { .. } => Err(StatusCode::NOT_ALLOWED),
            Place::Missing { .. } => {
                let mark = transaction.mark();
                let facts = Facts { format, value: value.into(), ..Facts::default() };
                let done = self.create(path, facts, now, transaction);
                if done.is_err() {
                    self.undo_to(transaction, mark, &mut NoProvider);
                }
                done
            }
        }
    }

    fn create(
        &mut self,
        path: &str,
        facts: Facts,
        now: u64,
        transaction: &mut Transaction,
    ) -> Result<(), StatusCode> {
        let (above, name) = split(path);
        let mut parent = NodeId::ROOT;
        for segment in above.split('/').filter(|segment| !segment.is_empty()) {
            parent = match self.child(parent, segment) {
                Some(child) => child,
                None => self.add(parent, segment, Facts::interior(), now, transaction)?,
            };
        }
        self.add(parent, name, facts, now, transaction).map(drop)
    }

    /// Deletes a node for the gateway itself, with all below it: no right is asked for.
    ///
    /// # Errors
    /// It is not there, or permanent.
    pub fn remove(&mut self, uri: &str, transaction: &mut Transaction) -> Result<(), StatusCode> {
        let path = Uri::parse(uri)?.path;
        let id = self.find(path).ok_or(StatusCode::NOT_FOUND)?;
        if self.node(id).is_permanent {
            return Err(StatusCode::NOT_ALLOWED);
        }
        self.take_off(id, transaction);
        Ok(())
    }

    /// Sets an ACL for the gateway itself: no right is asked for. An empty text inherits.
    ///
    /// # Errors
    /// The node is not there, or the text is not an ACL.
    pub fn write_acl(
        &mut self,
        uri: &str,
        acl: &str,
        now: u64,
        transaction: &mut Transaction,
    ) -> Result<(), StatusCode> {
        let path = Uri::parse(uri)?.path;
        let id = self.find(path).ok_or(StatusCode::NOT_FOUND)?;
        self.set_acl(id, Acl::parse(acl)?, now, transaction)
    }

    /// Adds a node below another; the rule is the description's.
    ///
    /// # Errors
    /// 405 if the description does not have it or the parent is a leaf, 420 if there is no room.
    pub(super) fn add(
        &mut self,
        parent: NodeId,
        name: &str,
        facts: Facts,
        now: u64,
        transaction: &mut Transaction,
    ) -> Result<NodeId, StatusCode> {
        if !self.node(parent).facts.is_interior() || self.node(parent).mount.is_some() {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let rule = self.rules.of_child(self.node(parent).rule, name);
        let rule = rule.ok_or(StatusCode::NOT_ALLOWED)?;
        if self.is_crowded(parent, rule) {
            return Err(StatusCode::DEVICE_FULL);
        }
        let facts = Facts { changed: now, ..facts.normal() };
        let id = self.insert(parent, name, rule, facts)?;
        transaction.steps.push(Step::Added(id));
        Ok(id)
    }

    /// Whether a parent has as many children of a rule as it may.
    fn is_crowded(&self, parent: NodeId, rule: RuleId) -> bool {
        let Some(most) = self.rules.rule(rule).map(|rule| rule.most) else {
            return false;
        };
        let children = &self.node(parent).children;
        children.len() >= most
            && children.iter().filter(|child| self.node(**child).rule == rule).count() >= most
    }

    /// Changes what is known of a node.
    ///
    /// # Errors
    /// 420 if there is no room.
    pub(super) fn change(
        &mut self,
        id: NodeId,
        facts: Facts,
        transaction: &mut Transaction,
    ) -> Result<(), StatusCode> {
        let facts = facts.normal();
        let octets = self.octets - self.node(id).facts.octets() + facts.octets();
        if octets > limits::TREE_OCTETS && octets > self.octets {
            return Err(StatusCode::DEVICE_FULL);
        }
        self.octets = octets;
        let before = std::mem::replace(&mut self.node_mut(id).facts, facts);
        transaction.steps.push(Step::Changed(id, Box::new(before)));
        Ok(())
    }

    /// Sets the ACL of a node.
    ///
    /// # Errors
    /// 405 if the root were to have none, 420 if there is no room.
    pub(super) fn set_acl(
        &mut self,
        id: NodeId,
        acl: Option<Acl>,
        now: u64,
        transaction: &mut Transaction,
    ) -> Result<(), StatusCode> {
        if id == NodeId::ROOT && acl.is_none() {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let mut facts = self.node(id).facts.clone();
        facts.acl = acl.map(Box::new);
        facts.touch(now);
        self.change(id, facts, transaction)
    }

    /// Takes a node off, with all below it.
    pub(super) fn take_off(&mut self, id: NodeId, transaction: &mut Transaction) {
        self.detach(id);
        transaction.steps.push(Step::Removed(id));
    }

    /// Gives a node another name, which no sibling has.
    pub(super) fn rename(&mut self, id: NodeId, name: &str, transaction: &mut Transaction) {
        let old = self.path(id);
        let new = join(split(&old).0, name);
        let mut records = Vec::new();
        self.records(id, &new, &Names::new(), &mut |path, _| records.push((path, None)));
        self.records(id, &old, &Names::new(), &mut |path, record| {
            records.push((path, Some(record)))
        });
        self.detach(id);
        let before = std::mem::replace(&mut self.node_mut(id).name, name.into());
        self.attach(id);
        transaction.steps.push(Step::Renamed(id, before, records));
    }

    /// Hands the records of a node and of all below it to `each`, as if it stood at `path`.
    fn records(
        &self,
        id: NodeId,
        path: &str,
        names: &Names<'_>,
        each: &mut impl FnMut(String, Vec<u8>),
    ) {
        let mut open = vec![(id, path.to_owned())];
        while let Some((id, path)) = open.pop() {
            let below = self.node(id).children.iter();
            open.extend(below.map(|child| (*child, join(&path, self.name_by(*child, names)))));
            each(path, self.node(id).facts.encode());
        }
    }

    fn path_by(&self, mut id: NodeId, names: &Names<'_>) -> String {
        let mut path = Vec::new();
        while id != NodeId::ROOT {
            path.push(self.name_by(id, names));
            id = self.node(id).parent;
        }
        path.reverse();
        path.join("/")
    }

    fn name_by<'a>(&'a self, id: NodeId, names: &Names<'a>) -> &'a str {
        names.get(&id).copied().unwrap_or_else(|| &self.node(id).name)
    }
}

/// Names that nodes had before they were renamed.
type Names<'a> = BTreeMap<NodeId, &'a str>;

impl Transaction {
    /// Notes that a provider changed a node, and what it was.
    pub(super) fn served(&mut self, mount: Mount, path: &str, before: Option<Value<'static>>) {
        self.steps.push(Step::Served(mount, path.into(), before));
    }
}
