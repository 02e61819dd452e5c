//! Pieces of messages, and questions about them.

use super::outbox::Answer;
use super::values::{Executed, Options};
use crate::proto::syncml::{Alert, AlertCode, Command, Header, Meta, Operation, StatusCode, Verb};
use std::collections::VecDeque;

pub(super) fn package1(options: &Options) -> VecDeque<Answer> {
    let code = if options.server_initiated {
        AlertCode::SERVER_INITIATED
    } else {
        AlertCode::CLIENT_INITIATED
    };
    let replace = Operation {
        verb: Verb::Replace,
        command_id: "".into(),
        meta: Meta::default(),
        correlator: None,
        items: options.device_info.clone(),
    };
    let alert = Alert { code: Some(code), ..Alert::default() };
    let alerts =
        options.alerts.iter().cloned().enumerate().map(|(index, alert)| Answer {
            alert: Some(index),
            ..Answer::of(Command::Alert(alert))
        });
    [Command::Alert(alert), Command::Operation(replace)]
        .into_iter()
        .map(Answer::of)
        .chain(alerts)
        .collect()
}

pub(super) fn version_fault(header: &Header<'_>) -> Option<StatusCode> {
    if !matches!(&*header.version_dtd, "1.2" | "1.1") {
        Some(StatusCode::DTD_NOT_SUPPORTED)
    } else if !matches!(&*header.version_protocol, "DM/1.2" | "DM/1.1" | "DM/1.3") {
        Some(StatusCode::PROTOCOL_NOT_SUPPORTED)
    } else {
        None
    }
}

pub(super) fn needs_answer(command: &Command<'_>) -> bool {
    !matches!(command, Command::Status(_) | Command::Results(_))
}

pub(super) fn is_alert(command: &Command<'_>, code: AlertCode) -> bool {
    matches!(command, Command::Alert(alert) if alert.code == Some(code))
}

pub(super) fn executed(answer: &Answer) -> Option<Executed> {
    let Command::Status(status) = &answer.command else { return None };
    let (command, uri) = (status.command.to_string(), answer.uri.clone());
    Some(Executed { command, uri, code: status.code })
}
