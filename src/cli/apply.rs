//! `dm-gateway apply FILE` and `dm-gateway confirm`: a piece of configuration on trial.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{
    self, ASKING, CHANGING, Command, Given, Kind, PRINTING, flag, operand, option,
};
use crate::cli::reload;
use crate::cli::table::{age, printable};
use crate::codes::{self, Trouble};
use crate::config::check::read_text;
use crate::config::view::{self, Difference};
use crate::control::{Applied, Reloaded, Request};
use crate::limits;
use std::path::Path;
use std::time::Duration;

/// `apply`.
pub const COMMAND: Command = Command {
    name: "apply",
    summary: "applies a piece of configuration on trial: it is taken back unless confirmed",
    text: "The file has the form of a file in conf.d. It counts after all of them, and instead of \
           what was applied before; an empty file takes that away. Nothing is applied if anything \
           is wrong. What was not confirmed in time is taken back, also after a restart or a power \
           cut, and at once if the daemon does not start with it.",
    operands: &[operand("FILE", Kind::File, "the piece of configuration")],
    options: &[
        &[
            option("trial", "TIME", Kind::Text, "how long it is on trial: 90s, 10m (default), 2h"),
            flag("restart", "starts the daemon anew if something needs that"),
        ],
        CHANGING,
        ASKING,
        PRINTING,
    ],
    exits: &[(1, "nothing is applied")],
    examples: &[
        ("dm-gateway apply --dry-run new.toml", "what would change"),
        ("dm-gateway apply --trial 10m new.toml", "tries it; then, if all is well:"),
        ("dm-gateway confirm", "keeps it"),
    ],
    run: Some(apply),
    ..definition::COMMAND
};

/// `confirm`.
pub const CONFIRM: Command = Command {
    name: "confirm",
    summary: "keeps the configuration that is on trial",
    text: "It is kept in conf.d/90-applied.toml, or in the state directory where the service may \
           not write there; config show --origin tells.",
    options: &[&[flag("discard", "takes it back instead")], CHANGING, ASKING, PRINTING],
    exits: &[(1, "nothing is on trial, or it cannot be kept")],
    run: Some(confirm),
    ..definition::COMMAND
};

fn apply(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let path = given.operand(0).unwrap_or_default();
    let text = read_text(Path::new(path)).map_err(|why| {
        let sentence = format!("{path} cannot be applied; cause: it {why}; try: ls -l {path}");
        Stop::Failed(Trouble::new(codes::APPLY, &sentence).into())
    })?;
    let request = Request::ApplyConfiguration {
        text,
        name: path.to_owned(),
        seconds: time_of(&given, "trial", limits::CONFIG_TRIAL)?.as_secs(),
        restart: given.has("restart"),
        dry_run: given.has("dry-run"),
    };
    let answer = call.ask_for::<Applied>(&request)?;
    call.print(&answer, report)?;
    Ok(0)
}

fn confirm(given: Given) -> Result<u8, Stop> {
    Call::of(&given).have_done(&Request::Confirm { discard: given.has("discard") })
}

/// The time that an option names, such as `90s` or `10m`.
pub(super) fn time_of(given: &Given, option: &str, usual: Duration) -> Result<Duration, Stop> {
    let Some(value) = given.value(option) else { return Ok(usual) };
    let text = value.to_string_lossy();
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let unit = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = unit.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit));
    let seconds = seconds.filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| {
        Stop::Usage(format!("--{option} takes a time such as 90s, 10m or 2h, not `{text}`"))
    })
}

fn report(applied: &Applied) -> String {
    let Applied { differences, reloaded, seconds } = applied;
    if *seconds == 0 {
        return rehearsal(applied);
    }
    let mut text: String = differences.iter().map(difference).collect();
    if !differences.is_empty() {
        text.push('\n');
    }
    text.push_str(&reload::report(reloaded));
    let rest = age(*seconds);
    text.push_str(&format!("on trial: taken back in {rest} unless you type: dm-gateway confirm\n"));
    text
}

/// What a dry run found, for people.
pub(super) fn rehearsal(applied: &Applied) -> String {
    let Applied { differences, reloaded, .. } = applied;
    let Reloaded { applied, restart, remote, trial, warnings, .. } = reloaded;
    let mut text: String = differences.iter().map(difference).collect();
    if differences.is_empty() && applied.is_empty() && restart.is_empty() {
        text.push_str("nothing would change\n");
    }
    for key in applied {
        text.push_str(&format!("would be applied: {}\n", printable(key)));
    }
    for key in restart {
        text.push_str(&format!("would wait for a restart: {}\n", printable(key)));
    }
    text.push_str(&reload::besides(remote, trial.as_deref(), warnings));
    text + "nothing is applied: this was a dry run\n"
}

fn difference(difference: &Difference) -> String {
    let mut text = String::new();
    let mut line = |sign: char, value: &Option<serde_json::Value>| {
        if let Some(value) = value {
            let (key, value) = (printable(&difference.key), view::toml(value));
            text.push_str(&format!("{sign} {key} = {}\n", printable(&value)));
        }
    };
    line('-', &difference.before);
    line('+', &difference.after);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::definition::read;
    use lexopt::Parser;

    #[test]
    fn times_have_units() {
        let time = |text: &str| {
            let arguments = ["apply", "f", "--trial", text];
            let given = read(&[COMMAND], Parser::from_args(arguments)).unwrap();
            time_of(&given, "trial", Duration::ZERO).map(|time| time.as_secs()).ok()
        };
        assert_eq!(time("90"), Some(90));
        assert_eq!(time("90s"), Some(90));
        assert_eq!(time("10m"), Some(600));
        assert_eq!(time("2h"), Some(7200));
        for wrong in ["", "0", "m", "-1s", "1w", "99999999999999999999h", "1.5m", "10mm"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_dry_run_tells_what_would_be() {
        let applied = Applied {
            differences: vec![Difference {
                key: "gateway.push-rate".into(),
                before: Some(1.into()),
                after: Some(2.into()),
            }],
            reloaded: Reloaded::default(),
            seconds: 0,
        };
        assert_eq!(
            report(&applied),
            "- gateway.push-rate = 1\n+ gateway.push-rate = 2\nnothing is applied: this was a dry \
             run\n"
        );
    }
}
