//! How the gateway comes by accounts, as a whole gateway on a virtual clock: pushes, files, the
//! smartcard, the search for servers that devices want.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Lab, MINUTE, SECOND, name, options, push_of};
use dm_gateway::gateway::Options;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::management::{Operation, ServerOptions, Source as Where};
use dm_gateway::gateway::policy::Policy;
use dm_gateway::gateway::seam::{Call, CallId, CallKind, CallResult, HttpReply, Input, Reply};
use dm_gateway::limits;
use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::bootstrap::dm::TreeForm;
use dm_gateway::proto::bootstrap::security::{Keys, Method, Security, sign};
use dm_gateway::proto::bootstrap::{
    Account, Address, AuthenticationKind, Credential, Level, Profile, Source, cp, dm, push,
};
use dm_gateway::proto::syncml::Encoding;
use dm_gateway::simulate::managing::{self, Answer, Manager, Script};

const SERVER: &str = "com.example.dms";
const URL: &str = "https://dms.example/dm";

// --- Pushed ---------------------------------------------------------------------------------------

#[test]
fn a_pushed_bootstrap_is_taken_in_either_profile_if_it_is_proven() {
    for profile in [Profile::Dm, Profile::Cp] {
        for method in [Method::NetworkPin, Method::UserPin, Method::UserNetworkPin] {
            let mut lab = lab(&[]);
            lab.datagram(&pushed(profile, method, &keys(), &account(SERVER, "one")));
            assert_eq!(lab.state_of(SERVER), "bootstrapping", "{profile:?} {method:?}");
            // The first session starts by itself, and proves the account.
            lab.manage(&mut manager(SERVER, "one", "get ./DevInfo/Man\n"));
            assert_eq!(lab.state_of(SERVER), "active", "{profile:?} {method:?}");
        }
    }
}

#[test]
fn what_is_not_proven_is_refused_in_silence_and_after_some_tries_nothing_is_looked_at() {
    let mut lab = lab(&[]);
    let wrong = Keys { network: Some(Secret::new("x")), user: Some(Secret::new("0000")) };
    let document = dm::write(&account(SERVER, "one"), "gw", TreeForm::Document);
    let bare = datagram(Profile::Dm, None, &document);
    for count in 1..=20 {
        lab.datagram(&bare);
        assert_eq!(lab.refused("bootstrap-unproven"), count, "without a proof nobody guesses");
    }
    for count in 1..=limits::PIN_TRIES as u64 {
        lab.datagram(&pushed(Profile::Cp, Method::UserPin, &wrong, &account(SERVER, "one")));
        assert_eq!(lab.refused("bootstrap-unproven"), 20 + count);
    }
    let right = pushed(Profile::Cp, Method::UserPin, &keys(), &account(SERVER, "one"));
    lab.datagram(&right);
    assert_eq!((lab.refused("bootstrap-tries"), lab.refused("bootstrap-unproven")), (1, 25));
    assert!(lab.calls.is_empty() && lab.sent.is_empty() && lab.commits == 0);
    lab.advance(limits::PIN_WINDOW);
    lab.datagram(&right);
    assert_eq!(lab.state_of(SERVER), "bootstrapping");
}

#[test]
fn without_keys_of_its_own_the_gateway_takes_no_push() {
    let mut options = options(&[Policy::Bootstrap]);
    options.management.keys = Keys::default();
    let mut lab = Lab::new(options);
    for method in [Method::NetworkPin, Method::UserPin] {
        lab.datagram(&pushed(Profile::Dm, method, &keys(), &account(SERVER, "one")));
    }
    assert_eq!(lab.refused("bootstrap-unproven"), 2);
    assert!(lab.nodes().is_empty());
}

#[test]
fn a_proven_push_that_holds_no_account_is_counted_and_changes_nothing() {
    let mut lab = lab(&[]);
    for document in [&b"\x02nonsense"[..], b"", b"<html/>"] {
        let security = sign(Profile::Dm, Method::UserPin, &keys(), document).unwrap();
        lab.datagram(&datagram(Profile::Dm, Some(&security), document));
    }
    assert_eq!(lab.refused("bootstrap-malformed"), 3);
    assert!(lab.commits == 0 && lab.nodes().is_empty());
}

#[test]
fn the_same_push_changes_nothing_the_second_time_nor_after_a_newer_one_nor_after_a_restart() {
    let mut lab = lab(&[]);
    let of = |secret| pushed(Profile::Dm, Method::UserPin, &keys(), &account(SERVER, secret));
    let (old, new) = (of("one"), of("two"));
    lab.datagram(&old);
    lab.manage(&mut manager(SERVER, "one", ""));
    let before = lab.store.records().clone();
    lab.datagram(&old);
    assert_eq!((lab.refused("repeat"), lab.store.records()), (1, &before));
    lab.datagram(&new);
    lab.manage(&mut manager(SERVER, "two", ""));
    let before = lab.store.records().clone();
    lab.datagram(&old);
    lab.restart();
    lab.datagram(&old);
    lab.datagram(&new);
    assert_eq!(lab.store.records(), &before, "a replay brings no old secrets back");
}

#[test]
fn pushes_that_come_while_the_store_is_busy_are_installed_in_their_order_and_once() {
    let mut lab = lab(&[]);
    lab.slow_flash = true;
    for secret in ["one", "one", "two", "two", "one"] {
        lab.datagram(&pushed(Profile::Dm, Method::UserPin, &keys(), &account(SERVER, secret)));
    }
    lab.slow_flash = false;
    lab.commit();
    lab.take_events(EventKind::Bootstrapped);
    lab.manage(&mut manager(SERVER, "two", ""));
    assert_eq!(lab.state_of(SERVER), "active");
}

