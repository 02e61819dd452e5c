//! An end device comes, moves or goes: what makes it known, when it is asked, where it is
//! reached.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::policy::{Policy, Verify};
use dm_gateway::gateway::seam::{Input, LanId, LinkEvent, MacAddress, NeighbourEvent};
use dm_gateway::limits;
use dm_gateway::proto::notification::{Notification, digest};
use std::time::Duration;

// --- What makes a device known ----------------------------------------------------------------

#[test]
fn a_neighbour_is_known_by_its_ethernet_address_and_asked_within_five_seconds() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.state(&mac_id(5)), "attached");
    assert_eq!(lab.take_events(EventKind::Detected).len(), 1);
    lab.advance(5 * SECOND);
    let sent = lab.take_sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].to, "192.168.4.5:2948".parse().unwrap());
    assert_eq!(sent[0].datagram[1..6], [6, 3, 0xc4, 0xaf, 0x87]);
    let package0 = sent[0].package0();
    let notification = Notification::decode(&package0).unwrap();
    assert_eq!((notification.server_id, notification.version), (GATEWAY, 11));
    assert_eq!(notification.digest, [0; 16], "a device without an account gets no digest");
    assert_ne!(notification.session_id, 0);
}

#[test]
fn a_lease_makes_a_device_known_before_the_kernel_sees_it() {
    let mut lab = Lab::transparent();
    lab.leases(&[(5, "192.168.4.5")]);
    assert_eq!(lab.state(&mac_id(5)), "attached");
    lab.advance(5 * SECOND);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn the_same_lease_file_read_again_changes_nothing() {
    let mut lab = Lab::transparent();
    lab.leases(&[(5, "192.168.4.5")]);
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.state(&mac_id(5)), "detached");
    lab.leases(&[(5, "192.168.4.5")]);
    assert_eq!(lab.state(&mac_id(5)), "detached", "the lease is the one that was known");
    lab.advance(10 * SECOND);
    lab.leases(&[(5, "192.168.4.5")]);
    assert_eq!(lab.state(&mac_id(5)), "attached", "a renewed lease is a sign of life");
}

#[test]
fn a_device_whose_lease_ended_and_whom_nobody_sees_is_detached() {
    let mut lab = Lab::transparent();
    lab.leases(&[(5, "192.168.4.5"), (6, "192.168.4.6")]);
    lab.neighbour("192.168.4.6", 6, Reachable);
    lab.leases(&[]);
    assert_eq!(lab.state(&mac_id(5)), "detached");
    assert_eq!(lab.state(&mac_id(6)), "attached", "the kernel still has it");
}

#[test]
fn a_lease_that_ends_does_not_take_a_configured_address_along() {
    let mut options = options(&[Policy::Transparent]);
    options.accounts.push(account(&mac_id(5)));
    options.accounts[0].address = Some("192.168.4.5".parse().unwrap());
    let mut lab = Lab::new(options);
    lab.leases(&[(5, "192.168.4.5")]);
    lab.leases(&[]);
    assert_eq!(lab.state(&mac_id(5)), "attached");
    assert_eq!(address(&lab), "192.168.4.5");
}

#[test]
fn an_expired_lease_makes_nobody_known() {
    let mut lab = Lab::transparent();
    let lease = |expiry| dm_gateway::gateway::seam::Lease {
        expiry,
        mac: mac_of(5),
        address: "192.168.4.5".parse().unwrap(),
    };
    let (past, never) = (lab.now.unix - 1, 0);
    for (expiry, known) in [(past, 0), (never, 1)] {
        let leases = [lease(expiry)];
        let lan = LanId(0);
        lab.handle(dm_gateway::gateway::seam::Input::Leases { lan, leases: &leases });
        assert_eq!(lab.device_ids().len(), known);
    }
}

