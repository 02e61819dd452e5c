//! `dm-gateway backup` and `restore`: the gateway's memory as a file of text.
//!
//! ```text
//! {"schema":1,"backup":"dm-gateway", … }      whose, when, by which version
//! {"kind":"device", … }                       lines of gateway::backup
//! {"kind":"sealed", … }                       with --with-secrets: the secrets, encrypted
//! {"kind":"end","lines":N,"sha256":"…"}       over all before
//! ```

use crate::cli::client::{Call, Stop, broken, print, refused, understand};
use crate::cli::definition::{
    self, ASKING, CHANGING, Command, Given, Kind, PRINTING, flag, operand, option,
};
use crate::cli::table;
use crate::codes::{self, Trouble};
use crate::config::Config;
use crate::control::{BackupHead, Done, Rehearsed, Request, document};
use crate::gateway::backup::{self, Identity, Line};
use crate::gateway::store::{Record, Store as _};
use crate::io::audit::{AuditLog, Entry};
use crate::io::seal::Sealed;
use crate::io::sled_store::{self, SledStore};
use crate::io::state::{IDENTITY, give_to_owner, make_directory, write_whole};
use crate::io::{plain, read_bounded, terminal};
use crate::limits;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// `backup`.
pub const BACKUP: Command = Command {
    name: "backup",
    summary: "writes what the gateway knows to a file of text",
    text: "\
End devices with their lists and mappings, what operators said of them, what DM servers set, and
the accounts; a JSON document a line. Secrets are left out, unless --with-secrets: they are
encrypted with a passphrase then, which only root may ask for. The configuration is not part of it.
Works with the daemon and without.",
    operands: &[operand("FILE", Kind::File, "where to; it is replaced")],
    options: &[
        &[
            flag("with-secrets", "with credentials, encrypted by a passphrase"),
            option("passphrase-file", "FILE", Kind::File, "its first line is the passphrase"),
        ],
        ASKING,
        PRINTING,
    ],
    exits: &[(1, "it could not be written")],
    examples: &[("dm-gateway backup /mnt/stick/truck-17.jsonl", "all but the secrets")],
    run: Some(write_backup),
    ..definition::COMMAND
};

/// `restore`.
pub const RESTORE: Command = Command {
    name: "restore",
    summary: "makes the gateway know what a backup has, and nothing else",
    text: "\
The daemon must be stopped. All of it is restored or nothing, also over a power cut.

If the backup is of another unit, say what this unit is to be from now on. --take-identity: the
unit in the backup, with its id and accounts; the other must be gone for good. --keep-identity: the
unit it is, without the accounts of the other.

Accounts without their secrets cannot be used until they are bootstrapped anew.",
    operands: &[operand("FILE", Kind::File, "a backup")],
    options: &[
        &[
            flag("take-identity", "this unit is the one in the backup from now on"),
            flag("keep-identity", "this unit stays who it is, without the other's accounts"),
            option("passphrase-file", "FILE", Kind::File, "its first line is the passphrase"),
        ],
        CHANGING,
        &[option("config", "FILE", Kind::File, "the configuration that the daemon runs with")],
        PRINTING,
    ],
    exits: &[(1, "nothing was restored")],
    run: Some(restore),
    ..definition::COMMAND
};

/// A line that is not of the gateway's memory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Frame {
    Sealed(Sealed),
    End { lines: usize, sha256: String },
}

/// A backup that is whole.
struct Read {
    head: BackupHead,
    head_line: String,
    lines: Vec<Line>,
    sealed: Option<Sealed>,
}

// --- Writing ---------------------------------------------------------------------------------

fn write_backup(given: Given) -> Result<u8, Stop> {
    let path = PathBuf::from(given.operand(0).unwrap_or_default());
    let secrets = given.has("with-secrets");
    // Before anything is read: a wrong passphrase file is told at once.
    let passphrase = if secrets { Some(passphrase(&given, true)?) } else { None };
    let (head, lines) = match from_daemon(&given, secrets) {
        Err(Stop::Unanswered(why)) if !given.has("socket") => from_store(&given, secrets, &why)?,
        result => result?,
    };
    let head_line = document(&head);
    let (secret, open): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| matches!(line, Line::Secret { .. }));
    let mut text = format!("{head_line}\n");
    let mut count = open.len();
    for line in &open {
        text.push_str(&json(line));
    }
    if let Some(passphrase) = passphrase {
        let secrets: String = secret.iter().map(json).collect();
        let sealed = Sealed::seal(secrets.as_bytes(), &passphrase, head_line.as_bytes());
        let sealed = sealed.map_err(|why| Stop::with(codes::BACKUP, &why))?;
        text.push_str(&json(&Frame::Sealed(sealed)));
        count += 1;
    }
    let sha256 = digest(&text);
    text.push_str(&json(&Frame::End { lines: count, sha256 }));
    write_whole(&path, text.as_bytes()).map_err(|error| {
        let (path, why) = (path.display(), plain(&error));
        let next = "a directory that is there, on a disk with room";
        Stop::with(codes::BACKUP, &format!("cannot write {path}; cause: {why}; try: {next}"))
    })?;
    let devices = open.iter().filter(|line| matches!(line, Line::Device(_))).count();
    let number = table::count(count as u64, "line");
    let devices = match devices {
        1 => "1 of them a device".to_owned(),
        number => format!("{number} of them devices"),
    };
    let with = if secrets { "with" } else { "without" };
    let line = format!(
        "{}: {number}, {devices}, {with} secrets; a backup of {}",
        path.display(),
        head.gateway
    );
    tell(&given, vec![line], false)
}