#[test]
fn a_push_that_the_store_could_not_keep_is_taken_when_it_comes_again() {
    let mut lab = lab(&[]);
    lab.store.fail_next(1);
    let push = pushed(Profile::Cp, Method::NetworkPin, &keys(), &account(SERVER, "one"));
    lab.datagram(&push);
    assert!(lab.nodes().is_empty() && lab.calls.is_empty() && lab.store.records().is_empty());
    assert_eq!(lab.state_of(SERVER), "unknown");
    lab.datagram(&push);
    assert_eq!(lab.state_of(SERVER), "bootstrapping");
}

#[test]
fn a_bootstrap_that_comes_from_a_lan_is_refused() {
    let mut lab = lab(&[]);
    lab.mapped_device(1, &["other"]);
    let push = pushed(Profile::Dm, Method::UserPin, &keys(), &account(SERVER, "one"));
    lab.datagram_from("192.168.4.1:9200", &push);
    assert_eq!(lab.refused("from-lan"), 1);
    assert!(lab.nodes().is_empty());
}

// --- Files ----------------------------------------------------------------------------------------

#[test]
fn a_factory_file_is_applied_once_and_again_when_it_is_another() {
    let mut lab = lab(&[]);
    lab.file("/etc/a.xml", &factory(&[account(SERVER, "one")]));
    lab.manage(&mut manager(SERVER, "one", ""));
    assert_eq!(lab.state_of(SERVER), "active");
    let before = lab.store.records().clone();
    for _ in 0..2 {
        lab.file("/etc/a.xml", &factory(&[account(SERVER, "one")]));
        lab.restart();
    }
    assert_eq!(lab.store.records(), &before);
    lab.file("/etc/a.xml", &factory(&[account(SERVER, "two")]));
    assert_eq!(lab.state_of(SERVER), "bootstrapping");
    lab.manage(&mut manager(SERVER, "two", ""));
    assert_eq!(lab.state_of(SERVER), "active");
}

#[test]
fn an_account_that_a_server_deleted_is_not_resurrected_by_its_file() {
    let mut lab = lab(&[]);
    let file = factory(&[account(SERVER, "one"), account("other", "o")]);
    lab.file("/etc/a.xml", &file);
    let mut manager = manager("other", "o", "delete ./DMAcc/com.example.dms\n");
    let mut document = account(SERVER, "one");
    document.acl = Some("Get=*&Replace=*&Delete=*".into());
    lab.file("/etc/b.xml", &factory(&[document]));
    lab.calls.retain(|(_, call)| call.server == "other");
    lab.manage(&mut manager);
    assert_eq!(lab.nodes(), ["./DMAcc/other"]);
    lab.restart();
    lab.file("/etc/a.xml", &file);
    lab.advance(MINUTE);
    assert_eq!(lab.nodes(), ["./DMAcc/other"]);
}

#[test]
fn a_bad_file_changes_nothing_and_does_not_keep_the_next_from_being_read() {
    let mut lab = lab(&[]);
    lab.file("/etc/a.xml", b"<MgmtTree><Node>");
    lab.file("/etc/b.xml", &factory(&[account(SERVER, "one")]));
    assert_eq!(lab.nodes(), ["./DMAcc/com.example.dms"]);
}

#[test]
fn a_file_that_the_store_could_not_keep_is_applied_at_the_next_start() {
    let mut lab = lab(&[]);
    lab.store.fail_next(1);
    lab.file("/etc/a.xml", &factory(&[account(SERVER, "one")]));
    assert!(lab.nodes().is_empty());
    lab.restart();
    lab.file("/etc/a.xml", &factory(&[account(SERVER, "one")]));
    assert_eq!(lab.nodes(), ["./DMAcc/com.example.dms"]);
}

// --- bootstrap apply ------------------------------------------------------------------------------

#[test]
fn apply_tells_what_it_made_and_what_it_changed() {
    let mut lab = lab(&[]);
    let lines = lab.apply(&factory(&[account(SERVER, "one")])).unwrap();
    assert_eq!(lines, [format!("{SERVER}: account made, {URL}")]);
    let lines = lab.apply(&factory(&[account(SERVER, "two"), account("other", "o")])).unwrap();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("account changed") && lines[1].contains("other: account made"));
    // An operator may say the same thing twice.
    assert!(lab.apply(&factory(&[account(SERVER, "two")])).is_ok());
}

#[test]
fn apply_says_in_one_sentence_why_nothing_was_changed() {
    let mut lab = lab(&[]);
    lab.apply(&factory(&[account(SERVER, "one")])).unwrap();
    let before = lab.store.records().clone();
    let mut bad = account("second", "x");
    bad.addresses[0].text = "ftp://dms.example/".into();
    for (document, says) in [
        (factory(&[account(SERVER, "two"), bad]), "second"),
        (b"what?".to_vec(), "cannot be read"),
        (b"<MgmtTree xmlns='syncml:dmddf1.2'><VerDTD>1.2</VerDTD></MgmtTree>".to_vec(), "account"),
    ] {
        let why = lab.apply(&document).unwrap_err();
        assert!(why.contains(says) && !why.contains('\n'), "{why}");
    }
    lab.store.fail_next(1);
    let why = lab.apply(&factory(&[account(SERVER, "two"), account("other", "o")])).unwrap_err();
    assert!(why.contains("store"), "{why}");
    assert_eq!((lab.store.records(), lab.nodes()), (&before, vec![format!("./DMAcc/{SERVER}")]));
    lab.manage(&mut manager(SERVER, "one", ""));
    assert_eq!(lab.state_of(SERVER), "active", "the account is as it was");
}

