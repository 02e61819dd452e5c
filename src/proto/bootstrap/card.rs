//! The smartcard: from the PKCS#15 application to the bootstrap file, one command at a time.
//!
//! ```text
//! AID A000000063504B43532D3135 ─► EF ODF 5031 ─[A7]─► EF DODF ─[OID 2.23.43.7.1]─► EF DM_Bootstrap
//!      └ else EF DIR 2F00
//! ```
//!
//! (OMA-TS-DM_Bootstrap 1.2.1, 5.6 and annex; PKCS#15 1.1; ISO 7816-4.) [`Walk`] is told what the card
//! answers and tells what to send: whoever owns a reader drives it. [`Image`] answers in a card's
//! place from dumped files; [`csim()`] and [`csim_line`] are a modem's way to a card (TS 27.007, 8.17).

mod csim;
mod files;

pub use csim::{CsimLine, csim, csim_line};
pub use files::{Image, ImageFault};

use crate::limits;
use std::fmt;

/// The PKCS#15 application.
const APPLICATION: &[u8] = b"\xa0\x00\x00\x00\x63PKCS-15";
/// 2.23.43.7.1, `dm-bootstrap`.
const BOOTSTRAP_OID: &[u8] = &[0x67, 0x2b, 0x07, 0x01];
const EF_ODF: &[u8] = &[0x50, 0x31];
const EF_DIR: &[u8] = &[0x2f, 0x00];
const MASTER_FILE: &[u8] = &[0x3f, 0x00];
/// Entry of ODF: data objects.
const DATA_OBJECTS: u8 = 0xa7;
/// Entry of EF DIR: an application; its id; its path.
const APPLICATION_TEMPLATE: u8 = 0x61;
const APPLICATION_ID: u8 = 0x4f;
const APPLICATION_PATH: u8 = 0x51;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// Octets asked for at a time.
const BLOCK: u8 = 0xff;
/// Deepest nesting in a directory file.
const DEPTH: usize = 8;

/// What may differ from card to card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The application's AID.
    pub application: Vec<u8>,
    /// The object's OID, DER content octets. Cards of the field have others for the same purpose;
    /// 2.23.43.5.1 (67 2B 05 01) is that of a provisioning document.
    pub oid: Vec<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Self { application: APPLICATION.to_vec(), oid: BOOTSTRAP_OID.to_vec() }
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this command APDU and hand the whole response, status words included, to
    /// [`Walk::answer`].
    Send(Vec<u8>),
    /// The bootstrap file, its padding removed; [`super::read`] reads it.
    Found(Vec<u8>),
    /// The search is over without one.
    Failed(Failure),
}

/// Why a card gives no bootstrap document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The card has no PKCS#15 application.
    NoApplication,
    /// A file that must be there is not: its name.
    NoFile(&'static str),
    /// No object of the OID is in the directories: the card has no bootstrap.
    NoObject,
    /// The card wants a PIN first.
    Locked,
    /// The file is empty.
    Empty,
    /// The card reports a fault of its own: nothing is known of what it has.
    Faulty,
    /// The card's answers make no sense, or do not end.
    Senseless,
}

impl Failure {
    /// Whether the card is known to have no bootstrap document: accounts that came from it go.
    pub fn is_absence(self) -> bool {
        matches!(self, Self::NoApplication | Self::NoObject | Self::Empty)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoApplication => f.write_str("the card has no PKCS#15 application"),
            Self::NoFile(name) => write!(f, "the card has no file {name}"),
            Self::NoObject => f.write_str("the card has no bootstrap object"),
            Self::Locked => f.write_str("the card wants its PIN first"),
            Self::Empty => f.write_str("the card's bootstrap file is empty"),
            Self::Faulty => f.write_str("the card reports a fault of its own"),
            Self::Senseless => f.write_str("the card's answers make no sense"),
        }
    }
}

/// A search on a card.
#[derive(Debug)]
pub struct Walk {
    options: Options,
    stage: Stage,
    step: Step,
    /// Selections that lead to the file wanted, still to be sent.
    selections: Vec<Vec<u8>>,
    /// The answer so far, where a card gives it in parts.
    held: Vec<u8>,
    /// What was read of the file so far.
    file: Vec<u8>,
    /// Directories still to be searched.
    directories: Vec<Place>,
    /// The range of the file that counts.
    place: Place,
    sent: usize,
    /// Octets asked for, if the last command but GET RESPONSE was one that reads.
    asked: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Application,
    Directory(u8),
    ApplicationByPath,
    Odf,
    Dodf,
    Bootstrap,
}

/// A file, and the part of it that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    path: Vec<u8>,
    offset: usize,
    length: Option<usize>,
}

impl Walk {
    /// Begins a search.
    pub fn new(options: Options) -> Self {
        let select = select(0x04, &options.application);
        let mut walk = Self {
            options,
            stage: Stage::Application,
            step: Step::Failed(Failure::Senseless),
            selections: Vec::new(),
            held: Vec::new(),
            file: Vec::new(),
            directories: Vec::new(),
            place: Place::default(),
            sent: 0,
            asked: None,
        };
        walk.send(select);
        walk
    }

