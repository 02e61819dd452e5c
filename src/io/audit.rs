//! The audit on flash: files of JSON lines, each line chained to the one before it.
//!
//! ```text
//! {"schema":1,"time":1800000000,"by":"uid:0","what":"block", … ,"hash":"5f1c…"}
//! hash = SHA-256(hash of the line before, as text + the line up to `,"hash":`)
//! ```
//!
//! - `audit/000007.jsonl` is followed by `000008.jsonl` when it is full, and the oldest file goes.
//!   If what went badly last stood in the file that goes, it is repeated in the new one.
//! - A chain shows a line that was changed, taken out or put in. It cannot show that its end was
//!   cut off: for that the newest hash has to be known elsewhere.
//! - A line that was not finished when the power went is cut off before the next is written.
//! - The daemon and commands run as root write the same files: under a lock, and files stay those
//!   of the directory's owner.

use super::explain;
use crate::limits::{AUDIT_FILE, AUDIT_FILES};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// One thing that was done, or tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Version of the form: 1.
    pub schema: u32,
    /// Seconds since 1970 by the wall clock.
    pub time: u64,
    /// Who: `daemon`, `uid:N` (a local user), `server:ID` (a DM server).
    pub by: String,
    /// What: `block`, `replace`, `start` …
    pub what: String,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// How it is now, or what there is to say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// `done` or `failed`.
    pub result: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// In an entry `kept`: what stood in a file that went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Value>,
}

/// An entry as its line stands in the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// The line's place in the chain: 64 hexadecimal digits.
    pub hash: String,
}

impl Entry {
    /// Something that was done.
    pub fn new(time: u64, by: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            schema: SCHEMA,
            time,
            by: by.into(),
            what: what.into(),
            result: "done".to_owned(),
            ..Self::default()
        }
    }

    /// The same, that it failed.
    #[must_use]
    pub fn failed(mut self, why: Option<String>) -> Self {
        if why.is_some() {
            self.result = "failed".to_owned();
            self.why = why;
        }
        self
    }

    /// Whether it is worth keeping longer than the rest.
    fn is_bad(&self) -> bool {
        self.result != "done" || matches!(&*self.what, "rolled-back" | "factory-reset" | "kept")
    }
}

/// Where the chain is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The line in it, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// One line, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The file.
    pub file: PathBuf,
    /// Its number there, counted from 1.
    pub number: usize,
    /// Its text without its end.
    pub text: String,
}

/// The audit in a state directory.
#[derive(Debug)]
pub struct AuditLog {
    directory: PathBuf,
    /// The newest file, its size and the hash of its last line, as this process left them.
    newest: Option<(u64, u64, String)>,
}

const SCHEMA: u32 = 1;
const DIRECTORY: &str = "audit";
const HASH: &str = ",\"hash\":\"";

/// What the first line is chained to.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl AuditLog {
    /// The audit below `state_dir`. Nothing is touched yet.
    pub fn new(state_dir: &Path) -> Self {
        Self { directory: state_dir.join(DIRECTORY), newest: None }
    }

    /// Writes entries; `Ok` means that all of them are on flash.
    ///
    /// # Errors
    /// What the file system says. Some may have been written.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let failed =
            |error| explain(format_args!("cannot write to {}", self.directory.display()), error);
        make(&self.directory).map_err(failed)?;
        let result = self.append_here(entries);
        if result.is_err() {
            self.newest = None;
        }
        result.map_err(|error| {
            explain(format_args!("cannot write to {}", self.directory.display()), error)
        })
    }

    fn append_here(&mut self, entries: &[Entry]) -> io::Result<()> {
        let owner = fs::metadata(&self.directory)?;
        let owner = (owner.uid(), owner.gid());
        let lock = open(&self.directory.join("lock"), owner)?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let (mut number, mut size, mut last) = self.current()?;
        let mut file = open(&self.path(number), owner)?;
        for entry in entries {
            if size >= AUDIT_FILE {
                file.sync_data()?;
                let kept = self.make_room()?;
                number += 1;
                size = 0;
                file = open(&self.path(number), owner)?;
                if let Some(entry) = kept {
                    size += write(&mut file, &entry, &mut last)?;
                }
            }
            size += write(&mut file, entry, &mut last)?;
        }
        file.sync_data()?;
        File::open(&self.directory)?.sync_all()?;
        self.newest = Some((number, size, last));
        Ok(())
    }

    /// Number, size and last hash of the newest file. What was not finished there is cut off.
    fn current(&self) -> io::Result<(u64, u64, String)> {
        let files = files(&self.directory)?;
        let Some((number, path)) = files.last() else { return Ok((1, 0, NOTHING.to_owned())) };
        let size = fs::metadata(path)?.len();
        if let Some(newest) = self.newest.as_ref().filter(|it| it.0 == *number && it.1 == size) {
            return Ok(newest.clone());
        }
        let octets = fs::read(path)?;
        let end = octets.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
        if end < octets.len() {
            log::warn!("{}: its last line was not finished, and is cut off", path.display());
            let file = OpenOptions::new().write(true).open(path)?;
            file.set_len(end as u64)?;
            file.sync_data()?;
        }
        // A file that had no line yet goes on where the one before it ended.
        let mut last = None;
        for (_, path) in files.iter().rev() {
            let text = fs::read_to_string(path).unwrap_or_default();
            last = text.lines().next_back().and_then(hash_of).map(str::to_owned);
            if last.is_some() {
                break;
            }
        }
        Ok((*number, end as u64, last.unwrap_or_else(|| NOTHING.to_owned())))
    }

    /// Removes the oldest files; what has to be repeated of them.
    fn make_room(&self) -> io::Result<Option<Entry>> {
        let mut files = files(&self.directory)?;
        let mut kept = None;
        while files.len() >= AUDIT_FILES {
            let (_, path) = files.remove(0);
            let rest = files.iter().any(|(_, path)| newest_bad(path).is_some());
            if let Some(bad) = newest_bad(&path).filter(|_| !rest) {
                kept = Some(bad);
            }
            fs::remove_file(path)?;
        }
        Ok(kept)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:06}.jsonl"))
    }
}

