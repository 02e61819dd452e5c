//! `dm-gateway bootstrap apply FILE`: accounts from a bootstrap document.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, ASKING, CHANGING, Command, Given, Kind, PRINTING, operand};
use crate::control::Request;
use crate::io::{plain, read_bounded};
use crate::limits;
use crate::proto::bootstrap::{self, Source};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use std::path::Path;

/// `bootstrap`.
pub const COMMAND: Command = Command {
    name: "bootstrap",
    summary: "accounts with DM servers from a bootstrap document",
    commands: &[Command {
        name: "apply",
        summary: "makes, or makes anew, the accounts in a bootstrap document; all or nothing",
        text: "\
The document is a serialised tree (MgmtTree), a DM bootstrap message or a provisioning document
(w7), each as XML or WBXML. Prints a line for each account.",
        operands: &[operand("FILE", Kind::File, "the document")],
        options: &[CHANGING, ASKING, PRINTING],
        exits: &[(1, "it is not valid, or it is refused")],
        run: Some(apply),
        ..definition::COMMAND
    }],
    ..definition::COMMAND
};

fn apply(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let file = &call.operands.concat();
    let document = read_bounded(Path::new(file), limits::BOOTSTRAP).map_err(|error| {
        Stop::failed(&format!("cannot read {file}; cause: {}; try: ls -l {file}", plain(&error)))
    })?;
    // Said by the same code before the daemon is asked.
    bootstrap::read(&document, Source::Factory).map_err(|fault| {
        Stop::failed(&format!("{file}: {fault}; try: dm-gateway decode {file}"))
    })?;
    call.have_done(&Request::Apply { document: BASE64.encode(&document) })
}
