//! The GwMO alerts between gateway, end device and DM server: accepts every known spelling,
//! emits one.
//!
//! | alert | code, type | from, to | payload |
//! |---|---|---|---|
//! | Device Detection | 1230 | gateway, end device | gateway address |
//! | BootstrappedDMSList | 1226 | end device, gateway | server list |
//! | AssociatedGateway | 1226 | end device, DM server | gateway address |
//!
//! (GwMO change request, 8.6.1.2 and 8.6.1.3; OMNA alert registry, `urn:oma:at:oma-gwmo`.) The
//! payload grammars are in [`payload`].

pub mod payload;

pub use payload::{Detection, PayloadError, parse_gateway_address, parse_server_list};

use crate::limits;
use crate::proto::syncml::{Alert, AlertCode, Data, Item, Location, Meta};
use quick_xml::escape::escape;
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

/// What is emitted; both are always accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireProfile {
    /// The types of the OMNA registry, payloads in Items.
    #[default]
    Registered,
    /// The text forms of the change request, stray `--` and capital booleans included.
    Draft,
}

/// A generic alert (1226) of the GwMO family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertType {
    /// An end device names the servers that it knows.
    BootstrappedDmsList,
    /// An end device tells a server its gateway's address.
    AssociatedGateway,
    /// A gateway sees a new end device.
    DeviceAttached,
    /// A gateway lost an end device.
    DeviceDetached,
    /// A gateway reports what a fan-out gave.
    ResultAggregation,
    /// A gateway finished a fan-out.
    CompletionStatus,
    /// A gateway holds a software image.
    ImageReady,
}

const REGISTERED_PREFIX: &str = "urn:oma:at:oma-gwmo:";
const DRAFT_PREFIX: &str = "urn:oma:gwmo:1.0:";

impl AlertType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::BootstrappedDmsList,
        Self::AssociatedGateway,
        Self::DeviceAttached,
        Self::DeviceDetached,
        Self::ResultAggregation,
        Self::CompletionStatus,
        Self::ImageReady,
    ];

    /// The type that a Meta/Type names, in either family, any case, with white space around
    /// it. `deviceattached` is registered as 1.0 and 1.1.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("urn:oma:at:oma-gwmo:deviceattached:1.1") {
            return Some(Self::DeviceAttached);
        }
        Self::ALL.into_iter().find(|kind| {
            [WireProfile::Registered, WireProfile::Draft]
                .iter()
                .any(|profile| text.eq_ignore_ascii_case(kind.urn(*profile)))
        })
    }

    /// The type's URN in `profile`.
    pub fn urn(self, profile: WireProfile) -> &'static str {
        macro_rules! urns {
            ($name:literal) => {
                match profile {
                    WireProfile::Registered => concat!("urn:oma:at:oma-gwmo:", $name, ":1.0"),
                    WireProfile::Draft => concat!("urn:oma:gwmo:1.0:", $name),
                }
            };
        }
        match self {
            Self::BootstrappedDmsList => urns!("BootstrappedDMSList"),
            Self::AssociatedGateway => urns!("AssociatedGateway"),
            Self::DeviceAttached => urns!("deviceattached"),
            Self::DeviceDetached => urns!("devicedetached"),
            Self::ResultAggregation => urns!("resultaggregation"),
            Self::CompletionStatus => urns!("completionstatus"),
            Self::ImageReady => urns!("imageready"),
        }
    }
}

/// Which family a Meta/Type belongs to, known name or not; `None` for other alerts.
pub fn profile_of(text: &str) -> Option<WireProfile> {
    let text = text.trim();
    let starts_with = |prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if starts_with(REGISTERED_PREFIX) {
        Some(WireProfile::Registered)
    } else if starts_with(DRAFT_PREFIX) {
        Some(WireProfile::Draft)
    } else {
        None
    }
}

/// The id of a DM server: 1 to [`limits::SERVER_ID`] octets, no control characters, nothing
/// blank around it. Compared exactly. A clone shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(Arc<str>);

impl ServerId {
    /// Trims and checks `text`.
    ///
    /// # Errors
    /// `Malformed` if it is empty or holds a control character, `TooLarge` if it is too long.
    pub fn new(text: &str) -> Result<Self, PayloadError> {
        clean_id(text)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for ServerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ServerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

fn clean_id(text: &str) -> Result<ServerId, PayloadError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(PayloadError::Malformed { offset: 0, what: "empty id" });
    }
    if text.len() > limits::SERVER_ID {
        return Err(PayloadError::TooLarge("id"));
    }
    if text.chars().any(char::is_control) {
        return Err(PayloadError::Malformed { offset: 0, what: "a control character" });
    }
    Ok(ServerId(text.into()))
}

