//! `dm-gateway session SERVER`: a session with a DM server, now.

use crate::cli::client::{Call, Stop, broken, refused, understand, write};
use crate::cli::definition::{
    self, ASKING, CHANGING, Command, Given, Kind, PRINTING, flag, operand,
};
use crate::cli::narrate;
use crate::control::{Done, EventLine, LOST, Request};
use crate::gateway::event::EventKind;
use crate::gateway::management::ANOTHER_FOLLOWS;
use std::io;

/// `session`.
pub const COMMAND: Command = Command {
    name: "session",
    summary: "a DM session with a server that the gateway has an account with, now",
    operands: &[operand("SERVER", Kind::Server, "the server's id")],
    options: &[
        &[flag("wait", "tells every command with its status until the session has ended")],
        CHANGING,
        ASKING,
        PRINTING,
    ],
    exits: &[(1, "it is refused, or with --wait: it did not end properly")],
    run: Some(session),
    ..definition::COMMAND
};

fn session(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let wait = given.has("wait");
    let server = call.operands.concat();
    let request = Request::Session { server: server.clone(), wait };
    if call.dry_run {
        return call.have_done(&request);
    }
    let mut lines = call.lines(&request, !wait)?;
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let first = lines.next().unwrap_or_else(|| Err(ended())).map_err(broken)?;
    let first = understand::<Done>(refused(first)?)?;
    call.print(&first, |answer| answer.done.iter().map(|line| format!("{line}\n")).collect())?;
    if !wait {
        return Ok(0);
    }
    let mut before = first.body.done.iter().any(|line| line.ends_with(ANOTHER_FOLLOWS));
    for line in lines {
        let event = understand::<EventLine>(line.map_err(broken)?)?;
        let lost = event.body.event == LOST;
        // Whom devices name is another matter.
        let concerns = event.body.server.as_deref() == Some(&server) && event.body.device.is_none();
        if !concerns && !lost {
            continue;
        }
        let text = if call.json { event.line } else { narrate::line(&event.body) };
        write(&format!("{text}\n"))?;
        let ended = event.body.event == EventKind::SessionEnded.name();
        let failed = event.body.event == EventKind::SessionFailed.name();
        if (ended || failed) && std::mem::take(&mut before) {
            continue;
        }
        if ended || failed {
            return Ok(u8::from(failed));
        }
    }
    Err(broken(ended()))
}