#[test]
fn a_new_bootstrap_drops_parts_and_nonces_of_the_account_before() {
    let mut lab = lab(&[]);
    let mut first = account(SERVER, "one");
    first.name = Some("Old".into());
    first.connections = vec!["wan9".into()];
    lab.apply(&factory(&[first])).unwrap();
    lab.manage(&mut manager(SERVER, "one", ""));
    let record = |lab: &Lab| {
        let value = &lab.store.records()[&format!("s{SERVER}").into_bytes()];
        serde_json::from_slice::<serde_json::Value>(value).unwrap()
    };
    assert_eq!(record(&lab)["proven"], true);
    assert_ne!(record(&lab)["client_nonce"], serde_json::json!([]));
    lab.apply(&factory(&[account(SERVER, "two")])).unwrap();
    assert_eq!(record(&lab)["proven"], false);
    assert_eq!(record(&lab)["client_nonce"], serde_json::json!([]));
    let now = lab.now;
    let nodes = lab.gateway.tree("./DMAcc", now).unwrap();
    assert!(!nodes.iter().any(|node| node.uri.contains("ToConRef")), "{nodes:?}");
    assert!(!nodes.iter().any(|node| node.value.as_deref() == Some("Old")));
    lab.manage(&mut manager(SERVER, "two", ""));
    assert_eq!(lab.state_of(SERVER), "active");
}

#[test]
fn a_session_by_the_old_account_spoils_nothing_of_the_new_one() {
    let mut lab = lab(&[]);
    lab.apply(&factory(&[account(SERVER, "one")])).unwrap();
    let (call, old) = lab.calls.pop_front().unwrap();
    lab.apply(&factory(&[account(SERVER, "two")])).unwrap();
    assert_eq!(lab.calls.len(), 1, "the new account has a session of its own at once");
    // The old one's answer comes late, with a new nonce for the old secret.
    let late = answer(&mut manager(SERVER, "one", ""), &old);
    lab.called(call, late);
    assert_eq!(lab.state_of(SERVER), "bootstrapping");
    lab.manage(&mut manager(SERVER, "two", ""));
    assert_eq!(lab.state_of(SERVER), "active");
}

#[test]
fn what_was_on_trial_does_not_undo_a_newer_bootstrap() {
    let mut lab = lab(&[]);
    let mut first = account(SERVER, "one");
    first.name = Some("Old".into());
    lab.apply(&factory(&[first])).unwrap();
    let script = format!("replace ./DMAcc/{SERVER}/Name chr Changed\n");
    lab.manage(&mut manager(SERVER, "one", &script));
    assert!(lab.store.records().contains_key(&b"u"[..]), "the change is on trial");
    lab.apply(&factory(&[account(SERVER, "two")])).unwrap();
    lab.calls.clear();
    lab.advance(2 * limits::TRIAL);
    lab.restart();
    lab.advance(2 * limits::TRIAL);
    lab.manage(&mut manager(SERVER, "two", ""));
    assert_eq!(lab.state_of(SERVER), "active");
    let now = lab.now;
    let nodes = lab.gateway.tree("./DMAcc", now).unwrap();
    assert!(!nodes.iter().any(|node| node.uri.ends_with("/Name")), "{nodes:?}");
}

#[test]
fn accounts_survive_a_restart_with_their_nonces_and_an_unproven_one_gets_its_session_then() {
    let mut lab = lab(&[]);
    lab.apply(&factory(&[account(SERVER, "one"), account("other", "o")])).unwrap();
    let mut server = manager(SERVER, "one", "");
    lab.calls.retain(|(_, call)| call.server == SERVER);
    lab.manage(&mut server);
    lab.restart();
    assert_eq!(
        (lab.state_of(SERVER), lab.state_of("other")),
        ("active".into(), "bootstrapping".into())
    );
    lab.advance(limits::START_SPREAD);
    assert_eq!(lab.called_servers(), ["other"]);
    lab.manage(&mut manager("other", "o", ""));
    lab.operate(Operation::Session { server: SERVER.into() }).unwrap().unwrap();
    // The simulated server goes on with the nonces that it gave before.
    let rounds = lab.manage(&mut server);
    assert_eq!((lab.state_of(SERVER), rounds), ("active".into(), 1), "no challenge was needed");
}

// --- The smartcard --------------------------------------------------------------------------------

#[test]
fn accounts_of_the_card_come_and_go_with_it() {
    let mut lab = lab(&[]);
    let card = |accounts: &[Account]| cp_of(accounts);
    lab.handle(Input::Card(Some(&card(&[account(SERVER, "one"), account("other", "o")]))));
    assert_eq!(lab.nodes().len(), 2);
    lab.calls.clear();
    let before = lab.store.records().clone();
    lab.handle(Input::Card(Some(b"rubbish")));
    lab.handle(Input::Card(Some(b"")));
    lab.restart();
    lab.handle(Input::Card(Some(&card(&[account(SERVER, "one"), account("other", "o")]))));
    assert_eq!(lab.store.records(), &before, "an unreadable card, and the same one, say nothing");
    // What came another way since then is not the card's any more.
    lab.apply(&factory(&[account("other", "p")])).unwrap();
    lab.handle(Input::Card(None));
    assert_eq!(lab.nodes(), ["./DMAcc/other"]);
    assert_eq!(lab.take_events(EventKind::AccountGone).len(), 1);
    lab.restart();
    assert_eq!((lab.state_of(SERVER), lab.nodes().len()), ("unknown".into(), 1));
    lab.handle(Input::Card(Some(&card(&[account(SERVER, "two")]))));
    assert_eq!(lab.nodes().len(), 2);
}

