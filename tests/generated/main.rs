//! Man pages, completions and JSON schemas, made from the command line's definition and from the
//! types of the documents, and compared with what is in the repository.
//!
//! They are made here and not by the program: packages ship the files, and a router carries no
//! generator. `UPDATE_EXPECTED=1 cargo test --test generated` writes them anew.

#![cfg(all(feature = "simulate", feature = "manual"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod completions;
mod man;
mod schemas;

use dm_gateway::cli::COMMANDS;
use dm_gateway::cli::definition::{Choice, Command};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};

/// A file's name with its content.
type Files = BTreeMap<String, String>;

#[test]
fn man_pages_are_what_the_definition_says() {
    same("systemd/man", &man::pages(COMMANDS));
}

#[test]
fn completions_are_what_the_definition_says() {
    same("systemd/completions", &completions::files(COMMANDS));
}

#[test]
fn schemas_are_what_the_types_say() {
    same("src/manual/schemas", &schemas::files());
}

/// Compares a directory, or writes it.
fn same(directory: &str, made: &Files) {
    let at = root().join(directory);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::create_dir_all(&at).unwrap();
        for (name, text) in made {
            // At once: other tests read them at the same time.
            let fresh = at.join(format!(".{name}.new"));
            fs::write(&fresh, text).unwrap();
            fs::rename(fresh, at.join(name)).unwrap();
        }
    }
    let again = "UPDATE_EXPECTED=1 cargo test --test generated";
    for (name, text) in made {
        let kept = fs::read_to_string(at.join(name)).unwrap_or_default();
        assert!(kept == *text, "{directory}/{name} is not what would be made; try: {again}");
    }
    for entry in fs::read_dir(&at).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // The configuration's page has a source of its own.
        let made = made.contains_key(&name) || name.ends_with(".5");
        assert!(made, "{directory}/{name} is made by nothing; try: rm");
    }
}

// --- What is made is good --------------------------------------------------------------------

#[test]
fn man_finds_nothing_to_warn_of() {
    if !has("man") {
        return;
    }
    for entry in fs::read_dir(root().join("systemd/man")).unwrap() {
        let path = entry.unwrap().path();
        let mut man = process::Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(&path);
        let shown = man.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").output().unwrap();
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success() && said.is_empty(), "{}: {said}", path.display());
    }
    let shown = process::Command::new("man")
        .args(["-l", "-P", "cat"])
        .arg(root().join("systemd/man/dm-gateway-devices.1"))
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("dm-gateway devices show ID [options]"), "{text}");
    assert!(text.contains("--format FORM"), "{text}");
}

#[test]
fn shells_read_their_completions() {
    let at = root().join("systemd/completions");
    for (shell, file) in
        [("bash", "dm-gateway.bash"), ("zsh", "_dm-gateway"), ("fish", "dm-gateway.fish")]
    {
        if !has(shell) {
            continue;
        }
        let read = process::Command::new(shell).arg("-n").arg(at.join(file)).output().unwrap();
        assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
    }
}

#[test]
fn bash_and_fish_complete_what_the_definition_has() {
    let bench = completions::Bench::new();
    for (typed, expected) in [
        ("dm-gateway stat", &["status"][..]),
        ("dm-gateway devices sh", &["show"]),
        ("dm-gateway map e", &["explain"]),
        ("dm-gateway simulate dev", &["device"]),
        ("dm-gateway devices --js", &["--json"]),
        ("dm-gateway devices show --forma", &["--format"]),
        ("dm-gateway status --format j", &["json", "jsonl"]),
        ("dm-gateway simulate server --wrong", &["--wrong-credentials"]),
        ("dm-gateway fly ", &[]),
        // The file has a name with which nothing else here begins.
        ("dm-gateway bootstrap apply acc", &["account.xml"]),
        ("dm-gateway status --config acc", &["account.xml"]),
        // Nobody answers: nothing, and not a word.
        ("dm-gateway devices show --socket no.sock IM", &[]),
        ("dm-gateway devices show --socket devices.sock mac", &["mac:02-00-00-00-00-09"]),
        ("dm-gateway devices show --socket devices.sock IMEI:49", &["IMEI:490154203237518"]),
        ("dm-gateway map explain --socket servers.sock com", &["com.example.dms"]),
        ("dm-gateway map explain --socket devices.sock s IMEI:49", &["IMEI:490154203237518"]),
        ("dm-gateway monitor --socket servers.sock --server com", &["com.example.dms"]),
    ] {
        if has("bash") {
            assert_eq!(bench.bash(typed), expected, "bash: {typed}");
        }
        if has("fish") {
            assert_eq!(bench.fish(typed), expected, "fish: {typed}");
        }
    }
}

#[test]
fn zsh_offers_the_commands_and_their_options() {
    if !has("zsh") {
        return;
    }
    let bench = completions::Bench::new();
    for (typed, shown) in [
        ("dm-gateway ", &["status", "devices", "simulate"][..]),
        ("dm-gateway devices ", &["list", "show", "provision"]),
        ("dm-gateway map explain --", &["--format", "--socket"]),
        ("dm-gateway status --format ", &["table", "jsonl"]),
        ("dm-gateway devices show --socket devices.sock ", &["IMEI:490154203237518"]),
    ] {
        let said = bench.zsh(typed, shown);
        assert!(shown.iter().all(|word| said.contains(word)), "{typed}: {said}");
    }
}

// --- What they share -------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Every command with those above it, outermost first.
fn paths(commands: &'static [Command]) -> Vec<Vec<&'static Command>> {
    let below = |command: &'static Command| {
        let deeper = paths(command.commands)
            .into_iter()
            .map(move |path| [command].into_iter().chain(path).collect::<Vec<_>>());
        [vec![command]].into_iter().chain(deeper)
    };
    commands.iter().flat_map(below).collect()
}

fn choices(command: &'static Command) -> impl Iterator<Item = &'static Choice> + Clone {
    command.options.iter().copied().flatten()
}

/// Whether a program is there; says by name what is left out if not.
fn has(program: &str) -> bool {
    let asked = process::Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let has = asked.is_ok_and(|it| it.status.success());
    if !has {
        assert!(
            std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() != Ok("1"),
            "{program} not installed"
        );
        println!("left out: {program} not installed");
    }
    has
}
