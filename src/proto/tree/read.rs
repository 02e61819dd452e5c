//! What Get answers: values, names, properties and listings.
//!
//! (OMA-TS-DM_TND 1.2.1, 7.7 and 9.) A listing leaves out, with all below it, what the caller has
//! no right to Get, and every node that is never readable.

use super::Place;
use super::acl::Rights;
use super::description::RuleId;
use super::execute::{Command, Done, Outcome};
use super::node::{Facts, Mount, NodeId, TEXT};
use super::property::{Format, Properties, Property};
use super::provider::Value;
use super::uri::{Query, join, split};
use crate::limits;
use crate::proto::syncml::{Data, Item, Location, Meta, StatusCode};
use crate::proto::tnds::{self, Document};
use std::borrow::Cow;

impl Command<'_> {
    /// Get of a value, or of the names below an interior node.
    pub(super) fn get(&self, path: &str) -> Done<Outcome> {
        let value = self.readable(path)?;
        if value.format != Format::Node {
            return Ok(found(vec![item(path, "", value)]));
        }
        let names = match self.tree.place(path) {
            Place::Node(id) => self.names(id),
            Place::Served { mount, path, .. } => self.provider.children(mount, path),
            Place::Missing { .. } => Vec::new(),
        };
        let names = Value { octets: names.join("/").into_bytes().into(), ..value };
        Ok(found(vec![item(path, "", names)]))
    }

    /// The value at a path, if the caller may read it; that of an interior node is empty.
    pub(super) fn readable(&self, path: &str) -> Done<Value<'_>> {
        match self.tree.place(path) {
            Place::Missing { .. } => Err(StatusCode::NOT_FOUND),
            Place::Node(id) => {
                self.need_possible(self.tree.node(id).rule, Rights::GET)?;
                self.need(id, Rights::GET)?;
                Ok(value(&self.tree.node(id).facts))
            }
            Place::Served { at, mount, path } => {
                let value = self.provider.node(mount, path).ok_or(StatusCode::NOT_FOUND)?;
                self.need_possible(self.rule_below(at, path).unwrap_or(RuleId::FREE), Rights::GET)?;
                self.need(at, Rights::GET)?;
                Ok(value)
            }
        }
    }

    fn names(&self, id: NodeId) -> Vec<String> {
        let node = self.tree.node(id);
        match node.mount {
            Some(mount) => self.provider.children(mount, ""),
            None => node.children.iter().map(|id| self.tree.node(*id).name.to_string()).collect(),
        }
    }

    /// Get of a property.
    pub(super) fn get_property(&self, path: &str, property: Property) -> Done<Outcome> {
        let unsupported = StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED;
        let (facts, rule) = match self.tree.place(path) {
            Place::Missing { .. } => return Err(StatusCode::NOT_FOUND),
            Place::Node(id) => {
                self.need(id, Rights::GET)?;
                let node = self.tree.node(id);
                (Cow::Borrowed(&node.facts), node.rule)
            }
            Place::Served { at, mount, path } => {
                let value = self.provider.node(mount, path).ok_or(StatusCode::NOT_FOUND)?;
                self.need(at, Rights::GET)?;
                let rule = self.rule_below(at, path).unwrap_or(RuleId::FREE);
                (Cow::Owned(facts(value)), rule)
            }
        };
        let text = match property {
            Property::Acl => facts.acl.as_ref().map(ToString::to_string).unwrap_or_default(),
            Property::Format => facts.format.name().to_owned(),
            Property::Name => split(path).1.to_owned(),
            Property::Size if facts.is_interior() => return Err(unsupported),
            Property::Size => {
                // The length of a secret says something of it.
                self.need_possible(rule, Rights::GET)?;
                facts.value.len().to_string()
            }
            Property::Title => facts.title.as_deref().unwrap_or_default().to_owned(),
            Property::TStamp => timestamp(facts.changed),
            Property::Type => kind(&facts).to_owned(),
            Property::VerNo => facts.version.to_string(),
            Property::Value => return Err(unsupported),
        };
        let name = Property::ALL.iter().find(|(it, _)| *it == property).map_or("", |it| it.1);
        Ok(found(vec![item(path, &["?prop=", name].concat(), Value::text(text))]))
    }

    /// Get of a listing.
    pub(super) fn list(&self, path: &str, query: Query) -> Done<Outcome> {
        self.readable(path)?;
        let mut walk = Walk { command: self, query, nodes: 0, octets: 0 };
        if let Query::Tnds(properties) = query {
            let mut node = match self.tree.place(path) {
                Place::Node(id) => walk.stored_document(id, properties)?,
                Place::Served { at, mount, path } => {
                    walk.served_document(at, mount, path, properties)?
                }
                Place::Missing { .. } => None,
            }
            .ok_or(StatusCode::NOT_FOUND)?;
            let above = split(path).0;
            node.path = Some(if above.is_empty() { ".".into() } else { ["./", above].concat() });
            if path.is_empty() {
                node.name = Some(".".into());
                node.path = None;
            }
            let document = Document { nodes: vec![node] };
            let (data, kind, format) = document.to_data(self.caller.encoding);
            let meta =
                Meta { kind: Some(kind.into()), format: Some(format.into()), ..Meta::default() };
            let source = Some(location(path, ""));
            return Ok(found(vec![Item { source, meta, data: Some(data), ..Item::default() }]));
        }
        let mut items = Vec::new();
        match self.tree.place(path) {
            Place::Node(id) => walk.stored_items(id, path, &mut items)?,
            Place::Served { at, mount, path: below } => {
                let top = path.len() - below.len();
                walk.served_items(
                    at,
                    mount,
                    path.split_at(top.saturating_sub(1)).0,
                    below,
                    &mut items,
                )?;
            }
            Place::Missing { .. } => {}
        }
        Ok(found(items))
    }

    /// Everything that a provider has from a path down, what is above first.
    pub(super) fn served_below(
        &self,
        mount: Mount,
        path: &str,
    ) -> Done<Vec<(String, Value<'static>)>> {
        let mut all = Vec::new();
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let Some(value) = self.provider.node(mount, &path) else { continue };
            if all.len() >= limits::TREE_REPLY_NODES {
                return Err(StatusCode::TOO_LARGE);
            }
            if value.format == Format::Node {
                open.extend(self.provider.children(mount, &path).iter().map(|it| join(&path, it)));
            }
            all.push((path, value.into_owned()));
        }
        Ok(all)
    }
}

