//! JSON Schema files of all documents, made from the types that are printed.
//!
//! The source is the one truth: fields, their types and what is said of them are read from the
//! structures with their serde attributes, so that a field cannot be added and forgotten here.

use super::{Files, root};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Documents: the schema's name, the type (behind its file where several have that name), and what
/// prints it. One whose type is not there has no schema.
const DOCUMENTS: &[(&str, &str, &str)] = &[
    ("status", "StatusAnswer", "dm-gateway status"),
    ("devices", "Devices", "dm-gateway devices list"),
    ("devices-row", "DeviceView", "dm-gateway devices list --format jsonl, each line"),
    ("device", "DeviceDetails", "dm-gateway devices show ID"),
    ("servers", "Servers", "dm-gateway servers list"),
    ("servers-row", "ServerView", "dm-gateway servers list --format jsonl, each line"),
    ("server", "ServerDetails", "dm-gateway servers show ID"),
    ("mappings", "Mappings", "dm-gateway map list"),
    ("mappings-row", "MappingView", "dm-gateway map list --format jsonl, each line"),
    ("explanation", "Explanation", "dm-gateway map explain SERVER DEVICE"),
    ("tree", "Nodes", "dm-gateway tree"),
    ("tree-row", "NodeView", "dm-gateway tree --format jsonl, each line"),
    ("watching", "Watching", "dm-gateway monitor, the first line"),
    ("event", "EventLine", "dm-gateway monitor and session --wait, each line but the first"),
    ("in-force", "InForce", "the control socket, for config show"),
    ("trace", "TraceLine", "dm-gateway trace, each line"),
    ("done", "Done", "what a command that changes something did"),
    ("error", "Failure", "the last document of a command that could not do its work"),
    ("decoded", "Decoded", "dm-gateway decode"),
    ("rehearsed", "Rehearsed", "what a command with --dry-run would do"),
    ("check", "cli/check.rs:Findings", "dm-gateway check"),
    ("check-row", "cli/check.rs:Finding", "dm-gateway check --format jsonl, each line"),
    ("check-list", "cli/check.rs:List", "dm-gateway check --list"),
    ("step", "StepLine", "dm-gateway servers test ID, each line"),
    ("config-check", "config/check.rs:Findings", "dm-gateway config check"),
    ("config-show", "Shown", "dm-gateway config show"),
    ("config-doc", "Doc", "dm-gateway config doc"),
    ("reloaded", "Reloaded", "dm-gateway reload"),
    ("applied", "Applied", "dm-gateway apply FILE, and reload --dry-run"),
    ("audit", "cli/audit.rs:Audit", "dm-gateway audit"),
    ("audit-row", "Chained", "dm-gateway audit --format jsonl, each line"),
    ("audit-verified", "Verified", "dm-gateway audit --verify"),
    ("support-bundle", "Bundle", "dm-gateway support-bundle"),
    ("refused", "Refused", "the control socket, where a command prints an error document"),
    ("fault", "Fault", "the control socket, for what is no request"),
];

/// The schemas by their file names.
pub(crate) fn files() -> Files {
    let types = types();
    let file = |(name, of, printed): &(&str, &str, &str)| {
        let (at, of) = of.split_once(':').unwrap_or(("", of));
        let one = types.iter().find(|one| one.name == of && one.file.ends_with(at))?;
        let mut used = BTreeMap::new();
        let mut schema = object(&types, one, &mut used);
        let fields = schema.get_mut("properties").and_then(Value::as_object_mut).unwrap();
        let about = "Version of the JSON: fields may be added, none changes its meaning.";
        fields.insert("schema".to_owned(), json!({ "const": 1, "description": about }));
        let required = schema.get_mut("required").and_then(Value::as_array_mut).unwrap();
        required.retain(|name| name != "schema");
        required.insert(0, json!("schema"));
        let draft = "https://json-schema.org/draft/2020-12/schema";
        schema.insert("$schema".to_owned(), json!(draft));
        schema.insert("title".to_owned(), json!(printed));
        if !used.is_empty() {
            schema.insert("$defs".to_owned(), json!(used));
        }
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        Some((format!("{name}.schema.json"), text))
    };
    DOCUMENTS.iter().filter_map(file).collect()
}

/// A type that is printed.
#[derive(Debug)]
struct Type {
    name: String,
    /// Below `src`.
    file: String,
    about: String,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Fields(Vec<Field>),
    Variants(Vec<(String, Option<String>)>),
}

