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

/// Most text in one SyncML message, in octets. References into a WBXML string table make text
/// out of two octets each; four full bodies leave room for every honest use of them.
pub const MESSAGE_TEXT: usize = 4 * LAN_BODY;

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
