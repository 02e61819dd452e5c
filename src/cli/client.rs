//! What the operators' commands share: arguments, the question to the daemon, exit codes.

use crate::cli::definition::{Command, Form, Given, name};
use crate::cli::table::printable;
use crate::cli::{EX_USAGE, help};
use crate::codes::{self, Code, Trouble};
use crate::config;
use crate::control::{self, Document, Done, Failure, Fault, Refused, Rehearsed, Request};
use crate::io::{control_socket, plain};
use crate::limits::CONTROL_TIME;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Exit code where no daemon answers.
const UNANSWERED: u8 = 3;
/// Exit code where the result cannot be written, EX_IOERR of sysexits.h.
const EX_IOERR: u8 = 74;

/// Why a command ends before its time.
#[derive(Debug)]
pub enum Stop {
    /// `--help`.
    Help,
    /// Wrong usage.
    Usage(String),
    /// No daemon, or none that understands.
    Unanswered(Box<Trouble>),
    /// The work could not be done.
    Failed(Box<Trouble>),
    /// The result cannot be written.
    Output(io::Error),
}

impl Stop {
    /// The work could not be done, as a sentence says (see [`Trouble::new`]).
    pub fn failed(sentence: &str) -> Self {
        Self::with(codes::FAILED, sentence)
    }

    /// The work could not be done for a reason that has a code of its own.
    pub fn with(code: Code, sentence: &str) -> Self {
        Self::Failed(Trouble::new(code, sentence).into())
    }
}

impl From<lexopt::Error> for Stop {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Ends the command at the end of `path`: says why it could not do its work, and makes the exit
/// code.
pub(super) fn finish(result: Result<u8, Stop>, path: &[&Command], json: bool) -> ExitCode {
    let (code, trouble) = match result {
        Ok(code) => return ExitCode::from(code),
        Err(Stop::Help) => return finish(print(&help::help(path)).map(|()| 0), path, json),
        Err(Stop::Usage(error)) => {
            let name = name(path);
            let blank = if name.is_empty() { "" } else { " " };
            let next = format!("dm-gateway{blank}{name} --help");
            complain(&Trouble::new(codes::USAGE, &error).or_try(&next));
            note(&help::usage(path));
            return ExitCode::from(EX_USAGE);
        }
        Err(Stop::Unanswered(trouble)) => (UNANSWERED, trouble),
        Err(Stop::Failed(trouble)) => (1, trouble),
        Err(Stop::Output(error)) => {
            let sentence = format!("cannot write the result; cause: {}", plain(&error));
            complain(&Trouble::new(codes::OUTPUT, &sentence).or_try(codes::OUTPUT.remedy));
            return ExitCode::from(EX_IOERR);
        }
    };
    complain(&trouble);
    if json {
        // Whoever reads only the documents is told as well.
        let _ = write(&format!("{}\n", control::document(Failure { error: *trouble })));
    }
    ExitCode::from(code)
}

/// Says on standard error what went wrong, what makes it so, and what to try.
pub(super) fn complain(trouble: &Trouble) {
    note(&told(&format!("error[{}]", trouble.code), trouble));
}

/// A trouble for people: what is wrong, its cause and what to try, a line each.
pub(super) fn told(head: &str, trouble: &Trouble) -> String {
    let mut text = format!("{}: {}", printable(head), printable(&trouble.what));
    if let Some(cause) = &trouble.cause {
        text.push_str(&format!("\n  cause: {}", printable(cause)));
    }
    if let Some(next) = &trouble.next {
        text.push_str(&format!("\n  try: {}", printable(next)));
    }
    text
}

/// Says something on standard error. Where that is gone as well, the exit code has to do.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes text to standard output. A reader that has gone away wants no more, and is no error.
pub(super) fn print(text: &str) -> Result<(), Stop> {
    write(text).map(drop)
}

/// The arguments of one client command.
#[derive(Clone, Debug)]
pub(super) struct Call {
    target: Target,
    /// Whether JSON is wanted.
    pub(super) json: bool,
    /// Whether nothing is to be changed.
    pub(super) dry_run: bool,
    /// Whether a list is wanted as one row a line.
    rows: bool,
    /// How long a hasty question waits for each line.
    pub(super) patience: Duration,
    /// What stands beside the options: as many as were asked for.
    pub(super) operands: Vec<String>,
}

#[derive(Clone, Debug)]
enum Target {
    Config(PathBuf),
    Socket(PathBuf),
}

/// The daemon's answer.
#[derive(Debug)]
pub(super) struct Answer<T> {
    /// As it came.
    pub(super) line: String,
    /// What it says.
    pub(super) body: T,
}

impl Call {
    /// What the arguments of a command say that asks the daemon.
    pub(super) fn of(given: &Given) -> Self {
        let socket = given.path_of("socket").map(Target::Socket);
        let config = || given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
        Self {
            target: socket.unwrap_or_else(|| Target::Config(config())),
            json: given.form() != Form::Table,
            dry_run: given.has("dry-run"),
            rows: given.form() == Form::Lines,
            patience: CONTROL_TIME,
            operands: given.operands.clone(),
        }
    }

