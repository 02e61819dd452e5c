//! A new configuration for a gateway that runs.
//!
//! Mappings, sessions, held pushes and the store stay as they are. What DM servers set goes on to
//! count before the configuration, except for what it locks. A change of a DM server on trial is
//! neither confirmed nor ended: if it is taken back, it goes back to the new configuration.

use super::wishes::Cause;
use super::{Configured, live};
use crate::gateway::policy::Policy;
use crate::gateway::seam::Now;
use crate::gateway::{Gateway, LanOptions, Options};
use crate::proto::gwmo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;

/// What a new configuration met.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReloadReport {
    /// What DM servers set and the configuration says otherwise.
    pub remote: Vec<RemoteValue>,
    /// The server whose change is on trial, if one is.
    pub trial: Option<String>,
}

/// Something that a DM server set through Gw Config.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct RemoteValue {
    /// The key, as commands name it: `lan.crew.policy`.
    pub key: String,
    /// The value, as the configuration writes it; empty for a public address that is taken away.
    pub value: Value,
    /// Whether the configuration locks the key, so that the value does not count.
    pub locked: bool,
}

impl Gateway {
    /// Goes on with other options. LANs are told apart by name; those that are new or gone, and
    /// what the sockets and interfaces of a LAN are, wait for another start. So do the gateway's
    /// ids. What follows is an [`Output`](crate::gateway::seam::Output), as after
    /// [`handle`](Gateway::handle).
    pub fn reconfigure(&mut self, options: Options, now: Now) -> ReloadReport {
        let placed: HashSet<_> = self.options.accounts.iter().map(place).collect();
        let had_interval: HashSet<_> = self.scheduled().collect();
        let Options {
            id: _,
            public_address,
            share_address,
            wire_profile,
            push_interval,
            trigger_expiry,
            trusted_sources,
            push_token,
            lans,
            accounts,
            management,
        } = options;
        for lan in lans {
            let index = self.options.lans.iter().position(|known| known.name == lan.name);
            let Some(index) = index else { continue };
            if let Some(policy) = self.management.configured.policies.get_mut(index) {
                *policy = lan.policy;
            }
            take_lan(&mut self.options.lans[index], lan);
        }
        let configured = &mut self.management.configured;
        *configured = Configured {
            public_address,
            share_address,
            policies: std::mem::take(&mut configured.policies),
        };
        let known = &mut self.options;
        (known.wire_profile, known.push_interval) = (wire_profile, push_interval);
        (known.trigger_expiry, known.trusted_sources) = (trigger_expiry, trusted_sources);
        (known.push_token, known.accounts) = (push_token, accounts);
        let kept = std::mem::replace(&mut known.management, management);
        (known.management.device_id, known.management.hardware) = (kept.device_id, kept.hardware);
        // Devices keep the accounts that they were given, beside those that are configured.
        for (id, mut provisioned) in std::mem::take(&mut self.management.given) {
            provisioned.is_extra = false;
            self.restore_given(&id, provisioned);
        }
        self.unconfigured_devices(now);
        self.configured_devices(|account| !placed.contains(&place(account)), now);
        let settings = self.management.settings.clone();
        self.apply_settings_of("the configuration", settings, now);
        self.reschedule(&had_interval, now);
        self.manage(now);
        ReloadReport { remote: self.remote_values(), trial: self.server_on_trial() }
    }

    /// The server whose change is on trial, if one is.
    pub fn server_on_trial(&self) -> Option<String> {
        self.management.trial.as_ref().map(|trial| trial.server().to_owned())
    }

    /// What DM servers set through Gw Config.
    pub fn remote_values(&self) -> Vec<RemoteValue> {
        let settings = &self.management.settings;
        let in_use = settings.in_use(&self.options);
        let mut values = Vec::new();
        let mut push = |key: String, value: Option<Value>, locked| {
            values.extend(value.map(|value| RemoteValue { key, value, locked }));
        };
        let address = settings.public_address.as_deref().map(Value::from);
        push("gateway.public-address".into(), address, in_use.public_address.is_none());
        let share = settings.share_address.map(Value::from);
        push("gateway.share-address".into(), share, in_use.share_address.is_none());
        for (lan, code) in &settings.policies {
            if self.options.lans.iter().any(|known| *known.name == **lan) {
                let policy = Policy::of_code(*code).map(|policy| policy.name().into());
                push(format!("lan.{lan}.policy"), policy, !in_use.policies.contains_key(lan));
            }
        }
        values
    }

    /// Whether the configuration keeps DM servers from setting a node.
    pub(super) fn is_locked(&self, uri: &str) -> bool {
        let path = uri.strip_prefix(gwmo::CONFIG).and_then(|path| path.strip_prefix('/'));
        path.is_some_and(|path| live::is_locked(&self.options, path))
    }

    /// Servers with sessions by the schedule.
    fn scheduled(&self) -> impl Iterator<Item = (String, std::time::Duration)> {
        let servers = self.options.management.servers.iter();
        servers.filter_map(|server| Some((server.id.clone(), server.interval?)))
    }

    /// Sessions by a schedule that is new, and none by one that is gone.
    fn reschedule(&mut self, before: &HashSet<(String, std::time::Duration)>, now: Now) {
        let after: HashSet<_> = self.scheduled().collect();
        for (server, _) in before.difference(&after) {
            if let Some(entry) = self.management.servers.get_mut(server) {
                entry.wish.take_if(|wish| wish.cause == Cause::Schedule);
            }
        }
        for (server, interval) in after.difference(before) {
            if self.management.has_account(server) {
                let at = now.uptime + self.random(*interval);
                self.wish(server, Cause::Schedule, at);
            }
        }
    }
}

/// Where a device is placed by the configuration.
fn place(account: &crate::gateway::Account) -> (String, Option<usize>, Option<std::net::IpAddr>) {
    (account.id.normal().to_owned(), account.lan.map(|lan| lan.0), account.address)
}

/// Takes what may change of a LAN while its sockets stay. Its policy comes with the settings.
fn take_lan(known: &mut LanOptions, lan: LanOptions) {
    let LanOptions {
        name: _,
        interface: _,
        policy: _,
        detect: _,
        listen: _,
        bootstrap_listen: _,
        policy_locked,
        verify,
        device_auth,
        push_port,
        request_interval,
        request_burst,
        trusted_link,
        provision,
        bootstrap_profile,
    } = lan;
    (known.policy_locked, known.verify, known.device_auth) = (policy_locked, verify, device_auth);
    (known.push_port, known.request_interval) = (push_port, request_interval);
    (known.request_burst, known.trusted_link) = (request_burst, trusted_link);
    (known.provision, known.bootstrap_profile) = (provision, bootstrap_profile);
}
