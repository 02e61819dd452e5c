//! Neighbours and interfaces, as the kernel tells of them: rtnetlink(7).
//!
//! ```text
//! open ─> dump links ─> DumpBegin ─> dump neighbours ─> DumpEnd ─> changes …
//!              ^                                                     │
//!              └──────────── the kernel lost changes (ENOBUFS) ──────┘
//! ```
//!
//! The kernel queues the parts of a dump and the changes meanwhile in the order in which it made
//! them, so taking each message as it comes gives the right table.

mod message;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::task::{Context, Poll};

use async_io::Async;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, send,
    setsockopt, socket, sockopt,
};

use self::message::{
    AF_INET, AF_INET6, AF_UNSPEC, HEADER, IFINFOMSG, Message, NDA_DST, NDMSG, NLMSG_DONE,
    NLMSG_ERROR, RTM_DELLINK, RTM_NEWLINK, RTM_NEWNEIGH, messages, parse_link, parse_neighbour,
};
use crate::gateway::seam::{LinkEvent, NeighbourEvent};
use crate::limits::{NETLINK_BUFFER, NETLINK_DATAGRAM};

// linux/netlink.h, linux/rtnetlink.h, linux/neighbour.h, linux/if_link.h
const RTM_GETLINK: u16 = 18;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_DUMP: u16 = 0x300;
const RTMGRP_LINK: u32 = 1;
const RTMGRP_NEIGH: u32 = 4;
const NUD_PROBE: u16 = 0x10;

/// What the kernel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of a neighbour.
    Neighbour(NeighbourEvent),
    /// Of an interface.
    Link(LinkEvent),
}

/// A socket to the kernel's routing tables.
#[derive(Debug)]
pub struct Netlink {
    socket: Async<OwnedFd>,
    buffer: Vec<u8>,
    dump: Dump,
    /// Changes were lost: dump again when the present dump is over.
    again: bool,
    sequence: u32,
    /// Names of the interfaces told of.
    links: BTreeMap<u32, String>,
    /// Those of them that the present dump did not repeat yet.
    missing: BTreeMap<u32, String>,
}

/// Which dump is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dump {
    None,
    Links,
    Neighbours,
}

