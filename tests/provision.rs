//! The gateway as bootstrapper of its end devices: pushed on a trusted link, fetched elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers are part of the tests")]

mod common;

use common::{
    Client, GATEWAY, Lab, MINUTE, Proof, Reachable, SECOND, Sent, Stale, account, mac_id, mac_of,
    name, options,
};
use dm_gateway::gateway::Options;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::management::Operation;
use dm_gateway::gateway::policy::{DeviceAuth, Policy, Verify};
use dm_gateway::gateway::seam::{
    BootstrapRequest, ConnectionId, Input, LanId, MacAddress, Response,
};
use dm_gateway::limits;
use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::bootstrap::push::Received;
use dm_gateway::proto::bootstrap::security::{Keys, Method, Refusal};
use dm_gateway::proto::bootstrap::{Account, AuthenticationKind, Credential, Level, Profile};
use dm_gateway::proto::bootstrap::{Source, read};
use dm_gateway::proto::wsp::Push;
use std::collections::HashSet;

const IP: &str = "192.168.4.5";

/// One LAN on which nobody else listens, `device-auth = "md5"`.
fn trusted() -> Options {
    let mut options = options(&[Policy::Transparent]);
    options.lans[0].trusted_link = true;
    options.lans[0].device_auth = DeviceAuth::Md5;
    options
}

/// The same without trust, with an HTTPS listener.
fn fetching() -> Options {
    let mut options = trusted();
    options.lans[0].trusted_link = false;
    options.lans[0].bootstrap_listen = vec!["192.168.4.1:8443".parse().unwrap()];
    options
}

/// A Lab with device 5 at its address, asked into a session as ever.
fn with_device(options: Options) -> Lab {
    let mut lab = Lab::new(options);
    lab.neighbour(IP, 5, Reachable);
    lab
}

fn provision(lab: &mut Lab, device: &str) -> Result<Vec<String>, String> {
    lab.operate(Operation::Provision { device: device.to_owned() }).expect("an answer")
}

/// What is a bootstrap among the datagrams since this was last asked.
fn bootstraps(lab: &mut Lab) -> Vec<Sent> {
    let is_bootstrap =
        |sent: &Sent| Received::of_push(&Push::decode(&sent.datagram).unwrap()).is_some();
    lab.take_sent().into_iter().filter(is_bootstrap).collect()
}

/// The one account in a document.
fn the_account(document: &[u8]) -> Account {
    let mut accounts = read(document, Source::Push).unwrap();
    assert_eq!(accounts.len(), 1);
    accounts.remove(0)
}

fn pushed(sent: &Sent) -> Account {
    the_account(Received::of_push(&Push::decode(&sent.datagram).unwrap()).unwrap().document)
}

fn only_push(lab: &mut Lab) -> Account {
    let sent = bootstraps(lab);
    assert_eq!(sent.len(), 1, "{sent:?}");
    pushed(&sent[0])
}

fn credential(account: &Account, level: Level) -> &Credential {
    account.credentials.iter().find(|it| it.level == level).unwrap()
}

fn secret(account: &Account, level: Level) -> String {
    credential(account, level).secret.as_ref().unwrap().expose().to_owned()
}

/// A device that has installed an account.
fn installed(id: &str, account: &Account) -> Client {
    let own = credential(account, Level::Client);
    let scheme = match own.kind {
        AuthenticationKind::Basic => Scheme::Basic,
        AuthenticationKind::Digest => Scheme::Md5,
        _ => panic!("{:?}", own.kind),
    };
    Client {
        proof: Some(Proof {
            scheme,
            user: own.name.clone().unwrap(),
            secret: secret(account, Level::Client),
            nonce: own.nonce.clone().unwrap_or_default(),
        }),
        ..Client::new(id, IP)
    }
}

/// Package 1 with the credentials at hand: the Status of SyncHdr.
fn tried(lab: &mut Lab, client: &mut Client) -> u16 {
    client.start();
    let package1 = client.package1();
    let reply = client.say(lab, package1);
    if let (Some(nonce), Some(proof)) = (reply.next_nonce(), &mut client.proof) {
        proof.nonce = nonce;
    }
    reply.header_status()
}

fn get(lab: &mut Lab, from: &str, method: &str, target: &str) -> Response {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1 << 40);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let connection = ConnectionId(number);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let request = BootstrapRequest { method, path, query };
    let from = format!("{from}:40000").parse().unwrap();
    lab.handle(Input::BootstrapRequest { connection, lan: LanId(0), from, request });
    lab.response(connection).unwrap()
}