#[derive(Debug)]
struct Field {
    name: String,
    kind: String,
    about: String,
    is_flattened: bool,
    may_be_absent: bool,
}

/// The type that a name means in a file.
fn find<'t>(types: &'t [Type], name: &str, from: &Type) -> &'t Type {
    let name = name.rsplit("::").next().unwrap();
    let all: Vec<_> = types.iter().filter(|one| one.name == name).collect();
    let here = all.iter().find(|one| one.file == from.file);
    match (here, all.as_slice()) {
        (Some(one), _) | (None, [one]) => one,
        (None, []) => panic!("{} prints {name}, which is not known here", from.name),
        (None, _) => panic!("{} prints {name}: which one of them?", from.name),
    }
}

/// A structure's schema; what it uses goes to `used`.
fn object(types: &[Type], one: &Type, used: &mut BTreeMap<String, Value>) -> Map<String, Value> {
    let Body::Fields(fields) = &one.body else { panic!("{} is no structure", one.name) };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in fields {
        if field.is_flattened {
            let inner = object(types, find(types, &field.kind, one), used);
            properties.extend(inner["properties"].as_object().unwrap().clone());
            required.extend(inner["required"].as_array().unwrap().clone());
            continue;
        }
        let kind = match field.kind.strip_prefix("Option<").and_then(|it| it.strip_suffix('>')) {
            Some(inner) if field.may_be_absent => inner,
            _ => &field.kind,
        };
        let mut value = value(types, kind, one, used);
        value.insert("description".to_owned(), json!(field.about));
        properties.insert(field.name.clone(), Value::Object(value));
        if !field.may_be_absent {
            required.push(json!(field.name));
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("description".to_owned(), json!(one.about));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), Value::Array(required));
    schema
}

/// The schema of a field's type.
fn value(
    types: &[Type],
    kind: &str,
    of: &Type,
    used: &mut BTreeMap<String, Value>,
) -> Map<String, Value> {
    let inside = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>');
    let schema = if let Some(inner) = inside("Option<") {
        json!({ "anyOf": [value(types, inner, of, used), { "type": "null" }] })
    } else if let Some(inner) = inside("Vec<") {
        json!({ "type": "array", "items": value(types, inner, of, used) })
    } else if let Some(inner) = inside("BTreeMap<String, ") {
        json!({ "type": "object", "additionalProperties": value(types, inner, of, used) })
    } else {
        match kind {
            // Whatever JSON there is.
            "Value" => json!({}),
            "bool" => json!({ "type": "boolean" }),
            "f64" => json!({ "type": "number" }),
            "i64" => json!({ "type": "integer" }),
            "u8" | "u16" | "u32" | "u64" | "usize" => json!({ "type": "integer", "minimum": 0 }),
            "String" | "&'t str" | "&'static str" | "Cow<'static, str>" | "PathBuf" => {
                json!({ "type": "string" })
            }
            name => {
                let one = find(types, name.split('<').next().unwrap(), of);
                if !used.contains_key(&one.name) {
                    used.insert(one.name.clone(), Value::Null);
                    let schema = match &one.body {
                        Body::Fields(_) => Value::Object(object(types, one, used)),
                        Body::Variants(variants) => words(types, variants, one, used),
                    };
                    used.insert(one.name.clone(), schema);
                }
                json!({ "$ref": format!("#/$defs/{}", one.name) })
            }
        }
    };
    let Value::Object(schema) = schema else { panic!("a schema is an object") };
    schema
}

/// The schema of an enumeration: words, and objects of one field for variants with content.
fn words(
    types: &[Type],
    variants: &[(String, Option<String>)],
    one: &Type,
    used: &mut BTreeMap<String, Value>,
) -> Value {
    let bare = variants.iter().filter(|it| it.1.is_none()).map(|it| &it.0);
    let bare = json!({ "type": "string", "enum": bare.collect::<Vec<_>>() });
    let mut any = vec![bare];
    for (name, kind) in variants.iter().filter_map(|it| Some((&it.0, it.1.as_ref()?))) {
        let inner = value(types, kind, one, used);
        any.push(json!({ "type": "object", "properties": { name: inner }, "required": [name] }));
    }
    match any.len() {
        1 => any.remove(0),
        _ => json!({ "anyOf": any }),
    }
}

// --- Reading the types -----------------------------------------------------------------------

