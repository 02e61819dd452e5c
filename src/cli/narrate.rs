//! Events as lines for people: `monitor`, `session --wait` and `demo` tell alike.
//!
//! ```text
//! 12:03:07  device → gateway  IMEI:490154203237518      session           it opened a DM session…
//! 12:03:09  server → device   IMEI:490154203237518      forwarded         the device named this…
//! 12:04:31  server → gateway  com.example.dms           command           Get ./DevInfo/DevId: 200…
//! ```

use crate::cli::table::{NOTHING, printable};
pub use crate::control::EventLine;
use crate::control::LOST;

/// Columns of the way that something takes: the longest in [`direction`].
const DIRECTION: usize = 16;
/// Columns of a device's identity: a `mac:` one and an IMEI fit, others push the rest aside.
const DEVICE: usize = 24;
/// Columns of an event's name: the longest is `bootstrap-failed`.
const NAME: usize = 16;

/// One line for one event, without its end: when, from where to where, who, what and why.
/// Other people's words in it are harmless to a terminal.
pub fn line(event: &EventLine) -> String {
    format!("{}  {}", clock(event.time), told(event))
}

/// The same without the time of day.
pub fn told(event: &EventLine) -> String {
    let details = details(event);
    let details = match details.as_slice() {
        [] => String::new(),
        some => format!(" ({})", some.join(", ")),
    };
    let who = who(event).unwrap_or(NOTHING);
    columns(direction(event), who, &event.event, &format!("{}{details}", event.why))
}

/// Whom it concerns: the end device; without one the DM server, else the LAN.
fn who(event: &EventLine) -> Option<&str> {
    event.device.as_deref().or(event.server.as_deref()).or_else(|| {
        let concerns_the_lan = matches!(&*event.event, "policy" | "lan-down" | "lan-up");
        event.lan.as_deref().filter(|_| concerns_the_lan)
    })
}

/// A line in the columns of [`told()`] for what the gateway does not tell itself: from where to
/// where, who, what and why.
pub fn between(from: &str, to: &str, who: &str, event: &str, why: &str) -> String {
    columns(&format!("{from} → {to}"), who, event, why)
}

fn columns(way: &str, who: &str, event: &str, why: &str) -> String {
    let (who, event, why) = (printable(who), printable(event), printable(why));
    format!("{way:DIRECTION$}  {who:DEVICE$}  {event:NAME$}  {why}")
}

/// Who speaks to whom.
fn direction(event: &EventLine) -> &'static str {
    match event.event.as_str() {
        "detected" => "device → lan",
        "detached" => "device ← lan",
        "asked" | "alerted" | "released" => "gateway → device",
        "session" | "answered" | "named" | "list" => "device → gateway",
        "mapped" | "unmapped" | "wanted" | "expired" => "gateway",
        "forwarded" => "server → device",
        "held" => "server → gateway",
        // Only what comes from a LAN is refused with its name.
        "refused" if event.lan.is_some() => "device → gateway",
        "refused" => "wan → gateway",
        "conflict" => "rival → gateway",
        "store" => "gateway → store",
        "notified" | "command" => "server → gateway",
        "session-started" | "session-failed" => "gateway → server",
        "session-ended" => "gateway ↔ server",
        "bootstrapping" | "bootstrap-failed" => "gateway → source",
        "bootstrapped" | "account-gone" => "source → gateway",
        "policy" => "gateway → lan",
        "provisioned" => "gateway → device",
        "kept" | "rolled-back" => "gateway",
        "lan-down" | "lan-up" => "lan → gateway",
        "wan-down" | "wan-up" => "wan → gateway",
        "configured" | "config-refused" => "files → gateway",
        "hook-failed" => "gateway → hook",
        LOST => "gateway → you",
        _ => "gateway",
    }
}

fn details(event: &EventLine) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(count) = event.count {
        details.push(format!("{count} of them"));
    }
    if let Some(server) = event.server.as_ref().filter(|_| event.device.is_some()) {
        details.push(format!("server {server}"));
    }
    if let Some(address) = &event.address {
        let preposition = match event.event.as_str() {
            "asked" | "forwarded" | "released" | "provisioned" => "to",
            "refused" | "conflict" => "from",
            _ => "at",
        };
        details.push(format!("{preposition} {address}"));
    }
    let concerns_the_link =
        matches!(event.event.as_str(), "detected" | "detached" | "refused" | "conflict");
    if let Some(lan) = event.lan.as_ref().filter(|_| concerns_the_link) {
        details.push(format!("LAN {lan}"));
    }
    details
}

