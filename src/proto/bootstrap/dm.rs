//! The DM profile: a SyncML message that adds an account, or a serialised tree by itself.
//!
//! (OMA-TS-DM_Bootstrap 1.2.1, 5.4.) A bootstrap message opens no session and is never answered,
//! so only what it adds is looked at: serialised trees dropped into `./Inbox` or put anywhere, and
//! accounts written node by node.

use super::account::{Account, Leaf, Source};
use super::markup::{self, Element};
use super::wbxml::Writer;
use super::{Fault, tnds};
use crate::limits;
use crate::proto::auth::base64_decoded;
use tnds::Node;

/// The type of an account's node.
const ACCOUNT_TYPE: &str = "urn:oma:mo:oma-dm-dmacc:1.0";
const TREE_TYPE: &str = "application/vnd.syncml.dmtnds+wbxml";

/// How a serialised tree stands in the `Data` of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TreeForm {
    /// As a WBXML document in an OPAQUE, which devices built on libwbxml read.
    #[default]
    Document,
    /// As elements of the message, on their own code page.
    Elements,
}

/// Writes the bootstrap message (WBXML) that gives a device `account`: one Add to `./Inbox` with
/// the account's tree inside. `device` is the device's id. The account's ACL goes along; one
/// without leaves the device's default.
pub fn write(account: &Account, device: &str, form: TreeForm) -> Vec<u8> {
    let (syncml, metinf) = (0, 1);
    let mut writer = Writer::new();
    writer.element(syncml, "SyncML", |writer| {
        writer.element(syncml, "SyncHdr", |writer| {
            writer.leaf(syncml, "VerDTD", "1.2");
            writer.leaf(syncml, "VerProto", "DM/1.2");
            writer.leaf(syncml, "SessionID", "0");
            writer.leaf(syncml, "MsgID", "1");
            writer.element(syncml, "Target", |it| it.leaf(syncml, "LocURI", device));
            writer.element(syncml, "Source", |it| it.leaf(syncml, "LocURI", &account.server_id));
        });
        writer.element(syncml, "SyncBody", |writer| {
            writer.element(syncml, "Add", |writer| {
                writer.leaf(syncml, "CmdID", "1");
                writer.element(syncml, "Meta", |writer| {
                    writer.leaf(metinf, "Format", "bin");
                    writer.leaf(metinf, "Type", TREE_TYPE);
                });
                writer.element(syncml, "Item", |writer| {
                    writer.element(syncml, "Target", |it| it.leaf(syncml, "LocURI", "./Inbox"));
                    writer.element(syncml, "Data", |writer| {
                        let (acl, leaves) = (account.acl.as_deref(), account.leaves());
                        let tree = |it: &mut Writer| {
                            tnds::write(it, "1", ACCOUNT_TYPE, acl, &leaves);
                        };
                        match form {
                            TreeForm::Elements => tree(writer),
                            TreeForm::Document => {
                                let mut document = Writer::tree();
                                tree(&mut document);
                                writer.opaque(&document.finish());
                            }
                        }
                    });
                });
            });
            writer.empty(syncml, "Final");
        });
    });
    writer.finish()
}

/// The accounts of a SyncML message.
pub(super) fn message(root: &Element, source: Source) -> Result<Vec<Account>, Fault> {
    let mut nodes = Vec::new();
    for body in root.children("SyncBody") {
        commands(body, &mut nodes)?;
    }
    accounts(&nodes, source)
}

/// The accounts of a `MgmtTree` by itself.
pub(super) fn tree(root: &Element, source: Source) -> Result<Vec<Account>, Fault> {
    accounts(&tnds::nodes(root, &[]), source)
}

