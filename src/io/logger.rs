//! The logger. Three forms, the same facts:
//!
//! | form | where | looks like |
//! |---|---|---|
//! | journal | stderr is the journal's | fields by its native protocol, with `MESSAGE_ID` and `GW_…` |
//! | text | elsewhere | `INFO  IMEI:490154203237518 detected: …` |
//! | JSON | where it is asked for | one object a line, with the journal's fields in lower case |
//!
//! A place in the code that logs more than [`LOG_BURST`] lines a minute is held back until the
//! minute is over, and then says how many were left out. The first minute of the process is
//! exempt: what a start tells is what one looks for.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::linux::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::gateway::journal::Window;
use crate::limits::{LOG_BURST, LOG_WINDOW};

/// Environment variable that names the level when no argument does.
pub const LEVEL_VARIABLE: &str = "DM_GATEWAY_LOG";

/// Environment variable that names the form: `text`, `json` or `journal`.
pub const FORM_VARIABLE: &str = "DM_GATEWAY_LOG_FORMAT";

/// How the targets of our own records begin.
const OURS: &str = "dm_gateway";

/// Where journald takes datagrams.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// For people, and for the stderr of any init.
    Text,
    /// For programs.
    Json,
    /// For journald.
    Journal,
}

impl Form {
    /// Every form, by its name in the configuration and in [`FORM_VARIABLE`].
    pub const NAMES: [(&'static str, Self); 3] =
        [("text", Self::Text), ("json", Self::Json), ("journal", Self::Journal)];
}

/// A line with fields besides its message.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its level.
    pub level: Level,
    /// What it says.
    pub message: &'a str,
    /// `MESSAGE_ID`: 128 bits in hexadecimal.
    pub message_id: Option<&'a str>,
    /// Names in the journal's form (`GW_DEVICE`), and values of any octets.
    pub fields: &'a [(&'static str, &'a str)],
}

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
    let logger = LOGGER.get_or_init(|| {
        let journal = std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stderr_is(&stream));
        let asked = std::env::var(FORM_VARIABLE).ok();
        let asked = Form::NAMES.iter().find(|(name, _)| asked.as_deref() == Some(name));
        let form = asked.map(|(_, form)| *form);
        Logger {
            form: AtomicU8::new(form.unwrap_or(match journal {
                true => Form::Journal,
                false => Form::Text,
            }) as u8),
            is_form_fixed: form.is_some(),
            is_stderr_the_journal: journal,
            journal: Journal::new(Path::new(JOURNAL)),
            start: Instant::now(),
            windows: Mutex::default(),
        }
    });
    // Only the first call installs a logger.
    let _ = log::set_logger(logger);
    set_levels(Levels { all: level, module: None });
    for (name, takes) in [
        (LEVEL_VARIABLE, "off, error, warn, info, debug or trace"),
        (FORM_VARIABLE, "text, json or journal"),
    ] {
        let Ok(value) = std::env::var(name) else { continue };
        let is_known = match name {
            LEVEL_VARIABLE => value.parse::<LevelFilter>().is_ok(),
            _ => Form::NAMES.iter().any(|(name, _)| *name == value),
        };
        if !is_known && !value.is_empty() {
            log::warn!("{name} is {value:?}, which does not count; try: {takes}");
        }
    }
}