#[test]
fn accounts_that_the_card_changes_are_changed_unless_the_store_fails() {
    let mut lab = lab(&[]);
    lab.handle(Input::Card(Some(&cp_of(&[account(SERVER, "one")]))));
    lab.manage(&mut manager(SERVER, "one", ""));
    lab.store.fail_next(1);
    lab.handle(Input::Card(None));
    assert_eq!(lab.state_of(SERVER), "active");
    lab.handle(Input::Card(None));
    assert_eq!(lab.state_of(SERVER), "unknown");
}

// --- Wanted servers -------------------------------------------------------------------------------

#[test]
fn a_wanted_server_waits_for_approval_and_is_then_looked_for_in_all_sources_in_order() {
    let mut lab = lab(&[Where::Card, service(), fetch()]);
    lab.mapped_device(1, &[SERVER]);
    assert_eq!(lab.state_of(SERVER), "pending-approval");
    lab.advance(limits::SEARCH_RETRY * 3);
    assert!(lab.calls.is_empty());
    lab.push(SERVER, &name(1), 1);
    assert!(lab.sent.is_empty(), "no account, no push");
    let refused = lab.operate(Operation::Approve { server: "nobody.wants.it".into() });
    assert!(refused.unwrap().unwrap_err().contains("wants"));
    let lines = lab.operate(Operation::Approve { server: SERVER.into() }).unwrap();
    assert_eq!(lines.unwrap(), [format!("{SERVER}: approved")]);
    assert_eq!(lab.state_of(SERVER), "bootstrapping");

    let call = lab.next_call();
    assert!(matches!(call.1.kind, CallKind::Card));
    lab.called(call.0, Ok(Reply::Card(None)));
    let call = lab.next_call();
    assert!(matches!(&call.1.kind, CallKind::Services { name } if name == "_boot._tcp.op.example"));
    let found = ["a.op.example.", "bad name", "b.op.example"].map(|it| (it.to_owned(), 8443));
    lab.called(call.0, Ok(Reply::Services(found.into())));
    let query = "?device=gw.example&server=com.example.dms";
    for host in ["a", "b"] {
        let call = lab.next_call();
        assert_eq!(url_of(&call.1), format!("https://{host}.op.example:8443/boot{query}"));
        lab.called(call.0, Ok(http(404, b"")));
    }
    let call = lab.next_call();
    assert_eq!(url_of(&call.1), format!("https://boot.example/get{query}"));
    lab.called(call.0, Ok(http(200, &dm_of(&account(SERVER, "one")))));
    assert_eq!(lab.state_of(SERVER), "bootstrapping");
    lab.manage(&mut manager(SERVER, "one", ""));
    assert_eq!(lab.state_of(SERVER), "active");

    lab.push(SERVER, &name(1), 2);
    assert_eq!(lab.sent.len(), 1, "afterwards pushes of that server pass");
    lab.push("com.example.other", &name(1), 3);
    assert_eq!(lab.sent.len(), 1, "and of no other");
}

#[test]
fn an_allow_list_lets_its_servers_be_looked_for_at_once_and_no_others() {
    let mut lab = allowing(&["com.example.*"], &[fetch()]);
    lab.mapped_device(1, &[SERVER, "org.example.dms"]);
    assert_eq!(lab.called_servers(), [SERVER]);
    assert_eq!(lab.state_of("org.example.dms"), "pending-approval");
}

#[test]
fn without_sources_a_wanted_server_stays_wanted() {
    let mut lab = allowing(&["*"], &[]);
    lab.mapped_device(1, &[SERVER]);
    assert_eq!(lab.state_of(SERVER), "wanted");
    assert!(lab.why(SERVER).contains("bootstrap apply"));
    lab.apply(&factory(&[account(SERVER, "one")])).unwrap();
    lab.manage(&mut manager(SERVER, "one", ""));
    assert_eq!(lab.state_of(SERVER), "active");
}

#[test]
fn dns_leads_out_of_its_domain_only_where_the_operator_says_whom_to_trust() {
    for any_host in [false, true] {
        let mut lab = allowing(&["*"], &[service_with(any_host)]);
        lab.mapped_device(1, &[SERVER]);
        let call = lab.next_call();
        let found =
            ["evil.example", "op.example.evil.example", "evilop.example", "boot.OP.example."];
        let found = found.map(|it| (it.to_owned(), 443));
        lab.called(call.0, Ok(Reply::Services(found[..3].into())));
        if any_host {
            assert!(url_of(&lab.next_call().1).starts_with("https://evil.example:443/boot?"));
            continue;
        }
        assert!(lab.calls.is_empty());
        assert!(lab.why(SERVER).contains("trust"), "{}", lab.why(SERVER));
        lab.advance(limits::SEARCH_RETRY * 3);
        let call = lab.next_call();
        lab.called(call.0, Ok(Reply::Services(found.into())));
        assert!(url_of(&lab.next_call().1).starts_with("https://boot.OP.example:443/boot?"));
    }
}

#[test]
fn an_approval_that_the_store_does_not_keep_is_a_problem_that_status_shows() {
    let mut lab = lab(&[fetch()]);
    // At 192.168.4.1 is the gateway itself.
    lab.mapped_device(2, &[SERVER]);
    assert_eq!(lab.gateway.status(lab.now).problems, [""; 0]);
    lab.store.fail_next(1);
    lab.operate(Operation::Approve { server: SERVER.into() }).unwrap().unwrap_err();
    assert_eq!(lab.state_of(SERVER), "pending-approval");
    let problems = lab.gateway.status(lab.now).problems;
    assert!(problems.iter().any(|problem| problem.contains("store")), "{problems:?}");
}

