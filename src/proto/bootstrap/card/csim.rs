//! A modem's way to a card: APDUs in AT commands. (TS 27.007, 8.17.)

use super::unhex;
use crate::limits;
use std::fmt::Write as _;

/// The AT command that sends an APDU to the card, its line end included.
pub fn csim(command: &[u8]) -> String {
    let mut text = format!("AT+CSIM={},\"", 2 * command.len());
    for octet in command {
        let _ = write!(text, "{octet:02X}");
    }
    text.push_str("\"\r");
    text
}

/// What a line from a modem says about an `AT+CSIM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CsimLine {
    /// The card's answer, to be handed to [`Walk::answer`](super::Walk::answer) once the final `OK` has come.
    Response(Vec<u8>),
    /// The command is done.
    Ok,
    /// The command failed; the modem's words.
    Error(String),
    /// Something else: an echo, an empty line, news of the network.
    Other,
}

/// Reads one line from a modem, line ends around it ignored. A `+CSIM` that cannot be read is
/// an error: its length must be that of its digits.
pub fn csim_line(line: &[u8]) -> CsimLine {
    if line.len() > limits::AT_LINE {
        return CsimLine::Error("line too long".to_owned());
    }
    let Ok(text) = std::str::from_utf8(line) else { return CsimLine::Other };
    let text = text.trim();
    if text == "OK" {
        return CsimLine::Ok;
    }
    if text == "ERROR" || text.starts_with("+CME ERROR") || text.starts_with("+CMS ERROR") {
        return CsimLine::Error(text.chars().filter(|it| !it.is_control()).collect());
    }
    let Some(answer) = text.strip_prefix("+CSIM:") else { return CsimLine::Other };
    let response = || {
        let (length, digits) = answer.split_once(',')?;
        let digits = digits.trim().trim_matches('"');
        let octets = unhex(digits)?;
        (length.trim().parse() == Ok(digits.len())).then_some(octets)
    };
    let bad = || CsimLine::Error("+CSIM that cannot be read".to_owned());
    response().map_or_else(bad, CsimLine::Response)
}
