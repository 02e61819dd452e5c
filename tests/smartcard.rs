//! Cards: the walk to the bootstrap file, over dumped files and a modem's AT port, which is a
//! pseudo-terminal with a script behind it.

#![allow(clippy::unwrap_used, clippy::panic)]

use dm_gateway::io::card::{CardReader, read_card};
use dm_gateway::io::card_directory::CardDirectory;
use dm_gateway::io::modem::Modem;
use dm_gateway::proto::bootstrap::card::{
    CsimLine, Failure, Image, Options, Step, Walk, csim, csim_line,
};
use dm_gateway::proto::bootstrap::dm::{self, TreeForm};
use dm_gateway::proto::bootstrap::{Account, Address, Source, read};
use nix::pty::{OpenptyResult, openpty};
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[test]
fn a_card_gives_its_account_whatever_its_way_of_answering() {
    let expected = document();
    for manner in [Manner::Plain, Manner::InParts, Manner::TellsLength, Manner::NoSuchAid] {
        let found = walk(Card { image: image(&expected), manner, pending: Vec::new() });
        let found = found.unwrap_or_else(|failure| panic!("{manner:?}: {failure}"));
        assert_eq!(found, expected, "{manner:?}");
        assert_eq!(read(&found, Source::Card).unwrap()[0].source, Source::Card);
    }
    assert_eq!(image(&expected).bootstrap(Options::default()), Ok(expected));
}

#[test]
fn a_card_without_a_bootstrap_says_what_is_missing() {
    let other = Options { oid: vec![0x67, 0x2b, 0x09, 0x01], ..Options::default() };
    assert_eq!(image(b"x").bootstrap(other), Err(Failure::NoObject));
    assert_eq!(image(&[0xff; 32]).bootstrap(Options::default()), Err(Failure::Empty));
    let bootstrap = |mut image: Image| image.bootstrap(Options::default());
    assert_eq!(bootstrap(Image::default()), Err(Failure::NoApplication));
    let mut bare = Image::default();
    bare.insert("2F00", vec![0xff; 8]).unwrap();
    assert_eq!(bootstrap(bare.clone()), Err(Failure::NoFile("ODF")));
    bare.insert("5031", unhex("a7 06 30 04 04 02 64 30")).unwrap();
    assert_eq!(bootstrap(bare), Err(Failure::NoObject));
    let mut walk = Walk::new(Options::default());
    walk.answer(&[0x69, 0x82]);
    assert_eq!(walk.step(), &Step::Failed(Failure::Locked));
    for high in [0x64, 0x65, 0x6f] {
        let mut walk = Walk::new(Options::default());
        walk.answer(&[high, 0x00]);
        assert_eq!(walk.step(), &Step::Failed(Failure::Faulty));
        assert!(!Failure::Faulty.is_absence());
    }
    let mut walk = Walk::new(Options::default());
    walk.answer(&[0x90]);
    assert_eq!(walk.step(), &Step::Failed(Failure::Senseless));
}

#[test]
fn a_card_that_never_ends_is_given_up() {
    for response in [&[0x61, 0x10][..], &[0x6c, 0x10], &[0x90, 0x00], &[0x62, 0x82]] {
        let mut walk = Walk::new(Options::default());
        let mut sent = 0;
        while let Step::Send(_) = walk.step() {
            walk.answer(response);
            sent += 1;
        }
        assert!(sent <= 512, "{sent}");
    }
}

#[test]
fn at_csim_lines_carry_commands_and_answers() {
    let select = [0x00, 0xa4, 0x00, 0x0c, 0x02, 0x50, 0x31];
    assert_eq!(csim(&select), "AT+CSIM=14,\"00A4000C025031\"\r");
    assert_eq!(csim_line(b"\r\n+CSIM: 4,\"9000\"\r\n"), CsimLine::Response(vec![0x90, 0]));
    assert_eq!(csim_line(b"+CSIM: 4,9000"), CsimLine::Response(vec![0x90, 0]));
    assert_eq!(csim_line(b"OK\r"), CsimLine::Ok);
    assert!(matches!(csim_line(b"+CME ERROR: SIM busy"), CsimLine::Error(_)));
    for bad in ["+CSIM: 6,\"9000\"", "+CSIM: 4", "+CSIM: 4,\"90G0\"", "+CSIM: 3,\"900\""] {
        assert!(matches!(csim_line(bad.as_bytes()), CsimLine::Error(_)), "{bad}");
    }
    for other in ["", "AT+CSIM=4,\"9000\"", "+CREG: 1", "\u{1}RING"] {
        assert_eq!(csim_line(other.as_bytes()), CsimLine::Other, "{other}");
    }
    assert!(matches!(csim_line(&[b'+'; 2000]), CsimLine::Error(_)));
}

