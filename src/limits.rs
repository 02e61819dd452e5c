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

/// Longest gateway address in an alert, in octets: a DNS name has at most 253.
pub const GATEWAY_ADDRESS: usize = 255;

/// Longest string table of a WBXML document, in octets: real ones hold a public identifier.
pub const STRING_TABLE: usize = 4 * 1024;

/// Longest datagram taken from a push socket, in octets: a WAP push fits one Ethernet frame,
/// IPv6 may carry more through reassembly.
pub const DATAGRAM: usize = 4 * 1024;

/// Longest nonce, in octets, that a peer may hand out. 16 is usual.
pub const NONCE: usize = 128;

// --- Management tree -----------------------------------------------------------------------

/// Most nodes in the management tree. 128 accounts of some 30 nodes leave three quarters of it
/// for the objects of applications.
pub const TREE_NODES: usize = 16_384;

/// Deepest node, in segments below the root. The deepest standard node (the port of an account's
/// address) stands at 7.
pub const TREE_DEPTH: usize = 16;

/// Longest URI of a node, in octets, query included. It is a key in the store and a line of logs.
pub const TREE_URI: usize = 1024;

/// Longest name of a node, in octets: a server id, which some servers name their account by.
pub const TREE_SEGMENT: usize = 255;

/// Most children of one node. The names of all of them are the answer to one Get.
pub const TREE_CHILDREN: usize = 4096;

/// Largest value of one node, in octets: what one element of a message carries.
pub const TREE_VALUE: usize = TEXT;

/// Most octets of values, names and properties in the whole tree: a router's memory and flash.
pub const TREE_OCTETS: usize = 8 * 1024 * 1024;

/// Longest ACL, in octets: every command for three servers with the longest ids.
pub const ACL: usize = 4 * 1024;

/// Longest `Title` of a node, in octets. (TND 1.2.1, 7.7.6.)
pub const TITLE: usize = 255;

/// Longest `Type` of a node, in octets: longer media types and URNs of objects are not registered.
pub const NODE_TYPE: usize = 255;

/// Most octets of values and names in the answer to one Get of a subtree, before encoding.
pub const TREE_REPLY: usize = 256 * 1024;

/// Most nodes in the answer to one Get of a subtree.
pub const TREE_REPLY_NODES: usize = 4096;

// --- Bootstrap -----------------------------------------------------------------------------

/// Largest bootstrap document, in octets: one account is under 2 KiB, a smartcard file at most
/// 32 KiB.
pub const BOOTSTRAP: usize = 64 * 1024;

/// Most accounts in one bootstrap document. Operators put in one, rarely two.
pub const ACCOUNTS: usize = 8;

/// Most addresses, ports of one address, connections, or credentials of one account.
pub const ACCOUNT_PARTS: usize = 8;

/// Longest text in an account, in octets: a URL with a token in it.
pub const ACCOUNT_TEXT: usize = 1024;

/// Most attributes of one element: provisioning documents have two, and a few namespaces.
pub const ATTRIBUTES: usize = 32;

/// Most octets read from one file of a smartcard: its read command reaches no further.
pub const CARD_FILE: usize = 32 * 1024;

/// Most commands to a smartcard in one search: two files of 32 KiB in blocks of 255 octets need
/// 260, an honest card answers within 40.
pub const CARD_COMMANDS: usize = 512;

/// Most paths followed in the directory files of a smartcard.
pub const CARD_PATHS: usize = 8;

/// How long a modem may take to answer one command: a card at 9,600 bit/s needs 0.3 s for a block,
/// and a modem may be busy with the network.
pub const AT_ANSWER: Duration = Duration::from_secs(5);

/// How long a modem's port is used for one search on its card: 260 commands of 0.2 s each.
pub const AT_SEARCH: Duration = Duration::from_secs(60);

/// Longest line of a modem's AT port, in octets: a full answer of 258 octets in hexadecimal.
pub const AT_LINE: usize = 1024;

// --- Inventory -----------------------------------------------------------------------------

/// Most end devices in the inventory. A hub has hundreds; the storm goal is 10,000.
pub const DEVICES: usize = 16_384;

/// Most devices with made-up (locally administered) addresses that never opened a session:
/// privacy addresses must not push real devices out.
pub const RANDOM_DEVICES: usize = 4_096;

/// Most Ethernet addresses of one device: wired, wireless, and a spare of each.
pub const HARDWARE: usize = 4;

