//! `config check`: everything that is wrong, at once.

use super::keys;
use super::layers::Layout;
use super::section::ConfigError;
use super::tree::{Named, Tree};
use super::{Config, value};
use crate::codes::{self, Trouble};
use nix::unistd::{Gid, Uid, User};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The user that the service runs as.
pub const SERVICE_USER: &str = "dm-gateway";

/// Most errors that are looked for: whoever has more begins with these.
const MOST: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Findings {
    /// The files that were read, in the order in which they count.
    pub files: Vec<String>,
    /// What keeps the daemon from using them.
    pub errors: Vec<Finding>,
    /// What is permitted and yet rarely meant.
    pub warnings: Vec<String>,
    /// The same, each with its code.
    #[serde(default)]
    pub oddities: Vec<Trouble>,
}

/// Warnings with their code.
pub fn oddities(warnings: &[String]) -> Vec<Trouble> {
    warnings.iter().map(|it| Trouble::new(codes::CONFIG_ODD, it)).collect()
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Finding {
    /// Id of its [`Code`](crate::codes::Code).
    pub code: Cow<'static, str>,
    /// The file.
    pub file: String,
    /// The line in it, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key, such as `lan.crew.policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is wrong and what to try: one sentence with file and line.
    pub sentence: String,
    /// What the key takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<String>,
}

impl Finding {
    fn of(error: &ConfigError) -> Self {
        Self {
            code: Cow::Borrowed(error.code().id),
            file: error.file().display().to_string(),
            line: error.line(),
            key: error.key().map(str::to_owned),
            sentence: error.to_string(),
            takes: error.key().and_then(takes),
        }
    }
}

/// What a key takes, in words.
fn takes(path: &str) -> Option<String> {
    let key = keys::named(path).into_iter().next()?;
    Some(match key.range {
        "" => key.kind.words().to_owned(),
        range => format!("{}: {range}", key.kind.words()),
    })
}

/// Looks for everything that is wrong with a configuration, as far as it shows without sockets.
/// `as_user` is whether files are held against the rights of [`SERVICE_USER`] too, where there is
/// one.
pub fn check(layout: &Layout, as_user: bool) -> Findings {
    let (mut tree, mut errors) = layout.read_all("a file that is there");
    let mut findings = Findings {
        files: tree.files.iter().map(|file| file.path.display().to_string()).collect(),
        ..Findings::default()
    };
    let files: Vec<PathBuf> = tree.files.iter().map(|file| file.path.clone()).collect();
    let mut named = Vec::new();
    if !errors.iter().any(ConfigError::is_fatal) {
        named = search(&mut tree, &mut errors, &mut findings.warnings);
    }
    // As they stand in the files, and these in the order in which they count.
    let place = |error: &ConfigError| {
        let file = files.iter().position(|path| path == error.file());
        (file.unwrap_or(usize::MAX), error.line())
    };
    errors.sort_by_key(place);
    findings.oddities = oddities(&findings.warnings);
    findings.errors = errors.iter().map(Finding::of).collect();
    if let Some(user) = as_user.then(Reader::service).flatten() {
        let known: BTreeSet<_> = findings.errors.iter().filter_map(|it| it.key.clone()).collect();
        findings.errors.extend(
            files
                .iter()
                .filter_map(|path| user.cannot_read(path))
                .map(|why| unreadable(&why, None)),
        );
        let named =
            named.iter().filter(|named| !named.is_credential && !known.contains(&named.key));
        findings.errors.extend(named.filter_map(|named| {
            let why = user.cannot_read(&named.path)?;
            Some(unreadable(&why, Some(&named.key)))
        }));
    }
    findings
}

/// Finds one error after the other, each mended for the search for the next.
fn search(
    tree: &mut Tree,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<String>,
) -> Vec<Named> {
    let mut named = Vec::new();
    for _ in 0..MOST {
        let result = Config::of(tree.clone());
        match result {
            Ok(config) => {
                if named.is_empty() {
                    *warnings = config.warnings;
                }
                named.extend(config.tree.named.take());
                break;
            }
            Err(error) => {
                named.extend(tree.named.take());
                let (is_new, goes_on) = tree.mend(&error);
                if is_new {
                    errors.push(error);
                }
                if !goes_on {
                    break;
                }
            }
        }
    }
    named.sort_by(|a, b| (&a.key, &a.path).cmp(&(&b.key, &b.path)));
    named.dedup_by(|a, b| (&a.key, &a.path) == (&b.key, &b.path));
    named
}

fn unreadable(why: &(PathBuf, PathBuf), key: Option<&str>) -> Finding {
    let (path, at) = why;
    let (path, at) = (path.display(), at.display());
    let names = key.map_or_else(String::new, |key| format!("{key} names "));
    Finding {
        code: Cow::Borrowed(codes::UNREADABLE.id),
        file: path.to_string(),
        line: None,
        key: key.map(str::to_owned),
        sentence: format!(
            "{names}{path}, which the service's user {SERVICE_USER} may not read; try: chgrp \
             {SERVICE_USER} {at} && chmod g+rX {at}"
        ),
        takes: None,
    }
}

/// A user whose rights count.
struct Reader {
    uid: Uid,
    groups: Vec<Gid>,
}

impl Reader {
    /// The service's user; `None` if there is none, or if it is who asks: then reading told.
    fn service() -> Option<Self> {
        let user = User::from_name(SERVICE_USER).ok().flatten()?;
        if user.uid == nix::unistd::geteuid() {
            return None;
        }
        let name = CString::new(SERVICE_USER).ok()?;
        let groups = nix::unistd::getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
        Some(Self { uid: user.uid, groups })
    }

    /// A file that this user may not read, and what on the way to it is in the way.
    fn cannot_read(&self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let path = fs::canonicalize(path).ok()?;
        let mut above: Vec<_> = path.ancestors().skip(1).collect();
        above.reverse();
        let blocked = above.into_iter().find(|directory| !self.has(directory, 0o1));
        let blocked = blocked.or_else(|| (!self.has(&path, 0o4)).then_some(&*path));
        blocked.map(|at| (path.clone(), at.to_owned()))
    }

    /// Whether the mode gives this right to the user.
    fn has(&self, path: &Path, right: u32) -> bool {
        let Ok(facts) = fs::metadata(path) else { return true };
        let shift = if facts.uid() == self.uid.as_raw() {
            6
        } else if self.groups.iter().any(|group| group.as_raw() == facts.gid()) {
            3
        } else {
            0
        };
        self.uid.is_root() || facts.mode() >> shift & right == right
    }
}

/// The text of a file that is to be applied.
///
/// # Errors
/// Why it cannot be read.
pub fn read_text(path: &Path) -> Result<String, String> {
    let octets = value::read_file(path, crate::limits::CONFIG_FILE)?;
    String::from_utf8(octets).map_err(|_| "is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn rights_are_those_of_owner_group_or_others_and_of_the_directories_above() {
        let directory = tempfile::tempdir().unwrap();
        let (below, file) = (directory.path().join("d"), directory.path().join("d/f"));
        fs::create_dir(&below).unwrap();
        fs::write(&file, "x").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(directory.path(), 0o755);
        let owner = fs::metadata(&file).unwrap();
        let other = Reader { uid: Uid::from_raw(owner.uid() + 1000), groups: Vec::new() };
        let member = Reader { groups: vec![Gid::from_raw(owner.gid())], ..other };
        let other = Reader { uid: Uid::from_raw(owner.uid() + 1000), groups: Vec::new() };
        set(&below, 0o750);
        set(&file, 0o640);
        let file = fs::canonicalize(&file).unwrap();
        assert!(member.cannot_read(&file).is_none());
        let below = fs::canonicalize(&below).unwrap();
        assert_eq!(other.cannot_read(&file), Some((file.clone(), below.clone())));
        set(&below, 0o755);
        assert_eq!(other.cannot_read(&file), Some((file.clone(), file.clone())));
        set(&file, 0o600);
        assert_eq!(member.cannot_read(&file), Some((file.clone(), file)));
    }
}
