//! Dumped files in the place of a card.

use super::{Failure, Options, Step, Walk};
use crate::limits;
use std::collections::BTreeMap;
use std::fmt;

/// The files of an application, by their two-octet ids: answers commands as a card does. Without a
/// file there is no application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    files: BTreeMap<[u8; 2], Vec<u8>>,
    selected: Option<[u8; 2]>,
}

/// Why a dumped file cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFault {
    /// The name does not begin with a file id: four hexadecimal digits and nothing, or a dot, or
    /// the same of each directory above it.
    Name,
    /// The file is larger than [`limits::CARD_FILE`].
    Size,
    /// There are more than 64 files, or two of one id.
    Files,
}

impl fmt::Display for ImageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the name is no file id of four hexadecimal digits",
            Self::Size => "the file is larger than a card's",
            Self::Files => "there are too many files, or two of one id",
        })
    }
}

impl Image {
    /// Adds a file under its name: `5031`, `5031.bin`, `3F007F505031.bin` (the last id counts).
    ///
    /// # Errors
    /// See [`ImageFault`]; the image stays as it was.
    pub fn insert(&mut self, name: &str, octets: Vec<u8>) -> Result<(), ImageFault> {
        let digits = name.split('.').next().unwrap_or_default();
        let path = super::unhex(digits).filter(|path| path.len() % 2 == 0);
        let id = path.as_deref().and_then(<[u8]>::last_chunk::<2>).ok_or(ImageFault::Name)?;
        if octets.len() > limits::CARD_FILE {
            return Err(ImageFault::Size);
        }
        if self.files.len() >= 64 || self.files.contains_key(id) {
            return Err(ImageFault::Files);
        }
        self.files.insert(*id, octets);
        Ok(())
    }

    /// Answers a command APDU: SELECT and READ BINARY; all else with 6D 00.
    pub fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        match command {
            [_, 0xa4, 0x04, ..] => status(if self.files.is_empty() { NOT_FOUND } else { DONE }),
            [_, 0xa4, _, _, _, id @ ..] => {
                let id = id.last_chunk::<2>().filter(|id| self.files.contains_key(*id));
                self.selected = id.copied();
                status(if id.is_some() { DONE } else { NOT_FOUND })
            }
            [_, 0xb0, high, low, length] => {
                let file = self.selected.and_then(|id| self.files.get(&id));
                let offset = usize::from(*high) << 8 | usize::from(*low);
                let Some(rest) = file.and_then(|file| file.get(offset..)) else {
                    return status(WRONG_OFFSET);
                };
                let length = if *length == 0 { 256 } else { usize::from(*length) };
                let mut answer: Vec<u8> = rest.iter().copied().take(length).collect();
                answer.extend(DONE);
                answer
            }
            _ => status([0x6d, 0x00]),
        }
    }

    /// The bootstrap file among the dumps.
    ///
    /// # Errors
    /// As on a card.
    pub fn bootstrap(&mut self, options: Options) -> Result<Vec<u8>, Failure> {
        let mut walk = Walk::new(options);
        loop {
            let command = match walk.step() {
                Step::Send(command) => command.clone(),
                Step::Found(document) => return Ok(document.clone()),
                Step::Failed(failure) => return Err(*failure),
            };
            let response = self.transmit(&command);
            walk.answer(&response);
        }
    }
}

const DONE: [u8; 2] = [0x90, 0x00];
const NOT_FOUND: [u8; 2] = [0x6a, 0x82];
const WRONG_OFFSET: [u8; 2] = [0x6b, 0x00];

fn status(words: [u8; 2]) -> Vec<u8> {
    words.to_vec()
}
