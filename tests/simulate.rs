//! The simulated peers among themselves, over real UDP and HTTP on loopback, without a gateway.

#![cfg(feature = "simulate")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use dm_gateway::gateway::seam::Response;
use dm_gateway::io::http_server::{Handler, LanListener, LanRequest};
use dm_gateway::proto::auth::{self, Scheme, Secret, Verdict};
use dm_gateway::proto::syncml::{
    Alert, AlertCode, Command, Data, Encoding, Header, Item, Location, Message, Meta, Status,
    StatusCode,
};
use dm_gateway::proto::wsp;
use dm_gateway::simulate::{
    Account, Digest, DmServer, DmServerOptions, EndDevice, EndDeviceOptions, Farm, FarmOptions,
    Profile, Quirk, Report, Server, SimEvent, Sink, gate,
};
use smol::{LocalExecutor, Timer, channel, future};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// What one simulator reports.
#[derive(Clone)]
struct Reports(channel::Receiver<Report>);

impl Reports {
    fn new() -> (Sink, Self) {
        let (sender, receiver) = channel::unbounded();
        (Rc::new(move |report| drop(sender.try_send(report))), Self(receiver))
    }

    /// The next event of that name; everything before it is thrown away.
    async fn next(&self, name: &str) -> SimEvent {
        let late = async {
            Timer::after(Duration::from_secs(10)).await;
            panic!("no {name}")
        };
        let event = async {
            loop {
                let report = self.0.recv().await.unwrap();
                if report.event.name() == name {
                    return report.event;
                }
            }
        };
        future::or(event, late).await
    }

    async fn address(&self) -> SocketAddr {
        let SimEvent::Listening { address } = self.next("listening").await else { panic!() };
        address
    }
}

fn run(test: impl Future<Output = ()>, executor: &LocalExecutor<'_>) {
    smol::block_on(executor.run(test));
}

fn server(
    executor: &LocalExecutor<'static>,
    change: impl FnOnce(&mut DmServerOptions),
) -> (Rc<DmServer>, Reports) {
    let mut options = DmServerOptions {
        id: "http://dm.example/mgmt".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        push_port: 2948,
        secret: None,
        nonce: Vec::new(),
        push_on_association: false,
    };
    change(&mut options);
    let (sink, reports) = Reports::new();
    let server = DmServer::new(options, sink);
    let serving = Rc::clone(&server);
    executor.spawn(async move { serving.serve().await.unwrap() }).detach();
    (server, reports)
}

fn device(
    executor: &LocalExecutor<'static>,
    gateway_url: String,
    server_url: String,
    change: impl FnOnce(&mut EndDeviceOptions),
) -> (Rc<EndDevice>, Reports) {
    let id = "http://dm.example/mgmt".to_owned();
    let mut options = EndDeviceOptions {
        id: "IMEI:493005100592800".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        gateway_id: Some("gateway".into()),
        gateway_url,
        servers: vec![Server { id, url: server_url, secret: None }],
        encoding: Encoding::Xml,
        profile: Profile::Registered,
        account: None,
        quirks: Vec::new(),
    };
    change(&mut options);
    let (sink, reports) = Reports::new();
    let device = EndDevice::new(options, gate(16), sink);
    let serving = Rc::clone(&device);
    executor.spawn(async move { serving.serve().await.unwrap() }).detach();
    (device, reports)
}

/// The few things of a gateway that a device can tell: Status for all, one Alert 1230 in a
/// session without a list, Status for the list. Not the gateway of this package.
struct Gateway {
    alert: &'static str,
    /// Secrets of device and gateway: both sides prove who they are by md5.
    secrets: Option<[Secret; 2]>,
    /// Device and payload.
    lists: RefCell<Vec<(String, String)>>,
}

impl Gateway {
    fn start(executor: &Rc<LocalExecutor<'static>>, alert: &'static str) -> (Rc<Self>, String) {
        Self::start_with(executor, alert, None)
    }

