//! The logger: lines on stderr, with journald's priorities where stderr is the journal.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::linux::fs::MetadataExt as _;
use std::sync::{PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Environment variable that names the level when no argument does.
pub const LEVEL_VARIABLE: &str = "DM_GATEWAY_LOG";

/// How the targets of our own records begin.
const OURS: &str = "dm_gateway";

/// How much is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Of everything.
    pub all: LevelFilter,
    /// Of one module besides: its path below this crate, such as `gateway::forward`.
    pub module: Option<(String, LevelFilter)>,
}

static LEVELS: RwLock<Levels> = RwLock::new(Levels { all: LevelFilter::Info, module: None });

/// How much is logged now.
pub fn levels() -> Levels {
    LEVELS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Sets how much is logged from now on.
pub fn set_levels(levels: Levels) {
    let most = levels.module.as_ref().map_or(levels.all, |(_, level)| levels.all.max(*level));
    *LEVELS.write().unwrap_or_else(PoisonError::into_inner) = levels;
    log::set_max_level(most);
}

/// The level of [`LEVEL_VARIABLE`], which goes before that of the configuration.
pub fn level_of_environment() -> Option<LevelFilter> {
    std::env::var(LEVEL_VARIABLE).ok()?.parse().ok()
}

/// Starts logging. Without a level, that of [`LEVEL_VARIABLE`] counts, else INFO. Further calls
/// change the level only.
pub fn init(level: Option<LevelFilter>) {
    let level = level.or_else(level_of_environment).unwrap_or(LevelFilter::Info);
    let journal = std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stderr_is(&stream));
    // Only the first call installs a logger.
    let _ = log::set_boxed_logger(Box::new(Logger { journal }));
    set_levels(Levels { all: level, module: None });
}

/// Whether the target of a record is in a module.
fn is_in(target: &str, module: &str) -> bool {
    let path = target.strip_prefix(OURS).and_then(|path| path.strip_prefix("::"));
    let rest = path.and_then(|path| path.strip_prefix(module));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

struct Logger {
    journal: bool,
}

impl Log for Logger {
    /// Crates below us speak up only when something is wrong.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if !metadata.target().starts_with(OURS) {
            return metadata.level() <= Level::Warn;
        }
        let levels = LEVELS.read().unwrap_or_else(PoisonError::into_inner);
        let module = levels.module.as_ref();
        let module = module.filter(|(module, _)| is_in(metadata.target(), module));
        metadata.level() <= module.map_or(levels.all, |(_, level)| levels.all.max(*level))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let whose = record.target().split("::").next().unwrap_or_default();
            let message = match whose {
                OURS => record.args().to_string(),
                // Its "configuration" is not the operator's.
                other => format!("{other}: {}", record.args()),
            };
            let line = format_line(self.journal, record.level(), &message);
            // There is nobody to tell if stderr is gone. One write keeps the line in one piece.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// `<6>message` or `INFO message`, with an end of line and no other control character.
fn format_line(journal: bool, level: Level, message: &str) -> String {
    let mut line = String::with_capacity(message.len() + 8);
    if journal {
        let priority = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        // Writing to a String cannot fail, here and below.
        let _ = write!(line, "<{priority}>");
    } else {
        let _ = write!(line, "{level:<5} ");
    }
    for character in message.chars() {
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

/// Whether stderr is the stream that JOURNAL_STREAM names, `device:inode` (sd-daemon(3)).
fn stderr_is(stream: &str) -> bool {
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_its_priorities_and_people_get_words() {
        assert_eq!(format_line(true, Level::Error, "a"), "<3>a\n");
        assert_eq!(format_line(true, Level::Warn, "a"), "<4>a\n");
        assert_eq!(format_line(true, Level::Info, "a"), "<6>a\n");
        assert_eq!(format_line(true, Level::Trace, "a"), "<7>a\n");
        assert_eq!(format_line(false, Level::Info, "a"), "INFO  a\n");
    }

    #[test]
    fn a_module_is_its_path_and_all_below() {
        assert!(is_in("dm_gateway::gateway::forward", "gateway"));
        assert!(is_in("dm_gateway::gateway::forward", "gateway::forward"));
        assert!(!is_in("dm_gateway::gateway_x", "gateway"));
        assert!(!is_in("rustls::gateway", "gateway"));
    }

    #[test]
    fn a_message_cannot_forge_a_second_line() {
        let line = format_line(true, Level::Info, "x\n<0>all is lost\x1b[2J é\u{85}");
        assert_eq!(line, "<6>x\\n<0>all is lost\\u{1b}[2J é\\u{85}\n");
    }
}
