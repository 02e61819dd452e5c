//! The subcommands, one file each.

#[cfg(feature = "simulate")]
pub mod simulate;
