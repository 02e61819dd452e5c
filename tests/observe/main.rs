//! The real binary as others see it: metrics, health, the journal, programs in events.d, traces
//! and the status page.
//!
//! Judges: `prometheus_client` of PyPI reads the metrics, a reader of the journal's native protocol
//! the log, Chromium the page. Without them a test says so; `DM_GATEWAY_REQUIRE_TOOLS=1` makes
//! that a failure.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod hooks;
mod journal;
mod live;
mod metrics;
mod trace;
#[cfg(feature = "web")]
mod web;
