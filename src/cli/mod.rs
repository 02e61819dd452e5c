//! The subcommands, one file each.
//!
//! `status`, `devices`, `servers`, `map` and `monitor` ask the running daemon over its control
//! socket; `decode` works by itself.

mod client;
pub mod decode;
pub mod devices;
pub mod map;
pub mod monitor;
pub mod narrate;
pub mod servers;
#[cfg(feature = "simulate")]
pub mod simulate;
pub mod status;
mod table;

/// Exit code of wrong usage, EX_USAGE of sysexits.h.
pub const EX_USAGE: u8 = 64;
