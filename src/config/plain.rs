//! Values as they are written.

use toml::Spanned;
use toml::de::DeValue;

/// A value as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    Text(String),
    Integer {
        digits: String,
        radix: u32,
    },
    Float(String),
    Boolean(bool),
    /// Each with its octet in the file.
    List(Vec<(usize, Self)>),
    /// Nothing that any key takes: its type in words.
    Other(&'static str),
}

impl Plain {
    pub(super) fn of(value: &Spanned<DeValue<'_>>) -> Self {
        match value.get_ref() {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => {
                Self::Integer { digits: number.as_str().to_owned(), radix: number.radix() }
            }
            DeValue::Float(number) => Self::Float(number.as_str().to_owned()),
            DeValue::Boolean(truth) => Self::Boolean(*truth),
            DeValue::Array(elements) => Self::List(
                elements.iter().map(|element| (element.span().start, Self::of(element))).collect(),
            ),
            other => Self::Other(other.type_str()),
        }
    }

    /// The type in words.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Integer { .. } => "integer",
            Self::Float(_) => "float",
            Self::Boolean(_) => "boolean",
            Self::List(_) => "array",
            Self::Other(name) => name,
        }
    }

    /// The value as JSON, for views: what it is, not how it was written.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Integer { digits, radix } => match i64::from_str_radix(digits, *radix) {
                Ok(number) => number.into(),
                Err(_) => digits.as_str().into(),
            },
            Self::Float(digits) => match digits.parse::<f64>().ok() {
                Some(number) if number.is_finite() => number.into(),
                _ => digits.as_str().into(),
            },
            Self::Boolean(truth) => (*truth).into(),
            Self::List(elements) => {
                elements.iter().map(|(_, element)| element.json()).collect::<Vec<_>>().into()
            }
            Self::Other(name) => format!("({name})").into(),
        }
    }
}
