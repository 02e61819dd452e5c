//! `dm-gateway audit`: who changed what.

use crate::cli::client::{Call, Stop, broken, note, print, refused};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, PRINTING, flag, option};
use crate::cli::table::{self, Table, printable};
use crate::codes;
use crate::control::{Request, document};
use crate::io::audit::{self, Chained, Entry, Line};
use crate::proto::tree::timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `audit`.
pub const COMMAND: Command = Command {
    name: "audit",
    summary: "who changed what, when, and how it ended",
    text: "\
Shows what operators, DM servers and the daemon itself changed, and what they tried to. The daemon
keeps it in files of its state directory, about a megabyte; where no daemon answers, root reads
them. --format jsonl prints the lines as they stand there.

Each line is chained to the one before it by a hash. --verify checks that: a line that was changed,
taken out or put in shows. That the newest lines were cut off shows only to who knows the newest
hash, so send the lines elsewhere where that matters.",
    options: &[
        &[
            option("since", "TIME", Kind::Text, "only what is younger: 30m, 24h, 7d"),
            option("server", "ID", Kind::Server, "only what a DM server did, or was done about it"),
            flag("verify", "checks the chain, and shows nothing else"),
        ],
        ASKING,
        PRINTING,
    ],
    exits: &[(1, "with --verify: the chain is broken, or the audit cannot be read")],
    examples: &[
        ("dm-gateway audit --since 24h", "what changed since yesterday"),
        ("dm-gateway audit --verify", "whether somebody tampered with it"),
    ],
    run: Some(audit),
    ..definition::COMMAND
};

/// What `--verify --json` prints.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Verified {
    /// Whether the chain is whole.
    pub whole: bool,
    /// Lines in it.
    pub lines: usize,
    /// The hash of the newest line, to be kept elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
}

/// What `--json` prints.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Audit {
    /// The entries, the oldest first.
    pub audit: Vec<Entry>,
}

