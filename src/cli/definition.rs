//! The command line as data. What a command takes is told once, in its [`Command`]; its arguments
//! are read by it, and `--help`, the man pages, the completions and the reference in the manual
//! are made from it.

use crate::cli::client::Stop;
use lexopt::{Arg, Parser, ValueExt as _};
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

/// One command, or one below another: `devices`, `devices show`.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The word that it is called by.
    pub name: &'static str,
    /// What it does, in one line without an end, for lists of commands.
    pub summary: &'static str,
    /// What there is to know besides, in paragraphs; may be empty.
    pub text: &'static str,
    /// What stands beside the options, in order.
    pub operands: &'static [Operand],
    /// Its options, in groups that several commands share.
    pub options: &'static [&'static [Choice]],
    /// The commands below it. Where one of them must be named, `run` is `None`.
    pub commands: &'static [Self],
    /// Exit codes of its own, besides 0, 3, 64 and 74.
    pub exits: &'static [(u8, &'static str)],
    /// Lines to type, and what each does.
    pub examples: &'static [(&'static str, &'static str)],
    /// What carries it out.
    pub run: Option<fn(Given) -> Result<u8, Stop>>,
}

/// A command without anything, to be filled in: `Command { name: "x", ..COMMAND }`.
pub const COMMAND: Command = Command {
    name: "",
    summary: "",
    text: "",
    operands: &[],
    options: &[],
    commands: &[],
    exits: &[],
    examples: &[],
    run: None,
};

/// Something beside the options.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Its name in the usage, in capitals.
    pub name: &'static str,
    /// What it is, in one line.
    pub text: &'static str,
    /// How often it may stand there.
    pub times: Times,
    /// What it takes.
    pub kind: Kind,
}

/// How often an operand may stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Once,
    /// Once or not at all.
    Optional,
    /// Once or more; the last operand only.
    Many,
    /// As often as wanted, also not at all; the last operand only.
    Any,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Its name without the hyphens.
    pub long: &'static str,
    /// What it takes, its name in capitals first; `None` for a flag.
    pub value: Option<(&'static str, Kind)>,
    /// What it does, in one line.
    pub text: &'static str,
    /// Whether it may be given several times.
    pub many: bool,
}

/// What an operand or the value of an option is, for completions and checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// One of these words.
    Words(&'static [&'static str]),
    /// The id of a DM server that the daemon knows.
    Server,
    /// The id of an end device that the daemon knows.
    Device,
}

/// A flag.
pub const fn flag(long: &'static str, text: &'static str) -> Choice {
    Choice { long, value: None, text, many: false }
}

/// An option with a value.
pub const fn option(
    long: &'static str,
    value: &'static str,
    kind: Kind,
    text: &'static str,
) -> Choice {
    Choice { long, value: Some((value, kind)), text, many: false }
}

/// An operand that must be there.
pub const fn operand(name: &'static str, kind: Kind, text: &'static str) -> Operand {
    Operand { name, text, times: Times::Once, kind }
}

const CONFIG: Choice = option(
    "config",
    "FILE",
    Kind::File,
    "the configuration that the daemon runs with (default: /etc/dm-gateway/dm-gateway.toml)",
);

/// Option of every command that reads the configuration and asks no daemon.
pub const CONFIGURED: &[Choice] = &[CONFIG];

/// Options of every command that asks the daemon.
pub const ASKING: &[Choice] =
    &[CONFIG, option("socket", "PATH", Kind::File, "the daemon's control socket, instead")];

/// Options of every command that prints a document.
pub const PRINTING: &[Choice] = &[
    option("format", "FORM", Kind::Words(&["table", "json", "jsonl"]), "how to print it"),
    flag("json", "the same as --format json"),
];

/// Options of every command that prints JSON only, a document a line.
pub const PRINTING_LINES: &[Choice] = &[
    option("format", "FORM", Kind::Words(&["json", "jsonl"]), "both are one JSON line an event"),
    flag("json", "the same as --format json"),
];

/// Option of every command that changes something.
pub const CHANGING: &[Choice] = &[flag("dry-run", "says what would be done, and does nothing")];

/// How a document is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// JSON, one row of a list a line.
    Lines,
}

/// Arguments as they were given, valid by a [`Command`].
#[derive(Clone, Debug)]
pub struct Given {
    /// The command and those above it, outermost first.
    pub path: Vec<&'static Command>,
    /// What stands beside the options.
    pub operands: Vec<String>,
    values: Vec<(&'static str, OsString)>,
}

impl Given {
    /// Whether an option is there.
    pub fn has(&self, long: &str) -> bool {
        self.values.iter().any(|(name, _)| *name == long)
    }

