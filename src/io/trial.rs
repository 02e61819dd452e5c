//! The files of a configuration that is on trial, in the state directory: they survive a restart
//! and a power cut.

use super::plain;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When a trial ends, and what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// When it ends, in seconds since 1970; 0 if the clock was not set when it began.
    until: u64,
    /// How long it takes, in seconds.
    seconds: u64,
    /// The keys that it changes.
    #[serde(default)]
    pub keys: Vec<String>,
}

impl Trial {
    /// One that begins now (seconds since 1970).
    pub fn new(unix: u64, time: Duration, keys: Vec<String>) -> Self {
        let seconds = time.as_secs();
        let until = if unix < limits::CLOCK_SET { 0 } else { unix.saturating_add(seconds) };
        Self { until, seconds, keys }
    }

    /// What is left of it. While the clock is not set it has its time anew: whoever could confirm
    /// it may have been cut off by the very restart.
    pub fn rest(&self, unix: u64) -> Duration {
        let rest = match self.until {
            0 => self.seconds,
            _ if unix < limits::CLOCK_SET => self.seconds,
            until => until.saturating_sub(unix).min(self.seconds),
        };
        Duration::from_secs(rest)
    }
}

/// Where the files are.
#[derive(Clone, Debug)]
pub struct TrialFiles {
    directory: PathBuf,
    /// Where it is kept beside the administrator's files, if those can be written.
    drop_in: PathBuf,
}

impl TrialFiles {
    /// Those of a state directory; `drop_in` is the file to keep in `conf.d`.
    pub fn new(state_dir: &Path, drop_in: &Path) -> Self {
        Self { directory: state_dir.join("config"), drop_in: drop_in.to_owned() }
    }

    /// The trial that is under way.
    pub fn trial(&self) -> Option<Trial> {
        self.text().is_file().then(|| {
            let read = super::read_bounded(&self.timer(), limits::TRIAL_TIMER).ok();
            // Without its timer it is over.
            read.and_then(|octets| serde_json::from_slice(&octets).ok()).unwrap_or_default()
        })
    }

    /// Begins a trial with this text.
    ///
    /// # Errors
    /// A sentence that says what failed.
    pub fn begin(&self, text: &str, trial: &Trial) -> Result<(), String> {
        let timer = serde_json::to_vec(trial).map_err(|error| error.to_string())?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        // The timer first: a trial without one is over.
        let written = made
            .and_then(|()| write(&self.timer(), &timer))
            .and_then(|()| write(&self.text(), text.as_bytes()));
        written.map_err(|error| {
            self.discard();
            format!("{}: {}", self.directory.display(), plain(&error))
        })
    }

    /// Ends the trial and forgets what was on trial.
    pub fn discard(&self) {
        for path in [self.text(), self.timer()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log::error!("cannot remove {}: {}", path.display(), plain(&error));
                }
                _ => {}
            }
        }
        sync(&self.directory);
    }

    /// Ends the trial and keeps what was on trial; where.
    ///
    /// # Errors
    /// A sentence that says what failed; the trial goes on then.
    pub fn keep(&self) -> Result<PathBuf, String> {
        let kept = self.directory.join("applied.toml");
        let text = super::read_bounded(&self.text(), limits::CONFIG_FILE)
            .map_err(|error| format!("{}: {}", self.text().display(), plain(&error)))?;
        let has_directory = self.drop_in.parent().is_some_and(Path::is_dir);
        let place = match write(&self.drop_in, &text) {
            Ok(()) if has_directory => {
                let _ = fs::remove_file(&kept);
                self.drop_in.clone()
            }
            // A root file system that is read-only, or a service that may not write there.
            _ => {
                write(&kept, &text)
                    .map_err(|error| format!("{}: {}", kept.display(), plain(&error)))?;
                kept
            }
        };
        self.discard();
        Ok(place)
    }

    fn text(&self) -> PathBuf {
        self.directory.join("trial.toml")
    }

    fn timer(&self) -> PathBuf {
        self.directory.join("trial.json")
    }
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, octets: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::NotFound)?;
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::NotFound)?;
    // A name that no reader of configuration takes.
    let temporary = directory.join(format!(".{name}.new"));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync(directory);
    Ok(())
}

fn sync(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = limits::CLOCK_SET + 1000;

    #[test]
    fn a_trial_survives_and_counts_down_by_the_wall_clock() {
        let directory = tempfile::tempdir().unwrap();
        let files = TrialFiles::new(directory.path(), Path::new(""));
        assert_eq!(files.trial(), None);
        let trial = Trial::new(NOW, Duration::from_secs(600), vec!["wan.interface".into()]);
        files.begin("x = 1", &trial).unwrap();
        let read = TrialFiles::new(directory.path(), Path::new("")).trial().unwrap();
        assert_eq!(read, trial);
        assert_eq!(read.rest(NOW + 100), Duration::from_secs(500));
        assert_eq!(read.rest(NOW + 601), Duration::ZERO);
        assert_eq!(read.rest(NOW - 100), Duration::from_secs(600), "the clock went back");
        assert_eq!(read.rest(7), Duration::from_secs(600), "the clock is not set yet");
        let unset = Trial::new(7, Duration::from_secs(600), Vec::new());
        assert_eq!(unset.rest(NOW), Duration::from_secs(600));
        files.discard();
        assert_eq!(files.trial(), None);
    }

    #[test]
    fn what_is_kept_goes_to_the_administrators_files_or_else_stays_in_the_state() {
        let directory = tempfile::tempdir().unwrap();
        let drop_in = directory.path().join("conf.d/90-applied.toml");
        let files = TrialFiles::new(directory.path(), &drop_in);
        let trial = Trial::new(NOW, Duration::from_secs(600), Vec::new());
        files.begin("x = 1", &trial).unwrap();
        let kept = files.keep().unwrap();
        assert_eq!(kept, directory.path().join("config/applied.toml"));
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        files.begin("x = 2", &trial).unwrap();
        assert_eq!(files.keep().unwrap(), drop_in);
        assert_eq!(fs::read_to_string(&drop_in).unwrap(), "x = 2");
        assert!(!kept.exists() && files.trial().is_none());
        assert!(files.keep().is_err());
    }

    #[test]
    fn a_trial_without_a_timer_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let files = TrialFiles::new(directory.path(), Path::new(""));
        fs::create_dir(directory.path().join("config")).unwrap();
        fs::write(directory.path().join("config/trial.toml"), "").unwrap();
        assert_eq!(files.trial().unwrap().rest(NOW), Duration::ZERO);
    }
}