#[test]
fn a_configured_device_is_known_and_asked_without_any_sighting() {
    let mut options = options(&[Policy::Transparent]);
    options.accounts.push(account("IMEI:1"));
    options.accounts[0].address = Some("192.168.4.9".parse().unwrap());
    let mut lab = Lab::new(options);
    assert_eq!(lab.state("IMEI:1"), "attached");
    lab.advance(5 * SECOND);
    assert_eq!(lab.take_targets(), ["192.168.4.9"]);
    // The kernel finds nobody there; later somebody is.
    lab.neighbour("192.168.4.9", 9, Failed);
    assert_eq!(lab.state("IMEI:1"), "detached");
    lab.neighbour("192.168.4.9", 9, Reachable);
    assert_eq!(lab.device_ids(), ["IMEI:1"]);
    assert_eq!(lab.state("IMEI:1"), "attached");
    assert_eq!(lab.device("IMEI:1").unwrap().aliases, [mac_id(9)]);
    // Who holds the address next is somebody else.
    lab.neighbour("192.168.4.9", 7, Reachable);
    assert_eq!(lab.device_ids(), ["IMEI:1".to_owned(), mac_id(7)]);
    assert_eq!(lab.state("IMEI:1"), "detached");
}

#[test]
fn only_the_configured_ways_of_detection_count() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].detect = Default::default();
    options.accounts.push(account("IMEI:1"));
    let mut lab = Lab::new(options);
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.leases(&[(6, "192.168.4.6")]);
    assert_eq!(lab.device_ids(), [""; 0]);
    // Opening a session is a way that cannot be switched off.
    let mut client = Client::new(&name(5), "192.168.4.5");
    assert_eq!(client.session(&mut lab, &["s"]), Some(200));
    assert_eq!(lab.device_ids(), [name(5)]);
}

#[test]
fn neighbours_that_are_no_single_device_are_left_alone() {
    let mut lab = Lab::transparent();
    lab.neighbour_on(0, "192.168.4.5", MacAddress([1, 0, 0x5e, 0, 0, 5]), Reachable);
    lab.neighbour_on(0, "192.168.4.1", MacAddress([0, 0x16, 0x3e, 0xff, 0, 0]), Reachable);
    lab.neighbour_on(7, "192.168.4.6", mac_of(6), Reachable);
    lab.neighbour("192.168.4.7", 7, Incomplete);
    assert_eq!(lab.device_ids(), [""; 0]);
}

// --- Asking -----------------------------------------------------------------------------------

#[test]
fn a_device_without_a_session_is_asked_again_after_ten_minutes_and_then_left_alone() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.advance(5 * SECOND);
    let first = lab.take_sent();
    assert_eq!(first.len(), 1);
    lab.advance(9 * MINUTE);
    assert_eq!(lab.take_sent(), []);
    lab.advance(2 * MINUTE);
    let second = lab.take_sent();
    assert_eq!(second.len(), 1);
    assert_ne!(first[0].package0(), second[0].package0(), "another session is asked for");
    lab.advance(Duration::from_secs(24 * 3600));
    assert_eq!(lab.take_sent(), []);
}

#[test]
fn a_device_that_opened_a_session_is_not_asked_any_more() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.neighbour("192.168.4.6", 6, Reachable);
    Client::new(&name(5), "192.168.4.5").session(&mut lab, &[]);
    lab.advance(5 * SECOND);
    assert_eq!(lab.take_targets(), ["192.168.4.6"]);
    Client::new(&name(6), "192.168.4.6").session(&mut lab, &[]);
    lab.advance(30 * MINUTE);
    assert_eq!(lab.take_targets(), [""; 0]);
}

#[test]
fn each_attachment_is_asked_anew() {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &["s"]);
    lab.neighbour("192.168.4.5", 5, Failed);
    lab.advance(MINUTE);
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.advance(5 * SECOND);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
    lab.neighbour("192.168.4.5", 5, Stale);
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.advance(5 * SECOND);
    assert_eq!(lab.take_targets(), [""; 0]);
}

#[test]
fn a_device_with_an_account_is_asked_with_a_digest_over_the_nonce_it_gave() {
    let mut options = options(&[Policy::Transparent]);
    options.accounts.push(account(&mac_id(5)));
    let mut lab = Lab::new(options);
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.advance(5 * SECOND);
    let package0 = lab.take_sent()[0].package0();
    let digest = digest(GATEWAY, "server-secret", b"", &package0[16..]);
    assert_eq!(package0[..16], digest);
}

#[test]
fn a_lan_with_the_policy_ignore_never_asks() {
    let mut lab = Lab::new(options(&[Policy::Ignore]));
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.leases(&[(6, "192.168.4.6")]);
    lab.advance(30 * MINUTE);
    assert_eq!(lab.take_sent(), []);
    assert_eq!(lab.device_ids().len(), 2, "they are noted all the same");
}

