//! Operators' words on devices and servers, in the Lab: they hold over restarts, a rehearsal
//! changes nothing, and each is written down.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

mod common;

use common::{Client, Lab, MINUTE, Reachable, mac_id, mac_of, options};
use dm_gateway::gateway::audit::By;
use dm_gateway::gateway::management::Operation;
use dm_gateway::gateway::policy::Policy;

const RADIO: &str = "IMEI:490154203237518";
const AT: &str = "192.168.4.7";
const DMS: &str = "com.example.dms";
const OTHER: &str = "com.example.other";

fn device() -> String {
    RADIO.to_owned()
}

fn map(server: &str) -> Operation {
    Operation::Map { server: server.to_owned(), device: device() }
}

fn unmap(server: &str) -> Operation {
    Operation::Unmap { server: server.to_owned(), device: device() }
}

fn trust(hardware: Option<&str>) -> Operation {
    Operation::Trust { device: device(), hardware: hardware.map(str::to_owned) }
}

fn rehearse(operation: &Operation) -> Operation {
    Operation::Rehearse(Box::new(operation.clone()))
}

/// A radio on a transparent LAN that named one server.
fn with_radio(policy: Policy) -> (Lab, Client) {
    let mut lab = Lab::new(options(&[policy]));
    lab.neighbour(AT, 1, Reachable);
    let mut radio = Client::new(RADIO, AT);
    radio.session(&mut lab, &[DMS]);
    lab.take_sent();
    (lab, radio)
}

/// Whether a push of that server for the radio went on to it.
fn passes(lab: &mut Lab, server: &str, session: u16) -> bool {
    lab.advance(MINUTE);
    lab.take_sent();
    lab.push(server, RADIO, session);
    let live = !lab.take_sent().is_empty();
    // The live path and `map explain` are one.
    assert_eq!(lab.gateway.explain(server, RADIO).allowed, live);
    live
}

fn rule(lab: &Lab, server: &str) -> String {
    lab.gateway.explain(server, RADIO).rule
}

#[test]
fn a_blocked_device_is_refused_pushes_and_sessions_until_it_is_unblocked() {
    let (mut lab, mut radio) = with_radio(Policy::Transparent);
    assert!(passes(&mut lab, DMS, 1));
    let lines = lab.operate(Operation::Block { device: device() }).unwrap().unwrap();
    assert!(lines[0].starts_with("IMEI:490154203237518: blocked"), "{lines:?}");
    for restarted in [false, true] {
        if restarted {
            lab.restart();
            lab.neighbour(AT, 1, Reachable);
        }
        assert!(!passes(&mut lab, DMS, 2));
        assert_eq!(rule(&lab, DMS), "device-blocked");
        radio.start();
        let reply = radio.say(&mut lab, radio.package1());
        assert_eq!(reply.header_status(), 403);
        // Another name at the same Ethernet address is refused as well.
        let mut other = Client::new("IMEI:1", AT);
        assert_eq!(other.say(&mut lab, other.package1()).header_status(), 403);
        let refused = lab.gateway.status(lab.now).refused;
        assert_eq!(refused["blocked"].count, 3, "{refused:?}");
        let view = lab.gateway.devices(lab.now).remove(0);
        assert!(view.blocked && view.id == RADIO);
    }
    assert!(lab.operate(Operation::Block { device: device() }).unwrap().is_err());
    lab.operate(Operation::Unblock { device: device() }).unwrap().unwrap();
    assert!(passes(&mut lab, DMS, 3));
    assert_eq!(radio.session(&mut lab, &[DMS]), Some(200));
}

#[test]
fn a_blocked_device_is_neither_asked_nor_sent_what_was_held() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    lab.neighbour(AT, 1, common::Failed);
    lab.push(DMS, RADIO, 1);
    assert_eq!(lab.gateway.status(lab.now).waiting, 1);
    lab.operate(Operation::Block { device: device() }).unwrap().unwrap();
    assert_eq!(lab.gateway.status(lab.now).waiting, 0);
    lab.take_sent();
    lab.neighbour(AT, 1, Reachable);
    lab.advance(10 * MINUTE);
    assert_eq!(lab.take_sent(), []);
}

