//! A push over HTTP: it goes the way of a datagram, and each end of that way has its answer.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use dm_gateway::gateway::Prefix;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::policy::Policy;
use dm_gateway::gateway::seam::{Input, PushFault, PushRequest};
use dm_gateway::limits;
use dm_gateway::proto::auth::Secret;
use dm_gateway::proto::ota_http::Field;
use dm_gateway::proto::wsp;

const SERVER: &str = "http://www.someDMServer.com";

/// A Lab with device 5 mapped to [`SERVER`].
fn mapped() -> Lab {
    let mut lab = Lab::transparent();
    lab.mapped_device(5, &[SERVER]);
    lab
}

/// The status of the answer to a push for device 5, which must be there at once.
fn status(lab: &mut Lab, session: u16) -> u16 {
    lab.push_http(SERVER, &name(5), session).unwrap().status
}

/// The status and the counter of a request that is refused.
fn refusal(lab: &mut Lab, fields: &[Field<'_>], body: &[u8]) -> (u16, Vec<String>) {
    refusal_from(lab, "198.51.100.7:9200", PushRequest { method: "POST", fields, body })
}

fn refusal_from(lab: &mut Lab, from: &str, request: PushRequest<'_>) -> (u16, Vec<String>) {
    let before = lab.gateway.status(lab.now);
    let connection = lab.push_request_from(from, request);
    let response = lab.response(connection).unwrap();
    let after = lab.gateway.status(lab.now);
    assert!(lab.take_sent().is_empty());
    assert_eq!(after.counters.pushes, before.counters.pushes + 1);
    assert_eq!(after.counters.pushes_refused, before.counters.pushes_refused + 1);
    let count = |refused: &std::collections::BTreeMap<String, _>, reason: &String| {
        refused.get(reason).map_or(0, |it: &dm_gateway::gateway::view::Refusals| it.count)
    };
    let risen = after
        .refused
        .keys()
        .filter(|reason| count(&after.refused, reason) == count(&before.refused, reason) + 1);
    let risen: Vec<_> = risen.cloned().collect();
    assert_eq!(risen.len(), 1, "{risen:?}");
    let events = lab.take_events(EventKind::Refused);
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event.address, Some(from.parse().unwrap()));
    assert_eq!(String::from_utf8(response.body).unwrap(), format!("{}\n", event.why));
    assert_eq!(response.content_type, Some("text/plain"));
    (response.status, risen)
}

fn expect(status: u16, reason: &str) -> (u16, Vec<String>) {
    (status, vec![reason.to_owned()])
}

// --- 202 --------------------------------------------------------------------------------------

#[test]
fn what_goes_on_is_what_goes_on_of_a_datagram() {
    let mut over_http = mapped();
    let answer = over_http.push_http(SERVER, &name(5), 1).unwrap();
    assert_eq!((answer.status, answer.retry_after), (202, None));
    let mut over_udp = mapped();
    let mut datagram = Vec::new();
    wsp::encode_notification(&mut datagram, 0, Some(&name(5)), &package0(SERVER, 1));
    over_udp.datagram(&datagram);
    let sent = over_http.take_sent();
    assert_eq!(sent, over_udp.take_sent());
    assert_eq!(sent[0].package0(), package0(SERVER, 1));
    let events = over_http.take_events(EventKind::Forwarded);
    assert_eq!(events.len(), 1);
    assert_eq!(events, over_udp.take_events(EventKind::Forwarded));
    let counters = |lab: &Lab| lab.gateway.status(lab.now).counters;
    assert_eq!(counters(&over_http), counters(&over_udp));
    assert_eq!(over_http.probes, over_udp.probes);
}

#[test]
fn the_largest_body_goes_on_whole() {
    let mut lab = mapped();
    let mut body = package0(SERVER, 1);
    body.resize(limits::PUSH_BODY, 0xa5);
    let connection = lab.push_request(&push_fields(&name(5)), &body);
    assert_eq!(lab.response(connection).unwrap().status, 202);
    let sent = lab.take_sent();
    assert_eq!(sent[0].package0(), body);
    assert!(sent[0].datagram.len() <= limits::DATAGRAM);
}

