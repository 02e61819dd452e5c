//! Changes that could cut the gateway off are on trial; what is refused, or fails, leaves no trace.

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
use dm_gateway::proto::tree::Facts;
use managed::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const POLICY: &str = "./GwConfig/LAN/lan0/EDBootstrapPolicy";
const SET_POLICY: &str = "replace ./GwConfig/LAN/lan0/EDBootstrapPolicy int 2\n";
const NAME: &str = "./DMAcc/one.example/Name";

fn both() -> Managed {
    Managed::active_with(managed_options(Policy::Ignore), &[ONE, TWO])
}

/// The servers cannot be reached any more.
fn cut(managed: &mut Managed) {
    for server in [ONE, TWO] {
        managed.instead.insert(server.to_owned(), Err("no route".into()));
    }
}

// --- Trials ---------------------------------------------------------------------------------------

#[test]
fn a_critical_change_stays_once_a_further_session_showed_that_the_server_finds_us() {
    let mut managed = both();
    let said = managed.session(ONE, &format!("{SET_POLICY}replace {NAME} chr after\n"));
    let replaced = [format!("Replace {POLICY} 200"), format!("Replace {NAME} 200")];
    assert_eq!(said[1..3], replaced);
    assert!(managed.kept().contains_key("u"), "on trial");
    assert_eq!(managed.events(EventKind::Kept), 0);
    // A session of another server shows nothing.
    managed.session(TWO, "get ./DevInfo/DevId\n");
    assert!(managed.kept().contains_key("u"));
    managed.advance(limits::TRIAL_DELAY);
    // The same commands again change nothing, and so begin no second trial.
    assert_eq!(managed.told(ONE)[1..3], replaced);
    assert!(!managed.kept().contains_key("u"));
    assert_eq!(managed.events(EventKind::Kept), 1);
    let kept = managed.kept();
    managed.advance(2 * limits::TRIAL);
    assert_eq!(managed.kept(), kept);
    assert_eq!(managed.leaf(NAME).as_deref(), Some("after"));
    assert_eq!(managed.leaf(POLICY).as_deref(), Some("2"));
}

#[test]
fn a_critical_change_is_rolled_back_after_ten_minutes_without_a_session() {
    let mut managed = both();
    let (tree, kept) = (managed.tree(), managed.kept());
    managed.session(
        ONE,
        &format!(
            "{SET_POLICY}replace {NAME} chr after\nreplace ./GwConfig/PublicAddress chr 192.0.2.99\n\
             replace ./DMAcc/one.example/AppAddr/1/Addr chr https://elsewhere.example/\n\
             delete ./DMAcc/one.example/AAuthPref\nadd ./DMAcc/one.example/PrefConRef chr wan9\n\
             replace ./DMAcc/one.example?prop=Title chr Mine\n\
             replace ./DMAcc/one.example?prop=ACL chr Get=*&Replace=*&Delete=one.example\n"
        ),
    );
    cut(&mut managed);
    let changed = managed.tree();
    assert_ne!(changed, tree);
    managed.advance(limits::TRIAL - SECOND);
    assert_eq!(managed.tree(), changed);
    assert_eq!(managed.events(EventKind::RolledBack), 0);
    let trial = managed.lab.gateway.status(managed.lab.now).trial.unwrap();
    assert_eq!((&*trial.server, trial.rest), (ONE, 1));
    managed.advance(SECOND);
    assert_eq!(managed.events(EventKind::RolledBack), 1);
    assert_eq!(managed.tree(), tree);
    assert_eq!(managed.kept(), kept);
    let status = managed.lab.gateway.status(managed.lab.now);
    assert_eq!((&*status.lans[0].policy, status.trial), ("ignore", None));
    // It was tried at short intervals.
    assert!(managed.calls_of(ONE).len() > 10);
    managed.instead.clear();
    managed.script(ONE, "");
    managed.advance(limits::SESSION_RETRY_MOST);
    assert_eq!(managed.state(ONE), "active");
    assert_eq!(managed.tree(), tree);
}

