//! All files of a configuration as one: each key with its value, where that stands, and what it
//! overrides.

use super::keys::{self, FORMS, Form, Key};
use super::plain::Plain;
use super::section::{ConfigError, Section, shown};
use crate::codes;
use crate::gateway::device::DeviceId;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Who wrote a file, in the order in which files count: a later one overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Whoever built the image.
    Vendor,
    /// The administrator: the main file.
    Admin,
    /// The administrator: a file of `conf.d`.
    DropIn,
    /// What came by a signed bundle, or with a restored identity.
    Provisioned,
    /// What was applied by command and confirmed.
    Applied,
    /// What was applied by command and is not confirmed yet.
    Trial,
}

impl Origin {
    /// `vendor`, `admin`, `drop-in`, `provisioned`, `applied` or `trial`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vendor => "vendor",
            Self::Admin => "admin",
            Self::DropIn => "drop-in",
            Self::Provisioned => "provisioned",
            Self::Applied => "applied",
            Self::Trial => "trial",
        }
    }
}

/// The text of one file.
#[derive(Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) origin: Origin,
    /// Where relative paths in it start.
    pub(super) base: PathBuf,
    pub(super) text: String,
}

/// Where something stands: the file's number, and the octet in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) at: usize,
}

/// What stands for one key.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: &'static str,
    pub(super) value: Plain,
    pub(super) place: Place,
    /// What it overrides, the latest first.
    pub(super) earlier: Vec<(Plain, Place)>,
}

/// One section with what all files say of it.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) form: &'static Form,
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
}

/// One entry of `locked`.
#[derive(Clone)]
pub(super) struct Lock {
    pub(super) pattern: String,
    pub(super) place: Place,
}

/// A file that a key names, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The key, by the path that commands use.
    pub(super) key: String,
    pub(super) path: PathBuf,
    /// Of its content; it never leaves the process.
    pub(super) digest: u64,
    /// Whether systemd hands it over.
    pub(super) is_credential: bool,
}

/// All files as one.
#[derive(Clone, Default)]
pub(super) struct Tree {
    /// Whether the service itself reads it: only it is handed its credentials.
    pub(super) of_service: bool,
    pub(super) files: Vec<File>,
    pub(super) sections: Vec<Stored>,
    pub(super) locks: Vec<Lock>,
    pub(super) named: RefCell<Vec<Named>>,
    /// What was put in the place of something wrong, so that the search for errors can go on.
    mended: HashSet<(usize, &'static str)>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tree(…)")
    }
}

impl Tree {
    /// Adds a file: what it says overrides what is there.
    ///
    /// # Errors
    /// All that is wrong with it by itself: what is no TOML, unknown names, locked keys.
    pub(super) fn add(&mut self, file: File) -> Vec<ConfigError> {
        let number = self.files.len();
        self.files.push(file);
        let text = self.files[number].text.clone();
        let (tables, faults) = DeTable::parse_recoverable(&text);
        if !faults.is_empty() {
            let error = |error: toml::de::Error| {
                let mut problem = format!("not TOML: {}", error.message().replace('\n', " "));
                let mut advice = "`key = \"text\"`, each key once, below its [section]";
                let word = error.span().and_then(|span| text.get(span.start..)).map(|rest| {
                    rest.split(['=', ']', '#', '\n']).next().unwrap_or_default().trim()
                });
                match word.unwrap_or_default() {
                    "" => {}
                    word if error.message().starts_with("duplicate key") => {
                        problem = format!("not TOML: {} is there twice", shown(word));
                    }
                    word if error.span().is_some_and(|it| is_bare_value(&text, it.start)) => {
                        problem = format!("not TOML: {} is no value", shown(word));
                        advice = "text in double quotes";
                    }
                    _ => {}
                }
                match error.span() {
                    Some(span) => {
                        self.error(Place { file: number, at: span.start }, problem, advice)
                    }
                    None => ConfigError::of_file(&self.files[number].path, problem, advice),
                }
                .coded(codes::CONFIG_SYNTAX)
            };
            return faults.into_iter().map(error).collect();
        }
        let tables = tables.into_inner();
        let mut errors = self.unknown_names(number, &tables);
        let mut touched = HashSet::new();
        for form in FORMS {
            match self.elements(number, &tables, form) {
                Ok(elements) => {
                    for element in elements {
                        let Some(table) = element.get_ref().as_table() else { continue };
                        let place = Place { file: number, at: element.span().start };
                        self.merge(form, table, place, &mut touched, &mut errors);
                    }
                }
                Err(error) => errors.push(error),
            }
        }
        self.collect_locks(number, &mut errors);
        errors.sort_by_key(|error| error.line());
        errors
    }

