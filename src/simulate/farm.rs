//! Many simulated end devices at once, each with an IPv4 address of its own, behind one push
//! socket: the kernel tells which address a datagram was sent to (IP_PKTINFO).

use super::end_device::{EndDevice, EndDeviceOptions, Profile, Quirk, Server, gate};
use super::event::{Report, SimEvent, Sink};
use crate::limits::DATAGRAM;
use crate::proto::syncml::Encoding;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt::Ipv4PacketInfo,
};
use smol::{Async, LocalExecutor, channel, future};
use socket2::SockRef;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Most TCP connections of a farm at one time: the gateway does the queueing, but descriptors
/// are finite.
const CONNECTIONS: usize = 4000;

/// Descriptors kept for everything that is not an end device's connection.
const SPARE_DESCRIPTORS: usize = 64;

/// What a farm consists of.
#[derive(Clone, Debug)]
pub struct FarmOptions {
    /// What their ids begin with; 15 digits, counting from 0, follow.
    pub id_prefix: String,
    /// How many devices.
    pub count: u32,
    /// Address of the first; the others follow.
    pub base_address: Ipv4Addr,
    /// UDP port of all.
    pub push_port: u16,
    /// The gateway's DM server id, as in [`EndDeviceOptions`].
    pub gateway_id: Option<String>,
    /// The gateway's LAN DM server.
    pub gateway_url: String,
    /// The list of every device.
    pub servers: Vec<Server>,
    /// How messages are encoded.
    pub encoding: Encoding,
    /// Where all devices differ from the documents.
    pub quirks: Vec<Quirk>,
    /// Whether every device opens a session by itself instead of waiting for a push.
    pub open_session: bool,
}

/// How far a farm has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FarmSummary {
    /// Devices.
    pub devices: u32,
    /// Those whose list was answered with a 2xx Status.
    pub acknowledged: u32,
    /// Those whose list was last answered otherwise.
    pub refused: u32,
    /// Pushes received.
    pub pushes: u64,
    /// Sessions that ended well.
    pub sessions: u64,
    /// Sessions that failed.
    pub failed: u64,
    /// Why the last of them did.
    pub failure: Option<String>,
    /// From the start to the last change of `acknowledged`.
    pub elapsed: Duration,
}

/// A farm of simulated end devices.
pub struct Farm {
    options: FarmOptions,
    devices: Vec<Rc<EndDevice>>,
    progress: Rc<RefCell<Progress>>,
    done: channel::Receiver<()>,
}

struct Progress {
    start: Instant,
    summary: FarmSummary,
    answered: Vec<Option<bool>>,
}

impl Farm {
    /// Makes the devices; they do nothing yet. Raises this process's limit of open files as far
    /// as it may.
    pub fn new(options: FarmOptions) -> Self {
        let connections = descriptors().saturating_sub(SPARE_DESCRIPTORS).clamp(1, CONNECTIONS);
        let gate = gate(connections);
        let devices = options.count;
        let progress = Rc::new(RefCell::new(Progress {
            start: Instant::now(),
            summary: FarmSummary { devices, ..FarmSummary::default() },
            answered: vec![None; usize::try_from(devices).unwrap_or_default()],
        }));
        let (finished, done) = channel::bounded(1);
        let devices = (0..options.count)
            .map(|index| {
                let sink = counting(index, Rc::clone(&progress), finished.clone());
                EndDevice::new(options.device(index), gate.clone(), sink)
            })
            .collect();
        Self { options, devices, progress, done }
    }

