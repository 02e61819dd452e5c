//! What servers are told of devices that come and go: generic alerts of the gateway.
//!
//! (OMNA: `urn:oma:at:oma-gwmo:deviceattached:1.1`, `devicedetached:1.0`. Their payloads are not
//! public; what stands in `payload` is this product's own.)

use super::wishes::Cause;
use crate::gateway::Gateway;
use crate::gateway::device::DeviceKey;
use crate::gateway::seam::Now;
use crate::limits;
use crate::proto::syncml::{Alert, AlertCode, Data, Item, Location, Meta, StatusCode};
use std::collections::BTreeMap;
use std::time::Duration;

/// What each server is still to be told: of a device the newest only.
#[derive(Debug, Default)]
pub(super) struct AttachAlerts(BTreeMap<String, BTreeMap<DeviceKey, bool>>);

/// What a session tells of: the device, and whether it came.
pub(super) type Told = (DeviceKey, bool);

impl Gateway {
    /// A device came or went: every server with an account is told, where Gw Config says so.
    pub(in crate::gateway) fn alert_servers(&mut self, key: DeviceKey, attached: bool, now: Now) {
        if !self.management.settings.in_use(&self.options).attach_alert {
            return;
        }
        let servers: Vec<_> = self.management.accounts.servers().map(str::to_owned).collect();
        for server in servers {
            let waiting = self.management.alerts.0.entry(server.clone()).or_default();
            if waiting.len() < limits::ALERTS || waiting.contains_key(&key) {
                waiting.insert(key, attached);
                self.wish_to_tell(&server, now);
            } else {
                log::warn!("{server} is told no more of devices until it takes what waits");
            }
        }
    }

    /// Wishes a session that tells a server of devices.
    pub(super) fn wish_to_tell(&mut self, server: &str, now: Now) {
        let told = self.management.servers.get(server).and_then(|it| it.told);
        let next = told.map_or(Duration::ZERO, |told| told + limits::ALERT_INTERVAL);
        self.wish(server, Cause::Alert, next.max(now.uptime + limits::ALERT_DELAY));
    }

    /// The alerts for the first package of a session.
    pub(super) fn alerts_for(&self, server: &str) -> Vec<(Told, Alert<'static>)> {
        let waiting = self.management.alerts.0.get(server);
        waiting
            .into_iter()
            .flatten()
            .map(|(key, attached)| ((*key, *attached), self.alert(*key, *attached)))
            .collect()
    }

    /// What a server took of them is not told again.
    pub(super) fn alerts_told(
        &mut self,
        server: &str,
        told: &[Told],
        statuses: &[Option<StatusCode>],
        ok: bool,
    ) {
        let Some(waiting) = self.management.alerts.0.get_mut(server) else { return };
        for ((key, attached), status) in told.iter().zip(statuses) {
            // Whatever it answers, it has heard it, and in a session that ended well without an
            // answer too; a newer state is still to be told.
            if (ok || status.is_some()) && waiting.get(key) == Some(attached) {
                waiting.remove(key);
            }
        }
        if waiting.is_empty() {
            self.management.alerts.0.remove(server);
        }
    }

    /// Whether a server is to be told something.
    pub(super) fn has_alerts(&self, server: &str) -> bool {
        self.management.alerts.0.contains_key(server)
    }

    fn alert(&self, key: DeviceKey, attached: bool) -> Alert<'static> {
        let kind = if attached {
            "urn:oma:at:oma-gwmo:deviceattached:1.1"
        } else {
            "urn:oma:at:oma-gwmo:devicedetached:1.0"
        };
        let item = Item {
            source: Some(Location { uri: super::live::record_uri(key).into(), name: None }),
            meta: Meta { kind: Some(kind.into()), format: Some("xml".into()), ..Meta::default() },
            data: Some(Data::Markup(self.payload(key, attached).into())),
            ..Item::default()
        };
        Alert { code: Some(AlertCode::GENERIC), items: vec![item], ..Alert::default() }
    }

    fn payload(&self, key: DeviceKey, attached: bool) -> String {
        let Some(device) = self.inventory.device(key) else { return "<Device/>".to_owned() };
        let id = quick_xml::escape::escape(device.record.id.as_str());
        if !attached {
            return format!("<Device><DeviceID>{id}</DeviceID><Reason>detached</Reason></Device>");
        }
        let address = device
            .best_address(|_| true)
            .map(|address| format!("<Address>{}</Address>", address.ip));
        let address = address.unwrap_or_default();
        format!(
            "<Device><DeviceID>{id}</DeviceID>{address}<Mode>1</Mode><ComponentType>0</ComponentType></Device>"
        )
    }
}
