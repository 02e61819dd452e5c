//! Cards: who can hand a command to one, and the search on it.

use std::io;

use crate::proto::bootstrap::card::{Options, Step, Walk};

/// A card within reach. Calls block; the daemon makes them on a thread of their own.
pub trait CardReader: Send {
    /// Hands a command APDU to the card: its response, status words included.
    ///
    /// # Errors
    ///
    /// The reader or the card does not answer; the text says which one.
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// Reads a card's bootstrap document, its padding removed. `None`: the card was searched, and has
/// none.
///
/// # Errors
///
/// It is not known what the card has: it wants its PIN, or it or the reader is at fault.
pub fn read_card(reader: &mut dyn CardReader, options: Options) -> io::Result<Option<Vec<u8>>> {
    let mut walk = Walk::new(options);
    loop {
        let command = match walk.step() {
            Step::Send(command) => command.clone(),
            Step::Found(document) => return Ok(Some(document.clone())),
            Step::Failed(failure) if failure.is_absence() => return Ok(None),
            Step::Failed(failure) => return Err(io::Error::other(failure.to_string())),
        };
        let response = reader.transmit(&command)?;
        walk.answer(&response);
    }
}
