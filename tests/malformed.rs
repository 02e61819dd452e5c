//! Bad input at the seam: whatever arrives costs bounded work, leads to bounded output, and
//! changes nothing durable unless it passed the rules.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use dm_gateway::gateway::policy::{Policy, Verify};
use dm_gateway::gateway::seam::{
    CommitId, ConnectionId, Input, LanId, Lease, LinkEvent, MacAddress, NeighbourEvent,
    NeighbourState, StoreError,
};
use dm_gateway::limits;
use dm_gateway::proto::syncml::{Command, Encoding};
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::time::Duration;

const SERVER: &str = "http://www.someDMServer.com";

/// A Lab without rates, device 5 mapped to [`SERVER`].
fn mapped() -> (Lab, Client) {
    let mut options = options(&[Policy::Transparent]);
    options.push_interval = None;
    options.lans[0].request_interval = None;
    let mut lab = Lab::new(options);
    let client = lab.mapped_device(5, &[SERVER]);
    (lab, client)
}

/// Every truncation of `octets`, and every octet of it replaced in several ways.
fn variants(octets: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let truncations = (0..octets.len()).map(move |length| octets[..length].to_vec());
    let changes = (0..octets.len()).flat_map(move |index| {
        let old = octets[index];
        let bits = (0..8).map(move |bit| old ^ 1 << bit);
        bits.chain([0, 0xff, b'<', b'&', b'-']).filter(move |new| *new != old).map(move |new| {
            let mut changed = octets.to_vec();
            changed[index] = new;
            changed
        })
    });
    truncations.chain(changes)
}

// --- Pushes -----------------------------------------------------------------------------------

/// Pushes `datagram`: at most one datagram comes of it, for the mapped pair and not larger.
fn push_is_harmless(lab: &mut Lab, datagram: &[u8]) {
    let before = lab.gateway.status(lab.now).counters;
    lab.datagram(datagram);
    let after = lab.gateway.status(lab.now).counters;
    let sent = lab.take_sent();
    assert!(sent.len() <= 1);
    for sent in &sent {
        assert_eq!(sent.to, "192.168.4.5:2948".parse().unwrap());
        assert_eq!(sent.server(), SERVER);
        assert!(datagram.ends_with(&sent.package0()), "octet for octet");
        assert!(sent.datagram.len() <= datagram.len());
    }
    let (forwarded, refused) =
        (after.forwarded - before.forwarded, after.pushes_refused - before.pushes_refused);
    assert_eq!((forwarded, forwarded + refused), (sent.len() as u64, 1), "{datagram:02x?}");
    lab.events.clear();
}

#[test]
fn no_truncated_or_changed_push_does_harm() {
    let (mut lab, _) = mapped();
    let (records, commits) = (lab.store.records().clone(), lab.commits);
    let mut text_form = vec![0, 6, 0];
    text_form.extend(b"\x1f\x24application/vnd.syncml.notification\0X-Oma-GwMO\0mac:00-16-3e-");
    text_form.extend(b"00-00-05\0\xaf\x87\x8d\x99\x8e\x91");
    text_form[2] = text_form.len() as u8 - 3;
    text_form.extend(package0(SERVER, 7));
    for valid in [push_of(SERVER, &name(5), 1), push_of(SERVER, &mac_id(5), 2), text_form] {
        lab.datagram(&valid);
        assert_eq!(lab.take_sent().len(), 1);
        for variant in variants(&valid) {
            lab.advance(10 * SECOND);
            push_is_harmless(&mut lab, &variant);
        }
    }
    assert_eq!((lab.commits, lab.store.records()), (commits, &records));
}