impl Netlink {
    /// Opens a socket and asks for all links and neighbours. Needs no privilege.
    ///
    /// # Errors
    ///
    /// The kernel has no rtnetlink here, or the process may not use it: the caller goes on as
    /// with [`NeighbourEvent::Unavailable`].
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        // Beyond net.core.rmem_max only with CAP_NET_ADMIN; otherwise as much as we get.
        if setsockopt(&socket, sockopt::RcvBufForce, &NETLINK_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &NETLINK_BUFFER)?;
        }
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK | RTMGRP_NEIGH))?;
        let mut netlink = Self {
            socket: Async::new(socket)?,
            buffer: vec![0; NETLINK_DATAGRAM],
            dump: Dump::None,
            again: false,
            sequence: 0,
            links: BTreeMap::new(),
            missing: BTreeMap::new(),
        };
        netlink.dump_links()?;
        Ok(netlink)
    }

    /// Whether [`drain`](Self::drain) has something to do; wakes the task when it has. For one
    /// task only.
    ///
    /// # Errors
    ///
    /// The process cannot wait on the socket.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(context)
    }

    /// Takes up to `limit` datagrams off the socket, without waiting, and gives their events to
    /// `sink`. True if there may be more.
    ///
    /// A `DumpBegin` may follow a `DumpBegin` without a `DumpEnd` between them: that dump missed
    /// something and starts over.
    ///
    /// # Errors
    ///
    /// The socket is broken.
    pub fn drain(&mut self, limit: usize, sink: &mut dyn FnMut(Event)) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.drain_into(&mut buffer, limit, sink);
        self.buffer = buffer;
        result
    }

    /// Moves a neighbour entry to the state PROBE: the kernel asks it three times, and tells the
    /// outcome as an entry REACHABLE or FAILED. Needs CAP_NET_ADMIN.
    ///
    /// Without effect (a debug line) where the privilege, the entry or its layer-2 address is
    /// missing: the kernel keeps the address that it knows, none is given to it. An entry in the
    /// state PERMANENT would lose it: do not probe those.
    pub fn probe(&mut self, interface: u32, address: IpAddr) {
        let mut body = Vec::with_capacity(NDMSG + 20);
        let (family, octets): (u8, &[u8]) = match &address {
            IpAddr::V4(address) => (AF_INET, &address.octets()),
            IpAddr::V6(address) => (AF_INET6, &address.octets()),
        };
        body.extend([family, 0, 0, 0]);
        body.extend(interface.to_ne_bytes());
        body.extend(NUD_PROBE.to_ne_bytes());
        body.extend([0, 0]);
        body.extend((octets.len() as u16 + 4).to_ne_bytes());
        body.extend(NDA_DST.to_ne_bytes());
        body.extend(octets);
        if let Err(e) = self.request(RTM_NEWNEIGH, NLM_F_REPLACE, &body) {
            log::debug!("cannot probe {address}: {e}");
        }
    }

    fn drain_into(
        &mut self,
        buffer: &mut [u8],
        limit: usize,
        sink: &mut dyn FnMut(Event),
    ) -> io::Result<bool> {
        for _ in 0..limit {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), buffer) {
                Ok((length, Some(sender))) if sender.pid() == 0 => {
                    for message in messages(buffer.get(..length).unwrap_or_default()) {
                        self.handle(&message, sink)?;
                    }
                }
                Ok(_) => log::debug!("netlink message that is not from the kernel"),
                Err(Errno::EAGAIN) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => {
                    log::debug!("the kernel lost netlink messages: dumping again");
                    self.again = true;
                    if self.dump == Dump::None {
                        self.dump_links()?;
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    fn handle(&mut self, message: &Message<'_>, sink: &mut dyn FnMut(Event)) -> io::Result<()> {
        let answers_dump = self.dump != Dump::None && message.sequence == self.sequence;
        if answers_dump && message.flags & NLM_F_DUMP_INTR != 0 {
            self.again = true;
        }
        match message.kind {
            NLMSG_DONE | NLMSG_ERROR if answers_dump => self.dumped(message.error(), sink)?,
            NLMSG_ERROR => log::debug!("netlink request refused: {:?}", message.error()),
            RTM_NEWLINK | RTM_DELLINK => {
                if let Some(link) = parse_link(message) {
                    self.missing.remove(&link.index);
                    if link.removed {
                        self.links.remove(&link.index);
                    } else {
                        self.links.insert(link.index, link.name.clone());
                    }
                    sink(Event::Link(link));
                }
            }
            RTM_NEWNEIGH | RTM_DELNEIGH => {
                if let Some(event) = parse_neighbour(message) {
                    sink(Event::Neighbour(event));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The present dump is over.
    fn dumped(&mut self, error: Option<Errno>, sink: &mut dyn FnMut(Event)) -> io::Result<()> {
        match (self.dump, error) {
            (Dump::None, _) => {}
            (Dump::Links, error) => {
                if let Some(errno) = error {
                    log::warn!("the kernel does not list its interfaces: {errno}");
                } else if !self.again {
                    for (index, name) in std::mem::take(&mut self.missing) {
                        self.links.remove(&index);
                        let (running, removed, mac) = (false, true, None);
                        sink(Event::Link(LinkEvent { index, name, running, removed, mac }));
                    }
                }
                sink(Event::Neighbour(NeighbourEvent::DumpBegin));
                self.dump = Dump::Neighbours;
                let mut body = [0; NDMSG];
                body[0] = AF_UNSPEC;
                self.request_dump(RTM_GETNEIGH, &body)?;
            }
            (Dump::Neighbours, Some(errno)) => {
                log::warn!("the kernel does not list its neighbours: {errno}");
                self.dump = Dump::None;
                self.again = false;
                sink(Event::Neighbour(NeighbourEvent::Unavailable));
            }
            (Dump::Neighbours, None) if self.again => self.dump_links()?,
            (Dump::Neighbours, None) => {
                self.dump = Dump::None;
                sink(Event::Neighbour(NeighbourEvent::DumpEnd));
            }
        }
        Ok(())
    }

    fn dump_links(&mut self) -> io::Result<()> {
        self.again = false;
        self.dump = Dump::Links;
        self.missing.clone_from(&self.links);
        self.request_dump(RTM_GETLINK, &[0; IFINFOMSG])
    }

    fn request_dump(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        self.request(kind, NLM_F_DUMP, body)
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        // A probe's number must not hide the end of the present dump.
        let sequence = if flags == NLM_F_DUMP {
            self.sequence = self.sequence.wrapping_add(1).max(1);
            self.sequence
        } else {
            0
        };
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        send(self.socket.as_raw_fd(), &message, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}
