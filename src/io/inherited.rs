//! Sockets that the service manager holds for the daemon (sd_listen_fds(3)). What arrives in them
//! while the daemon starts anew waits there, and is not lost.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{SockRef, Type};

static SOCKETS: OnceLock<Vec<Inherited>> = OnceLock::new();

struct Inherited {
    socket: UdpSocket,
    address: SocketAddr,
    used: AtomicBool,
}

/// A second descriptor for the UDP socket that is held at `address`, if there is one. The first
/// stays: the daemon may start anew in its process.
///
/// # Errors
/// There is one, but it is not tied to `interface`, it takes IPv4 on an IPv6 address, or the
/// process has no descriptor left. Only the unit of the socket can tell the kernel the first two.
pub(super) fn udp(address: SocketAddr, interface: Option<&str>) -> io::Result<Option<UdpSocket>> {
    let Some(held) = sockets().iter().find(|held| held.address == address) else {
        return Ok(None);
    };
    held.used.store(true, Ordering::Relaxed);
    let options = SockRef::from(&held.socket);
    if address.is_ipv6() && !options.only_v6()? {
        return Err(io::Error::other(
            "the socket of the service manager takes IPv4, too; try: BindIPv6Only=ipv6-only",
        ));
    }
    if let Some(interface) = interface {
        if options.device()?.as_deref() != Some(interface.as_bytes()) {
            return Err(io::Error::other(format!(
                "the socket of the service manager is not tied to {interface}; \
                 try: BindToDevice={interface}"
            )));
        }
    }
    held.socket.try_clone().map(Some)
}

/// Where sockets are held for which nobody asked.
pub fn unused() -> impl Iterator<Item = SocketAddr> {
    let unused = |held: &&Inherited| !held.used.load(Ordering::Relaxed);
    sockets().iter().filter(unused).map(|held| held.address)
}

fn sockets() -> &'static [Inherited] {
    SOCKETS.get_or_init(|| {
        let given = sd_listen_fds::get().unwrap_or_else(|error| {
            log::warn!("the sockets of the service manager are not used: {error}");
            Vec::new()
        });
        given.into_iter().filter_map(|(_, descriptor)| inherited(descriptor.into())).collect()
    })
}

/// One that is of use; what is not is closed.
fn inherited(socket: UdpSocket) -> Option<Inherited> {
    let address = || {
        let options = SockRef::from(&socket);
        if options.r#type()? != Type::DGRAM {
            return Err(io::Error::other("it is not UDP"));
        }
        // No program that the daemon starts is to have it.
        options.set_cloexec(true)?;
        socket.local_addr()
    };
    match address() {
        Ok(address) => Some(Inherited { socket, address, used: AtomicBool::new(false) }),
        Err(error) => {
            log::warn!("a socket of the service manager is not used: {error}");
            None
        }
    }
}
