//! `dm-gateway demo`: the daemon and simulated peers on loopback, telling what happens.
//!
//! The daemon is the one that `run` runs, in a thread of its own; what it does is read from its
//! control socket, like `monitor`. End devices come and go by a DHCP lease file. Everything
//! crosses real UDP and TCP sockets on 127.0.x.x, TLS included.

mod configuration;
mod management;
mod stage;
mod tellings;

use crate::cli::client::Stop;
use crate::cli::definition::{self, Command, Form, Given, PRINTING, flag};
use crate::cli::narrate::between;
use crate::simulate::{DmServer, DmServerOptions, EndDevice, EndDeviceOptions, Quirk, Server};
use configuration::{DM_PORT, GATEWAY, PUSH_PORT};
use management::Managers;
use smol::{LocalExecutor, future};
use stage::Stage;
use std::net::SocketAddr;
use std::rc::Rc;

/// `demo`.
pub const COMMAND: Command = Command {
    name: "demo",
    summary: "the gateway at work with simulated end devices and DM servers, each step told",
    text: "\
Everything runs on 127.0.x.x, for some seconds. Needs no root, no configuration, no network; leaves
nothing behind. With --json it prints the events, one a line.",
    options: &[
        &[flag("keep-running", "stays up afterwards, to be looked at with the other commands")],
        PRINTING,
    ],
    exits: &[(1, "something did not go as it should")],
    run: Some(demo),
    ..definition::COMMAND
};

fn demo(given: Given) -> Result<u8, Stop> {
    let json = given.form() != Form::Table;
    let keep_running = given.has("keep-running");
    let level = std::env::var_os(crate::io::logger::LEVEL_VARIABLE);
    crate::io::logger::init(level.is_none().then_some(log::LevelFilter::Error));
    let executor = LocalExecutor::new();
    let outcome = smol::block_on(executor.run(async {
        let stage = Stage::new(json)?;
        let interrupted = super::run::told_to_stop()?;
        let interrupted = async {
            interrupted.await;
            Ok(false)
        };
        let story = play(&stage, &executor);
        let outcome = match future::or(story, interrupted).await {
            Ok(true) if keep_running => stage.keep_running().await,
            outcome => outcome,
        };
        stage.close();
        outcome.map(|ended| (ended, stage.unwritten()))
    }));
    let (outcome, unwritten) = match outcome {
        Ok((ended, unwritten)) => (Ok(ended), unwritten),
        Err(error) => (Err(error), None),
    };
    if let Some(error) = unwritten {
        return Err(Stop::Output(error));
    }
    match outcome {
        Ok(true) => Ok(0),
        Ok(false) => {
            Err(Stop::failed("the demo was interrupted; try: let it run, it ends by itself"))
        }
        Err(error) => Err(Stop::failed(&error)),
    }
}

// Short enough for the narrator's columns.
const AMBULANCE: &str = "dms.ambulance.example";
const FIRE: &str = "dms.fire.example";
const BOOTSTRAP: &str = "bootstrap.example";
const RADIO: &str = "IMEI:490154203237518";
const TABLET: &str = "urn:esn:8090f3a1";
const CAMERA: &str = "mac:02-00-00-00-01-0d";
const SENSOR: &str = "IMEI:356938035643809";
const GUEST: &str = "mac:02-00-00-00-03-0b";

