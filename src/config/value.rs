//! What the texts and numbers of a configuration mean.

use super::section::{ConfigError, Value, shown};
use crate::codes;
use crate::gateway::Prefix;
use crate::limits;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Time between events at a rate in events per second; `None` for the rate 0, no bound.
pub(super) fn interval(value: &Value<'_>) -> Result<Option<Duration>, ConfigError> {
    let rate = value.number()?;
    if rate == 0.0 {
        return Ok(None);
    }
    if !limits::RATES.contains(&rate) {
        let (least, most) = (limits::RATES.start(), limits::RATES.end());
        let advice = format!("a rate per second from {least} to {most}, or 0 for no bound");
        return Err(value.error("is out of range", &advice));
    }
    Ok(Some(Duration::from_secs_f64(rate.recip())))
}

/// A span of time: seconds as a number, or a text such as `"90s"`, `"15m"`, `"2h"`, `"1d"`.
pub(super) fn span_of_time(value: &Value<'_>, most: Duration) -> Result<Duration, ConfigError> {
    let seconds = if value.is_integer() {
        value.integer(0..=u64::MAX).ok()
    } else {
        let text = value.text()?;
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
        units.iter().find_map(|(unit, seconds)| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            number.checked_mul(*seconds)
        })
    };
    let seconds = seconds.filter(|seconds| (1..=most.as_secs()).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let days = most.as_secs() / 86_400;
        let advice = format!("seconds (`900`) or \"90s\", \"15m\", \"2h\", at most \"{days}d\"");
        value.error("is not a time in range", &advice)
    })
}

/// An address to listen at, such as `192.0.2.1:8080` or `[fe80::1%br-lan]:8080`; the scope is
/// the name of an interface or its number.
pub(super) fn listen_address(value: &Value<'_>, text: &str) -> Result<SocketAddr, ConfigError> {
    let (bare, scope) = match text.split_once('%') {
        Some((host, rest)) => match rest.split_once(']') {
            Some((scope, port)) => (format!("{host}]{port}"), Some(scope)),
            None => (text.to_owned(), None),
        },
        None => (text.to_owned(), None),
    };
    let Ok(mut address) = bare.parse::<SocketAddr>() else {
        let problem = format!("is {}, not an address with a port", shown(text));
        return Err(value.error(problem, "\"192.0.2.1:8080\" or \"[2001:db8::1]:8080\""));
    };
    let link_local = is_link_local_v6(address.ip());
    match (&mut address, scope) {
        (SocketAddr::V6(address), Some(scope)) if link_local => {
            address.set_scope_id(interface_number(value, scope)?);
        }
        (_, Some(_)) => {
            let problem = format!("has a scope in {}, which is not link-local", shown(text));
            return Err(value.error(problem, "leave out the part from `%` to `]`"));
        }
        (SocketAddr::V6(_), None) if link_local => {
            let problem = format!("is {}, link-local without an interface", shown(text));
            return Err(value.error(problem, "\"[fe80::1%br-lan]:8080\""));
        }
        _ => {}
    }
    check_family(value, address.ip())?;
    Ok(address)
}

fn interface_number(value: &Value<'_>, scope: &str) -> Result<u32, ConfigError> {
    let number = match scope.parse() {
        Ok(number) => Some(number),
        Err(_) => nix::net::if_::if_nametoindex(scope).ok(),
    };
    number.filter(|number| *number > 0).ok_or_else(|| {
        let problem = format!("names the interface {}, which is not there", shown(scope));
        value.error(problem, "an interface that `ip link` lists")
    })
}

/// The address of one end device, without a scope.
pub(super) fn device_address(value: &Value<'_>) -> Result<IpAddr, ConfigError> {
    let text = value.text()?;
    let address: IpAddr = text.parse().map_err(|_| {
        let advice = if text.contains('%') {
            "leave out the part from `%`: the LAN's interface counts"
        } else {
            "an address such as \"192.0.2.7\" or \"2001:db8::7\", without port or prefix"
        };
        value.error(format!("is {}, not an address", shown(text)), advice)
    })?;
    if address.is_unspecified() {
        return Err(value.error("is the address of nobody", "the device's own address"));
    }
    check_family(value, address)?;
    Ok(address)
}

/// Refuses what no socket and no device can have.
fn check_family(value: &Value<'_>, address: IpAddr) -> Result<(), ConfigError> {
    let broadcast = address == IpAddr::from([255; 4]);
    if address.is_multicast() || broadcast {
        return Err(value.error(format!("is {address}, a group address"), "a unicast address"));
    }
    match address.to_canonical() {
        IpAddr::V4(inner) if address.is_ipv6() => {
            let problem = format!("is {address}, IPv4 in the dress of IPv6");
            Err(value.error(problem, &format!("\"{inner}\"")))
        }
        _ => Ok(()),
    }
}

