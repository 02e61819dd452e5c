//! `cargo bench --bench storm`: 10,000 end devices come up at once, each from Package #0 to a
//! durable mapping; meanwhile a device on another LAN, there before, is pushed to.
//!
//! `STORM=1000 cargo bench --bench storm` makes it smaller.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod rig;

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two pushes to it.
const BEAT: Duration = Duration::from_millis(10);
const QUIET: Duration = Duration::from_secs(5);

fn main() {
    rig::machine();
    let devices = std::env::var("STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let gateway = rig::Gateway::start();
    assert_eq!(gateway.raise_on(&rig::ASIDE, 1).acknowledged, 1);
    let socket = UdpSocket::bind((rig::ASIDE.first, rig::ASIDE.push_port)).unwrap();
    let quiet = watch(&socket, 0, |stop| {
        thread::sleep(QUIET);
        stop.store(true, Ordering::Relaxed);
    });
    let before = gateway.ask(&["status"]);
    let mut summary = None;
    let busy = watch(&socket, 1 << 20, |stop| {
        summary = Some(gateway.raise(devices));
        stop.store(true, Ordering::Relaxed);
    });
    let summary = summary.unwrap();
    let after = gateway.ask(&["status"]);
    let flushes = |status: &serde_json::Value| status["io"]["store_flushes"].as_u64().unwrap_or(0);
    println!(
        "storm of {devices} devices: {} mapped in {:.1} s, {} flushes, {} sessions, {} failed",
        summary.acknowledged,
        summary.elapsed.as_secs_f64(),
        flushes(&after) - flushes(&before),
        summary.sessions,
        summary.failed,
    );
    assert_eq!(after["mappings"], u64::from(devices) + 1);
    println!("  resident memory afterwards: {:.1} MiB", gateway.resident() as f64 / 1024.0);
    println!("forwarding to a device that was there before, {BEAT:?} apart:");
    quiet.print("quiet");
    busy.print("storm");
    rig::verdict("p99 in the storm", busy.at(0.99).as_secs_f64() * 1e3, "ms", 20.0, false);
    rig::verdict("pushes lost in the storm", busy.lost as f64, "pushes", 0.0, false);
}

/// How long pushes took.
struct Times {
    sorted: Vec<Duration>,
    lost: usize,
}

impl Times {
    fn at(&self, share: f64) -> Duration {
        let index = (self.sorted.len() as f64 * share) as usize;
        self.sorted.get(index.min(self.sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn print(&self, when: &str) {
        let count = self.sorted.len();
        let (median, p99, most) = (self.at(0.5), self.at(0.99), self.at(1.0));
        let lost = self.lost;
        println!(
            "  {when}: {count} pushes, median {median:.1?}, p99 {p99:.1?}, most {most:.1?}, {lost} lost"
        );
    }
}

/// Pushes to the bystander while `work` runs, and measures from the send to the arrival.
fn watch(socket: &UdpSocket, serial: u32, work: impl FnOnce(&AtomicBool)) -> Times {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            let source = UdpSocket::bind("127.2.0.9:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let (mut sorted, mut lost, mut serial) = (Vec::new(), 0, serial);
            let mut buffer = [0; 512];
            while !stop.load(Ordering::Relaxed) {
                serial += 1;
                let push = rig::push_on(&rig::ASIDE, 0, serial);
                let begin = Instant::now();
                source.send_to(&push, rig::WAN).unwrap();
                let expected = rig::package(serial);
                loop {
                    match socket.recv(&mut buffer) {
                        Ok(length) if buffer[..length].ends_with(&expected) => {
                            sorted.push(begin.elapsed());
                            break;
                        }
                        Ok(_) => {}
                        Err(_) => {
                            lost += 1;
                            break;
                        }
                    }
                }
                thread::sleep(BEAT.saturating_sub(begin.elapsed()));
            }
            sorted.sort_unstable();
            Times { sorted, lost }
        });
        work(&stop);
        measuring.join().unwrap()
    })
}
