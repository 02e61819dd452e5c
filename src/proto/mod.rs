//! PURE: octets to meaning and back.
pub mod auth;
pub mod bootstrap;
pub mod gwmo;
pub mod notification;
pub mod ota_http;
pub mod session;
pub mod syncml;
pub mod tnds;
pub mod tree;
mod wbxml;
pub mod wire;
pub mod wsp;
