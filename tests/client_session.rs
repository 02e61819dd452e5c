//! The client's side of a DM session, against the simulated managing server: in memory, and over
//! HTTP. Each misbehaviour has the end that it leads to.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "common/tree.rs"]
mod tree;

use dm_gateway::io::http_client;
use dm_gateway::limits;
use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::session::client::{
    Account, ClientSession, Ending, Executed, Incoming, Nonces, Options, Outgoing, Step, Why,
};
use dm_gateway::proto::syncml::{
    Alert, AlertCode, Command, Data, Encoding, Item, Location, Meta, StatusCode,
};
use dm_gateway::simulate::SimEvent;
use dm_gateway::simulate::managing::{self, Answer, Manager, Misbehaviour, Script, Server};
use std::time::Duration;
use tree::Tree;

const URI: &str = "http://dm.example/dm";
const BOTH: [Encoding; 2] = [Encoding::Xml, Encoding::Wbxml];

fn account(scheme: Scheme, name: &str) -> Option<Account> {
    Some(Account { scheme, name: name.into(), secret: Secret::new(format!("{name}'s secret")) })
}

fn options(scheme: Option<Scheme>) -> Options {
    let leaf = |uri: &'static str, value: &'static str| Item {
        source: Some(Location { uri: uri.into(), name: None }),
        data: Some(Data::Text(value.into())),
        ..Item::default()
    };
    Options {
        device_id: "IMEI:1".into(),
        server_id: "com.example.dm".into(),
        uri: URI.into(),
        hosts: Vec::new(),
        session_id: 0x1a,
        server_initiated: false,
        encoding: Encoding::Wbxml,
        secure: scheme == Some(Scheme::Basic),
        client: scheme.and_then(|scheme| account(scheme, "gateway")),
        server: scheme.and_then(|scheme| account(scheme, "server")),
        nonces: Nonces { client: b"c0".to_vec(), server: b"s0".to_vec() },
        max_message_size: 16 * 1024,
        max_object_size: 100_000,
        device_info: vec![leaf("./DevInfo/DevId", "IMEI:1"), leaf("./DevInfo/DmV", "1.2")],
        alerts: Vec::new(),
    }
}

fn management(scheme: Option<Scheme>, script: &str) -> managing::Options {
    let own = |name: &str, nonce: &[u8]| {
        Some(managing::Account {
            scheme: scheme?,
            name: name.to_owned(),
            secret: Secret::new(format!("{name}'s secret")),
            nonce: nonce.to_vec(),
        })
    };
    managing::Options {
        id: "com.example.dm".into(),
        client: own("gateway", b"c0"),
        server: own("server", b"s0"),
        script: Script::parse(script).unwrap(),
        ..managing::Options::default()
    }
}

/// A session that was held to its end.
struct Held {
    ending: Ending,
    /// `Replace ./a 200`.
    executed: Vec<String>,
    events: Vec<SimEvent>,
    /// Messages that left, encoded.
    sent: Vec<Outgoing>,
    /// Nonces as they were made durable.
    commits: Vec<Nonces>,
}

impl Held {
    /// What the server was told a Get found.
    fn values(&self) -> Vec<(&str, &str)> {
        let mut values = Vec::new();
        for event in &self.events {
            if let SimEvent::ResultReceived { uri, value, .. } = event {
                values.push((uri.as_str(), value.as_str()));
            }
        }
        values
    }

    /// What the server was told of its commands.
    fn answered(&self) -> Vec<String> {
        let answered = |event: &SimEvent| match event {
            SimEvent::CommandAnswered { command, uri, status, .. } => {
                Some(format!("{command} {uri} {status}"))
            }
            _ => None,
        };
        self.events.iter().filter_map(answered).collect()
    }
}

fn hold(options: Options, management: managing::Options, tree: &mut Tree) -> Held {
    hold_with(options, &mut Manager::new(management), tree)
}

fn hold_with(options: Options, manager: &mut Manager, tree: &mut Tree) -> Held {
    hold_where(options, manager, tree, |_| true)
}

