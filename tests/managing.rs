//! The simulated managing server as a program's part: its handle, its misbehaviours over HTTP,
//! and `dm-gateway simulate server`.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/post.rs"]
mod post;
#[path = "common/tree.rs"]
mod tree;

use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::notification::Notification;
use dm_gateway::proto::session::client::{Account, ClientSession, Ending, Nonces, Options, Why};
use dm_gateway::proto::syncml::{Encoding, StatusCode};
use dm_gateway::simulate::SimEvent;
use dm_gateway::simulate::managing::{self, Misbehaviour, Script, Server};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
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
            M::BasicOnly => (Scheme::Md5, Why::SchemeRefused),
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
