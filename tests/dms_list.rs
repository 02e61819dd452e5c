//! The BootstrappedDMSList: which spellings are taken, what a list, an empty one and a refused
//! one lead to, and when the device may rely on it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use dm_gateway::gateway::alert::ServerId;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::policy::{DeviceAuth, Policy};
use dm_gateway::gateway::seam::ConnectionId;
use dm_gateway::proto::syncml::{Alert, AlertCode, Command, Data, Encoding, Item, Meta};
use std::time::Duration;

const REGISTERED: &str = "urn:oma:at:oma-gwmo:BootstrappedDMSList:1.0";
const DRAFT: &str = "urn:oma:gwmo:1.0:BootstrappedDMSList";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A LAN with device 5 on it, and the device.
fn lab() -> (Lab, Client) {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    (lab, Client::new(&name(5), "192.168.4.5"))
}

/// Has the device bring a list with its first message, unasked. The Status of the alert.
fn bring(lab: &mut Lab, client: &mut Client, alert: Command<'static>) -> u16 {
    client.start();
    let mut commands = client.package1();
    commands.push(alert);
    client.say(lab, commands).status_of("Alert").unwrap()
}

fn bring_list(lab: &mut Lab, client: &mut Client, servers: &[&str]) -> u16 {
    bring(lab, client, list_alert(servers))
}

/// A generic alert of that type with that payload.
fn alert(kind: &'static str, payload: Data<'static>) -> Command<'static> {
    let meta = Meta { kind: Some(kind.into()), format: Some("chr".into()), ..Meta::default() };
    let item = Item { meta, data: Some(payload), ..Item::default() };
    let code = Some(AlertCode::GENERIC);
    Command::Alert(Alert { code, items: vec![item], ..Alert::default() })
}

fn payload_of(ids: &[&str]) -> String {
    let infos = ids.iter().map(|id| format!("<ServerInfo><ID>{id}</ID></ServerInfo>"));
    format!("<ServerList>{}</ServerList>", infos.collect::<String>())
}

fn servers(lab: &Lab) -> Vec<String> {
    lab.device(&name(5)).unwrap().servers
}

// --- Spellings --------------------------------------------------------------------------------

#[test]
fn both_families_of_types_and_every_packing_of_the_payload_are_taken() {
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        for kind in [REGISTERED, DRAFT] {
            let packings: [fn(String) -> Data<'static>; 3] = [
                |payload| Data::Markup(payload.into()),
                |payload| Data::Text(payload.into()),
                |payload| Data::Binary(payload.into_bytes().into()),
            ];
            for (index, packing) in packings.into_iter().enumerate() {
                if encoding == Encoding::Xml && index == 2 {
                    continue; // Octets in XML would be base64, which no device sends.
                }
                let (mut lab, mut client) = lab();
                client.encoding = encoding;
                let payload = packing(payload_of(&["http://a.example/x?a=1", "b"]));
                let status = bring(&mut lab, &mut client, alert(kind, payload));
                assert_eq!(status, 200, "{encoding:?} {kind} {index}");
                assert_eq!(servers(&lab), ["http://a.example/x?a=1", "b"]);
                assert_eq!(lab.mappings().len(), 2);
            }
        }
    }
}

#[test]
fn the_change_requests_own_sample_is_taken() {
    let sample = "\n<ServerList>\n <ServerInfo>\n  <ID>http://www.someDMServer.com </ID>\n \
                  </ServerInfo>\n <ServerInfo>\n  <ID> http://www.otherDMServer.com </ID>\n \
                  </ServerInfo>\n</ServerList>\n-- ";
    let (mut lab, mut client) = lab();
    let data = Data::Markup(sample.into());
    assert_eq!(bring(&mut lab, &mut client, alert(DRAFT, data)), 200);
    assert_eq!(servers(&lab), ["http://www.someDMServer.com", "http://www.otherDMServer.com"]);
}

#[test]
fn a_type_on_the_command_and_a_correlator_are_taken() {
    let (mut lab, mut client) = lab();
    let Command::Alert(mut alert) = list_alert(&["a"]) else { panic!("an alert") };
    alert.meta = std::mem::take(&mut alert.items[0].meta);
    alert.correlator = Some("x".into());
    assert_eq!(bring(&mut lab, &mut client, Command::Alert(alert)), 200);
    assert_eq!(servers(&lab), ["a"]);
}

