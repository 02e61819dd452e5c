//! The properties of a node and the formats of its value.
//!
//! (OMA-TS-DM_TND 1.2.1, 7.7.)

use crate::proto::syncml::StatusCode;

/// A run-time property, or the value as listings count it among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// Who may do what.
    Acl,
    /// The format of the value.
    Format,
    /// The last segment of the URI.
    Name,
    /// The length of the value, in octets.
    Size,
    /// Text for humans.
    Title,
    /// When the node last changed.
    TStamp,
    /// The media type of a leaf, the object that an interior node is the root of.
    Type,
    /// Counts changes.
    VerNo,
    /// The value of a leaf; only in listings.
    Value,
}

impl Property {
    /// All of them, by name.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Acl, "ACL"),
        (Self::Format, "Format"),
        (Self::Name, "Name"),
        (Self::Size, "Size"),
        (Self::Title, "Title"),
        (Self::TStamp, "TStamp"),
        (Self::Type, "Type"),
        (Self::VerNo, "VerNo"),
        (Self::Value, "Value"),
    ];

    /// The property of `?prop=`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::of_list(name).filter(|property| *property != Self::Value)
    }

    fn of_list(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(property, _)| *property)
    }
}

/// A set of properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties(u16);

impl Properties {
    /// All but `Name`, which `NodeName` says already.
    pub const USUAL: Self = Self(0x1ff & !(1 << Property::Name as u16));

    /// Reads what follows `TNDS` in a listing: nothing, `+Prop+Prop` or `-Prop-Prop`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some(sign) = text.chars().next() else {
            return Some(Self::USUAL);
        };
        let mut set = match sign {
            '+' => Self(0),
            '-' => Self::USUAL,
            _ => return None,
        };
        for name in text.split(sign).skip(1) {
            let bit = 1 << Property::of_list(name)? as u16;
            set.0 = if sign == '+' { set.0 | bit } else { set.0 & !bit };
        }
        Some(set)
    }

    /// Whether the property is in the set.
    pub fn contains(self, property: Property) -> bool {
        self.0 & 1 << property as u16 != 0
    }
}

/// The format of a node's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text; the default.
    #[default]
    Chr,
    /// Octets. Written as base64 where only text can stand.
    Bin,
    /// `true` or `false`.
    Bool,
    /// Decimal, 32 bits, signed.
    Int,
    /// No value: an interior node.
    Node,
    /// No value: a leaf that has none.
    Null,
    /// A document.
    Xml,
    /// ISO 8601, as text.
    Date,
    /// ISO 8601, as text.
    Time,
    /// Decimal, as text.
    Float,
}

impl Format {
    /// All of them, by name, in the order of their codes in the store.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Chr, "chr"),
        (Self::Bin, "bin"),
        (Self::Bool, "bool"),
        (Self::Int, "int"),
        (Self::Node, "node"),
        (Self::Null, "null"),
        (Self::Xml, "xml"),
        (Self::Date, "date"),
        (Self::Time, "time"),
        (Self::Float, "float"),
    ];

    /// The format of a name. `b64` says how octets are written, the node holds `bin`.
    pub fn parse(name: &str) -> Option<Self> {
        let name = if name == "b64" { "bin" } else { name };
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(format, _)| *format)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("chr", |(_, name)| name)
    }

    /// The format of a code in the store.
    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).map(|(format, _)| *format)
    }

    /// Whether these octets may be the value.
    ///
    /// # Errors
    /// 400 if they may not.
    pub fn check(self, octets: &[u8]) -> Result<(), StatusCode> {
        let text = std::str::from_utf8(octets).ok();
        let clean = |text: &str| !text.chars().any(|it| it == '\0');
        let good = match self {
            Self::Bin => true,
            Self::Node | Self::Null => octets.is_empty(),
            Self::Bool => matches!(octets, b"true" | b"false"),
            Self::Int => text.is_some_and(|text| text.parse::<i32>().is_ok()),
            Self::Float => text.is_some_and(|text| text.parse::<f64>().is_ok()),
            Self::Chr | Self::Xml | Self::Date | Self::Time => text.is_some_and(clean),
        };
        if good { Ok(()) } else { Err(StatusCode::BAD_REQUEST) }
    }
}
