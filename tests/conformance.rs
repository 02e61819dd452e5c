//! The conformance statement of the manual is made from `tests/conformance.toml`: requirements, and
//! the tests that show them. Each test has to exist. `UPDATE_EXPECTED=1` writes the chapter anew.
//!
//! `DM_GATEWAY_RESULTS=LOG`, the output of `cargo test -- --show-output`, has the results of that
//! run written beside it, requirement by requirement: `tests/run` does so at its end.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    group: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    source: String,
    requirement: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    text: String,
    status: String,
    #[serde(default)]
    tests: Vec<String>,
    note: Option<String>,
}

/// What a requirement can be, what that means, and whether tests have to show it.
const STATUSES: &[(&str, &str, bool)] = &[
    ("met", "the tests show it", true),
    ("part", "the tests show some of it; the note says what is missing", true),
    ("choice", "public texts are silent; this is what we chose, and the tests show it", true),
    ("deviation", "the text says otherwise; not done on purpose, the note says why", false),
    ("not met", "not built", false),
    ("not public", "the text is not public: it can be neither met nor missed", false),
];

const INTRODUCTION: &str = "\
<!-- Made by tests/conformance.rs from tests/conformance.toml; UPDATE_EXPECTED=1 writes it anew. -->

# Conformance

Requirement by requirement: what is met, what is not, and which tests show it. The tests run with
`tests/run`, and a requirement counts as met only while all of its tests pass: a release is made from
a run without failures. That each test exists is tested, too. `tests/run` leaves the result of its
run by requirement in `target/tests/conformance.md`: passed, FAILED, or left out where a tool is missing.

The text of the GwMO enabler itself is not public. Names and codes come from OMA's public registries
(`X-Oma-GwMO` = 0x50, `urn:oma:at:oma-gwmo`), the flow from a change request of 2011 to it. Where both
are silent we chose, and say so. Sources are named by document, requirements by numbers of ours.
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn statement() -> Statement {
    let text = fs::read_to_string(root().join("tests/conformance.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

#[test]
fn every_test_that_shows_a_requirement_exists() {
    let known = known();
    let mut ids = BTreeSet::new();
    for it in statement().group.iter().flat_map(|group| &group.requirement) {
        assert!(ids.insert(it.id.clone()), "{} twice", it.id);
        let (_, _, is_shown) = status(it);
        assert!(!is_shown || !it.tests.is_empty(), "{}: no test shows it", it.id);
        assert!(
            it.status == "met" || it.status.starts_with("not") || it.note.is_some(),
            "{}",
            it.id
        );
        for test in &it.tests {
            let (suite, name) = test.split_once("::").unwrap();
            let there = known.get(suite).is_some_and(|tests| tests.contains(name));
            assert!(there, "{}: there is no test {test}", it.id);
        }
    }
}

#[test]
fn the_conformance_statement_is_made_from_the_requirements() {
    let path = root().join("src/manual/conformance.md");
    let made = chapter(&statement());
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &made).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == made, "conformance.md; try: UPDATE_EXPECTED=1");
}

#[test]
fn the_results_of_a_run_are_told_by_requirement() {
    let sample = "test a::one ... ok\ntest two ... FAILED\ntest three ... ok\n---- three stdout ----\n\
                  left out: three: no tool\n---- two stdout ----\n";
    let results = results(sample);
    assert_eq!(results.get("one"), Some(&"passed"));
    assert_eq!(results.get("two"), Some(&"FAILED"));
    assert_eq!(results.get("three"), Some(&"left out"));

    let Some(log) = std::env::var_os("DM_GATEWAY_RESULTS") else { return };
    let log_text = fs::read_to_string(&log).unwrap();
    let results = self::results(&log_text);
    let mut text = "| id | requirement | status | in this run |\n|---|---|---|---|\n".to_owned();
    let (mut shown, mut failed) = (0, Vec::new());
    let statement = statement();
    for it in statement.group.iter().flat_map(|group| &group.requirement) {
        let names = it.tests.iter().filter_map(|test| test.split("::").last());
        let all: BTreeSet<_> =
            names.map(|name| results.get(name).copied().unwrap_or("not run")).collect();
        let worst = ["FAILED", "not run", "left out", "passed"];
        let result = worst.into_iter().find(|it| all.contains(it)).unwrap_or("–");
        shown += usize::from(result == "passed");
        failed.extend((result == "FAILED").then_some(&*it.id));
        writeln!(text, "| {} | {} | {} | {result} |", it.id, it.text, it.status).unwrap();
    }
    let beside = Path::new(&log).with_file_name("conformance.md");
    fs::write(&beside, text).unwrap();
    println!("conformance: {shown} requirements shown; {}", beside.display());
    assert!(failed.is_empty(), "{failed:?}");
}

/// What became of each test of a run, by its name without modules.
fn results(log: &str) -> BTreeMap<&str, &'static str> {
    let mut results = BTreeMap::new();
    let mut printing = "";
    for line in log.lines() {
        if let Some((name, result)) =
            line.strip_prefix("test ").and_then(|it| it.split_once(" ... "))
        {
            let result = match result {
                "ok" => "passed",
                "FAILED" => "FAILED",
                _ => "not run",
            };
            results.insert(name.rsplit("::").next().unwrap_or(name), result);
        } else if let Some(name) = line.strip_prefix("---- ") {
            let name = name.split(' ').next().unwrap_or_default();
            printing = name.rsplit("::").next().unwrap_or(name);
        } else if line.contains("left out: ") && results.get(printing) == Some(&"passed") {
            results.insert(printing, "left out");
        }
    }
    results
}

fn status(requirement: &Requirement) -> (&'static str, &'static str, bool) {
    let Requirement { id, status, .. } = requirement;
    let known = STATUSES.iter().find(|(name, _, _)| name == status);
    *known.unwrap_or_else(|| panic!("{id}: {status}"))
}

fn chapter(statement: &Statement) -> String {
    let mut text = INTRODUCTION.to_owned();
    let all: Vec<_> = statement.group.iter().flat_map(|group| &group.requirement).collect();
    text.push_str("\n| status | requirements | meaning |\n|---|---|---|\n");
    for (name, meaning, _) in STATUSES {
        let number = all.iter().filter(|it| it.status == *name).count();
        writeln!(text, "| {name} | {number} | {meaning} |").unwrap();
    }
    for Group { name, source, requirement } in &statement.group {
        write!(text, "\n## {name}\n\nSource: {source}.\n\n").unwrap();
        text.push_str("| id | requirement | status | shown by |\n|---|---|---|---|\n");
        for it in requirement {
            let note = it.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
            let (bold, tests) = (if it.status == "met" { "" } else { "**" }, it.tests.join("`, `"));
            let tests = if tests.is_empty() { "–".to_owned() } else { format!("`{tests}`") };
            let line =
                format!("| {} | {} | {bold}{}{bold}{note} | {tests} |", it.id, it.text, it.status);
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

/// The names of all tests, by suite; those of the sources are `unit`.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut files = Vec::new();
    walk(&root().join("tests"), &mut files);
    walk(&root().join("src"), &mut files);
    for path in files {
        let is_source = path.starts_with(root().join("src"));
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let suite = if is_source { "unit" } else { stem };
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line != "#[test]" {
                continue;
            }
            let name = lines.by_ref().find_map(|line| line.strip_prefix("fn "));
            let name = name.and_then(|it| it.split('(').next()).unwrap();
            known.entry(suite.to_owned()).or_default().insert(name.to_owned());
        }
    }
    known
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}
