//! `dm-gateway check`: looks at everything that the gateway needs, and says what is missing.
//!
//! ```text
//!  Scene: configuration, service's user, daemon ──► each Check ──► Findings ──► table or JSON
//! ```
//!
//! Works without the daemon, without a network and with a configuration that is not valid. Reads,
//! and changes nothing. `files`, `network` and `system` have the checks, `firewall` reads rules,
//! `iptables` older ones.

mod files;
mod firewall;
mod iptables;
mod network;
mod system;

use crate::cli::client::{Call, Stop, print, rows};
use crate::cli::definition::{
    self, Choice, Command, Form, Given, Kind, Operand, PRINTING, Times, flag, nearest, option,
};
use crate::cli::status;
use crate::codes::{self, Code, Trouble};
use crate::config::files::{Named, named, written};
use crate::config::{self, Config, ConfigError};
use crate::control::{self, Request, StatusAnswer};
use crate::io::clock::Clock;
use crate::io::inspect::{self, Account};
use crate::limits;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// `check`.
pub const COMMAND: Command = Command {
    name: "check",
    summary: "looks at everything that the gateway needs, and says what is missing",
    text: "Works without the daemon and without a network, takes at most some seconds, and\n\
           changes nothing. Each check has the code of what it finds; dm-gateway manual CODE\n\
           explains it. As root it sees more: what it may not look at is skipped.",
    operands: &[Operand {
        name: "CHECK",
        text: "a code such as GW-CLOCK-01, or an area such as clock: only those",
        times: Times::Optional,
        kind: Kind::Text,
    }],
    options: &[
        &[
            Choice {
                many: true,
                ..option(
                    "only",
                    "CHECK",
                    Kind::Text,
                    "the same; several with commas, or several times",
                )
            },
            flag("list", "lists the checks, and does none"),
            flag("warnings-as-errors", "ends with 1 if there is a warning"),
            option(
                "user",
                "NAME",
                Kind::Text,
                "whom the service runs as (default: as the daemon runs, else dm-gateway)",
            ),
        ],
        definition::CONFIGURED,
        PRINTING,
    ],
    exits: &[(1, "something is wrong")],
    examples: &[
        ("dm-gateway check", "everything"),
        ("dm-gateway check clock", "the checks whose codes begin with GW-CLOCK"),
        ("dm-gateway check --only GW-TLS-02 --json", "one check, for a program"),
    ],
    run: Some(check),
    ..definition::COMMAND
};

/// The user that the service runs as, by its unit.
const SERVICE_USER: &str = "dm-gateway";

/// One thing to look at.
pub(super) struct Check {
    /// What is found if it is not as it should be.
    code: Code,
    /// What should be so.
    good: &'static str,
    run: fn(&Scene) -> Vec<Finding>,
}

/// What came of a check.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    #[serde(flatten)]
    pub trouble: Trouble,
}

/// How something is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be looked at, or does not matter here.
    Skipped,
}

/// Answers `check --json`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Findings {
    /// Of each check at least one.
    pub checks: Vec<Finding>,
}

/// Answers `check --list --json`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
struct List {
    /// The checks, in their order.
    list: Vec<Listed>,
}

/// One check.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Listed {
    /// The code of what it finds.
    code: String,
    /// What should be so.
    what: String,
}

/// What the checks look at.
struct Scene {
    path: PathBuf,
    config: Result<Config, ConfigError>,
    /// The files of the configuration.
    written: Vec<PathBuf>,
    /// The files that those name.
    files: Vec<Named>,
    /// Whom the service runs as, and whether that user exists.
    user_name: String,
    user: Option<Account>,
    daemon: Option<Daemon>,
    /// Why there is no daemon's word.
    silence: Option<Box<Trouble>>,
    /// Seconds since 1970.
    now: u64,
}

/// The daemon that answers on the control socket.
struct Daemon {
    pid: Option<u32>,
    uid: Option<u32>,
    status: StatusAnswer,
}

