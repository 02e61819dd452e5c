//! What the benchmarks of the running gateway share: the real binary on loopback, a farm of
//! simulated end devices, and the kernel's figures of a process.

// Each benchmark uses a part.
#![allow(dead_code)]

use dm_gateway::proto::notification::{Notification, UiMode};
use dm_gateway::proto::syncml::Encoding;
use dm_gateway::proto::wsp;
use dm_gateway::simulate::{Farm, FarmOptions, FarmSummary, Server};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_dm-gateway");
/// The DM server that every device of the farm names.
pub(crate) const SERVER: &str = "https://dms.bench.example";
/// Where pushes go.
pub(crate) const WAN: &str = "127.2.0.2:29490";

/// One LAN of the gateway under test. Its lease file has its name.
pub(crate) struct Lan {
    name: &'static str,
    listen: &'static str,
    /// What the names of its devices begin with; 15 digits follow.
    prefix: &'static str,
    /// Address of its first device.
    pub(crate) first: Ipv4Addr,
    /// UDP port of its devices.
    pub(crate) push_port: u16,
}

/// The LAN of the many.
pub(crate) const FARM: Lan = Lan {
    name: "farm",
    listen: "127.2.0.1:29491",
    prefix: "IMEI:",
    first: Ipv4Addr::new(127, 2, 16, 1),
    push_port: 29492,
};

/// A LAN beside it.
pub(crate) const ASIDE: Lan = Lan {
    name: "aside",
    listen: "127.2.0.1:29493",
    prefix: "urn:aside:",
    first: Ipv4Addr::new(127, 2, 15, 1),
    push_port: 29494,
};

/// A gateway process, its state and its lease file in a directory of its own.
pub(crate) struct Gateway {
    directory: tempfile::TempDir,
    process: Child,
    /// Where it notifies the service manager.
    notify: UnixDatagram,
    /// From its start to READY=1.
    pub(crate) to_ready: Duration,
}

