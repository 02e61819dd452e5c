//! `dm-gateway manual`: a chapter of the manual, or the page of a code.

use crate::cli::client::{Stop, print};
use crate::cli::definition::{self, Command, Given, Kind, Operand, Times, nearest};
use crate::codes::{self, Trouble};
use crate::manual::{self, CHAPTERS, reference, terminal};
use std::fmt::Write as _;

/// `manual`.
pub const COMMAND: Command = Command {
    name: "manual",
    summary: "the manual: its chapters, one of them, or what a code means",
    text: "Without a TOPIC it lists them. A build for a router has no chapters `gallery` and\n\
           `conformance`; one without the feature `manual` has `codes` and `commands` only.",
    operands: &[Operand {
        name: "TOPIC",
        text: "a chapter, or a code such as GW-LAN-01",
        times: Times::Optional,
        kind: Kind::Text,
    }],
    exits: &[(1, "there is no such topic")],
    examples: &[
        ("dm-gateway manual troubleshooting", "what you see, what to type, what it means"),
        ("dm-gateway manual GW-STORE-01", "what that code means, and what to do"),
    ],
    run: Some(run),
    ..definition::COMMAND
};

fn run(given: Given) -> Result<u8, Stop> {
    let text = match given.operand(0) {
        None => contents(),
        Some(topic) => page(topic)?,
    };
    print(&text)?;
    Ok(0)
}

/// The list of chapters.
fn contents() -> String {
    let width = CHAPTERS.iter().map(|chapter| chapter.topic.len()).max().unwrap_or_default();
    let mut text = "dm-gateway manual TOPIC prints one of these:\n\n".to_owned();
    for chapter in CHAPTERS {
        if made(chapter.topic).is_some() || chapter.text.is_some() {
            let _ = writeln!(text, "  {:width$}  {}", chapter.topic, chapter.about);
        }
    }
    text.push_str("\ndm-gateway manual CODE tells what a code such as GW-LAN-01 means.\n");
    text
}

/// A chapter or the page of a code, for the terminal.
fn page(topic: &str) -> Result<String, Stop> {
    if let Some(code) = codes::find(topic) {
        return Ok(terminal::render(&reference::page(code)));
    }
    let Some(chapter) = manual::chapter(topic) else { return Err(unknown(topic)) };
    if let Some(text) = made(chapter.topic) {
        return Ok(terminal::render(&text));
    }
    chapter.text.map(terminal::render).ok_or_else(|| {
        Stop::failed(&format!(
            "this build has no chapter {}; cause: it was left out to save flash; try: the \
             documentation that came with the source or the package",
            chapter.topic
        ))
    })
}

/// A chapter that is made from the code, here and now.
fn made(topic: &str) -> Option<String> {
    match topic {
        "codes" => Some(reference::codes()),
        "commands" => Some(reference::commands(super::COMMANDS)),
        _ => None,
    }
}

/// How often a chapter has a word that it is about, at least.
const SPOKEN: usize = 3;

/// Topics that were probably meant: a name like this one, those that begin or go on like it, the
/// codes of the same area, the codes and chapters that speak of it.
fn unknown(topic: &str) -> Stop {
    let wanted = topic.to_ascii_lowercase();
    let chapters = CHAPTERS.iter().map(|chapter| chapter.topic);
    let ids = || codes::ALL.iter().map(|code| code.id);
    let mut near: Vec<&str> =
        chapters.clone().filter(|it| it.contains(&wanted) || wanted.contains(it)).collect();
    near.extend(nearest(&wanted, chapters));
    near.extend(nearest(&topic.to_ascii_uppercase(), ids()));
    let area = wanted.rsplit_once('-').map_or(&*wanted, |(area, _)| area);
    near.extend(ids().filter(|id| area.len() > 1 && id.to_ascii_lowercase().contains(area)));
    if near.is_empty() {
        // Once or twice is said in passing.
        let speaks = |text: &str| {
            let text = text.to_lowercase();
            let words = text.split(|c: char| !c.is_alphanumeric());
            words.filter(|word| *word == wanted).count()
        };
        let spoken = CHAPTERS.iter().map(|it| (it.text.map_or(0, speaks), it.topic));
        let mut spoken: Vec<_> = spoken.filter(|(number, _)| *number >= SPOKEN).collect();
        spoken.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        near.extend(spoken.into_iter().map(|(_, topic)| topic));
    }
    let mut named: Vec<String> = Vec::new();
    for name in near {
        let line = format!("dm-gateway manual {name}");
        if !named.contains(&line) && named.len() < 6 {
            named.push(line);
        }
    }
    let next = match named.is_empty() {
        true => "dm-gateway manual".to_owned(),
        false => named.join(", "),
    };
    let sentence = format!("the manual has no topic `{topic}`; try: {next}");
    Stop::Failed(Trouble::new(codes::FAILED, &sentence).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(topic: &str) -> String {
        match page(topic) {
            Err(Stop::Failed(trouble)) => trouble.next.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_unknown_topic_names_the_nearest() {
        assert_eq!(next("polices"), "dm-gateway manual policies");
        assert_eq!(next("server"), "dm-gateway manual dm-servers");
        assert!(next("GW-LAN-99").contains("GW-LAN-01"));
        assert_eq!(next("xyzzy"), "dm-gateway manual");
        assert_eq!(next("links"), "dm-gateway manual");
    }

    #[test]
    fn every_topic_and_every_code_has_a_page() {
        for chapter in CHAPTERS {
            if chapter.text.is_some() {
                let text = page(chapter.topic).unwrap();
                assert!(text.lines().count() > 5, "{}", chapter.topic);
            }
        }
        for code in codes::ALL {
            assert!(page(&code.id.to_lowercase()).unwrap().contains("Try:"));
        }
        assert!(contents().contains("commands"));
    }
}
