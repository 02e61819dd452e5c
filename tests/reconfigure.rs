//! A new configuration for a gateway that runs: nothing is lost, and what DM servers set meets it.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/managed.rs"]
mod managed;

use common::*;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::management::RemoteValue;
use dm_gateway::gateway::policy::Policy;
use dm_gateway::gateway::seam::NeighbourState;
use dm_gateway::gateway::{Account, Options, Prefix};
use dm_gateway::limits;
use dm_gateway::proto::auth::Secret;
use managed::*;

const POLICY: &str = "./GwConfig/LAN/lan0/EDBootstrapPolicy";
const SET_POLICY: &str = "replace ./GwConfig/LAN/lan0/EDBootstrapPolicy int 2\n";

fn with(options: &Options, change: impl FnOnce(&mut Options)) -> Options {
    let mut options = options.clone();
    change(&mut options);
    options
}

fn policy(managed: &Managed) -> String {
    managed.lab.gateway.status(managed.lab.now).lans[0].policy.clone()
}

fn cut(managed: &mut Managed) {
    for server in [ONE, TWO] {
        managed.instead.insert(server.to_owned(), Err("no route".into()));
    }
}

#[test]
fn mappings_and_held_pushes_survive_a_reload() {
    let mut lab = Lab::transparent();
    let server = "com.example.dms";
    lab.mapped_device(1, &[server]);
    let mappings = lab.mappings();
    assert_eq!(mappings.len(), 1);
    let name = name(1);
    let ip = lab.device(&name).unwrap().address.unwrap();
    let ip = ip.split(':').next().unwrap().to_owned();
    lab.neighbour(&ip, 1, NeighbourState::Failed);
    lab.push(server, &name, 7);
    assert_eq!(lab.take_sent().len(), 0, "it is held");
    let before = lab.gateway.status(lab.now);
    let options = with(&lab.options, |options| {
        options.push_interval = None;
        options.trigger_expiry = 2 * options.trigger_expiry;
        options.lans[0].push_port = 12948;
        options.lans[0].request_burst = 7;
    });
    let report = lab.reconfigure(options);
    assert_eq!((report.remote.len(), report.trial), (0, None));
    assert_eq!(lab.mappings(), mappings);
    let after = lab.gateway.status(lab.now);
    assert_eq!((before.devices, before.waiting), (after.devices, after.waiting));
    assert_eq!(before.counters, after.counters);
    lab.neighbour(&ip, 1, NeighbourState::Reachable);
    lab.advance(SECOND);
    let pushed = lab.take_sent();
    assert!(pushed.iter().any(|sent| sent.to.port() == 12948), "it goes out, to the new port");
    // The same again changes nothing at all.
    let (commits, events) = (lab.commits, lab.events.len());
    lab.reconfigure(lab.options.clone());
    assert_eq!((lab.commits, lab.events.len()), (commits, events));
}

#[test]
fn a_policy_of_the_configuration_has_the_effect_of_one_that_a_server_sets() {
    let outcome = |change: &dyn Fn(&mut Managed)| {
        let mut managed = Managed::active_with(managed_options(Policy::Ignore), &[ONE]);
        managed.lab.neighbour("192.168.4.21", 1, NeighbourState::Reachable);
        managed.lab.advance(MINUTE);
        managed.lab.take_sent();
        change(&mut managed);
        let told = managed.lab.take_events(EventKind::Policy);
        managed.lab.advance(limits::SETTLE + SECOND);
        let asked: Vec<_> = managed.lab.take_sent().iter().map(Sent::server).collect();
        (told.len(), told[0].lan.clone(), asked, policy(&managed))
    };
    let by_server = outcome(&|managed| {
        managed.session(ONE, SET_POLICY);
    });
    let by_file = outcome(&|managed| {
        let options = with(&managed.lab.options, |options| {
            options.lans[0].policy = Policy::Transparent;
        });
        managed.lab.reconfigure(options);
    });
    assert_eq!(by_server, by_file);
    assert_eq!((by_file.0, by_file.2.len(), &*by_file.3), (1, 1, "transparent"));
}

#[test]
fn what_a_server_set_counts_before_the_configuration_unless_it_is_locked() {
    let mut managed = Managed::active();
    managed.session(ONE, SET_POLICY);
    managed.advance(limits::TRIAL_DELAY);
    assert_eq!(policy(&managed), "transparent");
    let bootstrap = with(&managed.lab.options, |options| {
        options.lans[0].policy = Policy::Bootstrap;
    });
    let report = managed.lab.reconfigure(bootstrap.clone());
    let remote = |locked| RemoteValue {
        key: "lan.lan0.policy".to_owned(),
        value: "transparent".into(),
        locked,
    };
    assert_eq!(report.remote, [remote(false)]);
    assert_eq!(policy(&managed), "transparent");

    let locked = with(&bootstrap, |options| options.lans[0].policy_locked = true);
    assert_eq!(managed.lab.reconfigure(locked).remote, [remote(true)]);
    assert_eq!(policy(&managed), "bootstrap");
    let said = managed.session(ONE, SET_POLICY);
    assert!(said.contains(&format!("Replace {POLICY} 405")), "{said:?}");
    let now = managed.lab.now;
    let node = managed.lab.gateway.tree(POLICY, now).unwrap().remove(0);
    assert_eq!((node.value.as_deref(), node.locked), (Some("1"), true));
    // The same after a restart.
    managed.lab.restart();
    assert_eq!(policy(&managed), "bootstrap");

    managed.lab.reconfigure(bootstrap.clone());
    assert_eq!(policy(&managed), "transparent");
    let forbidden = with(&bootstrap, |options| options.management.remote_settings = false);
    managed.lab.reconfigure(forbidden);
    assert_eq!(policy(&managed), "bootstrap");
    assert_eq!(managed.leaf(POLICY).as_deref(), Some("1"));
    managed.lab.reconfigure(bootstrap);
    assert_eq!(policy(&managed), "transparent");
}