impl Gateway {
    /// Starts a gateway that knows nothing.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("gateway.toml"), configuration()).expect("configuration");
        let (process, notify, to_ready) = spawn(directory.path());
        Self { directory, process, notify, to_ready }
    }

    /// Stops it and starts it again on the same state.
    pub(crate) fn restart(&mut self) {
        self.stop();
        (self.process, self.notify, self.to_ready) = spawn(self.directory.path());
    }

    fn stop(&mut self) {
        let id = self.process.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        let _ = self.process.wait();
    }

    /// What `dm-gateway VERB --json` says.
    pub(crate) fn ask(&self, verb: &[&str]) -> serde_json::Value {
        let mut command = Command::new(PROGRAM);
        command
            .args(verb)
            .arg("--json")
            .arg("--config")
            .arg(self.directory.path().join("gateway.toml"));
        let output = command.output().expect("the binary runs");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Makes `count` devices come up by their leases and waits until each has its mapping.
    pub(crate) fn raise(&self, count: u32) -> FarmSummary {
        self.raise_on(&FARM, count)
    }

    /// [`raise`](Self::raise) on another LAN.
    pub(crate) fn raise_on(&self, lan: &Lan, count: u32) -> FarmSummary {
        let farm = farm(lan, count);
        let path = self.directory.path().join(lan.name);
        let fresh = path.with_extension("new");
        fs::write(&fresh, farm.leases()).expect("lease file");
        let end = async {
            smol::Timer::after(Duration::from_secs(120)).await;
            Ok(())
        };
        smol::block_on(async {
            // The farm's socket is there before the devices are asked.
            let come = async {
                smol::Timer::after(Duration::from_millis(100)).await;
                fs::rename(&fresh, &path).expect("lease file");
                smol::future::pending().await
            };
            smol::future::or(smol::future::or(farm.run(), come), end).await
        })
        .expect("the farm runs");
        farm.summary()
    }

    /// The directory of configuration, leases and state.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("/proc is mounted");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    }

    /// How often its threads were scheduled so far.
    pub(crate) fn switches(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let mut sum = 0;
        for task in tasks.expect("/proc is mounted").flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            sum += status
                .lines()
                .filter_map(|line| line.split_once("ctxt_switches:"))
                .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
                .sum::<u64>();
        }
        sum
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

fn farm(lan: &Lan, count: u32) -> Farm {
    Farm::new(FarmOptions {
        id_prefix: lan.prefix.to_owned(),
        count,
        base_address: lan.first,
        push_port: lan.push_port,
        gateway_id: Some("gateway.bench".to_owned()),
        gateway_url: format!("http://{}/dm", lan.listen),
        servers: vec![Server { id: SERVER.to_owned(), url: String::new(), secret: None }],
        encoding: Encoding::Wbxml,
        quirks: Vec::new(),
        open_session: false,
    })
}

/// Address of the device with that number.
pub(crate) fn device_address(index: u32) -> SocketAddr {
    (Ipv4Addr::from(u32::from(FARM.first) + index), FARM.push_port).into()
}

/// A Package #0 of 100 octets for the device with that number.
pub(crate) fn package(serial: u32) -> Vec<u8> {
    let mut vendor = vec![0; 100 - 24 - SERVER.len()];
    vendor[..4].copy_from_slice(&serial.to_be_bytes());
    let notification = Notification {
        digest: [0; 16],
        version: 11,
        ui_mode: UiMode::Background,
        server_initiated: true,
        session_id: 1,
        server_id: SERVER,
        vendor: &vendor,
    };
    notification.encode()
}

/// The push that carries [`package`] to the gateway.
pub(crate) fn push(index: u32, serial: u32) -> Vec<u8> {
    push_on(&FARM, index, serial)
}

/// [`push`] on another LAN.
pub(crate) fn push_on(lan: &Lan, index: u32, serial: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let device = format!("{}{index:015}", lan.prefix);
    wsp::encode_notification(&mut out, 1, Some(&device), &package(serial));
    out
}

/// Prints a figure beside its goal, in red where it is missed.
pub(crate) fn verdict(name: &str, figure: f64, unit: &str, goal: f64, at_least: bool) {
    let met = if at_least { figure >= goal } else { figure <= goal };
    let sign = if at_least { "≥" } else { "≤" };
    let line = format!("{name}: {figure:.2} {unit} (goal {sign} {goal} {unit})");
    if met {
        println!("  ok      {line}");
    } else {
        println!("  \x1b[31mMISSED  {line}\x1b[0m");
    }
}

/// The machine, for the figures' sake.
pub(crate) fn machine() {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    println!("machine: {model}, {cores} cores, Linux {}", kernel.trim());
}

#[expect(clippy::zombie_processes, reason = "whoever gets the process ends it")]
fn spawn(directory: &Path) -> (Child, UnixDatagram, Duration) {
    let notify = directory.join("notify");
    let _ = fs::remove_file(&notify);
    let socket = UnixDatagram::bind(&notify).expect("a notify socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let begin = Instant::now();
    let process = Command::new(PROGRAM)
        .args(["run", "--config"])
        .arg(directory.join("gateway.toml"))
        .env("NOTIFY_SOCKET", &notify)
        .env("DM_GATEWAY_LOG", "warn")
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the binary starts");
    let mut line = [0; 512];
    loop {
        let length = socket.recv(&mut line).expect("READY=1 comes");
        if line[..length].starts_with(b"READY=1") {
            let ready = begin.elapsed();
            return (process, socket, ready);
        }
    }
}

fn configuration() -> String {
    let mut text = format!(
        r#"
[gateway]
id = "gateway.bench"
public-address = "192.0.2.1"
share-address = false
state-dir = "state"
push-rate = 0

[wan]
push-listen = ["{WAN}"]
"#
    );
    for Lan { name, listen, push_port, .. } in [FARM, ASIDE] {
        text += &format!(
            r#"
[[lan]]
name = "{name}"
interface = "lo"
listen = "{listen}"
push-port = {push_port}
policy = "transparent"
detect = ["leases"]
lease-file = "{name}"
verify = "none"
"#
        );
    }
    text
}
