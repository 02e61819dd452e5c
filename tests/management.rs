//! The whole gateway as a DM client: when sessions begin, what servers may change by them, and
//! what they are told.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/managed.rs"]
mod managed;

use common::*;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::management::Operation;
use dm_gateway::gateway::policy::Policy;
use dm_gateway::limits;
use dm_gateway::proto::notification::{Notification, UiMode};
use dm_gateway::simulate::managing::Misbehaviour;
use managed::*;
use std::time::Duration;

// --- When sessions begin --------------------------------------------------------------------------

#[test]
fn the_first_session_starts_by_itself_after_a_bootstrap_and_makes_the_server_active() {
    let mut managed = Managed::new(managed_options(Policy::Ignore));
    let lines = managed.apply(ONE).unwrap();
    assert_eq!(lines, ["one.example: account made, https://one.example/dm"]);
    assert_eq!(managed.state(ONE), "bootstrapping");
    managed.serve();
    assert_eq!(managed.told(ONE), ["1201", "end"]);
    assert_eq!(managed.state(ONE), "active");
    // Applied again it is changed, proves itself anew, and that is all.
    let lines = managed.apply(ONE).unwrap();
    assert_eq!(lines, ["one.example: account changed, https://one.example/dm"]);
    assert_eq!(managed.state(ONE), "bootstrapping");
}

#[test]
fn a_document_that_is_none_is_refused_in_one_sentence_and_changes_nothing() {
    let mut managed = Managed::active();
    let (store, tree) = (managed.lab.store.records().clone(), managed.tree());
    for document in ["", "hello", "<MgmtTree/>", "<SyncML/>"] {
        let document = document.as_bytes().to_vec();
        let answer = managed.lab.operate(Operation::Apply { document }).unwrap();
        assert!(!answer.unwrap_err().contains('\n'));
    }
    assert_eq!(*managed.lab.store.records(), store);
    assert_eq!(managed.tree(), tree);
}

#[test]
fn an_account_whose_server_is_to_prove_itself_and_cannot_is_refused() {
    let mut managed = Managed::active();
    let tree = managed.tree();
    let whole = document("two", TWO, "");
    let (before, server) = whole.split_at(whole.find("<NodeName>server<").unwrap());
    let kinds = ["DIGST", "SECURID", "HTTP-DIGEST"];
    let documents = kinds.map(|kind| server.replace("DIGEST", kind));
    let without = server.replace("AAuthSecret", "AAuthOther");
    for server in documents.into_iter().chain([without]) {
        let document = format!("{before}{server}").into_bytes();
        let answer = managed.lab.operate(Operation::Apply { document }).unwrap();
        assert!(answer.unwrap_err().contains("SRVCRED"));
    }
    assert_eq!(managed.tree(), tree);
    // Nor does the only account become one.
    let secret = format!("./DMAcc/{ONE}/AppAuth/2/AAuthSecret");
    let said = managed.session(ONE, &format!("delete {secret}\n"));
    assert_eq!(said, ["1201".to_owned(), format!("Delete {secret} 405"), "end".to_owned()]);
}

#[test]
fn where_tls_is_to_prove_the_server_no_session_goes_without_it() {
    let mut options = managed_options(Policy::Ignore);
    options.management.servers.iter_mut().for_each(|server| server.allow_http = true);
    let mut managed = Managed::new(options);
    let whole = document(ONE, ONE, "").replace("https://", "http://");
    let (before, server) = whole.split_at(whole.find("<NodeName>server<").unwrap());
    let document = format!("{before}{}", server.replace("DIGEST", "TRANSPORT")).into_bytes();
    managed.lab.operate(Operation::Apply { document }).unwrap().unwrap();
    managed.serve();
    assert_eq!((managed.state(ONE).as_str(), managed.called.len()), ("failed", 0));
}

