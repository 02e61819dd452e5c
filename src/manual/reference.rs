//! The chapters that are made from code: every command, every code, every refusal.

use crate::cli::definition::{Command, name};
use crate::cli::help;
use crate::codes;
use crate::gateway::event::Reason;
use std::fmt::Write as _;

/// Says so in the first line of a generated file.
pub const GENERATED: &str =
    "<!-- Made by tests/manual.rs from the code; UPDATE_EXPECTED=1 writes it anew. -->\n\n";

/// The chapter `commands`: each of `commands` and those below it, with operands, options, exit
/// codes and examples.
pub fn commands(commands: &[Command]) -> String {
    let mut text = format!(
        "{GENERATED}# Commands\n\nThe command line, made from the definition that it is read by. \
         `dm-gateway COMMAND --help` prints the same.\n\n| command | does |\n|---|---|\n"
    );
    for command in commands {
        row(&mut text, &[command]);
    }
    text.push_str(
        "\nExit codes of all: 0 it went as it should, 3 no daemon answers, 64 wrong usage, 74 the \
         result cannot be\nwritten; others are told with their command. Errors go to standard error: \
         `error[GW-…]: what`, then the\ncause and what to try. JSON says `\"schema\": 1`; fields may be \
         added, none changes its meaning.\n",
    );
    for command in commands {
        section(&mut text, &[command]);
    }
    text
}

fn row(text: &mut String, path: &[&Command]) {
    let Some(command) = path.last() else { return };
    if command.run.is_some() {
        let line = help::usage(path).replacen("usage: dm-gateway ", "", 1);
        let line = line.replace(" [options]", "").replace('|', "\\|");
        let _ = writeln!(text, "| `{line}` | {} |", cell(command.summary));
    }
    for below in command.commands {
        row(text, &[path, &[below]].concat());
    }
}

fn section(text: &mut String, path: &[&Command]) {
    let Some(command) = path.last() else { return };
    let _ = write!(
        text,
        "\n{} dm-gateway {}\n\n```text\n{}```\n",
        "#".repeat((path.len() + 1).min(4)),
        name(path),
        help::help(path)
    );
    for below in command.commands {
        section(text, &[path, &[below]].concat());
    }
}

/// The chapter `codes`: a table of all, and a section for each.
pub fn codes() -> String {
    let mut text = format!(
        "{GENERATED}# Codes\n\nHealth lines of `status`, checks, errors and lines of the journal name the \
         same thing by the same code. A\ncode never changes its meaning. `dm-gateway manual CODE` prints \
         one.\n\n| code | what is wrong |\n|---|---|\n"
    );
    for code in codes::ALL {
        let _ = writeln!(text, "| {} | {} |", code.id, cell(code.title));
    }
    for code in codes::ALL {
        let _ = write!(text, "\n{}", page(code));
    }
    text
}

/// The page of one code.
pub fn page(code: &codes::Code) -> String {
    let codes::Code { id, title, cause, remedy, .. } = code;
    format!("## {id}: {title}\n\n- **Cause:** {}\n- **Try:** {}\n", angles(cause), angles(remedy))
}

/// A table of all reasons for which something is refused.
pub fn refusals() -> String {
    let mut text = "| refused as | because |\n|---|---|\n".to_owned();
    for reason in Reason::ALL {
        let _ = writeln!(text, "| `{}` | {} |", reason.name(), cell(reason.sentence()));
    }
    text
}

fn cell(text: &str) -> String {
    angles(text).replace('|', "\\|")
}

/// Markdown would take `<x>` for a tag and `[x]` for a link.
fn angles(text: &str) -> String {
    text.replace('<', "\\<").replace('[', "\\[")
}
