//! DHCP leases: dnsmasq's lease file, read and watched.
//!
//! The watch is on the directory, so that a file which is replaced by renaming, or does not exist
//! yet, is seen too. dnsmasq keeps the file open and rewrites it in place, without ever closing
//! it: hence the short wait for the writing to end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::SplitAsciiWhitespace;
use std::time::Duration;

use async_io::{Async, Timer};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::gateway::seam::{Lease, MacAddress};
use crate::limits::{LEASE_EVENT_READS, LEASE_FILE, LEASE_LINE, LEASES};

/// How long a file written in place must have time to become whole.
const SETTLE: Duration = Duration::from_millis(200);

/// How often a directory that was removed is looked for.
const RETRY: Duration = Duration::from_secs(30);

/// A watched lease file.
#[derive(Debug)]
pub struct LeaseWatch {
    path: PathBuf,
    directory: PathBuf,
    name: OsString,
    inotify: Async<Inotify>,
    /// The directory is gone, and the watch with it.
    lost: bool,
}

impl LeaseWatch {
    /// Watches the lease file at `path`, which need not exist.
    ///
    /// # Errors
    ///
    /// Its directory does not exist or cannot be watched; the text says which one.
    pub fn open(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            let text = format!("lease file {}: not the name of a file", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let inotify = Async::new(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?)?;
        watch(inotify.get_ref(), directory).map_err(|e| {
            let directory = directory.display();
            io::Error::new(e.kind(), format!("cannot watch the lease directory {directory}: {e}"))
        })?;
        Ok(Self {
            path: path.to_owned(),
            directory: directory.to_owned(),
            name: name.to_owned(),
            inotify,
            lost: false,
        })
    }

    /// Waits until the file may have changed, at most once in 200 ms if it is written all the
    /// time. Several changes count as one.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            if self.lost {
                self.find_directory().await;
                return Ok(());
            }
            self.inotify.readable().await?;
            // Others may write into that directory all the time: it may be /tmp.
            Timer::after(SETTLE).await;
            if self.take_events()? {
                return Ok(());
            }
        }
    }

    /// The leases that the file holds now; none if it does not exist.
    ///
    /// # Errors
    ///
    /// The file exists and cannot be read.
    pub fn read(&self) -> io::Result<Vec<Lease>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut octets = Vec::new();
        file.take(LEASE_FILE as u64).read_to_end(&mut octets)?;
        if octets.len() == LEASE_FILE {
            log::warn!("{}: only the first {LEASE_FILE} octets are read", self.path.display());
        }
        Ok(parse(&octets))
    }

    /// Takes what the kernel has to tell, a bounded number of times, as more may come meanwhile;
    /// true if the file is concerned.
    fn take_events(&mut self) -> io::Result<bool> {
        let mut concerned = false;
        for _ in 0..LEASE_EVENT_READS {
            let events = match self.inotify.get_ref().read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(e.into()),
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    log::warn!("{}: the lease directory is gone", self.directory.display());
                    self.lost = true;
                }
                concerned |= event.name.as_ref() == Some(&self.name)
                    || event
                        .mask
                        .intersects(AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_Q_OVERFLOW);
            }
        }
        Ok(concerned)
    }

    async fn find_directory(&mut self) {
        while let Err(e) = watch(self.inotify.get_ref(), &self.directory) {
            log::debug!("{}: {e}", self.directory.display());
            Timer::after(RETRY).await;
        }
        self.lost = false;
    }
}

fn watch(inotify: &Inotify, directory: &Path) -> io::Result<()> {
    let events = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_ONLYDIR;
    inotify.add_watch(directory, events)?;
    Ok(())
}

/// Reads a lease file: lines of `expiry MAC address name client-id`. Everything else, DHCPv6
/// leases among it (they carry no MAC), is skipped.
pub fn parse(octets: &[u8]) -> Vec<Lease> {
    octets
        .split(|&octet| octet == b'\n')
        .filter(|line| line.len() <= LEASE_LINE)
        .filter_map(parse_line)
        .take(LEASES)
        .collect()
}

fn parse_line(line: &[u8]) -> Option<Lease> {
    // A host name may hold anything; the first three fields are ASCII.
    let text = String::from_utf8_lossy(line);
    let mut fields: SplitAsciiWhitespace<'_> = text.split_ascii_whitespace();
    let expiry = fields.next()?.parse().ok()?;
    let mac = parse_mac(fields.next()?)?;
    let address: IpAddr = fields.next()?.parse().ok()?;
    // Without the field after it, the address may be half written.
    fields.next()?;
    Some(Lease { expiry, mac, address })
}

