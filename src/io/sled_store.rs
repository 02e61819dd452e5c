//! The store on flash: sled 0.34.7 and what it needs around it.
//!
//! - A process killed while it opened may leave `snap.*.generating` behind, which sled would take
//!   for its newest snapshot and refuse to open for ever (sled #1527): removed before every open.
//! - What sled calls corruption is mostly a bad snapshot; without any, it reads the whole log.
//!   Only then is the directory moved aside, to `<name>.broken`, and an empty store begun.
//! - A log that was cut off at its begin opens as an empty store, without a word: a record of our
//!   own and a file `begun` in the directory tell that from a new one.
//! - sled's flush does not reach the disk (sled #1351): every commit ends with an fdatasync.
//! - After one failed write, all later ones fail: the handle is dropped and opened anew.
//! - sled's own lock comes after the cleaning up, which another process would not survive: a file
//!   `<name>.lock` beside the directory is locked before anything is touched.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::libc::c_ulong;
use nix::sys::prctl::set_timerslack;
use sled::{Batch, Config, Db, Mode};

use crate::codes::{self, Code};
use crate::gateway::seam::{Change, StoreError};
use crate::gateway::store::{Records, Store};
use crate::limits::STORE_CACHE;

/// The file that says that the store was begun: from then on our own record must be there.
const MARKER: &str = "begun";

/// The value of our own record, under the empty key: the version of the records. 2 brought what
/// operators say of devices. Older ones are read, and written anew as they change; a newer one is
/// left alone.
const SCHEMA: u32 = 2;

/// A [`Store`] in a directory of its own. All calls block on flash. The empty key is taken.
#[derive(Debug)]
pub struct SledStore {
    directory: PathBuf,
    /// None after a failure, until the next commit opens it again.
    open: Option<Open>,
    /// Read while opening, which proves that the store can be read; given out by `load`.
    records: Option<Records>,
    _lock: Flock<File>,
}

/// Our own handle on sled's file is what fdatasync is called on.
#[derive(Debug)]
struct Open {
    db: Db,
    file: File,
}

/// Why a try to open failed: for good, or so that the next rung of the ladder may help.
enum OpenError {
    Damaged(String),
    Other(StoreError),
}

/// Seven workers of sled, started when the first store of a process is opened, look for work
/// each second, although they are woken when there is some. They inherit the timer slack of the
/// thread that started them: with this much the kernel lets them sleep on.
const WORKER_SLACK: Duration = Duration::from_secs(60);

impl SledStore {
    /// Opens the store in `directory`, by custom `<state-dir>/store`; makes it (mode 0700) if it
    /// is not there. A store that cannot be repaired is moved to `<directory>.broken`, where it
    /// replaces an earlier one, and an empty store is begun: logged as an error.
    ///
    /// # Errors
    ///
    /// Another process has it open, the disk is full or read-only, or access is denied. The text
    /// is a sentence for the operator.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let slack = c_ulong::try_from(WORKER_SLACK.as_nanos()).unwrap_or(c_ulong::MAX);
        // Without it the workers wake up more often, no more.
        let _ = set_timerslack(slack);
        let opened = Self::open_here(directory);
        // Back to what this thread began with: prctl(2) has 0 for that.
        let _ = set_timerslack(0);
        opened
    }

    fn open_here(directory: &Path) -> Result<Self, StoreError> {
        make_directory(directory)?;
        let lock = lock(directory)?;
        let (open, records) = match open_or_repair(directory) {
            Ok(opened) => opened,
            Err(OpenError::Other(e)) => return Err(e),
            Err(OpenError::Damaged(reason)) => {
                let broken = move_aside(directory)?;
                log::error!(
                    "the store {} is damaged beyond repair ({reason}); it was moved to {}, and \
                     the gateway starts without memory: mappings and device identities are lost",
                    directory.display(),
                    broken.display(),
                );
                make_directory(directory)?;
                open_once(directory).map_err(|e| e.into_store_error(directory))?
            }
        };
        Ok(Self {
            directory: directory.to_owned(),
            open: Some(open),
            records: Some(records),
            _lock: lock,
        })
    }

    /// Opens a store that is there, for a command: nothing is moved aside, and no empty store is
    /// begun. `None` if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and a store that is damaged.
    pub fn open_existing(directory: &Path) -> Result<Option<Self>, StoreError> {
        if !directory.join("db").exists() {
            return Ok(None);
        }
        let lock = lock(directory)?;
        let (open, records) =
            open_or_repair(directory).map_err(|error| error.into_store_error(directory))?;
        Ok(Some(Self {
            directory: directory.to_owned(),
            open: Some(open),
            records: Some(records),
            _lock: lock,
        }))
    }

    /// Opens again what a failed commit dropped. Never begins an empty store: the gateway still
    /// has its memory, and thinks that the store has it too.
    fn reopen(&mut self) -> Result<&Open, StoreError> {
        if self.open.is_none() {
            let (open, _) =
                open_or_repair(&self.directory).map_err(|e| e.into_store_error(&self.directory))?;
            log::info!("the store {} is open again", self.directory.display());
            self.open = Some(open);
        }
        self.open.as_ref().ok_or_else(|| StoreError("the store is closed".to_owned()))
    }
}