fn audit(given: Given) -> Result<u8, Stop> {
    let since = match given.value("since") {
        Some(text) => span(&text.to_string_lossy())?,
        None => None,
    };
    let server = given.parsed::<String>("server")?;
    let lines = lines(&given)?;
    if given.has("verify") {
        return verify(&given, &lines);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let oldest = since.map_or(0, |span| now.saturating_sub(span.as_secs()));
    let concerns = |entry: &Entry| match &server {
        Some(id) => {
            entry.by.strip_prefix("server:") == Some(id) || entry.subject.as_ref() == Some(id)
        }
        None => true,
    };
    let read = lines.iter().map(|line| {
        let chained = serde_json::from_str::<Chained>(&line.text);
        (line, chained.map(|chained| chained.entry))
    });
    let mut odd = 0;
    let mut wanted = Vec::new();
    for (line, entry) in read {
        match entry {
            Ok(entry) if entry.time >= oldest && concerns(&entry) => wanted.push((line, entry)),
            Ok(_) => {}
            Err(_) => odd += 1,
        }
    }
    if odd > 0 {
        let odd = match odd {
            1 => "1 line is no entry".to_owned(),
            number => format!("{number} lines are no entries"),
        };
        note(&format!("{odd}; try: dm-gateway audit --verify"));
    }
    match given.form() {
        definition::Form::Lines => {
            print(&wanted.iter().map(|(line, _)| format!("{}\n", line.text)).collect::<String>())?;
        }
        definition::Form::Json => {
            let audit = wanted.into_iter().map(|(_, entry)| entry).collect();
            print(&format!("{}\n", document(Audit { audit })))?;
        }
        definition::Form::Table => {
            let entries: Vec<_> = wanted.into_iter().map(|(_, entry)| entry).collect();
            print(&table(&entries))?;
        }
    }
    Ok(0)
}

/// The lines, from the daemon; where none answers, from its files.
fn lines(given: &Given) -> Result<Vec<Line>, Stop> {
    match from_daemon(given) {
        Err(Stop::Unanswered(trouble)) if !given.has("socket") => {
            let state_dir = Call::state_dir(given)?;
            audit::lines(&state_dir).map_err(|error| {
                // Whoever may not use the socket is told that, not that the files are secret.
                let sentence = format!("{error}; cause: and {}", trouble.what);
                Stop::with(codes::AUDIT_READ, &sentence)
            })
        }
        result => result,
    }
}

fn from_daemon(given: &Given) -> Result<Vec<Line>, Stop> {
    let answer = Call::of(given).lines(&Request::Audit, true)?;
    let mut lines = Vec::new();
    for (index, line) in answer.enumerate() {
        let text = refused(line.map_err(broken)?)?;
        // Which file a line stands in the daemon does not tell.
        let (file, number) = (PathBuf::from("the daemon's answer"), index + 1);
        lines.push(Line { file, number, text });
    }
    Ok(lines)
}

fn verify(given: &Given, lines: &[Line]) -> Result<u8, Stop> {
    let count = audit::verify(lines).map_err(|broken| {
        let sentence = format!(
            "the audit is broken at line {} of {}; cause: {}",
            broken.line,
            broken.file.display(),
            broken.why
        );
        Stop::with(codes::AUDIT_BROKEN, &sentence)
    })?;
    let newest = lines.last().and_then(|line| audit::hash_of(&line.text)).map(str::to_owned);
    if given.form() == definition::Form::Table {
        let newest = newest.map_or_else(String::new, |hash| format!("; the newest hash is {hash}"));
        print(&format!("the chain of {} is whole{newest}\n", table::count(count as u64, "line")))?;
    } else {
        print(&format!("{}\n", document(Verified { whole: true, lines: count, newest })))?;
    }
    Ok(0)
}

fn table(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing was changed\n".to_owned();
    }
    let mut table = Table::new(&["TIME", "WHO", "WHAT", "RESULT", "OF", "DETAILS"]);
    for entry in entries {
        let shown = entry.kept.as_ref().and_then(|kept| {
            let kept = serde_json::from_value::<Entry>(kept.clone()).ok()?;
            Some(Entry { what: format!("kept: {}", kept.what), ..kept })
        });
        let entry = shown.as_ref().unwrap_or(entry);
        let details = match (&entry.why, &entry.before, &entry.after) {
            (Some(why), ..) => why.clone(),
            (None, Some(before), Some(after)) if before != after => format!("{before} → {after}"),
            (None, _, Some(after)) => after.clone(),
            (None, Some(before), None) => format!("was: {before}"),
            (None, None, None) => String::new(),
        };
        table.row([
            &*moment(entry.time),
            &entry.by,
            &entry.what,
            &entry.result,
            entry.subject.as_deref().unwrap_or_default(),
            &printable(&details),
        ]);
    }
    table.render()
}

/// `2026-01-31 23:59:59Z`.
fn moment(unix: u64) -> String {
    let text = timestamp(unix);
    match (text.get(..4), text.get(4..6), text.get(6..8), text.get(9..11), text.get(11..13)) {
        (Some(year), Some(month), Some(day), Some(hour), Some(minute)) => {
            let second = text.get(13..15).unwrap_or_default();
            format!("{year}-{month}-{day} {hour}:{minute}:{second}Z")
        }
        _ => "clock not set".to_owned(),
    }
}

fn span(text: &str) -> Result<Option<Duration>, Stop> {
    let wrong = || Stop::Usage(format!("--since is a time as 30m, 24h or 7d, not `{text}`"));
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.get(..text.len() - 1).unwrap_or_default();
    let number = number.parse::<u32>().map_err(|_| wrong())?;
    Ok(Some(Duration::from_secs(u64::from(number) * unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_who_did_what_and_how_it_ended() {
        let entry = Entry {
            subject: Some("IMEI:1".into()),
            before: Some("a".into()),
            after: Some("b".into()),
            ..Entry::new(1_769_903_999, "uid:0", "block")
        };
        let failed = Entry::new(0, "server:x", "delete").failed(Some("405 not allowed".into()));
        assert_eq!(
            table(&[entry, failed]),
            "TIME                  WHO       WHAT    RESULT  OF      DETAILS\n\
             2026-01-31 23:59:59Z  uid:0     block   done    IMEI:1  a → b\n\
             clock not set         server:x  delete  failed  -       405 not allowed\n"
        );
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(span("24h").unwrap(), Some(Duration::from_secs(86_400)));
        for wrong in ["", "24", "h", "-1h", "1é", "99999999999d"] {
            assert!(matches!(span(wrong), Err(Stop::Usage(_))), "{wrong}");
        }
    }
}
