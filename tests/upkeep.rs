//! The real binary: what changes or carries off its state.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers are part of the tests")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
const RADIO: &str = "IMEI:490154203237518";
const DMS: &str = "com.example.dms";

/// A directory with a configuration on loopback, and perhaps a daemon.
struct Bench {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Bench {
    /// Uses the addresses 127.7.`net`.x. One device is known by the configuration.
    fn new(net: u8) -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap(), daemon: None };
        let text = format!(
            r#"
[gateway]
id = "gateway.test"
state-dir = "state"

[wan]
push-listen = ["127.7.{net}.2:2948"]

[[lan]]
name = "radios"
interface = "lo"
listen = "127.7.{net}.1:8080"
policy = "bootstrap"
verify = "none"
detect = ["static"]
trusted-link = true

[[device]]
id = "{RADIO}"
lan = "radios"
address = "127.7.{net}.9"
"#
        );
        fs::write(bench.config(), text).unwrap();
        bench
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("gateway.toml")
    }

    fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg("--config").arg(self.config()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Runs a command that must succeed.
    fn text(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let text = self.text(&[words, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Runs a command that must fail: its exit code, and what it says.
    fn fails(&self, words: &[&str]) -> (i32, String) {
        let output = self.run(words);
        assert!(!output.status.success(), "{words:?}: {output:?}");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn start(&mut self) {
        let log = fs::File::create(self.path().join("log")).unwrap();
        self.daemon = Some(self.command(&["run"]).stderr(log).spawn().unwrap());
        let late = Instant::now() + Duration::from_secs(30);
        while self.run(&["status"]).status.code() == Some(3) {
            let log = fs::read_to_string(self.path().join("log")).unwrap();
            assert!(Instant::now() < late, "not up: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&mut self, name: &str) {
        let mut daemon = self.daemon.take().unwrap();
        let id = daemon.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
        daemon.wait().unwrap();
    }

    fn stop(&mut self) {
        self.signal("TERM");
    }

    /// The audit, when it has that many entries at least.
    fn audit(&self, count: usize) -> Vec<Value> {
        let late = Instant::now() + Duration::from_secs(30);
        loop {
            let audit = self.json(&["audit"])["audit"].as_array().unwrap().clone();
            if audit.len() >= count {
                return audit;
            }
            assert!(Instant::now() < late, "{audit:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

// --- The audit -------------------------------------------------------------------------------

#[test]
fn the_audit_tells_who_did_what_with_and_without_a_daemon_and_its_chain_is_whole() {
    let mut bench = Bench::new(1);
    bench.start();
    assert!(bench.text(&["devices", "block", RADIO]).contains("blocked"));
    assert_eq!(bench.fails(&["devices", "forget", "IMEI:0"]).0, 1);
    let entries = bench.audit(3);
    let uid = format!("uid:{}", nix::unistd::getuid());
    let whats: Vec<_> = entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["start", "block", "forget"]);
    assert_eq!(entries[0]["after"], concat!("version ", env!("CARGO_PKG_VERSION")));
    assert_eq!((&entries[1]["by"], &entries[1]["subject"]), (&uid.into(), &RADIO.into()));
    assert!(entries[1]["after"].as_str().unwrap().ends_with("; blocked"));
    assert_eq!(entries[2]["result"], "failed");
    assert!(bench.text(&["audit", "--verify"]).starts_with("the chain of 3 lines is whole"));
    bench.stop();
    // Read from the files now.
    assert_eq!(bench.audit(4)[3]["what"], "stop");
    assert!(bench.text(&["audit"]).contains(RADIO));
    assert!(bench.text(&["audit", "--since", "1h"]).contains("block"));
    assert!(!bench.text(&["audit", "--server", DMS]).contains("block"));
    let lines = bench.text(&["audit", "--format", "jsonl"]);
    assert!(lines.lines().count() == 4 && lines.lines().all(|line| line.contains("\"hash\":")));
    let file = bench.state().join("audit/000001.jsonl");
    assert_eq!(fs::read_to_string(&file).unwrap(), lines);
    fs::write(&file, lines.replace("\"block\"", "\"blick\"")).unwrap();
    let (code, said) = bench.fails(&["audit", "--verify"]);
    assert!(code == 1 && said.contains("GW-AUDIT-01") && said.contains("line 2 of "), "{said}");
}

// --- Rehearsals ------------------------------------------------------------------------------

#[test]
fn no_changing_command_changes_anything_with_dry_run() {
    let mut bench = Bench::new(2);
    bench.start();
    let document = "tests/fixtures/bootstrap/valid/factory_tree.xml";
    for words in [
        &["devices", "block", RADIO][..],
        &["devices", "forget", RADIO],
        &["devices", "trust", RADIO],
        &["devices", "trust", RADIO, "--mac", "00-16-3e-00-00-01"],
        &["devices", "provision", RADIO],
        &["map", "add", DMS, RADIO],
        &["map", "remove", DMS, RADIO],
        &["servers", "deny", DMS],
        &["servers", "approve", DMS],
        &["bootstrap", "apply", document],
    ] {
        let views = ["devices", "servers", "audit"].map(|view| bench.json(&[view]));
        let mut dry = words.to_vec();
        dry.push("--dry-run");
        let would = bench.run(&dry);
        let text = String::from_utf8(would.stdout.clone()).unwrap();
        assert!(
            !would.status.success() || text.ends_with("nothing was changed\n"),
            "{words:?}: {would:?}"
        );
        let after = ["devices", "servers", "audit"].map(|view| bench.json(&[view]));
        let without_ages = |views: &[Value; 3]| {
            let mut views = views.clone();
            for device in views[0]["devices"].as_array_mut().unwrap() {
                device["age"].take();
                device["seen"].take();
            }
            views
        };
        assert_eq!(without_ages(&views), without_ages(&after), "{words:?}");
    }
    let would = bench.json(&["map", "add", DMS, RADIO, "--dry-run"]);
    assert!(would["would"][0].as_str().unwrap().starts_with("before: refused: "), "{would}");
    assert_eq!(bench.text(&["map", "add", DMS, RADIO]).lines().count(), 2);
    assert!(bench.text(&["map", "list"]).contains("by an operator"));
    assert!(bench.text(&["map", "explain", DMS, RADIO]).contains("operator-added"));
}
