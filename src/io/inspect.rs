//! What an operator's check looks at on this machine. Reads, and changes nothing.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, User, getgrouplist};

use crate::limits;

/// A user, with all that decides what it may do with files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its groups.
    pub groups: Vec<u32>,
}

/// Who owns a file, and who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A user by its number.
pub fn account_of(uid: u32) -> Option<Account> {
    let user = User::from_uid(uid.into()).ok()??;
    account(&user.name)
}

/// A user by its name.
pub fn account(name: &str) -> Option<Account> {
    let user = User::from_name(name).ok()??;
    let c_name = std::ffi::CString::new(name).ok()?;
    let groups = getgrouplist(&c_name, user.gid).unwrap_or_else(|_| vec![user.gid]);
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    Some(Account { name: name.to_owned(), uid: user.uid.as_raw(), groups })
}

/// The user that this process runs as.
pub fn this_account() -> Account {
    let uid = nix::unistd::geteuid();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let mut groups: Vec<_> = nix::unistd::getgroups().unwrap_or_default();
    groups.push(nix::unistd::getegid());
    Account {
        name: name.unwrap_or_else(|| uid.to_string()),
        uid: uid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
    }
}

/// What the modes of a path say, directories first: `/`, `/etc`, …, the file itself.
///
/// # Errors
/// The first part that cannot be looked at, and why.
pub fn accesses(path: &Path) -> Result<Vec<(PathBuf, Access)>, (PathBuf, io::Error)> {
    let whole = std::path::absolute(path).map_err(|error| (path.to_owned(), error))?;
    let mut parts: Vec<_> = whole.ancestors().map(Path::to_owned).collect();
    parts.reverse();
    let mut found = Vec::new();
    for part in parts {
        match fs::metadata(&part) {
            Ok(data) => {
                let access = Access { uid: data.uid(), gid: data.gid(), mode: data.mode() };
                found.push((part, access));
            }
            Err(error) => return Err((part, error)),
        }
    }
    Ok(found)
}

/// The newest time of change below a directory, in seconds since 1970.
pub fn newest_change(directory: &Path) -> Option<u64> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let data = entry.metadata().ok()?;
        let own = u64::try_from(data.mtime()).unwrap_or_default();
        Some(if data.is_dir() { newest_change(&entry.path()).unwrap_or(own) } else { own })
    });
    times.max()
}

/// The first line of a file below `/proc` or `/sys`.
pub fn line_of(path: impl AsRef<Path>) -> Option<String> {
    let text = String::from_utf8(super::read_bounded(path.as_ref(), 64 * 1024).ok()?).ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// The number in such a file.
pub fn number_of(path: impl AsRef<Path>) -> Option<u64> {
    line_of(path)?.parse().ok()
}

/// Whether an interface is there, and if so whether it is up with a carrier.
pub fn interface(name: &str) -> Option<bool> {
    let directory = Path::new("/sys/class/net").join(name);
    if name.is_empty() || !directory.exists() {
        // `/sys` may be that of another network namespace; the system call is not.
        let index = nix::net::if_::if_nametoindex(name).ok()?;
        return Some(index > 0 && running(name));
    }
    Some(running(name))
}

fn running(name: &str) -> bool {
    use nix::net::if_::InterfaceFlags as Flags;
    let Ok(mut all) = nix::ifaddrs::getifaddrs() else { return true };
    all.any(|it| it.interface_name == name && it.flags.contains(Flags::IFF_UP | Flags::IFF_RUNNING))
}

/// Every address of this machine.
pub fn addresses() -> HashSet<IpAddr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return HashSet::new() };
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::from(it.ip())))
    };
    all.filter_map(|it| ip(it.address?)).collect()
}

/// The IPv4 addresses of an interface.
pub fn addresses_of(name: &str) -> Vec<Ipv4Addr> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let own = all.filter(|it| it.interface_name == name);
    own.filter_map(|it| Some(it.address?.as_sockaddr_in()?.ip())).collect()
}

/// Whether an interface, or any if none is named, has an IPv6 address that the Internet reaches.
pub fn has_global_v6(name: &str) -> bool {
    let Ok(mut all) = nix::ifaddrs::getifaddrs() else { return false };
    all.any(|it| {
        let address = it.address.and_then(|address| Some(address.as_sockaddr_in6()?.ip()));
        let is_global = address.is_some_and(|ip| ip.segments()[0] & 0xe000 == 0x2000);
        is_global && (name.is_empty() || it.interface_name == name)
    })
}

