//! The payloads of the GwMO alerts, as an end device and a DM server write and read them.

use crate::proto::syncml::{Alert, AlertCode, Data};
use std::borrow::Cow;

/// The two spellings of the BootstrappedDMSList alert type: registered, draft.
pub(super) const LIST: [&str; 2] =
    ["urn:oma:at:oma-gwmo:BootstrappedDMSList:1.0", "urn:oma:gwmo:1.0:BootstrappedDMSList"];

/// The two spellings of the AssociatedGateway alert type: registered, draft.
pub(super) const ASSOCIATED_GATEWAY: [&str; 2] =
    ["urn:oma:at:oma-gwmo:AssociatedGateway:1.0", "urn:oma:gwmo:1.0:AssociatedGateway"];

/// Writes a ServerList. `blank` pads every id, `dashes` ends the payload as the change request's
/// examples end.
pub(super) fn server_list<'a>(
    ids: impl Iterator<Item = &'a str>,
    blank: bool,
    dashes: bool,
) -> String {
    let mut out = String::from("<ServerList>");
    for id in ids {
        let pad = if blank { " " } else { "" };
        out.push_str("<ServerInfo><ID>");
        out.push_str(pad);
        out.push_str(&escaped(id));
        out.push_str(pad);
        out.push_str("</ID></ServerInfo>");
    }
    out.push_str("</ServerList>");
    if dashes {
        out.push_str("\n-- ");
    }
    out
}

/// Writes a GwAddress element.
pub(super) fn gateway_address(address: &str) -> String {
    format!("<GwAddress>{}</GwAddress>", escaped(address))
}

/// GwAddress and Share of a Device Detection Alert, wherever its payload stands.
pub(super) fn detection(alert: &Alert<'_>) -> Option<(String, bool)> {
    if alert.code != Some(AlertCode::DEVICE_DETECTION) {
        return None;
    }
    let payload = payload(alert)?;
    let share = element(payload, "Share")?;
    let share = match share.to_ascii_lowercase().as_str() {
        "true" | "1" => true,
        "false" | "0" => false,
        _ => return None,
    };
    Some((address(payload).unwrap_or_default(), share))
}

/// GwAddress of an AssociatedGateway alert.
pub(super) fn associated_gateway(alert: &Alert<'_>) -> Option<String> {
    let item = alert.items.first()?;
    let kind = item.meta.kind.as_deref().or(alert.meta.kind.as_deref())?.trim();
    if alert.code != Some(AlertCode::GENERIC) || !ASSOCIATED_GATEWAY.contains(&kind) {
        return None;
    }
    address(payload(alert)?)
}

fn payload<'m>(alert: &'m Alert<'_>) -> Option<&'m str> {
    let in_item = alert.items.first().and_then(|item| item.data.as_ref());
    in_item.or(alert.loose.as_ref()).and_then(Data::text)
}

fn address(payload: &str) -> Option<String> {
    element(payload, "GwAddress").or_else(|| element(payload, "GwAddr"))
}

/// Text of the first element `name`, trimmed. Payloads have no attributes.
fn element(payload: &str, name: &str) -> Option<String> {
    let (_, rest) = payload.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.trim().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    Some(text)
}

fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['&', '<', '>']) {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::syncml::Item;

    #[test]
    fn the_detection_is_read_from_an_item_and_from_the_alert_itself() {
        let data = Data::Markup("<GwAddress>2002::1</GwAddress>\n<Share>True</Share>".into());
        let loose = Alert {
            code: Some(AlertCode::DEVICE_DETECTION),
            loose: Some(data.clone()),
            ..Alert::default()
        };
        let item = Item { data: Some(data), ..Item::default() };
        let proper = Alert { loose: None, items: vec![item], ..loose.clone() };
        let expected = Some(("2002::1".to_owned(), true));
        assert_eq!(detection(&loose), expected);
        assert_eq!(detection(&proper), expected);
    }

    #[test]
    fn the_list_is_written_with_the_blemishes_that_were_asked_for() {
        let list = server_list(["a&b"].into_iter(), true, true);
        assert_eq!(
            list,
            "<ServerList><ServerInfo><ID> a&amp;b </ID></ServerInfo></ServerList>\n-- "
        );
    }
}
