//! The files of a configuration: where they are, and in which order they count.

use super::section::ConfigError;
use super::tree::{File, Origin, Tree};
use super::{DEFAULT_PATH, value};
use crate::codes;
use crate::io::trial::TrialFiles;
use crate::limits;
use std::io;
use std::path::{Path, PathBuf};

/// Where whoever built the image puts configuration.
pub const VENDOR_DIRECTORY: &str = "/usr/lib/dm-gateway";

/// Environment variable that names another directory for the same; empty for none. Without it
/// [`VENDOR_DIRECTORY`] counts where the main file is [`DEFAULT_PATH`].
pub const VENDOR_VARIABLE: &str = "DM_GATEWAY_VENDOR";

/// Name of the file that holds what was applied by command.
const APPLIED: &str = "90-applied.toml";

/// Where the files of a configuration are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    main: PathBuf,
    vendor: Option<PathBuf>,
    /// What is to be taken for what was provisioned, to try it.
    provisioned: Option<PathBuf>,
    of_service: bool,
}

impl Layout {
    /// The files that belong to a main file.
    pub fn of(main: &Path) -> Self {
        let named = std::env::var_os(VENDOR_VARIABLE).map(PathBuf::from);
        let usual = (main == Path::new(DEFAULT_PATH)).then(|| PathBuf::from(VENDOR_DIRECTORY));
        let vendor = named.or(usual).filter(|path| !path.as_os_str().is_empty());
        Self { main: main.to_owned(), vendor, provisioned: None, of_service: false }
    }

    /// The same files, read by the service itself: its credentials must be there. Whoever else
    /// reads them takes credentials on trust.
    #[must_use]
    pub fn for_service(self) -> Self {
        Self { of_service: true, ..self }
    }

    /// The same files, with another in the place of what was provisioned.
    #[must_use]
    pub fn with_provisioned(self, path: PathBuf) -> Self {
        Self { provisioned: Some(path), ..self }
    }

    /// The main file.
    pub fn main(&self) -> &Path {
        &self.main
    }

    /// `conf.d` beside the main file.
    pub fn drop_ins(&self) -> PathBuf {
        self.base().join("conf.d")
    }

    /// Where what was applied is kept beside the administrator's files.
    pub fn applied_drop_in(&self) -> PathBuf {
        self.drop_ins().join(APPLIED)
    }

    fn base(&self) -> PathBuf {
        self.main.parent().unwrap_or_else(|| Path::new("")).to_owned()
    }

    /// Ends a trial whose configuration cannot be used. False if there is none.
    pub fn discard_trial(&self) -> bool {
        let (tree, _) = self.read("", false);
        let Some(state_dir) = state_dir(&tree) else { return false };
        let files = TrialFiles::new(&state_dir, &self.applied_drop_in());
        let is_there = files.trial().is_some();
        if is_there {
            files.discard();
        }
        is_there
    }

    /// Reads all files that were written by hand: not what was applied by command.
    pub(super) fn read_written(&self, advice: &str) -> (Tree, Vec<ConfigError>) {
        self.read(advice, true)
    }

    /// Reads all files.
    pub(super) fn read_all(&self, advice: &str) -> (Tree, Vec<ConfigError>) {
        self.read_layers(advice, true)
    }

    /// Reads all files but the one that is on trial.
    pub(super) fn read_untried(&self) -> (Tree, Vec<ConfigError>) {
        self.read_layers("`--config FILE` with the daemon's file", false)
    }

    fn read_layers(&self, advice: &str, with_trial: bool) -> (Tree, Vec<ConfigError>) {
        let (mut tree, mut errors) = self.read(advice, true);
        let Some(state_dir) = state_dir(&tree) else { return (tree, errors) };
        let trial = state_dir.join(StateFiles::TRIAL);
        if with_trial && is_there(&trial) {
            // It stands for what was applied before.
            (tree, errors) = self.read(advice, false);
            self.add_applied(&mut tree, Origin::Trial, trial, &mut errors);
        } else {
            let applied = state_dir.join(StateFiles::APPLIED);
            if is_there(&applied) {
                self.add_applied(&mut tree, Origin::Applied, applied, &mut errors);
            }
        }
        (tree, errors)
    }

    /// All files, with this text in the place of what was applied.
    pub(super) fn read_with(&self, text: &str, path: &Path) -> (Tree, Vec<ConfigError>) {
        let (mut tree, mut errors) = self.read("`--config FILE` with the daemon's file", false);
        let (path, base) = (path.to_owned(), self.base());
        let file = File { path, origin: Origin::Trial, base, text: text.to_owned() };
        errors.extend(tree.add(file));
        refuse_places(&tree, &mut errors);
        (tree, errors)
    }

