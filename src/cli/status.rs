//! `dm-gateway status`: whether all is well; if not, what is wrong and what to try.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, ASKING, Command, Given, PRINTING};
use crate::cli::table::{age, columns, count, printable};
use crate::control::{ConfigurationState, IoCounters, Request, StatusAnswer};
use crate::gateway::view::{Health, Lan, Status};

/// `status`.
pub const COMMAND: Command = Command {
    name: "status",
    summary: "whether all is well; if not, what is wrong and what to try",
    text: "Counters count since the daemon's start.",
    options: &[ASKING, PRINTING],
    exits: &[(1, "degraded"), (2, "down")],
    run: Some(status),
    ..definition::COMMAND
};

/// Columns of a reason's name.
const REASON: usize = 19;

fn status(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let answer = call.ask::<StatusAnswer>(&Request::Status)?;
    call.print(&answer, report)?;
    Ok(match answer.body.status.health {
        Health::Healthy => 0,
        Health::Degraded => 1,
        Health::Down => 2,
    })
}

fn report(answer: &StatusAnswer) -> String {
    let StatusAnswer { status, io, configuration } = answer;
    let mut text = headline(status);
    text.push_str(&of_configuration(configuration));
    text.push('\n');
    text.push_str(&facts(status, io));
    if !status.lans.is_empty() {
        text.push_str("\nLANs\n");
        let rows: Vec<_> = status.lans.iter().map(lan).collect();
        text.push_str(&columns(2, &rows));
    }
    if !status.refused.is_empty() {
        text.push_str("\nrefused since the start\n");
        let mut rows: Vec<_> = status.refused.iter().collect();
        rows.sort_by_key(|(_, refusals)| std::cmp::Reverse(refusals.count));
        for (reason, refusals) in rows {
            let (reason, why) = (printable(reason), printable(&refusals.why));
            text.push_str(&format!("  {:>8}  {reason:REASON$}  {why}\n", refusals.count));
        }
    }
    text
}

/// The line that is read at 3 a.m., and those that follow if there is more.
fn headline(status: &Status) -> String {
    let who = format!("dm-gateway {} {}", printable(&status.version), printable(&status.id));
    let problems = status.problems.iter().map(|problem| printable(problem));
    let mut text = match status.health {
        Health::Healthy => format!("healthy: all is well with {who}\n"),
        Health::Degraded => "degraded: ".to_owned(),
        Health::Down => "down: ".to_owned(),
    };
    for (index, problem) in problems.enumerate() {
        let indent = if index == 0 { "" } else { "  and: " };
        text.push_str(&format!("{indent}{problem}\n"));
    }
    if !text.ends_with('\n') {
        text.push_str("the daemon does not say why; try: journalctl -u dm-gateway\n");
    }
    text
}

/// What the operator has begun and not ended.
fn of_configuration(state: &ConfigurationState) -> String {
    let mut text = String::new();
    if !state.restart.is_empty() {
        let keys = printable(&state.restart.join(", "));
        text.push_str(&format!(
            "configuration: waits for a restart: {keys}; try: dm-gateway reload --restart\n"
        ));
    }
    if let Some(rest) = state.trial {
        let rest = age(rest);
        text.push_str(&format!(
            "configuration: on trial, taken back in {rest}; try: dm-gateway confirm\n"
        ));
    }
    text
}

fn facts(status: &Status, io: &IoCounters) -> String {
    let Status { devices, counters, .. } = status;
    let mut known = format!("{} known, {} attached", devices.known, devices.attached);
    if devices.conflicts > 0 {
        known.push_str(&format!(", {} in conflict! try: dm-gateway devices", devices.conflicts));
    }
    let mut mappings = format!("{} in force", status.mappings);
    if status.wanted > 0 {
        mappings.push_str(&format!(", {} wanted", count(status.wanted as u64, "server")));
    }
    let waiting = match status.waiting {
        0 => "none waits".to_owned(),
        1 => "1 waits for its device".to_owned(),
        number => format!("{number} wait for their devices"),
    };
    let pushes = format!(
        "{} received, {} forwarded, {} held, {} released, {} refused",
        counters.pushes,
        counters.forwarded,
        counters.held,
        counters.released,
        counters.pushes_refused
    );
    let sessions = format!(
        "{} opened, {} asked for; Alert 1230 sent {}, {} taken",
        counters.sessions,
        counters.asked,
        count(counters.alerted, "time"),
        count(counters.lists, "server list")
    );
    let servers = match status.accounts {
        0 => String::new(),
        accounts => format!(
            "{} with a DM server; {} with them, {} failed; {} Package #0 for the gateway itself",
            count(accounts as u64, "account"),
            count(counters.managed_sessions, "session"),
            counters.managed_sessions_failed,
            counters.notifications
        ),
    };
    let trial = status.trial.as_ref().map_or_else(String::new, |trial| {
        format!(
            "what {} changed stays if it finds us again; else it is taken back in {}",
            trial.server,
            age(trial.rest)
        )
    });
    let store = format!(
        "{} made durable, {} failed; flushed {}",
        count(counters.commits.saturating_sub(counters.commits_failed), "change"),
        counters.commits_failed,
        count(io.store_flushes, "time")
    );
    let facts = [
        ("up", age(status.uptime)),
        ("devices", known),
        ("mappings", mappings),
        ("triggers", waiting),
        ("pushes", pushes),
        ("losses", losses(io)),
        ("sessions", sessions),
        ("managed", servers),
        ("trial", trial),
        ("store", store),
    ];
    let facts = facts.into_iter().filter(|(_, text)| !text.is_empty());
    facts.map(|(name, text)| format!("{name:10}{text}\n")).collect()
}