#[test]
fn an_address_that_was_blocked_stays_so_when_its_owner_gives_a_name() {
    let mut lab = Lab::transparent();
    lab.neighbour(AT, 1, Reachable);
    lab.operate(Operation::Block { device: mac_id(1) }).unwrap().unwrap();
    let mut radio = Client::new(RADIO, AT);
    assert_eq!(radio.say(&mut lab, radio.package1()).header_status(), 403);
}

#[test]
fn an_operator_maps_a_server_that_the_device_did_not_name() {
    for policy in [Policy::Transparent, Policy::Ignore, Policy::Bootstrap] {
        let (mut lab, mut radio) = with_radio(policy);
        assert!(!passes(&mut lab, OTHER, 1));
        let lines = lab.operate(map(OTHER)).unwrap().unwrap();
        assert!(lines[0].starts_with("before: refused: "), "{lines:?}");
        assert!(passes(&mut lab, OTHER, 2));
        assert_eq!(rule(&lab, OTHER), "operator-added");
        // The device's own lists do not end it, nor does a restart.
        radio.session(&mut lab, &[DMS, "com.example.third"]);
        lab.restart();
        lab.neighbour(AT, 1, Reachable);
        assert!(passes(&mut lab, OTHER, 3));
        let mappings = lab.gateway.mappings(lab.now);
        let origin = |server: &str| {
            mappings.iter().find(|it| it.server == server).map(|it| it.origin.clone())
        };
        assert_eq!(origin(OTHER).as_deref(), Some("operator"));
        if policy == Policy::Transparent {
            assert_eq!(origin(DMS).as_deref(), Some("device"));
        }
        assert!(lab.operate(map(OTHER)).unwrap().is_err());
        lab.operate(unmap(OTHER)).unwrap().unwrap();
        assert!(!passes(&mut lab, OTHER, 4));
    }
}

#[test]
fn a_removed_mapping_stays_removed_whatever_the_device_lists_until_it_is_added() {
    let (mut lab, mut radio) = with_radio(Policy::Transparent);
    let lines = lab.operate(unmap(DMS)).unwrap().unwrap();
    assert!(lines[1].contains("map add com.example.dms IMEI:490154203237518"), "{lines:?}");
    assert!(!passes(&mut lab, DMS, 1));
    assert_eq!(rule(&lab, DMS), "operator-removed");
    radio.session(&mut lab, &[OTHER]);
    radio.session(&mut lab, &[DMS]);
    lab.restart();
    lab.neighbour(AT, 1, Reachable);
    assert!(!passes(&mut lab, DMS, 2));
    assert!(lab.operate(unmap(DMS)).unwrap().is_err());
    lab.operate(map(DMS)).unwrap().unwrap();
    assert!(passes(&mut lab, DMS, 3));
    // It is the device's mapping again: it ends when the device does not name the server.
    assert_eq!(rule(&lab, DMS), "mapped");
    radio.session(&mut lab, &[OTHER]);
    assert!(!passes(&mut lab, DMS, 4));
}

#[test]
fn a_pair_that_is_no_mapping_cannot_be_removed() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    let why = lab.operate(unmap(OTHER)).unwrap().unwrap_err();
    assert!(why.contains("; try: dm-gateway map explain com.example.other "), "{why}");
    for wrong in ["", "\n", &"x".repeat(300)] {
        assert!(lab.operate(map(wrong)).unwrap().is_err());
        assert!(lab.operate(unmap(wrong)).unwrap().is_err());
    }
    let of_nobody = Operation::Map { server: DMS.into(), device: "IMEI:0".into() };
    assert!(lab.operate(of_nobody).unwrap().unwrap_err().contains("dm-gateway devices"));
}

#[test]
fn operators_map_no_more_servers_than_a_device_may_name() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    let results: Vec<_> =
        (0..17).map(|number| lab.operate(map(&format!("s{number}"))).unwrap()).collect();
    assert!(results[..16].iter().all(Result::is_ok) && results[16].is_err());
    assert!(lab.gateway.mappings(lab.now).len() == 17);
}