    /// All options with their values, in order; a flag's value is empty.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        self.values.iter().map(|(name, value)| (*name, &**value))
    }

    /// How to print it; the last of `--format` and `--json` counts.
    pub fn form(&self) -> Form {
        match self.values.iter().rfind(|(name, _)| matches!(*name, "json" | "format")) {
            None => Form::Table,
            Some((_, form)) if form == "table" => Form::Table,
            Some((_, form)) if form == "jsonl" => Form::Lines,
            Some(_) => Form::Json,
        }
    }

    /// The value of an option; the last one counts.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        let mut values = self.values.iter().rev();
        values.find(|(name, _)| *name == long).map(|(_, value)| &**value)
    }

    /// All values of an option, in order.
    pub fn all<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a OsStr> + 'a {
        self.values.iter().filter(move |(name, _)| *name == long).map(|(_, value)| &**value)
    }

    /// The value of an option as a path.
    pub fn path_of(&self, long: &str) -> Option<PathBuf> {
        self.value(long).map(PathBuf::from)
    }

    /// The value of an option as something that can be read from text.
    ///
    /// # Errors
    /// [`Stop::Usage`] if it cannot.
    pub fn parsed<T: FromStr>(&self, long: &str) -> Result<Option<T>, Stop>
    where
        T::Err: Display,
    {
        let Some(value) = self.value(long) else { return Ok(None) };
        let value = value.to_string_lossy();
        let wrong = |error| Stop::Usage(format!("--{long} cannot be `{value}`: {error}"));
        value.parse().map(Some).map_err(wrong)
    }

    /// The operand at `index`.
    pub fn operand(&self, index: usize) -> Option<&str> {
        self.operands.get(index).map(String::as_str)
    }
}

/// Reads the arguments of one of `commands`.
///
/// # Errors
/// [`Stop::Help`] for `--help`, [`Stop::Usage`] for what the definition does not allow; with the
/// commands that had been read by then, outermost first.
pub fn read(commands: &'static [Command], parser: Parser) -> Result<Given, Unread> {
    let mut given = Given { path: Vec::new(), operands: Vec::new(), values: Vec::new() };
    match read_into(commands, parser, &mut given) {
        Ok(()) => Ok(given),
        Err(stop) => Err((given.path, stop)),
    }
}

/// Commands that had been read, and why no more were.
pub type Unread = (Vec<&'static Command>, Stop);

fn read_into(
    commands: &'static [Command],
    mut parser: Parser,
    given: &mut Given,
) -> Result<(), Stop> {
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Err(Stop::Help),
            Arg::Long(long) => {
                let Some(command) = given.path.last() else {
                    let text = format!("--{long} stands before the COMMAND, it belongs behind it");
                    return Err(Stop::Usage(text));
                };
                let choices = command.options.iter().copied().flatten();
                let Some(choice) = choices.clone().find(|choice| choice.long == long) else {
                    let near = nearest(long, choices.map(|choice| choice.long));
                    let hint = near.map_or_else(String::new, |near| format!(": is it --{near}?"));
                    let text = format!("{} has no option --{long}{hint}", name(&given.path));
                    return Err(Stop::Usage(text));
                };
                let value = match choice.value {
                    Some((_, kind)) => {
                        let what = || format!("--{}", choice.long);
                        checked(kind, parser.value()?, what)?
                    }
                    None => OsString::new(),
                };
                given.values.push((choice.long, value));
            }
            Arg::Short(_) => return Err(argument.unexpected().into()),
            Arg::Value(value) => word(commands, value, given)?,
        }
    }
    let Some(command) = given.path.last() else {
        return Err(Stop::Usage("which command?".to_owned()));
    };
    if command.run.is_none() {
        let names: Vec<_> = command.commands.iter().map(|command| command.name).collect();
        let text = format!("{} what: {}?", name(&given.path), names.join(", "));
        return Err(Stop::Usage(text));
    }
    match command.operands.get(given.operands.len()) {
        Some(missing) if missing.times == Times::Once || missing.times == Times::Many => {
            Err(Stop::Usage(format!("{} is missing", missing.name)))
        }
        _ => Ok(()),
    }
}