#[test]
fn credentials_of_unknown_types_do_not_stand_in_the_way_of_others() {
    let mut managed = Managed::new(managed_options(Policy::Ignore));
    let other = "<NodeName>AppAuth</NodeName><Node><NodeName>0</NodeName>\
                 <Node><NodeName>AAuthLevel</NodeName><Value>LEVEL</Value></Node>\
                 <Node><NodeName>AAuthType</NodeName><Value>SECURID</Value></Node></Node>";
    for level in ["CLCRED", "SRVCRED"] {
        let other = other.replace("LEVEL", level);
        let document = document(ONE, ONE, "").replace("<NodeName>AppAuth</NodeName>", &other);
        let document = document.replace(
            "<NodeName>AAuthPref</NodeName><Value>DIGEST",
            "<NodeName>AAuthPref</NodeName><Value>SECURID",
        );
        managed.lab.operate(Operation::Apply { document: document.into() }).unwrap().unwrap();
        managed.serve();
        assert_eq!(managed.told(ONE), ["1201", "end"], "{level}");
    }
}

#[test]
fn a_node_is_shown_by_its_one_name_however_it_is_asked_for() {
    let mut managed = Managed::active();
    let now = managed.lab.now;
    let mut shown = |uri: &str| managed.lab.gateway.tree(uri, now).map(|it| it[0].uri.clone());
    for uri in ["./DevInfo", "DevInfo", "./DevInfo/"] {
        assert_eq!(shown(uri).as_deref(), Ok("./DevInfo"));
    }
    assert_eq!(shown(".").as_deref(), Ok("."));
    for wrong in ["./Nope", "", "/", "..", "/etc", "./DevInfo?list=Struct", "./a//b"] {
        assert!(shown(wrong).is_err_and(|why| why.contains("; try: ")), "{wrong}");
    }
}

#[test]
fn an_account_that_the_store_does_not_keep_is_not_there() {
    let mut managed = Managed::active();
    let (tree, kept) = (managed.tree(), managed.kept());
    managed.lab.store.fail_next(1);
    assert_eq!(managed.apply(TWO), Err("the store could not keep it".to_owned()));
    managed.advance(MINUTE);
    assert_eq!((managed.tree(), managed.kept()), (tree, kept));
    assert!(managed.told(TWO).is_empty());
    assert_eq!(managed.state(TWO), "");
}

#[test]
fn a_server_whose_proof_could_not_be_checked_is_not_called() {
    let whole = document(ONE, ONE, "");
    let secret =
        format!("<Node><NodeName>AAuthSecret</NodeName><Value>{ONE}'s secret</Value></Node>");
    let (before, after) = whole.rsplit_once("DIGEST").unwrap();
    for broken in [whole.replace(&secret, ""), format!("{before}SECURID{after}")] {
        assert_ne!(broken, whole);
        let mut managed = Managed::new(managed_options(Policy::Ignore));
        let document = broken.into_bytes();
        let why = managed.lab.operate(Operation::Apply { document }).unwrap().unwrap_err();
        assert!(why.contains("SRVCRED"), "{why}");
        managed.advance(MINUTE);
        assert!(managed.called.is_empty());
    }
}

#[test]
fn an_account_that_is_made_anew_ends_the_session_by_the_old_one() {
    let mut managed = Managed::active();
    managed.begin(ONE, "get ./DevInfo/DevId\n");
    managed.apply(ONE).unwrap();
    assert_eq!(managed.lab.take_events(EventKind::SessionFailed).len(), 1);
    // The answer to the old session comes too late.
    managed.serve();
    assert_eq!(managed.events(EventKind::SessionEnded), 1);
    assert_eq!(managed.state(ONE), "active");
    managed.advance(10 * MINUTE);
    assert_eq!(managed.state(ONE), "active");
}

