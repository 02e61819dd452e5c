//! What `status` tells, as text for Prometheus and its kin: OpenMetrics for whoever asks, the older
//! form for files, because that is all that node exporter's textfile collector reads.
//!
//! About 40 families and no series for single devices: their number must not depend on what
//! strangers do.

use crate::control::StatusAnswer;
use crate::gateway::event::Reason;
use crate::gateway::view::Health;
use std::fmt::Write as _;

/// The `Content-Type` of [`render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The forms of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4: there are gauges and counters, and no units.
    Prometheus,
}

/// Every metric of the gateway.
pub fn render(answer: &StatusAnswer, form: Form) -> String {
    let StatusAnswer { status, io, .. } = answer;
    let mut text = Text { text: String::with_capacity(8 * 1024), form };
    match form {
        Form::OpenMetrics => text.family("", "info", "", "The program."),
        Form::Prometheus => text.family("_info", "gauge", "", "The program."),
    }
    text.sample("_info", &[("version", &status.version)], 1);
    text.family("health", "stateset", "", "Whether it can do its work, as `status` says.");
    for (name, health) in
        [("healthy", Health::Healthy), ("degraded", Health::Degraded), ("down", Health::Down)]
    {
        let is = u64::from(status.health == health);
        text.sample("health", &[("dm_gateway_health", name)], is);
    }
    text.gauge("problems", "Health problems at the moment.", status.problems.len() as u64);
    text.family("uptime_seconds", "gauge", "seconds", "Time since the start.");
    text.sample("uptime_seconds", &[], status.uptime);

    text.family("lan_up", "gauge", "", "Whether the LAN's interface is up with a carrier.");
    for lan in &status.lans {
        if let Some(up) = lan.up {
            text.sample("lan_up", &[("lan", &lan.name)], u64::from(up));
        }
    }
    text.family("lan_devices", "gauge", "", "End devices attached to the LAN.");
    for lan in &status.lans {
        text.sample("lan_devices", &[("lan", &lan.name)], lan.attached as u64);
    }
    let (devices, counters) = (&status.devices, &status.counters);
    for (name, help, value) in [
        ("devices_known", "End devices in the inventory.", devices.known),
        ("devices_attached", "End devices attached at the moment.", devices.attached),
        ("devices_in_conflict", "End devices whose identity others claim too.", devices.conflicts),
        ("mappings", "Pairs of a DM server and an end device that it may wake.", status.mappings),
        ("servers_wanted", "DM servers that devices want and that there is no account with.", {
            status.wanted
        }),
        ("accounts", "DM servers that the gateway has an account with.", status.accounts),
        ("triggers_waiting", "Pushes that wait for their device.", status.waiting),
        ("trials", "Changes of DM servers that are on trial.", status.trial.iter().count()),
    ] {
        text.gauge(name, help, value as u64);
    }
    for (name, help, value) in [
        ("pushes_received", "Pushes that came to the WAN push ports.", counters.pushes),
        ("pushes_forwarded", "Pushes that went straight on to their device.", counters.forwarded),
        ("pushes_held", "Pushes put aside for a device that was away.", counters.held),
        ("pushes_released", "Pushes that went on after they were held.", counters.released),
        ("pushes_refused", "Pushes refused, for all reasons.", counters.pushes_refused),
        ("pushes_oversize", "Pushes longer than any Package #0.", io.pushes_oversize),
        ("pushes_dropped_by_kernel", "Pushes that came faster than they were read.", {
            io.pushes_dropped_by_kernel
        }),
        ("pushes_sent", "Pushes that the kernel took for a LAN.", io.pushes_sent),
        ("pushes_refused_by_kernel", "Pushes that the kernel refused to send.", {
            io.pushes_refused_by_kernel
        }),
        ("pushes_unsent", "Pushes given up because a send buffer stayed full.", io.pushes_unsent),
        ("devices_asked", "Package #0 sent to ask a device into a session.", counters.asked),
        ("device_requests", "HTTP requests of end devices.", counters.requests),
        ("device_sessions", "Sessions that end devices opened.", counters.sessions),
        ("device_alerts", "Device Detection Alerts sent.", counters.alerted),
        ("device_lists", "Lists of DM servers taken of devices.", counters.lists),
        ("notifications", "Package #0 for the gateway itself, proven.", counters.notifications),
        ("server_sessions", "Sessions with DM servers begun.", counters.managed_sessions),
        ("server_sessions_failed", "Sessions with DM servers that failed.", {
            counters.managed_sessions_failed
        }),
        ("store_commits", "Commits made, those that failed included.", counters.commits),
        ("store_commits_failed", "Commits that the store could not make.", {
            counters.commits_failed
        }),
        ("store_flushes", "Batches of changes that became durable.", io.store_flushes),
        ("hooks_run", "Runs of programs in events.d.", io.hooks_run),
        ("hooks_failed", "Runs of programs in events.d that failed or took too long.", {
            io.hooks_failed
        }),
        ("hooks_dropped", "Events that programs in events.d were not told of.", io.hooks_dropped),
    ] {
        text.counter(name, "", help, &[(&[], value)]);
    }
    for (name, help, value) in [
        ("push_received_bytes", "Octets of pushes from the WAN.", io.push_octets_received),
        ("push_sent_bytes", "Octets of pushes to LANs.", io.push_octets_sent),
        ("server_received_bytes", "Octets of messages and documents of servers.", {
            io.server_octets_received
        }),
        ("server_sent_bytes", "Octets of messages to servers.", io.server_octets_sent),
    ] {
        text.counter(name, "bytes", help, &[(&[], value)]);
    }
    let of = |reason: Reason| status.refused.get(reason.name()).map_or(0, |it| it.count);
    let labels = Reason::ALL.map(|reason| ([("reason", reason.name())], of(reason)));
    let samples: Vec<_> = labels.iter().map(|(labels, count)| (&labels[..], *count)).collect();
    text.counter("refusals", "", "Refusals of pushes and of devices' claims.", &samples);
    if form == Form::OpenMetrics {
        text.text.push_str("# EOF\n");
    }
    text.text
}

struct Text {
    text: String,
    form: Form,
}

impl Text {
    /// The lines above the samples of a metric. Writing to a String cannot fail.
    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let mut name = full(name);
        let is_open = self.form == Form::OpenMetrics;
        let kind = match kind {
            "stateset" if !is_open => "gauge",
            kind => kind,
        };
        // There a family is called what its samples are called.
        if kind == "counter" && !is_open {
            name.push_str("_total");
        }
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if !unit.is_empty() && is_open {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {help}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", "", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, unit: &str, help: &str, samples: &[(Labels<'_>, u64)]) {
        self.family(name, "counter", unit, help);
        for (labels, value) in samples {
            self.sample(&format!("{name}_total"), labels, *value);
        }
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: u64) {
        self.text.push_str(&full(name));
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}

type Labels<'a> = &'a [(&'a str, &'a str)];

fn full(name: &str) -> String {
    match name {
        "" => "dm_gateway".to_owned(),
        name if name.starts_with('_') => format!("dm_gateway{name}"),
        name => format!("dm_gateway_{name}"),
    }
}