/// The time of day in UTC.
fn clock(unix: u64) -> String {
    let (hours, minutes, seconds) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
    match unix {
        0 => "--:--:--".to_owned(),
        _ => format!("{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control;
    use crate::gateway::event::{Event, EventKind};
    use crate::gateway::seam::Now;

    const KINDS: [EventKind; 38] = [
        EventKind::Detected,
        EventKind::Asked,
        EventKind::Session,
        EventKind::Alerted,
        EventKind::Answered,
        EventKind::Named,
        EventKind::List,
        EventKind::Mapped,
        EventKind::Unmapped,
        EventKind::Wanted,
        EventKind::Forwarded,
        EventKind::Held,
        EventKind::Released,
        EventKind::Expired,
        EventKind::Refused,
        EventKind::Conflict,
        EventKind::Detached,
        EventKind::Store,
        EventKind::Notified,
        EventKind::SessionStarted,
        EventKind::Command,
        EventKind::SessionEnded,
        EventKind::SessionFailed,
        EventKind::Bootstrapping,
        EventKind::Bootstrapped,
        EventKind::BootstrapFailed,
        EventKind::AccountGone,
        EventKind::Kept,
        EventKind::RolledBack,
        EventKind::Policy,
        EventKind::Provisioned,
        EventKind::LanDown,
        EventKind::LanUp,
        EventKind::WanDown,
        EventKind::WanUp,
        EventKind::Configured,
        EventKind::ConfigRefused,
        EventKind::HookFailed,
    ];

    fn event(name: &str) -> EventLine {
        EventLine { event: name.into(), why: "why".into(), time: 43_387, ..EventLine::default() }
    }

    #[test]
    fn a_line_says_when_which_way_who_what_and_why() {
        let told = EventLine {
            device: Some("IMEI:490154203237518".into()),
            lan: Some("depot".into()),
            server: Some("com.example.dms".into()),
            address: Some("192.0.2.7:2948".into()),
            ..event("forwarded")
        };
        assert_eq!(
            line(&told),
            "12:03:07  server → device   IMEI:490154203237518      forwarded         why \
             (server com.example.dms, to 192.0.2.7:2948)"
        );
        let session =
            EventLine { device: Some("mac:02-00-00-00-00-01".into()), ..event("session") };
        assert_eq!(
            line(&session),
            "12:03:07  device → gateway  mac:02-00-00-00-00-01     session           why"
        );
    }

    #[test]
    fn what_concerns_no_device_stands_beside_its_server_or_its_lan() {
        let command = EventLine {
            server: Some("com.example.dms".into()),
            why: "Get ./DevInfo/DevId: 200 done".into(),
            ..event("command")
        };
        assert_eq!(
            told(&command),
            "server → gateway  com.example.dms           command           \
             Get ./DevInfo/DevId: 200 done"
        );
        let policy = EventLine { lan: Some("depot".into()), ..event("policy") };
        assert_eq!(
            told(&policy),
            "gateway → lan     depot                     policy            why"
        );
    }

    #[test]
    fn every_kind_of_event_has_a_way_of_its_own() {
        for kind in KINDS {
            let way = direction(&event(kind.name()));
            let own = ["mapped", "unmapped", "wanted", "expired", "kept", "rolled-back"];
            assert_eq!(way == "gateway", own.contains(&kind.name()), "{}", kind.name());
            assert!(way.chars().count() <= DIRECTION && kind.name().len() <= NAME, "{way}");
        }
    }

    #[test]
    fn every_kind_of_event_starts_its_reason_in_the_same_column() {
        for kind in KINDS {
            let event = Event::new(kind, "@");
            let json = control::event_line(&event, Now::default());
            let line = line(&serde_json::from_str(&json).unwrap());
            let column = line.chars().position(|character| character == '@');
            assert_eq!(column, Some(10 + DIRECTION + 2 + DEVICE + 2 + NAME + 2), "{line}");
        }
    }

    #[test]
    fn what_others_tell_stands_in_the_same_columns() {
        let own = told(&EventLine { device: Some("IMEI:1".into()), ..event("session") });
        assert_eq!(own, between("device", "gateway", "IMEI:1", "session", "why"));
    }

    #[test]
    fn a_refusal_comes_from_where_it_was_refused() {
        let push = EventLine { address: Some("203.0.113.5:9".into()), ..event("refused") };
        assert!(
            line(&push).contains("wan → gateway") && line(&push).ends_with("(from 203.0.113.5:9)")
        );
        let device = EventLine { lan: Some("depot".into()), ..push };
        assert!(line(&device).contains("device → gateway"));
        assert!(line(&device).ends_with("(from 203.0.113.5:9, LAN depot)"));
    }

    #[test]
    fn words_of_strangers_cannot_steer_the_terminal() {
        let hostile = || Some("\u{1b}]0;x\u{7}\n".to_owned());
        let line = line(&EventLine {
            event: "refused\n".into(),
            device: hostile(),
            server: hostile(),
            lan: hostile(),
            address: hostile(),
            why: "\u{1b}[2J".into(),
            ..EventLine::default()
        });
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }

    #[test]
    fn lost_events_are_told_without_a_time() {
        let lost: EventLine = serde_json::from_str(&control::lost_line(7)).unwrap();
        let line = line(&lost);
        assert!(line.starts_with("--:--:--  gateway → you ") && line.ends_with("(7 of them)"));
    }
}
