//! What `status` says is wrong, and that it says nothing where nothing is.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[cfg(feature = "simulate")]
#[path = "common/managed.rs"]
mod managed;

use common::{Lab, MINUTE, Reachable, mac_of, name, options};
use dm_gateway::codes::{self, Code};
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::health::{Disk, Facts, HealthLine, Severity, Socket, SocketKind};
use dm_gateway::gateway::policy::Policy;
use dm_gateway::gateway::seam::Input;
use dm_gateway::gateway::view::Health;
use dm_gateway::proto::wsp;

#[test]
fn a_healthy_gateway_has_no_line() {
    let mut lab = Lab::transparent();
    assert_eq!(lines(&lab), []);
    lab.mapped_device(7, &["dms.example"]);
    lab.handle(Input::Facts(healthy_facts()));
    assert_eq!(lines(&lab), []);
    assert_eq!(lab.gateway.status(lab.now).health, Health::Healthy);
}

#[test]
fn a_clock_that_was_never_set_is_a_failure_and_one_without_a_time_server_a_warning() {
    let mut lab = Lab::transparent();
    lab.handle(Input::Facts(Facts { synchronised: Some(false), ..healthy_facts() }));
    told(&lab, codes::CLOCK_UNSYNCHRONISED, Severity::Warn, "not synchronised");
    assert_eq!(lab.gateway.status(lab.now).health, Health::Healthy);
    lab.now.unix = 100;
    told(&lab, codes::CLOCK_WRONG, Severity::Fail, "the clock says 1970-01-01");
    assert_eq!(lab.gateway.status(lab.now).health, Health::Degraded);
}

#[test]
fn a_disk_is_told_of_before_it_is_full() {
    let mut lab = Lab::transparent();
    let disk = |free| Some(Disk { size: 64 << 20, free, files: Some(1000) });
    lab.handle(Input::Facts(Facts { disk: disk(4 << 20), ..healthy_facts() }));
    told(&lab, codes::DISK_LOW, Severity::Warn, "4.0 of 64 MiB");
    lab.handle(Input::Facts(Facts { disk: disk(0), ..healthy_facts() }));
    told(&lab, codes::DISK_FULL, Severity::Fail, "is full");
}

#[test]
fn a_factory_reset_that_is_to_come_is_told_of() {
    let mut lab = Lab::transparent();
    lab.handle(Input::Facts(Facts { reset_ordered: true, ..healthy_facts() }));
    told(&lab, codes::RESET_ORDERED, Severity::Warn, "the next start forgets everything");
}

#[test]
fn sockets_that_wait_are_told_of_and_not_twice_where_their_interface_is_down() {
    let mut lab = Lab::new(options(&[Policy::Transparent, Policy::Ignore]));
    let waits = |kind, lan: Option<&str>, address: &str| Socket {
        kind,
        lan: lan.map(str::to_owned),
        address: address.parse().unwrap(),
        open: false,
    };
    let sockets = vec![
        waits(SocketKind::Push, None, "192.0.2.1:2948"),
        waits(SocketKind::Lan, Some("lan1"), "192.168.5.1:8080"),
    ];
    let facts = Facts { sockets, ..healthy_facts() };
    lab.handle(Input::Facts(facts.clone()));
    told(&lab, codes::PUSH_PORT, Severity::Fail, "192.0.2.1:2948");
    told(&lab, codes::LAN_ADDRESS, Severity::Fail, "192.168.5.1:8080");
    lab.link(1, false);
    lab.handle(Input::Facts(Facts { wan: Some(("wwan0".into(), false)), ..facts }));
    let codes: Vec<_> = lines(&lab).iter().map(|line| line.trouble.code.to_string()).collect();
    assert_eq!(codes, [codes::LAN_DOWN.id, codes::WAN_DOWN.id]);
    assert_eq!(lab.gateway.status(lab.now).health, Health::Degraded);
    lab.link(0, false);
    assert_eq!(lab.gateway.status(lab.now).health, Health::Down);
}

