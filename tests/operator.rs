//! The operators' commands, as processes, against a gateway behind a real control socket.
#![expect(clippy::unwrap_used, reason = "the helpers are part of the tests")]

#[path = "common/schema.rs"]
mod schema;

use dm_gateway::codes;
use dm_gateway::control::{self, ConfigurationState, IoCounters, Request};
use dm_gateway::gateway::alert::WireProfile;
use dm_gateway::gateway::event::Event;
use dm_gateway::gateway::management;
use dm_gateway::gateway::policy::{DeviceAuth, Policy, Verify};
use dm_gateway::gateway::seam::{
    ConnectionId, Input, LanId, LinkEvent, MacAddress, NeighbourEvent, NeighbourState, Now, Output,
    Request as HttpRequest,
};
use dm_gateway::gateway::store::Records;
use dm_gateway::gateway::{Detect, Gateway, LanOptions, Options};
use dm_gateway::io::control_socket::{ControlConnection, ControlSocket};
use dm_gateway::proto::bootstrap::Profile;
use dm_gateway::proto::notification::{Notification, UiMode};
use dm_gateway::proto::wsp;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output as Ended, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;

const DEPOT: LanId = LanId(0);
const GUESTS: LanId = LanId(1);
const RADIO: &str = "IMEI:490154203237518";
const SERVER: &str = "com.example.dms";

// --- JSON ------------------------------------------------------------------------------------

#[test]
fn devices_servers_and_mappings_are_told_as_json() {
    let daemon = Daemon::start(busy);
    let devices = daemon.json(&["devices"]);
    assert_eq!(devices["schema"], 1);
    let ids: Vec<_> =
        devices["devices"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [RADIO, "mac:02-00-00-00-00-09", "tablet\u{202e}"]);
    let radio = &devices["devices"][0];
    assert_eq!(radio["address"], "192.0.2.7");
    assert_eq!(radio["lan"], "depot");
    assert_eq!(radio["state"], "attached");
    assert_eq!(radio["servers"], json!([SERVER, "urn:dms:2"]));

    let servers = daemon.json(&["servers"]);
    assert_eq!(servers["schema"], 1);
    assert_eq!(servers["servers"][0]["id"], SERVER);
    assert_eq!(servers["servers"][0]["state"], "mapped");
    assert_eq!(servers["servers"][2]["state"], "wanted");

    let mappings = daemon.json(&["map", "list"]);
    assert_eq!(mappings["schema"], 1);
    let pairs: Vec<_> = mappings["mappings"].as_array().unwrap().iter().map(pair).collect();
    assert_eq!(pairs, [(SERVER, RADIO), ("urn:dms:2", RADIO)]);

    let status = daemon.json(&["status"]);
    assert_eq!((&status["schema"], &status["health"]), (&json!(1), &json!("healthy")));
    assert_eq!(status["counters"]["forwarded"], 1);
    assert_eq!(status["refused"]["unmapped"]["count"], 1);
    assert_eq!(status["io"]["store_flushes"], 2);
}

fn pair(mapping: &Value) -> (&str, &str) {
    (mapping["server"].as_str().unwrap(), mapping["device"].as_str().unwrap())
}

#[test]
fn jsonl_tells_a_list_as_one_row_a_line() {
    let daemon = Daemon::start(busy);
    let text = daemon.text(&["devices", "--format", "jsonl"]);
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[0]["schema"], &rows[0]["id"]), (&json!(1), &json!(RADIO)));
    rows.iter().for_each(|row| schema::check("devices-row", row));
    let status = daemon.text(&["status", "--format", "jsonl"]);
    assert_eq!(status, daemon.text(&["status", "--json"]));
}

#[test]
fn json_is_the_daemons_own_line() {
    let daemon = Daemon::start(busy);
    let mut world = busy();
    let ended = daemon.run(&["map", "list", "--json"]);
    assert_eq!(text(&ended.stdout), format!("{}\n", world.answer(&Request::Mappings)));
}

// --- For people ------------------------------------------------------------------------------

