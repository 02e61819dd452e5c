//! What the program is made of: licences, sources, the table of reasons, the bill of materials.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
#![expect(clippy::print_stdout, reason = "a suite that is left out says so")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Licences that ask for no more than their text and a name beside the program.
const LICENCES: [&str; 5] = ["Apache-2.0", "BSD-3-Clause", "ISC", "MIT", "Unlicense"];

/// Crates that may have another one, and why.
const EXCEPTIONS: [(&str, &str); 1] = [
    // Tables that a macro reads while the program is built; nothing of them is in it.
    ("unicode-ident", "(MIT OR Apache-2.0) AND Unicode-3.0"),
];

/// Crates that must not come in, whoever brings them.
const BANNED: [&str; 10] = [
    // TLS is rustls on ring: nothing of the system's, nothing to cross-build but ring.
    "openssl",
    "openssl-sys",
    "native-tls",
    "aws-lc-sys",
    // One executor.
    "async-std",
    "mio",
    // Their work is done without them, in less.
    "clap",
    "hickory-proto",
    "regex",
    "reqwest",
];

#[test]
fn every_licence_is_one_of_the_list() {
    let mut strange = Vec::new();
    for package in packages() {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        if !is_allowed(licence) && !EXCEPTIONS.contains(&(name, licence)) {
            strange.push(format!("{name}: {licence}"));
        }
    }
    assert!(strange.is_empty(), "{strange:#?}");
    for (name, _) in EXCEPTIONS {
        assert!(packages().iter().any(|it| text(it, "name") == name), "{name} is not there");
    }
}

#[test]
fn a_licence_needs_all_of_its_parts_and_one_of_its_alternatives() {
    for good in
        ["MIT", "MIT/Apache-2.0", "Apache-2.0 AND ISC", "GPL-2.0 OR MIT", "(MIT OR X) AND ISC"]
    {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-2.0", "MIT AND GPL-2.0", "MITX", "(GPL-2.0 OR X) AND MIT"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

#[test]
fn every_crate_is_of_one_registry_with_its_checksum() {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let own = env!("CARGO_PKG_NAME");
    for package in lock["package"].as_array().unwrap() {
        let text = |key| package.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        if text("name") != own {
            let source = text("source");
            let registry = "registry+https://github.com/rust-lang/crates.io-index";
            assert_eq!((source, text("checksum").len()), (registry, 64), "{}", text("name"));
        }
    }
}

#[test]
fn what_must_not_come_in_is_not_there_and_nothing_is_there_twice() {
    let names: Vec<_> = packages().iter().map(|package| text(package, "name")).collect();
    let banned: Vec<_> = BANNED.iter().filter(|name| names.contains(name)).collect();
    assert!(banned.is_empty(), "{banned:?}");
    // What tests bring along is not in the program.
    let program = program();
    let twice: BTreeSet<_> =
        program.iter().filter(|name| program.iter().filter(|it| it == name).count() > 1).collect();
    assert!(twice.is_empty(), "in two versions: {twice:?}");
}

#[test]
fn the_table_of_reasons_has_every_dependency_and_no_other() {
    let text = read("src/lib.rs");
    let (_, table) = text.split_once("//! | crate | for | licence |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("//! |"));
    let mut told = BTreeSet::new();
    for row in rows {
        let name = row.split('|').nth(1).unwrap().replace("*tests:*", "").replace("with ", "");
        told.extend(name.split(',').map(|name| name.trim().to_owned()));
    }
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let mut wanted = BTreeSet::new();
    for section in ["dependencies", "dev-dependencies"] {
        for (name, value) in manifest[section].as_table().unwrap() {
            let package = value.get("package").and_then(toml::Value::as_str);
            wanted.insert(package.unwrap_or(name).to_owned());
        }
    }
    assert_eq!(told, wanted);
}

#[test]
fn the_bill_of_materials_is_the_same_each_time_and_names_no_path() {
    let bill = || Command::new("python3").arg(root().join(".ci/sbom")).arg("-").output();
    let output = match bill() {
        Ok(output) if output.status.success() => output,
        failed => {
            let required = std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() == Ok("1");
            assert!(!required, "Python 3.11 is required: {failed:?}");
            return println!("left out: the bill of materials wants Python 3.11");
        }
    };
    assert_eq!(output.stdout, bill().unwrap().stdout);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")) && !text.contains("timestamp"));

    let bill: Value = serde_json::from_str(&text).unwrap();
    let components = bill["components"].as_array().unwrap();
    let listed: BTreeSet<_> = components
        .iter()
        .filter(|it| it["scope"] == "required")
        .map(|it| text_of(&it["name"]))
        .collect();
    let mut program: BTreeSet<_> = program().into_iter().collect();
    program.remove(env!("CARGO_PKG_NAME"));
    // Macros run while it is built.
    let only_built: Vec<_> = program.difference(&listed).copied().collect();
    assert!(listed.is_subset(&program), "{:?}", listed.difference(&program));
    for name in only_built {
        assert!(
            components.iter().any(|it| it["name"] == name && it["scope"] == "excluded"),
            "{name}"
        );
    }
    for component in components {
        assert_eq!(text_of(&component["hashes"][0]["content"]).len(), 64, "{component}");
        assert!(!text_of(&component["licenses"][0]["expression"]).is_empty(), "{component}");
    }
}

/// Whether an SPDX expression, or the older form with `/`, can be met by [`LICENCES`].
fn is_allowed(expression: &str) -> bool {
    let mut expression = expression.replace('/', " OR ");
    // Innermost brackets first: each becomes a licence that is known, or one that is not.
    while let Some(end) = expression.find(')') {
        let Some(start) = expression[..end].rfind('(') else { return false };
        let inner = if is_allowed(&expression[start + 1..end]) { LICENCES[0] } else { "none" };
        expression.replace_range(start..=end, inner);
    }
    let known = |licence: &str| LICENCES.contains(&licence.trim());
    expression.split(" OR ").any(|choice| choice.split(" AND ").all(known))
}

/// Every package that this platform's build, its tests and its macros need.
fn packages() -> &'static [Value] {
    static METADATA: OnceLock<Value> = OnceLock::new();
    let metadata = METADATA.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .current_dir(root())
            .args(["metadata", "--locked", "--offline", "--format-version", "1"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    });
    metadata["packages"].as_array().unwrap()
}

/// The crates of a router build, by `cargo tree`; one in two versions stands twice.
fn program() -> Vec<&'static str> {
    static TREE: OnceLock<String> = OnceLock::new();
    let text = TREE.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .current_dir(root())
            .args([
                "tree",
                "--locked",
                "--offline",
                "--no-default-features",
                "--features",
                "manual",
            ])
            .args(["--target", "x86_64-unknown-linux-gnu"])
            .args(["-e", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    });
    let crates: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name, rest.split(' ').next()))
        .collect();
    crates.into_iter().map(|(name, _)| name).collect()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    text_of(&package[key])
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
