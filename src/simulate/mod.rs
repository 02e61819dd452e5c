//! Simulated peers of the gateway: end devices and a DM server, over real UDP and HTTP.
//!
//! ```text
//!   DmServer ──push, X-Oma-GwMO──▶ (gateway) ──push──▶ EndDevice
//!       ▲                              ▲                 │ │
//!       │                              └──session: list──┘ │
//!       └───session: Alert 1200, AssociatedGateway─────────┘
//! ```
//!
//! They speak through the codecs of [`crate::proto`], but decide nothing through
//! [`crate::gateway`]: what an end device says to an Alert 1230 is written here a second time, by
//! the documents, so that a misreading in the gateway shows. How real clients differ from the
//! documents is a list of [`Quirk`]s.
//!
//! [`managing`] is another DM server, one for the gateway itself: it manages it. A
//! [`BootstrapServer`] has the accounts for it.
//!
//! Every future here wants a `LocalExecutor` or `block_on`; nothing is `Send`, nothing starts a
//! thread, except [`managing::Server`]. Behaviour is reported as [`SimEvent`]s through a [`Sink`].

mod bootstrap_server;
mod command;
mod dm_server;
mod end_device;
mod event;
mod factory_fresh;
mod farm;
pub mod managing;
mod payload;
mod session;

pub use bootstrap_server::BootstrapServer;
pub use dm_server::{DmServer, DmServerOptions};
pub use end_device::{Account, EndDevice, EndDeviceOptions, Gate, Profile, Quirk, Server, gate};
pub use event::{Digest, Report, SimEvent, Sink};
pub use farm::{Farm, FarmOptions, FarmSummary};
