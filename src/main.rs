//! The `dm-gateway` binary: arguments in, exit code out.
fn main() {}