    fn start_with(
        executor: &Rc<LocalExecutor<'static>>,
        alert: &'static str,
        secrets: Option<[Secret; 2]>,
    ) -> (Rc<Self>, String) {
        let listener = LanListener::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let url = format!("http://{}/dm", listener.local_address().unwrap());
        let gateway = Rc::new(Self { alert, secrets, lists: RefCell::default() });
        let (own, handler) = (Rc::clone(executor), Rc::clone(&gateway));
        executor.spawn(async move { listener.serve(&own, handler).await }).detach();
        (gateway, url)
    }
}

impl Handler for Gateway {
    async fn request(&self, request: LanRequest) -> Response {
        let encoding = Encoding::of_content_type(&request.content_type.unwrap()).unwrap();
        let message = encoding.decode(&request.body).unwrap();
        let header = &message.header;
        let device = header.source.uri.to_string();
        let verdict = self.secrets.as_ref().map(|[secret, _]| {
            let credentials = header.credentials.as_ref();
            auth::verify(Scheme::Md5, credentials, "user", secret, b"nonce")
        });
        // 212 holds for the whole session, later messages need no Cred.
        let code = match verdict {
            None => StatusCode::OK,
            Some(_) if !opens(&message) => StatusCode::AUTHENTICATED,
            Some(Verdict::Accepted) => StatusCode::AUTHENTICATED,
            Some(Verdict::Missing) => StatusCode::MISSING_CREDENTIALS,
            Some(Verdict::Wrong) => StatusCode::INVALID_CREDENTIALS,
        };
        let status = |reference: &str, name: &'static str| Status {
            command_id: "1".into(),
            message_ref: header.message_id.to_string().into(),
            command_ref: reference.to_owned().into(),
            command: name.into(),
            code: if reference != "0" && code.is_success() { StatusCode::OK } else { code },
            ..Status::default()
        };
        let challenge = (!code.is_success()).then(|| auth::challenge(Scheme::Md5, b"nonce"));
        let mut commands = vec![Command::Status(Status { challenge, ..status("0", "SyncHdr") })];
        for command in &message.commands {
            if matches!(command, Command::Status(_)) {
                continue;
            }
            commands.push(Command::Status(status(command.command_id(), command.name())));
            let Command::Alert(alert) = command else { continue };
            if alert.code == Some(AlertCode::GENERIC) && code.is_success() {
                let list = alert.items[0].data.as_ref().unwrap().text().unwrap();
                self.lists.borrow_mut().push((device.clone(), list.to_owned()));
            }
        }
        let told = self.lists.borrow().iter().any(|(who, _)| *who == device);
        if opens(&message) && code.is_success() && !told {
            let item = |data: Data<'static>| Item { data: Some(data), ..Item::default() };
            commands.push(Command::Alert(Alert {
                command_id: "9".into(),
                code: Some(AlertCode::DEVICE_DETECTION),
                items: vec![
                    item(Data::Markup(self.alert.into())),
                    item(Data::Text("detected".into())),
                ],
                ..Alert::default()
            }));
        }
        let own = self.secrets.as_ref().filter(|_| opens(&message) && code.is_success());
        let answer = Message {
            header: Header {
                version_dtd: "1.2".into(),
                version_protocol: "DM/1.2".into(),
                session_id: header.session_id.to_string().into(),
                message_id: header.message_id,
                target: Location { uri: device.into(), name: None },
                source: Location { uri: "gateway".into(), name: None },
                response_uri: Some(format!("http://{}/dm", request.local).into()),
                credentials: own
                    .map(|[_, secret]| auth::credentials(Scheme::Md5, "gateway", secret, b"")),
                meta: Meta::default(),
            },
            commands,
            is_final: true,
        };
        Response {
            status: 200,
            content_type: Some(encoding.content_type()),
            retry_after: None,
            body: encoding.encode(&answer),
        }
    }
}

