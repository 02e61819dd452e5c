//! tshark judges the pushes that the gateway emits: each dissects as a WSP push of a DM
//! notification, without a malformed mark.
//!
//! Without tshark the test says so and passes, unless `DM_GATEWAY_REQUIRE_TOOLS=1`.

#![expect(clippy::print_stdout, reason = "a suite that is left out says so")]

use dm_gateway::proto::notification::{Notification, UiMode, VERSION};
use dm_gateway::proto::wsp::encode_notification;
use std::net::Ipv4Addr;
use std::process::Command;

/// The UDP port of WAP push.
const PORT: u16 = 2948;

#[test]
fn tshark_dissects_every_emitted_push() {
    if Command::new("tshark").arg("--version").output().is_err() {
        let is_required = std::env::var("DM_GATEWAY_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
        assert!(!is_required, "tshark is required, but not installed");
        println!("left out: tshark not installed");
        return;
    }
    let pushes = pushes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pushes.pcap");
    std::fs::write(&path, pcap(&pushes)).unwrap();

    let output = Command::new("tshark").arg("-n").arg("-V").arg("-r").arg(&path).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let frames: Vec<&str> = report.split("\nFrame ").collect();
    assert_eq!(frames.len(), pushes.len(), "{report}");
    for (frame, push) in frames.iter().zip(&pushes) {
        for mark in ["Malformed", "Expert Info (Error", "Expert Info (Warning"] {
            assert!(!frame.contains(mark), "{mark} in {frame}");
        }
        for expected in [
            "PDU Type: Push (0x06)",
            "Content-Type: application/vnd.syncml.notification",
            "X-Wap-Application-Id: x-wap-application:syncml.dm",
        ] {
            assert!(frame.contains(expected), "no {expected} in {frame}");
        }
        // The registry gave 0x50 its name after tshark's table was made.
        let is_there = frame.contains("header field 0x50") || frame.contains("X-Oma-GwMO");
        assert_eq!(is_there, push.names_device, "{frame}");
        let body = format!("notification ({} bytes)", push.body_length);
        assert!(frame.contains(&body), "no {body} in {frame}");
    }
}

/// A push, and what must be found in it.
struct Emitted {
    datagram: Vec<u8>,
    names_device: bool,
    body_length: usize,
}

/// What is emitted towards an end device, and what a gateway passes on to the next one.
fn pushes() -> Vec<Emitted> {
    let long = "d".repeat(255);
    let ids = [None, Some("mac:02-ab-34-ef-69-0c"), Some("imei:490154203237518"), Some(&*long)];
    let bodies = [package("com.mgmtsrv.manage"), package(&"s".repeat(255))];
    let mut pushes = Vec::new();
    for (number, id) in ids.into_iter().enumerate() {
        for body in &bodies {
            let mut datagram = Vec::new();
            encode_notification(&mut datagram, number as u8, id, body);
            let names_device = id.is_some();
            pushes.push(Emitted { datagram, names_device, body_length: body.len() });
        }
    }
    pushes
}

fn package(server_id: &str) -> Vec<u8> {
    let package = Notification {
        digest: [0; 16],
        version: VERSION,
        ui_mode: UiMode::Background,
        server_initiated: true,
        session_id: 0x1234,
        server_id,
        vendor: b"",
    };
    package.encode_signed("srvpwd", b"Nonce")
}

/// A capture of raw IPv4 packets, one for each push.
fn pcap(pushes: &[Emitted]) -> Vec<u8> {
    const RAW_IP: u32 = 101;
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_be_bytes());
    file.extend([0, 2, 0, 4]);
    file.extend([0; 8]);
    file.extend(65_535_u32.to_be_bytes());
    file.extend(RAW_IP.to_be_bytes());
    for (number, Emitted { datagram: push, .. }) in (1_u32..).zip(pushes) {
        let udp_length = 8 + push.len() as u16;
        let ip_length = 20 + udp_length;
        for field in [number, 0, u32::from(ip_length), u32::from(ip_length)] {
            file.extend(field.to_be_bytes());
        }
        let mut ip = vec![0x45, 0];
        ip.extend(ip_length.to_be_bytes());
        ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        ip.extend(Ipv4Addr::new(192, 168, 4, 1).octets());
        ip.extend(Ipv4Addr::new(192, 168, 4, 23).octets());
        file.extend(ip);
        for field in [PORT, PORT, udp_length, 0] {
            file.extend(field.to_be_bytes());
        }
        file.extend(push);
    }
    file
}
