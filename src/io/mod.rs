//! IMPURE: executes Outputs, produces Inputs, decides nothing.