#[test]
fn tables_are_for_people() {
    let daemon = Daemon::start(busy);
    let devices = daemon.text(&["devices"]);
    let lines: Vec<_> = devices.lines().collect();
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(lines.len(), 4, "{devices}");
    assert!(lines[0].starts_with("ID                     ADDRESS       LAN     MODE"), "{devices}");
    assert!(lines[1].contains("192.0.2.7     depot   transparent"), "{devices}");
    assert!(lines[1].contains("attached 3 m") && lines[1].contains("com.example.dms +1"));
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{devices}");
    // No character of a stranger's identity turns the rest of the line around.
    assert!(lines[3].starts_with(r"tablet\u{202e}  "), "{devices}");

    let servers = daemon.text(&["servers"]);
    assert!(servers.contains("com.example.dms  mapped  1       -       3 m ago"), "{servers}");
    let mappings = daemon.text(&["map", "list"]);
    assert!(mappings.contains("com.example.dms  IMEI:490154203237518  depot  3 m ago"));
    let status = daemon.text(&["status"]);
    assert!(status.starts_with("OK    ") && status.contains(": all is well\n"), "{status}");
    assert!(status.contains(
        "\npushes    2 received, 1 forwarded, 0 held, 0 released, 1 refused; the last one "
    ));
    assert!(status.contains("1  unmapped             the device does not name this server"));
}

#[test]
fn one_device_and_one_server_are_shown_with_all_that_is_known() {
    let daemon = Daemon::start(busy);
    for id in [RADIO, "imei:490154203237518", "mac:02-00-00-00-00-01", "3237518"] {
        let radio = daemon.text(&["devices", "show", id]);
        assert!(radio.starts_with("IMEI:490154203237518: attached 3 m\n  address    192.0.2.7\n"));
        assert!(radio.contains("\n  aliases    mac:02-00-00-00-00-01\n"), "{radio}");
        assert!(radio.contains("  urn:dms:2        allowed  mapped  it would be "), "{radio}");
    }
    let silent = daemon.text(&["devices", "show", "mac:02-00-00-00-00-09"]);
    assert!(silent.contains("\nGW-DEV-20: it has named no DM server\n  cause: "), "{silent}");
    let tablet = daemon.text(&["devices", "show", "tablet"]);
    assert!(tablet.contains("  urn:wanted  refused  no-account  "), "{tablet}");
    let json = daemon.json(&["devices", "show", "mac:02-00-00-00-00-09"]);
    assert_eq!(json["troubles"][0]["code"], "GW-DEV-20");
    assert_eq!((&json["schema"], &json["policy"]), (&json!(1), &json!("transparent")));

    let server = daemon.text(&["servers", "show", "com.example"]);
    assert!(server.starts_with("com.example.dms: mapped\n  account  none\n"), "{server}");
    assert!(server.contains("  IMEI:490154203237518  allowed  mapped  "), "{server}");
    let wanted = daemon.json(&["servers", "show", "urn:wanted"]);
    assert_eq!(wanted["troubles"][0]["code"], "GW-SRV-20");
    for (what, id, said) in [
        ("devices", "IMEI:0", "error[GW-CTL-04]: no device IMEI:0 is known\n  try: dm-gateway dev"),
        ("servers", "urn", "error[GW-CTL-04]: urn could be 2 of them: urn:dms:2, urn:wanted\n"),
    ] {
        let ended = daemon.run(&[what, "show", id]);
        assert_eq!(ended.status.code(), Some(1));
        assert!(text(&ended.stderr).starts_with(said), "{ended:?}");
        let ended = daemon.run(&[what, "show", id, "--json"]);
        let document: Value = serde_json::from_str(&text(&ended.stdout)).unwrap();
        assert_eq!(
            (&document["schema"], &document["error"]["code"]),
            (&json!(1), &json!("GW-CTL-04"))
        );
        assert!(!ended.stderr.is_empty());
        schema::check("error", &document);
    }
}

#[test]
fn empty_tables_say_why_and_what_to_try() {
    let daemon = Daemon::start(idle);
    for (command, why) in [
        (&["devices"][..], "no end devices yet: "),
        (&["servers"], "no DM servers yet: "),
        (&["map", "list"], "no mappings yet: "),
    ] {
        let text = daemon.text(command);
        assert!(text.starts_with(why) && text.contains("\ntry: "), "{text}");
    }
    assert_eq!(daemon.json(&["devices"]), json!({"schema": 1, "devices": []}));
}