    /// The state directory of the daemon, by its configuration.
    pub(super) fn state_dir(given: &Given) -> Result<PathBuf, Stop> {
        let config = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
        config::state_directory(&config)
            .map_err(|error| Stop::with(error.code(), &error.to_string()))
    }

    /// Asks the daemon, which may refuse.
    pub(super) fn ask_for<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<Answer<T>, Stop> {
        let mut lines = self.lines(request, true)?;
        let line = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        understand(refused(line.map_err(broken)?)?)
    }

    /// Has the daemon do something, and prints what it did; or would do, where that is asked for.
    pub(super) fn have_done(&self, request: &Request) -> Result<u8, Stop> {
        if self.dry_run {
            let answer =
                self.ask_for::<Rehearsed>(&Request::DryRun { of: request.clone().into() })?;
            self.print(&answer, |answer| {
                let lines = answer.would.iter().map(|line| format!("would: {line}\n"));
                lines.chain(["nothing was changed\n".to_owned()]).collect()
            })?;
            return Ok(0);
        }
        let answer = self.ask_for::<Done>(request)?;
        self.print(&answer, |answer| answer.done.iter().map(|line| format!("{line}\n")).collect())?;
        Ok(0)
    }

    /// Asks the daemon and reads its one line.
    pub(super) fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<Answer<T>, Stop> {
        let mut lines = self.lines(request, true)?;
        let line = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        understand(line.map_err(broken)?)
    }

    /// Asks the daemon; its lines come as long as it sends them. `hasty` waits for each no longer
    /// than `patience`.
    pub(super) fn lines(
        &self,
        request: &Request,
        hasty: bool,
    ) -> Result<impl Iterator<Item = io::Result<String>> + use<>, Stop> {
        let socket = match &self.target {
            Target::Socket(path) => path.clone(),
            Target::Config(path) => config::control_socket(path).map_err(|error| {
                let sentence = format!("the control socket is not known; cause: {error}");
                unanswered(error.code(), &sentence)
            })?,
        };
        let client =
            control_socket::connect(&socket).map_err(|error| unreachable(&socket, &error))?;
        client.limit(hasty.then_some(self.patience)).map_err(broken)?;
        let line = serde_json::to_string(request).expect("text can be written as JSON");
        client.ask(&line).map_err(broken)
    }

