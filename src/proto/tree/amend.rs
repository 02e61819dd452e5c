//! The properties that a Replace may change: ACL, Name and Title.
//!
//! (OMA-TS-DM_TND 1.2.1, 7.7.)

use super::Place;
use super::acl::{Acl, Rights};
use super::execute::{Command, Done, Outcome, ok};
use super::node::NodeId;
use super::property::Property;
use super::uri::{check_name, split};
use crate::limits;
use crate::proto::syncml::{Data, StatusCode};

impl Command<'_> {
    pub(super) fn replace_property(
        &mut self,
        path: &str,
        property: Property,
        data: Option<&Data<'_>>,
    ) -> Done<Outcome> {
        let id = match self.tree.place(path) {
            Place::Missing { .. } => return Err(StatusCode::NOT_FOUND),
            Place::Served { mount, path, .. } => {
                let found = self.provider.node(mount, path).is_some();
                return Err(if found { StatusCode::NOT_ALLOWED } else { StatusCode::NOT_FOUND });
            }
            Place::Node(id) => id,
        };
        let text = match data {
            Some(data) => data.text().ok_or(StatusCode::BAD_REQUEST)?,
            None => "",
        };
        match property {
            Property::Acl => self.replace_acl(id, text)?,
            Property::Name => self.rename(id, path, text)?,
            Property::Title => {
                self.need(id, Rights::REPLACE)?;
                if text.len() > limits::TITLE {
                    return Err(StatusCode::TOO_LARGE);
                }
                let mut facts = self.tree.node(id).facts.clone();
                facts.title = Some(text).filter(|text| !text.is_empty()).map(Into::into);
                facts.touch(self.caller.now);
                self.tree.change(id, facts, self.transaction)?;
            }
            _ => return Err(StatusCode::NOT_ALLOWED),
        }
        Ok(ok())
    }

    fn replace_acl(&mut self, id: NodeId, text: &str) -> Done<()> {
        self.need_acl_right(id)?;
        let acl = Acl::parse(text.trim_ascii())?;
        self.tree.set_acl(id, acl, self.caller.now, self.transaction)
    }

    /// The right to set a node's ACL: Replace on an interior node or on its parent, for a leaf on
    /// its parent alone.
    ///
    /// # Errors
    /// 425.
    pub(super) fn need_acl_right(&self, id: NodeId) -> Done<()> {
        let node = self.tree.node(id);
        if node.facts.is_interior() && self.may(id, Rights::REPLACE) {
            return Ok(());
        }
        // The root is its own parent, and an interior node.
        self.need(node.parent, Rights::REPLACE)
    }

    fn rename(&mut self, id: NodeId, path: &str, name: &str) -> Done<()> {
        let node = self.tree.node(id);
        let (parent, rule) = (node.parent, node.rule);
        let is_named = self.tree.rules.rule(rule).is_some_and(|rule| !rule.name.is_empty());
        if node.is_permanent || is_named {
            return Err(StatusCode::NOT_ALLOWED);
        }
        self.need(id, Rights::REPLACE)?;
        check_name(name)?;
        if self.tree.child(parent, name).is_some() {
            return Err(StatusCode::ALREADY_EXISTS);
        }
        if self.tree.rules.of_child(self.tree.node(parent).rule, name) != Some(rule) {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let grown = name.len().saturating_sub(split(path).1.len());
        if self.longest(id, path.len()) + grown > limits::TREE_URI {
            return Err(StatusCode::URI_TOO_LONG);
        }
        let mut facts = self.tree.node(id).facts.clone();
        facts.touch(self.caller.now);
        self.tree.change(id, facts, self.transaction)?;
        self.tree.rename(id, name, self.transaction);
        Ok(())
    }

    /// The longest path from a node down, of which the node's own has `length` octets.
    fn longest(&self, id: NodeId, length: usize) -> usize {
        let mut longest = length;
        let mut open = vec![(id, length)];
        while let Some((id, length)) = open.pop() {
            longest = longest.max(length);
            let children = self.tree.node(id).children.iter();
            open.extend(children.map(|id| (*id, length + 1 + self.tree.node(*id).name.len())));
        }
        longest
    }
}