#[test]
fn a_forgotten_device_is_gone_with_its_mappings_and_comes_back_as_a_new_one() {
    let (mut lab, mut radio) = with_radio(Policy::Transparent);
    lab.operate(Operation::Block { device: device() }).unwrap().unwrap();
    let lines = lab.operate(Operation::Forget { device: device() }).unwrap().unwrap();
    assert!(lines.iter().any(|line| line.contains("was blocked")), "{lines:?}");
    assert!(lab.gateway.devices(lab.now).is_empty());
    lab.restart();
    assert!(lab.gateway.devices(lab.now).is_empty());
    assert!(!passes(&mut lab, DMS, 1));
    lab.neighbour(AT, 1, Reachable);
    assert_eq!(radio.session(&mut lab, &[DMS]), Some(200));
    assert!(passes(&mut lab, DMS, 2));
    assert!(lab.operate(Operation::Forget { device: "IMEI:0".into() }).unwrap().is_err());
}

#[test]
fn who_waits_for_a_forgotten_device_is_answered_and_nothing_of_it_reaches_the_next() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    lab.neighbour(AT, 1, common::Failed);
    lab.push(DMS, RADIO, 7);
    lab.operate(Operation::Forget { device: device() }).unwrap().unwrap();
    lab.take_sent();
    lab.neighbour("192.168.4.8", 2, Reachable);
    let mut next = Client::new("IMEI:2", "192.168.4.8");
    next.session(&mut lab, &[DMS]);
    lab.advance(MINUTE);
    assert!(lab.take_sent().iter().all(|sent| sent.server() != DMS));
}

#[test]
fn trust_settles_a_conflict_for_an_ethernet_address() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    // The radio's board was changed: the same identity, another Ethernet address.
    lab.neighbour("192.168.4.9", 9, Reachable);
    let mut rival = Client::new(RADIO, "192.168.4.9");
    assert_eq!(rival.say(&mut lab, rival.package1()).header_status(), 403);
    assert!(lab.gateway.devices(lab.now).iter().any(|device| device.conflict.is_some()));
    let mac = mac_of(9).to_string();
    let lines = lab.operate(trust(Some(&mac))).unwrap().unwrap();
    assert!(lines[0].contains(&mac), "{lines:?}");
    for restarted in [false, true] {
        if restarted {
            lab.restart();
            lab.neighbour(AT, 1, Reachable);
            lab.neighbour("192.168.4.9", 9, Reachable);
        }
        let devices = lab.gateway.devices(lab.now);
        let radio = devices.iter().find(|device| device.id == RADIO).unwrap();
        assert!(radio.conflict.is_none());
        assert_eq!(radio.aliases, [format!("mac:{mac}")]);
        assert_eq!(radio.address.as_deref(), Some("192.168.4.9"), "{restarted}");
        assert_eq!(radio.servers, [DMS]);
    }
    assert_eq!(rival.session(&mut lab, &[DMS]), Some(200));
    let mut old = Client::new(RADIO, AT);
    assert_eq!(old.say(&mut lab, old.package1()).header_status(), 403);
}

#[test]
fn trust_without_an_address_is_for_the_present_holder() {
    let (mut lab, mut radio) = with_radio(Policy::Transparent);
    lab.neighbour("192.168.4.9", 9, Reachable);
    let mut rival = Client::new(RADIO, "192.168.4.9");
    rival.say(&mut lab, rival.package1());
    lab.operate(trust(None)).unwrap().unwrap();
    let devices = lab.gateway.devices(lab.now);
    assert!(devices.iter().all(|device| device.conflict.is_none()), "{devices:?}");
    assert_eq!(radio.session(&mut lab, &[DMS]), Some(200));
}

#[test]
fn trust_takes_no_address_from_a_device_that_gave_its_name() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    lab.neighbour("192.168.4.9", 9, Reachable);
    Client::new("IMEI:2", "192.168.4.9").session(&mut lab, &[DMS]);
    let why = lab.operate(trust(Some(&mac_of(9).to_string()))).unwrap().unwrap_err();
    assert!(why.contains("devices forget IMEI:2"), "{why}");
    for wrong in ["", "01", "ff-ff-ff-ff-ff-ff"] {
        assert!(lab.operate(trust(Some(wrong))).unwrap().is_err(), "{wrong}");
    }
}

