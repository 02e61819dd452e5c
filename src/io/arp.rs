//! Who else has an IPv4 address: one ARP probe (RFC 5227 2.1.1), which changes nobody's tables.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, recv, send,
    socket,
};

use crate::gateway::seam::MacAddress;

/// ETH_P_ARP.
const ARP: [u8; 2] = [0x08, 0x06];
/// Hardware Ethernet, protocol IPv4, and the lengths of their addresses.
const FORM: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

/// The Ethernet address of somebody else on the interface who has `address`. Waits for `time`.
///
/// # Errors
/// There is no such interface, it is no Ethernet, or the process may not look (CAP_NET_RAW).
pub fn rival(interface: &str, address: Ipv4Addr, time: Duration) -> io::Result<Option<MacAddress>> {
    let none = || io::Error::from(io::ErrorKind::NotFound);
    let found = nix::ifaddrs::getifaddrs()?
        .filter(|it| it.interface_name == interface)
        .find_map(|it| it.address?.as_link_addr().copied())
        .ok_or_else(none)?;
    let own = MacAddress(found.addr().ok_or_else(none)?);
    if own.0 == [0; 6] {
        return Err(none());
    }
    let kind = SockType::Raw;
    let socket = socket(AddressFamily::Packet, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    debug_assert!(found.len() > 0);
    bind(socket.as_raw_fd(), &found)?;
    let mut frame = Vec::with_capacity(42);
    frame.extend([0xff; 6]);
    frame.extend(own.0);
    frame.extend(ARP);
    frame.extend(FORM);
    // A question, from nobody.
    frame.extend([0, 1]);
    frame.extend(own.0);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    send(socket.as_raw_fd(), &frame, MsgFlags::empty())?;
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let wait = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::ZERO);
        let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if left.is_zero() || poll(&mut ready, wait)? == 0 {
            return Ok(None);
        }
        let mut buffer = [0; 128];
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mac = sender(buffer.get(..length).unwrap_or_default(), address);
        if mac.is_some_and(|mac| mac != own) {
            return Ok(mac);
        }
    }
}

/// Whose frame it is, if it is an ARP packet of somebody who has `address`.
fn sender(frame: &[u8], address: Ipv4Addr) -> Option<MacAddress> {
    let arp = frame.get(14..).filter(|_| frame.get(12..14) == Some(&ARP[..]))?;
    let has_it = arp.get(..6) == Some(&FORM[..]) && arp.get(14..18) == Some(&address.octets()[..]);
    let mac = *arp.get(8..14)?.first_chunk()?;
    has_it.then_some(MacAddress(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_arp_packet_of_its_owner_tells_who_has_an_address() {
        let mac = [2, 0, 0, 0, 0, 7];
        let mut frame = vec![0; 12];
        frame.extend(ARP);
        frame.extend(FORM);
        frame.extend([0, 2]);
        frame.extend(mac);
        frame.extend([192, 0, 2, 1]);
        frame.extend([0; 10]);
        let of = |frame: &[u8], ip: [u8; 4]| sender(frame, ip.into());
        assert_eq!(of(&frame, [192, 0, 2, 1]), Some(MacAddress(mac)));
        assert_eq!(of(&frame, [192, 0, 2, 2]), None);
        assert_eq!(of(&frame[..30], [192, 0, 2, 1]), None);
        frame[12] = 0x86;
        assert_eq!(of(&frame, [192, 0, 2, 1]), None);
    }
}
