//! Serialised trees put into the tree, as a whole or not at all. (OMA-TS-DM-TNDS 1.2, 6.)
//!
//! Where the topmost node of a document goes, for a command on a target:
//!
//! | `Path` | Add, the target is there | Add, it is not | Replace |
//! |---|---|---|---|
//! | none | below the target | the target; below it if the names differ | the target |
//! | `./…` | at that path, not outside of the target | the same | the same |
//! | other | at that path below the target | the same | the same |

use super::Place;
use super::acl::{Acl, Rights};
use super::description::RuleId;
use super::execute::{Command, Done};
use super::node::{Facts, NodeId};
use super::property::Format;
use super::uri::{self, join, split};
use crate::limits;
use crate::proto::syncml::StatusCode;
use crate::proto::tnds::{Document, Node};

impl Command<'_> {
    /// Adds what a document holds.
    pub(super) fn graft_new(&mut self, target: &str, document: &Document) -> Done<()> {
        if document.nodes.is_empty() {
            return Err(StatusCode::BAD_REQUEST);
        }
        let exists = matches!(self.tree.place(target), Place::Node(_));
        for node in &document.nodes {
            let path = match (&node.path, node.name.as_deref()) {
                (Some(path), name) => at_path(target, path, name)?,
                (None, None) if exists => return Err(StatusCode::BAD_REQUEST),
                (None, None) => target.to_owned(),
                (None, Some(name)) if exists || split(target).1 != name => join(target, name),
                (None, Some(_)) => target.to_owned(),
            };
            self.graft_at(&path, node)?;
        }
        Ok(())
    }

    fn graft_at(&mut self, path: &str, node: &Node) -> Done<()> {
        uri::check(path)?;
        let (above, rest) = match self.tree.place(path) {
            Place::Node(_) => return Err(StatusCode::ALREADY_EXISTS),
            // Objects of providers are written leaf by leaf.
            Place::Served { .. } => return Err(StatusCode::NOT_ALLOWED),
            Place::Missing { above, rest } => (above, rest),
        };
        self.need_room(above, rest)?;
        self.rule_of_new(above, rest)?;
        self.need(above, Rights::ADD)?;
        let (parents, name) = split(rest);
        let parent = self.make_way(above, parents)?;
        let length = path.len() - name.len();
        self.grow(parent, name, node, length, path.split('/').count())
    }

    /// Replaces a node and all below it by what a document holds.
    pub(super) fn graft_over(&mut self, id: NodeId, target: &str, document: &Document) -> Done<()> {
        let [node] = &*document.nodes else {
            return Err(StatusCode::BAD_REQUEST);
        };
        let path = match (&node.path, node.name.as_deref()) {
            (Some(path), name) => at_path(target, path, name)?,
            (None, Some(name)) if name != split(target).1 => return Err(StatusCode::BAD_REQUEST),
            (None, _) => target.to_owned(),
        };
        let old = self.tree.node(id);
        let rule = old.rule;
        let is_interior = old.facts.is_interior();
        if path != target || is_interior != node.is_interior() {
            return Err(StatusCode::BAD_REQUEST);
        }
        let children = old.children.clone();
        if old.mount.is_some() || children.iter().any(|id| self.tree.node(*id).is_permanent) {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let mut facts = self.facts(node, rule)?;
        match &node.properties.acl {
            Some(_) => self.need_acl_right(id)?,
            None => facts.acl = old.facts.acl.clone(),
        }
        if id == NodeId::ROOT && facts.acl.is_none() {
            return Err(StatusCode::NOT_ALLOWED);
        }
        facts.kind = facts.kind.or_else(|| old.facts.kind.clone());
        facts.version = old.facts.version;
        facts.touch(self.caller.now);
        for child in children {
            self.tree.take_off(child, self.transaction);
        }
        self.tree.change(id, facts, self.transaction)?;
        let depth = path.split('/').filter(|segment| !segment.is_empty()).count();
        for child in &node.children {
            let name = child.name.as_deref().ok_or(StatusCode::BAD_REQUEST)?;
            self.need_free(id, name)?;
            self.grow(id, name, child, path.len() + 1, depth + 1)?;
        }
        Ok(())
    }

    /// Creates a node of a document and all below it. `length` is that of the path up to the
    /// node's name.
    // The depth of documents is bounded, and so is the recursion.
    fn grow(
        &mut self,
        parent: NodeId,
        name: &str,
        node: &Node,
        length: usize,
        depth: usize,
    ) -> Done<()> {
        let length = length + name.len();
        if length > limits::TREE_URI || depth > limits::TREE_DEPTH {
            return Err(StatusCode::URI_TOO_LONG);
        }
        let rule = self.rule_of_new(parent, name)?;
        let facts = self.facts(node, rule)?;
        let acl = facts.acl.clone();
        let id = self.create(parent, name, facts)?;
        if acl.is_some() {
            // A list of the document's own counts, if its author may set it.
            self.need_acl_right(id)?;
            let mut facts = self.tree.node(id).facts.clone();
            facts.acl = acl;
            self.tree.change(id, facts, self.transaction)?;
        }
        for child in &node.children {
            let name = child.name.as_deref().ok_or(StatusCode::BAD_REQUEST)?;
            self.need_free(id, name)?;
            self.grow(id, name, child, length + 1, depth + 1)?;
        }
        Ok(())
    }

    /// # Errors
    /// 418 if a node of that name is there.
    fn need_free(&self, parent: NodeId, name: &str) -> Done<()> {
        match self.tree.child(parent, name) {
            Some(_) => Err(StatusCode::ALREADY_EXISTS),
            None => Ok(()),
        }
    }

    /// What a document says of a node. What is the client's to say (Name, Size, TStamp, VerNo) is
    /// not looked at.
    fn facts(&self, node: &Node, rule: RuleId) -> Done<Facts> {
        let properties = &node.properties;
        let allowed = self.tree.rules.rule(rule).map_or(&[][..], |rule| &rule.formats);
        let format = match properties.format {
            Some(format) => format,
            None if node.is_interior() && allowed.first().is_none_or(|it| *it == Format::Node) => {
                Format::Node
            }
            None => allowed.first().copied().unwrap_or_default(),
        };
        if !allowed.is_empty() && !allowed.contains(&format) {
            return Err(StatusCode::UNSUPPORTED_TYPE);
        }
        let value = node.value.as_deref().unwrap_or_default();
        format.check(value)?;
        let too_long =
            |text: &Option<String>, most| text.as_ref().is_some_and(|it| it.len() > most);
        if too_long(&properties.title, limits::TITLE)
            || too_long(&properties.kind, limits::NODE_TYPE)
        {
            return Err(StatusCode::TOO_LARGE);
        }
        Ok(Facts {
            acl: Acl::parse(properties.acl.as_deref().unwrap_or_default())?.map(Box::new),
            format,
            kind: properties.kind.as_deref().map(Into::into),
            title: properties.title.as_deref().map(Into::into),
            value: value.into(),
            ..Facts::default()
        })
    }
}

/// Where `Path` and `NodeName` put a node.
fn at_path(target: &str, path: &str, name: Option<&str>) -> Done<String> {
    let is_absolute = path == "." || path.starts_with("./");
    let below =
        path.strip_prefix('.').unwrap_or(path).trim_start_matches('/').trim_end_matches('/');
    let above = if is_absolute { below.to_owned() } else { join(target, below) };
    let path = join(&above, name.ok_or(StatusCode::BAD_REQUEST)?);
    let rest = path.strip_prefix(target);
    let is_inside =
        target.is_empty() || rest.is_some_and(|it| it.is_empty() || it.starts_with('/'));
    if is_inside { Ok(path) } else { Err(StatusCode::BAD_REQUEST) }
}
