//! `cargo bench --bench forward`: pushes per second through the gateway, over 1,000 mappings.
//!
//! Yardsticks of the same run, between the same sockets: a forwarder that receives and sends
//! in batches and parses nothing, and nginx's UDP proxy where it is installed.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod plain;
mod rig;

use plain::{Pace, forward, generate, sink, socket};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const MAPPINGS: u32 = 1000;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const PLAIN: &str = "127.2.0.3:29490";
const NGINX: &str = "127.2.0.4:29490";

fn main() {
    rig::machine();
    let gateway = rig::Gateway::start();
    let summary = gateway.raise(MAPPINGS);
    assert_eq!(summary.acknowledged, MAPPINGS);
    let mut through_gateway = datagrams(true);
    let mut through_others = datagrams(false);
    let bench = Bench {
        source: socket("127.2.0.9:0".parse().unwrap()).unwrap(),
        drain: socket(([0, 0, 0, 0], rig::FARM.push_port).into()).unwrap(),
    };
    let plain = Forwarder::start();
    let nginx = nginx(gateway.path());
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        rates[0].push(bench.rate(rig::WAN, &mut through_gateway));
        rates[1].push(bench.rate(PLAIN, &mut through_others));
        if nginx.is_some() {
            rates[2].push(bench.rate(NGINX, &mut through_others));
        }
    }
    let [ours, plains, nginxs] = rates.map(median);
    println!("pushes of 100 octets over {MAPPINGS} mappings, medians of {ROUNDS} rounds:");
    println!("  gateway {ours:.0}/s, plain forwarder {plains:.0}/s");
    rig::verdict("gateway against the plain forwarder", ours / plains, "times", 0.8, true);
    if nginx.is_some() {
        println!("  nginx stream {nginxs:.0}/s");
        rig::verdict("gateway against nginx", ours / nginxs, "times", 2.0, true);
    } else {
        println!("  left out: nginx with the stream module is not installed");
    }
    let carried = bench.lossless(&mut through_others, plains);
    println!("the plain forwarder carries {carried:.0}/s without loss");
    let (sent, arrived) = bench.paced(rig::WAN, &mut through_gateway, carried / 2.0, 5.0);
    let lost = sent.saturating_sub(arrived);
    rig::verdict("lost of the gateway at half of that for 5 s", lost as f64, "pushes", 0.0, false);
    println!("  ({sent} sent, {arrived} arrived)");
    if lost > 0 {
        println!("  {}", gateway.ask(&["status"]));
    }
    plain.stop();
    if let Some(mut nginx) = nginx {
        let _ = nginx.kill();
        let _ = nginx.wait();
    }
}

/// A push for each mapping. The others get what the gateway sends: the same octets
/// behind a push header of the short form.
fn datagrams(with_header: bool) -> Vec<Vec<u8>> {
    (0..MAPPINGS)
        .map(|index| {
            let push = rig::push(index, index);
            if with_header { push } else { push[push.len() - 100 - 5..].to_vec() }
        })
        .collect()
}

struct Bench {
    source: std::net::UdpSocket,
    drain: std::net::UdpSocket,
}

impl Bench {
    /// Datagrams per second that arrive while as many are sent as the socket takes.
    fn rate(&self, to: &str, datagrams: &mut [Vec<u8>]) -> f64 {
        let (_, arrived) = self.run(to, datagrams, Pace::Full, ROUND);
        arrived as f64 / ROUND.as_secs_f64()
    }

    fn paced(&self, to: &str, datagrams: &mut [Vec<u8>], rate: f64, seconds: f64) -> (u64, u64) {
        self.run(to, datagrams, Pace::PerSecond(rate), Duration::from_secs_f64(seconds))
    }

    fn run(&self, to: &str, datagrams: &mut [Vec<u8>], pace: Pace, time: Duration) -> (u64, u64) {
        let to: SocketAddr = to.parse().unwrap();
        let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let drain = scope.spawn(|| sink(&self.drain, &count, &stop).unwrap());
            let sent = generate(&self.source, to, datagrams, pace, time, u64::MAX).unwrap();
            // What is on its way arrives.
            thread::sleep(Duration::from_millis(if pace == Pace::Full { 0 } else { 300 }));
            let arrived = count.load(Ordering::Relaxed);
            thread::sleep(Duration::from_millis(300));
            stop.store(true, Ordering::Relaxed);
            drain.join().unwrap();
            (sent, arrived)
        })
    }

    /// The highest rate, in steps of a tenth below `most`, that the plain forwarder carries
    /// for a second without loss.
    fn lossless(&self, datagrams: &mut [Vec<u8>], most: f64) -> f64 {
        for tenths in (1..=10).rev() {
            let rate = most * f64::from(tenths) / 10.0;
            let (sent, arrived) = self.paced(PLAIN, datagrams, rate, 1.0);
            if sent == arrived {
                return sent as f64;
            }
        }
        panic!("the plain forwarder loses at a tenth of its rate");
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// The plain forwarder in a thread of its own.
struct Forwarder {
    stop: std::sync::Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Forwarder {
    fn start() -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let front = socket(PLAIN.parse().unwrap()).unwrap();
        let back = socket("127.2.0.3:0".parse().unwrap()).unwrap();
        let targets: Vec<_> = (0..MAPPINGS).map(rig::device_address).collect();
        let flag = std::sync::Arc::clone(&stop);
        let thread = thread::spawn(move || {
            forward(&front, &back, &targets, &flag).unwrap();
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn nginx(directory: &std::path::Path) -> Option<Child> {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if !std::path::Path::new(module).exists() {
        return None;
    }
    let directory = directory.display();
    let target = rig::device_address(0);
    let text = format!(
        "load_module {module};\ndaemon off;\nmaster_process off;\nuser root;\n\
         pid {directory}/nginx.pid;\nerror_log /dev/null;\n\
         events {{ worker_connections 65000; }}\n\
         stream {{\n  server {{\n    listen {NGINX} udp;\n    proxy_pass {target};\n    \
         proxy_responses 0;\n  }}\n}}\n"
    );
    let path = format!("{directory}/nginx.conf");
    std::fs::write(&path, text).ok()?;
    let mut command = Command::new("nginx");
    command.args(["-c", &path]).stderr(Stdio::null()).stdout(Stdio::null());
    let nginx = command.spawn().ok()?;
    thread::sleep(Duration::from_millis(500));
    Some(nginx)
}
