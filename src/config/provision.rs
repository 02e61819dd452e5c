//! `[provision]`: whose signed bundles are taken.

use super::section::ConfigError;
use super::tree::Tree;
use super::{get, path};
use crate::io::seal::PublicKey;
use std::path::PathBuf;

/// `[provision]`.
#[derive(Clone, Debug, Default)]
pub struct Provision {
    /// `signers`.
    pub signers: Vec<PublicKey>,
    /// `mount`.
    pub mount: Option<PathBuf>,
}

pub(super) fn provision(tree: &Tree) -> Result<Provision, ConfigError> {
    let section = tree.section("provision");
    let mut signers = Vec::new();
    if let Some(value) = get(section, "signers") {
        for (value, text) in value.texts()? {
            let signer = PublicKey::parse(text).ok_or_else(|| {
                let advice = "`\"ed25519:…\"`, as `dm-gateway provision key FILE` prints it";
                value.error("is no public key", advice)
            })?;
            signers.push(signer);
        }
    }
    let mount = get(section, "mount").map(|value| path(&value)).transpose()?;
    Ok(Provision { signers, mount })
}
