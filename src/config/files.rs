//! The files that a configuration names, as far as they can be told, whether it is valid or not:
//! for checks that must not stop at the first fault.

use super::layers::Layout;
use crate::io::read_bounded;
use crate::limits;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// One file that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its path.
    pub path: PathBuf,
    /// What it is for.
    pub role: Role,
    /// The key that names it.
    pub key: String,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A key, pin, token or password.
    Secret,
    /// Certificates.
    Certificate,
    /// DHCP leases.
    Leases,
}

/// The files that the configuration at `path` names, and its drop-ins. Those of credentials, which
/// systemd hands over, are not among them.
pub fn named(path: &Path) -> Vec<Named> {
    let mut found = Vec::new();
    let drop_ins = Layout::of(path).drop_ins();
    let drop_ins = std::fs::read_dir(drop_ins).into_iter().flatten().flatten();
    let drop_ins = drop_ins.map(|entry| entry.path());
    let drop_ins = drop_ins.filter(|file| file.extension().is_some_and(|it| it == "toml"));
    for file in [path.to_owned()].into_iter().chain(drop_ins) {
        let octets = read_bounded(&file, limits::CONFIG_FILE).unwrap_or_default();
        let Ok(text) = String::from_utf8(octets) else { continue };
        if let Ok(tables) = DeTable::parse(&text) {
            walk(tables.get_ref(), &file, &mut found);
        }
    }
    found
}

fn walk(table: &DeTable<'_>, origin: &Path, found: &mut Vec<Named>) {
    for (key, value) in table {
        let key = key.get_ref();
        match value.get_ref() {
            DeValue::Table(table) => walk(table, origin, found),
            DeValue::Array(values) => {
                for table in values.iter().filter_map(|value| value.get_ref().as_table()) {
                    walk(table, origin, found);
                }
            }
            DeValue::String(text) => {
                let Some(role) = role(key, text) else { continue };
                let path = origin.parent().unwrap_or_else(|| Path::new("")).join(text.as_ref());
                found.push(Named { path, role, key: key.to_string() });
            }
            _ => {}
        }
    }
}

fn role(key: &str, value: &str) -> Option<Role> {
    match key {
        "lease-file" => Some(Role::Leases),
        "trust" if value == "system" || value.starts_with("sha256:") => None,
        "trust" | "certificate" | "client-certificate" | "client-ca" | "bootstrap-certificate" => {
            Some(Role::Certificate)
        }
        "key" | "client-key" | "bootstrap-key" => Some(Role::Secret),
        _ if key.ends_with("-file") && !value.starts_with("credential:") => Some(Role::Secret),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_sections_of_every_kind_even_of_an_invalid_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        let text = "[gateway]\nid = 7\n[[lan]]\nlease-file = \"leases\"\n[wan.http-push]\n\
                    key = \"/k.pem\"\ntoken-file = \"credential:token\"\n\
                    [[server]]\ntrust = \"ca.pem\"\n[[server]]\ntrust = \"system\"\n";
        std::fs::write(&path, text).unwrap();
        let mut found: Vec<_> = named(&path).into_iter().map(|it| (it.path, it.role)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let beside = |name: &str| directory.path().join(name);
        let mut expected = vec![
            (PathBuf::from("/k.pem"), Role::Secret),
            (beside("ca.pem"), Role::Certificate),
            (beside("leases"), Role::Leases),
        ];
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, expected);
        assert_eq!(named(&beside("none")), []);
    }
}
