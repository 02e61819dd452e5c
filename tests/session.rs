//! DM sessions of end devices with the gateway: the Device Detection Alert, credentials,
//! identities, versions, rates, and how real clients differ from the documents.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use dm_gateway::gateway::alert::WireProfile;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::policy::{DeviceAuth, Policy, Verify};
use dm_gateway::gateway::seam::Request;
use dm_gateway::limits;
use dm_gateway::proto::auth::{self, Scheme, Secret, Verdict};
use dm_gateway::proto::notification::digest;
use dm_gateway::proto::syncml::{
    Alert, AlertCode, Command, Credentials, Data, Encoding, Group, Meta, Status, StatusCode,
};
use std::net::IpAddr;
use std::time::Duration;

const BOTH: [Encoding; 2] = [Encoding::Xml, Encoding::Wbxml];

/// A LAN with device 5 on it, and the device.
fn lab() -> (Lab, Client) {
    lab_with(options(&[Policy::Transparent]))
}

fn lab_with(options: dm_gateway::gateway::Options) -> (Lab, Client) {
    let mut lab = Lab::new(options);
    lab.neighbour("192.168.4.5", 5, Reachable);
    (lab, Client::new(&name(5), "192.168.4.5"))
}

fn begin(lab: &mut Lab, client: &mut Client) -> Reply {
    client.start();
    let package1 = client.package1();
    client.say(lab, package1)
}

// --- The Device Detection Alert -----------------------------------------------------------------

#[test]
fn every_session_gets_the_device_detection_alert_whatever_was_answered_before() {
    let (mut lab, mut client) = lab();
    for _ in 0..3 {
        for code in [200, 406, 500, 501] {
            let reply = begin(&mut lab, &mut client);
            assert_eq!(reply.detection(), Some((Some("203.0.113.9".into()), true)));
            let answer = client.answer_detection(&reply, code).unwrap();
            let reply = client.say(&mut lab, vec![answer]);
            assert!(reply.ends(), "{reply:?}");
            assert_eq!(reply.header_status(), 200);
            assert_eq!(lab.device(&name(5)).unwrap().detection, Some(code));
        }
        // Silence, or a connection that broke.
        assert!(begin(&mut lab, &mut client).detection().is_some());
        lab.advance(20 * SECOND);
    }
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    assert!(begin(&mut lab, &mut client).detection().is_some());
    assert_eq!(lab.mappings().len(), 1);
}

#[test]
fn a_session_that_brought_its_list_is_not_asked_for_it() {
    let (mut lab, mut client) = lab();
    client.start();
    let mut commands = client.package1();
    commands.push(list_alert(&["a"]));
    let reply = client.say(&mut lab, commands);
    assert!(reply.ends(), "{reply:?}");
}

#[test]
fn share_is_bounded_by_policy_operator_and_public_address() {
    for policy in [Policy::Bootstrap, Policy::Transparent] {
        for share_address in [false, true] {
            for public in [None, Some("203.0.113.9"), Some("10.64.0.9")] {
                let mut options = options(&[policy]);
                options.share_address = share_address;
                options.public_address = public.map(String::from);
                let (mut lab, mut client) = lab_with(options);
                let (address, share) = begin(&mut lab, &mut client).detection().unwrap();
                let allowed = policy == Policy::Transparent && share_address && public.is_some();
                assert_eq!(share, allowed, "{policy} {share_address} {public:?}");
                assert_eq!(address.as_deref(), Some(public.unwrap_or("192.168.4.1")));
            }
        }
    }
}

#[test]
fn a_lan_with_the_policy_ignore_serves_a_session_and_ends_it() {
    let (mut lab, mut client) = lab_with(options(&[Policy::Ignore]));
    let reply = begin(&mut lab, &mut client);
    assert_eq!(reply.header_status(), 200);
    assert!(reply.ends());
    assert_eq!(lab.gateway.status(lab.now).counters.sessions, 1);
}

#[test]
fn both_wire_profiles_reach_the_device_in_both_encodings() {
    for profile in [WireProfile::Registered, WireProfile::Draft] {
        for encoding in BOTH {
            let mut options = options(&[Policy::Transparent]);
            options.wire_profile = profile;
            let (mut lab, mut client) = lab_with(options);
            client.encoding = encoding;
            let reply = begin(&mut lab, &mut client);
            assert_eq!(reply.detection(), Some((Some("203.0.113.9".into()), true)));
            let message = reply.message();
            let alert = message.commands.iter().find_map(|command| match command {
                Command::Alert(alert) => Some(alert),
                _ => None,
            });
            let (items, loose) = alert.map(|it| (it.items.len(), it.loose.is_some())).unwrap();
            let expected = if profile == WireProfile::Draft { (0, true) } else { (2, false) };
            assert_eq!((items, loose), expected);
        }
    }
}

// --- Messages -----------------------------------------------------------------------------------

