//! The management objects of a gateway: the names of their nodes, and what may be set.
//!
//! (OMA-TS-GwMO 1.1; GwMO change request, 8.6.1.) The URNs are registered; the official trees are
//! not public, so the nodes are this gateway's own. Their descriptions are
//! [`GW_CONFIG`](super::tree::GW_CONFIG) and
//! [`GW_DEVICE_INVENTORY`](super::tree::GW_DEVICE_INVENTORY).
//!
//! ```text
//! ./GwConfig                           ./GwDeviceInventory
//!   GwID            chr                  Records
//!   PublicAddress   chr   Replace          <number>
//!   ShareAddress    bool  Replace            DeviceID       chr
//!   ModesSupported  int                      Address        chr   if it has one
//!   DefaultMode     int   Replace            Mode           int
//!   AttachAlert     bool  Replace            ComponentType  int
//!   LAN                                      Attached       bool
//!     <name>                                 LastSeen       time  if it was seen
//!       Name               chr               Servers        chr   if it named some
//!       EDBootstrapPolicy  int  Replace
//! ```
//!
//! Paths are relative to the root of the object, as a [`Provider`](super::tree::Provider) is asked
//! for them: canonical, and empty for the root itself.

use super::syncml::StatusCode;
use super::tree::{Format, uri};
use crate::limits;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Where the Gw Config MO stands.
pub const CONFIG: &str = "./GwConfig";

/// Where the Gw Device Inventory MO stands.
pub const INVENTORY: &str = "./GwDeviceInventory";

/// `ComponentType` of an end device.
pub const END_DEVICE: u8 = 0;

/// How a gateway works for an end device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The server has the session with the device; the gateway brings the notification.
    Transparent,
    /// The gateway has the session with the device, by OMA DM.
    Proxy,
    /// The gateway manages the device by the device's own protocol.
    Adaptation,
}

impl Mode {
    /// The number in `Mode` and `DefaultMode`.
    pub fn code(self) -> u8 {
        match self {
            Self::Transparent => 1,
            Self::Proxy => 2,
            Self::Adaptation => 3,
        }
    }

    /// The mode of a number.
    pub fn of_code(code: u8) -> Option<Self> {
        [Self::Transparent, Self::Proxy, Self::Adaptation].into_iter().find(|it| it.code() == code)
    }

    /// The mode's part in the sum of `ModesSupported`.
    pub fn bit(self) -> u8 {
        1 << (self.code() - 1)
    }
}

