//! What a new configuration changes of the one that is in force, and how much of that counts
//! without a restart.
//!
//! Sections change as a whole: where one key of a section needs a restart, the others of that
//! section wait with it. A listener that is still open to all never gets the rules of the one on
//! loopback that is to take its place.

use super::keys::{self, Applies};
use super::tree::{Named, Place, Stored, Tree};
use super::{Config, LanConfig};
use crate::gateway::seam::LanId;
use crate::gateway::{Account, LanOptions};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a new configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys whose new values count from now on; a section that is new or gone stands for its keys.
    pub applied: Vec<String>,
    /// Keys that wait for a restart: the old values are in force.
    pub restart: Vec<String>,
}

/// What may change without the rest: `gateway`, `wan`, `lan.NAME`, `device`, `server` …
type Group = String;

/// What is in force when `new` comes after `running`, and what that changes.
pub fn take_over(running: &Config, new: &Config) -> (Config, Changes) {
    let (changes, held) = compare(running, new);
    let is_held = |group: &str| held.contains(group);
    let mut config = new.clone();
    config.layout.clone_from(&running.layout);
    config.state_dir.clone_from(&running.state_dir);
    config.control_socket.clone_from(&running.control_socket);
    if is_held("gateway") {
        let (options, old) = (&mut config.options, &running.options);
        options.id.clone_from(&old.id);
        options.public_address.clone_from(&old.public_address);
        options.share_address = old.share_address;
        options.wire_profile = old.wire_profile;
        options.push_interval = old.push_interval;
        options.trigger_expiry = old.trigger_expiry;
        options.management.device_id.clone_from(&old.management.device_id);
        options.management.remote_settings = old.management.remote_settings;
        options.management.locked = old.management.locked;
    }
    if is_held("wan") {
        config.options.trusted_sources.clone_from(&running.options.trusted_sources);
        config.options.push_token.clone_from(&running.options.push_token);
        config.push_listen.clone_from(&running.push_listen);
        config.http_push.clone_from(&running.http_push);
        config.wan_interface.clone_from(&running.wan_interface);
    }
    let (lans, configs) = lans(running, new, &held);
    config.options.accounts = accounts(new, &lans);
    (config.options.lans, config.lans) = (lans, configs);
    config.tree = documents(running, new, &held);
    (config, changes)
}

/// The LANs that run, with the new values of those that are not held.
fn lans(
    running: &Config,
    new: &Config,
    held: &BTreeSet<Group>,
) -> (Vec<LanOptions>, Vec<LanConfig>) {
    let pairs = running.options.lans.iter().zip(&running.lans);
    let of = |(options, config): (&LanOptions, &LanConfig)| {
        let is_same = |it: &(&LanOptions, &LanConfig)| it.0.name == options.name;
        let mut pairs = new.options.lans.iter().zip(&new.lans);
        let found = pairs.find(is_same);
        let found = found.filter(|_| !held.contains(&format!("lan.{}", options.name)));
        let (options, config) = found.unwrap_or((options, config));
        (options.clone(), config.clone())
    };
    pairs.map(of).unzip()
}

/// The devices, with the numbers that LANs have in the running daemon. Devices of a LAN that is
/// not there yet have none so far.
fn accounts(new: &Config, lans: &[LanOptions]) -> Vec<Account> {
    let number = |id: LanId| {
        let name = &new.options.lans.get(id.0)?.name;
        lans.iter().position(|lan| lan.name == *name).map(LanId)
    };
    let account = |account: &Account| {
        let lan = account.lan.and_then(number);
        let address = account.address.filter(|_| lan.is_some());
        Account { lan, address, ..account.clone() }
    };
    new.options.accounts.iter().map(account).collect()
}

/// What is written of that which is in force.
fn documents(running: &Config, new: &Config, held: &BTreeSet<Group>) -> Tree {
    let mut tree = new.tree.clone();
    let offset = tree.files.len();
    tree.files.extend(running.tree.files.iter().cloned());
    tree.sections.retain(|stored| !held.contains(&group(stored.form.name, stored.id())));
    let old = running.tree.sections.iter();
    let old = old.filter(|stored| held.contains(&group(stored.form.name, stored.id())));
    let moved = |place: Place| Place { file: place.file + offset, ..place };
    tree.sections.extend(old.map(|stored| {
        let mut stored = stored.clone();
        stored.place = moved(stored.place);
        for entry in &mut stored.entries {
            entry.place = moved(entry.place);
            entry.earlier.iter_mut().for_each(|(_, place)| *place = moved(*place));
        }
        stored
    }));
    let is_held = |named: &&Named| held.contains(&group_of(&named.key));
    tree.named.borrow_mut().retain(|named| !is_held(&named));
    tree.named.borrow_mut().extend(running.tree.named.borrow().iter().filter(is_held).cloned());
    tree.forget_unused_files();
    tree
}