#[test]
fn an_answer_has_resp_uri_session_message_id_and_statuses_in_both_encodings() {
    for encoding in BOTH {
        let (mut lab, mut client) = lab();
        client.encoding = encoding;
        let reply = begin(&mut lab, &mut client);
        assert_eq!((reply.http_status, reply.encoding), (200, Some(encoding)));
        let message = reply.message();
        let header = &message.header;
        assert_eq!(header.response_uri.as_deref(), Some("http://192.168.4.1:8080/dm"));
        assert_eq!((&*header.session_id, header.message_id), ("11", 1));
        assert_eq!((&*header.version_dtd, &*header.version_protocol), ("1.2", "DM/1.2"));
        assert_eq!(header.target.uri, name(5));
        assert_eq!(header.credentials, None);
        assert!(message.is_final);
        let statuses = reply.statuses();
        let expected = [("SyncHdr", 200), ("Alert", 200), ("Replace", 200)];
        assert_eq!(statuses, expected.map(|(command, code)| (command.to_owned(), code)));
        let ids: Vec<_> = message.commands.iter().map(|it| it.command_id().to_string()).collect();
        assert_eq!(ids, ["1", "2", "3", "4"]);
        for (index, command) in message.commands[..3].iter().enumerate() {
            let Command::Status(status) = command else { panic!("a Status") };
            assert_eq!((&*status.message_ref, &*status.command_ref), ("1", &*index.to_string()));
        }
        if encoding == Encoding::Wbxml {
            assert_eq!(reply.body[0], 0x02, "AOSP drops the session on any other version");
        }
        let answer = client.answer_detection(&reply, 406).unwrap();
        let reply = client.say(&mut lab, vec![answer]);
        let message = reply.message();
        assert_eq!((&*message.header.session_id, message.header.message_id), ("11", 2));
        assert!(message.header.response_uri.is_some());
    }
}

#[test]
fn a_message_with_msg_id_1_begins_a_new_session_under_the_same_session_id() {
    let (mut lab, mut client) = lab();
    begin(&mut lab, &mut client);
    client.session_id -= 1;
    let reply = begin(&mut lab, &mut client);
    assert_eq!(reply.message().header.message_id, 1);
    assert!(reply.detection().is_some(), "it is asked again");
    let answer = client.answer_detection(&reply, 200).unwrap();
    assert!(client.say(&mut lab, vec![answer]).ends());
    client.session_id -= 1;
    assert!(begin(&mut lab, &mut client).detection().is_some());
    assert_eq!(lab.gateway.status(lab.now).counters.sessions, 3);
}

#[test]
fn a_session_that_the_gateway_forgot_is_taken_up_as_a_new_one() {
    let (mut lab, mut client) = lab();
    let reply = begin(&mut lab, &mut client);
    let answer = client.answer_detection(&reply, 200).unwrap();
    lab.restart();
    lab.neighbour("192.168.4.5", 5, Reachable);
    let reply = client.say(&mut lab, vec![answer, list_alert(&["a"])]);
    assert_eq!(reply.status_of("Alert"), Some(200));
    assert!(reply.ends());
    assert_eq!(lab.mappings().len(), 1);
}

#[test]
fn commands_that_a_client_may_not_send_are_answered_one_by_one() {
    let (mut lab, mut client) = lab();
    client.start();
    let mut commands = client.package1();
    let Command::Operation(mut replace) = commands[1].clone() else { panic!("Replace") };
    replace.items[0].source.as_mut().unwrap().uri = "./Vendor/x".into();
    commands.push(Command::Operation(replace.clone()));
    replace.verb = dm_gateway::proto::syncml::Verb::Get;
    commands.push(Command::Operation(replace));
    let group = Group {
        atomic: true,
        command_id: "".into(),
        meta: Meta::default(),
        commands: client.package1(),
    };
    commands.push(Command::Group(group));
    let reply = client.say(&mut lab, commands);
    let codes: Vec<_> = reply.statuses().into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, [200, 200, 200, 405, 405, 406]);
}

#[test]
fn an_aborted_session_gets_its_statuses_and_ends() {
    let (mut lab, mut client) = lab();
    begin(&mut lab, &mut client);
    let code = Some(AlertCode::SESSION_ABORT);
    let reply = client.say(&mut lab, vec![Command::Alert(Alert { code, ..Alert::default() })]);
    assert_eq!(reply.status_of("Alert"), Some(200));
    assert!(reply.ends());
}

#[test]
fn a_session_that_does_not_end_is_ended() {
    let (mut lab, mut client) = lab();
    client.start();
    let mut replies = 0;
    loop {
        let package1 = client.package1();
        let mut message = client.message(package1);
        message.is_final = false;
        let reply = client.post(&mut lab, &message).unwrap();
        lab.advance(SECOND);
        replies += 1;
        if reply.ends() {
            break;
        }
        assert!(replies < 100);
    }
}

#[test]
fn versions_other_than_1_2_and_its_neighbours_are_refused() {
    let (mut lab, mut client) = lab();
    let mut post = |dtd: &str, protocol: &str| {
        client.start();
        let package1 = client.package1();
        let mut message = client.message(package1);
        message.header.version_dtd = dtd.to_owned().into();
        message.header.version_protocol = protocol.to_owned().into();
        let reply = client.post(&mut lab, &message).unwrap();
        (reply.header_status(), reply.status_of("Replace").unwrap())
    };
    assert_eq!(post("2.0", "DM/1.2"), (505, 505));
    assert_eq!(post("1.2", "DM/2.0"), (513, 513));
    assert_eq!(post("1.2", "SyncML/1.2"), (513, 513));
    assert_eq!(post("1.1", "DM/1.1"), (200, 200));
    assert_eq!(post("1.2", "DM/1.3"), (200, 200));
    assert_eq!(lab.refused("version"), 3);
}

