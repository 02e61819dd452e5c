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

// --- Linux and flash -----------------------------------------------------------------------

/// Largest DHCP lease file read, in octets: [`LEASES`] lines of 256 octets. The rest is ignored.
pub const LEASE_FILE: usize = 4 * 1024 * 1024;

/// Longest line of a DHCP lease file, in octets: a host name has 255, a client id twice 255 and
/// its colons. Longer lines are skipped.
pub const LEASE_LINE: usize = 1024;

/// Most leases taken from one file: a /18 full of devices.
pub const LEASES: usize = 16_384;

/// Receive buffer asked for the netlink socket, in octets. The kernel charges about 1 KiB for a
/// change, so that 4,000 of them may come while we are busy; what overflows is dumped again.
pub const NETLINK_BUFFER: usize = 4 * 1024 * 1024;

/// Largest netlink datagram read, in octets: the kernel never packs more into a part of a dump.
pub const NETLINK_DATAGRAM: usize = 32 * 1024;

/// The store's page cache, in octets. sled takes it as a hint; its default is 1 GiB.
pub const STORE_CACHE: u64 = 4 * 1024 * 1024;

/// How long a failed store is left alone before it is opened again: a full flash is not freed in
/// milliseconds, and every try costs writes and a log line.
pub const STORE_RETRY: Duration = Duration::from_secs(30);
