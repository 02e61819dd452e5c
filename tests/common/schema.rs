//! Documents against the schema files: what a schema asks for, and nothing that it does not know.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses its own part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The file of a schema.
pub fn file(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual/schemas");
    directory.join(format!("{name}.schema.json"))
}

/// The schema of what a command prints with `--json`, as one document.
pub fn of_command(arguments: &[&str]) -> Option<&'static str> {
    let words: Vec<_> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let word = |index: usize| words.get(index).map_or("", |word| **word);
    if arguments.contains(&"--dry-run") {
        return Some(if matches!(word(0), "reload" | "apply") { "applied" } else { "rehearsed" });
    }
    Some(match (word(0), word(1)) {
        ("status", _) => "status",
        ("devices", "" | "list") => "devices",
        ("devices", "show") => "device",
        ("devices", "provision") | ("servers", "approve") | ("bootstrap", "apply") => "done",
        ("servers", "" | "list") => "servers",
        ("servers", "show") => "server",
        ("map", "list") => "mappings",
        ("map", "explain") => "explanation",
        ("tree", _) => "tree",
        ("config", "check") => "config-check",
        ("config", "show") => "config-show",
        ("config", "doc") => "config-doc",
        ("reload", _) => "reloaded",
        ("apply", _) => "applied",
        ("confirm" | "log-level" | "backup", _) => "done",
        ("audit", _) if arguments.contains(&"--verify") => "audit-verified",
        ("audit", _) => "audit",
        ("check", _) if arguments.contains(&"--list") => "check-list",
        ("check", _) => "check",
        ("support-bundle", _) => "support-bundle",
        ("decode", _) => "decoded",
        _ => return None,
    })
}

/// Judges a document: all that is required, of the right type, and no field that is not in the
/// schema.
pub fn check(name: &str, document: &Value) {
    let text = fs::read_to_string(file(name)).unwrap_or_else(|_| panic!("no schema {name}"));
    let schema: Value = serde_json::from_str(&text).unwrap();
    if let Err(fault) = judge(&schema, &schema, document, "") {
        panic!("{name}: {fault}: {document}");
    }
}

fn judge(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{at}: {what}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let inner = root.pointer(reference.trim_start_matches('#'));
        return judge(root, inner.ok_or_else(|| format!("no {reference}"))?, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return match any.iter().any(|one| judge(root, one, value, at).is_ok()) {
            true => Ok(()),
            false => fail("fits none of them"),
        };
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return fail("is another constant");
    }
    if let Some(words) = schema["enum"].as_array() {
        if !words.contains(value) {
            return fail("is none of the words");
        }
    }
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64(),
        Some("number") => value.is_number(),
        Some("null") => value.is_null(),
        _ => true,
    };
    if !fits {
        return fail("is of another type");
    }
    for item in value.as_array().into_iter().flatten() {
        judge(root, &schema["items"], item, at)?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(name.as_str().unwrap_or_default()) {
            return fail(&format!("lacks {name}"));
        }
    }
    for (name, value) in fields {
        let known = [&schema["properties"][name], &schema["additionalProperties"]];
        match known.into_iter().find(|it| !it.is_null()) {
            Some(schema) => judge(root, schema, value, &format!("{at}/{name}"))?,
            None => return fail(&format!("has {name}, which no schema knows")),
        }
    }
    Ok(())
}
