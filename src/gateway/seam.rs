//! The seam: what goes into the [`Gateway`](super::Gateway) and what comes out, as values.
//!
//! `io` makes [`Input`]s of what Linux tells it and carries out [`Output`]s; it decides nothing
//! in between. Times are [`Now`]s: the gateway never reads a clock.

use crate::gateway::health::{Facts, Failed};
use crate::gateway::management::{Operation, OperationId};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A moment, as `io` read it off the clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since the process started, on a clock that never jumps.
    pub uptime: Duration,
    /// Seconds since 1970 by the wall clock, which may be wrong at boot. Only what must outlive
    /// a restart is counted on it.
    pub unix: u64,
}

/// Index of a `[[lan]]` section, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LanId(pub usize);

/// One HTTP request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// One batch of changes handed to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(pub u64);

/// One call to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A call to a server.
#[derive(Clone, Debug)]
pub struct Call {
    /// The id of the server concerned: whose `[[server]]` says whom to trust.
    pub server: String,
    /// What to do.
    pub kind: CallKind,
}

/// What a [`Call`] does.
#[derive(Clone, Debug)]
pub enum CallKind {
    /// Post a message of a DM session.
    Message {
        /// Where to.
        url: String,
        /// Whether it may go without TLS.
        allow_http: bool,
        /// `Content-Type`, and `Accept`.
        content_type: &'static str,
        /// The header [`MAC_HEADER`](crate::proto::auth::MAC_HEADER).
        mac: Option<String>,
        /// The body.
        body: Vec<u8>,
    },
    /// Get a bootstrap document over HTTPS.
    Fetch {
        /// From where.
        url: String,
        /// `Accept`.
        accept: &'static str,
    },
    /// Look services up in DNS (SRV).
    Services {
        /// `_dm-bootstrap._tcp.example.com` …
        name: String,
    },
    /// Read the smartcard.
    Card,
}

/// How a [`Call`] ended.
pub type CallResult = Result<Reply, Failed>;

/// What a [`Call`] brought.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An HTTP answer.
    Http(HttpReply),
    /// Hosts and ports, in the order in which they are to be asked.
    Services(Vec<(String, u16)>),
    /// What the smartcard has for bootstrapping.
    Card(Option<Vec<u8>>),
}