#[test]
fn an_interface_that_goes_and_comes_is_an_event_each_time() {
    let mut lab = Lab::new(options(&[Policy::Transparent, Policy::Ignore]));
    lab.handle(Input::Facts(healthy_facts()));
    lab.events.clear();
    let told = |lab: &mut Lab| {
        let events = std::mem::take(&mut lab.events).into_iter();
        let told = events.map(|event| {
            (event.kind, event.lan.as_deref().map(str::to_owned), event.code().map(|it| it.id))
        });
        told.collect::<Vec<_>>()
    };
    let lan = || Some("lan1".to_owned());
    for _ in 0..2 {
        lab.link(1, false);
        lab.link(1, false);
        lab.handle(Input::Facts(healthy_facts()));
        assert_eq!(told(&mut lab), [(EventKind::LanDown, lan(), Some(codes::LAN_DOWN.id))]);
        lab.link(1, true);
        lab.link(1, true);
        assert_eq!(told(&mut lab), [(EventKind::LanUp, lan(), None)]);
    }
    let wan = |up| Input::Facts(Facts { wan: Some(("wan0".into(), up)), ..healthy_facts() });
    lab.handle(wan(false));
    lab.handle(wan(false));
    assert_eq!(told(&mut lab), [(EventKind::WanDown, None, Some(codes::WAN_DOWN.id))]);
    lab.handle(wan(true));
    assert_eq!(told(&mut lab), [(EventKind::WanUp, None, None)]);
}

#[test]
fn a_hook_that_fails_is_told_of() {
    let mut lab = Lab::transparent();
    let hooks = vec!["/a ended with exit code 7".to_owned(), "/b is not run".to_owned()];
    lab.handle(Input::Facts(Facts { hooks, ..healthy_facts() }));
    told(&lab, codes::HOOK, Severity::Warn, "/a ended with exit code 7, and 1 more");
}

#[test]
fn lost_pushes_are_told_of_for_an_hour() {
    let mut lab = Lab::transparent();
    lab.handle(Input::Facts(Facts { lost: 3, ..healthy_facts() }));
    told(&lab, codes::LOSSES, Severity::Warn, "3 pushes");
    lab.advance(61 * MINUTE);
    lab.handle(Input::Facts(Facts { lost: 3, ..healthy_facts() }));
    assert_eq!(lines(&lab), []);
}

#[test]
fn whoever_has_our_address_is_named() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.1", 0x66, Reachable);
    told(&lab, codes::DUPLICATE, Severity::Fail, &mac_of(0x66).to_string());
}

#[test]
fn another_gateway_that_takes_us_for_an_end_device_is_named() {
    let mut lab = Lab::transparent();
    lab.neighbour("192.168.4.2", 0x66, Reachable);
    // From the WAN it is a stranger's push like any other.
    let package0 = common::package0("gw.other.example", 1);
    let mut push = Vec::new();
    wsp::encode_notification(&mut push, 1, None, &package0);
    lab.datagram_from("198.51.100.7:9200", &push);
    assert_eq!(lines(&lab), []);
    lab.datagram_from("192.168.4.2:9200", &push);
    told(
        &lab,
        codes::RIVAL_GATEWAY,
        Severity::Warn,
        "gw.other.example, is on the LAN at 192.168.4.2",
    );
    lab.advance(25 * 60 * MINUTE);
    assert_eq!(lines(&lab), []);
}

#[test]
fn a_rival_claim_names_both_addresses() {
    let mut lab = Lab::transparent();
    lab.mapped_device(7, &["dms.example"]);
    lab.neighbour("192.168.4.9", 9, Reachable);
    common::Client::new(&name(7), "192.168.4.9").session(&mut lab, &["dms.example"]);
    told(&lab, codes::CONFLICT, Severity::Warn, "is claimed by 192.168.4.9");
    told(&lab, codes::CONFLICT, Severity::Warn, "and 192.168.4.7");
}