#[test]
fn package_0_with_the_right_digest_starts_the_session_that_it_names() {
    let mut managed = Managed::active();
    managed.wake(ONE, 0x1234);
    let (_, call) = managed.lab.calls.front().unwrap();
    let dm_gateway::gateway::seam::CallKind::Message { body, .. } = &call.kind else {
        panic!("{call:?}")
    };
    let message = dm_gateway::proto::syncml::Encoding::Wbxml.decode(body).unwrap();
    assert_eq!(message.header.session_id, "1234");
    managed.serve();
    assert_eq!(managed.told(ONE), ["1200", "end"]);
    assert_eq!(managed.events(EventKind::Notified), 1);
    assert_eq!(managed.lab.gateway.status(managed.lab.now).counters.notifications, 1);
}

#[test]
fn package_0_without_the_right_digest_starts_nothing_and_is_counted() {
    let mut managed = Managed::active();
    // A session with a command gives the server its next nonce.
    managed.session(ONE, "get ./DevInfo/DevId\n");
    let notification = |server_id| Notification {
        digest: [0; 16],
        version: 11,
        ui_mode: UiMode::Background,
        server_initiated: true,
        session_id: 9,
        server_id,
        vendor: &[],
    };
    let zero = notification(ONE).encode();
    let wrong = Notification { digest: [7; 16], ..notification(ONE) }.encode();
    let resync = notification(ONE).encode_signed("one.example's secret", &[0; 4]);
    let first = notification(ONE).encode_signed("one.example's secret", b"first");
    let refused = [zero, wrong, resync, first];
    for package in &refused {
        managed.push(package);
    }
    assert_eq!(managed.lab.refused("digest"), refused.len() as u64);
    managed.push(&notification("three.example").encode_signed("secret", b"first"));
    assert_eq!(managed.lab.refused("not-forwardable"), 1);
    managed.push(b"short");
    assert_eq!(managed.lab.refused("malformed-package-0"), 1);
    assert!(managed.lab.calls.is_empty());
}

#[test]
fn one_session_id_starts_one_session() {
    let mut managed = Managed::active();
    managed.script(ONE, "get ./DevInfo/DevId\n");
    let package = managed.servers[ONE].package0(7);
    managed.push(&package);
    // A retransmission while the session runs, before its first answer and after it.
    managed.push(&package);
    assert!(managed.serve_one());
    managed.push(&package);
    managed.serve();
    // The nonce is another now: nobody can replay it.
    managed.push(&package);
    assert_eq!((managed.lab.refused("repeat"), managed.lab.refused("digest")), (1, 2));
    // The id signed anew is still the same id.
    managed.wake(ONE, 7);
    assert_eq!(managed.lab.refused("repeat"), 2);
    let one = ["1200", "Get ./DevInfo/DevId 200", "./DevInfo/DevId = gw.example", "end"];
    assert_eq!(managed.told(ONE), one);
    managed.advance(limits::PACKAGE_MEMORY);
    managed.wake(ONE, 7);
    managed.serve();
    assert_eq!(managed.told(ONE), one);
}

#[test]
fn a_package_0_is_not_replayed_after_a_restart_even_if_its_nonce_is_still_the_one() {
    let mut managed = Managed::active();
    let package = managed.servers[ONE].package0(7);
    managed.push(&package);
    managed.serve();
    assert_eq!(managed.told(ONE), ["1200", "end"], "no command, so no new nonce");
    managed.lab.restart();
    managed.push(&package);
    assert_eq!(managed.lab.refused("repeat"), 1);
    managed.wake(ONE, 8);
    managed.serve();
    assert_eq!(managed.told(ONE), ["1200", "end"]);
}

#[test]
fn a_package_0_during_a_session_starts_the_next_one_whoever_else_wants_it() {
    let mut managed = Managed::active();
    managed.begin(ONE, "");
    managed.wake(ONE, 0x77);
    managed.begin(ONE, "");
    managed.serve();
    managed.advance(MINUTE);
    assert_eq!(managed.told(ONE), ["1201", "end", "1200", "end"]);
}