    /// Runs until every device has its list acknowledged.
    ///
    /// # Errors
    /// If the push socket cannot be bound or fails.
    pub async fn run(&self) -> io::Result<()> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.options.push_port));
        let socket = Async::<UdpSocket>::bind(any)?;
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
        // A storm of pushes waits in the socket; what the kernel allows is enough.
        let _ = SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        self.progress.borrow_mut().start = Instant::now();
        let sessions = LocalExecutor::new();
        if self.options.open_session {
            for device in &self.devices {
                let device = Rc::clone(device);
                sessions.spawn(async move { device.open_session().await }).detach();
            }
        }
        let done = async {
            let _ = self.done.recv().await;
            Ok(())
        };
        sessions.run(future::or(done, self.receive(&socket, &sessions))).await
    }

    /// Where it stands.
    pub fn summary(&self) -> FarmSummary {
        self.progress.borrow().summary.clone()
    }

    /// The devices' leases as a dnsmasq lease file: one that a gateway watches makes them come up.
    pub fn leases(&self) -> String {
        let mut out = String::new();
        for index in 0..self.options.count {
            let address = self.options.address(index);
            let [a, b, c, d] = address.octets();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "0 02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x} {address} * *");
        }
        out
    }

    async fn receive(
        &self,
        socket: &Async<UdpSocket>,
        sessions: &LocalExecutor<'_>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let (from, to, length) =
                socket.read_with(|socket| receive(socket, &mut buffer)).await?;
            let Some(index) = u32::from(to).checked_sub(self.options.base_address.into()) else {
                continue;
            };
            let device = usize::try_from(index).ok().and_then(|index| self.devices.get(index));
            let Some(device) = device.map(Rc::clone) else { continue };
            let datagram = buffer.get(..length).unwrap_or_default().to_vec();
            sessions.spawn(async move { device.receive(from, &datagram).await }).detach();
        }
    }
}

impl FarmOptions {
    fn address(&self, index: u32) -> Ipv4Addr {
        u32::from(self.base_address).wrapping_add(index).into()
    }

    fn device(&self, index: u32) -> EndDeviceOptions {
        EndDeviceOptions {
            id: format!("{}{index:015}", self.id_prefix),
            listen: (self.address(index), self.push_port).into(),
            gateway_id: self.gateway_id.clone(),
            gateway_url: self.gateway_url.clone(),
            servers: self.servers.clone(),
            encoding: self.encoding,
            profile: Profile::Registered,
            account: None,
            quirks: self.quirks.clone(),
        }
    }
}

/// Counts what one device reports; says so when all are through.
fn counting(index: u32, progress: Rc<RefCell<Progress>>, finished: channel::Sender<()>) -> Sink {
    Rc::new(move |report: Report| {
        let mut progress = progress.borrow_mut();
        let elapsed = progress.start.elapsed();
        let Progress { summary, answered, .. } = &mut *progress;
        match report.event {
            SimEvent::PushReceived { .. } => summary.pushes += 1,
            SimEvent::SessionEnded { ok: true, .. } => summary.sessions += 1,
            SimEvent::SessionEnded { ok: false, why, .. } => {
                summary.failed += 1;
                summary.failure = Some(why);
            }
            SimEvent::ListAnswered { status } => {
                let index = usize::try_from(index).unwrap_or_default();
                let Some(answered) = answered.get_mut(index) else { return };
                match *answered {
                    Some(true) => summary.acknowledged -= 1,
                    Some(false) => summary.refused -= 1,
                    None => {}
                }
                let ok = status / 100 == 2;
                *answered = Some(ok);
                if ok {
                    summary.acknowledged += 1;
                    summary.elapsed = elapsed;
                } else {
                    summary.refused += 1;
                }
            }
            _ => {}
        }
        if summary.acknowledged == summary.devices {
            // Full means that it was said before.
            let _ = finished.try_send(());
        }
    })
}

/// One datagram: its source, the address it was sent to, its length.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(SocketAddr, Ipv4Addr, usize)> {
    let mut control = nix::cmsg_space!(nix::libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let from = message.address.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), Into::into);
    let to = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)))
        }
        _ => None,
    });
    Ok((from.into(), to.unwrap_or(Ipv4Addr::UNSPECIFIED), message.bytes))
}

/// How many descriptors the process may have, after raising the limit as far as it may.
fn descriptors() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    usize::try_from(limit).unwrap_or(usize::MAX)
}