#[test]
fn status_tells_by_its_exit_code_and_its_first_line_whether_all_is_well() {
    for (world, code, first) in [
        (idle as fn() -> World, 0, "OK    "),
        (
            one_lan_down,
            1,
            "FAIL  GW-LAN-01    LAN guests: the interface br-guests is missing or down\n",
        ),
        (
            all_lans_down,
            2,
            "FAIL  GW-LAN-01    LAN depot: the interface br-depot is missing or down   try: ",
        ),
    ] {
        let daemon = Daemon::start(world);
        for arguments in [&["status"][..], &["status", "--json"]] {
            let ended = daemon.run(arguments);
            assert_eq!(ended.status.code(), Some(code));
            assert!(arguments.len() == 2 || text(&ended.stdout).starts_with(first), "{ended:?}");
            assert!(code == 0 || text(&ended.stdout).contains("try"), "{ended:?}");
        }
    }
}

#[test]
fn explain_names_the_rule_and_exits_by_the_verdict() {
    let daemon = Daemon::start(busy);
    for (server, device, code, rule) in [
        (SERVER, RADIO, 0, "mapped"),
        (SERVER, "imei:490154203237518", 0, "mapped"),
        (SERVER, "mac:02-00-00-00-00-09", 1, "not-named"),
        ("nobody", RADIO, 1, "server-unknown"),
        (SERVER, "IMEI:0", 1, "device-unknown"),
        ("urn:wanted", "tablet\u{202e}", 1, "no-account"),
    ] {
        let people = daemon.run(&["map", "explain", server, device]);
        assert_eq!(people.status.code(), Some(code), "{people:?}");
        assert!(text(&people.stdout).contains(&format!("\nrule:    {rule}: ")), "{people:?}");
        let programs = daemon.run(&["map", "explain", "--json", server, device]);
        assert_eq!(programs.status.code(), Some(code));
        let answer: Value = serde_json::from_str(&text(&programs.stdout)).unwrap();
        assert_eq!((&answer["schema"], &answer["allowed"]), (&json!(1), &json!(code == 0)));
        schema::check("explanation", &answer);
    }
}

// --- monitor ---------------------------------------------------------------------------------

#[test]
fn monitor_tells_each_event_in_a_line() {
    let daemon = Daemon::start(busy);
    let ended = daemon.run(&["monitor"]);
    let lines = text(&ended.stdout);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert!(
        lines[0].starts_with("00:04:10  server → device   IMEI:490154203237518      forwarded  ")
    );
    assert!(lines[0].ends_with("(server com.example.dms, to 192.0.2.7:2948)"), "{}", lines[0]);
    assert!(lines[1].starts_with("00:04:10  wan → gateway     IMEI:490154203237518      refused"));
    assert!(lines[2].ends_with("(7 of them)"), "{}", lines[2]);
    // The end came from the daemon's side.
    assert_eq!(ended.status.code(), Some(3));

    let ended = daemon.run(&["monitor", "--json"]);
    let lines = text(&ended.stdout);
    let values: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(values[0], json!({"schema": 1, "monitor": true}));
    assert_eq!(values[1]["event"], "forwarded");
    schema::check("watching", &values[0]);
    values[1..4].iter().for_each(|event| schema::check("event", event));
    // The daemon went away: the last document says so.
    schema::check("error", &values[4]);
    assert_eq!(values[2]["why"], "the device does not name this server");
    assert_eq!((&values[3]["event"], &values[3]["count"]), (&json!("lost"), &json!(7)));
}

#[test]
fn monitor_can_be_asked_for_one_device_or_one_server() {
    let daemon = Daemon::start(busy);
    for (arguments, names) in [
        (["--server", SERVER], &["forwarded", "lost"][..]),
        (["--server", "urn:wanted"], &["refused", "lost"]),
        (["--device", "imei:490154203237518"], &["forwarded", "refused", "lost"]),
        (["--device", "IMEI:1"], &["lost"]),
    ] {
        let ended = daemon.run(&[&["monitor", "--json"], &arguments[..]].concat());
        let lines = text(&ended.stdout);
        let values = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let events: Vec<_> =
            values.filter_map(|it| it["event"].as_str().map(str::to_owned)).collect();
        assert_eq!(events, names, "{arguments:?}");
    }
}

