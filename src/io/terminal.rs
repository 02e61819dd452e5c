//! Whoever sits at the terminal of a command is asked.

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};

/// Whether somebody sits there.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and reads a line.
///
/// # Errors
/// What the terminal says.
pub fn ask(question: &str) -> io::Result<String> {
    eprint!("{question} ");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Asks for a secret, which is not shown while it is typed.
///
/// # Errors
/// What the terminal says; there may be none.
pub fn ask_secretly(question: &str) -> io::Result<String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    terminal.write_all(question.as_bytes())?;
    terminal.write_all(b" ")?;
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &hidden)?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    tcsetattr(&terminal, SetArg::TCSAFLUSH, &shown)?;
    terminal.write_all(b"\n")?;
    read?;
    Ok(line.trim_end_matches('\n').to_owned())
}