/// An HTTP answer to us.
#[derive(Clone, Debug, Default)]
pub struct HttpReply {
    /// HTTP status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The header [`MAC_HEADER`](crate::proto::auth::MAC_HEADER).
    pub mac: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The body, at most [`CLIENT_MESSAGE`](crate::limits::CLIENT_MESSAGE) octets in a
    /// session, [`BOOTSTRAP`](crate::limits::BOOTSTRAP) of a bootstrap server.
    pub body: Vec<u8>,
}

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came to the WAN push port.
    Push {
        /// Its source.
        from: SocketAddr,
        /// Its octets.
        datagram: &'a [u8],
    },
    /// Somebody on a LAN posts to our DM server.
    Request {
        /// Names the answer.
        connection: ConnectionId,
        /// The LAN whose listener took the connection.
        lan: LanId,
        /// The peer's address and port (IPv6 link-local with its scope).
        from: SocketAddr,
        /// The address and port the peer reached us at.
        local: SocketAddr,
        /// The request, its body complete.
        request: Request<'a>,
    },
    /// Somebody on a LAN sent what is no HTTP request, or one beyond the bounds; it was refused.
    BadRequest {
        /// The LAN whose listener took the connection.
        lan: LanId,
        /// The peer's address and port.
        from: SocketAddr,
    },
    /// Somebody on the WAN posts a push to our HTTP listener.
    PushRequest {
        /// Names the answer.
        connection: ConnectionId,
        /// The peer's address and port.
        from: SocketAddr,
        /// The request, its body complete.
        request: PushRequest<'a>,
    },
    /// Somebody on the WAN came to our HTTP listener, and it came to no request.
    NoPushRequest {
        /// The peer's address and port.
        from: SocketAddr,
        /// What was wrong.
        fault: PushFault,
    },
    /// Somebody on a LAN asks for a bootstrap over HTTPS.
    BootstrapRequest {
        /// Names the answer.
        connection: ConnectionId,
        /// The LAN whose listener took the connection.
        lan: LanId,
        /// The peer's address and port.
        from: SocketAddr,
        /// The request.
        request: BootstrapRequest<'a>,
    },
    /// Somebody on a LAN came for a bootstrap, and it came to no request.
    NoBootstrapRequest {
        /// The LAN whose listener took the connection.
        lan: LanId,
        /// The peer's address and port.
        from: SocketAddr,
        /// Whether TLS failed; else what came is not HTTP, or beyond the bounds.
        handshake: bool,
    },
    /// The kernel's neighbour table changed.
    Neighbour(NeighbourEvent),
    /// A network interface appeared, changed or went.
    Link(LinkEvent),
    /// A DHCP lease file was read: all its leases.
    Leases {
        /// The LAN it belongs to.
        lan: LanId,
        /// Every lease in it.
        leases: &'a [Lease],
    },
    /// A batch of changes is on flash, or is not.
    Committed {
        /// Which.
        commit: CommitId,
        /// How it went.
        result: Result<(), StoreError>,
    },
    /// A call is over.
    Called {
        /// Which.
        call: CallId,
        /// Its reply, or why there is none.
        result: CallResult,
    },
    /// A file in one of the bootstrap directories, at the start.
    BootstrapFile {
        /// Its name, by which it is remembered.
        name: &'a str,
        /// Its octets.
        document: &'a [u8],
    },
    /// What the smartcard has for bootstrapping, at the start; `None` if it has nothing.
    Card(Option<&'a [u8]>),
    /// An operator wants something done.
    Operate {
        /// Names the answer.
        operation: OperationId,
        /// What.
        request: Operation,
    },
    /// What only the system knows: sampled when somebody asks for the status.
    Facts(Facts),
    /// The time that [`Gateway::poll_timeout`](super::Gateway::poll_timeout) named has come.
    Timeout,
}

/// An HTTP request from a LAN.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `POST` …
    pub method: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// `Content-Type`, if given and text.
    pub content_type: Option<&'a str>,
    /// The body, at most [`LAN_BODY`](crate::limits::LAN_BODY) octets.
    pub body: &'a [u8],
}

/// An HTTP request from the WAN.
#[derive(Clone, Copy, Debug)]
pub struct PushRequest<'a> {
    /// `POST` …
    pub method: &'a str,
    /// Every header field: its name, its value as it came.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// The body, at most [`PUSH_BODY`](crate::limits::PUSH_BODY) octets.
    pub body: &'a [u8],
}

/// An HTTPS request for a bootstrap.
#[derive(Clone, Copy, Debug)]
pub struct BootstrapRequest<'a> {
    /// `GET` …
    pub method: &'a str,
    /// Path without query.
    pub path: &'a str,
    /// What stands behind `?`.
    pub query: Option<&'a str>,
}

/// Why a connection to the WAN's HTTP listener ended without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushFault {
    /// Its source may not push: it was closed before any work was done for it.
    Source,
    /// TLS failed, or the peer showed no certificate that counts.
    Handshake,
    /// What came is not HTTP, or beyond the bounds; HTTP's own answer went back.
    Request,
}

