//! What the LANs' policies make of the same list; who is told of the gateway; rivals.

use std::time::Duration;

use crate::lab::{Lab, PUBLIC, SERVER};
use crate::process::{Gateway, completed, device, push, receive, server};
use crate::{ACME, DM, TRANSPARENT, WAN};

#[test]
fn each_lan_has_a_policy_of_its_own() {
    let Some(lab) = Lab::new("each_lan_has_a_policy_of_its_own", 3, &[]) else { return };
    let lan = |number: usize, name: &str, policy: &str| {
        let lan = TRANSPARENT.replace("lan0", &format!("lan{number}"));
        let lan = lan.replace("192.168.4.", &format!("192.168.{}.", 4 + number));
        lan.replace("radios", name).replace("transparent", policy)
    };
    let lans = [(0, "radios", "transparent"), (1, "guests", "ignore"), (2, "trucks", "bootstrap")];
    let sections = lans.map(|(number, name, policy)| lan(number, name, policy)).concat();
    let gateway = Gateway::start(&lab, &format!("{WAN}{sections}"));

    let hosts = [0, 1, 2].map(|number| {
        let (name, mac) = (format!("host{number}"), format!("00:16:3e:00:00:0{number}"));
        let address = format!("192.168.{}.20", 4 + number);
        (lab.host(&name, number, &mac, &[&format!("{address}/24")]), address)
    });
    let dm = |number: usize| format!("http://192.168.{}.1:8080/dm", 4 + number);
    let start = |number: usize, more: &[&str]| {
        let (host, address) = &hosts[number];
        let dm = dm(number);
        let mut options = vec!["--gateway", &dm, "--server", ACME];
        options.extend(more);
        let listen = format!("{address}:2948");
        let device = device(&lab, host, &format!("IMEI:{number}"), &listen, &options);
        host.announce(address);
        device
    };

    let mut transparent = start(0, &[]);
    assert_eq!(transparent.next("detection")["share"], true);
    assert_eq!(transparent.next("list-answered")["status"], 200);

    let mut bootstrap = start(2, &[]);
    assert_eq!(bootstrap.next("detection")["share"], false);
    assert_eq!(bootstrap.next("list-answered")["status"], 200);

    // An ignored device is noted, and served if it comes by itself.
    let mut ignored = start(1, &["--open-session", "--quirk", "list-unasked"]);
    assert_eq!(ignored.next("list-answered")["status"], 200);
    assert_eq!(ignored.next("session-ended")["ok"], true);
    gateway.until_device("IMEI:1", "noted", |device| device["lan"] == "guests");

    gateway.until_mapped(&[("acme", "IMEI:0")]);
    let servers = gateway.ask(&["servers"]);
    assert_eq!(servers["servers"][0]["id"], "acme", "{servers}");
    assert_eq!(servers["servers"][0]["wanted"], 1, "{servers}");
    assert_eq!(servers["servers"][0]["mapped"], 1, "{servers}");

    for (refused, id) in [(1, "IMEI:1"), (2, "IMEI:2")] {
        push(&lab, "acme", id, 7);
        gateway.until(&["status"], "a refusal", |status| {
            status["refused"]["no-account"]["count"] == refused
        });
        let why = gateway.ask(&["map", "explain", "acme", id]);
        assert!(why.to_string().contains("no-account"), "{why}");
    }
    let package0 = push(&lab, "acme", "IMEI:0", 8);
    receive(&mut transparent, "acme", &package0);
    // By now the ignored device would have been asked.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(ignored.count_of("push-received") + ignored.count_of("push-refused"), 0);
    assert_eq!(ignored.count_of("detection"), 0);
    assert_eq!(bootstrap.count_of("push-received"), 1, "ours");
    assert_eq!(bootstrap.count_of("associated-gateway-sent"), 0);
}

#[test]
fn servers_learn_of_the_gateway_from_devices_that_may_share_it() {
    let test = "servers_learn_of_the_gateway_from_devices_that_may_share_it";
    let Some(lab) = Lab::new(test, 1, &[]) else { return };
    let gateway = Gateway::start(&lab, &format!("{WAN}{TRANSPARENT}"));
    let listen = |port: u16| format!("{SERVER}:{port}");
    let mut servers = [("acme", 8000), ("zeta", 8001)]
        .map(|(id, port)| server(&lab, id, &listen(port), &["--push-on-association"]));
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let options =
        ["--gateway", DM, "--server", ACME, "--server", "zeta=http://198.51.100.1:8001/dm"];
    let mut radio = device(&lab, &host, "IMEI:1", "192.168.4.20:2948", &options);
    host.announce("192.168.4.20");
    assert_eq!(radio.next("detection")["share"], true);
    for server in &mut servers {
        let told = server.next("associated-gateway-received");
        assert_eq!(told["device"], "IMEI:1");
        assert_eq!(told["address"], PUBLIC);
        let sent = server.next("push-sent");
        assert_eq!(sent["to"], format!("{PUBLIC}:2948"));
        let package0 = sent["package0"].as_str().unwrap();
        let who = told["who"].as_str().unwrap();
        radio.next_where("the push of that server", |line| {
            line["event"] == "push-received"
                && line["server"] == who
                && line["package0"] == package0
        });
        server.next_where("a session that the push caused", |line| {
            line["event"] == "session-opened" && line["woken"] == true
        });
    }
    drop(gateway);
}

