//! `[[device]]`.

use super::section::{ConfigError, Section, shown};
use super::tree::Tree;
use super::{secret_path, value};
use crate::gateway::device::DeviceId;
use crate::gateway::policy::DeviceAuth;
use crate::gateway::seam::LanId;
use crate::gateway::{Account, LanOptions};
use crate::limits;
use crate::proto::auth::Secret;
use std::collections::HashSet;

pub(super) fn devices(
    tree: &Tree,
    lans: &[LanOptions],
    warnings: &mut Vec<String>,
) -> Result<Vec<Account>, ConfigError> {
    let (mut ids, mut addresses) = (HashSet::new(), HashSet::new());
    let mut accounts = Vec::new();
    for section in tree.sections("device") {
        if accounts.len() >= limits::DEVICES {
            let problem = format!("there are more than {} [[device]]", limits::DEVICES);
            return Err(section.error(problem, "fewer"));
        }
        let (account, lan) = device(&section, lans, warnings)?;
        if !ids.insert(account.id.normal().to_owned()) {
            let value = section.need("id", "")?;
            return Err(value.error("is the id of another device too", "one [[device]] for each"));
        }
        if let Some(value) = section.get("address") {
            if !addresses.insert((lan.0, account.address)) {
                let problem = "is the address of another device too";
                return Err(value.error(problem, "the device's own address"));
            }
        }
        warn_of_device(&account, &lans[lan.0], warnings);
        accounts.push(account);
    }
    for (index, lan) in lans.iter().enumerate() {
        let known = || accounts.iter().any(|account| account.lan == Some(LanId(index)));
        if lan.device_auth != DeviceAuth::None && !known() && !gives_accounts(lan) {
            let name = &lan.name;
            warnings.push(format!("LAN {name} asks for credentials, and no [[device]] has any"));
        }
    }
    Ok(accounts)
}

fn device(
    section: &Section<'_>,
    lans: &[LanOptions],
    warnings: &mut Vec<String>,
) -> Result<(Account, LanId), ConfigError> {
    let value = section.need("id", "\"mac:01-ab-34-ef-69-0c\"")?;
    let text = value.text()?;
    let id = DeviceId::parse(text)
        .filter(|id| id.mac().is_some() || !id.normal().starts_with("mac:"))
        .ok_or_else(|| {
            let advice = "\"mac:01-ab-34-ef-69-0c\", \"IMEI:490154203237518\" or a URN, without \
                          blanks, at most 255 octets";
            value.error(format!("is {}, not a device id", shown(text)), advice)
        })?;
    let lan = match section.get("lan") {
        Some(value) => {
            let names: Vec<_> = lans.iter().zip(0..).map(|(lan, i)| (&*lan.name, i)).collect();
            value.choice(&names)?
        }
        None if lans.len() == 1 => 0,
        None => {
            let problem = format!("device {id} has no `lan`, and there are {}", lans.len());
            return Err(section.error(problem, &format!("`lan = \"{}\"`", lans[0].name)));
        }
    };
    let mut secret = |key| {
        let Some(value) = section.get(key) else { return Ok(None) };
        let path = secret_path(&value)?;
        let (secret, is_public) = value::secret(&value, &path)?;
        if is_public {
            let path = path.display();
            warnings.push(format!("everybody may read {path}: chmod o-r {path}"));
        }
        Ok(Some(Secret::new(secret)))
    };
    let account = Account {
        lan: Some(LanId(lan)),
        address: section.get("address").map(|value| value::device_address(&value)).transpose()?,
        user: match section.get("user") {
            Some(value) => value.text()?.to_owned(),
            None => id.as_str().to_owned(),
        },
        secret: secret("secret-file")?,
        server_secret: secret("server-secret-file")?,
        pin: secret("pin-file")?,
        id,
    };
    Ok((account, LanId(lan)))
}

/// Whether devices of a LAN may get their secrets from us.
fn gives_accounts(lan: &LanOptions) -> bool {
    lan.trusted_link || !lan.bootstrap_listen.is_empty()
}

fn warn_of_device(account: &Account, lan: &LanOptions, warnings: &mut Vec<String>) {
    let (id, name) = (&account.id, &lan.name);
    if lan.device_auth != DeviceAuth::None && account.secret.is_none() && !gives_accounts(lan) {
        warnings.push(format!(
            "device {id} has no secret-file: it cannot prove itself on LAN {name}, which asks \
             for credentials"
        ));
    }
    if account.address.is_some() && !lan.detect.configured {
        warnings.push(format!(
            "device {id} has an address that LAN {name} does not use: its detect lacks \"static\""
        ));
    }
}
