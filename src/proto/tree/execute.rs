//! One command on the tree. (OMA-TS-DM_RepPro 1.2.1, 6.6 and 10; OMA-TS-DM_TND 1.2.1, 7 and 9.)

use super::acl::{Acl, Rights};
use super::description::{INBOX_TYPE, RuleId};
use super::node::{Facts, NodeId};
use super::property::Format;
use super::provider::{Provider, Value};
use super::transaction::Transaction;
use super::uri::{Query, Uri, split};
use super::value::{document, facts};
use super::{Place, Tree};
use crate::proto::syncml::{Data, Encoding, Item, Location, Operation, StatusCode, Verb};
use crate::proto::tnds;

/// One item of a command.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The command.
    pub verb: Verb,
    /// Target LocURI.
    pub uri: &'a str,
    /// Source LocURI (Copy).
    pub source: Option<&'a str>,
    /// Meta Type.
    pub kind: Option<&'a str>,
    /// Meta Format.
    pub format: Option<&'a str>,
    /// Data.
    pub data: Option<&'a Data<'a>>,
}

impl<'a> Request<'a> {
    /// The request of one item; what its Meta does not say, the command's does.
    pub fn of_item(operation: &'a Operation<'a>, item: &'a Item<'a>) -> Self {
        let uri = |location: &'a Option<Location<'a>>| location.as_ref().map(|it| &*it.uri);
        Self {
            verb: operation.verb,
            uri: uri(&item.target).unwrap_or_default(),
            source: uri(&item.source),
            kind: item.meta.kind.as_deref().or(operation.meta.kind.as_deref()),
            format: item.meta.format.as_deref().or(operation.meta.format.as_deref()),
            data: item.data.as_ref(),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// An authenticated DM server, by its ServerID.
    Server(&'a str),
    /// The gateway: a bootstrap, an operator. ACLs do not bind it, and of AccessType only that
    /// secrets are not read.
    Gateway,
}

/// Who asks, when, and how the answer is written.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Who.
    pub subject: Subject<'a>,
    /// When, in seconds since 1970; 0 if the clock is not to be trusted.
    pub now: u64,
    /// The encoding of the session: that of serialised trees in answers.
    pub encoding: Encoding,
}

/// What became of a command.
#[derive(Clone, Default)]
pub struct Outcome {
    /// The Status.
    pub status: StatusCode,
    /// The items of the Results (Get), each with its Source.
    pub items: Vec<Item<'static>>,
    /// What was added to the Inbox, for the gateway to put where it belongs. The status is 200
    /// unless it cannot do so.
    pub delivery: Option<Delivery>,
}

/// What was added to the Inbox.
#[derive(Clone)]
pub struct Delivery {
    /// The path that it was added to, without `./`: the Inbox or below.
    pub path: String,
    /// What it is.
    pub content: DeliveryContent,
}

/// The content of a [`Delivery`].
#[derive(Clone)]
pub enum DeliveryContent {
    /// A serialised tree.
    Tree(tnds::Document),
    /// Something else.
    Value(Value<'static>),
}

impl Tree {
    /// Executes one item of a command. A command that is refused leaves tree and transaction as
    /// they were.
    pub fn execute(
        &mut self,
        request: &Request<'_>,
        caller: &Caller<'_>,
        provider: &mut dyn Provider,
        transaction: &mut Transaction,
    ) -> Outcome {
        let mark = transaction.mark();
        let mut command = Command { tree: self, caller, provider: &mut *provider, transaction };
        match command.run(request) {
            Ok(outcome) => outcome,
            Err(status) => {
                self.undo_to(transaction, mark, provider);
                Outcome { status, ..Outcome::default() }
            }
        }
    }
}

pub(super) type Done<T> = Result<T, StatusCode>;

/// One command under way.
pub(super) struct Command<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) caller: &'a Caller<'a>,
    pub(super) provider: &'a mut dyn Provider,
    pub(super) transaction: &'a mut Transaction,
}

pub(super) fn ok() -> Outcome {
    Outcome { status: StatusCode::OK, ..Outcome::default() }
}

impl Command<'_> {
    fn run(&mut self, request: &Request<'_>) -> Done<Outcome> {
        let uri = Uri::parse(request.uri)?;
        match (request.verb, uri.query) {
            (Verb::Get, None) => self.get(uri.path),
            (Verb::Get, Some(Query::Property(property))) => self.get_property(uri.path, property),
            (Verb::Get, Some(query)) => self.list(uri.path, query),
            (Verb::Replace, Some(Query::Property(property))) => {
                self.replace_property(uri.path, property, request.data)
            }
            (_, Some(_)) => Err(StatusCode::NOT_ALLOWED),
            (Verb::Add, None) => self.add(uri.path, request),
            (Verb::Replace, None) => self.replace(uri.path, request),
            (Verb::Delete, None) => self.delete(uri.path),
            (Verb::Copy, None) => self.copy(uri.path, request.source),
            (Verb::Exec, None) => self.exec(uri.path, request.data),
        }
    }

