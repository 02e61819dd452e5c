//! The real daemon is killed at any instant, a hundred times: what it acknowledged is there
//! after the restart, and its store opens.
//!
//! On loopback, without root; `DM_GATEWAY_KILLS` sets how often. Each cycle end devices deliver
//! lists, all of them new to the gateway and one a change of what it knew, while a thread of its
//! own kills the daemon.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use dm_gateway::proto::syncml::Encoding;
use dm_gateway::simulate::{EndDevice, EndDeviceOptions, Profile, Quirk, Server, SimEvent, gate};
use serde_json::Value;

/// New devices in each cycle.
const DEVICES: u8 = 4;

#[test]
fn whatever_was_acknowledged_survives_a_kill_at_any_instant() {
    let cycles = std::env::var("DM_GATEWAY_KILLS").map_or(100, |kills| kills.parse().unwrap());
    let lab = Lab::new();
    // Device to the server that it was last acknowledged for, and those that it offered since
    // and whose fate nobody was told.
    let mut expected = BTreeMap::<String, (Option<String>, BTreeSet<String>)>::new();
    let (mut acknowledged, mut silent) = (0, 0);
    // How long all devices of a cycle take, where nobody disturbs them.
    let mut whole = Duration::from_secs(2);
    for cycle in 0..cycles {
        let mut daemon = lab.start();
        check(&lab.mappings(), &expected, cycle);
        let life = if cycle == 0 { whole } else { whole.mul_f64(1.6 * random()) };
        let killer = std::thread::spawn(move || {
            std::thread::sleep(life);
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        });
        let offers = offers(cycle);
        let began = Instant::now();
        let told = lab.deliver(&offers, cycle);
        if told.len() == offers.len() {
            whole = began.elapsed();
        }
        killer.join().unwrap();
        for (device, server) in offers {
            let (known, maybe) = expected.entry(device.clone()).or_default();
            if told.contains(&device) {
                *known = Some(server);
                maybe.clear();
                acknowledged += 1;
            } else {
                maybe.insert(server);
                silent += 1;
            }
        }
    }
    let mut daemon = lab.start();
    check(&lab.mappings(), &expected, cycles);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    println!("{cycles} kills: {acknowledged} lists acknowledged, {silent} not");
    assert!(acknowledged > usize::from(cycles) / 2, "the kills came too early to show anything");
    assert!(silent > usize::from(cycles) / 4, "the kills came too late to show anything");
}

/// Which device names which server in a cycle.
fn offers(cycle: u16) -> Vec<(String, String)> {
    let new = (0..DEVICES).map(|number| (format!("IMEI:{cycle}-{number}"), "acme".to_owned()));
    new.chain([("urn:test:changes".to_owned(), format!("server-{cycle}"))]).collect()
}

fn check(
    mappings: &BTreeMap<String, String>,
    expected: &BTreeMap<String, (Option<String>, BTreeSet<String>)>,
    cycle: u16,
) {
    for (device, (known, maybe)) in expected {
        let found = mappings.get(device);
        let right = match found {
            Some(server) => known.as_ref() == Some(server) || maybe.contains(server),
            None => known.is_none(),
        };
        assert!(right, "before cycle {cycle}: {device} has {found:?}, not {known:?} or {maybe:?}");
    }
    let strangers: Vec<_> = mappings.keys().filter(|id| !expected.contains_key(*id)).collect();
    assert!(strangers.is_empty(), "before cycle {cycle}: mappings of {strangers:?}");
}