/// Whether there is a default route, IPv4 or IPv6.
pub fn has_default_route() -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let v4 = read("/proc/net/route");
    let v4 = v4.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let v6 = read("/proc/net/ipv6_route");
    let is_default = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.get(1) == Some(&"00")
            && words.first().is_some_and(|it| it.bytes().all(|b| b == b'0'))
            && words.last() != Some(&"lo")
    };
    v4 || v6.lines().any(is_default)
}

/// The interface of the IPv4 default route.
pub fn default_interface() -> Option<String> {
    let routes = fs::read_to_string("/proc/net/route").ok()?;
    routes.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (interface, destination) = (words.next()?, words.next()?);
        (destination == "00000000").then(|| interface.to_owned())
    })
}

/// Something that listens: its address and the number of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// The inode of the socket.
    pub inode: u64,
}

/// Everything that takes UDP datagrams from anybody, or TCP connections.
pub fn listening(tcp: bool) -> Vec<Listening> {
    let mut found = Vec::new();
    let names = if tcp { ["tcp", "tcp6"] } else { ["udp", "udp6"] };
    for name in names {
        let text = fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
        // 0A is LISTEN, 07 a UDP socket without a peer.
        let state = if tcp { "0A" } else { "07" };
        found.extend(text.lines().skip(1).filter_map(|line| listening_line(line, state)));
    }
    found
}

fn listening_line(line: &str, state: &str) -> Option<Listening> {
    let words: Vec<_> = line.split_whitespace().collect();
    let inode = words.get(9)?.parse().ok().filter(|_| words.get(3) == Some(&state))?;
    let (ip, port) = words.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = if ip.len() == 8 {
        Ipv4Addr::from(word(0)?).into()
    } else {
        let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
        Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into()
    };
    Some(Listening { address: SocketAddr::new(ip, port), inode })
}

/// The process that has a socket: its number and name, where this user may see it.
pub fn owner(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let link = fs::read_link(descriptor.path());
            if link.is_ok_and(|link| link.as_os_str() == OsStr::new(&wanted)) {
                let name = line_of(process.path().join("comm")).unwrap_or_default();
                return Some((id, name));
            }
        }
    }
    None
}

/// The process at the other end of the daemon's control socket, and the user that it runs as.
pub fn daemon(socket: &Path) -> Option<(u32, u32)> {
    let stream = UnixStream::connect(socket).ok()?;
    let peer = getsockopt(&stream, PeerCredentials).ok()?;
    let pid = u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0)?;
    Some((pid, peer.uid()))
}

/// A variable in the environment of a process, where this user may see it.
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let octets = super::read_bounded(Path::new(&format!("/proc/{pid}/environ")), 1 << 20).ok()?;
    let text = String::from_utf8_lossy(&octets).into_owned();
    text.split('\0').find_map(|it| Some(it.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// What a program prints, unless it fails or takes longer than `time`.
///
/// # Errors
/// It is not there, fails, or takes too long.
pub fn output(program: &str, arguments: &[&str], time: Duration) -> io::Result<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let Some(mut stdout) = child.stdout.take() else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.by_ref().take(limits::RULES).read_to_end(&mut text);
        read.map(|_| text)
    });
    let end = Instant::now() + time;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() >= end => {
                // What still reads ends with it.
                let _ = child.kill();
                let _ = child.wait();
                return Err(io::ErrorKind::TimedOut.into());
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = reader.join().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
    if status.success() { Ok(text) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Copies a directory of plain files, if they are not more than so many octets.
///
/// # Errors
/// Something cannot be read or written, or it is too much.
pub fn copy(from: &Path, to: &Path, most: u64) -> io::Result<u64> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(to)?;
    let mut sum = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (data, to) = (entry.metadata()?, to.join(entry.file_name()));
        sum += data.len();
        if sum > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if data.is_dir() {
            sum += copy(&entry.path(), &to, most - sum)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_as_the_kernel_writes_them() {
        let line = "  1: 0100007F:0B84 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                    0        0 4711 2 0000000000000000 0";
        let found = listening_line(line, "07").unwrap();
        if cfg!(target_endian = "little") {
            assert_eq!(found.address, "127.0.0.1:2948".parse().unwrap());
        }
        assert_eq!(found.inode, 4711);
        assert_eq!(listening_line(line, "0A"), None);
        assert_eq!(listening_line("x", "07"), None);
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let late = output("sleep", &["20"], Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert_eq!(output("echo", &["a"], Duration::from_secs(20)).unwrap(), b"a\n");
    }
}
