//! The simulated managing server as a program's part: its handle, its misbehaviours over HTTP,
//! and `dm-gateway simulate server`.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/post.rs"]
mod post;
#[path = "common/tree.rs"]
mod tree;

use dm_gateway::io::dm_client::{CallRequest, Clients, Method, Roots, Trust};
use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::notification::Notification;
use dm_gateway::proto::session::client::{Account, ClientSession, Ending, Nonces, Options, Why};
use dm_gateway::proto::syncml::{Encoding, StatusCode};
use dm_gateway::simulate::SimEvent;
use dm_gateway::simulate::managing::{self, Misbehaviour, Script, Server};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tree::Tree;

const SOON: Duration = Duration::from_secs(5);

fn gateway(uri: &str, scheme: Scheme, session_id: u16, nonces: Nonces) -> Options {
    let account = |name: &str| {
        Some(Account { scheme, name: name.into(), secret: Secret::new(format!("{name}'s")) })
    };
    Options {
        device_id: "IMEI:1".into(),
        server_id: "com.example.dm".into(),
        uri: uri.into(),
        hosts: Vec::new(),
        session_id,
        server_initiated: false,
        encoding: Encoding::Wbxml,
        secure: true,
        client: account("gateway"),
        server: account("server"),
        nonces,
        max_message_size: 16 * 1024,
        max_object_size: 100_000,
        device_info: Vec::new(),
        alerts: Vec::new(),
    }
}

fn server(scheme: Scheme, script: &str) -> managing::Options {
    let account = |name: &str| {
        let secret = Secret::new(format!("{name}'s"));
        Some(managing::Account { scheme, name: name.into(), secret, nonce: b"first".to_vec() })
    };
    managing::Options {
        id: "com.example.dm".into(),
        client: account("gateway"),
        server: account("server"),
        script: Script::parse(script).unwrap(),
        ..managing::Options::default()
    }
}

fn start(options: managing::Options) -> managing::Handle {
    Server::start("127.0.0.1:0".parse().unwrap(), options).unwrap()
}

fn first() -> Nonces {
    Nonces { client: b"first".to_vec(), server: b"first".to_vec() }
}

fn hold(uri: &str, scheme: Scheme, session: u16, nonces: Nonces, tree: &mut Tree) -> Ending {
    let (session, outgoing) = ClientSession::start(gateway(uri, scheme, session, nonces)).unwrap();
    post::hold(session, outgoing, tree).unwrap()
}

#[test]
fn a_server_manages_session_after_session_by_the_script_of_the_day() {
    for scheme in [Scheme::Basic, Scheme::Md5, Scheme::Mac] {
        let server = start(server(scheme, "replace ./a chr 2\n"));
        let mut tree = Tree::of(&[("./a", "1")]);
        let ending = hold(&server.url(), scheme, 1, first(), &mut tree);
        assert_eq!(ending.why, Why::Done);
        assert!(server.wait_for_sessions(1, SOON));
        // The next session is asked for with the nonce that the first one left.
        let package0 = server.package0(7);
        let notification = Notification::decode(&package0).unwrap();
        assert_eq!((notification.session_id, notification.server_id), (7, "com.example.dm"));
        let nonce = &ending.nonces.server;
        assert_eq!(notification.encode_signed("server's", nonce), package0, "{scheme:?}");

        server.set_script(Script::parse("get ./a\n").unwrap());
        let ending = hold(&server.url(), scheme, 7, ending.nonces, &mut tree);
        assert_eq!(ending.why, Why::Done);
        let is_result = |it: &SimEvent| matches!(it, SimEvent::ResultReceived { .. });
        let Some(SimEvent::ResultReceived { uri, value, .. }) = server.wait(SOON, is_result) else {
            panic!("{:?}", server.conversation())
        };
        assert_eq!((&*uri, &*value), ("./a", "2"));
        let sessions = server.stop();
        let ended =
            sessions.iter().filter(|it| matches!(it, SimEvent::SessionEnded { ok: true, .. }));
        assert_eq!(ended.count(), 2);
    }
}

#[test]
fn a_server_that_is_not_asked_is_waited_for_in_vain_and_stops() {
    let server = start(server(Scheme::Md5, ""));
    let begun = Instant::now();
    assert!(!server.wait_for_sessions(1, Duration::from_millis(50)));
    assert_eq!(server.wait(Duration::ZERO, |_| true), None);
    let url = server.url();
    assert_eq!(server.stop(), []);
    assert!(begun.elapsed() < SOON);
    assert!(post::Post::to(&url).is_err(), "the listener is closed");
}

#[test]
fn every_misbehaviour_ends_over_http_as_it_should() {
    use Misbehaviour as M;
    let refused = |code| Why::Refused(StatusCode(code));
    for (_, misbehaviour) in M::NAMES {
        let (scheme, why) = match misbehaviour {
            M::WrongCredentials | M::NoCredentials => (Scheme::Md5, Why::ServerNotAuthenticated),
            M::StaleNonce | M::BrokenObject => (Scheme::Md5, Why::Done),
            M::BasicOnly => (Scheme::Md5, Why::BasicAsked),
            M::Version513 => (Scheme::Md5, refused(513)),
            M::Redirect => (Scheme::Md5, Why::NoAnswer(Some(302))),
            M::PrivateUri => (Scheme::Md5, Why::ResponseUri),
            M::Slow | M::Cut => (Scheme::Md5, Why::NoAnswer(None)),
        };
        let script = "replace ./a chr 2\n";
        let options =
            managing::Options { misbehaviour: Some(misbehaviour), ..server(scheme, script) };
        let server = start(options);
        let mut tree = Tree::of(&[("./a", "1"), ("./Large", "")]);
        let ending = hold(&server.url(), scheme, 1, first(), &mut tree);
        assert_eq!(ending.why, why, "{misbehaviour:?}");
        let statuses: Vec<_> = server
            .stop()
            .iter()
            .filter_map(|event| match event {
                SimEvent::CommandAnswered { command, uri, status, .. } => {
                    Some(format!("{command} {uri} {status}"))
                }
                _ => None,
            })
            .collect();
        let expected: &[&str] = match misbehaviour {
            M::StaleNonce => &["Replace ./a 200"],
            M::BrokenObject => &["Replace ./Large 213", "Replace ./Large 424"],
            _ => &[],
        };
        assert_eq!(statuses, expected, "{misbehaviour:?}");
        let done = if misbehaviour == M::StaleNonce { "2" } else { "1" };
        assert_eq!(tree.text("./a"), Some(done), "{misbehaviour:?}");
    }
}