#[test]
fn a_trial_goes_on_after_a_reboot_to_either_end() {
    for finds_us in [true, false] {
        let mut managed = both();
        let (tree, kept) = (managed.tree(), managed.kept());
        managed.session(ONE, &format!("{SET_POLICY}replace {NAME} chr after\n"));
        let changed = managed.tree();
        managed.script(ONE, "");
        cut(&mut managed);
        managed.advance(5 * MINUTE);
        managed.lab.restart();
        assert_eq!(managed.tree(), changed);
        if finds_us {
            managed.instead.clear();
        }
        managed.advance(limits::TRIAL);
        let expected = if finds_us { &changed } else { &tree };
        assert_eq!(managed.tree(), *expected);
        assert!(!managed.kept().contains_key("u"));
        assert_eq!(managed.kept() == kept, !finds_us);
        managed.lab.restart();
        assert_eq!(managed.tree(), *expected);
    }
}

#[test]
fn while_one_server_s_change_is_on_trial_another_s_gets_417() {
    let mut managed = both();
    managed.session(ONE, SET_POLICY);
    let script = format!(
        "replace {POLICY} int 1\nreplace ./DMAcc/two.example/Name chr mine\nget {POLICY}\n\
         add ./Inbox chr {}\nreplace ./DMAcc/two.example?prop=Title chr mine\n",
        document("three.example", "three.example", "")
    );
    let before = managed.kept();
    let said = managed.session(TWO, &script);
    let refused = said.iter().filter(|line| line.ends_with(" 417")).count();
    assert_eq!(refused, 4, "{said:?}");
    assert!(said.contains(&format!("{POLICY} = 2")));
    assert_eq!(managed.kept(), before);
    // When it is over they pass.
    managed.advance(MINUTE);
    let said = managed.session(TWO, &format!("replace {POLICY} int 1\n"));
    assert_eq!(said[1], format!("Replace {POLICY} 200"));
}

#[test]
fn the_last_usable_account_cannot_be_deleted_but_one_of_two_can() {
    let mut managed = Managed::active();
    let (tree, kept) = (managed.tree(), managed.kept());
    let account = "./DMAcc/one.example";
    let said = managed.session(
        ONE,
        &format!(
            "delete {account}\ndelete {account}/AppAddr\ndelete {account}/ServerID\n\
             replace {account}/ServerID chr\n"
        ),
    );
    for (line, command) in said[1..5].iter().zip(["Delete", "Delete", "Delete", "Replace"]) {
        assert!(line.starts_with(command) && line.ends_with(" 405"), "{said:?}");
    }
    assert_eq!((managed.tree(), managed.kept()), (tree, kept));

    let mut managed = both();
    let (tree, kept) = (managed.tree(), managed.kept());
    let said = managed.session(ONE, &format!("delete {account}\nget ./DMAcc\n"));
    assert_eq!(said[1], format!("Delete {account} 200"));
    assert!(said.contains(&"./DMAcc = two.example".to_owned()), "{said:?}");
    // Nobody can show that the server finds us without an account: it comes back.
    managed.advance(limits::TRIAL);
    assert_eq!((managed.tree(), managed.kept()), (tree, kept));
    managed.script(ONE, "");
    managed.advance(MINUTE);
    assert_eq!(managed.state(ONE), "active");
}

#[test]
fn a_trial_whose_end_the_store_does_not_keep_is_passed_once_more() {
    let mut managed = both();
    managed.session(ONE, SET_POLICY);
    managed.script(ONE, "");
    managed.lab.store.fail_next(2);
    managed.advance(limits::TRIAL_DELAY);
    assert_eq!((managed.told(ONE).len(), managed.events(EventKind::Kept)), (2, 0));
    assert!(managed.kept().contains_key("u"));
    managed.advance(2 * limits::SESSION_RETRY);
    assert_eq!(managed.events(EventKind::Kept), 1);
    assert!(!managed.kept().contains_key("u"));
    managed.lab.restart();
    managed.advance(2 * limits::TRIAL);
    assert_eq!(managed.leaf(POLICY).as_deref(), Some("2"));
}

