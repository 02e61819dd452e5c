//! `dm-gateway monitor`: what happens, while it happens.

use crate::cli::client::{Call, Stop, broken, note, understand, write};
use crate::cli::definition::{self, ASKING, Command, Given, PRINTING};
use crate::cli::narrate;
use crate::control::{EventLine, Request, Watching};
use std::io;

/// `monitor`.
pub const COMMAND: Command = Command {
    name: "monitor",
    summary: "what happens, while it happens, one line an event, until interrupted",
    text: "A line tells the time in UTC, who speaks to whom, the end device or DM server, what
happened, and why.",
    options: &[ASKING, PRINTING],
    run: Some(monitor),
    ..definition::COMMAND
};

fn monitor(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
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
