//! Sections and values of a configuration: each knows its line and speaks of itself in errors.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Why a configuration is not used: one sentence that tells where, what, and what to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    origin: PathBuf,
    line: Option<usize>,
    problem: String,
    advice: String,
}

impl ConfigError {
    pub(super) fn of_file(origin: &Path, problem: impl Into<String>, advice: &str) -> Self {
        let (origin, problem, advice) = (origin.to_owned(), problem.into(), advice.to_owned());
        Self { origin, line: None, problem, advice }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.display().fmt(f)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {}; try: {}", self.problem, self.advice)
    }
}

impl std::error::Error for ConfigError {}

/// What a kind of section is called, and what it may hold.
#[derive(Debug)]
pub(super) struct Form {
    /// Below another section: both names with a dot between.
    pub(super) name: &'static str,
    /// Whether there may be several.
    pub(super) many: bool,
    pub(super) keys: &'static [&'static str],
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        if self.many { write!(f, "[[{name}]]") } else { write!(f, "[{name}]") }
    }
}

/// The text of a configuration, and the file it is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) origin: &'a Path,
}

impl<'a> Source<'a> {
    /// Reads the text as TOML.
    pub(super) fn tables(self) -> Result<DeTable<'a>, ConfigError> {
        DeTable::parse(self.text).map(Spanned::into_inner).map_err(|error| {
            let problem = format!("not TOML: {}", error.message().replace('\n', " "));
            let advice = "`key = \"text\"`, each key once, below its [section]";
            self.error(error.span().map(|span| span.start), problem, advice)
        })
    }

    /// Refuses sections that are in none of the `forms`.
    pub(super) fn check_names(
        self,
        tables: &DeTable<'_>,
        forms: &[&'static Form],
    ) -> Result<(), ConfigError> {
        let top = |form: &&&Form| !form.name.contains('.');
        let unknown = tables
            .keys()
            .filter(|key| forms.iter().filter(top).all(|form| form.name != key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let name = key.get_ref();
        let names: Vec<_> = forms.iter().map(|form| form.name).collect();
        let near = nearest(name, &names).and_then(|near| forms.iter().find(|f| f.name == near));
        let advice = match forms.iter().find(|form| form.keys.contains(&name.as_ref())) {
            Some(form) => format!("put it below {form}"),
            None => near.map_or_else(|| list(forms), |form| format!("`{form}`")),
        };
        let is_section = matches!(tables.get(name.as_ref()), Some(value)
            if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)));
        let what = if is_section { "section" } else { "key" };
        Err(self.error(Some(key.span().start), format!("unknown {what} {}", shown(name)), &advice))
    }

    /// The sections of a form, in their order.
    pub(super) fn sections<'t>(
        self,
        tables: &'t DeTable<'a>,
        form: &'static Form,
    ) -> Result<Vec<Section<'t>>, ConfigError>
    where
        'a: 't,
    {
        let (mut table, mut value) = (Some(tables), None);
        for name in form.name.split('.') {
            value = table.and_then(|table| table.get(name));
            table = value.and_then(|value| value.get_ref().as_table());
        }
        let Some(value) = value else { return Ok(Vec::new()) };
        let elements = match (value.get_ref(), form.many) {
            (DeValue::Table(_), false) => std::slice::from_ref(value),
            (DeValue::Array(elements), true) => elements,
            _ => &[],
        };
        let section = |element: &'t Spanned<DeValue<'a>>| {
            let table = element.get_ref().as_table()?;
            Some(Section { source: self, form, table, at: element.span().start })
        };
        let sections: Option<Vec<_>> = elements.iter().map(section).collect();
        sections.filter(|sections| !sections.is_empty()).ok_or_else(|| {
            let problem = format!("`{}` is not a section of its kind", form.name);
            self.error(Some(value.span().start), problem, &format!("`{form}` on a line of its own"))
        })
    }

    fn error(self, at: Option<usize>, problem: impl Into<String>, advice: &str) -> ConfigError {
        let breaks = |at| self.text.bytes().take(at).filter(|octet| *octet == b'\n').count();
        let line = at.map(|at| 1 + breaks(at));
        ConfigError { line, ..ConfigError::of_file(self.origin, problem, advice) }
    }
}

/// One section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    source: Source<'a>,
    form: &'static Form,
    table: &'a DeTable<'a>,
    at: usize,
}