fn fetch(lab: &mut Lab, from: &str) -> Response {
    get(lab, from, "GET", "/bootstrap")
}

// --- An operator's word, a push ----------------------------------------------------------------

#[test]
fn a_device_gets_secrets_that_open_its_sessions_before_and_after_a_restart() {
    for (auth, profile) in [
        (DeviceAuth::Md5, Profile::Dm),
        (DeviceAuth::Md5, Profile::Cp),
        (DeviceAuth::Basic, Profile::Dm),
        (DeviceAuth::Basic, Profile::Cp),
    ] {
        let mut options = trusted();
        options.lans[0].device_auth = auth;
        options.lans[0].bootstrap_profile = profile;
        let mut lab = with_device(options);
        let lines = provision(&mut lab, &mac_id(5)).unwrap();
        assert_eq!(
            lines,
            [format!("{}: its account for the gateway went to {IP}:2948", mac_id(5))]
        );
        let account = only_push(&mut lab);
        assert_eq!(account.server_id, GATEWAY);
        assert_eq!(account.addresses[0].text, "http://192.168.4.1:8080/dm");
        let own = secret(&account, Level::Client);
        assert!(own.len() == 32 && own != secret(&account, Level::Server));

        // It tells its name only now; the account was made for its Ethernet address.
        let mut client = installed(&name(5), &account);
        assert_eq!(tried(&mut lab, &mut client), 212, "{auth:?} {profile:?}");
        assert_eq!(tried(&mut lab, &mut client), 212);
        lab.restart();
        lab.neighbour(IP, 5, Reachable);
        assert_eq!(tried(&mut lab, &mut client), 212);
        client.proof.as_mut().unwrap().secret.push('x');
        assert_ne!(tried(&mut lab, &mut client), 212);
        assert_eq!(lab.device_ids(), [name(5)]);
    }
}

#[test]
fn a_device_that_installs_its_account_after_a_restart_gets_in_at_once() {
    let mut lab = with_device(trusted());
    provision(&mut lab, &mac_id(5)).unwrap();
    let account = only_push(&mut lab);
    lab.restart();
    lab.neighbour(IP, 5, Reachable);
    // Without a challenge before: the nonce in the account is on flash too.
    assert_eq!(tried(&mut lab, &mut installed(&name(5), &account)), 212);
}

#[test]
fn nothing_leaves_before_its_secrets_are_on_flash() {
    let mut lab = with_device(trusted());
    lab.slow_flash = true;
    assert!(lab.operate(Operation::Provision { device: mac_id(5) }).is_none());
    assert!(bootstraps(&mut lab).is_empty());
    lab.commit();
    let account = only_push(&mut lab);
    let records = lab.store.records();
    let stored = records.iter().find(|(key, _)| key.starts_with(b"p")).unwrap().1;
    let stored = String::from_utf8(stored.clone()).unwrap();
    assert!(stored.contains(&secret(&account, Level::Client)));
    assert!(stored.contains(&secret(&account, Level::Server)));
}

#[test]
fn a_store_that_fails_leaves_the_device_without_an_account() {
    let mut lab = with_device(trusted());
    lab.store.fail_next(2);
    let why = provision(&mut lab, &mac_id(5)).unwrap_err();
    assert_eq!(why, "the store could not keep it");
    assert!(bootstraps(&mut lab).is_empty());
    // The next try is as good as the first.
    provision(&mut lab, &mac_id(5)).unwrap();
    let account = only_push(&mut lab);
    assert_eq!(tried(&mut lab, &mut installed(&name(5), &account)), 212);
}

#[test]
fn every_device_has_secrets_of_its_own_and_keeps_them_when_asked_for_again() {
    let mut lab = Lab::new(trusted());
    let mut seen = HashSet::new();
    for number in 1..=20 {
        lab.neighbour(&format!("192.168.4.{}", 100 + number), number, Reachable);
        provision(&mut lab, &mac_id(number)).unwrap();
        let account = only_push(&mut lab);
        assert!(seen.insert(secret(&account, Level::Client)));
        assert!(seen.insert(secret(&account, Level::Server)));
        provision(&mut lab, &mac_id(number)).unwrap();
        let again = only_push(&mut lab);
        assert_eq!(secret(&again, Level::Client), secret(&account, Level::Client));
        assert_ne!(credential(&again, Level::Client).nonce, account.credentials[0].nonce);
    }
}

