//! The real daemon between a WAN and LANs of network namespaces, behind the kernel's own NAT;
//! end devices and DM servers are simulated, in processes of their own.
//!
//! Needs root, `ip` and `nft`, and for one test kannel. Where they are missing a test says
//! `left out: netns: …` and passes; `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod away;
mod http;
mod kannel;
mod lab;
mod policy;
mod process;

use std::net::{SocketAddr, UdpSocket};

use crate::lab::{Lab, PUBLIC, PUBLIC6, SERVER, SERVER6};
use crate::process::{Gateway, PATIENCE, completed, device, push, push_to, receive, server};

/// Everything but the LANs of most tests' configuration.
pub(crate) const WAN: &str = "\
public-address = \"198.51.100.2\"
[wan]
interface = \"wan0\"
";

/// One LAN that forwards, IPv4.
pub(crate) const TRANSPARENT: &str = "\
[[lan]]
name = \"radios\"
interface = \"lan0\"
listen = \"192.168.4.1:8080\"
detect = [\"neighbours\"]
policy = \"transparent\"
";

/// Where end devices of LAN 0 find the gateway.
pub(crate) const DM: &str = "http://192.168.4.1:8080/dm";
/// A DM server's option of end devices.
pub(crate) const ACME: &str = "acme=http://198.51.100.1:8000/dm";

#[test]
fn a_device_behind_nat_is_detected_asked_mapped_and_woken() {
    let Some(lab) = Lab::new("a_device_behind_nat_is_detected_asked_mapped_and_woken", 1, &[])
    else {
        return;
    };
    let gateway = Gateway::start(&lab, &format!("{WAN}{TRANSPARENT}"));
    let mut acme = server(&lab, "acme", &format!("{SERVER}:8000"), &[]);
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let address = "192.168.4.20";
    let id = "IMEI:490154203237518";
    let options = ["--gateway", DM, "--server", ACME, "--server", "other=http://192.0.2.9/dm"];
    let mut radio = device(&lab, &host, id, &format!("{address}:2948"), &options);
    assert_eq!(gateway.ask(&["devices"])["devices"].as_array().unwrap().len(), 0);

    // From the WAN there is no way to it.
    let direct = lab.inside("wan", || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(b"anybody there?", (address, 2948)).map_err(|error| error.kind())
    });
    assert_eq!(direct, Err(std::io::ErrorKind::NetworkUnreachable));

    // All that the gateway sees of it is ARP.
    host.announce(address);
    let asked = radio.next("push-received");
    assert_eq!(asked["server"], "gateway.example");
    assert_eq!(radio.next("session-opened")["woken"], true);
    let detection = radio.next("detection");
    assert_eq!((&detection["address"], &detection["share"]), (&PUBLIC.into(), &true.into()));
    radio.next("list-sent");
    assert_eq!(radio.next("list-answered")["status"], 200);
    gateway.until_mapped(&[("acme", id), ("other", id)]);
    let seen = gateway.device(id);
    assert_eq!(seen["address"], address);
    assert_eq!(seen["lan"], "radios");
    assert_eq!(seen["state"], "attached");
    assert_eq!(seen["aliases"][0], "mac:00-16-3e-00-00-0a");

    // A push for its name, and one for its alias.
    for (session, name) in [(0x1a2b, id), (0x1a2c, "MAC:00-16-3e-00-00-0A")] {
        let package0 = push(&lab, "acme", name, session);
        receive(&mut radio, "acme", &package0);
        completed(&mut acme, id, session);
    }
    // The sessions went through the NAT.
    let sessions = lab.counted("wan", "sessions");
    assert!(sessions >= 2, "{sessions}");
    assert_eq!(lab.counted("wan", "from_public"), sessions);

    // What nobody may send does not arrive.
    push(&lab, "stranger", id, 7);
    push(&lab, "acme", "IMEI:999", 8);
    gateway.until(&["status"], "two refusals", |s| s["counters"]["pushes_refused"] == 2);
    assert_eq!(gateway.refused("unknown-server"), 1);
    assert_eq!(gateway.refused("unknown-device"), 1);
    assert_eq!(radio.count_of("push-received"), 3);
    assert_eq!(radio.count_of("push-refused"), 0);
}