impl Store for SledStore {
    fn load(&mut self) -> Result<Records, StoreError> {
        if let Some(records) = self.records.take() {
            return Ok(records);
        }
        let result = read_all(&self.reopen()?.db);
        Ok(result.map_err(|e| explain(&self.directory, &e))?.1)
    }

    fn commit(&mut self, batch: &[Vec<Change>]) -> Result<(), StoreError> {
        // Whoever had not loaded before the first commit gets the state after it.
        self.records = None;
        let result = self.reopen()?.commit(batch);
        result.map_err(|e| {
            self.open = None;
            explain(&self.directory, &e)
        })
    }
}

impl Open {
    fn commit(&self, changes: &[Vec<Change>]) -> sled::Result<()> {
        let mut batch = Batch::default();
        for change in changes.iter().flatten() {
            match &change.value {
                Some(value) => batch.insert(change.key.as_slice(), value.as_slice()),
                None => batch.remove(change.key.as_slice()),
            }
        }
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }
}

/// The first two rungs: as it is, then without snapshots.
fn open_or_repair(directory: &Path) -> Result<(Open, Records), OpenError> {
    match open_once(directory) {
        Err(OpenError::Damaged(reason)) => {
            log::warn!(
                "the store {} does not open ({reason}): trying without its snapshots",
                directory.display()
            );
            remove_snapshots(directory, |_| true)?;
            open_once(directory)
        }
        other => other,
    }
}

fn open_once(directory: &Path) -> Result<(Open, Records), OpenError> {
    remove_snapshots(directory, |name| name.ends_with(".generating"))?;
    let error = |e| OpenError::from_sled(directory, e);
    let db = open_sled(directory).map_err(error)?;
    let (version, records) = read_all(&db).map_err(error)?;
    let file = File::open(directory.join("db")).map_err(|e| error(e.into()))?;
    let open = Open { db, file };
    let marker = directory.join(MARKER);
    let own = Change { key: Vec::new(), value: Some(SCHEMA.to_string().into_bytes()) };
    if let Some(version) = version {
        let text = std::str::from_utf8(&version).unwrap_or_default();
        match text.parse::<u32>() {
            Ok(SCHEMA) => {}
            Ok(schema) if schema > SCHEMA => {
                return Err(OpenError::Other(newer(directory, schema)));
            }
            Ok(_) => open.commit(&[vec![own]]).map_err(error)?,
            Err(_) => {
                return Err(OpenError::Damaged(format!("its version `{text}` is no number")));
            }
        }
    } else if marker.exists() {
        return Err(OpenError::Damaged("its log does not hold what was written".to_owned()));
    } else {
        open.commit(&[vec![own]]).map_err(error)?;
    }
    mark(directory, &marker).map_err(|e| error(e.into()))?;
    Ok((open, records))
}

/// Makes the marker durable, and with it all names in the directory and its own.
fn mark(directory: &Path, marker: &Path) -> io::Result<()> {
    if !marker.exists() {
        File::create(marker)?.sync_all()?;
    }
    for directory in [Some(directory), directory.parent()].into_iter().flatten() {
        sync_directory(directory)?;
    }
    Ok(())
}

