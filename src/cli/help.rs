//! What `--help` prints of a command, made from its definition.

use super::definition::{Choice, Command, Kind, Times, name};
use std::fmt::Write as _;

/// Columns of a line.
const WIDTH: usize = 100;

/// Exit codes that every command has.
pub const EXITS: &[(u8, &str)] = &[
    (0, "it went as it should"),
    (3, "no daemon answers"),
    (64, "wrong usage"),
    (74, "the result cannot be written"),
];

/// The commands by what they are for. One that stands in no group comes last.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("The gateway", &["run", "status", "check", "config", "reload", "apply", "confirm"]),
    ("End devices and DM servers", &["devices", "servers", "map", "session", "tree"]),
    ("Accounts and state", &["bootstrap", "provision", "backup", "restore", "factory-reset"]),
    (
        "What happens",
        &["monitor", "trace", "audit", "log-level", "web", "metrics", "support-bundle"],
    ),
    ("Without a gateway", &["decode", "demo", "simulate", "manual"]),
];

/// The whole text for a command with those above it, outermost first.
pub fn help(path: &[&Command]) -> String {
    let Some(command) = path.last() else { return overview(super::COMMANDS) };
    let mut text = format!("{}\n\n{}.\n", usage(path), sentence(command.summary));
    if !command.text.is_empty() {
        text.push('\n');
        command.text.trim_end().lines().for_each(|line| text.push_str(&folded(line)));
    }
    let commands = command.commands.iter();
    rows(&mut text, commands.map(|it| (it.name.to_owned(), it.summary.to_owned())));
    let operands = command.operands.iter();
    rows(&mut text, operands.map(|it| (it.name.to_owned(), it.text.to_owned())));
    rows(&mut text, command.options.iter().copied().flatten().map(|it| (spelt(it), told(it))));
    if !command.examples.is_empty() {
        text.push('\n');
        for (line, what) in command.examples {
            let _ = writeln!(text, "  {line}\n      {what}");
        }
    }
    if command.run.is_some() {
        let general = EXITS.iter().filter(|(code, _)| match code {
            0 | 64 => true,
            3 => asks(command),
            _ => false,
        });
        let mut exits: Vec<_> = command.exits.iter().chain(general).collect();
        exits.sort_by_key(|(code, _)| *code);
        text.push_str("\nexit code:");
        let exits = exits.into_iter().map(|(code, what)| (code.to_string(), (*what).to_owned()));
        rows(&mut text, exits);
    }
    text
}

/// The text for all commands, in groups.
fn overview(commands: &[Command]) -> String {
    let mut text = format!("{}; each COMMAND explains itself with --help\n", usage(&[]));
    let of = |name: &&str| commands.iter().find(|command| command.name == *name);
    let grouped = |command: &&Command| GROUPS.iter().any(|it| it.1.contains(&command.name));
    let others = commands.iter().filter(|command| !grouped(command));
    let width = commands.iter().map(|command| command.name.len()).max().unwrap_or_default();
    let groups =
        GROUPS.iter().map(|(title, names)| (*title, names.iter().filter_map(of).collect()));
    for (title, commands) in groups.chain([("Besides", others.collect::<Vec<_>>())]) {
        if !commands.is_empty() {
            let _ = writeln!(text, "\n{title}");
        }
        for command in commands {
            let _ = writeln!(text, "  {:width$}  {}", command.name, command.summary);
        }
    }
    text.push_str("\ndm-gateway --version prints the version.");
    if !cfg!(feature = "simulate") {
        text.push_str(" This build has no demo and no simulate.");
    }
    text.push('\n');
    text
}

/// The first line.
pub fn usage(path: &[&Command]) -> String {
    let Some(command) = path.last() else {
        return "usage: dm-gateway COMMAND [options]".to_owned();
    };
    let mut text = format!("usage: dm-gateway {}", name(path));
    if !command.commands.is_empty() {
        let names: Vec<_> = command.commands.iter().map(|command| command.name).collect();
        let names = names.join("|");
        match command.run {
            Some(_) => text.push_str(&format!(" [{names}]")),
            None => text.push_str(&format!(" {names}")),
        }
    }
    for operand in command.operands {
        text.push_str(&match operand.times {
            Times::Once => format!(" {}", operand.name),
            Times::Optional => format!(" [{}]", operand.name),
            Times::Many => format!(" {}…", operand.name),
            Times::Any => format!(" [{}…]", operand.name),
        });
    }
    if command.options.iter().any(|group| !group.is_empty()) {
        text.push_str(" [options]");
    }
    text
}

/// `--format FORM`.
pub fn spelt(choice: &Choice) -> String {
    match choice.value {
        Some((value, _)) => format!("--{} {value}", choice.long),
        None => format!("--{}", choice.long),
    }
}

/// What an option does, with the words that it takes.
pub fn told(choice: &Choice) -> String {
    match choice.value {
        Some((_, Kind::Words(words))) => format!("{}: {}", choice.text, words.join(", ")),
        _ => choice.text.to_owned(),
    }
}

fn asks(command: &Command) -> bool {
    command.options.iter().copied().flatten().any(|choice| choice.long == "socket")
}

fn rows(text: &mut String, rows: impl Iterator<Item = (String, String)> + Clone) {
    let Some(width) = rows.clone().map(|(name, _)| name.chars().count()).max() else { return };
    text.push('\n');
    for (name, what) in rows {
        fold(text, format!("  {name:width$}  "), &what);
    }
}

/// A line of prose in lines that fit; one with blanks before it stays as it is.
fn folded(line: &str) -> String {
    let mut text = String::new();
    if line.starts_with(' ') {
        text.push_str(line);
        text.push('\n');
    } else {
        fold(&mut text, String::new(), line);
    }
    text
}

/// Adds words behind `head` in lines that fit, each below where the first word stands.
fn fold(text: &mut String, head: String, words: &str) {
    let indent = head.chars().count();
    let mut column = indent;
    text.push_str(&head);
    for (index, word) in words.split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
