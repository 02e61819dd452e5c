//! The real daemon among end devices that differ from the documents as real clients do, each way
//! in both encodings: asked, mapped, and the odd ones keep nobody else waiting.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use dm_gateway::proto::syncml::Encoding;
use dm_gateway::simulate::{EndDevice, EndDeviceOptions, Profile, Quirk, Server, gate};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_dm-gateway");
/// The UDP port of all devices; their addresses are this process' own.
const PUSH_PORT: u16 = 29_480;
/// Those that never send a list.
const LISTLESS: [Quirk; 6] = [
    Quirk::Answer406,
    Quirk::Answer500,
    Quirk::Answer501,
    Quirk::Silence,
    Quirk::Crash,
    Quirk::NoList,
];

#[test]
fn whatever_a_client_does_its_own_way_it_is_asked_and_mapped() {
    let [.., high, low] = std::process::id().to_be_bytes();
    let at = |host: u8| Ipv4Addr::new(127, 64 | high, low, host);
    let gateway = TcpListener::bind((at(1), 0)).unwrap().local_addr().unwrap();
    let encodings = [(Encoding::Xml, "xml"), (Encoding::Wbxml, "wbxml")];
    let kinds = Quirk::NAMES.iter().flat_map(|kind| encodings.map(|encoding| (kind, encoding)));
    // What is checked there is WBXML.
    let kinds = kinds.filter(|((_, quirk), (encoding, _))| {
        *quirk != Quirk::WbxmlHeaderCheck || *encoding == Encoding::Wbxml
    });
    let devices: Vec<_> = kinds
        .zip(2..)
        .map(|(((name, quirk), (encoding, short)), host)| {
            let address = SocketAddr::from((at(host), PUSH_PORT));
            (format!("urn:{name}:{short}"), *quirk, encoding, address)
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("dm-gateway.toml");
    let mut text = format!(
        "[gateway]\nid = \"gw\"\nstate-dir = \"{}\"\n\
         [wan]\npush-listen = \"{gateway}\"\n\
         [[lan]]\nname = \"lo\"\ninterface = \"lo\"\nlisten = \"{gateway}\"\n\
         policy = \"transparent\"\nverify = \"none\"\ndetect = \"static\"\n\
         push-port = {PUSH_PORT}\n",
        directory.path().join("state").display()
    );
    for (id, _, _, address) in &devices {
        let ip = address.ip();
        writeln!(text, "[[device]]\nid = \"{id}\"\nlan = \"lo\"\naddress = \"{ip}\"").unwrap();
    }
    std::fs::write(&config, text).unwrap();

    let expected: BTreeSet<_> = devices
        .iter()
        .filter(|(_, quirk, ..)| !LISTLESS.contains(quirk))
        .map(|(id, ..)| id.clone())
        .collect();
    let executor = smol::LocalExecutor::new();
    for (id, quirk, encoding, address) in &devices {
        let url = "http://127.0.0.1:9/dm".to_owned();
        let options = EndDeviceOptions {
            id: id.clone(),
            listen: *address,
            gateway_id: Some("gw".to_owned()),
            gateway_url: format!("http://{gateway}/dm"),
            servers: vec![Server { id: "acme".to_owned(), url, secret: None }],
            encoding: *encoding,
            profile: Profile::Draft,
            account: None,
            quirks: vec![*quirk],
        };
        let device = EndDevice::new(options, gate(4), Rc::new(|_| ()));
        executor.spawn(device.serve()).detach();
    }
    smol::block_on(executor.run(async {
        // The devices' sockets are there before the first Package #0.
        smol::Timer::after(Duration::from_millis(100)).await;
        let _daemon = Daemon(
            Command::new(BINARY)
                .args(["run", "--config"])
                .arg(&config)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let end = Instant::now() + Duration::from_secs(20);
        let mapped = loop {
            smol::Timer::after(Duration::from_millis(200)).await;
            let found = mapped(&config);
            if found.len() >= expected.len() || Instant::now() > end {
                break found;
            }
        };
        assert_eq!(mapped, expected);
        let status = ask(&config, &["status"]).unwrap();
        assert_eq!(status["health"], "healthy");
        assert_eq!(status["counters"]["asked"], devices.len());
        assert_eq!(status["refused"], serde_json::json!({}));
    }));
}

/// The devices with a mapping in force.
fn mapped(config: &Path) -> BTreeSet<String> {
    let answer = ask(config, &["map", "list"]).unwrap_or_default();
    let mappings = answer["mappings"].as_array().into_iter().flatten();
    mappings.map(|mapping| mapping["device"].as_str().unwrap().to_owned()).collect()
}

fn ask(config: &Path, command: &[&str]) -> Option<Value> {
    let mut ask = Command::new(BINARY);
    let output = ask.args(command).args(["--json", "--config"]).arg(config).output().unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

/// A daemon that does not outlive the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
