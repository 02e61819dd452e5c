//! IMPURE: executes Outputs, produces Inputs, decides nothing.
pub mod clock;
pub mod leases;
pub mod netlink;
pub mod sled_store;
