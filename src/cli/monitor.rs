//! `dm-gateway monitor`: what happens, while it happens.

use crate::cli::client::{Call, Stop, broken, note, understand, write};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, PRINTING, option};
use crate::cli::narrate;
use crate::control::{EventLine, LOST, Request, Watching};
use std::io;

/// `monitor`.
pub const COMMAND: Command = Command {
    name: "monitor",
    summary: "what happens, while it happens, one line an event, until interrupted",
    text: "A line tells the time in UTC, who speaks to whom, the end device or DM server, what
happened, and why.",
    options: &[
        &[
            option("device", "ID", Kind::Device, "only what concerns this end device"),
            option("server", "ID", Kind::Server, "only what concerns this DM server"),
        ],
        ASKING,
        PRINTING,
    ],
    examples: &[
        ("dm-gateway monitor --device IMEI:490154203237518", "what happens to one radio"),
        ("dm-gateway monitor --json | jq .why", "the reasons, for a program"),
    ],
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
        if !concerns(&event.body, &given) {
            continue;
        }
        let text = if call.json { event.line } else { narrate::line(&event.body) };
        if !write(&format!("{text}\n"))? {
            return Ok(0);
        }
    }
    Err(broken(ended()))
}

/// Whether an event is one of those asked for. That some were left out is always told.
fn concerns(event: &EventLine, given: &Given) -> bool {
    let is = |option: &str, id: &Option<String>| {
        let Some(wanted) = given.value(option) else { return true };
        id.as_deref().is_some_and(|id| wanted.eq_ignore_ascii_case(id))
    };
    event.event == LOST || is("device", &event.device) && is("server", &event.server)
}