    // --- Rights --------------------------------------------------------------------------------

    /// Whether the ACL in force at a node gives the caller a right.
    pub(super) fn may(&self, id: NodeId, rights: Rights) -> bool {
        match self.caller.subject {
            Subject::Gateway => true,
            Subject::Server(server) => self.tree.acl(id).allows(server, rights),
        }
    }

    /// # Errors
    /// 425.
    pub(super) fn need(&self, id: NodeId, rights: Rights) -> Done<()> {
        if self.may(id, rights) { Ok(()) } else { Err(StatusCode::PERMISSION_DENIED) }
    }

    /// Whether a description allows a command at all. Secrets stay secret for the gateway too.
    pub(super) fn is_possible(&self, rule: RuleId, right: Rights) -> bool {
        let is_free = self.caller.subject == Subject::Gateway && right != Rights::GET;
        is_free || self.tree.access(rule).contains(right)
    }

    /// # Errors
    /// 405.
    pub(super) fn need_possible(&self, rule: RuleId, right: Rights) -> Done<()> {
        if self.is_possible(rule, right) { Ok(()) } else { Err(StatusCode::NOT_ALLOWED) }
    }

    // --- Add -----------------------------------------------------------------------------------

    fn add(&mut self, path: &str, request: &Request<'_>) -> Done<Outcome> {
        if let Some(outcome) = self.deliver(path, request)? {
            return Ok(outcome);
        }
        if let Some(document) = document(request)? {
            self.graft_new(path, &document)?;
            return Ok(ok());
        }
        match self.tree.place(path) {
            Place::Node(_) => Err(StatusCode::ALREADY_EXISTS),
            Place::Served { at, mount, path } => {
                if self.provider.node(mount, path).is_some() {
                    return Err(StatusCode::ALREADY_EXISTS);
                }
                let rule = self.rule_of_new(at, path)?;
                self.need(at, Rights::ADD)?;
                let value = self.value(request, rule, None)?;
                self.provider.add(mount, path, &value)?;
                self.transaction.served(mount, path, None);
                Ok(ok())
            }
            Place::Missing { above, rest } => {
                self.need_room(above, rest)?;
                let rule = self.rule_of_new(above, rest)?;
                self.need(above, Rights::ADD)?;
                let (parents, name) = split(rest);
                let parent = self.make_way(above, parents)?;
                let value = self.value(request, rule, None)?;
                self.create(parent, name, facts(value))?;
                Ok(ok())
            }
        }
    }

    /// # Errors
    /// 405 if the node is a leaf, or lets nothing be added below by its description.
    pub(super) fn need_room(&self, above: NodeId, rest: &str) -> Done<()> {
        let node = self.tree.node(above);
        if !node.facts.is_interior() {
            return Err(StatusCode::NOT_ALLOWED);
        }
        // Below what a description leaves open, its own AccessType decides.
        let first = rest.split('/').next().unwrap_or_default();
        if self.tree.rules.of_child(node.rule, first) == Some(RuleId::FREE) {
            self.need_possible(node.rule, Rights::ADD)?;
        }
        Ok(())
    }

    /// The rule of a node at a path below another, whether it is there or not.
    ///
    /// # Errors
    /// 405 if the description does not have it.
    pub(super) fn rule_below(&self, above: NodeId, rest: &str) -> Done<RuleId> {
        let rules = &self.tree.rules;
        let above = self.tree.node(above).rule;
        let below = |rule, segment| rules.of_child(rule, segment);
        rest.split('/').try_fold(above, below).ok_or(StatusCode::NOT_ALLOWED)
    }