/// Every type of the source that serde writes.
fn types() -> Vec<Type> {
    let mut types = Vec::new();
    read_below(&root().join("src"), &mut types);
    types
}

fn read_below(directory: &Path, types: &mut Vec<Type>) {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    for path in entries.collect::<BTreeSet<_>>() {
        if path.is_dir() {
            read_below(&path, types);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let file = path.strip_prefix(root().join("src")).unwrap().display().to_string();
            read(&file, &fs::read_to_string(&path).unwrap(), types);
        }
    }
}

/// Reads a file as rustfmt leaves it: attributes, then `pub struct Name {`, a field a line.
fn read(file: &str, source: &str, types: &mut Vec<Type>) {
    let mut about = String::new();
    let mut attributes = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let bare = line.strip_prefix("pub ").unwrap_or(line);
        let bare = bare.strip_prefix("pub(super) ").unwrap_or(bare);
        if let Some(text) = line.strip_prefix("/// ") {
            about += if about.is_empty() { "" } else { " " };
            about += text;
        } else if line.starts_with("#[") {
            attributes += line;
        } else {
            let (about, attributes) = (std::mem::take(&mut about), std::mem::take(&mut attributes));
            let named = bare.strip_prefix("struct ").or_else(|| bare.strip_prefix("enum "));
            let Some(named) = named.and_then(|it| it.strip_suffix(" {")) else { continue };
            if !attributes.contains("Serialize") {
                continue;
            }
            let name = named.split('<').next().unwrap().to_owned();
            let lines = lines.by_ref().take_while(|line| *line != "}");
            let body = if bare.starts_with("struct") {
                Body::Fields(fields(lines))
            } else if let Some(variants) = variants(lines, &attributes) {
                Body::Variants(variants)
            } else {
                continue;
            };
            types.push(Type { name, file: file.to_owned(), about: plain(&about), body });
        }
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Field> {
    let mut fields = Vec::new();
    let (mut about, mut attributes) = (String::new(), String::new());
    for line in lines.map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            about += if about.is_empty() { "" } else { " " };
            about += text;
        } else if line.starts_with("#[") {
            attributes += line;
        } else if let Some((name, kind)) = line.split_once(": ") {
            let name = name.rsplit(' ').next().unwrap().trim_start_matches("r#");
            let attribute = |key: &str| attributes.contains(key);
            if attribute("serde(skip)") {
                attributes.clear();
                about.clear();
                continue;
            }
            fields.push(Field {
                name: renamed(&attributes).unwrap_or(name).to_owned(),
                kind: kind.trim_end_matches(',').to_owned(),
                about: plain(&std::mem::take(&mut about)),
                is_flattened: attribute("flatten"),
                may_be_absent: attribute("skip_serializing_if"),
            });
            attributes.clear();
        }
    }
    fields
}

fn renamed(attributes: &str) -> Option<&str> {
    attributes.split_once("rename = \"")?.1.split('"').next()
}

/// The variants of an enumeration with what they hold; nothing if one has fields with names.
fn variants<'a>(
    lines: impl Iterator<Item = &'a str>,
    attributes: &str,
) -> Option<Vec<(String, Option<String>)>> {
    let mut variants = Vec::new();
    for line in lines.collect::<Vec<_>>() {
        let line = line.trim();
        if line.starts_with("//") || line.starts_with("#[") {
            continue;
        }
        let line = line.strip_suffix(',')?;
        let (name, inner) = match line.split_once('(') {
            Some((name, inner)) => (name, Some(inner.strip_suffix(')')?.to_owned())),
            None => (line, None),
        };
        name.chars().all(char::is_alphanumeric).then_some(())?;
        let mut word = String::new();
        for character in name.chars() {
            if attributes.contains("kebab-case") && character.is_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.extend(character.to_lowercase());
        }
        variants.push((word, inner));
    }
    Some(variants)
}

/// What is said in the source without the marks of its documentation.
fn plain(about: &str) -> String {
    let mut text = String::new();
    let mut rest = about;
    while let Some((before, after)) = rest.split_once('[') {
        text += before;
        let (label, behind) = after.split_once(']').unwrap_or((after, ""));
        if behind.starts_with('(') && label.starts_with('`') {
            text += label;
            rest = behind.split_once(')').map_or("", |(_, rest)| rest);
        } else if label.starts_with('`') {
            text += label;
            rest = behind;
        } else {
            text += "[";
            rest = after;
        }
    }
    text + rest
}
