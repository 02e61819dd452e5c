//! `dm-gateway devices`: the end devices, where they are and whom they named.

use crate::cli::client::{Call, Stop, told};
use crate::cli::definition::{
    self, ASKING, CHANGING, Choice, Command, Given, Kind, Operand, PRINTING, flag, operand, option,
};
use crate::cli::table::{Table, age, count, cut, printable};
use crate::codes::Trouble;
use crate::control::{Devices, Request};
use crate::gateway::view::{DeviceDetails, DeviceView, Explanation};

/// `devices`.
pub const COMMAND: Command = Command {
    name: "devices",
    summary: "the end devices: where each is, since when, and the DM servers that it named",
    text: "\
Devices that nobody has heard more of than a random Ethernet address, as phones use, stand in one
line, unless there is only one or --all is given. JSON has them all.",
    options: &[LISTING, ASKING, PRINTING],
    commands: &[
        Command {
            name: "list",
            summary: "all of them; the same as devices alone",
            options: &[LISTING, ASKING, PRINTING],
            run: Some(list),
            ..definition::COMMAND
        },
        Command {
            name: "forget",
            summary: "removes all that is known of a device, its mappings too",
            text: "A device that is seen again comes back as a new one, and is not blocked then.",
            operands: &[DEVICE],
            options: &[CHANGING, ASKING, PRINTING],
            run: Some(|given| rule(given, |device| Request::Forget { device })),
            ..definition::COMMAND
        },
        Command {
            name: "block",
            summary: "refuses the pushes and sessions of a device, until it is unblocked",
            text: "What else speaks at its Ethernet address is refused as well.",
            operands: &[DEVICE],
            options: &[CHANGING, ASKING, PRINTING],
            run: Some(|given| rule(given, |device| Request::Block { device })),
            ..definition::COMMAND
        },
        Command {
            name: "unblock",
            summary: "ends what `devices block` began",
            operands: &[DEVICE],
            options: &[CHANGING, ASKING, PRINTING],
            run: Some(|given| rule(given, |device| Request::Unblock { device })),
            ..definition::COMMAND
        },
        Command {
            name: "trust",
            summary: "settles a conflict about a device's identity",
            text: "\
Without --mac whoever holds the identity keeps it. With --mac the device is the one at that
Ethernet address, and at no other: after a board was changed, say.",
            operands: &[DEVICE],
            options: &[
                &[option("mac", "ADDRESS", Kind::Text, "the Ethernet address of the true device")],
                CHANGING,
                ASKING,
                PRINTING,
            ],
            run: Some(trust),
            ..definition::COMMAND
        },
        Command {
            name: "show",
            summary: "everything known about one device, what is odd about it and what to do",
            operands: &[operand("ID", Kind::Device, "its id, an alias, or a part of the id")],
            options: &[ASKING, PRINTING],
            exits: &[(1, "no device is known by it, or several are")],
            run: Some(show),
            ..definition::COMMAND
        },
        Command {
            name: "provision",
            summary: "gives a device an account for the gateway",
            text: "Pushes it where the LAN is a trusted-link, else says where the device may fetch it.",
            operands: &[DEVICE],
            options: &[CHANGING, ASKING, PRINTING],
            run: Some(|given| rule(given, |device| Request::Provision { device })),
            ..definition::COMMAND
        },
    ],
    run: Some(list),
    ..definition::COMMAND
};

const DEVICE: Operand = operand("ID", Kind::Device, "the device's id or alias");

const LISTING: &[Choice] = &[flag("all", "devices with random Ethernet addresses, too")];

const NONE: &str = "no end devices yet: none was seen on any LAN since the store was made
try: connect one, and watch it come with `dm-gateway monitor`; `dm-gateway status` tells whether
     the LANs are up
";

/// Most characters of a server id in the list of all devices.
const SERVER: usize = 20;

fn list(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let answer = call.ask::<Devices>(&Request::Devices)?;
    call.print(&answer, |answer| table(&answer.devices, given.has("all")))?;
    Ok(0)
}