#[test]
fn a_push_for_a_device_that_is_away_is_queued_which_is_202() {
    let mut lab = mapped();
    lab.neighbour("192.168.4.5", 5, Failed);
    assert_eq!(lab.state(&name(5)), "detached");
    assert_eq!(status(&mut lab, 1), 202);
    assert!(lab.take_sent().is_empty());
    assert_eq!(lab.take_events(EventKind::Held).len(), 1);
    lab.advance(MINUTE);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.take_sent()[0].package0(), package0(SERVER, 1));
}

#[test]
fn a_repeat_is_dropped_and_answered_like_the_first() {
    let mut lab = mapped();
    assert_eq!(status(&mut lab, 1), 202);
    lab.take_sent();
    let fields = push_fields("IMEI:490154203237515");
    let repeat = refusal(&mut lab, &fields, &package0(SERVER, 1));
    assert_eq!(repeat, expect(202, "repeat"));
    // Also where the first came as a datagram.
    lab.push(SERVER, &name(5), 2);
    assert_eq!(lab.take_sent().len(), 1);
    let repeat = refusal(&mut lab, &fields, &package0(SERVER, 2));
    assert_eq!(repeat, expect(202, "repeat"));
}

// --- 400, 403, 404 ----------------------------------------------------------------------------

#[test]
fn what_is_no_push_for_a_dm_client_behind_us_is_400() {
    let mut lab = mapped();
    let device = name(5);
    let [kind, application, gateway] = push_fields(&device);
    let body = package0(SERVER, 1);
    let text = ("content-type", &b"text/plain"[..]);
    let mms = ("x-wap-application-id", &b"x-wap-application:mms.ua"[..]);
    let faults: [(&[Field<'_>], &str); 8] = [
        (&[application, gateway], "not-notification"),
        (&[text, application, gateway], "not-notification"),
        (&[kind, gateway], "not-for-dm"),
        (&[kind, mms, gateway], "not-for-dm"),
        (&[kind, application], "not-forwardable"),
        (&[kind, application, ("x-oma-gwmo", b" ")], "malformed-push"),
        (&[kind, application, ("x-oma-gwmo", b"a\x01b")], "malformed-push"),
        (&[kind, application, gateway, gateway], "malformed-push"),
    ];
    for (fields, reason) in faults {
        assert_eq!(refusal(&mut lab, fields, &body), expect(400, reason), "{fields:?}");
    }
    let fields = [kind, application, gateway];
    for body in [&b""[..], &body[..23], &[0xff; 24]] {
        assert_eq!(refusal(&mut lab, &fields, body), expect(400, "malformed-package-0"));
    }
    for method in ["GET", "PUT", "post"] {
        let request = PushRequest { method, fields: &fields, body: &body };
        let refused = refusal_from(&mut lab, "198.51.100.7:1", request);
        assert_eq!(refused, expect(400, "malformed-push"));
    }
}

#[test]
fn an_unknown_device_is_404_and_a_pair_that_is_not_mapped_403() {
    let mut lab = mapped();
    lab.mapped_device(6, &["other.example"]);
    let (five, six) = (name(5), name(6));
    let (five, six) = (push_fields(&five), push_fields(&six));
    let to_nobody = refusal(&mut lab, &push_fields("IMEI:1"), &package0(SERVER, 1));
    assert_eq!(to_nobody, expect(404, "unknown-device"));
    let of_nobody = refusal(&mut lab, &five, &package0("nobody.example", 1));
    assert_eq!(of_nobody, expect(403, "unknown-server"));
    let unmapped = refusal(&mut lab, &six, &package0(SERVER, 1));
    assert_eq!(unmapped, expect(403, "unmapped"));
    let hops = format!("{},{}", name(5), name(6));
    let further = refusal(&mut lab, &push_fields(&hops), &package0(SERVER, 1));
    assert_eq!(further, expect(404, "unknown-device"));
}

#[test]
fn a_lan_that_forwards_with_an_account_only_is_403() {
    let mut lab = Lab::new(options(&[Policy::Bootstrap]));
    lab.mapped_device(5, &[SERVER]);
    let refused = refusal(&mut lab, &push_fields(&name(5)), &package0(SERVER, 1));
    assert_eq!(refused, expect(403, "no-account"));
}

#[test]
fn a_source_outside_trusted_sources_or_on_a_lan_is_403() {
    let mut options = options(&[Policy::Transparent]);
    let (address, length) = ("198.51.100.0".parse().unwrap(), 24);
    let lan = Prefix { address: "192.168.4.0".parse().unwrap(), length };
    options.trusted_sources = vec![Prefix { address, length }, lan];
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &[SERVER]);
    let name = name(5);
    let (fields, body) = (&push_fields(&name), &package0(SERVER, 1));
    let request = || PushRequest { method: "POST", fields, body };
    for from in ["203.0.113.7:1", "[2001:db8::1]:1"] {
        let refused = refusal_from(&mut lab, from, request());
        assert_eq!(refused, expect(403, "untrusted-source"));
    }
    let refused = refusal_from(&mut lab, "192.168.4.5:1", request());
    assert_eq!(refused, expect(403, "from-lan"));
    let connection = lab.push_request_from("[::ffff:198.51.100.9]:1", request());
    assert_eq!(lab.response(connection).unwrap().status, 202);
    let admitted = |source: &str| lab.gateway.admits_push_from(source.parse().unwrap());
    assert!(admitted("198.51.100.1") && !admitted("203.0.113.7") && !admitted("192.168.4.5"));
}

#[test]
fn a_wrong_or_missing_token_is_403_before_anything_else_is_looked_at() {
    let mut options = options(&[Policy::Transparent]);
    options.push_token = Some(Secret::new("an uncommonly long token"));
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &[SERVER]);
    let device = name(5);
    let [kind, application, gateway] = push_fields(&device);
    for value in [
        &b""[..],
        b"Bearer",
        b"Bearer ",
        b"Bearer an uncommonly long toke",
        b"Bearer an uncommonly long token!",
        b"Bearer AN UNCOMMONLY LONG TOKEN",
        b"Basic an uncommonly long token",
        b"an uncommonly long token",
    ] {
        let fields = [kind, application, gateway, ("authorization", value)];
        assert_eq!(refusal(&mut lab, &fields, b""), expect(403, "credentials"));
    }
    let right = ("Authorization", &b"bearer an uncommonly long token"[..]);
    let (with, body) = ([kind, application, gateway, right], package0(SERVER, 1));
    assert_eq!(refusal(&mut lab, &with[..3], &body), expect(403, "credentials"));
    let twice = [kind, application, gateway, right, right];
    assert_eq!(refusal(&mut lab, &twice, &body), expect(403, "credentials"));
    let connection = lab.push_request(&with, &body);
    assert_eq!(lab.response(connection).unwrap().status, 202);
    assert_eq!(lab.take_sent().len(), 1);
}

