//! Pieces of SyncML messages that the simulators put together.

use super::payload;
use crate::proto::syncml::{Command, Credentials, Data, Item, Location, Meta, Operation};
use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// DevInfo, leaf by leaf. (DM StdObj 1.2.1, 5.)
pub(super) fn device_info(id: &str) -> Vec<Item<'static>> {
    let leaf = |name: &str, value: &str| Item {
        source: Some(Location { uri: format!("./DevInfo/{name}").into(), name: None }),
        data: Some(Data::Text(value.to_owned().into())),
        ..Item::default()
    };
    vec![
        leaf("DevId", id),
        leaf("Man", "Simulated"),
        leaf("Mod", "End device"),
        leaf("DmV", "1.2"),
        leaf("Lang", "en"),
    ]
}

/// Whether a Get asks for that leaf.
pub(super) fn asks(get: &Operation<'_>, leaf: &Item<'_>) -> bool {
    let asked = get.items.first().and_then(|item| item.target.as_ref());
    let held = leaf.source.as_ref();
    asked.zip(held).is_some_and(|(asked, held)| asked.uri == held.uri)
}

/// CmdID of a BootstrappedDMSList alert.
pub(super) fn list_id(command: &Command<'_>) -> Option<String> {
    let Command::Alert(alert) = command else { return None };
    let item = alert.items.first()?;
    let kind = item.meta.kind.as_deref().or(alert.meta.kind.as_deref())?;
    payload::LIST.contains(&kind).then(|| alert.command_id.to_string())
}

/// Gives the commands of a message their CmdIDs, from 1; or all the same one.
pub(super) fn number(commands: &mut [Command<'static>], all_the_same: bool) {
    for (index, command) in commands.iter_mut().enumerate() {
        let id = if all_the_same { 1 } else { index + 1 };
        set_command_id(command, id.to_string().into());
    }
}

fn set_command_id(command: &mut Command<'static>, id: Cow<'static, str>) {
    match command {
        Command::Status(status) => status.command_id = id,
        Command::Results(results) => results.command_id = id,
        Command::Alert(alert) => alert.command_id = id,
        Command::Operation(operation) => operation.command_id = id,
        Command::Group(group) => group.command_id = id,
        Command::Other { command_id, .. } => *command_id = id,
    }
}

/// Cred of type basic with nothing in it.
pub(super) fn empty_credentials() -> Credentials<'static> {
    let kind = Some("syncml:auth-basic".into());
    let meta = Meta { kind, format: Some("b64".into()), ..Meta::default() };
    Credentials { meta, data: Some(Data::Text("".into())) }
}

/// Sixteen octets nobody can foresee: the keys of std's hasher come from the kernel.
pub(super) fn fresh_nonce() -> Vec<u8> {
    let half = || RandomState::new().build_hasher().finish().to_be_bytes();
    [half(), half()].concat()
}