fn losses(io: &IoCounters) -> String {
    let losses = [
        (io.pushes_oversize, "too long to be a push"),
        (io.pushes_dropped_by_kernel, "came faster than they were read"),
        (io.pushes_refused_by_kernel, "the kernel refused to send"),
        (io.pushes_unsent, "found a LAN's send buffer full"),
    ];
    let losses = losses.into_iter().filter(|(number, _)| *number > 0);
    losses.map(|(number, what)| format!("{number} {what}")).collect::<Vec<_>>().join(", ")
}

fn lan(lan: &Lan) -> [String; 5] {
    let up = match lan.up {
        Some(true) => "up",
        Some(false) => "down!",
        None => "state unknown",
    };
    [
        lan.name.clone(),
        lan.interface.clone(),
        lan.policy.clone(),
        up.to_owned(),
        format!("{} attached", lan.attached),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::event::Reason;
    use crate::gateway::metrics::Counters;
    use crate::gateway::view::{DeviceCounts, Refusals, TrialView};

    fn answer() -> StatusAnswer {
        let lan = |name: &str, up| Lan {
            name: name.into(),
            interface: format!("br-{name}"),
            policy: "transparent".into(),
            up,
            attached: 2,
        };
        let status = Status {
            health: Health::Degraded,
            problems: vec!["one thing; try: this".into(), "\u{1b}another".into()],
            id: "com.example.gateway".into(),
            version: "1.2.3".into(),
            uptime: 3 * 86_400,
            lans: vec![lan("depot", Some(true)), lan("hall", Some(false)), lan("x", None)],
            devices: DeviceCounts { known: 4, attached: 2, conflicts: 1 },
            mappings: 3,
            wanted: 2,
            waiting: 1,
            accounts: 2,
            trial: Some(TrialView { server: "dms.example".into(), rest: 540 }),
            counters: Counters {
                pushes: 9,
                managed_sessions: 4,
                managed_sessions_failed: 1,
                notifications: 3,
                forwarded: 5,
                commits: 3,
                commits_failed: 2,
                ..Counters::default()
            },
            refused: [(Reason::Repeat, 1), (Reason::Unmapped, 3)]
                .map(|(reason, count)| {
                    (reason.name().to_owned(), Refusals { count, why: reason.to_string() })
                })
                .into(),
        };
        let io = IoCounters { pushes_oversize: 7, pushes_unsent: 1, ..IoCounters::default() };
        StatusAnswer { status, io, configuration: ConfigurationState::default() }
    }

    #[test]
    fn a_report_tells_what_is_wrong_first_and_then_the_facts() {
        let expected = "\
degraded: one thing; try: this
  and: \\u{1b}another

up        3 d
devices   4 known, 2 attached, 1 in conflict! try: dm-gateway devices
mappings  3 in force, 2 servers wanted
triggers  1 waits for its device
pushes    9 received, 5 forwarded, 0 held, 0 released, 0 refused
losses    7 too long to be a push, 1 found a LAN's send buffer full
sessions  0 opened, 0 asked for; Alert 1230 sent 0 times, 0 server lists taken
managed   2 accounts with a DM server; 4 sessions with them, 1 failed; 3 Package #0 for the gateway itself
trial     what dms.example changed stays if it finds us again; else it is taken back in 9 m
store     1 change made durable, 2 failed; flushed 0 times

LANs
  depot  br-depot  transparent  up             2 attached
  hall   br-hall   transparent  down!          2 attached
  x      br-x      transparent  state unknown  2 attached

refused since the start
         3  unmapped             the device does not name this server
         1  repeat               the same octets were forwarded less than ten seconds ago
";
        assert_eq!(report(&answer()), expected);
    }

    #[test]
    fn a_healthy_gateway_says_so_in_words() {
        let mut answer = answer();
        answer.status.health = Health::Healthy;
        answer.status.problems.clear();
        let report = report(&answer);
        assert!(
            report.starts_with(
                "healthy: all is well with dm-gateway 1.2.3 com.example.gateway\n\nup "
            )
        );
    }

    #[test]
    fn refusals_fit_their_column() {
        assert!(Reason::ALL.iter().all(|reason| reason.name().len() <= REASON));
    }
}