#[test]
fn monitor_ends_quietly_when_its_reader_goes_away() {
    let daemon = Daemon::start(|| World { floods: true, ..busy() });
    let mut child = daemon.command(&["monitor"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("forwarded"));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

// --- What goes wrong -------------------------------------------------------------------------

#[test]
fn every_client_command_exits_3_where_no_daemon_answers() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = directory.path().join("no.sock");
    let stale = directory.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let configuration = directory.path().join("no.toml");
    let long = directory.path().join("x".repeat(120));
    for command in CLIENT_COMMANDS {
        for (option, path) in [
            ("--socket", &nothing),
            ("--socket", &stale),
            ("--socket", &long),
            ("--config", &configuration),
        ] {
            let ended = dm_gateway(command).arg(option).arg(path).output().unwrap();
            assert_eq!(ended.status.code(), Some(3), "{command:?} {ended:?}");
            let said = text(&ended.stderr);
            assert!(is_error(&said) && said.contains("\n  try: "), "{said}");
            assert!(!said.contains("Os {") && !said.contains("(os error"), "{said}");
            assert!(ended.stdout.is_empty());
        }
    }
}

#[test]
fn a_daemon_that_answers_nonsense_is_none() {
    for answer in ["", "\n", "{\"schema\":1,\"error\":\"permission denied\"}\n", "[[[\n"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let ended = dm_gateway(&["status"]).arg("--socket").arg(&path).output().unwrap();
        daemon.join().unwrap();
        assert_eq!(ended.status.code(), Some(3), "{ended:?}");
        assert!(text(&ended.stderr).contains("try: "));
    }
}

#[test]
fn wrong_usage_exits_64_with_the_usage() {
    for wrong in [
        &[][..],
        &["--config", "a.toml", "status"],
        &["status", "now"],
        &["session"],
        &["tree", "a", "b"],
        &["bootstrap", "apply"],
        &["bootstrap", "aply", "a.xml"],
        &["servers", "approve"],
        &["servers", "aprove", "s"],
        &["devices", "provision"],
        &["devices", "--jsn"],
        &["servers", "--socket"],
        &["monitor", "-x"],
        &["map"],
        &["map", "remove"],
        &["map", "explain", "only-a-server"],
        &["map", "explain", "a", "b", "c"],
        &["decode"],
        &["decode", "--jsn", "00"],
    ] {
        let ended = dm_gateway(wrong).output().unwrap();
        assert_eq!(ended.status.code(), Some(64), "{wrong:?} {ended:?}");
        let said = text(&ended.stderr);
        assert!(
            said.starts_with("error[GW-CLI-01]: ") && said.contains("\nusage: dm-gateway "),
            "{said}"
        );
    }
}

#[test]
fn help_is_help() {
    for command in
        ["status", "devices", "servers", "map", "monitor", "decode", "session", "tree", "bootstrap"]
    {
        let ended = dm_gateway(&[command, "--help"]).output().unwrap();
        assert_eq!(ended.status.code(), Some(0));
        assert!(text(&ended.stdout).starts_with(&format!("usage: dm-gateway {command}")));
    }
}

#[test]
fn a_document_that_cannot_be_read_is_told_without_the_number_of_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path(), &directory.path().join("no.xml")] {
        let ended = dm_gateway(&["bootstrap", "apply"]).arg(path).output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let said = text(&ended.stderr);
        assert!(
            said.starts_with("error[GW-CLI-03]: cannot read ") && said.contains("\n  try: "),
            "{said}"
        );
        assert!(!said.contains("(os error"), "{said}");
    }
}

// --- decode ----------------------------------------------------------------------------------

#[test]
fn decode_exits_by_what_it_finds() {
    let push = push(SERVER, RADIO, 1);
    let hex: Vec<_> = push.iter().map(|octet| format!("{octet:02x}")).collect();
    let ended = dm_gateway(&["decode"]).args(&hex).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(text(&ended.stdout).contains(SERVER));
    let short = dm_gateway(&["decode", &hex[..20].concat()]).output().unwrap();
    assert_eq!(short.status.code(), Some(1));
    let neither = dm_gateway(&["decode", "no such file"]).output().unwrap();
    assert_eq!(neither.status.code(), Some(1));
    assert!(is_error(&text(&neither.stderr)));
}

// --- A daemon that has only a control socket -------------------------------------------------

const CLIENT_COMMANDS: [&[&str]; 10] = [
    &["status"],
    &["devices"],
    &["servers"],
    &["map", "list"],
    &["map", "explain", "s", "d"],
    &["monitor"],
    &["session", "s", "--wait"],
    &["tree", "./DMAcc"],
    &["servers", "approve", "s"],
    &["devices", "provision", "d"],
];