#[test]
fn nobody_learns_of_a_gateway_that_is_not_to_be_shared() {
    let test = "nobody_learns_of_a_gateway_that_is_not_to_be_shared";
    let Some(lab) = Lab::new(test, 1, &[]) else { return };
    let sections = format!("share-address = false\n{WAN}{TRANSPARENT}");
    let gateway = Gateway::start(&lab, &sections);
    let listen = format!("{SERVER}:8000");
    let mut acme = server(&lab, "acme", &listen, &["--push-on-association"]);
    let host = lab.host("radio", 0, "00:16:3e:00:00:0a", &["192.168.4.20/24"]);
    let options = ["--gateway", DM, "--server", ACME];
    let mut radio = device(&lab, &host, "IMEI:1", "192.168.4.20:2948", &options);
    host.announce("192.168.4.20");
    assert_eq!(radio.next("detection")["share"], false);
    gateway.until_mapped(&[("acme", "IMEI:1")]);
    // The first that the server hears of the device is the answer to its own push.
    let package0 = push(&lab, "acme", "IMEI:1", 9);
    receive(&mut radio, "acme", &package0);
    assert_eq!(acme.next("session-opened")["session"], "9");
    completed(&mut acme, "IMEI:1", 9);
    assert_eq!(acme.count_of("associated-gateway-received"), 0);
    assert_eq!(acme.count_of("push-sent"), 0);
    assert_eq!(radio.count_of("associated-gateway-sent"), 0);
}

#[test]
fn a_rival_is_shown_and_changes_nothing() {
    let Some(lab) = Lab::new("a_rival_is_shown_and_changes_nothing", 1, &[]) else { return };
    let gateway = Gateway::start(&lab, &format!("{WAN}{TRANSPARENT}"));
    let hosts = [("owner", "0a", "20"), ("radio", "0b", "21"), ("rival", "0c", "66")].map(
        |(name, mac, address)| {
            let address = format!("192.168.4.{address}");
            let mac = format!("00:16:3e:00:00:{mac}");
            (lab.host(name, 0, &mac, &[&format!("{address}/24")]), address)
        },
    );
    // One that is known by its Ethernet address only, and one that gave itself a name.
    let ids = ["mac:00-16-3e-00-00-0a", "IMEI:490154203237518"];
    let [mut owner, mut radio] = [0, 1].map(|number| {
        let (host, address) = &hosts[number];
        let listen = format!("{address}:2948");
        let options = ["--gateway", DM, "--server", ACME];
        let mut device = device(&lab, host, ids[number], &listen, &options);
        host.announce(address);
        assert_eq!(device.next("list-answered")["status"], 200);
        device
    });
    let both = [("acme", ids[0]), ("acme", ids[1])];
    gateway.until_mapped(&both);

    let (host, address) = &hosts[2];
    for (number, id) in ids.into_iter().enumerate() {
        let listen = format!("{address}:{}", 3000 + number);
        let options =
            ["--gateway", DM, "--server", "evil=http://198.51.100.1:8009/dm", "--open-session"];
        let mut rival = device(&lab, host, id, &listen, &options);
        assert_eq!(rival.next("session-opened")["with"], "gateway.example");
        rival.next("session-ended");
        assert_eq!(rival.count(|line| line["status"] == 200), 0);
        let shown = gateway.until_device(id, "in conflict", |d| d["conflict"].is_object());
        assert_eq!(shown["conflict"]["address"], address.as_str());
        assert_eq!(shown["conflict"]["mac"], "00-16-3e-00-00-0c");
    }
    assert_eq!(gateway.ask(&["status"])["devices"]["conflicts"], 2);
    gateway.until_mapped(&both);

    // What belongs to the owners goes to them.
    for (device, id) in [(&mut owner, ids[0]), (&mut radio, ids[1])] {
        let package0 = push(&lab, "acme", id, 5);
        receive(device, "acme", &package0);
        push(&lab, "evil", id, 6);
    }
    gateway.until(&["status"], "refusals", |status| status["counters"]["pushes_refused"] == 2);
}