/// A listing under way.
struct Walk<'a, 'c> {
    command: &'a Command<'c>,
    query: Query,
    nodes: usize,
    octets: usize,
}

// The depth of the tree bounds the recursion; a provider's paths are as deep as it says, and
// canonical.
impl Walk<'_, '_> {
    /// Counts a node of the answer.
    ///
    /// # Errors
    /// 413 if the answer is too large.
    fn count(&mut self, octets: usize) -> Done<()> {
        self.nodes += 1;
        self.octets += octets;
        if self.nodes > limits::TREE_REPLY_NODES || self.octets > limits::TREE_REPLY {
            return Err(StatusCode::TOO_LARGE);
        }
        Ok(())
    }

    fn sees(&self, id: NodeId, rule: RuleId) -> bool {
        self.command.may(id, Rights::GET) && self.command.is_possible(rule, Rights::GET)
    }

    fn stored_items(&mut self, id: NodeId, path: &str, items: &mut Vec<Item<'static>>) -> Done<()> {
        let tree = &*self.command.tree;
        let node = tree.node(id);
        if !self.sees(id, node.rule) {
            return Ok(());
        }
        self.entry(path, value(&node.facts), items)?;
        match node.mount {
            Some(mount) => self.served_children(id, mount, path, "", items),
            None => node.children.iter().try_for_each(|child| {
                self.stored_items(*child, &join(path, &tree.node(*child).name), items)
            }),
        }
    }

    fn served_items(
        &mut self,
        at: NodeId,
        mount: Mount,
        top: &str,
        below: &str,
        items: &mut Vec<Item<'static>>,
    ) -> Done<()> {
        let rule = self.command.rule_below(at, below).unwrap_or(RuleId::FREE);
        let Some(value) = self.command.provider.node(mount, below).filter(|_| self.sees(at, rule))
        else {
            return Ok(());
        };
        let is_interior = value.format == Format::Node;
        self.entry(&join(top, below), value, items)?;
        if is_interior { self.served_children(at, mount, top, below, items) } else { Ok(()) }
    }

    fn served_children(
        &mut self,
        at: NodeId,
        mount: Mount,
        top: &str,
        below: &str,
        items: &mut Vec<Item<'static>>,
    ) -> Done<()> {
        let names = self.command.provider.children(mount, below);
        names
            .iter()
            .try_for_each(|name| self.served_items(at, mount, top, &join(below, name), items))
    }

    fn entry(&mut self, path: &str, value: Value<'_>, items: &mut Vec<Item<'static>>) -> Done<()> {
        let with_data = self.query == Query::StructData && value.format != Format::Node;
        self.count(path.len() + if with_data { value.octets.len() } else { 0 })?;
        let mut entry = item(path, "", value);
        if !with_data {
            entry.data = None;
        }
        // What is the default is not said.
        entry.meta.kind = entry.meta.kind.filter(|kind| kind != TEXT);
        entry.meta.format = entry.meta.format.filter(|format| format != "chr");
        items.push(entry);
        Ok(())
    }

    fn stored_document(&mut self, id: NodeId, wanted: Properties) -> Done<Option<tnds::Node>> {
        let tree = &*self.command.tree;
        let node = tree.node(id);
        if !self.sees(id, node.rule) {
            return Ok(None);
        }
        let mut written = self.document(&node.name, &node.facts, wanted)?;
        written.children = match node.mount {
            Some(mount) => self.served_documents(id, mount, "", wanted)?,
            None => {
                let mut children = Vec::new();
                for child in &node.children {
                    children.extend(self.stored_document(*child, wanted)?);
                }
                children
            }
        };
        Ok(Some(written))
    }

