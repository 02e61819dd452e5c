//! `dm-gateway simulate device | server | farm`: simulated peers, one JSON line an event.

mod arguments;
mod definitions;
mod managing;

use crate::cli::client::{Stop, print};
use crate::cli::definition::{self, Command, Given};
use crate::control;
use crate::io::plain;
use crate::proto::auth::Secret;
use crate::simulate::managing::Options as Management;
use crate::simulate::{
    DmServer, DmServerOptions, EndDevice, EndDeviceOptions, Farm, FarmOptions, Report, Sink, gate,
};
use smol::{LocalExecutor, Timer, channel, future};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// `simulate`.
pub const COMMAND: Command = Command {
    name: "simulate",
    summary: "one simulated end device or DM server, or thousands, over real UDP and HTTP",
    text: "Prints one JSON line an event.",
    commands: &[definitions::DEVICE, definitions::SERVER, definitions::FARM],
    ..definition::COMMAND
};

fn simulate(given: Given) -> Result<u8, Stop> {
    arguments::read(&given)?.run().map(|awaited| u8::from(!awaited))
}

fn unusable(path: &str, error: &io::Error) -> Stop {
    let cause = plain(error);
    Stop::failed(&format!("cannot use {path}; cause: {cause}; try: ls -l {path}"))
}

/// What the arguments ask for.
#[derive(Debug)]
enum Task {
    Print(String),
    Device {
        options: EndDeviceOptions,
        start: Start,
        until: Until,
    },
    Server {
        options: DmServerOptions,
        management: Option<Box<Management>>,
        pushes: Option<Pushes>,
        until: Until,
    },
    Farm {
        options: FarmOptions,
        leases: Option<String>,
        until: Until,
    },
}

/// How an end device begins.
#[derive(Debug)]
enum Start {
    /// It waits for a push.
    Wait,
    /// It opens a session.
    Session,
    /// It waits for a bootstrap, proven by a pin if there is one.
    FactoryFresh(Option<Secret>),
}

/// When to end.
#[derive(Debug, Default)]
struct Until {
    /// Event and how often.
    event: Option<(String, u64)>,
    timeout: Option<Duration>,
}

#[derive(Debug)]
struct Pushes {
    to: SocketAddr,
    device: Option<String>,
    first: u16,
    count: u16,
    interval: Duration,
    repeat: bool,
    raw: Option<Vec<u8>>,
}

impl Task {
    fn run(self) -> Result<bool, Stop> {
        let executor = LocalExecutor::new();
        match self {
            Self::Print(text) => {
                print(&text)?;
                Ok(true)
            }
            Self::Device { options, start, until } => {
                let what = format!("end device at {}", options.listen);
                let (sink, reports) = reporter();
                let open = matches!(start, Start::Session);
                let device = match start {
                    Start::FactoryFresh(pin) => {
                        EndDevice::factory_fresh(options, pin, gate(64), sink)
                    }
                    Start::Wait | Start::Session => EndDevice::new(options, gate(64), sink),
                };
                let own = Rc::clone(&device);
                let task = async {
                    let opens = async {
                        if open {
                            own.open_session().await;
                        }
                        future::pending().await
                    };
                    future::or(device.serve(), opens).await
                };
                conclude(smol::block_on(executor.run(until.reached(task, reports))), &what)
            }
            Self::Server { options, management, pushes, until } => {
                let what = format!("DM server at {}", options.listen);
                let (sink, reports) = reporter();
                let server = match management {
                    Some(management) => DmServer::managing(options, *management, sink),
                    None => DmServer::new(options, sink),
                };
                let pusher = Rc::clone(&server);
                let task = async {
                    let pushing = async {
                        pusher.url().await;
                        if let Some(pushes) = pushes {
                            pushes.send(&pusher).await?;
                        }
                        future::pending().await
                    };
                    future::or(server.serve(), pushing).await
                };
                conclude(smol::block_on(executor.run(until.reached(task, reports))), &what)
            }
            Self::Farm { options, leases, until } => run_farm(options, leases, &until),
        }
    }
}

fn run_farm(options: FarmOptions, leases: Option<String>, until: &Until) -> Result<bool, Stop> {
    let what = format!("farm at UDP port {}", options.push_port);
    let farm = Farm::new(options);
    if let Some(path) = leases {
        let written = std::fs::write(&path, farm.leases());
        written.map_err(|error| unusable(&path, &error))?;
    }
    let late = async {
        match until.timeout {
            Some(timeout) => Timer::after(timeout).await,
            None => future::pending().await,
        };
        Ok(false)
    };
    let all = async { farm.run().await.map(|()| true) };
    let done = conclude(smol::block_on(future::or(all, late)), &what)?;
    let summary = farm.summary();
    let line = control::document(serde_json::json!({
        "event": "farm",
        "devices": summary.devices,
        "acknowledged": summary.acknowledged,
        "refused": summary.refused,
        "pushes": summary.pushes,
        "sessions": summary.sessions,
        "failed": summary.failed,
        "failure": summary.failure,
        "seconds": summary.elapsed.as_secs_f64(),
    }));
    // A reader that has gone away does not change the outcome.
    let _ = writeln!(io::stdout(), "{line}");
    Ok(done)
}

impl Pushes {
    async fn send(&self, server: &DmServer) -> io::Result<()> {
        for number in 0..self.count {
            if number > 0 {
                Timer::after(self.interval).await;
            }
            match &self.raw {
                Some(octets) => server.push_raw(self.to, octets).await?,
                None if self.repeat && number > 0 => server.push_again().await?,
                None => {
                    let session = self.first.wrapping_add(number).max(1);
                    server.push_package0(self.to, self.device.as_deref(), session).await?;
                }
            }
        }
        Ok(())
    }
}

impl Until {
    /// Runs `task`, prints its reports, and ends when the awaited event came (true) or time is
    /// up (false).
    async fn reached(
        &self,
        task: impl Future<Output = io::Result<()>>,
        reports: channel::Receiver<Report>,
    ) -> io::Result<bool> {
        let printing = async {
            let mut left = self.event.as_ref().map(|(_, times)| *times);
            let mut stdout = io::stdout();
            while let Ok(report) = reports.recv().await {
                let line = control::document(&report);
                writeln!(stdout, "{line}")?;
                let awaited =
                    self.event.as_ref().is_some_and(|(name, _)| name == report.event.name());
                if let Some(left) = left.as_mut().filter(|_| awaited) {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        return Ok(true);
                    }
                }
            }
            Ok(false)
        };
        let late = async {
            match self.timeout {
                Some(timeout) => Timer::after(timeout).await,
                None => future::pending().await,
            };
            Ok(self.event.is_none())
        };
        let task = async { task.await.map(|()| false) };
        future::or(printing, future::or(task, late)).await
    }
}

fn conclude<T>(result: io::Result<T>, what: &str) -> Result<T, Stop> {
    result.map_err(|error| {
        let cause = plain(&error);
        let next = "an address of this machine and a free port (ip address; ss -tulpn)";
        Stop::failed(&format!("{what} ends; cause: {cause}; try: {next}"))
    })
}

fn reporter() -> (Sink, channel::Receiver<Report>) {
    let (sender, reports) = channel::unbounded();
    // Unbounded and open as long as the receiver lives: only a program at its end loses one.
    (Rc::new(move |report| drop(sender.try_send(report))), reports)
}
