//! `dm-gateway metrics`: the counters and gauges, as OpenMetrics.

use crate::cli::client::{Call, Stop, print};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, option};
use crate::control::openmetrics::{self, Form};
use crate::control::{Request, StatusAnswer};
use crate::io::plain;
use std::fs;
use std::path::{Path, PathBuf};

/// `metrics`.
pub const COMMAND: Command = Command {
    name: "metrics",
    summary: "counters and gauges, as OpenMetrics text",
    text: "The same text that `[metrics] listen` serves under /metrics. With --output it replaces \
           a file in one step, in Prometheus' text format 0.0.4: the textfile collector of node \
           exporter reads nothing newer.",
    options: &[
        ASKING,
        &[option("output", "FILE", Kind::File, "writes there instead of to standard output")],
    ],
    examples: &[(
        "dm-gateway metrics --output /var/lib/prometheus/node-exporter/dm-gateway.prom",
        "for node exporter, from a timer",
    )],
    run: Some(metrics),
    ..definition::COMMAND
};

fn metrics(given: Given) -> Result<u8, Stop> {
    let answer = Call::of(&given).ask::<StatusAnswer>(&Request::Status)?;
    match given.path_of("output") {
        Some(path) => replace(&path, &openmetrics::render(&answer.body, Form::Prometheus))?,
        None => print(&openmetrics::render(&answer.body, Form::OpenMetrics))?,
    }
    Ok(0)
}

/// A reader sees the old text or the new one, whole.
fn replace(path: &Path, text: &str) -> Result<(), Stop> {
    let mut beside = path.as_os_str().to_owned();
    // Not `.prom`: what is half written is not to be read.
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // It may not even be there.
        let _ = fs::remove_file(&beside);
        let (path, why) = (path.display(), plain(&error));
        Stop::failed(&format!(
            "cannot write {path}; cause: {why}; try: a directory that exists and may be written to"
        ))
    })
}