fn check(given: Given) -> Result<u8, Stop> {
    let chosen = chosen(&given)?;
    let form = given.form();
    if given.has("list") {
        return list(&chosen, form);
    }
    let scene = Scene::set(&given)?;
    let mut checks = Vec::new();
    for check in &chosen {
        let began = Instant::now();
        for mut finding in (check.run)(&scene) {
            if finding.trouble.code.is_empty() {
                finding.trouble.code = check.code.id.into();
            }
            if finding.verdict == Verdict::Ok && finding.trouble.what.is_empty() {
                finding.trouble.what = check.good.to_owned();
            }
            if form == Form::Table {
                print(&line(&finding))?;
            }
            checks.push(finding);
        }
        log::debug!("{}: {} ms", check.code, began.elapsed().as_millis());
    }
    let of = |verdict| checks.iter().filter(|it| it.verdict == verdict).count();
    let (fails, warnings) = (of(Verdict::Fail), of(Verdict::Warn));
    match form {
        Form::Table => print(&format!(
            "\n{} ok, {warnings} to look at, {fails} wrong, {} skipped\n",
            of(Verdict::Ok),
            of(Verdict::Skipped)
        ))?,
        Form::Lines => print(&rows(&control::document(Findings { checks })))?,
        Form::Json => print_json(&Findings { checks })?,
    }
    Ok(u8::from(fails > 0 || warnings > 0 && given.has("warnings-as-errors")))
}

/// All checks, in the order in which faults hide each other.
fn all() -> impl Iterator<Item = &'static Check> {
    [files::CHECKS, system::CLOCK, network::CHECKS, system::CHECKS].into_iter().flatten()
}

/// The checks that are asked for.
fn chosen(given: &Given) -> Result<Vec<&'static Check>, Stop> {
    let only = given.all("only").map(|it| it.to_string_lossy().into_owned());
    let only = given.operands.iter().cloned().chain(only);
    let only: Vec<String> =
        only.flat_map(|it| it.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
    for name in &only {
        if !all().any(|check| check.is(name)) {
            let areas = all().map(Check::area);
            let near = nearest(&name.to_ascii_uppercase(), areas.chain(all().map(|it| it.code.id)));
            let hint = near.map_or_else(String::new, |near| format!(": is it {near}?"));
            let sentence =
                format!("there is no check `{name}`{hint}; try: dm-gateway check --list");
            return Err(Stop::Usage(sentence));
        }
    }
    Ok(all().filter(|check| only.is_empty() || only.iter().any(|name| check.is(name))).collect())
}

fn list(checks: &[&Check], form: Form) -> Result<u8, Stop> {
    if form == Form::Table {
        let line = |check: &&Check| format!("{:12} {}\n", check.code.id, check.good);
        print(&checks.iter().map(line).collect::<String>())?;
    } else {
        let listed =
            |check: &&Check| Listed { code: check.code.id.to_owned(), what: check.good.to_owned() };
        print_json(&List { list: checks.iter().map(listed).collect() })?;
    }
    Ok(0)
}

fn print_json(body: &impl Serialize) -> Result<(), Stop> {
    print(&format!("{}\n", control::document(body)))
}

fn line(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "WARN",
        Verdict::Fail => "FAIL",
        Verdict::Skipped => "skip",
    };
    let mut text =
        status::line(verdict, &Trouble { cause: None, next: None, ..finding.trouble.clone() });
    if matches!(finding.verdict, Verdict::Warn | Verdict::Fail) {
        let mut row = |name: &str, what: &Option<String>| {
            if let Some(what) = what {
                let row = format!("{name}: {}", crate::cli::table::printable(what));
                // A command is told in one piece.
                let row = if name == "try" { row } else { status::wrapped(&row) };
                text.push_str(&format!("{:19}{row}\n", ""));
            }
        };
        row("cause", &finding.trouble.cause);
        row("try", &finding.trouble.next);
    }
    text
}

impl Check {
    const fn new(code: Code, good: &'static str, run: fn(&Scene) -> Vec<Finding>) -> Self {
        Self { code, good, run }
    }

    /// `CLOCK` of `GW-CLOCK-01`.
    fn area(&self) -> &'static str {
        self.code.id.split('-').nth(1).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.code.id.eq_ignore_ascii_case(name) || self.area().eq_ignore_ascii_case(name)
    }
}

impl Finding {
    /// As it should be; without a text, by the check's own.
    fn ok(what: impl Into<String>) -> Self {
        Self::of(Verdict::Ok, None, what)
    }

    fn skipped(why: impl Into<String>) -> Self {
        Self::of(Verdict::Skipped, None, why)
    }

    fn warn(code: Code, what: impl Into<String>) -> Self {
        Self::of(Verdict::Warn, Some(code), what)
    }

