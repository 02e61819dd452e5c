//! `dm-gateway status`: whether all is well; if not, what is wrong and what to try.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, ASKING, Command, Given, PRINTING};
use crate::cli::table::{WIDTH, age, columns, count, folded, printable};
use crate::codes::{self, Trouble};
use crate::control::{ConfigurationState, IoCounters, Request, StatusAnswer};
use crate::gateway::health::{HealthLine, Severity, SocketKind, SocketView};
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
/// Columns of a code.
pub(super) const CODE: usize = 11;
/// Columns before the text of a line.
const TEXT: usize = 6 + CODE + 2;
/// Columns of a fact's name.
const FACT: usize = 10;

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
    let mut text = health(status);
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

/// The lines that are read at 3 a.m.
fn health(status: &Status) -> String {
    let mut text = String::new();
    if status.health == Health::Healthy {
        let state = match status.troubles.len() {
            0 => "all is well".to_owned(),
            1 => "it works, and 1 thing is to be looked at".to_owned(),
            number => format!("it works, and {number} things are to be looked at"),
        };
        text.push_str(&format!("OK    {:CODE$}  {}: {state}\n", "", printable(&status.id)));
    }
    for HealthLine { severity, trouble, .. } in &status.troubles {
        let severity = match severity {
            Severity::Warn => "WARN",
            Severity::Fail => "FAIL",
        };
        text.push_str(&line(severity, trouble));
    }
    if text.is_empty() {
        let trouble = Trouble::new(codes::DAEMON, "the daemon does not say what is wrong");
        text.push_str(&line("FAIL", &trouble.or_try("journalctl -u dm-gateway")));
    }
    text
}

/// `FAIL  GW-LAN-01    what is wrong   try: next step`, and what makes it so on a line of its own.
pub(super) fn line(severity: &str, trouble: &Trouble) -> String {
    let mut text =
        format!("{severity:4}  {:CODE$}  {}", trouble.code, wrapped(&printable(&trouble.what)));
    let next = trouble.next.as_deref().map(|next| format!("try: {}", printable(next)));
    let next = next.unwrap_or_default();
    // A command is told in one piece.
    let has = text.lines().last().unwrap_or_default().chars().count();
    let is_beside = has + 3 + next.chars().count() <= WIDTH;
    if is_beside && !next.is_empty() {
        text.push_str(&format!("   {next}"));
    }
    text.push('\n');
    if let Some(cause) = &trouble.cause {
        let cause = format!("cause: {}", printable(cause));
        text.push_str(&format!("{:TEXT$}{}\n", "", wrapped(&cause)));
    }
    if !is_beside {
        text.push_str(&format!("{:TEXT$}{next}\n", ""));
    }
    text
}

/// Text behind severity and code, wrapped.
pub(super) fn wrapped(text: &str) -> String {
    folded(text, TEXT, WIDTH - TEXT)
}

/// What the operator has begun and not ended; what waits for a restart is among the troubles.
fn of_configuration(state: &ConfigurationState) -> String {
    state.trial.map_or_else(String::new, |rest| {
        let rest = age(rest);
        format!("configuration: on trial, taken back in {rest}; try: dm-gateway confirm\n")
    })
}

fn facts(status: &Status, io: &IoCounters) -> String {
    let Status { devices, counters, .. } = status;
    let health = match status.health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Down => "down",
    };
    let (id, version) = (printable(&status.id), printable(&status.version));
    let mut known = format!("{} known, {} attached", devices.known, devices.attached);
    let modes = by_policy(&status.lans);
    if !modes.is_empty() {
        known.push_str(&format!(" ({modes})"));
    }
    if devices.conflicts > 0 {
        known.push_str(&format!(", {} in conflict! try: dm-gateway devices", devices.conflicts));
    }
    let mut mappings =
        format!("{} in force, {}", status.mappings, count(status.servers as u64, "DM server"));
    if status.wanted > 0 {
        mappings.push_str(&format!(", {} of them wanted", status.wanted));
    }
    let waiting = match status.waiting {
        0 => "none waits".to_owned(),
        1 => "1 waits for its device".to_owned(),
        number => format!("{number} wait for their devices"),
    };
    let last = status
        .last_push
        .map_or_else(String::new, |then| format!("; the last one {} ago", age(then)));
    let pushes = format!(
        "{} received, {} forwarded, {} held, {} released, {} refused{last}",
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
    let clock = format!(
        "{}{}",
        crate::gateway::health::date(status.clock.unix),
        match status.clock.synchronised {
            Some(true) => ", synchronised",
            Some(false) => ", not synchronised",
            None => "",
        }
    );
    let storage = status.storage.map_or_else(String::new, |disk| {
        format!("{} of {} MiB free", disk.free >> 20, disk.size >> 20)
    });
    let facts = [
        ("gateway", format!("{id}, {health}, up {}, dm-gateway {version}", age(status.uptime))),
        ("wan", ports(&status.sockets)),
        ("devices", known),
        ("mappings", mappings),
        ("triggers", waiting),
        ("pushes", pushes),
        ("losses", losses(io)),
        ("sessions", sessions),
        ("managed", servers),
        ("trial", trial),
        ("store", store),
        ("storage", storage),
        ("clock", clock),
    ];
    let facts = facts.into_iter().filter(|(_, text)| !text.is_empty());
    facts
        .map(|(name, text)| format!("{name:FACT$}{}\n", folded(&text, FACT, WIDTH - FACT)))
        .collect()
}

