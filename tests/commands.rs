//! Every command that there is, by its definition: what holds for all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use dm_gateway::cli::definition::{Choice, Command, Kind, Operand, Times, name};
use dm_gateway::cli::{COMMANDS, help};
use dm_gateway::codes;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{self, Output, Stdio};

#[test]
fn help_tells_every_option_and_operand_of_every_command() {
    for path in paths(COMMANDS) {
        let command = path.last().unwrap();
        let ended = run(&path, &["--help"]);
        assert_eq!(ended.status.code(), Some(0), "{}", name(&path));
        let text = stdout(&ended);
        assert!(text.starts_with(&format!("usage: dm-gateway {}", name(&path))), "{text}");
        for choice in choices(command) {
            assert!(
                text.contains(&format!("  {} ", help::spelt(choice))),
                "{}: {text}",
                choice.long
            );
        }
        for operand in command.operands {
            assert!(text.contains(&format!("\n  {} ", operand.name)), "{}: {text}", operand.name);
        }
        for below in command.commands {
            assert!(text.contains(&format!("\n  {} ", below.name)), "{}: {text}", below.name);
        }
        for line in text.lines().filter(|line| !line.contains("usage: ")) {
            assert!(line.chars().count() <= 110, "{}: {line}", name(&path));
        }
        // `help devices show` is `devices show --help`.
        let words = path.iter().map(|command| command.name);
        let same = dm_gateway(&["help"]).args(words).output().unwrap();
        assert_eq!(stdout(&same), text);
    }
}

#[test]
fn the_overview_has_every_command_and_fits_on_a_screen() {
    let text = stdout(&dm_gateway(&["--help"]).output().unwrap());
    assert_eq!(stdout(&dm_gateway(&["help"]).output().unwrap()), text);
    for command in COMMANDS {
        let line = text.lines().find(|line| line.starts_with(&format!("  {} ", command.name)));
        assert!(line.is_some_and(|line| line.ends_with(command.summary)), "{}", command.name);
    }
    assert!(text.lines().count() <= 50 && text.lines().all(|line| line.chars().count() <= 110));
}

#[test]
fn every_definition_is_whole() {
    let mut names = BTreeSet::new();
    for path in paths(COMMANDS) {
        let command = path.last().unwrap();
        let whole = name(&path);
        assert!(names.insert(whole.clone()), "{whole} twice");
        assert!(!command.summary.is_empty() && !command.summary.ends_with('.'), "{whole}");
        assert!(command.run.is_some() || !command.commands.is_empty(), "{whole} does nothing");
        let mut longs = BTreeSet::new();
        for choice in choices(command) {
            assert!(longs.insert(choice.long), "{whole} --{} twice", choice.long);
            assert!(!choice.text.is_empty() && !choice.text.ends_with('.'), "{whole}");
        }
        assert_eq!(longs.contains("json"), longs.contains("format"), "{whole}");
        let optional = |operand: &Operand| operand.times != Times::Once;
        let first = command.operands.iter().position(optional).unwrap_or(usize::MAX);
        assert!(first >= command.operands.len().saturating_sub(1), "{whole}: only the last varies");
        let codes: Vec<_> = command.exits.iter().map(|exit| exit.0).collect();
        assert!(codes.is_sorted() && !codes.contains(&0) && !codes.contains(&64), "{whole}");
    }
}

#[test]
fn an_option_that_nobody_has_is_wrong_usage_with_the_nearest_name() {
    for path in paths(COMMANDS) {
        let ended = run(&path, &["--no-such-option-at-all"]);
        wrong_usage(&path, &ended);
        for choice in choices(path.last().unwrap()).filter(|choice| choice.long.len() > 4) {
            let typed = format!("--{}", &choice.long[..choice.long.len() - 1]);
            if choices(path.last().unwrap()).any(|other| typed == format!("--{}", other.long)) {
                continue;
            }
            let said = wrong_usage(&path, &run(&path, &[&typed]));
            assert!(said.contains(": is it --"), "{said}");
        }
    }
}

#[test]
fn an_operand_too_few_or_too_many_is_wrong_usage() {
    for path in paths(COMMANDS) {
        let command = path.last().unwrap();
        if command.run.is_none() {
            let said = wrong_usage(&path, &run(&path, &[]));
            assert!(said.contains(" what: "), "{said}");
            continue;
        }
        let needed =
            command.operands.iter().filter(|it| matches!(it.times, Times::Once | Times::Many));
        if needed.count() > 0 {
            let said = wrong_usage(&path, &run(&path, &[]));
            assert!(said.contains(" is missing\n"), "{said}");
        }
        let varies = |it: &Operand| matches!(it.times, Times::Many | Times::Any);
        if !command.operands.iter().any(varies) {
            let operands: Vec<_> = command.operands.iter().map(example).collect();
            let operands = [operands, vec!["one-more"]].concat();
            wrong_usage(&path, &run(&path, &operands));
        }
    }
}

