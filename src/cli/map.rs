//! `dm-gateway map list | explain`: who may wake whom, and why.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{
    self, ASKING, CHANGING, Command, Given, Kind, Operand, PRINTING, operand,
};
use crate::cli::table::{Table, age, printable};
use crate::control::{Mappings, Request};
use crate::gateway::view::{Explanation, MappingView};

/// `map`.
pub const COMMAND: Command = Command {
    name: "map",
    summary: "which DM server may wake which end device, and why",
    commands: &[
        Command {
            name: "list",
            summary: "the mappings in force: which DM server may wake which end device",
            options: &[ASKING, PRINTING],
            run: Some(list),
            ..definition::COMMAND
        },
        Command {
            name: "explain",
            summary: "whether a push of a server for a device would pass, and by which rule",
            operands: PAIR,
            options: &[ASKING, PRINTING],
            exits: &[(1, "it would be refused")],
            run: Some(explain),
            ..definition::COMMAND
        },
        Command {
            name: "add",
            summary: "lets a server wake a device that did not name it",
            text: "\
Whatever the policy of the device's LAN. It stays until `map remove`, or until the device is
forgotten. Where `map remove` took away what the device names, that is the device's again.",
            operands: PAIR,
            options: &[CHANGING, ASKING, PRINTING],
            run: Some(|given| pair(given, |server, device| Request::Map { server, device })),
            ..definition::COMMAND
        },
        Command {
            name: "remove",
            summary: "forbids a server to wake a device",
            text: "\
If the device names the server, the mapping stays removed whatever it names later, until `map add`.",
            operands: PAIR,
            options: &[CHANGING, ASKING, PRINTING],
            run: Some(|given| pair(given, |server, device| Request::Unmap { server, device })),
            ..definition::COMMAND
        },
    ],
    ..definition::COMMAND
};

const PAIR: &[Operand] = &[
    operand("SERVER", Kind::Server, "the server's id"),
    operand("DEVICE", Kind::Device, "the device's id or alias"),
];

const NONE: &str = "no mappings yet: no device on a LAN with policy `transparent` has named a DM \
                    server
try: `dm-gateway servers` and `dm-gateway devices` tell who was named by whom;
     `dm-gateway map explain SERVER DEVICE` tells the rule
";

fn list(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let answer = call.ask::<Mappings>(&Request::Mappings)?;
    call.print(&answer, |answer| table(&answer.mappings))?;
    Ok(0)
}

fn explain(given: Given) -> Result<u8, Stop> {
    let mut call = Call::of(&given);
    let (Some(device), Some(server)) = (call.operands.pop(), call.operands.pop()) else {
        return Err(Stop::Usage("SERVER is missing".into()));
    };
    let answer = call.ask::<Explanation>(&Request::Explain { server, device })?;
    call.print(&answer, verdict)?;
    Ok(u8::from(!answer.body.allowed))
}

fn pair(given: Given, request: fn(String, String) -> Request) -> Result<u8, Stop> {
    let mut call = Call::of(&given);
    let (Some(device), Some(server)) = (call.operands.pop(), call.operands.pop()) else {
        return Err(Stop::Usage("SERVER is missing".into()));
    };
    call.have_done(&request(server, device))
}

fn table(mappings: &[MappingView]) -> String {
    if mappings.is_empty() {
        return NONE.to_owned();
    }
    let mut table = Table::new(&["SERVER", "DEVICE", "LAN", "NAMED", "NOTES"]);
    for mapping in mappings {
        let by_operator = mapping.origin == "operator";
        let notes = [
            (by_operator, "by an operator"),
            (mapping.unconfirmed, "unconfirmed"),
            (mapping.waiting, "trigger waiting"),
        ];
        let notes: Vec<_> = notes.into_iter().filter(|note| note.0).map(|note| note.1).collect();
        table.row([
            mapping.server.as_str(),
            &mapping.device,
            &mapping.lan,
            &if by_operator { String::new() } else { format!("{} ago", age(mapping.age)) },
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
        let hint = hint.replace("SERVER", &printable(server));
        let hint = hint.replace("DEVICE", &printable(device));
        text.push_str(&format!("try:     {hint}\n"));
    }
    text
}

/// What to do about a rule that refuses.
fn hint(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "device-unknown" => "`dm-gateway devices` lists the identities that are known",
        "lan-gone" => "put the [[lan]] back, or connect the device to another",
        "device-blocked" => "dm-gateway devices unblock DEVICE",
        "operator-removed" => "dm-gateway map add SERVER DEVICE",
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
            origin: "device".into(),
        };
        let added = MappingView {
            server: "com.example.new".into(),
            unconfirmed: false,
            waiting: false,
            origin: "operator".into(),
            ..mapping.clone()
        };
        assert_eq!(
            table(&[mapping, added]),
            "SERVER           DEVICE  LAN    NAMED    NOTES\n\
             com.example.dms  IMEI:1  depot  5 d ago  unconfirmed, trigger waiting\n\
             com.example.new  IMEI:1  depot  -        by an operator\n"
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
            Rule::Blocked,
            Rule::Removed,
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