#[cfg(feature = "simulate")]
#[test]
fn a_failed_session_is_told_of_by_what_made_it_fail() {
    use dm_gateway::gateway::health::Failed;
    use dm_gateway::simulate::managing::Misbehaviour;
    use managed::{Managed, ONE};
    for (code, why) in [
        (codes::DNS, "the host name has no address"),
        (codes::EXPIRED, "expired on Monday"),
        (codes::UNREACHED, "the server cannot be reached"),
    ] {
        let mut managed = Managed::active();
        managed.instead.insert(ONE.to_owned(), Err(Failed::new(code, why)));
        managed.session(ONE, "");
        told(&managed.lab, code, Severity::Fail, why);
        let status = managed.lab.gateway.status(managed.lab.now);
        assert!(status.problems[0].contains(ONE), "{:?}", status.problems);
        let servers = managed.lab.gateway.servers(managed.lab.now);
        assert_eq!(servers[0].code.as_deref(), Some(code.id));
        // Wherever it is told, it has the same code.
        let details = managed.lab.gateway.server_details(ONE, managed.lab.now).unwrap();
        assert_eq!(details.troubles[0].code, code.id);
        let session = details.session.unwrap();
        assert!(!session.ok && session.trouble.unwrap().code == code.id);
        assert!(details.url.unwrap().starts_with("http") && details.failures > 0);
        assert!(!details.running);
        let [event] = &managed.lab.take_events(EventKind::SessionFailed)[..] else { panic!() };
        assert_eq!(event.code(), Some(code));
    }
    for (misbehaviour, code) in
        [(Misbehaviour::BasicOnly, codes::BASIC), (Misbehaviour::WrongCredentials, codes::UNPROVEN)]
    {
        let mut managed = Managed::active();
        managed.servers.get_mut(ONE).unwrap().set_misbehaviour(Some(misbehaviour));
        managed.session(ONE, "");
        told(&managed.lab, code, Severity::Fail, ONE);
        managed.servers.get_mut(ONE).unwrap().set_misbehaviour(None);
        managed.session(ONE, "");
        assert_eq!(lines(&managed.lab), []);
        let details = managed.lab.gateway.server_details(ONE, managed.lab.now).unwrap();
        assert!(details.session.unwrap().ok && details.failures == 0);
    }
}

#[cfg(feature = "simulate")]
#[test]
fn a_dm_server_reads_how_the_gateway_is_and_of_sessions_its_own_only() {
    use dm_gateway::gateway::health::Failed;
    use managed::{Managed, ONE, TWO, managed_options};
    let mut managed = Managed::active_with(managed_options(Policy::Ignore), &[ONE, TWO]);
    let failed = Failed::new(codes::EXPIRED, "expired on Monday");
    managed.instead.insert(TWO.to_owned(), Err(failed));
    managed.session(TWO, "");
    managed.lab.link(0, false);
    let script = "get ./GwStatus/Health\nget ./GwStatus/Codes\nget ./GwStatus/Servers\n\
                  get ./GwStatus/Servers/0/ServerID\nget ./GwStatus/Servers/0/LastError\n\
                  get ./GwStatus/Servers/1/ServerID\nget ./GwStatus/Counters/managed_sessions\n\
                  replace ./GwStatus/Health fine\n";
    let heard = managed.session(ONE, script).join("\n");
    for told in ["down", "GW-LAN-01", ONE] {
        assert!(heard.contains(told), "{told}: {heard}");
    }
    for secret in [TWO, "Monday", "GW-TLS-02"] {
        assert!(!heard.contains(secret), "{secret}: {heard}");
    }
    // The operator is told of all.
    let nodes = managed.lab.gateway.tree("./GwStatus", managed.lab.now).unwrap();
    let of = |uri: &str| nodes.iter().find(|node| node.uri == uri).unwrap().value.clone();
    assert_eq!(of("./GwStatus/Servers/1/ServerID").as_deref(), Some(TWO));
    assert_eq!(of("./GwStatus/Servers/1/LastCode").as_deref(), Some("GW-TLS-02"));
    assert_eq!(of("./GwStatus/Servers/1/Failures").as_deref(), Some("1"));
    let sessions: u64 = of("./GwStatus/Counters/managed_sessions").unwrap().parse().unwrap();
    assert!(sessions >= 3);
}

fn healthy_facts() -> Facts {
    Facts {
        synchronised: Some(true),
        disk: Some(Disk { size: 1 << 30, free: 1 << 29, files: None }),
        wan: Some(("wan0".into(), true)),
        ..Facts::default()
    }
}

fn lines(lab: &Lab) -> Vec<HealthLine> {
    lab.gateway.status(lab.now).troubles
}

#[track_caller]
fn told(lab: &Lab, code: Code, severity: Severity, word: &str) {
    let lines = lines(lab);
    let found = lines.iter().find(|line| line.trouble.code == code.id);
    let found = found.unwrap_or_else(|| panic!("no {code} in {lines:?}"));
    assert_eq!(found.severity, severity);
    assert!(found.trouble.what.contains(word), "{found:?}");
    assert!(found.trouble.cause.is_some() && found.trouble.next.is_some());
}