#[test]
fn what_is_no_post_of_syncml_to_dm_gets_its_http_status() {
    let (mut lab, mut client) = lab();
    let package1 = client.package1();
    let body = Encoding::Xml.encode(&client.message(package1));
    let mut status = |method, path, content_type, body: &[u8]| {
        let request = Request { method, path, content_type, body };
        let connection = lab.request(0, "192.168.4.5".parse().unwrap(), request);
        lab.response(connection).unwrap().status
    };
    let xml = Some("application/vnd.syncml.dm+xml");
    assert_eq!(status("GET", "/dm", None, b""), 405);
    assert_eq!(status("POST", "/", xml, &body), 404);
    assert_eq!(status("POST", "/dm", None, &body), 415);
    assert_eq!(status("POST", "/dm", Some("text/xml"), &body), 415);
    assert_eq!(status("POST", "/dm", xml, b"<SyncML"), 400);
    assert_eq!(status("POST", "/dm", Some("application/vnd.syncml.dm+wbxml"), &body), 400);
    for taken in [
        "application/vnd.syncml+xml",
        "Application/vnd.SyncML.dm+XML; charset=\"utf-8\"",
        "application/vnd.syncml.dm+xml;verproto=1.2",
    ] {
        assert_eq!(status("POST", "/dm", Some(taken), &body), 200);
    }
    assert_eq!((lab.refused("bad-request"), lab.refused("malformed-message")), (4, 2));
}

// --- Rates --------------------------------------------------------------------------------------

#[test]
fn ten_sessions_in_five_seconds_pass_and_a_flood_is_told_to_wait() {
    let (mut lab, mut client) = lab();
    lab.neighbour("192.168.4.6", 6, Reachable);
    for _ in 0..10 {
        assert_eq!(client.session(&mut lab, &["a"]), Some(200));
        lab.advance(Duration::from_millis(500));
    }
    let post = |lab: &mut Lab, client: &mut Client| {
        client.start();
        let package1 = client.package1();
        let message = client.message(package1);
        let body = client.encoding.encode(&message);
        lab.post(0, client.ip, client.encoding.content_type(), &body).unwrap()
    };
    let responses: Vec<_> = (0..200).map(|_| post(&mut lab, &mut client)).collect();
    let refused: Vec<_> = responses.iter().filter(|response| response.status == 503).collect();
    assert_eq!(refused.len(), 100);
    assert!(refused.iter().all(|response| response.retry_after == Some(1)));
    assert_eq!(lab.refused("request-rate"), 100);
    let mut other = Client::new(&name(6), "192.168.4.6");
    assert_eq!(other.session(&mut lab, &["a"]), Some(200), "each address by itself");
    lab.advance(SECOND);
    assert_eq!((0..40).filter(|_| post(&mut lab, &mut client).status == 200).count(), 20);
}

#[test]
fn the_request_rate_can_be_switched_off() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].request_interval = None;
    let (mut lab, mut client) = lab_with(options);
    for _ in 0..300 {
        assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    }
}

// --- Credentials --------------------------------------------------------------------------------

/// A LAN whose devices authenticate themselves, device 5 with an account.
fn authenticated(device_auth: DeviceAuth, server_secret: bool) -> (Lab, Client) {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].device_auth = device_auth;
    let mut account = account(&name(5));
    account.user = "user-5".to_owned();
    account.server_secret = account.server_secret.filter(|_| server_secret);
    options.accounts.push(account);
    lab_with(options)
}

fn proof(scheme: Scheme, nonce: &[u8]) -> Option<Proof> {
    let (user, secret) = ("user-5".to_owned(), "device-secret".to_owned());
    Some(Proof { scheme, user, secret, nonce: nonce.to_vec() })
}

#[test]
fn missing_credentials_are_challenged_right_ones_accepted_for_the_session() {
    for scheme in [Scheme::Basic, Scheme::Md5] {
        for encoding in BOTH {
            let device_auth =
                if scheme == Scheme::Basic { DeviceAuth::Basic } else { DeviceAuth::Md5 };
            let (mut lab, mut client) = authenticated(device_auth, false);
            client.encoding = encoding;
            let reply = begin(&mut lab, &mut client);
            let codes: Vec<_> = reply.statuses().into_iter().map(|(_, code)| code).collect();
            assert_eq!(codes, [407, 407, 407]);
            assert_eq!(reply.detection(), None);
            let challenge = reply.challenge().unwrap();
            assert_eq!(challenge.kind.as_deref(), Some(scheme.name()));
            assert_eq!(challenge.next_nonce.is_some(), scheme == Scheme::Md5);
            client.proof = proof(scheme, &reply.next_nonce().unwrap_or_default());
            let package1 = client.package1();
            let reply = client.say(&mut lab, package1);
            assert_eq!(reply.header_status(), 212);
            assert!(reply.detection().is_some());
            assert_eq!(reply.next_nonce().is_some(), scheme == Scheme::Md5);
            client.proof = None;
            let answer = client.answer_detection(&reply, 200).unwrap();
            let reply = client.say(&mut lab, vec![answer, list_alert(&["a"])]);
            assert_eq!(reply.status_of("Alert"), Some(200));
            assert!(reply.ends());
            assert_eq!(lab.mappings().len(), 1);
        }
    }
}