/// One generic alert of the GwMO family inside an Alert command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its type.
    pub kind: AlertType,
    /// Its payload, unescaped; `None` without one, or with octets that are not UTF-8.
    pub payload: Option<&'a str>,
    /// The item's Source.
    pub source: Option<&'a str>,
}

/// The GwMO alerts in a generic alert (1226), one for each Item that carries such a type in
/// its Meta, or inherits it from the command's. Empty for all other alerts.
pub fn find<'a>(alert: &'a Alert<'_>) -> impl Iterator<Item = Found<'a>> {
    let items = if alert.code == Some(AlertCode::GENERIC) { &alert.items[..] } else { &[] };
    items.iter().filter_map(|item| {
        let kind = item.meta.kind.as_deref().or(alert.meta.kind.as_deref())?;
        Some(Found {
            kind: AlertType::of(kind)?,
            payload: item.data.as_ref().and_then(text_of),
            source: item.source.as_ref().map(|source| &*source.uri),
        })
    })
}

/// The payload of a Device Detection Alert (1230): the first Item with data, else what stands
/// directly below `Alert`. `None` for all other alerts.
pub fn detection_payload<'a>(alert: &'a Alert<'_>) -> Option<&'a str> {
    if alert.code != Some(AlertCode::DEVICE_DETECTION) {
        return None;
    }
    alert.items.iter().filter_map(|item| item.data.as_ref()).chain(&alert.loose).find_map(text_of)
}

/// The text of `data`, also where it came as octets.
pub fn text_of<'a>(data: &'a Data<'_>) -> Option<&'a str> {
    match data {
        Data::Text(text) | Data::Markup(text) => Some(text),
        Data::Binary(octets) => std::str::from_utf8(octets).ok(),
    }
}

/// The payload of BootstrappedDMSList.
pub fn server_list_payload(servers: &[ServerId]) -> String {
    let mut payload = String::from("<ServerList>");
    for server in servers {
        payload += "<ServerInfo><ID>";
        payload += &escape(server.as_str());
        payload += "</ID></ServerInfo>";
    }
    payload + "</ServerList>"
}

/// The Device Detection Alert; its CmdID is for the caller to fill in.
///
/// Clients of the field do not know the code. The payload with a second Item behind it is the
/// only form that none of those tried breaks on; `Draft` is the printed form, where the
/// payload stands directly below `Alert`.
pub fn device_detection(
    address: Option<&str>,
    share: bool,
    profile: WireProfile,
) -> Alert<'static> {
    let address = address.map(|address| format!("<GwAddress>{}</GwAddress>", escape(address)));
    let address = address.unwrap_or_default();
    let code = Some(AlertCode::DEVICE_DETECTION);
    match profile {
        WireProfile::Registered => {
            let payload = format!("{address}<Share>{share}</Share>");
            let payload = Item { data: Some(Data::Markup(payload.into())), ..Item::default() };
            let second = Data::Text("Device Detection Alert".into());
            let second = Item { data: Some(second), ..Item::default() };
            Alert { code, items: vec![payload, second], ..Alert::default() }
        }
        WireProfile::Draft => {
            let line_end = if address.is_empty() { "" } else { "\n" };
            let share = if share { "True" } else { "False" };
            let payload = format!("\n{address}{line_end}<Share>{share}</Share>\n  ");
            Alert { code, loose: Some(Data::Markup(payload.into())), ..Alert::default() }
        }
    }
}

/// The BootstrappedDMSList alert of an end device (`source`) to the gateway (`target`); its
/// CmdID is for the caller to fill in.
pub fn bootstrapped_dms_list(
    servers: &[ServerId],
    source: &str,
    target: &str,
    profile: WireProfile,
) -> Alert<'static> {
    let payload = server_list_payload(servers);
    let payload = match profile {
        WireProfile::Registered => payload,
        WireProfile::Draft => as_printed(&payload.replace("</ID>", " </ID>")),
    };
    generic(AlertType::BootstrappedDmsList, payload, source, target, profile)
}

/// A generic alert's payload as the change request prints it: dashes before the CDATA's end.
fn as_printed(payload: &str) -> String {
    format!("\n{payload}\n-- ")
}

