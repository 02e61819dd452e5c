//! JSON Schema files of all documents, made from the types that are printed.
//!
//! The source is the one truth: fields, their types and what is said of them are read from the
//! structures with their serde attributes, so that a field cannot be added and forgotten here.

use super::{Files, root};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Documents: the schema's name, the type, and what prints it.
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
    ("trace", "TraceLine", "dm-gateway trace, each line but the first"),
    ("done", "Done", "what a command that changes something did"),
    ("error", "Failure", "the last document of a command that could not do its work"),
    ("decoded", "Decoded", "dm-gateway decode"),
    ("refused", "Refused", "the control socket, where a command prints an error document"),
    ("fault", "Fault", "the control socket, for what is no request"),
];

/// The schemas by their file names.
pub(crate) fn files() -> Files {
    let types = types();
    let file = |(name, of, printed): &(&str, &str, &str)| {
        let mut used = BTreeMap::new();
        let mut schema = object(&types, of, &mut used);
        let fields = schema.get_mut("properties").and_then(Value::as_object_mut).unwrap();
        fields.insert("schema".to_owned(), json!({
            "const": 1, "description": "Version of the JSON: fields may be added, none changes its meaning."
        }));
        let required = schema.get_mut("required").and_then(Value::as_array_mut).unwrap();
        required.insert(0, json!("schema"));
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!(printed));
        if !used.is_empty() {
            schema.insert("$defs".to_owned(), json!(used));
        }
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        (format!("{name}.schema.json"), text)
    };
    DOCUMENTS.iter().map(file).collect()
}

/// A type that is printed.
#[derive(Debug)]
struct Type {
    about: String,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Fields(Vec<Field>),
    Words(Vec<String>),
}

#[derive(Debug)]
struct Field {
    name: String,
    kind: String,
    about: String,
    is_flattened: bool,
    may_be_absent: bool,
}

/// A structure's schema; what it uses goes to `used`.
fn object(
    types: &BTreeMap<String, Type>,
    name: &str,
    used: &mut BTreeMap<String, Value>,
) -> Map<String, Value> {
    let kind = types.get(name).unwrap_or_else(|| panic!("no type {name} is printed"));
    let Body::Fields(fields) = &kind.body else { panic!("{name} is no structure") };
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in fields {
        if field.is_flattened {
            let inner = object(types, &field.kind, used);
            properties.extend(inner["properties"].as_object().unwrap().clone());
            required.extend(inner["required"].as_array().unwrap().clone());
            continue;
        }
        let kind = match field.kind.strip_prefix("Option<").and_then(|it| it.strip_suffix('>')) {
            Some(inner) if field.may_be_absent => inner,
            _ => &field.kind,
        };
        let mut value = value(types, kind, used);
        value.insert("description".to_owned(), json!(field.about));
        properties.insert(field.name.clone(), Value::Object(value));
        if !field.may_be_absent {
            required.push(json!(field.name));
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("description".to_owned(), json!(kind.about));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), Value::Array(required));
    schema
}

/// The schema of a field's type.
fn value(
    types: &BTreeMap<String, Type>,
    kind: &str,
    used: &mut BTreeMap<String, Value>,
) -> Map<String, Value> {
    let inside = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>');
    let schema = if let Some(inner) = inside("Option<") {
        json!({ "anyOf": [value(types, inner, used), { "type": "null" }] })
    } else if let Some(inner) = inside("Vec<") {
        json!({ "type": "array", "items": value(types, inner, used) })
    } else if let Some(inner) = inside("BTreeMap<String, ") {
        json!({ "type": "object", "additionalProperties": value(types, inner, used) })
    } else {
        match kind {
            "bool" => json!({ "type": "boolean" }),
            "f64" => json!({ "type": "number" }),
            "u8" | "u16" | "u32" | "u64" | "usize" => json!({ "type": "integer", "minimum": 0 }),
            "String" | "&'t str" | "Cow<'static, str>" => json!({ "type": "string" }),
            name => {
                let name = name.split('<').next().unwrap();
                if !used.contains_key(name) {
                    used.insert(name.to_owned(), Value::Null);
                    let schema = match &types.get(name).map(|it| &it.body) {
                        Some(Body::Words(words)) => json!({ "type": "string", "enum": words }),
                        Some(Body::Fields(_)) => Value::Object(object(types, name, used)),
                        None => panic!("no type {name} is printed"),
                    };
                    used.insert(name.to_owned(), schema);
                }
                json!({ "$ref": format!("#/$defs/{name}") })
            }
        }
    };
    let Value::Object(schema) = schema else { panic!("a schema is an object") };
    schema
}

// --- Reading the types -----------------------------------------------------------------------

/// Every type of the source that serde writes.
fn types() -> BTreeMap<String, Type> {
    let mut types = BTreeMap::new();
    read_below(&root().join("src"), &mut types);
    types
}

fn read_below(directory: &Path, types: &mut BTreeMap<String, Type>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_below(&path, types);
        } else if path.extension().is_some_and(|it| it == "rs") {
            read(&fs::read_to_string(&path).unwrap(), types);
        }
    }
}

/// Reads a file as rustfmt leaves it: attributes, then `pub struct Name {`, a field a line.
fn read(source: &str, types: &mut BTreeMap<String, Type>) {
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
            } else if let Some(words) = words(lines, &attributes) {
                Body::Words(words)
            } else {
                continue;
            };
            types.insert(name, Type { about: plain(&about), body });
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

/// The names of an enumeration without content.
fn words<'a>(lines: impl Iterator<Item = &'a str>, attributes: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let lines: Vec<_> = lines.collect();
    for line in lines {
        let line = line.trim();
        if line.starts_with("//") || line.starts_with("#[") {
            continue;
        }
        let name = line.strip_suffix(',')?;
        name.chars().all(char::is_alphanumeric).then_some(())?;
        let mut word = String::new();
        for character in name.chars() {
            if attributes.contains("kebab-case") && character.is_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.extend(character.to_lowercase());
        }
        words.push(word);
    }
    Some(words)
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
