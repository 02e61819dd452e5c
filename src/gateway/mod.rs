//! stub
pub mod alert;