/// Most end devices on one Ethernet address: a host with some clients, or a bridge that puts its
/// own address on what it passes on. One host that made up names without end would fill the
/// inventory.
pub const CLIENTS: usize = 16;

/// Most network addresses remembered of one device: IPv6 privacy addresses come and go.
pub const ADDRESSES: usize = 16;

/// Most neighbour entries mirrored from the kernel, whose own default limit is 1,024 a family.
pub const NEIGHBOURS: usize = 65_536;

/// How long a rival claim to an identity stays visible after it was last made.
pub const CONFLICT_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Leases looked at, and timers served, before other work gets its turn: some 2 ms of work.
pub const AT_A_TIME: usize = 256;

// --- Asking --------------------------------------------------------------------------------

/// Wait between a detection and its Package #0, so that a device which brings up several
/// addresses at once is asked at the best of them. The bound is 5 s.
pub const SETTLE: Duration = Duration::from_millis(500);

/// Wait before a device that opened no session is asked once more.
pub const ASK_AGAIN: Duration = Duration::from_secs(600);

/// Most Package #0 in one attachment.
pub const ASKS: u8 = 2;

/// Longest SessionID, in octets: real ones have one to four digits. Each open session keeps its.
pub const SESSION_ID: usize = 64;

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

// --- Sessions as a client ------------------------------------------------------------------

/// Messages that one session sends to a DM server: a large object of 256 KiB in chunks of 1 KiB
/// needs 256, and a chatty administrator some dozen more.
pub const CLIENT_MESSAGES: u32 = 1024;

/// Largest message sent to a DM server that names no MaxMsgSize, in octets.
pub const SERVER_MESSAGE: usize = 64 * 1024;

/// Times that one and the same message of a DM server is answered again: a proxy on the way
/// repeats once or twice.
pub const SERVER_REPEATS: u8 = 3;

/// Answers that may wait to be sent while a DM server goes on commanding: 16 messages full of
/// commands. Beyond it the session ends.
pub const ANSWERS: usize = 16 * COMMANDS;

/// Octets that answers to a DM server may take in memory while they wait to be sent: the largest
/// listing of the tree ([`TREE_REPLY`], [`TREE_REPLY_NODES`]) once, and as much beside it. A Get
/// beyond it is refused.
pub const ANSWERS_OCTETS: usize = 8 * 1024 * 1024;

/// What one answer is taken to need beside its data, in octets.
pub const ANSWER_OCTETS: usize = 1024;

/// Longest URI that a DM server may have answers sent to, in octets: what web servers take.
pub const URI: usize = 2048;

// --- Lists ---------------------------------------------------------------------------------

/// Empty lists in a row that end a device's mappings.
pub const EMPTY_LISTS: u8 = 3;

/// Seconds after which unconfirmed mappings end.
pub const UNCONFIRMED: u64 = 7 * 24 * 3600;

/// Seconds since 1970 before which a wall clock was certainly not set yet: September 2020. Routers
/// without a battery start at 1970.
pub const CLOCK_SET: u64 = 1_600_000_000;

/// Seconds since 1970 at which this program was made, at the earliest: SOURCE_DATE_EPOCH of its
/// build, else the beginning of 2026. A clock before that is wrong.
pub const BUILT: u64 = built(option_env!("SOURCE_DATE_EPOCH"));

const fn built(text: Option<&str>) -> u64 {
    let least = 1_767_225_600;
    match text {
        Some(text) => match u64::from_str_radix(text, 10) {
            Ok(made) if made > least => made,
            _ => least,
        },
        None => least,
    }
}

// --- Health --------------------------------------------------------------------------------

/// Octets below which the disk of the state directory counts as full: the store grows by half a
/// MiB at a time.
pub const DISK_FULL: u64 = 1 << 20;

/// Octets below which it is nearly full: room for some hours of what other programs write.
pub const DISK_LOW: u64 = 8 << 20;

/// Files below which a disk is nearly full.
pub const FILES_LOW: u64 = 64;

/// Longest set of firewall rules that `check` reads, in octets.
pub const RULES: u64 = 4 << 20;

/// Largest store that `check` copies to look whether it can be read, in octets: what a router's
/// /tmp takes without harm.
pub const STORE_COPY: u64 = 16 << 20;

/// Longest time for one question of `check`: to a name server, to the daemon, to the firewall.
pub const CHECK_QUESTION: Duration = Duration::from_millis(1500);