#[test]
fn an_account_that_a_roll_back_brings_again_has_its_sessions_again() {
    let mut options = managed_options(Policy::Ignore);
    options.management.servers[1].interval = Some(60 * MINUTE);
    let mut managed = Managed::active_with(options, &[ONE, TWO]);
    let anyones = document(TWO, TWO, "Get=*&amp;Replace=*&amp;Delete=*").into_bytes();
    managed.lab.operate(Operation::Apply { document: anyones }).unwrap().unwrap();
    managed.serve();
    let said = managed.session(ONE, "delete ./DMAcc/two.example\n");
    assert_eq!(said[1], "Delete ./DMAcc/two.example 200");
    assert_eq!(managed.state(TWO), "");
    cut(&mut managed);
    managed.advance(limits::TRIAL);
    assert_eq!((managed.events(EventKind::RolledBack), managed.state(TWO)), (1, "active".into()));
    managed.instead.clear();
    managed.script(ONE, "");
    managed.calls_of(TWO);
    managed.advance(60 * MINUTE);
    assert!(!managed.calls_of(TWO).is_empty());
}

#[test]
fn an_account_that_an_inbox_brought_goes_with_its_trial() {
    let mut managed = Managed::active();
    let records = managed.lab.store.records().clone();
    let (tree, kept) = (managed.tree(), managed.kept());
    cut(&mut managed);
    managed.instead.remove(ONE);
    managed.session(ONE, &format!("add ./Inbox chr {}\n", document(TWO, TWO, "")));
    assert_eq!(managed.state(TWO), "failed");
    assert!(managed.lab.store.records().contains_key(b"stwo.example".as_slice()));
    cut(&mut managed);
    managed.advance(limits::TRIAL);
    assert_eq!((managed.tree(), managed.kept()), (tree, kept));
    assert_eq!(managed.state(TWO), "");
    let now: Vec<_> = managed.lab.store.records().keys().collect();
    assert_eq!(now, records.keys().collect::<Vec<_>>());
}

#[test]
fn what_an_operator_applies_during_a_trial_stays_when_it_is_rolled_back() {
    let mut managed = both();
    managed.session(ONE, &format!("{SET_POLICY}replace {NAME} chr after\n"));
    let applied = document(ONE, ONE, "").replace("before", "operator's").into_bytes();
    cut(&mut managed);
    let apply = dm_gateway::gateway::management::Operation::Apply { document: applied };
    managed.lab.operate(apply).unwrap().unwrap();
    managed.advance(limits::TRIAL);
    assert_eq!(managed.leaf(POLICY).as_deref(), Some("0"));
    assert_eq!(managed.leaf(NAME).as_deref(), Some("operator's"));
    let tree = managed.tree();
    managed.lab.restart();
    assert_eq!(managed.tree(), tree);
}

#[test]
fn a_roll_back_that_the_store_refuses_is_done_once_more() {
    let mut managed = both();
    let kept = managed.kept();
    managed.session(ONE, SET_POLICY);
    cut(&mut managed);
    managed.lab.advance(limits::TRIAL - SECOND);
    managed.lab.calls.clear();
    managed.lab.store.fail_next(1);
    managed.lab.advance(SECOND);
    assert!(managed.kept().contains_key("u"));
    assert_eq!(managed.events(EventKind::RolledBack), 0);
    managed.advance(MINUTE);
    assert_eq!(managed.events(EventKind::RolledBack), 1);
    assert_eq!(managed.kept(), kept);
}

#[test]
fn a_server_that_changes_something_in_every_session_is_not_called_in_a_loop() {
    let mut managed = both();
    managed.session(ONE, &format!("{SET_POLICY}send\nreplace {POLICY} int 1\n"));
    managed.called.clear();
    managed.advance(60 * MINUTE);
    let sessions = managed.told(ONE).iter().filter(|line| *line == "1201").count();
    assert!((10..30).contains(&sessions), "{sessions}");
    managed.script(ONE, "");
    managed.advance(limits::TRIAL);
    assert_eq!(managed.events(EventKind::Kept), 1);
    assert!(!managed.kept().contains_key("u"));
}