/// A node of Gw Config. Names of LANs are those of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GwConfigNode<'a> {
    /// The object itself.
    Root,
    /// `GwID`.
    GwId,
    /// `PublicAddress`: empty if there is none.
    PublicAddress,
    /// `ShareAddress`.
    ShareAddress,
    /// `ModesSupported`: the sum of [`Mode::bit`].
    ModesSupported,
    /// `DefaultMode`: a [`Mode::code`].
    DefaultMode,
    /// `AttachAlert`: whether servers are told of devices that come and go.
    AttachAlert,
    /// `LAN`, with one node for each.
    Lans,
    /// One LAN.
    Lan(Cow<'a, str>),
    /// `Name` of a LAN.
    LanName(Cow<'a, str>),
    /// `EDBootstrapPolicy` of a LAN: 0 ignore, 1 bootstrap, 2 transparent.
    LanPolicy(Cow<'a, str>),
}

/// What a Replace on Gw Config sets, its value checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// `PublicAddress`: an IP address or a DNS name; `None` if there is to be none.
    PublicAddress(Option<&'a str>),
    /// `ShareAddress`.
    ShareAddress(bool),
    /// `DefaultMode`. Whether the gateway supports it is not checked.
    DefaultMode(Mode),
    /// `AttachAlert`.
    AttachAlert(bool),
    /// `EDBootstrapPolicy` of a LAN, of which it is not checked that it is there.
    LanPolicy {
        /// The LAN's name.
        lan: &'a str,
        /// 0 ignore, 1 bootstrap or 2 transparent.
        policy: u8,
    },
}

const LANS: &str = "LAN";
const LAN_NAME: &str = "Name";
const LAN_POLICY: &str = "EDBootstrapPolicy";
const HIGHEST_POLICY: u8 = 2;

impl<'a> GwConfigNode<'a> {
    /// The leaves of the object itself, by name.
    const LEAVES: [(Self, &'static str); 6] = [
        (Self::GwId, "GwID"),
        (Self::PublicAddress, "PublicAddress"),
        (Self::ShareAddress, "ShareAddress"),
        (Self::ModesSupported, "ModesSupported"),
        (Self::DefaultMode, "DefaultMode"),
        (Self::AttachAlert, "AttachAlert"),
    ];

    /// The node at a path; `None` if the object has none there. Whether there is such a LAN is not
    /// looked at.
    pub fn parse(path: &'a str) -> Option<Self> {
        let mut segments = path.split('/');
        let first = segments.next()?;
        let rest = [segments.next(), segments.next(), segments.next()];
        match (first, rest) {
            ("", [None, ..]) => Some(Self::Root),
            (LANS, [None, ..]) => Some(Self::Lans),
            (LANS, [Some(lan), None, _]) => lan_of_segment(lan).map(Self::Lan),
            (LANS, [Some(lan), Some(LAN_NAME), None]) => lan_of_segment(lan).map(Self::LanName),
            (LANS, [Some(lan), Some(LAN_POLICY), None]) => lan_of_segment(lan).map(Self::LanPolicy),
            (name, [None, ..]) => {
                Self::LEAVES.into_iter().find(|(_, known)| *known == name).map(|(node, _)| node)
            }
            _ => None,
        }
    }

    /// The format of the node's value.
    pub fn format(&self) -> Format {
        match self {
            Self::Root | Self::Lans | Self::Lan(_) => Format::Node,
            Self::GwId | Self::PublicAddress | Self::LanName(_) => Format::Chr,
            Self::ShareAddress | Self::AttachAlert => Format::Bool,
            Self::ModesSupported | Self::DefaultMode | Self::LanPolicy(_) => Format::Int,
        }
    }

    /// The names of the nodes below a path, where these are the LANs.
    pub fn children<'l>(path: &str, lans: impl IntoIterator<Item = &'l str>) -> Vec<String> {
        match GwConfigNode::parse(path) {
            Some(GwConfigNode::Root) => {
                let leaves = GwConfigNode::LEAVES.into_iter().map(|(_, name)| name);
                leaves.chain([LANS]).map(str::to_owned).collect()
            }
            Some(GwConfigNode::Lans) => {
                lans.into_iter().map(|lan| lan_segment(lan).into_owned()).collect()
            }
            Some(GwConfigNode::Lan(lan)) if lans.into_iter().any(|it| *it == *lan) => {
                [LAN_NAME, LAN_POLICY].map(str::to_owned).into()
            }
            _ => Vec::new(),
        }
    }

    /// What a Replace of the node's value sets.
    ///
    /// # Errors
    /// 400 if it is no value of the node, 405 if the node cannot be replaced.
    pub fn setting(&'a self, value: &'a [u8]) -> Result<Setting<'a>, StatusCode> {
        let bad = StatusCode::BAD_REQUEST;
        let text = std::str::from_utf8(value).map_err(|_| bad)?;
        let truth = || text.parse::<bool>().map_err(|_| bad);
        let number = || text.parse::<u8>().map_err(|_| bad);
        match self {
            Self::PublicAddress if text.is_empty() => Ok(Setting::PublicAddress(None)),
            Self::PublicAddress if is_address(text) => Ok(Setting::PublicAddress(Some(text))),
            Self::PublicAddress => Err(bad),
            Self::ShareAddress => truth().map(Setting::ShareAddress),
            Self::AttachAlert => truth().map(Setting::AttachAlert),
            Self::DefaultMode => Mode::of_code(number()?).map(Setting::DefaultMode).ok_or(bad),
            Self::LanPolicy(lan) => match number()? {
                policy @ 0..=HIGHEST_POLICY => Ok(Setting::LanPolicy { lan, policy }),
                _ => Err(bad),
            },
            Self::Root
            | Self::GwId
            | Self::ModesSupported
            | Self::Lans
            | Self::Lan(_)
            | Self::LanName(_) => Err(StatusCode::NOT_ALLOWED),
        }
    }
}

/// A node of the Gw Device Inventory. Records go by the number under which the gateway keeps a
/// device: a device's id may hold what no URI does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InventoryNode {
    /// The object itself.
    Root,
    /// `Records`, with one node for each device.
    Records,
    /// The record of one device.
    Record(u32),
    /// A leaf of a record.
    Leaf(u32, RecordLeaf),
}

