//! Every key of the configuration: what it takes, and when a change of it counts. What is allowed
//! in a file, `config doc`, the reference in the manual and the man page come from here.

use super::section::nearest;
use std::fmt;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The section: `gateway`, `wan.http-push`, `lan`.
    pub section: &'static str,
    /// Its name in the section.
    pub name: &'static str,
    /// What is written there.
    pub kind: Kind,
    /// What counts without it.
    pub default: Default,
    /// When a change of it counts.
    pub applies: Applies,
    /// What may be written, in words; empty if the kind says it all.
    pub range: &'static str,
    /// What it does.
    pub what: &'static str,
}

/// What is written as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text in double quotes.
    Text,
    /// A list of texts; one may stand without brackets.
    Texts,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number with or without a fraction.
    Number,
    /// Seconds, or a text such as `"15m"`.
    Time,
    /// The path of a file or directory.
    Path,
    /// A list of paths.
    Paths,
    /// The path of a file with a secret alone, or `credential:NAME`.
    Secret,
    /// The path of a file with a private key, or `credential:NAME`.
    Key,
}

impl Kind {
    /// The kind in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Texts => "text, or a list of texts",
            Self::Boolean => "true or false",
            Self::Integer => "whole number",
            Self::Number => "number",
            Self::Time => "seconds, or text such as \"90s\", \"15m\", \"2h\", \"1d\"",
            Self::Path => "path",
            Self::Paths => "path, or a list of paths",
            Self::Secret => "path of a file with the secret alone, or \"credential:NAME\"",
            Self::Key => "path, or \"credential:NAME\"",
        }
    }
}

/// What counts where a key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It must be written; a value that would do, as TOML.
    Required(&'static str),
    /// This value, as TOML.
    Value(&'static str),
    /// What these words say.
    Words(&'static str),
}

impl fmt::Display for Default {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required(example) => write!(f, "none: required, such as {example}"),
            Self::Value(value) => f.write_str(value),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// When a change of a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// At `reload`.
    Reload,
    /// When the daemon starts anew.
    Restart,
}

impl Applies {
    /// `reload` or `restart`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}

/// What a kind of section is called.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// Below another section: both names with a dot between.
    pub name: &'static str,
    /// The key that tells several of them apart; `None` if there is one only.
    pub id: Option<&'static str>,
    /// What it is for.
    pub what: &'static str,
}

impl Form {
    /// The names of its keys.
    pub fn keys(&self) -> Vec<&'static str> {
        ALL.iter().filter(|key| key.section == self.name).map(|key| key.name).collect()
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        if self.id.is_some() { write!(f, "[[{name}]]") } else { write!(f, "[{name}]") }
    }
}

impl Key {
    /// `gateway.id`, `lan.NAME.policy`: where it stands, as commands name it.
    pub fn path(&self) -> String {
        let many = form(self.section).and_then(|form| form.id);
        let id = many.map_or_else(String::new, |id| format!(".{}", id.to_uppercase()));
        format!("{}{id}.{}", self.section, self.name)
    }

    /// The node of Gw Config by which DM servers set the same.
    pub fn node(&self) -> Option<&'static str> {
        match (self.section, self.name) {
            ("gateway", "public-address") => Some("./GwConfig/PublicAddress"),
            ("gateway", "share-address") => Some("./GwConfig/ShareAddress"),
            ("lan", "policy") => Some("./GwConfig/LAN/NAME/EDBootstrapPolicy"),
            _ => None,
        }
    }

    /// The version of the program that had it first.
    pub fn since(&self) -> &'static str {
        "0.1.0"
    }
}

/// The section of a name.
pub(super) fn form(name: &str) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.name == name)
}

/// A key by its section and its name.
pub fn key(section: &str, name: &str) -> Option<&'static Key> {
    ALL.iter().find(|key| key.section == section && key.name == name)
}

/// Takes a path apart: the section, which of several, and the key in it. `gateway.id`,
/// `lan.crew.policy`, `lan.policy`, `lan.crew`, `lan`. `None` if there is no such section.
pub(super) fn parse_path(path: &str) -> Option<(&'static Form, Option<&str>, Option<&str>)> {
    let of = |form: &&Form| path == form.name || path.starts_with(&format!("{}.", form.name));
    let form = FORMS.iter().filter(of).max_by_key(|form| form.name.len())?;
    let Some(rest) = path.get(form.name.len() + 1..).filter(|rest| !rest.is_empty()) else {
        return Some((form, None, None));
    };
    if form.id.is_none() || key(form.name, rest).is_some() {
        return Some((form, None, Some(rest)));
    }
    let keys = form.keys();
    Some(match rest.rsplit_once('.') {
        // Ids have dots too: what is no slip of a key belongs to the id.
        Some((id, name)) if nearest(name, &keys).is_some() => (form, Some(id), Some(name)),
        _ => (form, Some(rest), None),
    })
}