    /// The sections of a form, in their order.
    pub(super) fn sections(&self, form: &'static str) -> Vec<Section<'_>> {
        let stored = self.sections.iter().enumerate();
        let stored = stored.filter(|(_, stored)| stored.form.name == form);
        stored.map(|(index, stored)| Section { tree: self, index, stored }).collect()
    }

    /// The one section of a form, if it is there.
    pub(super) fn section(&self, form: &'static str) -> Option<Section<'_>> {
        self.sections(form).into_iter().next()
    }

    /// The file in which the administrator looks first.
    pub(super) fn main(&self) -> &Path {
        let admin = self.files.iter().find(|file| file.origin == Origin::Admin);
        admin.or_else(|| self.files.first()).map_or_else(|| Path::new(""), |file| &file.path)
    }

    /// What locks a key, by its path.
    pub(super) fn lock_of(&self, path: &str) -> Option<&Lock> {
        self.locks.iter().find(|lock| covers(&lock.pattern, path))
    }

    /// Line of a place, counted from 1.
    pub(super) fn line(&self, place: Place) -> usize {
        let text = self.files.get(place.file).map_or("", |file| &file.text);
        1 + text.bytes().take(place.at).filter(|octet| *octet == b'\n').count()
    }

    pub(super) fn path_of(&self, place: Place) -> &Path {
        self.files.get(place.file).map_or_else(|| Path::new(""), |file| &file.path)
    }

    pub(super) fn error(
        &self,
        place: Place,
        problem: impl Into<String>,
        advice: &str,
    ) -> ConfigError {
        ConfigError::of_file(self.path_of(place), problem, advice).at_line(self.line(place))
    }

    /// Puts something harmless in the place of what is wrong. False if there is nothing more to
    /// do; `is_new` tells whether the error is worth telling.
    pub(super) fn mend(&mut self, error: &ConfigError) -> (bool, bool) {
        let Some((index, key)) = error.spot() else { return (true, false) };
        let Some(stored) = self.sections.get(index) else { return (true, false) };
        let form = stored.form;
        let again = key.is_none_or(|key| self.mended.contains(&(index, key)));
        if again {
            // What was put there does not do either: without the whole section then.
            let stored = &mut self.sections[index];
            let had = !stored.entries.is_empty();
            if form.id.is_none() || !had {
                return (key.is_none(), false);
            }
            self.sections.remove(index);
            self.mended.clear();
            return (key.is_none(), true);
        }
        let Some(key) = key else { return (true, false) };
        self.mended.insert((index, key));
        let place = stored.entries.iter().find(|entry| entry.key == key).map(|it| it.place);
        let place = place.unwrap_or(stored.place);
        // What goes with it would be wrong without it.
        let together = keys::together(form.name, key);
        for (other, stored) in self.sections.iter_mut().enumerate() {
            let is_other = form.id.is_some() && other != index;
            stored.entries.retain(|entry| {
                let goes = together.contains(&(stored.form.name, entry.key));
                is_other || !(goes || stored.form == form && entry.key == key)
            });
        }
        let example = match keys::key(form.name, key) {
            Some(Key { default: keys::Default::Required(example), .. }) => Some(*example),
            _ => None,
        };
        if let Some(value) = example.and_then(|example| DeValue::parse(example).ok()) {
            let value = Plain::of(&value);
            let entry = Entry { key, value, place, earlier: Vec::new() };
            self.sections[index].entries.push(entry);
        }
        (true, true)
    }

    /// Lets go of files of which nothing is left.
    pub(super) fn forget_unused_files(&mut self) {
        let mut used = HashSet::new();
        for stored in &self.sections {
            used.insert(stored.place.file);
            for entry in &stored.entries {
                used.insert(entry.place.file);
                used.extend(entry.earlier.iter().map(|(_, place)| place.file));
            }
        }
        used.extend(self.locks.iter().map(|lock| lock.place.file));
        for (index, file) in self.files.iter_mut().enumerate() {
            if !used.contains(&index) {
                file.text = String::new();
            }
        }
        while self.files.len() > 1 && !used.contains(&(self.files.len() - 1)) {
            self.files.pop();
        }
    }

    /// What stands in a file for the sections of a form.
    fn elements<'t, 'a>(
        &self,
        file: usize,
        tables: &'t DeTable<'a>,
        form: &'static Form,
    ) -> Result<&'t [Spanned<DeValue<'a>>], ConfigError> {
        let (mut table, mut value) = (Some(tables), None);
        for name in form.name.split('.') {
            value = table.and_then(|table| table.get(name));
            table = value.and_then(|value| value.get_ref().as_table());
        }
        let Some(value) = value else { return Ok(&[]) };
        let elements = match (value.get_ref(), form.id) {
            (DeValue::Table(_), None) => std::slice::from_ref(value),
            (DeValue::Array(elements), Some(_)) => elements,
            _ => &[],
        };
        let fits = elements.iter().all(|element| element.get_ref().is_table());
        if fits && !elements.is_empty() {
            return Ok(elements);
        }
        let problem = format!("`{}` is not a section of its kind", form.name);
        let place = Place { file, at: value.span().start };
        Err(self.error(place, problem, &format!("`{form}` on a line of its own")))
    }

    fn merge(
        &mut self,
        form: &'static Form,
        table: &DeTable<'_>,
        place: Place,
        touched: &mut HashSet<usize>,
        errors: &mut Vec<ConfigError>,
    ) {
        let known = form.keys();
        let below = |name: &str| keys::form(&format!("{}.{name}", form.name)).is_some();
        let mut entries = Vec::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let place = Place { file: place.file, at: key.span().start };
            match known.iter().find(|known| **known == name) {
                Some(key) => entries.push((*key, value, place)),
                None if below(name) => {}
                None => errors.push(self.unknown_key(form, name, place)),
            }
        }
        // The order of the text, not of the alphabet.
        entries.sort_by_key(|(_, _, place)| place.at);
        let id = form.id.and_then(|id| table.get(id)).and_then(|id| id.get_ref().as_str());
        let id = id.map(|id| normal(form, id));
        let same = |stored: &Stored| {
            stored.form == form
                && (form.id.is_none()
                    || id.is_some() && stored.id().map(|id| normal(form, id)) == id)
        };
        let mut found = self.sections.iter().enumerate().filter(|(_, stored)| same(stored));
        let index = found.find(|(index, _)| !touched.contains(index)).map(|(index, _)| index);
        let index = index.unwrap_or_else(|| {
            self.sections.push(Stored { form, place, entries: Vec::new() });
            self.sections.len() - 1
        });
        touched.insert(index);
        // What is missing is best added where the section was written last.
        self.sections[index].place = place;
        for (key, value, key_place) in entries {
            let stored = &self.sections[index];
            let path = stored.path(key);
            if let Some(lock) = self.lock_of(&path).filter(|lock| lock.place.file < place.file) {
                if Some(key) != form.id {
                    let by = format!("{} line {}", self.path_of(lock.place).display(), {
                        self.line(lock.place)
                    });
                    let problem = format!("`{key}` in {form} is locked by {by}");
                    let error = self.error(key_place, problem, "leave it out here");
                    errors.push(error.coded(codes::CONFIG_LOCKED));
                    continue;
                }
            }
            let entry_place = Place { file: place.file, at: value.span().start };
            let value = Plain::of(value);
            let stored = &mut self.sections[index];
            match stored.entries.iter_mut().find(|entry| entry.key == key) {
                // The name of a section is where it was named first.
                Some(_) if Some(key) == form.id => {}
                Some(entry) => {
                    let before = std::mem::replace(&mut entry.value, value);
                    let before_place = std::mem::replace(&mut entry.place, entry_place);
                    entry.earlier.insert(0, (before, before_place));
                }
                None => stored.entries.push(Entry {
                    key,
                    value,
                    place: entry_place,
                    earlier: Vec::new(),
                }),
            }
        }
    }