#[test]
fn a_list_may_come_as_the_answer_or_unasked_or_in_any_later_message() {
    let (mut lab, mut client) = lab();
    assert_eq!(client.session(&mut lab, &["a"]), Some(200));
    assert_eq!(servers(&lab), ["a"]);
    assert_eq!(bring_list(&mut lab, &mut client, &["b"]), 200);
    assert_eq!(servers(&lab), ["b"]);
    client.start();
    let package1 = client.package1();
    client.say(&mut lab, package1);
    client.say(&mut lab, vec![list_alert(&["c"])]);
    assert_eq!(servers(&lab), ["c"], "the alert that was asked for needs no answer of its own");
}

#[test]
fn a_list_in_a_package_of_several_messages_is_taken() {
    let (mut lab, mut client) = lab();
    client.start();
    let package1 = client.package1();
    let mut message = client.message(package1);
    message.is_final = false;
    let reply = client.post(&mut lab, &message).unwrap();
    assert_eq!(reply.detection(), None, "the device has not finished");
    assert!(!reply.message().is_final);
    assert!(asks_for_more(&reply));
    let mut message = client.message(vec![list_alert(&["a"])]);
    message.is_final = false;
    let reply = client.post(&mut lab, &message).unwrap();
    assert_eq!(reply.status_of("Alert"), Some(200));
    assert!(asks_for_more(&reply));
    let reply = client.say(&mut lab, vec![]);
    assert!(reply.ends(), "it has brought its list: {reply:?}");
    assert_eq!(servers(&lab), ["a"]);
    assert_eq!(lab.gateway.status(lab.now).counters.sessions, 1);
}

fn asks_for_more(reply: &Reply) -> bool {
    reply.message().commands.iter().any(
        |it| matches!(it, Command::Alert(alert) if alert.code == Some(AlertCode::NEXT_MESSAGE)),
    )
}

#[test]
fn the_gateways_own_id_on_a_list_is_no_server_to_be_reached() {
    let (mut lab, mut client) = lab();
    assert_eq!(bring_list(&mut lab, &mut client, &["a", GATEWAY]), 200);
    assert_eq!(servers(&lab), ["a"]);
}

// --- What is refused --------------------------------------------------------------------------

/// Brings a payload that must be refused with `status` and change nothing.
fn refused(payload: &str, status: u16) {
    let (mut lab, mut client) = lab();
    assert_eq!(bring_list(&mut lab, &mut client, &["a"]), 200);
    let (records, commits) = (lab.store.records().clone(), lab.commits);
    let data = Data::Markup(payload.to_owned().into());
    client.start();
    let mut commands = client.package1();
    commands.push(alert(REGISTERED, data));
    let reply = client.say(&mut lab, commands);
    assert_eq!(reply.status_of("Alert"), Some(status), "{payload:.80}");
    assert_eq!(reply.header_status(), 200);
    assert!(reply.detection().is_some(), "it has not brought its list yet");
    assert_eq!((servers(&lab), lab.commits), (vec!["a".to_owned()], commits));
    assert_eq!(lab.store.records(), &records);
    let reason = if status == 413 { "list-too-large" } else { "malformed-list" };
    assert_eq!(lab.refused(reason), 1);
    let refusals = lab.take_events(EventKind::Refused);
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].device.as_deref(), Some(&*name(5)));
}