#[test]
fn a_pin_proves_the_push_to_the_device_and_a_wrong_one_does_not() {
    for profile in [Profile::Dm, Profile::Cp] {
        let mut options = trusted();
        options.lans[0].bootstrap_profile = profile;
        let mut known = account(&mac_id(5));
        (known.secret, known.server_secret) = (None, None);
        known.pin = Some(Secret::new("4711"));
        options.accounts.push(known);
        let mut lab = with_device(options);
        provision(&mut lab, &mac_id(5)).unwrap();
        let sent = bootstraps(&mut lab).remove(0);
        let push = Push::decode(&sent.datagram).unwrap();
        let received = Received::of_push(&push).unwrap();
        assert_eq!(received.profile, profile);
        assert_eq!(received.security.unwrap().method, Method::UserPin);
        let keys = |pin: &str| Keys { network: None, user: Some(Secret::new(pin)) };
        assert_eq!(received.verify(&keys("4711")), Ok(()));
        assert_eq!(received.verify(&keys("4712")), Err(Refusal::Wrong));
        assert_eq!(tried(&mut lab, &mut installed(&name(5), &pushed(&sent))), 212);
    }
}

#[test]
fn configured_secrets_win() {
    let mut options = trusted();
    options.accounts.push(account(&mac_id(5)));
    let mut lab = with_device(options);
    provision(&mut lab, &mac_id(5)).unwrap();
    let given = only_push(&mut lab);
    assert_eq!(secret(&given, Level::Client), "device-secret");
    assert_eq!(secret(&given, Level::Server), "server-secret");
    assert!(lab.store.records().keys().all(|key| !key.starts_with(b"p")));

    // Also over those that the device was given before it was configured.
    let mut lab = with_device(trusted());
    provision(&mut lab, &mac_id(5)).unwrap();
    let given = only_push(&mut lab);
    lab.options.accounts.push(account(&mac_id(5)));
    lab.restart();
    lab.neighbour(IP, 5, Reachable);
    let mut client = installed(&mac_id(5), &given);
    assert_ne!(tried(&mut lab, &mut client), 212);
    let mut client = Client { session_id: 0x20, ..installed(&mac_id(5), &given) };
    client.proof.as_mut().unwrap().secret = "device-secret".to_owned();
    assert_eq!(tried(&mut lab, &mut client), 212);
}

#[test]
fn a_configured_server_secret_is_not_replaced_and_a_missing_one_is_left_out() {
    let mut options = trusted();
    let mut known = account(&mac_id(5));
    known.secret = None;
    options.accounts.push(known);
    let mut lab = with_device(options);
    provision(&mut lab, &mac_id(5)).unwrap();
    assert_eq!(secret(&only_push(&mut lab), Level::Server), "server-secret");

    let mut options = trusted();
    let mut known = account(&mac_id(5));
    known.server_secret = None;
    options.accounts.push(known);
    let mut lab = with_device(options);
    provision(&mut lab, &mac_id(5)).unwrap();
    let given = only_push(&mut lab);
    assert!(given.credentials.iter().all(|it| it.level == Level::Client));
}

#[test]
fn what_cannot_be_done_is_a_sentence_and_sends_nothing() {
    let mut options = trusted();
    options.lans[0].trusted_link = false;
    let mut lab = with_device(options);
    let why = provision(&mut lab, &mac_id(5)).unwrap_err();
    assert_eq!(
        why,
        "LAN lan0 is no trusted link, and a bootstrap carries secrets in clear; try: \
         `trusted-link = true` if nobody else is on it, or `bootstrap-listen` so that devices \
         fetch it over HTTPS"
    );
    let why = provision(&mut lab, "IMEI:9").unwrap_err();
    assert_eq!(why, "no device IMEI:9 is known; try: dm-gateway devices");
    assert!(provision(&mut lab, "").unwrap_err().starts_with("no device"));

    let mut lab = with_device(trusted());
    lab.link(0, false);
    let why = provision(&mut lab, &mac_id(5)).unwrap_err();
    assert_eq!(why, format!("{}: the device is away", mac_id(5)));

    let mut options = trusted();
    options.lans[0].listen = vec!["0.0.0.0:8080".parse().unwrap()];
    let mut wildcard = with_device(options);
    let why = provision(&mut wildcard, &mac_id(5)).unwrap_err();
    assert!(why.contains("listens on no address of its own that 192.168.4.5 could be told"));
    for lab in [&mut lab, &mut wildcard] {
        assert!(bootstraps(lab).is_empty());
        assert!(lab.store.records().keys().all(|key| !key.starts_with(b"p")));
    }
}

