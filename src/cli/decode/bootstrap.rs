//! `decode` of bootstrap documents: the accounts in them, without their secrets.

use super::Dump;
use crate::proto::bootstrap::{self, Account, Profile, Source, push::Received};
use crate::proto::syncml::Encoding;
use std::io;

/// Whether a text looks like a bootstrap document that is no SyncML message.
pub(super) fn is_markup(text: &str) -> bool {
    text.contains("<MgmtTree") || text.contains("<wap-provisioningdoc")
}

/// Whether WBXML is a serialised tree: no message, and yet it makes accounts.
pub(super) fn is_tree(octets: &[u8]) -> bool {
    Encoding::Wbxml.decode(octets).is_err() && bootstrap::read(octets, Source::Factory).is_ok()
}

/// The accounts that a message would make if it came as a bootstrap, where it would make any.
pub(super) fn within_message(dump: &mut Dump<'_>, octets: &[u8]) -> io::Result<()> {
    let Ok(accounts) = bootstrap::read(octets, Source::Factory) else { return Ok(()) };
    dump.line(format_args!("as a bootstrap document:"))?;
    dump.depth += 1;
    for it in &accounts {
        account(dump, it)?;
    }
    dump.depth -= 1;
    Ok(())
}

/// A document, and its accounts.
pub(super) fn document(dump: &mut Dump<'_>, octets: &[u8]) -> io::Result<()> {
    dump.line(format_args!("bootstrap document, {} octets", octets.len()))?;
    dump.depth += 1;
    match bootstrap::read(octets, Source::Factory) {
        Ok(accounts) => {
            for it in &accounts {
                account(dump, it)?;
            }
        }
        Err(fault) => dump.violation(format_args!("{fault}"))?,
    }
    dump.depth -= 1;
    Ok(())
}

/// A document that was pushed: what proves it comes first.
pub(super) fn pushed(dump: &mut Dump<'_>, received: &Received<'_>) -> io::Result<()> {
    let profile = if received.profile == Profile::Cp { "client provisioning" } else { "OMA DM" };
    dump.line(format_args!("bootstrap by {profile}"))?;
    match &received.security {
        None => dump.violation(format_args!("no SEC that is known: nothing proves it"))?,
        Some(security) => {
            let method = security.method.name(received.profile);
            let mac = if security.mac.is_some() { "with a MAC" } else { "without a MAC" };
            dump.line(format_args!("SEC {method}, {mac}"))?;
        }
    }
    document(dump, received.document)
}

fn account(dump: &mut Dump<'_>, account: &Account) -> io::Result<()> {
    dump.line(format_args!("account with {}", account.server_id))?;
    dump.depth += 1;
    if let Some(name) = &account.name {
        dump.line(format_args!("name {name}"))?;
    }
    for address in &account.addresses {
        let url = address.url();
        dump.line(format_args!("address {}", dump.uri(&url)))?;
    }
    for it in &account.credentials {
        let name = it.name.as_deref().map(|name| format!(" as {name}")).unwrap_or_default();
        let secret = if it.secret.is_some() { "" } else { ", no secret" };
        dump.line(format_args!("{} {}{name}{secret}", it.level.name(), it.kind.name()))?;
    }
    dump.depth -= 1;
    Ok(())
}
