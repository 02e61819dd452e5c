//! The subcommands, one file each.

pub mod decode;
#[cfg(feature = "simulate")]
pub mod simulate;
