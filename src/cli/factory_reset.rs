//! `dm-gateway factory-reset`: back to the image's factory files.

use crate::cli::backup::{identity, identity_text, now, tell};
use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, CHANGING, Command, Given, Kind, PRINTING, flag, option};
use crate::codes::{self, Trouble};
use crate::config::{self, Layout};
use crate::io::state::{IDENTITY, PROVISIONED, Reset};
use crate::io::terminal;
use std::io;
use std::path::Path;

/// `factory-reset`.
pub const COMMAND: Command = Command {
    name: "factory-reset",
    summary: "forgets everything that was learnt, applied or provisioned",
    text: "\
What is left are the image's files: configuration and bootstrap documents below /usr and /etc.
Devices, mappings, accounts, what DM servers set, and what `apply`, `provision` and `restore`
brought go, also what `apply` left in conf.d. The audit stays, and tells of it. A store that is
broken does not hinder it.

If the daemon runs, it is done at its next start, and `status` tells so until then. A power cut only
delays it.",
    options: &[
        &[
            flag("keep-identity", "the unit keeps the ids that it was provisioned with"),
            flag("yes", "does not ask"),
        ],
        CHANGING,
        &[option("config", "FILE", Kind::File, "the configuration that the daemon runs with")],
        PRINTING,
    ],
    exits: &[(1, "nothing was reset")],
    run: Some(factory_reset),
    ..definition::COMMAND
};

fn factory_reset(given: Given) -> Result<u8, Stop> {
    let state_dir = Call::state_dir(&given)?;
    let failed = |error: io::Error| {
        Stop::Failed(
            Trouble::new(codes::RESET, &error.to_string()).or_try(codes::RESET.remedy).into(),
        )
    };
    let main = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
    let applied = Layout::of(&main).applied_drop_in();
    let takes = Reset::takes(&state_dir, &applied);
    let identity = if given.has("keep-identity") { kept(&given, &state_dir)? } else { None };
    let mut lines: Vec<_> = takes.iter().map(|path| format!("{} goes", path.display())).collect();
    if identity.is_some() {
        lines.push("the identity stays".to_owned());
    }
    lines.push(format!("{} stays", state_dir.join("audit").display()));
    if given.has("dry-run") {
        return tell(&given, lines, true);
    }
    if !given.has("yes") && !agreed(&state_dir) {
        let sentence = "nobody said yes; try: dm-gateway factory-reset --yes";
        return Err(Stop::with(codes::RESET, sentence));
    }
    let by = format!("uid:{}", nix::unistd::getuid());
    Reset { by, time: now(), identity }.order(&state_dir).map_err(failed)?;
    match Reset::finish(&state_dir, &applied) {
        Ok(_) if applied.symlink_metadata().is_ok() => {
            let sentence = format!("all is reset but {0}; try: as root: rm {0}", applied.display());
            return Err(Stop::with(codes::RESET, &sentence));
        }
        Ok(_) => lines.push("done".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => lines.push(
            "the daemon runs: it is done at its next start; try: systemctl restart dm-gateway"
                .to_owned(),
        ),
        Err(error) => return Err(failed(error)),
    }
    tell(&given, lines, false)
}

/// What gives the unit its identity, if that is something a reset takes away.
fn kept(given: &Given, state_dir: &Path) -> Result<Option<String>, Stop> {
    let is_given = [IDENTITY, PROVISIONED].iter().any(|name| state_dir.join(name).exists());
    if !is_given {
        return Ok(None);
    }
    let (gateway, device) = identity(given)?;
    Ok(Some(identity_text(&gateway, &device)))
}

fn agreed(state_dir: &Path) -> bool {
    let question = format!("Forget all in {} but the audit? [yes/no]", state_dir.display());
    terminal::is_there() && terminal::ask(&question).is_ok_and(|answer| answer == "yes")
}
