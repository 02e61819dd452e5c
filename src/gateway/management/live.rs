//! Gw Config and Gw Device Inventory, served from the running gateway.

use super::records::Settings;
use crate::gateway::agenda::Timer;
use crate::gateway::device::{Device, DeviceKey};
use crate::gateway::event::EventKind;
use crate::gateway::inventory::Inventory;
use crate::gateway::policy::Policy;
use crate::gateway::seam::{LanId, Now};
use crate::gateway::{Gateway, Options};
use crate::limits;
use crate::proto::syncml::StatusCode;
use crate::proto::tree::{Format, Mount, Provider, Tree, Value, timestamp};

/// Where Gw Config is.
pub(super) const GW_CONFIG: &str = "./GwConfig";
const INVENTORY: &str = "./GwDeviceInventory/Records";

const CONFIG_MOUNT: Mount = Mount(1);
const INVENTORY_MOUNT: Mount = Mount(2);

/// The numbers of the modes in `ModesSupported` (bit 0) and `DefaultMode`, `Mode`: transparent.
const TRANSPARENT: u8 = 1;

/// Has the two objects served.
pub(super) fn mount(tree: &mut Tree) {
    for (uri, mount) in [(GW_CONFIG, CONFIG_MOUNT), (INVENTORY, INVENTORY_MOUNT)] {
        tree.mount(uri, mount).expect("the descriptions have these nodes");
    }
}

/// The URI of a device's record in the inventory.
pub(super) fn record_uri(key: DeviceKey) -> String {
    format!("{INVENTORY}/{}", key.0)
}

/// The live state, and what is to become of the settings.
pub(super) struct Live<'a> {
    options: &'a Options,
    inventory: &'a Inventory,
    before: &'a Settings,
    settings: Settings,
    /// The settings before each change.
    history: Vec<Settings>,
    now: Now,
}

impl<'a> Live<'a> {
    pub(super) fn new(
        options: &'a Options,
        inventory: &'a Inventory,
        settings: &'a Settings,
        now: Now,
    ) -> Self {
        Self { options, inventory, before: settings, settings: settings.clone(), history: Vec::new(), now }
    }

    /// The settings, if they are to change.
    pub(super) fn settings(&self) -> Option<Settings> {
        (self.settings != *self.before).then(|| self.settings.clone())
    }

    fn lan(&self, number: &str) -> Option<(LanId, &crate::gateway::LanOptions)> {
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        let canonical = (index + 1).to_string() == number;
        Some((LanId(index), self.options.lans.get(index).filter(|_| canonical)?))
    }

    /// The policy of a LAN with what is to be changed.
    fn policy(&self, lan: &crate::gateway::LanOptions) -> Policy {
        let set = self.settings.policies.get(&*lan.name);
        set.and_then(|code| Policy::of_code(*code)).unwrap_or(lan.policy)
    }

    fn config(&self, path: &str) -> Option<Value<'_>> {
        let number = |number: u8| Value::of(Format::Int, number.to_string());
        let truth = |truth: bool| Value::of(Format::Bool, truth.to_string());
        Some(match path {
            "" | "LANs" => Value::interior(),
            "GwID" => Value::text(&*self.options.id),
            "PublicAddress" => Value::text(self.public_address()),
            "ShareAddress" => {
                truth(self.settings.share_address.unwrap_or(self.options.share_address))
            }
            "ModesSupported" | "DefaultMode" => number(TRANSPARENT),
            "AttachAlert" => truth(self.settings.attach_alert),
            _ => {
                let (lan, leaf) = split(path.strip_prefix("LANs/")?);
                let (_, lan) = self.lan(lan)?;
                match leaf {
                    None => Value::interior(),
                    Some("Name") => Value::text(&*lan.name),
                    Some("EDBootstrapPolicy") => number(self.policy(lan).code()),
                    Some(_) => return None,
                }
            }
        })
    }

    fn public_address(&self) -> &str {
        let configured = self.options.public_address.as_deref().unwrap_or_default();
        self.settings.public_address.as_deref().unwrap_or(configured)
    }

    fn set(&mut self, path: &str, text: &str) -> Result<(), StatusCode> {
        let truth = || match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(StatusCode::BAD_REQUEST),
        };
        match path {
            "PublicAddress" => {
                let odd = |c: char| c.is_whitespace() || c.is_control() || "<>\"/@".contains(c);
                if text.len() > limits::ADDRESS || text.contains(odd) {
                    return Err(StatusCode::BAD_REQUEST);
                }
                self.settings.public_address = Some(text.to_owned());
            }
            "ShareAddress" => self.settings.share_address = Some(truth()?),
            "AttachAlert" => self.settings.attach_alert = truth()?,
            _ => {
                let lan = path.strip_prefix("LANs/").and_then(|it| it.strip_suffix("/EDBootstrapPolicy"));
                let lan = lan.and_then(|lan| self.lan(lan)).ok_or(StatusCode::NOT_ALLOWED)?;
                let name = lan.1.name.to_string();
                let code = text.parse().ok().filter(|code| Policy::of_code(*code).is_some());
                self.settings.policies.insert(name, code.ok_or(StatusCode::BAD_REQUEST)?);
            }
        }
        Ok(())
    }

    fn device(&self, record: &str) -> Option<&Device> {
        let number = record.parse::<u32>().ok().filter(|number| number.to_string() == record)?;
        self.inventory.device(DeviceKey(number))
    }

    fn record(&self, path: &str) -> Option<Value<'_>> {
        if path.is_empty() {
            return Some(Value::interior());
        }
        let (record, leaf) = split(path);
        let device = self.device(record)?;
        let number = |number: u8| Value::of(Format::Int, number.to_string());
        let attached = device.attachment.is_some();
        Some(match leaf {
            None => Value::interior(),
            Some("DeviceID") => Value::text(device.record.id.as_str()),
            Some("Address") => Value::text(self.address(device)?),
            Some("Mode") => number(TRANSPARENT),
            Some("ComponentType") => number(0),
            Some("Attached") => Value::of(Format::Bool, attached.to_string()),
            Some("LastSeen") => Value::of(Format::Time, self.last_seen(device)?),
            Some("LAN") => Value::text(&*device.record.lan),
            Some("Servers") => {
                let list = device.record.list.as_ref()?;
                let servers: Vec<_> = list.servers.iter().map(|server| server.as_str()).collect();
                Value::text(servers.join(" "))
            }
            Some(_) => return None,
        })
    }

    fn address(&self, device: &Device) -> Option<String> {
        let attached = device.attachment.is_some();
        device.best_address(|_| true).filter(|_| attached).map(|address| address.ip.to_string())
    }

    /// When the device was seen last, by the wall clock.
    fn last_seen(&self, device: &Device) -> Option<String> {
        let age = self.now.uptime.saturating_sub(device.last_seen?).as_secs();
        (self.now.unix >= limits::CLOCK_SET).then(|| timestamp(self.now.unix - age))
    }
}

