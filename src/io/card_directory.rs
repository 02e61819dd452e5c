//! A directory with a card's files in the place of the card: `5031`, `6430.bin`, `3F007F505031`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::card::CardReader;
use super::explain;
use crate::limits::CARD_FILE;
use crate::proto::bootstrap::card::{Image, ImageFault};

/// A card's files, as they were when the directory was opened.
#[derive(Clone, Debug)]
pub struct CardDirectory {
    image: Image,
}

impl CardDirectory {
    /// Reads the files in `directory` whose names begin with a file id. A directory without any is
    /// a card without the application.
    ///
    /// # Errors
    ///
    /// The directory or a file in it cannot be read, is larger than a card's, or stands for
    /// another one's id.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let at = |error| explain(directory.display(), error);
        let mut paths = fs::read_dir(directory)
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()
            })
            .map_err(at)?;
        // Which of two files of one id is named in the error must not depend on the file system.
        paths.sort();
        let mut image = Image::default();
        for path in paths {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            // Opening a pipe would wait for whoever writes to it.
            if !path.is_file() {
                continue;
            }
            let octets = read(&path).map_err(|error| explain(path.display(), error))?;
            match image.insert(name, octets) {
                Ok(()) => {}
                Err(ImageFault::Name) => log::debug!("{}: no file of a card", path.display()),
                Err(fault) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, fault.to_string());
                    return Err(explain(path.display(), error));
                }
            }
        }
        Ok(Self { image })
    }
}

impl CardReader for CardDirectory {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        Ok(self.image.transmit(command))
    }
}

/// Reads a file, up to one octet more than a card's may have.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    File::open(path)?.take(CARD_FILE as u64 + 1).read_to_end(&mut octets)?;
    Ok(octets)
}
