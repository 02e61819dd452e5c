//! Sections and values of a configuration: each knows its line and speaks of itself in errors.

use super::plain::Plain;
use super::tree::{Named, Place, Stored, Tree};
use crate::codes::{self, Code, Trouble};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Why a configuration is not used: one sentence that tells where, what, and what to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Box<Details>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Details {
    code: Code,
    origin: PathBuf,
    line: Option<usize>,
    problem: String,
    advice: String,
    /// The number of the section, and the key in it.
    spot: Option<(usize, Option<&'static str>)>,
    /// The key, as commands name it.
    key: Option<String>,
}

impl ConfigError {
    pub(super) fn of_file(origin: &Path, problem: impl Into<String>, advice: &str) -> Self {
        Self(Box::new(Details {
            code: codes::CONFIG,
            origin: origin.to_owned(),
            line: None,
            problem: problem.into(),
            advice: advice.to_owned(),
            spot: None,
            key: None,
        }))
    }

    pub(super) fn coded(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    pub(super) fn at_line(mut self, line: usize) -> Self {
        self.0.line = Some(line);
        self
    }

    fn at_key(mut self, section: usize, key: &'static str, path: String) -> Self {
        (self.0.spot, self.0.key) = (Some((section, Some(key))), Some(path));
        self
    }

    /// The number of the section, and the key in it.
    pub(super) fn spot(&self) -> Option<(usize, Option<&'static str>)> {
        self.0.spot
    }

    /// Whether the file it is about says nothing at all.
    pub(super) fn is_fatal(&self) -> bool {
        self.0.spot.is_none() && [codes::CONFIG_READ, codes::CONFIG_SYNTAX].contains(&self.0.code)
    }

    /// Which kind of mistake it is.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.0.origin
    }

    /// The line in it, counted from 1, where one is meant.
    pub fn line(&self) -> Option<usize> {
        self.0.line
    }

    /// The key as commands name it, such as `lan.crew.policy`, where one is meant.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The same, for the terminal.
    pub fn trouble(&self) -> Trouble {
        Trouble::new(self.0.code, &self.to_string())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { origin, line, problem, advice, .. } = &*self.0;
        origin.display().fmt(f)?;
        if let Some(line) = line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {problem}; try: {advice}")
    }
}

impl std::error::Error for ConfigError {}

/// One section.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) tree: &'a Tree,
    pub(super) index: usize,
    pub(super) stored: &'a Stored,
}

impl<'a> Section<'a> {
    /// The value of a key, if it stands there.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.stored.form.keys().contains(&key), "{} has {key}", self.stored.form);
        let entry = self.stored.entries.iter().find(|entry| entry.key == key)?;
        Some(Value { section: *self, key, value: &entry.value, place: entry.place })
    }

    /// The value of a key that must stand there.
    pub(super) fn need(&self, key: &'static str, example: &str) -> Result<Value<'a>, ConfigError> {
        self.get(key).ok_or_else(|| {
            let problem = format!("{} lacks `{key}`", self.stored.form);
            let error = self.error(problem, &format!("`{key} = {example}`"));
            error.at_key(self.index, key, self.stored.path(key))
        })
    }

    pub(super) fn error(&self, problem: impl Into<String>, advice: &str) -> ConfigError {
        let mut error = self.tree.error(self.stored.place, problem, advice);
        error.0.spot = Some((self.index, None));
        error
    }
}

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    section: Section<'a>,
    key: &'static str,
    value: &'a Plain,
    pub(super) place: Place,
}

impl<'a> Value<'a> {
    /// The value as text; never empty.
    pub(super) fn text(&self) -> Result<&'a str, ConfigError> {
        let Plain::Text(text) = self.value else {
            return Err(self.wrong_type("text in double quotes"));
        };
        if text.is_empty() {
            return Err(self.error("is empty", "a text, or leave the key out"));
        }
        Ok(text)
    }

    /// The texts of a text or an array of texts, each as a value of its own.
    pub(super) fn texts(&self) -> Result<Vec<(Self, &'a str)>, ConfigError> {
        let of = |at, value| {
            let value = Self { value, place: Place { at, ..self.place }, ..*self };
            Ok((value, value.text()?))
        };
        match self.value {
            Plain::List(elements) => elements.iter().map(|(at, value)| of(*at, value)).collect(),
            Plain::Text(_) => Ok(vec![of(self.place.at, self.value)?]),
            _ => Err(self.wrong_type("text, or an array of texts")),
        }
    }

    /// The value as `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        match self.value {
            Plain::Boolean(truth) => Ok(*truth),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// The value as an integer in a range.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let bounds = format!("a number from {} to {}", range.start(), range.end());
        let Plain::Integer { digits, radix } = self.value else {
            return Err(self.wrong_type(&bounds));
        };
        let number = u64::from_str_radix(digits, *radix).ok();
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| self.error("is out of range", &bounds))
    }

    /// The value as a number, whole or not.
    pub(super) fn number(&self) -> Result<f64, ConfigError> {
        let number = match self.value {
            Plain::Integer { digits, radix: 10 } | Plain::Float(digits) => digits.parse().ok(),
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
        matches!(self.value, Plain::Integer { .. })
    }

    /// Where relative paths start.
    pub(super) fn base(&self) -> &'a Path {
        let files = &self.section.tree.files;
        files.get(self.place.file).map_or_else(|| Path::new(""), |file| &file.base)
    }

    /// Notes the content of a file that the value names, so that a change of it shows at `reload`.
    pub(super) fn note_file(&self, path: &Path, digest: u64, is_credential: bool) {
        let key = self.section.stored.path(self.key);
        let named = Named { key, path: path.to_owned(), digest, is_credential };
        self.section.tree.named.borrow_mut().push(named);
    }

    /// Whether the service itself reads the configuration.
    pub(super) fn is_of_service(&self) -> bool {
        self.section.tree.of_service
    }

    /// An error that begins with the key and its section.
    pub(super) fn error(&self, problem: impl fmt::Display, advice: &str) -> ConfigError {
        let Section { tree, index, stored } = self.section;
        let problem = format!("`{}` in {} {problem}", self.key, stored.form);
        let error = tree.error(self.place, problem, advice);
        error.at_key(index, self.key, stored.path(self.key))
    }

    fn wrong_type(&self, wanted: &str) -> ConfigError {
        let found = self.value.type_name();
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

/// `one of a, b, c`.
pub(super) fn list(items: &[impl fmt::Display]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    format!("one of {}", items.join(", "))
}

/// The candidate that `word` is a slip or the beginning of.
pub(crate) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
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
