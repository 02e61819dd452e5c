//! The payloads of the GwMO alerts: a fixed small grammar each, read from XML events.
//!
//! ```text
//! server list      ServerList / ServerInfo* / ID, BootstrapAddr?
//! gateway address  GwAddress? and Share? side by side, no root around them
//! ```
//!
//! (GwMO change request, appendices X, Y, Z.) Its printed samples break their own schemas in
//! several ways; exactly those ways are taken, each a [`Quirk`], and nothing else.

use super::{ServerId, clean_id};
use crate::limits;
use crate::proto::syncml::StatusCode;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;
use std::fmt;

/// Why a payload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// It is not what the grammar wants.
    Malformed {
        /// Offset into the payload, in octets, behind what was read last.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// It exceeds a bound of [`limits`]; the text names which.
    TooLarge(&'static str),
}

impl PayloadError {
    /// The Status that tells the sender: 412 or 413.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed { .. } => StatusCode::INCOMPLETE_COMMAND,
            Self::TooLarge(_) => StatusCode::TOO_LARGE,
        }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { offset, what } => write!(f, "{what} at octet {offset}"),
            Self::TooLarge(what) => write!(f, "too much: {what}"),
        }
    }
}

impl std::error::Error for PayloadError {}

/// What a payload does that the specification does not foresee, and that is taken anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// `--` behind the last tag, as in the change request's samples.
    StrayDashes,
    /// White space around an id, an address or a boolean.
    BlanksInside,
    /// The same server twice in a list.
    DuplicateServer,
    /// `GwAddr`, the schema's name, instead of `GwAddress`.
    ShortAddressName,
    /// `Share` in capitals, as in the samples: XML Schema has `true`, `false`, `1` and `0`.
    CapitalBoolean,
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StrayDashes => "stray -- behind the last tag",
            Self::BlanksInside => "white space around a value",
            Self::DuplicateServer => "the same server is listed twice",
            Self::ShortAddressName => "element GwAddr; the registered form is GwAddress",
            Self::CapitalBoolean => "Share is written in capitals; XML has true and false",
        })
    }
}

/// What a Device Detection Alert or an AssociatedGateway alert says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detection {
    /// The gateway's address for the outside, as written.
    pub address: Option<String>,
    /// Whether the end device may tell its servers; false unless said.
    pub share: bool,
}

/// Parses the payload of BootstrappedDMSList: the servers in order, duplicates folded. The
/// list may be empty.
///
/// # Errors
/// `TooLarge` beyond [`limits::LIST_PAYLOAD`], [`limits::LIST_SERVERS`] or
/// [`limits::SERVER_ID`]; `Malformed` for anything but the grammar: other elements or
/// attributes, text outside, a DOCTYPE, entities that XML does not predefine, an empty ID.
pub fn parse_server_list(payload: &str) -> Result<Vec<ServerId>, PayloadError> {
    server_list(payload, &mut |_| {})
}

/// Parses the payload of AssociatedGateway or of the Device Detection Alert.
///
/// # Errors
/// As [`parse_server_list`], also where neither element is there.
pub fn parse_gateway_address(payload: &str) -> Result<Detection, PayloadError> {
    gateway_address(payload, &mut |_| {})
}

/// [`parse_server_list`], telling `note` of each [`Quirk`] on the way.
///
/// # Errors
/// As [`parse_server_list`].
pub fn server_list(
    payload: &str,
    note: &mut dyn FnMut(Quirk),
) -> Result<Vec<ServerId>, PayloadError> {
    let mut walk = Walk::new(payload, note)?;
    if walk.open()? != Some("ServerList") {
        return Err(walk.malformed("no ServerList"));
    }
    let mut servers: Vec<ServerId> = Vec::new();
    while let Some(name) = walk.open()? {
        if name != "ServerInfo" {
            return Err(walk.malformed("ServerList holds something else than ServerInfo"));
        }
        let id = server_info(&mut walk)?;
        if servers.contains(&id) {
            (walk.note)(Quirk::DuplicateServer);
        } else if servers.len() == limits::LIST_SERVERS {
            return Err(PayloadError::TooLarge("servers"));
        } else {
            servers.push(id);
        }
    }
    if walk.open()?.is_some() {
        return Err(walk.malformed("an element behind ServerList"));
    }
    Ok(servers)
}