#[test]
fn an_account_of_one_device_opens_no_session_in_the_name_of_another() {
    let mut lab = Lab::new(trusted());
    for number in [5, 6] {
        lab.neighbour(&format!("192.168.4.{number}"), number, Reachable);
        provision(&mut lab, &mac_id(number)).unwrap();
    }
    let accounts: Vec<_> = bootstraps(&mut lab).iter().map(pushed).collect();
    let mut own = installed(&name(6), &accounts[1]);
    own.ip = "192.168.4.6".parse().unwrap();
    assert_eq!(tried(&mut lab, &mut own), 212);
    // Device 5 with its own account, as device 6.
    let mut rival = installed(&name(6), &accounts[0]);
    assert_ne!(tried(&mut lab, &mut rival), 212);
    rival.source = mac_id(6);
    assert_ne!(tried(&mut lab, &mut rival), 212);
    let mut rival = installed(&mac_id(5), &accounts[0]);
    rival.device_id = name(6);
    rival.start();
    let package1 = rival.package1();
    assert_eq!(rival.say(&mut lab, package1).header_status(), 403);
    assert_eq!(lab.device_ids().len(), 2);
}

#[test]
fn secrets_are_in_no_event_and_no_answer() {
    let mut options = trusted();
    options.lans[0].provision = true;
    let mut lab = with_device(options);
    lab.advance(SECOND);
    let account = only_push(&mut lab);
    let lines = provision(&mut lab, &mac_id(5)).unwrap();
    let mut text = format!("{lines:?} {:?} {:?}", lab.events, lab.gateway);
    text += &serde_json::to_string(&lab.gateway.devices(lab.now)).unwrap();
    text += &serde_json::to_string(&lab.gateway.status(lab.now)).unwrap();
    assert!(lab.events.iter().any(|event| event.kind == EventKind::Provisioned));
    for level in [Level::Client, Level::Server] {
        assert!(!text.contains(&secret(&account, level)));
    }
}

// --- By itself -----------------------------------------------------------------------------------

fn by_itself() -> Options {
    let mut options = trusted();
    options.lans[0].provision = true;
    options
}

#[test]
fn a_new_device_gets_its_account_by_itself_once() {
    let mut lab = with_device(by_itself());
    lab.advance(SECOND);
    let account = only_push(&mut lab);
    let mut client = installed(&name(5), &account);
    assert_eq!(tried(&mut lab, &mut client), 212);
    lab.advance(24 * 60 * MINUTE);
    for _ in 0..3 {
        lab.neighbour(IP, 5, common::Failed);
        lab.neighbour(IP, 5, Reachable);
        lab.advance(60 * MINUTE);
    }
    lab.restart();
    lab.neighbour(IP, 5, Reachable);
    lab.advance(60 * MINUTE);
    assert!(bootstraps(&mut lab).is_empty());
    assert_eq!(tried(&mut lab, &mut client), 212);
}

#[test]
fn devices_that_come_together_all_get_theirs() {
    let mut lab = Lab::new(by_itself());
    lab.slow_flash = true;
    for number in 1..=30 {
        lab.neighbour(&format!("192.168.4.{number}"), number, Reachable);
    }
    lab.advance(SECOND);
    for _ in 0..100 {
        lab.commit();
    }
    let sent = bootstraps(&mut lab);
    let targets: HashSet<_> = sent.iter().map(|sent| sent.to.ip()).collect();
    assert_eq!((sent.len(), targets.len()), (30, 30));
}

#[test]
fn made_up_addresses_do_not_use_up_the_accounts_that_there_may_be() {
    let mut lab = Lab::new(by_itself());
    let (most, more) = (limits::RANDOM_DEVICES, 40);
    for number in 0..most + more {
        let [_, _, high, low] = (number as u32).to_be_bytes();
        let mac = MacAddress([2, 0, 0, 0, high, low]);
        let ip = format!("10.0.{high}.{low}");
        lab.neighbour_on(0, &ip, mac, Reachable);
        lab.advance(limits::SETTLE);
        lab.neighbour_on(0, &ip, mac, common::Failed);
    }
    assert!(bootstraps(&mut lab).len() > most);
    let given = |lab: &Lab| lab.store.records().keys().filter(|key| key[0] == b'p').count();
    assert_eq!(given(&lab), most);
    lab.restart();
    assert_eq!(given(&lab), most);
}