/// What is to be done outside. Borrowed data lives until the next call on the gateway.
#[derive(Debug)]
pub enum Output<'a> {
    /// Send a datagram to an end device.
    Push {
        /// The LAN to send on.
        lan: LanId,
        /// Where to.
        to: SocketAddr,
        /// The WSP PDU.
        datagram: &'a [u8],
    },
    /// Answer an HTTP request.
    Response {
        /// Which.
        connection: ConnectionId,
        /// The answer.
        response: Response,
    },
    /// Make changes durable, then report [`Input::Committed`]. Commits keep their order.
    Commit {
        /// Names the report.
        commit: CommitId,
        /// The changes, to be applied together or not at all.
        changes: Vec<Change>,
    },
    /// Have the kernel confirm a neighbour: move an existing entry to the state PROBE where the
    /// process may, and send one empty datagram to the discard port, which makes the kernel
    /// resolve an address it does not know.
    Probe {
        /// The LAN.
        lan: LanId,
        /// The interface's index.
        interface: u32,
        /// The neighbour.
        address: IpAddr,
    },
    /// Call a server, then report [`Input::Called`].
    Call {
        /// Names the report.
        call: CallId,
        /// Whom, and what for.
        request: Call,
    },
    /// Answer an operator.
    Operated {
        /// Which operation.
        operation: OperationId,
        /// Lines for people, or a sentence that says why it was not done.
        result: Result<Vec<String>, String>,
    },
    /// Write down what changed, and who changed it.
    Audit(super::audit::Audit),
    /// Tell whoever watches.
    Event(super::event::Event),
    /// Write a line to the log, at the event's [level](super::event::Event::level).
    Log {
        /// What it tells.
        event: super::event::Event,
        /// How many of its kind the line stands for that were not logged; 0 if it is the event
        /// itself.
        held_back: u64,
    },
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// `Content-Type`, with a body.
    pub content_type: Option<&'static str>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The body.
    pub body: Vec<u8>,
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Whether the address was made up by its owner (locally administered), as phones do for
    /// privacy, instead of assigned by a maker.
    pub fn is_local(self) -> bool {
        self.0[0] & 0x02 != 0
    }

    /// Whether the group bit is set: never the address of one device.
    pub fn is_group(self) -> bool {
        self.0[0] & 0x01 != 0
    }

    /// Reads six hexadecimal octets joined by `-` or `:`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut octets = [0; 6];
        let mut parts = text.split(['-', ':']);
        for octet in &mut octets {
            let part = parts.next()?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            *octet = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(octets))
    }
}

/// Lower-case hexadecimal joined by hyphens, as the change request writes it.
impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}-{b:02x}-{c:02x}-{d:02x}-{e:02x}-{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// State of a neighbour entry, as the kernel names it (NUD, rtnetlink(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeighbourState {
    /// NONE or INCOMPLETE: being resolved, no layer-2 address yet.
    Incomplete,
    /// REACHABLE: confirmed.
    Reachable,
    /// STALE, DELAY or PROBE: known, not confirmed lately.
    Stale,
    /// FAILED: does not answer.
    Failed,
    /// PERMANENT: entered by hand.
    Permanent,
}

/// What the kernel says of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourEvent {
    /// A dump of the whole table begins; entries that it does not repeat are gone.
    DumpBegin,
    /// The dump is complete.
    DumpEnd,
    /// RTM_NEWNEIGH. States NOARP, loopback and group addresses are left out.
    Entry {
        /// Interface index.
        interface: u32,
        /// IPv4 or IPv6 address.
        address: IpAddr,
        /// Layer-2 address, if it is an Ethernet one and known.
        mac: Option<MacAddress>,
        /// State.
        state: NeighbourState,
    },
    /// RTM_DELNEIGH.
    Removed {
        /// Interface index.
        interface: u32,
        /// IPv4 or IPv6 address.
        address: IpAddr,
        /// State in which it was removed.
        state: NeighbourState,
    },
    /// The kernel cannot tell about neighbours here (no netlink, or not this message).
    Unavailable,
}

/// What the kernel says of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// Interface index.
    pub index: u32,
    /// Name, as in `[[lan]] interface`.
    pub name: String,
    /// Whether it is up with a carrier.
    pub running: bool,
    /// Whether it was removed.
    pub removed: bool,
    /// Its own Ethernet address.
    pub mac: Option<MacAddress>,
}

/// One DHCP lease, dnsmasq's lease file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Seconds since 1970 at which it ends; 0 = never.
    pub expiry: u64,
    /// The client's Ethernet address (none in DHCPv6 lines).
    pub mac: MacAddress,
    /// The address leased.
    pub address: IpAddr,
}

/// One durable change: an octet string under a key, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