fn generic(
    kind: AlertType,
    payload: String,
    source: &str,
    target: &str,
    profile: WireProfile,
) -> Alert<'static> {
    let location =
        |uri: &str| Some(Location { uri: Cow::Owned(uri.to_owned()), ..Location::default() });
    let format = match profile {
        WireProfile::Registered => "chr",
        WireProfile::Draft => "text/plain",
    };
    let meta = Meta {
        kind: Some(kind.urn(profile).into()),
        format: Some(format.into()),
        ..Meta::default()
    };
    let item = Item {
        target: location(target),
        source: location(source),
        meta,
        data: Some(Data::Markup(payload.into())),
        more_data: false,
    };
    Alert { code: Some(AlertCode::GENERIC), items: vec![item], ..Alert::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [WireProfile; 2] = [WireProfile::Registered, WireProfile::Draft];

    #[test]
    fn every_type_is_known_in_both_families() {
        for kind in AlertType::ALL {
            for profile in BOTH {
                let urn = kind.urn(profile);
                assert_eq!(AlertType::of(&format!("\n  {urn} \n")), Some(kind));
                assert_eq!(AlertType::of(&urn.to_uppercase()), Some(kind));
                assert_eq!(profile_of(urn), Some(profile));
            }
        }
        let attached = AlertType::of("urn:oma:at:oma-gwmo:deviceattached:1.1");
        assert_eq!(attached, Some(AlertType::DeviceAttached));
        assert_eq!(AlertType::of("urn:oma:at:oma-gwmo:BootstrappedDMSList:1.1"), None);
        assert_eq!(AlertType::of("urn:oma:at:scomo:1.0:OperationComplete"), None);
        assert_eq!(profile_of("urn:oma:at:scomo:1.0:OperationComplete"), None);
    }

    #[test]
    fn a_server_id_is_trimmed_bounded_and_compared_exactly() {
        assert_eq!(ServerId::new(" a ").unwrap().as_str(), "a");
        assert_ne!(ServerId::new("a").unwrap(), ServerId::new("A").unwrap());
        assert!(ServerId::new(" \n").is_err());
        assert!(ServerId::new("a\nb").is_err());
        let long = "a".repeat(limits::SERVER_ID);
        assert!(ServerId::new(&long).is_ok());
        assert_eq!(ServerId::new(&(long + "a")), Err(PayloadError::TooLarge("id")));
    }

    #[test]
    fn what_is_emitted_is_understood_in_both_profiles() {
        let servers =
            ["http://a.example/x?a=1&b=2", "<two>]]>"].map(|id| ServerId::new(id).unwrap());
        for profile in BOTH {
            let alert = bootstrapped_dms_list(&servers, "mac:01", "192.168.4.1", profile);
            let found: Vec<_> = find(&alert).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].kind, AlertType::BootstrappedDmsList);
            assert_eq!(found[0].source, Some("mac:01"));
            assert!(!found[0].payload.unwrap().contains("]]>"));
            assert_eq!(parse_server_list(found[0].payload.unwrap()), Ok(servers.to_vec()));

            for (address, share) in [(Some("2002::1"), true), (None, false)] {
                let alert = device_detection(address, share, profile);
                assert_eq!(find(&alert).count(), 0);
                let detection = parse_gateway_address(detection_payload(&alert).unwrap());
                let expected = Detection { address: address.map(String::from), share };
                assert_eq!(detection, Ok(expected));
            }
        }
    }

    #[test]
    fn the_detection_alert_has_the_form_that_survives_or_the_printed_one() {
        let alert = device_detection(Some("a"), false, WireProfile::Registered);
        let payload = Data::Markup("<GwAddress>a</GwAddress><Share>false</Share>".into());
        assert_eq!((alert.items.len(), &alert.items[0].data), (2, &Some(payload)));
        assert_eq!((&alert.loose, &alert.items[0].meta), (&None, &Meta::default()));

        let alert = device_detection(Some("a"), false, WireProfile::Draft);
        let payload = "\n<GwAddress>a</GwAddress>\n<Share>False</Share>\n  ";
        assert_eq!((alert.items.len(), alert.loose), (0, Some(Data::Markup(payload.into()))));
    }

    #[test]
    fn a_type_on_the_command_counts_for_items_without_one() {
        let mut alert = bootstrapped_dms_list(&[], "d", "g", WireProfile::Registered);
        alert.meta = std::mem::take(&mut alert.items[0].meta);
        alert.items[0].data = Some(Data::Binary(b"<ServerList/>".into()));
        assert_eq!(find(&alert).next().unwrap().payload, Some("<ServerList/>"));
        alert.items[0].data = Some(Data::Binary(b"\xff".into()));
        assert_eq!(find(&alert).next().unwrap().payload, None);
        alert.items[0].meta.kind = Some("urn:else".into());
        assert_eq!(find(&alert).next(), None);
        alert.items[0].meta.kind = None;
        alert.code = Some(AlertCode::CLIENT_INITIATED);
        assert_eq!(find(&alert).next(), None);
    }
}
