//! `dm-gateway map list | explain`: who may wake whom, and why.

use crate::cli::client::{Call, Stop, finish, usage};
use crate::cli::table::{Table, age, printable};
use crate::control::{Mappings, Request};
use crate::gateway::view::{Explanation, MappingView};
use lexopt::{Arg, Parser, ValueExt};
use std::process::ExitCode;

/// What `map --help` prints.
pub const USAGE: &str = usage!(
    "map list | map explain SERVER DEVICE",
    "\
Tells which DM server may wake which end device, and why:
  list     lists the mappings in force: which DM server may wake which end device
  explain  tells whether a push of SERVER for DEVICE would pass, and by which rule;
           exit code 0: it would pass, 1: it would be refused"
);

const NONE: &str = "no mappings yet: no device on a LAN with policy `transparent` has named a DM \
                    server
try: `dm-gateway servers` and `dm-gateway devices` tell who was named by whom;
     `dm-gateway map explain SERVER DEVICE` tells the rule
";

/// Runs `map` with the arguments after that word.
pub fn run(arguments: Parser) -> ExitCode {
    finish(map(arguments), USAGE)
}

fn map(mut arguments: Parser) -> Result<u8, Stop> {
    let verb = match arguments.next()? {
        Some(Arg::Value(verb)) => verb.string()?,
        Some(Arg::Long("help") | Arg::Short('h')) => return Err(Stop::Help),
        _ => return Err(Stop::Usage("map what: list or explain?".into())),
    };
    match verb.as_str() {
        "list" => list(&Call::read(arguments, &[])?),
        "explain" => explain(Call::read(arguments, &["SERVER", "DEVICE"])?),
        other => Err(Stop::Usage(format!("map has no {other}: list or explain?"))),
    }
}

fn list(call: &Call) -> Result<u8, Stop> {
    let answer = call.ask::<Mappings>(&Request::Mappings)?;
    call.print(&answer, |answer| table(&answer.mappings))?;
    Ok(0)
}

fn explain(mut call: Call) -> Result<u8, Stop> {
    let (Some(device), Some(server)) = (call.operands.pop(), call.operands.pop()) else {
        return Err(Stop::Usage("SERVER is missing".into()));
    };
    let answer = call.ask::<Explanation>(&Request::Explain { server, device })?;
    call.print(&answer, verdict)?;
    Ok(u8::from(!answer.body.allowed))
}

fn table(mappings: &[MappingView]) -> String {
    if mappings.is_empty() {
        return NONE.to_owned();
    }
    let mut table = Table::new(&["SERVER", "DEVICE", "LAN", "NAMED", "NOTES"]);
    for mapping in mappings {
        let notes = [(mapping.unconfirmed, "unconfirmed"), (mapping.waiting, "trigger waiting")];
        let notes: Vec<_> = notes.into_iter().filter(|note| note.0).map(|note| note.1).collect();
        table.row([
            mapping.server.as_str(),
            &mapping.device,
            &mapping.lan,
            &format!("{} ago", age(mapping.age)),
            &notes.join(", "),
        ]);
    }
    table.render()
}

fn verdict(explanation: &Explanation) -> String {
    let Explanation { server, device, allowed, rule, why, now } = explanation;
    let head = if *allowed { "allowed" } else { "refused" };
    let mut text = format!(
        "{head}: a push of {} for {}\nrule:    {}: {}\n",
        printable(server),
        printable(device),
        printable(rule),
        printable(why)
    );
    if let Some(now) = now {
        text.push_str(&format!("now:     {}\n", printable(now)));
    }
    if let Some(hint) = hint(rule) {
        text.push_str(&format!("try:     {hint}\n"));
    }
    text
}

/// What to do about a rule that refuses.
fn hint(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "device-unknown" => "`dm-gateway devices` lists the identities that are known",
        "lan-gone" => "put the [[lan]] back, or connect the device to another",
        "no-account" => "policy = \"transparent\" for the LAN, if its devices may choose",
        "list-outdated" => "wait for the device's next session, or attach it anew",
        "server-unknown" | "not-named" => {
            "`dm-gateway devices --json` tells the servers that each device named"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::forward::Rule;

    #[test]
    fn the_table_tells_which_server_may_wake_which_device() {
        let mapping = MappingView {
            server: "com.example.dms".into(),
            device: "IMEI:1".into(),
            lan: "depot".into(),
            age: 5 * 86_400,
            unconfirmed: true,
            waiting: true,
        };
        assert_eq!(
            table(&[mapping]),
            "SERVER           DEVICE  LAN    NAMED    NOTES\n\
             com.example.dms  IMEI:1  depot  5 d ago  unconfirmed, trigger waiting\n"
        );
        assert!(table(&[]).starts_with("no mappings yet: ") && table(&[]).contains("try: "));
    }

    #[test]
    fn a_verdict_names_the_rule_and_what_to_do_about_it() {
        let explanation = |rule: Rule| Explanation {
            server: "s".into(),
            device: "d\u{1b}".into(),
            allowed: rule == Rule::Mapped,
            rule: rule.name().into(),
            why: rule.sentence().into(),
            now: (rule == Rule::Mapped).then(|| "it would be sent to 192.0.2.7:2948".into()),
        };
        assert_eq!(
            verdict(&explanation(Rule::Mapped)),
            format!(
                "allowed: a push of s for d\\u{{1b}}\nrule:    mapped: {}\nnow:     it would be \
                 sent to 192.0.2.7:2948\n",
                Rule::Mapped.sentence()
            )
        );
        let refusing = [
            Rule::DeviceUnknown,
            Rule::LanGone,
            Rule::NoAccount,
            Rule::ListOutdated,
            Rule::ServerUnknown,
            Rule::NotNamed,
        ];
        for rule in refusing {
            let text = verdict(&explanation(rule));
            assert!(text.starts_with("refused: ") && text.contains("\ntry:     "), "{text}");
        }
    }
}