    fn read(&self, advice: &str, with_applied: bool) -> (Tree, Vec<ConfigError>) {
        let mut tree = Tree::default();
        tree.of_service = self.of_service;
        let mut errors = Vec::new();
        let vendor = self.vendor.as_deref();
        let vendor = vendor.map(|directory| files_in(directory, &mut errors)).unwrap_or_default();
        for path in vendor {
            let base = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
            add(&mut tree, Origin::Vendor, path, base, VENDOR_ADVICE, &mut errors);
        }
        if !tree.files.is_empty() && !is_there(&self.main) {
            log::debug!("there is no {}: the vendor's files count alone", self.main.display());
        } else {
            add(&mut tree, Origin::Admin, self.main.clone(), self.base(), advice, &mut errors);
        }
        let (applied, written): (Vec<_>, Vec<_>) = files_in(&self.drop_ins(), &mut errors)
            .into_iter()
            .partition(|path| *path == self.applied_drop_in());
        for path in written {
            let advice = "a file that may be read";
            add(&mut tree, Origin::DropIn, path, self.base(), advice, &mut errors);
        }
        self.add_provisioned(&mut tree, &mut errors);
        for path in applied.into_iter().filter(|_| with_applied) {
            let advice = "a file that may be read";
            add(&mut tree, Origin::Applied, path, self.base(), advice, &mut errors);
        }
        (tree, errors)
    }

    fn add_provisioned(&self, tree: &mut Tree, errors: &mut Vec<ConfigError>) {
        let Some(state_dir) = state_dir(tree) else { return };
        let provisioned = self.provisioned.clone();
        let provisioned = provisioned.unwrap_or_else(|| state_dir.join(StateFiles::PROVISIONED));
        let paths = [state_dir.join(crate::io::state::IDENTITY), provisioned];
        for path in paths.into_iter().filter(|path| is_there(path)) {
            let advice = "dm-gateway factory-reset";
            add(tree, Origin::Provisioned, path, self.base(), advice, errors);
        }
        refuse_places(tree, errors);
    }

    fn add_applied(
        &self,
        tree: &mut Tree,
        origin: Origin,
        path: PathBuf,
        errors: &mut Vec<ConfigError>,
    ) {
        add(tree, origin, path, self.base(), "dm-gateway confirm --discard", errors);
        refuse_places(tree, errors);
    }
}

const VENDOR_ADVICE: &str = "a file that may be read, or DM_GATEWAY_VENDOR= for no such files";

/// Names below the state directory.
pub(crate) struct StateFiles;

impl StateFiles {
    /// What is applied until it is confirmed.
    pub(crate) const TRIAL: &'static str = "config/trial.toml";
    /// What came by a signed bundle.
    pub(crate) const PROVISIONED: &'static str = "provisioned/config.toml";
    /// What was confirmed where `conf.d` is read-only.
    pub(crate) const APPLIED: &'static str = "config/applied.toml";
}

/// `[gateway] state-dir` as the files have it.
pub(super) fn state_dir(tree: &Tree) -> Option<PathBuf> {
    let value = tree.section("gateway")?.get("state-dir")?;
    super::path(&value).ok()
}

/// What is read to find out where the state is cannot stand in the state.
fn refuse_places(tree: &Tree, errors: &mut Vec<ConfigError>) {
    for (section, key) in [("gateway", "state-dir"), ("control", "socket")] {
        let value = tree.section(section).and_then(|section| section.get(key));
        let is_applied = |place: super::tree::Place| {
            tree.files.get(place.file).is_some_and(|file| file.origin >= Origin::Provisioned)
        };
        if let Some(value) = value.filter(|value| is_applied(value.place)) {
            errors
                .push(value.error("cannot be applied by command", "the main file, and a restart"));
        }
    }
}

fn add(
    tree: &mut Tree,
    origin: Origin,
    path: PathBuf,
    base: PathBuf,
    advice: &str,
    errors: &mut Vec<ConfigError>,
) {
    match read_text(&path, advice) {
        Ok(text) => errors.extend(tree.add(File { path, origin, base, text })),
        Err(error) => errors.push(error),
    }
}

fn read_text(path: &Path, advice: &str) -> Result<String, ConfigError> {
    let failed = |why: &str, advice: &str| {
        ConfigError::of_file(path, format!("the file {why}"), advice).coded(codes::CONFIG_READ)
    };
    let octets = value::read_file(path, limits::CONFIG_FILE).map_err(|why| {
        let advice = match path.metadata() {
            Ok(data) if data.is_dir() => "the file, not its directory",
            Ok(data) if data.len() > limits::CONFIG_FILE as u64 => "a smaller file",
            Ok(_) => "as root, or as who may read it: ls -l on it",
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "as root, or as who may look there: ls -ld on its directory"
            }
            Err(_) => advice,
        };
        failed(&why, advice)
    })?;
    String::from_utf8(octets)
        .map_err(|_| failed("is not UTF-8 text", "a TOML file, saved as UTF-8"))
}

/// The files of a directory that count, by name; none if there is no such directory.
fn files_in(directory: &Path, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let problem = format!("the directory cannot be read: {}", crate::io::plain(&error));
            let error = ConfigError::of_file(directory, problem, "ls -ld on it");
            errors.push(error.coded(codes::CONFIG_READ));
            return Vec::new();
        }
    };
    let counts = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".toml") && !name.starts_with('.')
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(counts).collect();
    paths.sort();
    paths
}

/// Whether something is at a path, as far as one may see.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
