//! `dm-gateway config check | show | doc`: what is wrong with the configuration, which file says
//! what, and what its keys mean.

use crate::cli::client::{Call, Stop, note, print};
use crate::cli::definition::{
    self, ASKING, Command, Form, Given, Kind, Operand, PRINTING, Times, flag, option,
};
use crate::cli::table::{columns, count, printable};
use crate::codes::{self, Trouble};
use crate::config::check::{Findings, check};
use crate::config::keys::{self, Key};
use crate::config::view::{self, DEFAULT, Overridden, ValueView};
use crate::config::{DEFAULT_PATH, Layout, reference};
use crate::control::{InForce, Request, document};
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;

/// `config`.
pub const COMMAND: Command = Command {
    name: "config",
    summary: "the configuration: what is wrong with it, which file says what, what keys mean",
    commands: &[CHECK, SHOW, DOC],
    ..definition::COMMAND
};

const CHECK: Command = Command {
    name: "check",
    summary: "everything that is wrong with the configuration, at once",
    text: "Reads the files as the daemon would, and the files that they name. Where there is a user \
           dm-gateway, tells which of them it may not read. Needs no daemon.",
    operands: &[Operand {
        name: "FILE",
        text: "the main file (default: /etc/dm-gateway/dm-gateway.toml)",
        times: Times::Optional,
        kind: Kind::File,
    }],
    options: &[&[option("config", "FILE", Kind::File, "the same as the operand")], PRINTING],
    exits: &[(1, "something is wrong")],
    examples: &[("dm-gateway config check", "before a reload or a restart")],
    run: Some(run_check),
    ..definition::COMMAND
};

const SHOW: Command = Command {
    name: "show",
    summary: "every value that is set, and with --origin who set it",
    text: "With a running daemon: the values it runs with, those that DM servers set among them, \
           and what the files say otherwise meanwhile. Without one: what the files say. Secrets \
           are in files of their own; only their paths are shown.",
    operands: &[Operand {
        name: "KEY",
        text: "a key or section, such as lan.crew.policy or wan",
        times: Times::Optional,
        kind: Kind::Text,
    }],
    options: &[
        &[
            flag("origin", "who set each value, where, and what it overrides"),
            flag("all", "defaults too"),
            flag("files", "what the files say, whatever a daemon runs with"),
        ],
        ASKING,
        PRINTING,
    ],
    examples: &[
        ("dm-gateway config show --origin", "which file sets what"),
        ("dm-gateway config show --origin lan.crew", "one LAN, defaults too"),
    ],
    run: Some(run_show),
    ..definition::COMMAND
};

const DOC: Command = Command {
    name: "doc",
    summary: "what a key means, what it takes, and when a change of it counts",
    operands: &[Operand {
        name: "KEY",
        text: "a key or section, such as policy, lan.policy or wan",
        times: Times::Optional,
        kind: Kind::Text,
    }],
    options: &[PRINTING],
    run: Some(run_doc),
    ..definition::COMMAND
};

// --- check ----------------------------------------------------------------------------------

fn run_check(given: Given) -> Result<u8, Stop> {
    let named = given.operand(0).map(PathBuf::from).or_else(|| given.path_of("config"));
    let layout = Layout::of(&named.unwrap_or_else(|| DEFAULT_PATH.into()));
    let findings = check(&layout, true);
    if is_json(&given) {
        print(&format!("{}\n", document(&findings)))?;
    } else {
        print(&report(&findings))?;
    }
    Ok(u8::from(!findings.errors.is_empty()))
}

fn report(findings: &Findings) -> String {
    let mut text = String::new();
    for error in &findings.errors {
        let trouble = Trouble::new(codes::CONFIG, &error.sentence);
        text.push_str(&format!("error[{}]: {}\n", error.code, printable(&trouble.what)));
        if let Some(takes) = &error.takes {
            text.push_str(&format!("  takes: {}\n", printable(takes)));
        }
        if let Some(next) = &trouble.next {
            text.push_str(&format!("  try: {}\n", printable(next)));
        }
    }
    for warning in &findings.warnings {
        text.push_str(&format!("warning[{}]: {}\n", codes::CONFIG_ODD, printable(warning)));
    }
    let files = count(findings.files.len() as u64, "file");
    text.push_str(&match findings.errors.len() {
        0 => format!("the configuration is valid: {files}\n"),
        errors if findings.files.is_empty() => {
            format!("{}; no file could be read\n", count(errors as u64, "error"))
        }
        errors => format!("{} in {files}\n", count(errors as u64, "error")),
    });
    text
}

// --- show -----------------------------------------------------------------------------------

/// What `config show` prints.
#[derive(Serialize)]
struct Shown {
    /// Whether a daemon told it.
    running: bool,
    /// The keys and their values.
    values: Vec<ValueView>,
}