// --- 429 --------------------------------------------------------------------------------------

#[test]
fn pushes_beyond_the_rate_are_429_by_the_bucket_that_datagrams_use() {
    let mut options = options(&[Policy::Transparent]);
    options.push_interval = Some(SECOND * 5 / 2);
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &[SERVER]);
    for session in 1..=3 {
        assert_eq!(status(&mut lab, session), 202);
        lab.push(SERVER, &name(5), 100 + session);
    }
    assert_eq!(lab.take_sent().len(), 5);
    assert_eq!(lab.refused("push-rate"), 1);
    lab.events.clear();
    let refused = refusal(&mut lab, &push_fields(&name(5)), &package0(SERVER, 6));
    assert_eq!(refused, expect(429, "push-rate"));
    let answer = lab.push_http(SERVER, &name(5), 7).unwrap();
    assert_eq!((answer.status, answer.retry_after), (429, Some(3)));
    lab.advance(SECOND * 3);
    assert_eq!(status(&mut lab, 8), 202);
}

// --- 504 --------------------------------------------------------------------------------------

/// A Lab whose device 5 should be there, while the kernel has no entry of it.
fn swept() -> Lab {
    let mut lab = mapped();
    lab.neighbour_removed("192.168.4.5", Stale);
    assert_eq!(lab.state(&name(5)), "attached");
    lab
}

