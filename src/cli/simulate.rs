//! `dm-gateway simulate device | server | farm`: simulated peers, one JSON line an event.

mod arguments;
mod managing;

use crate::proto::auth::Secret;
use crate::simulate::managing::Options as Management;
use crate::simulate::{
    DmServer, DmServerOptions, EndDevice, EndDeviceOptions, Farm, FarmOptions, Report, Sink, gate,
};
use lexopt::Parser;
use smol::{LocalExecutor, Timer, channel, future};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// What `simulate --help` prints.
pub const USAGE: &str = "\
Simulated peers of the gateway, over real UDP and HTTP. One JSON line an event on stdout.

dm-gateway simulate device --id ID --listen ADDR:PORT --gateway URL [options]
  --gateway-id ID           the gateway's DM server id (default: any unknown id)
  --server ID=URL           a DM server it is bootstrapped to; may be repeated
  --push-secret-file FILE   checks the digest of those servers' Package #0
  --encoding xml|wbxml      (default xml)
  --profile registered|draft
  --auth none|basic|md5 --user U --secret-file FILE --server-secret-file FILE
  --quirk NAME              a real client's behaviour; may be repeated, `list` prints all
  --open-session            opens a session without waiting for a push
  --factory-fresh           has no account, so no --gateway: a bootstrap push gives it one
  --pin-file FILE           the pin that must prove that bootstrap
dm-gateway simulate server --id ID --listen ADDR:PORT [options]
  --push-to ADDR:PORT [--device ID]   pushes there, X-Oma-GwMO naming the device; without
                            one the gateway itself is asked into a session
  --session N               first session id (default 1)
  --count N --interval S    how many pushes (default 1), how far apart (default 1)
  --repeat                  sends the same octets each time instead of counting up
  --raw HEX                 sends these octets instead of a push
  --secret-file FILE        signs Package #0
  --push-on-association     pushes to every gateway that a device names
  --push-port PORT          port of those gateways (default 2948)
  It manages its clients, and so a gateway, with any of these:
  --script FILE             commands to send, one a line, see below
  --auth none|basic|md5|mac how both sides prove who they are (default md5)
  --user U --secret-file FILE --nonce TEXT          the server's own account (user: its id)
  --client-user U --client-secret-file FILE --client-nonce TEXT   that of its clients
  --url URL                 where clients are told to send answers
  --max-message-size N      octets that it takes in one message
  --certificate FILE --key FILE   PEM: serves over HTTPS instead of HTTP
  and may misbehave in one way:
  --wrong-credentials       proves itself with another secret
  --no-credentials          does not prove itself
  --stale-nonce             proves itself with an old nonce until it is given a new one
  --basic-only              asks for the client's secret in clear
  --version-513             refuses the version of the protocol, Status 513
  --broken-object           sends a large object that is shorter than it said
  --redirect                answers with HTTP 302
  --private-uri             wants answers sent to a private address
  --slow                    takes 5 seconds for each answer
  --cut                     closes the connection instead of an answer
  A script's lines: get URI, delete URI, copy FROM TO, exec URI [DATA], alert CODE,
  add URI FORMAT [VALUE], replace URI FORMAT [VALUE] (FORMAT chr, int, bool, node, xml, b64,
  bin with octets in hexadecimal), atomic or sequence up to end, send (the next message), more
  (the next message of the same package), large SIZE COMMAND and chunk COMMAND (a value that
  goes on in the next message), abort
dm-gateway simulate farm --count N --base-address ADDR --gateway URL [options]
  --push-port PORT          UDP port of all devices (default 2948)
  --gateway-id, --server, --encoding, --quirk, --open-session: as for a device
  --write-leases FILE       makes the devices come up in a dnsmasq lease file
All:
  --wait EVENT[=N]          exit 0 once the event came (N times)
  --timeout SECONDS         end then, exit 1 if an event is still awaited (default: never)
";

/// Exit code of wrong usage, EX_USAGE of sysexits.h.
const EX_USAGE: u8 = 64;

/// Runs `simulate` with the arguments after that word.
pub fn run(arguments: Parser) -> ExitCode {
    match arguments::read(arguments).and_then(Task::run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure::Usage(text)) => {
            eprintln!("error: {text}\ntry: dm-gateway simulate --help");
            ExitCode::from(EX_USAGE)
        }
        Err(Failure::Io(what, error)) => {
            eprintln!("error: {what}: {}", crate::io::plain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Why nothing was simulated.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Io(String, io::Error),
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
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
    fn run(self) -> Result<bool, Failure> {
        let executor = LocalExecutor::new();
        match self {
            Self::Print(text) => {
                let written = io::stdout().write_all(text.as_bytes());
                written.map_err(|error| Failure::Io("cannot write".into(), error))?;
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
                conclude(smol::block_on(executor.run(until.reached(task, reports))), what)
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
                conclude(smol::block_on(executor.run(until.reached(task, reports))), what)
            }
            Self::Farm { options, leases, until } => run_farm(options, leases, &until),
        }
    }
}

fn run_farm(options: FarmOptions, leases: Option<String>, until: &Until) -> Result<bool, Failure> {
    let what = format!("farm at UDP port {}", options.push_port);
    let farm = Farm::new(options);
    if let Some(path) = leases {
        let written = std::fs::write(&path, farm.leases());
        written.map_err(|error| Failure::Io(path, error))?;
    }
    let late = async {
        match until.timeout {
            Some(timeout) => Timer::after(timeout).await,
            None => future::pending().await,
        };
        Ok(false)
    };
    let all = async { farm.run().await.map(|()| true) };
    let done = conclude(smol::block_on(future::or(all, late)), what)?;
    let summary = farm.summary();
    let line = serde_json::json!({
        "event": "farm",
        "devices": summary.devices,
        "acknowledged": summary.acknowledged,
        "refused": summary.refused,
        "pushes": summary.pushes,
        "sessions": summary.sessions,
        "failed": summary.failed,
        "failure": summary.failure,
        "seconds": summary.elapsed.as_secs_f64(),
    });
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
                let line = serde_json::to_string(&report).map_err(io::Error::other)?;
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

fn conclude<T>(result: io::Result<T>, what: String) -> Result<T, Failure> {
    result.map_err(|error| Failure::Io(what, error))
}

fn reporter() -> (Sink, channel::Receiver<Report>) {
    let (sender, reports) = channel::unbounded();
    // Unbounded and open as long as the receiver lives: only a program at its end loses one.
    (Rc::new(move |report| drop(sender.try_send(report))), reports)
}
