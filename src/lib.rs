//! skeleton
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod gateway;
pub mod io;
pub mod limits;
pub mod proto;
#[cfg(feature = "simulate")]
pub mod simulate;