#[test]
fn a_search_that_fails_tells_why_and_begins_again_later_and_later() {
    let mut lab = allowing(&["*"], &[fetch()]);
    lab.mapped_device(1, &[SERVER]);
    let mut waits = Vec::new();
    for round in 0..4 {
        let call = lab.next_call();
        lab.called(call.0, Err("the certificate is of nobody".into()));
        assert_eq!(lab.state_of(SERVER), "failed", "{round}");
        assert_eq!(lab.why(SERVER), "the certificate is of nobody");
        let begun = lab.now.uptime;
        while lab.calls.is_empty() {
            lab.advance(10 * SECOND);
            assert!(lab.now.uptime - begun < 2 * limits::SESSION_RETRY_MOST);
        }
        waits.push(lab.now.uptime - begun);
    }
    assert!(waits.iter().all(|wait| *wait >= limits::SEARCH_RETRY / 2), "{waits:?}");
    let call = lab.next_call();
    lab.called(call.0, Ok(http(200, &dm_of(&account(SERVER, "one")))));
    lab.manage(&mut manager(SERVER, "one", ""));
    assert_eq!(lab.state_of(SERVER), "active");
}

#[test]
fn a_search_for_what_nobody_wants_any_more_neither_spins_nor_goes_on() {
    let mut lab = allowing(&["*"], &[fetch()]);
    let mut device = lab.mapped_device(1, &[SERVER]);
    let call = lab.next_call();
    lab.called(call.0, Err("no".into()));
    assert_eq!(device.session(&mut lab, &["another"]).unwrap_or(200), 200);
    let other = lab.mapped_device(2, &["another"]);
    drop(other);
    lab.neighbour("192.168.4.1", 1, common::Failed);
    lab.neighbour_removed("192.168.4.1", common::Failed);
    lab.advance(24 * 60 * MINUTE);
    assert_ne!(lab.state_of(SERVER), "bootstrapping");
}

#[test]
fn what_a_bootstrap_server_gives_counts_only_if_it_is_of_the_server_that_was_asked_for() {
    for (reply, says) in [
        (http(200, &dm_of(&account("com.evil", "one"))), "another server"),
        (
            http(200, &factory(&[account(SERVER, "one"), account("com.evil", "x")])),
            "another server",
        ),
        (http(200, b"\x02rubbish"), "cannot be read"),
        (http(302, &dm_of(&account(SERVER, "one"))), "not followed"),
        (http(204, b""), "nothing"),
        (typed("text/html", &dm_of(&account(SERVER, "one"))), "content type"),
        (typed(&badly_signed(), &dm_of(&account(SERVER, "one"))), "not proven"),
        (Reply::Card(Some(cp_of(&[account("com.other", "one")]))), "no account with it"),
    ] {
        let mut lab = allowing(&["*"], &[fetch()]);
        lab.mapped_device(1, &[SERVER]);
        let call = lab.next_call();
        lab.called(call.0, Ok(reply));
        assert_eq!(lab.state_of(SERVER), "failed", "{says}");
        assert!(lab.why(SERVER).contains(says), "{}", lab.why(SERVER));
        assert!(lab.state_of("com.evil") == "unknown");
    }
}

#[test]
fn a_fetched_document_that_the_store_cannot_keep_fails_the_search_which_begins_again() {
    let mut lab = allowing(&["*"], &[fetch()]);
    lab.mapped_device(1, &[SERVER]);
    let call = lab.next_call();
    lab.store.fail_next(1);
    lab.called(call.0, Ok(http(200, &dm_of(&account(SERVER, "one")))));
    assert_eq!(lab.state_of(SERVER), "failed");
    assert!(lab.why(SERVER).contains("store") && lab.nodes().is_empty());
    lab.advance(2 * limits::SEARCH_RETRY + limits::SEARCH_RETRY);
    let call = lab.next_call();
    lab.called(call.0, Ok(http(200, &dm_of(&account(SERVER, "one")))));
    assert_eq!(lab.state_of(SERVER), "bootstrapping");
}

#[test]
fn the_card_gives_a_wanted_server_what_was_deleted_of_it_and_nothing_else() {
    let mut lab = allowing(&["*"], &[Where::Card]);
    let card = cp_of(&[account(SERVER, "one"), account("com.other", "o")]);
    lab.mapped_device(1, &[SERVER, "com.third"]);
    let call = lab.next_call();
    lab.called(call.0, Ok(Reply::Card(Some(card.clone()))));
    assert_eq!(lab.nodes().len(), 2);
    let third = lab.calls.iter().position(|(_, call)| call.server == "com.third").unwrap();
    let third = lab.calls.remove(third).unwrap();
    lab.called(third.0, Ok(Reply::Card(Some(card))));
    assert_eq!(lab.state_of("com.third"), "failed");
    assert!(lab.why("com.third").contains("no account with it"), "{}", lab.why("com.third"));
}

