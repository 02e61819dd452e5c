//! The Unix socket between the daemon and its operators.
//!
//! A client sends one line of JSON, the daemon answers with lines of JSON and closes. What the
//! lines say is not known here.
//!
//! Who may connect: root, the daemon's own user, and members of the socket file's group. The
//! file's mode 0660 says so to the kernel, SO_PEERCRED to us. Nobody connects before the mode is
//! set, because the socket does not listen before.

use std::cell::Cell;
use std::ffi::CString;
use std::fs;
use std::future::Future;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use nix::errno::Errno;
use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};
use smol::future;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use socket2::{Domain, SockAddr, Socket, Type};

use super::explain;
use crate::limits::{CONTROL_CONNECTIONS, CONTROL_LINE, CONTROL_PATH, CONTROL_TIME};

const BACKLOG: i32 = 64;
const MODE: u32 = 0o660;

/// The daemon's end: listens, and removes its file when dropped.
pub struct ControlSocket {
    listener: Async<UnixListener>,
    path: PathBuf,
    /// Device and inode of our file, so that no other's is removed.
    file: (u64, u64),
    open: Rc<Cell<usize>>,
}

impl ControlSocket {
    /// Listens at `path`. A socket file that nobody answers on is replaced.
    ///
    /// Errors, each a sentence: a path over [`CONTROL_PATH`] octets (InvalidInput), another
    /// daemon that answers (AddrInUse), a file that is no socket (AlreadyExists, it stays), what
    /// bind(2) says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        check_length(path)?;
        remove_stale(path)?;
        let failed = |error| explain(format_args!("cannot listen on {}", path.display()), error);
        let (listener, file) = listen(path).map_err(failed)?;
        Ok(Self {
            listener: Async::new(listener)?,
            path: path.to_owned(),
            file,
            open: Rc::default(),
        })
    }

    /// Waits for an operator. Others are told why not, in a line of JSON, and closed.
    pub async fn accept(&self) -> io::Result<ControlConnection> {
        loop {
            let (stream, _) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: no reason to spin.
                    log::warn!("cannot accept on the control socket: {error}");
                    Timer::after(CONTROL_TIME / 10).await;
                    continue;
                }
            };
            let peer = getsockopt(&stream, sockopt::PeerCredentials)?;
            if !self.admits(&peer) {
                log::warn!("user {} may not use the control socket", peer.uid());
                refuse(&stream, "permission denied: not root and not in the socket's group");
            } else if self.open.get() >= CONTROL_CONNECTIONS {
                refuse(&stream, "too many control connections are open: try again later");
            } else {
                self.open.set(self.open.get() + 1);
                let open = Open(Rc::clone(&self.open));
                return Ok(ControlConnection { stream, peer_uid: peer.uid(), _open: open });
            }
        }
    }

    fn admits(&self, peer: &UnixCredentials) -> bool {
        let uid = Uid::from_raw(peer.uid());
        if uid.is_root() || uid == geteuid() {
            return true;
        }
        let Ok(file) = fs::symlink_metadata(&self.path) else { return false };
        file.gid() == peer.gid() || is_member(uid, Gid::from_raw(file.gid()))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.file) {
            // A file that stays is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// An operator's connection; counts against [`CONTROL_CONNECTIONS`] until dropped.
pub struct ControlConnection {
    stream: Async<UnixStream>,
    peer_uid: u32,
    _open: Open,
}

impl ControlConnection {
    /// The operator's user id.
    pub fn peer_uid(&self) -> u32 {
        self.peer_uid
    }

    /// Reads the request, without its end of line.
    ///
    /// Errors: TimedOut after [`CONTROL_TIME`], UnexpectedEof, InvalidData if it is longer than
    /// [`CONTROL_LINE`] or not UTF-8.
    pub async fn request(&mut self) -> io::Result<String> {
        let stream = &mut self.stream;
        let read = async {
            let mut line = Vec::new();
            let mut part = [0; 1024];
            loop {
                let count = stream.read(&mut part).await?;
                let part = part.get(..count).unwrap_or_default();
                let end = part.iter().position(|octet| *octet == b'\n');
                line.extend_from_slice(part.get(..end.unwrap_or(count)).unwrap_or_default());
                if line.len() > CONTROL_LINE {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "request too long"));
                }
                if end.is_some() {
                    return String::from_utf8(line)
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
                }
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        };
        in_time(read).await
    }

    /// Sends one line (given without its end).
    ///
    /// Errors: TimedOut if the operator does not read, BrokenPipe if it is gone.
    pub async fn send(&mut self, line: &str) -> io::Result<()> {
        let stream = &mut self.stream;
        let line = format!("{line}\n");
        in_time(async { stream.write_all(line.as_bytes()).await }).await
    }

    /// Waits until the operator closes: for streams that may be silent for long.
    pub async fn closed(&self) {
        let mut scratch = [0; 64];
        while matches!((&self.stream).read(&mut scratch).await, Ok(count) if count > 0) {}
    }
}

/// Connects to a daemon, for the command line: everything blocks.
///
/// Errors, each a sentence: a path over [`CONTROL_PATH`] octets (InvalidInput), what connect(2)
/// says (NotFound and ConnectionRefused: no daemon runs).
pub fn connect(path: &Path) -> io::Result<Client> {
    check_length(path)?;
    let stream = UnixStream::connect(path).map_err(|error| {
        explain(format_args!("no dm-gateway answers on {}", path.display()), error)
    })?;
    Ok(Client { stream })
}

/// The command line's end.
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Sets how long sending the line, and each line of the answer, may take; `None` waits for
    /// ever. What takes longer fails with WouldBlock.
    pub fn limit(&self, time: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(time)?;
        self.stream.set_write_timeout(time)
    }

    /// Sends one line; the answer's lines come until the daemon closes.
    pub fn ask(
        mut self,
        line: &str,
    ) -> io::Result<impl Iterator<Item = io::Result<String>> + use<>> {
        match self.stream.write_all(format!("{line}\n").as_bytes()) {
            // Refused without being read; the reason waits to be read.
            Err(error) if !is_closed(&error) => Err(error),
            _ => Ok(BufReader::new(self.stream)
                .lines()
                .take_while(|line| !line.as_ref().is_err_and(is_closed))),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

struct Open(Rc<Cell<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

fn check_length(path: &Path) -> io::Result<()> {
    let length = path.as_os_str().len();
    if length <= CONTROL_PATH {
        return Ok(());
    }
    let text = format!(
        "the control socket's path has {length} octets, Linux allows {CONTROL_PATH}: {}; \
         try: a shorter `[control] socket`",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(explain(path.display(), error)),
    };
    if !file.file_type().is_socket() {
        let text = format!("{} exists and is not a socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| {
                explain(format_args!("cannot remove the stale {}", path.display()), error)
            }),
        // A full backlog is somebody's too.
        Err(error) if error.raw_os_error() != Some(Errno::EAGAIN as i32) => {
            Err(explain(path.display(), error))
        }
        _ => {
            let text = format!("another dm-gateway answers on {}", path.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
    }
}

fn listen(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    let file = identity(&fs::symlink_metadata(path)?);
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from(socket), file))
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn is_member(uid: Uid, group: Gid) -> bool {
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    let Ok(name) = CString::new(user.name.as_bytes()) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

/// Tells a peer that it is not served. It may be gone: then it needs no telling.
fn refuse(stream: &Async<UnixStream>, reason: &str) {
    let line = serde_json::json!({ "schema": 1, "error": reason });
    let _ = stream.get_ref().write_all(format!("{line}\n").as_bytes());
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(CONTROL_TIME).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    future::or(work, late).await
}
