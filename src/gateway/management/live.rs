//! Gw Config, Gw Device Inventory and GwStatus, served from the running gateway.

use super::records::Settings;
use super::report::{Report, STATUS};
use crate::gateway::agenda::Timer;
use crate::gateway::device::{Device, DeviceKey};
use crate::gateway::event::EventKind;
use crate::gateway::inventory::Inventory;
use crate::gateway::policy::Policy;
use crate::gateway::seam::{LanId, Now};
use crate::gateway::{Gateway, LanOptions, Options};
use crate::limits;
use crate::proto::gwmo::{self, GwConfigNode, InventoryNode, Mode, RecordLeaf, Setting};
use crate::proto::syncml::StatusCode;
use crate::proto::tree::{Format, Mount, Provider, Tree, Value, timestamp};

const CONFIG_MOUNT: Mount = Mount(1);
const INVENTORY_MOUNT: Mount = Mount(2);
const STATUS_MOUNT: Mount = Mount(3);

/// Has the three objects served.
pub(super) fn mount(tree: &mut Tree) {
    for (uri, mount) in
        [(gwmo::CONFIG, CONFIG_MOUNT), (gwmo::INVENTORY, INVENTORY_MOUNT), (STATUS, STATUS_MOUNT)]
    {
        tree.mount(uri, mount).expect("the descriptions have these nodes");
    }
}

/// The URI of a device's record in the inventory.
pub(super) fn record_uri(key: DeviceKey) -> String {
    format!("{}/Records/{}", gwmo::INVENTORY, key.0)
}

/// Whether the configuration keeps DM servers from setting the node at a path of Gw Config.
pub(super) fn is_locked(options: &Options, path: &str) -> bool {
    match GwConfigNode::parse(path) {
        Some(GwConfigNode::PublicAddress) => options.management.locked.public_address,
        Some(GwConfigNode::ShareAddress) => options.management.locked.share_address,
        Some(GwConfigNode::LanPolicy(name)) => {
            options.lans.iter().any(|lan| *lan.name == *name && lan.policy_locked)
        }
        _ => false,
    }
}

/// The live state, and what is to become of the settings.
pub(super) struct Live<'a> {
    options: &'a Options,
    inventory: &'a Inventory,
    report: &'a Report,
    before: &'a Settings,
    settings: Settings,
    /// What of them counts.
    in_use: Settings,
    /// The settings before each change.
    history: Vec<Settings>,
    now: Now,
}

impl<'a> Live<'a> {
    pub(super) fn new(
        options: &'a Options,
        inventory: &'a Inventory,
        (settings, report): (&'a Settings, &'a Report),
        now: Now,
    ) -> Self {
        Self {
            options,
            inventory,
            report,
            before: settings,
            settings: settings.clone(),
            in_use: settings.in_use(options),
            history: Vec::new(),
            now,
        }
    }

    /// The settings, if they are to change.
    pub(super) fn settings(&self) -> Option<Settings> {
        (self.settings != *self.before).then(|| self.settings.clone())
    }

    fn lan(&self, name: &str) -> Option<&LanOptions> {
        self.options.lans.iter().find(|lan| *lan.name == *name)
    }

    fn lan_names(&self) -> impl Iterator<Item = &str> {
        self.options.lans.iter().map(|lan| &*lan.name)
    }

