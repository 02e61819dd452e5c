//! Sections and keys that there are not, and which were probably meant.

use super::keys::{self, FORMS, Form, Key};
use super::section::{ConfigError, list, nearest, shown};
use super::tree::{Place, Tree};
use crate::codes;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

impl Tree {
    /// Sections of a file that there are not.
    pub(super) fn unknown_names(&self, file: usize, tables: &DeTable<'_>) -> Vec<ConfigError> {
        let top = |form: &&Form| !form.name.contains('.');
        let unknown = tables
            .keys()
            .filter(|key| FORMS.iter().filter(top).all(|form| form.name != key.get_ref().as_ref()));
        let error = |key: &Spanned<_>| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let names: Vec<_> = FORMS.iter().map(|form| form.name).collect();
            let near = nearest(name, &names).and_then(keys::form);
            let below = FORMS.iter().find_map(|form| {
                let above = form.name.strip_suffix(name.as_ref())?.strip_suffix('.')?;
                keys::form(above)
            });
            let advice = match keys::ALL.iter().find(|key| key.name == name.as_ref()) {
                Some(Key { section, .. }) => match keys::form(section) {
                    Some(form) => format!("put it below {form}"),
                    None => list(FORMS),
                },
                None => match below {
                    Some(form) => format!("put it below {form}"),
                    None => near.map_or_else(|| list(FORMS), |form| format!("`{form}`")),
                },
            };
            let is_section = matches!(tables.get(name.as_ref()), Some(value)
                if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)));
            let what = if is_section { "section" } else { "key" };
            let place = Place { file, at: key.span().start };
            let problem = format!("unknown {what} {}", shown(name));
            self.error(place, problem, &advice).coded(codes::CONFIG_UNKNOWN)
        };
        unknown.map(error).collect()
    }

    /// A key that a section has not.
    pub(super) fn unknown_key(&self, form: &'static Form, name: &str, place: Place) -> ConfigError {
        let known = form.keys();
        let near = nearest(name, &known).map(|near| format!("`{near}`"));
        let elsewhere = || {
            let key = keys::ALL.iter().find(|key| key.name == name);
            key.and_then(|key| keys::form(key.section))
        };
        let advice = near
            .or_else(|| elsewhere().map(|form| format!("put it below {form}")))
            .unwrap_or_else(|| list(&known));
        let problem = format!("unknown key {} in {form}", shown(name));
        self.error(place, problem, &advice).coded(codes::CONFIG_UNKNOWN)
    }
}