/// The first segment of a path, and the rest if there is one.
fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)))
}

impl Provider for Live<'_> {
    fn node(&self, mount: Mount, path: &str) -> Option<Value<'_>> {
        if mount == CONFIG_MOUNT { self.config(path) } else { self.record(path) }
    }

    fn children(&self, mount: Mount, path: &str) -> Vec<String> {
        let names: Vec<String> = match (mount, path) {
            (CONFIG_MOUNT, "") => {
                let names = ["AttachAlert", "DefaultMode", "GwID", "LANs", "ModesSupported", "PublicAddress", "ShareAddress"];
                names.map(str::to_owned).into()
            }
            (CONFIG_MOUNT, "LANs") => (1..=self.options.lans.len()).map(|it| it.to_string()).collect(),
            (CONFIG_MOUNT, _) if path.starts_with("LANs/") => vec!["EDBootstrapPolicy".into(), "Name".into()],
            (INVENTORY_MOUNT, "") => self.inventory.iter().map(|(key, _)| key.0.to_string()).collect(),
            (INVENTORY_MOUNT, _) => {
                ["Address", "Attached", "ComponentType", "DeviceID", "LAN", "LastSeen", "Mode", "Servers"].map(str::to_owned).into()
            }
            _ => Vec::new(),
        };
        let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        names.into_iter().filter(|name| self.node(mount, &join(name)).is_some()).collect()
    }

    fn replace(&mut self, mount: Mount, path: &str, value: &Value<'_>) -> Result<(), StatusCode> {
        if mount != CONFIG_MOUNT {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let text = std::str::from_utf8(&value.octets).map_err(|_| StatusCode::BAD_REQUEST)?;
        let before = self.settings.clone();
        self.set(path, text.trim())?;
        self.history.push(before);
        Ok(())
    }

    fn undo(&mut self, _: Mount, _: &str, _: Option<&Value<'_>>) {
        // The last first, as they are told.
        if let Some(settings) = self.history.pop() {
            self.settings = settings;
        }
    }
}

impl Gateway {
    /// Has the gateway run by these settings.
    pub(super) fn apply_settings(&mut self, settings: Settings, now: Now) {
        let configured = &self.management.configured;
        self.options.share_address = settings.share_address.unwrap_or(configured.share_address);
        self.options.public_address = match &settings.public_address {
            Some(address) => Some(address.clone()).filter(|address| !address.is_empty()),
            None => configured.public_address.clone(),
        };
        for (index, policy) in configured.policies.clone().into_iter().enumerate() {
            let name = self.options.lans[index].name.clone();
            let set = settings.policies.get(&*name).and_then(|code| Policy::of_code(*code));
            self.set_policy(LanId(index), set.unwrap_or(policy), now);
        }
        self.management.settings = settings;
        self.look_for_wanted(now);
    }

    /// A LAN has another policy: its devices are asked by it. What their lists led to changes with
    /// the lists that they bring.
    fn set_policy(&mut self, lan: LanId, policy: Policy, now: Now) {
        let options = &mut self.options.lans[lan.0];
        let before = std::mem::replace(&mut options.policy, policy);
        if before == policy {
            return;
        }
        log::info!("LAN {}: the policy is {policy} now, it was {before}", options.name);
        let attached = self.inventory.iter();
        let attached = attached.filter(|(_, device)| device.lan == Some(lan) && device.attachment.is_some());
        let keys: Vec<_> = attached.map(|(key, _)| key).collect();
        for key in keys {
            if let Some(device) = self.inventory.device_mut(key)
                && let Some(attachment) = &mut device.attachment
            {
                (attachment.asks, attachment.session) = (0, false);
            }
            if policy.asks() {
                self.timers.set(Timer::Ask(key), now.uptime + limits::SETTLE);
            }
        }
        let why = format!("a DM server set the policy to {policy}, it was {before}");
        self.tell_of_lan(EventKind::Policy, lan, &why);
    }
}