#[test]
fn a_device_that_comes_with_several_addresses_is_asked_once_at_its_ipv4_address() {
    let mut lab = Lab::transparent();
    lab.neighbour("fe80::5", 5, Reachable);
    lab.advance(Duration::from_millis(100));
    lab.neighbour("2001:db8::5", 5, Reachable);
    lab.advance(Duration::from_millis(100));
    lab.neighbour("192.168.4.5", 5, Stale);
    lab.advance(5 * SECOND);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

// --- Addresses --------------------------------------------------------------------------------

fn address(lab: &Lab) -> String {
    lab.device(&mac_id(5)).unwrap().address.unwrap()
}

#[test]
fn ipv4_goes_before_global_ipv6_before_link_local() {
    let mut lab = Lab::transparent();
    for (ip, best) in [
        ("fe80::5", "fe80::5"),
        ("fd00:4::5", "fd00:4::5"),
        ("fe80::6", "fd00:4::5"),
        ("192.168.4.5", "192.168.4.5"),
        ("2001:db8::5", "192.168.4.5"),
    ] {
        lab.neighbour(ip, 5, Reachable);
        assert_eq!(address(&lab), best);
    }
}

#[test]
fn the_address_a_device_last_spoke_from_goes_before_all_others() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.neighbour("fd00:4::5", 5, Reachable);
    Client::new(&mac_id(5), "fd00:4::5").session(&mut lab, &["s"]);
    assert_eq!(address(&lab), "fd00:4::5");
    lab.advance(SECOND);
    Client::new(&mac_id(5), "192.168.4.5").session(&mut lab, &["s"]);
    assert_eq!(address(&lab), "192.168.4.5");
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(address(&lab), "fd00:4::5", "a dead address is no address");
    assert_eq!(lab.state(&mac_id(5)), "attached");
}

#[test]
fn a_new_address_of_the_same_kind_replaces_the_one_spoken_from() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    Client::new(&mac_id(5), "192.168.4.5").session(&mut lab, &["s"]);
    lab.advance(SECOND);
    lab.neighbour("192.168.4.50", 5, Reachable);
    assert_eq!(address(&lab), "192.168.4.50");
    lab.neighbour("fd00:4::5", 5, Reachable);
    assert_eq!(address(&lab), "192.168.4.50");
}

#[test]
fn a_link_local_address_is_used_with_the_scope_of_its_interface() {
    let mut lab = Lab::transparent();
    lab.neighbour("fe80::5", 5, Reachable);
    lab.advance(5 * SECOND);
    let std::net::SocketAddr::V6(to) = lab.take_sent()[0].to else { panic!("IPv6") };
    assert_eq!((to.scope_id(), to.port()), (INTERFACE, 2948));
}

// --- Going ------------------------------------------------------------------------------------

#[test]
fn a_neighbour_that_fails_is_detached_and_stays_in_the_inventory() {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &["s"]);
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.state(&name(5)), "detached");
    assert_eq!(lab.device(&name(5)).unwrap().address, None);
    assert_eq!(lab.take_events(EventKind::Detached).len(), 1);
    lab.advance(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(lab.state(&name(5)), "detached");
    assert_eq!(lab.mappings(), [format!("s > {}", name(5))], "detachment ends no mapping");
}

#[test]
fn an_entry_that_is_swept_from_the_table_says_nothing() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.neighbour("192.168.4.5", 5, Stale);
    lab.neighbour_removed("192.168.4.5", Stale);
    assert_eq!(lab.state(&mac_id(5)), "attached");
    lab.neighbour("192.168.4.6", 6, Reachable);
    lab.neighbour_removed("192.168.4.6", Failed);
    assert_eq!(lab.state(&mac_id(6)), "detached");
}

#[test]
fn a_link_that_goes_down_takes_its_devices_along_and_brings_them_back() {
    let mut lab = Lab::new(options(&[Policy::Transparent, Policy::Transparent]));
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.neighbour_on(1, "192.168.5.6", mac_of(6), Reachable);
    lab.link(0, false);
    assert_eq!(lab.state(&mac_id(5)), "detached");
    assert_eq!(lab.state(&mac_id(6)), "attached");
    lab.link(0, true);
    assert_eq!(lab.state(&mac_id(5)), "detached");
    lab.neighbour("192.168.4.5", 5, Stale);
    assert_eq!(lab.state(&mac_id(5)), "attached");
}

