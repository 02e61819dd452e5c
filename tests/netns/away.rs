//! Devices that move, vanish and return; a gateway that restarts.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::lab::{Lab, SERVER};
use crate::process::{Gateway, completed, device, push, receive, server};
use crate::{ACME, DM, TRANSPARENT, WAN};

const ID: &str = "IMEI:490154203237518";

#[test]
fn a_push_follows_a_device_to_its_new_address() {
    let Some(lab) = Lab::new("a_push_follows_a_device_to_its_new_address", 1, &[]) else { return };
    let gateway = Gateway::start(&lab, &format!("{WAN}{TRANSPARENT}"));
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let mut radio = device(&lab, &host, ID, "0.0.0.0:2948", &["--gateway", DM, "--server", ACME]);
    host.announce("192.168.4.20");
    assert_eq!(radio.next("list-answered")["status"], 200);
    gateway.until_mapped(&[("acme", ID)]);
    let package0 = push(&lab, "acme", ID, 1);
    receive(&mut radio, "acme", &package0);

    host.remove_address("192.168.4.20/24");
    host.add_address("192.168.4.77/24");
    host.announce("192.168.4.77");
    gateway.until_device(ID, "at its new address", |device| device["address"] == "192.168.4.77");
    let package0 = push(&lab, "acme", ID, 2);
    receive(&mut radio, "acme", &package0);
    gateway.until_mapped(&[("acme", ID)]);
    assert_eq!(gateway.device(ID)["state"], "attached");

    // Its old address goes to another device, which gets none of its pushes.
    let other = lab.host("other", 0, "00:16:3e:00:00:0b", &["192.168.4.20/24"]);
    let other_device = device(&lab, &other, "IMEI:2", "0.0.0.0:2948", &["--gateway", DM]);
    other.announce("192.168.4.20");
    gateway.until_device("IMEI:2", "known", |device| device["address"] == "192.168.4.20");
    let package0 = push(&lab, "acme", ID, 3);
    receive(&mut radio, "acme", &package0);
    assert_eq!(other_device.count(|line| line["server"] == "acme"), 0);
    assert_eq!(other_device.count_of("push-refused"), 0);
}

#[test]
fn a_push_for_a_device_that_vanished_silently_waits_for_its_return() {
    let test = "a_push_for_a_device_that_vanished_silently_waits_for_its_return";
    let Some(lab) = Lab::new(test, 1, &[]) else { return };
    let gateway = Gateway::start(&lab, &format!("{WAN}{TRANSPARENT}"));
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let zeta = "zeta=http://198.51.100.1:8001/dm";
    let options = ["--gateway", DM, "--server", ACME, "--server", zeta];
    let mut radio = device(&lab, &host, ID, "0.0.0.0:2948", &options);
    host.announce("192.168.4.20");
    assert_eq!(radio.next("list-answered")["status"], 200);
    gateway.until_mapped(&[("acme", ID), ("zeta", ID)]);
    // The kernel has just heard of it.
    let package0 = push(&lab, "acme", ID, 1);
    receive(&mut radio, "acme", &package0);

    host.unplug();
    assert_eq!(gateway.device(ID)["state"], "attached", "nobody noticed");
    let before = push(&lab, "acme", ID, 2);
    let gone = gateway.until_device(ID, "detached", |device| device["state"] == "detached");
    assert_eq!(gone["waiting"][0], "acme");
    // Known to be away: of one server only the newest trigger is kept.
    push(&lab, "zeta", ID, 3);
    let newest = push(&lab, "zeta", ID, 4);
    gateway.until_device(ID, "waited for by both", |device| {
        device["waiting"].as_array().is_some_and(|waiting| waiting.len() == 2)
    });
    gateway.until_mapped(&[("acme", ID), ("zeta", ID)]);
    let status = gateway.ask(&["status"]);
    assert_eq!(status["waiting"], 2);
    assert_eq!(status["lans"][0]["up"], true, "the gateway kept its carrier");

    host.plug();
    host.announce("192.168.4.20");
    for _ in 0..2 {
        let released = radio.next_where("a trigger that waited", |line| {
            line["event"] == "push-received" && line["server"] != "gateway.example"
        });
        let kept = if released["server"] == "acme" { &before } else { &newest };
        assert_eq!(released["package0"], kept.as_str());
    }
    let back = gateway.until_device(ID, "back", |device| {
        device["state"] == "attached" && device["waiting"] == serde_json::json!([])
    });
    assert_eq!(back["address"], "192.168.4.20");
    // Nothing is sent twice, and session 3 was overtaken.
    let package0 = push(&lab, "acme", ID, 5);
    receive(&mut radio, "acme", &package0);
    let of = |session: u16| {
        radio.count(|line| line["event"] == "push-received" && line["session"] == session)
    };
    assert_eq!([1, 2, 3, 4, 5].map(of), [1, 1, 0, 1, 1]);

    // It goes again, and comes back at another address.
    host.unplug();
    let package0 = push(&lab, "acme", ID, 6);
    gateway.until_device(ID, "detached", |device| device["state"] == "detached");
    host.remove_address("192.168.4.20/24");
    host.add_address("192.168.4.99/24");
    host.plug();
    host.announce("192.168.4.99");
    receive(&mut radio, "acme", &package0);
    assert_eq!(gateway.device(ID)["address"], "192.168.4.99");
}