    /// What is to be done now.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// Takes the card's answer to the command that [`Self::step`] asked to send: data and SW1 SW2.
    pub fn answer(&mut self, response: &[u8]) {
        let Step::Send(command) = &self.step else { return };
        let Some((data, &[high, low])) = response.split_last_chunk::<2>() else {
            return self.fail(Failure::Senseless);
        };
        match (high, low) {
            (0x61 | 0x9f, length) => {
                self.held.extend_from_slice(data);
                self.send(vec![0x00, 0xc0, 0x00, 0x00, length]);
                return;
            }
            (0x6c, length) => {
                let mut again = command.clone();
                again.truncate(4);
                again.push(length);
                return self.send(again);
            }
            _ => {}
        }
        if self.held.len() + data.len() > limits::CARD_FILE {
            return self.fail(Failure::Senseless);
        }
        self.held.extend_from_slice(data);
        let data = std::mem::take(&mut self.held);
        // 62 82: the end of the file came before the length asked for.
        let is_done = matches!((high, low), (0x90, 0x00) | (0x62 | 0x63, _));
        if (high, low) == (0x69, 0x82) {
            return self.fail(Failure::Locked);
        }
        // Behind the first block of a file any error is its end.
        if matches!(high, 0x64 | 0x65 | 0x6f) && self.file.is_empty() {
            return self.fail(Failure::Faulty);
        }
        match self.asked {
            Some(asked) => self.read(is_done, &data, asked),
            None => self.selected(is_done),
        }
    }

    fn selected(&mut self, is_done: bool) {
        if is_done {
            if self.selections.is_empty() {
                match self.stage {
                    Stage::Application | Stage::ApplicationByPath => self.find_odf(),
                    Stage::Directory(_) => self.next_record(),
                    _ => self.send(read_binary(0)),
                }
            } else {
                let next = self.selections.remove(0);
                self.send(next);
            }
            return;
        }
        match self.stage {
            Stage::Application => {
                self.stage = Stage::Directory(0);
                self.selections = vec![select(0x00, EF_DIR)];
                self.send(select(0x00, MASTER_FILE));
            }
            Stage::Directory(_) | Stage::ApplicationByPath => self.fail(Failure::NoApplication),
            Stage::Odf => self.fail(Failure::NoFile("ODF")),
            Stage::Dodf => self.next_directory(),
            Stage::Bootstrap => self.fail(Failure::NoFile("DM_Bootstrap")),
        }
    }

    fn read(&mut self, is_done: bool, data: &[u8], asked: usize) {
        if let Stage::Directory(_) = self.stage {
            match application_path(data, &self.options.application) {
                _ if !is_done => self.fail(Failure::NoApplication),
                Some(path) => {
                    self.stage = Stage::ApplicationByPath;
                    self.go_to(&path);
                }
                None => self.next_record(),
            }
            return;
        }
        self.file.extend_from_slice(data);
        let offset = self.file.len();
        if is_done && data.len() >= asked && offset < limits::CARD_FILE {
            return self.send(read_binary(offset));
        }
        // An error behind the first block is the end of a file that fills its last block.
        if !is_done && offset == 0 {
            return self.fail(Failure::NoFile(match self.stage {
                Stage::Odf => "ODF",
                Stage::Dodf => "DODF",
                _ => "DM_Bootstrap",
            }));
        }
        let file = std::mem::take(&mut self.file);
        let from = file.get(self.place.offset..).unwrap_or_default();
        let length = self.place.length.unwrap_or(usize::MAX).min(from.len());
        let content = from.get(..length).unwrap_or_default();
        self.complete(content);
    }

    /// The file of this stage is here.
    fn complete(&mut self, content: &[u8]) {
        match self.stage {
            Stage::Odf => {
                self.directories = entries(content)
                    .filter(|(tag, _)| *tag == DATA_OBJECTS)
                    .filter_map(|(_, value)| first_place(value, 0))
                    .take(limits::CARD_PATHS)
                    .collect();
                self.directories.reverse();
                self.next_directory();
            }
            Stage::Dodf => match object_place(content, &self.options.oid, 0) {
                Some(place) => {
                    self.stage = Stage::Bootstrap;
                    self.open(place);
                }
                None => self.next_directory(),
            },
            _ => {
                let end = content.iter().rposition(|octet| *octet != 0xff);
                let content = end.and_then(|end| content.get(..=end)).unwrap_or_default();
                if content.iter().all(|octet| *octet == 0) {
                    return self.fail(Failure::Empty);
                }
                self.step = Step::Found(content.to_vec());
            }
        }
    }

    fn find_odf(&mut self) {
        self.stage = Stage::Odf;
        self.open(Place { path: EF_ODF.to_vec(), ..Place::default() });
    }

    fn next_directory(&mut self) {
        self.stage = Stage::Dodf;
        match self.directories.pop() {
            Some(place) => self.open(place),
            None => self.fail(Failure::NoObject),
        }
    }

