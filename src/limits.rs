//! Every bound in the system: one constant each, with its reason.
//!
//! Untrusted input may cost bounded work and bounded memory. A bound that a fleet may
//! reasonably want to move is a configuration key whose *default* stands here.

use std::time::Duration;

// --- Messages ------------------------------------------------------------------------------

/// Largest HTTP body accepted from an end device, in octets. A whole package 1 with a full
/// server list is under 10 KiB; four times that leaves room for chatty DevInfo.
pub const LAN_BODY: usize = 64 * 1024;

/// Deepest element nesting in SyncML, in levels. The deepest legal path of DM 1.2 is 12.
pub const DEPTH: usize = 32;

/// Most elements in one SyncML message. A 64 KiB body of minimal tags stays above it.
pub const ELEMENTS: usize = 10_000;

/// Longest text of one element, in octets: no leaf the gateway handles is larger.
pub const TEXT: usize = 64 * 1024;

/// Most commands in one message. Each one costs a Status in the reply.
pub const COMMANDS: usize = 256;

/// Longest end device id, in octets: the DM server id has the same bound.
pub const DEVICE_ID: usize = 255;

/// Longest DM server id, in octets: Package #0 carries its length in one octet.
pub const SERVER_ID: usize = 255;

/// Most servers in one BootstrappedDMSList. Devices of the field name two or three.
pub const LIST_SERVERS: usize = 16;

/// Longest payload of a BootstrappedDMSList alert, in octets: sixteen full ids and their tags
/// need 5 KiB.
pub const LIST_PAYLOAD: usize = 16 * 1024;

/// Longest string table of a WBXML document, in octets: real ones hold a public identifier.
pub const STRING_TABLE: usize = 4 * 1024;

/// Longest datagram taken from a push socket, in octets: a WAP push fits one Ethernet frame,
/// IPv6 may carry more through reassembly.
pub const DATAGRAM: usize = 4 * 1024;

/// Longest nonce, in octets, that a peer may hand out. 16 is usual.
pub const NONCE: usize = 128;

// --- Inventory -----------------------------------------------------------------------------

/// Most end devices in the inventory. A hub has hundreds; the storm goal is 10,000.
pub const DEVICES: usize = 16_384;

/// Most devices with made-up (locally administered) addresses that never opened a session:
/// privacy addresses must not push real devices out.
pub const RANDOM_DEVICES: usize = 4_096;

/// Most Ethernet addresses of one device: wired, wireless, and a spare of each.
pub const HARDWARE: usize = 4;

/// Most network addresses remembered of one device: IPv6 privacy addresses come and go.
pub const ADDRESSES: usize = 16;

/// Most neighbour entries mirrored from the kernel, whose own default limit is 1,024 a family.
pub const NEIGHBOURS: usize = 65_536;

/// Most wanted servers over all devices: a flood of invented names stays small.
pub const WANTED: usize = 256;

/// How long a rival claim to an identity stays visible after it was last made.
pub const CONFLICT_MEMORY: Duration = Duration::from_secs(24 * 3600);

// --- Asking --------------------------------------------------------------------------------

/// Wait between a detection and its Package #0, so that a device which brings up several
/// addresses at once is asked at the best of them. The bound is 5 s.
pub const SETTLE: Duration = Duration::from_millis(500);

/// Wait before a device that opened no session is asked once more.
pub const ASK_AGAIN: Duration = Duration::from_secs(600);

/// Most Package #0 in one attachment.
pub const ASKS: u8 = 2;

/// A session with a silent device is forgotten after this.
pub const SESSION_IDLE: Duration = Duration::from_secs(30);

/// Most open sessions with end devices. Each has a request of a capped connection behind it
/// lately; the oldest goes first.
pub const SESSIONS: usize = 16_384;

/// Wrong or missing credentials in one session before it is refused.
pub const AUTHENTICATION_TRIES: u8 = 3;

/// Messages of one session: the longest honest one has six.
pub const SESSION_MESSAGES: u32 = 64;

/// Default sustained HTTP requests a second from one address.
pub const REQUEST_RATE: u32 = 20;

/// Default HTTP requests at once from one address: ten sessions of four messages in 5 s pass.
pub const REQUEST_BURST: u32 = 100;

/// Most addresses whose request rate is remembered.
pub const REQUEST_SOURCES: usize = 65_536;

// --- Lists ---------------------------------------------------------------------------------

/// Empty lists in a row that end a device's mappings.
pub const EMPTY_LISTS: u8 = 3;

/// Seconds after which unconfirmed mappings end.
pub const UNCONFIRMED: u64 = 7 * 24 * 3600;

// --- Forwarding ----------------------------------------------------------------------------

/// Default pushes a second for one mapping.
pub const PUSH_RATE: u32 = 1;

/// Pushes at once for one mapping.
pub const PUSH_BURST: u32 = 5;

/// An exact repeat of Package #0 within this is a duplicate on the way, not a retransmission.
pub const REPEAT: Duration = Duration::from_secs(10);

/// Package #0 remembered of one device for finding repeats.
pub const REPEATS: usize = 8;

/// How long a forwarded trigger is kept for the case that its device has vanished.
pub const CONFIRM: Duration = Duration::from_secs(15);

/// Default time that a trigger is held for a device that is away.
pub const TRIGGER_EXPIRY: Duration = Duration::from_secs(15 * 60);
