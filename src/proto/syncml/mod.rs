//! SyncML DM 1.2: ONE message model, and two encodings of it.
//!
//! (OMA-TS-DM_RepPro 1.2.1.) [`xml`] and [`wbxml`] read and write the same [`Message`]; the
//! text they read is borrowed from the input wherever it can be.
//!
//! Peers permute elements, leave some out and add others; decoding takes the order as it comes
//! and is strict only where a lax reading could be wrong about who speaks or what is meant.

pub(in crate::proto) mod description;
mod grammar;
mod lexer;
mod meaning;
mod tokens;
pub mod wbxml;
mod writer;
pub mod xml;

use crate::proto::wire::DecodeError;
use std::borrow::Cow;

/// The name of the element that has `token` (0x05 to 0x3F) on a code page (0 to 2) of SyncML.
pub(in crate::proto) fn element_name(page: u8, token: u8) -> Option<&'static str> {
    tokens::Tag::of_token(page, token).map(tokens::Tag::name)
}

/// How a message is written on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `application/vnd.syncml.dm+xml`.
    Xml,
    /// `application/vnd.syncml.dm+wbxml`.
    Wbxml,
}

impl Encoding {
    /// The encoding that a Content-Type names, parameters and case ignored. The
    /// `vnd.syncml+…` forms of SyncML DS are taken too: clients of the field send them.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/vnd.syncml.dm+xml") || is("application/vnd.syncml+xml") {
            Some(Self::Xml)
        } else if is("application/vnd.syncml.dm+wbxml") || is("application/vnd.syncml+wbxml") {
            Some(Self::Wbxml)
        } else {
            None
        }
    }

    /// The Content-Type to send.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Xml => "application/vnd.syncml.dm+xml",
            Self::Wbxml => "application/vnd.syncml.dm+wbxml",
        }
    }

    /// Decodes one message.
    ///
    /// # Errors
    /// Where the octets are not a message within the bounds of [`crate::limits`].
    pub fn decode(self, octets: &[u8]) -> Result<Message<'_>, DecodeError> {
        match self {
            Self::Xml => xml::decode(octets),
            Self::Wbxml => wbxml::decode(octets),
        }
    }

    /// Encodes one message.
    pub fn encode(self, message: &Message<'_>) -> Vec<u8> {
        match self {
            Self::Xml => xml::encode(message),
            Self::Wbxml => wbxml::encode(message),
        }
    }
}

/// One SyncML message: `SyncML` with `SyncHdr` and `SyncBody`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `SyncHdr`.
    pub header: Header<'a>,
    /// The commands of `SyncBody`, in order.
    pub commands: Vec<Command<'a>>,
    /// Whether `Final` closes the package.
    pub is_final: bool,
}

/// `SyncHdr`: who speaks to whom, in which session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// `VerDTD`, `1.2`.
    pub version_dtd: Cow<'a, str>,
    /// `VerProto`, `DM/1.2`.
    pub version_protocol: Cow<'a, str>,
    /// `SessionID`, one to four hexadecimal digits by the specification, any text here.
    pub session_id: Cow<'a, str>,
    /// `MsgID`, from 1.
    pub message_id: u32,
    /// `Target`: the receiver.
    pub target: Location<'a>,
    /// `Source`: the sender.
    pub source: Location<'a>,
    /// `RespURI`: where answers go.
    pub response_uri: Option<Cow<'a, str>>,
    /// `Cred`: the sender's credentials.
    pub credentials: Option<Credentials<'a>>,
    /// `Meta`: MaxMsgSize, MaxObjSize.
    pub meta: Meta<'a>,
}

/// `Target` or `Source`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location<'a> {
    /// `LocURI`.
    pub uri: Cow<'a, str>,
    /// `LocName`: in the header's Source, the user name for auth-md5.
    pub name: Option<Cow<'a, str>>,
}

/// `Meta`, its MetInf children. Absent children are `None`; an empty `Meta` is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta<'a> {
    /// `Type`: a MIME type, an alert type, an authentication type.
    pub kind: Option<Cow<'a, str>>,
    /// `Format`.
    pub format: Option<Cow<'a, str>>,
    /// `Mark`: the importance of a generic alert.
    pub mark: Option<Cow<'a, str>>,
    /// `Size` of a large object, in octets as carried.
    pub size: Option<u64>,
    /// `NextNonce`, base64 text as it stands on the wire.
    pub next_nonce: Option<Cow<'a, str>>,
    /// `MaxMsgSize`, in octets.
    pub max_message_size: Option<u64>,
    /// `MaxObjSize`, in octets.
    pub max_object_size: Option<u64>,
}

/// `Cred`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// `Meta`: Type and Format.
    pub meta: Meta<'a>,
    /// `Data`.
    pub data: Option<Data<'a>>,
}