#[test]
fn a_list_beyond_the_bounds_is_refused_with_413() {
    let ids: Vec<_> = (0..17).map(|number| format!("server-{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    refused(&payload_of(&ids), 413);
    refused(&payload_of(&[&"i".repeat(256)]), 413);
    refused(&(payload_of(&["a"]) + &" ".repeat(16 * 1024)), 413);
}

#[test]
fn sixteen_servers_of_255_octets_are_taken() {
    let (mut lab, mut client) = lab();
    let ids: Vec<_> = (0..16).map(|number| format!("{number:0255}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    assert_eq!(bring_list(&mut lab, &mut client, &ids), 200);
    lab.restart();
    assert_eq!(lab.mappings().len(), 16);
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.push(ids[15], &name(5), 1);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_malformed_list_is_refused_with_412() {
    for payload in [
        "",
        "-",
        "<ServerList>",
        "<ServerList><ServerInfo/></ServerList>",
        "<ServerList><ServerInfo><ID> </ID></ServerInfo></ServerList>",
        "<ServerList><ServerInfo><ID>a</ID><ID>b</ID></ServerInfo></ServerList>",
        "<ServerList><Server>a</Server></ServerList>",
        "<ServerList/>x",
        "<!DOCTYPE a><ServerList/>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><ServerList/>",
        "<ServerList><ServerInfo><ID>&b;</ID></ServerInfo></ServerList>",
        "<ServerList><ServerInfo><ID>a\u{7}b</ID></ServerInfo></ServerList>",
    ] {
        if !payload.contains('\u{7}') {
            refused(payload, 412);
        }
    }
    refused("<ServerList><ServerInfo><ID>a&#7;b</ID></ServerInfo></ServerList>", 412);
}

#[test]
fn a_generic_alert_that_means_something_else_is_refused_and_changes_nothing() {
    let (mut lab, mut client) = lab();
    let data = || Data::Text("x".into());
    let associated = alert("urn:oma:at:oma-gwmo:AssociatedGateway:1.0", data());
    assert_eq!(bring(&mut lab, &mut client, associated), 406);
    let other = alert("urn:oma:at:scomo:1.0:OperationComplete", data());
    assert_eq!(bring(&mut lab, &mut client, other), 415);
    assert_eq!(servers(&lab), [""; 0]);
}

// --- Replacing --------------------------------------------------------------------------------

#[test]
fn a_new_list_replaces_the_old_one() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a", "b"]);
    lab.events.clear();
    bring_list(&mut lab, &mut client, &["b", "c"]);
    assert_eq!(servers(&lab), ["b", "c"]);
    let pairs = |events: Vec<dm_gateway::gateway::event::Event>| {
        events.into_iter().map(|it| it.server.unwrap().to_string()).collect::<Vec<_>>()
    };
    let events = lab.events.clone();
    assert_eq!(pairs(lab.take_events(EventKind::Mapped)), ["c"]);
    lab.events = events;
    assert_eq!(pairs(lab.take_events(EventKind::Unmapped)), ["a"]);
    lab.push("a", &name(5), 1);
    assert_eq!(lab.refused("unknown-server"), 1);
}

#[test]
fn the_same_list_again_is_not_written_again() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a", "b"]);
    let commits = lab.commits;
    for _ in 0..3 {
        assert_eq!(bring_list(&mut lab, &mut client, &["a", "b"]), 200);
        lab.advance(MINUTE);
    }
    assert_eq!(lab.commits, commits);
    lab.advance(2 * DAY);
    assert_eq!(bring_list(&mut lab, &mut client, &["a", "b"]), 200);
    assert_eq!(lab.commits, commits + 1, "its age is kept to the day");
}

#[test]
fn lists_of_two_devices_do_not_touch_each_other() {
    let mut lab = Lab::transparent();
    let mut first = lab.mapped_device(5, &["a", "b"]);
    lab.mapped_device(6, &["b"]);
    bring_list(&mut lab, &mut first, &["c"]);
    assert_eq!(lab.mappings(), [format!("b > {}", name(6)), format!("c > {}", name(5))]);
}

// --- Empty lists ------------------------------------------------------------------------------

#[test]
fn an_empty_list_leaves_the_mappings_unconfirmed_and_in_force() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(bring_list(&mut lab, &mut client, &[]), 200);
        assert!(lab.device(&name(5)).unwrap().unconfirmed);
        assert_eq!(lab.mappings().len(), 2);
    }
    lab.restart();
    assert!(lab.gateway.mappings(lab.now).iter().all(|mapping| mapping.unconfirmed));
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.push("a", &name(5), 1);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn unconfirmed_mappings_go_with_the_third_empty_list() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a"]);
    for _ in 0..2 {
        bring_list(&mut lab, &mut client, &[]);
    }
    assert_eq!(lab.mappings().len(), 1);
    lab.restart();
    lab.neighbour("192.168.4.5", 5, Reachable);
    bring_list(&mut lab, &mut client, &[]);
    assert_eq!((lab.mappings().len(), servers(&lab).len()), (0, 0));
    assert!(!lab.device(&name(5)).unwrap().unconfirmed);
    lab.restart();
    assert_eq!(lab.mappings().len(), 0);
}

#[test]
fn unconfirmed_mappings_go_with_the_next_non_empty_list() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a", "b"]);
    bring_list(&mut lab, &mut client, &[]);
    bring_list(&mut lab, &mut client, &["b"]);
    assert_eq!(servers(&lab), ["b"]);
    assert!(!lab.device(&name(5)).unwrap().unconfirmed);
    // The count starts over.
    for _ in 0..2 {
        bring_list(&mut lab, &mut client, &[]);
    }
    assert_eq!(lab.mappings().len(), 1);
}