fn run_show(given: Given) -> Result<u8, Stop> {
    let key = given.operand(0);
    if let Some(key) = key.filter(|key| keys::named(key).is_empty()) {
        return Err(unknown(key));
    }
    let path = given.path_of("config").unwrap_or_else(|| DEFAULT_PATH.into());
    let (of_files, errors) = view::of_files(&Layout::of(&path));
    let running = if given.has("files") { None } else { running(&given)? };
    let is_running = running.is_some();
    let mut values = match running {
        Some(running) => with_files(running, of_files),
        None => {
            for error in errors.iter().take(1) {
                note(&format!("{error}"));
            }
            of_files
        }
    };
    let wanted = |view: &ValueView| match key {
        Some(key) => is_of(view, key),
        None => given.has("all") || view.origin != DEFAULT || view.files.is_some(),
    };
    values.retain(wanted);
    if is_json(&given) {
        return print(&format!("{}\n", document(Shown { running: is_running, values })))
            .map(|()| 0);
    }
    if values.is_empty() {
        let what = key.unwrap_or("any key");
        note(&format!("nothing sets {what} in {}", path.display()));
    }
    print(&listing(&values, given.has("origin"))).map(|()| 0)
}

/// What the daemon runs with, if one answers. Only a socket that was named must be there.
fn running(given: &Given) -> Result<Option<Vec<ValueView>>, Stop> {
    match Call::of(given).ask_for::<InForce>(&Request::Configuration) {
        Ok(answer) => Ok(Some(answer.body.values)),
        Err(Stop::Unanswered(why)) if !given.has("socket") => {
            note(&format!("{}: this is what the files say", printable(&why.what)));
            Ok(None)
        }
        Err(stop) => Err(stop),
    }
}

/// What the files say otherwise than the daemon that runs.
fn with_files(mut running: Vec<ValueView>, files: Vec<ValueView>) -> Vec<ValueView> {
    let written = |view: &ValueView| match view.origin.as_str() {
        view::REMOTE => view.overrides.first().map(|it| it.value.clone()),
        _ => view.value.clone(),
    };
    for view in &mut running {
        let in_files = files.iter().find(|other| other.key == view.key);
        let (now, then) = (written(view), in_files.and_then(|other| other.value.clone()));
        if now != then {
            view.files = Some(then.as_ref().map_or_else(|| "nothing".to_owned(), view::toml));
        }
    }
    let new = files.into_iter().filter(|view| view.origin != DEFAULT);
    let new: Vec<_> =
        new.filter(|view| !running.iter().any(|known| known.key == view.key)).collect();
    running.extend(new.into_iter().map(|view| {
        let files = view.value.as_ref().map(view::toml);
        let words = "not in force yet".to_owned();
        ValueView { value: None, files, words, ..view }
    }));
    running
}

fn is_of(view: &ValueView, key: &str) -> bool {
    let below = |path: &str| view.key == path || view.key.starts_with(&format!("{path}."));
    below(key) || !key.contains('.') && view.key.ends_with(&format!(".{key}")) || {
        // `lan.policy` is that of all LANs.
        let mut parts = key.rsplitn(2, '.');
        match (parts.next(), parts.next()) {
            (Some(name), Some(section)) => {
                view.key.starts_with(&format!("{section}."))
                    && view.key.ends_with(&format!(".{name}"))
                    && keys::key(section, name).is_some()
            }
            _ => false,
        }
    }
}

fn listing(values: &[ValueView], with_origin: bool) -> String {
    let mut text = String::new();
    let mut section = "";
    for view in values {
        let (above, name) = view.key.rsplit_once('.').unwrap_or(("", &view.key));
        if above != section {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("[{}]\n", printable(above)));
            section = above;
        }
        let value = match &view.value {
            Some(value) => view::toml(value),
            None => format!("({})", view.words),
        };
        text.push_str(&format!("{name} = {}\n", printable(&value)));
        if with_origin {
            text.push_str(&format!("    {}\n", printable(&place(view))));
            for earlier in &view.overrides {
                text.push_str(&format!("    overrides {}\n", printable(&overridden(earlier))));
            }
        }
        if let Some(files) = &view.files {
            let when = &view.applies;
            text.push_str(&format!("    the files say {}: at {when}\n", printable(files)));
        }
    }
    text
}

fn place(view: &ValueView) -> String {
    let mut text = at(&view.origin, view.file.as_deref(), view.line);
    if let Some(lock) = &view.locked {
        text.push_str(&format!(", locked by {lock}"));
    }
    text
}

fn overridden(earlier: &Overridden) -> String {
    let at = at(&earlier.origin, earlier.file.as_deref(), earlier.line);
    format!("{} of {at}", view::toml(&earlier.value))
}

fn at(origin: &str, file: Option<&str>, line: Option<usize>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!("{origin}: {file} line {line}"),
        _ => origin.to_owned(),
    }
}