#[test]
fn nonces_survive_a_restart() {
    let mut managed = Managed::active();
    let mut calls = Vec::new();
    for session in 1..4 {
        managed.script(ONE, "get ./DevInfo/DevId\n");
        managed.wake(ONE, session);
        managed.serve();
        assert_eq!(managed.told(ONE).first().map(String::as_str), Some("1200"));
        calls.push(managed.calls_of(ONE).len());
        managed.lab.restart();
    }
    // Without a challenge, as each side's nonce is the one that the other expects.
    assert_eq!(calls, [2, 2, 2]);
}

#[test]
fn sessions_come_by_the_interval() {
    let mut options = managed_options(Policy::Ignore);
    let hour = 60 * MINUTE;
    options.management.servers[0].interval = Some(hour);
    let mut managed = Managed::active_with(options, &[ONE]);
    let mut last = managed.lab.now.uptime;
    managed.advance(10 * hour);
    let starts = managed.calls_of(ONE);
    assert!((10..=11).contains(&starts.len()), "{starts:?}");
    for start in starts {
        let wait = start - last;
        assert!(wait <= hour && wait >= hour - hour / 10, "{wait:?}");
        last = start;
    }
}

#[test]
fn after_a_restart_sessions_are_spread_at_random() {
    let mut options = managed_options(Policy::Ignore);
    options.management.servers[0].interval = Some(60 * MINUTE);
    let mut managed = Managed::active_with(options, &[ONE]);
    managed.instead.insert(TWO.to_owned(), Err("down".into()));
    managed.apply(TWO).unwrap();
    managed.serve();
    managed.called.clear();
    managed.lab.restart();
    assert!(managed.lab.calls.is_empty());
    managed.advance(limits::START_SPREAD);
    let first = managed.called.iter().find(|(_, it)| it == TWO).unwrap().0;
    assert!(first > Duration::ZERO);
    managed.advance(60 * MINUTE);
    assert!(managed.called.iter().any(|(_, it)| it == ONE));
}

#[test]
fn an_operator_starts_a_session_with_a_server_that_there_is() {
    let mut managed = Managed::active();
    let ask = |managed: &mut Managed, server: &str| {
        let operation = Operation::Session { server: server.to_owned() };
        managed.lab.operate(operation).unwrap()
    };
    assert_eq!(ask(&mut managed, ONE), Ok(vec![format!("{ONE}: a session with it begins")]));
    let second = ask(&mut managed, ONE).unwrap();
    assert_eq!(second, [format!("{ONE}: a session with it is under way; another follows")]);
    managed.serve();
    assert_eq!(managed.told(ONE), ["1201", "end", "1201", "end"]);
    let why = ask(&mut managed, TWO).unwrap_err();
    assert!(why.starts_with("the gateway has no account with two.example"), "{why}");
}

#[test]
fn a_session_that_an_operator_saw_fail_does_not_stop_what_is_to_be_done_anyway() {
    let mut managed = Managed::new(managed_options(Policy::Ignore));
    managed.instead.insert(ONE.to_owned(), Err("down".into()));
    managed.apply(ONE).unwrap();
    managed.serve();
    assert!(managed.session(ONE, "").is_empty());
    managed.instead.clear();
    managed.advance(10 * MINUTE);
    assert_eq!(managed.told(ONE), ["1201", "end"]);
    assert_eq!(managed.state(ONE), "active");
}

// --- Servers that are away ------------------------------------------------------------------------

#[test]
fn a_server_that_is_away_is_tried_for_ever_at_random_times_that_grow_to_a_bound() {
    let mut managed = Managed::new(managed_options(Policy::Ignore));
    managed.instead.insert(ONE.to_owned(), Err("no route".into()));
    managed.apply(ONE).unwrap();
    managed.advance(Duration::from_secs(14 * 24 * 3600));
    assert_eq!(managed.state(ONE), "failed");
    let calls = managed.calls_of(ONE);
    let waits: Vec<_> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.len() > 40, "{waits:?}");
    for (index, wait) in waits.iter().enumerate() {
        let most = limits::SESSION_RETRY * (1 << index.min(16));
        let most = most.min(limits::SESSION_RETRY_MOST);
        assert!(*wait >= limits::SESSION_RETRY_LEAST && *wait <= most, "{index}: {wait:?}");
    }
    // Full jitter: some in the lowest quarter, some in the highest.
    let late = &waits[12..];
    assert!(late.iter().any(|wait| *wait < limits::SESSION_RETRY_MOST / 4), "{late:?}");
    assert!(late.iter().any(|wait| *wait > limits::SESSION_RETRY_MOST / 4 * 3), "{late:?}");
    // It is there again.
    managed.instead.clear();
    managed.advance(limits::SESSION_RETRY_MOST);
    assert_eq!(managed.state(ONE), "active");
}

