//! A push from the WAN: who may wake whom, what goes on, what waits, what is refused and why.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use dm_gateway::gateway::Prefix;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::policy::{Policy, Verify};
use dm_gateway::limits;
use dm_gateway::proto::wire::put_uintvar;
use std::time::Duration;

const SERVER: &str = "http://www.someDMServer.com";

/// A Lab with device 5 mapped to [`SERVER`].
fn mapped() -> Lab {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &[SERVER]);
    lab
}

fn push(session: u16) -> Vec<u8> {
    push_of(SERVER, &name(5), session)
}

/// A push with these header octets behind the content type.
fn push_with(content_type: &[u8], headers: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let headers = [content_type, &headers.concat()].concat();
    let mut datagram = vec![7, 6];
    put_uintvar(&mut datagram, headers.len() as u32);
    datagram.extend(headers);
    datagram.extend(body);
    datagram
}

fn gateway_header(device: &str) -> Vec<u8> {
    [b"\xd0", device.as_bytes(), b"\0"].concat()
}

/// The number of datagrams that a push led to.
fn passes(lab: &mut Lab, datagram: &[u8]) -> bool {
    lab.datagram(datagram);
    match lab.take_sent().len() {
        0 => false,
        1 => true,
        more => panic!("{more} datagrams for one"),
    }
}

// --- What goes on -----------------------------------------------------------------------------

#[test]
fn package_0_goes_on_byte_for_byte_without_the_gateway_header() {
    let mut lab = mapped();
    lab.datagram(&push(1));
    let sent = lab.take_sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].to, "192.168.4.5:2948".parse().unwrap());
    let expected = [&b"\x01\x06\x03\xc4\xaf\x87"[..], &package0(SERVER, 1)].concat();
    assert_eq!(sent[0].datagram, expected);
    assert_eq!(lab.take_events(EventKind::Forwarded).len(), 1);
}

#[test]
fn even_a_package_0_with_odd_bits_goes_on_as_it_came() {
    let mut lab = mapped();
    let mut body = package0(SERVER, 0);
    body[16..21].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff]);
    body.extend([0xff; 300]);
    let datagram = push_with(b"\xc4", &[b"\xaf\x87", &gateway_header(&name(5))], &body);
    assert!(passes(&mut lab, &datagram));
    lab.advance(MINUTE);
    lab.datagram(&datagram);
    assert_eq!(lab.take_sent()[0].package0(), body);
}

#[test]
fn every_spelling_of_the_headers_is_taken() {
    let mut lab = mapped();
    let device = gateway_header(&name(5));
    let text_header = [b"x-oma-gwmo\0", name(5).as_bytes(), b"\0"].concat();
    let content_text = b"Application/vnd.syncml.notification\0";
    let long_text = b"\x1f\x24application/vnd.syncml.notification\0";
    let app_text = b"X-Wap-Application-Id\0x-wap-application:syncml.dm\0";
    let spellings: [(&[u8], &[&[u8]]); 9] = [
        (b"\xc4", &[b"\xaf\x87", &device]),
        (b"\xc4", &[&device, b"\xaf\x87"]),
        (b"\xc4", &[&text_header, b"\xaf\x87"]),
        (b"\xc4", &[b"\xaf\x87", &text_header]),
        (b"\xc4", &[b"\xaf\x01\x07", &device]),
        (b"\xc4", &[app_text, &device]),
        (b"\x03\xc4\x81\xea", &[b"\xaf\x87", &device]),
        (content_text, &[&device, b"\xaf\x87"]),
        // As kannel sends it: text, our header first, Content-Length and Encoding-Version added.
        (long_text, &[&text_header, b"\xaf\x87", b"\x8d\x99", b"\x8e\x91"]),
    ];
    for (session, (content_type, headers)) in spellings.iter().enumerate() {
        let body = package0(SERVER, 1 + session as u16);
        let datagram = push_with(content_type, headers, &body);
        lab.datagram_from("198.51.100.7:9200", &datagram);
        let sent = lab.take_sent();
        assert_eq!(sent.len(), 1, "{datagram:02x?}");
        assert_eq!(sent[0].datagram, [&b"\x07\x06\x03\xc4\xaf\x87"[..], &body].concat());
        lab.advance(10 * SECOND);
    }
}