    fn fail(code: Code, what: impl Into<String>) -> Self {
        Self::of(Verdict::Fail, Some(code), what)
    }

    fn of(verdict: Verdict, code: Option<Code>, what: impl Into<String>) -> Self {
        let id = code.map_or("", |code| code.id);
        let (cause, next) =
            (code.map(|it| it.cause.to_owned()), code.map(|it| it.remedy.to_owned()));
        Self { verdict, trouble: Trouble { code: id.into(), what: what.into(), cause, next } }
    }

    fn because(mut self, cause: impl Into<String>) -> Self {
        self.trouble.cause = Some(cause.into());
        self
    }

    fn then(mut self, next: impl Into<String>) -> Self {
        self.trouble.next = Some(next.into());
        self
    }
}

impl Scene {
    fn set(given: &Given) -> Result<Self, Stop> {
        let path = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
        let wanted = given.value("user").map(|name| name.to_string_lossy().into_owned());
        let user_name = wanted.clone().unwrap_or_else(|| SERVICE_USER.to_owned());
        let (daemon, silence) = match ask(given) {
            Ok(daemon) => (Some(daemon), None),
            Err(silence) => (None, Some(silence)),
        };
        // Whom it runs as is known best where it runs.
        let runs_as = daemon.as_ref().and_then(|it| inspect::account_of(it.uid?));
        let user = match runs_as.filter(|_| wanted.is_none()) {
            Some(user) => Some(user),
            None => inspect::account(&user_name),
        };
        if wanted.is_some() && user.is_none() {
            return Err(Stop::Usage(format!("there is no user {user_name}")));
        }
        let clock = Clock::start().map_err(|error| Stop::failed(&error.to_string()))?;
        Ok(Self {
            config: Config::load(&path),
            written: written(&path),
            files: named(&path),
            user_name,
            user,
            daemon,
            silence,
            now: clock.now().unix,
            path,
        })
    }

    /// Whom to judge files for: the service's user, or where there is none whoever asks.
    fn service(&self) -> Account {
        self.user.clone().unwrap_or_else(inspect::this_account)
    }

    /// Does a check that needs a valid configuration.
    fn configured(&self, check: impl FnOnce(&Config) -> Vec<Finding>) -> Vec<Finding> {
        match &self.config {
            Ok(config) => check(config),
            Err(_) => vec![Finding::skipped("the configuration is not valid")],
        }
    }

    /// Why there is no daemon's word.
    fn silence(&self) -> String {
        self.silence.as_ref().map_or_else(String::new, |trouble| trouble.what.clone())
    }

    /// Does a check that needs a running daemon.
    fn running(&self, check: impl FnOnce(&Daemon) -> Vec<Finding>) -> Vec<Finding> {
        match &self.daemon {
            Some(daemon) => check(daemon),
            None => vec![Finding::skipped(self.silence())],
        }
    }
}

/// The daemon, if one answers in time; else why not.
fn ask(given: &Given) -> Result<Daemon, Box<Trouble>> {
    let mut call = Call::of(given);
    call.patience = limits::CHECK_QUESTION;
    let status = call.ask::<StatusAnswer>(&Request::Status).map_err(|stop| match stop {
        Stop::Unanswered(trouble) | Stop::Failed(trouble) => trouble,
        _ => Trouble::new(codes::UNREACHABLE, "no daemon answers").into(),
    })?;
    let path = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
    let socket = config::control_socket(&path).ok();
    let (pid, uid) = socket.and_then(|socket| inspect::daemon(&socket)).unzip();
    Ok(Daemon { pid, uid, status: status.body })
}

/// `1.5 s`, for people.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_check_has_a_code_of_its_own_and_there_are_about_thirty() {
        let mut seen = HashSet::new();
        for check in all() {
            assert!(seen.insert(check.code.id), "{} twice", check.code);
            assert!(crate::codes::find(check.code.id).is_some() && !check.good.ends_with('.'));
        }
        assert!((28..=45).contains(&seen.len()), "{}", seen.len());
    }

    #[test]
    fn a_check_is_called_by_its_code_or_its_area() {
        let clock = all().find(|it| it.code == crate::codes::CLOCK_WRONG).unwrap();
        assert!(clock.is("clock") && clock.is("gw-clock-01") && !clock.is("CLOC"));
    }
}
