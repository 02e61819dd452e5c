//! `dm-gateway support-bundle`: what a helper far away needs to see, in one file.

mod redact;

use crate::cli::backup::now;
use crate::cli::client::{Call, Stop, print};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, Operand, PRINTING, Times};
use crate::cli::table::columns;
use crate::codes::{self, Trouble};
use crate::config::{self, Config};
use crate::control::{Request, document};
use crate::gateway::backup;
use crate::gateway::store::Store as _;
use crate::io::archive::Archive;
use crate::io::sled_store::SledStore;
use crate::io::state::write_whole;
use crate::io::{audit, plain, read_bounded};
use crate::limits;
use redact::Redactor;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

/// `support-bundle`.
pub const COMMAND: Command = Command {
    name: "support-bundle",
    summary: "one file with all that helps to find out what is wrong, and no secret",
    text: "\
Status, checks, configuration, devices, servers, the end of the audit and of the log, interfaces
and versions, as .tar.gz of at most 5 MB. What is in it is listed first. Secrets are left out:
credentials, pins, tokens, nonces, private keys, passwords in URLs. Ids and addresses of devices and
servers are not. Works with the daemon and without.",
    operands: &[Operand {
        name: "FILE",
        text: "where to; by default a name with the time, in this directory",
        times: Times::Optional,
        kind: Kind::File,
    }],
    options: &[ASKING, PRINTING],
    exits: &[(1, "it could not be written")],
    run: Some(support_bundle),
    ..definition::COMMAND
};

/// What `--json` prints.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Bundle {
    /// The file.
    pub bundle: PathBuf,
    /// Its size in octets.
    pub size: usize,
    /// What is in it.
    pub files: Vec<Part>,
}

/// One file of a bundle.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What it is.
    pub what: String,
    /// Its size in octets.
    pub size: usize,
    #[serde(skip)]
    text: String,
}

fn support_bundle(given: Given) -> Result<u8, Stop> {
    let time = now();
    let name = format!("dm-gateway-support-{}.tar.gz", crate::proto::tree::timestamp(time));
    let path = given.operand(0).map_or_else(|| PathBuf::from(name), PathBuf::from);
    let parts = parts(&given);
    if given.form() == definition::Form::Table {
        let rows: Vec<_> = parts
            .iter()
            .map(|part| [part.name.clone(), format!("{} octets", part.size), part.what.clone()])
            .collect();
        print(&format!("in the bundle:\n{}", columns(2, &rows)))?;
    }
    let mut archive = Archive::default();
    let mut contents = String::new();
    for part in &parts {
        // Writing to a String cannot fail.
        let _ = writeln!(contents, "{:20} {:>9}  {}", part.name, part.size, part.what);
    }
    archive.add("dm-gateway-support/CONTENTS.txt", contents.as_bytes(), time);
    for part in &parts {
        archive.add(&format!("dm-gateway-support/{}", part.name), part.text.as_bytes(), time);
    }
    let octets = archive.finish();
    write_whole(&path, &octets).map_err(|error| {
        Stop::Failed(
            Trouble::new(codes::SUPPORT, &error.to_string()).or_try(codes::SUPPORT.remedy).into(),
        )
    })?;
    let size = octets.len();
    if given.form() == definition::Form::Table {
        print(&format!("written: {} ({size} octets)\n", path.display()))?;
    } else {
        print(&format!("{}\n", document(Bundle { bundle: path, size, files: parts })))?;
    }
    Ok(0)
}