#[test]
fn a_device_is_found_by_its_name_and_by_its_alias_in_any_case() {
    let mut lab = mapped();
    let name = name(5);
    let spellings = [
        name.clone(),
        name.replace("IMEI", "imei"),
        mac_id(5),
        "MAC:00:16:3E:00:00:05".to_owned(),
        "mac:00-16-3E-00-00-05".to_owned(),
        format!(" {name} ; ttl=3"),
        format!("\"{name}\""),
    ];
    for (session, device) in spellings.iter().enumerate() {
        assert!(passes(&mut lab, &push_of(SERVER, device, 1 + session as u16)), "{device}");
        lab.advance(10 * SECOND);
    }
    assert!(!passes(&mut lab, &push_of(SERVER, &name.replace("IMEI:", "IMEI:0"), 99)));
}

#[test]
fn an_ipv6_device_gets_its_pushes_over_ipv6() {
    let mut lab = Lab::transparent();
    lab.neighbour("fd00:4::5", 5, Reachable);
    Client::new("IMEI:1", "fd00:4::5").session(&mut lab, &[SERVER]);
    lab.push(SERVER, "IMEI:1", 1);
    assert_eq!(lab.take_sent()[0].to, "[fd00:4::5]:2948".parse().unwrap());
}

#[test]
fn the_push_port_of_the_lan_is_used() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].push_port = 4948;
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &[SERVER]);
    lab.datagram(&push(1));
    assert_eq!(lab.take_sent()[0].to.port(), 4948);
}

#[test]
fn a_push_follows_the_device_to_its_new_address() {
    let mut lab = mapped();
    lab.neighbour("192.168.4.5", 5, Stale);
    lab.neighbour("192.168.4.77", 5, Reachable);
    lab.datagram(&push(1));
    assert_eq!(lab.take_targets(), ["192.168.4.77"]);
}

// --- What is refused --------------------------------------------------------------------------

/// Pushes `datagram`: nothing goes out, one refusal of that reason is counted and told.
fn is_refused(lab: &mut Lab, datagram: &[u8], reason: &str) {
    is_refused_from(lab, "198.51.100.7:9200", datagram, reason);
}

fn is_refused_from(lab: &mut Lab, from: &str, datagram: &[u8], reason: &str) {
    let before = (lab.refused(reason), lab.gateway.status(lab.now).counters.pushes_refused);
    let (commits, records) = (lab.commits, lab.store.records().clone());
    lab.events.clear();
    lab.datagram_from(from, datagram);
    assert_eq!(lab.take_sent(), [], "{reason}");
    let after = (lab.refused(reason), lab.gateway.status(lab.now).counters.pushes_refused);
    assert_eq!(after, (before.0 + 1, before.1 + 1), "{reason}: {datagram:02x?}");
    assert_eq!((lab.commits, lab.store.records()), (commits, &records));
    let events = std::mem::take(&mut lab.events);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].kind, EventKind::Refused);
    assert_eq!(events[0].address, Some(from.parse().unwrap()));
    assert!(!events[0].why.is_empty());
}

#[test]
fn what_is_not_for_a_mapped_pair_meets_silence_a_counter_and_an_event() {
    let mut lab = mapped();
    lab.mapped_device(6, &["other"]);
    is_refused(&mut lab, &push_of("stranger", &name(5), 1), "unknown-server");
    is_refused(&mut lab, &push_of("other", &name(5), 1), "unmapped");
    is_refused(&mut lab, &push_of(SERVER, "IMEI:7", 1), "unknown-device");
    is_refused(&mut lab, &push_of(&SERVER.to_uppercase(), &name(5), 1), "unknown-server");
}

#[test]
fn what_is_no_push_for_a_dm_client_behind_us_meets_silence_a_counter_and_an_event() {
    let mut lab = mapped();
    let body = package0(SERVER, 1);
    let device = gateway_header(&name(5));
    let header = [b"\xaf\x87", &device[..]].concat();
    is_refused(&mut lab, b"", "malformed-push");
    is_refused(&mut lab, b"\x01\x07\x03\xc4\xaf\x87", "malformed-push");
    is_refused(&mut lab, &push(1)[..9], "malformed-push");
    is_refused(&mut lab, &push_with(b"\xc4", &[&header, &device], &body), "malformed-push");
    is_refused(&mut lab, &push_with(b"\xae", &[&header], &body), "not-notification");
    is_refused(&mut lab, &push_with(b"text/plain\0", &[&header], &body), "not-notification");
    is_refused(&mut lab, &push_with(b"\xc4", &[&device], &body), "not-for-dm");
    is_refused(&mut lab, &push_with(b"\xc4", &[b"\xaf\x82", &device], &body), "not-for-dm");
    is_refused(&mut lab, &push_with(b"\xc4", &[b"\xaf\x87"], &body), "not-forwardable");
    is_refused(&mut lab, &push_with(b"\xc4", &[&header], &body[..24]), "malformed-package-0");
    is_refused(&mut lab, &push_with(b"\xc4", &[&header], b""), "malformed-package-0");
}