/// Commands that make do without a daemon, though they take `--socket`.
const WITHOUT: &[&str] = &["audit", "config show", "support-bundle"];

#[test]
fn without_a_daemon_every_command_that_asks_it_exits_3_and_says_so_in_words_and_json() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("no.sock");
    let socket = ["--socket", socket.to_str().unwrap()];
    let mut asking = 0;
    for path in paths(COMMANDS) {
        let command = path.last().unwrap();
        let asks = choices(command).any(|choice| choice.long == "socket");
        // A file is read before the daemon is asked, and there is none.
        let reads = command.operands.iter().any(|operand| operand.kind == Kind::File);
        if command.run.is_none() || !asks || reads || WITHOUT.contains(&name(&path).as_str()) {
            continue;
        }
        asking += 1;
        let needed =
            command.operands.iter().filter(|it| matches!(it.times, Times::Once | Times::Many));
        let operands: Vec<_> = needed.map(example).collect();
        let ended = run(&path, &[&operands[..], &socket].concat());
        assert_eq!(ended.status.code(), Some(3), "{}: {ended:?}", name(&path));
        let said = stderr(&ended);
        assert!(said.starts_with("error[GW-CTL-01]: "), "{said}");
        assert!(said.contains("\n  cause: ") && said.contains("\n  try: "), "{said}");
        assert!(ended.stdout.is_empty(), "{}", name(&path));
        if !choices(command).any(|choice| choice.long == "json") {
            continue;
        }
        let ended = run(&path, &[&operands[..], &socket, &["--json"]].concat());
        let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(
            (&document["schema"], &document["error"]["code"]),
            (&1.into(), &"GW-CTL-01".into())
        );
        assert_eq!(stderr(&ended), said);
    }
    assert!(asking > 8);
}

#[test]
fn a_form_that_is_none_is_wrong_usage() {
    for path in paths(COMMANDS) {
        let command = path.last().unwrap();
        if command.run.is_some() && choices(command).any(|choice| choice.long == "format") {
            let said = wrong_usage(&path, &run(&path, &["--format", "xml"]));
            assert!(said.contains("--format is "), "{said}");
        }
    }
}

#[test]
fn a_command_that_is_none_is_wrong_usage_with_the_nearest_name() {
    for command in COMMANDS.iter().filter(|command| command.name.len() > 3) {
        let typed = &command.name[..command.name.len() - 1];
        let said = wrong_usage(&[], &dm_gateway(&[typed]).output().unwrap());
        assert!(said.contains(": is it `"), "{said}");
    }
}

// --- What they share -------------------------------------------------------------------------

fn wrong_usage(path: &[&'static Command], ended: &Output) -> String {
    let said = stderr(ended);
    assert_eq!(ended.status.code(), Some(64), "{}: {ended:?}", name(path));
    assert!(said.starts_with(&format!("error[{}]: ", codes::USAGE)), "{said}");
    assert!(
        said.contains("\n  try: dm-gateway ") && said.contains("\nusage: dm-gateway "),
        "{said}"
    );
    assert!(ended.stdout.is_empty());
    said
}

/// Every command with those above it, outermost first.
fn paths(commands: &'static [Command]) -> Vec<Vec<&'static Command>> {
    let below = |command: &'static Command| {
        let deeper = paths(command.commands).into_iter();
        let deeper = deeper.map(move |path| [vec![command], path].concat());
        [vec![command]].into_iter().chain(deeper)
    };
    commands.iter().flat_map(below).collect()
}

fn choices(command: &'static Command) -> impl Iterator<Item = &'static Choice> + Clone {
    command.options.iter().copied().flatten()
}

/// Something that can stand there.
fn example(operand: &Operand) -> &'static str {
    match operand.kind {
        Kind::Words(words) => words.first().unwrap(),
        _ => "1",
    }
}

fn run(path: &[&'static Command], arguments: &[&str]) -> Output {
    let words: Vec<_> = path.iter().map(|command| command.name).collect();
    dm_gateway(&words).args(arguments).output().unwrap()
}

fn dm_gateway(arguments: &[&str]) -> process::Command {
    let mut command = process::Command::new(env!("CARGO_BIN_EXE_dm-gateway"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn stdout(ended: &Output) -> String {
    String::from_utf8(ended.stdout.clone()).unwrap()
}

fn stderr(ended: &Output) -> String {
    String::from_utf8(ended.stderr.clone()).unwrap()
}
