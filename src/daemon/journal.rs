//! Events as lines of the log, with their fields.

use crate::codes::Code;
use crate::control::{self, EventLine};
use crate::gateway::event::Event;
use crate::gateway::seam::Now;
use crate::io::logger::{self, Entry};
use log::Level;

/// Writes the line of an event, or of as many more of its kind as `held_back` says.
pub(super) fn write(event: &Event, held_back: u64) {
    let line = control::line_of(event, Now::default());
    let message = message(&line);
    let count = held_back.to_string();
    let code = event.code().map(|code| code.id);
    let fields = [
        ("GW_EVENT", Some(&*line.event)),
        ("GW_DEVICE", line.device.as_deref()),
        ("GW_SERVER", line.server.as_deref()),
        ("GW_LAN", line.lan.as_deref()),
        ("GW_ADDRESS", line.address.as_deref()),
        ("GW_REASON", line.reason.as_deref()),
        ("GW_CODE", code),
        ("GW_SUPPRESSED", (held_back > 0).then_some(&*count)),
    ];
    let fields: Vec<_> =
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    logger::write(&Entry {
        level: event.level(),
        message: &message,
        message_id: Some(event.kind.entry().message_id),
        fields: &fields,
    });
}

/// Writes a line that is no event, with the code of what is wrong.
pub(super) fn write_coded(level: Level, code: Code, message: &str) {
    let (message, fields) = (format!("{message} ({code})"), &[("GW_CODE", code.id)]);
    logger::write(&Entry { level, message: &message, message_id: None, fields });
}

/// Whom it concerns, what happened and why; then the rest that is known.
fn message(line: &EventLine) -> String {
    let mut text = String::new();
    if let Some(who) = line.device.as_ref().or(line.server.as_ref()).or(line.lan.as_ref()) {
        text.push_str(who);
        text.push(' ');
    }
    text.push_str(&line.event);
    text.push_str(": ");
    text.push_str(&line.why);
    let server = line.server.as_ref().filter(|_| line.device.is_some());
    let lan = line.lan.as_ref().filter(|_| line.device.is_some() || line.server.is_some());
    let rest = [("server", server), ("address", line.address.as_ref()), ("LAN", lan)];
    let rest = rest.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    let rest: Vec<_> = rest.chain(line.code.clone()).collect();
    if !rest.is_empty() {
        text.push_str(&format!(" ({})", rest.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_what_why_and_where() {
        let line = EventLine {
            event: "forwarded".into(),
            device: Some("IMEI:1".into()),
            server: Some("dms".into()),
            address: Some("192.0.2.7:2948".into()),
            lan: Some("depot".into()),
            why: "because".into(),
            ..EventLine::default()
        };
        assert_eq!(
            message(&line),
            "IMEI:1 forwarded: because (server dms, address 192.0.2.7:2948, LAN depot)"
        );
        let lan = EventLine { device: None, server: None, ..line.clone() };
        assert_eq!(message(&lan), "depot forwarded: because (address 192.0.2.7:2948)");
        let nobody = EventLine { lan: None, address: None, ..lan };
        assert_eq!(message(&nobody), "forwarded: because");
        let wrong = EventLine { code: Some("GW-LAN-01".into()), ..nobody };
        assert_eq!(message(&wrong), "forwarded: because (GW-LAN-01)");
    }
}
