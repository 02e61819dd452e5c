//! `dm-gateway servers`: the DM servers that end devices name.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, ASKING, CHANGING, Command, Given, Kind, PRINTING, operand};
use crate::cli::devices::{odd, verdicts};
use crate::cli::table::{Table, age, count, printable};
use crate::control::{Request, Servers};
use crate::gateway::view::{ServerDetails, ServerView};

/// `servers`.
pub const COMMAND: Command = Command {
    name: "servers",
    summary: "the DM servers: whom devices named, whom the gateway has accounts with",
    text: "\
States:
  active            the gateway is managed by it
  bootstrapping     an account is being looked for, or its first session is to come
  failed            the last session or search did; why is told
  wanted            devices of a LAN with policy `bootstrap` ask for it
  pending-approval  the same, and nobody has allowed it yet
  denied            the same, and an operator forbids it
  mapped            it may wake devices through the gateway
  noted             only devices of LANs with policy `ignore` name it",
    options: &[ASKING, PRINTING],
    commands: &[
        Command {
            name: "list",
            summary: "all of them; the same as servers alone",
            options: &[ASKING, PRINTING],
            run: Some(list),
            ..definition::COMMAND
        },
        Command {
            name: "show",
            summary: "everything known about one server, what is odd about it and what to do",
            operands: &[operand("ID", Kind::Server, "its id, or a part of it")],
            options: &[ASKING, PRINTING],
            exits: &[(1, "no server is known by it, or several are")],
            run: Some(show),
            ..definition::COMMAND
        },
        Command {
            name: "approve",
            summary: "lets the gateway bootstrap itself to a wanted server",
            operands: &[operand("ID", Kind::Server, "the server's id")],
            options: &[CHANGING, ASKING, PRINTING],
            run: Some(|given| rule(given, |server| Request::Approve { server })),
            ..definition::COMMAND
        },
        Command {
            name: "deny",
            summary: "forbids the gateway to bootstrap itself to a server, whoever wants it",
            text: "`servers approve` undoes it. Pushes of the server are judged as before.",
            operands: &[operand("ID", Kind::Server, "the server's id")],
            options: &[CHANGING, ASKING, PRINTING],
            run: Some(|given| rule(given, |server| Request::Deny { server })),
            ..definition::COMMAND
        },
    ],
    run: Some(list),
    ..definition::COMMAND
};

const NONE: &str = "no DM servers yet: no end device has named one
try: `dm-gateway devices`; a device names its servers in its first session with the gateway
";

fn list(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let answer = call.ask::<Servers>(&Request::Servers)?;
    call.print(&answer, |answer| table(&answer.servers))?;
    Ok(0)
}

fn rule(given: Given, request: fn(String) -> Request) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let server = call.operands.concat();
    call.have_done(&request(server))
}

fn show(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let answer =
        call.ask_for::<ServerDetails>(&Request::Server { server: call.operands.concat() })?;
    call.print(&answer, details)?;
    Ok(0)
}

fn details(details: &ServerDetails) -> String {
    let ServerDetails { server, account, pushes, troubles } = details;
    let account = if *account { "the gateway has one" } else { "none" };
    let facts = [
        ("account", account.to_owned()),
        ("mapped", count(server.mapped as u64, "device")),
        ("wanted", count(server.wanted as u64, "device")),
        ("named", server.age.map(|seconds| format!("{} ago", age(seconds))).unwrap_or_default()),
        ("why", server.why.clone().unwrap_or_default()),
    ];
    let mut text = format!("{}: {}\n", printable(&server.id), printable(&server.state));
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        text.push_str(&format!("  {name:7}  {}\n", printable(fact)));
    }
    text + &verdicts("devices that name it", pushes, |it| &it.device) + &odd(troubles)
}

fn table(servers: &[ServerView]) -> String {
    if servers.is_empty() {
        return NONE.to_owned();
    }
    let mut table = Table::new(&["ID", "STATE", "MAPPED", "WANTED", "NAMED", "NOTES"]);
    for server in servers {
        table.row([
            server.id.as_str(),
            &server.state,
            &number(server.mapped),
            &number(server.wanted),
            &server.age.map(|seconds| format!("{} ago", age(seconds))).unwrap_or_default(),
            server.why.as_deref().unwrap_or_default(),
        ]);
    }
    table.render()
}

/// Devices, nothing for none.
fn number(devices: usize) -> String {
    if devices == 0 { String::new() } else { devices.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_for_how_many_devices_a_server_is_mapped_and_wanted() {
        let server = |id: &str, state: &str, mapped, wanted| ServerView {
            id: id.into(),
            state: state.into(),
            why: None,
            mapped,
            wanted,
            age: Some(7200),
        };
        assert_eq!(
            table(&[server("com.example.a", "mapped", 12, 0), server("b", "wanted", 0, 1)]),
            "ID             STATE   MAPPED  WANTED  NAMED    NOTES\n\
             com.example.a  mapped  12      -       2 h ago  -\n\
             b              wanted  -       1       2 h ago  -\n"
        );
        assert!(table(&[]).starts_with("no DM servers yet: ") && table(&[]).contains("try: "));
    }
}