/// Whether this is a package 1.
fn opens(message: &Message<'_>) -> bool {
    let opening = [Some(AlertCode::CLIENT_INITIATED), Some(AlertCode::SERVER_INITIATED)];
    let is = |command: &Command<'_>| matches!(command, Command::Alert(alert) if opening.contains(&alert.code));
    message.commands.iter().any(is)
}

const SHARED: &str = "<GwAddress>127.0.0.1</GwAddress><Share>true</Share>";
const KEPT: &str = "<GwAddress>127.0.0.1</GwAddress><Share>False</Share>";

#[test]
fn a_push_of_its_own_server_makes_a_device_open_a_session_there() {
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        let executor = LocalExecutor::new();
        let (server, at_server) = server(&executor, |_| ());
        run(
            async {
                let url = server.url().await;
                let (_, at_device) =
                    device(&executor, "http://127.0.0.1:1/dm".into(), url, |options| {
                        options.encoding = encoding;
                    });
                let session = server.push(at_device.address().await, "IMEI:493005100592800").await;
                assert_eq!(session.unwrap(), 1);
                let SimEvent::PushSent { package0: sent, .. } = at_server.next("push-sent").await
                else {
                    panic!()
                };
                let SimEvent::PushReceived { package0, session: 1, .. } =
                    at_device.next("push-received").await
                else {
                    panic!()
                };
                assert_eq!(package0, sent);
                let SimEvent::SessionEnded { ok: true, .. } = at_device.next("session-ended").await
                else {
                    panic!()
                };
                let SimEvent::SessionOpened { woken: true, session, .. } =
                    at_server.next("session-opened").await
                else {
                    panic!()
                };
                assert_eq!(session, "1");
                let SimEvent::SessionEnded { with, why, .. } =
                    at_server.next("session-ended").await
                else {
                    panic!()
                };
                assert_eq!(with, "IMEI:493005100592800");
                assert!(why.contains("woken by a push"), "{why}");
            },
            &executor,
        );
    }
}

#[test]
fn a_device_that_may_share_has_its_server_push_to_exactly_the_gateway_it_named() {
    for quirks in [vec![], vec![Quirk::Http10, Quirk::ListEscaped, Quirk::MetaOnCommand]] {
        let executor = Rc::new(LocalExecutor::new());
        let (gateway, gateway_url) = Gateway::start(&executor, SHARED);
        // Stands where the gateway takes pushes.
        let wan = smol::Async::<std::net::UdpSocket>::bind(([127, 0, 0, 1], 0)).unwrap();
        let port = wan.get_ref().local_addr().unwrap().port();
        let (server, at_server) = server(&executor, |options| {
            options.push_port = port;
            options.push_on_association = true;
        });
        run(
            async {
                let url = server.url().await;
                let (device, at_device) =
                    device(&executor, gateway_url, url, |options| options.quirks = quirks);
                device.open_session().await;
                let detection = at_device.next("detection").await;
                assert_eq!(
                    detection,
                    SimEvent::Detection { address: "127.0.0.1".into(), share: true }
                );
                let answered = at_device.next("list-answered").await;
                assert_eq!(answered, SimEvent::ListAnswered { status: 200 });
                at_device.next("associated-gateway-sent").await;
                let received = at_server.next("associated-gateway-received").await;
                let SimEvent::AssociatedGatewayReceived { device, address } = received else {
                    panic!()
                };
                assert_eq!((&*device, &*address), ("IMEI:493005100592800", "127.0.0.1"));
                let mut buffer = [0; 256];
                let (length, _) = wan.recv_from(&mut buffer).await.unwrap();
                let push = wsp::Push::decode(&buffer[..length]).unwrap();
                assert_eq!(push.gateway_header(), Some("IMEI:493005100592800"));
                assert_eq!(push.body, server.package0(1));
                let id = "<ServerInfo><ID>http://dm.example/mgmt</ID></ServerInfo>";
                assert!(gateway.lists.borrow()[0].1.contains(id));
            },
            &executor,
        );
    }
}