/// The contents of `Data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// Character data: escaped in XML, an inline string in WBXML.
    Text(Cow<'a, str>),
    /// Text that is itself a document: CDATA in XML, OPAQUE in WBXML. Elements that stand
    /// unescaped inside `Data` are read as this, verbatim.
    Markup(Cow<'a, str>),
    /// Octets that are not text: base64 in XML, OPAQUE in WBXML.
    Binary(Cow<'a, [u8]>),
}

impl Data<'_> {
    /// The text, unless the data is binary.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Markup(text) => Some(text),
            Self::Binary(_) => None,
        }
    }
}

/// A child of `SyncBody`, `Atomic` or `Sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `Status`.
    Status(Status<'a>),
    /// `Results`.
    Results(Results<'a>),
    /// `Alert`.
    Alert(Alert<'a>),
    /// `Add`, `Copy`, `Delete`, `Exec`, `Get` or `Replace`.
    Operation(Operation<'a>),
    /// `Atomic` or `Sequence`.
    Group(Group<'a>),
    /// A command of SyncML that OMA DM does not use (`Put`, `Sync`, …): its name and CmdID.
    Other {
        /// The element's name.
        name: &'static str,
        /// `CmdID`.
        command_id: Cow<'a, str>,
    },
}

/// `Status`: the answer to one command, or to the header (CmdRef 0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status<'a> {
    /// `CmdID`.
    pub command_id: Cow<'a, str>,
    /// `MsgRef`: the message answered.
    pub message_ref: Cow<'a, str>,
    /// `CmdRef`: the command answered, `0` for SyncHdr.
    pub command_ref: Cow<'a, str>,
    /// `Cmd`: the name of the command answered.
    pub command: Cow<'a, str>,
    /// `TargetRef`.
    pub target_refs: Vec<Cow<'a, str>>,
    /// `SourceRef`.
    pub source_refs: Vec<Cow<'a, str>>,
    /// `Chal`: its Meta (Type, Format, NextNonce).
    pub challenge: Option<Meta<'a>>,
    /// `Data`.
    pub code: StatusCode,
    /// `Item`.
    pub items: Vec<Item<'a>>,
}

/// `Results` of a Get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results<'a> {
    /// `CmdID`.
    pub command_id: Cow<'a, str>,
    /// `MsgRef`.
    pub message_ref: Option<Cow<'a, str>>,
    /// `CmdRef`.
    pub command_ref: Cow<'a, str>,
    /// `Meta`.
    pub meta: Meta<'a>,
    /// `TargetRef`.
    pub target_ref: Option<Cow<'a, str>>,
    /// `SourceRef`.
    pub source_ref: Option<Cow<'a, str>>,
    /// `Item`.
    pub items: Vec<Item<'a>>,
}

/// `Alert`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert<'a> {
    /// `CmdID`.
    pub command_id: Cow<'a, str>,
    /// `Data`: the alert code, if it is a number.
    pub code: Option<AlertCode>,
    /// `Correlator` of the Exec that caused this alert.
    pub correlator: Option<Cow<'a, str>>,
    /// `Meta` on the command instead of the item, as Koneki sends it.
    pub meta: Meta<'a>,
    /// `Item`.
    pub items: Vec<Item<'a>>,
    /// Character data directly below `Alert`, where the grammar has none: the form in which
    /// the change request prints the Device Detection Alert.
    pub loose: Option<Data<'a>>,
}

/// `Add`, `Copy`, `Delete`, `Exec`, `Get` or `Replace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// Which one.
    pub verb: Verb,
    /// `CmdID`.
    pub command_id: Cow<'a, str>,
    /// `Meta` for all items.
    pub meta: Meta<'a>,
    /// `Correlator` (Exec).
    pub correlator: Option<Cow<'a, str>>,
    /// `Item`.
    pub items: Vec<Item<'a>>,
}

/// The verb of an [`Operation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `Add`.
    Add,
    /// `Copy`.
    Copy,
    /// `Delete`.
    Delete,
    /// `Exec`.
    Exec,
    /// `Get`.
    Get,
    /// `Replace`.
    Replace,
}

impl Verb {
    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Copy => "Copy",
            Self::Delete => "Delete",
            Self::Exec => "Exec",
            Self::Get => "Get",
            Self::Replace => "Replace",
        }
    }
}

/// `Atomic` or `Sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Whether this is `Atomic`; else `Sequence`.
    pub atomic: bool,
    /// `CmdID`.
    pub command_id: Cow<'a, str>,
    /// `Meta`.
    pub meta: Meta<'a>,
    /// The commands inside.
    pub commands: Vec<Command<'a>>,
}

/// `Item`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item<'a> {
    /// `Target`.
    pub target: Option<Location<'a>>,
    /// `Source`.
    pub source: Option<Location<'a>>,
    /// `Meta`.
    pub meta: Meta<'a>,
    /// `Data`.
    pub data: Option<Data<'a>>,
    /// Whether `MoreData` says that the next message continues the data.
    pub more_data: bool,
}

