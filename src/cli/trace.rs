//! `dm-gateway trace`: the messages of one end device or DM server, decoded, without secrets.

use crate::cli::client::{Call, Stop, broken, note, understand, write};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, PRINTING, operand, option};
use crate::cli::table::{count, printable};
use crate::control::{Request, TraceLine};
use crate::limits;
use std::io;

/// `trace`.
pub const COMMAND: Command = Command {
    name: "trace",
    summary: "the messages of one end device or DM server, decoded, for a while",
    text: "Shows pushes, Package #0 and SyncML in both directions as decode does. Credentials, \
           nonces, digests, MACs, documents with accounts and values that may be secrets are not \
           shown. It ends by itself. Whoever is not known yet is waited for, and that is said.",
    operands: &[operand("DEVICE|SERVER", Kind::Text, "the id of an end device or a DM server")],
    options: &[
        ASKING,
        PRINTING,
        &[
            option("for", "TIME", Kind::Text, "for how long: 90s, 10m, 1h (default 10m)"),
            option("messages", "N", Kind::Text, "at most so many messages (default 1000)"),
        ],
    ],
    examples: &[("dm-gateway trace IMEI:490154203237518 --for 30m", "while it drives out and in")],
    run: Some(trace),
    ..definition::COMMAND
};

fn trace(given: Given) -> Result<u8, Stop> {
    let seconds = match given.value("for") {
        Some(text) => seconds(&text.to_string_lossy())?,
        None => 600,
    };
    let messages = given.parsed::<u64>("messages")?.unwrap_or(1000);
    let peer = given.operand(0).unwrap_or_default().to_owned();
    let call = Call::of(&given);
    let mut lines = call.lines(&Request::Trace { peer, seconds, messages }, false)?;
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let first = lines.next().unwrap_or_else(|| Err(ended())).map_err(broken)?;
    let first = understand::<TraceLine>(first)?;
    if call.json {
        write(&format!("{}\n", first.line))?;
    } else {
        first.body.lines.iter().for_each(|line| note(&printable(line)));
        note("tracing; times are UTC, Ctrl-C ends");
    }
    for line in lines {
        let message = understand::<TraceLine>(line.map_err(broken)?)?;
        let is_last = message.body.trace == "end";
        if call.json {
            if !write(&format!("{}\n", message.line))? {
                return Ok(0);
            }
        } else if is_last {
            note(&format!("ended: {}", message.body.lines.join(", ")));
        } else if !write(&people(&message.body))? {
            return Ok(0);
        }
        if is_last {
            return Ok(0);
        }
    }
    Err(broken(ended()))
}

fn people(message: &TraceLine) -> String {
    let mut text = String::new();
    if let Some(lost) = message.lost {
        let lost = count(lost, "message");
        text.push_str(&format!("({lost} left out: the reader is too slow)\n"));
    }
    let arrow = if message.trace == "in" { "<-" } else { "->" };
    let unix = message.time;
    let status = message.status.map_or_else(String::new, |status| format!(", HTTP {status}"));
    text.push_str(&format!(
        "{:02}:{:02}:{:02} {arrow} {} {}, {} octets{status}\n",
        unix / 3600 % 24,
        unix / 60 % 60,
        unix % 60,
        printable(message.carrier.as_deref().unwrap_or_default()),
        printable(message.address.as_deref().unwrap_or_default()),
        message.octets,
    ));
    for line in &message.lines {
        text.push_str(&format!("    {}\n", printable(line)));
    }
    text
}

fn seconds(text: &str) -> Result<u64, Stop> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let number = units.iter().find_map(|(unit, seconds)| {
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*seconds)
    });
    let most = limits::TRACE_TIME.as_secs();
    number.filter(|seconds| (1..=most).contains(seconds)).ok_or_else(|| {
        Stop::Usage(format!("--for is a time such as 90s or 10m, at most 1h, not `{text}`"))
    })
}
