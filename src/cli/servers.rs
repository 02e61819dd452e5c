//! `dm-gateway servers`: the DM servers that end devices name.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, PRINTING, operand};
use crate::cli::table::{Table, age};
use crate::control::{Request, Servers};
use crate::gateway::view::ServerView;

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
            name: "approve",
            summary: "lets the gateway bootstrap itself to a wanted server",
            operands: &[operand("ID", Kind::Server, "the server's id")],
            options: &[ASKING, PRINTING],
            run: Some(approve),
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

fn approve(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    call.have_done(&Request::Approve { server: call.operands.concat() })
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