/// The keys that a path names: one, or all of a section.
pub fn named(path: &str) -> Vec<&'static Key> {
    match parse_path(path) {
        Some((form, _, Some(name))) => key(form.name, name).into_iter().collect(),
        Some((form, _, None)) => ALL.iter().filter(|key| key.section == form.name).collect(),
        None => ALL.iter().filter(|key| key.name == path).collect(),
    }
}

/// Whether a path names one of several sections by what is rather a slip of one of their keys:
/// `lan.polcy`.
pub fn is_slip(path: &str) -> bool {
    let Some((form, Some(id), None)) = parse_path(path) else { return false };
    nearest(id, &form.keys()).is_some()
}

/// The path most like one that names nothing.
pub fn nearest_path(path: &str) -> Option<String> {
    let last = path.rsplit('.').next().unwrap_or(path);
    let names: Vec<_> = ALL.iter().map(|key| key.name).collect();
    let near = nearest(last, &names)?;
    let section = path.split('.').next().unwrap_or_default();
    let mut keys = ALL.iter().filter(|key| key.name == near);
    let fits = keys.clone().find(|key| key.section.starts_with(section));
    fits.or_else(|| keys.next()).map(Key::path)
}

/// Keys that make sense only with each other, so that what is wrong with one of them is not told
/// of the others too.
const TOGETHER: &[&[(&str, &str)]] = &[
    &[
        ("wan", "http-push-listen"),
        ("wan.http-push", "certificate"),
        ("wan.http-push", "key"),
        ("wan.http-push", "client-ca"),
        ("wan.http-push", "token-file"),
    ],
    &[
        ("lan", "bootstrap-listen"),
        ("lan", "bootstrap-certificate"),
        ("lan", "bootstrap-key"),
        ("lan", "provision"),
    ],
    &[("lan", "detect"), ("lan", "lease-file")],
    &[("server", "client-certificate"), ("server", "client-key"), ("server", "trust")],
    &[
        ("bootstrap", "client-certificate"),
        ("bootstrap", "client-key"),
        ("bootstrap", "trust"),
        ("bootstrap", "sources"),
        ("bootstrap", "modem"),
        ("bootstrap", "card-directory"),
    ],
];

/// The keys that make sense only with this one.
pub(super) fn together(section: &str, name: &str) -> &'static [(&'static str, &'static str)] {
    TOGETHER.iter().copied().find(|keys| keys.contains(&(section, name))).unwrap_or_default()
}

macro_rules! keys {
    (@default required $value:literal) => { Default::Required($value) };
    (@default value $value:literal) => { Default::Value($value) };
    (@default words $value:literal) => { Default::Words($value) };
    ($($section:literal $name:literal: $kind:ident, $how:ident $default:literal, $applies:ident,
        $range:literal, $what:literal;)*) => {
        /// Every key, by section.
        pub const ALL: &[Key] = &[$(Key {
            section: $section,
            name: $name,
            kind: Kind::$kind,
            default: keys!(@default $how $default),
            applies: Applies::$applies,
            range: $range,
            what: $what,
        }),*];
    };
}

/// Every section.
pub const FORMS: &[Form] = &[
    Form { name: "gateway", id: None, what: "the gateway itself" },
    Form { name: "wan", id: None, what: "where pushes come from" },
    Form { name: "wan.http-push", id: None, what: "pushes over HTTP" },
    Form { name: "lan", id: Some("name"), what: "one LAN with end devices; at least one" },
    Form { name: "device", id: Some("id"), what: "one end device that is known before it comes" },
    Form {
        name: "server",
        id: Some("id"),
        what: "one DM server that the gateway has an account with",
    },
    Form { name: "bootstrap", id: None, what: "how the gateway gets accounts with DM servers" },
    Form { name: "provision", id: None, what: "whose signed bundles are taken" },
    Form { name: "control", id: None, what: "where the commands find the daemon" },
    Form { name: "log", id: None, what: "what is logged" },
    Form { name: "metrics", id: None, what: "who may read counters and health by HTTP" },
    Form { name: "events", id: None, what: "programs that are told of events" },
];