/// Where pushes come in.
fn ports(sockets: &[SocketView]) -> String {
    let port = |socket: &SocketView| {
        let kind = match socket.kind {
            SocketKind::Push => "",
            SocketKind::HttpPush => "HTTP ",
            SocketKind::Lan | SocketKind::Bootstrap => return None,
        };
        let state = if socket.open { "" } else { " (waiting for it)" };
        Some(format!("{kind}{}{state}", printable(&socket.address)))
    };
    sockets.iter().filter_map(port).collect::<Vec<_>>().join(", ")
}

/// Attached devices by the policy of their LAN.
fn by_policy(lans: &[Lan]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for lan in lans {
        *counts.entry(printable(&lan.policy)).or_insert(0) += lan.attached;
    }
    let counts = counts.into_iter().filter(|(_, number)| *number > 0);
    counts.map(|(policy, number)| format!("{number} {policy}")).collect::<Vec<_>>().join(", ")
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
    use crate::gateway::health::{ClockView, Disk};
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
            problems: vec!["one thing; try: this".into()],
            troubles: vec![
                HealthLine {
                    severity: Severity::Fail,
                    trouble: Trouble::new(codes::LAN_DOWN, "one thing; cause: it; try: this"),
                    server: None,
                },
                HealthLine {
                    severity: Severity::Warn,
                    trouble: Trouble::new(codes::CLOCK_UNSYNCHRONISED, "\u{1b}another"),
                    server: None,
                },
            ],
            id: "com.example.gateway".into(),
            version: "1.2.3".into(),
            uptime: 3 * 86_400,
            lans: vec![lan("depot", Some(true)), lan("hall", Some(false)), lan("x", None)],
            devices: DeviceCounts { known: 4, attached: 2, conflicts: 1 },
            mappings: 3,
            servers: 3,
            last_push: Some(7),
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
            clock: ClockView { unix: 1_767_225_600, synchronised: Some(false) },
            storage: Some(Disk { size: 64 << 20, free: 3 << 20, files: None }),
            sockets: vec![SocketView {
                kind: SocketKind::Push,
                lan: None,
                address: "192.0.2.1:2948".into(),
                open: false,
            }],
        };
        let io = IoCounters { pushes_oversize: 7, pushes_unsent: 1, ..IoCounters::default() };
        StatusAnswer { status, io, configuration: ConfigurationState::default() }
    }

    #[test]
    fn a_report_tells_what_is_wrong_first_and_then_the_facts() {
        let expected = "\
FAIL  GW-LAN-01    one thing   try: this
                   cause: it
WARN  GW-CLOCK-02  \\u{1b}another

gateway   com.example.gateway, degraded, up 3 d, dm-gateway 1.2.3
wan       192.0.2.1:2948 (waiting for it)
devices   4 known, 2 attached (6 transparent), 1 in conflict! try: dm-gateway devices
mappings  3 in force, 3 DM servers, 2 of them wanted
triggers  1 waits for its device
pushes    9 received, 5 forwarded, 0 held, 0 released, 0 refused; the last one 7 s ago
losses    7 too long to be a push, 1 found a LAN's send buffer full
sessions  0 opened, 0 asked for; Alert 1230 sent 0 times, 0 server lists taken
managed   2 accounts with a DM server; 4 sessions with them, 1 failed; 3 Package #0 for the gateway
          itself
trial     what dms.example changed stays if it finds us again; else it is taken back in 9 m
store     1 change made durable, 2 failed; flushed 0 times
storage   3 of 64 MiB free
clock     2026-01-01, not synchronised

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
        answer.status.troubles.clear();
        let report = report(&answer);
        let first = "OK                 com.example.gateway: all is well\n\ngateway ";
        assert!(report.starts_with(first), "{report}");
        assert!(report.lines().all(|line| line.chars().count() <= WIDTH), "{report}");
    }

    #[test]
    fn a_gateway_that_works_does_not_say_that_all_is_well_beside_a_warning() {
        let mut answer = answer();
        answer.status.health = Health::Healthy;
        answer.status.troubles.remove(0);
        answer.configuration.restart.push("wan.push-listen".into());
        let report = report(&answer);
        let first = "OK                 com.example.gateway: it works, and 1 thing is to be looked \
                     at\nWARN  GW-CLOCK-02  ";
        assert!(report.starts_with(first), "{report}");
        // What waits for a restart is told by the daemon's line of its own.
        assert!(!report.contains("push-listen"), "{report}");
    }

    #[test]
    fn a_long_line_is_wrapped_and_its_command_whole_on_the_next() {
        let sentence =
            format!("{}; cause: {}; try: {}", "w ".repeat(60), "c ".repeat(60), "t".repeat(90));
        let text = line("FAIL", &Trouble::new(codes::LAN_DOWN, &sentence));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[..4].iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(lines[4].trim_start(), format!("try: {}", "t".repeat(90)));
    }

    #[test]
    fn refusals_fit_their_column() {
        assert!(Reason::ALL.iter().all(|reason| reason.name().len() <= REASON));
    }
}
