//! DM sessions: the turns of packages 1 to 4. (OMA-TS-DM_Protocol 1.2.1, 8.)
//!
//! [`server`] commands an end device on the LAN; [`client`] obeys a DM server. A session sees
//! messages and yields messages; who may speak and what a command leads to is its owner's to
//! decide.

pub mod client;
pub mod server;