impl<'a> Command<'a> {
    /// The element's name, as it stands in `Cmd` of a Status.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "Status",
            Self::Results(_) => "Results",
            Self::Alert(_) => "Alert",
            Self::Operation(operation) => operation.verb.name(),
            Self::Group(group) if group.atomic => "Atomic",
            Self::Group(_) => "Sequence",
            Self::Other { name, .. } => name,
        }
    }

    /// `CmdID`.
    pub fn command_id(&self) -> &Cow<'a, str> {
        match self {
            Self::Status(status) => &status.command_id,
            Self::Results(results) => &results.command_id,
            Self::Alert(alert) => &alert.command_id,
            Self::Operation(operation) => &operation.command_id,
            Self::Group(group) => &group.command_id,
            Self::Other { command_id, .. } => command_id,
        }
    }
}

/// A Status code: any number; the known ones have names. (RepPro 1.2.1, 10.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(pub u16);

impl StatusCode {
    /// Done.
    pub const OK: Self = Self(200);
    /// Accepted for processing.
    pub const ACCEPTED: Self = Self(202);
    /// Authenticated for the rest of the session.
    pub const AUTHENTICATED: Self = Self(212);
    /// A chunk of a large object is kept; the rest is awaited.
    pub const CHUNK_KEPT: Self = Self(213);
    /// Not carried out, because of what came before.
    pub const NOT_EXECUTED: Self = Self(215);
    /// Done, and undone again with its Atomic.
    pub const ROLLED_BACK: Self = Self(216);
    /// The request is malformed.
    pub const BAD_REQUEST: Self = Self(400);
    /// Wrong credentials.
    pub const INVALID_CREDENTIALS: Self = Self(401);
    /// Refused, whoever asks.
    pub const FORBIDDEN: Self = Self(403);
    /// The target does not exist.
    pub const NOT_FOUND: Self = Self(404);
    /// The command is not allowed on the target.
    pub const NOT_ALLOWED: Self = Self(405);
    /// An optional feature is missing.
    pub const OPTIONAL_FEATURE_NOT_SUPPORTED: Self = Self(406);
    /// Credentials are missing.
    pub const MISSING_CREDENTIALS: Self = Self(407);
    /// The first chunk of a large object names no Size.
    pub const SIZE_REQUIRED: Self = Self(411);
    /// The command is incomplete or incorrectly formed.
    pub const INCOMPLETE_COMMAND: Self = Self(412);
    /// The object is too large.
    pub const TOO_LARGE: Self = Self(413);
    /// The URI is too long.
    pub const URI_TOO_LONG: Self = Self(414);
    /// The type or format is not supported.
    pub const UNSUPPORTED_TYPE: Self = Self(415);
    /// Come back later.
    pub const RETRY_LATER: Self = Self(417);
    /// The target exists already.
    pub const ALREADY_EXISTS: Self = Self(418);
    /// The receiver has no room left.
    pub const DEVICE_FULL: Self = Self(420);
    /// A large object is not as long as its Size said.
    pub const SIZE_MISMATCH: Self = Self(424);
    /// The ACL does not give the right.
    pub const PERMISSION_DENIED: Self = Self(425);
    /// The receiver failed.
    pub const COMMAND_FAILED: Self = Self(500);
    /// The receiver does not know the command.
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// The DTD version is not supported.
    pub const DTD_NOT_SUPPORTED: Self = Self(505);
    /// An Atomic failed and was undone.
    pub const ATOMIC_FAILED: Self = Self(507);
    /// An Atomic failed and could not be undone.
    pub const ATOMIC_ROLLBACK_FAILED: Self = Self(516);
    /// An Atomic was undone because its answer fits no message.
    pub const ATOMIC_RESPONSE_TOO_LARGE: Self = Self(517);
    /// The protocol version is not supported.
    pub const PROTOCOL_NOT_SUPPORTED: Self = Self(513);

    /// Whether this is a 2xx code.
    pub fn is_success(self) -> bool {
        self.0 / 100 == 2
    }
}

/// An alert code: any number; the known ones have names. (DM Protocol 1.2.1; 1230: GwMO change
/// request, 8.6.1.2.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertCode(pub u16);

impl AlertCode {
    /// The session was asked for by the server.
    pub const SERVER_INITIATED: Self = Self(1200);
    /// The session is the client's own idea.
    pub const CLIENT_INITIATED: Self = Self(1201);
    /// Send the next message of the package.
    pub const NEXT_MESSAGE: Self = Self(1222);
    /// The session is broken off.
    pub const SESSION_ABORT: Self = Self(1223);
    /// A large object was broken off.
    pub const NO_END_OF_DATA: Self = Self(1225);
    /// Generic Alert.
    pub const GENERIC: Self = Self(1226);
    /// Device Detection Alert.
    pub const DEVICE_DETECTION: Self = Self(1230);
}