/// Everything, without secrets and within the size.
fn parts(given: &Given) -> Vec<Part> {
    let main = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
    let config = Config::load(&main);
    let mut redactor = Redactor::default();
    if let Ok(config) = &config {
        redactor.know_config(config);
    }
    let state_dir = config::state_directory(&main).ok();
    let memory = state_dir.as_deref().map(|state_dir| memory(state_dir, &mut redactor));
    let mut parts = Vec::new();
    let mut left = limits::BUNDLE;
    let mut add = |name: &str, what: &str, text: String| {
        let mut text = redactor.redact(&text);
        let most = limits::BUNDLE_PART.min(left);
        if text.len() > most {
            // The end is what happened last.
            let cut = text.len() - most;
            let cut = (cut..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
            text = format!("(cut)\n{}", text.split_off(cut));
        }
        left = left.saturating_sub(text.len());
        let (name, what, size) = (name.to_owned(), what.to_owned(), text.len());
        parts.push(Part { name, what, size, text });
    };
    add("version.txt", "versions of the gateway and the system", versions());
    for (name, what, request) in [
        ("status.json", "what `status` tells", Request::Status),
        ("devices.json", "the end devices", Request::Devices),
        ("servers.json", "the DM servers", Request::Servers),
        ("mappings.json", "who may wake whom", Request::Mappings),
        ("tree.json", "the management tree", Request::Tree { uri: ".".to_owned() }),
    ] {
        add(name, what, asked(given, &request));
    }
    let main = main.display().to_string();
    for (name, what, words) in [
        ("check.txt", "what `check` finds", &["check"][..]),
        ("config.txt", "the configuration, and who set it", &["config", "show", "--origin"]),
    ] {
        if let Some(text) = own(words, &main) {
            add(name, what, text);
        }
    }
    add("files.txt", "the files of the configuration", files(Path::new(&main), config.err()));
    if let Some(state_dir) = &state_dir {
        add("audit.jsonl", "the end of the audit", audit_tail(state_dir));
        add("state.txt", "the files of the state directory", listing(state_dir));
    }
    if let Some(memory) = memory {
        add("memory.jsonl", "what the store has, as in a backup", memory);
    }
    add("events.jsonl", "what the daemon told last", asked(given, &Request::Events));
    add("log.txt", "the end of the log", run(&["journalctl", "-u", "dm-gateway", "-n", "2000"]));
    add("network.txt", "interfaces, addresses and routes", network());
    parts
}

// --- Parts -----------------------------------------------------------------------------------

fn versions() -> String {
    let mut text = format!("dm-gateway {}\n", env!("CARGO_PKG_VERSION"));
    for path in ["/proc/version", "/etc/os-release", "/proc/uptime", "/proc/meminfo"] {
        let read = read_bounded(Path::new(path), limits::BUNDLE_PART);
        let content = read.map(|octets| String::from_utf8_lossy(&octets).into_owned());
        let content = content.unwrap_or_else(|error| format!("{}\n", plain(&error)));
        let _ = write!(text, "\n{path}\n{content}");
    }
    text
}

/// What the daemon says, or why it does not.
fn asked(given: &Given, request: &Request) -> String {
    let lines = Call::of(given).lines(request, true);
    let lines = lines
        .and_then(|lines| lines.collect::<Result<Vec<_>, _>>().map_err(crate::cli::client::broken));
    match lines {
        Ok(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
        Err(Stop::Unanswered(trouble) | Stop::Failed(trouble)) => format!("{trouble}\n"),
        Err(_) => "the daemon was not asked\n".to_owned(),
    }
}

/// What a command of our own prints, if there is such a command.
fn own(words: &[&str], config: &str) -> Option<String> {
    let mut commands = crate::cli::COMMANDS;
    for word in words.iter().filter(|word| !word.starts_with("--")) {
        commands = commands.iter().find(|command| command.name == *word)?.commands;
    }
    let program = std::env::current_exe().ok()?;
    let program = program.to_str()?;
    Some(run(&[&[program], words, &["--config", config]].concat()))
}

fn files(main: &Path, error: Option<config::ConfigError>) -> String {
    let mut text = String::new();
    if let Some(error) = error {
        let _ = writeln!(text, "not valid: {error}\n");
    }
    let mut paths = vec![main.to_owned()];
    let beside = main.parent().unwrap_or_else(|| Path::new("")).join("conf.d");
    for directory in [&*beside, Path::new("/usr/lib/dm-gateway")] {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
        found.retain(|path| path.extension().is_some_and(|it| it == "toml"));
        found.sort();
        paths.extend(found);
    }
    for path in paths {
        let read = read_bounded(&path, limits::CONFIG_FILE);
        let content = match read {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) => plain(&error),
        };
        let _ = writeln!(text, "--- {}\n{content}", path.display());
    }
    text
}

fn audit_tail(state_dir: &Path) -> String {
    match audit::lines(state_dir) {
        Ok(lines) => {
            let from = lines.len().saturating_sub(limits::BUNDLE_LINES);
            lines.iter().skip(from).map(|line| format!("{}\n", line.text)).collect()
        }
        Err(error) => format!("{error}\n"),
    }
}

/// What the store has, if no daemon has it. Its secrets are known from then on.
fn memory(state_dir: &Path, redactor: &mut Redactor) -> String {
    let store = match SledStore::open_existing(&state_dir.join("store")) {
        Ok(Some(store)) => Ok(store),
        Ok(None) => Err("there is no store".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let records = store.and_then(|mut store| store.load().map_err(|error| error.to_string()));
    match records {
        Ok(records) => {
            let records = records.to_vec();
            redactor.know_records(&backup::export(&records, true));
            let lines = backup::export(&records, false);
            let line = |line| serde_json::to_string(line).expect("maps with text as keys");
            lines.iter().map(|it| line(it) + "\n").collect()
        }
        Err(why) => format!("{why}\n"),
    }
}

fn listing(state_dir: &Path) -> String {
    let mut text = String::new();
    let mut open = vec![state_dir.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            let _ = writeln!(text, "{}: cannot be read", directory.display());
            continue;
        };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                open.push(entry.path());
            }
            let _ = writeln!(text, "{:>9}  {}", found.len(), entry.path().display());
        }
    }
    text
}

fn network() -> String {
    let mut text = String::new();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let address = interface.address.map(|address| address.to_string()).unwrap_or_default();
        let _ = writeln!(text, "{:15} {:?} {address}", interface.interface_name, interface.flags);
    }
    for path in ["/proc/net/route", "/proc/net/ipv6_route", "/proc/net/arp", "/etc/resolv.conf"] {
        if let Ok(octets) = read_bounded(Path::new(path), limits::BUNDLE_PART) {
            let _ = write!(text, "\n{path}\n{}", String::from_utf8_lossy(&octets));
        }
    }
    text
}

/// What a program prints; where there is none, that.
fn run(words: &[&str]) -> String {
    let Some((program, arguments)) = words.split_first() else { return String::new() };
    let ended = Process::new(program).args(arguments).stdin(Stdio::null()).output();
    match ended {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text + &String::from_utf8_lossy(&output.stderr)
        }
        Err(error) => format!("{program}: {}\n", plain(&error)),
    }
}