// --- dm-gateway simulate server ------------------------------------------------------------------

/// The program, and where it listens.
struct Program(Child);

impl Program {
    fn start(folder: &std::path::Path, script: &str, arguments: &[&str]) -> (Self, String) {
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let child = Command::new(env!("CARGO_BIN_EXE_dm-gateway"))
            .args(["simulate", "server", "--id", "server", "--listen", "127.0.0.1:0"])
            .args(["--client-user", "gateway", "--client-nonce", "first", "--nonce", "first"])
            .arg("--client-secret-file")
            .arg(file("client", "gateway's\n"))
            .arg("--secret-file")
            .arg(file("server", "server's\n"))
            .arg("--script")
            .arg(file("script", script))
            .args(["--wait", "session-ended", "--timeout", "10"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut program = Self(child);
        let line = program.line();
        assert_eq!(line["event"], "listening", "{line}");
        (program, format!("http://{}/dm", line["address"].as_str().unwrap()))
    }

    fn line(&mut self) -> serde_json::Value {
        let mut line = Vec::new();
        let stdout = self.0.stdout.as_mut().unwrap();
        // Octet by octet: nothing is kept from the next reader.
        while line.last() != Some(&b'\n') {
            let mut octet = [0];
            stdout.read_exact(&mut octet).unwrap();
            line.extend(octet);
        }
        serde_json::from_slice(&line).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_program_manages_by_a_script_and_tells_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut program, url) = Program::start(folder.path(), "get ./a\ndelete ./b\n", &[]);
    let mut tree = Tree::of(&[("./a", "1")]);
    assert_eq!(hold(&url, Scheme::Md5, 1, first(), &mut tree).why, Why::Done);
    assert!(program.0.wait().unwrap().success());
    let stdout = BufReader::new(program.0.stdout.as_mut().unwrap());
    let lines: Vec<_> = stdout.lines().map(Result::unwrap).collect();
    let with = |words: &[&str]| lines.iter().any(|it| words.iter().all(|word| it.contains(word)));
    assert!(with(&["command-answered", "Get", "./a", "200"]), "{lines:?}");
    assert!(with(&["command-answered", "Delete", "./b", "404"]), "{lines:?}");
    assert!(with(&["result-received", "./a", "\"1\""]), "{lines:?}");
    assert!(with(&["session-ended", "true"]), "{lines:?}");
}

#[test]
fn the_program_serves_over_tls_with_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let pki =
        |name: &str| format!("{}/src/cli/demo/demo-only-{name}.pem", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key) = (pki("certificate"), pki("key"));
    let arguments = ["--certificate", &*certificate, "--key", &*key];
    let (_program, url) = Program::start(folder.path(), "", &arguments);
    let call = |url: String, trust: Trust| {
        let request = CallRequest {
            method: Method::Post,
            url,
            allow_http: false,
            trust: Arc::new(trust),
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: Vec::new(),
            max_body: 100,
            timeout: SOON,
            now: std::time::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        };
        smol::block_on(Clients::new().call(request))
    };
    let secure = url.replace("http:", "https:");
    let trust = Trust { roots: Roots::File(certificate.clone().into()), ..Trust::default() };
    assert_eq!(call(secure.clone(), trust).unwrap().status, 415);
    assert!(call(secure, Trust::default()).is_err(), "nobody trusts it unless told to");
}

#[test]
fn the_program_misbehaves_by_a_switch_of_each_name() {
    let help = Command::new(env!("CARGO_BIN_EXE_dm-gateway"))
        .args(["simulate", "server", "--help"])
        .output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    for (name, _) in Misbehaviour::NAMES {
        assert!(help.contains(&format!("\n  --{name} ")), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (_program, url) =
        Program::start(folder.path(), "get ./a\n", &["--basic-only", "--auth", "mac"]);
    let ending = hold(&url, Scheme::Mac, 1, first(), &mut Tree::default());
    assert_eq!(ending.why, Why::BasicAsked);
}

#[test]
fn the_program_refuses_what_it_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "get ./a\nfly ./a\n").unwrap();
    for (arguments, says) in [
        (vec!["--slow", "--cut"], "one misbehaviour at a time"),
        (vec!["--slow"], "--client-user is missing"),
        (vec!["--auth", "sha"], "--auth is one of none, basic, md5, mac"),
        (vec!["--max-message-size", "x"], "--max-message-size cannot be x"),
        (vec!["--auth", "none", "--key", script.to_str().unwrap()], "--certificate is missing"),
        (vec!["--script", script.to_str().unwrap()], "line 2: fly ./a"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_dm-gateway"))
            .args(["simulate", "server", "--id", "server", "--listen", "127.0.0.1:0"])
            .args(&arguments)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(told.contains(says), "{told}");
    }
}
