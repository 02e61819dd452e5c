//! `dm-gateway log-level LEVEL`: more or less in the log of a running daemon, for some time.

use crate::cli::apply::time_of;
use crate::cli::client::{Call, Stop};
use crate::cli::definition::{
    self, ASKING, CHANGING, Command, Given, Kind, Operand, PRINTING, Times, option,
};
use crate::control::Request;
use crate::limits;

/// `log-level`.
pub const COMMAND: Command = Command {
    name: "log-level",
    summary: "how much the running daemon logs, for some time",
    text: "Without a LEVEL: how much it logs now. After the time, and at a restart, it is again \
           what [log] level says.",
    operands: &[Operand {
        name: "LEVEL",
        text: "error, warn, info, debug or trace",
        times: Times::Optional,
        kind: Kind::Words(&["error", "warn", "info", "debug", "trace"]),
    }],
    options: &[
        &[
            option("for", "TIME", Kind::Text, "for how long: 90s, 15m (default), 2h"),
            option("module", "MODULE", Kind::Text, "of this one only, such as gateway::forward"),
        ],
        CHANGING,
        ASKING,
        PRINTING,
    ],
    exits: &[(1, "refused")],
    examples: &[("dm-gateway log-level debug --for 5m --module gateway", "why a push is refused")],
    run: Some(log_level),
    ..definition::COMMAND
};

fn log_level(given: Given) -> Result<u8, Stop> {
    let module = given.value("module").map(|module| module.to_string_lossy().into_owned());
    let request = Request::LogLevel {
        level: given.operand(0).map(str::to_owned),
        seconds: time_of(&given, "for", limits::LOG_TIME)?.as_secs(),
        module,
    };
    let mut call = Call::of(&given);
    // A question changes nothing anyway.
    call.dry_run &= given.operand(0).is_some();
    call.have_done(&request)
}
