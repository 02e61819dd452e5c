//! End devices without an account, and the real binary that gives them one: pushed to a simulated
//! device, fetched by curl.
//!
//! Certificates are made by openssl. Without a tool its test says so; `DM_GATEWAY_REQUIRE_TOOLS=1`
//! makes that a failure.

#![cfg(feature = "simulate")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "the helpers are part of the tests")]

use dm_gateway::proto::bootstrap::{Level, Source, read};
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
const DEVICE: &str = "IMEI:490154203237518";

/// A daemon on loopback with one device, which has no account.
struct Bench {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Bench {
    /// A directory with the configuration. Uses the addresses 127.6.`net`.x.
    fn new(net: u8, lan: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            r#"
[gateway]
id = "gateway.test"
state-dir = "state"

[wan]
push-listen = "127.6.{net}.2:2948"

[[lan]]
name = "radios"
interface = "lo"
listen = "127.6.{net}.1:8080"
policy = "transparent"
verify = "none"
device-auth = "md5"
{lan}

[[device]]
id = "{DEVICE}"
address = "127.6.{net}.5"
pin-file = "pin"
"#
        );
        fs::write(directory.path().join("pin"), "4711\n").unwrap();
        fs::write(directory.path().join("gateway.toml"), text).unwrap();
        Self { directory, daemon: None }
    }

    fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut run = Command::new(PROGRAM);
        run.args(["run", "--config"]).arg(self.path("gateway.toml"));
        self.daemon = Some(run.env("DM_GATEWAY_LOG", "trace").stderr(log).spawn().unwrap());
        let late = Instant::now() + Duration::from_secs(10);
        while !self.ask(&["status"]).status.success() {
            assert!(Instant::now() < late, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn ask(&self, verb: &[&str]) -> Output {
        let config = self.path("gateway.toml");
        Command::new(PROGRAM).args(verb).arg("--config").arg(config).output().unwrap()
    }

    fn said(&self, verb: &[&str]) -> String {
        let output = self.ask(verb);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A factory-fresh device whose user has this pin; ends with `wait` or after 10 s.
    fn device(&self, net: u8, pin: &str, wait: &str) -> Child {
        let file = self.path(&format!("device-pin-{pin}"));
        fs::write(&file, pin).unwrap();
        let child = Command::new(PROGRAM)
            .args(["simulate", "device", "--factory-fresh", "--id", DEVICE])
            .args(["--listen", &format!("127.6.{net}.5:2948"), "--pin-file"])
            .arg(file)
            .args(["--server", &format!("dms.example=http://127.6.{net}.9:1/")])
            .args(["--wait", wait, "--timeout", "10"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let late = Instant::now() + Duration::from_secs(10);
        while UdpSocket::bind(format!("127.6.{net}.5:2948")).is_ok() {
            assert!(Instant::now() < late);
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop();
    }
}

fn ended(device: Child) -> (bool, String) {
    let output = device.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn has(tool: &str, version: &str) -> bool {
    let found = Command::new(tool).arg(version).stdout(Stdio::null()).status().is_ok();
    let required = std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() == Ok("1");
    assert!(found || !required, "{tool} is required and not installed");
    if !found {
        println!("left out: {tool} not installed");
    }
    found
}

/// A CA and the certificate of the gateway.
fn certificates(directory: &Path, net: u8) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .current_dir(directory)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2"])
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl("-subj /CN=ca -keyout ca.key -out ca.pem");
    openssl(&format!(
        "-subj /CN=gateway -keyout gateway.key -out gateway.pem -addext \
         basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca.key -addext \
         subjectAltName=IP:127.6.{net}.1"
    ));
}

#[test]
fn a_factory_fresh_device_is_given_its_account_by_itself_and_opens_a_session_with_it() {
    for (net, profile) in [(1, "dm"), (2, "cp")] {
        let lan =
            format!("trusted-link = true\nprovision = true\nbootstrap-profile = \"{profile}\"");
        let mut bench = Bench::new(net, &lan);
        let device = bench.device(net, "4711", "list-answered");
        bench.start();
        let (done, told) = ended(device);
        assert!(done, "{told}\n{}", bench.log());
        let bootstrapped = told.lines().find(|line| line.contains("\"bootstrapped\"")).unwrap();
        let url = format!("\"url\":\"http://127.6.{net}.1:8080/dm\"");
        assert!(bootstrapped.contains(&url) && bootstrapped.contains("gateway.test"), "{told}");
        assert!(told.contains("\"status\":200"), "{told}");
        let mappings = bench.said(&["map", "list"]);
        assert!(mappings.contains("dms.example"), "{mappings}");
    }
}

#[test]
fn an_operator_gives_a_device_its_account_and_a_wrong_pin_is_not_believed() {
    let mut bench = Bench::new(3, "trusted-link = true");
    bench.start();
    let device = bench.device(3, "4712", "push-refused=2");
    let told = bench.said(&["devices", "provision", DEVICE]);
    assert_eq!(told, format!("{DEVICE}: its account for the gateway went to 127.6.3.5:2948\n"));
    bench.said(&["devices", "provision", DEVICE]);
    let (done, told) = ended(device);
    assert!(done && told.contains("the bootstrap: its MAC is wrong"), "{told}");

    let device = bench.device(3, "4711", "session-ended");
    bench.said(&["devices", "provision", DEVICE]);
    let (done, told) = ended(device);
    assert!(done && told.contains("\"ok\":true"), "{told}");
    let refused = bench.ask(&["devices", "provision", "IMEI:1"]);
    assert!(!refused.status.success());
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("no device IMEI:1 is known"), "{why}");
}

#[test]
fn a_device_fetches_its_account_over_https_once_and_no_secret_is_told_elsewhere() {
    if !(has("openssl", "version") && has("curl", "--version")) {
        return;
    }
    let tls = "bootstrap-listen = \"127.6.4.1:8443\"\nbootstrap-certificate = \"gateway.pem\"\n\
               bootstrap-key = \"gateway.key\"";
    let mut bench = Bench::new(4, tls);
    certificates(bench.directory.path(), 4);
    bench.start();
    let url = format!("https://127.6.4.1:8443/bootstrap?device={DEVICE}");
    let curl = |url: &str, more: &[&str]| {
        let output = Command::new("curl")
            .current_dir(bench.directory.path())
            .args(["--silent", "--output", "document", "--max-time", "10"])
            .args(["--interface", "127.6.4.5", "--write-out", "%{http_code} %{content_type}"])
            .args(more)
            .arg(url)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let trusting = ["--cacert", "ca.pem"];
    assert_eq!(curl(&url, &trusting), "403 text/plain");
    let told = bench.said(&["devices", "provision", DEVICE]);
    assert!(told.contains("from https://127.6.4.1:8443/bootstrap?device=ID within 10 minutes"));
    assert_eq!(curl(&url, &[]), "000 ", "the certificate is not one that everybody trusts");
    assert_eq!(curl("https://127.6.4.1:8443/other", &trusting), "404 text/plain");
    assert_eq!(curl(&url, &["--cacert", "ca.pem", "--data", "x"]), "404 text/plain");
    assert_eq!(curl(&url.replace("https", "http"), &[]), "000 ");
    assert_eq!(curl(&url, &trusting), "200 application/vnd.syncml.dm+wbxml");
    let document = fs::read(bench.path("document")).unwrap();
    assert_eq!(curl(&url, &trusting), "403 text/plain");

    let account = read(&document, Source::Fetch).unwrap().remove(0);
    let status = bench.said(&["status", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&status).unwrap();
    let refused = |reason: &str| value["refused"][reason]["count"].as_u64();
    assert_eq!(refused("bootstrap-closed"), Some(2));
    assert_eq!(refused("bootstrap-request"), Some(2));
    assert_eq!(refused("tls-handshake"), Some(2));
    let all = [status, bench.said(&["devices", "--json"]), told, bench.log()].concat();
    for level in [Level::Client, Level::Server] {
        let credential = account.credentials.iter().find(|it| it.level == level).unwrap();
        let secret = credential.secret.as_ref().unwrap().expose();
        assert!(secret.len() == 32 && !all.contains(secret));
    }
}
