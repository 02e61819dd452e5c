//! The way to a server, step by step, each with the time that it took: for an operator who wants
//! to know where it ends.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use smol::future;

use super::dm_client::CallFailure;
use super::dm_target::Target;
use super::plain;
use super::tls::{Configuration, Trust};
use crate::codes::{self, Code};
use crate::limits::{CALL_ADDRESS_TIME, CALL_ADDRESSES, CALL_TIME};

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// `url`, `dns`, `tcp`, `tls`.
    pub name: &'static str,
    /// How long it took.
    pub time: Duration,
    /// What came of it, or why nothing did and by which code.
    pub result: Result<String, (Code, String)>,
}

/// Goes to a server as a call would, tells each step, and sends nothing. False if it does not come
/// to the end.
pub async fn probe(
    url: &str,
    trust: &Trust,
    allow_http: bool,
    tell: &mut impl FnMut(Step),
) -> bool {
    let mut began = Instant::now();
    let mut step = |name, result: Result<String, (Code, String)>| {
        let ok = result.is_ok();
        tell(Step { name, time: began.elapsed(), result });
        began = Instant::now();
        ok
    };
    let failed = |failure: CallFailure| (failure.code(), failure.to_string());
    let target = match Target::parse(url) {
        Ok(target) if target.secure || allow_http => target,
        Ok(_) => {
            step("url", Err(failed(CallFailure::HttpNotAllowed)));
            return false;
        }
        Err(failure) => {
            step("url", Err(failed(failure)));
            return false;
        }
    };
    let scheme = if target.secure { "https" } else { "http" };
    step("url", Ok(format!("{scheme}, host {}, port {}", target.host, target.port)));
    let addresses = match addresses(&target).await {
        Ok(addresses) => addresses,
        Err(why) => {
            step("dns", Err(failed(CallFailure::Unresolved(why))));
            return false;
        }
    };
    let listed: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    step("dns", Ok(format!("{} is {}", target.host, listed.join(", "))));
    let mut stream = None;
    for &address in addresses.iter().take(CALL_ADDRESSES) {
        match within(CALL_ADDRESS_TIME, Async::<TcpStream>::connect(address)).await {
            Ok(connected) => {
                step("tcp", Ok(format!("{address} takes the connection")));
                stream = Some(connected);
                break;
            }
            Err(error) => {
                let why = format!("{address}: {}", plain(&error));
                step("tcp", Err((codes::UNREACHED, why)));
            }
        }
    }
    let Some(stream) = stream else { return false };
    if !target.secure {
        return true;
    }
    let configuration = match Configuration::read(trust) {
        Ok(configuration) => configuration,
        Err(why) => return step("tls", Err((codes::TLS_FILE, why))),
    };
    let handshake = async { Ok(configuration.connect(target.name.clone(), stream).await) };
    step(
        "tls",
        match within(CALL_TIME, handshake).await {
            Ok(Ok(stream)) => {
                let (_, session) = stream.get_ref();
                let version = session.protocol_version().map(|it| format!("{it:?}"));
                Ok(format!("{}, the certificate is good", version.unwrap_or_default()))
            }
            Ok(Err((why, code))) => Err((code, why)),
            Err(error) => Err((codes::TLS, plain(&error))),
        },
    )
}

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    let found = smol::net::resolve((target.host.as_str(), target.port));
    match within(CALL_TIME, found).await {
        Ok(found) if found.is_empty() => Err(target.host.clone()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: {}", target.host, plain(&error))),
    }
}

async fn within<T>(
    time: Duration,
    task: impl Future<Output = std::io::Result<T>>,
) -> std::io::Result<T> {
    let late = async {
        Timer::after(time).await;
        Err(std::io::ErrorKind::TimedOut.into())
    };
    future::or(task, late).await
}
