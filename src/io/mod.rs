//! IMPURE: executes Outputs, produces Inputs, decides nothing.

use std::fmt::Display;
use std::io;

pub mod card;
pub mod card_directory;
pub mod clock;
pub mod control_socket;
#[cfg(feature = "simulate")]
pub mod http_client;
mod http_connection;
pub mod http_server;
pub mod leases;
pub mod logger;
pub mod modem;
pub mod netlink;
pub mod push;
pub mod sled_store;
pub mod systemd;

/// The same error, its text saying what was tried.
pub(crate) fn explain(what: impl Display, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Ties a socket to an interface by SO_BINDTODEVICE.
pub(crate) fn bind_interface(socket: &socket2::Socket, interface: Option<&str>) -> io::Result<()> {
    let Some(name) = interface else { return Ok(()) };
    socket
        .bind_device(Some(name.as_bytes()))
        .map_err(|error| explain(format_args!("cannot use the interface {name}"), error))
}