#[test]
fn a_header_with_further_hops_names_no_device_of_ours() {
    let mut lab = mapped();
    let devices = format!("gw-2,{}", name(5));
    is_refused(&mut lab, &push_of(SERVER, &devices, 1), "unknown-device");
    let devices = format!("{},{}", name(5), name(5));
    is_refused(&mut lab, &push_of(SERVER, &devices, 1), "unknown-device");
}

#[test]
fn a_source_outside_trusted_sources_is_refused() {
    let mut options = options(&[Policy::Transparent]);
    let prefix = |address: &str, length| Prefix { address: address.parse().unwrap(), length };
    options.trusted_sources = vec![prefix("198.51.100.0", 24), prefix("2001:db8:1::", 48)];
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &[SERVER]);
    is_refused_from(&mut lab, "198.51.101.7:9", &push(1), "untrusted-source");
    is_refused_from(&mut lab, "[2001:db8:2::7]:9", &push(1), "untrusted-source");
    for (session, from) in
        ["198.51.100.7:9", "[2001:db8:1::7]:9", "[::ffff:198.51.100.7]:9"].iter().enumerate()
    {
        lab.datagram_from(from, &push(session as u16));
        assert_eq!(lab.take_sent().len(), 1, "{from}");
    }
}

#[test]
fn a_push_from_a_devices_own_address_is_refused() {
    let mut lab = mapped();
    is_refused_from(&mut lab, "192.168.4.5:9", &push(1), "from-lan");
    is_refused_from(&mut lab, "[::ffff:192.168.4.5]:9", &push(1), "from-lan");
}

#[test]
fn a_device_that_forges_the_address_of_a_server_does_not_stop_its_pushes() {
    let mut lab = mapped();
    lab.neighbour("198.51.100.7", 66, Stale);
    lab.advance(MINUTE);
    lab.take_sent();
    lab.datagram_from("198.51.100.7:9200", &push(1));
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_lan_that_is_not_transparent_forwards_only_with_an_account() {
    for policy in [Policy::Ignore, Policy::Bootstrap] {
        let mut lab = Lab::new(options(&[policy]));
        lab.neighbour("192.168.4.5", 5, Reachable);
        let mut client = Client::new(&name(5), "192.168.4.5");
        client.start();
        let mut commands = client.package1();
        commands.push(list_alert(&[SERVER]));
        assert_eq!(client.say(&mut lab, commands).status_of("Alert"), Some(200));
        assert_eq!(lab.mappings(), [""; 0]);
        lab.advance(MINUTE);
        lab.take_sent();
        is_refused(&mut lab, &push(1), "no-account");
        let explanation = lab.gateway.explain(SERVER, &name(5));
        assert_eq!((explanation.allowed, &*explanation.rule), (false, "no-account"));
    }
}

#[test]
fn a_list_from_before_the_policy_changed_maps_nothing_until_it_is_sent_again() {
    let mut lab = Lab::new(options(&[Policy::Bootstrap]));
    lab.mapped_device(5, &[SERVER]);
    lab.options.lans[0].policy = Policy::Transparent;
    lab.restart();
    lab.neighbour("192.168.4.5", 5, Reachable);
    is_refused(&mut lab, &push(1), "unmapped");
    assert_eq!(lab.gateway.explain(SERVER, &name(5)).rule, "list-outdated");
    lab.mapped_device(5, &[SERVER]);
    assert!(passes(&mut lab, &push(1)));
}

#[test]
fn the_event_of_a_refusal_names_the_rule_that_explain_names() {
    let mut lab = Lab::new(options(&[Policy::Bootstrap]));
    lab.mapped_device(5, &[SERVER]);
    lab.options.lans[0].policy = Policy::Transparent;
    lab.restart();
    lab.events.clear();
    lab.datagram(&push(1));
    let told = lab.take_events(EventKind::Refused);
    assert_eq!(told[0].why, lab.gateway.explain(SERVER, &name(5)).why);
    assert_eq!(told[0].device.as_deref(), Some(&*name(5)));
    assert_eq!(told[0].server.as_ref().unwrap().as_str(), SERVER);
}

// --- Repeats and rates ------------------------------------------------------------------------

#[test]
fn an_exact_repeat_within_ten_seconds_is_dropped_and_a_later_one_passes() {
    let mut lab = mapped();
    assert!(passes(&mut lab, &push(1)));
    is_refused(&mut lab, &push(1), "repeat");
    lab.advance(Duration::from_millis(9_900));
    is_refused(&mut lab, &push(1), "repeat");
    lab.advance(Duration::from_millis(200));
    assert!(passes(&mut lab, &push(1)), "a retransmission");
}

#[test]
fn repeats_are_found_between_other_pushes_and_in_other_wrappings() {
    let mut lab = mapped();
    assert!(passes(&mut lab, &push(1)));
    assert!(passes(&mut lab, &push(2)));
    is_refused(&mut lab, &push(1), "repeat");
    is_refused(&mut lab, &push_of(SERVER, &mac_id(5), 2), "repeat");
    let mut other_transaction = push(2);
    other_transaction[0] = 99;
    is_refused(&mut lab, &other_transaction, "repeat");
}

#[test]
fn one_octet_of_package_0_makes_another_push() {
    let mut lab = mapped();
    assert!(passes(&mut lab, &push(1)));
    let mut other = push(1);
    *other.last_mut().unwrap() ^= 1;
    assert!(passes(&mut lab, &other), "a forged copy may not suppress the genuine push");
}

#[test]
fn repeats_are_remembered_of_each_device_by_itself() {
    let mut lab = mapped();
    lab.mapped_device(6, &[SERVER]);
    assert!(passes(&mut lab, &push_of(SERVER, &name(5), 1)));
    assert!(passes(&mut lab, &push_of(SERVER, &name(6), 1)));
}

#[test]
fn repeats_of_sixteen_servers_at_full_rate_are_all_found() {
    let servers: Vec<_> = (0..limits::LIST_SERVERS).map(|number| format!("s{number}")).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &servers);
    let mut passed = Vec::new();
    for session in 0..10 {
        for server in &servers {
            let datagram = push_of(server, &name(5), session);
            if passes(&mut lab, &datagram) {
                passed.push(datagram);
            }
        }
        lab.advance(Duration::from_millis(990));
    }
    assert!(passed.len() > 8 * servers.len(), "{}", passed.len());
    for datagram in passed {
        is_refused(&mut lab, &datagram, "repeat");
    }
}

