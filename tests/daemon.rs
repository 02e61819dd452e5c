//! The real binary: how it starts, answers, refuses to start, and stops.
#![expect(clippy::unwrap_used, reason = "the helpers are part of the tests")]
#![expect(clippy::print_stdout, reason = "a test that is left out says so")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");

/// A directory with a configuration on loopback, and perhaps a daemon.
struct Bench {
    directory: tempfile::TempDir,
    net: u8,
    daemon: Option<Child>,
}

impl Bench {
    /// Uses the addresses 127.1.`net`.x.
    fn new(net: u8) -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap(), net, daemon: None };
        bench.configure("");
        bench
    }

    fn configure(&self, more: &str) {
        let net = self.net;
        let text = format!(
            r#"
[gateway]
id = "gateway.test"
state-dir = "state/deep"

[wan]
push-listen = ["127.1.{net}.2:2948"]

[[lan]]
name = "radios"
interface = "lo"
listen = "127.1.{net}.1:8080"
policy = "transparent"
verify = "none"
{more}
"#
        );
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.path().join("gateway.toml")
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn state(&self) -> PathBuf {
        self.path().join("state/deep")
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(verb).arg("--config").arg(self.config());
        command
    }

    fn ask(&self, verb: &[&str]) -> Output {
        self.command(verb).output().unwrap()
    }

    fn start(&mut self) {
        let log = fs::File::create(self.path().join("log")).unwrap();
        let daemon = self.command(&["run"]).stderr(log).spawn().unwrap();
        self.daemon = Some(daemon);
        self.until_up();
    }

    /// `run`, started as systemd does with the sockets of a unit, which `held` makes in Python.
    fn command_with_sockets(&self, held: &str, names: &[&str]) -> Command {
        let sockets: String = names.iter().map(|name| format!("{name}.fileno(), ")).collect();
        let text = format!(
            r#"
import fcntl, os, socket, sys
{held}
# Out of the way first: one of them may be where another belongs.
high = [fcntl.fcntl(socket, fcntl.F_DUPFD, 20) for socket in ({sockets})]
for number, socket in enumerate(high):
    os.dup2(socket, 3 + number)
environment = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)))
os.execve(sys.argv[1], sys.argv[1:], environment)
"#
        );
        let mut command = Command::new("python3");
        command.args(["-c", &text, PROGRAM, "run", "--config"]).arg(self.config());
        command
    }

    fn until_up(&self) {
        let late = Instant::now() + Duration::from_secs(10);
        while !self.ask(&["status"]).status.success() {
            assert!(Instant::now() < late, "not up: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.daemon.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Runs `run`, which must fail, and gives what it said.
    fn refused(&self) -> String {
        let start = Instant::now();
        let output = self.ask(&["run"]);
        assert!(!output.status.success());
        assert!(start.elapsed() < Duration::from_secs(2));
        let said = String::from_utf8(output.stderr).unwrap();
        // Log lines may stand before it.
        let error = said.split("error[").nth(1).unwrap_or_default().to_owned();
        assert!(error.starts_with("GW-") && error.contains("\n  try: "), "{said}");
        error
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

#[test]
fn it_starts_answers_and_stops_cleanly_within_two_seconds() {
    for signal in ["TERM", "INT"] {
        let mut bench = Bench::new(1);
        bench.start();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&bench.state()), 0o700);
        let socket = bench.state().join("control.sock");
        assert_eq!(mode(&socket), 0o660);
        let status = bench.ask(&["status", "--json"]);
        assert_eq!(status.status.code(), Some(0));
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!((&status["schema"], &status["health"]), (&1.into(), &"healthy".into()));
        // A connection in the middle of a request does not hold the stop up.
        let mut half = TcpStream::connect("127.1.1.1:8080").unwrap();
        half.write_all(b"POST /dm HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").unwrap();
        let start = Instant::now();
        bench.signal(signal);
        let status = bench.daemon.as_mut().unwrap().wait().unwrap();
        assert!(status.success(), "{}", bench.log());
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(!socket.exists());
        assert_eq!(bench.ask(&["status"]).status.code(), Some(3));
    }
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_replaced() {
    let mut bench = Bench::new(2);
    bench.start();
    bench.signal("KILL");
    bench.daemon.take().unwrap().wait().unwrap();
    assert!(bench.state().join("control.sock").exists());
    assert_eq!(bench.ask(&["devices"]).status.code(), Some(3));
    bench.start();
    assert_eq!(bench.ask(&["devices"]).status.code(), Some(0));
}

#[test]
fn a_bad_configuration_is_refused_with_one_sentence() {
    let bench = Bench::new(3);
    bench.configure("polcy = \"transparent\"");
    let said = bench.refused();
    assert!(said.contains("polcy") && said.contains("policy"), "{said}");
    fs::remove_file(bench.config()).unwrap();
    let said = bench.refused();
    assert!(said.contains("gateway.toml"), "{said}");
}

#[test]
fn an_occupied_port_is_refused_with_one_sentence() {
    let bench = Bench::new(4);
    let taken = UdpSocket::bind("127.1.4.2:2948").unwrap();
    assert!(bench.refused().contains("127.1.4.2:2948"));
    drop(taken);
    let _taken = TcpListener::bind("127.1.4.1:8080").unwrap();
    assert!(bench.refused().contains("127.1.4.1:8080"));
}

#[test]
fn a_second_daemon_is_refused_and_the_first_is_not_disturbed() {
    let mut bench = Bench::new(5);
    bench.start();
    assert!(bench.refused().contains("control.sock"));
    assert_eq!(bench.ask(&["status"]).status.code(), Some(0));
    // Another socket does not help: the store has its own lock.
    let text = fs::read_to_string(bench.config()).unwrap();
    let text = text.replace("127.1.5.", "127.1.55.") + "\n[control]\nsocket = \"other.sock\"\n";
    fs::write(bench.config(), text).unwrap();
    let said = bench.refused();
    assert!(said.contains("store"), "{said}");
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_with_one_sentence() {
    let bench = Bench::new(6);
    let long = "x".repeat(120);
    bench.configure(&format!("[control]\nsocket = \"{long}\""));
    assert!(bench.refused().contains("107"));
}

#[test]
fn a_store_that_cannot_be_opened_is_refused_with_one_sentence() {
    let bench = Bench::new(7);
    fs::create_dir_all(bench.state()).unwrap();
    fs::write(bench.state().join("store"), "a file where the directory should be").unwrap();
    let said = bench.refused();
    assert!(said.contains("store"), "{said}");
    fs::remove_dir_all(bench.path().join("state")).unwrap();
    fs::write(bench.path().join("state"), "a file where the state directory should be").unwrap();
    assert!(bench.refused().contains("state directory"));
}

#[test]
fn a_lan_whose_interface_is_missing_degrades_the_gateway_and_no_lan_is_down() {
    let mut bench = Bench::new(8);
    let more = "[[lan]]\nname = \"ghost\"\ninterface = \"ghost0\"\nlisten = \"192.0.2.77:8080\"";
    bench.configure(more);
    let log = fs::File::create(bench.path().join("log")).unwrap();
    bench.daemon = Some(bench.command(&["run"]).stderr(log).spawn().unwrap());
    let reached = |code: i32, words: &str| {
        let late = Instant::now() + Duration::from_secs(10);
        loop {
            let output = bench.ask(&["status"]);
            let said = String::from_utf8(output.stdout).unwrap();
            if output.status.code() == Some(code) && said.contains(words) {
                return;
            }
            assert!(Instant::now() < late, "{:?}: {said}", output.status.code());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    reached(1, "ghost0");
    bench.signal("TERM");
    bench.daemon.take().unwrap().wait().unwrap();
    let text = fs::read_to_string(bench.config()).unwrap().replace("\"lo\"", "\"ghost1\"");
    fs::write(bench.config(), text).unwrap();
    bench.daemon = Some(bench.command(&["run"]).stderr(Stdio::null()).spawn().unwrap());
    let bench = &bench;
    let late = Instant::now() + Duration::from_secs(10);
    while bench.ask(&["status"]).status.code() != Some(2) {
        assert!(Instant::now() < late);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn pushes_wait_in_a_socket_that_the_service_manager_holds() {
    let mut bench = Bench::new(14);
    // The second and third are of no use.
    let held = r#"
push = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
push.bind(("127.1.14.2", 2948))
for number in range(3):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"early", push.getsockname())
idle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
idle.bind(("127.1.14.3", 2948))
web = socket.create_server(("127.1.14.4", 8080))
"#;
    let mut command = bench.command_with_sockets(held, &["push", "idle", "web"]);
    let log = fs::File::create(bench.path().join("log")).unwrap();
    match command.stderr(log).spawn() {
        Ok(daemon) => bench.daemon = Some(daemon),
        Err(error) => return println!("left out: pushes in held sockets (python3: {error})"),
    }
    bench.until_up();
    let status = bench.ask(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["counters"]["pushes"], 3, "{status}");
    let log = bench.log();
    assert!(log.contains("holds a socket at 127.1.14.3:2948, which no push-listen names"), "{log}");
    assert!(log.contains("a socket of the service manager is not used: it is not UDP"), "{log}");
}

#[test]
fn a_held_socket_that_is_not_tied_to_the_wan_is_refused_with_one_sentence() {
    let bench = Bench::new(15);
    let text = fs::read_to_string(bench.config()).unwrap();
    let text = text.replace("[wan]\n", "[wan]\ninterface = \"lo\"\n");
    fs::write(bench.config(), text).unwrap();
    let held = r#"
push = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
push.bind(("127.1.15.2", 2948))
"#;
    let Ok(output) = bench.command_with_sockets(held, &["push"]).output() else {
        return println!("left out: pushes in held sockets (no python3)");
    };
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("try: BindToDevice=lo"), "{said}");
}

#[test]
fn wrong_usage_is_64_and_says_what_to_try() {
    for arguments in
        [&["fly"][..], &[], &["devices", "--colour"], &["map"], &["map", "explain", "one"]]
    {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error[GW-CLI-01]: ") && said.contains("\n  try: "), "{said}");
    }
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for verb in ["run", "demo", "status", "devices", "servers", "map", "monitor", "decode"] {
        assert!(help.contains(verb), "{verb}");
    }
}

#[test]
fn whatever_arrives_is_counted_and_stops_nothing() {
    let mut bench = Bench::new(9);
    bench.start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    for length in 0..200_usize {
        let datagram: Vec<u8> = (0..length).map(|index| (index * 37 + length) as u8).collect();
        socket.send_to(&datagram, "127.1.9.2:2948").unwrap();
    }
    socket.send_to(&[0; 9000], "127.1.9.2:2948").unwrap();
    for body in
        ["<!DOCTYPE a [<!ENTITY b \"c\">]><SyncML/>", "\u{0}", "<SyncML>", &"<a>".repeat(9000)]
    {
        let mut http = TcpStream::connect("127.1.9.1:8080").unwrap();
        let head = "POST /dm HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        let kind = "Content-Type: application/vnd.syncml.dm+xml\r\n";
        let length = body.len();
        write!(http, "{head}{kind}Content-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    for (request, answer) in [
        ("POST /dm HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n", "HTTP/1.1 413"),
        ("POST /dm HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n", "HTTP/1.1 415"),
        ("what is this?\r\n\r\n", "HTTP/1.1 400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 404"),
    ] {
        let mut http = TcpStream::connect("127.1.9.1:8080").unwrap();
        http.write_all(request.as_bytes()).unwrap();
        let mut answered = String::new();
        http.read_to_string(&mut answered).unwrap();
        assert!(answered.starts_with(answer), "{answered}");
    }
    assert!(socket.recv(&mut [0; 64]).is_err(), "unauthenticated datagrams are never answered");
    let status = bench.ask(&["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["counters"]["pushes_refused"], 200);
    assert_eq!(status["refused"]["malformed-message"]["count"], 4);
    assert_eq!(status["refused"]["bad-request"]["count"], 4);
    assert_eq!(status["counters"]["requests"], 8);
    assert_eq!(status["io"]["pushes_oversize"], 1);
    assert_eq!(status["devices"]["known"], 0);
}

/// What the demo tells of the gateway as a client, in that order.
#[cfg(feature = "simulate")]
const MANAGED: [(&str, &str); 22] = [
    ("wanted", "(server dms.fire.example)"),
    ("bootstrapping", "dms.fire.example"),
    ("fetch", "GET over HTTPS: gateway.demo asks for an account with dms.fire.example: HTTP 200"),
    ("bootstrapped", "dms.fire.example"),
    ("session-started", "message 1 goes to https://127.0.9.12:"),
    ("command", "Get ./DevInfo/DevId: 200 done"),
    ("command", "Get ./GwDeviceInventory/Records: 200 done"),
    ("session-ended", "dms.fire.example"),
    ("forwarded", "the gateway has an account with this server"),
    ("session", "it opens DM session"),
    ("notified", "its digest is right"),
    ("session-started", "by Package #0"),
    ("command", "DeviceID: 200 done"),
    ("result", "DeviceID is IMEI:356938035643809"),
    ("policy", "guests"),
    ("command", "Replace ./GwConfig/LAN/guests/EDBootstrapPolicy: 200 done"),
    ("command", "Replace ./GwConfig/GwID: 405 refused"),
    ("mapped", "mac:02-00-00-00-03-0b"),
    ("session-started", "may stay"),
    ("kept", "dms.fire.example"),
    ("The gateway restarts", ""),
    ("result", "EDBootstrapPolicy is 2"),
];

#[cfg(feature = "simulate")]
#[test]
fn a_dm_server_that_fails_degrades_the_gateway_until_a_session_with_it_ends_well() {
    use dm_gateway::simulate::managing::{self, Script, Server};
    let mut bench = Bench::new(10);
    bench.configure(
        "[[server]]\nid = \"dms.test\"\nallow-http = true\n[bootstrap]\ndirectories = [\"boot\"]",
    );
    fs::create_dir(bench.path().join("boot")).unwrap();
    fs::write(bench.path().join("boot/account.xml"), ACCOUNT).unwrap();
    let log = fs::File::create(bench.path().join("log")).unwrap();
    bench.daemon = Some(bench.command(&["run"]).stderr(log).spawn().unwrap());
    let late = Instant::now() + Duration::from_secs(10);
    let problem = "DM server dms.test: the last session failed: ";
    loop {
        let output = bench.ask(&["status"]);
        let said = String::from_utf8(output.stdout).unwrap();
        if output.status.code() == Some(1) {
            assert!(said.starts_with("FAIL  GW-SRV-0") && said.contains(problem), "{said}");
            assert!(said.contains("try: dm-gateway servers test dms.test"), "{said}");
            break;
        }
        assert!(Instant::now() < late, "{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let session = bench.ask(&["session", "dms.test", "--wait"]);
    let said = String::from_utf8(session.stdout).unwrap();
    assert_eq!(session.status.code(), Some(1), "{said}");
    assert!(said.contains("session-failed") && said.contains("127.1.10.9:8081"), "{said}");

    let script = "get ./DevInfo/DevId\nget ./Nowhere\n";
    let options = managing::Options {
        id: "dms.test".into(),
        script: Script::parse(script).unwrap(),
        ..managing::Options::default()
    };
    let server = Server::start("127.1.10.9:8081".parse().unwrap(), options).unwrap();
    let session = bench.ask(&["session", "dms.test", "--wait"]);
    let said = String::from_utf8(session.stdout).unwrap();
    assert_eq!(session.status.code(), Some(0), "{said}");
    let lines: Vec<_> = said.lines().skip(1).collect();
    for (line, what) in lines.iter().zip([
        "gateway → server  dms.test                  session-started   an operator wants it: ",
        "server → gateway  dms.test                  command           Get ./DevInfo/DevId: 200 done",
        "server → gateway  dms.test                  command           Get ./Nowhere: 404 refused: there is no such node",
        "gateway ↔ server  dms.test                  session-ended     the session ended as it should",
    ]) {
        assert!(line.contains(what), "{said}");
    }
    assert_eq!(lines.len(), 4, "{said}");
    let status = bench.ask(&["status"]);
    let said = String::from_utf8(status.stdout).unwrap();
    assert_eq!(status.status.code(), Some(0), "{said}");
    assert!(said.contains("managed   1 account with a DM server; "));
    drop(server);
}

#[cfg(feature = "simulate")]
const ACCOUNT: &str = r#"<MgmtTree xmlns="syncml:dmddf1.2"><VerDTD>1.2</VerDTD>
<Node><NodeName>test</NodeName><Path>./DMAcc</Path>
<Node><NodeName>AppID</NodeName><Value>w7</Value></Node>
<Node><NodeName>ServerID</NodeName><Value>dms.test</Value></Node>
<Node><NodeName>AppAddr</NodeName><Node><NodeName>1</NodeName>
<Node><NodeName>Addr</NodeName><Value>http://127.1.10.9:8081/dm</Value></Node>
<Node><NodeName>AddrType</NodeName><Value>URI</Value></Node></Node></Node>
</Node></MgmtTree>
"#;

#[cfg(feature = "simulate")]
#[test]
fn the_demo_ends_well_in_time_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("demo").args(arguments).env("TMPDIR", temporary.path()).output().unwrap()
    };
    let output = run(&[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(start.elapsed() < Duration::from_secs(30));
    for word in ["detected", "asked", "mapped", "forwarded", "held", "refused", "All went right"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let mut rest = said.as_str();
    for (event, what) in MANAGED {
        let found = rest.lines().position(|line| line.contains(event) && line.contains(what));
        let found = found.unwrap_or_else(|| panic!("{event}, {what}: {said}"));
        rest = rest.splitn(found + 2, '\n').last().unwrap_or_default();
    }
    assert!(said.contains("5 with DM servers that manage it, 0 failed"), "{said}");
    assert!(!said.contains("demo-fire") && !said.contains("demo-gateway"), "secrets: {said}");
    let output = run(&["--json"]);
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let last = lines.lines().last().unwrap();
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
    let summary: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(summary["event"], "summary");
    let managed = ["accounts", "sessions", "sessions-failed", "wanted"];
    assert_eq!(managed.map(|name| summary[name].as_u64()), [Some(1), Some(5), Some(0), Some(0)]);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    // Where nobody can read it, it says so. (Two demos at once would want the same addresses.)
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("demo").env("TMPDIR", temporary.path()).env("DM_GATEWAY_LOG", "blah");
    let output = command.stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("error[GW-CLI-02]: cannot write the result"), "{said}");
    assert!(said.contains("DM_GATEWAY_LOG is \"blah\", which does not count"), "{said}");
}
