//! What the gateway has written to the log, and how much of it; and the texts that are made from
//! its table of events. `UPDATE_EXPECTED=1` writes those anew.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Lab, MINUTE, SECOND};
use dm_gateway::gateway::event::{EventKind, Reason};
use dm_gateway::gateway::journal::ENTRIES;
use dm_gateway::gateway::seam::Input;
use log::{Level, LevelFilter};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

fn flood(lab: &mut Lab, datagrams: usize) {
    for port in 0..datagrams {
        let from = format!("203.0.113.5:{}", 1024 + port).parse().unwrap();
        lab.handle(Input::Push { from, datagram: b"nonsense" });
    }
}

#[test]
fn a_flood_of_refusals_is_one_line_a_minute_and_a_count() {
    let mut lab = Lab::transparent();
    lab.gateway.log(LevelFilter::Info);
    for _ in 0..3 {
        lab.logged.clear();
        flood(&mut lab, 1000);
        let [(event, 0)] = &lab.logged[..] else { panic!("{:?}", lab.logged) };
        assert_eq!((event.kind, event.level()), (EventKind::Refused, Level::Info));
        assert_eq!(event.reason, Some(Reason::MalformedPush));
        lab.advance(MINUTE);
        let [_, (event, 999)] = &lab.logged[..] else { panic!("{:?}", lab.logged) };
        assert!(event.why.starts_with("999 more in the last minute: "), "{}", event.why);
        lab.advance(MINUTE + SECOND);
        assert_eq!(lab.logged.len(), 2, "what is over is told once");
    }
}

#[test]
fn whoever_asks_for_everything_gets_everything_and_by_default_nobody_gets_anything() {
    let mut lab = Lab::transparent();
    lab.gateway.observe(false);
    flood(&mut lab, 10);
    assert!(lab.logged.is_empty() && lab.events.is_empty());
    lab.gateway.log(LevelFilter::Debug);
    flood(&mut lab, 10);
    assert_eq!(lab.logged.len(), 10);
}

#[test]
fn the_manual_and_the_catalog_tell_every_kind_of_event() {
    let chapter = include_str!("../src/manual/journal.md");
    let (head, _) = chapter.split_once("## Events\n").unwrap();
    same("src/manual/journal.md", &format!("{head}{}", tables()));
    same("systemd/dm-gateway.catalog", &catalog());
}

/// The end of the chapter; what stands before it is written by hand.
fn tables() -> String {
    let mut text = "## Events\n\n".to_owned();
    text.push_str("| `GW_EVENT` | what happened | level | `MESSAGE_ID` |\n|---|---|---|---|\n");
    for entry in ENTRIES {
        let code = entry.code.map_or_else(String::new, |code| format!(" (`{code}`)"));
        writeln!(
            text,
            "| `{}` | {}{code} | {} | `{}` |",
            entry.kind.name(),
            entry.what,
            entry.level.as_str().to_lowercase(),
            entry.message_id
        )
        .unwrap();
    }
    text.push_str("\n## Reasons of refusals\n\n| `GW_REASON` | what it means |\n|---|---|\n");
    for reason in Reason::ALL {
        writeln!(text, "| `{}` | {} |", reason.name(), reason.sentence()).unwrap();
    }
    text
}

fn catalog() -> String {
    let mut text = "# Explanations for journalctl --catalog. To be installed as\n\
                    # /usr/lib/systemd/catalog/dm-gateway.catalog.\n"
        .to_owned();
    for entry in ENTRIES {
        let (kind, id) = (entry.kind.name(), entry.message_id);
        let mut what = entry.what.to_owned();
        what[..1].make_ascii_uppercase();
        writeln!(
            text,
            "\n-- {id}\nSubject: {what}\nDefined-By: dm-gateway\nDocumentation: \
             man:dm-gateway(1)\n\nThe event `{kind}` of the DM gateway. The line says whom it \
             concerns and why."
        )
        .unwrap();
        match entry.code {
            Some(code) => {
                writeln!(text, "{code}: {}. Try: {}.", code.title, code.remedy).unwrap();
            }
            None => writeln!(text, "To see only these: journalctl GW_EVENT={kind}").unwrap(),
        }
    }
    text
}

fn same(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{}: write it anew by UPDATE_EXPECTED=1", path.display());
}