/// `commit` says whether the store keeps what the session wants kept for the n-th time.
fn hold_where(
    options: Options,
    manager: &mut Manager,
    tree: &mut Tree,
    commit: impl Fn(usize) -> bool,
) -> Held {
    let (mut executed, mut sent, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    let (mut session, mut outgoing) = ClientSession::start(options).unwrap();
    let mut fresh = 0_u8;
    let ending = loop {
        executed.extend(outgoing.executed.iter().map(line));
        sent.push(outgoing.clone());
        assert!(sent.len() < 600, "the session does not end");
        fresh = fresh.wrapping_add(1);
        let nonce = [b's', fresh];
        let Outgoing { encoding, body, mac, uri, .. } = outgoing;
        let answer = manager.answer(encoding, &body, mac.as_deref(), &uri, &nonce);
        let step = match &answer {
            Answer::Message { encoding, body, mac } => {
                let incoming = Incoming { encoding: *encoding, body, mac: mac.as_deref() };
                session.receive(&incoming, [fresh; 16], tree)
            }
            Answer::Redirect(_) => Step::End(session.no_answer(Some(302))),
            Answer::Refused => Step::End(session.no_answer(Some(400))),
            Answer::Cut => Step::End(session.no_answer(None)),
        };
        let step = match step {
            Step::Commit(nonces) => {
                commits.push(nonces);
                session.committed(commit(commits.len()))
            }
            step => step,
        };
        match step {
            Step::Send(next) => outgoing = next,
            Step::End(ending) => break ending,
            Step::Commit(_) => panic!("committed twice"),
        }
    };
    Held { ending, executed, events: manager.events(), sent, commits }
}

fn line(executed: &Executed) -> String {
    format!("{} {} {}", executed.command, executed.uri, executed.code.0)
}

// --- Commands -----------------------------------------------------------------------------------

#[test]
fn every_command_is_carried_out_and_answered_in_both_encodings() {
    for encoding in BOTH {
        let mut tree = Tree::of(&[("./a", "1"), ("./b", "2")]);
        let script = "get ./a\nreplace ./a chr one\nadd ./c chr three\nadd ./a chr no\ndelete ./b\n\
                      delete ./b\ncopy ./a ./d\nexec ./run now\nget ./nowhere\nget ./Secret\nsend\nget ./d\n";
        let options = Options { encoding, ..options(Some(Scheme::Md5)) };
        let held = hold(options, management(Some(Scheme::Md5), script), &mut tree);
        assert_eq!(held.ending.why, Why::Done);
        assert!(held.ending.ok());
        let expected = [
            "Get ./a 200",
            "Replace ./a 200",
            "Add ./c 200",
            "Add ./a 418",
            "Delete ./b 200",
            "Delete ./b 404",
            "Copy ./d 200",
            "Exec ./run 202",
            "Get ./nowhere 404",
            "Get ./Secret 425",
            "Get ./d 200",
        ];
        assert_eq!(held.executed, expected);
        assert_eq!(held.answered(), expected);
        assert_eq!(held.values(), [("./a", "1"), ("./d", "one")]);
        assert_eq!(tree.text("./c"), Some("three"));
        assert_eq!(held.sent.len(), 3);
    }
}

#[test]
fn alerts_for_a_user_find_nobody() {
    let script = "alert 1100 MINDT=1\nalert 1101 DR=1\nalert 1102\nalert 1103\nalert 1104\nalert 1199\n\
                  sequence\nalert 1100\nreplace ./a chr shown\nalert 1101\nreplace ./a chr no\nend\n\
                  atomic\nalert 1101 DR=1\nreplace ./a chr no\nend\n";
    let mut tree = Tree::of(&[("./a", "1")]);
    let held = hold(options(None), management(None, script), &mut tree);
    let mut expected = vec!["Alert  406"; 6];
    expected.extend([
        "Sequence  200",
        "Alert  406",
        "Replace ./a 200",
        "Alert  406",
        "Replace ./a 215",
    ]);
    expected.extend(["Atomic  507", "Alert  406", "Replace ./a 215"]);
    assert_eq!(held.executed, expected);
    assert_eq!(tree.text("./a"), Some("shown"));
}

#[test]
fn an_atomic_is_done_whole_or_not_at_all() {
    let cases: [(&str, &[&str]); 6] = [
        ("replace ./a chr 2\nadd ./n chr 3", &["Atomic  200", "Replace ./a 200", "Add ./n 200"]),
        (
            "replace ./a chr 2\ndelete ./b\ndelete ./nowhere\nadd ./n chr 3",
            &[
                "Atomic  507",
                "Replace ./a 216",
                "Delete ./b 216",
                "Delete ./nowhere 404",
                "Add ./n 215",
            ],
        ),
        ("replace ./a chr 2\nget ./a", &["Atomic  507", "Replace ./a 216", "Get ./a 500"]),
        (
            "replace ./a chr 2\natomic\ndelete ./a\nend",
            &["Atomic  507", "Replace ./a 216", "Atomic  500", "Delete ./a 215"],
        ),
        (
            "sequence\nreplace ./a chr 2\ndelete ./nowhere\ndelete ./b\nend",
            &[
                "Atomic  507",
                "Sequence  216",
                "Replace ./a 216",
                "Delete ./nowhere 404",
                "Delete ./b 215",
            ],
        ),
        ("", &["Atomic  200"]),
    ];
    for (inside, expected) in cases {
        let before = Tree::of(&[("./a", "1"), ("./b", "2")]);
        let mut tree = before.clone();
        let script = format!("atomic\n{inside}\nend\n");
        let held = hold(options(None), management(None, &script), &mut tree);
        assert_eq!(held.executed, expected);
        let undone = expected.first() == Some(&"Atomic  507");
        assert_eq!(tree.leaves == before.leaves, undone || inside.is_empty(), "{inside}");
        // Nothing was changed, so nothing has to be made durable.
        assert_eq!(held.commits.len(), usize::from(!undone && !inside.is_empty()));
    }
}

#[test]
fn an_atomic_that_cannot_be_undone_or_answered_says_so() {
    let script = "atomic\nreplace ./a chr 2\ndelete ./nowhere\nend\n";
    let mut tree = Tree { cannot_undo: true, ..Tree::of(&[("./a", "1")]) };
    let held = hold(options(None), management(None, script), &mut tree);
    assert_eq!(held.executed, ["Atomic  516", "Replace ./a 216", "Delete ./nowhere 404"]);
    assert_eq!(held.commits.len(), 1, "what is left of it lasts");

    let script = format!("atomic\n{}end\n", "replace ./a chr 2\n".repeat(60));
    let mut tree = Tree::of(&[("./a", "1")]);
    let tight = managing::Options { max_message_size: Some(1500), ..management(None, &script) };
    let held = hold(options(None), tight, &mut tree);
    assert_eq!(held.executed[..2], ["Atomic  517", "Replace ./a 216"]);
    assert_eq!((held.executed.len(), held.ending.why), (61, Why::Done));
    assert_eq!(tree.text("./a"), Some("1"));
}

#[test]
fn a_sequence_goes_on_after_a_failure() {
    let script =
        "sequence\ndelete ./nowhere\nget ./a\natomic\ndelete ./nowhere\nend\ndelete ./a\nend\n";
    let mut tree = Tree::of(&[("./a", "1")]);
    let held = hold(options(None), management(None, script), &mut tree);
    let expected = [
        "Sequence  200",
        "Delete ./nowhere 404",
        "Get ./a 200",
        "Atomic  507",
        "Delete ./nowhere 404",
        "Delete ./a 200",
    ];
    assert_eq!(held.executed, expected);
    assert_eq!(held.values(), [("./a", "1")]);
}

#[test]
fn a_change_that_could_not_be_kept_is_answered_with_500_and_no_nonce_moves() {
    let mut tree = Tree::of(&[("./a", "1")]);
    let mut manager = Manager::new(management(
        Some(Scheme::Md5),
        "replace ./a chr 2\nget ./a\ndelete ./nowhere\n",
    ));
    let held = hold_where(options(Some(Scheme::Md5)), &mut manager, &mut tree, |_| false);
    assert_eq!(held.executed, ["Replace ./a 500", "Get ./a 200", "Delete ./nowhere 404"]);
    assert_eq!(held.ending.why, Why::Done);
    assert_eq!(held.ending.nonces.server, b"s0");
}

// --- Who is who ---------------------------------------------------------------------------------

#[test]
fn all_schemes_prove_both_sides_over_several_sessions() {
    for encoding in BOTH {
        for scheme in [Scheme::Basic, Scheme::Md5, Scheme::Mac] {
            let mut manager = Manager::new(management(Some(scheme), "get ./a\nsend\nget ./a\n"));
            let mut nonces = options(None).nonces;
            for session_id in 1..4 {
                let mut tree = Tree::of(&[("./a", "1")]);
                let options = Options { session_id, encoding, nonces, ..options(Some(scheme)) };
                let held = hold_with(options, &mut manager, &mut tree);
                assert_eq!(held.ending.why, Why::Done, "{scheme:?}");
                assert_eq!(held.executed, ["Get ./a 200"; 2]);
                assert_eq!(held.sent.len(), 3, "{scheme:?}: no challenge is needed");
                assert!(held.sent.iter().all(|it| it.mac.is_some() == (scheme == Scheme::Mac)));
                let creds = |sent: &Outgoing| {
                    sent.encoding.decode(&sent.body).unwrap().header.credentials.is_some()
                };
                assert_eq!(creds(&held.sent[0]), scheme != Scheme::Mac);
                assert!(!creds(&held.sent[2]), "212: no more of them");
                nonces = held.ending.nonces;
            }
        }
    }
}

#[test]
fn a_secret_goes_in_clear_nowhere() {
    for (client, server) in [(Scheme::Basic, Scheme::Md5), (Scheme::Md5, Scheme::Basic)] {
        let options = Options {
            client: account(client, "gateway"),
            server: account(server, "server"),
            secure: false,
            ..options(None)
        };
        assert_eq!(ClientSession::start(options).unwrap_err(), Why::BasicInClear);
    }
    // Nor by the server's wish, even over TLS, where the account does not say basic.
    for secure in [false, true] {
        let options = Options { secure, ..options(Some(Scheme::Md5)) };
        let mut wish = management(Some(Scheme::Md5), "get ./a\n");
        wish.misbehaviour = Some(Misbehaviour::BasicOnly);
        let held = hold(options, wish, &mut Tree::default());
        assert_eq!(held.ending.why, Why::BasicAsked);
        assert_eq!(held.sent.len(), 1);
        let text = b"gateway's secret";
        assert!(!held.sent.iter().any(|it| it.body.windows(text.len()).any(|at| at == text)));
    }
}

#[test]
fn a_stale_nonce_of_the_client_costs_one_challenge() {
    for scheme in [Scheme::Md5, Scheme::Mac] {
        let mut tree = Tree::of(&[("./a", "1")]);
        let nonces = Nonces { client: b"old".to_vec(), server: b"s0".to_vec() };
        let options = Options { nonces, ..options(Some(scheme)) };
        let held = hold(options, management(Some(scheme), "get ./a\n"), &mut tree);
        assert_eq!(held.ending.why, Why::Done);
        assert_eq!(held.executed, ["Get ./a 200"]);
        assert_eq!(held.sent.len(), 3);
        // DevInfo and the Alert go again.
        let again = held.sent[1].encoding.decode(&held.sent[1].body).unwrap();
        let names: Vec<_> = again.commands.iter().map(Command::name).collect();
        assert_eq!(names[names.len() - 2..], ["Alert", "Replace"]);
    }
}

#[test]
fn a_wrong_secret_of_ours_is_tried_a_bounded_number_of_times() {
    let mut options = options(Some(Scheme::Md5));
    options.client.as_mut().unwrap().secret = Secret::new("wrong");
    let held = hold(options, management(Some(Scheme::Md5), "get ./a\n"), &mut Tree::default());
    assert_eq!(held.ending.why, Why::Refused(StatusCode::INVALID_CREDENTIALS));
    assert_eq!(held.sent.len(), usize::from(limits::AUTHENTICATION_TRIES));
}

// --- Misbehaviour -------------------------------------------------------------------------------

fn misbehave(misbehaviour: Misbehaviour, scheme: Scheme) -> (Held, Tree) {
    let mut tree = Tree::of(&[("./a", "1"), ("./Large", "")]);
    let mut manages = management(Some(scheme), "replace ./a chr 2\n");
    manages.misbehaviour = Some(misbehaviour);
    let held = hold(options(Some(scheme)), manages, &mut tree);
    (held, tree)
}

#[test]
fn a_server_that_does_not_prove_itself_is_not_obeyed() {
    for (misbehaviour, code) in
        [(Misbehaviour::WrongCredentials, 401), (Misbehaviour::NoCredentials, 407)]
    {
        let (held, tree) = misbehave(misbehaviour, Scheme::Md5);
        assert_eq!(held.ending.why, Why::ServerNotAuthenticated);
        assert_eq!(held.executed, vec![format!("Replace ./a {code}"); 2]);
        assert_eq!(tree.done, [""; 0]);
        // What it said of itself changes nothing that is kept.
        assert_eq!(held.ending.nonces, options(None).nonces);
        let (held, tree) = misbehave(misbehaviour, Scheme::Mac);
        assert_eq!(held.ending.why, Why::ServerNotAuthenticated);
        assert_eq!((tree.done.len(), held.commits.len()), (0, 0));
    }
}

#[test]
fn a_stale_nonce_of_the_server_costs_one_challenge() {
    for scheme in [Scheme::Md5, Scheme::Mac] {
        let (held, tree) = misbehave(Misbehaviour::StaleNonce, scheme);
        assert_eq!(held.ending.why, Why::Done);
        assert_eq!(held.executed, ["Replace ./a 401", "Replace ./a 200"]);
        assert_eq!(tree.done, ["Replace ./a"]);
    }
}

#[test]
fn a_server_of_another_version_is_left() {
    let (held, _) = misbehave(Misbehaviour::Version513, Scheme::Md5);
    assert_eq!(held.ending.why, Why::Refused(StatusCode::PROTOCOL_NOT_SUPPORTED));
}

#[test]
fn a_large_object_that_is_shorter_than_it_said_changes_nothing() {
    let (held, tree) = misbehave(Misbehaviour::BrokenObject, Scheme::Md5);
    assert_eq!(held.ending.why, Why::Done);
    assert_eq!(held.executed, ["Replace ./Large 213", "Replace ./Large 424"]);
    assert_eq!(tree.done, [""; 0]);
}

#[test]
fn redirects_private_addresses_and_cut_connections_end_it() {
    let (held, _) = misbehave(Misbehaviour::Redirect, Scheme::Md5);
    assert_eq!(held.ending.why, Why::NoAnswer(Some(302)));
    let (held, _) = misbehave(Misbehaviour::PrivateUri, Scheme::Md5);
    assert_eq!((held.ending.why, held.sent.len()), (Why::ResponseUri, 1));
    let (held, _) = misbehave(Misbehaviour::Cut, Scheme::Md5);
    assert_eq!(held.ending.why, Why::NoAnswer(None));
}

#[test]
fn every_misbehaviour_has_a_name() {
    for (name, misbehaviour) in Misbehaviour::NAMES {
        assert_eq!(Misbehaviour::parse(name), Some(misbehaviour));
    }
    assert_eq!(Misbehaviour::parse("polite"), None);
}

// --- Sizes --------------------------------------------------------------------------------------

#[test]
fn results_are_split_over_messages_and_large_values_into_chunks() {
    for encoding in BOTH {
        for most in [1100, 1150, 1200, 1300, 2000, 5000] {
            let long = "0123456789<&>".repeat(500);
            let mut tree = Tree::of(&[("./long", &long), ("./a", "1")]);
            let script = format!("{}get ./long\nget ./a\nsend\nget ./a\n", "get ./a\n".repeat(40));
            let tight = managing::Options {
                max_message_size: Some(most),
                ..management(Some(Scheme::Md5), &script)
            };
            let options = Options { encoding, ..options(Some(Scheme::Md5)) };
            let held = hold(options, tight, &mut tree);
            assert_eq!(held.ending.why, Why::Done, "{encoding:?} {most}");
            let most = usize::try_from(most).unwrap();
            // Package 1 leaves before the server says what it takes.
            assert!(held.sent.iter().skip(1).all(|it| it.body.len() <= most));
            let mut expected = vec![("./a", "1"); 40];
            expected.extend([("./long", &*long), ("./a", "1"), ("./a", "1")]);
            assert_eq!(held.values(), expected, "{encoding:?} {most}");
        }
    }
}

#[test]
fn a_server_that_takes_no_message_gets_none() {
    let mut tree = Tree::of(&[("./a", "1")]);
    let tight = managing::Options { max_message_size: Some(40), ..management(None, "get ./a\n") };
    let held = hold(options(None), tight, &mut tree);
    assert_eq!((held.ending.why, held.sent.len()), (Why::MessageSize, 1));
}

#[test]
fn an_object_above_the_bound_is_refused() {
    let mut tree = Tree::of(&[("./a", "1")]);
    let options = Options { max_object_size: 3, ..options(None) };
    let held =
        hold(options, management(None, "replace ./a chr 1234\nreplace ./a chr 123\n"), &mut tree);
    assert_eq!(held.executed, ["Replace ./a 413", "Replace ./a 200"]);
}

#[test]
fn a_large_object_comes_in_chunks_and_is_carried_out_once() {
    let text = "large 12 replace ./a chr four\nget ./b\nmore\nchunk replace ./a chr more\nmore\n\
                replace ./a chr last\nget ./a\n";
    for encoding in BOTH {
        let mut tree = Tree::of(&[("./a", "1"), ("./b", "2")]);
        let options = Options { encoding, ..options(Some(Scheme::Md5)) };
        let held = hold(options, management(Some(Scheme::Md5), text), &mut tree);
        assert_eq!(held.ending.why, Why::Done);
        let commands = held.executed.iter().filter(|it| it.contains("./"));
        let expected =
            ["Replace ./a 213", "Get ./b 200", "Replace ./a 213", "Replace ./a 200", "Get ./a 200"];
        assert!(commands.eq(expected.iter()), "{:?}", held.executed);
        assert_eq!(held.values(), [("./b", "2"), ("./a", "fourmorelast")]);
        assert_eq!(tree.done, ["Get ./b", "Replace ./a", "Get ./a"]);
        // Chunks are no change: the first commit is for the nonces, the second for the object.
        assert_eq!(held.commits.len(), 2);
    }
    let octets = "large 4 add ./n bin 00ff\nmore\nadd ./n bin 1000\n";
    let mut tree = Tree::default();
    let held = hold(options(None), management(None, octets), &mut tree);
    assert_eq!(held.executed, ["Add ./n 213", "Add ./n 200"]);
    assert_eq!(tree.leaves["./n"], Data::Binary([0, 0xff, 0x10, 0].as_slice().into()));
}

#[test]
fn a_large_object_that_is_not_as_it_should_be_has_its_own_status() {
    let cases: [(&str, &[&str]); 7] = [
        ("chunk replace ./a chr x", &["Replace ./a 411"]),
        ("large 100001 replace ./a chr x", &["Replace ./a 413"]),
        ("large 1 replace ./a chr xx", &["Replace ./a 424"]),
        (
            "large 4 replace ./a chr xx\nmore\nreplace ./a chr yyy",
            &["Replace ./a 213", "Replace ./a 424"],
        ),
        (
            "large 4 replace ./a chr xx\nlarge 4 replace ./b chr xx",
            &["Replace ./a 213", "Replace ./b 412"],
        ),
        ("atomic\nlarge 4 replace ./a chr xx\nend", &["Atomic  507", "Replace ./a 412"]),
        ("large 4 replace ./a chr xx\nmore\ndelete ./b", &["Replace ./a 213", "Delete ./b 200"]),
    ];
    for (script, expected) in cases {
        let mut tree = Tree::of(&[("./a", "1"), ("./b", "2")]);
        let held = hold(options(None), management(None, &format!("{script}\n")), &mut tree);
        assert_eq!(held.executed, expected, "{script}");
        assert_eq!((held.ending.why, tree.text("./a")), (Why::Done, Some("1")), "{script}");
        let broken_off = held.sent.iter().flat_map(commands).find_map(|command| match command {
            Command::Alert(it) if it.code == Some(AlertCode::NO_END_OF_DATA) => {
                Some(it.items[0].target.clone().unwrap().uri.into_owned())
            }
            _ => None,
        });
        assert_eq!(broken_off.as_deref(), script.contains("delete").then_some("./a"), "{script}");
    }
}

#[test]
fn what_the_server_cannot_take_is_not_sent() {
    let mut tree = Tree::of(&[("./a", "1234"), ("./b", "123")]);
    let small =
        managing::Options { max_object_size: Some(3), ..management(None, "get ./a\nget ./b\n") };
    let held = hold(options(None), small, &mut tree);
    assert_eq!(held.executed, ["Get ./a 413", "Get ./b 200"]);
    assert_eq!(held.values(), [("./b", "123")]);
}

#[test]
fn a_server_can_stop_a_large_object_of_ours() {
    for stop in [
        "<Alert><CmdID>2</CmdID><Data>1225</Data></Alert>".to_owned(),
        status_of(2, 3, "Results", 413),
    ] {
        let mut tree = Tree::of(&[("./long", &"x".repeat(5000)), ("./a", "1")]);
        let mut talk = Talk::new(options(None));
        let asks = "<Meta><MaxMsgSize xmlns='syncml:metinf'>1500</MaxMsgSize></Meta>";
        let get =
            "<Get><CmdID>1</CmdID><Item><Target><LocURI>./long</LocURI></Target></Item></Get>";
        let first = talk.hear_with(asks, get, true, &mut tree);
        let Some(Command::Results(results)) = first.last() else { panic!("{first:?}") };
        assert!(results.items[0].more_data && results.items[0].meta.size == Some(5000));
        assert_eq!(results.command_id, "3");
        let next = talk.hear(&stop, false, &mut tree);
        assert!(!next.iter().any(|it| matches!(it, Command::Results(_))), "{next:?}");
    }
}

// --- What else a server may say ------------------------------------------------------------------

#[test]
fn a_package_of_several_messages_is_asked_for() {
    let mut tree = Tree::of(&[("./a", "1"), ("./b", "2")]);
    let held = hold(options(None), management(None, "get ./a\nmore\nget ./b\n"), &mut tree);
    assert_eq!((held.ending.why, held.sent.len()), (Why::Done, 3));
    let asks = |sent: &Outgoing| {
        let message = sent.encoding.decode(&sent.body).unwrap();
        let alert = message.commands.iter().any(|command| {
            matches!(command, Command::Alert(it) if it.code == Some(AlertCode::NEXT_MESSAGE))
        });
        (alert, message.is_final)
    };
    let asked: Vec<_> = held.sent.iter().map(asks).collect();
    assert_eq!(asked, [(false, true), (true, false), (false, true)]);
    assert_eq!(held.values(), [("./a", "1"), ("./b", "2")]);
}

#[test]
fn the_answer_goes_where_the_server_says_if_the_account_allows_it() {
    for (given, sent_to) in [
        ("http://dm.example/s?id=1", Some("http://dm.example/s?id=1")),
        ("s?id=1", Some("http://dm.example/s?id=1")),
        ("https://other.example/s", Some("https://other.example/s")),
        ("http://evil.example/s", None),
        ("http://127.0.0.1/s", None),
    ] {
        let options = Options { hosts: vec!["other.example".into()], ..options(None) };
        let url = Some(given.to_owned());
        let says = managing::Options { url, ..management(None, "get ./a\n") };
        let held = hold(options, says, &mut Tree::default());
        assert_eq!(held.sent.get(1).map(|it| &*it.uri), sent_to, "{given}");
        let why = if sent_to.is_some() { Why::Done } else { Why::ResponseUri };
        assert_eq!(held.ending.why, why, "{given}");
    }
}

#[test]
fn commands_that_are_no_good_are_answered_and_the_next_is_carried_out() {
    let item = |uri: &str| format!("<Item><Target><LocURI>{uri}</LocURI></Target></Item>");
    let (a, no) = (item("./a"), item("./no"));
    let body = format!(
        "<Search><CmdID>1</CmdID></Search>\
         <Exec><CmdID>2</CmdID>{a}{a}</Exec>\
         <Delete><CmdID>3</CmdID></Delete>\
         <Replace><CmdID>4</CmdID><Item><Data>1</Data></Item></Replace>\
         <Get><CmdID>5</CmdID>{a}{no}</Get>\
         <Alert><CmdID>6</CmdID></Alert>\
         <Get><CmdID>7</CmdID>{a}</Get>"
    );
    let mut tree = Tree::of(&[("./a", "1")]);
    let answers = Talk::new(options(None)).hear(&body, true, &mut tree);
    let mut lines = Vec::new();
    for answer in &answers {
        lines.push(match answer {
            Command::Status(it) if it.command_ref == "0" => continue,
            Command::Status(it) => {
                let target = it.target_refs.join(" ");
                format!("{} {} {} {target}", it.command_ref, it.command, it.code.0)
            }
            Command::Results(it) => format!("{} results", it.command_ref),
            other => other.name().to_owned(),
        });
    }
    let expected = [
        "1 Search 501 ",
        "2 Exec 412 ",
        "3 Delete 412 ",
        "4 Replace 412 ",
        "5 Get 200 ./a",
        "5 Get 404 ./no",
        "5 results",
        "6 Alert 412 ",
        "7 Get 200 ",
        "7 results",
    ];
    assert_eq!(lines, expected);
    assert_eq!(tree.done, ["Get ./a", "Get ./no", "Get ./a"]);
}

#[test]
fn a_message_that_comes_again_gets_the_same_answer_and_nothing_is_done_twice() {
    let add = "<Add><CmdID>1</CmdID><Item><Target><LocURI>./n</LocURI></Target>\
               <Data>x</Data></Item></Add>";
    let mut tree = Tree::default();
    let mut talk = Talk::new(options(None));
    let message = talk.write("", add, true);
    let Step::Send(first) = talk.take(&message, &mut tree) else { panic!() };
    assert_eq!(first.executed.len(), 1);
    for _ in 0..limits::SERVER_REPEATS {
        let Step::Send(again) = talk.take(&message, &mut tree) else { panic!() };
        assert_eq!((again.body, again.executed.len()), (first.body.clone(), 0));
    }
    assert_eq!(tree.done, ["Add ./n"]);
    let Step::End(ending) = talk.take(&message, &mut tree) else { panic!() };
    assert_eq!(ending.why, Why::OutOfOrder);
}

#[test]
fn answers_of_other_sessions_versions_and_times_end_it() {
    let get = "<Get><CmdID>1</CmdID><Item><Target><LocURI>./a</LocURI></Target></Item></Get>";
    for (from, to, body, why) in [
        ("1A<", "1B<", "", Why::OtherSession),
        ("1A<", "x<", "", Why::OtherSession),
        ("DTD>1.2", "DTD>2.0", "", Why::Version(StatusCode::DTD_NOT_SUPPORTED)),
        ("DM/1.2", "DM/2.0", "", Why::Version(StatusCode::PROTOCOL_NOT_SUPPORTED)),
        ("DTD>1.2", "DTD>2.0", get, Why::Version(StatusCode::DTD_NOT_SUPPORTED)),
        ("DM/1.2", "DM/2.0", get, Why::Version(StatusCode::PROTOCOL_NOT_SUPPORTED)),
        ("1A<", "001a<", "", Why::Done),
        ("DM/1.2", "DM/1.1", "", Why::Done),
    ] {
        let mut talk = Talk::new(options(None));
        let message = String::from_utf8(talk.write("", body, true)).unwrap();
        let message = message.replacen(from, to, 1);
        let mut tree = Tree::of(&[("./a", "1")]);
        let mut step = talk.take(message.as_bytes(), &mut tree);
        // Whoever asked for something is told why it gets nothing; then it is over.
        assert_eq!(matches!(step, Step::Send(_)), !body.is_empty());
        if let Step::Send(refusal) = step {
            let Why::Version(code) = why else { panic!() };
            let is = |it: &Command<'_>| matches!(it, Command::Status(it) if it.code == code);
            assert!(commands(&refusal).iter().all(is));
            step = Step::End(talk.session.no_answer(None));
        }
        let Step::End(ending) = step else { panic!("{to}: {step:?}") };
        assert_eq!((ending.why, tree.done.len()), (why, 0), "{to}");
    }
}

#[test]
fn a_mac_that_was_right_once_has_to_be_right_always() {
    let mut tree = Tree::of(&[("./a", "1")]);
    let mut manager =
        Manager::new(management(Some(Scheme::Mac), "replace ./a chr 2\nsend\nreplace ./a chr 3\n"));
    let (mut session, mut outgoing) = ClientSession::start(options(Some(Scheme::Mac))).unwrap();
    let ending = loop {
        let Outgoing { encoding, body, mac, uri, .. } = &outgoing;
        let answer = manager.answer(*encoding, body, mac.as_deref(), uri, b"fresh");
        let Answer::Message { encoding, body, mac } = answer else { panic!() };
        let incoming = Incoming { encoding, body: &body, mac: mac.as_deref() };
        let mut step = session.receive(&incoming, [7; 16], &mut tree);
        if let Step::Commit(_) = step {
            step = session.committed(true);
        }
        match step {
            Step::Send(next) => outgoing = next,
            Step::End(ending) => break ending,
            Step::Commit(_) => panic!("committed twice"),
        }
        manager.set_misbehaviour(Some(Misbehaviour::WrongCredentials));
    };
    assert_eq!(ending.why, Why::ServerNotAuthenticated);
    assert_eq!(tree.text("./a"), Some("2"));
}

#[test]
fn a_server_that_never_ends_is_left() {
    let get = "<Get><CmdID>1</CmdID><Item><Target><LocURI>./a</LocURI></Target></Item></Get>";
    let mut tree = Tree::of(&[("./a", "1")]);
    let mut talk = Talk::new(options(None));
    let mut answers = 0;
    let ending = loop {
        let message = talk.write("", get, true);
        match talk.take(&message, &mut tree) {
            Step::Send(_) => answers += 1,
            Step::End(ending) => break ending,
            Step::Commit(_) => panic!(),
        }
    };
    assert_eq!((ending.why, answers), (Why::TooMuch, limits::CLIENT_MESSAGES - 1));
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
    let get = "<Get><CmdID>1</CmdID><Item><Target><LocURI>./large</LocURI></Target></Item></Get>";
    let large = "x".repeat(60_000);
    let mut tree = Tree::of(&[("./large", &large)]);
    let mut talk = Talk::new(options(None));
    for new in [limits::ANSWERS_OCTETS / (60_000 + limits::ANSWER_OCTETS), 1] {
        let message = talk.write("", &get.repeat(200), true);
        let Step::Send(outgoing) = talk.take(&message, &mut tree) else { panic!() };
        let is_refused = |it: &&Executed| it.code == StatusCode::TOO_LARGE;
        assert_eq!(200 - outgoing.executed.iter().filter(is_refused).count(), new);
    }
}

/// A server whose words are written by hand, in XML.
struct Talk {
    session: ClientSession,
    /// MsgID of its last message.
    message: u32,
}

impl Talk {
    fn new(options: Options) -> Self {
        let (session, _) = ClientSession::start(options).unwrap();
        Self { session, message: 0 }
    }

    /// The next message.
    fn write(&mut self, header: &str, body: &str, is_final: bool) -> Vec<u8> {
        self.message += 1;
        let end = if is_final { "<Final/>" } else { "" };
        let message = self.message;
        format!(
            "<SyncML xmlns='SYNCML:SYNCML1.2'><SyncHdr><VerDTD>1.2</VerDTD>\
             <VerProto>DM/1.2</VerProto><SessionID>1A</SessionID><MsgID>{message}</MsgID>\
             <Target><LocURI>IMEI:1</LocURI></Target><Source><LocURI>{URI}</LocURI></Source>\
             {header}</SyncHdr><SyncBody>{body}{end}</SyncBody></SyncML>"
        )
        .into_bytes()
    }

    fn take(&mut self, message: &[u8], tree: &mut Tree) -> Step {
        let incoming = Incoming { encoding: Encoding::Xml, body: message, mac: None };
        match self.session.receive(&incoming, [7; 16], tree) {
            Step::Commit(_) => self.session.committed(true),
            step => step,
        }
    }

    /// What the client answers.
    fn hear(&mut self, body: &str, is_final: bool, tree: &mut Tree) -> Vec<Command<'static>> {
        self.hear_with("", body, is_final, tree)
    }

    fn hear_with(
        &mut self,
        header: &str,
        body: &str,
        is_final: bool,
        tree: &mut Tree,
    ) -> Vec<Command<'static>> {
        let message = self.write(header, body, is_final);
        match self.take(&message, tree) {
            Step::Send(outgoing) => commands(&outgoing),
            step => panic!("{step:?}"),
        }
    }
}

