//! `dm-gateway session SERVER`: a session with a DM server, now.

use crate::cli::client::{Call, Stop, broken, finish, refused, understand, usage, write};
use crate::cli::narrate;
use crate::control::{Done, EventLine, LOST, Request};
use crate::gateway::event::EventKind;
use crate::gateway::management::ANOTHER_FOLLOWS;
use lexopt::Parser;
use std::io;
use std::process::ExitCode;

/// What `session --help` prints.
pub const USAGE: &str = usage!(
    "session SERVER [--wait]",
    "\
Has the gateway begin a session with a DM server that it has an account with.

  --wait         tells every command with its status until the session has ended;
                 exit code 0 only if it ended properly, else 1"
);

/// Runs `session` with the arguments after that word.
pub fn run(arguments: Parser) -> ExitCode {
    finish(session(arguments), USAGE)
}

fn session(arguments: Parser) -> Result<u8, Stop> {
    let (call, flags) = Call::read_with(arguments, &["SERVER"], &["wait"])?;
    let wait = flags.contains(&"wait");
    let server = call.operands.concat();
    let request = Request::Session { server: server.clone(), wait };
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
