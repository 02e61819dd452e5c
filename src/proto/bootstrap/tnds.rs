//! As much of a serialised tree (TNDS) as an account needs: paths, values, ACLs.
//!
//! (OMA-TS-DM_TNDS 1.2.1.) This file is the one place that knows TNDS here.

use super::account::{Leaf, Value};
use super::markup::Element;
use super::wbxml::Writer;
use crate::proto::auth::base64_decoded;

/// The code page of TNDS.
const PAGE: u8 = 2;

/// A node of a tree.
pub(super) struct Node {
    /// Its path from the root, `.` and `Inbox` left out.
    pub(super) path: Vec<String>,
    /// Its value, if it is a leaf.
    pub(super) value: Option<Value>,
    /// Its own ACL.
    pub(super) acl: Option<String>,
}

/// The segments of a URI, `.` and the Inbox (where what is dropped finds its own place) left out.
pub(super) fn segments(uri: &str) -> Vec<String> {
    let mut segments: Vec<String> =
        uri.split('/').filter(|it| !it.is_empty() && *it != ".").map(str::to_owned).collect();
    if segments.first().is_some_and(|first| first == "Inbox") {
        segments.remove(0);
    }
    segments
}

/// All nodes of a `MgmtTree` that a command puts at `base`, parents first.
pub(super) fn nodes(tree: &Element, base: &[String]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for node in tree.children("Node") {
        let own = node.text_of("Path");
        // A path from the root says where it is; another one continues the target of the command.
        let parent = if own.starts_with("./") && own.len() > 2 {
            segments(&own)
        } else {
            [base, &segments(&own)].concat()
        };
        walk(node, &parent, &mut nodes);
    }
    nodes
}

/// The value that `Data` or `Value` holds in a format.
pub(super) fn value(element: &Element, format: &str) -> Value {
    let (octets, is_opaque) = element.octets();
    match format {
        "bin" if is_opaque => Value::Octets(octets),
        "bin" | "b64" => Value::Octets(base64_decoded(octets.trim_ascii()).unwrap_or(octets)),
        "int" => {
            let text = element.text().unwrap_or_default();
            text.parse().map_or(Value::Text(text), Value::Number)
        }
        _ => Value::Text(element.text().unwrap_or_else(|| "\u{fffd}".to_owned())),
    }
}

// Recursion: `limits::DEPTH` bounds the tree.
fn walk(node: &Element, parent: &[String], nodes: &mut Vec<Node>) {
    let mut path = parent.to_vec();
    let name = node.text_of("NodeName");
    path.push(if name.is_empty() { format!("#{}", nodes.len() + 1) } else { name });
    let properties = node.child("RTProperties");
    let property = |name| properties.and_then(|it| it.child(name));
    let format = property("Format").and_then(|it| it.elements().next());
    let format = format.map_or("chr", |format| &format.name);
    let acl = property("ACL").and_then(Element::text).filter(|acl| !acl.is_empty());
    let value = node.child("Value").map(|it| value(it, format));
    nodes.push(Node { path: path.clone(), value, acl });
    for child in node.children("Node") {
        walk(child, &path, nodes);
    }
}

/// Writes a `MgmtTree` with one account node `name`, straight into a message.
pub(super) fn write(
    writer: &mut Writer,
    name: &str,
    kind: &str,
    acl: Option<&str>,
    leaves: &[Leaf],
) {
    writer.element(PAGE, "MgmtTree", |writer| {
        writer.leaf(PAGE, "VerDTD", "1.2");
        writer.element(PAGE, "Node", |writer| {
            writer.leaf(PAGE, "NodeName", name);
            writer.element(PAGE, "RTProperties", |writer| {
                if let Some(acl) = acl {
                    writer.leaf(PAGE, "ACL", acl);
                }
                writer.element(PAGE, "Format", |writer| writer.empty(PAGE, "node"));
                writer.element(PAGE, "Type", |writer| writer.leaf(PAGE, "DDFName", kind));
            });
            let leaves: Vec<(Vec<&str>, &Value)> =
                leaves.iter().map(|leaf| (leaf.uri.split('/').collect(), &leaf.value)).collect();
            write_below(writer, &leaves, 0);
        });
    });
}

/// Writes the nodes at `depth` of leaves that share all above, and stand together.
fn write_below(writer: &mut Writer, leaves: &[(Vec<&str>, &Value)], depth: usize) {
    for group in leaves.chunk_by(|left, right| left.0.get(depth) == right.0.get(depth)) {
        let Some((path, value)) = group.first() else { continue };
        let Some(name) = path.get(depth) else { continue };
        writer.element(PAGE, "Node", |writer| {
            writer.leaf(PAGE, "NodeName", name);
            if path.len() > depth + 1 {
                write_below(writer, group, depth + 1);
                return;
            }
            if value.format() != "chr" {
                writer.element(PAGE, "RTProperties", |writer| {
                    writer.element(PAGE, "Format", |writer| writer.empty(PAGE, value.format()));
                });
            }
            match value {
                Value::Text(text) => writer.leaf(PAGE, "Value", text),
                Value::Number(number) => writer.leaf(PAGE, "Value", &number.to_string()),
                Value::Octets(octets) => {
                    writer.element(PAGE, "Value", |writer| writer.opaque(octets));
                }
            }
        });
    }
}