    fn is_permanent(&self, rule: RuleId) -> bool {
        self.tree.rules.rule(rule).is_some_and(|rule| rule.is_permanent)
    }

    /// The rule of a new node at a path below another.
    ///
    /// # Errors
    /// 405 if the description does not have it, has it as permanent, or has it without Add.
    pub(super) fn rule_of_new(&self, above: NodeId, rest: &str) -> Done<RuleId> {
        let rule = self.rule_below(above, rest)?;
        self.need_possible(rule, Rights::ADD)?;
        if self.is_permanent(rule) && self.caller.subject != Subject::Gateway {
            return Err(StatusCode::NOT_ALLOWED);
        }
        Ok(rule)
    }

    /// Creates interior nodes on the way to a new node.
    pub(super) fn make_way(&mut self, above: NodeId, path: &str) -> Done<NodeId> {
        let mut parent = above;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let rule = self.rule_of_new(parent, segment)?;
            if self.tree.rules.rule(rule).is_some_and(|rule| !rule.is_interior()) {
                return Err(StatusCode::NOT_ALLOWED);
            }
            parent = self.create(parent, segment, Facts::interior())?;
        }
        Ok(parent)
    }

    /// Creates one node. A server that may not replace the parent gets rights to an interior node
    /// of its own. (TND 1.2.1, 7.7.1.)
    pub(super) fn create(&mut self, parent: NodeId, name: &str, mut facts: Facts) -> Done<NodeId> {
        if facts.is_interior() {
            if let Subject::Server(server) = self.caller.subject {
                if !self.may(parent, Rights::REPLACE) {
                    const OWN: Rights = Rights::ADD.with(Rights::DELETE).with(Rights::REPLACE);
                    facts.acl = Some(Box::new(Acl::of_server(server, OWN)));
                }
            }
        }
        if facts.is_interior() && facts.kind.is_none() {
            let rule = self.tree.rules.of_child(self.tree.node(parent).rule, name);
            let kind = rule.and_then(|rule| self.tree.rules.rule(rule)).map(|rule| &*rule.kind);
            facts.kind = kind.filter(|kind| !kind.is_empty()).map(Into::into);
        }
        self.tree.add(parent, name, facts, self.caller.now, self.transaction)
    }

    /// Takes what is added to the Inbox, or below it.
    fn deliver(&self, path: &str, request: &Request<'_>) -> Done<Option<Outcome>> {
        let id = match self.tree.place(path) {
            Place::Node(id) | Place::Missing { above: id, .. } => id,
            Place::Served { .. } => return Ok(None),
        };
        let node = self.tree.node(id);
        if node.facts.kind.as_deref() != Some(INBOX_TYPE) {
            return Ok(None);
        }
        self.need(id, Rights::ADD)?;
        let content = match document(request)? {
            Some(document) => DeliveryContent::Tree(document),
            None => DeliveryContent::Value(self.value(request, RuleId::FREE, None)?.into_owned()),
        };
        let delivery = Some(Delivery { path: path.to_owned(), content });
        Ok(Some(Outcome { delivery, ..ok() }))
    }

    // --- Replace -------------------------------------------------------------------------------

    fn replace(&mut self, path: &str, request: &Request<'_>) -> Done<Outcome> {
        match self.tree.place(path) {
            Place::Missing { .. } => Err(StatusCode::NOT_FOUND),
            Place::Served { at, mount, path } => {
                let before = self.provider.node(mount, path).ok_or(StatusCode::NOT_FOUND)?;
                let before = before.into_owned();
                let rule = self.rule_below(at, path)?;
                self.need_possible(rule, Rights::REPLACE)?;
                if before.format == Format::Node {
                    return Err(StatusCode::NOT_ALLOWED);
                }
                self.need(at, Rights::REPLACE)?;
                let value = self.value(request, rule, Some(before.format))?;
                self.provider.replace(mount, path, &value)?;
                self.transaction.served(mount, path, Some(before));
                Ok(ok())
            }
            Place::Node(id) => {
                let node = self.tree.node(id);
                self.need_possible(node.rule, Rights::REPLACE)?;
                if let Some(document) = document(request)? {
                    self.need(id, Rights::REPLACE)?;
                    self.graft_over(id, path, &document)?;
                    return Ok(ok());
                }
                if node.facts.is_interior() {
                    return Err(StatusCode::NOT_ALLOWED);
                }
                self.need(id, Rights::REPLACE)?;
                let value = self.value(request, node.rule, Some(node.facts.format))?;
                self.set_value(id, value)?;
                Ok(ok())
            }
        }
    }

    fn set_value(&mut self, id: NodeId, value: Value<'_>) -> Done<()> {
        let new = facts(value);
        let old = &self.tree.node(id).facts;
        if new.is_interior() != old.is_interior() {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let mut new = Facts {
            acl: old.acl.clone(),
            title: old.title.clone(),
            kind: new.kind.or_else(|| old.kind.clone()),
            version: old.version,
            ..new
        };
        new.touch(self.caller.now);
        self.tree.change(id, new, self.transaction)
    }

    // --- Delete, Copy, Exec --------------------------------------------------------------------

    fn delete(&mut self, path: &str) -> Done<Outcome> {
        match self.tree.place(path) {
            Place::Missing { .. } => Err(StatusCode::NOT_FOUND),
            Place::Served { at, mount, path } => {
                self.provider.node(mount, path).ok_or(StatusCode::NOT_FOUND)?;
                let rule = self.rule_below(at, path)?;
                if self.is_permanent(rule) {
                    return Err(StatusCode::NOT_ALLOWED);
                }
                self.need_possible(rule, Rights::DELETE)?;
                self.need(at, Rights::DELETE)?;
                let before = self.served_below(mount, path)?;
                self.provider.delete(mount, path)?;
                // Undone in the reverse order: what is above comes back first.
                for (path, value) in before.into_iter().rev() {
                    self.transaction.served(mount, &path, Some(value));
                }
                Ok(ok())
            }
            Place::Node(id) => {
                let node = self.tree.node(id);
                if node.is_permanent || id == NodeId::ROOT || node.mount.is_some() {
                    return Err(StatusCode::NOT_ALLOWED);
                }
                self.need_possible(node.rule, Rights::DELETE)?;
                self.need(id, Rights::DELETE)?;
                self.tree.take_off(id, self.transaction);
                Ok(ok())
            }
        }
    }

    fn copy(&mut self, path: &str, source: Option<&str>) -> Done<Outcome> {
        let source = Uri::parse(source.ok_or(StatusCode::INCOMPLETE_COMMAND)?)?;
        if source.query.is_some() {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let value = self.readable(source.path)?.into_owned();
        if value.format == Format::Node {
            return Err(StatusCode::FORBIDDEN);
        }
        let data = Data::Binary(value.octets);
        let request = Request {
            verb: Verb::Copy,
            uri: path,
            source: None,
            kind: value.kind.as_deref(),
            format: Some(value.format.name()),
            data: Some(&data),
        };
        let exists = match self.tree.place(path) {
            Place::Node(id) if self.tree.node(id).facts.is_interior() => {
                return Err(StatusCode::FORBIDDEN);
            }
            Place::Node(_) => true,
            Place::Served { mount, path, .. } => self.provider.node(mount, path).is_some(),
            Place::Missing { .. } => false,
        };
        if exists { self.replace(path, &request) } else { self.add(path, &request) }
    }

    fn exec(&mut self, path: &str, data: Option<&Data<'_>>) -> Done<Outcome> {
        match self.tree.place(path) {
            Place::Missing { .. } => Err(StatusCode::NOT_FOUND),
            // Nothing in the tree itself does anything.
            Place::Node(_) => Err(StatusCode::NOT_ALLOWED),
            Place::Served { at, mount, path } => {
                self.provider.node(mount, path).ok_or(StatusCode::NOT_FOUND)?;
                let rule = self.rule_below(at, path)?;
                if !self.tree.access(rule).contains(Rights::EXEC) {
                    return Err(StatusCode::NOT_ALLOWED);
                }
                self.need(at, Rights::EXEC)?;
                let status = self.provider.exec(mount, path, data)?;
                Ok(Outcome { status, ..Outcome::default() })
            }
        }
    }
}