/// How long `check` waits for whoever else has the gateway's address.
pub const CHECK_ARP: Duration = Duration::from_millis(400);

/// Time before its end at which a certificate is told of.
pub const EXPIRES_SOON: u64 = 30 * 24 * 3600;

/// Octets of memory below which a machine has little left.
pub const MEMORY_LOW: u64 = 16 << 20;

/// Longest session that `servers test` waits for.
pub const TEST_SESSION: Duration = Duration::from_secs(90);

/// How long pushes that the kernel lost are told of.
pub const LOSS_MEMORY: Duration = Duration::from_secs(3600);

/// Most identity conflicts that `status` tells of in lines of their own: a screen has 24.
pub const CONFLICTS_TOLD: usize = 4;

/// Held pushes from which on `status` tells of them: a depot that sleeps, not a few devices.
pub const HELD_MANY: usize = 100;

// --- Forwarding ----------------------------------------------------------------------------

/// Default pushes a second for one mapping.
pub const PUSH_RATE: u32 = 1;

/// Pushes at once for one mapping.
pub const PUSH_BURST: u32 = 5;

/// An exact repeat of Package #0 within this is a duplicate on the way, not a retransmission.
pub const REPEAT: Duration = Duration::from_secs(10);

/// Package #0 remembered of one device for finding repeats, for each of its servers (at least
/// four): at the default rate one sends 15 within [`REPEAT`]. One costs 24 octets.
pub const REPEATS: usize = 16;

/// How long a forwarded trigger is kept for the case that its device has vanished.
pub const CONFIRM: Duration = Duration::from_secs(15);

/// Default time that a trigger is held for a device that is away.
pub const TRIGGER_EXPIRY: Duration = Duration::from_secs(15 * 60);

// --- Push sockets --------------------------------------------------------------------------

/// Datagrams moved by one system call. More gains nothing measurable; fewer loses the gain of
/// batching. Buffers are `PUSH_BATCH` × [`DATAGRAM`] = 128 KiB for each socket.
pub const PUSH_BATCH: usize = 32;

/// Socket buffer asked of the kernel for pushes, in octets: a burst of some 5,000 triggers waits
/// there while the gateway is busy. Without CAP_NET_ADMIN the kernel gives what it allows.
pub const PUSH_SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Receive calls between two looks at the kernel's drop counter: a look costs one call for one
/// datagram, so this bounds its cost to a few percent under flood.
pub const PUSH_DROP_CHECK: u32 = 64;

/// Longest wait for room in a send buffer, per wait. An Ethernet link drains in microseconds.
pub const PUSH_SEND_WAIT: Duration = Duration::from_millis(50);

/// Waits for room in one flush before the rest of it is dropped and counted: with
/// [`PUSH_SEND_WAIT`] a dead link holds the daemon up for at most 200 ms.
pub const PUSH_SEND_WAITS: u32 = 4;

/// Longest that pushes wait while the gateway is busy with other inputs: above the price of a
/// look, far below what anybody notices.
pub const PUSH_WAIT: Duration = Duration::from_millis(1);

/// Pushes that wait beyond the send queues: one for each device that is asked at once.
pub const PUSH_BACKLOG: usize = DEVICES;

/// Pause after a socket or watch failed, so that a lasting fault does not spin.
pub const SOCKET_RETRY: Duration = Duration::from_secs(1);

/// Pause between two tries to bind to an address or interface that is not there yet.
pub const INTERFACE_RETRY: Duration = Duration::from_secs(5);

// --- Push over HTTP ------------------------------------------------------------------------

/// Largest body of a push over HTTP, in octets: what still fits into a [`DATAGRAM`] behind the
/// header that forwarding puts before it. Package #0 has at most 279 and vendor data.
pub const PUSH_BODY: usize = DATAGRAM - 64;

/// Connections open at once on one WAN listener; further ones wait in the backlog. With TLS one
/// costs about 60 KiB while its handshake lasts, so all together 4 MiB.
pub const PUSH_CONNECTIONS: usize = 64;

/// Largest request head on the WAN, in octets: hyper's least. Pushes have under 1 KiB.
pub const PUSH_HEAD: usize = 8 * 1024;