#[test]
fn retry_after_is_honoured_and_capped() {
    for (asked, least) in
        [(Duration::from_secs(4000), 4000), (Duration::from_secs(1 << 30), 86_400)]
    {
        let mut managed = Managed::new(managed_options(Policy::Ignore));
        let reply = dm_gateway::gateway::seam::HttpReply {
            status: 503,
            retry_after: Some(asked),
            ..Default::default()
        };
        let reply = dm_gateway::gateway::seam::Reply::Http(reply);
        managed.instead.insert(ONE.to_owned(), Ok(reply));
        managed.apply(ONE).unwrap();
        managed.serve();
        managed.advance(Duration::from_secs(2 * 86_400));
        let calls = managed.calls_of(ONE);
        assert_eq!(calls[1] - calls[0], Duration::from_secs(least));
    }
}

#[test]
fn every_misbehaviour_of_a_server_fails_the_session_and_changes_nothing() {
    for (name, misbehaviour) in Misbehaviour::NAMES {
        let mut managed = Managed::active();
        let before = managed.kept();
        managed.servers.get_mut(ONE).unwrap().set_misbehaviour(Some(misbehaviour));
        managed.session(ONE, "replace ./GwConfig/PublicAddress chr 198.51.100.1\n");
        let why = match misbehaviour {
            Misbehaviour::StaleNonce | Misbehaviour::BrokenObject | Misbehaviour::Slow => {
                "the session ended as it should"
            }
            Misbehaviour::WrongCredentials | Misbehaviour::NoCredentials => {
                "the server did not prove who it is"
            }
            Misbehaviour::BasicOnly => {
                "the server asks for basic authentication (syncml:auth-basic), which the account does not \
             allow"
            }
            Misbehaviour::Version513 => "the server refuses us: Status 513",
            Misbehaviour::Redirect => {
                "the server answers with HTTP status 302: redirects are not followed"
            }
            Misbehaviour::PrivateUri => {
                "the server wants answers sent where the account does not allow it"
            }
            Misbehaviour::Cut => "the connection was closed",
        };
        let events = managed.lab.events.iter();
        let ends: Vec<_> = events
            .filter(|it| matches!(it.kind, EventKind::SessionEnded | EventKind::SessionFailed))
            .map(|it| it.why.as_str())
            .collect();
        assert_eq!(ends, [why], "{name}");
        let obeys = matches!(misbehaviour, Misbehaviour::StaleNonce | Misbehaviour::Slow);
        assert_eq!(managed.kept() == before, !obeys, "{name}");
    }
}

// --- What servers change and read -----------------------------------------------------------------