#[test]
fn a_lan_without_verification_does_not_believe_the_kernel_either() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].verify = Verify::None;
    let mut lab = Lab::new(options);
    Client::new("IMEI:1", "127.0.1.5").session(&mut lab, &["s"]);
    lab.neighbour("127.0.1.5", 5, Failed);
    lab.link(0, false);
    assert_eq!(lab.state("IMEI:1"), "attached");
}

#[test]
fn lans_that_share_an_interface_are_up_when_it_is() {
    let mut options = options(&[Policy::Transparent, Policy::Ignore]);
    for lan in &mut options.lans {
        lan.verify = Verify::None;
        lan.interface = "lo".to_owned();
    }
    let mut lab = Lab::new(options);
    let up = |lab: &Lab| {
        let status = lab.gateway.status(lab.now);
        status.lans.iter().map(|lan| lan.up).collect::<Vec<_>>()
    };
    assert_eq!(up(&lab), [Some(true); 2]);
    lab.link(1, false);
    lab.link(0, false);
    assert_eq!(up(&lab), [Some(false); 2]);
}

#[test]
fn an_interface_that_is_made_anew_brings_its_devices_back() {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &["s"]);
    let mut link = LinkEvent {
        index: INTERFACE,
        name: "eth0".to_owned(),
        running: false,
        removed: true,
        mac: None,
    };
    lab.handle(Input::Link(link.clone()));
    assert_eq!(lab.state(&name(5)), "detached");
    assert_eq!(lab.gateway.status(lab.now).lans[0].up, Some(false));
    link = LinkEvent { index: 90, running: true, removed: false, ..link };
    lab.handle(Input::Link(link));
    assert_eq!(lab.gateway.status(lab.now).lans[0].up, Some(true));
    let (address, mac) = ("fe80::5".parse().unwrap(), Some(mac_of(5)));
    let entry = NeighbourEvent::Entry { interface: 90, address, mac, state: Reachable };
    lab.handle(Input::Neighbour(entry));
    lab.push("s", &name(5), 1);
    assert_eq!(lab.take_sent()[0].to.to_string(), "[fe80::5%90]:2948");
}

// --- Start and restart ------------------------------------------------------------------------

#[test]
fn a_stale_neighbour_at_the_start_is_a_device_and_is_asked() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Stale);
    assert_eq!(lab.state(&mac_id(5)), "attached");
    lab.advance(5 * SECOND);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_restart_keeps_identities_names_aliases_and_mappings() {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &["s", "t"]);
    lab.neighbour("192.168.4.6", 6, Reachable);
    lab.restart();
    assert_eq!(lab.device_ids(), [name(5), mac_id(6)]);
    let device = lab.device(&name(5)).unwrap();
    assert_eq!(
        (&*device.state, &*device.aliases, device.age),
        ("detached", &[mac_id(5)][..], None)
    );
    assert_eq!(lab.mappings().len(), 2);
    // Back in the neighbour table, it is the same device.
    lab.neighbour("192.168.4.5", 5, Stale);
    assert_eq!(lab.state(&name(5)), "attached");
    assert_eq!(lab.device_ids().len(), 2);
}

#[test]
fn two_records_of_one_device_become_one_at_the_next_start() {
    let mut options = options(&[Policy::Transparent]);
    options.accounts.push(account("IMEI:1"));
    let mut lab = Lab::new(options);
    lab.neighbour("192.168.4.5", 5, Reachable);
    Client::new(&mac_id(5), "192.168.4.5").session(&mut lab, &["s"]);
    // It turns out to be the configured device, but that cannot be stored at once.
    let mut client = Client::new("IMEI:1", "192.168.4.5");
    for failures in [1, 0] {
        lab.store.fail_next(failures);
        client.start();
        let package1 = client.package1();
        client.say(&mut lab, package1);
        assert_eq!(lab.device_ids(), ["IMEI:1"]);
        assert_eq!(lab.mappings(), ["s > IMEI:1"]);
    }
    for records in [2, 1] {
        assert_eq!(lab.store.records().len(), records);
        lab.restart();
        assert_eq!(lab.device_ids(), ["IMEI:1"]);
        assert_eq!(lab.mappings(), ["s > IMEI:1"]);
    }
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.push("s", &mac_id(5), 1);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_device_of_a_lan_that_is_no_longer_configured_is_kept_and_may_turn_up_elsewhere() {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &["s"]);
    lab.options.lans[0].name = "renamed".into();
    lab.restart();
    assert_eq!(lab.state(&name(5)), "detached");
    assert_eq!(lab.mappings(), [""; 0]);
    lab.push("s", &name(5), 1);
    assert_eq!(lab.refused("unmapped"), 1);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.mappings(), [format!("s > {}", name(5))]);
}