#[test]
fn a_trial_that_ends_while_another_change_waits_for_the_store_is_rolled_back_after_it() {
    let mut managed = both();
    let kept = managed.kept();
    managed.session(ONE, SET_POLICY);
    cut(&mut managed);
    managed.advance(limits::TRIAL - SECOND);
    managed.lab.slow_flash = true;
    let document = document(TWO, TWO, "").into_bytes();
    let apply = dm_gateway::gateway::management::Operation::Apply { document };
    assert_eq!(managed.lab.operate(apply), None);
    managed.advance(MINUTE);
    assert_eq!(managed.leaf(POLICY).as_deref(), Some("2"));
    managed.lab.slow_flash = false;
    managed.lab.commit();
    assert_eq!(managed.leaf(POLICY).as_deref(), Some("0"));
    assert_eq!(managed.events(EventKind::RolledBack), 1);
    let keys = |kept: &BTreeMap<String, Vec<u8>>| kept.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&managed.kept()), keys(&kept));
}

// --- Refusals and failures ------------------------------------------------------------------------

#[test]
fn refused_commands_leave_tree_acl_settings_and_store_untouched() {
    let mut managed = both();
    let (tree, kept, commits) = (managed.tree(), managed.kept(), managed.lab.commits);
    let refusals = [
        (format!("replace {POLICY} int 3"), 400),
        (format!("replace {POLICY} int x"), 400),
        (format!("replace {POLICY} chr two"), 415),
        (format!("delete {POLICY}"), 405),
        ("replace ./GwConfig/LAN/lan9/EDBootstrapPolicy int 1".into(), 404),
        ("add ./GwConfig/LAN/lan9 node".into(), 405),
        ("replace ./GwConfig/GwID chr other".into(), 405),
        ("replace ./GwConfig/DefaultMode int 2".into(), 405),
        ("replace ./DMAcc/two.example/Name chr mine".into(), 425),
        ("delete ./DMAcc/two.example".into(), 425),
        ("replace ./DMAcc/two.example?prop=ACL chr Get=*".into(), 425),
        ("replace .?prop=ACL chr Replace=one.example".into(), 425),
        ("delete ./DMAcc".into(), 405),
        ("delete .".into(), 405),
        ("add ./DevInfo/More chr x".into(), 405),
        ("replace ./DevInfo/DevId chr x".into(), 405),
        ("exec ./GwConfig/GwID".into(), 405),
        ("add ./Inbox chr <MgmtTree/>".into(), 415),
        ("copy ./DMAcc/one.example/AppAuth/1/AAuthSecret ./DMAcc/one.example/Name".into(), 405),
        ("get ./Nothing".into(), 404),
    ];
    for (line, code) in refusals {
        let said = managed.session(ONE, &format!("{line}\n"));
        let answer = said.get(1).cloned().unwrap_or_default();
        assert!(answer.ends_with(&format!(" {code}")), "{line}: {said:?}");
        assert_eq!(managed.tree(), tree, "{line}");
        assert_eq!(managed.kept(), kept, "{line}");
    }
    // The commits were those of nonces.
    assert!(managed.lab.commits > commits);
    assert_eq!(managed.events(EventKind::Policy), 0);
    managed.lab.restart();
    assert_eq!(managed.tree(), tree);
}

#[test]
fn an_atomic_with_a_failing_part_rolls_back_tree_and_settings_and_is_no_trial() {
    let mut managed = both();
    let (tree, kept) = (managed.tree(), managed.kept());
    let said = managed.session(
        ONE,
        &format!(
            "atomic\n{SET_POLICY}replace ./GwConfig/AttachAlert bool true\n\
             replace {NAME} chr after\ndelete ./DMAcc/two.example\n\
             replace ./DMAcc/one.example/AAuthPref chr BASIC\nend\n"
        ),
    );
    let codes: Vec<_> =
        said.iter().filter_map(|line| line.rsplit_once(' ')).map(|(_, code)| code).collect();
    assert_eq!(codes, ["507", "216", "216", "216", "425", "215"], "{said:?}");
    assert_eq!((managed.tree(), managed.kept()), (tree, kept));
    assert_eq!(managed.events(EventKind::Policy), 0);
    // Nothing is on trial: the other server may change what it may.
    let said = managed.session(TWO, SET_POLICY);
    assert_eq!(said[1], format!("Replace {POLICY} 200"));
}

