//! What a configuration says, for people and programs: each value, who set it, and where.

use super::keys::{self, Default, Key};
use super::layers::Layout;
use super::plain::Plain;
use super::section::ConfigError;
use super::tree::{Place, Stored, Tree};
use super::{Config, Origin};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use toml::de::DeValue;

/// Name of the origin of what no file sets.
pub const DEFAULT: &str = "default";
/// Name of the origin of what DM servers set.
pub const REMOTE: &str = "remote";

/// One key with its value.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct ValueView {
    /// `gateway.id`, `lan.crew.policy`.
    pub key: String,
    /// The value; absent where there is none. Secrets stand in files: only their paths are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What counts where there is no value, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
    /// Who set it: `default`, `vendor`, `admin`, `drop-in`, `applied`, `trial` or `remote`.
    pub origin: String,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What it overrides, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Overridden>,
    /// What locks it: a file and a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<String>,
    /// `reload` or `restart`: when a change of it counts.
    #[serde(default)]
    pub applies: String,
    /// What the files say meanwhile, if that is something else; only of a running daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
}

/// A value that another one overrides.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Overridden {
    /// The value.
    pub value: Value,
    /// Who set it.
    pub origin: String,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// One difference between two configurations.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// The value before; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value after; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl Config {
    /// Every key with its value; defaults too.
    pub fn values(&self) -> Vec<ValueView> {
        values(&self.tree)
    }
}

/// Every key of the files with its value, and what is wrong with the files.
pub fn of_files(layout: &Layout) -> (Vec<ValueView>, Vec<ConfigError>) {
    let (tree, errors) = layout.read_all("`--config FILE` with the daemon's file");
    (values(&tree), errors)
}

/// Has a value that a DM server set stand before that of the files.
pub fn set_remote(values: &mut [ValueView], key: &str, value: Value) {
    let Some(view) = values.iter_mut().find(|view| view.key == key) else { return };
    let before = view.value.replace(value);
    let origin = std::mem::replace(&mut view.origin, REMOTE.to_owned());
    let (file, line) = (view.file.take(), view.line.take());
    if let Some(value) = before {
        view.overrides.insert(0, Overridden { value, origin, file, line });
    }
}

/// What is in one and not, or otherwise, in the other. Defaults that stay so are no difference.
pub fn differences(before: &[ValueView], after: &[ValueView]) -> Vec<Difference> {
    let set = |views: &[ValueView]| -> BTreeMap<String, Value> {
        let views = views.iter().filter_map(|view| Some((view.key.clone(), view.value.clone()?)));
        views.collect()
    };
    let (before, after) = (set(before), set(after));
    let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let difference = |key: &String| Difference {
        key: key.clone(),
        before: before.get(key).cloned(),
        after: after.get(key).cloned(),
    };
    keys.into_iter().map(difference).filter(|it| it.before != it.after).collect()
}

/// A value as TOML, which has strings, numbers, truths and lists as JSON has them.
pub fn toml(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn values(tree: &Tree) -> Vec<ValueView> {
    let mut views = Vec::new();
    for form in keys::FORMS {
        let mut sections: Vec<_> =
            tree.sections.iter().filter(|stored| stored.form == form).collect();
        let none = Stored { form, place: Place { file: 0, at: 0 }, entries: Vec::new() };
        if sections.is_empty() && form.id.is_none() {
            sections.push(&none);
        }
        for stored in sections {
            let keys = keys::ALL.iter().filter(|key| key.section == form.name);
            views.extend(keys.map(|key| view(tree, stored, key)));
        }
    }
    views
}

fn view(tree: &Tree, stored: &Stored, key: &Key) -> ValueView {
    let path = stored.path(key.name);
    let locked = tree.lock_of(&path).map(|lock| {
        format!("{} line {}", tree.path_of(lock.place).display(), tree.line(lock.place))
    });
    let view = ValueView {
        locked,
        key: path,
        applies: key.applies.name().to_owned(),
        ..ValueView::default()
    };
    let Some(entry) = stored.entries.iter().find(|entry| entry.key == key.name) else {
        let (value, words) = match key.default {
            Default::Value(value) => (json(value), String::new()),
            Default::Words(words) => (None, words.to_owned()),
            Default::Required(_) => (None, "missing".to_owned()),
        };
        return ValueView { value, words, origin: DEFAULT.to_owned(), ..view };
    };
    let at = |place: Place| {
        (
            tree.files.get(place.file).map_or(Origin::Admin, |file| file.origin).name().to_owned(),
            Some(tree.path_of(place).display().to_string()),
            Some(tree.line(place)),
        )
    };
    let earlier = |(value, place): &(Plain, Place)| {
        let (origin, file, line) = at(*place);
        Overridden { value: value.json(), origin, file, line }
    };
    let (origin, file, line) = at(entry.place);
    let overrides = entry.earlier.iter().map(earlier).collect();
    ValueView { value: Some(entry.value.json()), origin, file, line, overrides, ..view }
}

/// A default as a value.
pub(crate) fn json(text: &str) -> Option<Value> {
    DeValue::parse(text).ok().map(|value| Plain::of(&value).json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_toml_reads_them() {
        for text in ["\"a\\\"b\\n\"", "7", "0.5", "true", "[\"a\", \"b\"]"] {
            assert_eq!(toml(&json(text).unwrap()), text);
        }
    }
}
