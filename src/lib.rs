//! skeleton
pub mod cli;
pub mod config;
pub mod gateway;
pub mod io;
pub mod limits;
pub mod proto;
#[cfg(feature = "simulate")]
pub mod simulate;
