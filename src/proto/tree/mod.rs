//! The management tree: nodes, who may do what to them, and one command at a time.
//!
//! (OMA-TS-DM_TND 1.2.1; OMA-TS-DM_RepPro 1.2.1, 6; OMA-TS-DM-TNDS 1.2.)
//!
//! ```text
//!            Request, Caller ──► Tree::execute ──► Outcome: status, items
//!                                    │    │
//!   descriptions (DDF): what is      │    └─► Provider: subtrees of live state
//!   possible at all                  ▼
//!                               Transaction ──► changes for the store, or undone
//! ```
//!
//! Two things must allow a command: the AccessType of the node's description, for all (405), and
//! the ACL, for the server that asks (425). The order in which a command is judged is the order
//! of certainty: the URI (400, 414, 406), the node (404, 418), its description (405, 415), the
//! ACL (425), the value (400, 413), room (420).
//!
//! A command that is refused leaves nothing behind. One that is done stands in the
//! [`Transaction`], which can be undone as a whole or back to a mark, as Atomic wants it, until
//! it is [kept](Tree::keep).
//!
//! The tree is a plain value: no clock (the time is an argument), no store (changes are octets
//! under URIs), no lock. Nodes stand in one vector and find their children by binary search over
//! names, so that nothing is allocated on the way to a node.

mod acl;
mod amend;
mod description;
mod execute;
mod graft;
mod node;
mod property;
mod provider;
mod read;
mod transaction;
pub mod uri;
mod value;

pub use acl::{Acl, Rights};
pub use description::{
    DEV_DETAIL, DEV_INFO, DM_ACC, GW_CONFIG, GW_DEVICE_INVENTORY, GW_STATUS, INBOX,
};
pub use execute::{Caller, Delivery, DeliveryContent, Outcome, Request, Subject};
pub use node::{Facts, Mount};
pub use property::{Format, Properties, Property};
pub use provider::{NoProvider, Provider, Value};
pub use read::timestamp;
pub use transaction::{Change, Mark, Transaction};

use crate::limits;
use crate::proto::syncml::StatusCode;
use crate::proto::wire::{DecodeError, DecodeErrorKind};
use description::{Rule, RuleId, Rules};
use node::{Node, NodeId};

/// A management tree.
pub struct Tree {
    nodes: Vec<Node>,
    /// Places in `nodes` that are free again.
    free: Vec<NodeId>,
    rules: Rules,
    /// Nodes in the tree, those taken off in an open transaction left out.
    count: usize,
    /// Octets of what they hold, in memory.
    octets: usize,
}

/// Where a path leads.
enum Place<'u> {
    /// To a node of the tree.
    Node(NodeId),
    /// Below a mount point; only its provider knows whether something is there.
    Served {
        /// The mount point.
        at: NodeId,
        /// Who serves it.
        mount: Mount,
        /// The path below the mount point.
        path: &'u str,
    },
    /// To nothing: the deepest node on the way, and what is missing below it.
    Missing {
        /// The deepest node that is there.
        above: NodeId,
        /// The path below it.
        rest: &'u str,
    },
}

impl Tree {
    /// A tree of these descriptions, with the permanent nodes that they demand. The ACL of the
    /// root is the factory's, `Add=*&Get=*`.
    ///
    /// # Errors
    /// One of them is not a description.
    pub fn new(descriptions: &[&str]) -> Result<Self, DecodeError> {
        let root = Node {
            name: Box::default(),
            parent: NodeId::ROOT,
            children: Vec::new(),
            rule: RuleId::ROOT,
            is_permanent: true,
            mount: None,
            facts: Facts { acl: Some(Box::new(Acl::factory())), ..Facts::interior() },
        };
        let mut tree =
            Self { nodes: vec![root], free: Vec::new(), rules: Rules::new(), count: 1, octets: 0 };
        for description in descriptions {
            tree.describe(description)?;
        }
        Ok(tree)
    }

    /// Adds one more description, as [`Tree::new`] does.
    ///
    /// # Errors
    /// It is not a description.
    pub fn describe(&mut self, description: &str) -> Result<(), DecodeError> {
        for rule in self.rules.add(description)? {
            self.plant(NodeId::ROOT, rule);
        }
        Ok(())
    }

    /// Lets a provider serve all below an interior node. The permanent nodes that its description
    /// put there are the provider's from now on; so this comes before [`Tree::restore`].
    ///
    /// # Errors
    /// 404 if the node is not there, 405 if it is a leaf.
    pub fn mount(&mut self, uri: &str, mount: Mount) -> Result<(), StatusCode> {
        let id = self.find(uri::Uri::parse(uri)?.path).ok_or(StatusCode::NOT_FOUND)?;
        if !self.node(id).facts.is_interior() {
            return Err(StatusCode::NOT_ALLOWED);
        }
        for child in self.node(id).children.clone() {
            self.detach(child);
            self.release(child);
        }
        self.node_mut(id).mount = Some(mount);
        Ok(())
    }