#[test]
fn a_device_of_which_the_kernel_is_not_sure_is_202_when_it_answers() {
    let mut lab = swept();
    let connection = lab.push_request(&push_fields(&name(5)), &package0(SERVER, 1));
    assert_eq!(lab.response(connection), None);
    assert_eq!(lab.probes, ["192.168.4.5".parse::<std::net::IpAddr>().unwrap()]);
    lab.neighbour("192.168.4.5", 5, Incomplete);
    lab.advance(SECOND);
    assert_eq!(lab.response(connection), None);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.response(connection).unwrap().status, 202);
    assert_eq!(lab.take_sent()[0].package0(), package0(SERVER, 1));
    lab.advance(MINUTE);
    assert_eq!(lab.response(connection), None, "one answer is enough");
}

#[test]
fn a_device_that_does_not_answer_the_kernel_is_504_and_its_push_waits_all_the_same() {
    let mut lab = swept();
    let fields_of = name(5);
    let first = lab.push_request(&push_fields(&fields_of), &package0(SERVER, 1));
    let second = lab.push_request(&push_fields(&fields_of), &package0(SERVER, 2));
    lab.neighbour("192.168.4.5", 5, Incomplete);
    lab.advance(3 * SECOND);
    assert_eq!(lab.response(first), None);
    lab.neighbour("192.168.4.5", 5, Failed);
    for connection in [first, second] {
        assert_eq!(lab.response(connection).unwrap().status, 504);
    }
    assert_eq!(lab.state(&name(5)), "detached");
    // From now on it is known to be away.
    assert_eq!(status(&mut lab, 3), 202);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.take_sent()[0].package0(), package0(SERVER, 3));
}

#[test]
fn a_kernel_that_says_nothing_is_waited_for_five_seconds() {
    let mut lab = swept();
    let first = lab.push_request(&push_fields(&name(5)), &package0(SERVER, 1));
    lab.advance(2 * SECOND);
    let second = lab.push_request(&push_fields(&name(5)), &package0(SERVER, 2));
    lab.advance(limits::PUSH_ANSWER - 2 * SECOND);
    assert_eq!(lab.response(first).unwrap().status, 504);
    assert_eq!(lab.response(second), None);
    lab.advance(2 * SECOND);
    assert_eq!(lab.response(second).unwrap().status, 504);
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.take_sent()[0].package0(), package0(SERVER, 2));
}

#[test]
fn another_device_settles_nothing() {
    let mut lab = mapped();
    lab.mapped_device(6, &[SERVER]);
    lab.neighbour_removed("192.168.4.5", Stale);
    let connection = lab.push_request(&push_fields(&name(5)), &package0(SERVER, 1));
    lab.neighbour("192.168.4.6", 6, Failed);
    lab.neighbour("192.168.4.6", 6, Reachable);
    assert_eq!(lab.response(connection), None);
    lab.link(0, false);
    assert_eq!(lab.response(connection).unwrap().status, 504);
}

#[test]
fn more_requests_than_may_wait_are_answered_at_once() {
    let mut options = options(&[Policy::Transparent]);
    options.push_interval = None;
    let mut lab = Lab::new(options);
    lab.mapped_device(5, &[SERVER]);
    lab.neighbour_removed("192.168.4.5", Stale);
    let answers = (0..=limits::PUSH_ANSWERS)
        .map(|session| lab.push_http(SERVER, &name(5), session as u16).map(|answer| answer.status));
    let answers: Vec<_> = answers.collect();
    let (last, others) = answers.split_last().unwrap();
    assert_eq!(*last, Some(202));
    assert!(others.iter().all(Option::is_none));
    lab.neighbour("192.168.4.5", 5, Reachable);
    assert_eq!(lab.take_sent().len(), 1);
}

// --- What comes to no request -------------------------------------------------------------------

#[test]
fn connections_without_a_request_are_counted_by_what_was_wrong() {
    let mut options = options(&[Policy::Transparent]);
    let address = "198.51.100.0".parse().unwrap();
    options.trusted_sources = vec![Prefix { address, length: 24 }];
    let mut lab = Lab::new(options);
    for (from, fault, reason) in [
        ("198.51.100.7:1", PushFault::Handshake, "tls-handshake"),
        ("198.51.100.7:2", PushFault::Request, "malformed-push"),
        ("203.0.113.7:3", PushFault::Source, "untrusted-source"),
    ] {
        let from = from.parse().unwrap();
        lab.handle(Input::NoPushRequest { from, fault });
        assert_eq!(lab.refused(reason), 1);
        assert_eq!(lab.take_events(EventKind::Refused)[0].address, Some(from));
    }
    let counters = lab.gateway.status(lab.now).counters;
    assert_eq!((counters.pushes, counters.pushes_refused), (3, 3));
}