/// Longest TLS handshake: three round trips over a poor satellite link take 5 s.
pub const PUSH_HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Longest wait of a push over HTTP for the kernel's word on its device. The kernel asks three
/// times, a second apart, then calls the neighbour FAILED.
pub const PUSH_ANSWER: Duration = Duration::from_secs(5);

/// Most pushes over HTTP that wait for their answer: as many as one listener has connections,
/// twice over for peers that hang up. Further ones are answered at once.
pub const PUSH_ANSWERS: usize = 2 * PUSH_CONNECTIONS;

/// How long a device may fetch its account over HTTPS after an operator said so: enough to walk to
/// it and press its button.
pub const FETCH_WINDOW: Duration = Duration::from_secs(600);

/// Most times that a device which does not use its account is offered it without an operator's
/// word: something else may be behind that address.
pub const OFFERS: u8 = 5;

/// Wait between the first two of these offers; doubled each time.
pub const OFFER_AGAIN: Duration = Duration::from_secs(60);

/// Largest file of certificates or a key, in octets: the bundle of a browser has 250 KiB.
pub const PUSH_PEM: usize = 1024 * 1024;

/// Shortest token for push over HTTP that is not warned of, in octets: 16 made by a generator
/// cannot be guessed over a network.
pub const PUSH_TOKEN: usize = 16;

// --- HTTP on a LAN -------------------------------------------------------------------------

/// Connections open at once on one LAN listener; further ones wait in the backlog. One costs
/// about 17 KiB, so all together 4 MiB. Twice as many make a storm of devices no faster.
pub const LAN_CONNECTIONS: usize = 256;

/// Connections that the kernel keeps for us until we have room (`net.core.somaxconn` caps it):
/// what 4,096 devices try at the same moment does not have to be tried again.
pub const LAN_BACKLOG: i32 = 4096;

/// Largest request head, in octets, before 431. Devices send under 1 KiB; a cookie or two more
/// is no reason to refuse.
pub const LAN_HEAD: usize = 16 * 1024;

/// Longest time from the end of one answer (or the connection) to the end of the next request's
/// head. Devices that think longer connect again.
pub const LAN_HEAD_TIME: Duration = Duration::from_secs(10);

/// Longest time for a request's body: 64 KiB over a modem-like 7 KiB/s.
pub const LAN_BODY_TIME: Duration = Duration::from_secs(10);

/// Longest time that the gateway may take over an answer (a commit to slow flash under storm is
/// a second or two); then the device is told to come again.
pub const LAN_ANSWER_TIME: Duration = Duration::from_secs(30);

/// Longest time in which a peer takes nothing of an answer before its connection is dropped.
pub const LAN_WRITE_TIME: Duration = Duration::from_secs(10);

/// How long, and [`LAN_LINGER`] how much, is still read and thrown away after a refusal, so
/// that the reset which unread octets provoke does not destroy the answer on its way.
pub const LAN_LINGER_TIME: Duration = Duration::from_secs(1);

/// See [`LAN_LINGER_TIME`], in octets.
pub const LAN_LINGER: usize = 4 * LAN_BODY;

/// Pause between two looks for idle connections while others wait in the backlog; also the
/// pause after an accept that failed for want of descriptors or memory.
pub const LAN_SCARCE_TICK: Duration = Duration::from_millis(100);

/// Looks for which a kept connection may idle while others wait: 300 ms, longer than a device
/// needs between two messages of a session.
pub const LAN_SCARCE_IDLE: u32 = 3;

/// Looks for which a new connection may stay silent while others wait: 2 s, above a lost and
/// repeated segment.
pub const LAN_SCARCE_SILENT: u32 = 20;

/// Longest time for requests in progress to end when the daemon stops: the whole stop must stay
/// below 2 s.
pub const LAN_DRAIN_TIME: Duration = Duration::from_secs(1);

// --- Calls to servers ----------------------------------------------------------------------

/// Longest wait for one address of a server: two segments lost in a row (1 s, 3 s) are endured.
pub const CALL_ADDRESS_TIME: Duration = Duration::from_secs(4);

/// Most addresses tried for one call. A server has one or two of each family.
pub const CALL_ADDRESSES: usize = 8;

/// Largest head of a server's answer, in octets: the same as from end devices.
pub const CALL_HEAD: usize = LAN_HEAD;

/// How long an idle connection to a server is used again: the pause between two messages of a
/// session is a round trip and a server's thinking.
pub const CALL_IDLE: Duration = Duration::from_secs(30);

