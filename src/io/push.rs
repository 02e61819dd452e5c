//! UDP push sockets: batches in from the WAN, batches out to a LAN.
//!
//! One [`PushReceiver`] is one bound socket; one [`PushSender`] is one LAN. Both move up to
//! [`PUSH_BATCH`] datagrams by one system call (recvmmsg(2), sendmmsg(2)) out of buffers that
//! are allocated once. What the kernel wants per call, headers and slices, is built on the stack.
//!
//! ```text
//!  PushReceiver                                   PushSender
//!  receive() -> Batch -> (source, octets) ... ->  queue(to, octets) ... flush()
//! ```
//!
//! Nothing is lost silently: what is not passed on is in [`Received`] or [`Sent`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::ops::Add;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll};

use async_io::{Async, Timer};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg,
    recvmsg, sendmmsg, setsockopt, sockopt,
};
use smol::future;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::{bind_interface, explain, inherited};
use crate::limits::{
    DATAGRAM, PUSH_BATCH, PUSH_DROP_CHECK, PUSH_SEND_WAIT, PUSH_SEND_WAITS, PUSH_SOCKET_BUFFER,
};

/// The discard service (RFC 863): a datagram there makes the kernel resolve its target.
const DISCARD_PORT: u16 = 9;

/// Counters of a [`PushReceiver`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams handed to the caller.
    pub datagrams: u64,
    /// Datagrams longer than [`DATAGRAM`], thrown away.
    pub oversize: u64,
    /// Datagrams that the kernel dropped because its buffer was full (SO_RXQ_OVFL), as last seen.
    pub dropped: u64,
}

impl Add for Received {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            datagrams: self.datagrams + other.datagrams,
            oversize: self.oversize + other.oversize,
            dropped: self.dropped + other.dropped,
        }
    }
}

/// A bound UDP socket that receives pushes.
pub struct PushReceiver {
    socket: Async<UdpSocket>,
    headers: MultiHeaders<SockaddrStorage>,
    buffer: Box<[u8]>,
    slots: [Option<Slot>; PUSH_BATCH],
    control: Vec<u8>,
    calls: u32,
    /// The kernel's drop counter, which wraps at 32 bits.
    drop_counter: u32,
    counters: Received,
}

/// A datagram that arrived whole.
#[derive(Clone, Copy)]
struct Slot {
    from: SocketAddr,
    length: usize,
}

impl PushReceiver {
    /// Binds to an address (IPv6 takes no IPv4) and, if named, an interface; or takes a held one.
    ///
    /// Errors: what socket(2) and bind(2) say, the address named in the text.
    pub fn bind(address: SocketAddr, interface: Option<&str>) -> io::Result<Self> {
        let socket = inherited::udp(address, interface)
            .and_then(|held| held.map_or_else(|| bound_socket(address, interface), Ok))
            .and_then(prepared)
            .map_err(|error| explain(format_args!("cannot receive pushes on {address}"), error))?;
        Ok(Self {
            socket: Async::new(socket)?,
            headers: MultiHeaders::preallocate(PUSH_BATCH, None),
            buffer: vec![0; PUSH_BATCH * DATAGRAM].into_boxed_slice(),
            slots: [None; PUSH_BATCH],
            control: nix::cmsg_space!(u32),
            calls: 0,
            drop_counter: 0,
            counters: Received::default(),
        })
    }