/// By the daemon, which has the store.
fn from_daemon(given: &Given, secrets: bool) -> Result<(BackupHead, Vec<Line>), Stop> {
    let mut answer = Call::of(given).lines(&Request::Backup { secrets }, true)?;
    let ended = || broken(io::ErrorKind::UnexpectedEof.into());
    let head = answer.next().ok_or_else(ended)?.map_err(broken)?;
    let head = understand::<BackupHead>(refused(head)?)?.body;
    let mut lines = Vec::new();
    for line in answer {
        let line = line.map_err(broken)?;
        let line = serde_json::from_str(&line).map_err(|_| ended())?;
        lines.push(line);
    }
    if lines.len() != head.lines {
        return Err(ended());
    }
    Ok((head, lines))
}

/// Without a daemon, by whoever may read the store.
fn from_store(
    given: &Given,
    secrets: bool,
    why: &Trouble,
) -> Result<(BackupHead, Vec<Line>), Stop> {
    let state_dir = Call::state_dir(given)?;
    // Whoever may not look does not know that there is none.
    let seen = fs::metadata(state_dir.join("store")).err();
    if let Some(error) = seen.filter(|error| error.kind() != io::ErrorKind::NotFound) {
        let sentence = format!(
            "the store in {} cannot be looked at; cause: {}, and {}; try: as root",
            state_dir.display(),
            plain(&error),
            why.what
        );
        return Err(Stop::with(codes::BACKUP, &sentence));
    }
    let records = records(&state_dir)?.ok_or_else(|| {
        let sentence = format!("there is no store in {}", state_dir.display());
        Stop::with(codes::BACKUP, &sentence)
    })?;
    // A backup is worth having although the configuration is wrong.
    let (gateway, device) = identity(given).unwrap_or_default();
    let lines = backup::export(&records, secrets);
    Ok((BackupHead::new(now(), gateway, device, lines.len()), lines))
}

// --- Reading ---------------------------------------------------------------------------------

fn restore(given: Given) -> Result<u8, Stop> {
    let path = PathBuf::from(given.operand(0).unwrap_or_default());
    let backup = read(&path)?;
    let own = identity(&given)?;
    let take = decide(&given, &backup.head, &own)?;
    let mut lines = backup.lines;
    match backup.sealed {
        Some(sealed) => {
            let passphrase = passphrase(&given, false)?;
            let opened = sealed.open(&passphrase, backup.head_line.as_bytes());
            let opened = opened.map_err(|why| {
                let next = "the passphrase that it was written with, or another copy of it";
                Stop::with(codes::BACKUP, &format!("{why}; try: {next}"))
            })?;
            let text = String::from_utf8(opened).map_err(|_| damaged("its secrets are no text"))?;
            for line in text.lines() {
                lines.push(serde_json::from_str(line).map_err(|error| {
                    damaged(&format!("a line of its secrets cannot be read: {error}"))
                })?);
            }
        }
        None if given.has("passphrase-file") => {
            return Err(Stop::with(codes::BACKUP, "the backup has no secrets"));
        }
        None => {}
    }
    let which = if take == Some(false) { Identity::Keep } else { Identity::Take };
    let after = backup::import(&lines, which).map_err(|why| damaged(&why))?;
    let state_dir = Call::state_dir(&given)?;
    let dry_run = given.has("dry-run");
    let mut store = open(&state_dir, dry_run)?;
    let before = match &mut store {
        Some(store) => store.load().map_err(failed)?.to_vec(),
        None => Vec::new(),
    };
    let changes = backup::changes(&before, &after);
    let mut told = backup::told(&before, &changes);
    if take == Some(true) {
        told.push(format!("this unit is {} from now on", backup.head.gateway));
    }
    if told.is_empty() {
        told.push("nothing: the unit knows just that".to_owned());
    }
    if dry_run {
        return tell(&given, told, true);
    }
    if let Some(store) = &mut store {
        store.commit(&[changes]).map_err(failed)?;
    }
    let result = if take == Some(true) { take_identity(&state_dir, &backup.head) } else { Ok(()) };
    let entry = Entry {
        subject: Some(path.display().to_string()),
        after: Some(format!(
            "{}, from a backup of {}",
            table::count(told.len() as u64, "change"),
            backup.head.gateway
        )),
        ..Entry::new(now(), format!("uid:{}", nix::unistd::getuid()), "restore")
    };
    let why = result.as_ref().err().map(ToString::to_string);
    let audited = AuditLog::new(&state_dir).append(&[entry.failed(why)]);
    drop(store);
    give_to_owner(&state_dir);
    let failed = |error: io::Error| Stop::with(codes::BACKUP, &error.to_string());
    result.map_err(failed)?;
    audited.map_err(failed)?;
    told.push("restored; try: systemctl start dm-gateway".to_owned());
    tell(&given, told, false)
}