impl<'a> Section<'a> {
    /// Refuses keys that the section's form does not have.
    pub(super) fn check_keys(&self, forms: &[&'static Form]) -> Result<(), ConfigError> {
        let known = self.form.keys;
        let unknown = self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let name = key.get_ref().as_ref();
        let near = nearest(name, known).map(|near| format!("`{near}`"));
        let elsewhere = || forms.iter().find(|form| form.keys.contains(&name));
        let advice = near
            .or_else(|| elsewhere().map(|form| format!("put it below {form}")))
            .unwrap_or_else(|| list(known));
        let problem = format!("unknown key {} in {}", shown(name), self.form);
        Err(self.source.error(Some(key.span().start), problem, &advice))
    }

    /// The value of a key, if it stands there.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.form.keys.contains(&key), "{} has {key}", self.form);
        let value = self.table.get(key)?;
        Some(Value { section: *self, key, value })
    }

    /// The value of a key that must stand there.
    pub(super) fn need(&self, key: &'static str, example: &str) -> Result<Value<'a>, ConfigError> {
        self.get(key).ok_or_else(|| {
            self.error(format!("{} lacks `{key}`", self.form), &format!("`{key} = {example}`"))
        })
    }

    pub(super) fn error(&self, problem: impl Into<String>, advice: &str) -> ConfigError {
        self.source.error(Some(self.at), problem, advice)
    }
}

/// One value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    section: Section<'a>,
    key: &'static str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    /// The value as text; never empty.
    pub(super) fn text(&self) -> Result<&'a str, ConfigError> {
        let DeValue::String(text) = self.value.get_ref() else {
            return Err(self.wrong_type("text in double quotes"));
        };
        if text.is_empty() {
            return Err(self.error("is empty", "a text, or leave the key out"));
        }
        Ok(text)
    }

    /// The texts of a text or an array of texts, each as a value of its own.
    pub(super) fn texts(&self) -> Result<Vec<(Self, &'a str)>, ConfigError> {
        let elements = match self.value.get_ref() {
            DeValue::Array(elements) => elements,
            DeValue::String(_) => std::slice::from_ref(self.value),
            _ => return Err(self.wrong_type("text, or an array of texts")),
        };
        let element = |value| {
            let value = Self { value, ..*self };
            Ok((value, value.text()?))
        };
        elements.iter().map(element).collect()
    }

    /// The value as `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// The value as an integer in a range.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let bounds = format!("a number from {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = self.value.get_ref() else {
            return Err(self.wrong_type(&bounds));
        };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| self.error("is out of range", &bounds))
    }

    /// The value as a number, whole or not.
    pub(super) fn number(&self) -> Result<f64, ConfigError> {
        let number = match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong_type("a number"))
    }

    /// What the name in the value stands for.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.error(format!("is {}, which it cannot be", shown(text)), &list(&names))
        })
    }

    /// Whether the value is an integer, not a text.
    pub(super) fn is_integer(&self) -> bool {
        self.value.get_ref().is_integer()
    }

    /// An error that begins with the key and its section.
    pub(super) fn error(&self, problem: impl fmt::Display, advice: &str) -> ConfigError {
        let problem = format!("`{}` in {} {problem}", self.key, self.section.form);
        self.section.source.error(Some(self.value.span().start), problem, advice)
    }

    fn wrong_type(&self, wanted: &str) -> ConfigError {
        let found = self.value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
        self.error(format!("is {article} {found}"), wanted)
    }
}

/// Text of the file as it may stand in a sentence: quoted, without control characters, short.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Longest text of the file in a sentence, in characters: a host name fits mostly.
const SHOWN: usize = 60;

fn list(items: &[impl fmt::Display]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    format!("one of {}", items.join(", "))
}

/// The candidate that `word` is a slip or the beginning of.
fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    if word.len() > SHOWN {
        return None;
    }
    let rated = candidates.iter().map(|candidate| {
        let begins =
            word.len() > 2 && (candidate.starts_with(&word) || word.starts_with(candidate));
        let slips = distance(&word, candidate);
        (if begins { slips.min(1) } else { slips }, *candidate)
    });
    let most = (word.len() / 3).max(1);
    rated.filter(|(slips, _)| *slips <= most).min_by_key(|(slips, _)| *slips).map(|(_, near)| near)
}

/// Letters to add, drop, change or swap with their neighbour until `a` is `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        let keys = ["name", "policy", "lease-file", "push-port", "push-rate"];
        for (word, near) in [
            ("polcy", Some("policy")),
            ("ploicy", Some("policy")),
            ("lease_file", Some("lease-file")),
            ("lease", Some("lease-file")),
            ("Name", Some("name")),
            ("nmae", Some("name")),
            ("push-prot", Some("push-port")),
            ("colour", None),
            ("", None),
            ("ä", None),
        ] {
            assert_eq!(nearest(word, &keys), near, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), &keys), None);
    }

    #[test]
    fn shown_text_is_short_and_has_no_control_characters() {
        assert_eq!(shown("a\u{1b}[1m\n"), "`a\\u{1b}[1m\\n`");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), SHOWN + 3);
    }
}