/// A leaf of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordLeaf {
    /// `DeviceID`.
    DeviceId,
    /// `Address`: there if the device has one.
    Address,
    /// `Mode`: a [`Mode::code`].
    Mode,
    /// `ComponentType`: [`END_DEVICE`].
    ComponentType,
    /// `Attached`.
    Attached,
    /// `LastSeen`, as [`timestamp`](super::tree::timestamp) writes it: there if it is known.
    LastSeen,
    /// `Servers`, as [`server_list`] writes them: there if the device named some.
    Servers,
}

const RECORDS: &str = "Records";

impl RecordLeaf {
    /// All of them, by name.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::DeviceId, "DeviceID"),
        (Self::Address, "Address"),
        (Self::Mode, "Mode"),
        (Self::ComponentType, "ComponentType"),
        (Self::Attached, "Attached"),
        (Self::LastSeen, "LastSeen"),
        (Self::Servers, "Servers"),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(leaf, _)| leaf)
    }
}

impl InventoryNode {
    /// The node at a path; `None` if the object has none there. Whether there is such a record is
    /// not looked at.
    pub fn parse(path: &str) -> Option<Self> {
        let mut segments = path.split('/');
        let first = segments.next()?;
        match (first, [segments.next(), segments.next(), segments.next()]) {
            ("", [None, ..]) => Some(Self::Root),
            (RECORDS, [None, ..]) => Some(Self::Records),
            (RECORDS, [Some(record), None, _]) => record_of_segment(record).map(Self::Record),
            (RECORDS, [Some(record), Some(leaf), None]) => {
                Some(Self::Leaf(record_of_segment(record)?, RecordLeaf::parse(leaf)?))
            }
            _ => None,
        }
    }

    /// The format of the node's value.
    pub fn format(self) -> Format {
        let Self::Leaf(_, leaf) = self else {
            return Format::Node;
        };
        match leaf {
            RecordLeaf::DeviceId | RecordLeaf::Address | RecordLeaf::Servers => Format::Chr,
            RecordLeaf::Mode | RecordLeaf::ComponentType => Format::Int,
            RecordLeaf::Attached => Format::Bool,
            RecordLeaf::LastSeen => Format::Time,
        }
    }

    /// The names of the nodes below a path, where these are the records. Of the leaves of a
    /// record it is asked whether they are there.
    pub fn children(
        path: &str,
        records: impl IntoIterator<Item = u32>,
        is_there: impl Fn(Self) -> bool,
    ) -> Vec<String> {
        match Self::parse(path) {
            Some(Self::Root) => vec![RECORDS.to_owned()],
            Some(Self::Records) => records.into_iter().map(|it| it.to_string()).collect(),
            Some(Self::Record(record)) => RecordLeaf::ALL
                .into_iter()
                .filter(|(leaf, _)| is_there(Self::Leaf(record, *leaf)))
                .map(|(_, name)| name.to_owned())
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The value of `Servers`: one id a line, which no id has a break in.
pub fn server_list<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut list = String::new();
    for id in ids {
        if !list.is_empty() {
            list.push('\n');
        }
        list.push_str(id);
    }
    list
}

/// The name of a LAN's node: that of the LAN, with `~` and two digits for each octet that cannot
/// stand in a URI.
pub fn lan_segment(name: &str) -> Cow<'_, str> {
    let stands = |octet: &u8| !matches!(octet, b'~' | b'%' | b'/' | b'?' | b'\\' | 0..=0x20 | 0x7f);
    let is_dots = matches!(name, "." | "..");
    if !is_dots && name.bytes().all(|octet| stands(&octet)) {
        return Cow::Borrowed(name);
    }
    let mut segment = String::new();
    for character in name.chars() {
        match u8::try_from(character) {
            Ok(octet) if octet.is_ascii() && (is_dots || !stands(&octet)) => {
                let _ = write!(segment, "~{octet:02X}");
            }
            _ => segment.push(character),
        }
    }
    Cow::Owned(segment)
}

/// The LAN's name in the name of its node; `None` if no LAN's node has that name.
fn lan_of_segment(segment: &str) -> Option<Cow<'_, str>> {
    uri::check_name(segment).ok()?;
    if !segment.contains('~') {
        return (!segment.contains('%')).then_some(Cow::Borrowed(segment));
    }
    let mut parts = segment.split('~');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        name.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        name.push_str(rest);
    }
    // One node has one name.
    (lan_segment(&name) == segment).then_some(Cow::Owned(name))
}

