//! The subcommands, one file each.
//!
//! `run` is the daemon; `status`, `devices`, `servers`, `session`, `tree`, `bootstrap`, `map` and
//! `monitor` ask it over its control socket; `decode`, `demo` and `simulate` work by themselves.

pub mod bootstrap;
pub mod client;
pub mod decode;
pub mod definition;
#[cfg(feature = "simulate")]
pub mod demo;
pub mod devices;
pub mod help;
pub mod map;
pub mod metrics;
pub mod monitor;
pub mod narrate;
pub mod run;
pub mod servers;
pub mod session;
#[cfg(feature = "simulate")]
pub mod simulate;
pub mod status;
mod table;
pub mod tree;

use crate::codes::{self, Code, Trouble};
use client::{Stop, finish};
use definition::{Command, Given};
use lexopt::{Arg, Parser, ValueExt as _};
use std::process::ExitCode;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: dm-gateway COMMAND [options]; each COMMAND explains itself with --help

  run       the gateway, in the foreground
  status    whether all is well; if not, what is wrong and what to try
  devices   the end devices: where they are, whom they named
            provision ID: an account for the gateway on one of them
  servers   the DM servers: whom devices named, whom the gateway has accounts with
            approve ID: the gateway may bootstrap itself to a wanted one
  session   SERVER: a DM session with a server, now
  tree      [URI]: the management tree that DM servers see
  bootstrap apply FILE: accounts from a bootstrap document
  map       list: who may wake whom; explain SERVER DEVICE: why, or why not
  monitor   what happens, while it happens
  metrics   counters and gauges, as OpenMetrics text
  decode    what a push, a Package #0 or a SyncML message says, and violates
  demo      the gateway at work with simulated end devices and DM servers
  simulate  one simulated end device or DM server, or thousands

dm-gateway --version prints the version. A router build has no demo and no simulate.
";

/// Exit code of wrong usage, EX_USAGE of sysexits.h.
pub const EX_USAGE: u8 = 64;

/// The commands, in the order of the help.
pub const COMMANDS: &[Command] = &[status::COMMAND, metrics::COMMAND];

/// Runs the command that the arguments name.
pub fn main(mut arguments: Parser) -> ExitCode {
    let verb = match arguments.next() {
        Ok(Some(Arg::Value(verb))) => verb.string(),
        Ok(Some(Arg::Long("help") | Arg::Short('h'))) => return print(USAGE),
        Ok(Some(Arg::Long("version") | Arg::Short('V'))) => {
            return print(concat!("dm-gateway ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Ok(Some(Arg::Long(option))) => {
            let text = format!("--{option} stands before the COMMAND, it belongs behind it");
            return finish(Err(Stop::Usage(text)), USAGE);
        }
        Ok(Some(other)) => Err(other.unexpected()),
        Ok(None) => return finish(Err(Stop::Usage("which command?".into())), USAGE),
        Err(error) => Err(error),
    };
    let verb = match verb {
        Ok(verb) => verb,
        Err(error) => return finish(Err(error.into()), USAGE),
    };
    if let Some(command) = COMMANDS.iter().find(|command| command.name == verb) {
        return match definition::read_below(command, arguments) {
            Ok(given) => carry_out(given),
            Err((path, stop)) => finish(Err(stop), &help::help(&path)),
        };
    }
    match verb.as_str() {
        "run" => run::run(arguments),
        "devices" => devices::run(arguments),
        "servers" => servers::run(arguments),
        "map" => map::run(arguments),
        "monitor" => monitor::run(arguments),
        "session" => session::run(arguments),
        "tree" => tree::run(arguments),
        "bootstrap" => bootstrap::run(arguments),
        "decode" => decode::command(arguments),
        #[cfg(feature = "simulate")]
        "demo" => demo::run(arguments),
        #[cfg(feature = "simulate")]
        "simulate" => simulate::run(arguments),
        "help" => print(USAGE),
        #[cfg(not(feature = "simulate"))]
        "demo" | "simulate" => {
            let text = format!("this build has no {verb}: it was made without simulators");
            finish(Err(Stop::Usage(text)), USAGE)
        }
        _ => finish(Err(Stop::Usage(format!("there is no command `{verb}`"))), USAGE),
    }
}

fn carry_out(given: Given) -> ExitCode {
    let path = given.path.clone();
    let run = path.last().and_then(|command| command.run);
    finish(run.map_or(Ok(0), |run| run(given)), &help::help(&path))
}

/// Prints `text` and succeeds.
fn print(text: &str) -> ExitCode {
    finish(client::print(text).map(|()| 0), "")
}

/// Says what is wrong with the arguments, and what to try instead.
fn usage(error: &lexopt::Error, hint: &str) -> ExitCode {
    client::complain(&Trouble::new(codes::USAGE, &error.to_string()).or_try(hint));
    ExitCode::from(EX_USAGE)
}

/// Says why the work could not be done, and by which code; `text` brings its hint.
fn fail_with(code: Code, text: &str) -> ExitCode {
    finish(Err(Stop::Failed(Trouble::new(code, text).into())), "")
}

/// Says why the work could not be done; `text` brings its hint.
fn fail(text: &str) -> ExitCode {
    finish(Err(Stop::failed(text)), "")
}
