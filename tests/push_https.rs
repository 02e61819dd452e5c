//! Pushes over HTTP to the real binary: TLS with client certificates, tokens, and what goes on.
//!
//! Certificates are made by openssl, requests by curl. Without them each test says so;
//! `DM_GATEWAY_REQUIRE_TOOLS=1` makes that a failure.

#![cfg(feature = "simulate")]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "the helpers are part of the tests")]

use dm_gateway::limits;
use dm_gateway::proto::notification::{Notification, UiMode};
use dm_gateway::proto::wsp;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
const SERVER: &str = "dms.example";
const DEVICE: &str = "IMEI:490154203237518";
const TOKEN: &str = "0123456789abcdef-the-token";

/// A daemon on loopback that takes pushes over HTTP, and the push port of its one device.
struct Bench {
    directory: tempfile::TempDir,
    net: u8,
    daemon: Child,
    device: UdpSocket,
}

impl Bench {
    /// Uses the addresses 127.2.`net`.x. `None` if a tool is missing.
    fn start(net: u8, wan: &str, http_push: &str) -> Option<Self> {
        for (tool, version) in [("openssl", "version"), ("curl", "--version")] {
            let found = Command::new(tool).arg(version).stdout(Stdio::null()).status();
            if found.is_err() {
                let required = std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() == Ok("1");
                assert!(!required, "{tool} is required and not installed");
                println!("left out: {tool} not installed");
                return None;
            }
        }
        let directory = tempfile::tempdir().unwrap();
        certificates(directory.path(), net);
        fs::write(directory.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let text = format!(
            r#"
[gateway]
id = "gateway.test"
state-dir = "state"

[wan]
push-listen = "127.2.{net}.2:2948"
http-push-listen = "127.2.{net}.2:4035"
{wan}

[wan.http-push]
{http_push}

[[lan]]
name = "radios"
interface = "lo"
listen = "127.2.{net}.1:8080"
policy = "transparent"
verify = "none"
"#
        );
        fs::write(directory.path().join("gateway.toml"), text).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut run = Command::new(PROGRAM);
        run.args(["run", "--config"]).arg(directory.path().join("gateway.toml"));
        let daemon = run.env("DM_GATEWAY_LOG", "trace").stderr(log).spawn().unwrap();
        // Nobody is there before the device has named its server.
        let device = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut bench = Self { directory, net, daemon, device };
        bench.until("it is up", |bench| bench.ask(&["status"]).status.success());
        bench.map_device();
        Some(bench)
    }

    /// The device opens a session and names its server; its push port is ours afterwards.
    fn map_device(&mut self) {
        let net = self.net;
        let mut device = Command::new(PROGRAM)
            .args(["simulate", "device", "--open-session", "--id", DEVICE])
            .args(["--listen", &format!("127.2.{net}.5:2948")])
            .args(["--gateway", &format!("http://127.2.{net}.1:8080/dm")])
            .args(["--server", &format!("{SERVER}=http://127.2.{net}.9:1/")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.until("the device is mapped", |bench| {
            bench.ask(&["map", "explain", SERVER, DEVICE]).status.success()
        });
        device.kill().unwrap();
        device.wait().unwrap();
        self.device = UdpSocket::bind(format!("127.2.{net}.5:2948")).unwrap();
        self.device.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    }

    fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let late = Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(Instant::now() < late, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    fn ask(&self, verb: &[&str]) -> Output {
        let config = self.path("gateway.toml");
        Command::new(PROGRAM).args(verb).arg("--config").arg(config).output().unwrap()
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.ask(&["status", "--json"]).stdout).unwrap()
    }

    fn refused(&self, reason: &str) -> u64 {
        self.status()["refused"][reason]["count"].as_u64().unwrap_or_default()
    }

    /// Posts a push by curl: the status, or curl's complaint.
    fn post(&self, scheme: &str, session: u16, more: &[&str]) -> Result<u16, String> {
        fs::write(self.path("body"), package0(session)).unwrap();
        let output = Command::new("curl")
            .current_dir(self.directory.path())
            .args(["--silent", "--show-error", "--output", "answer", "--max-time", "10"])
            .args(["--write-out", "%{http_code}", "--cacert", "ca.pem", "--data-binary", "@body"])
            .args(["--header", "Content-Type: application/vnd.syncml.notification"])
            .args(["--header", "X-Wap-Application-Id: x-wap-application:syncml.dm"])
            .args(["--header", &format!("X-Oma-GwMO: {DEVICE}")])
            .args(more)
            .arg(format!("{scheme}://127.2.{}.2:4035/", self.net))
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap().parse().unwrap())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    /// What the device got, if it got anything.
    fn arrived(&self) -> Option<Vec<u8>> {
        let mut datagram = [0; 9000];
        let length = self.device.recv(&mut datagram).ok()?;
        Some(datagram[..length].to_vec())
    }

    /// Sends a request as it is and reads until the daemon closes.
    fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(format!("127.2.{}.2:4035", self.net)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A CA with the certificate of the gateway and of a client, and another CA with one of its own.
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
    let leaf = "-addext basicConstraints=critical,CA:FALSE";
    for (authority, client) in [("ca", "client"), ("other-ca", "stranger")] {
        openssl(&format!("-subj /CN={authority} -keyout {authority}.key -out {authority}.pem"));
        openssl(&format!(
            "-subj /CN={client} -keyout {client}.key -out {client}.pem {leaf} -CA {authority}.pem \
             -CAkey {authority}.key -addext extendedKeyUsage=clientAuth"
        ));
    }
    openssl(&format!(
        "-subj /CN=gateway -keyout gateway.key -out gateway.pem {leaf} -CA ca.pem -CAkey ca.key \
         -addext subjectAltName=IP:127.2.{net}.2"
    ));
}

fn package0(session_id: u16) -> Vec<u8> {
    let notification = Notification {
        digest: [0x5a; 16],
        version: 11,
        ui_mode: UiMode::Background,
        server_initiated: true,
        session_id,
        server_id: SERVER,
        vendor: b"\x00\xff\r\n\x80vendor",
    };
    notification.encode()
}

const TLS: &str = "certificate = \"gateway.pem\"\nkey = \"gateway.key\"\n";
const CLIENT: [&str; 4] = ["--cert", "client.pem", "--key", "client.key"];

#[test]
fn a_client_certificate_opens_the_way_that_datagrams_take() {
    let tls = format!("{TLS}client-ca = \"ca.pem\"");
    let Some(bench) = Bench::start(1, "", &tls) else { return };
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let session = 1 + u16::from(version.len() == 1);
        assert_eq!(bench.post("https", session, &[&CLIENT, version].concat()), Ok(202));
        let over_https = bench.arrived().unwrap();
        let mut datagram = Vec::new();
        wsp::encode_notification(&mut datagram, 0, Some(DEVICE), &package0(10 + session));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(&datagram, "127.2.1.2:2948").unwrap();
        let over_udp = bench.arrived().unwrap();
        let expected = |session| [&b"\0\x06\x03\xc4\xaf\x87"[..], &package0(session)].concat();
        assert_eq!((over_https, over_udp), (expected(session), expected(10 + session)));
    }
    let status = bench.status();
    assert_eq!(status["counters"]["pushes"], 4);
    assert_eq!(status["counters"]["forwarded"], 4);
    assert_eq!(status["counters"]["pushes_refused"], 0);
}

#[test]
fn without_a_certificate_of_the_client_ca_nobody_comes_through() {
    let tls = format!("{TLS}client-ca = \"ca.pem\"");
    let Some(bench) = Bench::start(2, "", &tls) else { return };
    let stranger = ["--cert", "stranger.pem", "--key", "stranger.key"];
    let (mut refused, mut complaints) = (0, Vec::new());
    for credentials in [&[][..], &stranger] {
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let answer = bench.post("https", 1, &[credentials, version].concat());
            complaints.push(answer.unwrap_err());
            refused += 1;
        }
    }
    // The alert arrives, no reset overtakes it.
    assert!(complaints.iter().all(|it| it.contains("alert")), "{complaints:#?}");
    // Plain HTTP, and what is no protocol at all.
    for request in [&b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\x16\x03\x01\xff\xff\xff", b""] {
        let answer = bench.exchange(&[request, &[0; 32]].concat());
        assert!(!answer.contains("HTTP"), "{answer:?}");
        refused += 1;
    }
    bench.until("all is counted", |bench| bench.refused("tls-handshake") == refused);
    assert_eq!(bench.status()["counters"]["pushes_refused"], refused);
    assert_eq!(bench.arrived(), None);
    assert_eq!(bench.post("https", 1, &CLIENT), Ok(202));
    assert!(bench.arrived().is_some());
    let said = String::from_utf8(bench.ask(&["status"]).stdout).unwrap();
    assert!(said.contains("tls-handshake  "), "{said}");
}

#[test]
fn a_token_is_asked_for_where_no_client_ca_is_and_is_told_to_nobody() {
    let tls = format!("{TLS}token-file = \"token\"");
    let Some(bench) = Bench::start(3, "", &tls) else { return };
    let right = format!("Authorization: Bearer {TOKEN}");
    let wrong = format!("Authorization: Bearer {TOKEN}x");
    assert_eq!(bench.post("https", 1, &["--header", &right]), Ok(202));
    assert!(bench.arrived().is_some());
    assert_eq!(bench.post("https", 2, &["--header", &wrong]), Ok(403));
    assert_eq!(bench.post("https", 3, &[]), Ok(403));
    // A certificate is no token.
    assert_eq!(bench.post("https", 4, &CLIENT), Ok(403));
    assert_eq!(bench.refused("credentials"), 3);
    assert_eq!(bench.arrived(), None);
    let status = String::from_utf8(bench.ask(&["status", "--json"]).stdout).unwrap();
    assert!(!bench.log().contains(TOKEN) && !status.contains(TOKEN));
}

#[test]
fn where_both_are_configured_both_are_asked_for() {
    let tls = format!("{TLS}client-ca = \"ca.pem\"\ntoken-file = \"token\"");
    let Some(bench) = Bench::start(4, "", &tls) else { return };
    let token = format!("Authorization: Bearer {TOKEN}");
    let token = ["--header", &token];
    assert!(bench.post("https", 1, &token).is_err());
    assert_eq!(bench.post("https", 2, &CLIENT), Ok(403));
    assert_eq!(bench.post("https", 3, &[&CLIENT[..], &token].concat()), Ok(202));
    assert!(bench.arrived().is_some());
}

#[test]
fn a_source_that_is_not_trusted_gets_no_handshake() {
    let trusted = "trusted-sources = [\"192.0.2.0/24\", \"127.2.5.77\"]";
    let tls = format!("{TLS}client-ca = \"ca.pem\"");
    let Some(bench) = Bench::start(5, trusted, &tls) else { return };
    assert!(bench.post("https", 1, &CLIENT).is_err());
    let trusted = [&CLIENT[..], &["--interface", "127.2.5.77"]].concat();
    assert_eq!(bench.post("https", 2, &trusted), Ok(202));
    assert_eq!(bench.refused("untrusted-source"), 1);
}

#[test]
fn connections_that_say_nothing_make_room_for_one_that_does() {
    let tls = format!("{TLS}client-ca = \"ca.pem\"");
    let Some(bench) = Bench::start(7, "", &tls) else { return };
    let connect = |_| TcpStream::connect("127.2.7.2:4035").unwrap();
    let silent: Vec<_> = (0..limits::PUSH_CONNECTIONS + 16).map(connect).collect();
    assert_eq!(bench.post("https", 1, &CLIENT), Ok(202));
    assert!(bench.arrived().is_some());
    drop(silent);
}

#[test]
fn behind_a_proxy_on_this_machine_every_status_is_as_told() {
    let Some(bench) = Bench::start(6, "", "token-file = \"token\"") else { return };
    let token = format!("Authorization: Bearer {TOKEN}");
    let with = |headers: &[&str]| {
        let mut more = vec!["--header", &*token];
        headers.iter().for_each(|header| more.extend(["--header", header]));
        more.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let post = |session, headers: &[&str]| {
        let more = with(headers);
        bench.post("http", session, &more.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(post(1, &[]), Ok(202));
    assert_eq!(post(1, &[]), Ok(202));
    assert_eq!(bench.refused("repeat"), 1);
    assert_eq!(post(2, &["X-Oma-GwMO: IMEI:1"]), Ok(400), "two of them");
    assert_eq!(bench.post("http", 3, &[]), Ok(403));
    let told = fs::read_to_string(bench.path("answer")).unwrap();
    assert_eq!(told, "its credentials are wrong or missing\n");

    let raw = |device: &str, body: &[u8]| {
        let head = format!(
            "POST /push HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{token}\r\nContent-Type: \
             application/vnd.syncml.notification\r\nX-Wap-Application-Id: 7\r\nX-Oma-GwMO: \
             {device}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        bench.exchange(&[head.as_bytes(), body].concat())
    };
    assert!(raw("IMEI:1", &package0(4)).starts_with("HTTP/1.1 404 "));
    assert!(raw(DEVICE, b"nothing").starts_with("HTTP/1.1 400 "));
    let long = [&package0(4)[..], &[0; limits::PUSH_BODY]].concat();
    assert!(raw(DEVICE, &long).starts_with("HTTP/1.1 413 "));
    assert!(raw(DEVICE, &long[..limits::PUSH_BODY]).starts_with("HTTP/1.1 202 "));
    assert!(raw(&"x".repeat(limits::PUSH_HEAD), b"").starts_with("HTTP/1.1 431 "));
    assert!(bench.exchange(b"what is this?\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let mut limited = String::new();
    for session in 10..20 {
        limited = raw(DEVICE, &package0(session));
        if limited.starts_with("HTTP/1.1 429 ") {
            break;
        }
    }
    assert!(limited.starts_with("HTTP/1.1 429 ") && limited.contains("retry-after: 1\r\n"));

    let status = bench.status();
    for (reason, count) in [
        ("repeat", 1),
        ("credentials", 1),
        ("unknown-device", 1),
        ("malformed-package-0", 1),
        ("push-rate", 1),
        ("malformed-push", 4),
    ] {
        assert_eq!(status["refused"][reason]["count"], count, "{reason}: {status}");
    }
}