#[test]
fn a_device_with_a_configured_account_is_left_alone() {
    let mut options = by_itself();
    options.accounts.push(account(&mac_id(5)));
    let mut lab = with_device(options);
    lab.advance(60 * MINUTE);
    assert!(bootstraps(&mut lab).is_empty());
}

#[test]
fn a_device_that_does_not_answer_is_not_flooded() {
    let mut lab = with_device(by_itself());
    let mut times = Vec::new();
    for second in 0..24 * 3600 {
        lab.advance(SECOND);
        // It also comes and goes.
        if second % 20 == 19 {
            lab.neighbour(IP, 5, common::Failed);
            lab.neighbour(IP, 5, Reachable);
        }
        times.extend(bootstraps(&mut lab).iter().map(|_| second));
    }
    assert_eq!(times.len(), usize::from(limits::OFFERS), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{times:?}");
}

#[test]
fn a_push_that_got_lost_is_repeated_with_the_same_secrets() {
    let mut lab = with_device(by_itself());
    lab.advance(SECOND);
    let lost = only_push(&mut lab);
    lab.restart();
    lab.neighbour(IP, 5, Stale);
    lab.advance(SECOND);
    let account = only_push(&mut lab);
    assert_eq!(secret(&account, Level::Client), secret(&lost, Level::Client));
    assert_eq!(tried(&mut lab, &mut installed(&name(5), &account)), 212);
    lab.advance(60 * MINUTE);
    assert!(bootstraps(&mut lab).is_empty());
}

#[test]
fn what_fails_by_itself_is_tried_again() {
    let mut lab = with_device(by_itself());
    lab.store.fail_next(2);
    lab.advance(SECOND);
    assert!(bootstraps(&mut lab).is_empty());
    lab.advance(2 * MINUTE);
    let account = only_push(&mut lab);
    assert_eq!(tried(&mut lab, &mut installed(&name(5), &account)), 212);

    // A lease tells of a device that the kernel has not seen yet.
    let mut lab = Lab::new(by_itself());
    lab.leases(&[(5, IP)]);
    lab.advance(10 * SECOND);
    assert!(bootstraps(&mut lab).is_empty());
    assert!(lab.probes.contains(&IP.parse().unwrap()));
    lab.neighbour(IP, 5, Reachable);
    lab.advance(2 * MINUTE);
    assert_eq!(bootstraps(&mut lab).len(), 1);
}

#[test]
fn no_device_is_provisioned_by_itself_without_the_key_or_where_others_listen() {
    for options in [trusted(), {
        let mut options = by_itself();
        options.lans[0].trusted_link = false;
        options
    }] {
        let mut lab = with_device(options);
        lab.advance(60 * MINUTE);
        assert!(bootstraps(&mut lab).is_empty());
    }
}

// --- Over HTTPS --------------------------------------------------------------------------------

#[test]
fn where_others_listen_the_device_fetches_its_account_once() {
    for profile in [Profile::Dm, Profile::Cp] {
        let mut options = fetching();
        options.lans[0].bootstrap_profile = profile;
        let mut lab = with_device(options);
        assert_eq!(fetch(&mut lab, IP).status, 403);
        assert_eq!(lab.refused("bootstrap-closed"), 1);
        let lines = provision(&mut lab, &mac_id(5)).unwrap();
        // 1 800 000 000 is 08:00:00 UTC.
        let id = mac_id(5);
        assert_eq!(
            lines,
            [format!(
                "{id}: it may fetch its account for the gateway, once, from \
                 https://192.168.4.1:8443/bootstrap within 10 minutes, until 08:10:00 UTC"
            )]
        );
        assert!(bootstraps(&mut lab).is_empty());
        let response = fetch(&mut lab, IP);
        let kind = match profile {
            Profile::Dm => "application/vnd.syncml.dm+wbxml",
            Profile::Cp => "application/vnd.wap.connectivity-wbxml",
        };
        assert_eq!((response.status, response.content_type), (200, Some(kind)));
        assert_eq!(lab.take_events(EventKind::Provisioned).len(), 1);
        assert_eq!(fetch(&mut lab, IP).status, 403);
        let account = the_account(&response.body);
        assert_eq!(tried(&mut lab, &mut installed(&name(5), &account)), 212);
    }
}

#[test]
fn the_window_closes_after_ten_minutes_and_opens_again() {
    let mut lab = with_device(fetching());
    provision(&mut lab, &mac_id(5)).unwrap();
    lab.advance(10 * MINUTE - SECOND);
    lab.neighbour(IP, 5, Reachable);
    assert_eq!(fetch(&mut lab, IP).status, 200);
    provision(&mut lab, &mac_id(5)).unwrap();
    lab.advance(10 * MINUTE);
    assert_eq!(fetch(&mut lab, IP).status, 403);
    provision(&mut lab, &mac_id(5)).unwrap();
    lab.restart();
    lab.neighbour(IP, 5, Reachable);
    assert_eq!(fetch(&mut lab, IP).status, 403, "no window outlives the process");
}

#[test]
fn nobody_else_gets_the_account() {
    let mut lab = with_device(fetching());
    lab.neighbour("192.168.4.6", 6, Reachable);
    provision(&mut lab, &mac_id(5)).unwrap();
    let named = format!("/bootstrap?device={}", mac_id(5));
    assert_eq!(fetch(&mut lab, "192.168.4.6").status, 403);
    assert_eq!(get(&mut lab, "192.168.4.6", "GET", &named).status, 403);
    assert_eq!(lab.refused("spoofed"), 1);
    // Nobody known to the kernel, and a device that took the other's address.
    assert_eq!(fetch(&mut lab, "192.168.4.77").status, 403);
    assert_eq!(lab.refused("unverified"), 1);
    lab.neighbour_on(0, IP, mac_of(9), Reachable);
    assert_eq!(fetch(&mut lab, IP).status, 403);
    lab.neighbour(IP, 5, Reachable);
    assert_eq!(get(&mut lab, IP, "GET", "/bootstrap?device=IMEI:404").status, 404);
    assert_eq!(lab.refused("unknown-device"), 1);
    for (method, path) in [("POST", "/bootstrap"), ("GET", "/"), ("GET", "/dm"), ("HEAD", "/x")] {
        assert_eq!(get(&mut lab, IP, method, path).status, 404);
    }
    assert_eq!(lab.refused("bootstrap-request"), 4);
    assert_eq!(get(&mut lab, IP, "GET", &named).status, 200, "the window is still open");
}

#[test]
fn a_lan_without_neighbours_believes_the_name_in_the_query() {
    let mut options = fetching();
    options.lans[0].verify = Verify::None;
    let mut lab = with_device(options);
    let line = provision(&mut lab, &mac_id(5)).unwrap().remove(0);
    assert!(line.contains("https://192.168.4.1:8443/bootstrap?device=ID within"), "{line}");
    assert_eq!(fetch(&mut lab, IP).status, 404);
    let named = format!("/bootstrap?device={}", mac_id(5).replace(':', "%3A"));
    assert_eq!(get(&mut lab, "192.168.4.99", "GET", &named).status, 200);
    assert_eq!(get(&mut lab, "192.168.4.99", "GET", &named).status, 403);
}

#[test]
fn fetches_count_against_the_rate_of_their_address() {
    let mut options = fetching();
    options.lans[0].request_burst = 3;
    let mut lab = with_device(options);
    let statuses: Vec<_> = (0..5).map(|_| fetch(&mut lab, IP).status).collect();
    assert_eq!(statuses, [403, 403, 403, 503, 503]);
    assert_eq!(lab.refused("request-rate"), 2);
}

#[test]
fn a_new_device_may_fetch_by_itself_and_a_failed_handshake_counts() {
    let mut options = fetching();
    options.lans[0].provision = true;
    let mut lab = with_device(options);
    lab.advance(SECOND);
    let (lan, from) = (LanId(0), "192.168.4.5:4000".parse().unwrap());
    lab.handle(Input::NoBootstrapRequest { lan, from, handshake: true });
    lab.handle(Input::NoBootstrapRequest { lan, from, handshake: false });
    assert_eq!((lab.refused("tls-handshake"), lab.refused("bootstrap-request")), (1, 1));
    assert_eq!(fetch(&mut lab, IP).status, 200);
    lab.advance(60 * MINUTE);
    lab.neighbour(IP, 5, Reachable);
    assert_eq!(fetch(&mut lab, IP).status, 403);
}