/// Idle connections to servers kept at once: one for each session that goes on. With TLS one
/// costs about 50 KiB.
pub const CALL_KEPT: usize = 4;

/// TLS configurations kept in memory. Each server with a CA of its own has one, the others share.
pub const TRUSTS: usize = 32;

/// Largest file of certificates or of a key, in octets: a bundle of all public CAs is 250 KiB.
pub const TRUST_FILE: u64 = 4 * 1024 * 1024;

/// Longest wait for one answer of one name server; each is asked [`DNS_ROUNDS`] times.
pub const DNS_TIME: Duration = Duration::from_secs(2);

/// See [`DNS_TIME`]: a datagram may be lost once.
pub const DNS_ROUNDS: usize = 2;

/// Most name servers asked, as the C library does (`MAXNS`).
pub const DNS_SERVERS: usize = 3;

/// Datagrams from a name server that do not answer our question, before it is given up.
pub const DNS_STRAYS: usize = 16;

/// Most records in each section of a DNS message; a service has a handful of servers.
pub const DNS_RECORDS: u16 = 64;

/// Largest DNS answer taken by TCP, in octets. A record with the longest name has under 300.
pub const DNS_ANSWER: usize = 32 * 1024;

/// Largest resolver configuration, in octets: a few lines.
pub const RESOLV_CONF: u64 = 64 * 1024;

// --- Control socket ------------------------------------------------------------------------

/// Longest path of a Unix socket on Linux, in octets (`sun_path` without its NUL).
pub const CONTROL_PATH: usize = 107;

/// Operators' connections at once: a handful of `monitor`s and the command being typed.
pub const CONTROL_CONNECTIONS: usize = 16;

/// Longest request line of an operator, in octets.
pub const CONTROL_LINE: usize = 64 * 1024;

/// Longest wait for an operator's request, and for room to write an answer into.
pub const CONTROL_TIME: Duration = Duration::from_secs(10);

/// Events that wait for a slow `monitor`; further ones are counted and left out.
pub const MONITOR_LINES: usize = 1024;

/// Ids told where a part of an id fits several: what stands on one line.
pub const NAMES_TOLD: usize = 4;

// --- Linux and flash -----------------------------------------------------------------------

/// Largest DHCP lease file read, in octets: [`LEASES`] lines of 256 octets. The rest is ignored.
pub const LEASE_FILE: usize = 4 * 1024 * 1024;

/// Longest line of a DHCP lease file, in octets: a host name has 255, a client id twice 255 and
/// its colons. Longer lines are skipped.
pub const LEASE_LINE: usize = 1024;

/// How often in a row the watch of a lease file is read, each time for about 100 events: the kernel
/// keeps 16,384 at most, and whoever writes into that directory all the time must not hold us up.
pub const LEASE_EVENT_READS: usize = 256;

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

/// Netlink datagrams read before other work gets its turn.
pub const NETLINK_BATCH: usize = 64;

/// Longest wait for the last commits when the daemon stops; with [`LAN_DRAIN_TIME`] below 2 s.
pub const STOP_STORE_TIME: Duration = Duration::from_millis(700);

// --- Configuration -------------------------------------------------------------------------

/// Largest configuration file, in octets: [`DEVICES`] sections of 256 octets.
pub const CONFIG_FILE: usize = 4 * 1024 * 1024;

/// Longest trial of a configuration that an operator applies: who has not come back within a day
/// has forgotten it.
pub const LONGEST_CONFIG_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// Trial of a configuration where no other time is asked for: as long as that of a DM server.
pub const CONFIG_TRIAL: Duration = Duration::from_secs(600);

/// Largest file with the timer of a trial, in octets: it names the keys that changed.
pub const TRIAL_TIMER: usize = 4 * 1024 * 1024;

/// Longest time for which more may be logged than usual.
pub const LONGEST_LOG_TIME: Duration = Duration::from_secs(24 * 3600);

/// Time for which more is logged than usual where no other is asked for.
pub const LOG_TIME: Duration = Duration::from_secs(900);

/// Longest pause between looks at when a trial is over: a machine that slept wakes late.
pub const CONFIG_TIMER: Duration = Duration::from_secs(60);

/// Largest secret file, in octets. Secrets are made by generators and have some dozen.
pub const SECRET: usize = 1024;

/// Longest name of a LAN, in octets: it stands in a column of every table.
pub const LAN_NAME: usize = 64;

