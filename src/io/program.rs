//! Runs a program of the administrator's: something on its standard input, no environment of ours,
//! and an end.

use std::cell::RefCell;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{self, ExitStatus, Stdio};
use std::time::Duration;

use async_io::Timer;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::process::{ChildStderr, Command};

use super::plain;

/// Where programs look for programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Octets of what it complains that are read.
const COMPLAINT: usize = 512;

/// Wait for the complaint of a program that has ended badly.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Has no program that is started from now on inherit a privilege: capabilities that this process was
/// given to pass on (a unit's AmbientCapabilities=) stay its own. To be called before there is a
/// second thread.
pub fn keep_privileges() {
    // Kernels before 4.3 have no such set, and pass nothing on.
    if let Err(error) = rustix::thread::clear_ambient_capability_set() {
        log::debug!("no ambient capabilities to be cleared: {}", plain(&error.into()));
    }
}

/// Runs `path` without a shell: `input` on standard input, standard output to nowhere, in `/`,
/// with PATH and `variable` for an environment. After `time` it is killed.
///
/// # Errors
/// A phrase that says what went wrong: it cannot be run, it took too long, it failed; with the
/// first line of what it wrote to standard error.
pub async fn run(
    path: &Path,
    variable: (&str, &str),
    input: &str,
    time: Duration,
) -> Result<(), String> {
    let mut command = process::Command::new(path);
    command
        .env_clear()
        .env("PATH", PATH)
        .env(variable.0, variable.1)
        .current_dir("/")
        // With those that it starts it is one group, which ends as a whole.
        .process_group(0);
    let mut child = Command::from(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot be run: {}", plain(&error)))?;
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let said = RefCell::new(Vec::new());
    let talk = async {
        let write = async {
            // Whoever does not read its input need not.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        future::zip(write, listen(stderr, &said)).await;
        future::pending().await
    };
    let ended = async {
        let status = child.status().await;
        if !status.as_ref().is_ok_and(ExitStatus::success) {
            // What it said last is on its way.
            Timer::after(LAST_WORDS).await;
        }
        Some(status)
    };
    let late = async {
        Timer::after(time).await;
        None
    };
    let status = future::or(future::or(ended, talk), late).await;
    let how = match status {
        Some(Ok(status)) if status.success() => return Ok(()),
        Some(Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "did not end well".to_owned(),
        },
        Some(Err(error)) => format!("is lost: {}", plain(&error)),
        None => {
            if let Ok(group) = group {
                // It may have ended this instant.
                let _ = killpg(group, Signal::SIGKILL);
            }
            format!("took longer than {} s and was killed", time.as_secs())
        }
    };
    let said = String::from_utf8_lossy(&said.borrow()).lines().next().map(str::to_owned);
    Err(match said.as_deref().map(str::trim) {
        None | Some("") => how,
        Some(said) => format!("{how}: {said}"),
    })
}

/// Reads what a program complains: the beginning is kept.
async fn listen(stderr: Option<ChildStderr>, said: &RefCell<Vec<u8>>) {
    let Some(mut stderr) = stderr else { return };
    let mut part = [0; COMPLAINT];
    while let Ok(count @ 1..) = stderr.read(&mut part).await {
        let mut said = said.borrow_mut();
        let room = COMPLAINT.saturating_sub(said.len()).min(count);
        said.extend_from_slice(part.get(..room).unwrap_or_default());
    }
}