fn commands(sent: &Outgoing) -> Vec<Command<'static>> {
    // A test's messages are few: they may live as long as it does.
    let body: &'static [u8] = sent.body.clone().leak();
    sent.encoding.decode(body).unwrap().commands
}

fn status_of(message: u32, command: u32, name: &str, code: u16) -> String {
    format!(
        "<Status><CmdID>1</CmdID><MsgRef>{message}</MsgRef><CmdRef>{command}</CmdRef>\
         <Cmd>{name}</Cmd><Data>{code}</Data></Status>"
    )
}

// --- Alerts, ends, HTTP -------------------------------------------------------------------------

#[test]
fn generic_alerts_are_delivered_and_their_outcome_told() {
    let alert = |kind: &'static str| {
        let meta = Meta { kind: Some(kind.into()), ..Meta::default() };
        let items = vec![Item { meta, data: Some(Data::Text("x".into())), ..Item::default() }];
        Alert { code: Some(AlertCode::GENERIC), items, ..Alert::default() }
    };
    let alerts = vec![alert("urn:oma:at:a"), alert("urn:oma:at:b")];
    for scheme in [None, Some(Scheme::Md5)] {
        let options = Options { alerts: alerts.clone(), ..options(scheme) };
        let held = hold(options, management(scheme, ""), &mut Tree::default());
        assert_eq!(held.ending.alerts, [Some(StatusCode::OK); 2]);
    }
    // Nobody who did not prove to be the server can say that it has them.
    let options = Options { alerts, ..options(Some(Scheme::Md5)) };
    let mut impostor = management(Some(Scheme::Md5), "");
    impostor.misbehaviour = Some(Misbehaviour::WrongCredentials);
    let held = hold(options, impostor, &mut Tree::default());
    assert_eq!(held.ending.why, Why::ServerNotAuthenticated);
    assert_eq!(held.ending.alerts, [None; 2]);
}

