//! IMPURE: executes Outputs, produces Inputs, decides nothing.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

pub mod archive;
pub mod arp;
pub mod audit;
pub mod card;
pub mod card_directory;
pub mod certificate;
pub mod clock;
pub mod committer;
pub mod control_socket;
pub mod dm_client;
mod dm_target;
pub mod dns;
pub mod facts;
#[cfg(feature = "simulate")]
pub mod http_client;
mod http_connection;
mod http_message;
pub mod http_server;
pub mod inherited;
pub mod inspect;
pub mod leases;
pub mod logger;
pub mod modem;
pub mod netlink;
pub mod page_server;
pub mod probe;
pub mod program;
pub mod push;
pub mod seal;
pub mod sled_store;
pub mod state;
pub mod systemd;
pub mod terminal;
pub mod tls;
pub mod tls_server;
pub mod trial;

/// The same error, its text saying what was tried.
pub(crate) fn explain(what: impl Display, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what}: {}", plain(&error)))
}

/// The text of an error without the number that the system has for it.
pub(crate) fn plain(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.find(" (os error ") {
        text.truncate(end);
    }
    // The C library's words for what a resolver says.
    match text.strip_prefix("failed to lookup address information: ") {
        Some("Name or service not known" | "No address associated with hostname") => {
            "no name server knows the name".to_owned()
        }
        Some("Temporary failure in name resolution") => "no name server answers".to_owned(),
        Some(other) => format!("the name is not found: {other}"),
        None => text,
    }
}

/// The content of a file of at most so many octets.
pub(crate) fn read_bounded(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut octets)?;
    if octets.len() > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large"));
    }
    Ok(octets)
}

/// Ties a socket to an interface by SO_BINDTODEVICE.
pub(crate) fn bind_interface(socket: &socket2::Socket, interface: Option<&str>) -> io::Result<()> {
    let Some(name) = interface else { return Ok(()) };
    socket
        .bind_device(Some(name.as_bytes()))
        .map_err(|error| explain(format_args!("cannot use the interface {name}"), error))
}