#[test]
fn a_change_on_trial_outlives_a_reload_and_is_taken_back_to_the_new_configuration() {
    let mut managed = Managed::active();
    managed.session(ONE, SET_POLICY);
    cut(&mut managed);
    managed.advance(limits::TRIAL / 2);
    let options = with(&managed.lab.options, |options| {
        options.lans[0].policy = Policy::Bootstrap;
    });
    let report = managed.lab.reconfigure(options);
    assert_eq!(report.trial.as_deref(), Some(ONE));
    assert_eq!(policy(&managed), "transparent", "it is neither confirmed nor ended");
    assert_eq!(managed.events(EventKind::Kept) + managed.events(EventKind::RolledBack), 0);
    managed.advance(limits::TRIAL / 2);
    assert_eq!(managed.events(EventKind::RolledBack), 1);
    assert_eq!(policy(&managed), "bootstrap");
}

#[test]
fn a_change_on_trial_is_confirmed_by_its_server_after_a_reload() {
    let mut managed = Managed::active();
    managed.session(ONE, SET_POLICY);
    managed.lab.reconfigure(managed.lab.options.clone());
    managed.advance(limits::TRIAL_DELAY);
    assert_eq!(managed.events(EventKind::Kept), 1);
    assert_eq!(policy(&managed), "transparent");
}

#[test]
fn devices_of_the_configuration_come_and_go() {
    let device = |id: &str, address: &str| Account {
        address: Some(address.parse().unwrap()),
        ..account(id)
    };
    let mut lab = Lab::transparent();
    let both = with(&lab.options, |options| {
        options.accounts = vec![device("IMEI:1", "192.168.4.51"), device("IMEI:2", "192.168.4.52")];
    });
    lab.reconfigure(both.clone());
    assert_eq!((&*lab.state("IMEI:1"), &*lab.state("IMEI:2")), ("attached", "attached"));
    lab.neighbour("192.168.4.52", 2, NeighbourState::Failed);
    assert_eq!(lab.state("IMEI:2"), "detached");
    lab.reconfigure(both.clone());
    assert_eq!(lab.state("IMEI:2"), "detached", "a reload does not bring it back");
    let moved = with(&both, |options| {
        options.accounts.remove(0);
        options.accounts[0].address = Some("192.168.4.53".parse().unwrap());
        options.accounts[0].secret = Some(Secret::new("another"));
    });
    lab.reconfigure(moved);
    assert_eq!((&*lab.state("IMEI:1"), &*lab.state("IMEI:2")), ("detached", "attached"));
    let address = lab.device("IMEI:2").unwrap().address.unwrap();
    assert!(address.contains("192.168.4.53"), "{address}");
}

#[test]
fn pushes_are_judged_by_the_new_configuration_at_once() {
    let mut lab = Lab::transparent();
    let server = "com.example.dms";
    lab.mapped_device(1, &[server]);
    lab.push(server, &mac_id(1), 1);
    assert_eq!(lab.take_sent().len(), 1);
    let closed = with(&lab.options, |options| {
        let address = "192.0.2.200".parse().unwrap();
        options.trusted_sources = vec![Prefix { address, length: 32 }];
    });
    lab.reconfigure(closed.clone());
    lab.advance(MINUTE);
    lab.push(server, &mac_id(1), 2);
    assert_eq!(lab.take_sent().len(), 0);
    let shut = with(&closed, |options| options.trusted_sources.clear());
    let ignore = with(&shut, |options| options.lans[0].policy = Policy::Ignore);
    lab.reconfigure(ignore);
    lab.advance(MINUTE);
    lab.take_sent();
    lab.push(server, &mac_id(1), 3);
    assert_eq!(lab.take_sent().len(), 0, "the policy ends its mappings");
    lab.reconfigure(shut);
    lab.advance(MINUTE);
    lab.take_sent();
    lab.push(server, &mac_id(1), 4);
    assert_eq!(lab.take_sent().len(), 1, "its list has counted since it came");
}

#[test]
fn a_schedule_begins_and_ends_with_the_configuration() {
    let mut managed = Managed::active();
    managed.advance(10 * MINUTE);
    assert_eq!(managed.calls_of(ONE).len(), 0);
    let hourly = with(&managed.lab.options, |options| {
        options.management.servers[0].interval = Some(60 * MINUTE);
    });
    let never = managed.lab.options.clone();
    managed.lab.reconfigure(hourly);
    managed.advance(60 * MINUTE);
    assert!(!managed.calls_of(ONE).is_empty());
    managed.lab.reconfigure(never);
    managed.advance(120 * MINUTE);
    assert_eq!(managed.calls_of(ONE).len(), 0);
}

#[test]
fn what_a_lan_is_made_of_waits_for_a_restart() {
    let mut lab = Lab::transparent();
    let options = with(&lab.options, |options| {
        let mut other = options.lans[0].clone();
        other.name = "other".into();
        options.lans[0].interface = "eth9".to_owned();
        options.lans.push(other);
        options.id = "another.id".to_owned();
    });
    lab.gateway.reconfigure(options, lab.now);
    let status = lab.gateway.status(lab.now);
    assert_eq!((status.lans.len(), &*status.lans[0].interface), (1, "eth0"));
    assert_eq!(status.id, GATEWAY);
}
