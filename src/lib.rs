//! skeleton
pub mod gateway;
pub mod limits;
pub mod io;
pub mod proto;