/// Reads a backup that is whole, and of a version that is known.
fn read(path: &Path) -> Result<Read, Stop> {
    let octets = read_bounded(path, limits::BACKUP).map_err(|error| {
        let (path, why) = (path.display(), plain(&error));
        Stop::with(codes::BACKUP, &format!("cannot read {path}; cause: {why}; try: ls -l {path}"))
    })?;
    let none = |why: &str| {
        let next = "a file that dm-gateway backup wrote";
        let sentence = format!("{} is no backup; cause: {why}; try: {next}", path.display());
        Stop::with(codes::BACKUP_DAMAGED, &sentence)
    };
    let text = String::from_utf8(octets).map_err(|_| none("it is no text"))?;
    let head = text.split_once('\n').filter(|(head, _)| !head.trim().is_empty());
    let (head_line, rest) = head.ok_or_else(|| none("it has no first line"))?;
    let version = serde_json::from_str::<Version>(head_line)
        .map_err(|_| none("its first line is none of a backup"))?;
    if version.schema > backup::SCHEMA {
        let sentence = format!(
            "{} is a backup of version {}, and this dm-gateway reads up to {}",
            path.display(),
            version.schema,
            backup::SCHEMA
        );
        return Err(Stop::with(codes::BACKUP_NEWER, &sentence));
    }
    let head = serde_json::from_str::<BackupHead>(head_line)
        .map_err(|error| damaged(&format!("its first line: {error}")))?;
    let body = rest.strip_suffix('\n').unwrap_or(rest);
    let (body, end) = body.rsplit_once('\n').unwrap_or(("", body));
    let before = text.len() - rest.len() + if body.is_empty() { 0 } else { body.len() + 1 };
    let expected = match serde_json::from_str(end) {
        Ok(Frame::End { lines, sha256 }) => (lines, sha256),
        _ => return Err(damaged("its last line is not there: it was cut off")),
    };
    if (body.lines().count(), digest(text.get(..before).unwrap_or_default())) != expected {
        return Err(damaged("it is not what was written: its SHA-256 differs"));
    }
    let (mut lines, mut sealed) = (Vec::new(), None);
    for (index, line) in body.lines().enumerate() {
        if let Ok(Frame::Sealed(found)) = serde_json::from_str(line) {
            sealed = Some(found);
            continue;
        }
        let line = serde_json::from_str(line)
            .map_err(|error| damaged(&format!("line {}: {error}", index + 2)))?;
        lines.push(line);
    }
    Ok(Read { head, head_line: head_line.to_owned(), lines, sealed })
}

#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// Whether the unit takes the identity in the backup; `None` if it has it already.
fn decide(given: &Given, head: &BackupHead, own: &(String, String)) -> Result<Option<bool>, Stop> {
    let (take, keep) = (given.has("take-identity"), given.has("keep-identity"));
    if take && keep {
        return Err(Stop::Usage("--take-identity and --keep-identity exclude each other".into()));
    }
    if keep {
        return Ok(Some(false));
    }
    if (&head.gateway, &head.device) == (&own.0, &own.1) {
        return Ok(None);
    }
    if take {
        if head.gateway.is_empty() {
            let sentence = "the backup does not say whose it is; try: --keep-identity";
            return Err(Stop::with(codes::BACKUP_IDENTITY, sentence));
        }
        return Ok(Some(true));
    }
    let differ = format!("the backup is of {}, and this unit is {}", head.gateway, own.0);
    if terminal::is_there() {
        let question = format!("{differ}. Is this unit to take that identity, or keep its own?");
        match terminal::ask(&format!("{question} [take/keep]")).as_deref() {
            Ok("take") => return Ok(Some(true)),
            Ok("keep") => return Ok(Some(false)),
            _ => {}
        }
    }
    let trouble = crate::codes::Trouble::new(codes::BACKUP_IDENTITY, &differ);
    Err(Stop::Failed(trouble.or_try(codes::BACKUP_IDENTITY.remedy).into()))
}

