//! The real binary as a DM client: bootstrapped by files, the card and a bootstrap server, managed
//! over loopback by the simulated DM server, over HTTP and HTTPS.
//!
//! Certificates are made by openssl, DNS is dnsmasq in a mount namespace with a `resolv.conf` of
//! its own. Without them a test says so; `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::bootstrap::security::{Keys, Method, sign};
use dm_gateway::proto::bootstrap::{Account, Address, Profile, Source, dm, push};
use dm_gateway::simulate::SimEvent;
use dm_gateway::simulate::managing::{self, Handle, Misbehaviour, Script};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
const SERVER: &str = "com.example.dms";
const DEVICE: &str = "IMEI:490154203237518";
const ALLOW: &str = "[[server]]\nid = \"com.example.dms\"\nallow-http = true\n";
const SOON: Duration = Duration::from_secs(20);

// --- Files and operators --------------------------------------------------------------------------

#[test]
fn an_account_is_applied_its_server_manages_and_all_of_it_survives_kill_9() {
    let mut bench = Bench::start(1, "transparent", ALLOW);
    let script = "get ./DevInfo/Man\ndelete ./DevInfo/Man\nget ./nowhere\n";
    let server = server("one", script);
    bench.file("account.xml", document(SERVER, &server.url(), "one"));
    let applied = bench.ask(&["bootstrap", "apply", &bench.name("account.xml")]);
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");
    assert_eq!(text(&applied.stdout), format!("{SERVER}: account made, {}\n", server.url()));
    // The first session starts by itself.
    assert!(server.wait_for_sessions(1, SOON), "{}", bench.log());
    bench.until("it is active", |bench| bench.state(SERVER) == "active");

    let begun = server.conversation().len();
    let session = bench.ask(&["session", SERVER, "--wait"]);
    let said = text(&session.stdout);
    assert_eq!(session.status.code(), Some(0), "{said}");
    for line in ["Get ./DevInfo/Man: 200", "Delete ./DevInfo/Man: 405", "Get ./nowhere: 404"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let rounds = |events: &[SimEvent]| {
        events.iter().filter(|it| matches!(it, SimEvent::MessageReceived { .. })).count()
    };
    let without_challenge = rounds(&server.conversation()[begun..]);
    let session = bench.ask(&["session", SERVER, "--wait", "--json"]);
    let lines: Vec<Value> =
        text(&session.stdout).lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(lines.iter().all(|line| line["schema"] == 1), "{lines:?}");
    assert_eq!(lines.last().unwrap()["event"], "session-ended");

    bench.settle();
    bench.kill();
    bench.run();
    assert_eq!(bench.state(SERVER), "active");
    let begun = server.conversation().len();
    let session = bench.ask(&["session", SERVER, "--wait"]);
    assert_eq!(session.status.code(), Some(0), "{}", text(&session.stdout));
    // Nonces survived too: nobody had to ask for other credentials.
    assert_eq!(rounds(&server.conversation()[begun..]), without_challenge);

    server.set_misbehaviour(Some(Misbehaviour::WrongCredentials));
    let session = bench.ask(&["session", SERVER, "--wait"]);
    assert_eq!(session.status.code(), Some(1), "{}", text(&session.stdout));
    assert_eq!(bench.state(SERVER), "failed");
    server.set_misbehaviour(None);
    assert_eq!(bench.ask(&["session", SERVER, "--wait"]).status.code(), Some(0));
    assert_eq!(bench.state(SERVER), "active");
}

#[test]
fn what_cannot_be_applied_is_refused_with_one_sentence() {
    let bench = Bench::start(2, "transparent", ALLOW);
    bench.file("bad.xml", "<MgmtTree>".into());
    let mut long = document(SERVER, "http://127.0.0.1:1/dm", "one");
    long.extend(vec![b' '; 70_000]);
    bench.file("long.xml", long);
    bench.file("ftp.xml", document(SERVER, "ftp://127.0.0.1/dm", "one"));
    for file in ["bad.xml", "long.xml", "ftp.xml", "absent.xml"] {
        let output = bench.ask(&["bootstrap", "apply", &bench.name(file)]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{file}: {said}");
        assert!(said.starts_with("error[GW-C"), "{said}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(bench.state(SERVER), "unknown");
    let output = bench.ask(&["session", SERVER]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no account with com.example.dms"));
    let output = bench.ask(&["session", SERVER, "--wait"]);
    assert_eq!(output.status.code(), Some(1));
    let output = bench.ask(&["servers", "approve", SERVER]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(bench.ask(&["bootstrap", "fly", "x"]).status.code(), Some(64));
    assert_eq!(bench.ask(&["session"]).status.code(), Some(64));
}

#[test]
fn plain_http_is_refused_without_leave_and_the_state_says_why() {
    let bench = Bench::start(3, "transparent", "");
    let server = server("one", "");
    bench.file("account.xml", document(SERVER, &server.url(), "one"));
    bench.ask(&["bootstrap", "apply", &bench.name("account.xml")]);
    bench.until("it failed", |bench| bench.state(SERVER) == "failed");
    assert!(bench.why(SERVER).contains("allow-http"), "{}", bench.why(SERVER));
    assert_eq!(bench.ask(&["session", SERVER, "--wait"]).status.code(), Some(1));
    assert_eq!(server.conversation(), []);
}

#[test]
fn the_tree_is_shown_with_its_secrets_masked() {
    let bench = Bench::start(4, "transparent", ALLOW);
    bench.file("account.xml", document(SERVER, "https://127.0.0.1:1/dm", "hush"));
    bench.ask(&["bootstrap", "apply", &bench.name("account.xml")]);
    let whole = bench.ask(&["tree", "--json"]);
    assert_eq!(whole.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(json["schema"], 1);
    let nodes = json["nodes"].as_array().unwrap();
    for node in nodes {
        assert!(node["uri"].is_string() && node["format"].is_string() && node["type"].is_string());
    }
    let of = |uri: &str| nodes.iter().find(|node| node["uri"] == uri).unwrap_or(&Value::Null);
    assert_eq!(of("./DevInfo/DevId")["value"], "gateway.test");
    assert_eq!(of("./DMAcc/com.example.dms/ServerID")["value"], SERVER);
    let secrets: Vec<_> = nodes
        .iter()
        .filter(|it| {
            let uri = it["uri"].as_str().unwrap();
            uri.ends_with("/AAuthSecret") || uri.ends_with("/AAuthData")
        })
        .collect();
    assert_eq!(secrets.len(), 4);
    assert!(secrets.iter().all(|it| it["value"] == "(secret)"), "{secrets:?}");
    let people = bench.ask(&["tree"]);
    for said in [text(&whole.stdout), text(&people.stdout), bench.log()] {
        assert!(!said.contains("hush") && !said.contains("Zmlyc3Q"), "{said}");
    }
    let part = bench.ask(&["tree", "./DMAcc", "--json"]);
    let part: Value = serde_json::from_slice(&part.stdout).unwrap();
    let below = |it: &Value| it["uri"].as_str().unwrap().starts_with("./DMAcc");
    assert!(part["nodes"].as_array().unwrap().iter().all(below));
    for bad in ["./Nowhere", "nonsense//x", "./DMAcc?list=Struct"] {
        let output = bench.ask(&["tree", bad]);
        assert_eq!(output.status.code(), Some(1), "{bad}: {}", text(&output.stdout));
        assert!(text(&output.stderr).starts_with("error[GW-CTL-04]: "));
    }
}

#[test]
fn a_bootstrap_that_is_pushed_to_the_wan_port_is_taken_if_it_knows_the_pin() {
    let pin = "[bootstrap]\nuser-pin-file = \"pin\"\n";
    let mut bench = Bench::new(10, "transparent", "");
    bench.file("pin", "4711\n".into());
    bench.configure(&format!("{ALLOW}{pin}"));
    bench.run();
    let server = server("one", "");
    let mut account = Account::new(SERVER, Source::Push);
    account.addresses = vec![Address::uri(server.url())];
    account.credentials = credentials(SERVER, "one");
    let document = dm::write(&account, "gateway.test", dm::TreeForm::Document);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    for (user, state) in [("4712", "unknown"), ("4711", "active")] {
        let keys = Keys { network: None, user: Some(Secret::new(user)) };
        let security = sign(Profile::Dm, Method::UserPin, &keys, &document).unwrap();
        let mut datagram = Vec::new();
        push::encode(&mut datagram, 1, Profile::Dm, Some(&security), &document);
        socket.send_to(&datagram, "127.3.10.2:2948").unwrap();
        assert!(socket.recv(&mut [0; 64]).is_err(), "whoever pushes is told nothing");
        bench.until(user, |bench| bench.state(SERVER) == state);
    }
    let status = bench.ask(&["status", "--json"]).stdout;
    let status: Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["refused"]["bootstrap-unproven"]["count"], 1);
}

#[test]
fn factory_files_and_the_card_are_read_at_the_start() {
    let (one, two) = (server("one", ""), server_of("com.example.card", "two", ""));
    let mut bench = Bench::new(5, "transparent", "");
    let allow = |id: &str| format!("[[server]]\nid = \"{id}\"\nallow-http = true\n");
    bench.configure(&format!(
        "{}{}[bootstrap]\ndirectories = [\"absent.d\", \"boot.d\"]\ncard-directory = \"card\"\n",
        allow(SERVER),
        allow("com.example.card")
    ));
    fs::create_dir(bench.path("boot.d")).unwrap();
    fs::create_dir(bench.path("boot.d/folder")).unwrap();
    bench.file("boot.d/00-bad.xml", "<what?".into());
    bench.file("boot.d/10-good.xml", document(SERVER, &one.url(), "one"));
    bench.card(&two.url());
    bench.run();
    bench.until("both are active", |bench| {
        bench.state(SERVER) == "active" && bench.state("com.example.card") == "active"
    });
    assert!(bench.log().contains("00-bad.xml"), "{}", bench.log());
    // The same again changes nothing; a card without the application takes its account away.
    bench.settle();
    let sessions = one.conversation().len();
    bench.kill();
    fs::remove_dir_all(bench.path("card")).unwrap();
    bench.run();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(
        bench.state("com.example.card"),
        "active",
        "a card that cannot be read says nothing"
    );
    assert_eq!((bench.state(SERVER), one.conversation().len()), ("active".into(), sessions));
    bench.kill();
    fs::create_dir(bench.path("card")).unwrap();
    bench.run();
    // An empty card takes its account away.
    bench.until("it is gone", |bench| bench.state("com.example.card") == "unknown");
}

// --- HTTPS ----------------------------------------------------------------------------------------

#[test]
fn a_server_over_https_is_believed_by_its_own_ca_or_pin_and_else_failed_with_the_reason() {
    let mut bench = Bench::new(6, "transparent", "");
    if !bench.certificates() {
        return;
    }
    let backend = Arc::new(OnceLock::new());
    let known = Arc::clone(&backend);
    let tls = Tls::start(&bench, move |request| forward(*known.get().unwrap(), request));
    let options = options(SERVER, "one", "get ./DevInfo/Man\n");
    let url = Some(tls.url("localhost"));
    let server = listen(managing::Options { url, ..options });
    backend.set(server.address()).unwrap();
    bench.file("account.xml", document(SERVER, &tls.url("localhost"), "one"));
    let trust = |what: &str| format!("[[server]]\nid = \"{SERVER}\"\ntrust = \"{what}\"\n");
    let der = bench.openssl(&["pkey", "-in", "server.key", "-pubout", "-outform", "DER"]);
    let pin: String = Sha256::digest(der).iter().map(|octet| format!("{octet:02x}")).collect();

    bench.configure(&trust("other-ca.pem"));
    bench.run();
    bench.ask(&["bootstrap", "apply", &bench.name("account.xml")]);
    bench.until("it failed", |bench| bench.state(SERVER) == "failed");
    assert!(bench.why(SERVER).contains("CA"), "{}", bench.why(SERVER));
    assert_eq!(bench.ask(&["session", SERVER, "--wait"]).status.code(), Some(1));
    assert_eq!(server.conversation(), [], "nothing went out before the handshake was right");

    for (what, code) in [
        ("ca.pem".to_owned(), 0),
        (format!("sha256:{}", "0".repeat(64)), 1),
        (format!("sha256:{pin}"), 0),
        ("system".to_owned(), 1),
    ] {
        bench.kill();
        bench.configure(&trust(&what));
        bench.run();
        let session = bench.ask(&["session", SERVER, "--wait"]);
        assert_eq!(session.status.code(), Some(code), "{what}: {}", text(&session.stdout));
        let state = if code == 0 { "active" } else { "failed" };
        assert_eq!(bench.state(SERVER), state, "{what}");
    }
}

#[test]
fn the_way_to_a_server_is_tested_step_by_step() {
    let bench = Bench::start(11, "transparent", ALLOW);
    let unknown = bench.ask(&["servers", "test", SERVER]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("no account with com.example.dms"));

    let server = server("one", "");
    let steps = |url: &str, code: i32| -> Vec<Value> {
        bench.file("account.xml", document(SERVER, url, "one"));
        let applied = bench.ask(&["bootstrap", "apply", &bench.name("account.xml")]);
        assert_eq!(applied.status.code(), Some(0), "{applied:?}");
        let tested = bench.ask(&["servers", "test", SERVER, "--json"]);
        assert_eq!(tested.status.code(), Some(code), "{url}: {tested:?}");
        let lines = text(&tested.stdout);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let name = |step: &Value| step["step"].as_str().unwrap().to_owned();
    let good = steps(&server.url(), 0);
    assert_eq!(good.iter().map(name).collect::<Vec<_>>(), ["url", "dns", "tcp", "session"]);
    assert!(good.iter().all(|it| it["ok"] == true && it["ms"].is_number()), "{good:?}");
    for (url, last, code) in [
        ("https://nowhere.invalid/dm", "dns", "GW-DNS-01"),
        ("http://127.3.11.9:1/dm", "tcp", "GW-SRV-02"),
        (&server.url().replace("http:", "https:"), "tls", "GW-TLS-06"),
    ] {
        let bad = steps(url, 1);
        let end = bad.last().unwrap();
        assert_eq!(
            (end["step"].as_str(), end["ok"].as_bool()),
            (Some(last), Some(false)),
            "{bad:?}"
        );
        assert_eq!(end["trouble"]["code"], code, "{end}");
    }
    server.set_misbehaviour(Some(Misbehaviour::WrongCredentials));
    assert_eq!(steps(&server.url(), 1).last().unwrap()["trouble"]["code"], "GW-SRV-05");
    let people = bench.ask(&["servers", "test", SERVER]);
    let said = text(&people.stdout);
    assert!(said.starts_with("ok    url ") && said.contains("code: GW-SRV-05"), "{said}");
}

#[test]
fn a_wanted_server_is_fetched_over_https_and_its_pushes_pass_then() {
    let mut bench = Bench::new(7, "bootstrap", "");
    if !bench.certificates() {
        return;
    }
    let server = server("one", "get ./DevInfo/Man\n");
    let given = document(SERVER, &server.url(), "one");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let boot = Tls::start(&bench, move |request| {
        seen.lock().unwrap().push(text(request));
        answer("200 OK", &given)
    });
    bench.configure(&format!(
        "{ALLOW}[bootstrap]\ntrust = \"ca.pem\"\nsources = [\"{}\"]\n",
        boot.url("localhost").replace("/dm", "/boot")
    ));
    bench.run();
    bench.device_names(SERVER);
    bench.until("approval is waited for", |bench| bench.state(SERVER) == "pending-approval");
    let refused = bench.ask(&["map", "explain", SERVER, DEVICE]);
    assert_ne!(refused.status.code(), Some(0));
    let approved = bench.ask(&["servers", "approve", SERVER]);
    assert_eq!(approved.status.code(), Some(0), "{}", text(&approved.stderr));
    bench.until("it is active", |bench| bench.state(SERVER) == "active");
    let asked = asked.lock().unwrap();
    let head = "GET /boot?device=gateway.test&server=com.example.dms HTTP/1.1\r\n";
    assert!(asked.len() == 1 && asked[0].starts_with(head), "{asked:?}");
    assert!(asked[0].to_lowercase().contains("\r\naccept: application/vnd.syncml.dm+wbxml"));
    assert!(bench.ask(&["map", "explain", SERVER, DEVICE]).status.success());
}

#[test]
fn a_bootstrap_server_that_is_not_trusted_or_gives_nothing_is_a_failure_with_its_reason() {
    let mut bench = Bench::new(8, "bootstrap", "");
    if !bench.certificates() {
        return;
    }
    let boot = Tls::start(&bench, |_| answer("404 Not Found", b""));
    for (trust, says) in [("other-ca.pem", "CA"), ("ca.pem", "nothing for this device")] {
        bench.configure(&format!(
            "[bootstrap]\ntrust = \"{trust}\"\nallow = [\"com.example.*\"]\nsources = [\"{}\"]\n",
            boot.url("localhost")
        ));
        bench.run();
        bench.device_names(SERVER);
        bench.until("it failed", |bench| bench.state(SERVER) == "failed");
        assert!(bench.why(SERVER).contains(says), "{}", bench.why(SERVER));
        bench.kill();
    }
}

#[test]
fn a_bootstrap_server_is_found_by_dns_srv() {
    let mut bench = Bench::new(9, "bootstrap", "");
    if !bench.certificates() {
        return;
    }
    let server = server("one", "");
    let given = document(SERVER, &server.url(), "one");
    let boot = Tls::start(&bench, move |_| answer("200 OK", &given));
    let port = boot.address.port();
    let dns = Dns::start(&format!("_dm-bootstrap._tcp.op.test,boot.op.test,{port},1,1"));
    let Some(dns) = dns else { return };
    bench.file("resolv.conf", format!("nameserver {}\n", Dns::ADDRESS).into());
    let host = Command::new("unshare").args(["-m", "true"]).status();
    if !host.is_ok_and(|status| status.success()) {
        return left_out("unshare -m is not allowed");
    }
    bench.configure(&format!(
        "{ALLOW}[bootstrap]\ntrust = \"ca.pem\"\nallow = [\"*\"]\n\
         sources = [\"srv:_dm-bootstrap._tcp.absent.test/x\", \"srv:_dm-bootstrap._tcp.op.test/boot\"]\n"
    ));
    bench.own_resolver = true;
    bench.run();
    bench.device_names(SERVER);
    bench.until("it is active", |bench| bench.state(SERVER) == "active");
    drop(dns);
}

// --- The daemon -----------------------------------------------------------------------------------

/// A directory with a configuration on loopback, and perhaps a daemon.
struct Bench {
    directory: tempfile::TempDir,
    net: u8,
    policy: &'static str,
    /// Whether the daemon is to have the `resolv.conf` of the directory.
    own_resolver: bool,
    daemon: Option<Child>,
}

impl Bench {
    /// Uses the addresses 127.3.`net`.x.
    fn new(net: u8, policy: &'static str, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bench = Self { directory, net, policy, own_resolver: false, daemon: None };
        bench.configure(more);
        bench
    }

    fn start(net: u8, policy: &'static str, more: &str) -> Self {
        let mut bench = Self::new(net, policy, more);
        bench.run();
        bench
    }

    fn configure(&self, more: &str) {
        let (net, policy) = (self.net, self.policy);
        let directories =
            if more.contains("directories") { "" } else { "directories = [\"none\"]\n" };
        let more = match more.split_once("[bootstrap]\n") {
            Some((before, after)) => format!("{before}[bootstrap]\n{directories}{after}"),
            None => format!("{more}[bootstrap]\n{directories}"),
        };
        let text = format!(
            r#"
[gateway]
id = "gateway.test"
state-dir = "state"

[wan]
push-listen = "127.3.{net}.2:2948"

[[lan]]
name = "radios"
interface = "lo"
listen = "127.3.{net}.1:8080"
policy = "{policy}"
verify = "none"
{more}
"#
        );
        self.file("gateway.toml", text.into());
    }

    fn run(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = if self.own_resolver {
            let script = "mount --bind \"$1\" /etc/resolv.conf && exec \"$2\" run --config \"$3\"";
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", script, "sh"]).arg(self.path("resolv.conf"));
            command.arg(PROGRAM).arg(self.path("gateway.toml"));
            command
        } else {
            let mut command = Command::new(PROGRAM);
            command.args(["run", "--config"]).arg(self.path("gateway.toml"));
            command
        };
        command.env("DM_GATEWAY_LOG", "debug").stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        self.until("it is up", |bench| bench.ask(&["status"]).status.code() != Some(3));
    }

    /// Waits until what the end of a session left to be written is on flash: nobody waits for that.
    fn settle(&self) {
        let flushes = || {
            let status = self.ask(&["status", "--json"]).stdout;
            let status: Value = serde_json::from_slice(&status).unwrap();
            status["io"]["store_flushes"].as_u64().unwrap()
        };
        let mut before = None;
        while before != Some(flushes()) {
            before = Some(flushes());
            thread::sleep(Duration::from_millis(400));
        }
    }

    /// Ends it as `kill -9` does.
    fn kill(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let late = Instant::now() + SOON;
        while !condition(self) {
            assert!(Instant::now() < late, "{what}: {:?} {}", self.servers(), self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, octets: Vec<u8>) {
        fs::write(self.path(name), octets).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    fn ask(&self, verb: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command.args(verb).arg("--config").arg(self.path("gateway.toml")).output().unwrap()
    }

    fn servers(&self) -> Value {
        let output = self.ask(&["servers", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn server(&self, id: &str) -> Value {
        let servers = self.servers();
        let mut found = servers["servers"].as_array().into_iter().flatten();
        found.find(|it| it["id"] == id).cloned().unwrap_or_default()
    }

    fn state(&self, id: &str) -> String {
        self.server(id)["state"].as_str().unwrap_or("unknown").to_owned()
    }

    fn why(&self, id: &str) -> String {
        self.server(id)["why"].as_str().unwrap_or_default().to_owned()
    }

    /// An end device opens a session and names the server.
    fn device_names(&self, server: &str) {
        let net = self.net;
        let mut device = Command::new(PROGRAM)
            .args(["simulate", "device", "--open-session", "--id", DEVICE])
            .args(["--listen", &format!("127.3.{net}.5:2948")])
            .args(["--gateway", &format!("http://127.3.{net}.1:8080/dm")])
            .args(["--server", &format!("{server}=http://127.3.{net}.9:1/")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.until("the device names its server", |bench| bench.state(server) != "unknown");
        device.kill().unwrap();
        device.wait().unwrap();
    }

    /// The files of a card that has an account with `com.example.card`.
    fn card(&self, url: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bootstrap/card");
        fs::create_dir(self.path("card")).unwrap();
        for name in ["5031", "6430"] {
            let dump = fs::read_to_string(folder.join(format!("{name}.hex"))).unwrap();
            let digits: Vec<_> = dump.chars().filter_map(|it| it.to_digit(16)).collect();
            let octets = digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
            self.file(&format!("card/{name}.bin"), octets);
        }
        let mut account = Account::new("com.example.card", Source::Card);
        account.addresses = vec![Address::uri(url)];
        account.credentials = credentials("com.example.card", "two");
        let mut document = dm::write(&account, "", dm::TreeForm::Elements);
        document.extend([0xff; 64]);
        self.file("card/3F007F506432", document);
    }

    /// A CA with the certificate of a server, and another CA. False if there is no openssl.
    fn certificates(&self) -> bool {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
            left_out("openssl not installed");
            return false;
        }
        let make = |arguments: &str| {
            let fixed = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
            let all: Vec<_> = fixed.split(' ').chain(arguments.split_whitespace()).collect();
            self.openssl(&all);
        };
        for name in ["ca", "other-ca"] {
            make(&format!("-subj /CN={name} -keyout {name}.key -out {name}.pem"));
        }
        make(
            "-subj /CN=server -keyout server.key -out server.pem -CA ca.pem -CAkey ca.key \
             -addext basicConstraints=critical,CA:FALSE \
             -addext subjectAltName=DNS:localhost,DNS:boot.op.test",
        );
        true
    }

    fn openssl(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("openssl");
        let output = command.args(arguments).current_dir(self.path("")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        output.stdout
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.kill();
    }
}

// --- Servers --------------------------------------------------------------------------------------

fn server(secret: &str, script: &str) -> Handle {
    server_of(SERVER, secret, script)
}

fn server_of(id: &str, secret: &str, script: &str) -> Handle {
    listen(options(id, secret, script))
}

fn listen(options: managing::Options) -> Handle {
    managing::Server::start("127.0.0.1:0".parse().unwrap(), options).unwrap()
}

fn options(id: &str, secret: &str, script: &str) -> managing::Options {
    let side = |name: &str, secret: String| {
        let (scheme, nonce) = (Scheme::Md5, b"first".to_vec());
        Some(managing::Account { scheme, name: name.into(), secret: Secret::new(secret), nonce })
    };
    managing::Options {
        id: id.into(),
        client: side("gw", format!("{secret} up")),
        server: side(id, format!("{secret} down")),
        script: Script::parse(script).unwrap(),
        ..managing::Options::default()
    }
}

fn credentials(id: &str, secret: &str) -> Vec<dm_gateway::proto::bootstrap::Credential> {
    use dm_gateway::proto::bootstrap::{AuthenticationKind, Credential, Level};
    [(Level::Client, "gw", "up"), (Level::Server, id, "down")]
        .map(|(level, name, way)| Credential {
            level,
            kind: AuthenticationKind::Digest,
            name: Some(name.into()),
            secret: Some(Secret::new(format!("{secret} {way}"))),
            nonce: Some(b"first".to_vec()),
        })
        .into()
}

/// A factory file with an account.
fn document(id: &str, url: &str, secret: &str) -> Vec<u8> {
    let leaf = |name: &str, value: &str| {
        format!("<Node><NodeName>{name}</NodeName><Value>{value}</Value></Node>")
    };
    let below =
        |name: &str, inner: &str| format!("<Node><NodeName>{name}</NodeName>{inner}</Node>");
    let credential = |number: &str, level: &str, name: &str, secret: &str| {
        let nonce = "<Node><NodeName>AAuthData</NodeName><RTProperties><Format><bin/></Format>\
                     </RTProperties><Value>Zmlyc3Q=</Value></Node>";
        let leaves = [
            leaf("AAuthLevel", level),
            leaf("AAuthType", "DIGEST"),
            leaf("AAuthName", name),
            leaf("AAuthSecret", secret),
        ];
        below(number, &format!("{}{nonce}", leaves.concat()))
    };
    let credentials = [
        credential("up", "CLCRED", "gw", &format!("{secret} up")),
        credential("down", "SRVCRED", id, &format!("{secret} down")),
    ];
    format!(
        "<MgmtTree xmlns=\"syncml:dmddf1.2\"><VerDTD>1.2</VerDTD><Node><NodeName>a</NodeName>\
         <Path>./DMAcc</Path><RTProperties><Format><node/></Format>\
         <Type><DDFName>urn:oma:mo:oma-dm-dmacc:1.0</DDFName></Type></RTProperties>{}{}{}{}</Node>\
         </MgmtTree>",
        leaf("AppID", "w7"),
        leaf("ServerID", id),
        below("AppAddr", &below("1", &leaf("Addr", url))),
        below("AppAuth", &credentials.concat()),
    )
    .into_bytes()
}

/// An HTTPS server on loopback with the certificate of a bench.
struct Tls {
    address: SocketAddr,
}

impl Tls {
    /// Answers each request by `respond`, which is given all its octets and gives all of its answer's.
    fn start(bench: &Bench, respond: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let read = |name: &str| fs::read(bench.path(name)).unwrap();
        let chain =
            CertificateDer::pem_slice_iter(&read("server.pem")).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let (config, respond) = (Arc::new(config), Arc::new(respond));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, respond) = (Arc::clone(&config), Arc::clone(&respond));
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    let mut tls = StreamOwned::new(connection, stream);
                    while let Some(request) = read_message(&mut tls) {
                        if tls.write_all(&respond(&request)).and_then(|()| tls.flush()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address }
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/dm", self.address.port())
    }
}

/// One HTTP message whose length, if it has a body, is told by Content-Length.
fn read_message(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut octet = [0];
    while !message.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet).ok()?;
        message.push(octet[0]);
    }
    let head = text(&message).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |it| it.trim().parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    message.extend(body);
    Some(message)
}

/// Has the simulated server, which speaks plain HTTP, answer.
fn forward(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(request).unwrap();
    read_message(&mut stream).unwrap()
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/vnd.syncml.dmtnds+xml\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    answer
}

/// dnsmasq at an address of loopback, on the port of DNS.
struct Dns(Child);

impl Dns {
    const ADDRESS: &str = "127.3.9.53";

    /// `None` if there is none, or it may not have its port.
    fn start(record: &str) -> Option<Self> {
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("dnsmasq")
            .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv"])
            .args(["--no-hosts", "--bind-interfaces", "--local=/test/", "--user=root"])
            .args(["--host-record=boot.op.test,127.0.0.1", &format!("--srv-host={record}")])
            .args([&format!("--listen-address={}", Self::ADDRESS), "--log-facility=-"])
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            left_out("dnsmasq not installed");
            return None;
        };
        let mut dns = Self(child);
        let late = Instant::now() + SOON;
        while TcpStream::connect((Self::ADDRESS, 53)).is_err() {
            if dns.0.try_wait().unwrap().is_some() || Instant::now() > late {
                left_out("dnsmasq may not have port 53");
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Some(dns)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn left_out(why: &str) {
    assert!(std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() != Ok("1"), "{why}");
    println!("left out: {why}");
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
