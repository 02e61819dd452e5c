//! skeleton
pub mod gateway;
pub mod io;
pub mod limits;
pub mod proto;
