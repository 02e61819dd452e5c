//! Device descriptions (DDF): what a management object allows, whoever asks.
//!
//! (OMA-TS-DM_TND 1.2.1, annex C.) Descriptions are XML in the form that OMA publishes them, so
//! that a protocol person reads the same file here and there, and are parsed once, into [`Rule`]s.
//! A child that a description does not have cannot be added where it has others; below an interior
//! node that it leaves open (`Ext`) everything is allowed.

use super::acl::Rights;
use super::property::Format;
use crate::proto::syncml::Encoding;
use crate::proto::syncml::description::{self, Element};
use crate::proto::wire::{DecodeError, DecodeErrorKind};

/// `./DevInfo` 1.0.
pub const DEV_INFO: &str = include_str!("ddf/devinfo.ddf");
/// `./DevDetail` 1.0.
pub const DEV_DETAIL: &str = include_str!("ddf/devdetail.ddf");
/// `./DMAcc`, whose children are accounts (DMAcc 1.0).
pub const DM_ACC: &str = include_str!("ddf/dmacc.ddf");
/// `./Inbox` 1.0.
pub const INBOX: &str = include_str!("ddf/inbox.ddf");

/// `./GwConfig`, the Gw Config MO of this gateway; its nodes are in [`crate::proto::gwmo`].
pub const GW_CONFIG: &str = include_str!("ddf/gwconfig.ddf");
/// `./GwDeviceInventory`, the Gw Device Inventory MO of this gateway.
pub const GW_DEVICE_INVENTORY: &str = include_str!("ddf/gwdeviceinventory.ddf");

/// `./GwStatus`, how this gateway is: an object of its own.
pub const GW_STATUS: &str = include_str!("ddf/gwstatus.ddf");

/// `Type` of the Inbox: what is added to it is handed out instead of kept.
pub(super) const INBOX_TYPE: &str = "urn:oma:mo:oma-dm-inbox:1.0";

/// A rule by its place in [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleId(u16);

impl RuleId {
    /// The root's.
    pub(super) const ROOT: Self = Self(0);
    /// That of nodes that no description speaks of: everything is allowed but Exec.
    pub(super) const FREE: Self = Self(u16::MAX);
}

/// What a description says of one node.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its name; empty if the name is free.
    pub(super) name: Box<str>,
    /// AccessType.
    pub(super) access: Rights,
    /// DFFormat: any of these; empty for any at all.
    pub(super) formats: Vec<Format>,
    /// The most siblings that this description may have.
    pub(super) most: usize,
    /// Whether it can never be added, deleted or renamed.
    pub(super) is_permanent: bool,
    /// Whether it has to be there.
    pub(super) is_required: bool,
    /// DFType.
    pub(super) kind: Box<str>,
    /// DefaultValue.
    pub(super) default: Box<str>,
    /// What is below.
    pub(super) children: Vec<RuleId>,
}

impl Rule {
    /// Whether the node is an interior node.
    pub(super) fn is_interior(&self) -> bool {
        self.formats.first() == Some(&Format::Node)
    }
}

/// All rules of a tree.
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    /// The root's alone.
    pub(super) fn new() -> Self {
        Self(vec![Rule {
            name: Box::default(),
            access: Rights::ADD.with(Rights::GET).with(Rights::REPLACE),
            formats: vec![Format::Node],
            most: 1,
            is_permanent: true,
            is_required: true,
            kind: Box::default(),
            default: Box::default(),
            children: Vec::new(),
        }])
    }

    /// A rule; `None` for [`RuleId::FREE`].
    pub(super) fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.0.get(usize::from(id.0))
    }

    /// The rule of a child of that name. `None` if there is none, and others are there.
    pub(super) fn of_child(&self, parent: RuleId, name: &str) -> Option<RuleId> {
        let Some(rule) = self.rule(parent) else {
            return Some(RuleId::FREE);
        };
        let find = |name: &str| {
            let found = |id: &&RuleId| self.rule(**id).is_some_and(|rule| *rule.name == *name);
            rule.children.iter().find(found).copied()
        };
        let open = parent == RuleId::ROOT || rule.children.is_empty();
        find(name).or_else(|| find("")).or_else(|| open.then_some(RuleId::FREE))
    }

    /// Adds a description; the rules of its topmost nodes.
    ///
    /// # Errors
    /// It is not a description, or there are too many rules.
    pub(super) fn add(&mut self, ddf: &str) -> Result<Vec<RuleId>, DecodeError> {
        let document = description::read(Encoding::Xml, ddf.as_bytes())?;
        self.nodes(&document, RuleId::ROOT)
    }

    fn nodes(&mut self, parent: &Element, above: RuleId) -> Result<Vec<RuleId>, DecodeError> {
        let mut added = Vec::new();
        for element in parent.children.iter().filter(|child| child.name == "Node") {
            let rule = rule(element)?;
            let index = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
            if index == u16::MAX {
                return Err(error("too many rules"));
            }
            let id = RuleId(index);
            self.0.push(rule);
            if let Some(above) = self.0.get_mut(usize::from(above.0)) {
                above.children.push(id);
            }
            self.nodes(element, id)?;
            added.push(id);
        }
        Ok(added)
    }
}

fn rule(element: &Element) -> Result<Rule, DecodeError> {
    let properties = element.child("DFProperties").ok_or_else(|| error("no DFProperties"))?;
    let part = |name: &str| properties.child(name);
    let names = |name: &str| {
        let children = part(name).map_or(&[][..], |it| &it.children);
        children.iter().map(|child| child.name)
    };
    let access = names("AccessType").filter_map(Rights::parse).fold(Rights::NONE, Rights::with);
    let formats = names("DFFormat").map(Format::parse).collect::<Option<Vec<_>>>();
    let occurrence = part("Occurrence").and_then(|it| it.children.first());
    let most = match occurrence.map(|it| (it.name, it.text())) {
        Some(("OneOrMore" | "ZeroOrMore", _)) => usize::MAX,
        Some(("OneOrN" | "ZeroOrN", Some(number))) => {
            number.parse().map_err(|_| error("Occurrence is not a number"))?
        }
        _ => 1,
    };
    let kind = part("DFType").and_then(|it| it.children.first()).and_then(Element::text);
    Ok(Rule {
        name: element.text_of("NodeName").unwrap_or_default().into(),
        access,
        formats: formats.ok_or_else(|| error("unknown DFFormat"))?,
        most,
        is_permanent: names("Scope").any(|scope| scope == "Permanent"),
        is_required: occurrence.is_none_or(|it| it.name.starts_with("One")),
        kind: kind.unwrap_or_default().into(),
        default: properties.text_of("DefaultValue").unwrap_or_default().into(),
        children: Vec::new(),
    })
}

fn error(what: &'static str) -> DecodeError {
    DecodeError { offset: 0, kind: DecodeErrorKind::Malformed(what) }
}
