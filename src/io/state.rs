//! Files of the state directory: written whole or not at all, and set back to none.
//!
//! A factory reset is ordered by one file, and done by whoever holds the store's lock next: the
//! command that ordered it, or the daemon at its start. What goes is first moved aside, so it is
//! gone at once, and then removed. Each step may be done again, so a power cut only delays it. What
//! was applied by command and is kept beside the administrator's files goes as well. The audit stays.

use super::audit::{AuditLog, Entry};
use super::sled_store::lock_store;
use super::{explain, plain};
use crate::codes;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// An order to go back to the image's factory files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Who ordered it, as the audit has it.
    pub by: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// What is to stand in [`IDENTITY`] afterwards.
    pub identity: Option<String>,
}

/// Configuration that gives the unit its identity, below the state directory.
pub const IDENTITY: &str = "config/identity.toml";

/// What came by a signed bundle, below the state directory: a link to [`BUNDLES`] and its serial
/// number.
pub const PROVISIONED: &str = "provisioned";

/// Where bundles are unpacked, below the state directory.
pub const BUNDLES: &str = "provisioned.d";

/// The file that orders a reset.
const ORDER: &str = "factory-reset";
/// Where things go before they are removed.
const ASIDE: &str = "factory-reset.old";
/// What a reset takes away.
const STATE: [&str; 5] = ["store", "store.broken", "config", PROVISIONED, BUNDLES];

impl Reset {
    /// What there is that a reset takes away. `applied` is where what was applied by command is kept
    /// outside of the state directory.
    pub fn takes(state_dir: &Path, applied: &Path) -> Vec<PathBuf> {
        let state = Self::takes_of_state(state_dir).into_iter().map(|name| state_dir.join(name));
        state.chain([applied.to_owned()]).filter(|path| path.symlink_metadata().is_ok()).collect()
    }

    fn takes_of_state(state_dir: &Path) -> Vec<&'static str> {
        let there = |name: &&str| state_dir.join(name).symlink_metadata().is_ok();
        STATE.into_iter().filter(there).collect()
    }

    /// Whether a reset is ordered and not done yet.
    pub fn is_ordered(state_dir: &Path) -> bool {
        state_dir.join(ORDER).symlink_metadata().is_ok()
    }

    /// Orders a reset: from here on it will be done.
    ///
    /// # Errors
    /// What the file system says; nothing is ordered then.
    pub fn order(&self, state_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).expect("texts and numbers can be written");
        write_whole(&state_dir.join(ORDER), &text)
    }

    /// Does what is ordered, if anything is. The order that was done. `applied` is as for
    /// [`takes`](Self::takes).
    ///
    /// # Errors
    /// `WouldBlock` if a daemon runs, which then does it at its next start; else what the file
    /// system says: it is done by the next who tries.
    pub fn finish(state_dir: &Path, applied: &Path) -> io::Result<Option<Self>> {
        let order = state_dir.join(ORDER);
        let text = match fs::read(&order) {
            Err(error) if is_absent(&error) => return Ok(None),
            text => text?,
        };
        let _lock = lock_store(&state_dir.join("store"))?;
        let reset = serde_json::from_slice(&text).unwrap_or_else(|_| Self {
            by: "uid:unknown".to_owned(),
            time: 0,
            identity: None,
        });
        let aside = state_dir.join(ASIDE);
        let taken = Self::takes_of_state(state_dir);
        match DirBuilder::new().mode(0o700).create(&aside) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for name in taken {
            let to = aside.join(name);
            // Of an earlier try.
            remove(&to)?;
            fs::rename(state_dir.join(name), to)?;
        }
        sync(state_dir)?;
        if let Some(identity) = &reset.identity {
            make_directory(&state_dir.join("config"))?;
            write_whole(&state_dir.join(IDENTITY), identity.as_bytes())?;
        }
        let kept =
            if reset.identity.is_some() { "the identity is kept" } else { "nothing is kept" };
        // A root file system that became read-only must not keep the gateway from its start.
        let stays = remove(applied).err();
        let stays = stays.map(|error| format!("{} stays: {}", applied.display(), plain(&error)));
        if let Some(stays) = &stays {
            log::error!("{}: {stays}", codes::RESET);
        }
        let after = [Some(kept.to_owned()), stays].into_iter().flatten().collect::<Vec<_>>();
        let entry = Entry {
            after: Some(after.join("; ")),
            ..Entry::new(reset.time, &*reset.by, "factory-reset")
        };
        if let Err(error) = AuditLog::new(state_dir).append(&[entry]) {
            log::error!("the audit: {error}");
        }
        remove(&aside)?;
        fs::remove_file(&order)?;
        sync(state_dir)?;
        give_to_owner(state_dir);
        Ok(Some(reset))
    }
}

/// Writes a file for its owner alone, so that it is there as a whole or as before, also after a
/// power cut.
///
/// # Errors
/// What the file system says.
pub fn write_whole(path: &Path, octets: &[u8]) -> io::Result<()> {
    let failed = |error| explain(format_args!("cannot write {}", path.display()), error);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let write = || -> io::Result<()> {
        // Whatever stands there is of an earlier try.
        remove(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync(path.parent().unwrap_or_else(|| Path::new("")))
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&new);
        failed(error)
    })
}