// --- A directory ---------------------------------------------------------------------------------

#[test]
fn a_directory_of_dumps_is_a_card() {
    let folder = tempfile::tempdir().unwrap();
    let open = || CardDirectory::open(folder.path());
    let bootstrap = || read_card(&mut open()?, Options::default());
    // A card without the application, and certain of it.
    assert_eq!(bootstrap().unwrap(), None);
    for (name, octets) in files(&document()) {
        fs::write(folder.path().join(name), octets).unwrap();
    }
    fs::write(folder.path().join("README"), "Dumped with a reader.").unwrap();
    fs::create_dir(folder.path().join("6433")).unwrap();
    assert_eq!(bootstrap().unwrap(), Some(document()));

    // The object is gone, then its file.
    fs::write(folder.path().join("6430.bin"), [0xff; 64]).unwrap();
    assert_eq!(bootstrap().unwrap(), None);
    fs::write(folder.path().join("6430.bin"), &files(b"x")[1].1).unwrap();
    fs::remove_file(folder.path().join("3F007F506432")).unwrap();
    assert!(bootstrap().unwrap_err().to_string().contains("DM_Bootstrap"));

    fs::write(folder.path().join("5031"), "twin").unwrap();
    assert!(open().unwrap_err().to_string().contains("two of one id"));
    fs::remove_file(folder.path().join("5031")).unwrap();
    fs::write(folder.path().join("6432"), vec![0; 40_000]).unwrap();
    assert!(open().unwrap_err().to_string().contains("larger"));
    let error = CardDirectory::open(&folder.path().join("none")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

// --- A modem ------------------------------------------------------------------------------------

#[test]
fn the_conversation_with_a_modem_is_the_golden_one() {
    let script = fs::read_to_string(folder("card").join("modem.txt")).unwrap();
    let lines: Vec<String> = script.lines().map(str::to_owned).collect();
    let (path, modem) = pty(move |mut port| {
        for line in &lines {
            if let Some(expected) = line.strip_prefix("> ") {
                assert_eq!(port.line().as_deref(), Some(expected));
            } else if let Some(answer) = line.strip_prefix("< ") {
                port.say(&format!("\r\n{answer}\r\n"));
            }
        }
        assert_eq!(port.line(), None);
    });
    let mut reader = Modem::open(&path).unwrap();
    let found = read_card(&mut reader, Options::default()).unwrap();
    assert_eq!(found, Some(vec![0x02, 0xa4, 0x01, 0x6a, 0x00]));
    drop(reader);
    modem.join();
}

#[test]
fn a_modem_s_card_is_read_whatever_the_modem_s_habits() {
    for habit in ["plain", "echo", "no channel", "news", "octet by octet", "locked"] {
        let (path, modem) = pty(move |port| serve(port, habit));
        let mut reader = Modem::open(&path).unwrap();
        let result = read_card(&mut reader, Options::default());
        match habit {
            "locked" => assert!(result.unwrap_err().to_string().contains("PIN"), "{habit}"),
            _ => assert_eq!(result.unwrap(), Some(document()), "{habit}"),
        }
        drop(reader);
        modem.join();
    }
}

#[test]
fn a_modem_that_fails_is_an_error_in_bounded_time_and_never_an_empty_card() {
    for (habit, kind, words) in [
        ("no SIM", ErrorKind::Other, "+CME ERROR: 10"),
        ("OK alone", ErrorKind::InvalidData, "no answer of the card"),
        ("wrong length", ErrorKind::Other, "cannot be read"),
        ("endless line", ErrorKind::InvalidData, "no line ends"),
        ("endless talk", ErrorKind::TimedOut, "no answer in time"),
        ("silence", ErrorKind::TimedOut, "no answer in time"),
    ] {
        let (path, modem) = pty(move |port| serve(port, habit));
        let start = Instant::now();
        let mut reader = Modem::open(&path).unwrap();
        let error = read_card(&mut reader, Options::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{habit}: {error}");
        let text = error.to_string();
        assert!(text.contains(words) && text.contains("/dev/pts/"), "{habit}: {text}");
        drop(reader);
        assert!(start.elapsed() < Duration::from_secs(8), "{habit}");
        // Who talks without end still waits for a listener.
        if !habit.starts_with("endless") {
            modem.join();
        }
    }
}

#[test]
fn what_is_no_modem_is_not_opened() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = Modem::open(file.path()).unwrap_err().to_string();
    assert!(text.contains(file.path().to_str().unwrap()), "{text}");
    assert_eq!(Modem::open(Path::new("/dev/none")).unwrap_err().kind(), ErrorKind::NotFound);

    let (path, modem) = pty(|mut port| while port.line().is_some() {});
    let start = Instant::now();
    assert_eq!(Modem::open(&path).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(4));
    modem.join();
}

#[test]
fn a_modem_that_is_pulled_out_is_an_error_at_once() {
    let (path, mut modem) = pty(|mut port| {
        port.line();
        port.say("OK\r\n");
        port.line();
    });
    let mut reader = Modem::open(&path).unwrap();
    modem.slave = None;
    let start = Instant::now();
    assert!(reader.transmit(&[0x00, 0xa4, 0x00, 0x0c, 0x02, 0x3f, 0x00]).is_err());
    assert!(start.elapsed() < Duration::from_secs(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * ProptestConfig::default().cases))]

    #[test]
    fn any_dumped_files_are_searched_or_refused(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut image = Image::default();
        let _ = image.insert("5031", octets.clone());
        let _ = image.insert("6430", octets);
        let _ = image.bootstrap(Options::default());
    }

    #[test]
    fn a_card_may_answer_anything(answers in prop::collection::vec(
        (prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..60)) {
        let mut walk = Walk::new(Options::default());
        for (mut answer, is_done) in answers {
            if is_done {
                answer.extend([0x90, 0x00]);
            }
            walk.answer(&answer);
        }
    }
}

// --- Helpers ------------------------------------------------------------------------------------

/// A bootstrap message that needs several reads.
fn document() -> Vec<u8> {
    let mut account = Account::new("com.example.dm", Source::Card);
    account.name = Some("A card's own ".repeat(20));
    account.addresses = vec![Address::uri("https://dm.example.com/")];
    dm::write(&account, "", TreeForm::Elements)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bootstrap").join(name)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|it| it.to_digit(16)).map(|it| it as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The files of a card, with `document` (padded) in its bootstrap file.
fn files(document: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let dump = |name: &str| {
        unhex(&fs::read_to_string(folder("card").join(format!("{name}.hex"))).unwrap())
    };
    let padded = [document, &[0xff; 64]].concat();
    [("5031.bin", dump("5031")), ("6430.bin", dump("6430")), ("3F007F506432", padded)]
}

fn image(document: &[u8]) -> Image {
    let mut image = Image::default();
    for (name, octets) in files(document) {
        image.insert(name, octets).unwrap();
    }
    image
}

/// The modem's side of a serial line.
struct Port {
    reader: BufReader<File>,
    /// Writes one octet at a time.
    slowly: bool,
}

impl Port {
    /// The next command; `None` once the line is cut.
    fn line(&mut self) -> Option<String> {
        loop {
            let mut line = Vec::new();
            match self.reader.read_until(b'\r', &mut line) {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
            let line = line.trim_ascii();
            // A terminal whose echo is on again repeats line ends.
            if !line.is_empty() {
                return Some(String::from_utf8(line.to_vec()).unwrap());
            }
        }
    }

    fn say(&mut self, text: &str) -> bool {
        let port = self.reader.get_mut();
        if !self.slowly {
            return port.write_all(text.as_bytes()).is_ok();
        }
        text.bytes().all(|octet| port.write_all(&[octet]).is_ok())
    }
}

/// A modem on a thread of its own.
struct Script {
    /// Kept open, so that the line is not cut before it is opened by name.
    slave: Option<File>,
    thread: JoinHandle<()>,
}

impl Script {
    fn join(mut self) {
        self.slave = None;
        self.thread.join().unwrap();
    }
}

fn pty(script: impl FnOnce(Port) + Send + 'static) -> (PathBuf, Script) {
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    let path = fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd())).unwrap();
    let port = Port { reader: BufReader::new(File::from(master)), slowly: false };
    let thread = thread::spawn(move || script(port));
    (path, Script { slave: Some(File::from(slave)), thread })
}

/// A modem with a card, and a habit.
fn serve(mut port: Port, habit: &str) {
    port.slowly = habit == "octet by octet";
    let mut image = image(&document());
    let mut open = None;
    while let Some(line) = port.line() {
        if habit == "echo" {
            port.say(&format!("{line}\r"));
        }
        if habit == "news" {
            port.say("\r\n+CREG: 5\r\n\r\nRING\r\n");
        }
        let Some((_, digits)) = line.split_once(',') else {
            assert_eq!(line, "AT");
            port.say("\r\nOK\r\n");
            continue;
        };
        match habit {
            "no SIM" => {
                port.say("\r\n+CME ERROR: 10\r\n");
                continue;
            }
            "OK alone" => {
                port.say("\r\nOK\r\n");
                continue;
            }
            "wrong length" => {
                port.say("\r\n+CSIM: 6,\"9000\"\r\nOK\r\n");
                continue;
            }
            "silence" => continue,
            "endless line" => {
                for _ in 0..64 {
                    port.say(&"x".repeat(64));
                }
                continue;
            }
            "endless talk" => {
                while port.say("\r\n+CSQ: 20,99\r\n") {
                    thread::sleep(Duration::from_millis(2));
                }
                return;
            }
            _ => {}
        }
        let mut command = unhex(digits.trim_matches('"'));
        let answer = match command.as_slice() {
            [0x00, 0x70, 0x00, ..] if habit == "no channel" => vec![0x68, 0x81],
            [0x00, 0x70, 0x00, 0x00, 0x01] => {
                open = Some(2);
                vec![0x02, 0x90, 0x00]
            }
            [0x00, 0x70, 0x80, channel] => {
                assert_eq!(open.take(), Some(*channel));
                vec![0x90, 0x00]
            }
            [_, 0xb0, ..] if habit == "locked" => vec![0x69, 0x82],
            _ => {
                assert_eq!(command[0], open.unwrap_or(0));
                command[0] = 0;
                image.transmit(&command)
            }
        };
        let hex: String = answer.iter().map(|octet| format!("{octet:02X}")).collect();
        port.say(&format!("\r\n+CSIM: {},\"{hex}\"\r\n\r\nOK\r\n", hex.len()));
    }
    assert_eq!(open, None, "the channel was left open");
}

/// How a card gives its answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Plain,
    /// 61 xx and GET RESPONSE, as over T=0.
    InParts,
    /// 6C xx: no more than 128 octets at once.
    TellsLength,
    /// The application is not found by its AID, but in EF DIR.
    NoSuchAid,
}

struct Card {
    image: Image,
    manner: Manner,
    pending: Vec<u8>,
}

impl Card {
    fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        match (self.manner, command) {
            (Manner::InParts, [_, 0xc0, _, _, length]) => {
                let length = usize::from(*length).min(self.pending.len());
                let mut answer: Vec<u8> = self.pending.drain(..length).collect();
                answer.extend(match self.pending.len() {
                    0 => [0x90, 0x00],
                    left => [0x61, left.min(0x70) as u8],
                });
                answer
            }
            (Manner::InParts, [_, 0xb0, ..]) => {
                self.pending = self.image.transmit(command);
                if self.pending.len() == 2 {
                    return std::mem::take(&mut self.pending);
                }
                self.pending.truncate(self.pending.len() - 2);
                match self.pending.len() {
                    0 => vec![0x90, 0x00],
                    left => vec![0x61, left.min(0x70) as u8],
                }
            }
            (Manner::TellsLength, [_, 0xb0, _, _, length]) if *length > 0x80 => vec![0x6c, 0x80],
            (Manner::NoSuchAid, [_, 0xa4, 0x04, ..]) => vec![0x6a, 0x82],
            (Manner::NoSuchAid, [_, 0xa4, 0x00, _, _, 0x3f | 0x2f, 0x00]) => vec![0x90, 0x00],
            (Manner::NoSuchAid, [_, 0xa4, 0x08, _, _, 0x7f, 0x50]) => vec![0x90, 0x00],
            (Manner::NoSuchAid, [_, 0xb2, 1, ..]) => unhex("61 04 4f 02 a0 00 90 00"),
            (Manner::NoSuchAid, [_, 0xb2, 2, ..]) => {
                unhex("61 14 4f 0c a0 00 00 00 63 50 4b 43 53 2d 31 35 51 04 3f 00 7f 50 ff 90 00")
            }
            _ => self.image.transmit(command),
        }
    }
}

fn walk(mut card: Card) -> Result<Vec<u8>, Failure> {
    let mut walk = Walk::new(Options::default());
    loop {
        let command = match walk.step() {
            Step::Send(command) => command.clone(),
            Step::Found(document) => return Ok(document.clone()),
            Step::Failed(failure) => return Err(*failure),
        };
        let answer = card.transmit(&command);
        walk.answer(&answer);
    }
}