#[test]
fn a_mapping_has_a_burst_of_five_and_one_push_a_second() {
    let mut lab = mapped();
    lab.mapped_device(6, &[SERVER]);
    for session in 0..5 {
        assert!(passes(&mut lab, &push(session)));
    }
    is_refused(&mut lab, &push(5), "push-rate");
    assert!(passes(&mut lab, &push_of(SERVER, &name(6), 1)), "each mapping by itself");
    lab.advance(SECOND);
    assert!(passes(&mut lab, &push(5)), "what was refused for its rate is no repeat");
    is_refused(&mut lab, &push(6), "push-rate");
    lab.advance(MINUTE);
    assert_eq!((10..20).filter(|session| passes(&mut lab, &push(*session))).count(), 5);
}

#[test]
fn the_bucket_can_be_switched_off() {
    let mut options = options(&[Policy::Transparent]);
    options.push_interval = None;
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &[SERVER]);
    assert!((0..1000).all(|session| passes(&mut lab, &push(session))));
}

// --- A device that is away ----------------------------------------------------------------------

#[test]
fn the_newest_trigger_of_each_server_waits_for_a_device_that_is_away() {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &["a", "b"]);
    lab.neighbour("192.168.4.5", 5, Failed);
    for (server, session) in [("a", 1), ("b", 2), ("a", 3)] {
        lab.push(server, &name(5), session);
    }
    assert_eq!(lab.take_sent(), []);
    assert_eq!(lab.take_events(EventKind::Held).len(), 3);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, ["a", "b"]);
    lab.advance(10 * MINUTE);
    lab.neighbour("192.168.4.5", 5, Reachable);
    let sent = lab.take_sent();
    let packages: Vec<_> = sent.iter().map(Sent::package0).collect();
    assert_eq!(packages, [package0("a", 3), package0("b", 2)]);
    assert_eq!(lab.take_events(EventKind::Released).len(), 2);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, [""; 0]);
}

#[test]
fn what_waited_goes_to_the_address_at_which_the_device_returns() {
    let mut lab = mapped();
    lab.neighbour("192.168.4.5", 5, Failed);
    lab.datagram(&push(1));
    lab.neighbour("192.168.4.99", 5, Reachable);
    assert_eq!(lab.take_targets(), ["192.168.4.99"]);
}