/// The number in the name of a record, which has no other spelling.
fn record_of_segment(segment: &str) -> Option<u32> {
    let is_canonical = segment.bytes().all(|octet| octet.is_ascii_digit())
        && (segment == "0" || !segment.starts_with('0'));
    segment.parse().ok().filter(|_| is_canonical)
}

/// Whether a text is an address that servers could be told: an IP address, or a DNS name.
fn is_address(text: &str) -> bool {
    if let Ok(address) = text.parse::<IpAddr>() {
        return !address.is_unspecified() && !address.is_multicast();
    }
    let letter = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
    let is_number = text.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    text.len() <= limits::GATEWAY_ADDRESS && !is_number && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::syncml::{Data, Encoding, Verb};
    use crate::proto::tree::{
        Caller, GW_CONFIG, GW_DEVICE_INVENTORY, Mount, NoProvider, Provider, Request, Subject,
        Tree, Value,
    };

    const LAN_NAMES: [&str; 5] = ["radios", "second floor?/~", "..", "b\u{fc}ro", "50%"];

    #[test]
    fn every_node_of_gw_config_is_found_by_its_path_and_listed_by_its_name() {
        let lans = || LAN_NAMES.into_iter();
        let mut open = vec![String::new()];
        let mut found = 0;
        while let Some(path) = open.pop() {
            let node = GwConfigNode::parse(&path).unwrap();
            let children = GwConfigNode::children(&path, lans());
            assert_eq!(children.is_empty(), node.format() != Format::Node, "{path}");
            open.extend(children.iter().map(|name| uri::join(&path, name)));
            if !path.is_empty() {
                uri::check(&path).unwrap();
            }
            found += 1;
        }
        assert_eq!(found, 1 + 6 + 1 + 3 * LAN_NAMES.len());
        for lan in LAN_NAMES {
            let path = format!("LAN/{}/EDBootstrapPolicy", lan_segment(lan));
            assert_eq!(GwConfigNode::parse(&path), Some(GwConfigNode::LanPolicy(lan.into())));
        }
    }

    #[test]
    fn what_gw_config_does_not_have_is_not_found() {
        for path in [
            "GwId",
            "GwID/x",
            "/GwID",
            "Lan",
            "LAN/",
            "LAN//Name",
            "LAN/a/name",
            "LAN/a/Name/x",
            "LAN/~/Name",
            "LAN/~2",
            "LAN/~2f",
            "LAN/~41",
            "LAN/~2G",
            "LAN/~+2",
            "LAN/a~\u{e9}",
            "LAN/~FF",
            "LAN/%20",
            "LAN/a?b",
            "LAN/..",
            "Ext",
        ] {
            assert_eq!(GwConfigNode::parse(path), None, "{path}");
        }
        assert_eq!(GwConfigNode::children("LAN/other", ["radios"]), [""; 0]);
        assert_eq!(GwConfigNode::children("GwID", ["radios"]), [""; 0]);
    }

    #[test]
    fn a_setting_is_checked_before_it_is_one() {
        let set = |path: &str, value: &str| {
            let node = GwConfigNode::parse(path).unwrap();
            node.setting(value.as_bytes()).map(|setting| format!("{setting:?}")).map_err(|it| it.0)
        };
        for (path, value, expected) in [
            ("PublicAddress", "gw.example", "PublicAddress(Some(\"gw.example\"))"),
            ("PublicAddress", "2001:db8::7", "PublicAddress(Some(\"2001:db8::7\"))"),
            ("PublicAddress", "", "PublicAddress(None)"),
            ("ShareAddress", "true", "ShareAddress(true)"),
            ("AttachAlert", "false", "AttachAlert(false)"),
            ("DefaultMode", "3", "DefaultMode(Adaptation)"),
            ("LAN/a~2Fb/EDBootstrapPolicy", "2", "LanPolicy { lan: \"a/b\", policy: 2 }"),
        ] {
            assert_eq!(set(path, value).as_deref(), Ok(expected));
        }
        for value in ["0.0.0.0", "::", "224.0.0.1", "1.2.3", "gw..example", "gw.example:80", "a b"]
        {
            assert_eq!(set("PublicAddress", value), Err(400), "{value}");
        }
        assert_eq!(set("PublicAddress", &"a.".repeat(200)), Err(400));
        assert_eq!(set("ShareAddress", "True"), Err(400));
        assert_eq!(set("DefaultMode", "0"), Err(400));
        assert_eq!(set("DefaultMode", "4"), Err(400));
        assert_eq!(set("LAN/a/EDBootstrapPolicy", "3"), Err(400));
        assert_eq!(set("LAN/a/EDBootstrapPolicy", "-1"), Err(400));
        for path in ["", "GwID", "ModesSupported", "LAN", "LAN/a", "LAN/a/Name"] {
            assert_eq!(set(path, "1"), Err(405), "{path}");
        }
        assert_eq!(GwConfigNode::GwId.setting(&[0xff]), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_record_has_one_name_and_the_leaves_that_are_there() {
        assert_eq!(InventoryNode::parse(""), Some(InventoryNode::Root));
        assert_eq!(InventoryNode::parse("Records"), Some(InventoryNode::Records));
        assert_eq!(InventoryNode::parse("Records/0"), Some(InventoryNode::Record(0)));
        let last = InventoryNode::Leaf(u32::MAX, RecordLeaf::LastSeen);
        assert_eq!(InventoryNode::parse("Records/4294967295/LastSeen"), Some(last));
        for path in [
            "Records/",
            "Records/4294967296",
            "Records/01",
            "Records/+1",
            "Records/x",
            "Records/",
            "Records/1/deviceid",
            "Records/1/DeviceID/x",
            "Groups",
            "Records//DeviceID",
        ] {
            assert_eq!(InventoryNode::parse(path), None, "{path}");
        }
        let children = |path| {
            InventoryNode::children(
                path,
                [7, 9],
                |node| matches!(node, InventoryNode::Leaf(7, leaf) if leaf != RecordLeaf::Address),
            )
        };
        assert_eq!(children(""), ["Records"]);
        assert_eq!(children("Records"), ["7", "9"]);
        let leaves = ["DeviceID", "Mode", "ComponentType", "Attached", "LastSeen", "Servers"];
        assert_eq!(children("Records/7"), leaves);
        assert_eq!(children("Records/8"), [""; 0]);
        assert_eq!(server_list(["a b", "c"]), "a b\nc");
        assert_eq!(server_list([]), "");
    }

    #[test]
    fn modes_have_numbers_and_bits() {
        assert_eq!((1..=3).map(|it| Mode::of_code(it).unwrap().bit()).sum::<u8>(), 7);
        assert_eq!((Mode::of_code(0), Mode::of_code(4)), (None, None));
    }

    /// Serves both objects, and takes every setting that is one.
    struct Objects;

    impl Provider for Objects {
        fn node(&self, mount: Mount, path: &str) -> Option<Value<'_>> {
            let format = match mount {
                Mount(0) => GwConfigNode::parse(path)?.format(),
                _ => InventoryNode::parse(path)?.format(),
            };
            Some(match format {
                Format::Node => Value::interior(),
                Format::Bool => Value::of(format, "true"),
                Format::Int => Value::of(format, "1"),
                _ => Value::of(format, "text"),
            })
        }

        fn children(&self, mount: Mount, path: &str) -> Vec<String> {
            match mount {
                Mount(0) => GwConfigNode::children(path, LAN_NAMES),
                _ => InventoryNode::children(path, [3, 5], |_| true),
            }
        }

        fn replace(&mut self, _: Mount, path: &str, value: &Value<'_>) -> Result<(), StatusCode> {
            let node = GwConfigNode::parse(path).ok_or(StatusCode::NOT_FOUND)?;
            node.setting(&value.octets).map(drop)
        }
    }

    fn tree() -> Tree {
        let mut tree = Tree::new(&[GW_CONFIG, GW_DEVICE_INVENTORY]).unwrap();
        let mut transaction = tree.begin();
        tree.write_acl(".", "Add=*&Delete=*&Get=*&Replace=*", 1, &mut transaction).unwrap();
        tree.keep(transaction);
        tree
    }

    fn run(tree: &mut Tree, verb: Verb, uri: &str, text: &str) -> (u16, usize) {
        let data = Data::Text(text.into());
        let data = (verb != Verb::Get).then_some(&data);
        let request = Request { verb, uri, source: None, kind: None, format: None, data };
        let caller = Caller { subject: Subject::Server("a"), now: 1, encoding: Encoding::Xml };
        let mut transaction = tree.begin();
        let outcome = tree.execute(&request, &caller, &mut Objects, &mut transaction);
        tree.keep(transaction);
        (outcome.status.0, outcome.items.len())
    }

    #[test]
    fn the_descriptions_have_these_nodes_with_these_formats() {
        for (root, urn, is_config) in [
            (CONFIG, "urn:oma:mo:oma-gwmo-config:1.1", true),
            (INVENTORY, "urn:oma:mo:oma-gwmo-deviceinventory:1.1", false),
        ] {
            let mut tree = tree();
            assert_eq!(tree.facts(root).unwrap().kind.as_deref(), Some(urn));
            // What the description plants is there; the rest can be added by the gateway alone.
            let mount = Mount(u16::from(!is_config));
            let mut open = vec![String::new()];
            while let Some(path) = open.pop() {
                let uri = uri::join(root, &path);
                let value = Objects.node(mount, &path).unwrap();
                if let Some(facts) = tree.facts(&uri) {
                    assert_eq!(facts.format, value.format, "{uri}");
                } else {
                    let data = Data::Binary(value.octets);
                    let format = Some(value.format.name());
                    let request = Request {
                        verb: Verb::Add,
                        uri: &uri,
                        source: None,
                        kind: None,
                        format,
                        data: Some(&data),
                    };
                    for (subject, status) in [(Subject::Server("a"), 405), (Subject::Gateway, 200)]
                    {
                        let caller = Caller { subject, now: 1, encoding: Encoding::Wbxml };
                        let mut transaction = tree.begin();
                        let outcome =
                            tree.execute(&request, &caller, &mut NoProvider, &mut transaction);
                        assert_eq!(outcome.status.0, status, "{uri}");
                        tree.keep(transaction);
                    }
                }
                open.extend(Objects.children(mount, &path).iter().map(|it| uri::join(&path, it)));
            }
            let mut planted: Vec<_> = tree.children(root).collect();
            let mut named = Objects.children(mount, "");
            planted.sort_unstable();
            named.sort_unstable();
            assert_eq!(planted, named);
        }
    }

    #[test]
    fn a_server_reads_both_objects_and_sets_what_may_be_set() {
        let mut tree = tree();
        tree.mount(CONFIG, Mount(0)).unwrap();
        tree.mount(INVENTORY, Mount(1)).unwrap();
        assert_eq!(run(&mut tree, Verb::Get, "./GwConfig?list=StructData", ""), (200, 23));
        assert_eq!(run(&mut tree, Verb::Get, "./GwDeviceInventory?list=Struct", ""), (200, 18));
        assert_eq!(run(&mut tree, Verb::Get, "./GwDeviceInventory?list=TNDS", ""), (200, 1));
        for (uri, value, status) in [
            ("./GwConfig/LAN/radios/EDBootstrapPolicy", "2", 200),
            ("./GwConfig/LAN/radios/EDBootstrapPolicy", "7", 400),
            ("./GwConfig/LAN/radios/Name", "x", 405),
            ("./GwConfig/LAN/radios", "", 405),
            ("./GwConfig/GwID", "x", 405),
            ("./GwConfig/ModesSupported", "7", 405),
            ("./GwConfig/DefaultMode", "1", 200),
            ("./GwConfig/PublicAddress", "gw.example", 200),
            ("./GwConfig/ShareAddress", "yes", 400),
            ("./GwConfig/AttachAlert", "true", 200),
            ("./GwDeviceInventory/Records/3/Attached", "false", 405),
            ("./GwDeviceInventory/Records/x/Attached", "false", 404),
        ] {
            assert_eq!(run(&mut tree, Verb::Replace, uri, value).0, status, "{uri} {value}");
        }
        for uri in ["./GwConfig/LAN/radios", "./GwDeviceInventory/Records/3", "./GwConfig"] {
            assert_eq!(run(&mut tree, Verb::Delete, uri, "").0, 405, "{uri}");
        }
        assert_eq!(run(&mut tree, Verb::Add, "./GwDeviceInventory/Records/3/Other", "x").0, 405);
    }
}
