//! `dm-gateway servers`: the DM servers that end devices name.

use crate::cli::client::{Call, Stop, finish, usage};
use crate::cli::table::{Table, age};
use crate::control::{Request, Servers};
use crate::gateway::view::ServerView;
use lexopt::Parser;
use std::process::ExitCode;

/// What `servers --help` prints.
pub const USAGE: &str = usage!(
    "servers",
    "\
Lists the DM servers that end devices named:
  mapped  it may wake devices through the gateway
  wanted  devices of a LAN with policy `bootstrap` ask for it
  noted   only devices of LANs with policy `ignore` name it"
);

const NONE: &str = "no DM servers yet: no end device has named one
try: `dm-gateway devices`; a device names its servers in its first session with the gateway
";

/// Runs `servers` with the arguments after that word.
pub fn run(arguments: Parser) -> ExitCode {
    finish(servers(arguments), USAGE)
}

fn servers(arguments: Parser) -> Result<u8, Stop> {
    let call = Call::read(arguments, &[])?;
    let answer = call.ask::<Servers>(&Request::Servers)?;
    call.print(&answer, |answer| table(&answer.servers))?;
    Ok(0)
}

fn table(servers: &[ServerView]) -> String {
    if servers.is_empty() {
        return NONE.to_owned();
    }
    let mut table = Table::new(&["ID", "STATE", "MAPPED", "WANTED", "NAMED"]);
    for server in servers {
        table.row([
            server.id.as_str(),
            &server.state,
            &number(server.mapped),
            &number(server.wanted),
            &format!("{} ago", age(server.age)),
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
            mapped,
            wanted,
            age: 7200,
        };
        assert_eq!(
            table(&[server("com.example.a", "mapped", 12, 0), server("b", "wanted", 0, 1)]),
            "ID             STATE   MAPPED  WANTED  NAMED\n\
             com.example.a  mapped  12      -       2 h ago\n\
             b              wanted  -       1       2 h ago\n"
        );
        assert!(table(&[]).starts_with("no DM servers yet: ") && table(&[]).contains("try: "));
    }
}