    /// The address bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// Whether [`receive`](Self::receive) has something to do; wakes the task when it has. For
    /// one task only.
    ///
    /// # Errors
    /// The process cannot wait on the socket.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(context)
    }

    /// Takes up to [`PUSH_BATCH`] datagrams, without waiting; `None` if there are none. A batch
    /// may be empty: all of it was oversize.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn receive(&mut self) -> io::Result<Option<Batch<'_>>> {
        let count = loop {
            match self.receive_now() {
                Ok(count) => break count,
                Err(Errno::EAGAIN) => return Ok(None),
                // ECONNREFUSED and the like are news about something sent before, not about us.
                Err(Errno::EINTR | Errno::ECONNREFUSED | Errno::EHOSTUNREACH) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        let slots = self.slots.get(..count).unwrap_or_default();
        Ok(Some(Batch { slots, buffer: &self.buffer }))
    }

    /// The counters since [`bind`](Self::bind).
    pub fn counters(&self) -> Received {
        self.counters
    }

    fn receive_now(&mut self) -> Result<usize, Errno> {
        self.calls = self.calls.wrapping_add(1);
        let count = if self.calls % PUSH_DROP_CHECK == 1 {
            self.receive_one()?
        } else {
            self.receive_batch()?
        };
        for slot in self.slots.iter().take(count) {
            match slot {
                Some(_) => self.counters.datagrams += 1,
                None => self.counters.oversize += 1,
            }
        }
        Ok(count)
    }

    fn receive_batch(&mut self) -> Result<usize, Errno> {
        let mut chunks = self.buffer.chunks_exact_mut(DATAGRAM);
        let mut slices: [[IoSliceMut<'_>; 1]; PUSH_BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(chunks.next().unwrap_or_default())]);
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let messages = recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None)?;
        let mut count = 0;
        for (slot, message) in self.slots.iter_mut().zip(messages) {
            *slot = whole(message.bytes, message.flags, message.address);
            count += 1;
        }
        Ok(count)
    }

    /// Receives one datagram with the drop counter. Batches cannot carry it: nix leaves the
    /// length that the kernel wrote for the control data of the call before.
    fn receive_one(&mut self) -> Result<usize, Errno> {
        let mut slices = [IoSliceMut::new(self.buffer.get_mut(..DATAGRAM).unwrap_or_default())];
        let message = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut self.control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        for control in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::RxqOvfl(counter) = control {
                self.counters.dropped += u64::from(counter.wrapping_sub(self.drop_counter));
                self.drop_counter = counter;
            }
        }
        if let Some(slot) = self.slots.first_mut() {
            *slot = whole(message.bytes, message.flags, message.address);
        }
        Ok(1)
    }
}

/// The datagrams of one receive call.
pub struct Batch<'a> {
    slots: &'a [Option<Slot>],
    buffer: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Source and octets of each datagram, in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &'a [u8])> + use<'a> {
        self.slots.iter().zip(self.buffer.chunks_exact(DATAGRAM)).filter_map(|(slot, octets)| {
            let slot = slot.as_ref()?;
            Some((slot.from, octets.get(..slot.length)?))
        })
    }
}

/// Counters of a [`PushSender`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams taken by the kernel.
    pub datagrams: u64,
    /// Datagrams that the kernel refused one by one: unreachable, too long, forbidden.
    pub refused: u64,
    /// Datagrams given up because the send buffer stayed full.
    pub dropped: u64,
}

impl Add for Sent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            datagrams: self.datagrams + other.datagrams,
            refused: self.refused + other.refused,
            dropped: self.dropped + other.dropped,
        }
    }
}

/// The UDP sockets that send pushes into one LAN.
pub struct PushSender {
    v4: Option<Lane>,
    v6: Option<Lane>,
    counters: Sent,
}

impl PushSender {
    /// Opens one socket for each address family, tied to the interface. A family that the
    /// kernel does not have is left out; datagrams for it count as refused.
    pub fn open(interface: Option<&str>) -> io::Result<Self> {
        let v4 = Lane::open(Domain::IPV4, interface)?;
        let v6 = Lane::open(Domain::IPV6, interface)?;
        if v4.is_none() && v6.is_none() {
            return Err(explain("cannot send pushes", Errno::EAFNOSUPPORT));
        }
        Ok(Self { v4, v6, counters: Sent::default() })
    }

