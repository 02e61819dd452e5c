//! Everything known about one end device or one DM server, with what is odd and what to do.

use crate::codes::{self, Trouble};
use crate::gateway::Gateway;
use crate::gateway::alert::ServerId;
use crate::gateway::device::{Device, Record};
use crate::gateway::management::Sessions;
use crate::gateway::seam::Now;
use crate::gateway::view::{DeviceView, Explanation, ServerView};
use crate::limits;
use serde::{Deserialize, Serialize};

/// Everything known about one end device.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct DeviceDetails {
    /// What the list of all devices tells of it.
    #[serde(flatten)]
    pub device: DeviceView,
    /// For each server that it named, whether a push would pass.
    pub pushes: Vec<Explanation>,
    /// What is odd about it, and what to do.
    pub troubles: Vec<Trouble>,
}

/// Everything known about one DM server.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ServerDetails {
    /// What the list of all servers tells of it.
    #[serde(flatten)]
    pub server: ServerView,
    /// Whether the gateway has an account with it.
    pub account: bool,
    /// Where the account goes, without a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whether a session with it runs.
    #[serde(default)]
    pub running: bool,
    /// How the last session with it ended; absent if none did since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionView>,
    /// When the next one is to begin, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextView>,
    /// Sessions, or searches for an account, that failed in a row.
    #[serde(default)]
    pub failures: u32,
    /// For each device that names it, whether a push would pass.
    pub pushes: Vec<Explanation>,
    /// What is odd about it, and what to do.
    pub troubles: Vec<Trouble>,
}

/// A session with a DM server that ended.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct SessionView {
    /// How long ago.
    pub age: u64,
    /// Whether as it should.
    pub ok: bool,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// A session with a DM server that is to begin.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct NextView {
    /// After how many seconds.
    pub wait: u64,
    /// Why, for people.
    pub why: String,
}

impl Gateway {
    /// One end device, by its id, an alias, or a part of the id that no other device has.
    ///
    /// # Errors
    /// A sentence, if there is none or if it could be several.
    pub fn device_details(&self, id: &str, now: Now) -> Result<DeviceDetails, String> {
        let known = self.find_by_header(id, &mut String::new());
        let device = match known.and_then(|key| self.inventory.device(key)) {
            Some(device) => self.device(device, now),
            None => only(id, self.devices(now), |device| &device.id, "device", "devices")?,
        };
        let servers = device.servers.iter();
        Ok(DeviceDetails {
            pushes: servers.map(|server| self.explain(server, &device.id)).collect(),
            troubles: troubles_of_device(&device),
            device,
        })
    }

    /// One DM server, by its id or a part of it that no other server has.
    ///
    /// # Errors
    /// A sentence, if there is none or if it could be several.
    pub fn server_details(&self, id: &str, now: Now) -> Result<ServerDetails, String> {
        let servers = self.servers(now);
        let exact = servers.iter().find(|server| server.id == id).cloned();
        let server = match exact {
            Some(server) => server,
            None => only(id, servers, |server| &server.id, "DM server", "servers")?,
        };
        let mut pushes = Vec::new();
        for (_, device) in self.inventory.iter() {
            if device.names(&server.id) {
                pushes.push(self.explain(&server.id, &device.record.id.to_string()));
            }
        }
        pushes.sort_by(|a, b| a.device.cmp(&b.device));
        let account = self.management.has_account(&server.id);
        // What stands behind the `?` may be a token.
        let url = self.management.account_url(&server.id);
        let url = url.map(|url| url.split('?').next().unwrap_or_default().to_owned());
        let Sessions { running, session, next, failures } =
            self.management.sessions_of(&server.id, now);
        let troubles = troubles_of_server(&server);
        Ok(ServerDetails {
            account,
            url,
            running,
            session,
            next,
            failures,
            pushes,
            troubles,
            server,
        })
    }

    /// Servers whose pushes for a device pass.
    pub(super) fn allowed<'d>(&self, device: &'d Device) -> impl Iterator<Item = &'d ServerId> {
        let Record { id, list, ruling, .. } = &device.record;
        let key = self.find_by_header(id.as_str(), &mut String::new());
        let named = list.as_ref().map_or(&[][..], |list| &list.servers);
        let added = ruling.added.iter().filter(|it| !named.contains(it));
        named.iter().chain(added).filter(move |it| self.judge(it.as_str(), key).is_ok())
    }
}

/// The only one whose id has `part` in it.
fn only<T>(
    part: &str,
    all: Vec<T>,
    id: impl Fn(&T) -> &String,
    what: &str,
    command: &str,
) -> Result<T, String> {
    let lower = part.to_ascii_lowercase();
    let is = |it: &T| !part.is_empty() && id(it).to_ascii_lowercase().contains(&lower);
    let mut found: Vec<T> = all.into_iter().filter(is).collect();
    match found.len() {
        0 => Err(format!("no {what} {part} is known; try: dm-gateway {command}")),
        1 => Ok(found.remove(0)),
        number => {
            let names = found.iter().take(limits::NAMES_TOLD).map(|it| id(it).as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            let more = if number > limits::NAMES_TOLD { ", …" } else { "" };
            Err(format!("{part} could be {number} of them: {names}{more}; try: the whole id"))
        }
    }
}

fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

fn troubles_of_device(device: &DeviceView) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let Some(rival) = &device.conflict {
        let mac = rival.mac.as_deref().map_or_else(String::new, |mac| format!(" ({mac})"));
        let sentence = format!(
            "another device claims this identity; cause: it speaks from {}{mac}, {}, last {} s \
             ago; pushes still go to the one that was here first; try: find out what is at \
             {}; if it is the real one, take the other off the LAN",
            rival.address,
            times(rival.count),
            rival.age,
            rival.address
        );
        troubles.push(Trouble::new(codes::CONFLICT, &sentence));
    }
    if !device.named && device.servers.is_empty() {
        let cause = match device.detection {
            Some(200) | None => "it has not opened a session with the gateway".to_owned(),
            Some(code) => format!("it answered the Device Detection Alert with {code}"),
        };
        let sentence = format!(
            "it has named no DM server; cause: {cause}; try: dm-gateway devices provision {}, if \
             it is a DM client at all",
            device.id
        );
        troubles.push(Trouble::new(codes::SILENT, &sentence));
    }
    if device.unconfirmed {
        let sentence = "it has since sent empty lists of servers; cause: a reset, or a client \
                        that tells its list only once; try: wait for its next session; what it \
                        named before stays until then";
        troubles.push(Trouble::new(codes::UNCONFIRMED, sentence));
    }
    troubles
}

fn troubles_of_server(server: &ServerView) -> Vec<Trouble> {
    let why = server.why.as_deref().unwrap_or("no reason is known");
    let id = &server.id;
    match server.state.as_str() {
        "failed" => {
            let sentence = format!("the last session or search failed; cause: {why}");
            let next = format!("dm-gateway session {id} --wait");
            let code = server.code.as_deref().and_then(codes::find).unwrap_or(&codes::SESSION);
            vec![Trouble::new(*code, &sentence).or_try(&next)]
        }
        "pending-approval" => {
            let sentence = format!(
                "devices ask for this server and nobody has allowed it; try: dm-gateway servers \
                 approve {id}"
            );
            vec![Trouble::new(codes::WANTED, &sentence)]
        }
        "wanted" => {
            let sentence =
                format!("devices ask for this server and it has no account; cause: {why}");
            let next = "dm-gateway bootstrap apply FILE";
            vec![Trouble::new(codes::NO_ACCOUNT, &sentence).or_try(next)]
        }
        _ => Vec::new(),
    }
}