    /// Puts a node back as the store kept it, with interior nodes above where some are missing.
    /// In the order of their keys, nodes come after those above them.
    ///
    /// # Errors
    /// The octets are not a record, the key is no URI, or there is no room.
    pub fn restore(&mut self, uri: &str, record: &[u8]) -> Result<(), DecodeError> {
        let facts = Facts::decode(record)?;
        let wrong = DecodeError { offset: 0, kind: DecodeErrorKind::Malformed("not a node's key") };
        let path = uri::Uri::parse(uri).map_err(|_| wrong)?.path;
        let mut id = NodeId::ROOT;
        if !path.is_empty() {
            for segment in path.split('/') {
                id = match self.child(id, segment) {
                    Some(child) => child,
                    None if self.node(id).mount.is_some() => return Err(wrong),
                    None => {
                        let rule = self.rules.of_child(self.node(id).rule, segment);
                        let rule = rule.unwrap_or(RuleId::FREE);
                        self.insert(id, segment, rule, Facts::interior()).map_err(|_| wrong)?
                    }
                };
            }
        }
        let has_children = !self.node(id).children.is_empty() || self.node(id).mount.is_some();
        if has_children && !facts.is_interior() || id == NodeId::ROOT && facts.acl.is_none() {
            return Err(wrong);
        }
        self.octets -= self.node(id).facts.octets();
        self.octets += facts.octets();
        self.node_mut(id).facts = facts;
        Ok(())
    }

    /// What is known of a node of the tree, for the gateway itself: no right is asked for. `None`
    /// if it is not there, or served by a provider.
    pub fn facts(&self, uri: &str) -> Option<&Facts> {
        let id = self.find(uri::Uri::parse(uri).ok()?.path)?;
        Some(&self.node(id).facts)
    }

    /// The value of a leaf as text, as [`Tree::facts`].
    pub fn text(&self, uri: &str) -> Option<&str> {
        std::str::from_utf8(&self.facts(uri)?.value).ok()
    }

    /// The names of the nodes below a node, in order; none if it is not there, or a provider's.
    pub fn children(&self, uri: &str) -> impl Iterator<Item = &str> {
        let id = uri::Uri::parse(uri).ok().and_then(|uri| self.find(uri.path));
        let children = id.map_or(&[][..], |id| &self.node(id).children);
        children.iter().map(|child| &*self.node(*child).name)
    }

    /// Whether the value of a node may be read by anyone at all: false of secrets.
    pub fn is_readable(&self, uri: &str) -> bool {
        let Ok(uri) = uri::Uri::parse(uri) else {
            return false;
        };
        self.access(self.rule_at(uri.path)).contains(Rights::GET)
    }

    /// Whether the ACL of a node lets a server do all of `rights`. False if the node is not there.
    pub fn allows(&self, uri: &str, server: &str, rights: Rights) -> bool {
        let Ok(uri) = uri::Uri::parse(uri) else {
            return false;
        };
        match self.place(uri.path) {
            Place::Node(id) | Place::Served { at: id, .. } => self.acl(id).allows(server, rights),
            Place::Missing { .. } => false,
        }
    }