#[test]
fn a_trigger_that_waited_fifteen_minutes_is_dropped() {
    let mut lab = mapped();
    lab.neighbour("192.168.4.5", 5, Failed);
    lab.datagram(&push(1));
    lab.advance(10 * MINUTE);
    lab.datagram(&push(2));
    lab.advance(6 * MINUTE);
    assert_eq!(lab.refused("trigger-expired"), 0, "the newer one counts from its own arrival");
    lab.advance(10 * MINUTE);
    assert_eq!(lab.refused("trigger-expired"), 1);
    assert_eq!(lab.take_events(EventKind::Expired).len(), 1);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.take_sent(), []);
}

#[test]
fn a_mapping_that_ends_meanwhile_takes_its_trigger_along() {
    let mut lab = Lab::transparent();
    let mut client = lab.mapped_device(5, &["a", "b"]);
    lab.neighbour("192.168.4.5", 5, Failed);
    lab.push("a", &name(5), 1);
    lab.push("b", &name(5), 2);
    lab.slow_flash = true;
    lab.neighbour("192.168.4.5", 5, Stale);
    let released = lab.take_sent().len();
    assert_eq!(released, 2);
    lab.slow_flash = false;
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.device(&name(5)).unwrap().waiting.len(), 2, "both were not confirmed");
    lab.neighbour_on(0, "192.168.4.50", mac_of(6), Reachable);
    client.ip = "192.168.4.5".parse().unwrap();
    lab.neighbour("192.168.4.5", 5, Incomplete);
    assert_eq!(lab.take_sent(), []);
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.take_sent();
    assert_eq!(client.session(&mut lab, &["b"]), Some(200));
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, ["b"]);
}

#[test]
fn a_restart_forgets_what_waited() {
    let mut lab = mapped();
    lab.neighbour("192.168.4.5", 5, Failed);
    lab.datagram(&push(1));
    lab.restart();
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.take_sent(), []);
    lab.datagram(&push(1));
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

// --- A device that vanished unnoticed -------------------------------------------------------------

#[test]
fn a_forwarded_trigger_is_kept_until_the_neighbour_is_confirmed() {
    let mut lab = mapped();
    lab.datagram(&push(1));
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
    let asked = std::mem::take(&mut lab.probes);
    assert_eq!(asked.len(), 1, "REACHABLE may be old news: the kernel is asked");
    lab.neighbour("192.168.4.5", 5, Stale);
    lab.advance(2 * SECOND);
    lab.neighbour("192.168.4.5", 5, Reachable);
    // Confirmed: what happens later does not bring it back.
    lab.advance(SECOND);
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, [""; 0]);
}

#[test]
fn another_address_of_the_device_confirms_nothing() {
    let mut lab = mapped();
    lab.neighbour("2001:db8::5", 5, Stale);
    lab.datagram(&push(1));
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
    lab.neighbour("2001:db8::5", 5, Reachable);
    lab.neighbour("192.168.4.5", 5, Failed);
    let sent = lab.take_sent();
    assert_eq!(sent.len(), 1, "the trigger follows to where the device is");
    assert_eq!(sent[0].to.ip().to_string(), "2001:db8::5");
    assert_eq!(sent[0].package0(), package0(SERVER, 1));
}

#[test]
fn a_device_that_vanished_is_detached_and_its_trigger_waits_as_if_it_had_been_away() {
    let mut lab = mapped();
    lab.neighbour("192.168.4.5", 5, Stale);
    lab.datagram(&push(1));
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
    assert_eq!(lab.probes.len(), 1, "left alone, the kernel may take TCP traffic for an answer");
    lab.advance(8 * SECOND);
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.state(&name(5)), "detached");
    assert_eq!(lab.device(&name(5)).unwrap().waiting, [SERVER]);
    assert_eq!(lab.take_events(EventKind::Held).len(), 1);
    lab.advance(5 * MINUTE);
    lab.neighbour("192.168.4.5", 5, Reachable);
    let sent = lab.take_sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].package0(), package0(SERVER, 1));
}

#[test]
fn after_fifteen_seconds_of_silence_a_forwarded_trigger_counts_as_delivered() {
    let mut lab = mapped();
    lab.datagram(&push(1));
    lab.advance(16 * SECOND);
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, [""; 0]);
    // One that is younger than that is kept, whatever else was sent before it.
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.datagram(&push(2));
    lab.advance(10 * SECOND);
    lab.datagram(&push(3));
    lab.advance(10 * SECOND);
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, [SERVER]);
}

#[test]
fn a_link_that_breaks_brings_back_what_was_just_sent() {
    let mut lab = mapped();
    lab.datagram(&push(1));
    lab.link(0, false);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, [SERVER]);
}