// --- Two ways, one gateway ----------------------------------------------------------------------

mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push { server: u8, device: u8, session: u16 },
        Kernel { device: u8, state: u8 },
        Wait(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..3_u8, 4..8_u8, 0..6_u16)
                .prop_map(|(server, device, session)| Step::Push { server, device, session }),
            2 => (5..7_u8, 0..5_u8).prop_map(|(device, state)| Step::Kernel { device, state }),
            1 => (0..20_000_u16).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 1..60)
    }

    fn lab() -> Lab {
        let mut lab = Lab::transparent();
        lab.mapped_device(5, &["s0", "s1"]);
        lab.mapped_device(6, &["s1"]);
        lab
    }

    fn other_step(lab: &mut Lab, step: &Step) {
        match *step {
            Step::Push { .. } => {}
            Step::Kernel { device, state } => {
                let ip = format!("192.168.4.{device}");
                match state {
                    0 => lab.neighbour(&ip, device, Reachable),
                    1 => lab.neighbour(&ip, device, Stale),
                    2 => lab.neighbour(&ip, device, Incomplete),
                    3 => lab.neighbour(&ip, device, Failed),
                    _ => lab.neighbour_removed(&ip, Stale),
                }
            }
            Step::Wait(millis) => lab.advance(std::time::Duration::from_millis(millis.into())),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_push_over_http_does_what_a_datagram_does(steps in steps()) {
            let (mut udp, mut http) = (lab(), lab());
            let mut open = Vec::new();
            for step in &steps {
                other_step(&mut udp, step);
                other_step(&mut http, step);
                if let Step::Push { server, device, session } = *step {
                    let (server, device) = (format!("s{server}"), name(device));
                    let body = package0(&server, session);
                    let mut datagram = Vec::new();
                    wsp::encode_notification(&mut datagram, 0, Some(&device), &body);
                    udp.datagram(&datagram);
                    open.push(http.push_request(&push_fields(&device), &body));
                }
                prop_assert_eq!(udp.take_sent(), http.take_sent());
                let (one, other) = (udp.gateway.status(udp.now), http.gateway.status(http.now));
                prop_assert_eq!(one.counters, other.counters);
                prop_assert_eq!(one.refused, other.refused);
                prop_assert_eq!(one.waiting, other.waiting);
                prop_assert_eq!(&udp.events, &http.events);
                prop_assert_eq!(&udp.probes, &http.probes);
            }
            // Each request has one answer, six seconds later at the latest.
            http.advance(6 * SECOND);
            for connection in open {
                let answer = http.response(connection).unwrap();
                prop_assert!([202, 403, 404, 429, 504].contains(&answer.status));
                prop_assert_eq!(http.response(connection), None);
            }
        }

        #[test]
        fn whatever_is_posted_has_one_answer(
            method in "POST|GET|[A-Z]{0,9}",
            fields in proptest::collection::vec(
                (
                    "content-type|x-wap-application-id|x-oma-gwmo|authorization|[a-z-]{0,9}",
                    prop_oneof![
                        Just(b"application/vnd.syncml.notification".to_vec()),
                        Just(b"x-wap-application:syncml.dm".to_vec()),
                        Just(name(5).into_bytes()),
                        proptest::collection::vec(any::<u8>(), 0..300),
                    ],
                ),
                0..9,
            ),
            body in prop_oneof![
                Just(package0(SERVER, 1)),
                proptest::collection::vec(any::<u8>(), 0..100),
            ],
        ) {
            let mut lab = mapped();
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            let request = PushRequest { method: &method, fields: &fields, body: &body };
            let connection = lab.push_request_from("198.51.100.7:1", request);
            let status = lab.response(connection).unwrap().status;
            prop_assert_eq!(status == 202, lab.take_sent().len() == 1);
            prop_assert!([202, 400, 403, 404].contains(&status));
        }
    }
}