#[test]
fn a_store_that_fails_makes_status_500_and_memory_what_it_was() {
    let mut managed = both();
    let (tree, kept) = (managed.tree(), managed.kept());
    managed.begin(ONE, &format!("{SET_POLICY}replace {NAME} chr after\nget {NAME}\n"));
    managed.lab.store.fail_next(1);
    managed.serve();
    let said = managed.told(ONE);
    assert_eq!(said[1..3], [format!("Replace {POLICY} 500"), format!("Replace {NAME} 500")]);
    assert_eq!((managed.tree(), managed.kept()), (tree.clone(), kept.clone()));
    let status = managed.lab.gateway.status(managed.lab.now);
    assert_eq!(status.lans[0].policy, "ignore");
    // Nothing is on trial, and the server still finds us by its nonce.
    managed.script(ONE, "");
    managed.wake(ONE, 5);
    managed.serve();
    assert_eq!(managed.told(ONE), ["1200", "end"]);
    managed.advance(2 * limits::TRIAL);
    assert_eq!((managed.tree(), managed.kept()), (tree, kept));
    assert_eq!(managed.events(EventKind::RolledBack), 0);
}

#[test]
fn what_comes_while_a_change_is_on_its_way_to_flash_waits_for_it() {
    let mut managed = both();
    managed.begin(ONE, SET_POLICY);
    managed.begin(TWO, &format!("get {POLICY}\nreplace {POLICY} int 1\n"));
    managed.lab.slow_flash = true;
    managed.serve();
    // The first server's message waits for the store, the second's for the first's.
    assert!(managed.lab.calls.is_empty());
    assert_eq!(managed.told(ONE), ["1201"]);
    assert_eq!(managed.told(TWO), ["1201"]);
    let status = managed.lab.gateway.status(managed.lab.now);
    assert_eq!(status.lans[0].policy, "ignore", "not before it is on flash");
    let document = document(TWO, TWO, "").into_bytes();
    let apply = dm_gateway::gateway::management::Operation::Apply { document };
    assert_eq!(managed.lab.operate(apply), None);
    managed.lab.slow_flash = false;
    managed.lab.commit();
    managed.serve();
    assert_eq!(managed.told(ONE), [&format!("Replace {POLICY} 200"), "end"]);
    let status = managed.lab.gateway.status(managed.lab.now);
    assert_eq!(status.lans[0].policy, "transparent");
    assert_eq!(managed.lab.operated.len(), 1);
    assert!(managed.lab.operated[0].1.is_ok());
}

// --- Any commands ---------------------------------------------------------------------------------

fn line() -> impl Strategy<Value = String> {
    let node = prop_oneof![
        Just("./DMAcc/one.example"),
        Just("./DMAcc/one.example/Name"),
        Just("./DMAcc/one.example/AppAddr"),
        Just("./DMAcc/one.example/AppAddr/1/Addr"),
        Just("./DMAcc/one.example/AppAuth/2"),
        Just("./DMAcc/one.example/AppAuth/2/AAuthSecret"),
        Just("./DMAcc/one.example/Ext"),
        Just("./DMAcc/one.example/Ext/a/b"),
        Just("./DMAcc/two.example"),
        Just("./DMAcc/two.example/Name"),
        Just("./DMAcc/new"),
        Just("./DMAcc/new/ServerID"),
        Just("./DMAcc/new/AppAuth/x/AAuthName"),
        Just("./DMAcc"),
        Just("./Else"),
        Just("./Else/where"),
        Just("."),
        Just("./GwConfig/AttachAlert"),
        Just("./GwConfig/PublicAddress"),
        Just("./GwConfig/ShareAddress"),
        Just(POLICY),
    ];
    let value = prop_oneof![
        Just("chr 192.0.2.1"),
        Just("chr three.example"),
        Just("bool true"),
        Just("bool false"),
        Just("int 1"),
        Just("int 2"),
        Just("node"),
        Just("bin 00ff"),
    ];
    let property = prop_oneof![
        Just("?prop=Title chr A title"),
        Just("?prop=Name chr renamed"),
        Just("?prop=ACL chr Get=*&Replace=one.example&Delete=one.example&Add=one.example"),
        Just("?prop=ACL chr Get=two.example"),
    ];
    let account = Just(format!("add ./Inbox chr {}", document("x", "x.example", "")));
    let own = Just(format!("add ./Inbox chr {}", document("x", ONE, "Add=*&Get=*&Replace=*")));
    prop_oneof![
        6 => (prop_oneof![Just("add"), Just("replace")], node.clone(), value)
            .prop_map(|(verb, node, value)| format!("{verb} {node} {value}")),
        2 => node.clone().prop_map(|node| format!("delete {node}")),
        2 => (node.clone(), property).prop_map(|(node, it)| format!("replace {node}{it}")),
        1 => (node.clone(), node).prop_map(|(from, to)| format!("copy {from} {to}")),
        1 => account,
        1 => own,
    ]
}

