//! PURE: what this product decides.
pub mod alert;
pub mod event;
pub mod seam;
/// stub
pub struct Gateway {}