/// Configuration and state of the daemon.
struct Lab {
    directory: tempfile::TempDir,
    gateway: SocketAddr,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Addresses of this process' own, so that runs side by side do not meet.
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 64 | high, low, 1);
        let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
        let gateway = SocketAddr::from((address, port));
        let config = format!(
            "[gateway]
             id = \"gateway.example\"
             public-address = \"{address}\"
             state-dir = \"{}\"
             [wan]
             push-listen = [\"{gateway}\"]
             [[lan]]
             name = \"lo\"
             interface = \"lo\"
             listen = \"{gateway}\"
             policy = \"transparent\"
             detect = [\"static\"]
             verify = \"none\"
            ",
            directory.path().join("state").display()
        );
        let lab = Self { directory, gateway };
        std::fs::write(lab.config(), config).unwrap();
        lab
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("dm-gateway.toml")
    }

    /// Starts the daemon and waits until it answers.
    fn start(&self) -> Daemon {
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let daemon = Command::new(BINARY)
            .args(["run", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Daemon(daemon);
        let end = Instant::now() + Duration::from_secs(20);
        while ask(&self.config(), &["status"]).is_none() {
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap();
            assert!(daemon.0.try_wait().unwrap().is_none(), "the daemon ended: {}", log());
            assert!(Instant::now() < end, "the daemon does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// Device to server.
    fn mappings(&self) -> BTreeMap<String, String> {
        let answer = ask(&self.config(), &["map", "list"]).unwrap();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let mappings = answer["mappings"].as_array().unwrap();
        let pairs = mappings.iter().map(|m| (word(&m["device"]), word(&m["server"])));
        let mut found = BTreeMap::new();
        for (device, server) in pairs {
            let before = found.insert(device.clone(), server);
            assert_eq!(before, None, "{device} named one server at a time");
        }
        found
    }

    /// Has all devices deliver their lists at once, until they gave up. Gives those that were
    /// told 200.
    fn deliver(&self, offers: &[(String, String)], cycle: u16) -> BTreeSet<String> {
        let told = Rc::new(RefCell::new(BTreeSet::new()));
        let gate = gate(64);
        let executor = smol::LocalExecutor::new();
        let [_, high, low, _] = match self.gateway.ip() {
            std::net::IpAddr::V4(address) => address.octets(),
            std::net::IpAddr::V6(_) => panic!("IPv4 here"),
        };
        let sessions: Vec<_> = offers
            .iter()
            .zip(2..)
            .map(|((id, server), host)| {
                let options = EndDeviceOptions {
                    id: id.clone(),
                    listen: SocketAddr::from(([127, high, low, host], 0)),
                    gateway_id: None,
                    gateway_url: format!("http://{}/dm", self.gateway),
                    servers: vec![Server {
                        id: server.clone(),
                        // Discard: whoever is told of the gateway learns nothing.
                        url: "http://127.0.0.1:9/dm".to_owned(),
                        secret: None,
                    }],
                    encoding: if cycle % 2 == 0 { Encoding::Xml } else { Encoding::Wbxml },
                    profile: Profile::Registered,
                    account: None,
                    quirks: if host % 2 == 0 { vec![Quirk::ListUnasked] } else { Vec::new() },
                };
                let told = Rc::clone(&told);
                let device = EndDevice::new(
                    options,
                    gate.clone(),
                    Rc::new(move |report| {
                        if let SimEvent::ListAnswered { status } = report.event {
                            assert_eq!(status, 200, "{}", report.who);
                            told.borrow_mut().insert(report.who);
                        }
                    }),
                );
                executor.spawn(async move { device.open_session().await })
            })
            .collect();
        smol::block_on(executor.run(async {
            for session in sessions {
                session.await;
            }
        }));
        drop(executor);
        told.take()
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_dm-gateway");

/// A daemon that does not outlive the test.
struct Daemon(Child);

impl std::ops::Deref for Daemon {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a client command answers, if the daemon is there.
fn ask(config: &Path, command: &[&str]) -> Option<Value> {
    let output = Command::new(BINARY)
        .args(command)
        .arg("--json")
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    let answered = output.status.code().is_some_and(|code| code <= 2);
    answered.then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// Between 0 and 1. The keys of std's hasher come from the kernel.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    bits as f64 / f64::from(u32::MAX)
}