#[test]
fn wrong_credentials_three_times_end_the_session() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Md5, false);
    client.proof = proof(Scheme::Md5, b"stale");
    for attempt in 1..=3 {
        if attempt == 1 {
            client.start();
        }
        let package1 = client.package1();
        let reply = client.say(&mut lab, package1);
        assert_eq!(reply.header_status(), 401);
        assert_eq!(reply.status_of("Replace"), Some(401));
        client.proof.as_mut().unwrap().secret = "wrong".to_owned();
        client.proof.as_mut().unwrap().nonce = reply.next_nonce().unwrap();
    }
    assert_eq!(lab.refused("credentials"), 3);
    assert_eq!(lab.gateway.status(lab.now).counters.sessions, 0);
    // The session is over: the nonce of its last challenge is worth nothing any more.
    client.proof.as_mut().unwrap().secret = "device-secret".to_owned();
    let package1 = client.package1();
    assert_eq!(client.say(&mut lab, package1).header_status(), 401);
}

#[test]
fn credentials_of_another_scheme_or_without_an_account_are_wrong() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Md5, false);
    client.proof = proof(Scheme::Basic, b"");
    assert_eq!(begin(&mut lab, &mut client).header_status(), 401);
    lab.neighbour("192.168.4.6", 6, Reachable);
    let mut stranger = Client::new(&name(6), "192.168.4.6");
    assert_eq!(begin(&mut lab, &mut stranger).header_status(), 407);
    stranger.proof = proof(Scheme::Md5, b"");
    assert_eq!(begin(&mut lab, &mut stranger).header_status(), 401);
    assert!(!lab.device_ids().contains(&name(6)));
}

/// Opens a session with the nonce of the one before. The nonce for the next.
fn with_nonce(lab: &mut Lab, client: &mut Client, nonce: &[u8]) -> Vec<u8> {
    client.proof = proof(Scheme::Md5, nonce);
    let reply = begin(lab, client);
    assert_eq!(reply.header_status(), 212);
    reply.next_nonce().unwrap()
}

#[test]
fn each_session_has_its_nonce_and_a_restart_keeps_it() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Md5, false);
    let nonce = begin(&mut lab, &mut client).next_nonce().unwrap();
    client.proof = proof(Scheme::Md5, &nonce);
    let package1 = client.package1();
    let first = client.say(&mut lab, package1).next_nonce().unwrap();
    let second = with_nonce(&mut lab, &mut client, &first);
    assert_ne!(first, second);
    lab.restart();
    lab.neighbour("192.168.4.5", 5, Reachable);
    let third = with_nonce(&mut lab, &mut client, &second);
    // A nonce is good for one session.
    client.proof = proof(Scheme::Md5, &second);
    assert_eq!(begin(&mut lab, &mut client).header_status(), 401);
    with_nonce(&mut lab, &mut client, &third);
}

#[test]
fn a_nonce_that_could_not_be_stored_is_not_given_out() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Md5, false);
    let nonce = begin(&mut lab, &mut client).next_nonce().unwrap();
    client.proof = proof(Scheme::Md5, &nonce);
    let package1 = client.package1();
    let first = client.say(&mut lab, package1).next_nonce().unwrap();
    lab.store.fail_next(1);
    client.proof = proof(Scheme::Md5, &first);
    let reply = begin(&mut lab, &mut client);
    assert_eq!((reply.header_status(), reply.next_nonce()), (500, None));
    with_nonce(&mut lab, &mut client, &first);
}

#[test]
fn a_device_that_starts_over_after_a_challenge_is_let_in() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Md5, false);
    let nonce = begin(&mut lab, &mut client).next_nonce().unwrap();
    client.session_id -= 1;
    with_nonce(&mut lab, &mut client, &nonce);
}

#[test]
fn a_challenge_to_somebody_else_does_not_change_the_devices_nonce() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Md5, false);
    let nonce = begin(&mut lab, &mut client).next_nonce().unwrap();
    client.proof = proof(Scheme::Md5, &nonce);
    let package1 = client.package1();
    let nonce = client.say(&mut lab, package1).next_nonce().unwrap();
    lab.neighbour("192.168.4.66", 66, Reachable);
    let mut rival = Client::new(&name(5), "192.168.4.66");
    for _ in 0..5 {
        assert_eq!(begin(&mut lab, &mut rival).header_status(), 407);
    }
    with_nonce(&mut lab, &mut client, &nonce);
}

#[test]
fn with_device_auth_none_any_credentials_are_ignored() {
    let (mut lab, mut client) = lab();
    client.proof = proof(Scheme::Md5, b"whatever");
    let reply = begin(&mut lab, &mut client);
    assert_eq!((reply.header_status(), reply.challenge()), (200, None));
    assert!(reply.detection().is_some());
}

#[test]
fn a_device_that_proved_itself_may_come_with_another_ethernet_address() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Basic, false);
    client.proof = proof(Scheme::Basic, b"");
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    lab.neighbour("192.168.4.6", 6, Reachable);
    client.ip = "192.168.4.6".parse().unwrap();
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    let device = lab.device(&name(5)).unwrap();
    assert_eq!(device.aliases, [mac_id(5), mac_id(6)]);
    assert_eq!(device.conflict, None);
    lab.push("a", &mac_id(6), 1);
    assert_eq!(lab.take_targets(), ["192.168.4.6"]);
    lab.restart();
    assert_eq!(lab.device_ids(), [name(5)]);
    assert_eq!(lab.device(&name(5)).unwrap().aliases.len(), 2);
}