fn rule(given: Given, request: fn(String) -> Request) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let device = call.operands.concat();
    call.have_done(&request(device))
}

fn trust(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let mac = given.parsed::<String>("mac")?;
    call.have_done(&Request::Trust { device: call.operands.concat(), mac })
}

fn show(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let answer =
        call.ask_for::<DeviceDetails>(&Request::Device { device: call.operands.concat() })?;
    call.print(&answer, details)?;
    Ok(0)
}

fn details(details: &DeviceDetails) -> String {
    let DeviceDetails { device, pushes, troubles } = details;
    let identity = match (device.configured, device.named) {
        (true, _) => "[[device]] of the configuration",
        (false, true) => "given by the device",
        (false, false) => "its Ethernet address",
    };
    let identity = match device.identity.as_str() {
        "" => identity.to_owned(),
        known => format!("{identity}, {known}"),
    };
    let policy = device.policy.as_deref().unwrap_or("not configured any more");
    let answered = |code| format!("answered the Device Detection Alert with {code}");
    let facts = [
        ("address", device.address.clone().unwrap_or_default()),
        ("lan", format!("{} ({policy})", device.lan)),
        ("seen", device.seen.map(|seen| format!("{} ago", age(seen))).unwrap_or_default()),
        ("identity", identity),
        ("aliases", device.aliases.join(", ")),
        ("detection", device.detection.map(answered).unwrap_or_default()),
        ("waiting", device.waiting.join(", ")),
    ];
    let mut text = format!("{}: {}\n", printable(&device.id), printable(&state(device)));
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        text.push_str(&format!("  {name:9}  {}\n", printable(fact)));
    }
    text + &verdicts("servers that it named", pushes, |it| &it.server) + &odd(troubles)
}

/// Whether pushes would pass, one a line, below a headline.
pub(super) fn verdicts(
    head: &str,
    pushes: &[Explanation],
    who: impl Fn(&Explanation) -> &String,
) -> String {
    if pushes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["ID", "PUSHES", "RULE", "WHY"]);
    for push in pushes {
        let verdict = if push.allowed { "allowed" } else { "refused" };
        let why = push.now.as_ref().unwrap_or(&push.why);
        table.row([who(push).as_str(), verdict, &push.rule, why]);
    }
    let lines = table.render();
    format!("\n{head}\n{}", lines.lines().map(|line| format!("  {line}\n")).collect::<String>())
}

/// What is odd, with code, cause and next step.
pub(super) fn odd(troubles: &[Trouble]) -> String {
    troubles.iter().map(|trouble| format!("\n{}\n", told(&trouble.code, trouble))).collect()
}

fn table(devices: &[DeviceView], all: bool) -> String {
    if devices.is_empty() {
        return NONE.to_owned();
    }
    let mut table =
        Table::new(&["ID", "ADDRESS", "LAN", "MODE", "STATE", "SEEN", "SERVERS", "NOTES"]);
    let random = devices.iter().filter(|device| is_random(device)).count();
    let folds = !all && random > 1;
    for device in devices.iter().filter(|device| !folds || !is_random(device)) {
        table.row([
            device.id.as_str(),
            device.address.as_deref().unwrap_or_default(),
            &device.lan,
            device.policy.as_deref().unwrap_or_default(),
            &state(device),
            &device.seen.map(age).unwrap_or_default(),
            &servers(&device.servers),
            &notes(device),
        ]);
    }
    let mut text = table.render();
    if folds {
        let attached = devices.iter().filter(|it| is_random(it) && it.address.is_some()).count();
        text.push_str(&format!(
            "{random} more with a random Ethernet address and no server, {attached} attached; try: \
             --all\n"
        ));
    }
    text
}