#[test]
fn both_sides_can_break_it_off() {
    let held =
        hold(options(None), management(None, "replace ./a chr 2\nabort\n"), &mut Tree::default());
    assert_eq!(held.ending.why, Why::Aborted);
    assert_eq!(held.sent.len(), 1, "an abort is not answered");

    let (mut session, _) = ClientSession::start(options(None)).unwrap();
    let abort = session.abort().unwrap();
    let message = abort.encoding.decode(&abort.body).unwrap();
    let is_abort = |it: &Command<'_>| matches!(it, Command::Alert(it) if it.code == Some(AlertCode::SESSION_ABORT));
    assert!(message.is_final && message.commands.iter().any(is_abort));
    assert_eq!(session.no_answer(None).why, Why::GivenUp);

    // What was not made durable is not said to be done.
    let replace = "<Replace><CmdID>1</CmdID><Item><Target><LocURI>./a</LocURI></Target>\
                   <Data>2</Data></Item></Replace>\
                   <Get><CmdID>2</CmdID><Item><Target><LocURI>./a</LocURI></Target></Item></Get>";
    let mut talk = Talk::new(options(None));
    let message = talk.write("", replace, true);
    let incoming = Incoming { encoding: Encoding::Xml, body: &message, mac: None };
    let mut tree = Tree::of(&[("./a", "1")]);
    assert!(matches!(talk.session.receive(&incoming, [0; 16], &mut tree), Step::Commit(_)));
    let abort = talk.session.abort().unwrap();
    let told: Vec<_> = commands(&abort)
        .iter()
        .map(|command| match command {
            Command::Status(status) => format!("{} {}", status.command, status.code.0),
            command => command.name().to_owned(),
        })
        .collect();
    assert_eq!(told, ["SyncHdr 200", "Replace 500", "Get 200", "Alert"]);
    assert!(matches!(talk.session.committed(true), Step::End(it) if it.why == Why::GivenUp));
}

