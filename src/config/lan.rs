//! `[[lan]]`.

use super::http_push::tls;
use super::section::{ConfigError, Section};
use super::tree::Tree;
use super::{LanConfig, PUSH_PORT, interface, path, some, twice, value};
use crate::gateway::policy::{DeviceAuth, Policy, Verify};
use crate::gateway::{Detect, LanOptions};
use crate::io::tls_server::TlsServer;
use crate::limits;
use crate::proto::bootstrap::Profile;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn lans(
    tree: &Tree,
    wan_interface: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<LanOptions>, Vec<LanConfig>), ConfigError> {
    let sections = tree.sections("lan");
    if sections.is_empty() {
        let advice = "`[[lan]]` with `name`, `interface` and `listen`";
        return Err(ConfigError::of_file(tree.main(), "there is no section [[lan]]", advice));
    }
    let (mut options, mut configs) = (Vec::<LanOptions>::new(), Vec::new());
    let mut seen = HashSet::new();
    for section in sections {
        let mut lan = lan_options(&section)?;
        lan.policy_locked = tree.lock_of(&format!("lan.{}.policy", lan.name)).is_some();
        if options.iter().any(|other| other.name == lan.name) {
            let value = section.need("name", "")?;
            return Err(value.error("is the name of another LAN too", "a name of its own"));
        }
        // Where the kernel's neighbour table counts, an interface says which LAN it is.
        let mut others = options.iter().filter(|other| other.interface == lan.interface);
        if others.any(|other| [other.verify, lan.verify].contains(&Verify::Neighbour)) {
            let value = section.need("interface", "")?;
            let problem = "is the interface of another LAN too";
            return Err(value.error(problem, "one [[lan]] for each interface"));
        }
        let value = section.need("listen", "\"192.168.1.1:8080\"")?;
        let mut listen = Vec::new();
        for (value, text) in some(&value, "the gateway's address on this LAN, with a port")? {
            let address = value::listen_address(&value, text)?;
            // A wildcard listens on the LAN's interface only.
            let on = address.ip().is_unspecified().then(|| lan.interface.clone());
            if address.port() == 0 {
                let name = &lan.name;
                warnings
                    .push(format!("LAN {name} listens at port 0, any port: no device knows it"));
            } else if !seen.insert((address, on)) {
                return Err(twice(&value, address));
            }
            listen.push(address);
        }
        let lease_file = section.get("lease-file").map(|value| path(&value)).transpose()?;
        warn_of_lan(&lan, lease_file.is_some(), wan_interface, warnings);
        lan.listen.clone_from(&listen);
        let bootstrap_tls = bootstrap(&section, &mut lan, &listen, warnings)?;
        if lan.provision && !lan.trusted_link && lan.bootstrap_listen.is_empty() {
            let value = section.need("provision", "")?;
            let advice = "`trusted-link = true` if nobody else is on it, or `bootstrap-listen`";
            return Err(value.error("has no way to get secrets to a device", advice));
        }
        options.push(lan);
        configs.push(LanConfig { listen, lease_file, bootstrap_tls });
    }
    Ok((options, configs))
}

fn lan_options(section: &Section<'_>) -> Result<LanOptions, ConfigError> {
    let name = section.need("name", "\"radios\"")?;
    let text = name.text()?;
    let blank = |c: char| c.is_whitespace() || c.is_control();
    if text.len() > limits::LAN_NAME || text.chars().any(blank) {
        let advice = format!("1 to {} octets without blanks", limits::LAN_NAME);
        return Err(name.error("is not a name", &advice));
    }
    Ok(LanOptions {
        name: text.into(),
        interface: interface(&section.need("interface", "\"br-lan\"")?)?,
        policy: match section.get("policy") {
            Some(value) => {
                let policies = [Policy::Ignore, Policy::Bootstrap, Policy::Transparent];
                value.choice(&policies.map(|policy| (policy.name(), policy)))?
            }
            None => Policy::default(),
        },
        detect: detect(section)?,
        verify: match section.get("verify") {
            Some(value) => {
                value.choice(&[("neighbour", Verify::Neighbour), ("none", Verify::None)])?
            }
            None => Verify::default(),
        },
        device_auth: match section.get("device-auth") {
            Some(value) => value.choice(&[
                ("none", DeviceAuth::None),
                ("basic", DeviceAuth::Basic),
                ("md5", DeviceAuth::Md5),
            ])?,
            None => DeviceAuth::default(),
        },
        push_port: match section.get("push-port") {
            Some(value) => value.integer(1..=u16::MAX.into())? as u16,
            None => PUSH_PORT,
        },
        request_interval: match section.get("request-rate") {
            Some(value) => value::interval(&value)?,
            None => Some(Duration::from_secs(1) / limits::REQUEST_RATE),
        },
        request_burst: match section.get("request-burst") {
            Some(value) => value.integer(1..=limits::LARGEST_REQUEST_BURST.into())? as u32,
            None => limits::REQUEST_BURST,
        },
        policy_locked: false,
        listen: Vec::new(),
        trusted_link: boolean(section, "trusted-link")?,
        provision: boolean(section, "provision")?,
        bootstrap_profile: match section.get("bootstrap-profile") {
            Some(value) => value.choice(&[("dm", Profile::Dm), ("cp", Profile::Cp)])?,
            None => Profile::Dm,
        },
        bootstrap_listen: Vec::new(),
    })
}

