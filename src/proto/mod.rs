//! PURE: octets to meaning and back.
pub mod auth;
pub mod notification;
pub mod syncml;
pub mod wire;
pub mod wsp;
pub mod session;
