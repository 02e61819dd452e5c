//! `./GwStatus`: how the gateway is, for those who manage it and need not log in.
//!
//! A server is told how its own sessions end, and nothing of those of others.

use crate::gateway::Gateway;
use crate::gateway::seam::Now;
use crate::gateway::view::Health;
use crate::proto::tree::{Format, Value};

/// Where the object stands.
pub(super) const STATUS: &str = "./GwStatus";

/// How the gateway is, for one reader.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    health: &'static str,
    codes: String,
    counters: Vec<(String, u64)>,
    servers: Vec<ServerReport>,
}

#[derive(Clone, Debug, Default)]
struct ServerReport {
    id: String,
    code: &'static str,
    why: String,
    failures: u32,
}

impl Report {
    pub(super) fn node(&self, path: &str) -> Option<Value<'_>> {
        let parts: Vec<_> = path.split('/').collect();
        Some(match parts[..] {
            [""] | ["Counters" | "Servers"] => Value::interior(),
            ["Health"] => Value::text(self.health),
            ["Codes"] => Value::text(&*self.codes),
            ["Counters", name] => {
                let (_, count) = self.counters.iter().find(|(known, _)| known == name)?;
                // The largest that `int` has.
                let count = (*count).min(i32::MAX as u64);
                Value::of(Format::Int, count.to_string())
            }
            ["Servers", number] => self.server(number).map(|_| Value::interior())?,
            ["Servers", number, "ServerID"] => Value::text(&*self.server(number)?.id),
            ["Servers", number, "LastCode"] => Value::text(self.server(number)?.code),
            ["Servers", number, "LastError"] => Value::text(&*self.server(number)?.why),
            ["Servers", number, "Failures"] => {
                Value::of(Format::Int, self.server(number)?.failures.to_string())
            }
            _ => return None,
        })
    }

    pub(super) fn children(&self, path: &str) -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        match path {
            "" => own(&["Health", "Codes", "Counters", "Servers"]),
            "Counters" => self.counters.iter().map(|(name, _)| name.clone()).collect(),
            "Servers" => (0..self.servers.len()).map(|number| number.to_string()).collect(),
            _ => match path.strip_prefix("Servers/") {
                Some(number) if self.server(number).is_some() => {
                    own(&["ServerID", "LastCode", "LastError", "Failures"])
                }
                _ => Vec::new(),
            },
        }
    }

    fn server(&self, number: &str) -> Option<&ServerReport> {
        let index: usize = number.parse().ok()?;
        self.servers.get(index).filter(|_| index.to_string() == number)
    }
}

impl Gateway {
    /// Takes down how the gateway is: for a server, or for an operator, who is told of all.
    pub(super) fn report(&mut self, reader: Option<&str>, now: Now) {
        let status = self.status(now);
        let concerns = |server: &str| reader.is_none_or(|reader| reader == server);
        let lines = status.troubles.iter();
        let lines = lines.filter(|line| line.server.as_deref().is_none_or(concerns));
        let mut codes: Vec<_> = lines.map(|line| &*line.trouble.code).collect();
        codes.dedup();
        let counters = serde_json::to_value(status.counters).unwrap_or_default();
        let counters = counters.as_object().into_iter().flatten();
        let counters = counters.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)));
        let servers = self.management.accounts().filter(|server| concerns(server)).map(|server| {
            let entry = self.management.servers.get(server);
            let failed = entry.and_then(|entry| entry.why.as_ref());
            ServerReport {
                id: server.to_owned(),
                code: failed.map_or("", |failed| failed.code.id),
                why: failed.map_or_else(String::new, |failed| failed.why.clone()),
                failures: entry.map_or(0, |entry| entry.failures),
            }
        });
        self.management.report = Report {
            health: match status.health {
                Health::Healthy => "healthy",
                Health::Degraded => "degraded",
                Health::Down => "down",
            },
            codes: codes.join(" "),
            counters: counters.collect(),
            servers: servers.collect(),
        };
    }
}