/// Longest name of a network interface on Linux, in octets (`IFNAMSIZ` without its NUL).
pub const INTERFACE_NAME: usize = 15;

/// Rates that a configuration may set, per second. From one in 17 minutes to more than a
/// socket carries; their intervals are exact enough in nanoseconds.
pub const RATES: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

/// Largest burst that a configuration may set: more is no bound any more.
pub const LARGEST_REQUEST_BURST: u32 = 1_000_000;

/// Longest time for which a configuration may hold a trigger: a server that waited a week has
/// given the session up.
pub const LONGEST_TRIGGER_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

// --- Simulators ----------------------------------------------------------------------------

/// Largest body that a simulated end device takes from a server, in octets: twice what a
/// server takes from it.
#[cfg(feature = "simulate")]
pub const CLIENT_BODY: usize = 2 * LAN_BODY;

// --- The gateway as a DM client --------------------------------------------------------------

/// Largest message that a DM server may send us, in octets, and that we say we take (MaxMsgSize).
pub const CLIENT_MESSAGE: usize = 64 * 1024;

/// Longest `interval` between sessions.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(366 * 24 * 3600);

/// Longest time for one call to a DM server, in all: a satellite link answers in seconds.
pub const CALL_TIME: Duration = Duration::from_secs(60);

/// Wait before the servers of new lists are looked for: all devices are gone through for it.
pub const WANTED_DELAY: Duration = Duration::from_millis(200);

/// Most DM servers that are kept: those with accounts, and those that devices want.
pub const MANAGED_SERVERS: usize = 256;

/// Wait before a failed session is tried again: the most after the first failure, doubled with
/// each. Half a minute is longer than a modem's hiccup.
pub const SESSION_RETRY: Duration = Duration::from_secs(30);

/// The least of it: a server that is down is not called in a loop.
pub const SESSION_RETRY_LEAST: Duration = Duration::from_secs(2);

/// The most that the wait grows to: a vehicle is tried several times in a shift.
pub const SESSION_RETRY_MOST: Duration = Duration::from_secs(6 * 3600);

/// Longest wait that a server's Retry-After may ask for.
pub const RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Sessions after a start begin within this, at random: a depot's gateways get their power back at
/// the same instant.
pub const START_SPREAD: Duration = Duration::from_secs(30);

/// A change that could cut the gateway off is taken back after this without a further session.
pub const TRIAL: Duration = Duration::from_secs(600);

/// Wait before the session that decides on a trial: the server ends its own work first.
pub const TRIAL_DELAY: Duration = Duration::from_secs(2);

/// Wait before a server is told of devices: those of one vehicle come together.
pub const ALERT_DELAY: Duration = Duration::from_secs(5);

/// Least time between two sessions that tell a server of devices: one that comes and goes all the
/// time is not to use a metered link up.
pub const ALERT_INTERVAL: Duration = Duration::from_secs(60);

/// Most devices that one server is still to be told of.
pub const ALERTS: usize = 64;

/// How long a session id of Package #0 is remembered, against replays.
pub const PACKAGE_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// How long one whose nonce is another by now is remembered: a server signs a retransmission anew,
/// and may count its sessions from 1 each day.
pub const PACKAGE_REPEATS: Duration = Duration::from_secs(600);

/// Most session ids remembered of one server.
pub const PACKAGES: usize = 64;

/// Wrong proofs on pushed bootstraps within [`PIN_WINDOW`] after which none is looked at: a pin
/// of four digits lasts months.
pub const PIN_TRIES: usize = 5;

/// See [`PIN_TRIES`].
pub const PIN_WINDOW: Duration = Duration::from_secs(3600);

/// Pushed bootstraps that are remembered so that a replay of one brings no old account back: 32
/// octets each, and a gateway sees a few in its life.
pub const PUSHES_REMEMBERED: usize = 64;

/// Wait before the sources are asked again for a server that none of them knew.
pub const SEARCH_RETRY: Duration = Duration::from_secs(300);

/// Most bootstrap servers asked that one DNS name leads to.
pub const SERVICES: usize = 4;

// --- Upkeep --------------------------------------------------------------------------------

/// Most nodes of one message of a DM server that are written down one by one in the audit.
pub const AUDIT_CHANGES: usize = 64;

/// Size of a file of the audit, in octets, at which the next is begun: some thousand changes.
pub const AUDIT_FILE: u64 = 256 * 1024;

