//! The architecture as data: which layer may use what, how long a file may be, what may not
//! stand in it. Reads the sources as text, without their comments and strings.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One row of the dependency rule.
struct Layer {
    /// Folder or file under `src`.
    place: &'static str,
    /// Crates besides `std` and this one. `None`: any.
    crates: Option<&'static [&'static str]>,
    /// Paths that must not be used, each with all that lies below it.
    never: &'static [&'static str],
}

/// What is impure in `std`, and what stands above the pure half in this crate.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "crate::cli",
    "crate::config",
    "crate::control",
    "crate::daemon",
    "crate::demo",
    "crate::io",
    "crate::simulate",
];

const LAYERS: &[Layer] = &[
    Layer {
        place: "proto",
        crates: Some(&["base64", "hmac", "md5", "quick_xml", "sha1", "subtle"]),
        never: IMPURE,
    },
    Layer { place: "proto", crates: None, never: &["crate::gateway"] },
    Layer {
        place: "gateway",
        crates: Some(&["base64", "log", "quick_xml", "serde", "serde_json", "sha2"]),
        never: IMPURE,
    },
    Layer {
        place: "io",
        crates: None,
        never: &[
            "crate::cli",
            "crate::config",
            "crate::control",
            "crate::daemon",
            "crate::demo",
            "crate::proto::notification",
            "crate::proto::session",
            "crate::proto::syncml",
            "crate::proto::wsp",
            "crate::simulate",
        ],
    },
    Layer { place: "codes.rs", crates: Some(&["serde"]), never: IMPURE },
    Layer { place: "limits.rs", crates: Some(&[]), never: IMPURE },
];

/// Longest file, in lines before its unit tests.
const LINES: usize = 500;

/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[
    ("limits.rs", "every bound stands in one file"),
    ("codes.rs", "every code stands in one file"),
];

#[test]
fn every_layer_uses_only_what_its_row_allows() {
    let mut faults = Vec::new();
    for layer in LAYERS {
        let files = sources(layer.place);
        assert!(!files.is_empty(), "{}", layer.place);
        for file in files {
            for path in paths_in(&file) {
                let below = |top: &str| {
                    path == top || path.strip_prefix(top).is_some_and(|it| it.starts_with("::"))
                };
                if layer.never.iter().any(|top| below(top)) {
                    faults.push(format!("{}: {path}", file.display()));
                }
                let root = path.split("::").next().unwrap_or_default();
                let known = ["std", "core", "alloc", "crate"].contains(&root);
                let allowed = layer.crates.is_none_or(|crates| crates.contains(&root));
                if !known && dependencies().contains(root) && !allowed {
                    faults.push(format!("{}: {path}", file.display()));
                }
            }
        }
    }
    assert_eq!(faults, [""; 0]);
}

#[test]
fn the_rule_sees_what_it_looks_for() {
    let text = "use std::{fmt, io::{self, Read as _}, time::Duration};\n\
                // use std::fs;\n\
                use crate::io::clock; use super::super::cli;\n\
                fn a() { let b = \"std::env\"; std::thread::sleep(c::<d>()); smol::block_on(e) }";
    let paths = paths_of(text, &["gateway", "forward"]);
    for path in [
        "std::fmt",
        "std::io",
        "std::io::Read",
        "std::time::Duration",
        "crate::io::clock",
        "crate::cli",
        "std::thread::sleep",
        "smol::block_on",
    ] {
        assert!(paths.contains(path), "{path} in {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.starts_with("std::fs") || path.starts_with("std::env")));
}

#[test]
fn no_file_is_longer_than_a_reader_can_bear() {
    let mut faults = Vec::new();
    for file in sources("") {
        let text = fs::read_to_string(&file).unwrap();
        let lines = before_tests(&text).lines().count();
        let name = name_of(&file);
        let is_listed = LONG.iter().any(|(long, _)| *long == name);
        if lines > LINES && !is_listed {
            faults.push(format!("{name}: {lines} lines"));
        }
    }
    assert_eq!(faults, [""; 0]);
    assert!(LONG.iter().all(|(_, reason)| !reason.is_empty()));
}

#[test]
fn nothing_gives_up_outside_of_tests() {
    let mut faults = Vec::new();
    for file in sources("") {
        let text = fs::read_to_string(&file).unwrap();
        let code = without_comments_and_strings(before_tests(&text));
        for word in [".unwrap()", "todo!", "unimplemented!", "panic!", "unsafe "] {
            let starts = code.match_indices(word).map(|(at, _)| at);
            let whole =
                |at: usize| !code[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_');
            for at in starts.filter(|at| word.starts_with('.') || whole(*at)) {
                let line = code[..at].lines().count();
                faults.push(format!("{}:{line}: {word}", name_of(&file)));
            }
        }
    }
    assert_eq!(faults, [""; 0]);
}

#[test]
fn bounds_are_explained_where_they_stand() {
    let text = fs::read_to_string(root().join("src/limits.rs")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with("pub const") {
            let above = lines[..index].iter().rev().find(|line| !line.starts_with("#["));
            assert!(above.is_some_and(|line| line.starts_with("///")), "{line}");
        }
    }
}

// --- Reading sources ----------------------------------------------------------------------------

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn name_of(file: &Path) -> String {
    file.strip_prefix(root().join("src")).unwrap().display().to_string()
}

/// The Rust files at or below `src/place`.
fn sources(place: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join("src").join(place)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The crates that `Cargo.toml` names, as they are written in paths.
fn dependencies() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut found = BTreeSet::from(["md5".to_owned()]);
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") {
            found.extend(line.split_once('=').map(|(name, _)| name.trim().replace('-', "_")));
        }
    }
    assert!(found.contains("smol") && found.contains("quick_xml"));
    found
}

/// The text up to the unit tests, which stand last.
fn before_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// Replaces comments, strings and characters by nothing, lines kept.
fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = rest.find('"').unwrap_or_default() + 1;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if first == '"' {
            string_length(rest)
        } else if first == '\'' && is_character(rest) {
            1 + rest[1..].find('\'').unwrap_or_default()
                + 1
                + usize::from(rest.starts_with("'\\''"))
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (skipped, left) = rest.split_at(length);
        out.extend(skipped.chars().filter(|it| *it == '\n'));
        rest = left;
    }
    out
}