// --- Made-up addresses and bounds ---------------------------------------------------------------

fn random_mac(number: usize) -> MacAddress {
    MacAddress([2, 0, 0, 0, (number >> 8) as u8, number as u8])
}

#[test]
fn a_made_up_ethernet_address_is_not_written_to_flash_until_its_owner_speaks() {
    let mut lab = Lab::transparent();
    lab.neighbour_on(0, "192.168.4.5", random_mac(5), Reachable);
    lab.neighbour("192.168.4.6", 6, Reachable);
    assert_eq!(lab.store.records().len(), 1);
    Client::new("IMEI:5", "192.168.4.5").session(&mut lab, &[]);
    assert_eq!(lab.store.records().len(), 2);
    lab.restart();
    assert_eq!(lab.device("IMEI:5").unwrap().aliases, [format!("mac:{}", random_mac(5))]);
}

#[test]
fn made_up_addresses_push_out_only_each_other() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.neighbour("192.168.4.5", 5, Failed);
    let ip = |number: usize| format!("10.0.{}.{}", number >> 8, number & 0xff);
    for number in 0..limits::RANDOM_DEVICES {
        lab.neighbour_on(0, &ip(number), random_mac(number), Reachable);
    }
    assert_eq!(lab.device_ids().len(), 1 + limits::RANDOM_DEVICES);
    lab.neighbour_on(0, "10.9.0.1", random_mac(60_001), Reachable);
    assert_eq!(lab.refused("inventory-full"), 1, "all of them are here");
    lab.neighbour_on(0, &ip(7), random_mac(7), Failed);
    lab.neighbour_on(0, "10.9.0.2", random_mac(60_002), Reachable);
    let ids = lab.device_ids();
    assert_eq!(ids.len(), 1 + limits::RANDOM_DEVICES);
    assert!(ids.contains(&mac_id(5)) && ids.contains(&format!("mac:{}", random_mac(60_002))));
    assert!(!ids.contains(&format!("mac:{}", random_mac(7))));
}

#[test]
fn what_flash_reports_late_about_a_device_that_was_let_go_is_not_its_successors() {
    let mut lab = Lab::transparent();
    let ip = |number: usize| format!("10.0.{}.{}", number >> 8, number & 0xff);
    for number in 0..limits::RANDOM_DEVICES {
        lab.neighbour_on(0, &ip(number), random_mac(number), Reachable);
    }
    lab.slow_flash = true;
    let old = format!("mac:{}", random_mac(7));
    let mut client = Client::new(&old, &ip(7));
    client.start();
    let package1 = client.package1();
    let message = client.message(package1);
    assert!(client.post(&mut lab, &message).is_none(), "its first words are being written");
    lab.neighbour_on(0, &ip(7), random_mac(7), Failed);
    lab.neighbour_on(0, "10.9.0.1", random_mac(60_001), Reachable);
    lab.commit();
    let ids = lab.device_ids();
    assert!(ids.contains(&format!("mac:{}", random_mac(60_001))));
    assert!(!ids.contains(&old));
    assert_eq!(lab.store.records().len(), 0);
}

#[test]
fn a_full_inventory_lets_go_of_devices_without_name_and_list_only() {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &["s"]);
    lab.neighbour("192.168.4.5", 5, Failed);
    let mac = |number: usize| MacAddress([0, 1, 2, 3, (number >> 8) as u8, number as u8]);
    let ip = |number: usize| format!("10.0.{}.{}", number >> 8, number & 0xff);
    for number in 0..limits::DEVICES {
        lab.neighbour_on(0, &ip(number), mac(number), Reachable);
        if number + 10 > limits::DEVICES {
            lab.neighbour_on(0, &ip(number - 100), mac(number - 100), Failed);
        }
    }
    assert_eq!(lab.device_ids().len(), limits::DEVICES);
    assert_eq!(lab.store.records().len(), limits::DEVICES);
    assert_eq!(lab.state(&name(5)), "detached", "it has a mapping");
}