/// Has `path` be a link to `target` from now on, at once and for good.
///
/// # Errors
/// What the file system says.
pub fn link_whole(path: &Path, target: &Path) -> io::Result<()> {
    let failed = |error| explain(format_args!("cannot write {}", path.display()), error);
    let new = path.with_extension("new");
    let link = || -> io::Result<()> {
        remove(&new)?;
        symlink(target, &new)?;
        fs::rename(&new, path)?;
        sync(path.parent().unwrap_or_else(|| Path::new("")))
    };
    link().map_err(failed)
}

/// Makes a directory for its owner alone, if it is not there.
///
/// # Errors
/// What the file system says.
pub fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| explain(format_args!("cannot make {}", path.display()), error))
}

/// Whatever root made in a state directory is its owner's.
pub fn give_to_owner(state_dir: &Path) {
    let Ok(owner) = fs::metadata(state_dir) else { return };
    if !nix::unistd::geteuid().is_root() || owner.uid() == 0 {
        return;
    }
    let mut open = vec![state_dir.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path.clone());
            }
            if let Err(error) = lchown(&path, Some(owner.uid()), Some(owner.gid())) {
                log::warn!("{}: {}", path.display(), super::plain(&error));
            }
        }
    }
}

/// Removes a file or a directory with all in it, if it is there.
///
/// # Errors
/// What the file system says.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether nothing is there; what is no directory is told by whoever opens the store.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::audit;

    fn reset(identity: Option<&str>) -> Reset {
        Reset { by: "uid:0".into(), time: 7, identity: identity.map(str::to_owned) }
    }

    fn planted() -> tempfile::TempDir {
        let state = tempfile::tempdir().unwrap();
        for name in ["store", "config", "provisioned/7", "provisioned.d/7"] {
            fs::create_dir_all(state.path().join(name)).unwrap();
            fs::write(state.path().join(name).join("file"), "x").unwrap();
        }
        fs::write(state.path().join("store.broken"), "even as a file").unwrap();
        fs::write(applied(&state), "").unwrap();
        AuditLog::new(state.path()).append(&[Entry::new(1, "uid:0", "block")]).unwrap();
        state
    }

    fn applied(state: &tempfile::TempDir) -> PathBuf {
        state.path().join("90-applied.toml")
    }

    fn names(state: &Path) -> Vec<String> {
        let names = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_done_that_nobody_ordered() {
        let state = planted();
        assert_eq!(Reset::finish(state.path(), &applied(&state)).unwrap(), None);
        assert_eq!(Reset::takes(state.path(), &applied(&state)).len(), STATE.len() + 1);
    }

    #[test]
    fn a_reset_leaves_the_audit_and_what_is_to_be_kept() {
        for identity in [None, Some("[gateway]\n")] {
            let state = planted();
            reset(identity).order(state.path()).unwrap();
            assert_eq!(
                Reset::finish(state.path(), &applied(&state)).unwrap(),
                Some(reset(identity))
            );
            let lines = audit::lines(state.path()).unwrap();
            assert!(lines[1].text.contains("\"factory-reset\""), "{lines:?}");
            assert_eq!(audit::verify(&lines), Ok(2));
            let kept = fs::read_to_string(state.path().join(IDENTITY)).ok();
            assert_eq!(kept.as_deref(), identity);
            let left = if identity.is_some() {
                vec!["audit", "config", "store.lock"]
            } else {
                vec!["audit", "store.lock"]
            };
            assert_eq!(names(state.path()), left);
            assert_eq!(Reset::finish(state.path(), &applied(&state)).unwrap(), None);
        }
    }

    #[test]
    fn a_reset_that_was_cut_off_anywhere_is_finished_by_the_next() {
        // Whatever of it was moved aside already, in whatever state that is.
        for moved in 0..=STATE.len() {
            let state = planted();
            reset(None).order(state.path()).unwrap();
            fs::create_dir(state.path().join(ASIDE)).unwrap();
            for name in &STATE[..moved] {
                fs::rename(state.path().join(name), state.path().join(ASIDE).join(name)).unwrap();
            }
            if moved == 2 {
                // It was begun anew between.
                fs::create_dir(state.path().join("store")).unwrap();
            }
            assert!(Reset::finish(state.path(), &applied(&state)).unwrap().is_some());
            assert_eq!(names(state.path()), ["audit", "store.lock"]);
        }
    }

    #[test]
    fn a_reset_waits_for_a_daemon_that_runs() {
        let state = planted();
        let lock = lock_store(&state.path().join("store")).unwrap();
        reset(None).order(state.path()).unwrap();
        let error = Reset::finish(state.path(), &applied(&state)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(state.path().join("store/file").exists() && applied(&state).exists());
        assert!(Reset::is_ordered(state.path()));
        drop(lock);
        assert!(Reset::finish(state.path(), &applied(&state)).unwrap().is_some());
        assert!(!Reset::is_ordered(state.path()));
    }

    #[test]
    fn a_file_is_written_whole_or_stays_as_it_was() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("file");
        write_whole(&path, b"old").unwrap();
        fs::create_dir(state.path().join("file.new")).unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(write_whole(&state.path().join("none/file"), b"x").is_err());
        assert_eq!(names(state.path()), ["file"]);
    }
}