#[test]
fn a_server_sets_the_policy_of_a_lan_and_the_running_gateway_asks_its_devices_anew() {
    let mut managed = Managed::active();
    managed.lab.neighbour("192.168.4.5", 5, Reachable);
    managed.advance(MINUTE);
    assert!(managed.lab.take_sent().is_empty());
    let said = managed.session(
        ONE,
        "get ./GwConfig/LAN/lan0/EDBootstrapPolicy\nreplace ./GwConfig/LAN/lan0/EDBootstrapPolicy int 2\n",
    );
    let node = "./GwConfig/LAN/lan0/EDBootstrapPolicy";
    let expected = [
        "1201".to_owned(),
        format!("Get {node} 200"),
        format!("Replace {node} 200"),
        format!("{node} = 0"),
        "end".to_owned(),
    ];
    let mut said = said;
    said.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(said, expected);
    assert_eq!(managed.leaf(node).as_deref(), Some("2"));
    let status = managed.lab.gateway.status(managed.lab.now);
    assert_eq!(status.lans[0].policy, "transparent");
    managed.advance(MINUTE);
    assert_eq!(managed.lab.take_targets(), ["192.168.4.5"]);
    // Kept, after the session that showed that the server finds us.
    assert_eq!(managed.told(ONE).first().map(String::as_str), Some("1201"));
    managed.lab.restart();
    let status = managed.lab.gateway.status(managed.lab.now);
    assert_eq!(status.lans[0].policy, "transparent");
}

#[test]
fn where_remote_settings_are_off_a_server_sets_nothing_and_what_it_set_does_not_count() {
    let mut managed = Managed::active();
    let node = "./GwConfig/LAN/lan0/EDBootstrapPolicy";
    managed.session(ONE, &format!("replace {node} int 2\n"));
    managed.advance(MINUTE);
    assert_eq!(managed.leaf(node).as_deref(), Some("2"));
    managed.lab.options.management.remote_settings = false;
    managed.lab.restart();
    assert_eq!(managed.leaf(node).as_deref(), Some("0"));
    managed.advance(MINUTE);
    let said = managed.session(ONE, &format!("replace {node} int 2\n"));
    assert!(said.contains(&format!("Replace {node} 405")), "{said:?}");
    assert_eq!(managed.leaf(node).as_deref(), Some("0"));
}

#[test]
fn a_server_reads_the_inventory() {
    let mut managed = Managed::active_with(managed_options(Policy::Transparent), &[ONE]);
    managed.lab.mapped_device(5, &[TWO]);
    let records = managed.session(ONE, "get ./GwDeviceInventory/Records\n");
    let number = records.iter().find_map(|it| it.strip_prefix("./GwDeviceInventory/Records = "));
    let record = format!("./GwDeviceInventory/Records/{}", number.unwrap());
    let leaves = ["DeviceID", "Address", "Attached", "Servers", "Mode"];
    let script: String = leaves.iter().map(|leaf| format!("get {record}/{leaf}\n")).collect();
    let said = managed.session(ONE, &script);
    for (leaf, value) in leaves.iter().zip([&*name(5), "192.168.4.5", "true", TWO, "1"]) {
        assert!(said.contains(&format!("{record}/{leaf} = {value}")), "{said:?}");
    }
    let said = managed.session(ONE, &format!("replace {record}/DeviceID chr x\ndelete {record}\n"));
    assert_eq!(
        said[1..3],
        [format!("Replace {record}/DeviceID 405"), format!("Delete {record} 405")]
    );
}

#[test]
fn pushes_for_devices_of_other_lans_pass_once_the_gateway_has_the_account() {
    for policy in [Policy::Ignore, Policy::Bootstrap] {
        let mut managed = Managed::new(managed_options(policy));
        managed.lab.neighbour("192.168.4.5", 5, Reachable);
        managed.advance(MINUTE);
        managed.lab.take_sent();
        managed.lab.push(ONE, &mac_id(5), 1);
        assert!(managed.lab.take_sent().is_empty());
        assert_eq!(managed.lab.refused("no-account"), 1);
        managed.apply(ONE).unwrap();
        managed.serve();
        managed.lab.push(ONE, &mac_id(5), 2);
        assert_eq!(managed.lab.take_targets(), ["192.168.4.5"]);
        managed.lab.push(TWO, &mac_id(5), 3);
        assert_eq!(managed.lab.refused("no-account"), 2);
    }
}