#[test]
fn header_lengths_that_lie_do_no_harm() {
    let (mut lab, _) = mapped();
    let valid = push_of(SERVER, &name(5), 1);
    for length in [&b"\x80\x00"[..], b"\x7f", b"\xff\x7f", b"\x8f\xff\xff\xff\x7f", b"\xff\xff\xff"]
    {
        let datagram = [&valid[..2], length, &valid[3..]].concat();
        push_is_harmless(&mut lab, &datagram);
    }
    push_is_harmless(&mut lab, &[0xff; 65_000]);
    push_is_harmless(&mut lab, &[0; 65_000]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_datagrams_do_no_harm(datagrams in vec(vec(any::<u8>(), 0..200), 1..20)) {
        let (mut lab, _) = mapped();
        for mut datagram in datagrams {
            push_is_harmless(&mut lab, &datagram);
            if datagram.len() > 1 {
                datagram[1] = 6;
                push_is_harmless(&mut lab, &datagram);
            }
        }
    }
}

// --- Messages -----------------------------------------------------------------------------------

/// Posts `body`: there is one answer of bounded size, and what was refused changed nothing.
fn post_is_harmless(lab: &mut Lab, client: &Client, body: &[u8]) -> u16 {
    let (records, mappings) = (lab.store.records().clone(), lab.mappings());
    let content_type = client.encoding.content_type();
    let response = lab.post(client.lan, client.ip, content_type, body).unwrap();
    assert!(response.body.len() <= 4 * body.len() + 4096, "{}", response.body.len());
    let http_status = response.status;
    let taken = http_status == 200 && {
        let reply = Reply::new(response);
        // The answer to as many commands as may come has more of them than may come.
        let Ok(message) = client.encoding.decode(&reply.body) else { return http_status };
        assert!(message.header.response_uri.is_some());
        (200..300).contains(&reply.header_status()) && reply.status_of("Alert") == Some(200)
    };
    if !taken {
        assert_eq!(lab.mappings(), mappings);
    }
    if http_status != 200 {
        assert_eq!(lab.store.records(), &records);
    }
    lab.events.clear();
    lab.take_sent();
    http_status
}

#[test]
fn no_truncated_or_changed_message_does_harm() {
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        let (mut lab, mut client) = mapped();
        client.encoding = encoding;
        client.start();
        let mut commands = client.package1();
        commands.push(list_alert(&[SERVER, "other"]));
        let valid = encoding.encode(&client.message(commands));
        let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
        for variant in variants(&valid) {
            *statuses.entry(post_is_harmless(&mut lab, &client, &variant)).or_default() += 1;
            lab.advance(Duration::from_millis(10));
            // Another Source is another device: an honest claim of who sits at that address.
            if lab.device_ids().len() > 20 {
                lab = mapped().0;
            }
        }
        assert!(statuses.keys().all(|status| [200, 400].contains(status)), "{statuses:?}");
        assert!(statuses[&400] >= valid.len() - 20, "truncations are refused: {statuses:?}");
        assert_eq!(post_is_harmless(&mut lab, &client, &valid), 200);
        assert_eq!(lab.device(&name(5)).unwrap().servers, [SERVER, "other"]);
    }
}

/// Wraps `body` into an otherwise good XML message.
fn xml(prolog: &str, body: &str) -> String {
    format!(
        "{prolog}<SyncML xmlns='SYNCML:SYNCML1.2'><SyncHdr><VerDTD>1.2</VerDTD>\
         <VerProto>DM/1.2</VerProto><SessionID>1</SessionID><MsgID>1</MsgID>\
         <Target><LocURI>g</LocURI></Target><Source><LocURI>{}</LocURI></Source></SyncHdr>\
         <SyncBody>{body}<Final/></SyncBody></SyncML>",
        name(5)
    )
}

#[test]
fn entities_and_document_types_that_declare_something_are_refused() {
    let (mut lab, client) = mapped();
    let mut status = |prolog: &str, body: &str| {
        post_is_harmless(&mut lab, &client, xml(prolog, body).as_bytes())
    };
    let alert = |data: &str| format!("<Alert><CmdID>1</CmdID><Data>{data}</Data></Alert>");
    assert_eq!(status("<?xml version='1.0'?>", &alert("1201")), 200);
    assert_eq!(status("<!DOCTYPE SyncML>", &alert("1201")), 200, "a bare one is skipped");
    assert_eq!(
        status("<!DOCTYPE SyncML SYSTEM 'http://evil.example/x.dtd'>", &alert("1201")),
        200,
        "and never fetched: the gateway has no way to"
    );
    assert_eq!(status("<!DOCTYPE a [<!ENTITY b 'c'>]>", &alert("&b;")), 400);
    assert_eq!(status("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", &alert("1")), 400);
    assert_eq!(status("", &alert("&undeclared;")), 400);
    let mut laughs = "<!DOCTYPE l [<!ENTITY l0 'lol'>".to_owned();
    for level in 1..10 {
        let inside = format!("&l{};", level - 1).repeat(10);
        write!(laughs, "<!ENTITY l{level} '{inside}'>").unwrap();
    }
    assert_eq!(status(&(laughs + "]>"), &alert("&l9;")), 400);
}