keys! {
    "gateway" "id": Text, required "\"gateway.example.com\"", Restart,
        "1 to 255 octets, no control characters, no outer blanks",
        "DM server id of the gateway towards end devices";
    "gateway" "public-address": Text, words "none", Reload,
        "an IP address or a DNS name, without a port",
        "the address by which DM servers reach the gateway";
    "gateway" "share-address": Boolean, words "true if there is a `public-address`", Reload,
        "",
        "whether devices of `transparent` LANs may tell the address to their servers; false forbids it for all LANs";
    "gateway" "state-dir": Path, required "\"/var/lib/dm-gateway\"", Restart,
        "made with mode 0700 if it is missing",
        "directory for all that lasts";
    "gateway" "wire-profile": Text, value "\"registered\"", Reload,
        "\"registered\" or \"draft\"",
        "which codes the alerts towards end devices carry: those registered, or those of the draft";
    "gateway" "push-rate": Number, value "1", Reload,
        "0.001 to 1000000, 0 for no bound",
        "pushes per second and mapping that are forwarded";
    "gateway" "trigger-expiry": Time, value "\"15m\"", Reload,
        "1 s to 7 d",
        "how long a push for a device that is away is held; those held already keep their time";
    "gateway" "device-id": Text, words "the `id`", Restart,
        "",
        "id of the gateway towards DM servers (DevInfo/DevId)";
    "gateway" "remote-settings": Boolean, value "true", Reload,
        "",
        "whether DM servers may set Gw Config; if not, what they set before does not count either";
    "gateway" "locked": Texts, value "[]", Reload,
        "keys such as \"lan.crew.policy\", \"lan.*.policy\", or sections such as \"wan\"",
        "what neither a later file nor a DM server may set; the lists of several files add up";

    "wan" "push-listen": Texts, value "[\"0.0.0.0:2948\", \"[::]:2948\"]", Restart,
        "addresses with ports",
        "where pushes are taken over UDP";
    "wan" "interface": Text, words "any", Restart,
        "an interface that `ip link` lists; it may come later",
        "takes pushes from this interface only";
    "wan" "trusted-sources": Texts, words "any source", Reload,
        "\"10.0.0.0/8\", \"2001:db8::/32\"; a bare address is one host",
        "whose pushes are taken";
    "wan" "http-push-listen": Texts, value "[]", Restart,
        "addresses with ports; without a `certificate` on loopback only",
        "where pushes are taken over HTTP; it wants a `client-ca` or a `token-file`, and asks for what is given";

    "wan.http-push" "certificate": Path, words "none: HTTP is plain", Reload,
        "PEM: ours and those between it and its CA",
        "what the listener shows";
    "wan.http-push" "key": Key, words "none", Reload,
        "PEM, not encrypted",
        "the certificate's private key";
    "wan.http-push" "client-ca": Path, words "none", Reload,
        "PEM",
        "the CAs whose certificates those who push must show";
    "wan.http-push" "token-file": Secret, words "none", Reload,
        "at least 16 octets",
        "the token that each push must bring";

    "lan" "name": Text, required "\"radios\"", Restart,
        "1 to 64 octets without blanks; the same name in a later file means the same LAN",
        "what the LAN is called";
    "lan" "interface": Text, required "\"br-lan\"", Restart,
        "an interface that `ip link` lists; it may come later",
        "the interface of the LAN";
    "lan" "listen": Texts, required "[\"192.168.1.1:8080\"]", Restart,
        "addresses with ports",
        "where end devices find the gateway's DM server";
    "lan" "push-port": Integer, value "2948", Reload,
        "1 to 65535",
        "UDP port of the end devices";
    "lan" "policy": Text, value "\"ignore\"", Reload,
        "\"ignore\", \"bootstrap\" or \"transparent\"",
        "what a device's list of servers leads to: nothing, an account of the gateway's own, or a mapping";
    "lan" "detect": Texts, words "[\"neighbours\", \"static\"]; with a `lease-file` all three", Restart,
        "any of \"neighbours\", \"leases\", \"static\"",
        "what makes a device known";
    "lan" "lease-file": Path, words "none", Restart,
        "of dnsmasq",
        "the DHCP leases of the LAN";
    "lan" "verify": Text, value "\"neighbour\"", Reload,
        "\"neighbour\" or \"none\"",
        "whether who speaks is held against the kernel's neighbour table";
    "lan" "device-auth": Text, value "\"none\"", Reload,
        "\"none\", \"basic\" or \"md5\"",
        "what devices prove themselves by in a session";
    "lan" "request-rate": Number, value "20", Reload,
        "0.001 to 1000000, 0 for no bound",
        "requests per second of one address";
    "lan" "request-burst": Integer, value "100", Reload,
        "1 to 1000000",
        "requests of one address at once";
    "lan" "trusted-link": Boolean, value "false", Reload,
        "",
        "whether nobody else is on it, so that secrets may be pushed";
    "lan" "provision": Boolean, value "false", Reload,
        "wants `trusted-link` or `bootstrap-listen`",
        "whether devices without an account are given one";
    "lan" "bootstrap-profile": Text, value "\"dm\"", Reload,
        "\"dm\" or \"cp\"",
        "the form of the accounts that devices are given";
    "lan" "bootstrap-listen": Texts, value "[]", Restart,
        "addresses of this LAN with ports",
        "where devices fetch their account over HTTPS, if the link is not trusted";
    "lan" "bootstrap-certificate": Path, words "none", Reload,
        "PEM: ours and those between it and its CA",
        "what that listener shows";
    "lan" "bootstrap-key": Key, words "none", Reload,
        "PEM, not encrypted",
        "that certificate's private key";

    "device" "id": Text, required "\"mac:01-ab-34-ef-69-0c\"", Reload,
        "`mac:…`, `IMEI:…` or a URN, at most 255 octets; the same id in a later file means the same device",
        "the identity that the device claims";
    "device" "lan": Text, words "the LAN, if there is only one", Reload,
        "the name of a LAN",
        "where it belongs";
    "device" "address": Text, words "none", Reload,
        "an IP address, without port or prefix",
        "its fixed address";
    "device" "user": Text, words "the `id`", Reload,
        "",
        "the name in its credentials";
    "device" "secret-file": Secret, words "none", Reload,
        "one line, at most 1024 octets",
        "what it proves itself by";
    "device" "server-secret-file": Secret, words "none", Reload,
        "one line, at most 1024 octets",
        "what the gateway proves itself to it by";
    "device" "pin-file": Secret, words "none", Reload,
        "one line, at most 1024 octets",
        "its user's pin, which proves a bootstrap to it";

    "server" "id": Text, required "\"com.example.dms\"", Reload,
        "1 to 255 octets, no blank, no = & * +; the same id in a later file means the same server",
        "the server's id, as in the account";
    "server" "allow-http": Boolean, value "false", Reload,
        "",
        "whether sessions may go without TLS";
    "server" "encoding": Text, value "\"wbxml\"", Reload,
        "\"wbxml\" or \"xml\"",
        "how messages are written";
    "server" "interval": Time, words "none: only the sessions that something asks for", Reload,
        "1 s to 366 d",
        "time between sessions";
    "server" "trust": Text, value "\"system\"", Reload,
        "\"system\", a PEM file of CAs, or \"sha256:…\" of the server's public key",
        "whom to believe that he is the server";
    "server" "client-certificate": Path, words "none", Reload,
        "PEM",
        "what the gateway shows the server";
    "server" "client-key": Key, words "none", Reload,
        "PEM, not encrypted",
        "that certificate's private key";

    "bootstrap" "network-pin-file": Secret, words "none: such bootstraps are refused", Reload,
        "one line, at most 1024 octets",
        "proves pushed bootstraps of the network";
    "bootstrap" "user-pin-file": Secret, words "none: such bootstraps are refused", Reload,
        "one line, at most 1024 octets",
        "proves pushed bootstraps by the user's pin";
    "bootstrap" "allow": Texts, value "[]", Reload,
        "ids of servers, `*` for any characters",
        "servers that wanted ones may be bootstrapped of without approval";
    "bootstrap" "sources": Texts, words "the card, if there is one", Reload,
        "\"card\", \"https://…\", \"srv:_dm-bootstrap._tcp.example.com/path\"",
        "where accounts of wanted servers are looked for, in order";
    "bootstrap" "parameters": Texts, value "[\"device={device}\", \"server={server}\"]", Reload,
        "\"name=value\", with `{device}` and `{server}`",
        "parameters of the request to a bootstrap server";
    "bootstrap" "trust": Text, value "\"system\"", Reload,
        "as for a server",
        "whom to believe that he is a bootstrap server";
    "bootstrap" "client-certificate": Path, words "none", Reload,
        "PEM",
        "what the gateway shows bootstrap servers";
    "bootstrap" "client-key": Key, words "none", Reload,
        "PEM, not encrypted",
        "that certificate's private key";
    "bootstrap" "directories": Paths, value "[\"/usr/lib/dm-gateway/bootstrap.d\", \"/etc/dm-gateway/bootstrap.d\"]", Reload,
        "",
        "where factory files are";
    "bootstrap" "card-directory": Path, words "no card", Reload,
        "not beside `modem`",
        "a directory with the files of a smartcard";
    "bootstrap" "modem": Path, words "no card", Reload,
        "not beside `card-directory`",
        "the AT port of the modem that has the smartcard";

    "provision" "signers": Texts, value "[]", Reload,
        "`\"ed25519:…\"`: 32 octets, base64",
        "public keys of those whose bundles are taken; without any, no bundle is";
    "provision" "mount": Path, words "none", Reload,
        "",
        "where `provision --from-mount` looks for a bundle, such as a USB stick's mount point";

    "control" "socket": Path, words "`control.sock` in the `state-dir`", Restart,
        "at most 107 octets",
        "the socket by which commands reach the daemon";

    "log" "level": Text, value "\"info\"", Reload,
        "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        "how much is logged; the variable DM_GATEWAY_LOG goes before it";
    "log" "format": Text, words "\"journal\" where stderr is the journal's, else \"text\"", Restart,
        "\"text\", \"json\" or \"journal\"",
        "how lines are written; the variable DM_GATEWAY_LOG_FORMAT goes before it";

    "metrics" "listen": Text, words "no listener", Restart,
        "a loopback address with a port, or \"unix:\" and the path of a socket",
        "serves /metrics (OpenMetrics), /livez and /readyz";

    "events" "directory": Path, words "none are run", Restart,
        "",
        "its executable files are run for each event, with the event as JSON on standard input";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_key_has_a_section_and_all_its_words() {
        let mut seen = HashSet::new();
        for key in ALL {
            assert!(form(key.section).is_some() && seen.insert(key.path()), "{}", key.path());
            assert!(!key.what.is_empty() && !key.what.ends_with('.'), "{}", key.path());
            if let Default::Required(value) | Default::Value(value) = key.default {
                let text = format!("x = {value}");
                assert!(toml::de::DeTable::parse(&text).is_ok(), "{}: {value}", key.path());
            }
        }
        assert_eq!(FORMS.iter().map(|form| form.keys().len()).sum::<usize>(), ALL.len());
    }

    #[test]
    fn a_path_finds_its_key_though_ids_have_dots() {
        let parse = |path| parse_path(path).map(|(form, id, key)| (form.name, id, key));
        assert_eq!(parse("gateway.id"), Some(("gateway", None, Some("id"))));
        assert_eq!(parse("wan.http-push.key"), Some(("wan.http-push", None, Some("key"))));
        assert_eq!(parse("lan.crew.policy"), Some(("lan", Some("crew"), Some("policy"))));
        assert_eq!(
            parse("server.com.example.dms.trust"),
            Some(("server", Some("com.example.dms"), Some("trust")))
        );
        assert_eq!(parse("lan.crew"), Some(("lan", Some("crew"), None)));
        assert_eq!(parse("lan.policy"), Some(("lan", None, Some("policy"))));
        assert_eq!(parse("wan"), Some(("wan", None, None)));
        assert_eq!(parse("lan.crew.polcy"), Some(("lan", Some("crew"), Some("polcy"))));
        assert_eq!(
            parse("server.com.example.dms"),
            Some(("server", Some("com.example.dms"), None))
        );
        assert_eq!(parse("what.ever"), None);
        assert!(named("lan.crew.polcy").is_empty());
        assert_eq!(named("lan.crew.policy")[0].path(), "lan.NAME.policy");
        assert_eq!(named("policy")[0].path(), "lan.NAME.policy");
        assert_eq!(nearest_path("lan.crew.polcy").as_deref(), Some("lan.NAME.policy"));
    }
}