#[test]
fn what_an_account_proves_is_its_own_device_and_no_other() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].device_auth = DeviceAuth::Basic;
    for id in [name(5), mac_id(6)] {
        options.accounts.push(account(&id));
    }
    let mut lab = Lab::new(options);
    let credentials = |user: &str| Proof {
        scheme: Scheme::Basic,
        user: user.to_owned(),
        secret: "device-secret".to_owned(),
        nonce: Vec::new(),
    };
    lab.neighbour("192.168.4.5", 5, Reachable);
    let mut owner = Client::new(&name(5), "192.168.4.5");
    owner.proof = Some(credentials(&name(5)));
    assert_eq!(owner.session(&mut lab, &["a"]), Some(200));
    // Device 6 has an account of its own, and says in DevInfo that it is device 5.
    lab.neighbour("192.168.4.6", 6, Reachable);
    let mut rival = Client::new(&mac_id(6), "192.168.4.6");
    rival.device_id = name(5);
    rival.proof = Some(credentials(&mac_id(6)));
    assert_eq!(begin(&mut lab, &mut rival).header_status(), 403);
    assert_eq!(lab.device(&name(5)).unwrap().conflict.unwrap().address, "192.168.4.6");
    lab.take_sent();
    lab.push("a", &name(5), 1);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn an_authenticated_session_ends_where_another_ethernet_address_takes_it_over() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Basic, false);
    client.proof = proof(Scheme::Basic, b"");
    let reply = begin(&mut lab, &mut client);
    client.proof = None;
    lab.neighbour("192.168.4.5", 66, Reachable);
    let answer = client.answer_detection(&reply, 200).unwrap();
    let reply = client.say(&mut lab, vec![answer, list_alert(&["evil"])]);
    assert_eq!(reply.status_of("Alert"), Some(407));
    assert_eq!(lab.mappings(), [""; 0]);
}

// --- The gateway proves itself --------------------------------------------------------------------

fn own_credentials(reply: &Reply, nonce: &[u8], scheme: Scheme) -> Option<Verdict> {
    let message = reply.message();
    let credentials = message.header.credentials.as_ref()?;
    if scheme == Scheme::Md5 {
        assert_eq!(message.header.source.name.as_deref(), Some(GATEWAY));
    }
    let secret = Secret::new("server-secret");
    Some(auth::verify(scheme, Some(credentials), GATEWAY, &secret, nonce))
}

/// The device's Status for our SyncHdr, with a challenge.
fn header_status(reply: &Reply, code: u16, nonce: &[u8]) -> Command<'static> {
    Command::Status(Status {
        message_ref: reply.message().header.message_id.to_string().into(),
        command_ref: "0".into(),
        command: "SyncHdr".into(),
        challenge: Some(auth::challenge(Scheme::Md5, nonce)),
        code: StatusCode(code),
        ..Status::default()
    })
}

#[test]
fn the_gateway_proves_itself_with_the_nonce_that_the_device_gives() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Md5, true);
    let reply = begin(&mut lab, &mut client);
    assert_eq!(own_credentials(&reply, b"", Scheme::Md5), None, "not to a stranger");
    client.proof = proof(Scheme::Md5, &reply.next_nonce().unwrap());
    let package1 = client.package1();
    let reply = client.say(&mut lab, package1);
    let next = reply.next_nonce().unwrap();
    client.proof = None;
    assert_eq!(own_credentials(&reply, b"", Scheme::Md5), Some(Verdict::Accepted));
    // The device does not trust us yet: it challenges us and obeys nothing.
    let refusal = client.answer_detection(&reply, 401).unwrap();
    let reply = client.say(&mut lab, vec![header_status(&reply, 401, b"fresh"), refusal]);
    assert_eq!(own_credentials(&reply, b"fresh", Scheme::Md5), Some(Verdict::Accepted));
    assert!(reply.detection().is_some(), "the alert is said again: {reply:?}");
    // Now it does, and gives the nonce for the next session.
    let answer = client.answer_detection(&reply, 200).unwrap();
    let commands = vec![header_status(&reply, 212, b"later"), answer, list_alert(&["a"])];
    let reply = client.say(&mut lab, commands);
    assert_eq!(reply.status_of("Alert"), Some(200));
    assert_eq!(own_credentials(&reply, b"", Scheme::Md5), None, "212 holds for the session");
    assert!(reply.ends());
    assert_eq!(lab.mappings().len(), 1);

    lab.restart();
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.advance(5 * SECOND);
    let package0 = lab.take_sent()[0].package0();
    assert_eq!(package0[..16], digest(GATEWAY, "server-secret", b"later", &package0[16..]));
    client.proof = proof(Scheme::Md5, &next);
    let reply = begin(&mut lab, &mut client);
    assert_eq!(own_credentials(&reply, b"later", Scheme::Md5), Some(Verdict::Accepted));
}

#[test]
fn a_device_that_never_trusts_the_gateway_ends_the_session() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Basic, true);
    client.proof = proof(Scheme::Basic, b"");
    let mut reply = begin(&mut lab, &mut client);
    assert_eq!(own_credentials(&reply, b"", Scheme::Basic), Some(Verdict::Accepted));
    let mut challenges = 0;
    while !reply.ends() {
        let refusal = client.answer_detection(&reply, 401).unwrap();
        reply = client.say(&mut lab, vec![header_status(&reply, 401, b"n"), refusal]);
        challenges += 1;
        assert!(challenges < 5);
    }
    assert_eq!(challenges, 3);
}

#[test]
fn a_message_full_of_refusals_of_the_gateway_ends_the_session_and_no_more() {
    let (mut lab, mut client) = lab();
    let reply = begin(&mut lab, &mut client);
    let refusals = vec![header_status(&reply, 401, b"n"); limits::COMMANDS];
    assert!(client.say(&mut lab, refusals).ends());
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
}