    fn config(&self, node: &GwConfigNode<'_>) -> Option<Value<'_>> {
        let number = |number: u8| Value::of(Format::Int, number.to_string());
        let truth = |truth: bool| Value::of(Format::Bool, truth.to_string());
        Some(match node {
            GwConfigNode::Root | GwConfigNode::Lans => Value::interior(),
            GwConfigNode::GwId => Value::text(&*self.options.id),
            GwConfigNode::PublicAddress => Value::text(self.public_address()),
            GwConfigNode::ShareAddress => {
                truth(self.in_use.share_address.unwrap_or(self.options.share_address))
            }
            GwConfigNode::ModesSupported => number(Mode::Transparent.bit()),
            GwConfigNode::DefaultMode => number(Mode::Transparent.code()),
            GwConfigNode::AttachAlert => truth(self.in_use.attach_alert),
            GwConfigNode::Lan(name) => self.lan(name).map(|_| Value::interior())?,
            GwConfigNode::LanName(name) => Value::text(&*self.lan(name)?.name),
            GwConfigNode::LanPolicy(name) => {
                let lan = self.lan(name)?;
                let set = self.in_use.policies.get(&*lan.name);
                number(set.copied().unwrap_or_else(|| lan.policy.code()))
            }
        })
    }

    fn public_address(&self) -> &str {
        let configured = self.options.public_address.as_deref().unwrap_or_default();
        self.in_use.public_address.as_deref().unwrap_or(configured)
    }

    fn set(&mut self, setting: &Setting<'_>) -> Result<(), StatusCode> {
        if self.is_locked(setting) {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let settings = &mut self.settings;
        match *setting {
            Setting::PublicAddress(address) => {
                settings.public_address = Some(address.unwrap_or_default().to_owned());
            }
            Setting::ShareAddress(share) => settings.share_address = Some(share),
            Setting::AttachAlert(tell) => settings.attach_alert = tell,
            // The only mode that there is.
            Setting::DefaultMode(Mode::Transparent) => {}
            Setting::DefaultMode(_) => return Err(StatusCode::NOT_ALLOWED),
            Setting::LanPolicy { lan, policy } => {
                settings.policies.insert(lan.to_owned(), policy);
            }
        }
        self.in_use = self.settings.in_use(self.options);
        Ok(())
    }

    /// Whether the configuration keeps DM servers from setting it.
    fn is_locked(&self, setting: &Setting<'_>) -> bool {
        match *setting {
            Setting::PublicAddress(_) => is_locked(self.options, "PublicAddress"),
            Setting::ShareAddress(_) => is_locked(self.options, "ShareAddress"),
            Setting::LanPolicy { lan, .. } => self.lan(lan).is_some_and(|lan| lan.policy_locked),
            Setting::AttachAlert(_) | Setting::DefaultMode(_) => false,
        }
    }

    fn record(&self, node: InventoryNode) -> Option<Value<'_>> {
        let number = |number: u8| Value::of(Format::Int, number.to_string());
        let (record, leaf) = match node {
            InventoryNode::Root | InventoryNode::Records => return Some(Value::interior()),
            InventoryNode::Record(record) => (record, None),
            InventoryNode::Leaf(record, leaf) => (record, Some(leaf)),
        };
        let device = self.inventory.device(DeviceKey(record))?;
        let Some(leaf) = leaf else { return Some(Value::interior()) };
        let attached = device.attachment.is_some();
        Some(match leaf {
            RecordLeaf::DeviceId => Value::text(device.record.id.as_str()),
            RecordLeaf::Address => {
                let address = device.best_address(|_| true).filter(|_| attached)?;
                Value::text(address.ip.to_string())
            }
            RecordLeaf::Mode => number(Mode::Transparent.code()),
            RecordLeaf::ComponentType => number(gwmo::END_DEVICE),
            RecordLeaf::Attached => Value::of(Format::Bool, attached.to_string()),
            RecordLeaf::LastSeen => Value::of(Format::Time, self.last_seen(device)?),
            RecordLeaf::Servers => {
                let list = device.record.list.as_ref()?;
                Value::text(gwmo::server_list(list.servers.iter().map(|server| server.as_str())))
            }
        })
    }

    /// When the device was seen last, by the wall clock.
    fn last_seen(&self, device: &Device) -> Option<String> {
        let age = self.now.uptime.saturating_sub(device.last_seen?).as_secs();
        (self.now.unix >= limits::CLOCK_SET).then(|| timestamp(self.now.unix - age))
    }
}

impl Provider for Live<'_> {
    fn node(&self, mount: Mount, path: &str) -> Option<Value<'_>> {
        match mount {
            CONFIG_MOUNT => self.config(&GwConfigNode::parse(path)?),
            STATUS_MOUNT => self.report.node(path),
            _ => self.record(InventoryNode::parse(path)?),
        }
    }

    fn children(&self, mount: Mount, path: &str) -> Vec<String> {
        let records = self.inventory.iter().map(|(key, _)| key.0);
        match mount {
            CONFIG_MOUNT => GwConfigNode::children(path, self.lan_names()),
            STATUS_MOUNT => self.report.children(path),
            _ => InventoryNode::children(path, records, |node| self.record(node).is_some()),
        }
    }

    fn replace(&mut self, mount: Mount, path: &str, value: &Value<'_>) -> Result<(), StatusCode> {
        if mount != CONFIG_MOUNT || !self.options.management.remote_settings {
            return Err(StatusCode::NOT_ALLOWED);
        }
        let node = GwConfigNode::parse(path).ok_or(StatusCode::NOT_FOUND)?;
        let before = self.settings.clone();
        self.set(&node.setting(&value.octets)?)?;
        self.history.push(before);
        Ok(())
    }

    fn undo(&mut self, _: Mount, _: &str, _: Option<&Value<'_>>) {
        // The last first, as they are told.
        if let Some(settings) = self.history.pop() {
            self.settings = settings;
            self.in_use = self.settings.in_use(self.options);
        }
    }
}

impl Gateway {
    /// Has the gateway run by these settings.
    pub(super) fn apply_settings(&mut self, settings: Settings, now: Now) {
        self.apply_settings_of("a DM server", settings, now);
    }

    /// The same, of which somebody is the cause.
    pub(super) fn apply_settings_of(&mut self, who: &str, settings: Settings, now: Now) {
        let kept = settings;
        let settings = kept.in_use(&self.options);
        let configured = &self.management.configured;
        self.options.share_address = settings.share_address.unwrap_or(configured.share_address);
        self.options.public_address = match &settings.public_address {
            Some(address) => Some(address.clone()).filter(|address| !address.is_empty()),
            None => configured.public_address.clone(),
        };
        for (index, policy) in configured.policies.clone().into_iter().enumerate() {
            let name = self.options.lans[index].name.clone();
            let set = settings.policies.get(&*name).and_then(|code| Policy::of_code(*code));
            self.set_policy(LanId(index), set.unwrap_or(policy), who, now);
        }
        self.management.settings = kept;
        self.look_for_wanted(now);
    }

    /// A LAN has another policy: its devices are asked by it. What their lists led to changes with
    /// the lists that they bring.
    fn set_policy(&mut self, lan: LanId, policy: Policy, who: &str, now: Now) {
        let options = &mut self.options.lans[lan.0];
        let before = std::mem::replace(&mut options.policy, policy);
        if before == policy {
            return;
        }
        let attached = self.inventory.iter();
        let attached =
            attached.filter(|(_, device)| device.lan == Some(lan) && device.attachment.is_some());
        let keys: Vec<_> = attached.map(|(key, _)| key).collect();
        for key in keys {
            if let Some(device) = self.inventory.device_mut(key) {
                if let Some(attachment) = &mut device.attachment {
                    (attachment.asks, attachment.session) = (0, false);
                }
            }
            if policy.asks() {
                self.timers.set(Timer::Ask(key), now.uptime + limits::SETTLE);
            }
        }
        let why = format!("{who} set the policy to {policy}, it was {before}");
        self.tell_of_lan(EventKind::Policy, lan, &why);
    }
}