    /// Queues a copy of a datagram. `false`: no room, though a flush was tried; await
    /// [`flush`](Self::flush), then queue it again. A datagram longer than [`DATAGRAM`] is
    /// refused and counted (`true`: there is nothing to repeat).
    #[must_use]
    pub fn queue(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        let lane = match to {
            SocketAddr::V4(_) => &mut self.v4,
            SocketAddr::V6(_) => &mut self.v6,
        };
        let Some(lane) = lane.as_mut().filter(|_| datagram.len() <= DATAGRAM) else {
            self.counters.refused += 1;
            return true;
        };
        if lane.is_full() {
            lane.send(&mut self.counters);
        }
        lane.queue(to, datagram)
    }

    /// Sends what is queued, without waiting. `false`: some is left, await
    /// [`flush`](Self::flush).
    pub fn send(&mut self) -> bool {
        let mut empty = true;
        for lane in [&mut self.v4, &mut self.v6].into_iter().flatten() {
            empty &= lane.send(&mut self.counters);
        }
        empty
    }

    /// Sends what is queued and waits for room in the send buffer where needed, within
    /// [`PUSH_SEND_WAITS`] × [`PUSH_SEND_WAIT`]; what is left then is dropped and counted. The
    /// sender is borrowed between waits only: others may queue meanwhile.
    pub async fn flush(sender: &RefCell<Self>) {
        let mut waits = 0;
        while !sender.borrow_mut().send() {
            if waits == PUSH_SEND_WAITS {
                sender.borrow_mut().drop_queued();
                break;
            }
            waits += 1;
            let room = poll_fn(|context| sender.borrow().poll_room(context));
            let timeout = async {
                Timer::after(PUSH_SEND_WAIT).await;
            };
            future::or(room, timeout).await;
        }
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        for lane in [&self.v4, &self.v6].into_iter().flatten().filter(|lane| lane.end > 0) {
            // A socket that cannot be polled is as good as one with room: sending tells.
            if lane.socket.poll_writable(context).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn drop_queued(&mut self) {
        for lane in [&mut self.v4, &mut self.v6].into_iter().flatten() {
            self.counters.dropped += lane.drop_all();
        }
    }

    /// Sends one empty datagram to the discard port, `scope` being the interface index of a
    /// link-local IPv6 address and else 0.
    ///
    /// Errors: what sendto(2) says, EAFNOSUPPORT for a family that is not there.
    pub fn discard(&self, to: IpAddr, scope: u32) -> io::Result<()> {
        let (lane, to) = match to {
            IpAddr::V4(ip) => (&self.v4, SocketAddr::from((ip, DISCARD_PORT))),
            IpAddr::V6(ip) => {
                (&self.v6, SocketAddr::from(SocketAddrV6::new(ip, DISCARD_PORT, 0, scope)))
            }
        };
        let lane = lane.as_ref().ok_or(Errno::EAFNOSUPPORT)?;
        lane.socket.get_ref().send_to(&[], to).map(|_| ())
    }

    /// The counters since [`open`](Self::open).
    pub fn counters(&self) -> Sent {
        self.counters
    }
}

/// One address family's socket and its queue: slots `first..end` are to be sent.
struct Lane {
    socket: Async<UdpSocket>,
    headers: MultiHeaders<SockaddrStorage>,
    buffer: Box<[u8]>,
    lengths: [usize; PUSH_BATCH],
    targets: [Option<SockaddrStorage>; PUSH_BATCH],
    first: usize,
    end: usize,
}

impl Lane {
    fn open(domain: Domain, interface: Option<&str>) -> io::Result<Option<Self>> {
        let socket = match Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)) {
            Ok(socket) => socket,
            Err(error) if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
                return Ok(None);
            }
            Err(error) => return Err(explain("cannot send pushes", error)),
        };
        bind_interface(&socket, interface)?;
        if setsockopt(&socket, sockopt::SndBufForce, &PUSH_SOCKET_BUFFER).is_err() {
            socket.set_send_buffer_size(PUSH_SOCKET_BUFFER)?;
        }
        let any = if domain == Domain::IPV4 {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            socket.set_only_v6(true)?;
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        match socket.bind(&SockAddr::from(any)) {
            Ok(()) => {}
            // IPv6 is compiled in but switched off.
            Err(error) if error.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => {
                return Ok(None);
            }
            Err(error) => return Err(explain("cannot send pushes", error)),
        }
        Ok(Some(Self {
            socket: Async::new(UdpSocket::from(socket))?,
            headers: MultiHeaders::preallocate(PUSH_BATCH, None),
            buffer: vec![0; PUSH_BATCH * DATAGRAM].into_boxed_slice(),
            lengths: [0; PUSH_BATCH],
            targets: [None; PUSH_BATCH],
            first: 0,
            end: 0,
        }))
    }

