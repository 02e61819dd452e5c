//! `cargo bench --bench footprint`: memory, wake-ups, time to READY, size, crates.
//!
//! Builds the router's binary (without simulators) into a target directory of its own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod rig;

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::Duration;

const MANY: u32 = 10_000;
const IDLE: Duration = Duration::from_secs(20);

fn main() {
    rig::machine();
    let mebibytes = |kibibytes: u64| kibibytes as f64 / 1024.0;
    let mut gateway = rig::Gateway::start();
    // Neither the start nor a first glance counts as idle.
    thread::sleep(Duration::from_secs(3));
    println!("a gateway that knows no device:");
    rig::verdict("resident memory", mebibytes(gateway.resident()), "MiB", 6.0, false);
    rig::verdict("wake-ups", wakeups(&gateway), "/s", 1.0, false);
    assert_eq!(gateway.raise(MANY).acknowledged, MANY);
    thread::sleep(Duration::from_secs(3));
    println!("after {MANY} devices came up at once and gave their lists:");
    rig::verdict("resident memory", mebibytes(gateway.resident()), "MiB", 24.0, false);
    // Threads that made commits have ended by now.
    rig::verdict("wake-ups", wakeups(&gateway), "/s", 1.0, false);
    gateway.restart();
    println!("restarted with {MANY} devices and as many mappings:");
    let ready = gateway.to_ready.as_secs_f64() * 1e3;
    rig::verdict("time to READY", ready, "ms", 50.0, false);
    assert_eq!(gateway.ask(&["status"])["mappings"], MANY);
    thread::sleep(Duration::from_secs(3));
    rig::verdict("resident memory", mebibytes(gateway.resident()), "MiB", 24.0, false);
    rig::verdict("wake-ups", wakeups(&gateway), "/s", 1.0, false);
    println!("the program:");
    size("with simulators", rig::PROGRAM, 4.0);
    router_build();
    crates();
}

fn wakeups(gateway: &rig::Gateway) -> f64 {
    let before = gateway.switches();
    thread::sleep(IDLE);
    (gateway.switches() - before) as f64 / IDLE.as_secs_f64()
}

fn size(name: &str, path: &str, goal: f64) {
    let octets = std::fs::metadata(path).unwrap().len();
    rig::verdict(&format!("binary {name}"), octets as f64 / f64::from(1 << 20), "MiB", goal, false);
}

fn router_build() {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/target/router");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--no-default-features", "--quiet"]);
    cargo.args(["--target-dir", target]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(cargo.status().unwrap().success());
    size("without simulators", &format!("{target}/release/dm-gateway"), 3.5);
}

fn crates() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--locked",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--no-default-features",
    ]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let name = |line: &str| line.trim_end_matches(" (*)").to_owned();
    let crates: BTreeSet<_> = text.lines().map(name).collect();
    rig::verdict("crates", crates.len() as f64, "", 120.0, false);
}
