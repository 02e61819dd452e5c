//! `dm-gateway devices`: the end devices, where they are and whom they named.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, PRINTING, operand};
use crate::cli::table::{Table, age, count};
use crate::control::{Devices, Request};
use crate::gateway::view::DeviceView;

/// `devices`.
pub const COMMAND: Command = Command {
    name: "devices",
    summary: "the end devices: where each is, since when, and the DM servers that it named",
    options: &[ASKING, PRINTING],
    commands: &[
        Command {
            name: "list",
            summary: "all of them; the same as devices alone",
            options: &[ASKING, PRINTING],
            run: Some(list),
            ..definition::COMMAND
        },
        Command {
            name: "provision",
            summary: "gives a device an account for the gateway",
            text: "Pushes it where the LAN is a trusted-link, else says where the device may fetch it.",
            operands: &[operand("ID", Kind::Device, "the device's id or alias")],
            options: &[ASKING, PRINTING],
            run: Some(provision),
            ..definition::COMMAND
        },
    ],
    run: Some(list),
    ..definition::COMMAND
};

const NONE: &str = "no end devices yet: none was seen on any LAN since the store was made
try: connect one, and watch it come with `dm-gateway monitor`; `dm-gateway status` tells whether
     the LANs are up
";

/// Most server ids shown of one device.
const SERVERS: usize = 2;

fn list(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let answer = call.ask::<Devices>(&Request::Devices)?;
    call.print(&answer, |answer| table(&answer.devices))?;
    Ok(0)
}

fn provision(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    call.have_done(&Request::Provision { device: call.operands.concat() })
}

fn table(devices: &[DeviceView]) -> String {
    if devices.is_empty() {
        return NONE.to_owned();
    }
    let mut table = Table::new(&["ID", "ADDRESS", "LAN", "STATE", "SERVERS", "NOTES"]);
    for device in devices {
        table.row([
            device.id.as_str(),
            device.address.as_deref().unwrap_or_default(),
            &device.lan,
            &state(device),
            &servers(&device.servers),
            &notes(device),
        ]);
    }
    table.render()
}

fn state(device: &DeviceView) -> String {
    match device.age {
        Some(seconds) => format!("{} {}", device.state, age(seconds)),
        None => device.state.clone(),
    }
}

fn servers(servers: &[String]) -> String {
    match servers {
        [] => String::new(),
        few if few.len() <= SERVERS => few.join(", "),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

fn notes(device: &DeviceView) -> String {
    let mut notes = Vec::new();
    if let Some(rival) = &device.conflict {
        notes.push(format!("conflict! {} claims it too", rival.address));
    }
    if device.unconfirmed {
        notes.push("unconfirmed".to_owned());
    }
    if !device.waiting.is_empty() {
        notes.push(format!("{} waiting", count(device.waiting.len() as u64, "trigger")));
    }
    // 200 is what is expected, 406 to 501 are normal, and worth knowing.
    if let Some(code) = device.detection.filter(|code| *code != 200) {
        notes.push(format!("answered 1230 with {code}"));
    }
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::view::ConflictView;

    fn device(id: &str) -> DeviceView {
        DeviceView {
            id: id.into(),
            address: None,
            lan: "depot".into(),
            state: "detached".into(),
            age: None,
            servers: Vec::new(),
            aliases: Vec::new(),
            named: false,
            seen: None,
            unconfirmed: false,
            detection: None,
            waiting: Vec::new(),
            conflict: None,
        }
    }

    #[test]
    fn the_table_tells_where_a_device_is_and_what_is_odd_about_it() {
        let attached = DeviceView {
            address: Some("192.0.2.7".into()),
            state: "attached".into(),
            age: Some(190),
            servers: ["a", "b", "c"].map(String::from).into(),
            conflict: Some(ConflictView {
                address: "192.0.2.9".into(),
                mac: None,
                count: 1,
                age: 5,
            }),
            ..device("IMEI:1")
        };
        let away = DeviceView {
            servers: vec!["a".into()],
            unconfirmed: true,
            waiting: vec!["a".into()],
            detection: Some(406),
            ..device("mac:02-00-00-00-00-01")
        };
        assert_eq!(
            table(&[attached, away]),
            "ID                     ADDRESS    LAN    STATE         SERVERS       NOTES\n\
             IMEI:1                 192.0.2.7  depot  attached 3 m  a and 2 more  conflict! \
             192.0.2.9 claims it too\n\
             mac:02-00-00-00-00-01  -          depot  detached      a             unconfirmed, \
             1 trigger waiting, answered 1230 with 406\n"
        );
    }

    #[test]
    fn identities_of_strangers_cannot_forge_a_row() {
        let text = table(&[device("x\nIMEI:1  192.0.2.1\u{1b}[1A")]);
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn an_empty_table_says_why_and_what_to_try() {
        assert!(table(&[]).starts_with("no end devices yet: ") && table(&[]).contains("try: "));
    }
}