#[test]
fn a_device_that_may_not_share_tells_nobody() {
    let executor = Rc::new(LocalExecutor::new());
    let (gateway, gateway_url) = Gateway::start(&executor, KEPT);
    let (server, _) = server(&executor, |_| ());
    run(
        async {
            let url = server.url().await;
            let (device, at_device) = device(&executor, gateway_url, url, |options| {
                options.encoding = Encoding::Wbxml;
                options.quirks = vec![Quirk::WbxmlHeaderCheck, Quirk::BlankIds, Quirk::StrayDashes];
            });
            device.open_session().await;
            let SimEvent::SessionEnded { ok: true, .. } = at_device.next("session-ended").await
            else {
                panic!()
            };
            assert_eq!(server.gateway_of("IMEI:493005100592800"), None);
            let (_, list) = &gateway.lists.borrow()[0];
            assert!(list.contains("<ID> http://dm.example/mgmt </ID>"), "{list}");
            assert!(list.trim_end().ends_with("--"), "{list}");
        },
        &executor,
    );
}

#[test]
fn a_device_that_does_not_know_the_alert_sends_no_list() {
    for (quirk, ok) in [
        (Quirk::Answer406, true),
        (Quirk::Answer500, true),
        (Quirk::Answer501, true),
        (Quirk::NoList, true),
        (Quirk::Silence, false),
        (Quirk::Crash, false),
    ] {
        let executor = Rc::new(LocalExecutor::new());
        let (gateway, gateway_url) = Gateway::start(&executor, KEPT);
        run(
            async {
                let (device, at_device) =
                    device(&executor, gateway_url, String::new(), |options| {
                        options.quirks = vec![quirk]
                    });
                device.open_session().await;
                let SimEvent::SessionEnded { ok: ended, .. } =
                    at_device.next("session-ended").await
                else {
                    panic!()
                };
                assert_eq!(ended, ok, "{quirk:?}");
                assert!(gateway.lists.borrow().is_empty());
            },
            &executor,
        );
    }
}

#[test]
fn a_device_brings_a_changed_list_by_itself() {
    let executor = Rc::new(LocalExecutor::new());
    let (gateway, gateway_url) = Gateway::start(&executor, KEPT);
    run(
        async {
            let (device, at_device) = device(&executor, gateway_url, String::new(), |_| ());
            device.change_servers(Vec::new()).await;
            let answered = at_device.next("list-answered").await;
            assert_eq!(answered, SimEvent::ListAnswered { status: 200 });
            assert_eq!(gateway.lists.borrow()[0].1, "<ServerList></ServerList>");
        },
        &executor,
    );
}

#[test]
fn a_push_is_obeyed_only_if_its_digest_is_right() {
    let executor = LocalExecutor::new();
    let (server, _) = server(&executor, |options| options.secret = Some(Secret::new("right")));
    run(
        async {
            for (secret, verdict) in [("right", Digest::Right), ("wrong", Digest::Wrong)] {
                let url = server.url().await;
                let (_, at_device) = device(&executor, String::new(), url, |options| {
                    options.servers[0].secret = Some(Secret::new(secret));
                });
                server.push(at_device.address().await, "IMEI:493005100592800").await.unwrap();
                let SimEvent::PushReceived { digest, .. } = at_device.next("push-received").await
                else {
                    panic!()
                };
                assert_eq!(digest, verdict);
                let then = if verdict == Digest::Right { "session-ended" } else { "push-refused" };
                at_device.next(then).await;
            }
        },
        &executor,
    );
}

#[test]
fn octets_that_are_no_push_are_told_and_forgotten() {
    let executor = LocalExecutor::new();
    let (server, _) = server(&executor, |_| ());
    run(
        async {
            let (_, at_device) = device(&executor, String::new(), String::new(), |_| ());
            let to = at_device.address().await;
            server.push_raw(to, &[0xff; 40]).await.unwrap();
            let SimEvent::PushRefused { datagram, .. } = at_device.next("push-refused").await
            else {
                panic!()
            };
            assert_eq!(datagram, [0xff; 40]);
        },
        &executor,
    );
}

