//! The yardstick of the forwarding benchmark: a UDP forwarder that parses nothing, and the
//! generator and the sink around it.
//!
//! ```text
//!  Generator --32 by sendmmsg--> Forwarder (or the gateway) --32 by sendmmsg--> Sink
//! ```
//!
//! The forwarder makes the system calls that `io::push` makes, with the same batch size, buffer
//! sizes and socket options, but blocks in recvmmsg(2) instead of polling, copies nothing and
//! picks each target by counting. What the gateway takes longer is what the gateway does.
//!
//! All three block, so each wants its own thread, and end by a flag that they look at between
//! batches and after [`TICK`] of silence.

// The bench and the self-check use different parts.
#![allow(dead_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use dm_gateway::limits::{DATAGRAM, PUSH_BATCH, PUSH_SOCKET_BUFFER};

/// How long a blocked receiver takes to see that it shall end.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// A bound UDP socket with the buffers and the options of `io::push`, blocking.
pub(crate) fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &PUSH_SOCKET_BUFFER).is_err() {
        socket.set_recv_buffer_size(PUSH_SOCKET_BUFFER)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &PUSH_SOCKET_BUFFER).is_err() {
        socket.set_send_buffer_size(PUSH_SOCKET_BUFFER)?;
    }
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    socket.set_read_timeout(Some(TICK))?;
    socket.bind(&SockAddr::from(address))?;
    Ok(UdpSocket::from(socket))
}

/// Forwards what comes in on `from` to the `targets` in turn, until `stop`. Returns how many
/// datagrams went out.
pub(crate) fn forward(
    from: &UdpSocket,
    to: &UdpSocket,
    targets: &[SocketAddr],
    stop: &AtomicBool,
) -> io::Result<u64> {
    let targets: Vec<Option<SockaddrStorage>> =
        targets.iter().map(|target| Some((*target).into())).collect();
    let mut receiver = Receiver::new();
    let mut headers = MultiHeaders::preallocate(PUSH_BATCH, None);
    let mut addresses = [None; PUSH_BATCH];
    let mut next = 0;
    let mut forwarded = 0;
    while !stop.load(Ordering::Relaxed) {
        let count = receiver.receive(from)?;
        for address in &mut addresses[..count] {
            *address = targets[next];
            next = if next + 1 == targets.len() { 0 } else { next + 1 };
        }
        let slices: [[IoSlice<'_>; 1]; PUSH_BATCH] =
            std::array::from_fn(|slot| [IoSlice::new(receiver.datagram(slot))]);
        let mut first = 0;
        while first < count {
            let sent = send(to, &mut headers, &slices[first..count], &addresses[first..count])?;
            forwarded += sent as u64;
            first += sent.max(1);
        }
    }
    Ok(forwarded)
}

/// Counts what comes in, until `stop`. The count is readable meanwhile.
pub(crate) fn sink(socket: &UdpSocket, count: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    let mut receiver = Receiver::new();
    while !stop.load(Ordering::Relaxed) {
        let received = receiver.receive(socket)? as u64;
        count.fetch_add(received, Ordering::Relaxed);
    }
    Ok(())
}

/// How fast [`generate`] sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As fast as the socket takes it.
    Full,
    /// Datagrams per second, evenly spread by batches.
    PerSecond(f64),
}

/// Makes every datagram of a run differ.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// Sends the datagrams in turn to `to` for a time, or until all `limit` are out. Their last
/// eight octets are a number that counts up through the whole run, so that no two are alike.
/// Returns how many went out.
pub(crate) fn generate(
    socket: &UdpSocket,
    to: SocketAddr,
    datagrams: &mut [Vec<u8>],
    pace: Pace,
    time: Duration,
    limit: u64,
) -> io::Result<u64> {
    let mut headers = MultiHeaders::preallocate(PUSH_BATCH, None);
    let targets = [Some(SockaddrStorage::from(to)); PUSH_BATCH];
    let begin = Instant::now();
    let mut next = 0;
    let mut sent = 0;
    while sent < limit {
        let elapsed = begin.elapsed();
        if elapsed >= time {
            break;
        }
        if let Pace::PerSecond(rate) = pace {
            let ahead = sent as f64 / rate - elapsed.as_secs_f64();
            if ahead > 0.0 {
                std::thread::sleep(Duration::from_secs_f64(ahead));
            }
        }
        let batch = usize::try_from(limit - sent).unwrap_or(PUSH_BATCH).min(PUSH_BATCH);
        let total = datagrams.len();
        for slot in 0..batch {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            if let Some(end) = datagrams[(next + slot) % total].last_chunk_mut() {
                *end = serial;
            }
        }
        let slices: [[IoSlice<'_>; 1]; PUSH_BATCH] =
            std::array::from_fn(|slot| [IoSlice::new(&datagrams[(next + slot) % total])]);
        let count = send(socket, &mut headers, &slices[..batch], &targets[..batch])?;
        sent += count as u64;
        next = (next + count) % total;
    }
    Ok(sent)
}

/// Buffers of one receiver, allocated once.
struct Receiver {
    headers: MultiHeaders<SockaddrStorage>,
    buffer: Box<[u8]>,
    lengths: [usize; PUSH_BATCH],
}

impl Receiver {
    fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(PUSH_BATCH, None),
            buffer: vec![0; PUSH_BATCH * DATAGRAM].into_boxed_slice(),
            lengths: [0; PUSH_BATCH],
        }
    }

    /// Waits for one datagram and takes what else is there; 0 after [`TICK`].
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut chunks = self.buffer.chunks_exact_mut(DATAGRAM);
        let mut slices: [[IoSliceMut<'_>; 1]; PUSH_BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(chunks.next().expect("one per slot"))]);
        let flags = MsgFlags::MSG_WAITFORONE;
        let fd = socket.as_raw_fd();
        match recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(messages) => {
                let mut count = 0;
                for message in messages {
                    self.lengths[count] = message.bytes;
                    count += 1;
                }
                Ok(count)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    fn datagram(&self, slot: usize) -> &[u8] {
        &self.buffer[slot * DATAGRAM..][..self.lengths[slot]]
    }
}

fn send(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    slices: &[[IoSlice<'_>; 1]],
    targets: &[Option<SockaddrStorage>],
) -> io::Result<usize> {
    let none: [ControlMessage<'_>; 0] = [];
    match sendmmsg(socket.as_raw_fd(), headers, slices, targets, none, MsgFlags::empty()) {
        Ok(sent) => Ok(sent.count()),
        Err(Errno::EINTR | Errno::ECONNREFUSED) => Ok(0),
        Err(errno) => Err(errno.into()),
    }
}