/// A MAC, perhaps after the hardware type of Ethernet (1, RFC 1700).
fn parse_mac(text: &str) -> Option<MacAddress> {
    let mac =
        MacAddress::parse(text).or_else(|| text.strip_prefix("01-").and_then(MacAddress::parse))?;
    (!mac.is_group() && mac != MacAddress([0; 6])).then_some(mac)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Seek, Write};

    use smol::future::FutureExt;

    use super::*;

    const GOOD: &str = "\
1763700000 01:ab:34:ef:69:0c 192.168.8.20 camera 01:01:ab:34:ef:69:0c
1763700000 02-AB-34-EF-69-0C 192.168.8.21 * *
0 01-04:ab:34:ef:69:0c 192.168.8.22 b\u{e4}r *
";

    #[test]
    fn leases_with_every_spelling_of_a_mac_are_read_and_group_addresses_are_not() {
        let leases = parse(GOOD.as_bytes());
        assert_eq!(leases.len(), 2, "01:… has the group bit");
        assert_eq!(leases[0].mac.to_string(), "02-ab-34-ef-69-0c");
        assert_eq!(leases[0].expiry, 1_763_700_000);
        assert_eq!(leases[1].address.to_string(), "192.168.8.22");
        assert_eq!(leases[1].expiry, 0);
    }

    #[test]
    fn lines_that_are_no_ethernet_lease_are_skipped() {
        let text = "duid 00:01:00:01:2a:3b:4c:5d:02:ab:34:ef:69:0c\n\
            1763700000 15690764 fd00::15 camera 00:01:00:01\n\
            1763700000 T15690765 fd00::16 camera 00:01:00:01\n\
            1763700000 06-02:ab:34:ef:69:0c 192.168.8.2 x *\n\
            1763700000 02:ab:34:ef:69:0c 192.168.8.999 x *\n\
            -1 02:ab:34:ef:69:0c 192.168.8.9 x *\n\
            1763700000 02:ab:34:ef:69:0c 192.168.8.1";
        assert_eq!(parse(text.as_bytes()), []);
    }

    #[test]
    fn a_cut_file_never_yields_a_lease_that_the_whole_one_does_not_hold() {
        let whole = parse(GOOD.as_bytes());
        for length in 0..GOOD.len() {
            assert!(parse(&GOOD.as_bytes()[..length]).iter().all(|lease| whole.contains(lease)));
        }
    }

    #[test]
    fn long_lines_and_endless_files_are_bounded() {
        let mut text = format!("1 02:ab:34:ef:69:0c 10.0.0.1 {} *\n", "x".repeat(LEASE_LINE));
        text.push_str(&"1 02:ab:34:ef:69:0c 10.0.0.1 x *\n".repeat(LEASES + 5));
        assert_eq!(parse(text.as_bytes()).len(), LEASES);
        assert_eq!(parse(&[0xff; 5000]), []);
    }

    #[test]
    fn a_missing_directory_is_named_in_the_error() {
        let error = LeaseWatch::open(Path::new("/nonexistent/leases")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent"), "{error}");
        assert!(LeaseWatch::open(Path::new("/")).is_err());
    }

    #[test]
    fn every_way_of_writing_the_file_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dnsmasq.leases");
        let mut watch = LeaseWatch::open(&path).unwrap();
        assert_eq!(watch.read().unwrap(), [], "a file that does not exist yet");

        fs::write(&path, GOOD).unwrap();
        assert!(seen(&mut watch), "created");
        assert_eq!(watch.read().unwrap().len(), 2);
        fs::write(directory.path().join("other"), GOOD).unwrap();
        assert!(!seen(&mut watch), "another file");

        let mut open = fs::OpenOptions::new().append(true).open(&path).unwrap();
        open.rewind().unwrap();
        open.set_len(0).unwrap();
        open.write_all(b"1 02:ab:34:ef:69:0c 10.0.0.1 x *\n").unwrap();
        assert!(seen(&mut watch), "rewritten in place and kept open, as dnsmasq does");
        assert_eq!(watch.read().unwrap().len(), 1);

        fs::write(directory.path().join("new"), GOOD).unwrap();
        fs::rename(directory.path().join("new"), &path).unwrap();
        assert!(seen(&mut watch), "replaced");
        fs::write(&path, GOOD).unwrap();
        assert!(seen(&mut watch), "written after it was replaced");
        fs::remove_file(&path).unwrap();
        assert!(seen(&mut watch), "removed");
        assert_eq!(watch.read().unwrap(), []);
    }

    fn seen(watch: &mut LeaseWatch) -> bool {
        let seen = async {
            watch.changed().await.unwrap();
            true
        };
        smol::block_on(seen.or(async {
            Timer::after(Duration::from_millis(600)).await;
            false
        }))
    }
}