/// Messages of commands, some in an Atomic.
fn script() -> impl Strategy<Value = String> {
    let block = (proptest::collection::vec(line(), 1..5), any::<bool>(), any::<bool>());
    let blocks = proptest::collection::vec(block, 1..5);
    blocks.prop_map(|blocks| {
        let mut script = String::new();
        for (lines, atomic, send) in blocks {
            let lines = lines.join("\n");
            script += &if atomic { format!("atomic\n{lines}\nend\n") } else { lines + "\n" };
            script += if send { "send\n" } else { "" };
        }
        script
    })
}

/// VerNo and TStamp taken out of the nodes: what is only written again is no change to go back on.
fn without_stamps(kept: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let plain = |(key, record): (String, Vec<u8>)| match key.starts_with('t') {
        true => {
            let facts = Facts::decode(&record).unwrap();
            (key, Facts { changed: 0, version: 0, ..facts }.encode())
        }
        false => (key, record),
    };
    // What cuts nobody off is on no trial.
    kept.into_iter().filter(|(key, _)| !is_elsewhere(&key[1..])).map(plain).collect()
}

/// The tree but for what cuts nobody off.
fn tree_of(managed: &mut Managed) -> Vec<String> {
    managed.tree().into_iter().filter(|line| !is_elsewhere(line)).collect()
}

/// Whether a node cuts nobody off: `./Else`, which a script may rename.
fn is_elsewhere(node: &str) -> bool {
    node.starts_with("./Else") || node.starts_with("./renamed")
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 2,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_a_server_does_a_trial_that_fails_restores_store_and_tree(
        script in script(), reboots in any::<bool>(),
    ) {
        let mut managed = both();
        let (tree, kept) = (tree_of(&mut managed), without_stamps(managed.kept()));
        managed.session(ONE, &script);
        cut(&mut managed);
        let changed = tree_of(&mut managed);
        if reboots {
            managed.lab.restart();
            prop_assert_eq!(tree_of(&mut managed), changed);
        }
        managed.advance(limits::TRIAL + MINUTE);
        prop_assert_eq!(tree_of(&mut managed), tree.clone());
        prop_assert_eq!(without_stamps(managed.kept()), kept);
        managed.lab.restart();
        prop_assert_eq!(tree_of(&mut managed), tree);
    }

    #[test]
    fn whatever_a_server_does_and_the_store_refuses_both_stay_one(
        script in script(), refused in 1_usize..4,
    ) {
        let mut managed = both();
        managed.begin(ONE, &script);
        managed.lab.store.fail_next(refused);
        managed.serve();
        let tree = managed.tree();
        managed.lab.restart();
        prop_assert_eq!(managed.tree(), tree);
    }

    #[test]
    fn whatever_a_server_does_what_is_in_memory_is_in_the_store(script in script()) {
        let mut managed = both();
        managed.session(ONE, &script);
        managed.script(ONE, "");
        managed.advance(MINUTE);
        // Another server builds on it.
        managed.session(TWO, "add ./Else/b chr 1\nadd ./Else/where/b chr 2\nadd ./DMAcc/b chr 3\n");
        let tree = managed.tree();
        managed.lab.restart();
        prop_assert_eq!(managed.tree(), tree);
        cut(&mut managed);
        managed.advance(limits::TRIAL + MINUTE);
        let tree = managed.tree();
        managed.lab.restart();
        prop_assert_eq!(managed.tree(), tree);
    }
}