#[test]
fn secrets_are_never_readable() {
    let mut managed = Managed::active();
    let account = format!("./DMAcc/{ONE}");
    let secret = format!("{account}/AppAuth/1/AAuthSecret");
    let nonce = format!("{account}/AppAuth/2/AAuthData");
    let script = format!(
        "get {secret}\nget {nonce}\nget {account}?list=StructData\nget {account}?list=TNDS\n\
         get ./DMAcc?list=TNDS\nget .?list=StructData\ncopy {secret} {account}/Name\n\
         get {secret}?prop=Size\nget {account}/Name\n"
    );
    let said = managed.session(ONE, &script);
    assert_eq!(said[1..3], [format!("Get {secret} 405"), format!("Get {nonce} 405")]);
    assert!(said.contains(&format!("{account}/Name = before")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("<MgmtTree") || line.contains("AAuthLevel")));
    let shown = managed.tree();
    assert!(shown.contains(&format!("{secret} Some(\"(secret)\") chr")), "{shown:?}");
    assert!(shown.contains(&format!("{nonce} Some(\"(secret)\") bin")), "{shown:?}");
    // Neither as text, nor the nonce as the hexadecimal digits or base64 of octets.
    for text in said.iter().chain(&shown) {
        for hidden in ["gw.example's", "one.example's", "6669727374", "Zmlyc3Q"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
    for event in &managed.lab.events {
        assert!(!event.why.contains("'s secret"), "{event:?}");
    }
}

#[test]
fn an_account_comes_by_the_inbox_and_gets_its_first_session() {
    let mut managed = Managed::active();
    let document = document(TWO, TWO, "");
    let said = managed.session(ONE, &format!("add ./Inbox chr {document}\n"));
    assert_eq!(said, ["1201", "Add ./Inbox 200", "end"]);
    assert_eq!(managed.told(TWO), ["1201", "end"]);
    assert_eq!(managed.state(TWO), "active");
    assert_eq!(managed.leaf(&format!("./DMAcc/{TWO}/Name")).as_deref(), Some("before"));
    // The account of another is not to be overwritten so; what is no account is not taken.
    let before = managed.kept();
    managed.advance(MINUTE);
    managed.told(TWO);
    let said = managed.session(TWO, &format!("add ./Inbox chr {}\n", self::document(ONE, ONE, "")));
    assert_eq!(said[1], "Add ./Inbox 425");
    let said = managed.session(TWO, "add ./Inbox chr hello\n");
    assert_eq!(said[1], "Add ./Inbox 415");
    let after = managed.kept();
    assert!(
        before.iter().filter(|(key, _)| *key != "u").all(|(key, it)| after.get(key) == Some(it))
    );
}

#[test]
fn no_second_account_stands_in_for_a_server_s_own() {
    let mut managed = Managed::active_with(managed_options(Policy::Ignore), &[ONE, TWO]);
    let said = managed.session(
        TWO,
        &format!("add ./DMAcc/0/ServerID chr {ONE}\nadd ./DMAcc/0/ServerID chr three.example\n"),
    );
    assert_eq!(said[1..3], ["Add ./DMAcc/0/ServerID 405", "Add ./DMAcc/0/ServerID 200"]);
}

// --- Alerts ---------------------------------------------------------------------------------------

#[test]
fn servers_are_told_of_devices_that_come_and_go_once_they_want_to_be() {
    let mut managed = Managed::active();
    managed.lab.neighbour("192.168.4.5", 5, Reachable);
    managed.advance(MINUTE);
    assert!(managed.told(ONE).is_empty(), "nobody asked for it");
    managed.session(ONE, "replace ./GwConfig/AttachAlert bool true\n");
    managed.script(ONE, "");
    managed.advance(MINUTE);
    managed.told(ONE);

    // Two devices and a change of mind are one session with the newest state of each.
    managed.lab.neighbour("192.168.4.6", 6, Reachable);
    managed.lab.neighbour("192.168.4.7", 7, Reachable);
    managed.lab.link(0, false);
    managed.lab.link(0, true);
    managed.lab.neighbour("192.168.4.6", 6, Reachable);
    managed.called.clear();
    managed.lab.advance(limits::ALERT_DELAY);
    let (_, call) = managed.lab.calls.front().unwrap();
    let alerts = generic_alerts(call);
    assert_eq!(
        alerts.iter().filter(|it| it.contains("deviceattached:1.1")).count(),
        1,
        "{alerts:?}"
    );
    let payload = payload_of_the_gallery("attached").replace("192.168.4.20", "192.168.4.6");
    let payload = payload.replace("IMEI:490154203237518", &mac_id(6));
    assert!(alerts.iter().any(|it| it.contains(&payload)), "{payload}: {alerts:?}");
    managed.serve();
    assert_eq!(managed.told(ONE), ["1201", "end"]);
    managed.advance(10 * MINUTE);
    assert!(managed.told(ONE).is_empty(), "told once");
}

#[test]
fn alerts_that_did_not_get_through_come_again_with_the_newest_state() {
    let mut managed = Managed::active();
    managed.session(ONE, "replace ./GwConfig/AttachAlert bool true\n");
    managed.script(ONE, "");
    managed.advance(MINUTE);
    managed.instead.insert(ONE.to_owned(), Err("no route".into()));
    managed.lab.neighbour("192.168.4.5", 5, Reachable);
    managed.advance(MINUTE);
    managed.called.clear();
    // A device that comes and goes does not make the server be called each time.
    for _ in 0..50 {
        managed.lab.link(0, false);
        managed.lab.link(0, true);
        managed.lab.neighbour("192.168.4.5", 5, Reachable);
        managed.advance(Duration::from_secs(10));
    }
    assert!(managed.calls_of(ONE).len() < 12);
    managed.lab.link(0, false);
    managed.told(ONE);
    managed.instead.clear();
    let mut alerts = Vec::new();
    for _ in 0..100 {
        managed.lab.advance(MINUTE);
        if let Some((_, call)) = managed.lab.calls.front() {
            alerts.extend(generic_alerts(call));
        }
        managed.serve();
    }
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert!(
        alerts[0].contains("devicedetached:1.0") && alerts[0].contains(&mac_id(5)),
        "{alerts:?}"
    );
    let payload = payload_of_the_gallery("detached").replace("IMEI:490154203237518", &mac_id(5));
    assert!(alerts[0].contains(&payload), "{payload}: {alerts:?}");
    assert_eq!(managed.told(ONE), ["1201", "end"]);
}

#[test]
fn a_device_that_comes_and_goes_makes_a_session_a_minute() {
    let mut managed = Managed::active();
    managed.session(ONE, "replace ./GwConfig/AttachAlert bool true\n");
    managed.script(ONE, "");
    managed.advance(MINUTE);
    managed.called.clear();
    for _ in 0..60 {
        managed.lab.link(0, false);
        managed.lab.link(0, true);
        managed.lab.neighbour("192.168.4.5", 5, Reachable);
        managed.advance(Duration::from_secs(10));
    }
    let sessions = managed.calls_of(ONE);
    assert!((9..=11).contains(&sessions.len()), "{sessions:?}");
}

/// The generic alerts that a message carries: type, source and payload.
/// What the manual's gallery shows as the payload of such an alert.
fn payload_of_the_gallery(what: &str) -> String {
    let path = format!("tests/fixtures/syncml/valid/alert-device{what}.xml");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, payload) = text.split_once("<![CDATA[").unwrap();
    payload.split_once("]]>").unwrap().0.to_owned()
}

fn generic_alerts(call: &dm_gateway::gateway::seam::Call) -> Vec<String> {
    use dm_gateway::proto::syncml::{AlertCode, Command, Encoding};
    let dm_gateway::gateway::seam::CallKind::Message { body, .. } = &call.kind else {
        return Vec::new();
    };
    let message = Encoding::Wbxml.decode(body).unwrap();
    let alerts = message.commands.iter().filter_map(|command| match command {
        Command::Alert(alert) if alert.code == Some(AlertCode::GENERIC) => {
            Some(format!("{:?}", alert.items))
        }
        _ => None,
    });
    alerts.collect()
}