/// Reads `bootstrap-listen` into `lan`, and what is shown there.
fn bootstrap(
    section: &Section<'_>,
    lan: &mut LanOptions,
    listen: &[SocketAddr],
    warnings: &mut Vec<String>,
) -> Result<Option<TlsServer>, ConfigError> {
    let keys = ("bootstrap-certificate", "bootstrap-key", None);
    let tls = tls(section, keys, warnings)?;
    let name = &lan.name;
    let Some(value) = section.get("bootstrap-listen") else {
        if tls.is_some() {
            warnings.push(format!(
                "LAN {name}: bootstrap-certificate has no effect without bootstrap-listen"
            ));
        }
        return Ok(None);
    };
    if tls.is_none() {
        let advice = "`bootstrap-certificate` and `bootstrap-key`";
        return Err(value.error("has no certificate to show", advice));
    }
    if lan.trusted_link {
        warnings.push(format!(
            "LAN {name} has a bootstrap-listen and is a trusted-link: accounts are pushed there, \
             not fetched"
        ));
    }
    for (value, text) in some(&value, "the gateway's address on this LAN, with a port")? {
        let address = value::listen_address(&value, text)?;
        if address.ip().is_unspecified() {
            let advice = "the gateway's own address on this LAN: devices are told it";
            return Err(value.error("holds no address of this LAN", advice));
        }
        if listen.contains(&address) || lan.bootstrap_listen.contains(&address) {
            return Err(twice(&value, address));
        }
        lan.bootstrap_listen.push(address);
    }
    Ok(tls)
}

/// A truth, false by default.
fn boolean(section: &Section<'_>, key: &'static str) -> Result<bool, ConfigError> {
    section.get(key).map_or(Ok(false), |value| value.boolean())
}

fn detect(section: &Section<'_>) -> Result<Detect, ConfigError> {
    let has_file = section.get("lease-file").is_some();
    let Some(value) = section.get("detect") else {
        return Ok(Detect { neighbours: true, leases: has_file, configured: true });
    };
    let mut detect = Detect::default();
    for (value, _) in value.texts()? {
        let names = [("neighbours", 0), ("leases", 1), ("static", 2)];
        match value.choice(&names)? {
            0 => detect.neighbours = true,
            1 if !has_file => {
                let problem = "holds \"leases\", and there is no `lease-file`";
                return Err(value.error(problem, "`lease-file = \"/tmp/dhcp.leases\"`"));
            }
            1 => detect.leases = true,
            _ => detect.configured = true,
        }
    }
    Ok(detect)
}

fn warn_of_lan(
    lan: &LanOptions,
    has_lease_file: bool,
    wan_interface: Option<&str>,
    warnings: &mut Vec<String>,
) {
    let name = &lan.name;
    let is_loopback = lan.interface == "lo";
    if lan.device_auth == DeviceAuth::Basic {
        warnings.push(format!(
            "LAN {name} has device-auth \"basic\": secrets cross it in clear, \"md5\" is safer"
        ));
    }
    if lan.verify == Verify::None && !is_loopback {
        warnings.push(format!(
            "LAN {name} has verify \"none\": a device may pass itself off as another one"
        ));
    }
    if has_lease_file && !lan.detect.leases {
        warnings.push(format!("LAN {name} has a lease-file that its detect does not use"));
    }
    if wan_interface == Some(&*lan.interface) && !is_loopback {
        warnings.push(format!(
            "LAN {name} is on the WAN's interface {}: its devices can push too",
            lan.interface
        ));
    }
}
