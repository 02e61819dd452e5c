//! Man pages: `dm-gateway(1)`, and one for each command with all that lies below it.

use super::{Files, choices, paths};
use dm_gateway::cli::definition::{Choice, Command, Times, name};
use dm_gateway::cli::help::{self, EXITS, GROUPS};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The pages by their file names.
pub(crate) fn pages(commands: &'static [Command]) -> Files {
    let page =
        |command: &'static Command| (format!("dm-gateway-{}.1", command.name), of_command(command));
    let overview = ("dm-gateway.1".to_owned(), overview(commands));
    commands.iter().map(page).chain([overview]).collect()
}

const MADE: &str = ".\\\" Made from the definition of the command line, see tests/generated.\n";

fn overview(commands: &'static [Command]) -> String {
    let mut page = head("dm-gateway", "an OMA Device Management gateway (GwMO)");
    page += ".SH SYNOPSIS\n.B dm\\-gateway\n.I COMMAND\n.RI [ options ]\n";
    page += ".SH DESCRIPTION\n";
    page += &prose(
        "End devices behind NAT become reachable for the OMA DM servers that manage them. The \
         gateway learns from each device which servers manage it, and lets exactly those servers \
         wake exactly that device by a push. It is a DM client itself: DM servers manage the \
         gateway, too.\n\nOne program is the daemon (run) and the tool that asks it over its \
         control socket (the other commands). Each command has a page of its own, \
         dm-gateway-COMMAND(1), and explains itself with --help.",
    );
    let named = |names: &[&str], command: &&Command| names.contains(&command.name);
    let in_a_group = |command: &&Command| GROUPS.iter().any(|it| named(it.1, command));
    for (title, names) in GROUPS {
        let of = |name: &&str| commands.iter().find(|command| command.name == *name);
        page += &listed(title, names.iter().filter_map(of));
    }
    page += &listed("Besides", commands.iter().filter(|command| !in_a_group(command)));
    page += ".SH OUTPUT\n";
    page += &prose(
        "Commands that show something print a table for people. --format json (or --json) prints \
         one JSON document on one line, with schema 1: fields may be added, none changes its \
         meaning. --format jsonl prints a list as one document for each row; what is no list is \
         printed as by json. JSON Schema files of all documents come with the source, in \
         src/manual/schemas.\n\nErrors go to standard error: error[CODE], what is wrong, its cause \
         and what to try. dm-gateway manual CODE tells more of a code. Where JSON is wanted, the \
         last document on standard output says the same: {\"schema\":1,\"error\":{…}}. Wrong usage \
         is told in words only.",
    );
    page += ".SH EXIT STATUS\n";
    page += &exits(EXITS.iter().chain(&[(1, "the work could not be done, see each command")]));
    page += ".SH ENVIRONMENT\n.TP\n.B DM_GATEWAY_LOG\n";
    page += &line("how much the daemon logs: error, warn, info, debug or trace (default: info)");
    page += ".SH FILES\n";
    for (file, what) in [
        ("/etc/dm-gateway/dm-gateway.toml", "the configuration"),
        ("/var/lib/dm-gateway", "the state: what must survive a restart"),
        ("/run/dm-gateway", "the control socket"),
    ] {
        let _ = write!(page, ".TP\n.I {}\n{}", text(file), line(what));
    }
    page += ".SH EXAMPLES\n";
    page += &examples(&[
        ("dm-gateway demo", "the gateway at work with simulated peers, without root or network"),
        ("dm-gateway status", "whether all is well; if not, what is wrong and what to try"),
        ("dm-gateway monitor", "what happens, while it happens"),
    ]);
    page += ".SH SEE ALSO\n";
    let pages: Vec<_> = commands.iter().map(|it| format!("dm-gateway-{}", it.name)).collect();
    page + ".BR dm\\-gateway.toml (5),\n" + &see_also(pages.iter().map(String::as_str))
}

/// A part of the list of commands.
fn listed<'a>(title: &str, commands: impl Iterator<Item = &'a Command>) -> String {
    let mut part = String::new();
    for command in commands {
        if part.is_empty() {
            let _ = writeln!(part, ".SH {}", text(&title.to_uppercase()));
        }
        let _ = write!(
            part,
            ".TP\n.BR {} (1)\n{}",
            text(&format!("dm-gateway-{}", command.name)),
            line(command.summary)
        );
    }
    part
}

fn of_command(command: &'static Command) -> String {
    let title = format!("dm-gateway-{}", command.name);
    let mut page = head(&title, command.summary);
    let all = paths(std::slice::from_ref(command));
    let runs: Vec<_> = all.iter().filter(|it| it.last().unwrap().run.is_some()).collect();

    page += ".SH SYNOPSIS\n";
    for (index, path) in runs.iter().enumerate() {
        page += if index > 0 { ".br\n" } else { "" };
        page += &synopsis(path);
    }
    if !command.text.is_empty() {
        let _ = write!(page, ".SH DESCRIPTION\n{}", prose(command.text));
    }
    page += &operands(command, ".SH OPERANDS\n");

    // Told once at the end what every part takes.
    let shared: Vec<&Choice> = match runs.split_first() {
        Some((first, rest)) if !rest.is_empty() || all.len() > 1 => {
            let has = |path: &[&'static Command], long| {
                choices(path.last().unwrap()).any(|choice| choice.long == long)
            };
            let everywhere = |choice: &&Choice| rest.iter().all(|path| has(path, choice.long));
            choices(first.last().unwrap()).filter(everywhere).collect()
        }
        _ => choices(command).collect(),
    };
    let own = |command: &'static Command| {
        let is_own = |choice: &&Choice| !shared.iter().any(|it| it.long == choice.long);
        choices(command).filter(is_own).collect::<Vec<_>>()
    };
    if all.len() > 1 {
        page += ".SH COMMANDS\n";
    }
    for path in all.iter().skip(1) {
        let below = path.last().unwrap();
        let _ = write!(page, ".SS {}\n{}", text(&name(path)), sentence(below.summary));
        if !below.text.is_empty() {
            let _ = write!(page, ".PP\n{}", prose(below.text));
        }
        page += &operands(below, "");
        page += &options(&own(below));
        if !below.exits.is_empty() {
            page += ".PP\nExit status:\n";
            page += &exits(below.exits.iter());
        }
        page += &examples(below.examples);
    }
    let of_the_command = own(command);
    if !of_the_command.is_empty() || !shared.is_empty() {
        page += ".SH OPTIONS\n";
        page += &options(&of_the_command);
        page += &options(&shared);
    }
    page += ".SH EXIT STATUS\n";
    page += &exits(command.exits.iter().chain(EXITS));
    if !command.examples.is_empty() {
        let _ = write!(page, ".SH EXAMPLES\n{}", examples(command.examples));
    }
    page += ".SH SEE ALSO\n";
    page + &see_also(["dm-gateway"].into_iter())
}

