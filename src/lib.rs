//! An OMA Device Management gateway (GwMO): end devices behind NAT become reachable for the DM
//! servers that manage them.
//!
//! ```text
//!      WAN                          DM gateway                            LAN
//!                        ┌───────────────────────────────┐
//!  DM server ──push─────►│ UDP 2948    mapping    UDP ───┼──push────────► end device
//!     ▲                  │            ▲                  │                  │   │
//!     │                  │            │ server list      │                  │   │
//!     │                  │            └──── HTTP /dm ◄───┼──session: 1226───┘   │
//!     │                  └───────────────────────────────┘                      │
//!     └────────────── the device's own session, through the router's NAT ───────┘
//! ```
//!
//! An end device tells the gateway which DM servers manage it. From then on each of these servers
//! may wake it: a push to the gateway that names the device goes on to it, octet for octet, and
//! the device opens a session to its server by itself. The gateway is not in that session.
//!
//! The gateway is a DM client as well: DM servers that it has an account with manage it, and
//! accounts come to it by four kinds of bootstrap ([`proto::bootstrap`]).
//!
//! How to run it is in the README. This page is for whoever changes it.
//!
//! # Architecture
//!
//! > `proto` knows the specifications, `gateway` knows the product, `io` knows Linux, `daemon`
//! > knows the process.
//!
//! ```text
//!  main, cli ── control ──┐
//!                      daemon ── owns the one Gateway, feeds it, carries out what it wants
//!                       │   │
//!       ┌───────────────┘   └──────────────┐
//!      io ──── Input, Output (the seam) ─ gateway      pure: values in, values out
//!       │                                  │  └─ management: the gateway as a DM client
//!   sockets, TLS, DNS, netlink, files,   proto         pure: octets and meaning
//!   smartcards, sled
//! ```
//!
//! More than half of the code is pure: no clock, socket, file, thread, lock or environment. Time
//! comes in as an argument, randomness too. Whatever the gateway does can be done again in a test
//! without a network, and its tests are a conversation: this input, at that moment, these outputs.
//!
//! ## The dependency rule
//!
//! | layer | may use of ours | may use of others | never |
//! |---|---|---|---|
//! | [`proto`] | itself, downwards | quick-xml on slices, digests, HMAC, base64 | log, clock, sockets, files, environment, threads, async |
//! | [`gateway`] | [`proto`] | `log`, serde for its views and records, SHA-256, base64, XML escapes | the same, except log |
//! | [`io`] | the seam, [`limits`], [`proto`]'s card walk | smol, async-io, socket2, nix, sled, hyper, rustls, simple-dns, `log` | decide; read SyncML or WSP |
//! | `daemon`, `control`, [`cli`], `config`, `main` | all | all | read octets of a protocol |
//! | `simulate` | [`proto`], [`io`] | smol, hyper | decide by [`gateway`]: its misreadings must show |
//!
//! Inside [`proto`]: `wire` ← `auth`, `wsp`, `syncml` ← `notification`, `tree`, `bootstrap` ←
//! `session`. `tests/architecture.rs` holds the sources against this table. No layer knows
//! `config`; each takes its own `Options`, which the configuration made valid. Every bound in the
//! system is one constant in [`limits`], with its reason.
//!
//! ## The seam
//!
//! [`gateway::seam`] holds all that goes into the [`Gateway`](gateway::Gateway) and all that comes
//! out, as values. Three calls are the whole contract:
//!
//! 1. [`handle`](gateway::Gateway::handle) one [`Input`](gateway::seam::Input), with the time. It
//!    cannot fail: every outcome is an output, a counter or a line in the log.
//! 2. [`poll_output`](gateway::Gateway::poll_output) until it is `None`. Each
//!    [`Output`](gateway::seam::Output) is carried out at once, none is judged.
//! 3. Wait, for the next input or until [`poll_timeout`](gateway::Gateway::poll_timeout).
//!
//! ```text
//!        what happens                                             what is to be done
//!  Push, PushRequest ────────────────┐                     ┌──► Push, Response   UDP, HTTP
//!  Request, Closed ──────────────────┤                     ├──► Commit           sled
//!  Neighbour, Link, Leases, Ready ───┼──► Gateway::handle ─┼──► Probe            netlink
//!  Called ───────────────────────────┤        (+ Now)      ├──► Call             DM servers, DNS, card
//!  Operate, BootstrapFile, Card ─────┤                     ├──► Operated         control socket
//!  Committed, Facts, Timeout ────────┤                     ├──► Audit            files of the state
//!                                    └                     └──► Event            whoever watches
//! ```
//!
//! A new configuration comes by a fourth call, [`reconfigure`](gateway::Gateway::reconfigure), which
//! tells what it met; then again [`poll_output`](gateway::Gateway::poll_output).
//!
//! A call ([`Output::Call`](gateway::seam::Output::Call)) is one HTTP exchange, one question to
//! DNS or one look at the smartcard; its answer comes back as
//! [`Input::Called`](gateway::seam::Input::Called), or as one sentence why there is none.
//!
//! One thread owns the gateway, so there are no locks. Tasks of one smol executor wait for
//! sockets, the kernel, timers and commits; whichever wakes feeds the gateway and drains it before
//! it waits again. Only the store blocks, on a thread of its own.
//!
//! ## The life of a push
//!
//! 1. [`io::push`] takes a batch of datagrams by one system call. Before the gateway sees them, the
//!    daemon reads what the kernel has to say about neighbours: who is where counts before what a
//!    server wants.
//! 2. `gateway::arrival` and [`gateway::forward`] ask in order, and the first *no* ends it: silence
//!    on the wire, a counter, an event. A trusted source? a WSP push ([`proto::wsp`])? a
//!    notification, for DM?
//!    the header X-Oma-GwMO? a Package #0 ([`proto::notification`])? a mapping of its server with
//!    the device of the header? the same octets a moment ago? too fast?
//! 3. The trigger replaces the newest one of that server in the device's slot.
//! 4. Is the device attached, and does the kernel's neighbour entry of its address show its
//!    Ethernet address? Then the body goes out unchanged in a push of our own, without the header,
//!    and the kernel is asked to confirm the neighbour. Otherwise the trigger is *held*.
//! 5. A confirmation, or 15 s without bad news, ends the matter. FAILED detaches the device and the
//!    trigger is held. When the device returns, what is held goes out; after 15 min it expires.
//!
//! Nothing is allocated for a datagram on that way, and the store is not touched.
//!
//! A push over HTTP ([`proto::ota_http`]) comes through [`io::http_server`] and
//! [`io::tls_server`], joins at the second step, and is answered by what became of it:
//! `gateway::push_request` has the table.
//!
//! ## The life of a session
//!
//! 1. [`io::netlink`], [`io::leases`] or the configuration tell of an address on a LAN. Half a
//!    second later, so that further addresses can come, `gateway::attach` sends the device a
//!    Package #0 with the gateway's own server id.
//! 2. The device posts to `/dm` on the LAN. [`io::http_server`] bounds size, time and number and
//!    hands on a whole body; `gateway::dialogue` decodes it by its content type, XML or WBXML, into
//!    the one message model of [`proto::syncml`].
//! 3. Who is it? The identity it claims must match the Ethernet address that the kernel has for
//!    the sender, or be proven by a secret. A rival claim becomes a *conflict*, nothing else.
//! 4. [`proto::session::server`] walks the commands. A session that brought no list is sent the
//!    Device Detection Alert 1230 ([`gateway::alert`]); no answer to it stops anything.
//! 5. A BootstrappedDMSList (1226) is judged by the LAN's [`policy`](gateway::policy). What has to
//!    last becomes [`Change`](gateway::seam::Change)s in an
//!    [`Output::Commit`](gateway::seam::Output::Commit), and the reply waits.
//! 6. On [`Input::Committed`](gateway::seam::Input::Committed) memory takes the change over and the
//!    Status 200 goes out, encoded as the request was. If the commit failed, memory stays as it was
//!    and the Status is 500.
//!
//! ## The life of a managed session
//!
//! [`gateway::management`] is the gateway as a DM client; `daemon::calls` makes its calls.
//!
//! 1. A *wish*: a Package #0 for the gateway itself, `interval`, an operator, a new account, an
//!    alert to deliver, a trial. One session runs with a server at a time; the next wish waits.
//! 2. [`proto::session::client`] writes package 1 from DevInfo and the account.
//!    [`io::dm_client`] carries it, over TLS ([`io::tls`]) unless `allow-http`.
//! 3. The answer is decoded, the server's proof checked, and only then are its commands done to
//!    the [`proto::tree`], one [`Transaction`](proto::tree::Transaction) a message. `./GwConfig`
//!    and `./GwDeviceInventory` are no stored nodes but a [`Provider`](proto::tree::Provider):
//!    they show, and set, the running gateway.
//! 4. What changed becomes changes for the store, in one commit with the nonces; the reply with
//!    its Statuses waits for it. If the commit fails the transaction is undone. Meanwhile nothing
//!    else touches the tree: it is deferred.
//! 5. A change below `./DMAcc` or `./GwConfig` is a *trial*: how things were before stands in the
//!    store beside it, until a later session with that server ends well or the time is over.
//!
//! Bootstraps end in the same place: whatever brought a document, [`proto::bootstrap::read`]
//! makes accounts of it or refuses all of it, `management::install` writes them in one commit,
//! and a first session is wished. The search for a wanted server asks `[bootstrap] sources` in
//! order; the server's id is a parameter there, never an address.
//!
//! ## Durability
//!
//! The store is the log of truth and is read once, at the start; all later reads come from memory.
//! What is acknowledged is on flash: identities, server lists (and with them mappings), nonces,
//! the management tree. Addresses, attachments, held triggers and counters are not kept.
//!
//! | key | value |
//! |---|---|
//! | `d` and a number | an end device: [`gateway::device::Record`] |
//! | `f` and a file's name | SHA-256 of the bootstrap document that was applied from there last |
//! | `g` | what DM servers set through Gw Config |
//! | `p` and a device's id | the secrets that an end device was provisioned with |
//! | `s` and a server's id | what is known of a DM server: approved, proven, its nonces |
//! | `t` and a URI | a node of the management tree |
//! | `u` | the trial under way: the values of the keys above before it |
//!
//! Keys of other letters are left alone, with a warning. `gateway::management::records` has the
//! records of the management.
//!
//! Changes that wait while a commit is under way go together into the next: a storm of devices
//! costs a handful of flushes, and forwarding never waits behind flash. [`io::sled_store`] explains
//! what sled needs around it to survive `kill -9` and a power cut; `tests/store.rs` kills it to see.
//!
//! ## Errors, bugs, logs
//!
//! | what | becomes |
//! |---|---|
//! | bad octets | an error value with its offset; HTTP 400, or silence for a datagram |
//! | a command that is refused | a Status code in the reply |
//! | our failure (flash, kernel) | Status 500, a health problem in `status`, another try later |
//! | a bug | a panic: the process ends, systemd starts it anew, and nothing acknowledged is lost |
//!
//! Input must never reach the last row. [`proto`] does not log; [`gateway`] and [`io`] do: TRACE
//! for a datagram, DEBUG for a branch taken, INFO for the state of a device or the process, WARN
//! when an operator should look, ERROR when something does not work.
//!
//! ## What is watched from outside
//!
//! | what | where |
//! |---|---|
//! | a code for whatever may be wrong, with its cause and the next step | [`codes`] |
//! | health: the lines of `status`, out of facts that only the system knows | [`gateway::health`], [`io::facts`] |
//! | what lies outside of the daemon, looked at without it | [`cli::check`] |
//! | who changed what, in lines that are chained by hashes | [`gateway::audit`], [`io::audit`], `daemon::audit` |
//! | a new configuration while it runs; one on trial | `daemon::configuration`, [`io::trial`] |
//! | events as lines of the log, by kind, with fields | [`gateway::journal`], [`io::logger`] |
//! | programs that are told of events | `daemon::hooks`, [`io::program`] |
//! | counters and health by HTTP | [`gateway::metrics`], [`control::openmetrics`], `daemon::observation`, [`io::page_server`] |
//! | a status page, in a process of its own | `cli::web` |
//! | the messages of one device or server, without secrets | `daemon::traces`, [`cli::trace`] |
//! | whether all parts get on: what the watchdog is fed by | `daemon::progress`, [`io::systemd`] |
//! | what the gateway knows as text, and a unit made another | [`gateway::backup`], [`cli::backup`], [`cli::provision`] |
//!
//! ## Where to add what
//!
//! | you want | look at |
//! |---|---|
//! | another spelling of an alert or a list | [`gateway::alert`], a fixture in `tests/fixtures/payload` |
//! | another element or encoding of SyncML | [`proto::syncml`]: the tables in `tokens`, the `grammar`, the `writer` |
//! | another node or object for DM servers | `proto/tree/ddf`, `management::live` if it is live |
//! | another reason for a session | `management::sessions`: `Cause` |
//! | another way to bootstrap | an [`Input`](gateway::seam::Input), `management::bootstrap`, ending in `install` |
//! | another smartcard reader | [`io::card`]: the trait, and two that implement it |
//! | another metric | [`gateway::metrics`], or the counters of `io` in `status`; then [`control::openmetrics`] |
//! | another event | [`gateway::event::EventKind`], and its line in [`gateway::journal`]: level, `MESSAGE_ID`, words |
//! | another thing that hooks are told, or may do | `daemon::hooks`, [`io::program`] |
//! | another line of health | [`gateway::health`], a code in [`codes`], a fact in [`io::facts`] if only the system knows |
//! | another check | a function and its line in `cli::check`, a code in [`codes`] |
//! | another reason to refuse | [`gateway::event::Reason`]: the counter and `status` follow |
//! | another rule for forwarding | [`gateway::forward`]: `judge`, which `map explain` uses too |
//! | another way to detect devices | a reader in [`io`], an [`Input`](gateway::seam::Input), `gateway::attach` |
//! | another fact to keep | [`gateway::device::Record`] and its encoding |
//! | another field in `--json` | [`gateway::view`]: fields are added, none changes its meaning |
//! | another configuration key | `config`, then the `Options` of the layer that wants it |
//! | another subcommand | a file in [`cli`] |
//! | another change to be written down | `gateway::audit`; what the shell does by itself, `daemon::audit` |
//! | another bound | [`limits`], with the reason |
//! | a real device's odd behaviour | a `Quirk` in `simulate`, then a test with it |
//! | a real DM server's odd behaviour | a `Misbehaviour` in `simulate::managing`, then a test with it |
//!
//! To read it all: [`gateway`] (its front page), [`gateway::seam`], [`gateway::forward`],
//! [`proto::notification`], `gateway::dialogue`, [`gateway::management`], [`io::sled_store`], `daemon`. After that
//! every file is a variation.
//!
//! # Dependencies
//!
//! Each has to earn its line. 105 crates in all with this one, for a router as with the simulators,
//! those counted in that only run at build time as macros.
//!
//! ```text
//! cargo tree --locked --no-default-features -e normal --prefix none --no-dedupe | sort -u | wc -l
//! ```
//!
//! | crate | for | licence |
//! |---|---|---|
//! | smol | the executor of the one thread, its channels, and a thread for what blocks | Apache-2.0 OR MIT |
//! | blocking | not used by name: holds smol's threads at the last release that lets them end | Apache-2.0 OR MIT |
//! | async-io | descriptors to wait for, and timers | Apache-2.0 OR MIT |
//! | async-signal | SIGTERM and SIGINT as an event | Apache-2.0 OR MIT |
//! | socket2 | socket options that must be set before binding | MIT OR Apache-2.0 |
//! | nix | recvmmsg and sendmmsg, netlink, inotify, peer credentials, serial ports, without unsafe code of our own | MIT |
//! | rustix | what nix lacks: the ambient set of capabilities, emptied; async-io has it anyway | Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT |
//! | quick-xml | the XML event reader under SyncML and the payloads; no serde, no entities, no namespaces | MIT |
//! | sled | the store, exactly 0.34.7: the one release that survived the kill tests | MIT OR Apache-2.0 |
//! | log | the logging facade; the logger is ours, [`io::logger`]: journal, text or JSON | MIT OR Apache-2.0 |
//! | hyper | HTTP/1 framing on the LAN, for pushes and towards servers, chunks and keep-alive included | MIT |
//! | smol-hyper | hyper's view of smol's sockets and timers | MIT OR Apache-2.0 |
//! | http-body-util | the body types that hyper wants | MIT |
//! | httpdate | the dates of HTTP; hyper has it anyway | MIT OR Apache-2.0 |
//! | rustls, with ring | TLS 1.2 and 1.3 towards servers and for pushes over HTTP; no OpenSSL to be cross-built and patched | Apache-2.0 OR ISC OR MIT; Apache-2.0 AND ISC |
//! | futures-rustls | rustls on smol's sockets | MIT OR Apache-2.0 |
//! | rustls-webpki | rustls' judge of certificates, to tell what it said | ISC |
//! | simple-dns | DNS messages, for SRV: one crate; hickory-proto brings 50 | MIT |
//! | sd-notify | READY, STATUS and WATCHDOG for systemd | MIT OR Apache-2.0 |
//! | sd-listen-fds | sockets that systemd holds, without unsafe code of our own | MIT OR Apache-2.0 |
//! | lexopt | command line arguments, without macros or dependencies | MIT |
//! | serde, serde_json | `--json`, the lines of the control socket, records of the management | MIT OR Apache-2.0 |
//! | toml | the configuration file, with line numbers in its errors | MIT OR Apache-2.0 |
//! | md-5 | the digests that OMA DM prescribes; nothing else relies on it | MIT OR Apache-2.0 |
//! | hmac, sha1 | the MAC of bootstrap documents, which OMA prescribes; nothing else relies on it | MIT OR Apache-2.0 |
//! | ring | the passphrase over a backup's secrets, signatures of bundles; rustls has it anyway | Apache-2.0 AND ISC |
//! | sha2 | nonces and keys out of the kernel's randomness; pins; documents recognised | MIT OR Apache-2.0 |
//! | base64 | credentials and nonces in SyncML, octets in XML and JSON | MIT OR Apache-2.0 |
//! | subtle | digests and tokens compared in constant time | BSD-3-Clause |
//! | *tests:* tempfile, proptest, stats_alloc | directories that go away, made-up input, counted allocations | MIT OR Apache-2.0; MIT |
//!
//! Every crate below these is under MIT, Apache-2.0, ISC, BSD-3-Clause, Unlicense OR MIT, or (the
//! tables of unicode-ident, used at build time) Unicode-3.0. hyper brings tokio's channels along,
//! not its runtime. sled brings fxhash and instant, which are no longer maintained; no fault of
//! theirs is known. ring's cryptography is in part C and assembly out of BoringSSL; to build it
//! takes a C compiler and nothing else.

pub mod cli;
pub mod codes;
pub mod config;
pub mod control;
pub mod daemon;
pub mod gateway;
pub mod io;
pub mod limits;
pub mod manual;
pub mod proto;
#[cfg(feature = "simulate")]
pub mod simulate;
