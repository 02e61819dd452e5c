//! skeleton
pub mod cli;
pub mod gateway;
pub mod limits;
pub mod io;
pub mod proto;
#[cfg(feature = "simulate")]
pub mod simulate;