/// Every line of the audit below a state directory, the oldest first; none if there is no audit.
///
/// # Errors
/// What the file system says.
pub fn lines(state_dir: &Path) -> io::Result<Vec<Line>> {
    let directory = state_dir.join(DIRECTORY);
    let failed = |error| explain(format_args!("cannot read {}", directory.display()), error);
    let files = match files(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files.map_err(failed)?,
    };
    let mut lines = Vec::new();
    for (_, file) in files {
        let octets = fs::read(&file).map_err(failed)?;
        let text = String::from_utf8_lossy(&octets);
        let numbered = text.lines().enumerate();
        lines.extend(numbered.map(|(index, text)| Line {
            file: file.clone(),
            number: index + 1,
            text: text.to_owned(),
        }));
    }
    Ok(lines)
}

/// Checks the chain of lines, the oldest first: how many there are.
///
/// # Errors
/// Where it is broken first.
pub fn verify(lines: &[Line]) -> Result<usize, Broken> {
    let mut last: Option<String> = None;
    for line in lines {
        let broken =
            |why: &str| Broken { file: line.file.clone(), line: line.number, why: why.to_owned() };
        let hash = hash_of(&line.text).ok_or_else(|| broken("it is no line of an audit"))?;
        let body = line.text.rsplit_once(HASH).map_or("", |(body, _)| body);
        // What stood before the oldest line that is left is not known.
        match &last {
            Some(before) if chained(before, body) != hash => {
                return Err(broken("it does not follow from the line before it"));
            }
            None if line.file.ends_with("000001.jsonl") && chained(NOTHING, body) != hash => {
                return Err(broken("it is not the first line that was written"));
            }
            _ => {}
        }
        last = Some(hash.to_owned());
    }
    Ok(lines.len())
}

fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().mode(0o700).create(directory)?;
    // Of the one who owns the state, whoever made it.
    let above = fs::metadata(directory.parent().unwrap_or(directory))?;
    let _ = fchown(File::open(directory)?, Some(above.uid()), Some(above.gid()));
    Ok(())
}

fn open(path: &Path, (user, group): (u32, u32)) -> io::Result<File> {
    let is_new = !path.exists();
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if is_new {
        // Only root may, and only for root it matters.
        let _ = fchown(&file, Some(user), Some(group));
    }
    Ok(file)
}

/// Number and path of every file, the oldest first.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_ours = path.extension().is_some_and(|it| it == "jsonl");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if let Some(number) = stem.filter(|_| is_ours).and_then(|stem| stem.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

fn write(file: &mut File, entry: &Entry, last: &mut String) -> io::Result<u64> {
    let text = serde_json::to_string(entry).expect("texts and numbers can be written");
    let body = text.strip_suffix('}').unwrap_or(&text);
    let hash = chained(last, body);
    let line = format!("{body}{HASH}{hash}\"}}\n");
    file.write_all(line.as_bytes())?;
    *last = hash;
    Ok(line.len() as u64)
}

