//! The subcommands, one file each.
//!
//! [`COMMANDS`] has them all. `run` is the daemon; some ask it over its control socket, others work
//! by themselves.

pub mod apply;
pub mod audit;
pub mod backup;
pub mod bootstrap;
pub mod check;
pub mod client;
pub mod config;
pub mod decode;
pub mod definition;
#[cfg(feature = "simulate")]
pub mod demo;
pub mod devices;
pub mod factory_reset;
pub mod help;
pub mod log_level;
pub mod manual;
pub mod map;
pub mod metrics;
pub mod monitor;
pub mod narrate;
pub mod provision;
pub mod reload;
pub mod run;
pub mod servers;
pub mod session;
#[cfg(feature = "simulate")]
pub mod simulate;
pub mod status;
pub mod support_bundle;
mod table;
pub mod trace;
pub mod tree;
#[cfg(feature = "web")]
pub mod web;

use client::{Stop, finish, print};
use definition::{Command, Given, nearest};
use lexopt::{Arg, Parser};
use std::process::ExitCode;

/// Exit code of wrong usage, EX_USAGE of sysexits.h.
pub const EX_USAGE: u8 = 64;

/// The commands, in the order of the help.
pub const COMMANDS: &[Command] = &[
    run::COMMAND,
    status::COMMAND,
    check::COMMAND,
    devices::COMMAND,
    servers::COMMAND,
    map::COMMAND,
    session::COMMAND,
    tree::COMMAND,
    bootstrap::COMMAND,
    monitor::COMMAND,
    audit::COMMAND,
    backup::BACKUP,
    backup::RESTORE,
    factory_reset::COMMAND,
    provision::COMMAND,
    support_bundle::COMMAND,
    trace::COMMAND,
    metrics::COMMAND,
    #[cfg(feature = "web")]
    web::COMMAND,
    config::COMMAND,
    reload::COMMAND,
    apply::COMMAND,
    apply::CONFIRM,
    log_level::COMMAND,
    decode::COMMAND,
    manual::COMMAND,
    #[cfg(feature = "simulate")]
    demo::COMMAND,
    #[cfg(feature = "simulate")]
    simulate::COMMAND,
];

/// Commands that a build without simulators lacks.
const SIMULATORS: [&str; 2] = ["demo", "simulate"];

/// Runs the command that the arguments name.
pub fn main(arguments: Parser) -> ExitCode {
    let mut rest = arguments.clone();
    match rest.next() {
        Ok(Some(Arg::Long("version") | Arg::Short('V'))) => {
            let version = concat!("dm-gateway ", env!("CARGO_PKG_VERSION"), "\n");
            return finish(print(version).map(|()| 0), &[], false);
        }
        Ok(Some(Arg::Value(verb))) if verb == "help" => return explain(rest),
        Ok(Some(Arg::Value(verb)))
            if !cfg!(feature = "simulate") && SIMULATORS.iter().any(|name| verb == **name) =>
        {
            let verb = verb.to_string_lossy();
            let text = format!("this build has no {verb}: it was made without simulators");
            return finish(Err(Stop::Usage(text)), &[], false);
        }
        _ => {}
    }
    match definition::read(COMMANDS, arguments) {
        Ok(given) => carry_out(given),
        Err((path, stop)) => finish(Err(stop), &path, false),
    }
}

fn carry_out(given: Given) -> ExitCode {
    let path = given.path.clone();
    let json = given.form() != definition::Form::Table;
    let run = path.last().and_then(|command| command.run);
    finish(run.map_or(Ok(0), |run| run(given)), &path, json)
}

/// `help COMMAND` is `COMMAND --help`.
fn explain(mut words: Parser) -> ExitCode {
    let mut path = Vec::new();
    let mut commands = COMMANDS;
    while let Ok(Some(Arg::Value(word))) = words.next() {
        let Some(command) = commands.iter().find(|command| word == command.name) else {
            let word = word.to_string_lossy();
            let near = nearest(&word, commands.iter().map(|command| command.name));
            let hint = near.map_or_else(String::new, |near| format!(": is it `{near}`?"));
            let text = format!("there is no command `{word}`{hint}");
            return finish(Err(Stop::Usage(text)), &path, false);
        };
        path.push(command);
        commands = command.commands;
    }
    finish(Err(Stop::Help), &path, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands that ask only, print, or write nothing but files of their own.
    const UNCHANGING: &[&str] = &[
        "run",
        "status",
        "check",
        "devices",
        "devices list",
        "devices show",
        "servers",
        "servers list",
        "servers show",
        "servers test",
        "map",
        "map list",
        "map explain",
        "tree",
        "monitor",
        "audit",
        "backup",
        "provision sign",
        "provision key",
        "provision keygen",
        "support-bundle",
        "trace",
        "metrics",
        "web",
        "config check",
        "config show",
        "config doc",
        "decode",
        "manual",
        "demo",
        "simulate device",
        "simulate server",
        "simulate farm",
    ];

    #[test]
    fn every_command_that_changes_something_takes_dry_run() {
        fn visit(commands: &[Command], above: &str) {
            for command in commands {
                let name = format!("{above}{}", command.name);
                visit(command.commands, &format!("{name} "));
                let mut choices = command.options.iter().copied().flatten();
                let dry = choices.any(|choice| choice.long == "dry-run");
                if command.run.is_some() {
                    assert_ne!(dry, UNCHANGING.contains(&&*name), "{name}");
                }
            }
        }
        visit(COMMANDS, "");
    }
}