#[test]
fn unconfirmed_mappings_go_after_seven_days() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a"]);
    bring_list(&mut lab, &mut client, &[]);
    lab.advance(3 * DAY);
    bring_list(&mut lab, &mut client, &[]);
    lab.advance(3 * DAY);
    lab.restart();
    assert_eq!(lab.mappings().len(), 1);
    lab.advance(DAY - MINUTE);
    assert_eq!(lab.mappings().len(), 1, "the days count from the first empty list");
    lab.advance(2 * MINUTE);
    assert_eq!(lab.mappings().len(), 0);
    assert_eq!(lab.take_events(EventKind::Unmapped).len(), 1);
    lab.restart();
    assert_eq!(lab.mappings().len(), 0);
}

#[test]
fn a_store_that_fails_when_the_seven_days_are_over_is_tried_again() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a"]);
    bring_list(&mut lab, &mut client, &[]);
    lab.store.fail_next(3);
    lab.advance(7 * DAY + SECOND);
    assert_eq!(lab.mappings().len(), 1, "memory says what flash says");
    lab.advance(10 * MINUTE);
    assert_eq!(lab.mappings().len(), 0);
}

#[test]
fn empty_lists_of_one_session_count_once() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a"]);
    client.start();
    for _ in 0..3 {
        let mut message = client.message(vec![list_alert(&[]), list_alert(&[])]);
        message.is_final = false;
        let reply = client.post(&mut lab, &message).unwrap();
        assert_eq!(reply.status_of("Alert"), Some(200));
    }
    assert_eq!(lab.mappings().len(), 1);
}

#[test]
fn a_clock_that_was_not_set_yet_ends_no_mapping() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a"]);
    let right = lab.now.unix;
    lab.now.unix = 100;
    lab.restart();
    lab.neighbour("192.168.4.5", 5, Reachable);
    bring_list(&mut lab, &mut client, &[]);
    lab.now.unix = right;
    lab.restart();
    lab.advance(6 * DAY);
    assert_eq!(lab.mappings().len(), 1);
    lab.advance(2 * DAY);
    assert_eq!(lab.mappings().len(), 0);
}

#[test]
fn a_list_with_only_the_gateway_on_it_is_an_empty_one() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a"]);
    bring_list(&mut lab, &mut client, &[GATEWAY]);
    assert!(lab.device(&name(5)).unwrap().unconfirmed);
    assert_eq!(lab.mappings().len(), 1);
}

// --- Policies ---------------------------------------------------------------------------------

#[test]
fn in_bootstrap_the_servers_are_wanted_and_nothing_is_mapped() {
    let mut lab = Lab::new(options(&[Policy::Bootstrap]));
    lab.neighbour("192.168.4.5", 5, Reachable);
    let mut client = Client::new(&name(5), "192.168.4.5");
    assert_eq!(client.session(&mut lab, &["a", "b"]), Some(200));
    assert_eq!(lab.mappings(), [""; 0]);
    let status = lab.gateway.status(lab.now);
    assert_eq!((status.wanted, status.mappings), (2, 0));
    assert_eq!(lab.take_events(EventKind::Wanted).len(), 2);
    lab.restart();
    let servers = lab.gateway.servers(lab.now);
    let states: Vec<_> = servers.iter().map(|it| (&*it.id, &*it.state, it.wanted)).collect();
    assert_eq!(states, [("a", "wanted", 1), ("b", "wanted", 1)], "this outlives a restart");
}

#[test]
fn in_ignore_a_list_is_noted_and_has_no_effect() {
    let mut lab = Lab::new(options(&[Policy::Ignore]));
    lab.neighbour("192.168.4.5", 5, Reachable);
    let mut client = Client::new(&name(5), "192.168.4.5");
    assert_eq!(bring_list(&mut lab, &mut client, &["a"]), 200);
    assert_eq!(lab.mappings(), [""; 0]);
    assert_eq!(lab.gateway.servers(lab.now)[0].state, "noted");
    assert_eq!(lab.gateway.status(lab.now).wanted, 0);
}

// --- When the device may rely on it -----------------------------------------------------------

/// Begins to bring a list while flash is slow: the answer has to wait.
fn bring_slowly(lab: &mut Lab, client: &mut Client, servers: &[&str]) -> ConnectionId {
    client.start();
    let mut commands = client.package1();
    commands.push(list_alert(servers));
    let body = client.encoding.encode(&client.message(commands));
    let content_type = Some(client.encoding.content_type());
    let path = "/dm";
    let request =
        dm_gateway::gateway::seam::Request { method: "POST", path, content_type, body: &body };
    lab.request(0, client.ip, request)
}