/// [`parse_gateway_address`], telling `note` of each [`Quirk`] on the way.
///
/// # Errors
/// As [`parse_gateway_address`].
pub fn gateway_address(
    payload: &str,
    note: &mut dyn FnMut(Quirk),
) -> Result<Detection, PayloadError> {
    let mut walk = Walk::new(payload, note)?;
    let (mut address, mut share) = (None, None);
    while let Some(name) = walk.open()? {
        match name {
            "GwAddress" | "GwAddr" if address.is_none() => {
                if name == "GwAddr" {
                    (walk.note)(Quirk::ShortAddressName);
                }
                address = Some(walk.value()?);
            }
            "Share" if share.is_none() => share = Some(boolean(&mut walk)?),
            "GwAddress" | "GwAddr" | "Share" => {
                return Err(walk.malformed("an element stands twice"));
            }
            _ => return Err(walk.malformed("neither GwAddress nor Share")),
        }
    }
    if address.is_none() && share.is_none() {
        return Err(walk.malformed("neither GwAddress nor Share"));
    }
    let address = address.filter(|address| !address.is_empty());
    if address.as_ref().is_some_and(|address| address.len() > limits::GATEWAY_ADDRESS) {
        return Err(PayloadError::TooLarge("GwAddress"));
    }
    Ok(Detection { address, share: share.unwrap_or_default() })
}

/// The contents of one ServerInfo: one ID, and at most one BootstrapAddr, in either order.
fn server_info(walk: &mut Walk<'_, '_>) -> Result<ServerId, PayloadError> {
    let mut id = None;
    let mut has_address = false;
    while let Some(name) = walk.open()? {
        match name {
            "ID" if id.is_none() => {
                let text = walk.value()?;
                id = Some(clean_id(&text).map_err(|error| walk.located(error))?);
            }
            "BootstrapAddr" if !has_address => {
                walk.value()?;
                has_address = true;
            }
            _ => return Err(walk.malformed("ServerInfo holds something else than one ID")),
        }
    }
    id.ok_or_else(|| walk.malformed("ServerInfo without ID"))
}

fn boolean(walk: &mut Walk<'_, '_>) -> Result<bool, PayloadError> {
    let text = walk.value()?;
    let value = match text.as_str() {
        "true" | "1" => return Ok(true),
        "false" | "0" => return Ok(false),
        _ if text.eq_ignore_ascii_case("true") => true,
        _ if text.eq_ignore_ascii_case("false") => false,
        _ => return Err(walk.malformed("Share is no boolean")),
    };
    (walk.note)(Quirk::CapitalBoolean);
    Ok(value)
}

/// A walk over the elements of a payload, one call for each the grammar expects. An element
/// is either opened (elements inside) or has its value taken (text inside).
struct Walk<'a, 'n> {
    reader: Reader<&'a [u8]>,
    depth: usize,
    has_ended: bool,
    is_empty_open: bool,
    note: &'n mut dyn FnMut(Quirk),
}

impl<'a, 'n> Walk<'a, 'n> {
    fn new(payload: &'a str, note: &'n mut dyn FnMut(Quirk)) -> Result<Self, PayloadError> {
        if payload.len() > limits::LIST_PAYLOAD {
            return Err(PayloadError::TooLarge("payload"));
        }
        let reader = Reader::from_str(payload);
        Ok(Self { reader, depth: 0, has_ended: false, is_empty_open: false, note })
    }