    /// Takes over the `locked` of a file that was just added.
    fn collect_locks(&mut self, file: usize, errors: &mut Vec<ConfigError>) {
        let Some(section) = self.section("gateway") else { return };
        let Some(value) = section.get("locked").filter(|value| value.place.file == file) else {
            return;
        };
        let texts = match value.texts() {
            Ok(texts) => texts,
            Err(error) => return errors.push(error),
        };
        let mut locks = Vec::new();
        for (value, text) in texts {
            let plain = text.replace(".*.", ".x.");
            let known = keys::parse_path(&plain).is_some_and(|(form, _, name)| {
                name.is_none_or(|name| keys::key(form.name, name).is_some())
                    && (form.id.is_some() || name.is_none() || !plain.ends_with('.'))
            });
            if known {
                locks.push(Lock { pattern: text.to_owned(), place: value.place });
            } else {
                let near = keys::nearest_path(text);
                let advice = near.unwrap_or_else(|| "\"lan.crew.policy\" or \"wan\"".to_owned());
                let problem = format!("holds {}, which is no key", shown(text));
                errors.push(value.error(problem, &advice).coded(codes::CONFIG_UNKNOWN));
            }
        }
        self.locks.extend(locks);
    }
}

/// Whether a letter stands at `at`, where a value is wanted: text without its quotes.
fn is_bare_value(text: &str, at: usize) -> bool {
    let (before, after) = text.split_at_checked(at).unwrap_or_default();
    before.trim_end_matches([' ', '\t']).ends_with('=')
        && after.starts_with(|first: char| first.is_ascii_alphabetic())
}

