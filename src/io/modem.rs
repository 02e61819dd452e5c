//! A modem's card, by `AT+CSIM` over its serial port. (TS 27.007, 8.17; TS 102 221, 11.1.17.)
//!
//! The modem uses the card itself, on the basic channel, where selecting another application would
//! take the card away from it. So a logical channel is opened for the search and closed behind it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    self, BaudRate, ControlFlags, FlushArg, SetArg, SpecialCharacterIndices, Termios,
};

use super::card::CardReader;
use super::explain;
use crate::limits::{AT_ANSWER, AT_LINE, AT_SEARCH};
use crate::proto::bootstrap::card::{CsimLine, csim, csim_line};

/// How long a modem has for the first word. What is no modem is found out soon.
const GREETING: Duration = Duration::from_secs(2);

/// Opens a logical channel; the answer is its number.
const OPEN_CHANNEL: &[u8] = &[0x00, 0x70, 0x00, 0x00, 0x01];

/// A modem's AT port, for one search.
#[derive(Debug)]
pub struct Modem {
    path: PathBuf,
    port: File,
    /// How the port was set before.
    before: Termios,
    /// What was read and makes no line yet.
    held: Vec<u8>,
    channel: Channel,
    /// When the port must be left.
    end: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    /// Not asked for yet.
    Unknown,
    /// The card gives none.
    Basic,
    Logical(u8),
}

impl Modem {
    /// Opens the serial device at `path` and waits until a modem answers, 2 s at most.
    ///
    /// # Errors
    ///
    /// The device cannot be opened, is no serial port, or nobody there understands AT commands;
    /// the text names the device.
    pub fn open(path: &Path) -> io::Result<Self> {
        let at = |error| explain(path.display(), error);
        // Without waiting for a carrier, and never as the terminal that controls the process.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).custom_flags(flags.bits());
        let port = options.open(path).map_err(at)?;
        let before = termios::tcgetattr(&port).map_err(|error| at(error.into()))?;
        set_raw(&port, &before).map_err(at)?;
        let end = Instant::now() + AT_SEARCH;
        let (path, channel) = (path.to_owned(), Channel::Unknown);
        let mut modem = Self { path, port, before, held: Vec::new(), channel, end };
        modem.command("AT\r", GREETING)?;
        Ok(modem)
    }

    /// Sends an APDU as it is.
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.command(&csim(command), AT_ANSWER)?.ok_or_else(|| {
            self.error(io::ErrorKind::InvalidData, "the modem has no answer of the card")
        })
    }

    /// Sends a command line; the card's answer, if one comes before the final OK.
    fn command(&mut self, text: &str, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let end = self.end.min(Instant::now() + patience);
        // An answer that came too late is not the answer to this command.
        let _ = termios::tcflush(&self.port, FlushArg::TCIFLUSH);
        self.held.clear();
        self.send(text.as_bytes(), end)?;
        let mut answer = None;
        loop {
            match csim_line(&self.line(end)?) {
                CsimLine::Response(octets) => answer = Some(octets),
                CsimLine::Ok => return Ok(answer),
                CsimLine::Error(words) => {
                    let text = format!("the modem says {words}");
                    return Err(self.error(io::ErrorKind::Other, &text));
                }
                CsimLine::Other => {}
            }
        }
    }

    fn send(&mut self, mut octets: &[u8], end: Instant) -> io::Result<()> {
        while !octets.is_empty() {
            match self.port.write(octets) {
                Ok(sent) => octets = octets.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLOUT, end)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(explain(self.path.display(), error)),
            }
        }
        Ok(())
    }

    /// The next line, without its end.
    fn line(&mut self, end: Instant) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.held.iter().position(|octet| matches!(octet, b'\r' | b'\n')) {
                let mut line: Vec<u8> = self.held.drain(..=at).collect();
                line.pop();
                return Ok(line);
            }
            if self.held.len() > AT_LINE {
                return Err(self.error(io::ErrorKind::InvalidData, "no line ends there"));
            }
            // There is an end even to one who never stops talking.
            if Instant::now() >= end {
                return Err(self.error(io::ErrorKind::TimedOut, "no answer in time"));
            }
            let mut octets = [0; 512];
            match self.port.read(&mut octets) {
                Ok(0) => return Err(self.error(io::ErrorKind::UnexpectedEof, "it is gone")),
                Ok(count) => self.held.extend_from_slice(octets.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::POLLIN, end)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(explain(self.path.display(), error)),
            }
        }
    }

    /// Waits until the port can be read or written.
    fn wait(&self, what: PollFlags, end: Instant) -> io::Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.error(io::ErrorKind::TimedOut, "no answer in time"));
        }
        // Rounded up: a wait of 0 ms would return at once.
        let left = PollTimeout::try_from(left + Duration::from_millis(1));
        let mut ports = [PollFd::new(self.port.as_fd(), what)];
        match poll(&mut ports, left.unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(explain(self.path.display(), error)),
        }
    }

    fn error(&self, kind: io::ErrorKind, text: &str) -> io::Error {
        io::Error::new(kind, format!("{}: {text}", self.path.display()))
    }
}

impl CardReader for Modem {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        if self.channel == Channel::Unknown {
            self.channel = match self.exchange(OPEN_CHANNEL)?.as_slice() {
                [number @ 1..=3, 0x90, 0x00] => Channel::Logical(*number),
                _ => Channel::Basic,
            };
        }
        let mut command = command.to_vec();
        if let (Channel::Logical(number), Some(class)) = (self.channel, command.first_mut()) {
            *class |= number;
        }
        self.exchange(&command)
    }
}

impl Drop for Modem {
    fn drop(&mut self) {
        if let Channel::Logical(number) = self.channel {
            self.end = Instant::now() + GREETING;
            if let Err(error) = self.exchange(&[0x00, 0x70, 0x80, number]) {
                log::debug!("the card's channel {number} stays open: {error}");
            }
        }
        // What was not taken would keep the port from being closed.
        let _ = termios::tcflush(&self.port, FlushArg::TCIOFLUSH);
        let _ = termios::tcsetattr(&self.port, SetArg::TCSANOW, &self.before);
    }
}

/// 115,200 bit/s, 8 bits, no handshake, no modem control lines, nothing changed on the way.
fn set_raw(port: &File, before: &Termios) -> io::Result<()> {
    let mut raw = before.clone();
    termios::cfmakeraw(&mut raw);
    raw.control_flags |= ControlFlags::CLOCAL | ControlFlags::CREAD;
    raw.control_flags &= !(ControlFlags::CRTSCTS | ControlFlags::CSTOPB | ControlFlags::HUPCL);
    raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    termios::cfsetspeed(&mut raw, BaudRate::B115200)?;
    termios::tcsetattr(port, SetArg::TCSANOW, &raw)?;
    Ok(())
}
