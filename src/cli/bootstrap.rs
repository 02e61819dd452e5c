//! `dm-gateway bootstrap apply FILE`: accounts from a bootstrap document.

use crate::cli::client::{Call, Stop, finish, usage};
use crate::control::Request;
use crate::io::{plain, read_bounded};
use crate::limits;
use crate::proto::bootstrap::{self, Source};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use lexopt::Parser;
use std::path::Path;
use std::process::ExitCode;

/// What `bootstrap --help` prints.
pub const USAGE: &str = usage!(
    "bootstrap apply FILE",
    "\
Makes, or makes anew, the accounts in a bootstrap document: a serialised tree (MgmtTree), a DM
bootstrap message or a provisioning document (w7), each as XML or WBXML. All of it or nothing.
Prints a line for each account."
);

/// Runs `bootstrap` with the arguments after that word.
pub fn run(arguments: Parser) -> ExitCode {
    finish(command(arguments), USAGE)
}

fn command(arguments: Parser) -> Result<u8, Stop> {
    let call = Call::read(arguments, &["apply", "FILE"])?;
    let [verb, file] = call.operands.as_slice() else { return Err(Stop::Help) };
    if verb != "apply" {
        return Err(Stop::Usage(format!("there is no `bootstrap {verb}`")));
    }
    let document = read_bounded(Path::new(file), limits::BOOTSTRAP).map_err(|error| {
        Stop::failed(&format!("cannot read {file}; cause: {}; try: ls -l {file}", plain(&error)))
    })?;
    // Said by the same code before the daemon is asked.
    bootstrap::read(&document, Source::Factory).map_err(|fault| {
        Stop::failed(&format!("{file}: {fault}; try: dm-gateway decode {file}"))
    })?;
    call.have_done(&Request::Apply { document: BASE64.encode(&document) })
}
