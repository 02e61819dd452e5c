//! `dm-gateway servers`: the DM servers that end devices name.

use crate::cli::client::{Call, Stop, broken, refused, understand};
use crate::cli::definition::{self, ASKING, CHANGING, Command, Given, Kind, PRINTING, operand};
use crate::cli::devices::{odd, verdicts};
use crate::cli::table::{Table, age, count, printable};
use crate::control::{Request, Servers, StepLine};
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
        Command {
            name: "test",
            summary: "the way to a server that the gateway has an account with, step by step",
            text: "The URL, its name in DNS, each address, TLS, and a DM session at the end: the\n\
                   first step that fails says why. The daemon goes the way, so that it is its\n\
                   network, its certificates and its clock that count.",
            operands: &[operand("SERVER", Kind::Server, "the server's id")],
            options: &[ASKING, PRINTING],
            exits: &[(1, "a step failed, or there is no account with it")],
            run: Some(test),
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

fn test(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let server = call.operands.concat();
    let mut ok = false;
    for line in call.lines(&Request::Test { server: server.clone() }, false)? {
        let answer = understand::<StepLine>(refused(line.map_err(broken)?)?)?;
        call.print(&answer, |answer| step(answer, &server))?;
        ok = answer.body.ok && answer.body.step == "session";
    }
    Ok(u8::from(!ok))
}

/// `ok    tcp        12.5 ms  192.0.2.1:443 takes the connection`.
fn step(line: &StepLine, server: &str) -> String {
    let state = if line.ok { "ok  " } else { "FAIL" };
    let (step, what) = (printable(&line.step), printable(&line.what));
    let mut text = format!("{state}  {step:8}{:>9.1} ms  {what}\n", line.ms);
    if let Some(trouble) = &line.trouble {
        let mut row = |name: &str, what: &str| {
            text.push_str(&format!("{:23}{name}: {}\n", "", printable(what)));
        };
        row("code", &trouble.code);
        if let Some(cause) = &trouble.cause {
            row("cause", cause);
        }
        if let Some(next) = &trouble.next {
            row("try", &next.replace("SERVER", server));
        }
    }
    text
}

fn show(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let answer =
        call.ask_for::<ServerDetails>(&Request::Server { server: call.operands.concat() })?;
    call.print(&answer, details)?;
    Ok(0)
}

fn details(details: &ServerDetails) -> String {
    let ServerDetails { server, account, url, running, session, next, .. } = details;
    let account = match (account, url) {
        (true, Some(url)) => url,
        (true, None) => "the gateway has one",
        (false, _) => "none",
    };
    let last = session.as_ref().map(|session| {
        let how = match &session.trouble {
            Some(trouble) => format!("failed: {} ({})", trouble.what, trouble.code),
            None => "ended as it should".to_owned(),
        };
        format!("{} ago, {how}", age(session.age))
    });
    let next = match (running, next) {
        (true, _) => "it runs now".to_owned(),
        (false, Some(next)) => format!("in {}: {}", age(next.wait), next.why),
        (false, None) => String::new(),
    };
    let failed = match details.failures {
        0 => String::new(),
        failures => format!("{} in a row", count(failures, "time")),
    };
    let facts = [
        ("account", account.to_owned()),
        ("mapped", count(server.mapped as u64, "device")),
        ("wanted", count(server.wanted as u64, "device")),
        ("named", server.age.map(|seconds| format!("{} ago", age(seconds))).unwrap_or_default()),
        ("last", last.unwrap_or_default()),
        ("next", next),
        ("failed", failed),
        ("why", server.why.clone().unwrap_or_default()),
    ];
    let mut text = format!("{}: {}\n", printable(&server.id), printable(&server.state));
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        text.push_str(&format!("  {name:7}  {}\n", printable(fact)));
    }
    text + &verdicts("devices that name it", &details.pushes, |it| &it.device)
        + &odd(&details.troubles)
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
    use crate::codes::{self, Trouble};
    use crate::gateway::view::{NextView, SessionView};

    #[test]
    fn the_details_tell_where_it_is_and_how_sessions_go() {
        let server = ServerView {
            id: "com.example.a".into(),
            state: "failed".into(),
            why: None,
            code: None,
            mapped: 1,
            wanted: 0,
            age: None,
        };
        let trouble = Trouble::new(codes::DNS, "no such host");
        let details = ServerDetails {
            server,
            account: true,
            url: Some("https://dms.example/dm".into()),
            running: false,
            session: Some(SessionView { age: 125, ok: false, trouble: Some(trouble) }),
            next: Some(NextView { wait: 60, why: "it is time again".into() }),
            failures: 2,
            pushes: Vec::new(),
            troubles: Vec::new(),
        };
        let expected = "com.example.a: failed\n  account  https://dms.example/dm\n  mapped   1 \
                        device\n  wanted   0 devices\n  last     2 m ago, failed: no such host \
                        (GW-DNS-01)\n  next     in 1 m: it is time again\n  failed   2 times in \
                        a row\n";
        assert_eq!(super::details(&details), expected);
        let runs = super::details(&ServerDetails { running: true, session: None, ..details });
        assert!(runs.contains("  next     it runs now\n") && !runs.contains("last"), "{runs}");
    }

    #[test]
    fn the_table_tells_for_how_many_devices_a_server_is_mapped_and_wanted() {
        let server = |id: &str, state: &str, mapped, wanted| ServerView {
            id: id.into(),
            state: state.into(),
            why: None,
            code: None,
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