    /// How many nodes are in the tree.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.count == 1
    }

    /// Creates the permanent nodes of a rule.
    fn plant(&mut self, above: NodeId, rule: RuleId) {
        let Some(Rule { name, default, kind, is_permanent, is_required, children, .. }) =
            self.rules.rule(rule)
        else {
            return;
        };
        if !is_permanent || !is_required || name.is_empty() {
            return;
        }
        let is_interior = self.rules.rule(rule).is_some_and(Rule::is_interior);
        let format = self.rules.rule(rule).and_then(|rule| rule.formats.first().copied());
        let facts = Facts {
            format: format.unwrap_or_default(),
            kind: Some(kind).filter(|kind| is_interior && !kind.is_empty()).map(|it| (**it).into()),
            value: if is_interior { Box::default() } else { default.as_bytes().into() },
            ..Facts::default()
        };
        let (name, children) = (name.clone(), children.clone());
        let id = match self.child(above, &name) {
            Some(id) => id,
            None => match self.insert(above, &name, rule, facts) {
                Ok(id) => id,
                // Descriptions are ours; a tree that is full of them would fail every test.
                Err(_) => return,
            },
        };
        for child in children {
            self.plant(id, child);
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn child(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        let children = &self.node(parent).children;
        let index = children.binary_search_by(|child| (*self.node(*child).name).cmp(name)).ok()?;
        children.get(index).copied()
    }

    /// The node at a path of the tree.
    fn find(&self, path: &str) -> Option<NodeId> {
        match self.place(path) {
            Place::Node(id) => Some(id),
            _ => None,
        }
    }

    fn place<'u>(&self, path: &'u str) -> Place<'u> {
        let mut id = NodeId::ROOT;
        let mut rest = path;
        while !rest.is_empty() {
            if let Some(mount) = self.node(id).mount {
                return Place::Served { at: id, mount, path: rest };
            }
            let (segment, below) = rest.split_once('/').unwrap_or((rest, ""));
            match self.child(id, segment) {
                Some(child) => (id, rest) = (child, below),
                None => return Place::Missing { above: id, rest },
            }
        }
        Place::Node(id)
    }

    /// The path of a node, without `./`.
    fn path(&self, mut id: NodeId) -> String {
        let mut names = Vec::new();
        while id != NodeId::ROOT {
            names.push(&*self.node(id).name);
            id = self.node(id).parent;
        }
        names.reverse();
        names.join("/")
    }

    /// The ACL in force at a node: its own, or that of the nearest node above that has one.
    fn acl(&self, mut id: NodeId) -> &Acl {
        loop {
            let node = self.node(id);
            match &node.facts.acl {
                Some(acl) => return acl,
                None if id == NodeId::ROOT => return &FACTORY,
                None => id = node.parent,
            }
        }
    }

    /// The rule for a path, whether something is there or not.
    fn rule_at(&self, path: &str) -> RuleId {
        let below = |mut rule: RuleId, path: &str| {
            for segment in path.split('/').filter(|segment| !segment.is_empty()) {
                rule = self.rules.of_child(rule, segment).unwrap_or(RuleId::FREE);
            }
            rule
        };
        match self.place(path) {
            Place::Node(id) => self.node(id).rule,
            Place::Served { at, path, .. } => below(self.node(at).rule, path),
            Place::Missing { above, rest } => below(self.node(above).rule, rest),
        }
    }

    /// The AccessType of a rule.
    fn access(&self, rule: RuleId) -> Rights {
        const ALL: Rights =
            Rights::ADD.with(Rights::DELETE).with(Rights::GET).with(Rights::REPLACE);
        self.rules.rule(rule).map_or(ALL, |rule| rule.access)
    }

    /// Puts a new node below another.
    ///
    /// # Errors
    /// 420 if there is no room.
    fn insert(
        &mut self,
        parent: NodeId,
        name: &str,
        rule: RuleId,
        facts: Facts,
    ) -> Result<NodeId, StatusCode> {
        let octets = name.len() + facts.octets();
        if self.count >= limits::TREE_NODES
            || self.node(parent).children.len() >= limits::TREE_CHILDREN
            || self.octets + octets > limits::TREE_OCTETS
        {
            return Err(StatusCode::DEVICE_FULL);
        }
        let is_permanent = self.rules.rule(rule).is_some_and(|rule| rule.is_permanent);
        let children = Vec::new();
        let name = name.into();
        let node = Node { name, parent, children, rule, is_permanent, mount: None, facts };
        let id = match self.free.pop() {
            Some(id) => {
                *self.node_mut(id) = node;
                id
            }
            None => {
                // `limits::TREE_NODES`, and as many in an open transaction, fit.
                self.nodes.push(node);
                NodeId((self.nodes.len() - 1) as u32)
            }
        };
        self.attach(id);
        Ok(id)
    }

    /// Puts a node with all below it where its `parent` and `name` say.
    fn attach(&mut self, id: NodeId) {
        let parent = self.node(id).parent;
        let name = &*self.node(id).name;
        let children = &self.node(parent).children;
        let index = children.partition_point(|child| *self.node(*child).name < *name);
        self.node_mut(parent).children.insert(index, id);
        let (count, octets) = self.weigh(id);
        self.count += count;
        self.octets += octets;
    }

    /// Takes a node with all below it off the tree; it stays in memory.
    fn detach(&mut self, id: NodeId) {
        let parent = self.node(id).parent;
        self.node_mut(parent).children.retain(|child| *child != id);
        let (count, octets) = self.weigh(id);
        self.count -= count;
        self.octets -= octets;
    }

    /// Gives the memory of a detached node back, and of all below it.
    fn release(&mut self, id: NodeId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let node = self.node_mut(id);
            open.append(&mut node.children);
            node.facts = Facts::default();
            node.name = Box::default();
            self.free.push(id);
        }
    }

    /// How many nodes there are from a node down, and the octets of what they hold.
    fn weigh(&self, id: NodeId) -> (usize, usize) {
        let (mut count, mut octets) = (0, 0);
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let node = self.node(id);
            count += 1;
            octets += node.name.len() + node.facts.octets();
            open.extend(&node.children);
        }
        (count, octets)
    }
}

/// The root always has an ACL; this stands in for it where types cannot say so.
static FACTORY: std::sync::LazyLock<Acl> = std::sync::LazyLock::new(Acl::factory);