    /// Prints an answer: the daemon's own line, its rows, or what `people` makes of it.
    pub(super) fn print<T>(
        &self,
        answer: &Answer<T>,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), Stop> {
        match (self.json, self.rows) {
            (true, true) => print(&rows(&answer.line)),
            (true, false) => print(&format!("{}\n", answer.line)),
            (false, _) => print(&people(&answer.body)),
        }
    }
}

/// A document that is nothing but a list, as one document for each row; another as it is.
pub(super) fn rows(line: &str) -> String {
    let list = serde_json::from_str::<Map<String, Value>>(line).ok().and_then(|document| {
        let mut fields = document.into_iter().filter(|(name, _)| name != "schema");
        match (fields.next(), fields.next()) {
            (Some((_, Value::Array(rows))), None) if rows.iter().all(Value::is_object) => {
                Some(rows)
            }
            _ => None,
        }
    });
    match list {
        Some(rows) => rows.iter().map(|row| control::document(row) + "\n").collect(),
        None => format!("{line}\n"),
    }
}

/// A line of the daemon's, unless it refuses.
pub(super) fn refused(line: String) -> Result<String, Stop> {
    match serde_json::from_str::<Document<Refused>>(&line) {
        Ok(Document { body: Refused { refused, code }, .. }) => {
            let code = code.and_then(|code| codes::find(&code)).copied();
            Err(Stop::Failed(Trouble::new(code.unwrap_or(codes::REFUSED), &refused).into()))
        }
        Err(_) => Ok(line),
    }
}

/// Reads a line of the daemon's.
pub(super) fn understand<T: DeserializeOwned>(line: String) -> Result<Answer<T>, Stop> {
    if let Ok(Document { body: Fault { error }, .. }) = serde_json::from_str(&line) {
        let sentence = format!("the daemon answers: {error}; try: {ANOTHER_WAY}");
        return Err(unanswered(codes::NOT_UNDERSTOOD, &sentence));
    }
    match serde_json::from_str::<Document<T>>(&line) {
        Ok(Document { body, .. }) => Ok(Answer { line, body }),
        Err(error) => Err(unanswered(
            codes::NOT_UNDERSTOOD,
            &format!("the daemon's answer is not understood; cause: {error}; try: {ANOTHER_WAY}"),
        )),
    }
}

/// Writes and flushes; false if the reader has gone away.
pub(super) fn write(text: &str) -> Result<bool, Stop> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Stop::Output(error)),
    }
}

/// A conversation that began and did not end well.
pub(super) fn broken(error: io::Error) -> Stop {
    let error = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "the daemon is there and does not answer in time; cause: it is stopped, or hangs".into()
        }
        io::ErrorKind::UnexpectedEof => "the daemon closed the connection".to_owned(),
        _ => format!("the control socket fails: {error}"),
    };
    unanswered(codes::UNREACHABLE, &format!("{error}; try: journalctl -u dm-gateway"))
}

const ANOTHER_WAY: &str = "again, as root or in the socket's group, with the command of the \
                           daemon's own version";

fn unanswered(code: Code, sentence: &str) -> Stop {
    Stop::Unanswered(Trouble::new(code, sentence).into())
}

/// Why nobody is reached at a socket, and what to try.
fn unreachable(socket: &Path, error: &io::Error) -> Stop {
    let start = "systemctl start dm-gateway, or --config or --socket of one that runs";
    let socket = socket.display();
    let sentence = match error.kind() {
        io::ErrorKind::NotFound => {
            format!("no dm-gateway answers; cause: there is no socket {socket}; try: {start}")
        }
        io::ErrorKind::ConnectionRefused => {
            format!("no dm-gateway answers; cause: nobody listens on {socket}; try: {start}")
        }
        io::ErrorKind::PermissionDenied => {
            let sentence = format!(
                "you may not use {socket}; try: as root, or as a member of its group (ls -l {socket})"
            );
            return unanswered(codes::FORBIDDEN, &sentence);
        }
        // Brings its own hint.
        io::ErrorKind::InvalidInput => error.to_string(),
        _ => format!("no dm-gateway answers; cause: {error}; try: {start}"),
    };
    unanswered(codes::UNREACHABLE, &sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_a_document_for_each_row() {
        let list = r#"{"schema":1,"devices":[{"id":"a","n":1},{"id":"b"}]}"#;
        let expected = "{\"schema\":1,\"id\":\"a\",\"n\":1}\n{\"schema\":1,\"id\":\"b\"}\n";
        assert_eq!(rows(list), expected);
        assert_eq!(rows(r#"{"schema":1,"devices":[]}"#), "");
        for whole in [r#"{"schema":1,"done":["x"]}"#, r#"{"schema":1,"a":[],"b":1}"#] {
            assert_eq!(rows(whole), format!("{whole}\n"));
        }
    }

    #[test]
    fn an_answer_of_nonsense_is_no_answer() {
        for line in ["", "{}", "[1]", r#"{"schema":1,"error":"no"}"#, r#"{"schema":1,"devices":1}"#]
        {
            let answer = understand::<crate::control::Devices>(line.to_owned());
            assert!(matches!(answer, Err(Stop::Unanswered(_))), "{line}");
        }
    }
}
