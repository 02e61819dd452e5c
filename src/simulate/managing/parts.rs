//! Pieces of the messages of a managing server.

use crate::proto::auth::Verdict;
use crate::proto::syncml::{AlertCode, Command, Header, Message, Status, StatusCode};

pub(super) fn code_of(verdict: Verdict) -> StatusCode {
    match verdict {
        Verdict::Accepted => StatusCode::OK,
        Verdict::Missing => StatusCode::MISSING_CREDENTIALS,
        Verdict::Wrong => StatusCode::INVALID_CREDENTIALS,
    }
}

pub(super) fn status(
    header: &Header<'_>,
    command: &Command<'_>,
    code: StatusCode,
) -> Status<'static> {
    Status {
        message_ref: header.message_id.to_string().into(),
        command_ref: command.command_id().to_string().into(),
        command: command.name().into(),
        code,
        ..Status::default()
    }
}

pub(super) fn has_alert(message: &Message<'_>, code: AlertCode) -> bool {
    let is = |command: &Command<'_>| matches!(command, Command::Alert(alert) if alert.code == Some(code));
    message.commands.iter().any(is)
}

/// Gives the commands, those in groups included, their CmdIDs.
pub(super) fn number(commands: &mut [Command<'static>], last: &mut u32) {
    for command in commands {
        *last += 1;
        let id = last.to_string().into();
        match command {
            Command::Status(status) => status.command_id = id,
            Command::Results(results) => results.command_id = id,
            Command::Alert(alert) => alert.command_id = id,
            Command::Operation(operation) => operation.command_id = id,
            Command::Group(group) => {
                group.command_id = id;
                number(&mut group.commands, last);
            }
            Command::Other { command_id, .. } => *command_id = id,
        }
    }
}

/// The node that a Status is about: its own TargetRef, or that of the command answered.
pub(super) fn uri_of(sent: &[Command<'static>], status: &Status<'_>) -> String {
    if let Some(target) = status.target_refs.first() {
        return target.to_string();
    }
    let mut open: Vec<&Command<'static>> = sent.iter().collect();
    while let Some(command) = open.pop() {
        match command {
            Command::Operation(it) if it.command_id == status.command_ref => {
                let target = it.items.first().and_then(|item| item.target.as_ref());
                return target.map(|target| target.uri.to_string()).unwrap_or_default();
            }
            Command::Group(group) => open.extend(&group.commands),
            _ => {}
        }
    }
    String::new()
}