#[test]
fn a_server_id_is_never_used_as_an_address() {
    let ids = [
        "https://evil.example/x",
        "http://127.0.0.1:80/",
        "evil.example",
        "192.0.2.66",
        "//evil.example",
        "evil.example/?a#b",
        "{device}",
        "_boot._tcp.evil.example",
        "evil@evil.example",
        "%0d%0aHost:evil",
    ];
    for id in ids {
        let mut lab = allowing(&["*"], &[Where::Card, service(), fetch()]);
        lab.mapped_device(1, &[id]);
        let mut asked = 0;
        while let Some((call, request)) = lab.calls.pop_front() {
            asked += 1;
            assert!(asked < 10, "{id}");
            let reply = match &request.kind {
                CallKind::Card => Reply::Card(None),
                CallKind::Services { name } => {
                    assert_eq!(name, "_boot._tcp.op.example");
                    Reply::Services(vec![("a.op.example".into(), 443)])
                }
                CallKind::Fetch { url, .. } => {
                    let (base, query) = url.split_once('?').unwrap();
                    let bases = ["https://a.op.example:443/boot", "https://boot.example/get"];
                    assert!(bases.contains(&base), "{url}");
                    let value = query.strip_prefix("device=gw.example&server=").unwrap();
                    let plain = |it: char| it.is_ascii_alphanumeric() || "-._~%".contains(it);
                    assert!(value.chars().all(plain), "{value}");
                    http(404, b"")
                }
                CallKind::Message { .. } => panic!("{id}: there is no account"),
            };
            lab.called(call, Ok(reply));
        }
        assert_eq!((asked, lab.state_of(id)), (4, "failed".into()), "{id}");
    }
}

#[test]
fn an_approval_survives_a_restart_and_the_search_begins_again() {
    let mut lab = lab(&[fetch()]);
    lab.mapped_device(1, &[SERVER]);
    lab.operate(Operation::Approve { server: SERVER.into() }).unwrap().unwrap();
    assert_eq!(lab.called_servers(), [SERVER]);
    lab.restart();
    lab.advance(SECOND);
    assert_eq!(lab.called_servers(), [SERVER]);
    assert_eq!(lab.gateway.devices(lab.now)[0].allowed, Vec::<String>::new());
    let call = lab.next_call();
    lab.called(call.0, Ok(http(200, &dm_of(&account(SERVER, "one")))));
    lab.manage(&mut manager(SERVER, "one", ""));
    lab.restart();
    assert_eq!(lab.state_of(SERVER), "active");
    assert_eq!(lab.gateway.devices(lab.now)[0].allowed, [SERVER], "by the account");
    lab.neighbour("192.168.4.1", 1, common::Reachable);
    lab.take_sent();
    lab.datagram(&push_of(SERVER, &name(1), 9));
    assert_eq!(lab.sent.len(), 1);
}

#[test]
fn a_device_that_comes_back_to_a_bootstrap_lan_wants_its_servers_again() {
    let mut options = options(&[Policy::Bootstrap, Policy::Ignore]);
    options.management.sources = vec![fetch()];
    let mut lab = Lab::new(options);
    lab.mapped_device(1, &[SERVER]);
    lab.neighbour("192.168.4.1", 1, common::Failed);
    lab.neighbour_on(1, "192.168.5.1", common::mac_of(1), common::Reachable);
    lab.advance(MINUTE);
    let refused = lab.operate(Operation::Approve { server: SERVER.into() }).unwrap();
    assert!(refused.is_err(), "{refused:?}");
    lab.options.management.allow = vec!["*".into()];
    lab.restart();
    lab.advance(MINUTE);
    assert!(lab.calls.is_empty(), "on its LAN nothing is looked for");
    lab.neighbour("192.168.4.1", 1, common::Reachable);
    lab.advance(SECOND);
    assert_eq!(lab.called_servers(), [SERVER]);
}