// --- doc ------------------------------------------------------------------------------------

/// One key and what it means.
#[derive(Serialize)]
struct KeyView {
    /// The key; `NAME` or `ID` stands for which of several sections.
    key: String,
    /// What it does.
    what: String,
    /// What is written there, in words.
    takes: String,
    /// What may be written, in words; empty if `takes` says it all.
    range: String,
    /// What counts without it, where that is a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
    /// What counts without it, in words.
    default_words: String,
    /// Whether it must be written.
    required: bool,
    /// When a change of it counts: `reload` or `restart`.
    applies: String,
    /// The node of the management tree by which DM servers set the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    /// The version that had it first.
    since: String,
}

/// What `config doc` prints.
#[derive(Serialize)]
struct Doc {
    /// The keys.
    keys: Vec<KeyView>,
}

fn run_doc(given: Given) -> Result<u8, Stop> {
    let found: Vec<&Key> = match given.operand(0) {
        Some(key) => keys::named(key),
        None => keys::ALL.iter().collect(),
    };
    let is_slip = |key: &str| found.is_empty() || keys::is_slip(key);
    if let Some(key) = given.operand(0).filter(|key| is_slip(key)) {
        return Err(unknown(key));
    }
    if is_json(&given) {
        let keys = found.into_iter().map(key_view).collect();
        return print(&format!("{}\n", document(Doc { keys }))).map(|()| 0);
    }
    let several = given.operand(0).is_none_or(|key| !key.contains(found[0].name));
    let text = if several {
        let rows: Vec<_> = found.iter().map(|key| [key.path(), key.what.to_owned()]).collect();
        columns(0, &rows)
    } else {
        found.iter().map(|key| reference::doc(key)).collect::<Vec<_>>().join("\n")
    };
    print(&text).map(|()| 0)
}

fn key_view(key: &Key) -> KeyView {
    KeyView {
        key: key.path(),
        what: key.what.to_owned(),
        takes: key.kind.words().to_owned(),
        range: key.range.to_owned(),
        default: match key.default {
            keys::Default::Value(value) => view::json(value),
            _ => None,
        },
        default_words: key.default.to_string(),
        required: matches!(key.default, keys::Default::Required(_)),
        applies: key.applies.name().to_owned(),
        remote: key.node().map(str::to_owned),
        since: key.since().to_owned(),
    }
}

fn unknown(key: &str) -> Stop {
    let near = keys::nearest_path(key);
    let near = near.map_or_else(|| "dm-gateway config doc".to_owned(), |near| format!("{near}?"));
    let sentence = format!("there is no key {key}; try: {near}");
    Stop::Failed(Trouble::new(codes::CONFIG_UNKNOWN, &sentence).into())
}

fn is_json(given: &Given) -> bool {
    given.form() != Form::Table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(key: &str, value: &str, origin: &str) -> ValueView {
        ValueView {
            key: key.into(),
            value: Some(value.into()),
            origin: origin.into(),
            file: (origin != DEFAULT).then(|| "/etc/x.toml".into()),
            line: (origin != DEFAULT).then_some(7),
            applies: "reload".into(),
            ..ValueView::default()
        }
    }

    #[test]
    fn a_listing_tells_who_set_what_and_what_the_files_say_meanwhile() {
        let mut values = vec![
            view("gateway.id", "gw", "admin"),
            view("lan.crew.policy", "bootstrap", "admin"),
            view("lan.crew.verify", "neighbour", DEFAULT),
        ];
        view::set_remote(&mut values, "lan.crew.policy", "transparent".into());
        let files = vec![
            view("gateway.id", "other", "admin"),
            view("lan.crew.policy", "bootstrap", "admin"),
            view("lan.crew.verify", "neighbour", DEFAULT),
            view("lan.new.policy", "ignore", "admin"),
        ];
        let values = with_files(values, files);
        assert_eq!(
            listing(&values, true),
            "[gateway]\nid = \"gw\"\n    admin: /etc/x.toml line 7\n    the files say \"other\": at \
             reload\n\n[lan.crew]\npolicy = \"transparent\"\n    remote\n    overrides \"bootstrap\" \
             of admin: /etc/x.toml line 7\nverify = \"neighbour\"\n    default\n\n[lan.new]\npolicy \
             = (not in force yet)\n    admin: /etc/x.toml line 7\n    the files say \"ignore\": at \
             reload\n"
        );
    }

    #[test]
    fn a_key_may_be_named_with_its_section_or_alone() {
        let policy = view("lan.crew.policy", "x", "admin");
        for key in ["lan.crew.policy", "lan.crew", "lan", "policy", "lan.policy"] {
            assert!(is_of(&policy, key), "{key}");
        }
        for key in ["lan.cre", "la", "verify", "lan.verify", "wan"] {
            assert!(!is_of(&policy, key), "{key}");
        }
    }
}