#[test]
fn noise_ends_it_and_never_panics() {
    let (_, package1) = ClientSession::start(options(None)).unwrap();
    for encoding in BOTH {
        for end in 0..package1.body.len() {
            let (mut session, _) = ClientSession::start(options(None)).unwrap();
            let incoming = Incoming { encoding, body: &package1.body[..end], mac: None };
            let step = session.receive(&incoming, [0; 16], &mut Tree::default());
            let Step::End(ending) = step else { panic!("{step:?}") };
            assert!(matches!(ending.why, Why::Undecodable(_)));
            assert!(!ending.why.to_string().is_empty());
        }
    }
}

/// Holds a session over HTTP, the way the gateway will.
async fn over_http(options: Options, timeout: Duration, tree: &mut Tree) -> Ending {
    let (mut session, mut outgoing) = ClientSession::start(options).unwrap();
    let mut client = http_client::Client::new(None);
    loop {
        let kind = outgoing.encoding.content_type();
        let answer = client.post(&outgoing.uri, kind, &outgoing.body, timeout).await;
        let step = match answer {
            Ok((200, Some(kind), body)) => {
                let encoding = Encoding::of_content_type(&kind).unwrap();
                let incoming = Incoming { encoding, body: &body, mac: None };
                session.receive(&incoming, [7; 16], tree)
            }
            Ok((status, ..)) => Step::End(session.no_answer(Some(status))),
            Err(_) => Step::End(session.no_answer(None)),
        };
        let step = if let Step::Commit(_) = step { session.committed(true) } else { step };
        match step {
            Step::Send(next) => outgoing = next,
            Step::End(ending) => return ending,
            Step::Commit(_) => panic!("committed twice"),
        }
    }
}

