//! Pushes over HTTP, and what the kernel knows of the device: 202 or 504.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dm_gateway::proto::notification::{Notification, UiMode};
use nix::sys::signal::Signal;

use crate::lab::{Lab, sh};
use crate::process::{Gateway, device};
use crate::{ACME, DM, TRANSPARENT};

const ID: &str = "IMEI:490154203237518";

#[test]
fn a_device_that_the_kernel_is_not_sure_of_is_202_if_it_answers_arp_and_504_if_not() {
    let test = "a_device_that_the_kernel_is_not_sure_of_is_202_if_it_answers_arp_and_504_if_not";
    let Some(lab) = Lab::new(test, 1, &[]) else { return };
    let (token, leases) = (lab.path("token"), lab.path("leases"));
    std::fs::write(&token, "a token of some length").unwrap();
    std::fs::write(&leases, "0 00:16:3e:00:00:0a 192.168.4.20 radio *\n").unwrap();
    let lan = TRANSPARENT.replace("\"neighbours\"", "\"leases\"");
    let mut gateway = Gateway::start(
        &lab,
        &format!(
            "[wan]\nhttp-push-listen = \"127.0.0.1:4035\"\n[wan.http-push]\ntoken-file = {token:?}\n\
             {lan}lease-file = {leases:?}\n"
        ),
    );
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let options = ["--gateway", DM, "--server", ACME];
    let mut radio = device(&lab, &host, ID, "192.168.4.20:2948", &options);
    assert_eq!(radio.next("list-answered")["status"], 200);
    gateway.until_mapped(&[("acme", ID)]);

    // The kernel has forgotten the device, its lease says that it is there: it is looked for.
    let forget = format!("ip -n {} neigh del 192.168.4.20 dev lan0", lab.namespace("gateway"));
    sh(&forget);
    gateway.restart(Signal::SIGKILL);
    assert_eq!(post(&lab, 1).0, 202);
    radio.next_where("the push", |line| line["server"] == "acme" && line["session"] == 1);

    // The same, and it is gone: three ARP requests, which are close to each other in this lab.
    host.unplug();
    sh(&forget);
    gateway.restart(Signal::SIGKILL);
    let (status, time) = post(&lab, 2);
    assert_eq!(status, 504);
    assert!(time < Duration::from_secs(5), "{time:?}");
    gateway.until_device(ID, "detached", |device| device["state"] == "detached");
    // Now it is known to be away, and the push waits.
    assert_eq!(post(&lab, 3).0, 202);
    host.plug();
    host.announce("192.168.4.20");
    sh(&format!("touch {}", leases.display()));
    radio.next_where("what waited", |line| line["server"] == "acme" && line["session"] == 3);
}

/// Posts a push from the gateway's own machine: the status, and how long it took to come.
fn post(lab: &Lab, session_id: u16) -> (u16, Duration) {
    let notification = Notification {
        digest: [0; 16],
        version: 11,
        ui_mode: UiMode::Background,
        server_initiated: true,
        session_id,
        server_id: "acme",
        vendor: &[],
    };
    let body = notification.encode();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer a token of some \
         length\r\nContent-Type: application/vnd.syncml.notification\r\nX-Wap-Application-Id: 7\r\n\
         X-Oma-GwMO: {ID}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let began = Instant::now();
    let answer = lab.inside("gateway", || {
        let mut stream = TcpStream::connect("127.0.0.1:4035").unwrap();
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let status = answer.split(' ').nth(1).unwrap_or_default();
    (status.parse().expect(&answer), began.elapsed())
}