#[test]
fn a_device_whose_entry_was_swept_is_looked_for_first() {
    let mut lab = mapped();
    lab.neighbour_removed("192.168.4.5", Stale);
    lab.datagram(&push(1));
    assert_eq!(lab.take_sent(), [], "nobody says who is at the address");
    assert_eq!(lab.probes, ["192.168.4.5".parse::<std::net::IpAddr>().unwrap()]);
    lab.neighbour("192.168.4.5", 5, Incomplete);
    assert_eq!(lab.take_sent(), []);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_flood_for_a_device_that_is_looked_for_asks_the_kernel_once() {
    let mut options = options(&[Policy::Transparent]);
    options.push_interval = None;
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &[SERVER]);
    lab.neighbour_removed("192.168.4.5", Stale);
    for session in 0..100 {
        lab.datagram(&push(session));
    }
    assert_eq!(lab.probes.len(), 1);
    lab.advance(limits::CONFIRM);
    lab.datagram(&push(100));
    assert_eq!(lab.probes.len(), 2);
}

// --- Spoofing on the LAN ----------------------------------------------------------------------------

#[test]
fn an_address_that_somebody_else_took_over_gets_nothing() {
    let mut lab = mapped();
    lab.neighbour("192.168.4.5", 66, Reachable);
    lab.datagram(&push(1));
    assert_eq!(lab.take_sent(), []);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, [SERVER]);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_trigger_that_may_have_gone_to_a_usurper_is_sent_again_to_the_owner() {
    let mut lab = mapped();
    lab.datagram(&push(1));
    lab.take_sent();
    lab.advance(SECOND);
    lab.neighbour("192.168.4.5", 66, Reachable);
    assert_eq!(lab.device(&name(5)).unwrap().waiting, [SERVER]);
    lab.neighbour("192.168.4.55", 5, Reachable);
    assert_eq!(lab.take_targets(), ["192.168.4.55"]);
}