/// Whether the target of a record is in a module.
fn is_in(target: &str, module: &str) -> bool {
    let path = target.strip_prefix(OURS).and_then(|path| path.strip_prefix("::"));
    let rest = path.and_then(|path| path.strip_prefix(module));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Takes over the form of the configuration. That of [`FORM_VARIABLE`] goes before it.
pub fn set_form(form: Option<Form>) {
    let logger = LOGGER.get().filter(|logger| !logger.is_form_fixed);
    if let (Some(logger), Some(form)) = (logger, form) {
        logger.form.store(form as u8, Ordering::Relaxed);
    }
}

/// Writes a line with fields, if there is a logger and its level is asked for. Whoever calls
/// bounds how many there are.
pub fn write(entry: &Entry<'_>) {
    if let Some(logger) = LOGGER.get().filter(|_| entry.level <= levels().all) {
        logger.write(entry);
    }
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    form: AtomicU8,
    is_form_fixed: bool,
    is_stderr_the_journal: bool,
    journal: Journal,
    start: Instant,
    /// By file and line of what logs.
    windows: Mutex<HashMap<(&'static str, u32), Window>>,
}

impl Logger {
    /// Whether a place in the code may log once more, and how many lines of it were left out.
    fn admits(&self, record: &Record<'_>) -> (bool, u64) {
        let now = self.start.elapsed();
        if record.level() >= Level::Debug || now < LOG_WINDOW {
            return (true, 0);
        }
        let place = (record.file_static().unwrap_or_default(), record.line().unwrap_or_default());
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(place).or_insert_with(|| Window::new(now));
        let left_out = window.held_back();
        let admitted = window.admits(LOG_BURST, now);
        (admitted, if window.held_back() == 0 { left_out } else { 0 })
    }

    fn write(&self, entry: &Entry<'_>) {
        let form = self.form.load(Ordering::Relaxed);
        if form == Form::Journal as u8 && self.journal.send(&datagram(entry)).is_ok() {
            return;
        }
        let line = match form == Form::Json as u8 {
            true => json(entry, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            false => format_line(self.is_stderr_the_journal, entry.level, entry.message),
        };
        // There is nobody to tell if stderr is gone. One write keeps the line in one piece.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
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
        if !self.enabled(record.metadata()) {
            return;
        }
        let (true, left_out) = self.admits(record) else { return };
        let whose = record.target().split("::").next().unwrap_or_default();
        let mut message = match whose {
            OURS => record.args().to_string(),
            // Its "configuration" is not the operator's.
            other => format!("{other}: {}", record.args()),
        };
        if left_out > 0 {
            // Writing to a String cannot fail, here and below.
            let _ = write!(message, " ({left_out} more suppressed before)");
        }
        let fields = &[("CODE_MODULE", record.target())];
        self.write(&Entry { level: record.level(), message: &message, message_id: None, fields });
    }

    fn flush(&self) {}
}

/// Where journald listens.
struct Journal {
    socket: Option<UnixDatagram>,
    path: Box<Path>,
}

impl Journal {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::unbound().ok();
        // A journald that takes nothing must not hold up the gateway.
        let socket = socket.filter(|socket| socket.set_nonblocking(true).is_ok());
        Self { socket, path: path.into() }
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        match socket.send_to(datagram, &self.path) {
            // Full: on stderr, which is a pipe to the same journald, one would have to wait.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop),
        }
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// An entry by the journal's native protocol: `NAME=value` lines; a value with an end of line in
/// it goes with its length, so that no value can forge a field.
fn datagram(entry: &Entry<'_>) -> Vec<u8> {
    let mut octets = Vec::with_capacity(256 + entry.message.len());
    let mut field = |name: &str, value: &str| {
        octets.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            octets.push(b'\n');
            octets.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            octets.push(b'=');
        }
        octets.extend_from_slice(value.as_bytes());
        octets.push(b'\n');
    };
    let mut message = String::with_capacity(entry.message.len());
    escape(&mut message, entry.message);
    field("MESSAGE", &message);
    field("PRIORITY", &priority(entry.level).to_string());
    field("SYSLOG_IDENTIFIER", "dm-gateway");
    if let Some(id) = entry.message_id {
        field("MESSAGE_ID", id);
    }
    for (name, value) in entry.fields {
        field(name, value);
    }
    octets
}

/// One object a line: the journal's fields in lower case, without `GW_`.
fn json(entry: &Entry<'_>, time: Duration) -> String {
    let mut object = serde_json::Map::new();
    let seconds = time.as_millis() as f64 / 1e3;
    object.insert("time".to_owned(), seconds.into());
    object.insert("level".to_owned(), entry.level.as_str().to_ascii_lowercase().into());
    object.insert("message".to_owned(), entry.message.into());
    if let Some(id) = entry.message_id {
        object.insert("message_id".to_owned(), id.into());
    }
    for (name, value) in entry.fields {
        let name = name.trim_start_matches("GW_").to_ascii_lowercase();
        object.insert(name, (*value).into());
    }
    format!("{}\n", serde_json::Value::Object(object))
}

/// `<6>message` or `INFO message`, with an end of line and no other control character.
fn format_line(journal: bool, level: Level, message: &str) -> String {
    let mut line = String::with_capacity(message.len() + 8);
    if journal {
        let _ = write!(line, "<{}>", priority(level));
    } else {
        let _ = write!(line, "{level:<5} ");
    }
    escape(&mut line, message);
    line.push('\n');
    line
}

fn escape(line: &mut String, message: &str) {
    for character in message.chars() {
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
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

    #[test]
    fn a_value_cannot_forge_a_field() {
        let fields = &[("GW_DEVICE", "a\nPRIORITY=0"), ("GW_LAN", "depot")];
        let entry = Entry { level: Level::Info, message: "x\ny", message_id: Some("01"), fields };
        let mut expected =
            b"MESSAGE=x\\ny\nPRIORITY=6\nSYSLOG_IDENTIFIER=dm-gateway\nMESSAGE_ID=01\n\
            GW_DEVICE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n"
                .to_vec();
        expected.extend_from_slice(b"GW_LAN=depot\n");
        assert_eq!(datagram(&entry), expected);
        let line = json(&entry, Duration::from_millis(1500));
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(object["device"], "a\nPRIORITY=0");
        assert_eq!((&object["time"], &object["level"]), (&1.5.into(), &"info".into()));
    }
}