// Recursion: `limits::DEPTH` bounds the tree.
fn commands(parent: &Element, nodes: &mut Vec<Node>) -> Result<(), Fault> {
    for command in parent.elements() {
        match command.name.as_str() {
            "Atomic" | "Sequence" => commands(command, nodes)?,
            "Add" | "Replace" => {
                for item in command.children("Item") {
                    self::item(command, item, nodes)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn item(command: &Element, item: &Element, nodes: &mut Vec<Node>) -> Result<(), Fault> {
    let Some(data) = item.child("Data") else { return Ok(()) };
    let meta = |name: &str| {
        let of = |parent: &Element| {
            let meta = parent.child("Meta")?;
            meta.child(name).or_else(|| meta.child("MetInf")?.child(name))?.text()
        };
        of(item).or_else(|| of(command)).unwrap_or_default()
    };
    let target = item.child("Target").map(|it| it.text_of("LocURI")).unwrap_or_default();
    let base = tnds::segments(&target);
    if let Some(tree) = data.child("MgmtTree") {
        nodes.extend(tnds::nodes(tree, &base));
        return Ok(());
    }
    let (octets, is_opaque) = data.octets();
    let is_tree = meta("Type").to_ascii_lowercase().contains("dmtnds");
    if is_tree || octets.trim_ascii_start().starts_with(b"<MgmtTree") {
        let is_plain = is_opaque || octets.trim_ascii_start().first() == Some(&b'<');
        let decoded = if is_plain { None } else { base64_decoded(&octets) };
        let tree = markup::read(decoded.as_deref().unwrap_or(&octets))?;
        if tree.name != "MgmtTree" {
            return Err(Fault::Root(tree.name.chars().take(64).collect()));
        }
        nodes.extend(tnds::nodes(&tree, &base));
        return Ok(());
    }
    let format = meta("Format").to_ascii_lowercase();
    let value = (format != "node").then(|| tnds::value(data, &format));
    nodes.push(Node { path: base, value, acl: None });
    Ok(())
}

/// Finds the accounts among all nodes. An account's node has a leaf AppID with the value w7, or
/// stands directly below `./DMAcc` and has a leaf ServerID.
fn accounts(nodes: &[Node], source: Source) -> Result<Vec<Account>, Fault> {
    let mut roots: Vec<&[String]> = Vec::new();
    for node in nodes {
        let Some((name, parent)) = node.path.split_last() else { continue };
        let is_w7 = matches!(&node.value, Some(super::Value::Text(text)) if text.trim() == "w7");
        let is_below = matches!(parent, [top, _] if top == "DMAcc");
        let is_account = name == "AppID" && is_w7 || name == "ServerID" && is_below;
        if !is_account || roots.contains(&parent) {
            continue;
        }
        if roots.len() >= limits::ACCOUNTS {
            return Err(Fault::TooMany("accounts"));
        }
        roots.push(parent);
    }
    let account = |root: &[String]| {
        let below = nodes.iter().filter_map(|node| Some((node, node.path.strip_prefix(root)?)));
        let leaves: Vec<Leaf> = below
            .filter_map(|(node, path)| {
                Some(Leaf { uri: path.join("/"), value: node.value.clone()? })
            })
            .collect();
        let is_other = |leaf: &Leaf| {
            leaf.uri == "AppID" && !matches!(&leaf.value, super::Value::Text(it) if it == "w7")
        };
        if leaves.iter().any(is_other) {
            return None;
        }
        let acl = nodes.iter().find(|node| node.path == root).and_then(|node| node.acl.clone());
        let mut account = match Account::from_leaves(&leaves, source) {
            Ok(account) => account,
            Err(fault) => return Some(Err(fault)),
        };
        account.preferred_connection.take_if(|reference| is_in_inbox(reference));
        account.connections.retain(|reference| !is_in_inbox(reference));
        Some(Ok(Account { acl, ..account }))
    };
    roots.into_iter().filter_map(account).collect()
}

/// Whether a reference names another object of the same message. Connectivity stays the operator's,
/// so that object is installed nowhere.
fn is_in_inbox(reference: &str) -> bool {
    let path = reference.strip_prefix("./").unwrap_or(reference);
    path == "Inbox" || path.starts_with("Inbox/")
}