#[test]
fn hostile_shapes_are_refused() {
    let (mut lab, client) = mapped();
    let mut status = |body: &str| post_is_harmless(&mut lab, &client, xml("", body).as_bytes());
    let deep = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert_eq!(status(&deep(10)), 200);
    assert_eq!(status(&deep(limits::DEPTH)), 400);
    assert_eq!(status(&deep(9_000)), 400);
    assert_eq!(status(&"<a>".repeat(20_000)), 400);
    let sequences = |depth: usize| {
        let start = "<Sequence><CmdID>1</CmdID>".repeat(depth);
        format!("{start}{}", "</Sequence>".repeat(depth))
    };
    assert_eq!(status(&sequences(10)), 200);
    assert_eq!(status(&sequences(1_000)), 400);
    let alert = "<Alert><CmdID>1</CmdID><Data>1201</Data></Alert>";
    assert_eq!(status(&alert.repeat(limits::COMMANDS)), 200);
    assert_eq!(status(&alert.repeat(limits::COMMANDS + 1)), 400);
    assert_eq!(status(&"<b/>".repeat(limits::ELEMENTS)), 400);
    assert_eq!(status("<Alert><CmdID>1</CmdID>\u{1}</Alert>"), 400);
}

#[test]
fn hostile_wbxml_is_refused() {
    let (mut lab, mut client) = mapped();
    client.encoding = Encoding::Wbxml;
    let mut status = |body: &[u8]| post_is_harmless(&mut lab, &client, body);
    let head = b"\x02\xa4\x01\x6a\x00";
    let with = |rest: &[u8]| [&head[..], rest].concat();
    for body in [
        vec![],
        vec![2],
        head.to_vec(),
        // A string table larger than the message, lengths beyond 32 bits, opaque without end.
        b"\x02\xa4\x01\x6a\x8f\xff\xff\xff\x7f".to_vec(),
        b"\x02\xa4\x01\x6a\xff\xff\xff\xff\xff\xff\x7f".to_vec(),
        with(b"\x6d\x6c\xc3\x8f\xff\xff\xff\x7f"),
        with(b"\x6d\x6c\xc3\xff\xff\xff\xff\xff\xff"),
        with(b"\x6d\x6c\x83\x7f\x01\x01"),
        with(b"\x6d\x6c\x03no end"),
        with(&[0x6d; 60_000]),
        with(&[0x00; 60_000]),
        with(&[0x43; 60_000]),
    ] {
        assert_eq!(status(&body), 400, "{:02x?}", &body[..body.len().min(20)]);
    }
}

#[test]
fn a_message_that_asks_for_many_statuses_gets_them_within_bounds() {
    let (mut lab, mut client) = mapped();
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        client.encoding = encoding;
        client.start();
        let Command::Alert(alert) = list_alert(&["a"]) else { panic!("an alert") };
        let commands = vec![Command::Alert(alert); limits::COMMANDS];
        let mut message = client.message(commands);
        let long = "c".repeat(20);
        for command in &mut message.commands {
            if let Command::Alert(alert) = command {
                alert.command_id = long.clone().into();
            }
        }
        let body = encoding.encode(&message);
        assert_eq!(post_is_harmless(&mut lab, &client, &body), 200);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bodies_do_no_harm(bodies in vec(vec(any::<u8>(), 0..200), 1..10)) {
        let (mut lab, mut client) = mapped();
        for body in bodies {
            for encoding in [Encoding::Xml, Encoding::Wbxml] {
                client.encoding = encoding;
                post_is_harmless(&mut lab, &client, &body);
                let head = if encoding == Encoding::Xml {
                    b"<SyncML>".to_vec()
                } else {
                    b"\x02\xa4\x01\x6a\x00\x6d\x6c".to_vec()
                };
                post_is_harmless(&mut lab, &client, &[head, body.clone()].concat());
            }
        }
    }
}

// --- The fixtures -----------------------------------------------------------------------------

/// The octets of every fixture in a folder, `.hex` files decoded.
fn fixtures(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/tests/fixtures/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for kind in ["valid", "invalid"] {
        for entry in std::fs::read_dir(format!("{folder}/{kind}")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let octets = std::fs::read(&path).unwrap();
            if name.ends_with(".hex") {
                let text = String::from_utf8(octets).unwrap();
                let lines = text.lines().filter(|line| !line.starts_with('#'));
                let digits: Vec<_> =
                    lines.flat_map(str::chars).filter_map(|it| it.to_digit(16)).collect();
                found.push((name, digits.chunks(2).map(|it| (it[0] << 4 | it[1]) as u8).collect()));
            } else if name.ends_with(".xml") {
                found.push((name, octets));
            }
        }
    }
    assert!(found.len() > 5, "{folder}");
    found
}