    fn is_full(&self) -> bool {
        self.end == PUSH_BATCH
    }

    fn queue(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        let end = self.end;
        let start = end * DATAGRAM;
        let (Some(target), Some(length), Some(octets)) = (
            self.targets.get_mut(end),
            self.lengths.get_mut(end),
            self.buffer.get_mut(start..start + datagram.len()),
        ) else {
            return false;
        };
        octets.copy_from_slice(datagram);
        *length = datagram.len();
        *target = Some(to.into());
        self.end += 1;
        true
    }

    /// Sends until the queue is empty (`true`) or the send buffer is full (`false`).
    fn send(&mut self, counters: &mut Sent) -> bool {
        while self.first < self.end {
            match self.send_batch() {
                Ok(count) => {
                    self.first += count;
                    counters.datagrams += count as u64;
                }
                Err(Errno::EAGAIN) => return false,
                Err(Errno::EINTR) => {}
                // The error is that of the first datagram: the others have their own chance.
                Err(errno) => {
                    let target = self.targets.get(self.first).copied().flatten();
                    log::debug!("no push to {}: {errno}", Shown(target));
                    self.first += 1;
                    counters.refused += 1;
                }
            }
        }
        self.first = 0;
        self.end = 0;
        true
    }

    fn send_batch(&mut self) -> Result<usize, Errno> {
        let queued = self.buffer.chunks_exact(DATAGRAM).zip(&self.lengths).skip(self.first);
        let mut queued = queued.map(|(octets, length)| octets.get(..*length).unwrap_or_default());
        let slices: [[IoSlice<'_>; 1]; PUSH_BATCH] =
            std::array::from_fn(|_| [IoSlice::new(queued.next().unwrap_or_default())]);
        let targets = self.targets.get(self.first..self.end).unwrap_or_default();
        let none: [ControlMessage<'_>; 0] = [];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut self.headers, slices.iter(), targets, none, flags)?;
        Ok(sent.count())
    }

    fn drop_all(&mut self) -> u64 {
        let dropped = self.end - self.first;
        self.first = 0;
        self.end = 0;
        dropped as u64
    }
}

/// A target address for the log.
struct Shown(Option<SockaddrStorage>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_ref().and_then(socket_address) {
            Some(address) => address.fmt(f),
            None => f.write_str("nowhere"),
        }
    }
}

fn bound_socket(address: SocketAddr, interface: Option<&str>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    bind_interface(&socket, interface)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(UdpSocket::from(socket))
}

fn prepared(socket: UdpSocket) -> io::Result<UdpSocket> {
    // The plain option is capped by net.core.rmem_max; the forced one wants CAP_NET_ADMIN.
    if setsockopt(&socket, sockopt::RcvBufForce, &PUSH_SOCKET_BUFFER).is_err() {
        SockRef::from(&socket).set_recv_buffer_size(PUSH_SOCKET_BUFFER)?;
    }
    // An emulator of another processor may not have it.
    if let Err(errno) = setsockopt(&socket.as_fd(), sockopt::RxqOvfl, &1) {
        log::debug!("dropped datagrams are not counted: {errno}");
    }
    Ok(socket)
}

fn whole(bytes: usize, flags: MsgFlags, from: Option<SockaddrStorage>) -> Option<Slot> {
    if flags.contains(MsgFlags::MSG_TRUNC) {
        return None;
    }
    Some(Slot { from: from.as_ref().and_then(socket_address)?, length: bytes })
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddrV6::new(v6.ip(), v6.port(), 0, v6.scope_id()).into())
}