fn head(title: &str, summary: &str) -> String {
    format!(
        "{MADE}.TH {} 1 \"\" dm\\-gateway \"dm\\-gateway\"\n.SH NAME\n{} \\- {}",
        text(&title.to_uppercase()),
        text(title),
        line(summary)
    )
}

/// `dm-gateway devices show ID [options]`, in bold and italics.
fn synopsis(path: &[&'static Command]) -> String {
    let command = path.last().unwrap();
    let mut line = format!("\\fBdm\\-gateway {}\\fR", text(&name(path)));
    for operand in command.operands {
        let name = text(operand.name);
        let _ = match operand.times {
            Times::Once => write!(line, " \\fI{name}\\fR"),
            Times::Optional => write!(line, " [\\fI{name}\\fR]"),
            Times::Many => write!(line, " \\fI{name}\\fR..."),
            Times::Any => write!(line, " [\\fI{name}\\fR...]"),
        };
    }
    if choices(command).next().is_some() {
        line += " [\\fIoptions\\fR]";
    }
    line + "\n"
}

fn operands(command: &Command, title: &str) -> String {
    let mut part = String::new();
    for operand in command.operands {
        let _ = write!(part, ".TP\n.I {}\n{}", text(operand.name), line(operand.text));
    }
    if part.is_empty() { part } else { title.to_owned() + &part }
}

fn options(choices: &[&Choice]) -> String {
    let mut part = String::new();
    for choice in choices {
        let long = text(&format!("--{}", choice.long));
        let value =
            choice.value.map_or_else(String::new, |(value, _)| format!(" \\fI{}\\fR", text(value)));
        let _ = write!(part, ".TP\n\\fB{long}\\fR{value}\n{}", line(&help::told(choice)));
    }
    part
}

fn exits<'a>(exits: impl Iterator<Item = &'a (u8, &'a str)>) -> String {
    let mut sorted = BTreeMap::<u8, Vec<&str>>::new();
    for (code, what) in exits {
        sorted.entry(*code).or_default().push(what);
    }
    let tell = |(code, what): (u8, Vec<&str>)| {
        // What a command says of a code stands before what all say of it.
        format!(".TP\n.B {code}\n{}", line(what.first().unwrap()))
    };
    sorted.into_iter().map(tell).collect()
}

fn examples(examples: &[(&str, &str)]) -> String {
    let tell = |(typed, what): &(&str, &str)| format!(".TP\n.B {}\n{}", text(typed), line(what));
    examples.iter().map(tell).collect()
}

fn see_also<'a>(pages: impl Iterator<Item = &'a str>) -> String {
    let pages: Vec<_> = pages.map(|page| format!(".BR {} (1)", text(page))).collect();
    pages.join(",\n") + "\n"
}

// --- roff ------------------------------------------------------------------------------------

/// Paragraphs; lines with blanks before them stay as they are.
fn prose(prose: &str) -> String {
    let mut part = String::new();
    let mut verbatim = false;
    for (index, one) in prose.trim_end().lines().enumerate() {
        let is_verbatim = one.starts_with(' ');
        if is_verbatim != verbatim {
            part += if is_verbatim { ".PP\n.nf\n" } else { ".fi\n.PP\n" };
            verbatim = is_verbatim;
        }
        match one.trim().is_empty() {
            true if !verbatim && index > 0 => part += ".PP\n",
            true => {}
            false => part += &line(one),
        }
    }
    if verbatim {
        part += ".fi\n";
    }
    part
}

fn sentence(words: &str) -> String {
    let mut characters = words.chars();
    let first = characters.next().map(char::to_uppercase).into_iter().flatten();
    line(&(first.collect::<String>() + characters.as_str() + "."))
}

/// A line of text: what roff would take for a request is none.
fn line(words: &str) -> String {
    let guard = if words.starts_with(['.', '\'']) { "\\&" } else { "" };
    format!("{guard}{}\n", text(words))
}

/// Text in which no character means something else.
fn text(words: &str) -> String {
    let mut shown = String::new();
    for character in words.chars() {
        match character {
            '\\' => shown += "\\e",
            '-' => shown += "\\-",
            '~' => shown += "\\(ti",
            '^' => shown += "\\(ha",
            '`' => shown += "\\(ga",
            '\'' => shown += "\\(aq",
            '"' => shown += "\\(dq",
            '…' => shown += "...",
            '→' => shown += "\\(->",
            '–' => shown += "\\(en",
            other => shown.push(other),
        }
    }
    shown
}