    fn next_record(&mut self) {
        let Stage::Directory(number) = self.stage else { return };
        if usize::from(number) >= limits::CARD_PATHS {
            return self.fail(Failure::NoApplication);
        }
        self.stage = Stage::Directory(number + 1);
        self.send(vec![0x00, 0xb2, number + 1, 0x04, 0x00]);
    }

    fn open(&mut self, place: Place) {
        let path = place.path.clone();
        self.place = place;
        self.file.clear();
        self.go_to(&path);
    }

    /// Selects by a path: from the master file, below the present directory, or one file id.
    fn go_to(&mut self, path: &[u8]) {
        let command = match path.strip_prefix(MASTER_FILE) {
            Some([]) => select(0x00, MASTER_FILE),
            Some(below) => select(0x08, below),
            None if path.len() == 2 => select(0x00, path),
            None => select(0x09, path),
        };
        self.send(command);
    }

    fn send(&mut self, command: Vec<u8>) {
        self.sent += 1;
        if self.sent > limits::CARD_COMMANDS {
            return self.fail(Failure::Senseless);
        }
        match command.as_slice() {
            [_, 0xb0 | 0xb2, _, _, 0] => self.asked = Some(256),
            [_, 0xb0 | 0xb2, _, _, length] => self.asked = Some((*length).into()),
            [_, 0xc0, ..] => {}
            _ => self.asked = None,
        }
        self.step = Step::Send(command);
    }

    fn fail(&mut self, failure: Failure) {
        self.step = Step::Failed(failure);
    }
}

/// The octets of hexadecimal digits.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(pair).collect()
}

fn select(by: u8, id: &[u8]) -> Vec<u8> {
    // By path and file id the answer would be a template that nothing here reads: P2 0C.
    let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
    let mut command = vec![0x00, 0xa4, by, 0x0c, length];
    command.extend(id.iter().take(usize::from(length)));
    command
}

fn read_binary(offset: usize) -> Vec<u8> {
    // `limits::CARD_FILE` keeps the offset below 15 bits.
    vec![0x00, 0xb0, (offset >> 8) as u8 & 0x7f, offset as u8, BLOCK]
}

/// The TLV objects that stand in a row; what is padding or cut ends them.
fn entries(octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let (&tag, tail) = rest.split_first()?;
        if tag == 0x00 || tag == 0xff || tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, tail) = tail.split_first()?;
        let (length, tail) = match first {
            0..=0x7f => (usize::from(first), tail),
            0x81 | 0x82 => {
                let (length, tail) = tail.split_at_checked(usize::from(first & 0x7f))?;
                let sum = |sum: usize, octet: &u8| sum << 8 | usize::from(*octet);
                (length.iter().fold(0, sum), tail)
            }
            _ => return None,
        };
        let (value, tail) = tail.split_at_checked(length)?;
        rest = tail;
        Some((tag, value))
    })
}

/// The first path in an object, wherever it is nested: `SEQUENCE { OCTET STRING, index, length }`.
fn first_place(octets: &[u8], depth: usize) -> Option<Place> {
    if depth > DEPTH {
        return None;
    }
    let mut objects = entries(octets);
    while let Some((tag, value)) = objects.next() {
        if tag == OCTETS && !value.is_empty() && value.len() % 2 == 0 {
            let mut place = Place { path: value.to_vec(), ..Place::default() };
            for (tag, value) in objects {
                let number = value.iter().take(4).fold(0, |sum, it| sum << 8 | usize::from(*it));
                match tag {
                    0x02 => place.offset = number,
                    0x80 => place.length = Some(number),
                    _ => {}
                }
            }
            return Some(place);
        }
        // Constructed.
        if tag & 0x20 != 0 {
            if let Some(place) = first_place(value, depth + 1) {
                return Some(place);
            }
        }
    }
    None
}

/// The path that follows the OID, at its level or below.
fn object_place(octets: &[u8], oid: &[u8], depth: usize) -> Option<Place> {
    if depth > DEPTH {
        return None;
    }
    let mut rest = entries(octets).skip_while(|(tag, value)| *tag != OID || *value != oid);
    if rest.next().is_some() {
        return rest.find_map(|(tag, value)| match tag {
            OCTETS => {
                let path = (!value.is_empty()).then(|| value.to_vec());
                path.map(|path| Place { path, ..Place::default() })
            }
            _ => first_place(value, depth + 1),
        });
    }
    let constructed = entries(octets).filter(|(tag, _)| tag & 0x20 != 0);
    constructed.into_iter().find_map(|(_, value)| object_place(value, oid, depth + 1))
}

/// The path of the application in a record of EF DIR.
fn application_path(record: &[u8], application: &[u8]) -> Option<Vec<u8>> {
    let (_, template) = entries(record).find(|(tag, _)| *tag == APPLICATION_TEMPLATE)?;
    let of = |wanted| entries(template).find(|(tag, _)| *tag == wanted).map(|(_, value)| value);
    let is_it = of(APPLICATION_ID).is_some_and(|id| id == application);
    of(APPLICATION_PATH).filter(|path| is_it && !path.is_empty()).map(<[u8]>::to_vec)
}