/// Whether no more is known of a device than a locally administered Ethernet address.
fn is_random(device: &DeviceView) -> bool {
    let first = device.id.strip_prefix("mac:").and_then(|mac| mac.get(..2));
    let local = first.and_then(|octet| u8::from_str_radix(octet, 16).ok());
    local.is_some_and(|octet| octet & 2 != 0)
        && !device.named
        && device.servers.is_empty()
        && device.waiting.is_empty()
        && device.conflict.is_none()
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
        [only] => cut(only, SERVER),
        [first, rest @ ..] => format!("{} +{}", cut(first, SERVER), rest.len()),
    }
}

fn notes(device: &DeviceView) -> String {
    let mut notes = Vec::new();
    if device.blocked {
        notes.push("blocked".to_owned());
    }
    if let Some(rival) = &device.conflict {
        notes.push(format!("conflict! {} claims it too", rival.address));
    }
    // A proven identity is what is expected.
    if matches!(device.identity.as_str(), "unverified" | "random-mac") {
        notes.push(device.identity.clone());
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
            configured: false,
            policy: Some("transparent".into()),
            identity: "verified".into(),
            seen: None,
            unconfirmed: false,
            detection: None,
            waiting: Vec::new(),
            conflict: None,
            blocked: false,
            added: Vec::new(),
            removed: Vec::new(),
            allowed: Vec::new(),
        }
    }

    #[test]
    fn it_is_told_who_gave_a_device_its_identity() {
        let told = |configured, named| {
            let device = DeviceView { configured, named, ..device("IMEI:1") };
            let (pushes, troubles) = (Vec::new(), Vec::new());
            details(&DeviceDetails { device, pushes, troubles })
        };
        assert!(
            told(true, true).contains("  identity   [[device]] of the configuration, verified\n")
        );
        assert!(told(false, true).contains("  identity   given by the device, verified\n"));
        assert!(told(false, false).contains("  identity   its Ethernet address, verified\n"));
    }

    #[test]
    fn the_table_tells_where_a_device_is_and_what_is_odd_about_it() {
        let attached = DeviceView {
            address: Some("192.0.2.7".into()),
            state: "attached".into(),
            age: Some(190),
            seen: Some(12),
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
            identity: "random-mac".into(),
            waiting: vec!["a".into()],
            detection: Some(406),
            ..device("mac:02-00-00-00-00-01")
        };
        assert_eq!(
            table(&[attached, away], false),
            "ID                     ADDRESS    LAN    MODE         STATE         SEEN  SERVERS  NOTES\n\
             IMEI:1                 192.0.2.7  depot  transparent  attached 3 m  12 s  a +2\n    \
             conflict! 192.0.2.9 claims it too\n\
             mac:02-00-00-00-00-01  -          depot  transparent  detached      -     a\n    \
             random-mac, unconfirmed, 1 trigger waiting, answered 1230 with 406\n"
        );
    }

    #[test]
    fn identities_of_strangers_cannot_forge_a_row() {
        let text = table(&[device("x\nIMEI:1  192.0.2.1\u{1b}[1A")], false);
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn random_addresses_stand_in_one_line_unless_something_is_known_of_them() {
        let random = |last: u8| device(&format!("mac:da-00-00-00-00-{last:02x}"));
        let named = DeviceView { servers: vec!["s".into()], ..random(9) };
        let all = [device("IMEI:1"), random(1), random(2), named, device("mac:00-00-5e-00-00-01")];
        let text = table(&all, false);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(
            text.contains("-00-09")
                && text.contains("mac:00-")
                && !text.contains("da-00-00-00-00-01")
        );
        assert!(text.ends_with("no server, 0 attached; try: --all\n"), "{text}");
        assert_eq!(table(&all, true).lines().count(), 6);
        // One alone tells more in its own line.
        assert!(table(&all[..2], false).contains("mac:da-"));
    }

    #[test]
    fn an_empty_table_says_why_and_what_to_try() {
        let text = table(&[], false);
        assert!(text.starts_with("no end devices yet: ") && text.contains("try: "));
    }
}