/// A block of addresses such as `10.0.0.0/8`; a bare address is a block of one.
pub(super) fn prefix(value: &Value<'_>, text: &str) -> Result<Prefix, ConfigError> {
    let parsed = || {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let digits = |text: &&str| text.bytes().all(|octet| octet.is_ascii_digit());
        let length = match length {
            Some(length) => Some(length).filter(digits)?.parse().ok()?,
            None => most,
        };
        (length <= most).then_some(Prefix { address, length })
    };
    let prefix = parsed().ok_or_else(|| {
        let problem = format!("holds {}, not a block of addresses", shown(text));
        value.error(problem, "\"10.0.0.0/8\", \"2001:db8::/32\" or a single address")
    })?;
    check_family(value, prefix.address).map(|()| prefix)
}

/// The address by which servers reach us: an IP address or a DNS name, without a port. Also
/// what is odd about it.
pub(super) fn public_address(
    value: &Value<'_>,
) -> Result<(String, Option<&'static str>), ConfigError> {
    let text = value.text()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        if address.is_unspecified() {
            return Err(value.error("is the address of nobody", "the address on the WAN"));
        }
        check_family(value, address)?;
        return Ok((text.to_owned(), not_public(address)));
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(letter);
    let digits = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if text.len() > limits::GATEWAY_ADDRESS || digits || !text.split('.').all(label) {
        let problem = format!("is {}, neither an address nor a DNS name", shown(text));
        return Err(value.error(problem, "a name or an address alone, without port or brackets"));
    }
    Ok((text.to_owned(), None))
}

/// Why servers of the internet cannot reach an address.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_loopback() => Some("loopback"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("link-local"),
        IpAddr::V4(v4) if v4.is_private() || is_carrier_shared(v4.octets()) => Some("private"),
        IpAddr::V6(v6) if v6.is_unique_local() => Some("private"),
        _ if is_link_local_v6(address) => Some("link-local"),
        _ => None,
    }
}

/// 100.64.0.0/10 (RFC 6598): what carriers give out behind their own NAT.
fn is_carrier_shared([first, second, ..]: [u8; 4]) -> bool {
    first == 100 && second & 0xc0 == 64
}

fn is_link_local_v6(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if Ipv6Addr::is_unicast_link_local(&v6))
}

/// Stands for a credential that only the service is handed.
const NOT_LOOKED_AT: &str = "not looked at";

/// The secret in a file, and whether everybody may read it. One newline at the end does not
/// count.
pub(super) fn secret(value: &Value<'_>, path: &Path) -> Result<(String, bool), ConfigError> {
    let failed = |why: &str| {
        let problem = format!("names {}, which {why}", path.display());
        value.error(problem, "a file with the secret alone, readable for the service's user")
    };
    let octets = match read_file(path, limits::SECRET) {
        Ok(octets) => octets,
        Err(_) if is_taken_on_trust(value) => {
            return Ok((NOT_LOOKED_AT.to_owned(), false));
        }
        Err(why) => {
            note(value, path, &[]);
            return Err(failed(&why).coded(codes::UNREADABLE));
        }
    };
    note(value, path, &octets);
    let text = std::str::from_utf8(&octets).map_err(|_| failed("is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(failed("is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(failed("holds more than one line of text"));
    }
    Ok((text.to_owned(), is_public(path)))
}

/// Notes what is in a file that a value names.
pub(super) fn note(value: &Value<'_>, path: &Path, octets: &[u8]) {
    let mut hasher = DefaultHasher::new();
    octets.hash(&mut hasher);
    // systemd lets the service read them by an access list, which no mode shows.
    let is_credential = is_credential(value) || path.starts_with(super::CREDENTIALS);
    value.note_file(path, hasher.finish(), is_credential);
}

/// Whether a value names a credential that only the service is handed. Operators' commands run
/// outside of the unit, often while it is stopped.
pub(super) fn is_taken_on_trust(value: &Value<'_>) -> bool {
    is_credential(value) && !value.is_of_service()
}

fn is_credential(value: &Value<'_>) -> bool {
    value.text().is_ok_and(|text| text.starts_with("credential:"))
}

/// Whether everybody may read a file.
pub(super) fn is_public(path: &Path) -> bool {
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    mode & 0o004 != 0
}

/// The content of a regular file, or what is wrong with the file.
pub(super) fn read_file(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
        _ => format!("cannot be read: {}", crate::io::plain(&error)),
    };
    // Looked at before it is opened: opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err("is not a file".to_owned());
    }
    let mut octets = Vec::new();
    let mut file = File::open(path).map_err(failed)?.take(most as u64 + 1);
    file.read_to_end(&mut octets).map_err(failed)?;
    if octets.len() > most {
        return Err(format!("is longer than {most} octets"));
    }
    Ok(octets)
}
