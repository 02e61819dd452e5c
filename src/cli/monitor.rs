//! `dm-gateway monitor`: what happens, while it happens.

use crate::cli::client::{Call, Stop, broken, finish, note, understand, usage, write};
use crate::cli::narrate;
use crate::control::{EventLine, Request, Watching};
use lexopt::Parser;
use std::io;
use std::process::ExitCode;

/// What `monitor --help` prints.
pub const USAGE: &str = usage!(
    "monitor",
    "\
Tells what happens, one line an event, until interrupted: the time in UTC, who speaks to whom,
the end device or DM server, what happened, and why."
);

/// Runs `monitor` with the arguments after that word.
pub fn run(arguments: Parser) -> ExitCode {
    finish(monitor(arguments), USAGE)
}

fn monitor(arguments: Parser) -> Result<u8, Stop> {
    let call = Call::read(arguments, &[])?;
    let mut lines = call.lines(&Request::Monitor, false)?;
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let first = lines.next().unwrap_or_else(|| Err(ended())).map_err(broken)?;
    let first = understand::<Watching>(first)?;
    if call.json {
        write(&format!("{}\n", first.line))?;
    } else {
        // Words go to stderr: what is piped on are events only.
        note("watching; times are UTC, Ctrl-C ends");
    }
    for line in lines {
        let event = understand::<EventLine>(line.map_err(broken)?)?;
        let text = if call.json { event.line } else { narrate::line(&event.body) };
        if !write(&format!("{text}\n"))? {
            return Ok(0);
        }
    }
    Err(broken(ended()))
}