    /// Goes into the next element at this level and tells its name; `None` where the level
    /// ends, which goes up one.
    fn open(&mut self) -> Result<Option<&'static str>, PayloadError> {
        if std::mem::take(&mut self.is_empty_open) {
            self.leave();
            return Ok(None);
        }
        loop {
            match self.event()? {
                Event::Start(start) => return self.enter(&start).map(Some),
                Event::Empty(start) => {
                    let name = self.enter(&start)?;
                    self.is_empty_open = true;
                    return Ok(Some(name));
                }
                Event::End(_) => {
                    self.leave();
                    return Ok(None);
                }
                Event::Eof if self.depth == 0 => return Ok(None),
                Event::Eof => return Err(self.malformed("an element is not closed")),
                Event::Decl(_) if self.depth == 0 && !self.has_ended => {}
                Event::Comment(_) => {}
                Event::Text(text) => self.between(self.utf8(&text)?)?,
                Event::DocType(_) => return Err(self.malformed("DOCTYPE")),
                _ => return Err(self.malformed("text outside of the elements")),
            }
        }
    }

    /// The text of the element just opened, up to its end; blanks around it are taken off.
    fn value(&mut self) -> Result<String, PayloadError> {
        let mut value = String::new();
        if std::mem::take(&mut self.is_empty_open) {
            self.leave();
            return Ok(value);
        }
        loop {
            match self.event()? {
                Event::Text(text) => value.push_str(self.utf8(&text)?),
                Event::CData(text) => value.push_str(self.utf8(&text)?),
                Event::GeneralRef(reference) => value.push(self.resolved(&reference)?),
                Event::Comment(_) => {}
                Event::End(_) => break,
                Event::Eof => return Err(self.malformed("an element is not closed")),
                _ => return Err(self.malformed("an element where text belongs")),
            }
        }
        self.leave();
        let trimmed = value.trim();
        if trimmed.chars().any(char::is_control) {
            return Err(self.malformed("a control character"));
        }
        if trimmed.len() != value.len() {
            (self.note)(Quirk::BlanksInside);
        }
        Ok(trimmed.to_owned())
    }

    /// Text between elements: white space, and dashes behind the last one.
    fn between(&mut self, text: &str) -> Result<(), PayloadError> {
        let rest = text.trim();
        if rest.is_empty() {
            return Ok(());
        }
        let is_last = self.reader.get_ref().is_empty();
        if self.depth == 0 && self.has_ended && is_last && rest.bytes().all(|octet| octet == b'-') {
            (self.note)(Quirk::StrayDashes);
            return Ok(());
        }
        Err(self.malformed("text outside of the elements"))
    }

    fn enter(&mut self, start: &BytesStart<'_>) -> Result<&'static str, PayloadError> {
        for attribute in start.attributes() {
            let is_namespace = attribute.is_ok_and(|attribute| {
                let name = attribute.key.as_ref();
                name == b"xmlns" || name.starts_with(b"xmlns:")
            });
            if !is_namespace {
                return Err(self.malformed("an attribute"));
            }
        }
        let known = ["ServerList", "ServerInfo", "ID", "BootstrapAddr", "GwAddress", "GwAddr"];
        let known = known.into_iter().chain(["Share"]);
        let name = known.into_iter().find(|name| start.name().as_ref() == name.as_bytes());
        self.depth += 1;
        name.ok_or_else(|| self.malformed("an unknown element"))
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.has_ended = true;
    }

    fn resolved(&self, reference: &BytesRef<'_>) -> Result<char, PayloadError> {
        if let Ok(Some(character)) = reference.resolve_char_ref() {
            return Ok(character);
        }
        match &**reference {
            b"lt" => Ok('<'),
            b"gt" => Ok('>'),
            b"amp" => Ok('&'),
            b"apos" => Ok('\''),
            b"quot" => Ok('"'),
            _ => Err(self.malformed("an entity that XML does not predefine")),
        }
    }

    /// A part of the payload as text, which the whole payload is.
    fn utf8<'t>(&self, octets: &'t [u8]) -> Result<&'t str, PayloadError> {
        std::str::from_utf8(octets).map_err(|_| self.malformed("not UTF-8"))
    }

    fn event(&mut self) -> Result<Event<'a>, PayloadError> {
        self.reader.read_event().map_err(|_| self.malformed("not well-formed XML"))
    }

    fn malformed(&self, what: &'static str) -> PayloadError {
        let offset = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX);
        PayloadError::Malformed { offset, what }
    }

    /// `error` with the present place for its offset.
    fn located(&self, error: PayloadError) -> PayloadError {
        match error {
            PayloadError::Malformed { what, .. } => self.malformed(what),
            too_large @ PayloadError::TooLarge(_) => too_large,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(payload: &str) -> Result<Vec<String>, PayloadError> {
        let servers = parse_server_list(payload)?;
        Ok(servers.iter().map(|server| server.as_str().to_owned()).collect())
    }

    fn what<T: fmt::Debug>(result: Result<T, PayloadError>) -> &'static str {
        match result.unwrap_err() {
            PayloadError::Malformed { what, .. } | PayloadError::TooLarge(what) => what,
        }
    }

    fn list_of(ids: &[String]) -> String {
        let infos: String =
            ids.iter().map(|id| format!("<ServerInfo><ID>{id}</ID></ServerInfo>")).collect();
        format!("<ServerList>{infos}</ServerList>")
    }

    #[test]
    fn a_list_is_read_in_order_and_folded() {
        let payload = "<?xml version='1.0'?>\n<ServerList xmlns='urn:x'>\n\
             <ServerInfo><ID> one </ID></ServerInfo><!-- two -->\
             <ServerInfo><BootstrapAddr>http://b</BootstrapAddr><ID>t&amp;w&#111;</ID></ServerInfo>\
             <ServerInfo><ID><![CDATA[one]]></ID></ServerInfo></ServerList>\n -- ";
        assert_eq!(ids(payload), Ok(vec!["one".to_owned(), "t&wo".to_owned()]));
        let mut quirks = Vec::new();
        server_list(payload, &mut |quirk| quirks.push(quirk)).unwrap();
        assert_eq!(quirks, [Quirk::BlanksInside, Quirk::DuplicateServer, Quirk::StrayDashes]);
    }

    #[test]
    fn an_empty_list_is_a_list() {
        assert_eq!(ids("<ServerList/>"), Ok(vec![]));
        assert_eq!(ids("<ServerList></ServerList>"), Ok(vec![]));
        assert_eq!(ids("\n<?xml version='1.0'?>\n<ServerList/>\n--"), Ok(vec![]));
        assert_eq!(what(ids("")), "no ServerList");
    }

    #[test]
    fn anything_looser_than_the_grammar_is_refused() {
        let list = "<ServerList><ServerInfo><ID>a</ID></ServerInfo></ServerList>";
        assert_eq!(what(ids(&format!("{list}{list}"))), "an element behind ServerList");
        assert_eq!(what(ids("<List/>")), "an unknown element");
        assert_eq!(what(ids("<ServerInfo><ID>a</ID></ServerInfo>")), "no ServerList");
        assert_eq!(what(ids(&format!("-- {list}"))), "text outside of the elements");
        assert_eq!(what(ids(&format!("{list} -- x"))), "text outside of the elements");
        assert_eq!(what(ids(&format!("{list} -- <!-- -->"))), "text outside of the elements");
        assert_eq!(what(ids(&format!("<!DOCTYPE ServerList>{list}"))), "DOCTYPE");
        assert_eq!(what(ids(&format!(" <?pi?>{list}"))), "text outside of the elements");
        assert_eq!(what(ids(&list.replace('a', "&b;"))), "an entity that XML does not predefine");
        assert_eq!(what(ids(&list.replace('a', "&#1;"))), "a control character");
        assert_eq!(what(ids(&list.replace('a', "a & b"))), "not well-formed XML");
        assert_eq!(what(ids(&list.replace('a', " "))), "empty id");
        assert_eq!(what(ids(&list.replace('a', "<ID>a</ID>"))), "an element where text belongs");
        assert_eq!(what(ids(&list.replace("<ID>", "<ID x='1'>"))), "an attribute");
        assert_eq!(what(ids("<ServerList><ServerInfo/></ServerList>")), "ServerInfo without ID");
        assert_eq!(what(ids("<ServerList><ServerInfo>")), "an element is not closed");
        let two = list.replace("<ID>", "<ID>b</ID><ID>");
        assert_eq!(what(ids(&two)), "ServerInfo holds something else than one ID");
    }

    #[test]
    fn the_bounds_are_told_from_bad_grammar() {
        let names = |count: usize| (0..count).map(|n| format!("s{n}")).collect::<Vec<_>>();
        assert_eq!(ids(&list_of(&names(16))).unwrap().len(), 16);
        assert_eq!(ids(&list_of(&names(17))), Err(PayloadError::TooLarge("servers")));
        let long = "i".repeat(limits::SERVER_ID);
        assert!(ids(&list_of(&[format!(" {long} ")])).is_ok());
        let too_long = ids(&list_of(&[format!("{long}i")])).unwrap_err();
        assert_eq!(too_long, PayloadError::TooLarge("id"));
        assert_eq!(too_long.status(), StatusCode::TOO_LARGE);
        let padded = format!("<ServerList/>{}", " ".repeat(limits::LIST_PAYLOAD));
        assert_eq!(ids(&padded), Err(PayloadError::TooLarge("payload")));
        assert_eq!(ids("x").unwrap_err().status(), StatusCode::INCOMPLETE_COMMAND);
    }

    #[test]
    fn an_address_is_read_in_every_known_spelling() {
        let read = |payload| parse_gateway_address(payload);
        let all = |address: &str, share| Ok(Detection { address: Some(address.into()), share });
        assert_eq!(
            read("\n<GwAddress>2002::1</GwAddress>\n<Share>True</Share>\n"),
            all("2002::1", true)
        );
        assert_eq!(read("<Share> 0 </Share><GwAddr>a</GwAddr> --"), all("a", false));
        assert_eq!(read("<GwAddress>a</GwAddress>"), all("a", false));
        assert_eq!(read("<Share>1</Share>"), Ok(Detection { address: None, share: true }));
        assert_eq!(read("<GwAddress/><Share>FALSE</Share>"), Ok(Detection::default()));
    }

    #[test]
    fn an_address_payload_outside_the_grammar_is_refused() {
        let read = |payload| what(parse_gateway_address(payload));
        assert_eq!(read(""), "neither GwAddress nor Share");
        assert_eq!(read("<ID>a</ID>"), "neither GwAddress nor Share");
        assert_eq!(read("<Share>yes</Share>"), "Share is no boolean");
        assert_eq!(read("<Share>1</Share><Share>0</Share>"), "an element stands twice");
        assert_eq!(read("<GwAddr>a</GwAddr>--<Share>1</Share>"), "text outside of the elements");
        let long = format!("<GwAddr>{}</GwAddr>", "a".repeat(limits::GATEWAY_ADDRESS + 1));
        assert_eq!(read(&long), "GwAddress");
    }
}
