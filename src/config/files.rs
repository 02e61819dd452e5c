//! The files that a configuration names, as far as they can be told, whether it is valid or not:
//! for checks that must not stop at the first fault.

use super::layers::Layout;
use super::tree::Place;
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

/// The files of the configuration whose main file is at `path`, of all layers, in the order in which
/// they count. The main file is among them also where it cannot be read.
pub fn written(path: &Path) -> Vec<PathBuf> {
    let (tree, errors) = Layout::of(path).read_all("");
    let mut files: Vec<_> = tree.files.into_iter().map(|file| file.path).collect();
    if !files.iter().any(|file| file == path) && errors.iter().any(|error| error.file() == path) {
        files.insert(0, path.to_owned());
    }
    files
}

/// The files that these files name, but where a later one overrides it. Those of credentials, which
/// systemd hands over, are not among them.
pub fn named(path: &Path) -> Vec<Named> {
    let (tree, _) = Layout::of(path).read_all("");
    let entries = tree.sections.iter().flat_map(|stored| &stored.entries);
    let earlier = entries.flat_map(|entry| entry.earlier.iter().map(|(_, place)| *place));
    let overridden: Vec<Place> = earlier.collect();
    let mut found = Vec::new();
    for (number, file) in tree.files.iter().enumerate() {
        let is_overridden = |at: usize| overridden.contains(&Place { file: number, at });
        if let Ok(tables) = DeTable::parse(&file.text) {
            walk(tables.get_ref(), &file.base, &is_overridden, &mut found);
        }
    }
    found
}

fn walk(
    table: &DeTable<'_>,
    base: &Path,
    is_overridden: &dyn Fn(usize) -> bool,
    found: &mut Vec<Named>,
) {
    for (key, value) in table {
        let places = [key.span().start, value.span().start];
        let key = key.get_ref();
        match value.get_ref() {
            DeValue::Table(table) => walk(table, base, is_overridden, found),
            DeValue::Array(values) => {
                for table in values.iter().filter_map(|value| value.get_ref().as_table()) {
                    walk(table, base, is_overridden, found);
                }
            }
            DeValue::String(text) => {
                let Some(role) = role(key, text) else { continue };
                if places.into_iter().any(is_overridden) {
                    continue;
                }
                found.push(Named { path: base.join(text.as_ref()), role, key: key.to_string() });
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
        _ if value.starts_with("credential:") || value.starts_with(super::CREDENTIALS) => None,
        "key" | "client-key" | "bootstrap-key" => Some(Role::Secret),
        _ if key.ends_with("-file") => Some(Role::Secret),
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
                    [bootstrap]\nuser-pin-file = \"/run/credentials/dm-gateway.service/pin\"\n\
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

    #[test]
    fn files_are_found_in_all_layers_but_where_a_later_one_overrides_them() {
        let directory = tempfile::tempdir().unwrap();
        let below = |name: &str| directory.path().join(name);
        for (name, text) in [
            (
                "main.toml",
                "[gateway]\nid = \"a\"\nstate-dir = \"state\"\n[wan.http-push]\ntoken-file = \"old\"\n",
            ),
            ("conf.d/10.toml", "[wan.http-push]\ntoken-file = \"new\"\n"),
            ("state/provisioned/config.toml", "[[server]]\nid = \"x\"\ntrust = \"/ca.pem\"\n"),
            ("state/config/applied.toml", "[bootstrap]\nuser-pin-file = \"pin\"\n"),
        ] {
            std::fs::create_dir_all(below(name).parent().unwrap()).unwrap();
            std::fs::write(below(name), text).unwrap();
        }
        let main = below("main.toml");
        let names: Vec<_> = named(&main).into_iter().map(|it| it.path).collect();
        assert_eq!(names, [below("new"), PathBuf::from("/ca.pem"), below("pin")]);
        let files = [
            "main.toml",
            "conf.d/10.toml",
            "state/provisioned/config.toml",
            "state/config/applied.toml",
        ];
        assert_eq!(written(&main), files.map(below));
        assert_eq!(written(&below("none.toml")), [below("none.toml"), below("conf.d/10.toml")]);
    }
}