#[test]
fn swapped_addresses_misdeliver_nothing() {
    let mut lab = mapped();
    lab.mapped_device(6, &[SERVER]);
    lab.neighbour("192.168.4.5", 6, Reachable);
    lab.neighbour("192.168.4.6", 5, Reachable);
    lab.push(SERVER, &name(5), 1);
    assert_eq!(lab.take_targets(), ["192.168.4.6"]);
    lab.push(SERVER, &name(6), 2);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_rival_neither_gets_nor_stops_the_pushes_of_the_owner() {
    let mut lab = mapped();
    lab.neighbour("192.168.4.66", 66, Reachable);
    for claim in [name(5), mac_id(5)] {
        for device_id in [name(5), mac_id(5), "IMEI:rival".to_owned()] {
            let mut rival = Client::new(&claim, "192.168.4.66");
            rival.device_id = device_id;
            rival.start();
            let mut commands = rival.package1();
            commands.push(list_alert(&[]));
            let reply = rival.say(&mut lab, commands);
            assert_eq!(reply.header_status(), 403, "{claim} {}", rival.device_id);
            assert_eq!(reply.status_of("Alert"), Some(403));
        }
    }
    let device = lab.device(&name(5)).unwrap();
    assert_eq!(device.conflict.unwrap().address, "192.168.4.66");
    assert_eq!(device.address.as_deref(), Some("192.168.4.5"));
    assert_eq!(lab.mappings(), [format!("{SERVER} > {}", name(5))]);
    lab.take_sent();
    lab.datagram(&push(1));
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_second_client_on_the_same_host_does_not_stop_the_first() {
    let mut lab = mapped();
    let mut second = Client::new("IMEI:2", "192.168.4.5");
    assert_eq!(second.session(&mut lab, &["other"]), Some(200));
    for (server, device) in [(SERVER, name(5)), (SERVER, mac_id(5)), ("other", "IMEI:2".into())] {
        lab.advance(MINUTE);
        lab.take_sent();
        lab.push(server, &device, 1);
        assert_eq!(lab.take_targets(), ["192.168.4.5"], "{device}");
    }
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!((lab.state(&name(5)), lab.state("IMEI:2")), ("detached".into(), "detached".into()));
    assert_eq!(lab.device("IMEI:2").unwrap().waiting, ["other"]);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert!(lab.take_targets().contains(&"192.168.4.5".to_owned()));
    assert_eq!(lab.device("IMEI:2").unwrap().waiting, [""; 0]);
    lab.restart();
    lab.neighbour("192.168.4.5", 5, Reachable);
    lab.push(SERVER, &mac_id(5), 1);
    assert_eq!(lab.take_targets(), ["192.168.4.5"]);
}

#[test]
fn a_lan_without_verification_forwards_to_where_the_device_spoke_from() {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].verify = Verify::None;
    let mut lab = Lab::new(options);
    let mut client = Client::new("IMEI:1", "127.0.1.5");
    client.session(&mut lab, &[SERVER]);
    lab.push(SERVER, "IMEI:1", 1);
    assert_eq!(lab.take_targets(), ["127.0.1.5"]);
    client.ip = "127.0.1.6".parse().unwrap();
    client.session(&mut lab, &[SERVER]);
    lab.push(SERVER, "IMEI:1", 2);
    assert_eq!(lab.take_targets(), ["127.0.1.6"]);
    assert_eq!(lab.probes.len(), 0);
}

// --- explain and the live path ----------------------------------------------------------------------

#[test]
fn explain_reads_the_device_as_the_header_is_read() {
    let mut lab = mapped();
    for device in [
        name(5),
        mac_id(5).to_uppercase(),
        format!("{};ttl=1", name(5)),
        format!("gw,{}", name(5)),
        "a b".to_owned(),
        String::new(),
    ] {
        let explanation = lab.gateway.explain(SERVER, &device);
        lab.advance(MINUTE);
        if !device.is_empty() {
            assert_eq!(passes(&mut lab, &push_of(SERVER, &device, 1)), explanation.allowed);
        }
    }
}

mod properties {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// One thing that may happen to the Lab.
    #[derive(Clone, Debug)]
    enum Step {
        Session { device: u8, servers: Vec<u8> },
        Neighbour { ip: u8, mac: u8, state: u8 },
        Push { server: u8, device: u8 },
        Advance(u32),
        Restart(Policy),
    }

    fn policies() -> impl Strategy<Value = Policy> {
        prop_oneof![
            4 => Just(Policy::Transparent),
            1 => Just(Policy::Bootstrap),
            1 => Just(Policy::Ignore),
        ]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..5_u8, vec(0..4_u8, 0..4))
                .prop_map(|(device, servers)| Step::Session { device, servers }),
            4 => (1..5_u8, 1..5_u8, 0..4_u8)
                .prop_map(|(ip, mac, state)| Step::Neighbour { ip, mac, state }),
            4 => (0..4_u8, 1..6_u8).prop_map(|(server, device)| Step::Push { server, device }),
            2 => (1..1_000_000_u32).prop_map(Step::Advance),
            1 => policies().prop_map(Step::Restart),
        ];
        vec(step, 1..60)
    }

    fn server(number: u8) -> String {
        format!("server-{number}")
    }

    /// What a push must lead to, by what `explain` said before it.
    fn check_push(lab: &mut Lab, server: &str, device: &str, session: u16) {
        let explanation = lab.gateway.explain(server, device);
        let mapping = format!("{server} > {}", explanation.device);
        assert_eq!(explanation.allowed, lab.mappings().contains(&mapping));
        lab.take_sent();
        lab.events.clear();
        lab.push(server, device, session);
        let sent = lab.take_sent();
        let events = std::mem::take(&mut lab.events);
        let [event] = &events[..] else { panic!("one event: {events:?}") };
        if !explanation.allowed {
            assert_eq!((event.kind, sent.len()), (EventKind::Refused, 0));
            assert_eq!(event.why, explanation.why);
            return;
        }
        match event.kind {
            EventKind::Forwarded => {
                assert_eq!(sent.len(), 1);
                assert_eq!(sent[0].package0(), package0(server, session));
                let fate = explanation.now.unwrap();
                assert_eq!(fate, format!("it would be sent to {}", sent[0].to));
            }
            EventKind::Held => {
                assert_eq!(sent.len(), 0);
                assert!(explanation.now.unwrap().starts_with("it would be held"));
            }
            EventKind::Refused => assert!(event.why.contains("too fast"), "{event:?}"),
            kind => panic!("{kind:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn explain_agrees_with_what_happens(policy in policies(), steps in steps()) {
            let mut lab = Lab::new(options(&[policy]));
            let mut session = 0;
            for step in steps {
                match step {
                    Step::Session { device, servers } => {
                        let servers: Vec<_> = servers.into_iter().map(server).collect();
                        let servers: Vec<_> = servers.iter().map(String::as_str).collect();
                        let mut client =
                            Client::new(&name(device), &format!("192.168.4.{device}"));
                        client.start();
                        let mut commands = client.package1();
                        commands.push(list_alert(&servers));
                        client.say(&mut lab, commands);
                    }
                    Step::Neighbour { ip, mac, state } => {
                        let state = [Reachable, Stale, Failed, Incomplete][usize::from(state)];
                        lab.neighbour(&format!("192.168.4.{ip}"), mac, state);
                    }
                    Step::Push { server: number, device } => {
                        session += 1;
                        check_push(&mut lab, &server(number), &name(device), session);
                    }
                    Step::Advance(milliseconds) => {
                        lab.advance(Duration::from_millis(milliseconds.into()));
                    }
                    Step::Restart(policy) => {
                        lab.options.lans[0].policy = policy;
                        lab.restart();
                    }
                }
            }
        }
    }

    /// What somebody may do who is not device 5 and does not have its Ethernet address.
    #[derive(Clone, Debug)]
    enum Rival {
        Neighbour { ip: u8, mac: u8, state: u8 },
        Lease { ip: u8, mac: u8 },
        Session { ip: u8, source: u8, device_id: u8, servers: Vec<u8> },
        Push { server: u8, from: u8 },
        Advance(u32),
    }

    fn rivals() -> impl Strategy<Value = Vec<Rival>> {
        let step = prop_oneof![
            4 => (1..9_u8, 6..9_u8, 0..4_u8)
                .prop_map(|(ip, mac, state)| Rival::Neighbour { ip, mac, state }),
            1 => (6..9_u8, 6..9_u8).prop_map(|(ip, mac)| Rival::Lease { ip, mac }),
            5 => (1..9_u8, 0..6_u8, 0..6_u8, vec(0..4_u8, 0..4)).prop_map(
                |(ip, source, device_id, servers)| Rival::Session { ip, source, device_id, servers }
            ),
            1 => (0..4_u8, 1..9_u8).prop_map(|(server, from)| Rival::Push { server, from }),
            2 => (1..100_000_u32).prop_map(Rival::Advance),
        ];
        vec(step, 1..60)
    }

    fn claim(number: u8) -> String {
        match number {
            0 => name(5),
            1 => mac_id(5),
            2 => mac_id(6),
            3 => name(6),
            4 => name(5).to_lowercase(),
            _ => "IMEI:rival".to_owned(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn no_third_party_changes_what_is_kept_of_a_device(steps in rivals()) {
            let mut lab = Lab::transparent();
            lab.mapped_device(5, &[SERVER]);
            let kept = lab.store.records().clone();
            let mine = |lab: &Lab| {
                let all = lab.mappings();
                all.into_iter().filter(|it| it.ends_with(&name(5))).collect::<Vec<_>>()
            };
            let mapped = mine(&lab);
            // Who is where, as the kernel has it: sessions come from elsewhere than device 5.
            let mut at_home = true;
            for step in steps {
                match step {
                    Rival::Neighbour { ip, mac, state } => {
                        let state = [Reachable, Stale, Failed, Incomplete][usize::from(state)];
                        at_home &= ip != 5;
                        lab.neighbour(&format!("192.168.4.{ip}"), mac, state);
                    }
                    Rival::Lease { ip, mac } => lab.leases(&[(mac, &format!("192.168.4.{ip}"))]),
                    Rival::Session { ip, source, device_id, servers } => {
                        if ip == 5 && at_home {
                            continue;
                        }
                        let ip = format!("192.168.4.{ip}");
                        let mut rival = Client::new(&claim(source), &ip);
                        rival.device_id = claim(device_id);
                        rival.start();
                        let servers: Vec<_> = servers.into_iter().map(server).collect();
                        let servers: Vec<_> = servers.iter().map(String::as_str).collect();
                        let mut commands = rival.package1();
                        commands.push(list_alert(&servers));
                        rival.say(&mut lab, commands);
                        rival.say(&mut lab, vec![list_alert(&servers)]);
                    }
                    Rival::Push { server: number, from } => {
                        let from = format!("192.168.4.{from}:2948");
                        lab.datagram_from(&from, &push_of(&server(number), &name(5), 1));
                    }
                    Rival::Advance(milliseconds) => {
                        lab.advance(Duration::from_millis(milliseconds.into()));
                    }
                }
                prop_assert_eq!(mine(&lab), mapped.clone());
            }
            for (key, value) in &kept {
                prop_assert_eq!(lab.store.records().get(key), Some(value));
            }
            prop_assert_eq!(&lab.device(&name(5)).unwrap().aliases, &[mac_id(5)]);
            // Once the kernel finds the owner again, its pushes reach it.
            lab.neighbour("192.168.4.5", 5, Reachable);
            lab.take_sent();
            lab.push(SERVER, &mac_id(5), 9_999);
            prop_assert_eq!(lab.take_targets(), ["192.168.4.5"]);
        }
    }
}