#[test]
fn no_fixture_does_harm() {
    let (mut lab, mut client) = mapped();
    for (name, octets) in fixtures("syncml") {
        let is_xml = name.ends_with(".xml");
        client.encoding = if is_xml { Encoding::Xml } else { Encoding::Wbxml };
        post_is_harmless(&mut lab, &client, &octets);
    }
    for (_, octets) in fixtures("wsp") {
        push_is_harmless(&mut lab, &octets);
    }
}

// --- Everything at once ---------------------------------------------------------------------------

/// Anything that may come in at the seam.
#[derive(Clone, Debug)]
enum Any {
    Entry { interface: u32, ip: u8, mac: u8, state: u8 },
    Removed { interface: u32, ip: u8, state: u8 },
    Dump(bool),
    Unavailable,
    Link { interface: u32, lan: u8, running: bool, removed: bool },
    Leases { lan: usize, leases: Vec<(u8, u8, u8)> },
    Session { lan: usize, ip: u8, id: u8, servers: Vec<u8>, answer: bool },
    Push { server: u8, id: u8, session: u16 },
    Committed(u64, bool),
    Flash { slow: bool, failures: usize },
    Commit,
    Timeout,
    Advance(u32),
    Restart,
}

fn any_input() -> impl Strategy<Value = Any> {
    let interface = 1..5_u32;
    prop_oneof![
        6 => (interface.clone(), 1..6_u8, 1..6_u8, 0..5_u8)
            .prop_map(|(interface, ip, mac, state)| Any::Entry { interface, ip, mac, state }),
        2 => (interface.clone(), 1..6_u8, 0..5_u8)
            .prop_map(|(interface, ip, state)| Any::Removed { interface, ip, state }),
        1 => any::<bool>().prop_map(Any::Dump),
        1 => Just(Any::Unavailable),
        2 => (interface, 0..4_u8, any::<bool>(), any::<bool>()).prop_map(
            |(interface, lan, running, removed)| Any::Link { interface, lan, running, removed }
        ),
        2 => (0..3_usize, vec((1..6_u8, 1..6_u8, 0..3_u8), 0..4))
            .prop_map(|(lan, leases)| Any::Leases { lan, leases }),
        6 => (0..3_usize, 1..6_u8, 0..14_u8, vec(0..4_u8, 0..4), any::<bool>()).prop_map(
            |(lan, ip, id, servers, answer)| Any::Session { lan, ip, id, servers, answer }
        ),
        6 => (0..4_u8, 0..14_u8, 0..3_u16)
            .prop_map(|(server, id, session)| Any::Push { server, id, session }),
        1 => (0..9_u64, any::<bool>()).prop_map(|(commit, ok)| Any::Committed(commit, ok)),
        2 => (any::<bool>(), 0..3_usize)
            .prop_map(|(slow, failures)| Any::Flash { slow, failures }),
        2 => Just(Any::Commit),
        1 => Just(Any::Timeout),
        3 => (1..2_000_000_u32).prop_map(Any::Advance),
        1 => Just(Any::Restart),
    ]
}

fn state_of(number: u8) -> NeighbourState {
    [Reachable, Stale, Failed, Incomplete, NeighbourState::Permanent][usize::from(number)]
}

/// Identities of every kind: made-up, Ethernet addresses, names.
fn id_of(number: u8) -> String {
    match number {
        0..5 => mac_id(number + 1),
        5..10 => name(number - 4),
        10 => "mac:02-00-00-00-00-01".to_owned(),
        11 => "urn:x:y".to_owned(),
        12 => "mac:nonsense".to_owned(),
        _ => "a,b;c".to_owned(),
    }
}