/// The number of `#` if a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let text = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = text.len() - text.trim_start_matches('#').len();
    text[hashes..].starts_with('"').then_some(hashes)
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (index, octet) in text.bytes().enumerate().skip(1) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a quote starts a character, and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut rest = text.chars().skip(1);
    match rest.next() {
        Some('\\') => true,
        Some(_) => rest.next() == Some('\''),
        None => false,
    }
}

fn paths_in(file: &Path) -> BTreeSet<String> {
    let name = name_of(file);
    let name = name.trim_end_matches(".rs").trim_end_matches("/mod");
    let module: Vec<_> = name.split('/').collect();
    paths_of(&fs::read_to_string(file).unwrap(), &module)
}

/// Every path of two or more parts in `text`, a file of the module `module`; trees of `use` are
/// taken apart, `self` and `super` resolved.
fn paths_of(text: &str, module: &[&str]) -> BTreeSet<String> {
    let code = without_comments_and_strings(text);
    let tokens = tokens(&code);
    let mut paths = BTreeSet::new();
    let mut index = 0;
    while index < tokens.len() {
        // `use<'a>` in a bound is none.
        if tokens[index] == "use" && tokens.get(index + 1) != Some(&"<") {
            index = tree(&tokens, index + 1, &[], module, &mut paths);
        } else if is_word(tokens[index]) {
            let mut path = vec![tokens[index]];
            while tokens.get(index + 1) == Some(&"::")
                && tokens.get(index + 2).is_some_and(|it| is_word(it))
            {
                path.push(tokens[index + 2]);
                index += 2;
            }
            add(&path, module, &mut paths);
        }
        index += 1;
    }
    paths
}

/// Reads one tree of a `use` from `index`; the index behind it.
fn tree(
    tokens: &[&str],
    mut index: usize,
    prefix: &[&str],
    module: &[&str],
    paths: &mut BTreeSet<String>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(index) {
        match *token {
            "{" => {
                index += 1;
                while tokens.get(index).is_some_and(|it| *it != "}") {
                    let end = tree(tokens, index, &path, module, paths);
                    index = end + usize::from(tokens.get(end) == Some(&","));
                    assert!(end > 0 && tokens.get(end) != Some(&";"), "a tree is closed");
                }
                return index + 1;
            }
            "as" => index += 1,
            "," | "}" | ";" => break,
            "self" if !path.is_empty() => {}
            word if is_word(word) => path.push(word),
            _ => {}
        }
        index += 1;
    }
    add(&path, module, paths);
    index
}

fn add(path: &[&str], module: &[&str], paths: &mut BTreeSet<String>) {
    let mut base = Vec::new();
    let mut rest = path;
    if let Some("self" | "super") = rest.first().copied() {
        base = [&["crate"], module].concat();
        while let Some(first @ ("self" | "super")) = rest.first().copied() {
            if first == "super" && base.len() > 1 {
                base.pop();
            }
            rest = &rest[1..];
        }
    }
    base.extend(rest);
    if base.len() > 1 {
        paths.insert(base.join("::"));
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|it: char| it.is_alphabetic() || it == '_')
}

/// Words, `::`, and single other characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("::") {
            2
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, left) = rest.split_at(length);
        found.push(token);
        rest = left.trim_start();
    }
    found
}