/// A word is a command as long as there are commands, then an operand.
fn word(commands: &'static [Command], value: OsString, given: &mut Given) -> Result<(), Stop> {
    let text = value.string()?;
    let above = given.path.last().copied();
    let below = above.map_or(commands, |command| command.commands);
    let below_it = below.iter().find(|command| command.name == text);
    if let Some(command) = below_it.filter(|_| given.operands.is_empty()) {
        // What was given so far must be an option of this one, too.
        given.path.push(command);
        let allowed = |long| command.options.iter().copied().flatten().any(|it| it.long == long);
        return match given.values.iter().find(|(long, _)| !allowed(*long)) {
            Some((long, _)) => {
                Err(Stop::Usage(format!("{} has no option --{long}", name(&given.path))))
            }
            None => Ok(()),
        };
    }
    let Some(command) = above else {
        let near = nearest(&text, below.iter().map(|command| command.name));
        let hint = near.map_or_else(String::new, |near| format!(": is it `{near}`?"));
        return Err(Stop::Usage(format!("there is no command `{text}`{hint}")));
    };
    let operand = match command.operands.get(given.operands.len()) {
        Some(operand) => operand,
        None => match command.operands.last() {
            Some(last) if matches!(last.times, Times::Many | Times::Any) => last,
            _ => {
                let near = nearest(&text, below.iter().map(|command| command.name));
                let hint = near.map_or_else(String::new, |near| format!(": is it `{near}`?"));
                let name = name(&given.path);
                return Err(Stop::Usage(if below.is_empty() {
                    format!("{name} does not take `{text}`")
                } else {
                    format!("there is no `{name} {text}`{hint}")
                }));
            }
        },
    };
    let value = checked(operand.kind, text.into(), || operand.name.to_owned())?;
    given.operands.push(value.string()?);
    Ok(())
}

fn checked(kind: Kind, value: OsString, what: impl Fn() -> String) -> Result<OsString, Stop> {
    match kind {
        Kind::Words(words) if !words.iter().any(|word| value == **word) => {
            let given = value.to_string_lossy();
            Err(Stop::Usage(format!("{} is one of {}, not `{given}`", what(), words.join(", "))))
        }
        _ => Ok(value),
    }
}

/// The command's name with those above it: `devices show`.
pub fn name(path: &[&Command]) -> String {
    path.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
}

/// The name most like `text`, if one is.
pub fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = if text.chars().count() < 4 { 1 } else { 2 };
    let ranked = names.map(|name| (distance(text, name), name));
    ranked.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

/// How many characters must be changed, added or taken away.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, a) in a.chars().take(64).enumerate() {
        let mut corner = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (b, above) in b.iter().zip(row.iter().skip(1)) {
            left = (corner + usize::from(a != *b)).min(left + 1).min(above + 1);
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &[Command] = &[
        Command {
            name: "devices",
            options: &[ASKING, PRINTING],
            commands: &[Command {
                name: "show",
                operands: &[operand("ID", Kind::Device, "whose")],
                options: &[PRINTING],
                run: Some(|_| Ok(0)),
                ..COMMAND
            }],
            run: Some(|_| Ok(0)),
            ..COMMAND
        },
        Command {
            name: "config",
            commands: &[Command { name: "check", run: Some(|_| Ok(0)), ..COMMAND }],
            ..COMMAND
        },
    ];

    fn of(arguments: &[&str]) -> Result<Given, String> {
        read(TEST, Parser::from_args(arguments)).map_err(|(_, stop)| match stop {
            Stop::Usage(text) => text,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn commands_operands_and_options_are_found() {
        let given = of(&["devices", "--json", "show", "IMEI:1", "--format=jsonl"]).unwrap();
        assert_eq!(name(&given.path), "devices show");
        assert_eq!(given.operand(0), Some("IMEI:1"));
        assert!(given.has("json") && !given.has("socket"));
        assert_eq!(given.value("format"), Some(OsStr::new("jsonl")));
        assert_eq!(name(&of(&["devices", "--socket", "x"]).unwrap().path), "devices");
    }

    #[test]
    fn what_is_wrong_is_told_with_what_was_probably_meant() {
        for (arguments, expected) in [
            (&[][..], "which command?"),
            (&["--json", "devices"], "--json stands before the COMMAND, it belongs behind it"),
            (&["device"], "there is no command `device`: is it `devices`?"),
            (&["devices", "shwo"], "there is no `devices shwo`: is it `show`?"),
            (&["devices", "show"], "ID is missing"),
            (&["devices", "show", "a", "b"], "devices show does not take `b`"),
            (&["devices", "--jsn"], "devices has no option --jsn: is it --json?"),
            (&["devices", "--socket", "x", "show", "a"], "devices show has no option --socket"),
            (&["devices", "--format", "xml"], "--format is one of table, json, jsonl, not `xml`"),
            (&["config"], "config what: check?"),
        ] {
            assert_eq!(of(arguments).unwrap_err(), expected, "{arguments:?}");
        }
        assert_eq!(of(&["devices", "--help"]).unwrap_err(), "Help");
    }

    #[test]
    fn likeness_is_counted_in_characters() {
        assert_eq!(distance("status", "statsu"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(nearest("statu", ["status", "servers"].into_iter()), Some("status"));
        assert_eq!(nearest("xyz", ["map"].into_iter()), None);
    }
}