#[test]
fn status_200_leaves_only_when_the_list_is_on_flash() {
    let (mut lab, mut client) = lab();
    client.session(&mut lab, &[]);
    lab.slow_flash = true;
    let connection = bring_slowly(&mut lab, &mut client, &["a"]);
    assert!(lab.response(connection).is_none());
    assert_eq!(lab.mappings(), [""; 0], "memory follows flash");
    lab.push("a", &name(5), 1);
    assert_eq!(lab.refused("unknown-server"), 1);
    lab.commit();
    let reply = Reply::new(lab.response(connection).unwrap());
    assert_eq!(reply.status_of("Alert"), Some(200));
    assert_eq!(lab.mappings().len(), 1);
    lab.restart();
    assert_eq!(lab.mappings().len(), 1);
}

#[test]
fn the_same_list_on_a_second_connection_waits_as_well() {
    let (mut lab, mut client) = lab();
    client.session(&mut lab, &[]);
    lab.slow_flash = true;
    let first = bring_slowly(&mut lab, &mut client, &["a"]);
    let second = bring_slowly(&mut lab, &mut client, &["a"]);
    assert!(lab.response(first).is_none() && lab.response(second).is_none());
    lab.store.fail_next(2);
    lab.commit();
    for connection in [first, second] {
        let reply = Reply::new(lab.response(connection).unwrap());
        assert_eq!(reply.status_of("Alert"), Some(500));
    }
    assert_eq!(lab.mappings(), [""; 0]);
}

#[test]
fn a_failed_commit_is_answered_500_and_changes_nothing() {
    let (mut lab, mut client) = lab();
    bring_list(&mut lab, &mut client, &["a"]);
    let records = lab.store.records().clone();
    lab.events.clear();
    lab.store.fail_next(1);
    assert_eq!(bring_list(&mut lab, &mut client, &["b"]), 500);
    assert_eq!(servers(&lab), ["a"]);
    assert_eq!(lab.store.records(), &records);
    assert_eq!(lab.refused("store-failed"), 1);
    assert_eq!(lab.take_events(EventKind::Store).len(), 1);
    assert_eq!(lab.gateway.status(lab.now).problems.len(), 1);
    // Forwarding goes on from memory meanwhile, and the next list is taken.
    lab.push("a", &name(5), 1);
    assert_eq!(lab.sent.len(), 1);
    assert_eq!(bring_list(&mut lab, &mut client, &["b"]), 200);
    assert_eq!(lab.gateway.status(lab.now).problems.len(), 0);
    lab.restart();
    assert_eq!(servers(&lab), ["b"]);
}

#[test]
fn lists_that_overtake_each_other_leave_the_newer_one() {
    let (mut lab, mut client) = lab();
    lab.slow_flash = true;
    bring_slowly(&mut lab, &mut client, &["a"]);
    bring_slowly(&mut lab, &mut client, &["b"]);
    lab.commit();
    assert_eq!(servers(&lab), ["b"]);
    lab.restart();
    assert_eq!(servers(&lab), ["b"]);
}

#[test]
fn a_list_without_accepted_credentials_is_not_even_read() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].device_auth = DeviceAuth::Basic;
    options.accounts.push(account(&name(5)));
    let mut lab = Lab::new(options);
    lab.neighbour("192.168.4.5", 5, Reachable);
    let mut client = Client::new(&name(5), "192.168.4.5");
    assert_eq!(bring_list(&mut lab, &mut client, &["a"]), 407);
    assert_eq!(lab.mappings(), [""; 0]);
    assert_eq!(lab.gateway.status(lab.now).counters.lists, 0);
}

#[test]
fn ids_are_opaque_names_whatever_they_look_like() {
    let (mut lab, mut client) = lab();
    let odd = ["http://127.1/", "file:///etc/passwd", "\u{202e}gro.elpmaxe", "a b", "<x>&y"];
    assert_eq!(bring_list(&mut lab, &mut client, &odd), 200);
    assert_eq!(servers(&lab), odd);
    for (session, id) in odd.iter().enumerate() {
        assert!(ServerId::new(id).is_ok());
        lab.push(id, &name(5), session as u16);
    }
    assert_eq!(lab.take_sent().len(), odd.len());
}