/// What changes, and which groups have to wait.
fn compare(running: &Config, new: &Config) -> (Changes, BTreeSet<Group>) {
    let (before, after) = (Written::of(running), Written::of(new));
    let mut changed: Vec<(Group, String, bool)> = Vec::new();
    let mut waiting = Vec::new();
    let sections: BTreeSet<_> = before.sections.keys().chain(after.sections.keys()).collect();
    for section in sections {
        let (form, id) = section;
        let group = group(form, id.as_deref());
        let name = id.as_ref().map_or_else(|| form.clone(), |id| format!("{form}.{id}"));
        match (before.sections.get(section), after.sections.get(section)) {
            (Some(before), Some(after)) => {
                let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
                for key in keys.into_iter().filter(|key| before.get(*key) != after.get(*key)) {
                    let applies = keys::key(form, key).map(|key| key.applies);
                    let restart = applies == Some(Applies::Restart);
                    changed.push((group.clone(), format!("{name}.{key}"), restart));
                }
            }
            (old, now) if id.is_some() => {
                let what = if old.is_some() { "gone" } else { "new" };
                let restart = form == "lan";
                // A device of a LAN that waits waits with it.
                let lan = now.and_then(|now| now.get("lan")).and_then(Value::as_str);
                let is_new = |lan: &str| !before.has_lan(lan);
                if form == "device" && lan.is_some_and(is_new) {
                    waiting.push(format!("{name} ({what})"));
                    continue;
                }
                debug_assert!(now.is_some() != old.is_some());
                changed.push((group, format!("{name} ({what})"), restart));
            }
            (old, now) => {
                for key in old.into_iter().chain(now).flat_map(BTreeMap::keys) {
                    let applies = keys::key(form, key).map(|key| key.applies);
                    let restart = applies == Some(Applies::Restart);
                    changed.push((group.clone(), format!("{name}.{key}"), restart));
                }
            }
        }
    }
    for (key, digest) in &after.files {
        if before.files.get(key).is_some_and(|before| before != digest)
            && !changed.iter().any(|(_, changed, _)| changed == key)
        {
            changed.push((group_of(key), format!("{key} (its file)"), false));
        }
    }
    let mut held: BTreeSet<_> = changed
        .iter()
        .filter(|(_, _, restart)| *restart)
        .map(|(group, ..)| group.clone())
        .collect();
    // TLS comes and goes with its listener.
    if running.http_push.tls.is_some() != new.http_push.tls.is_some() {
        held.insert("wan".to_owned());
    }
    let mut changes = Changes { applied: Vec::new(), restart: waiting };
    for (group, key, _) in changed {
        let list = if held.contains(&group) { &mut changes.restart } else { &mut changes.applied };
        list.push(key);
    }
    (changes, held)
}

/// What is written in the files, for comparison.
struct Written {
    /// By form and id.
    sections: BTreeMap<(String, Option<String>), BTreeMap<&'static str, Value>>,
    /// Digests of the files that keys name.
    files: HashMap<String, u64>,
}

impl Written {
    fn has_lan(&self, name: &str) -> bool {
        self.sections.contains_key(&("lan".to_owned(), Some(name.to_owned())))
    }

    fn of(config: &Config) -> Self {
        let section = |stored: &Stored| {
            let id = stored.id().map(str::to_owned);
            let entries = stored.entries.iter();
            let entries = entries.map(|entry| (entry.key, entry.value.json())).collect();
            ((stored.form.name.to_owned(), id), entries)
        };
        let sections = config.tree.sections.iter().map(section).collect();
        let named = config.tree.named.borrow();
        let files = named.iter().map(|it| (it.key.clone(), it.digest)).collect();
        Self { sections, files }
    }
}

fn group(form: &str, id: Option<&str>) -> Group {
    match (form, id) {
        ("wan.http-push", _) => "wan".to_owned(),
        ("lan", Some(id)) => format!("lan.{id}"),
        _ => form.to_owned(),
    }
}

fn group_of(key: &str) -> Group {
    match keys::parse_path(key) {
        Some((form, id, _)) => group(form.name, id),
        None => String::new(),
    }
}