    fn served_document(
        &mut self,
        at: NodeId,
        mount: Mount,
        path: &str,
        wanted: Properties,
    ) -> Done<Option<tnds::Node>> {
        let rule = self.command.rule_below(at, path).unwrap_or(RuleId::FREE);
        let Some(value) = self.command.provider.node(mount, path).filter(|_| self.sees(at, rule))
        else {
            return Ok(None);
        };
        let is_interior = value.format == Format::Node;
        let mut written = self.document(split(path).1, &facts(value), wanted)?;
        if is_interior {
            written.children = self.served_documents(at, mount, path, wanted)?;
        }
        Ok(Some(written))
    }

    fn served_documents(
        &mut self,
        at: NodeId,
        mount: Mount,
        path: &str,
        wanted: Properties,
    ) -> Done<Vec<tnds::Node>> {
        let mut children = Vec::new();
        for name in self.command.provider.children(mount, path) {
            children.extend(self.served_document(at, mount, &join(path, &name), wanted)?);
        }
        Ok(children)
    }

    fn document(&mut self, name: &str, facts: &Facts, wanted: Properties) -> Done<tnds::Node> {
        self.count(name.len() + facts.octets())?;
        let is_leaf = !facts.is_interior();
        let has = |property| wanted.contains(property);
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(tnds::Node {
            name: Some(name.to_owned()),
            path: None,
            properties: tnds::Properties {
                acl: facts.acl.as_ref().filter(|_| has(Property::Acl)).map(ToString::to_string),
                format: has(Property::Format).then_some(facts.format),
                name: has(Property::Name).then(|| name.to_owned()),
                size: (is_leaf && has(Property::Size)).then_some(facts.value.len() as u32),
                title: facts.title.as_deref().filter(|_| has(Property::Title)).map(Into::into),
                timestamp: some(timestamp(facts.changed)).filter(|_| has(Property::TStamp)),
                kind: some(kind(facts).to_owned()).filter(|_| has(Property::Type)),
                version: has(Property::VerNo).then_some(facts.version),
            },
            value: (is_leaf && has(Property::Value)).then(|| facts.value.to_vec()),
            children: Vec::new(),
        })
    }
}

fn found(items: Vec<Item<'static>>) -> Outcome {
    Outcome { status: StatusCode::OK, items, delivery: None }
}

fn location(path: &str, query: &str) -> Location<'static> {
    let start = if path.is_empty() { "." } else { "./" };
    Location { uri: [start, path, query].concat().into(), name: None }
}

/// The item of Results for one value.
fn item(path: &str, query: &str, value: Value<'_>) -> Item<'static> {
    let Value { format, kind, octets } = value;
    let kind = match kind {
        Some(kind) => Some(Cow::Owned(kind.into_owned())),
        None => (format != Format::Node).then_some(Cow::Borrowed(TEXT)),
    };
    let data = match (format, String::from_utf8(octets.into_owned())) {
        (Format::Bin, Ok(text)) => Data::Binary(text.into_bytes().into()),
        (Format::Xml, Ok(text)) => Data::Markup(text.into()),
        (_, Ok(text)) => Data::Text(text.into()),
        (_, Err(error)) => Data::Binary(error.into_bytes().into()),
    };
    let meta = Meta { kind, format: Some(format.name().into()), ..Meta::default() };
    Item { source: Some(location(path, query)), meta, data: Some(data), ..Item::default() }
}

fn value(facts: &Facts) -> Value<'_> {
    Value {
        format: facts.format,
        kind: facts.kind.as_deref().map(Cow::Borrowed),
        octets: Cow::Borrowed(&facts.value),
    }
}

fn facts(value: Value<'_>) -> Facts {
    Facts {
        format: value.format,
        kind: value.kind.map(|kind| (*kind).into()),
        value: value.octets.into_owned().into(),
        ..Facts::default()
    }
}

fn kind(facts: &Facts) -> &str {
    let default = if facts.is_interior() { "" } else { TEXT };
    facts.kind.as_deref().unwrap_or(default)
}

/// A time (seconds since 1970) as `TStamp` has it, `20260131T235959Z`; empty for 0.
pub fn timestamp(unix: u64) -> String {
    if unix == 0 {
        return String::new();
    }
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    // Years that begin in March, in eras of 400.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year, if month < 10 { month + 3 } else { month - 9 });
    let year = year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn time_is_told_in_the_basic_format_of_iso_8601() {
        assert_eq!(timestamp(0), "");
        assert_eq!(timestamp(1), "19700101T000001Z");
        assert_eq!(timestamp(951_782_399), "20000228T235959Z");
        assert_eq!(timestamp(951_782_400), "20000229T000000Z");
        assert_eq!(timestamp(1_800_000_000), "20270115T080000Z");
        assert_eq!(timestamp(4_107_542_400), "21000301T000000Z");
    }
}