#[test]
fn the_secret_towards_a_device_goes_to_nobody_else() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Basic, true);
    lab.neighbour("192.168.4.66", 66, Reachable);
    let mut rival = Client::new(&name(5), "192.168.4.66");
    let reply = begin(&mut lab, &mut rival);
    assert_eq!((reply.header_status(), own_credentials(&reply, b"", Scheme::Basic)), (407, None));
    client.proof = proof(Scheme::Basic, b"");
    client.proof.as_mut().unwrap().secret = "wrong".to_owned();
    let reply = begin(&mut lab, &mut client);
    assert_eq!((reply.header_status(), own_credentials(&reply, b"", Scheme::Basic)), (401, None));
}

#[test]
fn a_device_that_wants_md5_gets_md5_where_basic_is_configured() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Basic, true);
    client.proof = proof(Scheme::Basic, b"");
    let reply = begin(&mut lab, &mut client);
    let refusal = client.answer_detection(&reply, 407).unwrap();
    let reply = client.say(&mut lab, vec![header_status(&reply, 407, b"nonce"), refusal]);
    assert_eq!(own_credentials(&reply, b"nonce", Scheme::Md5), Some(Verdict::Accepted));
}

// --- Identities -----------------------------------------------------------------------------------

#[test]
fn a_forged_ethernet_address_is_refused_and_visible() {
    for encoding in BOTH {
        let (mut lab, mut client) = lab();
        client.session(&mut lab, &["a"]);
        lab.neighbour("192.168.4.66", 66, Reachable);
        let records = lab.store.records().clone();
        let mut rival = Client::new(&mac_id(5), "192.168.4.66");
        rival.encoding = encoding;
        let reply = begin(&mut lab, &mut rival);
        let codes: Vec<_> = reply.statuses().into_iter().map(|(_, code)| code).collect();
        assert_eq!(codes, [403, 403, 403]);
        assert!(reply.ends());
        assert_eq!(lab.refused("spoofed"), 1);
        let conflict = lab.device(&name(5)).unwrap().conflict.unwrap();
        assert_eq!((&*conflict.address, conflict.count), ("192.168.4.66", 1));
        assert_eq!(conflict.mac.unwrap(), mac_of(66).to_string());
        assert_eq!(lab.gateway.status(lab.now).devices.conflicts, 1);
        assert_eq!(lab.take_events(EventKind::Conflict).len(), 1);
        assert_eq!(lab.store.records(), &records);
        lab.advance(Duration::from_secs(25 * 3600));
        assert_eq!(lab.device(&name(5)).unwrap().conflict, None, "old conflicts fade");
    }
}

#[test]
fn a_peer_that_is_not_on_the_link_is_refused() {
    let (mut lab, _) = lab();
    let mut stranger = Client::new("IMEI:7", "10.9.9.9");
    assert_eq!(begin(&mut lab, &mut stranger).header_status(), 403);
    assert_eq!(lab.refused("unverified"), 1);
    lab.neighbour("192.168.4.9", 9, Incomplete);
    let mut unresolved = Client::new("IMEI:7", "192.168.4.9");
    assert_eq!(begin(&mut lab, &mut unresolved).header_status(), 403);
    assert_eq!(lab.device_ids(), [mac_id(5)]);
}

#[test]
fn a_peer_that_is_not_on_the_link_is_believed_its_secret() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Basic, false);
    client.proof = proof(Scheme::Basic, b"");
    client.ip = "10.9.9.9".parse().unwrap();
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    assert_eq!(lab.mappings(), [format!("a > {}", name(5))]);
}

#[test]
fn devinfo_names_a_device_that_gives_only_its_ethernet_address() {
    for verify in [Verify::Neighbour, Verify::None] {
        let mut options = options(&[Policy::Transparent]);
        options.lans[0].verify = verify;
        options.lans[0].detect.neighbours = verify == Verify::Neighbour;
        let (mut lab, mut client) = lab_with(options);
        client.source = mac_id(5);
        assert_eq!(client.session(&mut lab, &["a"]), Some(200), "{verify:?}");
        assert_eq!(lab.device_ids(), [name(5)]);
        let device = lab.device(&name(5)).unwrap();
        assert!(device.named);
        assert_eq!(device.aliases, [mac_id(5)]);
        assert_eq!(lab.mappings(), [format!("a > {}", name(5))]);
        assert_eq!(lab.take_events(EventKind::Named).len(), 1);
        lab.push("a", &mac_id(5), 1);
        lab.advance(SECOND);
        lab.push("a", &name(5), 2);
        assert_eq!(lab.take_sent().len(), 2, "both names find it");
        // And again, whichever name it uses.
        for source in [mac_id(5), name(5)] {
            client.source = source;
            assert_eq!(client.session(&mut lab, &["b"]), Some(200));
        }
        assert_eq!(lab.device_ids(), [name(5)]);
        lab.restart();
        assert_eq!(lab.device(&name(5)).unwrap().aliases, [mac_id(5)]);
    }
}

#[test]
fn a_device_that_only_knows_its_ethernet_address_stays_under_it() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].detect.neighbours = false;
    let (mut lab, _) = lab_with(options);
    let mut client = Client::new(&mac_id(5).to_uppercase().replace('-', ":"), "192.168.4.5");
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    let device = lab.device(&mac_id(5)).unwrap();
    assert_eq!((device.named, device.aliases.len()), (false, 0));
    // One day it learns to say its name.
    client.device_id = "IMEI:1".to_owned();
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    assert_eq!(lab.device_ids(), ["IMEI:1"]);
}