#[test]
fn ipv6_devices_are_reached_at_routed_and_at_unique_local_addresses() {
    let test = "ipv6_devices_are_reached_at_routed_and_at_unique_local_addresses";
    let Some(lab) = Lab::new(test, 1, &[]) else { return };
    let lan = TRANSPARENT.replace("\"192.168.4.1:8080\"", "[\"[::]:8080\"]");
    let gateway = Gateway::start(&lab, &format!("{WAN}{lan}"));
    let mut acme = server(&lab, "acme", &format!("[{SERVER6}]:8000"), &[]);
    let acme_option = format!("acme=http://[{SERVER6}]:8000/dm");
    let wan6 = format!("[{PUBLIC6}]:2948");
    let from = format!("[{SERVER6}]:0");

    let hosts = [
        ("routed", "00:16:3e:00:00:0a", "2001:db8:4::20", "IMEI:1", "from_routed"),
        ("local", "00:16:3e:00:00:0b", "fd04::20", "IMEI:2", "from_public6"),
    ];
    for (number, (name, mac, address, id, counter)) in hosts.into_iter().enumerate() {
        let host = lab.host(name, 0, mac, &[&format!("{address}/64")]);
        let network = address.trim_end_matches("20");
        let dm = format!("http://[{network}1]:8080/dm");
        let options = ["--gateway", &dm, "--server", &acme_option];
        let mut radio = device(&lab, &host, id, &format!("[{address}]:2948"), &options);
        host.announce(address);
        assert_eq!(radio.next("list-answered")["status"], 200);
        gateway.until_device(id, "at its address", |device| device["address"] == address);

        // Routed or not, only the gateway gets through to it.
        let direct = lab.inside("wan", || {
            let socket = UdpSocket::bind("[::]:0").unwrap();
            socket.send_to(b"anybody there?", (address, 2948)).map_err(|error| error.kind())
        });
        let routed = counter == "from_routed";
        let unreachable = std::io::ErrorKind::NetworkUnreachable;
        assert_eq!(direct, if routed { Ok(14) } else { Err(unreachable) });

        let before = lab.counted("wan", counter);
        let session = 100 + number as u16;
        let package0 = push_to(&lab, &wan6, &from, "acme", id, session);
        receive(&mut radio, "acme", &package0);
        completed(&mut acme, id, session);
        assert!(lab.counted("wan", counter) > before, "{counter}");
        // The same gateway takes pushes over IPv4 for it.
        let package0 = push(&lab, "acme", id, session + 100);
        receive(&mut radio, "acme", &package0);
        assert_eq!(radio.count_of("push-refused"), 0);
    }
    gateway.until_mapped(&[("acme", "IMEI:1"), ("acme", "IMEI:2")]);
}

#[test]
fn the_lab_translates_addresses_and_keeps_carrier() {
    let Some(lab) = Lab::new("the_lab_translates_addresses_and_keeps_carrier", 1, &[]) else {
        return;
    };
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24", "fd04::20/64"]);
    for (server, public, own) in [(SERVER, PUBLIC, "192.168.4.20"), (SERVER6, PUBLIC6, "fd04::20")]
    {
        let listener = lab.inside("wan", || UdpSocket::bind(address(server, 7000)).unwrap());
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        lab.inside(host.name(), || {
            let socket = UdpSocket::bind(address(own, 0)).unwrap();
            socket.send_to(b"out", address(server, 7000)).unwrap();
        });
        let mut buffer = [0; 9];
        let (_, from) = listener.recv_from(&mut buffer).unwrap();
        assert_eq!(from.ip().to_string(), public);
    }
    host.unplug();
    assert!(sh_output(&lab, "gateway", "ip link show lan0").contains("LOWER_UP"));
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn sh_output(lab: &Lab, name: &str, command: &str) -> String {
    lab::sh(&format!("ip netns exec {} {command}", lab.namespace(name)))
}