fn take_identity(state_dir: &Path, head: &BackupHead) -> io::Result<()> {
    let path = state_dir.join(IDENTITY);
    make_directory(path.parent().unwrap_or(state_dir))?;
    write_whole(&path, identity_text(&head.gateway, &head.device).as_bytes())
}

/// Configuration that gives a unit its identity.
pub(super) fn identity_text(gateway: &str, device: &str) -> String {
    // Texts of JSON are texts of TOML, too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!("[gateway]\nid = {}\ndevice-id = {}\n", quoted(gateway), quoted(device))
}

// --- Small helpers ---------------------------------------------------------------------------

/// The ids of this unit: as a gateway, and as a device of its DM servers.
pub(super) fn identity(given: &Given) -> Result<(String, String), Stop> {
    let path = given.path_of("config").unwrap_or_else(|| crate::config::DEFAULT_PATH.into());
    let config =
        Config::load(&path).map_err(|error| Stop::with(codes::CONFIG, &error.to_string()))?;
    Ok((config.options.id, config.options.management.device_id))
}

/// The records of a store that nobody has open; `None` if there is none.
pub(super) fn records(state_dir: &Path) -> Result<Option<Vec<Record>>, Stop> {
    let store = SledStore::open_existing(&state_dir.join("store")).map_err(failed)?;
    store.map(|mut store| Ok(store.load().map_err(failed)?.to_vec())).transpose()
}

fn open(state_dir: &Path, dry_run: bool) -> Result<Option<SledStore>, Stop> {
    let directory = state_dir.join("store");
    if dry_run {
        return SledStore::open_existing(&directory).map_err(failed);
    }
    make_directory(state_dir).map_err(|error| Stop::with(codes::BACKUP, &error.to_string()))?;
    SledStore::open(&directory).map(Some).map_err(failed)
}

fn failed(error: crate::gateway::seam::StoreError) -> Stop {
    let code = sled_store::code(&error).unwrap_or(codes::BACKUP);
    Stop::Failed(codes::Trouble::new(code, &error.0).or_try(code.remedy).into())
}

fn damaged(why: &str) -> Stop {
    let sentence = format!("the backup is not whole; cause: {why}");
    let trouble = codes::Trouble::new(codes::BACKUP_DAMAGED, &sentence);
    Stop::Failed(trouble.or_try(codes::BACKUP_DAMAGED.remedy).into())
}

fn passphrase(given: &Given, is_new: bool) -> Result<String, Stop> {
    let failed = |why: &str| Stop::with(codes::BACKUP, why);
    let text = match given.path_of("passphrase-file") {
        Some(path) => {
            let octets = read_bounded(&path, limits::SECRET).map_err(|error| {
                failed(&format!("cannot read {}; cause: {}", path.display(), plain(&error)))
            })?;
            let text =
                String::from_utf8(octets).map_err(|_| failed("the passphrase is no text"))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        None => {
            let no_terminal = |error: io::Error| {
                let why = plain(&error);
                failed(&format!(
                    "nobody can be asked for the passphrase; cause: {why}; try: --passphrase-file FILE"
                ))
            };
            let first = terminal::ask_secretly("passphrase:").map_err(no_terminal)?;
            if is_new {
                let again = terminal::ask_secretly("once more:").map_err(no_terminal)?;
                if again != first {
                    return Err(failed("the passphrases differ"));
                }
            }
            first
        }
    };
    if text.chars().count() < limits::PASSPHRASE && is_new {
        let least = limits::PASSPHRASE;
        return Err(failed(&format!(
            "the passphrase is shorter than {least} characters; cause: whoever has the file may \
             guess at it for years; try: a longer one, such as five words"
        )));
    }
    Ok(text)
}

pub(super) fn tell(given: &Given, lines: Vec<String>, dry_run: bool) -> Result<u8, Stop> {
    let text = match (given.form() == definition::Form::Table, dry_run) {
        (false, true) => format!("{}\n", document(Rehearsed { would: lines })),
        (false, false) => format!("{}\n", document(Done { done: lines })),
        (true, true) => {
            let lines = lines.iter().map(|line| format!("would: {line}\n"));
            lines.chain(["nothing was changed\n".to_owned()]).collect()
        }
        (true, false) => lines.iter().map(|line| format!("{line}\n")).collect(),
    };
    print(&text)?;
    Ok(0)
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn json(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("maps with text as keys can be written") + "\n"
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|octet| format!("{octet:02x}")).collect()
}