#[test]
fn servers_without_approval_take_no_room_from_those_that_have_it() {
    let mut lab = allowing(&["com.example.*"], &[fetch()]);
    for device in 1..=40 {
        let ids: Vec<_> = (0..10).map(|id| format!("org.spam.{device}.{id}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        lab.neighbour(&format!("192.168.4.{device}"), device, common::Reachable);
        let mut client = common::Client::new(
            &format!("IMEI:4901542032375{device:02}"),
            &format!("192.168.4.{device}"),
        );
        client.session(&mut lab, &ids);
    }
    lab.advance(MINUTE);
    assert!(lab.calls.is_empty());
    lab.mapped_device(50, &[SERVER]);
    assert_eq!(lab.called_servers(), [SERVER]);
}

#[test]
fn a_device_that_wants_very_many_servers_is_bounded() {
    let mut lab = allowing(&["*"], &[fetch()]);
    for device in 1..=60 {
        let ids: Vec<_> = (0..8).map(|id| format!("org.spam.{device}.{id}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        lab.neighbour(&format!("192.168.4.{device}"), device, common::Reachable);
        let mut client = common::Client::new(
            &format!("IMEI:4901542032375{device:02}"),
            &format!("192.168.4.{device}"),
        );
        client.session(&mut lab, &ids);
    }
    lab.advance(MINUTE);
    assert!(
        lab.calls.len() > 100 && lab.calls.len() <= limits::MANAGED_SERVERS,
        "{}",
        lab.calls.len()
    );
    // An operator's word counts for more than what devices want.
    lab.apply(&factory(&[account(SERVER, "one")])).unwrap();
    assert_eq!(lab.state_of(SERVER), "bootstrapping");
}

#[test]
fn servers_that_nobody_wants_any_more_make_room() {
    let mut lab = allowing(&["*"], &[fetch()]);
    let mut device = lab.mapped_device(1, &["first"]);
    for round in 0..60 {
        let ids: Vec<_> = (0..8).map(|id| format!("org.spam.{round}.{id}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        bring(&mut lab, &mut device, &ids);
        lab.advance(MINUTE);
        for (call, _) in std::mem::take(&mut lab.calls) {
            lab.called(call, Ok(http(404, b"")));
        }
    }
    lab.calls.clear();
    bring(&mut lab, &mut device, &[SERVER]);
    lab.advance(MINUTE);
    assert!(lab.called_servers().contains(&SERVER.to_owned()), "{:?}", lab.called_servers());
}

// --- Helpers --------------------------------------------------------------------------------------

trait Bootstraps {
    fn apply(&mut self, document: &[u8]) -> Result<Vec<String>, String>;
    fn file(&mut self, name: &str, document: &[u8]);
    fn next_call(&mut self) -> (CallId, Call);
    fn called_servers(&self) -> Vec<String>;
    fn manage(&mut self, manager: &mut Manager) -> usize;
    fn state_of(&self, server: &str) -> String;
    fn why(&self, server: &str) -> String;
    fn nodes(&self) -> Vec<String>;
}

impl Bootstraps for Lab {
    fn apply(&mut self, document: &[u8]) -> Result<Vec<String>, String> {
        self.operate(Operation::Apply { document: document.to_vec() }).unwrap()
    }

    fn file(&mut self, name: &str, document: &[u8]) {
        self.handle(Input::BootstrapFile { name, document });
    }

    fn next_call(&mut self) -> (CallId, Call) {
        self.calls.pop_front().unwrap()
    }

    fn called_servers(&self) -> Vec<String> {
        self.calls.iter().map(|(_, call)| call.server.clone()).collect()
    }

    /// Lets the server answer until nothing more is posted: how many messages that were.
    fn manage(&mut self, manager: &mut Manager) -> usize {
        let mut rounds = 0;
        while let Some((call, request)) = self.calls.pop_front() {
            rounds += 1;
            assert!(rounds < 20);
            let result = answer(manager, &request);
            self.called(call, result);
        }
        rounds
    }

    fn state_of(&self, server: &str) -> String {
        let servers = self.gateway.servers(self.now);
        let view = servers.into_iter().find(|it| it.id == server);
        view.map_or_else(|| "unknown".to_owned(), |it| it.state)
    }

    fn why(&self, server: &str) -> String {
        let servers = self.gateway.servers(self.now);
        servers.into_iter().find(|it| it.id == server).and_then(|it| it.why).unwrap_or_default()
    }

    /// The accounts' nodes, as the store has them.
    fn nodes(&self) -> Vec<String> {
        let keys = self.store.records().keys();
        let uris = keys.filter_map(|key| std::str::from_utf8(key).ok()?.strip_prefix('t'));
        uris.filter(|uri| uri.starts_with("./DMAcc/") && uri.matches('/').count() == 2)
            .map(str::to_owned)
            .collect()
    }
}

/// A device brings a list unasked.
fn bring(lab: &mut Lab, device: &mut common::Client, servers: &[&str]) {
    device.start();
    let mut commands = device.package1();
    commands.push(common::list_alert(servers));
    let reply = device.say(lab, commands);
    assert_eq!(reply.status_of("Alert"), Some(200), "{reply:?}");
}

fn keys() -> Keys {
    Keys { network: Some(Secret::new("001010123456789")), user: Some(Secret::new("4711")) }
}

fn with(sources: &[Where], allow: &[&str]) -> Options {
    let mut options = options(&[Policy::Bootstrap]);
    options.management.keys = keys();
    options.management.sources = sources.to_vec();
    options.management.allow = allow.iter().map(|it| (*it).to_owned()).collect();
    options.management.parameters =
        [("device", "{device}"), ("server", "{server}")].map(|(a, b)| (a.into(), b.into())).into();
    let server = ServerOptions {
        id: "unrelated".into(),
        allow_http: true,
        encoding: Encoding::Xml,
        interval: None,
    };
    options.management.servers = vec![server];
    options
}

fn lab(sources: &[Where]) -> Lab {
    Lab::new(with(sources, &[]))
}

fn allowing(allow: &[&str], sources: &[Where]) -> Lab {
    Lab::new(with(sources, allow))
}

fn service() -> Where {
    service_with(false)
}

fn service_with(any_host: bool) -> Where {
    Where::Service { name: "_boot._tcp.op.example".into(), path: "boot".into(), any_host }
}

fn fetch() -> Where {
    Where::Fetch("https://boot.example/get".into())
}

fn account(server: &str, secret: &str) -> Account {
    let mut account = Account::new(server, Source::Push);
    account.addresses = vec![Address::uri(URL)];
    let credential = |level, name: &str, secret: String| Credential {
        level,
        kind: AuthenticationKind::Digest,
        name: Some(name.into()),
        secret: Some(Secret::new(secret)),
        nonce: Some(b"first".to_vec()),
    };
    account.credentials = vec![
        credential(Level::Client, "gw", format!("{secret} up")),
        credential(Level::Server, server, format!("{secret} down")),
    ];
    account
}

/// The server of that account.
fn manager(server: &str, secret: &str, script: &str) -> Manager {
    let side = |name: &str, secret: String| {
        let (scheme, nonce) = (Scheme::Md5, b"first".to_vec());
        Some(managing::Account { scheme, name: name.into(), secret: Secret::new(secret), nonce })
    };
    Manager::new(managing::Options {
        id: server.into(),
        client: side("gw", format!("{secret} up")),
        server: side(server, format!("{secret} down")),
        script: Script::parse(script).unwrap(),
        ..managing::Options::default()
    })
}

/// What a server answers to a message.
fn answer(manager: &mut Manager, request: &Call) -> CallResult {
    let CallKind::Message { url, content_type, mac, body, .. } = &request.kind else {
        panic!("no message: {request:?}")
    };
    let encoding = Encoding::of_content_type(content_type).unwrap();
    let fresh = format!("fresh {}", body.len());
    match manager.answer(encoding, body, mac.as_deref(), url, fresh.as_bytes()) {
        Answer::Message { encoding, body, mac } => Ok(Reply::Http(HttpReply {
            status: 200,
            content_type: Some(encoding.content_type().into()),
            mac,
            retry_after: None,
            body,
        })),
        other => panic!("{other:?}"),
    }
}

fn pushed(profile: Profile, method: Method, keys: &Keys, account: &Account) -> Vec<u8> {
    let document = match profile {
        Profile::Dm => dm_of(account),
        Profile::Cp => cp::write(account),
    };
    let security = sign(profile, method, keys, &document).unwrap();
    datagram(profile, Some(&security), &document)
}

fn datagram(profile: Profile, security: Option<&Security>, document: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    push::encode(&mut datagram, 1, profile, security, document);
    datagram
}

fn dm_of(account: &Account) -> Vec<u8> {
    dm::write(account, "gw", TreeForm::Document)
}

/// Accounts as a smartcard has them.
fn cp_of(accounts: &[Account]) -> Vec<u8> {
    let mut text = String::from("<wap-provisioningdoc version=\"1.1\">");
    for account in accounts {
        text += &format!(
            "<characteristic type=\"APPLICATION\"><parm name=\"APPID\" value=\"w7\"/>\
             <parm name=\"PROVIDER-ID\" value=\"{}\"/><parm name=\"ADDR\" value=\"{URL}\"/>",
            account.server_id
        );
        for (level, credential) in ["APPSRV", "CLIENT"].iter().zip(&account.credentials) {
            text += &format!(
                "<characteristic type=\"APPAUTH\"><parm name=\"AAUTHLEVEL\" value=\"{level}\"/>\
                 <parm name=\"AAUTHTYPE\" value=\"DIGEST\"/>\
                 <parm name=\"AAUTHNAME\" value=\"{}\"/><parm name=\"AAUTHSECRET\" value=\"{}\"/>\
                 <parm name=\"AAUTHDATA\" value=\"Zmlyc3Q=\"/></characteristic>",
                credential.name.as_deref().unwrap(),
                credential.secret.as_ref().unwrap().expose(),
            );
        }
        text += "</characteristic>";
    }
    (text + "</wap-provisioningdoc>").into_bytes()
}

/// Accounts as a file of the image has them.
fn factory(accounts: &[Account]) -> Vec<u8> {
    let leaf = |name: &str, value: &str| {
        format!("<Node><NodeName>{name}</NodeName><Value>{value}</Value></Node>")
    };
    let mut text = String::from("<MgmtTree xmlns=\"syncml:dmddf1.2\"><VerDTD>1.2</VerDTD>");
    for (number, account) in accounts.iter().enumerate() {
        text += &format!("<Node><NodeName>a{number}</NodeName><Path>./DMAcc</Path>");
        text += "<RTProperties>";
        if let Some(acl) = &account.acl {
            text += &format!("<ACL>{}</ACL>", acl.replace('&', "&amp;"));
        }
        text += "<Format><node/></Format>\
                 <Type><DDFName>urn:oma:mo:oma-dm-dmacc:1.0</DDFName></Type></RTProperties>";
        text += &leaf("AppID", "w7");
        text += &leaf("ServerID", &account.server_id);
        if let Some(name) = &account.name {
            text += &leaf("Name", name);
        }
        if let Some(connection) = account.connections.first() {
            let inner =
                format!("<Node><NodeName>1</NodeName>{}</Node>", leaf("ConRef", connection));
            text += &format!("<Node><NodeName>ToConRef</NodeName>{inner}</Node>");
        }
        let address = leaf("Addr", &account.addresses[0].text);
        text += &format!(
            "<Node><NodeName>AppAddr</NodeName><Node><NodeName>1</NodeName>{address}</Node></Node>\
             <Node><NodeName>AppAuth</NodeName>"
        );
        for (index, credential) in account.credentials.iter().enumerate() {
            text += &format!("<Node><NodeName>{index}</NodeName>");
            text += &leaf("AAuthLevel", credential.level.name());
            text += &leaf("AAuthType", credential.kind.name());
            text += &leaf("AAuthName", credential.name.as_deref().unwrap());
            text += &leaf("AAuthSecret", credential.secret.as_ref().unwrap().expose());
            text += "<Node><NodeName>AAuthData</NodeName><RTProperties><Format><bin/></Format>\
                     </RTProperties><Value>Zmlyc3Q=</Value></Node></Node>";
        }
        text += "</Node></Node>";
    }
    (text + "</MgmtTree>").into_bytes()
}

fn http(status: u16, body: &[u8]) -> Reply {
    let kind = if body.first() == Some(&b'<') {
        "application/vnd.syncml.dmtnds+xml"
    } else {
        "application/vnd.syncml.dm+wbxml"
    };
    Reply::Http(HttpReply {
        status,
        content_type: Some(kind.into()),
        body: body.to_vec(),
        ..HttpReply::default()
    })
}

fn typed(content_type: &str, body: &[u8]) -> Reply {
    let content_type = Some(content_type.into());
    Reply::Http(HttpReply {
        status: 200,
        content_type,
        body: body.to_vec(),
        ..HttpReply::default()
    })
}

fn badly_signed() -> String {
    let security = Security { method: Method::UserPin, mac: Some([7; 20]) };
    push::content_type(Profile::Dm, Some(&security))
}

fn url_of(call: &Call) -> &str {
    let CallKind::Fetch { url, .. } = &call.kind else { panic!("{call:?}") };
    url
}