impl Stored {
    /// The value of the key that tells several of them apart.
    pub(super) fn id(&self) -> Option<&str> {
        let key = self.form.id?;
        match &self.entries.iter().find(|entry| entry.key == key)?.value {
            Plain::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `lan.crew.policy`: how commands name a key of it.
    pub(super) fn path(&self, key: &str) -> String {
        match self.form.id {
            Some(_) => format!("{}.{}.{key}", self.form.name, self.id().unwrap_or_default()),
            None => format!("{}.{key}", self.form.name),
        }
    }
}

/// The form of an id by which two of them are the same.
fn normal(form: &Form, id: &str) -> String {
    match form.name {
        "device" => DeviceId::parse(id).map_or_else(|| id.to_owned(), |id| id.normal().to_owned()),
        _ => id.to_owned(),
    }
}

/// Whether an entry of `locked` is about a key.
pub(super) fn covers(pattern: &str, path: &str) -> bool {
    let below = |pattern: &str| path.strip_prefix(pattern).is_some_and(|it| it.starts_with('.'));
    match pattern.split_once(".*.") {
        Some((section, key)) => {
            let rest = path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'));
            rest.is_some_and(|rest| rest.strip_suffix(key).is_some_and(|id| id.ends_with('.')))
        }
        None => path == pattern || below(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_about_a_key_a_section_or_a_key_of_all_of_a_kind() {
        assert!(covers("lan.crew.policy", "lan.crew.policy"));
        assert!(!covers("lan.crew.policy", "lan.crew2.policy"));
        assert!(covers("lan.crew", "lan.crew.policy"));
        assert!(!covers("lan.crew", "lan.crew2.policy"));
        assert!(covers("lan.*.policy", "lan.crew.policy"));
        assert!(covers("server.*.trust", "server.com.example.dms.trust"));
        assert!(!covers("lan.*.policy", "lan.crew.verify"));
        assert!(covers("wan", "wan.http-push.token-file"));
    }
}