fn run(lab: &mut Lab, input: Any) {
    let ip = |number: u8| format!("192.168.4.{number}").parse().unwrap();
    match input {
        Any::Entry { interface, ip: number, mac, state } => {
            let made_up = mac == 5;
            let mac = if made_up { MacAddress([2, 0, 0, 0, 0, 1]) } else { mac_of(mac) };
            let state = state_of(state);
            let (address, mac) = (ip(number), (state != Incomplete).then_some(mac));
            lab.handle(Input::Neighbour(NeighbourEvent::Entry { interface, address, mac, state }));
        }
        Any::Removed { interface, ip: number, state } => {
            let (address, state) = (ip(number), state_of(state));
            lab.handle(Input::Neighbour(NeighbourEvent::Removed { interface, address, state }));
        }
        Any::Dump(true) => lab.handle(Input::Neighbour(NeighbourEvent::DumpBegin)),
        Any::Dump(false) => lab.handle(Input::Neighbour(NeighbourEvent::DumpEnd)),
        Any::Unavailable => lab.handle(Input::Neighbour(NeighbourEvent::Unavailable)),
        Any::Link { interface, lan, running, removed } => {
            let name = format!("eth{lan}");
            let event = LinkEvent { index: interface, name, running, removed, mac: None };
            lab.handle(Input::Link(event));
        }
        Any::Leases { lan, leases } => {
            let lease = |&(mac, number, expiry): &(u8, u8, u8)| Lease {
                expiry: u64::from(expiry) * lab.now.unix,
                mac: mac_of(mac),
                address: ip(number),
            };
            let leases: Vec<_> = leases.iter().map(lease).collect();
            lab.handle(Input::Leases { lan: LanId(lan), leases: &leases });
        }
        Any::Session { lan, ip: number, id, servers, answer } => {
            let servers: Vec<_> = servers.into_iter().map(|it| format!("server-{it}")).collect();
            let servers: Vec<_> = servers.iter().map(String::as_str).collect();
            let mut client = Client::new(&id_of(id), "192.168.4.1");
            client.ip = ip(number);
            client.lan = lan;
            client.device_id = id_of((id + number) % 14);
            client.start();
            let package1 = client.package1();
            let message = client.message(package1);
            client.post(lab, &message);
            if answer {
                let message = client.message(vec![list_alert(&servers)]);
                client.post(lab, &message);
            }
        }
        Any::Push { server, id, session } => {
            lab.push(&format!("server-{server}"), &id_of(id), session);
        }
        Any::Committed(commit, ok) => {
            let result = if ok { Ok(()) } else { Err(StoreError("late".to_owned())) };
            // Ids from the future: those of commits under way are the Lab's to report.
            lab.handle(Input::Committed { commit: CommitId(commit + 1_000_000), result });
        }
        Any::Flash { slow, failures } => {
            lab.slow_flash = slow;
            lab.store.fail_next(failures);
        }
        Any::Commit => lab.commit(),
        Any::Timeout => lab.handle(Input::Timeout),
        Any::Advance(milliseconds) => lab.advance(Duration::from_millis(milliseconds.into())),
        Any::Restart => lab.restart(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_gateway_stays_whole(inputs in vec(any_input(), 1..80)) {
        let policies = [Policy::Transparent, Policy::Transparent, Policy::Bootstrap];
        let mut options = options(&policies);
        options.lans[1].verify = Verify::None;
        options.accounts.push(account(&name(2)));
        options.accounts[0].address = Some("192.168.4.2".parse().unwrap());
        let mut lab = Lab::new(options);
        for input in inputs {
            run(&mut lab, input);
            // Names are unique, and so is each alias.
            let devices = lab.gateway.devices(lab.now);
            let mut ids: Vec<_> = devices.iter().map(|device| &device.id).collect();
            let count = ids.len();
            ids.dedup();
            prop_assert_eq!(ids.len(), count);
            for device in &devices {
                prop_assert!(device.aliases.len() <= limits::HARDWARE);
                let explanation = lab.gateway.explain("server-0", &device.id);
                prop_assert_eq!(&explanation.device, &device.id);
            }
            // Nothing goes to a LAN by a push unless a mapping is in force.
            if lab.mappings().is_empty() {
                prop_assert!(lab.sent.iter().all(|sent| sent.server() == GATEWAY));
            }
            lab.sent.clear();
            lab.events.clear();
        }
        // After a restart the gateway knows exactly what flash says.
        lab.slow_flash = false;
        lab.store.fail_next(0);
        lab.commit();
        lab.restart();
        let first = (lab.device_ids(), lab.mappings());
        lab.restart();
        prop_assert_eq!(first, (lab.device_ids(), lab.mappings()));
        prop_assert!(lab.response(ConnectionId(0)).is_none());
    }
}