#[test]
fn device_and_gateway_prove_to_each_other_who_they_are() {
    let account = |own: &str| Account {
        scheme: Some(Scheme::Md5),
        user: "user".into(),
        secret: Secret::new(own),
        server_secret: Some(Secret::new("gateway's")),
    };
    for (own, gateways, quirks, ok) in [
        ("device's", "gateway's", vec![], true),
        ("device's", "gateway's", vec![Quirk::CredAgain, Quirk::ListUnasked], true),
        ("not the device's", "gateway's", vec![], false),
        ("device's", "not the gateway's", vec![], false),
    ] {
        let executor = Rc::new(LocalExecutor::new());
        let secrets = Some([Secret::new("device's"), Secret::new(gateways)]);
        let (gateway, url) = Gateway::start_with(&executor, KEPT, secrets);
        run(
            async {
                let (device, at_device) = device(&executor, url, String::new(), |options| {
                    options.account = Some(account(own));
                    options.quirks = quirks;
                });
                device.open_session().await;
                let SimEvent::SessionEnded { ok: ended, why, .. } =
                    at_device.next("session-ended").await
                else {
                    panic!()
                };
                assert_eq!(ended, ok, "{why}");
                assert_eq!(!gateway.lists.borrow().is_empty(), ok, "{why}");
            },
            &executor,
        );
    }
}

#[test]
fn a_device_lives_on_ipv6_too() {
    let executor = Rc::new(LocalExecutor::new());
    let Ok(()) = std::net::UdpSocket::bind("[::1]:0").map(drop) else { return };
    let (server, _) = server(&executor, |options| options.listen = "[::1]:0".parse().unwrap());
    run(
        async {
            let url = server.url().await;
            let (_, at_device) = device(&executor, String::new(), url, |options| {
                options.listen = "[::1]:0".parse().unwrap();
            });
            server.push(at_device.address().await, "IMEI:493005100592800").await.unwrap();
            let SimEvent::SessionEnded { ok: true, .. } = at_device.next("session-ended").await
            else {
                panic!()
            };
        },
        &executor,
    );
}

#[test]
fn a_farm_of_devices_hears_each_its_own_push() {
    const COUNT: u32 = 300;
    let executor = Rc::new(LocalExecutor::new());
    let (gateway, gateway_url) = Gateway::start(&executor, KEPT);
    let (pusher, _) = server(&executor, |options| options.id = "gateway".into());
    let free = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let push_port = free.local_addr().unwrap().port();
    drop(free);
    let id = "http://dm.example/mgmt".to_owned();
    let farm = Farm::new(FarmOptions {
        id_prefix: "IMEI:".to_owned(),
        count: COUNT,
        base_address: [127, 1, 0, 250].into(),
        push_port,
        gateway_id: Some("gateway".into()),
        gateway_url,
        servers: vec![Server { id, url: String::new(), secret: None }],
        encoding: Encoding::Wbxml,
        quirks: Vec::new(),
        open_session: false,
    });
    assert_eq!(farm.leases().lines().count(), 300);
    let pushing = async {
        for index in 0..COUNT {
            let address = std::net::Ipv4Addr::from(0x7f01_00fa + index);
            pusher.push((address, push_port).into(), "any").await.unwrap();
            future::yield_now().await;
        }
        Timer::after(Duration::from_secs(20)).await;
        panic!("{:?}", farm.summary())
    };
    run(async { future::or(async { farm.run().await.unwrap() }, pushing).await }, &executor);
    let summary = farm.summary();
    assert_eq!((summary.acknowledged, summary.refused, summary.failed), (COUNT, 0, 0));
    let mut devices: Vec<_> = gateway.lists.borrow().iter().map(|(who, _)| who.clone()).collect();
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), 300);
    eprintln!("{summary:?}");
}