#[test]
fn a_denied_server_is_not_bootstrapped_even_if_the_configuration_allows_it() {
    let mut options = options(&[Policy::Bootstrap]);
    options.management.allow = vec!["*".to_owned()];
    options.management.sources = vec![dm_gateway::gateway::management::Source::Card];
    let mut lab = Lab::new(options);
    let deny = Operation::Deny { server: DMS.to_owned() };
    let lines = lab.operate(deny.clone()).unwrap().unwrap();
    assert!(lines[0].contains("denied"), "{lines:?}");
    assert!(lab.operate(deny).unwrap().is_err());
    lab.restart();
    lab.neighbour(AT, 1, Reachable);
    Client::new(RADIO, AT).session(&mut lab, &[DMS]);
    lab.advance(MINUTE);
    assert!(lab.calls.is_empty());
    let server = lab.gateway.servers(lab.now).remove(0);
    assert_eq!(server.state, "denied", "{server:?}");
    lab.operate(Operation::Approve { server: DMS.to_owned() }).unwrap().unwrap();
    lab.advance(MINUTE);
    assert_eq!(lab.calls.len(), 1);
}

#[test]
fn what_the_store_does_not_take_is_not_done_and_the_operator_is_told() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    lab.slow_flash = true;
    assert_eq!(lab.operate(Operation::Block { device: device() }), None);
    lab.store.fail_next(1);
    lab.commit();
    let (_, result) = lab.operated.remove(0);
    assert!(result.unwrap_err().contains("the store could not keep it"));
    lab.slow_flash = false;
    assert!(passes(&mut lab, DMS, 1));
    assert!(lab.audits.iter().any(|it| it.what == "block" && it.failed.is_some()));
}

#[test]
fn a_rehearsal_tells_the_same_and_changes_nothing() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    lab.neighbour("192.168.4.9", 9, Reachable);
    let document = std::fs::read("tests/fixtures/bootstrap/valid/factory_tree.xml").unwrap();
    let mut operations = vec![
        Operation::Block { device: device() },
        map(OTHER),
        unmap(DMS),
        trust(Some(&mac_of(9).to_string())),
        Operation::Deny { server: OTHER.to_owned() },
        Operation::Approve { server: OTHER.to_owned() },
        Operation::Provision { device: device() },
        Operation::Session { server: OTHER.to_owned() },
        Operation::Unblock { device: device() },
        Operation::Forget { device: device() },
    ];
    operations.push(Operation::Apply { document });
    for operation in operations {
        let store = lab.store.records().clone();
        let views = (lab.gateway.devices(lab.now), lab.gateway.servers(lab.now));
        let (audits, commits) = (lab.audits.len(), lab.commits);
        let rehearsed = lab.operate(rehearse(&operation)).unwrap();
        assert_eq!(*lab.store.records(), store, "{operation:?}");
        assert_eq!((lab.gateway.devices(lab.now), lab.gateway.servers(lab.now)), views);
        assert_eq!((lab.audits.len(), lab.commits, lab.calls.len()), (audits, commits, 0));
        assert!(lab.take_sent().is_empty());
        let done = lab.operate(operation.clone()).unwrap();
        assert_eq!(done.is_ok(), rehearsed.is_ok(), "{operation:?}: {done:?} {rehearsed:?}");
        if !matches!(operation, Operation::Provision { .. }) {
            assert_eq!(done, rehearsed, "{operation:?}");
        }
        lab.take_sent();
    }
}

#[test]
fn every_word_is_written_down_with_what_was_before_and_is_now() {
    let (mut lab, _) = with_radio(Policy::Transparent);
    lab.audits.clear();
    lab.operate(Operation::Block { device: mac_id(1) }).unwrap().unwrap();
    lab.operate(map(OTHER)).unwrap().unwrap();
    lab.operate(Operation::Forget { device: "IMEI:0".into() }).unwrap().unwrap_err();
    lab.operate(Operation::Forget { device: device() }).unwrap().unwrap();
    let audits = std::mem::take(&mut lab.audits);
    let whats: Vec<_> = audits.iter().map(|audit| &*audit.what).collect();
    assert_eq!(whats, ["block", "map-add", "forget", "forget"]);
    assert!(audits.iter().all(|audit| matches!(audit.by, By::Operator(_))));
    let before = "IMEI:490154203237518; at 00-16-3e-00-00-01; names com.example.dms";
    assert_eq!(audits[0].before.as_deref(), Some(before));
    assert_eq!(audits[0].after.as_deref(), Some(&*format!("{before}; blocked")));
    let after = audits[1].after.as_deref().unwrap();
    assert!(after.contains("added com.example.other"), "{after}");
    assert!(audits[2].failed.as_deref().unwrap().contains("is known"));
    assert!(audits[3].before.is_some() && audits[3].after.is_none());
}
