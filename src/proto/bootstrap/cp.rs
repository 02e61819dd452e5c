//! The CP profile: `wap-provisioningdoc` with APPLICATION w7.
//!
//! (OMA-WAP-TS-ProvCont 1.1; the mapping to DMAcc: OMA-TS-DM_Bootstrap 1.2.1, 5.3.) Everything else
//! in a provisioning document (access points, proxies, other applications) is skipped; TO-NAPID
//! and TO-PROXY stay names of connectivity.

use super::Fault;
use super::account::{Account, AuthenticationKind, Credential, Level, LooseAddress, Source};
use super::markup::Element;
use super::wbxml::ProvWriter;
use crate::limits;
use crate::proto::auth::{Secret, base64_decoded, base64_of};

/// Writes the provisioning document (WBXML) that gives a device `account`. The nonces go as base64.
/// What the profile has no parameter for is left out: the preferred authentication, the ACL, the
/// message size, credentials of the HTTP level.
pub fn write(account: &Account) -> Vec<u8> {
    ProvWriter::document(|writer| {
        writer.characteristic("APPLICATION", |writer| {
            writer.parm("APPID", "w7");
            writer.parm("PROVIDER-ID", &account.server_id);
            if let Some(name) = &account.name {
                writer.parm("NAME", name);
            }
            for reference in account.preferred_connection.iter().chain(&account.connections) {
                writer.parm("TO-NAPID", reference);
            }
            for address in &account.addresses {
                writer.characteristic("APPADDR", |writer| {
                    writer.parm("ADDR", &address.text);
                    writer.parm("ADDRTYPE", &address.kind.name().to_ascii_uppercase());
                    for port in &address.ports {
                        writer.characteristic("PORT", |writer| {
                            writer.parm("PORTNBR", &port.to_string());
                        });
                    }
                });
            }
            for credential in &account.credentials {
                let level = match credential.level {
                    Level::Client => "APPSRV",
                    Level::Server => "CLIENT",
                    Level::Obex => "OBEX",
                    Level::Http => continue,
                };
                writer.characteristic("APPAUTH", |writer| {
                    writer.parm("AAUTHLEVEL", level);
                    writer.parm("AAUTHTYPE", credential.kind.name());
                    if let Some(name) = &credential.name {
                        writer.parm("AAUTHNAME", name);
                    }
                    if let Some(secret) = &credential.secret {
                        writer.parm("AAUTHSECRET", secret.expose());
                    }
                    if let Some(nonce) = &credential.nonce {
                        writer.parm("AAUTHDATA", &base64_of(nonce));
                    }
                });
            }
        });
    })
}

/// The accounts of a provisioning document: its applications w7.
pub(super) fn accounts(root: &Element, source: Source) -> Result<Vec<Account>, Fault> {
    let mut accounts = Vec::new();
    for application in characteristics(root, "APPLICATION") {
        if !parm(application, "APPID").eq_ignore_ascii_case("w7") {
            continue;
        }
        if accounts.len() >= limits::ACCOUNTS {
            return Err(Fault::TooMany("accounts"));
        }
        accounts.push(account(application, source)?);
    }
    Ok(accounts)
}

fn account(application: &Element, source: Source) -> Result<Account, Fault> {
    let mut account = Account::new(parm(application, "PROVIDER-ID"), source);
    account.name = some(parm(application, "NAME"));
    account.acl = (!account.server_id.is_empty()).then(|| {
        let id = &account.server_id;
        format!("Get={id}&Replace={id}&Delete={id}")
    });
    // A proxy goes before an access point: it names one itself.
    let mut connections: Vec<String> = ["TO-PROXY", "TO-NAPID"]
        .into_iter()
        .flat_map(|name| parms(application, name))
        .map(str::to_owned)
        .filter(|text| !text.is_empty())
        .collect();
    if !connections.is_empty() {
        account.preferred_connection = Some(connections.remove(0));
        account.connections = connections;
    }
    let mut addresses: Vec<LooseAddress> = Vec::new();
    for element in characteristics(application, "APPADDR") {
        addresses.push(LooseAddress {
            text: parm(element, "ADDR").to_owned(),
            kind: parm(element, "ADDRTYPE").to_owned(),
            ports: ports(element, &account)?,
        });
    }
    for text in parms(application, "ADDR") {
        let ports = ports(application, &account)?;
        addresses.push(LooseAddress { text: text.to_owned(), kind: String::new(), ports });
    }
    account.addresses = addresses
        .into_iter()
        .filter(|address| !address.text.is_empty())
        .filter_map(LooseAddress::address)
        .collect();
    for element in characteristics(application, "APPAUTH") {
        account.credentials.push(credential(element, &account)?);
    }
    account.check()?;
    Ok(account)
}

/// The ports of an address: a PORTNBR in each PORT, or directly.
fn ports(element: &Element, account: &Account) -> Result<Vec<u16>, Fault> {
    let inside = characteristics(element, "PORT").flat_map(|port| parms(port, "PORTNBR"));
    let port = |text: &str| text.parse().map_err(|_| account.fault("a port is no number"));
    inside.chain(parms(element, "PORTNBR")).map(port).collect()
}

/// Without a level it is the client's to the server, without a type a digest: never less.
fn credential(element: &Element, account: &Account) -> Result<Credential, Fault> {
    let level = match parm(element, "AAUTHLEVEL").to_ascii_uppercase().as_str() {
        "" | "APPSRV" => Level::Client,
        "CLIENT" => Level::Server,
        "OBEX" => Level::Obex,
        _ => return Err(account.fault("AAUTHLEVEL is unknown")),
    };
    let kind = match parm(element, "AAUTHTYPE") {
        "" => AuthenticationKind::Digest,
        // A list of alternatives, best one first.
        names => {
            let mut kinds = names.split(',').map(|name| AuthenticationKind::of(name.trim()));
            let is_known = |kind: &_| !matches!(kind, AuthenticationKind::Other(_));
            kinds
                .clone()
                .find(is_known)
                .or_else(|| kinds.next())
                .unwrap_or(AuthenticationKind::Digest)
        }
    };
    let data = some(parm(element, "AAUTHDATA"));
    Ok(Credential {
        level,
        kind,
        name: some(parm(element, "AAUTHNAME")),
        secret: some(parm(element, "AAUTHSECRET")).map(Secret::new),
        nonce: data
            .map(|text| base64_decoded(text.as_bytes()).unwrap_or_else(|| text.into_bytes())),
    })
}

fn characteristics<'a>(
    parent: &'a Element,
    kind: &'a str,
) -> impl Iterator<Item = &'a Element> + use<'a> {
    let is_kind =
        |it: &&Element| it.attribute("type").is_some_and(|it| it.eq_ignore_ascii_case(kind));
    parent.children("characteristic").filter(is_kind)
}

fn parms<'a>(parent: &'a Element, name: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
    let is_name =
        |it: &&Element| it.attribute("name").is_some_and(|it| it.eq_ignore_ascii_case(name));
    parent.children("parm").filter(is_name).map(|parm| parm.attribute("value").unwrap_or_default())
}

fn parm<'a>(parent: &'a Element, name: &'a str) -> &'a str {
    parms(parent, name).next().unwrap_or_default()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
