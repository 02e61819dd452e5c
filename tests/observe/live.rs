//! A daemon on loopback, end devices that speak by hand, and pushes.

use dm_gateway::proto::notification::{Notification, UiMode};
use dm_gateway::proto::wsp;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
/// What a loaded machine may take.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A daemon and its directory.
pub(crate) struct Live {
    directory: tempfile::TempDir,
    net: u8,
    daemon: Option<Child>,
}

impl Live {
    /// Uses the addresses 127.6.`net`.x; `more` is added to the configuration, `DIR` in it stands
    /// for the directory.
    pub(crate) fn new(net: u8, more: &str) -> Self {
        let live = Self { directory: tempfile::tempdir().unwrap(), net, daemon: None };
        let more = more.replace("DIR", &live.path().display().to_string());
        let text = format!(
            r#"
[gateway]
id = "gateway.test"
state-dir = "state"
[wan]
push-listen = ["127.6.{net}.2:2948"]
[[lan]]
name = "depot"
interface = "lo"
listen = "127.6.{net}.1:8080"
policy = "transparent"
verify = "none"
push-port = 2949
{more}
"#
        );
        fs::write(live.config(), text).unwrap();
        live
    }

    pub(crate) fn start(net: u8, more: &str) -> Self {
        let mut live = Self::new(net, more);
        let command = live.command(&["run"]);
        live.run(command);
        live
    }

    pub(crate) fn run(&mut self, mut command: Command) {
        let log = fs::File::create(self.path().join("log")).unwrap();
        self.daemon = Some(command.stderr(log).spawn().unwrap());
        self.until("it is up", |live| live.ask(&["status"]).status.code() < Some(3));
    }

    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let late = Instant::now() + SOON;
        while !condition(self) {
            assert!(Instant::now() < late, "not in time: {what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("gateway.toml")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(verb).arg("--config").arg(self.config());
        command
    }

    pub(crate) fn ask(&self, verb: &[&str]) -> Output {
        self.command(verb).output().unwrap()
    }

    pub(crate) fn json(&self, verb: &[&str]) -> Value {
        let output = self.command(verb).arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A device opens a session and brings its list at once.
    pub(crate) fn session(&self, host: u8, id: &str, servers: &[&str]) {
        let list: String =
            servers.iter().map(|id| format!("<ServerInfo><ID>{id}</ID></ServerInfo>")).collect();
        let id = id.replace('&', "&amp;").replace('<', "&lt;").replace('\n', "&#10;");
        let body = format!(
            "<SyncML xmlns='SYNCML:SYNCML1.2'><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2\
             </VerProto><SessionID>1</SessionID><MsgID>1</MsgID><Target><LocURI>gateway</LocURI>\
             </Target><Source><LocURI>{id}</LocURI></Source><Cred><Meta><Type \
             xmlns='syncml:metinf'>syncml:auth-basic</Type></Meta><Data>Y2FuYXJ5OmNhbmFyeQ==\
             </Data></Cred></SyncHdr><SyncBody><Alert><CmdID>1\
             </CmdID><Data>1201</Data></Alert><Alert><CmdID>2</CmdID><Data>1226</Data><Item><Meta>\
             <Type xmlns='syncml:metinf'>urn:oma:at:oma-gwmo:BootstrappedDMSList:1.0</Type></Meta>\
             <Data><![CDATA[<ServerList>{list}</ServerList>]]></Data></Item></Alert><Final/>\
             </SyncBody></SyncML>"
        );
        let net = self.net;
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let from: SocketAddr = format!("127.6.{net}.{host}:0").parse().unwrap();
        socket.bind(&from.into()).unwrap();
        let to: SocketAddr = format!("127.6.{net}.1:8080").parse().unwrap();
        socket.connect(&to.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        let head = format!(
            "POST /dm HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Type: \
             application/vnd.syncml.dm+xml\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// A server pushes for a device.
    pub(crate) fn push(&self, server: &str, device: &str, session_id: u16) {
        let package = Notification {
            digest: *b"canary-of-digest",
            version: 12,
            ui_mode: UiMode::Background,
            server_initiated: true,
            session_id,
            server_id: server,
            vendor: &[],
        };
        let mut datagram = Vec::new();
        wsp::encode_notification(&mut datagram, 1, Some(device), &package.encode());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&datagram, format!("127.6.{}.2:2948", self.net)).unwrap();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Says that a test is left out, and whether it may be.
pub(crate) fn left_out(suite: &str, why: &str) {
    assert!(std::env::var("DM_GATEWAY_REQUIRE_TOOLS").as_deref() != Ok("1"), "{suite}: {why}");
    println!("left out: observe: {suite}: {why}");
}

pub(crate) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// One request, and its answer with head and body.
pub(crate) fn get(stream: &mut (impl Read + Write), path: &str, host: &str) -> (u16, String) {
    request(stream, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

pub(crate) fn request(stream: &mut (impl Read + Write), head: &str) -> (u16, String) {
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // What is refused early may be reset after its answer.
    let _ = stream.read_to_end(&mut answer);
    let answer = text(&answer);
    let code = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_default();
    (code, answer)
}
