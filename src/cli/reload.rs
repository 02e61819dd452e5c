//! `dm-gateway reload`: the daemon reads its configuration anew.

use crate::cli::apply;
use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, ASKING, CHANGING, Command, Given, PRINTING, flag};
use crate::cli::table::printable;
use crate::codes;
use crate::config::view;
use crate::control::{Applied, Reloaded, Request};
use crate::gateway::management::RemoteValue;

/// `reload`.
pub const COMMAND: Command = Command {
    name: "reload",
    summary: "the daemon reads its configuration anew, all of it or nothing",
    text: "With any error nothing changes, and the error is told. Else all that can change without \
           a restart counts at once; keys that need one are listed and keep their old value. \
           Sessions, mappings and pushes that are held go on. \
           Bootstrap documents in the directories of [bootstrap], and those that were provisioned, \
           are read again. SIGHUP and systemctl reload do the \
           same.",
    options: &[
        &[flag("restart", "starts the daemon anew if something needs that")],
        CHANGING,
        ASKING,
        PRINTING,
    ],
    exits: &[(1, "the new configuration is not used")],
    run: Some(reload),
    ..definition::COMMAND
};

fn reload(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let restart = given.has("restart");
    let request = Request::Reload { restart };
    if call.dry_run {
        let answer = call.ask_for::<Applied>(&Request::DryRun { of: request.into() })?;
        call.print(&answer, apply::rehearsal)?;
        return Ok(0);
    }
    let answer = call.ask_for::<Reloaded>(&request)?;
    call.print(&answer, report)?;
    Ok(0)
}

/// What a reload did, for people.
pub(super) fn report(reloaded: &Reloaded) -> String {
    let Reloaded { applied, restart, remote, trial, warnings, restarts, .. } = reloaded;
    let mut text = String::new();
    if applied.is_empty() && restart.is_empty() {
        text.push_str("nothing has changed\n");
    }
    for key in applied {
        text.push_str(&format!("applied: {}\n", printable(key)));
    }
    for key in restart {
        text.push_str(&format!("waits for a restart: {}\n", printable(key)));
    }
    text.push_str(&besides(remote, trial.as_deref(), warnings));
    if *restarts {
        text.push_str("the daemon starts anew now\n");
    } else if !restart.is_empty() {
        text.push_str("try: dm-gateway reload --restart, or systemctl restart dm-gateway\n");
    }
    text
}

/// What there is to know besides the keys.
pub(super) fn besides(remote: &[RemoteValue], trial: Option<&str>, warnings: &[String]) -> String {
    let mut text = String::new();
    for value in remote.iter().filter(|value| !value.locked) {
        let (key, value) = (printable(&value.key), view::toml(&value.value));
        text.push_str(&format!("set by a DM server: {key} = {}\n", printable(&value)));
    }
    if let Some(server) = trial {
        let server = printable(server);
        text.push_str(&format!("a change of {server} is on trial, before and after\n"));
    }
    for warning in warnings {
        text.push_str(&format!("warning[{}]: {}\n", codes::CONFIG_ODD, printable(warning)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_what_counts_and_what_waits() {
        let reloaded = Reloaded {
            applied: vec!["lan.crew.policy".into()],
            restart: vec!["wan.push-listen".into()],
            remote: vec![RemoteValue {
                key: "gateway.public-address".into(),
                value: "192.0.2.1".into(),
                locked: false,
            }],
            ..Reloaded::default()
        };
        assert_eq!(
            report(&reloaded),
            "applied: lan.crew.policy\nwaits for a restart: wan.push-listen\nset by a DM server: \
             gateway.public-address = \"192.0.2.1\"\ntry: dm-gateway reload --restart, or systemctl \
             restart dm-gateway\n"
        );
        assert_eq!(report(&Reloaded::default()), "nothing has changed\n");
    }
}