#[test]
fn mappings_outlive_the_gateway() {
    let Some(lab) = Lab::new("mappings_outlive_the_gateway", 1, &[]) else { return };
    let mut gateway = Gateway::start(&lab, &format!("{WAN}{TRANSPARENT}"));
    let mut acme = server(&lab, "acme", &format!("{SERVER}:8000"), &[]);
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let options = ["--gateway", DM, "--server", ACME, "--encoding", "wbxml"];
    let mut radio = device(&lab, &host, ID, "192.168.4.20:2948", &options);
    host.announce("192.168.4.20");
    assert_eq!(radio.next("list-answered")["status"], 200);

    for (session, signal) in [(1, Signal::SIGTERM), (2, Signal::SIGKILL)] {
        gateway.restart(signal);
        gateway.until_mapped(&[("acme", ID)]);
        // At once, before the device has said anything.
        let package0 = push(&lab, "acme", ID, session);
        receive(&mut radio, "acme", &package0);
        completed(&mut acme, ID, session);
    }
}

#[test]
fn a_lan_whose_interface_is_unplugged_and_plugged_in_again_works_on() {
    let test = "a_lan_whose_interface_is_unplugged_and_plugged_in_again_works_on";
    let Some(lab) = Lab::new(test, 1, &[]) else { return };
    for listen in ["192.168.4.1:8080", "0.0.0.0:8080"] {
        let lan = TRANSPARENT.replace("192.168.4.1:8080", listen);
        let gateway = Gateway::start(&lab, &format!("{WAN}{lan}"));
        let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
        let options = ["--gateway", DM, "--server", ACME];
        let mut radio = device(&lab, &host, ID, "192.168.4.20:2948", &options);
        host.announce("192.168.4.20");
        assert_eq!(radio.next("list-answered")["status"], 200);

        lab.remove_lan_interface(0);
        gateway.until_device(ID, "detached", |device| device["state"] == "detached");
        let status = gateway.until(&["status"], "down", |status| status["health"] == "down");
        assert!(status["problems"][0].as_str().unwrap().contains("lan0"), "{status}");
        let package0 = push(&lab, "acme", ID, 1);
        gateway.until(&["status"], "a trigger that waits", |status| status["waiting"] == 1);

        lab.add_lan_interface(0);
        host.announce("192.168.4.20");
        receive(&mut radio, "acme", &package0);
        // The new attachment has a session of its own.
        radio.next("list-answered");
        assert_eq!(gateway.ask(&["status"])["health"], "healthy");
        drop((radio, gateway));
        lab.remove_host(host);
    }
}

#[test]
fn a_modem_that_resets_is_listened_on_again() {
    let Some(lab) = Lab::new("a_modem_that_resets_is_listened_on_again", 1, &[]) else { return };
    let gateway = Gateway::start(&lab, &format!("{WAN}{TRANSPARENT}"));
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let options = ["--gateway", DM, "--server", ACME];
    let mut radio = device(&lab, &host, ID, "192.168.4.20:2948", &options);
    host.announce("192.168.4.20");
    assert_eq!(radio.next("list-answered")["status"], 200);
    let mut session = 0;
    for forwarded in [1, 2] {
        lab.reset_wan_interface();
        let began = Instant::now();
        while gateway.ask(&["status"])["counters"]["forwarded"] != forwarded {
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(3), "no push comes through after {waited:?}");
            session += 1;
            push(&lab, "acme", ID, session);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