/// sled gives up its lock on a thread of its own, some time after the handle is dropped.
fn open_sled(directory: &Path) -> sled::Result<Db> {
    let mut tries = 0..100;
    loop {
        let result = Config::new()
            .path(directory)
            .cache_capacity(STORE_CACHE)
            .mode(Mode::LowSpace)
            .flush_every_ms(None)
            .open();
        match result {
            Err(e) if is_locked(&e) && tries.next().is_some() => {
                thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(e) if e.to_string().starts_with("could not acquire lock"))
}

/// Our own record (the one with the empty key), and all others.
fn read_all(db: &Db) -> sled::Result<(Option<Vec<u8>>, Records)> {
    let (mut own, mut records) = (None, Records::default());
    for item in db.iter() {
        let (key, value) = item?;
        match key.is_empty() {
            true => own = Some(value.to_vec()),
            false => records.push(&key, &value),
        }
    }
    Ok((own, records))
}

fn remove_snapshots(directory: &Path, which: impl Fn(&str) -> bool) -> Result<(), OpenError> {
    let remove = || -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("snap.") && which(&name) {
                log::debug!("removing {}", entry.path().display());
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(|e| OpenError::Other(explain(directory, &e.into())))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|e| explain(directory, &e.into()))
}

fn lock(directory: &Path) -> Result<Flock<File>, StoreError> {
    lock_store(directory).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => in_use(directory),
        _ => explain(directory, &error.into()),
    })
}

/// Holds the store in `directory`, whatever is there, so that nobody else opens it.
///
/// # Errors
///
/// `WouldBlock` if somebody else holds it; else what the file system says.
pub fn lock_store(directory: &Path) -> io::Result<Flock<File>> {
    let path = beside(directory, ".lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    locked.map_err(|(_, errno)| io::Error::from(errno))
}

fn move_aside(directory: &Path) -> Result<PathBuf, StoreError> {
    let broken = beside(directory, ".broken");
    let moved = match fs::remove_dir_all(&broken) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => fs::rename(directory, &broken),
    };
    moved.map_err(|e| explain(directory, &e.into()))?;
    Ok(broken)
}

fn beside(directory: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(directory);
    path.push(suffix);
    path.into()
}

/// Part of what is said of a store of a newer version.
const BY_NEWER: &str = " was written by a newer dm-gateway";

/// How what is said of a store begins that somebody has open.
const IN_USE: &str = "another dm-gateway uses";

/// The code of why a store cannot be opened, where that has one of its own: somebody has it open, or
/// it is of a newer version.
pub fn code(error: &StoreError) -> Option<Code> {
    if error.0.starts_with(IN_USE) {
        Some(codes::BUSY)
    } else {
        error.0.contains(BY_NEWER).then_some(codes::STORE_NEWER)
    }
}

/// The image was rolled back, and its state was not.
fn newer(directory: &Path, schema: u32) -> StoreError {
    StoreError(format!(
        "downgrade refused: the store {}{BY_NEWER} (its records have version {schema}, this one \
         knows up to {SCHEMA}); try: {}",
        directory.display(),
        codes::STORE_NEWER.remedy
    ))
}

fn in_use(directory: &Path) -> StoreError {
    StoreError(format!("{IN_USE} the store {}", directory.display()))
}

impl OpenError {
    fn from_sled(directory: &Path, error: sled::Error) -> Self {
        match &error {
            sled::Error::Io(e) if e.kind() != io::ErrorKind::UnexpectedEof => {
                Self::Other(explain(directory, &error))
            }
            _ => Self::Damaged(error.to_string()),
        }
    }

    fn into_store_error(self, directory: &Path) -> StoreError {
        match self {
            Self::Damaged(reason) => {
                StoreError(format!("the store {} is damaged: {reason}", directory.display()))
            }
            Self::Other(error) => error,
        }
    }
}

fn explain(directory: &Path, error: &sled::Error) -> StoreError {
    let shown = directory.display();
    if is_locked(error) {
        return in_use(directory);
    }
    let sled::Error::Io(io) = error else {
        return StoreError(format!("the store {shown} fails: {error}"));
    };
    StoreError(match io.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("no space left on the disk of the store {shown}")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!("the store {shown} is on a read-only file system")
        }
        io::ErrorKind::PermissionDenied => format!("no permission for the store {shown}"),
        _ => format!("the store {shown} fails: {io}"),
    })
}