#[test]
fn the_second_to_claim_a_name_does_not_get_it_even_while_flash_is_slow() {
    let (mut lab, mut client) = lab();
    lab.neighbour("192.168.4.6", 6, Reachable);
    lab.slow_flash = true;
    client.start();
    let package1 = client.package1();
    let message = client.message(package1);
    assert!(client.post(&mut lab, &message).is_none());
    let mut rival = Client::new(&name(5), "192.168.4.6");
    assert_eq!(begin(&mut lab, &mut rival).header_status(), 403);
    lab.commit();
    assert_eq!(lab.device(&name(5)).unwrap().aliases, [mac_id(5)]);
    assert_eq!(lab.device_ids(), [name(5), mac_id(6)]);
}

#[test]
fn a_host_that_makes_up_names_does_not_fill_the_inventory() {
    let (mut lab, mut client) = lab();
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    for number in 1..50 {
        let mut made_up = Client::new(&format!("IMEI:{number}"), "192.168.4.5");
        let header = begin(&mut lab, &mut made_up).header_status();
        assert_eq!(header, if number < limits::CLIENTS { 200 } else { 417 }, "{number}");
    }
    assert_eq!(lab.device_ids().len(), limits::CLIENTS);
    assert_eq!(lab.refused("inventory-full"), 50 - limits::CLIENTS as u64);
    // Whoever is known already is served, and others have their room.
    assert_eq!(client.session(&mut lab, &["b"]), Some(200));
    lab.mapped_device(6, &["a"]);
}

#[test]
fn a_configured_identity_belongs_to_the_address_that_it_is_configured_for() {
    let mut options = options(&[Policy::Transparent]);
    options.accounts.push(account("IMEI:1"));
    options.accounts[0].address = Some("192.168.4.9".parse().unwrap());
    let mut lab = Lab::new(options);
    lab.neighbour("192.168.4.66", 66, Reachable);
    let mut rival = Client::new("IMEI:1", "192.168.4.66");
    assert_eq!(begin(&mut lab, &mut rival).header_status(), 403);
    assert!(lab.device("IMEI:1").unwrap().conflict.is_some());
    lab.neighbour("192.168.4.9", 9, Reachable);
    let mut client = Client::new("IMEI:1", "192.168.4.9");
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
}

#[test]
fn a_configured_device_that_was_found_under_its_ethernet_address_keeps_its_list() {
    let mut options = options(&[Policy::Transparent]);
    options.accounts.push(account("IMEI:1"));
    let (mut lab, _) = lab_with(options);
    let mut client = Client::new(&mac_id(5), "192.168.4.5");
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    let mut client = Client::new("IMEI:1", "192.168.4.5");
    begin(&mut lab, &mut client);
    assert_eq!(lab.device_ids(), ["IMEI:1"]);
    assert_eq!(lab.mappings(), ["a > IMEI:1"]);
    lab.restart();
    assert_eq!(lab.device_ids(), ["IMEI:1"]);
    assert_eq!(lab.mappings(), ["a > IMEI:1"]);
}

#[test]
fn without_verification_lease_and_configuration_still_say_who_is_where() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].verify = Verify::None;
    options.accounts.push(account("IMEI:1"));
    options.accounts[0].address = Some("127.0.1.1".parse().unwrap());
    let mut lab = Lab::new(options);
    lab.leases(&[(5, "127.0.1.5")]);
    let mut client = Client::new("IMEI:1", "127.0.1.1");
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    for rival in ["127.0.1.5", "127.0.1.9"] {
        let mut rival = Client::new("IMEI:1", rival);
        assert_eq!(begin(&mut lab, &mut rival).header_status(), 403);
    }
    // The lease's owner may not call itself by another Ethernet address.
    let mut rival = Client::new(&mac_id(6), "127.0.1.5");
    assert_eq!(begin(&mut lab, &mut rival).header_status(), 403);
    let mut leased = Client::new("IMEI:5", "127.0.1.5");
    assert_eq!(leased.session(&mut lab, &["a"]), Some(200));
    assert_eq!(lab.device("IMEI:5").unwrap().aliases, [mac_id(5)]);
}

#[test]
fn sources_that_are_no_identity_are_refused() {
    let (mut lab, mut client) = lab();
    for source in ["two words", "tab\there", &"x".repeat(256), " "] {
        client.source = source.to_owned();
        client.start();
        let package1 = client.package1();
        let message = client.message(package1);
        let body = client.encoding.encode(&message);
        let response = lab.post(0, client.ip, client.encoding.content_type(), &body).unwrap();
        if response.status == 200 {
            assert_eq!(Reply::new(response).header_status(), 403, "{source:.10}");
        }
    }
    assert_eq!(lab.device_ids(), [mac_id(5)]);
}

#[test]
fn a_session_id_is_bounded() {
    let (mut lab, mut client) = lab();
    client.start();
    let package1 = client.package1();
    let mut message = client.message(package1);
    message.header.session_id = "F".repeat(65).into();
    assert_eq!(client.post(&mut lab, &message).unwrap().header_status(), 400);
    message.header.session_id = "F".repeat(64).into();
    assert_eq!(client.post(&mut lab, &message).unwrap().header_status(), 200);
}

// --- How real clients differ ------------------------------------------------------------------------