/// Files of the audit that are kept: with [`AUDIT_FILE`] a megabyte, years of a quiet gateway.
pub const AUDIT_FILES: usize = 4;

/// Entries of the audit that wait for flash; what comes beyond while it fails is counted.
pub const AUDIT_WAITING: usize = 256;

/// Rounds in which the key of a backup's secrets is derived: a second or two on a router, and as
/// long for each guess of who steals the file.
pub const SEAL_ROUNDS: u32 = 300_000;

/// Most rounds that a backup may ask for: minutes.
pub const SEAL_ROUNDS_MOST: u32 = 30_000_000;

/// Largest backup, in octets: a full inventory and tree have a tenth.
pub const BACKUP: usize = 64 * 1024 * 1024;

/// Fewest characters of a passphrase: the file may be stolen, and guessed at for years.
pub const PASSPHRASE: usize = 12;

/// How often a backup tries to get hold of the store between two commits.
pub const STORE_WAITS: u32 = 100;

/// Wait between these tries.
pub const STORE_WAIT: Duration = Duration::from_millis(20);

/// Most octets of the files in a support bundle: with their heads below 5 MB, which mail takes.
pub const BUNDLE: usize = 4_500_000;

/// Most octets of one of them; its end is kept.
pub const BUNDLE_PART: usize = 1_000_000;

/// Lines of the audit in a support bundle.
pub const BUNDLE_LINES: usize = 2_000;

/// Largest bundle of `provision`, in octets: some certificates and documents.
pub const PROVISION: usize = 4 * 1024 * 1024;
// --- Observation -----------------------------------------------------------------------------

/// In this time the lines of the log are counted by kind and source: one line a minute of what a
/// stranger can make happen wears out no flash.
pub const LOG_WINDOW: Duration = Duration::from_secs(60);

/// Lines in the log of one kind and source in each [`LOG_WINDOW`], refusals excepted: a LAN of 30
/// devices that comes up at once is told of in full.
pub const LOG_BURST: u32 = 30;

/// Connections at once to the metrics' listener, and to that of the status page: a scraper, a
/// watchdog and two browsers.
pub const PAGE_CONNECTIONS: usize = 16;

/// Octets of the head of a request for metrics or for the status page; hyper wants no less.
pub const PAGE_HEAD: usize = 8 * 1024;

/// Longest life of a connection for metrics or for the status page: a request that waits for
/// news is answered after [`PAGE_NEWS`].
pub const PAGE_TIME: Duration = Duration::from_secs(30);

/// Longest that the status page's request for news waits for some.
pub const PAGE_NEWS: Duration = Duration::from_secs(15);

/// Events that the status page keeps for browsers that come.
pub const PAGE_EVENTS: usize = 100;

/// Most keys of one change of the configuration that the audit has the values of.
pub const AUDIT_KEYS: usize = 16;

/// Events that the daemon remembers for a support bundle, those that were lines of the log: some
/// 30 KiB.
pub const RECENT_EVENTS: usize = 100;

/// Longest run of a program in events.d.
pub const HOOK_TIME: Duration = Duration::from_secs(10);

/// Events that wait for programs in events.d: what a dozen devices do when they come at once.
pub const HOOK_EVENTS: usize = 256;

/// How long `status` tells of a program in events.d that failed, unless it works again before.
pub const HOOK_MEMORY: Duration = Duration::from_secs(3600);

/// How long what was found in events.d is taken for what is there.
pub const HOOK_LOOK: Duration = Duration::from_secs(1);

/// Longest trace: whoever forgets one does no harm.
pub const TRACE_TIME: Duration = Duration::from_secs(3600);

/// Most messages of one trace.
pub const TRACE_MESSAGES: u64 = 10_000;

/// Messages that wait for a slow reader of a trace; further ones are counted and left out.
pub const TRACE_WAITING: usize = 64;

/// Traces at once.
pub const TRACES: usize = 4;

/// Most lines of hexadecimal digits that `decode` prints of one value: a screen. Whoever wants more
/// has the file.
pub const DECODE_HEX_LINES: usize = 32;

/// Lines of one message that a trace shows.
pub const TRACE_LINES: usize = 400;

/// Characters of one line that a trace shows.
pub const TRACE_LINE: usize = 1000;

/// Answers that traces wait for: more connections and calls than there can be at once.
pub const TRACE_ANSWERS: usize = 1024;