struct Daemon {
    directory: TempDir,
    stop: smol::channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(world: fn() -> World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        configure(directory.path());
        let path = directory.path().join("operators.sock");
        let (stop, stopped) = smol::channel::bounded(1);
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            smol::block_on(async {
                let socket = ControlSocket::bind(&path).unwrap();
                ready.send(()).unwrap();
                let mut world = world();
                let serve = async {
                    loop {
                        let mut connection = socket.accept().await.unwrap();
                        world.serve(&mut connection).await;
                    }
                };
                smol::future::or(serve, async { stopped.recv().await.unwrap_or_default() }).await;
            });
        });
        is_ready.recv().unwrap();
        Self { directory, stop, thread: Some(thread) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = dm_gateway(arguments);
        command.arg("--config").arg(self.directory.path().join("dm-gateway.toml"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stderr.is_empty(), "{ended:?}");
        text(&ended.stdout)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--json"]].concat());
        assert_eq!(text.lines().count(), 1);
        let document = serde_json::from_str(&text).unwrap();
        schema::check(schema::of_command(arguments).unwrap(), &document);
        document
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop.try_send(());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn dm_gateway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dm-gateway"));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn configure(directory: &Path) {
    let socket = directory.join("operators.sock");
    let text = format!(
        "[gateway]\nid = \"com.example.gateway\"\nstate-dir = {directory:?}\n\n\
         [[lan]]\nname = \"depot\"\ninterface = \"br-depot\"\nlisten = \"192.0.2.1:8080\"\n\n\
         [control]\nsocket = {socket:?}\n"
    );
    std::fs::write(directory.join("dm-gateway.toml"), text).unwrap();
}

/// `error[GW-…]: what`.
fn is_error(said: &str) -> bool {
    let code = said.strip_prefix("error[").and_then(|said| said.split_once("]: "));
    code.is_some_and(|(code, _)| codes::find(code).is_some())
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

// --- A gateway in some state -----------------------------------------------------------------

struct World {
    gateway: Gateway,
    now: Now,
    /// Whether `monitor` gets events for ever.
    floods: bool,
}

/// Both LANs are up, nothing has happened.
fn idle() -> World {
    let mut world = all_lans_down();
    world.link(DEPOT);
    world.link(GUESTS);
    world
}

fn one_lan_down() -> World {
    let mut world = all_lans_down();
    world.link(DEPOT);
    world
}

fn all_lans_down() -> World {
    let now = Now { uptime: Duration::from_secs(10), unix: 1_799_971_260 };
    World {
        gateway: Gateway::new(options(), &Records::default(), [7; 32], now),
        now,
        floods: false,
    }
}

/// A radio with two mappings, a tablet that wants a server, a neighbour that says nothing; one
/// push forwarded and one refused, three minutes ago.
fn busy() -> World {
    let mut world = idle();
    world.neighbour(DEPOT, "192.0.2.7", 1);
    world.neighbour(DEPOT, "192.0.2.9", 9);
    world.neighbour(GUESTS, "198.51.100.3", 3);
    world.session(DEPOT, "192.0.2.7", RADIO, &[SERVER, "urn:dms:2"]);
    world.session(GUESTS, "198.51.100.3", "tablet\u{202e}", &["urn:wanted"]);
    world.push(SERVER, 1);
    world.push("urn:wanted", 1);
    world.now.uptime += Duration::from_secs(190);
    world.now.unix += 190;
    world
}

impl World {
    async fn serve(&mut self, connection: &mut ControlConnection) {
        let Ok(line) = connection.request().await else { return };
        let request = match control::parse(&line) {
            Ok(request) => request,
            Err(refusal) => return drop(connection.send(&refusal).await),
        };
        let answer = self.answer(&request);
        if connection.send(&answer).await.is_err() || request != Request::Monitor {
            return;
        }
        self.gateway.observe(true);
        let mut events = self.push(SERVER, 2);
        events.extend(self.push("urn:wanted", 2));
        self.gateway.observe(false);
        // What the next monitor is told is the same again.
        self.now.uptime += Duration::from_secs(60);
        let lines = events.iter().map(|event| control::event_line(event, self.now));
        let mut lines: Vec<_> = lines.chain([control::lost_line(7)]).collect();
        if self.floods {
            lines = vec![lines[0].clone(); 100_000];
        }
        for line in lines {
            if connection.send(&line).await.is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, request: &Request) -> String {
        let io = IoCounters { store_flushes: 2, ..IoCounters::default() };
        control::answer(&mut self.gateway, request, &io, &ConfigurationState::default(), self.now)
    }

    fn link(&mut self, LanId(lan): LanId) {
        let name = options().lans[lan].interface.clone();
        let link =
            LinkEvent { index: index(LanId(lan)), name, running: true, removed: false, mac: None };
        self.handle(Input::Link(link));
    }

    fn neighbour(&mut self, lan: LanId, address: &str, mac: u8) {
        self.handle(Input::Neighbour(NeighbourEvent::Entry {
            interface: index(lan),
            address: address.parse().unwrap(),
            mac: Some(MacAddress([2, 0, 0, 0, 0, mac])),
            state: NeighbourState::Reachable,
        }));
    }

    /// A device opens a session and brings its list at once.
    fn session(&mut self, lan: LanId, address: &str, id: &str, servers: &[&str]) {
        let address: IpAddr = address.parse().unwrap();
        let list: String =
            servers.iter().map(|id| format!("<ServerInfo><ID>{id}</ID></ServerInfo>")).collect();
        let body = format!(
            "<SyncML xmlns='SYNCML:SYNCML1.2'><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2\
             </VerProto><SessionID>1</SessionID><MsgID>1</MsgID><Target><LocURI>gateway</LocURI>\
             </Target><Source><LocURI>{id}</LocURI></Source></SyncHdr><SyncBody><Alert><CmdID>1\
             </CmdID><Data>1201</Data></Alert><Alert><CmdID>2</CmdID><Data>1226</Data><Item><Meta>\
             <Type xmlns='syncml:metinf'>urn:oma:at:oma-gwmo:BootstrappedDMSList:1.0</Type></Meta>\
             <Data><![CDATA[<ServerList>{list}</ServerList>]]></Data></Item></Alert><Final/>\
             </SyncBody></SyncML>"
        );
        self.handle(Input::Request {
            connection: ConnectionId(1),
            lan,
            from: SocketAddr::new(address, 40_000),
            local: "192.0.2.1:8080".parse().unwrap(),
            request: HttpRequest {
                method: "POST",
                path: "/dm",
                content_type: Some("application/vnd.syncml.dm+xml"),
                body: body.as_bytes(),
            },
        });
    }

    fn push(&mut self, server: &str, session: u16) -> Vec<Event> {
        let from = "203.0.113.5:9200".parse().unwrap();
        self.handle(Input::Push { from, datagram: &push(server, RADIO, session) })
    }

    /// Hands an input over, makes every commit succeed, and gives the events.
    fn handle(&mut self, input: Input<'_>) -> Vec<Event> {
        self.gateway.handle(input, self.now);
        let mut events = Vec::new();
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Commit { commit, .. } => {
                    self.gateway.handle(Input::Committed { commit, result: Ok(()) }, self.now);
                }
                Output::Event(event) => events.push(event),
                _ => {}
            }
        }
        events
    }
}

fn index(LanId(lan): LanId) -> u32 {
    lan as u32 + 2
}

fn push(server: &str, device: &str, session_id: u16) -> Vec<u8> {
    let package = Notification {
        digest: [1; 16],
        version: 11,
        ui_mode: UiMode::Background,
        server_initiated: true,
        session_id,
        server_id: server,
        vendor: &[],
    };
    let mut datagram = Vec::new();
    wsp::encode_notification(&mut datagram, 1, Some(device), &package.encode());
    datagram
}

fn options() -> Options {
    let lan = |name: &str, policy| LanOptions {
        name: name.into(),
        interface: format!("br-{name}"),
        policy_locked: false,
        policy,
        detect: Detect { neighbours: true, ..Detect::default() },
        verify: Verify::Neighbour,
        device_auth: DeviceAuth::None,
        push_port: 2948,
        request_interval: None,
        request_burst: 1,
        listen: Vec::new(),
        trusted_link: false,
        provision: false,
        bootstrap_profile: Profile::Dm,
        bootstrap_listen: Vec::new(),
    };
    Options {
        id: "com.example.gateway".into(),
        public_address: None,
        share_address: false,
        wire_profile: WireProfile::Registered,
        push_interval: None,
        trigger_expiry: Duration::from_secs(900),
        trusted_sources: Vec::new(),
        push_token: None,
        lans: vec![lan("depot", Policy::Transparent), lan("guests", Policy::Bootstrap)],
        accounts: Vec::new(),
        management: management::Options::default(),
    }
}
