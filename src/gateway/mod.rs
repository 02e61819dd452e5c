//! PURE: what this product decides.
pub mod event;
pub mod seam;
pub mod store;
/// stub
pub struct Gateway {}