#[test]
fn a_client_without_a_status_for_synchdr_and_with_equal_command_ids_is_served() {
    let (mut lab, mut client) = lab();
    let reply = begin(&mut lab, &mut client);
    let answer = client.answer_detection(&reply, 501).unwrap();
    let mut message = client.message(vec![answer, list_alert(&["a"])]);
    for command in &mut message.commands {
        match command {
            Command::Status(status) => status.command_id = "1".into(),
            Command::Alert(alert) => alert.command_id = "1".into(),
            _ => {}
        }
    }
    let reply = client.post(&mut lab, &message).unwrap();
    assert_eq!(reply.status_of("Alert"), Some(200));
    assert!(reply.ends());
}

#[test]
fn a_client_that_puts_a_status_before_package_1_after_a_challenge_is_served() {
    for encoding in BOTH {
        let (mut lab, mut client) = authenticated(DeviceAuth::Md5, false);
        client.encoding = encoding;
        let reply = begin(&mut lab, &mut client);
        client.proof = proof(Scheme::Md5, &reply.next_nonce().unwrap());
        let Command::Status(mut status) = header_status(&reply, 200, b"") else {
            panic!("a Status")
        };
        status.challenge = None;
        let mut commands = vec![Command::Status(status)];
        commands.extend(client.package1());
        let reply = client.say(&mut lab, commands);
        assert_eq!(reply.header_status(), 212);
        assert!(reply.detection().is_some());
    }
}

#[test]
fn a_basic_cred_with_empty_data_counts_as_none() {
    let empty = Credentials {
        meta: Meta { kind: Some("syncml:auth-basic".into()), ..Meta::default() },
        data: Some(Data::Text("".into())),
    };
    for (device_auth, code) in
        [(DeviceAuth::None, 200), (DeviceAuth::Basic, 407), (DeviceAuth::Md5, 407)]
    {
        let (mut lab, mut client) = authenticated(device_auth, false);
        client.start();
        let package1 = client.package1();
        let mut message = client.message(package1);
        message.header.credentials = Some(empty.clone());
        assert_eq!(client.post(&mut lab, &message).unwrap().header_status(), code);
    }
}

#[test]
fn a_client_that_gives_a_nonce_with_every_message_is_served() {
    let (mut lab, mut client) = authenticated(DeviceAuth::Md5, true);
    let reply = begin(&mut lab, &mut client);
    client.proof = proof(Scheme::Md5, &reply.next_nonce().unwrap());
    let package1 = client.package1();
    let reply = client.say(&mut lab, package1);
    // Accepted, and challenged all the same.
    let answer = client.answer_detection(&reply, 500).unwrap();
    let commands = vec![header_status(&reply, 200, b"VG05dVkyVT0="), answer];
    let reply = client.say(&mut lab, commands);
    assert!(reply.ends(), "{reply:?}");
    assert_eq!(own_credentials(&reply, b"VG05dVkyVT0=", Scheme::Md5), Some(Verdict::Accepted));
}

#[test]
fn nonces_that_nothing_is_proven_by_cost_no_flash() {
    let (mut lab, mut client) = lab();
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    let commits = lab.commits;
    for number in 0..20 {
        let reply = begin(&mut lab, &mut client);
        client.say(&mut lab, vec![header_status(&reply, 200, format!("{number}").as_bytes())]);
    }
    assert_eq!(lab.commits, commits);
}

#[test]
fn a_session_under_another_id_than_package_0_asked_for_is_served() {
    let (mut lab, mut client) = lab();
    lab.advance(5 * SECOND);
    let package0 = lab.take_sent()[0].package0();
    client.session_id = u16::from_le_bytes([package0[21], package0[22]]).wrapping_sub(1);
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
}

#[test]
fn a_client_that_answers_nothing_but_the_list_is_served() {
    let (mut lab, mut client) = lab();
    begin(&mut lab, &mut client);
    let reply = client.say(&mut lab, vec![list_alert(&["a"])]);
    assert_eq!(reply.status_of("Alert"), Some(200));
    assert!(reply.ends());
}

#[test]
fn the_answer_is_in_the_encoding_of_each_message() {
    let (mut lab, mut client) = lab();
    client.encoding = Encoding::Wbxml;
    let reply = begin(&mut lab, &mut client);
    client.encoding = Encoding::Xml;
    let answer = client.answer_detection(&reply, 200).unwrap();
    assert_eq!(client.say(&mut lab, vec![answer]).encoding, Some(Encoding::Xml));
}

#[test]
fn ipv6_peers_are_told_the_ipv6_address_they_reached() {
    let (mut lab, mut client) = lab();
    lab.neighbour("fd00:4::5", 5, Reachable);
    client.ip = IpAddr::from([0xfd00, 4, 0, 0, 0, 0, 0, 5]);
    let reply = begin(&mut lab, &mut client);
    let uri = reply.message().header.response_uri.clone();
    assert_eq!(uri.as_deref(), Some("http://[fd00:4::1]:8080/dm"));
}

#[test]
fn one_silent_device_does_not_keep_others_from_their_sessions() {
    let mut lab = Lab::transparent();
    for number in 1..100 {
        let ip = format!("192.168.4.{number}");
        lab.neighbour(&ip, number, Reachable);
        begin(&mut lab, &mut Client::new(&name(number), &ip));
    }
    lab.advance(MINUTE);
    let mut client = Client::new(&name(7), "192.168.4.7");
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
}