#[test]
fn sessions_over_http_end_as_in_memory() {
    for (misbehaviour, why) in [
        (None, Why::Done),
        (Some(Misbehaviour::StaleNonce), Why::Done),
        (Some(Misbehaviour::WrongCredentials), Why::ServerNotAuthenticated),
        (Some(Misbehaviour::BasicOnly), Why::BasicAsked),
        (Some(Misbehaviour::PrivateUri), Why::ResponseUri),
        (Some(Misbehaviour::Redirect), Why::NoAnswer(Some(302))),
        (Some(Misbehaviour::Slow), Why::NoAnswer(None)),
        (Some(Misbehaviour::Cut), Why::NoAnswer(None)),
    ] {
        let mut tree = Tree::of(&[("./a", "1")]);
        let manages = managing::Options {
            misbehaviour,
            ..management(Some(Scheme::Md5), "replace ./a chr 2\nget ./a\n")
        };
        let server = Server::start("127.0.0.1:0".parse().unwrap(), manages).unwrap();
        let options = Options { uri: server.url(), ..options(Some(Scheme::Md5)) };
        let ending = smol::block_on(over_http(options, Duration::from_millis(800), &mut tree));
        let events = server.stop();
        assert_eq!(ending.why, why, "{misbehaviour:?}");
        assert_eq!(tree.text("./a"), Some(if why == Why::Done { "2" } else { "1" }));
        let told = events.iter().any(|it| matches!(it, SimEvent::ResultReceived { .. }));
        assert_eq!(told, why == Why::Done, "{misbehaviour:?}");
    }
}