#[test]
fn addresses_of_one_device_are_bounded() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.5", 5, Reachable);
    for number in 0..100 {
        lab.advance(SECOND);
        let ip = format!("2001:db8::{number:x}");
        lab.neighbour(&ip, 5, Reachable);
        assert_eq!(Client::new(&mac_id(5), &ip).session(&mut lab, &[]), Some(200));
    }
    assert_eq!(lab.state(&mac_id(5)), "attached");
    lab.mapped_device(6, &["s"]);
    lab.datagram_from("[2001:db8::1]:9", &push_of("s", &name(6), 1));
    assert_eq!(lab.refused("from-lan"), 0, "an address that was let go is nobody's");
    lab.datagram_from("[2001:db8::63]:9", &push_of("s", &name(6), 2));
    assert_eq!(lab.refused("from-lan"), 1);
}

// --- Two LANs -----------------------------------------------------------------------------------

#[test]
fn a_cloned_ethernet_address_on_another_lan_is_a_conflict_and_moves_nothing() {
    let mut lab = Lab::new(options(&[Policy::Transparent, Policy::Transparent]));
    lab.mapped_device(5, &["s"]);
    lab.neighbour_on(1, "192.168.5.5", mac_of(5), Reachable);
    let device = lab.device(&name(5)).unwrap();
    assert_eq!((&*device.lan, device.address.as_deref()), ("lan0", Some("192.168.4.5")));
    let conflict = device.conflict.unwrap();
    assert_eq!(conflict.address, "192.168.5.5");
    assert_eq!(lab.probes, ["192.168.4.5".parse::<std::net::IpAddr>().unwrap()]);
    // The owner answers: everything stays as it is.
    lab.neighbour("192.168.4.5", 5, Stale);
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.push("s", &name(5), 1);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
    // Nor does a session from over there change anything.
    let mut rival = Client { lan: 1, ..Client::new(&name(5), "192.168.5.5") };
    rival.start();
    let package1 = rival.package1();
    assert_eq!(rival.say(&mut lab, package1).header_status(), 403);
    assert_eq!(lab.device(&name(5)).unwrap().lan, "lan0");
}

#[test]
fn a_device_moves_to_another_lan_once_nobody_answers_at_its_old_address() {
    let mut lab = Lab::new(options(&[Policy::Transparent, Policy::Transparent]));
    lab.mapped_device(5, &["s"]);
    lab.neighbour("192.168.4.5", 5, Stale);
    lab.neighbour_on(1, "192.168.5.5", mac_of(5), Reachable);
    assert_eq!(lab.device(&name(5)).unwrap().lan, "lan0");
    lab.neighbour("192.168.4.5", 5, Failed);
    let device = lab.device(&name(5)).unwrap();
    assert_eq!((&*device.lan, &*device.state), ("lan1", "attached"));
    assert_eq!(device.address.as_deref(), Some("192.168.5.5"));
    assert_eq!(device.conflict, None, "it was the device itself");
    lab.push("s", &name(5), 1);
    assert_eq!(lab.take_targets(), ["192.168.5.5"]);
    lab.restart();
    assert_eq!(lab.device(&name(5)).unwrap().lan, "lan1");
}

#[test]
fn a_device_that_was_away_comes_back_on_another_lan() {
    let mut lab = Lab::new(options(&[Policy::Transparent, Policy::Bootstrap]));
    lab.mapped_device(5, &["s"]);
    lab.neighbour("192.168.4.5", 5, Failed);
    lab.neighbour_on(1, "192.168.5.5", mac_of(5), Reachable);
    assert_eq!(lab.device(&name(5)).unwrap().lan, "lan1");
    lab.advance(5 * SECOND);
    assert_eq!(lab.take_targets(), ["192.168.5.5"], "it is asked there");
    assert_eq!(lab.mappings(), [""; 0], "the policy of the LAN it is on decides");
}

#[test]
fn a_lan_without_verification_lends_nobody_the_identity_of_a_verified_device() {
    let mut options = options(&[Policy::Transparent, Policy::Transparent]);
    options.lans[1].verify = Verify::None;
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &["s"]);
    lab.neighbour("192.168.4.5", 5, Failed);
    let mut rival = Client { lan: 1, ..Client::new(&name(5), "192.168.5.66") };
    rival.start();
    let mut commands = rival.package1();
    commands.push(list_alert(&["evil"]));
    assert_eq!(rival.say(&mut lab, commands).header_status(), 403);
    assert_eq!(lab.mappings(), [format!("s > {}", name(5))]);
}