fn chained(before: &str, body: &str) -> String {
    let digest = Sha256::new().chain_update(before).chain_update(body).finalize();
    digest.iter().fold(String::new(), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// The hash at the end of a line. Quotes in values are escaped, so its mark stands there only.
pub fn hash_of(line: &str) -> Option<&str> {
    let (_, rest) = line.rsplit_once(HASH)?;
    let hash = rest.strip_suffix("\"}")?;
    let is_hex = hash.len() == NOTHING.len() && hash.bytes().all(|it| it.is_ascii_hexdigit());
    is_hex.then_some(hash)
}

/// The newest entry of a file that is worth keeping, to be repeated.
fn newest_bad(path: &Path) -> Option<Entry> {
    let text = fs::read_to_string(path).ok()?;
    let bad = text.lines().rev().find_map(|line| {
        let entry = serde_json::from_str::<Entry>(line).ok()?;
        entry.is_bad().then_some((line, entry))
    })?;
    let (line, entry) = bad;
    if entry.what == "kept" {
        return Some(entry);
    }
    let kept = serde_json::from_str(line).ok();
    Some(Entry { kept, ..Entry::new(entry.time, "daemon", "kept") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(state: &Path, entries: &[Entry]) {
        AuditLog::new(state).append(entries).unwrap();
    }

    fn entry(what: &str) -> Entry {
        Entry::new(1_800_000_000, "uid:0", what)
    }

    fn texts(state: &Path) -> Vec<String> {
        lines(state).unwrap().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_chain_is_whole_over_restarts_and_two_writers() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(verify(&lines(state.path()).unwrap()), Ok(0));
        let mut daemon = AuditLog::new(state.path());
        daemon.append(&[entry("start"), entry("block")]).unwrap();
        audit(state.path(), &[entry("restore")]);
        daemon.append(&[entry("stop")]).unwrap();
        let lines = lines(state.path()).unwrap();
        assert_eq!(verify(&lines), Ok(4));
        let first: Entry = serde_json::from_str(&lines[0].text).unwrap();
        assert_eq!(first, entry("start"));
    }

    #[test]
    fn a_line_that_was_changed_removed_or_added_is_named() {
        let state = tempfile::tempdir().unwrap();
        let entries: Vec<_> = (0..5).map(|number| entry(&format!("change-{number}"))).collect();
        audit(state.path(), &entries);
        let whole = texts(state.path());
        let file = state.path().join("audit/000001.jsonl");
        let mut forged = whole.clone();
        forged[2] = forged[2].replace("change-2", "change-9");
        let mut removed = whole.clone();
        removed.remove(2);
        let mut added = whole.clone();
        added.insert(2, whole[0].clone());
        let mut nonsense = whole.clone();
        nonsense[2] = "{}".to_owned();
        let mut first = whole.clone();
        first.remove(0);
        for (lines_now, broken_at) in
            [(forged, 3), (removed, 3), (added, 3), (nonsense, 3), (first, 1)]
        {
            fs::write(&file, lines_now.join("\n") + "\n").unwrap();
            let broken = verify(&lines(state.path()).unwrap()).unwrap_err();
            assert_eq!((broken.line, &broken.file), (broken_at, &file), "{}", broken.why);
        }
    }

    #[test]
    fn values_cannot_forge_the_end_of_a_line() {
        let state = tempfile::tempdir().unwrap();
        let subject = Some(format!("x{HASH}{NOTHING}\"}}\n{{"));
        audit(state.path(), &[Entry { subject, ..entry("block") }, entry("stop")]);
        assert_eq!(verify(&lines(state.path()).unwrap()), Ok(2));
    }

    #[test]
    fn what_was_not_finished_when_the_power_went_is_cut_off() {
        let state = tempfile::tempdir().unwrap();
        audit(state.path(), &[entry("start"), entry("block")]);
        let file = state.path().join("audit/000001.jsonl");
        let whole = fs::read(&file).unwrap();
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            audit(state.path(), &[entry("start")]);
            let left = whole[..length].iter().filter(|octet| **octet == b'\n').count();
            assert_eq!(verify(&lines(state.path()).unwrap()), Ok(left + 1), "{length}");
        }
    }

    #[test]
    fn it_stays_small_and_the_newest_bad_thing_stays() {
        let state = tempfile::tempdir().unwrap();
        let mut log = AuditLog::new(state.path());
        let bad = Entry { subject: Some("the bad one".into()), ..entry("replace") };
        log.append(&[entry("replace").failed(Some("older".into()))]).unwrap();
        log.append(&[bad.failed(Some("refused".into()))]).unwrap();
        let noise = Entry { after: Some("x".repeat(200)), ..entry("replace") };
        let per_file = AUDIT_FILE as usize / 350;
        for _ in 0..3 * AUDIT_FILES {
            log.append(&vec![noise.clone(); per_file]).unwrap();
        }
        let size: u64 = fs::read_dir(state.path().join("audit"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(size <= AUDIT_FILES as u64 * (AUDIT_FILE + 1024), "{size}");
        let lines = lines(state.path()).unwrap();
        assert!(lines[0].file > state.path().join("audit/000004.jsonl"), "{:?}", lines[0]);
        assert_eq!(verify(&lines), Ok(lines.len()));
        let kept = lines.iter().filter(|line| line.text.contains("the bad one"));
        assert!(kept.count() >= 1);
    }
}