/// The story. True if all went right.
async fn play(stage: &Stage, executor: &LocalExecutor<'_>) -> Result<bool, String> {
    stage.say("One gateway, three LANs, five end devices, two DM servers, a bootstrap server; all");
    stage.say("on loopback.");
    stage.say("");
    stage.say("  WAN 127.0.9.x                 gateway                  LANs");
    stage.say("  DM server ambulance ──┐                     ┌── radios   127.0.1.x  transparent");
    stage.say("  DM server fire ◄──────┼─► push 127.0.9.1 ───┼── sensors  127.0.2.x  bootstrap");
    stage.say("  bootstrap server ◄────┘                     └── guests   127.0.3.x  ignore");
    stage.start_gateway().await?;

    let managers = Managers::start(stage, executor).await?;
    let ambulance = server(stage, executor, AMBULANCE, "127.0.9.11:0");
    let fire = server(stage, executor, FIRE, "127.0.9.12:0");
    let (ambulance_url, fire_url) = (ambulance.url().await, fire.url().await);
    let knows =
        |id: &str, url: &str| Server { id: id.to_owned(), url: url.to_owned(), secret: None };
    let on_ambulance = knows(AMBULANCE, &ambulance_url);
    let on_both = vec![on_ambulance.clone(), knows(FIRE, &fire_url)];

    stage.chapter("A radio gets a DHCP lease on the LAN `radios`");
    let radio_lease = ("02:00:00:00:01:0b", "127.0.1.11");
    let tablet_lease = ("02:00:00:00:01:0c", "127.0.1.12");
    let camera_lease = ("02:00:00:00:01:0d", "127.0.1.13");
    device(stage, executor, RADIO, radio_lease.1, vec![on_ambulance.clone()], |_| {});
    stage.leases("radios", &[radio_lease])?;
    stage.expect(RADIO, "mapped", None).await?;

    stage.heading("It tells its server where its gateway is; the server wakes it through there");
    stage.expect(RADIO, "forwarded", None).await?;
    stage.session(RADIO, AMBULANCE, None).await?;

    stage.chapter("A tablet with two servers comes; it speaks WBXML");
    device(stage, executor, TABLET, tablet_lease.1, on_both.clone(), |options| {
        options.encoding = crate::proto::syncml::Encoding::Wbxml;
    });
    stage.leases("radios", &[radio_lease, tablet_lease])?;
    stage.session(TABLET, AMBULANCE, None).await?;
    stage.session(TABLET, FIRE, None).await?;

    stage.chapter("A camera comes that knows nothing of gateways; that harms nothing");
    device(stage, executor, CAMERA, camera_lease.1, Vec::new(), |options| {
        options.quirks = vec![Quirk::Answer406, Quirk::NoList];
    });
    stage.leases("radios", &[radio_lease, tablet_lease, camera_lease])?;
    stage.expect(CAMERA, "answered", None).await?;

    stage.chapter("The network repeats a push, octet by octet");
    let gateway = SocketAddr::from(([127, 0, 9, 1], PUSH_PORT));
    let session = pushed(ambulance.push(gateway, RADIO).await)?;
    stage.session(RADIO, AMBULANCE, session).await?;
    stage.say(&between("server", "gateway", AMBULANCE, "push", "the same octets again"));
    pushed(ambulance.push_again().await)?;
    stage.expect(RADIO, "refused", Some("same octets")).await?;

    stage.chapter("A server pushes for a device that did not name it");
    pushed(fire.push(gateway, RADIO).await)?;
    stage.expect(RADIO, "refused", Some("does not name")).await?;

    stage.chapter("Somebody on the LAN claims to be the radio; pushes still go to the right one");
    let rival = device(stage, executor, RADIO, "127.0.1.66", vec![on_ambulance.clone()], |_| {});
    rival.open_session().await;
    stage.expect(RADIO, "conflict", None).await?;
    let session = pushed(ambulance.push(gateway, RADIO).await)?;
    stage.session(RADIO, AMBULANCE, session).await?;

    stage.chapter("The radio drives off, is pushed to, and returns");
    stage.leases("radios", &[tablet_lease, camera_lease])?;
    stage.expect(RADIO, "detached", None).await?;
    let session = pushed(ambulance.push(gateway, RADIO).await)?;
    stage.expect(RADIO, "held", Some("is away")).await?;
    stage.leases("radios", &[radio_lease, tablet_lease, camera_lease])?;
    stage.expect(RADIO, "released", None).await?;
    stage.session(RADIO, AMBULANCE, session).await?;
    stage.heading("Asked again, it tells its server again, which wakes it once more");
    stage.session(RADIO, AMBULANCE, None).await?;

    stage.chapter("A guest comes to a LAN with the policy `ignore`, and is left alone");
    device(stage, executor, GUEST, "127.0.3.11", on_both.clone(), |_| {});
    stage.leases("guests", &[("02:00:00:00:03:0b", "127.0.3.11")])?;
    stage.expect(GUEST, "detected", None).await?;
    pushed(fire.push(gateway, GUEST).await)?;
    stage.expect(GUEST, "refused", Some("account")).await?;

    managers.bootstrapped(stage, executor, &fire, on_both[1].clone()).await?;
    managers.managed(stage).await?;

    stage.chapter("The gateway restarts; what it acknowledged is still there");
    stage.stop_gateway().await?;
    stage.start_gateway().await?;
    let session = pushed(ambulance.push(gateway, TABLET).await)?;
    stage.session(TABLET, AMBULANCE, session).await?;
    managers.still_there(stage).await?;

    stage.summary().await?;
    Ok(true)
}

/// The session that a push asked for.
fn pushed<T>(result: std::io::Result<T>) -> Result<Option<T>, String> {
    result.map(Some).map_err(|error| format!("a push: {error}"))
}

fn server<'a>(stage: &Stage, executor: &LocalExecutor<'a>, id: &str, listen: &str) -> Rc<DmServer> {
    let options = DmServerOptions {
        id: id.to_owned(),
        listen: listen.parse().expect("the demo's addresses are well formed"),
        push_port: PUSH_PORT,
        secret: None,
        nonce: Vec::new(),
        push_on_association: true,
    };
    let server = DmServer::new(options, stage.sink());
    let task = Rc::clone(&server).serve();
    let failed = stage.failure(id);
    executor.spawn(async move { failed(task.await) }).detach();
    server
}

fn device<'a>(
    stage: &Stage,
    executor: &LocalExecutor<'a>,
    id: &str,
    ip: &str,
    servers: Vec<Server>,
    adapt: impl FnOnce(&mut EndDeviceOptions),
) -> Rc<EndDevice> {
    let ip: std::net::Ipv4Addr = ip.parse().expect("the demo's addresses are well formed");
    let [a, b, c, _] = ip.octets();
    let mut options = EndDeviceOptions {
        id: id.to_owned(),
        listen: SocketAddr::from((ip, PUSH_PORT)),
        gateway_id: Some(GATEWAY.to_owned()),
        gateway_url: format!("http://{a}.{b}.{c}.1:{}/dm", DM_PORT),
        servers,
        encoding: crate::proto::syncml::Encoding::Xml,
        profile: crate::simulate::Profile::default(),
        account: None,
        quirks: Vec::new(),
    };
    adapt(&mut options);
    let device = EndDevice::new(options, stage.gate(), stage.sink());
    let task = Rc::clone(&device).serve();
    let failed = stage.failure(id);
    executor.spawn(async move { failed(task.await) }).detach();
    device
}
